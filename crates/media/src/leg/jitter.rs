//! The packets of one source that wait to be decoded: in order, each once, in a fixed number of slots that are used
//! again. Runs on the worker's thread; knows neither codecs nor clocks. When a packet plays is `playout`'s business.

use crate::audio::codec::PayloadFacts;

/// Packets held at most: 400 ms of 10 ms packets, and those that are kept for a muted leg.
pub(crate) const SLOTS: usize = 48;
/// Packets that a leg which nobody hears keeps, to warm its decoder up with.
pub(crate) const KEPT: usize = 5;
/// Larger payloads are refused: no path that we use carries them in one piece.
pub(crate) const MAX_PAYLOAD: usize = 1500;

/// What one buffer holds at most, everything included.
const WORST_CASE_BYTES: usize = SLOTS * (size_of::<Packet>() + MAX_PAYLOAD) + size_of::<JitterBuffer>();
const _: () = assert!(WORST_CASE_BYTES <= 80 * 1024);
const _: () = assert!(SLOTS <= u8::MAX as usize);

/// A packet that waits. Sequence number and timestamp are extended: they never wrap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    pub(crate) seq: i64,
    pub(crate) timestamp: i64,
    pub(crate) facts: PayloadFacts,
    /// RFC 3389 comfort noise: the payload is not the codec's.
    pub(crate) noise: bool,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    /// The timestamp after its last sample.
    pub(crate) const fn end(&self) -> i64 {
        self.timestamp + self.facts.samples as i64
    }
}

/// What became of a packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It waits.
    Queued,
    /// It waits, and the oldest one had to go.
    PushedOut,
    /// It waits already.
    Duplicate,
    /// Its timestamp contradicts those of its neighbours.
    Contradictory,
}

/// Slots are named by their index. A slot is in exactly one of `queue`, `kept` and `free`.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    slots: Box<[Packet]>,
    /// Waiting, by sequence number.
    queue: [u8; SLOTS],
    queued: usize,
    /// Passed over undecoded, oldest first.
    kept: [u8; KEPT],
    keeps: usize,
    /// The one freed last is used next, so that few slots ever get a payload buffer.
    free: [u8; SLOTS],
    frees: usize,
}

impl JitterBuffer {
    pub(crate) fn new() -> Self {
        let mut free = [0; SLOTS];
        for (i, slot) in free.iter_mut().rev().enumerate() {
            *slot = i as u8;
        }
        Self {
            slots: vec![Packet::default(); SLOTS].into_boxed_slice(),
            queue: [0; SLOTS],
            queued: 0,
            kept: [0; KEPT],
            keeps: 0,
            free,
            frees: SLOTS,
        }
    }

    /// Puts a packet into its place. Allocates only while a slot's buffer has not yet grown to the payload's size.
    pub(crate) fn insert(
        &mut self,
        seq: i64,
        timestamp: i64,
        facts: PayloadFacts,
        noise: bool,
        payload: &[u8],
    ) -> Inserted {
        let mut place = self.queued;
        while place > 0 && self.at(place - 1).seq >= seq {
            place -= 1;
        }
        if place < self.queued {
            let next = self.at(place);
            if next.seq == seq {
                return Inserted::Duplicate;
            }
            if next.timestamp <= timestamp {
                return Inserted::Contradictory;
            }
        }
        if place > 0 && self.at(place - 1).timestamp >= timestamp {
            return Inserted::Contradictory;
        }
        let mut outcome = Inserted::Queued;
        if self.frees == 0 {
            // Nothing is free: one that is only kept goes first, else the oldest that waits.
            outcome = if self.keeps > 0 {
                self.release_kept();
                Inserted::Queued
            } else if place == 0 {
                return Inserted::PushedOut;
            } else {
                self.remove_first(false);
                place -= 1;
                Inserted::PushedOut
            };
        }
        self.frees -= 1;
        let slot = self.free[self.frees];
        let packet = &mut self.slots[usize::from(slot)];
        packet.seq = seq;
        packet.timestamp = timestamp;
        packet.facts = facts;
        packet.noise = noise;
        packet.payload.clear();
        packet.payload.extend_from_slice(payload);
        self.queue.copy_within(place..self.queued, place + 1);
        self.queue[place] = slot;
        self.queued += 1;
        outcome
    }

    /// The oldest one that waits.
    pub(crate) fn first(&self) -> Option<&Packet> {
        self.nth(0)
    }

    /// The n-th oldest that waits, from 0.
    pub(crate) fn nth(&self, n: usize) -> Option<&Packet> {
        (n < self.queued).then(|| self.at(n))
    }

