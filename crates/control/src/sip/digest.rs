//! Digest authentication as the side that is asked (RFC 3261 §22, RFC 7616, RFC 8760): reads challenges, takes the strongest
//! that we can for each realm, and makes the answer. Pure; what a challenge says comes from the network.

use md5::{Digest as _, Md5};
use rsipstack::sip::prelude::HasHeaders;
use rsipstack::sip::{Header, Response};
use sha2::Sha256;

use super::rejection::Added;
use crate::config::SipCredentials;

/// Challenges read of one response, and the length of each; more is an attack.
const MAX_CHALLENGES: usize = 8;
const MAX_CHALLENGE_BYTES: usize = 2048;
/// Answers to one request: the first, one for a stale nonce, and one for a proxy further on.
const MAX_ROUNDS: u32 = 3;

/// What hashes, the strongest last (RFC 8760 §2.3). SHA-512-256 is not taken: RFC 7616 leaves open which function that is, and
/// its example is of neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256].into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    pub(super) fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("BUG: writing to a String cannot fail");
        out
    })
}

/// One challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Challenge {
    /// By a proxy (407).
    proxy: bool,
    algorithm: Algorithm,
    /// It was named, and so is in the answer.
    named: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// `qop=auth` is offered; without any it is RFC 2069's.
    qop: bool,
    stale: bool,
}

impl Challenge {
    /// From the value of a header; `None` for what cannot be used.
    fn parse(value: &str, proxy: bool) -> Option<Self> {
        if value.len() > MAX_CHALLENGE_BYTES || value.chars().any(char::is_control) {
            return None;
        }
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let params = params(rest);
        let param = |name: &str| params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let named = param("algorithm");
        let qops = param("qop");
        let qop = qops.is_some_and(|list| list.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")));
        if qops.is_some_and(|list| !list.trim().is_empty()) && !qop {
            // auth-int alone: it breaks on every proxy that touches a body.
            return None;
        }
        Some(Self {
            proxy,
            algorithm: named.map_or(Some(Algorithm::Md5), Algorithm::parse)?,
            named: named.is_some(),
            realm: param("realm")?.to_owned(),
            nonce: param("nonce")?.to_owned(),
            opaque: param("opaque").map(str::to_owned),
            qop,
            stale: param("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
        })
    }

    /// The header that answers it.
    fn answer(&self, who: &SipCredentials, method: &str, uri: &str, count: u32, cnonce: &str) -> Added {
        let hash = |text: &str| self.algorithm.hash(text);
        let secret = hash(&format!("{}:{}:{}", who.user, self.realm, who.password));
        let request = hash(&format!("{method}:{uri}"));
        let mut out = format!(
            "Digest username={}, realm={}, nonce={}, uri={}",
            quoted(&who.user),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(uri)
        );
        let response = if self.qop {
            out.push_str(&format!(", qop=auth, nc={count:08x}, cnonce={}", quoted(cnonce)));
            hash(&format!("{secret}:{}:{count:08x}:{cnonce}:auth:{request}", self.nonce))
        } else {
            hash(&format!("{secret}:{}:{request}", self.nonce))
        };
        out.push_str(&format!(", response=\"{response}\""));
        if self.named {
            out.push_str(&format!(", algorithm={}", self.algorithm.name()));
        }
        if let Some(opaque) = &self.opaque {
            out.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        (if self.proxy { "Proxy-Authorization" } else { "Authorization" }, out)
    }
}

/// `name=value` and `name="value"`, with commas between; quotes and escapes are taken away.
pub(super) fn params(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(inner) => unquoted(inner),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (value, left) = after.split_at(end);
                (value.trim().to_owned(), left)
            }
        };
        found.push((name.trim_matches([' ', ',', '\t']).to_owned(), value));
        rest = left;
    }
    found
}

/// Up to the closing quote, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Our answers to the challenges of one request, from its first challenge on.
#[derive(Debug, Default)]
pub(super) struct Answers {
    challenges: Vec<Challenge>,
    rounds: u32,
}

