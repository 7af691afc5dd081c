//! The sending half of a peer: a source to packets at absolute deadlines, through a bad network.

use super::listen::Listener;
use super::{PeerConfig, Sent, ntp, rtcp};
use crate::dtmf::{self, EventPacket};
use crate::g711;
use crate::netem::{Impairment, Netem, Rng, drifted};
use crate::sdp::Codec;
use crate::signal::{self, Source};
use rtp::header::Header;
use rtp::packet::Packet;
use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use webrtc_util::marshal::Marshal;

const PACKET: Duration = Duration::from_millis(20);
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Silence between two keys, in packets.
const BETWEEN_KEYS: u64 = 5;

/// What the peer tells its speaking thread.
pub(super) enum Order {
    Start { codec: Codec, rtp: SocketAddr, rtcp: SocketAddr, dtmf: Option<(u8, u32)> },
    Say(Source),
    Press(char, dtmf::Style),
    Pause(bool),
    Stall(Duration),
    Impair(Impairment),
}

/// A key that is being pressed.
struct Press {
    packets: VecDeque<EventPacket>,
    begin: u64,
    timestamp: u32,
}

pub(super) struct Speaker {
    config: PeerConfig,
    rtp: Arc<UdpSocket>,
    rtcp: Arc<UdpSocket>,
    listener: Arc<Listener>,
    sent: Arc<Mutex<Sent>>,
    inbox: Receiver<Order>,
    net: Netem,
    source: Source,
    target: Option<(Codec, SocketAddr, SocketAddr)>,
    dtmf: Option<(u8, u32)>,
    encoder: Option<opus::Encoder>,
    start: Instant,
    /// Packets since the start; packet `n` is sent when its 20 ms are complete.
    n: u64,
    ssrc: u32,
    sequence: u16,
    first_timestamp: u32,
    paused: bool,
    keys: VecDeque<(char, dtmf::Style)>,
    press: Option<Press>,
    next_key: u64,
    next_report: Instant,
}

