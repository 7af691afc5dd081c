//! `/join`: how a browser comes in by a room's link, in the shape of WHIP (RFC 9725), media both ways; and `/r`, the page that
//! does so. The link's token lets in, the session's key is the participant. Not of the contract: what is here speaks to pages
//! and to WebRTC publishers.

mod actions;
mod sessions;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::Sha1;

use super::Api;
use super::origin::Origin;
use super::query::InPath;
use super::tags;
use crate::auth::{Pass, Personal};
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::{Key, Left, Refusal, Visitor};

pub(super) use actions::act;
pub(super) use sessions::Sessions;
pub(super) use view::{follow, show};

const PIN: HeaderName = HeaderName::from_static("conclave-pin");
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// A session description: browsers' are a tenth of it.
const MAX_OFFER_BYTES: usize = 64 * 1024;

/// Of the room, what a page shows before one is in.
#[derive(Serialize)]
struct RoomInfo {
    subject: String,
    extension_number: String,
    mode: &'static str,
    language: String,
    locked: bool,
    scheduled_start_at: Option<Timestamp>,
    scheduled_end_at: Option<Timestamp>,
}

/// What a link leads to.
#[derive(Serialize)]
pub(super) struct Info {
    room: RoomInfo,
    state: &'static str,
    needs_pin: bool,
    name: Option<String>,
    role: &'static str,
    ice_servers: Vec<IceServer>,
}

/// A relay, with credentials for a time (the REST API for TURN, draft-uberti-behave-turn-rest).
#[derive(Serialize)]
struct IceServer {
    urls: Vec<String>,
    username: String,
    credential: String,
}

/// Of a join.
#[derive(Default, Deserialize)]
pub(super) struct Wishes {
    #[serde(default)]
    name: String,
    #[serde(default)]
    muted: Option<String>,
}

/// Why a browser is not let in, in the API's words.
fn refused(refusal: Refusal, api: &Api, room: Id) -> Error {
    let text = refusal.to_string();
    match refusal {
        Refusal::UnknownRoom(_) => Error::NotFound("link"),
        Refusal::RoomLocked => Error::Barred { code: "LOCKED", reason: text.into(), retry_after_s: None },
        Refusal::PinRequired => Error::Barred { code: "PIN_REQUIRED", reason: text.into(), retry_after_s: None },
        Refusal::PinWrong => Error::Barred { code: "PIN_WRONG", reason: text.into(), retry_after_s: None },
        Refusal::PinClosed => Error::Barred { code: "PIN_CLOSED", reason: text.into(), retry_after_s: Some(60) },
        Refusal::NotStarted => {
            let begins =
                api.rooms.begins_at(room).map_or_else(String::new, |at| format!("; it can be joined from {at}"));
            Error::Barred { code: "NOT_STARTED", reason: format!("{text}{begins}").into(), retry_after_s: None }
        }
        Refusal::MeetingOver => Error::Barred { code: "ENDED", reason: text.into(), retry_after_s: None },
        Refusal::RoomFull(_) | Refusal::ServerFull(_) => Error::CapacityExceeded(text.into()),
        Refusal::ServerDisabled | Refusal::Draining => Error::NoServer(text.into()),
        Refusal::Overloaded(_) => Error::Busy(text.into()),
        Refusal::BadOffer(_) => Error::invalid("", text),
        Refusal::NoBrowsers => Error::InvalidState(text.into()),
        Refusal::Broken(_) => Error::Broken(text),
    }
}

/// `GET /join/{token}`
pub(super) async fn info(
    State(api): State<Arc<Api>>,
    Origin(from): Origin,
    InPath(token): InPath<String>,
) -> Result<Json<Info>, Error> {
    let pass = api.links.pass(&token, from).await?;
    let id = pass.room;
    let room = api.store.room(id).await?;
    let door = api.rooms.door(id, from)?;
    let state = match &door.closed {
        None | Some(Refusal::PinClosed) => "OPEN",
        Some(Refusal::RoomLocked) => "LOCKED",
        Some(Refusal::RoomFull(_) | Refusal::ServerFull(_)) => "FULL",
        Some(Refusal::NotStarted) => "NOT_STARTED",
        Some(Refusal::MeetingOver) => "ENDED",
        Some(_) => "UNAVAILABLE",
    };
    let settings = room.settings;
    Ok(Json(Info {
        state: if api.serves_browsers { state } else { "UNAVAILABLE" },
        needs_pin: door.needs_pin && pass.personal.is_none(),
        role: if pass.personal.as_ref().is_some_and(Personal::leads) { "CHAIRMAN" } else { "PARTICIPANT" },
        name: pass.personal.as_ref().and_then(Personal::named).map(str::to_owned),
        ice_servers: ice_servers(&api, Timestamp::now()),
        room: RoomInfo {
            subject: settings.subject,
            extension_number: settings.extension_number,
            mode: settings.mode.as_str(),
            language: settings.language.unwrap_or_else(|| api.language.clone()),
            locked: door.locked,
            scheduled_start_at: settings.scheduled_start_at,
            scheduled_end_at: settings.scheduled_end_at,
        },
    }))
}

