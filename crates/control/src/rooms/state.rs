//! Who is where, as plain data: no lock, no clock, no engine, no await. Each change says which slower consequences it has
//! (`Effect`); settings of legs that have to be sent are remembered here until they were, and what became true until it is
//! noted (`news`). Called under `Rooms`' mutex. Rooms and seats are here, those who sit on them in `participants`.

mod dialogue;
mod news;
mod participants;
mod visitors;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use media::{Answer, Arrangement, CodecName, Gain, LegId, LegSettings, RoomId, VideoCodec, VideoSpec};
use tokio::sync::mpsc;

use super::pictures::LatestPreview;
use super::pin_guard::PinGuard;
use super::plan::{Due, Plan, Rules};
use super::tiles::{Place, Tiles};
use super::view::LatestSnapshot;
use super::web::Transport;
use super::{Caller, Control, DialogOrder, Entry, HangUp, Layout, ParticipantId, Pins, Policy, Refusal, RoomSettings};
use crate::events::{Kind, NewEvent};
use crate::ids::Id;
use crate::menu::{Keyed, Manners};
use crate::prompts::Phrase;
use crate::store::{Holding, ServerRecord};
use crate::words::words;
use dialogue::Dialogue;
use news::News;

pub(super) use news::data_of;
pub(super) use participants::{Sat, Whereabouts};

/// The room that stands for the lobby: nobody's row has this id, and no path of the API names it.
pub(super) const LOBBY: Id = Id::from_raw(0);
/// What one press of a volume key does.
const VOLUME_STEP_DB: f32 = 3.0;

/// What the server's row allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) enabled: bool,
    pub(super) max_rooms: u32,
    pub(super) max_participants: u32,
}

impl From<&ServerRecord> for Limits {
    fn from(server: &ServerRecord) -> Self {
        Self { enabled: server.enabled, max_rooms: server.max_rooms, max_participants: server.max_participants }
    }
}

/// A picture that the engine has to be told of.
#[derive(Debug)]
pub(super) struct Unpictured {
    pub(super) room: Id,
    pub(super) media: RoomId,
    pub(super) video: VideoSpec,
    pub(super) arrangement: Option<Arrangement>,
}

/// What is to be done outside of the lock, in this order.
#[derive(Debug)]
pub(super) enum Effect {
    Leave {
        room: RoomId,
        leg: LegId,
    },
    /// Begins to be.
    Open {
        room: RoomId,
        video: Option<VideoSpec>,
    },
    Close {
        room: RoomId,
    },
    HangUp {
        dialog: mpsc::Sender<DialogOrder>,
        why: HangUp,
    },
    /// A leg goes to the room where its participant belongs now.
    Move {
        participant: ParticipantId,
        from: RoomId,
        leg: LegId,
        /// Closed when the leg has left it.
        hall: RoomId,
    },
    /// To one leg alone.
    Say {
        participant: ParticipantId,
        room: RoomId,
        leg: LegId,
        id: u64,
        speech: Speech,
    },
    /// What is said to that leg ends.
    Hush {
        room: RoomId,
        leg: LegId,
    },
    /// To everybody in a media room.
    Announce {
        room: RoomId,
        speech: Speech,
    },
    /// Music for everybody in a media room, until it closes.
    Music {
        room: RoomId,
    },
    /// What the chairman wishes by keys: done as if by the API.
    Operate {
        participant: ParticipantId,
        room: Id,
        wish: Wish,
    },
    /// A room is to be recorded from the start.
    Record {
        room: Id,
    },
    /// Somebody takes part now.
    Joined {
        participant: ParticipantId,
    },
    /// Their dialogue ended with the call.
    Left {
        participant: ParticipantId,
        why: HangUp,
    },
}

/// What is said, and in which language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Speech {
    pub(super) language: Option<Arc<str>>,
    pub(super) phrases: Vec<Phrase>,
}

