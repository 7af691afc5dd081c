//! The send side of a leg: from one payload a tick to RTP packets (RFC 3550 §5.1) of 20, 40 or 60 ms, with sequence
//! numbers and timestamps that run on through silence, skipped ticks and renegotiation. Runs on the worker's thread;
//! allocates only when a packet time above one tick is agreed. No clock: a tick is 20 ms by definition.

use std::time::Duration;

use opus::Repacketizer;

use crate::rtp::packet::{HEADER_BYTES, write_header};
use crate::rtp::rtcp::SenderInfo;
use crate::sdp::CodecName;
use crate::units::Ssrc;

/// The largest Opus frame (RFC 6716 §3.4); a G.711 tick has 160 bytes.
pub(crate) const MAX_FRAME_BYTES: usize = 1_275;
/// Payload of a merged packet, so that it fits into one Ethernet frame. A single frame may be larger.
const MERGED_BYTES: usize = 1_200;
/// Large enough for every packet that [`Sender::push`] makes: `MERGED_BYTES` or one frame, and what merging adds.
pub(crate) const MAX_PACKET_BYTES: usize = HEADER_BYTES + MAX_FRAME_BYTES + 16;
/// 60 ms.
const MAX_FRAMES: usize = 3;

/// One leg's outgoing RTP stream.
#[derive(Debug)]
pub(crate) struct Sender {
    ssrc: Ssrc,
    codec: CodecName,
    pt: u8,
    seq: u16,
    /// Of the tick that the next `push` is for.
    timestamp: u32,
    /// The next packet begins a talk spurt (RFC 3551 §4.1).
    marker: bool,
    packets: u64,
    octets: u64,
    /// `None` while a packet is a tick.
    merge: Option<Box<Merge>>,
}

impl Sender {
    /// The first sequence number, timestamp and SSRC must be random (RFC 3550 §5.1). `ptime_ms` is 20, 40 or 60.
    pub(crate) fn new(codec: CodecName, pt: u8, ptime_ms: u8, ssrc: Ssrc, seq: u16, timestamp: u32) -> Self {
        let merge = Merge::new(codec, ptime_ms);
        Self { ssrc, codec, pt, seq, timestamp, marker: true, packets: 0, octets: 0, merge }
    }

    /// Other terms from the next tick on. SSRC, sequence numbers and timestamps run on (in the new codec's units); what
    /// waits to be merged is dropped.
    pub(crate) fn renegotiated(&mut self, codec: CodecName, pt: u8, ptime_ms: u8) {
        self.marker |= codec != self.codec;
        self.codec = codec;
        self.pt = pt;
        self.merge = Merge::new(codec, ptime_ms);
    }

    /// One tick: the encoded frame of 20 ms, or `None` when nothing is to be sent (DTX, hold). Gives the length of a
    /// packet in `out` that is ready to be sent; never more than one a tick. `out` should have [`MAX_PACKET_BYTES`].
    pub(crate) fn push(&mut self, payload: Option<&[u8]>, out: &mut [u8]) -> Option<usize> {
        let now = self.timestamp;
        self.skip(1);
        let payload = payload.filter(|p| !p.is_empty() && p.len() <= MAX_FRAME_BYTES);
        let Some(mut merge) = self.merge.take() else {
            return match payload {
                Some(payload) => {
                    out.get_mut(HEADER_BYTES..)?.get_mut(..payload.len())?.copy_from_slice(payload);
                    self.packet(now, payload.len(), out)
                }
                None => {
                    self.marker = true;
                    None
                }
            };
        };
        let sent = self.merged(&mut merge, now, payload, out);
        self.merge = Some(merge);
        sent
    }