impl Answers {
    /// Takes the challenges of a 401 or 407; false when there is nothing (more) that we could say to it.
    pub(super) fn challenged(&mut self, response: &Response, who: Option<&SipCredentials>) -> bool {
        let Some(who) = who else { return false };
        self.rounds += 1;
        let mut offered: Vec<Challenge> = response
            .headers()
            .iter()
            .filter_map(|header| match header {
                Header::WwwAuthenticate(h) => Some((h.value(), false)),
                Header::ProxyAuthenticate(h) => Some((h.value(), true)),
                _ => None,
            })
            .take(MAX_CHALLENGES)
            .filter_map(|(value, proxy)| Challenge::parse(value, proxy))
            .filter(|c| who.realm.as_ref().is_none_or(|realm| *realm == c.realm))
            .collect();
        if self.rounds > MAX_ROUNDS {
            return false;
        }
        // The strongest of each realm first.
        offered.sort_by_key(|challenge| std::cmp::Reverse(challenge.algorithm));
        let mut taken = false;
        let mut seen: Vec<(bool, String)> = Vec::new();
        for challenge in offered {
            let place = (challenge.proxy, challenge.realm.clone());
            if seen.contains(&place) {
                continue;
            }
            seen.push(place);
            let known = |c: &&mut Challenge| c.proxy == challenge.proxy && c.realm == challenge.realm;
            match self.challenges.iter_mut().find(known) {
                // The same again, and our answer was not too old: the password is wrong.
                Some(before) if !challenge.stale || before.nonce == challenge.nonce => return false,
                Some(before) => *before = challenge,
                None => self.challenges.push(challenge),
            }
            taken = true;
        }
        taken
    }

