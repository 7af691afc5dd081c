//! What one value of a body may be: each rule is the check and its description in JSON Schema, side by side, so that the
//! served description says what is checked and nothing else. Pure.

use jiff::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr};

use super::{Body, Fields};
use crate::error::Error;
use crate::time;

/// Lists without a published limit are bounded all the same.
pub(in crate::api) const MAX_LIST: usize = 1000;
/// No database likes NUL in a text.
pub(in crate::api) const NO_NUL: &str = r"^[^\x00]*$";

/// Named schemas that a description refers to.
pub(in crate::api) type Named = Vec<(String, RefOr<Schema>)>;

/// Reads one value, and says what it takes.
pub(in crate::api) trait Rule {
    /// What is made of the JSON.
    type Value;

    /// The error says what is allowed, to follow the field's name.
    fn read(&self, value: &Value) -> Result<Self::Value, String>;

    /// The same, for those who write the JSON.
    fn schema(&self) -> RefOr<Schema>;

    /// Schemas that `schema` refers to by name.
    fn named(&self, _named: &mut Named) {}
}

/// `true` or `false`.
#[derive(Clone, Copy)]
pub(in crate::api) struct Boolean;

impl Rule for Boolean {
    type Value = bool;

    fn read(&self, value: &Value) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| "must be true or false".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Boolean).into()
    }
}

/// See `integer`.
#[derive(Clone, Copy)]
pub(in crate::api) struct Integer {
    least: i64,
    most: i64,
}

/// A whole number; `7.0` is one (JSON Schema).
pub(in crate::api) const fn integer(least: i64, most: i64) -> Integer {
    Integer { least, most }
}

impl Rule for Integer {
    type Value = i64;

    fn read(&self, value: &Value) -> Result<i64, String> {
        let Self { least, most } = *self;
        let whole = |n: f64| (n.fract() == 0.0 && n.abs() < 1e15).then_some(n as i64);
        let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
        number
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| format!("must be a whole number from {least} to {most}"))
    }

    fn schema(&self) -> RefOr<Schema> {
        let format = if i32::try_from(self.most).is_ok() { KnownFormat::Int32 } else { KnownFormat::Int64 };
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(format)))
            .minimum(Some(self.least))
            .maximum(Some(self.most))
            .into()
    }
}

/// See `text`.
#[derive(Clone, Copy)]
pub(in crate::api) struct Text {
    least: usize,
    most: usize,
}

/// Text of so many characters (code points), without NUL.
pub(in crate::api) const fn text(least: usize, most: usize) -> Text {
    Text { least, most }
}

impl Rule for Text {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let Self { least, most } = *self;
        let fits = |text: &&str| (least..=most).contains(&text.chars().count()) && !text.contains('\0');
        let text = value.as_str().filter(fits);
        text.map(str::to_owned).ok_or_else(|| format!("must be text of {least} to {most} characters, without NUL"))
    }

    fn schema(&self) -> RefOr<Schema> {
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(NO_NUL));
        schema.min_length(Some(self.least).filter(|least| *least > 0)).max_length(Some(self.most)).into()
    }
}

/// See `digits`.
#[derive(Clone, Copy)]
pub(in crate::api) struct Digits {
    least: usize,
    most: usize,
}

/// So many digits.
pub(in crate::api) const fn digits(least: usize, most: usize) -> Digits {
    Digits { least, most }
}

impl Rule for Digits {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let Self { least, most } = *self;
        let fits = |text: &&str| (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        value.as_str().filter(fits).map(str::to_owned).ok_or_else(|| format!("must be {least} to {most} digits"))
    }

    fn schema(&self) -> RefOr<Schema> {
        let pattern = format!("^[0-9]{{{},{}}}$", self.least, self.most);
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
        schema.min_length(Some(self.least)).max_length(Some(self.most)).into()
    }
}

/// See `word`.
pub(in crate::api) struct Word<T> {
    words: &'static [&'static str],
    parse: fn(&str) -> Option<T>,
}

/// One of a few words, which have a schema of their own.
pub(in crate::api) const fn word<T>(words: &'static [&'static str], parse: fn(&str) -> Option<T>) -> Word<T> {
    Word { words, parse }
}

impl<T: ToSchema> Rule for Word<T> {
    type Value = T;

    fn read(&self, value: &Value) -> Result<T, String> {
        let read = value.as_str().and_then(self.parse);
        read.ok_or_else(|| format!("must be one of {}", self.words.join(", ")))
    }

    fn schema(&self) -> RefOr<Schema> {
        Ref::from_schema_name(T::name()).into()
    }

    fn named(&self, named: &mut Named) {
        named.push((T::name().into_owned(), T::schema()));
    }
}

/// RFC 3339, in any offset, without leap seconds. Of the years 1000 to 9998, so that it is RFC 3339 in UTC too.
#[derive(Clone, Copy)]
pub(in crate::api) struct Time;

impl Time {
    /// RFC 3339 §5.6 `date-time`; that the month has the day is for `format` to say.
    pub(in crate::api) const PATTERN: &'static str = "^(?:[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])\
        -(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\
        (?:\\.[0-9]{1,9})?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$";
}

impl Rule for Time {
    type Value = Timestamp;

