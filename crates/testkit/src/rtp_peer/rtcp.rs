//! RTCP of a test peer: builds sender reports with one report block, reads what the other side reports
//! (RFC 3550 §6.4). Pure.

/// What a peer says of the stream it receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Whose stream.
    pub ssrc: u32,
    /// In 1/256.
    pub fraction_lost: u8,
    /// Signed 24 bits.
    pub cumulative_lost: i32,
    /// With cycles.
    pub highest_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time.
    pub last_sr: u32,
    /// Since then, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// The sender's own part of a sender report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// 64-bit NTP time.
    pub ntp: u64,
    /// The same instant in timestamp units.
    pub rtp_timestamp: u32,
    /// Sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

/// A compound packet as far as a test wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// SSRC of the sender of the report.
    pub ssrc: u32,
    /// Set in a sender report.
    pub sender: Option<SenderInfo>,
    /// Report blocks of all SR and RR packets.
    pub blocks: Vec<ReportBlock>,
    /// A CNAME was there (RFC 3550 §6.1 requires it in each compound packet).
    pub has_cname: bool,
    /// SSRCs that said BYE.
    pub bye: Vec<u32>,
}

/// SR (or RR when `sender` is none) and SDES with a CNAME.
pub fn build(ssrc: u32, sender: Option<SenderInfo>, block: Option<ReportBlock>) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    let words = 1 + if sender.is_some() { 5 } else { 0 } + if block.is_some() { 6 } else { 0 };
    out.push(0x80 | u8::from(block.is_some()));
    out.push(if sender.is_some() { 200 } else { 201 });
    out.extend_from_slice(&(words as u16).to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    if let Some(s) = sender {
        out.extend_from_slice(&s.ntp.to_be_bytes());
        for word in [s.rtp_timestamp, s.packets, s.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    if let Some(b) = block {
        out.extend_from_slice(&b.ssrc.to_be_bytes());
        let lost = (b.cumulative_lost as u32) & 0x00ff_ffff;
        out.extend_from_slice(&(u32::from(b.fraction_lost) << 24 | lost).to_be_bytes());
        for word in [b.highest_sequence, b.jitter, b.last_sr, b.delay_since_last_sr] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    // SDES: one chunk, CNAME "test", ended and padded to a word.
    out.extend_from_slice(&[0x81, 202, 0, 3]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, 4, b't', b'e', b's', b't', 0, 0]);
    out
}

/// Reads a compound packet strictly.
///
/// # Errors
/// What breaks RFC 3550.
pub fn parse(mut bytes: &[u8]) -> Result<Report, String> {
    let mut report = Report::default();
    let mut first = true;
    while !bytes.is_empty() {
        let [head, kind, l0, l1, ..] = *bytes else { return Err("short header".to_owned()) };
        let len = (usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4;
        if head >> 6 != 2 || head & 0x20 != 0 || len > bytes.len() {
            return Err(format!("header {head:#x}, length {len} of {}", bytes.len()));
        }
        if first && kind != 200 && kind != 201 {
            return Err(format!("compound packet begins with type {kind}"));
        }
        first = false;
        let (packet, rest) = bytes.split_at(len);
        let word = |n: usize| packet.get(n * 4..n * 4 + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let need = |n: usize| word(n).ok_or_else(|| format!("type {kind} too short"));
        let count = usize::from(head & 31);
        match kind {
            200 | 201 => {
                report.ssrc = need(1)?;
                let mut at = 2;
                if kind == 200 {
                    report.sender = Some(SenderInfo {
                        ntp: u64::from(need(2)?) << 32 | u64::from(need(3)?),
                        rtp_timestamp: need(4)?,
                        packets: need(5)?,
                        octets: need(6)?,
                    });
                    at = 7;
                }
                for k in 0..count {
                    let w = |n| need(at + k * 6 + n);
                    report.blocks.push(ReportBlock {
                        ssrc: w(0)?,
                        fraction_lost: (w(1)? >> 24) as u8,
                        cumulative_lost: (w(1)? << 8) as i32 >> 8,
                        highest_sequence: w(2)?,
                        jitter: w(3)?,
                        last_sr: w(4)?,
                        delay_since_last_sr: w(5)?,
                    });
                }
            }
            202 => report.has_cname |= count > 0 && packet.get(8) == Some(&1),
            203 => {
                for k in 0..count {
                    report.bye.push(need(1 + k)?);
                }
            }
            _ => {}
        }
        bytes = rest;
    }
    if first { Err("empty".to_owned()) } else { Ok(report) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_report_is_read_back() {
        let sender = SenderInfo { ntp: 5 << 32 | 7, rtp_timestamp: 9, packets: 10, octets: 11 };
        let block = ReportBlock { ssrc: 3, fraction_lost: 25, cumulative_lost: -2, jitter: 8, ..Default::default() };
        let read = parse(&build(77, Some(sender), Some(block))).unwrap();
        assert_eq!(read.ssrc, 77);
        assert_eq!(read.sender, Some(sender));
        assert_eq!(read.blocks, [block]);
        assert!(read.has_cname);
        assert_eq!(parse(&build(77, None, None)).unwrap().blocks, []);
    }

    #[test]
    fn broken_reports_are_refused() {
        let good = build(1, None, None);
        for broken in [&good[..3], &good[..6], &good[8..], &[]] {
            assert!(parse(broken).is_err());
        }
    }
}
