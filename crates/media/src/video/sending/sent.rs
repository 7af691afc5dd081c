//! Which packet carried which piece of which picture, for retransmission: a ring by sequence number, and the line of those
//! that were asked for. Runs on the worker's thread; allocates when it is made.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packets::Piece;

/// Packets that are remembered: a second of 8 Mbit/s in full packets, or of 30 pictures in 34 slices each.
pub(super) const PACKETS: usize = 1024;
/// Retransmissions that wait. More lost at once is not repaired by them.
const MAX_ASKED: usize = 128;
/// A copy is on its way for at least this long.
const SHORTEST_TRIP: Duration = Duration::from_millis(10);
/// Round trips come from the far end's reports and may be wrong; no copy is waited for longer.
const LONGEST_TRIP: Duration = Duration::from_millis(500);

const _: () = assert!(PACKETS.is_power_of_two() && PACKETS <= 1 << 15);
const _: () = assert!(PACKETS * size_of::<Option<Packet>>() + MAX_ASKED * 2 <= 80 * 1024);

/// All that makes a packet, but its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) seq: u16,
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    /// Counted from the first picture of the stream.
    pub(super) picture: u64,
    pub(super) piece: Piece,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    packet: Packet,
    is_asked: bool,
    /// Of the last retransmission.
    again: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Sent {
    slots: Box<[Option<Slot>]>,
    asked: VecDeque<u16>,
    round_trip: Duration,
}

impl Sent {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![None; PACKETS].into_boxed_slice(),
            asked: VecDeque::with_capacity(MAX_ASKED),
            round_trip: SHORTEST_TRIP,
        }
    }

    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip.clamp(SHORTEST_TRIP, LONGEST_TRIP);
    }

    pub(super) fn put(&mut self, packet: Packet) {
        let index = usize::from(packet.seq) % PACKETS;
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(Slot { packet, is_asked: false, again: None });
        }
    }

    fn slot(&mut self, seq: u16) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(usize::from(seq) % PACKETS)?;
        slot.as_mut().filter(|slot| slot.packet.seq == seq)
    }

    /// Puts it in line, unless a copy is in line or on its way, the line is full, or nobody remembers it.
    pub(super) fn ask(&mut self, now: Instant, seq: u16, is_kept: impl Fn(u64) -> bool) -> bool {
        let (trip, is_full) = (self.round_trip, self.asked.len() >= MAX_ASKED);
        let Some(slot) = self.slot(seq) else { return false };
        let is_under_way = slot.again.is_some_and(|at| now.saturating_duration_since(at) < trip);
        if is_full || slot.is_asked || is_under_way || !is_kept(slot.packet.picture) {
            return false;
        }
        slot.is_asked = true;
        self.asked.push_back(seq);
        true
    }

    /// The next in line, which leaves it.
    pub(super) fn next_asked(&mut self, now: Instant) -> Option<Packet> {
        while let Some(seq) = self.asked.pop_front() {
            if let Some(slot) = self.slot(seq).filter(|slot| slot.is_asked) {
                slot.is_asked = false;
                slot.again = Some(now);
                return Some(slot.packet);
            }
        }
        None
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Forgets everything but the round trip.
    pub(super) fn clear(&mut self) {
        self.slots.fill(None);
        self.asked.clear();
    }
}
