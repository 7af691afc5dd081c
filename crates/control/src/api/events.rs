//! `/api/events`: what happens, as it happens. Server-sent events and WebSockets on one path, and one-time tickets for
//! browsers, which cannot set a header on either. What is sent is made by `crate::events`; here it gets its frames.

mod feed;
mod socket;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use utoipa::ToSchema;

use super::Api;
use super::openapi::{EVENTS, FollowOptions, Time};
use super::pairs;
use super::query::id;
use crate::auth::Identity;
use crate::error::{Error, Violation};
use crate::events::{Announced, Data, Start, Tickets, Types};
use crate::ids::Id;
use feed::{End, Feed};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that hold answers back leave this one alone.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a client is to wait before it comes again.
const RETRY: Duration = Duration::from_secs(3);
/// Frames between a stream and its connection.
const QUEUE: usize = 16;

/// Stands for a token, once.
#[derive(Serialize, ToSchema)]
pub(super) struct Ticket {
    /// For `GET /api/events?ticket=…`.
    #[schema(examples("cnt_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"))]
    ticket: String,
    /// Seconds.
    #[schema(examples(60))]
    expires_in: u64,
}

/// One event, as streams and webhooks carry it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the text that `events::Announced` makes")]
pub(super) struct Event {
    /// What to resume after. It grows.
    #[schema(examples(4711))]
    cursor: i64,
    /// What happened; the first word says what `data` holds. `stream.gap` stands where events are missing.
    #[schema(examples("room.locked"))]
    r#type: String,
    /// When it became true.
    #[schema(value_type = Time)]
    at: jiff::Timestamp,
    /// Of which room; null when of none.
    room_id: Option<Id>,
    /// The room's.
    #[schema(examples("900"))]
    extension_number: Option<String>,
    /// Counts the events of the room; null for a gap.
    #[schema(examples(17))]
    sequence: Option<i64>,
    data: EventData,
}

/// To whom or what it happened.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the text that `events::Announced` makes")]
enum EventData {
    /// An event's.
    Event(Data),
    /// A gap's.
    Gap {
        /// What the client had asked for.
        #[schema(examples(12))]
        after: i64,
        /// The first event that is kept.
        #[schema(examples(4000))]
        first_cursor: i64,
    },
}

/// Get a ticket for events
///
/// For one `GET /api/events?ticket=…` within a minute, with the rights of the token: browsers cannot set a header
/// there.
#[utoipa::path(
    post, path = "/api/events/ticket", operation_id = "create_event_ticket", tag = EVENTS,
    responses(
        (status = 200, description = "The ticket.", body = Ticket,
            headers(("Cache-Control" = String, description = "`no-store`."))),
        (status = 503, description = "`BUSY`: too many tickets wait to be used, or the database is not available."),
    ),
)]
pub(super) async fn ticket(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Identity>,
) -> Result<impl IntoResponse, Error> {
    let ticket = api.delivery.tickets.give(who, Instant::now())?;
    let expires_in = Tickets::LIFETIME.as_secs();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Ticket { ticket, expires_in })))
}

/// What a client wants to follow.
pub(super) struct Following {
    start: Start,
    room: Option<Id>,
    types: Types,
}

impl<S: Send + Sync> FromRequestParts<S> for Following {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        Self::parse(pairs::of_query(&parts.uri)?, &parts.headers)
    }
}

