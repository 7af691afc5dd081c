//! Webhooks: who is told about events by HTTP, as the configuration or the API made them.

use std::fmt;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::condition::column;
use super::listing::{Listing, Page, Table};
use super::{Change, Column, Store, from_ms, now, to_ms, unreadable};
use crate::error::Error;
use crate::events::{Data, NewEvent, Types};
use crate::filter::{Field, Kind};
use crate::ids::Id;

/// Who made a webhook, and may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookSource {
    /// The configuration; each start makes its webhooks follow it.
    Config,
    /// The API.
    Api,
}

impl WebhookSource {
    /// As the API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "CONFIG",
            Self::Api => "API",
        }
    }
}

/// A webhook. Its secret does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookRecord {
    /// Which.
    pub id: Id,
    /// Where it is.
    pub url: String,
    /// Signs what it is sent.
    pub secret: String,
    /// What it is sent.
    pub types: Types,
    /// It is sent anything at all.
    pub enabled: bool,
    /// Who made it.
    pub source: WebhookSource,
    /// When it was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for WebhookRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookRecord").field("id", &self.id).field("source", &self.source).finish_non_exhaustive()
    }
}

/// What may change of a webhook; `None` stays.
#[derive(Clone, Default)]
pub struct WebhookUpdate {
    /// Where it is.
    pub url: Option<String>,
    /// Signs what it is sent.
    pub secret: Option<String>,
    /// What it is sent.
    pub types: Option<Types>,
    /// It is sent anything at all.
    pub enabled: Option<bool>,
}

impl Change {
    /// Keeps a new webhook.
    ///
    /// # Errors
    /// `InvalidState` when there are `most` already; `Busy` when the database cannot be written.
    pub async fn insert_webhook(&mut self, webhook: &WebhookRecord, most: i64) -> Result<(), Error> {
        let present: i64 = sqlx::query_scalar("SELECT count(*) FROM webhooks").fetch_one(self.db()).await?;
        if present >= most {
            return Err(Error::InvalidState(format!("there are {most} webhooks, which is the most").into()));
        }
        sqlx::query(
            "INSERT INTO webhooks (id, url, secret, types, enabled, source, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(webhook.id.raw())
        .bind(&webhook.url)
        .bind(&webhook.secret)
        .bind(webhook.types.text())
        .bind(i64::from(webhook.enabled))
        .bind(webhook.source.as_str())
        .bind(to_ms(webhook.created_at))
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Changes a webhook that the API made. One that is no longer enabled gives up what waits for it.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when it is the configuration's.
    pub async fn update_webhook(&mut self, id: Id, update: WebhookUpdate) -> Result<(), Error> {
        self.webhook_of_api(id).await?;
        sqlx::query(
            "UPDATE webhooks SET url = coalesce($1, url), secret = coalesce($2, secret), types = coalesce($3, types), \
             enabled = coalesce($4, enabled) WHERE id = $5",
        )
        .bind(update.url)
        .bind(update.secret)
        .bind(update.types.map(|types| types.text()))
        .bind(update.enabled.map(i64::from))
        .bind(id.raw())
        .execute(self.db())
        .await?;
        if update.enabled == Some(false) {
            self.give_up_deliveries(id, 0, "the webhook was disabled").await?;
        }
        Ok(())
    }

    /// Removes a webhook that the API made, with its deliveries.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when it is the configuration's.
    pub async fn delete_webhook(&mut self, id: Id) -> Result<(), Error> {
        self.webhook_of_api(id).await?;
        sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(id.raw()).execute(self.db()).await?;
        Ok(())
    }

    /// One webhook, as this transaction sees it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn webhook(&mut self, id: Id) -> Result<WebhookRecord, Error> {
        let row = sqlx::query("SELECT * FROM webhooks WHERE id = $1").bind(id.raw()).fetch_optional(self.db()).await?;
        Ok(read(&row.ok_or(Error::NotFound("webhook"))?)?)
    }

    async fn webhook_of_api(&mut self, id: Id) -> Result<(), Error> {
        match self.webhook(id).await?.source {
            WebhookSource::Api => Ok(()),
            WebhookSource::Config => {
                Err(Error::InvalidState("the webhook is the configuration's (webhooks.urls); change it there".into()))
            }
        }
    }

    /// Makes the configuration's webhooks what the configuration says: those that it names no more go, with their deliveries.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn configured_webhooks(&mut self, urls: &[String], secret: &str, types: &Types) -> Result<(), Error> {
        let rows =
            sqlx::query("SELECT * FROM webhooks WHERE source = 'CONFIG' ORDER BY id").fetch_all(self.db()).await?;
        let mut missing: Vec<&String> = urls.iter().collect();
        for present in rows.iter().map(read).collect::<Result<Vec<_>, _>>()? {
            let named = missing.iter().position(|url| **url == present.url);
            match named {
                Some(place) => {
                    missing.swap_remove(place);
                    sqlx::query("UPDATE webhooks SET secret = $1, types = $2, enabled = 1 WHERE id = $3")
                        .bind(secret)
                        .bind(types.text())
                        .bind(present.id.raw())
                        .execute(self.db())
                        .await?;
                }
                None => {
                    sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(present.id.raw()).execute(self.db()).await?;
                }
            }
        }
        for url in missing {
            let webhook = WebhookRecord {
                id: self.ids.next(),
                url: url.clone(),
                secret: secret.to_owned(),
                types: types.clone(),
                enabled: true,
                source: WebhookSource::Config,
                created_at: now(),
            };
            // The configuration was checked for how many it names; what the API made stays beside them.
            self.insert_webhook(&webhook, i64::MAX).await?;
        }
        Ok(())
    }

