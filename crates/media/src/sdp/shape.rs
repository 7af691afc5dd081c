//! The media lines of a session in their order: a later description must have the same (RFC 3264 §8). Runs on the
//! caller's thread; knows nothing of codecs.

use super::Transport;
use super::agree::unusable;
use super::parse::{MAX_MEDIA, MediaLine};

/// How a description is laid out, so that our next one keeps to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(super) lines: Vec<ShapeLine>,
}

/// One media line, as the far end wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShapeLine {
    pub(super) usage: Usage,
    pub(super) media: String,
    pub(super) proto: String,
    /// All formats: the echo in a refusal, and payload types that must get no other meaning (RFC 3264 §8.3.2).
    pub(super) formats: String,
    /// The line's name, in a session over one transport.
    pub(super) mid: Option<String>,
}

/// What we do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Audio,
    Video,
    /// Port 0 (RFC 3264 §6).
    Refused,
}

impl Default for Shape {
    /// Our first offer of audio.
    fn default() -> Self {
        Self { lines: vec![ShapeLine::ours(Usage::Audio, "audio")] }
    }
}

impl ShapeLine {
    fn ours(usage: Usage, media: &str) -> Self {
        Self { usage, media: media.to_owned(), proto: "RTP/AVP".to_owned(), formats: String::new(), mid: None }
    }
}

impl Shape {
    /// Of a far end's lines, of which one or two are used.
    pub(super) fn new(lines: &[MediaLine], audio: usize, video: Option<usize>) -> Self {
        let usage = |n| match n {
            n if n == audio => Usage::Audio,
            n if Some(n) == video => Usage::Video,
            _ => Usage::Refused,
        };
        let line = |(n, line): (usize, &MediaLine)| ShapeLine {
            usage: usage(n),
            media: line.media.clone(),
            proto: line.proto.clone(),
            formats: line.formats.clone(),
            mid: line.secured.as_ref().and_then(|secured| secured.mid()).map(str::to_owned),
        };
        Self { lines: lines.iter().enumerate().map(line).collect() }
    }

    /// Where the line is that is used so.
    pub(super) fn position(&self, usage: Usage) -> Option<usize> {
        self.lines.iter().position(|line| line.usage == usage)
    }

    /// The formats that the line had, whatever they meant.
    pub(super) fn payload_types(&self, usage: Usage) -> impl Iterator<Item = u8> {
        let line = self.lines.iter().find(|line| line.usage == usage);
        line.into_iter().flat_map(|line| line.formats.split_whitespace()).filter_map(|pt| pt.parse().ok())
    }

    /// Of our next offer. A video line that was refused or dropped is taken up again, and a session without one gets
    /// one: an offer made on request is what a new call would get (RFC 3261 §14.2).
    pub(super) fn offered(mut self, video: bool) -> Self {
        if !video {
            self.refuse_video();
        } else if self.position(Usage::Video).is_none() {
            let reusable = |line: &&mut ShapeLine| {
                line.usage == Usage::Refused
                    && line.media.eq_ignore_ascii_case("video")
                    && unusable(&line.proto, Transport::Rtp).is_none()
            };
            if let Some(line) = self.lines.iter_mut().find(reusable) {
                line.usage = Usage::Video;
            } else if self.lines.len() < MAX_MEDIA {
                self.lines.push(ShapeLine::ours(Usage::Video, "video"));
            }
        }
        self
    }

    /// There is no video any more; its line stays.
    pub(super) fn refuse_video(&mut self) {
        for line in self.lines.iter_mut().filter(|line| line.usage == Usage::Video) {
            line.usage = Usage::Refused;
            if line.formats.is_empty() {
                // Any format does where there is none to repeat.
                "0".clone_into(&mut line.formats);
            }
        }
    }
}
