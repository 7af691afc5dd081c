//! Telephone keys as tones in sound (ITU-T Q.23, Q.24): which key is pressed, and which part of the sound is its tone, so that it
//! can be cut out. Arithmetic only; runs on the worker's thread in the tick and allocates nothing. Knows nothing of legs.
//!
//! Blocks of 15 ms every 10 ms are looked at with the Goertzel algorithm at the eight frequencies. A block *hits* when two
//! tones hold most of its energy. One hit is enough to cut, as a cut of 25 ms in speech is hardly heard; a key is *pressed* at
//! the third hit in a row whose tones go on in phase, which measures their frequencies far more finely than a block could. In two
//! hours of espeak-ng's voices (`examples/talk_off.rs`) that presses no key and cuts two seconds and a half.

/// Samples of a 20 ms frame at 8 kHz, the only rate here.
pub const FRAME: usize = 160;
/// Parts of a frame that are cut or kept, 5 ms each.
pub const SLOTS: usize = 4;
/// 15 ms: 67 Hz wide, less than what separates the tones.
const BLOCK: usize = 120;
/// A block every 10 ms: 40 ms of tone hold three, whatever their place; 23 ms hold two at the most.
const HOP: usize = 80;
const PAST: usize = BLOCK - HOP;
const HITS_TO_PRESS: u8 = 3;
/// A press is over after so many blocks without a hit: 10 ms of interruption are two, 40 ms of pause four.
const MISSES_TO_RELEASE: u8 = 3;
const ROWS_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS_HZ: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// Keys by row and column, as RFC 4733 numbers them: 10 is the star, 11 the pound sign, 12 to 15 are A to D.
const KEYS: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];
/// Each tone has at least −42 dBov (Q.24 asks for −24 to −36 dBm0, by country; a full-scale sine is +3 dBm0, −3 dBov).
const LEAST_POWER: f32 = 6.3e-5 * 32_768.0 * 32_768.0;
/// Share of a block's energy in the two tones. A block that is three quarters tone, or whose tones are off by 1.5 %, has
/// more than this; a vowel's two strongest harmonics have less.
const LEAST_SHARE: f32 = 0.55;
/// The same of a block that is all tone: Q.24 wants keys to be heard 15 dB above noise.
const LEAST_STEADY_SHARE: f32 = 0.92;
/// The strongest of a group over each other one: 6 dB.
const OVER_OTHERS: f32 = 4.0;
/// The higher tone over the lower: Q.24 has 4 dB, and some for what a partial block does to it.
const TWIST: f32 = 4.0;
/// The lower over the higher: lines attenuate high tones; Q.24 has 8 dB.
const REVERSE_TWIST: f32 = 10.0;
/// Q.24 wants 1.5 % and 2 Hz to be taken, and 3.5 % to be refused.
const OFF_TUNE: f32 = 0.015;
const OFF_TUNE_HZ: f32 = 5.0;
/// From block to block a tone keeps its power within 4.5 dB; its first and last block may be partial.
const STEADY: f32 = 2.8;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// A key was pressed, by its RFC 4733 code; told once for each press.
    pub pressed: Option<u8>,
    /// Parts of the frame before this one that are tone.
    pub before: [bool; SLOTS],
    /// Parts of this frame that are, as far as is known yet.
    pub now: [bool; SLOTS],
}

/// The two tones of a block.
#[derive(Clone, Copy, Debug)]
struct Hit {
    row: usize,
    column: usize,
    /// Real and imaginary part at the block's last sample, and power.
    tones: [(f32, f32, f32); 2],
    /// Of the whole block.
    energy: f32,
}

/// Hears the keys in one stream of 8 kHz.
#[derive(Clone, Debug)]
pub struct KeyDetector {
    /// The end of the last frame, then the frame in hand.
    samples: [f32; PAST + FRAME],
    last: Option<Hit>,
    hits: u8,
    misses: u8,
    pressed: Option<(usize, usize)>,
    /// 2 cos ω, cos ω and sin ω of each frequency: rows, then columns.
    turns: [[f32; 8]; 3],
}

impl Default for KeyDetector {
    fn default() -> Self {
        let mut turns = [[0.0; 8]; 3];
        for (n, hz) in ROWS_HZ.iter().chain(&COLUMNS_HZ).enumerate() {
            let omega = std::f32::consts::TAU * hz / 8_000.0;
            turns[0][n] = 2.0 * omega.cos();
            turns[1][n] = omega.cos();
            turns[2][n] = omega.sin();
        }
        Self { samples: [0.0; PAST + FRAME], last: None, hits: 0, misses: MISSES_TO_RELEASE, pressed: None, turns }
    }
}

