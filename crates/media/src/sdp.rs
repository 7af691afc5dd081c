//! Session descriptions (RFC 8866, RFC 3264): offer in, what we will do out. The only place that reads SDP.
//! Runs on the caller's thread, never in a tick; knows nothing of dialogs, sockets or rooms.

mod agree;
mod h264;
mod parse;
pub(crate) mod secured;
mod shape;
mod video;
mod write;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod video_cases;

use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, Refused};
use crate::video::VideoCodec;
pub(crate) use secured::{LocalSecured, SecuredTerms};
pub(crate) use shape::Shape;
use shape::Usage;
pub use video::VideoCapabilities;
pub(crate) use video::VideoTerms;

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

/// How media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Plain RTP, described by SIP.
    Rtp,
    /// ICE and DTLS-SRTP, all lines over one transport.
    WebRtc,
}

/// Where the far end of a secured session is for what is behind its encryption: addresses are ICE's business there.
pub(crate) const FAR_END: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 9);

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

    /// Whether any of its lines is over ICE and DTLS, as browsers' are.
    pub(crate) fn is_web(&self) -> bool {
        self.lines.iter().any(|line| line.secured.is_some())
    }

    /// The far end's ICE name.
    pub(crate) fn remote_ufrag(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| line.secured.as_ref()?.ufrag())
    }
}

/// What we answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The SDP body to send; empty when it was our offer that was answered, as nothing is left to say.
    pub sdp: String,
    /// The codec both sides use from now on.
    pub codec: CodecName,
    /// The video codec both sides use from now on; `None` without video.
    pub video: Option<VideoCodec>,
    /// The far end holds this leg (it receives nothing or everything is inactive).
    pub on_hold: bool,
}

/// Which way a medium flows, seen from us.
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
pub(crate) struct SessionTerms {
    /// There is no session without.
    pub audio: AudioTerms,
    /// `None` when nobody offered it, it was refused, or it was dropped.
    pub video: Option<VideoTerms>,
    /// How the description is laid out, so that our next one keeps to it.
    pub shape: Shape,
    /// Of a session over ICE and DTLS.
    pub secured: Option<Box<SecuredTerms>>,
}

/// What was agreed about the audio.
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
}

impl AudioTerms {
    /// The far end receives nothing from us.
    pub(crate) const fn on_hold(&self) -> bool {
        !self.direction.sends()
    }
}

/// Our end, as it is written into every description of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalMedia {
    /// RTP port.
    pub rtp_port: u16,
    /// RTCP port; not used while RTCP shares the RTP port.
    pub rtcp_port: u16,
    /// The ports of the video; without them no video is negotiated.
    pub video: Option<LocalVideo>,
    /// Address that the far end can reach.
    pub address: IpAddr,
    /// Constant for a leg.
    pub session_id: u64,
    /// One more with every description that differs from the last.
    pub session_version: u64,
    /// Of a leg over ICE and DTLS.
    pub secured: Option<Box<LocalSecured>>,
}

/// Our end of the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalVideo {
    /// RTP port.
    pub rtp_port: u16,
    /// RTCP port; not used while RTCP shares the RTP port.
    pub rtcp_port: u16,
}

/// What may be negotiated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capabilities {
    /// Audio codecs; their order is that of our offers.
    pub audio: Vec<CodecName>,
    /// `None` in a room without video.
    pub video: Option<VideoCapabilities>,
}

impl Capabilities {
    /// Video needs both: ports of ours, and a codec.
    fn video(&self, local: &LocalMedia) -> Option<(&VideoCapabilities, LocalVideo)> {
        self.video.as_ref().filter(|video| !video.codecs.is_empty()).zip(local.video)
    }
}

