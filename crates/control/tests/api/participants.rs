//! What the API does to those in a room: chairman, positions, invitations; and how each is refused.

use axum::http::header;
use control::rooms::Left;
use serde_json::{Value, json};

use crate::house::{House, Phone};

const NOBODY: &str = "MQ==";

/// Positions in the order of coming; pinned ones with `true`.
async fn places(house: &House, room: &str) -> Vec<(i64, bool)> {
    let items = house.items(&format!("{room}/participants")).await;
    items.iter().map(|p| (p["position"].as_i64().unwrap(), p["pinned"].as_bool().unwrap())).collect()
}

/// One field of everyone, in the order of coming.
async fn each(house: &House, room: &str, field: &str) -> Vec<bool> {
    let items = house.items(&format!("{room}/participants")).await;
    items.iter().map(|p| p[field].as_bool().unwrap()).collect()
}

async fn dial(house: &House, extension: &str, numbers: &[&str]) -> Vec<Phone> {
    let mut phones = Vec::new();
    for number in numbers {
        phones.push(house.dial(extension, number).await.unwrap());
    }
    phones
}

async fn set(house: &House, room: &str, phone: &Phone, position: i64) {
    let path = format!("{room}/participants/{}/position", phone.wire_id());
    assert!(house.post(&path, &json!({"position": position})).await.expect(200).body.is_empty());
}

#[tokio::test]
async fn chairman_is_one_and_is_not_muted_with_the_room() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let phones = dial(&house, "900", &["101", "102", "103"]).await;
    let path = |phone: &Phone| format!("{room}/participants/{}/chairman", phone.wire_id());
    for _ in 0..2 {
        assert!(house.act(&path(&phones[0])).await.expect(200).body.is_empty());
    }
    assert_eq!(each(&house, &room, "chairman").await, [true, false, false]);
    assert_eq!(each(&house, &room, "muted").await, [false; 3]);
    house.act(&format!("{room}/mute")).await.expect(200);
    assert_eq!(each(&house, &room, "muted").await, [false, true, true]);
    house.act(&path(&phones[1])).await.expect(200);
    assert_eq!(each(&house, &room, "chairman").await, [false, true, false]);
    assert_eq!(each(&house, &room, "muted").await, [true, false, true]);
    house.rooms.leave(phones[1].id, Left::HungUp);
    assert_eq!(each(&house, &room, "chairman").await, [false, false]);
}

#[tokio::test]
async fn position_is_held_swapped_and_hidden() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO", "layout": "LAYOUT3"})).await;
    let phones = dial(&house, "900", &["101", "102", "103", "104"]).await;
    assert_eq!(places(&house, &room).await, [(0, false), (1, false), (2, false), (-1, false)]);
    set(&house, &room, &phones[2], 0).await;
    set(&house, &room, &phones[2], 0).await;
    assert_eq!(places(&house, &room).await, [(2, false), (1, false), (0, true), (-1, false)]);
    set(&house, &room, &phones[2], -1).await;
    assert_eq!(places(&house, &room).await, [(2, false), (1, false), (-1, true), (0, false)]);
    set(&house, &room, &phones[0], 8).await;
    assert_eq!(places(&house, &room).await[0], (2, true), "no effect until the layout has it");
    house.post(&room, &json!({"layout": "LAYOUT9"})).await.expect(200);
    assert_eq!(places(&house, &room).await, [(8, true), (1, false), (-1, true), (0, false)]);
    house.post(&room, &json!({"layout": "LAYOUT0"})).await.expect(200);
    assert_eq!(places(&house, &room).await, [(2, true), (1, false), (-1, true), (0, false)], "four tiles hold three");
    house.post(&room, &json!({"layout": "LAYOUT1"})).await.expect(200);
    assert_eq!(places(&house, &room).await, [(-1, true), (-1, false), (-1, true), (0, false)]);
}

#[tokio::test]
async fn audio_room_keeps_the_positions_that_were_set() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let phones = dial(&house, "900", &["101", "102"]).await;
    assert_eq!(places(&house, &room).await, [(-1, false), (-1, false)]);
    set(&house, &room, &phones[1], 4).await;
    assert_eq!(places(&house, &room).await, [(-1, false), (4, true)]);
}

