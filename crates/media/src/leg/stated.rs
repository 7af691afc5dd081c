//! How loud a far end says that it is, packet by packet (RFC 6464). Runs on the worker's thread; time is an argument.

use std::time::{Duration, Instant};

/// Who stated a level with the last packet is silent when nothing has come for so long.
const FRESH: Duration = Duration::from_millis(100);

/// What the last packet of sound stated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatedLevel {
    last: Option<(Instant, u8)>,
}

impl StatedLevel {
    /// A packet of sound came, with its level in −dBov if it states one.
    pub(super) fn note(&mut self, arrived: Instant, level: Option<u8>) {
        self.last = level.map(|level| (arrived, level));
    }

    /// As a mean square, 0–1; `None` when the last packet does not tell, and only listening does. Of somebody whose packets
    /// stay out there is nothing to listen to: a network that stalls would set every decoder of a full room to work.
    pub(super) fn energy(&self, now: Instant) -> Option<f32> {
        let (at, level) = self.last?;
        let is_fresh = now.saturating_duration_since(at) < FRESH;
        Some(if is_fresh { 10f32.powf(-f32::from(level) / 10.0) } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_until_the_next_packet_and_no_longer_than_it_is_fresh() {
        let (mut stated, start) = (StatedLevel::default(), Instant::now());
        assert_eq!(stated.energy(start), None, "nobody has said anything");
        stated.note(start, Some(20));
        assert_eq!(stated.energy(start), Some(0.01));
        assert_eq!(stated.energy(start + FRESH / 2), Some(0.01));
        assert_eq!(stated.energy(start + FRESH), Some(0.0), "packets stay out");
        stated.note(start + 2 * FRESH, Some(0));
        assert_eq!(stated.energy(start + 2 * FRESH), Some(1.0));
        stated.note(start + 2 * FRESH, None);
        assert_eq!(stated.energy(start + 2 * FRESH), None, "only listening tells");
    }
}
