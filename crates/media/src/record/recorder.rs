//! The recorder's two threads for one disk. `recorder-{n}` polls the taps five times a second and writes a chunk for each
//! second of each recording; the kernel has that chunk at once, so a process that is killed loses at most the last 1.4 s.
//! `recorder-{n}-sync` forces the files to the disk about once a second each, so that a power cut costs little more, and
//! while it waits for the disk no chunk does; there finished movies become plain files too. Neither knows rooms or legs; the
//! wait for the next poll is their only clock.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::take::{Backing, Outcome, Progress, Take, reason_of};
use crate::command::Event;
use crate::error::Error;

/// How often the taps are read while something is recorded. Nothing polls otherwise.
const POLL: Duration = Duration::from_millis(200);
/// Recordings that may wait to be taken over. Opening one blocks when it is full.
const ORDERS: usize = 64;
/// Files that may wait for the disk. When it is full, the file waits for its next second.
const SYNCS: usize = 64;

const _: () =
    assert!(ORDERS * size_of::<Order>() + SYNCS * size_of::<ToDisk>() <= 16 * 1024, "idle threads stay small");

/// Where events go. Called from both threads; the lock is held for one call.
pub(super) type Emit = Arc<Mutex<dyn Fn(Event) + Send>>;

/// What a recorder is told.
#[derive(Debug)]
pub(super) enum Order {
    /// From now on this one too.
    Record(Box<Take>),
    /// Finish all and end.
    Stop,
}

#[derive(Debug)]
enum ToDisk {
    Write(Arc<Backing>),
    Finish(Arc<Backing>, Box<Outcome>),
}

/// The two threads of one disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) orders: Sender<Order>,
    threads: [JoinHandle<()>; 2],
}

impl Disk {
    /// Starts them. `Broken` when the system has no threads to give.
    pub(super) fn start(number: usize, emit: &Emit) -> Result<Self, Error> {
        let (orders, orders_in) = bounded(ORDERS);
        let (syncs, syncs_in) = bounded(SYNCS);
        let spawn = |name: String, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name)
                .spawn(body)
                .map_err(|error| Error::Broken(format!("no thread for the recorder: {error}")))
        };
        let to_sync = Arc::clone(emit);
        let sync = spawn(format!("recorder-{number}-sync"), Box::new(move || sync_files(&syncs_in, &to_sync)))?;
        let recorder = Recordings { takes: Vec::new(), syncs, emit: Arc::clone(emit) };
        let write = spawn(format!("recorder-{number}"), Box::new(move || recorder.run(&orders_in)))?;
        Ok(Self { orders, threads: [write, sync] })
    }

    /// Finishes every recording and waits for both threads.
    pub(super) fn stop(self) {
        // An error means that the thread has ended already.
        let _ = self.orders.send(Order::Stop);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("BUG: a recorder thread panicked");
            }
        }
    }
}

struct Recordings {
    takes: Vec<Take>,
    syncs: Sender<ToDisk>,
    emit: Emit,
}

impl Recordings {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let order = if self.takes.is_empty() {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                orders.recv_timeout(POLL)
            };
            match order {
                Ok(Order::Record(take)) => self.takes.push(*take),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.advance();
        }
        self.takes.extend(orders.try_iter().filter_map(|order| match order {
            Order::Record(take) => Some(*take),
            Order::Stop => None,
        }));
        self.advance();
        for take in std::mem::take(&mut self.takes) {
            let backing = Arc::clone(take.backing());
            self.end(backing, take.finish());
        }
    }

    fn advance(&mut self) {
        for mut take in std::mem::take(&mut self.takes) {
            let backing = Arc::clone(take.backing());
            // One recording's bug ends that recording (map, invariant 10).
            match catch_unwind(AssertUnwindSafe(|| take.advance())) {
                Ok(Ok(Progress::Open)) => {
                    if take.is_unsynced && self.ask_to_sync(backing) {
                        take.is_unsynced = false;
                    }
                    self.takes.push(take);
                }
                Ok(Ok(Progress::Finished)) => self.end(backing, take.finish()),
                Ok(Err(reason)) => self.end(backing, take.fail(reason)),
                Err(_) => self.end(backing, take.fail("BUG: the recorder panicked".to_owned())),
            }
        }
    }

    /// False when it has to be asked again.
    fn ask_to_sync(&self, backing: Arc<Backing>) -> bool {
        if backing.is_syncing.swap(true, Ordering::Acquire) {
            return false;
        }
        let Err(refused) = self.syncs.try_send(ToDisk::Write(backing)) else { return true };
        if let ToDisk::Write(backing) = refused.into_inner() {
            backing.is_syncing.store(false, Ordering::Release);
        }
        false
    }

    /// The event follows when the disk has the file; at once, if too many files wait for the disk.
    fn end(&self, backing: Arc<Backing>, outcome: Outcome) {
        let Err(refused) = self.syncs.try_send(ToDisk::Finish(backing, Box::new(outcome))) else { return };
        if let ToDisk::Finish(_, outcome) = refused.into_inner() {
            emit(&self.emit, outcome.into_event());
        }
    }
}

fn sync_files(syncs: &Receiver<ToDisk>, to: &Emit) {
    for sync in syncs {
        match sync {
            ToDisk::Write(backing) => {
                if let Err(error) = sync_file(&backing.file) {
                    // Told once: the recording ends at its next page.
                    let _ = backing.sync_failure.set(reason_of("forcing to disk", &error));
                }
                backing.is_syncing.store(false, Ordering::Release);
            }
            ToDisk::Finish(backing, outcome) => {
                let outcome = match sync_file(&backing.file) {
                    Ok(()) => finalized(*outcome, &backing),
                    Err(error) => outcome.failed(reason_of("forcing to disk", &error)),
                };
                drop(backing);
                emit(to, outcome.into_event());
            }
        }
    }
}

fn finalized(mut outcome: Outcome, backing: &Backing) -> Outcome {
    // The file is complete without it, whatever happens here.
    if catch_unwind(AssertUnwindSafe(|| outcome.finalize(backing))).is_err() {
        tracing::error!("BUG: making a plain file panicked");
    }
    outcome
}

fn sync_file(file: &File) -> io::Result<()> {
    match file.sync_data() {
        // Not every file can be forced to a disk (fdatasync(2)); that is no failure.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn emit(to: &Emit, event: Event) {
    let emit = to.lock().unwrap_or_else(PoisonError::into_inner);
    emit(event);
}
