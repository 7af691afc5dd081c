//! The rules of a room's fields (api.md section 3): wire to domain, once, with one violation for each broken field.

use crate::api::fields::{
    Addresses, Boolean, Fields, JsonText, Language, MAX_LIST, Nested, Time, TimeZone, body, digits, integer, list_of,
    text, word,
};
use crate::error::{Error, Violation};
use crate::rooms::{Control, Layout, Mode, OutboundCallerId, RoomSettings};

/// One for each trunk, and all of them in one body.
const MAX_CALLER_IDS: usize = 100;

const DEFAULT_HEIGHT: i64 = 720;
const DEFAULT_WIDTH: i64 = 1280;
const DEFAULT_BITRATE_KBPS: i64 = 1024;
const DEFAULT_FRAMERATE: i64 = 15;

body! {
    /// A new room. Optional fields that are absent or null take their defaults, or have no value.
    struct RoomCreation (creates) {
        /// What is dialled. No two rooms have the same; it cannot be changed later.
        required extension_number: String = digits(3, 64), example "900";
        /// Sound only, or sound and one composed picture. It cannot be changed later.
        required mode: Mode = word(Mode::WORDS, Mode::parse), example "AUDIO";
        /// The subject, for people.
        required subject: String = text(1, 64), example "Weekly meeting";
        /// Participants that the room takes at once.
        required capacity: i64 = integer(1, 200), example 9;
        /// Whether recording starts with the first participant. It cannot be changed later.
        optional enable_recording: bool = Boolean, default false, example false;
        part rest: RoomOptions;
    }
}

body! {
    /// What of a room is to change. Absent fields stay as they are; null clears a field, or takes it back to its default.
    /// `extension_number`, `mode` and `enable_recording` cannot be changed and are passed over.
    struct RoomChanges (changes) {
        /// The subject, for people.
        settable subject: String = text(1, 64), example "Monthly meeting";
        /// Participants that the room takes at once. Those who are in stay, even if it shrinks below them.
        settable capacity: i64 = integer(1, 200), example 20;
        part rest: RoomOptions;
    }
}

body! {
    /// The fields that are optional when a room is made, and cleared by null.
    struct RoomOptions (creates) {
        /// FREE: everyone may speak. MASTER: led by a chairman, until whose arrival the others wait.
        optional control: Control = word(Control::WORDS, Control::parse), default "FREE", example "FREE";
        /// Of the picture, in pixels; odd numbers are rounded down to even ones. Without effect in AUDIO mode.
        optional height: i64 = integer(144, 1920), default DEFAULT_HEIGHT, example 720;
        /// Of the picture, in pixels; odd numbers are rounded down to even ones. Without effect in AUDIO mode.
        optional width: i64 = integer(144, 1920), default DEFAULT_WIDTH, example 1280;
        /// Of the picture, in kbit/s. Without effect in AUDIO mode.
        optional bitrate: i64 = integer(128, 10_240), default DEFAULT_BITRATE_KBPS, example 1024;
        /// Pictures a second. Without effect in AUDIO mode.
        optional framerate: i64 = integer(5, 30), default DEFAULT_FRAMERATE, example 15;
        /// How participants are placed in the picture; the digit is the number of tiles, and LAYOUT0 has as many as are
        /// needed, at most nine. Without effect in AUDIO mode.
        optional layout: Layout = word(Layout::WORDS, Layout::parse), default "LAYOUT0", example "LAYOUT4";
        /// BCP 47 language tag of the room's prompts and invitations.
        optional language: String = Language, example "en-US";
        /// Who enters it becomes chairman. Must differ from `room_pin`.
        optional admin_pin: String = digits(3, 6), example "246810";
        /// Who dials in must enter it. Must differ from `admin_pin`.
        optional room_pin: String = digits(3, 6), example "13579";
        /// The voice menu: welcome, PIN dialogue, notices.
        optional enable_prompt: bool = Boolean, default true, example true;
        /// IANA name of the time zone in which the schedule is told to people, spelled as the database spells it.
        optional timezone: String = TimeZone, example "Asia/Shanghai";
        /// When the meeting begins: RFC 3339, in any offset; answered in UTC.
        optional scheduled_start_at: jiff::Timestamp = Time, example "2030-07-21T17:00:00Z";
        /// When it ends; must be after `scheduled_start_at`.
        optional scheduled_end_at: jiff::Timestamp = Time, example "2030-07-21T18:00:00Z";
        /// Numbers to dial in by, for people.
        optional numbers: String = text(0, 128), example "+1 555 0100";
        /// Ids of invited users; kept and returned.
        optional internal_invitees: Vec<String> = list_of(text(1, 64), MAX_LIST), example ["NzAwNTUxOTA5NzczMTQ4MTYw"];
        /// Mail addresses of those who are invited, separated by `;`, each as a form's mail field takes it.
        optional external_invitees: String = Addresses, example "bob@example.org;carol@example.org";
        /// Numbers that calls out of the room show, for each trunk.
        optional outbound_caller_ids: Vec<CallerId> = list_of(Nested::<CallerId>::of(), MAX_CALLER_IDS),
            example [{"provider_id": "trunk-1", "caller_id": "+15550100", "description": "Front desk"}];
        /// Anything else that a client keeps with the room: a JSON object, as text.
        optional custom_options: String = JsonText, example "{\"color\":\"blue\"}";
    }
}

