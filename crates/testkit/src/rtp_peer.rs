//! A phone's media: sends a source as RTP every 20 ms and keeps what it hears, with arrival times. One thread sends at
//! absolute deadlines, one receives RTP, one RTCP. Packets are read and written with the `rtp` crate, the
//! codecs are this crate's own G.711 and libopus.

mod listen;
pub mod rtcp;
mod speak;

pub use listen::{Arrival, Heard};

use crate::dtmf;
use crate::netem::Impairment;
use crate::ports;
use crate::sdp::{Codec, Described, OfferSpec};
use crate::signal::{self, Source};
use listen::Listener;
use speak::{Order, Speaker};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// The Opus encoder of a peer.
#[derive(Clone, Copy, Debug)]
pub struct OpusSettings {
    /// bit/s.
    pub bitrate: i32,
    /// 0–10.
    pub complexity: i32,
    /// In-band FEC.
    pub fec: bool,
    /// Expected loss that the encoder protects against, percent.
    pub loss_percent: i32,
    /// Discontinuous transmission.
    pub dtx: bool,
}

/// How a peer behaves.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// In order of preference.
    pub codecs: Vec<Codec>,
    /// Local address.
    pub ip: IpAddr,
    /// Opus encoder.
    pub opus: OpusSettings,
    /// The network from it to the server.
    pub impairment: Impairment,
    /// Seed of that network and of the RTP start values.
    pub seed: u64,
    /// How much faster than true its clock is.
    pub drift_ppm: f64,
    /// Fraction lost that its reports claim, in 1/256, whatever it really received.
    pub claim_lost: Option<u8>,
}

impl PeerConfig {
    /// On 127.0.0.1, clean network, Opus at 32 kbit/s complexity 10 with FEC for no loss.
    pub fn new(codecs: &[Codec]) -> Self {
        Self {
            codecs: codecs.to_vec(),
            ip: Ipv4Addr::LOCALHOST.into(),
            opus: OpusSettings { bitrate: 32_000, complexity: 10, fec: true, loss_percent: 0, dtx: false },
            impairment: Impairment::default(),
            seed: 1,
            drift_ppm: 0.0,
            claim_lost: None,
        }
    }
}

/// Counters of what was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// When the first sample was captured; `None` before the peer began.
    pub began: Option<Instant>,
    /// Audio and event packets made (before the impaired network).
    pub packets: u64,
    /// Payload bytes made.
    pub octets: u64,
    /// Packets that the impaired network took.
    pub lost: u64,
    /// Timestamp of the first packet.
    pub first_timestamp: u32,
    /// Latest lateness of a packet against its deadline, and the worst: how far to trust a delay measurement.
    pub worst_lateness: Duration,
}

/// The peer. Its threads end when it is dropped.
#[derive(Debug)]
pub struct RtpPeer {
    config: PeerConfig,
    local: SocketAddr,
    orders: Sender<Order>,
    listener: Arc<Listener>,
    sent: Arc<Mutex<Sent>>,
    codec: Option<Codec>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    rtp: Arc<UdpSocket>,
}

impl RtpPeer {
    /// Binds a port pair and listens; says nothing yet.
    ///
    /// # Panics
    /// When the machine refuses sockets or threads.
    pub fn bind(config: PeerConfig) -> Self {
        let (rtp, rtcp) = bind_pair(config.ip);
        let local = rtp.local_addr().expect("a bound socket has an address");
        let (rtp, rtcp) = (Arc::new(rtp), Arc::new(rtcp));
        let stop = Arc::new(AtomicBool::new(false));
        let listener = Arc::new(Listener::default());
        let sent = Arc::new(Mutex::new(Sent::default()));
        let (orders, inbox) = channel();
        let speaker = Speaker::new(config.clone(), rtp.clone(), rtcp.clone(), listener.clone(), sent.clone(), inbox);
        let threads = vec![
            spawn("peer-speaks", {
                let stop = stop.clone();
                move || speaker.run(&stop)
            }),
            spawn("peer-hears", {
                let (l, s, r) = (listener.clone(), stop.clone(), rtp.clone());
                move || l.run_rtp(&r, &s)
            }),
            spawn("peer-rtcp", {
                let (l, s) = (listener.clone(), stop.clone());
                move || l.run_rtcp(&rtcp, &s)
            }),
        ];
        Self { config, local, orders, listener, sent, codec: None, stop, threads, rtp }
    }

