//! What a room's link opens: its own token, or a personal one. Both ways in, the API's and SIP's, ask here; guesses are slowed as
//! they are for the API's own tokens.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Checked, Claim, MAX_PERSONAL_BYTES, Personal, PersonalTokens, Tokens};
use crate::error::Error;
use crate::ids::Id;
use crate::store::{self, Store};

/// Knows links. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Links {
    store: Store,
    personal: Arc<PersonalTokens>,
    tokens: Tokens,
}

/// What a token lets its bearer do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Where it leads.
    pub room: Id,
    /// Of a personal token, which stands for a PIN; `None`: it is the room's own.
    pub personal: Option<Personal>,
}

impl Links {
    /// With the installation's key.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn open(store: Store, tokens: Tokens) -> Result<Self, Error> {
        let personal = Arc::new(PersonalTokens::open(&store).await?);
        Ok(Self { store, personal, tokens })
    }

    /// The API's tokens, which guesses are counted with.
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What this token opens for somebody from there.
    ///
    /// # Errors
    /// `NotFound` for one that was never made here or was revoked, `Barred` for one whose time is over, `Slowed` after too many
    /// guesses, `Busy` when the database is not there.
    pub async fn pass(&self, token: &str, from: IpAddr) -> Result<Pass, Error> {
        self.tokens.may_be_strange(from)?;
        match self.check(token).await? {
            Checked::Valid(pass) => Ok(pass),
            Checked::Expired => Err(Error::Barred {
                code: "EXPIRED",
                reason: "the personal link has expired".into(),
                retry_after_s: None,
            }),
            Checked::Strange => Err(self.tokens.stranger(from, Error::NotFound("link"))),
        }
    }

    async fn check(&self, token: &str) -> Result<Checked<Pass>, Error> {
        if !(1..=MAX_PERSONAL_BYTES).contains(&token.len()) {
            return Ok(Checked::Strange);
        }
        let Some(claim) = Claim::read(token) else {
            let room = self.store.room_of_token(token).await?;
            return Ok(room.map_or(Checked::Strange, |room| Checked::Valid(Pass { room, personal: None })));
        };
        let room = match self.store.room(claim.room()).await {
            Ok(room) => room,
            Err(Error::NotFound(_)) => return Ok(Checked::Strange),
            Err(error) => return Err(error),
        };
        Ok(match self.personal.check(claim, &room.token, store::now()) {
            Checked::Valid(personal) => Checked::Valid(Pass { room: room.id, personal: Some(personal) }),
            Checked::Expired => Checked::Expired,
            Checked::Strange => Checked::Strange,
        })
    }

    /// Signs a personal token.
    ///
    /// # Errors
    /// `NotFound` when there is no such room.
    pub async fn sign(&self, personal: &Personal) -> Result<String, Error> {
        let room = self.store.room(personal.room).await?;
        Ok(self.personal.sign(personal, &room.token))
    }

    /// The join token of a room, for credentials that prove to know it.
    ///
    /// # Errors
    /// `NotFound` when there is no such room.
    pub async fn token_of(&self, room: Id) -> Result<String, Error> {
        Ok(self.store.room(room).await?.token)
    }
}
