//! Rooms of lists as JSON, kept by their revisions: a portal that asks every second costs the database a page of numbers,
//! and us no serialization. A revision is never used again, so what is kept here is never stale.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::ids::Id;
use crate::store::{Page, Role, Store};

use super::Room;

/// Rooms kept at once; beyond it they are kept anew. With typical rooms a few megabytes.
const MAX_KEPT: usize = 8192;
/// A room that somebody has filled with long texts is rendered each time.
const MAX_BYTES: usize = 4096;

/// Items as JSON.
#[derive(Debug, Default)]
pub(in crate::api) struct RenderedRooms(Mutex<HashMap<Key, Item>>);

/// Viewers see no PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    room: Id,
    is_viewer: bool,
}

#[derive(Clone, Debug)]
struct Item {
    revision: i64,
    json: Arc<str>,
}

impl RenderedRooms {
    /// The body of a list of these rooms. Rooms that go while it is made are left out.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub(super) async fn list(&self, store: &Store, page: &Page<(Id, i64)>, role: Role) -> Result<Vec<u8>, Error> {
        let is_viewer = role == Role::Viewer;
        let mut items: Vec<Option<Arc<str>>> = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let item = |(room, revision): &(Id, i64)| {
                let item = kept.get(&Key { room: *room, is_viewer })?;
                (item.revision == *revision).then(|| Arc::clone(&item.json))
            };
            page.items.iter().map(item).collect()
        };
        let missing = |((id, _), item): (&(Id, i64), &Option<Arc<str>>)| item.is_none().then_some(*id);
        let missing: Vec<Id> = page.items.iter().zip(&items).filter_map(missing).collect();
        for (room, revision) in store.rooms_of(&missing).await? {
            let id = room.id;
            let json = serde_json::to_string(&Room::new(room, role)).expect("BUG: plain fields are always JSON");
            let json: Arc<str> = json.into();
            if let Some(at) = page.items.iter().position(|(listed, _)| *listed == id) {
                items[at] = Some(Arc::clone(&json));
            }
            self.keep(Key { room: id, is_viewer }, Item { revision, json });
        }
        let mut body = format!("{{\"count\":{},\"items\":[", page.count).into_bytes();
        for (at, json) in items.iter().flatten().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(json.as_bytes());
        }
        body.extend_from_slice(b"]}");
        Ok(body)
    }

    fn keep(&self, key: Key, item: Item) {
        if item.json.len() > MAX_BYTES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, item);
    }
}

const _: () = assert!(MAX_KEPT * MAX_BYTES <= 32 << 20, "what is kept of rooms fits 32 MiB");
