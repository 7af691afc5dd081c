//! The database: SQLite, opened once, concrete functions by table. Runs on sqlx's own threads; callers await it. Knows SQL
//! and the domain's values; never HTTP, SIP or what is live. A function that returns `Ok` has its change on the disk.

mod installation;
mod listing;
mod recordings;
mod rooms;
mod servers;
mod tokens;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::error::Error;
use crate::ids::{Id, Ids};

pub use listing::{Listing, Order, Page};
pub use recordings::{NewRecording, RecordingEnd, RecordingRecord, RecordingState};
pub use rooms::Holding;
pub use servers::{ServerKind, ServerRecord, ServerUpdate};
pub use tokens::{Role, TokenRecord};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a write waits for another process's (`conclave token …`).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection before it is told to come again.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Readers at once. Each is a thread of sqlx with a page cache of its own.
const READERS: u32 = 4;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection: SQLite has one writer at a time, so we queue here, fairly, and not in its busy loop.
    write: SqlitePool,
    read: SqlitePool,
    ids: Ids,
}

impl Store {
    /// The file's name in the data directory.
    pub const FILE: &str = "conclave.db";

    /// Opens the file, making it when it is missing, and takes its schema to the present one.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, or was written by a newer version.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let broken = |error: &dyn std::fmt::Display| Error::Broken(format!("database {}: {error}", path.display()));
        // PINs and keys are in it: for its owner only. SQLite gives its companion files the same mode.
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|e| broken(&e))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode only FULL has a commit on the disk before it returns.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await
            .map_err(|e| broken(&e))?;
        MIGRATIONS.run(&write).await.map_err(|e| broken(&e))?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(|e| broken(&e))?;
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(id) FROM (SELECT max(id) AS id FROM servers UNION ALL SELECT max(id) FROM rooms \
             UNION ALL SELECT max(id) FROM recordings UNION ALL SELECT max(id) FROM tokens)",
        )
        .fetch_one(&read)
        .await
        .map_err(|e| broken(&e))?;
        Ok(Self { write, read, ids: Ids::after(last.map(Id::from_raw)) })
    }

    /// Makes ids that no row has.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// One trivial read: is the database there?
    ///
    /// # Errors
    /// `Busy` when it is not.
    pub async fn ping(&self) -> Result<(), Error> {
        let _: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&self.read).await?;
        Ok(())
    }

    /// Finishes what runs and closes the file.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
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
pub(crate) mod testing {
    //! A store in a directory of its own.
    use super::*;

    /// Keep the directory as long as the store.
    pub(crate) async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join(Store::FILE)).await.unwrap();
        (dir, store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn file_is_in_wal_mode_and_commits_reach_the_disk() {
        let (_dir, store) = testing::store().await;
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&store.write).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&store.write).await.unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }

    #[tokio::test]
    async fn file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, store) = testing::store().await;
        store.secret("key", b"x").await.unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()) {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
    }

    #[tokio::test]
    async fn two_processes_can_open_the_file() {
        let (dir, first) = testing::store().await;
        let second = Store::open(&dir.path().join(Store::FILE)).await.unwrap();
        first.ping().await.unwrap();
        second.ping().await.unwrap();
    }

    #[tokio::test]
    async fn directory_in_the_place_of_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Store::open(dir.path()).await.unwrap_err().to_string();
        assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
    }
}
