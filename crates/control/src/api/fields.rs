//! Request bodies, field by field: each that breaks its rule is one violation, and all of them are told at once. A body is
//! read within limits of size and time; unknown fields are passed over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::Api;
use crate::error::{Error, Violation};

/// A body that takes longer than this is not waited for.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Read beyond the limit before the connection is cut.
const MAX_DISCARDED_BYTES: usize = 8 << 20;

/// What a body says of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// Nothing.
    Absent,
    /// `null`.
    Null,
    /// This.
    Value(T),
}

impl<T> Given<T> {
    /// The value, when there is one.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// What a field is after this: absent leaves it, null clears it.
    pub(super) fn onto(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Absent => present,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// What a field with a default is after this: absent leaves it, null takes it back to its default.
    pub(super) fn over(self, present: T, default: T) -> T {
        match self {
            Self::Absent => present,
            Self::Null => default,
            Self::Value(value) => value,
        }
    }
}

/// A JSON object on its way to domain types.
#[derive(Debug)]
pub(super) struct Fields {
    given: Map<String, Value>,
    violations: Vec<Violation>,
}

impl FromRequest<Arc<Api>> for Fields {
    type Rejection = Error;

    async fn from_request(request: Request<Body>, api: &Arc<Api>) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Error::MediaType);
        }
        let read = body(request.into_body(), api.body_limit_bytes);
        let bytes = tokio::time::timeout(BODY_PATIENCE, read).await.map_err(|_| Error::TooSlow)??;
        Self::parse(&bytes)
    }
}

impl Fields {
    /// A form's fields, each of them text (WHATWG URL, application/x-www-form-urlencoded).
    pub(super) async fn of_form(request: Request<Body>, api: &Api) -> Result<Self, Error> {
        let read = body(request.into_body(), api.body_limit_bytes);
        let bytes = tokio::time::timeout(BODY_PATIENCE, read).await.map_err(|_| Error::TooSlow)??;
        let mut given = Map::new();
        for (name, value) in url::form_urlencoded::parse(&bytes) {
            if given.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(Error::invalid("", "the body must be one form: a field is given twice"));
            }
        }
        Ok(Self { given, violations: Vec::new() })
    }
}

/// The body, if it is within the limit. One that is not is read on for a while: a client that is cut off while it writes
/// never sees the answer that says why.
async fn body(mut body: Body, limit: usize) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        // A body that breaks off has nobody left to answer.
        let Ok(chunk) = frame.map_err(|_| Error::TooLarge(limit))?.into_data() else { continue };
        read += chunk.len();
        if read <= limit {
            bytes.extend_from_slice(&chunk);
        } else if read > limit.saturating_add(MAX_DISCARDED_BYTES) {
            break;
        }
    }
    if read > limit { Err(Error::TooLarge(limit)) } else { Ok(bytes) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

impl Fields {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let given = json
            .deserialize_map(UniqueFields)
            .and_then(|given| json.end().map(|()| given))
            .map_err(|e| Error::invalid("", format!("the body must be one JSON object: {e}")))?;
        Ok(Self { given, violations: Vec::new() })
    }

    /// A field that must be there.
    pub(super) fn required<T>(&mut self, name: &'static str, read: impl Rule<T>) -> Option<T> {
        match self.optional(name, read) {
            Given::Value(value) => Some(value),
            Given::Absent | Given::Null => {
                if !self.violations.iter().any(|v| v.field == name) {
                    self.violate(name, format!("{name} is required"));
                }
                None
            }
        }
    }

    /// A field that may be absent, or null to clear it.
    pub(super) fn optional<T>(&mut self, name: &'static str, read: impl Rule<T>) -> Given<T> {
        match self.given.get(name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => match read.read(value) {
                Ok(value) => Given::Value(value),
                Err(rule) => {
                    self.violate(name, format!("{name} {rule}"));
                    Given::Absent
                }
            },
        }
    }

    /// A field that may be absent, and cannot be cleared.
    pub(super) fn settable<T>(&mut self, name: &'static str, read: impl Rule<T>) -> Given<T> {
        let given = self.optional(name, read);
        if matches!(given, Given::Null) {
            self.violate(name, format!("{name} cannot be null"));
        }
        given
    }

    fn violate(&mut self, name: &'static str, message: String) {
        self.violations.push(Violation::new(name, message));
    }

    /// All violations, if there are any.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match std::mem::take(&mut self.violations) {
            violations if violations.is_empty() => Ok(()),
            violations => Err(Error::Invalid(violations)),
        }
    }
}

/// A JSON object whose keys differ: a second value for a key would silently win over the first.
struct UniqueFields;

impl<'de> Visitor<'de> for UniqueFields {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, value)) = access.next_entry::<String, Value>()? {
            if fields.contains_key(&key) {
                return Err(serde::de::Error::custom("a field is given twice"));
            }
            fields.insert(key, value);
        }
        Ok(fields)
    }
}

// -- rules -------------------------------------------------------------------------------------------------------------

/// Reads one value; the error says what is allowed, to follow the field's name.
pub(super) trait Rule<T> {
    fn read(self, value: &Value) -> Result<T, String>;
}

