//! Whole streams, packetized by the `rtp` crate, over a network that loses, repeats and reorders: what comes out can be
//! decoded, and comes back soon.

use bytes::Bytes;
use proptest::prelude::*;
use rtp::codecs::h264::H264Payloader;
use rtp::codecs::vp8::Vp8Payloader;
use rtp::packetizer::Payloader;

use super::*;

const BOTH: [VideoCodec; 2] = [VideoCodec::H264, VideoCodec::Vp8];
const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
struct Sent {
    seq: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// A sender: frames numbered from 0, of which each names itself in its last bytes.
struct Sender {
    codec: VideoCodec,
    h264: H264Payloader,
    vp8: Vp8Payloader,
    seq: u16,
    frames: u32,
}

impl Sender {
    fn new(codec: VideoCodec, seq: u16) -> Self {
        Self { codec, h264: H264Payloader::default(), vp8: Vp8Payloader::default(), seq, frames: 0 }
    }

    /// The packets of the next frame, with so many bytes of picture.
    fn frame(&mut self, is_key: bool, length: usize) -> Vec<Sent> {
        let number = self.frames;
        self.frames += 1;
        let bytes = Bytes::from(picture(self.codec, is_key, length, number));
        let payloads = match self.codec {
            VideoCodec::H264 => self.h264.payload(1000, &bytes),
            VideoCodec::Vp8 => self.vp8.payload(1000, &bytes),
        };
        let payloads = payloads.unwrap();
        let last = payloads.len() - 1;
        payloads.iter().enumerate().map(|(i, payload)| self.packet(timestamp(number), i == last, payload)).collect()
    }

    fn packet(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> Sent {
        self.seq = self.seq.wrapping_add(1);
        Sent { seq: self.seq, timestamp, marker, payload: payload.to_vec() }
    }
}

/// 30 frames a second, across the wrap.
fn timestamp(number: u32) -> u32 {
    0xffff_0000u32.wrapping_add(number * 3000)
}

fn number(timestamp: u32) -> u32 {
    timestamp.wrapping_sub(0xffff_0000) / 3000
}

fn picture(codec: VideoCodec, is_key: bool, length: usize, number: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = match (codec, is_key) {
        (VideoCodec::H264, true) => [
            &[0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80][..],
            &[0, 0, 0, 1, 0x65, 0x88, 0x84],
        ]
        .concat(),
        (VideoCodec::H264, false) => vec![0, 0, 0, 1, 0x41, 0x9a, 0x24],
        (VideoCodec::Vp8, true) => vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 2, 0xe0, 1],
        (VideoCodec::Vp8, false) => vec![0x11, 0, 0],
    };
    bytes.extend((0..length).map(|i| (i % 199) as u8 + 7));
    bytes.extend(number.to_be_bytes().map(|byte| byte | 0x80));
    bytes
}

/// A receiver, and what it gave.
struct Receiver {
    reception: Reception,
    now: Instant,
    unit: AccessUnit,
    got: Vec<(u32, bool, Vec<u8>)>,
}

impl Receiver {
    fn new(codec: VideoCodec) -> Self {
        let reception = Reception::new(codec);
        Self { reception, now: Instant::now(), unit: AccessUnit::empty(codec), got: Vec::new() }
    }

    fn hear(&mut self, sent: &Sent) {
        self.reception.accept(self.now, sent.seq, sent.timestamp, sent.marker, &sent.payload);
    }

    fn drain(&mut self) {
        while let Some(received) = self.reception.take(self.now, &mut self.unit) {
            assert!(received.arrived <= self.now);
            assert!(self.unit.bytes.len() <= MAX_ACCESS_UNIT_BYTES && self.unit.codec == self.reception.codec());
            self.got.push((received.timestamp, self.unit.is_keyframe, self.unit.bytes.clone()));
        }
    }

