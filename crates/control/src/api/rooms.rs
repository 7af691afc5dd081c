//! `/api/conference_rooms`: rooms on the wire, and the actions on them. Field rules are in `rooms/rules.rs`.

pub(super) mod picture;
mod rendered;
mod rules;
pub(super) mod tokens;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::fields::Fields;
use super::openapi::{ListOptions, ROOMS, Time};
use super::query::{InPath, Items, ListQuery, id};
use crate::auth::Identity;
use crate::error::Error;
use crate::filter::Fields as Named;
use crate::ids::Id;
use crate::rooms::{Control, Layout, Mode, OutboundCallerId, RoomRecord, RoomState};
use crate::store::{Role, Store};

pub(super) use rendered::RenderedRooms;
use rules::{CallerId, RoomChanges, RoomCreation};

/// A room, as listed.
#[derive(Serialize, ToSchema)]
pub(super) struct Room {
    id: Id,
    /// What is dialled.
    #[schema(examples("900"))]
    extension_number: String,
    #[schema(value_type = Mode)]
    mode: &'static str,
    #[schema(value_type = Control)]
    control: &'static str,
    /// Of the picture, in pixels.
    #[schema(examples(720))]
    height: u32,
    /// Of the picture, in pixels.
    #[schema(examples(1280))]
    width: u32,
    /// Of the picture, in kbit/s.
    #[schema(examples(1024))]
    bitrate: u32,
    /// Pictures a second.
    #[schema(examples(15))]
    framerate: u32,
    #[schema(value_type = Layout)]
    layout: &'static str,
    /// For people.
    #[schema(examples("Weekly meeting"))]
    subject: String,
    /// BCP 47 language tag.
    #[schema(examples("en-US"))]
    language: Option<String>,
    /// Participants that it takes at once.
    #[schema(examples(9))]
    capacity: u32,
    /// Makes one chairman; null for viewers, and without one.
    #[schema(examples("246810"))]
    admin_pin: Option<String>,
    /// Lets one in; null for viewers, and without one.
    #[schema(examples("13579"))]
    room_pin: Option<String>,
    /// Whether there is one.
    #[schema(examples(true))]
    has_admin_pin: bool,
    /// Whether there is one.
    #[schema(examples(true))]
    has_room_pin: bool,
    /// Whether recording starts with the first participant.
    enable_recording: bool,
    /// The voice menu.
    #[schema(examples(true))]
    enable_prompt: bool,
    /// IANA name.
    #[schema(examples("Asia/Shanghai"))]
    timezone: Option<String>,
    #[schema(value_type = Time)]
    created_at: Timestamp,
    /// When the meeting begins.
    #[schema(value_type = Option<Time>)]
    scheduled_start_at: Option<Timestamp>,
    /// When it ends.
    #[schema(value_type = Option<Time>)]
    scheduled_end_at: Option<Timestamp>,
    /// Numbers to dial in by, for people.
    #[schema(examples("+1 555 0100"))]
    numbers: Option<String>,
    /// Ids of invited users.
    #[schema(examples("NzAwNTUxOTA5NzczMTQ4MTYw"))]
    internal_invitees: Option<Vec<String>>,
    /// Mail addresses, separated by `;`.
    #[schema(examples("bob@example.org;carol@example.org"))]
    external_invitees: Option<String>,
    /// A JSON object, as text.
    #[schema(examples("{\"color\":\"blue\"}"))]
    custom_options: Option<String>,
}

/// A room, as shown alone: with what a browser needs to join.
#[derive(Serialize, ToSchema)]
pub(super) struct WholeRoom {
    #[serde(flatten)]
    room: Room,
    /// Numbers that calls out of the room show.
    #[schema(value_type = Option<Vec<CallerId>>)]
    outbound_caller_ids: Option<Vec<OutboundCallerId>>,
    /// SIP domain.
    #[schema(examples("192.0.2.10"))]
    domain: Option<String>,
    /// Host of the secure WebSocket, `wss://HOST:PORT/ws`; null where the setting `api.public_url` does not say.
    #[schema(examples("conference.example.org"))]
    sbc_host: Option<String>,
    /// Its port.
    #[schema(examples(8443))]
    sbc_port: Option<u16>,
    /// What one joins with; null for viewers.
    #[schema(examples("4fzz3e2PxAvTAVDbWfNFCQ"))]
    token: Option<String>,
}

/// How a room is, now.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomStatus)]
pub(super) struct Status {
    #[schema(value_type = RoomState)]
    status: &'static str,
    /// Whether nobody new comes in.
    locked: bool,
    /// Whether everyone but the chairman is muted.
    muted: bool,
    /// Whether it is being recorded.
    #[schema(examples(true))]
    recording: bool,
    /// Participants in it.
    #[schema(examples(4))]
    participants_count: usize,
    /// When the first of them came; null when nobody is in it.
    #[schema(value_type = Option<Time>)]
    started_at: Option<Timestamp>,
    /// Which server hosts it; null when nobody is in it.
    server_id: Option<Id>,
}

