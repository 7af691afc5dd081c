//! Those who are in rooms: how they come, what is set of them, and how they go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use media::{Answer, LegId, LegSettings, RoomId};
use tokio::sync::mpsc;

use super::dialogue::Dialogue;
use super::{Effect, Gone, Known, LOBBY, Participant, Presence, State};
use crate::dialing::CallFailure;
use crate::error::Error;
use crate::events::Kind;
use crate::ids::Id;
use crate::menu::{Menu, Step};
use crate::prompts::Phrase;
use crate::rooms::floor::{Act, Standing};
use crate::rooms::tiles::{Moves, Place, Tiles};
use crate::rooms::{Control, DialogOrder, HangUp, Left, ParticipantId, Pins, name_of};

/// Where a leg that somebody sat down with is to join.
#[derive(Debug)]
pub(in crate::rooms) struct Sat {
    /// `None` while there is no leg: they are being called.
    pub(in crate::rooms) room: Option<RoomId>,
    /// The engine has to open it: it is a room in front of the room.
    pub(in crate::rooms) opens: bool,
    /// And music is to be heard there.
    pub(in crate::rooms) music: bool,
    pub(in crate::rooms) settings: LegSettings,
}

/// Where somebody's leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rooms) enum Whereabouts {
    In(RoomId, LegId),
    /// From one media room to another.
    Moving,
    Gone,
}

impl State {
    // -- in and out ----------------------------------------------------------------------------------------------------

    /// Turns a counted seat into a participant, with a leg that is about to join: in front of the room when something is to
    /// be said or asked first. Says where the leg belongs.
    /// `was_outside` is how the seat was counted: what is asked in front of the room may be another now.
    pub(in crate::rooms) fn sit(
        &mut self,
        media: RoomId,
        mut participant: Participant,
        was_outside: bool,
    ) -> Result<Sat, Gone> {
        if self.closed {
            return Err(Gone::Server);
        }
        let (id, leg) = (self.room_of_media(media).ok_or(Gone::Room)?, participant.leg);
        let room = self.rooms.get_mut(&id).ok_or(Gone::Room)?;
        let manners = room.manners();
        let call = room.call.as_mut().ok_or(Gone::Room)?;
        let who = participant.id;
        if let Some(leg) = leg {
            self.by_leg.insert(leg, who);
        }
        self.by_participant.insert(who, id);
        let is_asked = participant.presence == Presence::InMenu && !participant.is_judged;
        let manners = manners.filter(|_| is_asked);
        call.outside = (call.outside + u32::from(manners.is_some())).saturating_sub(u32::from(was_outside));
        let Some(manners) = manners else {
            // Nothing is to be asked. The call's seat is counted as one inside.
            let is_caller = participant.presence == Presence::InMenu;
            call.participants.push(participant);
            if is_caller {
                self.come_in(id, who);
            }
            return Ok(self.place_of(who));
        };
        participant.dialogue = Dialogue::at_the_door(Menu::new(manners), self.now);
        self.is_dialogue_news = true;
        call.participants.push(participant);
        Ok(self.place_of(who))
    }

    /// Where the leg of somebody who has just sat down is to join.
    fn place_of(&mut self, who: ParticipantId) -> Sat {
        let home = self.home_of(who);
        let Some((found, home)) = self.participant_mut(who).zip(home) else {
            return Sat { room: None, opens: false, music: false, settings: LegSettings::default() };
        };
        let room = found.leg.map(|_| home);
        found.at = room;
        let (settings, is_hall) = (found.settings(), home == found.hall);
        let music = room.is_some() && self.opens_waiting(who, home);
        Sat { room, opens: room.is_some() && (is_hall || music), music, settings }
    }

    /// The media room where somebody's leg belongs.
    pub(super) fn home_of(&self, who: ParticipantId) -> Option<RoomId> {
        let call = self.rooms.get(self.by_participant.get(&who)?)?.call.as_ref()?;
        let participant = call.participants.iter().find(|p| p.id == who)?;
        Some(match participant.presence {
            Presence::Joined => call.media,
            Presence::Waiting => call.waiting,
            Presence::InMenu | Presence::Calling | Presence::Ringing => participant.hall,
        })
    }

