//! What rooms announce: everything that becomes true, once, in the order in which it did.

use control::ids::Id;
use control::rooms::{HangUp, Left};
use media::{Answer, CodecName, Event, LegEnd};
use serde_json::{Value, json};

use crate::house::{House, Phone};

fn id_of(room: &str) -> Id {
    Id::parse(room.rsplit('/').next().unwrap()).unwrap()
}

/// The room's events once the last one is of this kind: kind, the number of whom it is about, data.
async fn events(house: &House, room: &str, last: &str) -> Vec<(String, String, Value)> {
    let mut events = Vec::new();
    let arrived = async || {
        events = house.store.events_after(0, Some(id_of(room)), 1000).await.unwrap();
        events.last().is_some_and(|event| event.kind == last)
    };
    house.until(last, arrived).await;
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.sequence, i64::try_from(at + 1).unwrap());
        assert_eq!(event.extension.as_deref(), Some("900"));
    }
    let read = |event: control::store::StoredEvent| {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        (event.kind, data["number"].as_str().unwrap_or("").to_owned(), data)
    };
    events.into_iter().map(read).collect()
}

/// Kinds, each with whom it is about: `participant.joined 101`.
async fn told(house: &House, room: &str, last: &str) -> Vec<String> {
    let line = |(kind, number, _): (String, String, Value)| format!("{kind} {number}").trim_end().to_owned();
    events(house, room, last).await.into_iter().map(line).collect()
}

async fn act(house: &House, room: &str, phone: &Phone, action: &str, body: &Value) {
    house.post(&format!("{room}/participants/{}/{action}", phone.wire_id()), body).await;
}

#[tokio::test]
async fn room_is_announced_from_its_making_to_its_end() {
    let house = House::open().await;
    let room = house.room("900", &json!({"room_pin": "7777", "admin_pin": "8888"})).await;
    house.post(&room, &json!({"subject": "Other", "room_pin": null, "layout": "LAYOUT4"})).await.expect(200);
    house.post(&room, &json!({"capacity": 0})).await.refused(400, "VALIDATE_FAILED");
    for action in ["lock", "mute", "unlock", "unmute"] {
        for _ in 0..2 {
            house.act(&format!("{room}/{action}")).await.expect(200);
        }
    }
    let phone = house.dial("900", "101").await.unwrap();
    house.rooms.leave(phone.id, Left::HungUp);
    drop(house.admit("900", "102").await.unwrap());
    house
        .until("the end is kept", async || {
            house
                .store
                .events_after(0, Some(id_of(&room)), 100)
                .await
                .unwrap()
                .last()
                .is_some_and(|e| e.kind == "room.ended")
        })
        .await;
    house.act(&format!("{room}/destroy")).await.expect(204);
    house.act(&format!("{room}/destroy")).await.refused(404, "NOT_FOUND");
    let events = events(&house, &room, "room.destroyed").await;
    let kinds: Vec<&str> = events.iter().map(|(kind, ..)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "room.created",
            "room.updated",
            "room.locked",
            "room.muted",
            "room.unlocked",
            "room.unmuted",
            "room.started",
            "participant.joined",
            "participant.left",
            "room.ended",
            "room.destroyed",
        ]
    );
    assert_eq!(events[1].2, json!({"subject": "Other", "locked": false, "muted": false, "layout": "LAYOUT4"}));
    assert_eq!(events[3].2, json!({"subject": "Other", "locked": true, "muted": true, "layout": "LAYOUT4"}));
    assert!(!format!("{events:?}").contains("7777") && !format!("{events:?}").contains("8888"), "no PIN is told");
}

#[tokio::test]
async fn moderation_is_announced_when_it_changes_something() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let (first, second) = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    for (phone, action) in [(&first, "mute"), (&first, "unmute"), (&first, "chairman")] {
        for _ in 0..2 {
            act(&house, &room, phone, action, &json!({})).await;
        }
    }
    house.act(&format!("{room}/mute")).await.expect(200);
    act(&house, &room, &second, "chairman", &json!({})).await;
    house.act(&format!("{room}/unmute")).await.expect(200);
    for _ in 0..2 {
        act(&house, &room, &second, "position", &json!({"position": 5})).await;
    }
    act(&house, &room, &second, "destroy", &json!({})).await;
    act(&house, &room, &second, "destroy", &json!({})).await;
    let all = events(&house, &room, "participant.left").await;
    let told = told(&house, &room, "participant.left").await;
    assert_eq!(
        told[2..],
        [
            "participant.joined 101",
            "participant.joined 102",
            "participant.muted 101",
            "participant.unmuted 101",
            "participant.chairman 101",
            "room.muted",
            "participant.muted 102",
            "participant.chairman 102",
            "participant.muted 101",
            "participant.unmuted 102",
            "room.unmuted",
            "participant.unmuted 101",
            "participant.position 102",
            "participant.left 102",
        ]
    );
    let (_, _, left) = all.last().unwrap();
    assert_eq!(left["participant_id"], json!(second.wire_id()));
    for (field, value) in [
        ("display_name", json!("\"Phone 102\"<sip:102@127.0.0.1>")),
        ("muted", json!(false)),
        ("chairman", json!(true)),
        ("position", json!(5)),
        ("pinned", json!(true)),
        ("reason", json!("removed")),
    ] {
        assert_eq!(left[field], value, "{field}");
    }
}

