//! Who is shown where: the tiles of one room's picture, and the positions that were set. Pure values: no lock, no store, no
//! engine, no clock. Every change says whose place is another one now. What becomes of positions, talkers and time is
//! decided by the engine's `Stage`, a state machine; what people set is kept here.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use media::{Arrangement, LegId, Seat as StageSeat, Stage};

use super::ParticipantId;
use crate::error::Error;

/// Tiles that a layout has at most: positions are 0 to 8.
pub(super) const MAX_TILES: usize = media::MAX_TILES;
/// The position of those who are not shown.
pub const HIDDEN: i8 = -1;

/// Positions that were set, by participant's number: what is kept over a crash.
pub type Pins = BTreeMap<String, i8>;

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The tile held now; `HIDDEN` when none.
    pub(super) position: i8,
    /// A position was set, if only one that the layout does not have.
    pub(super) pinned: bool,
}

impl Place {
    /// Of those who hold nothing.
    pub(super) const NONE: Self = Self { position: HIDDEN, pinned: false };
}

/// What the picture is; `None` for a room without one. Tiles are not filled by themselves there: positions are what was set.
pub(super) type Shape = Option<media::Layout>;

/// Whose place is another one now, and which.
pub(super) type Moves = Vec<(ParticipantId, Place)>;

#[derive(Clone, Debug)]
struct Member {
    id: ParticipantId,
    leg: LegId,
    number: String,
    pin: Option<i8>,
    /// The tile held now.
    tile: Option<usize>,
    leads: bool,
    talking: bool,
    /// As it was last told.
    told: Place,
}

impl Member {
    fn seat(&self) -> StageSeat {
        let place = match self.pin.map(u8::try_from) {
            None => media::Place::Auto,
            Some(Ok(tile)) => media::Place::Pinned(tile),
            Some(Err(_)) => media::Place::Hidden,
        };
        StageSeat { leg: self.leg, place, is_chairman_main: self.leads }
    }
}

/// The tiles of a room.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    shape: Shape,
    stage: Stage,
    /// In the order in which they are placed: as they joined, or as they were arranged.
    members: Vec<Member>,
    /// Pins of those who are not here now.
    waiting: Pins,
    /// The engine has not been told of the present arrangement.
    is_new: bool,
}

impl Tiles {
    pub(super) fn new(shape: Shape) -> Self {
        let mut stage = Stage::new();
        stage.set_layout(shape.unwrap_or(media::Layout::Auto));
        Self { shape, stage, members: Vec::new(), waiting: Pins::new(), is_new: false }
    }

    /// A pin of the last run: it takes effect when the number joins.
    pub(super) fn recall(&mut self, number: String, position: i8) {
        self.waiting.insert(number, position);
    }

    /// All pins, of those who are here and of those who were.
    pub(super) fn pins(&self) -> Pins {
        let here = self.members.iter().filter_map(|m| Some((m.number.clone(), m.pin?)));
        self.waiting.clone().into_iter().chain(here).collect()
    }

    /// Another layout.
    pub(super) fn reshape(&mut self, shape: Shape, now: Instant) -> Moves {
        self.shape = shape;
        self.stage.set_layout(shape.unwrap_or(media::Layout::Auto));
        self.settle(now)
    }

    /// Somebody came.
    pub(super) fn join(&mut self, id: ParticipantId, leg: LegId, number: &str, now: Instant) -> Moves {
        let pin = self.waiting.remove(number);
        self.members.push(Member {
            id,
            leg,
            number: number.to_owned(),
            pin,
            tile: None,
            leads: false,
            talking: false,
            told: Place::NONE,
        });
        self.settle(now)
    }

    /// Somebody left; their pin waits for them as long as the room is active.
    pub(super) fn leave(&mut self, id: ParticipantId, now: Instant) -> Moves {
        let Some(at) = self.find(id) else { return Moves::new() };
        let gone = self.members.remove(at);
        if let Some(pin) = gone.pin {
            self.waiting.insert(gone.number, pin);
        }
        self.settle(now)
    }

    /// Who leads a MASTER room has the main tile; `None` for nobody.
    pub(super) fn lead(&mut self, leader: Option<ParticipantId>, now: Instant) -> Moves {
        for member in &mut self.members {
            member.leads = Some(member.id) == leader;
        }
        self.settle(now)
    }

    /// Somebody begins or ends to talk.
    pub(super) fn talk(&mut self, id: ParticipantId, talking: bool) {
        if let Some(member) = self.members.iter_mut().find(|m| m.id == id) {
            member.talking = talking;
        }
    }

    /// Time passes: talkers come in, a layout that is too large shrinks. Asked several times a second.
    pub(super) fn pass(&mut self, now: Instant) -> Moves {
        for member in self.members.iter().filter(|m| m.talking) {
            self.stage.talking(now, member.leg);
        }
        self.follow(now)
    }

