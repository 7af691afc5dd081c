//! The codecs behind one decoder type, so that the playout side of a leg handles all of them alike. Runs on the
//! worker's thread; knows nothing of RTP headers, legs or rooms.

pub mod g711;
pub mod opus;

use crate::sdp::CodecName;
use crate::units::SampleRate;

use g711::Law;
use opus::OpusDecoder;

/// Longest packet that is accepted, in milliseconds (RFC 6716 §2.1.4 allows Opus no more; G.711 has no use for it).
pub const MAX_PACKET_MS: usize = 120;

impl CodecName {
    /// The rate at which the codec's sound exists, which is also its RTP clock (RFC 3551 §6, RFC 7587 §4.1).
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::Hz8000,
            Self::Opus => SampleRate::Hz48000,
        }
    }
}

/// What a payload holds, learnt without decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadFacts {
    /// Its length in samples at the codec's rate; never 0.
    pub samples: usize,
    /// It carries a low-bitrate copy of the frame before it (Opus in-band FEC, RFC 6716 §2.1.7).
    pub fec: bool,
    /// The sender stops sending after it (Opus DTX, RFC 6716 §2.1.9).
    pub dtx: bool,
}

/// Turns the payloads of one codec into samples. Holds the state of one stream.
#[derive(Debug)]
pub enum Decoder {
    /// G.711, which has no state.
    G711(Law),
    /// Opus.
    Opus(OpusDecoder),
}

impl Decoder {
    /// A decoder in its initial state. Allocates.
    pub fn new(codec: CodecName) -> Self {
        match codec {
            CodecName::Pcmu => Self::G711(Law::Mu),
            CodecName::Pcma => Self::G711(Law::A),
            CodecName::Opus => Self::Opus(OpusDecoder::new()),
        }
    }

    /// What the payload holds, or `None` when it is not a packet of this codec.
    pub fn inspect(&self, payload: &[u8]) -> Option<PayloadFacts> {
        match self {
            Self::G711(_) => {
                let max = MAX_PACKET_MS * SampleRate::Hz8000.hz() as usize / 1000;
                (1..=max).contains(&payload.len()).then_some(PayloadFacts {
                    samples: payload.len(),
                    fec: false,
                    dtx: false,
                })
            }
            Self::Opus(_) => {
                let packet = opus::inspect(payload)?;
                Some(PayloadFacts { samples: packet.samples, fec: packet.fec, dtx: payload.len() <= 2 })
            }
        }
    }

    /// Decodes into the beginning of `out`; returns how many samples, 0 when the payload is bad or does not fit.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        match self {
            Self::G711(law) => {
                let n = payload.len().min(out.len());
                law.decode(payload.get(..n).unwrap_or(&[]), out.get_mut(..n).unwrap_or(&mut []));
                n
            }
            Self::Opus(opus) => opus.decode(payload, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_measured_or_refused() {
        let pcmu = Decoder::new(CodecName::Pcmu);
        assert_eq!(pcmu.inspect(&[0; 160]).map(|f| f.samples), Some(160));
        assert_eq!(pcmu.inspect(&[]), None);
        assert_eq!(pcmu.inspect(&[0; 961]), None);
        let opus = Decoder::new(CodecName::Opus);
        assert_eq!(opus.inspect(&[]), None);
        assert_eq!(opus.inspect(&[0x78]).map(|f| (f.samples, f.dtx)), Some((960, true)));
    }
}
