//! Decoded sound that waits to be played, and can be made shorter or longer without changing its pitch: a piece that
//! resembles its neighbour is taken out or said twice, cross-faded (WSOLA on the pitch period). Runs on the worker's
//! thread; knows nothing of packets or of why.

use crate::units::SampleRate;

/// The search runs on an 8 kHz view; these are in its samples. 2.5 ms to 15 ms.
const MIN_LAG: usize = 20;
/// See `MIN_LAG`.
const MAX_LAG: usize = 120;
/// What is compared, and how long the cross-fade lasts: 8 ms.
const WINDOW: usize = 64;
/// Mean square below which nobody hears a seam (about −54 dBov).
const QUIET: f32 = 65.0 * 65.0;

/// How much a seam may be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Only where it cannot be heard: in near silence or in strongly periodic sound.
    Low,
    /// Where it fits well.
    Normal,
    /// Nearly anywhere: too much delay hurts more.
    High,
    /// Anywhere, and as much as was asked for.
    Now,
}

impl Urgency {
    const fn least_similarity(self) -> f32 {
        match self {
            Self::Low => 0.93,
            Self::Normal => 0.8,
            Self::High => 0.4,
            Self::Now => -1.0,
        }
    }
}

/// A queue of samples of one rate that remembers the last 15 ms it gave out. Never allocates after `new`.
#[derive(Debug)]
pub struct StretchQueue {
    samples: Box<[i16]>,
    /// Next to be played; at least `past` samples before it are what was played.
    head: usize,
    tail: usize,
    /// Full-rate samples for one of the 8 kHz view.
    decimation: usize,
}

impl StretchQueue {
    /// Empty, for sounds at `rate` that are pushed in pieces of up to `max_push` samples while less than 40 ms wait.
    pub fn new(rate: SampleRate, max_push: usize) -> Self {
        let decimation = rate.hz() as usize / 8000;
        let past = MAX_LAG * decimation;
        let capacity = 2 * past + 2 * rate.frame_samples() + max_push;
        Self { samples: vec![0; capacity].into_boxed_slice(), head: past, tail: past, decimation }
    }

    /// Samples that wait.
    pub const fn len(&self) -> usize {
        self.tail - self.head
    }

    /// Nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Most that one shrink or grow changes, in samples: 15 ms.
    pub const fn max_change(&self) -> usize {
        MAX_LAG * self.decimation
    }

    /// Drops what waits.
    pub const fn clear(&mut self) {
        self.tail = self.head;
    }

    /// Drops up to `n` of what waits, the newest first.
    pub fn truncate(&mut self, n: usize) {
        self.tail = self.tail.min(self.head + n);
    }

    /// Room for `n` samples at the end (less when there is not that much), to be written and then kept by `commit`.
    pub fn space(&mut self, n: usize) -> &mut [i16] {
        if self.tail + n > self.samples.len() {
            let from = self.head - self.max_change();
            self.samples.copy_within(from..self.tail, 0);
            self.head -= from;
            self.tail -= from;
        }
        let end = (self.tail + n).min(self.samples.len());
        &mut self.samples[self.tail..end]
    }

    /// Keeps the first `n` samples of what `space` gave, without the first `skip` of them.
    pub fn commit(&mut self, n: usize, skip: usize) {
        let n = n.min(self.samples.len() - self.tail);
        let skip = skip.min(n);
        self.samples.copy_within(self.tail + skip..self.tail + n, self.tail);
        self.tail += n - skip;
    }

    /// Moves the first samples into `out`; what is missing becomes silence.
    pub fn play(&mut self, out: &mut [i16]) {
        let n = out.len().min(self.len());
        let (sound, rest) = out.split_at_mut(n);
        sound.copy_from_slice(&self.samples[self.head..self.head + n]);
        rest.fill(0);
        self.head += n;
    }

