//! What the path to a viewer carries, by the send-side estimate: who stays below the room's bitrate gets the room's lower
//! rendition, and the room's again when there has been enough for long. Pure; runs on the worker's thread.

use std::time::{Duration, Instant};

/// Below the room's bitrate for so long: it is no passing dip.
const SHORT_FOR: Duration = Duration::from_secs(3);
/// So much more than the room's bitrate has to be there …
const ENOUGH: f64 = 1.1;
/// … for so long, as each change costs a keyframe.
const ENOUGH_FOR: Duration = Duration::from_secs(10);

/// The state of one viewer's path.
#[derive(Debug, Default)]
pub(crate) struct Estimate {
    bps: Option<f64>,
    is_short: bool,
    since: Option<Instant>,
}

impl Estimate {
    /// The latest estimate, in bit/s.
    pub(crate) const fn hear(&mut self, bps: f64) {
        self.bps = Some(bps);
    }

    /// Whether the lower rendition is to be sent, in a room whose encode has `room_bps`.
    pub(crate) fn is_short(&mut self, now: Instant, room_bps: f64) -> bool {
        let Some(bps) = self.bps else { return false };
        let (tends, wait) = match self.is_short {
            false => (bps < room_bps, SHORT_FOR),
            true => (bps >= room_bps * ENOUGH, ENOUGH_FOR),
        };
        if !tends {
            self.since = None;
        } else if now.saturating_duration_since(*self.since.get_or_insert(now)) >= wait {
            self.is_short = !self.is_short;
            self.since = None;
        }
        self.is_short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_is_moved_after_three_seconds_and_back_after_ten() {
        let mut estimate = Estimate::default();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert!(!estimate.is_short(at(0), 1e6), "nothing is known");
        estimate.hear(9e5);
        assert!(!estimate.is_short(at(0), 1e6));
        assert!(!estimate.is_short(at(2_990), 1e6));
        estimate.hear(1.05e6);
        assert!(!estimate.is_short(at(2_995), 1e6), "a dip that ended");
        estimate.hear(9e5);
        assert!(!estimate.is_short(at(3_000), 1e6));
        assert!(estimate.is_short(at(6_000), 1e6), "three seconds below");
        estimate.hear(1.05e6);
        assert!(estimate.is_short(at(6_100), 1e6));
        assert!(estimate.is_short(at(30_000), 1e6), "enough, and nothing to spare");
        estimate.hear(1.2e6);
        assert!(estimate.is_short(at(30_100), 1e6));
        assert!(estimate.is_short(at(40_090), 1e6));
        assert!(!estimate.is_short(at(40_100), 1e6), "ten seconds of plenty");
    }
}
