//! The video of a leg over plain RTP: what comes is put together and goes to the composer, what the room made goes out paced,
//! and RTCP asks and answers both ways (RFC 3550, 4585, 5104). Sans-I/O, on the worker's thread. It exists in every leg of a
//! room with a picture, agreed upon or not: streams keep their numbers when video is dropped and added again.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::report::{Report, cname};
use super::{Channel, PortKey, Seed, Transmit};
use crate::command::VideoSpec;
use crate::rtp::feedback::{Feedback, FullIntra, LastFullIntra, Limit, MAX_NACK_PAIRS, Message};
use crate::rtp::packet::{Datagram, RtpPacket};
use crate::rtp::rtcp::{self, Compound, MAX_COMPOUND_WITH_FEEDBACK_BYTES};
use crate::rtp::source::SourceRule;
use crate::sdp::VideoTerms;
use crate::stats::VideoStats;
use crate::units::{Bitrate, Ssrc};
use crate::video::VideoCodec;
use crate::video::access_unit::AccessUnit;
use crate::video::feed::Feed;
use crate::video::reception::Reception;
use crate::video::rendition::{Demand, Encoded, Rendition};
use crate::video::sending::Outgoing;

/// Large enough for a NAL unit that may not be cut (packetization mode 0); the encoder makes none above 1,200 bytes.
const MAX_DATAGRAM_BYTES: usize = 2048;
/// How often a sender is told what we want of it at the most.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Who says that its path carries less than this share of the room's bitrate gets the lower rendition …
const TOO_LITTLE: f64 = 0.85;
/// … and the room's again after it has said for so long that it carries it all.
const ENOUGH_FOR: Duration = Duration::from_secs(5);
/// Paced at twice the bitrate a keyframe, which is as large as ten pictures and more, is half a second on its way.
const KEYFRAME_TAKES: Duration = Duration::from_millis(500);
/// A leg whose path carries less than it is sent loses pictures again and again; everybody pays for its keyframes.
const WISH_EVERY: Duration = Duration::from_secs(2);
/// Packets of one poll: a poll that is late for long does not hold up the tick.
const MAX_PACKETS: usize = 512;

#[derive(Debug)]
pub(crate) struct VideoLeg {
    port: PortKey,
    session_id: u64,
    signalling: IpAddr,
    agreed: Option<VideoTerms>,
    spec: VideoSpec,
    source: SourceRule,
    reception: Reception,
    /// Source of the last accepted packet.
    heard: Option<Ssrc>,
    outgoing: Outgoing,
    /// What is sent now.
    rendition: Rendition,
    unit: AccessUnit,
    report: Report,
    asked: Asked,
    asking: Asking,
    discarded: u64,
    /// The instant of the room's media time zero.
    epoch: Option<Instant>,
    /// It is in another room than the one of that media time.
    is_moved: bool,
    /// When the last keyframe was made that it was given.
    keyframe_at: Option<Instant>,
}

/// What the far end asked for.
#[derive(Debug, Default)]
struct Asked {
    keyframe: bool,
    full_intra: LastFullIntra,
    tmmbr: Option<Bitrate>,
    remb: Option<Bitrate>,
    /// A TMMBR is to be answered, to whom.
    notice: Option<Ssrc>,
    /// Since when it has said that it takes all.
    enough_since: Option<Instant>,
    /// Gets the lower rendition for lack of bandwidth.
    limited: bool,
    /// The same, by our own estimate of the path.
    short: bool,
}

/// What we ask the far end for.
#[derive(Debug, Default)]
struct Asking {
    /// What the sender's picture is worth here.
    bitrate: Option<Bitrate>,
    told: Option<Instant>,
    full_intra: u8,
    /// When the room was last asked for a keyframe.
    wished: Option<Instant>,
    /// A keyframe was asked for that RTCP may not carry there.
    by_signalling: bool,
}

impl VideoLeg {
    /// `session_id` is the leg's: both of its streams have one name (RFC 3550 §6.5.1).
    pub(crate) fn new(seed: Seed, session_id: u64, spec: VideoSpec, signalling: IpAddr) -> Self {
        let codec = VideoCodec::H264;
        Self {
            port: PortKey(usize::MAX),
            session_id,
            signalling,
            agreed: None,
            spec,
            source: SourceRule::new(None, signalling),
            reception: Reception::new(codec),
            heard: None,
            outgoing: Outgoing::new(codec, 0, seed.ssrc, seed.sequence, seed.timestamp, 1, spec.bitrate),
            rendition: Rendition { codec, lower: false },
            unit: AccessUnit::empty(codec),
            report: Report::new(seed.phase),
            asked: Asked::default(),
            asking: Asking::default(),
            discarded: 0,
            epoch: None,
            is_moved: false,
            keyframe_at: None,
        }
    }

