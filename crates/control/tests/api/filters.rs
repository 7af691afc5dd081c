//! The filter of the four lists, and orders by the same fields.

use std::time::Duration;

use control::store::{NewRecording, RecordingEnd, RecordingState};
use serde_json::{Value, json};

use crate::house::{Answer, House};

const ROOMS: &str = "/api/conference_rooms";
const SERVERS: &str = "/api/conference_servers";

/// Every byte but letters and digits in its percent form.
fn encoded(text: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

async fn asked(house: &House, role: &str, path: &str, filter: &str) -> Answer {
    house.fetch_as(role, &format!("{path}?filter={}", encoded(filter))).await
}

/// One field of each item that the filter leaves; the count agrees.
async fn found(house: &House, path: &str, filter: &str, field: &str) -> Vec<String> {
    let list = asked(house, "admin", path, filter).await.expect(200).json();
    let items = list["items"].as_array().unwrap();
    assert_eq!(list["count"], json!(items.len()), "{filter}");
    items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

/// The one message of a refusal of this option.
#[track_caller]
fn message(answer: Answer, option: &str) -> String {
    let message = answer.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer.refused(400, "VALIDATE_FAILED"), [option]);
    message
}

/// Each field of an item, also those inside of objects, compared with what the item says: it is found, and is not by `ne`.
/// `but` are the fields whose comparisons say nothing here.
async fn every_field_finds_its_item(house: &House, path: &str, item: &Value, id: &str, but: &[&str]) {
    let nested = item.as_object().unwrap().iter().flat_map(|(name, value)| match value.as_object() {
        Some(inside) => inside.iter().map(|(inner, value)| (format!("{name}/{inner}"), value)).collect(),
        None => vec![(name.clone(), value)],
    });
    for (name, value) in nested.filter(|(name, _)| !but.contains(&name.as_str())) {
        let (same, other) = match value {
            Value::String(text) => {
                let text = text.replace('\'', "''");
                (format!("{name} eq '{text}'"), format!("{name} ne '{text}'"))
            }
            Value::Array(elements) => {
                let element = elements[0].as_str().unwrap().replace('\'', "''");
                (format!("contains({name},'{element}')"), format!("not contains({name},'{element}')"))
            }
            value => (format!("{name} eq {value}"), format!("{name} ne {value}")),
        };
        assert_eq!(found(house, path, &format!("id eq '{id}' and {same}"), "id").await, [id], "{same}");
        assert!(found(house, path, &format!("id eq '{id}' and {other}"), "id").await.is_empty(), "{other}");
        for direction in ["asc", "desc"] {
            house.get(&format!("{path}?orderby={}%20{direction}", encoded(&name))).await.expect(200);
        }
    }
}

#[tokio::test]
async fn rooms_are_found_by_every_field() {
    let house = House::open().await;
    let full = json!({"subject": "It's 100% \"Größe\"; DROP TABLE rooms; --", "mode": "VIDEO", "room_pin": "1234",
        "admin_pin": "4321", "language": "de", "timezone": "Europe/Berlin", "numbers": "1;2",
        "scheduled_start_at": "2030-01-01T10:00:00.25+01:00", "scheduled_end_at": "2030-01-01T12:00:00Z",
        "internal_invitees": ["a\"x", ",", "o'b"], "external_invitees": "a@example.org", "custom_options": "{\"a\": 1}"});
    house.room("900", &full).await;
    house.room("901", &json!({"subject": "Board"})).await;
    for item in house.items(ROOMS).await {
        every_field_finds_its_item(&house, ROOMS, &item, item["id"].as_str().unwrap(), &[]).await;
    }
    let extensions = async |filter: &str| found(&house, ROOMS, filter, "extension_number").await;
    for (filter, expected) in [
        ("contains(subject,'%') and contains(subject,'''')", vec!["900"]),
        ("contains(subject,'; DROP TABLE rooms')", vec!["900"]),
        ("subject eq ''' OR 1 = 1; --'", vec![]),
        ("startswith(subject,'B') or subject eq 'none' and mode eq 'VIDEO'", vec!["901"]),
        ("(startswith(subject,'B') or has_room_pin) and capacity gt 199.5", vec!["900", "901"]),
        ("endswith(extension_number,'1')", vec!["901"]),
        ("scheduled_start_at lt '2030-01-01T09:00:00.251Z'", vec!["900"]),
        ("language eq 'de'", vec!["900"]),
        ("language ne 'de'", vec![]),
        ("not (language eq 'de')", vec!["901"]),
        ("language eq null", vec!["901"]),
        ("null ne room_pin", vec!["900"]),
        ("contains(internal_invitees,'x')", vec![]),
        ("contains(internal_invitees,'o''b')", vec!["900"]),
        ("  ", vec!["900", "901"]),
    ] {
        assert_eq!(extensions(filter).await, expected, "{filter}");
    }
    let both = house.items(&format!("{ROOMS}?search=9&filter={}", encoded("language eq null"))).await;
    assert_eq!(both.len(), 1);
    assert!(house.items(&format!("{ROOMS}?search=900&filter={}", encoded("language eq null"))).await.is_empty());
}

#[tokio::test]
async fn null_is_before_everything_in_an_order() {
    let house = House::open().await;
    for (extension, language) in [("900", json!("de")), ("901", Value::Null), ("902", json!("en"))] {
        house.room(extension, &json!({"language": language})).await;
    }
    let ordered = async |order: &str| {
        let items = house.items(&format!("{ROOMS}?orderby={}", encoded(order))).await;
        items.iter().map(|room| room["extension_number"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ordered("language").await, ["901", "900", "902"]);
    assert_eq!(ordered("language desc").await, ["902", "900", "901"]);
}

#[tokio::test]
async fn refusal_names_the_column_and_the_reason() {
    let house = House::open().await;
    for (filter, expected) in [
        ("not (  sbject eq 'x')", "filter, column 8: there is no field sbject"),
        ("framerate eq 'x'", "filter, column 14: framerate is a number, and a text was given"),
        ("outbound_caller_ids eq null", "filter, column 1: there is no field outbound_caller_ids"),
        ("token eq 'x'", "filter, column 1: there is no field token"),
        ("id eq 'bm9uZQ=='", "filter, column 7: id is an id, and the text is none that this server could have made"),
        ("subject eq 'x'; DROP TABLE rooms", "filter, column 15: ';' has no meaning here"),
        ("search_text eq 'x'", "filter, column 1: there is no field search_text"),
    ] {
        assert_eq!(message(asked(&house, "admin", ROOMS, filter).await, "filter"), expected);
    }
    let twice = house.get(&format!("{ROOMS}?filter=has_room_pin&$filter=has_room_pin")).await;
    assert_eq!(message(twice, "filter"), "filter is given twice");
    let order = house.get(&format!("{ROOMS}?orderby=token")).await;
    assert_eq!(message(order, "orderby"), "orderby: there is no field token");
}

#[tokio::test]
async fn viewer_cannot_find_out_a_secret_by_naming_it() {
    let house = House::open().await;
    house.room("900", &json!({"room_pin": "1234"})).await;
    for secret in ["room_pin", "admin_pin", "token"] {
        for filter in [
            format!("{secret} eq '1234'"),
            format!("null eq {secret}"),
            format!("mode eq 'AUDIO' or startswith({secret},'1')"),
        ] {
            let refused = message(asked(&house, "viewer", ROOMS, &filter).await, "filter");
            assert!(refused.ends_with(&format!(": a viewer may not see {secret}")), "{refused}");
        }
        let order = house.fetch_as("viewer", &format!("{ROOMS}?orderby=id,{secret}%20desc")).await;
        assert_eq!(message(order, "orderby"), format!("orderby: a viewer may not see {secret}"));
    }
    let there_is_one = asked(&house, "viewer", ROOMS, "has_room_pin and not has_admin_pin").await.expect(200).json();
    assert_eq!(there_is_one["count"], 1);
    assert_eq!(asked(&house, "operator", ROOMS, "room_pin eq '1234'").await.expect(200).json()["count"], 1);
}

#[tokio::test]
async fn servers_are_found_by_every_field() {
    let house = House::open().await;
    let server = house.items(SERVERS).await.remove(0);
    let id = server["id"].as_str().unwrap();
    every_field_finds_its_item(&house, SERVERS, &server, id, &[]).await;
    assert_eq!(found(&house, SERVERS, "type eq 'INTERNAL' and enabled and ipv6 eq null", "id").await, [id]);
    assert!(found(&house, SERVERS, "type eq 'EXTERNAL' or enabled eq false", "id").await.is_empty());
    let refused = message(asked(&house, "admin", SERVERS, "kind eq 'INTERNAL'").await, "filter");
    assert_eq!(refused, "filter, column 1: there is no field kind");
}

#[tokio::test]
async fn recordings_are_found_by_every_field() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let record = house.store.all_rooms().await.unwrap().remove(0).0;
    let server = house.rooms.server();
    let answered_at = "2025-05-05T05:05:05.5Z".parse().unwrap();
    let mut change = house.store.change().await.unwrap();
    for (name, state, ms) in [
        ("a'1.ogg", RecordingState::Finished, Some(1499)),
        ("b%2.ogg", RecordingState::Finished, Some(1500)),
        ("c.ogg", RecordingState::Failed, None),
    ] {
        let id = house.store.ids().next();
        let (file_name, path) = (name.to_owned(), format!("2025/{name}"));
        change
            .insert_recording(&NewRecording {
                id,
                room: record.id,
                server,
                answered_at,
                file_name,
                path,
                part_of: None,
            })
            .await
            .unwrap();
        let file = ms.map(|ms| (Duration::from_millis(ms), ms * 10, [ms.to_le_bytes()[0]; 32]));
        let reason = ms.is_none().then(|| "disk full".to_owned());
        let end = RecordingEnd { state, ended_at: answered_at + Duration::from_secs(5), reason, file };
        change.end_recording(id, &end).await.unwrap();
    }
    change.commit().await.unwrap();
    let path = format!("{room}/recordings");
    let names = async |filter: &str| found(&house, &path, filter, "file_name").await;
    for item in house.items(&path).await {
        every_field_finds_its_item(&house, &path, &item, item["id"].as_str().unwrap(), &["file_url"]).await;
        let Some(url) = item["file_url"].as_str() else {
            assert_eq!(names("file_url eq null").await, ["c.ogg"]);
            continue;
        };
        let unsigned = url.split('?').next().unwrap();
        assert_eq!(names(&format!("file_url eq '{unsigned}'")).await, [item["file_name"].as_str().unwrap()]);
    }
    for (filter, expected) in [
        ("duration eq 1", vec!["a'1.ogg"]),
        ("duration ge 1.5", vec!["b%2.ogg"]),
        ("not (duration lt 100)", vec!["c.ogg"]),
        ("startswith(file_url,'/api/blobs/') and file_size gt 14999", vec!["b%2.ogg"]),
        ("read or state eq 'FAILED' and contains(reason,'full')", vec!["c.ogg"]),
        ("part_of eq null and ended_at gt '2025-05-05T05:05:10.499Z' and contains(file_name,'%')", vec!["b%2.ogg"]),
    ] {
        assert_eq!(names(filter).await, expected, "{filter}");
    }
    assert!(names("state eq 'RECORDING'").await.is_empty());
    let refused = message(asked(&house, "admin", &path, "sha256 ne null").await, "filter");
    assert_eq!(refused, "filter, column 1: there is no field sha256");
    house.get(&format!("{path}?orderby=file_url,duration%20desc,reason")).await.expect(200);
}

#[tokio::test]
async fn participants_are_found_by_every_field() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO"})).await;
    let phones = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    let path = format!("{room}/participants");
    let (first, second) = (phones.0.wire_id(), phones.1.wire_id());
    // Figures may be new ones with each request.
    let moving = [
        "level_dbov",
        "talking",
        "stats/packets_received",
        "stats/bytes_received",
        "stats/packets_sent",
        "stats/bytes_sent",
        "stats/packets_lost",
        "stats/packets_late",
        "stats/packets_discarded",
        "stats/frames_concealed",
        "stats/jitter_ms",
        "stats/rtt_ms",
        "stats/delay_ms",
    ];
    for item in house.items(&path).await {
        every_field_finds_its_item(&house, &path, &item, item["id"].as_str().unwrap(), &moving).await;
    }
    for field in moving {
        let either = format!("{field} eq null or {field} ne null");
        assert_eq!(found(&house, &path, &either, "id").await.len(), 2, "{field}");
    }
    for (filter, expected) in [
        ("number eq '102'", vec![&second]),
        ("contains(display_name,'Phone 101')", vec![&first]),
        ("position eq 0", vec![&first]),
        ("not muted and (chairman or pinned or on_hold)", vec![]),
        ("video_codec ne 'H264'", vec![]),
        ("not (video_codec eq 'H264') and video_codec eq null", vec![&first, &second]),
        ("stats ne null and stats/packets_sent ge 0 and stats/jitter_ms lt 1e6", vec![&first, &second]),
        ("stats eq null", vec![]),
        ("joined_at gt '2020-01-01T00:00:00Z' and transport eq 'SIP'", vec![&first, &second]),
    ] {
        assert_eq!(found(&house, &path, filter, "id").await.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    let ordered = house.items(&format!("{path}?orderby=audio_codec,number%20desc&filter=not%20muted&top=1")).await;
    assert_eq!(ordered[0]["id"], json!(second));
    let refused = message(asked(&house, "viewer", &path, "stats/jitter eq 1").await, "filter");
    assert_eq!(refused, "filter, column 1: there is no field stats/jitter");
    let order = house.get(&format!("{path}?orderby=stats")).await;
    assert_eq!(message(order, "orderby"), "orderby: stats is an object; name one of its fields");
}