impl Speaker {
    pub(super) fn new(
        config: PeerConfig,
        rtp: Arc<UdpSocket>,
        rtcp: Arc<UdpSocket>,
        listener: Arc<Listener>,
        sent: Arc<Mutex<Sent>>,
        inbox: Receiver<Order>,
    ) -> Self {
        // Port and seed: two peers of one test must not share an SSRC.
        let port = rtp.local_addr().map_or(0, |a| u64::from(a.port()));
        let mut rng = Rng::new(config.seed << 16 | port);
        let net = Netem::new(config.seed, config.impairment.clone());
        let now = Instant::now();
        Self {
            config,
            rtp,
            rtcp,
            listener,
            sent,
            inbox,
            net,
            source: signal::silence(),
            target: None,
            dtmf: None,
            encoder: None,
            start: now,
            n: 0,
            ssrc: rng.next_u32(),
            sequence: rng.next_u32() as u16,
            first_timestamp: rng.next_u32(),
            paused: false,
            keys: VecDeque::new(),
            press: None,
            next_key: 0,
            next_report: now,
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            while let Ok(order) = self.inbox.try_recv() {
                self.obey(order, Instant::now());
            }
            let Some((codec, rtp, rtcp)) = self.target else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let due = drifted(self.start, PACKET, self.n + 1, self.config.drift_ppm);
            let now = Instant::now();
            if now >= due {
                self.packet(codec, due, now);
            }
            while let Some(datagram) = self.net.pop(now) {
                // A closed far end answers with ICMP; the next packets go on all the same.
                let _ = self.rtp.send_to(&datagram, rtp);
            }
            if now >= self.next_report {
                self.report(codec, rtcp, now);
            }
            let due = drifted(self.start, PACKET, self.n + 1, self.config.drift_ppm);
            let wake = self.net.next_due().map_or(due, |d| d.min(due));
            let left = wake.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                std::thread::sleep(left);
            }
        }
    }

    fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::Start { codec, rtp, rtcp, dtmf } => {
                if self.target.is_none() {
                    self.start = now;
                    let mut sent = self.sent.lock().unwrap_or_else(|e| e.into_inner());
                    sent.began = Some(now);
                    sent.first_timestamp = self.first_timestamp;
                    self.next_report = now + REPORT_EVERY / 2;
                }
                if self.target.is_none_or(|t| t.0 != codec) {
                    self.encoder = (codec == Codec::Opus).then(|| self.opus());
                }
                self.target = Some((codec, rtp, rtcp));
                self.dtmf = dtmf;
            }
            Order::Say(source) => self.source = source,
            Order::Press(digit, style) => self.keys.push_back((digit, style)),
            Order::Pause(paused) => self.paused = paused,
            Order::Stall(length) => self.net.stall(now, length),
            Order::Impair(impairment) => self.net.set(impairment),
        }
    }

    fn opus(&self) -> opus::Encoder {
        let wanted = self.config.opus;
        let mut encoder =
            opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).expect("an encoder");
        let set = [
            encoder.set_bitrate(opus::Bitrate::Bits(wanted.bitrate)),
            encoder.set_complexity(wanted.complexity),
            encoder.set_inband_fec(wanted.fec),
            encoder.set_packet_loss_perc(wanted.loss_percent),
            encoder.set_dtx(wanted.dtx),
        ];
        for result in set {
            result.expect("settings within their ranges");
        }
        encoder
    }

    /// Makes packet `n`, whose last sample was captured at `due`.
    fn packet(&mut self, codec: Codec, due: Instant, now: Instant) {
        let samples = (codec.rate_hz() / 50) as usize;
        let mut pcm = [0; 960];
        let pcm = &mut pcm[..samples];
        (self.source)(self.n * samples as u64, pcm);
        // The encoder sees every frame, as a phone's would while a key is pressed.
        let payload = self.encode(codec, pcm);
        let timestamp = self.first_timestamp.wrapping_add((self.n * samples as u64) as u32);
        let mut sent = *self.sent.lock().unwrap_or_else(|e| e.into_inner());
        sent.worst_lateness = sent.worst_lateness.max(now - due);
        if !self.paused {
            let events = self.events(timestamp);
            if events.is_empty()
                && let Some(payload) = payload
            {
                self.send(due, self.n == 0, codec.payload_type(), timestamp, &payload, &mut sent);
            }
            for (event, begin) in events {
                let pt = self.dtmf.map_or(101, |d| d.0);
                self.send(due, event.marker, pt, begin, &event.payload, &mut sent);
            }
        }
        sent.lost = self.net.lost();
        *self.sent.lock().unwrap_or_else(|e| e.into_inner()) = sent;
        self.n += 1;
    }

    /// `None` when the encoder says that nothing needs to be sent (DTX).
    fn encode(&mut self, codec: Codec, pcm: &[i16]) -> Option<Vec<u8>> {
        match codec {
            Codec::Pcmu => Some(pcm.iter().map(|&s| g711::ulaw_encode(s)).collect()),
            Codec::Pcma => Some(pcm.iter().map(|&s| g711::alaw_encode(s)).collect()),
            Codec::Opus => {
                let packet = self.encoder.as_mut()?.encode_vec(pcm, 1_275).expect("a whole frame is encoded");
                (packet.len() > 2 || !self.config.opus.dtx).then_some(packet)
            }
        }
    }

    /// Event packets of this 20 ms, with the timestamp of their event.
    fn events(&mut self, timestamp: u32) -> Vec<(EventPacket, u32)> {
        if self.press.is_none() && self.n >= self.next_key {
            let clock = self.dtmf.map_or(8_000, |d| d.1);
            self.press = self.keys.pop_front().map(|(digit, style)| Press {
                packets: dtmf::packets(digit, clock, style).into(),
                begin: self.n,
                timestamp,
            });
        }
        let Some(press) = &mut self.press else { return Vec::new() };
        let step = self.n - press.begin;
        let mut out = Vec::new();
        while press.packets.front().is_some_and(|p| u64::from(p.step) <= step) {
            out.extend(press.packets.pop_front().map(|p| (p, press.timestamp)));
        }
        if press.packets.is_empty() {
            self.press = None;
            self.next_key = self.n + BETWEEN_KEYS;
        }
        out
    }

    fn send(&mut self, due: Instant, marker: bool, pt: u8, timestamp: u32, payload: &[u8], sent: &mut Sent) {
        let header = Header {
            version: 2,
            marker,
            payload_type: pt,
            sequence_number: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        self.sequence = self.sequence.wrapping_add(1);
        sent.packets += 1;
        sent.octets += payload.len() as u64;
        let packet = Packet { header, payload: payload.to_vec().into() };
        self.net.push(due, &packet.marshal().expect("a whole packet"));
    }

    fn report(&mut self, codec: Codec, to: SocketAddr, now: Instant) {
        self.next_report = now + REPORT_EVERY;
        let sent = *self.sent.lock().unwrap_or_else(|e| e.into_inner());
        let since = now.saturating_duration_since(self.start).as_secs_f64();
        let info = rtcp::SenderInfo {
            ntp: ntp(now),
            rtp_timestamp: self.first_timestamp.wrapping_add((since * f64::from(codec.rate_hz())) as u32),
            packets: sent.packets as u32,
            octets: sent.octets as u32,
        };
        let mut block = self.listener.block(now);
        if let (Some(block), Some(claimed)) = (&mut block, self.config.claim_lost) {
            block.fraction_lost = claimed;
        }
        let _ = self.rtcp.send_to(&rtcp::build(self.ssrc, Some(info), block), to);
    }
}
