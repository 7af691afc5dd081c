//! SIP messages as bytes: framing on streams, reading one message, and answers that need no transaction (RFC 3261
//! §8.2.7). Everything here comes from the network: checked access, no panics. Pure; knows no socket.
//!
//! The stack's parser stops at a line that is no UTF-8, takes a datagram without Content-Length for bodiless and does
//! not know why it failed, so the header section is cleaned before and read again, loosely, after a failure.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use rsipstack::sip::prelude::{HasHeaders, HeadersExt, ToTypedHeader};
use rsipstack::sip::{Header, Request, Response, SipMessage, StatusCode, Version};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};

use super::rejection::{Added, Rejection};

/// Largest message taken. SDP offers of browsers reach 10 KB.
pub(super) const MAX_MESSAGE_BYTES: usize = 32 * 1024;
/// Routes and Vias beyond this are an attack, not a network.
const MAX_HOPS: usize = 32;

/// What the head of a stream buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Read on.
    Incomplete,
    /// Skip so many bytes (a stray line end, RFC 3261 §7.5).
    Skip(usize),
    /// A keep-alive of so many bytes, to be answered with CRLF (RFC 5626 §3.5.1).
    Ping(usize),
    /// A message of so many bytes.
    Message(usize),
    /// The stream cannot be read any further.
    TooLarge,
    /// The same, for a broken Content-Length.
    Broken,
}

/// Looks for one message at the head of `buffer` (RFC 3261 §18.3: Content-Length delimits on streams).
pub(super) fn frame(buffer: &[u8]) -> Frame {
    if buffer.starts_with(b"\r\n\r\n") {
        return Frame::Ping(4);
    }
    if let Some(rest) = buffer.strip_prefix(b"\r\n") {
        return if rest.first().is_some_and(|b| *b != b'\r') { Frame::Skip(2) } else { Frame::Incomplete };
    }
    if buffer.first() == Some(&b'\n') {
        return Frame::Skip(1);
    }
    let Some(head_len) = find(buffer, b"\r\n\r\n").map(|at| at + 4) else {
        return if buffer.len() > MAX_MESSAGE_BYTES { Frame::TooLarge } else { Frame::Incomplete };
    };
    let body_len = match content_length(buffer.get(..head_len).unwrap_or_default()) {
        ContentLength::Is(n) => n,
        ContentLength::Missing => 0,
        ContentLength::Broken => return Frame::Broken,
    };
    match head_len.checked_add(body_len) {
        Some(total) if total <= MAX_MESSAGE_BYTES => {
            if buffer.len() >= total {
                Frame::Message(total)
            } else {
                Frame::Incomplete
            }
        }
        _ => Frame::TooLarge,
    }
}

enum ContentLength {
    Is(usize),
    Missing,
    Broken,
}

fn content_length(head: &[u8]) -> ContentLength {
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l") {
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            let number = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
            return match number.and_then(|d| d.parse().ok()) {
                Some(n) => ContentLength::Is(n),
                None => ContentLength::Broken,
            };
        }
    }
    ContentLength::Missing
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// A message that cannot be used.
#[derive(Debug)]
pub(super) struct Malformed {
    /// What an answer must repeat; `None` when nobody can be answered.
    pub(super) echo: Option<Echo>,
    pub(super) rejection: Rejection,
}

impl Malformed {
    fn hopeless(text: &'static str) -> Box<Self> {
        Box::new(Self { echo: None, rejection: Rejection::malformed(text) })
    }
}

/// Reads one message that came from `peer`; the top Via of a request is stamped with it (RFC 3261 §18.2.1, RFC 3581).
pub(super) fn read(bytes: &[u8], peer: SocketAddr) -> Result<SipMessage, Box<Malformed>> {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    let bytes = bytes.get(start..).unwrap_or_default();
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Err(Malformed::hopeless("the header section has no end")) };
    let (head, rest) = bytes.split_at(end);
    let body = rest.get(4..).unwrap_or_default();
    let length = content_length(head);
    let head = String::from_utf8_lossy(head);

    let parse = || -> Result<SipMessage, &'static str> {
        // Without its body: the length is ours to judge.
        SipMessage::try_from(format!("{head}\r\n\r\n").as_bytes()).map_err(|_| "the message cannot be parsed")
    };
    let ugly = head.bytes().any(|b| b < b' ' && !matches!(b, b'\t' | b'\r' | b'\n')) || stray_cr(&head);
    if head.starts_with("SIP/") {
        if bytes.len() > MAX_MESSAGE_BYTES || ugly {
            return Err(Malformed::hopeless("the response is too large, or has control characters"));
        }
        let SipMessage::Response(mut response) = parse().map_err(Malformed::hopeless)? else {
            return Err(Malformed::hopeless("neither request nor response"));
        };
        response.body = cut(body, length).map_err(Malformed::hopeless)?;
        check_response(&response).map_err(Malformed::hopeless)?;
        return Ok(SipMessage::Response(response));
    }
    let reject = |rejection: Rejection| Box::new(Malformed { echo: Echo::from_head(&head, peer), rejection });
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(reject(Rejection::too_large()));
    }
    if ugly {
        return Err(reject(Rejection::malformed("control characters in the header section")));
    }
    let mut request = match parse() {
        Ok(SipMessage::Request(request)) => request,
        Ok(SipMessage::Response(_)) => return Err(Malformed::hopeless("neither request nor response")),
        Err(text) => return Err(reject(why_unparsed(&head, text))),
    };
    if request.version != Version::V2 {
        return Err(reject(Rejection::version()));
    }
    request.body = cut(body, length).map_err(|text| reject(Rejection::malformed(text)))?;
    check(&mut request, peer).map_err(|text| reject(Rejection::malformed(text)))?;
    Ok(SipMessage::Request(request))
}

