//! People in rooms: who is let in, what the API shows of them and does to them, and how they go.

use std::task::Poll;

use control::rooms::{DialogOrder, HangUp, Left, Refusal};
use media::{Event, LegEnd};
use serde_json::{Value, json};

use crate::house::House;

async fn participant(house: &House, room: &str, id: &str) -> Value {
    house.get(&format!("{room}/participants/{id}")).await.expect(200).json()
}

#[tokio::test]
async fn people_are_listed_in_the_order_they_came_with_all_fields() {
    let house = House::open().await;
    let room = house.room("900", &json!({"mode": "VIDEO", "layout": "LAYOUT1"})).await;
    let (first, second) = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    let items = house.items(&format!("{room}/participants")).await;
    assert_eq!(items.len(), 2);
    let one = &items[0];
    assert_eq!(one["id"], json!(first.wire_id()));
    assert_eq!(one["display_name"], "\"Phone 101\"<sip:101@127.0.0.1>");
    for (field, value) in [
        ("number", json!("101")),
        ("muted", json!(false)),
        ("chairman", json!(false)),
        ("position", json!(0)),
        ("pinned", json!(false)),
        ("transport", json!("SIP")),
        ("state", json!("JOINED")),
        ("on_hold", json!(false)),
        ("talking", json!(false)),
        ("audio_codec", json!("PCMU")),
        ("video_codec", Value::Null),
    ] {
        assert_eq!(one[field], value, "{field}");
    }
    assert!(one["stats"]["packets_sent"].is_u64() && one["level_dbov"].is_i64(), "{one}");
    assert_eq!(items[1]["position"], json!(-1), "the layout has one tile");
    let status = house.get(&format!("{room}/status")).await.json();
    assert_eq!((&status["status"], &status["participants_count"]), (&json!("ON_CALL"), &json!(2)));
    assert_eq!(status["started_at"], one["joined_at"]);

    let found = house.items(&format!("{room}/participants?search=PHONE%20102")).await;
    assert_eq!(found[0]["id"], json!(second.wire_id()));
    let last = house.items(&format!("{room}/participants?orderby=number%20desc&top=1")).await;
    assert_eq!(last[0]["id"], json!(second.wire_id()));

    house.rooms.leave(first.id, Left::HungUp);
    house.rooms.leave(first.id, Left::HungUp);
    house.get(&format!("{room}/participants/{}", first.wire_id())).await.refused(404, "NOT_FOUND");
    assert_eq!(participant(&house, &room, &second.wire_id()).await["position"], json!(0), "the tile is free");
    house.rooms.leave(second.id, Left::HungUp);
    assert_eq!(house.get(&format!("{room}/status")).await.json()["status"], "ONLINE");
    assert!(house.items(&format!("{room}/participants")).await.is_empty());
    house
        .until("the engine's room closes", async || house.metric("conclave_engine_legs{worker=\"0\"}").await == 0.0)
        .await;
}

#[tokio::test]
async fn figures_are_asked_for_once_a_second_however_many_ask() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let phone = house.dial("900", "101").await.unwrap();
    let path = format!("{room}/participants/{}", phone.wire_id());
    let first = house.get(&path).await.json();
    for _ in 0..50 {
        assert_eq!(house.get(&path).await.json()["stats"]["packets_sent"], first["stats"]["packets_sent"]);
    }
    house.until("new figures", async || house.get(&path).await.json()["stats"] != first["stats"]).await;
}

#[tokio::test]
async fn mute_is_for_one_or_for_all_who_come() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let first = house.dial("900", "101").await.unwrap();
    house.act(&format!("{room}/mute")).await.expect(200);
    let second = house.dial("900", "102").await.unwrap();
    let muted = async |id: &str| participant(&house, &room, id).await["muted"].as_bool().unwrap();
    assert!(muted(&first.wire_id()).await && muted(&second.wire_id()).await);
    house.act(&format!("{room}/participants/{}/unmute", second.wire_id())).await.expect(200);
    assert!(muted(&first.wire_id()).await && !muted(&second.wire_id()).await);
    assert_eq!(house.get(&format!("{room}/status")).await.json()["muted"], true);
    house.act(&format!("{room}/unmute")).await.expect(200);
    assert!(!muted(&first.wire_id()).await);
    house.act(&format!("{room}/participants/{}/mute", first.wire_id())).await.expect(200);
    house.act(&format!("{room}/participants/{}/mute", first.wire_id())).await.expect(200);
    assert!(muted(&first.wire_id()).await && !muted(&second.wire_id()).await);

    let other = house.room("901", &json!({})).await;
    for action in ["mute", "unmute", "destroy"] {
        let path = format!("{other}/participants/{}/{action}", first.wire_id());
        house.act(&path).await.refused(404, "NOT_FOUND");
    }
    house.act(&format!("{room}/lock")).await.expect(200);
    assert_eq!(house.dial("900", "103").await.err(), Some(Refusal::RoomLocked));
    for phone in [&first, &second] {
        house.rooms.leave(phone.id, Left::HungUp);
    }
    house
        .until("the store knows that the lock ended", async || {
            let rooms = house.store.all_rooms().await.unwrap();
            rooms.iter().all(|(room, _)| !room.policy.locked)
        })
        .await;
    house.dial("900", "104").await.unwrap();
}