    fn take_all(&mut self, packets: &[Sent]) {
        for sent in packets {
            self.hear(sent);
            self.drain();
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.drain();
    }

    fn numbers(&self) -> Vec<u32> {
        self.got.iter().map(|(timestamp, ..)| number(*timestamp)).collect()
    }

    fn nacked(&mut self, rtt: Duration) -> Vec<u16> {
        std::iter::from_fn(|| self.reception.poll_nack(self.now, Some(rtt))).flat_map(Nack::seqs).collect()
    }
}

fn sizes(number: u32) -> usize {
    [40, 3000, 900, 7000, 1500][number as usize % 5]
}

#[test]
fn frames_come_out_as_they_were_sent_and_as_soon_as_they_are_whole() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 65_000), Receiver::new(codec));
        for n in 0..400 {
            let packets = sender.frame(n % 100 == 0, sizes(n));
            receiver.take_all(&packets);
            let (got, is_key, bytes) = receiver.got.last().unwrap();
            assert_eq!((number(*got), *is_key), (n, n % 100 == 0));
            assert_eq!(*bytes, picture(codec, n % 100 == 0, sizes(n), n));
            receiver.wait(33 * MS);
        }
        let stats = receiver.reception.stats();
        assert_eq!((stats.frames, stats.keyframes, stats.dropped_frames), (400, 4, 0));
        assert_eq!((stats.lost, stats.duplicate, stats.late, stats.discarded), (0, 0, 0, 0));
        assert!(!receiver.reception.wants_keyframe(receiver.now));
        assert!(stats.jitter < 90, "{}", stats.jitter);
    }
}

#[test]
fn senders_without_marker_end_a_frame_with_the_next() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        for n in 0..30 {
            let mut packets = sender.frame(n == 0, sizes(n));
            packets.iter_mut().for_each(|sent| sent.marker = false);
            receiver.take_all(&packets);
            assert_eq!(receiver.numbers(), (0..n).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_sender_that_marks_every_packet_is_seen_through() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        for n in 0..60 {
            let mut packets = sender.frame(n % 20 == 0, 3000);
            packets.iter_mut().for_each(|sent| sent.marker = true);
            receiver.take_all(&packets);
        }
        let whole = receiver.got.iter().filter(|(at, key, bytes)| *bytes == picture(codec, *key, 3000, number(*at)));
        assert!(whole.count() >= 39, "{codec:?}: {:?}", receiver.numbers());
    }
}

#[test]
fn marked_parameter_sets_and_padding_are_no_frames() {
    let mut sender = Sender::new(VideoCodec::H264, 7);
    let mut receiver = Receiver::new(VideoCodec::H264);
    let mut packets = vec![sender.packet(5, true, &[0x67, 0x42, 0xc0, 0x1f]), sender.packet(5, true, &[0x68, 0xce])];
    packets.push(sender.packet(6, false, &[0x65, 0x88, 1]));
    packets.push(sender.packet(99, true, &[]));
    packets.push(sender.packet(6, true, &[0x65, 0x28, 2]));
    packets.push(sender.packet(6, false, &[]));
    packets.push(sender.packet(7, true, &[0x41, 0x9a, 3]));
    receiver.take_all(&packets);
    let got: Vec<_> = receiver.got.iter().map(|(timestamp, key, bytes)| (*timestamp, *key, bytes.len())).collect();
    assert_eq!(got, [(6, true, 8 + 6 + 7 + 7), (7, false, 7)]);
    assert_eq!(receiver.reception.stats().dropped_frames, 0);
}

#[test]
fn timestamps_that_change_within_a_frame_do_not_split_it() {
    for codec in BOTH {
        for has_marker in [true, false] {
            let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
            for n in 0..60 {
                let mut packets = sender.frame(n % 5 == 0, sizes(n));
                for (i, sent) in packets.iter_mut().enumerate() {
                    sent.timestamp = sent.timestamp.wrapping_add(i as u32);
                    sent.marker &= has_marker;
                }
                receiver.take_all(&packets);
            }
            receiver.take_all(&sender.frame(true, 10));
            assert_eq!(receiver.numbers(), (0..61).collect::<Vec<_>>(), "{codec:?} {has_marker}");
            for (n, (_, key, bytes)) in receiver.got.iter().take(60).enumerate() {
                assert_eq!(*bytes, picture(codec, *key, sizes(n as u32), n as u32));
            }
        }
    }
}

