//! From a wide sum to 16 bits without wrapping and without clicks. Arithmetic only; runs on the worker's thread in the
//! tick, one state for each distinct output. Knows nothing of buses or legs.

use super::frame::Frame;

/// Blocks in a frame; each is 2.5 ms.
const BLOCKS: usize = 8;

/// How much of the missing gain comes back in a block: a time constant of 80 ms, so 95 % are back after 240 ms. Slower
/// than a pitch period, or the gain would follow the waveform; faster than a syllable, or one cough would duck the next.
const RELEASE: f32 = 0.0308;

/// A gain this near to 1 becomes 1 (0.004 dB), and the output bit-exact again.
const UNITY_ENOUGH: f32 = 0.9995;

const CEILING: f32 = i16::MAX as f32;

/// Keeps a sum within 16 bits. Below full scale nothing is changed, not a bit. Above it the gain goes down within the frame,
/// ahead of the peak (a frame is known as a whole, so this costs no delay), and comes back over a quarter of a second. At
/// the very start of a frame there may be no room to go down in: those samples are clipped, for at most 2.5 ms.
/// 0.2 µs a frame of 960 samples below full scale, 1.6 µs while it limits.
#[derive(Clone, Debug)]
pub struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    /// Present gain, at most 1.
    pub const fn gain(&self) -> f32 {
        self.gain
    }

    /// One frame, at the rate of `out`. Sums up to ±2²⁴ (512 full-scale legs) keep their precision; missing ones are silence.
    pub fn process(&mut self, sum: &[i32], out: &mut Frame) {
        let out = out.samples_mut();
        let (out, missing) = out.split_at_mut(out.len().min(sum.len()));
        missing.fill(0);
        let is_within = sum.iter().fold(true, |within, &sample| within & (sample == i32::from(sample as i16)));
        if is_within && self.gain >= 1.0 {
            for (out, &sample) in out.iter_mut().zip(sum) {
                *out = sample as i16;
            }
            return;
        }
        let block_samples = out.len().div_ceil(BLOCKS).max(1);
        // What each block needs; one more, as nothing is known of the next frame.
        let mut needed = [1.0f32; BLOCKS + 1];
        for (needed, block) in needed.iter_mut().zip(sum.chunks(block_samples).take(BLOCKS)) {
            let peak = block.iter().fold(1, |peak, sample| sample.unsigned_abs().max(peak));
            *needed = (CEILING / peak as f32).min(1.0);
        }
        let blocks = out.chunks_mut(block_samples).zip(sum.chunks(block_samples));
        for ((outs, sums), needs) in blocks.zip(needed.windows(2)) {
            let &[now, next] = needs else { continue };
            let recovered = self.gain + (1.0 - self.gain) * RELEASE;
            // Low enough at the end of this block for it and for the one that follows.
            let target = recovered.min(now).min(next);
            let step = (target - self.gain) / outs.len() as f32;
            for (at, (out, &sample)) in outs.iter_mut().zip(sums).enumerate() {
                let gain = self.gain + step * (at as i32 + 1) as f32;
                // Clamped: above the ceiling are only the samples that the gain had no time for.
                *out = rounded(sample as f32 * gain).clamp(-CEILING, CEILING) as i32 as i16;
            }
            self.gain = if target >= UNITY_ENOUGH { 1.0 } else { target };
        }
    }
}

