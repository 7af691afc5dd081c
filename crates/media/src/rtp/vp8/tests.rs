//! Descriptors by hand, frames against the payloader of the `rtp` crate, malice, and arbitrary bytes.

use bytes::Bytes;
use proptest::prelude::*;
use rtp::codecs::vp8::{Vp8Packet, Vp8Payloader};
use rtp::packetizer::{Depacketizer, Payloader};

use super::*;
use crate::video::VideoCodec;

const TIMESTAMP: u32 = 90_000;

/// What others died of, or might.
const MALICE: &[&[u8]] = &[
    // Descriptors that end too soon: nothing, the extension, the PictureID in both lengths, TL0PICIDX, TID and KEYIDX.
    &[],
    &[0x80],
    &[0x90, 0x80],
    &[0x90, 0x80, 0x80],
    &[0x90, 0xc0, 0x7f],
    &[0x90, 0xf0, 0xff, 0xff, 0x00],
    // Whole descriptors with nothing after them.
    &[0x10],
    &[0x90, 0x80, 0x00],
    &[0x90, 0xf0, 0xff, 0xff, 0xff, 0xff],
    // Each reserved bit, partitions that do not exist, the start of a later partition as the first of a frame.
    &[0x50, 0x10, 0x00, 0x00],
    &[0x98, 0x0f, 0x10, 0x00],
    &[0x1f, 0x10, 0x00],
    &[0x17, 0x00],
    // Key frames: no start code, a wrong one, half of one, no sides, sides of nothing, the largest with scaling.
    &[0x10, 0x10],
    &[0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2b, 0x80, 0x02, 0xe0, 0x01],
    &[0x10, 0x10, 0x00, 0x00, 0x9d],
    &[0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a],
    &[0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x00, 0x00, 0x00],
    &[0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0xff, 0xff, 0xff, 0xff],
    // A first partition longer than the frame, an unknown version, a frame that is not to be shown.
    &[0x10, 0xf1, 0xff, 0xff, 0x00],
    &[0x10, 0x1f, 0x00, 0x00, 0x00],
    &[0x10, 0x01, 0x00, 0x00, 0x00],
    // The middle of a frame that has no beginning.
    &[0x00, 0xff, 0xff, 0xff],
];

/// A frame with a sound header and so many bytes.
fn frame(is_key: bool, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.max(KEY_HEADER_BYTES)).map(|i| (i * 31 % 251) as u8).collect();
    bytes[..KEY_HEADER_BYTES].copy_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0xe0, 0x81]);
    bytes[0] |= u8::from(!is_key);
    bytes
}

fn empty() -> AccessUnit {
    AccessUnit::empty(VideoCodec::Vp8)
}

#[test]
fn every_field_of_the_descriptor_is_read() {
    let of = |payload: &[u8]| Vp8Descriptor::parse(payload).map(|(descriptor, rest)| (descriptor, rest.to_vec()));
    let none = Vp8Descriptor::default();
    let cases: [(&[u8], Vp8Descriptor, &[u8]); 7] = [
        (&[0x00, 9], none, &[9]),
        (&[0x37, 9], Vp8Descriptor { is_discardable: true, starts_partition: true, partition: 7, ..none }, &[9]),
        (&[0x80, 0x00, 9], none, &[9]),
        (&[0x80, 0x80, 0x7f, 9, 8], Vp8Descriptor { picture_id: Some(127), ..none }, &[9, 8]),
        (&[0x80, 0x80, 0xff, 0xfe, 9], Vp8Descriptor { picture_id: Some(0x7ffe), ..none }, &[9]),
        (
            &[0x80, 0x60, 5, 0xa1, 9],
            Vp8Descriptor { tl0_pic_idx: Some(5), temporal_layer: Some((2, true)), ..none },
            &[9],
        ),
        (
            &[0x90, 0xf0, 0x81, 0x02, 0xfe, 0x5f, 9],
            Vp8Descriptor {
                starts_partition: true,
                picture_id: Some(0x102),
                tl0_pic_idx: Some(0xfe),
                temporal_layer: Some((1, false)),
                key_idx: Some(31),
                ..none
            },
            &[9],
        ),
    ];
    for (payload, expected, rest) in cases {
        assert_eq!(of(payload), Some((expected, rest.to_vec())), "{payload:02x?}");
        for cut in 0..=payload.len() - rest.len() {
            assert_eq!(of(&payload[..cut]), None, "{payload:02x?} cut to {cut}");
        }
    }
}

#[test]
fn frames_of_another_payloader_come_out_as_they_went_in() {
    for enable_picture_id in [false, true] {
        let mut payloader = Vp8Payloader::default();
        payloader.enable_picture_id = enable_picture_id;
        let (mut vp8, mut unit, mut seq) = (Vp8Depacketizer::new(), empty(), 65_500u16);
        for number in 0..300u32 {
            let sent = frame(number % 50 == 0, 7 * number as usize * 3);
            for payload in payloader.payload(200, &Bytes::from(sent.clone())).unwrap() {
                assert!(vp8.push(seq, number, &payload, &mut unit));
                seq = seq.wrapping_add(1);
            }
            assert!(vp8.finish(&mut unit));
            assert_eq!((&unit.bytes, unit.is_keyframe), (&sent, number % 50 == 0));
            assert_eq!(unit.nal_units().collect::<Vec<_>>(), [&sent[..]]);
            unit.clear();
        }
    }
}

