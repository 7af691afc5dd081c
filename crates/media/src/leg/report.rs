//! RTCP of one stream each way (RFC 3550 §6): when a report is due, what it says, and what the far end's say of ours. Runs on
//! the worker's thread.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::reception::ReceptionReport;
use crate::rtp::rtcp::{self, ReportBlock, SenderInfo};
use crate::units::Ssrc;

/// What RTCP needs to remember.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Spreads the reports of many legs.
    phase: u32,
    next: Option<Instant>,
    sent_at_last: u64,
    /// Middle 32 bits of the last SR's NTP time, and when it came.
    last_sr: Option<(u32, Instant)>,
    /// Where RTCP came from, when the signalled address is behind a NAT.
    pub(super) from: Option<SocketAddr>,
    pub(super) rtt: Option<Duration>,
    /// As the far end last said of our stream, in 1/256.
    pub(super) fraction_lost: u8,
    /// A moment on both clocks, to read round trips by.
    wall: Option<(Instant, u64)>,
}

impl Report {
    pub(super) fn new(phase: u32) -> Self {
        Self { phase, ..Self::default() }
    }

    /// Time begins. The first report comes early (RFC 3550 §6.2 allows half the interval), so that quality shows soon.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next = Some(now + rtcp::interval(self.phase) / 2);
    }

    /// The far end's sender report.
    pub(super) fn hear_sender(&mut self, ntp: u64, arrived: Instant) {
        self.last_sr = Some((rtcp::ntp_middle(ntp), arrived));
    }

    /// What the far end says of our stream.
    pub(super) fn hear(&mut self, block: &ReportBlock, arrived: Instant) {
        // The last tick's wall clock is up to a tick behind.
        let ntp = self.ntp_at(arrived);
        self.rtt = rtcp::round_trip(ntp, block).or(self.rtt);
        self.fraction_lost = block.fraction_lost;
    }

    /// A report is due now (RFC 3550 §6.4); asked every tick.
    pub(super) fn is_due(&mut self, now: Instant, ntp: u64) -> bool {
        self.wall = Some((now, ntp));
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        self.phase = self.phase.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.next = Some(now + rtcp::interval(self.phase));
        true
    }

    /// What it says of our stream, which has sent so many packets: nothing when none was sent since the last one.
    pub(super) fn sender(&mut self, packets: u64, info: Option<SenderInfo>) -> Option<SenderInfo> {
        let info = info.filter(|_| packets > self.sent_at_last);
        self.sent_at_last = packets;
        info
    }

    /// What it says of the far end's stream.
    pub(super) fn block(&self, about: Ssrc, heard: ReceptionReport, now: Instant) -> ReportBlock {
        ReportBlock {
            about,
            fraction_lost: heard.fraction_lost,
            cumulative_lost: heard.cumulative_lost,
            highest_seq: heard.extended_highest_seq,
            jitter: heard.jitter,
            lsr: self.last_sr.map_or(0, |(middle, _)| middle),
            dlsr: self.last_sr.map_or(0, |(_, at)| rtcp::dlsr(now.saturating_duration_since(at))),
        }
    }

    /// NTP time of an instant near the last tick.
    fn ntp_at(&self, at: Instant) -> u64 {
        let Some((tick, ntp)) = self.wall else { return 0 };
        let units = |d: Duration| u64::try_from((d.as_nanos() << 32) / 1_000_000_000).unwrap_or(0);
        match at.checked_duration_since(tick) {
            Some(after) => ntp.wrapping_add(units(after)),
            None => ntp.wrapping_sub(units(tick.saturating_duration_since(at))),
        }
    }
}

/// A session's canonical name (RFC 7022 §4.2: random for each session, and no host's name in it).
pub(super) fn cname(session_id: u64) -> [u8; 16] {
    let mut name = *b"0000000000000000";
    let mut id = session_id;
    for digit in name.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(id & 15) as usize];
        id >>= 4;
    }
    name
}
