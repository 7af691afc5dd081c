//! SIP messages as bytes (RFC 3261 §7), read strictly: a server that a test talks to has no excuse. Pure.

use std::fmt::Write as _;

/// First line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// `METHOD uri SIP/2.0`
    Request {
        /// Upper case.
        method: String,
        /// As written.
        uri: String,
    },
    /// `SIP/2.0 code reason`
    Response {
        /// 100–699.
        code: u16,
        /// As written.
        reason: String,
    },
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// First line.
    pub start: StartLine,
    /// Name (long form) and value, in order.
    pub headers: Vec<(String, String)>,
    /// After the empty line; exactly Content-Length bytes.
    pub body: Vec<u8>,
}

impl Message {
    /// An empty request.
    pub fn request(method: &str, uri: &str) -> Self {
        let start = StartLine::Request { method: method.to_owned(), uri: uri.to_owned() };
        Self { start, headers: Vec::new(), body: Vec::new() }
    }

    /// The response to `request` with the headers that every response copies (RFC 3261 §8.2.6.2); `tag` goes on To
    /// when it has none.
    pub fn response(request: &Self, code: u16, reason: &str, tag: &str) -> Self {
        let start = StartLine::Response { code, reason: reason.to_owned() };
        let mut message = Self { start, headers: Vec::new(), body: Vec::new() };
        for (name, value) in &request.headers {
            match name.as_str() {
                "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route" => message.add(name, value),
                "To" if param(value, "tag").is_none() => message.add("To", &format!("{value};tag={tag}")),
                "To" => message.add("To", value),
                _ => {}
            }
        }
        message
    }

    /// Appends a header.
    pub fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Appends a header, for building in one expression.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.add(name, value);
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: &str) -> Self {
        self.add("Content-Type", content_type);
        self.body = body.as_bytes().to_vec();
        self
    }

    /// First header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Status of a response, 0 for a request.
    pub fn code(&self) -> u16 {
        if let StartLine::Response { code, .. } = self.start { code } else { 0 }
    }

    /// Method of a request, or the one that a response answers (from CSeq).
    pub fn method(&self) -> &str {
        match &self.start {
            StartLine::Request { method, .. } => method,
            StartLine::Response { .. } => self.cseq().map_or("", |(_, method)| method),
        }
    }

    /// CSeq as number and method.
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.split_once(' ')?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// Branch of the top Via.
    pub fn branch(&self) -> Option<&str> {
        param(self.header("Via")?, "branch")
    }

    /// Body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The bytes, with a true Content-Length.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = match &self.start {
            StartLine::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            StartLine::Response { code, reason } => format!("SIP/2.0 {code} {reason}\r\n"),
        };
        for (name, value) in self.headers.iter().filter(|(n, _)| n != "Content-Length") {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads the message at the beginning of `bytes`; gives it and its length. `datagram`: the message ends with the
    /// bytes, and Content-Length, when there, must say so.
    ///
    /// # Errors
    /// `Ok(None)` when more bytes are needed (streams only), a sentence when it is malformed.
    pub fn parse(bytes: &[u8], datagram: bool) -> Result<Option<(Self, usize)>, String> {
        let Some(head_len) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return if datagram { Err("no empty line ends the header".to_owned()) } else { Ok(None) };
        };
        let head = std::str::from_utf8(&bytes[..head_len]).map_err(|e| format!("header is not UTF-8: {e}"))?;
        let mut lines = head.split("\r\n");
        let start = parse_start(lines.next().unwrap_or(""))?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                let last = headers.last_mut().ok_or("folded line without a header before it")?;
                last.1 = format!("{} {}", last.1, line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
            headers.push((long_form(name.trim()), value.trim().to_owned()));
        }
        let lengths: Vec<&str> =
            headers.iter().filter(|(n, _)| n == "Content-Length").map(|(_, v)| v.as_str()).collect();
        let stated = match lengths.as_slice() {
            [] => None,
            [one] => Some(one.parse::<usize>().map_err(|_| format!("Content-Length {one:?}"))?),
            many => return Err(format!("{} Content-Length headers", many.len())),
        };
        let rest = &bytes[head_len + 4..];
        let body_len = match (stated, datagram) {
            (Some(n), true) if n != rest.len() => {
                return Err(format!("Content-Length {n}, but the body has {} bytes", rest.len()));
            }
            (None, true) => rest.len(),
            (Some(n), _) if n > rest.len() => return Ok(None),
            (Some(n), _) => n,
            (None, false) => return Err("no Content-Length on a stream".to_owned()),
        };
        Ok(Some((Self { start, headers, body: rest[..body_len].to_vec() }, head_len + 4 + body_len)))
    }
}

fn parse_start(line: &str) -> Result<StartLine, String> {
    let bad = || format!("start line {line:?}");
    let mut parts = line.splitn(3, ' ');
    let (a, b, c) = (parts.next().ok_or_else(bad)?, parts.next().ok_or_else(bad)?, parts.next().unwrap_or(""));
    if a == "SIP/2.0" {
        let code = b.parse().ok().filter(|c| (100..700).contains(c)).ok_or_else(bad)?;
        return Ok(StartLine::Response { code, reason: c.to_owned() });
    }
    if c != "SIP/2.0" || a.is_empty() || !a.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(bad());
    }
    Ok(StartLine::Request { method: a.to_owned(), uri: b.to_owned() })
}

