//! How loud a frame is, and how loud a leg was over the last 200 ms. Arithmetic only; runs on the worker's thread in the
//! tick. Knows nothing of legs, or of who talks.

/// Frames in the window: 200 ms.
const WINDOW_FRAMES: usize = 10;

/// The dB relative to overload that stand for digital silence, the least there is (RFC 6464 §3).
pub const SILENCE_DBOV: i8 = -127;

/// Partial sums, enough for four SSE registers; lets the compiler use them without reordering anything.
const LANES: usize = 16;

const FULL_SCALE: f32 = 32_768.0;

/// Mean square of a frame, 0 (silence, or no samples) to 1 (a full-scale square wave, 0 dBov).
pub fn energy(samples: &[i16]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = samples.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &sample) in lanes.iter_mut().zip(chunk) {
            let sample = f32::from(sample);
            *lane += sample * sample;
        }
    }
    let rest: f32 = rest.iter().map(|&sample| f32::from(sample) * f32::from(sample)).sum();
    let sum: f32 = lanes.iter().sum::<f32>() + rest;
    sum / (samples.len().max(1) as f32 * FULL_SCALE * FULL_SCALE)
}

/// An energy in dB relative to overload (RFC 6464 §3), -127 to 0, rounded. A full-scale sine is -3.
pub fn dbov(energy: f32) -> i8 {
    if energy.is_nan() || energy <= 0.0 {
        return SILENCE_DBOV;
    }
    // The least that is not silence, one sample of 1 in a frame of 960, is -120.
    (10.0 * energy.log10()).round().clamp(f32::from(SILENCE_DBOV), 0.0) as i8
}

/// The energy of the last ten frames. A leg has one; talkers are chosen by it.
#[derive(Clone, Debug, Default)]
pub struct LevelMeter {
    window: [f32; WINDOW_FRAMES],
    next: usize,
}

impl LevelMeter {
    /// The [`energy`] of this tick's frame; 0 for a tick without one.
    pub fn push(&mut self, energy: f32) {
        if let Some(oldest) = self.window.get_mut(self.next) {
            *oldest = energy;
        }
        self.next = (self.next + 1) % WINDOW_FRAMES;
    }

    /// Mean over the window, 0 to 1. Summed afresh, so that nothing lingers of a loud past.
    pub fn energy(&self) -> f32 {
        self.window.iter().sum::<f32>() / WINDOW_FRAMES as f32
    }

    /// The same in dB relative to overload (RFC 6464 §3), -127 for silence.
    pub fn dbov(&self) -> i8 {
        dbov(self.energy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_signals_have_their_level() {
        let sine = |amplitude: f64| -> Vec<i16> {
            (0..960).map(|at| ((f64::from(at) * std::f64::consts::TAU / 48.0).sin() * amplitude) as i16).collect()
        };
        for (samples, expected) in [
            (vec![i16::MIN; 960], 0),
            ([i16::MAX, -i16::MAX].repeat(480), 0),
            (sine(32_767.0), -3),
            (sine(3_276.7), -23),
            (vec![1; 160], -90),
            (vec![0; 160], -127),
            (vec![], -127),
        ] {
            assert_eq!(dbov(energy(&samples)), expected);
        }
        let mut faint = vec![0; 960];
        faint[500] = 1;
        assert_eq!(dbov(energy(&faint)), -120);
    }

    #[test]
    fn frame_length_does_not_change_the_level() {
        for length in [1, 15, 16, 17, 160, 320, 955, 960] {
            assert_eq!(energy(&vec![-16_384; length]), 0.25, "{length} samples");
        }
    }

    #[test]
    fn no_number_is_silence() {
        for energy in [f32::NAN, -1.0, 0.0, f32::MIN_POSITIVE] {
            assert_eq!(dbov(energy), SILENCE_DBOV);
        }
        assert_eq!(dbov(f32::INFINITY), 0);
    }

    #[test]
    fn window_is_200_ms_and_forgets_completely() {
        let mut meter = LevelMeter::default();
        assert_eq!(meter.dbov(), SILENCE_DBOV);
        meter.push(1.0);
        assert_eq!(meter.dbov(), -10);
        for _ in 0..9 {
            meter.push(1.0);
        }
        assert_eq!(meter.dbov(), 0);
        for _ in 0..9 {
            meter.push(1e-9);
        }
        assert_eq!(meter.dbov(), -10);
        meter.push(1e-9);
        assert_eq!(meter.dbov(), -90);
    }
}
