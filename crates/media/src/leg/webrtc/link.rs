//! str0m, as a leg uses it: set up from what was agreed, fed with datagrams and with the plain packets of the leg behind, and
//! drained of what it sends and knows. Runs on the worker's thread, but for its making.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::BweKind;
use str0m::config::{CryptoProvider, DtlsCert, Fingerprint};
use str0m::crypto::from_feature_flags;
use str0m::format::{Codec, FormatParams};
use str0m::ice::{IceCreds, StunMessage};
use str0m::media::{Frequency, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap, RtpPacket as Packet, RtpWrite, SeqNo};
use str0m::stats::MediaEgressStats;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::estimate::Estimate;
use super::{AUDIO, PortKey, RtpLeg, Transmit};
use crate::command::LegEnd;
use crate::error::Error;
use crate::leg::{Channel, Medium};
use crate::rtp::feedback::Message;
use crate::rtp::packet::{Datagram, HEADER_BYTES, RtpPacket, write_header};
use crate::rtp::rtcp;
use crate::sdp::secured::{self, Credentials, SecuredStream, WebProtocol};
use crate::sdp::{AudioTerms, CodecName, DECRYPTED_LEVEL_ID, FAR_END, SecuredTerms, SessionTerms, VideoTerms};
use crate::units::{Bitrate, Ssrc, TICK};
use crate::video::VideoCodec;

/// Loss and round trips are asked for so often.
const STATISTICS_EVERY: Duration = Duration::from_secs(2);
/// What a far end may send without naming its sources beforehand: more are taken for noise.
const MAX_UNNAMED_SOURCES: u8 = 4;
/// What may be sent again: a second and a half of a large picture.
const VIDEO_PACKETS_KEPT: usize = 512;
/// Larger datagrams were cut off by the socket.
const MAX_DATAGRAM_BYTES: usize = 2048;

/// The process's certificate (RFC 8827 §6.5 lets one serve all calls), and what encrypts.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: DtlsCert,
    crypto: Arc<CryptoProvider>,
    /// `a=fingerprint` as it is written.
    pub fingerprint: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new certificate.
    pub(crate) fn generate(now: Instant) -> Result<Self, Error> {
        let crypto = Arc::new(from_feature_flags());
        let certificate = crypto
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| Error::Broken("no certificate for DTLS can be made".to_owned()))?;
        let mut probe =
            RtcConfig::new().set_crypto_provider(Arc::clone(&crypto)).set_dtls_cert(certificate.clone()).build(now);
        let fingerprint = probe.direct_api().local_dtls_fingerprint().clone();
        let digest: Vec<String> = fingerprint.bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let fingerprint = format!("{} {}", fingerprint.hash_func, digest.join(":"));
        Ok(Self { certificate, crypto, fingerprint })
    }
}

/// A socket that many legs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedPort {
    pub key: PortKey,
    /// As the far end knows it.
    pub address: SocketAddr,
    pub protocol: WebProtocol,
}

/// str0m's word for it.
const fn proto(protocol: WebProtocol) -> Protocol {
    match protocol {
        WebProtocol::Udp => Protocol::Udp,
        WebProtocol::Tcp => Protocol::Tcp,
    }
}

/// A datagram that is not the leg's: no packet of any kind that belongs here, or a connectivity check that was not made with
/// its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strange;

/// What a datagram is that belongs to the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A connectivity check: the far end is there.
    Check,
    Media,
    /// RTCP or DTLS.
    Other,
}

/// How far str0m is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// It has nothing more.
    Empty,
    /// A media packet came out.
    Heard,
    /// So many media packets went out.
    Sent(u32),
}

/// One stream to the far end.
#[derive(Debug)]
struct Way {
    mid: Mid,
    /// Extended sequence number of the last packet (RFC 3711 §3.3.1).
    last: Option<u64>,
}

impl Way {
    fn new(stream: &SecuredStream) -> Self {
        Self { mid: stream.mid.as_str().into(), last: None }
    }

    /// The number in full. Packets go out nearly in order.
    fn extend(&mut self, seq: u16) -> u64 {
        let full = match self.last {
            None => u64::from(seq),
            Some(last) => {
                let step = i64::from(seq.wrapping_sub(last as u16) as i16);
                last.checked_add_signed(step).unwrap_or(u64::from(seq))
            }
        };
        self.last = Some(self.last.unwrap_or(0).max(full));
        full
    }
}

