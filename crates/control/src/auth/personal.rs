//! Personal tokens: who may come into one room by link, as what, under which name, until when. Signed with the installation's
//! key and the room's own token, so nothing is kept of them, and a room that gets another token has revoked them all. Pure but
//! for the key, which is in the store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::error::Error;
use crate::ids::Id;
use crate::store::Store;
use crate::words::words;

/// What they begin with. A room's own token is shorter than any of these.
const PREFIX: &str = "cnj_";
const MAC_BYTES: usize = 32;
/// Version, room, end, role.
const HEAD_BYTES: usize = 1 + 8 + 8 + 1;
const VERSION: u8 = 1;
/// Of a name of 64 characters, with what is around it.
pub(super) const MAX_PERSONAL_BYTES: usize = PREFIX.len() + (HEAD_BYTES + MAC_BYTES + 64 * 4).div_ceil(3) * 4;

words! {
    /// What somebody is who joins by a personal token.
    JoinRole {
        /// One of many.
        Participant = "PARTICIPANT",
        /// Leads the room.
        Chairman = "CHAIRMAN",
    }
}

/// What a personal token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personal {
    /// Where it leads.
    pub room: Id,
    /// As what its bearer comes in.
    pub role: JoinRole,
    /// What its bearer is called there; empty: they say so themselves.
    pub name: String,
    /// From then on it is worth nothing; whole seconds.
    pub expires_at: Timestamp,
}

impl Personal {
    /// What its bearer is called, if it says so.
    pub fn named(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| !name.is_empty())
    }

    /// Its bearer leads the room.
    pub fn leads(&self) -> bool {
        self.role == JoinRole::Chairman
    }

    fn payload(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.name.len() + MAC_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.room.raw().to_be_bytes());
        bytes.extend(self.expires_at.as_second().to_be_bytes());
        bytes.push(u8::from(self.leads()));
        bytes.extend(self.name.as_bytes());
        bytes
    }

    fn of(payload: &[u8]) -> Option<Self> {
        let (head, name) = payload.split_first_chunk::<HEAD_BYTES>()?;
        let [version, rest @ ..] = head;
        let (room, rest) = rest.split_first_chunk::<8>()?;
        let (end, role) = rest.split_first_chunk::<8>()?;
        if *version != VERSION {
            return None;
        }
        Some(Self {
            room: Id::from_raw(i64::from_be_bytes(*room)),
            role: match role {
                [0] => JoinRole::Participant,
                [1] => JoinRole::Chairman,
                _ => return None,
            },
            name: std::str::from_utf8(name).ok()?.to_owned(),
            expires_at: Timestamp::from_second(i64::from_be_bytes(*end)).ok()?,
        })
    }
}

/// What a token claims, as long as nobody has checked it.
#[derive(Debug)]
pub(super) struct Claim {
    personal: Personal,
    signature: [u8; MAC_BYTES],
}

impl Claim {
    /// `None`: it is no personal token at all.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_PERSONAL_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (payload, signature) = bytes.split_last_chunk::<MAC_BYTES>()?;
        Some(Self { personal: Personal::of(payload)?, signature: *signature })
    }

    /// Where it says that it leads.
    pub(super) fn room(&self) -> Id {
        self.personal.room
    }
}

/// What became of a claim, which says `T`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked<T> {
    /// It holds.
    Valid(T),
    /// It did hold.
    Expired,
    /// Nobody here signed it, or it was revoked.
    Strange,
}

/// Signs and checks personal tokens.
pub(super) struct PersonalTokens(Hmac<Sha256>);

impl std::fmt::Debug for PersonalTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonalTokens")
    }
}

impl PersonalTokens {
    /// With this installation's key, made at the first start.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written; `Broken` when the system has no randomness.
    pub(super) async fn open(store: &Store) -> Result<Self, Error> {
        Self::new(&store.secret("personal_token_key", &super::random_key()?).await?)
    }

    fn new(key: &[u8]) -> Result<Self, Error> {
        Hmac::new_from_slice(key).map(Self).map_err(|e| Error::Broken(format!("the key of personal tokens: {e}")))
    }

    fn mac(&self, payload: &[u8], room_token: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        // The room's token has one length, so no two pairs make the same text.
        mac.update(room_token.as_bytes());
        mac.update(payload);
        mac
    }

    /// Its text, while the room has this token.
    pub(super) fn sign(&self, personal: &Personal, room_token: &str) -> String {
        let mut bytes = personal.payload();
        let signature = self.mac(&bytes, room_token).finalize().into_bytes();
        bytes.extend(signature);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Whether a claim holds, for the room with this token.
    pub(super) fn check(&self, claim: Claim, room_token: &str, now: Timestamp) -> Checked<Personal> {
        let mac = self.mac(&claim.personal.payload(), room_token);
        if mac.verify_slice(&claim.signature).is_err() {
            return Checked::Strange;
        }
        if claim.personal.expires_at <= now { Checked::Expired } else { Checked::Valid(claim.personal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM_TOKEN: &str = "4fzz3e2PxAvTAVDbWfNFCQ";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn personal(name: &str) -> Personal {
        Personal {
            room: Id::from_raw(77),
            role: JoinRole::Chairman,
            name: name.to_owned(),
            expires_at: at(2_000_000_000),
        }
    }

    fn keys() -> PersonalTokens {
        PersonalTokens::new(&[7; 32]).unwrap()
    }

    #[test]
    fn what_was_signed_comes_back_until_its_end() {
        for name in ["", "Ann", "\"><script>", &"\u{1F600}".repeat(64)] {
            let text = keys().sign(&personal(name), ROOM_TOKEN);
            assert!(text.len() <= MAX_PERSONAL_BYTES && text.len() > 32, "{}", text.len());
            let read = || Claim::read(&text).unwrap();
            assert_eq!(read().room(), Id::from_raw(77));
            assert_eq!(keys().check(read(), ROOM_TOKEN, at(1_999_999_999)), Checked::Valid(personal(name)));
            assert_eq!(keys().check(read(), ROOM_TOKEN, at(2_000_000_000)), Checked::Expired);
        }
    }

    #[test]
    fn another_room_token_another_key_or_a_changed_byte_is_strange() {
        let text = keys().sign(&personal("Ann"), ROOM_TOKEN);
        let read = |text: &str| Claim::read(text);
        let now = at(0);
        assert_eq!(keys().check(read(&text).unwrap(), "5fzz3e2PxAvTAVDbWfNFCQ", now), Checked::Strange);
        let others = PersonalTokens::new(&[8; 32]).unwrap();
        assert_eq!(others.check(read(&text).unwrap(), ROOM_TOKEN, now), Checked::Strange);
        for at in PREFIX.len()..text.len() {
            let mut changed: Vec<u8> = text.bytes().collect();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            if let Some(claim) = read(&changed).filter(|_| changed != text) {
                assert_eq!(keys().check(claim, ROOM_TOKEN, now), Checked::Strange, "{at}");
            }
        }
    }

    #[test]
    fn what_is_no_personal_token_is_none() {
        let long = format!("{PREFIX}{}", "A".repeat(MAX_PERSONAL_BYTES));
        for text in ["", "cnj_", "cnj_AAAA", ROOM_TOKEN, "cnj_\u{e9}", "cnj_A=", &long] {
            assert!(Claim::read(text).is_none(), "{text:.40}");
        }
    }
}
