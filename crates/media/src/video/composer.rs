//! The thread that makes rooms' pictures: it decodes what has a tile, draws, encodes once for each rendition that somebody
//! wants, at exactly the room's framerate. Several rooms share one; it may be slow and delays nobody's sound. It knows neither
//! legs nor rooms but by their numbers: pictures come in by [`Source`], and leave by a bounded queue to the room's worker.

mod encodes;
pub mod pace;
mod scene;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::feed::Source;
use super::picture::Picture;
use super::rendition::{Demand, Encoded};
use super::stage::Arrangement;
use crate::command::{Event, Reply, VideoSpec};
use crate::error::{Error, Refused};
use crate::record::PictureTap;
use crate::units::{LegId, RoomId};
use crate::worker::{Load, panic_text};
use scene::Scene;

/// Orders that may wait for a composer: everybody of several rooms coming at once. It takes them between two pictures.
const ORDERS: usize = 1024;
const _: () = assert!(ORDERS * size_of::<Order>() <= 256 * 1024);
/// Encoded pictures of a room that may wait for its worker, which takes them several times a tick.
pub(crate) const ENCODED: usize = 32;

/// What a room's worker tells its composer. Taken in order, between two pictures.
#[derive(Debug)]
pub(crate) enum Order {
    /// A picture is made from now on while somebody is in the room.
    Open { room: RoomId, spec: VideoSpec, demand: Arc<Demand>, encoded: Sender<Encoded> },
    /// No more.
    Close { room: RoomId },
    /// Another size, rate or look.
    Set { room: RoomId, spec: VideoSpec },
    /// Somebody who may be shown.
    Enter { room: RoomId, leg: LegId, name: Arc<str>, source: Source },
    /// Somebody left.
    Exit { room: RoomId, leg: LegId },
    /// Who is shown where.
    Arrange { room: RoomId, arrangement: Arrangement },
    /// The picture is recorded from now on.
    Record { room: RoomId, tap: PictureTap },
    /// Not any more.
    StopRecording { room: RoomId },
    /// A copy of the picture as it is now.
    Preview { room: RoomId, reply: Reply<Result<Picture, Error>> },
    /// End the thread.
    Stop,
}

/// Latest figures of one composer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ComposerStats {
    /// Share of the last second that was spent working, in 1/1000.
    pub load_permille: u32,
    /// Rooms whose picture is made.
    pub rooms: u32,
    /// Pictures made.
    pub pictures: u64,
    /// Pictures left out because composing did not keep up.
    pub pictures_skipped: u64,
    /// Pictures of legs decoded.
    pub decoded: u64,
    /// Pictures of legs that could not be decoded.
    pub decode_errors: u64,
    /// Panics caught.
    pub panics: u64,
}

/// A composer's figures as atomics: it stores, anyone reads.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) load_permille: AtomicU32,
    pub(crate) rooms: AtomicU32,
    pictures: AtomicU64,
    skipped: AtomicU64,
    decoded: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
}

impl Figures {
    pub(crate) fn read(&self) -> ComposerStats {
        ComposerStats {
            load_permille: self.load_permille.load(Relaxed),
            rooms: self.rooms.load(Relaxed),
            pictures: self.pictures.load(Relaxed),
            pictures_skipped: self.skipped.load(Relaxed),
            decoded: self.decoded.load(Relaxed),
            decode_errors: self.errors.load(Relaxed),
            panics: self.panics.load(Relaxed),
        }
    }
}

/// The handle of one composer's thread.
#[derive(Debug)]
pub(crate) struct Composer {
    pub(crate) orders: Sender<Order>,
    pub(crate) figures: Arc<Figures>,
    thread: Option<JoinHandle<()>>,
}

impl Composer {
    /// Starts the thread. `begin` is called on it first: its priority is somebody else's business.
    pub(crate) fn start(index: usize, events: Sender<Event>, begin: fn()) -> std::io::Result<Self> {
        let (orders, inbox) = bounded(ORDERS);
        let figures = Arc::new(Figures::default());
        let composing = Composing {
            orders: inbox,
            events,
            figures: Arc::clone(&figures),
            scenes: Vec::new(),
            load: Load::new(now()),
        };
        let thread = std::thread::Builder::new().name(format!("composer-{index}")).spawn(move || {
            begin();
            composing.run();
        })?;
        Ok(Self { orders, figures, thread: Some(thread) })
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&mut self) {
        drop(self.orders.send(Order::Stop));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a composer ended with a panic");
        }
    }
}

