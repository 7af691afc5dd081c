//! Latest-value figures of legs and workers. Values only: filled on the worker's thread, read by anyone.

use std::time::Duration;

use crate::units::{LegId, PlaybackId};

/// What a worker knows of a room at one tick.
#[derive(Clone, Debug, Default)]
pub struct RoomSnapshot {
    /// One entry for each leg in the room, in join order.
    pub legs: Vec<LegSnapshot>,
    /// A recording tap is open.
    pub recording: bool,
    /// What is announced now.
    pub announcing: Option<PlaybackId>,
    /// Announcements that were lost because too many waited.
    pub announcements_dropped: u64,
}

/// What a worker knows of a leg.
#[derive(Clone, Debug)]
pub struct LegSnapshot {
    /// Which leg.
    pub leg: LegId,
    /// It is heard by the others now.
    pub talking: bool,
    /// Held by the far end (RFC 3264 §8.4).
    pub on_hold: bool,
    /// Loudness of the last 200 ms in dB relative to overload (RFC 6464 sense, negative), −127 for silence.
    pub level_dbov: i8,
    /// What is played to it alone now.
    pub playing: Option<PlaybackId>,
    /// Its counters.
    pub stats: LegStats,
    /// Those of its video, in a room with a picture.
    pub video: Option<VideoStats>,
}

/// Counters and gauges of one leg's video since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VideoStats {
    /// RTP packets that came.
    pub packets_received: u64,
    /// Their payloads' bytes.
    pub bytes_received: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets of no use: malformed, wrong payload type, wrong source.
    pub packets_discarded: u64,
    /// Whole pictures that came.
    pub frames_received: u64,
    /// Pictures that were incomplete, or followed on one that was.
    pub frames_dropped: u64,
    /// Keyframes that were asked for.
    pub keyframes_requested: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Their payloads' bytes.
    pub bytes_sent: u64,
    /// Packets that were sent again.
    pub packets_retransmitted: u64,
    /// Round trip from the last receiver report, when there was one.
    pub rtt: Option<Duration>,
    /// Fraction lost that the far end last reported, in 1/256.
    pub remote_fraction_lost: u8,
}

/// Counters and gauges of one leg since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegStats {
    /// RTP packets accepted.
    pub packets_received: u64,
    /// RTP payload bytes accepted.
    pub bytes_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP payload bytes sent.
    pub bytes_sent: u64,
    /// Packets that never came (RFC 3550 §6.4.1, cumulative, not below zero).
    pub packets_lost: u64,
    /// Packets that came after their tick had played.
    pub packets_late: u64,
    /// Packets dropped: malformed, wrong payload type, wrong source, or no room in the jitter buffer.
    pub packets_discarded: u64,
    /// Ticks that were played from concealment.
    pub frames_concealed: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Round trip from the last receiver report, when there was one.
    pub rtt: Option<Duration>,
    /// Present playout delay of the jitter buffer.
    pub playout_delay: Duration,
    /// Fraction lost that the far end last reported, in 1/256.
    pub remote_fraction_lost: u8,
}

/// How late ticks started: counts by upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    counts: [u64; Self::BUCKETS],
}

impl Default for Lateness {
    fn default() -> Self {
        Self { counts: [0; Self::BUCKETS] }
    }
}

impl Lateness {
    /// Upper bounds in µs; the last bucket has none.
    pub const BOUNDS_US: [u64; 13] = [50, 75, 100, 150, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 100_000];
    /// Number of buckets.
    pub const BUCKETS: usize = Self::BOUNDS_US.len() + 1;

    pub(crate) fn bucket(late: Duration) -> usize {
        let us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        Self::BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(Self::BUCKETS - 1)
    }
    pub(crate) const fn from_counts(counts: [u64; Self::BUCKETS]) -> Self {
        Self { counts }
    }
    /// Ticks in each bucket, in the order of `BOUNDS_US`, the unbounded one last.
    pub const fn counts(&self) -> &[u64; Self::BUCKETS] {
        &self.counts
    }
    /// Upper bound of the bucket that holds this share (0–1) of the ticks; `None` past the last bound or without ticks.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (count, bound) in self.counts.iter().zip(Self::BOUNDS_US) {
            seen += count;
            if total > 0 && seen >= wanted {
                return Some(Duration::from_micros(bound));
            }
        }
        None
    }
}
