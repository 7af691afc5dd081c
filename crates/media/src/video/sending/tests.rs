//! One stream on a virtual wire: what goes out when, and what an independent implementation makes of it.

use bytes::Bytes;
use proptest::prelude::*;
use rtp::codecs::h264::H264Packet;
use rtp::codecs::vp8::Vp8Packet;
use rtp::packetizer::Depacketizer;

use super::*;
use crate::rtp::packet::RtpPacket;

const SSRC: Ssrc = Ssrc(0x0bad_cafe);
const RATE: Bitrate = Bitrate::kbps(1000);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// NAL units of these sizes; the first byte says IDR or not.
fn h264(is_keyframe: bool, sizes: &[usize]) -> Arc<AccessUnit> {
    let mut unit = AccessUnit::empty(VideoCodec::H264);
    unit.is_keyframe = is_keyframe;
    for (n, size) in sizes.iter().enumerate() {
        unit.bytes.extend([0, 0, 0, 1]);
        let start = unit.bytes.len();
        unit.bytes.push(if is_keyframe { 0x65 } else { 0x41 });
        unit.bytes.extend((1..*size).map(|i| (i * 7 + n) as u8));
        unit.bytes.truncate(start + size);
        unit.units.push(start..unit.bytes.len());
    }
    Arc::new(unit)
}

fn vp8(is_keyframe: bool, size: usize) -> Arc<AccessUnit> {
    let bytes = (0..size).map(|i| (i * 11) as u8).collect();
    let units = std::iter::once(0..size).collect();
    Arc::new(AccessUnit { codec: VideoCodec::Vp8, is_keyframe, bytes, units })
}

fn outgoing(codec: VideoCodec, mode: u8) -> Outgoing {
    Outgoing::new(codec, 96, SSRC, 65_530, u32::MAX - 1_000, mode, RATE)
}

#[test]
fn timestamps_go_on_by_the_time_that_passes_when_media_time_begins_anew() {
    let (began, mut packet) = (Instant::now(), [0; MAX_PACKET_BYTES]);
    // The other room's picture began later, earlier, or at the same time.
    for zero_ms in [7_000, 1_500, 0] {
        let mut out = outgoing(VideoCodec::H264, 1);
        let mut sent = |out: &mut Outgoing, now: Instant| {
            let len = out.poll(now, &mut packet).expect("a picture of one packet");
            RtpPacket::parse(&packet[..len]).unwrap().timestamp
        };
        let mut epoch = began + ms(3_000);
        out.push(&h264(true, &[100]), ms(5_000));
        let first = sent(&mut out, began + ms(8_000));
        let before = std::mem::replace(&mut epoch, began + ms(zero_ms));
        out.restart();
        out.rebase(before, epoch);
        let now = began + ms(8_500);
        out.push(&h264(true, &[100]), now - epoch);
        assert_eq!(sent(&mut out, now).wrapping_sub(first), 45_000, "half a second at 90 kHz");
    }
}

/// A leg whose worker polls every 5 ms of virtual time.
struct Wire {
    out: Outgoing,
    began: Instant,
    now: Instant,
    packets: Vec<(Instant, Vec<u8>)>,
}

impl Wire {
    fn new(out: Outgoing) -> Self {
        let began = Instant::now();
        Self { out, began, now: began, packets: Vec::new() }
    }

    fn media(&self) -> Duration {
        self.now - self.began
    }

    fn push(&mut self, unit: &Arc<AccessUnit>) {
        self.out.push(unit, self.media());
    }

    fn poll(&mut self) {
        let mut packet = [0; 8_000];
        while let Some(length) = self.out.poll(self.now, &mut packet) {
            self.packets.push((self.now, packet[..length].to_vec()));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.poll();
            self.now += ms(5);
        }
    }

    /// Until nothing waits.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        while !self.out.is_idle() {
            self.poll();
            self.now += ms(5);
        }
        self.taken()
    }

    fn taken(&mut self) -> Vec<Vec<u8>> {
        self.packets.drain(..).map(|(_, packet)| packet).collect()
    }

    /// The most bytes that any 20 ms saw.
    fn busiest(&self) -> usize {
        let from = |(n, (at, _)): (usize, &(Instant, Vec<u8>))| {
            self.packets[n..].iter().take_while(|(t, _)| *t - *at < ms(20)).map(|(_, packet)| packet.len()).sum()
        };
        self.packets.iter().enumerate().map(from).max().unwrap_or(0)
    }
}

