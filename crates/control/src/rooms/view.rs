//! What the API may see of rooms: copies, made under the lock, completed by the engine's latest figures. Those are asked
//! for at most once a second for each room, however many ask here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use media::{CodecName, LegId, LegSnapshot, Reply, RoomId, RoomSnapshot, VideoCodec};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::Known;
pub use super::state::Presence;
use super::web::Transport;
use super::{ParticipantId, Rooms};
use crate::error::Error;
use crate::ids::Id;
use crate::invitations::Invitations;

/// Figures younger than this are shown again.
const FRESH: Duration = Duration::from_secs(1);
/// A worker answers within a tick; one that stalls is not waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Somebody in a room.
#[derive(Clone, Debug)]
pub struct ParticipantView {
    /// Who.
    pub id: ParticipantId,
    /// name-addr.
    pub display_name: String,
    /// User part of the address.
    pub number: String,
    /// Nobody hears them.
    pub muted: bool,
    /// Leads the room.
    pub chairman: bool,
    /// The tile held now; −1 when none.
    pub position: i32,
    /// The position was set.
    pub pinned: bool,
    /// When they came.
    pub joined_at: Timestamp,
    /// Heard now.
    pub talking: bool,
    /// Held by the far end.
    pub on_hold: bool,
    /// How their media comes.
    pub transport: Transport,
    /// How they take part.
    pub presence: Presence,
    /// They ask for the word.
    pub hand_raised: bool,
    /// What their sound is coded with; `None` until they have answered.
    pub codec: Option<CodecName>,
    /// What their picture is coded with; `None` without one.
    pub video: Option<VideoCodec>,
    /// The engine's figures; `None` when it has none yet.
    pub live: Option<LegSnapshot>,
    leg: Option<LegId>,
    at: Option<RoomId>,
}

/// Whether a room can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomState {
    /// People are in it.
    OnCall,
    /// It could begin now.
    Online,
    /// No server could host it.
    Offline,
}

/// A room now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomStatus {
    /// Whether it can be used.
    pub state: RoomState,
    /// Nobody new comes in.
    pub locked: bool,
    /// Everyone is muted, late joiners too.
    pub muted: bool,
    /// It is being recorded.
    pub recording: bool,
    /// People in it.
    pub participants: usize,
    /// When the first of them came.
    pub started_at: Option<Timestamp>,
    /// Where it is active.
    pub server: Option<Id>,
}

/// How much of a server is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLoad {
    /// Active rooms.
    pub rooms: usize,
    /// People in them.
    pub participants: usize,
}

/// A room's latest snapshot; the lock makes those who ask at the same time wait for one answer.
#[derive(Clone, Debug, Default)]
pub(super) struct LatestSnapshot(Arc<tokio::sync::Mutex<Option<Taken>>>);

#[derive(Debug)]
struct Taken {
    at: Instant,
    legs: Arc<HashMap<LegId, LegSnapshot>>,
}

impl Rooms {
    /// The people in a room, in the order in which they came.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn participants(&self, room: Id) -> Result<Vec<ParticipantView>, Error> {
        let (mut views, figures) = {
            let state = self.state();
            let known = state.room(room).ok_or(Error::NotFound("room"))?;
            let figures = known.call.as_ref().map(|call| (call.media, call.snapshot.clone()));
            (seen(known), figures)
        };
        if let Some((media, latest)) = figures.filter(|_| !views.is_empty()) {
            let legs = self.figures(media, &latest).await;
            for view in &mut views {
                view.live = view.leg.filter(|_| view.at == Some(media)).and_then(|leg| legs.get(&leg).cloned());
            }
        }
        Ok(views)
    }

    /// One of the people in a room.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room.
    pub async fn participant(&self, room: Id, participant: ParticipantId) -> Result<ParticipantView, Error> {
        let all = self.participants(room).await?;
        all.into_iter().find(|view| view.id == participant).ok_or(Error::NotFound("participant"))
    }

    /// A room now.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn status(&self, room: Id) -> Result<RoomStatus, Error> {
        let state = self.state();
        let known = state.room(room).ok_or(Error::NotFound("room"))?;
        let started_at = known.call.as_ref().and_then(|call| call.started_at);
        Ok(RoomStatus {
            state: match started_at {
                Some(_) => RoomState::OnCall,
                None if state.has_room() => RoomState::Online,
                None => RoomState::Offline,
            },
            locked: known.policy.locked,
            muted: known.policy.muted,
            recording: known.call.as_ref().is_some_and(|call| call.recording.is_some()),
            participants: known.participants().len(),
            started_at,
            server: started_at.map(|_| self.inner.server),
        })
    }

    /// Who is told of what rooms are set to be.
    pub fn invitations(&self) -> Invitations {
        self.inner.invitations.clone()
    }

    /// The row of the server that this process is.
    pub fn server(&self) -> Id {
        self.inner.server
    }

    /// How much of a server is in use; nothing of those that this process is not.
    pub fn server_load(&self, server: Id) -> ServerLoad {
        if server != self.inner.server {
            return ServerLoad { rooms: 0, participants: 0 };
        }
        let state = self.state();
        ServerLoad { rooms: state.call_count(), participants: state.participant_count() }
    }

    async fn figures(&self, media: RoomId, latest: &LatestSnapshot) -> Arc<HashMap<LegId, LegSnapshot>> {
        let mut taken = latest.0.lock().await;
        if let Some(taken) = taken.as_ref().filter(|taken| taken.at.elapsed() < FRESH) {
            return Arc::clone(&taken.legs);
        }
        let legs = match self.snapshot(media, PATIENCE).await {
            Ok(snapshot) => Arc::new(snapshot.legs.into_iter().map(|leg| (leg.leg, leg)).collect()),
            Err(error) => {
                tracing::debug!(%error, "no figures of a room");
                taken.as_ref().map(|taken| Arc::clone(&taken.legs)).unwrap_or_default()
            }
        };
        *taken = Some(Taken { at: Instant::now(), legs: Arc::clone(&legs) });
        legs
    }

    /// Asks the room's worker.
    pub(super) async fn snapshot(&self, media: RoomId, patience: Duration) -> Result<RoomSnapshot, media::Error> {
        let (reply, snapshot) = oneshot::channel();
        self.inner.engine.snapshot(media, Reply::new(move |taken| drop(reply.send(taken))))?;
        match tokio::time::timeout(patience, snapshot).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(_)) => Err(media::Error::Broken("the media worker dropped the question".to_owned())),
            Err(_) => Err(media::Error::Busy("the media worker did not answer in time")),
        }
    }
}

/// As they are by the state alone, without the engine's figures.
pub(super) fn seen(room: &Known) -> Vec<ParticipantView> {
    let one = |p: &super::state::Participant| ParticipantView {
        id: p.id,
        display_name: p.display_name.clone(),
        number: p.number.clone(),
        muted: p.muted,
        chairman: p.chairman,
        position: i32::from(p.place.position),
        pinned: p.place.pinned,
        joined_at: p.joined_at,
        talking: p.talking,
        on_hold: p.on_hold,
        transport: p.transport,
        presence: p.presence,
        hand_raised: p.hand,
        codec: p.codec,
        video: p.video,
        live: None,
        leg: p.leg,
        at: p.at,
    };
    room.participants().iter().map(one).collect()
}
