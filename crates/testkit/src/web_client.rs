//! A browser's end of a call, as far as media goes: str0m as a full ICE agent over one UDP socket on loopback, an Opus or
//! G.711 coder, and the video coders of the other peers. Runs on the caller's thread and in real time: [`run`] is its clock. The
//! server has the same stack behind it; [`crate::chromium`] is the other opinion.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec as Format;
pub use str0m::media::Direction;
use str0m::media::{Frequency, KeyframeRequestKind, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::g711;
use crate::picture::{Colour, Picture};
use crate::signal::Source;
use crate::tone;
use crate::video_codec::{Decoder, Encoder, EncoderSettings, VideoCodec};

const TICK: Duration = Duration::from_millis(20);
const FRAME: Duration = Duration::from_millis(66);
const RATE_HZ: u32 = 48_000;

/// What a client offers.
#[derive(Clone, Copy, Debug)]
pub struct WebOptions {
    /// The one audio codec that it has.
    pub audio: WebAudio,
    /// Its audio line's direction.
    pub audio_direction: Direction,
    /// The one video codec that it has, with the line's direction.
    pub video: Option<(VideoCodec, Direction)>,
    /// It offers to send audio levels (RFC 6464).
    pub levels: bool,
    /// Its video line comes first, and the audio line shares its transport or is nothing (RFC 9143, bundle-only).
    pub video_first: bool,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self {
            audio: WebAudio::Opus,
            audio_direction: Direction::SendRecv,
            video: None,
            levels: true,
            video_first: false,
        }
    }
}

/// An audio codec of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebAudio {
    /// 48 kHz.
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// One client.
pub struct WebClient {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    options: WebOptions,
    audio: Mid,
    video: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    offer: String,
    answer: String,
    encoder: opus::Encoder,
    decoder: opus::Decoder,
    source: Option<Source>,
    /// Sent in place of a source, again and again.
    packets: Option<Packets>,
    said: u64,
    ticks: u64,
    heard: VecDeque<i16>,
    colour: Option<Colour>,
    pictures: Option<(Encoder, Decoder)>,
    wants_keyframe: bool,
    seen: Option<Picture>,
    next_tick: Option<Instant>,
    next_frame: Option<Instant>,
    began: Option<Instant>,
    wake: Instant,
    /// What happened.
    pub log: WebLog,
}

/// Opus packets of 20 ms that were encoded before, each with its level in dB.
pub type Packets = Arc<Vec<(Vec<u8>, i8)>>;

/// What happened to a client.
#[derive(Clone, Debug, Default)]
pub struct WebLog {
    /// When DTLS was through.
    pub connected: Option<Instant>,
    /// When the first sound came.
    pub first_audio: Option<Instant>,
    /// Frames of sound and of pictures that came.
    pub audio_frames: u64,
    /// Whole pictures that were decoded.
    pub pictures: u64,
    /// Keyframes that the server asked for.
    pub keyframe_requests: u64,
    /// The session was closed by the server.
    pub closed: bool,
}

