//! The outbox: events in the order in which they became true, each with a number of its own in its room.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Dialect, Store, from_ms, to_ms};
use crate::error::Error;
use crate::events::{Kind, NewEvent};
use crate::ids::Id;

/// The sequence that events of no room share.
const OF_NO_ROOM: i64 = 0;
/// Events in one statement: seven parameters each, of the 32,766 that SQLite takes.
const ROWS_AT_ONCE: usize = 500;

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place among all events.
    pub cursor: i64,
    /// When it became true.
    pub at: Timestamp,
    /// Of which room.
    pub room: Option<Id>,
    /// The room's extension.
    pub extension: Option<String>,
    /// Its place among its room's events, from 1, without gaps.
    pub sequence: i64,
    /// Dotted words, as the API spells it.
    pub kind: String,
    /// A JSON object.
    pub data: String,
}

impl Change {
    /// Keeps events behind those that are kept; gives the cursor of the last one.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn append_events(&mut self, events: &[NewEvent]) -> Result<i64, Error> {
        if self.dialect == Dialect::Postgres && !events.is_empty() {
            // Cursors are handed out before they are seen: without this, a reader could pass over one that another node
            // hands out first and commits last.
            sqlx::query("SELECT pg_advisory_xact_lock(7235419)").execute(self.db()).await?;
        }
        let mut last_of: BTreeMap<i64, i64> = BTreeMap::new();
        for event in events {
            *last_of.entry(sequence_key(event)).or_default() += 1;
        }
        // From how many there are now to the last number before them.
        for (room, count) in &mut last_of {
            let last: i64 = sqlx::query_scalar(
                "INSERT INTO event_sequences (room_id, last) VALUES ($1, $2) \
                 ON CONFLICT (room_id) DO UPDATE SET last = event_sequences.last + excluded.last RETURNING last",
            )
            .bind(*room)
            .bind(*count)
            .fetch_one(self.db())
            .await?;
            *count = last - *count;
        }
        for chunk in events.chunks(ROWS_AT_ONCE) {
            self.insert_events(chunk, &mut last_of).await?;
        }
        let row = sqlx::query(
            "SELECT coalesce(max(cursor), 0) AS last, \
             (SELECT count(*) FROM webhooks WHERE enabled <> 0) AS webhooks FROM events",
        )
        .fetch_one(self.db())
        .await?;
        let last: i64 = row.try_get("last")?;
        if row.try_get::<i64, _>("webhooks")? > 0 {
            self.queue_deliveries(events, last).await?;
        }
        Ok(last)
    }

    async fn insert_events(&mut self, events: &[NewEvent], last_of: &mut BTreeMap<i64, i64>) -> Result<(), Error> {
        let mut sql = "INSERT INTO events (at, room_id, extension_number, sequence, kind, data) VALUES ".to_owned();
        for at in 0..events.len() {
            let n = at * 6;
            let comma = if at == 0 { "" } else { ", " };
            sql += &format!("{comma}(${}, ${}, ${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4, n + 5, n + 6);
        }
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for event in events {
            let sequence = last_of.entry(sequence_key(event)).or_default();
            *sequence += 1;
            query = query
                .bind(to_ms(event.at))
                .bind(event.room.map(Id::raw))
                .bind(event.extension.as_deref())
                .bind(*sequence)
                .bind(event.kind.as_str())
                .bind(event.data.json());
        }
        query.execute(self.db()).await?;
        Ok(())
    }

    /// Whether this event is kept.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn has_event(&mut self, cursor: i64, at: Timestamp, room: Option<Id>, kind: Kind) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT cursor FROM events WHERE cursor = $1 AND at = $2 AND coalesce(room_id, 0) = $3 AND kind = $4",
        )
        .bind(cursor)
        .bind(to_ms(at))
        .bind(room.map_or(OF_NO_ROOM, Id::raw))
        .bind(kind.as_str())
        .fetch_optional(self.db())
        .await?;
        Ok(row.is_some())
    }

    /// Forgets the first events up to one that has to stay: it is not older than `limit`, or a delivery of it waits, or was
    /// given up since then. The last event always stays, so that cursors go on behind it. At most `most` at once; says how
    /// many, and the first that is kept.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn forget_events_before(&mut self, limit: Timestamp, most: i64) -> Result<(u64, i64), Error> {
        let row = sqlx::query(
            "SELECT (SELECT min(cursor) FROM events) AS first, (SELECT max(cursor) FROM events) AS last, \
             (SELECT cursor FROM events WHERE at >= $1 ORDER BY cursor LIMIT 1) AS young, \
             (SELECT cursor FROM deliveries WHERE state = 'PENDING' OR last_attempt_at >= $1 OR queued_at >= $1 \
              ORDER BY cursor LIMIT 1) AS needed",
        )
        .bind(to_ms(limit))
        .fetch_one(self.db())
        .await?;
        let (Some(first), Some(last)) = (row.try_get::<Option<i64>, _>("first")?, row.try_get("last")?) else {
            return Ok((0, 0));
        };
        let stays = [row.try_get("young")?, row.try_get("needed")?, Some(last), Some(first.saturating_add(most))];
        let stays: i64 = stays.into_iter().flatten().min().unwrap_or(last);
        if stays <= first {
            return Ok((0, first));
        }
        sqlx::query("DELETE FROM deliveries WHERE cursor < $1").bind(stays).execute(self.db()).await?;
        let done = sqlx::query("DELETE FROM events WHERE cursor < $1").bind(stays).execute(self.db()).await?;
        if stays == first.saturating_add(most) {
            // There is more to forget: numbers are looked at once, at the end.
            return Ok((done.rows_affected(), stays));
        }
        sqlx::query(
            "DELETE FROM event_sequences WHERE room_id <> $1 \
             AND NOT EXISTS (SELECT 1 FROM rooms WHERE rooms.id = event_sequences.room_id) \
             AND NOT EXISTS (SELECT 1 FROM events WHERE events.room_id = event_sequences.room_id)",
        )
        .bind(OF_NO_ROOM)
        .execute(self.db())
        .await?;
        Ok((done.rows_affected(), stays))
    }
}

