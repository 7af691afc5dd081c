//! Who is asking: bearer tokens, known by their digests, with roles and a request budget each; and users, who get tokens for
//! their password. Called by the API for each request; knows the store and no HTTP. A token's or password's text exists in
//! the hands of its owner only.

mod attempts;
mod budget;
mod configured;
mod keeper;
mod links;
mod password;
mod personal;
mod sign_in;
mod tokens;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::store::{self, Role, Session, Source, Store, TokenKind, TokenRecord};

pub use configured::keep_in_step;
pub use keeper::keep_house;
pub use links::{Links, Pass};
pub use password::{check_strength, is_password_hash, password_hash};
use personal::{Checked, Claim, MAX_PERSONAL_BYTES, PersonalTokens};
pub use personal::{JoinRole, Personal};
pub use sign_in::{Granted, SignIn};
pub use tokens::{Identity, Tokens};

/// What tokens begin with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "cnv_";
/// 256 bits: not to be guessed, so a plain digest of it is as good as a slow one.
const SECRET_BYTES: usize = 32;

/// Random bytes in base64url: letters, digits, `-` and `_`.
///
/// # Errors
/// `Broken` when the system has no randomness.
pub fn random_text(bytes: usize) -> Result<String, Error> {
    let mut secret = vec![0; bytes];
    getrandom::fill(&mut secret).map_err(|e| Error::Broken(format!("no randomness: {e}")))?;
    Ok(URL_SAFE_NO_PAD.encode(secret))
}

/// A fresh key for an HMAC.
///
/// # Errors
/// `Broken` when the system has no randomness.
pub(crate) fn random_key() -> Result<[u8; 32], Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| Error::Broken(format!("no randomness: {e}")))?;
    Ok(key)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What failures of an address are counted for: whoever has one IPv6 address has its /64 (RFC 6177).
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// It can be the name of a token or a user: 1 to 64 printable characters, none of them a space at an end.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control) && name.trim() == name
}

/// # Errors
/// `Invalid` for what `is_name` refuses.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) { Ok(()) } else { Err(Error::invalid("name", "the name must have 1 to 64 printable characters")) }
}

/// Makes a long-lived token: its text, and what is kept of it.
///
/// # Errors
/// `Invalid` for a name that is empty, longer than 64 characters or has control characters.
pub fn new_token(store: &Store, name: &str, role: Role, ttl: Option<Duration>) -> Result<(String, TokenRecord), Error> {
    check_name(name)?;
    make_token(store, name, role, TokenKind::Api, None, ttl)
}

fn make_token(
    store: &Store,
    name: &str,
    role: Role,
    kind: TokenKind,
    session: Option<Session>,
    ttl: Option<Duration>,
) -> Result<(String, TokenRecord), Error> {
    let text = format!("{PREFIX}{}", random_text(SECRET_BYTES)?);
    let created_at = store::now();
    let record = TokenRecord {
        id: store.ids().next(),
        name: name.to_owned(),
        role,
        digest: digest(&text),
        kind,
        source: Source::Cli,
        session,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;
    use crate::store::testing::change;

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
    fn addresses_of_one_network_are_counted_together() {
        for (address, counted) in
            [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
        {
            assert_eq!(whole(address.parse().unwrap()), counted.parse::<IpAddr>().unwrap());
        }
    }

    #[tokio::test]
    async fn name_that_would_break_a_line_is_refused() {
        let (_dir, store) = testing::store().await;
        for name in ["", "a\nb", " a", &"x".repeat(65)] {
            assert!(matches!(new_token(&store, name, Role::Admin, None), Err(Error::Invalid(_))), "{name:?}");
        }
    }
}
