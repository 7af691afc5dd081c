//! `/api/conference_rooms/{id}/recordings`. The path of a destroyed room goes on to work while it has recordings.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::openapi::{ListOptions, RECORDINGS, Time};
use super::query::{InPath, Items, ListQuery, id};
use crate::error::Error;
use crate::filter::Fields;
use crate::ids::Id;
use crate::rooms::whole_seconds;
use crate::store::{Column, Listing, RecordingRecord, RecordingState, Store};

/// What its list may be filtered and ordered by.
const FIELDS: Fields<Column> = Fields::open(Store::RECORDING_FIELDS);

/// What was recorded of a room, from a start to a stop.
#[derive(Serialize, ToSchema)]
pub(super) struct Recording {
    id: Id,
    /// When it began.
    #[schema(value_type = Time)]
    answered_at: Timestamp,
    /// Null while it runs.
    #[schema(value_type = Option<Time>)]
    ended_at: Option<Timestamp>,
    /// Whole seconds; null while it runs.
    #[schema(examples(1800))]
    duration: Option<u64>,
    /// For people.
    #[schema(examples("900-20300721T173228Z.ogg"))]
    file_name: String,
    /// Bytes; null while it runs.
    #[schema(examples(7340032))]
    file_size: Option<u64>,
    /// Where it is downloaded; null while it runs.
    #[schema(examples("/api/blobs/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"))]
    file_url: Option<String>,
    /// Whether somebody has marked it as read.
    read: bool,
    #[schema(value_type = RecordingState, examples("FINISHED"))]
    state: &'static str,
    /// Why it failed.
    #[schema(examples(json!(null)))]
    reason: Option<String>,
    /// The first part, when this is a further one.
    #[schema(examples(json!(null)))]
    part_of: Option<Id>,
}

impl Recording {
    fn new(api: &Api, recording: RecordingRecord) -> Self {
        Self {
            id: recording.id,
            answered_at: recording.answered_at,
            ended_at: recording.ended_at,
            duration: recording.duration.map(whole_seconds),
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

type Ids = InPath<(String, String)>;

/// Named for the description.
type RecordingList = Items<Recording>;

/// List a room's recordings
///
/// What was recorded of the room, also after the room was destroyed. `search` looks into `file_name`.
#[utoipa::path(
    get, path = "/api/conference_rooms/{id}/recordings", operation_id = "list_recordings", tag = RECORDINGS,
    params(ListOptions),
    responses((status = 200, description = "A page of recordings.", body = RecordingList)),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    query: ListQuery,
) -> Result<Json<Items<Recording>>, Error> {
    let room = id(&room, "room")?;
    let page = api.store.recordings(room, &query.listing(&FIELDS)?).await?;
    if page.count == 0 && api.rooms.status(room).is_err() {
        // The room is gone; has it left nothing, or did only the filter or the search find nothing?
        let any = api.store.recordings(room, &Listing { top: 1, ..Listing::default() }).await?;
        if any.count == 0 {
            return Err(Error::NotFound("room"));
        }
    }
    let items = page.items.into_iter().map(|recording| Recording::new(&api, recording)).collect();
    Ok(Json(Items::new(page.count, items)))
}

/// Mark a recording as read
///
/// Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/recordings/{recording_id}/set_read", operation_id = "set_recording_read",
    tag = RECORDINGS,
    responses((status = 200, description = "It is read.")),
)]
pub(super) async fn set_read(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<(), Error> {
    api.rooms.mark_recording(id(&path.0, "room")?, id(&path.1, "recording")?, true).await
}

/// Mark a recording as not read
///
/// Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/recordings/{recording_id}/set_unread", operation_id = "set_recording_unread",
    tag = RECORDINGS,
    responses((status = 200, description = "It is not read.")),
)]
pub(super) async fn set_unread(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<(), Error> {
    api.rooms.mark_recording(id(&path.0, "room")?, id(&path.1, "recording")?, false).await
}

/// Delete a recording
///
/// Row and file are gone. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/recordings/{recording_id}/destroy", operation_id = "destroy_recording",
    tag = RECORDINGS,
    responses(
        (status = 204, description = "Gone."),
        (status = 409, description = "`INVALID_STATE`: it is still being recorded."),
    ),
)]
pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath((room, recording)): Ids) -> Result<StatusCode, Error> {
    api.rooms.destroy_recording(id(&room, "room")?, id(&recording, "recording")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