/// Compact forms (RFC 3261 §7.3.3) and case are taken away.
fn long_form(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "v" | "via" => "Via",
        "f" | "from" => "From",
        "t" | "to" => "To",
        "i" | "call-id" => "Call-ID",
        "m" | "contact" => "Contact",
        "l" | "content-length" => "Content-Length",
        "c" | "content-type" => "Content-Type",
        "cseq" => "CSeq",
        "k" | "supported" => "Supported",
        _ => {
            return lower
                .split('-')
                .map(|word| {
                    let mut chars = word.chars();
                    chars.next().map_or(String::new(), |c| c.to_ascii_uppercase().to_string() + chars.as_str())
                })
                .collect::<Vec<_>>()
                .join("-");
        }
    }
    .to_owned()
}

/// A parameter of a header value (after the `>` of a name-addr, when there is one).
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let after = value.rfind('>').map_or(value, |at| &value[at..]);
    after.split(';').skip(1).find_map(|p| {
        let (n, v) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then(|| v.trim())
    })
}

/// The URI of a name-addr or addr-spec header value.
pub fn uri_of(value: &str) -> &str {
    match (value.find('<'), value.rfind('>')) {
        (Some(a), Some(b)) if a < b => &value[a + 1..b],
        _ => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// A parameter of a URI, such as `transport`.
pub fn uri_param<'a>(uri: &'a str, name: &str) -> Option<&'a str> {
    uri.split(';').skip(1).find_map(|p| {
        let (n, v) = p.split_once('=').unwrap_or((p, ""));
        n.eq_ignore_ascii_case(name).then_some(v)
    })
}

/// `host:port` of a SIP URI; port 5060 when it has none.
pub fn host_port(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = rest.split([';', '?']).next().unwrap_or(rest);
    let has_port = host.rsplit_once(':').is_some_and(|(h, p)| p.parse::<u16>().is_ok() && !h.ends_with(':'));
    if has_port { host.to_owned() } else { format!("{host}:5060") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] =
        b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 127.0.0.1:5;branch=z9hG4bKx;rport\r\nFrom: <sip:a@b;x=y>;tag=1\r\n\
        t: \"T;tag=no\" <sip:c@d>;tag=2\r\nCSeq: 7 INVITE\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn datagram_is_read_with_compact_forms() {
        let (m, len) = Message::parse(OK, true).unwrap().unwrap();
        assert_eq!((m.code(), m.method(), len), (200, "INVITE", OK.len()));
        assert_eq!(m.branch(), Some("z9hG4bKx"));
        assert_eq!(param(m.header("To").unwrap(), "tag"), Some("2"));
        assert_eq!(m.cseq(), Some((7, "INVITE")));
        assert_eq!(m.text(), "abc");
        assert_eq!(Message::parse(&m.to_bytes(), true).unwrap().unwrap().0.body, m.body);
    }

    #[test]
    fn wrong_content_length_is_refused() {
        let wrong = String::from_utf8(OK.to_vec()).unwrap().replace("Content-Length: 3", "Content-Length: 4");
        assert!(Message::parse(wrong.as_bytes(), true).is_err());
        assert_eq!(Message::parse(wrong.as_bytes(), false), Ok(None));
    }

    #[test]
    fn stream_needs_content_length_and_all_of_the_body() {
        assert_eq!(Message::parse(&OK[..20], false), Ok(None));
        let mut two = OK.to_vec();
        two.extend_from_slice(OK);
        assert_eq!(Message::parse(&two, false).unwrap().unwrap().1, OK.len());
        assert!(Message::parse(b"SIP/2.0 200 OK\r\nCSeq: 1 BYE\r\n\r\n", false).is_err());
    }

    #[test]
    fn uri_parts() {
        assert_eq!(uri_of("\"B\" <sip:1@h:9;transport=tcp>;tag=x"), "sip:1@h:9;transport=tcp");
        assert_eq!(uri_param("sip:1@h:9;transport=tcp", "transport"), Some("tcp"));
        assert_eq!(host_port("sip:1@127.0.0.1:9;transport=tcp"), "127.0.0.1:9");
        assert_eq!(host_port("sip:127.0.0.1"), "127.0.0.1:5060");
        assert_eq!(host_port("sip:1@[::1]:9"), "[::1]:9");
        assert_eq!(host_port("sip:1@[::1]"), "[::1]:5060");
    }

    #[test]
    fn response_copies_what_it_must() {
        let request = Message::request("BYE", "sip:x@y").with("Via", "v").with("To", "<sip:x>").with("X", "1");
        let response = Message::response(&request, 200, "OK", "t");
        assert_eq!(response.header("To"), Some("<sip:x>;tag=t"));
        assert_eq!(response.header("X"), None);
    }
}
