//! Those who are in rooms: how they come, what is set of them, and how they go.

use std::collections::HashMap;
use std::time::Instant;

use media::{Answer, LegId, RoomId};
use tokio::sync::mpsc;

use super::{Effect, Gone, Known, Participant, State};
use crate::error::Error;
use crate::events::Kind;
use crate::ids::Id;
use crate::rooms::tiles::{Moves, Place, Tiles};
use crate::rooms::{Control, DialogOrder, HangUp, Left, ParticipantId, Pins};

impl State {
    // -- in and out ----------------------------------------------------------------------------------------------------

    /// Turns a counted seat into a participant; says whether it is muted.
    pub(in crate::rooms) fn sit(&mut self, media: RoomId, mut participant: Participant) -> Result<bool, Gone> {
        if self.closed {
            return Err(Gone::Server);
        }
        let id = self.room_of_media(media).ok_or(Gone::Room)?;
        let room = self.rooms.get_mut(&id).ok_or(Gone::Room)?;
        let call = room.call.as_mut().ok_or(Gone::Room)?;
        let muted = room.policy.muted;
        participant.muted = muted;
        let is_first = call.started_at.is_none();
        call.started_at.get_or_insert(participant.joined_at);
        self.by_participant.insert(participant.id, id);
        let moves = room.tiles.join(participant.id, participant.leg, &participant.number, self.now);
        call.participants.push(participant);
        if is_first {
            self.news.room(id, room, Kind::RoomStarted);
        }
        self.moved(id, moves);
        Ok(muted)
    }

    /// The engine has the leg. Gives the room if its recording is to begin now.
    pub(in crate::rooms) fn confirm(&mut self, participant: ParticipantId) -> Option<Id> {
        let id = *self.by_participant.get(&participant)?;
        self.participant_mut(participant)?.confirmed = true;
        self.tell(participant, Kind::ParticipantJoined);
        let room = self.rooms.get(&id)?;
        let is_first = room.participants().iter().filter(|p| p.confirmed).count() == 1;
        (room.enable_recording && is_first).then_some(id)
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
        let mut effects = Vec::with_capacity(3);
        if has_leg {
            effects.push(Effect::Leave { room: call.media, leg: gone.leg });
        }
        if let Some(why) = hang_up {
            effects.push(Effect::HangUp { dialog: gone.dialog, why });
        }
        let moves = room.tiles.leave(participant, self.now);
        self.moved(id, moves);
        effects.extend(self.vacate(id));
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
            let reason = Some(Left::Removed(why).label());
            self.news.because(id, &room.extension, &participant, Kind::ParticipantLeft, reason);
            effects.push(Effect::HangUp { dialog: participant.dialog, why });
        }
        room.tiles.empty();
        self.seats = self.seats.saturating_sub(std::mem::take(&mut call.seats));
        effects.extend(self.end_call(id));
        effects
    }

    // -- who is who ----------------------------------------------------------------------------------------------------

    pub(in crate::rooms) fn participant_mut(&mut self, participant: ParticipantId) -> Option<&mut Participant> {
        let id = *self.by_participant.get(&participant)?;
        self.call_mut(id)?.participants.iter_mut().find(|p| p.id == participant)
    }

    /// Whose leg this is.
    pub(in crate::rooms) fn by_leg(&self, media: RoomId, leg: LegId) -> Option<ParticipantId> {
        let room = self.rooms.get(&self.room_of_media(media)?)?;
        room.participants().iter().find(|p| p.leg == leg).map(|p| p.id)
    }

    pub(in crate::rooms) fn leg_of(&self, participant: ParticipantId) -> Option<(RoomId, LegId)> {
        let call = self.rooms.get(self.by_participant.get(&participant)?)?.call.as_ref()?;
        let participant = call.participants.iter().find(|p| p.id == participant)?;
        Some((call.media, participant.leg))
    }

    /// The way to somebody's dialog.
    pub(in crate::rooms) fn dialog_of(&self, participant: ParticipantId) -> Option<mpsc::Sender<DialogOrder>> {
        let room = self.rooms.get(self.by_participant.get(&participant)?)?;
        room.participants().iter().find(|p| p.id == participant).map(|p| p.dialog.clone())
    }

    /// True when the participant is in this room.
    pub(in crate::rooms) fn is_in(&self, participant: ParticipantId, room: Id) -> bool {
        self.by_participant.get(&participant) == Some(&room)
    }

    // -- what is set of them -------------------------------------------------------------------------------------------

    pub(in crate::rooms) fn mute(&mut self, participant: ParticipantId, muted: bool) {
        let Some(found) = self.participant_mut(participant) else { return };
        if std::mem::replace(&mut found.muted, muted) != muted {
            self.unsettled.insert(participant);
            self.tell(participant, muted_or_not(muted));
        }
    }

    /// Room mute is a policy: it reaches everyone but the chairman now, and those who come later.
    pub(in crate::rooms) fn mute_room(&mut self, id: Id, muted: bool) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.policy.muted = muted;
        for participant in room.call.iter_mut().flat_map(|call| call.participants.iter_mut()) {
            let muted = muted && !participant.chairman;
            if std::mem::replace(&mut participant.muted, muted) != muted {
                self.unsettled.insert(participant.id);
                self.news.participant(id, &room.extension, participant, muted_or_not(muted));
            }
        }
    }

    /// Makes somebody the chairman, who is one: the former is it no more. A muted room mutes all but the chairman.
    pub(in crate::rooms) fn appoint(&mut self, participant: ParticipantId) {
        let Some(id) = self.by_participant.get(&participant).copied() else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let is_muted = room.policy.muted;
        let mut changed = Vec::with_capacity(2);
        for other in room.call.iter_mut().flat_map(|call| call.participants.iter_mut()) {
            let leads = other.id == participant;
            if std::mem::replace(&mut other.chairman, leads) != leads {
                let muted = if is_muted { !leads } else { other.muted };
                let kind = (std::mem::replace(&mut other.muted, muted) != muted).then(|| muted_or_not(muted));
                changed.push((other.id, kind));
            }
        }
        if changed.iter().any(|(changed, _)| *changed == participant) {
            self.tell(participant, Kind::ParticipantChairman);
        }
        for (changed, kind) in changed {
            if let Some(kind) = kind {
                self.unsettled.insert(changed);
                self.tell(changed, kind);
            }
        }
        self.lead(id);
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
        (found.codec, found.video) = (answer.codec, answer.video);
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

    fn tell(&mut self, participant: ParticipantId, kind: Kind) {
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
