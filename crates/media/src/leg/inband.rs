//! Keys in the sound of a leg. Whose far end has no events for them (RFC 4733) is listened to, and its sound is held back by
//! one tick, so that a tone is cut out from its onset; whose far end has, is silenced while an event lasts, as gateways let
//! some of the tone pass beside it. Runs on the worker's thread; knows nothing of packets.

use std::time::{Duration, Instant};

use super::playout::Pulled;
use crate::audio::frame::Frame;
use crate::audio::keys::{FRAME, KeyDetector, SLOTS};
use crate::audio::resample::Resampler;
use crate::command::Digit;
use crate::units::SampleRate;

/// What is cut is faded out and in over so much, 2 ms: a voice that is cut does not click.
const FADES_PER_SECOND: f32 = 500.0;
/// Gateways are so late to silence a tone, or so early to let it pass again.
const AROUND: Duration = Duration::from_millis(40);
/// A press whose end was lost: events come every 50 ms at the least.
const LOST_END: Duration = Duration::from_millis(100);

/// Lets sound pass or not.
#[derive(Debug)]
struct Gate {
    gain: f32,
}

impl Gate {
    const OPEN: Self = Self { gain: 1.0 };

    /// The next samples, at this rate.
    fn pass(&mut self, rate: SampleRate, samples: &mut [i16], is_open: bool) {
        let target = if is_open { 1.0 } else { 0.0 };
        if self.gain == target {
            if !is_open {
                samples.fill(0);
            }
            return;
        }
        let step = FADES_PER_SECOND / rate.hz() as f32;
        for sample in samples {
            self.gain = if is_open { (self.gain + step).min(1.0) } else { (self.gain - step).max(0.0) };
            *sample = (f32::from(*sample) * self.gain) as i16;
        }
    }
}

/// Listens for keys, and cuts their tones out.
#[derive(Debug)]
pub(super) struct Keypad {
    detector: KeyDetector,
    /// To the detector's 8 kHz, where the codec has more.
    decimator: Option<Resampler>,
    held: Frame,
    pulled: Pulled,
    cut: [bool; SLOTS],
    gate: Gate,
    wide: Box<[i32]>,
}

impl Keypad {
    /// For sound of this rate. Allocates all that it will need.
    pub(super) fn new(rate: SampleRate) -> Self {
        let decimator = (rate != SampleRate::Hz8000).then(|| Resampler::new(rate, SampleRate::Hz8000));
        Self {
            detector: KeyDetector::default(),
            decimator,
            held: Frame::silence(rate),
            pulled: Pulled::Silence,
            cut: [false; SLOTS],
            gate: Gate::OPEN,
            wide: vec![0; rate.frame_samples()].into(),
        }
    }

    /// One tick: takes what was pulled, and gives what was pulled a tick ago, without tones.
    pub(super) fn pass(&mut self, frame: &mut Frame, pulled: Pulled) -> (Pulled, Option<Digit>) {
        if frame.rate() != self.held.rate() {
            *self = Self::new(frame.rate());
        }
        if pulled == Pulled::Silence && self.pulled == Pulled::Silence && !self.detector.is_busy() {
            // A tick of silence has passed through already: there is nothing to be found, nor anything held.
            return (pulled, None);
        }
        let heard = match &mut self.decimator {
            None => self.detector.listen(frame.samples()),
            Some(decimator) => {
                for (wide, sample) in self.wide.iter_mut().zip(frame.samples()) {
                    *wide = i32::from(*sample);
                }
                let mut narrow = [0; FRAME];
                decimator.process(&self.wide, &mut narrow);
                // What the filter makes of full scale may be more than that.
                let narrow = narrow.map(|s| s.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16);
                let mut heard = self.detector.listen(&narrow);
                // The filter's 3 ms: the tone was there before.
                let first = heard.now.first().copied().unwrap_or(false);
                widen(&mut heard.before, first);
                widen(&mut heard.now, false);
                heard
            }
        };
        std::mem::swap(frame, &mut self.held);
        let pulled = std::mem::replace(&mut self.pulled, pulled);
        let rate = frame.rate();
        let slots = frame.samples_mut().chunks_mut(rate.frame_samples() / SLOTS);
        for ((slot, cut), before) in slots.zip(self.cut).zip(heard.before) {
            self.gate.pass(rate, slot, !cut && !before);
        }
        self.cut = heard.now;
        (pulled, heard.pressed.and_then(Digit::from_event))
    }

    /// Nothing is heard for a while: what is held is old by then.
    pub(super) fn skip(&mut self) {
        if self.pulled != Pulled::Silence || self.detector.is_busy() {
            self.held.clear();
            self.pulled = Pulled::Silence;
            self.cut = [false; SLOTS];
            self.detector.reset();
        }
    }
}

/// What is cut begins one slot earlier.
fn widen(cut: &mut [bool; SLOTS], next: bool) {
    let mut later = next;
    for slot in cut.iter_mut().rev() {
        later = std::mem::replace(slot, *slot || later);
    }
}

/// Silences a leg around the events of its keys.
#[derive(Debug)]
pub(super) struct EventGate {
    gate: Gate,
    closed: Option<(Instant, Instant)>,
}

impl EventGate {
    pub(super) const OPEN: Self = Self { gate: Gate::OPEN, closed: None };

    /// A packet of an event came, the last one of it or not; sound that comes with it waits for `delay` to be played.
    pub(super) fn note(&mut self, arrived: Instant, is_end: bool, delay: Duration) {
        let until = arrived + delay + if is_end { AROUND } else { LOST_END };
        let from = match self.closed {
            Some((from, before)) if arrived <= before => from,
            _ => arrived + delay.saturating_sub(AROUND),
        };
        self.closed = Some((from, until));
    }

    /// What plays at `now`.
    pub(super) fn pass(&mut self, now: Instant, frame: &mut Frame) {
        let is_closed = self.closed.is_some_and(|(from, until)| from <= now && now < until);
        let rate = frame.rate();
        self.gate.pass(rate, frame.samples_mut(), !is_closed);
    }
}
