//! The room's end of a recording, and the bounded queue between it and the recorder. `Tap` runs on the worker's thread in
//! the tick: it never blocks, allocates, makes a system call or touches a file. Knows nothing of Ogg or of files.
//!
//! Packets are gathered in blocks of up to 200 ms that are allocated when the recording opens and then go round: filled by
//! the tap, emptied by the recorder, back to the tap. The recorder polls, so the tap never has to wake it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use crate::units::{RecordingId, TICK, Tick};

/// The largest packet that is recorded; longer ones count as lost. 160 kbit/s in 20 ms, far above what rooms encode.
pub(super) const MAX_PACKET_BYTES: usize = 400;
/// Blocks that go round. Sixteen hold 3.2 s at up to 40 kbit/s, 1.9 s at 64, 0.6 s at 160: how long a disk may stall.
const BLOCKS: usize = 16;
const BLOCK_BYTES: usize = 1000;
/// A block is handed over when it covers this many ticks, so that little is lost when the process is killed.
const BLOCK_TICKS: u64 = 10;
/// In front of each packet in a block: ticks since the first of the block (1), length (2).
const ENTRY_BYTES: usize = 3;

const _: () = assert!(BLOCK_BYTES >= ENTRY_BYTES + MAX_PACKET_BYTES, "every packet fits a block");
const _: () = assert!(BLOCK_TICKS <= 256, "a tick within a block fits a byte");
// All that one recording can queue. Sixty recordings at once stay within 1 MB; none costs nothing.
const _: () = assert!(BLOCKS * (size_of::<Block>() + 64) <= 17_500, "a recording queues at most 17.5 kB");

/// Up to 200 ms of packets.
#[derive(Debug)]
pub(super) struct Block {
    first: Tick,
    used: usize,
    bytes: [u8; BLOCK_BYTES],
}

impl Block {
    fn empty() -> Box<Self> {
        Box::new(Self { first: Tick(0), used: 0, bytes: [0; BLOCK_BYTES] })
    }

    fn add(&mut self, tick: Tick, packet: &[u8]) -> bool {
        if self.used == 0 {
            self.first = tick;
        }
        let end = self.used + ENTRY_BYTES + packet.len();
        let (Ok(after), Ok(length)) = (u8::try_from(tick.0 - self.first.0), u16::try_from(packet.len())) else {
            return false;
        };
        let Some(entry) = self.bytes.get_mut(self.used..end) else { return false };
        let (head, body) = entry.split_at_mut(ENTRY_BYTES);
        let [low, high] = length.to_le_bytes();
        head.copy_from_slice(&[after, low, high]);
        body.copy_from_slice(packet);
        self.used = end;
        true
    }

    /// The packets, in order; an empty one is a tick of silence.
    pub(super) fn packets(&self) -> impl Iterator<Item = (Tick, &[u8])> {
        let mut rest = self.bytes.get(..self.used).unwrap_or(&[]);
        std::iter::from_fn(move || {
            let ([after, low, high], body) = rest.split_first_chunk::<ENTRY_BYTES>()?;
            let (packet, behind) = body.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
            rest = behind;
            Some((Tick(self.first.0 + u64::from(*after)), packet))
        })
    }

    /// Ticks from the first packet of the block to `tick`.
    fn ticks_until(&self, tick: Tick) -> u64 {
        if self.used == 0 { 0 } else { tick.0 - self.first.0 }
    }
}

/// What both ends of the queue look at.
#[derive(Debug)]
pub(super) struct Shared {
    /// When one of the ticks was; all others follow from it.
    clock: OnceLock<(Tick, Instant)>,
    /// One past the last tick, set before the queue closes; 0 if nobody said.
    end: AtomicU64,
    /// Packets that became silence because the queue was full or they were too long.
    lost: AtomicU64,
    /// The same over all recordings of the recorder.
    lost_in_all: Arc<AtomicU64>,
}

/// The recorder's end.
#[derive(Debug)]
pub(super) struct Source {
    filled: Receiver<Box<Block>>,
    emptied: Sender<Box<Block>>,
    shared: Arc<Shared>,
}

