//! The receiving half of a peer: packets in order, to pictures, with everything that is wrong about them. Runs on the
//! peer's receiving thread; sends nothing itself, but says what feedback is due.

use super::depacketize;
use super::feedback::Feedback;
use super::seen::{Arrival, PictureSeen, Seen};
use crate::picture::Picture;
use crate::rtp_peer::rtcp;
use crate::sdp::VideoFormat;
use crate::video_codec::{Decoder, VideoCodec, is_keyframe};
use bytes::Bytes;
use rtp::packet::Packet;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use webrtc_util::marshal::Unmarshal;

/// A missing packet is asked for again after this long …
const NACK_AGAIN: Duration = Duration::from_millis(40);
/// … and so often at the most.
const NACKS: u32 = 5;
/// Keyframes are not asked for more often than this.
const PLI_AGAIN: Duration = Duration::from_millis(250);

/// How a peer receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiving {
    /// How long a missing packet is waited for.
    pub patience: Duration,
    /// Asks for missing packets.
    pub nacks: bool,
    /// Asks for a keyframe when a picture was lost or cannot be decoded.
    pub plis: bool,
    /// Decodes at all; many peers of a load test need not.
    pub decodes: bool,
}

impl Default for Receiving {
    fn default() -> Self {
        Self { patience: Duration::from_millis(200), nacks: true, plis: true, decodes: true }
    }
}

struct Missing {
    since: Instant,
    asked: u32,
    next: Instant,
}

struct InOrder {
    at: Instant,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    bytes: usize,
}

/// Packets of the picture that is under way.
#[derive(Default)]
struct Assembly {
    timestamp: u32,
    payloads: Vec<Bytes>,
    bytes: usize,
    is_damaged: bool,
}

pub(super) struct Screen {
    receiving: Receiving,
    formats: Vec<VideoFormat>,
    pub(super) seen: Seen,
    pub(super) latest: Option<Arc<Picture>>,
    ssrc: Option<u32>,
    highest: i64,
    base: i64,
    received: u64,
    /// Expected and received at the last report.
    reported: (i64, u64),
    jitter: f64,
    transit: Option<(Instant, u32)>,
    next: i64,
    waiting: BTreeMap<i64, InOrder>,
    missing: BTreeMap<i64, Missing>,
    had_gap: bool,
    assembly: Assembly,
    last_timestamp: Option<u32>,
    picture_id: Option<(u16, u32)>,
    decoder: Option<(VideoCodec, Decoder)>,
    /// Nothing is decoded before the next keyframe.
    needs_keyframe: bool,
    next_pli: Option<Instant>,
    payload_type: Option<u8>,
    last_sr: Option<(Instant, u32)>,
}

impl Screen {
    pub(super) fn new(receiving: Receiving, formats: Vec<VideoFormat>) -> Self {
        Self {
            receiving,
            formats,
            seen: Seen::default(),
            latest: None,
            ssrc: None,
            highest: 0,
            base: 0,
            received: 0,
            reported: (0, 0),
            jitter: 0.0,
            transit: None,
            next: 0,
            waiting: BTreeMap::new(),
            missing: BTreeMap::new(),
            had_gap: false,
            assembly: Assembly::default(),
            last_timestamp: None,
            picture_id: None,
            decoder: None,
            needs_keyframe: true,
            next_pli: None,
            payload_type: None,
            last_sr: None,
        }
    }

    pub(super) fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// From now on it may receive these.
    pub(super) fn set_formats(&mut self, formats: Vec<VideoFormat>) {
        self.formats = formats;
    }

    /// Forgets what was counted; the stream goes on.
    pub(super) fn forget(&mut self) {
        self.seen = Seen::default();
        self.latest = None;
    }

    pub(super) fn take_sender_report(&mut self, at: Instant, sender: &rtcp::SenderInfo) {
        self.last_sr = Some((at, (sender.ntp >> 16) as u32));
    }

