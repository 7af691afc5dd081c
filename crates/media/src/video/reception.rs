//! The receive side of one video stream: RTP packets in; whole access units in decoding order out, and what to ask the
//! sender for. Runs on the worker's thread; time is an argument, and sockets, RTP headers, RTCP's bytes and decoders are
//! not its business.
//!
//! A missing packet is waited for. When it does not come, the frame is lost that it belonged to, and all that follow it up
//! to the next key frame, as they would decode to rubbish: none of them is handed out, and a key frame is asked for.

mod assembly;
mod counts;
mod window;
mod wish;

use std::time::{Duration, Instant};

use super::VideoCodec;
use super::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};
use crate::leg::playout::ReceptionReport;
use assembly::Assembly;
use counts::{Counts, Standing};
pub use window::Nack;
use window::{Front, MAX_PACKET_BYTES, Packet, Placed, Window};
use wish::Wish;

/// A missing packet is waited for so long when it is asked for again …
const REPAIR_FOR: Duration = Duration::from_millis(200);
/// … and so long when it can only be late.
const REORDER_FOR: Duration = Duration::from_millis(60);
/// So many packets in a row that are too late, without one that is not: the sender began anew a little further back.
const MAX_LATE_RUN: u32 = 100;
/// A key frame that has begun to come is not asked for; one that takes longer than this is not waited for either.
const KEY_FRAME_TAKES: Duration = Duration::from_secs(1);

/// All that one stream can hold on to. A vector that grows may have twice the bytes that are in it.
const WORST_CASE_BYTES: usize = window::WORST_CASE_BYTES + 2 * MAX_ACCESS_UNIT_BYTES;
const _: () = assert!(WORST_CASE_BYTES <= 2560 * 1024, "a stream must not cost more than 2.5 MiB");

/// What is known of an access unit beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Of its packets, in units of the video clock.
    pub timestamp: u32,
    /// When the last of its packets came.
    pub arrived: Instant,
}

/// Counters since the leg began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceptionStats {
    /// Packets that came.
    pub packets: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Packets that never came, by sequence numbers.
    pub lost: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets of no use: malformed, of a form that was not negotiated, too large, or one too many.
    pub discarded: u64,
    /// Access units handed out.
    pub frames: u64,
    /// Those of them that are key frames.
    pub keyframes: u64,
    /// Access units that were incomplete, or followed on one that was.
    pub dropped_frames: u64,
    /// Packets asked for again, each time that they were.
    pub nacks: u64,
    /// Key frames asked for.
    pub keyframe_requests: u64,
    /// Interarrival jitter (RFC 3550 A.8) in units of the video clock.
    pub jitter: u32,
    /// Cycles in the upper half, sequence number in the lower.
    pub extended_highest_seq: u32,
}

/// A frame of which the end has not come.
#[derive(Clone, Copy, Debug)]
struct Open {
    timestamp: u32,
    since: Instant,
    arrived: Instant,
    /// Nothing of it is missing so far.
    is_whole: bool,
}

/// One stream. *Input*: `accept` with each packet, `request_keyframe`, `set_nack`, `remember`, `reset`. *Output*: `take`
/// until it gives nothing, then `poll_nack` until it gives nothing, and `wants_keyframe`; at least once a tick.
/// *Questions*: everything that takes `&self`.
#[derive(Debug)]
pub struct Reception {
    codec: VideoCodec,
    window: Window,
    assembly: Assembly,
    unit: AccessUnit,
    open: Option<Open>,
    /// The frame that was handed out or dropped last.
    ended: Option<u32>,
    /// Packets before the next one are missing for good.
    after_gap: bool,
    /// What comes next can be decoded after what was handed out last.
    in_sync: bool,
    /// The sender sets the marker within frames, too.
    marker_lies: bool,
    nack: bool,
    repairable: bool,
    /// The last packet far from all others, and its number.
    stray: Option<(u16, Packet)>,
    late_run: u32,
    wish: Wish,
    counts: Counts,
    stats: ReceptionStats,
}

impl Reception {
    /// Of a stream that has not begun; without NACK.
    pub fn new(codec: VideoCodec) -> Self {
        Self {
            codec,
            window: Window::new(),
            assembly: Assembly::new(codec),
            unit: AccessUnit::empty(codec),
            open: None,
            ended: None,
            after_gap: true,
            in_sync: false,
            marker_lies: false,
            nack: false,
            repairable: true,
            stray: None,
            late_run: 0,
            wish: Wish::new(),
            counts: Counts::default(),
            stats: ReceptionStats::default(),
        }
    }

    /// Whether the sender agreed to send again what is missing (`a=rtcp-fb: nack`, RFC 4585 §4.2).
    pub const fn set_nack(&mut self, negotiated: bool) {
        self.nack = negotiated;
    }

