//! Whose datagram it is on a socket that browsers share: by the address that a leg has validated, or by the name in a
//! connectivity check. Runs on the worker's thread; knows no socket.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::io::{Address, Datagram};
use crate::leg::{PortKey, check_for};
use crate::units::{LegId, TICK};

/// Addresses that one leg may have at once: a browser tries each of its own with each of ours, and keeps one.
const MAX_SOURCES: usize = 16;
/// Handshake packets that wait: a burst of 300 joins. What more comes is lost, and sent again by its sender.
const MAX_HANDSHAKES: usize = 1024;
const _: () = assert!(MAX_HANDSHAKES * (size_of::<Datagram>() + super::io::MAX_DATAGRAM_BYTES) < 3 * 1024 * 1024);
/// What handshakes may take of one tick: half of what else leaves free, at most a fifth of the tick and at least a fortieth,
/// or nobody would get in beside full rooms. One that has begun is finished.
const HANDSHAKE_SHARE: RangeInclusive<Duration> = Duration::from_micros(500)..=Duration::from_millis(4);

/// What could not be given to any leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// Media or a handshake from an address that no leg has validated.
    Source,
    /// A connectivity check for nobody.
    Name,
    /// One that was not made with the leg's password, or no packet at all.
    Unauthenticated,
    /// A handshake packet too many.
    Handshake,
}

/// What becomes of a datagram.
pub(super) enum Route {
    /// To this leg, now.
    Leg(Address),
    /// A connectivity check: if the leg takes it, its address is the leg's.
    Check(Address),
    /// Waits for its turn.
    Queued,
    Stray(Stray),
}

#[derive(Default)]
pub(super) struct Browsers {
    sources: HashMap<(PortKey, SocketAddr), Address>,
    names: HashMap<String, Address>,
    of_leg: HashMap<LegId, Known>,
    handshakes: VecDeque<(Address, Datagram)>,
    /// Left of this tick's share.
    share: Duration,
    /// Taken since the tick began.
    spent: Duration,
}

/// What one leg has here.
#[derive(Default)]
struct Known {
    name: String,
    sources: VecDeque<(PortKey, SocketAddr)>,
}

impl Browsers {
    pub(super) fn is_empty(&self) -> bool {
        self.of_leg.is_empty()
    }

    /// The leg is in a room; its checks have this name.
    pub(super) fn enter(&mut self, address: Address, name: &str) {
        let known = self.of_leg.entry(address.leg).or_default();
        let before = std::mem::replace(&mut known.name, name.to_owned());
        for source in &known.sources {
            self.sources.insert(*source, address);
        }
        if before != name {
            self.names.remove(&before);
        }
        self.names.insert(name.to_owned(), address);
    }

    /// The leg's checks have another name; where it is stays.
    pub(super) fn rename(&mut self, leg: LegId, name: &str) {
        let Some(known) = self.of_leg.get(&leg) else { return };
        if let Some(address) = self.names.get(&known.name).copied() {
            self.enter(address, name);
        }
    }

    /// The leg is gone. Its addresses, for another room.
    pub(super) fn forget(&mut self, leg: LegId) -> Vec<(PortKey, SocketAddr)> {
        let mut sources = Vec::new();
        if let Some(known) = self.of_leg.remove(&leg) {
            self.names.remove(&known.name);
            for source in &known.sources {
                self.sources.remove(source);
            }
            self.handshakes.retain(|(address, _)| address.leg != leg);
            sources.extend(known.sources);
        }
        sources
    }

    /// A check of the leg came from here.
    pub(super) fn validate(&mut self, address: Address, port: PortKey, from: SocketAddr) {
        let Some(known) = self.of_leg.get_mut(&address.leg) else { return };
        if let Some(before) = self.sources.insert((port, from), address)
            && before.leg == address.leg
        {
            return;
        }
        known.sources.push_back((port, from));
        if known.sources.len() > MAX_SOURCES
            && let Some(oldest) = known.sources.pop_front()
        {
            self.sources.remove(&oldest);
        }
    }

    /// Whose this is. A handshake packet of a known source is kept for its turn.
    pub(super) fn route(&mut self, datagram: &Datagram) -> Route {
        let bytes = &datagram.bytes[..];
        match bytes.first() {
            Some(0..=3) => {
                let Some(name) = check_for(bytes) else { return Route::Stray(Stray::Unauthenticated) };
                self.names.get(&name).map_or(Route::Stray(Stray::Name), |address| Route::Check(*address))
            }
            first => match self.sources.get(&(datagram.port, datagram.from)).copied() {
                None => Route::Stray(Stray::Source),
                // DTLS (RFC 7983 §7).
                Some(address) if matches!(first, Some(20..=63)) => {
                    if self.handshakes.len() >= MAX_HANDSHAKES {
                        return Route::Stray(Stray::Handshake);
                    }
                    self.handshakes.push_back((address, datagram.clone()));
                    Route::Queued
                }
                Some(address) => Route::Leg(address),
            },
        }
    }