fn parsed(packets: &[Vec<u8>]) -> Vec<RtpPacket<'_>> {
    packets.iter().map(|packet| RtpPacket::parse(packet).unwrap()).collect()
}

/// What an independent implementation puts together.
fn nal_units(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut depacketizer = H264Packet::default();
    let mut units = Vec::new();
    for packet in parsed(packets) {
        let read = depacketizer.depacketize(&Bytes::copy_from_slice(packet.payload)).unwrap();
        if let Some(unit) = read.strip_prefix(&[0, 0, 0, 1]) {
            units.push(unit.to_vec());
        }
    }
    units
}

fn owned(unit: &AccessUnit) -> Vec<Vec<u8>> {
    unit.nal_units().map(<[u8]>::to_vec).collect()
}

#[test]
fn nal_units_of_a_packet_each_are_sent_as_they_are_in_both_modes() {
    for mode in [0, 1] {
        let mut wire = Wire::new(outgoing(VideoCodec::H264, mode));
        let unit = h264(true, &[20, 3, 1_200, 1_199]);
        wire.push(&unit);
        let packets = wire.drain();
        let read = parsed(&packets);
        assert_eq!(read.iter().map(|p| p.payload.to_vec()).collect::<Vec<_>>(), owned(&unit));
        assert_eq!(read.iter().map(|p| p.marker).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(read.iter().map(|p| p.seq).collect::<Vec<_>>(), [65_530, 65_531, 65_532, 65_533]);
        assert!(read.iter().all(|p| (p.timestamp, p.ssrc, p.payload_type) == (u32::MAX - 1_000, SSRC, 96)));
    }
}

#[test]
fn a_large_nal_unit_is_cut_in_mode_1_and_sent_whole_in_mode_0() {
    let unit = h264(true, &[10, 1_201, 5_000]);
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.push(&unit);
    let packets = wire.drain();
    let read = parsed(&packets);
    let sizes: Vec<_> = read.iter().map(|p| p.payload.len()).collect();
    // 1,200 and 4,999 bytes after the NAL header in 2 and 5 parts, each with two bytes in front.
    assert_eq!(sizes, [10, 602, 602, 1_002, 1_002, 1_002, 1_002, 1_001]);
    let (fragment, header) = (0x60 | 28, 5);
    assert_eq!(read[1].payload[..2], [fragment, 0x80 | header]);
    assert_eq!(read[2].payload[..2], [fragment, 0x40 | header]);
    assert_eq!(read[4].payload[..2], [fragment, header]);
    assert_eq!(nal_units(&packets), owned(&unit));

    let mut wire = Wire::new(outgoing(VideoCodec::H264, 0));
    wire.push(&unit);
    let packets = wire.drain();
    assert_eq!(parsed(&packets).iter().map(|p| p.payload.to_vec()).collect::<Vec<_>>(), owned(&unit));
}

#[test]
fn vp8_is_cut_into_equal_parts_with_a_picture_id_that_wraps() {
    let mut wire = Wire::new(outgoing(VideoCodec::Vp8, 0));
    // 15 bits of the first sequence number, 65,530.
    for (n, size) in [3_000usize, 1, 1_196, 1_197, 5_000, 20, 30].into_iter().enumerate() {
        let unit = vp8(n == 0, size);
        wire.push(&unit);
        let packets = wire.drain();
        let mut frame = Vec::new();
        for (part, packet) in parsed(&packets).iter().enumerate() {
            let mut read = Vp8Packet::default();
            let bytes = read.depacketize(&Bytes::copy_from_slice(packet.payload)).unwrap();
            assert_eq!((read.x, read.i, read.l, read.t, read.k, read.n, read.pid), (1, 1, 0, 0, 0, 0, 0));
            assert_eq!(read.s == 1, part == 0);
            assert_eq!(read.picture_id, ((32_762 + n) % 32_768) as u16);
            assert_eq!(packet.marker, part == packets.len() - 1);
            assert!(bytes.len().abs_diff(size / packets.len()) <= 1 && packet.payload.len() <= MAX_PAYLOAD_BYTES);
            frame.extend_from_slice(&bytes);
        }
        assert_eq!(frame, unit.bytes);
        assert_eq!(packets.len(), size.div_ceil(1_196));
    }
}

#[test]
fn timestamps_follow_the_rooms_media_time_and_wrap() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    let mut timestamps = Vec::new();
    // The last two are not later than the one before, and stay pictures of their own.
    for at in [ms(0), ms(40), Duration::new(1, 66_666_667), Duration::new(1, 66_666_667), ms(5)] {
        wire.out.push(&h264(true, &[100]), at);
        let packets = wire.drain();
        timestamps.push(parsed(&packets)[0].timestamp.wrapping_sub(u32::MAX - 1_000));
    }
    assert_eq!(timestamps, [0, 3_600, 96_000, 96_001, 96_002]);
}