    /// Takes the oldest one out; with `keep` it stays among the last `KEPT`.
    pub(crate) fn remove_first(&mut self, keep: bool) {
        if self.queued == 0 {
            return;
        }
        let slot = self.queue[0];
        self.queue.copy_within(1..self.queued, 0);
        self.queued -= 1;
        if !keep {
            self.give_back(slot);
            return;
        }
        if self.keeps == KEPT {
            let oldest = self.kept[0];
            self.kept.copy_within(1.., 0);
            self.keeps -= 1;
            self.give_back(oldest);
        }
        self.kept[self.keeps] = slot;
        self.keeps += 1;
    }

    /// Those kept, oldest first.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Packet> {
        self.kept[..self.keeps].iter().map(|&slot| &self.slots[usize::from(slot)])
    }

    /// Keeps none of them any longer.
    pub(crate) fn release_kept(&mut self) {
        while self.keeps > 0 {
            self.keeps -= 1;
            self.give_back(self.kept[self.keeps]);
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        while self.queued > 0 {
            self.remove_first(false);
        }
        self.release_kept();
    }

    fn give_back(&mut self, slot: u8) {
        self.free[self.frees] = slot;
        self.frees += 1;
    }

    fn at(&self, n: usize) -> &Packet {
        &self.slots[usize::from(self.queue[n])]
    }

    /// Bytes in use, payload buffers included.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.slots.iter().map(|p| size_of::<Packet>() + p.payload.capacity()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FACTS: PayloadFacts = PayloadFacts { samples: 160, fec: false, dtx: false };

    fn put(buffer: &mut JitterBuffer, seq: i64) -> Inserted {
        buffer.insert(seq, seq * 160, FACTS, false, &[seq as u8; 160])
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        let mut buffer = JitterBuffer::new();
        for seq in [3, 1, 2, 5, 1, 4] {
            put(&mut buffer, seq);
        }
        assert_eq!(put(&mut buffer, 4), Inserted::Duplicate);
        for seq in 1..=5 {
            assert_eq!(buffer.first().map(|p| (p.seq, p.payload[0])), Some((seq, seq as u8)));
            buffer.remove_first(false);
        }
        assert!(buffer.first().is_none());
    }

    #[test]
    fn a_timestamp_that_contradicts_the_order_is_refused() {
        let mut buffer = JitterBuffer::new();
        put(&mut buffer, 1);
        put(&mut buffer, 3);
        assert_eq!(buffer.insert(2, 900, FACTS, false, &[]), Inserted::Contradictory);
        assert_eq!(buffer.insert(2, 100, FACTS, false, &[]), Inserted::Contradictory);
    }

    #[test]
    fn the_oldest_makes_room_when_all_slots_are_taken() {
        let mut buffer = JitterBuffer::new();
        for seq in 0..SLOTS as i64 {
            assert_eq!(put(&mut buffer, seq), Inserted::Queued);
        }
        assert_eq!(put(&mut buffer, 100), Inserted::PushedOut);
        assert_eq!(buffer.first().map(|p| p.seq), Some(1));
    }

    #[test]
    fn a_quiet_leg_uses_few_slots() {
        let mut buffer = JitterBuffer::new();
        for seq in 0..10_000 {
            put(&mut buffer, seq);
            buffer.remove_first(false);
        }
        assert!(buffer.bytes() < 5000, "{}", buffer.bytes());
    }

    #[test]
    fn the_last_five_are_kept() {
        let mut buffer = JitterBuffer::new();
        for seq in 0..20 {
            put(&mut buffer, seq);
            buffer.remove_first(true);
        }
        assert!(buffer.kept().map(|p| p.seq).eq(15..20));
        buffer.release_kept();
        assert_eq!(buffer.kept().count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn order_holds_and_no_slot_is_lost(steps in prop::collection::vec((0i64..200, 0u8..4), 0..400)) {
            let mut buffer = JitterBuffer::new();
            for (seq, step) in steps {
                match step {
                    0 => buffer.remove_first(false),
                    1 => buffer.remove_first(true),
                    _ => { put(&mut buffer, seq); }
                }
                let order: Vec<i64> = (0..).map_while(|n| buffer.nth(n).map(|p| p.seq)).collect();
                prop_assert!(order.windows(2).all(|w| w[0] < w[1]));
                prop_assert_eq!(buffer.queued + buffer.keeps + buffer.frees, SLOTS);
            }
        }
    }
}
