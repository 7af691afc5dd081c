//! Events as they are announced: what kinds there are, and what each carries. Pure values; `serde` makes them the JSON that
//! is kept and sent.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::Id;
use crate::words::words;

words! {
    /// What happened.
    Kind {
        /// The API made a room.
        RoomCreated = "room.created",
        /// The API changed a room's settings.
        RoomUpdated = "room.updated",
        /// The API destroyed a room.
        RoomDestroyed = "room.destroyed",
        /// The first participant came.
        RoomStarted = "room.started",
        /// The last participant left.
        RoomEnded = "room.ended",
        /// Nobody new comes in.
        RoomLocked = "room.locked",
        /// New participants come in again.
        RoomUnlocked = "room.unlocked",
        /// Everyone but the chairman is muted.
        RoomMuted = "room.muted",
        /// The room's mute is lifted.
        RoomUnmuted = "room.unmuted",
        /// What is made of the room's picture changes: composing does not keep up, or does again.
        RoomPicture = "room.picture",
        /// Wrong PINs were keyed; `closed` says whether the room takes none for a while.
        RoomPinRejected = "room.pin_rejected",
        /// The scheduled start has come.
        RoomScheduleStarted = "room.schedule_started",
        /// The scheduled end has come.
        RoomScheduleEnded = "room.schedule_ended",
        /// An operator or the chairman has somebody called.
        ParticipantCalling = "participant.calling",
        /// Their phone rings.
        ParticipantRinging = "participant.ringing",
        /// They were called and did not come; `reason` says why.
        ParticipantNotReached = "participant.not_reached",
        /// Somebody waits for the chairman.
        ParticipantWaiting = "participant.waiting",
        /// Somebody asks for the word.
        ParticipantHandRaised = "participant.hand_raised",
        /// They do not ask for it any more.
        ParticipantHandLowered = "participant.hand_lowered",
        /// Somebody is in the room.
        ParticipantJoined = "participant.joined",
        /// Somebody is not in the room any more; `reason` says why.
        ParticipantLeft = "participant.left",
        /// Nobody hears them.
        ParticipantMuted = "participant.muted",
        /// They can be heard again.
        ParticipantUnmuted = "participant.unmuted",
        /// They lead the room; the former chairman does not.
        ParticipantChairman = "participant.chairman",
        /// They hold another tile, or none.
        ParticipantPosition = "participant.position",
        /// They began to talk.
        ParticipantTalking = "participant.talking",
        /// They stopped talking.
        ParticipantSilent = "participant.silent",
        /// The far end holds the call.
        ParticipantHeld = "participant.held",
        /// The far end resumed the call.
        ParticipantResumed = "participant.resumed",
        /// A recording began.
        RecordingStarted = "recording.started",
        /// A recording is complete.
        RecordingFinished = "recording.finished",
        /// A recording ended early, or was repaired after a crash; `reason` says why.
        RecordingFailed = "recording.failed",
        /// A recording was removed.
        RecordingDestroyed = "recording.destroyed",
        /// The API made a conference server.
        ServerCreated = "server.created",
        /// The API changed a conference server.
        ServerUpdated = "server.updated",
        /// The API removed a conference server.
        ServerDestroyed = "server.destroyed",
        /// A conference server takes calls.
        ServerOnline = "server.online",
        /// A conference server takes no more calls.
        ServerOffline = "server.offline",
        /// A backup took the place of everything: what was read before may not be true any more.
        StoreRestored = "store.restored",
        /// Events could not be kept while the database was away; `lost` says how many.
        EventsLost = "events.lost",
        /// The mail server has an invitation, or its withdrawal.
        InvitationSent = "invitation.sent",
        /// An invitation could not be sent and was given up; `reason` says why.
        InvitationFailed = "invitation.failed",
        /// Somebody tries out a webhook; it alone is sent this.
        WebhookTest = "webhook.test",
    }
}

impl Kind {
    /// Comes often and says little later: the first to go when there is no place, and sent to no webhook that does not ask.
    pub(super) const fn is_passing(self) -> bool {
        matches!(self, Self::ParticipantTalking | Self::ParticipantSilent)
    }
}

/// An event that is about to be kept.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// When it became true.
    pub at: Timestamp,
    /// Of which room.
    pub room: Option<Id>,
    /// The room's extension.
    pub extension: Option<String>,
    /// What happened.
    pub kind: Kind,
    /// To whom or what.
    pub data: Data,
}

