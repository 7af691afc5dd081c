//! A clock that only moves when the test says so. Media takes time as an argument (`now: Instant`); this hands out those
//! instants.

use std::time::{Duration, Instant};

/// Virtual time. Begins at an arbitrary real instant, because `Instant` cannot be made from nothing; nothing depends on
/// which.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    start: Instant,
    elapsed: Duration,
}

impl VirtualClock {
    /// At its beginning.
    pub fn new() -> Self {
        Self { start: Instant::now(), elapsed: Duration::ZERO }
    }
    /// The present virtual instant.
    pub fn now(&self) -> Instant {
        self.start + self.elapsed
    }
    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
    /// The instant at `offset` after the beginning.
    pub fn at(&self, offset: Duration) -> Instant {
        self.start + offset
    }
    /// Moves forward.
    pub fn advance(&mut self, by: Duration) {
        self.elapsed += by;
    }
    /// Moves forward to `offset` after the beginning; never back.
    pub fn advance_to(&mut self, offset: Duration) {
        self.elapsed = self.elapsed.max(offset);
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_when_told_and_never_back() {
        let mut clock = VirtualClock::new();
        let t0 = clock.now();
        assert_eq!(clock.now(), t0);
        clock.advance(Duration::from_millis(20));
        assert_eq!(clock.now() - t0, Duration::from_millis(20));
        clock.advance_to(Duration::from_millis(10));
        assert_eq!(clock.elapsed(), Duration::from_millis(20));
        assert_eq!(clock.at(Duration::from_millis(5)), t0 + Duration::from_millis(5));
    }
}