    /// Takes at most `most` samples out of the beginning, such that at least `leave` remain, if that can be done well
    /// enough. In near silence it is exactly `most`. Returns how many went.
    pub fn shrink(&mut self, most: usize, leave: usize, urgency: Urgency) -> usize {
        let d = self.decimation;
        let window = WINDOW * d;
        let most = most.min(self.max_change()).min(self.len().saturating_sub(leave.max(window)));
        if most == 0 {
            return 0;
        }
        let mut view = [0f32; WINDOW + MAX_LAG];
        self.view(self.head, &mut view, window + most);
        let lag = if urgency == Urgency::Now || quiet(&view[..WINDOW + most / d]) {
            most
        } else {
            let Some(lag) = best_lag(&view[..WINDOW], |lag| &view[lag..lag + WINDOW], most / d, urgency) else {
                return 0;
            };
            self.refine(lag * d, most, |at| (self.head, self.head + at))
        };
        let overlap = window.min(lag);
        for i in 0..overlap {
            let (out, into) = (self.samples[self.head + i], self.samples[self.head + lag + i]);
            self.samples[self.head + lag + i] = fade(out, into, i, overlap);
        }
        self.head += lag;
        // The remembered past now ends in what was left out, but only `grow` reads it, and it looks at what fits.
        lag
    }

    /// Puts at most `most` samples in before the beginning, if that can be done well enough. In near silence it is
    /// exactly `most`. Returns how many came.
    pub fn grow(&mut self, most: usize, urgency: Urgency) -> usize {
        let d = self.decimation;
        let window = WINDOW * d;
        let most = most.min(self.max_change());
        if most < MIN_LAG * d || self.len() < window {
            return 0;
        }
        // Make room at the end for the shift.
        if self.space(most).len() < most {
            return 0;
        }
        let mut view = [0f32; WINDOW + MAX_LAG];
        let past = self.head - self.max_change();
        self.view(past, &mut view, self.max_change() + window);
        let lag = if urgency == Urgency::Now || quiet(&view) {
            most
        } else {
            let next = &view[MAX_LAG..];
            let Some(lag) = best_lag(next, |lag| &view[MAX_LAG - lag..][..WINDOW], most / d, urgency) else { return 0 };
            self.refine(lag * d, most, |at| (self.head, self.head - at))
        };
        // Played … h | waiting w: becomes h | w fading into the last `lag` of h | w.
        self.samples.copy_within(self.head..self.tail, self.head + lag);
        self.tail += lag;
        for i in 0..lag {
            let again = self.samples[self.head - lag + i];
            self.samples[self.head + i] =
                if i < window { fade(self.samples[self.head + lag + i], again, i, window.min(lag)) } else { again };
        }
        lag
    }

    /// An 8 kHz view of `n` samples from `from`: means of neighbours, which is filter enough to find a pitch.
    fn view(&self, from: usize, view: &mut [f32], n: usize) {
        let d = self.decimation;
        for (to, chunk) in view.iter_mut().zip(self.samples[from..from + n].chunks_exact(d)) {
            *to = chunk.iter().map(|&x| f32::from(x)).sum::<f32>() / d as f32;
        }
    }

    /// The best full-rate lag around a coarse one, by least difference.
    fn refine(&self, coarse: usize, most: usize, places: impl Fn(usize) -> (usize, usize)) -> usize {
        let (d, window) = (self.decimation, WINDOW * self.decimation);
        if d == 1 {
            return coarse;
        }
        let low = (coarse - d + 1).max(MIN_LAG * d);
        (low..=(coarse + d - 1).min(most))
            .min_by_key(|&lag| {
                let (a, b) = places(lag);
                let (a, b) = (&self.samples[a..a + window], &self.samples[b..b + window]);
                a.iter().zip(b).map(|(&x, &y)| u64::from(i32::from(x).abs_diff(i32::from(y)))).sum::<u64>()
            })
            .unwrap_or(coarse)
    }
}

fn fade(out: i16, into: i16, i: usize, n: usize) -> i16 {
    let weight = (i + 1) as i32;
    let total = (n + 1) as i32;
    // Stays between the two values, so it fits.
    ((i32::from(out) * (total - weight) + i32::from(into) * weight) / total) as i16
}

fn quiet(view: &[f32]) -> bool {
    view.iter().map(|x| x * x).sum::<f32>() < QUIET * view.len() as f32
}