impl WebClient {
    /// Binds a socket on loopback. Panics when that fails: a test cannot go on.
    pub fn new(options: WebOptions) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind a client's socket");
        socket.set_nonblocking(true).expect("a socket that does not block");
        let local = socket.local_addr().expect("its address");
        let now = Instant::now();
        let mut config = RtcConfig::new().clear_codecs();
        config = match options.audio {
            WebAudio::Opus => config.enable_opus(true, false),
            WebAudio::Pcmu => config.enable_pcmu(true, false),
            WebAudio::Pcma => config.enable_pcma(true, false),
        };
        config = match options.video {
            Some((VideoCodec::H264, _)) => config.enable_h264(true),
            Some((VideoCodec::Vp8, _)) => config.enable_vp8(true),
            None => config,
        };
        if !options.levels {
            let mut map = str0m::rtp::ExtensionMap::standard();
            map = without_levels(&map);
            config = config.set_extension_map(map);
        }
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).expect("a candidate"));
        let mut changes = rtc.sdp_api();
        let mut add = |kind, way| changes.add_media(kind, way, None, None, None);
        let mut video = options.video.filter(|_| options.video_first).map(|(_, way)| add(MediaKind::Video, way));
        let audio = add(MediaKind::Audio, options.audio_direction);
        video = video.or_else(|| options.video.map(|(_, way)| add(MediaKind::Video, way)));
        let (offer, pending) = changes.apply().expect("an offer");
        let mut offer = offer.to_sdp_string();
        if options.video_first {
            offer = offer.replacen("m=audio 9 ", "m=audio 0 ", 1);
            let at = offer.find("m=audio").and_then(|at| Some(at + offer[at..].find("a=")?)).expect("an audio line");
            offer.insert_str(at, "a=bundle-only\r\n");
        }
        let pictures = options.video.map(|(codec, _)| {
            (
                Encoder::new(EncoderSettings { codec, framerate: 15, kbps: 300, max_nal_bytes: None }),
                Decoder::new(codec),
            )
        });
        Self {
            rtc,
            socket,
            local,
            options,
            audio,
            video,
            pending: Some(pending),
            offer,
            answer: String::new(),
            encoder: opus::Encoder::new(RATE_HZ, opus::Channels::Mono, opus::Application::Voip).expect("an encoder"),
            decoder: opus::Decoder::new(RATE_HZ, opus::Channels::Mono).expect("a decoder"),
            source: None,
            packets: None,
            said: 0,
            ticks: 0,
            heard: VecDeque::new(),
            colour: None,
            pictures,
            wants_keyframe: true,
            seen: None,
            next_tick: None,
            next_frame: None,
            began: None,
            wake: now,
            log: WebLog::default(),
        }
    }

    /// Its offer.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the server's answer.
    pub fn accept(&mut self, answer: &str) -> Result<(), String> {
        self.answer = answer.to_owned();
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|e| e.to_string())?;
        let pending = self.pending.take().ok_or("no offer is out")?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|e| e.to_string())?;
        self.began = Some(Instant::now());
        Ok(())
    }

    /// Goes on from another socket with new ICE credentials: the fragment for the server.
    pub fn restart(&mut self) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind a client's socket");
        socket.set_nonblocking(true).expect("a socket that does not block");
        self.socket = socket;
        self.local = self.socket.local_addr().expect("its address");
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(false);
        let (offer, pending) = changes.apply().expect("an offer");
        self.pending = Some(pending);
        fragment(&offer)
    }

    /// Takes the server's fragment: what it answered first, with what is new.
    pub fn accept_fragment(&mut self, fragment: &str) -> Result<(), String> {
        let of = |name: &str| fragment.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        let (ufrag, pwd) = (of("a=ice-ufrag:").ok_or("no ufrag")?, of("a=ice-pwd:").ok_or("no password")?);
        let lines: Vec<String> = self
            .answer
            .lines()
            .map(|line| match line {
                line if line.starts_with("a=ice-ufrag:") => ufrag.clone(),
                line if line.starts_with("a=ice-pwd:") => pwd.clone(),
                line => line.to_owned(),
            })
            .collect();
        self.accept(&(lines.join("\r\n") + "\r\n"))?;
        self.rtc.add_local_candidate(Candidate::host(self.local, Protocol::Udp).expect("a candidate"));
        Ok(())
    }

    /// Says this from now on; `None`: sends nothing.
    pub fn say(&mut self, source: Option<Source>) {
        self.source = source;
        self.said = 0;
    }

    /// Sends these packets from now on, from the first to the last and again, and decodes nothing that comes: for crowds.
    pub fn stream(&mut self, packets: Packets) {
        self.packets = Some(packets);
        self.source = None;
    }

    /// Shows this colour from now on.
    pub fn show(&mut self, colour: Option<Colour>) {
        self.colour = colour;
        self.wants_keyframe = true;
    }

    /// What was heard, 48 kHz mono, since the last `forget`.
    pub fn heard(&self) -> Vec<i16> {
        self.heard.iter().copied().collect()
    }

    /// Forgets what was heard.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    /// The last picture.
    pub fn seen(&self) -> Option<&Picture> {
        self.seen.as_ref()
    }

    /// Sends bytes from its socket, as they are.
    pub fn send_raw(&self, to: SocketAddr, bytes: &[u8]) {
        self.socket.send_to(bytes, to).expect("send");
    }

    /// Where it sends from.
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// Ends the session from its side.
    pub fn close(&mut self) {
        drop(self.rtc.close());
        self.step(Instant::now());
    }

    /// What is due now: input, time, output.
    pub fn step(&mut self, now: Instant) {
        let mut buffer = [0u8; 2048];
        while let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            let Ok(contents) = buffer[..len].try_into() else { continue };
            let receive = Receive { proto: Protocol::Udp, source: from, destination: self.local, contents };
            drop(self.rtc.handle_input(Input::Receive(now, receive)));
            self.drain();
        }
        if self.next_tick.is_some_and(|at| now >= at) {
            self.next_tick = self.next_tick.map(|at| at + TICK);
            self.speak(now);
        }
        if self.next_frame.is_some_and(|at| now >= at) {
            self.next_frame = self.next_frame.map(|at| at + FRAME);
            self.film(now);
        }
        if now >= self.wake {
            drop(self.rtc.handle_input(Input::Timeout(now)));
        }
        self.drain();
    }

    fn media_time(&self, now: Instant) -> MediaTime {
        let passed = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        MediaTime::from_micros(u64::try_from(passed.as_micros()).unwrap_or(0))
    }

    fn speak(&mut self, now: Instant) {
        let rate = if self.options.audio == WebAudio::Opus { RATE_HZ } else { 8_000 };
        let Some((payload, level)) = self.next_payload(rate) else { return };
        let rtp = MediaTime::new(self.ticks * u64::from(rate / 50), Frequency::new(rate).expect("a rate"));
        self.ticks += 1;
        let Some(writer) = self.rtc.writer(self.audio) else { return };
        let Some(pt) = writer.payload_params().next().map(|p| p.pt()) else { return };
        drop(writer.audio_level(level, level > -60).write(pt, now, rtp, payload));
    }

    fn next_payload(&mut self, rate: u32) -> Option<(Vec<u8>, i8)> {
        if let Some(packets) = &self.packets {
            let at = usize::try_from(self.ticks).unwrap_or(0).checked_rem(packets.len())?;
            return packets.get(at).cloned();
        }
        let mut pcm = vec![0; rate as usize / 50];
        (self.source.as_mut()?)(self.said, &mut pcm);
        self.said += u64::from(rate / 50);
        let payload = match self.options.audio {
            WebAudio::Opus => self.encoder.encode_vec(&pcm, 1_000).expect("encode"),
            WebAudio::Pcmu => pcm.iter().map(|s| g711::ulaw_encode(*s)).collect(),
            WebAudio::Pcma => pcm.iter().map(|s| g711::alaw_encode(*s)).collect(),
        };
        Some((payload, tone::rms_db(&pcm).clamp(-127.0, 0.0) as i8))
    }

    fn film(&mut self, now: Instant) {
        let (Some(colour), Some(mid), Some((encoder, _))) = (self.colour, self.video, &mut self.pictures) else {
            return;
        };
        let keyframe = std::mem::take(&mut self.wants_keyframe);
        let unit = encoder.encode(&Picture::solid(640, 360, colour), keyframe);
        let rtp = self.media_time(now).rebase(Frequency::NINETY_KHZ);
        let Some(writer) = self.rtc.writer(mid) else { return };
        let wanted = if self.options.video.is_some_and(|(codec, _)| codec == VideoCodec::H264) {
            Format::H264
        } else {
            Format::Vp8
        };
        let Some(pt) = writer.payload_params().find(|p| p.spec().codec == wanted).map(|p| p.pt()) else { return };
        drop(writer.write(pt, now, rtp, unit));
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.wake = at;
                    return;
                }
                Ok(Output::Transmit(out)) => drop(self.socket.send_to(&out.contents, out.destination)),
                Ok(Output::Event(event)) => self.note(event),
                Err(_) => {
                    self.log.closed = true;
                    return;
                }
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => {
                let now = Instant::now();
                self.log.connected.get_or_insert(now);
                self.next_tick.get_or_insert(now);
                self.next_frame.get_or_insert(now);
            }
            Event::Closed => self.log.closed = true,
            Event::KeyframeRequest(_) => {
                self.log.keyframe_requests += 1;
                self.wants_keyframe = true;
            }
            Event::MediaData(data) if Some(data.mid) == self.video => {
                let Some((_, decoder)) = &mut self.pictures else { return };
                match decoder.decode(&data.data) {
                    Ok(Some(picture)) => {
                        self.log.pictures += 1;
                        self.seen = Some(picture);
                    }
                    Ok(None) => {}
                    Err(_) => {
                        if let Some(mut writer) = self.rtc.writer(data.mid) {
                            drop(writer.request_keyframe(None, KeyframeRequestKind::Pli));
                        }
                    }
                }
            }
            Event::MediaData(data) => {
                self.log.first_audio.get_or_insert_with(Instant::now);
                self.log.audio_frames += 1;
                match self.options.audio {
                    _ if self.packets.is_some() => {}
                    WebAudio::Opus => {
                        let mut pcm = [0i16; 5760];
                        if let Ok(n) = self.decoder.decode(&data.data, &mut pcm, false) {
                            self.heard.extend(&pcm[..n]);
                        }
                    }
                    law => {
                        let decode = if law == WebAudio::Pcmu { g711::ulaw_decode } else { g711::alaw_decode };
                        self.heard.extend(data.data.iter().flat_map(|byte| [decode(*byte); 6]));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Lets time pass for all of them.
pub fn run(clients: &mut [&mut WebClient], length: Duration) {
    run_until(clients, length, |_| false);
}

/// Lets time pass for all of them until something holds; false when it did not in time.
pub fn run_until(clients: &mut [&mut WebClient], limit: Duration, holds: impl Fn(&[&mut WebClient]) -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        let now = Instant::now();
        for client in clients.iter_mut() {
            client.step(now);
        }
        if holds(clients) {
            return true;
        }
        if now >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn fragment(offer: &SdpOffer) -> String {
    let text = offer.to_sdp_string();
    let kept = text.lines().filter(|line| line.starts_with("a=ice-ufrag:") || line.starts_with("a=ice-pwd:"));
    let kept: Vec<&str> = kept.take(2).collect();
    kept.join("\r\n") + "\r\n"
}

fn without_levels(map: &str0m::rtp::ExtensionMap) -> str0m::rtp::ExtensionMap {
    let mut kept = str0m::rtp::ExtensionMap::empty();
    for (id, extension) in map.iter().filter(|(_, extension)| **extension != str0m::rtp::Extension::AudioLevel) {
        kept.set(id, extension.clone());
    }
    kept
}
