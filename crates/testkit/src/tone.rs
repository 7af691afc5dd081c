//! Tones: make them, find them, compare their levels. Pure arithmetic on mono 16-bit PCM. Levels are dB relative to a
//! full-scale sine (0 dB = amplitude 32767), so a tone made at −20 is found at −20.

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;
use std::f64::consts::TAU;

/// Absent means at least this far below what was sent.
pub const ABSENT_DB: f64 = 40.0;

/// Amplitude of a sine at `level_db` dB relative to full scale.
pub fn amplitude(level_db: f64) -> f64 {
    32_767.0 * 10f64.powf(level_db / 20.0)
}

/// A sine of `len` samples, phase zero at the start.
pub fn sine(rate_hz: u32, hz: f64, level_db: f64, len: usize) -> Vec<i16> {
    let a = amplitude(level_db);
    (0..len).map(|n| (a * (TAU * hz * n as f64 / f64::from(rate_hz)).sin()).round() as i16).collect()
}

/// 4-term Blackman–Harris: side lobes under −92 dB, so one tone does not show up as another. Main lobe ±4 bins: tones
/// must be at least `8 × rate / len` Hz apart.
fn window(n: usize, len: usize) -> f64 {
    let x = TAU * n as f64 / len as f64;
    0.35875 - 0.48829 * x.cos() + 0.14128 * (2.0 * x).cos() - 0.01168 * (3.0 * x).cos()
}

/// Level of one frequency in the whole slice, in dB; −120 for silence or an empty slice.
pub fn level(pcm: &[i16], rate_hz: u32, hz: f64) -> f64 {
    let (mut re, mut im, mut gain) = (0.0, 0.0, 0.0);
    for (n, &sample) in pcm.iter().enumerate() {
        let w = window(n, pcm.len());
        let phase = TAU * hz * n as f64 / f64::from(rate_hz);
        re += w * f64::from(sample) * phase.cos();
        im -= w * f64::from(sample) * phase.sin();
        gain += w;
    }
    if gain == 0.0 {
        return -120.0;
    }
    let amplitude = 2.0 * (re * re + im * im).sqrt() / gain;
    (20.0 * (amplitude / 32_767.0).log10()).max(-120.0)
}

/// Level of each frequency, in the order given.
pub fn levels(pcm: &[i16], rate_hz: u32, hz: &[f64]) -> Vec<f64> {
    hz.iter().map(|&f| level(pcm, rate_hz, f)).collect()
}

/// Root mean square of the slice relative to a full-scale sine, in dB; −120 for silence.
pub fn rms_db(pcm: &[i16]) -> f64 {
    if pcm.is_empty() {
        return -120.0;
    }
    let mean = pcm.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / pcm.len() as f64;
    (10.0 * (2.0 * mean / 32_767f64.powi(2)).log10()).max(-120.0)
}

/// The `count` strongest spectral peaks as (Hz, dB), strongest first. Says what is in a sound that a test did not expect.
pub fn peaks(pcm: &[i16], rate_hz: u32, count: usize) -> Vec<(f64, f64)> {
    let len = pcm.len();
    if len < 16 {
        return Vec::new();
    }
    let mut bins: Vec<Complex<f64>> =
        pcm.iter().enumerate().map(|(n, &s)| Complex::new(window(n, len) * f64::from(s), 0.0)).collect();
    FftPlanner::new().plan_fft_forward(len).process(&mut bins);
    let gain: f64 = (0..len).map(|n| window(n, len)).sum();
    let db = |bin: usize| 20.0 * (2.0 * bins[bin].norm() / gain / 32_767.0).max(1e-6).log10();
    let mut found: Vec<(f64, f64)> = (5..len / 2 - 5)
        .filter(|&b| (b - 4..=b + 4).all(|o| o == b || bins[o].norm() < bins[b].norm()))
        .map(|b| (b as f64 * f64::from(rate_hz) / len as f64, db(b)))
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found.truncate(count);
    found
}

/// What a listener should and should not find, with the reason why it does not when it does not.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Frequencies that must be there, in Hz.
    pub present: Vec<f64>,
    /// Frequencies that must be [`ABSENT_DB`] below `level_db`.
    pub absent: Vec<f64>,
    /// Level that each present tone was sent at, in dB.
    pub level_db: f64,
    /// How far a present tone may be from `level_db`, and from the other present tones.
    pub tolerance_db: f64,
}

