//! What slows guessing of PINs down: wrong ones are counted by source and room, and by room. Pure; time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::ids::Id;

/// In which wrong PINs are counted, and for how long no PIN is taken after too many.
const WINDOW: Duration = Duration::from_secs(600);
/// Wrong PINs for one room from one source. Three calls' worth: an office behind one address mistypes too.
const FROM_ONE_SOURCE: u8 = 9;
/// Wrong PINs for one room, from wherever.
const FOR_A_ROOM: u8 = 20;
/// Sources and rooms that are remembered: 64 KiB of addresses. Beyond it the oldest are forgotten, not the rooms.
const REMEMBERED: usize = 4096;

/// Whose wrong PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Room(Id),
    Source(Id, IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Count {
    wrong: u8,
    since: Instant,
    closed_until: Option<Instant>,
}

/// What a wrong PIN led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Nothing yet.
    No,
    /// The source may not try this room for a while.
    Source,
    /// Nobody may.
    Room,
}

/// Counts of wrong PINs.
#[derive(Debug, Default)]
pub(super) struct PinGuard {
    counts: HashMap<Who, Count>,
}

impl PinGuard {
    /// Whether a PIN of this room is taken from this source now.
    pub(super) fn is_open(&self, room: Id, source: IpAddr, now: Instant) -> bool {
        let closed = |who| self.counts.get(&who).and_then(|count| count.closed_until).is_some_and(|until| now < until);
        !closed(Who::Room(room)) && !closed(Who::Source(room, source))
    }

    /// Counts a wrong one; says what it closed.
    pub(super) fn wrong(&mut self, room: Id, source: IpAddr, now: Instant) -> Closed {
        self.forget(now);
        // Both are counted, always.
        let by_source = self.count(Who::Source(room, source), FROM_ONE_SOURCE, now);
        let by_room = self.count(Who::Room(room), FOR_A_ROOM, now);
        match (by_room, by_source) {
            (true, _) => Closed::Room,
            (_, true) => Closed::Source,
            _ => Closed::No,
        }
    }

    fn count(&mut self, who: Who, most: u8, now: Instant) -> bool {
        let fresh = Count { wrong: 0, since: now, closed_until: None };
        let count = self.counts.entry(who).or_insert(fresh);
        if now.saturating_duration_since(count.since) >= WINDOW {
            *count = fresh;
        }
        count.wrong = count.wrong.saturating_add(1);
        let closes = count.wrong >= most && count.closed_until.is_none();
        if closes {
            count.closed_until = Some(now + WINDOW);
            // It is remembered until it opens again.
            count.since = now;
        }
        closes
    }

    fn forget(&mut self, now: Instant) {
        if self.counts.len() < REMEMBERED {
            return;
        }
        self.counts.retain(|_, count| now.saturating_duration_since(count.since) < WINDOW);
        if self.counts.len() >= REMEMBERED {
            let oldest = self.counts.iter().filter(|(who, _)| matches!(who, Who::Source(..)));
            if let Some(who) = oldest.min_by_key(|(_, count)| count.since).map(|(who, _)| *who) {
                self.counts.remove(&who);
            }
        }
    }
}

/// Compares without telling by its time how much is right. The length of a PIN is no secret.
pub(super) fn is_same(keyed: &str, pin: &str) -> bool {
    let differences = keyed.bytes().zip(pin.bytes()).fold(0u8, |found, (a, b)| found | (a ^ b));
    keyed.len() == pin.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn source_is_closed_before_the_room_and_both_open_again() {
        let (mut guard, room, now) = (PinGuard::default(), Id::from_raw(1), Instant::now());
        for n in 1..FROM_ONE_SOURCE {
            assert_eq!(guard.wrong(room, source(1), now), Closed::No, "{n}");
        }
        assert_eq!(guard.wrong(room, source(1), now), Closed::Source);
        assert!(!guard.is_open(room, source(1), now));
        assert!(guard.is_open(room, source(2), now), "others may");
        assert!(guard.is_open(Id::from_raw(2), source(1), now), "another room may be entered");
        for n in FROM_ONE_SOURCE + 1..FOR_A_ROOM {
            assert_ne!(guard.wrong(room, source(n), now), Closed::Room, "{n}");
        }
        assert_eq!(guard.wrong(room, source(200), now), Closed::Room);
        assert!(!guard.is_open(room, source(3), now));
        let just_before = now + WINDOW - Duration::from_millis(1);
        assert!(!guard.is_open(room, source(3), just_before));
        assert!(guard.is_open(room, source(3), now + WINDOW) && guard.is_open(room, source(1), now + WINDOW));
        assert_eq!(guard.wrong(room, source(1), now + WINDOW), Closed::No, "counting begins again");
    }

    #[test]
    fn wrong_pins_of_long_ago_do_not_count() {
        let (mut guard, room, start) = (PinGuard::default(), Id::from_raw(1), Instant::now());
        for n in 0..100u32 {
            assert_eq!(guard.wrong(room, source(1), start + WINDOW * n / 4), Closed::No, "{n}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_room_is_not_forgotten() {
        let (mut guard, room, now) = (PinGuard::default(), Id::from_raw(1), Instant::now());
        let mut closed = Closed::No;
        for n in 0..20_000u32 {
            let source = IpAddr::from(n.to_be_bytes());
            let moment = now + Duration::from_millis(u64::from(n));
            if guard.wrong(room, source, moment) == Closed::Room {
                closed = Closed::Room;
            }
        }
        assert_eq!(closed, Closed::Room);
        assert!(guard.counts.len() <= REMEMBERED + 1);
        assert!(!guard.is_open(room, source(1), now + Duration::from_secs(21)));
    }

    #[test]
    fn only_the_same_pin_is_the_same() {
        assert!(is_same("1234", "1234"));
        for other in ["", "123", "12345", "1235", "4321"] {
            assert!(!is_same(other, "1234"), "{other}");
        }
    }
}
