//! RTCP (RFC 3550 §6): compound packets in and out, round trips, intervals, NTP time. Runs on the worker's thread;
//! allocates nothing, reads no clock, and walks past every packet type that it does not know.

use std::time::Duration;

use super::feedback::{self, Feedback, MAX_FEEDBACK_BYTES};
use crate::units::Ssrc;

/// Room for the largest compound that [`Compound::write`] makes with one report block and a CNAME of 255 bytes.
pub const MAX_COMPOUND_BYTES: usize = 28 + 24 + 8 + 2 + 255 + 3 + 8;
/// The same for [`Compound::write_with`], with one feedback of each kind.
pub const MAX_COMPOUND_WITH_FEEDBACK_BYTES: usize = MAX_COMPOUND_BYTES + MAX_FEEDBACK_BYTES;
// It passes where our RTP does.
const _: () = assert!(MAX_COMPOUND_WITH_FEEDBACK_BYTES <= 1_200);
/// Packets of one datagram that are looked at; 65,535 bytes could hold 16,383.
const MAX_PACKETS: usize = 32;

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const SDES_CNAME: u8 = 1;

/// The sender's part of a sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP time of the report: seconds since 1900 in the upper half, fractions in the lower.
    pub ntp: u64,
    /// The same instant in RTP timestamp units.
    pub rtp_timestamp: u32,
    /// Packets sent, modulo 2³².
    pub packets: u32,
    /// Payload bytes sent, modulo 2³².
    pub octets: u32,
}

/// What one side heard of a source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub about: Ssrc,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning, 24 bits signed.
    pub cumulative_lost: i32,
    /// Cycles in the upper half, sequence number in the lower.
    pub highest_seq: u32,
    /// Interarrival jitter in RTP timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report heard; 0 when none was.
    pub lsr: u32,
    /// Time since that report in 1/65536 s.
    pub dlsr: u32,
}

const BLOCK_BYTES: usize = 24;

impl ReportBlock {
    fn parse(block: &[u8; BLOCK_BYTES]) -> Self {
        let [about, lost, highest_seq, jitter, lsr, dlsr] = words(block);
        Self {
            about: Ssrc(about),
            fraction_lost: (lost >> 24) as u8,
            // Sign-extends the lower 24 bits.
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest_seq,
            jitter,
            lsr,
            dlsr,
        }
    }

    fn words(&self) -> [u32; 6] {
        let lost = (self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32) & 0x00ff_ffff;
        let lost = u32::from(self.fraction_lost) << 24 | lost;
        [self.about.0, lost, self.highest_seq, self.jitter, self.lsr, self.dlsr]
    }
}

fn words(block: &[u8; BLOCK_BYTES]) -> [u32; 6] {
    let mut words = [0; 6];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    /// SR.
    SenderReport {
        /// Who reports.
        from: Ssrc,
        /// What it sent.
        info: SenderInfo,
        /// What it heard.
        blocks: ReportBlocks<'a>,
    },
    /// RR.
    ReceiverReport {
        /// Who reports.
        from: Ssrc,
        /// What it heard.
        blocks: ReportBlocks<'a>,
    },
    /// SDES: the first source that names itself (we send one, and read no mixer's lists).
    Description {
        /// Who.
        from: Ssrc,
        /// Its CNAME, when given; any bytes.
        cname: Option<&'a [u8]>,
    },
    /// BYE.
    Goodbye(Sources<'a>),
    /// NACK, PLI, FIR, TMMBR, TMMBN or REMB.
    Feedback(feedback::Received<'a>),
    /// APP, other feedback, XR, or what is not invented yet.
    Other(u8),
}

/// The report blocks of one packet; at most 31.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a>(&'a [[u8; BLOCK_BYTES]]);

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;
    fn next(&mut self) -> Option<ReportBlock> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(ReportBlock::parse(first))
    }
}

/// The sources of a BYE, at most 31, or of a REMB, at most 255.
#[derive(Clone, Debug)]
pub struct Sources<'a>(pub(super) &'a [[u8; 4]]);

impl Iterator for Sources<'_> {
    type Item = Ssrc;
    fn next(&mut self) -> Option<Ssrc> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(Ssrc(u32::from_be_bytes(*first)))
    }
}

/// Walks a compound packet. Reduced-size RTCP (RFC 5506), which begins with anything, is taken too. A packet whose
/// contents do not fit its own counts is skipped; one whose length leaves the datagram ends the walk.
pub fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { rest: datagram, left: MAX_PACKETS }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;
    fn next(&mut self) -> Option<Packet<'a>> {
        while self.left > 0 {
            self.left -= 1;
            let ([flags, kind, l0, l1], after) = self.rest.split_first_chunk::<4>()?;
            if flags >> 6 != 2 {
                self.left = 0;
                return None;
            }
            let length = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
            let (mut body, rest) = after.split_at_checked(length)?;
            self.rest = rest;
            if flags & 0x20 != 0 {
                // Padding belongs to the last packet only, and its count to itself.
                let Some(unpadded) = unpadded(body) else { continue };
                body = unpadded;
            }
            if let Some(packet) = parse_packet(*kind, usize::from(flags & 0x1f), body) {
                return Some(packet);
            }
        }
        None
    }
}

