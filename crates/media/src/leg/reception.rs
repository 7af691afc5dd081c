//! What RFC 3550 counts about the packets of one source: extended sequence numbers (Appendix A.1), loss (A.3) and
//! interarrival jitter (A.8). Runs on the worker's thread; knows nothing of when anything is played.

/// A larger step in sequence numbers is a restart of the sender, or a stray packet (RFC 3550 A.1 MAX_DROPOUT).
const MAX_DROPOUT: i64 = 3000;
/// Further back than this is no reordering (RFC 3550 A.1): two in a row begin the source anew, so that one forged number
/// ahead of the stream does not make everything after it old.
const MAX_MISORDER: i64 = 100;

/// Where a sequence number stands. Extended numbers are continuous for as long as no restart was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The newest so far.
    Newest(i64),
    /// Older than the newest, or the same again.
    Older(i64),
    /// Far from all others: ignored until a second one confirms it.
    Stray,
    /// The first of a stream, or a confirmed jump: nothing before it matters any more.
    Restart(i64),
}

/// What goes into an RTCP report block (RFC 3550 §6.4.1), without addresses and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceptionReport {
    /// Lost since the last report, in 1/256 of what was expected.
    pub fraction_lost: u8,
    /// Lost since the source began, within the field's 24 signed bits.
    pub cumulative_lost: i32,
    /// Cycles in the upper half, sequence number in the lower.
    pub extended_highest_seq: u32,
    /// Interarrival jitter in RTP timestamp units.
    pub jitter: u32,
}

/// Numbers expected and received of one source at a time, and what RFC 3550 A.3 makes of them; of sound and of video.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) started: bool,
    base: i64,
    /// The newest number so far, extended.
    pub(crate) highest: i64,
    pub(crate) received: i64,
    expected_prior: i64,
    received_prior: i64,
    /// Lost by sources that came before this one.
    lost_before: u64,
}

impl Tally {
    /// A source begins with this packet. Gives its extended number.
    pub(crate) fn restart(&mut self, seq: u16) -> i64 {
        self.forget_source();
        let first = i64::from(seq);
        (self.started, self.base, self.highest, self.received) = (true, first, first, 1);
        first
    }

    /// The next packet starts a source of its own.
    pub(crate) fn forget_source(&mut self) {
        *self = Self { lost_before: self.lost(), ..Self::default() };
    }

    const fn expected(&self) -> i64 {
        if self.started { self.highest - self.base + 1 } else { 0 }
    }

    /// Packets of all sources that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_before + u64::try_from(self.expected() - self.received).unwrap_or(0)
    }

    /// RFC 3550 §6.4.1: cycles and the highest number.
    pub(crate) const fn extended_highest_seq(&self) -> u32 {
        self.highest as u32
    }

    /// The report since the last call; `jitter` in RTP timestamp units.
    pub(crate) fn report(&mut self, jitter: u32) -> ReceptionReport {
        let expected = self.expected() - self.expected_prior;
        let received = self.received - self.received_prior;
        self.expected_prior = self.expected();
        self.received_prior = self.received;
        let lost = expected - received;
        let fraction = if expected <= 0 || lost <= 0 { 0 } else { (lost * 256 / expected).min(255) };
        ReceptionReport {
            fraction_lost: fraction as u8,
            cumulative_lost: (self.expected() - self.received).clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_highest_seq: self.extended_highest_seq(),
            jitter,
        }
    }
}

/// The counters of one source at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reception {
    tally: Tally,
    /// The number that would confirm a jump.
    confirms: Option<u16>,
    transit_us: Option<i64>,
    /// Times 16, as in A.8.
    jitter_us_x16: i64,
}