impl Expectation {
    /// Checks the slice.
    ///
    /// # Errors
    /// One line that names every frequency that is wrong, with its level.
    pub fn check(&self, pcm: &[i16], rate_hz: u32) -> Result<(), String> {
        let mut wrong = Vec::new();
        let found = levels(pcm, rate_hz, &self.present);
        for (&hz, &db) in self.present.iter().zip(&found) {
            if (db - self.level_db).abs() > self.tolerance_db {
                wrong.push(format!("{hz} Hz is {db:.1} dB instead of {:.1} ± {:.1}", self.level_db, self.tolerance_db));
            }
        }
        let loudest = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let softest = found.iter().copied().fold(f64::INFINITY, f64::min);
        if !found.is_empty() && loudest - softest > self.tolerance_db {
            wrong.push(format!("levels differ by {:.1} dB: {found:.1?}", loudest - softest));
        }
        for &hz in &self.absent {
            let db = level(pcm, rate_hz, hz);
            if db > self.level_db - ABSENT_DB {
                wrong.push(format!("{hz} Hz is there at {db:.1} dB and should not be"));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("{} ({} samples; strongest: {:.1?})", wrong.join("; "), pcm.len(), peaks(pcm, rate_hz, 5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(parts: &[Vec<i16>]) -> Vec<i16> {
        (0..parts[0].len()).map(|n| parts.iter().map(|p| p[n]).sum()).collect()
    }

    #[test]
    fn tone_is_found_at_the_level_it_was_made() {
        for (rate, hz) in [(8_000, 440.0), (48_000, 1003.7)] {
            let pcm = sine(rate, hz, -20.0, rate as usize * 2 / 5);
            assert!((level(&pcm, rate, hz) + 20.0).abs() < 0.1);
            assert!(level(&pcm, rate, hz + 100.0) < -80.0);
        }
    }

    #[test]
    fn silence_has_no_tone() {
        assert!(level(&[0; 800], 8_000, 440.0) <= -120.0);
        assert!(level(&[], 8_000, 440.0) <= -120.0);
        assert!(rms_db(&[0; 10]) <= -120.0);
    }

    #[test]
    fn rms_of_a_sine_is_its_level() {
        assert!((rms_db(&sine(8_000, 1_000.0, -14.0, 8_000)) + 14.0).abs() < 0.05);
    }

    #[test]
    fn peaks_names_the_tones_strongest_first() {
        let pcm = mix(&[sine(8_000, 500.0, -20.0, 4_000), sine(8_000, 900.0, -14.0, 4_000)]);
        let found = peaks(&pcm, 8_000, 2);
        assert!((found[0].0 - 900.0).abs() < 3.0 && (found[1].0 - 500.0).abs() < 3.0, "{found:?}");
    }

    #[test]
    fn expectation_finds_a_missing_and_an_unwanted_tone() {
        let pcm = mix(&[sine(8_000, 500.0, -20.0, 4_000), sine(8_000, 900.0, -20.0, 4_000)]);
        let good =
            Expectation { present: vec![500.0, 900.0], absent: vec![1300.0], level_db: -20.0, tolerance_db: 1.0 };
        good.check(&pcm, 8_000).expect("both tones are there");
        let unwanted = Expectation { present: vec![500.0], absent: vec![900.0], ..good.clone() };
        assert!(unwanted.check(&pcm, 8_000).is_err_and(|e| e.contains("900 Hz is there")));
        let missing = Expectation { present: vec![1300.0], absent: vec![], ..good };
        assert!(missing.check(&pcm, 8_000).is_err_and(|e| e.contains("1300 Hz is -")));
    }

    #[test]
    fn unequal_levels_are_told() {
        let pcm = mix(&[sine(8_000, 500.0, -19.0, 4_000), sine(8_000, 900.0, -21.0, 4_000)]);
        let e = Expectation { present: vec![500.0, 900.0], absent: vec![], level_db: -20.0, tolerance_db: 1.5 };
        assert!(e.check(&pcm, 8_000).is_err_and(|e| e.contains("levels differ")));
    }
}
