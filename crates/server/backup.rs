//! `conclave backup` and `conclave restore`.

use std::io::Write;

use control::backups;
use control::config::{Config, Loaded};

use crate::Outcome;
use crate::cli::BackupFlags;

/// Writes the file and says what is in it.
pub(crate) fn backup(flags: &BackupFlags) -> Outcome<()> {
    let (config, runtime) = prepare(flags)?;
    let rows = runtime.block_on(backups::backup(&config, &flags.file))?;
    say(&format!("{rows} rows of {} are in {}", config.database, flags.file.display()))
}

/// Reads the file and says what was done.
pub(crate) fn restore(flags: &BackupFlags) -> Outcome<()> {
    let (config, runtime) = prepare(flags)?;
    let rows = runtime.block_on(backups::restore(&config, &flags.file))?;
    say(&format!("{} holds the {rows} rows of {} now", config.database, flags.file.display()))
}

fn prepare(flags: &BackupFlags) -> Outcome<(Config, tokio::runtime::Runtime)> {
    let config = Loaded::read(&flags.sources())?.config;
    Ok((config, tokio::runtime::Builder::new_current_thread().enable_all().build()?))
}

fn say(line: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
