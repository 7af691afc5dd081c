//! The way into the outbox. Live facts are noted under the rooms' lock, in the order in which they became true, and are on
//! the disk a moment later; a change of the API takes what was noted before it along in its own transaction, so that the
//! outbox has one order and no change is without its event.
//!
//! `note` may be called from any thread and never waits. `keep` is a task, which sleeps while there is nothing.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::event::{Data, Kind, NewEvent};
use crate::error::Error;
use crate::ids::Id;
use crate::store::{self, Change, Store};

/// Events that wait for the database. At 20 joins a second it may be away for most of an hour.
const MAX_PENDING: usize = 65_536;
/// An event in memory, with the longest name and number that signalling takes.
const EVENT_BYTES: usize = 1024;
const _: () = assert!(MAX_PENDING * EVENT_BYTES <= 64 << 20, "what waits for the database fits 64 MiB");
/// After the first event others are waited for: one write for all of them.
const GATHER: Duration = Duration::from_millis(10);
/// Between attempts to reach a database that is away.
const RETRY: Duration = Duration::from_secs(1);

/// The outbox's writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    pending: Mutex<Pending>,
    wake: Notify,
    /// The last cursor that is on the disk.
    tail: watch::Sender<i64>,
    /// A commit was not answered: the database may hold a change that its caller was refused.
    is_in_doubt: AtomicBool,
}

#[derive(Debug, Default)]
struct Pending {
    events: VecDeque<NewEvent>,
    lost: u64,
    unanswered: Option<Unanswered>,
}

/// A batch whose commit was not answered. Its events wait again, as the first ones, until it is known whether they are kept.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    /// Its last event, which no other is like.
    cursor: i64,
    at: Timestamp,
    room: Option<Id>,
    kind: Kind,
    /// So many of those that wait are its.
    own: usize,
    lost: u64,
}

