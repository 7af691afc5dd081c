//! Who is shown where in a room's picture: pins, the chairman, recent talkers, then the order of joining. A state machine that
//! reads no clock; whoever composes asks it before each picture. Knows neither pixels nor codecs.
//!
//! Whoever is shown keeps the tile. It changes hands only when its holder leaves or hides, when a pin or the chairman claims
//! it, when the layout no longer has it, or when somebody unseen talks; and by talking only after [`MINIMUM_STAY`].

use std::time::{Duration, Instant};

use super::layout::{Layout, MAX_TILES};
use crate::units::LegId;

/// An automatic tile does not change hands sooner by itself.
pub const MINIMUM_STAY: Duration = Duration::from_secs(2);
/// Who is not shown gets a tile after having talked for so long: a cough does not.
pub const TALKING_IN: Duration = Duration::from_millis(600);
/// A pause up to this long does not end somebody's talking: breath, and reports that are not made at every tick.
pub const TALKING_PAUSE: Duration = Duration::from_millis(500);
/// An automatic layout shrinks when the smaller one has been enough for so long.
pub const SHRINKS_AFTER: Duration = Duration::from_secs(2);

/// What was set for a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place {
    /// Any tile that is free.
    #[default]
    Auto,
    /// Never shown.
    Hidden,
    /// This tile. One that the layout does not have is as `Auto` meanwhile.
    Pinned(u8),
}

/// A leg that may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Whose.
    pub leg: LegId,
    /// What was set for it.
    pub place: Place,
    /// The chairman of a MASTER room: gets the main tile unless somebody is pinned there.
    pub is_chairman_main: bool,
}

/// Who is shown where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// Never `Auto`.
    pub layout: Layout,
    /// The leg in each tile, main tile first; past the layout's tiles all are `None`.
    pub tiles: [Option<LegId>; MAX_TILES],
}

impl Arrangement {
    /// The tile of a leg that is shown.
    pub fn tile_of(&self, leg: LegId) -> Option<usize> {
        self.tiles.iter().position(|held| *held == Some(leg))
    }
}

/// A stretch of talking, without a longer pause than `TALKING_PAUSE` in it.
#[derive(Clone, Copy, Debug)]
struct Talk {
    since: Instant,
    last: Instant,
    /// When it was last longer than `TALKING_IN`, in this stretch or an earlier one.
    heard: Option<Instant>,
}

impl Talk {
    fn is_going_on(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) <= TALKING_PAUSE
    }
}

#[derive(Clone, Copy, Debug)]
struct Sitter {
    seat: Seat,
    talk: Option<Talk>,
}

impl Sitter {
    fn is_visible(&self) -> bool {
        self.seat.place != Place::Hidden
    }