#[test]
fn sides_of_a_key_frame_are_read_without_the_scaling() {
    assert_eq!(key_frame_size(&frame(true, 10)), Some((640, 480)));
    assert_eq!(key_frame_size(&frame(false, 10)), None);
    assert_eq!(key_frame_size(&frame(true, 10)[..9]), None);
    let mut wrong = frame(true, 10);
    wrong[4] = 0;
    assert_eq!(key_frame_size(&wrong), None);
}

#[test]
fn a_frame_without_its_beginning_middle_or_start_code_is_dropped_and_the_next_is_not() {
    let sent = frame(true, 500);
    let packets = Vp8Payloader::default().payload(100, &Bytes::from(sent.clone())).unwrap();
    let mut broken = packets.clone();
    broken[0] = Bytes::from_static(&[0x10, 0x10, 0, 0, 1, 2, 3]);
    let cases: [(&str, Vec<usize>); 4] = [
        ("beginning", (1..6).collect()),
        ("middle", vec![0, 1, 3, 4, 5]),
        ("twice", vec![0, 1, 1, 2]),
        ("none", vec![]),
    ];
    let (mut vp8, mut unit) = (Vp8Depacketizer::new(), empty());
    for (name, order) in cases {
        for i in order {
            vp8.push(i as u16, TIMESTAMP, &packets[i], &mut unit);
        }
        assert!(!vp8.finish(&mut unit), "{name}");
        assert!(unit.bytes.is_empty() && !vp8.has_picture());
    }
    for (i, payload) in broken.iter().enumerate() {
        vp8.push(i as u16, TIMESTAMP, payload, &mut unit);
    }
    assert!(!vp8.finish(&mut unit), "a key frame without start code");
    // An unfinished frame leaves nothing behind in the one of another timestamp; padding takes a number.
    vp8.push(9, TIMESTAMP, &packets[0], &mut unit);
    for (i, payload) in packets.iter().enumerate() {
        vp8.push(10 + 2 * i as u16, TIMESTAMP + 1, payload, &mut unit);
        assert!(vp8.push(11 + 2 * i as u16, TIMESTAMP + 1, &[], &mut unit));
    }
    assert!(vp8.finish(&mut unit));
    assert_eq!(unit.bytes, sent);
}

#[test]
fn a_frame_without_end_stays_within_bounds() {
    let (mut vp8, mut unit) = (Vp8Depacketizer::new(), empty());
    for seq in 0..1000u16 {
        let mut payload = vec![0; 1200];
        payload[0] = if seq == 0 { 0x10 } else { 0 };
        vp8.push(seq, TIMESTAMP, &payload, &mut unit);
        assert!(unit.bytes.len() <= MAX_ACCESS_UNIT_BYTES);
    }
    assert!(!vp8.finish(&mut unit));
}

#[test]
fn malice_costs_its_own_frame_at_most() {
    let sent = frame(true, 500);
    let whole = Vp8Payloader::default().payload(100, &Bytes::from(sent.clone())).expect("a whole frame");
    let (mut vp8, mut unit) = (Vp8Depacketizer::new(), empty());
    let mut timestamp = TIMESTAMP;
    for malice in MALICE {
        for other in MALICE {
            let _ = (Vp8Depacketizer::begins(malice), Vp8Depacketizer::continues(malice), key_frame_size(malice));
            timestamp += 1;
            vp8.push(0, timestamp, malice, &mut unit);
            vp8.push(1, timestamp, other, &mut unit);
            if vp8.finish(&mut unit) {
                assert_eq!(unit.is_keyframe, key_frame_size(&unit.bytes).is_some(), "{malice:02x?} {other:02x?}");
                unit.clear();
            }
        }
        timestamp += 1;
        for (seq, payload) in (2u16..).zip(&whole) {
            vp8.push(seq, timestamp, payload, &mut unit);
        }
        assert!(vp8.finish(&mut unit), "after {malice:02x?}");
        assert_eq!(unit.bytes, sent, "after {malice:02x?}");
        unit.clear();
    }
}

proptest! {
    #![proptest_config(crate::rtp::seeded())]

    #[test]
    fn any_payloads_never_panic(
        all in proptest::collection::vec((0u16..4, 0u32..2, proptest::collection::vec(any::<u8>(), 0..40)), 0..20)
    ) {
        let (mut vp8, mut unit) = (Vp8Depacketizer::new(), empty());
        for (seq, timestamp, payload) in &all {
            vp8.push(*seq, *timestamp, payload, &mut unit);
            let _ = (Vp8Depacketizer::begins(payload), Vp8Depacketizer::continues(payload), key_frame_size(payload));
            if payload.first().is_some_and(|byte| byte & 1 == 0) && vp8.finish(&mut unit) {
                prop_assert!(!unit.bytes.is_empty());
                prop_assert_eq!(unit.is_keyframe, key_frame_size(&unit.bytes).is_some());
            }
        }
    }

    #[test]
    fn both_implementations_agree_on_descriptors(payload in proptest::collection::vec(any::<u8>(), 1..12)) {
        let mut theirs = Vp8Packet::default();
        if let (Some((ours, rest)), Ok(their_rest)) =
            (Vp8Descriptor::parse(&payload), theirs.depacketize(&Bytes::from(payload.clone())))
        {
            prop_assert_eq!(rest, &their_rest[..]);
            prop_assert_eq!(ours.partition, theirs.pid);
            prop_assert_eq!(ours.picture_id.unwrap_or_default(), theirs.picture_id);
        }
    }
}
