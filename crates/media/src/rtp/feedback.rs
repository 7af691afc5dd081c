//! RTCP feedback about video: Generic NACK and PLI (RFC 4585 §6.2.1, §6.3.1), FIR, TMMBR and TMMBN (RFC 5104 §4.3.1,
//! §4.2.1, §4.2.2), REMB (draft-alvestrand-rmcat-remb-03 §2.2). Read from a packet that [`packets`](super::rtcp::packets)
//! hands through, written as parts of a [`Compound`](super::rtcp::Compound): reduced-size RTCP (RFC 5506) is taken, but we
//! do not negotiate it, so ours always begin with SR or RR and name us. Runs on the worker's thread; allocates nothing,
//! reads no clock, and does not know what is done about a request.

use std::time::{Duration, Instant};

use super::rtcp::{Out, Sources};
use crate::units::{Bitrate, Ssrc};

/// Transport layer feedback.
pub(super) const RTPFB: u8 = 205;
/// Payload specific feedback.
pub(super) const PSFB: u8 = 206;

const NACK: u8 = 1;
const TMMBR: u8 = 3;
const TMMBN: u8 = 4;
const PLI: u8 = 1;
const FIR: u8 = 4;
/// Application layer feedback, of which REMB is one.
const AFB: u8 = 15;
const REMB: &[u8; 4] = b"REMB";

/// Pairs of one NACK that are looked at; they name up to 4,352 packets, several times what a sender keeps.
pub const MAX_NACK_PAIRS_READ: usize = 256;
/// Pairs of one NACK that are written; they name up to 544 packets, half a second of the fastest stream.
pub const MAX_NACK_PAIRS: usize = 32;
/// Sources that one REMB of ours names.
pub const MAX_REMB_SOURCES: usize = 4;

const HEAD_BYTES: usize = 12;
/// Room for one of each kind of [`Feedback`] at its largest.
pub const MAX_FEEDBACK_BYTES: usize =
    (HEAD_BYTES + 4 * MAX_NACK_PAIRS) + HEAD_BYTES + 3 * (HEAD_BYTES + 8) + (HEAD_BYTES + 8 + 4 * MAX_REMB_SOURCES);

/// Feedback that came.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// Who sends it.
    pub from: Ssrc,
    /// Whose media it is about. Zero in FIR, TMMBR, TMMBN and REMB, which name sources in their entries.
    pub about: Ssrc,
    /// What it says.
    pub message: Message<'a>,
}

