//! Session descriptions (RFC 8866, RFC 3264): offer in, what we will do out. The only place that reads SDP.
//! Runs on the caller's thread, never in a tick; knows nothing of dialogs, sockets or rooms.

mod agree;
mod parse;
mod write;

#[cfg(test)]
mod cases;

use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, Refused};

/// The audio codecs that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecName {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// Opus, 48 kHz (RFC 7587).
    Opus,
}

impl CodecName {
    /// Clock rate of its RTP timestamps in Hz.
    pub const fn clock_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
            Self::Opus => 48_000,
        }
    }
}

/// A parsed offer (or the answer to our own offer). Holds at most what 64 KiB of text can say.
#[derive(Clone, Debug)]
pub struct Offer {
    lines: Vec<parse::MediaLine>,
}

impl Offer {
    /// Parses SDP text. [`Error::Peer`] says in one line why it is not SDP, or which bound it exceeds.
    pub fn parse(sdp: &str) -> Result<Self, Error> {
        Ok(Self { lines: parse::media_lines(sdp)? })
    }
}

/// What we answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The SDP body to send; empty when it was our offer that was answered, as nothing is left to say.
    pub sdp: String,
    /// The codec both sides use from now on.
    pub codec: CodecName,
    /// The far end holds this leg (it receives nothing or everything is inactive).
    pub on_hold: bool,
}

/// Which way audio flows, seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }
    /// We may send.
    pub(crate) const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
    /// The far end may send.
    pub(crate) const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
    /// The same flow seen from the other side (RFC 3264 §6.1).
    const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }
    const fn attribute(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// Everything that a leg has to know of the agreement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AudioTerms {
    /// Codec and its payload type, the same both ways.
    pub codec: CodecName,
    /// Payload type we send and accept.
    pub pt: u8,
    /// telephone-event: every accepted payload type with its clock rate in Hz. At most 4; the one we name comes first.
    pub dtmf: Vec<(u8, u32)>,
    /// CN payload type (RFC 3389), when offered for G.711. Accepted if it comes, never sent and never answered: a
    /// phone whose CN is not answered sends its silence as sound, which conceals better.
    pub cn_pt: Option<u8>,
    /// Where the SDP says RTP goes; `None` when held by `c=0.0.0.0`, or named by a host name or a group address.
    pub remote_rtp: Option<SocketAddr>,
    /// Where RTCP goes (a=rtcp, RFC 3605; RTP port + 1 otherwise; the RTP address with rtcp-mux).
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// Ours.
    pub direction: Direction,
    /// Packet time to send, 20, 40 or 60 ms.
    pub ptime_ms: u8,
    /// Receiver asked for in-band FEC (useinbandfec=1).
    pub opus_fec: bool,
    /// Receiver asked for DTX (usedtx=1).
    pub opus_dtx: bool,
    /// maxaveragebitrate of the receiver, bit/s, within 6,000–510,000.
    pub opus_max_bitrate: Option<u32>,
    /// maxplaybackrate of the receiver in Hz, within 8,000–48,000: more bandwidth is wasted on it.
    pub opus_max_playback_hz: Option<u32>,
    /// RFC 6464 audio level header extension id (ssrc-audio-level), when negotiated and the far end may send it.
    pub level_extension: Option<u8>,
    /// The V bit of that extension means something (`vad=on`, the default).
    pub level_vad: bool,
    /// How the description is laid out, so that our next one keeps to it.
    pub shape: Shape,
}

impl AudioTerms {
    /// The far end receives nothing from us.
    pub(crate) const fn on_hold(&self) -> bool {
        !self.direction.sends()
    }
}

/// The media lines of a session in their order: a later offer of ours must have the same (RFC 3264 §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Position of our audio.
    audio: usize,
    /// `RTP/AVP` or `RTP/AVPF`, as the far end wrote it.
    proto: String,
    /// What was rejected, each with its position's media, proto and formats.
    rejected: Vec<RejectedLine>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { audio: 0, proto: "RTP/AVP".to_owned(), rejected: Vec::new() }
    }
}

/// A media line that we refuse with port 0 (RFC 3264 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
struct RejectedLine {
    media: String,
    proto: String,
    formats: String,
}

/// Our end, as it is written into every description of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalMedia {
    /// RTP port.
    pub rtp_port: u16,
    /// RTCP port; not used while RTCP shares the RTP port.
    pub rtcp_port: u16,
    /// Address that the far end can reach.
    pub address: IpAddr,
    /// Constant for a leg.
    pub session_id: u64,
    /// One more with every description that differs from the last.
    pub session_version: u64,
}

/// Answers an offer: the first codec of the offer that is in `codecs`, on the first audio line that has one.
/// [`Error::Refused`] when there is none.
pub(crate) fn answer(offer: &Offer, local: &LocalMedia, codecs: &[CodecName]) -> Result<(AudioTerms, Answer), Error> {
    let choice = agree::choose(&offer.lines, codecs)?;
    let terms = agree::terms(&choice);
    let sdp = write::answer(&choice, &terms, local);
    let answer = Answer { sdp, codec: terms.codec, on_hold: terms.on_hold() };
    Ok((terms, answer))
}

/// Our offer of `codecs` in their order, for an offerless INVITE or for dial-out.
pub(crate) fn offer(local: &LocalMedia, codecs: &[CodecName]) -> String {
    write::offer(local, codecs, None)
}

/// Our offer within a session that has `present` terms (offerless re-INVITE, refresh): same payload types, same media
/// lines (RFC 3264 §8). Takes the leg off hold as far as we are concerned.
pub(crate) fn reoffer(local: &LocalMedia, codecs: &[CodecName], present: &AudioTerms) -> String {
    write::offer(local, codecs, Some(present))
}

/// Takes the far end's answer to [`offer`] (`present` is `None`) or to [`reoffer`]. What we did not offer is not
/// agreed. [`Error::Refused`] when it refused the audio or names no codec of ours.
pub(crate) fn accept(
    answer: &Offer,
    codecs: &[CodecName],
    present: Option<&AudioTerms>,
) -> Result<(AudioTerms, Answer), Error> {
    let first_shape = Shape::default();
    let shape = present.map_or(&first_shape, |p| &p.shape);
    let line = answer.lines.get(shape.audio).ok_or(Error::Refused(Refused::NoAudio))?;
    let choice = agree::choose(std::slice::from_ref(line), codecs)?;
    let mut terms = agree::terms(&choice);
    let offered_mux = present.is_some_and(|p| p.rtcp_mux);
    if terms.rtcp_mux && !offered_mux {
        terms.unmux(&choice);
    }
    let offered_level = write::level_id(present);
    terms.level_extension = terms.level_extension.filter(|id| *id == offered_level);
    terms.shape = shape.clone();
    let answer = Answer { sdp: String::new(), codec: terms.codec, on_hold: terms.on_hold() };
    Ok((terms, answer))
}
