//! Each payload form by hand, access units against the payloader of the `rtp` crate, malice, and arbitrary bytes.

use bytes::Bytes;
use proptest::prelude::*;
use rtp::codecs::h264::H264Payloader;
use rtp::packetizer::Payloader;

use super::*;
use crate::video::VideoCodec;

const SPS_UNIT: [u8; 8] = [0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50];
const PPS_UNIT: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
/// first_mb 0, slice type 7 (I).
const IDR_UNIT: [u8; 6] = [0x65, 0x88, 0x84, 0x11, 0x22, 0x33];
/// first_mb 0, slice type 5 (P); then the same with slice type 7 (I).
const P_UNIT: [u8; 6] = [0x41, 0x9a, 0x24, 0x44, 0x55, 0x66];
const I_UNIT: [u8; 6] = [0x61, 0x88, 0x80, 0x77, 0x88, 0x99];
/// first_mb 4, slice type 5 (P).
const LATER_P_UNIT: [u8; 5] = [0x41, 0x29, 0xa4, 0x44, 0x55];

/// What others died of, or might.
const MALICE: &[&[u8]] = &[
    // Panics the depacketizer of the `rtp` crate: one byte of a length.
    &[0x78, 0x00, 0x01, 0x41, 0x00],
    // STAP-A: nothing, half a length, no bytes, lengths beyond the end, empty units, a STAP-A and an FU-A within.
    &[0x78],
    &[0x78, 0x00],
    &[0x78, 0x00, 0x00],
    &[0x78, 0x00, 0x02, 0x41],
    &[0x78, 0xff, 0xff, 0x41, 0x9a],
    &[0x78, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x78, 0x00, 0x05, 0x78, 0x00, 0x02, 0x41, 0x9a],
    &[0x78, 0x00, 0x03, 0x7c, 0x85, 0x88],
    // FU-A: no header, no data, start and end at once, a middle, an end, fragments of aggregates and of fragments.
    &[0x7c],
    &[0x7c, 0x85],
    &[0x7c, 0xc5],
    &[0x7c, 0xc5, 0x88],
    &[0x7c, 0x05, 0x88],
    &[0x7c, 0x45, 0x88],
    &[0x7c, 0x98, 0x00, 0xff, 0xff],
    &[0x7c, 0x9c, 0x85, 0x88],
    &[0x7c, 0x80, 0x00],
    // STAP-B, MTAP16, MTAP24, FU-B, and types without meaning.
    &[0x79, 0x00, 0x00, 0x00, 0x02, 0x41, 0x9a],
    &[0x7a, 0x00, 0x00, 0x00, 0x00],
    &[0x7b],
    &[0x7d, 0x85, 0x00, 0x00, 0x88],
    &[0x60, 0x00],
    &[0x7e],
    &[0x7f, 0xff],
    // The forbidden bit, a header alone, a slice header of zeros, a start code as payload.
    &[0xe5, 0x88],
    &[0x65],
    &[0x65, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x00, 0x00, 0x00, 0x01, 0x65, 0x88],
];

fn empty() -> AccessUnit {
    AccessUnit::empty(VideoCodec::H264)
}

fn stap_a(units: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![0x78];
    for unit in units {
        payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        payload.extend_from_slice(unit);
    }
    payload
}

/// The fragments of a unit, in `count` packets.
fn fu_a(unit: &[u8], count: usize) -> Vec<Vec<u8>> {
    let size = unit[1..].len().div_ceil(count);
    let last = unit[1..].chunks(size).count() - 1;
    let header = |i: usize| unit[0] & 0x1f | if i == 0 { 0x80 } else { 0 } | if i == last { 0x40 } else { 0 };
    unit[1..].chunks(size).enumerate().map(|(i, data)| [&[unit[0] & 0xe0 | FU_A, header(i)], data].concat()).collect()
}

/// The units that come out of these payloads, one packet each, and whether they are a key frame. `None`: dropped.
fn put_together(h264: &mut H264Depacketizer, payloads: &[&[u8]]) -> Option<(Vec<Vec<u8>>, bool)> {
    let mut unit = empty();
    for (seq, payload) in payloads.iter().enumerate() {
        h264.push(65_534u16.wrapping_add(seq as u16), 1, payload, &mut unit);
    }
    let is_whole = h264.finish(&mut unit);
    sound(&unit);
    assert!(is_whole || unit.bytes.is_empty());
    is_whole.then(|| (unit.nal_units().map(<[u8]>::to_vec).collect(), unit.is_keyframe))
}