    /// Where it receives RTP.
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// An offer with its codecs and address.
    pub fn offer(&self) -> OfferSpec {
        OfferSpec::new(self.local, &self.config.codecs)
    }

    /// Takes the other side's description, chooses its first codec that is ours, and begins to speak (silence, or the
    /// source that was given before).
    ///
    /// # Errors
    /// When the description is malformed, has none of our codecs, or has a video line, which was not offered.
    pub fn accept(&mut self, sdp: &str) -> Result<Described, String> {
        let described = Described::parse(sdp)?;
        if described.video.is_some() {
            return Err("a video line that was not offered".to_owned());
        }
        self.follow(described)
    }

    /// The same for one that was read already; its video line is not looked at.
    ///
    /// # Errors
    /// When it has none of our codecs.
    pub fn follow(&mut self, described: Described) -> Result<Described, String> {
        let codec = described.codec().filter(|c| self.config.codecs.contains(c));
        let codec = codec.ok_or_else(|| format!("no common codec in {:?}", described.payload_types))?;
        self.start(codec, described.rtp, described.rtcp, described.dtmf.first().copied());
        Ok(described)
    }

    /// Begins to speak to these addresses, or changes them.
    pub fn start(&mut self, codec: Codec, rtp: SocketAddr, rtcp: SocketAddr, dtmf: Option<(u8, u32)>) {
        self.codec = Some(codec);
        self.order(Order::Start { codec, rtp, rtcp, dtmf });
    }

    /// The codec it speaks.
    ///
    /// # Panics
    /// Before `accept` or `start`.
    pub fn codec(&self) -> Codec {
        self.codec.expect("the peer has begun")
    }

    /// Rate of what it says and hears, in Hz.
    pub fn rate_hz(&self) -> u32 {
        self.codec().rate_hz()
    }

    /// Says this from the next packet on.
    pub fn say(&self, source: Source) {
        self.order(Order::Say(source));
    }

    /// Says a tone.
    pub fn say_tone(&self, hz: f64, level_db: f64) {
        self.say(signal::tone(self.rate_hz(), hz, level_db));
    }

    /// Presses keys, one after the other with 100 ms between.
    pub fn press(&self, digits: &str, style: dtmf::Style) {
        for digit in digits.chars() {
            self.order(Order::Press(digit, style));
        }
    }

    /// Sends nothing (as on hold) or resumes; timestamps go on.
    pub fn pause(&self, paused: bool) {
        self.order(Order::Pause(paused));
    }

    /// Nothing comes out for this long; then everything that was captured, at once.
    pub fn stall(&self, length: Duration) {
        self.order(Order::Stall(length));
    }

    /// Changes the network from it to the server.
    pub fn impair(&self, impairment: Impairment) {
        self.order(Order::Impair(impairment));
    }

    /// Sends bytes as they are from its RTP port.
    pub fn send_raw(&self, to: SocketAddr, bytes: &[u8]) {
        // A full socket buffer loses the datagram, as a network would.
        let _ = self.rtp.send_to(bytes, to);
    }