impl Store {
    /// Events after a cursor, in their order, at most `top`; of one room, if one is named.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn events_after(&self, cursor: i64, room: Option<Id>, top: i64) -> Result<Vec<StoredEvent>, Error> {
        let rows = match room {
            None => {
                sqlx::query("SELECT * FROM events WHERE cursor > $1 ORDER BY cursor LIMIT $2")
                    .bind(cursor)
                    .bind(top)
                    .fetch_all(&mut *self.reader().await?)
                    .await?
            }
            Some(room) => {
                sqlx::query("SELECT * FROM events WHERE room_id = $1 AND cursor > $2 ORDER BY cursor LIMIT $3")
                    .bind(room.raw())
                    .bind(cursor)
                    .bind(top)
                    .fetch_all(&mut *self.reader().await?)
                    .await?
            }
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The event with this cursor.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn event(&self, cursor: i64) -> Result<Option<StoredEvent>, Error> {
        let row = sqlx::query("SELECT * FROM events WHERE cursor = $1")
            .bind(cursor)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// The first and the last cursor that are kept; zeros when there is none.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn event_cursors(&self) -> Result<(i64, i64), Error> {
        let row = sqlx::query("SELECT coalesce(min(cursor), 0) AS first, coalesce(max(cursor), 0) AS last FROM events")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Ok((row.try_get("first")?, row.try_get("last")?))
    }
}

fn sequence_key(event: &NewEvent) -> i64 {
    event.room.map_or(OF_NO_ROOM, Id::raw)
}

fn read(row: &AnyRow) -> Result<StoredEvent, sqlx::Error> {
    Ok(StoredEvent {
        cursor: row.try_get("cursor")?,
        at: from_ms(row.try_get("at")?),
        room: row.try_get::<Option<i64>, _>("room_id")?.map(Id::from_raw),
        extension: row.try_get("extension_number")?,
        sequence: row.try_get("sequence")?,
        kind: row.try_get("kind")?,
        data: row.try_get("data")?,
    })
}
