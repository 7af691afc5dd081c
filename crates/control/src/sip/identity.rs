//! Who calls: a From header as the name-addr that people see, cleaned of what does not belong into a list or a log.
//! Pure text. Knows no dialog.

/// Longest name or URI kept, in characters.
const MAX_CHARS: usize = 256;

/// A caller as rooms show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// `"Bob"<sip:101@host>`; without a name `<sip:101@host>`.
    pub(super) display: String,
    /// User part of the URI, percent-decoded; empty when there is none.
    pub(super) number: String,
}

impl Identity {
    /// From the value of a From header (RFC 3261 §20.20). Never fails: what cannot be read is left out.
    pub(super) fn from_header(value: &str) -> Self {
        let (name, uri) = split_name_addr(value);
        let uri = clean(uri, MAX_CHARS);
        let name = clean(&unquote(name), MAX_CHARS);
        let display =
            if name.is_empty() { format!("<{uri}>") } else { format!("\"{}\"<{uri}>", name.replace(['"', '\\'], "'")) };
        Self { display: clip(&display, MAX_CHARS), number: user_of(&uri) }
    }
}

/// Percent-decodes (RFC 3261 §19.1.2); a broken escape stays as written, bytes that are no UTF-8 are replaced.
pub(super) fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten().and_then(|h| std::str::from_utf8(h).ok());
        match hex.filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Name and URI of a name-addr or addr-spec, quotes respected.
fn split_name_addr(value: &str) -> (&str, &str) {
    let value = value.trim();
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => {
                let name = value.get(..at).unwrap_or_default();
                let uri = value.get(at + 1..).unwrap_or_default();
                return (name.trim(), uri.split('>').next().unwrap_or_default());
            }
            _ => {}
        }
    }
    // addr-spec: parameters belong to the header, not to the URI.
    ("", value.split(';').next().unwrap_or_default())
}

fn unquote(name: &str) -> String {
    let Some(inner) = name.strip_prefix('"').map(|n| n.strip_suffix('"').unwrap_or(n)) else { return name.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

fn user_of(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
    let user = user.split([':', ';']).next().unwrap_or_default();
    clean(&percent_decode(user), MAX_CHARS)
}

/// No control or bidirectional-override characters, no angle brackets, bounded.
pub(super) fn clean(text: &str, max_chars: usize) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '<' | '>' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.trim().chars().filter(|c| !hidden(*c)).take(max_chars).collect()
}

fn clip(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_header_becomes_a_name_addr() {
        for (from, display, number) in [
            (r#""Bob" <sip:101@10.0.0.1>;tag=1"#, r#""Bob"<sip:101@10.0.0.1>"#, "101"),
            (r"Bob Smith <sip:101@h>", r#""Bob Smith"<sip:101@h>"#, "101"),
            (r"<sip:h>;tag=2", "<sip:h>", ""),
            ("sip:102@h;tag=3", "<sip:102@h>", "102"),
            (r#""a < b, \"c\"" <sip:+49%20x@h;user=phone>"#, r#""a  b, 'c'"<sip:+49%20x@h;user=phone>"#, "+49 x"),
            ("tel:+4930", "<tel:+4930>", ""),
            ("sip:u:secret@h", "<sip:u:secret@h>", "u"),
            ("", "<>", ""),
        ] {
            let id = Identity::from_header(from);
            assert_eq!((id.display.as_str(), id.number.as_str()), (display, number), "{from}");
        }
    }

    #[test]
    fn control_and_override_characters_never_reach_a_list() {
        let id = Identity::from_header("\"A\u{202e}\r\n\u{0}B\" <sip:1\u{7}@h>");
        assert_eq!(id.display, "\"AB\"<sip:1@h>");
    }

    #[test]
    fn long_names_are_cut() {
        let id = Identity::from_header(&format!("\"{}\" <sip:1@h>", "ä".repeat(5000)));
        assert!(id.display.chars().count() <= MAX_CHARS);
    }

    #[test]
    fn broken_escapes_stay_as_written() {
        assert_eq!(percent_decode("a%2"), "a%2");
        assert_eq!(percent_decode("%zz%23%"), "%zz#%");
        assert_eq!(percent_decode("%+1"), "%+1");
    }
}
