//! Fan-out: one task reads the outbox as it grows and keeps the latest events in memory; whoever follows has a cursor and
//! nothing else. A reader that is behind the memory reads from the database, one at a time of a few, so that a slow one
//! costs its own time and nobody else's. Knows no HTTP.

mod ring;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::metrics::EventMetrics;
use super::{Announced, Journal, Types};
use crate::error::Error;
use crate::ids::Id;
use crate::store::{self, Store};
use ring::Ring;

/// Read from the database at once.
const PAGE: i64 = 500;
/// Given to a reader at once.
const BATCH: usize = 64;
/// Readers that use the database at once: the others of its connections are the API's.
const REPLAYS: usize = 1;
/// Other processes (`conclave restore`) announce events too; nobody here is told.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between attempts to reach a database that is away.
const RETRY: Duration = Duration::from_secs(1);

/// The latest events, and everyone who follows them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    ring: RwLock<Ring>,
    /// The last cursor that is on the disk.
    tail: watch::Receiver<i64>,
    /// The last cursor that readers are given.
    published: watch::Sender<i64>,
    /// The first cursor that the database has.
    first: AtomicI64,
    replays: Semaphore,
    seats: Arc<Semaphore>,
    most: usize,
    ending: CancellationToken,
    metrics: EventMetrics,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// Behind this cursor; 0: with the first one that is kept.
    After(i64),
}