struct Composing {
    orders: Receiver<Order>,
    events: Sender<Event>,
    figures: Arc<Figures>,
    scenes: Vec<Scene>,
    load: Load,
}

/// The only clock of a composer.
fn now() -> Instant {
    Instant::now()
}

impl Composing {
    fn run(mut self) {
        loop {
            let due = self.scenes.iter().filter_map(Scene::due).min();
            let order = match due {
                Some(due) => self.orders.recv_deadline(due),
                None => {
                    self.figures.load_permille.store(0, Relaxed);
                    self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
            };
            match order {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => self.compose(),
            }
        }
    }

    /// Every room whose picture is due, the longest due first.
    fn compose(&mut self) {
        let started = now();
        let due = |scene: &Scene| scene.due().filter(|due| *due <= started);
        let Some(at) = (0..self.scenes.len())
            .filter_map(|at| Some((self.scenes.get(at).and_then(due)?, at)))
            .min()
            .map(|(_, at)| at)
        else {
            return;
        };
        let Some(scene) = self.scenes.get_mut(at) else { return };
        let room = scene.room();
        let Self { figures, events, .. } = self;
        let composed = catch_unwind(AssertUnwindSafe(|| scene.compose(started, now, figures)));
        match composed {
            Ok(facts) => facts.into_iter().for_each(|fact| tell(events, fact)),
            Err(panic) => self.fail(room, &panic_text(&*panic)),
        }
        let ended = now();
        self.load.add(ended.saturating_duration_since(started), ended, &self.figures.load_permille);
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Open { room, spec, demand, encoded } => {
                self.scenes.push(Scene::new(room, spec, demand, encoded));
            }
            Order::Close { room } => self.scenes.retain(|scene| scene.room() != room),
            Order::Preview { room, reply } => {
                let scene = self.scenes.iter().find(|scene| scene.room() == room);
                reply.send(scene.map(Scene::preview).ok_or(Error::Refused(Refused::UnknownRoom)));
            }
            Order::Set { room, spec } => self.with(room, |scene| scene.set(spec)),
            Order::Enter { room, leg, name, source } => self.with(room, |scene| scene.enter(leg, name, source, now())),
            Order::Exit { room, leg } => self.with(room, |scene| scene.exit(leg)),
            Order::Arrange { room, arrangement } => self.with(room, |scene| scene.arrange(arrangement)),
            Order::Record { room, tap } => self.with(room, |scene| scene.record(Some(tap))),
            Order::StopRecording { room } => self.with(room, |scene| scene.record(None)),
            Order::Stop => {}
        }
        let active = self.scenes.iter().filter(|scene| scene.due().is_some()).count();
        self.figures.rooms.store(u32::try_from(active).unwrap_or(u32::MAX), Relaxed);
    }

    /// A panic ends this room's picture and nobody else's (map, invariant 10).
    fn with(&mut self, room: RoomId, change: impl FnOnce(&mut Scene)) {
        let Some(scene) = self.scenes.iter_mut().find(|scene| scene.room() == room) else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| change(scene))) {
            self.fail(room, &panic_text(&*panic));
        }
    }

    fn fail(&mut self, room: RoomId, reason: &str) {
        self.figures.panics.fetch_add(1, Relaxed);
        tracing::error!(%room, reason, "a panic ended a room's picture");
        self.scenes.retain(|scene| scene.room() != room);
        tell(&self.events, Event::PictureFailed { room, reason: reason.to_owned() });
    }
}

/// Facts of a picture can be lost: control asks again when it needs them.
fn tell(events: &Sender<Event>, fact: Event) {
    if let Err(TrySendError::Full(fact)) = events.try_send(fact) {
        tracing::warn!(?fact, "control does not take a fact of a composer");
    }
}
