//! Pages of a table: filter, order, search, skip and top, as bound parameters. Column names come from the tables' own lists, never
//! from a request.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::sql::{Sql, Value};
use super::{Column, Dialect, Store, condition, unreadable};
use crate::error::Error;
use crate::filter::{Condition, Field};
use crate::ids::Id;

/// Parts of an order; more say nothing new.
pub const MAX_ORDER_PARTS: usize = 16;

/// One part of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order<S: 'static = Column> {
    /// From the list's own.
    pub field: &'static Field<S>,
    /// Greatest first.
    pub descending: bool,
}

/// Which rows, in which order; of a table, or of what is in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing<S: 'static = Column> {
    /// Only rows of which this is true.
    pub filter: Option<Condition<S>>,
    /// Only rows whose text holds this, in any case.
    pub search: Option<String>,
    /// Ties are broken by id.
    pub order: Vec<Order<S>>,
    /// Rows left out at the start.
    pub skip: i64,
    /// Rows at most.
    pub top: i64,
}

impl<S> Default for Listing<S> {
    fn default() -> Self {
        Self { filter: None, search: None, order: Vec::new(), skip: 0, top: 100 }
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// How many there are, all pages together.
    pub count: i64,
    /// This page.
    pub items: Vec<T>,
}

/// The column that says how many rows match.
const MATCHING: &str = "matching_rows";

/// What a page is ordered by, as it is called outside of it. An order has no more parts.
const ORDER_KEYS: [&str; MAX_ORDER_PARTS] =
    ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10", "k11", "k12", "k13", "k14", "k15"];

/// A table as it is listed.
pub(super) struct Table<'a> {
    pub(super) name: &'static str,
    /// Read of each row.
    pub(super) columns: &'static str,
    /// Column that `search` looks into, in lower case.
    pub(super) searched: &'static str,
    /// A column that must have this value.
    pub(super) only: Option<(&'static str, i64)>,
    pub(super) listing: &'a Listing,
}

impl Table<'_> {
    /// The rows that match, as ` FROM …`.
    fn matching(&self, query: &mut Sql, dialect: Dialect) {
        query.push(" FROM ").push(self.name).push(" WHERE 1 = 1");
        if let Some((column, value)) = self.only {
            query.push(" AND ").push(column).push(" = ").bind(Value::Integer(value));
        }
        if let Some(search) = &self.listing.search {
            query.push(" AND ").push(dialect.position()).push("(").push(self.searched).push(", ");
            query.bind(Value::Text(search.to_lowercase())).push(") > 0");
        }
        if let Some(filter) = &self.listing.filter {
            query.push(" AND ");
            condition::push(query, filter, dialect);
        }
    }

    fn count(&self, dialect: Dialect) -> Sql {
        let mut query = Sql::new("SELECT count(*)");
        self.matching(&mut query, dialect);
        query
    }

    fn page(&self, dialect: Dialect) -> Sql {
        // One statement sees one moment, on both databases; and it is one way to the database and back, not four.
        let mut query = Sql::new("SELECT ");
        query.push(self.columns).push(", (SELECT count(*)");
        self.matching(&mut query, dialect);
        query.push(") AS ").push(MATCHING);
        self.rows_of_the_page(&mut query, dialect);
        query
    }

    /// The whole page in one row: its keys as text, `id second` and commas between, and how many rows match. A row costs
    /// more on its way out of the database than in it.
    fn keys(&self, second: &'static str, dialect: Dialect) -> Sql {
        let mut query = Sql::new("SELECT string_agg(id || ' ' || second, ',' ORDER BY ");
        for (order, key) in self.listing.order.iter().zip(ORDER_KEYS) {
            query.push(key).push(direction(order));
        }
        query.push("id ASC) AS page_keys, (SELECT count(*)");
        self.matching(&mut query, dialect);
        query.push(") AS ").push(MATCHING).push(" FROM (SELECT id, ").push(second).push(" AS second");
        for (order, key) in self.listing.order.iter().zip(ORDER_KEYS) {
            query.push(", ").push(order.field.source.sql(dialect)).push(" AS ").push(key);
        }
        self.rows_of_the_page(&mut query, dialect);
        query.push(") AS page");
        query
    }

    fn rows_of_the_page(&self, query: &mut Sql, dialect: Dialect) {
        self.matching(query, dialect);
        query.push(" ORDER BY ");
        for order in &self.listing.order {
            query.push(order.field.source.sql(dialect)).push(direction(order));
        }
        query.push("id ASC LIMIT ").bind(Value::Integer(self.listing.top));
        query.push(" OFFSET ").bind(Value::Integer(self.listing.skip));
    }
}

/// Null is before everything; of themselves the databases disagree.
fn direction(order: &Order) -> &'static str {
    match (order.descending, order.field.nullable) {
        (false, false) => " ASC, ",
        (false, true) => " ASC NULLS FIRST, ",
        (true, false) => " DESC, ",
        (true, true) => " DESC NULLS LAST, ",
    }
}

impl Store {
    /// Count and page of one moment.
    pub(super) async fn list<T>(
        &self,
        table: Table<'_>,
        read: fn(&AnyRow) -> Result<T, sqlx::Error>,
    ) -> Result<Page<T>, Error> {
        let mut reader = self.reader().await?;
        let rows = table.page(self.dialect).query().fetch_all(&mut *reader).await?;
        let count = match rows.first() {
            Some(row) => row.try_get(MATCHING)?,
            // Past the last page no row says it.
            None if table.listing.skip > 0 => {
                table.count(self.dialect).query().fetch_one(&mut *reader).await?.try_get(0)?
            }
            None => 0,
        };
        Ok(Page { count, items: rows.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Count and keys of a page of one moment: ids, each with the number in another column.
    pub(super) async fn list_keys(&self, table: Table<'_>, second: &'static str) -> Result<Page<(Id, i64)>, Error> {
        let row = table.keys(second, self.dialect).query().fetch_one(&mut *self.reader().await?).await?;
        let keys: Option<String> = row.try_get("page_keys")?;
        let key = |key: &str| {
            let (id, second) = key.split_once(' ')?;
            Some((Id::from_raw(id.parse().ok()?), second.parse().ok()?))
        };
        let items = keys.as_deref().unwrap_or_default().split_terminator(',').map(key).collect::<Option<_>>();
        Ok(Page { count: row.try_get(MATCHING)?, items: items.ok_or_else(|| unreadable("keys of a page"))? })
    }
}
