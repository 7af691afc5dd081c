//! `/api/conference_rooms`: rooms on the wire, and the actions on them. Field rules are in `rooms/rules.rs`.

mod rules;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Serialize;

use super::Api;
use super::fields::Fields;
use super::query::{InPath, Items, ListQuery, id};
use crate::auth::Identity;
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::{OutboundCallerId, RoomRecord, RoomState};
use crate::store::{Role, Store};

/// As listed.
#[derive(Serialize)]
pub(super) struct Room {
    id: Id,
    extension_number: String,
    mode: &'static str,
    control: &'static str,
    height: u32,
    width: u32,
    bitrate: u32,
    framerate: u32,
    layout: &'static str,
    subject: String,
    language: Option<String>,
    capacity: u32,
    admin_pin: Option<String>,
    room_pin: Option<String>,
    has_admin_pin: bool,
    has_room_pin: bool,
    enable_recording: bool,
    enable_prompt: bool,
    timezone: Option<String>,
    created_at: Timestamp,
    scheduled_start_at: Option<Timestamp>,
    scheduled_end_at: Option<Timestamp>,
    numbers: Option<String>,
    internal_invitees: Option<Vec<String>>,
    external_invitees: Option<String>,
    custom_options: Option<String>,
}

/// As shown alone: with what a browser needs to join.
#[derive(Serialize)]
pub(super) struct WholeRoom {
    #[serde(flatten)]
    room: Room,
    outbound_caller_ids: Option<Vec<OutboundCallerId>>,
    domain: Option<String>,
    sbc_host: Option<String>,
    sbc_port: Option<u16>,
    token: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Status {
    status: &'static str,
    locked: bool,
    muted: bool,
    recording: bool,
    participants_count: usize,
    started_at: Option<Timestamp>,
    server_id: Option<Id>,
}

#[derive(Serialize)]
struct Made {
    id: Id,
}

impl Room {
    /// Viewers are told that there is a PIN, and not which.
    fn new(room: RoomRecord, role: Role) -> Self {
        let settings = room.settings;
        let shown = |pin: Option<String>| pin.filter(|_| role > Role::Viewer);
        Self {
            id: room.id,
            extension_number: settings.extension_number,
            mode: settings.mode.as_str(),
            control: settings.control.as_str(),
            height: settings.height_px,
            width: settings.width_px,
            bitrate: settings.bitrate_kbps,
            framerate: settings.framerate,
            layout: settings.layout.as_str(),
            subject: settings.subject,
            language: settings.language,
            capacity: settings.capacity,
            has_admin_pin: settings.admin_pin.is_some(),
            has_room_pin: settings.room_pin.is_some(),
            admin_pin: shown(settings.admin_pin),
            room_pin: shown(settings.room_pin),
            enable_recording: settings.enable_recording,
            enable_prompt: settings.enable_prompt,
            timezone: settings.timezone,
            created_at: room.created_at,
            scheduled_start_at: settings.scheduled_start_at,
            scheduled_end_at: settings.scheduled_end_at,
            numbers: settings.numbers,
            internal_invitees: settings.internal_invitees,
            external_invitees: settings.external_invitees,
            custom_options: settings.custom_options,
        }
    }
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Identity>,
    query: ListQuery,
) -> Result<Json<Items<Room>>, Error> {
    // An order by a PIN would tell it digit by digit.
    let hidden = |field: &str| who.role == Role::Viewer && matches!(field, "admin_pin" | "room_pin");
    let listing = query.listing(|field| Store::room_column(field).filter(|field| !hidden(field)))?;
    let page = api.store.rooms(&listing).await?;
    let items = page.items.into_iter().map(|room| Room::new(room, who.role)).collect();
    Ok(Json(Items::new(page.count, items)))
}

pub(super) async fn create(State(api): State<Arc<Api>>, mut fields: Fields) -> Result<impl IntoResponse, Error> {
    let room = api.rooms.create_room(rules::creation(&mut fields)?).await?;
    let location = format!("/api/conference_rooms/{}", room.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Made { id: room.id })))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Identity>,
    InPath(room): InPath<String>,
) -> Result<Json<WholeRoom>, Error> {
    let mut room = api.store.room(id(&room, "room")?).await?;
    let server = api.store.server(api.rooms.server()).await?;
    let outbound_caller_ids = room.settings.outbound_caller_ids.take();
    let token = Some(std::mem::take(&mut room.token)).filter(|_| who.role > Role::Viewer);
    Ok(Json(WholeRoom {
        room: Room::new(room, who.role),
        outbound_caller_ids,
        domain: server.ipv4.or(server.ipv6),
        // No secure WebSocket is offered.
        sbc_host: None,
        sbc_port: None,
        token,
    }))
}

pub(super) async fn update(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    mut fields: Fields,
) -> Result<(), Error> {
    let room = id(&room, "room")?;
    api.rooms.update_room(room, move |present| rules::update(&mut fields, present)).await
}

pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<StatusCode, Error> {
    api.rooms.destroy_room(id(&room, "room")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn status(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<Json<Status>, Error> {
    let status = api.rooms.status(id(&room, "room")?)?;
    Ok(Json(Status {
        status: match status.state {
            RoomState::OnCall => "ON_CALL",
            RoomState::Online => "ONLINE",
            RoomState::Offline => "OFFLINE",
        },
        locked: status.locked,
        muted: status.muted,
        recording: status.recording,
        participants_count: status.participants,
        started_at: status.started_at,
        server_id: status.server,
    }))
}

pub(super) async fn mute(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.mute_room(id(&room, "room")?, true).await
}

pub(super) async fn unmute(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.mute_room(id(&room, "room")?, false).await
}

pub(super) async fn lock(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.lock_room(id(&room, "room")?, true).await
}

pub(super) async fn unlock(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.lock_room(id(&room, "room")?, false).await
}

pub(super) async fn start_recording(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.start_recording(id(&room, "room")?).await
}

pub(super) async fn stop_recording(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.stop_recording(id(&room, "room")?).await
}
