//! What both sides can do with video: which line, which codec, on which terms, and how large a picture the far end
//! takes. Runs on the caller's thread; pictures and packets are unknown here.

use std::cmp::Reverse;
use std::net::SocketAddr;

use super::agree::{is_offered, our_direction, remote_rtcp, remote_rtp, rtcp_mux, unusable};
use super::h264::{H264Parameters, ProfileLevel};
use super::parse::{FeedbackKind, MediaLine, VideoFormat, VideoLine};
use super::{Direction, Transport};
use crate::units::{Bitrate, FrameRate, Resolution};
use crate::video::{VideoCodec, level};

/// The video that a room can do.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoCapabilities {
    /// Best first. Each codec in use costs the room an encode, so this order goes before the far end's, as long as both
    /// formats take the room's picture.
    pub codecs: Vec<VideoCodec>,
    /// The room's picture: what is sent, and more than what anybody is asked for.
    pub resolution: Resolution,
    /// Of the room's picture.
    pub framerate: FrameRate,
    /// Of the room's picture; also what a far end is asked for at the most.
    pub bitrate: Bitrate,
}

/// What was agreed about the video.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VideoTerms {
    /// The same both ways.
    pub codec: VideoCodec,
    /// Payload type we send and accept.
    pub pt: u8,
    /// Of H.264 (RFC 6184 §6.2): 0 takes single NAL units only, 1 also STAP-A and FU-A. 0 for VP8, where it means nothing.
    pub packetization_mode: u8,
    /// Of H.264: profile_idc, profile-iop and level_idc as we state them.
    pub profile_level_id: Option<[u8; 3]>,
    /// What the far end's decoder takes.
    pub limits: DecodeLimits,
    /// Where the SDP says RTP goes; `None` when held by `c=0.0.0.0`, or named by a host name or a group address.
    pub remote_rtp: Option<SocketAddr>,
    /// Where RTCP goes (a=rtcp, RFC 3605; RTP port + 1 otherwise; the RTP address with rtcp-mux).
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// Ours.
    pub direction: Direction,
    /// What we may send; whatever comes is obeyed, listed or not.
    pub feedback: Feedback,
    /// The line is RTP/AVPF: feedback may be sent at once (RFC 4585 §3.4). Otherwise its timing is RFC 3550's, and phones
    /// that list feedback in RTP/AVP take it at any time too.
    pub avpf: bool,
}

impl VideoTerms {
    /// The far end receives no video from us.
    pub(crate) const fn on_hold(&self) -> bool {
        !self.direction.sends()
    }

    /// What a later offer states for this format.
    pub(super) fn offered_again(&self, ours: ProfileLevel) -> ProfileLevel {
        self.profile_level_id.map_or(ours, |agreed| ProfileLevel(agreed).at_level_of(ours))
    }
}

/// The largest stream that a decoder takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeLimits {
    /// In one picture; a macroblock is 16×16 pixels. `u32::MAX` when nothing is said.
    pub max_macroblocks: u32,
    /// In a second. `u32::MAX` when nothing is said.
    pub max_macroblocks_per_s: u32,
    /// However small they are (VP8's max-fr).
    pub max_framerate: Option<FrameRate>,
    /// Without headers: the smaller of the level's and the `b=` line's.
    pub max_bitrate: Option<Bitrate>,
}

impl DecodeLimits {
    const NONE: Self =
        Self { max_macroblocks: u32::MAX, max_macroblocks_per_s: u32::MAX, max_framerate: None, max_bitrate: None };

    /// A stream of such pictures may be sent.
    pub(crate) fn takes(&self, resolution: Resolution, framerate: FrameRate) -> bool {
        level::takes(self.max_macroblocks, self.max_macroblocks_per_s, resolution, framerate)
            && self.max_framerate.is_none_or(|most| framerate <= most)
    }
}

/// Macroblocks of one picture.
const fn macroblocks(resolution: Resolution) -> u32 {
    (resolution.width().div_ceil(16) * resolution.height().div_ceil(16)) as u32
}

/// RTCP feedback that the far end understands (RFC 4585, RFC 5104): each only when it listed it for our payload type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feedback {
    /// Generic NACK.
    pub nack: bool,
    /// Picture loss indication.
    pub pli: bool,
    /// Full intra request.
    pub fir: bool,
    /// Receiver estimated maximum bitrate.
    pub remb: bool,
    /// Temporary maximum media stream bit rate request.
    pub tmmbr: bool,
}

impl Feedback {
    fn new(line: &VideoLine, pt: u8) -> Self {
        let lists = |kind| line.feedback.iter().any(|(of, listed)| of.is_none_or(|of| of == pt) && *listed == kind);
        Self {
            nack: lists(FeedbackKind::Nack),
            pli: lists(FeedbackKind::Pli),
            fir: lists(FeedbackKind::Fir),
            remb: lists(FeedbackKind::Remb),
            tmmbr: lists(FeedbackKind::Tmmbr),
        }
    }

    pub(super) const fn has(self, kind: FeedbackKind) -> bool {
        match kind {
            FeedbackKind::Nack => self.nack,
            FeedbackKind::Pli => self.pli,
            FeedbackKind::Fir => self.fir,
            FeedbackKind::Remb => self.remb,
            FeedbackKind::Tmmbr => self.tmmbr,
        }
    }
}

/// The video line and format that will be used.
#[derive(Debug)]
pub(super) struct VideoChoice<'a> {
    pub(super) index: usize,
    pub(super) line: &'a MediaLine,
    video: &'a VideoLine,
    pub(super) pt: u8,
    parameters: Parameters,
    limits: DecodeLimits,
}

#[derive(Clone, Copy, Debug)]
enum Parameters {
    H264(H264Parameters),
    Vp8,
}