/// What a chairman can do by keys that takes the store, or a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Lock(bool),
    MuteAll(bool),
    Record(bool),
    Dial(Keyed),
}

words! {
    /// How somebody takes part.
    Presence {
        /// Is being called.
        Calling = "CALLING",
        /// Their phone rings.
        Ringing = "RINGING",
        /// Speaks with the voice menu.
        InMenu = "IN_MENU",
        /// Waits for the chairman, with music.
        Waiting = "WAITING",
        /// Takes part.
        Joined = "JOINED",
    }
}

/// Somebody in a room, or on the way in.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) id: ParticipantId,
    /// `None` until the far end has answered our call.
    pub(super) leg: Option<LegId>,
    pub(super) presence: Presence,
    /// The media room where the leg is; `None` while it moves, or is none.
    pub(super) at: Option<RoomId>,
    /// The media room of its dialogue.
    pub(super) hall: RoomId,
    pub(super) display_name: String,
    pub(super) number: String,
    pub(super) source: Option<IpAddr>,
    pub(super) call_id: String,
    pub(super) joined_at: Timestamp,
    pub(super) muted: bool,
    /// Asks for the word.
    pub(super) hand: bool,
    /// Of what they hear, in steps of 3 dB.
    pub(super) volume: i8,
    pub(super) chairman: bool,
    pub(super) talking: bool,
    pub(super) on_hold: bool,
    pub(super) codec: Option<CodecName>,
    pub(super) video: Option<VideoCodec>,
    pub(super) place: Place,
    /// The engine has taken the leg into the room itself.
    pub(super) confirmed: bool,
    /// They were announced: what becomes of them is, too.
    pub(super) announced: bool,
    pub(super) dialogue: Dialogue,
    pub(super) transport: Transport,
    /// Nothing is asked in front of the room: a page has done so, or a personal token says it all.
    is_judged: bool,
    dialog: mpsc::Sender<DialogOrder>,
}

impl Participant {
    /// Somebody who called and whom we answered.
    pub(super) fn new(
        id: ParticipantId,
        leg: LegId,
        hall: RoomId,
        caller: Caller,
        answer: &Answer,
        now: Timestamp,
    ) -> Self {
        Self {
            leg: Some(leg),
            presence: Presence::InMenu,
            source: Some(caller.source.ip()),
            call_id: caller.call_id,
            is_judged: matches!(caller.entry, Entry::Judged { .. }),
            on_hold: answer.on_hold,
            codec: Some(answer.codec),
            video: answer.video,
            ..Self::blank(id, hall, caller.display_name, caller.number, now, caller.dialog)
        }
    }

    /// Somebody whom we call.
    pub(super) fn called(
        id: ParticipantId,
        hall: RoomId,
        display_name: String,
        number: String,
        now: Timestamp,
        dialog: mpsc::Sender<DialogOrder>,
    ) -> Self {
        Self { announced: true, ..Self::blank(id, hall, display_name, number, now, dialog) }
    }

    fn blank(
        id: ParticipantId,
        hall: RoomId,
        display_name: String,
        number: String,
        joined_at: Timestamp,
        dialog: mpsc::Sender<DialogOrder>,
    ) -> Self {
        Self {
            id,
            leg: None,
            presence: Presence::Calling,
            at: None,
            hall,
            display_name,
            number,
            source: None,
            call_id: String::new(),
            joined_at,
            muted: false,
            hand: false,
            volume: 0,
            chairman: false,
            talking: false,
            on_hold: false,
            codec: None,
            video: None,
            place: Place::NONE,
            confirmed: false,
            announced: false,
            dialogue: Dialogue::default(),
            transport: Transport::Sip,
            is_judged: false,
            dialog,
        }
    }

    /// What the engine is to know of the leg.
    pub(super) fn settings(&self) -> LegSettings {
        // Who only waits is not heard by those who wait along.
        let muted = self.muted || self.presence != Presence::Joined;
        LegSettings { muted, gain_out: Gain::db(f32::from(self.volume) * VOLUME_STEP_DB), ..LegSettings::default() }
    }
}