#[tokio::test]
async fn everyone_who_moves_is_announced() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO", "layout": "LAYOUT2"})).await;
    let (first, second) = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    let third = house.dial("900", "103").await.unwrap();
    act(&house, &room, &third, "position", &json!({"position": 0})).await;
    house.post(&room, &json!({"layout": "LAYOUT3"})).await.expect(200);
    let items = json!({"items": [second.wire_id(), first.wire_id()]});
    house.post(&format!("{room}/participants/layout"), &items).await.expect(200);
    house.rooms.leave(second.id, Left::HungUp);
    house.rooms.leave(third.id, Left::HungUp);
    house.rooms.leave(first.id, Left::HungUp);
    let events = events(&house, &room, "room.ended").await;
    let moves: Vec<_> = events
        .iter()
        .filter(|(kind, ..)| kind != "participant.joined" && kind.starts_with("participant"))
        .map(|(kind, number, data)| {
            let left = if kind == "participant.left" { " left" } else { "" };
            format!("{number} {} {}{left}", data["position"], data["pinned"])
        })
        .collect();
    assert_eq!(
        moves,
        [
            "101 -1 false",
            "103 0 true",
            "101 2 false",
            "101 1 true",
            "102 0 true",
            "103 2 false",
            "102 0 true left",
            "103 2 false left",
            "101 1 true left"
        ]
    );
}

#[tokio::test]
async fn every_way_out_is_announced_once_with_its_reason() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let mut phones = Vec::new();
    for number in ["101", "102", "103", "104"] {
        phones.push(house.dial("900", number).await.unwrap());
    }
    let (media, leg) = house.rooms.leg_of(phones[1].id).await.unwrap();
    house.rooms.leave(phones[0].id, Left::HungUp);
    house.rooms.leave(phones[0].id, Left::HungUp);
    for _ in 0..2 {
        house.rooms.apply(Event::LegDown { room: media, leg, reason: LegEnd::MediaTimeout }).await;
    }
    act(&house, &room, &phones[2], "destroy", &json!({})).await;
    house.rooms.leave(phones[2].id, Left::Removed(HangUp::RemovedByOperator));
    for _ in 0..2 {
        house.rooms.apply(Event::RoomFailed { room: media, reason: "panic".into() }).await;
    }
    let _next = house.dial("900", "105").await.unwrap();
    house.act(&format!("{room}/destroy")).await.expect(204);
    let events = events(&house, &room, "room.ended").await;
    let left: Vec<_> = events
        .iter()
        .filter(|(kind, ..)| kind == "participant.left")
        .map(|(_, number, data)| format!("{number} {}", data["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(left, ["101 hung_up", "102 media_timeout", "103 removed", "104 media_failed", "105 room_destroyed"]);
    let ends = events.iter().filter(|(kind, ..)| kind == "room.ended").count();
    let starts = events.iter().filter(|(kind, ..)| kind == "room.started").count();
    assert_eq!((starts, ends), (2, 2));
}

#[tokio::test]
async fn shutdown_is_announced_to_the_last_participant() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let _phones = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    house.rooms.hang_up_all();
    let events = events(&house, &room, "room.ended").await;
    let reasons: Vec<_> = events.iter().filter_map(|(_, _, data)| data["reason"].as_str()).collect();
    assert_eq!(reasons, ["draining", "draining"]);
}

#[tokio::test]
async fn talking_and_holding_are_announced_when_they_change() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let phone = house.dial("900", "101").await.unwrap();
    let (media, leg) = house.rooms.leg_of(phone.id).await.unwrap();
    for talking in [true, true, false, false] {
        house.rooms.apply(Event::Talking { room: media, leg, talking }).await;
    }
    for on_hold in [true, true, false, false] {
        house
            .rooms
            .renegotiated(phone.id, &Answer { sdp: String::new(), codec: CodecName::Pcmu, video: None, on_hold });
    }
    let told = told(&house, &room, "participant.resumed").await;
    assert_eq!(
        told[3..],
        ["participant.talking 101", "participant.silent 101", "participant.held 101", "participant.resumed 101"]
    );
}

#[tokio::test]
async fn whoever_gave_up_before_the_answer_is_not_announced() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    drop(house.admit("900", "101").await.unwrap());
    let phone = house.dial("900", "102").await.unwrap();
    house.rooms.leave(phone.id, Left::Cancelled);
    assert_eq!(
        told(&house, &room, "room.ended").await,
        ["room.created", "room.started", "participant.joined 102", "participant.left 102", "room.ended"]
    );
}
