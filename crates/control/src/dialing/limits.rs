//! How often and how many at once: calls in a minute and calls at the same time, for each room, each token and each trunk.
//! Pure; time is an argument. Bounded: a table holds only who has a call or made one in the last minute.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Rooms, and tokens, that are remembered at once; with more of them new ones have to wait.
const MAX_KNOWN: usize = 4096;
/// The time that rates are counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// What one room and one token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls that a room may begin in a minute.
    pub calls_per_minute_room: u32,
    /// Calls that a token may begin in a minute.
    pub calls_per_minute_token: u32,
    /// Calls that a room may have at once, ringing or answered.
    pub concurrent_room: u32,
    /// Calls that a token may have at once.
    pub concurrent_token: u32,
}

/// Who wants to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The room that the callee is to join.
    pub room: i64,
    /// The token that asks; `None` when it is somebody in the room, by keys.
    pub token: Option<i64>,
}

/// Which limit is in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limited {
    /// `calls_per_minute_room`
    #[error("the room begins too many calls in a minute (more than {0})")]
    RoomRate(u32),
    /// `calls_per_minute_token`
    #[error("the token begins too many calls in a minute (more than {0})")]
    TokenRate(u32),
    /// `concurrent_room`
    #[error("the room has too many calls at once ({0})")]
    RoomCalls(u32),
    /// `concurrent_token`
    #[error("the token has too many calls at once ({0})")]
    TokenCalls(u32),
    /// The trunk's `max_calls`.
    #[error("all lines of trunk {0} are in use")]
    Trunk(String),
    /// Too many different rooms or tokens call.
    #[error("too many rooms are calling")]
    Crowded,
}

/// What one room or token has used.
#[derive(Debug, Default)]
struct Used {
    /// Begun in the last minute, the oldest first; no longer than the rate, as more are refused.
    begun: VecDeque<Instant>,
    now: u32,
}

impl Used {
    fn forget(&mut self, now: Instant) {
        while self.begun.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
            self.begun.pop_front();
        }
    }

    fn is_idle(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.now == 0 && self.begun.is_empty()
    }
}

/// What everybody has used.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    rooms: HashMap<i64, Used>,
    tokens: HashMap<i64, Used>,
    /// By name; as many as are configured.
    trunks: HashMap<String, u32>,
}

impl Limiter {
    /// Nothing is used yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, rooms: HashMap::new(), tokens: HashMap::new(), trunks: HashMap::new() }
    }

    /// One more call of `asker`, over this trunk with so many lines. `end` must follow.
    ///
    /// # Errors
    /// With the limit that is reached; nothing is counted then.
    pub fn begin(&mut self, asker: Asker, trunk: Option<(&str, u32)>, now: Instant) -> Result<(), Limited> {
        let Limits { calls_per_minute_room, calls_per_minute_token, concurrent_room, concurrent_token } = self.limits;
        let (rate, calls) = probe(&mut self.rooms, asker.room, now)?;
        if calls >= concurrent_room as usize {
            return Err(Limited::RoomCalls(concurrent_room));
        }
        if rate >= calls_per_minute_room as usize {
            return Err(Limited::RoomRate(calls_per_minute_room));
        }
        if let Some(token) = asker.token {
            let (rate, calls) = probe(&mut self.tokens, token, now)?;
            if calls >= concurrent_token as usize {
                return Err(Limited::TokenCalls(concurrent_token));
            }
            if rate >= calls_per_minute_token as usize {
                return Err(Limited::TokenRate(calls_per_minute_token));
            }
        }
        if let Some((name, lines)) = trunk {
            let used = self.trunks.entry(name.to_owned()).or_default();
            if *used >= lines {
                return Err(Limited::Trunk(name.to_owned()));
            }
            *used += 1;
        }
        let token = asker.token.map(|token| self.tokens.entry(token).or_default());
        for used in [Some(self.rooms.entry(asker.room).or_default()), token].into_iter().flatten() {
            used.begun.push_back(now);
            used.now += 1;
        }
        Ok(())
    }

    /// A call that `begin` counted is over.
    pub fn end(&mut self, asker: Asker, trunk: Option<&str>) {
        let token = asker.token.and_then(|token| self.tokens.get_mut(&token));
        for used in [self.rooms.get_mut(&asker.room), token].into_iter().flatten() {
            used.now = used.now.saturating_sub(1);
        }
        if let Some(used) = trunk.and_then(|name| self.trunks.get_mut(name)) {
            *used = used.saturating_sub(1);
        }
    }
}