/// What is going on in an active room.
#[derive(Debug)]
pub(super) struct Call {
    /// The room on the media side: another one for each call, so that facts of an old call meet nobody.
    pub(super) media: RoomId,
    /// The media room of those who wait for the chairman: open from the first of them to the end of the call.
    pub(super) waiting: RoomId,
    is_waiting_open: bool,
    /// Participants and those on their way in.
    pub(super) seats: u32,
    /// Those of them who only speak with the menu: they take no place from others.
    pub(super) outside: u32,
    pub(super) participants: Vec<Participant>,
    /// When the first participant came; `None` while nobody has.
    pub(super) started_at: Option<Timestamp>,
    pub(super) recording: Option<Id>,
    /// The first part of it, when this is a later one.
    pub(super) part_of: Option<Id>,
    /// Taken by whoever starts or stops the recording.
    pub(super) recording_gate: Arc<tokio::sync::Mutex<()>>,
    pub(super) snapshot: LatestSnapshot,
    pub(super) preview: LatestPreview,
}

/// A room, as much of it as admission needs. 10,000 of them are a few megabytes and nothing else.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) extension: Box<str>,
    pub(super) subject: Box<str>,
    pub(super) layout: Layout,
    control: Control,
    /// Its picture, if it has one.
    pub(super) video: Option<VideoSpec>,
    pub(super) capacity: u32,
    pub(super) tiles: Tiles,
    room_pin: Option<Box<str>>,
    admin_pin: Option<Box<str>>,
    pub(super) prompts: bool,
    pub(super) language: Option<Arc<str>>,
    pub(super) plan: Plan,
    /// Trunk and number, as the room was given them.
    caller_ids: Vec<(Box<str>, Box<str>)>,
    pub(super) enable_recording: bool,
    pub(super) policy: Policy,
    pub(super) epoch: i64,
    pub(super) call: Option<Box<Call>>,
}

impl Known {
    pub(super) fn participants(&self) -> &[Participant] {
        self.call.as_ref().map_or(&[], |call| &call.participants)
    }
}

/// Names for the media rooms of a call that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) media: RoomId,
    pub(super) waiting: RoomId,
}

/// Who stands at which door, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door<'a> {
    pub(super) extension: &'a str,
    pub(super) source: IpAddr,
    pub(super) today: Timestamp,
    /// A personal invitation stands for what a menu would ask.
    pub(super) is_invited: bool,
}

/// A seat that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) room: Id,
    pub(super) media: RoomId,
    /// The engine has to open the room.
    pub(super) opens: bool,
    /// It takes no place within the room's capacity yet.
    pub(super) is_outside: bool,
}

/// Why nobody can sit down any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Room,
    Server,
}

