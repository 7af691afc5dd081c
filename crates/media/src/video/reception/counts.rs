//! What RFC 3550 counts about a video stream: extended sequence numbers (Appendix A.1), loss (A.3), jitter (A.8). Runs on
//! the worker's thread. Audio counts by the same rules in `leg::reception`, but takes what is 100 packets old for a
//! restart: of video that is one large frame, and what was asked for again comes later than that.

use std::time::Instant;

use super::window::SLOTS;
use crate::leg::Tally;
use crate::leg::playout::ReceptionReport;

/// A larger step ahead is a restart of the sender, or a stray packet (RFC 3550 A.1 MAX_DROPOUT).
const MAX_DROPOUT: i64 = 3000;
/// The same for a step back. What is older than the window is of no use anyhow.
const MAX_MISORDER: i64 = SLOTS as i64;
/// One minute: a sender that jumps in time must not spoil the jitter for ever.
const MAX_TRANSIT_STEP: u32 = 60 * 90_000;

/// Where a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The first of a stream.
    First(i64),
    /// Ahead of all others so far.
    Newest(i64),
    /// Older than the newest, or the same again.
    Older(i64),
    /// Far from all others, and not counted: a second one has to confirm it.
    Stray,
}

/// The counters of one stream at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    tally: Tally,
    /// Arrivals are measured from here.
    origin: Option<Instant>,
    /// Transit of the last frame, and its timestamp.
    transit: Option<(u32, u32)>,
    /// In units of the video clock, times 16, as in A.8.
    jitter_x16: u32,
}

impl Counts {
    /// Counts one packet.
    pub(super) fn count(&mut self, seq: u16) -> Standing {
        if !self.tally.started {
            return Standing::First(self.restart(seq));
        }
        let step = i64::from(seq.wrapping_sub(self.tally.highest as u16) as i16);
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
            return Standing::Stray;
        }
        self.tally.received += 1;
        let extended = self.tally.highest + step;
        if step <= 0 {
            return Standing::Older(extended);
        }
        self.tally.highest = extended;
        Standing::Newest(extended)
    }

    /// A stream begins with this packet.
    pub(super) fn restart(&mut self, seq: u16) -> i64 {
        self.forget_stream();
        self.tally.restart(seq)
    }

    /// The next packet begins a stream of its own.
    pub(super) fn forget_stream(&mut self) {
        self.tally.forget_source();
        *self = Self { tally: std::mem::take(&mut self.tally), origin: self.origin, ..Self::default() };
    }

    /// A packet arrived. Only the first of each frame is measured: the others wait in the sender's pacer.
    pub(super) fn arrived(&mut self, now: Instant, timestamp: u32) {
        if self.transit.is_some_and(|(_, last)| last == timestamp) {
            return;
        }
        let elapsed = now.saturating_duration_since(*self.origin.get_or_insert(now));
        // 90 units are a millisecond. Wraps as timestamps do; only differences count.
        let arrival = (elapsed.as_micros() * 9 / 100) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some((last, _)) = self.transit.replace((transit, timestamp)) {
            let step = (transit.wrapping_sub(last) as i32).unsigned_abs().min(MAX_TRANSIT_STEP);
            self.jitter_x16 = self.jitter_x16 - (self.jitter_x16 + 8) / 16 + step;
        }
    }

    /// Interarrival jitter in units of the video clock.
    pub(super) const fn jitter(&self) -> u32 {
        self.jitter_x16 / 16
    }

    /// Packets of all streams that never came.
    pub(super) fn lost(&self) -> u64 {
        self.tally.lost()
    }

    /// RFC 3550 §6.4.1: cycles and the highest number.
    pub(super) const fn extended_highest_seq(&self) -> u32 {
        self.tally.extended_highest_seq()
    }

    /// The report since the last call.
    pub(super) fn report(&mut self) -> ReceptionReport {
        self.tally.report(self.jitter())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sequence_numbers_extend_across_the_wrap_and_jumps_count_only_when_confirmed() {
        let mut counts = Counts::default();
        assert_eq!(counts.count(65_534), Standing::First(65_534));
        assert_eq!(counts.count(1), Standing::Newest(65_537));
        assert_eq!(counts.count(65_535), Standing::Older(65_535));
        assert_eq!(counts.extended_highest_seq(), 0x1_0001);
        assert_eq!(counts.lost(), 1);
        assert_eq!(counts.count(3002), Standing::Stray);
        assert_eq!(counts.count(3001), Standing::Newest(65_536 + 3001));
        assert_eq!(counts.restart(40_000), 40_000);
        assert_eq!(counts.lost(), 1 + 2999);
    }

    #[test]
    fn loss_is_reported_once_and_kept_in_the_sum() {
        let mut counts = Counts::default();
        for seq in (0..100u16).filter(|seq| seq % 4 != 1) {
            counts.count(seq);
        }
        let report = counts.report();
        assert_eq!((report.fraction_lost, report.cumulative_lost, report.extended_highest_seq), (64, 25, 99));
        for seq in (100..200).chain([1, 5, 9]) {
            counts.count(seq);
        }
        let report = counts.report();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 22));
    }

    #[test]
    fn jitter_is_that_of_frames_and_survives_jumps_of_the_clock() {
        let start = Instant::now();
        let mut counts = Counts::default();
        for frame in 0..2000u32 {
            // Every other frame is 10 ms late; its packets are spread over 5 ms.
            let at = start + Duration::from_millis(u64::from(frame * 40 + frame % 2 * 10));
            for packet in 0..3 {
                counts.arrived(at + Duration::from_micros(2500 * packet), 0xffff_0000u32.wrapping_add(frame * 3600));
            }
        }
        assert!((850..=900).contains(&counts.jitter()), "{}", counts.jitter());
        for timestamp in [0, 1 << 31, u32::MAX, 7] {
            counts.arrived(start + Duration::from_secs(300), timestamp);
        }
        assert!(counts.report().jitter <= MAX_TRANSIT_STEP);
    }
}
