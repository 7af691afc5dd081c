//! One tick of PCM. Runs on the worker's thread; knows nothing of rooms or codecs.

use crate::units::SampleRate;

/// Samples of a 20 ms frame at the highest rate (48 kHz).
pub const MAX_FRAME_SAMPLES: usize = SampleRate::Hz48000.frame_samples();

/// 20 ms of mono 16-bit PCM at one of the native rates.
#[derive(Clone)]
pub struct Frame {
    rate: SampleRate,
    /// Nothing was written since it was made silent.
    untouched: bool,
    samples: [i16; MAX_FRAME_SAMPLES],
}

impl Frame {
    /// Silence at `rate`.
    pub const fn silence(rate: SampleRate) -> Self {
        Self { rate, untouched: true, samples: [0; MAX_FRAME_SAMPLES] }
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
        self.untouched = false;
        let n = self.rate.frame_samples();
        self.samples.get_mut(..n).unwrap_or(&mut [])
    }
    /// Makes it silence, keeping the rate. Costs nothing where it is silence since the last time: most of a room's frames are,
    /// and would go through the cache in every tick.
    pub fn clear(&mut self) {
        if !self.untouched {
            self.samples_mut().fill(0);
            self.untouched = true;
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_silence_after_each_clear() {
        let mut frame = Frame::silence(SampleRate::Hz48000);
        for _ in 0..2 {
            frame.clear();
            assert!(frame.samples().iter().all(|s| *s == 0));
            frame.samples_mut().fill(7);
            frame.clear();
            assert!(frame.samples().iter().all(|s| *s == 0));
        }
    }
}
