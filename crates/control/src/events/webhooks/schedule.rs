//! Who is sent what next: the order of deliveries, and the time of the next attempt. A pure state machine; time and chance
//! are arguments.
//!
//! A lane (the events of one room, to one webhook) goes one after the other: its first delivery is accepted or given up
//! before the second one is sent. Lanes do not wait for each other, and webhooks do not either.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;

use crate::backoff;
use crate::ids::Id;
use crate::store::WaitingDelivery;

/// To one webhook at once.
const MOST_AT_ONCE: usize = 8;
/// A delivery that is to be attempted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// To whom.
    pub(super) webhook: Id,
    /// Of which lane.
    pub(super) lane: i64,
    /// The event.
    pub(super) cursor: i64,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// So many have failed.
    pub(super) attempts: u32,
    /// When the next is due; `None`: it is given up.
    pub(super) next_at: Option<Timestamp>,
}

/// What waits, for each webhook.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    webhooks: BTreeMap<Id, Queue>,
    /// Who was served last: the next one's turn comes first.
    last: Option<Id>,
}

#[derive(Debug, Default)]
struct Queue {
    lanes: HashMap<i64, VecDeque<WaitingDelivery>>,
    /// The first of each lane that is not on its way.
    due: BTreeSet<(Timestamp, i64)>,
    /// Lane and event of what is on its way.
    on_the_way: HashMap<i64, i64>,
    waiting: usize,
}

impl Schedule {
    /// A webhook with what waits for it, in the order of events. What is on its way to it stays so.
    pub(super) fn set(&mut self, webhook: Id, deliveries: impl IntoIterator<Item = WaitingDelivery>) {
        let on_the_way = self.webhooks.remove(&webhook).unwrap_or_default().on_the_way;
        self.webhooks.insert(webhook, Queue { on_the_way, ..Queue::default() });
        deliveries.into_iter().for_each(|delivery| self.push(delivery));
    }

    /// It is not sent anything any more.
    pub(super) fn forget(&mut self, webhook: Id) {
        self.webhooks.remove(&webhook);
    }

    /// One more. One that waits already, or whose webhook is unknown, is passed over.
    pub(super) fn push(&mut self, delivery: WaitingDelivery) {
        if let Some(queue) = self.webhooks.get_mut(&delivery.webhook) {
            queue.insert(delivery);
        }
    }

    /// It waits, or is on its way.
    pub(super) fn has(&self, delivery: &WaitingDelivery) -> bool {
        let lane = self.webhooks.get(&delivery.webhook).and_then(|queue| queue.lanes.get(&delivery.lane));
        lane.is_some_and(|lane| lane.binary_search_by_key(&delivery.cursor, |d| d.cursor).is_ok())
    }

    /// So many wait for a webhook, those on their way too.
    pub(super) fn waiting(&self, webhook: Id) -> usize {
        self.webhooks.get(&webhook).map_or(0, |queue| queue.waiting)
    }

    /// So many wait in all.
    pub(super) fn all_waiting(&self) -> usize {
        self.webhooks.values().map(|queue| queue.waiting).sum()
    }

    /// What to attempt now; webhooks take turns.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Attempt> {
        let after_last = self.last.map_or(i64::MIN, |last| last.raw().saturating_add(1));
        let after_last = Id::from_raw(after_last);
        let in_turn = self.webhooks.range(after_last..).chain(self.webhooks.range(..after_last));
        let (webhook, lane) =
            in_turn.filter(|(_, queue)| queue.on_the_way.len() < MOST_AT_ONCE).find_map(|(webhook, queue)| {
                queue.due.first().filter(|(at, _)| *at <= now).map(|(_, lane)| (*webhook, *lane))
            })?;
        let queue = self.webhooks.get_mut(&webhook)?;
        queue.due.pop_first();
        let cursor = queue.lanes.get(&lane)?.front()?.cursor;
        queue.on_the_way.insert(lane, cursor);
        self.last = Some(webhook);
        Some(Attempt { webhook, lane, cursor })
    }

    /// When something is due that may be attempted then.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let free = self.webhooks.values().filter(|queue| queue.on_the_way.len() < MOST_AT_ONCE);
        free.filter_map(|queue| queue.due.first().map(|(at, _)| *at)).min()
    }

    /// It needs no further attempt: accepted, or gone.
    pub(super) fn done(&mut self, attempt: Attempt) {
        if let Some(queue) = self.webhooks.get_mut(&attempt.webhook) {
            queue.arrived(attempt);
            queue.remove(attempt.lane, attempt.cursor);
        }
    }

    /// It was not accepted. `chance`, of 255, lengthens the pause by up to a quarter, so that what failed together does not
    /// come back together.
    pub(super) fn failed(&mut self, attempt: Attempt, now: Timestamp, chance: u8) -> Verdict {
        let gone = Verdict { attempts: 0, next_at: None };
        let Some(queue) = self.webhooks.get_mut(&attempt.webhook) else { return gone };
        queue.arrived(attempt);
        let Some(mut delivery) = queue.remove(attempt.lane, attempt.cursor) else { return gone };
        delivery.attempts = delivery.attempts.saturating_add(1);
        let attempts = delivery.attempts;
        let Some(next_at) = backoff::next_at(delivery.queued_at, now, attempts, chance) else {
            return Verdict { attempts, next_at: None };
        };
        delivery.next_at = next_at;
        queue.insert(delivery);
        Verdict { attempts, next_at: Some(delivery.next_at) }
    }
}

impl Queue {
    /// In its place, unless it is there already.
    fn insert(&mut self, delivery: WaitingDelivery) {
        let deliveries = self.lanes.entry(delivery.lane).or_default();
        let Err(place) = deliveries.binary_search_by_key(&delivery.cursor, |d| d.cursor) else { return };
        if place == 0
            && let Some(first) = deliveries.front()
        {
            self.due.remove(&(first.next_at, delivery.lane));
        }
        deliveries.insert(place, delivery);
        self.waiting += 1;
        self.first_is_due(delivery.lane);
    }

    fn remove(&mut self, lane: i64, cursor: i64) -> Option<WaitingDelivery> {
        let deliveries = self.lanes.get_mut(&lane)?;
        let place = deliveries.binary_search_by_key(&cursor, |d| d.cursor).ok()?;
        let delivery = deliveries.remove(place)?;
        self.waiting -= 1;
        self.due.remove(&(delivery.next_at, lane));
        if deliveries.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.first_is_due(lane);
        }
        Some(delivery)
    }

    /// Nothing of the lane is on its way any more.
    fn arrived(&mut self, attempt: Attempt) {
        if self.on_the_way.get(&attempt.lane) == Some(&attempt.cursor) {
            self.on_the_way.remove(&attempt.lane);
            self.first_is_due(attempt.lane);
        }
    }

    /// The first of a lane may go when it is due, unless something of the lane is on its way.
    fn first_is_due(&mut self, lane: i64) {
        if let Some(first) = self.lanes.get(&lane).and_then(VecDeque::front)
            && !self.on_the_way.contains_key(&lane)
        {
            self.due.insert((first.next_at, lane));
        }
    }
}

#[cfg(test)]
mod tests;
