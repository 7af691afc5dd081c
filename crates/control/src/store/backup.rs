//! Everything that the database holds into one file and back, whichever database it is, while it is in use. The file is a
//! SQLite database of the same schema: an older one is taken to the present schema when it is restored.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AnyConnection, AssertSqlSafe, Column, Row, TypeInfo};

use super::{Change, Dialect, Store, now};
use crate::config::DatabaseConfig;
use crate::error::Error;
use crate::events::{Data, Kind, NewEvent};

/// Every table, each behind those that it refers to. Migrations bring their own.
pub(super) const TABLES: &[&str] = &[
    "installation",
    "servers",
    "rooms",
    "room_ownership",
    "room_pins",
    "recordings",
    "users",
    "tokens",
    "command_notes",
    "event_sequences",
    "events",
    "webhooks",
    "deliveries",
    "invitations",
    "letters",
];

/// The name of the mark, in `installation`, that says which restoration this database is of.
const GENERATION: &str = "generation";

/// What a table is on the way from one database to the other.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As it is.
    Out,
    /// Into an installation whose built-in server has an id already; the file's has another. Nobody owns a room.
    In { own: Option<i64>, theirs: Option<i64> },
}

impl Store {
    /// Writes everything into a file that is not there yet; gives the number of rows.
    ///
    /// # Errors
    /// `InUse` when the file exists; `Busy` when the database is not there; `Broken` when the file cannot be written.
    pub async fn backup(&self, file: &Path) -> Result<u64, Error> {
        let broken = |error: io::Error| Error::Broken(format!("{}: {error}", file.display()));
        if file.try_exists().map_err(broken)? {
            return Err(Error::InUse(format!("{} exists already", file.display()).into()));
        }
        let unfinished = beside(file, ".unfinished");
        let rows = async {
            // What a backup that was cut off left behind.
            remove(&unfinished)?;
            let target = Self::open(&DatabaseConfig::Sqlite(unfinished.clone())).await?;
            let mut moment = self.moment().await?;
            let mut change = target.change().await?;
            let mut rows = 0;
            for table in TABLES {
                rows += change.copy(&mut moment, table, Way::Out).await?;
            }
            change.commit().await?;
            // The last connection takes the log into the file.
            target.close().await;
            File::open(&unfinished).and_then(|f| f.sync_all()).map_err(broken)?;
            std::fs::rename(&unfinished, file).map_err(broken)?;
            Ok(rows)
        };
        let rows = rows.await;
        if rows.is_err() {
            // The reason that matters is the first one.
            let _ = remove(&unfinished);
        }
        rows
    }

