//! Recordings from start to download and removal, and what is left of them after a crash.

use axum::body::Body;
use axum::http::{Request, header};
use control::ids::Id;
use control::rooms::Left;
use control::store::{NewRecording, RecordingEnd, RecordingState};
use serde_json::{Value, json};

use crate::house::House;

async fn recordings(house: &House, room: &str) -> Vec<Value> {
    house.items(&format!("{room}/recordings")).await
}

/// Records a room with somebody in it for a moment; gives the room's path and the finished item.
async fn recorded(house: &House) -> (String, Value) {
    let room = house.room("900", &json!({})).await;
    let phone = house.dial("900", "101").await.unwrap();
    house.act(&format!("{room}/start_recording")).await.expect(200);
    // Half a second of sound is 25 ticks.
    let ticks = "conclave_engine_ticks_total{worker=\"0\"}";
    let enough = house.metric(ticks).await + 25.0;
    house.until("the room ticks", async || house.metric(ticks).await >= enough).await;
    house.act(&format!("{room}/stop_recording")).await.expect(200);
    house.rooms.recordings_ended().await;
    house.rooms.leave(phone.id, Left::HungUp);
    let item = recordings(house, &room).await.remove(0);
    (room, item)
}

#[tokio::test]
async fn start_and_stop_are_one_recording_however_often_they_are_said() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    house.act(&format!("{room}/start_recording")).await.refused(409, "INVALID_STATE");
    house.act(&format!("{room}/stop_recording")).await.expect(200);
    let _phone = house.dial("900", "101").await.unwrap();
    for _ in 0..2 {
        house.act(&format!("{room}/start_recording")).await.expect(200);
    }
    assert_eq!(house.get(&format!("{room}/status")).await.json()["recording"], true);
    let running = recordings(&house, &room).await;
    assert_eq!((running.len(), &running[0]["state"], &running[0]["file_url"]), (1, &json!("RECORDING"), &Value::Null));
    let path = format!("{room}/recordings/{}/destroy", running[0]["id"].as_str().unwrap());
    house.act(&path).await.refused(409, "INVALID_STATE");
    for _ in 0..2 {
        house.act(&format!("{room}/stop_recording")).await.expect(200);
    }
    house.rooms.recordings_ended().await;
    assert_eq!(house.get(&format!("{room}/status")).await.json()["recording"], false);
    assert_eq!(recordings(&house, &room).await[0]["state"], "FINISHED");
    house.act(&format!("{room}/start_recording")).await.expect(200);
    assert_eq!(recordings(&house, &room).await.len(), 2);
}

