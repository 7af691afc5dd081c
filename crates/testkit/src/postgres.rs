//! PostgreSQL for tests: a fresh database on the server that `CONCLAVE_TEST_POSTGRES` names, or a whole server of one's own
//! that can be ended and started again. Debian's `postgresql`, by `scripts/postgres`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::TempDir;

/// The server that tests are to run on instead of SQLite; `None` for SQLite.
pub fn test_server() -> Option<String> {
    std::env::var("CONCLAVE_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

/// Makes an empty database on a server; gives its URL. It goes with the server.
///
/// # Panics
/// When the server does not make it.
pub fn fresh_database(server: &str) -> String {
    static UNIQUE: AtomicU64 = AtomicU64::new(0);
    let name = format!("t_{}_{}", std::process::id(), UNIQUE.fetch_add(1, Ordering::Relaxed));
    // A process id comes again; a database of an earlier one is in the way.
    for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name} TEMPLATE template0")] {
        let done = Command::new("psql").args([server, "-qX", "-v", "ON_ERROR_STOP=1", "-c", &statement]).output();
        let done = done.expect("psql runs");
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let (base, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{name}")
}

/// A server of one's own; ended when dropped.
#[derive(Debug)]
pub struct Cluster {
    script: PathBuf,
    dir: TempDir,
    url: String,
}

impl Cluster {
    /// Starts one. `root` is the repository's.
    ///
    /// # Panics
    /// When PostgreSQL is missing or does not start.
    pub fn start(root: &Path) -> Self {
        let mut cluster =
            Self { script: root.join("scripts/postgres"), dir: TempDir::new("postgres"), url: String::new() };
        cluster.up();
        cluster
    }

    /// The URL of an empty database.
    pub fn database(&self) -> String {
        fresh_database(&self.url)
    }

    /// Ends the server at once, as its crash would.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn down(&self) {
        self.run("stop");
    }

    /// Starts it again, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn up(&mut self) {
        self.url = self.run("start");
    }

    /// Has it hang, without a word to its clients.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.run("pause");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        self.run("resume");
    }

    fn run(&self, action: &str) -> String {
        let done = Command::new(&self.script).arg(action).arg(self.dir.path().join("cluster")).output();
        let done = done.expect("the script runs");
        assert!(done.status.success(), "postgres {action}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // In a panic already: the first one says what is wrong.
        if !std::thread::panicking() {
            self.down();
        } else {
            drop(Command::new(&self.script).arg("stop").arg(self.dir.path().join("cluster")).output());
        }
    }
}
