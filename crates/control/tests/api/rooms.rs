//! Rooms as they are set: made, listed, shown, changed, destroyed, and kept over a restart.

use axum::http::header;
use serde_json::{Value, json};

use crate::house::House;

const ROOMS: &str = "/api/conference_rooms";

#[tokio::test]
async fn room_is_made_shown_changed_and_destroyed() {
    let house = House::open().await;
    let body = json!({"extension_number": "900", "mode": "VIDEO", "subject": "Weekly", "capacity": 20, "height": 361,
        "room_pin": "1234", "scheduled_start_at": "2030-01-01T10:00:00+01:00", "outbound_caller_ids": [
            {"provider_id": "p", "caller_id": "555", "description": null}]});
    let made = house.post(ROOMS, &body).await.expect(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("{ROOMS}/{id}");
    assert_eq!(made.header(header::LOCATION), path);
    let shown = house.get(&path).await.expect(200).json();
    for (field, value) in [
        ("id", json!(id)),
        ("height", json!(360)),
        ("width", json!(1280)),
        ("control", json!("FREE")),
        ("room_pin", json!("1234")),
        ("has_room_pin", json!(true)),
        ("admin_pin", Value::Null),
        ("has_admin_pin", json!(false)),
        ("scheduled_start_at", json!("2030-01-01T09:00:00Z")),
        ("language", Value::Null),
        ("outbound_caller_ids", body["outbound_caller_ids"].clone()),
        ("domain", json!("127.0.0.1")),
        ("sbc_host", Value::Null),
    ] {
        assert_eq!(shown.get(field), Some(&value), "{field}");
    }
    assert!(shown["token"].as_str().unwrap().len() > 20 && shown["created_at"].as_str().unwrap().ends_with('Z'));

    let change = json!({"subject": "Daily", "room_pin": null, "extension_number": "1000", "layout": "LAYOUT5"});
    assert!(house.post(&path, &change).await.expect(200).body.is_empty());
    let changed = house.get(&path).await.json();
    assert_eq!((&changed["subject"], &changed["layout"]), (&json!("Daily"), &json!("LAYOUT5")));
    assert_eq!((&changed["has_room_pin"], &changed["extension_number"]), (&json!(false), &json!("900")));
    assert_eq!(house.post(&path, &json!({"capacity": 0})).await.refused(400, "VALIDATE_FAILED"), ["capacity"]);
    assert_eq!(house.get(&path).await.json(), changed);

    assert!(house.act(&format!("{path}/destroy")).await.expect(204).body.is_empty());
    for answer in
        [house.get(&path).await, house.act(&format!("{path}/destroy")).await, house.post(&path, &json!({})).await]
    {
        answer.refused(404, "NOT_FOUND");
    }
    house.get(&format!("{path}/recordings")).await.refused(404, "NOT_FOUND");
    assert_eq!(house.dial("900", "101").await.err().unwrap().label(), "unknown_room");
    house.room("900", &json!({})).await;
}

#[tokio::test]
async fn list_item_has_every_documented_field_and_no_other_secret() {
    let house = House::open().await;
    house.room("900", &json!({})).await;
    let item = house.items(ROOMS).await.remove(0);
    let mut fields: Vec<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut documented = vec![
        "id",
        "extension_number",
        "mode",
        "control",
        "height",
        "width",
        "bitrate",
        "framerate",
        "layout",
        "subject",
        "language",
        "capacity",
        "admin_pin",
        "room_pin",
        "enable_recording",
        "enable_prompt",
        "timezone",
        "created_at",
        "scheduled_start_at",
        "scheduled_end_at",
        "numbers",
        "internal_invitees",
        "external_invitees",
        "custom_options",
        "has_admin_pin",
        "has_room_pin",
    ];
    documented.sort_unstable();
    assert_eq!(fields, documented);
}

#[tokio::test]
async fn taken_extension_is_a_conflict() {
    let house = House::open().await;
    house.room("900", &json!({})).await;
    let body = json!({"extension_number": "900", "mode": "AUDIO", "subject": "Again", "capacity": 1});
    house.post(ROOMS, &body).await.refused(409, "RESOURCE_IN_USE");
    assert_eq!(house.items(ROOMS).await.len(), 1);
}

#[tokio::test]
async fn viewer_sees_that_there_is_a_pin_and_not_which() {
    let house = House::open().await;
    let path = house.room("900", &json!({"room_pin": "7777", "admin_pin": "8888"})).await;
    let shown = house.fetch_as("viewer", &path).await.expect(200);
    assert!(!shown.text().contains("7777") && !shown.text().contains("8888"));
    let room = shown.json();
    assert_eq!((&room["room_pin"], &room["has_room_pin"], &room["token"]), (&Value::Null, &json!(true), &Value::Null));
    assert!(!house.fetch_as("viewer", ROOMS).await.text().contains("7777"));
    for order in ["room_pin", "admin_pin"] {
        let path = format!("{ROOMS}?orderby={order}");
        assert_eq!(house.fetch_as("viewer", &path).await.refused(400, "VALIDATE_FAILED"), ["orderby"]);
        house.get(&path).await.expect(200);
    }
    assert_eq!(house.get(&path).await.json()["room_pin"], "7777");
}

#[tokio::test]
async fn pages_are_stable_and_counted() {
    let house = House::open().await;
    for at in 0..7 {
        let subject = if at % 2 == 0 { "Team Ä" } else { "Board" };
        house.room(&format!("90{at}"), &json!({"subject": subject})).await;
    }
    let extensions = async |query: &str| {
        let page = house.get(&format!("{ROOMS}?{query}")).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        (
            page["count"].clone(),
            items.iter().map(|r| r["extension_number"].as_str().unwrap().to_owned()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        extensions("$orderby=subject%20desc,extension_number&top=3").await,
        (json!(7), vec!["900".into(), "902".into(), "904".into()])
    );
    assert_eq!(extensions("search=team%20%C3%A4&skip=3").await, (json!(4), vec!["906".to_owned()]));
    assert_eq!(extensions("search=905").await, (json!(1), vec!["905".to_owned()]));
    assert_eq!(extensions("skip=100").await, (json!(7), vec![]));
}

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let house = House::open().await;
    let path = house.room("900", &json!({"room_pin": "1234", "admin_pin": "4321"})).await;
    for action in ["lock", "mute"] {
        house.act(&format!("{path}/{action}")).await.expect(200);
        house.act(&format!("{path}/{action}")).await.expect(200);
    }
    let before = house.get(&path).await.json();
    let house = House::open_in(house.crash().await, &[]).await;
    assert_eq!(house.get(&path).await.json(), before);
    let status = house.get(&format!("{path}/status")).await.json();
    assert_eq!((&status["locked"], &status["muted"]), (&json!(true), &json!(true)));
    assert_eq!((&status["status"], &status["participants_count"]), (&json!("ONLINE"), &json!(0)));
    for action in ["unlock", "unmute"] {
        house.act(&format!("{path}/{action}")).await.expect(200);
    }
    let status = house.get(&format!("{path}/status")).await.json();
    assert_eq!((&status["locked"], &status["muted"]), (&json!(false), &json!(false)));
    for action in ["lock", "unlock", "mute", "unmute", "start_recording", "stop_recording", "destroy"] {
        house.act(&format!("{ROOMS}/MQ==/{action}")).await.refused(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn list_shows_each_change_at_once_and_to_each_role_its_own() {
    let house = House::open().await;
    let room = house.room("900", &json!({"room_pin": "0042"})).await;
    house.room("901", &json!({})).await;
    let list = async |role: &str| {
        house
            .fetch_as(role, "/api/conference_rooms?filter=id ne null&top=1".replace(' ', "%20").as_str())
            .await
            .expect(200)
            .json()
    };
    for subject in ["A room", "Another", "Ünï \"x\""] {
        house.post(&room, &json!({"subject": subject})).await.expect(200);
        for _ in 0..2 {
            let (full, bare) = (list("operator").await, list("viewer").await);
            assert_eq!((&full["count"], &full["items"][0]["subject"]), (&json!(2), &json!(subject)));
            assert_eq!(full["items"][0]["room_pin"], "0042");
            assert_eq!(
                (&bare["items"][0]["room_pin"], &bare["items"][0]["has_room_pin"]),
                (&json!(null), &json!(true))
            );
        }
    }
    let past = house.get("/api/conference_rooms?skip=5").await.expect(200).json();
    assert_eq!(past, json!({"count": 2, "items": []}));
    house.act(&format!("{room}/destroy")).await.expect(204);
    assert_eq!(list("operator").await["items"][0]["extension_number"], "901");
}
