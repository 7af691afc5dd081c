//! INFO bodies: keys (`application/dtmf-relay`, `application/dtmf`) and the wish for a keyframe
//! (`application/media_control+xml`, RFC 5168). Pure text; digits never reach a log.

use media::Digit;

/// What an INFO body turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Info {
    /// A key.
    Key(Digit),
    /// The far end cannot decode without a keyframe.
    Refresh,
    /// Nothing to do: an empty body (a keep-alive), a hook flash.
    Nothing,
    /// A body of a kind we take, that cannot be read (400).
    Malformed,
    /// A body of a kind we do not take (415).
    Unsupported,
}

/// Content types of INFO that we take, for `Accept`.
pub(super) const INFO_TYPES: [&str; 3] = ["application/dtmf-relay", "application/dtmf", MEDIA_CONTROL];

/// RFC 5168.
pub(super) const MEDIA_CONTROL: &str = "application/media_control+xml";

/// Our own wish for a keyframe (RFC 5168 §7.1).
pub(super) const PICTURE_FAST_UPDATE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<media_control><vc_primitive>\
    <to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>\r\n";

/// Larger ones are no wish for a keyframe.
const MAX_MEDIA_CONTROL_BYTES: usize = 4096;

/// Reads an INFO. `content_type` with or without parameters; `None` when the header is missing.
pub(super) fn read(content_type: Option<&str>, body: &[u8]) -> Info {
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if body.iter().all(u8::is_ascii_whitespace) {
        return Info::Nothing;
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return if is_ours(kind) { Info::Malformed } else { Info::Unsupported };
    };
    if kind.eq_ignore_ascii_case(MEDIA_CONTROL) {
        // One element is all that is in use of this document type, with or without a prefix; what else it may hold (general
        // errors, RFC 5168 §5) asks for nothing.
        let is_wish = text.len() <= MAX_MEDIA_CONTROL_BYTES && text.contains("picture_fast_update");
        return if is_wish { Info::Refresh } else { Info::Nothing };
    }
    if kind.eq_ignore_ascii_case(INFO_TYPES[0]) {
        let signal = text.lines().find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        });
        signal.map_or(Info::Malformed, key)
    } else if kind.eq_ignore_ascii_case(INFO_TYPES[1]) {
        // Cisco sends `Signal=5` under this type too, most others the bare key.
        let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
        key(line.split_once('=').map_or(line, |(_, value)| value.trim()))
    } else {
        Info::Unsupported
    }
}

fn is_ours(kind: &str) -> bool {
    INFO_TYPES.iter().any(|t| t.eq_ignore_ascii_case(kind))
}

/// One key, as a character or as an event number (RFC 4733 §3.2: 10 is `*`, 11 is `#`, 12–15 are A–D, 16 is flash).
fn key(value: &str) -> Info {
    let mut chars = value.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return match c {
            '!' => Info::Nothing,
            c => Digit::from_char(c).map_or(Info::Malformed, Info::Key),
        };
    }
    match value.parse::<u8>() {
        Ok(16) => Info::Nothing,
        Ok(code) => Digit::from_event(code).map_or(Info::Malformed, Info::Key),
        Err(_) if value.eq_ignore_ascii_case("flash") => Info::Nothing,
        Err(_) => Info::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(info: Info) -> Option<char> {
        match info {
            Info::Key(d) => Some(d.as_char()),
            _ => None,
        }
    }

    #[test]
    fn keys_are_read_in_every_spelling_in_the_field() {
        for (kind, body, expected) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", '5'),
            ("application/dtmf-relay; charset=utf-8", "Duration=160\r\nsignal = #\r\n", '#'),
            ("APPLICATION/DTMF-RELAY", "Signal: *", '*'),
            ("application/dtmf-relay", "Signal=11\nDuration=250", '#'),
            ("application/dtmf", "5", '5'),
            ("application/dtmf", "\r\nd\r\n", 'D'),
            ("application/dtmf", "Signal=10", '*'),
        ] {
            assert_eq!(pressed(read(Some(kind), body.as_bytes())), Some(expected), "{kind} {body:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        assert_eq!(read(None, b""), Info::Nothing);
        assert_eq!(read(Some("application/media_control+xml"), b"<x/>"), Info::Nothing);
        assert_eq!(read(Some("application/media_control+xml"), PICTURE_FAST_UPDATE.as_bytes()), Info::Refresh);
        assert_eq!(read(Some("application/media_control+xml"), b"\xff"), Info::Malformed);
        assert_eq!(read(None, b"5"), Info::Unsupported);
        assert_eq!(read(Some("application/dtmf"), b"!"), Info::Nothing);
        assert_eq!(read(Some("application/dtmf-relay"), b"Signal=16"), Info::Nothing);
        assert_eq!(read(Some("application/dtmf-relay"), b"Duration=160"), Info::Malformed);
        assert_eq!(read(Some("application/dtmf-relay"), b"Signal="), Info::Malformed);
        assert_eq!(read(Some("application/dtmf"), b"999999999999"), Info::Malformed);
        assert_eq!(read(Some("application/dtmf"), b"\xff\xfe"), Info::Malformed);
        assert_eq!(read(Some("text/plain"), b"\xff\xfe"), Info::Unsupported);
    }
}
