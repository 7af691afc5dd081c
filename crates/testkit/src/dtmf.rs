//! Telephone events (RFC 4733 §2.5) as phones send them, good and bad. Pure: payloads, markers and durations; the peer
//! puts them into packets.

/// How a phone sends an event.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Marker bit on the first packet (RFC 4733 §2.5.1.1). Some phones never set it.
    pub marker: bool,
    /// How many of the three end packets arrive.
    pub end_packets: u8,
    /// How long the key is held, in steps of 20 ms.
    pub steps: u16,
}

impl Style {
    /// As the RFC says: marker, three ends, 100 ms.
    pub const NORMAL: Self = Self { marker: true, end_packets: 3, steps: 5 };
    /// No marker bit.
    pub const NO_MARKER: Self = Self { marker: false, ..Self::NORMAL };
    /// All end packets are lost.
    pub const LOST_ENDS: Self = Self { end_packets: 0, ..Self::NORMAL };
}

/// One packet of an event, all of which carry the timestamp of its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// RTP marker.
    pub marker: bool,
    /// The four bytes.
    pub payload: [u8; 4],
    /// 20 ms steps after the event's begin at which it is sent.
    pub step: u16,
}

/// Event code of `0`–`9`, `*`, `#`, `A`–`D`.
pub fn code_of(digit: char) -> Option<u8> {
    "0123456789*#ABCD".find(digit.to_ascii_uppercase()).map(|at| at as u8)
}

/// The packets of one key press, in order.
///
/// # Panics
/// When there is no such key.
pub fn packets(digit: char, clock_hz: u32, style: Style) -> Vec<EventPacket> {
    let code = code_of(digit).expect("a telephone key");
    let duration = |steps: u16| (u32::from(steps) * clock_hz / 50).min(0xffff) as u16;
    let payload = |end: bool, steps: u16| {
        let [high, low] = duration(steps).to_be_bytes();
        // Volume −10 dBm0.
        [code, if end { 0x80 | 10 } else { 10 }, high, low]
    };
    let mut out: Vec<EventPacket> = (1..=style.steps)
        .map(|n| EventPacket { marker: style.marker && n == 1, payload: payload(false, n), step: n - 1 })
        .collect();
    for _ in 0..style.end_packets.min(3) {
        out.push(EventPacket { marker: false, payload: payload(true, style.steps), step: style.steps });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_press_has_one_marker_growing_duration_and_three_ends() {
        let all = packets('#', 8_000, Style::NORMAL);
        assert_eq!(all.len(), 8);
        assert_eq!(all[0], EventPacket { marker: true, payload: [11, 10, 0, 160], step: 0 });
        assert!(all[1..].iter().all(|p| !p.marker));
        assert!(all[5..].iter().all(|p| p.payload == [11, 0x8a, 3, 32]));
    }

    #[test]
    fn bad_phones_leave_out_marker_or_ends() {
        assert!(packets('1', 48_000, Style::NO_MARKER).iter().all(|p| !p.marker));
        assert!(packets('1', 48_000, Style::LOST_ENDS).iter().all(|p| p.payload[1] & 0x80 == 0));
        assert_eq!(packets('1', 48_000, Style::NORMAL)[0].payload[2..], 960u16.to_be_bytes());
    }
}
