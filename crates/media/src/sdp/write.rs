//! Our descriptions as text. Every word of the far end that is repeated goes through the writer of `sdp-types`, which
//! lets no line break in. Runs on the caller's thread.

use sdp_types::{Attribute, Bandwidth, Connection, Media, Origin, Session, Time};

use super::agree::Choice;
use super::h264::ProfileLevel;
use super::parse::{AS_MARGIN_BPS, Encoding, FeedbackKind, LEVEL_URI};
use super::secured::{self, LocalSecured, SecuredStream, SecuredTerms};
use super::shape::{Shape, ShapeLine, Usage};
use super::video::{self, VideoChoice, VideoTerms};
use super::{AudioTerms, Capabilities, CodecName, Direction, LocalMedia, LocalVideo, SessionTerms, VideoCapabilities};
use crate::units::Bitrate;
use crate::video::VideoCodec;

/// Payload types of our own offers: the ones that most clients use themselves.
const OPUS_PT: u8 = 111;
const EVENT_8000_PT: u8 = 101;
const EVENT_48000_PT: u8 = 110;
const H264_PT: u8 = 97;
const H264_MODE_0_PT: u8 = 98;
const VP8_PT: u8 = 99;
/// Extension id of our own offers.
const LEVEL_ID: u8 = 1;
/// What we want of an Opus sender: FEC when it sees loss, and no packet shorter than our tick.
const OPUS_FMTP: &str = "useinbandfec=1;minptime=20";

/// The audio line of the answer that states `terms`.
pub(super) fn audio_answer(choice: &Choice<'_>, terms: &AudioTerms, local: &LocalMedia) -> Line {
    let mut audio = Line::audio(local.rtp_port, terms.direction, terms.ptime_ms);
    let opus_fmtp = if terms.opus_dtx { "useinbandfec=1;usedtx=1;minptime=20" } else { OPUS_FMTP };
    audio.codec(terms.codec, terms.pt, choice.format.channels, opus_fmtp);
    if let Some((pt, clock_hz)) = terms.dtmf.first() {
        let offered = choice.audio.formats.iter().find(|f| f.pt == *pt && f.encoding == Encoding::TelephoneEvent);
        // Flash (16) is heard and ignored: naming it keeps phones quiet that compare the ranges.
        let events = if offered.is_some_and(|f| f.fmtp == "0-16") { "0-16" } else { "0-15" };
        audio.event(*pt, *clock_hz, events);
    }
    if let Some(level) = choice.audio.level.filter(|_| terms.level_extension.is_some()) {
        // A direction is written only where one was: not every parser knows it.
        let way = if level.direction == Direction::SendOnly { "/recvonly" } else { "" };
        let vad = match level.vad {
            Some(true) => " vad=on",
            Some(false) => " vad=off",
            None => "",
        };
        audio.attribute("extmap", format!("{}{way} {LEVEL_URI}{vad}", level.id));
    }
    audio.rtcp(terms.rtcp_mux, local.rtp_port, local.rtcp_port);
    audio
}

/// The video line of the answer that states `terms`: one format.
pub(super) fn video_answer(
    choice: &VideoChoice<'_>,
    terms: &VideoTerms,
    ours: &VideoCapabilities,
    local: LocalVideo,
) -> Line {
    let mut line = Line::video(local.rtp_port);
    line.bandwidth(ours.bitrate);
    match terms.profile_level_id.map(ProfileLevel) {
        Some(level) => line.h264(terms.pt, level, terms.packetization_mode, choice.level_asymmetry()),
        None => line.vp8(terms.pt, ours),
    }
    line.sends = terms.direction.sends();
    line.rest.push(Attribute::new(terms.direction.attribute()));
    line.feedback(|kind| terms.feedback.has(kind));
    line.rtcp(terms.rtcp_mux, local.rtp_port, local.rtcp_port);
    line
}

