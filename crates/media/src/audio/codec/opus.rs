//! Opus (RFC 6716), mono at 48 kHz: the encoder whose state can be copied, the decoder, and what a packet says about
//! itself. Runs on the worker's thread; knows nothing of RTP.

mod encoder;
mod packet;

pub use encoder::{OpusEncoder, OpusError, OpusSettings};
pub use packet::{OpusPacket, inspect};

use opus::{Channels, Decoder};

/// 20 ms of mono silence: a full-band CELT frame (TOC 31, RFC 6716 §3.1) whose first coded bit says "silence".
pub const SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// Samples of 2.5 ms, the unit in which libopus conceals.
pub const CONCEAL_UNIT: usize = 120;

/// Decodes one stream, with libopus's own concealment.
#[derive(Debug)]
pub struct OpusDecoder(Decoder);

impl OpusDecoder {
    /// In its initial state. Allocates.
    pub fn new() -> Self {
        Self(Decoder::new(48_000, Channels::Mono).expect("BUG: libopus refuses mono at 48 kHz only without memory"))
    }

    /// Decodes a packet into the beginning of `out`. Returns the number of samples; 0 when the packet is bad or
    /// longer than `out`.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> usize {
        // An empty packet would mean concealment to libopus.
        if packet.is_empty() { 0 } else { self.0.decode(packet, out, false).unwrap_or(0) }
    }

    /// Decodes the copy that `packet` carries of what came just before it, all of `out` long. False when it could not.
    pub fn decode_fec(&mut self, packet: &[u8], out: &mut [i16]) -> bool {
        !packet.is_empty()
            && out.len().is_multiple_of(CONCEAL_UNIT)
            && self.0.decode(packet, out, true).is_ok_and(|n| n == out.len())
    }

    /// Fills `out`, a multiple of 2.5 ms and at most 120 ms, with what libopus makes of its past.
    pub fn conceal(&mut self, out: &mut [i16]) {
        if !out.len().is_multiple_of(CONCEAL_UNIT) || !self.0.decode(&[], out, false).is_ok_and(|n| n == out.len()) {
            out.fill(0);
        }
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        // Fails only for a null state.
        let _ = self.0.reset_state();
    }
}

impl Default for OpusDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bitrate;

    fn tone(start: usize) -> Vec<i16> {
        (start..start + 960).map(|i| ((i as f32 * 0.05).sin() * 8000.0) as i16).collect()
    }

    fn settings() -> OpusSettings {
        OpusSettings { bitrate: Bitrate::kbps(32), complexity: 5, expected_loss_percent: 10, fec: true, dtx: false }
    }

    #[test]
    fn a_copied_encoder_continues_as_the_original_would() {
        let mut original = OpusEncoder::new(settings()).unwrap();
        let mut copy = OpusEncoder::new(settings()).unwrap();
        let mut a = [0; 1275];
        for i in 0..20 {
            original.encode(&tone(i * 960), &mut a).unwrap();
        }
        copy.copy_state_from(&original);
        let mut b = [0; 1275];
        for i in 20..40 {
            let na = original.encode(&tone(i * 960), &mut a).unwrap();
            let nb = copy.encode(&tone(i * 960), &mut b).unwrap();
            assert_eq!(a[..na], b[..nb]);
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut encoder = OpusEncoder::new(settings()).unwrap();
        let mut decoder = OpusDecoder::new();
        let (mut packet, mut pcm) = ([0; 1275], [0; 960]);
        let mut energy = 0i64;
        for i in 0..50 {
            let n = encoder.encode(&tone(i * 960), &mut packet).unwrap();
            assert_eq!(decoder.decode(&packet[..n], &mut pcm), 960);
            if i >= 40 {
                energy += pcm.iter().map(|&x| i64::from(x) * i64::from(x)).sum::<i64>();
            }
        }
        let rms = ((energy / 9600) as f64).sqrt();
        assert!((4500.0..7000.0).contains(&rms), "{rms}");
    }

    #[test]
    fn settings_change_without_losing_the_stream() {
        let mut encoder = OpusEncoder::new(settings()).unwrap();
        let mut packet = [0; 1275];
        encoder.set(OpusSettings { bitrate: Bitrate::kbps(12), complexity: 0, ..settings() });
        encoder.set_prediction_disabled(true);
        let small: usize = (0..50).map(|i| encoder.encode(&tone(i * 960), &mut packet).unwrap()).sum();
        assert!(small < 50 * 60, "{small}");
        assert!(encoder.encode(&[0; 959], &mut packet).is_err());
        assert!(encoder.encode(&[0; 960], &mut []).is_err());
    }

    #[test]
    fn garbage_is_refused_not_decoded() {
        let mut decoder = OpusDecoder::new();
        let mut pcm = [0; 5760];
        assert_eq!(decoder.decode(&[], &mut pcm), 0);
        assert_eq!(decoder.decode(&[0xff; 3], &mut pcm), 0);
        assert!(!decoder.decode_fec(&[], &mut pcm[..960]));
        decoder.conceal(&mut pcm[..961]);
        decoder.conceal(&mut pcm[..960]);
    }
}
