//! Our descriptions as text. Every word of the far end that is repeated goes through the writer of `sdp-types`, which
//! lets no line break in. Runs on the caller's thread.

use sdp_types::{Attribute, Connection, Media, Origin, Session, Time};

use super::agree::Choice;
use super::parse::{Encoding, LEVEL_URI};
use super::{AudioTerms, CodecName, Direction, LocalMedia, RejectedLine, Shape};

/// Payload types of our own offers: the ones that most clients use themselves.
const OPUS_PT: u8 = 111;
const EVENT_8000_PT: u8 = 101;
const EVENT_48000_PT: u8 = 110;
/// Extension id of our own offers.
const LEVEL_ID: u8 = 1;
/// What we want of an Opus sender: FEC when it sees loss, and no packet shorter than our tick.
const OPUS_FMTP: &str = "useinbandfec=1;minptime=20";

/// The answer that states `terms`.
pub(super) fn answer(choice: &Choice<'_>, terms: &AudioTerms, local: &LocalMedia) -> String {
    let mut audio = Audio::new(terms.direction, terms.ptime_ms);
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
    audio.rtcp(terms.rtcp_mux, local);
    describe(audio, &terms.shape, local)
}

/// An offer of ours; `present` when the session has terms already.
pub(super) fn offer(local: &LocalMedia, codecs: &[CodecName], present: Option<&AudioTerms>) -> String {
    let mut audio = Audio::new(Direction::SendRecv, present.map_or(20, |p| p.ptime_ms));
    let mut taken = Vec::new();
    // The codec in use leads, so that a refresh changes nothing.
    let in_use = present.map(|p| p.codec).filter(|codec| codecs.contains(codec));
    for codec in in_use.iter().chain(codecs.iter().filter(|codec| Some(**codec) != in_use)) {
        let known = present.filter(|p| p.codec == *codec).map(|p| p.pt);
        let pt = known.unwrap_or_else(|| free(codec_pt(*codec), &taken, present));
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
        let pt = known.unwrap_or_else(|| free(wanted, &taken, present));
        taken.push(pt);
        audio.event(pt, clock_hz, "0-15");
    }
    audio.attribute("extmap", format!("{} {LEVEL_URI} vad=on", level_id(present)));
    audio.rtcp(present.is_some_and(|p| p.rtcp_mux), local);
    let first_shape = Shape::default();
    describe(audio, present.map_or(&first_shape, |p| &p.shape), local)
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

/// The audio line while it grows.
struct Audio {
    formats: Vec<String>,
    maps: Vec<Attribute>,
    rest: Vec<Attribute>,
}

impl Audio {
    fn new(direction: Direction, ptime_ms: u8) -> Self {
        let rest = vec![
            Attribute::with_value("ptime", ptime_ms),
            Attribute::with_value("maxptime", 60),
            Attribute::new(direction.attribute()),
        ];
        Self { formats: Vec::new(), maps: Vec::new(), rest }
    }

    fn codec(&mut self, codec: CodecName, pt: u8, channels: Option<u32>, opus_fmtp: &str) {
        self.formats.push(pt.to_string());
        let (name, fmtp) = match codec {
            CodecName::Pcmu => ("PCMU/8000", None),
            CodecName::Pcma => ("PCMA/8000", None),
            CodecName::Opus => ("opus/48000", Some(opus_fmtp)),
        };
        let channels = channels.map(|c| format!("/{c}")).unwrap_or_default();
        self.maps.push(Attribute::with_value("rtpmap", format!("{pt} {name}{channels}")));
        if let Some(fmtp) = fmtp {
            self.maps.push(Attribute::with_value("fmtp", format!("{pt} {fmtp}")));
        }
    }

    fn event(&mut self, pt: u8, clock_hz: u32, events: &str) {
        self.formats.push(pt.to_string());
        self.maps.push(Attribute::with_value("rtpmap", format!("{pt} telephone-event/{clock_hz}")));
        self.maps.push(Attribute::with_value("fmtp", format!("{pt} {events}")));
    }

    fn attribute(&mut self, name: &str, value: String) {
        self.rest.push(Attribute::with_value(name, value));
    }

    /// RFC 5761 §5.1.1, or RFC 3605 where the port cannot be guessed.
    fn rtcp(&mut self, mux: bool, local: &LocalMedia) {
        if mux {
            self.rest.push(Attribute::new("rtcp-mux"));
        } else if local.rtp_port.checked_add(1) != Some(local.rtcp_port) {
            self.rest.push(Attribute::with_value("rtcp", local.rtcp_port));
        }
    }

    fn media(self, proto: &str, port: u16) -> Media {
        let mut media = line("audio", port, proto, &self.formats.join(" "));
        media.attributes = self.maps;
        media.attributes.extend(self.rest);
        media
    }
}

fn line(media: &str, port: u16, proto: &str, formats: &str) -> Media {
    Media {
        media: media.to_owned(),
        port,
        num_ports: None,
        proto: proto.to_owned(),
        fmt: formats.to_owned(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}

fn describe(audio: Audio, shape: &Shape, local: &LocalMedia) -> String {
    let address = local.address.to_canonical();
    let mut session = Session::new(Origin::with_ip_addr(local.session_id, local.session_version, address), "-");
    session.connection = Some(Connection::from_ip_addr(address));
    session.times = vec![Time::new(0, 0)];
    let refuse = |r: &RejectedLine| line(&r.media, 0, &r.proto, &r.formats);
    let before = shape.rejected.iter().take(shape.audio).map(refuse);
    session.medias.extend(before);
    session.medias.push(audio.media(&shape.proto, local.rtp_port));
    session.medias.extend(shape.rejected.iter().skip(shape.audio).map(refuse));
    let mut text = Vec::new();
    session.write(&mut text).expect("BUG: writing into memory cannot fail");
    String::from_utf8(text).expect("BUG: a description is made of strings")
}
