//! Who is shown where: the tiles of one room's picture, and the positions that were set. Pure values: no lock, no store, no
//! engine. Every change says whose place is another one now.

use std::collections::{BTreeMap, HashSet};

use super::ParticipantId;
use crate::error::Error;

/// Tiles that a layout has at most: positions are 0 to 8.
pub(super) const MAX_TILES: usize = 9;
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

/// What the layout offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// At most `MAX_TILES`.
    pub(super) tiles: usize,
    /// Tiles are filled by themselves. In a room without picture they are not: there, positions are what was set.
    pub(super) automatic: bool,
}

/// Whose place is another one now, and which.
pub(super) type Moves = Vec<(ParticipantId, Place)>;

#[derive(Clone, Debug)]
struct Member {
    id: ParticipantId,
    number: String,
    pin: Option<i8>,
    tile: Option<usize>,
    /// As it was last told.
    told: Place,
}

impl Member {
    /// The tile that the pin claims, if the layout has it.
    fn claim(&self, shape: Shape) -> Option<usize> {
        self.pin.and_then(|pin| usize::try_from(pin).ok()).filter(|tile| *tile < shape.tiles)
    }
}

/// The tiles of a room.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    shape: Shape,
    /// In the order in which they are placed: as they joined, or as they were arranged.
    members: Vec<Member>,
    /// Pins of those who are not here now.
    waiting: Pins,
}

impl Tiles {
    pub(super) const fn new(shape: Shape) -> Self {
        Self { shape, members: Vec::new(), waiting: Pins::new() }
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
    pub(super) fn reshape(&mut self, shape: Shape) -> Moves {
        self.shape = shape;
        self.settle()
    }

    /// Somebody came.
    pub(super) fn join(&mut self, id: ParticipantId, number: &str) -> Moves {
        let pin = self.waiting.remove(number);
        self.members.push(Member { id, number: number.to_owned(), pin, tile: None, told: Place::NONE });
        self.settle()
    }

    /// Somebody left; their pin waits for them as long as the room is active.
    pub(super) fn leave(&mut self, id: ParticipantId) -> Moves {
        let Some(at) = self.find(id) else { return Moves::new() };
        let gone = self.members.remove(at);
        if let Some(pin) = gone.pin {
            self.waiting.insert(gone.number, pin);
        }
        self.settle()
    }

    /// Everybody left.
    pub(super) fn empty(&mut self) {
        self.members.clear();
    }

    /// The call is over: what was set for it is forgotten.
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.waiting.clear();
    }

    /// Pins somebody to a tile. Whoever had it gets the tile that is given up for it, or is placed like the others.
    ///
    /// # Errors
    /// `NotFound` when they are not here.
    pub(super) fn place(&mut self, id: ParticipantId, position: i8) -> Result<Moves, Error> {
        let at = self.find(id).ok_or(Error::NotFound("participant"))?;
        let shape = self.shape;
        let given_up = self.members.get(at).and_then(|m| m.tile);
        if let Ok(tile) = usize::try_from(position) {
            let had_it = |m: &&mut Member| m.id != id && (m.pin == Some(position) || m.tile == Some(tile));
            for other in self.members.iter_mut().filter(had_it) {
                // Somebody whose pin has no effect only loses it.
                let swapped = given_up.filter(|_| other.tile == Some(tile));
                other.pin = other.claim(shape).and(swapped).and_then(|tile| i8::try_from(tile).ok());
                other.tile = if other.tile == Some(tile) { swapped } else { other.tile };
            }
        }
        if let Some(member) = self.members.get_mut(at) {
            member.pin = Some(position);
            self.waiting.remove(&member.number);
        }
        // Who comes back finds the tile taken.
        let taken: HashSet<i8> = self.members.iter().filter_map(|m| m.pin.filter(|pin| *pin != HIDDEN)).collect();
        self.waiting.retain(|_, pin| !taken.contains(pin));
        Ok(self.settle())
    }

    /// Pins those who are named to the tiles of their places in the list, and places all others after them, by their order
    /// of coming; pins that there were are forgotten. `joined` is everyone in that order.
    ///
    /// # Errors
    /// `Invalid` when one is named twice or is not here; nothing is changed then.
    pub(super) fn arrange(&mut self, named: &[ParticipantId], joined: &[ParticipantId]) -> Result<Moves, Error> {
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
            member.tile = None;
        }
        self.waiting.clear();
        Ok(self.settle())
    }

    /// Pins hold their tiles, the others keep theirs while they are free, and who has none gets the next free one.
    fn settle(&mut self) -> Moves {
        let shape = self.shape;
        let mut taken = [false; MAX_TILES];
        let mut take = |tile: usize| taken.get_mut(tile).is_some_and(|taken| !std::mem::replace(taken, true));
        for member in &mut self.members {
            if let Some(tile) = member.claim(shape) {
                take(tile);
                member.tile = Some(tile);
            }
        }
        let is_automatic = |m: &&mut Member| m.claim(shape).is_none();
        for member in self.members.iter_mut().filter(is_automatic) {
            let may_keep = shape.automatic && member.pin != Some(HIDDEN);
            member.tile = member.tile.filter(|tile| may_keep && *tile < shape.tiles && take(*tile));
        }
        if shape.automatic {
            let mut free = (0..shape.tiles).filter(|tile| take(*tile));
            let is_without = |m: &&mut Member| m.tile.is_none() && m.pin != Some(HIDDEN) && m.claim(shape).is_none();
            for member in self.members.iter_mut().filter(is_without) {
                let Some(tile) = free.next() else { break };
                member.tile = Some(tile);
            }
        }
        let mut moves = Moves::new();
        for member in &mut self.members {
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
