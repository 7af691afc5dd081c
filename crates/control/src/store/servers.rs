//! Conference servers: the built-in one, and later those that others registered.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::listing::{Listing, Page, Table};
use super::{Change, Store, from_ms, now, search_text, to_ms, unreadable};
use crate::config::ServerConfig;
use crate::error::Error;
use crate::ids::Id;

/// Who made a server's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// This installation's own.
    Internal,
    /// One that was added.
    External,
}

impl ServerKind {
    /// As the API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "INTERNAL",
            Self::External => "EXTERNAL",
        }
    }
}

/// A conference server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRecord {
    /// Which.
    pub id: Id,
    /// Unique.
    pub name: String,
    /// Built in or added.
    pub kind: ServerKind,
    /// New rooms are placed on it.
    pub enabled: bool,
    /// Where phones reach it.
    pub ipv4: Option<String>,
    /// Where phones reach it.
    pub ipv6: Option<String>,
    /// Active rooms at once.
    pub max_rooms: u32,
    /// Legs at once.
    pub max_participants: u32,
    /// When its row was made.
    pub created_at: Timestamp,
}

/// What may change of a server; `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerUpdate {
    /// New rooms are placed on it.
    pub enabled: Option<bool>,
    /// Active rooms at once.
    pub max_rooms: Option<u32>,
    /// Legs at once.
    pub max_participants: Option<u32>,
}

impl Change {
    /// The built-in server's row: made at the first start. Name and addresses follow the configuration at each start, as
    /// the API cannot change them; the rest is the API's.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written; `InUse` when another server has the name.
    pub async fn built_in_server(&mut self, config: &ServerConfig) -> Result<ServerRecord, Error> {
        let ServerConfig { name, ipv4, ipv6, max_rooms, max_participants } = config;
        let searched = search_text(&[name, ipv4.as_deref().unwrap_or(""), ipv6.as_deref().unwrap_or("")]);
        let present: Option<i64> =
            sqlx::query_scalar("SELECT id FROM servers WHERE kind = 'INTERNAL'").fetch_optional(self.db()).await?;
        let id = present.unwrap_or_else(|| self.ids.next().raw());
        sqlx::query(
            "INSERT INTO servers (id, name, kind, enabled, ipv4, ipv6, max_rooms, max_participants, search_text, created_at) \
             VALUES ($1, $2, 'INTERNAL', 1, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, ipv4 = excluded.ipv4, ipv6 = excluded.ipv6, \
             search_text = excluded.search_text",
        )
        .bind(id)
        .bind(name)
        .bind(ipv4)
        .bind(ipv6)
        .bind(i64::from(*max_rooms))
        .bind(i64::from(*max_participants))
        .bind(searched)
        .bind(to_ms(now()))
        .execute(self.db())
        .await
        .map_err(|e| match super::is_taken(&e) {
            true => Error::InUse(format!("another server is named {name}").into()),
            false => e.into(),
        })?;
        let row = sqlx::query("SELECT * FROM servers WHERE id = $1").bind(id).fetch_one(self.db()).await?;
        Ok(read(&row)?)
    }

    /// Changes a server; gives it as it is then.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn update_server(&mut self, id: Id, update: ServerUpdate) -> Result<ServerRecord, Error> {
        let row = sqlx::query(
            "UPDATE servers SET enabled = coalesce($1, enabled), max_rooms = coalesce($2, max_rooms), \
             max_participants = coalesce($3, max_participants) WHERE id = $4 RETURNING *",
        )
        .bind(update.enabled.map(i64::from))
        .bind(update.max_rooms.map(i64::from))
        .bind(update.max_participants.map(i64::from))
        .bind(id.raw())
        .fetch_optional(self.db())
        .await?;
        Ok(read(&row.ok_or(Error::NotFound("server"))?)?)
    }
}

impl Store {
    /// A page of servers.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn servers(&self, listing: &Listing) -> Result<Page<ServerRecord>, Error> {
        self.list(Table { name: "servers", columns: "*", searched: "search_text", only: None, listing }, read).await
    }

    /// The column that a field of the API is ordered by.
    pub fn server_column(field: &str) -> Option<&'static str> {
        Some(match field {
            "id" => "id",
            "name" => "name",
            "enabled" => "enabled",
            "type" => "kind",
            "ipv4" => "ipv4",
            "ipv6" => "ipv6",
            "max_rooms" => "max_rooms",
            "max_participants" => "max_participants",
            _ => return None,
        })
    }

    /// One server.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn server(&self, id: Id) -> Result<ServerRecord, Error> {
        let row = sqlx::query("SELECT * FROM servers WHERE id = $1").bind(id.raw()).fetch_optional(&self.read).await?;
        Ok(read(&row.ok_or(Error::NotFound("server"))?)?)
    }
}

fn read(row: &AnyRow) -> Result<ServerRecord, sqlx::Error> {
    let kind: String = row.try_get("kind")?;
    let number = |column| row.try_get::<i64, _>(column).map(|n| u32::try_from(n).unwrap_or(0));
    Ok(ServerRecord {
        id: Id::from_raw(row.try_get("id")?),
        name: row.try_get("name")?,
        kind: match kind.as_str() {
            "INTERNAL" => ServerKind::Internal,
            "EXTERNAL" => ServerKind::External,
            _ => return Err(unreadable("server kind")),
        },
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        ipv4: row.try_get("ipv4")?,
        ipv6: row.try_get("ipv6")?,
        max_rooms: number("max_rooms")?,
        max_participants: number("max_participants")?,
        created_at: from_ms(row.try_get("created_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;
    use crate::store::testing::change;

    fn config(name: &str) -> ServerConfig {
        ServerConfig {
            name: name.into(),
            ipv4: Some("192.0.2.1".into()),
            ipv6: None,
            max_rooms: 5,
            max_participants: 50,
        }
    }

    #[tokio::test]
    async fn built_in_row_is_made_once_and_keeps_what_the_api_changed() {
        let (_dir, store) = testing::store().await;
        let first = change!(store, built_in_server(&config("one"))).unwrap();
        assert!(first.enabled && first.kind == ServerKind::Internal && first.max_rooms == 5);
        let update = ServerUpdate { enabled: Some(false), max_rooms: Some(7), max_participants: None };
        change!(store, update_server(first.id, update)).unwrap();
        let again = change!(store, built_in_server(&config("two"))).unwrap();
        assert_eq!((again.id, again.name.as_str(), again.enabled), (first.id, "two", false));
        assert_eq!((again.max_rooms, again.max_participants), (7, 50));
        assert_eq!(store.servers(&Listing::default()).await.unwrap(), Page { count: 1, items: vec![again] });
    }

    #[tokio::test]
    async fn unknown_server_is_not_found() {
        let (_dir, store) = testing::store().await;
        let id = Id::from_raw(1);
        assert_eq!(store.server(id).await.unwrap_err(), Error::NotFound("server"));
        assert_eq!(change!(store, update_server(id, ServerUpdate::default())).unwrap_err(), Error::NotFound("server"));
    }
}
