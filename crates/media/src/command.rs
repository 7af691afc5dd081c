//! Everything that control and the engine say to each other, on one page. Commands go down, events (facts, past tense)
//! come up; both queues are bounded. Nothing here is serializable: wire types are made at control's edge.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::audio::prompt::Playback;
use crate::error::Error;
use crate::leg::Leg;
use crate::record::{PictureTap, Tap};
use crate::room::ComposerLink;
use crate::sdp::secured::Credentials;
use crate::sdp::{Answer, Offer};
use crate::stats::RoomSnapshot;
use crate::units::{Bitrate, FrameRate, Gain, LegId, PlaybackId, RecordingId, Resolution, RoomId};
use crate::video::picture::Picture;
use crate::video::stage::Arrangement;

/// What a room is, fixed when it opens on a worker.
#[derive(Clone, Debug)]
pub struct RoomSpec {
    /// How its sound is mixed and encoded.
    pub audio: AudioSpec,
    /// Its picture, if it has one.
    pub video: Option<VideoSpec>,
}

/// What a room's picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoSpec {
    /// Its size.
    pub resolution: Resolution,
    /// Pictures a second.
    pub framerate: FrameRate,
    /// Of each encode at the room's size.
    pub bitrate: Bitrate,
    /// Names are written over pictures.
    pub name_strips: bool,
}

/// How a room's sound is mixed and encoded.
#[derive(Clone, Debug)]
pub struct AudioSpec {
    /// Legs heard at once; 0 mixes everybody.
    pub max_talkers: usize,
    /// Opus rate of every encode in this room.
    pub opus_bitrate: Bitrate,
    /// Opus encoder complexity, 0–10.
    pub opus_complexity: u8,
}

/// What an operator can set of a leg.
#[derive(Clone, Copy, Debug)]
pub struct LegSettings {
    /// Its sound does not reach the room.
    pub muted: bool,
    /// It hears nothing.
    pub deaf: bool,
    /// Applied to what it says.
    pub gain_in: Gain,
    /// Applied to what it hears. Anything but unity costs that leg an encode of its own.
    pub gain_out: Gain,
}

impl Default for LegSettings {
    fn default() -> Self {
        Self { muted: false, deaf: false, gain_in: Gain::UNITY, gain_out: Gain::UNITY }
    }
}

/// A one-shot answer to a command: called once, on the worker's thread, and must not block.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T: 'static> Reply<T> {
    /// Wraps what is to happen with the answer, such as `move |v| { let _ = oneshot.send(v); }`.
    pub fn new(deliver: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(deliver))
    }
    /// For a command whose outcome nobody waits for.
    pub fn ignore() -> Self {
        Self(Box::new(drop))
    }
    pub(crate) fn send(self, value: T) {
        (self.0)(value);
    }
}

impl<T> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

/// What control tells a worker. Applied between two ticks, in order.
#[expect(missing_docs, reason = "a field is what its type says")]
#[derive(Debug)]
pub enum Command {
    /// The room exists from now on; it costs nothing until a leg joins.
    OpenRoom { room: RoomId, spec: RoomSpec, composer: Option<ComposerLink> },
    /// Its legs are dropped, its recording is finished.
    CloseRoom { room: RoomId },
    /// The leg moves into the room. The name is for its tile.
    Join { room: RoomId, leg: Box<Leg>, name: Arc<str>, settings: LegSettings, reply: Reply<Result<(), Error>> },
    /// A re-INVITE: hold, resume, another address or codec.
    Renegotiate { room: RoomId, leg: LegId, offer: Box<Offer>, reply: Reply<Result<Answer, Error>> },
    /// An offerless re-INVITE: our present offer.
    Reoffer { room: RoomId, leg: LegId, reply: Reply<Result<String, Error>> },
    /// The far end of a browser's leg restarts ICE with these credentials; the answer is our fragment.
    RestartIce { room: RoomId, leg: LegId, remote: Credentials, reply: Reply<Result<String, Error>> },
    /// The leg is dropped.
    Leave { room: RoomId, leg: LegId },
    /// Takes the leg out with its sockets, to join another room.
    Detach { room: RoomId, leg: LegId, reply: Reply<Result<Box<Leg>, Error>> },
    /// Plays to this leg alone, over what it hears, in place of what is being played to it.
    Play { room: RoomId, leg: LegId, playback: Playback },
    /// Ends what is being played to the leg.
    StopPlaying { room: RoomId, leg: LegId },
    /// Plays into the room's mix, after what is being announced.
    Announce { room: RoomId, playback: Playback },
    /// Ends what is announced in a loop.
    Hush { room: RoomId },
    /// Replaces the leg's settings.
    Set { room: RoomId, leg: LegId, settings: LegSettings },
    /// Another picture: size, rate or look, without a leg being dropped.
    SetVideo { room: RoomId, spec: VideoSpec },
    /// Who is shown where.
    Arrange { room: RoomId, arrangement: Box<Arrangement> },
    /// The far end cannot decode without a keyframe (SIP INFO, RFC 5168).
    Refresh { room: RoomId, leg: LegId },
    /// A copy of the picture as it is now.
    Preview { room: RoomId, reply: Reply<Result<Picture, Error>> },
    /// The room's full mix goes to this tap from the next tick on, its pictures to the other.
    StartRecording { room: RoomId, tap: Tap, pictures: Option<PictureTap>, reply: Reply<Result<(), Error>> },
    /// Ends the tap; `RecordingFinished` follows when the file is complete.
    StopRecording { room: RoomId, recording: RecordingId },
    /// A copy of what the worker knows of the room.
    Snapshot { room: RoomId, reply: Reply<Result<RoomSnapshot, Error>> },
    /// Drops everything and ends the thread.
    Stop,
}

