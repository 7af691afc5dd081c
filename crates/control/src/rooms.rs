//! The truth about people: who is in which room, mutes, locks, capacity. The only writer of it, and the one door to every
//! room: `admit` and `join` for those who dial, `operator` for the API, `facts` for what the engine reports.
//!
//! Any task may call. `state` is one mutex, held for moments and never across an await; commands whose order matters are
//! sent under it, as sending to the engine does not block. Knows no codec, no socket, no SIP message and no HTTP.

mod facts;
mod floor;
mod holding;
mod lobby;
mod moderation;
mod operator;
mod outgoing;
mod pictures;
mod pin_guard;
mod plan;
mod recording;
mod reload;
mod schedule;
mod servers;
mod settings;
mod state;
mod tiles;
mod view;
mod voice;
mod web;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::{Answer, AudioSpec, Digit, Engine, LegId, Reply, RoomId, VideoSpec};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::config::{Config, RecordingsConfig};
use crate::dialing::Dialing;
use crate::error::Error;
use crate::events::Journal;
use crate::ids::Id;
use crate::invitations::Invitations;
use crate::metrics::RoomMetrics;
use crate::prompts::{Phrase, Prompts};
use crate::store::{self, ServerRecord, Store};
use lobby::LobbyDoor;
use outgoing::CallOrders;
use state::{Admitted, Door, Effect, Limits, Participant, Sat, State, Whereabouts};

pub use lobby::Notice;
pub use outgoing::{CallOrder, Inviter};
pub use pictures::{PictureView, TileView};
pub use plan::Rules;
pub(crate) use recording::whole_seconds;
pub use settings::{Control, Layout, Mode, OutboundCallerId, Policy, RoomRecord, RoomSettings};
pub use tiles::{HIDDEN, Pins};
pub use view::{ParticipantView, Presence, RoomState, RoomStatus, ServerLoad};
pub use web::{DoorView, Key, Standing, Transport, Visit, Visitor};

/// How long a dialog may take to accept an order before we go on without it.
const ORDER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a change waits for those before it, which may be waiting for the database.
const GATE_PATIENCE: Duration = Duration::from_secs(3);
/// Looks at a leg that moves between media rooms, which takes a tick or two.
const MOVE_LOOKS: usize = 25;
/// How long to wait before commands that met a full queue are sent again: one tick, in which a worker empties it.
const RETRY: Duration = Duration::from_millis(20);

/// Someone who dials in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Dialled extension (user part of the Request-URI).
    pub extension: String,
    /// name-addr as the API shows it: `"Bob"<sip:101@host>`.
    pub display_name: String,
    /// User part of the caller's address.
    pub number: String,
    /// Where the signalling came from.
    pub source: SocketAddr,
    /// SIP Call-ID, for logs.
    pub call_id: String,
    /// How rooms tells the dialog what to do.
    pub dialog: mpsc::Sender<DialogOrder>,
    /// How they get past the door.
    pub entry: Entry,
}

/// How a caller gets past a room's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The menu asks for what is to be asked.
    ByMenu,
    /// What they brought was judged: nothing more is asked.
    Judged {
        /// They lead the room.
        leads: bool,
    },
}

/// What rooms tells a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogOrder {
    /// Send BYE (or the final refusal when still in setup), with this reason.
    HangUp(HangUp),
    /// Ask for a keyframe (INFO, RFC 5168).
    RefreshPicture,
}

/// Why we hang up; each has one text and one metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HangUp {
    /// The API's `destroy` of a participant.
    RemovedByOperator,
    /// The API's `destroy` of a room.
    RoomDestroyed,
    /// No media came for the configured time.
    MediaTimeout,
    /// The leg or its room failed in the engine.
    MediaFailed,
    /// The far end closed its media session.
    MediaClosed,
    /// The server shuts down.
    Draining,
    /// Too many wrong PINs in this call.
    PinFailed,
    /// The room takes no PINs for a while.
    PinClosed,
    /// They were received, and could not get in.
    NoEntry,
    /// The meeting's time is over.
    MeetingOver,
    /// They were called, and did not come.
    NotReached,
}