    /// On its worker, from `now` on.
    pub(crate) fn place(&mut self, port: PortKey, now: Instant) {
        self.port = port;
        self.is_moved = self.epoch.is_some();
        if self.is_moved {
            self.outgoing.restart();
            self.keyframe_at = None;
            self.asking.wished = None;
            self.asking.told = None;
        }
        self.source.send_to(now);
        self.report.begin(now);
    }

    /// What was negotiated; `None`: no video. `now` is missing before the leg is on its worker.
    pub(crate) fn agree(&mut self, now: Option<Instant>, agreed: Option<VideoTerms>) {
        let remote = agreed.as_ref().and_then(|terms| terms.remote_rtp);
        match now {
            Some(now) => self.source.renegotiated(now, remote, self.signalling),
            None => self.source = SourceRule::new(remote, self.signalling),
        }
        self.report.from = None;
        if let Some(terms) = &agreed {
            if terms.codec != self.reception.codec() {
                self.reception.reset(terms.codec);
                self.heard = None;
            }
            self.reception.set_nack(terms.feedback.nack);
            self.outgoing.renegotiated(terms.codec, terms.pt, terms.packetization_mode);
            let sent = |terms: &VideoTerms| !terms.on_hold();
            if !self.agreed.as_ref().is_some_and(sent) || !sent(terms) {
                self.outgoing.restart();
                self.asking.wished = None;
            }
        } else {
            self.outgoing.restart();
        }
        self.asked = Asked { full_intra: self.asked.full_intra, short: self.asked.short, ..Asked::default() };
        self.agreed = agreed;
        self.limit();
    }

    /// Another picture of the room.
    pub(crate) fn set(&mut self, spec: VideoSpec) {
        self.spec = spec;
        self.outgoing.set_bitrate(self.rendition.bitrate(spec.bitrate));
    }

    /// What the sender's picture is worth here: it is asked to send no more.
    pub(crate) fn want(&mut self, bitrate: Bitrate) {
        if self.asking.bitrate.replace(bitrate) != Some(bitrate) {
            self.asking.told = None;
        }
    }
}

// -- input -------------------------------------------------------------------------------------------------------------
impl VideoLeg {
    /// One datagram from the network. Anything may be in it.
    pub(crate) fn handle_datagram(&mut self, arrived: Instant, from: SocketAddr, channel: Channel, bytes: &[u8]) {
        let is_mux = self.agreed.as_ref().is_some_and(|terms| terms.rtcp_mux);
        let is_rtcp = channel == Channel::Rtcp || (is_mux && Datagram::classify(bytes) == Datagram::Rtcp);
        let taken =
            if is_rtcp { self.handle_rtcp(arrived, from, bytes) } else { self.handle_rtp(arrived, from, bytes) };
        self.discarded += u64::from(!taken);
    }

    fn handle_rtp(&mut self, arrived: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let Some(terms) = self.agreed.as_ref().filter(|terms| terms.direction.receives()) else { return false };
        let Some(packet) = RtpPacket::parse(bytes).filter(|packet| packet.payload_type == terms.pt) else {
            return false;
        };
        if !self.source.accept(arrived, from) {
            return false;
        }
        if self.heard.replace(packet.ssrc).is_some_and(|before| before != packet.ssrc) {
            self.reception.reset(terms.codec);
        }
        self.reception.accept(arrived, packet.seq, packet.timestamp, packet.marker, packet.payload);
        true
    }

