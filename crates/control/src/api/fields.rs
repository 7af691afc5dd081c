//! Request bodies, field by field: each that breaks its rule is one violation, and all of them are told at once. A body is
//! read within limits of size and time; unknown fields are passed over. What a body may hold is written down once, with
//! `body!`; the rules are in `fields/rules.rs` and `fields/grammars.rs`.

mod body;
mod grammars;
mod rules;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Api, pairs};
use crate::error::{Error, Violation};

pub(super) use body::{Body, Field, Presence, body, prose, schema_of};
pub(super) use grammars::{Addresses, DialString, Ipv4, Ipv6, JsonText, Language, TimeZone, WebUrl};
pub(super) use rules::{Boolean, MAX_LIST, Named, Nested, Rule, Time, digits, integer, list_of, text, word};

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

    /// The same of what the value makes.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Self::Absent => Given::Absent,
            Self::Null => Given::Null,
            Self::Value(value) => Given::Value(make(value)),
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
    /// In a form; of those that nobody asks for it does not matter.
    twice: Vec<String>,
    violations: Vec<Violation>,
}

impl FromRequest<Arc<Api>> for Fields {
    type Rejection = Error;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Error::MediaType);
        }
        let read = whole(request.into_body(), api.body_limit_bytes);
        let bytes = tokio::time::timeout(BODY_PATIENCE, read).await.map_err(|_| Error::TooSlow)??;
        Self::parse(&bytes)
    }
}

impl Fields {
    /// A form's fields, each of them text (WHATWG URL, application/x-www-form-urlencoded).
    pub(super) async fn of_form(request: Request, api: &Api) -> Result<Self, Error> {
        let read = whole(request.into_body(), api.body_limit_bytes);
        let bytes = tokio::time::timeout(BODY_PATIENCE, read).await.map_err(|_| Error::TooSlow)??;
        let mut fields = Self::of(Map::new());
        for (name, value) in pairs::of_form(&bytes)? {
            if fields.given.insert(name.clone(), Value::String(value)).is_some() {
                fields.twice.push(name);
            }
        }
        Ok(fields)
    }
}

/// The body, if it is within the limit. One that is not is read on for a while: a client that is cut off while it writes
/// never sees the answer that says why.
async fn whole(mut body: axum::body::Body, limit: usize) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        // Of one that broke off nobody is left to answer.
        let broken = |_| Error::invalid("", "the body breaks off, or its chunks cannot be read");
        let Ok(chunk) = frame.map_err(broken)?.into_data() else { continue };
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
    /// A body as it came.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let refused = |why: &dyn fmt::Display| Error::invalid("", format!("the body must be one JSON object: {why}"));
        let Unique(value) = Unique::deserialize(&mut json).map_err(|e| refused(&e))?;
        json.end().map_err(|e| refused(&e))?;
        match value {
            Value::Object(given) => Ok(Self::of(given)),
            _ => Err(refused(&"it is another kind of value")),
        }
    }

    /// Of an object.
    fn of(given: Map<String, Value>) -> Self {
        Self { given, twice: Vec::new(), violations: Vec::new() }
    }

    /// All that a body holds, or all violations.
    pub(super) fn fill<B: Body>(&mut self) -> Result<B, Error> {
        let filled = B::take(self);
        self.finish()?;
        filled.ok_or_else(|| Error::Broken("a required field is missing and nobody said so".to_owned()))
    }

    /// A field that must be there.
    pub(super) fn required<R: Rule>(&mut self, name: &'static str, rule: R) -> Option<R::Value> {
        match self.optional(name, rule) {
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
    pub(super) fn optional<R: Rule>(&mut self, name: &'static str, rule: R) -> Given<R::Value> {
        if self.twice.iter().any(|twice| twice == name) {
            self.violate(name, format!("{name} is given twice"));
            return Given::Absent;
        }
        match self.given.get(name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => match rule.read(value) {
                Ok(value) => Given::Value(value),
                Err(rule) => {
                    self.violate(name, format!("{name} {rule}"));
                    Given::Absent
                }
            },
        }
    }

    /// A field that may be absent, and cannot be cleared.
    pub(super) fn settable<R: Rule>(&mut self, name: &'static str, rule: R) -> Given<R::Value> {
        let given = self.optional(name, rule);
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

/// JSON in whose objects no key comes twice: the second value would silently win over the first.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(Unique(element)) = access.next_element()? {
            elements.push(element);
        }
        Ok(elements.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Unique(value))) = access.next_entry::<String, Unique>()? {
            if fields.contains_key(&key) {
                return Err(serde::de::Error::custom("a field is given twice"));
            }
            fields.insert(key, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_one_object_is_refused_with_a_reason() {
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        for body in [
            "",
            "[]",
            "7",
            "null",
            "{",
            "{\"a\":1}x",
            "{\"a\":1,\"a\":2}",
            "{\"a\":[{\"b\":1,\"b\":2}]}",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ] {
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
        fields.settable("b2", Boolean);
        fields.settable("c", Boolean);
        fields.required("d", Boolean);
        let Err(Error::Invalid(violations)) = fields.finish() else { panic!() };
        let named: Vec<&str> = violations.iter().map(|v| v.field.as_ref()).collect();
        assert_eq!(named, ["a", "b", "c", "d"]);
        assert_eq!(violations[1].message, "b is required");
    }
}
