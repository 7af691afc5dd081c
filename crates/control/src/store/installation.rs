//! What this installation made up for itself, once: keys that must survive a restart.

use sqlx::Row;

use super::Store;
use crate::error::Error;

impl Store {
    /// The secret of this name: the stored one, or `fresh`, stored now.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn secret(&self, name: &'static str, fresh: &[u8]) -> Result<Vec<u8>, Error> {
        // The update that changes nothing lets RETURNING give the row that was there.
        let mut change = self.change().await?;
        let row = sqlx::query(
            "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET name = excluded.name \
             RETURNING value",
        )
        .bind(name)
        .bind(fresh)
        .fetch_one(change.db())
        .await?;
        let value = row.try_get("value")?;
        change.commit().await?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::testing;

    #[tokio::test]
    async fn secret_is_made_once() {
        let (_dir, store) = testing::store().await;
        assert_eq!(store.secret("key", b"first").await.unwrap(), b"first");
        assert_eq!(store.secret("key", b"second").await.unwrap(), b"first");
        assert_eq!(store.secret("other", b"second").await.unwrap(), b"second");
    }
}