/// Begun in the last minute, and going on now.
fn probe(table: &mut HashMap<i64, Used>, key: i64, now: Instant) -> Result<(usize, usize), Limited> {
    if let Some(used) = table.get_mut(&key) {
        used.forget(now);
        return Ok((used.begun.len(), used.now as usize));
    }
    if table.len() >= MAX_KNOWN {
        table.retain(|_, used| !used.is_idle(now));
    }
    if table.len() >= MAX_KNOWN { Err(Limited::Crowded) } else { Ok((0, 0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(room_rate: u32, token_rate: u32, room: u32, token: u32) -> Limiter {
        Limiter::new(Limits {
            calls_per_minute_room: room_rate,
            calls_per_minute_token: token_rate,
            concurrent_room: room,
            concurrent_token: token,
        })
    }

    fn asker(room: i64, token: i64) -> Asker {
        Asker { room, token: Some(token) }
    }

    #[test]
    fn rates_are_of_any_minute_and_not_of_the_clocks() {
        let mut limiter = limiter(2, 3, 99, 99);
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(limiter.begin(asker(1, 7), None, at(0)), Ok(()));
        assert_eq!(limiter.begin(asker(1, 7), None, at(50)), Ok(()));
        assert_eq!(limiter.begin(asker(1, 7), None, at(59)), Err(Limited::RoomRate(2)));
        assert_eq!(limiter.begin(asker(2, 7), None, at(59)), Ok(()));
        assert_eq!(limiter.begin(asker(3, 7), None, at(59)), Err(Limited::TokenRate(3)));
        assert_eq!(limiter.begin(asker(3, 8), None, at(59)), Ok(()));
        assert_eq!(limiter.begin(asker(1, 7), None, at(60)), Ok(()));
        assert_eq!(limiter.begin(asker(1, 9), None, at(61)), Err(Limited::RoomRate(2)));
    }

    #[test]
    fn calls_at_once_are_given_back_and_a_refusal_counts_nothing() {
        let mut limiter = limiter(99, 99, 2, 3);
        let now = Instant::now();
        for _ in 0..2 {
            limiter.begin(asker(1, 7), Some(("t", 3)), now).unwrap();
        }
        for _ in 0..5 {
            assert_eq!(limiter.begin(asker(1, 7), Some(("t", 3)), now), Err(Limited::RoomCalls(2)));
        }
        limiter.begin(asker(2, 7), Some(("t", 3)), now).unwrap();
        assert_eq!(limiter.begin(asker(3, 7), None, now), Err(Limited::TokenCalls(3)));
        assert_eq!(limiter.begin(asker(3, 8), Some(("t", 3)), now), Err(Limited::Trunk("t".to_owned())));
        limiter.end(asker(1, 7), Some("t"));
        limiter.begin(asker(3, 8), Some(("t", 3)), now).unwrap();
        limiter.begin(asker(1, 7), None, now).unwrap();
    }

    #[test]
    fn somebody_in_the_room_has_no_token_and_only_the_rooms_limits() {
        let mut limiter = limiter(99, 0, 1, 0);
        let now = Instant::now();
        limiter.begin(Asker { room: 1, token: None }, None, now).unwrap();
        assert_eq!(limiter.begin(Asker { room: 1, token: None }, None, now), Err(Limited::RoomCalls(1)));
    }

    #[test]
    fn the_table_stays_bounded_and_the_idle_make_room() {
        let mut limiter = limiter(1, 1, 1, 1);
        let now = Instant::now();
        for room in 0..MAX_KNOWN as i64 {
            limiter.begin(Asker { room, token: None }, None, now).unwrap();
        }
        let one_more = Asker { room: -1, token: None };
        assert_eq!(limiter.begin(one_more, None, now), Err(Limited::Crowded));
        limiter.end(Asker { room: 3, token: None }, None);
        assert_eq!(limiter.begin(one_more, None, now), Err(Limited::Crowded), "its minute is not over");
        assert_eq!(limiter.begin(one_more, None, now + MINUTE), Ok(()));
        assert_eq!(limiter.rooms.len(), MAX_KNOWN);
    }
}