pub(super) struct Link {
    rtc: Box<Rtc>,
    ports: Vec<SharedPort>,
    remote: Credentials,
    audio: Way,
    video: Option<Way>,
    audio_pts: Vec<u8>,
    video_pts: Vec<u8>,
    unnamed: u8,
    /// Of the last media packet.
    last_source: Option<u32>,
    /// Why the session cannot begin.
    broken: Option<String>,
    /// DTLS is through. What is written before is not sent late.
    is_open: bool,
    /// Something that could be decrypted came since it was last asked for.
    has_media: bool,
    estimate: Estimate,
    /// Packets that were written since it was last given the time.
    written: u32,
    /// When str0m has something to do next, as of the last time that it was drained to the end.
    wake: Instant,
    packet: Box<[u8; MAX_DATAGRAM_BYTES]>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(
        leg: &RtpLeg,
        identity: &Identity,
        ports: Vec<SharedPort>,
        start: Instant,
    ) -> Result<Self, Error> {
        let bug = |what: &str| Error::Broken(format!("BUG: {what}"));
        let (agreed, local) = (leg.agreed(), leg.local_secured().ok_or_else(|| bug("a leg without ICE"))?);
        let terms = agreed.secured.as_deref().ok_or_else(|| bug("a session without ICE"))?;
        let video = agreed.video.as_ref().zip(terms.video.as_ref());
        let mut config = RtcConfig::new()
            .clear_codecs()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_crypto_provider(Arc::clone(&identity.crypto))
            .set_dtls_cert(identity.certificate.clone())
            .set_local_ice_credentials(creds(&local.credentials))
            .set_send_buffer_video(VIDEO_PACKETS_KEPT)
            .set_stats_interval(Some(STATISTICS_EVERY))
            .set_extension_map(extensions(terms));
        if let Some((video, _)) = video.filter(|(video, stream)| stream.transport_cc && video.direction.sends()) {
            // It begins with what the room has: who can take it is not kept waiting, who cannot shows within seconds.
            let room = leg.video().map_or(0, |video| video.room_bitrate().as_bps());
            let least = video.limits.max_bitrate.map_or(room, |most| most.as_bps().min(room));
            config = config.enable_bwe(Some(str0m::bwe::Bitrate::from(u64::from(least.max(64_000)))));
        }
        audio_codecs(&mut config, &agreed.audio);
        if let Some((video, stream)) = video {
            video_codec(&mut config, video, stream);
        }
        let mut rtc = Box::new(config.build(start));
        for port in &ports {
            let candidate = Candidate::host(port.address, proto(port.protocol))
                .map_err(|e| Error::Broken(format!("{} cannot be a candidate: {e}", port.address)))?;
            rtc.add_local_candidate(candidate);
        }
        let mut api = rtc.direct_api();
        api.set_ice_controlling(false);
        api.set_remote_ice_credentials(creds(&terms.remote));
        let (hash_func, bytes) = terms.fingerprint.clone();
        api.set_remote_fingerprint(Fingerprint { hash_func, bytes });
        let mut declare = |stream: &SecuredStream, kind, ours: u32, rtx: Option<u32>| {
            let way = Way::new(stream);
            api.declare_media(way.mid, kind);
            let rtx = rtx.filter(|_| stream.rtx_pt.is_some());
            api.declare_stream_tx(ours.into(), rtx.map(Into::into), way.mid, None);
            for (source, again) in &stream.sources {
                api.expect_stream_rx((*source).into(), again.map(Into::into), way.mid, None);
            }
            way
        };
        let audio = declare(&terms.audio, MediaKind::Audio, local.audio_ssrc, None);
        let video = video.map(|(_, stream)| declare(stream, MediaKind::Video, local.video_ssrc, Some(local.rtx_ssrc)));
        if terms.audio.transport_cc || terms.video.as_ref().is_some_and(|video| video.transport_cc) {
            api.enable_twcc_feedback();
        }
        api.start_dtls(terms.active).map_err(|e| Error::Broken(format!("DTLS does not start: {e}")))?;
        let mut audio_pts = vec![agreed.audio.pt];
        audio_pts.extend(agreed.audio.dtmf.iter().map(|(pt, _)| *pt).chain(agreed.audio.cn_pt));
        let rtx = terms.video.as_ref().and_then(|video| video.rtx_pt);
        let video_pts = agreed.video.iter().map(|video| video.pt).chain(rtx).collect();
        Ok(Self {
            rtc,
            ports,
            remote: terms.remote.clone(),
            audio,
            video,
            audio_pts,
            video_pts,
            unnamed: 0,
            last_source: None,
            broken: None,
            is_open: false,
            has_media: false,
            estimate: Estimate::default(),
            written: 0,
            wake: start,
            packet: Box::new([0; MAX_DATAGRAM_BYTES]),
        })
    }

