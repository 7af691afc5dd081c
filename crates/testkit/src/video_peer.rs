//! A phone's video: shows a scene as RTP at its framerate and keeps what it sees, with arrival times. One thread sends at
//! absolute deadlines, one receives RTP, one RTCP. Packets are read and written with the `rtp` crate, the codecs are
//! OpenH264 and libvpx, RTCP is this crate's own.

mod camera;
mod depacketize;
pub mod feedback;
mod screen;
mod seen;
mod socket;
#[cfg(test)]
mod tests;

pub use feedback::Feedback;
pub use screen::Receiving;
pub use seen::{Arrival, PictureSeen, Seen};

use crate::netem::{Impairment, Netem, Rng};
use crate::picture::{Colour, Picture};
use crate::rtp_peer::{bind_pair, rtcp, spawn};
use crate::scene::Scene;
use crate::sdp::{VideoDescribed, VideoFormat, VideoOffer};
use crate::wait;
use camera::{Camera, Order};
use screen::Screen;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a peer waits for what it should see.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a receiving thread looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// How often it looks for what time alone brings: packets under way, requests to repeat.
const TICK: Duration = Duration::from_millis(10);
/// A colour is looked for within so many pixels.
const RADIUS_PX: usize = 4;

/// How a peer behaves.
#[derive(Clone, Debug)]
pub struct VideoConfig {
    /// In order of preference.
    pub formats: Vec<VideoFormat>,
    /// Local address.
    pub ip: IpAddr,
    /// Of what it shows, in pixels.
    pub width: usize,
    /// Of what it shows, in pixels.
    pub height: usize,
    /// Pictures a second.
    pub framerate: u32,
    /// Target of its encoder.
    pub kbps: u32,
    /// Bytes of RTP payload at the most.
    pub max_payload: usize,
    /// The network from it to the server.
    pub impairment: Impairment,
    /// The network from the server to it.
    pub receive_impairment: Impairment,
    /// Seed of both networks and of the RTP start values.
    pub seed: u64,
    /// How it receives.
    pub receiving: Receiving,
}

impl VideoConfig {
    /// On 127.0.0.1, clean networks, 640×360 at 15 pictures a second and 500 kbit/s.
    pub fn new(formats: &[VideoFormat]) -> Self {
        Self {
            formats: formats.to_vec(),
            ip: Ipv4Addr::LOCALHOST.into(),
            width: 640,
            height: 360,
            framerate: 15,
            kbps: 500,
            max_payload: 1_200,
            impairment: Impairment::default(),
            receive_impairment: Impairment::default(),
            seed: 1,
            receiving: Receiving::default(),
        }
    }

    /// The same with another size.
    #[must_use]
    pub fn size(mut self, width: usize, height: usize) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// The same with another framerate.
    #[must_use]
    pub fn framerate(mut self, framerate: u32) -> Self {
        self.framerate = framerate;
        self
    }
}

/// Counters of what was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct VideoSent {
    /// Where timestamps begin; `None` before the peer began.
    pub began: Option<Instant>,
    /// Timestamp of that instant.
    pub first_timestamp: u32,
    /// Pictures sent.
    pub pictures: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Pictures that were not made because the machine was too slow.
    pub skipped: u64,
    /// Packets made (before the impaired network), each once.
    pub packets: u64,
    /// Payload bytes of these.
    pub octets: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Packets that the impaired network took, also of those sent again.
    pub lost: u64,
    /// Worst lateness of a picture against its deadline.
    pub worst_lateness: Duration,
}

/// What came as RTCP.
#[derive(Debug, Default)]
struct Received {
    reports: Vec<(Instant, Result<rtcp::Report, String>)>,
    feedback: Vec<(Instant, Feedback)>,
    /// The last FIR that was obeyed: a repeated one is not again (RFC 5104 §4.3.1.2).
    last_fir: Option<u8>,
}

