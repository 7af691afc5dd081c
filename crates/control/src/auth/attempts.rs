//! Attempts to sign in, by user and by address: after so many failures a lock-out, which doubles with each further failure.
//! An attempt counts as failed from its beginning, so that many at once are no way around. Bounded in memory; users that do
//! not exist count like those that do. Time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{digest, whole};
use crate::config::SignInLimits;

/// Users, and addresses, that are remembered at once. Beyond it the older half goes.
const MAX_REMEMBERED: usize = 16_384;

/// Everyone's failures.
#[derive(Debug)]
pub(super) struct Attempts {
    limits: SignInLimits,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    /// By the digest of the name: a name may be long.
    users: HashMap<[u8; 32], Failed>,
    addresses: HashMap<IpAddr, Failed>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    last: Instant,
    locked_until: Option<Instant>,
}

/// Whom an attempt has locked out, should it fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LockOut {
    /// The user, for so long.
    pub(super) user: Option<Duration>,
    /// The address, for so long.
    pub(super) address: Option<Duration>,
}

impl Attempts {
    pub(super) fn new(limits: SignInLimits) -> Self {
        Self { limits, failures: Mutex::default() }
    }

    /// An attempt begins; the error is for how long there may be none.
    pub(super) fn begin(&self, user: &str, address: IpAddr, now: Instant) -> Result<LockOut, Duration> {
        let SignInLimits { attempts, attempts_per_address, .. } = self.limits;
        let (user, address, mut failures) = (digest(user), whole(address), self.failures());
        let wait = failures.users.get(&user).and_then(|failed| failed.locked_for(now));
        let wait = wait.max(failures.addresses.get(&address).and_then(|failed| failed.locked_for(now)));
        if let Some(wait) = wait {
            return Err(wait);
        }
        Ok(LockOut {
            user: self.count(&mut failures.users, user, attempts, now),
            address: self.count(&mut failures.addresses, address, attempts_per_address, now),
        })
    }

    /// The attempt succeeded: the user's failures are forgotten. Not the address's, or one good account would be a way to try
    /// any number of others.
    pub(super) fn succeeded(&self, user: &str, address: IpAddr) {
        let mut failures = self.failures();
        failures.users.remove(&digest(user));
        withdraw(&mut failures.addresses, &whole(address));
    }

