//! Credentials as the side that asks (RFC 3261 §22, RFC 7616, RFC 8760, RFC 8898): challenges, and what a call shows in answer
//! to them. Pure; what is shown comes from the network.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::digest::{Algorithm, params};
use crate::auth::random_key;
use crate::error::Error;

/// Of every challenge.
pub(super) const REALM: &str = "conclave";
/// For so long an answer to a challenge is taken.
const NONCE_S: u64 = 60;
const MAC_BYTES: usize = 16;

/// What a call shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A join token, as it is.
    Token(String),
    /// That it knows somebody's password.
    Proof(Box<Proof>),
}

/// A digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) user: String,
    pub(super) nonce: String,
    /// What it asks for, by its own word.
    pub(super) uri: String,
    algorithm: Algorithm,
    /// nc and cnonce of `qop=auth`; without, it is RFC 2069's.
    counted: Option<(String, String)>,
    response: String,
}

impl Shown {
    /// A value of Authorization; `None` when it is none of ours.
    pub(super) fn read(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if scheme.eq_ignore_ascii_case("Bearer") {
            let token = rest.trim();
            let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
            return is_token.then(|| Self::Token(token.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("Digest") || rest.chars().any(char::is_control) {
            return None;
        }
        let params = params(rest);
        let param = |name: &str| params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        if param("realm") != Some(REALM) {
            return None;
        }
        let counted = match param("qop") {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                Some((param("nc")?.to_owned(), param("cnonce")?.to_owned()))
            }
            Some(_) => return None,
            None => None,
        };
        Some(Self::Proof(Box::new(Proof {
            user: param("username")?.to_owned(),
            nonce: param("nonce")?.to_owned(),
            uri: param("uri")?.to_owned(),
            algorithm: param("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?,
            counted,
            response: param("response")?.to_ascii_lowercase(),
        })))
    }
}

impl Proof {
    /// Its user knows this password.
    pub(super) fn is_of(&self, password: &str, method: &str) -> bool {
        let hash = |text: &str| self.algorithm.hash(text);
        let secret = hash(&format!("{}:{REALM}:{password}", self.user));
        let request = hash(&format!("{method}:{}", self.uri));
        let expected = match &self.counted {
            Some((count, cnonce)) => hash(&format!("{secret}:{}:{count}:{cnonce}:auth:{request}", self.nonce)),
            None => hash(&format!("{secret}:{}:{request}", self.nonce)),
        };
        expected.as_bytes().ct_eq(self.response.as_bytes()).into()
    }
}

/// How old a nonce is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It may be answered.
    Fresh,
    /// It was ours, for this call.
    Stale,
    /// It was not.
    Strange,
}

/// Makes nonces and knows them again: they hold for one call from one address, for a while, so nothing is kept of them.
pub(super) struct Nonces(Hmac<Sha256>);

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    /// Of this process.
    pub(super) fn new() -> Result<Self, Error> {
        Self::keyed(&random_key()?)
    }

    fn keyed(key: &[u8]) -> Result<Self, Error> {
        Hmac::new_from_slice(key).map(Self).map_err(|e| Error::Broken(format!("the key of nonces: {e}")))
    }

    fn mac(&self, made_s: u64, source: IpAddr, call_id: &str) -> Vec<u8> {
        let mut mac = self.0.clone();
        mac.update(&made_s.to_be_bytes());
        mac.update(source.to_string().as_bytes());
        mac.update(&[0]);
        mac.update(call_id.as_bytes());
        mac.finalize().into_bytes().iter().take(MAC_BYTES).copied().collect()
    }

    /// For a call from there, `now_s` seconds after some fixed moment.
    pub(super) fn make(&self, now_s: u64, source: IpAddr, call_id: &str) -> String {
        let mut bytes = now_s.to_be_bytes().to_vec();
        bytes.extend(self.mac(now_s, source, call_id));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether that call may answer it.
    pub(super) fn age(&self, nonce: &str, now_s: u64, source: IpAddr, call_id: &str) -> Age {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).unwrap_or_default();
        let Some((made, mac)) = bytes.split_first_chunk::<8>() else { return Age::Strange };
        let made_s = u64::from_be_bytes(*made);
        if !bool::from(self.mac(made_s, source, call_id).ct_eq(mac)) {
            return Age::Strange;
        }
        if now_s.saturating_sub(made_s) <= NONCE_S { Age::Fresh } else { Age::Stale }
    }

    /// The challenges of a 401, the best first (RFC 8760 §2.4). Digest by MD5 comes last: SIP libraries of browsers read the last
    /// one, and know no other; the connection is what keeps it secret.
    pub(super) fn challenges(&self, now_s: u64, source: IpAddr, call_id: &str, is_stale: bool) -> Vec<String> {
        let nonce = self.make(now_s, source, call_id);
        let stale = if is_stale { ", stale=true" } else { "" };
        let digest = |algorithm: Algorithm| {
            format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{stale}", algorithm.name())
        };
        vec![format!("Bearer realm=\"{REALM}\""), digest(Algorithm::Sha256), digest(Algorithm::Md5)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALL: &str = "a84b4c76e66710";

    fn here() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    fn proof(algorithm: Algorithm, nonce: &str, password: &str) -> String {
        let secret = algorithm.hash(&format!("ann:{REALM}:{password}"));
        let request = algorithm.hash("INVITE:sip:900@h");
        let response = algorithm.hash(&format!("{secret}:{nonce}:00000001:xyz:auth:{request}"));
        format!(
            "Digest algorithm={}, username=\"ann\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"sip:900@h\", \
             response=\"{response}\", qop=auth, cnonce=\"xyz\", nc=00000001",
            algorithm.name()
        )
    }

    #[test]
    fn password_is_proved_by_either_algorithm_and_no_other_password_is() {
        let nonces = Nonces::keyed(&[1; 32]).unwrap();
        let nonce = nonces.make(100, here(), CALL);
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let Some(Shown::Proof(shown)) = Shown::read(&proof(algorithm, &nonce, "secret")) else { panic!() };
            assert_eq!((shown.user.as_str(), shown.uri.as_str()), ("ann", "sip:900@h"));
            assert!(shown.is_of("secret", "INVITE"));
            assert!(!shown.is_of("Secret", "INVITE") && !shown.is_of("secret", "BYE"));
        }
    }

    #[test]
    fn nonce_is_for_one_call_from_one_address_and_ages() {
        let nonces = Nonces::keyed(&[1; 32]).unwrap();
        let nonce = nonces.make(100, here(), CALL);
        assert_eq!(nonces.age(&nonce, 100 + NONCE_S, here(), CALL), Age::Fresh);
        assert_eq!(nonces.age(&nonce, 101 + NONCE_S, here(), CALL), Age::Stale);
        assert_eq!(nonces.age(&nonce, 100, here(), "another"), Age::Strange);
        assert_eq!(nonces.age(&nonce, 100, "192.0.2.2".parse().unwrap(), CALL), Age::Strange);
        assert_eq!(Nonces::keyed(&[2; 32]).unwrap().age(&nonce, 100, here(), CALL), Age::Strange);
        for strange in ["", "AAAA", "\u{e9}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(nonces.age(strange, 100, here(), CALL), Age::Strange, "{strange}");
        }
    }

    #[test]
    fn bearer_is_a_token_and_what_is_neither_is_nothing() {
        assert_eq!(Shown::read("bearer  abc-_1 "), Some(Shown::Token("abc-_1".to_owned())));
        for nothing in ["", "Bearer", "Bearer ", "Bearer a b", "Basic YTpi", "Digest username=\"a\"", "Digest realm=x"]
        {
            assert_eq!(Shown::read(nothing), None, "{nothing}");
        }
        let strong = "Digest username=\"a\", realm=\"conclave\", nonce=\"n\", uri=\"u\", response=\"r\"";
        assert!(Shown::read(strong).is_some());
        assert_eq!(Shown::read(&format!("{strong}, algorithm=SHA-512-256")), None);
        assert_eq!(Shown::read(&format!("{strong}, qop=auth-int, nc=1, cnonce=\"x\"")), None);
        assert_eq!(Shown::read(&strong.replace("conclave", "elsewhere")), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_makes_the_reader_panic(text in "(Digest |Bearer )?\\PC{0,80}", password in "\\PC{0,8}") {
            if let Some(Shown::Proof(proof)) = Shown::read(&text) {
                let _ = proof.is_of(&password, "INVITE");
            }
        }
    }
}
