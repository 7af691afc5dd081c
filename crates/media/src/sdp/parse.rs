//! SDP text into media lines: bounded and forgiving. Runs on the caller's thread; decides nothing.

use std::net::IpAddr;

use sdp_types::{Attribute, Bandwidth, Connection, Media, Session};

use super::secured::SecuredLine;
use super::{CodecName, Direction};
use crate::error::Error;
use crate::units::Bitrate;
use crate::video::VideoCodec;

/// Largest description that is read.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Most lines: browsers offering a dozen tracks stay below 1,500.
pub(super) const MAX_LINES: usize = 2_000;
/// Most media lines; each costs a line in the answer.
pub(super) const MAX_MEDIA: usize = 32;
/// Formats of one media line that are looked at.
const MAX_FORMATS: usize = 64;
/// The URI of RFC 6464.
pub(super) const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// One `m=` line and what belongs to it; directions are the far end's.
#[derive(Clone, Debug)]
pub(super) struct MediaLine {
    pub(super) media: String,
    pub(super) port: u16,
    pub(super) proto: String,
    /// The formats as written, for the echo in a rejection.
    pub(super) formats: String,
    pub(super) address: Address,
    pub(super) direction: Direction,
    pub(super) rtcp: Option<(u16, Option<IpAddr>)>,
    pub(super) rtcp_mux: bool,
    pub(super) is_bundle_only: bool,
    pub(super) content: Content,
    /// Of a line over DTLS.
    pub(super) secured: Option<Box<SecuredLine>>,
}

impl MediaLine {
    /// `Some` when it is audio.
    pub(super) const fn audio(&self) -> Option<&AudioLine> {
        if let Content::Audio(audio) = &self.content { Some(audio) } else { None }
    }

    /// `Some` when it is video.
    pub(super) const fn video(&self) -> Option<&VideoLine> {
        if let Content::Video(video) = &self.content { Some(video) } else { None }
    }
}

/// What only lines of one medium say.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Audio(AudioLine),
    Video(VideoLine),
    Other,
}

/// What an audio line says.
#[derive(Clone, Debug)]
pub(super) struct AudioLine {
    pub(super) formats: Vec<Format>,
    pub(super) ptime_ms: Option<u32>,
    pub(super) maxptime_ms: Option<u32>,
    pub(super) level: Option<LevelExtension>,
}

/// What a video line says.
#[derive(Clone, Debug)]
pub(super) struct VideoLine {
    /// Only those of our codecs, in their order.
    pub(super) formats: Vec<VideoFormat>,
    /// Each `a=rtcp-fb` that we know (RFC 4585 §4.2); `None` is every payload type.
    pub(super) feedback: Vec<(Option<u8>, FeedbackKind)>,
    /// What the far end wants to receive at the most, without headers.
    pub(super) bandwidth: Option<Bitrate>,
    /// The camera, as opposed to slides or another angle (RFC 4796).
    pub(super) is_main: bool,
}

/// One payload type of a video line.
#[derive(Clone, Debug)]
pub(super) struct VideoFormat {
    pub(super) pt: u8,
    pub(super) codec: VideoCodec,
    pub(super) fmtp: String,
}

/// Feedback that can be agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedbackKind {
    Nack,
    Pli,
    Fir,
    Tmmbr,
    Remb,
}

impl FeedbackKind {
    pub(super) const ALL: [Self; 5] = [Self::Nack, Self::Pli, Self::Fir, Self::Tmmbr, Self::Remb];

    /// As it is written after the payload type (RFC 4585 §4.2, RFC 5104 §7.1, draft-alvestrand-rmcat-remb).
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Nack => "nack",
            Self::Pli => "nack pli",
            Self::Fir => "ccm fir",
            Self::Tmmbr => "ccm tmmbr",
            Self::Remb => "goog-remb",
        }
    }
}

/// What a `c=` line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Ip(IpAddr),
    /// `0.0.0.0` or `::`: hold as in RFC 2543.
    Unspecified,
    /// Missing, a host name (never resolved here), or an address that is not one host's.
    Unknown,
}

/// One payload type of the audio line.
#[derive(Clone, Debug)]
pub(super) struct Format {
    pub(super) pt: u8,
    pub(super) encoding: Encoding,
    pub(super) clock_hz: u32,
    /// As written in the rtpmap, to be echoed.
    pub(super) channels: Option<u32>,
    pub(super) fmtp: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Codec(CodecName),
    TelephoneEvent,
    ComfortNoise,
    Other,
}

