//! The send side of one leg's video: pictures that the room encoded once become RTP packets (RFC 3550, RFC 6184, RFC 7741)
//! of this leg's stream, paced, and kept for a second for those that ask for them again (RFC 4585). Runs on the worker's
//! thread; no clock, no socket, no allocation after it is made; it does not know other legs, and estimates no bandwidth.

mod pacing;
mod packets;
mod sent;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::pacing::Pacing;
use self::packets::Place;
use self::sent::{Packet, Sent};
use super::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};
use super::{MAX_PAYLOAD_BYTES, VIDEO_CLOCK_HZ, VideoCodec};
use crate::rtp::packet::{HEADER_BYTES, write_header};
use crate::rtp::rtcp::SenderInfo;
use crate::units::{Bitrate, Ssrc};

/// Bytes of one packet, for the buffer of [`Outgoing::poll`]. Only a NAL unit above [`MAX_PAYLOAD_BYTES`] for a leg in
/// packetization mode 0, which allows no fragments, needs more.
pub const MAX_PACKET_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES;

/// Media time that may wait to be sent. What is older than that is not worth the delay of all that follows it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// That much in pictures, at 60 a second.
const MAX_WAITING_PICTURES: usize = 64;
const MAX_WAITING_BYTES: usize = 4 * MAX_ACCESS_UNIT_BYTES;
/// How long a picture can be retransmitted after its last packet.
const KEPT_FOR: Duration = Duration::from_secs(1);
const MAX_KEPT_PICTURES: usize = 64;
const MAX_KEPT_BYTES: usize = 2 * MAX_ACCESS_UNIT_BYTES;
/// Beside them there are the picture that is being sent, and the one that `push` makes room for.
const MAX_SHOTS: usize = MAX_WAITING_PICTURES + MAX_KEPT_PICTURES + 2;

// All legs hold on to the same pictures, so their bytes count once for the room; what is the leg's own is small.
const _: () = assert!(MAX_WAITING_BYTES + MAX_KEPT_BYTES + 2 * MAX_ACCESS_UNIT_BYTES <= 4 << 20);
const _: () = assert!(MAX_SHOTS * size_of::<Shot>() <= 16 * 1024);

/// A picture that waits, is being sent, or was sent.
#[derive(Debug)]
struct Shot {
    unit: Arc<AccessUnit>,
    at: Duration,
    timestamp: u32,
    /// Given when its first packet goes, so that what is dropped before leaves no gap.
    picture_id: u16,
    last_unit: u32,
    /// When its last packet went.
    finished: Option<Instant>,
}

/// Counted since the stream began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets made, retransmissions included.
    pub packets: u64,
    /// Payload bytes in them.
    pub octets: u64,
    /// Packets made again.
    pub retransmitted: u64,
    /// Pictures that were given up, most of them because the leg's rate is too low for the room's.
    pub dropped: u64,
}

/// One leg's outgoing video stream. It gives nothing but whole pictures from a keyframe on: what it drops, it drops up to
/// the next keyframe, and it says when it needs one.
///
/// Four kinds of method: *input* (`push`, `nack`), *output* (`poll`, until it gives `None`), *terms* (`set_*`,
/// `renegotiated`, `restart`) and *questions* (the rest).
#[derive(Debug)]
pub struct Outgoing {
    codec: VideoCodec,
    payload_type: u8,
    ssrc: Ssrc,
    /// Of the next packet.
    seq: u16,
    /// Of media time zero.
    base: u32,
    /// Media time of the last picture in units of the RTP clock, before `base` is added.
    last_units: Option<u64>,
    /// Of the next picture, 15 bits.
    picture_id: u16,
    fragments: bool,
    bitrate: Bitrate,
    limit: Option<Bitrate>,
    /// Those that were sent, then the one being sent, then those that wait.
    shots: VecDeque<Shot>,
    /// The number of the first of `shots`, counted from the first picture of the stream.
    first: u64,
    /// How many of `shots` were sent.
    done: usize,
    /// In the picture that is being sent; `None` before its first packet.
    place: Option<Place>,
    waiting_bytes: usize,
    kept_bytes: usize,
    awaits_keyframe: bool,
    sent: Sent,
    pacing: Pacing,
    counters: Counters,
}

