//! The task that sends deliveries. It knows what waits from the database at its start and learns what is new as events are
//! published; `schedule` says what goes next, `sender` sends it, and what became of it is written down a moment later, many
//! at once. A crash in between sends those again: receivers know a delivery by its cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Changed;
use super::schedule::{Attempt, Schedule};
use super::sender::{NotAccepted, Sender};
use crate::backoff;
use crate::config::WebhooksConfig;
use crate::error::Error;
use crate::events::metrics::EventMetrics;
use crate::events::{Announced, Streams};
use crate::ids::Id;
use crate::store::{self, Attempted, Failure, Store, WaitingDelivery, WebhookRecord};

/// Read from the database at once.
const PAGE: i64 = 500;
/// After the first outcome others are waited for: one write for all of them.
const GATHER: Duration = Duration::from_millis(50);
/// Between attempts to reach a database that is away.
const RETRY: Duration = Duration::from_secs(1);
/// Outcomes that are not written yet: beyond it nothing more is sent.
const MOST_UNWRITTEN: usize = 2048;
/// At the end: for what is on its way.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// Given up deliveries that are kept of each webhook.
const MOST_DEAD: i64 = 10_000;
/// How often that is looked after, and whether the database was restored.
const LOOK_AFTER_EVERY: Duration = Duration::from_secs(10);

/// Where the courier takes the time from.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// Turned by a test.
    #[cfg(test)]
    pub(super) hand: Option<tokio::sync::watch::Receiver<Timestamp>>,
}

impl Clock {
    fn now(&self) -> Timestamp {
        #[cfg(test)]
        if let Some(hand) = &self.hand {
            return *hand.borrow();
        }
        store::now()
    }

    /// Resolves then; never, without a time.
    async fn reach(&self, at: Option<Timestamp>) {
        let Some(at) = at else { return std::future::pending().await };
        #[cfg(test)]
        if let Some(hand) = &self.hand {
            let _ = hand.clone().wait_for(|now| *now >= at).await;
            return;
        }
        let wait = at.duration_since(self.now());
        tokio::time::sleep(Duration::try_from(wait).unwrap_or(Duration::ZERO)).await;
    }
}

/// What became of an attempt.
#[derive(Debug)]
enum Outcome {
    Accepted,
    NotAccepted(NotAccepted),
    /// Nobody wants it any more: nothing was sent.
    Gone,
}

/// A webhook as the courier knows it.
#[derive(Debug)]
struct Known {
    /// For the log.
    host: String,
    /// Its last delivery was not accepted.
    is_failing: bool,
}

/// Sends what waits.
#[derive(Debug)]
pub(super) struct Courier {
    store: Store,
    streams: Streams,
    sender: Arc<Sender>,
    changed: Arc<Changed>,
    clock: Clock,
    metrics: EventMetrics,
    config: WebhooksConfig,
    /// Of the database: another one when it was restored.
    generation: Option<Vec<u8>>,
    schedule: Schedule,
    known: BTreeMap<Id, Known>,
    /// Read again when the database is there.
    stale: BTreeSet<Id>,
    /// What waits up to this delivery is known.
    seen: (i64, Id),
    /// Too many wait: given up behind this cursor.
    overflow: BTreeMap<Id, i64>,
    on_the_way: JoinSet<(Attempt, Outcome)>,
    unwritten: Vec<(Attempt, Attempted)>,
    /// When they are.
    write_at: Option<Instant>,
}

const NO_ID: Id = Id::from_raw(i64::MAX);

impl Courier {
    pub(super) fn new(
        store: Store,
        streams: Streams,
        sender: Sender,
        changed: Arc<Changed>,
        clock: Clock,
        metrics: EventMetrics,
        config: WebhooksConfig,
    ) -> Self {
        Self {
            store,
            streams,
            sender: Arc::new(sender),
            changed,
            clock,
            metrics,
            config,
            generation: None,
            schedule: Schedule::default(),
            known: BTreeMap::new(),
            stale: BTreeSet::new(),
            seen: (0, NO_ID),
            overflow: BTreeMap::new(),
            on_the_way: JoinSet::new(),
            unwritten: Vec::new(),
            write_at: None,
        }
    }