impl Source {
    /// The next block, `Empty` while there is none, `Disconnected` when the tap has finished and all is read.
    pub(super) fn next(&self) -> Result<Box<Block>, TryRecvError> {
        self.filled.try_recv()
    }
    /// Gives a block back.
    pub(super) fn recycle(&self, mut block: Box<Block>) {
        block.used = 0;
        // A tap that has finished takes no more.
        let _ = self.emptied.try_send(block);
    }
    /// One past the last tick that the room told; known once `next` says `Disconnected`.
    pub(super) fn end(&self) -> Tick {
        Tick(self.shared.end.load(Ordering::Acquire))
    }
    /// When a tick was, if the room told it of any.
    pub(super) fn instant_of(&self, tick: Tick) -> Option<Instant> {
        let &(known, at) = self.shared.clock.get()?;
        let apart = |ticks: u64| Duration::from_millis(ticks.saturating_mul(TICK.as_millis() as u64));
        match tick.0.checked_sub(known.0) {
            Some(after) => at.checked_add(apart(after)),
            None => at.checked_sub(apart(known.0 - tick.0)),
        }
    }
    /// Packets that became silence because the queue was full or they were too long.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

/// The room's end of a recording. Lives in the room, on the worker's thread. Dropping it finishes the recording at the
/// last tick that was pushed.
///
/// Every tick the room calls either [`Tap::push`] or [`Tap::silence`]. If [`Tap::is_open`] turns false, the recording has
/// failed (an event has told why): the room should drop the tap and stop encoding for it.
#[derive(Debug)]
pub struct Tap {
    recording: RecordingId,
    block: Option<Box<Block>>,
    filled: Sender<Box<Block>>,
    emptied: Receiver<Box<Block>>,
    shared: Arc<Shared>,
    last: Option<Tick>,
    is_open: bool,
}

impl Tap {
    /// Both ends of a queue.
    pub(super) fn new(recording: RecordingId, lost_in_all: Arc<AtomicU64>) -> (Self, Source) {
        let (filled, filled_out) = bounded(BLOCKS);
        let (emptied_in, emptied) = bounded(BLOCKS);
        for _ in 0..BLOCKS {
            emptied_in.try_send(Block::empty()).expect("BUG: the queue has room for every block");
        }
        let shared =
            Arc::new(Shared { clock: OnceLock::new(), end: AtomicU64::new(0), lost: AtomicU64::new(0), lost_in_all });
        let source = Source { filled: filled_out, emptied: emptied_in, shared: Arc::clone(&shared) };
        (Self { recording, block: None, filled, emptied, shared, last: None, is_open: true }, source)
    }

    /// Which recording.
    pub const fn recording(&self) -> RecordingId {
        self.recording
    }

    /// False once the recorder has given this recording up; nothing that is pushed is kept then.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Tells when `tick` was, once, before the first packet: sound and pictures of a movie meet by it. Ticks are wall time,
    /// so one is enough. Sound alone does without; a movie without it takes its first packet for as old as its beginning.
    pub fn begin(&self, tick: Tick, at: Instant) {
        // Once told it stays: what is written depends on it.
        let _ = self.shared.clock.set((tick, at));
    }

    /// One Opus packet, 20 ms of mono at 48 kHz, of the full mix at `tick`. The first call sets where the recording begins.
    /// Ticks between two calls become silence. A packet that finds the queue full becomes silence too and is counted; a
    /// tick that is not after the last one is ignored.
    pub fn push(&mut self, tick: Tick, packet: &[u8]) {
        if !self.is_open || self.last.is_some_and(|last| tick <= last) {
            return;
        }
        self.last = Some(tick);
        if self.held_ticks(tick) >= BLOCK_TICKS {
            self.hand_over();
        }
        if packet.len() > MAX_PACKET_BYTES || !self.add(tick, packet) && self.is_open {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            self.shared.lost_in_all.fetch_add(1, Ordering::Relaxed);
        }
        if self.held_ticks(tick) + 1 >= BLOCK_TICKS {
            self.hand_over();
        }
    }

    /// A tick without sound. Costs nothing on the wire or in an encoder, and keeps the file as long as the room.
    pub fn silence(&mut self, tick: Tick) {
        self.push(tick, &[]);
    }

    /// Ends the recording before `tick`: what is missing up to there becomes silence. An event tells when the file is
    /// complete.
    pub fn finish(self, tick: Tick) {
        self.shared.end.store(tick.0, Ordering::Release);
    }

    fn add(&mut self, tick: Tick, packet: &[u8]) -> bool {
        for _ in 0..2 {
            if self.block.is_none() {
                match self.emptied.try_recv() {
                    Ok(block) => self.block = Some(block),
                    Err(TryRecvError::Empty) => return false,
                    Err(TryRecvError::Disconnected) => self.is_open = false,
                }
            }
            let Some(block) = &mut self.block else { return false };
            if block.add(tick, packet) {
                return true;
            }
            self.hand_over();
        }
        false
    }

    fn held_ticks(&self, tick: Tick) -> u64 {
        self.block.as_ref().map_or(0, |block| block.ticks_until(tick))
    }

    fn hand_over(&mut self) {
        let Some(block) = self.block.take() else { return };
        if let Err(refused) = self.filled.try_send(block) {
            // Only blocks of this queue go round, so it cannot be full: the recorder has gone. The block is kept, as
            // freeing it is not a tick's work.
            self.is_open = false;
            self.block = Some(refused.into_inner());
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let told = self.shared.end.load(Ordering::Relaxed);
        let end = self.last.map_or(told, |last| told.max(last.0 + 1));
        self.shared.end.store(end, Ordering::Release);
        self.hand_over();
    }
}