/// Answers an offer: the first audio codec of the offer that we have, on the first audio line that has one, and video if
/// both sides can. [`Error::Refused`] when there is no audio.
pub(crate) fn answer(
    offer: &Offer,
    local: &LocalMedia,
    capabilities: &Capabilities,
) -> Result<(SessionTerms, Answer), Error> {
    let transport = if local.secured.is_some() { Transport::WebRtc } else { Transport::Rtp };
    let choice = agree::choose(&offer.lines, &capabilities.audio, transport)?;
    let video = capabilities.video(local).and_then(|(ours, ports)| {
        let choice = video::choose(&offer.lines, ours, transport)
            .filter(|video| transport == Transport::Rtp || secured::shares_transport(video.line, choice.line))?;
        let terms = video::terms(&choice, ours);
        Some((choice, terms, ours, ports))
    });
    let shape = Shape::new(&offer.lines, choice.index, video.as_ref().map(|(choice, ..)| choice.index));
    let audio = agree::terms(&choice);
    let agreed = match transport {
        Transport::WebRtc => {
            let video = video.as_ref().map(|(choice, ..)| (choice.line, choice.pt));
            Some(Box::new(secured::terms(
                (choice.line, audio.pt),
                video,
                audio.level_extension.filter(|id| *id <= 14),
            )?))
        }
        Transport::Rtp => None,
    };
    let mut lines = (
        write::audio_answer(&choice, &audio, local),
        video.as_ref().map(|(choice, terms, ours, ports)| write::video_answer(choice, terms, ours, *ports)),
    );
    if let (Some(agreed), Some(ours)) = (&agreed, &local.secured) {
        write::secure(&mut lines, agreed, ours, local.session_id);
    }
    let sdp = write::describe(lines, &shape, local);
    let mut terms = SessionTerms { audio, video: video.map(|(_, terms, ..)| terms), shape, secured: agreed };
    if transport == Transport::WebRtc {
        terms.decrypted();
    }
    let answer = terms.answer(sdp);
    Ok((terms, answer))
}

/// Our offer of everything we can, in the order of the capabilities, for an offerless INVITE or for dial-out.
pub(crate) fn offer(local: &LocalMedia, capabilities: &Capabilities) -> String {
    write::offer(local, capabilities, None)
}

/// Our offer within a session that has `present` terms, for an offerless re-INVITE: same payload types, same media lines
/// (RFC 3264 §8). Takes the leg off hold as far as we are concerned, and offers video again if it was refused or
/// dropped (RFC 3261 §14.2: as for a new call).
pub(crate) fn reoffer(local: &LocalMedia, capabilities: &Capabilities, present: &SessionTerms) -> String {
    write::offer(local, capabilities, Some(present))
}

/// Takes the far end's answer to [`offer`] (`present` is `None`) or to [`reoffer`], with the same `local` and
/// `capabilities`. What we did not offer is not agreed. [`Error::Refused`] when it refused the audio or names no codec
/// of ours; video that it refuses is left out.
pub(crate) fn accept(
    answer: &Offer,
    local: &LocalMedia,
    capabilities: &Capabilities,
    present: Option<&SessionTerms>,
) -> Result<(SessionTerms, Answer), Error> {
    let video = capabilities.video(local);
    let mut shape = present.map(|p| p.shape.clone()).unwrap_or_default().offered(video.is_some());
    let line = |usage| shape.position(usage).and_then(|at| answer.lines.get(at));
    let audio_line = line(Usage::Audio).ok_or(Error::Refused(Refused::NoAudio))?;
    let choice = agree::choose(std::slice::from_ref(audio_line), &capabilities.audio, Transport::Rtp)?;
    let present_audio = present.map(|p| &p.audio);
    let mut audio = agree::terms(&choice);
    if audio.rtcp_mux && !present_audio.is_some_and(|p| p.rtcp_mux) {
        audio.rtcp_mux = false;
        audio.remote_rtcp = agree::remote_rtcp(audio_line);
    }
    let offered_level = write::level_id(present_audio);
    audio.level_extension = audio.level_extension.filter(|id| *id == offered_level);
    let present_video = present.and_then(|p| p.video.as_ref());
    let video = video.zip(line(Usage::Video)).and_then(|((ours, _), line)| video::accepted(line, ours, present_video));
    if video.is_none() {
        shape.refuse_video();
    }
    let terms = SessionTerms { audio, video, shape, secured: None };
    let answer = terms.answer(String::new());
    Ok((terms, answer))
}

/// The id under which audio levels come out of the decryption.
pub(crate) const DECRYPTED_LEVEL_ID: u8 = 1;

impl SessionTerms {
    /// As they hold behind the encryption, where every packet comes from one address, is asked for again already when it
    /// is lost, and has the extensions that are read here under numbers of ours.
    fn decrypted(&mut self) {
        let audio = &mut self.audio;
        audio.level_extension = audio.level_extension.map(|_| DECRYPTED_LEVEL_ID);
        (audio.remote_rtp, audio.remote_rtcp, audio.rtcp_mux) = (Some(FAR_END), Some(FAR_END), true);
        if let Some(video) = &mut self.video {
            (video.remote_rtp, video.remote_rtcp, video.rtcp_mux) = (Some(FAR_END), Some(FAR_END), true);
            video.feedback.nack = false;
        }
    }

    fn answer(&self, sdp: String) -> Answer {
        let video = self.video.as_ref().map(|video| video.codec);
        Answer { sdp, codec: self.audio.codec, video, on_hold: self.audio.on_hold() }
    }
}
