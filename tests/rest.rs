//! The REST API without calls: shapes, refusals, life of a room, servers, roles.

use crate::support::setup;
use serde_json::{Value, json};
use std::time::Duration;

const ROOMS: &str = "/api/conference_rooms";

#[test]
fn room_lives_from_creation_to_destruction() {
    let server = setup().start();
    let api = server.api();
    let id = api.create_room_with("900", 20, &json!({"subject": "Weekly", "room_pin": "1234", "language": "en-US"}));
    let room = api.get(&format!("{ROOMS}/{id}")).expect(200).json();
    assert_eq!(room["id"], id.as_str());
    assert_eq!(
        (&room["extension_number"], &room["subject"], &room["capacity"]),
        (&"900".into(), &"Weekly".into(), &20.into())
    );
    assert_eq!(
        (&room["mode"], &room["room_pin"], &room["has_room_pin"]),
        (&"AUDIO".into(), &"1234".into(), &true.into())
    );
    for key in ["admin_pin", "scheduled_start_at", "scheduled_end_at", "domain", "token", "outbound_caller_ids"] {
        assert!(room.get(key).is_some(), "{key} is there, if only as null: {room}");
    }
    assert!(room["created_at"].as_str().is_some_and(|t| t.ends_with('Z')), "{}", room["created_at"]);

    api.post(&format!("{ROOMS}/{id}"), &json!({"subject": "Daily", "room_pin": null, "unknown": 1})).expect(200);
    let room = api.get(&format!("{ROOMS}/{id}")).expect(200).json();
    assert_eq!((&room["subject"], &room["room_pin"], &room["capacity"]), (&"Daily".into(), &Value::Null, &20.into()));

    let list = api.get(ROOMS).expect(200).json();
    assert_eq!((&list["count"], &list["items"][0]["id"]), (&1.into(), &id.as_str().into()));
    let status = api.get(&format!("{ROOMS}/{id}/status")).expect(200).json();
    assert_eq!(
        (&status["status"], &status["locked"], &status["muted"], &status["recording"]),
        (&"ONLINE".into(), &false.into(), &false.into(), &false.into())
    );

    let gone = api.act(&format!("{ROOMS}/{id}/destroy")).expect(204);
    assert!(gone.body.is_empty());
    api.get(&format!("{ROOMS}/{id}")).refused(404, "NOT_FOUND");
    assert_eq!(api.get(ROOMS).expect(200).json()["count"], 0);
}

#[test]
fn nobody_gets_in_without_a_valid_token() {
    let server = setup().start();
    for token in [None, Some("wrong"), Some("")] {
        let api = server.api().with_token(token);
        for answer in [api.get(ROOMS), api.post(ROOMS, &json!({})), api.act(&format!("{ROOMS}/x/mute"))] {
            assert!(answer.header("www-authenticate").is_some_and(|h| h.starts_with("Bearer")), "{:?}", answer.headers);
            answer.refused(401, "UNAUTHORIZED");
        }
    }
}

#[test]
fn every_violated_field_is_named() {
    let server = setup().start();
    let api = server.api();
    let good = json!({"extension_number": "900", "mode": "AUDIO", "subject": "S", "capacity": 5});
    for (field, value) in [
        ("extension_number", json!("9")),
        ("extension_number", json!("90a")),
        ("mode", json!("RADIO")),
        ("capacity", json!(-1)),
        ("capacity", json!("many")),
        ("room_pin", json!("12")),
        ("admin_pin", json!("1234567")),
        ("layout", json!("LAYOUT12")),
        ("bitrate", json!(1)),
        ("framerate", json!(60)),
        ("height", json!(20)),
        ("language", json!("not a language")),
        ("timezone", json!("Mars/Base")),
        ("custom_options", json!("[1]")),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let answer = api.post(ROOMS, &body);
        let named =
            answer.json()["errors"].as_array().is_some_and(|all| all.iter().any(|e| e["detail"]["field"] == field));
        assert!(named, "{field} = {value}: {} {}", answer.status, answer.text());
        answer.refused(400, "VALIDATE_FAILED");
    }
    for field in ["extension_number", "mode", "subject", "capacity"] {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove(field);
        api.post(ROOMS, &body).refused(400, "VALIDATE_FAILED");
    }
    let two = json!({"extension_number": "9", "mode": "AUDIO", "subject": "S", "capacity": 5, "room_pin": "1"});
    let errors = api.post(ROOMS, &two).expect(400).json();
    assert_eq!(errors["errors"].as_array().map(Vec::len), Some(2), "{errors}");
    assert_eq!(api.get(ROOMS).json()["count"], 0);
}

#[test]
fn taken_extension_is_409() {
    let server = setup().start();
    let api = server.api();
    api.create_room("900", 5);
    let body = json!({"extension_number": "900", "mode": "AUDIO", "subject": "S", "capacity": 5});
    api.post(ROOMS, &body).refused(409, "RESOURCE_IN_USE");
}

#[test]
fn ids_that_name_nothing_are_404() {
    let server = setup().start();
    let api = server.api();
    // Base64 of a number that is not there, of no number, and no base64.
    for id in ["NzAwNTUxOTA5NzczMTQ4MTYw", "aGVsbG8=", "%00", "..%2f..", "-1", "900"] {
        api.get(&format!("{ROOMS}/{id}")).refused(404, "NOT_FOUND");
        api.act(&format!("{ROOMS}/{id}/mute")).refused(404, "NOT_FOUND");
        api.get(&format!("/api/conference_servers/{id}")).refused(404, "NOT_FOUND");
    }
    api.get("/api/nothing").refused(404, "NOT_FOUND");
    assert!(matches!(api.get("/api/blobs/0000").status, 401 | 403 | 404));
}

