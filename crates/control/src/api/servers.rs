//! `/api/conference_servers`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::fields::{Boolean, Fields, Ipv4, Ipv6, body, integer, text};
use super::openapi::{ListOptions, SERVERS, ServerState};
use super::query::{InPath, Items, ListQuery, id};
use super::rooms::Made;
use crate::error::Error;
use crate::filter::Fields as Named;
use crate::ids::Id;
use crate::store::{self, Column, ServerKind, ServerRecord, ServerUpdate, Store};

/// What its list may be filtered and ordered by.
const FIELDS: Named<Column> = Named::open(Store::SERVER_FIELDS);

/// A node that hosts rooms.
#[derive(Serialize, ToSchema)]
pub(super) struct Server {
    id: Id,
    /// By which its process claims it.
    #[schema(examples("conclave-1"), min_length = 1, max_length = 64)]
    name: String,
    /// Whether new rooms are placed there.
    #[schema(examples(true))]
    enabled: bool,
    #[schema(value_type = ServerKind)]
    r#type: &'static str,
    /// Where phones are sent.
    #[schema(examples("192.0.2.10"))]
    ipv4: Option<String>,
    /// Where phones are sent.
    #[schema(examples("2001:db8::10"))]
    ipv6: Option<String>,
    /// Rooms that may be active there at once.
    #[schema(examples(100), maximum = 2147483647)]
    max_rooms: u32,
    /// Participants that may be there at once.
    #[schema(examples(1000), maximum = 2147483647)]
    max_participants: u32,
}

impl From<ServerRecord> for Server {
    fn from(server: ServerRecord) -> Self {
        Self {
            id: server.id,
            name: server.name,
            enabled: server.enabled,
            r#type: server.kind.as_str(),
            ipv4: server.ipv4,
            ipv6: server.ipv6,
            max_rooms: server.max_rooms,
            max_participants: server.max_participants,
        }
    }
}

body! {
    /// What of a server is to change. Absent fields stay as they are; the others of a server cannot be changed and are
    /// passed over.
    struct ServerChanges (changes) {
        /// Whether new rooms are placed there. What runs goes on.
        settable enabled: bool = Boolean, example true;
        /// Rooms that may be active there at once.
        settable max_rooms: i64 = integer(0, i64::from(i32::MAX)), example 100;
        /// Participants that may be there at once.
        settable max_participants: i64 = integer(0, i64::from(i32::MAX)), example 1000;
    }
}

/// How a server is doing, now.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerStatus {
    /// Rooms with somebody in them.
    #[schema(examples(3))]
    rooms_count: usize,
    /// Participants in them.
    #[schema(examples(17))]
    participants_count: usize,
    /// Of its process against its machine, in whole percent.
    #[schema(examples(12))]
    cpu_usage: u64,
    /// Of its process against its machine, in whole percent.
    #[schema(examples(4))]
    memory_usage: u64,
    #[schema(value_type = ServerState)]
    status: &'static str,
}

/// Named for the description.
type ServerList = Items<Server>;

/// List conference servers
///
/// The servers that match `filter` and `search` (over `name`, `ipv4`, `ipv6`), in the order of `orderby`.
#[utoipa::path(
    get, path = "/api/conference_servers", operation_id = "list_conference_servers", tag = SERVERS,
    params(ListOptions),
    responses((status = 200, description = "A page of servers.", body = ServerList)),
)]
pub(super) async fn list(State(api): State<Arc<Api>>, query: ListQuery) -> Result<Json<Items<Server>>, Error> {
    let page = api.store.servers(&query.listing(&FIELDS)?).await?;
    Ok(Json(Items::of(page)))
}

body! {
    /// A node that is to host rooms. At least one of `ipv4` and `ipv6` must be given.
    struct ServerCreation (creates) {
        /// Unique; its process claims the server by it. It cannot be changed.
        required name: String = text(1, 64), example "conclave-2";
        /// Whether rooms are placed there.
        optional enabled: bool = Boolean, default true, example true;
        /// Where phones are sent.
        optional ipv4: Ipv4Addr = Ipv4, example "192.0.2.11";
        /// Where phones are sent.
        optional ipv6: Ipv6Addr = Ipv6, example "2001:db8::11";
        /// Rooms that may be active there at once.
        required max_rooms: i64 = integer(0, i64::from(i32::MAX)), example 100;
        /// Participants that may be there at once.
        required max_participants: i64 = integer(0, i64::from(i32::MAX)), example 1000;
    }
}