    /// Ticks that passed without a `push`: their time passes in the stream too.
    pub(crate) fn skip(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks.wrapping_mul(self.tick_units()));
    }

    /// Time in which nothing could be sent, of any length: the next packet begins anew.
    pub(crate) fn pause(&mut self, time: Duration) {
        let units = time.as_micros() * u128::from(self.codec.clock_hz()) / 1_000_000;
        self.timestamp = self.timestamp.wrapping_add(units as u32);
        self.marker = true;
    }

    /// For a sender report at the instant `ntp`, which is that of the next tick. `None` before the first packet.
    pub(crate) fn sender_info(&self, ntp: u64) -> Option<SenderInfo> {
        (self.packets > 0).then_some(SenderInfo {
            ntp,
            rtp_timestamp: self.timestamp,
            packets: self.packets as u32,
            octets: self.octets as u32,
        })
    }

    pub(crate) fn ssrc(&self) -> Ssrc {
        self.ssrc
    }
    /// RTP packets made.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }
    /// Payload bytes in them.
    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    const fn tick_units(&self) -> u32 {
        self.codec.clock_hz() / 50
    }

    /// Adds the frame to those that wait. Sends them when they are enough, when a pause follows, or when the frame
    /// cannot join them; in the last case the frame waits alone.
    fn merged(&mut self, merge: &mut Merge, now: u32, payload: Option<&[u8]>, out: &mut [u8]) -> Option<usize> {
        let Some(payload) = payload else {
            let sent = self.flush(merge, out);
            self.marker = true;
            return sent;
        };
        if merge.takes(now, self.tick_units(), payload) {
            merge.add(now, payload);
            if merge.count < merge.full {
                return None;
            }
            return self.flush(merge, out);
        }
        let sent = self.flush(merge, out);
        merge.add(now, payload);
        sent
    }

    fn flush(&mut self, merge: &mut Merge, out: &mut [u8]) -> Option<usize> {
        let begin = merge.begin;
        let length = merge.take(self.codec, out.get_mut(HEADER_BYTES..).unwrap_or_default())?;
        self.packet(begin, length, out)
    }

    /// Completes a packet whose payload is in place.
    fn packet(&mut self, timestamp: u32, payload_bytes: usize, out: &mut [u8]) -> Option<usize> {
        let header = write_header(out, self.marker, self.pt, self.seq, timestamp, self.ssrc);
        self.marker = false;
        self.seq = self.seq.wrapping_add(1);
        self.packets += 1;
        self.octets += payload_bytes as u64;
        Some(header + payload_bytes)
    }
}

/// Frames that wait for each other.
#[derive(Debug)]
struct Merge {
    full: usize,
    count: usize,
    /// RTP timestamp of the first.
    begin: u32,
    /// One after the other: one frame of any size, or several of `MERGED_BYTES` together.
    bytes: [u8; MAX_FRAME_BYTES],
    lengths: [usize; MAX_FRAMES],
    /// `None` for G.711, whose frames need no seam.
    opus: Option<Repacketizer>,
}

impl Merge {
    fn new(codec: CodecName, ptime_ms: u8) -> Option<Box<Self>> {
        let full = usize::from(ptime_ms / 20).min(MAX_FRAMES);
        // Without memory for a repacketizer the leg sends 20 ms, which every receiver takes.
        let opus = if codec == CodecName::Opus && full > 1 { Some(Repacketizer::new().ok()?) } else { None };
        let empty = Self { full, count: 0, begin: 0, bytes: [0; MAX_FRAME_BYTES], lengths: [0; MAX_FRAMES], opus };
        (full > 1).then(|| Box::new(empty))
    }

    fn used(&self) -> usize {
        self.lengths.iter().take(self.count).sum()
    }

    /// Whether the frame can be in one packet with those that wait: next in time, small enough, and for Opus of the same
    /// mode, bandwidth, frame size and channels (RFC 6716 §3.1, the upper six bits of the first byte).
    fn takes(&self, now: u32, tick_units: u32, frame: &[u8]) -> bool {
        if self.count == 0 {
            return true;
        }
        let next = self.begin.wrapping_add(tick_units.wrapping_mul(self.count as u32));
        let mode = |frame: &[u8]| frame.first().map(|toc| toc >> 2);
        let alike = self.opus.is_none() || mode(&self.bytes) == mode(frame);
        next == now && alike && self.used() + frame.len() <= MERGED_BYTES
    }

