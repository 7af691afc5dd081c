//! RTP headers (RFC 3550 §5.1), header extensions (RFC 8285), audio levels in them (RFC 6464), and telling RTP from
//! RTCP on one port (RFC 5761 §4). Runs on the worker's thread; allocates nothing, knows nothing of codecs.

use crate::units::Ssrc;

/// Bytes of a header without CSRCs and extensions: the only kind that we write.
pub const HEADER_BYTES: usize = 12;

/// What a datagram on an RTP port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Looks like RTP; it still has to parse.
    Rtp,
    /// Looks like RTCP; it still has to parse.
    Rtcp,
    /// STUN, DTLS, a NAT keep-alive, or noise.
    Other,
}

impl Datagram {
    /// By version and packet type (RFC 5761 §4, RFC 7983 §7): RTCP has 192–223 in its second byte.
    pub fn classify(datagram: &[u8]) -> Self {
        match datagram {
            [first, second, ..] if first >> 6 == 2 => match second {
                192..=223 => Self::Rtcp,
                _ => Self::Rtp,
            },
            _ => Self::Other,
        }
    }
}

/// A view of an RTP packet. Borrowed from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The marker bit.
    pub marker: bool,
    /// 0–127.
    pub payload_type: u8,
    /// Sequence number.
    pub seq: u16,
    /// RTP timestamp, in units of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// Without padding; may be empty.
    pub payload: &'a [u8],
    /// Profile and elements of the header extension.
    extension: Option<(u16, &'a [u8])>,
}

impl<'a> RtpPacket<'a> {
    /// `None` when it is not version 2, is cut short, or its padding is longer than what it pads (RFC 3550 A.1).
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = datagram.split_first_chunk::<HEADER_BYTES>()?;
        let [flags, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        if flags >> 6 != 2 {
            return None;
        }
        let csrcs = usize::from(flags & 0x0f) * 4;
        rest = rest.get(csrcs..)?;
        let mut extension = None;
        if flags & 0x10 != 0 {
            let ([p0, p1, l0, l1], after) = rest.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
            let (elements, payload) = after.split_at_checked(length)?;
            extension = Some((u16::from_be_bytes([*p0, *p1]), elements));
            rest = payload;
        }
        if flags & 0x20 != 0 {
            let padding = usize::from(*rest.last()?);
            if padding == 0 {
                return None;
            }
            rest = rest.get(..rest.len().checked_sub(padding)?)?;
        }
        Some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            seq: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: Ssrc(u32::from_be_bytes([c0, c1, c2, c3])),
            payload: rest,
            extension,
        })
    }

    /// The data of the header extension element `id`, in the one-byte or the two-byte form (RFC 8285 §4.2, §4.3).
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        let (profile, mut rest) = self.extension?;
        let two_byte = match profile {
            0xbede => false,
            0x1000..=0x100f => true,
            _ => return None,
        };
        while let Some((first, after)) = rest.split_first() {
            // Padding between elements.
            if *first == 0 {
                rest = after;
                continue;
            }
            let (found, length, data) = if two_byte {
                let (length, data) = after.split_first()?;
                (*first, usize::from(*length), data)
            } else {
                // 15 ends the list (§4.2).
                if first >> 4 == 15 {
                    return None;
                }
                (first >> 4, usize::from(first & 0x0f) + 1, after)
            };
            let (data, after) = data.split_at_checked(length)?;
            if found == id {
                return Some(data);
            }
            rest = after;
        }
        None
    }

    /// RFC 6464 §3: the voice flag, and the level in −dBov (0 is overload, 127 is silence).
    pub fn audio_level(&self, id: u8) -> Option<(bool, u8)> {
        let level = self.extension(id)?.first()?;
        Some((level & 0x80 != 0, level & 0x7f))
    }
}

