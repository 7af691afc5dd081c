//! The way of one leg's pictures from its worker to the room's composer: whole access units in buffers that go round, and a
//! few flags each way. [`Feed`] is the worker's end and never blocks, [`Source`] the composer's.
//!
//! Two buffers change hands for each picture: an empty one comes back, a full one goes. When the composer falls behind, what
//! does not fit is dropped up to the next keyframe, which is asked for: a decoder cannot go on after a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::VideoCodec;
use super::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};

/// Pictures that may wait for the composer: a quarter of a second of a 30 fps sender, more than three periods of the slowest
/// room.
const WAITING: usize = 8;
/// Legs of a room whose pictures can be on their way at once: those with a tile.
const FED: usize = super::layout::MAX_TILES;
const _: () = assert!(WAITING * MAX_ACCESS_UNIT_BYTES * FED <= 40 << 20, "a room queues at most 40 MiB of pictures");

/// A picture on its way.
#[derive(Debug)]
struct Queued {
    unit: AccessUnit,
    arrived: Instant,
}

/// What both ends see.
#[derive(Debug, Default)]
struct Shared {
    /// The leg has a tile: its pictures are decoded.
    shown: AtomicBool,
    /// Decoding can only go on with a keyframe.
    wants_keyframe: AtomicBool,
    /// The leg sends pictures, as far as was negotiated.
    sending: AtomicBool,
    talking: AtomicBool,
    muted: AtomicBool,
    dropped: AtomicU64,
}

/// The worker's end.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    full: Sender<Queued>,
    empty: Receiver<Queued>,
    /// Pictures are dropped until the next keyframe.
    broken: bool,
}

/// The composer's end.
#[derive(Debug)]
pub struct Source {
    shared: Arc<Shared>,
    full: Receiver<Queued>,
    empty: Sender<Queued>,
}

/// Both ends.
pub fn feed(now: Instant) -> (Feed, Source) {
    let (full, full_out) = bounded(WAITING);
    let (empty, empty_out) = bounded(WAITING);
    for _ in 0..WAITING {
        // The buffers grow with what they hold, and keep it.
        drop(empty.try_send(Queued { unit: AccessUnit::empty(VideoCodec::H264), arrived: now }));
    }
    let shared = Arc::new(Shared::default());
    let source = Source { shared: Arc::clone(&shared), full: full_out, empty };
    (Feed { shared, full, empty: empty_out, broken: true }, source)
}

impl Feed {
    /// Somebody looks at the leg's pictures; otherwise they need not even be put together.
    pub fn is_shown(&self) -> bool {
        self.shared.shown.load(Relaxed)
    }

    /// Hands a picture over by swapping buffers; false when it was dropped.
    pub fn push(&mut self, unit: &mut AccessUnit, arrived: Instant) -> bool {
        if !self.is_shown() || (self.broken && !unit.is_keyframe) {
            self.broken = true;
            return false;
        }
        let Ok(mut queued) = self.empty.try_recv() else {
            self.broken = true;
            self.shared.wants_keyframe.store(true, Relaxed);
            self.shared.dropped.fetch_add(1, Relaxed);
            return false;
        };
        std::mem::swap(&mut queued.unit, unit);
        queued.arrived = arrived;
        // As many buffers as places: there is one.
        self.broken = self.full.try_send(queued).is_err();
        !self.broken
    }

    /// A keyframe is wanted, since the last time that this was asked.
    pub fn take_keyframe_wish(&self) -> bool {
        self.shared.wants_keyframe.load(Relaxed) && self.shared.wants_keyframe.swap(false, Relaxed)
    }

    /// Whether pictures can be expected of the leg.
    pub fn set_sending(&self, sending: bool) {
        self.shared.sending.store(sending, Relaxed);
    }

    /// What the tile shows of the leg's sound.
    pub fn set_sound(&self, talking: bool, muted: bool) {
        self.shared.talking.store(talking, Relaxed);
        self.shared.muted.store(muted, Relaxed);
    }
}

impl Source {
    /// Shown or not from now on; what begins to be shown begins with a keyframe.
    pub fn show(&self, shown: bool) {
        if self.shared.shown.swap(shown, Relaxed) != shown && shown {
            self.want_keyframe();
        }
    }

    /// Decoding can only go on with a keyframe.
    pub fn want_keyframe(&self) {
        self.shared.wants_keyframe.store(true, Relaxed);
    }

    /// Gives the next picture to `see`, if one waits, and its buffer back.
    pub fn take<R>(&self, see: impl FnOnce(&AccessUnit, Instant) -> R) -> Option<R> {
        let mut queued = self.full.try_recv().ok()?;
        let seen = see(&queued.unit, queued.arrived);
        queued.unit.clear();
        drop(self.empty.try_send(queued));
        Some(seen)
    }

    /// Pictures that wait.
    pub fn waiting(&self) -> usize {
        self.full.len()
    }

    /// Drops what waits.
    pub fn discard(&self) {
        while self.take(|_, _| ()).is_some() {}
    }

    /// The leg sends pictures, as far as was negotiated.
    pub fn is_sending(&self) -> bool {
        self.shared.sending.load(Relaxed)
    }

    /// It is heard now.
    pub fn is_talking(&self) -> bool {
        self.shared.talking.load(Relaxed)
    }

    /// Its sound does not reach the room.
    pub fn is_muted(&self) -> bool {
        self.shared.muted.load(Relaxed)
    }

    /// Pictures that were dropped because the composer was behind.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(byte: u8, is_keyframe: bool) -> AccessUnit {
        let units = std::iter::once(0..1).collect();
        AccessUnit { codec: VideoCodec::Vp8, is_keyframe, bytes: vec![byte], units }
    }

    fn seen(source: &Source) -> Vec<u8> {
        std::iter::from_fn(|| source.take(|unit, _| unit.bytes[0])).collect()
    }

    #[test]
    fn begins_with_a_keyframe_once_it_is_shown() {
        let now = Instant::now();
        let (mut feed, source) = feed(now);
        assert!(!feed.push(&mut unit(1, true), now), "nobody looks");
        source.show(true);
        assert!(feed.take_keyframe_wish() && !feed.take_keyframe_wish());
        assert!(!feed.push(&mut unit(2, false), now));
        assert!(feed.push(&mut unit(3, true), now) && feed.push(&mut unit(4, false), now));
        assert_eq!(seen(&source), [3, 4]);
    }

    #[test]
    fn gap_lasts_until_the_next_keyframe_and_buffers_come_back() {
        let now = Instant::now();
        let (mut feed, source) = feed(now);
        source.show(true);
        feed.take_keyframe_wish();
        let taken: Vec<bool> = (0..10).map(|n| feed.push(&mut unit(n, n == 0), now)).collect();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), WAITING);
        assert!(feed.take_keyframe_wish());
        assert_eq!(source.dropped(), 1);
        assert_eq!(seen(&source).len(), WAITING);
        assert!(!feed.push(&mut unit(20, false), now), "the gap is still open");
        assert!(feed.push(&mut unit(21, true), now));
        assert_eq!(seen(&source), [21]);
    }
}