#[test]
fn damage_without_loss_costs_all_up_to_the_next_key_frame() {
    for (codec, rubbish) in [(VideoCodec::H264, &[0xffu8, 1, 2][..]), (VideoCodec::Vp8, &[0x00, 1, 2])] {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        receiver.take_all(&sender.frame(true, 3000));
        assert!(!receiver.reception.wants_keyframe(receiver.now));
        let rubbish = sender.packet(timestamp(0) + 5, true, rubbish);
        receiver.take_all(&[rubbish]);
        receiver.take_all(&sender.frame(false, 3000));
        assert!(receiver.reception.wants_keyframe(receiver.now));
        receiver.take_all(&sender.frame(true, 3000));
        receiver.take_all(&sender.frame(false, 3000));
        assert_eq!(receiver.numbers(), [0, 2, 3]);
    }
}

#[test]
fn a_lost_packet_costs_all_up_to_the_next_key_frame_and_one_is_asked_for() {
    for codec in BOTH {
        for lost in 0..5 {
            let (mut sender, mut receiver) = (Sender::new(codec, 65_530), Receiver::new(codec));
            receiver.take_all(&sender.frame(true, 3000));
            receiver.take_all(&sender.frame(false, 3000));
            receiver.wait(600 * MS);
            let mut packets = sender.frame(false, 4500);
            packets.remove(lost);
            receiver.take_all(&packets);
            for _ in 0..4 {
                receiver.wait(16 * MS);
                receiver.take_all(&sender.frame(false, 100));
            }
            assert_eq!(receiver.numbers(), [0, 1]);
            // The gap is seen with the frame's last packet, or with the next frame.
            receiver.wait(if lost == 4 { 50 * MS } else { Duration::ZERO });
            assert!(receiver.reception.wants_keyframe(receiver.now), "{codec:?} {lost}");
            assert!(!receiver.reception.wants_keyframe(receiver.now));
            receiver.take_all(&sender.frame(false, 3000));
            receiver.take_all(&sender.frame(true, 3000));
            receiver.take_all(&sender.frame(false, 3000));
            assert_eq!(receiver.numbers(), [0, 1, 8, 9], "{codec:?} {lost}");
            assert_eq!(receiver.reception.stats().dropped_frames, 6);
            assert_eq!(receiver.reception.stats().lost, 1);
        }
    }
}

#[test]
fn a_key_frame_right_after_a_gap_is_taken_only_from_its_evident_beginning() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        receiver.take_all(&sender.frame(true, 100));
        sender.frame(false, 3000);
        receiver.take_all(&sender.frame(true, 3000));
        receiver.wait(REORDER_FOR);
        assert_eq!(receiver.numbers(), [0, 2]);
        sender.frame(false, 3000);
        receiver.take_all(&sender.frame(true, 3000)[1..]);
        receiver.wait(REORDER_FOR);
        receiver.take_all(&sender.frame(true, 3000));
        assert_eq!(receiver.numbers(), [0, 2, 5]);
    }
}

