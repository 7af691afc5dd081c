//! Webhooks: who is told about events by HTTP. Deliveries are rows that come with their events, in one transaction
//! (`store::Change::append_events`), and go when they are accepted; a task of its own (`courier`) sends them.
//!
//! **What a receiver does.** Each delivery is a POST with the event's JSON as its body and the headers `Conclave-Event` (its
//! type), `Conclave-Delivery` (its cursor: the same one again is the same event), `Conclave-Timestamp` (seconds since 1970)
//! and `Conclave-Signature`. Compute HMAC-SHA256 with the webhook's secret over the timestamp's text, a dot and the body's
//! bytes as they came; the signature is `v1=` and that in lower-case hexadecimal. Compare in constant time, and refuse what
//! is older than five minutes. Answer 2xx within ten seconds, then do the work.

mod address;
mod courier;
mod schedule;
mod sender;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::metrics::EventMetrics;
use super::{Journal, NewEvent, Streams, Types};
use crate::auth::random_text;
use crate::config::WebhooksConfig;
use crate::error::Error;
use crate::ids::Id;
use crate::store::{self, Store, WebhookRecord, WebhookSource, WebhookUpdate};
pub(crate) use address::checked_url;
use address::{CheckedNames, NameSource};
use courier::{Clock, Courier};
use sender::Sender;

/// More webhooks than this are somebody's loop.
const MOST: i64 = 32;
/// 256 bits, as HMAC-SHA256 takes them.
const SECRET_BYTES: usize = 32;
/// What secrets begin with that were made here, so that people and secret scanners know one when they see it.
const SECRET_PREFIX: &str = "whsec_";

/// The webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Webhooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    journal: Journal,
    config: WebhooksConfig,
    changed: Arc<Changed>,
}

/// Webhooks that are not as the courier knows them.
#[derive(Debug, Default)]
struct Changed {
    webhooks: Mutex<BTreeSet<Id>>,
    wake: Notify,
}

impl Changed {
    fn tell(&self, webhook: Id) {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner).insert(webhook);
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<Id> {
        std::mem::take(&mut *self.webhooks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A webhook in the making.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Where it is; checked.
    pub url: String,
    /// Signs what it is sent; `None`: one is made.
    pub secret: Option<String>,
    /// What it is sent.
    pub types: Types,
    /// It is sent anything at all.
    pub enabled: bool,
}

impl Webhooks {
    /// Makes the configuration's webhooks what the configuration says.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub(super) async fn open(config: WebhooksConfig, store: Store, journal: Journal) -> Result<Self, Error> {
        keep_in_step(&store, &config).await?;
        Ok(Self(Arc::new(Inner { store, journal, config, changed: Arc::default() })))
    }

    /// Sends deliveries until `stop`, then waits a little for those that are on their way.
    pub(super) async fn deliver(&self, streams: Streams, metrics: EventMetrics, stop: CancellationToken) {
        let names = CheckedNames { allow_private: self.0.config.allow_private, source: NameSource::System };
        self.courier(streams, metrics, Sender::new(names), Clock::default()).run(stop).await;
    }

    fn courier(&self, streams: Streams, metrics: EventMetrics, sender: Sender, clock: Clock) -> Courier {
        let (store, changed) = (self.0.store.clone(), Arc::clone(&self.0.changed));
        Courier::new(store, streams, sender, changed, clock, metrics, self.0.config.clone())
    }

    /// The URL as it is kept.
    ///
    /// # Errors
    /// What is allowed, to follow the field's name.
    pub fn checked_url(&self, text: &str) -> Result<String, String> {
        checked_url(text, self.0.config.allow_private)
    }

    /// Makes a webhook; gives it with its secret, which nobody is shown again.
    ///
    /// # Errors
    /// `InvalidState` when there are too many; `Busy`.
    pub async fn create(&self, new: NewWebhook) -> Result<WebhookRecord, Error> {
        let secret = match new.secret {
            Some(secret) => secret,
            None => format!("{SECRET_PREFIX}{}", random_text(SECRET_BYTES)?),
        };
        let webhook = WebhookRecord {
            id: self.0.store.ids().next(),
            url: new.url,
            secret,
            types: new.types,
            enabled: new.enabled,
            source: WebhookSource::Api,
            created_at: store::now(),
        };
        let mut entry = self.0.journal.change().await?;
        entry.insert_webhook(&webhook, MOST).await?;
        entry.commit().await?;
        self.0.changed.tell(webhook.id);
        Ok(webhook)
    }

    /// Changes a webhook.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when it is the configuration's; `Busy`.
    pub async fn update(&self, id: Id, update: WebhookUpdate) -> Result<(), Error> {
        let mut entry = self.0.journal.change().await?;
        entry.update_webhook(id, update).await?;
        entry.commit().await?;
        self.0.changed.tell(id);
        Ok(())
    }

    /// Removes a webhook and what waits for it.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when it is the configuration's; `Busy`.
    pub async fn destroy(&self, id: Id) -> Result<(), Error> {
        let mut entry = self.0.journal.change().await?;
        entry.delete_webhook(id).await?;
        entry.commit().await?;
        self.0.changed.tell(id);
        Ok(())
    }

    /// Sends it an event that says nothing.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when it is disabled; `Busy`.
    pub async fn test(&self, id: Id) -> Result<(), Error> {
        let mut entry = self.0.journal.change().await?;
        sent_to(&entry.webhook(id).await?)?;
        entry.note(NewEvent::webhook_test(id));
        entry.commit().await
    }

    /// Tries a delivery again, from its place in the order.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when the webhook is disabled; `Busy`.
    pub async fn retry(&self, id: Id, cursor: i64) -> Result<(), Error> {
        let mut entry = self.0.journal.change().await?;
        sent_to(&entry.webhook(id).await?)?;
        entry.retry_delivery(id, cursor).await?;
        entry.commit().await?;
        self.0.changed.tell(id);
        Ok(())
    }

    /// Forgets a delivery, whether it waits or was given up.
    ///
    /// # Errors
    /// `NotFound`; `Busy`.
    pub async fn forget(&self, id: Id, cursor: i64) -> Result<(), Error> {
        let mut entry = self.0.journal.change().await?;
        entry.webhook(id).await?;
        entry.delete_delivery(id, cursor).await?;
        entry.commit().await?;
        self.0.changed.tell(id);
        Ok(())
    }
}

async fn keep_in_step(store: &Store, config: &WebhooksConfig) -> Result<(), Error> {
    let mut change = store.change().await?;
    change.configured_webhooks(&config.urls, &config.secret, &config.types).await?;
    change.commit().await
}

fn sent_to(webhook: &WebhookRecord) -> Result<(), Error> {
    if webhook.enabled { Ok(()) } else { Err(Error::InvalidState("the webhook is disabled".into())) }
}

#[cfg(test)]
mod tests;
