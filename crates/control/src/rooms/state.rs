//! Who is where, as plain data: no lock, no clock, no engine, no await. Each change says which slower consequences it has
//! (`Effect`); settings of legs that have to be sent are remembered here until they were, and what became true until it is
//! noted (`news`). Called under `Rooms`' mutex. Rooms and seats are here, those who sit on them in `participants`.

mod news;
mod participants;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use media::{Answer, Arrangement, CodecName, LegId, RoomId, VideoCodec, VideoSpec};
use tokio::sync::mpsc;

use super::pictures::LatestPreview;
use super::tiles::{Place, Tiles};
use super::view::LatestSnapshot;
use super::{Caller, Control, DialogOrder, HangUp, Layout, ParticipantId, Pins, Policy, Refusal, RoomSettings};
use crate::error::Error;
use crate::events::{Kind, NewEvent};
use crate::ids::Id;
use crate::store::{Holding, ServerRecord};
use news::News;

pub(super) use news::data_of;

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
    Leave { room: RoomId, leg: LegId },
    Close { room: RoomId },
    HangUp { dialog: mpsc::Sender<DialogOrder>, why: HangUp },
}

/// Somebody in a room.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) id: ParticipantId,
    pub(super) leg: LegId,
    pub(super) display_name: String,
    pub(super) number: String,
    pub(super) call_id: String,
    pub(super) joined_at: Timestamp,
    pub(super) muted: bool,
    pub(super) chairman: bool,
    pub(super) talking: bool,
    pub(super) on_hold: bool,
    pub(super) codec: CodecName,
    pub(super) video: Option<VideoCodec>,
    pub(super) place: Place,
    /// The engine has taken the leg.
    pub(super) confirmed: bool,
    dialog: mpsc::Sender<DialogOrder>,
}

impl Participant {
    pub(super) fn new(id: ParticipantId, leg: LegId, caller: Caller, answer: &Answer, now: Timestamp) -> Self {
        Self {
            id,
            leg,
            display_name: caller.display_name,
            number: caller.number,
            call_id: caller.call_id,
            joined_at: now,
            muted: false,
            chairman: false,
            talking: false,
            on_hold: answer.on_hold,
            codec: answer.codec,
            video: answer.video,
            place: Place::NONE,
            confirmed: false,
            dialog: caller.dialog,
        }
    }
}

/// What is going on in an active room.
#[derive(Debug)]
pub(super) struct Call {
    /// The room on the media side: another one for each call, so that facts of an old call meet nobody.
    pub(super) media: RoomId,
    /// Participants and those on their way in.
    pub(super) seats: u32,
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
    pub(super) needs_pin: bool,
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

/// A seat that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) media: RoomId,
    /// The engine has to open the room.
    pub(super) opens: bool,
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
    /// No new calls.
    draining: bool,
    /// Not even those that were admitted.
    closed: bool,
    rooms: HashMap<Id, Known>,
    by_extension: HashMap<Box<str>, Id>,
    by_media: HashMap<RoomId, Id>,
    by_participant: HashMap<ParticipantId, Id>,
    seats: u32,
    /// Rooms whose policy or owner the store does not know yet.
    unkept: HashSet<Id>,
    /// Rooms whose picture, or who is shown in it, the engine does not know yet.
    unpictured: HashSet<Id>,
    /// Participants whose settings the engine does not know yet.
    unsettled: HashSet<ParticipantId>,
    /// What became true and is not noted yet.
    news: News,
    /// As of the moment when the lock was taken.
    now: Instant,
}