#[test]
fn missing_packets_are_asked_for_five_times_at_most_and_each_comes_in_its_place() {
    let rtt = 30 * MS;
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 65_500), Receiver::new(codec));
        receiver.reception.set_nack(true);
        receiver.take_all(&sender.frame(true, 100));
        let packets = sender.frame(false, 60_000);
        let lost: Vec<usize> = vec![0, 3, 4, 20, 21, 38, 59];
        for (i, sent) in packets.iter().enumerate() {
            if !lost.contains(&i) {
                receiver.hear(sent);
            }
        }
        let expected: Vec<u16> = lost.iter().map(|i| packets[*i].seq).collect();
        assert_eq!(receiver.nacked(rtt), expected);
        assert!(receiver.nacked(rtt).is_empty());
        receiver.wait(29 * MS);
        assert!(receiver.nacked(rtt).is_empty());
        receiver.wait(MS);
        assert_eq!(receiver.nacked(rtt), expected);
        for i in &lost[..6] {
            receiver.hear(&packets[*i]);
        }
        for _ in 0..3 {
            receiver.wait(rtt);
            assert_eq!(receiver.nacked(rtt), expected[6..]);
        }
        receiver.wait(rtt);
        assert!(receiver.nacked(rtt).is_empty());
        receiver.hear(&packets[59]);
        receiver.drain();
        assert_eq!(receiver.numbers(), [0, 1]);
        assert_eq!(receiver.reception.stats().nacks, 7 + 7 + 3);
        assert_eq!(receiver.reception.stats().lost, 0);
    }
}

#[test]
fn without_agreement_or_in_vain_nothing_is_asked_for_again() {
    let (mut sender, mut receiver) = (Sender::new(VideoCodec::Vp8, 7), Receiver::new(VideoCodec::Vp8));
    receiver.take_all(&sender.frame(true, 100));
    sender.frame(false, 3000);
    receiver.take_all(&sender.frame(false, 100));
    assert!(receiver.nacked(10 * MS).is_empty());
    receiver.reception.set_nack(true);
    assert!(receiver.nacked(REPAIR_FOR).is_empty());
    assert_eq!(receiver.nacked(10 * MS).len(), 4);
    receiver.wait(REPAIR_FOR);
    assert!(receiver.nacked(10 * MS).is_empty());
}

#[test]
fn a_sender_without_key_frames_is_asked_patiently_and_a_silent_one_not_at_all() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        assert!(!receiver.reception.wants_keyframe(receiver.now));
        let mut asked = 0;
        for _ in 0..60 * 30 {
            receiver.take_all(&sender.frame(false, 1500));
            receiver.wait(33 * MS);
            asked += u32::from(receiver.reception.wants_keyframe(receiver.now));
        }
        assert!(receiver.got.is_empty());
        assert!((29..=33).contains(&asked), "{asked}");
        for _ in 0..300 {
            receiver.wait(1000 * MS);
            asked += u32::from(receiver.reception.wants_keyframe(receiver.now));
        }
        assert!(asked <= 38, "{asked}");
        receiver.take_all(&sender.frame(true, 1500));
        assert_eq!(receiver.got.len(), 1);
        assert!(!receiver.reception.wants_keyframe(receiver.now));
    }
}

#[test]
fn a_key_frame_on_its_way_is_not_asked_for() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        let packets = sender.frame(true, 20_000);
        receiver.take_all(&packets[..10]);
        assert!(!receiver.reception.wants_keyframe(receiver.now));
        receiver.wait(300 * MS);
        assert!(!receiver.reception.wants_keyframe(receiver.now));
        receiver.wait(KEY_FRAME_TAKES);
        assert!(receiver.reception.wants_keyframe(receiver.now));
        receiver.take_all(&packets[10..]);
        assert_eq!(receiver.numbers(), [0]);
        receiver.reception.request_keyframe();
        receiver.wait(500 * MS);
        assert!(receiver.reception.wants_keyframe(receiver.now));
        receiver.take_all(&sender.frame(false, 20));
        assert_eq!(receiver.numbers(), [0, 1], "what the decoder does with it is its own business");
    }
}