    /// An H.264 parameter set that came with SDP (`sprop-parameter-sets`, RFC 6184 §8.1), without start code. False when it
    /// is none.
    pub fn remember(&mut self, parameter_set: &[u8]) -> bool {
        self.assembly.remember(parameter_set)
    }

    /// A stream that has nothing to do with the one before: another SSRC, or agreed anew. The counters go on.
    pub fn reset(&mut self, codec: VideoCodec) {
        self.begin_stream(0);
        self.counts.forget_stream();
        if let Some((_, packet)) = self.stray.take() {
            self.window.recycle(packet.bytes);
        }
        self.codec = codec;
        self.assembly = Assembly::new(codec);
        self.unit.codec = codec;
        self.marker_lies = false;
        self.repairable = true;
    }

    /// A packet came. The caller has checked its source, payload type and SSRC.
    pub fn accept(&mut self, now: Instant, seq: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        self.stats.packets += 1;
        self.stats.bytes += payload.len() as u64;
        if payload.len() > MAX_PACKET_BYTES {
            self.stats.discarded += 1;
            return;
        }
        self.wish.heard(now);
        let packet = Packet { at: now, timestamp, marker, bytes: self.window.buffer(payload) };
        match self.counts.count(seq) {
            Standing::First(extended) => {
                self.begin_stream(extended);
                self.place(now, extended, packet);
            }
            Standing::Newest(extended) => {
                self.counts.arrived(now, timestamp);
                self.make_room(extended);
                self.place(now, extended, packet);
            }
            Standing::Older(extended) => self.place(now, extended, packet),
            Standing::Stray => self.stray(now, seq, packet),
        }
    }

    /// The next access unit, in `out`; what was in there is gone, its memory is used again. To be called until there is
    /// none.
    pub fn take(&mut self, now: Instant, out: &mut AccessUnit) -> Option<Received> {
        loop {
            match self.window.front() {
                Front::Nothing => return None,
                Front::Missing { since } => {
                    if now.saturating_duration_since(since) < self.patience() {
                        return None;
                    }
                    self.window.advance();
                    self.lose();
                }
                Front::Packet(next) => {
                    let is_next_frame = self
                        .open
                        .is_some_and(|open| self.assembly.is_next_frame(open.timestamp, next.timestamp, &next.bytes));
                    if is_next_frame {
                        if let Some(received) = self.end_frame(out) {
                            return Some(received);
                        }
                        continue;
                    }
                    let (seq, packet) = self.window.advance()?;
                    let is_end = self.add(seq, &packet);
                    self.window.recycle(packet.bytes);
                    if is_end && let Some(received) = self.end_frame(out) {
                        return Some(received);
                    }
                }
            }
        }
    }

    /// Missing packets to ask for now, if the sender agreed to it; to be called until there are no more. Each is asked for
    /// again after `rtt`, or 20 ms if that is longer, five times at the most.
    pub fn poll_nack(&mut self, now: Instant, rtt: Option<Duration>) -> Option<Nack> {
        self.repairable = rtt.is_none_or(|rtt| rtt < REPAIR_FOR);
        if !self.nack || !self.repairable {
            return None;
        }
        let nack = self.window.nack(now, rtt)?;
        self.stats.nacks += 1 + u64::from(nack.blp.count_ones());
        Some(nack)
    }

    /// The decoder cannot go on without a key frame. What comes until then is handed out as before.
    pub const fn request_keyframe(&mut self) {
        self.wish.open();
    }

    /// True when a key frame has to be asked for now; the answer counts as asked. Not more than once in 500 ms, more rarely
    /// when the sender never answers, and not at all before its first packet or when it has fallen silent.
    pub fn wants_keyframe(&mut self, now: Instant) -> bool {
        let is_coming = self.open.is_some_and(|open| {
            open.is_whole
                && self.assembly.looks_key(&self.unit)
                && now.saturating_duration_since(open.since) < KEY_FRAME_TAKES
        });
        let is_due = !is_coming && self.wish.is_due(now);
        self.stats.keyframe_requests += u64::from(is_due);
        is_due
    }

    /// The codec that is received.
    pub const fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// The counters.
    pub fn stats(&self) -> ReceptionStats {
        ReceptionStats {
            lost: self.counts.lost(),
            jitter: self.counts.jitter(),
            extended_highest_seq: self.counts.extended_highest_seq(),
            ..self.stats
        }
    }

    /// What goes into a report block (RFC 3550 §6.4.1): the fraction lost since the last call.
    pub fn report(&mut self) -> ReceptionReport {
        self.counts.report()
    }