/// What feedback says.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// Generic NACK: these packets did not come.
    Nack(Nacks<'a>),
    /// PLI: a picture was lost, and with it all until the next keyframe.
    PictureLoss,
    /// FIR: a keyframe is needed, for each source with the requester's number of the request.
    FullIntra(FullIntras<'a>),
    /// TMMBR: more than this must not be sent.
    MaxBitrate(Limits<'a>),
    /// TMMBN: the limits that the sender keeps to.
    MaxBitrateNotice(Limits<'a>),
    /// REMB: what the receiver believes its path to carry, for all of the sources together.
    Estimate {
        /// All that is sent to it; may be 0.
        bitrate: Bitrate,
        /// Of these sources.
        sources: Sources<'a>,
    },
}

impl<'a> Received<'a> {
    /// `body` begins after the header's length and has no padding. `None`: of a kind that is not known here, or cut short.
    /// Entries that are not whole are left out, and a REMB has as many sources as are there.
    pub(super) fn parse(kind: u8, format: usize, body: &'a [u8]) -> Option<Self> {
        let (from, rest) = body.split_first_chunk::<4>()?;
        let (about, fci) = rest.split_first_chunk::<4>()?;
        let message = match (kind, u8::try_from(format).ok()?) {
            (RTPFB, NACK) => Message::Nack(Nacks::new(fci)),
            (RTPFB, TMMBR) => Message::MaxBitrate(Limits(fci.as_chunks().0)),
            (RTPFB, TMMBN) => Message::MaxBitrateNotice(Limits(fci.as_chunks().0)),
            (PSFB, PLI) => Message::PictureLoss,
            (PSFB, FIR) => Message::FullIntra(FullIntras(fci.as_chunks().0)),
            (PSFB, AFB) => estimate(fci.strip_prefix(REMB)?)?,
            _ => return None,
        };
        Some(Self { from: Ssrc(u32::from_be_bytes(*from)), about: Ssrc(u32::from_be_bytes(*about)), message })
    }

    /// What `ours` may send at the most, when this is a TMMBR or a REMB that says so; of several entries the lowest. A
    /// REMB without sources is about all of them.
    pub fn limit(&self, ours: Ssrc) -> Option<Bitrate> {
        match &self.message {
            Message::MaxBitrate(limits) => {
                limits.clone().filter(|limit| limit.source == ours).map(|limit| limit.bitrate).min()
            }
            Message::Estimate { bitrate, sources } => {
                let mut named = sources.clone();
                (sources.clone().next().is_none() || named.any(|source| source == ours)).then_some(*bitrate)
            }
            _ => None,
        }
    }
}

fn estimate(fci: &[u8]) -> Option<Message<'_>> {
    let ([count, b0, b1, b2], rest) = fci.split_first_chunk::<4>()?;
    let mantissa = u32::from(b0 & 3) << 16 | u32::from(*b1) << 8 | u32::from(*b2);
    let sources = rest.as_chunks::<4>().0;
    let sources = sources.get(..usize::from(*count)).unwrap_or(sources);
    Some(Message::Estimate { bitrate: scaled(mantissa, b0 >> 2), sources: Sources(sources) })
}

/// Mantissa × 2^exponent; saturates at 4.3 Gbit/s.
fn scaled(mantissa: u32, exponent: u8) -> Bitrate {
    // A mantissa has 18 bits and an exponent 6: beyond 2³² everything is the same.
    let bps = u64::from(mantissa) << exponent.min(40);
    Bitrate::bps(u32::try_from(bps).unwrap_or(u32::MAX))
}

/// The exponent and the mantissa of `bits` bits, rounded down: nobody is told to send more than is meant.
const fn mantissa(bitrate: Bitrate, bits: u32) -> (u32, u32) {
    let bps = bitrate.as_bps();
    let exponent = (u32::BITS - bps.leading_zeros()).saturating_sub(bits);
    (exponent, bps >> exponent)
}

/// The sequence numbers of a NACK, in the order in which they are written; some may come twice.
#[derive(Clone, Debug)]
pub struct Nacks<'a> {
    pairs: &'a [[u8; 4]],
    pid: u16,
    /// Bit 0 is `pid` itself, bit n the n-th after it.
    left: u32,
}

impl<'a> Nacks<'a> {
    fn new(fci: &'a [u8]) -> Self {
        let pairs = fci.as_chunks().0;
        Self { pairs: pairs.get(..MAX_NACK_PAIRS_READ).unwrap_or(pairs), pid: 0, left: 0 }
    }
}

impl Iterator for Nacks<'_> {
    type Item = u16;
    fn next(&mut self) -> Option<u16> {
        if self.left == 0 {
            let ([p0, p1, b0, b1], rest) = self.pairs.split_first()?;
            self.pairs = rest;
            self.pid = u16::from_be_bytes([*p0, *p1]);
            self.left = u32::from(u16::from_be_bytes([*b0, *b1])) << 1 | 1;
        }
        let after = self.left.trailing_zeros();
        self.left &= self.left - 1;
        Some(self.pid.wrapping_add(after as u16))
    }
}

/// One entry of a FIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullIntra {
    /// Whose keyframe is wanted.
    pub source: Ssrc,
    /// The requester's number of the request; a repetition has the same.
    pub command: u8,
}

/// The entries of a FIR.
#[derive(Clone, Debug)]
pub struct FullIntras<'a>(&'a [[u8; 8]]);

impl Iterator for FullIntras<'_> {
    type Item = FullIntra;
    fn next(&mut self) -> Option<FullIntra> {
        let ([s0, s1, s2, s3, command, ..], rest) = self.0.split_first()?;
        self.0 = rest;
        Some(FullIntra { source: Ssrc(u32::from_be_bytes([*s0, *s1, *s2, *s3])), command: *command })
    }
}

/// One entry of a TMMBR or a TMMBN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In a TMMBR who has to keep it, in a TMMBN who asked for it.
    pub source: Ssrc,
    /// 0 asks for a pause.
    pub bitrate: Bitrate,
    /// Bytes of headers that the requester counts for each packet, 9 bits.
    pub overhead_bytes: u16,
}

impl Limit {
    fn words(self) -> [u32; 2] {
        let (exponent, mantissa) = mantissa(self.bitrate, 17);
        [self.source.0, exponent << 26 | mantissa << 9 | u32::from(self.overhead_bytes.min(511))]
    }
}

/// The entries of a TMMBR or a TMMBN.
#[derive(Clone, Debug)]
pub struct Limits<'a>(&'a [[u8; 8]]);

