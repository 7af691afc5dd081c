//! What is played to one leg alone: a prompt over the mix, which steps back for it. Lives in the member, on the worker's
//! thread; knows nothing of codecs, encodes or why something is played.

use crate::audio::frame::{Frame, MAX_FRAME_SAMPLES};
use crate::audio::player::{Finished, Player};
use crate::audio::prompt::{PROMPT_RATE, Playback};
use crate::audio::resample::Resampler;
use crate::units::{PlaybackId, SampleRate};

const PROMPT_FRAME: usize = PROMPT_RATE.frame_samples();
/// −9 dB: the mix stays there, and the words of the prompt are understood.
const DUCKED: f32 = 0.355;
/// It steps back within one tick, as the first word counts, and comes back over ten, 200 ms.
const RETURN_STEP: f32 = (1.0 - DUCKED) / 10.0;
/// After the last frame the resampler still holds up to 6 ms: one frame more.
const TAIL_FRAMES: u8 = 1;

/// Plays to one leg, at its codec's rate.
#[derive(Debug)]
pub(super) struct Aside {
    player: Player,
    resampler: Resampler,
    rate: SampleRate,
    frame: Frame,
    wide: [i32; PROMPT_FRAME],
    out: [i32; MAX_FRAME_SAMPLES],
    /// Factor of the mix.
    mix: f32,
    tail: u8,
}

impl Aside {
    /// Allocates all that it will need.
    pub(super) fn new(rate: SampleRate) -> Self {
        Self {
            player: Player::default(),
            resampler: Resampler::new(PROMPT_RATE, rate),
            rate,
            frame: Frame::silence(PROMPT_RATE),
            wide: [0; PROMPT_FRAME],
            out: [0; MAX_FRAME_SAMPLES],
            mix: 1.0,
            tail: 0,
        }
    }

    /// In place of what plays.
    pub(super) fn play(&mut self, playback: Playback) {
        drop(self.player.play(playback));
    }

    /// Fades out what plays.
    pub(super) fn stop(&mut self) {
        drop(self.player.stop());
    }

    /// The leg has another codec. Allocates.
    pub(super) fn set_rate(&mut self, rate: SampleRate) {
        if rate != self.rate {
            self.rate = rate;
            self.resampler = Resampler::new(PROMPT_RATE, rate);
        }
    }

    /// What the leg hears in the next tick differs from the mix.
    pub(super) fn is_active(&self) -> bool {
        self.player.is_active() || self.tail > 0 || self.mix < 1.0
    }

    /// What plays.
    pub(super) fn current(&self) -> Option<PlaybackId> {
        self.player.current().map(|current| current.id)
    }

    /// One frame of the mix at the leg's rate, unlimited, becomes what the leg hears.
    pub(super) fn speak_over(&mut self, mix: &mut [i32]) {
        let steps_back = self.player.current().is_some_and(|current| !current.looped);
        let from = self.mix;
        let to = if steps_back { DUCKED } else { (from + RETURN_STEP).min(1.0) };
        if from < 1.0 || to < 1.0 {
            let step = (to - from) / mix.len().max(1) as f32;
            for (at, sample) in mix.iter_mut().enumerate() {
                *sample = (*sample as f32 * (from + step * at as f32)) as i32;
            }
        }
        self.mix = to;
        if self.advance() {
            let n = mix.len().min(MAX_FRAME_SAMPLES);
            let out = self.out.get_mut(..n).unwrap_or_default();
            self.resampler.process(&self.wide, out);
            for (sample, prompt) in mix.iter_mut().zip(out) {
                *sample += *prompt;
            }
        }
    }

    /// The same for a leg that nothing can be sent to: the time of what plays passes.
    pub(super) fn pass(&mut self) {
        self.mix = 1.0;
        self.advance();
        self.tail = 0;
        self.resampler.reset();
    }

    /// The next frame of the prompt; false when there is none.
    fn advance(&mut self) -> bool {
        if self.player.is_active() {
            self.player.fill(&mut self.frame);
            self.tail = TAIL_FRAMES;
        } else if self.tail > 0 {
            self.frame.clear();
            self.tail -= 1;
        } else {
            return false;
        }
        for (wide, sample) in self.wide.iter_mut().zip(self.frame.samples()) {
            *wide = i32::from(*sample);
        }
        true
    }

    /// What is over since the last tick.
    pub(super) fn take_finished(&mut self) -> Option<Finished> {
        self.player.take_finished()
    }
}
