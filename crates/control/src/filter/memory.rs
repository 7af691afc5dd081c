//! Conditions and orders over items that are in memory, as the databases have them.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::{Comparison, Condition, Field, Literal, Number, Test};
use crate::ids::Id;

/// What a field of an item holds; null is `None` of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(Number),
    /// `true` or `false`.
    Boolean(bool),
    /// Compared in milliseconds, as times are kept.
    Time(Timestamp),
    /// An id.
    Id(Id),
    /// Of texts.
    List(&'a [String]),
    /// It is there; its fields have names of their own.
    Object,
}

impl<S> Condition<S> {
    /// Is it true of the item whose fields `value` gives?
    pub fn holds<'a>(&self, value: &impl Fn(&'static Field<S>) -> Option<Value<'a>>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(value)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(value)),
            Self::Not(inner) => !inner.holds(value),
            Self::Test(field, test) => test.holds(value(field)),
        }
    }
}

impl Test {
    fn holds(&self, value: Option<Value<'_>>) -> bool {
        let Some(value) = value else { return *self == Self::IsNull };
        match (self, value) {
            (Self::IsSet, _) => true,
            (Self::Compares(comparison, literal), value) => comparison.holds(compare(value, literal.value())),
            (Self::StartsWith(part), Value::Text(text)) => text.starts_with(part.as_str()),
            (Self::EndsWith(part), Value::Text(text)) => text.ends_with(part.as_str()),
            (Self::Contains(part), Value::Text(text)) => text.contains(part.as_str()),
            (Self::Has(element), Value::List(elements)) => elements.contains(element),
            (Self::IsNull | Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_) | Self::Has(_), _) => false,
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }
}

impl Literal {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Time(time) => Value::Time(*time),
            Self::Id(id) => Value::Id(*id),
        }
    }
}

impl Number {
    fn real(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }
}

/// How two values of one field are ordered: null before everything.
pub fn order(a: Option<Value<'_>>, b: Option<Value<'_>>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Values of one field are of one kind. UTF-8 is ordered as its code points are.
fn compare(a: Value<'_>, b: Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Number(Number::Whole(a)), Value::Number(Number::Whole(b))) => a.cmp(&b),
        (Value::Number(a), Value::Number(b)) => a.real().partial_cmp(&b.real()).unwrap_or(Ordering::Equal),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(&b),
        (Value::Time(a), Value::Time(b)) => a.as_millisecond().cmp(&b.as_millisecond()),
        (Value::Id(a), Value::Id(b)) => a.cmp(&b),
        (Value::List(a), Value::List(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}
