//! A store for each test: SQLite in a directory of its own, or, where `CONCLAVE_TEST_POSTGRES` names a server, a database of
//! its own there.

use super::*;

/// Holds what the store lives in; keep it as long as the store.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: DatabaseConfig,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = match testkit::postgres::test_server() {
            Some(server) => DatabaseConfig::Postgres(testkit::postgres::fresh_database(&server).parse().unwrap()),
            None => DatabaseConfig::Sqlite(dir.path().join(Store::FILE)),
        };
        Self { dir, config }
    }

    /// SQLite, whatever the others run on: for what is of files.
    pub(crate) fn in_a_file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = DatabaseConfig::Sqlite(dir.path().join(Store::FILE));
        Self { dir, config }
    }

    /// Which one it is.
    pub(crate) fn dialect(&self) -> Dialect {
        match &self.config {
            DatabaseConfig::Sqlite(_) => Dialect::Sqlite,
            DatabaseConfig::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.config).await.unwrap()
    }
}

/// Keep the place as long as the store.
pub(crate) async fn store() -> (Place, Store) {
    let place = Place::new();
    let store = place.open().await;
    (place, store)
}

/// One change, kept: `change!(store, insert_room(&room))`.
macro_rules! change {
    ($store:expr, $($call:tt)*) => {
        async {
            let mut change = $store.change().await?;
            let done = change.$($call)*.await?;
            change.commit().await?;
            Ok::<_, crate::error::Error>(done)
        }
        .await
    };
}

pub(crate) use change;

impl Store {
    /// All connections that read: until they are dropped, others wait.
    pub(crate) async fn hold_readers(&self) -> Vec<PoolConnection<Any>> {
        let mut held = Vec::new();
        for _ in 0..READERS {
            held.push(self.read.acquire().await.unwrap());
        }
        held
    }
}
