//! What a room announces: one playback after the other into the room's mix, as a source that is no leg. Runs on the worker's
//! thread; knows nothing of buses, legs or encodes.

use std::collections::VecDeque;

use crate::audio::frame::Frame;
use crate::audio::player::{Finished, Player};
use crate::audio::prompt::{PROMPT_RATE, Playback};
use crate::units::PlaybackId;

/// Announcements that wait for the one that is heard. More than eight notices are half a minute of talk.
const WAITING: usize = 8;
const _: () = assert!(WAITING * size_of::<Playback>() <= 1024);

/// Says one announcement after the other.
pub(super) struct Announcer {
    player: Player,
    waiting: VecDeque<Playback>,
    frame: Frame,
    /// Lost because too many were waiting.
    dropped: u64,
}

impl Announcer {
    /// Allocates all that it will need.
    pub(super) fn new() -> Self {
        Self {
            player: Player::default(),
            waiting: VecDeque::with_capacity(WAITING),
            frame: Frame::silence(PROMPT_RATE),
            dropped: 0,
        }
    }

    /// Heard after those that wait; one that is looped ends for it. Dropped and counted when too many wait.
    pub(super) fn announce(&mut self, playback: Playback) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(playback);
        } else {
            self.dropped += 1;
        }
    }

    /// Ends what is looped, heard or waiting.
    pub(super) fn hush(&mut self) {
        self.waiting.retain(|waiting| !waiting.looped);
        if self.player.current().is_some_and(|current| current.looped) {
            self.player.stop();
        }
    }

    /// 20 ms of it at [`PROMPT_RATE`]; `None` when nothing is announced.
    pub(super) fn fill(&mut self) -> Option<&Frame> {
        if self.player.current().is_none_or(|current| current.looped)
            && let Some(next) = self.waiting.pop_front()
        {
            // What is begun is filled in the same tick: nothing comes back.
            drop(self.player.play(next));
        }
        if !self.player.is_active() {
            return None;
        }
        self.player.fill(&mut self.frame);
        Some(&self.frame)
    }

    /// What is over since the last tick.
    pub(super) fn take_finished(&mut self) -> Option<Finished> {
        self.player.take_finished()
    }

    /// Nobody is there to hear it: what is not looped is over.
    pub(super) fn expire(&mut self, over: &mut dyn FnMut(Playback)) {
        if self.player.current().is_some_and(|current| !current.looped) {
            self.player.take().into_iter().for_each(&mut *over);
        }
        for _ in 0..self.waiting.len() {
            match self.waiting.pop_front() {
                Some(looped) if looped.looped => self.waiting.push_back(looped),
                other => other.into_iter().for_each(&mut *over),
            }
        }
    }

    /// What is heard, and how many were lost.
    pub(super) fn state(&self) -> (Option<PlaybackId>, u64) {
        (self.player.current().map(|current| current.id), self.dropped)
    }
}
