//! `/api/conference_servers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Api;
use super::fields::{Boolean, Fields, body, integer};
use super::query::{InPath, Items, ListQuery, id};
use crate::error::Error;
use crate::ids::Id;
use crate::store::{ServerKind, ServerRecord, ServerUpdate, Store};

#[derive(Serialize)]
pub(super) struct Server {
    id: Id,
    name: String,
    enabled: bool,
    r#type: &'static str,
    ipv4: Option<String>,
    ipv6: Option<String>,
    max_rooms: u32,
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

#[derive(Serialize)]
pub(super) struct ServerStatus {
    rooms_count: usize,
    participants_count: usize,
    cpu_usage: u64,
    memory_usage: u64,
    status: &'static str,
}

pub(super) async fn list(State(api): State<Arc<Api>>, query: ListQuery) -> Result<Json<Items<Server>>, Error> {
    let page = api.store.servers(&query.listing(Store::server_column)?).await?;
    Ok(Json(Items::of(page)))
}

pub(super) async fn show(State(api): State<Arc<Api>>, InPath(server): InPath<String>) -> Result<Json<Server>, Error> {
    Ok(Json(api.store.server(id(&server, "server")?).await?.into()))
}

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

pub(super) async fn status(
    State(api): State<Arc<Api>>,
    InPath(server): InPath<String>,
) -> Result<Json<ServerStatus>, Error> {
    let server = api.store.server(id(&server, "server")?).await?;
    let load = api.rooms.server_load(server.id);
    // The other servers' processes have not claimed their rows: nothing is known of them.
    let is_here = server.kind == ServerKind::Internal;
    Ok(Json(ServerStatus {
        rooms_count: load.rooms,
        participants_count: load.participants,
        cpu_usage: if is_here { api.usage.cpu_percent() } else { 0 },
        memory_usage: if is_here { api.usage.memory_percent() } else { 0 },
        status: if is_here { "ONLINE" } else { "OFFLINE" },
    }))
}
