//! When to try again what was not accepted: pauses that double, for a day. Pure; time and chance are arguments.

use std::time::Duration;

use jiff::Timestamp;

/// From when something was first due to its last attempt.
pub(crate) const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// After the first failure; then twice as long each time.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// With the quarter that chance adds, an hour.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(48 * 60);

/// When the attempt after so many failures is due; `None`: it is given up. `chance`, of 255, lengthens the pause by up to a
/// quarter, so that what failed together does not come back together.
pub(crate) fn next_at(queued_at: Timestamp, now: Timestamp, attempts: u32, chance: u8) -> Option<Timestamp> {
    let give_up_at = queued_at.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
    if now >= give_up_at {
        return None;
    }
    Some(now.saturating_add(pause(attempts, chance)).unwrap_or(Timestamp::MAX).min(give_up_at))
}

/// A number for `next_at`. Without the system's randomness all pauses are of one length.
pub(crate) fn chance() -> u8 {
    let mut chance = [0];
    let _ = getrandom::fill(&mut chance);
    let [chance] = chance;
    chance
}

/// After so many failures, in whole milliseconds, as the database keeps time.
pub(crate) fn pause(attempts: u32, chance: u8) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let quarter_ms = u64::try_from(doubled.as_millis() / 4).unwrap_or(u64::MAX);
    doubled + Duration::from_millis(quarter_ms.saturating_mul(u64::from(chance)) / u64::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_second_to_an_hour() {
        let whole: Vec<u64> = (1..=14).map(|attempts| pause(attempts, 0).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 2880, 2880]);
        assert_eq!(pause(1, 255), Duration::from_millis(1250));
        assert_eq!(pause(40, 255), Duration::from_secs(3600));
        assert_eq!(pause(u32::MAX, 0), LONGEST_PAUSE);
    }

    #[test]
    fn the_last_attempt_is_a_day_after_the_first() {
        let queued_at = Timestamp::from_second(1_900_000_000).unwrap();
        let after = |s: i64| queued_at + Duration::from_secs(s.unsigned_abs());
        assert_eq!(next_at(queued_at, queued_at, 1, 0), Some(after(1)));
        assert_eq!(next_at(queued_at, after(86_000), 30, 0), Some(after(86_400)));
        assert_eq!(next_at(queued_at, after(86_400), 31, 0), None);
    }
}
