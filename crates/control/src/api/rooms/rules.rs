//! The rules of a room's fields (api.md section 3): wire to domain, once, with one violation for each broken field.

use email_address::EmailAddress;
use oxilangtag::LanguageTag;
use serde_json::Value;

use crate::api::fields::{Fields, Given, boolean, digits, integer, text, time, word};
use crate::error::{Error, Violation};
use crate::rooms::{Control, Layout, Mode, OutboundCallerId, RoomSettings};

/// Lists and texts without a published limit are bounded all the same.
const MAX_LIST: usize = 1000;
const MAX_TEXT: usize = 16 * 1024;

const DEFAULT_HEIGHT: i64 = 720;
const DEFAULT_WIDTH: i64 = 1280;
const DEFAULT_BITRATE_KBPS: i64 = 1024;
const DEFAULT_FRAMERATE: i64 = 15;

/// A new room's settings.
pub(super) fn creation(fields: &mut Fields) -> Result<RoomSettings, Error> {
    let extension_number = fields.required("extension_number", digits(3, 64));
    let mode = fields.required("mode", word(Mode::WORDS, Mode::parse));
    let subject = fields.required("subject", text(1, 64));
    let capacity = fields.required("capacity", integer(1, 200));
    let enable_recording = fields.optional("enable_recording", boolean).over(false, false);
    let rest = Rest::read(fields);
    fields.finish()?;
    let (Some(extension_number), Some(mode), Some(subject), Some(capacity)) =
        (extension_number, mode, subject, capacity)
    else {
        return Err(Error::Broken("a required field is missing and nobody said so".to_owned()));
    };
    let bare = RoomSettings {
        extension_number,
        mode,
        control: Control::Free,
        height_px: even(DEFAULT_HEIGHT),
        width_px: even(DEFAULT_WIDTH),
        bitrate_kbps: whole(DEFAULT_BITRATE_KBPS),
        framerate: whole(DEFAULT_FRAMERATE),
        layout: Layout::Layout0,
        subject,
        language: None,
        capacity: whole(capacity),
        admin_pin: None,
        room_pin: None,
        enable_recording,
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
    agreed(rest.onto(bare))
}

/// An existing room's settings after a change. What cannot change is passed over, as any field that is not known.
pub(super) fn update(fields: &mut Fields, present: RoomSettings) -> Result<RoomSettings, Error> {
    let subject = fields.settable("subject", text(1, 64));
    let capacity = fields.settable("capacity", integer(1, 200));
    let rest = Rest::read(fields);
    fields.finish()?;
    let present = RoomSettings {
        subject: subject.value().unwrap_or(present.subject),
        capacity: capacity.value().map_or(present.capacity, whole),
        ..present
    };
    agreed(rest.onto(present))
}

/// The fields that are optional when a room is made, and cleared by null.
struct Rest {
    control: Given<Control>,
    height: Given<i64>,
    width: Given<i64>,
    bitrate: Given<i64>,
    framerate: Given<i64>,
    layout: Given<Layout>,
    language: Given<String>,
    admin_pin: Given<String>,
    room_pin: Given<String>,
    enable_prompt: Given<bool>,
    timezone: Given<String>,
    scheduled_start_at: Given<jiff::Timestamp>,
    scheduled_end_at: Given<jiff::Timestamp>,
    numbers: Given<String>,
    internal_invitees: Given<Vec<String>>,
    external_invitees: Given<String>,
    outbound_caller_ids: Given<Vec<OutboundCallerId>>,
    custom_options: Given<String>,
}

impl Rest {
    fn read(fields: &mut Fields) -> Self {
        Self {
            control: fields.optional("control", word(Control::WORDS, Control::parse)),
            height: fields.optional("height", integer(144, 1920)),
            width: fields.optional("width", integer(144, 1920)),
            bitrate: fields.optional("bitrate", integer(128, 10_240)),
            framerate: fields.optional("framerate", integer(5, 30)),
            layout: fields.optional("layout", word(Layout::WORDS, Layout::parse)),
            language: fields.optional("language", language),
            admin_pin: fields.optional("admin_pin", digits(3, 6)),
            room_pin: fields.optional("room_pin", digits(3, 6)),
            enable_prompt: fields.optional("enable_prompt", boolean),
            timezone: fields.optional("timezone", timezone),
            scheduled_start_at: fields.optional("scheduled_start_at", time),
            scheduled_end_at: fields.optional("scheduled_end_at", time),
            numbers: fields.optional("numbers", text(0, 128)),
            internal_invitees: fields.optional("internal_invitees", list(text(1, 64))),
            external_invitees: fields.optional("external_invitees", addresses),
            outbound_caller_ids: fields.optional("outbound_caller_ids", list(caller_id)),
            custom_options: fields.optional("custom_options", json_object),
        }
    }

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
            outbound_caller_ids: self.outbound_caller_ids.onto(present.outbound_caller_ids),
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

fn language(value: &Value) -> Result<String, String> {
    let tag = text(1, 64)(value).ok().filter(|tag| LanguageTag::parse(tag.as_str()).is_ok());
    tag.ok_or_else(|| "must be a BCP 47 language tag, such as en-US".to_owned())
}

fn timezone(value: &Value) -> Result<String, String> {
    let name = text(1, 64)(value).ok().filter(|name| jiff::tz::db().get(name).is_ok());
    name.ok_or_else(|| "must be an IANA time zone, such as Asia/Shanghai".to_owned())
}

fn json_object(value: &Value) -> Result<String, String> {
    let object = text(0, MAX_TEXT)(value)
        .ok()
        .filter(|text| serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok());
    object.ok_or_else(|| "must be a JSON object, as text".to_owned())
}

fn addresses(value: &Value) -> Result<String, String> {
    let rule = || "must be mail addresses separated by ;".to_owned();
    let all = text(0, MAX_TEXT)(value).map_err(|_| rule())?;
    let mut parts = all.split(';').map(str::trim).filter(|part| !part.is_empty());
    if parts.all(|part| part.parse::<EmailAddress>().is_ok()) { Ok(all) } else { Err(rule()) }
}

fn list<T>(one: impl Fn(&Value) -> Result<T, String>) -> impl Fn(&Value) -> Result<Vec<T>, String> {
    move |value| {
        let rule = || format!("must be a list of at most {MAX_LIST}");
        let values = value.as_array().filter(|values| values.len() <= MAX_LIST).ok_or_else(rule)?;
        let at = |(at, value)| one(value).map_err(|rule| format!("[{at}] {rule}"));
        values.iter().enumerate().map(at).collect()
    }
}

fn caller_id(value: &Value) -> Result<OutboundCallerId, String> {
    let object = value.as_object().ok_or("must be an object")?;
    let field = |name: &str, least, most| {
        let given = object.get(name).filter(|value| !value.is_null());
        given.map(|value| text(least, most)(value).map_err(|rule| format!("{name} {rule}"))).transpose()
    };
    Ok(OutboundCallerId {
        provider_id: field("provider_id", 1, 64)?.ok_or("provider_id is required")?,
        caller_id: field("caller_id", 1, 64)?.ok_or("caller_id is required")?,
        description: field("description", 0, 1024)?,
    })
}

#[cfg(test)]
mod tests;