    fn add(&mut self, now: u32, frame: &[u8]) {
        if self.count == 0 {
            self.begin = now;
        }
        let at = self.used();
        let place = self.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..frame.len()));
        place.expect("BUG: `takes` has checked the room").copy_from_slice(frame);
        *self.lengths.get_mut(self.count).expect("BUG: a full merge is sent at once") = frame.len();
        self.count += 1;
    }

    /// Writes what waits as one payload and forgets it. `None` when nothing waits, or it does not fit into `out`.
    fn take(&mut self, codec: CodecName, out: &mut [u8]) -> Option<usize> {
        let (count, used) = (std::mem::take(&mut self.count), self.lengths);
        let (first, rest) = self.bytes.split_at_checked(*used.first()?)?;
        let (second, rest) = rest.split_at_checked(if count > 1 { *used.get(1)? } else { 0 })?;
        let (third, _) = rest.split_at_checked(if count > 2 { *used.get(2)? } else { 0 })?;
        let frames = [first, second, third];
        let frames = frames.get(..count).filter(|f| !f.is_empty())?;
        if let (CodecName::Opus, Some(repacketizer), 2..) = (codec, &mut self.opus, count) {
            return repacketizer.combine(frames, out).ok();
        }
        let mut length = 0;
        for frame in frames {
            out.get_mut(length..)?.get_mut(..frame.len())?.copy_from_slice(frame);
            length += frame.len();
        }
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use opus::{Application, Channels, Decoder, Encoder};

    use super::*;
    use crate::rtp::packet::RtpPacket;

    const SSRC: Ssrc = Ssrc(0x0bad_cafe);

    fn sender(codec: CodecName, ptime_ms: u8) -> Sender {
        Sender::new(codec, 96, ptime_ms, SSRC, 65_534, u32::MAX - 100)
    }

    #[derive(Debug, PartialEq)]
    struct Sent {
        tick: usize,
        marker: bool,
        seq: u16,
        /// Since the first tick.
        timestamp: u32,
        payload: Vec<u8>,
    }

    fn run<'a>(sender: &mut Sender, frames: impl IntoIterator<Item = Option<&'a [u8]>>) -> Vec<Sent> {
        let mut out = [0; MAX_PACKET_BYTES];
        let first = u32::MAX - 100;
        let mut all = Vec::new();
        for (tick, frame) in frames.into_iter().enumerate() {
            if let Some(length) = sender.push(frame, &mut out) {
                let packet = RtpPacket::parse(&out[..length]).unwrap();
                assert_eq!((packet.ssrc, packet.payload_type), (SSRC, 96));
                all.push(Sent {
                    tick,
                    marker: packet.marker,
                    seq: packet.seq,
                    timestamp: packet.timestamp.wrapping_sub(first),
                    payload: packet.payload.to_vec(),
                });
            }
        }
        all
    }

    const A: Option<&[u8]> = Some(&[1; 160]);
    const B: Option<&[u8]> = Some(&[2; 160]);

    #[test]
    fn every_tick_is_a_packet_and_the_first_has_the_marker() {
        let sent = run(&mut sender(CodecName::Pcmu, 20), [A, B, A]);
        assert_eq!(sent.iter().map(|s| s.seq).collect::<Vec<_>>(), [65_534, 65_535, 0]);
        assert_eq!(sent.iter().map(|s| s.timestamp).collect::<Vec<_>>(), [0, 160, 320]);
        assert_eq!(sent.iter().map(|s| s.marker).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(sent[1].payload, [2; 160]);
    }

    #[test]
    fn a_pause_moves_the_timestamp_and_not_the_sequence_and_ends_with_a_marker() {
        for ptime in [20, 40, 60] {
            let frames = [A, A, A, A, A, A, None, None, B, B, B, B, B, B];
            let sent = run(&mut sender(CodecName::Pcma, ptime), frames);
            let per = u32::from(ptime / 20);
            assert_eq!(sent.len() as u32, 12 / per, "{ptime}");
            let spurt = &sent[sent.len() / 2];
            assert_eq!((spurt.marker, spurt.timestamp), (true, 8 * 160), "{ptime}");
            assert_eq!(sent.iter().filter(|s| s.marker).count(), 2, "{ptime}");
            for pair in sent.windows(2) {
                assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{ptime}");
            }
        }
    }

    #[test]
    fn g711_ticks_are_joined_and_a_pause_sends_what_waits() {
        let sent = run(&mut sender(CodecName::Pcmu, 60), [A, B, A, A, None, B]);
        assert_eq!(
            sent.iter().map(|s| (s.tick, s.timestamp, s.payload.len())).collect::<Vec<_>>(),
            [(2, 0, 480), (4, 480, 160)]
        );
        assert_eq!(sent[0].payload, [[1; 160], [2; 160], [1; 160]].concat());
    }

    #[test]
    fn skipped_ticks_pass_in_the_stream_and_part_what_waits() {
        let mut sender = sender(CodecName::Pcmu, 40);
        let mut out = [0; MAX_PACKET_BYTES];
        assert_eq!(sender.push(A, &mut out), None);
        sender.skip(3);
        // The first frame goes alone, the second waits for its own neighbour.
        assert_eq!(sender.push(B, &mut out), Some(HEADER_BYTES + 160));
        let first = RtpPacket::parse(&out).unwrap().timestamp;
        assert_eq!(sender.push(B, &mut out), Some(HEADER_BYTES + 320));
        let second = RtpPacket::parse(&out).unwrap();
        assert_eq!((second.timestamp.wrapping_sub(first), second.marker), (4 * 160, false));
    }

    #[test]
    fn opus_frames_are_merged_into_packets_that_decode_to_the_same_time() {
        let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
        let mut frames = Vec::new();
        let mut rate = [12_000, 64_000].into_iter().cycle();
        for n in 0..60 {
            if n % 10 == 0 {
                // The mode changes on the way: those frames cannot share a packet.
                encoder.set_bitrate(opus::Bitrate::Bits(rate.next().unwrap())).unwrap();
            }
            let pcm: Vec<i16> =
                (0..960).map(|i| ((n * 960 + i) as f32 * 0.05).sin() * 8_000.0).map(|s| s as i16).collect();
            let mut out = [0; MAX_FRAME_BYTES];
            let length = encoder.encode(&pcm, &mut out).unwrap();
            frames.push(out[..length].to_vec());
        }
        assert!(frames.windows(2).any(|w| w[0][0] >> 2 != w[1][0] >> 2));
        for ptime in [40, 60] {
            let mut sender = sender(CodecName::Opus, ptime);
            let ticks = frames.iter().map(|f| Some(f.as_slice())).chain([None]);
            let sent = run(&mut sender, ticks);
            assert!(sent.len() < 45, "{}", sent.len());
            let mut decoder = Decoder::new(48_000, Channels::Mono).unwrap();
            let mut expected = 0;
            for packet in &sent {
                assert_eq!(packet.timestamp, expected);
                let samples = decoder.decode(&packet.payload, &mut [0i16; 2880], false).unwrap();
                expected += samples as u32;
            }
            assert_eq!(expected, 60 * 960);
            assert_eq!(sender.packets(), sent.len() as u64);
        }
    }

    #[test]
    fn large_frames_stay_below_one_ethernet_frame() {
        let large = [7; 700];
        let sent = run(&mut sender(CodecName::Opus, 60), [Some(&large[..]); 5]);
        assert!(sent.iter().all(|s| s.payload.len() == 700), "each goes alone");
        assert_eq!(sent.len(), 4);
        let largest = [7; MAX_FRAME_BYTES];
        assert_eq!(run(&mut sender(CodecName::Opus, 60), [Some(&largest[..]), None]).len(), 1);
        assert_eq!(run(&mut sender(CodecName::Opus, 20), [Some(&[7; 2_000][..])]).len(), 0);
    }

    #[test]
    fn counters_are_what_a_sender_report_says() {
        let mut sender = sender(CodecName::Pcmu, 20);
        assert_eq!(sender.sender_info(9), None);
        run(&mut sender, [A, None, B]);
        let info = sender.sender_info(9).unwrap();
        assert_eq!((info.ntp, info.packets, info.octets), (9, 2, 320));
        assert_eq!(info.rtp_timestamp, (u32::MAX - 100).wrapping_add(480));
        assert_eq!((sender.packets(), sender.octets(), sender.ssrc()), (2, 320, SSRC));
    }

    #[test]
    fn renegotiation_keeps_the_stream_and_marks_another_codec() {
        let mut sender = sender(CodecName::Pcmu, 40);
        run(&mut sender, [A, A, A]);
        sender.renegotiated(CodecName::Opus, 96, 20);
        let sent = run(&mut sender, [A, A]);
        assert_eq!((sent[0].seq, sent[0].marker, sent[0].timestamp), (65_535, true, 480));
        assert_eq!((sent[1].seq, sent[1].marker, sent[1].timestamp), (0, false, 480 + 960));
    }

    #[test]
    fn a_buffer_too_small_loses_the_packet_and_nothing_else() {
        for ptime in [20, 40, 60] {
            let mut sender = sender(CodecName::Pcmu, ptime);
            for _ in 0..6 {
                assert_eq!(sender.push(A, &mut [0; 40]), None);
                assert_eq!(sender.push(A, &mut []), None);
            }
            assert_eq!(sender.packets(), 0);
            assert_eq!(run(&mut sender, [A; 6]).len(), 6 / usize::from(ptime / 20));
        }
    }
}