/// A fact from the engine.
#[expect(missing_docs, reason = "a field is what its type says")]
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The first valid media packet of the leg arrived.
    LegUp { room: RoomId, leg: LegId },
    /// The leg ended on the media side; it is gone from the room.
    LegDown { room: RoomId, leg: LegId, reason: LegEnd },
    /// The leg started or stopped to be heard.
    Talking { room: RoomId, leg: LegId, talking: bool },
    /// A key was pressed: an event (RFC 4733), or a tone in the sound of a leg that has no events.
    Dtmf { room: RoomId, leg: LegId, digit: Digit },
    /// What was played to the leg, or announced to the room, came to its end: it was neither stopped nor replaced.
    Played { room: RoomId, leg: Option<LegId>, playback: PlaybackId },
    /// The file is complete on disk.
    RecordingFinished { room: RoomId, recording: RecordingId, file: FinishedFile },
    /// The recording ended early; what was written stays.
    RecordingFailed { room: RoomId, recording: RecordingId, reason: String, file: Option<FinishedFile> },
    /// The leg's pictures cannot be decoded without a keyframe, and RTCP may not reach its sender (RFC 5168).
    RefreshWanted { room: RoomId, leg: LegId },
    /// Composing does not keep up, or does again: so many pictures a second are made, so many tiles decoded.
    PictureStrained { room: RoomId, framerate: FrameRate, decoded: usize },
    /// What is recorded has to go on in another file: the picture has another size.
    PictureResized { room: RoomId },
    /// The room's picture cannot be made. Its sound goes on.
    PictureFailed { room: RoomId, reason: String },
    /// The room panicked and was closed with all its legs.
    RoomFailed { room: RoomId, reason: String },
    /// Ticks of a worker were late enough to be skipped.
    TickOverrun { worker: usize, late: Duration, skipped: u32 },
    /// Events were lost: the receiver must take snapshots.
    Lagged { worker: usize },
}

/// Why a leg ended on the media side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegEnd {
    /// No media packet for the configured time while not on hold.
    MediaTimeout,
    /// A panic in the leg was caught.
    Failed(String),
    /// The far end closed its media session.
    Closed,
    /// The media session cannot go on, for this reason: its encryption failed.
    Broken(String),
}

/// A finished recording file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Playing time.
    pub duration: Duration,
    /// Size on disk.
    pub bytes: u64,
}

/// A telephone key. `Debug` does not show which: digits never reach a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digit(u8);

impl Digit {
    /// From an RFC 4733 event code, 0–15.
    pub const fn from_event(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }
    /// From `0`–`9`, `*`, `#`, `A`–`D`.
    pub fn from_char(c: char) -> Option<Self> {
        Some(Self(match c.to_ascii_uppercase() {
            d @ '0'..='9' => d as u8 - b'0',
            '*' => 10,
            '#' => 11,
            l @ 'A'..='D' => l as u8 - b'A' + 12,
            _ => return None,
        }))
    }
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub const fn as_char(self) -> char {
        match self.0 {
            d @ 0..=9 => (b'0' + d) as char,
            10 => '*',
            11 => '#',
            l => (b'A' + l - 12) as char,
        }
    }
}

impl std::fmt::Debug for Digit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digit(hidden)")
    }
}
