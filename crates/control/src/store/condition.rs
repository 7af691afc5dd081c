//! The filter of a list as SQL: the same truth as in memory (`filter/memory.rs`), on both databases. What was written in the
//! filter is always a parameter.

use super::Dialect;
use super::sql::{Sql, Value};
use crate::filter::{Comparison, Condition, Field, Kind, Literal, Number, Test};

/// Where a field's value comes from: a column or an expression of columns, in our own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Column {
    pub(super) const fn same(sql: &'static str) -> Self {
        Self { sqlite: sql, postgres: sql }
    }

    pub(super) const fn differing(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    pub(super) const fn sql(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// A field whose column has its name.
pub(super) const fn column(name: &'static str, kind: Kind) -> Field<Column> {
    Field::new(name, kind, Column::same(name))
}

/// The same, of a column that may be null.
pub(super) const fn nullable(name: &'static str, kind: Kind) -> Field<Column> {
    Field::nullable(name, kind, Column::same(name))
}

/// Appends the condition, in parentheses. A chain of `and` nests as deep as it is long in SQLite's parser; the longest that
/// a filter has room for is half as long as that takes.
pub(super) fn push(query: &mut Sql, condition: &Condition<Column>, dialect: Dialect) {
    match condition {
        Condition::All(parts) => push_joined(query, parts, " AND ", dialect),
        Condition::Any(parts) => push_joined(query, parts, " OR ", dialect),
        Condition::Not(inner) => {
            query.push("(NOT ");
            push(query, inner, dialect);
            query.push(")");
        }
        Condition::Test(field, test) => push_test(query, field, test, dialect),
    }
}

fn push_joined(query: &mut Sql, parts: &[Condition<Column>], join: &'static str, dialect: Dialect) {
    query.push("(");
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            query.push(join);
        }
        push(query, part, dialect);
    }
    query.push(")");
}

fn push_test(query: &mut Sql, field: &Field<Column>, test: &Test, dialect: Dialect) {
    let column = field.source.sql(dialect);
    let text = |text: &String| Value::Text(text.clone());
    query.push("(");
    // SQL's third truth, unknown, would survive a NOT; ours is false.
    if field.nullable && !matches!(test, Test::IsNull | Test::IsSet) {
        query.push(column).push(" IS NOT NULL AND ");
    }
    match test {
        Test::IsNull => query.push(column).push(" IS NULL"),
        Test::IsSet => query.push(column).push(" IS NOT NULL"),
        Test::Compares(comparison, literal) => {
            let value = match literal {
                Literal::Text(value) => text(value),
                Literal::Number(Number::Whole(number)) => Value::Integer(*number),
                Literal::Number(Number::Real(number)) => Value::Real(*number),
                Literal::Boolean(value) => Value::Integer(i64::from(*value)),
                Literal::Time(time) => Value::Integer(super::to_ms(*time)),
                Literal::Id(id) => Value::Integer(id.raw()),
            };
            // A parameter has a type of its own, and PostgreSQL has no operator for a whole number and a double.
            match value {
                Value::Real(_) => query.push("CAST(").push(column).push(" AS DOUBLE PRECISION)"),
                Value::Integer(_) | Value::Text(_) => query.push(column),
            };
            query.push(sign(*comparison)).bind(value)
        }
        // A range costs half of what substr does. Text is ordered by its code points here, on both databases.
        Test::StartsWith(part) => {
            let scanned = dialect.scanned();
            query.push(scanned).push(column).push(" >= ").bind(text(part));
            match behind(part) {
                Some(end) => query.push(" AND ").push(scanned).push(column).push(" < ").bind(Value::Text(end)),
                None => query,
            }
        }
        // When the part is the longer one, whatever substr makes of that is shorter than it, and so another text.
        Test::EndsWith(part) => {
            query.push("substr(").push(column).push(", length(").push(column).push(") - length(").bind(text(part));
            query.push(") + 1) = ").bind(text(part))
        }
        Test::Contains(part) => {
            query.push(dialect.position()).push("(").push(column).push(", ").bind(text(part)).push(") > 0")
        }
        // By the databases' own reading of JSON: in the text of a list, an element cannot be told from the end of one and the
        // beginning of the next (`","` is in `["a,",",b"]` too).
        Test::Has(element) => {
            let (before, after) = dialect.elements();
            query.bind(text(element)).push(" IN (").push(before).push(column).push(after).push(")")
        }
    };
    query.push(")");
}

/// The first text behind all that begin with this; `None` when there is nothing behind them.
fn behind(prefix: &str) -> Option<String> {
    let mut kept = prefix.chars();
    while let Some(last) = kept.next_back() {
        // Ranges of characters know the gap of the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            return Some(kept.as_str().chars().chain([next]).collect());
        }
    }
    None
}

const fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ",
        Comparison::NotEqual => " <> ",
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
    }
}

#[cfg(test)]
mod tests;
