//! Recordings: the row is there before the file, and says what became of it.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::condition::{column, nullable};
use super::listing::{Listing, Page, Table};
use super::{Change, Column, Store, from_ms, to_ms, unreadable};
use crate::error::Error;
use crate::filter::{Field, Kind};
use crate::ids::Id;

/// What became of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingState {
    /// It runs.
    Recording,
    /// It ended as it should.
    Finished,
    /// The server ended before it did; what was written was repaired.
    Recovered,
    /// It ended early, or never began; `reason` says why.
    Failed,
}

impl RecordingState {
    /// As the API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "RECORDING",
            Self::Finished => "FINISHED",
            Self::Recovered => "RECOVERED",
            Self::Failed => "FAILED",
        }
    }
}

/// A recording that is about to begin.
#[derive(Clone, Debug)]
pub struct NewRecording {
    /// Which.
    pub id: Id,
    /// Of which room.
    pub room: Id,
    /// Where it runs.
    pub server: Id,
    /// Its beginning.
    pub answered_at: Timestamp,
    /// As people see it.
    pub file_name: String,
    /// Below the recordings' directory.
    pub path: String,
    /// The first part, of a later one: a new part begins when the size of the picture changes.
    pub part_of: Option<Id>,
}

/// How a recording ended.
#[derive(Clone, Debug)]
pub struct RecordingEnd {
    /// `Finished`, `Recovered` or `Failed`.
    pub state: RecordingState,
    /// When.
    pub ended_at: Timestamp,
    /// Why it failed.
    pub reason: Option<String>,
    /// What can be played: playing time, size in bytes, SHA-256.
    pub file: Option<(Duration, u64, [u8; 32])>,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingRecord {
    /// Which.
    pub id: Id,
    /// Of which room; it may be gone.
    pub room: Id,
    /// What became of it.
    pub state: RecordingState,
    /// Its beginning.
    pub answered_at: Timestamp,
    /// Its end.
    pub ended_at: Option<Timestamp>,
    /// Playing time.
    pub duration: Option<Duration>,
    /// As people see it.
    pub file_name: String,
    /// Below the recordings' directory.
    pub path: String,
    /// Size.
    pub file_size: Option<u64>,
    /// Of the whole file; `None` while recording, and when there is no file.
    pub sha256: Option<[u8; 32]>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Somebody marked it.
    pub is_read: bool,
    /// The first of the parts that it belongs to.
    pub part_of: Option<Id>,
}

impl Change {
    /// Keeps a recording that is about to begin, as `RECORDING`.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn insert_recording(&mut self, new: &NewRecording) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO recordings (id, room_id, server_id, state, answered_at, file_name, path, part_of) \
             VALUES ($1, $2, $3, 'RECORDING', $4, $5, $6, $7)",
        )
        .bind(new.id.raw())
        .bind(new.room.raw())
        .bind(new.server.raw())
        .bind(to_ms(new.answered_at))
        .bind(&new.file_name)
        .bind(&new.path)
        .bind(new.part_of.map(Id::raw))
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Keeps how a recording ended; false when it ended before, and stays as it is, or is gone.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn end_recording(&mut self, id: Id, end: &RecordingEnd) -> Result<bool, Error> {
        let file = end.file.as_ref();
        let done = sqlx::query(
            "UPDATE recordings SET state = $1, ended_at = $2, reason = $3, duration_ms = $4, file_size = $5, sha256 = $6 \
             WHERE id = $7 AND state = 'RECORDING'",
        )
        .bind(end.state.as_str())
        .bind(to_ms(end.ended_at))
        .bind(&end.reason)
        .bind(file.map(|(duration, ..)| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
        .bind(file.map(|(_, bytes, _)| i64::try_from(*bytes).unwrap_or(i64::MAX)))
        .bind(file.map(|(.., digest)| digest.to_vec()))
        .bind(id.raw())
        .execute(self.db())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Marks a recording as read or not.
    ///
    /// # Errors
    /// `NotFound`, also when it is another room's.
    pub async fn mark_recording(&mut self, room: Id, id: Id, is_read: bool) -> Result<(), Error> {
        let done = sqlx::query("UPDATE recordings SET is_read = $1 WHERE id = $2 AND room_id = $3")
            .bind(i64::from(is_read))
            .bind(id.raw())
            .bind(room.raw())
            .execute(self.db())
            .await?;
        if done.rows_affected() == 0 { Err(Error::NotFound("recording")) } else { Ok(()) }
    }

    /// Those of a room that have ended.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn ended_recordings_of(&mut self, room: Id) -> Result<Vec<RecordingRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM recordings WHERE room_id = $1 AND state <> 'RECORDING'")
            .bind(room.raw())
            .fetch_all(self.db())
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Forgets a recording that has ended; false when it was gone already or runs.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn delete_recording(&mut self, id: Id) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM recordings WHERE id = $1 AND state <> 'RECORDING'")
            .bind(id.raw())
            .execute(self.db())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

impl Store {
    /// A page of one room's recordings.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn recordings(&self, room: Id, listing: &Listing) -> Result<Page<RecordingRecord>, Error> {
        let only = Some(("room_id", room.raw()));
        self.list(Table { name: "recordings", columns: "*", searched: "lower(file_name)", only, listing }, read).await
    }

    /// What a filter or an order of recordings may name. A file's URL is its path, without what a signature adds.
    pub const RECORDING_FIELDS: &[Field<Column>] = &[
        column("id", Kind::Id),
        column("answered_at", Kind::Time),
        nullable("ended_at", Kind::Time),
        Field::nullable("duration", Kind::Number, Column::same("(duration_ms + 500) / 1000")),
        column("file_name", Kind::Text),
        nullable("file_size", Kind::Number),
        Field::nullable(
            "file_url",
            Kind::Text,
            Column::differing(
                // hex() makes an empty text of null.
                "CASE WHEN sha256 IS NOT NULL THEN '/api/blobs/' || lower(hex(sha256)) END",
                "('/api/blobs/' || encode(sha256, 'hex')) COLLATE \"C\"",
            ),
        ),
        Field::new("read", Kind::Boolean, Column::same("is_read")),
        column("state", Kind::Text),
        nullable("reason", Kind::Text),
        nullable("part_of", Kind::Id),
    ];

    /// One recording of one room.
    ///
    /// # Errors
    /// `NotFound`, also when it is another room's.
    pub async fn recording(&self, room: Id, id: Id) -> Result<RecordingRecord, Error> {
        let row = sqlx::query("SELECT * FROM recordings WHERE id = $1 AND room_id = $2")
            .bind(id.raw())
            .bind(room.raw())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(read(&row.ok_or(Error::NotFound("recording"))?)?)
    }

    /// One recording, of whichever room.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn any_recording(&self, id: Id) -> Result<RecordingRecord, Error> {
        let row = sqlx::query("SELECT * FROM recordings WHERE id = $1")
            .bind(id.raw())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(read(&row.ok_or(Error::NotFound("recording"))?)?)
    }

    /// Recordings whose files have this digest, at most `top`.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn recordings_by_digest(&self, sha256: &[u8; 32], top: i64) -> Result<Vec<RecordingRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM recordings WHERE sha256 = $1 ORDER BY id LIMIT $2")
            .bind(sha256.as_slice())
            .bind(top)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Those that are `RECORDING`: at the start, what the last run left behind.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn open_recordings(&self) -> Result<Vec<RecordingRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM recordings WHERE state = 'RECORDING' ORDER BY id")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Those that ended before `limit`, oldest first, at most `top`.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn recordings_ended_before(&self, limit: Timestamp, top: i64) -> Result<Vec<RecordingRecord>, Error> {
        let rows =
            sqlx::query("SELECT * FROM recordings WHERE state <> 'RECORDING' AND ended_at < $1 ORDER BY id LIMIT $2")
                .bind(to_ms(limit))
                .bind(top)
                .fetch_all(&mut *self.reader().await?)
                .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn read(row: &AnyRow) -> Result<RecordingRecord, sqlx::Error> {
    let state: String = row.try_get("state")?;
    let positive =
        |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(|n| u64::try_from(n).unwrap_or(0)));
    Ok(RecordingRecord {
        id: Id::from_raw(row.try_get("id")?),
        room: Id::from_raw(row.try_get("room_id")?),
        state: match state.as_str() {
            "RECORDING" => RecordingState::Recording,
            "FINISHED" => RecordingState::Finished,
            "RECOVERED" => RecordingState::Recovered,
            "FAILED" => RecordingState::Failed,
            _ => return Err(unreadable("recording state")),
        },
        answered_at: from_ms(row.try_get("answered_at")?),
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(from_ms),
        duration: positive("duration_ms")?.map(Duration::from_millis),
        file_name: row.try_get("file_name")?,
        path: row.try_get("path")?,
        file_size: positive("file_size")?,
        sha256: row
            .try_get::<Option<Vec<u8>>, _>("sha256")?
            .map(|digest| digest.try_into().map_err(|_| unreadable("digest")))
            .transpose()?,
        reason: row.try_get("reason")?,
        is_read: row.try_get::<i64, _>("is_read")? != 0,
        part_of: row.try_get::<Option<i64>, _>("part_of")?.map(Id::from_raw),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::change;
    use crate::store::{now, testing};

    fn new(store: &Store, room: Id) -> NewRecording {
        let id = store.ids().next();
        NewRecording {
            id,
            room,
            server: Id::from_raw(1),
            answered_at: now(),
            file_name: "900.ogg".into(),
            path: format!("2030/01/{}.ogg", id.raw()),
            part_of: None,
        }
    }

    #[tokio::test]
    async fn recording_is_kept_before_during_and_after() {
        let (_dir, store) = testing::store().await;
        let room = Id::from_raw(7);
        let new = new(&store, room);
        change!(store, insert_recording(&new)).unwrap();
        let open = store.open_recordings().await.unwrap();
        assert_eq!((open.len(), open[0].state, open[0].sha256), (1, RecordingState::Recording, None));
        assert!(!change!(store, delete_recording(new.id)).unwrap());

        let file = Some((Duration::from_millis(1500), 4096, [7; 32]));
        let end = RecordingEnd { state: RecordingState::Finished, ended_at: now(), reason: None, file };
        change!(store, end_recording(new.id, &end)).unwrap();
        let late = RecordingEnd { state: RecordingState::Failed, reason: Some("late".into()), ..end.clone() };
        change!(store, end_recording(new.id, &late)).unwrap();
        let ended = store.recording(room, new.id).await.unwrap();
        assert_eq!((ended.state, ended.file_size, ended.reason.clone()), (RecordingState::Finished, Some(4096), None));
        assert_eq!(store.recordings_by_digest(&[7; 32], 2).await.unwrap(), std::slice::from_ref(&ended));
        assert_eq!(store.recording(Id::from_raw(8), new.id).await.unwrap_err(), Error::NotFound("recording"));
        assert!(store.open_recordings().await.unwrap().is_empty());
        assert!(change!(store, delete_recording(new.id)).unwrap());
        assert!(!change!(store, delete_recording(new.id)).unwrap());
    }

    #[tokio::test]
    async fn only_ended_recordings_of_the_past_are_old() {
        let (_dir, store) = testing::store().await;
        let (running, ended) = (new(&store, Id::from_raw(1)), new(&store, Id::from_raw(1)));
        change!(store, insert_recording(&running)).unwrap();
        change!(store, insert_recording(&ended)).unwrap();
        let at = now();
        let end =
            RecordingEnd { state: RecordingState::Failed, ended_at: at, reason: Some("disk full".into()), file: None };
        change!(store, end_recording(ended.id, &end)).unwrap();
        assert!(store.recordings_ended_before(at, 10).await.unwrap().is_empty());
        let later = at + Duration::from_millis(1);
        let old = store.recordings_ended_before(later, 10).await.unwrap();
        assert_eq!(old.iter().map(|r| r.id).collect::<Vec<_>>(), [ended.id]);
    }
}
