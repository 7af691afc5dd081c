//! Plays prompts: from a playback to frames of 16 kHz, its parts back to back, with ends that do not click. Arithmetic only;
//! runs on the worker's thread in the tick and allocates nothing. Knows nothing of legs, rooms or codecs.

use super::frame::Frame;
use super::prompt::{PROMPT_RATE, Playback};

/// What is cut short fades out over so much, 8 ms: too short to be heard, too long to click.
const FADE_SAMPLES: usize = PROMPT_RATE.hz() as usize / 125;
/// Every playback begins and ends over so much, 2.5 ms: a prompt that was cut out of something longer does not click.
const EDGE_SAMPLES: usize = PROMPT_RATE.hz() as usize / 400;
const FRAME: usize = PROMPT_RATE.frame_samples();
const _: () = assert!(FADE_SAMPLES <= FRAME, "a fade is over within one tick");

/// A playback that is over. It goes back to who can afford to drop it.
#[derive(Debug)]
pub struct Finished {
    /// What was played.
    pub playback: Playback,
    /// It was played to its end, neither stopped nor replaced.
    pub to_its_end: bool,
}

/// Plays one playback at a time.
#[derive(Debug, Default)]
pub struct Player {
    current: Option<Cursor>,
    /// What was cut short and is faded out in the next frame.
    ending: Option<Cursor>,
    /// One of each can end in a frame, and they are taken after each.
    finished: [Option<Finished>; 2],
}

impl Player {
    /// Begins with the next frame, in place of what plays. Gives back what was not even begun.
    pub fn play(&mut self, playback: Playback) -> Option<Playback> {
        let dropped = self.stop();
        self.current = Some(Cursor::new(playback));
        dropped
    }

    /// Fades out what plays. Gives it back when it was not even begun.
    pub fn stop(&mut self) -> Option<Playback> {
        let current = self.current.take()?;
        if current.begun == 0 {
            return Some(current.playback);
        }
        self.ending.replace(current).map(|older| older.playback)
    }

    /// Ends what plays without a fade: nobody hears it.
    pub fn take(&mut self) -> Option<Playback> {
        self.current.take().map(|current| current.playback)
    }

    /// What plays, not counting what fades out.
    pub fn current(&self) -> Option<&Playback> {
        self.current.as_ref().map(|cursor| &cursor.playback)
    }

    /// The next frame has something in it.
    pub fn is_active(&self) -> bool {
        self.current.is_some() || self.ending.is_some()
    }

    /// The next 20 ms, at [`PROMPT_RATE`]. Silence when nothing plays.
    pub fn fill(&mut self, out: &mut Frame) {
        if out.rate() != PROMPT_RATE {
            *out = Frame::silence(PROMPT_RATE);
        }
        out.clear();
        if let Some(current) = &mut self.current {
            let n = current.read(out.samples_mut());
            if n < FRAME || current.is_over() {
                self.finish(true);
            }
        }
        let Some(ending) = &mut self.ending else { return };
        let mut last = [0; FADE_SAMPLES];
        ending.read(&mut last);
        for (at, (sample, old)) in out.samples_mut().iter_mut().zip(last).enumerate() {
            let faded = i32::from(old) * (FADE_SAMPLES - at) as i32 / FADE_SAMPLES as i32;
            *sample = sample.saturating_add(faded as i16);
        }
        self.finish(false);
    }

    fn finish(&mut self, to_its_end: bool) {
        let over = if to_its_end { &mut self.current } else { &mut self.ending };
        let place = self.finished.iter_mut().find(|place| place.is_none());
        if let (Some(cursor), Some(place)) = (over.take(), place) {
            *place = Some(Finished { playback: cursor.playback, to_its_end });
        }
    }

    /// What is over since the last call. To be asked for after every `fill`.
    pub fn take_finished(&mut self) -> Option<Finished> {
        self.finished.iter_mut().find_map(Option::take)
    }
}

/// Where a playback stands.
#[derive(Debug)]
struct Cursor {
    playback: Playback,
    part: usize,
    /// In the part.
    at: usize,
    /// Samples played so far, all rounds together.
    begun: usize,
    /// Samples of all parts.
    total: usize,
}

impl Cursor {
    fn new(playback: Playback) -> Self {
        let total = playback.parts.iter().map(|part| part.samples().len()).sum();
        Self { playback, part: 0, at: 0, begun: 0, total }
    }

    /// Without a sample in it nothing is looped either.
    fn is_looped(&self) -> bool {
        self.playback.looped && self.total > 0
    }

    fn is_over(&self) -> bool {
        !self.is_looped() && self.begun >= self.total
    }

