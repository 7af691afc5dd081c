//! The description of the API (OpenAPI 3.1), made from the code: handlers say what they do in `#[utoipa::path]`, wire types
//! derive their schemas, request bodies are described by `body!`, and what every answer has is added here. Made once, served
//! at `/api/openapi.json`; `/api/docs` renders it. Pure but for those two.

mod announcements;
mod docs;
mod examples;
mod parameters;
mod refusals;
mod wire;

use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::OpenApi;

use super::{auth, blobs, envelope, events, operation, participants, recordings, rooms, servers, tags, webhooks};

pub(super) use docs::{asset, page};
pub(super) use parameters::{DeliveryOptions, FollowOptions, ListOptions};
pub(super) use wire::{Bytes, ErrorCode, ParticipantState, ServerState, Time, Transport};

pub(super) const SERVERS: &str = "Conference servers";
pub(super) const ROOMS: &str = "Conference rooms";
pub(super) const PARTICIPANTS: &str = "Participants";
pub(super) const RECORDINGS: &str = "Recordings";
pub(super) const AUTH: &str = "Signing in";
pub(super) const EVENTS: &str = "Events";
pub(super) const OPERATION: &str = "Operation";

/// Every operation; `tests.rs` compares them with the route table.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Conclave",
        version = env!("CARGO_PKG_VERSION"),
        description = include_str!("openapi/conventions.md"),
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "This server.")),
    tags(
        (name = SERVERS, description = "Nodes that host rooms, and how many each may host."),
        (name = ROOMS, description = "Rooms, and what is done to a whole room."),
        (name = PARTICIPANTS, description = "Who is in a room now."),
        (name = RECORDINGS, description = "What was recorded, and its files."),
        (name = AUTH, description = "Sessions of users. Long-lived tokens come from the command line."),
        (name = EVENTS, description = "What happens, as it happens: streams and webhooks."),
        (name = OPERATION, description = "For those who run the server: probes, metrics, this description."),
    ),
    components(schemas(envelope::Errors<'static>, events::Event)),
    paths(
        servers::list,
        servers::create,
        servers::show,
        servers::update,
        servers::status,
        servers::destroy,
        rooms::list,
        rooms::create,
        rooms::show,
        rooms::update,
        rooms::destroy,
        rooms::status,
        rooms::picture::preview,
        rooms::picture::layout,
        rooms::mute,
        rooms::unmute,
        rooms::lock,
        rooms::unlock,
        rooms::start_recording,
        rooms::stop_recording,
        rooms::tokens::create,
        rooms::tokens::revoke,
        participants::list,
        participants::layout,
        participants::invite,
        participants::show,
        participants::mute,
        participants::unmute,
        participants::chairman,
        participants::position,
        participants::destroy,
        recordings::list,
        recordings::set_read,
        recordings::set_unread,
        recordings::destroy,
        blobs::download,
        auth::sign_in,
        auth::refresh_token,
        auth::sign_out,
        auth::oauth_token,
        auth::oauth_revoke,
        events::follow,
        events::ticket,
        webhooks::list,
        webhooks::create,
        webhooks::show,
        webhooks::update,
        webhooks::destroy,
        webhooks::test,
        webhooks::deliveries,
        webhooks::retry,
        webhooks::forget,
        operation::health,
        operation::readiness,
        operation::metrics,
        description,
        docs::page,
        docs::asset,
    ),
)]
struct Conclave;

/// As it is kept in `config/openapi.json`.
pub fn file() -> String {
    let text = serde_json::to_string_pretty(&whole()).expect("BUG: a value is always JSON");
    text + "\n"
}

/// The whole description.
fn whole() -> Value {
    let mut whole = serde_json::to_value(Conclave::openapi()).expect("BUG: strings and numbers are always JSON");
    relations(&mut whole);
    parameters::complete(&mut whole);
    announcements::complete(&mut whole);
    refusals::complete(&mut whole);
    examples::complete(&mut whole);
    for part in ["paths", "components"] {
        unwrap(&mut whole[part]);
    }
    whole
}

/// Rules between fields, as `body!` has only those of single ones. Not by `anyOf`, of which generated clients make types
/// that have to be told apart.
fn relations(whole: &mut Value) {
    let no_address = json!({"properties": {"ipv4": {"type": "null"}, "ipv6": {"type": "null"}}});
    whole["components"]["schemas"]["ServerCreation"]["not"] = no_address;
}

/// Doc comments break lines where the source does.
fn unwrap(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| match field {
            Value::String(text) if name == "description" => *text = text.replace('\n', " "),
            field => unwrap(field),
        }),
        Value::Array(all) => all.iter_mut().for_each(unwrap),
        _ => {}
    }
}

/// As it is served; the tag changes when it does.
static SERVED: LazyLock<(String, String)> = LazyLock::new(|| {
    let text = whole().to_string();
    let digest: String = Sha256::digest(&text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    (text, format!("\"{digest}\""))
});

/// Describe the API
///
/// This description. A client that sends the `ETag` of its copy in `If-None-Match` is told that nothing changed.
#[utoipa::path(
    get, path = "/api/openapi.json", operation_id = "describe_api", tag = OPERATION, security(()),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of the copy one has.",
        example = "\"0f343b0931126a20f133d67c2b018a3b\"")),
    responses(
        (status = 200, description = "The description, as OpenAPI 3.1.", body = Object,
            headers(("ETag" = String, description = "Of this version.")),
            example = json!({"openapi": "3.1.0", "info": {"title": "Conclave", "version": "0.1.0"}, "paths": {}})),
        (status = 304, description = "It is the one the client has.",
            headers(("ETag" = String, description = "Of this version."))),
    ),
)]
pub(super) async fn description(headers: HeaderMap) -> Response {
    let (text, etag) = &*SERVED;
    let caching = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    match tags::names(&headers, &header::IF_NONE_MATCH, etag) {
        Some(true) => (StatusCode::NOT_MODIFIED, caching).into_response(),
        _ => (caching, [(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response(),
    }
}

/// Each operation with its path and method.
fn operations(whole: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let paths = whole["paths"].as_object_mut().expect("BUG: a description has paths");
    paths.iter_mut().flat_map(|(path, item)| {
        let methods = item.as_object_mut().expect("BUG: a path has methods");
        methods.iter_mut().map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

#[cfg(test)]
mod tests;