impl Outgoing {
    /// SSRC, first sequence number and first timestamp must be random (RFC 3550 §5.1). `packetization_mode` is 0 or 1 and
    /// of H.264 only; `bitrate` is what the pictures are encoded with.
    pub fn new(
        codec: VideoCodec,
        payload_type: u8,
        ssrc: Ssrc,
        sequence: u16,
        timestamp: u32,
        packetization_mode: u8,
        bitrate: Bitrate,
    ) -> Self {
        Self {
            codec,
            payload_type,
            ssrc,
            seq: sequence,
            base: timestamp,
            last_units: None,
            picture_id: sequence & 0x7fff,
            fragments: packetization_mode == 1,
            bitrate,
            limit: None,
            shots: VecDeque::with_capacity(MAX_SHOTS),
            first: 0,
            done: 0,
            place: None,
            waiting_bytes: 0,
            kept_bytes: 0,
            awaits_keyframe: true,
            sent: Sent::new(),
            pacing: Pacing::new(bitrate),
            counters: Counters::default(),
        }
    }
}

// -- input -------------------------------------------------------------------------------------------------------------
impl Outgoing {
    /// The next picture, shown at `at` in the room's media time. Another rendition may follow at any keyframe. Ignored
    /// while a keyframe is awaited and this is none.
    pub fn push(&mut self, unit: &Arc<AccessUnit>, at: Duration) {
        if self.awaits_keyframe && !unit.is_keyframe {
            return;
        }
        let last_unit = packets::last_unit(unit);
        let fits = unit.codec == self.codec && unit.bytes.len() <= MAX_ACCESS_UNIT_BYTES;
        let Some(last_unit) = last_unit.filter(|_| fits) else {
            // Those that follow would refer to it.
            self.counters.dropped += 1;
            self.awaits_keyframe = true;
            return;
        };
        self.awaits_keyframe = false;
        // A timestamp that is not later than the last would make one picture of two.
        let units = units(at).max(self.last_units.map_or(0, |last| last + 1));
        self.last_units = Some(units);
        self.waiting_bytes += unit.bytes.len();
        self.shots.push_back(Shot {
            unit: Arc::clone(unit),
            at,
            timestamp: self.base.wrapping_add(units as u32),
            picture_id: 0,
            last_unit,
            finished: None,
        });
        if !self.bears_from(self.done) {
            self.shed();
        }
    }

    /// Media time zero is at another instant from now on: timestamps go on by the time that passes.
    pub fn rebase(&mut self, before: Instant, after: Instant) {
        if let Some(later) = after.checked_duration_since(before).map(units) {
            self.base = self.base.wrapping_add(later as u32);
            // What was before the new zero is before every picture to come.
            self.last_units = self.last_units.and_then(|last| last.checked_sub(later));
        } else {
            let earlier = units(before.saturating_duration_since(after));
            self.base = self.base.wrapping_sub(earlier as u32);
            self.last_units = self.last_units.map(|last| last + earlier);
        }
    }

    /// The far end did not get this packet. `true`: it will go again, as it was.
    pub fn nack(&mut self, now: Instant, seq: u16) -> bool {
        let kept = self.first..self.first + self.shots.len() as u64;
        self.sent.ask(now, seq, |picture| kept.contains(&picture))
    }

    /// What waits from this one of `shots` on is within the bounds.
    fn bears_from(&self, from: usize) -> bool {
        let Some((oldest, newest)) = self.shots.get(from).zip(self.shots.back()) else { return true };
        let bytes: usize = match from == self.done {
            true => self.waiting_bytes,
            false => self.shots.range(from..).map(|shot| shot.unit.bytes.len()).sum(),
        };
        newest.at.saturating_sub(oldest.at) <= LONGEST_WAIT
            && self.shots.len() - from <= MAX_WAITING_PICTURES
            && bytes <= MAX_WAITING_BYTES
    }

