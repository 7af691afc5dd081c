//! A leg over plain RTP, negotiated by SIP: what arrives goes to playout, DTMF or RTCP; what the room says goes out with
//! continuous sequence numbers and timestamps. Sans-I/O, on the worker's thread.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::dtmf::{self, DtmfReceiver};
use super::inband::{EventGate, Keypad};
use super::playout::{Playout, Pulled};
use super::report::{Report, cname};
use super::send::{MAX_PACKET_BYTES, Sender};
use super::stated::StatedLevel;
use super::video::VideoLeg;
use super::{Channel, LegEvent, Medium, PortKey, Transmit};
use crate::audio::codec::g711::Law;
use crate::audio::codec::opus;
use crate::audio::frame::Frame;
use crate::error::Error;
use crate::rtp::packet::{Datagram, RtpPacket};
use crate::rtp::rtcp::{self, Compound, MAX_COMPOUND_BYTES};
use crate::rtp::source::SourceRule;
use crate::sdp::{self, Answer, Capabilities, CodecName, Direction, LocalMedia, LocalSecured, Offer, SessionTerms};
use crate::stats::LegStats;
use crate::units::{LegId, Ssrc, TICK};

/// Facts that may wait for the next tick. A flood of keys loses the rest.
const EVENTS: usize = 16;
/// Loss reported above this (2 %, in 1/256) asks for FEC; below it redundancy costs more than it saves.
const FEC_ON_FRACTION: u8 = 5;
/// This many clean reports in a row (about 15 s) end it.
const FEC_OFF_REPORTS: u8 = 3;
/// 20 ms of silence in G.711.
const G711_FRAME_BYTES: usize = 160;
const MU_SILENCE: [u8; G711_FRAME_BYTES] = [Law::Mu.silence(); G711_FRAME_BYTES];
const A_SILENCE: [u8; G711_FRAME_BYTES] = [Law::A.silence(); G711_FRAME_BYTES];

/// The random beginnings of a leg's streams (RFC 3550 §5.1) and session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    pub session_id: u64,
    pub ssrc: Ssrc,
    pub sequence: u16,
    pub timestamp: u32,
    /// Spreads the RTCP reports of many legs.
    pub phase: u32,
}

impl Seed {
    /// From the operating system's generator.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0u8; 22];
        getrandom::fill(&mut bytes).map_err(|e| Error::Broken(format!("no randomness: {e}")))?;
        let (a, rest) = bytes.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(2);
        let (d, e) = rest.split_at(4);
        let word = |b: &[u8]| b.iter().fold(0u64, |n, b| (n << 8) | u64::from(*b));
        Ok(Self {
            // RFC 8866 §5.2: a number; 62 bits stay positive everywhere.
            session_id: word(a) >> 2,
            ssrc: Ssrc(word(b) as u32),
            sequence: word(c) as u16,
            timestamp: word(d) as u32,
            phase: word(e) as u32,
        })
    }

    /// The same for every run, different for each `n`; for simulations.
    pub(crate) fn fixed(n: u64) -> Self {
        let n32 = (n as u32).wrapping_mul(2_654_435_761);
        Self { session_id: n, ssrc: Ssrc(n32 | 1), sequence: n32 as u16, timestamp: !n32, phase: n32.rotate_left(16) }
    }
}

/// The session's description on our side: what is ours, what was agreed, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(super) local: LocalMedia,
    capabilities: Capabilities,
    /// Our own offer is out.
    offered: bool,
}

impl Terms {
    pub(crate) fn new(local: LocalMedia, capabilities: Capabilities) -> Self {
        Self { local, capabilities, offered: false }
    }
    /// Answers an offer.
    pub(crate) fn answer(&mut self, offer: &Offer) -> Result<(SessionTerms, Answer), Error> {
        self.offered = false;
        self.local.session_version += 1;
        sdp::answer(offer, &self.local, &self.capabilities)
    }
    /// Makes an offer, within the session when there are `present` terms.
    pub(crate) fn offer(&mut self, present: Option<&SessionTerms>) -> String {
        self.local.session_version += 1;
        self.offered = true;
        match present {
            Some(present) => sdp::reoffer(&self.local, &self.capabilities, present),
            None => sdp::offer(&self.local, &self.capabilities),
        }
    }
    /// Takes the answer to it.
    pub(crate) fn accept(
        &mut self,
        answer: &Offer,
        present: Option<&SessionTerms>,
    ) -> Result<(SessionTerms, Answer), Error> {
        self.offered = false;
        sdp::accept(answer, &self.local, &self.capabilities, present)
    }
}