    /// A picture whose tiles time may change.
    pub(super) fn is_live(&self) -> bool {
        self.shape.is_some() && !self.members.is_empty()
    }

    /// What the engine is to show, if it does not know yet; given once, so give it back with `arrange_again`.
    pub(super) fn take_arrangement(&mut self) -> Option<Arrangement> {
        (std::mem::take(&mut self.is_new) && self.shape.is_some()).then(|| *self.stage.arrangement())
    }

    /// Who is shown where in a room with a picture.
    pub(super) const fn arrangement(&self) -> &Arrangement {
        self.stage.arrangement()
    }

    /// The engine has to be told of an arrangement.
    pub(super) fn is_news(&self) -> bool {
        self.is_new && self.shape.is_some()
    }

    /// The engine could not be told.
    pub(super) const fn arrange_again(&mut self) {
        self.is_new = true;
    }

    /// Everybody left.
    pub(super) fn empty(&mut self) {
        *self = Self { waiting: std::mem::take(&mut self.waiting), ..Self::new(self.shape) };
    }

    /// The call is over: what was set for it is forgotten.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.shape);
    }

    /// Pins somebody to a tile. Whoever had it gets the tile that is given up for it, or is placed like the others.
    ///
    /// # Errors
    /// `NotFound` when they are not here.
    pub(super) fn place(&mut self, id: ParticipantId, position: i8, now: Instant) -> Result<Moves, Error> {
        let at = self.find(id).ok_or(Error::NotFound("participant"))?;
        let given_up = self.members.get(at).and_then(|m| m.tile);
        if let Ok(tile) = usize::try_from(position) {
            // The stage swaps those who hold tiles; their pins go along. A pin that has no effect is only lost.
            for other in self.members.iter_mut().filter(|m| m.id != id && m.pin == Some(position)) {
                let swapped = given_up.filter(|_| other.tile == Some(tile));
                other.pin = swapped.and_then(|tile| i8::try_from(tile).ok());
            }
        }
        if let Some(member) = self.members.get_mut(at) {
            member.pin = Some(position);
            self.waiting.remove(&member.number);
        }
        // Who comes back finds the tile taken.
        let taken: HashSet<i8> = self.members.iter().filter_map(|m| m.pin.filter(|pin| *pin != HIDDEN)).collect();
        self.waiting.retain(|_, pin| !taken.contains(pin));
        Ok(self.settle(now))
    }

    /// Pins those who are named to the tiles of their places in the list, and places all others after them, by their order
    /// of coming; pins that there were are forgotten. `joined` is everyone in that order.
    ///
    /// # Errors
    /// `Invalid` when one is named twice or is not here; nothing is changed then.
    pub(super) fn arrange(
        &mut self,
        named: &[ParticipantId],
        joined: &[ParticipantId],
        now: Instant,
    ) -> Result<Moves, Error> {
        let mut seen = HashSet::with_capacity(named.len());
        for id in named {
            if self.find(*id).is_none() {
                return Err(Error::invalid("items", "items names somebody who is not in the room"));
            }
            if !seen.insert(*id) {
                return Err(Error::invalid("items", "items names somebody twice"));
            }
        }
        let mut order = BTreeMap::new();
        for (at, id) in named.iter().chain(joined.iter().filter(|id| !seen.contains(id))).enumerate() {
            order.insert(*id, at);
        }
        self.members.sort_by_key(|m| order.get(&m.id).copied().unwrap_or(usize::MAX));
        for (at, member) in self.members.iter_mut().enumerate() {
            let pin = (at < named.len() && at < MAX_TILES).then(|| i8::try_from(at).ok());
            member.pin = pin.flatten();
        }
        self.waiting.clear();
        // From nothing: the others are placed in this order too, whatever tiles they had.
        self.stage = Self::new(self.shape).stage;
        Ok(self.settle(now))
    }

    /// Who is here and what was set for them goes to the stage, which says who is where.
    fn settle(&mut self, now: Instant) -> Moves {
        let seats: Vec<StageSeat> = self.members.iter().map(Member::seat).collect();
        self.stage.set_seats(&seats);
        self.follow(now)
    }

    fn follow(&mut self, now: Instant) -> Moves {
        self.is_new |= self.stage.settle(now).is_some();
        let arrangement = self.stage.arrangement();
        let mut moves = Moves::new();
        for member in &mut self.members {
            member.tile = match self.shape {
                Some(_) => arrangement.tile_of(member.leg),
                None => member.pin.and_then(|pin| usize::try_from(pin).ok()),
            };
            let position = member.tile.and_then(|tile| i8::try_from(tile).ok()).unwrap_or(HIDDEN);
            let place = Place { position, pinned: member.pin.is_some() };
            if std::mem::replace(&mut member.told, place) != place {
                moves.push((member.id, place));
            }
        }
        moves
    }

    fn find(&self, id: ParticipantId) -> Option<usize> {
        self.members.iter().position(|m| m.id == id)
    }
}

#[cfg(test)]
mod tests;