fn unpadded(body: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*body.last()?);
    body.get(..body.len().checked_sub(padding)?)
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk::<4>().map(|(word, rest)| (u32::from_be_bytes(*word), rest))
}

fn parse_packet(kind: u8, count: usize, body: &[u8]) -> Option<Packet<'_>> {
    match kind {
        SR => {
            let (from, rest) = word(body)?;
            let (ntp, rest) = rest.split_first_chunk::<8>()?;
            let (rtp_timestamp, rest) = word(rest)?;
            let (packets, rest) = word(rest)?;
            let (octets, rest) = word(rest)?;
            let info = SenderInfo { ntp: u64::from_be_bytes(*ntp), rtp_timestamp, packets, octets };
            Some(Packet::SenderReport { from: Ssrc(from), info, blocks: blocks(count, rest)? })
        }
        RR => {
            let (from, rest) = word(body)?;
            Some(Packet::ReceiverReport { from: Ssrc(from), blocks: blocks(count, rest)? })
        }
        SDES if count > 0 => {
            let (from, rest) = word(body)?;
            Some(Packet::Description { from: Ssrc(from), cname: cname(rest) })
        }
        BYE => Some(Packet::Goodbye(Sources(body.as_chunks::<4>().0.get(..count)?))),
        feedback::RTPFB | feedback::PSFB => {
            let received = feedback::Received::parse(kind, count, body);
            Some(received.map_or(Packet::Other(kind), Packet::Feedback))
        }
        other => Some(Packet::Other(other)),
    }
}

fn blocks(count: usize, bytes: &[u8]) -> Option<ReportBlocks<'_>> {
    bytes.as_chunks::<BLOCK_BYTES>().0.get(..count).map(ReportBlocks)
}

/// The CNAME item of one SDES chunk (RFC 3550 §6.5.1).
fn cname(mut items: &[u8]) -> Option<&[u8]> {
    loop {
        let ([kind, length], after) = items.split_first_chunk::<2>()?;
        if *kind == 0 {
            return None;
        }
        let (text, rest) = after.split_at_checked(usize::from(*length))?;
        if *kind == SDES_CNAME {
            return Some(text);
        }
        items = rest;
    }
}

/// What we send: SR or RR, SDES with the CNAME, feedback (RFC 4585 §3.1), and BYE when the leg ends (RFC 3550 §6.1).
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    /// Our source.
    pub ssrc: Ssrc,
    /// Set when we sent anything since the last report: makes it an SR.
    pub sender: Option<SenderInfo>,
    /// What we hear; `None` before the first packet.
    pub report: Option<ReportBlock>,
    /// Ours; at most 255 bytes of it are sent.
    pub cname: &'a str,
    /// The leg ends.
    pub bye: bool,
}

impl Compound<'_> {
    /// Writes it and gives its length. `None` when `out` is too small; [`MAX_COMPOUND_BYTES`] always suffice.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        self.write_with(&[], out)
    }

    /// The same with feedback in it. [`MAX_COMPOUND_WITH_FEEDBACK_BYTES`] suffice for one of each kind.
    pub fn write_with(&self, feedback: &[Feedback<'_>], out: &mut [u8]) -> Option<usize> {
        let mut out = Out { buffer: out, at: 0 };
        let blocks = u8::from(self.report.is_some());
        let block_words = u16::from(blocks) * 6;
        match &self.sender {
            Some(info) => {
                out.header(blocks, SR, 6 + block_words)?;
                out.word(self.ssrc.0)?;
                out.bytes(&info.ntp.to_be_bytes())?;
                out.word(info.rtp_timestamp)?;
                out.word(info.packets)?;
                out.word(info.octets)?;
            }
            None => {
                out.header(blocks, RR, 1 + block_words)?;
                out.word(self.ssrc.0)?;
            }
        }
        for word in self.report.iter().flat_map(ReportBlock::words) {
            out.word(word)?;
        }
        let text = self.cname.as_bytes();
        let text = text.get(..255).unwrap_or(text);
        // The list of items ends with at least one zero, at a whole word.
        let padded = (2 + text.len() + 1).next_multiple_of(4);
        out.header(1, SDES, 1 + (padded / 4) as u16)?;
        out.word(self.ssrc.0)?;
        out.bytes(&[SDES_CNAME, text.len() as u8])?;
        out.bytes(text)?;
        out.bytes([0; 4].get(..padded - 2 - text.len())?)?;
        for feedback in feedback {
            feedback.write(self.ssrc, &mut out)?;
        }
        if self.bye {
            out.header(1, BYE, 1)?;
            out.word(self.ssrc.0)?;
        }
        Some(out.at)
    }
}

