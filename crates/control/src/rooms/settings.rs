//! What a room is set to be: the fields that the API creates and updates, in domain types. Pure values; knows neither
//! JSON nor SQL.

use jiff::Timestamp;

use media::{Bitrate, FrameRate, Resolution, VideoSpec};

use super::tiles::Shape;
use crate::ids::Id;
use crate::words::words;

words! {
    /// Sound only, or pictures too.
    Mode {
        /// Sound only.
        Audio = "AUDIO",
        /// Sound and one composed picture.
        Video = "VIDEO",
    }
}

words! {
    /// Who may speak.
    Control {
        /// Everyone.
        Free = "FREE",
        /// Led by a chairman.
        Master = "MASTER",
    }
}

words! {
    /// How participants are placed in the picture.
    Layout {
        /// As many tiles as there are participants, at most nine.
        Layout0 = "LAYOUT0",
        /// One.
        Layout1 = "LAYOUT1",
        /// Two.
        Layout2 = "LAYOUT2",
        /// Three.
        Layout3 = "LAYOUT3",
        /// Four.
        Layout4 = "LAYOUT4",
        /// Five.
        Layout5 = "LAYOUT5",
        /// Six.
        Layout6 = "LAYOUT6",
        /// Seven.
        Layout7 = "LAYOUT7",
        /// Eight.
        Layout8 = "LAYOUT8",
        /// Nine.
        Layout9 = "LAYOUT9",
    }
}

impl From<Layout> for media::Layout {
    fn from(layout: Layout) -> Self {
        let number = match layout {
            Layout::Layout0 => 0,
            Layout::Layout1 => 1,
            Layout::Layout2 => 2,
            Layout::Layout3 => 3,
            Layout::Layout4 => 4,
            Layout::Layout5 => 5,
            Layout::Layout6 => 6,
            Layout::Layout7 => 7,
            Layout::Layout8 => 8,
            Layout::Layout9 => 9,
        };
        Self::from_number(number).expect("BUG: media knows LAYOUT0 to LAYOUT9")
    }
}

/// A number that calls out of the room show.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OutboundCallerId {
    /// The trunk's id, as the API was given it.
    pub provider_id: String,
    /// What the callee sees.
    pub caller_id: String,
    /// For people.
    pub description: Option<String>,
}

/// Everything that can be set of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// What is dialled: 3–64 digits.
    pub extension_number: String,
    /// Sound, or sound and picture.
    pub mode: Mode,
    /// Who may speak.
    pub control: Control,
    /// Even pixels.
    pub height_px: u32,
    /// Even pixels.
    pub width_px: u32,
    /// Of the picture.
    pub bitrate_kbps: u32,
    /// Pictures a second.
    pub framerate: u32,
    /// Of the picture.
    pub layout: Layout,
    /// For people.
    pub subject: String,
    /// BCP 47.
    pub language: Option<String>,
    /// Participants at once.
    pub capacity: u32,
    /// Makes one chairman.
    pub admin_pin: Option<String>,
    /// Lets one in.
    pub room_pin: Option<String>,
    /// Recording starts with the first participant.
    pub enable_recording: bool,
    /// The voice menu.
    pub enable_prompt: bool,
    /// IANA name.
    pub timezone: Option<String>,
    /// When the meeting begins.
    pub scheduled_start_at: Option<Timestamp>,
    /// When it ends.
    pub scheduled_end_at: Option<Timestamp>,
    /// Dial-in numbers, for people.
    pub numbers: Option<String>,
    /// Ids, kept and returned.
    pub internal_invitees: Option<Vec<String>>,
    /// Mail addresses, separated by `;`.
    pub external_invitees: Option<String>,
    /// Numbers that calls out of the room show.
    pub outbound_caller_ids: Option<Vec<OutboundCallerId>>,
    /// A JSON object as text.
    pub custom_options: Option<String>,
}

impl RoomSettings {
    /// The tiles of its picture; a room without one has no tiles, and positions all the same.
    pub(super) fn shape(&self) -> Shape {
        match self.mode {
            Mode::Audio => None,
            Mode::Video => Some(self.layout.into()),
        }
    }

    /// Its picture, if it has one.
    pub(super) fn video(&self) -> Option<VideoSpec> {
        // What is stored was checked when it came; a hand in the database gets the default size.
        let default = Resolution::new(1280, 720).expect("BUG: 1280x720 is a size");
        (self.mode == Mode::Video).then(|| VideoSpec {
            resolution: Resolution::new(self.width_px, self.height_px).unwrap_or(default),
            framerate: FrameRate::per_second(self.framerate),
            bitrate: Bitrate::kbps(self.bitrate_kbps),
            name_strips: true,
        })
    }
}

/// A room as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRecord {
    /// Which room.
    pub id: Id,
    /// What it is set to be.
    pub settings: RoomSettings,
    /// What a browser joins with.
    pub token: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What holds for its present or next call.
    pub policy: Policy,
}

/// What an operator set for the present or the next call of a room; cleared when the room empties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Nobody new comes in.
    pub locked: bool,
    /// Everyone but the chairman is muted, late joiners too.
    pub muted: bool,
}
