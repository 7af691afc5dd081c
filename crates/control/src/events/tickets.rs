//! One-time tickets: what a browser shows instead of a token where it cannot set a header. Kept in memory only, as hashes;
//! any thread. Time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::auth::{Identity, random_text};
use crate::error::Error;

/// A ticket that was not shown by then is worth nothing.
const LIFETIME: Duration = Duration::from_secs(60);
/// 256 bits: not to be guessed within any lifetime.
const TICKET_BYTES: usize = 32;
/// Tickets that wait at once, of everyone, and of one token.
const MOST: usize = 4096;
const MOST_OF_ONE: usize = 64;

/// The tickets that were given and not shown yet. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tickets(Arc<Mutex<HashMap<[u8; 32], Given>>>);

#[derive(Debug)]
struct Given {
    to: Identity,
    at: Instant,
}

impl Tickets {
    /// How long a ticket waits.
    pub const LIFETIME: Duration = LIFETIME;

    /// A ticket for this identity; of one token the oldest that wait go when there are too many.
    ///
    /// # Errors
    /// `Busy` when too many wait in all.
    pub fn give(&self, to: Identity, now: Instant) -> Result<String, Error> {
        let text = random_text(TICKET_BYTES)?;
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, given| given.holds_at(now));
        let mut own: Vec<_> =
            given.iter().filter(|(_, given)| given.to.token == to.token).map(|(digest, g)| (g.at, *digest)).collect();
        if own.len() >= MOST_OF_ONE {
            own.sort_unstable();
            let too_many = own.len() + 1 - MOST_OF_ONE;
            for (_, digest) in own.iter().take(too_many) {
                given.remove(digest);
            }
        }
        if given.len() >= MOST {
            return Err(Error::Busy("too many tickets wait to be used".into()));
        }
        given.insert(digest(&text), Given { to, at: now });
        Ok(text)
    }

    /// Whose ticket this is; it is worth nothing afterwards.
    ///
    /// # Errors
    /// `Unauthorized` when it was never given, was shown before, or is too old.
    pub fn redeem(&self, ticket: &str, now: Instant) -> Result<Identity, Error> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = waiting.remove(&digest(ticket)).filter(|given| given.holds_at(now));
        found.map(|given| given.to).ok_or(Error::Unauthorized("the ticket is not valid, was used, or has expired"))
    }
}

impl Given {
    fn holds_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < LIFETIME
    }
}

fn digest(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;
    use crate::store::Role;

    fn identity(token: i64) -> Identity {
        Identity { token: Id::from_raw(token), name: token.to_string(), role: Role::Viewer, session: None }
    }

    #[test]
    fn ticket_is_worth_something_once_and_for_a_minute() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let (one, other) = (tickets.give(identity(1), now).unwrap(), tickets.give(identity(2), now).unwrap());
        let soon = now + LIFETIME - Duration::from_millis(1);
        assert_eq!(tickets.redeem(&one, soon).unwrap(), identity(1));
        for (ticket, when) in [(one.as_str(), soon), (other.as_str(), now + LIFETIME), ("", now)] {
            assert!(matches!(tickets.redeem(ticket, when), Err(Error::Unauthorized(_))), "{ticket}");
        }
        assert!(matches!(tickets.redeem(&other, now), Err(Error::Unauthorized(_))), "shown too late, it is gone");
        assert!(!format!("{tickets:?}").contains(&one));
    }

    #[test]
    fn one_token_cannot_take_the_place_of_the_others() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let other = tickets.give(identity(2), now).unwrap();
        let mut last = String::new();
        let first = tickets.give(identity(1), now).unwrap();
        for later in 1..=(MOST as u64) {
            last = tickets.give(identity(1), now + Duration::from_micros(later)).unwrap();
        }
        assert_eq!(tickets.0.lock().unwrap().len(), MOST_OF_ONE + 1);
        tickets.redeem(&first, now).unwrap_err();
        tickets.redeem(&last, now).unwrap();
        tickets.redeem(&other, now).unwrap();
    }

    #[test]
    fn tickets_are_bounded_and_old_ones_make_room() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        for token in 0..MOST {
            tickets.give(identity(token as i64), now).unwrap();
        }
        assert!(matches!(tickets.give(identity(-1), now), Err(Error::Busy(_))));
        tickets.give(identity(-1), now + LIFETIME).unwrap();
        assert_eq!(tickets.0.lock().unwrap().len(), 1);
    }
}