/// A place in the caller's buffer.
pub(super) struct Out<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Out<'_> {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.buffer.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }
    pub(super) fn word(&mut self, word: u32) -> Option<()> {
        self.bytes(&word.to_be_bytes())
    }
    /// `words`: those that follow the header.
    pub(super) fn header(&mut self, count: u8, kind: u8, words: u16) -> Option<()> {
        let [l0, l1] = words.to_be_bytes();
        self.bytes(&[0x80 | count & 0x1f, kind, l0, l1])
    }
}

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_OFFSET_S: u64 = 2_208_988_800;

/// Wall time as time since 1970, into NTP's 32.32 bits (RFC 3550 §4); wraps in 2036 as NTP does.
pub fn ntp(since_1970: Duration) -> u64 {
    let seconds = since_1970.as_secs().wrapping_add(NTP_OFFSET_S);
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

/// The middle 32 bits, as in LSR: 1/65536 s.
pub const fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A time span in 1/65536 s, as in DLSR; saturates at 18 hours.
pub fn dlsr(since_report: Duration) -> u32 {
    u32::try_from((since_report.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// The round trip that a report block shows when it arrives at `now_ntp` (RFC 3550 §6.4.1). `None` when it answers no
/// report of ours, or claims to have come back before it left.
pub fn round_trip(now_ntp: u64, block: &ReportBlock) -> Option<Duration> {
    if block.lsr == 0 {
        return None;
    }
    let units = ntp_middle(now_ntp).wrapping_sub(block.lsr).wrapping_sub(block.dlsr);
    // More than an hour is a clock that was set, not a network.
    (units < 3_600 << 16).then(|| Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16))
}

/// Time to the next report: 5 s times 0.5–1.5 (RFC 3550 §6.2, §6.3.1), by a random number over its whole range.
pub fn interval(random: u32) -> Duration {
    Duration::from_millis(2_500 + ((u64::from(random) * 5_000) >> 32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block() -> ReportBlock {
        ReportBlock {
            about: Ssrc(7),
            fraction_lost: 25,
            cumulative_lost: -3,
            highest_seq: 0x0002_ffff,
            jitter: 160,
            lsr: 0x1234_5678,
            dlsr: 65_536,
        }
    }

    #[test]
    fn sender_report_reads_back() {
        let info = SenderInfo { ntp: 0xdead_beef_0123_4567, rtp_timestamp: 1, packets: 2, octets: 3 };
        let compound =
            Compound { ssrc: Ssrc(9), sender: Some(info), report: Some(block()), cname: "leg@conclave", bye: true };
        let mut out = [0; MAX_COMPOUND_BYTES];
        let length = compound.write(&mut out).unwrap();
        assert_eq!(length % 4, 0);
        let mut read = packets(&out[..length]);
        let Some(Packet::SenderReport { from, info: read_info, blocks }) = read.next() else { panic!() };
        assert_eq!((from, read_info), (Ssrc(9), info));
        assert_eq!(blocks.collect::<Vec<_>>(), [block()]);
        let Some(Packet::Description { from: Ssrc(9), cname: Some(b"leg@conclave") }) = read.next() else { panic!() };
        let Some(Packet::Goodbye(sources)) = read.next() else { panic!() };
        assert_eq!(sources.collect::<Vec<_>>(), [Ssrc(9)]);
        assert!(read.next().is_none());
    }

    #[test]
    fn cnames_of_every_length_fit() {
        for length in 0..=300 {
            let cname = "x".repeat(length);
            let compound = Compound {
                ssrc: Ssrc(1),
                sender: Some(SenderInfo::default()),
                report: Some(block()),
                cname: &cname,
                bye: true,
            };
            let mut out = [0xaa; MAX_COMPOUND_BYTES];
            let written = compound.write(&mut out).unwrap();
            let cnames: Vec<_> = packets(&out[..written])
                .filter_map(|p| match p {
                    Packet::Description { cname, .. } => cname,
                    _ => None,
                })
                .collect();
            assert_eq!(cnames, [&cname.as_bytes()[..length.min(255)]]);
            assert_eq!(packets(&out[..written]).count(), 3);
            assert_eq!(compound.write(&mut out[..written - 1]), None);
        }
    }

    #[test]
    fn receiver_report_as_others_write_it_is_read() {
        // RR with one block, SDES with NAME before CNAME, APP, transport feedback: as captured from phones.
        let bytes = [
            &[0x81, 201, 0, 7, 0, 0, 0, 5, 0, 0, 0, 7, 25, 0xff, 0xff, 0xfd, 0, 2, 0xff, 0xff][..],
            &[0, 0, 0, 160, 0x12, 0x34, 0x56, 0x78, 0, 1, 0, 0],
            &[0x81, 202, 0, 4, 0, 0, 0, 5, 2, 1, b'n', 1, 4, b'a', b'@', b'b', b'c', 0, 0, 0],
            &[0x80, 204, 0, 2, 0, 0, 0, 5, b't', b'e', b's', b't'],
            &[0x8f, 205, 0, 2, 0, 0, 0, 5, 0, 0, 0, 7],
        ]
        .concat();
        let read: Vec<_> = packets(&bytes).collect();
        let [Packet::ReceiverReport { from: Ssrc(5), blocks }, description, Packet::Other(204), Packet::Other(205)] =
            &read[..]
        else {
            panic!("{read:?}")
        };
        assert_eq!(blocks.clone().collect::<Vec<_>>(), [block()]);
        assert!(matches!(description, Packet::Description { from: Ssrc(5), cname: Some(b"a@bc") }));
    }

    #[test]
    fn a_packet_with_wrong_counts_is_skipped_and_a_wrong_length_ends_the_walk() {
        let bytes = [
            // Three blocks claimed, none there.
            &[0x83, 201, 0, 1, 0, 0, 0, 5][..],
            // Padding longer than the packet.
            &[0xa0, 201, 0, 1, 0, 0, 0, 9],
            &[0x81, 203, 0, 1, 0, 0, 0, 5],
            &[0x80, 201, 0, 9, 0, 0, 0, 5],
        ]
        .concat();
        let read: Vec<_> = packets(&bytes).collect();
        assert!(matches!(&read[..], [Packet::Goodbye(_)]), "{read:?}");
        assert_eq!(packets(&[0x80; 4]).count(), 0);
        assert_eq!(packets(&[0x80, 210, 0, 0].repeat(100)).count(), MAX_PACKETS);
    }

    #[test]
    fn round_trip_is_what_was_not_spent_at_the_far_end() {
        let sent = ntp(Duration::from_secs(1_700_000_000));
        let held = Duration::from_millis(1_500);
        let back = ntp(Duration::from_secs(1_700_000_000) + held + Duration::from_millis(80));
        let reply = ReportBlock { lsr: ntp_middle(sent), dlsr: dlsr(held), ..block() };
        let trip = round_trip(back, &reply).unwrap();
        assert!(trip.abs_diff(Duration::from_millis(80)) < Duration::from_micros(50), "{trip:?}");
        assert_eq!(round_trip(back, &ReportBlock { lsr: 0, ..reply }), None);
        assert_eq!(round_trip(sent, &reply), None);
        assert_eq!(dlsr(Duration::from_secs(1_000_000)), u32::MAX);
    }

    #[test]
    fn ntp_counts_from_1900() {
        assert_eq!(ntp(Duration::ZERO) >> 32, 2_208_988_800);
        assert_eq!(ntp(Duration::from_millis(500)) & 0xffff_ffff, 1 << 31);
    }

    #[test]
    fn intervals_spread_around_five_seconds() {
        assert_eq!(interval(0), Duration::from_millis(2_500));
        assert_eq!(interval(u32::MAX), Duration::from_millis(7_499));
        assert_eq!(interval(1 << 31), Duration::from_secs(5));
    }

    proptest! {
        #![proptest_config(crate::rtp::seeded())]
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            walk(&bytes)?;
        }

        /// Bytes with valid headers, so that the bodies are reached.
        #[test]
        fn any_bodies_never_panic(
            all in proptest::collection::vec((0x80u8..=0xbf, 198u8..=208, proptest::collection::vec(any::<u8>(), 0..80)), 0..8)
        ) {
            let mut bytes = Vec::new();
            for (flags, kind, mut body) in all {
                body.truncate(body.len() / 4 * 4);
                bytes.extend_from_slice(&[flags, kind, 0, (body.len() / 4) as u8]);
                bytes.extend_from_slice(&body);
            }
            walk(&bytes)?;
        }
    }

    fn walk(bytes: &[u8]) -> Result<(), TestCaseError> {
        let mut items = 0;
        for packet in packets(bytes) {
            items += match packet {
                Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                    blocks.fold(0, |items, block| items + 1 + round_trip(1, &block).map_or(0, |_| 0))
                }
                Packet::Goodbye(sources) => sources.count(),
                // Whose entries have bounds and tests of their own.
                Packet::Feedback(_) => 1,
                Packet::Description { .. } | Packet::Other(_) => 1,
            };
        }
        prop_assert!(items <= MAX_PACKETS * 31);
        Ok(())
    }
}