/// The body that Content-Length delimits; without one it is all that there is.
fn cut(body: &[u8], length: ContentLength) -> Result<Vec<u8>, &'static str> {
    match length {
        ContentLength::Missing => Ok(body.to_vec()),
        ContentLength::Is(n) => body.get(..n).map(<[u8]>::to_vec).ok_or("the body is shorter than Content-Length"),
        ContentLength::Broken => Err("Content-Length is no number"),
    }
}

/// A carriage return that does not end a line would end one in another reader.
fn stray_cr(head: &str) -> bool {
    head.split('\n').any(|line| line.strip_suffix('\r').unwrap_or(line).contains('\r'))
}

/// What is wrong with a request that does not parse.
fn why_unparsed(head: &str, text: &'static str) -> Rejection {
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split([' ', '\t']);
    let method = words.next().unwrap_or_default();
    let version = words.next_back().unwrap_or_default();
    if version.starts_with("SIP/") && version != "SIP/2.0" {
        return Rejection::version();
    }
    let token = !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b));
    if token && version == "SIP/2.0" && rsipstack::sip::Method::try_from(method).is_err() {
        return Rejection::method_unknown();
    }
    Rejection::malformed(text)
}

/// The headers that every request must have, readable (RFC 3261 §8.1.1).
fn check(request: &mut Request, peer: SocketAddr) -> Result<(), &'static str> {
    let hops = |h: &&Header| matches!(h, Header::Via(_) | Header::RecordRoute(_) | Header::Route(_));
    if request.headers().iter().filter(hops).count() > MAX_HOPS {
        return Err("too many hops");
    }
    let via = request.via_header_mut().map_err(|_| "Via is missing")?;
    let stamped = stamp_via(via.value(), peer);
    via.replace(stamped);
    request.top_via_header().and_then(|via| via.typed()).map_err(|_| "Via cannot be read")?;
    let call_id = request.call_id_header().map_err(|_| "Call-ID is missing")?;
    if call_id.value().is_empty() {
        return Err("Call-ID is empty");
    }
    request.to_header().map_err(|_| "To is missing")?.typed().map_err(|_| "To cannot be read")?;
    let cseq = request.cseq_header().map_err(|_| "CSeq is missing")?.typed().map_err(|_| "CSeq cannot be read")?;
    if cseq.method != request.method {
        return Err("CSeq has another method");
    }
    let from = request.from_header().map_err(|_| "From is missing")?;
    let tag = from.tag().map_err(|_| "From cannot be read")?;
    if tag.is_none_or(|t| t.value().is_empty()) {
        return Err("From has no tag");
    }
    TransactionKey::from_request(request, TransactionRole::Server).map_err(|_| "the transaction has no key")?;
    Ok(())
}

/// What a response must have to be anybody's (RFC 3261 §8.1.3.3: one Via, which is ours).
fn check_response(response: &Response) -> Result<(), &'static str> {
    if response.headers().iter().filter(|h| matches!(h, Header::RecordRoute(_))).count() > MAX_HOPS {
        return Err("too many hops");
    }
    if !(100..700).contains(&response.status_code.code()) {
        return Err("the status code is none");
    }
    if response.has_multiple_vias() {
        return Err("the response is somebody else's");
    }
    response.to_header().map_err(|_| "To is missing")?.typed().map_err(|_| "To cannot be read")?;
    TransactionKey::from_response(response, TransactionRole::Client).map_err(|_| "the transaction has no key")?;
    Ok(())
}