/// Adds to the lines of an answer what they need over ICE and DTLS.
pub(super) fn secure(lines: &mut (Line, Option<Line>), agreed: &SecuredTerms, local: &LocalSecured, session_id: u64) {
    let cname = format!("{session_id:016x}");
    let secure = |line: &mut Line, stream: &SecuredStream, track: &str, ssrc: u32, rtx: Option<u32>| {
        line.rest.extend(secured::attributes(stream, local, agreed.active));
        if stream.transport_cc {
            line.attribute("rtcp-fb", "* transport-cc".to_owned());
        }
        if line.sends {
            line.rest.extend(secured::sources_of_ours(track, &cname, ssrc, rtx));
        }
    };
    secure(&mut lines.0, &agreed.audio, "audio", local.audio_ssrc, None);
    if let (Some(line), Some(stream)) = (&mut lines.1, &agreed.video) {
        // What is for older phones is left out: some WebRTC stacks read one such line and stumble over the second.
        line.bandwidths.retain(|bandwidth| bandwidth.bwtype == "TIAS");
        if let (Some(rtx), Some(pt)) = (stream.rtx_pt, line.formats.first().cloned()) {
            line.format(rtx, "rtx/90000", Some(&format!("apt={pt}")));
        }
        secure(line, stream, "video", local.video_ssrc, stream.rtx_pt.map(|_| local.rtx_ssrc));
    }
}

/// An offer of ours; `present` when the session has terms already.
pub(super) fn offer(local: &LocalMedia, capabilities: &Capabilities, present: Option<&SessionTerms>) -> String {
    let ours = capabilities.video(local);
    let shape = present.map(|p| p.shape.clone()).unwrap_or_default().offered(ours.is_some());
    let mut taken = Vec::new();
    let audio = audio_offer(local, &capabilities.audio, present.map(|p| &p.audio), &mut taken);
    // Types of the two lines differ, though RFC 3264 does not ask for it: some phones look them up in one table.
    if let Some(audio) = present.map(|p| &p.audio) {
        taken.push(audio.pt);
        taken.extend(audio.dtmf.iter().map(|(pt, _)| *pt));
    }
    taken.extend(shape.payload_types(Usage::Video));
    let present = present.and_then(|p| p.video.as_ref());
    let video = ours.map(|(ours, ports)| video_offer(ours, ports, present, &mut taken));
    describe((audio, video), &shape, local)
}

fn audio_offer(local: &LocalMedia, codecs: &[CodecName], present: Option<&AudioTerms>, taken: &mut Vec<u8>) -> Line {
    let mut audio = Line::audio(local.rtp_port, Direction::SendRecv, present.map_or(20, |p| p.ptime_ms));
    // The codec in use leads, so that a refresh changes nothing.
    let in_use = present.map(|p| p.codec).filter(|codec| codecs.contains(codec));
    for codec in in_use.iter().chain(codecs.iter().filter(|codec| Some(**codec) != in_use)) {
        let known = present.filter(|p| p.codec == *codec).map(|p| p.pt);
        let pt = known.unwrap_or_else(|| free(codec_pt(*codec), taken, present));
        taken.push(pt);
        let channels = (*codec == CodecName::Opus).then_some(2);
        audio.codec(*codec, pt, channels, OPUS_FMTP);
    }
    let mut clocks: Vec<u32> = codecs.iter().map(|codec| codec.clock_hz()).collect();
    clocks.sort_unstable();
    clocks.dedup();
    for clock_hz in clocks {
        let known = present.and_then(|p| p.dtmf.iter().find(|(_, hz)| *hz == clock_hz)).map(|(pt, _)| *pt);
        let wanted = if clock_hz == 8_000 { EVENT_8000_PT } else { EVENT_48000_PT };
        let pt = known.unwrap_or_else(|| free(wanted, taken, present));
        taken.push(pt);
        audio.event(pt, clock_hz, "0-15");
    }
    audio.attribute("extmap", format!("{} {LEVEL_URI} vad=on", level_id(present)));
    audio.rtcp(present.is_some_and(|p| p.rtcp_mux), local.rtp_port, local.rtcp_port);
    audio
}

