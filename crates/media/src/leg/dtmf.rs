//! Telephone keys as RTP events (RFC 4733 §2), heard once each whatever the sender and the network do to their packets.
//! Runs on the worker's thread; a few words of state, no time, no allocation.
//!
//! A press is known by the RTP timestamp of its beginning, and reported with its first packet: waiting for the end would
//! make a menu slow, and ends get lost. What is not by the book, and still one press:
//! - a press too long for its 16-bit duration goes on in segments with timestamps of their own (§2.5.1.3), every 1.4 s
//!   at 48 kHz;
//! - some gateways let the timestamp run during a press, or in the repeated end packets.
//!
//! And the other way round, some senders give every press the same timestamp, or the timestamps of earlier ones, and only the
//! marker tells them apart.

use crate::command::Digit;

/// Presses whose late packets are still recognised. A packet is late by milliseconds, a press takes 80 ms and more.
const REMEMBERED: usize = 8;
/// Steps in sequence number between packets of one press whose timestamps run. Three lost ends and a pause are more.
const ADJACENT: u16 = 3;

/// One packet's event block (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug)]
struct Event {
    code: u8,
    end: bool,
    duration: u16,
}

impl Event {
    /// The first block: events of one press at a time is all that keys make. Volume tells nothing about keys.
    fn parse(payload: &[u8]) -> Option<Self> {
        let ([code, flags, d0, d1], _) = payload.split_first_chunk::<4>()?;
        Some(Self { code: *code, end: flags & 0x80 != 0, duration: u16::from_be_bytes([*d0, *d1]) })
    }
}

/// Whether this is a packet of a key's event, and one of its end.
pub(crate) fn is_end(payload: &[u8]) -> Option<bool> {
    let event = Event::parse(payload)?;
    Digit::from_event(event.code).map(|_| event.end)
}

/// The newest packet of the present press.
#[derive(Clone, Copy, Debug)]
struct Press {
    code: u8,
    timestamp: u32,
    seq: u16,
    duration: u16,
    ended: bool,
}

/// Hears the keys of one leg.
#[derive(Clone, Debug, Default)]
pub(crate) struct DtmfReceiver {
    last: Option<Press>,
    /// Timestamps and codes that were reported, in a ring.
    heard: [Option<(u32, u8)>; REMEMBERED],
    next: usize,
}

impl DtmfReceiver {
    /// Takes one packet of a telephone-event payload type whose clock is `clock_hz`. `Some` once for each press; `None`
    /// for all its other packets, for events that are no keys (flash, tones), and for what does not parse.
    pub(crate) fn receive(
        &mut self,
        clock_hz: u32,
        marker: bool,
        seq: u16,
        timestamp: u32,
        payload: &[u8],
    ) -> Option<Digit> {
        let event = Event::parse(payload)?;
        let digit = Digit::from_event(event.code)?;
        let press = Press { code: event.code, timestamp, seq, duration: event.duration, ended: event.end };
        let known = self.heard.contains(&Some((timestamp, event.code)));
        let Some(last) = self.last else {
            self.begin(press);
            return Some(digit);
        };
        let newer = seq.wrapping_sub(last.seq) as i16 > 0;
        let same = last.timestamp == timestamp && last.code == event.code;
        if known && !restarts(&last, same, marker, newer) {
            if same && newer {
                self.last = Some(Press { ended: last.ended || event.end, ..press });
            }
            return None;
        }
        if continues(&last, &press, marker, clock_hz) {
            self.remember(&press);
            self.last = Some(press);
            return None;
        }
        if newer {
            self.begin(press);
        } else {
            // A whole press that was overtaken by the next: late, but pressed.
            self.remember(&press);
        }
        Some(digit)
    }

    fn begin(&mut self, press: Press) {
        self.remember(&press);
        self.last = Some(press);
    }

    fn remember(&mut self, press: &Press) {
        if let Some(slot) = self.heard.get_mut(self.next) {
            *slot = Some((press.timestamp, press.code));
        }
        self.next = (self.next + 1) % REMEMBERED;
    }
}

/// A key and a timestamp that were heard, and a new press: the press before it had ended, and this begins one.
fn restarts(last: &Press, same: bool, marker: bool, newer: bool) -> bool {
    marker && newer && (last.ended || !same)
}

