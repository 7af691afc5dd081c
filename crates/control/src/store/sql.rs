//! SQL that is put together at run time: our own words as text, everything that came from somewhere else as a parameter.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

/// What a parameter holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Ids, times, booleans, whole numbers.
    Integer(i64),
    /// Other numbers.
    Real(f64),
    /// Text.
    Text(String),
}

/// A statement in the making.
#[derive(Debug)]
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    /// Words of ours.
    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A parameter.
    pub(super) fn bind(&mut self, value: Value) -> &mut Self {
        self.values.push(value);
        self.text.push('$');
        self.text.push_str(&self.values.len().to_string());
        self
    }

    pub(super) fn query(&self) -> Query<'static, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.text.clone()));
        for value in &self.values {
            query = match value {
                Value::Integer(n) => query.bind(*n),
                Value::Real(n) => query.bind(*n),
                Value::Text(text) => query.bind(text.clone()),
            };
        }
        query
    }
}
