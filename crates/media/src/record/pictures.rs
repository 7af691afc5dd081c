//! The composer's end of a movie's pictures, and the bounded queue between it and the recorder. `PictureTap` runs on the
//! composer's thread: it never blocks and never touches a file. Knows nothing of MP4, of rooms or of how pictures are made.
//!
//! A picture that finds the queue full costs all that follow up to the next keyframe, as they build upon it; the last one
//! that was kept stands still meanwhile. Time is never lost, as each picture carries its own.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use shiguredo_mp4::bitstream::h264::parse_sps;

use crate::video::VideoCodec;
use crate::video::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};

/// Pictures that may wait: four seconds at 60 a second.
const QUEUE: usize = 256;
/// Bytes that may wait: 33 s at 1 Mbit/s, 4 s at 8 Mbit/s. A keyframe of the largest size always finds room in an empty
/// queue.
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

const _: () = assert!(MAX_QUEUED_BYTES >= 2 * MAX_ACCESS_UNIT_BYTES, "every picture fits an empty queue");
// All that one movie can queue; what the composer holds of the same access units is not counted twice.
const _: () = assert!(
    MAX_QUEUED_BYTES + QUEUE * (size_of::<Pushed>() + size_of::<AccessUnit>() + 64) <= 4_300_000,
    "a movie queues at most 4.3 MB of pictures"
);

/// Types of NAL units (Rec. ITU-T H.264 table 7-1).
pub(super) const NAL_SPS: u8 = 7;
pub(super) const NAL_PPS: u8 = 8;
pub(super) const NAL_DELIMITER: u8 = 9;

/// One picture in the queue.
#[derive(Debug)]
pub(super) struct Pushed {
    /// When it was composed.
    pub(super) at: Instant,
    pub(super) unit: Arc<AccessUnit>,
}

#[derive(Debug)]
struct Shared {
    queued_bytes: AtomicUsize,
    lost: AtomicU64,
    /// The same over all recordings of the recorder.
    lost_in_all: Arc<AtomicU64>,
    /// The file began without a picture and can take none.
    is_sound_only: AtomicBool,
}

/// The recorder's end.
#[derive(Debug)]
pub(super) struct PictureSource {
    queue: Receiver<Pushed>,
    shared: Arc<Shared>,
}

impl PictureSource {
    /// The next picture, `Empty` while there is none, `Disconnected` when the tap has finished and all is read.
    pub(super) fn next(&self) -> Result<Pushed, TryRecvError> {
        let pushed = self.queue.try_recv()?;
        self.shared.queued_bytes.fetch_sub(cost_of(&pushed.unit), Ordering::Relaxed);
        Ok(pushed)
    }
    /// Pictures that were dropped because the queue was full or a keyframe was missing.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
    /// From now on the tap asks for another part instead of pushing.
    pub(super) fn refuse(&self) {
        self.shared.is_sound_only.store(true, Ordering::Relaxed);
    }
}

/// The composer's end of a movie. Dropping it ends the pictures; the movie ends when the room's `Tap` has ended too. The
/// last picture then stands until the sound ends.
///
/// If [`PictureTap::is_open`] turns false, the recording has failed or is over: drop the tap. If
/// [`PictureTap::size_changed`] turns true, the pictures go on in another part: finish both taps and open another movie.
#[derive(Debug)]
pub struct PictureTap {
    queue: Sender<Pushed>,
    shared: Arc<Shared>,
    /// Width and height of the pictures in pixels, and the sequence parameter set that says so.
    size: Option<[u16; 2]>,
    sps: Vec<u8>,
    wants_keyframe: bool,
    size_changed: bool,
    is_open: bool,
}

