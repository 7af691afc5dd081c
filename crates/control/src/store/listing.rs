//! Pages of a table: order, search, skip and top, as bound parameters. Column names come from the tables' own lists, never
//! from a request.

use sqlx::{QueryBuilder, Row, Sqlite};

use super::Store;
use crate::error::Error;

/// One part of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// A column, from the table's list.
    pub column: &'static str,
    /// Greatest first.
    pub descending: bool,
}

/// Which rows, in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Only rows whose text holds this, in any case.
    pub search: Option<String>,
    /// Ties are broken by id.
    pub order: Vec<Order>,
    /// Rows left out at the start.
    pub skip: i64,
    /// Rows at most.
    pub top: i64,
}

impl Default for Listing {
    fn default() -> Self {
        Self { search: None, order: Vec::new(), skip: 0, top: 100 }
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

/// A table as it is listed.
pub(super) struct Table<'a> {
    pub(super) name: &'static str,
    /// Column that `search` looks into, in lower case.
    pub(super) searched: &'static str,
    /// A column that must have this value.
    pub(super) only: Option<(&'static str, i64)>,
    pub(super) listing: &'a Listing,
}

impl Table<'_> {
    fn select(&self, what: &'static str) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(what).push(" FROM ").push(self.name).push(" WHERE 1 = 1");
        if let Some((column, value)) = self.only {
            query.push(" AND ").push(column).push(" = ").push_bind(value);
        }
        if let Some(search) = &self.listing.search {
            query.push(" AND instr(").push(self.searched).push(", ").push_bind(search.to_lowercase()).push(") > 0");
        }
        query
    }

    fn page(&self) -> QueryBuilder<Sqlite> {
        let mut query = self.select("*");
        query.push(" ORDER BY ");
        for order in &self.listing.order {
            query.push(order.column).push(if order.descending { " DESC, " } else { " ASC, " });
        }
        query.push("id ASC LIMIT ").push_bind(self.listing.top).push(" OFFSET ").push_bind(self.listing.skip);
        query
    }
}

impl Store {
    /// Count and page of one moment.
    pub(super) async fn list<T>(
        &self,
        table: Table<'_>,
        read: fn(&sqlx::sqlite::SqliteRow) -> Result<T, sqlx::Error>,
    ) -> Result<Page<T>, Error> {
        let mut moment = self.read.begin().await?;
        let count: i64 = table.select("count(*)").build().fetch_one(&mut *moment).await?.try_get(0)?;
        let rows = table.page().build().fetch_all(&mut *moment).await?;
        moment.commit().await?;
        Ok(Page { count, items: rows.iter().map(read).collect::<Result<_, _>>()? })
    }
}
