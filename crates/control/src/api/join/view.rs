//! The room as one of its browsers sees it: once, or as a stream that says it again after each change.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;

use super::sessions::Session;
use crate::api::Api;
use crate::api::query::InPath;
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::{ParticipantView, Presence, name_of};

/// How often a view is looked at: nobody sees a quarter of a second in a roster.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// In a room of so many a view is long, and is looked at more rarely.
const MANY: usize = 50;
/// A proxy keeps a stream open that says something so often.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// The whole of it.
#[derive(PartialEq, Serialize)]
pub(in crate::api) struct View {
    participant: Id,
    state: &'static str,
    muted: bool,
    may_unmute: bool,
    chairman: bool,
    hand_raised: bool,
    room: RoomView,
    participants: Vec<Member>,
    tiles: Vec<Tile>,
}

#[derive(PartialEq, Serialize)]
struct RoomView {
    subject: String,
    mode: &'static str,
    layout: &'static str,
    width: usize,
    height: usize,
    locked: bool,
    muted: bool,
    recording: bool,
    control: &'static str,
    language: Option<String>,
}

#[derive(PartialEq, Serialize)]
struct Member {
    id: Id,
    name: String,
    muted: bool,
    chairman: bool,
    talking: bool,
    hand_raised: bool,
    position: i32,
    pinned: bool,
    video: bool,
    waiting: bool,
}

/// In fractions of the picture.
#[derive(PartialEq, Serialize)]
struct Tile {
    position: usize,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    participant: Option<Id>,
}

impl From<&ParticipantView> for Member {
    fn from(view: &ParticipantView) -> Self {
        Self {
            id: Id::from_raw(view.id.0),
            name: name_of(&view.display_name),
            muted: view.muted,
            chairman: view.chairman,
            talking: view.talking && !view.muted,
            hand_raised: view.hand_raised,
            position: view.position,
            pinned: view.pinned,
            video: view.video.is_some(),
            waiting: view.presence == Presence::Waiting,
        }
    }
}

fn look(api: &Api, session: &Session) -> Result<View, Error> {
    let standing = api.rooms.standing(session.room, session.participant)?;
    let me = standing.participants.iter().find(|view| view.id == session.participant);
    let me = me.ok_or(Error::NotFound("session"))?;
    let picture = api.rooms.picture(session.room).ok();
    let size = picture.as_ref().map_or((0, 0), |p| (p.resolution.width(), p.resolution.height()));
    let share = |part: usize, whole: usize| (part as f64 / whole.max(1) as f64 * 10_000.0).round() / 10_000.0;
    let tiles = picture.iter().flat_map(|picture| &picture.tiles).map(|tile| Tile {
        position: tile.tile,
        x: share(tile.x, size.0),
        y: share(tile.y, size.1),
        width: share(tile.width, size.0),
        height: share(tile.height, size.1),
        participant: tile.participant.map(|who| Id::from_raw(who.0)),
    });
    Ok(View {
        participant: Id::from_raw(session.participant.0),
        state: if me.presence == Presence::Joined { "JOINED" } else { "WAITING" },
        muted: me.muted,
        may_unmute: standing.may_unmute,
        chairman: me.chairman,
        hand_raised: me.hand_raised,
        room: RoomView {
            mode: if picture.is_some() { "VIDEO" } else { "AUDIO" },
            subject: standing.subject,
            layout: standing.layout.as_str(),
            width: size.0,
            height: size.1,
            locked: standing.locked,
            muted: standing.muted,
            recording: standing.recording,
            control: standing.control.as_str(),
            language: standing.language.or_else(|| Some(api.language.clone())),
        },
        participants: standing.participants.iter().map(Member::from).collect(),
        tiles: tiles.collect(),
    })
}

/// `GET /join/session/{key}`
pub(in crate::api) async fn show(
    State(api): State<Arc<Api>>,
    InPath(key): InPath<String>,
) -> Result<Json<View>, Error> {
    let session = api.sessions.find(&key)?;
    Ok(Json(look(&api, &session)?))
}

/// Where a stream is.
struct Following {
    api: Arc<Api>,
    session: Arc<Session>,
    ended: watch::Receiver<Option<&'static str>>,
    said: Option<View>,
    is_over: bool,
}

impl Following {
    /// The next thing to be said.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.is_over {
            return None;
        }
        loop {
            let over = *self.ended.borrow();
            if let Some(why) = over {
                self.is_over = true;
                let data = serde_json::json!({ "reason": why });
                return Some((Ok(Event::default().event("ended").data(data.to_string())), self));
            }
            let view = look(&self.api, &self.session).ok();
            let pause = match view.as_ref().map(|view| view.participants.len()) {
                Some(MANY..) => LOOK_EVERY * 4,
                _ => LOOK_EVERY,
            };
            if let Some(view) = view.filter(|view| self.said.as_ref() != Some(view)) {
                let text = serde_json::to_string(&view).unwrap_or_default();
                self.said = Some(view);
                return Some((Ok(Event::default().event("view").data(text)), self.rested(pause).await));
            }
            self = self.rested(pause).await;
        }
    }

    async fn rested(mut self, pause: Duration) -> Self {
        // A sender that is gone has said why before.
        let _timed_out = tokio::time::timeout(pause, self.ended.changed()).await;
        self
    }
}

/// `GET /join/session/{key}/events`
pub(in crate::api) async fn follow(
    State(api): State<Arc<Api>>,
    InPath(key): InPath<String>,
) -> Result<impl IntoResponse, Error> {
    let session = api.sessions.find(&key)?;
    let following = Following { ended: session.ended(), api, session, said: None, is_over: false };
    let events = stream::unfold(following, Following::next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT_EVERY)))
}
