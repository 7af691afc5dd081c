//! Backups for the command line: on the database itself, so that they work while the server runs and when it does not. A
//! running server sees that its database was restored, and follows.

use std::path::Path;

use crate::command::open;
use crate::config::Config;
use crate::error::Error;

/// Writes everything that the database holds into a new file; gives the number of rows. The files of recordings are not in
/// it.
///
/// # Errors
/// When the file exists or cannot be written, or the database cannot be read.
pub async fn backup(config: &Config, file: &Path) -> Result<u64, Error> {
    let store = open(config).await?;
    let rows = store.backup(file).await;
    store.close().await;
    rows
}

/// Puts what a file holds in the place of everything that the database holds; gives the number of rows.
///
/// # Errors
/// When the file is no backup, or the database cannot be written.
pub async fn restore(config: &Config, file: &Path) -> Result<u64, Error> {
    let store = open(config).await?;
    let rows = store.restore(file, &config.data_dir).await;
    store.close().await;
    rows
}
