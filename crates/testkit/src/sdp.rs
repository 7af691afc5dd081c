//! Session descriptions of a test phone: makes offers, reads answers strictly (RFC 8866, RFC 3264). One audio stream,
//! after it perhaps one of video.

mod video;

pub use video::{VideoDescribed, VideoFormat, VideoOffer};

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// What a peer can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law, payload type 0.
    Pcmu,
    /// G.711 A-law, payload type 8.
    Pcma,
    /// Opus (RFC 7587), payload type 111, in-band FEC asked for.
    Opus,
}

impl Codec {
    /// Payload type that offers use.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::Opus => 111,
        }
    }
    /// The codec of a payload type.
    pub fn of_payload_type(pt: u8) -> Option<Self> {
        [Self::Pcmu, Self::Pcma, Self::Opus].into_iter().find(|c| c.payload_type() == pt)
    }
    /// Rate of PCM and of RTP timestamps, in Hz.
    pub fn rate_hz(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 8_000 }
    }
    fn rtpmap(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU/8000",
            Self::Pcma => "PCMA/8000",
            Self::Opus => "opus/48000/2",
        }
    }
}

/// An offer to be.
#[derive(Clone, Debug)]
pub struct OfferSpec {
    /// Where RTP is received.
    pub address: SocketAddr,
    /// In order of preference.
    pub codecs: Vec<Codec>,
    /// telephone-event payload types with their clock rates.
    pub dtmf: Vec<(u8, u32)>,
    /// `sendrecv`, `sendonly`, `recvonly`, `inactive`.
    pub direction: &'static str,
    /// `o=` version; must grow with every new offer of a dialog.
    pub version: u32,
    /// Further `a=` lines of the audio stream, without `a=`.
    pub attributes: Vec<String>,
    /// The video line, when there is one.
    pub video: Option<VideoOffer>,
}

impl OfferSpec {
    /// Both ways, version 1, telephone-event 101 at the clock of the first codec.
    pub fn new(address: SocketAddr, codecs: &[Codec]) -> Self {
        let clock = codecs.first().map_or(8_000, |c| c.rate_hz());
        let dtmf = vec![(101, clock)];
        Self {
            address,
            codecs: codecs.to_vec(),
            dtmf,
            direction: "sendrecv",
            version: 1,
            attributes: Vec::new(),
            video: None,
        }
    }

    /// The text.
    pub fn to_sdp(&self) -> String {
        let ip = self.address.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut pts: Vec<u8> = self.codecs.iter().map(|c| c.payload_type()).collect();
        pts.extend(self.dtmf.iter().map(|d| d.0));
        let pts: Vec<String> = pts.iter().map(u8::to_string).collect();
        let mut sdp = format!(
            "v=0\r\no=test 1 {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {}\r\n",
            self.version,
            self.address.port(),
            pts.join(" ")
        );
        for codec in &self.codecs {
            let _ = write!(sdp, "a=rtpmap:{} {}\r\n", codec.payload_type(), codec.rtpmap());
            if *codec == Codec::Opus {
                let _ = write!(sdp, "a=fmtp:{} minptime=10;useinbandfec=1\r\n", codec.payload_type());
            }
        }
        for (pt, clock) in &self.dtmf {
            let _ = write!(sdp, "a=rtpmap:{pt} telephone-event/{clock}\r\na=fmtp:{pt} 0-15\r\n");
        }
        for attribute in &self.attributes {
            let _ = write!(sdp, "a={attribute}\r\n");
        }
        let _ = write!(sdp, "a=ptime:20\r\na={}\r\n", self.direction);
        if let Some(video) = &self.video {
            video.write(&mut sdp);
        }
        sdp
    }
}