impl Following {
    fn parse(pairs: Vec<(String, String)>, headers: &HeaderMap) -> Result<Self, Error> {
        let (mut cursor, mut room, mut types) = (None, None, None);
        let mut violations = Vec::new();
        for (name, value) in pairs {
            let (option, name) = match name.as_str() {
                "cursor" => (&mut cursor, "cursor"),
                "room" => (&mut room, "room"),
                "types" => (&mut types, "types"),
                _ => continue,
            };
            if option.replace(value).is_some() {
                violations.push(Violation::new(name, format!("{name} is given twice")));
            }
        }
        // A browser that comes again repeats the URL, and knows better in the header.
        let (cursor, name) = match headers.get(LAST_EVENT_ID) {
            Some(last) if !last.is_empty() => (Some(last.to_str().unwrap_or("").to_owned()), "Last-Event-ID"),
            _ => (cursor, "cursor"),
        };
        let start = match cursor.map(|cursor| cursor.parse::<i64>().ok().filter(|cursor| *cursor >= 0)) {
            None => Start::Now,
            Some(Some(cursor)) => Start::After(cursor),
            Some(None) => {
                violations.push(Violation::new(name, format!("{name} must be the cursor of an event, or 0")));
                Start::Now
            }
        };
        let types = Types::parse(types.as_deref().into_iter().flat_map(|types| types.split(',')));
        let types = types.unwrap_or_else(|rule| {
            violations.push(Violation::new("types", format!("types {rule}")));
            Types::default()
        });
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        Ok(Self { start, room: room.map(|room| id(&room, "room")).transpose()?, types })
    }
}

/// Follow events
///
/// As a WebSocket when the request asks to upgrade to one, with a text frame for each event; as server-sent events when
/// it accepts `text/event-stream`, where `id` is the cursor, `event` the type and `data` the JSON. Each is an `Event`.
/// At least once, in order; after a break one resumes with `cursor` or `Last-Event-ID`. When events are missing that a
/// client asked for, a `stream.gap` stands in their place. A stream ends when its token does, when its client takes
/// nothing for too long, and at the shutdown; a WebSocket is then closed with 1008, 1008 or 1001.
#[utoipa::path(
    get, path = "/api/events", operation_id = "follow_events", tag = EVENTS,
    security(("bearer" = []), ("ticket" = [])),
    params(FollowOptions),
    responses(
        (status = 101, description = "A WebSocket. Each of its text frames is an `Event`."),
        (status = 200, description = "An endless stream.", body = String, content_type = "text/event-stream",
            example = "id: 4711\nevent: room.locked\ndata: {\"cursor\":4711,\"type\":\"room.locked\"}\n\n"),
        (status = 406, description = "`VALIDATE_FAILED`: events come as text/event-stream, or by WebSocket."),
        (status = 503, description = "`BUSY`: too many streams are open, or the database is not available."),
    ),
)]
pub(super) async fn follow(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Identity>,
    following: Following,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let asks_for_a_socket = has_token(&headers, &header::UPGRADE, "websocket");
    if !asks_for_a_socket && !accepts_event_stream(&headers) {
        return Err(Error::NotAcceptable("events come as text/event-stream, which Accept must name, or by WebSocket"));
    }
    let upgrade = match upgrade {
        Ok(upgrade) => Some(upgrade),
        Err(broken) if asks_for_a_socket => {
            return Err(Error::invalid("", format!("this is no WebSocket handshake: {}", broken.body_text())));
        }
        Err(_) => None,
    };
    if let Some(room) = following.room
        && api.rooms.status(room).is_err()
        // What a destroyed room left is told as long as it is kept.
        && api.store.events_after(0, Some(room), 1).await?.is_empty()
    {
        return Err(Error::NotFound("room"));
    }
    let place = api.delivery.streams.seat()?;
    let reader = api.delivery.streams.reader(following.start, following.room, following.types).await?;
    let feed = Feed::new(&api, who, place, reader);
    Ok(match upgrade {
        Some(upgrade) => socket::bounded(upgrade).on_upgrade(|socket| socket::serve(socket, feed)),
        None => event_stream(feed),
    })
}