    /// Whether what is agreed anew can go over this link: payload types and lines cannot change in it.
    pub(super) fn carries(&self, agreed: &SessionTerms) -> Result<(), Error> {
        let Some(terms) = agreed.secured.as_deref() else {
            return Err(Error::Peer("the session has to go on over ICE and DTLS".to_owned()));
        };
        let video = agreed.video.as_ref().zip(terms.video.as_ref());
        let same = |way: &Way, stream: &SecuredStream| way.mid == Mid::from(stream.mid.as_str());
        let is_same_audio = same(&self.audio, &terms.audio) && self.audio_pts.contains(&agreed.audio.pt);
        let is_same_video = video.is_none_or(|(video, stream)| {
            self.video.as_ref().is_some_and(|way| same(way, stream)) && self.video_pts.contains(&video.pt)
        });
        match is_same_audio && is_same_video {
            true => Ok(()),
            false => Err(Error::Peer("other formats or lines need a new call".to_owned())),
        }
    }

    /// After a renegotiation.
    pub(super) fn follow(&mut self, leg: &RtpLeg) {
        let terms = leg.agreed().secured.as_deref();
        if let Some((local, terms)) = leg.local_secured().zip(terms)
            && terms.remote != self.remote
        {
            let (local, remote) = (local.credentials.clone(), terms.remote.clone());
            self.restart(&local, remote);
        }
    }

    /// Whether the far end's name is still this.
    pub(super) fn is_remote(&self, ufrag: &str) -> bool {
        self.remote.ufrag == ufrag
    }

    /// New credentials on both sides. The address that is in use stays so until the far end nominates another.
    pub(super) fn restart(&mut self, local: &Credentials, remote: Credentials) {
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(creds(local));
        api.set_remote_ice_credentials(creds(&remote));
        self.remote = remote;
    }

    /// Closes the session; what that takes goes out with the next `advance`.
    pub(super) fn close(&mut self) {
        // What was written is dropped with it. Fails only for a handshake that has not begun.
        self.written = 0;
        let _not_open = self.rtc.close();
    }

    /// Media came since this was last asked.
    pub(super) fn take_media(&mut self) -> bool {
        std::mem::take(&mut self.has_media)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.wake
    }
}

// -- in ----------------------------------------------------------------------------------------------------------------
impl Link {
    /// How much later than it came str0m is told of media. At each input str0m looks at all of its timers, unless that is older
    /// than the last: with sound alone those can wait for the tick, and nothing but differences counts of when a packet came.
    fn told_late(&self) -> Duration {
        if self.video.is_none() { TICK } else { Duration::ZERO }
    }