/// How long a leg waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegTimes {
    /// Hard ceiling of the playout delay.
    pub playout_ceiling: Duration,
    /// Without RTP for this long it ends.
    pub media_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct RtpLeg {
    id: LegId,
    port: PortKey,
    terms: Terms,
    agreed: SessionTerms,
    playout: Playout,
    source: SourceRule,
    sender: Sender,
    pace: Pace,
    dtmf: DtmfReceiver,
    event_gate: EventGate,
    /// Where the far end has no events for its keys.
    keypad: Option<Box<Keypad>>,
    events: VecDeque<LegEvent>,
    media_timeout: Duration,
    signalling: IpAddr,
    /// Source of the last accepted packet.
    heard: Option<Ssrc>,
    on_hold: bool,
    level: StatedLevel,
    counters: Counters,
    report: Report,
    redundancy: Redundancy,
    /// In a room with a picture.
    video: Option<Box<VideoLeg>>,
}

/// When the leg is sent to. Within a room that is every tick; from one room to another some time passes, and the ticks of
/// two workers lie anywhere.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    /// By so much the RTP timestamps are ahead of the time that passed, as another worker's tick came early.
    ahead: Duration,
    /// It comes from another room: the next tick is at any time.
    is_moved: bool,
}

impl Pace {
    /// A tick at `now`: how much time has to pass in the stream before it.
    fn tick(&mut self, now: Instant) -> Duration {
        let last = self.last.replace(now);
        if !std::mem::take(&mut self.is_moved) {
            return Duration::ZERO;
        }
        let passed = last.map_or(TICK, |last| now.saturating_duration_since(last));
        let due = TICK + std::mem::take(&mut self.ahead);
        self.ahead = due.saturating_sub(passed);
        passed.saturating_sub(due)
    }
}

#[derive(Debug, Default)]
struct Counters {
    packets: u64,
    bytes: u64,
    discarded: u64,
}

/// Whether the far end loses enough of our sound for redundancy to pay.
#[derive(Debug, Default)]
struct Redundancy {
    clean_reports: u8,
    is_wanted: bool,
}

impl RtpLeg {
    pub(crate) fn new(
        id: LegId,
        terms: Terms,
        agreed: SessionTerms,
        signalling: IpAddr,
        seed: Seed,
        times: LegTimes,
        video: Option<VideoLeg>,
    ) -> Self {
        let video = video.map(|mut video| {
            video.agree(None, agreed.video.clone());
            Box::new(video)
        });
        Self {
            video,
            id,
            port: PortKey(usize::MAX),
            playout: Playout::new(agreed.audio.codec, times.playout_ceiling),
            source: SourceRule::new(agreed.audio.remote_rtp, signalling),
            sender: Sender::new(
                agreed.audio.codec,
                agreed.audio.pt,
                agreed.audio.ptime_ms,
                seed.ssrc,
                seed.sequence,
                seed.timestamp,
            ),
            pace: Pace::default(),
            dtmf: DtmfReceiver::default(),
            event_gate: EventGate::OPEN,
            keypad: keypad_for(&agreed),
            events: VecDeque::with_capacity(EVENTS),
            media_timeout: times.media_timeout,
            signalling,
            heard: None,
            // An initial sendonly is a publisher, not a hold.
            on_hold: agreed.audio.direction == Direction::Inactive,
            level: StatedLevel::default(),
            counters: Counters::default(),
            report: Report::new(seed.phase),
            redundancy: Redundancy::default(),
            terms,
            agreed,
        }
    }
}

// -- input -------------------------------------------------------------------------------------------------------------
impl RtpLeg {
    pub(crate) fn handle_datagram(
        &mut self,
        arrived: Instant,
        from: SocketAddr,
        (medium, channel): (Medium, Channel),
        bytes: &[u8],
    ) {
        if medium == Medium::Video {
            if let Some(video) = &mut self.video {
                video.handle_datagram(arrived, from, channel, bytes);
            }
            return;
        }
        let mux = self.agreed.audio.rtcp_mux && Datagram::classify(bytes) == Datagram::Rtcp;
        if channel == Channel::Rtcp || mux {
            self.handle_rtcp(arrived, from, bytes);
        } else if !self.handle_rtp(arrived, from, bytes) {
            self.counters.discarded += 1;
        }
    }

