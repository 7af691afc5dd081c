//! The database: SQLite or PostgreSQL behind one SQL text, concrete functions by table. Runs on sqlx's tasks and threads;
//! callers await it. Knows SQL and the domain's values; never HTTP, SIP or what is live. Reads are on `Store`, writes on
//! `Change`: one transaction, on the disk when `commit` returns.
//!
//! One text serves both databases because it keeps to what both do alike: `$n` parameters, `BIGINT` for ids, times (ms since
//! 1970, UTC) and booleans (0 and 1), upserts and `RETURNING`. Where they differ, `Dialect` has the word.

mod backup;
mod change;
mod condition;
mod deliveries;
mod dialect;
mod events;
mod installation;
mod letters;
mod listing;
mod migrations;
mod notes;
mod pins;
mod presence;
mod recordings;
mod rooms;
mod servers;
mod sql;
mod tokens;
mod users;
mod webhooks;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Transaction};
use url::Url;

use crate::config::DatabaseConfig;
use crate::error::Error;
use crate::ids::{Id, Ids};

pub use change::Change;
pub use condition::Column;
pub use deliveries::{Attempted, DeliveryRecord, DeliveryState, Failure, WaitingDelivery};
pub use dialect::Dialect;
pub use events::StoredEvent;
pub use letters::LetterRecord;
pub use listing::{Listing, MAX_ORDER_PARTS, Order, Page};
pub use notes::CommandNote;
use presence::Presence;
pub use recordings::{NewRecording, RecordingEnd, RecordingRecord, RecordingState};
pub use rooms::Holding;
pub use servers::{ServerKind, ServerRecord, ServerUpdate};
pub use tokens::{Session, Spent, TokenKind, TokenRecord};
pub use users::{Role, Source, UserRecord};
pub use webhooks::{WebhookRecord, WebhookSource, WebhookUpdate};

/// How long a caller waits for a connection before it is told to come again.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Readers at once. In SQLite each is a thread of sqlx with a page cache of its own.
const READERS: u32 = 4;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection: SQLite has one writer at a time, so we queue here, fairly, and not in its busy loop; and the order in
    /// which changes are made is the order in which others see them, on both databases.
    write: AnyPool,
    read: AnyPool,
    presence: Presence,
    dialect: Dialect,
    ids: Ids,
}

impl Store {
    /// The name of SQLite's file in the data directory.
    pub const FILE: &str = "conclave.db";

    /// Opens the database, making SQLite's file when it is missing, and takes its schema to the present one.
    ///
    /// # Errors
    /// When it cannot be opened or reached, is damaged, or was written by a newer version.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, Error> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let broken = |error: &dyn std::fmt::Display| Error::Broken(format!("database {config}: {error}"));
        let (dialect, options) = match config {
            DatabaseConfig::Sqlite(path) => {
                // PINs and keys are in it: for its owner only. SQLite gives its companion files the same mode.
                OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|e| broken(&e))?;
                (Dialect::Sqlite, sqlite_options(path).map_err(|e| broken(&e))?)
            }
            DatabaseConfig::Postgres(url) => (Dialect::Postgres, quiet(url.as_str()).map_err(|e| broken(&e))?),
        };
        // A file does not go away like a server; asking it first takes as long as a small query.
        let asks_first = dialect == Dialect::Postgres;
        let pool = |most: u32, on_connect: &'static str| {
            let options = AnyPoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE_TIMEOUT);
            options.test_before_acquire(asks_first).after_connect(move |connection, _| {
                Box::pin(async move { sqlx::raw_sql(on_connect).execute(connection).await.map(drop) })
            })
        };
        let write = pool(1, dialect.on_connect()).connect_with(options.clone()).await.map_err(|e| broken(&e))?;
        migrations::run(dialect, &write).await.map_err(|e| broken(&e))?;
        let presence = match dialect {
            Dialect::Sqlite => Presence::always(),
            Dialect::Postgres => Presence::of(options.clone()),
        };
        let read = pool(READERS, dialect.on_connect_to_read()).connect_with(options).await.map_err(|e| broken(&e))?;
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(id) FROM (SELECT max(id) AS id FROM servers UNION ALL SELECT max(id) FROM rooms \
             UNION ALL SELECT max(revision) FROM rooms UNION ALL SELECT max(id) FROM recordings \
             UNION ALL SELECT max(id) FROM tokens UNION ALL SELECT max(session_id) FROM tokens \
             UNION ALL SELECT max(id) FROM users UNION ALL SELECT max(id) FROM webhooks \
             UNION ALL SELECT max(id) FROM letters) AS every_id",
        )
        .fetch_one(&read)
        .await
        .map_err(|e| broken(&e))?;
        Ok(Self { write, read, presence, dialect, ids: Ids::after(last.map(Id::from_raw)) })
    }

    /// Makes ids that no row has.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// A connection that reads.
    async fn reader(&self) -> Result<PoolConnection<Any>, Error> {
        self.presence.wait_for(self.read.acquire()).await
    }

    /// A transaction that reads everything as of one moment.
    async fn moment(&self) -> Result<Transaction<'static, Any>, Error> {
        self.presence.wait_for(self.read.begin_with(self.dialect.begin_snapshot())).await
    }

    /// One trivial read: is the database there?
    ///
    /// # Errors
    /// `Busy` when it is not.
    pub async fn ping(&self) -> Result<(), Error> {
        let _: i64 = sqlx::query_scalar("SELECT CAST(1 AS BIGINT)").fetch_one(&mut *self.reader().await?).await?;
        Ok(())
    }

    /// Finishes what runs and closes the connections.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// A path may hold anything; a URL may not.
fn sqlite_options(path: &Path) -> Result<AnyConnectOptions, sqlx::Error> {
    let path = std::path::absolute(path)?;
    let file = Url::from_file_path(&path).map_err(|()| sqlx::Error::Configuration("not a path of a file".into()))?;
    quiet(&format!("sqlite://{}", file.path()))
}

/// Statements carry PINs and digests: none of them is logged.
fn quiet(url: &str) -> Result<AnyConnectOptions, sqlx::Error> {
    use sqlx::ConnectOptions;
    Ok(url.parse::<AnyConnectOptions>()?.disable_statement_logging())
}

/// Now, in the precision that the database keeps.
pub fn now() -> Timestamp {
    from_ms(Timestamp::now().as_millisecond())
}

/// From the database's integer. Out of range only when somebody else wrote it; then the nearest end.
fn from_ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn to_ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// What a column holds that only a bug or another hand could have written.
fn unreadable(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("unreadable {what}").into())
}

/// A row of the same name or number exists already.
fn is_taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.is_unique_violation())
}

/// Lower case of the fields that `search` looks into, apart from each other.
fn search_text(fields: &[&str]) -> String {
    fields.join("\n").to_lowercase()
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests;
