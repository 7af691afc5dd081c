//! When the next packet may go: twice the bitrate at the most, so that a keyframe does not flood a path that carries the
//! rate on average. Runs on the worker's thread; a pure state machine, no clock.

use std::time::{Duration, Instant};

use crate::units::Bitrate;

/// What a poll grants is never more than this much time gives: after a stall of the worker there is no burst.
const LONGEST_GRANT: Duration = Duration::from_millis(10);
/// Debts of packets larger than a poll's grant are paid in real time, and this is enough for any of them.
const LONGEST_PAYMENT: Duration = Duration::from_secs(1);
/// However little the far end asks for: at this rate a packet still goes out every 600 ms.
const LOWEST: Bitrate = Bitrate::kbps(16);

/// A token bucket that holds what one poll grants, and lends one packet: time without anything to send earns nothing. A
/// window of 20 ms with polls 5 ms apart sees twice the bitrate and the rest of one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacing {
    /// Twice the bitrate, or what the far end takes if that is less.
    bps: u64,
    /// Of the last grant.
    at: Option<Instant>,
    /// In 10⁻⁹ bit.
    credit: i64,
    /// The same for retransmissions, which take from both: half of what is granted is theirs at the most.
    credit_again: i64,
}

// A payment fits the credit at any rate, and a packet of 64 KiB does.
const _: () = assert!(2 * u32::MAX as u64 <= i64::MAX as u64 / 1_000_000_000);

impl Pacing {
    /// The first packet may go at once.
    pub(super) fn new(bitrate: Bitrate) -> Self {
        Self { bps: paced(bitrate, None), at: None, credit: 1, credit_again: 1 }
    }

    pub(super) fn set(&mut self, bitrate: Bitrate, limit: Option<Bitrate>) {
        self.bps = paced(bitrate, limit);
    }

    /// Time passes. `true` when this is the first call at this time.
    pub(super) fn grant(&mut self, now: Instant) -> bool {
        let Some(before) = self.at.replace(now) else { return true };
        let passed = now.saturating_duration_since(before);
        if passed.is_zero() {
            self.at = Some(before);
            return false;
        }
        let (paid, most) = (self.nanobits(passed.min(LONGEST_PAYMENT)), self.nanobits(passed.min(LONGEST_GRANT)));
        self.credit = (self.credit.min(0) + paid).min(most);
        self.credit_again = (self.credit_again.min(0) + paid / 2).min(most / 2);
        true
    }

    /// A packet may go.
    pub(super) const fn allows(&self) -> bool {
        self.credit > 0
    }

    /// A retransmission may go.
    pub(super) const fn allows_again(&self) -> bool {
        self.credit > 0 && self.credit_again > 0
    }

    /// A packet of so many bytes went, at most 64 KiB.
    pub(super) fn sent(&mut self, bytes: usize, again: bool) {
        let nanobits = bytes.min(1 << 16) as i64 * 8 * 1_000_000_000;
        self.credit -= nanobits;
        if again {
            self.credit_again -= nanobits;
        }
    }

    /// What `time`, a second at the most, gives.
    const fn nanobits(&self, time: Duration) -> i64 {
        (self.bps * time.as_nanos() as u64) as i64
    }
}

fn paced(bitrate: Bitrate, limit: Option<Bitrate>) -> u64 {
    let twice = 2 * u64::from(bitrate.max(LOWEST).as_bps());
    limit.map_or(twice, |limit| twice.min(u64::from(limit.max(LOWEST).as_bps())))
}