    /// Takes a datagram; what comes of it is drained by `take`.
    pub(super) fn receive(
        &mut self,
        arrived: Instant,
        port: PortKey,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<Came, Strange> {
        let own = self.ports.iter().find(|own| own.key == port).ok_or(Strange)?;
        let contents = bytes.try_into().map_err(|_| Strange)?;
        let (came, told) = match (bytes.first(), Datagram::classify(bytes)) {
            (Some(0..=3), _) => (Came::Check, arrived),
            (_, Datagram::Rtp) => (Came::Media, arrived.checked_sub(self.told_late()).unwrap_or(arrived)),
            _ => (Came::Other, arrived),
        };
        let input = Input::Receive(
            told,
            Receive { proto: proto(own.protocol), source: from, destination: own.address, contents },
        );
        match came {
            Came::Check if !self.rtc.accepts(&input) => return Err(Strange),
            Came::Media => self.name_source(bytes),
            _ => {}
        }
        // Once it is through, what cannot be read is noise, or somebody's who would like to end it.
        if let Err(error) = self.rtc.handle_input(input)
            && !self.is_open
        {
            self.broken.get_or_insert_with(|| error.to_string());
        }
        Ok(came)
    }

    /// Media: a source that the description did not name belongs to the line that has its payload type.
    fn name_source(&mut self, bytes: &[u8]) {
        let [_, second, _, _, _, _, _, _, s0, s1, s2, s3, ..] = bytes else { return };
        if self.unnamed >= MAX_UNNAMED_SOURCES {
            return;
        }
        let (pt, ssrc) = (second & 0x7f, u32::from_be_bytes([*s0, *s1, *s2, *s3]));
        let audio = self.audio_pts.contains(&pt).then_some(self.audio.mid);
        let video = self.video.as_ref().filter(|_| self.video_pts.first() == Some(&pt)).map(|way| way.mid);
        let (Some(mid), false) = (audio.or(video), ssrc == 0) else { return };
        if self.last_source.replace(ssrc) == Some(ssrc) {
            return;
        }
        let mut api = self.rtc.direct_api();
        if api.stream_rx(&ssrc.into()).is_none() && api.stream_rx_by_mid(mid, None).is_none() {
            api.expect_stream_rx(ssrc.into(), None, mid, None);
            self.unnamed += 1;
        }
    }

    /// A media packet, decrypted: to the leg behind, as it would have come without encryption.
    fn unwrap(
        packet: &mut [u8; MAX_DATAGRAM_BYTES],
        medium: Medium,
        received: &Packet,
        arrived: Instant,
        leg: &mut RtpLeg,
    ) {
        let header = &received.header;
        let length = write_header(
            packet,
            header.marker,
            *header.payload_type,
            header.sequence_number,
            header.timestamp,
            Ssrc(*header.ssrc),
        );
        let mut at = length;
        if let (Medium::Audio, Some(level)) = (medium, header.ext_vals.audio_level) {
            // RFC 6464 §3, in the one-byte form (RFC 8285 §4.2), with padding to a whole word.
            let level =
                level.unsigned_abs().min(127) | if header.ext_vals.voice_activity == Some(true) { 0x80 } else { 0 };
            let element = [0xbe, 0xde, 0, 1, DECRYPTED_LEVEL_ID << 4, level, 0, 0];
            if let Some(place) = packet.get_mut(at..at + element.len()) {
                place.copy_from_slice(&element);
                at += element.len();
                packet[0] |= 0x10;
            }
        }
        let end = at + received.payload.len();
        let Some(place) = packet.get_mut(at..end) else { return };
        place.copy_from_slice(&received.payload);
        if let Some(bytes) = packet.get(..end) {
            leg.handle_datagram(arrived, FAR_END, (medium, Channel::Rtp), bytes);
        }
    }
}

// -- out ---------------------------------------------------------------------------------------------------------------
impl Link {
    /// A packet of the leg behind: sound, or RTCP of either stream. `now` is when it is to be heard.
    pub(super) fn write(&mut self, transmit: Transmit<'_>, now: Instant) {
        if Datagram::classify(transmit.bytes) == Datagram::Rtcp {
            self.ask(transmit.bytes);
        } else if transmit.port == AUDIO {
            self.send(false, transmit.bytes, |_| now);
        }
    }

    /// A packet of its picture, or RTCP. `clock` is the stream's timestamp now, by which a packet tells when it is due.
    pub(super) fn write_picture(&mut self, transmit: Transmit<'_>, now: Instant, clock: Option<u32>) {
        if Datagram::classify(transmit.bytes) == Datagram::Rtcp {
            return self.ask(transmit.bytes);
        }
        self.send(true, transmit.bytes, |timestamp| {
            let ago = clock.map_or(0, |clock| clock.wrapping_sub(timestamp));
            // What is far from now is not believed.
            let ago = Duration::from_micros(u64::from(ago) * 100 / 9);
            now.checked_sub(ago).filter(|_| ago < Duration::from_secs(5)).unwrap_or(now)
        });
    }

    fn send(&mut self, is_picture: bool, bytes: &[u8], due: impl Fn(u32) -> Instant) {
        let Some(packet) = RtpPacket::parse(bytes).filter(|_| self.is_open) else { return };
        let Some(way) = (if is_picture { self.video.as_mut() } else { Some(&mut self.audio) }) else { return };
        let seq = SeqNo::from(way.extend(packet.seq));
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(way.mid, None) else { return };
        let write =
            RtpWrite::new(packet.payload_type.into(), seq, packet.timestamp, due(packet.timestamp), packet.payload);
        stream.write_rtp(write.marker(packet.marker).nackable(is_picture));
        self.written += 1;
    }

