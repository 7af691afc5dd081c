//! Feedback about video in RTCP: NACK, PLI (RFC 4585 §6), FIR, TMMBR, TMMBN (RFC 5104 §4), REMB
//! (draft-alvestrand-rmcat-remb-03 §2.2). Pure.

const TRANSPORT: u8 = 205;
const PAYLOAD: u8 = 206;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// These packets are missing.
    Nack {
        /// Whose.
        media: u32,
        /// Sequence numbers, ascending from the first.
        missing: Vec<u16>,
    },
    /// A picture is lost: send a keyframe.
    Pli {
        /// Whose.
        media: u32,
    },
    /// Send a keyframe.
    Fir {
        /// Whose.
        media: u32,
        /// A repeated command keeps it.
        number: u8,
    },
    /// Send no more than this.
    Tmmbr {
        /// Whose.
        media: u32,
        /// bit/s.
        bps: u64,
    },
    /// The answer to TMMBR: what is held to, per owner; empty when nothing is.
    Tmmbn {
        /// Owner of the limit, and bit/s.
        limits: Vec<(u32, u64)>,
    },
    /// What the receiver thinks it can get.
    Remb {
        /// bit/s.
        bps: u64,
        /// Streams that share it.
        media: Vec<u32>,
    },
}

impl Feedback {
    /// One RTCP packet; it has to follow an SR or RR in a compound one.
    pub fn to_bytes(&self, sender: u32) -> Vec<u8> {
        let (kind, format, media, fci) = match self {
            Self::Nack { media, missing } => (TRANSPORT, 1, *media, nack_entries(missing)),
            Self::Pli { media } => (PAYLOAD, 1, *media, Vec::new()),
            Self::Fir { media, number } => (PAYLOAD, 4, 0, [media.to_be_bytes(), [*number, 0, 0, 0]].concat()),
            Self::Tmmbr { media, bps } => (TRANSPORT, 3, 0, limit(*media, *bps)),
            Self::Tmmbn { limits } => {
                (TRANSPORT, 4, 0, limits.iter().flat_map(|&(owner, bps)| limit(owner, bps)).collect())
            }
            Self::Remb { bps, media } => {
                let (exponent, mantissa) = float(*bps, 18);
                let word = (media.len() as u32) << 24 | exponent << 18 | mantissa;
                let streams = media.iter().flat_map(|ssrc| ssrc.to_be_bytes());
                (PAYLOAD, 15, 0, b"REMB".iter().copied().chain(word.to_be_bytes()).chain(streams).collect())
            }
        };
        let mut out = vec![0x80 | format, kind];
        out.extend_from_slice(&((2 + fci.len() / 4) as u16).to_be_bytes());
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&media.to_be_bytes());
        out.extend_from_slice(&fci);
        out
    }

    /// Every message of a compound packet; packets of other kinds are passed over.
    ///
    /// # Errors
    /// What is malformed.
    pub fn parse(mut bytes: &[u8]) -> Result<Vec<Self>, String> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let [head, kind, l0, l1, ..] = *bytes else { return Err("short header".to_owned()) };
            let len = (usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4;
            let Some((packet, rest)) = bytes.split_at_checked(len) else {
                return Err(format!("type {kind} of {len} bytes in {}", bytes.len()));
            };
            bytes = rest;
            if kind != TRANSPORT && kind != PAYLOAD {
                continue;
            }
            let words: Vec<u32> =
                packet.chunks_exact(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect();
            let [_, _, media, fci @ ..] = &words[..] else { return Err(format!("type {kind} is too short")) };
            out.extend(Self::of(kind, head & 31, *media, fci)?);
        }
        Ok(out)
    }

    fn of(kind: u8, format: u8, media: u32, fci: &[u32]) -> Result<Vec<Self>, String> {
        let pairs = fci.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let bad = || Err(format!("type {kind}, format {format}: {} words", fci.len()));
        let has_pairs = !fci.is_empty() && fci.len().is_multiple_of(2);
        Ok(match (kind, format) {
            (TRANSPORT, 1) if fci.is_empty() => return bad(),
            (TRANSPORT, 1) => {
                let missing = fci.iter().flat_map(|&word| {
                    let first = (word >> 16) as u16;
                    let more = (0..16).filter(move |bit| word >> bit & 1 == 1);
                    std::iter::once(first).chain(more.map(move |bit| first.wrapping_add(bit + 1)))
                });
                vec![Self::Nack { media, missing: missing.collect() }]
            }
            (PAYLOAD, 1) if !fci.is_empty() => return bad(),
            (PAYLOAD, 1) => vec![Self::Pli { media }],
            (PAYLOAD, 4) | (TRANSPORT, 3) if !has_pairs => return bad(),
            (PAYLOAD, 4) => pairs.map(|(media, word)| Self::Fir { media, number: (word >> 24) as u8 }).collect(),
            (TRANSPORT, 3) => pairs.map(|(media, word)| Self::Tmmbr { media, bps: limit_of(word) }).collect(),
            (TRANSPORT, 4) => {
                vec![Self::Tmmbn { limits: pairs.map(|(owner, word)| (owner, limit_of(word))).collect() }]
            }
            (PAYLOAD, 15) => match fci {
                [name, word, media @ ..] if name.to_be_bytes() == *b"REMB" && media.len() == (word >> 24) as usize => {
                    let bps = u64::from(word & 0x3_ffff) << (word >> 18 & 63);
                    vec![Self::Remb { bps, media: media.to_vec() }]
                }
                _ => return bad(),
            },
            _ => Vec::new(),
        })
    }
}