impl Gone {
    pub(super) fn refusal(self, extension: &str) -> Refusal {
        match self {
            Self::Room => Refusal::UnknownRoom(extension.to_owned()),
            Self::Server => Refusal::Draining,
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    rules: Rules,
    /// No new calls.
    draining: bool,
    /// Not even those that were admitted.
    closed: bool,
    rooms: HashMap<Id, Known>,
    by_extension: HashMap<Box<str>, Id>,
    by_media: HashMap<RoomId, Id>,
    by_participant: HashMap<ParticipantId, Id>,
    by_leg: HashMap<LegId, ParticipantId>,
    pin_guard: PinGuard,
    seats: u32,
    /// Rooms whose policy or owner the store does not know yet.
    unkept: HashSet<Id>,
    /// Rooms whose picture, or who is shown in it, the engine does not know yet.
    unpictured: HashSet<Id>,
    /// Participants whose settings the engine does not know yet.
    unsettled: HashSet<ParticipantId>,
    /// Something was asked of somebody, or time has another end in a dialogue.
    is_dialogue_news: bool,
    /// What became true and is not noted yet.
    news: News,
    /// As of the moment when the lock was taken.
    now: Instant,
}

impl State {
    pub(super) fn new(limits: Limits, rules: Rules, now: Instant) -> Self {
        Self {
            limits,
            rules,
            now,
            draining: false,
            closed: false,
            rooms: HashMap::new(),
            by_extension: HashMap::new(),
            by_media: HashMap::new(),
            by_participant: HashMap::new(),
            by_leg: HashMap::new(),
            pin_guard: PinGuard::default(),
            seats: 0,
            unkept: HashSet::new(),
            unpictured: HashSet::new(),
            unsettled: HashSet::new(),
            is_dialogue_news: false,
            news: News::default(),
        }
    }

    /// The lock was taken now.
    pub(super) const fn at(&mut self, now: Instant) {
        self.now = now;
    }

    // -- rooms ---------------------------------------------------------------------------------------------------------

    pub(super) fn know(&mut self, id: Id, settings: &RoomSettings, policy: Policy, epoch: i64) {
        // The lobby's number is no room's: a room that had it before is not reached by it.
        if self.by_extension.get(settings.extension_number.as_str()) != Some(&LOBBY) {
            self.by_extension.insert(settings.extension_number.as_str().into(), id);
        }
        let mut room = Known::blank(&settings.extension_number, settings.control);
        room.enable_recording = settings.enable_recording;
        room.tiles = Tiles::new(settings.shape());
        (room.policy, room.epoch) = (policy, epoch);
        room.take(settings, self.rules);
        self.rooms.insert(id, room);
    }

    /// The number that asks which room is wanted. Not a room's extension.
    pub(super) fn open_lobby(&mut self, number: &str, language: &str) {
        let mut lobby = Known::blank(number, Control::Free);
        (lobby.prompts, lobby.capacity, lobby.language) = (true, u32::MAX, Some(language.into()));
        self.by_extension.insert(number.into(), LOBBY);
        self.rooms.insert(LOBBY, lobby);
    }

    /// A position that was set in the last run.
    pub(super) fn recall(&mut self, id: Id, number: String, position: i8) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.tiles.recall(number, position);
        }
    }

    /// New settings of a room: its picture for all, the rest for those who come from now on.
    pub(super) fn update(&mut self, id: Id, settings: &RoomSettings) -> Vec<Effect> {
        let rules = self.rules;
        let mut effects = Vec::new();
        if let Some(room) = self.rooms.get_mut(&id) {
            let before = room.video;
            room.take(settings, rules);
            let moves = room.tiles.reshape(settings.shape(), self.now);
            if room.video != before && room.call.is_some() {
                self.unpictured.insert(id);
            }
            self.moved(id, moves);
            self.lead(id);
            // Nobody waits for a chairman in a room that needs none any more.
            effects = self.release(id);
        }
        effects
    }