    /// False when the packet is not ours to use.
    fn handle_rtp(&mut self, arrived: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let Some(packet) = RtpPacket::parse(bytes) else { return false };
        let pt = packet.payload_type;
        let key_clock_hz =
            self.agreed.audio.dtmf.iter().find_map(|(dtmf, clock_hz)| (*dtmf == pt).then_some(*clock_hz));
        let noise = self.agreed.audio.cn_pt == Some(pt);
        if pt != self.agreed.audio.pt && key_clock_hz.is_none() && !noise {
            return false;
        }
        if !self.source.accept(arrived, from) {
            return false;
        }
        self.counters.packets += 1;
        self.counters.bytes += packet.payload.len() as u64;
        if self.heard.replace(packet.ssrc).is_none() {
            self.tell(LegEvent::Up);
        }
        if let Some(clock_hz) = key_clock_hz {
            self.playout.note_foreign(packet.seq);
            if let Some(is_end) = dtmf::is_end(packet.payload) {
                self.event_gate.note(arrived, is_end, self.playout.delay());
            }
            if let Some(digit) =
                self.dtmf.receive(clock_hz, packet.marker, packet.seq, packet.timestamp, packet.payload)
            {
                self.tell(LegEvent::Dtmf(digit));
            }
            return true;
        }
        if noise {
            self.playout.insert_comfort_noise(arrived, packet.seq, packet.timestamp, packet.ssrc.0);
            return true;
        }
        let level = self.agreed.audio.level_extension.and_then(|id| packet.audio_level(id));
        self.level.note(arrived, level.map(|(_, level)| level));
        self.playout.insert(arrived, packet.seq, packet.timestamp, packet.ssrc.0, packet.marker, packet.payload);
        true
    }

    fn handle_rtcp(&mut self, arrived: Instant, from: SocketAddr, bytes: &[u8]) {
        let mut packets = rtcp::packets(bytes).peekable();
        if packets.peek().is_none() || !self.source.accept_rtcp(arrived, from) {
            self.counters.discarded += 1;
            return;
        }
        self.report.from = Some(from);
        let ours = self.sender.ssrc();
        for packet in packets {
            let blocks = match packet {
                rtcp::Packet::SenderReport { info, blocks, .. } => {
                    self.report.hear_sender(info.ntp, arrived);
                    blocks
                }
                rtcp::Packet::ReceiverReport { blocks, .. } => blocks,
                _ => continue,
            };
            for block in blocks.filter(|block| block.about == ours) {
                self.report.hear(&block, arrived);
                self.redundancy.hear(block.fraction_lost);
            }
        }
    }

    fn tell(&mut self, event: LegEvent) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }

    /// A new description within the session: an offer, or the answer to `reoffer`.
    pub(crate) fn renegotiate(&mut self, now: Instant, description: &Offer) -> Result<Answer, Error> {
        self.renegotiate_if(now, description, &|_| Ok(()))
    }

    /// The same, unless the new terms cannot be carried.
    pub(super) fn renegotiate_if(
        &mut self,
        now: Instant,
        description: &Offer,
        carried: &dyn Fn(&SessionTerms) -> Result<(), Error>,
    ) -> Result<Answer, Error> {
        let (agreed, answer) = if self.terms.offered {
            self.terms.accept(description, Some(&self.agreed))?
        } else {
            self.terms.answer(description)?
        };
        carried(&agreed)?;
        if agreed.audio.codec != self.agreed.audio.codec {
            self.playout.set_codec(agreed.audio.codec);
        }
        if agreed.audio.codec != self.agreed.audio.codec || agreed.audio.dtmf.is_empty() != self.keypad.is_some() {
            self.keypad = keypad_for(&agreed);
        }
        self.sender.renegotiated(agreed.audio.codec, agreed.audio.pt, agreed.audio.ptime_ms);
        self.source.renegotiated(now, agreed.audio.remote_rtp, self.signalling);
        self.on_hold = answer.on_hold;
        self.report.from = None;
        if let Some(video) = &mut self.video {
            video.agree(Some(now), agreed.video.clone());
        }
        self.agreed = agreed;
        Ok(answer)
    }

    /// The far end is there, as its connectivity checks say.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        self.source.keep_alive(now);
        if let Some(video) = &mut self.video {
            video.keep_alive(now);
        }
    }

    /// What the far end reported of our sound: the share that was lost in 1/256, the round trip.
    pub(super) fn hear_report(&mut self, lost: Option<u8>, rtt: Option<Duration>) {
        self.report.rtt = rtt.or(self.report.rtt);
        if let Some(lost) = lost {
            self.report.fraction_lost = lost;
            self.redundancy.hear(lost);
        }
    }

    pub(crate) fn reoffer(&mut self) -> String {
        self.terms.offer(Some(&self.agreed))
    }

    /// On its worker, from `now` on.
    pub(crate) fn place(&mut self, port: PortKey, video_port: Option<PortKey>, now: Instant) {
        self.port = port;
        self.pace.is_moved = self.pace.last.is_some();
        self.playout.relocate();
        if let (Some(video), Some(port)) = (&mut self.video, video_port) {
            video.place(port, now);
        }
        // The waits for media begin.
        self.source.send_to(now);
        self.report.begin(now);
    }
}

