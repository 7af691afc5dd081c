//! G.711 µ-law and A-law (ITU-T G.711), one byte a sample at 8 kHz. Runs on the worker's thread; stateless.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

/// Which of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law, RTP payload type 0.
    Mu,
    /// A-law, RTP payload type 8.
    A,
}

impl Law {
    /// Expands as many bytes as both slices hold: a table lookup each.
    pub fn decode(self, payload: &[u8], out: &mut [i16]) {
        match self {
            Self::Mu => payload.iter().zip(out).for_each(|(&byte, sample)| *sample = decode_ulaw(byte)),
            Self::A => payload.iter().zip(out).for_each(|(&byte, sample)| *sample = decode_alaw(byte)),
        }
    }

    /// Compresses as many samples as both slices hold; without a table, as finding the segment is one instruction.
    pub fn encode(self, samples: &[i16], out: &mut [u8]) {
        match self {
            Self::Mu => samples.iter().zip(out).for_each(|(&sample, byte)| *byte = encode_ulaw(sample)),
            Self::A => samples.iter().zip(out).for_each(|(&sample, byte)| *byte = encode_alaw(sample)),
        }
    }

    /// The byte that stands for zero.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xff,
            Self::A => 0xd5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_decode_and_encode() {
        for law in [Law::Mu, Law::A] {
            let bytes: Vec<u8> = (0..=255).collect();
            let mut pcm = [0i16; 256];
            law.decode(&bytes, &mut pcm);
            let mut again = [0u8; 256];
            law.encode(&pcm, &mut again);
            for (byte, back) in bytes.iter().zip(again) {
                // µ-law has two zeros; either stands for the other.
                assert!(
                    *byte == back || (law == Law::Mu && *byte == 0x7f && back == 0xff),
                    "{law:?} {byte:#x} {back:#x}"
                );
            }
        }
    }

    #[test]
    fn the_error_stays_within_the_step_of_its_segment() {
        for law in [Law::Mu, Law::A] {
            for x in (-32_768..=32_767).step_by(7) {
                let (mut byte, mut back) = ([0], [0]);
                law.encode(&[x as i16], &mut byte);
                law.decode(&byte, &mut back);
                assert!((i32::from(back[0]) - x).abs() <= x.abs() / 16 + 20, "{law:?} {x} {}", back[0]);
            }
        }
    }

    #[test]
    fn the_silence_byte_is_the_smallest_sample() {
        for law in [Law::Mu, Law::A] {
            let mut pcm = [99];
            law.decode(&[law.silence()], &mut pcm);
            assert!(pcm[0].abs() <= 8);
        }
    }
}