    /// A report block on what was received, when anything was (RFC 3550 §6.4.1, A.3).
    pub(super) fn block(&mut self, now: Instant) -> Option<rtcp::ReportBlock> {
        let ssrc = self.ssrc?;
        let expected = self.highest - self.base + 1;
        let (of, got) = (expected - self.reported.0, (self.received - self.reported.1) as i64);
        self.reported = (expected, self.received);
        let fraction = if of > 0 { (of - got).max(0) * 256 / of } else { 0 };
        Some(rtcp::ReportBlock {
            ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: (expected - self.received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest as u32,
            jitter: self.jitter as u32,
            last_sr: self.last_sr.map_or(0, |s| s.1),
            delay_since_last_sr: self
                .last_sr
                .map_or(0, |s| (now.saturating_duration_since(s.0).as_secs_f64() * 65_536.0) as u32),
        })
    }

    /// A datagram came.
    pub(super) fn take(&mut self, at: Instant, datagram: &[u8]) {
        let Ok(packet) = Packet::unmarshal(&mut &*datagram) else {
            self.seen.complain(format!("{} bytes that are not RTP", datagram.len()));
            return;
        };
        let header = &packet.header;
        if !self.formats.iter().any(|f| f.payload_type == header.payload_type) {
            self.seen.complain(format!("payload type {}, which nobody agreed on", header.payload_type));
            return;
        }
        self.seen.packets += 1;
        self.seen.bytes += datagram.len() as u64;
        self.seen.largest_payload = self.seen.largest_payload.max(packet.payload.len());
        self.seen.arrivals.push(Arrival {
            at,
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload_type: header.payload_type,
            bytes: datagram.len(),
        });
        if self.ssrc != Some(header.ssrc) || self.payload_type != Some(header.payload_type) {
            self.begin(&packet);
        }
        self.follow(at, header.timestamp);
        let number = self.highest + i64::from(header.sequence_number.wrapping_sub(self.highest as u16) as i16);
        self.received += 1;
        if number > self.highest {
            for lost in self.highest + 1..number {
                self.missing.insert(lost, Missing { since: at, asked: 0, next: at });
            }
            self.highest = number;
        } else if self.missing.remove(&number).is_some() {
            self.seen.repaired += 1;
        } else if number < self.next || self.waiting.contains_key(&number) {
            // The first packet of a stream is its highest as well, and neither late nor known.
            self.seen.late_or_double += 1;
            return;
        }
        let (timestamp, marker) = (header.timestamp, header.marker);
        let packet = InOrder { at, timestamp, marker, payload: packet.payload, bytes: datagram.len() };
        self.waiting.insert(number, packet);
        self.drain(at);
    }

    /// A new stream, or the old one with another codec.
    fn begin(&mut self, packet: &Packet) {
        let number = i64::from(packet.header.sequence_number);
        if self.ssrc != Some(packet.header.ssrc) {
            self.seen.ssrc_changes += u64::from(self.ssrc.is_some());
            self.ssrc = Some(packet.header.ssrc);
            (self.highest, self.base, self.next) = (number, number, number);
            (self.received, self.reported) = (0, (0, 0));
            (self.jitter, self.transit, self.last_timestamp) = (0.0, None, None);
            self.waiting.clear();
            self.missing.clear();
        }
        self.payload_type = Some(packet.header.payload_type);
        self.assembly = Assembly::default();
        self.picture_id = None;
        self.decoder = None;
        self.needs_keyframe = true;
        self.next_pli = None;
    }

    fn follow(&mut self, at: Instant, timestamp: u32) {
        if let Some((before, last)) = self.transit {
            let arrived = at.saturating_duration_since(before).as_secs_f64() * 90_000.0;
            let sent = f64::from(timestamp.wrapping_sub(last) as i32);
            self.jitter += ((arrived - sent).abs() - self.jitter) / 16.0;
        }
        self.transit = Some((at, timestamp));
    }

    /// Gives up what is missing for too long; says what feedback is due.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Feedback> {
        self.drain(now);
        let Some(media) = self.ssrc else { return Vec::new() };
        let mut due = Vec::new();
        if self.receiving.nacks {
            let asked = self.missing.iter_mut().filter(|(_, m)| m.next <= now && m.asked < NACKS);
            let missing: Vec<u16> = asked
                .map(|(&number, m)| {
                    (m.asked, m.next) = (m.asked + 1, now + NACK_AGAIN);
                    number as u16
                })
                .collect();
            if !missing.is_empty() {
                due.push(Feedback::Nack { media, missing });
            }
        }
        let is_due = self.next_pli.is_none_or(|next| next <= now);
        if self.receiving.plis && self.needs_keyframe && is_due && self.missing.is_empty() {
            self.next_pli = Some(now + PLI_AGAIN);
            due.push(Feedback::Pli { media });
        }
        due
    }

    /// Whether time alone may change something.
    pub(super) fn is_waiting(&self) -> bool {
        !self.missing.is_empty() || self.needs_keyframe
    }

    fn drain(&mut self, now: Instant) {
        loop {
            if let Some(packet) = self.waiting.remove(&self.next) {
                self.next += 1;
                self.in_order(packet);
                continue;
            }
            match self.missing.get(&self.next) {
                Some(missing) if now.saturating_duration_since(missing.since) >= self.receiving.patience => {
                    self.missing.remove(&self.next);
                    self.next += 1;
                    self.seen.lost += 1;
                    self.had_gap = true;
                }
                _ => return,
            }
        }
    }

