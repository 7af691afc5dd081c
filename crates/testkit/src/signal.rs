//! What a test peer says: a source is asked for samples by their index since it began to speak, at its codec's rate.
//! Pure.

use crate::netem::Rng;
use crate::tone;
use std::f64::consts::TAU;

/// Fills the slice with samples, the first of which has this index. Indices are asked for in order, once each.
pub type Source = Box<dyn FnMut(u64, &mut [i16]) + Send>;

/// Says nothing.
pub fn silence() -> Source {
    Box::new(|_, out| out.fill(0))
}

/// A sine that never ends.
pub fn tone(rate_hz: u32, hz: f64, level_db: f64) -> Source {
    let a = tone::amplitude(level_db);
    Box::new(move |first, out| {
        for (n, sample) in (first..).zip(out) {
            *sample = (a * (TAU * hz * n as f64 / f64::from(rate_hz)).sin()).round() as i16;
        }
    })
}

/// A 1 kHz tone of [`crate::scene::FLASH`] at every whole second since the peer began, silence between: for sync, with
/// [`crate::scene::flashes`].
pub fn beeps(rate_hz: u32, level_db: f64) -> Source {
    let mut tone = tone(rate_hz, 1_000.0, level_db);
    let beep = (crate::scene::FLASH.as_secs_f64() * f64::from(rate_hz)) as u64;
    Box::new(move |first, out| {
        tone(first, out);
        for (n, sample) in (first..).zip(out) {
            if n % u64::from(rate_hz) >= beep {
                *sample = 0;
            }
        }
    })
}

/// A recording, played once from the first sample asked for, then silence.
pub fn pcm(samples: Vec<i16>) -> Source {
    let mut begun = None;
    Box::new(move |first, out| {
        let offset = first - *begun.get_or_insert(first);
        for (n, sample) in (offset..).zip(out) {
            *sample = usize::try_from(n).ok().and_then(|n| samples.get(n)).copied().unwrap_or(0);
        }
    })
}

/// Chirps in faint noise, at known places: what mouth-to-ear delay is measured with. Four shapes take turns, so that a
/// chirp is not taken for its neighbour unless it is two seconds late.
#[derive(Clone, Debug)]
pub struct Chirps {
    rate_hz: u32,
    shapes: [Vec<f64>; 4],
}

/// One chirp that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundChirp {
    /// Sample at which it begins.
    pub at: usize,
    /// Normalised correlation with what was sent, 0–1.
    pub likeness: f64,
}

impl Chirps {
    /// Mean distance in milliseconds. Each chirp is off the regular place by its own share of 20 ms, so that no phase of
    /// a 20 ms tick is measured more than another.
    pub const PERIOD_MS: u64 = 500;
    /// The first one begins here, ms.
    const FIRST_MS: u64 = 300;
    const LEN_MS: u32 = 24;
    const LEVEL_DB: f64 = -12.0;
    /// Rooms are not silent, and concealment and time-scaling of pure zeros prove nothing.
    const NOISE_DB: f64 = -60.0;
    /// Sweeps in Hz, all in the telephone band: up and down, low and high, so that no two are alike.
    const SWEEPS: [(f64, f64); 4] = [(400.0, 1_900.0), (3_400.0, 1_900.0), (1_900.0, 400.0), (1_900.0, 3_400.0)];

    /// For PCM of this rate.
    pub fn new(rate_hz: u32) -> Self {
        let len = (rate_hz * Self::LEN_MS / 1_000) as usize;
        let seconds = f64::from(Self::LEN_MS) / 1_000.0;
        let shapes = Self::SWEEPS.map(|(from, to)| {
            let sample = |n| {
                let t = n as f64 / f64::from(rate_hz);
                let phase = TAU * (from * t + (to - from) / (2.0 * seconds) * t * t);
                (0.5 - 0.5 * (TAU * n as f64 / len as f64).cos()) * phase.sin()
            };
            (0..len).map(sample).collect()
        });
        Self { rate_hz, shapes }
    }

