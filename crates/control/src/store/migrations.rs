//! The schema's history, forward only: one set of migrations for each database, with the same numbers. Each runs in a
//! transaction of its own when the store is opened. Knows no table.

use sqlx::AnyPool;
use sqlx::migrate::{MigrateError, Migrator};

use super::Dialect;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Takes a database to the present schema.
///
/// # Errors
/// In words for an operator: when it was written by a newer version, or is not what our own migrations made.
pub(super) async fn run(dialect: Dialect, pool: &AnyPool) -> Result<(), String> {
    set(dialect).run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) if found > newest(dialect) => {
            let newest = newest(dialect);
            format!("it was written by a newer version (schema {found}; this version knows schemas up to {newest})")
        }
        MigrateError::VersionMissing(found) => format!("its schema {found} is of no version of Conclave"),
        MigrateError::VersionMismatch(found) => format!("its schema {found} is another one than this version's"),
        other => other.to_string(),
    })
}

fn set(dialect: Dialect) -> &'static Migrator {
    match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    }
}

fn newest(dialect: Dialect) -> i64 {
    set(dialect).iter().map(|migration| migration.version).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