/// What the other side said.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Where it receives RTP.
    pub rtp: SocketAddr,
    /// Where it receives RTCP.
    pub rtcp: SocketAddr,
    /// Payload types in order.
    pub payload_types: Vec<u8>,
    /// telephone-event payload types with their clock rates.
    pub dtmf: Vec<(u8, u32)>,
    /// `sendrecv` when it does not say.
    pub direction: String,
    /// `o=` session id and version.
    pub origin: (String, u64),
    /// Its video line, when there is one; it may be refused (port 0).
    pub video: Option<VideoDescribed>,
}

impl Described {
    /// The first audio codec that it and we know.
    pub fn codec(&self) -> Option<Codec> {
        self.payload_types.iter().find_map(|&pt| Codec::of_payload_type(pt))
    }

    /// Reads an offer or answer with exactly one audio stream and after it at most one of video.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(sdp: &str) -> Result<Self, String> {
        if !sdp.starts_with("v=0\r\n") || !sdp.ends_with("\r\n") {
            return Err("does not begin with v=0 or does not end with CRLF".to_owned());
        }
        let (session, sections) = sections(sdp);
        let line = |kind: &str| session.iter().find_map(|l| l.strip_prefix(kind));
        for needed in ["o=", "s=", "t="] {
            line(needed).ok_or_else(|| format!("no {needed} line"))?;
        }
        let origin: Vec<&str> = line("o=").unwrap_or("").split(' ').collect();
        let [_, id, version, "IN", "IP4" | "IP6", _] = origin[..] else {
            return Err(format!("o={origin:?}"));
        };
        let origin = (id.to_owned(), version.parse().map_err(|_| format!("o= version {version:?}"))?);
        let (audio, video) = match &sections[..] {
            [audio] => (audio, None),
            [audio, video] => (audio, Some(video)),
            _ => return Err("not exactly one m= line, or two".to_owned()),
        };
        let audio = Stream::read("audio", &session, audio)?;
        if audio.profile != "RTP/AVP" {
            return Err(format!("audio profile {:?}", audio.profile));
        }
        let clock = |(pt, encoding): &(u8, String)| {
            let clock = encoding.strip_prefix("telephone-event/")?;
            Some(clock.parse().map(|clock| (*pt, clock)).map_err(|_| format!("rtpmap {encoding:?}")))
        };
        Ok(Self {
            rtp: audio.rtp,
            rtcp: audio.rtcp,
            dtmf: audio.rtpmaps.iter().filter_map(clock).collect::<Result<_, _>>()?,
            payload_types: audio.payload_types,
            direction: audio.direction,
            origin,
            video: video.map(|lines| VideoDescribed::read(&session, lines)).transpose()?,
        })
    }
}

/// Lines before the first `m=`, and those of each stream.
fn sections(sdp: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let (mut session, mut streams) = (Vec::new(), Vec::<Vec<&str>>::new());
    for line in sdp.lines() {
        if line.starts_with("m=") {
            streams.push(Vec::new());
        }
        streams.last_mut().unwrap_or(&mut session).push(line);
    }
    (session, streams)
}

/// What every kind of stream says.
struct Stream {
    profile: String,
    payload_types: Vec<u8>,
    rtp: SocketAddr,
    rtcp: SocketAddr,
    direction: String,
    /// Payload types with their encodings.
    rtpmaps: Vec<(u8, String)>,
}