// -- tick --------------------------------------------------------------------------------------------------------------
impl RtpLeg {
    pub(crate) fn pull(&mut self, now: Instant, out: &mut Frame) -> Pulled {
        let pulled = self.playout.pull(now, out);
        let Some(keypad) = &mut self.keypad else {
            self.event_gate.pass(now, out);
            return pulled;
        };
        let (pulled, digit) = keypad.pass(out, pulled);
        if let Some(digit) = digit {
            self.tell(LegEvent::Dtmf(digit));
        }
        pulled
    }

    pub(crate) fn skip(&mut self, now: Instant) {
        self.playout.skip(now);
        if let Some(keypad) = &mut self.keypad {
            keypad.skip();
        }
    }

    pub(crate) fn skip_ticks(&mut self, skipped: u32) {
        // Before the first tick in another room it is the time that counts.
        if skipped > 0 && !self.pace.is_moved {
            self.sender.skip(skipped);
        }
    }

    /// One tick's payload; `None` sends nothing (DTX), but lets the tick pass in the stream.
    pub(crate) fn push(&mut self, now: Instant, payload: Option<&[u8]>, send: &mut dyn FnMut(Transmit<'_>)) {
        let mut packet = [0; MAX_PACKET_BYTES];
        let gap = self.pace.tick(now);
        if gap > Duration::ZERO {
            self.sender.pause(gap);
        }
        let Some(len) = self.sender.push(payload, &mut packet) else { return };
        if let (Some(to), Some(bytes)) = (self.source.send_to(now), packet.get(..len)) {
            send(Transmit { port: self.port, channel: Channel::Rtp, to, bytes });
        }
    }

    pub(crate) fn push_silence(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        let payload: &[u8] = match self.agreed.audio.codec {
            CodecName::Pcmu => &MU_SILENCE,
            CodecName::Pcma => &A_SILENCE,
            CodecName::Opus => &opus::SILENCE,
        };
        self.push(now, Some(payload), send);
    }
}

// -- output ------------------------------------------------------------------------------------------------------------
impl RtpLeg {
    pub(crate) fn poll_event(&mut self) -> Option<LegEvent> {
        self.events.pop_front()
    }