    /// The next samples; fewer than `out` takes only at the end.
    fn read(&mut self, out: &mut [i16]) -> usize {
        let first = self.begun;
        let mut n = 0;
        while n < out.len() {
            let Some(part) = self.playback.parts.get(self.part) else {
                if !self.is_looped() {
                    break;
                }
                self.part = 0;
                continue;
            };
            let rest = part.samples().get(self.at..).unwrap_or_default();
            let step = rest.len().min(out.len() - n);
            if let (Some(to), Some(from)) = (out.get_mut(n..n + step), rest.get(..step)) {
                to.copy_from_slice(from);
            }
            n += step;
            self.at += step;
            if step == rest.len() {
                (self.part, self.at) = (self.part + 1, 0);
            }
        }
        self.begun = self.begun.saturating_add(n);
        let is_looped = self.is_looped();
        for (at, sample) in (first..).zip(out.iter_mut().take(n)) {
            let to_end = if is_looped { EDGE_SAMPLES } else { self.total.saturating_sub(at + 1) };
            let edge = at.min(to_end);
            if edge < EDGE_SAMPLES {
                *sample = (i32::from(*sample) * edge as i32 / EDGE_SAMPLES as i32) as i16;
            }
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audio::prompt::Prompt;
    use crate::units::PlaybackId;

    fn playback(id: u64, parts: &[&[i16]], looped: bool) -> Playback {
        let parts = parts.iter().map(|part| Prompt::from_samples(part.to_vec())).collect();
        Playback { id: PlaybackId(id), parts, looped }
    }

    fn frame(player: &mut Player) -> Vec<i16> {
        let mut frame = Frame::silence(PROMPT_RATE);
        player.fill(&mut frame);
        frame.samples().to_vec()
    }

    fn finished(player: &mut Player) -> Vec<(u64, bool)> {
        std::iter::from_fn(|| player.take_finished()).map(|f| (f.playback.id.0, f.to_its_end)).collect()
    }

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let mut player = Player::default();
        player.play(playback(1, &[&[100; 500], &[], &[200; 300]], false));
        let mut heard = frame(&mut player);
        assert_eq!(finished(&mut player), []);
        heard.extend(frame(&mut player));
        heard.extend(frame(&mut player));
        assert_eq!(finished(&mut player), [(1, true)]);
        assert!(heard[EDGE_SAMPLES..500].iter().all(|s| *s == 100));
        assert!(heard[500..800 - EDGE_SAMPLES].iter().all(|s| *s == 200));
        assert!(heard[800..].iter().all(|s| *s == 0));
        assert_eq!((heard[0], heard[799]), (0, 0), "it begins and ends softly");
        assert!(!player.is_active());
        assert_eq!(frame(&mut player), [0; FRAME]);
    }

    #[test]
    fn an_end_on_a_frame_is_told_with_that_frame() {
        let mut player = Player::default();
        player.play(playback(1, &[&[100; FRAME]], false));
        frame(&mut player);
        assert_eq!(finished(&mut player), [(1, true)]);
    }

    #[test]
    fn a_loop_goes_on_without_a_seam_and_is_never_played_to_its_end() {
        let mut player = Player::default();
        player.play(playback(1, &[&[100; 70]], true));
        frame(&mut player);
        for _ in 0..100 {
            assert_eq!(frame(&mut player), [100; FRAME]);
        }
        assert_eq!(finished(&mut player), []);
    }

    #[test]
    fn nothing_to_play_is_over_at_once_looped_or_not() {
        for looped in [false, true] {
            for parts in [&[][..], &[&[][..]]] {
                let mut player = Player::default();
                player.play(playback(1, parts, looped));
                assert_eq!(frame(&mut player), [0; FRAME]);
                assert_eq!(finished(&mut player), [(1, true)]);
            }
        }
    }

    #[test]
    fn what_is_replaced_fades_under_what_comes() {
        let mut player = Player::default();
        player.play(playback(1, &[&[8_000; 3_000]], false));
        frame(&mut player);
        assert!(player.play(playback(2, &[&[-8_000; 3_000]], false)).is_none());
        let heard = frame(&mut player);
        assert!(heard.windows(2).all(|w| (i32::from(w[1]) - i32::from(w[0])).abs() < 500));
        assert_eq!((heard[0], heard[FRAME - 1]), (8_000, -8_000));
        assert_eq!(finished(&mut player), [(1, false)]);
    }

    #[test]
    fn what_is_stopped_fades_out_and_is_not_played_to_its_end() {
        let mut player = Player::default();
        player.play(playback(1, &[&[8_000; 3_000]], false));
        frame(&mut player);
        assert!(player.stop().is_none() && player.current().is_none() && player.is_active());
        let heard = frame(&mut player);
        assert!(heard.windows(2).all(|w| (0..200).contains(&(w[0] - w[1]))) && heard[FADE_SAMPLES] == 0);
        assert_eq!(finished(&mut player), [(1, false)]);
        assert!(!player.is_active() && player.stop().is_none());
    }

    #[test]
    fn what_was_not_begun_comes_back_and_the_old_one_still_fades() {
        let mut player = Player::default();
        player.play(playback(1, &[&[8_000; 3_000]], false));
        frame(&mut player);
        player.play(playback(2, &[&[1; 3_000]], false));
        assert_eq!(player.play(playback(3, &[&[1; 3_000]], false)).map(|p| p.id), Some(PlaybackId(2)));
        assert_eq!(frame(&mut player)[0], 8_000);
        assert_eq!(finished(&mut player), [(1, false)]);
        assert_eq!(player.current().map(|p| p.id), Some(PlaybackId(3)));
        assert_eq!(
            Playback { id: PlaybackId(9), parts: vec![Prompt::silence(Duration::from_millis(30)); 2], looped: true }
                .duration(),
            Duration::from_millis(60)
        );
    }
}