    /// True when this is the waiting room of somebody's call, and not open yet; it counts as open then.
    fn opens_waiting(&mut self, who: ParticipantId, media: RoomId) -> bool {
        let id = self.by_participant.get(&who).copied();
        let call = id.and_then(|id| self.call_mut(id)).filter(|call| call.waiting == media);
        call.is_some_and(|call| !std::mem::replace(&mut call.is_waiting_open, true))
    }

    /// Past the menu, or past none: they wait for the chairman, or take part.
    fn come_in(&mut self, id: Id, who: ParticipantId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let waits = room.control == Control::Master && !room.is_led();
        let (control, room_muted) = (room.control, room.policy.muted);
        let Some(call) = room.call.as_mut() else { return };
        let is_first = call.started_at.is_none();
        let Some(participant) = call.participants.iter_mut().find(|p| p.id == who) else { return };
        let waits = waits && !participant.chairman;
        // What was made of their voice while they waited holds, in a room that is led.
        let keeps = participant.presence == Presence::Waiting && (control == Control::Master || room_muted);
        participant.presence = if waits { Presence::Waiting } else { Presence::Joined };
        let standing = Standing {
            control,
            room_muted,
            chairman: participant.chairman,
            muted: participant.muted,
            hand: participant.hand,
        };
        if !keeps {
            let voice = standing.after(Act::Join);
            (participant.muted, participant.hand) = (voice.muted, voice.hand);
        }
        call.started_at.get_or_insert(participant.joined_at);
        if is_first {
            self.news.room(id, room, Kind::RoomStarted);
        }
        if waits {
            self.announce_as(who, Kind::ParticipantWaiting);
        } else {
            self.take_tile(id, who);
        }
    }

    fn take_tile(&mut self, id: Id, who: ParticipantId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let participant = room.call.iter().flat_map(|call| &call.participants).find(|p| p.id == who);
        let Some((leg, number)) = participant.and_then(|p| Some((p.leg?, p.number.clone()))) else { return };
        let moves = room.tiles.join(who, leg, &number, now);
        self.moved(id, moves);
    }

    fn announce_as(&mut self, who: ParticipantId, kind: Kind) {
        if let Some(found) = self.participant_mut(who) {
            found.announced = true;
        }
        self.tell(who, kind);
    }

