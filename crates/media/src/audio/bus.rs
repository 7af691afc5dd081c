//! The wide sums of a room: one bus per native rate, added as i32 and never limited here, so that mix-minus is exact.
//! Runs on the worker's thread; knows nothing of legs, codecs or encoders.
//!
//! What is heard at rate r is `sum_r + Σ resample(sum of each other bus)`. A talker at rate r hears that minus its own
//! frame: its own signal never crosses a resampler, so nothing of it is left over.

use crate::audio::frame::{Frame, MAX_FRAME_SAMPLES};
use crate::audio::resample::Resampler;
use crate::units::SampleRate;

const RATES: usize = SampleRate::ALL.len();

/// A resampler's memory is shorter than a frame: after this many silent frames its output is silence too.
const FLUSH_FRAMES: u8 = 2;

type Sum = [i32; MAX_FRAME_SAMPLES];

struct Bus {
    sum: Sum,
    /// Frames since anything was added; stops counting at `FLUSH_FRAMES`.
    silent_frames: u8,
}

/// Every bus of one room, and what is heard at each rate.
pub struct Buses {
    buses: [Bus; RATES],
    full: [Sum; RATES],
    /// `[from][to]`, made when a room first has both rates; boxed because most rooms never have.
    resamplers: [[Option<Box<Resampler>>; RATES]; RATES],
    scratch: Sum,
}

impl Default for Buses {
    fn default() -> Self {
        Self::new()
    }
}

impl Buses {
    /// Silent buses without any resampler.
    pub fn new() -> Self {
        Self {
            buses: std::array::from_fn(|_| Bus { sum: [0; MAX_FRAME_SAMPLES], silent_frames: FLUSH_FRAMES }),
            full: [[0; MAX_FRAME_SAMPLES]; RATES],
            resamplers: std::array::from_fn(|_| std::array::from_fn(|_| None)),
            scratch: [0; MAX_FRAME_SAMPLES],
        }
    }

    /// Makes the resamplers from the rates at which something is added to those at which somebody hears. Allocates, so it
    /// belongs to join and renegotiation, not to a tick.
    pub fn prepare(&mut self, added: [bool; RATES], heard: [bool; RATES]) {
        for from in SampleRate::ALL {
            for to in SampleRate::ALL {
                let needed = from != to && added[from.index()] && heard[to.index()];
                let slot = &mut self.resamplers[from.index()][to.index()];
                if needed && slot.is_none() {
                    *slot = Some(Box::new(Resampler::new(from, to)));
                } else if !needed {
                    *slot = None;
                }
            }
        }
    }

    /// Starts a tick: all sums are zero.
    pub fn clear(&mut self) {
        for (bus, rate) in self.buses.iter_mut().zip(SampleRate::ALL) {
            if bus.silent_frames == 0 {
                bus.sum[..rate.frame_samples()].fill(0);
            }
            bus.silent_frames = (bus.silent_frames + 1).min(FLUSH_FRAMES + 1);
        }
    }

    /// Adds a frame, post gain and ramp, to the bus of its rate.
    pub fn add(&mut self, frame: &Frame) {
        let bus = &mut self.buses[frame.rate().index()];
        bus.silent_frames = 0;
        for (sum, sample) in bus.sum.iter_mut().zip(frame.samples()) {
            *sum += i32::from(*sample);
        }
    }

    /// Works out what is heard at each wanted rate. Call once a tick, after the last `add`.
    pub fn mix(&mut self, wanted: [bool; RATES]) {
        for to in SampleRate::ALL {
            if !wanted[to.index()] {
                continue;
            }
            let n = to.frame_samples();
            let full = &mut self.full[to.index()];
            full[..n].copy_from_slice(&self.buses[to.index()].sum[..n]);
            for from in SampleRate::ALL {
                let Some(resampler) = self.resamplers[from.index()][to.index()].as_deref_mut() else { continue };
                let bus = &self.buses[from.index()];
                if bus.silent_frames > FLUSH_FRAMES {
                    continue;
                }
                resampler.process(&bus.sum[..from.frame_samples()], &mut self.scratch[..n]);
                for (sum, sample) in full[..n].iter_mut().zip(&self.scratch[..n]) {
                    *sum += *sample;
                }
            }
        }
    }

    /// The full mix at `rate`, one frame, as of the last `mix` that wanted this rate.
    pub fn full(&self, rate: SampleRate) -> &[i32] {
        &self.full[rate.index()][..rate.frame_samples()]
    }

    /// The full mix at `own.rate()` without `own`, into `out` (at least one frame long). Returns the frame.
    pub fn minus<'a>(&self, own: &Frame, out: &'a mut [i32; MAX_FRAME_SAMPLES]) -> &'a [i32] {
        let n = own.rate().frame_samples();
        for ((out, full), own) in out[..n].iter_mut().zip(self.full(own.rate())).zip(own.samples()) {
            *out = full - i32::from(*own);
        }
        &out[..n]
    }

    /// Nothing was added to any bus in this tick, and no resampler has a tail left.
    pub fn is_silent(&self) -> bool {
        self.buses.iter().all(|b| b.silent_frames > FLUSH_FRAMES)
    }
}

impl std::fmt::Debug for Buses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Buses")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rate: SampleRate, seed: u32) -> Frame {
        let mut frame = Frame::silence(rate);
        let mut x = seed.wrapping_mul(2_654_435_761) | 1;
        for s in frame.samples_mut() {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            *s = (x >> 16) as i16;
        }
        frame
    }

    #[test]
    fn mix_minus_is_exactly_the_sum_of_the_others() {
        let rate = SampleRate::Hz8000;
        let mut buses = Buses::new();
        let frames: Vec<Frame> = (0..40).map(|i| noise(rate, i)).collect();
        buses.clear();
        frames.iter().for_each(|f| buses.add(f));
        buses.mix([true, false, false]);
        let mut out = [0; MAX_FRAME_SAMPLES];
        for (me, own) in frames.iter().enumerate() {
            let heard = buses.minus(own, &mut out);
            for (n, heard) in heard.iter().enumerate() {
                let others: i32 =
                    frames.iter().enumerate().filter(|(i, _)| *i != me).map(|(_, f)| i32::from(f.samples()[n])).sum();
                assert_eq!(*heard, others);
            }
        }
    }

    #[test]
    fn alone_at_its_rate_a_talker_hears_nothing_of_itself_beside_other_rates() {
        let mut buses = Buses::new();
        buses.prepare([true, false, true], [true, false, true]);
        let mut out = [0; MAX_FRAME_SAMPLES];
        for tick in 0..50 {
            let own = noise(SampleRate::Hz48000, tick);
            buses.clear();
            buses.add(&own);
            buses.mix([true, false, true]);
            assert!(buses.minus(&own, &mut out).iter().all(|s| *s == 0), "own signal leaked at tick {tick}");
            assert!(tick < 2 || buses.full(SampleRate::Hz8000).iter().any(|s| *s != 0), "the other rate hears it");
        }
    }

    #[test]
    fn a_bus_that_fell_silent_ends_in_exact_silence() {
        let mut buses = Buses::new();
        buses.prepare([true, false, true], [true, false, true]);
        for tick in 0..10 {
            buses.clear();
            if tick < 4 {
                buses.add(&noise(SampleRate::Hz8000, tick));
            }
            buses.mix([true, false, true]);
        }
        assert!(buses.is_silent());
        assert!(buses.full(SampleRate::Hz48000).iter().all(|s| *s == 0));
        assert!(buses.full(SampleRate::Hz8000).iter().all(|s| *s == 0));
    }
}