impl Reception {
    /// Counts one packet.
    pub(crate) fn count(&mut self, seq: u16) -> Standing {
        if !self.tally.started {
            return self.restart(seq);
        }
        let step = i64::from(seq.wrapping_sub(self.tally.highest as u16) as i16);
        let extended = self.tally.highest + step;
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
            if self.confirms == Some(seq) {
                return self.restart(seq);
            }
            self.confirms = Some(seq.wrapping_add(1));
            return Standing::Stray;
        }
        self.confirms = None;
        self.tally.received += 1;
        if step > 0 {
            self.tally.highest = extended;
            Standing::Newest(extended)
        } else {
            Standing::Older(extended)
        }
    }

    /// The next packet starts a source of its own.
    pub(crate) fn forget_source(&mut self) {
        self.tally.forget_source();
        *self = Self { tally: std::mem::take(&mut self.tally), ..Self::default() };
    }

    fn restart(&mut self, seq: u16) -> Standing {
        self.forget_source();
        Standing::Restart(self.tally.restart(seq))
    }

    /// One packet's transit: its arrival less its RTP timestamp, both in µs of any fixed origin.
    pub(crate) fn jitter_sample(&mut self, transit_us: i64) {
        if let Some(last) = self.transit_us.replace(transit_us) {
            // Bounded, so that a sender which jumps in time cannot overflow it.
            let difference = (transit_us - last).abs().min(60_000_000);
            self.jitter_us_x16 += difference - (self.jitter_us_x16 + 8) / 16;
        }
    }

    /// The sender's clock jumped: the next transit has nothing to be compared with.
    pub(crate) fn clock_jumped(&mut self) {
        self.transit_us = None;
    }

    /// Interarrival jitter in µs.
    pub(crate) fn jitter_us(&self) -> u64 {
        (self.jitter_us_x16 / 16).unsigned_abs()
    }

    /// Packets of all sources that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.tally.lost()
    }

    /// RFC 3550 §6.4.1: cycles and the highest number.
    pub(crate) fn extended_highest_seq(&self) -> u32 {
        self.tally.extended_highest_seq()
    }

    /// The report since the last call.
    pub(crate) fn report(&mut self, rate_hz: u32) -> ReceptionReport {
        let jitter = self.jitter_us() * u64::from(rate_hz) / 1_000_000;
        self.tally.report(u32::try_from(jitter).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_extend_across_the_wrap() {
        let mut reception = Reception::default();
        assert_eq!(reception.count(65_534), Standing::Restart(65_534));
        assert_eq!(reception.count(65_535), Standing::Newest(65_535));
        assert_eq!(reception.count(1), Standing::Newest(65_537));
        assert_eq!(reception.count(0), Standing::Older(65_536));
        assert_eq!(reception.extended_highest_seq(), 0x1_0001);
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn loss_is_reported_once_and_kept_in_the_sum() {
        let mut reception = Reception::default();
        for seq in (0..100u16).filter(|s| s % 4 != 1) {
            reception.count(seq);
        }
        let report = reception.report(8000);
        assert_eq!((report.fraction_lost, report.cumulative_lost), (64, 25));
        for seq in 100..200 {
            reception.count(seq);
        }
        let report = reception.report(8000);
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 25));
    }

    #[test]
    fn duplicates_make_no_negative_loss() {
        let mut reception = Reception::default();
        for seq in [5, 5, 5, 6, 6] {
            reception.count(seq);
        }
        assert_eq!(reception.lost(), 0);
        assert_eq!(reception.report(8000).cumulative_lost, -3);
    }

    #[test]
    fn a_stray_number_is_ignored_and_a_confirmed_jump_restarts() {
        let mut reception = Reception::default();
        reception.count(10);
        assert_eq!(reception.count(30_000), Standing::Stray);
        assert_eq!(reception.count(11), Standing::Newest(11));
        assert_eq!(reception.count(30_000), Standing::Stray);
        assert_eq!(reception.count(30_001), Standing::Restart(30_001));
    }

    #[test]
    fn jitter_follows_the_rfc() {
        let mut reception = Reception::default();
        for i in 0..1000 {
            reception.jitter_sample(if i % 2 == 0 { 0 } else { 1600 });
        }
        assert!((1500..=1600).contains(&reception.jitter_us()), "{}", reception.jitter_us());
    }
}
