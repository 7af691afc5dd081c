//! The check on every request's path: whose token this is, and whether it may ask again so soon. A token that the database
//! knew less than a second ago holds without another question; so a revocation by another process holds within a second, and
//! one through this process at once. While the database is away, what it knew lately holds for some minutes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::budget::Budgets;
use super::{digest, whole};
use crate::config::Live;
use crate::error::Error;
use crate::ids::Id;
use crate::store::{Role, Session, Store, TokenKind, TokenRecord};

/// A token that the database knew this recently holds without asking it.
const FRESH: Duration = Duration::from_secs(1);
/// While the database is away, tokens that it knew this recently still hold.
const REMEMBER: Duration = Duration::from_secs(300);
/// Tokens remembered at once; beyond it the stale ones go, then all.
const MAX_REMEMBERED: usize = 4096;
/// Whatever is shorter can be guessed, whatever is longer is none; ours have 47 characters, the configuration's are its own.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;
/// Log lines about one address that shows wrong tokens.
const SAID_PER_MINUTE: u32 = 1;

const UNKNOWN: Error = Error::Unauthorized("the token is not valid");

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's id.
    pub token: Id,
    /// The token's name, or the user's.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The session, when a sign-in opened one.
    pub session: Option<Session>,
}

impl Identity {
    pub(super) fn of(token: &TokenRecord) -> Self {
        Self { token: token.id, name: token.name.clone(), role: token.role, session: token.session }
    }
}

/// Knows tokens and their budgets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    store: Store,
    live: Live,
    failures_per_minute: u32,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    seen: HashMap<[u8; 32], Seen>,
    /// Grows when something is forgotten: what was read before that is not remembered after it.
    forgotten: u64,
    /// By session, where there is one: new tokens are no new budget.
    budgets: Budgets<Id>,
    /// Requests without a valid token.
    failures: Budgets<IpAddr>,
    said: Budgets<IpAddr>,
}

#[derive(Clone, Debug)]
struct Seen {
    record: Arc<TokenRecord>,
    at: Instant,
}

impl Memory {
    fn seen_within(&self, digest: &[u8; 32], age: Duration) -> Option<Arc<TokenRecord>> {
        self.seen.get(digest).filter(|seen| seen.at.elapsed() < age).map(|seen| Arc::clone(&seen.record))
    }

    fn remember(&mut self, record: &Arc<TokenRecord>) {
        if self.seen.len() >= MAX_REMEMBERED {
            self.seen.retain(|_, seen| seen.at.elapsed() < REMEMBER);
        }
        if self.seen.len() >= MAX_REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(record.digest, Seen { record: Arc::clone(record), at: Instant::now() });
    }
}

impl Tokens {
    /// Over the store's tokens; the budget of a token is the live setting, that of an address without one is given.
    pub fn new(store: Store, live: Live, failures_per_minute: u32) -> Self {
        Self { store, live, failures_per_minute, memory: Arc::default() }
    }

    /// Who this token, shown from that address, belongs to.
    ///
    /// # Errors
    /// `Unauthorized` when it is unknown, expired or revoked, `Slowed` when the address showed too many such.
    pub async fn identify(&self, text: &str, from: IpAddr) -> Result<Identity, Error> {
        // What cannot be one is not worth a question to the database.
        if !LENGTHS.contains(&text.len()) {
            return Err(self.stranger(from, UNKNOWN));
        }
        let digest = digest(text);
        let record = match self.look_up(&digest, from).await {
            Err(error @ Error::Unauthorized(_)) => return Err(self.stranger(from, error)),
            found => found?,
        };
        let is_bearer = record.kind != TokenKind::Refresh && record.revoked_at.is_none();
        if !bool::from(record.digest.ct_eq(&digest)) || !is_bearer {
            return Err(self.stranger(from, UNKNOWN));
        }
        if !record.holds_at(Timestamp::now()) {
            return Err(self.stranger(from, Error::Unauthorized("the token has expired")));
        }
        Ok(Identity::of(&record))
    }

