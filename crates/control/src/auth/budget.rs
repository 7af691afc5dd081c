//! Token buckets by key: so many a minute, a minute's worth at once at most, refilled evenly. Bounded in memory. Pure: time is
//! an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Keys remembered at once. Beyond it those go that have spent nothing, then all: a spender gains one minute's worth.
const MAX_REMEMBERED: usize = 4096;

/// What each key has left.
#[derive(Debug)]
pub(super) struct Budgets<K> {
    budgets: HashMap<K, Budget>,
}

impl<K> Default for Budgets<K> {
    fn default() -> Self {
        Self { budgets: HashMap::new() }
    }
}

impl<K: Eq + Hash> Budgets<K> {
    /// Takes one off the key's budget; the error is how long to wait for the next one, in seconds.
    pub(super) fn spend(&mut self, key: K, per_minute: u32, now: Instant) -> Result<(), u32> {
        if self.budgets.len() >= MAX_REMEMBERED && !self.budgets.contains_key(&key) {
            self.budgets.retain(|_, budget| {
                budget.refill(per_minute, now);
                budget.left < f64::from(per_minute)
            });
            if self.budgets.len() >= MAX_REMEMBERED {
                self.budgets.clear();
            }
        }
        self.budgets.entry(key).or_insert_with(|| Budget::full(per_minute, now)).spend(per_minute, now)
    }

    /// Whether the key could spend now; the error is as `spend`'s.
    pub(super) fn check(&mut self, key: &K, per_minute: u32, now: Instant) -> Result<(), u32> {
        match self.budgets.get_mut(key) {
            Some(budget) => {
                budget.refill(per_minute, now);
                budget.check(per_minute)
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Budget {
    left: f64,
    per_minute: u32,
    at: Instant,
}

impl Budget {
    fn full(per_minute: u32, now: Instant) -> Self {
        Self { left: f64::from(per_minute), per_minute, at: now }
    }

    fn refill(&mut self, per_minute: u32, now: Instant) {
        // A limit that was raised holds at once, not after a minute of the old one.
        self.left += f64::from(per_minute.saturating_sub(self.per_minute));
        self.per_minute = per_minute;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * per_second(per_minute);
        self.left = (self.left + earned).min(f64::from(per_minute));
        self.at = now;
    }

    fn check(&self, per_minute: u32) -> Result<(), u32> {
        if self.left >= 1.0 {
            return Ok(());
        }
        Err(((1.0 - self.left) / per_second(per_minute)).ceil().clamp(1.0, 60.0) as u32)
    }

    fn spend(&mut self, per_minute: u32, now: Instant) -> Result<(), u32> {
        self.refill(per_minute, now);
        self.check(per_minute)?;
        self.left -= 1.0;
        Ok(())
    }
}

fn per_second(per_minute: u32) -> f64 {
    f64::from(per_minute.max(1)) / 60.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn budget_is_a_minute_and_comes_back_evenly() {
        let start = Instant::now();
        let mut budgets = Budgets::default();
        for _ in 0..60 {
            budgets.spend("a", 60, start).unwrap();
        }
        assert_eq!(budgets.spend("a", 60, start), Err(1));
        assert_eq!(budgets.check(&"a", 60, start), Err(1));
        budgets.spend("b", 60, start).unwrap();
        budgets.spend("a", 60, start + Duration::from_secs(1)).unwrap();
        assert!(budgets.spend("a", 60, start + Duration::from_secs(1)).is_err());
        let hour = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| budgets.spend("a", 60, hour).is_ok()).count(), 60);
    }

    #[test]
    fn raised_limit_holds_at_once() {
        let now = Instant::now();
        let mut budgets = Budgets::default();
        budgets.spend(1, 1, now).unwrap();
        budgets.spend(1, 1, now).unwrap_err();
        assert_eq!((0..100).filter(|_| budgets.spend(1, 60, now).is_ok()).count(), 59);
    }

    #[test]
    fn many_keys_are_no_more_memory_and_spenders_stay_known() {
        let start = Instant::now();
        let mut budgets = Budgets::default();
        let later = start + Duration::from_secs(60);
        for key in 1..MAX_REMEMBERED {
            budgets.spend(key, 1, start).unwrap();
        }
        budgets.spend(0, 1, later).unwrap();
        for key in 0..MAX_REMEMBERED {
            let _ = budgets.spend(key + MAX_REMEMBERED, 1, later);
            assert!(budgets.budgets.len() <= MAX_REMEMBERED);
        }
        assert!(budgets.budgets.len() < MAX_REMEMBERED);
    }
}