impl Iterator for Limits<'_> {
    type Item = Limit;
    fn next(&mut self) -> Option<Limit> {
        let ([s0, s1, s2, s3, b0, b1, b2, b3], rest) = self.0.split_first()?;
        self.0 = rest;
        let word = u32::from_be_bytes([*b0, *b1, *b2, *b3]);
        Some(Limit {
            source: Ssrc(u32::from_be_bytes([*s0, *s1, *s2, *s3])),
            bitrate: scaled(word >> 9 & 0x1_ffff, b0 >> 2),
            overhead_bytes: (word & 0x1ff) as u16,
        })
    }
}

/// After this long a repeated FIR counts anew: the keyframe did not arrive, or the far end never counts.
const REPEATED_FOR: Duration = Duration::from_secs(2);

/// The last FIR of one far end, so that its repetitions cost no further keyframes (RFC 5104 §4.3.1.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct LastFullIntra(Option<(Ssrc, u8, Instant)>);

impl LastFullIntra {
    /// Whether a request by `from` is a new one, which it then is no longer.
    pub fn is_new(&mut self, now: Instant, from: Ssrc, command: u8) -> bool {
        let repeated = self.0.is_some_and(|(who, number, at)| {
            (who, number) == (from, command) && now.saturating_duration_since(at) < REPEATED_FOR
        });
        if !repeated {
            self.0 = Some((from, command, now));
        }
        !repeated
    }
}

/// Feedback of ours: one part of a compound, see [`Compound::write_with`](super::rtcp::Compound::write_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback<'a> {
    /// Generic NACK.
    Nack {
        /// Whose packets did not come.
        about: Ssrc,
        /// The first sequence number of each group, and a bit for each of the 16 after it, the next one lowest. At most
        /// [`MAX_NACK_PAIRS`] are written.
        pairs: &'a [(u16, u16)],
    },
    /// PLI.
    PictureLoss {
        /// Whose picture was lost.
        about: Ssrc,
    },
    /// FIR. The number goes up by one with each new request, and stays in its repetitions.
    FullIntra(FullIntra),
    /// TMMBR; `source` is who has to keep it.
    MaxBitrate(Limit),
    /// TMMBN: the answer to each TMMBR (RFC 5104 §4.2.2.2); `source` is who asked for the limit in force, if any is.
    MaxBitrateNotice(Option<Limit>),
    /// REMB.
    Estimate {
        /// For all of the sources together.
        bitrate: Bitrate,
        /// At most [`MAX_REMB_SOURCES`] are written.
        sources: &'a [Ssrc],
    },
}

impl Feedback<'_> {
    /// `None` when it does not fit.
    pub(super) fn write(&self, from: Ssrc, out: &mut Out<'_>) -> Option<()> {
        match *self {
            Self::Nack { about, pairs } => {
                let pairs = pairs.get(..MAX_NACK_PAIRS).unwrap_or(pairs);
                head(out, RTPFB, NACK, pairs.len(), from, about)?;
                pairs.iter().try_for_each(|(pid, blp)| out.word(u32::from(*pid) << 16 | u32::from(*blp)))
            }
            Self::PictureLoss { about } => head(out, PSFB, PLI, 0, from, about),
            Self::FullIntra(FullIntra { source, command }) => {
                head(out, PSFB, FIR, 2, from, Ssrc(0))?;
                out.word(source.0)?;
                out.word(u32::from(command) << 24)
            }
            Self::MaxBitrate(limit) => {
                head(out, RTPFB, TMMBR, 2, from, Ssrc(0))?;
                limit.words().into_iter().try_for_each(|word| out.word(word))
            }
            Self::MaxBitrateNotice(limit) => {
                head(out, RTPFB, TMMBN, if limit.is_some() { 2 } else { 0 }, from, Ssrc(0))?;
                limit.iter().flat_map(|limit| limit.words()).try_for_each(|word| out.word(word))
            }
            Self::Estimate { bitrate, sources } => {
                let sources = sources.get(..MAX_REMB_SOURCES).unwrap_or(sources);
                let (exponent, mantissa) = mantissa(bitrate, 18);
                head(out, PSFB, AFB, 2 + sources.len(), from, Ssrc(0))?;
                out.bytes(REMB)?;
                out.word((sources.len() as u32) << 24 | exponent << 18 | mantissa)?;
                sources.iter().try_for_each(|source| out.word(source.0))
            }
        }
    }
}

/// `words`: those of the feedback itself, after both sources.
fn head(out: &mut Out<'_>, kind: u8, format: u8, words: usize, from: Ssrc, about: Ssrc) -> Option<()> {
    out.header(format, kind, u16::try_from(2 + words).ok()?)?;
    out.word(from.0)?;
    out.word(about.0)
}

#[cfg(test)]
mod tests;