    /// What it sent so far.
    pub fn sent(&self) -> Sent {
        *self.sent.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A copy of everything it heard so far.
    pub fn heard(&self) -> Heard {
        self.listener.heard()
    }

    /// Forgets what it heard so far; counters and arrivals begin anew, decoders go on.
    pub fn forget(&self) {
        self.listener.forget();
    }

    /// Waits for the next `ms` milliseconds of sound and gives exactly them.
    ///
    /// # Errors
    /// How much came when it takes more than two seconds longer than it should.
    pub fn listen(&self, ms: u64) -> Result<Vec<i16>, String> {
        self.listener.listen(Duration::from_millis(ms))
    }

    /// RTCP reports received so far, with their arrival; malformed ones as errors.
    pub fn reports(&self) -> Vec<(Instant, Result<rtcp::Report, String>)> {
        self.listener.reports()
    }

    fn order(&self, order: Order) {
        // The thread ends only with this peer.
        let _ = self.orders.send(order);
    }
}

impl Drop for RtpPeer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub(crate) fn bind_pair(ip: IpAddr) -> (UdpSocket, UdpSocket) {
    for _ in 0..50 {
        let port = ports::one();
        if let (Ok(rtp), Ok(rtcp)) = (UdpSocket::bind((ip, port)), UdpSocket::bind((ip, port + 1))) {
            return (rtp, rtcp);
        }
    }
    panic!("no port pair on {ip}");
}

/// NTP time of an instant (RFC 3550 §4), the same clock for all streams of this process: what ties sound to pictures.
pub(crate) fn ntp(at: Instant) -> u64 {
    static ORIGIN: OnceLock<(Instant, u64)> = OnceLock::new();
    let (origin, since_1900) = ORIGIN.get_or_init(|| {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), (since_1970.as_secs() + 2_208_988_800) << 32)
    });
    let fixed = |d: Duration| (d.as_secs() << 32) + (u64::from(d.subsec_nanos()) << 32) / 1_000_000_000;
    match at.checked_duration_since(*origin) {
        Some(after) => since_1900.wrapping_add(fixed(after)),
        None => since_1900.wrapping_sub(fixed(origin.saturating_duration_since(at))),
    }
}

pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone;

    /// Two peers wired to each other without a server.
    fn pair(a: PeerConfig, b: PeerConfig, codec: Codec) -> (RtpPeer, RtpPeer) {
        let (mut a, mut b) = (RtpPeer::bind(a), RtpPeer::bind(b));
        let rtcp = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
        let (at_a, at_b) = (a.address(), b.address());
        let clock = codec.rate_hz();
        a.start(codec, at_b, rtcp(at_b), Some((101, clock)));
        b.start(codec, at_a, rtcp(at_a), Some((101, clock)));
        (a, b)
    }

    #[test]
    fn tone_arrives_at_its_level_with_every_codec() {
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::Opus] {
            let config = PeerConfig::new(&[codec]);
            let (a, b) = pair(config.clone(), config, codec);
            a.say_tone(700.0, -20.0);
            b.listen(200).unwrap();
            let pcm = b.listen(400).unwrap();
            let db = tone::level(&pcm, codec.rate_hz(), 700.0);
            assert!((db + 20.0).abs() < 1.5, "{codec:?}: {db}");
            let heard = b.heard();
            assert_eq!(heard.sequence_gaps, 0);
            assert_eq!(heard.ssrc_changes, 0);
        }
    }

    #[test]
    fn key_press_replaces_audio_packets_and_is_collected() {
        let config = PeerConfig::new(&[Codec::Pcmu]);
        let (a, b) = pair(config.clone(), config, Codec::Pcmu);
        a.press("5#", dtmf::Style::NORMAL);
        crate::wait::until_true("two keys", Duration::from_secs(3), || b.heard().digits == "5#");
        // Audio goes on without a gap in the sequence numbers.
        b.listen(100).unwrap();
        assert_eq!(b.heard().sequence_gaps, 0);
    }

    #[test]
    fn stall_is_followed_by_its_backlog() {
        let config = PeerConfig::new(&[Codec::Pcmu]);
        let (a, b) = pair(config.clone(), config, Codec::Pcmu);
        b.listen(100).unwrap();
        a.stall(Duration::from_millis(400));
        b.listen(700).unwrap();
        let heard = b.heard();
        let gap = heard.max_gap().unwrap();
        assert!(gap >= Duration::from_millis(380), "{gap:?}");
        assert_eq!(heard.sequence_gaps, 0);
    }

    #[test]
    fn lossy_network_loses_and_reports_come() {
        let mut config = PeerConfig::new(&[Codec::Pcmu]);
        config.impairment.loss = 0.2;
        config.claim_lost = Some(51);
        let (a, b) = pair(config.clone(), PeerConfig::new(&[Codec::Pcmu]), Codec::Pcmu);
        b.listen(1_500).unwrap();
        assert!(b.heard().sequence_gaps > 3);
        assert!(a.sent().lost > 3);
        crate::wait::until_true("a report", Duration::from_secs(3), || {
            b.reports()
                .iter()
                .any(|(_, r)| r.as_ref().is_ok_and(|r| r.blocks.first().is_some_and(|x| x.fraction_lost == 51)))
        });
        assert!(b.reports().iter().all(|(_, r)| r.is_ok()));
    }
}
