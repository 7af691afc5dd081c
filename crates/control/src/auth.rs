//! Who is asking: bearer tokens, known by their digests, with roles and a request budget each. Called by the API for each
//! request; knows the store and no HTTP. A token's text exists in the hands of its owner only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Live;
use crate::error::Error;
use crate::ids::Id;
use crate::store::{self, Role, Store, TokenRecord};

/// What tokens begin with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "cnv_";
/// 256 bits: not to be guessed, so a plain digest of it is as good as a slow one.
const SECRET_BYTES: usize = 32;
/// While the database is away, tokens that were seen this recently still hold.
const REMEMBER: Duration = Duration::from_secs(300);
/// Tokens remembered at once; beyond it the stale ones go, then all.
const MAX_REMEMBERED: usize = 4096;

const UNKNOWN: Error = Error::Unauthorized("the token is not valid");

/// Random bytes in base64url: letters, digits, `-` and `_`.
///
/// # Errors
/// `Broken` when the system has no randomness.
pub fn random_text(bytes: usize) -> Result<String, Error> {
    let mut secret = vec![0; bytes];
    getrandom::fill(&mut secret).map_err(|e| Error::Broken(format!("no randomness: {e}")))?;
    Ok(URL_SAFE_NO_PAD.encode(secret))
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Makes a token: its text, and what is kept of it.
///
/// # Errors
/// `Invalid` for a name that is empty, longer than 64 characters or has control characters.
pub fn new_token(store: &Store, name: &str, role: Role, ttl: Option<Duration>) -> Result<(String, TokenRecord), Error> {
    if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Error::invalid("name", "the name must have 1 to 64 printable characters"));
    }
    let text = format!("{PREFIX}{}", random_text(SECRET_BYTES)?);
    let created_at = store::now();
    let record = TokenRecord {
        id: store.ids().next(),
        name: name.to_owned(),
        role,
        digest: digest(&text),
        created_at,
        expires_at: ttl.map(|ttl| created_at.saturating_add(ttl).unwrap_or(Timestamp::MAX)),
        revoked_at: None,
    };
    Ok((text, record))
}

/// The admin token of the first start; `None` at every other.
///
/// # Errors
/// `Busy` when the database cannot be written.
pub async fn first_token(store: &Store) -> Result<Option<String>, Error> {
    let (text, record) = new_token(store, "first start", Role::Admin, None)?;
    let mut change = store.change().await?;
    let is_first = change.insert_first_token(&record).await?;
    change.commit().await?;
    Ok(is_first.then_some(text))
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's id.
    pub token: Id,
    /// The token's name.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// Knows tokens and their budgets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    store: Store,
    live: Live,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    seen: HashMap<[u8; 32], Seen>,
    budgets: HashMap<Id, Budget>,
}

#[derive(Clone, Debug)]
struct Seen {
    record: Arc<TokenRecord>,
    at: Instant,
}

impl Tokens {
    /// Over the store's tokens; the budget is the live setting.
    pub fn new(store: Store, live: Live) -> Self {
        Self { store, live, memory: Arc::default() }
    }

    /// Who this token belongs to.
    ///
    /// # Errors
    /// `Unauthorized` when it is unknown, expired or revoked.
    pub async fn identify(&self, text: &str) -> Result<Identity, Error> {
        // What cannot be ours is not worth a question to the database.
        if !text.starts_with(PREFIX) || text.len() > 128 {
            return Err(UNKNOWN);
        }
        let digest = digest(text);
        // Asked each time: another process may have revoked it a moment ago.
        let record = match self.store.token(&digest).await {
            Ok(Some(record)) => self.remember(record),
            Ok(None) => return Err(UNKNOWN),
            Err(error) => self.remembered(&digest).ok_or(error)?,
        };
        if !bool::from(record.digest.ct_eq(&digest)) || record.revoked_at.is_some() {
            return Err(UNKNOWN);
        }
        if !record.holds_at(Timestamp::now()) {
            return Err(Error::Unauthorized("the token has expired"));
        }
        Ok(Identity { token: record.id, name: record.name.clone(), role: record.role })
    }

    /// Takes one request off the token's budget.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn spend(&self, token: Id) -> Result<(), Error> {
        let per_minute = self.live.limits().requests_per_minute;
        let now = Instant::now();
        let mut memory = self.memory();
        if memory.budgets.len() >= MAX_REMEMBERED {
            memory.budgets.clear();
        }
        let budget = memory.budgets.entry(token).or_insert_with(|| Budget::full(per_minute, now));
        budget.spend(per_minute, now)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<Arc<TokenRecord>> {
        self.memory().seen.get(digest).filter(|seen| seen.at.elapsed() < REMEMBER).map(|seen| Arc::clone(&seen.record))
    }

