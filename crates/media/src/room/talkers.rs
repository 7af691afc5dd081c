//! Who is on the bus: the loudest N legs, chosen by energy over 200 ms with hysteresis. Pure arithmetic on the worker's
//! thread; knows nothing of frames or codecs.

use crate::units::Tick;

/// How much more energy than the quietest talker a newcomer needs to replace it: 3 dB. Speech of one person varies by
/// about that much from syllable to syllable at this window; less makes the floor flap between equal voices.
const ADVANTAGE: f32 = 2.0;
/// A talker keeps its place at least this long (25 ticks, half a second: about two syllables).
const MIN_STAY_TICKS: u64 = 25;
/// With less than this (−75 dBov) nobody enters the bus of a room that is larger than the bus: digital silence, idle lines.
const ENTRY: f32 = 3.2e-8;

/// One leg, as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Key of the leg in the room.
    pub key: usize,
    /// Mean square of the last 200 ms, 0–1.
    pub energy: f32,
    /// When it entered the bus; `None` while it is not on it.
    pub since: Option<Tick>,
}

/// Orders `candidates` so that the first `k` (returned) are the talkers. `max_talkers` = 0 takes everybody, and so does
/// a room no larger than the bus. Does not allocate.
pub(super) fn choose(candidates: &mut [Candidate], max_talkers: usize, now: Tick) -> usize {
    if max_talkers == 0 || candidates.len() <= max_talkers {
        return candidates.len();
    }
    let score = |c: &Candidate| match c.since {
        Some(since) if now.0.saturating_sub(since.0) < MIN_STAY_TICKS => f32::INFINITY,
        Some(_) => c.energy * ADVANTAGE,
        None if c.energy < ENTRY => f32::NEG_INFINITY,
        None => c.energy,
    };
    candidates.sort_unstable_by(|a, b| score(b).total_cmp(&score(a)).then(a.key.cmp(&b.key)));
    candidates.iter().take(max_talkers).take_while(|c| score(c) > f32::NEG_INFINITY).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: usize, dbov: f32, since: Option<u64>) -> Candidate {
        Candidate { key, energy: 10f32.powf(dbov / 10.0), since: since.map(Tick) }
    }

    fn chosen(mut c: Vec<Candidate>, max: usize, now: u64) -> Vec<usize> {
        let k = choose(&mut c, max, Tick(now));
        let mut keys: Vec<usize> = c.iter().take(k).map(|c| c.key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_small_room_mixes_everybody() {
        assert_eq!(chosen(vec![candidate(0, -127.0, None), candidate(1, -20.0, None)], 8, 0), [0, 1]);
        assert_eq!(chosen((0..50).map(|k| candidate(k, -90.0, None)).collect(), 0, 0).len(), 50);
    }

    #[test]
    fn the_loudest_take_the_bus_of_a_large_room() {
        let c = (0..20).map(|k| candidate(k, -60.0 + k as f32, None)).collect();
        assert_eq!(chosen(c, 3, 100), [17, 18, 19]);
    }

    #[test]
    fn a_newcomer_needs_a_clear_advantage() {
        let c = |level| vec![candidate(0, -30.0, Some(0)), candidate(1, level, None), candidate(2, -127.0, None)];
        assert_eq!(chosen(c(-28.0), 1, 1000), [0]);
        assert_eq!(chosen(c(-26.5), 1, 1000), [1]);
    }

    #[test]
    fn a_talker_is_not_replaced_within_half_a_second() {
        let c = |now| chosen(vec![candidate(0, -90.0, Some(10)), candidate(1, -5.0, None)], 1, now);
        assert_eq!(c(34), [0]);
        assert_eq!(c(35), [1]);
    }

    #[test]
    fn silence_does_not_enter_the_bus_of_a_large_room() {
        assert!(chosen((0..20).map(|k| candidate(k, -90.0, None)).collect(), 8, 0).is_empty());
    }
}
