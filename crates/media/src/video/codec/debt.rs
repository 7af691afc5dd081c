//! The rule that keeps an encoder's output near its bitrate over any ten seconds, whatever the pictures show. Pure arithmetic
//! on the times of the pictures.

use std::time::Duration;

use crate::units::Bitrate;

/// What was sent ahead of the bitrate, as the time that pays it back. Over any span, at most the bitrate times the span is sent
/// plus the most that is ever owed: while that is a second, ten seconds never hold more than a tenth too much.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Debt {
    owed: Duration,
    /// Since nothing is owed.
    idle: Duration,
    at: Option<Duration>,
    /// The cost of the last keyframe, and of the dearest inter picture lately: what the next ones are expected to cost.
    key: Duration,
    inter: Option<Duration>,
}

/// The most that may be owed.
const LIMIT: Duration = Duration::from_millis(900);

impl Debt {
    /// It is `at`; time pays back.
    pub(super) fn pay(&mut self, at: Duration) {
        let since = self.at.map_or(Duration::ZERO, |last| at.saturating_sub(last));
        self.idle = if self.owed.is_zero() { self.idle + since } else { since.saturating_sub(self.owed) };
        self.owed = self.owed.saturating_sub(since);
        self.at = Some(at);
    }

    /// In time at the full rate.
    pub(super) const fn owed(&self) -> Duration {
        self.owed
    }

    /// Whether a picture may be made now, as far as its like can tell. What is dearer than the limit alone has to be saved for.
    pub(super) fn allows(&self, keyframe: bool) -> bool {
        let expected = if keyframe { self.key } else { self.inter.unwrap_or(self.first_inter()) };
        if expected > LIMIT { self.idle >= expected - LIMIT } else { self.owed + expected <= LIMIT }
    }

    /// What the first inter picture is expected to cost: less than the keyframe, but for noise.
    fn first_inter(&self) -> Duration {
        if self.key > LIMIT { self.key } else { self.key / 2 }
    }

    /// So much was sent.
    pub(super) fn add(&mut self, bytes: usize, keyframe: bool, bitrate: Bitrate) {
        let ns = bytes as u128 * 8 * 1_000_000_000 / u128::from(bitrate.as_bps().max(1));
        let cost = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)).min(DEAREST);
        self.owed += cost;
        self.idle = Duration::ZERO;
        if keyframe {
            self.key = cost;
        } else {
            self.inter = Some(cost.max(self.inter.unwrap_or_default() * 3 / 4));
        }
    }
}

/// At the lowest bitrates one picture may be worth hours; nobody is made to wait that long.
const DEAREST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever pictures of one cost each are offered, ten seconds hold eleven seconds' worth at the most.
    #[test]
    fn ten_seconds_hold_a_tenth_too_much_at_the_most() {
        let bitrate = Bitrate::kbps(80);
        for bytes in [100, 600, 2_000, 8_000, 9_500, 12_000, 30_000, 60_000] {
            let mut debt = Debt::default();
            let mut sent = Vec::new();
            for n in 0..600u64 {
                debt.pay(Duration::from_millis(n * 100));
                let allowed = debt.allows(n % 50 == 0);
                if allowed {
                    debt.add(bytes, n % 50 == 0, bitrate);
                }
                sent.push(if allowed { bytes } else { 0 });
            }
            let most = sent.windows(100).map(|window| window.iter().sum::<usize>()).max().unwrap();
            assert!(most <= 110_000, "{bytes} bytes a picture: {most} in ten seconds");
            assert!(sent.iter().sum::<usize>() >= 60_000, "{bytes} bytes a picture: it has to go on");
        }
    }

    #[test]
    fn cheap_pictures_are_never_kept_back() {
        let mut debt = Debt::default();
        for n in 0..600u64 {
            debt.pay(Duration::from_millis(n * 100));
            assert!(debt.allows(false));
            debt.add(1_000, false, Bitrate::kbps(80));
        }
        assert!(debt.owed() <= Duration::from_millis(100));
    }
}
