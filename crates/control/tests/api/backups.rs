//! A running server follows its database when that is restored.

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