impl HangUp {
    /// For `Reason: SIP ;cause=200 ;text="…"` and the log.
    pub const fn text(self) -> &'static str {
        match self {
            Self::RemovedByOperator => "removed by an operator",
            Self::RoomDestroyed => "the room was destroyed",
            Self::MediaTimeout => "no media was received",
            Self::MediaFailed => "the media session failed",
            Self::MediaClosed => "the media session was closed",
            Self::Draining => "the server is shutting down",
            Self::PinFailed => "no right PIN was keyed",
            Self::PinClosed => "too many wrong PINs were keyed",
            Self::NoEntry => "the room could not be entered",
            Self::MeetingOver => "the meeting is over",
            Self::NotReached => "the call was not answered",
        }
    }

    /// For the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RemovedByOperator => "removed",
            Self::RoomDestroyed => "room_destroyed",
            Self::MediaTimeout => "media_timeout",
            Self::MediaFailed => "media_failed",
            Self::MediaClosed => "media_closed",
            Self::Draining => "draining",
            Self::PinFailed => "pin_failed",
            Self::PinClosed => "pin_closed",
            Self::NoEntry => "no_entry",
            Self::MeetingOver => "meeting_over",
            Self::NotReached => "not_reached",
        }
    }
}

/// Why a caller is not let in; each has one text, one metric label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The dialled extension is no room's.
    #[error("no room has extension {0}")]
    UnknownRoom(String),
    /// An operator locked it.
    #[error("the room is locked")]
    RoomLocked,
    /// Too many wrong ones were keyed.
    #[error("the room takes no PINs for a while")]
    PinClosed,
    /// A browser came without the PIN that is asked for.
    #[error("the room has a PIN")]
    PinRequired,
    /// A browser came with another PIN.
    #[error("the PIN is wrong")]
    PinWrong,
    /// A browser's session description cannot be answered, for this reason.
    #[error("{0}")]
    BadOffer(String),
    /// The settings let no browsers in.
    #[error("this server takes no browsers ([webrtc] is off)")]
    NoBrowsers,
    /// It is too early.
    #[error("the meeting has not begun")]
    NotStarted,
    /// It is too late.
    #[error("the meeting is over")]
    MeetingOver,
    /// Its capacity is used up.
    #[error("the room is full ({0} participants)")]
    RoomFull(u32),
    /// A limit of the server is reached.
    #[error("the server is full ({0})")]
    ServerFull(&'static str),
    /// It takes no new rooms.
    #[error("the server is disabled")]
    ServerDisabled,
    /// It shuts down.
    #[error("the server is draining")]
    Draining,
    /// The engine cannot take more now.
    #[error("the media engine is overloaded: {0}")]
    Overloaded(String),
    /// Our environment failed.
    #[error("{0}")]
    Broken(String),
}

impl Refusal {
    /// What the caller is told of it, in words; `None` when a code must do.
    pub(crate) const fn word(&self) -> Option<Phrase> {
        match self {
            Self::RoomLocked => Some(Phrase::Locked),
            Self::RoomFull(_) => Some(Phrase::Full),
            Self::NotStarted => Some(Phrase::NotStarted),
            Self::MeetingOver => Some(Phrase::Ended),
            Self::PinClosed => Some(Phrase::PinBlocked),
            _ => None,
        }
    }

    /// For the metric.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::UnknownRoom(_) => "unknown_room",
            Self::RoomLocked => "room_locked",
            Self::PinClosed => "pin_closed",
            Self::PinRequired => "pin_required",
            Self::PinWrong => "pin_wrong",
            Self::BadOffer(_) => "bad_offer",
            Self::NoBrowsers => "no_browsers",
            Self::NotStarted => "not_started",
            Self::MeetingOver => "meeting_over",
            Self::RoomFull(_) => "room_full",
            Self::ServerFull(_) => "server_full",
            Self::ServerDisabled => "server_disabled",
            Self::Draining => "draining",
            Self::Overloaded(_) => "overloaded",
            Self::Broken(_) => "broken",
        }
    }
}

