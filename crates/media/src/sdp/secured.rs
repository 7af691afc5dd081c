//! What WebRTC adds to a description (RFC 8829): ICE, DTLS, one transport for all lines, header extensions, packets sent
//! again as a stream of their own. Runs on the caller's thread; what is agreed is carried out by the leg.

use std::net::SocketAddr;

use sdp_types::{Attribute, Media, Session};

use super::parse::{MediaLine, value};
use crate::error::Error;

/// Bounds of RFC 8839 §5.4, in characters.
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PWD: std::ops::RangeInclusive<usize> = 22..=256;
/// Streams with an SSRC of one line that are looked at.
const MAX_SOURCES: usize = 8;
/// The media-level names that tell streams apart are short, everywhere.
const MAX_MID_BYTES: usize = 16;

/// Header extensions that are carried out beside audio levels (RFC 8285).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Which line a packet belongs to (RFC 9143 §15).
    Mid,
    /// A number over all streams, for the estimate of what the path carries.
    TransportSequence,
    /// When the packet left.
    SendTime,
}

impl Extension {
    const ALL: [Self; 3] = [Self::Mid, Self::TransportSequence, Self::SendTime];

    const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::TransportSequence => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::SendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        }
    }
}

/// One end's ICE credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name, which connectivity checks begin with.
    pub(crate) ufrag: String,
    /// The password, by which they are authenticated.
    pub(crate) pwd: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

impl Credentials {
    /// New ones, from the operating system's generator.
    pub(crate) fn random() -> Result<Self, Error> {
        // RFC 8839 §5.4: ice-char has 64 of them. 48 bits find the leg, 144 bits are not guessed.
        const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut random = [0u8; 32];
        getrandom::fill(&mut random).map_err(|e| Error::Broken(format!("no randomness: {e}")))?;
        let mut text = random.iter().map(|b| char::from(ICE_CHARS[usize::from(b & 63)]));
        Ok(Self { ufrag: text.by_ref().take(8).collect(), pwd: text.collect() })
    }
}

/// What a browser's datagrams travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WebProtocol {
    Udp,
    /// Each behind its length (RFC 4571), on a connection that the browser opens.
    Tcp,
}

impl WebProtocol {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// Our end of a secured session, as it is written into every description of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalSecured {
    pub credentials: Credentials,
    /// `a=fingerprint` of our certificate, as it is written.
    pub fingerprint: String,
    /// Where we can be reached, best first; not empty.
    pub candidates: Vec<(SocketAddr, WebProtocol)>,
    /// Sources of our sound, our picture, and its packets sent again.
    pub audio_ssrc: u32,
    pub video_ssrc: u32,
    pub rtx_ssrc: u32,
}

/// What was agreed beside the media.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecuredTerms {
    pub remote: Credentials,
    /// Hash function and digest of the far end's certificate.
    pub fingerprint: (String, Vec<u8>),
    /// We begin the DTLS handshake.
    pub active: bool,
    pub audio: SecuredStream,
    pub video: Option<SecuredStream>,
    /// Under which id the far end sends audio levels (RFC 6464).
    pub level_id: Option<u8>,
}

/// What was agreed of one line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecuredStream {
    /// The line's name.
    pub mid: String,
    pub extensions: Vec<(u8, Extension)>,
    /// The far end's sources: each stream, and where its packets are sent again.
    pub sources: Vec<(u32, Option<u32>)>,
    /// Payload type of packets that are sent again (RFC 4588), for the format in use.
    pub rtx_pt: Option<u8>,
    /// The far end says when each packet of ours came.
    pub transport_cc: bool,
}

/// What a line of an offer says of all this.
#[derive(Clone, Debug)]
pub(super) struct SecuredLine {
    mid: Option<String>,
    credentials: Option<Credentials>,
    fingerprint: Option<(String, Vec<u8>)>,
    setup: Option<String>,
    extensions: Vec<(u8, Extension)>,
    sources: Vec<(u32, Option<u32>)>,
    /// Payload type, and which one it sends again.
    rtx: Vec<(u8, u8)>,
    transport_cc: Vec<Option<u8>>,
    rtcp_mux: bool,
    /// Shares its transport with the others.
    is_bundled: bool,
}