#[test]
fn bodies_that_are_not_json_objects_get_the_error_shape() {
    let server = setup().start();
    let api = server.api();
    for body in ["", "{", "[]", "null", "\"x\"", "{\"a\":}", "\u{0}", "{\"extension_number\": {\"a\": [1,2,3]}}"] {
        api.post_bytes(ROOMS, "application/json", body.as_bytes()).refused(400, "VALIDATE_FAILED");
    }
    let deep = "[".repeat(20_000);
    api.post_bytes(ROOMS, "application/json", deep.as_bytes()).refused(400, "VALIDATE_FAILED");
    api.post_bytes(ROOMS, "application/json", &[0xff, 0xfe, 0x00]).refused(400, "VALIDATE_FAILED");
    api.post_bytes(ROOMS, "text/plain", b"{}").refused(415, "VALIDATE_FAILED");
    api.post_bytes(ROOMS, "application/json", &vec![b' '; 1 << 20]).refused(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(api.get(ROOMS).expect(200).json()["count"], 0);
}

#[test]
fn room_list_searches_orders_and_pages() {
    let server = setup().start();
    let api = server.api();
    for (n, subject) in [("901", "alpha"), ("902", "beta"), ("903", "alphabet"), ("904", "gamma")] {
        api.create_room_with(n, 5, &json!({"subject": subject}));
    }
    let listed = |query: &str| {
        let answer = api.get(&format!("{ROOMS}?{query}")).expect(200).json();
        let names: Vec<String> = answer["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|r| r["extension_number"].as_str().unwrap_or("").to_owned())
            .collect();
        (answer["count"].as_u64().unwrap_or(0), names)
    };
    assert_eq!(listed("orderby=extension_number%20desc&top=2"), (4, vec!["904".into(), "903".into()]));
    assert_eq!(listed("$orderby=extension_number&$skip=3"), (4, vec!["904".into()]));
    assert_eq!(listed("search=ALPHA&orderby=subject"), (2, vec!["901".into(), "903".into()]));
    assert_eq!(listed("filter=subject%20eq%20'alpha'"), (1, vec!["901".into()]));
    for bad in ["top=0", "top=101", "skip=-1", "filter=colour%20eq%20'red'", "$filter=1", "orderby=nothing"] {
        api.get(&format!("{ROOMS}?{bad}")).refused(400, "VALIDATE_FAILED");
    }
}

#[test]
fn built_in_server_is_listed_live_and_updatable() {
    let server = setup().start();
    let api = server.api();
    let list = api.get("/api/conference_servers").expect(200).json();
    assert_eq!((&list["count"], &list["items"][0]["type"]), (&1.into(), &"INTERNAL".into()));
    let id = list["items"][0]["id"].as_str().expect("an id");
    let path = format!("/api/conference_servers/{id}");
    api.create_room("900", 5);
    let status = api.get(&format!("{path}/status")).expect(200).json();
    assert_eq!((&status["status"], &status["participants_count"]), (&"ONLINE".into(), &0.into()));
    for key in ["cpu_usage", "memory_usage"] {
        assert!(status[key].as_u64().is_some_and(|v| v <= 100), "{status}");
    }
    api.post(&path, &json!({"max_rooms": 3})).expect(200);
    let one = api.get(&path).expect(200).json();
    assert_eq!((&one["max_rooms"], &one["enabled"]), (&3.into(), &true.into()));
    api.post(&path, &json!({"max_rooms": -1})).refused(400, "VALIDATE_FAILED");
}

#[test]
fn viewer_sees_and_does_nothing_and_sees_no_pins() {
    let server = setup().start();
    let admin = server.api();
    let id = admin.create_room_with("900", 5, &json!({"room_pin": "1234", "admin_pin": "9876"}));
    let token = server.run(&["token", "create", "panel", "--role", "viewer"]);
    let viewer = admin.with_token(token.lines().last().map(str::trim));
    let room = viewer.get(&format!("{ROOMS}/{id}")).expect(200).json();
    assert_eq!((&room["room_pin"], &room["admin_pin"], &room["token"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&room["has_room_pin"], &room["has_admin_pin"]), (&true.into(), &true.into()));
    let body = json!({"extension_number": "901", "mode": "AUDIO", "subject": "S", "capacity": 5});
    viewer.post(ROOMS, &body).refused(403, "FORBIDDEN");
    for action in ["mute", "lock", "start_recording", "destroy"] {
        viewer.act(&format!("{ROOMS}/{id}/{action}")).refused(403, "FORBIDDEN");
    }
    viewer.get(&format!("{ROOMS}?filter=room_pin%20eq%20'1234'")).refused(400, "VALIDATE_FAILED");
}

#[test]
fn revoked_token_is_worthless_within_a_second() {
    let server = setup().start();
    let admin = server.api();
    let token = server.run(&["token", "create", "portal", "--role", "operator"]);
    let operator = admin.with_token(token.lines().last().map(str::trim));
    operator.create_room("900", 5);
    operator.post("/api/conference_servers", &json!({})).refused(403, "FORBIDDEN");
    let list = server.run(&["token", "list"]);
    let line = list.lines().find(|l| l.contains("portal")).expect("it is listed");
    assert!(!list.contains(token.trim()), "a token is never shown again");
    let id = line.split_whitespace().next().expect("an id");
    server.run(&["token", "revoke", id]);
    testkit::wait::until_true("the token is refused", Duration::from_secs(2), || operator.get(ROOMS).status == 401);
    operator.get(ROOMS).refused(401, "UNAUTHORIZED");
}
