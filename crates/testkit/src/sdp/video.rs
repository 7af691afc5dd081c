//! The video line of a session description: H.264 (RFC 6184), VP8 (RFC 7741), feedback (RFC 4585, RFC 5104). Pure.

use super::{Stream, attribute};
use crate::video_codec::VideoCodec;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A payload type that is offered or was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// What it carries.
    pub codec: VideoCodec,
    /// RTP payload type.
    pub payload_type: u8,
    /// Value of `a=fmtp`; empty when there is none.
    pub fmtp: String,
}

impl VideoFormat {
    /// H.264 with packetization mode 0 or 1 and, for example, `42e01f`.
    pub fn h264(payload_type: u8, packetization_mode: u8, profile_level_id: &str) -> Self {
        let fmtp = format!("profile-level-id={profile_level_id};packetization-mode={packetization_mode}");
        Self { codec: VideoCodec::H264, payload_type, fmtp }
    }

    /// VP8.
    pub fn vp8(payload_type: u8) -> Self {
        Self { codec: VideoCodec::Vp8, payload_type, fmtp: String::new() }
    }

    /// A parameter of `fmtp`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.fmtp.split(';').filter_map(|p| p.trim().split_once('='));
        pairs.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Of H.264; 0 when nothing is said (RFC 6184 §8.1).
    pub fn packetization_mode(&self) -> u8 {
        self.parameter("packetization-mode").and_then(|mode| mode.parse().ok()).unwrap_or(0)
    }
}

/// A video line to be.
#[derive(Clone, Debug)]
pub struct VideoOffer {
    /// Where RTP is received. Port 0 takes the stream away.
    pub address: SocketAddr,
    /// `RTP/AVP` or `RTP/AVPF`.
    pub profile: &'static str,
    /// In order of preference.
    pub formats: Vec<VideoFormat>,
    /// `sendrecv`, `sendonly`, `recvonly`, `inactive`.
    pub direction: &'static str,
    /// Values of `a=rtcp-fb:*`.
    pub feedback: Vec<&'static str>,
    /// `b=`, such as `("AS", 512)` or `("TIAS", 512_000)`.
    pub bandwidth: Option<(&'static str, u32)>,
    /// Further `a=` lines, without `a=`.
    pub attributes: Vec<String>,
}

impl VideoOffer {
    /// Everything that feedback can be asked with.
    pub const FEEDBACK: [&'static str; 5] = ["nack", "nack pli", "ccm fir", "ccm tmmbr", "goog-remb"];

    /// Both ways, AVPF with all kinds of feedback.
    pub fn new(address: SocketAddr, formats: &[VideoFormat]) -> Self {
        Self {
            address,
            profile: "RTP/AVPF",
            formats: formats.to_vec(),
            direction: "sendrecv",
            feedback: Self::FEEDBACK.to_vec(),
            bandwidth: None,
            attributes: Vec::new(),
        }
    }

    /// As a phone that knows no feedback offers it: plain AVP.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.profile = "RTP/AVP";
        self.feedback.clear();
        self
    }

    pub(super) fn write(&self, sdp: &mut String) {
        let ip = self.address.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let pts: Vec<String> = self.formats.iter().map(|f| f.payload_type.to_string()).collect();
        let (port, profile) = (self.address.port(), self.profile);
        let _ = write!(sdp, "m=video {port} {profile} {}\r\nc=IN {family} {ip}\r\n", pts.join(" "));
        if let Some((kind, value)) = self.bandwidth {
            let _ = write!(sdp, "b={kind}:{value}\r\n");
        }
        for format in &self.formats {
            let encoding = match format.codec {
                VideoCodec::H264 => "H264/90000",
                VideoCodec::Vp8 => "VP8/90000",
            };
            let _ = write!(sdp, "a=rtpmap:{} {encoding}\r\n", format.payload_type);
            if !format.fmtp.is_empty() {
                let _ = write!(sdp, "a=fmtp:{} {}\r\n", format.payload_type, format.fmtp);
            }
        }
        for feedback in &self.feedback {
            let _ = write!(sdp, "a=rtcp-fb:* {feedback}\r\n");
        }
        for attribute in &self.attributes {
            let _ = write!(sdp, "a={attribute}\r\n");
        }
        let _ = write!(sdp, "a={}\r\n", self.direction);
    }
}

/// What the other side said of video.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoDescribed {
    /// Where it receives RTP; port 0: it refused.
    pub rtp: SocketAddr,
    /// Where it receives RTCP.
    pub rtcp: SocketAddr,
    /// `RTP/AVP` or `RTP/AVPF`.
    pub profile: String,
    /// Payload types in order.
    pub payload_types: Vec<u8>,
    /// Those whose codec we know.
    pub formats: Vec<VideoFormat>,
    /// `sendrecv` when it does not say.
    pub direction: String,
    /// Payload type (or `*`) and value of each `a=rtcp-fb`.
    pub feedback: Vec<(String, String)>,
    /// Kind and value of each `b=` line.
    pub bandwidth: Vec<(String, u32)>,
}