impl Streams {
    /// With places for `most` readers who count.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub(super) async fn open(
        store: Store,
        journal: &Journal,
        most: usize,
        metrics: EventMetrics,
    ) -> Result<Self, Error> {
        let last = *journal.tail().borrow();
        let (first, _) = store.event_cursors().await?;
        Ok(Self(Arc::new(Inner {
            store,
            ring: RwLock::new(Ring::after_cursor(last)),
            tail: journal.tail(),
            published: watch::Sender::new(last),
            first: AtomicI64::new(first),
            replays: Semaphore::new(REPLAYS),
            seats: Arc::new(Semaphore::new(most)),
            most,
            ending: CancellationToken::new(),
            metrics,
        })))
    }

    /// Publishes what comes into the outbox, until it is dropped.
    pub(super) async fn publish(&self, journal: &Journal) {
        let mut tail = journal.tail();
        // At once, and again whenever something is kept, or now and then, as other processes write as well.
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let published = *self.0.published.borrow();
            if *tail.borrow_and_update() <= published {
                tokio::select! {
                    changed = tail.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                    _ = look.tick() => {}
                }
            }
            // Before the look: what is kept during it may not be in its answer.
            let told = *tail.borrow_and_update();
            match self.0.store.events_after(published, None, PAGE).await {
                Ok(events) => {
                    let Some(last) = events.last().map(|event| event.cursor) else {
                        // What the tail told of is forgotten already; what follows is not.
                        self.0.published.send_if_modified(|published| {
                            let grows = told > *published;
                            *published = told.max(*published);
                            grows
                        });
                        continue;
                    };
                    {
                        let mut ring = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
                        events.into_iter().for_each(|event| ring.push(Arc::new(event.into())));
                    }
                    self.0.published.send_replace(last);
                }
                Err(error) => {
                    tracing::debug!(%error, "new events cannot be read; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// The last cursor that readers are given, as it grows.
    pub(super) fn published(&self) -> watch::Receiver<i64> {
        self.0.published.subscribe()
    }

    /// The first cursor that the database has.
    pub(super) fn kept_from(&self, first: i64) {
        self.0.first.store(first, Ordering::Relaxed);
    }

    /// One event, from memory or from the database.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub(super) async fn event(&self, cursor: i64) -> Result<Option<Arc<Announced>>, Error> {
        let here = self.ring().at(cursor);
        if here.is_some() {
            return Ok(here);
        }
        Ok(self.0.store.event(cursor).await?.map(|event| Arc::new(event.into())))
    }

    /// A place among the readers, for as long as it is held.
    ///
    /// # Errors
    /// `Busy` when all are taken, or everyone is being sent home.
    pub fn seat(&self) -> Result<Place, Error> {
        if self.0.ending.is_cancelled() {
            return Err(Error::Busy("the server is stopping".into()));
        }
        let permit = Arc::clone(&self.0.seats).try_acquire_owned().map_err(|_| {
            let most = self.0.most;
            Error::Busy(format!("{most} event streams are open, which is events.max_streams").into())
        })?;
        self.0.metrics.streams().inc();
        Ok(Place { metrics: self.0.metrics.clone(), _permit: permit })
    }

    /// Someone who follows: of one room, if one is named, and of some types, if any are.
    ///
    /// # Errors
    /// `Busy` when the database has to be asked and is not there.
    pub async fn reader(&self, start: Start, room: Option<Id>, types: Types) -> Result<Reader, Error> {
        let published = self.0.published.subscribe();
        let last = *published.borrow();
        let (cursor, gap) = match start {
            // What is on the disk has happened, even if it is published a moment later.
            Start::Now => (*self.0.tail.borrow(), None),
            Start::After(0) => (self.0.first.load(Ordering::Relaxed).saturating_sub(1).max(0), None),
            // From before the database was set back to an earlier state, or nobody's: what comes next is new to them.
            Start::After(after) if after > last && after > self.0.store.event_cursors().await?.1 => {
                (last, Some(Announced::gap(after, last.saturating_add(1), store::now())))
            }
            Start::After(after) => (after, None),
        };
        Ok(Reader { streams: self.clone(), published, cursor, room, types, gap })
    }

    /// Waits until everything up to `cursor` is given to readers.
    pub(super) async fn published_up_to(&self, cursor: i64) {
        // The sender lives as long as `self`.
        let _ = self.0.published.subscribe().wait_for(|published| *published >= cursor).await;
    }

    /// Sends every reader home; resolves when the last one who counts has gone.
    pub(super) async fn end(&self) {
        self.0.ending.cancel();
        let all = u32::try_from(self.0.most).unwrap_or(u32::MAX);
        let _ = self.0.seats.acquire_many(all).await;
    }

    /// Resolves when readers are sent home.
    pub async fn ended(&self) {
        self.0.ending.cancelled().await;
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.0.ring.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the readers.
#[derive(Debug)]
pub struct Place {
    metrics: EventMetrics,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.streams().dec();
    }
}

/// Someone who follows.
#[derive(Debug)]
pub struct Reader {
    streams: Streams,
    published: watch::Receiver<i64>,
    /// Everything up to here was given, or is not wanted.
    cursor: i64,
    room: Option<Id>,
    types: Types,
    /// To be told first.
    gap: Option<Announced>,
}

impl Reader {
    /// The next events, at least one; waits for it. While the database is away it waits for that. Dropped halfway, nothing
    /// is lost.
    pub async fn next(&mut self) -> Vec<Arc<Announced>> {
        loop {
            let found = self.advance().await;
            if !found.is_empty() {
                return found;
            }
            if self.cursor >= *self.published.borrow_and_update() {
                // The sender lives as long as `self.streams`.
                let _ = self.published.changed().await;
            }
        }
    }

    /// What is published already, and may be nothing.
    pub async fn rest(&mut self) -> Vec<Arc<Announced>> {
        let upto = *self.published.borrow();
        while self.cursor < upto || self.gap.is_some() {
            let found = self.advance().await;
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    /// One step towards what is published.
    async fn advance(&mut self) -> Vec<Arc<Announced>> {
        if let Some(gap) = self.gap.take() {
            return vec![Arc::new(gap)];
        }
        let upto = *self.published.borrow();
        if self.cursor >= upto {
            return Vec::new();
        }
        let here = self.streams.ring().after(self.cursor, BATCH);
        let (cursor, mut found) = match here {
            Some(found) => (found.last().map_or(upto, |event| event.cursor), found),
            None => match self.replay(upto).await {
                Ok(step) => step,
                Err(error) => {
                    tracing::debug!(%error, "a stream waits for the database");
                    tokio::time::sleep(RETRY).await;
                    return Vec::new();
                }
            },
        };
        self.cursor = cursor;
        found.retain(|event| self.wants(event));
        found
    }

    /// A page of the database, and the cursor up to which it tells all.
    async fn replay(&self, upto: i64) -> Result<(i64, Vec<Arc<Announced>>), Error> {
        let first = self.streams.0.first.load(Ordering::Relaxed);
        if self.cursor.saturating_add(1) < first {
            let gap = Announced::gap(self.cursor, first, store::now());
            return Ok((gap.cursor, vec![Arc::new(gap)]));
        }
        let _turn = self.streams.0.replays.acquire().await;
        let page = self.streams.0.store.events_after(self.cursor, self.room, PAGE).await?;
        let last = page.last().map_or(self.cursor, |event| event.cursor);
        let is_all = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        let cursor = if is_all { last.max(upto) } else { last };
        Ok((cursor, page.into_iter().map(|event| Arc::new(event.into())).collect()))
    }

    fn wants(&self, event: &Announced) -> bool {
        let is_mark = event.kind == super::announced::GAP;
        is_mark || (self.room.is_none_or(|room| event.room == Some(room)) && self.types.matches(&event.kind))
    }
}

#[cfg(test)]
mod tests;
