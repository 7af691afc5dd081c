//! A running server follows its database: when that is restored, and when it holds more than was answered.

use control::ids::Id;
use control::rooms::{Pins, Policy, RoomRecord, RoomSettings};
use control::store::Holding;
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn rooms_follow_a_restored_database() {
    let house = House::open().await;
    let kept = house.room("900", &json!({"capacity": 5})).await;
    let gone_now = house.room("901", &json!({})).await;
    let file = house.dir.path().join("backup.db");
    house.store.backup(&file).await.unwrap();

    house.post(&kept, &json!({"capacity": 1})).await.expect(200);
    house.act(&format!("{gone_now}/destroy")).await.expect(204);
    let later = house.room("902", &json!({})).await;
    let stays = house.dial("900", "101").await.unwrap();
    let mut goes = house.dial("902", "102").await.unwrap();
    house.act(&format!("{kept}/lock")).await.expect(200);

    house.store.restore(&file, house.dir.path()).await.unwrap();
    house.rooms.reload().await.unwrap();
    assert!(goes.orders.recv().await.is_some(), "a room that is gone ends");
    house.get(&later).await.refused(404, "NOT_FOUND");
    house.get(&format!("{later}/status")).await.refused(404, "NOT_FOUND");
    let status = house.get(&format!("{kept}/status")).await.expect(200).json();
    assert_eq!(
        (status["status"].as_str(), status["locked"].as_bool()),
        (Some("ON_CALL"), Some(true)),
        "its call goes on"
    );
    house.act(&format!("{kept}/unlock")).await.expect(200);
    house.dial("900", "103").await.expect("its capacity is the restored one");
    house.dial("901", "104").await.expect("it is there again");
    assert!(house.dial("902", "105").await.is_err());
    assert_eq!(house.items(&format!("{kept}/participants")).await.len(), 2);
    drop(stays);
}

/// As a commit leaves it whose answer was lost with the database's connection: in the database, and refused here.
#[tokio::test]
async fn change_that_was_refused_in_doubt_is_in_force_once_the_database_is_seen_to_hold_it() {
    let house = House::open().await;
    let plain = json!({});
    let [live, idle, gone, same] = ["900", "901", "902", "903"].map(|extension| house.room(extension, &plain));
    let (live, idle, gone, same) = (live.await, idle.await, gone.await, same.await);
    let id = |path: &str| Id::parse(path.rsplit('/').next().unwrap()).unwrap();
    let (guest, mut leaves) = (house.dial("900", "101").await.unwrap(), house.dial("902", "102").await.unwrap());
    let stays = house.dial("903", "103").await.unwrap();
    house.act(&format!("{same}/participants/{}/mute", stays.wire_id())).await.expect(200);

    let record = house.store.room(id(&idle)).await.unwrap();
    let made = RoomRecord {
        id: house.store.ids().next(),
        settings: RoomSettings { extension_number: "904".into(), ..record.settings.clone() },
        ..record
    };
    house.rooms.keep().await.unwrap();
    let mut change = house.store.change().await.unwrap();
    change.insert_room(&made).await.unwrap();
    change.delete_room(id(&gone)).await.unwrap();
    change.update_room(id(&live), |settings| Ok(RoomSettings { capacity: 1, ..settings })).await.unwrap();
    let policy = Policy { locked: true, muted: true };
    change.hold(&[id(&live), id(&idle)].map(|room| Holding { room, policy, owner: None, epoch: 0 })).await.unwrap();
    change.hold_pins(id(&live), &Pins::from([("101".to_owned(), 5)])).await.unwrap();
    change.commit().await.unwrap();
    assert!(house.dial("904", "104").await.is_err(), "nobody knows of it yet");

    house.journal.doubt();
    let rooms = house.rooms.clone();
    let following = tokio::spawn(async move { rooms.follow_restorations().await });
    leaves.orders.recv().await.expect("a room that is gone ends");
    for room in [&live, &idle] {
        let status = house.get(&format!("{room}/status")).await.expect(200).json();
        assert_eq!((&status["locked"], &status["muted"]), (&true.into(), &true.into()), "{room}");
    }
    let person = format!("{live}/participants/{}", guest.wire_id());
    let seen = house.get(&person).await.expect(200).json();
    assert_eq!((&seen["muted"], &seen["pinned"]), (&true.into(), &false.into()), "nobody was told of the position");
    house.rooms.keep().await.unwrap();
    assert!(house.store.all_pins().await.unwrap().is_empty(), "so it is taken back");
    let _guest = house.dial("904", "104").await.expect("it is there");
    let status = house.get(&format!("{same}/status")).await.expect(200).json();
    assert_eq!((&status["participants_count"], &status["locked"]), (&1.into(), &false.into()));
    let seen = house.get(&format!("{same}/participants/{}", stays.wire_id())).await.expect(200).json();
    assert_eq!(seen["muted"], true, "what was set alone stays");
    house.act(&format!("{live}/unlock")).await.expect(200);
    assert!(house.dial("900", "105").await.is_err(), "its capacity is the new one");
    following.abort();
}