/// The peer. Its threads end when it is dropped.
#[derive(Debug)]
pub struct VideoPeer {
    config: VideoConfig,
    shared: Arc<Shared>,
    orders: Sender<Order>,
    firs: AtomicU64,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Of the peer and its threads.
struct Shared {
    local: SocketAddr,
    ssrc: u32,
    rtp: Arc<UdpSocket>,
    rtcp: Arc<UdpSocket>,
    remote_rtcp: Mutex<Option<SocketAddr>>,
    screen: Arc<Mutex<Screen>>,
    sent: Arc<Mutex<VideoSent>>,
    received: Mutex<Received>,
    /// A new network from the server to it.
    new_network: Mutex<Option<Impairment>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.local)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|e| e.into_inner())
}

impl VideoPeer {
    /// Binds a port pair and looks; shows nothing yet.
    ///
    /// # Panics
    /// When the machine refuses sockets or threads.
    pub fn bind(config: VideoConfig) -> Self {
        let (rtp, rtcp) = bind_pair(config.ip);
        let local = rtp.local_addr().expect("a bound socket has an address");
        socket::prepare(&rtp);
        let (rtp, rtcp) = (Arc::new(rtp), Arc::new(rtcp));
        // Port and seed: two peers of one test must not share an SSRC.
        let ssrc = Rng::new(config.seed << 16 | u64::from(local.port())).next_u32();
        let shared = Arc::new(Shared {
            local,
            ssrc,
            rtp: rtp.clone(),
            rtcp: rtcp.clone(),
            remote_rtcp: Mutex::default(),
            screen: Arc::new(Mutex::new(Screen::new(config.receiving, config.formats.clone()))),
            sent: Arc::default(),
            received: Mutex::default(),
            new_network: Mutex::default(),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (orders, inbox) = channel();
        let (screen, sent) = (shared.screen.clone(), shared.sent.clone());
        let camera = Camera::new(config.clone(), ssrc, (rtp, rtcp), screen, sent, inbox);
        let network = Netem::new(config.seed ^ 0x5eed, config.receive_impairment.clone());
        let threads = vec![
            spawn("video-shows", {
                let stop = stop.clone();
                move || camera.run(&stop)
            }),
            spawn("video-sees", {
                let (shared, stop) = (shared.clone(), stop.clone());
                move || shared.run_rtp(network, &stop)
            }),
            spawn("video-rtcp", {
                let (shared, stop, orders) = (shared.clone(), stop.clone(), orders.clone());
                move || shared.run_rtcp(&orders, &stop)
            }),
        ];
        Self { config, shared, orders, firs: AtomicU64::new(0), stop, threads }
    }

    /// Where it receives RTP.
    pub fn address(&self) -> SocketAddr {
        self.shared.local
    }

    /// SSRC of what it sends.
    pub fn ssrc(&self) -> u32 {
        self.shared.ssrc
    }

    /// SSRC of what it sees, once it sees something.
    pub fn remote_ssrc(&self) -> Option<u32> {
        lock(&self.shared.screen).ssrc()
    }

    /// A video line with its formats and address.
    pub fn offer(&self) -> VideoOffer {
        VideoOffer::new(self.address(), &self.config.formats)
    }

    /// Takes the other side's video line, chooses its first format that is ours, and shows (black, or the scene that was
    /// given before) unless the other side does not want to see. A refused line ends the stream.
    ///
    /// # Errors
    /// When there is no common format.
    pub fn accept(&self, described: &VideoDescribed) -> Result<(), String> {
        if described.is_refused() {
            self.stop();
            return Ok(());
        }
        let is_ours = |f: &&VideoFormat| {
            let same = |own: &VideoFormat| own.codec == f.codec && own.packetization_mode() == f.packetization_mode();
            self.config.formats.iter().any(same)
        };
        let format = described.formats.iter().find(is_ours).cloned();
        let format = format.ok_or_else(|| format!("no common format in {:?}", described.formats))?;
        self.pause(!matches!(described.direction.as_str(), "sendrecv" | "recvonly"));
        self.start(format, described.rtp, described.rtcp);
        Ok(())
    }

    /// Begins to show to these addresses, or changes them.
    pub fn start(&self, format: VideoFormat, rtp: SocketAddr, rtcp: SocketAddr) {
        *lock(&self.shared.remote_rtcp) = Some(rtcp);
        let mut formats = self.config.formats.clone();
        // The other side may have numbered it otherwise.
        formats.retain(|f| f.payload_type != format.payload_type);
        formats.push(format.clone());
        lock(&self.shared.screen).set_formats(formats);
        self.order(Order::Start { format, rtp, rtcp });
    }

    /// Ends the stream: neither pictures nor reports. `start` or `accept` begin it again with the same SSRC.
    pub fn stop(&self) {
        *lock(&self.shared.remote_rtcp) = None;
        self.order(Order::Stop);
    }

    /// Shows this from the next picture on.
    pub fn show(&self, scene: Scene) {
        self.order(Order::Show(scene));
    }

    /// Shows this size from the next picture on, which is a keyframe.
    pub fn resize(&self, width: usize, height: usize) {
        self.order(Order::Size(width, height));
    }

    /// Sends no pictures (as on hold) or resumes with a keyframe; timestamps go on.
    pub fn pause(&self, paused: bool) {
        self.order(Order::Pause(paused));
    }

    /// Captures its pictures at whole periods from this instant on: for sync with sound.
    pub fn align(&self, anchor: Instant) {
        self.order(Order::Align(anchor));
    }

    /// Makes its next picture a keyframe.
    pub fn keyframe(&self) {
        self.order(Order::Keyframe);
    }

    /// Sends a keyframe whenever this counter grows.
    pub fn follow_requests(&self, requests: Arc<AtomicU64>) {
        self.order(Order::Follow(requests));
    }

    /// Nothing comes out for this long; then everything that was captured, at once.
    pub fn stall(&self, length: Duration) {
        self.order(Order::Stall(length));
    }

    /// Changes the network from it to the server.
    pub fn impair(&self, impairment: Impairment) {
        self.order(Order::Impair(impairment));
    }

    /// Changes the network from the server to it.
    pub fn impair_receiving(&self, impairment: Impairment) {
        *lock(&self.shared.new_network) = Some(impairment);
    }

    /// Sends any payload as the next packet of its stream.
    pub fn send_payload(&self, payload: &[u8], marker: bool) {
        self.order(Order::Payload(payload.to_vec(), marker));
    }

    /// Sends bytes as they are from its RTP port.
    pub fn send_raw(&self, to: SocketAddr, bytes: &[u8]) {
        // A full socket buffer loses the datagram, as a network would.
        let _ = self.shared.rtp.send_to(bytes, to);
    }

    /// Sends feedback now, in a compound packet.
    pub fn send_feedback(&self, feedback: &[Feedback]) {
        self.shared.send_feedback(feedback);
    }

    /// Sends bytes as they are from its RTCP port.
    pub fn send_raw_rtcp(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = self.shared.rtcp.send_to(bytes, to);
    }

    /// Asks for a keyframe by PLI.
    pub fn send_pli(&self) {
        self.send_feedback(&[Feedback::Pli { media: self.remote_ssrc().unwrap_or(0) }]);
    }

    /// Asks for a keyframe by FIR, each time with a new number.
    pub fn send_fir(&self) {
        let number = self.firs.fetch_add(1, Ordering::Relaxed) as u8;
        self.send_feedback(&[Feedback::Fir { media: self.remote_ssrc().unwrap_or(0), number }]);
    }

    /// Says by REMB how much it can get.
    pub fn send_remb(&self, bps: u64) {
        self.send_feedback(&[Feedback::Remb { bps, media: self.remote_ssrc().into_iter().collect() }]);
    }

    /// Asks by TMMBR for no more than this.
    pub fn send_tmmbr(&self, bps: u64) {
        self.send_feedback(&[Feedback::Tmmbr { media: self.remote_ssrc().unwrap_or(0), bps }]);
    }

    /// What it sent so far.
    pub fn sent(&self) -> VideoSent {
        *lock(&self.shared.sent)
    }

    /// A copy of everything it saw so far.
    pub fn seen(&self) -> Seen {
        lock(&self.shared.screen).seen.clone()
    }

    /// The latest picture it decoded.
    pub fn picture(&self) -> Option<Arc<Picture>> {
        lock(&self.shared.screen).latest.clone()
    }

    /// Forgets what it saw and received so far, also the latest picture; the stream goes on.
    pub fn forget(&self) {
        lock(&self.shared.screen).forget();
        let mut received = lock(&self.shared.received);
        received.reports.clear();
        received.feedback.clear();
    }

    /// RTCP reports received so far, with their arrival; malformed ones as errors.
    pub fn reports(&self) -> Vec<(Instant, Result<rtcp::Report, String>)> {
        lock(&self.shared.received).reports.clone()
    }

    /// Feedback received so far, with its arrival.
    pub fn feedback(&self) -> Vec<(Instant, Feedback)> {
        lock(&self.shared.received).feedback.clone()
    }

    /// PLIs received so far.
    pub fn plis(&self) -> usize {
        self.count(|f| matches!(f, Feedback::Pli { .. }))
    }

    /// FIRs received so far.
    pub fn firs(&self) -> usize {
        self.count(|f| matches!(f, Feedback::Fir { .. }))
    }

    /// NACKs received so far.
    pub fn nacks(&self) -> usize {
        self.count(|f| matches!(f, Feedback::Nack { .. }))
    }

    /// The latest limit by REMB or TMMBR in bit/s.
    pub fn limit_bps(&self) -> Option<u64> {
        lock(&self.shared.received).feedback.iter().rev().find_map(|(_, feedback)| match feedback {
            Feedback::Remb { bps, .. } | Feedback::Tmmbr { bps, .. } => Some(*bps),
            _ => None,
        })
    }

    fn count(&self, is_one: impl Fn(&Feedback) -> bool) -> usize {
        lock(&self.shared.received).feedback.iter().filter(|(_, f)| is_one(f)).count()
    }

    /// Waits until the colour is there in what it sees.
    ///
    /// # Panics
    /// With what it saw instead, after ten seconds.
    #[track_caller]
    pub fn wait_colour(&self, x: usize, y: usize, colour: Colour) {
        self.wait_colours(&[(x, y, colour)]);
    }

    /// Waits until one picture has all these colours at these places.
    ///
    /// # Panics
    /// With what it saw instead, after ten seconds.
    #[track_caller]
    pub fn wait_colours(&self, wanted: &[(usize, usize, Colour)]) {
        self.wait_picture(&format!("{wanted:?}"), |picture| {
            let is_wrong =
                |&&(x, y, colour): &&(usize, usize, Colour)| picture.colour_at(x, y, RADIUS_PX) != Some(colour);
            match wanted.iter().find(is_wrong) {
                None => Ok(()),
                Some(&(x, y, _)) => Err(format!("at {x}, {y}: YUV {:.0?}", picture.mean_at(x, y, RADIUS_PX))),
            }
        });
    }

    /// Waits until a picture of this size comes.
    ///
    /// # Panics
    /// With what it saw instead, after ten seconds.
    #[track_caller]
    pub fn wait_size(&self, width: usize, height: usize) {
        self.wait_picture(&format!("{width}x{height}"), |picture| match picture.size() == (width, height) {
            true => Ok(()),
            false => Err(format!("{:?}", picture.size())),
        });
    }

    /// Waits until the latest picture passes; gives it.
    ///
    /// # Panics
    /// With the last refusal and what it saw, after ten seconds.
    #[track_caller]
    pub fn wait_picture(&self, what: &str, check: impl Fn(&Picture) -> Result<(), String>) -> Arc<Picture> {
        wait::until(what, PATIENCE, || {
            let picture = self.picture().ok_or_else(|| format!("no picture; {}", self.seen().summary()))?;
            let described = |why| format!("{why}; last seen {picture:?}{}", self.seen().summary());
            check(&picture).map_err(described)?;
            Ok(picture.clone())
        })
    }

    /// Waits until what it saw passes; gives it.
    ///
    /// # Panics
    /// With the counts, after ten seconds.
    #[track_caller]
    pub fn wait_seen(&self, what: &str, check: impl Fn(&Seen) -> bool) -> Seen {
        wait::until(what, PATIENCE, || {
            let seen = self.seen();
            if check(&seen) { Ok(seen) } else { Err(seen.summary()) }
        })
    }

    /// Waits until it decoded so many pictures more.
    ///
    /// # Panics
    /// With the counts, after ten seconds.
    #[track_caller]
    pub fn wait_pictures(&self, more: usize) -> Seen {
        let wanted = self.seen().pictures.len() + more;
        self.wait_seen(&format!("{more} more pictures"), |seen| seen.pictures.len() >= wanted)
    }

    /// Waits until it saw a keyframe more than these, which [`Seen::keyframes`] said before it was asked for.
    ///
    /// # Panics
    /// With the counts, after ten seconds.
    #[track_caller]
    pub fn wait_keyframe(&self, more_than: u64) -> Seen {
        self.wait_seen("a keyframe", |seen| seen.keyframes > more_than)
    }

    /// Waits until it got feedback of this kind.
    ///
    /// # Panics
    /// With all feedback that it got, after ten seconds.
    #[track_caller]
    pub fn wait_feedback(&self, what: &str, is_it: impl Fn(&Feedback) -> bool) {
        wait::until(what, PATIENCE, || match self.count(&is_it) {
            0 => Err(format!("{:?}", self.feedback())),
            _ => Ok(()),
        });
    }

    fn order(&self, order: Order) {
        // The thread ends only with this peer.
        let _ = self.orders.send(order);
    }
}

impl Drop for VideoPeer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn send_feedback(&self, feedback: &[Feedback]) {
        let Some(to) = *lock(&self.remote_rtcp) else { return };
        // Without a report block: these cover the time between two regular reports.
        let mut bytes = rtcp::build(self.ssrc, None, None);
        bytes.extend(feedback.iter().flat_map(|f| f.to_bytes(self.ssrc)));
        // A full socket buffer loses the datagram, as a network would.
        let _ = self.rtcp.send_to(&bytes, to);
    }

    fn run_rtp(&self, mut network: Netem, stop: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        let mut is_waiting = false;
        while !stop.load(Ordering::Relaxed) {
            let due = network.next_due().map(|due| due.saturating_duration_since(Instant::now()));
            let timeout = if is_waiting { TICK } else { STOP_CHECK }.min(due.unwrap_or(STOP_CHECK));
            if let Some(changed) = lock(&self.new_network).take() {
                network.set(changed);
            }
            if let Some((at, len)) = socket::receive(&self.rtp, &mut buffer, timeout) {
                network.push(at, &buffer[..len]);
            }
            let mut screen = lock(&self.screen);
            loop {
                // With its own time, not that of being looked at.
                let at = network.next_due();
                let Some((at, datagram)) = at.zip(network.pop(Instant::now())) else { break };
                screen.take(at, &datagram);
            }
            let feedback = screen.tick(Instant::now());
            is_waiting = screen.is_waiting();
            drop(screen);
            if !feedback.is_empty() {
                self.send_feedback(&feedback);
            }
        }
    }

    fn run_rtcp(&self, orders: &Sender<Order>, stop: &AtomicBool) {
        self.rtcp.set_read_timeout(Some(STOP_CHECK)).expect("a positive timeout");
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            // Timeouts, and ICMP errors of a far end that has gone, only mean to look again.
            let Ok((len, _)) = self.rtcp.recv_from(&mut buffer) else { continue };
            let (at, bytes) = (Instant::now(), &buffer[..len]);
            let mut report = rtcp::parse(bytes);
            if let Ok(rtcp::Report { sender: Some(sender), .. }) = &report {
                lock(&self.screen).take_sender_report(at, sender);
            }
            let mut received = lock(&self.received);
            match Feedback::parse(bytes) {
                Ok(feedback) => {
                    for one in feedback {
                        if let Some(order) = self.obeyed(&one, &mut received) {
                            let _ = orders.send(order);
                        }
                        received.feedback.push((at, one));
                    }
                }
                Err(why) => report = report.and(Err(why)),
            }
            received.reports.push((at, report));
        }
    }

    /// What this feedback makes the camera do. Limits on the bitrate are only noted.
    fn obeyed(&self, feedback: &Feedback, received: &mut Received) -> Option<Order> {
        match feedback {
            Feedback::Pli { media } if *media == self.ssrc => Some(Order::Keyframe),
            Feedback::Fir { media, number } if *media == self.ssrc && received.last_fir != Some(*number) => {
                received.last_fir = Some(*number);
                Some(Order::Keyframe)
            }
            Feedback::Nack { media, missing } if *media == self.ssrc => Some(Order::Resend(missing.clone())),
            _ => None,
        }
    }
}
