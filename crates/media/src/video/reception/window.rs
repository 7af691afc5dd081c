//! The packets of a stream between the last one that was used and the newest, in a ring: what waits for its turn, what is
//! missing, and what is asked for again (generic NACK, RFC 4585 §6.2.1). Runs on the worker's thread; knows nothing of
//! frames. Bytes stand in pooled buffers, so that memory follows the most that ever waited, up to a constant.

use std::time::{Duration, Instant};

/// Packets from the oldest that is waited for to the newest: one frame of the largest size in packets of 1,200 bytes, or
/// 200 ms at 24 Mbit/s.
pub(super) const SLOTS: usize = 512;
/// Bytes of a packet's payload at the most; the worker's datagrams have no more.
pub(super) const MAX_PACKET_BYTES: usize = 2048;
/// A packet is asked for so often and no more.
const MAX_ASKED: u8 = 5;
/// And not again before this, when the round trip is shorter or unknown.
const MIN_ASK_INTERVAL: Duration = Duration::from_millis(20);
/// Packets that one NACK names: PID, and 16 bits of BLP.
const NACK_SPAN: i64 = 17;

/// All that one window can hold on to.
pub(super) const WORST_CASE_BYTES: usize = SLOTS * (MAX_PACKET_BYTES + size_of::<Slot>() + size_of::<Vec<u8>>());

/// One element of a generic NACK (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    /// A packet that is missing.
    pub pid: u16,
    /// Bit i: packet `pid + i + 1` is missing too.
    pub blp: u16,
}

impl Nack {
    /// The sequence numbers that it names.
    pub fn seqs(self) -> impl Iterator<Item = u16> {
        let following = (0..16u16).filter(move |bit| self.blp >> bit & 1 == 1).map(move |bit| bit + 1);
        std::iter::once(0).chain(following).map(move |offset| self.pid.wrapping_add(offset))
    }
}

/// A packet that waits for its turn.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) at: Instant,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
enum Slot {
    /// Nothing was ever here, or it was given up.
    Empty,
    Missing {
        since: Instant,
        asked: Option<Instant>,
        times: u8,
    },
    Waiting(Packet),
    Used,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    New,
    Duplicate,
    /// It was given up already.
    Late,
}

/// What stands at the front.
#[derive(Debug)]
pub(super) enum Front<'a> {
    /// All that came was used.
    Nothing,
    Missing {
        since: Instant,
    },
    Packet(&'a Packet),
}

/// The ring. Sequence numbers are extended ones.
#[derive(Debug)]
pub(super) struct Window {
    slots: Box<[Slot]>,
    /// The next to be used.
    next: i64,
    /// The newest that came; `next - 1` when nothing waits.
    newest: i64,
    missing: usize,
    spare: Vec<Vec<u8>>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            slots: std::iter::repeat_with(|| Slot::Empty).take(SLOTS).collect(),
            next: 0,
            newest: -1,
            missing: 0,
            spare: Vec::with_capacity(SLOTS),
        }
    }

    /// Drops everything; the stream begins with this number.
    pub(super) fn restart(&mut self, first: i64) {
        for slot in &mut self.slots {
            if let Slot::Waiting(packet) = std::mem::replace(slot, Slot::Empty) {
                self.spare.push(packet.bytes);
            }
        }
        (self.next, self.newest, self.missing) = (first, first - 1, 0);
    }

    /// A buffer with these bytes in it; at most [`MAX_PACKET_BYTES`].
    pub(super) fn buffer(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(MAX_PACKET_BYTES));
        bytes.clear();
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, bytes: Vec<u8>) {
        if self.spare.len() < SLOTS {
            self.spare.push(bytes);
        }
    }

    /// How many at the front have to go before this number has a place.
    pub(super) const fn excess(&self, seq: i64) -> i64 {
        seq - self.next - (SLOTS as i64 - 1)
    }

    /// A packet came. The caller has made room for it.
    pub(super) fn place(&mut self, seq: i64, packet: Packet, now: Instant) -> Placed {
        if seq < self.next {
            let is_known = seq > self.newest - SLOTS as i64 && matches!(self.slot(seq), Slot::Used);
            self.recycle(packet.bytes);
            return if is_known { Placed::Duplicate } else { Placed::Late };
        }
        if self.excess(seq) > 0 {
            self.recycle(packet.bytes);
            return Placed::Late;
        }
        for absent in self.newest + 1..seq {
            *self.slot(absent) = Slot::Missing { since: now, asked: None, times: 0 };
            self.missing += 1;
        }
        self.newest = self.newest.max(seq);
        let slot = self.slot(seq);
        match slot {
            Slot::Waiting(_) => {
                self.recycle(packet.bytes);
                return Placed::Duplicate;
            }
            Slot::Missing { .. } => {
                *slot = Slot::Waiting(packet);
                self.missing -= 1;
            }
            Slot::Empty | Slot::Used => *slot = Slot::Waiting(packet),
        }
        Placed::New
    }

    /// What has its turn now.
    pub(super) fn front(&self) -> Front<'_> {
        if self.next > self.newest {
            return Front::Nothing;
        }
        match self.slots.get(index(self.next)) {
            Some(Slot::Missing { since, .. }) => Front::Missing { since: *since },
            Some(Slot::Waiting(packet)) => Front::Packet(packet),
            Some(Slot::Empty | Slot::Used) | None => Front::Nothing,
        }
    }

    /// Takes the packet at the front, with its number. What is missing there is given up with `None`.
    pub(super) fn advance(&mut self) -> Option<(i64, Packet)> {
        let seq = self.next;
        self.next += 1;
        self.newest = self.newest.max(seq);
        let slot = self.slot(seq);
        match std::mem::replace(slot, Slot::Empty) {
            Slot::Waiting(packet) => {
                *slot = Slot::Used;
                Some((seq, packet))
            }
            Slot::Missing { .. } => {
                self.missing -= 1;
                None
            }
            Slot::Empty | Slot::Used => None,
        }
    }

    /// Moves the front to this number over what nobody ever saw. Nothing may wait.
    pub(super) const fn jump(&mut self, next: i64) {
        (self.next, self.newest) = (next, next - 1);
    }

    /// True when nothing waits and nothing is missing.
    pub(super) const fn is_empty(&self) -> bool {
        self.next > self.newest
    }

    /// Missing packets that have to be asked for now, up to 17 of them; to be called until there are no more, which are 31
    /// calls at the most.
    pub(super) fn nack(&mut self, now: Instant, rtt: Option<Duration>) -> Option<Nack> {
        if self.missing == 0 {
            return None;
        }
        let interval = rtt.unwrap_or_default().max(MIN_ASK_INTERVAL);
        let mut nack: Option<(i64, Nack)> = None;
        for seq in self.next..=self.newest {
            if nack.is_some_and(|(first, _)| seq - first >= NACK_SPAN) {
                break;
            }
            let Slot::Missing { asked, times, .. } = self.slot(seq) else { continue };
            let is_due = asked.is_none_or(|at| now.saturating_duration_since(at) >= interval);
            if *times >= MAX_ASKED || !is_due {
                continue;
            }
            *times += 1;
            *asked = Some(now);
            match &mut nack {
                Some((first, nack)) => nack.blp |= 1 << (seq - *first - 1),
                None => nack = Some((seq, Nack { pid: seq as u16, blp: 0 })),
            }
        }
        nack.map(|(_, nack)| nack)
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the ring's length")]
    fn slot(&mut self, seq: i64) -> &mut Slot {
        &mut self.slots[index(seq)]
    }
}

const fn index(seq: i64) -> usize {
    seq.rem_euclid(SLOTS as i64) as usize
}