fn ice_servers(api: &Api, now: Timestamp) -> Vec<IceServer> {
    let Some(turn) = &api.turn else { return Vec::new() };
    let until = now.as_second().saturating_add(i64::try_from(turn.ttl.as_secs()).unwrap_or(i64::MAX));
    let username = format!("{until}:conclave");
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(turn.secret.as_bytes()) else { return Vec::new() };
    mac.update(username.as_bytes());
    let credential = STANDARD.encode(mac.finalize().into_bytes());
    vec![IceServer { urls: turn.urls.clone(), username, credential }]
}

/// `POST /join/{token}`: an offer, answered.
pub(super) async fn join(
    state: State<Arc<Api>>,
    origin: Origin,
    InPath(token): InPath<String>,
    wishes: Query<Wishes>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    enter(state, origin, &token, wishes, &headers, &body).await
}

/// `POST /join`, as WHIP clients have it: the token as the bearer's.
pub(super) async fn join_as_bearer(
    state: State<Arc<Api>>,
    origin: Origin,
    wishes: Query<Wishes>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let token = super::gate::bearer(&headers).ok_or(Error::Unauthorized("the room's join token is needed"))?;
    enter(state, origin, token, wishes, &headers, &body).await
}

async fn enter(
    State(api): State<Arc<Api>>,
    Origin(from): Origin,
    token: &str,
    Query(wishes): Query<Wishes>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Error> {
    let Pass { room, personal } = api.links.pass(token, from).await?;
    let offer = described(headers, body, SDP)?;
    let pin = headers.get(PIN).and_then(|pin| pin.to_str().ok()).map(str::trim);
    let muted = wishes.muted.as_deref().is_some_and(|muted| matches!(muted, "true" | "1" | ""));
    let pin = pin.map(|pin| pin.chars().take(16).collect());
    let named = personal.as_ref().and_then(Personal::named).map(str::to_owned);
    let key = personal.map_or(Key::Pin(pin), |personal| Key::Invited { leads: personal.leads() });
    let visitor = Visitor { name: named.unwrap_or(wishes.name), source: from, key, muted };
    let visit = api.rooms.visit(room, visitor, offer).await.map_err(|refusal| refused(refusal, &api, room))?;
    let answer = visit.answer.clone();
    let (key, session) = api.sessions.begin(&api.rooms, room, visit)?;
    let mut response = (StatusCode::CREATED, answer).into_response();
    let kept = response.headers_mut();
    kept.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    kept.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let location = HeaderValue::try_from(format!("/join/session/{key}"));
    kept.insert(header::LOCATION, location.map_err(|e| Error::Broken(e.to_string()))?);
    kept.insert(header::ETAG, HeaderValue::try_from(session.tag()).map_err(|e| Error::Broken(e.to_string()))?);
    if let Some(server) = ice_servers(&api, Timestamp::now()).first() {
        for url in &server.urls {
            let link = format!(
                "<{url}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                server.username, server.credential
            );
            if let Ok(link) = HeaderValue::try_from(link) {
                kept.append(header::LINK, link);
            }
        }
    }
    Ok(response)
}

fn described<'a>(headers: &HeaderMap, body: &'a [u8], wanted: &'static str) -> Result<&'a str, Error> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(wanted) {
        return Err(Error::MediaTypeOf(wanted));
    }
    if body.len() > MAX_OFFER_BYTES {
        return Err(Error::TooLarge(MAX_OFFER_BYTES));
    }
    std::str::from_utf8(body).map_err(|_| Error::invalid("", "the body is not UTF-8"))
}

/// `PATCH /join/session/{key}`: an ICE restart, or candidates. `If-Match` may name the ICE session that it is for, as RFC 9725
/// §4.3.1 demands of clients; pages leave it out.
pub(super) async fn patch(
    State(api): State<Arc<Api>>,
    InPath(key): InPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let session = api.sessions.find(&key)?;
    let fragment = described(&headers, &body, FRAGMENT)?;
    if tags::names(&headers, &header::IF_MATCH, &session.tag()) == Some(false) {
        return Err(Error::Outdated("If-Match names another ICE session than the one that runs"));
    }
    match api.rooms.restart_ice(session.participant, fragment).await? {
        Some(ours) => {
            let headers = [(header::CONTENT_TYPE, FRAGMENT), (header::ETAG, &session.restarted())];
            Ok((headers, ours).into_response())
        }
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// `DELETE /join/session/{key}`: they leave.
pub(super) async fn leave(State(api): State<Arc<Api>>, InPath(key): InPath<String>) -> Result<(), Error> {
    let session = api.sessions.find(&key)?;
    api.sessions.end(&key, "LEFT");
    api.rooms.leave(session.participant, Left::HungUp);
    Ok(())
}

/// `OPTIONS`: what may be posted (RFC 9725 §4.2).
pub(super) async fn options() -> Response {
    let headers = [("accept-post", SDP), ("allow", "GET, POST, OPTIONS")];
    (StatusCode::NO_CONTENT, headers).into_response()
}