    /// The headers for the next try. Each nonce is used once here, so its count is 1.
    pub(super) fn headers(&self, who: &SipCredentials, method: &str, uri: &str, cnonce: &str) -> Vec<Added> {
        self.challenges.iter().map(|challenge| challenge.answer(who, method, uri, 1, cnonce)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn who(user: &str, password: &str) -> SipCredentials {
        SipCredentials { user: user.to_owned(), password: password.to_owned(), realm: None }
    }

    fn response(challenges: &[(&str, &str)]) -> Response {
        let headers: String = challenges.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n"
        )
        .try_into()
        .unwrap()
    }

    fn digest_of(header: &str) -> String {
        params(header.split_once(' ').unwrap().1).into_iter().find(|(n, _)| n == "response").unwrap().1
    }

    #[test]
    fn vectors_of_the_rfcs_come_out() {
        let rfc2617 = r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let c = Challenge::parse(rfc2617, false).unwrap();
        let (name, value) = c.answer(&who("Mufasa", "Circle Of Life"), "GET", "/dir/index.html", 1, "0a4f113b");
        assert_eq!((name, digest_of(&value).as_str()), ("Authorization", "6629fae49393a05397450978507c4ef1"));
        assert!(
            value.contains(r#"opaque="5ccc069c403ebaf9f0171e9517f40e41""#) && value.contains("nc=00000001"),
            "{value}"
        );
        assert!(!value.contains("algorithm"), "{value}");

        let rfc7616 = |algorithm: &str| {
            format!(
                r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
            )
        };
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let c = Challenge::parse(&rfc7616(algorithm), true).unwrap();
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let (name, value) = c.answer(&who("Mufasa", "Circle of Life"), "GET", "/dir/index.html", 1, cnonce);
            assert_eq!((name, digest_of(&value).as_str()), ("Proxy-Authorization", expected));
            assert!(value.contains(&format!("algorithm={algorithm}")), "{value}");
        }
    }

    #[test]
    fn without_qop_it_is_the_old_digest() {
        let c = Challenge::parse(r#"Digest realm="r", nonce="n""#, false).unwrap();
        let value = c.answer(&who("u", "p"), "REGISTER", "sip:h", 1, "x").1;
        let expected = Algorithm::Md5.hash(&format!(
            "{}:n:{}",
            Algorithm::Md5.hash("u:r:p"),
            Algorithm::Md5.hash("REGISTER:sip:h")
        ));
        assert_eq!(digest_of(&value), expected);
        assert!(!value.contains("qop") && !value.contains("cnonce"), "{value}");
    }

    #[test]
    fn strongest_of_each_realm_is_answered_and_the_unknown_passed_over() {
        let mut answers = Answers::default();
        let offered = response(&[
            ("WWW-Authenticate", r#"Digest realm="a", nonce="1", algorithm=MD5, qop="auth""#),
            ("WWW-Authenticate", r#"Digest realm="a", nonce="2", algorithm=SHA-256, qop="auth""#),
            ("WWW-Authenticate", r#"Digest realm="a", nonce="3", algorithm=SHA-512-256, qop="auth""#),
            ("WWW-Authenticate", r#"Basic realm="a""#),
            ("Proxy-Authenticate", r#"Digest realm="b", nonce="4", qop="auth-int""#),
            ("Proxy-Authenticate", r#"Digest realm="b", nonce="5""#),
        ]);
        let who = who("u", "p");
        assert!(answers.challenged(&offered, Some(&who)));
        let headers = answers.headers(&who, "INVITE", "sip:x", "c");
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert!(headers[0].0 == "Authorization" && headers[0].1.contains(r#"nonce="2""#), "{headers:?}");
        assert!(headers[1].0 == "Proxy-Authorization" && headers[1].1.contains(r#"nonce="5""#), "{headers:?}");
    }

    #[test]
    fn wrong_password_is_said_once_and_a_stale_nonce_twice() {
        let challenge = |nonce: &str, stale: &str| {
            response(&[(
                "WWW-Authenticate",
                &format!(r#"Digest realm="r", nonce="{nonce}", stale={stale}, qop="auth""#),
            )])
        };
        let who = who("u", "p");
        let mut answers = Answers::default();
        assert!(answers.challenged(&challenge("1", "false"), Some(&who)));
        assert!(!answers.challenged(&challenge("2", "false"), Some(&who)), "the password is wrong");
        let mut answers = Answers::default();
        assert!(answers.challenged(&challenge("1", "false"), Some(&who)));
        assert!(answers.challenged(&challenge("2", "TRUE"), Some(&who)));
        assert!(answers.headers(&who, "INVITE", "sip:x", "c")[0].1.contains(r#"nonce="2""#));
        assert!(!answers.challenged(&challenge("2", "true"), Some(&who)), "the same nonce is not stale");
        let mut answers = Answers::default();
        for round in 1..=MAX_ROUNDS {
            assert!(answers.challenged(&challenge(&round.to_string(), "true"), Some(&who)));
        }
        assert!(!answers.challenged(&challenge("9", "true"), Some(&who)), "for ever stale");
    }

    #[test]
    fn password_goes_to_its_own_realm_only() {
        let offered = response(&[("WWW-Authenticate", r#"Digest realm="evil", nonce="1""#)]);
        let mut who = who("u", "p");
        assert!(!Answers::default().challenged(&offered, None));
        who.realm = Some("good".to_owned());
        assert!(!Answers::default().challenged(&offered, Some(&who)));
        who.realm = Some("evil".to_owned());
        assert!(Answers::default().challenged(&offered, Some(&who)));
    }

    #[test]
    fn quotes_and_commas_stay_where_they_belong() {
        let c = Challenge::parse(r#"digest nonce="a,b=\"c\"",realm="x, y" , stale=TRUE,qop=auth"#, false).unwrap();
        assert_eq!((c.nonce.as_str(), c.realm.as_str(), c.stale, c.qop), (r#"a,b="c""#, "x, y", true, true));
        let value = c.answer(&who("u\"s", "p"), "INVITE", "sip:x", 1, "c").1;
        assert!(value.contains(r#"username="u\"s", realm="x, y", nonce="a,b=\"c\"""#), "{value}");
        for bad in
            ["Digest", "Digest realm=x", "Digest nonce=x", "Basic realm=x", "", "Digest realm=\"a\u{1}\", nonce=b"]
        {
            assert_eq!(Challenge::parse(bad, false), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_challenge_makes_the_reader_panic(text in "(Digest )?\\PC{0,80}") {
            if let Some(c) = Challenge::parse(&text, false) {
                let value = c.answer(&who("u", "p"), "INVITE", "sip:x", 1, "c").1;
                prop_assert!(!value.contains(['\r', '\n']));
            }
        }
    }
}
