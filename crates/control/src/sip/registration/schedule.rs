//! When a registration is refreshed or tried again. Pure: time and chance are arguments.

use std::time::Duration;

/// First pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// After a refusal that time alone does not cure.
const FIRST_PAUSE_REFUSED: Duration = Duration::from_secs(30);
/// Longest pause, and the longest that a registrar's Retry-After is followed.
const LONGEST_PAUSE: Duration = Duration::from_secs(240);
/// A registrar that gives less is asked this seldom all the same.
const SHORTEST_REFRESH: Duration = Duration::from_secs(5);
/// The most that is asked for, whatever a registrar demands.
const LONGEST_EXPIRES: Duration = Duration::from_secs(86_400);

/// What came of one REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// For so long.
    Registered(Duration),
    /// 423: at least so long.
    TooBrief(Duration),
    /// No, by the registrar; come back after so long if it says so.
    Refused(String, Option<Duration>),
    /// Nobody there.
    Unreachable(String),
}

/// What is asked for and how often it failed.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    expires: Duration,
    failures: u32,
    lengthened: bool,
}

impl Schedule {
    pub(super) fn new(expires: Duration) -> Self {
        Self { expires, failures: 0, lengthened: false }
    }

    /// Asked for next.
    pub(super) fn expires(&self) -> Duration {
        self.expires
    }

    /// The pause before the next REGISTER. `chance` is anything; it spreads by a tenth, so that those who began together
    /// do not stay together.
    pub(super) fn after(&mut self, outcome: &Outcome, chance: u32) -> Duration {
        match outcome {
            Outcome::Registered(given) => {
                (self.failures, self.lengthened) = (0, false);
                // Four fifths at the most, so that one lost REGISTER with its retransmissions still comes in time.
                let refresh = given.mul_f64(0.8 * spread(chance, 0.9, 1.0));
                refresh.max(SHORTEST_REFRESH)
            }
            Outcome::TooBrief(least) if !self.lengthened && *least > self.expires && *least <= LONGEST_EXPIRES => {
                self.lengthened = true;
                self.expires = *least;
                Duration::ZERO
            }
            Outcome::TooBrief(_) => self.pause(FIRST_PAUSE_REFUSED, None, chance),
            Outcome::Refused(_, after) => self.pause(FIRST_PAUSE_REFUSED, *after, chance),
            Outcome::Unreachable(_) => self.pause(FIRST_PAUSE, None, chance),
        }
    }

    fn pause(&mut self, first: Duration, asked: Option<Duration>, chance: u32) -> Duration {
        let doubled = first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.max(asked.unwrap_or_default()).min(LONGEST_PAUSE).mul_f64(spread(chance, 0.9, 1.1))
    }
}

/// Between the two, by chance.
fn spread(chance: u32, low: f64, high: f64) -> f64 {
    low + (high - low) * f64::from(chance) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn refreshed_after_four_fifths_of_what_was_given() {
        let mut schedule = Schedule::new(s(600));
        for (given, least, most) in [(600, 432, 480), (60, 43, 48), (3, 5, 5)] {
            for chance in [0, u32::MAX / 2, u32::MAX] {
                let pause = schedule.after(&Outcome::Registered(s(given)), chance);
                assert!(pause >= s(least) && pause <= s(most), "{given}: {pause:?}");
            }
        }
    }

    #[test]
    fn longer_is_asked_for_once_and_at_once() {
        let mut schedule = Schedule::new(s(60));
        assert_eq!(schedule.after(&Outcome::TooBrief(s(900)), 0), Duration::ZERO);
        assert_eq!(schedule.expires(), s(900));
        assert!(schedule.after(&Outcome::TooBrief(s(1800)), 0) > s(20), "a registrar that never has enough");
        schedule.after(&Outcome::Registered(s(900)), 0);
        assert_eq!(schedule.after(&Outcome::TooBrief(s(1000)), 0), Duration::ZERO);
        let mut schedule = Schedule::new(s(60));
        assert!(schedule.after(&Outcome::TooBrief(s(u64::MAX)), 0) > Duration::ZERO);
        assert_eq!(schedule.expires(), s(60));
    }

    #[test]
    fn pauses_grow_to_a_few_minutes_and_begin_anew_after_a_success() {
        let mut schedule = Schedule::new(s(60));
        let gone = Outcome::Unreachable("x".to_owned());
        let middle = u32::MAX / 2;
        let pauses: Vec<u64> = (0..9).map(|_| schedule.after(&gone, middle).as_secs_f64().round() as u64).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 240, 240]);
        for _ in 0..100 {
            assert!(schedule.after(&gone, u32::MAX) <= s(264));
        }
        schedule.after(&Outcome::Registered(s(60)), 0);
        assert!(schedule.after(&gone, 0) < s(2));
        let refused = Outcome::Refused("403".to_owned(), None);
        assert!(Schedule::new(s(60)).after(&refused, middle) > s(29));
        let later = Outcome::Refused("503".to_owned(), Some(s(100)));
        assert!(Schedule::new(s(60)).after(&later, middle) > s(99));
        let never = Outcome::Refused("503".to_owned(), Some(s(1_000_000)));
        assert!(Schedule::new(s(60)).after(&never, u32::MAX) <= s(264));
    }
}