    fn in_order(&mut self, packet: InOrder) {
        let had_gap = std::mem::take(&mut self.had_gap);
        if packet.payload.is_empty() {
            // Padding only.
            return;
        }
        let is_next = self.assembly.payloads.is_empty() || packet.timestamp != self.assembly.timestamp;
        if is_next {
            if !self.assembly.payloads.is_empty() {
                self.assembly.is_damaged |= had_gap;
                self.seen.marker_errors += u64::from(!had_gap);
                self.finish(packet.at);
            }
            let step = self.last_timestamp.map(|last| packet.timestamp.wrapping_sub(last) as i32);
            self.seen.timestamp_errors += u64::from(step.is_some_and(|step| step <= 0) && !had_gap);
            self.assembly.timestamp = packet.timestamp;
            // What was lost may have been the beginning of this picture, unless it plainly begins here.
            self.assembly.is_damaged = had_gap && !self.begins_keyframe(&packet.payload);
            self.follow_picture_id(&packet.payload, had_gap);
        } else {
            self.assembly.is_damaged |= had_gap;
        }
        self.assembly.bytes += packet.bytes;
        self.assembly.payloads.push(packet.payload);
        if packet.marker {
            self.finish(packet.at);
        }
    }

    fn format(&self) -> Option<&VideoFormat> {
        self.formats.iter().find(|f| Some(f.payload_type) == self.payload_type)
    }

    fn begins_keyframe(&self, payload: &[u8]) -> bool {
        match self.format().map(|f| f.codec) {
            // SPS alone, or in a STAP-A.
            Some(VideoCodec::H264) => {
                let kinds = [payload.first(), payload.get(3)].map(|b| b.map_or(0, |b| b & 0x1f));
                kinds[0] == 7 || kinds == [24, 7]
            }
            Some(VideoCodec::Vp8) => payload.first().is_some_and(|b| b & 0x17 == 0x10),
            None => false,
        }
    }

    fn follow_picture_id(&mut self, payload: &[u8], had_gap: bool) {
        if self.format().is_none_or(|f| f.codec != VideoCodec::Vp8) {
            return;
        }
        let id = depacketize::vp8_picture_id(payload);
        if let (Some((last, _)), Some((id, bits))) = (self.picture_id, id) {
            let wanted = last.wrapping_add(1) & ((1 << bits) - 1);
            self.seen.picture_id_errors += u64::from(id != wanted && !had_gap);
        }
        self.picture_id = id;
    }

    /// The picture under way is as whole as it will be.
    fn finish(&mut self, at: Instant) {
        let assembly = std::mem::take(&mut self.assembly);
        self.last_timestamp = Some(assembly.timestamp);
        let Some(format) = self.format() else { return };
        let (codec, mode) = (format.codec, format.packetization_mode());
        if assembly.is_damaged {
            self.seen.damaged += 1;
            self.needs_keyframe = true;
            return;
        }
        let unit = match depacketize::access_unit(codec, mode, &assembly.payloads) {
            Ok(unit) => unit,
            Err(why) => {
                self.seen.complain(why);
                self.needs_keyframe = true;
                return;
            }
        };
        let keyframe = is_keyframe(codec, &unit);
        self.seen.units += 1;
        self.seen.keyframes += u64::from(keyframe);
        if keyframe {
            self.seen.last_keyframe = Some(at);
        }
        if self.needs_keyframe && !keyframe {
            self.seen.undecodable += 1;
            return;
        }
        self.needs_keyframe = false;
        if !self.receiving.decodes {
            return;
        }
        let (_, decoder) = self.decoder.get_or_insert_with(|| (codec, Decoder::new(codec)));
        match decoder.decode(&unit) {
            Ok(Some(picture)) => self.show(at, &assembly, keyframe, picture),
            Ok(None) => self.seen.complain("an access unit without a picture".to_owned()),
            Err(why) => {
                self.seen.complain(why);
                self.seen.undecodable += 1;
                self.needs_keyframe = true;
            }
        }
    }

    fn show(&mut self, at: Instant, assembly: &Assembly, keyframe: bool, picture: Picture) {
        let size = picture.size();
        if self.seen.sizes.last() != Some(&size) {
            self.seen.sizes.push(size);
        }
        self.seen.pictures.push(PictureSeen {
            at,
            timestamp: assembly.timestamp,
            size,
            keyframe,
            bytes: assembly.bytes,
            mean_luma: picture.mean_luma(),
        });
        self.latest = Some(Arc::new(picture));
    }
}