#[tokio::test]
async fn file_is_downloaded_whole_in_ranges_and_by_signed_url_only() {
    let house = House::open().await;
    let (_, item) = recorded(&house).await;
    let url = item["file_url"].as_str().unwrap().to_owned();
    let open = async |url: &str, with: &[(header::HeaderName, &str)]| {
        let request = with.iter().fold(Request::builder().uri(url), |r, (name, value)| r.header(name, *value));
        house.send(request.body(Body::empty()).unwrap()).await
    };
    let whole = open(&url, &[]).await.expect(200);
    assert!(whole.body.starts_with(b"OggS"));
    assert_eq!(json!(whole.body.len()), item["file_size"]);
    assert_eq!(whole.header(header::CONTENT_TYPE), "audio/ogg; codecs=opus");
    let name = item["file_name"].as_str().unwrap();
    assert!(name.starts_with("900-") && name.ends_with(".ogg"), "{name}");
    assert_eq!(whole.header(header::CONTENT_DISPOSITION), format!("attachment; filename=\"{name}\""));
    let etag = whole.header(header::ETAG).to_owned();

    let size = whole.body.len();
    let range = open(&url, &[(header::RANGE, "bytes=4-9")]).await.expect(206);
    assert_eq!(range.body, whole.body.slice(4..10));
    assert_eq!(range.header(header::CONTENT_RANGE), format!("bytes 4-9/{size}"));
    let tail = open(&url, &[(header::RANGE, "bytes=-5")]).await.expect(206);
    assert_eq!(tail.body, whole.body.slice(size - 5..));
    let beyond = open(&url, &[(header::RANGE, &format!("bytes={size}-"))]).await;
    assert_eq!(beyond.header(header::CONTENT_RANGE), format!("bytes */{size}"));
    beyond.refused(416, "VALIDATE_FAILED");
    assert_eq!(open(&url, &[(header::RANGE, "bytes=0-1,3-4")]).await.expect(200).body, whole.body);
    assert_eq!(
        open(&url, &[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, "\"old\"")]).await.expect(200).body.len(),
        size
    );
    assert_eq!(open(&url, &[(header::RANGE, "bytes=0-1"), (header::IF_RANGE, &etag)]).await.expect(206).body.len(), 2);
    assert!(open(&url, &[(header::IF_NONE_MATCH, &etag)]).await.expect(304).body.is_empty());

    let (bare, query) = url.split_once('?').unwrap();
    open(bare, &[]).await.refused(401, "UNAUTHORIZED");
    open(&url.replace("expires=1", "expires=2"), &[]).await.refused(403, "FORBIDDEN");
    let bearer = format!("Bearer {}", house.token("viewer"));
    open(bare, &[(header::AUTHORIZATION, &bearer)]).await.expect(200);
    let other = format!("/api/blobs/{}?{query}", "0".repeat(64));
    open(&other, &[]).await.refused(403, "FORBIDDEN");
    open("/api/blobs/nonsense", &[]).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn public_urls_are_the_digest_alone() {
    let house = House::open_with(&[("RECORDINGS__PRIVATE_URLS", "false")]).await;
    let (_, item) = recorded(&house).await;
    let url = item["file_url"].as_str().unwrap();
    assert!(!url.contains('?'));
    house.send(Request::builder().uri(url).body(Body::empty()).unwrap()).await.expect(200);
    let unknown = format!("/api/blobs/{}", "0".repeat(64));
    house.send(Request::builder().uri(unknown).body(Body::empty()).unwrap()).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn recording_outlives_its_room_until_it_is_destroyed() {
    let house = House::open().await;
    let (room, item) = recorded(&house).await;
    house.act(&format!("{room}/destroy")).await.expect(204);
    assert_eq!(recordings(&house, &room).await[0]["id"], item["id"]);
    assert!(house.items(&format!("{room}/recordings?search=nothing")).await.is_empty(), "an empty search is no 404");
    let url = item["file_url"].as_str().unwrap();
    house.send(Request::builder().uri(url).body(Body::empty()).unwrap()).await.expect(200);
    let path = format!("{room}/recordings/{}/destroy", item["id"].as_str().unwrap());
    house.act(&path).await.expect(204);
    house.act(&path).await.refused(404, "NOT_FOUND");
    house.get(&format!("{room}/recordings")).await.refused(404, "NOT_FOUND");
    house.send(Request::builder().uri(url).body(Body::empty()).unwrap()).await.refused(404, "NOT_FOUND");
    assert_eq!(files(&house), 0);
}

/// A second recording of the room, of which the file is the same; gives its id.
async fn copied(house: &House, room: &str, item: &Value) -> String {
    let room = Id::parse(room.rsplit('/').next().unwrap()).unwrap();
    let first = house.store.recording(room, Id::parse(item["id"].as_str().unwrap()).unwrap()).await.unwrap();
    let id = house.store.ids().next();
    let (file_name, path) = ("copy.ogg".to_owned(), format!("copies/{}.ogg", id.raw()));
    let new = NewRecording {
        id,
        room,
        server: Id::from_raw(1),
        answered_at: first.answered_at,
        file_name,
        path,
        part_of: None,
    };
    let to = house.rooms.place(&new.path);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(house.rooms.place(&first.path), to).unwrap();
    let file = Some((first.duration.unwrap(), first.file_size.unwrap(), first.sha256.unwrap()));
    let (state, ended_at) = (RecordingState::Finished, first.ended_at.unwrap());
    let mut change = house.store.change().await.unwrap();
    change.insert_recording(&new).await.unwrap();
    change.end_recording(id, &RecordingEnd { state, ended_at, reason: None, file }).await.unwrap();
    change.commit().await.unwrap();
    id.to_string()
}

#[tokio::test]
async fn file_of_two_recordings_is_there_until_the_last_of_them_goes() {
    let house = House::open().await;
    let (room, item) = recorded(&house).await;
    let url = item["file_url"].as_str().unwrap();
    let open = async || house.send(Request::builder().uri(url).body(Body::empty()).unwrap()).await;
    let whole = open().await.expect(200).body;
    let second = copied(&house, &room, &item).await;
    let path = |url: &Value| url.as_str().unwrap().split('?').next().unwrap().to_owned();
    assert!(recordings(&house, &room).await.iter().all(|r| path(&r["file_url"]) == path(&item["file_url"])));
    house.act(&format!("{room}/recordings/{}/destroy", item["id"].as_str().unwrap())).await.expect(204);
    let other = open().await.expect(200);
    assert_eq!((&other.body, other.header(header::CONTENT_DISPOSITION)), (&whole, "attachment; filename=\"copy.ogg\""));
    house.act(&format!("{room}/recordings/{second}/destroy")).await.expect(204);
    open().await.refused(404, "NOT_FOUND");
    assert_eq!(files(&house), 0);
}

#[tokio::test]
async fn recording_whose_own_file_is_missing_is_served_from_its_copy() {
    let house = House::open().await;
    let (room, item) = recorded(&house).await;
    let url = item["file_url"].as_str().unwrap();
    let open = async || house.send(Request::builder().uri(url).body(Body::empty()).unwrap()).await;
    copied(&house, &room, &item).await;
    let id = item["id"].as_str().and_then(Id::parse).unwrap();
    let first = house.store.any_recording(id).await.unwrap();
    std::fs::remove_file(house.rooms.place(&first.path)).unwrap();
    assert_eq!(json!(open().await.expect(200).body.len()), item["file_size"]);
    std::fs::remove_dir_all(house.rooms.place("copies")).unwrap();
    open().await.refused(404, "NOT_FOUND");
}

/// Recording files and their directories on the disk.
fn files(house: &House) -> usize {
    fn count(dir: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        entries.map(|path| if path.is_dir() { 1 + count(&path) } else { 1 }).sum()
    }
    count(&house.dir.path().join("recordings"))
}

#[tokio::test]
async fn room_and_recordings_go_together_where_they_are_set_to() {
    let house = House::open_with(&[("RECORDINGS__DELETE_WITH_ROOM", "true")]).await;
    let (room, _) = recorded(&house).await;
    let _phone = house.dial("900", "102").await.unwrap();
    house.act(&format!("{room}/start_recording")).await.expect(200);
    house.act(&format!("{room}/destroy")).await.expect(204);
    house.until("the files go", async || files(&house) == 0).await;
    house.until("the rows go", async || house.get(&format!("{room}/recordings")).await.status == 404).await;
}

#[tokio::test]
async fn last_one_to_leave_ends_the_recording() {
    let house = House::open().await;
    let room = house.room("900", &json!({"enable_recording": true})).await;
    let phone = house.dial("900", "101").await.unwrap();
    house
        .until("the recording begins", async || {
            house.get(&format!("{room}/status")).await.json()["recording"] == json!(true)
        })
        .await;
    // Answered when the start that is under way is through: the engine records.
    house.act(&format!("{room}/start_recording")).await.expect(200);
    house.rooms.leave(phone.id, Left::HungUp);
    house.rooms.recordings_ended().await;
    let ended = recordings(&house, &room).await;
    assert_eq!((ended.len(), &ended[0]["state"]), (1, &json!("FINISHED")));
}

#[tokio::test]
async fn file_that_cannot_be_made_is_a_failed_recording_with_its_reason() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    let _phone = house.dial("900", "101").await.unwrap();
    std::fs::write(house.dir.path().join("recordings"), "in the way").unwrap();
    house.act(&format!("{room}/start_recording")).await.refused(503, "BUSY");
    let item = recordings(&house, &room).await.remove(0);
    assert_eq!((&item["state"], &item["file_url"]), (&json!("FAILED"), &Value::Null));
    let reason = item["reason"].as_str().unwrap();
    assert!(!reason.is_empty() && !reason.contains(house.dir.path().to_str().unwrap()), "{reason}");
    let status = house.get(&format!("{room}/status")).await.json();
    assert_eq!((&status["recording"], &status["status"]), (&json!(false), &json!("ON_CALL")), "the room goes on");
    std::fs::remove_file(house.dir.path().join("recordings")).unwrap();
    house.act(&format!("{room}/start_recording")).await.expect(200);
}

