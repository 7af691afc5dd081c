//! The conference server list and its limits.

use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn built_in_server_is_listed_shown_and_changed() {
    let house = House::open().await;
    let list = house.get("/api/conference_servers?search=CONC").await.expect(200).json();
    assert_eq!(list["count"], 1);
    let server = list["items"][0].clone();
    assert_eq!(
        (&server["type"], &server["enabled"], &server["ipv6"]),
        (&json!("INTERNAL"), &json!(true), &json!(null))
    );
    let path = format!("/api/conference_servers/{}", server["id"].as_str().unwrap());
    assert_eq!(house.get(&path).await.expect(200).json(), server);

    let answer = house.post_as("admin", &path, &json!({"max_rooms": 3, "name": "other", "id": 5})).await.expect(200);
    assert!(answer.body.is_empty());
    let changed = house.get(&path).await.json();
    assert_eq!((&changed["max_rooms"], &changed["name"]), (&json!(3), &server["name"]));
    let broken = json!({"max_rooms": -1, "max_participants": null, "enabled": "no"});
    let fields = house.post_as("admin", &path, &broken).await.refused(400, "VALIDATE_FAILED");
    assert_eq!(fields, ["enabled", "max_rooms", "max_participants"]);
    house.post_as("admin", "/api/conference_servers/MQ==", &json!({})).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn status_counts_who_is_there() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let _phones = (house.dial("900", "101").await.unwrap(), house.dial("900", "102").await.unwrap());
    let server = house.items("/api/conference_servers").await.remove(0);
    let status = house.get(&format!("/api/conference_servers/{}/status", server["id"].as_str().unwrap())).await.json();
    assert_eq!((&status["rooms_count"], &status["participants_count"]), (&json!(1), &json!(2)));
    assert_eq!(status["status"], "ONLINE");
    assert!(status["cpu_usage"].as_u64().unwrap() <= 100 && status["memory_usage"].as_u64().unwrap() <= 100);
    let status = house.get(&format!("{room}/status")).await.json();
    assert_eq!(status["server_id"], server["id"]);
}

#[tokio::test]
async fn limits_hold_from_the_answer_on_and_survive_a_restart() {
    let house = House::open().await;
    let first = house.room("900", &json!({})).await;
    house.room("901", &json!({})).await;
    let server = house.items("/api/conference_servers").await.remove(0);
    let path = format!("/api/conference_servers/{}", server["id"].as_str().unwrap());
    let phone = house.dial("900", "101").await.unwrap();
    house.post_as("admin", &path, &json!({"max_rooms": 1})).await.expect(200);
    assert_eq!(house.dial("901", "102").await.err().unwrap().label(), "server_full");
    house.post_as("admin", &path, &json!({"max_rooms": 5, "max_participants": 1})).await.expect(200);
    assert_eq!(house.dial("900", "102").await.err().unwrap().label(), "server_full");
    house.post_as("admin", &path, &json!({"max_participants": 9, "enabled": false})).await.expect(200);
    assert_eq!(house.dial("901", "102").await.err().unwrap().label(), "server_disabled");
    assert_eq!(house.get(&format!("{first}/status")).await.json()["status"], "ON_CALL");
    drop(phone);
    let house = House::open_in(house.crash().await, &[]).await;
    assert_eq!(house.dial("901", "102").await.err().unwrap().label(), "server_disabled");
    assert_eq!(house.get(&format!("{first}/status")).await.json()["status"], "OFFLINE");
}

#[tokio::test]
async fn server_is_added_drained_and_removed() {
    let house = House::open().await;
    let servers = "/api/conference_servers";
    let whole =
        json!({"name": "Zwei", "ipv4": "192.0.2.11", "ipv6": "2001:DB8::11", "max_rooms": 0, "max_participants": 9});
    let made = house.post_as("admin", servers, &whole).await.expect(200).json();
    let path = format!("{servers}/{}", made["id"].as_str().unwrap());
    let server = house.get(&path).await.expect(200).json();
    let wanted = json!({
        "id": made["id"], "name": "Zwei", "enabled": true, "type": "EXTERNAL", "ipv4": "192.0.2.11",
        "ipv6": "2001:db8::11", "max_rooms": 0, "max_participants": 9
    });
    assert_eq!(server, wanted);
    let status = house.get(&format!("{path}/status")).await.expect(200).json();
    assert_eq!((&status["status"], &status["rooms_count"]), (&json!("OFFLINE"), &json!(0)));
    house.post_as("admin", servers, &whole).await.refused(409, "RESOURCE_IN_USE");
    house.post_as("operator", servers, &whole).await.refused(403, "FORBIDDEN");
    house.post_as("admin", &path, &json!({"enabled": false})).await.expect(200);
    assert_eq!(house.get(&path).await.json()["enabled"], false);
    house.post_as("admin", &format!("{path}/destroy"), &json!({})).await.expect(204);
    for gone in [path.clone(), format!("{path}/status")] {
        house.get(&gone).await.refused(404, "NOT_FOUND");
    }
    house.post_as("admin", &format!("{path}/destroy"), &json!({})).await.refused(404, "NOT_FOUND");
    let events = house.store.events_after(0, None, 10).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["server.created", "server.updated", "server.destroyed"]);
}

#[tokio::test]
async fn server_that_breaks_a_rule_is_refused_with_each_field() {
    let house = House::open().await;
    let servers = "/api/conference_servers";
    for (body, fields) in [
        (json!({}), &["name", "max_rooms", "max_participants"][..]),
        (json!({"name": "", "max_rooms": -1, "max_participants": 1.5}), &["name", "max_rooms", "max_participants"]),
        (json!({"name": "x", "max_rooms": 1, "max_participants": 1}), &["ipv4"]),
        (json!({"name": "x", "max_rooms": 1, "max_participants": 1, "ipv4": null}), &["ipv4"]),
        (json!({"name": "x", "max_rooms": 1, "max_participants": 1, "ipv4": "192.0.2.011"}), &["ipv4"]),
        (json!({"name": "x", "max_rooms": 1, "max_participants": 1, "ipv6": "192.0.2.1"}), &["ipv6"]),
    ] {
        assert_eq!(house.post_as("admin", servers, &body).await.refused(400, "VALIDATE_FAILED"), fields, "{body}");
    }
    let built_in = house.items(servers).await.remove(0);
    let path = format!("{servers}/{}/destroy", built_in["id"].as_str().unwrap());
    house.post_as("admin", &path, &json!({})).await.refused(409, "RESOURCE_IN_USE");
}