    /// The tile that the pin claims, if the layout has it.
    fn claim(&self, tiles: usize) -> Option<usize> {
        match self.seat.place {
            Place::Pinned(tile) => Some(usize::from(tile)).filter(|tile| *tile < tiles),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    leg: LegId,
    since: Instant,
    /// By pin or as the chairman: no talker takes it.
    is_claimed: bool,
}

/// The state of one room's picture.
#[derive(Clone, Debug)]
pub struct Stage {
    asked: Layout,
    /// In the order of joining.
    sitters: Vec<Sitter>,
    held: [Option<Held>; MAX_TILES],
    arrangement: Arrangement,
    /// The smaller layout that would do, and since when.
    enough: Option<(Layout, Instant)>,
    /// Seats or layout were set since the last arrangement was made.
    is_changed: bool,
    /// Nothing was arranged yet with the layout that is asked for: it takes effect at once.
    is_layout_new: bool,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// Nobody there yet, and an automatic layout.
    pub const fn new() -> Self {
        Self {
            asked: Layout::Auto,
            sitters: Vec::new(),
            held: [None; MAX_TILES],
            arrangement: Arrangement { layout: Layout::Full, tiles: [None; MAX_TILES] },
            enough: None,
            is_changed: true,
            is_layout_new: true,
        }
    }

    /// Another layout, from the next [`Stage::settle`] on.
    pub fn set_layout(&mut self, layout: Layout) {
        if self.asked != layout {
            self.asked = layout;
            (self.is_changed, self.is_layout_new) = (true, true);
        }
    }

    /// Everybody who is in the room, in the order of joining. Of a leg that is named twice the first counts.
    pub fn set_seats(&mut self, seats: &[Seat]) {
        let before = std::mem::take(&mut self.sitters);
        for seat in seats {
            if !self.sitters.iter().any(|s| s.seat.leg == seat.leg) {
                let talk = before.iter().find(|s| s.seat.leg == seat.leg).and_then(|s| s.talk);
                self.sitters.push(Sitter { seat: *seat, talk });
            }
        }
        self.is_changed = true;
    }

    /// A leg talks now. Told again and again while it does, at least every [`TALKING_PAUSE`].
    pub fn talking(&mut self, now: Instant, leg: LegId) {
        let Some(sitter) = self.sitters.iter_mut().find(|s| s.seat.leg == leg) else { return };
        let mut talk = match sitter.talk {
            Some(talk) if talk.is_going_on(now) => Talk { last: now.max(talk.last), ..talk },
            earlier => Talk { since: now, last: now, heard: earlier.and_then(|talk| talk.heard) },
        };
        if talk.last.saturating_duration_since(talk.since) >= TALKING_IN {
            talk.heard = Some(talk.last);
        }
        sitter.talk = Some(talk);
    }

    /// Who is shown now.
    pub const fn arrangement(&self) -> &Arrangement {
        &self.arrangement
    }

    /// Applies what was told and what time has brought; a new arrangement only when it is another one.
    pub fn settle(&mut self, now: Instant) -> Option<&Arrangement> {
        let is_first = self.is_layout_new;
        let layout = self.layout_at(now);
        let tiles = layout.tiles();
        if self.is_changed || layout != self.arrangement.layout {
            self.is_changed = false;
            self.dismiss(tiles);
            self.seat_claims(now, tiles);
            self.fill(now, tiles);
        }
        if layout.has_large_main() {
            self.fill_main(now, tiles);
        }
        self.let_talkers_in(now, tiles);
        let mut arrangement = Arrangement { layout, tiles: [None; MAX_TILES] };
        for (tile, held) in arrangement.tiles.iter_mut().zip(&self.held) {
            *tile = held.map(|held| held.leg);
        }
        let is_another = is_first || arrangement != self.arrangement;
        self.arrangement = arrangement;
        is_another.then_some(&self.arrangement)
    }

    /// The layout asked for; of an automatic one, the one that holds everybody: larger at once, smaller after a while.
    fn layout_at(&mut self, now: Instant) -> Layout {
        let is_new = std::mem::take(&mut self.is_layout_new);
        if self.asked != Layout::Auto {
            self.enough = None;
            return self.asked;
        }
        let holding = Layout::holding(self.sitters.iter().filter(|s| s.is_visible()).count());
        let current = self.arrangement.layout;
        if is_new || holding.tiles() >= current.tiles() {
            self.enough = None;
            return holding;
        }
        let since = self.enough.filter(|(layout, _)| *layout == holding).map_or(now, |(_, since)| since);
        if now.saturating_duration_since(since) >= SHRINKS_AFTER {
            self.enough = None;
            return holding;
        }
        self.enough = Some((holding, since));
        current
    }

    /// Takes out of their tiles who left or hid, and whose tile the layout no longer has.
    fn dismiss(&mut self, tiles: usize) {
        for (tile, slot) in self.held.iter_mut().enumerate() {
            let stays =
                |held: &Held| tile < tiles && self.sitters.iter().any(|s| s.seat.leg == held.leg && s.is_visible());
            *slot = slot.filter(stays).map(|held| Held { is_claimed: false, ..held });
        }
    }

    /// Pins hold their tiles, the first to join before others with the same pin; then the chairman the main tile.
    fn seat_claims(&mut self, now: Instant, tiles: usize) {
        let mut claims: [Option<LegId>; MAX_TILES] = [None; MAX_TILES];
        let pins = self.sitters.iter().filter_map(|s| Some((s, s.claim(tiles)?)));
        for (sitter, tile) in pins {
            if let Some(claim) = claims.get_mut(tile) {
                claim.get_or_insert(sitter.seat.leg);
            }
        }
        let is_chairman = |s: &&Sitter| s.seat.is_chairman_main && s.is_visible();
        if let Some(chairman) = self.sitters.iter().find(is_chairman).map(|s| s.seat.leg)
            && !claims.contains(&Some(chairman))
            && let Some(main) = claims.first_mut()
        {
            main.get_or_insert(chairman);
        }
        for (tile, claim) in claims.into_iter().enumerate() {
            if let Some(leg) = claim {
                self.swap_in(now, tile, leg, claims);
            }
        }
    }

    /// Gives a tile to a leg; whoever had it gets the tile that is given up for it, unless that one is claimed too.
    fn swap_in(&mut self, now: Instant, tile: usize, leg: LegId, claims: [Option<LegId>; MAX_TILES]) {
        let given_up = self.tile_of(leg);
        let before = self.held.get(tile).copied().flatten();
        if let Some(slot) = given_up.and_then(|given_up| self.held.get_mut(given_up)) {
            *slot = None;
        }
        let since = if given_up == Some(tile) { before.map_or(now, |held| held.since) } else { now };
        if let Some(slot) = self.held.get_mut(tile) {
            *slot = Some(Held { leg, since, is_claimed: true });
        }
        let Some(given_up) = given_up.filter(|given_up| *given_up != tile) else { return };
        if claims.get(given_up).is_some_and(Option::is_none)
            && let Some(slot) = self.held.get_mut(given_up)
        {
            *slot = before.map(|held| Held { since: now, ..held });
        }
    }

    /// Free tiles go to recent talkers, the latest first, then by the order of joining.
    fn fill(&mut self, now: Instant, tiles: usize) {
        for tile in 0..tiles {
            if self.held.get(tile).is_some_and(Option::is_none) {
                let Some(leg) = self.next_unseen() else { return };
                if let Some(slot) = self.held.get_mut(tile) {
                    *slot = Some(Held { leg, since: now, is_claimed: false });
                }
            }
        }
    }

    fn next_unseen(&self) -> Option<LegId> {
        let heard = |s: &&Sitter| s.talk.and_then(|talk| talk.heard);
        let mut next: Option<&Sitter> = None;
        for sitter in self.sitters.iter().filter(|s| s.is_visible() && self.tile_of(s.seat.leg).is_none()) {
            if next.is_none_or(|next| heard(&sitter) > heard(&next)) {
                next = Some(sitter);
            }
        }
        next.map(|sitter| sitter.seat.leg)
    }

    /// A large main tile that its holder left is not left empty while others sit in small ones: the latest talker of them
    /// moves there, or the first who joined.
    fn fill_main(&mut self, now: Instant, tiles: usize) {
        if self.held.first().is_some_and(Option::is_some) {
            return;
        }
        let mut best: Option<(usize, &Sitter)> = None;
        for sitter in &self.sitters {
            let Some(tile) = self.tile_of(sitter.seat.leg) else { continue };
            let heard = |s: &Sitter| s.talk.and_then(|talk| talk.heard);
            if self.is_movable(now, tile) && best.is_none_or(|(_, best)| heard(sitter) > heard(best)) {
                best = Some((tile, sitter));
            }
        }
        let Some((tile, leg)) = best.map(|(tile, sitter)| (tile, sitter.seat.leg)) else { return };
        if let Some(slot) = self.held.get_mut(tile) {
            *slot = None;
        }
        if let Some(main) = self.held.first_mut() {
            *main = Some(Held { leg, since: now, is_claimed: false });
        }
        self.fill(now, tiles);
    }

    /// Somebody unseen who has talked long enough takes the tile of whoever has been silent longest. Nobody who talks too
    /// gives way; of several who wait, the first to have begun is first.
    fn let_talkers_in(&mut self, now: Instant, tiles: usize) {
        for _ in 0..tiles {
            let waits = |s: &&Sitter| {
                let is_talker =
                    s.talk.is_some_and(|t| t.is_going_on(now) && now.saturating_duration_since(t.since) >= TALKING_IN);
                // Heard within this stretch: one report long ago and one now are no talking.
                let was_heard = s.talk.is_some_and(|t| t.heard.is_some_and(|heard| heard >= t.since));
                is_talker && was_heard && s.is_visible() && self.tile_of(s.seat.leg).is_none()
            };
            let waiting = self.sitters.iter().filter(waits).min_by_key(|s| s.talk.map(|t| t.since));
            let Some(leg) = waiting.map(|s| s.seat.leg) else { return };
            let Some(slot) = self.most_silent(now).and_then(|tile| self.held.get_mut(tile)) else { return };
            *slot = Some(Held { leg, since: now, is_claimed: false });
        }
    }

    /// The automatic tile whose holder has been silent longest: who never talked before all others, of them the last to join.
    fn most_silent(&self, now: Instant) -> Option<usize> {
        let mut found: Option<(usize, Option<Instant>)> = None;
        for sitter in &self.sitters {
            let Some(tile) = self.tile_of(sitter.seat.leg).filter(|tile| self.is_movable(now, *tile)) else { continue };
            let last = sitter.talk.map(|talk| talk.last);
            if sitter.talk.is_none_or(|talk| !talk.is_going_on(now)) && found.is_none_or(|(_, least)| last <= least) {
                found = Some((tile, last));
            }
        }
        found.map(|(tile, _)| tile)
    }

    /// It may change hands by itself now.
    fn is_movable(&self, now: Instant, tile: usize) -> bool {
        let held = self.held.get(tile).copied().flatten();
        held.is_some_and(|held| !held.is_claimed && now.saturating_duration_since(held.since) >= MINIMUM_STAY)
    }

    fn tile_of(&self, leg: LegId) -> Option<usize> {
        self.held.iter().position(|held| held.is_some_and(|held| held.leg == leg))
    }
}

#[cfg(test)]
mod tests;