impl SecuredLine {
    /// Of a line over DTLS.
    pub(super) fn read(session: &Session, media: &Media) -> Self {
        let own = || media.attributes.iter();
        let inherited = |name: &'static str| own().chain(&session.attributes).find_map(move |a| value(a, name));
        let mid = own()
            .find_map(|a| value(a, "mid"))
            .filter(|mid| (1..=MAX_MID_BYTES).contains(&mid.len()) && mid.bytes().all(|b| b.is_ascii_graphic()));
        let groups = session.attributes.iter().filter_map(|a| value(a, "group"));
        let is_bundled = groups
            .filter_map(|group| group.strip_prefix("BUNDLE"))
            .any(|group| mid.is_some_and(|mid| group.split_whitespace().any(|member| member == mid)));
        let credentials = inherited("ice-ufrag").zip(inherited("ice-pwd")).and_then(|(u, p)| credentials(u, p));
        Self {
            mid: mid.map(str::to_owned),
            credentials,
            fingerprint: inherited("fingerprint").and_then(fingerprint),
            setup: inherited("setup").map(str::to_ascii_lowercase),
            extensions: own().filter_map(extension).fold(Vec::new(), |mut all, (id, kind)| {
                if !all.iter().any(|(known_id, known)| *known_id == id || *known == kind) {
                    all.push((id, kind));
                }
                all
            }),
            sources: sources(media),
            rtx: own().filter_map(rtx).take(64).collect(),
            transport_cc: own().filter_map(transport_cc).take(64).collect(),
            rtcp_mux: own().any(|a| a.attribute.eq_ignore_ascii_case("rtcp-mux")),
            is_bundled,
        }
    }

    /// The far end's ICE name.
    pub(super) fn ufrag(&self) -> Option<&str> {
        self.credentials.as_ref().map(|credentials| credentials.ufrag.as_str())
    }

    pub(super) fn mid(&self) -> Option<&str> {
        self.mid.as_deref()
    }

    fn stream(&self, pt: u8) -> SecuredStream {
        let map = |name| self.rtx.iter().find(move |(_, of)| *of == name).map(|(rtx, _)| *rtx);
        SecuredStream {
            mid: self.mid.clone().unwrap_or_default(),
            extensions: self.extensions.clone(),
            sources: self.sources.clone(),
            rtx_pt: map(pt),
            transport_cc: self.transport_cc.iter().any(|of| of.is_none_or(|of| of == pt))
                && self.extensions.iter().any(|(_, kind)| *kind == Extension::TransportSequence),
        }
    }
}

/// The terms of a session whose audio and video lines were chosen with these payload types. [`Error::Peer`] says what the
/// offer lacks.
pub(super) fn terms(
    audio: (&MediaLine, u8),
    video: Option<(&MediaLine, u8)>,
    level_id: Option<u8>,
) -> Result<SecuredTerms, Error> {
    let lacks = |what: &str| Error::Peer(format!("the audio line of the offer has no {what}"));
    let line = audio.0.secured.as_ref().ok_or_else(|| lacks("DTLS transport"))?;
    // A line that is bundled may leave to the first one what belongs to their transport (RFC 9143 §7.1.3).
    let first = video.filter(|_| line.is_bundled).and_then(|(video, _)| video.secured.as_ref());
    let remote = line
        .credentials
        .clone()
        .or_else(|| first?.credentials.clone())
        .ok_or_else(|| lacks("ICE credentials (a=ice-ufrag, a=ice-pwd)"))?;
    let fingerprint = line
        .fingerprint
        .clone()
        .or_else(|| first?.fingerprint.clone())
        .ok_or_else(|| lacks("certificate fingerprint that can be checked (a=fingerprint)"))?;
    if line.mid.is_none() {
        return Err(lacks("name (a=mid)"));
    }
    if !line.rtcp_mux {
        return Err(lacks("a=rtcp-mux, without which RTCP would need a port of its own"));
    }
    let active = match line.setup.as_deref().or_else(|| first?.setup.as_deref()) {
        Some("actpass" | "active") | None => false,
        Some("passive") => true,
        Some(_) => return Err(lacks("role in the DTLS handshake that can be taken (a=setup)")),
    };
    let video = video.and_then(|(video, pt)| Some(video.secured.as_ref()?.stream(pt)));
    let mut audio = line.stream(audio.1);
    if video.is_none() {
        // Sound alone is sent as it is, whatever the path: its feedback would be a packet in five for nothing.
        audio.transport_cc = false;
        audio.extensions.retain(|(_, kind)| *kind != Extension::TransportSequence);
    }
    Ok(SecuredTerms { remote, fingerprint, active, audio, video, level_id })
}