#[test]
fn a_keyframe_of_100_kb_is_spread_at_twice_the_rate() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.push(&h264(true, &[100_000]));
    let began = wire.now;
    while !wire.out.is_idle() {
        wire.poll();
        wire.now += ms(5);
    }
    let took = wire.now - began;
    let bytes: usize = wire.packets.iter().map(|(_, packet)| packet.len()).sum();
    let (expected, bytes_20ms) = (Duration::from_secs_f64(bytes as f64 * 8.0 / 2e6), 5_000);
    assert!(took >= expected - ms(10) && took <= expected + ms(15), "{took:?}, expected {expected:?}");
    assert!(wire.busiest() <= bytes_20ms + MAX_PACKET_BYTES, "{}", wire.busiest());
}

#[test]
fn no_20_ms_see_more_than_twice_the_rate_and_a_packet() {
    for kbps in [32, 128, 512, 1_000, 4_000, 8_000] {
        let rate = Bitrate::kbps(kbps);
        let picture = kbps as usize * 1_000 / 8 / 15;
        let mut wire = Wire::new(Outgoing::new(VideoCodec::H264, 96, SSRC, 0, 0, 1, rate));
        for n in 0..150u32 {
            let keyframe = n % 50 == 0 || wire.out.wants_keyframe();
            let size = picture * if keyframe { 7 } else { 1 };
            wire.push(&h264(keyframe, &[size]));
            if n % 7 == 0 {
                // A far end that loses much asks for much.
                let newest = wire.out.seq;
                let now = wire.now;
                (1..200).for_each(|back| {
                    wire.out.nack(now, newest.wrapping_sub(back));
                });
            }
            wire.run(ms(65));
        }
        let bytes_20ms = rate.as_bps() as usize * 2 / 8 / 50;
        assert!(wire.busiest() <= bytes_20ms + MAX_PACKET_BYTES, "{kbps}: {}", wire.busiest());
        assert!(wire.packets.len() > 100, "{kbps}");
        assert!(wire.out.counters().retransmitted > 10, "{kbps}");
    }
}

#[test]
fn a_stall_of_the_worker_makes_no_burst() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.push(&h264(true, &[80_000]));
    wire.run(ms(50));
    wire.packets.clear();
    wire.now += ms(300);
    wire.poll();
    let bytes: usize = wire.packets.iter().map(|(_, packet)| packet.len()).sum();
    assert!(bytes <= 2_500 + MAX_PACKET_BYTES, "{bytes}");
    assert!(bytes >= 1_000);
}

#[test]
fn time_without_pictures_earns_no_burst() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.run(Duration::from_secs(5));
    wire.push(&h264(true, &[50_000]));
    wire.run(ms(100));
    assert!(wire.busiest() <= 5_000 + MAX_PACKET_BYTES, "{}", wire.busiest());
}

#[test]
fn what_the_far_end_takes_at_the_most_bounds_the_pacing() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.out.set_limit(Some(Bitrate::kbps(200)));
    assert!(wire.out.is_limited());
    wire.push(&h264(true, &[50_000]));
    wire.run(ms(1_000));
    let bytes: usize = wire.packets.iter().map(|(_, packet)| packet.len()).sum();
    assert!((23_000..=25_000 + MAX_PACKET_BYTES).contains(&bytes), "{bytes}");
    // The lower rendition.
    wire.out.set_bitrate(Bitrate::kbps(180));
    assert!(!wire.out.is_limited());
    wire.out.set_limit(Some(Bitrate::bps(0)));
    wire.packets.clear();
    wire.run(ms(2_000));
    assert!((2..=5).contains(&wire.packets.len()), "a trickle: {}", wire.packets.len());
    wire.out.set_limit(None);
    assert!(!wire.out.is_limited());
}