    /// What the leg behind asks its far end for, in str0m's words. Reports are str0m's own.
    fn ask(&mut self, bytes: &[u8]) {
        let Some(mid) = self.video.as_ref().map(|way| way.mid) else { return };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_rx_by_mid(mid, None) else { return };
        for packet in rtcp::packets(bytes) {
            let rtcp::Packet::Feedback(asked) = packet else { continue };
            match asked.message {
                Message::PictureLoss => stream.request_keyframe(KeyframeRequestKind::Pli),
                Message::FullIntra(_) => stream.request_keyframe(KeyframeRequestKind::Fir),
                Message::Estimate { bitrate, .. } => stream.request_remb(u64::from(bitrate.as_bps()).into()),
                _ => {}
            }
        }
    }

    /// Gives str0m the time and drains it.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        leg: &mut RtpLeg,
        end: &mut Option<LegEnd>,
        send: &mut dyn FnMut(Transmit<'_>),
    ) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            end.get_or_insert_with(|| LegEnd::Broken(error.to_string()));
        }
        // str0m gives what it found out first, then what is not media, then media: after its last packet there is nothing.
        let until = if self.video.is_none() && self.written > 0 { Until::Sent(self.written) } else { Until::Empty };
        self.written = 0;
        self.drain(now, until, leg, end, send);
    }

    /// Takes what a datagram has brought. Sound alone has no more to it than the packet, and what else there is can wait for
    /// the tick.
    pub(super) fn take(
        &mut self,
        now: Instant,
        came: Came,
        leg: &mut RtpLeg,
        end: &mut Option<LegEnd>,
        send: &mut dyn FnMut(Transmit<'_>),
    ) {
        let until = if self.video.is_none() && came == Came::Media { Until::Heard } else { Until::Empty };
        self.drain(now, until, leg, end, send);
    }

    /// Takes what str0m has: datagrams go out, packets and facts go to the leg behind. Each look at it costs a walk through all
    /// of its parts, hence `until`.
    fn drain(
        &mut self,
        now: Instant,
        mut until: Until,
        leg: &mut RtpLeg,
        end: &mut Option<LegEnd>,
        send: &mut dyn FnMut(Transmit<'_>),
    ) {
        if let Some(why) = self.broken.take() {
            end.get_or_insert(LegEnd::Broken(why));
        }
        while until != Until::Sent(0) {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.wake = at;
                    break;
                }
                Ok(Output::Transmit(out)) => {
                    if let Until::Sent(left) = &mut until
                        && Datagram::classify(&out.contents) == Datagram::Rtp
                    {
                        *left -= 1;
                    }
                    if let Some(port) =
                        self.ports.iter().find(|p| p.address == out.source && proto(p.protocol) == out.proto)
                    {
                        send(Transmit {
                            port: port.key,
                            channel: Channel::Rtp,
                            to: out.destination,
                            bytes: &out.contents,
                        });
                    }
                }
                Ok(Output::Event(event)) => {
                    let is_media = matches!(event, Event::RtpPacket(_));
                    self.hear(event, leg, end);
                    if is_media && until == Until::Heard {
                        break;
                    }
                }
                Err(error) => {
                    end.get_or_insert_with(|| LegEnd::Broken(error.to_string()));
                    break;
                }
            }
        }
        if let Some(video) = leg.video_mut() {
            let room = f64::from(video.room_bitrate().as_bps());
            video.set_short(self.estimate.is_short(now, room));
        }
        if !self.rtc.is_alive() {
            end.get_or_insert(LegEnd::Closed);
        }
    }

    fn hear(&mut self, event: Event, leg: &mut RtpLeg, end: &mut Option<LegEnd>) {
        match event {
            Event::RtpPacket(packet) => {
                self.has_media = true;
                let pt = *packet.header.payload_type;
                let medium = if self.video_pts.first() == Some(&pt) { Medium::Video } else { Medium::Audio };
                let arrived = packet.timestamp + self.told_late();
                Self::unwrap(&mut self.packet, medium, &packet, arrived, leg);
            }
            Event::Connected => {
                self.is_open = true;
                if let Some(video) = leg.video_mut() {
                    video.refresh();
                }
                self.desire(leg);
            }
            Event::Closed => {
                end.get_or_insert(LegEnd::Closed);
            }
            Event::KeyframeRequest(_) => {
                if let Some(video) = leg.video_mut() {
                    video.refresh();
                }
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => self.estimate.hear(estimate.as_f64()),
            Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) => {
                let most = u32::try_from(estimate.as_u64()).unwrap_or(u32::MAX);
                if let Some(video) = leg.video_mut() {
                    video.hear_estimate(Bitrate::bps(most));
                }
            }
            Event::MediaEgressStats(stats) => self.report(&stats, leg),
            _ => {}
        }
    }

    /// The path is probed for what the room sends, and a little more, so that it shows when there is enough again.
    fn desire(&mut self, leg: &RtpLeg) {
        if let Some(video) = leg.video() {
            let room = u64::from(video.room_bitrate().as_bps());
            self.rtc.bwe().set_bitrate((room / 8).into(), (room + room / 4).into());
        }
    }

    fn report(&mut self, stats: &MediaEgressStats, leg: &mut RtpLeg) {
        let lost = stats.loss.map(|share| (share * 256.0).clamp(0.0, 255.0) as u8);
        if self.video.as_ref().is_some_and(|way| way.mid == stats.mid) {
            if let Some(video) = leg.video_mut() {
                video.hear_report(lost, stats.rtt);
            }
        } else {
            leg.hear_report(lost, stats.rtt);
        }
    }
}