/// The first value of a Via with `received`, and `rport` filled in when it was asked for.
fn stamp_via(value: &str, peer: SocketAddr) -> String {
    let mut quoted = false;
    let end = value
        .char_indices()
        .find(|(_, c)| {
            quoted ^= *c == '"';
            *c == ',' && !quoted
        })
        .map_or(value.len(), |(at, _)| at);
    let (first, others) = value.split_at(end);
    let mut out = String::with_capacity(value.len() + 40);
    let mut parts = first.split(';');
    out.push_str(parts.next().unwrap_or_default().trim());
    let mut rport = false;
    for part in parts.map(str::trim) {
        let name = part.split('=').next().unwrap_or_default().trim();
        if name.eq_ignore_ascii_case("received") {
            continue;
        }
        if name.eq_ignore_ascii_case("rport") {
            rport = true;
            continue;
        }
        out.push(';');
        out.push_str(part);
    }
    out.push_str(&format!(";received={}", peer.ip().to_canonical()));
    if rport {
        out.push_str(&format!(";rport={}", peer.port()));
    }
    out.push_str(others);
    out
}

/// What a response repeats of its request (RFC 3261 §8.2.6.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Echo {
    vias: Vec<String>,
    from: String,
    to: String,
    call_id: String,
    cseq: String,
}

impl Echo {
    pub(super) fn from_request(request: &Request) -> Self {
        let mut echo = Self::default();
        for header in request.headers.iter() {
            match header {
                Header::Via(v) => echo.vias.push(v.value().to_owned()),
                Header::From(v) => echo.from = v.value().to_owned(),
                Header::To(v) => echo.to = v.value().to_owned(),
                Header::CallId(v) => echo.call_id = v.value().to_owned(),
                Header::CSeq(v) => echo.cseq = v.value().to_owned(),
                _ => {}
            }
        }
        echo
    }

    /// From a header section that does not parse. `None` without a Via, and for an ACK, which nobody answers.
    fn from_head(head: &str, peer: SocketAddr) -> Option<Self> {
        let mut lines = head.lines();
        let method = lines.next()?.split([' ', '\t']).next()?;
        if method.eq_ignore_ascii_case("ACK") {
            return None;
        }
        let mut echo = Self::default();
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value: String = value.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                "via" | "v" if echo.vias.len() < MAX_HOPS => {
                    let first = echo.vias.is_empty();
                    echo.vias.push(if first { stamp_via(&value, peer) } else { value });
                    continue;
                }
                "from" | "f" => &mut echo.from,
                "to" | "t" => &mut echo.to,
                "call-id" | "i" => &mut echo.call_id,
                "cseq" => &mut echo.cseq,
                _ => continue,
            };
            if slot.is_empty() {
                *slot = value;
            }
        }
        (!echo.vias.is_empty() && !echo.call_id.is_empty()).then_some(echo)
    }

    /// The answer as bytes. The To tag is the same for the same request, as nothing is remembered of it.
    pub(super) fn response(&self, code: u16, headers: &[Added], server: &str, seed: &RandomState) -> Vec<u8> {
        let status = StatusCode::from(code);
        let mut out = format!("SIP/2.0 {code} {}\r\n", status.text());
        let mut line = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push_str("\r\n");
        };
        for via in &self.vias {
            line("Via", via);
        }
        line("From", &self.from);
        if has_tag(&self.to) {
            line("To", &self.to);
        } else {
            let tag = seed.hash_one((&self.vias, &self.from, &self.call_id));
            line("To", &format!("{};tag={tag:016x}", self.to));
        }
        line("Call-ID", &self.call_id);
        line("CSeq", &self.cseq);
        for (name, value) in headers {
            line(name, value);
        }
        line("Server", server);
        line("Content-Length", "0");
        out.push_str("\r\n");
        out.into_bytes()
    }

    /// Where the answer goes on a datagram transport (RFC 3261 §18.2.2, RFC 3581 §4); the source when Via is unreadable.
    pub(super) fn target(&self, peer: SocketAddr) -> SocketAddr {
        let top = self.vias.first().map(|via| rsipstack::sip::Via::new(via.clone()));
        let typed = top.and_then(|via| via.first_value().ok()).and_then(|via| via.typed().ok());
        let Some(via) = typed else { return peer };
        let port = match via.rport() {
            Some(Some(port)) => port,
            _ => via.sent_by().port.map_or(5060, |p| p.value()),
        };
        SocketAddr::new(peer.ip(), port)
    }
}

/// A From or To value carries a tag.
pub(super) fn has_tag(value: &str) -> bool {
    let params = value.rsplit_once('>').map_or(value, |(_, params)| params);
    params.split(';').skip(1).any(|p| p.split('=').next().unwrap_or_default().trim().eq_ignore_ascii_case("tag"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