/// Half away from zero once it is cut to an integer; the standard library's way is a call into libm on plain x86-64.
fn rounded(sample: f32) -> f32 {
    sample + 0.5f32.copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SampleRate;
    use std::f64::consts::TAU;

    fn sine(amplitude: f64, rate: SampleRate, frame: usize) -> Vec<i32> {
        let samples = rate.frame_samples();
        (0..samples)
            .map(|at| {
                let time = (frame * samples + at) as f64 / f64::from(rate.hz());
                ((TAU * 300.0 * time).sin() * amplitude * 32_767.0) as i32
            })
            .collect()
    }

    #[test]
    fn below_full_scale_not_a_bit_changes() {
        for rate in SampleRate::ALL {
            let mut limiter = Limiter::default();
            let mut out = Frame::silence(rate);
            let edges = [i32::from(i16::MIN), i32::from(i16::MAX), 0, -1, 1];
            let sum: Vec<i32> = (0..rate.frame_samples()).map(|at| edges[at % edges.len()]).collect();
            limiter.process(&sum, &mut out);
            assert!(out.samples().iter().zip(&sum).all(|(&out, &sum)| i32::from(out) == sum));
            assert_eq!(limiter.gain(), 1.0);
        }
    }

    #[test]
    fn loud_sums_neither_wrap_nor_change_their_sign() {
        for rate in SampleRate::ALL {
            let mut limiter = Limiter::default();
            let mut out = Frame::silence(rate);
            for frame in 0..50 {
                let sum = sine(200.0 / (1.0 + frame as f64), rate, frame);
                limiter.process(&sum, &mut out);
                for (&out, &sum) in out.samples().iter().zip(&sum) {
                    assert!(i64::from(out) * i64::from(sum) >= 0);
                    assert!(i32::from(out).abs() <= sum.abs());
                }
            }
        }
        let mut out = Frame::silence(SampleRate::Hz48000);
        for extreme in [i32::MIN, i32::MAX] {
            Limiter::default().process(&[extreme; 960], &mut out);
            assert!(out.samples().iter().all(|&out| i32::from(out.signum()) == extreme.signum()));
        }
    }

    #[test]
    fn steady_overload_is_scaled_and_not_clipped() {
        let rate = SampleRate::Hz48000;
        let mut limiter = Limiter::default();
        let mut out = Frame::silence(rate);
        let mut clipped = 0;
        for frame in 0..100 {
            limiter.process(&sine(3.0, rate, frame), &mut out);
            if frame >= 2 {
                clipped += out.samples().iter().filter(|sample| sample.unsigned_abs() == 32_767).count();
            }
        }
        // Clipping alone would hold 78 % of the samples of such a sine at the ceiling.
        assert!(clipped < 98 * 960 / 20, "{clipped} samples at the ceiling");
        let peak = out.samples().iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(peak > 32_000, "and it stays loud: {peak}");
    }

    #[test]
    fn onset_and_end_of_overload_do_not_click() {
        for rate in SampleRate::ALL {
            let mut limiter = Limiter::default();
            let mut out = Frame::silence(rate);
            let mut last = 0;
            // The steepest that the overloaded sine itself gets.
            let steepest = TAU * 300.0 / f64::from(rate.hz()) * 32_767.0 * 3.0;
            for frame in 0..40 {
                let amplitude = if (10..20).contains(&frame) { 3.0 } else { 0.9 };
                limiter.process(&sine(amplitude, rate, frame), &mut out);
                for &sample in out.samples() {
                    let jump = f64::from((i32::from(sample) - last).abs());
                    assert!(jump <= steepest + 2.0, "{rate:?}: a jump of {jump} in frame {frame}");
                    last = i32::from(sample);
                }
            }
        }
    }

    #[test]
    fn peak_late_in_a_frame_is_met_by_a_gain_that_went_down_before() {
        let mut limiter = Limiter::default();
        let mut out = Frame::silence(SampleRate::Hz48000);
        let mut sum = vec![10_000; 960];
        sum[500..520].fill(100_000);
        limiter.process(&sum, &mut out);
        assert_eq!(out.samples()[300], 10_000);
        assert!(out.samples()[470] < 9_000);
        assert!(out.samples()[500..520].iter().all(|&sample| (32_700..=32_767).contains(&sample)));
    }

    #[test]
    fn gain_comes_back_in_a_quarter_of_a_second_and_then_exactly() {
        let rate = SampleRate::Hz8000;
        let mut limiter = Limiter::default();
        let mut out = Frame::silence(rate);
        limiter.process(&sine(4.0, rate, 0), &mut out);
        assert!(limiter.gain() < 0.3);
        let quiet = sine(0.15, rate, 1);
        for _ in 0..6 {
            limiter.process(&quiet, &mut out);
        }
        assert!(limiter.gain() < 0.85, "not before 120 ms: {}", limiter.gain());
        for _ in 6..13 {
            limiter.process(&quiet, &mut out);
        }
        assert!(limiter.gain() > 0.95, "after 260 ms: {}", limiter.gain());
        for _ in 13..40 {
            limiter.process(&quiet, &mut out);
        }
        assert_eq!(limiter.gain(), 1.0);
        assert!(out.samples().iter().zip(&quiet).all(|(&out, &sum)| i32::from(out) == sum));
    }

    #[test]
    fn wrong_lengths_are_survived() {
        let mut out = Frame::silence(SampleRate::Hz16000);
        for length in [0, 1, 319, 321, 5000] {
            let mut limiter = Limiter::default();
            limiter.process(&vec![100_000; length], &mut out);
            limiter.process(&vec![100_000; length], &mut out);
        }
        Limiter::default().process(&[7, 8], &mut out);
        assert_eq!(out.samples()[..3], [7, 8, 0]);
    }
}
