//! A write transaction. Dropped without `commit`, it has not happened.

use sqlx::AnyConnection;
use sqlx::{Any, Transaction};

use super::{Dialect, Store};
use crate::error::Error;
use crate::ids::Ids;

/// Writes that happen together, or not at all. One at a time in this process; others wait for it.
#[derive(Debug)]
pub struct Change {
    transaction: Transaction<'static, Any>,
    pub(super) dialect: Dialect,
    pub(super) ids: Ids,
}

impl Store {
    /// Begins to write.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written now.
    pub async fn change(&self) -> Result<Change, Error> {
        let transaction = self.presence.wait_for(self.write.begin_with(self.dialect.begin())).await?;
        Ok(Change { transaction, dialect: self.dialect, ids: self.ids.clone() })
    }
}

impl Change {
    pub(super) fn db(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// On the disk when this returns.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written now; nothing is changed then.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.transaction.commit().await?)
    }
}