    /// Sends a report when one is due (RFC 3550 §6.4).
    pub(crate) fn poll_rtcp(&mut self, now: Instant, ntp: u64, send: &mut dyn FnMut(Transmit<'_>)) {
        if let Some(video) = &mut self.video {
            video.poll_rtcp(now, ntp, send);
        }
        if !self.report.is_due(now, ntp) {
            return;
        }
        let sender = self.report.sender(self.sender.packets(), self.sender.sender_info(ntp));
        let report = self.heard.map(|about| self.report.block(about, self.playout.report(), now));
        self.send_rtcp(now, Compound { ssrc: self.sender.ssrc(), sender, report, cname: "", bye: false }, send);
    }

    /// The last report, with a BYE (RFC 3550 §6.6).
    pub(crate) fn say_goodbye(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        let last = Compound { ssrc: self.sender.ssrc(), sender: None, report: None, cname: "", bye: true };
        self.send_rtcp(now, last, send);
        if let Some(video) = &mut self.video {
            video.say_goodbye(now, send);
        }
    }

    fn send_rtcp(&mut self, now: Instant, compound: Compound<'_>, send: &mut dyn FnMut(Transmit<'_>)) {
        // Nothing valid came for long: nothing goes out either, RTCP included.
        let Some(rtp) = self.source.send_to(now) else { return };
        let (to, channel) = if self.agreed.audio.rtcp_mux {
            (Some(rtp), Channel::Rtp)
        } else {
            (self.report.from.or(self.agreed.audio.remote_rtcp), Channel::Rtcp)
        };
        let name = cname(self.terms.local.session_id);
        let cname = std::str::from_utf8(&name).unwrap_or("");
        let mut packet = [0; MAX_COMPOUND_BYTES];
        let len = Compound { cname, ..compound }.write(&mut packet);
        if let (Some(to), Some(bytes)) = (to, len.and_then(|len| packet.get(..len))) {
            send(Transmit { port: self.port, channel, to, bytes });
        }
    }
}

// -- video -------------------------------------------------------------------------------------------------------------
impl RtpLeg {
    pub(crate) fn video(&self) -> Option<&VideoLeg> {
        self.video.as_deref()
    }
    pub(crate) fn video_mut(&mut self) -> Option<&mut VideoLeg> {
        self.video.as_deref_mut()
    }
}

// -- questions ---------------------------------------------------------------------------------------------------------
impl RtpLeg {
    /// What was agreed.
    pub(super) const fn agreed(&self) -> &SessionTerms {
        &self.agreed
    }
    /// Our end of ICE and DTLS, for a leg that has them around it.
    pub(super) fn local_secured(&self) -> Option<&LocalSecured> {
        self.terms.local.secured.as_deref()
    }
    pub(super) fn local_secured_mut(&mut self) -> Option<&mut LocalSecured> {
        self.terms.local.secured.as_deref_mut()
    }
    pub(crate) const fn id(&self) -> LegId {
        self.id
    }
    pub(crate) const fn port(&self) -> PortKey {
        self.port
    }
    pub(crate) const fn codec(&self) -> CodecName {
        self.agreed.audio.codec
    }
    pub(crate) const fn opus_max_bitrate(&self) -> Option<u32> {
        self.agreed.audio.opus_max_bitrate
    }
    pub(crate) const fn wants_fec(&self) -> bool {
        self.agreed.audio.opus_fec && self.redundancy.is_wanted
    }
    pub(crate) const fn wants_dtx(&self) -> bool {
        self.agreed.audio.opus_dtx
    }
    pub(crate) fn may_be_heard(&self) -> bool {
        !self.on_hold && self.agreed.audio.direction.receives()
    }
    pub(crate) fn sends(&self) -> bool {
        self.agreed.audio.direction.sends()
    }
    /// Its sound has to be heard by us, be it muted or not: keys may be in it.
    pub(crate) const fn has_keypad(&self) -> bool {
        self.keypad.is_some()
    }
    pub(crate) const fn has_sent(&self) -> bool {
        self.pace.last.is_some()
    }
    pub(crate) const fn on_hold(&self) -> bool {
        self.on_hold
    }
    pub(crate) fn announced_energy(&self, now: Instant) -> Option<f32> {
        self.level.energy(now)
    }
    pub(crate) fn timed_out(&mut self, now: Instant) -> bool {
        !self.on_hold && self.agreed.audio.direction.receives() && self.source.silent_for(now) > self.media_timeout
    }
    pub(crate) fn stats(&self) -> LegStats {
        let heard = self.playout.stats();
        LegStats {
            packets_received: self.counters.packets,
            bytes_received: self.counters.bytes,
            packets_sent: self.sender.packets(),
            bytes_sent: self.sender.octets(),
            packets_lost: heard.lost,
            packets_late: heard.late,
            packets_discarded: self.counters.discarded + heard.discarded,
            frames_concealed: heard.concealed,
            jitter: heard.jitter,
            rtt: self.report.rtt,
            playout_delay: heard.delay,
            remote_fraction_lost: self.report.fraction_lost,
        }
    }
}

/// A far end that did not agree on events for its keys sends them as tones.
fn keypad_for(agreed: &SessionTerms) -> Option<Box<Keypad>> {
    agreed.audio.dtmf.is_empty().then(|| Box::new(Keypad::new(agreed.audio.codec.sample_rate())))
}

impl Redundancy {
    /// The far end says what share of our packets it lost.
    fn hear(&mut self, fraction_lost: u8) {
        if fraction_lost >= FEC_ON_FRACTION {
            *self = Self { clean_reports: 0, is_wanted: true };
        } else if fraction_lost == 0 && self.is_wanted {
            self.clean_reports += 1;
            self.is_wanted = self.clean_reports < FEC_OFF_REPORTS;
        } else {
            self.clean_reports = 0;
        }
    }
}