#[test]
fn a_stream_that_begins_anew_loses_nothing_of_its_beginning() {
    for codec in BOTH {
        for jump in [20_000, 40_000, 60_000] {
            let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
            receiver.take_all(&sender.frame(true, 3000));
            sender.seq = sender.seq.wrapping_add(jump);
            receiver.take_all(&sender.frame(true, 3000));
            receiver.take_all(&sender.frame(false, 3000));
            assert_eq!(receiver.numbers(), [0, 1, 2]);
            // One forged number costs nothing.
            let forged = Sent { seq: sender.seq.wrapping_sub(jump), ..sender.frame(false, 20)[0].clone() };
            sender.seq = sender.seq.wrapping_sub(1);
            receiver.take_all(&[forged]);
            receiver.take_all(&sender.frame(false, 3000));
            assert_eq!(receiver.numbers(), [0, 1, 2, 4]);
            assert_eq!(receiver.reception.stats().lost, 0);
        }
    }
}

#[test]
fn a_small_step_back_and_a_large_step_ahead_are_overcome() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        receiver.take_all(&sender.frame(true, 3000));
        sender.seq = sender.seq.wrapping_add(2500);
        receiver.take_all(&sender.frame(true, 3000));
        assert_eq!(receiver.numbers(), [0, 1]);
        assert_eq!(receiver.reception.stats().lost, 2500);
        sender.seq = sender.seq.wrapping_sub(400);
        for _ in 0..40 {
            receiver.take_all(&sender.frame(true, 3000));
        }
        assert_eq!(receiver.numbers().last(), Some(&41));
        assert!(receiver.got.len() > 10);
    }
}

#[test]
fn another_codec_and_another_source_begin_with_nothing_of_the_last() {
    let mut receiver = Receiver::new(VideoCodec::H264);
    for (i, codec) in [VideoCodec::H264, VideoCodec::Vp8, VideoCodec::Vp8, VideoCodec::H264].into_iter().enumerate() {
        let mut sender = Sender::new(codec, 1000 * i as u16);
        receiver.take_all(&sender.frame(true, 3000));
        receiver.take_all(&sender.frame(false, 3000)[..2]);
        receiver.reception.reset(if i == 0 || i == 1 { VideoCodec::Vp8 } else { VideoCodec::H264 });
        assert_eq!(receiver.got.len(), i + 1);
    }
    assert_eq!(receiver.reception.stats().keyframes, 4);
    assert_eq!(receiver.reception.stats().lost, 0);
}

#[test]
fn who_does_not_take_loses_the_oldest_and_gets_on_with_the_newest() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        for n in 0..2000 {
            for sent in sender.frame(n % 50 == 0, 1500) {
                receiver.hear(&sent);
            }
        }
        receiver.drain();
        assert_eq!(receiver.numbers().first().map(|n| n % 50), Some(0));
        assert_eq!(receiver.numbers().last(), Some(&1999));
        assert!(receiver.reception.stats().discarded > 3000);
    }
}

#[test]
fn after_warm_up_the_same_memory_is_used_again() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        let mut seen = std::collections::HashSet::new();
        for n in 0..300 {
            receiver.take_all(&sender.frame(n % 30 == 0, 3000));
            if n >= 30 {
                seen.insert((
                    receiver.unit.bytes.as_ptr(),
                    receiver.unit.bytes.capacity(),
                    receiver.unit.units.as_ptr(),
                ));
            }
        }
        assert!(seen.len() <= 2, "{seen:?}");
    }
}

#[test]
fn a_frame_of_the_largest_size_fits_and_a_larger_one_is_dropped() {
    for codec in BOTH {
        let (mut sender, mut receiver) = (Sender::new(codec, 7), Receiver::new(codec));
        for (length, fits) in [(MAX_ACCESS_UNIT_BYTES - 100, true), (MAX_ACCESS_UNIT_BYTES + 100, false), (100, true)] {
            let before = receiver.got.len();
            receiver.take_all(&sender.frame(true, length));
            assert_eq!(receiver.got.len() - before, usize::from(fits));
        }
        let oversized = vec![0x41; MAX_PACKET_BYTES + 1];
        receiver.take_all(&[sender.packet(0, true, &oversized)]);
        assert!(receiver.reception.stats().discarded > 0);
    }
}