/// Bytes are start codes and units, and nothing else.
fn sound(unit: &AccessUnit) {
    let mut at = 0;
    for range in &unit.units {
        assert_eq!(unit.bytes[at..range.start], START_CODE);
        at = range.end;
    }
    assert!(at <= unit.bytes.len() && unit.bytes.len() <= MAX_ACCESS_UNIT_BYTES && unit.units.len() <= MAX_UNITS + 2);
}

#[test]
fn single_units_aggregates_and_fragments_give_the_same_access_unit() {
    let expected = Some((vec![SPS_UNIT.to_vec(), PPS_UNIT.to_vec(), IDR_UNIT.to_vec()], true));
    let fragments = fu_a(&IDR_UNIT, 3);
    let aggregate = stap_a(&[&SPS_UNIT, &PPS_UNIT]);
    let all = stap_a(&[&SPS_UNIT, &PPS_UNIT, &IDR_UNIT]);
    let padded = [&all[..], &[0, 0]].concat();
    for payloads in [
        vec![&SPS_UNIT[..], &PPS_UNIT, &IDR_UNIT],
        vec![&aggregate, &IDR_UNIT],
        vec![&all],
        vec![&padded],
        vec![&aggregate, &fragments[0], &fragments[1], &fragments[2]],
        vec![&aggregate, &fragments[0], &[], &fragments[1], &fragments[2]],
        vec![&aggregate, &[0x6c, 0xff, 0x80], &[0x6b], &IDR_UNIT, &[0x79, 0, 0, 0, 2, 0x41, 0x9a], &[0x7e]],
    ] {
        assert_eq!(put_together(&mut H264Depacketizer::new(), &payloads), expected, "{payloads:02x?}");
    }
}

#[test]
fn access_units_of_another_payloader_come_out_as_they_went_in() {
    let (mut payloader, mut h264, mut unit) = (H264Payloader::default(), H264Depacketizer::new(), empty());
    let mut seq = 65_500u16;
    for number in 0..200usize {
        let is_key = number % 40 == 0;
        let mut sent: Vec<Vec<u8>> = if is_key { vec![SPS_UNIT.to_vec(), PPS_UNIT.to_vec()] } else { vec![] };
        let header = if is_key { &IDR_UNIT } else { &P_UNIT };
        for slice in 0..number % 3 + 1 {
            let mut bytes = header.to_vec();
            bytes.extend((0..number * 13 + slice).map(|i| (i % 200) as u8 + 4));
            sent.push(bytes);
        }
        let stream: Vec<u8> = sent.iter().flat_map(|unit| [&START_CODE[..], unit].concat()).collect();
        for payload in payloader.payload(500, &Bytes::from(stream.clone())).unwrap() {
            assert!(h264.push(seq, number as u32, &payload, &mut unit));
            seq = seq.wrapping_add(1);
        }
        assert!(h264.finish(&mut unit));
        assert_eq!(unit.bytes, stream);
        assert_eq!(unit.is_keyframe, is_key);
        assert!(unit.nal_units().eq(sent.iter().map(Vec::as_slice)));
        unit.clear();
    }
}

#[test]
fn stale_fragments_are_never_continued() {
    let [a, b] = [fu_a(&IDR_UNIT, 3), fu_a(&P_UNIT, 3)];
    let mut h264 = H264Depacketizer::new();
    for (name, payloads) in [
        ("no start", vec![&a[1], &a[2]]),
        ("no end", vec![&a[0], &a[1]]),
        ("a new start", vec![&a[0], &a[1], &b[0], &b[1], &b[2]]),
        ("another type goes on", vec![&a[0], &a[1], &b[2]]),
        ("another unit between", vec![&a[0], &P_UNIT.to_vec(), &a[1], &a[2]]),
        ("a length beyond the end", vec![&a[0], &a[1], &a[2], &stap_a(&[&P_UNIT])[..7].to_vec()]),
    ] {
        let payloads: Vec<&[u8]> = payloads.iter().map(|payload| payload.as_slice()).collect();
        assert_eq!(put_together(&mut h264, &payloads), None, "{name}");
    }
    let mut unit = empty();
    for (seq, payload) in [(0, &a[0]), (1, &a[1]), (3, &a[2])] {
        h264.push(seq, 1, payload, &mut unit);
    }
    assert!(!h264.finish(&mut unit), "a gap");
    h264.push(4, 1, &a[0], &mut unit);
    h264.push(5, 1, &a[1], &mut unit);
    h264.push(6, 2, &a[2], &mut unit);
    assert!(!h264.finish(&mut unit), "another timestamp goes on");
    h264.push(7, 1, &a[0], &mut unit);
    h264.push(8, 2, &P_UNIT, &mut unit);
    assert!(h264.finish(&mut unit), "another timestamp begins anew");
    assert_eq!(unit.nal_units().collect::<Vec<_>>(), [&P_UNIT]);
}