    /// The attempt was not judged.
    pub(super) fn withdraw(&self, user: &str, address: IpAddr) {
        let mut failures = self.failures();
        withdraw(&mut failures.users, &digest(user));
        withdraw(&mut failures.addresses, &whole(address));
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count<K: Eq + Hash + Copy>(
        &self,
        all: &mut HashMap<K, Failed>,
        key: K,
        limit: u32,
        now: Instant,
    ) -> Option<Duration> {
        let forget = self.limits.lockout_max * 2;
        let is_old = |failed: &Failed| now.saturating_duration_since(failed.last) > forget;
        if all.len() >= MAX_REMEMBERED && !all.contains_key(&key) {
            all.retain(|_, failed| !is_old(failed));
            forget_older_half(all);
        }
        let fresh = Failed { times: 0, last: now, locked_until: None };
        let failed = all.entry(key).or_insert(fresh);
        if is_old(failed) {
            *failed = fresh;
        }
        failed.times = failed.times.saturating_add(1);
        failed.last = now;
        let further = failed.times.checked_sub(limit)?;
        // 2^16 times the shortest lock-out is 18 hours.
        let lockout = (self.limits.lockout * (1 << further.min(16))).min(self.limits.lockout_max);
        failed.locked_until = Some(now + lockout);
        Some(lockout)
    }
}

impl Failed {
    fn locked_for(&self, now: Instant) -> Option<Duration> {
        self.locked_until.map(|until| until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }
}

/// Whoever is locked out begins no attempt: if there is a lock, it is this attempt's, or of one that came while this one ran
/// and had it counted.
fn withdraw<K: Eq + Hash>(all: &mut HashMap<K, Failed>, key: &K) {
    if let Some(failed) = all.get_mut(key) {
        failed.times = failed.times.saturating_sub(1);
        failed.locked_until = None;
    }
}

fn forget_older_half<K: Eq + Hash>(all: &mut HashMap<K, Failed>) {
    if all.len() < MAX_REMEMBERED {
        return;
    }
    let mut times: Vec<Instant> = all.values().map(|failed| failed.last).collect();
    let middle = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(middle);
    let middle = *middle;
    all.retain(|_, failed| failed.last > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SignInLimits = SignInLimits {
        attempts: 3,
        attempts_per_address: 5,
        lockout: Duration::from_secs(30),
        lockout_max: Duration::from_secs(100),
    };

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn lock_out_grows_and_ends() {
        let (attempts, mut now) = (Attempts::new(LIMITS), Instant::now());
        for _ in 0..2 {
            assert_eq!(attempts.begin("alice", address(1), now), Ok(LockOut::default()));
        }
        for lockout in [30, 60, 100, 100] {
            let begun = attempts.begin("alice", address(u8::try_from(lockout).unwrap()), now).unwrap();
            assert_eq!(begun.user, Some(seconds(lockout)));
            assert_eq!(attempts.begin("alice", address(2), now), Err(seconds(lockout)));
            assert_eq!(attempts.begin("alice", address(2), now + seconds(lockout - 1)), Err(seconds(1)));
            now += seconds(lockout);
        }
        attempts.begin("bob", address(2), now).unwrap();
        // Long after, it begins anew.
        now += seconds(201);
        assert_eq!(attempts.begin("alice", address(2), now), Ok(LockOut::default()));
    }

    #[test]
    fn success_forgets_the_users_failures_and_not_the_addresss() {
        let (attempts, now) = (Attempts::new(LIMITS), Instant::now());
        for _ in 0..4 {
            attempts.begin("alice", address(1), now).unwrap();
            attempts.succeeded("alice", address(1));
        }
        for user in ["a", "b", "c", "d"] {
            attempts.begin(user, address(1), now).unwrap();
        }
        attempts.begin("alice", address(1), now).unwrap();
        attempts.succeeded("alice", address(1));
        assert_eq!(attempts.begin("e", address(1), now).unwrap().address, Some(seconds(30)));
        attempts.begin("alice", address(1), now).unwrap_err();
        attempts.begin("alice", address(2), now).unwrap();
    }

    #[test]
    fn many_attempts_at_once_are_no_more_than_one_after_the_other() {
        let (attempts, now) = (Attempts::new(LIMITS), Instant::now());
        let begun = (0..100).filter(|_| attempts.begin("alice", address(1), now).is_ok()).count();
        assert_eq!(begun, 3);
    }

    #[test]
    fn attempt_that_was_not_judged_does_not_count() {
        let (attempts, now) = (Attempts::new(LIMITS), Instant::now());
        for _ in 0..20 {
            attempts.begin("alice", address(1), now).unwrap();
            attempts.withdraw("alice", address(1));
        }
        for _ in 0..3 {
            attempts.begin("alice", address(1), now).unwrap();
        }
        attempts.withdraw("alice", address(1));
        assert_eq!(attempts.begin("alice", address(1), now).unwrap().user, Some(seconds(30)));
    }

    #[test]
    fn names_without_end_are_no_memory_without_end() {
        let (attempts, start) = (Attempts::new(LIMITS), Instant::now());
        for n in 0..MAX_REMEMBERED as u64 + 1 {
            let bits = u32::try_from(n).unwrap();
            attempts.begin(&n.to_string(), IpAddr::V4(bits.into()), start + Duration::from_micros(n)).unwrap();
        }
        let failures = attempts.failures();
        assert!(failures.users.len() <= MAX_REMEMBERED / 2 + 1 && failures.addresses.len() <= MAX_REMEMBERED / 2 + 1);
        assert!(failures.users.contains_key(&digest(&MAX_REMEMBERED.to_string())));
    }
}