impl PictureTap {
    /// Both ends of a queue.
    pub(super) fn new(lost_in_all: Arc<AtomicU64>) -> (Self, PictureSource) {
        let (queue, queue_out) = bounded(QUEUE);
        let shared = Arc::new(Shared {
            queued_bytes: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            lost_in_all,
            is_sound_only: AtomicBool::new(false),
        });
        let source = PictureSource { queue: queue_out, shared: Arc::clone(&shared) };
        let tap = Self {
            queue,
            shared,
            size: None,
            sps: Vec::new(),
            wants_keyframe: true,
            size_changed: false,
            is_open: true,
        };
        (tap, source)
    }

    /// False once the recorder has given this recording up; nothing that is pushed is kept then.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Nothing is kept before the next keyframe: at the start, and after pictures were dropped.
    pub const fn wants_keyframe(&self) -> bool {
        self.wants_keyframe && self.is_open && !self.size_changed
    }

    /// A keyframe came that this file cannot take, because its pictures are of another size or because it began as sound
    /// alone (no picture came for ten seconds). That keyframe and all that follow belong into another part.
    pub const fn size_changed(&self) -> bool {
        self.size_changed
    }

    /// An H.264 access unit, and when its picture was composed; each later than the one before. What is not H.264 is
    /// ignored.
    pub fn push(&mut self, at: Instant, unit: &Arc<AccessUnit>) {
        if !self.is_open || self.size_changed || unit.codec != VideoCodec::H264 {
            return;
        }
        if unit.is_keyframe {
            if !self.admits(unit) {
                return;
            }
        } else if self.wants_keyframe {
            if self.size.is_some() {
                self.count_lost();
            }
            return;
        }
        self.wants_keyframe = !self.enqueue(at, unit);
        if self.wants_keyframe && self.is_open {
            self.count_lost();
        }
    }

    /// Ends the pictures.
    pub fn finish(self) {}

    /// The keyframe belongs into this file; otherwise `size_changed` may turn true.
    fn admits(&mut self, unit: &AccessUnit) -> bool {
        if self.shared.is_sound_only.load(Ordering::Relaxed) {
            self.size_changed = true;
            return false;
        }
        let Some(sps) = nal_of(unit, NAL_SPS) else { return self.size.is_some() };
        if self.size.is_some() && sps == self.sps {
            return true;
        }
        let Ok(parsed) = parse_sps(sps) else { return false };
        let size = [parsed.width, parsed.height];
        if self.size.is_none() && nal_of(unit, NAL_PPS).is_none() {
            return false;
        }
        if self.size.is_some_and(|known| known != size) {
            self.size_changed = true;
            return false;
        }
        self.size = Some(size);
        self.sps.clear();
        self.sps.extend_from_slice(sps);
        true
    }

    fn enqueue(&mut self, at: Instant, unit: &Arc<AccessUnit>) -> bool {
        let cost = cost_of(unit);
        // Only this end adds, so nobody can come in between.
        let queued = self.shared.queued_bytes.load(Ordering::Relaxed);
        if unit.bytes.len() > MAX_ACCESS_UNIT_BYTES || queued + cost > MAX_QUEUED_BYTES {
            return false;
        }
        self.shared.queued_bytes.fetch_add(cost, Ordering::Relaxed);
        let Err(refused) = self.queue.try_send(Pushed { at, unit: Arc::clone(unit) }) else { return true };
        self.shared.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
        if let TrySendError::Disconnected(_) = refused {
            self.is_open = false;
        }
        false
    }

    fn count_lost(&self) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        self.shared.lost_in_all.fetch_add(1, Ordering::Relaxed);
    }
}

/// Bytes that a picture keeps in memory while it waits.
fn cost_of(unit: &AccessUnit) -> usize {
    unit.bytes.len() + unit.units.len() * size_of::<Range<usize>>()
}

/// The type of a NAL unit (Rec. ITU-T H.264 §7.3.1).
pub(super) fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1F)
}

fn nal_of(unit: &AccessUnit, wanted: u8) -> Option<&[u8]> {
    unit.nal_units().find(|nal| nal_type(nal) == wanted)
}
