//! What an Opus packet says about itself before it is decoded: RFC 6716 §3 (framing) and §4.2.4 (LBRR flags).
//! Input is untrusted: every access is checked.

/// The facts of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusPacket {
    /// Its length at 48 kHz: 120 (2.5 ms) to 5760 (120 ms).
    pub samples: usize,
    /// Its first frame carries an LBRR copy of the frame before it (RFC 6716 §4.2.5).
    pub fec: bool,
}

/// Longest packet (RFC 6716 §3.2.5, R5).
const MAX_SAMPLES: usize = 5760;
/// Longest frame in bytes (R2).
const MAX_FRAME_BYTES: usize = 1275;

/// Reads the packet's framing; `None` when it is malformed.
pub fn inspect(packet: &[u8]) -> Option<OpusPacket> {
    let toc = *packet.first()?;
    let frame_samples = frame_samples(toc);
    let (frames, first) = frames(toc & 3, packet.get(1..)?)?;
    let samples = frames * frame_samples;
    if samples > MAX_SAMPLES {
        return None;
    }
    Some(OpusPacket { samples, fec: has_lbrr(toc, frame_samples, first) })
}

/// Table 2 of RFC 6716: the configuration number fixes mode, bandwidth and frame length.
fn frame_samples(toc: u8) -> usize {
    let config = usize::from(toc >> 3);
    match config {
        0..12 => [480, 960, 1920, 2880][config & 3],
        12..16 => [480, 960][config & 1],
        _ => [120, 240, 480, 960][config & 3],
    }
}

/// The number of frames and the bytes of the first one (§3.2.2–§3.2.5). `body` is what follows the TOC byte.
fn frames(code: u8, body: &[u8]) -> Option<(usize, &[u8])> {
    match code {
        0 => bounded(1, body),
        1 => {
            let (half, odd) = (body.len() / 2, body.len() % 2);
            if odd != 0 { None } else { bounded(2, body.get(..half)?) }
        }
        2 => {
            let (length, rest) = frame_length(body)?;
            bounded(2, rest.get(..length)?)
        }
        _ => many_frames(body),
    }
}

/// Code 3: a signalled number of frames, of equal or of given lengths, with or without padding.
fn many_frames(body: &[u8]) -> Option<(usize, &[u8])> {
    let (&head, mut rest) = body.split_first()?;
    let frames = usize::from(head & 0x3f);
    if frames == 0 {
        return None;
    }
    if head & 0x40 != 0 {
        let mut padding = 0usize;
        loop {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            padding += usize::from(byte.min(254));
            if byte != 255 {
                break;
            }
        }
        rest = rest.get(..rest.len().checked_sub(padding)?)?;
    }
    if head & 0x80 == 0 {
        return if rest.len() % frames == 0 { bounded(frames, rest.get(..rest.len() / frames)?) } else { None };
    }
    let (mut total, mut first_length) = (0, None);
    for _ in 1..frames {
        let (length, tail) = frame_length(rest)?;
        rest = tail;
        total += length;
        first_length.get_or_insert(length);
    }
    if total > rest.len() {
        return None;
    }
    bounded(frames, rest.get(..first_length.unwrap_or(rest.len()))?)
}

fn bounded(frames: usize, first: &[u8]) -> Option<(usize, &[u8])> {
    (first.len() <= MAX_FRAME_BYTES).then_some((frames, first))
}

/// A frame length in one or two bytes (§3.2.1), and what follows it.
fn frame_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&low, rest) = bytes.split_first()?;
    if low < 252 {
        return Some((usize::from(low), rest));
    }
    let (&high, rest) = rest.split_first()?;
    Some((usize::from(high) * 4 + usize::from(low), rest))
}

/// The LBRR flag follows one VAD flag for each 20 ms of the frame, for each channel (§4.2.3, §4.2.4). The flags are
/// coded with equal odds, so they are plain bits at the top of the frame.
fn has_lbrr(toc: u8, frame_samples: usize, first: &[u8]) -> bool {
    const CELT_ONLY: u8 = 0x80;
    let Some(&flags) = first.first() else { return false };
    if toc & CELT_ONLY != 0 {
        return false;
    }
    let silk_frames = (frame_samples / 960).max(1);
    let stereo = toc & 4 != 0;
    (flags >> (7 - silk_frames)) & 1 == 1 || (stereo && (flags >> (6 - 2 * silk_frames)) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opusic_sys as ffi;
    use proptest::prelude::*;

    #[expect(unsafe_code, reason = "libopus is the reference")]
    fn reference(packet: &[u8]) -> Option<OpusPacket> {
        let len = packet.len() as i32;
        let (mut frames, mut sizes) = ([std::ptr::null(); 48], [0i16; 48]);
        let mut toc = 0u8;
        let mut offset = 0;
        // SAFETY: pointer and length are those of a slice; the arrays have the 48 entries that the call may fill.
        let (count, samples, lbrr) = unsafe {
            (
                ffi::opus_packet_parse(
                    packet.as_ptr(),
                    len,
                    &raw mut toc,
                    frames.as_mut_ptr(),
                    sizes.as_mut_ptr(),
                    &raw mut offset,
                ),
                ffi::opus_packet_get_nb_samples(packet.as_ptr(), len, 48_000),
                ffi::opus_packet_has_lbrr(packet.as_ptr(), len),
            )
        };
        (count > 0 && samples > 0).then_some(OpusPacket { samples: samples as usize, fec: lbrr == 1 })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]
        #[test]
        fn any_packet_is_read_as_libopus_reads_it(
            packet in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..6, 250u8..=255], 1..40)
        ) {
            prop_assert_eq!(inspect(&packet), reference(&packet));
        }
    }

    #[test]
    fn an_empty_packet_is_malformed() {
        assert_eq!(inspect(&[]), None);
    }

    #[test]
    fn an_oversized_frame_is_malformed() {
        assert_eq!(inspect(&[0x78; 1277]), None);
        assert!(inspect(&[0x78; 1276]).is_some());
    }
}