/// What an event carries, by the first word of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Data {
    /// `room.*`
    Room(RoomData),
    /// `room.picture`
    Picture(PictureData),
    /// `room.pin_rejected`
    Pin(PinData),
    /// `participant.*`
    Participant(ParticipantData),
    /// `recording.*`
    Recording(RecordingData),
    /// `server.*`
    Server(ServerData),
    /// `invitation.*`
    Invitation(InvitationData),
    /// `store.restored`
    Restored {
        /// Of all tables.
        #[schema(examples(1234))]
        rows: u64,
    },
    /// `events.lost`
    Lost {
        /// How many.
        #[schema(examples(12))]
        lost: u64,
    },
    /// `webhook.test`
    Webhook {
        /// Which.
        webhook_id: Id,
    },
}

/// What `room.*` carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RoomData {
    /// For people.
    #[schema(examples("Weekly meeting"))]
    pub subject: String,
    /// Nobody new comes in.
    pub locked: bool,
    /// Everyone but the chairman is muted.
    pub muted: bool,
    /// As set, `LAYOUT0` to `LAYOUT9`.
    #[schema(examples("LAYOUT0"))]
    pub layout: &'static str,
}

/// What `room.picture` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PictureData {
    /// Pictures a second that are made now.
    #[schema(examples(15))]
    pub framerate: u32,
    /// Tiles of which the pictures are decoded, the main tile first; the others show names.
    #[schema(examples(9))]
    pub decoded: u64,
}

/// What `room.pin_rejected` carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PinData {
    /// Whose try it was.
    pub participant_id: Option<Id>,
    /// User part of the caller's address.
    #[schema(examples("101"))]
    pub number: Option<String>,
    /// `SOURCE`: the room takes no more PINs from this address for a while. `ROOM`: from nobody.
    #[schema(examples("SOURCE"))]
    pub closed: Option<&'static str>,
}

/// What `participant.*` carries: the participant as it is then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ParticipantData {
    /// Who.
    pub participant_id: Id,
    /// name-addr.
    #[schema(examples("\"Bob\"<sip:101@192.0.2.20>"))]
    pub display_name: String,
    /// User part of the address.
    #[schema(examples("101"))]
    pub number: String,
    /// Nobody hears them.
    pub muted: bool,
    /// Leads the room.
    pub chairman: bool,
    /// The tile held; −1 when none.
    #[schema(examples(0))]
    pub position: i32,
    /// The position was set.
    pub pinned: bool,
    /// Heard now.
    pub talking: bool,
    /// Held by the far end.
    pub on_hold: bool,
    /// `CALLING`, `RINGING`, `IN_MENU`, `WAITING` or `JOINED`.
    #[schema(examples("JOINED"))]
    pub state: &'static str,
    /// They ask for the word.
    pub hand_raised: bool,
    /// When they came.
    #[schema(value_type = String, format = "date-time", examples("2030-07-21T17:32:28Z"))]
    pub joined_at: Timestamp,
    /// Why they left, or were not reached.
    #[schema(examples("hung up"))]
    pub reason: Option<String>,
}

/// What `recording.*` carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordingData {
    /// Which.
    pub recording_id: Id,
    /// As people see it.
    #[schema(examples("900-20300721T173228Z.ogg"))]
    pub file_name: String,
    /// `RECORDING`, `FINISHED`, `RECOVERED` or `FAILED`.
    #[schema(examples("FINISHED"))]
    pub state: &'static str,
    /// Whole seconds.
    #[schema(examples(1800))]
    pub duration: Option<u64>,
    /// Bytes.
    #[schema(examples(7340032))]
    pub file_size: Option<u64>,
    /// Why it failed.
    #[schema(examples("the disk is full"))]
    pub reason: Option<String>,
}

/// What `invitation.*` carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvitationData {
    /// Mail address.
    #[schema(examples("bob@example.org"))]
    pub recipient: String,
    /// `REQUEST`, or `CANCEL` when the meeting is off or the recipient is not invited any more (RFC 5546).
    #[schema(examples("REQUEST"))]
    pub method: &'static str,
    /// Of the calendar entry: from 0, one more with each change.
    #[schema(examples(0))]
    pub sequence: u32,
    /// Why it was given up.
    #[schema(examples("permanent error (550): no such user"))]
    pub reason: Option<String>,
}

/// What `server.*` carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServerData {
    /// Which.
    pub server_id: Id,
    /// Its unique name.
    #[schema(examples("conclave-1"))]
    pub name: String,
}

impl Data {
    /// As it is kept and sent.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("BUG: plain fields are always JSON")
    }
}

impl NewEvent {
    /// Of no room, now.
    pub fn of_server(kind: Kind, server_id: Id, name: &str) -> Self {
        let data = Data::Server(ServerData { server_id, name: name.to_owned() });
        Self { at: crate::store::now(), room: None, extension: None, kind, data }
    }

    /// For one webhook, now.
    pub fn webhook_test(webhook_id: Id) -> Self {
        let (kind, data) = (Kind::WebhookTest, Data::Webhook { webhook_id });
        Self { at: crate::store::now(), room: None, extension: None, kind, data }
    }
}