body! {
    /// A number that calls out of the room show.
    struct CallerId (creates) {
        /// The trunk's id.
        required provider_id: String = text(1, 64), example "trunk-1";
        /// What the callee sees.
        required caller_id: String = text(1, 64), example "+15550100";
        /// For people.
        optional description: String = text(0, 1024), example "Front desk";
    }
}

/// A new room's settings.
pub(super) fn creation(fields: &mut Fields) -> Result<RoomSettings, Error> {
    let room: RoomCreation = fields.fill()?;
    let bare = RoomSettings {
        extension_number: room.extension_number,
        mode: room.mode,
        control: Control::Free,
        height_px: even(DEFAULT_HEIGHT),
        width_px: even(DEFAULT_WIDTH),
        bitrate_kbps: whole(DEFAULT_BITRATE_KBPS),
        framerate: whole(DEFAULT_FRAMERATE),
        layout: Layout::Layout0,
        subject: room.subject,
        language: None,
        capacity: whole(room.capacity),
        admin_pin: None,
        room_pin: None,
        enable_recording: room.enable_recording.over(false, false),
        enable_prompt: true,
        timezone: None,
        scheduled_start_at: None,
        scheduled_end_at: None,
        numbers: None,
        internal_invitees: None,
        external_invitees: None,
        outbound_caller_ids: None,
        custom_options: None,
    };
    agreed(room.rest.onto(bare))
}

/// An existing room's settings after a change. What cannot change is passed over, as any field that is not known.
pub(super) fn update(fields: &mut Fields, present: RoomSettings) -> Result<RoomSettings, Error> {
    let changes: RoomChanges = fields.fill()?;
    let present = RoomSettings {
        subject: changes.subject.unwrap_or(present.subject),
        capacity: changes.capacity.map_or(present.capacity, whole),
        ..present
    };
    agreed(changes.rest.onto(present))
}

impl RoomOptions {
    fn onto(self, present: RoomSettings) -> RoomSettings {
        let (height, width) = (i64::from(present.height_px), i64::from(present.width_px));
        let (bitrate, framerate) = (i64::from(present.bitrate_kbps), i64::from(present.framerate));
        RoomSettings {
            control: self.control.over(present.control, Control::Free),
            height_px: even(self.height.over(height, DEFAULT_HEIGHT)),
            width_px: even(self.width.over(width, DEFAULT_WIDTH)),
            bitrate_kbps: whole(self.bitrate.over(bitrate, DEFAULT_BITRATE_KBPS)),
            framerate: whole(self.framerate.over(framerate, DEFAULT_FRAMERATE)),
            layout: self.layout.over(present.layout, Layout::Layout0),
            language: self.language.onto(present.language),
            admin_pin: self.admin_pin.onto(present.admin_pin),
            room_pin: self.room_pin.onto(present.room_pin),
            enable_prompt: self.enable_prompt.over(present.enable_prompt, true),
            timezone: self.timezone.onto(present.timezone),
            scheduled_start_at: self.scheduled_start_at.onto(present.scheduled_start_at),
            scheduled_end_at: self.scheduled_end_at.onto(present.scheduled_end_at),
            numbers: self.numbers.onto(present.numbers),
            internal_invitees: self.internal_invitees.onto(present.internal_invitees),
            external_invitees: self.external_invitees.onto(present.external_invitees),
            outbound_caller_ids: self.outbound_caller_ids.map(callers).onto(present.outbound_caller_ids),
            custom_options: self.custom_options.onto(present.custom_options),
            ..present
        }
    }
}

/// Rules between fields.
fn agreed(settings: RoomSettings) -> Result<RoomSettings, Error> {
    let mut violations = Vec::new();
    if settings.admin_pin.is_some() && settings.admin_pin == settings.room_pin {
        violations.push(Violation::new("admin_pin", "admin_pin and room_pin must differ"));
    }
    if let (Some(start), Some(end)) = (settings.scheduled_start_at, settings.scheduled_end_at)
        && end <= start
    {
        violations.push(Violation::new("scheduled_end_at", "scheduled_end_at must be after scheduled_start_at"));
    }
    if violations.is_empty() { Ok(settings) } else { Err(Error::Invalid(violations)) }
}

/// Ranges are checked before; what does not fit is a bug that shows as 0.
fn whole(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

fn even(n: i64) -> u32 {
    whole(n) & !1
}

fn callers(ids: Vec<CallerId>) -> Vec<OutboundCallerId> {
    let caller = |id: CallerId| OutboundCallerId {
        provider_id: id.provider_id,
        caller_id: id.caller_id,
        description: id.description.value(),
    };
    ids.into_iter().map(caller).collect()
}

#[cfg(test)]
mod tests;
