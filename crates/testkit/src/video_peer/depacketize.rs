//! Packets of one picture to its access unit, by the `rtp` crate's depacketizers. These panic on odd payloads, so each is
//! looked at first, strictly. Pure.

use crate::video_codec::VideoCodec;
use bytes::Bytes;
use rtp::codecs::h264::H264Packet;
use rtp::codecs::vp8::Vp8Packet;
use rtp::packetizer::Depacketizer;

/// The access unit (Annex B for H.264) of the payloads, all of one timestamp, in order and none missing.
///
/// # Errors
/// What breaks RFC 6184 or RFC 7741.
pub(super) fn access_unit(codec: VideoCodec, mode: u8, payloads: &[Bytes]) -> Result<Vec<u8>, String> {
    match codec {
        VideoCodec::H264 => h264(mode, payloads),
        VideoCodec::Vp8 => vp8(payloads),
    }
}

fn h264(mode: u8, payloads: &[Bytes]) -> Result<Vec<u8>, String> {
    let mut depacketizer = H264Packet::default();
    // The type of the fragmented unit that is under way.
    let mut fragmented = None;
    let mut out = Vec::new();
    for payload in payloads {
        let first = *payload.first().ok_or("an empty payload")?;
        if first & 0x80 != 0 {
            return Err(format!("forbidden bit in {first:#x}"));
        }
        let kind = first & 0x1f;
        if mode == 0 && !(1..=23).contains(&kind) {
            return Err(format!("NAL type {kind} in packetization mode 0"));
        }
        match (kind, fragmented) {
            (1..=24, Some(of)) => return Err(format!("NAL type {kind} within the fragments of type {of}")),
            (1..=23, None) => {}
            (24, None) => aggregate(payload)?,
            (28, _) => fragmented = fragment(payload, fragmented)?,
            _ => return Err(format!("NAL type {kind} in packetization mode {mode}")),
        }
        out.extend(depacketizer.depacketize(payload).map_err(|e| e.to_string())?);
    }
    if fragmented.is_some() {
        return Err("the last fragment of a NAL unit is missing".to_owned());
    }
    Ok(out)
}

/// RFC 6184 §5.7.1: at least one unit, sizes that fill the payload.
fn aggregate(payload: &[u8]) -> Result<(), String> {
    let mut rest = payload.get(1..).unwrap_or(&[]);
    if rest.is_empty() {
        return Err("an empty STAP-A".to_owned());
    }
    while let [high, low, more @ ..] = rest {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        rest = more.get(size..).filter(|_| size > 0).ok_or("a STAP-A with wrong sizes")?;
    }
    if rest.is_empty() { Ok(()) } else { Err("a STAP-A with a rest".to_owned()) }
}

/// RFC 6184 §5.8: start, more of the same type, end. Gives the type that is under way after this one.
fn fragment(payload: &[u8], under_way: Option<u8>) -> Result<Option<u8>, String> {
    let [_, header, _, ..] = *payload else { return Err("a short FU-A".to_owned()) };
    let (is_start, is_end, kind) = (header & 0x80 != 0, header & 0x40 != 0, header & 0x1f);
    if is_start && is_end {
        return Err("an FU-A that starts and ends a unit".to_owned());
    }
    match under_way {
        None if is_start => Ok(Some(kind)),
        Some(of) if !is_start && of == kind => Ok(if is_end { None } else { under_way }),
        _ => Err(format!("FU-A {header:#x} while {under_way:?} is under way")),
    }
}

fn vp8(payloads: &[Bytes]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for (n, payload) in payloads.iter().enumerate() {
        let descriptor = vp8_descriptor_len(payload)?;
        // S=1 and PID=0 begin a picture, and only that (RFC 7741 §4.2).
        let begins = payload[0] & 0x17 == 0x10;
        if begins != (n == 0) {
            return Err(format!("descriptor {:#x} in packet {n} of a picture", payload[0]));
        }
        // The crate refuses payloads under four bytes, which a last fragment may well be; it also remembers fields.
        match payload.len() {
            0..4 => out.extend_from_slice(&payload[descriptor..]),
            _ => out.extend(Vp8Packet::default().depacketize(payload).map_err(|e| e.to_string())?),
        }
    }
    Ok(out)
}