/// RTP/AVP with `a=rtcp-fb`, unless the far end wrote RTP/AVPF: phones that know no feedback refuse the latter, and those
/// that do read it in the former as well.
fn video_offer(ours: &VideoCapabilities, local: LocalVideo, present: Option<&VideoTerms>, taken: &mut Vec<u8>) -> Line {
    let mut line = Line::video(local.rtp_port);
    line.bandwidth(ours.bitrate);
    let level = ProfileLevel::ours(ours.resolution, ours.framerate);
    let all = ours.codecs.iter().flat_map(|codec| match codec {
        VideoCodec::H264 => [Some((VideoCodec::H264, 1, H264_PT)), Some((VideoCodec::H264, 0, H264_MODE_0_PT))],
        VideoCodec::Vp8 => [Some((VideoCodec::Vp8, 0, VP8_PT)), None],
    });
    let mut all: Vec<_> = all.flatten().collect();
    let in_use = |codec, mode| present.filter(|p| p.codec == codec && p.packetization_mode == mode);
    // The format in use leads, so that a refresh changes nothing.
    all.sort_by_key(|(codec, mode, _)| in_use(*codec, *mode).is_none());
    for (codec, mode, wanted) in all {
        let known = in_use(codec, mode);
        let pt = known.map_or_else(|| free(wanted, taken, None), |p| p.pt);
        taken.push(pt);
        match codec {
            VideoCodec::H264 => {
                let level = known.map_or(level, |p| p.offered_again(level));
                line.h264(pt, level, mode, true);
            }
            VideoCodec::Vp8 => line.vp8(pt, ours),
        }
    }
    line.rest.push(Attribute::new(Direction::SendRecv.attribute()));
    line.feedback(|_| true);
    line.rtcp(present.is_some_and(|p| p.rtcp_mux), local.rtp_port, local.rtcp_port);
    line
}

/// The extension id that an offer of ours carries.
pub(super) fn level_id(present: Option<&AudioTerms>) -> u8 {
    present.and_then(|p| p.level_extension).unwrap_or(LEVEL_ID)
}

const fn codec_pt(codec: CodecName) -> u8 {
    match codec {
        CodecName::Pcmu => 0,
        CodecName::Pcma => 8,
        CodecName::Opus => OPUS_PT,
    }
}

/// `wanted`, or the next dynamic payload type that means nothing else in this session (RFC 3264 §8.3.2).
fn free(wanted: u8, taken: &[u8], present: Option<&AudioTerms>) -> u8 {
    let in_use = |pt: u8| {
        taken.contains(&pt) || present.is_some_and(|p| p.pt == pt || p.dtmf.iter().any(|(event, _)| *event == pt))
    };
    if !in_use(wanted) {
        return wanted;
    }
    (96..128).find(|pt| !in_use(*pt)).unwrap_or(wanted)
}

/// A media line of ours while it grows.
pub(super) struct Line {
    port: u16,
    formats: Vec<String>,
    bandwidths: Vec<Bandwidth>,
    /// Something of ours goes out on it.
    sends: bool,
    maps: Vec<Attribute>,
    rest: Vec<Attribute>,
}

impl Line {
    const fn new(port: u16, rest: Vec<Attribute>) -> Self {
        Self { port, formats: Vec::new(), bandwidths: Vec::new(), sends: true, maps: Vec::new(), rest }
    }

    fn audio(port: u16, direction: Direction, ptime_ms: u8) -> Self {
        let rest = vec![
            Attribute::with_value("ptime", ptime_ms),
            Attribute::with_value("maxptime", 60),
            Attribute::new(direction.attribute()),
        ];
        Self { sends: direction.sends(), ..Self::new(port, rest) }
    }

    const fn video(port: u16) -> Self {
        Self::new(port, Vec::new())
    }

    /// RFC 3890, and what older phones read instead: kilobits with headers.
    fn bandwidth(&mut self, bitrate: Bitrate) {
        let bps = u64::from(bitrate.as_bps());
        let with_headers_kbps = (bps + u64::from(AS_MARGIN_BPS)).div_ceil(950);
        self.bandwidths = [("AS", with_headers_kbps), ("TIAS", bps)]
            .map(|(kind, bandwidth)| Bandwidth { bwtype: kind.to_owned(), bandwidth })
            .into();
    }

    fn h264(&mut self, pt: u8, level: ProfileLevel, mode: u8, asymmetry: bool) {
        let asymmetry = if asymmetry { ";level-asymmetry-allowed=1" } else { "" };
        let level = level.text();
        self.format(pt, "H264/90000", Some(&format!("profile-level-id={level};packetization-mode={mode}{asymmetry}")));
    }

    fn vp8(&mut self, pt: u8, ours: &VideoCapabilities) {
        self.format(pt, "VP8/90000", Some(&video::vp8_wishes(ours)));
    }

    fn feedback(&mut self, has: impl Fn(FeedbackKind) -> bool) {
        for kind in FeedbackKind::ALL.into_iter().filter(|kind| has(*kind)) {
            self.attribute("rtcp-fb", format!("* {}", kind.words()));
        }
    }