#[test]
fn remembered_parameter_sets_stand_in_front_of_an_idr_without_them() {
    let all = Some((vec![SPS_UNIT.to_vec(), PPS_UNIT.to_vec(), IDR_UNIT.to_vec()], true));
    let mut h264 = H264Depacketizer::new();
    assert_eq!(put_together(&mut h264, &[&IDR_UNIT]), Some((vec![IDR_UNIT.to_vec()], false)), "nothing is known");
    assert_eq!(put_together(&mut h264, &[&stap_a(&[&SPS_UNIT, &PPS_UNIT])]), None, "no picture");
    assert_eq!(h264.parameter_sets(), (&SPS_UNIT[..], &PPS_UNIT[..]));
    let fragments = fu_a(&IDR_UNIT, 2);
    assert_eq!(put_together(&mut h264, &[&IDR_UNIT]), all);
    assert_eq!(put_together(&mut h264, &[&fragments[0], &fragments[1]]), all);
    assert_eq!(put_together(&mut h264, &[&SPS_UNIT, &IDR_UNIT]), all);
    // Twice, and in the order that they are read in.
    let (units, is_key) = put_together(&mut h264, &[&PPS_UNIT, &IDR_UNIT, &IDR_UNIT]).unwrap();
    assert!(is_key);
    assert_eq!(units, [&PPS_UNIT[..], &SPS_UNIT, &PPS_UNIT, &IDR_UNIT, &IDR_UNIT]);
    assert_eq!(put_together(&mut h264, &[&P_UNIT]), Some((vec![P_UNIT.to_vec()], false)));
    // One that is too large is passed on, and its predecessor is no longer right.
    let mut large = SPS_UNIT.to_vec();
    large.resize(MAX_PARAMETER_SET_BYTES + 1, 1);
    assert!(put_together(&mut h264, &[&large, &PPS_UNIT, &IDR_UNIT]).unwrap().1);
    assert_eq!(put_together(&mut h264, &[&IDR_UNIT]).map(|(_, is_key)| is_key), Some(false));
    // From SDP.
    assert!(h264.remember(&SPS_UNIT) && h264.remember(&PPS_UNIT) && !h264.remember(&IDR_UNIT) && !h264.remember(&[]));
    assert_eq!(put_together(&mut h264, &[&IDR_UNIT]), all);
}

#[test]
fn a_picture_of_i_slices_with_its_parameter_sets_is_a_key_frame() {
    let mut h264 = H264Depacketizer::new();
    let is_key = |h264: &mut H264Depacketizer, payloads: &[&[u8]]| put_together(h264, payloads).unwrap().1;
    assert!(is_key(&mut h264, &[&SPS_UNIT, &PPS_UNIT, &I_UNIT, &I_UNIT]));
    assert!(!is_key(&mut h264, &[&SPS_UNIT, &PPS_UNIT, &I_UNIT, &P_UNIT]));
    assert!(!is_key(&mut h264, &[&SPS_UNIT, &I_UNIT]));
    assert!(!is_key(&mut h264, &[&I_UNIT]));
}

#[test]
fn beginnings_and_continuations_are_told_apart() {
    let later = fu_a(&LATER_P_UNIT, 2);
    let first = fu_a(&P_UNIT, 2);
    for (payload, begins, continues) in [
        (&SPS_UNIT[..], true, false),
        (&[0x09, 0x10], true, false),
        (&stap_a(&[&SPS_UNIT, &PPS_UNIT]), true, false),
        (&PPS_UNIT, false, false),
        (&P_UNIT, false, false),
        (&LATER_P_UNIT, false, true),
        (&stap_a(&[&LATER_P_UNIT]), false, true),
        (&later[0], false, true),
        (&later[1], false, true),
        (&first[0], false, false),
        (&first[1], false, true),
        (&[0x78, 0], false, false),
        (&[], false, false),
    ] {
        assert_eq!(H264Depacketizer::begins(payload), begins, "{payload:02x?}");
        assert_eq!(H264Depacketizer::continues(payload), continues, "{payload:02x?}");
    }
}