/// Length of the payload descriptor (RFC 7741 §4.2), when something follows it.
fn vp8_descriptor_len(payload: &[u8]) -> Result<usize, String> {
    let first = *payload.first().ok_or("an empty payload")?;
    let mut len = 1;
    if first & 0x80 != 0 {
        let extension = payload.get(1).copied().ok_or("a short descriptor")?;
        len += 1;
        if extension & 0x80 != 0 {
            let id = payload.get(2).copied().ok_or("a short descriptor")?;
            len += if id & 0x80 != 0 { 2 } else { 1 };
        }
        len += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    }
    if len < payload.len() { Ok(len) } else { Err("a descriptor without payload".to_owned()) }
}

/// The picture id of a packet that has one, and its width in bits.
pub(super) fn vp8_picture_id(payload: &[u8]) -> Option<(u16, u32)> {
    let [0x80..=0xff, 0x80..=0xff, id, more @ ..] = payload else { return None };
    if id & 0x80 == 0 {
        return Some((u16::from(*id), 7));
    }
    Some((u16::from_be_bytes([id & 0x7f, *more.first()?]), 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(codec: VideoCodec, payloads: &[&[u8]]) -> Result<Vec<u8>, String> {
        let payloads: Vec<Bytes> = payloads.iter().map(|p| Bytes::copy_from_slice(p)).collect();
        access_unit(codec, 1, &payloads)
    }

    #[test]
    fn fragments_and_aggregates_become_a_unit() {
        let stap: &[u8] = &[0x78, 0, 3, 0x67, 1, 2, 0, 3, 0x68, 3, 4];
        let fragments: [&[u8]; 3] = [&[0x7c, 0x85, 5, 6], &[0x7c, 0x05, 7], &[0x7c, 0x45, 8]];
        let got = unit(VideoCodec::H264, &[stap, fragments[0], fragments[1], fragments[2]]).unwrap();
        assert_eq!(got, [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 4, 0, 0, 0, 1, 0x65, 5, 6, 7, 8]);
    }

    #[test]
    fn what_would_panic_or_is_stale_is_refused() {
        let wrong: [&[&[u8]]; 9] = [
            &[&[0x78, 0, 1, 0x41, 0]],
            &[&[0x78]],
            &[&[0x78, 0, 0, 0, 1, 0x41]],
            &[&[0x7c, 0x85, 5, 6]],
            &[&[0x7c, 0x45, 5, 6]],
            &[&[0x7c, 0x85, 5, 6], &[0x41, 1, 2]],
            &[&[0x7c, 0xc5, 5, 6]],
            &[&[0x7c, 0x85]],
            &[&[]],
        ];
        for payloads in wrong {
            assert!(unit(VideoCodec::H264, payloads).is_err(), "{payloads:?}");
        }
    }

    #[test]
    fn mode_0_has_single_units_only() {
        let stap = [Bytes::from_static(&[0x78, 0, 3, 0x67, 1, 2])];
        assert!(access_unit(VideoCodec::H264, 0, &stap).is_err());
        assert!(access_unit(VideoCodec::H264, 1, &stap).is_ok());
    }

    #[test]
    fn vp8_pictures_begin_once_and_may_end_in_a_byte() {
        assert_eq!(unit(VideoCodec::Vp8, &[&[0x10, 1, 2, 3], &[0, 4]]), Ok(vec![1, 2, 3, 4]));
        let extended: &[u8] = &[0x90, 0xf0, 0x81, 0x02, 9, 0x20, 1, 2];
        assert_eq!(unit(VideoCodec::Vp8, &[extended]), Ok(vec![1, 2]));
        assert_eq!(vp8_picture_id(extended), Some((0x102, 15)));
        for wrong in [
            &[&[0u8, 1, 2, 3][..]][..],
            &[&[0x10, 1, 2, 3], &[0x10, 4]],
            &[&[0x90, 0xf0, 0x81, 2, 9, 0x20]],
            &[&[0x90]],
        ] {
            assert!(unit(VideoCodec::Vp8, wrong).is_err(), "{wrong:?}");
        }
    }
}
