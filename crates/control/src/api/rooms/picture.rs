//! `/api/conference_rooms/{id}/preview.jpg` and `…/layout`: a room's picture beside the call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::openapi::{Bytes, ROOMS};
use crate::api::query::{InPath, id};
use crate::error::Error;
use crate::ids::Id;

/// Who is where in a room's picture now.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct PictureLayout {
    /// Of the picture, in pixels.
    #[schema(examples(1280))]
    width: usize,
    /// Of the picture, in pixels.
    #[schema(examples(720))]
    height: usize,
    /// What is shown now: of LAYOUT0 the layout that it is at present.
    #[schema(examples("LAYOUT4"))]
    layout: String,
    /// Each tile of that layout.
    tiles: Vec<PictureTile>,
}

/// A tile of a room's picture, in pixels from its upper left corner.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct PictureTile {
    /// Its number, as positions name it; 0 is the main tile.
    #[schema(examples(0))]
    position: usize,
    /// From the left.
    #[schema(examples(0))]
    x: usize,
    /// From the top.
    #[schema(examples(0))]
    y: usize,
    /// Across.
    #[schema(examples(640))]
    width: usize,
    /// Down.
    #[schema(examples(360))]
    height: usize,
    /// Who is shown; null while nobody is.
    participant_id: Option<Id>,
    /// They are heard now.
    talking: bool,
}

/// Get a conference room's picture
///
/// As it is now, at most half a second old: a thumbnail for a portal. Only VIDEO rooms that somebody is in have one.
#[utoipa::path(
    get, path = "/api/conference_rooms/{id}/preview.jpg", operation_id = "get_conference_room_preview", tag = ROOMS,
    responses(
        (status = 200, description = "The picture.", content((Bytes = "image/jpeg", example = "JFIF"))),
        (status = 409, description = "`INVALID_STATE`: nobody is in the room, or its mode is AUDIO."),
    ),
)]
pub(in crate::api) async fn preview(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
) -> Result<impl IntoResponse, Error> {
    let jpeg = api.rooms.preview(id(&room, "room")?).await?;
    // It changes all the time, and shows people: nobody on the way keeps it.
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], jpeg.to_vec()))
}

/// Get who is where in a conference room's picture
///
/// Tiles in pixels, with those who are shown in them. Only VIDEO rooms have a picture.
#[utoipa::path(
    get, path = "/api/conference_rooms/{id}/layout", operation_id = "get_conference_room_layout", tag = ROOMS,
    responses(
        (status = 200, description = "The tiles.", body = PictureLayout),
        (status = 409, description = "`INVALID_STATE`: the room's mode is AUDIO."),
    ),
)]
pub(in crate::api) async fn layout(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
) -> Result<Json<PictureLayout>, Error> {
    let picture = api.rooms.picture(id(&room, "room")?)?;
    let tiles = picture.tiles.into_iter().map(|tile| PictureTile {
        position: tile.tile,
        x: tile.x,
        y: tile.y,
        width: tile.width,
        height: tile.height,
        participant_id: tile.participant.map(|participant| Id::from_raw(participant.0)),
        talking: tile.talking,
    });
    Ok(Json(PictureLayout {
        width: picture.resolution.width(),
        height: picture.resolution.height(),
        layout: format!("LAYOUT{}", picture.layout),
        tiles: tiles.collect(),
    }))
}
