//! The data directory: made at the first start, held by one server at a time, keeper of the admin token.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Outcome;

/// A data directory that is ours until this is dropped or the process dies: the lock is the kernel's (flock(2)), so a
/// crash leaves nothing behind.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory when it is missing and locks it.
    pub(crate) fn take(path: &Path) -> Outcome<Self> {
        let shown = path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(path)
            .map_err(|e| format!("data directory {shown}: cannot be made: {e} (set data_dir or --data-dir)"))?;
        let path = path.canonicalize().map_err(|e| format!("data directory {shown}: {e}"))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path.join("lock"))
            .map_err(|e| format!("data directory {shown}: cannot be written: {e}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The pid is for people; without it the message is still true.
                let _ = (&lock).take(16).read_to_string(&mut pid);
                let pid = pid.trim();
                return Err(format!(
                    "data directory {shown} is in use by another conclave (pid {pid}): stop that one, or give this one its own \
                     --data-dir"
                )
                .into());
            }
            Err(TryLockError::Error(e)) => return Err(format!("data directory {shown}: cannot be locked: {e}").into()),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the first start leaves the admin token.
    pub(crate) fn admin_token_path(&self) -> PathBuf {
        self.path.join("admin.token")
    }

    /// Writes the token where only its owner can read it, whole or not at all.
    pub(crate) fn keep_admin_token(&self, token: &str) -> Outcome<()> {
        let path = self.admin_token_path();
        let unfinished = self.path.join("admin.token.new");
        let write = || {
            // Removed first: an old file could have another mode, and `mode` holds only for a new one.
            let _ = std::fs::remove_file(&unfinished);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            writeln!(file, "{token}")?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)
        };
        write().map_err(|e| format!("{}: cannot be written: {e}", path.display()).into())
    }
}