impl From<media::Error> for Refusal {
    fn from(error: media::Error) -> Self {
        match error {
            media::Error::Busy(reason) => Self::Overloaded(reason.to_owned()),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// A seat in a room, counted; dropping it gives it back (and lets an empty room go).
#[derive(Debug)]
pub struct Seat {
    /// The media room that the seat is in: where the leg is to be reserved.
    pub room: RoomId,
    /// It takes no place within the room's capacity yet.
    is_outside: bool,
    /// Whom to give it back to; `None` once somebody sits on it.
    owner: Option<Rooms>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(rooms) = self.owner.take() {
            rooms.change(|state| state.give_back(self.room, self.is_outside));
        }
    }
}

/// A seated participant whose leg is in the room. Dropping it does nothing: call `Rooms::leave`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub i64);

/// Why a participant left, for the log and the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The far end sent BYE.
    HungUp,
    /// The caller gave up before we had answered.
    Cancelled,
    /// We hung up.
    Removed(HangUp),
    /// The dialog broke.
    SignallingFailed,
}

impl Left {
    /// For the metric and the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::Cancelled => "cancelled",
            Self::Removed(why) => why.label(),
            Self::SignallingFailed => "signalling_failed",
        }
    }
}

/// The handle to all rooms. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    store: Store,
    journal: Journal,
    metrics: RoomMetrics,
    audio: AudioSpec,
    name_strips: bool,
    recordings: RecordingsConfig,
    invitations: Invitations,
    server: Id,
    server_name: String,
    state: Mutex<State>,
    /// Taken by whoever writes policies to the store, so that the last write is the last word.
    policy_gate: tokio::sync::Mutex<()>,
    /// Rooms have something to be kept; commands have to be sent again.
    housekeeping: Notify,
    /// Somebody came into a room; it may have a picture.
    pictures: Notify,
    /// Something is asked of somebody.
    dialogues: Notify,
    /// A meeting's time may be another one.
    meetings: Notify,
    prompts: Prompts,
    lobby: LobbyDoor,
    orders: CallOrders,
    seats: watch::Sender<u32>,
    recordings_open: watch::Sender<usize>,
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("server", &self.inner.server).finish_non_exhaustive()
    }
}

