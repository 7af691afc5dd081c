//! What both sides can do (RFC 3264 §6): which audio line, which codec, on which terms; and what holds for a line of any
//! medium. Runs on the caller's thread; reads no text but codec parameters.

use std::net::SocketAddr;

use super::parse::{Address, AudioLine, Encoding, Format, MediaLine, is_over_dtls};
use super::{AudioTerms, CodecName, Direction, Transport};
use crate::error::{Error, Refused};

/// telephone-event payload types that are kept; nobody needs more than one for each clock rate.
const MAX_DTMF: usize = 4;

/// The audio line and codec that will be used.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    pub(super) index: usize,
    pub(super) line: &'a MediaLine,
    pub(super) audio: &'a AudioLine,
    pub(super) format: &'a Format,
    pub(super) codec: CodecName,
}

/// Takes the first audio line that has a codec of `codecs`, and that line's first such codec.
pub(super) fn choose<'a>(
    lines: &'a [MediaLine],
    codecs: &[CodecName],
    transport: Transport,
) -> Result<Choice<'a>, Error> {
    let mut why = Refused::NoAudio;
    for (index, line) in lines.iter().enumerate() {
        let Some(audio) = line.audio().filter(|_| is_offered(line, transport)) else { continue };
        if let Some(unusable) = unusable(&line.proto, transport) {
            if why == Refused::NoAudio {
                why = Refused::UnusableAudio(unusable);
            }
            continue;
        }
        let wanted = audio.formats.iter().find_map(|format| match format.encoding {
            Encoding::Codec(codec) if codecs.contains(&codec) => Some((format, codec)),
            _ => None,
        });
        match wanted {
            Some((format, codec)) => return Ok(Choice { index, line, audio, format, codec }),
            None => why = Refused::NoCommonCodec,
        }
    }
    Err(Error::Refused(why))
}

/// The far end wants the line. One that shares the first one's transport may be written with port 0 in an offer (RFC 9143 §7.2.1).
pub(super) fn is_offered(line: &MediaLine, transport: Transport) -> bool {
    line.port != 0 || transport == Transport::WebRtc && line.is_bundle_only
}

/// Why a transport cannot carry our media, if it cannot; worded for the audio, as only that is told.
pub(super) fn unusable(proto: &str, transport: Transport) -> Option<&'static str> {
    let is = |name: &str| proto.eq_ignore_ascii_case(name);
    if transport == Transport::WebRtc {
        return (!is_over_dtls(proto)).then_some("the audio is not offered over DTLS, as WebRTC has it");
    }
    if is("RTP/AVP") || is("RTP/AVPF") {
        None
    } else if is("RTP/SAVP") || is("RTP/SAVPF") {
        Some("the audio is offered only encrypted (SRTP), which this server does not take over SIP")
    } else if proto.to_ascii_uppercase().contains("TLS/") {
        Some("the audio is offered only over DTLS (WebRTC), which this server does not take over SIP")
    } else {
        Some("the audio is offered over a transport that is not RTP over UDP")
    }
}

/// The agreement on a choice.
pub(super) fn terms(choice: &Choice<'_>) -> AudioTerms {
    let Choice { line, audio, format, codec, .. } = *choice;
    let opus = if codec == CodecName::Opus { OpusParameters::parse(&format.fmtp) } else { OpusParameters::default() };
    let mut dtmf: Vec<(u8, u32)> = audio
        .formats
        .iter()
        .filter(|f| f.encoding == Encoding::TelephoneEvent)
        .map(|f| (f.pt, f.clock_hz))
        .take(MAX_DTMF)
        .collect();
    // What fits the codec leads, as the answer names the first. Stable: the offer's order holds among equals.
    dtmf.sort_by_key(|(_, clock_hz)| *clock_hz != codec.clock_hz());
    let cn_pt = audio.formats.iter().find(|f| f.encoding == Encoding::ComfortNoise).map(|f| f.pt);
    let remote_rtp = remote_rtp(line);
    let rtcp_mux = rtcp_mux(line, format.pt);
    // The far end's own direction for the extension: it must send for us to read.
    let level = audio.level.filter(|level| level.direction.sends());
    AudioTerms {
        codec,
        pt: format.pt,
        dtmf,
        cn_pt: cn_pt.filter(|_| codec != CodecName::Opus),
        remote_rtp,
        remote_rtcp: if rtcp_mux { remote_rtp } else { remote_rtcp(line) },
        rtcp_mux,
        direction: our_direction(line),
        ptime_ms: ptime(audio, opus.min_ptime_ms),
        opus_fec: opus.fec,
        opus_dtx: opus.dtx,
        opus_max_bitrate: opus.max_bitrate,
        opus_max_playback_hz: opus.max_playback_hz,
        level_extension: level.map(|level| level.id),
        level_vad: level.is_some_and(|level| level.vad != Some(false)),
    }
}

/// Where the line's RTP goes; `None` when held by an address, or when no host is named.
pub(super) fn remote_rtp(line: &MediaLine) -> Option<SocketAddr> {
    match line.address {
        Address::Ip(ip) => Some(SocketAddr::new(ip, line.port)),
        Address::Unspecified | Address::Unknown => None,
    }
}

/// Where its RTCP goes, on a port of its own.
pub(super) fn remote_rtcp(line: &MediaLine) -> Option<SocketAddr> {
    let rtp = remote_rtp(line)?;
    match line.rtcp {
        Some((port, ip)) => Some(SocketAddr::new(ip.unwrap_or(rtp.ip()), port)),
        None => rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port)),
    }
}

/// Shared ports were asked for and are possible. RFC 5761 §4: some payload types look like RTCP when the marker is set.
pub(super) fn rtcp_mux(line: &MediaLine, pt: u8) -> bool {
    line.rtcp_mux && !(64..96).contains(&pt)
}

/// The line's direction seen from us; `0.0.0.0` holds as in RFC 2543.
pub(super) fn our_direction(line: &MediaLine) -> Direction {
    let wanted = line.direction.reversed();
    Direction::new(wanted.sends() && line.address != Address::Unspecified, wanted.receives())
}

/// Whole ticks in a packet: what was asked for, never above what is allowed, never below one tick.
fn ptime(audio: &AudioLine, min_ptime_ms: Option<u32>) -> u8 {
    let wanted = audio.ptime_ms.unwrap_or(20).max(min_ptime_ms.unwrap_or(0));
    match wanted.min(audio.maxptime_ms.unwrap_or(60)) {
        0..40 => 20,
        40..60 => 40,
        60.. => 60,
    }
}

/// The parameters of RFC 7587 §6.1 that bear on what we send.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OpusParameters {
    fec: bool,
    dtx: bool,
    max_bitrate: Option<u32>,
    max_playback_hz: Option<u32>,
    min_ptime_ms: Option<u32>,
}

impl OpusParameters {
    /// Reads `name=value;…`; what is unknown or out of range counts as not written.
    pub(super) fn parse(fmtp: &str) -> Self {
        let mut all = Self::default();
        for parameter in fmtp.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let Ok(value) = value.trim().parse::<u32>() else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "useinbandfec" => all.fec = value == 1,
                "usedtx" => all.dtx = value == 1,
                "maxaveragebitrate" => all.max_bitrate = Some(value).filter(|v| (6_000..=510_000).contains(v)),
                "maxplaybackrate" => all.max_playback_hz = Some(value).filter(|v| (8_000..=48_000).contains(v)),
                "minptime" => all.min_ptime_ms = Some(value).filter(|v| (3..=120).contains(v)),
                _ => {}
            }
        }
        all
    }
}