    /// One delivery for each of these events and each enabled webhook that wants it. They were kept just now, the last of
    /// them at `last`.
    pub(super) async fn queue_deliveries(&mut self, events: &[NewEvent], last: i64) -> Result<(), Error> {
        // Nobody else hands out cursors while this transaction does, so they are without gaps.
        let before = last - i64::try_from(events.len()).unwrap_or(i64::MAX);
        let rows = sqlx::query("SELECT * FROM webhooks WHERE enabled <> 0").fetch_all(self.db()).await?;
        for webhook in rows.iter().map(read).collect::<Result<Vec<_>, _>>()? {
            let kinds = webhook.types.for_webhook();
            if events.iter().any(|event| kinds.contains(&event.kind.as_str())) {
                // Kinds are words of ours.
                let kinds = kinds.join("', '");
                self.queue(&webhook, before, last, &format!("kind IN ('{kinds}')")).await?;
            }
            for (event, cursor) in events.iter().zip(before + 1..) {
                if matches!(event.data, Data::Webhook { webhook_id } if webhook_id == webhook.id) {
                    self.queue(&webhook, cursor - 1, cursor, "1 = 1").await?;
                }
            }
        }
        Ok(())
    }

    async fn queue(&mut self, webhook: &WebhookRecord, after: i64, upto: i64, which: &str) -> Result<(), Error> {
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO deliveries (cursor, webhook_id, lane, state, attempts, queued_at, next_at) \
             SELECT cursor, $1, coalesce(room_id, 0), 'PENDING', 0, $2, $2 FROM events \
             WHERE cursor > $3 AND cursor <= $4 AND {which}"
        )))
        .bind(webhook.id.raw())
        .bind(to_ms(now()))
        .bind(after)
        .bind(upto)
        .execute(self.db())
        .await?;
        Ok(())
    }
}

impl Store {
    /// A page of webhooks.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn webhooks(&self, listing: &Listing) -> Result<Page<WebhookRecord>, Error> {
        // URLs are ASCII, which both databases know the lower case of.
        self.list(Table { name: "webhooks", columns: "*", searched: "lower(url)", only: None, listing }, read).await
    }

    /// What a list of webhooks may be filtered and ordered by.
    pub const WEBHOOK_FIELDS: &[Field<Column>] = &[
        column("id", Kind::Id),
        column("url", Kind::Text),
        column("enabled", Kind::Boolean),
        column("source", Kind::Text),
        column("created_at", Kind::Time),
    ];

    /// Every webhook.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn all_webhooks(&self) -> Result<Vec<WebhookRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM webhooks ORDER BY id").fetch_all(&mut *self.reader().await?).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The webhook that a delivery still waits for.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn webhook_waiting_for(&self, id: Id, cursor: i64) -> Result<Option<WebhookRecord>, Error> {
        let row = sqlx::query(
            "SELECT webhooks.* FROM webhooks JOIN deliveries ON deliveries.webhook_id = webhooks.id \
             WHERE webhooks.id = $1 AND deliveries.cursor = $2 AND deliveries.state = 'PENDING' AND webhooks.enabled <> 0",
        )
        .bind(id.raw())
        .bind(cursor)
        .fetch_optional(&mut *self.reader().await?)
        .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// One webhook.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn webhook(&self, id: Id) -> Result<WebhookRecord, Error> {
        let row = sqlx::query("SELECT * FROM webhooks WHERE id = $1")
            .bind(id.raw())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(read(&row.ok_or(Error::NotFound("webhook"))?)?)
    }
}

fn read(row: &AnyRow) -> Result<WebhookRecord, sqlx::Error> {
    let source: String = row.try_get("source")?;
    Ok(WebhookRecord {
        id: Id::from_raw(row.try_get("id")?),
        url: row.try_get("url")?,
        secret: row.try_get("secret")?,
        types: Types::from_text(row.try_get("types")?),
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        source: match source.as_str() {
            "CONFIG" => WebhookSource::Config,
            "API" => WebhookSource::Api,
            _ => return Err(unreadable("webhook source")),
        },
        created_at: from_ms(row.try_get("created_at")?),
    })
}
