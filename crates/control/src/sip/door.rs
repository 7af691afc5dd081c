//! The door that browsers come to with SIP over WebSocket: from anywhere, so each call shows a join token of the room that it
//! wants, or that it knows the password of an account. Guesses are slowed.

use rsipstack::sip::Uri;
use tokio::time::timeout;

use super::credentials::{Age, Nonces, Proof, Shown};
use super::rejection::Rejection;
use super::screen::Wanted;
use crate::auth::{Links, Pass, Personal};
use crate::config::SipCredentials;
use crate::error::Error;
use crate::rooms::Rooms;
use crate::store;

/// Longest wait for the database.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Who may come in by SIP over WebSocket.
#[derive(Debug)]
pub(super) struct Door {
    links: Links,
    accounts: Vec<SipCredentials>,
    nonces: Nonces,
}

impl Door {
    pub(super) fn new(links: Links, accounts: Vec<SipCredentials>) -> Result<Self, Error> {
        Ok(Self { links, accounts, nonces: Nonces::new()? })
    }

    /// Judges what a call brought; the personal token among it, which stands for a PIN.
    ///
    /// # Errors
    /// The answer to whoever is not let in.
    pub(super) async fn judge(&self, rooms: &Rooms, wanted: &Wanted) -> Result<Option<Personal>, Rejection> {
        let Some(values) = &wanted.shown else { return Ok(None) };
        let from = wanted.source.ip();
        self.links.tokens().may_be_strange(from).map_err(rejection)?;
        let shown = values.iter().find_map(|value| Shown::read(value));
        let Some(shown) = shown else { return Err(self.challenge(wanted, false)) };
        let judged = timeout(PATIENCE, async {
            match &shown {
                Shown::Token(token) => self.token(rooms, wanted, token).await,
                Shown::Proof(proof) => self.proof(rooms, wanted, proof).await,
            }
        });
        judged.await.map_err(|_| Rejection::timed_out())?
    }

    fn challenge(&self, wanted: &Wanted, is_stale: bool) -> Rejection {
        let now_s = now_s();
        Rejection::unauthorized(self.nonces.challenges(now_s, wanted.source.ip(), &wanted.call_id, is_stale))
    }

    async fn token(&self, rooms: &Rooms, wanted: &Wanted, token: &str) -> Result<Option<Personal>, Rejection> {
        let Pass { room, personal } = self.links.pass(token, wanted.source.ip()).await.map_err(rejection)?;
        // Whether another room has that number is no business of who holds this one's token.
        if rooms.at_extension(&wanted.extension) == Some(room) { Ok(personal) } else { Err(Rejection::credentials()) }
    }

    async fn proof(&self, rooms: &Rooms, wanted: &Wanted, proof: &Proof) -> Result<Option<Personal>, Rejection> {
        let from = wanted.source.ip();
        match self.nonces.age(&proof.nonce, now_s(), from, &wanted.call_id) {
            Age::Fresh => {}
            Age::Stale => return Err(self.challenge(wanted, true)),
            Age::Strange => return Err(self.challenge(wanted, false)),
        }
        let asks_for = Uri::try_from(proof.uri.as_str()).ok().and_then(|uri| uri.user().map(str::to_owned));
        if asks_for.as_deref() != Some(wanted.extension.as_str()) {
            return Err(Rejection::credentials());
        }
        if let Some(account) = self.accounts.iter().find(|account| account.user == proof.user) {
            return if proof.is_of(&account.password, "INVITE") { Ok(None) } else { Err(self.wrong(wanted)) };
        }
        // Softphones that know names and passwords alone: the token as both, or the room's as the password.
        if proof.is_of(&proof.user, "INVITE") {
            return self.token(rooms, wanted, &proof.user).await;
        }
        let Some(room) = rooms.at_extension(&wanted.extension) else { return Err(self.wrong(wanted)) };
        let token = self.links.token_of(room).await.map_err(rejection)?;
        if proof.is_of(&token, "INVITE") { Ok(None) } else { Err(self.wrong(wanted)) }
    }

    /// Counts a wrong password.
    fn wrong(&self, wanted: &Wanted) -> Rejection {
        match self.links.tokens().stranger(wanted.source.ip(), Error::NotFound("link")) {
            Error::Slowed { retry_after_s, .. } => Rejection::slowed(retry_after_s),
            _ => Rejection::credentials(),
        }
    }
}

fn now_s() -> u64 {
    store::now().as_second().unsigned_abs()
}

/// Why a token opens nothing, in SIP's words.
fn rejection(error: Error) -> Rejection {
    match error {
        Error::Slowed { retry_after_s, .. } => Rejection::slowed(retry_after_s),
        Error::NotFound(_) | Error::Barred { .. } => Rejection::credentials(),
        _ => Rejection::timed_out(),
    }
}
