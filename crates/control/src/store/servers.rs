//! Conference servers: the built-in one, and later those that others registered.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::condition::{column, nullable};
use super::listing::{Listing, Page, Table};
use super::{Change, Column, Store, from_ms, now, search_text, to_ms, unreadable};
use crate::config::ServerConfig;
use crate::error::Error;
use crate::filter::{Field, Kind};
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
        .bind(searched(name, ipv4.as_deref(), ipv6.as_deref()))
        .bind(to_ms(now()))
        .execute(self.db())
        .await
        .map_err(|e| taken(e, name))?;
        let row = sqlx::query("SELECT * FROM servers WHERE id = $1").bind(id).fetch_one(self.db()).await?;
        Ok(read(&row)?)
    }

    /// Keeps a server that was added.
    ///
    /// # Errors
    /// `InUse` when another server has the name.
    pub async fn insert_server(&mut self, server: &ServerRecord) -> Result<(), Error> {
        let ServerRecord { name, ipv4, ipv6, .. } = server;
        sqlx::query(
            "INSERT INTO servers (id, name, kind, enabled, ipv4, ipv6, max_rooms, max_participants, search_text, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(server.id.raw())
        .bind(name)
        .bind(server.kind.as_str())
        .bind(i64::from(server.enabled))
        .bind(ipv4)
        .bind(ipv6)
        .bind(i64::from(server.max_rooms))
        .bind(i64::from(server.max_participants))
        .bind(searched(name, ipv4.as_deref(), ipv6.as_deref()))
        .bind(to_ms(server.created_at))
        .execute(self.db())
        .await
        .map_err(|e| taken(e, name))?;
        Ok(())
    }

    /// Forgets a server; gives what it was.
    ///
    /// # Errors
    /// `NotFound`; `InUse` for the built-in one, and while rooms are active on it.
    pub async fn delete_server(&mut self, id: Id) -> Result<ServerRecord, Error> {
        let select = format!("SELECT * FROM servers WHERE id = $1{}", self.dialect.for_update());
        let row = sqlx::query(AssertSqlSafe(select)).bind(id.raw()).fetch_optional(self.db()).await?;
        let server = read(&row.ok_or(Error::NotFound("server"))?)?;
        if server.kind == ServerKind::Internal {
            return Err(Error::InUse("the built-in server cannot be destroyed, only disabled".into()));
        }
        let rooms: i64 = sqlx::query_scalar("SELECT count(*) FROM room_ownership WHERE server_id = $1")
            .bind(id.raw())
            .fetch_one(self.db())
            .await?;
        if rooms > 0 {
            return Err(Error::InUse(format!("{rooms} rooms are active on the server; disable it, and wait").into()));
        }
        sqlx::query("DELETE FROM servers WHERE id = $1").bind(id.raw()).execute(self.db()).await?;
        Ok(server)
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

    /// What a filter or an order of servers may name.
    pub const SERVER_FIELDS: &[Field<Column>] = &[
        column("id", Kind::Id),
        column("name", Kind::Text),
        column("enabled", Kind::Boolean),
        Field::new("type", Kind::Text, Column::same("kind")),
        nullable("ipv4", Kind::Text),
        nullable("ipv6", Kind::Text),
        column("max_rooms", Kind::Number),
        column("max_participants", Kind::Number),
    ];

    /// One server.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn server(&self, id: Id) -> Result<ServerRecord, Error> {
        let row = sqlx::query("SELECT * FROM servers WHERE id = $1")
            .bind(id.raw())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(read(&row.ok_or(Error::NotFound("server"))?)?)
    }
}

fn searched(name: &str, ipv4: Option<&str>, ipv6: Option<&str>) -> String {
    search_text(&[name, ipv4.unwrap_or(""), ipv6.unwrap_or("")])
}

fn taken(error: sqlx::Error, name: &str) -> Error {
    match super::is_taken(&error) {
        true => Error::InUse(format!("another server is named {name}").into()),
        false => error.into(),
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

    fn added(store: &Store, name: &str) -> ServerRecord {
        ServerRecord {
            id: store.ids().next(),
            name: name.into(),
            kind: ServerKind::External,
            enabled: true,
            ipv4: None,
            ipv6: Some("2001:db8::1".into()),
            max_rooms: 0,
            max_participants: i32::MAX as u32,
            created_at: now(),
        }
    }

    #[tokio::test]
    async fn added_server_is_kept_found_and_forgotten() {
        let (_dir, store) = testing::store().await;
        let internal = change!(store, built_in_server(&config("one"))).unwrap();
        let server = added(&store, "Zwei");
        change!(store, insert_server(&server)).unwrap();
        assert_eq!(store.server(server.id).await.unwrap(), server);
        let search = Some("zwei".to_owned());
        let found = store.servers(&Listing { search, ..Listing::default() }).await.unwrap();
        assert_eq!(found.items, std::slice::from_ref(&server));
        for name in ["Zwei", "one"] {
            let refused = change!(store, insert_server(&added(&store, name))).unwrap_err();
            assert_eq!(refused, Error::InUse(format!("another server is named {name}").into()));
        }
        assert!(matches!(change!(store, delete_server(internal.id)).unwrap_err(), Error::InUse(_)));
        assert_eq!(change!(store, delete_server(server.id)).unwrap(), server);
        assert_eq!(change!(store, delete_server(server.id)).unwrap_err(), Error::NotFound("server"));
    }

    #[tokio::test]
    async fn server_that_rooms_are_active_on_is_not_forgotten() {
        let (_dir, store) = testing::store().await;
        let server = added(&store, "busy");
        change!(store, insert_server(&server)).unwrap();
        let settings = crate::rooms::testing::settings("900");
        let policy = crate::rooms::Policy::default();
        let room =
            crate::rooms::RoomRecord { id: store.ids().next(), settings, token: "t".into(), created_at: now(), policy };
        change!(store, insert_room(&room)).unwrap();
        let holding = crate::store::Holding { room: room.id, policy, owner: Some(server.id), epoch: 1 };
        change!(store, hold(&[holding])).unwrap();
        let refused = change!(store, delete_server(server.id)).unwrap_err();
        assert!(matches!(refused, Error::InUse(why) if why.starts_with("1 rooms")));
        change!(store, release_rooms(server.id)).unwrap();
        change!(store, delete_server(server.id)).unwrap();
    }
}
