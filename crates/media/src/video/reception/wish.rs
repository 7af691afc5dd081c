//! When a key frame has to be asked for, and how often. Runs on the worker's thread; how it is asked for (PLI, FIR, SIP
//! INFO) is the caller's business.

use std::time::{Duration, Instant};

/// Not more often, whatever happens: an encoder that is asked again and again sends nothing but key frames.
const AT_LEAST: Duration = Duration::from_millis(500);
/// A sender that never answers is asked more and more rarely, up to this.
const AT_MOST: Duration = Duration::from_secs(2);
/// Nobody is asked who has sent nothing for so long.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// The wish for a key frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    is_open: bool,
    asked: Option<Instant>,
    again_after: Duration,
    heard: Option<Instant>,
}

impl Wish {
    /// Open: decoding begins with a key frame.
    pub(super) const fn new() -> Self {
        Self { is_open: true, asked: None, again_after: AT_LEAST, heard: None }
    }

    /// A packet came.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// A key frame is needed, for a new reason: patience begins anew, the limit stays.
    pub(super) const fn open(&mut self) {
        self.is_open = true;
        self.again_after = AT_LEAST;
    }

    /// A key frame has come.
    pub(super) const fn fulfilled(&mut self) {
        self.is_open = false;
        self.again_after = AT_LEAST;
    }

    /// True when it has to be asked for now. The answer counts as asked.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let is_there = self.heard.is_some_and(|at| since(at) < SILENT_AFTER);
        if !self.is_open || !is_there || self.asked.is_some_and(|at| since(at) < self.again_after) {
            return false;
        }
        if self.asked.is_some() {
            self.again_after = (self.again_after * 2).min(AT_MOST);
        }
        self.asked = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_at(wish: &mut Wish, from: Instant, until_ms: u64) -> Vec<u64> {
        (0..until_ms).step_by(10).filter(|ms| wish.is_due(from + Duration::from_millis(*ms))).collect()
    }

    #[test]
    fn a_sender_that_never_answers_is_asked_more_rarely_and_a_silent_one_not_at_all() {
        let start = Instant::now();
        let mut wish = Wish::new();
        assert!(!wish.is_due(start), "nobody is there yet");
        wish.heard(start);
        assert_eq!(asked_at(&mut wish, start, 60_000), [0, 500, 1500, 3500, 5500, 7500, 9500]);
        let later = start + Duration::from_secs(300);
        wish.heard(later);
        assert!(wish.is_due(later));
    }

    #[test]
    fn a_new_reason_shortens_patience_but_not_the_limit() {
        let start = Instant::now();
        let mut wish = Wish::new();
        wish.heard(start);
        assert_eq!(asked_at(&mut wish, start, 2000), [0, 500, 1500]);
        wish.open();
        let after = start + Duration::from_millis(1600);
        assert_eq!(asked_at(&mut wish, after, 1000), [400]);
        wish.fulfilled();
        assert_eq!(asked_at(&mut wish, after, 9000), [0; 0]);
        wish.open();
        assert!(wish.is_due(after + Duration::from_secs(8)));
    }
}
