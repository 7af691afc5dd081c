//! Who may call and register: digest authentication as the side that asks (RFC 7616, RFC 8760). Pure.

use crate::sip_message::{Message, StartLine};
use md5::{Digest as _, Md5};
use sha2::Sha256;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Gate {
    realm: &'static str,
    user: String,
    password: String,
    /// Offered, each as a challenge of its own, in this order.
    algorithms: Vec<&'static str>,
    /// So many good answers are told that their nonce is stale.
    stale: u32,
    /// Counts nonces.
    nonce: u32,
    /// Given out and not used yet: each serves once.
    open: Vec<String>,
}

impl Gate {
    /// These credentials, by one of these algorithms (`MD5`, `SHA-256`, or one that nobody knows).
    pub fn new(user: &str, password: &str, algorithms: &[&'static str]) -> Self {
        let (user, password) = (user.to_owned(), password.to_owned());
        Self { realm: "testkit", user, password, algorithms: algorithms.to_vec(), stale: 0, nonce: 0, open: Vec::new() }
    }

    /// The first so many good answers come with a nonce that is too old.
    #[must_use]
    pub fn stale(mut self, times: u32) -> Self {
        self.stale = times;
        self
    }

    /// `None` when the request may pass, otherwise the challenges.
    pub(super) fn check(&mut self, request: &Message) -> Option<Vec<String>> {
        let header = request.header("Authorization").or_else(|| request.header("Proxy-Authorization"));
        let good = header.is_some_and(|header| self.is_good(request, header));
        if good && self.stale == 0 {
            return None;
        }
        if good {
            self.stale -= 1;
        }
        self.nonce += 1;
        let nonce = format!("n{}", self.nonce);
        self.open.push(nonce.clone());
        let stale = if good { ", stale=true" } else { "" };
        let challenge = |algorithm: &&str| {
            format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\", opaque=\"o,p\"{stale}",
                self.realm
            )
        };
        Some(self.algorithms.iter().map(challenge).collect())
    }

    fn is_good(&mut self, request: &Message, header: &str) -> bool {
        let StartLine::Request { method, uri } = &request.start else { return false };
        let value = |name: &str| value(header, name);
        let algorithm = value("algorithm").unwrap_or_else(|| "MD5".to_owned());
        let hash = |text: String| match algorithm.as_str() {
            "MD5" => hex(&Md5::digest(text.as_bytes())),
            _ => hex(&Sha256::digest(text.as_bytes())),
        };
        let (nc, cnonce) = (value("nc").unwrap_or_default(), value("cnonce").unwrap_or_default());
        let Some(at) = self.open.iter().position(|open| value("nonce").as_ref() == Some(open)) else { return false };
        let nonce = self.open.remove(at);
        let secret = hash(format!("{}:{}:{}", self.user, self.realm, self.password));
        let expected = hash(format!("{secret}:{nonce}:{nc}:{cnonce}:auth:{}", hash(format!("{method}:{uri}"))));
        value("username").as_deref() == Some(self.user.as_str())
            && value("opaque").as_deref() == Some("o,p")
            && value("uri").as_deref() == Some(uri.as_str())
            && nc == "00000001"
            && !cnonce.is_empty()
            && self.algorithms.contains(&algorithm.as_str())
            && value("response").as_deref() == Some(expected.as_str())
    }
}

/// What answers a challenge: the value of `Authorization`.
///
/// # Panics
/// When it is no challenge for a digest.
pub fn answer(challenge: &str, user: &str, password: &str, method: &str, uri: &str) -> String {
    let value = |name: &str| value(challenge, name).unwrap_or_else(|| panic!("no {name} in {challenge}"));
    let (realm, nonce, algorithm) = (value("realm"), value("nonce"), value("algorithm"));
    let hash = |text: String| match algorithm.as_str() {
        "MD5" => hex(&Md5::digest(text.as_bytes())),
        _ => hex(&Sha256::digest(text.as_bytes())),
    };
    let secret = hash(format!("{user}:{realm}:{password}"));
    let asked = hash(format!("{method}:{uri}"));
    let response = hash(format!("{secret}:{nonce}:00000001:c0ffee:auth:{asked}"));
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm={algorithm}, \
         qop=auth, nc=00000001, cnonce=\"c0ffee\", response=\"{response}\""
    )
}

/// A parameter of an `Authorization` header.
pub fn value(header: &str, name: &str) -> Option<String> {
    let at = header.match_indices(name).find(|(at, _)| {
        let before = header[..*at].chars().next_back();
        before.is_some_and(|c| matches!(c, ' ' | ',')) && header[at + name.len()..].starts_with('=')
    })?;
    let rest = &header[at.0 + name.len() + 1..];
    match rest.strip_prefix('"') {
        Some(quoted) => Some(quoted[..quoted.find('"')?].to_owned()),
        None => Some(rest.split(',').next().unwrap_or(rest).trim().to_owned()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_told_apart() {
        let header = "Digest username=\"u\", nonce=\"n,1\", cnonce=\"c\", nc=00000001, uri=\"sip:a;nonce=x\"";
        assert_eq!(value(header, "nonce").as_deref(), Some("n,1"));
        assert_eq!(value(header, "nc").as_deref(), Some("00000001"));
        assert_eq!(value(header, "uri").as_deref(), Some("sip:a;nonce=x"));
        assert_eq!(value(header, "realm"), None);
    }
}