impl State {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            now,
            draining: false,
            closed: false,
            rooms: HashMap::new(),
            by_extension: HashMap::new(),
            by_media: HashMap::new(),
            by_participant: HashMap::new(),
            seats: 0,
            unkept: HashSet::new(),
            unpictured: HashSet::new(),
            unsettled: HashSet::new(),
            news: News::default(),
        }
    }

    /// The lock was taken now.
    pub(super) const fn at(&mut self, now: Instant) {
        self.now = now;
    }

    // -- rooms ---------------------------------------------------------------------------------------------------------

    pub(super) fn know(&mut self, id: Id, settings: &RoomSettings, policy: Policy, epoch: i64) {
        self.by_extension.insert(settings.extension_number.as_str().into(), id);
        let mut room = Known {
            extension: settings.extension_number.as_str().into(),
            subject: Box::default(),
            layout: settings.layout,
            control: settings.control,
            video: None,
            capacity: 0,
            tiles: Tiles::new(settings.shape()),
            needs_pin: false,
            enable_recording: settings.enable_recording,
            policy,
            epoch,
            call: None,
        };
        room.take(settings);
        self.rooms.insert(id, room);
    }

    /// A position that was set in the last run.
    pub(super) fn recall(&mut self, id: Id, number: String, position: i8) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.tiles.recall(number, position);
        }
    }

    /// New settings of a room: its picture for all, the rest for those who come from now on.
    pub(super) fn update(&mut self, id: Id, settings: &RoomSettings) {
        if let Some(room) = self.rooms.get_mut(&id) {
            let before = room.video;
            room.take(settings);
            let moves = room.tiles.reshape(settings.shape(), self.now);
            if room.video != before && room.call.is_some() {
                self.unpictured.insert(id);
            }
            self.moved(id, moves);
            self.lead(id);
        }
    }

    pub(super) fn lock_room(&mut self, id: Id, locked: bool) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.policy.locked = locked;
        }
    }

    /// A room as a restored database has it: a new one, or one that goes on with what is set now. What holds for a call that
    /// runs is what was set for it.
    pub(super) fn restore(&mut self, id: Id, settings: &RoomSettings, policy: Policy, epoch: i64) {
        match self.rooms.get_mut(&id) {
            Some(room) => {
                room.epoch = room.epoch.max(epoch);
                if room.call.is_none() {
                    room.policy = policy;
                }
                self.update(id, settings);
                // Who owns it is not in a backup.
                self.unkept.insert(id);
            }
            None => self.know(id, settings, policy, epoch),
        }
    }

    /// A room as the database has it, which may be ahead of what is in force: then it is put in force. What the database is
    /// still to be told of the room stays as it is, and so do its pins: of those nobody was told.
    pub(super) fn adopt(&mut self, id: Id, settings: &RoomSettings, policy: Policy, epoch: i64, pins: Option<Pins>) {
        let Some(room) = self.rooms.get(&id) else { return self.know(id, settings, policy, epoch) };
        let present = room.policy;
        let has_other_pins = room.tiles.pins() != pins.unwrap_or_default();
        self.update(id, settings);
        if !self.unkept.contains(&id) {
            self.lock_room(id, policy.locked);
            if policy.muted != present.muted {
                self.mute_room(id, policy.muted);
            }
        }
        if has_other_pins {
            self.unkept.insert(id);
        }
    }

    /// Forgets the room and hangs up on everyone in it.
    pub(super) fn forget(&mut self, id: Id) -> Vec<Effect> {
        let effects = self.clear(id, HangUp::RoomDestroyed);
        if let Some(room) = self.rooms.remove(&id) {
            self.by_extension.remove(&room.extension);
        }
        self.unkept.remove(&id);
        effects
    }

    pub(super) fn room(&self, id: Id) -> Option<&Known> {
        self.rooms.get(&id)
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

    /// All rooms.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        self.rooms.keys().copied()
    }

    /// Rooms that are active.
    pub(super) fn active(&self) -> impl Iterator<Item = Id> {
        self.by_media.values().copied()
    }

    // -- seats ---------------------------------------------------------------------------------------------------------

    /// Counts a seat in the room of this extension. `fresh` names the call if it begins one.
    pub(super) fn admit(&mut self, extension: &str, fresh: RoomId) -> Result<Admitted, Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let unknown = || Refusal::UnknownRoom(extension.chars().take(64).collect());
        let id = *self.by_extension.get(extension).ok_or_else(unknown)?;
        let room = self.rooms.get_mut(&id).ok_or_else(unknown)?;
        if room.policy.locked {
            return Err(Refusal::RoomLocked);
        }
        if room.needs_pin {
            return Err(Refusal::PinNeeded);
        }
        room.has_place(self.limits, self.seats, self.by_media.len())?;
        if let Some(call) = &mut room.call {
            call.seats += 1;
            self.seats += 1;
            return Ok(Admitted { media: call.media, opens: false });
        }
        room.epoch += 1;
        room.call = Some(Box::new(Call {
            media: fresh,
            seats: 1,
            participants: Vec::new(),
            started_at: None,
            recording: None,
            part_of: None,
            recording_gate: Arc::default(),
            snapshot: LatestSnapshot::default(),
            preview: LatestPreview::default(),
        }));
        self.seats += 1;
        self.by_media.insert(fresh, id);
        self.unkept.insert(id);
        Ok(Admitted { media: fresh, opens: true })
    }

    /// Whether the room could take one more now, whom an operator calls: locks and PINs do not bar them.
    pub(super) fn could_take(&self, id: Id) -> Result<(), Error> {
        let room = self.rooms.get(&id).ok_or(Error::NotFound("room"))?;
        let refusal = match self.draining {
            true => Err(Refusal::Draining),
            false => room.has_place(self.limits, self.seats, self.by_media.len()),
        };
        refusal.map_err(|refusal| match refusal {
            Refusal::ServerDisabled | Refusal::Draining => Error::NoServer(refusal.to_string().into()),
            full => Error::CapacityExceeded(full.to_string().into()),
        })
    }

    /// A seat that nobody sat down on. One whose call has ended was given back with it.
    pub(super) fn give_back(&mut self, media: RoomId) -> Vec<Effect> {
        let Some(id) = self.room_of_media(media) else { return Vec::new() };
        self.vacate(id)
    }

    /// The engine did not open the room of a call that has just begun.
    pub(super) fn abandon(&mut self, media: RoomId) {
        drop(self.give_back(media));
    }

    fn vacate(&mut self, id: Id) -> Vec<Effect> {
        let Some(call) = self.call_mut(id) else { return Vec::new() };
        call.seats = call.seats.saturating_sub(1);
        let is_empty = call.seats == 0;
        self.seats = self.seats.saturating_sub(1);
        if is_empty { self.end_call(id).into_iter().collect() } else { Vec::new() }
    }

    fn end_call(&mut self, id: Id) -> Option<Effect> {
        let room = self.rooms.get_mut(&id)?;
        let call = room.call.take()?;
        self.by_media.remove(&call.media);
        // A call that nobody came to was none: what was set for the next one still is.
        if call.started_at.is_some() {
            room.policy = Policy::default();
            room.tiles.clear();
            self.news.room(id, room, Kind::RoomEnded);
        }
        self.unkept.insert(id);
        Some(Effect::Close { room: call.media })
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
            && self.by_media.len() < self.limits.max_rooms as usize
            && self.seats < self.limits.max_participants
    }

    pub(super) fn seat_count(&self) -> u32 {
        self.seats
    }

    pub(super) fn call_count(&self) -> usize {
        self.by_media.len()
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

    pub(super) fn next_unsettled(&mut self) -> Option<(ParticipantId, RoomId, LegId, bool)> {
        loop {
            let id = *self.unsettled.iter().next()?;
            self.unsettled.remove(&id);
            let leg = self.leg_of(id);
            if let (Some((room, leg)), Some(participant)) = (leg, self.participant_mut(id)) {
                return Some((id, room, leg, participant.muted));
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
        self.unkept.drain().filter_map(|id| rooms.get(&id).map(|room| holding(id, room, server))).collect()
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
        self.rooms.get(&id).map(|room| holding(id, room, server))
    }
}

fn holding(id: Id, room: &Known, server: Id) -> Holding {
    Holding { room: id, policy: room.policy, owner: room.call.as_ref().map(|_| server), epoch: room.epoch }
}

impl Known {
    /// Room, server and their limits have one more seat. `seats` and `calls` are what the server has in use.
    fn has_place(&self, limits: Limits, seats: u32, calls: usize) -> Result<(), Refusal> {
        if self.call.as_ref().is_some_and(|call| call.seats >= self.capacity) {
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

    fn take(&mut self, settings: &RoomSettings) {
        self.subject = settings.subject.as_str().into();
        self.layout = settings.layout;
        self.control = settings.control;
        self.video = settings.video();
        self.capacity = settings.capacity;
        self.needs_pin = settings.room_pin.is_some();
    }
}

#[cfg(test)]
mod tests;