/// An offered RFC 6464 extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelExtension {
    pub(super) id: u8,
    /// `vad=on|off` when it was written.
    pub(super) vad: Option<bool>,
    /// The far end's, `SendRecv` when not written.
    pub(super) direction: Direction,
}

/// Reads a whole description.
pub(super) fn media_lines(sdp: &str) -> Result<Vec<MediaLine>, Error> {
    let session = Session::parse(relevant(sdp)?.as_bytes()).map_err(|e| Error::Peer(reason(&e.to_string())))?;
    Ok(session.medias.iter().map(|media| media_line(&session, media)).collect())
}

/// Keeps the lines that mean something to us, each in its place so that an error names the right line. What phones
/// write into `o=` or `t=` is often wrong, and never needed; of `b=`, what is understood is kept.
fn relevant(sdp: &str) -> Result<String, Error> {
    if sdp.len() > MAX_BYTES {
        return Err(Error::Peer(format!("the session description is longer than {MAX_BYTES} bytes")));
    }
    let mut kept = String::with_capacity(sdp.len() + 2);
    let mut media = 0;
    for (n, line) in sdp.lines().enumerate() {
        if n >= MAX_LINES {
            return Err(Error::Peer(format!("the session description has more than {MAX_LINES} lines")));
        }
        let line = line.trim();
        match line.as_bytes() {
            [b'm', b'=', ..] => {
                media += 1;
                if media > MAX_MEDIA {
                    return Err(Error::Peer(format!("the session description has more than {MAX_MEDIA} media lines")));
                }
                push_media(&mut kept, line);
            }
            [b'b', b'=', ..] => push_bandwidth(&mut kept, line),
            [b'o' | b's' | b'i' | b'u' | b'e' | b'p' | b't' | b'r' | b'z' | b'k', b'=', ..] => {}
            _ => kept.push_str(line),
        }
        kept.push('\n');
    }
    Ok(kept)
}

/// One space between fields, and a format where a line with port 0 has none (seen from several phones).
fn push_media(kept: &mut String, line: &str) {
    let mut fields = 0;
    for field in line.split_whitespace() {
        if fields > 0 {
            kept.push(' ');
        }
        kept.push_str(field);
        fields += 1;
    }
    if fields == 3 {
        kept.push_str(" 0");
    }
}

/// `b=AS` and `b=TIAS` (RFC 3890); some write a fraction.
fn push_bandwidth(kept: &mut String, line: &str) {
    let Some((kind, value)) = line.get(2..).and_then(|rest| rest.split_once(':')) else { return };
    let Some(kind) = ["AS", "TIAS"].into_iter().find(|known| kind.trim().eq_ignore_ascii_case(known)) else { return };
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    if let Some(number) = value.get(..digits).and_then(|number| number.parse::<u32>().ok()) {
        kept.push_str(&format!("b={kind}:{number}"));
    }
}

/// One printable line, as it ends in a log and a Warning header.
fn reason(text: &str) -> String {
    let text: String = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(120).collect();
    format!("the session description does not parse: {text}")
}

fn media_line(session: &Session, media: &Media) -> MediaLine {
    let own = || media.attributes.iter();
    // Some attributes may stand above all media lines and hold for each.
    let inherited = || own().chain(&session.attributes);
    let is = |name: &str| media.media.eq_ignore_ascii_case(name);
    MediaLine {
        media: media.media.clone(),
        port: media.port,
        proto: media.proto.clone(),
        formats: media.fmt.clone(),
        // Over ICE the line says 0.0.0.0 and means nothing by it.
        address: match is_over_dtls(&media.proto) {
            true => Address::Unknown,
            false => address(media.connections.first().or(session.connection.as_ref())),
        },
        direction: inherited().find_map(|a| direction(&a.attribute)).unwrap_or(Direction::SendRecv),
        rtcp: own().find_map(rtcp),
        rtcp_mux: own().any(|a| a.attribute.eq_ignore_ascii_case("rtcp-mux")),
        is_bundle_only: own().any(|a| a.attribute.eq_ignore_ascii_case("bundle-only")),
        content: if is("audio") {
            Content::Audio(AudioLine {
                formats: payload_types(media).into_iter().map(|pt| format(media, pt)).collect(),
                ptime_ms: own().find_map(|a| milliseconds(a, "ptime")),
                maxptime_ms: own().find_map(|a| milliseconds(a, "maxptime")),
                level: inherited().find_map(level),
            })
        } else if is("video") {
            Content::Video(video_line(session, media))
        } else {
            Content::Other
        },
        secured: is_over_dtls(&media.proto).then(|| Box::new(SecuredLine::read(session, media))),
    }
}