#[tokio::test]
async fn arrangement_is_the_index_of_each() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO", "layout": "LAYOUT4"})).await;
    let phones = dial(&house, "900", &["101", "102", "103", "104", "105"]).await;
    let id = |at: usize| phones[at].wire_id();
    let path = format!("{room}/participants/layout");
    for _ in 0..2 {
        let answer = house.post(&path, &json!({"items": [id(3), id(1)]})).await.expect(200);
        assert!(answer.body.is_empty());
        assert_eq!(places(&house, &room).await, [(2, false), (1, true), (3, false), (0, true), (-1, false)]);
    }
    let before = places(&house, &room).await;
    let other = house.room("901", &json!({})).await;
    let stranger = dial(&house, "901", &["106"]).await;
    for items in [
        json!([id(0), id(0)]),
        json!([id(0), NOBODY]),
        json!([id(0), "?"]),
        json!([id(0), stranger[0].wire_id()]),
        json!([7]),
        json!("x"),
        Value::Null,
        json!(vec![id(0); 201]),
    ] {
        let refused = house.post(&path, &json!({"items": items})).await.refused(400, "VALIDATE_FAILED");
        assert_eq!(refused, ["items"], "{items}");
    }
    assert_eq!(house.post(&path, &json!({})).await.refused(400, "VALIDATE_FAILED"), ["items"]);
    assert_eq!(places(&house, &room).await, before);
    assert_eq!(places(&house, &other).await, [(-1, false)]);
    house.post(&path, &json!({"items": []})).await.expect(200);
    assert_eq!(places(&house, &room).await, [(0, false), (1, false), (2, false), (3, false), (-1, false)]);
    house
        .post(&format!("/api/conference_rooms/{NOBODY}/participants/layout"), &json!({}))
        .await
        .refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_is_asked_of_nobody_or_wrongly_is_refused() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let other = house.room("901", &json!({})).await;
    let phone = house.dial("900", "101").await.unwrap();
    let id = phone.wire_id();
    for (action, body) in
        [("chairman", json!({})), ("position", json!({"position": 1})), ("mute", json!({})), ("unmute", json!({}))]
    {
        for path in [
            format!("{other}/participants/{id}/{action}"),
            format!("{room}/participants/{NOBODY}/{action}"),
            format!("{room}/participants/nonsense!/{action}"),
            format!("/api/conference_rooms/{NOBODY}/participants/{id}/{action}"),
        ] {
            house.post(&path, &body).await.refused(404, "NOT_FOUND");
        }
        let path = format!("{room}/participants/{id}/{action}");
        house.post_as("viewer", &path, &body).await.refused(403, "FORBIDDEN");
    }
    let path = format!("{room}/participants/{id}/position");
    for body in [
        json!({}),
        json!({"position": null}),
        json!({"position": 9}),
        json!({"position": -2}),
        json!({"position": 1.5}),
        json!({"position": "1"}),
    ] {
        assert_eq!(house.post(&path, &body).await.refused(400, "VALIDATE_FAILED"), ["position"], "{body}");
    }
    assert_eq!(places(&house, &room).await, [(-1, false)]);
}

#[tokio::test]
async fn positions_survive_a_crash_and_end_with_the_call() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO", "layout": "LAYOUT4"})).await;
    let phones = dial(&house, "900", &["101", "102", "103"]).await;
    set(&house, &room, &phones[0], 3).await;
    set(&house, &room, &phones[1], -1).await;
    let house = House::open_in(house.crash().await, &[]).await;
    let phones = dial(&house, "900", &["103", "102", "101"]).await;
    assert_eq!(places(&house, &room).await, [(0, false), (-1, true), (3, true)]);
    for phone in &phones {
        house.rooms.leave(phone.id, Left::HungUp);
    }
    house.until("the store forgets them", async || house.store.all_pins().await.unwrap().is_empty()).await;
    dial(&house, "900", &["101", "102"]).await;
    assert_eq!(places(&house, &room).await, [(0, false), (1, false)]);
}

#[tokio::test]
async fn position_that_a_destroyed_room_had_is_forgotten() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let phone = house.dial("900", "101").await.unwrap();
    set(&house, &room, &phone, 3).await;
    house.act(&format!("{room}/destroy")).await.expect(204);
    assert!(house.store.all_pins().await.unwrap().is_empty());
}