    async fn look_up(&self, digest: &[u8; 32], from: IpAddr) -> Result<Arc<TokenRecord>, Error> {
        let (lately, forgotten) = {
            let mut memory = self.memory();
            if let Some(record) = memory.seen_within(digest, FRESH) {
                return Ok(record);
            }
            let lately = memory.seen_within(digest, REMEMBER);
            // Whoever was here lately does not suffer from a neighbour behind the same address.
            if lately.is_none() {
                self.check(&mut memory, from)?;
            }
            (lately, memory.forgotten)
        };
        match self.store.token(digest).await {
            Ok(Some(record)) => {
                let record = Arc::new(record);
                let mut memory = self.memory();
                if memory.forgotten == forgotten {
                    memory.remember(&record);
                }
                Ok(record)
            }
            Ok(None) => {
                self.memory().seen.remove(digest);
                Err(UNKNOWN)
            }
            Err(error) => lately.ok_or(error),
        }
    }

    /// Counts a request without a valid token; gives what it is refused with.
    pub fn stranger(&self, from: IpAddr, error: Error) -> Error {
        let now = Instant::now();
        let mut memory = self.memory();
        let Err(retry_after_s) = memory.failures.spend(whole(from), self.failures_per_minute, now) else {
            return error;
        };
        if memory.said.spend(whole(from), SAID_PER_MINUTE, now).is_ok() {
            tracing::info!(target: "audit", %from, "too many requests without a valid token: slowed");
        }
        slowed(retry_after_s)
    }

    /// Whether that address may still show what may be wrong.
    ///
    /// # Errors
    /// `Slowed`.
    pub fn may_be_strange(&self, from: IpAddr) -> Result<(), Error> {
        self.check(&mut self.memory(), from)
    }

    fn check(&self, memory: &mut Memory, from: IpAddr) -> Result<(), Error> {
        memory.failures.check(&whole(from), self.failures_per_minute, Instant::now()).map_err(slowed)
    }

    /// Whether whoever was let in before may stay: for what goes on for longer than a request. A session goes on over its
    /// refreshes.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn still_holds(&self, who: &Identity) -> Result<bool, Error> {
        self.store.token_holds(who.token, who.session).await
    }

    /// Takes one request off the budget.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn spend(&self, who: &Identity) -> Result<(), Error> {
        let per_minute = self.live.limits().requests_per_minute;
        let spender = who.session.map_or(who.token, |session| session.id);
        self.memory()
            .budgets
            .spend(spender, per_minute, Instant::now())
            .map_err(|retry_after_s| Error::RateLimited { per_minute, retry_after_s })
    }

    /// A session has ended: its tokens open nothing from now on.
    pub fn forget_session(&self, session: Id) {
        let mut memory = self.memory();
        memory.forgotten += 1;
        memory.seen.retain(|_, seen| seen.record.session.is_none_or(|of| of.id != session));
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if the last look into the database were so long ago.
    #[cfg(test)]
    pub(crate) fn age(&self, by: Duration) {
        for seen in self.memory().seen.values_mut() {
            seen.at = seen.at.checked_sub(by).unwrap();
        }
    }
}

