//! What a peer saw, as a test asks for it. Pure.

use std::time::{Duration, Instant};

/// Complaints that are kept.
const COMPLAINTS: usize = 20;

/// One packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When the kernel got it.
    pub at: Instant,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// RTP header and payload.
    pub bytes: usize,
}

/// One decoded picture.
#[derive(Clone, Copy, Debug)]
pub struct PictureSeen {
    /// Arrival of its last packet.
    pub at: Instant,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Width and height.
    pub size: (usize, usize),
    /// It was one.
    pub keyframe: bool,
    /// RTP headers and payloads of its packets.
    pub bytes: usize,
    /// Mean of Y.
    pub mean_luma: f64,
}

/// Everything seen since the peer began (or forgot).
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Packets in order of arrival.
    pub arrivals: Vec<Arrival>,
    /// Decoded pictures.
    pub pictures: Vec<PictureSeen>,
    /// Sizes of decoded pictures, one for each change.
    pub sizes: Vec<(usize, usize)>,
    /// Whole access units, decoded or not.
    pub units: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Arrival of the latest keyframe.
    pub last_keyframe: Option<Instant>,
    /// RTP packets with an agreed payload type.
    pub packets: u64,
    /// Their headers and payloads.
    pub bytes: u64,
    /// Bytes of the largest payload.
    pub largest_payload: usize,
    /// Packets that never came, or too late.
    pub lost: u64,
    /// Packets that were missing and came in time: overtaken, or sent again.
    pub repaired: u64,
    /// Packets that came twice, or after they were given up.
    pub late_or_double: u64,
    /// Pictures that began without the marker of the one before, nothing being lost between.
    pub marker_errors: u64,
    /// Pictures whose timestamp is not after that of the one before, nothing being lost between.
    pub timestamp_errors: u64,
    /// VP8 pictures whose picture id is not the next one, nothing being lost between.
    pub picture_id_errors: u64,
    /// The stream changed its SSRC.
    pub ssrc_changes: u64,
    /// Pictures with missing packets.
    pub damaged: u64,
    /// Whole access units that lack what they refer to, or that the decoder refused.
    pub undecodable: u64,
    /// What was malformed: not RTP, not agreed on, not as the payload format asks, refused by the decoder.
    pub malformed: u64,
    /// The first of these in words.
    pub complaints: Vec<String>,
}

impl Seen {
    pub(super) fn complain(&mut self, why: String) {
        self.malformed += 1;
        if self.complaints.len() < COMPLAINTS {
            self.complaints.push(why);
        }
    }

    /// Bytes of RTP in the fullest stretch of this length, such as 20 ms.
    pub fn largest_burst(&self, length: Duration) -> usize {
        let (mut first, mut sum, mut largest) = (0, 0, 0);
        for arrival in &self.arrivals {
            sum += arrival.bytes;
            while self.arrivals.get(first).is_some_and(|f| arrival.at.saturating_duration_since(f.at) >= length) {
                sum -= self.arrivals[first].bytes;
                first += 1;
            }
            largest = largest.max(sum);
        }
        largest
    }

    /// Bytes of RTP that came between two instants.
    pub fn bytes_between(&self, from: Instant, to: Instant) -> usize {
        self.arrivals.iter().filter(|a| a.at >= from && a.at < to).map(|a| a.bytes).sum()
    }

    /// Pictures a second between the first and the last one; 0 with fewer than two.
    pub fn framerate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.pictures.first(), self.pictures.last()) else { return 0.0 };
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        if seconds > 0.0 { (self.pictures.len() - 1) as f64 / seconds } else { 0.0 }
    }

    /// The longest time between two pictures.
    pub fn longest_gap(&self) -> Option<Duration> {
        self.pictures.windows(2).map(|w| w[1].at.saturating_duration_since(w[0].at)).max()
    }

    /// Arrivals of the first bright picture of each flash (see [`crate::scene::flashes`]).
    pub fn flashes(&self) -> Vec<Instant> {
        let is_bright = |p: &PictureSeen| p.mean_luma > 128.0;
        let pairs = self.pictures.windows(2).filter(|w| !is_bright(&w[0]) && is_bright(&w[1]));
        pairs.map(|w| w[1].at).collect()
    }

    /// Everything that a sound stream over a clean network has none of, in one sentence.
    ///
    /// # Errors
    /// The counts that are not zero.
    pub fn check_clean(&self) -> Result<(), String> {
        let counts = [
            ("lost", self.lost),
            ("late or double", self.late_or_double),
            ("marker errors", self.marker_errors),
            ("timestamp errors", self.timestamp_errors),
            ("picture id errors", self.picture_id_errors),
            ("SSRC changes", self.ssrc_changes),
            ("damaged", self.damaged),
            ("malformed", self.malformed),
        ];
        let wrong: Vec<String> = counts.iter().filter(|c| c.1 > 0).map(|(what, n)| format!("{n} {what}")).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{} {:?}", wrong.join(", "), self.complaints)) }
    }

    /// The counts in one line, for the message of a failed test.
    pub fn summary(&self) -> String {
        format!(
            "{} packets, {} pictures {:?}, {} keyframes, {} lost, {} repaired, {} damaged, {} undecodable, {} malformed {:?}",
            self.packets,
            self.pictures.len(),
            self.sizes,
            self.keyframes,
            self.lost,
            self.repaired,
            self.damaged,
            self.undecodable,
            self.malformed,
            self.complaints
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_the_fullest_stretch() {
        let start = Instant::now();
        let arrival = |(ms, bytes)| Arrival {
            at: start + Duration::from_millis(ms),
            sequence: 0,
            timestamp: 0,
            marker: false,
            payload_type: 96,
            bytes,
        };
        let arrivals = [(0, 100), (15, 300), (19, 200), (20, 50), (34, 400), (80, 500)].map(arrival).to_vec();
        let seen = Seen { arrivals, ..Seen::default() };
        // From 15 to 35 ms.
        assert_eq!(seen.largest_burst(Duration::from_millis(20)), 950);
        assert_eq!(seen.largest_burst(Duration::from_millis(1)), 500);
        assert_eq!(seen.largest_burst(Duration::from_secs(1)), 1_550);
        assert_eq!(seen.bytes_between(start, start + Duration::from_millis(20)), 600);
        assert_eq!(Seen::default().largest_burst(Duration::from_millis(20)), 0);
    }

    #[test]
    fn only_a_clean_stream_is_clean() {
        assert_eq!(Seen::default().check_clean(), Ok(()));
        let seen = Seen { lost: 2, ..Seen::default() };
        assert!(seen.check_clean().is_err_and(|why| why.starts_with("2 lost")));
    }
}
