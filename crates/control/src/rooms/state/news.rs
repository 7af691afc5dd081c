//! What became true, in that order, until it is noted in the journal: collected by the state's changes, as they know best.

use jiff::Timestamp;

use super::{Known, Participant};
use crate::events::{Data, Kind, NewEvent, ParticipantData, PinData, RoomData};
use crate::ids::Id;
use crate::rooms::pin_guard::Closed;
use crate::rooms::{Policy, RoomSettings};

/// News of rooms and of those in them.
#[derive(Debug, Default)]
pub(super) struct News(Vec<Item>);

/// An event without its time: the state has no clock.
#[derive(Debug)]
struct Item {
    room: Id,
    extension: String,
    kind: Kind,
    data: Data,
}

impl News {
    /// Of a room, as it is now.
    pub(super) fn room(&mut self, id: Id, room: &Known, kind: Kind) {
        self.0.push(Item { room: id, extension: room.extension.to_string(), kind, data: room.data(room.policy) });
    }

    /// Of somebody, as they are now. Who is not announced as joined yet is not announced as anything else.
    pub(super) fn participant(&mut self, id: Id, extension: &str, participant: &Participant, kind: Kind) {
        self.because(id, extension, participant, kind, None);
    }

    /// The same, with a reason.
    pub(super) fn because(
        &mut self,
        room: Id,
        extension: &str,
        participant: &Participant,
        kind: Kind,
        reason: Option<&str>,
    ) {
        if participant.announced {
            let data = Data::Participant(participant.data(reason));
            self.0.push(Item { room, extension: extension.to_owned(), kind, data });
        }
    }

    /// A wrong PIN was keyed, and what it closed.
    pub(super) fn refused(&mut self, room: Id, extension: &str, participant: Option<&Participant>, closed: Closed) {
        let data = Data::Pin(PinData {
            participant_id: participant.map(|p| Id::from_raw(p.id.0)),
            number: participant.map(|p| p.number.clone()),
            closed: match closed {
                Closed::No => None,
                Closed::Source => Some("SOURCE"),
                Closed::Room => Some("ROOM"),
            },
        });
        self.0.push(Item { room, extension: extension.to_owned(), kind: Kind::RoomPinRejected, data });
    }

    /// Gives them once.
    pub(super) fn take(&mut self, now: Timestamp) -> impl Iterator<Item = NewEvent> + use<> {
        std::mem::take(&mut self.0).into_iter().map(move |item| NewEvent {
            at: now,
            room: Some(item.room),
            extension: Some(item.extension),
            kind: item.kind,
            data: item.data,
        })
    }
}

impl Known {
    /// As announced, with this policy.
    pub(in crate::rooms) fn data(&self, policy: Policy) -> Data {
        room_data(&self.subject, self.layout.as_str(), policy)
    }
}

/// What is announced of a room with these settings.
pub(in crate::rooms) fn data_of(settings: &RoomSettings, policy: Policy) -> Data {
    room_data(&settings.subject, settings.layout.as_str(), policy)
}

fn room_data(subject: &str, layout: &'static str, policy: Policy) -> Data {
    Data::Room(RoomData { subject: subject.to_owned(), locked: policy.locked, muted: policy.muted, layout })
}

impl Participant {
    fn data(&self, reason: Option<&str>) -> ParticipantData {
        ParticipantData {
            participant_id: Id::from_raw(self.id.0),
            display_name: self.display_name.clone(),
            number: self.number.clone(),
            muted: self.muted,
            chairman: self.chairman,
            position: i32::from(self.place.position),
            pinned: self.place.pinned,
            talking: self.talking,
            on_hold: self.on_hold,
            state: self.presence.as_str(),
            hand_raised: self.hand,
            joined_at: self.joined_at,
            reason: reason.map(str::to_owned),
        }
    }
}