/// The local name that a connectivity check is for; `None`: it is no such check.
pub(crate) fn check_for(bytes: &[u8]) -> Option<String> {
    if !matches!(bytes.first(), Some(0..=3)) {
        return None;
    }
    let message = StunMessage::parse(bytes).ok()?;
    message.split_username().map(|(ours, _)| ours.to_owned())
}

fn creds(of: &Credentials) -> IceCreds {
    IceCreds { ufrag: of.ufrag.clone(), pass: of.pwd.clone() }
}

fn extensions(terms: &SecuredTerms) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    let streams = std::iter::once(&terms.audio).chain(&terms.video);
    for (id, kind) in streams.flat_map(|stream| &stream.extensions) {
        map.set(
            *id,
            match kind {
                secured::Extension::Mid => Extension::RtpMid,
                secured::Extension::TransportSequence => Extension::TransportSequenceNumber,
                secured::Extension::SendTime => Extension::AbsoluteSendTime,
            },
        );
    }
    if let Some(id) = terms.level_id {
        map.set(id, Extension::AudioLevel);
    }
    map
}

fn audio_codecs(config: &mut RtcConfig, audio: &AudioTerms) {
    let (codec, clock, channels) = match audio.codec {
        CodecName::Opus => (Codec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2)),
        CodecName::Pcmu => (Codec::PCMU, Frequency::EIGHT_KHZ, None),
        CodecName::Pcma => (Codec::PCMA, Frequency::EIGHT_KHZ, None),
    };
    let codecs = config.codec_config();
    codecs.add_config(audio.pt.into(), None, codec, clock, channels, FormatParams::default());
    for (pt, clock_hz) in &audio.dtmf {
        let clock = if *clock_hz == 8_000 { Frequency::EIGHT_KHZ } else { Frequency::FORTY_EIGHT_KHZ };
        codecs.add_config((*pt).into(), None, Codec::Tele, clock, None, FormatParams::default());
    }
    if let Some(pt) = audio.cn_pt {
        codecs.add_config(pt.into(), None, Codec::CN, Frequency::EIGHT_KHZ, None, FormatParams::default());
    }
}

fn video_codec(config: &mut RtcConfig, video: &VideoTerms, stream: &SecuredStream) {
    let codec = match video.codec {
        VideoCodec::H264 => Codec::H264,
        VideoCodec::Vp8 => Codec::Vp8,
    };
    let again = stream.rtx_pt.map(Into::into);
    config.codec_config().add_config(
        video.pt.into(),
        again,
        codec,
        Frequency::NINETY_KHZ,
        None,
        FormatParams::default(),
    );
}

const _: () = assert!(HEADER_BYTES + 8 < MAX_DATAGRAM_BYTES);