/// Whether a video line goes over the audio line's transport: there is no other.
pub(super) fn shares_transport(video: &MediaLine, audio: &MediaLine) -> bool {
    let usable = |line: &MediaLine| line.secured.as_ref().is_some_and(|s| s.is_bundled && s.mid.is_some());
    usable(video) && usable(audio)
}

/// An ICE restart as a fragment (RFC 8840): the far end's new credentials, if there are any.
pub(crate) fn read_fragment(fragment: &str) -> Result<Option<Credentials>, Error> {
    if fragment.len() > super::parse::MAX_BYTES {
        return Err(Error::Peer("the fragment is longer than 64 KiB".to_owned()));
    }
    let find = |name: &str| {
        let mut lines = fragment.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
    };
    match (find("ice-ufrag"), find("ice-pwd")) {
        (Some(ufrag), Some(pwd)) => match credentials(ufrag, pwd) {
            Some(credentials) => Ok(Some(credentials)),
            None => Err(Error::Peer("the fragment's ICE credentials are not well-formed".to_owned())),
        },
        (None, None) => Ok(None),
        _ => Err(Error::Peer("the fragment has only one of a=ice-ufrag and a=ice-pwd".to_owned())),
    }
}

/// Our answer to it.
pub(crate) fn write_fragment(local: &LocalSecured) -> String {
    let Credentials { ufrag, pwd } = &local.credentials;
    let mut text = format!("a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
    for candidate in candidates(&local.candidates) {
        text.push_str(&format!("a=candidate:{candidate}\r\n"));
    }
    text.push_str("a=end-of-candidates\r\n");
    text
}

/// Host candidates (RFC 8839 §5.1), the first with the highest priority (RFC 8445 §5.1.2). TCP comes after all UDP: it is for those
/// whom nothing else reaches (RFC 6544 §4.2), and it is they who connect.
pub(super) fn candidates(addresses: &[(SocketAddr, WebProtocol)]) -> impl Iterator<Item = String> + '_ {
    addresses.iter().zip(0u32..).map(|((address, protocol), n)| {
        let (kind, preference, more) = match protocol {
            WebProtocol::Udp => ("udp", 126, ""),
            WebProtocol::Tcp => ("tcp", 90, " tcptype passive"),
        };
        let priority = (preference << 24) | (65_535u32.saturating_sub(n) << 8) | 255;
        format!("{} 1 {kind} {priority} {} {} typ host{more}", n + 1, address.ip(), address.port())
    })
}

/// The attributes that a line of ours carries beside its media.
pub(super) fn attributes(stream: &SecuredStream, local: &LocalSecured, active: bool) -> Vec<Attribute> {
    let setup = if active { "active" } else { "passive" };
    let mut all = vec![
        Attribute::with_value("mid", &stream.mid),
        Attribute::with_value("ice-ufrag", &local.credentials.ufrag),
        Attribute::with_value("ice-pwd", &local.credentials.pwd),
        Attribute::with_value("fingerprint", &local.fingerprint),
        Attribute::with_value("setup", setup),
    ];
    all.extend(
        stream.extensions.iter().map(|(id, kind)| Attribute::with_value("extmap", format!("{id} {}", kind.uri()))),
    );
    all
}

/// Where we can be reached, on the line whose transport the others share.
pub(super) fn addresses(local: &LocalSecured) -> impl Iterator<Item = Attribute> + '_ {
    let all = candidates(&local.candidates).map(|text| Attribute::with_value("candidate", text));
    all.chain([Attribute::new("end-of-candidates")])
}

