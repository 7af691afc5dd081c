//! Names and values of queries and forms (WHATWG URL §5.1, application/x-www-form-urlencoded). What is not UTF-8 is refused:
//! the parser would put U+FFFD in its place, and a text be looked for, or kept, that nobody wrote. Pure.

use axum::http::Uri;
use url::form_urlencoded;

use crate::error::Error;

/// Of a query.
pub(super) fn of_query(uri: &Uri) -> Result<Vec<(String, String)>, Error> {
    parse(uri.query().unwrap_or("").as_bytes()).ok_or_else(|| Error::invalid("", "the query must be UTF-8"))
}

/// Of a body.
pub(super) fn of_form(body: &[u8]) -> Result<Vec<(String, String)>, Error> {
    parse(body).ok_or_else(|| Error::invalid("", "the body must be UTF-8"))
}

fn parse(encoded: &[u8]) -> Option<Vec<(String, String)>> {
    // As a whole, as what separates names and values is ASCII and part of no other character.
    std::str::from_utf8(&decoded(encoded)).ok()?;
    Some(form_urlencoded::parse(encoded).into_owned().collect())
}

/// With the bytes that `%XX` stand for.
fn decoded(mut encoded: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(encoded.len());
    while let Some((&first, rest)) = encoded.split_first() {
        let escaped = match (first, rest) {
            (b'%', [high, low, after @ ..]) => {
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, rest));
        bytes.push(byte);
        encoded = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded() {
        let pairs = |text: &str| parse(text.as_bytes()).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("a=b+c&%24d=%C3%A4&e&&f=%"),
            [pair("a", "b c"), pair("$d", "ä"), pair("e", ""), pair("f", "%")]
        );
        assert_eq!(pairs("a=%2&b=%zz&c=%+1"), [pair("a", "%2"), pair("b", "%zz"), pair("c", "% 1")]);
        assert_eq!(pairs("ä=%c3%a4"), [pair("ä", "ä")]);
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        for encoded in ["a=%ff", "%ff=a", "a=%c3&b=%a4", "a=%ed%a0%80", "a=%C0%80"] {
            assert_eq!(parse(encoded.as_bytes()), None, "{encoded}");
        }
        assert_eq!(parse(b"a=\xff"), None);
    }
}