/// `UDP/TLS/RTP/SAVPF` and its relatives (RFC 5764 §8, RFC 8829 §5.1.2).
pub(super) fn is_over_dtls(proto: &str) -> bool {
    ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVP", "TCP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF"]
        .iter()
        .any(|known| proto.eq_ignore_ascii_case(known))
}

fn video_line(session: &Session, media: &Media) -> VideoLine {
    let of_line = bandwidth(&media.bandwidths).map(Bitrate::as_bps);
    // What is stated for the session has to hold the audio too.
    let of_session = bandwidth(&session.bandwidths).map(|all| less(all.as_bps(), AUDIO_SHARE_BPS));
    VideoLine {
        formats: payload_types(media).into_iter().filter_map(|pt| video_format(media, pt)).collect(),
        feedback: media.attributes.iter().filter_map(feedback).collect(),
        bandwidth: of_line.into_iter().chain(of_session).min().map(Bitrate::bps),
        is_main: media.attributes.iter().find_map(|a| value(a, "content")).is_none_or(|content| {
            content.split(',').any(|c| ["main", "speaker"].iter().any(|main| c.trim().eq_ignore_ascii_case(main)))
        }),
    }
}

/// G.711 with its headers.
const AUDIO_SHARE_BPS: u32 = 80_000;

/// Something is left, however little there is.
const fn less(all_bps: u32, part_bps: u32) -> u32 {
    let rest = all_bps.saturating_sub(part_bps);
    if rest < all_bps / 2 { all_bps / 2 } else { rest }
}

/// The rate without headers. Zero counts as not written: it would mean that nothing may be sent (RFC 3264 §5), for
/// which everybody uses directions.
fn bandwidth(lines: &[Bandwidth]) -> Option<Bitrate> {
    let stated = |kind: &str| lines.iter().find(|b| b.bwtype == kind && b.bandwidth != 0).map(|b| b.bandwidth);
    let bps = stated("TIAS").map(|bps| u32::try_from(bps).unwrap_or(u32::MAX)).or_else(|| {
        // Kilobits with headers, which take 5 %.
        let bps = stated("AS")?.saturating_mul(950);
        Some(less(u32::try_from(bps).unwrap_or(u32::MAX), AS_MARGIN_BPS))
    });
    bps.map(Bitrate::bps)
}

/// RFC 8829 §5.9: 50 headers of 40 bytes each second.
pub(super) const AS_MARGIN_BPS: u32 = 50 * 40 * 8;

/// `<pt>|* <type> [<parameter> …]`.
fn feedback(attribute: &Attribute) -> Option<(Option<u8>, FeedbackKind)> {
    let mut fields = value(attribute, "rtcp-fb")?.split_whitespace();
    let pt = match fields.next()? {
        "*" => None,
        pt => Some(pt.parse().ok()?),
    };
    let (kind, parameter) = (fields.next()?.to_ascii_lowercase(), fields.next().map(str::to_ascii_lowercase));
    let kind = match (kind.as_str(), parameter.as_deref()) {
        ("nack", None) => FeedbackKind::Nack,
        ("nack", Some("pli")) => FeedbackKind::Pli,
        ("ccm", Some("fir")) => FeedbackKind::Fir,
        ("ccm", Some("tmmbr")) => FeedbackKind::Tmmbr,
        ("goog-remb", _) => FeedbackKind::Remb,
        _ => return None,
    };
    Some((pt, kind))
}

fn video_format(media: &Media, pt: u8) -> Option<VideoFormat> {
    let of_pt = |name| media.attributes.iter().filter_map(move |a| after_pt(value(a, name)?, pt));
    let (name, clock_hz, _) = of_pt("rtpmap").next().and_then(rtpmap)?;
    let codec = [(VideoCodec::H264, "H264"), (VideoCodec::Vp8, "VP8")]
        .into_iter()
        .find_map(|(codec, known)| (clock_hz == 90_000 && name.eq_ignore_ascii_case(known)).then_some(codec))?;
    // Some phones give each parameter a line of its own.
    let fmtp = of_pt("fmtp").collect::<Vec<_>>().join(";");
    Some(VideoFormat { pt, codec, fmtp })
}

fn address(connection: Option<&Connection>) -> Address {
    let Some(connection) = connection else { return Address::Unknown };
    match connection.connection_address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) if ip.is_unspecified() => Address::Unspecified,
        Ok(ip) if ip.is_multicast() => Address::Unknown,
        Ok(IpAddr::V4(ip)) if ip.is_broadcast() => Address::Unknown,
        Ok(ip) => Address::Ip(ip),
        Err(_) => Address::Unknown,
    }
}