/// What was made.
#[derive(Serialize, ToSchema)]
pub(super) struct Made {
    pub(super) id: Id,
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

/// Named for the description.
type RoomList = Items<Room>;

/// List conference rooms
///
/// The rooms that match `filter` and `search` (over `extension_number` and `subject`), in the order of `orderby`. PINs
/// are null for viewers, who cannot filter or order by them.
#[utoipa::path(
    get, path = "/api/conference_rooms", operation_id = "list_conference_rooms", tag = ROOMS,
    params(ListOptions),
    responses((status = 200, description = "A page of rooms.", body = RoomList)),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Identity>,
    query: ListQuery,
) -> Result<impl IntoResponse, Error> {
    // A filter or an order by a PIN would tell it digit by digit.
    let hidden: &[&str] = if who.role == Role::Viewer { &["admin_pin", "room_pin", "token"] } else { &[] };
    let listing = query.listing(&Named { all: Store::ROOM_FIELDS, hidden })?;
    let page = api.store.room_revisions(&listing).await?;
    let body = api.rendered.list(&api.store, &page, who.role).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

/// Create a conference room
///
/// A room is there from now on and costs nothing while nobody is in it. Where mail is set up, `external_invitees` are sent an
/// invitation, and told when what it says changes or the room is destroyed. `admin_pin` and `room_pin` must differ, and
/// `scheduled_end_at` must be after `scheduled_start_at`. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms", operation_id = "create_conference_room", tag = ROOMS,
    request_body = RoomCreation,
    responses(
        (status = 201, description = "Made.", body = Made,
            headers(("Location" = String, description = "Where the room is."))),
        (status = 409, description = "`RESOURCE_IN_USE`: another room has the extension number."),
    ),
)]
pub(super) async fn create(State(api): State<Arc<Api>>, mut fields: Fields) -> Result<impl IntoResponse, Error> {
    let room = api.rooms.create_room(rules::creation(&mut fields)?).await?;
    let location = format!("/api/conference_rooms/{}", room.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Made { id: room.id })))
}

/// Get a conference room
///
/// One room, with what a browser needs to join it. PINs and the token are null for viewers.
#[utoipa::path(
    get, path = "/api/conference_rooms/{id}", operation_id = "get_conference_room", tag = ROOMS,
    responses((status = 200, description = "The room.", body = WholeRoom)),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Identity>,
    InPath(room): InPath<String>,
) -> Result<Json<WholeRoom>, Error> {
    let mut room = api.store.room(id(&room, "room")?).await?;
    let server = api.store.server(api.rooms.server()).await?;
    let outbound_caller_ids = room.settings.outbound_caller_ids.take();
    let (sbc_host, sbc_port) = api.secure_socket().unzip();
    let token = Some(std::mem::take(&mut room.token)).filter(|_| who.role > Role::Viewer);
    Ok(Json(WholeRoom {
        room: Room::new(room, who.role),
        outbound_caller_ids,
        domain: server.ipv4.or(server.ipv6),
        sbc_host,
        sbc_port,
        token,
    }))
}

/// Update a conference room
///
/// Absent fields stay as they are; null clears a field, or takes it back to its default. What concerns the picture
/// takes effect in a live room at once, and nobody is dropped. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}", operation_id = "update_conference_room", tag = ROOMS,
    request_body = RoomChanges,
    responses((status = 200, description = "Changed.")),
)]
pub(super) async fn update(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    mut fields: Fields,
) -> Result<(), Error> {
    let room = id(&room, "room")?;
    api.rooms.update_room(room, move |present| rules::update(&mut fields, present)).await
}

/// Delete a conference room
///
/// Ends the calls of all who are in it and finishes its recording. Its recordings stay reachable under the same paths
/// until they are destroyed or their time is over. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/destroy", operation_id = "destroy_conference_room", tag = ROOMS,
    responses((status = 204, description = "Gone.")),
)]
pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<StatusCode, Error> {
    api.rooms.destroy_room(id(&room, "room")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a conference room's status
///
/// Whether somebody is in it, and what holds for it now.
#[utoipa::path(
    get, path = "/api/conference_rooms/{id}/status", operation_id = "get_conference_room_status", tag = ROOMS,
    responses((status = 200, description = "The status.", body = Status)),
)]
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

/// Mute a conference room
///
/// Everyone but the chairman is muted, those who join later too. One who is unmuted alone may speak. It holds until
/// `unmute` or until the room empties; set on an idle room it holds for its next call. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/mute", operation_id = "mute_conference_room", tag = ROOMS,
    responses((status = 200, description = "Muted.")),
)]
pub(super) async fn mute(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.mute_room(id(&room, "room")?, true).await
}

/// Unmute a conference room
///
/// Lifts `mute` and unmutes everyone. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/unmute", operation_id = "unmute_conference_room", tag = ROOMS,
    responses((status = 200, description = "Unmuted.")),
)]
pub(super) async fn unmute(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.mute_room(id(&room, "room")?, false).await
}

/// Lock a conference room
///
/// Nobody new can dial in or join; an invitation over the API still brings one in. It holds until `unlock` or until the
/// room empties; set on an idle room it holds for its next call. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/lock", operation_id = "lock_conference_room", tag = ROOMS,
    responses((status = 200, description = "Locked.")),
)]
pub(super) async fn lock(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.lock_room(id(&room, "room")?, true).await
}

/// Unlock a conference room
///
/// Lifts `lock`. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/unlock", operation_id = "unlock_conference_room", tag = ROOMS,
    responses((status = 200, description = "Unlocked.")),
)]
pub(super) async fn unlock(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.lock_room(id(&room, "room")?, false).await
}

/// Start recording a conference room
///
/// Starts one recording; a room that is recorded already goes on with the one it has. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/start_recording", operation_id = "start_recording", tag = ROOMS,
    responses(
        (status = 200, description = "It is recorded."),
        (status = 409, description = "`INVALID_STATE`: nobody is in the room."),
    ),
)]
pub(super) async fn start_recording(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.start_recording(id(&room, "room")?).await
}

/// Stop recording a conference room
///
/// Finishes the recording; a room that is not recorded is left as it is. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/stop_recording", operation_id = "stop_recording", tag = ROOMS,
    responses((status = 200, description = "It is not recorded.")),
)]
pub(super) async fn stop_recording(State(api): State<Arc<Api>>, InPath(room): InPath<String>) -> Result<(), Error> {
    api.rooms.stop_recording(id(&room, "room")?).await
}
