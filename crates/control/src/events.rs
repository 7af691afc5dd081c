//! What happens, on its way: facts from the engine to the rooms (`facts`), and events from the rooms to everyone who wants
//! to know, through one ordered, durable outbox (`journal`). From there they go to streams (`stream`) and webhooks; each has
//! a place of its own in the outbox, so that none waits for another.

mod announced;
mod event;
mod facts;
mod journal;
mod metrics;
mod stream;
mod tickets;
mod types;
mod webhooks;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, EventsConfig};
use crate::error::Error;
use crate::store::{self, Store};

pub use announced::Announced;
pub use event::{
    Data, InvitationData, Kind, NewEvent, ParticipantData, PictureData, PinData, RecordingData, RoomData, ServerData,
};
pub use facts::EventFeed;
pub use journal::{Entry, Journal};
pub use metrics::EventMetrics;
pub use stream::{Place, Reader, Start, Streams};
pub use tickets::Tickets;
pub use types::Types;
pub(crate) use webhooks::checked_url as checked_webhook_url;
pub use webhooks::{NewWebhook, Webhooks};

/// Old events are looked for this often, and forgotten so many at once, so that no change waits for long.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const SWEEP_AT_ONCE: i64 = 5000;
/// How many are kept is counted this often.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// At the end: for streams to be told the last events.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Everything that delivers events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Delivery {
    store: Store,
    journal: Journal,
    config: EventsConfig,
    /// Whoever follows.
    pub streams: Streams,
    /// What browsers show instead of a token.
    pub tickets: Tickets,
    /// Who is told by HTTP.
    pub webhooks: Webhooks,
    /// What is counted.
    pub metrics: EventMetrics,
}

impl Delivery {
    /// Of what comes into the journal from now on, and of what webhooks have not accepted yet.
    ///
    /// # Errors
    /// `Busy` when the database cannot be read and written.
    pub async fn open(config: &Config, store: Store, journal: Journal) -> Result<Self, Error> {
        let metrics = EventMetrics::default();
        let webhooks = Webhooks::open(config.webhooks.clone(), store.clone(), journal.clone()).await?;
        let streams = Streams::open(store.clone(), &journal, config.events.max_streams, metrics.clone()).await?;
        let (config, tickets) = (config.events.clone(), Tickets::default());
        Ok(Self { store, journal, config, streams, tickets, webhooks, metrics })
    }

    /// As it is set.
    pub fn config(&self) -> &EventsConfig {
        &self.config
    }

    /// Delivers until `stop`, then until what is on its way has arrived, for a while.
    pub async fn run(&self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let delivery = self.clone();
        tasks.spawn(async move { delivery.streams.publish(&delivery.journal).await });
        let delivery = self.clone();
        tasks.spawn(async move { delivery.sweep().await });
        let delivery = self.clone();
        tasks.spawn(async move { delivery.count().await });
        self.webhooks.deliver(self.streams.clone(), self.metrics.clone(), stop).await;
        tasks.shutdown().await;
    }

    /// Lets every stream tell what is known, then sends its client home.
    pub async fn end_streams(&self) {
        let last = *self.journal.tail().borrow();
        let _ = tokio::time::timeout(LAST_PATIENCE, self.streams.published_up_to(last)).await;
        if tokio::time::timeout(LAST_PATIENCE, self.streams.end()).await.is_err() {
            tracing::info!("event streams were cut off");
        }
    }

    async fn sweep(&self) {
        let mut every = tokio::time::interval(SWEEP_EVERY);
        loop {
            every.tick().await;
            if let Err(error) = self.forget_old().await {
                tracing::warn!(%error, "old events could not be forgotten; trying again in an hour");
            }
        }
    }

    async fn forget_old(&self) -> Result<(), Error> {
        let limit = store::now().saturating_sub(self.config.retention).unwrap_or(jiff::Timestamp::MIN);
        loop {
            let mut change = self.store.change().await?;
            let (forgotten, first) = change.forget_events_before(limit, SWEEP_AT_ONCE).await?;
            change.commit().await?;
            if forgotten == 0 {
                return Ok(());
            }
            self.streams.kept_from(first);
        }
    }

    async fn count(&self) {
        let mut every = tokio::time::interval(COUNT_EVERY);
        loop {
            every.tick().await;
            if let Ok((first, last)) = self.store.event_cursors().await {
                // Cursors have hardly a gap.
                self.streams.kept_from(first);
                self.metrics.kept(if last == 0 { 0 } else { last - first + 1 });
            }
        }
    }
}
