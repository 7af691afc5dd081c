//! Mail that is to be sent, and what those who are invited to a room were told last.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Store, from_ms, now, to_ms};
use crate::error::Error;
use crate::ids::Id;

/// A letter that waits. What it says may hold a PIN: it does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct LetterRecord {
    /// Which.
    pub id: Id,
    /// Of which room; it may be gone.
    pub room: Id,
    /// Mail address.
    pub recipient: String,
    /// JSON.
    pub content: String,
    /// So many attempts have failed.
    pub attempts: u32,
    /// When it was first due.
    pub queued_at: Timestamp,
}

impl std::fmt::Debug for LetterRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LetterRecord").field("id", &self.id).field("room", &self.room).finish_non_exhaustive()
    }
}

impl Change {
    /// Counts one more round of invitations to a room; gives its calendar entry's UID, which is `uid` in the first round, and
    /// the round's number, from 0.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn next_invitation(&mut self, room: Id, uid: &str) -> Result<(String, u32), Error> {
        let row = sqlx::query(
            "INSERT INTO invitations (room_id, uid, sequence) VALUES ($1, $2, 0) \
             ON CONFLICT (room_id) DO UPDATE SET sequence = invitations.sequence + 1 RETURNING uid, sequence",
        )
        .bind(room.raw())
        .bind(uid)
        .fetch_one(self.db())
        .await?;
        let sequence: i64 = row.try_get("sequence")?;
        Ok((row.try_get("uid")?, u32::try_from(sequence).unwrap_or(u32::MAX)))
    }

    /// Nobody is told anything more of a room.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn forget_invitations(&mut self, room: Id) -> Result<(), Error> {
        sqlx::query("DELETE FROM invitations WHERE room_id = $1").bind(room.raw()).execute(self.db()).await?;
        Ok(())
    }

    /// Keeps a letter, due now, in the place of an older one of that room to the same recipient that still waits.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn insert_letter(&mut self, room: Id, recipient: &str, content: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM letters WHERE room_id = $1 AND recipient = $2")
            .bind(room.raw())
            .bind(recipient)
            .execute(self.db())
            .await?;
        let id = self.ids.next();
        sqlx::query(
            "INSERT INTO letters (id, room_id, recipient, content, attempts, queued_at, next_at) \
             VALUES ($1, $2, $3, $4, 0, $5, $5)",
        )
        .bind(id.raw())
        .bind(room.raw())
        .bind(recipient)
        .bind(content)
        .bind(to_ms(now()))
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// It needs no further attempt; false when it is gone already.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn delete_letter(&mut self, id: Id) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM letters WHERE id = $1").bind(id.raw()).execute(self.db()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// It is tried again then. A letter that is gone is passed over.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn delay_letter(&mut self, id: Id, attempts: u32, next_at: Timestamp, error: &str) -> Result<(), Error> {
        sqlx::query("UPDATE letters SET attempts = $1, next_at = $2, last_error = $3 WHERE id = $4")
            .bind(i64::from(attempts))
            .bind(to_ms(next_at))
            .bind(error)
            .bind(id.raw())
            .execute(self.db())
            .await?;
        Ok(())
    }
}

impl Store {
    /// Letters that are due, those first that are so for longest, at most `top`.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn due_letters(&self, now: Timestamp, top: i64) -> Result<Vec<LetterRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM letters WHERE next_at <= $1 ORDER BY next_at, id LIMIT $2")
            .bind(to_ms(now))
            .bind(top)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// How many letters wait, and when the first of them is due.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn waiting_letters(&self) -> Result<(i64, Option<Timestamp>), Error> {
        let row = sqlx::query("SELECT count(*) AS waiting, min(next_at) AS first FROM letters")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Ok((row.try_get("waiting")?, row.try_get::<Option<i64>, _>("first")?.map(from_ms)))
    }
}

fn read(row: &AnyRow) -> Result<LetterRecord, sqlx::Error> {
    Ok(LetterRecord {
        id: Id::from_raw(row.try_get("id")?),
        room: Id::from_raw(row.try_get("room_id")?),
        recipient: row.try_get("recipient")?,
        content: row.try_get("content")?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        queued_at: from_ms(row.try_get("queued_at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{change, store};
    use super::*;

    #[tokio::test]
    async fn letters_wait_their_time_and_a_newer_one_takes_an_olders_place() {
        let (_place, store) = store().await;
        let room = Id::from_raw(7);
        for (recipient, content) in [("a@example.org", "one"), ("b@example.org", "two"), ("a@example.org", "three")] {
            change!(store, insert_letter(room, recipient, content)).unwrap();
        }
        let due = store.due_letters(now(), 10).await.unwrap();
        let said: Vec<(&str, &str)> = due.iter().map(|l| (l.recipient.as_str(), l.content.as_str())).collect();
        assert_eq!(said, [("b@example.org", "two"), ("a@example.org", "three")]);
        let later = now().saturating_add(std::time::Duration::from_secs(60)).unwrap();
        change!(store, delay_letter(due[0].id, 3, later, "greylisted")).unwrap();
        let still_due = store.due_letters(now(), 10).await.unwrap();
        assert_eq!(still_due, due[1..]);
        assert!(change!(store, delete_letter(due[1].id)).unwrap());
        assert!(!change!(store, delete_letter(due[1].id)).unwrap());
        let (waiting, first) = store.waiting_letters().await.unwrap();
        assert_eq!((waiting, first.map(|at| at.as_millisecond())), (1, Some(later.as_millisecond())));
        assert_eq!(store.due_letters(later, 10).await.unwrap()[0].attempts, 3);
        assert!(!format!("{due:?}").contains("three"));
    }

    #[tokio::test]
    async fn rounds_of_a_room_are_counted_and_keep_their_first_uid() {
        let (_place, store) = store().await;
        let (room, other) = (Id::from_raw(7), Id::from_raw(8));
        for (room, uid, said) in [
            (room, "a", ("a".to_owned(), 0)),
            (room, "b", ("a".to_owned(), 1)),
            (other, "c", ("c".to_owned(), 0)),
            (room, "b", ("a".to_owned(), 2)),
        ] {
            assert_eq!(change!(store, next_invitation(room, uid)).unwrap(), said);
        }
        change!(store, forget_invitations(room)).unwrap();
        assert_eq!(change!(store, next_invitation(room, "d")).unwrap(), ("d".to_owned(), 0));
    }
}
