//! Which numbers may be called, over which trunk, how often and how many at once: policy alone. Any task may ask; nothing
//! here waits, reads a clock or knows SIP. `Dialing` is the one door: who holds its `Permit` may call.

mod failure;
mod limits;
mod pattern;
mod plan;
#[cfg(test)]
mod testing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use failure::CallFailure;
pub use limits::{Asker, Limited, Limiter, Limits};
pub use pattern::Pattern;
pub(crate) use plan::host_and_port;
pub use plan::{DialPlan, Direct, Forbidden, Path, Route, TransportChoice, Trunk};

use crate::config::DialingConfig;

/// The plan and what has been used of the limits. Cheap to clone; clones share the limits.
#[derive(Clone, Debug)]
pub struct Dialing {
    plan: Arc<DialPlan>,
    limiter: Arc<Mutex<Limiter>>,
}

impl Dialing {
    /// With these trunks, in the order in which they are tried.
    pub fn new(config: &DialingConfig, trunks: Vec<Arc<Trunk>>) -> Self {
        Self {
            plan: Arc::new(DialPlan::new(config, trunks)),
            limiter: Arc::new(Mutex::new(Limiter::new(config.limits))),
        }
    }

    /// What is allowed at all.
    pub fn plan(&self) -> &DialPlan {
        &self.plan
    }

    /// Leave to call `number` once: the first way that the plan knows and whose trunk has a free line.
    ///
    /// # Errors
    /// One precise reason, which also counts against nobody.
    pub fn permit(&self, number: &str, asker: Asker, now: Instant) -> Result<Permit, Forbidden> {
        let routes = self.plan.routes(number)?;
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let mut full = None;
        for route in routes {
            let line = route.trunk().map(|trunk| (trunk.name.as_str(), trunk.max_calls));
            match limiter.begin(asker, line, now) {
                Ok(()) => {
                    let place = Place { limiter: Arc::clone(&self.limiter), asker, trunk: route.trunk().cloned() };
                    return Ok(Permit { route, _place: place });
                }
                Err(limited @ Limited::Trunk(_)) => full = Some(limited),
                Err(limited) => return Err(Forbidden::Limited(limited)),
            }
        }
        Err(full.map_or(Forbidden::NotServed, Forbidden::Limited))
    }
}

/// Leave to make one call; hold it until the call is over.
#[derive(Debug)]
pub struct Permit {
    /// The way to go.
    pub route: Route,
    _place: Place,
}

/// One counted call; dropping it gives it back.
#[derive(Debug)]
struct Place {
    limiter: Arc<Mutex<Limiter>>,
    asker: Asker,
    trunk: Option<Arc<Trunk>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.end(self.asker, self.trunk.as_ref().map(|trunk| trunk.name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{config, trunk};

    #[test]
    fn a_full_trunk_is_passed_over_and_a_line_comes_back() {
        let mut small = trunk("small", &["X."]);
        small.max_calls = 1;
        let dialing = Dialing::new(&config(&["X."], &[]), vec![Arc::new(small), Arc::new(trunk("large", &[]))]);
        let (asker, now) = (Asker { room: 1, token: Some(2) }, Instant::now());
        let name = |permit: &Permit| permit.route.trunk().unwrap().name.clone();
        let one = dialing.permit("101", asker, now).unwrap();
        let two = dialing.permit("102", asker, now).unwrap();
        assert_eq!((name(&one), name(&two)), ("small".to_owned(), "large".to_owned()));
        drop(one);
        assert_eq!(name(&dialing.permit("103", asker, now).unwrap()), "small");
    }

    #[test]
    fn what_is_forbidden_counts_against_nobody() {
        let mut config = config(&["X."], &["9X."]);
        config.limits.calls_per_minute_room = 1;
        let mut one_line = trunk("t", &[]);
        one_line.max_calls = 1;
        let dialing = Dialing::new(&config, vec![Arc::new(one_line)]);
        let now = Instant::now();
        for _ in 0..3 {
            let asker = Asker { room: 1, token: None };
            assert!(matches!(dialing.permit("900", asker, now), Err(Forbidden::Denied(_))));
        }
        let held = dialing.permit("100", Asker { room: 1, token: None }, now).unwrap();
        let busy = dialing.permit("100", Asker { room: 2, token: None }, now).unwrap_err();
        assert_eq!(busy, Forbidden::Limited(Limited::Trunk("t".to_owned())));
        drop(held);
        assert!(dialing.permit("100", Asker { room: 2, token: None }, now).is_ok(), "the busy trunk cost nothing");
    }
}