    fn handle_rtcp(&mut self, arrived: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let mut packets = rtcp::packets(bytes).peekable();
        if self.agreed.is_none() || packets.peek().is_none() || !self.source.accept_rtcp(arrived, from) {
            return false;
        }
        self.report.from = Some(from);
        let ours = self.outgoing.ssrc();
        for packet in packets {
            let blocks = match packet {
                rtcp::Packet::SenderReport { info, blocks, .. } => {
                    self.report.hear_sender(info.ntp, arrived);
                    blocks
                }
                rtcp::Packet::ReceiverReport { blocks, .. } => blocks,
                rtcp::Packet::Feedback(received) => {
                    if let Some(limit) = received.limit(ours) {
                        self.hear_limit(&received.message, received.from, limit);
                    }
                    match received.message {
                        Message::Nack(missing) if received.about == ours => {
                            for seq in missing {
                                self.outgoing.nack(arrived, seq);
                            }
                        }
                        // Some name no source: whose picture it is, is clear.
                        Message::PictureLoss if received.about == ours || received.about == Ssrc(0) => {
                            self.asked.keyframe = true;
                        }
                        Message::FullIntra(entries) => {
                            for entry in entries.filter(|entry| entry.source == ours) {
                                self.asked.keyframe |=
                                    self.asked.full_intra.is_new(arrived, received.from, entry.command);
                            }
                        }
                        _ => {}
                    }
                    continue;
                }
                _ => continue,
            };
            for block in blocks.filter(|block| block.about == ours) {
                self.report.hear(&block, arrived);
                if let Some(rtt) = self.report.rtt {
                    self.outgoing.set_round_trip(rtt);
                }
            }
        }
        true
    }

    fn hear_limit(&mut self, message: &Message<'_>, from: Ssrc, limit: Bitrate) {
        match message {
            Message::MaxBitrate(_) => {
                self.asked.tmmbr = Some(limit);
                self.asked.notice = Some(from);
            }
            _ => self.asked.remb = Some(limit),
        }
        self.limit();
    }

    fn limit(&mut self) {
        self.outgoing.set_limit(self.lowest());
    }

    fn lowest(&self) -> Option<Bitrate> {
        let described = self.agreed.as_ref().and_then(|terms| terms.limits.max_bitrate);
        [described, self.asked.tmmbr, self.asked.remb].into_iter().flatten().min()
    }

    /// The far end asked by its signalling.
    pub(crate) fn refresh(&mut self) {
        self.asked.keyframe = true;
    }

    /// Our own estimate says that the path carries less than the room's bitrate, or enough again.
    pub(super) fn set_short(&mut self, short: bool) {
        self.asked.short = short;
    }

    /// The far end's estimate of what it can receive.
    pub(super) fn hear_estimate(&mut self, limit: Bitrate) {
        self.asked.remb = Some(limit);
        self.limit();
    }

    /// What the far end reported of our picture: the share that was lost in 1/256, the round trip.
    pub(super) fn hear_report(&mut self, lost: Option<u8>, rtt: Option<Duration>) {
        self.report.fraction_lost = lost.unwrap_or(self.report.fraction_lost);
        if let Some(rtt) = rtt {
            self.report.rtt = Some(rtt);
            self.outgoing.set_round_trip(rtt);
        }
    }

    /// The far end is there, by what another layer knows of it.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        self.source.keep_alive(now);
    }

    /// A picture that the room made.
    pub(crate) fn push(&mut self, encoded: &Encoded) {
        let Some(wanted) = self.wanted() else { return };
        let epoch = encoded.due.checked_sub(encoded.at);
        if let (true, Some(before), Some(after)) = (std::mem::take(&mut self.is_moved), self.epoch, epoch) {
            self.outgoing.rebase(before, after);
        }
        self.epoch = epoch;
        let is_begun = encoded.rendition == self.rendition;
        if encoded.rendition == wanted && !is_begun && encoded.unit.is_keyframe {
            self.rendition = wanted;
            self.outgoing.set_bitrate(wanted.bitrate(self.spec.bitrate));
        } else if !is_begun {
            return;
        }
        if encoded.unit.is_keyframe {
            self.keyframe_at = Some(encoded.due);
        }
        self.outgoing.push(&encoded.unit, encoded.at);
    }
}