    /// The next handshake packet, as long as there is time for it in this tick.
    pub(super) fn next_handshake(&mut self) -> Option<(Address, Datagram)> {
        if self.share.is_zero() { None } else { self.handshakes.pop_front() }
    }

    /// The last one took so long.
    pub(super) fn spend(&mut self, took: Duration) {
        self.share = self.share.saturating_sub(took);
        self.spent += took;
    }

    /// A tick begins; since the one before the worker was busy for so long, with handshakes and all else.
    pub(super) fn share_out(&mut self, busy: Duration) {
        let free = TICK.saturating_sub(busy.saturating_sub(std::mem::take(&mut self.spent)));
        self.share = (free / 2).clamp(*HANDSHAKE_SHARE.start(), *HANDSHAKE_SHARE.end());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::units::RoomId;

    const PORT: PortKey = PortKey(9);

    fn datagram(from: u16, bytes: &[u8]) -> Datagram {
        Datagram {
            port: PORT,
            from: SocketAddr::from(([127, 0, 0, 1], from)),
            arrived: Instant::now(),
            bytes: bytes.into(),
        }
    }

    fn address(leg: u64) -> Address {
        Address { room: RoomId(1), key: 0, leg: LegId(leg) }
    }

    #[test]
    fn media_from_an_address_that_nobody_validated_is_a_stray() {
        let mut browsers = Browsers::default();
        browsers.enter(address(1), "name");
        let media = datagram(1, &[0x80, 111, 0, 0]);
        assert!(matches!(browsers.route(&media), Route::Stray(Stray::Source)));
        browsers.validate(address(1), PORT, media.from);
        assert!(matches!(browsers.route(&media), Route::Leg(to) if to.leg == LegId(1)));
        assert_eq!(browsers.forget(LegId(1)), [(PORT, media.from)]);
        assert!(matches!(browsers.route(&media), Route::Stray(Stray::Source)));
        assert!(browsers.is_empty() && browsers.sources.is_empty() && browsers.names.is_empty());
    }

    #[test]
    fn a_leg_has_no_more_addresses_than_it_can_need() {
        let mut browsers = Browsers::default();
        browsers.enter(address(1), "name");
        for port in 1..100 {
            browsers.validate(address(1), PORT, datagram(port, &[]).from);
        }
        assert_eq!(browsers.sources.len(), MAX_SOURCES);
    }

    #[test]
    fn a_flood_of_handshakes_is_bounded_and_counted() {
        let mut browsers = Browsers::default();
        browsers.enter(address(1), "name");
        let hello = datagram(1, &[22, 254, 253]);
        browsers.validate(address(1), PORT, hello.from);
        let taken = (0..2 * MAX_HANDSHAKES).filter(|_| matches!(browsers.route(&hello), Route::Queued)).count();
        assert_eq!(taken, MAX_HANDSHAKES);
        assert!(matches!(browsers.route(&hello), Route::Stray(Stray::Handshake)));
        let most = *HANDSHAKE_SHARE.end();
        browsers.share_out(Duration::ZERO);
        assert!(browsers.next_handshake().is_some());
        browsers.spend(most / 2);
        assert!(browsers.next_handshake().is_some());
        browsers.spend(most);
        assert!(browsers.next_handshake().is_none(), "the rest waits for the next tick");
        browsers.share_out(Duration::ZERO);
        assert!(browsers.next_handshake().is_some());
    }

    #[test]
    fn handshakes_make_way_for_full_rooms_but_never_all_of_it() {
        let mut browsers = Browsers::default();
        let ms = Duration::from_millis;
        for (busy, spent, share) in [
            (ms(0), ms(0), ms(4)),
            (ms(12), ms(0), ms(4)),
            (ms(16), ms(0), ms(2)),
            // What handshakes took is free again.
            (ms(20), ms(4), ms(2)),
            (ms(20), ms(0), Duration::from_micros(500)),
            (ms(45), ms(4), Duration::from_micros(500)),
        ] {
            browsers.spend(spent);
            browsers.share_out(busy);
            assert_eq!(browsers.share, share, "{busy:?} {spent:?}");
        }
    }

    #[test]
    fn a_leg_that_moves_keeps_its_addresses() {
        let mut browsers = Browsers::default();
        browsers.enter(address(1), "name");
        let media = datagram(1, &[0x80, 111, 0, 0]);
        browsers.validate(address(1), PORT, media.from);
        let sources = browsers.forget(LegId(1));
        let there = Address { room: RoomId(2), key: 7, leg: LegId(1) };
        browsers.enter(there, "name");
        sources.into_iter().for_each(|(port, from)| browsers.validate(there, port, from));
        assert!(matches!(browsers.route(&media), Route::Leg(to) if to.room == RoomId(2) && to.key == 7));
    }
}