    fn read(&self, value: &Value) -> Result<Timestamp, String> {
        let rule = || format!("must be a time as RFC 3339 has it, such as {}", time::EXAMPLE);
        value.as_str().and_then(time::from_rfc3339).ok_or_else(rule)
    }

    fn schema(&self) -> RefOr<Schema> {
        let format = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
        ObjectBuilder::new().schema_type(Type::String).format(format).pattern(Some(Self::PATTERN)).into()
    }
}

/// See `list_of`.
pub(in crate::api) struct List<R> {
    one: R,
    most: usize,
}

/// Up to so many of one kind.
pub(in crate::api) const fn list_of<R>(one: R, most: usize) -> List<R> {
    List { one, most }
}

impl<R: Rule> Rule for List<R> {
    type Value = Vec<R::Value>;

    fn read(&self, value: &Value) -> Result<Self::Value, String> {
        let rule = || format!("must be a list of at most {}", self.most);
        let values = value.as_array().filter(|values| values.len() <= self.most).ok_or_else(rule)?;
        let at = |(at, value)| self.one.read(value).map_err(|rule| format!("[{at}] {rule}"));
        values.iter().enumerate().map(at).collect()
    }

    fn schema(&self) -> RefOr<Schema> {
        ArrayBuilder::new().items(self.one.schema()).max_items(Some(self.most)).build().into()
    }

    fn named(&self, named: &mut Named) {
        self.one.named(named);
    }
}

/// An object within a body, by the rules of its own `body!`.
pub(in crate::api) struct Nested<B>(pub(in crate::api) std::marker::PhantomData<B>);

impl<B> Nested<B> {
    /// Of this body.
    pub(in crate::api) const fn of() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<B: Body> Rule for Nested<B> {
    type Value = B;

    fn read(&self, value: &Value) -> Result<B, String> {
        let object = value.as_object().ok_or("must be an object")?;
        Fields::of(object.clone()).fill().map_err(|error| match error {
            Error::Invalid(violations) => {
                violations.into_iter().map(|violation| violation.message).collect::<Vec<_>>().join("; ")
            }
            other => other.to_string(),
        })
    }

    fn schema(&self) -> RefOr<Schema> {
        Ref::from_schema_name(B::name()).into()
    }

    fn named(&self, named: &mut Named) {
        named.push((B::name().into_owned(), B::schema()));
        B::schemas(named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_whole_and_in_range() {
        let rule = integer(1, 200);
        assert_eq!(rule.read(&json!(200)), Ok(200));
        assert_eq!(rule.read(&json!(7.0)), Ok(7));
        for wrong in [json!(0), json!(201), json!(1.5), json!("7"), json!(1e300), json!(u64::MAX), json!(true)] {
            assert!(rule.read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_rfc_3339_and_come_out_in_utc() {
        let read = |text: &str| Time.read(&json!(text)).map(|t| t.to_string());
        let pattern = regex::Regex::new(Time::PATTERN).unwrap();
        for (text, utc) in [
            ("2017-07-21T17:32:28Z", "2017-07-21T17:32:28Z"),
            ("2017-07-21t19:32:28.5+02:00", "2017-07-21T17:32:28.5Z"),
            ("2016-12-31T23:59:59z", "2016-12-31T23:59:59Z"),
            ("1000-01-01T00:00:00+23:59", "0999-12-31T00:01:00Z"),
            ("9998-12-31T23:59:59.999999999-23:59", "9999-01-01T23:58:59.999Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(utc));
            assert!(pattern.is_match(text), "{text}");
        }
        for wrong in [
            "2017-07-21",
            "2017-07-21 17:32:28Z",
            "2017-07-21T17:32:28",
            "20170721T173228Z",
            "2017-07-21T17:32:28Z[UTC]",
            "2017-13-01T17:32:28Z",
            "2017-07-32T17:32:28Z",
            "2017-07-21T24:00:00Z",
            "2017-07-21T17:60:00Z",
            "2016-12-31T23:59:60Z",
            "2017-07-21T17:32:28.Z",
            "2017-07-21T17:32:28.1234567890Z",
            "2017-07-21T17:32:28+2:00",
            "2017-07-21T17:32:28+24:00",
            "2017-07-21T17:32:28+02:60",
            "0999-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "tomorrow",
            "",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
            assert!(!pattern.is_match(wrong), "{wrong}");
        }
        assert!(read("2017-02-30T17:32:28Z").is_err());
    }

    #[test]
    fn text_is_measured_in_characters() {
        let rule = text(1, 3);
        assert!(rule.read(&json!("äöü")).is_ok());
        for wrong in [json!(""), json!("abcd"), json!("a\0"), json!(1)] {
            assert!(rule.read(&wrong).is_err(), "{wrong}");
        }
        assert!(digits(3, 4).read(&json!("0123")).is_ok());
        for wrong in ["12", "12345", "12a", "１２３", ""] {
            assert!(digits(3, 4).read(&json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_bounded_and_name_the_element_that_is_wrong() {
        let rule = list_of(text(1, 3), 2);
        assert_eq!(rule.read(&json!(["a", "b"])), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(rule.read(&json!(["a", 5])).unwrap_err().starts_with("[1] must be text"));
        assert!(rule.read(&json!(["a", "b", "c"])).is_err());
        assert!(rule.read(&json!("a")).is_err());
    }
}