    /// Puts what a file holds in the place of everything, at once or not at all; gives the number of rows. Sequence numbers
    /// and cursors of events never run back, and the built-in server keeps its id. `scratch` is a directory for a copy.
    ///
    /// # Errors
    /// `Broken` when the file is no backup, or of a newer version; `Busy` when the database cannot be written.
    pub async fn restore(&self, file: &Path, scratch: &Path) -> Result<u64, Error> {
        let broken = |error: &dyn std::fmt::Display| Error::Broken(format!("{}: {error}", file.display()));
        // Taken to the present schema: not in the operator's file.
        let copy = scratch.join("restoring.db");
        let rows = async {
            remove(&copy)?;
            let mut from = File::open(file).map_err(|e| broken(&e))?;
            let into = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy);
            io::copy(&mut from, &mut into.map_err(|e| broken(&e))?).map_err(|e| broken(&e))?;
            let source = Self::open(&DatabaseConfig::Sqlite(copy.clone())).await.map_err(|e| broken(&e))?;
            let rows = self.take_from(&source).await;
            source.close().await;
            rows
        };
        let rows = rows.await;
        let _ = remove(&copy);
        rows
    }

    async fn take_from(&self, source: &Self) -> Result<u64, Error> {
        let internal = "SELECT id FROM servers WHERE kind = 'INTERNAL'";
        let mut change = self.change().await?;
        let mut moment = source.moment().await?;
        let own: Option<i64> = sqlx::query_scalar(internal).fetch_optional(change.db()).await?;
        let theirs: Option<i64> = sqlx::query_scalar(internal).fetch_optional(&mut *moment).await?;
        for table in TABLES.iter().rev().filter(|table| **table != "event_sequences") {
            sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(change.db()).await?;
        }
        let mut rows = 0;
        for table in TABLES {
            rows += change.copy(&mut moment, table, Way::In { own, theirs }).await?;
        }
        if change.dialect == Dialect::Postgres {
            sqlx::query(
                "SELECT setval(pg_get_serial_sequence('events', 'cursor'), greatest(max(cursor), \
                 (SELECT last_value FROM events_cursor_seq))) FROM events HAVING max(cursor) IS NOT NULL",
            )
            .execute(change.db())
            .await?;
        }
        sqlx::query(
            "INSERT INTO installation (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(GENERATION)
        .bind(crate::auth::random_text(16)?.into_bytes())
        .execute(change.db())
        .await?;
        let restored = NewEvent {
            at: now(),
            room: None,
            extension: None,
            kind: Kind::StoreRestored,
            data: Data::Restored { rows },
        };
        change.append_events(&[restored]).await?;
        change.commit().await?;
        Ok(rows)
    }

    /// Another one after each restoration.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn generation(&self) -> Result<Option<Vec<u8>>, Error> {
        let row = sqlx::query("SELECT value FROM installation WHERE name = $1")
            .bind(GENERATION)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }
}

impl Change {
    /// Copies the rows of a table out of another database.
    async fn copy(&mut self, from: &mut AnyConnection, table: &'static str, way: Way) -> Result<u64, Error> {
        let select = format!("SELECT * FROM {table}");
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(from);
        let (mut count, mut insert) = (0, None);
        while let Some(row) = rows.try_next().await? {
            let insert = insert.get_or_insert_with(|| insert_like(&row, table)).clone();
            let mut query = sqlx::query(AssertSqlSafe(insert));
            for (at, column) in row.columns().iter().enumerate() {
                let kind = column.type_info().kind();
                query = match kind {
                    AnyTypeInfoKind::Text => query.bind(row.try_get::<Option<String>, _>(at)?),
                    AnyTypeInfoKind::Blob => query.bind(row.try_get::<Option<Vec<u8>>, _>(at)?),
                    AnyTypeInfoKind::Real | AnyTypeInfoKind::Double => query.bind(row.try_get::<Option<f64>, _>(at)?),
                    kind if kind.is_integer() => {
                        query.bind(way.taken(table, column.name(), row.try_get::<Option<i64>, _>(at)?))
                    }
                    _ => {
                        let (name, kind) = (column.name(), column.type_info().name());
                        return Err(Error::Broken(format!(
                            "{table}.{name} is of the type {kind}, which is not copied"
                        )));
                    }
                };
            }
            query.execute(self.db()).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl Way {
    /// A number as it is to be written.
    fn taken(self, table: &str, column: &str, value: Option<i64>) -> Option<i64> {
        match (self, table, column) {
            (Self::In { .. }, "room_ownership", "server_id") => None,
            (Self::In { own: Some(own), theirs }, "servers", "id")
            | (Self::In { own: Some(own), theirs }, _, "server_id")
                if value == theirs =>
            {
                Some(own)
            }
            _ => value,
        }
    }
}

/// Names are of our own schema.
fn insert_like(row: &AnyRow, table: &str) -> String {
    let names: Vec<&str> = row.columns().iter().map(Column::name).collect();
    let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    let mut insert = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
    if table == "event_sequences" {
        insert += " ON CONFLICT (room_id) DO UPDATE SET last = CASE WHEN excluded.last > event_sequences.last \
                   THEN excluded.last ELSE event_sequences.last END";
    }
    insert
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A SQLite file with its companions.
fn remove(file: &Path) -> Result<(), Error> {
    for path in [file.to_owned(), beside(file, "-wal"), beside(file, "-shm")] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Broken(format!("{}: {error}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