/// SplitMix64 (Vigna): the unit tests do not link testkit, which has a generator of its own.
struct Dice(u64);

impl Dice {
    fn chance(&mut self, probability: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64 <= probability && probability > 0.0
    }
}

/// A network with loss for ten seconds, then none: frames sent in the time, and when the picture was back after it.
struct Lossy {
    got: Vec<u32>,
    keys: Vec<u32>,
    sent: u32,
    back_after: Option<Duration>,
    stats: ReceptionStats,
}

/// One way takes 20 ms. Key frames are sent when they are asked for, and repeated packets get lost, too.
fn lossy(codec: VideoCodec, loss: f64, nack: bool, seed: u64) -> Lossy {
    const ONE_WAY: u32 = 20;
    const LOSS_ENDS: u32 = 10_000;
    let mut dice = Dice(seed);
    let (mut sender, mut receiver) = (Sender::new(codec, 65_000), Receiver::new(codec));
    receiver.reception.set_nack(nack);
    let mut under_way: Vec<(u32, Sent)> = Vec::new();
    let mut history: Vec<Sent> = Vec::new();
    let mut asks: Vec<(u32, Vec<u16>, bool)> = Vec::new();
    let (mut keys, mut want_key, mut back_after) = (vec![], true, None);
    for ms in 0..13_000u32 {
        let mut leaving = Vec::new();
        asks.retain(|(at, seqs, key)| {
            if *at == ms {
                want_key |= key;
                let history = if seqs.is_empty() { &[][..] } else { &history };
                leaving.extend(history.iter().rev().take(2000).filter(|sent| seqs.contains(&sent.seq)).cloned());
            }
            *at > ms
        });
        if ms % 33 == 0 && ms < 12_900 {
            let is_key = std::mem::take(&mut want_key);
            if is_key {
                keys.push(sender.frames);
            }
            let packets = sender.frame(is_key, if is_key { 12_000 } else { sizes(sender.frames) });
            history.extend_from_slice(&packets);
            leaving.extend(packets);
        }
        // The first frame always arrives: what the receiver never heard of, it does not miss.
        let in_time = (33..LOSS_ENDS).contains(&ms);
        under_way
            .extend(leaving.into_iter().filter(|_| !(in_time && dice.chance(loss))).map(|sent| (ms + ONE_WAY, sent)));
        under_way.retain(|(at, sent)| {
            if *at == ms {
                receiver.hear(sent);
            }
            *at > ms
        });
        let before = receiver.got.len();
        receiver.wait(MS);
        if ms > LOSS_ENDS + ONE_WAY && receiver.got.len() > before && back_after.is_none() {
            back_after = Some(MS * (ms - LOSS_ENDS - ONE_WAY));
        }
        let seqs = receiver.nacked(2 * ONE_WAY * MS);
        let key = receiver.reception.wants_keyframe(receiver.now);
        asks.push((ms + ONE_WAY, seqs, key));
    }
    Lossy { got: receiver.numbers(), keys, sent: sender.frames, back_after, stats: receiver.reception.stats() }
}

impl Lossy {
    fn is_decodable(&self) -> bool {
        let mut next = None;
        self.got.iter().all(|n| {
            let follows = next == Some(*n) || self.keys.contains(n);
            next = Some(n + 1);
            follows
        })
    }
}

#[test]
fn lost_packets_are_repaired_and_no_frame_is_missing() {
    for codec in BOTH {
        for (seed, loss) in [(1, 0.01), (2, 0.05), (3, 0.1)] {
            let run = lossy(codec, loss, true, seed);
            assert_eq!(run.got, (0..run.sent).collect::<Vec<_>>(), "{codec:?} {loss}: {:?}", run.stats);
            assert!(run.stats.nacks > 0 && run.keys == [0], "{:?} {:?}", run.keys, run.stats);
        }
    }
}

