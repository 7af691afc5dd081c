//! SDP text into media lines: bounded and forgiving. Runs on the caller's thread; decides nothing.

use std::net::IpAddr;

use sdp_types::{Attribute, Connection, Media, Session};

use super::{CodecName, Direction};
use crate::error::Error;

/// Largest description that is read.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Most lines: browsers offering a dozen tracks stay below 1,500.
pub(super) const MAX_LINES: usize = 2_000;
/// Most media lines; each costs a line in the answer.
pub(super) const MAX_MEDIA: usize = 32;
/// Formats of one audio line that are looked at.
const MAX_FORMATS: usize = 64;
/// The URI of RFC 6464.
pub(super) const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// One `m=` line and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct MediaLine {
    pub(super) media: String,
    pub(super) port: u16,
    pub(super) proto: String,
    /// The formats as written, for the echo in a rejection.
    pub(super) formats: String,
    /// `Some` when it is audio.
    pub(super) audio: Option<AudioLine>,
}

/// What an audio line says; directions are the far end's.
#[derive(Clone, Debug)]
pub(super) struct AudioLine {
    pub(super) address: Address,
    pub(super) direction: Direction,
    pub(super) formats: Vec<Format>,
    pub(super) ptime_ms: Option<u32>,
    pub(super) maxptime_ms: Option<u32>,
    pub(super) rtcp: Option<(u16, Option<IpAddr>)>,
    pub(super) rtcp_mux: bool,
    pub(super) level: Option<LevelExtension>,
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
/// write into `o=`, `t=` or `b=` is often wrong, and never needed.
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
            [b'o' | b's' | b'i' | b'u' | b'e' | b'p' | b'b' | b't' | b'r' | b'z' | b'k', b'=', ..] => {}
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

/// One printable line, as it ends in a log and a Warning header.
fn reason(text: &str) -> String {
    let text: String = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(120).collect();
    format!("the session description does not parse: {text}")
}

fn media_line(session: &Session, media: &Media) -> MediaLine {
    let audio = media.media.eq_ignore_ascii_case("audio").then(|| audio_line(session, media));
    MediaLine {
        media: media.media.clone(),
        port: media.port,
        proto: media.proto.clone(),
        formats: media.fmt.clone(),
        audio,
    }
}

fn audio_line(session: &Session, media: &Media) -> AudioLine {
    let own = || media.attributes.iter();
    // Some attributes may stand above all media lines and hold for each.
    let inherited = || own().chain(&session.attributes);
    AudioLine {
        address: address(media.connections.first().or(session.connection.as_ref())),
        direction: inherited().find_map(|a| direction(&a.attribute)).unwrap_or(Direction::SendRecv),
        formats: formats(media),
        ptime_ms: own().find_map(|a| milliseconds(a, "ptime")),
        maxptime_ms: own().find_map(|a| milliseconds(a, "maxptime")),
        rtcp: own().find_map(rtcp),
        rtcp_mux: own().any(|a| a.attribute.eq_ignore_ascii_case("rtcp-mux")),
        level: inherited().find_map(level),
    }
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
fn value<'a>(attribute: &'a Attribute, name: &str) -> Option<&'a str> {
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

fn formats(media: &Media) -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    for pt in media.fmt.split_whitespace().filter_map(|f| f.parse::<u8>().ok()).filter(|pt| *pt < 128) {
        if formats.len() >= MAX_FORMATS {
            break;
        }
        if formats.iter().all(|f| f.pt != pt) {
            formats.push(format(media, pt));
        }
    }
    formats
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
