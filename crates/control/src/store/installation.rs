//! What this installation must know after a restart: keys that it made up for itself, and how far it has come.

use jiff::Timestamp;
use sqlx::Row;

use super::{Change, Store};
use crate::error::Error;

/// Up to when the meetings' starts and ends were announced: seconds since 1970, as text.
const MEETINGS: &str = "meetings_until";

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

impl Store {
    /// Up to when meetings' starts and ends were announced; `None` when none ever was.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn meetings_until(&self) -> Result<Option<Timestamp>, Error> {
        let row = sqlx::query("SELECT value FROM installation WHERE name = $1")
            .bind(MEETINGS)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let text: Vec<u8> = row.try_get("value")?;
        let seconds = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
    }
}

impl Change {
    /// Meetings' starts and ends are announced up to then.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn announce_meetings_until(&mut self, until: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(MEETINGS)
        .bind(until.as_second().to_string().into_bytes())
        .execute(self.db())
        .await?;
        Ok(())
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

    #[tokio::test]
    async fn how_far_meetings_are_announced_is_kept() {
        let (_dir, store) = testing::store().await;
        assert_eq!(store.meetings_until().await.unwrap(), None);
        for text in ["2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"] {
            let until = text.parse().unwrap();
            let mut change = store.change().await.unwrap();
            change.announce_meetings_until(until).await.unwrap();
            change.commit().await.unwrap();
            assert_eq!(store.meetings_until().await.unwrap(), Some(until));
        }
    }
}
