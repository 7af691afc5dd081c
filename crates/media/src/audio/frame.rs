//! One tick of PCM. Runs on the worker's thread; knows nothing of rooms or codecs.

use crate::units::SampleRate;

/// Samples of a 20 ms frame at the highest rate (48 kHz).
pub const MAX_FRAME_SAMPLES: usize = SampleRate::Hz48000.frame_samples();

/// 20 ms of mono 16-bit PCM at one of the native rates.
#[derive(Clone)]
pub struct Frame {
    rate: SampleRate,
    samples: [i16; MAX_FRAME_SAMPLES],
}

impl Frame {
    /// Silence at `rate`.
    pub const fn silence(rate: SampleRate) -> Self {
        Self { rate, samples: [0; MAX_FRAME_SAMPLES] }
    }
    /// The rate that fixes the frame's length.
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }
    /// Exactly `rate.frame_samples()` samples.
    pub fn samples(&self) -> &[i16] {
        self.samples.get(..self.rate.frame_samples()).unwrap_or(&[])
    }
    /// Exactly `rate.frame_samples()` samples.
    pub fn samples_mut(&mut self) -> &mut [i16] {
        let n = self.rate.frame_samples();
        self.samples.get_mut(..n).unwrap_or(&mut [])
    }
    /// Makes it silence, keeping the rate.
    pub fn clear(&mut self) {
        self.samples_mut().fill(0);
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("rate", &self.rate).finish_non_exhaustive()
    }
}