    /// First sample of the `k`-th chirp.
    pub fn start_of(&self, k: u64) -> u64 {
        // 7.31 ms has no common measure with 20 ms.
        let within_us = k * 7_310 % 20_000;
        ((Self::FIRST_MS + k * Self::PERIOD_MS) * 1_000 + within_us) * u64::from(self.rate_hz) / 1_000_000
    }

    /// The sound.
    pub fn source(&self, seed: u64) -> Source {
        let this = self.clone();
        let mut rng = Rng::new(seed);
        let (loud, faint) = (tone::amplitude(Self::LEVEL_DB), tone::amplitude(Self::NOISE_DB));
        Box::new(move |first, out| {
            for (n, sample) in (first..).zip(out) {
                let k = (n * 1_000 / u64::from(this.rate_hz)).saturating_sub(Self::FIRST_MS) / Self::PERIOD_MS;
                let chirp = n.checked_sub(this.start_of(k)).and_then(|o| this.shape(k).get(o as usize));
                let value = faint * (2.0 * rng.unit() - 1.0) + loud * chirp.copied().unwrap_or(0.0);
                *sample = value.round() as i16;
            }
        })
    }

    /// The best match for the `k`-th chirp whose first sample is in `range`; `None` when nothing there is like it.
    pub fn find(&self, k: u64, pcm: &[i16], range: std::ops::Range<usize>) -> Option<FoundChirp> {
        let shape = self.shape(k);
        let energy: f64 = shape.iter().map(|t| t * t).sum();
        let last = (pcm.len() + 1).saturating_sub(shape.len());
        let mut best: Option<FoundChirp> = None;
        for at in range.start..range.end.min(last) {
            let (mut dot, mut power) = (0.0, 0.0);
            for (&s, t) in pcm[at..at + shape.len()].iter().zip(shape) {
                dot += f64::from(s) * t;
                power += f64::from(s) * f64::from(s);
            }
            // A window that is much fainter than a chirp can be alike by chance.
            if power < energy * tone::amplitude(Self::LEVEL_DB - 20.0).powi(2) {
                continue;
            }
            let likeness = dot.abs() / (power * energy).sqrt();
            if best.is_none_or(|b| likeness > b.likeness) {
                best = Some(FoundChirp { at, likeness });
            }
        }
        best.filter(|b| b.likeness > 0.6)
    }

    fn shape(&self, k: u64) -> &[f64] {
        &self.shapes[(k % 4) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcm_begins_when_first_asked() {
        let mut source = pcm(vec![5, 6, 7]);
        let mut out = [1; 2];
        source(100, &mut out);
        assert_eq!(out, [5, 6]);
        source(102, &mut out);
        assert_eq!(out, [7, 0]);
    }

    #[test]
    fn chirp_is_found_to_the_sample_and_not_mistaken_for_another() {
        for rate in [8_000u32, 48_000] {
            let chirps = Chirps::new(rate);
            let mut pcm = vec![0; rate as usize * 3];
            chirps.source(1)(0, &mut pcm);
            for k in 0..5 {
                let sent = chirps.start_of(k) as usize;
                let around = sent - 200..sent + 300;
                let found = chirps.find(k, &pcm, around.clone()).expect("a chirp");
                assert_eq!(found.at, sent, "chirp {k} at {rate} Hz");
                assert!(found.likeness > 0.99);
                for other in 1..4 {
                    assert_eq!(chirps.find(k + other, &pcm, around.clone()), None, "{k} and {other} at {rate} Hz");
                }
            }
            assert_eq!(chirps.find(0, &pcm, 0..100), None);
        }
    }

    #[test]
    fn tone_is_continuous_over_calls() {
        let mut source = tone(8_000, 440.0, -20.0);
        let mut pcm = vec![0; 8_000];
        for (k, part) in pcm.chunks_mut(160).enumerate() {
            source(k as u64 * 160, part);
        }
        assert_eq!(pcm, tone::sine(8_000, 440.0, -20.0, 8_000));
    }
}
