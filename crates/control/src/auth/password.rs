//! Passwords: argon2id hashes as PHC strings. Hashing is slow and takes memory on purpose, so it runs on blocking threads, a
//! few at once, and whoever would wait long is told to come again.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{ARGON2ID_IDENT, Argon2, Params};
use tokio::sync::Semaphore;

use crate::error::Error;

/// Hashes at once: 19 MiB and some ten milliseconds of a core each.
const AT_ONCE: usize = 2;
/// Those who wait for a hash, besides.
const WAITING: usize = 32;
/// And no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Hashes that others made may cost more than ours, within reason: 256 MiB, 16 rounds, 16 lanes.
const MAX_MEMORY_KIB: u32 = 256 << 10;
const MAX_ROUNDS: u32 = 16;
const MAX_LANES: u32 = 16;
/// The hash of no password, with the parameters of ours: what a user that is not there is compared with, so that it takes as
/// long as one that is.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$bm9ib2R5J3MgaGFzaCBpcyBubyBoYXNoIG9mIGFueSE";

const BUSY: Error = Error::Busy(std::borrow::Cow::Borrowed("too many sign-ins at once"));

/// A password that can be guessed in no time is none, and one of a book's length is an attack.
///
/// # Errors
/// `Invalid`.
pub fn check_strength(password: &str) -> Result<(), Error> {
    match password.chars().count() {
        8..=1024 => Ok(()),
        _ => Err(Error::invalid("password", "the password must have 8 to 1024 characters")),
    }
}

/// The hash of a password, with a salt of its own. Takes some ten milliseconds.
///
/// # Errors
/// `Broken` when the system has no randomness or no memory.
pub fn password_hash(password: &str) -> Result<String, Error> {
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
    Ok(hash.map_err(|e| Error::Broken(format!("the password cannot be hashed: {e}")))?.to_string())
}

/// It is an argon2id hash that passwords can be compared with.
pub fn is_password_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let within = |params: Params| {
        params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_ROUNDS && params.p_cost() <= MAX_LANES
    };
    hash.algorithm == ARGON2ID_IDENT && hash.hash.is_some() && Params::try_from(&hash).is_ok_and(within)
}

/// Compares passwords, a few at once. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    running: Arc<Semaphore>,
    present: Arc<Semaphore>,
    patience: Duration,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            present: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            patience: PATIENCE,
        }
    }

    /// Whether this is the password of that hash; without a hash it is not, and takes as long.
    ///
    /// # Errors
    /// `Busy` when too many others are compared.
    pub(super) async fn fits(&self, password: &str, hash: Option<&str>) -> Result<bool, Error> {
        let _present = self.present.try_acquire().map_err(|_| BUSY)?;
        let turn = tokio::time::timeout(self.patience, Arc::clone(&self.running).acquire_owned()).await;
        let turn = turn.map_err(|_| BUSY)?.expect("BUG: the semaphore is never closed");
        let (password, exists) = (password.to_owned(), hash.is_some());
        let hash = hash.unwrap_or(NOBODY).to_owned();
        let comparison = tokio::task::spawn_blocking(move || {
            // Held until it is done, even if nobody waits any more.
            let _turn = turn;
            let hash = PasswordHash::new(&hash).map_err(|e| Error::Broken(format!("a stored hash: {e}")))?;
            Ok::<_, Error>(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        let fits = comparison.await.map_err(|e| Error::Broken(format!("a password was not compared: {e}")))??;
        Ok(fits && exists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn password_fits_its_own_hash_only() {
        let passwords = Passwords::new();
        let hash = password_hash("correct horse").unwrap();
        assert!(is_password_hash(&hash) && hash != password_hash("correct horse").unwrap());
        assert!(passwords.fits("correct horse", Some(&hash)).await.unwrap());
        assert!(!passwords.fits("correct horsf", Some(&hash)).await.unwrap());
        assert!(!passwords.fits("correct horse", None).await.unwrap());
    }

    #[test]
    fn nobody_is_compared_at_the_same_cost_as_somebody() {
        let params = |text: &str| Params::try_from(&PasswordHash::new(text).unwrap()).unwrap();
        let ours = password_hash("correct horse").unwrap();
        assert_eq!(
            (params(NOBODY).m_cost(), params(NOBODY).t_cost()),
            (params(&ours).m_cost(), params(&ours).t_cost())
        );
        assert_eq!(params(NOBODY), params(&ours));
        assert!(is_password_hash(NOBODY));
    }

    #[test]
    fn what_is_no_argon2id_hash_is_not_taken() {
        for wrong in [
            "",
            "secret",
            "$argon2i$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$bm9ib2R5J3MgaGFzaCBpcyBubyBoYXNoIG9mIGFueSE",
            "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA",
            "$argon2id$v=19$m=1945600,t=2,p=1$bm9ib2R5J3Mgc2FsdA$bm9ib2R5J3MgaGFzaCBpcyBubyBoYXNoIG9mIGFueSE",
            "$2b$12$abcdefghijklmnopqrstuv",
        ] {
            assert!(!is_password_hash(wrong), "{wrong}");
        }
    }

    #[tokio::test]
    async fn who_would_wait_behind_many_others_is_told_to_come_again() {
        let passwords = Passwords::new();
        let _others = passwords.present.try_acquire_many(34).unwrap();
        assert_eq!(passwords.fits("correct horse", None).await, Err(BUSY));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let passwords = Passwords { patience: Duration::ZERO, ..Passwords::new() };
        let _others = passwords.running.try_acquire_many(2).unwrap();
        assert_eq!(passwords.fits("correct horse", None).await, Err(BUSY));
    }

    #[test]
    fn password_is_neither_short_nor_endless() {
        for wrong in ["", "1234567", &"x".repeat(1025)] {
            assert!(matches!(check_strength(wrong), Err(Error::Invalid(_))));
        }
        check_strength("pässwört").unwrap();
    }
}