#[test]
fn without_repair_only_what_can_be_decoded_comes_out_and_the_picture_is_back_within_a_second() {
    for codec in BOTH {
        for (seed, loss) in [(1, 0.01), (2, 0.05), (3, 0.1), (4, 0.3), (5, 1.0)] {
            let run = lossy(codec, loss, false, seed);
            assert!(run.is_decodable(), "{codec:?} {loss}");
            assert_eq!(run.got.last(), Some(&(run.sent - 1)));
            assert!(run.back_after.is_some_and(|time| time < 1000 * MS), "{codec:?} {loss}: {:?}", run.back_after);
            let counted = run.stats.frames + run.stats.dropped_frames;
            assert!(loss == 1.0 || run.got.len() > 20 && counted <= u64::from(run.sent), "{:?}", run.stats);
        }
    }
}

fn codec() -> impl Strategy<Value = VideoCodec> {
    prop_oneof![Just(VideoCodec::H264), Just(VideoCodec::Vp8)]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, ..crate::rtp::seeded() })]

    #[test]
    fn order_and_repetition_within_the_window_change_nothing(
        codec in codec(), first: u16, swaps in proptest::collection::vec((0usize..150, 0usize..150), 0..200),
        again in proptest::collection::vec(0usize..150, 0..50)
    ) {
        let (mut sender, mut receiver) = (Sender::new(codec, first), Receiver::new(codec));
        receiver.take_all(&sender.frame(true, 3000));
        let mut packets: Vec<Sent> = (1..60).flat_map(|n| sender.frame(n % 25 == 0, sizes(n))).collect();
        for (a, b) in swaps {
            packets.swap(a, b);
        }
        let repeated = again.len() as u64;
        for i in again {
            packets.push(packets[i].clone());
        }
        receiver.take_all(&packets);
        prop_assert_eq!(receiver.numbers(), (0..60).collect::<Vec<_>>());
        for (at, key, bytes) in &receiver.got {
            let n = number(*at);
            prop_assert_eq!(bytes, &picture(codec, *key, if n == 0 { 3000 } else { sizes(n) }, n));
        }
        let stats = receiver.reception.stats();
        prop_assert_eq!((stats.late, stats.lost, stats.dropped_frames), (0, 0, 0));
        prop_assert_eq!(stats.duplicate, repeated);
    }

    #[test]
    fn anything_at_all_stays_within_bounds(
        codec in codec(), nack: bool,
        all in proptest::collection::vec(
            (prop_oneof![Just(1u16), 0u16..4, any::<u16>()], prop_oneof![Just(0u32), Just(3000), any::<u32>()], any::<bool>(),
             proptest::collection::vec(any::<u8>(), 0..30), 0u64..300, 0u8..40),
            0..200
        )
    ) {
        let mut receiver = Receiver::new(codec);
        receiver.reception.set_nack(nack);
        let (mut seq, mut timestamp, mut asked) = (0u16, 0u32, None);
        for (step, advance, marker, payload, wait, what) in all {
            seq = seq.wrapping_add(step);
            timestamp = timestamp.wrapping_add(advance);
            receiver.hear(&Sent { seq, timestamp, marker, payload });
            match what {
                0 => receiver.reception.reset(codec),
                1 => receiver.reception.request_keyframe(),
                2..30 => receiver.wait(Duration::from_millis(wait)),
                _ => {}
            }
            let mut calls = 0;
            while receiver.reception.poll_nack(receiver.now, Some(MS)).is_some() {
                calls += 1;
            }
            prop_assert!(calls <= 31);
            if receiver.reception.wants_keyframe(receiver.now) {
                prop_assert!(asked.is_none_or(|at| receiver.now - at >= 500 * MS));
                asked = Some(receiver.now);
            }
            receiver.reception.report();
        }
        let stats = receiver.reception.stats();
        prop_assert_eq!(stats.frames, receiver.got.len() as u64);
        prop_assert!(receiver.got.first().is_none_or(|(_, key, _)| *key));
    }
}