/// Create a conference server
///
/// Makes the row of a node that was added to the built-in one (`EXTERNAL`); it is `OFFLINE` until its process claims it.
/// Needs the role admin.
#[utoipa::path(
    post, path = "/api/conference_servers", operation_id = "create_conference_server", tag = SERVERS,
    request_body = ServerCreation,
    responses(
        (status = 200, description = "Made.", body = Made),
        (status = 409, description = "`RESOURCE_IN_USE`: another server has the name."),
    ),
)]
pub(super) async fn create(State(api): State<Arc<Api>>, mut fields: Fields) -> Result<Json<Made>, Error> {
    let creation: ServerCreation = fields.fill()?;
    let (ipv4, ipv6) = (creation.ipv4.value(), creation.ipv6.value());
    if ipv4.is_none() && ipv6.is_none() {
        return Err(Error::invalid("ipv4", "at least one of ipv4 and ipv6 is required"));
    }
    let limit = |n: i64| u32::try_from(n).unwrap_or(0);
    let server = ServerRecord {
        id: api.store.ids().next(),
        name: creation.name,
        kind: ServerKind::External,
        enabled: creation.enabled.over(true, true),
        ipv4: ipv4.map(|ip| ip.to_string()),
        ipv6: ipv6.map(|ip| ip.to_string()),
        max_rooms: limit(creation.max_rooms),
        max_participants: limit(creation.max_participants),
        created_at: store::now(),
    };
    api.rooms.create_server(&server).await?;
    Ok(Json(Made { id: server.id }))
}

/// Delete a conference server
///
/// The built-in one cannot be deleted, only disabled. Needs the role admin.
#[utoipa::path(
    post, path = "/api/conference_servers/{id}/destroy", operation_id = "destroy_conference_server", tag = SERVERS,
    responses(
        (status = 204, description = "Gone."),
        (status = 409, description = "`RESOURCE_IN_USE`: rooms are active there, or it is the built-in one."),
    ),
)]
pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath(server): InPath<String>) -> Result<StatusCode, Error> {
    api.rooms.destroy_server(id(&server, "server")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a conference server
///
/// One server, with the same fields as in the list.
#[utoipa::path(
    get, path = "/api/conference_servers/{id}", operation_id = "get_conference_server", tag = SERVERS,
    responses((status = 200, description = "The server.", body = Server)),
)]
pub(super) async fn show(State(api): State<Arc<Api>>, InPath(server): InPath<String>) -> Result<Json<Server>, Error> {
    Ok(Json(api.store.server(id(&server, "server")?).await?.into()))
}

/// Update a conference server
///
/// Changes `enabled`, `max_rooms` and `max_participants`; absent fields stay as they are. A server that is not enabled
/// drains: nothing new is placed there, and what runs goes on. Lower limits end no room. Needs the role admin.
#[utoipa::path(
    post, path = "/api/conference_servers/{id}", operation_id = "update_conference_server", tag = SERVERS,
    request_body = ServerChanges,
    responses((status = 200, description = "Changed.")),
)]
pub(super) async fn update(
    State(api): State<Arc<Api>>,
    InPath(server): InPath<String>,
    mut fields: Fields,
) -> Result<(), Error> {
    let server = id(&server, "server")?;
    api.store.server(server).await?;
    let changes: ServerChanges = fields.fill()?;
    let limit = |n: i64| u32::try_from(n).unwrap_or(0);
    let update = ServerUpdate {
        enabled: changes.enabled,
        max_rooms: changes.max_rooms.map(limit),
        max_participants: changes.max_participants.map(limit),
    };
    api.rooms.update_server(server, update).await
}

/// Get a conference server's status
///
/// How many rooms and participants are there now, and what of the machine its process uses.
#[utoipa::path(
    get, path = "/api/conference_servers/{id}/status", operation_id = "get_conference_server_status", tag = SERVERS,
    responses((status = 200, description = "The status.", body = ServerStatus)),
)]
pub(super) async fn status(
    State(api): State<Arc<Api>>,
    InPath(server): InPath<String>,
) -> Result<Json<ServerStatus>, Error> {
    let server = id(&server, "server")?;
    // Of the other servers, whose processes have not claimed their rows, nothing is known but that they are there.
    let is_here = server == api.rooms.server();
    if !is_here {
        api.store.server(server).await?;
    }
    let load = api.rooms.server_load(server);
    Ok(Json(ServerStatus {
        rooms_count: load.rooms,
        participants_count: load.participants,
        cpu_usage: if is_here { api.usage.cpu_percent() } else { 0 },
        memory_usage: if is_here { api.usage.memory_percent() } else { 0 },
        status: if is_here { "ONLINE" } else { "OFFLINE" },
    }))
}
