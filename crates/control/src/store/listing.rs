//! Pages of a table: filter, order, search, skip and top, as bound parameters. Column names come from the tables' own lists, never
//! from a request.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::sql::{Sql, Value};
use super::{Column, Dialect, Store, condition};
use crate::error::Error;
use crate::filter::{Condition, Field};

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
        self.matching(&mut query, dialect);
        query.push(" ORDER BY ");
        for order in &self.listing.order {
            query.push(order.field.source.sql(dialect)).push(if order.descending { " DESC" } else { " ASC" });
            // Null is before everything; of themselves the databases disagree.
            if order.field.nullable {
                query.push(if order.descending { " NULLS LAST" } else { " NULLS FIRST" });
            }
            query.push(", ");
        }
        query.push("id ASC LIMIT ").bind(Value::Integer(self.listing.top));
        query.push(" OFFSET ").bind(Value::Integer(self.listing.skip));
        query
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
}
