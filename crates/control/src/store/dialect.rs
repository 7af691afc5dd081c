//! The few words in which the two databases differ. Pure.

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file of this process.
    Sqlite,
    /// A server.
    Postgres,
}

impl Dialect {
    /// How a write transaction begins: SQLite takes its write lock at once, as a reader that becomes a writer may fail.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// How a transaction begins that reads everything as of one moment.
    pub(super) const fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Behind a SELECT whose row is written next, in the same transaction.
    pub(super) const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }

    /// The function (text, part) that gives a position from 1, or 0.
    pub(super) const fn position(self) -> &'static str {
        match self {
            Self::Sqlite => "instr",
            Self::Postgres => "strpos",
        }
    }

    /// Before a column that is compared while the table is scanned. SQLite takes an index for every range, also for one that
    /// holds all rows, and then reads the table row by row in the order of the index: three times the cost of a scan.
    pub(super) const fn scanned(self) -> &'static str {
        match self {
            Self::Sqlite => "+",
            Self::Postgres => "",
        }
    }

    /// What stands before and after a column of JSON lists in a SELECT of its elements.
    pub(super) const fn elements(self) -> (&'static str, &'static str) {
        match self {
            Self::Sqlite => ("SELECT value FROM json_each(", ")"),
            Self::Postgres => ("SELECT jsonb_array_elements_text(CAST(", " AS JSONB))"),
        }
    }

    /// For a connection that writes.
    pub(super) const fn on_connect(self) -> &'static str {
        match self {
            // In WAL mode only FULL has a commit on the disk before it returns. Five seconds are for another process's
            // write (`conclave token …`).
            Self::Sqlite => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA busy_timeout = 5000"
            }
            // A database that answers no more is given up before its callers are. Where the server's commits are not on its
            // disk when they return, ours are; a stricter setting stays.
            Self::Postgres => {
                "SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
                 SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'"
            }
        }
    }

    /// For a connection that only reads.
    pub(super) const fn on_connect_to_read(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000",
            Self::Postgres => "SET statement_timeout = '10s'; SET default_transaction_read_only = on",
        }
    }
}
