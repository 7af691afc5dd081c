//! Those at a room's link: who is let in at once, with the PIN that they brought, and what they may claim.

use std::net::IpAddr;

use jiff::Timestamp;
use media::RoomId;

use super::{Admitted, Fresh, Known, State};
use crate::events::Kind;
use crate::ids::Id;
use crate::rooms::pin_guard::{Closed, is_same};
use crate::rooms::{Control, Key, ParticipantId, Refusal};

impl State {
    /// Counts a seat for somebody with this key; whether it makes them lead the room.
    pub(in crate::rooms) fn admit_visitor(
        &mut self,
        id: Id,
        source: IpAddr,
        key: &Key,
        today: Timestamp,
        fresh: Fresh,
    ) -> Result<(Admitted, bool), Refusal> {
        self.would_admit(id, source, today)?;
        let unknown = || Refusal::UnknownRoom(String::new());
        let room = self.rooms.get(&id).ok_or_else(unknown)?;
        let leads = match key {
            Key::Invited { leads } => *leads,
            Key::Pin(Some(pin)) if !pin.is_empty() => self.judge_pin(id, source, pin, None, true)?,
            Key::Pin(_) if room.room_pin.is_some() => return Err(Refusal::PinRequired),
            Key::Pin(_) => false,
        };
        let admitted = self.seat(id, fresh, false).map_err(|refusal| refusal.unwrap_or_else(unknown))?;
        Ok((admitted, leads))
    }

    /// Whether somebody from there would be let in now, if they bring what is asked for.
    pub(in crate::rooms) fn would_admit(&self, id: Id, source: IpAddr, today: Timestamp) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let room = self.rooms.get(&id).ok_or_else(|| Refusal::UnknownRoom(String::new()))?;
        self.may_come(id, room, source, today)?;
        room.has_place(self.limits, self.seats, self.call_count())
    }

    /// Somebody in the room claims its chair with this PIN.
    pub(in crate::rooms) fn judge_claim(&mut self, participant: ParticipantId, pin: &str) -> Result<(), Refusal> {
        let unknown = || Refusal::UnknownRoom(String::new());
        let id = *self.by_participant.get(&participant).ok_or_else(unknown)?;
        let nowhere = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let source = self.participant_mut(participant).and_then(|p| p.source).unwrap_or(nowhere);
        self.judge_pin(id, source, pin, Some(participant), false).map(drop)
    }

    /// What a PIN is worth, keyed or typed: true for the admin PIN, which makes the chairman; at the door the room's own opens too.
    /// Wrong ones are counted.
    pub(super) fn judge_pin(
        &mut self,
        id: Id,
        source: IpAddr,
        pin: &str,
        who: Option<ParticipantId>,
        is_at_the_door: bool,
    ) -> Result<bool, Refusal> {
        if !self.pin_guard.is_open(id, source, self.now) {
            return Err(Refusal::PinClosed);
        }
        let room = self.rooms.get(&id).ok_or_else(|| Refusal::UnknownRoom(String::new()))?;
        // Both are compared, always.
        let fits = |wanted: &Option<Box<str>>| wanted.as_deref().is_some_and(|wanted| is_same(pin, wanted));
        let (is_admin, is_guest) = (fits(&room.admin_pin), fits(&room.room_pin));
        if is_admin || (is_guest && is_at_the_door) {
            return Ok(is_admin);
        }
        let closed = self.pin_guard.wrong(id, source, self.now);
        let extension = room.extension.to_string();
        let room = self.rooms.get(&id);
        let who = who.and_then(|who| room?.participants().iter().find(|p| p.id == who));
        self.news.refused(id, &extension, who, closed);
        Err(if closed == Closed::No { Refusal::PinWrong } else { Refusal::PinClosed })
    }

    /// Somebody asks for the word, or does not any more.
    pub(in crate::rooms) fn raise_hand(&mut self, participant: ParticipantId, raised: bool) {
        let changed =
            self.participant_mut(participant).is_some_and(|p| std::mem::replace(&mut p.hand, raised) != raised);
        if changed {
            self.tell(participant, if raised { Kind::ParticipantHandRaised } else { Kind::ParticipantHandLowered });
        }
    }

    /// Which media rooms belong together: those of one call. One that is nobody's is by itself.
    pub(in crate::rooms) fn group_of(&self, media: RoomId) -> media::RoomGroup {
        let of_call = |id: &Id| {
            let call = self.rooms.get(id).and_then(|room| room.call.as_ref());
            call.is_some_and(|call| call.waiting == media || call.participants.iter().any(|p| p.hall == media))
        };
        let id = self.room_of_media(media).or_else(|| self.by_media.values().copied().find(of_call));
        media::RoomGroup(id.map_or(media.0 as i64, Id::raw))
    }
}

impl Known {
    /// Whoever comes is asked for a PIN.
    pub(in crate::rooms) const fn asks_for_pin(&self) -> bool {
        self.room_pin.is_some()
    }

    /// How it is led.
    pub(in crate::rooms) const fn control(&self) -> Control {
        self.control
    }

    /// Only the chairman gives the word.
    pub(in crate::rooms) const fn is_led_by_word(&self) -> bool {
        self.policy.muted || matches!(self.control, Control::Master)
    }
}