impl Rooms {
    /// Reads all rooms from the store; nobody is in any. `server` is the row of this installation.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn open(
        config: &Config,
        engine: Engine,
        store: Store,
        journal: Journal,
        server: &ServerRecord,
        metrics: RoomMetrics,
        dialing: Dialing,
    ) -> Result<Self, Error> {
        let mut entry = journal.change().await?;
        let released = entry.release_rooms(server.id).await?;
        entry.commit().await?;
        if released > 0 {
            tracing::warn!(rooms = released, "the last run ended while people were in rooms");
        }
        let prompts = Prompts::open(&config.prompts)?;
        let mut state = State::new(Limits::from(server), config.rooms.rules, Instant::now());
        if let Some(number) = &config.rooms.lobby_number {
            state.open_lobby(number, &config.prompts.language);
        }
        for (room, epoch) in store.all_rooms().await? {
            state.know(room.id, &room.settings, room.policy, epoch);
        }
        for (room, number, position) in store.all_pins().await? {
            state.recall(room, number, position);
        }
        let inner = Inner {
            engine,
            store,
            journal,
            metrics,
            audio: AudioSpec {
                max_talkers: config.media.max_talkers,
                opus_bitrate: config.media.opus_bitrate,
                opus_complexity: config.media.opus_complexity,
            },
            name_strips: config.media.name_strips,
            recordings: config.recordings.clone(),
            invitations: Invitations::new(config.mail.as_ref()),
            server: server.id,
            server_name: server.name.clone(),
            state: Mutex::new(state),
            policy_gate: tokio::sync::Mutex::new(()),
            housekeeping: Notify::new(),
            pictures: Notify::new(),
            dialogues: Notify::new(),
            meetings: Notify::new(),
            prompts,
            lobby: LobbyDoor::default(),
            orders: CallOrders::new(dialing),
            seats: watch::Sender::new(0),
            recordings_open: watch::Sender::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    // -- for those who dial in -----------------------------------------------------------------------------------------

    /// Finds the room, checks lock, capacity and server limits atomically, makes it active, counts the seat.
    ///
    /// # Errors
    /// Why not; nothing is counted then.
    #[expect(clippy::unused_async, reason = "finding the room's node will ask others; callers are ready for it")]
    pub async fn admit(&self, caller: &Caller) -> Result<Seat, Refusal> {
        let fresh = self.fresh();
        let is_invited = matches!(caller.entry, Entry::Judged { .. });
        let door = Door { extension: &caller.extension, source: caller.source.ip(), today: store::now(), is_invited };
        let admitted = {
            let mut state = self.state();
            state.admit(door, fresh).and_then(|admitted| self.opened(&mut state, admitted))
        };
        match admitted {
            Ok(seat) => Ok(seat),
            Err(refusal) => {
                self.inner.metrics.refused(refusal.label());
                tracing::info!(
                    call_id = caller.call_id,
                    source = %caller.source,
                    extension = caller.extension,
                    reason = %refusal,
                    "a caller is not let in"
                );
                Err(refusal)
            }
        }
    }

    /// The room of a seat is open, in the engine too. Under the lock: whoever finds the room active may send to it at once.
    fn opened(&self, state: &mut State, admitted: Admitted) -> Result<Seat, Refusal> {
        if admitted.opens {
            let video = state.video_of(admitted.media);
            if let Err(error) = self.open_media(state, admitted.media, video) {
                state.abandon(admitted);
                return Err(Refusal::from(error));
            }
        }
        self.publish(state);
        Ok(Seat { room: admitted.media, is_outside: admitted.is_outside, owner: Some(self.clone()) })
    }

    /// The engine, to reserve a leg for the seat.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The leg moves into the room; the participant is listed from now on.
    ///
    /// # Errors
    /// When the room went away meanwhile, or the engine does not take the leg. The seat is given back then, as it is when
    /// this is dropped before it is done.
    pub async fn join(
        &self,
        mut seat: Seat,
        caller: Caller,
        leg: media::Leg,
        answer: &Answer,
    ) -> Result<ParticipantId, Refusal> {
        let id = ParticipantId(self.inner.store.ids().next().raw());
        let (extension, hall) = (caller.extension.clone(), self.fresh_room());
        let leads = caller.entry == Entry::Judged { leads: true };
        let mut participant = Participant::new(id, leg.id(), hall, caller, answer, store::now());
        participant.transport = if leg.is_web() { Transport::WebRtc } else { Transport::Sip };
        tracing::info!(
            room = extension,
            participant = id.0,
            call_id = participant.call_id,
            number = participant.number,
            leg = leg.id().0,
            "received"
        );
        let (seated, is_outside) = (seat.room, seat.is_outside);
        let sit = |state: &mut State| {
            let sat = state.sit(seated, participant, is_outside).map_err(|gone| gone.refusal(&extension));
            // From here on the seat is the participant's.
            sat.inspect(|_| seat.owner = None)
        };
        self.settle_in(id, leg, sit).await?;
        if leads {
            self.change(|state| state.appoint(id));
        }
        Ok(id)
    }

    /// Somebody sits down, and their leg joins the media room where they belong.
    async fn settle_in(
        &self,
        id: ParticipantId,
        leg: media::Leg,
        sit: impl FnOnce(&mut State) -> Result<Sat, Refusal> + Send,
    ) -> Result<(), Refusal> {
        let (reply, joined) = oneshot::channel();
        let joining = {
            let mut state = self.state();
            let Sat { room, opens, music, settings } = sit(&mut state)?;
            let joining = Joining { rooms: self, id, done: false };
            let name = state.name_of(id);
            let room = room.ok_or_else(|| Refusal::Broken("the participant is gone".to_owned()));
            let reply = Reply::new(move |outcome| drop(reply.send(outcome)));
            // Under the lock, so that whatever is set of the leg later comes later.
            let sent = room.and_then(|room| {
                if opens {
                    self.open_media(&state, room, None)?;
                }
                if music {
                    self.entertain(room);
                }
                Ok(self.inner.engine.join(room, leg, name, settings, reply)?)
            });
            self.settle(&mut state);
            self.publish(&mut state);
            drop(state);
            sent?;
            joining
        };
        joined.await.map_err(|_| Refusal::Broken("the media engine did not take the leg".to_owned()))??;
        joining.done();
        self.change(|state| state.arrived(id));
        Ok(())
    }

    /// The dialog ended (BYE from the far end, or our own). A participant who is gone already is passed over.
    pub fn leave(&self, participant: ParticipantId, why: Left) {
        let mut left = false;
        self.change(|state| {
            let effects = state.remove(participant, why, None, true);
            left = effects.is_some();
            effects.unwrap_or_default()
        });
        if left {
            self.inner.metrics.left(why.label());
            tracing::info!(participant = participant.0, why = why.label(), "left");
        }
    }

    /// Media room and leg of a participant, for re-INVITEs. One that moves between rooms is waited for.
    pub async fn leg_of(&self, participant: ParticipantId) -> Option<(RoomId, LegId)> {
        for _ in 0..MOVE_LOOKS {
            match self.state().whereabouts(participant) {
                Whereabouts::In(room, leg) => return Some((room, leg)),
                Whereabouts::Gone => return None,
                Whereabouts::Moving => {}
            }
            tokio::time::sleep(RETRY).await;
        }
        None
    }

    /// The far end held or resumed, or the codec changed.
    pub fn renegotiated(&self, participant: ParticipantId, answer: &Answer) {
        self.change(|state| {
            state.renegotiate(participant, answer);
            Vec::new()
        });
    }

    /// A key, by whatever way it came.
    pub fn digit(&self, participant: ParticipantId, digit: Digit) {
        self.inner.metrics.digit();
        tracing::debug!(participant = participant.0, "a key was pressed");
        self.change(|state| state.key(participant, digit, self.fresh(), store::now()));
    }

    /// True when new calls may come (not draining); for OPTIONS.
    pub fn accepting(&self) -> bool {
        !self.state().is_draining()
    }

    // -- for all in here -----------------------------------------------------------------------------------------------

    /// One change after the other; who would wait too long may come again.
    async fn gate(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Error> {
        through(&self.inner.policy_gate).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug that was reported; the counts in there are still the best that there are.
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.at(Instant::now());
        state
    }

    /// One change of the truth: made and told to the engine under the lock, its slower consequences after it.
    fn change(&self, change: impl FnOnce(&mut State) -> Vec<Effect>) {
        let effects = {
            let mut state = self.state();
            let effects = change(&mut state);
            let effects = self.open_first(&state, effects);
            self.settle(&mut state);
            self.publish(&mut state);
            effects
        };
        self.perform(effects);
    }

    /// Media rooms begin under the lock: whoever finds one in the state may send to it at once.
    fn open_first(&self, state: &State, effects: Vec<Effect>) -> Vec<Effect> {
        let open = |effect: &Effect| {
            let Effect::Open { room, video } = effect else { return true };
            if let Err(error) = self.open_media(state, *room, *video) {
                tracing::error!(room = room.0, %error, "a media room does not begin");
            }
            false
        };
        effects.into_iter().filter(open).collect()
    }

    /// Sends what the engine has to know of legs. What meets a full queue stays in the state and is sent again.
    fn settle(&self, state: &mut State) {
        while let Some((id, room, leg, settings)) = state.next_unsettled() {
            match self.inner.engine.set(room, leg, settings) {
                // A leg that is gone needs no settings.
                Ok(()) | Err(media::Error::Refused(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "settings of a leg are sent again");
                    state.unsettle(id);
                    return;
                }
            }
        }
        while let Some(unpictured) = state.next_unpictured() {
            let told = self.inner.engine.set_video(unpictured.media, self.look(unpictured.video)).and_then(|()| {
                unpictured
                    .arrangement
                    .map_or(Ok(()), |arrangement| self.inner.engine.arrange(unpictured.media, arrangement))
            });
            match told {
                Ok(()) | Err(media::Error::Refused(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "a picture is set again");
                    state.picture_again(&unpictured);
                    return;
                }
            }
        }
    }

    /// What the configuration adds to a room's picture.
    fn look(&self, video: VideoSpec) -> VideoSpec {
        VideoSpec { name_strips: self.inner.name_strips, ..video }
    }

    /// Notes what became true, in its order, and shows the new counts.
    fn publish(&self, state: &mut State) {
        for event in state.take_news(store::now()) {
            self.inner.journal.note(event);
        }
        self.inner.metrics.population(state.call_count(), state.participant_count());
        let seats = state.seat_count();
        self.inner.seats.send_if_modified(|now| std::mem::replace(now, seats) != seats);
        if state.needs_housekeeping() {
            self.inner.housekeeping.notify_one();
        }
        if state.take_dialogue_news() {
            self.inner.dialogues.notify_one();
        }
    }

    fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Leave { room, leg } => self.inner.engine.leave(room, leg),
                Effect::Close { room } => self.inner.engine.close_room(room),
                Effect::HangUp { dialog, why } => self.hang_up(dialog, why),
                Effect::Open { .. } => {}
                Effect::Move { participant, from, leg, hall } => self.carry(participant, from, leg, hall),
                Effect::Say { participant, room, leg, id, speech } => self.speak(participant, room, leg, id, &speech),
                Effect::Hush { room, leg } => {
                    if let Err(error) = self.inner.engine.stop_playing(room, leg) {
                        tracing::debug!(room = room.0, %error, "something is said to the end");
                    }
                }
                Effect::Announce { room, speech } => self.broadcast(room, &speech),
                Effect::Music { room } => self.entertain(room),
                Effect::Operate { participant, room, wish } => self.operate(participant, room, wish),
                Effect::Record { room } => {
                    let rooms = self.clone();
                    tokio::spawn(async move { rooms.record_from_the_start(room).await });
                }
                Effect::Left { participant, why } => {
                    self.inner.metrics.left(Left::Removed(why).label());
                    tracing::info!(participant = participant.0, why = why.label(), "left");
                }
                Effect::Joined { participant } => {
                    self.inner.metrics.joined();
                    self.inner.pictures.notify_one();
                    tracing::info!(participant = participant.0, "joined");
                }
            }
        }
    }

    fn hang_up(&self, dialog: mpsc::Sender<DialogOrder>, why: HangUp) {
        if let Err(mpsc::error::TrySendError::Full(order)) = dialog.try_send(DialogOrder::HangUp(why)) {
            let metrics = self.inner.metrics.clone();
            tokio::spawn(async move {
                if let Err(mpsc::error::SendTimeoutError::Timeout(_)) = dialog.send_timeout(order, ORDER_PATIENCE).await
                {
                    metrics.order_lost();
                    tracing::warn!("a dialog did not take the order to hang up");
                }
            });
        }
    }
}