/// Whose streams ours are: sound and picture belong together (RFC 8830), and have one name.
pub(super) fn sources_of_ours(track: &str, cname: &str, ssrc: u32, rtx: Option<u32>) -> Vec<Attribute> {
    let mut all = vec![Attribute::with_value("msid", format!("conclave {track}"))];
    if let Some(rtx) = rtx {
        all.push(Attribute::with_value("ssrc-group", format!("FID {ssrc} {rtx}")));
    }
    all.extend(
        std::iter::once(ssrc).chain(rtx).map(|ssrc| Attribute::with_value("ssrc", format!("{ssrc} cname:{cname}"))),
    );
    all
}

fn credentials(ufrag: &str, pwd: &str) -> Option<Credentials> {
    let (ufrag, pwd) = (ufrag.trim(), pwd.trim());
    // Some write '-' or '_', which are no ice-chars, and all understand it.
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    let fits = UFRAG.contains(&ufrag.len()) && PWD.contains(&pwd.len()) && is_plain(ufrag) && is_plain(pwd);
    fits.then(|| Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
}

/// `<hash> <AB:CD:…>` (RFC 8122 §5), with a hash that is worth something.
fn fingerprint(text: &str) -> Option<(String, Vec<u8>)> {
    let (hash, digest) = text.split_once(' ')?;
    let hash = hash.to_ascii_lowercase();
    let digest: Vec<u8> =
        digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).take(65).collect::<Option<_>>()?;
    (hash == "sha-256" && digest.len() == 32).then_some((hash, digest))
}

/// `<id>[/<direction>] <uri>`.
fn extension(attribute: &Attribute) -> Option<(u8, Extension)> {
    let mut fields = value(attribute, "extmap")?.split_whitespace();
    let id = fields.next()?.split('/').next()?.parse().ok().filter(|id| (1..=14).contains(id))?;
    let uri = fields.next()?;
    Some((id, Extension::ALL.into_iter().find(|kind| kind.uri() == uri)?))
}

/// Sources by `a=ssrc`, and which of them sends another's packets again by `a=ssrc-group:FID`.
fn sources(media: &Media) -> Vec<(u32, Option<u32>)> {
    let named =
        media.attributes.iter().filter_map(|a| value(a, "ssrc")?.split_whitespace().next()?.parse::<u32>().ok());
    let groups: Vec<(u32, u32)> = media
        .attributes
        .iter()
        .filter_map(|a| {
            let mut fields = value(a, "ssrc-group")?.split_whitespace();
            (fields.next()? == "FID").then_some(())?;
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .take(MAX_SOURCES)
        .collect();
    let mut all: Vec<(u32, Option<u32>)> = Vec::new();
    for ssrc in named {
        let is_known = all.iter().any(|(known, _)| *known == ssrc) || groups.iter().any(|(_, rtx)| *rtx == ssrc);
        if !is_known && ssrc != 0 && all.len() < MAX_SOURCES {
            all.push((ssrc, groups.iter().find(|(main, _)| *main == ssrc).map(|(_, rtx)| *rtx)));
        }
    }
    all
}

/// `a=fmtp:<pt> apt=<pt>` (RFC 4588 §8.1).
fn rtx(attribute: &Attribute) -> Option<(u8, u8)> {
    let (pt, parameters) = value(attribute, "fmtp")?.split_once(' ')?;
    let apt = parameters.split(';').find_map(|p| p.trim().strip_prefix("apt="))?;
    Some((pt.parse().ok().filter(|pt| *pt < 128)?, apt.trim().parse().ok()?))
}

/// `a=rtcp-fb:<pt>|* transport-cc`.
fn transport_cc(attribute: &Attribute) -> Option<Option<u8>> {
    let mut fields = value(attribute, "rtcp-fb")?.split_whitespace();
    let of = fields.next()?;
    (fields.next()? == "transport-cc").then_some(())?;
    if of == "*" { Some(None) } else { of.parse().ok().map(Some) }
}
