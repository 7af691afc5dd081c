//! Every field's rule, with what is taken and what is not.

use super::*;
use serde_json::{Value, json};

fn fields(body: &Value) -> Fields {
    Fields::parse(body.to_string().as_bytes()).unwrap()
}

fn made(more: &Value) -> Result<RoomSettings, Error> {
    let mut body = json!({"extension_number": "900", "mode": "AUDIO", "subject": "First", "capacity": 9});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    creation(&mut fields(&body))
}

fn broken(result: Result<RoomSettings, Error>) -> Vec<String> {
    let Err(Error::Invalid(violations)) = result else { panic!("{result:?}") };
    violations.into_iter().map(|v| v.field.into_owned()).collect()
}

#[test]
fn defaults_are_the_published_ones() {
    let room = made(&json!({})).unwrap();
    assert_eq!((room.height_px, room.width_px, room.bitrate_kbps, room.framerate), (720, 1280, 1024, 15));
    assert_eq!((room.control, room.layout), (Control::Free, Layout::Layout0));
    assert!(!room.enable_recording && room.enable_prompt);
}

#[test]
fn all_that_is_required_is_named_at_once() {
    let missing = broken(creation(&mut fields(&json!({}))));
    assert_eq!(missing, ["extension_number", "mode", "subject", "capacity"]);
}

#[test]
fn every_rule_refuses_what_breaks_it() {
    let long = "x".repeat(129);
    for (field, value) in [
        ("extension_number", json!("12")),
        ("extension_number", json!("12a")),
        ("extension_number", json!("1".repeat(65))),
        ("extension_number", json!(900)),
        ("mode", json!("audio")),
        ("subject", json!("")),
        ("subject", json!("x".repeat(65))),
        ("capacity", json!(0)),
        ("capacity", json!(201)),
        ("capacity", Value::Null),
        ("control", json!("FREEZE")),
        ("height", json!(143)),
        ("width", json!(1921)),
        ("bitrate", json!(127)),
        ("framerate", json!(31)),
        ("layout", json!("LAYOUT10")),
        ("language", json!("not a tag")),
        ("admin_pin", json!("12")),
        ("room_pin", json!("1234567")),
        ("enable_recording", json!("yes")),
        ("enable_prompt", json!(1)),
        ("timezone", json!("Mars/Olympus")),
        ("scheduled_start_at", json!("tomorrow")),
        ("scheduled_end_at", json!(5)),
        ("numbers", json!(long)),
        ("internal_invitees", json!("NzA=")),
        ("internal_invitees", json!([""])),
        ("external_invitees", json!("a@example.org; not an address")),
        ("outbound_caller_ids", json!([{"provider_id": "p"}])),
        ("outbound_caller_ids", json!([{"provider_id": "p", "caller_id": "x".repeat(65)}])),
        ("custom_options", json!("[1]")),
        ("custom_options", json!({})),
    ] {
        assert_eq!(broken(made(&json!({field: value.clone()}))), [field], "{value}");
    }
}

#[test]
fn everything_that_is_allowed_is_kept() {
    let room = made(&json!({
        "mode": "VIDEO", "control": "MASTER", "height": 361, "width": 641, "bitrate": 10240, "framerate": 5,
        "layout": "LAYOUT5", "language": "zh-Hant-TW", "admin_pin": "000", "room_pin": "123456",
        "timezone": "Asia/Shanghai", "scheduled_start_at": "2030-01-01T10:00:00+01:00",
        "scheduled_end_at": "2030-01-01T09:00:01Z", "numbers": "+49 30 1", "internal_invitees": ["NzA="],
        "external_invitees": "a@example.org; b@example.org;", "custom_options": "{\"a\":{\"b\":[1]}}",
        "outbound_caller_ids": [{"provider_id": "p", "caller_id": "1", "description": null, "later": 1}],
        "future_field": {"x": 1},
    }))
    .unwrap();
    assert_eq!((room.height_px, room.width_px), (360, 640), "rounded down to even");
    assert_eq!(room.scheduled_start_at, Some("2030-01-01T09:00:00Z".parse().unwrap()));
    assert_eq!(room.outbound_caller_ids.unwrap()[0].caller_id, "1");
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    assert_eq!(broken(made(&json!({"admin_pin": "123", "room_pin": "123"}))), ["admin_pin"]);
    let times = json!({"scheduled_start_at": "2030-01-01T10:00:00Z", "scheduled_end_at": "2030-01-01T10:00:00Z"});
    assert_eq!(broken(made(&times)), ["scheduled_end_at"]);
}

#[test]
fn update_leaves_clears_and_sets() {
    let present =
        made(&json!({"room_pin": "123", "language": "en", "layout": "LAYOUT4", "enable_prompt": false})).unwrap();
    let change = json!({"room_pin": null, "layout": null, "capacity": 20, "enable_prompt": null,
        "extension_number": "1", "mode": "VIDEO", "enable_recording": true});
    let updated = update(&mut fields(&change), present.clone()).unwrap();
    assert_eq!(
        updated,
        RoomSettings { room_pin: None, layout: Layout::Layout0, capacity: 20, enable_prompt: true, ..present.clone() }
    );
    assert_eq!(update(&mut fields(&json!({})), present.clone()).unwrap(), present);
    assert_eq!(
        broken(update(&mut fields(&json!({"subject": null, "capacity": null})), present.clone())),
        ["subject", "capacity"]
    );
    assert_eq!(broken(update(&mut fields(&json!({"admin_pin": "123"})), present)), ["admin_pin"]);
}