/// The lag of at most `most` with the highest normalised correlation, when that is high enough.
fn best_lag<'a>(here: &[f32], at: impl Fn(usize) -> &'a [f32], most: usize, urgency: Urgency) -> Option<usize> {
    let own = dot(here, here);
    let (mut best, mut best_score) = (None, urgency.least_similarity());
    for lag in MIN_LAG..=most.min(MAX_LAG) {
        let there = at(lag);
        let score = dot(here, there) / (own * dot(there, there)).sqrt().max(1.0);
        if score > best_score {
            (best, best_score) = (Some(lag), score);
        }
    }
    best
}

/// In eight sums, so that the compiler may use vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [SampleRate; 2] = [SampleRate::Hz8000, SampleRate::Hz48000];

    fn voice(rate: SampleRate, n: usize) -> Vec<i16> {
        (0..n)
            .map(|i| {
                let t = i as f32 * std::f32::consts::TAU * 125.0 / rate.hz() as f32;
                ((t.sin() + 0.5 * (2.0 * t).sin() + 0.3 * (5.0 * t).cos()) * 5000.0) as i16
            })
            .collect()
    }

    fn push(queue: &mut StretchQueue, samples: &[i16]) {
        queue.space(samples.len()).copy_from_slice(samples);
        queue.commit(samples.len(), 0);
    }

    /// Plays a second through the queue with `change` called before each frame; returns what was heard.
    fn run(rate: SampleRate, mut change: impl FnMut(&mut StretchQueue)) -> Vec<i16> {
        let n = rate.frame_samples();
        let mut queue = StretchQueue::new(rate, n);
        let mut heard = Vec::new();
        let mut frame = vec![0; n];
        for chunk in voice(rate, n * 50).chunks(n) {
            push(&mut queue, chunk);
            change(&mut queue);
            while queue.len() >= n {
                queue.play(&mut frame);
                heard.extend(&frame);
            }
        }
        heard
    }

    fn steepest(samples: &[i16]) -> i32 {
        samples.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap_or(0)
    }

    #[test]
    fn voice_is_shortened_by_whole_periods_without_a_jump() {
        for rate in RATES {
            let period = rate.hz() as usize / 125;
            let mut removed = 0;
            let heard = run(rate, |q| removed += q.shrink(period * 5 / 4, 0, Urgency::Low));
            assert!(removed > 10 * period, "{removed}");
            assert!(steepest(&heard) <= steepest(&voice(rate, 48_000)) * 5 / 4);
        }
    }

    #[test]
    fn voice_is_lengthened_by_whole_periods_without_a_jump() {
        for rate in RATES {
            let period = rate.hz() as usize / 125;
            let (mut added, mut calls) = (0, 0);
            let heard = run(rate, |q| {
                calls += 1;
                if calls % 3 == 0 {
                    added += q.grow(period * 5 / 4, Urgency::Low);
                }
            });
            assert!(added > 10 * period, "{added}");
            assert!(steepest(&heard) <= steepest(&voice(rate, 48_000)) * 5 / 4);
        }
    }

    #[test]
    fn silence_is_cut_to_the_sample() {
        for rate in RATES {
            let n = rate.frame_samples();
            let mut queue = StretchQueue::new(rate, n);
            push(&mut queue, &vec![3; n + 17]);
            assert_eq!(queue.shrink(17, n, Urgency::Low), 17);
            assert_eq!(queue.len(), n);
            assert_eq!(queue.grow(n / 2, Urgency::Low), n / 2);
        }
    }

    #[test]
    fn noise_is_left_alone_unless_urgent() {
        let mut seed = 1u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 18) as i16
        };
        let mut queue = StretchQueue::new(SampleRate::Hz8000, 320);
        let samples: Vec<i16> = (0..320).map(|_| noise() - 8192).collect();
        push(&mut queue, &samples);
        assert_eq!(queue.shrink(120, 160, Urgency::Low), 0);
        assert_eq!(queue.grow(120, Urgency::Low), 0);
    }
}
