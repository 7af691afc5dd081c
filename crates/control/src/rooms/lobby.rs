//! Words to those who are not let in: said as early media, before the refusal, in a media room of their own. They take no
//! seat: at most so many at once are told, the others get the code alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::{Leg, LegId, LegSettings, Playback, PlaybackId, Reply, RoomId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::state::Speech;
use super::{Caller, Refusal, Rooms};
use crate::prompts::Phrase;

/// Callers who are told at once why they are not let in.
const AT_ONCE: usize = 64;
/// After the words should have been heard.
const GRACE: Duration = Duration::from_secs(1);

/// Who is told something, and waits until it is heard.
#[derive(Debug)]
pub(super) struct LobbyDoor {
    places: Arc<Semaphore>,
    listening: Mutex<HashMap<LegId, oneshot::Sender<()>>>,
}

impl Default for LobbyDoor {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), listening: Mutex::default() }
    }
}

impl LobbyDoor {
    fn listening(&self) -> MutexGuard<'_, HashMap<LegId, oneshot::Sender<()>>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was said to this leg to the end.
    pub(super) fn heard(&self, leg: LegId) {
        if let Some(waiting) = self.listening().remove(&leg) {
            // Nobody waits any more: fine.
            let _ = waiting.send(());
        }
    }
}

/// What a caller is told before the refusal, and where: reserve the leg in `room`. Dropping it ends it.
#[derive(Debug)]
pub struct Notice {
    /// The media room.
    pub room: RoomId,
    speech: Speech,
    rooms: Rooms,
    _place: OwnedSemaphorePermit,
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.rooms.inner.engine.close_room(self.room);
    }
}

impl Rooms {
    /// What the caller is to hear of a refusal; `None` when the room says nothing, or too many are told something now.
    pub fn notice(&self, caller: &Caller, refusal: &Refusal) -> Option<Notice> {
        let word = refusal.word()?;
        let language = {
            let state = self.state();
            let room = state.room_of_extension(&caller.extension)?;
            if !room.prompts {
                return None;
            }
            room.language.clone()
        };
        let place = Arc::clone(&self.inner.lobby.places).try_acquire_owned().ok()?;
        let room = self.fresh_room();
        let opened = self.open_media(&self.state(), room, None);
        if let Err(error) = opened {
            tracing::debug!(%error, "a caller is not told why");
            return None;
        }
        let speech = Speech { language, phrases: vec![word, Phrase::Goodbye] };
        Some(Notice { room, speech, rooms: self.clone(), _place: place })
    }
}

impl Notice {
    /// Says it to the leg, and waits until it was heard.
    pub async fn say(&self, leg: Leg) {
        let id = leg.id();
        let rooms = &self.rooms;
        let (heard, listening) = oneshot::channel();
        rooms.inner.lobby.listening().insert(id, heard);
        let _forgotten = Forgotten { rooms, leg: id };
        let playback = Playback { id: PlaybackId(0), parts: rooms.voiced(&self.speech), looped: false };
        let length = playback.duration();
        let engine = &rooms.inner.engine;
        let settings = LegSettings { muted: true, ..LegSettings::default() };
        let said = engine.join(self.room, leg, "".into(), settings, Reply::ignore());
        match said.and_then(|()| engine.play(self.room, id, playback)) {
            // Whichever comes first: facts can be lost.
            Ok(()) => drop(tokio::time::timeout(length + GRACE, listening).await),
            Err(error) => tracing::debug!(%error, "a caller is not told why"),
        }
    }
}

/// Nobody listens any more when this is dropped: a caller may give up while something is said.
struct Forgotten<'a> {
    rooms: &'a Rooms,
    leg: LegId,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.rooms.inner.lobby.listening().remove(&self.leg);
    }
}
