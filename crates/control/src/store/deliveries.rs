//! What webhooks have not accepted yet: deliveries that wait, and those that were given up.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::listing::Page;
use super::{Change, Store, from_ms, now, to_ms, unreadable};
use crate::error::Error;
use crate::ids::Id;

/// Whether a delivery will be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It waits for its turn or its next attempt.
    Pending,
    /// It was given up; it is tried again when somebody says so.
    Dead,
}

impl DeliveryState {
    /// As the API and the database spell it.
    pub const WORDS: [&str; 2] = ["PENDING", "DEAD"];

    /// As the API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Dead => "DEAD",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Dead].into_iter().find(|state| state.as_str() == word)
    }
}

/// A delivery that waits, as far as its time and order go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingDelivery {
    /// To whom.
    pub webhook: Id,
    /// The event.
    pub cursor: i64,
    /// Deliveries of one lane go out one after the other.
    pub lane: i64,
    /// So many have failed.
    pub attempts: u32,
    /// When it was first due.
    pub queued_at: Timestamp,
    /// When it is due.
    pub next_at: Timestamp,
}

/// A delivery as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The event.
    pub cursor: i64,
    /// What happened.
    pub kind: String,
    /// In which room.
    pub room: Option<Id>,
    /// The room's extension.
    pub extension: Option<String>,
    /// Whether it will be tried again.
    pub state: DeliveryState,
    /// So many have failed.
    pub attempts: i64,
    /// When it was first due.
    pub queued_at: Timestamp,
    /// When it is due.
    pub next_at: Timestamp,
    /// When it was last tried, or given up.
    pub last_attempt_at: Option<Timestamp>,
    /// What the webhook answered then.
    pub last_status: Option<i64>,
    /// Why it was not accepted.
    pub last_error: Option<String>,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// To whom.
    pub webhook: Id,
    /// The event.
    pub cursor: i64,
    /// `None`: it was accepted.
    pub failure: Option<Failure>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// All of this delivery, this one too.
    pub attempts: u32,
    /// When the next is due; `None`: there is none.
    pub next_at: Option<Timestamp>,
    /// What was answered, if anything was.
    pub status: Option<u16>,
    /// Why.
    pub error: String,
}

impl Change {
    /// Keeps what became of an attempt; false when the delivery is not waiting any more.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn settle_delivery(&mut self, attempted: &Attempted) -> Result<bool, Error> {
        let done = match &attempted.failure {
            None => {
                sqlx::query("DELETE FROM deliveries WHERE cursor = $1 AND webhook_id = $2 AND state = 'PENDING'")
                    .bind(attempted.cursor)
                    .bind(attempted.webhook.raw())
                    .execute(self.db())
                    .await?
            }
            Some(failure) => {
                let state = if failure.next_at.is_some() { DeliveryState::Pending } else { DeliveryState::Dead };
                sqlx::query(
                    "UPDATE deliveries SET state = $1, attempts = $2, next_at = $3, last_attempt_at = $4, last_status = $5, \
                     last_error = $6 WHERE cursor = $7 AND webhook_id = $8 AND state = 'PENDING'",
                )
                .bind(state.as_str())
                .bind(i64::from(failure.attempts))
                .bind(to_ms(failure.next_at.unwrap_or(failure.at)))
                .bind(to_ms(failure.at))
                .bind(failure.status.map(i64::from))
                .bind(&failure.error)
                .bind(attempted.cursor)
                .bind(attempted.webhook.raw())
                .execute(self.db())
                .await?
            }
        };
        Ok(done.rows_affected() > 0)
    }

    /// Gives up what waits for a webhook behind a cursor.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn give_up_deliveries(&mut self, webhook: Id, after: i64, reason: &str) -> Result<u64, Error> {
        let done = sqlx::query(
            "UPDATE deliveries SET state = 'DEAD', last_attempt_at = $1, last_error = $2 \
             WHERE webhook_id = $3 AND state = 'PENDING' AND cursor > $4",
        )
        .bind(to_ms(now()))
        .bind(reason)
        .bind(webhook.raw())
        .bind(after)
        .execute(self.db())
        .await?;
        Ok(done.rows_affected())
    }

    /// Lets a delivery be tried again, as if it were new; one that waits is due at once.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn retry_delivery(&mut self, webhook: Id, cursor: i64) -> Result<(), Error> {
        let done = sqlx::query(
            "UPDATE deliveries SET state = 'PENDING', attempts = 0, queued_at = $1, next_at = $1 \
             WHERE cursor = $2 AND webhook_id = $3",
        )
        .bind(to_ms(now()))
        .bind(cursor)
        .bind(webhook.raw())
        .execute(self.db())
        .await?;
        if done.rows_affected() == 0 { Err(Error::NotFound("delivery")) } else { Ok(()) }
    }

    /// Removes a delivery.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_delivery(&mut self, webhook: Id, cursor: i64) -> Result<(), Error> {
        let done = sqlx::query("DELETE FROM deliveries WHERE cursor = $1 AND webhook_id = $2")
            .bind(cursor)
            .bind(webhook.raw())
            .execute(self.db())
            .await?;
        if done.rows_affected() == 0 { Err(Error::NotFound("delivery")) } else { Ok(()) }
    }

    /// Of a webhook's given up deliveries, keeps the latest `most`.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn forget_dead_deliveries(&mut self, webhook: Id, most: i64) -> Result<u64, Error> {
        let done = sqlx::query(
            "DELETE FROM deliveries WHERE webhook_id = $1 AND state = 'DEAD' AND cursor <= \
             (SELECT cursor FROM deliveries WHERE webhook_id = $1 AND state = 'DEAD' \
              ORDER BY cursor DESC LIMIT 1 OFFSET $2)",
        )
        .bind(webhook.raw())
        .bind(most)
        .execute(self.db())
        .await?;
        Ok(done.rows_affected())
    }
}