impl Journal {
    /// Behind the events that the store has.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn open(store: Store) -> Result<Self, Error> {
        let (_, last) = store.event_cursors().await?;
        Ok(Self(Arc::new(Inner {
            store,
            pending: Mutex::default(),
            wake: Notify::new(),
            tail: watch::Sender::new(last),
            is_in_doubt: AtomicBool::new(false),
        })))
    }

    /// Something became true. On the disk a moment later; while the database is away it waits, and when too much waits the
    /// least important events are lost, then the new ones, and counted.
    pub fn note(&self, event: NewEvent) {
        {
            let mut pending = self.pending();
            if pending.events.len() >= MAX_PENDING {
                let before = pending.events.len();
                pending.events.retain(|event| !event.kind.is_passing());
                // Which are its is not known any more: rather some twice.
                pending.unanswered = None;
                pending.lost += (before - pending.events.len()) as u64;
            }
            if pending.events.len() >= MAX_PENDING {
                pending.lost += 1;
            } else {
                pending.events.push_back(event);
            }
        }
        self.0.wake.notify_one();
    }

    /// Begins a change of the store that carries its events, behind those that were noted before it.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written now.
    pub async fn change(&self) -> Result<Entry, Error> {
        Ok(Entry { change: self.0.store.change().await?, journal: self.clone(), noted: Vec::new() })
    }

    /// The last cursor that is on the disk, as it grows.
    pub fn tail(&self) -> watch::Receiver<i64> {
        self.0.tail.subscribe()
    }

    /// Whether since the last time a change may have happened that was answered as if it had not: what is in the database
    /// is to be looked at.
    pub fn take_doubt(&self) -> bool {
        self.0.is_in_doubt.swap(false, Ordering::Relaxed)
    }

    /// What is in the database is still to be looked at.
    pub fn doubt(&self) {
        self.0.is_in_doubt.store(true, Ordering::Relaxed);
    }

    fn reach(&self, last: i64) {
        // Another change may have been quicker to say so.
        self.0.tail.send_if_modified(|tail| {
            let grows = last > *tail;
            *tail = last.max(*tail);
            grows
        });
    }

    /// Writes what is noted, until it is dropped.
    pub async fn keep(&self) {
        loop {
            self.0.wake.notified().await;
            tokio::time::sleep(GATHER).await;
            while let Err(error) = self.flush().await {
                tracing::warn!(%error, waiting = self.pending().events.len(), "events could not be kept; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Everything that was noted is on the disk when this returns.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written; it is remembered.
    pub async fn flush(&self) -> Result<(), Error> {
        if self.pending().is_empty() {
            return Ok(());
        }
        self.change().await?.commit().await
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost == 0
    }
}

/// A change with its events. Dropped without `commit`, neither has happened.
#[derive(Debug)]
pub struct Entry {
    change: Change,
    journal: Journal,
    noted: Vec<NewEvent>,
}

impl Entry {
    /// What this change makes true.
    pub fn note(&mut self, event: NewEvent) {
        self.noted.push(event);
    }

    /// The change and its events are on the disk when this returns.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written; nothing is changed then, and what was noted elsewhere still waits. Only
    /// when the database goes away just then nobody can know, and there is a doubt.
    pub async fn commit(mut self) -> Result<(), Error> {
        let journal = self.journal.clone();
        self.settle_unanswered().await?;
        let mut taken = Taken::of(&journal);
        taken.events.append(&mut self.noted);
        let last = match taken.events.is_empty() {
            true => None,
            false => Some(self.change.append_events(&taken.events).await?),
        };
        taken.unanswered = last;
        self.change.commit().await.inspect_err(|_| journal.doubt())?;
        taken.done();
        if let Some(last) = last {
            journal.reach(last);
        }
        Ok(())
    }

    /// Whether the batch whose commit was not answered is kept: then it waits no longer.
    async fn settle_unanswered(&mut self) -> Result<(), Error> {
        let unanswered = self.journal.pending().unanswered;
        let Some(unanswered) = unanswered else { return Ok(()) };
        let Unanswered { cursor, at, room, kind, own, lost } = unanswered;
        let is_kept = self.change.has_event(cursor, at, room, kind).await?;
        let mut pending = self.journal.pending();
        pending.unanswered = None;
        if is_kept {
            let own = own.min(pending.events.len());
            pending.events.drain(..own);
            pending.lost = pending.lost.saturating_sub(lost);
            drop(pending);
            self.journal.reach(cursor);
        }
        Ok(())
    }
}

impl Deref for Entry {
    type Target = Change;
    fn deref(&self) -> &Change {
        &self.change
    }
}

impl DerefMut for Entry {
    fn deref_mut(&mut self) -> &mut Change {
        &mut self.change
    }
}

/// What was noted, on its way to the disk: put back in its place if it does not arrive.
struct Taken<'a> {
    journal: &'a Journal,
    events: Vec<NewEvent>,
    /// So many of `events` were noted; the rest is the change's.
    own: usize,
    lost: u64,
    /// The cursor of the last one, once nothing is left to be done but the commit.
    unanswered: Option<i64>,
}

impl<'a> Taken<'a> {
    fn of(journal: &'a Journal) -> Self {
        let Pending { events, lost, .. } = std::mem::take(&mut *journal.pending());
        let mut events = Vec::from(events);
        let own = events.len();
        if lost > 0 {
            let (at, data) = (store::now(), Data::Lost { lost });
            events.push(NewEvent { at, room: None, extension: None, kind: Kind::EventsLost, data });
        }
        Self { journal, events, own, lost, unanswered: None }
    }

    fn done(mut self) {
        self.events.clear();
        self.own = 0;
        self.lost = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.own == 0 && self.lost == 0 {
            return;
        }
        let mut pending = self.journal.pending();
        if let (Some(cursor), Some(last)) = (self.unanswered, self.events.last()) {
            let (own, lost) = (self.own, self.lost);
            pending.unanswered = Some(Unanswered { cursor, at: last.at, room: last.room, kind: last.kind, own, lost });
        }
        pending.lost += self.lost;
        for event in self.events.drain(..self.own).rev() {
            pending.events.push_front(event);
        }
        drop(pending);
        self.journal.0.wake.notify_one();
    }
}

#[cfg(test)]
mod tests;
