//! Sound that is played to callers: a notice, a beep, music. Made on whatever thread wants it, shared by all that play it;
//! knows nothing of who hears it. How it is played is the room's business.

mod file;

use std::sync::Arc;
use std::time::Duration;

pub use file::{PromptFile, PromptFileError};

use crate::units::{PlaybackId, SampleRate};

/// The rate of every prompt: what voices and music on a telephone need, and a whole ratio to the codecs' rates.
pub const PROMPT_RATE: SampleRate = SampleRate::Hz16000;
/// Ten minutes: more is a recording, not a prompt. 19 MB.
pub const MAX_PROMPT_SAMPLES: usize = PROMPT_RATE.hz() as usize * 600;
/// A tone begins and ends over so much, 5 ms, so that it does not click.
const TONE_FADE_SAMPLES: usize = PROMPT_RATE.hz() as usize / 200;

/// Sound to be played to callers: mono, 16 kHz, at most ten minutes. Cheap to clone.
#[derive(Clone)]
pub struct Prompt {
    samples: Arc<[i16]>,
}

impl Prompt {
    /// From samples at 16 kHz; those after ten minutes are dropped.
    pub fn from_samples(mut samples: Vec<i16>) -> Self {
        samples.truncate(MAX_PROMPT_SAMPLES);
        Self { samples: samples.into() }
    }

    /// Nothing, for so long (at most ten minutes).
    pub fn silence(duration: Duration) -> Self {
        Self::from_samples(vec![0; samples_in(duration)])
    }

    /// A sine of `hz` (below 8,000) at `dbov` (RFC 6464 sense: a full-scale sine is −3), with soft ends of 5 ms.
    pub fn tone(hz: f64, duration: Duration, dbov: f64) -> Self {
        let n = samples_in(duration);
        let amplitude = f64::from(i16::MAX) * 10f64.powf((dbov.min(-3.01) + 3.01) / 20.0);
        let fade = TONE_FADE_SAMPLES.min(n / 2).max(1);
        let sample = |at: usize| {
            let soft = (at.min(n - 1 - at) as f64 / fade as f64).min(1.0);
            let phase = std::f64::consts::TAU * hz * at as f64 / f64::from(PROMPT_RATE.hz());
            (phase.sin() * amplitude * soft).round() as i16
        };
        Self::from_samples((0..n).map(sample).collect())
    }

    /// How long it plays.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(1) * u32::try_from(self.samples.len()).unwrap_or(u32::MAX) / PROMPT_RATE.hz()
    }

    /// Its samples, mono at [`PROMPT_RATE`].
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompt").field("duration", &self.duration()).finish_non_exhaustive()
    }
}

/// Prompts that are played one after the other, without a gap.
#[derive(Clone, Debug)]
pub struct Playback {
    /// What its end is told by; chosen by control.
    pub id: PlaybackId,
    /// In this order. Without any sample in them, the playback is over as soon as it begins.
    pub parts: Vec<Prompt>,
    /// Begins anew when it is through, until it is stopped or replaced.
    pub looped: bool,
}

impl Playback {
    /// How long one round of it takes.
    pub fn duration(&self) -> Duration {
        self.parts.iter().map(Prompt::duration).sum()
    }
}

fn samples_in(duration: Duration) -> usize {
    let samples = duration.as_micros() * u128::from(PROMPT_RATE.hz()) / 1_000_000;
    usize::try_from(samples).unwrap_or(usize::MAX).min(MAX_PROMPT_SAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level;

    #[test]
    fn a_prompt_has_the_length_and_level_that_were_asked_for() {
        let tone = Prompt::tone(440.0, Duration::from_millis(250), -20.0);
        assert_eq!(tone.duration(), Duration::from_millis(250));
        assert_eq!(level::dbov(level::energy(&tone.samples()[400..3_600])), -20);
        assert_eq!((tone.samples().first(), tone.samples().last()), (Some(&0), Some(&0)));
        let silence = Prompt::silence(Duration::from_secs(2));
        assert_eq!((silence.duration(), level::energy(silence.samples())), (Duration::from_secs(2), 0.0));
        assert_eq!(Prompt::tone(440.0, Duration::ZERO, -20.0).samples(), []);
    }

    #[test]
    fn ten_minutes_are_the_most() {
        assert_eq!(Prompt::silence(Duration::MAX).duration(), Duration::from_secs(600));
        assert_eq!(Prompt::from_samples(vec![1; MAX_PROMPT_SAMPLES + 1]).samples().len(), MAX_PROMPT_SAMPLES);
    }
}
