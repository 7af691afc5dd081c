//! Whether composing keeps up, and what is given up when it does not: first pictures, then the decoding of tiles. Pure; time
//! is an argument. Sound is never touched: it is made on other threads, which go first.

use std::time::Duration;

use crate::units::FrameRate;

/// Pictures in a window that decides.
const WINDOW: u32 = 30;
/// More late pictures than this in a window (a third) cost a step.
const LATE: u32 = 10;
/// Windows in a row without a late picture that give a step back: with 15 pictures a second, ten seconds.
const CLEAN_WINDOWS: u32 = 5;
/// Below this many pictures a second it is not a moving picture any more; from there on tiles are given up.
const LEAST: u32 = 5;
/// Tiles that are decoded whatever happens.
const LEAST_TILES: usize = 1;

/// What is made at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Every so-many-th picture is made: 1, 2, 4 …
    pub every: u32,
    /// Tiles whose pictures are decoded, the main tile first; the others show names.
    pub decoded: usize,
}

/// The measure of one room.
#[derive(Debug)]
pub struct Pace {
    effort: Effort,
    all_tiles: usize,
    seen: u32,
    late: u32,
    clean: u32,
}

impl Pace {
    /// Everything is made, up to this many tiles.
    pub const fn new(all_tiles: usize) -> Self {
        Self { effort: Effort { every: 1, decoded: all_tiles }, all_tiles, seen: 0, late: 0, clean: 0 }
    }

    /// What is to be made.
    pub const fn effort(&self) -> Effort {
        self.effort
    }

    /// A picture was done this long after it was due. The new effort, if it is another one now.
    pub fn done(&mut self, framerate: FrameRate, behind: Duration) -> Option<Effort> {
        self.seen += 1;
        let period = framerate.due(1) * self.effort.every;
        self.late += u32::from(behind > period);
        // A picture that took several periods counts for each.
        let lost = (behind.as_micros() / period.as_micros().max(1)).min(u128::from(WINDOW)) as u32;
        self.seen = self.seen.saturating_add(lost);
        self.late = self.late.saturating_add(lost.saturating_sub(1));
        if self.seen < WINDOW {
            return None;
        }
        let late = std::mem::take(&mut self.late);
        self.seen = 0;
        let before = self.effort;
        if late > LATE {
            self.clean = 0;
            self.give_up(framerate);
        } else if late == 0 {
            self.clean += 1;
            if self.clean >= CLEAN_WINDOWS {
                self.clean = 0;
                self.take_back();
            }
        } else {
            self.clean = 0;
        }
        (self.effort != before).then_some(self.effort)
    }

    fn give_up(&mut self, framerate: FrameRate) {
        let slower = self.effort.every * 2;
        if framerate.pictures() / slower >= LEAST {
            self.effort.every = slower;
        } else {
            self.effort.decoded = (self.effort.decoded / 2).max(LEAST_TILES);
        }
    }

    fn take_back(&mut self) {
        if self.effort.decoded < self.all_tiles {
            self.effort.decoded = (self.effort.decoded * 2).min(self.all_tiles);
        } else if self.effort.every > 1 {
            self.effort.every /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: FrameRate = FrameRate::per_second(20);

    fn run(pace: &mut Pace, pictures: u32, behind_ms: u64) -> Vec<Effort> {
        (0..pictures).filter_map(|_| pace.done(RATE, Duration::from_millis(behind_ms))).collect()
    }

    #[test]
    fn pictures_are_given_up_before_tiles_and_come_back_last() {
        let mut pace = Pace::new(9);
        assert_eq!(run(&mut pace, 1000, 20), [], "within the period");
        let worse = run(&mut pace, 300, 500);
        let expected = [(2, 9), (4, 9), (4, 4), (4, 2), (4, 1)];
        assert_eq!(worse, expected.map(|(every, decoded)| Effort { every, decoded }));
        let better = run(&mut pace, 2000, 0);
        let expected = [(4, 2), (4, 4), (4, 8), (4, 9), (2, 9), (1, 9)];
        assert_eq!(better, expected.map(|(every, decoded)| Effort { every, decoded }));
    }

    #[test]
    fn single_late_pictures_change_nothing() {
        let mut pace = Pace::new(9);
        for _ in 0..100 {
            assert_eq!(run(&mut pace, 20, 0), []);
            assert_eq!(run(&mut pace, 1, 70), []);
        }
    }
}