    fn remember(&self, record: TokenRecord) -> Arc<TokenRecord> {
        let record = Arc::new(record);
        let seen = Seen { record: Arc::clone(&record), at: Instant::now() };
        let mut memory = self.memory();
        if memory.seen.len() >= MAX_REMEMBERED {
            memory.seen.retain(|_, seen| seen.at.elapsed() < REMEMBER);
        }
        if memory.seen.len() >= MAX_REMEMBERED {
            memory.seen.clear();
        }
        memory.seen.insert(record.digest, seen);
        record
    }
}

/// A token bucket: a minute's worth at most, refilled evenly.
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

    fn spend(&mut self, per_minute: u32, now: Instant) -> Result<(), Error> {
        // A limit that was raised holds at once, not after a minute of the old one.
        self.left += f64::from(per_minute.saturating_sub(self.per_minute));
        self.per_minute = per_minute;
        let per_second = f64::from(per_minute.max(1)) / 60.0;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        self.left = (self.left + earned).min(f64::from(per_minute));
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        let wait_s = ((1.0 - self.left) / per_second).ceil().clamp(1.0, 60.0);
        Err(Error::RateLimited { per_minute, retry_after_s: wait_s as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::store::testing;
    use crate::store::testing::change;

    fn live(requests_per_minute: u32) -> Live {
        Live::new(Limits {
            allow: Vec::new(),
            invites_per_source_per_second: 1,
            max_calls_in_setup: 1,
            requests_per_minute,
            grace: Duration::ZERO,
        })
    }

    #[tokio::test]
    async fn token_is_known_by_its_text_and_stored_as_a_digest() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "portal", Role::Operator, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = Tokens::new(store.clone(), live(10));
        let who = tokens.identify(&text).await.unwrap();
        assert_eq!(who, Identity { token: record.id, name: "portal".into(), role: Role::Operator });
        assert!(text.len() > 40 && !format!("{:?}", store.tokens().await.unwrap()).contains(&text));
        for wrong in ["", "cnv_", &text[..text.len() - 1], &text.to_uppercase(), &"cnv_".repeat(1000)] {
            assert!(matches!(tokens.identify(wrong).await, Err(Error::Unauthorized(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn expired_and_revoked_tokens_open_nothing() {
        let (_dir, store) = testing::store().await;
        let (expired, mut record) = new_token(&store, "old", Role::Admin, Some(Duration::from_secs(5))).unwrap();
        record.expires_at = Some(store::now());
        change!(store, insert_token(&record)).unwrap();
        let (revoked, record) = new_token(&store, "lost", Role::Admin, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        change!(store, revoke_token(record.id)).unwrap();
        let tokens = Tokens::new(store, live(10));
        assert_eq!(tokens.identify(&expired).await.unwrap_err(), Error::Unauthorized("the token has expired"));
        assert_eq!(tokens.identify(&revoked).await.unwrap_err(), UNKNOWN);
    }

    #[tokio::test]
    async fn lost_database_does_not_lock_out_who_was_just_here() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "portal", Role::Viewer, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = Tokens::new(store.clone(), live(10));
        tokens.identify(&text).await.unwrap();
        store.close().await;
        tokens.identify(&text).await.unwrap();
        let (other, _) = new_token(&store, "other", Role::Viewer, None).unwrap();
        assert!(matches!(tokens.identify(&other).await, Err(Error::Busy(_))));
        let long_ago = Instant::now().checked_sub(REMEMBER).unwrap();
        tokens.memory().seen.get_mut(&record.digest).unwrap().at = long_ago;
        assert!(matches!(tokens.identify(&text).await, Err(Error::Busy(_))));
    }

    #[tokio::test]
    async fn first_token_is_made_once_even_after_it_was_revoked() {
        let (_dir, store) = testing::store().await;
        let first = first_token(&store).await.unwrap().unwrap();
        assert_eq!(first_token(&store).await.unwrap(), None);
        let record = store.tokens().await.unwrap().remove(0);
        assert_eq!((record.role, record.digest), (Role::Admin, digest(&first)));
        change!(store, revoke_token(record.id)).unwrap();
        assert_eq!(first_token(&store).await.unwrap(), None);
    }

    #[test]
    fn budget_is_a_minute_and_comes_back_evenly() {
        let start = Instant::now();
        let mut budget = Budget::full(60, start);
        for _ in 0..60 {
            budget.spend(60, start).unwrap();
        }
        assert_eq!(budget.spend(60, start).unwrap_err(), Error::RateLimited { per_minute: 60, retry_after_s: 1 });
        budget.spend(60, start + Duration::from_secs(1)).unwrap();
        assert!(budget.spend(60, start + Duration::from_secs(1)).is_err());
        let hour = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| budget.spend(60, hour).is_ok()).count(), 60);
    }

    #[tokio::test]
    async fn name_that_would_break_a_line_is_refused() {
        let (_dir, store) = testing::store().await;
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert!(matches!(new_token(&store, name, Role::Admin, None), Err(Error::Invalid(_))), "{name:?}");
        }
    }
}