fn event_stream(mut feed: Feed) -> Response {
    let (frames, taken) = mpsc::channel(QUEUE);
    // A comment keeps a silent stream open.
    let heartbeat = KeepAlive::new().interval(feed.heartbeat).text("still here");
    // A task of its own: the connection asks for the next frame only when it has written the last one, so it could not
    // tell that it has been waiting for too long.
    tokio::spawn(async move {
        let ended = feed.ended();
        let mut end = tokio::select! {
            end = tell_all(&frames, &mut feed) => end,
            () = frames.closed() => End::Gone,
            end = ended => end,
        };
        if end == End::Stopping {
            let events = feed.rest().await;
            end = tell(&frames, feed.patience, &events).await.err().unwrap_or(end);
        }
        feed.end(end);
    });
    let frames = stream::unfold(taken, async |mut taken: mpsc::Receiver<Frame>| {
        taken.recv().await.map(|frame| (Ok::<_, Infallible>(frame), taken))
    });
    let mut response = Sse::new(frames).keep_alive(heartbeat).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

async fn tell_all(frames: &mpsc::Sender<Frame>, feed: &mut Feed) -> End {
    if frames.send(Frame::default().retry(RETRY).comment("events follow")).await.is_err() {
        return End::Gone;
    }
    loop {
        let events = feed.next().await;
        if let Err(end) = tell(frames, feed.patience, &events).await {
            return end;
        }
    }
}

async fn tell(frames: &mpsc::Sender<Frame>, patience: Duration, events: &[Arc<Announced>]) -> Result<(), End> {
    for event in events {
        let frame = Frame::default().id(event.cursor.to_string()).event(&event.kind).data(&event.json);
        frames.send_timeout(frame, patience).await.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => End::Slow,
            SendTimeoutError::Closed(_) => End::Gone,
        })?;
    }
    Ok(())
}

/// `Accept` names the type itself: whoever takes anything does not expect an answer without an end.
fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"));
        let is_refused = |part: &str| {
            let weight = part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
            weight.is_some_and(|(_, weight)| weight.trim().parse::<f32>() == Ok(0.0))
        };
        is_named && !parts.any(is_refused)
    })
}

/// One of a header's words.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn event_stream_must_be_named() {
        for (accept, accepted) in [
            ("text/event-stream", true),
            ("application/json, TEXT/Event-Stream;q=0.5", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream; q = 0.0", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(accepts_event_stream(&headers(&[(header::ACCEPT, accept)])), accepted, "{accept}");
        }
        assert!(!accepts_event_stream(&HeaderMap::new()));
    }

    fn following(query: &[(&str, &str)], last: Option<&'static str>) -> Result<Following, Error> {
        let pairs = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Following::parse(pairs, &headers(&last.map(|last| (LAST_EVENT_ID, last)).into_iter().collect::<Vec<_>>()))
    }

    #[test]
    fn place_to_begin_is_the_cursor_or_what_the_browser_had_last() {
        for (query, last, start) in [
            (vec![], None, Start::Now),
            (vec![], Some(""), Start::Now),
            (vec![("cursor", "0")], None, Start::After(0)),
            (vec![("cursor", "12"), ("ticket", "x"), ("unknown", "y")], None, Start::After(12)),
            (vec![("cursor", "12")], Some("15"), Start::After(15)),
        ] {
            assert_eq!(following(&query, last).unwrap().start, start, "{query:?} {last:?}");
        }
    }

    #[test]
    fn every_broken_option_is_named() {
        let named = |query: &[(&str, &str)], last| match following(query, last) {
            Err(Error::Invalid(violations)) => violations.into_iter().map(|v| v.field.into_owned()).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        for wrong in ["-1", "x", "", "1.0", "99999999999999999999"] {
            assert_eq!(named(&[("cursor", wrong)], None), ["cursor"], "{wrong}");
        }
        assert_eq!(named(&[("cursor", "1")], Some("x")), ["Last-Event-ID"]);
        assert_eq!(named(&[("types", "room.,nothing"), ("cursor", "x")], None), ["cursor", "types"]);
        assert_eq!(named(&[("cursor", "1"), ("cursor", "2")], None), ["cursor"]);
        assert!(matches!(following(&[("room", "nonsense")], None), Err(Error::NotFound("room"))));
    }
}
