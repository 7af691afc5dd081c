//! What can be said of an INVITE from its text alone, before anything is allocated for it (RFC 3261 §8.2). Pure.

use std::net::SocketAddr;

use rsipstack::sip::prelude::{HasHeaders, HeadersExt};
use rsipstack::sip::{Header, Request, Response, Scheme};

use super::identity::{Identity, clean, percent_decode};
use super::rejection::Rejection;

/// Longest extension that can name a room.
const MAX_EXTENSION_CHARS: usize = 64;
/// Credentials of one request that are looked at, and how long each may be.
const MAX_CREDENTIALS: usize = 4;
const MAX_CREDENTIALS_BYTES: usize = 4096;

/// What an INVITE asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Dialled extension: user part of the Request-URI, percent-decoded.
    pub(super) extension: String,
    pub(super) caller: Identity,
    /// SDP of the far end; `None` asks us for the offer.
    pub(super) offer: Option<String>,
    pub(super) call_id: String,
    /// Where the signalling came from.
    pub(super) source: SocketAddr,
    /// The credentials that it brought, where some are needed: values of Authorization.
    pub(super) shown: Option<Vec<String>>,
}

/// Reads a first INVITE, or says why not.
pub(super) fn invite(request: &Request, source: SocketAddr) -> Result<Wanted, Rejection> {
    if !matches!(request.uri.scheme, Some(Scheme::Sip | Scheme::Sips)) {
        return Err(Rejection::uri_scheme());
    }
    if let Ok(hops) = request.max_forwards_header() {
        match hops.value().trim().parse::<u32>() {
            Ok(0) => return Err(Rejection::max_forwards()),
            Ok(_) => {}
            Err(_) => return Err(Rejection::malformed("Max-Forwards is no number")),
        }
    }
    requirements(request)?;
    let offer = sdp(request)?;
    let from = request.from_header().map_err(|_| Rejection::malformed("From is missing"))?;
    let call_id = request.call_id_header().map_err(|_| Rejection::malformed("Call-ID is missing"))?;
    let extension = clean(&percent_decode(request.uri.user().unwrap_or_default()), MAX_EXTENSION_CHARS);
    Ok(Wanted {
        extension,
        caller: Identity::from_header(from.value()),
        offer,
        call_id: call_id.value().to_owned(),
        source,
        shown: None,
    })
}

/// Values of Authorization, as they came; a few.
pub(super) fn credentials(request: &Request) -> Vec<String> {
    let values = request.headers().iter().filter_map(|header| match header {
        Header::Authorization(value) => Some(value.value()),
        _ => None,
    });
    values.filter(|value| value.len() <= MAX_CREDENTIALS_BYTES).take(MAX_CREDENTIALS).map(str::to_owned).collect()
}

/// The number that was called, from To: what a registrar leaves there when it puts our Contact into the Request-URI. `None` when
/// it has no user.
pub(super) fn called(request: &Request) -> Option<String> {
    let called = clean(&Identity::from_header(request.to_header().ok()?.value()).number, MAX_EXTENSION_CHARS);
    (!called.is_empty()).then_some(called)
}

/// 420 for every option tag in Require: we support none (RFC 3261 §8.2.2.3).
pub(super) fn requirements(request: &Request) -> Result<(), Rejection> {
    let tags: Vec<&str> = request
        .headers()
        .iter()
        .filter_map(|h| if let Header::Require(r) = h { Some(r.value()) } else { None })
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .collect();
    if tags.is_empty() { Ok(()) } else { Err(Rejection::extension(tags.join(", "))) }
}

/// The SDP body, `None` when there is no body.
pub(super) fn sdp(message: &(impl HeadersExt + Bodied)) -> Result<Option<String>, Rejection> {
    let encoded = message.header_value("Content-Encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
    if message.body().iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    if encoded {
        return Err(Rejection::content_encoding());
    }
    if !content_type(message).is_some_and(|t| t.eq_ignore_ascii_case("application/sdp")) {
        return Err(Rejection::content_type());
    }
    Ok(Some(String::from_utf8_lossy(message.body()).into_owned()))
}

/// Content-Type without its parameters.
pub(super) fn content_type(message: &impl HeadersExt) -> Option<String> {
    let value = message.header_value("Content-Type")?;
    Some(value.split(';').next().unwrap_or_default().trim().to_owned())
}

/// Requests and responses, which both may carry SDP.
pub(super) trait Bodied {
    fn body(&self) -> &[u8];
}

impl Bodied for Request {
    fn body(&self) -> &[u8] {
        &self.body
    }
}

impl Bodied for Response {
    fn body(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(uri: &str, extra: &str, body: &str) -> Result<Wanted, Rejection> {
        let mut request: Request = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: \"B\" <sip:101@h>;tag=f\r\n\
             To: <sip:100@h>\r\nCall-ID: c\r\nCSeq: 5 INVITE\r\n{extra}\r\n"
        )
        .try_into()
        .unwrap();
        request.body = body.as_bytes().to_vec();
        invite(&request, "10.0.0.1:5060".parse().unwrap())
    }

    #[test]
    fn invite_names_extension_caller_and_offer() {
        let w = screen("sip:1%3200@h;user=phone", "c: application/sdp;charset=x\r\n", "v=0\r\n").unwrap();
        assert_eq!((w.extension.as_str(), w.caller.number.as_str()), ("1200", "101"));
        assert_eq!(w.offer.as_deref(), Some("v=0\r\n"));
        assert_eq!(screen("sip:h", "", "").unwrap().extension, "");
        assert_eq!(screen("sip:1@h", "", "\r\n").unwrap().offer, None);
    }

    #[test]
    fn each_unusable_invite_gets_its_code() {
        for (uri, extra, body, code) in [
            ("tel:+4930", "", "", 416),
            ("sip:1@h", "Max-Forwards: 0\r\n", "", 483),
            ("sip:1@h", "Max-Forwards: many\r\n", "", 400),
            ("sip:1@h", "Require: 100rel, timer\r\n", "", 420),
            ("sip:1@h", "Content-Type: text/plain\r\n", "x", 415),
            ("sip:1@h", "", "v=0", 415),
            ("sip:1@h", "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n", "x", 415),
        ] {
            assert_eq!(screen(uri, extra, body).unwrap_err().code, code, "{uri} {extra}");
        }
        let unsupported = screen("sip:1@h", "Require: 100rel\r\nRequire: timer\r\n", "").unwrap_err();
        assert!(unsupported.headers("h").contains(&("Unsupported", "100rel, timer".to_owned())));
    }
}