impl<T, F: FnOnce(&Value) -> Result<T, String>> Rule<T> for F {
    fn read(self, value: &Value) -> Result<T, String> {
        self(value)
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

/// A whole number; `7.0` is one (JSON Schema).
pub(super) fn integer(least: i64, most: i64) -> impl Fn(&Value) -> Result<i64, String> {
    move |value| {
        let whole = |n: f64| (n.fract() == 0.0 && n.abs() < 1e15).then_some(n as i64);
        let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
        number
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }
}

/// Text of so many characters, without NUL, which no database likes.
pub(super) fn text(least: usize, most: usize) -> impl Fn(&Value) -> Result<String, String> {
    move |value| {
        let fits = |text: &&str| (least..=most).contains(&text.chars().count()) && !text.contains('\0');
        let text = value.as_str().filter(fits);
        text.map(str::to_owned).ok_or_else(|| format!("must be text of {least} to {most} characters"))
    }
}

/// So many digits.
pub(super) fn digits(least: usize, most: usize) -> impl Fn(&Value) -> Result<String, String> {
    move |value| {
        let fits = |text: &&str| (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        value.as_str().filter(fits).map(str::to_owned).ok_or_else(|| format!("must be {least} to {most} digits"))
    }
}

/// One of a few words.
pub(super) fn word<T>(
    words: &'static [&'static str],
    parse: fn(&str) -> Option<T>,
) -> impl Fn(&Value) -> Result<T, String> {
    move |value| value.as_str().and_then(parse).ok_or_else(|| format!("must be one of {}", words.join(", ")))
}

/// RFC 3339, in any offset.
pub(super) fn time(value: &Value) -> Result<Timestamp, String> {
    let rule = || "must be a time as RFC 3339 has it, such as 2030-07-21T17:32:28Z".to_owned();
    let text = value.as_str().filter(|text| is_rfc3339(text.as_bytes())).ok_or_else(rule)?;
    let time: Timestamp = text.parse().map_err(|_| rule())?;
    // What the database keeps is what is answered.
    Timestamp::from_millisecond(time.as_millisecond()).map_err(|_| rule())
}

/// The shape of RFC 3339 §5.6 `date-time`: the parser behind takes more than that.
fn is_rfc3339(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_at_checked(19) else { return false };
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(c, s): (&u8, &u8)| if *s == b'd' { c.is_ascii_digit() } else { c.eq_ignore_ascii_case(s) };
    if !head.iter().zip(shape).all(fits) {
        return false;
    }
    let offset = match tail {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or(&[])
        }
        tail => tail,
    };
    match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => offset.len() == 5 && offset.iter().zip(b"dd:dd").all(fits),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_one_object_is_refused_with_a_reason() {
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        for body in ["", "[]", "7", "null", "{", "{\"a\":1}x", "{\"a\":1,\"a\":2}", "{\"a\":\"\\ud800\"}", &deep] {
            assert!(matches!(Fields::parse(body.as_bytes()), Err(Error::Invalid(_))), "{body:.40}");
        }
        assert!(matches!(Fields::parse(b"{\"a\":\"\xff\"}"), Err(Error::Invalid(_))));
    }

    #[test]
    fn absent_null_and_value_are_three_things() {
        let mut fields = fields(r#"{"null": null, "here": "x", "unknown": {}}"#);
        assert_eq!(fields.optional("here", text(1, 9)), Given::Value("x".to_owned()));
        assert_eq!(fields.optional("null", text(1, 9)), Given::Null);
        assert_eq!(fields.optional("absent", text(1, 9)), Given::Absent);
        fields.finish().unwrap();
        assert_eq!(Given::Absent.onto(Some(1)), Some(1));
        assert_eq!(Given::<i32>::Null.onto(Some(1)), None);
        assert_eq!(Given::Null.over(1, 2), 2);
        assert_eq!(Given::Absent.over(1, 2), 1);
    }

    #[test]
    fn each_broken_field_is_one_violation() {
        let mut fields = fields(r#"{"a": 5, "b": null, "c": "x"}"#);
        fields.required("a", text(1, 9));
        fields.required("b", text(1, 9));
        fields.settable("b2", boolean);
        fields.settable("c", boolean);
        fields.required("d", boolean);
        let Err(Error::Invalid(violations)) = fields.finish() else { panic!() };
        let named: Vec<&str> = violations.iter().map(|v| v.field.as_ref()).collect();
        assert_eq!(named, ["a", "b", "c", "d"]);
        assert_eq!(violations[1].message, "b is required");
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        let read = integer(1, 200);
        assert_eq!(read(&json!(200)), Ok(200));
        assert_eq!(read(&json!(7.0)), Ok(7));
        for wrong in [json!(0), json!(201), json!(1.5), json!("7"), json!(1e300), json!(u64::MAX), json!(true)] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_rfc_3339_and_come_out_in_utc() {
        let read = |text: &str| time(&json!(text)).map(|t| t.to_string());
        assert_eq!(read("2017-07-21T17:32:28Z").as_deref(), Ok("2017-07-21T17:32:28Z"));
        assert_eq!(read("2017-07-21t19:32:28.5+02:00").as_deref(), Ok("2017-07-21T17:32:28.5Z"));
        for wrong in [
            "2017-07-21",
            "2017-07-21 17:32:28Z",
            "2017-07-21T17:32:28",
            "20170721T173228Z",
            "2017-07-21T17:32:28Z[UTC]",
            "2017-02-30T17:32:28Z",
            "2017-07-21T17:32:28.Z",
            "2017-07-21T17:32:28+2:00",
            "tomorrow",
            "",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_is_measured_in_characters() {
        let read = text(1, 3);
        assert!(read(&json!("äöü")).is_ok());
        for wrong in [json!(""), json!("abcd"), json!("a\0"), json!(1)] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
        assert!(digits(3, 4)(&json!("0123")).is_ok());
        for wrong in ["12", "12345", "12a", "１２３", ""] {
            assert!(digits(3, 4)(&json!(wrong)).is_err(), "{wrong}");
        }
    }
}