impl KeyDetector {
    /// The next 20 ms.
    pub fn listen(&mut self, frame: &[i16]) -> Heard {
        self.samples.copy_within(FRAME.., 0);
        for (to, from) in self.samples[PAST..].iter_mut().zip(frame.iter().chain(std::iter::repeat(&0))) {
            *to = f32::from(*from);
        }
        let mut heard = Heard::default();
        // Slots from the beginning of the frame before.
        let mut cut = [false; 2 * SLOTS];
        for (block, end) in [6, 8].into_iter().enumerate() {
            let hit = self.look(block * HOP);
            let was_tone = self.last.is_some();
            let from = match hit {
                // What comes before the first block that hits begins within the block before it.
                Some(_) if !was_tone => end - 5,
                Some(_) => end - 3,
                // The last block of a tone ends somewhere in the next; an interrupted press goes on.
                None if was_tone || self.pressed.is_some() => end - 2,
                None => end,
            };
            cut[from..end].fill(true);
            heard.pressed = self.count(hit).or(heard.pressed);
        }
        heard.before.copy_from_slice(&cut[..SLOTS]);
        heard.now.copy_from_slice(&cut[SLOTS..]);
        heard
    }

    /// Something of a key was heard just now.
    pub fn is_busy(&self) -> bool {
        self.last.is_some() || self.pressed.is_some()
    }

    /// Forgets what was heard.
    pub fn reset(&mut self) {
        self.samples.fill(0.0);
        (self.last, self.hits, self.misses, self.pressed) = (None, 0, MISSES_TO_RELEASE, None);
    }

    /// Takes a block into account; a key when that makes it pressed.
    fn count(&mut self, hit: Option<Hit>) -> Option<u8> {
        let last = std::mem::replace(&mut self.last, hit);
        let Some(hit) = hit else {
            self.hits = 0;
            self.misses = self.misses.saturating_add(1);
            if self.misses >= MISSES_TO_RELEASE {
                self.pressed = None;
            }
            return None;
        };
        let share = last.and_then(|last| share_of_steady(&last, &hit));
        self.hits = if share.is_some() { self.hits.saturating_add(1) } else { 1 };
        let key = (hit.row, hit.column);
        if self.pressed == Some(key) {
            self.misses = 0;
            return None;
        }
        // The first block and this one may be partial, the one between is all tone.
        if self.hits < HITS_TO_PRESS || share.is_none_or(|share| share < LEAST_STEADY_SHARE) {
            return None;
        }
        self.misses = 0;
        self.pressed = Some(key);
        KEYS.get(hit.row)?.get(hit.column).copied()
    }

    /// The block that begins at this sample.
    fn look(&self, from: usize) -> Option<Hit> {
        let block = &self.samples[from..from + BLOCK];
        let energy = block.iter().map(|s| s * s).sum::<f32>() / BLOCK as f32;
        if energy < 2.0 * LEAST_POWER {
            return None;
        }
        let [doubled, cosines, sines] = &self.turns;
        let (mut one, mut two) = ([0.0f32; 8], [0.0f32; 8]);
        for sample in block {
            for ((one, two), doubled) in one.iter_mut().zip(&mut two).zip(doubled) {
                let zero = sample + doubled * *one - *two;
                (*two, *one) = (*one, zero);
            }
        }
        let tones: [(f32, f32, f32); 8] = std::array::from_fn(|n| {
            let (re, im) = (one[n] - two[n] * cosines[n], two[n] * sines[n]);
            (re, im, 2.0 * (re * re + im * im) / (BLOCK * BLOCK) as f32)
        });
        let strongest = |group: &[(f32, f32, f32)]| {
            let (at, tone) = group.iter().copied().enumerate().max_by(|a, b| a.1.2.total_cmp(&b.1.2))?;
            let alone = group.iter().enumerate().all(|(n, other)| n == at || other.2 * OVER_OTHERS < tone.2);
            (alone && tone.2 >= LEAST_POWER).then_some((at, tone))
        };
        let (row, low) = strongest(&tones[..4])?;
        let (column, high) = strongest(&tones[4..])?;
        let balanced = high.2 <= low.2 * TWIST && low.2 <= high.2 * REVERSE_TWIST;
        let alone = low.2 + high.2 >= energy * LEAST_SHARE;
        (balanced && alone).then_some(Hit { row, column, tones: [low, high], energy })
    }
}

/// The same two tones a block later: about the same power, and phases that went on at their frequencies. Gives the share that
/// they had of the earlier block's energy, freed of what a block misses of a tone that is slightly off.
fn share_of_steady(last: &Hit, hit: &Hit) -> Option<f32> {
    if (last.row, last.column) != (hit.row, hit.column) {
        return None;
    }
    let mut power = 0.0;
    for ((last, hit), hz) in last.tones.iter().zip(&hit.tones).zip([ROWS_HZ.get(hit.row)?, COLUMNS_HZ.get(hit.column)?])
    {
        // Turned so much more than a tone of exactly this frequency in a hop.
        let turned = hit.1.atan2(hit.0) - last.1.atan2(last.0) - std::f32::consts::TAU * hz * HOP as f32 / 8_000.0;
        let turns = turned / std::f32::consts::TAU;
        let off_hz = (turns - turns.round()) * 8_000.0 / HOP as f32;
        if off_hz.abs() > hz * OFF_TUNE + OFF_TUNE_HZ || hit.2 > last.2 * STEADY || last.2 > hit.2 * STEADY {
            return None;
        }
        let x = std::f32::consts::PI * off_hz * BLOCK as f32 / 8_000.0;
        power += last.2 * if x.abs() < 0.01 { 1.0 } else { (x / x.sin()).powi(2) };
    }
    Some(power / last.energy)
}

#[cfg(test)]
mod tests;
