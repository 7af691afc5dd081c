//! Sessions: opened with a password, carried on with a refresh token that is good once, ended by signing out. Of two who show
//! the same refresh token one is a thief, and nobody can tell which: the session ends.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::attempts::{Attempts, LockOut};
use super::password::Passwords;
use super::{Identity, Tokens, digest, make_token};
use crate::config::AuthConfig;
use crate::error::Error;
use crate::store::{self, Change, Role, Session, Spent, Store, TokenKind, UserRecord};

/// After a refresh the access tokens of before work on for this long: requests with them may be on their way.
const OVERLAP: Duration = Duration::from_secs(60);

const WRONG: Error = Error::SignIn("the user name or the password is wrong");
const NO_REFRESH: Error = Error::SignIn("the refresh token is not valid");
const REUSED: Error = Error::SignIn("the refresh token was used before; the session has ended");
const NO_SESSION: &str = "a long-lived API token has no session to end; revoke it with `conclave token revoke`, or take it \
                          out of auth.tokens";

/// What a sign-in or a refresh gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// For requests.
    pub access_token: String,
    /// For the next tokens, once.
    pub refresh_token: String,
    /// How long the access token works.
    pub expires_in: Duration,
    /// Whose.
    pub name: String,
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Granted").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Opens, carries on and ends sessions.
#[derive(Debug)]
pub struct SignIn {
    store: Store,
    tokens: Tokens,
    passwords: Passwords,
    attempts: Attempts,
    access_token_ttl: Duration,
    refresh_token_ttl: Duration,
}

impl SignIn {
    /// Over the store's users; `tokens` is who has to know of ended sessions.
    pub fn new(store: Store, tokens: Tokens, config: &AuthConfig) -> Self {
        Self {
            store,
            tokens,
            passwords: Passwords::new(),
            attempts: Attempts::new(config.sign_in),
            access_token_ttl: config.access_token_ttl,
            refresh_token_ttl: config.refresh_token_ttl,
        }
    }

    /// Opens a session for a name and a password that came from that address.
    ///
    /// # Errors
    /// `SignIn` when they do not belong together, `Slowed` after too many such, `Busy` when it cannot be judged now.
    pub async fn sign_in(&self, name: &str, password: &str, from: IpAddr) -> Result<Granted, Error> {
        let lock_out = self.attempts.begin(name, from, Instant::now()).map_err(|wait| Error::Slowed {
            reason: "too many failed sign-ins",
            retry_after_s: u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX),
        })?;
        let opened = match self.judge(name, password).await {
            Ok(Some(user)) => self.open(&user).await,
            Ok(None) => Err(WRONG),
            Err(error) => Err(error),
        };
        match &opened {
            Ok(_) => self.attempts.succeeded(name, from),
            Err(Error::SignIn(_)) => tell(lock_out, name, from),
            Err(_) => self.attempts.withdraw(name, from),
        }
        opened
    }

    /// The user whose password it is.
    async fn judge(&self, name: &str, password: &str) -> Result<Option<UserRecord>, Error> {
        let user = self.store.user(name).await?;
        let fits = self.passwords.fits(password, user.as_ref().map(|user| user.password_hash.as_str())).await?;
        Ok(user.filter(|_| fits))
    }

    async fn open(&self, user: &UserRecord) -> Result<Granted, Error> {
        let session = Session { id: self.store.ids().next(), user: user.id };
        let mut change = self.store.change().await?;
        // Removed, or given another password, while this one was compared.
        if !change.user_is_unchanged(user).await? {
            return Err(WRONG);
        }
        change.make_place_for_session(user.id).await?;
        let granted = self.grant(&mut change, &user.name, user.role, session).await?;
        change.commit().await?;
        Ok(granted)
    }

    async fn grant(&self, change: &mut Change, name: &str, role: Role, session: Session) -> Result<Granted, Error> {
        let make = |kind, ttl| make_token(&self.store, name, role, kind, Some(session), Some(ttl));
        let (access_token, access) = make(TokenKind::Access, self.access_token_ttl)?;
        let (refresh_token, refresh) = make(TokenKind::Refresh, self.refresh_token_ttl)?;
        change.insert_token(&access).await?;
        change.insert_token(&refresh).await?;
        Ok(Granted { access_token, refresh_token, expires_in: self.access_token_ttl, name: name.to_owned() })
    }

    /// The next tokens of a session.
    ///
    /// # Errors
    /// `SignIn` when the token is unknown, expired or was used before; the last ends the session. `Slowed` after too many
    /// such from one address.
    pub async fn refresh(&self, refresh_token: &str, from: IpAddr) -> Result<Granted, Error> {
        self.tokens.may_be_strange(from)?;
        let digest = digest(refresh_token);
        // What is unknown is not worth a place among the writers.
        let Some(known) = self.store.token(&digest).await? else {
            return Err(self.tokens.stranger(from, NO_REFRESH));
        };
        self.tokens.spend(&Identity::of(&known))?;
        let mut change = self.store.change().await?;
        match change.spend_refresh_token(&digest).await? {
            Spent::Now(token) => {
                let session = token.session.ok_or_else(|| Error::Broken("a refresh token of no session".to_owned()))?;
                let end = store::now().saturating_add(OVERLAP).unwrap_or(jiff::Timestamp::MAX);
                change.rotate_session(session.id, end).await?;
                let granted = self.grant(&mut change, &token.name, token.role, session).await?;
                change.commit().await?;
                Ok(granted)
            }
            Spent::Before(session) => {
                change.end_session(session.id).await?;
                change.commit().await?;
                self.tokens.forget_session(session.id);
                Err(self.tokens.stranger(from, REUSED))
            }
            Spent::Unknown => Err(self.tokens.stranger(from, NO_REFRESH)),
        }
    }

    /// Ends the session that this request belongs to.
    ///
    /// # Errors
    /// `InvalidState` for a long-lived token, which has none.
    pub async fn sign_out(&self, who: &Identity) -> Result<(), Error> {
        let session = who.session.ok_or(Error::InvalidState(NO_SESSION.into()))?;
        self.end(session).await
    }

    /// Ends the session of this token, an access or a refresh token. An unknown one is ended already (RFC 7009 §2.2). Gives
    /// whose it was.
    ///
    /// # Errors
    /// `InvalidState` for a long-lived token, `Slowed` after too many unknown ones from one address.
    pub async fn revoke(&self, token: &str, from: IpAddr) -> Result<Option<String>, Error> {
        self.tokens.may_be_strange(from)?;
        let Some(record) = self.store.token(&digest(token)).await? else {
            return match self.tokens.stranger(from, NO_REFRESH) {
                error @ Error::Slowed { .. } => Err(error),
                _ => Ok(None),
            };
        };
        let session = record.session.ok_or(Error::InvalidState(NO_SESSION.into()))?;
        self.end(session).await?;
        Ok(Some(record.name))
    }

    async fn end(&self, session: Session) -> Result<(), Error> {
        let mut change = self.store.change().await?;
        change.end_session(session.id).await?;
        change.commit().await?;
        self.tokens.forget_session(session.id);
        Ok(())
    }
}

fn tell(lock_out: LockOut, name: &str, from: IpAddr) {
    if let Some(lock_out) = lock_out.user {
        tracing::warn!(target: "audit", who = name, %from, ?lock_out, "too many failed sign-ins: the user is locked out");
    }
    if let Some(lock_out) = lock_out.address {
        tracing::warn!(target: "audit", %from, ?lock_out, "too many failed sign-ins: the address is locked out");
    }
}

#[cfg(test)]
mod tests;
