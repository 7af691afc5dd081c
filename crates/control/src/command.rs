//! What the commands beside a running server share: they work on the database itself, so that they work while it runs and when
//! it does not, and leave a note of who did what, which the server writes into its log.

use std::os::unix::fs::MetadataExt;

use crate::config::Config;
use crate::error::Error;
use crate::store::{Change, Store};

pub(crate) async fn open(config: &Config) -> Result<Store, Error> {
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|e| Error::Broken(format!("data directory {}: {e}", config.data_dir.display())))?;
    Store::open(&config.database).await
}

/// Ends a change of a command, with its note.
pub(crate) async fn commit(mut change: Change, action: &str, subject: &str) -> Result<(), Error> {
    change.note_command(&who(), action, subject).await?;
    change.commit().await
}

/// The system's user of this process: its number, as a name could be anybody's.
fn who() -> String {
    std::fs::metadata("/proc/self").map_or_else(|_| "command line".to_owned(), |of| format!("uid {}", of.uid()))
}