#[tokio::test]
async fn invitation_says_what_is_in_its_way() {
    let house = House::open_with(&[("SERVER__MAX_PARTICIPANTS", "3"), ("SERVER__MAX_ROOMS", "2")]).await;
    let room = house.room("900", &json!({"capacity": 2})).await;
    let (other, third) = (house.room("901", &json!({})).await, house.room("902", &json!({})).await);
    let invite = async |room: &str, number: &str| {
        house.post(&format!("{room}/participants/invite"), &json!({"number": number})).await
    };
    invite(&format!("/api/conference_rooms/{NOBODY}"), "?").await.refused(404, "NOT_FOUND");
    let long = "1".repeat(65);
    for number in ["", "+", "12a", "1 2", "++1", "sip:", "sip:@host", "sip:a@", "sip:a@b;x=y", "tel:1", &long] {
        assert_eq!(invite(&room, number).await.refused(400, "VALIDATE_FAILED"), ["number"], "{number}");
    }
    let path = format!("{room}/participants/invite");
    for body in [json!({}), json!({"number": null}), json!({"number": 102})] {
        assert_eq!(house.post(&path, &body).await.refused(400, "VALIDATE_FAILED"), ["number"]);
    }
    for number in ["102", "+4930123456", "sip:bob@example.com", "SIP:bob@[2001:db8::1]:5070", &"1".repeat(64)] {
        let answer = invite(&room, number).await;
        assert!(answer.text().contains("no outbound trunk is configured"));
        answer.refused(409, "INVALID_STATE");
    }
    let _first = house.dial("900", "101").await.unwrap();
    for number in ["101", "sip:101@127.0.0.1"] {
        let answer = invite(&room, number).await;
        assert!(answer.text().contains("in the room already"), "{}", answer.text());
        answer.refused(409, "INVALID_STATE");
    }
    house.act(&format!("{room}/lock")).await.expect(200);
    invite(&room, "102").await.refused(409, "INVALID_STATE");
    house.act(&format!("{room}/unlock")).await.expect(200);
    let _second = house.dial("900", "102").await.unwrap();
    let answer = invite(&room, "103").await;
    assert!(answer.text().contains("the room is full"));
    answer.refused(409, "CAPACITY_EXCEEDED");
    let _third = house.dial("901", "103").await.unwrap();
    for path in [&other, &third] {
        invite(path, "104").await.refused(409, "CAPACITY_EXCEEDED");
    }
    house.post_as("viewer", &path, &json!({"number": "104"})).await.refused(403, "FORBIDDEN");
}

#[tokio::test]
async fn invitation_needs_a_server() {
    let house = House::open().await;
    let (room, idle) = (house.room("900", &json!({})).await, house.room("901", &json!({})).await);
    let _phone = house.dial("900", "101").await.unwrap();
    let server = format!("/api/conference_servers/{}", house.rooms.server());
    house.post_as("admin", &server, &json!({"enabled": false})).await.expect(200);
    let answer = house.post(&format!("{idle}/participants/invite"), &json!({"number": "102"})).await;
    assert!(answer.header(header::RETRY_AFTER).parse::<u32>().is_ok());
    answer.refused(503, "NO_SERVER");
    let running = house.post(&format!("{room}/participants/invite"), &json!({"number": "102"})).await;
    running.refused(409, "INVALID_STATE");
    house.rooms.drain();
    house.post(&format!("{room}/participants/invite"), &json!({"number": "102"})).await.refused(503, "NO_SERVER");
}

#[tokio::test]
async fn nothing_changes_while_the_database_is_away() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO"})).await;
    let phone = house.dial("900", "101").await.unwrap();
    let (id, phone) = (control::ids::Id::parse(room.rsplit('/').next().unwrap()).unwrap(), phone.id);
    house.store.close().await;
    for refused in [
        house.rooms.mute_participant(id, phone, true).await,
        house.rooms.appoint_chairman(id, phone).await,
        house.rooms.place_participant(id, phone, 5).await,
        house.rooms.arrange_participants(id, &[phone]).await,
        house.rooms.remove_participant(id, phone).await,
        house.rooms.mute_room(id, true).await,
        house.rooms.lock_room(id, true).await,
    ] {
        assert_eq!(refused.unwrap_err().status_and_code(), (503, "BUSY"));
    }
    let view = house.rooms.participant(id, phone).await.unwrap();
    assert_eq!((view.muted, view.chairman, view.position, view.pinned), (false, false, 0, false));
    let status = house.rooms.status(id).unwrap();
    assert_eq!((status.locked, status.muted, status.participants), (false, false, 1));
}