    /// The menu lets somebody in, unless the room has become full or locked meanwhile.
    pub(super) fn enter(&mut self, who: ParticipantId) -> Result<Vec<Effect>, Vec<Step>> {
        let Some(id) = self.by_participant.get(&who).copied() else { return Ok(Vec::new()) };
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(Vec::new()) };
        let leads = room.participants().iter().any(|p| p.id == who && p.dialogue.leads);
        // Who leads the room is not kept out of it by their own lock.
        if room.policy.locked && !leads {
            return Err(self.dismiss(who, HangUp::NoEntry, Phrase::Locked));
        }
        if room.is_full() {
            return Err(self.dismiss(who, HangUp::NoEntry, Phrase::Full));
        }
        if let Some(call) = room.call.as_mut() {
            call.outside = call.outside.saturating_sub(1);
        }
        self.let_in(who);
        if leads {
            self.crown(id, who);
        }
        self.come_in(id, who);
        self.lead(id);
        // What is said from here on is heard where they go.
        let mut effects = self.relocate(who);
        if leads {
            effects.extend(self.mention(who, vec![Phrase::YouAreChairman]));
            effects.extend(self.release(id));
        } else if self.participant_mut(who).is_some_and(|p| p.presence == Presence::Waiting) {
            effects.extend(self.mention(who, vec![Phrase::ChairmanMissing]));
        }
        Ok(effects)
    }

    /// Our call was answered: they take part, or wait, without a menu. Says where the leg is to join.
    pub(in crate::rooms) fn answered(&mut self, who: ParticipantId, leg: LegId, answer: &Answer) -> Option<Sat> {
        let id = *self.by_participant.get(&who)?;
        let found = self.participant_mut(who)?;
        found.leg = Some(leg);
        (found.codec, found.video, found.on_hold) = (Some(answer.codec), answer.video, answer.on_hold);
        self.by_leg.insert(leg, who);
        self.come_in(id, who);
        Some(self.place_of(who))
    }

    /// Somebody may be called: they are neither here nor being called.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState`.
    pub(in crate::rooms) fn is_awaited(&self, id: Id, number: &str) -> Result<(), Error> {
        let room = self.room(id).ok_or(Error::NotFound("room"))?;
        let address = format!("<{}>", number.to_ascii_lowercase());
        let is_here = |p: &&Participant| p.number == number || p.display_name.to_ascii_lowercase().ends_with(&address);
        match room.participants().iter().find(is_here).map(|p| p.presence) {
            None => Ok(()),
            Some(Presence::Calling | Presence::Ringing) => {
                Err(Error::InvalidState(format!("{number} is being called already").into()))
            }
            Some(_) => Err(Error::InvalidState(format!("{number} is in the room already").into())),
        }
    }

    /// Somebody is called from now on.
    pub(in crate::rooms) fn calls(&mut self, who: ParticipantId) {
        self.tell(who, Kind::ParticipantCalling);
    }

    /// Somebody who was called does not come; the chairman hears it.
    pub(in crate::rooms) fn fail_to_reach(&mut self, who: ParticipantId, failure: &CallFailure) -> Option<Effect> {
        let id = *self.by_participant.get(&who)?;
        let room = self.rooms.get(&id)?;
        let extension = room.extension.to_string();
        let found = room.participants().iter().find(|p| p.id == who)?;
        self.news.because(id, &extension, found, Kind::ParticipantNotReached, Some(&failure.to_string()));
        let chairman = room.participants().iter().find(|p| p.chairman).map(|p| p.id)?;
        let word = match failure {
            CallFailure::Busy => Phrase::Busy,
            CallFailure::NoAnswer => Phrase::NoAnswer,
            CallFailure::NotAllowed(_) => Phrase::NotAllowed,
            _ => Phrase::NotReached,
        };
        self.mention(chairman, vec![word])
    }

    /// The phone that we call rings.
    pub(in crate::rooms) fn rings(&mut self, who: ParticipantId) {
        if let Some(found) = self.participant_mut(who).filter(|p| p.presence == Presence::Calling) {
            found.presence = Presence::Ringing;
            self.tell(who, Kind::ParticipantRinging);
        }
    }

    /// Those who wait take part from now on, if the chairman is here or is not waited for any more.
    pub(in crate::rooms) fn release(&mut self, id: Id) -> Vec<Effect> {
        let Some(room) = self.rooms.get(&id) else { return Vec::new() };
        if room.control == Control::Master && !room.is_led() {
            return Vec::new();
        }
        let waiting = room.participants().iter().filter(|p| p.presence == Presence::Waiting);
        let waiting: Vec<ParticipantId> = waiting.map(|p| p.id).collect();
        let mut effects = Vec::new();
        let is_led = room.control == Control::Master;
        for who in waiting {
            self.come_in(id, who);
            effects.extend(self.relocate(who));
            if is_led {
                effects.extend(self.mention(who, vec![Phrase::ChairmanArrived]));
            }
        }
        effects
    }

    /// The leg goes where its participant belongs.
    fn relocate(&mut self, who: ParticipantId) -> Vec<Effect> {
        let Some(home) = self.home_of(who) else { return Vec::new() };
        let opens = self.opens_waiting(who, home);
        let Some(found) = self.participant_mut(who) else { return Vec::new() };
        let mut effects = Vec::new();
        if opens {
            effects.push(Effect::Open { room: home, video: None });
            effects.push(Effect::Music { room: home });
        }
        // One on its way is sent on when it arrives.
        if let Some((from, leg)) = found.at.zip(found.leg).filter(|(from, _)| *from != home) {
            found.at = None;
            let hall = found.hall;
            effects.push(Effect::Move { participant: who, from, leg, hall });
        }
        effects
    }

    /// As tiles show them.
    pub(in crate::rooms) fn name_of(&mut self, who: ParticipantId) -> Arc<str> {
        self.participant_mut(who).map(|p| name_of(&p.display_name)).unwrap_or_default().into()
    }

    /// A leg on its way is about to join the room where its participant belongs now: which, with what name and settings.
    /// `None` when its participant is gone: then it is nobody's.
    pub(in crate::rooms) fn arriving(&mut self, who: ParticipantId) -> Option<(RoomId, Arc<str>, LegSettings)> {
        let home = self.home_of(who)?;
        let found = self.participant_mut(who)?;
        found.at = Some(home);
        Some((home, name_of(&found.display_name).into(), found.settings()))
    }

    /// The engine has the leg where it belonged. Gives what follows.
    pub(in crate::rooms) fn arrived(&mut self, who: ParticipantId) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.unsettled.insert(who);
        effects.extend(self.relocate(who));
        let Some(id) = self.by_participant.get(&who).copied() else { return effects };
        let Some(room) = self.rooms.get(&id) else { return effects };
        let media = room.call.as_ref().map(|call| call.media);
        let is_recorded = room.enable_recording && !room.participants().iter().any(|p| p.confirmed);
        let Some(found) = self.participant_mut(who) else { return effects };
        let is_in = found.at.is_some() && found.at == media && found.presence == Presence::Joined;
        let mut words = Vec::new();
        if is_in && !std::mem::replace(&mut found.confirmed, true) {
            self.announce_as(who, Kind::ParticipantJoined);
            effects.push(Effect::Joined { participant: who });
            let (tone, news) = self.welcome(id, who);
            effects.extend(tone);
            words = news;
            if is_recorded {
                effects.push(Effect::Record { room: id });
            }
        }
        effects.extend(self.say_what_waited(who, words));
        effects
    }

    /// Somebody takes part now: the tone that the others hear, and what they themselves are told.
    fn welcome(&self, id: Id, who: ParticipantId) -> (Option<Effect>, Vec<Phrase>) {
        let Some(room) = self.rooms.get(&id) else { return (None, Vec::new()) };
        let here = room.participants().iter().filter(|p| p.confirmed).count();
        let is_muted = room.participants().iter().any(|p| p.id == who && p.muted);
        let mut words = Vec::new();
        if here == 1 {
            words.push(Phrase::AloneHere);
        }
        if is_muted {
            words.push(Phrase::Muted);
        }
        if room.call.as_ref().is_some_and(|call| call.recording.is_some()) {
            words.push(Phrase::RecordingRunning);
        }
        let tone = if here > 1 { self.announce(id, vec![Phrase::JoinTone]) } else { None };
        (tone, words)
    }

    /// Takes a participant out of its room without a word: it goes on to another one.
    pub(super) fn unseat(&mut self, who: ParticipantId, effects: &mut Vec<Effect>) -> Option<Participant> {
        let id = self.by_participant.remove(&who)?;
        let call = self.call_mut(id)?;
        let at = call.participants.iter().position(|p| p.id == who)?;
        let moved = call.participants.remove(at);
        effects.extend(self.vacate(id, moved.presence == Presence::InMenu));
        Some(moved)
    }

    /// Takes a participant out. `hang_up` orders the dialog to end; `has_leg` says that the engine still has the leg.
    pub(in crate::rooms) fn remove(
        &mut self,
        participant: ParticipantId,
        why: Left,
        hang_up: Option<HangUp>,
        has_leg: bool,
    ) -> Option<Vec<Effect>> {
        let id = self.by_participant.remove(&participant)?;
        self.unsettled.remove(&participant);
        let room = self.rooms.get_mut(&id)?;
        let call = room.call.as_mut()?;
        let at = call.participants.iter().position(|p| p.id == participant)?;
        let gone = call.participants.remove(at);
        self.news.because(id, &room.extension, &gone, Kind::ParticipantLeft, Some(why.label()));
        let mut effects = Vec::with_capacity(4);
        if let Some(leg) = gone.leg {
            self.by_leg.remove(&leg);
            if let Some(room) = gone.at.filter(|_| has_leg) {
                effects.push(Effect::Leave { room, leg });
            }
        }
        // One that moves is followed by whoever moves it.
        if let Some(room) = gone.at.filter(|at| *at == gone.hall) {
            effects.push(Effect::Close { room });
        }
        if let Some(why) = hang_up {
            effects.push(Effect::HangUp { dialog: gone.dialog, why });
        }
        let room = self.rooms.get_mut(&id)?;
        let moves = room.tiles.leave(participant, self.now);
        self.moved(id, moves);
        if gone.confirmed {
            let was_led = gone.chairman && self.rooms.get(&id).is_some_and(|room| room.control == Control::Master);
            let word = if was_led { Phrase::ChairmanLeft } else { Phrase::LeaveTone };
            effects.extend(self.announce(id, vec![word]));
        }
        effects.extend(self.vacate(id, gone.presence == Presence::InMenu));
        Some(effects)
    }

    /// Ends the room's call: everyone is hung up on, their seats are free.
    pub(in crate::rooms) fn clear(&mut self, id: Id, why: HangUp) -> Vec<Effect> {
        let Some(room) = self.rooms.get_mut(&id) else { return Vec::new() };
        let Some(call) = room.call.as_mut() else { return Vec::new() };
        let mut effects: Vec<Effect> = Vec::with_capacity(call.participants.len() + 1);
        for participant in call.participants.drain(..) {
            self.by_participant.remove(&participant.id);
            self.unsettled.remove(&participant.id);
            if let Some(leg) = participant.leg {
                self.by_leg.remove(&leg);
            }
            // With the room goes whoever is in it; the others' rooms are closed one by one.
            if let Some(room) = participant.at.filter(|at| *at == participant.hall) {
                effects.push(Effect::Close { room });
            }
            let reason = Some(Left::Removed(why).label());
            self.news.because(id, &room.extension, &participant, Kind::ParticipantLeft, reason);
            effects.push(Effect::HangUp { dialog: participant.dialog, why });
        }
        room.tiles.empty();
        call.outside = 0;
        self.seats = self.seats.saturating_sub(std::mem::take(&mut call.seats));
        effects.extend(self.end_call(id));
        effects
    }

    // -- who is who ----------------------------------------------------------------------------------------------------

    pub(in crate::rooms) fn participant_mut(&mut self, participant: ParticipantId) -> Option<&mut Participant> {
        let id = *self.by_participant.get(&participant)?;
        self.call_mut(id)?.participants.iter_mut().find(|p| p.id == participant)
    }

    /// Whose leg this is: an engine gives a number to one leg only.
    pub(in crate::rooms) fn owner_of(&self, leg: LegId) -> Option<ParticipantId> {
        self.by_leg.get(&leg).copied()
    }

    pub(in crate::rooms) fn whereabouts(&self, participant: ParticipantId) -> Whereabouts {
        let found = self.by_participant.get(&participant).and_then(|id| self.rooms.get(id));
        let found = found.and_then(|room| room.participants().iter().find(|p| p.id == participant));
        match found.map(|found| (found.at, found.leg)) {
            Some((Some(room), Some(leg))) => Whereabouts::In(room, leg),
            Some((None, Some(_))) => Whereabouts::Moving,
            _ => Whereabouts::Gone,
        }
    }

    /// Everybody in whatever room.
    pub(super) fn everyone(&self) -> impl Iterator<Item = &Participant> {
        self.by_media.values().filter_map(|id| self.rooms.get(id)).flat_map(Known::participants)
    }

    /// Those whose legs are in this media room.
    pub(in crate::rooms) fn those_in(&self, media: RoomId) -> Vec<ParticipantId> {
        self.everyone().filter(|p| p.at == Some(media)).map(|p| p.id).collect()
    }

    /// The way to somebody's dialog.
    pub(in crate::rooms) fn dialog_of(&self, participant: ParticipantId) -> Option<mpsc::Sender<DialogOrder>> {
        let room = self.rooms.get(self.by_participant.get(&participant)?)?;
        room.participants().iter().find(|p| p.id == participant).map(|p| p.dialog.clone())
    }

    /// True when the participant is in this room. Nobody is seen in the lobby.
    pub(in crate::rooms) fn is_in(&self, participant: ParticipantId, room: Id) -> bool {
        room != LOBBY && self.by_participant.get(&participant) == Some(&room)
    }

    // -- what is set of them -------------------------------------------------------------------------------------------

    /// What an act makes of somebody's voice. True when it is another one then.
    pub(in crate::rooms) fn act(&mut self, participant: ParticipantId, act: Act) -> bool {
        let Some(id) = self.by_participant.get(&participant).copied() else { return false };
        let Some(room) = self.rooms.get_mut(&id) else { return false };
        let (control, room_muted) = (room.control, room.policy.muted);
        let everyone = room.call.iter_mut().flat_map(|call| call.participants.iter_mut());
        let Some(found) = everyone.into_iter().find(|p| p.id == participant) else { return false };
        let (chairman, muted, hand) = (found.chairman, found.muted, found.hand);
        let voice = Standing { control, room_muted, chairman, muted, hand }.after(act);
        (found.muted, found.hand) = (voice.muted, voice.hand);
        if voice.muted != muted {
            self.unsettled.insert(participant);
            self.tell(participant, muted_or_not(voice.muted));
        } else if voice.hand != hand {
            self.tell(participant, if voice.hand { Kind::ParticipantHandRaised } else { Kind::ParticipantHandLowered });
        }
        voice.muted != muted || voice.hand != hand
    }

    /// An operator mutes or unmutes somebody, who is told.
    pub(in crate::rooms) fn mute(&mut self, participant: ParticipantId, muted: bool) -> Vec<Effect> {
        let changed = self.act(participant, if muted { Act::Mute } else { Act::Unmute });
        let spoken = if changed { self.speak_of_voice(participant) } else { None };
        spoken.into_iter().collect()
    }

    /// Room mute is a policy: it reaches everyone but the chairman now, and those who come later.
    pub(in crate::rooms) fn mute_room(&mut self, id: Id, muted: bool) -> Vec<Effect> {
        let Some(room) = self.rooms.get_mut(&id) else { return Vec::new() };
        let is_news = std::mem::replace(&mut room.policy.muted, muted) != muted;
        let everyone = room.joined();
        let mut changed = false;
        for participant in everyone {
            changed |= self.act(participant, if muted { Act::MuteRoom } else { Act::UnmuteRoom });
        }
        let word = if muted { Phrase::RoomMuted } else { Phrase::RoomUnmuted };
        let spoken = if changed || is_news { self.announce(id, vec![word]) } else { None };
        spoken.into_iter().collect()
    }

    /// Makes somebody the chairman, who is one: the former is it no more. Whoever waited for one does not any more.
    pub(in crate::rooms) fn appoint(&mut self, participant: ParticipantId) -> Vec<Effect> {
        let Some(id) = self.by_participant.get(&participant).copied() else { return Vec::new() };
        let former = self.rooms.get(&id).and_then(|room| room.participants().iter().find(|p| p.chairman)).map(|p| p.id);
        let is_new = self.crown(id, participant);
        let mut effects = Vec::new();
        if let Some(former) = former.filter(|former| *former != participant) {
            effects.extend(self.mention(former, vec![Phrase::NoLongerChairman]));
        }
        if self.participant_mut(participant).is_some_and(|p| p.presence == Presence::Waiting) {
            self.come_in(id, participant);
            effects.extend(self.relocate(participant));
        }
        self.lead(id);
        if is_new {
            effects.extend(self.mention(participant, vec![Phrase::YouAreChairman]));
        }
        effects.extend(self.release(id));
        effects
    }

    /// Who is still asked for a PIN, or is being called, is not heard and leads nothing.
    pub(in crate::rooms) fn takes_part(&mut self, participant: ParticipantId) -> bool {
        let found = self.participant_mut(participant);
        found.is_some_and(|p| matches!(p.presence, Presence::Waiting | Presence::Joined))
    }

    /// Gives the chair to somebody; true when it was not theirs.
    fn crown(&mut self, id: Id, participant: ParticipantId) -> bool {
        let Some(room) = self.rooms.get_mut(&id) else { return false };
        let mut changed = Vec::with_capacity(2);
        for other in room.call.iter_mut().flat_map(|call| call.participants.iter_mut()) {
            let leads = other.id == participant;
            if std::mem::replace(&mut other.chairman, leads) != leads {
                changed.push((other.id, leads));
            }
        }
        let is_new = changed.iter().any(|(_, leads)| *leads);
        if is_new {
            self.tell(participant, Kind::ParticipantChairman);
        }
        for (changed, leads) in changed {
            self.act(changed, if leads { Act::Lead } else { Act::Yield });
        }
        is_new
    }

    /// The chairman of a MASTER room has the main tile.
    pub(super) fn lead(&mut self, id: Id) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let chairman = room.participants().iter().find(|p| p.chairman).map(|p| p.id);
        let moves = room.tiles.lead(chairman.filter(|_| room.control == Control::Master), self.now);
        self.moved(id, moves);
    }

    /// Changes the tiles of a room. `written` is what the store was told of its pins; if others hold, it is told again.
    pub(in crate::rooms) fn retile(
        &mut self,
        id: Id,
        written: &Pins,
        change: impl FnOnce(&mut Tiles, &[ParticipantId], Instant) -> Result<Moves, Error>,
    ) -> Result<(), Error> {
        let room = self.rooms.get_mut(&id).ok_or(Error::NotFound("room"))?;
        let joined = room.joined();
        let moves = change(&mut room.tiles, &joined, self.now);
        if room.tiles.pins() != *written {
            self.unkept.insert(id);
        }
        self.moved(id, moves?);
        Ok(())
    }

    // -- what is known of them -----------------------------------------------------------------------------------------

    pub(in crate::rooms) fn talk(&mut self, participant: ParticipantId, talking: bool) {
        let Some(found) = self.participant_mut(participant) else { return };
        if std::mem::replace(&mut found.talking, talking) != talking {
            self.tell(participant, if talking { Kind::ParticipantTalking } else { Kind::ParticipantSilent });
            let id = self.by_participant.get(&participant).copied();
            if let Some(room) = id.and_then(|id| self.rooms.get_mut(&id)) {
                room.tiles.talk(participant, talking);
            }
        }
    }

    pub(in crate::rooms) fn renegotiate(&mut self, participant: ParticipantId, answer: &Answer) {
        let on_hold = answer.on_hold;
        let Some(found) = self.participant_mut(participant) else { return };
        (found.codec, found.video) = (Some(answer.codec), answer.video);
        if std::mem::replace(&mut found.on_hold, on_hold) != on_hold {
            self.tell(participant, if on_hold { Kind::ParticipantHeld } else { Kind::ParticipantResumed });
        }
    }

    /// Tiles have changed: those who moved are told.
    pub(super) fn moved(&mut self, id: Id, moves: Moves) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(call) = room.call.as_mut() else { return };
        if room.tiles.is_news() {
            self.unpictured.insert(id);
        }
        let mut moves: HashMap<ParticipantId, Place> = moves.into_iter().collect();
        for participant in &mut call.participants {
            if moves.is_empty() {
                return;
            }
            if let Some(place) = moves.remove(&participant.id) {
                participant.place = place;
                self.news.participant(id, &room.extension, participant, Kind::ParticipantPosition);
            }
        }
    }

    pub(super) fn tell(&mut self, participant: ParticipantId, kind: Kind) {
        let Some(id) = self.by_participant.get(&participant) else { return };
        let Some(room) = self.rooms.get(id) else { return };
        if let Some(found) = room.participants().iter().find(|p| p.id == participant) {
            self.news.participant(*id, &room.extension, found, kind);
        }
    }
}

impl Known {
    /// Everyone, in the order of coming.
    pub(in crate::rooms) fn joined(&self) -> Vec<ParticipantId> {
        self.participants().iter().map(|p| p.id).collect()
    }
}

const fn muted_or_not(muted: bool) -> Kind {
    if muted { Kind::ParticipantMuted } else { Kind::ParticipantUnmuted }
}