impl Parameters {
    const fn codec(&self) -> VideoCodec {
        match self {
            Self::H264(_) => VideoCodec::H264,
            Self::Vp8 => VideoCodec::Vp8,
        }
    }

    const fn packetization_mode(&self) -> u8 {
        match self {
            Self::H264(h264) => h264.packetization_mode,
            Self::Vp8 => 0,
        }
    }
}

impl VideoChoice<'_> {
    /// Whether the answer repeats `level-asymmetry-allowed=1`.
    pub(super) const fn level_asymmetry(&self) -> bool {
        matches!(&self.parameters, Parameters::H264(h264) if h264.level_asymmetry)
    }
}

/// Takes the first video line that has a format of ours: the camera's, never the slides'. Of its formats, what takes the
/// room's picture goes first, then our order of codecs, packetization mode 1, the higher level, the offer's order.
pub(super) fn choose<'a>(
    lines: &'a [MediaLine],
    ours: &VideoCapabilities,
    transport: Transport,
) -> Option<VideoChoice<'a>> {
    lines.iter().enumerate().find_map(|(index, line)| {
        let video = usable(line, transport).filter(|video| video.is_main)?;
        candidates(video, ours, false)
            .map(|(format, parameters, limits)| VideoChoice { index, line, video, pt: format.pt, parameters, limits })
            .min_by_key(|choice| {
                let codec = choice.parameters.codec();
                (
                    !choice.limits.takes(ours.resolution, ours.framerate),
                    ours.codecs.iter().position(|c| *c == codec),
                    choice.parameters.packetization_mode() == 0,
                    Reverse((choice.limits.max_macroblocks, choice.limits.max_macroblocks_per_s)),
                )
            })
    })
}

/// The terms by the answer to our offer. The far end's order decides, as it sends what it names first; whatever profile
/// it names, it was offered ours. `None` when it refused.
pub(super) fn accepted(line: &MediaLine, ours: &VideoCapabilities, present: Option<&VideoTerms>) -> Option<VideoTerms> {
    let video = usable(line, Transport::Rtp)?;
    let (format, parameters, limits) = candidates(video, ours, true).next()?;
    let mut terms = terms(&VideoChoice { index: 0, line, video, pt: format.pt, parameters, limits }, ours);
    if terms.rtcp_mux && !present.is_some_and(|p| p.rtcp_mux) {
        terms.rtcp_mux = false;
        terms.remote_rtcp = remote_rtcp(line);
    }
    // What we state is what we offered.
    let level = ProfileLevel::ours(ours.resolution, ours.framerate);
    let stated = present.filter(|p| p.pt == terms.pt).map_or(level, |p| p.offered_again(level));
    terms.profile_level_id = terms.profile_level_id.map(|_| stated.0);
    Some(terms)
}

fn usable(line: &MediaLine, transport: Transport) -> Option<&VideoLine> {
    line.video().filter(|_| is_offered(line, transport) && unusable(&line.proto, transport).is_none())
}

/// Each format that we have, in the line's order.
fn candidates<'a>(
    video: &'a VideoLine,
    ours: &VideoCapabilities,
    any_profile: bool,
) -> impl Iterator<Item = (&'a VideoFormat, Parameters, DecodeLimits)> {
    let formats = video.formats.iter().filter(|format| ours.codecs.contains(&format.codec));
    formats.filter_map(move |format| {
        let (parameters, mut limits) = match format.codec {
            VideoCodec::H264 => {
                let h264 = H264Parameters::parse(&format.fmtp, any_profile)?;
                (Parameters::H264(h264), h264.limits)
            }
            VideoCodec::Vp8 => (Parameters::Vp8, vp8_limits(&format.fmtp)),
        };
        limits.max_bitrate = limits.max_bitrate.into_iter().chain(video.bandwidth).min();
        Some((format, parameters, limits))
    })
}

/// RFC 7741 §6.1: max-fs in macroblocks, max-fr in pictures a second. Numbers that cannot be count as not written.
fn vp8_limits(fmtp: &str) -> DecodeLimits {
    let mut limits = DecodeLimits::NONE;
    for parameter in fmtp.split(';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let Some(value) = value.trim().parse::<u32>().ok().filter(|n| *n > 0) else { continue };
        match name.trim().to_ascii_lowercase().as_str() {
            "max-fs" => limits.max_macroblocks = value,
            "max-fr" => limits.max_framerate = Some(FrameRate::per_second(value)),
            _ => {}
        }
    }
    limits
}

/// The agreement on a choice.
pub(super) fn terms(choice: &VideoChoice<'_>, ours: &VideoCapabilities) -> VideoTerms {
    let VideoChoice { line, video, pt, parameters, limits, .. } = *choice;
    let rtcp_mux = rtcp_mux(line, pt);
    let remote_rtp = remote_rtp(line);
    VideoTerms {
        codec: parameters.codec(),
        pt,
        packetization_mode: parameters.packetization_mode(),
        profile_level_id: match parameters {
            Parameters::H264(h264) => Some(h264.answered(ProfileLevel::ours(ours.resolution, ours.framerate)).0),
            Parameters::Vp8 => None,
        },
        limits,
        remote_rtp,
        remote_rtcp: if rtcp_mux { remote_rtp } else { remote_rtcp(line) },
        rtcp_mux,
        direction: our_direction(line),
        feedback: Feedback::new(video, pt),
        avpf: line.proto.eq_ignore_ascii_case("RTP/AVPF"),
    }
}

/// What we ask a VP8 sender for: no more than the room shows, and enough that any encoder can do with it (CIF).
pub(super) fn vp8_wishes(ours: &VideoCapabilities) -> String {
    format!("max-fs={};max-fr={}", macroblocks(ours.resolution).max(396), ours.framerate.pictures())
}