impl VideoDescribed {
    pub(super) fn read(session: &[&str], lines: &[&str]) -> Result<Self, String> {
        let stream = Stream::read("video", session, lines)?;
        if !matches!(stream.profile.as_str(), "RTP/AVP" | "RTP/AVPF") {
            return Err(format!("video profile {:?}", stream.profile));
        }
        let listed = |pt: &str| pt.parse::<u8>().is_ok_and(|pt| stream.payload_types.contains(&pt));
        let mut fmtps = Vec::new();
        for line in attribute(lines, "fmtp:") {
            let (pt, value) = line.split_once(' ').ok_or_else(|| format!("fmtp {line:?}"))?;
            if !listed(pt) {
                return Err(format!("fmtp for {pt}, which the m= line does not have"));
            }
            fmtps.push((pt, value));
        }
        let mut feedback = Vec::new();
        for line in attribute(lines, "rtcp-fb:") {
            let (pt, value) = line.split_once(' ').ok_or_else(|| format!("rtcp-fb {line:?}"))?;
            if pt != "*" && !listed(pt) {
                return Err(format!("rtcp-fb for {pt}, which the m= line does not have"));
            }
            feedback.push((pt.to_owned(), value.to_owned()));
        }
        let bandwidth = lines.iter().filter_map(|l| l.strip_prefix("b=")).map(|line| {
            let (kind, value) = line.split_once(':').ok_or_else(|| format!("b={line}"))?;
            Ok((kind.to_owned(), value.parse().map_err(|_| format!("b={line}"))?))
        });
        let bandwidth = bandwidth.collect::<Result<Vec<_>, String>>()?;
        let format = |pt: &u8| {
            let (_, encoding) = stream.rtpmaps.iter().find(|(mapped, _)| mapped == pt)?;
            let codec = match encoding.to_ascii_uppercase().as_str() {
                "H264/90000" => VideoCodec::H264,
                "VP8/90000" => VideoCodec::Vp8,
                _ => return None,
            };
            let fmtp = fmtps.iter().find(|(of, _)| *of == pt.to_string()).map_or("", |(_, value)| value);
            Some(VideoFormat { codec, payload_type: *pt, fmtp: fmtp.to_owned() })
        };
        Ok(Self {
            rtp: stream.rtp,
            rtcp: stream.rtcp,
            formats: stream.payload_types.iter().filter_map(format).collect(),
            profile: stream.profile,
            payload_types: stream.payload_types,
            direction: stream.direction,
            feedback,
            bandwidth,
        })
    }

    /// It takes no video.
    pub fn is_refused(&self) -> bool {
        self.rtp.port() == 0
    }

    /// Some payload type has this kind of feedback, such as `nack pli`.
    pub fn has_feedback(&self, kind: &str) -> bool {
        self.feedback.iter().any(|(_, value)| value == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, Described, OfferSpec};
    use super::*;

    fn offer() -> OfferSpec {
        let formats = [VideoFormat::h264(96, 1, "42e01f"), VideoFormat::h264(97, 0, "42e01f"), VideoFormat::vp8(98)];
        let mut video = VideoOffer::new("127.0.0.1:5000".parse().unwrap(), &formats);
        video.bandwidth = Some(("AS", 512));
        video.direction = "recvonly";
        OfferSpec {
            video: Some(video),
            ..OfferSpec::new("127.0.0.1:4000".parse().unwrap(), &[Codec::Opus, Codec::Pcmu])
        }
    }

    #[test]
    fn own_video_line_is_read_back() {
        let spec = offer();
        let read = Described::parse(&spec.to_sdp()).unwrap();
        assert_eq!((read.payload_types, read.direction.as_str()), (vec![111, 0, 101], "sendrecv"));
        let (read, said) = (read.video.unwrap(), spec.video.unwrap());
        assert_eq!((read.rtp, read.rtcp.port()), (said.address, 5001));
        assert_eq!((read.formats.as_slice(), read.direction.as_str()), (said.formats.as_slice(), "recvonly"));
        assert_eq!(read.formats.iter().map(VideoFormat::packetization_mode).collect::<Vec<_>>(), [1, 0, 0]);
        assert_eq!(read.formats[0].parameter("profile-level-id"), Some("42e01f"));
        assert_eq!((read.profile.as_str(), read.bandwidth), ("RTP/AVPF", vec![("AS".to_owned(), 512)]));
        assert!(VideoOffer::FEEDBACK.iter().all(|kind| read.feedback.contains(&("*".into(), (*kind).into()))));
    }

    #[test]
    fn refused_and_plain_video_are_told() {
        let mut spec = offer();
        spec.video = spec.video.map(VideoOffer::plain);
        let read = |spec: &OfferSpec| Described::parse(&spec.to_sdp()).unwrap().video.unwrap();
        assert!(!read(&spec).is_refused() && read(&spec).feedback.is_empty() && read(&spec).profile == "RTP/AVP");
        spec.video.as_mut().unwrap().address.set_port(0);
        assert!(read(&spec).is_refused());
    }

    #[test]
    fn sloppy_video_lines_are_refused() {
        let good = offer().to_sdp();
        for (from, to) in [
            ("a=fmtp:96", "a=fmtp:99"),
            ("a=rtcp-fb:* nack\r\n", "a=rtcp-fb:99 nack\r\n"),
            ("a=rtpmap:98", "a=rtpmap:99"),
            ("m=video", "m=text"),
            ("RTP/AVPF", "RTP/SAVPF"),
            ("b=AS:512", "b=AS:lots"),
            ("a=recvonly", "a=recvonly\r\na=sendonly"),
        ] {
            assert!(Described::parse(&good.replace(from, to)).is_err(), "{from:?} -> {to:?}");
        }
    }
}