    pub(super) fn lock_room(&mut self, id: Id, locked: bool) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.policy.locked = locked;
        }
    }

    /// A room as a restored database has it: a new one, or one that goes on with what is set now. What holds for a call that
    /// runs is what was set for it.
    pub(super) fn restore(&mut self, id: Id, settings: &RoomSettings, policy: Policy, epoch: i64) -> Vec<Effect> {
        match self.rooms.get_mut(&id) {
            Some(room) => {
                room.epoch = room.epoch.max(epoch);
                if room.call.is_none() {
                    room.policy = policy;
                }
                // Who owns it is not in a backup.
                self.unkept.insert(id);
                self.update(id, settings)
            }
            None => {
                self.know(id, settings, policy, epoch);
                Vec::new()
            }
        }
    }

    /// A room as the database has it, which may be ahead of what is in force: then it is put in force. What the database is
    /// still to be told of the room stays as it is, and so do its pins: of those nobody was told.
    pub(super) fn adopt(
        &mut self,
        id: Id,
        settings: &RoomSettings,
        policy: Policy,
        epoch: i64,
        pins: Option<Pins>,
    ) -> Vec<Effect> {
        let Some(room) = self.rooms.get(&id) else {
            self.know(id, settings, policy, epoch);
            return Vec::new();
        };
        let present = room.policy;
        let has_other_pins = room.tiles.pins() != pins.unwrap_or_default();
        let mut effects = self.update(id, settings);
        if !self.unkept.contains(&id) {
            self.lock_room(id, policy.locked);
            if policy.muted != present.muted {
                effects.extend(self.mute_room(id, policy.muted));
            }
        }
        if has_other_pins {
            self.unkept.insert(id);
        }
        effects
    }

    /// Nobody gets into the room any more; `forget` comes when those who are in it were told.
    pub(super) fn retire(&mut self, id: Id) {
        self.by_extension.retain(|_, known| *known != id);
    }

    /// It is what the lobby is dialled by.
    pub(super) fn is_lobby(&self, extension: &str) -> bool {
        self.by_extension.get(extension) == Some(&LOBBY)
    }

    /// Forgets the room and hangs up on everyone in it.
    pub(super) fn forget(&mut self, id: Id) -> Vec<Effect> {
        let effects = self.clear(id, HangUp::RoomDestroyed);
        if let Some(room) = self.rooms.remove(&id)
            && self.by_extension.get(&room.extension) == Some(&id)
        {
            self.by_extension.remove(&room.extension);
        }
        self.unkept.remove(&id);
        effects
    }

    /// A room that has a row.
    pub(super) fn room(&self, id: Id) -> Option<&Known> {
        self.rooms.get(&id).filter(|_| id != LOBBY)
    }

    pub(super) fn room_of_extension(&self, extension: &str) -> Option<&Known> {
        self.rooms.get(self.by_extension.get(extension)?)
    }

    /// The room that has this number; not the lobby.
    pub(super) fn id_of_extension(&self, extension: &str) -> Option<Id> {
        self.by_extension.get(extension).copied().filter(|id| *id != LOBBY)
    }

    pub(super) fn room_of_media(&self, media: RoomId) -> Option<Id> {
        self.by_media.get(&media).copied()
    }

    /// The picture of a call's room.
    pub(super) fn video_of(&self, media: RoomId) -> Option<VideoSpec> {
        self.rooms.get(&self.room_of_media(media)?)?.video
    }

    pub(super) fn call_mut(&mut self, id: Id) -> Option<&mut Call> {
        self.rooms.get_mut(&id)?.call.as_deref_mut()
    }

    /// All rooms that have a row.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        self.rooms.keys().copied().filter(|id| *id != LOBBY)
    }

    /// What is due of meetings between these moments.
    pub(super) fn due_meetings(&self, after: Timestamp, until: Timestamp) -> Vec<(Id, Due)> {
        self.rooms.iter().flat_map(|(id, room)| room.plan.due(after, until).map(|due| (*id, due))).collect()
    }

    /// The next moment at which something is due of a meeting.
    pub(super) fn next_meeting(&self, after: Timestamp) -> Option<Timestamp> {
        self.rooms.values().filter_map(|room| room.plan.next(after)).min()
    }

    /// Rooms that are active.
    pub(super) fn active(&self) -> impl Iterator<Item = Id> {
        self.by_media.values().copied()
    }

    // -- seats ---------------------------------------------------------------------------------------------------------

    /// Counts a seat in the room of this extension. `fresh` names the call if it begins one.
    pub(super) fn admit(&mut self, at_the_door: Door<'_>, fresh: Fresh) -> Result<Admitted, Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let Door { extension, source, today, is_invited } = at_the_door;
        let unknown = || Refusal::UnknownRoom(extension.chars().take(64).collect());
        let id = *self.by_extension.get(extension).ok_or_else(unknown)?;
        let room = self.rooms.get(&id).ok_or_else(unknown)?;
        self.may_come(id, room, source, today)?;
        let is_outside = room.manners().is_some() && !is_invited;
        self.seat(id, fresh, is_outside).map_err(|refusal| refusal.unwrap_or_else(unknown))
    }

    /// Whether nothing bars a room's door for those from there: whoever comes, by whatever way, is asked this.
    fn may_come(&self, id: Id, room: &Known, source: IpAddr, today: Timestamp) -> Result<(), Refusal> {
        if room.policy.locked {
            return Err(Refusal::RoomLocked);
        }
        room.plan.admits(today)?;
        if room.room_pin.is_some() && !self.pin_guard.is_open(id, source, self.now) {
            return Err(Refusal::PinClosed);
        }
        Ok(())
    }

    /// Whether the room could take one more now, whom an operator calls.
    pub(super) fn could_take(&self, id: Id) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let room = self.room(id).ok_or_else(|| Refusal::UnknownRoom(String::new()))?;
        room.has_place(self.limits, self.seats, self.call_count())
    }

    /// Counts a seat for somebody whom an operator calls: locks, PINs and plans do not bar them.
    pub(super) fn admit_called(&mut self, id: Id, fresh: Fresh) -> Result<Admitted, Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let gone = || Refusal::UnknownRoom(String::new());
        self.seat(id, fresh, false).map_err(|refusal| refusal.unwrap_or_else(gone))
    }

    /// `Err(None)`: there is no such room.
    fn seat(&mut self, id: Id, fresh: Fresh, is_outside: bool) -> Result<Admitted, Option<Refusal>> {
        let calls = self.call_count();
        let room = self.rooms.get_mut(&id).ok_or(None)?;
        room.has_place(self.limits, self.seats, calls)?;
        if let Some(call) = &mut room.call {
            call.seats += 1;
            call.outside += u32::from(is_outside);
            self.seats += 1;
            return Ok(Admitted { room: id, media: call.media, opens: false, is_outside });
        }
        room.epoch += 1;
        room.call = Some(Box::new(Call {
            media: fresh.media,
            waiting: fresh.waiting,
            is_waiting_open: false,
            seats: 1,
            outside: u32::from(is_outside),
            participants: Vec::new(),
            started_at: None,
            recording: None,
            part_of: None,
            recording_gate: Arc::default(),
            snapshot: LatestSnapshot::default(),
            preview: LatestPreview::default(),
        }));
        self.seats += 1;
        self.by_media.insert(fresh.media, id);
        self.unkept.insert(id);
        Ok(Admitted { room: id, media: fresh.media, opens: true, is_outside })
    }

    /// A seat that nobody sat down on. One whose call has ended was given back with it.
    pub(super) fn give_back(&mut self, media: RoomId, is_outside: bool) -> Vec<Effect> {
        let Some(id) = self.room_of_media(media) else { return Vec::new() };
        self.vacate(id, is_outside)
    }

    /// The engine did not open the room of a call that has just begun.
    pub(super) fn abandon(&mut self, admitted: Admitted) {
        drop(self.give_back(admitted.media, admitted.is_outside));
    }

    fn vacate(&mut self, id: Id, is_outside: bool) -> Vec<Effect> {
        let Some(call) = self.call_mut(id) else { return Vec::new() };
        call.seats = call.seats.saturating_sub(1);
        call.outside = call.outside.saturating_sub(u32::from(is_outside));
        let is_empty = call.seats == 0;
        self.seats = self.seats.saturating_sub(1);
        if is_empty { self.end_call(id) } else { Vec::new() }
    }

    fn end_call(&mut self, id: Id) -> Vec<Effect> {
        let Some(room) = self.rooms.get_mut(&id) else { return Vec::new() };
        let Some(call) = room.call.take() else { return Vec::new() };
        self.by_media.remove(&call.media);
        // A call that nobody came to was none: what was set for the next one still is.
        if call.started_at.is_some() {
            room.policy = Policy::default();
            room.tiles.clear();
            self.news.room(id, room, Kind::RoomEnded);
        }
        self.unkept.insert(id);
        let waiting = call.is_waiting_open.then_some(Effect::Close { room: call.waiting });
        [Effect::Close { room: call.media }].into_iter().chain(waiting).collect()
    }

    // -- the server ----------------------------------------------------------------------------------------------------

    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// No new calls from now on.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Hangs up on everyone; whoever was admitted does not get in any more.
    pub(super) fn close(&mut self) -> Vec<Effect> {
        self.draining = true;
        self.closed = true;
        let active: Vec<Id> = self.active().collect();
        active.into_iter().flat_map(|id| self.clear(id, HangUp::Draining)).collect()
    }

    /// A call could begin now.
    pub(super) fn has_room(&self) -> bool {
        self.limits.enabled
            && !self.draining
            && self.call_count() < self.limits.max_rooms as usize
            && self.seats < self.limits.max_participants
    }

    pub(super) fn seat_count(&self) -> u32 {
        self.seats
    }

    /// Active rooms; the lobby is none.
    pub(super) fn call_count(&self) -> usize {
        let is_lobby_busy = self.rooms.get(&LOBBY).is_some_and(|lobby| lobby.call.is_some());
        self.by_media.len() - usize::from(is_lobby_busy)
    }

    pub(super) fn participant_count(&self) -> usize {
        self.by_participant.len()
    }

    // -- what others have to be told -----------------------------------------------------------------------------------

    /// What became true since the last time; given once.
    pub(super) fn take_news(&mut self, now: Timestamp) -> impl Iterator<Item = NewEvent> + use<> {
        self.news.take(now)
    }

    /// A room's picture as it is set, and who is shown in it if that is another one now. Given once.
    pub(super) fn next_unpictured(&mut self) -> Option<Unpictured> {
        loop {
            let id = *self.unpictured.iter().next()?;
            self.unpictured.remove(&id);
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            let Some(media) = room.call.as_ref().map(|call| call.media) else { continue };
            if let Some(video) = room.video {
                let arrangement = room.tiles.take_arrangement();
                return Some(Unpictured { room: id, media, video, arrangement });
            }
        }
    }

    /// The engine could not be told.
    pub(super) fn picture_again(&mut self, unpictured: &Unpictured) {
        if let Some(room) = self.rooms.get_mut(&unpictured.room) {
            if unpictured.arrangement.is_some() {
                room.tiles.arrange_again();
            }
            self.unpictured.insert(unpictured.room);
        }
    }

    /// Time passes in pictures: talkers come in, layouts shrink. True while there is a picture in which it does.
    pub(super) fn pass_time(&mut self) -> bool {
        let live: Vec<Id> = self.by_media.values().copied().collect();
        let mut is_live = false;
        for id in live {
            let Some(room) = self.rooms.get_mut(&id).filter(|room| room.tiles.is_live()) else { continue };
            is_live = true;
            let moves = room.tiles.pass(self.now);
            self.moved(id, moves);
        }
        is_live
    }

    pub(super) fn next_unsettled(&mut self) -> Option<(ParticipantId, RoomId, LegId, LegSettings)> {
        loop {
            let id = *self.unsettled.iter().next()?;
            self.unsettled.remove(&id);
            // One that moves is told when it arrives.
            let Some(participant) = self.participant_mut(id) else { continue };
            if let Some((room, leg)) = participant.at.zip(participant.leg) {
                return Some((id, room, leg, participant.settings()));
            }
        }
    }

    pub(super) fn unsettle(&mut self, participant: ParticipantId) {
        self.unsettled.insert(participant);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_empty() && self.unpictured.is_empty()
    }

    pub(super) fn needs_housekeeping(&self) -> bool {
        !self.is_settled() || !self.unkept.is_empty()
    }

    /// What the store has to be told of rooms; given once, so give it back with `keep_again` if it could not be.
    pub(super) fn take_unkept(&mut self, server: Id) -> Vec<Holding> {
        let rooms = &self.rooms;
        let kept = self.unkept.drain().filter(|id| *id != LOBBY);
        kept.filter_map(|id| rooms.get(&id).map(|room| holding(id, room, server))).collect()
    }

    /// The pins of a room, as the store would be told of them.
    pub(super) fn pins(&self, id: Id) -> Pins {
        self.rooms.get(&id).map(|room| room.tiles.pins()).unwrap_or_default()
    }

    pub(super) fn keep_again(&mut self, holdings: &[Holding]) {
        self.unkept.extend(holdings.iter().map(|h| h.room));
    }

    /// As the store would be told of it.
    pub(super) fn holding(&self, id: Id, server: Id) -> Option<Holding> {
        self.room(id).map(|room| holding(id, room, server))
    }
}