    /// Drops what waits up to the newest keyframe, or all of it. A picture that has begun is finished: at a rate far too
    /// low there would never be a whole one otherwise.
    fn shed(&mut self) {
        let from = (self.done + usize::from(self.place.is_some())).min(self.shots.len());
        let keyframe = (from..self.shots.len()).rev().find(|n| self.shots.get(*n).is_some_and(|s| s.unit.is_keyframe));
        let until = keyframe.filter(|n| self.bears_from(*n)).unwrap_or(self.shots.len());
        self.awaits_keyframe = until == self.shots.len();
        for shot in self.shots.drain(from..until) {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(shot.unit.bytes.len());
            self.counters.dropped += 1;
        }
    }
}

// -- output ------------------------------------------------------------------------------------------------------------
impl Outgoing {
    /// Writes the next packet that is due and gives its length. To be called about every 5 ms, each time until there is
    /// none: what is due is what twice the bitrate gives for the time since the last call, at most 10 ms of it and at
    /// least the rest of one packet; retransmissions go first, with half of that. `packet` should have
    /// [`MAX_PACKET_BYTES`].
    pub fn poll(&mut self, now: Instant, packet: &mut [u8]) -> Option<usize> {
        if self.pacing.grant(now) {
            self.forget(now);
        }
        while self.pacing.allows_again() {
            let Some(again) = self.sent.next_asked(now) else { break };
            // Forgotten since it was asked for.
            let Some(length) = self.write(&again, packet) else { continue };
            self.counters.retransmitted += 1;
            self.count(length, true);
            return Some(length);
        }
        while self.pacing.allows() {
            let shot = self.shots.get_mut(self.done)?;
            let place = match self.place {
                Some(place) => place,
                None => {
                    shot.picture_id = self.picture_id;
                    self.picture_id = (self.picture_id + 1) & 0x7fff;
                    Place::default()
                }
            };
            // `push` has seen that there is something to be sent, and the last piece ends the picture.
            let (piece, after) = place.piece(&shot.unit, self.fragments).expect("BUG: a picture without an end");
            let next = Packet {
                seq: self.seq,
                payload_type: self.payload_type,
                marker: piece.ends(shot.last_unit),
                picture: self.first + self.done as u64,
                piece,
            };
            let Some(length) = self.write(&next, packet) else {
                // Nothing can be made of it, nor of those that refer to it.
                self.counters.dropped += 1;
                self.finish(now);
                self.shed();
                continue;
            };
            self.place = Some(after);
            self.seq = self.seq.wrapping_add(1);
            self.sent.put(next);
            self.count(length, false);
            if next.marker {
                self.finish(now);
            }
            return Some(length);
        }
        None
    }

    fn write(&self, sent: &Packet, out: &mut [u8]) -> Option<usize> {
        let shot = self.shots.get(usize::try_from(sent.picture.checked_sub(self.first)?).ok()?)?;
        let payload = sent.piece.write(&shot.unit, shot.picture_id, out.get_mut(HEADER_BYTES..)?)?;
        write_header(out, sent.marker, sent.payload_type, sent.seq, shot.timestamp, self.ssrc);
        Some(HEADER_BYTES + payload)
    }

    fn count(&mut self, length: usize, again: bool) {
        self.pacing.sent(length, again);
        self.counters.packets += 1;
        self.counters.octets += (length - HEADER_BYTES) as u64;
    }

    /// The picture that is being sent joins those that were.
    fn finish(&mut self, now: Instant) {
        self.place = None;
        if let Some(shot) = self.shots.get_mut(self.done) {
            shot.finished = Some(now);
            self.done += 1;
            self.waiting_bytes = self.waiting_bytes.saturating_sub(shot.unit.bytes.len());
            self.kept_bytes += shot.unit.bytes.len();
        }
        self.forget(now);
    }