/// Packet and bit mask of the 16 after it (RFC 4585 §6.2.1).
fn nack_entries(missing: &[u16]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = missing;
    while let [first, more @ ..] = rest {
        let in_mask = more.iter().take_while(|&&n| (1..=16).contains(&n.wrapping_sub(*first))).count();
        let (masked, after) = more.split_at(in_mask);
        let mask = masked.iter().fold(0, |mask: u16, n| mask | 1 << (n.wrapping_sub(*first) - 1));
        out.extend_from_slice(&first.to_be_bytes());
        out.extend_from_slice(&mask.to_be_bytes());
        rest = after;
    }
    out
}

/// Exponent and mantissa of so many bits, rounded down.
fn float(value: u64, bits: u32) -> (u32, u32) {
    let exponent = (64 - value.leading_zeros()).saturating_sub(bits);
    (exponent, (value >> exponent) as u32)
}

/// An entry of TMMBR or TMMBN, with 40 bytes of overhead a packet (IPv4, UDP, RTP).
fn limit(ssrc: u32, bps: u64) -> Vec<u8> {
    let (exponent, mantissa) = float(bps, 17);
    [ssrc.to_be_bytes(), (exponent << 26 | mantissa << 9 | 40).to_be_bytes()].concat()
}

fn limit_of(word: u32) -> u64 {
    u64::from(word >> 9 & 0x1_ffff) << (word >> 26)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_back() {
        let all = [
            Feedback::Nack { media: 7, missing: vec![65_530, 65_535, 0, 5, 300] },
            Feedback::Pli { media: 7 },
            Feedback::Fir { media: 7, number: 200 },
            Feedback::Tmmbr { media: 7, bps: 512_000 },
            Feedback::Tmmbn { limits: vec![(8, 131_072), (9, 64_000)] },
            Feedback::Tmmbn { limits: vec![] },
            Feedback::Remb { bps: 1_048_576, media: vec![7, 9] },
        ];
        let mut compound = crate::rtp_peer::rtcp::build(1, None, None);
        for one in &all {
            assert_eq!(Feedback::parse(&one.to_bytes(3)), Ok(vec![one.clone()]));
            compound.extend(one.to_bytes(3));
        }
        assert_eq!(Feedback::parse(&compound), Ok(all.to_vec()));
        assert!(crate::rtp_peer::rtcp::parse(&compound).is_ok());
    }

    /// Written down from the figures of the RFCs, so that builder and reader cannot be wrong together.
    #[test]
    fn bytes_are_those_of_the_documents() {
        let pli = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(Feedback::Pli { media: 2 }.to_bytes(1), pli);
        let nack = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 10, 0x80, 0x05];
        assert_eq!(Feedback::Nack { media: 2, missing: vec![10, 11, 13, 26] }.to_bytes(1), nack);
        let fir = [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 9, 0, 0, 0];
        assert_eq!(Feedback::Fir { media: 2, number: 9 }.to_bytes(1), fir);
        // 256,000 = 2 × 128,000: exponent 1, mantissa 128,000, overhead 40.
        let word = (1u32 << 26 | 128_000 << 9 | 40).to_be_bytes();
        assert_eq!(Feedback::Tmmbr { media: 2, bps: 256_000 }.to_bytes(1)[16..], word);
        // 1,000,000 = 4 × 250,000.
        let word = (1u32 << 24 | 2 << 18 | 250_000).to_be_bytes();
        assert_eq!(Feedback::Remb { bps: 1_000_000, media: vec![2] }.to_bytes(1)[16..20], word);
    }

    #[test]
    fn broken_messages_are_refused() {
        let fir = Feedback::Fir { media: 2, number: 9 }.to_bytes(1);
        for broken in [
            &fir[..3],
            &fir[..16],
            &[0x81, 206, 0, 1, 0, 0, 0, 1][..],
            &[0x81, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
            &[0x84, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2],
        ] {
            assert!(Feedback::parse(broken).is_err(), "{broken:?}");
        }
    }
}
