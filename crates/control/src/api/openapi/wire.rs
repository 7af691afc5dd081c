//! Schemas of single values on the wire: ids, times, closed sets of words.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::api::auth::Grant;
use crate::auth::JoinRole;
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::{Control, Layout, Mode, RoomState};
use crate::store::{DeliveryState, RecordingState, ServerKind, WebhookSource};

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Names a server, room, participant, recording, token or webhook. Opaque."))
            .examples(["NzAwNTUxOTA5NzczMTQ4MTYw"])
            .into()
    }
}

impl ToSchema for Id {}

/// A time as it is answered.
pub(in crate::api) enum Time {}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, in UTC."))
            .examples(["2030-07-21T17:32:28Z"])
            .into()
    }
}

impl ToSchema for Time {}

/// A file, as it is.
pub(in crate::api) enum Bytes {}

impl PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        let format = Some(SchemaFormat::KnownFormat(KnownFormat::Binary));
        ObjectBuilder::new().schema_type(Type::String).format(format).description(Some("A file, as it is.")).into()
    }
}

impl ToSchema for Bytes {}

/// What a word of the wire may be.
macro_rules! words_schema {
    ($($name:ty: $words:expr, $about:literal;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = $words.iter().copied();
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).description(Some($about)).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

/// Of a refusal.
pub(in crate::api) enum ErrorCode {}
/// Of a server.
pub(in crate::api) enum ServerState {}
/// Of a participant.
pub(in crate::api) enum ParticipantState {}
/// Of a participant.
pub(in crate::api) enum Transport {}

words_schema! {
    Mode: Mode::WORDS, "AUDIO: sound only. VIDEO: sound and one composed picture.";
    Control: Control::WORDS, "FREE: everyone may speak. MASTER: led by a chairman.";
    Layout: Layout::WORDS, "How participants are placed in the picture. LAYOUT0 has as many tiles as are needed.";
    ServerKind: ["INTERNAL", "EXTERNAL"], "INTERNAL: the one that came with this installation. EXTERNAL: one that was added.";
    RecordingState: ["RECORDING", "FINISHED", "RECOVERED", "FAILED"],
        "RECORDING: it runs. FINISHED: it ended as it should. RECOVERED: the server ended before it did; what was written was \
         repaired. FAILED: it ended early, or never began.";
    ErrorCode: Error::CODES, "Of a refusal.";
    RoomState: ["ON_CALL", "ONLINE", "OFFLINE"],
        "ON_CALL: somebody is in it. ONLINE: some server could host it now. OFFLINE: none could.";
    ServerState: ["ONLINE", "OFFLINE"], "ONLINE: its process runs. OFFLINE: nothing is known of it.";
    JoinRole: JoinRole::WORDS, "PARTICIPANT: one of many. CHAIRMAN: leads the room.";
    Grant: Grant::WORDS, "password: by a password. refresh_token: by what the last answer gave.";
    WebhookSource: ["CONFIG", "API"], "CONFIG: the settings have it. API: it was made here.";
    DeliveryState: DeliveryState::WORDS, "PENDING: it waits, or is tried again. DEAD: it was given up.";
    ParticipantState: ["CALLING", "RINGING", "IN_MENU", "WAITING", "JOINED"],
        "CALLING, RINGING: it was invited and has not answered. IN_MENU: it is asked for a PIN. WAITING: for the chairman. \
         JOINED: it is in the room.";
    Transport: ["SIP", "WEBRTC"], "How it came in.";
}
