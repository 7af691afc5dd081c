//! Feedback against bytes drawn by hand from the RFCs, and against any bytes.

use proptest::prelude::*;

use super::*;
use crate::rtp::rtcp::{Compound, MAX_COMPOUND_BYTES, MAX_COMPOUND_WITH_FEEDBACK_BYTES, Packet, packets};

const OURS: Ssrc = Ssrc(0x0102_0304);
const THEIRS: Ssrc = Ssrc(0xa1a2_a3a4);

fn read(bytes: &[u8]) -> Received<'_> {
    let mut walk = packets(bytes);
    let Some(Packet::Feedback(received)) = walk.next() else { panic!("{bytes:?}") };
    assert!(walk.next().is_none());
    received
}

/// The feedback within a compound, which begins with an RR and an SDES.
fn written(feedback: &[Feedback<'_>]) -> Vec<u8> {
    let compound = Compound { ssrc: THEIRS, sender: None, report: None, cname: "c", bye: false };
    let mut out = [0; MAX_COMPOUND_WITH_FEEDBACK_BYTES];
    let length = compound.write_with(feedback, &mut out).unwrap();
    let mut bare = [0; MAX_COMPOUND_BYTES];
    let before = compound.write(&mut bare).unwrap();
    assert_eq!(out[..before], bare[..before]);
    out[before..length].to_vec()
}

// The layouts below are drawn by hand from the figures in RFC 4585 §6.1, §6.2.1, RFC 5104 §4.2.1.1, §4.3.1.1 and the draft.

#[test]
fn nack_has_the_bytes_of_rfc_4585() {
    let bytes = [
        &[0x81, 205, 0, 4, 0xa1, 0xa2, 0xa3, 0xa4, 1, 2, 3, 4][..],
        // 65,534, and of the 16 after it the 1st, the 2nd and the 16th; then 100 alone.
        &[0xff, 0xfe, 0x80, 0x03, 0, 100, 0, 0],
    ]
    .concat();
    let pairs = [(65_534, 0x8003), (100, 0)];
    assert_eq!(written(&[Feedback::Nack { about: OURS, pairs: &pairs }]), bytes);
    let received = read(&bytes);
    assert_eq!((received.from, received.about, received.limit(OURS)), (THEIRS, OURS, None));
    let Message::Nack(nacks) = received.message else { panic!() };
    assert_eq!(nacks.collect::<Vec<_>>(), [65_534, 65_535, 0, 14, 100]);
}

#[test]
fn pli_has_the_bytes_of_rfc_4585() {
    let bytes = [0x81, 206, 0, 2, 0xa1, 0xa2, 0xa3, 0xa4, 1, 2, 3, 4];
    assert_eq!(written(&[Feedback::PictureLoss { about: OURS }]), bytes);
    assert!(matches!(read(&bytes), Received { from: THEIRS, about: OURS, message: Message::PictureLoss }));
}

#[test]
fn fir_has_the_bytes_of_rfc_5104() {
    let bytes = [0x84, 206, 0, 4, 0xa1, 0xa2, 0xa3, 0xa4, 0, 0, 0, 0, 1, 2, 3, 4, 77, 0, 0, 0];
    let entry = FullIntra { source: OURS, command: 77 };
    assert_eq!(written(&[Feedback::FullIntra(entry)]), bytes);
    let Message::FullIntra(entries) = read(&bytes).message else { panic!() };
    assert_eq!(entries.collect::<Vec<_>>(), [entry]);
}

#[test]
fn tmmbr_and_tmmbn_have_the_bytes_of_rfc_5104() {
    // 512,000 = 64,000 × 2³ would fit as well, but the mantissa takes 17 bits: 128,000 × 2².
    let limit = Limit { source: OURS, bitrate: Bitrate::kbps(512), overhead_bytes: 40 };
    let word = 2u32 << 26 | 128_000 << 9 | 40;
    let mut bytes =
        [&[0x83, 205, 0, 4, 0xa1, 0xa2, 0xa3, 0xa4, 0, 0, 0, 0, 1, 2, 3, 4][..], &word.to_be_bytes()].concat();
    assert_eq!(written(&[Feedback::MaxBitrate(limit)]), bytes);
    let received = read(&bytes);
    assert_eq!((received.limit(OURS), received.limit(THEIRS)), (Some(Bitrate::kbps(512)), None));
    let Message::MaxBitrate(limits) = received.message else { panic!() };
    assert_eq!(limits.collect::<Vec<_>>(), [limit]);

    bytes[0] = 0x84;
    assert_eq!(written(&[Feedback::MaxBitrateNotice(Some(limit))]), bytes);
    let received = read(&bytes);
    assert_eq!(received.limit(OURS), None, "a notice limits the one who gives it");
    let Message::MaxBitrateNotice(limits) = received.message else { panic!() };
    assert_eq!(limits.collect::<Vec<_>>(), [limit]);

    let empty = written(&[Feedback::MaxBitrateNotice(None)]);
    assert_eq!(empty, [0x84, 205, 0, 2, 0xa1, 0xa2, 0xa3, 0xa4, 0, 0, 0, 0]);
    let Message::MaxBitrateNotice(mut limits) = read(&empty).message else { panic!() };
    assert_eq!(limits.next(), None);
}

#[test]
fn remb_has_the_bytes_of_the_draft() {
    // 1,000,000 = 250,000 × 2² in 18 bits.
    let word = 2u32 << 24 | 2 << 18 | 250_000;
    let bytes = [
        &[0x8f, 206, 0, 6, 0xa1, 0xa2, 0xa3, 0xa4, 0, 0, 0, 0, b'R', b'E', b'M', b'B'][..],
        &word.to_be_bytes(),
        &[1, 2, 3, 4, 0, 0, 0, 9],
    ]
    .concat();
    assert_eq!(written(&[Feedback::Estimate { bitrate: Bitrate::kbps(1000), sources: &[OURS, Ssrc(9)] }]), bytes);
    let received = read(&bytes);
    assert_eq!(received.limit(OURS), Some(Bitrate::kbps(1000)));
    assert_eq!(received.limit(THEIRS), None);
    let Message::Estimate { sources, .. } = received.message else { panic!() };
    assert_eq!(sources.collect::<Vec<_>>(), [OURS, Ssrc(9)]);
}

#[test]
fn remb_with_a_wrong_count_has_the_sources_that_are_there() {
    for (count, named) in [(0, 0), (1, 1), (200, 1)] {
        let bytes = [0x8f, 206, 0, 5, 0, 0, 0, 7, 0, 0, 0, 0, b'R', b'E', b'M', b'B', count, 0, 0x13, 0x88, 1, 2, 3, 4];
        let received = read(&bytes);
        assert_eq!(received.limit(OURS), Some(Bitrate::bps(5_000)));
        let Message::Estimate { sources, .. } = received.message else { panic!() };
        assert_eq!(sources.count(), named);
    }
}

#[test]
fn what_is_cut_short_or_unknown_is_handed_through_as_other() {
    let cases: [&[u8]; 6] = [
        &[0x81, 205, 0, 0],
        &[0x81, 206, 0, 1, 0, 0, 0, 7],
        // Transport-wide feedback, RPSI, application feedback that is not REMB, REMB without its bitrate.
        &[0x8f, 205, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8],
        &[0x83, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8],
        &[0x8f, 206, 0, 4, 0, 0, 0, 7, 0, 0, 0, 0, b'R', b'E', b'M', b'C', 1, 0, 0, 1],
        &[0x8f, 206, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, b'R', b'E', b'M', b'B'],
    ];
    for bytes in cases {
        assert!(matches!(packets(bytes).next(), Some(Packet::Other(205 | 206))), "{bytes:?}");
    }
}

#[test]
fn padding_is_no_entry() {
    let bytes = [0xa4, 206, 0, 5, 0, 0, 0, 7, 0, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 0, 0, 0, 0, 4];
    let Message::FullIntra(entries) = read(&bytes).message else { panic!() };
    assert_eq!(entries.collect::<Vec<_>>(), [FullIntra { source: OURS, command: 1 }]);
    // What padding left over of an entry is none.
    let bytes = [0xa1, 205, 0, 4, 0, 0, 0, 7, 0, 0, 0, 8, 0, 1, 0, 0, 0, 2, 0, 2];
    let Message::Nack(nacks) = read(&bytes).message else { panic!() };
    assert_eq!(nacks.collect::<Vec<_>>(), [1]);
}

#[test]
fn a_nack_of_a_whole_datagram_is_bounded() {
    let words = 16_000u16;
    let mut bytes = vec![0x81, 205];
    bytes.extend((words + 2).to_be_bytes());
    bytes.resize(4 + 4 * usize::from(words + 2), 0xff);
    let Message::Nack(nacks) = read(&bytes).message else { panic!() };
    assert_eq!(nacks.count(), 17 * MAX_NACK_PAIRS_READ);
}

#[test]
fn one_of_each_kind_at_its_largest_fits_and_a_byte_less_does_not() {
    let pairs = [(1, 0xffff); MAX_NACK_PAIRS + 5];
    let sources = [OURS; MAX_REMB_SOURCES + 5];
    let limit = Limit { source: OURS, bitrate: Bitrate::bps(u32::MAX), overhead_bytes: u16::MAX };
    let all = [
        Feedback::Nack { about: OURS, pairs: &pairs },
        Feedback::PictureLoss { about: OURS },
        Feedback::FullIntra(FullIntra { source: OURS, command: 255 }),
        Feedback::MaxBitrate(limit),
        Feedback::MaxBitrateNotice(Some(limit)),
        Feedback::Estimate { bitrate: Bitrate::bps(u32::MAX), sources: &sources },
    ];
    let bytes = written(&all);
    assert_eq!(bytes.len(), MAX_FEEDBACK_BYTES);
    assert_eq!(packets(&bytes).filter(|packet| matches!(packet, Packet::Feedback(_))).count(), all.len());
    let compound = Compound { ssrc: THEIRS, sender: None, report: None, cname: "c", bye: true };
    let mut out = [0; MAX_COMPOUND_WITH_FEEDBACK_BYTES];
    let length = compound.write_with(&all, &mut out).unwrap();
    assert!(matches!(packets(&out[..length]).last(), Some(Packet::Goodbye(_))));
    for short in 0..length {
        assert_eq!(compound.write_with(&all, &mut out[..short]), None);
    }
}

#[test]
fn a_repeated_fir_is_recognised_until_it_is_clear_that_it_was_not_answered() {
    let t = Instant::now();
    let ms = Duration::from_millis;
    let mut last = LastFullIntra::default();
    assert!(last.is_new(t, THEIRS, 0));
    assert!(!last.is_new(t + ms(100), THEIRS, 0));
    assert!(last.is_new(t + ms(200), THEIRS, 1));
    assert!(last.is_new(t + ms(300), OURS, 1));
    assert!(!last.is_new(t + ms(2_299), OURS, 1));
    assert!(last.is_new(t + ms(2_300), OURS, 1));
}

proptest! {
    #![proptest_config(crate::rtp::seeded())]

    #[test]
    fn any_feedback_never_panics_and_stays_bounded(
        kind in 205u8..=206,
        format in 0u8..=31,
        padded: bool,
        remb: bool,
        mut body in proptest::collection::vec(any::<u8>(), 0..1_200),
    ) {
        body.truncate(body.len() / 4 * 4);
        if let (true, Some(id)) = (remb, body.get_mut(8..12)) {
            id.copy_from_slice(b"REMB");
        }
        let [l0, l1] = ((body.len() / 4) as u16).to_be_bytes();
        let mut bytes = vec![0x80 | u8::from(padded) << 5 | format, kind, l0, l1];
        bytes.extend_from_slice(&body);
        for packet in packets(&bytes) {
            let Packet::Feedback(received) = packet else { continue };
            let _ = received.limit(OURS);
            let entries = match received.message {
                Message::Nack(nacks) => nacks.count() / 17,
                Message::PictureLoss => 0,
                Message::FullIntra(entries) => entries.count(),
                Message::MaxBitrate(limits) | Message::MaxBitrateNotice(limits) => limits.count(),
                Message::Estimate { sources, .. } => sources.count(),
            };
            prop_assert!(entries <= body.len() / 4);
        }
    }

    #[test]
    fn bitrates_come_back_rounded_down_by_less_than_their_mantissa_tells(bps: u32, overhead_bytes in 0u16..512) {
        let limit = Limit { source: OURS, bitrate: Bitrate::bps(bps), overhead_bytes };
        let bytes = written(&[Feedback::MaxBitrate(limit)]);
        let estimate = written(&[Feedback::Estimate { bitrate: Bitrate::bps(bps), sources: &[] }]);
        for (bytes, bits) in [(bytes, 16), (estimate, 17)] {
            let back = read(&bytes).limit(OURS).unwrap().as_bps();
            prop_assert!(back <= bps && bps - back <= bps >> bits, "{} of {}", back, bps);
        }
    }

    #[test]
    fn pairs_name_what_their_bits_say(pid: u16, blp: u16) {
        let bytes = written(&[Feedback::Nack { about: OURS, pairs: &[(pid, blp)] }]);
        let Message::Nack(nacks) = read(&bytes).message else { panic!() };
        let expected: Vec<u16> = std::iter::once(pid)
            .chain((0..16).filter(|bit| blp >> bit & 1 == 1).map(|bit| pid.wrapping_add(bit + 1)))
            .collect();
        prop_assert_eq!(nacks.collect::<Vec<_>>(), expected);
    }
}
