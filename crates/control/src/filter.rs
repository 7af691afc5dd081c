//! The `filter` of a list (api.md section 1): from text to a condition over the list's fields, typed, and its truth for an
//! item in memory. Pure, any thread. The store makes SQL of the same condition (`store/condition.rs`); nothing here knows
//! SQL or HTTP.
//!
//! Two-valued: a comparison against a null field is false, and so its `not` is true.

mod grammar;
mod lexemes;
mod memory;

use std::fmt;

use jiff::Timestamp;

use crate::ids::Id;

pub use memory::{Value, order};

/// Bytes of a filter.
pub const MAX_LENGTH: usize = 4096;
/// Parentheses and `not` inside each other.
pub const MAX_DEPTH: usize = 32;
/// Characters of a name that are repeated in a message.
const MAX_SHOWN: usize = 64;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ordered by code points.
    Text,
    /// Whole or not.
    Number,
    /// Takes `eq` and `ne` only.
    Boolean,
    /// Its literal is RFC 3339 in quotes.
    Time,
    /// Its literal is the wire form in quotes; ordered as ids grow.
    Id,
    /// Of texts; takes `contains`, and `eq` and `ne` with null.
    List,
    /// Has fields of its own; takes `eq` and `ne` with null.
    Object,
}

impl Kind {
    const fn article(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Time => "a time",
            Self::Id => "an id",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// One field of a list's items, with where its value comes from: a column, or a function of the item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<S> {
    /// As the API spells it.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// It may be null.
    pub nullable: bool,
    /// Where its value comes from.
    pub source: S,
}

impl<S> Field<S> {
    /// Never null.
    pub const fn new(name: &'static str, kind: Kind, source: S) -> Self {
        Self { name, kind, nullable: false, source }
    }

    /// May be null.
    pub const fn nullable(name: &'static str, kind: Kind, source: S) -> Self {
        Self { name, kind, nullable: true, source }
    }
}

/// What a filter or an order may name.
#[derive(Debug)]
pub struct Fields<S: 'static> {
    /// Of the list's items.
    pub all: &'static [Field<S>],
    /// Not to be named by a viewer: what may not be seen must not be found out by comparing.
    pub hidden: &'static [&'static str],
}

impl<S> Fields<S> {
    /// Of a list without secrets.
    pub const fn open(all: &'static [Field<S>]) -> Self {
        Self { all, hidden: &[] }
    }

    /// The field of this name.
    ///
    /// # Errors
    /// When there is none, or a viewer may not see it; in words.
    pub fn find(&self, name: &str) -> Result<&'static Field<S>, String> {
        if self.hidden.contains(&name) {
            return Err(format!("a viewer may not see {name}"));
        }
        let unknown = || format!("there is no field {}", name.chars().take(MAX_SHOWN).collect::<String>());
        self.all.iter().find(|field| field.name == name).ok_or_else(unknown)
    }
}

/// What must be true of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition<S: 'static> {
    /// Each of them; at least two.
    All(Vec<Self>),
    /// One of them; at least two.
    Any(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// This, of one field.
    Test(&'static Field<S>, Test),
}

/// What must be true of a field. All but `IsNull` are false when it is null.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is null.
    IsNull,
    /// It is not null.
    IsSet,
    /// It compares so with this, which is of the field's kind.
    Compares(Comparison, Literal),
    /// The text begins with this.
    StartsWith(String),
    /// The text ends with this.
    EndsWith(String),
    /// The text has this in it.
    Contains(String),
    /// The list has exactly this element.
    Has(String),
}

/// The operators between a field and a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `eq`.
    Equal,
    /// `ne`.
    NotEqual,
    /// `gt`.
    Greater,
    /// `ge`.
    GreaterOrEqual,
    /// `lt`.
    Less,
    /// `le`.
    LessOrEqual,
}

impl Comparison {
    const WORDS: [(&str, Self); 6] = [
        ("eq", Self::Equal),
        ("ne", Self::NotEqual),
        ("gt", Self::Greater),
        ("ge", Self::GreaterOrEqual),
        ("lt", Self::Less),
        ("le", Self::LessOrEqual),
    ];

    fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, comparison)| comparison)
    }

    /// The same with its sides exchanged.
    const fn flipped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
        }
    }
}

/// A value that was written in a filter, of its field's kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Without NUL.
    Text(String),
    /// A number.
    Number(Number),
    /// `true` or `false`.
    Boolean(bool),
    /// In milliseconds, as times are kept.
    Time(Timestamp),
    /// An id.
    Id(Id),
}

/// A number of a filter or of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Exact.
    Whole(i64),
    /// Finite; whatever is compared with it is compared as a double.
    Real(f64),
}

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Character of the filter where it was seen, from 1; one past the last character is the end.
    pub column: usize,
    /// The one reason.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, column {}: {}", self.column, self.message)
    }
}

/// Where in the text, in bytes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    at: usize,
    message: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// Reads a filter over these fields.
///
/// # Errors
/// The first thing from the left that is wrong with it.
pub fn parse<S>(text: &str, fields: &Fields<S>) -> Result<Condition<S>, Refusal> {
    let limit = text.floor_char_boundary(MAX_LENGTH);
    let read = if limit < text.len() {
        Err(Fault::new(limit, format!("a filter has at most {MAX_LENGTH} bytes")))
    } else {
        lexemes::read(text).and_then(|lexemes| grammar::read(&lexemes, text.len(), fields))
    };
    read.map_err(|fault| {
        let before = text.get(..fault.at).unwrap_or(text);
        Refusal { column: before.chars().count() + 1, message: fault.message }
    })
}

#[cfg(test)]
mod tests;