#[test]
fn malice_costs_its_own_access_unit_at_most() {
    let whole = stap_a(&[&SPS_UNIT, &PPS_UNIT, &IDR_UNIT]);
    let mut h264 = H264Depacketizer::new();
    for malice in MALICE {
        put_together(&mut h264, &[malice]);
        put_together(&mut h264, &[malice, &P_UNIT, malice]);
        for other in MALICE {
            put_together(&mut h264, &[malice, other]);
        }
        let (units, is_key) = put_together(&mut h264, &[&whole]).unwrap();
        assert_eq!((units, is_key), (vec![SPS_UNIT.to_vec(), PPS_UNIT.to_vec(), IDR_UNIT.to_vec()], true));
    }
}

#[test]
fn access_units_without_end_stay_within_bounds() {
    let tiny = stap_a(&[&[0x41, 0x9a][..]; 300]);
    let large = [&P_UNIT[..], &[7; 1400]].concat();
    let middle = [&[0x7c, 0x05][..], &[7; 1400]].concat();
    for payload in [tiny, large, middle] {
        let (mut h264, mut unit) = (H264Depacketizer::new(), empty());
        h264.push(0, 1, &fu_a(&IDR_UNIT, 2)[0], &mut unit);
        for seq in 1..1000 {
            h264.push(seq, 1, &payload, &mut unit);
            sound(&unit);
        }
        assert!(!h264.finish(&mut unit));
    }
}

/// Bytes that often look like a payload.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = proptest::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        any_bytes.clone(),
        (0usize..MALICE.len()).prop_map(|i| MALICE[i].to_vec()),
        (prop_oneof![Just(0x78u8), Just(0x7c), Just(0x65), Just(0x41), Just(0x67), Just(0x68)], any_bytes.clone())
            .prop_map(|(first, rest)| [&[first][..], &rest].concat()),
        (prop_oneof![Just(0x85u8), Just(0x05), Just(0x45), Just(0xc1), Just(0x81), Just(0x41)], any_bytes)
            .prop_map(|(header, rest)| [&[0x7c, header][..], &rest].concat()),
    ]
}

proptest! {
    #![proptest_config(crate::rtp::seeded())]

    #[test]
    fn any_payloads_never_panic(all in proptest::collection::vec((0u16..3, 0u32..2, payload(), any::<bool>()), 0..24)) {
        let (mut h264, mut unit) = (H264Depacketizer::new(), empty());
        let mut seq = 65_530u16;
        for (step, timestamp, payload, is_end) in &all {
            seq = seq.wrapping_add(*step);
            h264.push(seq, *timestamp, payload, &mut unit);
            let _ = (H264Depacketizer::begins(payload), H264Depacketizer::continues(payload), h264.looks_key());
            sound(&unit);
            if *is_end && h264.finish(&mut unit) {
                sound(&unit);
                prop_assert_eq!(unit.units.last().map(|last| last.end), Some(unit.bytes.len()));
                unit.clear();
            }
        }
    }

    /// However units are cut into fragments and put into aggregates.
    #[test]
    fn any_packetization_gives_the_same_units(
        slices in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 3..300), 1usize..9, any::<bool>()), 1..12)
    ) {
        let mut payloads = vec![stap_a(&[&SPS_UNIT, &PPS_UNIT])];
        let mut sent = vec![SPS_UNIT.to_vec(), PPS_UNIT.to_vec()];
        for (bytes, count, in_aggregate) in slices {
            let unit = [&[0x65, 0x88][..], &bytes].concat();
            match (count, in_aggregate) {
                (1, false) => payloads.push(unit.clone()),
                (1, true) => payloads.push(stap_a(&[&unit])),
                _ => payloads.extend(fu_a(&unit, count)),
            }
            sent.push(unit);
        }
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(put_together(&mut H264Depacketizer::new(), &payloads), Some((sent, true)));
    }
}
