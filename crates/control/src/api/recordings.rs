//! `/api/conference_rooms/{id}/recordings`. The path of a destroyed room goes on to work while it has recordings.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::Api;
use super::query::{InPath, Items, ListQuery, id};
use crate::error::Error;
use crate::ids::Id;
use crate::store::{Listing, RecordingRecord, Store};

#[derive(Serialize)]
pub(super) struct Recording {
    id: Id,
    answered_at: Timestamp,
    ended_at: Option<Timestamp>,
    /// Whole seconds.
    duration: Option<u64>,
    file_name: String,
    file_size: Option<u64>,
    file_url: Option<String>,
    read: bool,
    state: &'static str,
    reason: Option<String>,
    part_of: Option<Id>,
}

impl Recording {
    fn new(api: &Api, recording: RecordingRecord) -> Self {
        let rounded = |duration: std::time::Duration| duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
        Self {
            id: recording.id,
            answered_at: recording.answered_at,
            ended_at: recording.ended_at,
            duration: recording.duration.map(rounded),
            file_name: recording.file_name,
            file_size: recording.file_size,
            file_url: recording.sha256.map(|digest| super::blobs::url(api, &digest)),
            read: recording.is_read,
            state: recording.state.as_str(),
            reason: recording.reason,
            part_of: recording.part_of,
        }
    }
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    query: ListQuery,
) -> Result<Json<Items<Recording>>, Error> {
    let room = id(&room, "room")?;
    let page = api.store.recordings(room, &query.listing(Store::recording_column)?).await?;
    if page.count == 0 && api.rooms.status(room).is_err() {
        // The room is gone; has it left nothing, or did only the search find nothing?
        let any = api.store.recordings(room, &Listing { top: 1, ..Listing::default() }).await?;
        if any.count == 0 {
            return Err(Error::NotFound("room"));
        }
    }
    let items = page.items.into_iter().map(|recording| Recording::new(&api, recording)).collect();
    Ok(Json(Items::new(page.count, items)))
}

pub(super) async fn destroy(
    State(api): State<Arc<Api>>,
    InPath((room, recording)): InPath<(String, String)>,
) -> Result<StatusCode, Error> {
    api.rooms.destroy_recording(id(&room, "room")?, id(&recording, "recording")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