    fn format(&mut self, pt: u8, map: &str, fmtp: Option<&str>) {
        self.formats.push(pt.to_string());
        self.maps.push(Attribute::with_value("rtpmap", format!("{pt} {map}")));
        if let Some(fmtp) = fmtp {
            self.maps.push(Attribute::with_value("fmtp", format!("{pt} {fmtp}")));
        }
    }

    fn codec(&mut self, codec: CodecName, pt: u8, channels: Option<u32>, opus_fmtp: &str) {
        let (name, fmtp) = match codec {
            CodecName::Pcmu => ("PCMU/8000", None),
            CodecName::Pcma => ("PCMA/8000", None),
            CodecName::Opus => ("opus/48000", Some(opus_fmtp)),
        };
        let channels = channels.map(|c| format!("/{c}")).unwrap_or_default();
        self.format(pt, &format!("{name}{channels}"), fmtp);
    }

    fn event(&mut self, pt: u8, clock_hz: u32, events: &str) {
        self.format(pt, &format!("telephone-event/{clock_hz}"), Some(events));
    }

    fn attribute(&mut self, name: &str, value: String) {
        self.rest.push(Attribute::with_value(name, value));
    }

    /// RFC 5761 §5.1.1, or RFC 3605 where the port cannot be guessed.
    fn rtcp(&mut self, mux: bool, rtp_port: u16, rtcp_port: u16) {
        if mux {
            self.rest.push(Attribute::new("rtcp-mux"));
        } else if rtp_port.checked_add(1) != Some(rtcp_port) {
            self.rest.push(Attribute::with_value("rtcp", rtcp_port));
        }
    }

    fn media(self, shape: &ShapeLine) -> Media {
        let mut media = bare(shape, self.port, &self.formats.join(" "));
        media.bandwidths = self.bandwidths;
        media.attributes = self.maps;
        media.attributes.extend(self.rest);
        media
    }
}

fn bare(shape: &ShapeLine, port: u16, formats: &str) -> Media {
    // A refused line keeps its name; used ones get it with what belongs to their transport.
    let mid = shape.mid.iter().filter(|_| shape.usage == Usage::Refused);
    Media {
        media: shape.media.clone(),
        port,
        num_ports: None,
        proto: shape.proto.clone(),
        fmt: formats.to_owned(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: mid.map(|mid| Attribute::with_value("mid", mid)).collect(),
    }
}

/// The whole description: our lines where the shape has them, all others refused.
pub(super) fn describe((audio, video): (Line, Option<Line>), shape: &Shape, local: &LocalMedia) -> String {
    let address = local.address.to_canonical();
    let mut session = Session::new(Origin::with_ip_addr(local.session_id, local.session_version, address), "-");
    session.connection = Some(Connection::from_ip_addr(address));
    session.times = vec![Time::new(0, 0)];
    if local.secured.is_some() {
        let used = shape.lines.iter().filter(|line| line.usage != Usage::Refused);
        let mids: Vec<&str> = used.filter_map(|line| line.mid.as_deref()).collect();
        session.attributes.push(Attribute::new("ice-lite"));
        session.attributes.push(Attribute::with_value("group", format!("BUNDLE {}", mids.join(" "))));
        session.attributes.push(Attribute::with_value("msid-semantic", " WMS conclave"));
    }
    let (mut audio, mut video) = (Some(audio), video);
    session.medias.extend(shape.lines.iter().map(|line| {
        let ours = match line.usage {
            Usage::Audio => audio.take(),
            Usage::Video => video.take(),
            Usage::Refused => None,
        };
        ours.map_or_else(|| bare(line, 0, &line.formats), |ours| ours.media(line))
    }));
    if let Some(secured) = &local.secured {
        // The first line that is used is the one whose transport all share (RFC 9143 §7.3.1).
        let used = session.medias.iter_mut().zip(&shape.lines).find(|(_, line)| line.usage != Usage::Refused);
        if let Some((media, _)) = used {
            media.attributes.extend(secured::addresses(secured));
        }
    }
    let mut text = Vec::new();
    session.write(&mut text).expect("BUG: writing into memory cannot fail");
    String::from_utf8(text).expect("BUG: a description is made of strings")
}