#[test]
fn a_retransmission_is_the_same_packet() {
    for codec in [VideoCodec::H264, VideoCodec::Vp8] {
        let mut wire = Wire::new(outgoing(codec, 1));
        let big = |key| if codec == VideoCodec::H264 { h264(key, &[30, 4_000, 700]) } else { vp8(key, 4_000) };
        wire.push(&big(true));
        let mut first = wire.drain();
        // Other terms since then change nothing about what was sent.
        wire.out.renegotiated(codec, 101, 0);
        wire.push(&big(false));
        first.extend(wire.drain());
        assert_eq!(parsed(&first).last().unwrap().payload_type, 101);
        for packet in &first {
            assert!(wire.out.nack(wire.now, RtpPacket::parse(packet).unwrap().seq));
        }
        assert_eq!(wire.drain(), first);
        assert_eq!(wire.out.counters().retransmitted, first.len() as u64);
        assert_eq!(wire.out.counters().packets, 2 * first.len() as u64);
    }
}

#[test]
fn a_packet_is_not_repeated_within_a_round_trip_nor_after_a_second() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.out.set_round_trip(ms(100));
    wire.push(&h264(true, &[500]));
    wire.poll();
    assert!(!wire.out.nack(wire.now, 65_529), "was not sent");
    assert!(!wire.out.nack(wire.now, 65_531), "is not sent yet");
    assert!(wire.out.nack(wire.now, 65_530));
    assert!(!wire.out.nack(wire.now, 65_530), "is in line");
    wire.run(ms(20));
    assert_eq!(wire.packets.len(), 2);
    assert!(!wire.out.nack(wire.packets[1].0 + ms(99), 65_530));
    assert!(wire.out.nack(wire.packets[1].0 + ms(100), 65_530));
    wire.run(ms(900));
    assert_eq!(wire.packets.len(), 3);
    wire.run(ms(200));
    assert!(!wire.out.nack(wire.now, 65_530), "is forgotten");
}

#[test]
fn retransmissions_go_first_and_leave_half_to_new_packets() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.push(&h264(true, &[60_000]));
    wire.drain();
    wire.push(&h264(false, &[60_000]));
    let begin = wire.out.counters();
    let newest = wire.out.seq.wrapping_sub(1);
    for back in 0..50 {
        assert!(wire.out.nack(wire.now, newest.wrapping_sub(back)));
    }
    wire.poll();
    assert_eq!(RtpPacket::parse(&wire.packets[0].1).unwrap().seq, newest);
    wire.run(ms(150));
    let end = wire.out.counters();
    let (again, all) = (end.retransmitted - begin.retransmitted, end.packets - begin.packets);
    assert!(all >= 30 && again.abs_diff(all / 2) <= 1, "{again} of {all}");
    wire.drain();
    assert_eq!(wire.out.counters().retransmitted, 50);
}

#[test]
fn a_late_joiner_begins_with_a_keyframe() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    assert!(wire.out.wants_keyframe());
    assert_eq!(wire.out.sender_info(ms(0), 0), None);
    for _ in 0..5 {
        wire.push(&h264(false, &[500]));
        wire.run(ms(65));
    }
    assert!(wire.packets.is_empty() && wire.out.wants_keyframe());
    wire.push(&h264(true, &[500]));
    assert!(!wire.out.wants_keyframe());
    wire.run(ms(65));
    wire.push(&h264(false, &[500]));
    wire.run(ms(65));
    let packets = wire.taken();
    let read = parsed(&packets);
    assert_eq!(read.iter().map(|p| p.payload[0] & 0x1f).collect::<Vec<_>>(), [5, 1]);
    assert_eq!(wire.out.counters(), Counters { packets: 2, octets: 1_000, retransmitted: 0, dropped: 0 });
}