    /// Until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut published = self.streams.published();
        let mut behind = true;
        // Before anything is read, so that what is published meanwhile is read too.
        published.mark_unchanged();
        let mut look_after = tokio::time::interval(LOOK_AFTER_EVERY);
        look_after.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changed = Arc::clone(&self.changed);
        while let Err(error) = self.begin().await {
            tracing::debug!(%error, "webhooks cannot be read; trying again");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return,
            }
        }
        loop {
            if behind || !self.stale.is_empty() || !self.overflow.is_empty() {
                behind = match self.catch_up().await {
                    Ok(()) => false,
                    Err(error) => {
                        tracing::debug!(%error, "deliveries cannot be read; trying again");
                        true
                    }
                };
            }
            self.send_due();
            self.metrics.pending(self.schedule.all_waiting());
            let is_idle = self.on_the_way.is_empty();
            tokio::select! {
                () = stop.cancelled() => break,
                outcome = published.changed() => match outcome {
                    Ok(()) => behind = true,
                    Err(_) => break,
                },
                () = changed.wake.notified() => self.stale.append(&mut self.changed.take()),
                Some(outcome) = self.on_the_way.join_next(), if !is_idle => {
                    let (attempt, outcome) = outcome.expect("BUG: panics are caught and nobody aborts a delivery");
                    self.arrived(attempt, outcome);
                }
                () = self.clock.reach(self.schedule.next_at()), if self.unwritten.len() < MOST_UNWRITTEN => {}
                () = reach(self.write_at) => self.write().await,
                () = tokio::time::sleep(RETRY), if behind => {}
                _ = look_after.tick() => self.look_after().await,
            }
        }
        self.finish().await;
    }

    /// Every webhook, with what waits for it.
    async fn begin(&mut self) -> Result<(), Error> {
        self.generation = self.store.generation().await?;
        self.stale = self.store.all_webhooks().await?.into_iter().map(|webhook| webhook.id).collect();
        self.seen = (*self.streams.published().borrow(), NO_ID);
        Ok(())
    }

    /// What changed and what is new.
    async fn catch_up(&mut self) -> Result<(), Error> {
        while let Some(webhook) = self.stale.first().copied() {
            self.reload(webhook).await?;
            self.stale.remove(&webhook);
        }
        // What waits for others than these is read with them.
        while !self.known.is_empty() {
            let page = self.store.deliveries_after(self.seen, PAGE).await?;
            for delivery in &page {
                self.seen = (delivery.cursor, delivery.webhook);
                self.accept(*delivery);
            }
            if page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
                break;
            }
        }
        while let Some((webhook, after)) = self.overflow.first_key_value().map(|(webhook, after)| (*webhook, *after)) {
            self.give_up_behind(webhook, after).await?;
            self.overflow.remove(&webhook);
        }
        Ok(())
    }

    /// One more waits, if there is place for it.
    fn accept(&mut self, delivery: WaitingDelivery) {
        // What a webhook was just read with comes again with what is new.
        if self.overflow.contains_key(&delivery.webhook) || self.schedule.has(&delivery) {
            return;
        }
        if self.schedule.waiting(delivery.webhook) < self.config.max_pending {
            self.schedule.push(delivery);
        } else {
            self.overflow.insert(delivery.webhook, delivery.cursor - 1);
        }
    }

    async fn give_up_behind(&self, webhook: Id, after: i64) -> Result<(), Error> {
        let reason =
            format!("more than {} deliveries wait for the webhook (webhooks.max_pending)", self.config.max_pending);
        let mut change = self.store.change().await?;
        let given_up = change.give_up_deliveries(webhook, after, &reason).await?;
        change.commit().await?;
        self.metrics.given_up(given_up);
        Ok(())
    }

    /// A webhook as the database has it.
    async fn reload(&mut self, id: Id) -> Result<(), Error> {
        // What is not written yet would come back as it was.
        self.try_write().await?;
        let record = match self.store.webhook(id).await {
            Ok(record) => record,
            Err(Error::NotFound(_)) => {
                self.known.remove(&id);
                self.schedule.forget(id);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let most = i64::try_from(self.config.max_pending).unwrap_or(i64::MAX);
        let mut waiting = self.store.deliveries_of(id, most.saturating_add(1)).await?;
        if let Some(too_many) = waiting.get(self.config.max_pending) {
            self.overflow.insert(id, too_many.cursor - 1);
            waiting.truncate(self.config.max_pending);
        }
        self.schedule.set(id, waiting);
        let is_failing = self.known.get(&id).is_some_and(|known| known.is_failing);
        // A URL may hold a secret: its host is enough.
        let url = url::Url::parse(&record.url).ok();
        let host = url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        self.known.insert(id, Known { host, is_failing });
        Ok(())
    }

    fn send_due(&mut self) {
        while self.unwritten.len() < MOST_UNWRITTEN {
            let Some(attempt) = self.schedule.next(self.clock.now()) else { return };
            let (store, streams) = (self.store.clone(), self.streams.clone());
            let (sender, clock) = (Arc::clone(&self.sender), self.clock.clone());
            self.on_the_way.spawn(async move {
                let sent = async {
                    let Some((webhook, event)) = still_wanted(&store, &streams, attempt).await else {
                        return Outcome::Gone;
                    };
                    match sender.send(&webhook, &event, clock.now()).await {
                        Ok(()) => Outcome::Accepted,
                        Err(refusal) => Outcome::NotAccepted(refusal),
                    }
                };
                let panicked = |_| {
                    tracing::error!(webhook = %attempt.webhook, "a panic was caught while a delivery was sent");
                    Outcome::NotAccepted(NotAccepted { status: None, reason: "internal error".to_owned() })
                };
                (attempt, AssertUnwindSafe(sent).catch_unwind().await.unwrap_or_else(panicked))
            });
        }
    }

    /// Takes in what became of an attempt.
    fn arrived(&mut self, attempt: Attempt, outcome: Outcome) {
        let now = self.clock.now();
        let failure = match outcome {
            Outcome::Gone => return self.schedule.done(attempt),
            Outcome::Accepted => {
                self.schedule.done(attempt);
                self.metrics.delivery("accepted");
                self.tell_health(attempt.webhook, None);
                None
            }
            Outcome::NotAccepted(NotAccepted { status, reason }) => {
                self.metrics.delivery("failed");
                self.tell_health(attempt.webhook, Some(&reason));
                let verdict = self.schedule.failed(attempt, now, backoff::chance());
                if verdict.attempts == 0 {
                    // Taken away meanwhile.
                    return;
                }
                if verdict.next_at.is_none() {
                    self.metrics.given_up(1);
                }
                let (attempts, next_at) = (verdict.attempts, verdict.next_at);
                Some(Failure { at: now, attempts, next_at, status, error: reason })
            }
        };
        let attempted = Attempted { webhook: attempt.webhook, cursor: attempt.cursor, failure };
        self.write_at.get_or_insert_with(|| Instant::now() + GATHER);
        self.unwritten.push((attempt, attempted));
    }

    /// One line when a webhook begins to fail, and one when it is well again.
    fn tell_health(&mut self, webhook: Id, failure: Option<&str>) {
        let Some(known) = self.known.get_mut(&webhook) else { return };
        if known.is_failing == failure.is_some() {
            return;
        }
        known.is_failing = failure.is_some();
        let host = &known.host;
        match failure {
            Some(reason) => {
                tracing::warn!(%webhook, host, reason, "a webhook does not take its events; trying for a day");
            }
            None => tracing::info!(%webhook, host, "a webhook takes its events again"),
        }
    }

    async fn write(&mut self) {
        if let Err(error) = self.try_write().await {
            tracing::warn!(%error, waiting = self.unwritten.len(), "outcomes of deliveries cannot be kept; trying again");
            self.write_at = Some(Instant::now() + RETRY);
        }
    }

    /// Writes down what became of attempts.
    async fn try_write(&mut self) -> Result<(), Error> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut change = self.store.change().await?;
        let mut gone = Vec::new();
        for (attempt, attempted) in &self.unwritten {
            if !change.settle_delivery(attempted).await? {
                gone.push(*attempt);
            }
        }
        change.commit().await?;
        self.unwritten.clear();
        self.write_at = None;
        // What somebody took away while it was on its way is not tried again.
        gone.into_iter().for_each(|attempt| self.schedule.done(attempt));
        Ok(())
    }

    async fn look_after(&mut self) {
        if let Err(error) = self.try_look_after().await {
            tracing::debug!(%error, "webhooks cannot be looked after");
        }
    }

    async fn try_look_after(&mut self) -> Result<(), Error> {
        let generation = self.store.generation().await?;
        if generation != self.generation {
            // Nothing of what is known here need be so any more.
            super::keep_in_step(&self.store, &self.config).await?;
            let present = self.store.all_webhooks().await?.into_iter().map(|webhook| webhook.id);
            self.stale = present.chain(self.known.keys().copied()).collect();
            self.generation = generation;
        }
        if self.known.is_empty() {
            self.metrics.dead(0);
            return Ok(());
        }
        let mut change = self.store.change().await?;
        for webhook in self.known.keys() {
            change.forget_dead_deliveries(*webhook, MOST_DEAD).await?;
        }
        change.commit().await?;
        self.metrics.dead(self.store.dead_deliveries().await?);
        Ok(())
    }

    /// What is on its way arrives, and is written down, or is sent again at the next start.
    async fn finish(&mut self) {
        let all = async {
            while let Some(Ok((attempt, outcome))) = self.on_the_way.join_next().await {
                self.arrived(attempt, outcome);
            }
        };
        let _ = tokio::time::timeout(LAST_PATIENCE, all).await;
        if let Err(error) = self.try_write().await {
            tracing::warn!(%error, "outcomes of deliveries are lost: they are sent again");
        }
    }
}

/// What is to be sent, as the database has it now: what was changed or taken away before is so from its answer on. While
/// the database is away it waits, as that is no fault of the webhook's.
async fn still_wanted(store: &Store, streams: &Streams, attempt: Attempt) -> Option<(WebhookRecord, Arc<Announced>)> {
    loop {
        let found = async {
            let webhook = store.webhook_waiting_for(attempt.webhook, attempt.cursor).await?;
            Ok::<_, Error>(webhook.zip(streams.event(attempt.cursor).await?))
        };
        match found.await {
            Ok(found) => return found,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn reach(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