// -- output ------------------------------------------------------------------------------------------------------------
impl VideoLeg {
    /// What is due: whole pictures to the composer, packets to the far end. Several times a tick.
    pub(crate) fn poll(&mut self, now: Instant, feed: &mut Feed, demand: &Demand, send: &mut dyn FnMut(Transmit<'_>)) {
        feed.set_sending(self.is_sending());
        if self.agreed.is_none() {
            return;
        }
        if feed.take_keyframe_wish() {
            self.reception.request_keyframe();
        }
        while let Some(received) = self.reception.take(now, &mut self.unit) {
            feed.push(&mut self.unit, received.arrived);
        }
        self.ask(now, feed, send);
        self.follow_limit(now);
        if let Some(wanted) = self.wanted() {
            let needs = self.outgoing.wants_keyframe() || wanted != self.rendition;
            let may_again = self.asking.wished.is_none_or(|at| now.saturating_duration_since(at) >= WISH_EVERY);
            // One that is on its way already answers who asks; who does not get it asks again.
            let is_coming = self.keyframe_at.is_some_and(|at| now.saturating_duration_since(at) < KEYFRAME_TAKES);
            if (std::mem::take(&mut self.asked.keyframe) && !is_coming) || (needs && may_again) {
                self.asking.wished = Some(now);
                demand.want_keyframe(wanted);
            }
        }
        let mut packet = [0; MAX_DATAGRAM_BYTES];
        let to = self.source.send_to(now);
        for _ in 0..MAX_PACKETS {
            let Some(len) = self.outgoing.poll(now, &mut packet) else { return };
            if let (Some(to), Some(bytes)) = (to, packet.get(..len)) {
                send(Transmit { port: self.port, channel: Channel::Rtp, to, bytes });
            }
        }
    }

    /// Asks for what is missing: packets, a keyframe, less.
    fn ask(&mut self, now: Instant, feed: &Feed, send: &mut dyn FnMut(Transmit<'_>)) {
        let (Some(about), Some(terms)) = (self.heard, &self.agreed) else { return };
        let listed = terms.feedback;
        let mut pairs = [(0, 0); MAX_NACK_PAIRS];
        let mut missing = 0;
        while let Some(pair) = pairs.get_mut(missing)
            && let Some(nack) = self.reception.poll_nack(now, self.report.rtt)
        {
            *pair = (nack.pid, nack.blp);
            missing += 1;
        }
        let mut feedback = [Feedback::PictureLoss { about }; 5];
        let mut parts = 0;
        let mut add = |part| {
            if let Some(place) = feedback.get_mut(parts) {
                *place = part;
                parts += 1;
            }
        };
        if missing > 0 {
            add(Feedback::Nack { about, pairs: pairs.get(..missing).unwrap_or(&[]) });
        }
        if feed.is_shown() && self.reception.wants_keyframe(now) {
            // Where nothing is listed both may be understood, and signalling is tried too.
            if listed.pli || !listed.fir {
                add(Feedback::PictureLoss { about });
            }
            if listed.fir || !listed.pli {
                self.asking.full_intra = self.asking.full_intra.wrapping_add(1);
                add(Feedback::FullIntra(FullIntra { source: about, command: self.asking.full_intra }));
            }
            self.asking.by_signalling |= !listed.pli && !listed.fir;
        }
        if let Some(asked_by) = self.asked.notice.take() {
            let bitrate = self.asked.tmmbr.map(|bitrate| Limit { source: asked_by, bitrate, overhead_bytes: 40 });
            add(Feedback::MaxBitrateNotice(bitrate));
        }
        let is_time = self.asking.told.is_none_or(|told| now.saturating_duration_since(told) >= ASK_EVERY);
        let sources = [about];
        if let Some(bitrate) = self.asking.bitrate.filter(|_| is_time && (listed.remb || listed.tmmbr)) {
            self.asking.told = Some(now);
            add(match listed.remb {
                true => Feedback::Estimate { bitrate, sources: &sources },
                false => Feedback::MaxBitrate(Limit { source: about, bitrate, overhead_bytes: 40 }),
            });
        }
        if parts > 0 {
            let block = self.report.block(about, self.reception.report(), now);
            let parts = feedback.get(..parts).unwrap_or(&[]);
            let compound =
                Compound { ssrc: self.outgoing.ssrc(), sender: None, report: Some(block), cname: "", bye: false };
            self.send_rtcp(now, compound, parts, send);
        }
    }

    /// Sends a report when one is due (RFC 3550 §6.4). Once a tick.
    pub(crate) fn poll_rtcp(&mut self, now: Instant, ntp: u64, send: &mut dyn FnMut(Transmit<'_>)) {
        if self.agreed.is_none() || !self.report.is_due(now, ntp) {
            return;
        }
        let at = self.epoch.map(|epoch| now.saturating_duration_since(epoch));
        let info = at.and_then(|at| self.outgoing.sender_info(at, ntp));
        let sender = self.report.sender(self.outgoing.counters().packets, info);
        let report = self.heard.map(|about| self.report.block(about, self.reception.report(), now));
        let compound = Compound { ssrc: self.outgoing.ssrc(), sender, report, cname: "", bye: false };
        self.send_rtcp(now, compound, &[], send);
    }

    /// The last report, with a BYE (RFC 3550 §6.6).
    pub(crate) fn say_goodbye(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        if self.agreed.is_some() {
            let last = Compound { ssrc: self.outgoing.ssrc(), sender: None, report: None, cname: "", bye: true };
            self.send_rtcp(now, last, &[], send);
        }
    }

    fn send_rtcp(
        &mut self,
        now: Instant,
        compound: Compound<'_>,
        feedback: &[Feedback<'_>],
        send: &mut dyn FnMut(Transmit<'_>),
    ) {
        // Nothing valid came for long: nothing goes out either, RTCP included.
        let (Some(rtp), Some(terms)) = (self.source.send_to(now), &self.agreed) else { return };
        let (to, channel) = match terms.rtcp_mux {
            true => (Some(rtp), Channel::Rtp),
            false => (self.report.from.or(terms.remote_rtcp), Channel::Rtcp),
        };
        // The same name as the audio's: that is how the far end knows what belongs together.
        let name = cname(self.session_id);
        let cname = std::str::from_utf8(&name).unwrap_or("");
        let mut packet = [0; MAX_COMPOUND_WITH_FEEDBACK_BYTES];
        let len = Compound { cname, ..compound }.write_with(feedback, &mut packet);
        if let (Some(to), Some(bytes)) = (to, len.and_then(|len| packet.get(..len))) {
            send(Transmit { port: self.port, channel, to, bytes });
        }
    }

    /// Whether less than the room's bitrate gets through.
    fn follow_limit(&mut self, now: Instant) {
        let room = f64::from(self.spec.bitrate.as_bps());
        let lowest = self.lowest().map(|limit| f64::from(limit.as_bps()));
        if lowest.is_some_and(|limit| limit < room * TOO_LITTLE) {
            self.asked.limited = true;
            self.asked.enough_since = None;
        } else if self.asked.limited && lowest.is_none_or(|limit| limit >= room) {
            let since = *self.asked.enough_since.get_or_insert(now);
            self.asked.limited = now.saturating_duration_since(since) < ENOUGH_FOR;
        } else {
            self.asked.enough_since = None;
        }
    }
}

// -- questions ---------------------------------------------------------------------------------------------------------
impl VideoLeg {
    /// Which encode of the room the far end is to be sent; `None` when it takes none.
    pub(crate) fn wanted(&self) -> Option<Rendition> {
        let terms = self.agreed.as_ref().filter(|terms| !terms.on_hold())?;
        let fits = terms.limits.takes(self.spec.resolution, self.spec.framerate);
        Some(Rendition { codec: terms.codec, lower: !fits || self.asked.limited || self.asked.short })
    }

    /// What the room's picture is encoded with.
    pub(super) const fn room_bitrate(&self) -> Bitrate {
        self.spec.bitrate
    }

    /// The timestamp of a picture that is shown now; `None` before the first.
    pub(super) fn timestamp_at(&self, now: Instant) -> Option<u32> {
        let at = now.saturating_duration_since(self.epoch?);
        self.outgoing.sender_info(at, 0).map(|info| info.rtp_timestamp)
    }

    /// Pictures can be expected of it.
    pub(crate) fn is_sending(&self) -> bool {
        self.agreed.as_ref().is_some_and(|terms| terms.direction.receives())
    }

    /// A keyframe is to be asked for by signalling, once.
    pub(crate) fn take_refresh_wish(&mut self) -> bool {
        std::mem::take(&mut self.asking.by_signalling)
    }

    pub(crate) const fn port(&self) -> PortKey {
        self.port
    }

    pub(crate) fn stats(&self) -> VideoStats {
        let (heard, sent) = (self.reception.stats(), self.outgoing.counters());
        VideoStats {
            packets_received: heard.packets,
            bytes_received: heard.bytes,
            packets_lost: heard.lost,
            packets_discarded: heard.discarded + self.discarded,
            frames_received: heard.frames,
            frames_dropped: heard.dropped_frames,
            keyframes_requested: heard.keyframe_requests,
            packets_sent: sent.packets,
            bytes_sent: sent.octets,
            packets_retransmitted: sent.retransmitted,
            rtt: self.report.rtt,
            remote_fraction_lost: self.report.fraction_lost,
        }
    }
}
