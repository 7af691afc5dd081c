//! The sending half of a peer: a scene to packets at absolute deadlines, through a bad network, with what feedback asks
//! for. Runs on the peer's sending thread.

use super::screen::Screen;
use super::{VideoConfig, VideoSent};
use crate::netem::{Impairment, Netem, Rng};
use crate::picture::Colour;
use crate::rtp_peer::{ntp, rtcp};
use crate::scene::{self, Scene, Shot};
use crate::sdp::VideoFormat;
use crate::video_codec::{Encoder, EncoderSettings, VideoCodec, is_keyframe, nal_units};
use bytes::Bytes;
use rtp::codecs::h264::H264Payloader;
use rtp::codecs::vp8::Vp8Payloader;
use rtp::header::Header;
use rtp::packet::Packet;
use rtp::packetizer::Payloader;
use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use webrtc_util::marshal::Marshal;

const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often the thread looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(20);
/// Packets that can be sent again.
const HISTORY: usize = 1024;

/// What the peer tells its sending thread.
pub(super) enum Order {
    Start { format: VideoFormat, rtp: SocketAddr, rtcp: SocketAddr },
    Stop,
    Show(Scene),
    Pause(bool),
    Size(usize, usize),
    Align(Instant),
    Keyframe,
    Resend(Vec<u16>),
    Payload(Vec<u8>, bool),
    Stall(Duration),
    Impair(Impairment),
    Follow(Arc<AtomicU64>),
}

struct Target {
    format: VideoFormat,
    rtp: SocketAddr,
    rtcp: SocketAddr,
}

pub(super) struct Camera {
    config: VideoConfig,
    rtp: Arc<UdpSocket>,
    rtcp: Arc<UdpSocket>,
    screen: Arc<Mutex<Screen>>,
    sent: Arc<Mutex<VideoSent>>,
    inbox: Receiver<Order>,
    net: Netem,
    scene: Scene,
    target: Option<Target>,
    encoder: Option<Encoder>,
    vp8: Vp8Payloader,
    /// Picture `n` is captured `n` periods after it.
    start: Instant,
    n: u64,
    shots: u64,
    /// What timestamps count from.
    zero: Instant,
    ssrc: u32,
    sequence: u16,
    first_timestamp: u32,
    is_paused: bool,
    wants_keyframe: bool,
    history: VecDeque<(u16, Vec<u8>)>,
    next_report: Instant,
    /// Requests for a keyframe by signalling, and how many were followed.
    by_signalling: Option<(Arc<AtomicU64>, u64)>,
}