#[test]
fn a_leg_that_resumes_begins_with_a_keyframe_and_goes_on_counting() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.push(&h264(true, &[20_000]));
    wire.run(ms(20));
    let before = wire.taken();
    wire.out.restart();
    assert!(wire.out.wants_keyframe() && wire.out.is_idle());
    assert!(!wire.out.nack(wire.now, 65_530));
    wire.now += Duration::from_secs(60);
    wire.push(&h264(false, &[500]));
    wire.push(&h264(true, &[501]));
    let after = wire.drain();
    let (last, next) = (*parsed(&before).last().unwrap(), parsed(&after)[0]);
    assert_eq!(next.payload.len(), 501);
    assert_eq!(next.seq, last.seq.wrapping_add(1));
    assert_eq!(next.timestamp.wrapping_sub(last.timestamp), 90 * 60_020);
}

#[test]
fn another_codec_continues_the_same_stream_from_a_keyframe() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.push(&h264(true, &[500]));
    let before = wire.drain();
    wire.push(&h264(false, &[500]));
    wire.out.renegotiated(VideoCodec::Vp8, 97, 0);
    assert!(wire.out.wants_keyframe());
    // Encoded before the composer knew.
    wire.push(&h264(true, &[500]));
    assert!(wire.out.wants_keyframe());
    wire.push(&vp8(true, 600));
    let after = wire.drain();
    let (last, next) = (parsed(&before)[0], parsed(&after)[0]);
    assert_eq!((next.seq, next.payload_type), (last.seq.wrapping_add(1), 97));
    assert_eq!((after.len(), wire.out.codec(), wire.out.ssrc()), (1, VideoCodec::Vp8, SSRC));
}

#[test]
fn more_than_a_second_waiting_is_dropped_and_a_keyframe_wanted_when_the_line_is_free() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.out.set_limit(Some(Bitrate::kbps(200)));
    wire.push(&h264(true, &[50_000]));
    for _ in 0..15 {
        wire.run(ms(65));
        wire.push(&h264(false, &[8_000]));
        assert!(!wire.out.wants_keyframe());
    }
    wire.run(ms(65));
    wire.push(&h264(false, &[8_000]));
    assert_eq!(wire.out.counters().dropped, 16);
    assert!(!wire.out.wants_keyframe(), "the first picture is still going out");
    // Comes all the same, for someone else; then what refers to it, until that is old too.
    wire.push(&h264(true, &[5_000]));
    wire.push(&h264(false, &[77]));
    let packets = wire.drain();
    let units = nal_units(&packets);
    assert_eq!(units.iter().map(Vec::len).collect::<Vec<_>>(), [50_000, 5_000, 77]);
    assert_eq!(parsed(&packets).iter().filter(|p| p.marker).count(), 3);
    let seqs: Vec<u16> = parsed(&packets).iter().map(|p| p.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "no gap");
}

#[test]
fn what_waits_is_dropped_up_to_a_keyframe_that_waits_too() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    for (n, size) in [(0u32, 500), (10, 501), (20, 502), (30, 503), (40, 504)] {
        wire.out.push(&h264(n % 20 == 0, &[size]), ms(30) * n);
    }
    assert_eq!(wire.out.counters().dropped, 4, "the newest keyframe is the one to go on from");
    assert!(!wire.out.wants_keyframe());
    assert_eq!(nal_units(&wire.drain())[0].len(), 504);
}

#[test]
fn a_whole_nal_unit_that_fits_no_buffer_costs_what_refers_to_it() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 0));
    wire.push(&h264(true, &[100, 9_000, 100]));
    wire.push(&h264(false, &[200]));
    let packets = wire.drain();
    assert_eq!(nal_units(&packets).iter().map(Vec::len).collect::<Vec<_>>(), [100]);
    assert_eq!(wire.out.counters().dropped, 2);
    assert!(wire.out.wants_keyframe());
    wire.push(&h264(true, &[300]));
    assert_eq!(wire.drain().len(), 1);
}

#[test]
fn a_picture_with_nothing_in_it_is_not_sent_and_empty_units_are_passed_over() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    for range in [None, Some(0..0), Some(5..900), Some(usize::MAX - 1..usize::MAX)] {
        let units = range.into_iter().collect();
        wire.push(&Arc::new(AccessUnit { codec: VideoCodec::H264, is_keyframe: true, bytes: vec![0; 10], units }));
        assert!(wire.out.wants_keyframe());
    }
    let units = vec![0..0, 0..4, 4..4, 4..10, 9..10_000];
    let bytes = vec![0x65; 10];
    wire.push(&Arc::new(AccessUnit { codec: VideoCodec::H264, is_keyframe: true, bytes, units }));
    let packets = wire.drain();
    let read: Vec<_> = parsed(&packets).iter().map(|p| (p.payload.len(), p.marker)).collect();
    assert_eq!(read, [(4, false), (6, true)]);
}

