//! A worker's figures as atomics: the worker stores, anyone reads. No lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::browsers::Stray;
use crate::engine::WorkerStats;
use crate::stats::Lateness;

/// Latest figures of one worker.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    ticks: AtomicU64,
    skipped: AtomicU64,
    max_late_ns: AtomicU64,
    lateness: [AtomicU64; Lateness::BUCKETS],
    pub(super) load_permille: AtomicU32,
    rooms: AtomicU32,
    legs: AtomicU32,
    panics: AtomicU64,
    strays: [AtomicU64; 4],
}

impl Shared {
    pub(super) fn late(&self, late: Duration) {
        self.max_late_ns.fetch_max(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        if let Some(bucket) = self.lateness.get(Lateness::bucket(late)) {
            bucket.fetch_add(1, Relaxed);
        }
    }
    pub(super) fn skipped(&self, ticks: u32) {
        self.skipped.fetch_add(u64::from(ticks), Relaxed);
    }
    pub(super) fn ticked(&self, rooms: usize, legs: usize) {
        self.ticks.fetch_add(1, Relaxed);
        self.rooms.store(u32::try_from(rooms).unwrap_or(u32::MAX), Relaxed);
        self.legs.store(u32::try_from(legs).unwrap_or(u32::MAX), Relaxed);
    }
    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }
    /// A datagram on a shared socket was nobody's.
    pub(super) fn strayed(&self, stray: Stray) {
        if let Some(count) = self.strays.get(stray as usize) {
            count.fetch_add(1, Relaxed);
        }
    }
    pub(super) fn idle(&self) {
        self.load_permille.store(0, Relaxed);
        self.rooms.store(0, Relaxed);
        self.legs.store(0, Relaxed);
    }
    /// Share of the last second that was spent working, in 1/1000.
    pub(crate) fn load_permille(&self) -> u32 {
        self.load_permille.load(Relaxed)
    }
    /// A copy; takes the maximum lateness back to zero.
    pub(crate) fn read(&self) -> WorkerStats {
        WorkerStats {
            ticks: self.ticks.load(Relaxed),
            ticks_skipped: self.skipped.load(Relaxed),
            max_lateness: Duration::from_nanos(self.max_late_ns.swap(0, Relaxed)),
            lateness: Lateness::from_counts(std::array::from_fn(|i| {
                self.lateness.get(i).map_or(0, |bucket| bucket.load(Relaxed))
            })),
            load_permille: self.load_permille(),
            rooms: self.rooms.load(Relaxed),
            legs: self.legs.load(Relaxed),
            panics: self.panics.load(Relaxed),
            strays: std::array::from_fn(|i| self.strays.get(i).map_or(0, |count| count.load(Relaxed))),
        }
    }
}

/// Adds up a thread's busy time and publishes it once a second.
#[derive(Debug)]
pub(crate) struct Load {
    since: Instant,
    busy: Duration,
}

impl Load {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, busy: Duration::ZERO }
    }
    /// `permille` gets the share of the last second.
    pub(crate) fn add(&mut self, busy: Duration, now: Instant, permille: &AtomicU32) {
        self.busy += busy;
        let window = now.saturating_duration_since(self.since);
        if window >= Duration::from_secs(1) {
            let share = self.busy.as_micros() * 1000 / window.as_micros().max(1);
            permille.store(u32::try_from(share).unwrap_or(1000), Relaxed);
            *self = Self::new(now);
        }
    }
}