fn slowed(retry_after_s: u32) -> Error {
    Error::Slowed { reason: "too many requests without a valid token from this address", retry_after_s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::new_token;
    use crate::config::Limits;
    use crate::store;
    use crate::store::testing;
    use crate::store::testing::change;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn tokens(store: &Store) -> Tokens {
        let limits = Limits {
            allow: Vec::new(),
            invites_per_source_per_second: 1,
            max_calls_in_setup: 1,
            requests_per_minute: 2,
            grace: Duration::ZERO,
        };
        Tokens::new(store.clone(), Live::new(limits), 10)
    }

    #[tokio::test]
    async fn token_is_known_by_its_text_and_stored_as_a_digest() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "portal", Role::Operator, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = tokens(&store);
        let who = tokens.identify(&text, HERE).await.unwrap();
        assert_eq!(who, Identity { token: record.id, name: "portal".into(), role: Role::Operator, session: None });
        assert!(text.len() > 40 && !format!("{:?}", store.tokens().await.unwrap()).contains(&text));
        for wrong in ["", "cnv_", &text[..text.len() - 1], &text.to_uppercase(), &"cnv_".repeat(1000)] {
            assert!(matches!(tokens.identify(wrong, HERE).await, Err(Error::Unauthorized(_))), "{wrong}");
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
        let tokens = tokens(&store);
        let refused = tokens.identify(&expired, HERE).await.unwrap_err();
        assert_eq!(refused, Error::Unauthorized("the token has expired"));
        assert_eq!(tokens.identify(&revoked, HERE).await.unwrap_err(), UNKNOWN);
    }

    #[tokio::test]
    async fn revocation_by_another_process_holds_within_a_second() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "lost", Role::Admin, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = tokens(&store);
        tokens.identify(&text, HERE).await.unwrap();
        change!(store, revoke_token(record.id)).unwrap();
        tokens.age(FRESH);
        assert_eq!(tokens.identify(&text, HERE).await, Err(UNKNOWN));
    }

    #[tokio::test]
    async fn token_that_was_just_seen_needs_no_database() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "portal", Role::Viewer, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = tokens(&store);
        tokens.identify(&text, HERE).await.unwrap();
        // However slow the machine is, it was just now.
        tokens.memory().seen.get_mut(&record.digest).unwrap().at = Instant::now() + REMEMBER;
        change!(store, revoke_token(record.id)).unwrap();
        tokens.identify(&text, HERE).await.unwrap();
    }

    #[tokio::test]
    async fn lost_database_does_not_lock_out_who_was_just_here() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "portal", Role::Viewer, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = tokens(&store);
        tokens.identify(&text, HERE).await.unwrap();
        store.close().await;
        tokens.age(FRESH);
        tokens.identify(&text, HERE).await.unwrap();
        let (other, _) = new_token(&store, "other", Role::Viewer, None).unwrap();
        assert!(matches!(tokens.identify(&other, HERE).await, Err(Error::Busy(_))));
        tokens.age(REMEMBER);
        assert!(matches!(tokens.identify(&text, HERE).await, Err(Error::Busy(_))));
    }

    #[tokio::test]
    async fn guessing_is_slow_and_no_harm_to_who_has_a_token() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "portal", Role::Viewer, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let (late, record) = new_token(&store, "late", Role::Viewer, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = tokens(&store);
        tokens.identify(&text, HERE).await.unwrap();
        for guess in 0..10 {
            let guess = format!("cnv_a-long-guess-{guess}");
            assert_eq!(tokens.identify(&guess, HERE).await, Err(UNKNOWN));
        }
        for refused in ["cnv_a-long-guess", "short", &late] {
            let refused = tokens.identify(refused, HERE).await;
            assert!(matches!(refused, Err(Error::Slowed { retry_after_s: 1..=6, .. })), "{refused:?}");
        }
        tokens.age(FRESH);
        tokens.identify(&text, HERE).await.unwrap();
        tokens.identify(&late, IpAddr::from([192, 0, 2, 1])).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_read_before_a_session_ended_is_not_remembered_after_it() {
        let (_dir, store) = testing::store().await;
        let (text, record) = new_token(&store, "portal", Role::Viewer, None).unwrap();
        change!(store, insert_token(&record)).unwrap();
        let tokens = tokens(&store);
        let all_readers = store.hold_readers().await;
        let asking = {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.identify(&text, HERE).await })
        };
        tokio::task::yield_now().await;
        tokens.forget_session(Id::from_raw(1));
        drop(all_readers);
        asking.await.unwrap().unwrap();
        assert!(tokens.memory().seen.is_empty());
    }

    #[tokio::test]
    async fn session_has_one_budget_whatever_its_tokens() {
        let (_dir, store) = testing::store().await;
        let tokens = tokens(&store);
        let session = Some(Session { id: Id::from_raw(1), user: Id::from_raw(2) });
        let who = |token| Identity { token: Id::from_raw(token), name: "alice".into(), role: Role::Admin, session };
        tokens.spend(&who(10)).unwrap();
        tokens.spend(&who(11)).unwrap();
        assert_eq!(tokens.spend(&who(12)), Err(Error::RateLimited { per_minute: 2, retry_after_s: 30 }));
        tokens.spend(&Identity { session: None, ..who(12) }).unwrap();
    }
}
