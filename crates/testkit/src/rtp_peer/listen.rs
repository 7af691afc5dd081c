//! The receiving half of a peer: packets to PCM on the sender's timeline, with arrival times.

use super::rtcp;
use crate::g711;
use crate::sdp::Codec;
use rtp::packet::Packet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use webrtc_util::marshal::Unmarshal;

/// Silence that a jump of the timestamp inserts is never longer than this; a longer jump starts a new stretch.
const MAX_FILL_S: u32 = 120;
/// How often a receiving thread looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// One audio packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Bytes of payload.
    pub payload_bytes: usize,
    /// Index of its first sample in `Heard::pcm`.
    pub first_sample: usize,
    /// Samples.
    pub samples: usize,
}

/// Everything heard since the peer began (or forgot).
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Sound on the sender's timeline: what never came is silence.
    pub pcm: Vec<i16>,
    /// Rate of `pcm`, 0 before the first packet.
    pub rate_hz: u32,
    /// Audio packets in order of arrival.
    pub arrivals: Vec<Arrival>,
    /// Packets missing by sequence number.
    pub sequence_gaps: u64,
    /// Packets with an older sequence number than one before.
    pub out_of_order: u64,
    /// The stream changed its SSRC.
    pub ssrc_changes: u64,
    /// Datagrams that were not RTP, had an unknown payload type or did not decode.
    pub malformed: u64,
    /// Keys received as telephone-events.
    pub digits: String,
}

impl Heard {
    /// The longest time between two packets.
    pub fn max_gap(&self) -> Option<Duration> {
        self.arrivals.windows(2).map(|w| w[1].at - w[0].at).max()
    }

    /// The sound that arrived between two instants.
    pub fn between(&self, from: Instant, to: Instant) -> &[i16] {
        let mut of = self.arrivals.iter().filter(|a| a.at >= from && a.at < to);
        let Some(first) = of.next() else { return &[] };
        let last = of.next_back().unwrap_or(first);
        self.pcm.get(first.first_sample..last.first_sample + last.samples).unwrap_or(&[])
    }

    /// When this sample reached the ear: its packet's arrival plus its place in the packet. `None` when it never came.
    pub fn heard_at(&self, sample: usize) -> Option<Instant> {
        let end = self.arrivals.partition_point(|a| a.first_sample <= sample);
        let packet = self.arrivals.get(end.checked_sub(1)?)?;
        let inside = sample - packet.first_sample;
        if inside >= packet.samples {
            return None;
        }
        Some(packet.at + Duration::from_secs_f64(inside as f64 / f64::from(self.rate_hz)))
    }
}

#[derive(Default)]
struct State {
    heard: Heard,
    decoder: Option<opus::Decoder>,
    ssrc: Option<u32>,
    /// Timestamp of sample 0 of `pcm` and the highest sequence number, of the present stretch.
    base: Option<(u32, usize)>,
    highest: Option<u16>,
    base_sequence: u16,
    cycles: u32,
    received: u64,
    event_timestamp: Option<u32>,
    reports: Vec<(Instant, Result<rtcp::Report, String>)>,
    last_sr: Option<(Instant, u32)>,
}

/// Shared by the receiving threads and the peer.
#[derive(Default)]
pub(super) struct Listener {
    state: Mutex<State>,
    more: Condvar,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn heard(&self) -> Heard {
        self.lock().heard.clone()
    }

    pub(super) fn forget(&self) {
        let mut state = self.lock();
        state.heard = Heard { digits: String::new(), ..Heard::default() };
        state.base = None;
    }

    pub(super) fn reports(&self) -> Vec<(Instant, Result<rtcp::Report, String>)> {
        self.lock().reports.clone()
    }