#[test]
fn sound_and_picture_meet_in_the_sender_report() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    wire.out.push(&h264(true, &[500]), ms(2_000));
    let packets = wire.drain();
    let info = wire.out.sender_info(ms(2_500), 77).unwrap();
    assert_eq!(info.rtp_timestamp.wrapping_sub(parsed(&packets)[0].timestamp), 45_000);
    assert_eq!((info.ntp, info.packets, info.octets), (77, 1, 500));
}

#[test]
fn pictures_that_are_no_longer_needed_are_let_go() {
    let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
    let unit = h264(true, &[500]);
    wire.push(&unit);
    wire.run(ms(500));
    assert_eq!(Arc::strong_count(&unit), 2);
    wire.run(ms(600));
    assert_eq!(Arc::strong_count(&unit), 1);
}

proptest! {
    #![proptest_config(crate::rtp::seeded())]

    #[test]
    fn every_picture_comes_together_again(
        pictures in proptest::collection::vec(proptest::collection::vec(3usize..6_000, 1..5), 1..6),
        mode in 0u8..=1,
    ) {
        let mut wire = Wire::new(outgoing(VideoCodec::H264, mode));
        for (n, sizes) in pictures.iter().enumerate() {
            let unit = h264(n == 0, sizes);
            wire.push(&unit);
            let packets = wire.drain();
            prop_assert_eq!(nal_units(&packets), owned(&unit));
            let read = parsed(&packets);
            prop_assert!(mode == 0 || read.iter().all(|p| p.payload.len() <= MAX_PAYLOAD_BYTES));
            prop_assert!(read.iter().rev().skip(1).all(|p| !p.marker) && read.last().unwrap().marker);
        }
    }

    /// Whatever comes in whatever order: bounds hold, sums agree, sequence numbers have no gap.
    #[test]
    fn any_order_of_events_keeps_the_bounds(
        events in proptest::collection::vec((0u8..9, any::<u16>(), 0u64..400), 1..100)
    ) {
        let mut wire = Wire::new(outgoing(VideoCodec::H264, 1));
        let capacity = wire.out.shots.capacity();
        let mut next = wire.out.seq;
        // Made once, as making them is what takes time.
        let sizes = [40, 700, 3_000, 60_000];
        let (keyframes, others) = (sizes.map(|size| h264(true, &[size])), sizes.map(|size| h264(false, &[size, 40])));
        for (kind, number, time) in events {
            match kind {
                0 => wire.push(&keyframes[usize::from(number % 4)]),
                1..=3 => (0..number % 40).for_each(|_| {
                    let at = wire.media() + ms(time);
                    wire.out.push(&others[usize::from(number % 4)], at);
                }),
                4 => { wire.out.nack(wire.now, next.wrapping_sub(number % 100)); }
                5 => wire.run(ms(time)),
                6 => wire.now += ms(time),
                7 if number % 8 == 0 => wire.out.restart(),
                8 => wire.out.set_limit((number % 2 == 0).then(|| Bitrate::kbps(u32::from(number)))),
                _ => wire.poll(),
            }
            for packet in wire.taken() {
                let seq = RtpPacket::parse(&packet).unwrap().seq;
                if seq == next {
                    next = next.wrapping_add(1);
                } else {
                    prop_assert!(usize::from(next.wrapping_sub(seq)) <= sent::PACKETS);
                }
            }
            let out = &wire.out;
            let bytes = |shots: &mut dyn Iterator<Item = &Shot>| shots.map(|s| s.unit.bytes.len()).sum::<usize>();
            prop_assert_eq!(out.waiting_bytes, bytes(&mut out.shots.range(out.done..)));
            prop_assert_eq!(out.kept_bytes, bytes(&mut out.shots.range(..out.done)));
            prop_assert!(out.waiting_bytes <= MAX_WAITING_BYTES + MAX_ACCESS_UNIT_BYTES);
            prop_assert!(out.kept_bytes <= MAX_KEPT_BYTES && out.done <= MAX_KEPT_PICTURES);
            prop_assert_eq!(out.shots.capacity(), capacity);
        }
    }
}