    /// Lets go of pictures that nobody can ask for any more.
    fn forget(&mut self, now: Instant) {
        while self.done > 0 {
            let Some(oldest) = self.shots.front() else { return };
            let is_old = oldest.finished.is_some_and(|at| now.saturating_duration_since(at) >= KEPT_FOR);
            if !is_old && self.done <= MAX_KEPT_PICTURES && self.kept_bytes <= MAX_KEPT_BYTES {
                return;
            }
            self.kept_bytes = self.kept_bytes.saturating_sub(oldest.unit.bytes.len());
            self.shots.pop_front();
            self.first += 1;
            self.done -= 1;
        }
    }
}

// -- terms -------------------------------------------------------------------------------------------------------------
impl Outgoing {
    /// What the pictures are encoded with from now on; the pacing follows.
    pub fn set_bitrate(&mut self, bitrate: Bitrate) {
        self.bitrate = bitrate;
        self.pacing.set(bitrate, self.limit);
    }

    /// The lowest of what the far end said that it takes (TMMBR, REMB, `b=AS`); `None` when it said nothing. Nothing goes
    /// out faster. Below the bitrate, see [`is_limited`](Self::is_limited), pictures get lost: the caller has to send a
    /// lower rendition.
    pub fn set_limit(&mut self, limit: Option<Bitrate>) {
        self.limit = limit;
        self.pacing.set(self.bitrate, limit);
    }

    /// As measured from the far end's reports; the same packet is not retransmitted twice within it.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.sent.set_round_trip(round_trip);
    }

    /// Other terms from the next packet on. SSRC, sequence numbers and timestamps run on; with another codec the stream
    /// begins anew with a keyframe.
    pub fn renegotiated(&mut self, codec: VideoCodec, payload_type: u8, packetization_mode: u8) {
        if codec != self.codec {
            self.restart();
        }
        self.codec = codec;
        self.payload_type = payload_type;
        self.fragments = packetization_mode == 1;
    }

    /// At a hold, and when it ends: drops what waits and what was kept, and begins anew with a keyframe. The time that
    /// passes until then passes in the timestamps, as they follow the room's media time.
    pub fn restart(&mut self) {
        self.first += self.shots.len() as u64;
        self.shots.clear();
        self.done = 0;
        self.place = None;
        self.waiting_bytes = 0;
        self.kept_bytes = 0;
        self.awaits_keyframe = true;
        self.sent.clear();
    }
}

// -- questions ---------------------------------------------------------------------------------------------------------
impl Outgoing {
    /// Nothing is sent until a keyframe comes. `false` while a picture of before is still going out slowly: a keyframe
    /// now would only get old behind it.
    pub fn wants_keyframe(&self) -> bool {
        self.awaits_keyframe && self.shots.len() == self.done
    }

    /// Nothing waits to be sent: `poll` has nothing to do but to let go of old pictures.
    pub fn is_idle(&self) -> bool {
        self.shots.len() == self.done && !self.sent.is_asked()
    }

    /// The far end takes less than the pictures need.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some_and(|limit| limit < self.bitrate)
    }

    /// For a sender report at the instant that is `at` in the room's media time and `ntp` for the wall clock, so that the
    /// far end can play sound and picture together (RFC 3550 §6.4.1). `None` before the first packet.
    pub fn sender_info(&self, at: Duration, ntp: u64) -> Option<SenderInfo> {
        (self.counters.packets > 0).then_some(SenderInfo {
            ntp,
            rtp_timestamp: self.base.wrapping_add(units(at) as u32),
            packets: self.counters.packets as u32,
            octets: self.counters.octets as u32,
        })
    }

    /// What happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The stream's source.
    pub const fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Of the pictures that are taken.
    pub const fn codec(&self) -> VideoCodec {
        self.codec
    }
}

/// Media time on the RTP clock.
fn units(at: Duration) -> u64 {
    at.as_secs() * u64::from(VIDEO_CLOCK_HZ) + u64::from(at.subsec_nanos()) * u64::from(VIDEO_CLOCK_HZ) / 1_000_000_000
}

#[cfg(test)]
mod tests;