#[tokio::test]
async fn removed_participant_is_gone_with_the_answer_and_its_dialog_is_told() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let mut phone = house.dial("900", "101").await.unwrap();
    let path = format!("{room}/participants/{}/destroy", phone.wire_id());
    house.act(&path).await.expect(204);
    house.act(&path).await.refused(404, "NOT_FOUND");
    assert_eq!(phone.orders.recv().await, Some(DialogOrder::HangUp(HangUp::RemovedByOperator)));
    house.rooms.leave(phone.id, Left::Removed(HangUp::RemovedByOperator));
    assert_eq!(house.metric("conclave_participants_left_total{reason=\"removed\"}").await, 1.0);
    assert_eq!(house.metric("conclave_participants").await, 0.0);
}

#[tokio::test]
async fn destroyed_room_hangs_up_on_those_inside_and_those_at_the_door() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let mut inside = house.dial("900", "101").await.unwrap();
    let at_the_door = house.admit("900", "102").await.unwrap();
    house.act(&format!("{room}/destroy")).await.expect(204);
    assert_eq!(inside.orders.recv().await, Some(DialogOrder::HangUp(HangUp::RoomDestroyed)));
    let at = media::ReserveAt { bind: [127, 0, 0, 1].into(), advertise: [127, 0, 0, 1].into() };
    assert!(house.rooms.engine().reserve(at_the_door.seat.room, at).is_err());
    drop(at_the_door);
    assert_eq!(house.metric("conclave_rooms_active").await, 0.0);
}

#[tokio::test]
async fn media_that_ends_takes_its_participant_along() {
    let house = House::open().await;
    house.room("900", &json!({})).await;
    let (mut silent, mut failed) = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    for (phone, reason, why) in [
        (&mut silent, LegEnd::MediaTimeout, HangUp::MediaTimeout),
        (&mut failed, LegEnd::Failed("panic".into()), HangUp::MediaFailed),
    ] {
        let (room, leg) = house.rooms.leg_of(phone.id).await.unwrap();
        house.rooms.apply(Event::LegDown { room, leg, reason }).await;
        assert_eq!(phone.orders.recv().await, Some(DialogOrder::HangUp(why)));
        assert_eq!(house.rooms.leg_of(phone.id).await, None);
    }
    let mut phone = house.dial("900", "103").await.unwrap();
    let (room, _) = house.rooms.leg_of(phone.id).await.unwrap();
    house.rooms.apply(Event::RoomFailed { room, reason: "panic".into() }).await;
    assert_eq!(phone.orders.recv().await, Some(DialogOrder::HangUp(HangUp::MediaFailed)));
    // Facts of a call that is over meet nobody in the next one.
    let next = house.dial("900", "104").await.unwrap();
    house.rooms.apply(Event::RoomFailed { room, reason: "late".into() }).await;
    assert!(house.rooms.leg_of(next.id).await.is_some());
}

#[tokio::test]
async fn lost_facts_are_made_good_by_asking() {
    let house = House::open().await;
    house.room("900", &json!({})).await;
    let (mut gone, here) = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    let (room, leg) = house.rooms.leg_of(gone.id).await.unwrap();
    house.engine.leave(room, leg);
    house.rooms.apply(Event::Lagged { worker: 0 }).await;
    assert_eq!(gone.orders.recv().await, Some(DialogOrder::HangUp(HangUp::MediaFailed)));
    assert!(house.rooms.leg_of(here.id).await.is_some());
}

#[tokio::test]
async fn talking_is_shown_while_it_lasts() {
    let house = House::open().await;
    let path = house.room("900", &json!({})).await;
    let phone = house.dial("900", "101").await.unwrap();
    let (room, leg) = house.rooms.leg_of(phone.id).await.unwrap();
    for talking in [true, false] {
        house.rooms.apply(Event::Talking { room, leg, talking }).await;
        assert_eq!(participant(&house, &path, &phone.wire_id()).await["talking"], json!(talking));
    }
    house.rooms.digit(phone.id, media::Digit::from_char('5').unwrap());
    assert_eq!(house.metric("conclave_dtmf_digits_total").await, 1.0);
}

#[tokio::test]
async fn caller_who_gives_up_while_joining_leaves_nothing_behind() {
    let house = House::open().await;
    let path = house.room("900", &json!({"capacity": 1})).await;
    {
        let mut joining = Box::pin(house.dial("900", "101"));
        // Polled until the engine has been asked, then dropped; an engine that was quicker has a phone that hangs up.
        let polled = std::future::poll_fn(|cx| Poll::Ready(joining.as_mut().poll(cx))).await;
        if let Poll::Ready(Ok(phone)) = polled {
            house.rooms.leave(phone.id, Left::HungUp);
        }
    }
    assert!(house.items(&format!("{path}/participants")).await.is_empty());
    house.dial("900", "102").await.unwrap();
}