    pub(super) fn listen(&self, length: Duration) -> Result<Vec<i16>, String> {
        let deadline = Instant::now() + length + Duration::from_secs(2);
        let mut state = self.lock();
        let from = state.heard.pcm.len();
        loop {
            let rate = state.heard.rate_hz;
            let need = (length.as_secs_f64() * f64::from(rate)).round() as usize;
            if rate > 0 && state.heard.pcm.len() >= from + need {
                return Ok(state.heard.pcm[from..from + need].to_vec());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("heard {} of {need} samples in time", state.heard.pcm.len().saturating_sub(from)));
            }
            state = self.more.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// A report block on what was received, when anything was.
    pub(super) fn block(&self, now: Instant) -> Option<rtcp::ReportBlock> {
        let state = self.lock();
        let highest = state.cycles << 16 | u32::from(state.highest?);
        let expected = i64::from(highest) - i64::from(state.base_sequence) + 1;
        Some(rtcp::ReportBlock {
            ssrc: state.ssrc?,
            fraction_lost: 0,
            cumulative_lost: (expected - state.received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: highest,
            jitter: 0,
            last_sr: state.last_sr.map_or(0, |s| s.1),
            delay_since_last_sr: state.last_sr.map_or(0, |s| ((now - s.0).as_secs_f64() * 65_536.0) as u32),
        })
    }

    pub(super) fn run_rtp(&self, socket: &UdpSocket, stop: &AtomicBool) {
        receive(socket, stop, |at, bytes| {
            self.lock().take(at, bytes);
            self.more.notify_all();
        });
    }

    pub(super) fn run_rtcp(&self, socket: &UdpSocket, stop: &AtomicBool) {
        receive(socket, stop, |at, bytes| {
            let report = rtcp::parse(bytes);
            let mut state = self.lock();
            if let Ok(rtcp::Report { sender: Some(sender), .. }) = &report {
                state.last_sr = Some((at, (sender.ntp >> 16) as u32));
            }
            state.reports.push((at, report));
        });
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool, mut take: impl FnMut(Instant, &[u8])) {
    socket.set_read_timeout(Some(STOP_CHECK)).expect("a positive timeout");
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        // Timeouts, and ICMP errors of a far end that has gone, only mean to look again.
        if let Ok((len, _)) = socket.recv_from(&mut buffer) {
            take(Instant::now(), &buffer[..len]);
        }
    }
}

impl State {
    fn take(&mut self, at: Instant, mut bytes: &[u8]) {
        let Ok(packet) = Packet::unmarshal(&mut bytes) else {
            self.heard.malformed += 1;
            return;
        };
        self.follow(&packet);
        let pt = packet.header.payload_type;
        let Some(codec) = Codec::of_payload_type(pt) else {
            if (96..128).contains(&pt) && packet.payload.len() == 4 {
                self.take_event(&packet);
            } else {
                self.heard.malformed += 1;
            }
            return;
        };
        let Some(pcm) = self.decode(codec, &packet.payload) else {
            self.heard.malformed += 1;
            return;
        };
        self.place(at, codec.rate_hz(), &packet, &pcm);
    }

    /// Sequence numbers and SSRC.
    fn follow(&mut self, packet: &Packet) {
        let header = &packet.header;
        if self.ssrc != Some(header.ssrc) {
            self.heard.ssrc_changes += u64::from(self.ssrc.is_some());
            self.ssrc = Some(header.ssrc);
            self.highest = None;
            self.base = None;
            self.received = 0;
            self.cycles = 0;
            self.decoder = None;
        }
        self.received += 1;
        let Some(highest) = self.highest else {
            self.highest = Some(header.sequence_number);
            self.base_sequence = header.sequence_number;
            return;
        };
        let step = header.sequence_number.wrapping_sub(highest);
        if step == 0 || step >= 0x8000 {
            self.heard.out_of_order += 1;
            return;
        }
        self.heard.sequence_gaps += u64::from(step - 1);
        self.cycles += u32::from(header.sequence_number < highest);
        self.highest = Some(header.sequence_number);
    }

    fn take_event(&mut self, packet: &Packet) {
        if self.event_timestamp != Some(packet.header.timestamp) {
            self.event_timestamp = Some(packet.header.timestamp);
            let code = usize::from(packet.payload[0]);
            self.heard.digits.extend("0123456789*#ABCD".chars().nth(code));
        }
    }

    fn decode(&mut self, codec: Codec, payload: &[u8]) -> Option<Vec<i16>> {
        match codec {
            Codec::Pcmu => Some(payload.iter().map(|&b| g711::ulaw_decode(b)).collect()),
            Codec::Pcma => Some(payload.iter().map(|&b| g711::alaw_decode(b)).collect()),
            Codec::Opus => {
                if self.decoder.is_none() {
                    self.decoder = opus::Decoder::new(48_000, opus::Channels::Mono).ok();
                }
                let mut pcm = vec![0; 5_760];
                let len = self.decoder.as_mut()?.decode(payload, &mut pcm, false).ok()?;
                pcm.truncate(len);
                Some(pcm)
            }
        }
    }

    fn place(&mut self, at: Instant, rate_hz: u32, packet: &Packet, pcm: &[i16]) {
        if self.heard.rate_hz != rate_hz {
            self.heard.rate_hz = rate_hz;
            self.heard.pcm.clear();
            self.heard.arrivals.clear();
            self.base = None;
        }
        let timestamp = packet.header.timestamp;
        let end = self.heard.pcm.len();
        let (zero, offset) = *self.base.get_or_insert((timestamp, end));
        let distance = timestamp.wrapping_sub(zero) as i32;
        let at_sample = i64::from(distance) + offset as i64;
        if at_sample > end as i64 + i64::from(MAX_FILL_S * rate_hz) {
            self.base = Some((timestamp, end));
            return self.place(at, rate_hz, packet, pcm);
        }
        let Ok(first_sample) = usize::try_from(at_sample) else { return };
        let needed = (first_sample + pcm.len()).max(end);
        self.heard.pcm.resize(needed, 0);
        self.heard.pcm[first_sample..first_sample + pcm.len()].copy_from_slice(pcm);
        self.heard.arrivals.push(Arrival {
            at,
            sequence: packet.header.sequence_number,
            timestamp,
            marker: packet.header.marker,
            payload_type: packet.header.payload_type,
            payload_bytes: packet.payload.len(),
            first_sample,
            samples: pcm.len(),
        });
    }
}