fn direction(name: &str) -> Option<Direction> {
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
        .into_iter()
        .find(|d| name.eq_ignore_ascii_case(d.attribute()))
}

/// The value of the attribute, when it has this name.
pub(super) fn value<'a>(attribute: &'a Attribute, name: &str) -> Option<&'a str> {
    attribute.attribute.eq_ignore_ascii_case(name).then_some(attribute.value.as_deref()).flatten().map(str::trim)
}

/// RFC 8866 §6.4; some write a fraction.
fn milliseconds(attribute: &Attribute, name: &str) -> Option<u32> {
    let whole = value(attribute, name)?.split('.').next()?;
    whole.parse().ok().filter(|ms| (1..=1_000).contains(ms))
}

/// RFC 3605: `<port> [IN IP4|IP6 <address>]`.
fn rtcp(attribute: &Attribute) -> Option<(u16, Option<IpAddr>)> {
    let mut fields = value(attribute, "rtcp")?.split_whitespace();
    let port = fields.next()?.parse().ok().filter(|port| *port != 0)?;
    let ip = fields.nth(2).and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
    Some((port, ip.filter(|ip| !ip.is_unspecified() && !ip.is_multicast())))
}

/// RFC 8285 §5: `<id>[/<direction>] <uri> [<attributes>]`.
fn level(attribute: &Attribute) -> Option<LevelExtension> {
    let mut fields = value(attribute, "extmap")?.split_whitespace();
    let first = fields.next()?;
    let (id, way) = match first.split_once('/') {
        Some((id, way)) => (id, direction(way)?),
        None => (first, Direction::SendRecv),
    };
    if fields.next()? != LEVEL_URI {
        return None;
    }
    let vad = fields.find_map(|f| match f.to_ascii_lowercase().as_str() {
        "vad=on" => Some(true),
        "vad=off" => Some(false),
        _ => None,
    });
    // 15 is reserved in the one-byte form (RFC 8285 §4.2).
    let id = id.parse().ok().filter(|id| (1..=14).contains(id) || *id > 15)?;
    Some(LevelExtension { id, vad, direction: way })
}

/// What is usable of the formats, each once.
fn payload_types(media: &Media) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    for pt in media.fmt.split_whitespace().filter_map(|f| f.parse::<u8>().ok()).filter(|pt| *pt < 128) {
        if all.len() >= MAX_FORMATS {
            break;
        }
        if !all.contains(&pt) {
            all.push(pt);
        }
    }
    all
}

fn format(media: &Media, pt: u8) -> Format {
    let mapped = |name| media.attributes.iter().find_map(move |a| after_pt(value(a, name)?, pt));
    let (name, clock_hz, channels) = mapped("rtpmap").and_then(rtpmap).or(static_map(pt)).unwrap_or(("", 0, None));
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    let mono = channels.is_none_or(|c| c == 1);
    let encoding = match clock_hz {
        8_000 if is("PCMU") && mono => Encoding::Codec(CodecName::Pcmu),
        8_000 if is("PCMA") && mono => Encoding::Codec(CodecName::Pcma),
        // RFC 7587 §7 says /2 always; older phones leave it out or write /1, which changes nothing.
        48_000 if is("opus") => Encoding::Codec(CodecName::Opus),
        8_000 | 48_000 if is("telephone-event") => Encoding::TelephoneEvent,
        8_000 if is("CN") => Encoding::ComfortNoise,
        _ => Encoding::Other,
    };
    Format { pt, encoding, clock_hz, channels, fmtp: mapped("fmtp").unwrap_or_default().to_owned() }
}

/// The rest of an attribute value that begins with this payload type.
fn after_pt(value: &str, pt: u8) -> Option<&str> {
    let (first, rest) = value.split_once(char::is_whitespace)?;
    (first.parse() == Ok(pt)).then_some(rest.trim())
}

/// `<name>/<clock>[/<channels>]`.
fn rtpmap(map: &str) -> Option<(&str, u32, Option<u32>)> {
    let mut fields = map.split('/').map(str::trim);
    let name = fields.next()?;
    let clock_hz = fields.next()?.parse().ok()?;
    Some((name, clock_hz, fields.next().and_then(|c| c.parse().ok())))
}

/// RFC 3551 §6, as far as we care.
fn static_map(pt: u8) -> Option<(&'static str, u32, Option<u32>)> {
    match pt {
        0 => Some(("PCMU", 8_000, None)),
        8 => Some(("PCMA", 8_000, None)),
        13 => Some(("CN", 8_000, None)),
        _ => None,
    }
}