impl Camera {
    pub(super) fn new(
        config: VideoConfig,
        ssrc: u32,
        (rtp, rtcp): (Arc<UdpSocket>, Arc<UdpSocket>),
        screen: Arc<Mutex<Screen>>,
        sent: Arc<Mutex<VideoSent>>,
        inbox: Receiver<Order>,
    ) -> Self {
        let mut rng = Rng::new(config.seed << 32 | u64::from(ssrc));
        let net = Netem::new(config.seed, config.impairment.clone());
        let mut vp8 = Vp8Payloader::default();
        vp8.enable_picture_id = true;
        let now = Instant::now();
        Self {
            config,
            rtp,
            rtcp,
            screen,
            sent,
            inbox,
            net,
            scene: scene::solid(Colour::Black),
            target: None,
            encoder: None,
            vp8,
            start: now,
            n: 0,
            shots: 0,
            zero: now,
            ssrc,
            sequence: rng.next_u32() as u16,
            first_timestamp: rng.next_u32(),
            is_paused: false,
            wants_keyframe: false,
            history: VecDeque::new(),
            next_report: now,
            by_signalling: None,
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let wake = [self.due(), self.net.next_due()].into_iter().flatten().min();
            let left = wake.map_or(STOP_CHECK, |at| at.saturating_duration_since(now).min(STOP_CHECK));
            match self.inbox.recv_timeout(left) {
                Ok(order) => self.obey(order, Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                // The peer that gives orders is gone.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if let Some(due) = self.due().filter(|&due| now >= due) {
                self.picture(due, now);
            }
            if let Some(target) = &self.target {
                while let Some(datagram) = self.net.pop(now) {
                    // A closed far end answers with ICMP; the next packets go on all the same.
                    let _ = self.rtp.send_to(&datagram, target.rtp);
                }
                if now >= self.next_report {
                    self.report(now);
                }
            }
        }
    }

    fn period(&self) -> f64 {
        1.0 / f64::from(self.config.framerate)
    }

    /// When the next picture is captured.
    fn due(&self) -> Option<Instant> {
        self.target.as_ref().map(|_| self.start + Duration::from_secs_f64(self.n as f64 * self.period()))
    }

    fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::Start { format, rtp, rtcp } => {
                if self.target.is_none() {
                    (self.start, self.n) = (now, 0);
                    self.next_report = now;
                    let mut sent = self.sent.lock().unwrap_or_else(|e| e.into_inner());
                    if sent.began.is_none() {
                        sent.began = Some(now);
                        sent.first_timestamp = self.first_timestamp;
                        self.zero = now;
                    }
                }
                if self.target.as_ref().is_none_or(|t| t.format != format) {
                    self.encoder = None;
                }
                self.target = Some(Target { format, rtp, rtcp });
            }
            Order::Stop => self.target = None,
            Order::Show(scene) => self.scene = scene,
            Order::Pause(is_paused) => {
                // Who takes it up again shows a whole picture first.
                self.wants_keyframe |= self.is_paused && !is_paused;
                self.is_paused = is_paused;
            }
            Order::Size(width, height) => (self.config.width, self.config.height) = (width, height),
            Order::Align(anchor) => {
                // The first whole period after the anchor that is yet to come.
                let passed = now.saturating_duration_since(anchor).as_secs_f64() / self.period();
                (self.start, self.n) = (anchor, passed.ceil() as u64);
            }
            Order::Keyframe => self.wants_keyframe = true,
            Order::Resend(missing) => self.resend(&missing, now),
            Order::Payload(payload, marker) => {
                if let Some(payload_type) = self.target.as_ref().map(|t| t.format.payload_type) {
                    self.send(now, payload_type, marker, self.timestamp(now), payload.into());
                }
            }
            Order::Stall(length) => self.net.stall(now, length),
            Order::Impair(impairment) => self.net.set(impairment),
            Order::Follow(requests) => {
                let followed = requests.load(Ordering::Relaxed);
                self.by_signalling = Some((requests, followed));
            }
        }
    }

    fn timestamp(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.zero).as_secs_f64();
        self.first_timestamp.wrapping_add((since * 90_000.0).round() as u64 as u32)
    }

    /// Captures the picture that was due, encodes and sends it.
    fn picture(&mut self, due: Instant, now: Instant) {
        self.n += 1;
        // A camera does not make up for what it missed.
        let behind = (now.saturating_duration_since(due).as_secs_f64() / self.period()) as u64;
        self.n += behind;
        self.update(|sent| {
            sent.skipped += behind;
            sent.worst_lateness = sent.worst_lateness.max(now.saturating_duration_since(due));
        });
        let Some(target) = &self.target else { return };
        if self.is_paused {
            return;
        }
        if let Some((requests, followed)) = &mut self.by_signalling {
            let asked = requests.load(Ordering::Relaxed);
            self.wants_keyframe |= asked > *followed;
            *followed = asked;
        }
        let format = target.format.clone();
        let (width, height) = (self.config.width, self.config.height);
        let picture = (self.scene)(Shot { number: self.shots, captured: due, width, height });
        self.shots += 1;
        let max_payload = self.config.max_payload;
        let is_single = format.codec == VideoCodec::H264 && format.packetization_mode() == 0;
        let settings = EncoderSettings {
            codec: format.codec,
            framerate: self.config.framerate,
            kbps: self.config.kbps,
            max_nal_bytes: is_single.then_some(max_payload as u32),
        };
        let encoder = self.encoder.get_or_insert_with(|| Encoder::new(settings));
        let unit = encoder.encode(&picture, std::mem::take(&mut self.wants_keyframe));
        let keyframe = is_keyframe(format.codec, &unit);
        let payloads = match format.codec {
            // The crate's payloader puts SPS and PPS into a STAP-A, which mode 0 does not have.
            VideoCodec::H264 if is_single => nal_units(&unit).into_iter().map(Bytes::copy_from_slice).collect(),
            VideoCodec::H264 => H264Payloader::default().payload(max_payload, &unit.into()).expect("a whole unit"),
            VideoCodec::Vp8 => self.vp8.payload(max_payload, &unit.into()).expect("a whole unit"),
        };
        let timestamp = self.timestamp(due);
        let last = payloads.len().saturating_sub(1);
        // What the encoder took belongs to the way, not to the network.
        let now = Instant::now();
        for (k, payload) in payloads.into_iter().enumerate() {
            self.send(now, format.payload_type, k == last, timestamp, payload);
        }
        self.update(|sent| {
            sent.pictures += 1;
            sent.keyframes += u64::from(keyframe);
        });
    }

    fn send(&mut self, now: Instant, payload_type: u8, marker: bool, timestamp: u32, payload: Bytes) {
        let sequence_number = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let octets = payload.len() as u64;
        let (version, ssrc) = (2, self.ssrc);
        let header = Header { version, marker, payload_type, sequence_number, timestamp, ssrc, ..Header::default() };
        let datagram = Packet { header, payload }.marshal().expect("a whole packet").to_vec();
        self.net.push(now, &datagram);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((sequence_number, datagram));
        let lost = self.net.lost();
        self.update(|sent| {
            sent.packets += 1;
            sent.octets += octets;
            sent.lost = lost;
        });
    }

    fn resend(&mut self, missing: &[u16], now: Instant) {
        for &number in missing {
            if let Some((_, datagram)) = self.history.iter().rev().find(|(n, _)| *n == number) {
                self.net.push(now, datagram);
                let lost = self.net.lost();
                self.update(|sent| {
                    sent.resent += 1;
                    sent.lost = lost;
                });
            }
        }
    }

    fn update(&self, change: impl FnOnce(&mut VideoSent)) {
        change(&mut self.sent.lock().unwrap_or_else(|e| e.into_inner()));
    }

    /// SR while something is sent, otherwise RR.
    fn report(&mut self, now: Instant) {
        self.next_report = now + REPORT_EVERY;
        let Some(target) = &self.target else { return };
        let sent = *self.sent.lock().unwrap_or_else(|e| e.into_inner());
        let info = rtcp::SenderInfo {
            ntp: ntp(now),
            rtp_timestamp: self.timestamp(now),
            packets: sent.packets as u32,
            octets: sent.octets as u32,
        };
        let info = Some(info).filter(|_| sent.packets > 0 && !self.is_paused);
        let block = self.screen.lock().unwrap_or_else(|e| e.into_inner()).block(now);
        let _ = self.rtcp.send_to(&rtcp::build(self.ssrc, info, block), target.rtcp);
    }
}