fn holding(id: Id, room: &Known, server: Id) -> Holding {
    Holding { room: id, policy: room.policy, owner: room.call.as_ref().map(|_| server), epoch: room.epoch }
}

impl Known {
    fn blank(extension: &str, control: Control) -> Self {
        Self {
            extension: extension.into(),
            subject: Box::default(),
            layout: Layout::Layout0,
            control,
            video: None,
            capacity: 0,
            tiles: Tiles::new(None),
            room_pin: None,
            admin_pin: None,
            prompts: false,
            language: None,
            plan: Plan::default(),
            caller_ids: Vec::new(),
            enable_recording: false,
            policy: Policy::default(),
            epoch: 0,
            call: None,
        }
    }

    /// Its capacity is used up by those who are inside.
    pub(super) fn is_full(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.seats.saturating_sub(call.outside) >= self.capacity)
    }

    /// The dialogue that comes before the room; `None` when there is nothing to be said or asked.
    pub(super) fn manners(&self) -> Option<Manners> {
        let manners = Manners { prompts: self.prompts, pin: self.room_pin.is_some() };
        (manners.prompts || manners.pin).then_some(manners)
    }

    /// What those who are called over this trunk see: the number that was set for it, or the first one.
    pub(super) fn caller_id(&self, trunk: Option<&str>) -> Option<String> {
        let of_trunk = self.caller_ids.iter().find(|(provider, _)| Some(provider.as_ref()) == trunk);
        of_trunk.or(self.caller_ids.first()).map(|(_, number)| number.to_string())
    }

    /// The chairman is here.
    pub(super) fn is_led(&self) -> bool {
        self.participants().iter().any(|p| p.chairman && p.presence == Presence::Joined)
    }

    /// Room, server and their limits have one more seat. `seats` and `calls` are what the server has in use.
    fn has_place(&self, limits: Limits, seats: u32, calls: usize) -> Result<(), Refusal> {
        if self.is_full() {
            return Err(Refusal::RoomFull(self.capacity));
        }
        if seats >= limits.max_participants {
            return Err(Refusal::ServerFull("its limit of participants is reached"));
        }
        if self.call.is_some() {
            return Ok(());
        }
        if !limits.enabled {
            return Err(Refusal::ServerDisabled);
        }
        if calls >= limits.max_rooms as usize {
            return Err(Refusal::ServerFull("its limit of rooms is reached"));
        }
        Ok(())
    }

    fn take(&mut self, settings: &RoomSettings, rules: Rules) {
        self.subject = settings.subject.as_str().into();
        self.layout = settings.layout;
        self.control = settings.control;
        self.video = settings.video();
        self.capacity = settings.capacity;
        self.room_pin = settings.room_pin.as_deref().map(Into::into);
        self.admin_pin = settings.admin_pin.as_deref().map(Into::into);
        self.prompts = settings.enable_prompt;
        self.language = settings.language.as_deref().map(Into::into);
        self.plan = Plan::of(settings, rules);
        let shown = settings.outbound_caller_ids.iter().flatten();
        self.caller_ids = shown.map(|id| (id.provider_id.as_str().into(), id.caller_id.as_str().into())).collect();
    }
}

#[cfg(test)]
mod tests;