#[tokio::test]
async fn recordings_of_a_crashed_run_are_repaired_at_the_start() {
    let house = House::open().await;
    let (room, item) = recorded(&house).await;
    let room_id = Id::parse(room.rsplit('/').next().unwrap()).unwrap();
    let id = Id::parse(item["id"].as_str().unwrap()).unwrap();
    let finished = house.store.recording(room_id, id).await.unwrap();
    let bytes = std::fs::read(house.rooms.place(&finished.path)).unwrap();
    let mut ids = Vec::new();
    for (name, content) in
        [("torn.ogg", Some([&bytes[..], b"OggS\0torn"].concat())), ("gone.ogg", None), ("bad.ogg", Some(b"x".to_vec()))]
    {
        if let Some(content) = content {
            std::fs::write(house.rooms.place(name), content).unwrap();
        }
        let new = NewRecording {
            id: house.store.ids().next(),
            room: room_id,
            server: house.rooms.server(),
            answered_at: finished.answered_at,
            file_name: name.to_owned(),
            path: name.to_owned(),
            part_of: None,
        };
        let mut change = house.store.change().await.unwrap();
        change.insert_recording(&new).await.unwrap();
        change.commit().await.unwrap();
        ids.push(new.id);
    }
    let house = House::open_in(house.crash().await, &[]).await;
    let items = recordings(&house, &room).await;
    let find = |id: &Id| items.iter().find(|item| item["id"] == json!(id)).unwrap();
    let torn = find(&ids[0]);
    assert_eq!((&torn["state"], &torn["duration"]), (&json!("RECOVERED"), &item["duration"]), "{torn}");
    assert_eq!(torn["file_size"], json!(bytes.len()), "the torn end is cut off");
    let url = torn["file_url"].as_str().unwrap();
    house.send(Request::builder().uri(url).body(Body::empty()).unwrap()).await.expect(200);
    assert_eq!((&find(&ids[1])["state"], &find(&ids[1])["reason"]), (&json!("FAILED"), &json!("the file is missing")));
    assert_eq!(find(&ids[2])["state"], "FAILED");
    assert_eq!(find(&ids[2])["file_url"], Value::Null);
}

#[tokio::test]
async fn recording_is_marked_as_read_and_not_read() {
    let house = House::open().await;
    let (room, item) = recorded(&house).await;
    let other = house.room("901", &json!({})).await;
    let id = item["id"].as_str().unwrap();
    assert_eq!(item["read"], false);
    for (action, read) in [("set_read", true), ("set_read", true), ("set_unread", false), ("set_unread", false)] {
        house.act(&format!("{room}/recordings/{id}/{action}")).await.expect(200);
        assert_eq!(recordings(&house, &room).await[0]["read"], read);
        house.act(&format!("{other}/recordings/{id}/{action}")).await.refused(404, "NOT_FOUND");
        house.act(&format!("{room}/recordings/MQ==/{action}")).await.refused(404, "NOT_FOUND");
    }
}