impl Stream {
    fn read(kind: &str, session: &[&str], lines: &[&str]) -> Result<Self, String> {
        let media: Vec<&str> = lines.first().and_then(|l| l.strip_prefix("m=")).unwrap_or("").split(' ').collect();
        let [said, port, profile, pts @ ..] = &media[..] else {
            return Err(format!("m={media:?}"));
        };
        if *said != kind {
            return Err(format!("m={said} instead of {kind}"));
        }
        let port: u16 = port.parse().map_err(|_| format!("port {port:?}"))?;
        let payload_types = pts
            .iter()
            .map(|p| p.parse::<u8>().ok().filter(|p| *p < 128).ok_or_else(|| format!("payload type {p:?}")))
            .collect::<Result<Vec<u8>, _>>()?;
        // The stream's own connection, else the session's.
        let connections = lines.iter().chain(session).filter_map(|l| l.strip_prefix("c="));
        let connection = connections.into_iter().next().ok_or("no c= line")?;
        let address = connection.strip_prefix("IN IP4 ").or_else(|| connection.strip_prefix("IN IP6 "));
        let ip: IpAddr = address.and_then(|a| a.parse().ok()).ok_or_else(|| format!("c={connection}"))?;
        let mut rtpmaps = Vec::new();
        for map in attribute(lines, "rtpmap:") {
            let (pt, encoding) = map.split_once(' ').ok_or_else(|| format!("rtpmap {map:?}"))?;
            let pt: u8 = pt.parse().map_err(|_| format!("rtpmap {map:?}"))?;
            if !payload_types.contains(&pt) {
                return Err(format!("rtpmap for {pt}, which the m= line does not have"));
            }
            rtpmaps.push((pt, encoding.to_owned()));
        }
        let of = |lines: &[&str]| -> Vec<String> {
            let attributes = lines.iter().filter_map(|l| l.strip_prefix("a="));
            let is_direction = |a: &&str| matches!(*a, "sendrecv" | "sendonly" | "recvonly" | "inactive");
            attributes.filter(is_direction).map(str::to_owned).collect()
        };
        let (own, common) = (of(lines), of(session));
        if own.len() > 1 || common.len() > 1 {
            return Err(format!("directions {own:?} {common:?}"));
        }
        let direction = own.into_iter().chain(common).next().unwrap_or_else(|| "sendrecv".to_owned());
        let rtcp_port = match (attribute(lines, "rtcp-mux").next(), attribute(lines, "rtcp:").next()) {
            (Some(_), _) => port,
            (None, Some(rtcp)) => {
                let first = rtcp.split(' ').next().unwrap_or("");
                first.parse().map_err(|_| format!("a=rtcp:{rtcp}"))?
            }
            (None, None) => port.saturating_add(1),
        };
        Ok(Self {
            profile: (*profile).to_owned(),
            payload_types,
            rtp: SocketAddr::new(ip, port),
            rtcp: SocketAddr::new(ip, rtcp_port),
            direction,
            rtpmaps,
        })
    }
}

/// Values of the attributes with this beginning.
fn attribute<'a>(lines: &'a [&'a str], name: &'a str) -> impl Iterator<Item = &'a str> {
    lines.iter().filter_map(move |l| l.strip_prefix("a=")?.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_offer_is_read_back() {
        let spec = OfferSpec::new("127.0.0.1:4000".parse().unwrap(), &[Codec::Opus, Codec::Pcmu]);
        let read = Described::parse(&spec.to_sdp()).unwrap();
        assert_eq!(read.rtp, spec.address);
        assert_eq!(read.rtcp.port(), 4001);
        assert_eq!(read.payload_types, [111, 0, 101]);
        assert_eq!(read.codec(), Some(Codec::Opus));
        assert_eq!(read.dtmf, [(101, 48_000)]);
        assert_eq!(read.direction, "sendrecv");
    }

    #[test]
    fn sloppy_answers_are_refused() {
        let good = OfferSpec::new("127.0.0.1:4000".parse().unwrap(), &[Codec::Pcmu]).to_sdp();
        for (from, to) in [
            ("v=0\r\n", ""),
            ("\r\n", "\n"),
            ("c=IN IP4 127.0.0.1", "c=IN IP4 somewhere"),
            ("a=sendrecv", "a=sendonly\r\na=sendrecv"),
            ("a=rtpmap:0 PCMU/8000", "a=rtpmap:9 G722/8000"),
            ("t=0 0\r\n", ""),
        ] {
            assert!(Described::parse(&good.replace(from, to)).is_err(), "{from:?} -> {to:?}");
        }
    }
}