/// Writes a plain header and gives its length, or 0 when `out` has less than [`HEADER_BYTES`].
pub fn write_header(out: &mut [u8], marker: bool, payload_type: u8, seq: u16, timestamp: u32, ssrc: Ssrc) -> usize {
    let Some(header) = out.first_chunk_mut::<HEADER_BYTES>() else { return 0 };
    let [s0, s1] = seq.to_be_bytes();
    let [t0, t1, t2, t3] = timestamp.to_be_bytes();
    let [c0, c1, c2, c3] = ssrc.0.to_be_bytes();
    let second = payload_type & 0x7f | if marker { 0x80 } else { 0 };
    *header = [0x80, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
    HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtp::extension::audio_level_extension::AudioLevelExtension;
    use rtp::header::{EXTENSION_PROFILE_ONE_BYTE, EXTENSION_PROFILE_TWO_BYTE, Extension, Header};
    use webrtc_util::marshal::{Marshal, Unmarshal};

    use super::*;

    fn plain(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; HEADER_BYTES];
        assert_eq!(write_header(&mut packet, true, 111, 0xfffe, 0x8000_0001, Ssrc(0xdead_beef)), HEADER_BYTES);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn what_is_written_reads_back() {
        let packet = plain(b"payload");
        let read = RtpPacket::parse(&packet).unwrap();
        assert_eq!((read.marker, read.payload_type, read.seq), (true, 111, 0xfffe));
        assert_eq!((read.timestamp, read.ssrc, read.payload), (0x8000_0001, Ssrc(0xdead_beef), &b"payload"[..]));
        assert_eq!(read.audio_level(1), None);
        assert_eq!(write_header(&mut [0; 11], false, 0, 0, 0, Ssrc(0)), 0);
    }

    #[test]
    fn an_independent_implementation_reads_our_header() {
        let packet = plain(b"payload");
        let header = Header::unmarshal(&mut packet.as_slice()).unwrap();
        assert_eq!((header.version, header.marker, header.payload_type), (2, true, 111));
        assert_eq!((header.sequence_number, header.timestamp, header.ssrc), (0xfffe, 0x8000_0001, 0xdead_beef));
    }

    #[test]
    fn padding_is_cut_and_impossible_padding_refused() {
        let mut packet = plain(&[1, 2, 3, 0, 0, 3]);
        packet[0] |= 0x20;
        assert_eq!(RtpPacket::parse(&packet).unwrap().payload, [1, 2, 3]);
        for bad in [0, 7, 255] {
            *packet.last_mut().unwrap() = bad;
            assert_eq!(RtpPacket::parse(&packet), None, "{bad}");
        }
        *packet.last_mut().unwrap() = 6;
        assert!(RtpPacket::parse(&packet).unwrap().payload.is_empty());
    }

    #[test]
    fn audio_level_is_found_in_both_forms_of_extension() {
        let level = AudioLevelExtension { level: 42, voice: true }.marshal().unwrap();
        let other = bytes::Bytes::from_static(&[9, 9, 9]);
        for (profile, id) in [(EXTENSION_PROFILE_ONE_BYTE, 3), (EXTENSION_PROFILE_TWO_BYTE, 200)] {
            let header = Header {
                version: 2,
                extension: true,
                extension_profile: profile,
                payload_type: 0,
                csrc: vec![1, 2],
                extensions: vec![Extension { id: 1, payload: other.clone() }, Extension { id, payload: level.clone() }],
                ..Header::default()
            };
            let mut packet = header.marshal().unwrap().to_vec();
            packet.extend_from_slice(b"sound");
            let read = RtpPacket::parse(&packet).unwrap();
            assert_eq!(read.audio_level(id), Some((true, 42)));
            assert_eq!(read.extension(1), Some(&[9, 9, 9][..]));
            assert_eq!(read.audio_level(7), None);
            assert_eq!(read.payload, b"sound");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_second_byte() {
        let cases = [
            (&[0x80, 0x00][..], Datagram::Rtp),
            (&[0x80, 0xef], Datagram::Rtp),
            (&[0x80, 200], Datagram::Rtcp),
            (&[0x81, 207], Datagram::Rtcp),
            (&[0x80, 191], Datagram::Rtp),
            (&[0x80, 224], Datagram::Rtp),
            (&[0x00, 0x01, 0, 0], Datagram::Other),
            (&[22, 254], Datagram::Other),
            (b"\r\n\r\n", Datagram::Other),
            (&[0x80], Datagram::Other),
            (&[], Datagram::Other),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Datagram::classify(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #![proptest_config(crate::rtp::seeded())]
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), id: u8) {
            if let Some(packet) = RtpPacket::parse(&bytes) {
                let _ = packet.audio_level(id);
                prop_assert!(packet.payload.len() + HEADER_BYTES <= bytes.len());
            }
        }

        /// Bytes that begin like RTP, so that the deeper branches are reached.
        #[test]
        fn both_implementations_agree_on_headers(
            flags in 0x80u8..=0x9f, rest in proptest::collection::vec(any::<u8>(), 11..120)
        ) {
            let mut bytes = vec![flags];
            bytes.extend_from_slice(&rest);
            if let (Some(ours), Ok(theirs)) = (RtpPacket::parse(&bytes), Header::unmarshal(&mut bytes.as_slice())) {
                prop_assert_eq!(ours.seq, theirs.sequence_number);
                prop_assert_eq!(ours.timestamp, theirs.timestamp);
                prop_assert_eq!(ours.ssrc.0, theirs.ssrc);
                prop_assert_eq!(ours.payload_type, theirs.payload_type);
                prop_assert_eq!(ours.marker, theirs.marker);
            }
        }
    }
}