/// Another timestamp, and still the same press.
fn continues(last: &Press, next: &Press, marker: bool, clock_hz: u32) -> bool {
    let step = next.seq.wrapping_sub(last.seq);
    if marker || last.code != next.code || step == 0 || step > i16::MAX as u16 {
        return false;
    }
    let gap = next.timestamp.wrapping_sub(last.timestamp);
    // The timestamp runs with the packets, which come every 20–50 ms, and the duration does not shrink. After the end only
    // further ends belong to it.
    let with_packets = step <= ADJACENT && gap <= u32::from(step) * (clock_hz / 1_000) * 60;
    let runs = with_packets && next.duration >= last.duration && (!last.ended || next.ended);
    // A segment begins where the last one stopped, or where it must have: at the full duration, less 100 ms for packets
    // that were lost around the seam.
    let slack = clock_hz / 10;
    let seamless = gap == u32::from(last.duration);
    let full = last.duration >= 0x8000 && gap.abs_diff(0xffff) <= slack;
    runs || !last.ended && (seamless || full)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A sender by the book, with faults on request.
    struct Phone {
        clock_hz: u32,
        seq: u16,
        timestamp: u32,
        marker: bool,
        ends: usize,
    }

    type Sent = (u32, bool, u16, u32, [u8; 4]);

    impl Phone {
        fn new(clock_hz: u32) -> Self {
            Self { clock_hz, seq: 65_530, timestamp: u32::MAX - 5_000, marker: true, ends: 3 }
        }
        fn step(&self) -> u32 {
            self.clock_hz / 50
        }
        /// Holds the key for so many 20 ms packets, then lets 100 ms of sound pass.
        fn press(&mut self, code: u8, packets: u32) -> Vec<Sent> {
            let mut sent = Vec::new();
            let mut begin = self.timestamp;
            let mut duration = 0;
            for n in 0..packets {
                if duration + self.step() > 0xffff {
                    begin = begin.wrapping_add(duration);
                    duration = 0;
                }
                duration += self.step();
                sent.push(self.packet(code, self.marker && n == 0, false, begin, duration));
            }
            for _ in 0..self.ends {
                sent.push(self.packet(code, false, true, begin, duration));
            }
            // Ends that were lost have taken a number too.
            self.seq = self.seq.wrapping_add((3 - self.ends) as u16 + 5);
            self.timestamp = begin.wrapping_add(duration + 5 * self.step());
            sent
        }
        fn packet(&mut self, code: u8, marker: bool, end: bool, begin: u32, duration: u32) -> Sent {
            self.seq = self.seq.wrapping_add(1);
            let [d0, d1] = (duration as u16).to_be_bytes();
            (self.clock_hz, marker, self.seq, begin, [code, if end { 0x8a } else { 10 }, d0, d1])
        }
    }

    fn heard(packets: &[Sent]) -> String {
        let mut receiver = DtmfReceiver::default();
        packets
            .iter()
            .filter_map(|(clock, marker, seq, timestamp, payload)| {
                receiver.receive(*clock, *marker, *seq, *timestamp, payload).map(Digit::as_char)
            })
            .collect()
    }

    #[test]
    fn every_press_is_heard_once_on_both_clocks() {
        for clock in [8_000, 48_000] {
            for marker in [true, false] {
                for ends in 0..=3 {
                    let mut phone = Phone { marker, ends, ..Phone::new(clock) };
                    let sent: Vec<_> =
                        [1, 1, 2, 11, 11, 11, 15].iter().flat_map(|code| phone.press(*code, 5)).collect();
                    assert_eq!(heard(&sent), "112###D", "clock {clock}, marker {marker}, ends {ends}");
                }
            }
        }
    }

    #[test]
    fn first_packet_reports_and_nothing_waits_for_the_end() {
        let sent = Phone::new(8_000).press(5, 4);
        assert_eq!(heard(&sent[..1]), "5");
    }

    #[test]
    fn any_single_packet_that_survives_reports_the_press() {
        let sent = Phone::new(8_000).press(5, 4);
        for survivor in &sent {
            assert_eq!(heard(std::slice::from_ref(survivor)), "5");
        }
    }

    #[test]
    fn duplicates_and_reordering_report_nothing_twice() {
        let mut phone = Phone::new(8_000);
        let (one, two) = (phone.press(1, 5), phone.press(2, 5));
        let doubled: Vec<_> = one.iter().chain(&two).flat_map(|p| [*p, *p]).collect();
        assert_eq!(heard(&doubled), "12");
        let backwards: Vec<_> = one.iter().rev().chain(two.iter().rev()).copied().collect();
        assert_eq!(heard(&backwards), "12");
        let mut overtaken = vec![one[0], two[0]];
        overtaken.extend_from_slice(&one[1..]);
        overtaken.extend_from_slice(&two[1..]);
        assert_eq!(heard(&overtaken), "12");
        let all_late: Vec<_> = two.iter().chain(&one).copied().collect();
        assert_eq!(heard(&all_late), "21");
    }

    #[test]
    fn a_long_press_in_segments_is_one_press() {
        for clock in [8_000, 48_000] {
            for marker in [true, false] {
                let mut phone = Phone { marker, ..Phone::new(clock) };
                // 20 s: two segments more at 8 kHz, fourteen at 48 kHz.
                let mut sent = phone.press(9, 1_000);
                sent.extend(phone.press(9, 5));
                assert_eq!(heard(&sent), "99", "clock {clock}, marker {marker}");
            }
        }
    }

    #[test]
    fn packets_lost_around_the_seam_of_segments_do_not_double_the_press() {
        let sent = Phone::new(48_000).press(9, 200);
        // 68 packets are a segment here.
        for lost in 64..72 {
            for more in 0..4 {
                let kept: Vec<_> = sent
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| !(lost..=lost + more).contains(n))
                    .map(|(_, p)| *p)
                    .collect();
                assert_eq!(heard(&kept), "9", "lost {lost}..={}", lost + more);
            }
        }
    }

    #[test]
    fn a_press_whose_duration_stands_still_is_one_press() {
        let mut phone = Phone::new(48_000);
        let sent: Vec<_> = (1..300u32).map(|n| phone.packet(3, n == 1, false, 7, (n * 960).min(0xffff))).collect();
        assert_eq!(heard(&sent), "3");
    }

    #[test]
    fn a_running_timestamp_is_one_press() {
        let mut phone = Phone { marker: false, ..Phone::new(8_000) };
        let mut sent: Vec<_> = (1..6u32).map(|n| phone.packet(4, n == 1, false, n * 160, n * 160)).collect();
        sent.extend((6..9u32).map(|n| phone.packet(4, false, true, n * 160, 5 * 160)));
        assert_eq!(heard(&sent), "4");
    }

    #[test]
    fn presses_of_one_packet_each_are_told_by_their_time() {
        let mut phone = Phone { marker: false, ..Phone::new(8_000) };
        let sent: Vec<_> = (0..4u32).map(|n| phone.packet(7, false, false, n * 1_600, 160)).collect();
        assert_eq!(heard(&sent), "7777");
    }

    #[test]
    fn a_sender_whose_timestamp_never_moves_is_told_by_its_markers() {
        let mut phone = Phone::new(8_000);
        let mut sent = Vec::new();
        for _ in 0..3 {
            phone.timestamp = 1_000;
            sent.extend(phone.press(6, 3));
        }
        assert_eq!(heard(&sent), "666");
        // The first packet of the press again, behind its end: a duplicate, not a press.
        let mut late = Phone::new(8_000).press(6, 3);
        late.push(late[0]);
        assert_eq!(heard(&late), "6");
    }

    #[test]
    fn a_sender_that_takes_its_timestamps_up_again_is_told_by_its_markers() {
        let mut phone = Phone::new(8_000);
        let start = phone.timestamp;
        let mut sent = Vec::new();
        for codes in [[1, 11], [1, 11], [2, 11]] {
            phone.timestamp = start;
            sent.extend(codes.iter().flat_map(|code| phone.press(*code, 5)));
        }
        assert_eq!(heard(&sent), "1#1#2#");
    }

    #[test]
    fn what_is_no_key_is_no_digit() {
        let mut receiver = DtmfReceiver::default();
        for payload in [&[][..], &[1], &[1, 0, 0], &[16, 0, 0, 160], &[255, 255, 255, 255]] {
            assert_eq!(receiver.receive(8_000, true, 1, 1, payload), None, "{payload:?}");
        }
        assert!(receiver.receive(8_000, true, 2, 2, &[1, 10, 0, 160, 9, 9, 9]).is_some());
    }

    proptest! {
        #![proptest_config(crate::rtp::seeded())]

        #[test]
        fn any_packets_never_panic(
            all in proptest::collection::vec((any::<bool>(), any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..8)), 0..50)
        ) {
            let mut receiver = DtmfReceiver::default();
            for (marker, seq, timestamp, payload) in all {
                let _ = receiver.receive(8_000, marker, seq, timestamp, &payload);
            }
        }

        /// Loss of any packets, repeats of any packets: never more presses than were made, and none that was not.
        #[test]
        fn loss_and_repeats_invent_no_press(
            keys in proptest::collection::vec((0u8..16, 3u32..20), 1..6),
            fate in proptest::collection::vec(0usize..3, 200),
            clock in prop_oneof![Just(8_000u32), Just(48_000)],
            marker: bool,
        ) {
            let mut phone = Phone { marker, ..Phone::new(clock) };
            let mut sent = Vec::new();
            let mut expected = String::new();
            for (code, packets) in keys {
                let press = phone.press(code, packets);
                let fates = &fate[sent.len() % 100..];
                if press.iter().zip(fates).any(|(_, copies)| *copies > 0) {
                    expected.push(Digit::from_event(code).unwrap().as_char());
                }
                sent.extend(press.iter().zip(fates).flat_map(|(p, copies)| std::iter::repeat_n(*p, *copies)));
            }
            prop_assert_eq!(heard(&sent), expected);
        }
    }
}