impl Store {
    /// What waits behind a delivery, for everyone, in the order of events, at most `top`.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn deliveries_after(&self, after: (i64, Id), top: i64) -> Result<Vec<WaitingDelivery>, Error> {
        let (cursor, webhook) = after;
        let rows = sqlx::query(
            "SELECT * FROM deliveries WHERE (cursor, webhook_id) > ($1, $2) AND state = 'PENDING' \
             ORDER BY cursor, webhook_id LIMIT $3",
        )
        .bind(cursor)
        .bind(webhook.raw())
        .bind(top)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(rows.iter().map(read_waiting).collect::<Result<_, _>>()?)
    }

    /// What waits for a webhook, in the order of events.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn deliveries_of(&self, webhook: Id, top: i64) -> Result<Vec<WaitingDelivery>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM deliveries WHERE webhook_id = $1 AND state = 'PENDING' ORDER BY cursor LIMIT $2",
        )
        .bind(webhook.raw())
        .bind(top)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(rows.iter().map(read_waiting).collect::<Result<_, _>>()?)
    }

    /// A page of a webhook's deliveries, the latest first.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn deliveries(
        &self,
        webhook: Id,
        state: Option<DeliveryState>,
        skip: i64,
        top: i64,
    ) -> Result<Page<DeliveryRecord>, Error> {
        let state = state.map(DeliveryState::as_str);
        let mut moment = self.moment().await?;
        let count =
            sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE webhook_id = $1 AND state = coalesce($2, state)")
                .bind(webhook.raw())
                .bind(state)
                .fetch_one(&mut *moment)
                .await?;
        let rows = sqlx::query(
            "SELECT deliveries.*, events.kind, events.room_id, events.extension_number FROM deliveries \
             JOIN events ON events.cursor = deliveries.cursor \
             WHERE webhook_id = $1 AND state = coalesce($2, state) ORDER BY deliveries.cursor DESC LIMIT $3 OFFSET $4",
        )
        .bind(webhook.raw())
        .bind(state)
        .bind(top)
        .bind(skip)
        .fetch_all(&mut *moment)
        .await?;
        moment.commit().await?;
        Ok(Page { count, items: rows.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// How many deliveries were given up and are kept.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn dead_deliveries(&self) -> Result<i64, Error> {
        let count = sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE state = 'DEAD'");
        Ok(count.fetch_one(&mut *self.reader().await?).await?)
    }
}

fn read_waiting(row: &AnyRow) -> Result<WaitingDelivery, sqlx::Error> {
    Ok(WaitingDelivery {
        webhook: Id::from_raw(row.try_get("webhook_id")?),
        cursor: row.try_get("cursor")?,
        lane: row.try_get("lane")?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        queued_at: from_ms(row.try_get("queued_at")?),
        next_at: from_ms(row.try_get("next_at")?),
    })
}

fn read(row: &AnyRow) -> Result<DeliveryRecord, sqlx::Error> {
    let state: String = row.try_get("state")?;
    Ok(DeliveryRecord {
        cursor: row.try_get("cursor")?,
        kind: row.try_get("kind")?,
        room: row.try_get::<Option<i64>, _>("room_id")?.map(Id::from_raw),
        extension: row.try_get("extension_number")?,
        state: DeliveryState::parse(&state).ok_or_else(|| unreadable("delivery state"))?,
        attempts: row.try_get("attempts")?,
        queued_at: from_ms(row.try_get("queued_at")?),
        next_at: from_ms(row.try_get("next_at")?),
        last_attempt_at: row.try_get::<Option<i64>, _>("last_attempt_at")?.map(from_ms),
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
    })
}