    const fn patience(&self) -> Duration {
        if self.nack && self.repairable { REPAIR_FOR } else { REORDER_FOR }
    }

    fn place(&mut self, now: Instant, seq: i64, packet: Packet) {
        match self.window.place(seq, packet, now) {
            Placed::New => self.late_run = 0,
            Placed::Duplicate => self.stats.duplicate += 1,
            Placed::Late => {
                self.stats.late += 1;
                self.late_run += 1;
                if self.late_run > MAX_LATE_RUN {
                    self.counts.forget_stream();
                    self.begin_stream(0);
                }
            }
        }
    }

    /// What is far from all others begins a new stream if a second one follows on it, and then nothing of it is lost.
    fn stray(&mut self, now: Instant, seq: u16, packet: Packet) {
        match self.stray.take() {
            Some((before, first)) if before.wrapping_add(1) == seq => {
                let extended = self.counts.restart(before);
                self.begin_stream(extended);
                self.place(now, extended, first);
                if let Standing::Newest(extended) = self.counts.count(seq) {
                    self.place(now, extended, packet);
                }
            }
            former => {
                if let Some((_, former)) = former {
                    self.stats.discarded += 1;
                    self.window.recycle(former.bytes);
                }
                self.stray = Some((seq, packet));
            }
        }
    }

    /// Nothing that came before matters any more.
    fn begin_stream(&mut self, first: i64) {
        self.window.restart(first);
        self.assembly.abandon(&mut self.unit);
        self.stats.dropped_frames += u64::from(self.open.take().is_some());
        self.ended = None;
        self.late_run = 0;
        self.lose();
    }

    /// The newest packet must have a place, whatever that costs: who does not call `take`, or sends too much, loses the
    /// oldest.
    fn make_room(&mut self, seq: i64) {
        if self.window.excess(seq) <= 0 {
            return;
        }
        while self.window.excess(seq) > 0 && !self.window.is_empty() {
            if let Some((_, packet)) = self.window.advance() {
                self.stats.discarded += 1;
                self.window.recycle(packet.bytes);
            }
        }
        if self.window.excess(seq) > 0 {
            self.window.jump(seq);
        }
        self.lose();
    }

    /// What stood at the front is gone for good.
    fn lose(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_whole = false;
        }
        self.after_gap = true;
        self.in_sync = false;
        self.wish.open();
    }

    /// Adds a packet to its frame. True when the frame ends with it.
    fn add(&mut self, seq: i64, packet: &Packet) -> bool {
        let Packet { at, timestamp, marker, ref bytes } = *packet;
        if bytes.is_empty() && self.open.is_none_or(|open| open.timestamp != timestamp) {
            // Padding between frames.
            if self.open.is_some() {
                self.assembly.push(seq as u16, timestamp, &[], &mut self.unit);
            }
            return false;
        }
        let after_gap = std::mem::replace(&mut self.after_gap, false);
        let open = self.open.get_or_insert_with(|| {
            self.marker_lies |= self.ended == Some(timestamp) && self.assembly.continues(bytes);
            let is_whole = !after_gap || self.assembly.begins(bytes);
            Open { timestamp, since: at, arrived: at, is_whole }
        });
        open.arrived = open.arrived.max(at);
        // The frame's timestamp is that of its first packet, even if the sender thinks otherwise.
        if !self.assembly.push(seq as u16, open.timestamp, bytes, &mut self.unit) && open.is_whole {
            self.stats.discarded += 1;
        }
        // A sender may mark its parameter sets, too: they go with the picture that follows.
        marker && !self.marker_lies && self.assembly.has_picture()
    }

    /// The open frame has ended, in `out` if it can be decoded.
    fn end_frame(&mut self, out: &mut AccessUnit) -> Option<Received> {
        let open = self.open.take()?;
        let is_picture = self.assembly.has_picture();
        let is_whole = self.assembly.finish(&mut self.unit) && open.is_whole;
        if !is_picture {
            return None;
        }
        self.ended = Some(open.timestamp);
        if !is_whole && self.in_sync {
            // All of its packets came, and what they hold is damaged.
            self.in_sync = false;
            self.wish.open();
        }
        if !is_whole || !(self.in_sync || self.unit.is_keyframe) {
            self.stats.dropped_frames += 1;
            self.unit.clear();
            return None;
        }
        self.stats.frames += 1;
        if self.unit.is_keyframe {
            self.stats.keyframes += 1;
            self.in_sync = true;
            self.wish.fulfilled();
        }
        std::mem::swap(&mut self.unit, out);
        self.unit.clear();
        self.unit.codec = self.codec;
        Some(Received { timestamp: open.timestamp, arrived: open.arrived })
    }
}

#[cfg(test)]
mod tests;