/// What a tile shows of a name-addr: the name, or the number where there is none.
pub fn name_of(display_name: &str) -> String {
    if let Some(quoted) = display_name.trim_start().strip_prefix('"') {
        let name = unquoted(quoted);
        if !name.trim().is_empty() {
            return name.trim().to_owned();
        }
    }
    let (name, address) = display_name.rsplit_once('<').unwrap_or((display_name, ""));
    let name = name.trim().trim_matches('"').trim();
    if !name.is_empty() {
        return name.to_owned();
    }
    let user = address.trim_end_matches('>').split(['@', ';']).next().unwrap_or_default();
    user.trim_start_matches("sips:").trim_start_matches("sip:").to_owned()
}

/// A quoted-string (RFC 3261 §25.1) from behind its first quote to the one that ends it.
fn unquoted(text: &str) -> String {
    let mut name = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => name.extend(chars.next()),
            c => name.push(c),
        }
    }
    name
}

/// # Errors
/// `Busy` when those before take too long.
async fn through(gate: &tokio::sync::Mutex<()>) -> Result<tokio::sync::MutexGuard<'_, ()>, Error> {
    let passed = tokio::time::timeout(GATE_PATIENCE, gate.lock()).await;
    passed.map_err(|_| Error::Busy("too many changes wait for each other".into()))
}

/// A participant on the way in: removed again unless it arrives.
struct Joining<'a> {
    rooms: &'a Rooms,
    id: ParticipantId,
    done: bool,
}

impl Joining<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.rooms.leave(self.id, Left::Cancelled);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Rooms as tests want them.
    use super::*;

    /// A room that anyone may enter, and where nothing is said.
    pub(crate) fn settings(extension: &str) -> RoomSettings {
        RoomSettings {
            extension_number: extension.into(),
            mode: Mode::Audio,
            control: Control::Free,
            height_px: 720,
            width_px: 1280,
            bitrate_kbps: 1024,
            framerate: 15,
            layout: Layout::Layout0,
            subject: format!("Room {extension}"),
            language: None,
            capacity: 9,
            admin_pin: None,
            room_pin: None,
            enable_recording: false,
            enable_prompt: false,
            timezone: None,
            scheduled_start_at: None,
            scheduled_end_at: None,
            numbers: None,
            internal_invitees: None,
            external_invitees: None,
            outbound_caller_ids: None,
            custom_options: None,
        }
    }
}
