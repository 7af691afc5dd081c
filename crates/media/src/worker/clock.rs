//! The worker's time: absolute 20 ms deadlines, never a sleep after the work.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::rtp::rtcp;
use crate::units::{TICK, Tick};

/// Sockets are drained this many times a tick. Inbound audio only has to be there by the next tick; the kernel's
/// timestamps tell when it came. Twice keeps a 60 ms burst of a 200-leg room inside default socket buffers.
const POLLS_PER_TICK: u32 = 2;
/// While a room has a picture: its packets are paced, and a burst of 5 ms is what a path takes without a queue.
const POLLS_WITH_PICTURES: u32 = 4;
/// Late ticks that are made up for at once after a stall; the rest are skipped, so that nobody gets a burst.
const MAX_LATE_TICKS: u32 = 2;

pub(super) struct Clock {
    start: Instant,
    /// Deadline `start + next × 20 ms` is the next tick.
    next: u64,
    /// Polls done since the last tick, and how many there are.
    polls: u32,
    polls_per_tick: u32,
    /// The tick that runs now or ran last.
    current: u64,
}

/// What `due` found.
pub(super) enum Due {
    /// Only the sockets.
    Nothing,
    /// A tick; `skipped` ticks before it were dropped.
    Tick { late: Duration, skipped: u32 },
}

impl Clock {
    pub(super) fn new(index: usize, count: usize) -> Self {
        let phase = TICK * index as u32 / count.max(1) as u32;
        Self { start: Instant::now() + phase, next: 1, polls: 0, polls_per_tick: POLLS_PER_TICK, current: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::now()
    }

    fn at(&self, tick: u64) -> Instant {
        self.start + Duration::from_nanos(TICK.as_nanos() as u64 * tick)
    }

    /// After a rest: the next deadline is in the future, on the same grid, and nothing was missed.
    pub(super) fn restart(&mut self) {
        let passed = self.now().saturating_duration_since(self.start);
        let next = (passed.as_nanos() / TICK.as_nanos()) as u64 + 1;
        if next > self.next {
            self.next = next;
            self.current = next - 1;
        }
        self.polls = 0;
    }

    /// When to wake: at the next poll or tick.
    pub(super) fn wake(&self) -> Instant {
        let left = self.polls_per_tick.saturating_sub(self.polls + 1);
        self.at(self.next) - TICK * left / self.polls_per_tick
    }

    /// Some room has a picture, or none has.
    pub(super) fn set_polls(&mut self, has_pictures: bool) {
        self.polls_per_tick = if has_pictures { POLLS_WITH_PICTURES } else { POLLS_PER_TICK };
    }

    /// Moves on; a tick is due when its deadline has passed.
    pub(super) fn due(&mut self) -> Due {
        let now = self.now();
        let deadline = self.at(self.next);
        if now < deadline {
            self.polls += 1;
            return Due::Nothing;
        }
        self.polls = 0;
        let late = now - deadline;
        let behind = (late.as_nanos() / TICK.as_nanos()) as u32;
        let skipped = if behind >= MAX_LATE_TICKS { behind + 1 - MAX_LATE_TICKS } else { 0 };
        self.current = self.next + u64::from(skipped);
        self.next = self.current + 1;
        Due::Tick { late, skipped }
    }

    /// The tick that runs now.
    pub(super) fn tick(&self) -> Tick {
        Tick(self.current)
    }

    /// Its absolute deadline.
    pub(super) fn deadline(&self) -> Instant {
        self.at(self.current)
    }

    /// Wall clock as a 64-bit NTP timestamp (RFC 5905 §6).
    pub(super) fn ntp(&self) -> u64 {
        rtcp::ntp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// Now on both clocks, to place the kernel's wall-clock timestamps on ours.
    pub(super) fn both(&self) -> (Instant, Duration) {
        (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}
