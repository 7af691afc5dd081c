//! `/api/events`: streams as their clients see them.

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, header};
use control::events::{Data, Kind, NewEvent, ParticipantData};
use control::ids::Id;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::house::{House, PATIENCE};
use crate::socket::{Frame, Socket};

const EVENTS: &str = "/api/events";

/// One event in this room, kept when this returns; gives its cursor.
async fn happen(house: &House, room: Option<Id>, kind: Kind) -> i64 {
    let data = Data::Participant(ParticipantData {
        participant_id: Id::from_raw(5),
        display_name: "\"A\"<sip:1@h>".into(),
        number: "1".into(),
        muted: false,
        chairman: false,
        position: -1,
        pinned: false,
        talking: false,
        on_hold: false,
        state: "JOINED",
        hand_raised: false,
        joined_at: control::store::now(),
        reason: None,
    });
    let extension = room.map(|_| "900".to_owned());
    house.journal.note(NewEvent { at: control::store::now(), room, extension, kind, data });
    house.journal.flush().await.unwrap();
    *house.journal.tail().borrow()
}

async fn room(house: &House, extension: &str) -> Id {
    let path = house.room(extension, &json!({})).await;
    Id::parse(path.rsplit('/').next().unwrap()).unwrap()
}

async fn last(house: &House) -> i64 {
    house.store.event_cursors().await.unwrap().1
}

/// A stream of server-sent events (WHATWG HTML §9.2).
struct EventSource {
    body: BodyDataStream,
    text: String,
}

/// A block of lines.
#[derive(Debug, Default, PartialEq)]
struct Block {
    id: Option<String>,
    event: Option<String>,
    data: Option<Value>,
    retry: Option<String>,
    comment: Option<String>,
}

impl EventSource {
    async fn open(house: &House, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = house.request("viewer", "GET", &format!("{EVENTS}{query}"));
        request = request.header(header::ACCEPT, "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::begin(house, request.body(Body::empty()).unwrap()).await
    }

    async fn begin(house: &House, request: Request<Body>) -> Self {
        let response = house.begin(request).await;
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        for (name, value) in
            [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
        {
            assert_eq!(headers[name], value);
        }
        let mut source = Self { body: response.into_body().into_data_stream(), text: String::new() };
        let first = source.block().await.unwrap();
        assert_eq!(first.retry.as_deref(), Some("3000"));
        source
    }

    /// `None` at the end.
    async fn block(&mut self) -> Option<Block> {
        while !self.text.contains("\n\n") {
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("something comes")?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        let (lines, rest) = self.text.split_once("\n\n").unwrap();
        let mut block = Block::default();
        for line in lines.lines() {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "id" => block.id = Some(value),
                "event" => block.event = Some(value),
                "data" => block.data = Some(serde_json::from_str(&value).unwrap()),
                "retry" => block.retry = Some(value),
                "" => block.comment = Some(value),
                other => panic!("{other}"),
            }
        }
        self.text = rest.to_owned();
        Some(block)
    }

    async fn event(&mut self) -> Value {
        let block = self.block().await.expect("an event");
        let event = block.data.expect("data");
        assert_eq!(block.id, Some(event["cursor"].to_string()));
        assert_eq!(block.event.as_deref(), event["type"].as_str());
        event
    }

    async fn cursors(&mut self, count: usize) -> Vec<i64> {
        let mut cursors = Vec::new();
        while cursors.len() < count {
            cursors.push(self.event().await["cursor"].as_i64().unwrap());
        }
        cursors
    }
}

#[tokio::test]
async fn stream_replays_and_goes_on_and_a_browser_resumes() {
    let house = House::open().await;
    let room = room(&house, "900").await;
    let first = happen(&house, Some(room), Kind::RoomStarted).await;
    let mut now = EventSource::open(&house, "", &[]).await;
    let mut all = EventSource::open(&house, "?cursor=0", &[]).await;
    let second = happen(&house, Some(room), Kind::ParticipantJoined).await;
    let event = now.event().await;
    assert_eq!(event["cursor"], second);
    for (field, value) in
        [("type", json!("participant.joined")), ("room_id", json!(room)), ("extension_number", json!("900"))]
    {
        assert_eq!(event[field], value, "{field}");
    }
    assert!(event["at"].as_str().unwrap().ends_with('Z') && event["sequence"].is_i64());
    assert_eq!(event["data"]["participant_id"], json!(Id::from_raw(5)));
    assert!(event["data"]["reason"].is_null() && event["data"].as_object().unwrap().contains_key("reason"));
    let every: Vec<i64> = (1..=second).collect();
    assert_eq!(all.cursors(every.len()).await, every);
    for (query, headers) in
        [(format!("?cursor={first}"), vec![]), ("?cursor=0".to_owned(), vec![("last-event-id", first.to_string())])]
    {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut resumed = EventSource::open(&house, &query, &headers).await;
        assert_eq!(resumed.event().await, event, "{query}");
    }
    let are_two = async || house.metric("conclave_event_streams").await == 2.0;
    house.until("those that went are not counted", are_two).await;
}

#[tokio::test]
async fn room_and_types_choose() {
    let house = House::open().await;
    let (one, other) = (room(&house, "900").await, room(&house, "901").await);
    let start = last(&house).await;
    let mut of_room = EventSource::open(&house, &format!("?cursor=0&room={one}"), &[]).await;
    let query = format!("?cursor={start}&types=participant.,room.ended");
    let mut of_types = EventSource::open(&house, &query, &[]).await;
    let mut expected = Vec::new();
    for (room, kind) in [
        (Some(other), Kind::RoomStarted),
        (None, Kind::ServerOnline),
        (Some(one), Kind::ParticipantTalking),
        (Some(other), Kind::RoomEnded),
    ] {
        expected.push(happen(&house, room, kind).await);
    }
    assert_eq!(of_types.cursors(2).await, expected[2..]);
    // What making the room said, if anything, is before.
    let cursor = loop {
        let event = of_room.event().await;
        assert_eq!(event["room_id"], json!(one));
        if event["cursor"].as_i64().unwrap() > start {
            break event["cursor"].clone();
        }
    };
    assert_eq!(cursor, expected[2]);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_with_a_reason() {
    let house = House::open().await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = house.request("viewer", "GET", path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        house.send(request.body(Body::empty()).unwrap()).await
    };
    let sse = ("accept", "text/event-stream");
    for accept in ["*/*", "application/json", "text/event-stream;q=0"] {
        get(EVENTS, &[("accept", accept)]).await.refused(406, "VALIDATE_FAILED");
    }
    get(EVENTS, &[]).await.refused(406, "VALIDATE_FAILED");
    get(EVENTS, &[("upgrade", "websocket")]).await.refused(400, "VALIDATE_FAILED");
    let broken = get(&format!("{EVENTS}?cursor=x&types=nothing"), &[sse]).await;
    assert_eq!(broken.refused(400, "VALIDATE_FAILED"), ["cursor", "types"]);
    let broken = get(EVENTS, &[sse, ("last-event-id", "-5")]).await;
    assert_eq!(broken.refused(400, "VALIDATE_FAILED"), ["Last-Event-ID"]);
    for room in ["nonsense", "NzAwNTUxOTA5NzczMTQ4MTYw"] {
        get(&format!("{EVENTS}?room={room}"), &[sse]).await.refused(404, "NOT_FOUND");
    }
    let bare = Request::builder().uri(EVENTS).header("accept", "text/event-stream").body(Body::empty()).unwrap();
    house.send(bare).await.refused(401, "UNAUTHORIZED");
    house.act(EVENTS).await.refused(403, "FORBIDDEN");
    assert_eq!(house.metric("conclave_event_streams").await, 0.0);
}

#[tokio::test]
async fn destroyed_room_is_followed_as_long_as_something_of_it_is_kept() {
    let house = House::open().await;
    let gone = room(&house, "900").await;
    let cursor = happen(&house, Some(gone), Kind::RoomEnded).await;
    house.act(&format!("/api/conference_rooms/{gone}/destroy")).await.expect(204);
    let mut source = EventSource::open(&house, &format!("?room={gone}&cursor={}", cursor - 1), &[]).await;
    assert_eq!(source.event().await["cursor"], cursor);
}

#[tokio::test]
async fn streams_are_bounded() {
    let house = House::open_with(&[("EVENTS__MAX_STREAMS", "2")]).await;
    let (one, _other) = (EventSource::open(&house, "", &[]).await, EventSource::open(&house, "", &[]).await);
    let third = || house.request("viewer", "GET", EVENTS).header(header::ACCEPT, "text/event-stream");
    let refused = house.send(third().body(Body::empty()).unwrap()).await;
    assert_eq!(refused.header(header::RETRY_AFTER), "1");
    refused.refused(503, "BUSY");
    drop(one);
    house.until("its place is free", async || house.metric("conclave_event_streams").await == 1.0).await;
    EventSource::open(&house, "", &[]).await;
}

#[tokio::test]
async fn client_that_takes_nothing_is_cut_off_and_delays_nobody() {
    let house = House::open_with(&[("EVENTS__STREAM_PATIENCE_S", "1")]).await;
    let mut quick = EventSource::open(&house, "", &[]).await;
    let mut slow = EventSource::open(&house, "", &[]).await;
    let first = happen(&house, None, Kind::ServerOnline).await;
    for cursor in first..first + 100 {
        assert_eq!(quick.event().await["cursor"], cursor);
        happen(&house, None, Kind::ServerOnline).await;
    }
    let is_cut = async || house.metric("conclave_event_streams_ended_total{reason=\"slow\"}").await == 1.0;
    house.until("the slow one is cut off", is_cut).await;
    assert_eq!(house.metric("conclave_event_streams").await, 1.0);
    assert_eq!(quick.event().await["cursor"], first + 100);
    // What was on its way is there, then the stream is over.
    let mut taken = 0;
    while slow.block().await.is_some() {
        taken += 1;
    }
    assert!((1..100).contains(&taken), "{taken}");
}

#[tokio::test]
async fn ticket_opens_one_stream() {
    let house = House::open().await;
    let answer = house.post_as("viewer", "/api/events/ticket", &json!({})).await.expect(200);
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    let answer = answer.json();
    assert_eq!(answer["expires_in"], 60);
    let path = |path: &str| format!("{path}?ticket={}", answer["ticket"].as_str().unwrap());
    let bare = |path: String| {
        Request::builder().uri(path).header(header::ACCEPT, "text/event-stream").body(Body::empty()).unwrap()
    };
    house.send(bare(path("/api/conference_rooms"))).await.refused(401, "UNAUTHORIZED");
    let mut source = EventSource::begin(&house, bare(path(EVENTS))).await;
    let cursor = happen(&house, None, Kind::ServerOnline).await;
    assert_eq!(source.event().await["cursor"], cursor);
    house.send(bare(path(EVENTS))).await.refused(401, "UNAUTHORIZED");
    house.send(bare(format!("{EVENTS}?ticket=nonsense"))).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn stream_ends_with_its_token() {
    let mut house = House::open().await;
    let mut source = EventSource::open(&house, "", &[]).await;
    let address = house.listen().await;
    let bearer = format!("Authorization: Bearer {}", house.token("viewer"));
    let mut socket = Socket::open(address, EVENTS, &[bearer]).await.ok().unwrap();
    let viewer = house.store.tokens().await.unwrap().into_iter().find(|token| token.name == "viewer").unwrap();
    let mut change = house.store.change().await.unwrap();
    change.revoke_token(viewer.id).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(source.block().await, None);
    assert_eq!(socket.next().await, Frame::Close(1008, "the token does not hold any more".into()));
    let ended = "conclave_event_streams_ended_total{reason=\"unauthorized\"}";
    house.until("both are counted", async || house.metric(ended).await == 2.0).await;
}

#[tokio::test]
async fn silent_stream_says_that_it_is_there() {
    let house = House::open_with(&[("EVENTS__HEARTBEAT_S", "1")]).await;
    let mut source = EventSource::open(&house, "", &[]).await;
    let block = source.block().await.unwrap();
    assert_eq!(block, Block { comment: Some("still here".into()), ..Block::default() });
}

#[tokio::test]
async fn socket_carries_one_text_for_each_event() {
    let mut house = House::open().await;
    let room = room(&house, "900").await;
    let (address, start) = (house.listen().await, last(&house).await);
    let first = happen(&house, Some(room), Kind::RoomStarted).await;
    let ticket = house.post_as("viewer", "/api/events/ticket", &json!({})).await.expect(200).json();
    let path = format!("{EVENTS}?cursor={start}&room={room}&ticket={}", ticket["ticket"].as_str().unwrap());
    let mut socket = Socket::open(address, &path, &[]).await.ok().unwrap();
    assert_eq!(socket.json().await["cursor"], first);
    happen(&house, None, Kind::ServerOnline).await;
    let second = happen(&house, Some(room), Kind::RoomEnded).await;
    let event = socket.json().await;
    assert_eq!((&event["cursor"], &event["type"]), (&json!(second), &json!("room.ended")));
    assert_eq!(Socket::open(address, &path, &[]).await.err(), Some(401), "the ticket is used up");
    // What a client says is nothing.
    socket.send(0x1, b"hello").await;
    let third = happen(&house, Some(room), Kind::RoomEnded).await;
    assert_eq!(socket.json().await["cursor"], third);
    socket.send(0x8, &1000_u16.to_be_bytes()).await;
    assert!(matches!(socket.next().await, Frame::Close(1000, _)));
    let gone = "conclave_event_streams_ended_total{reason=\"gone\"}";
    house.until("it is counted", async || house.metric(gone).await == 1.0).await;
}

#[tokio::test]
async fn socket_that_talks_too_much_is_closed() {
    let mut house = House::open().await;
    let address = house.listen().await;
    let bearer = [format!("Authorization: Bearer {}", house.token("viewer"))];
    let mut socket = Socket::open(address, EVENTS, &bearer).await.ok().unwrap();
    for _ in 0..=100 {
        socket.send(0x1, b"x").await;
    }
    assert_eq!(socket.next().await, Frame::Close(1008, "too many messages".into()));
    let mut socket = Socket::open(address, EVENTS, &bearer).await.ok().unwrap();
    socket.send(0x1, &[b'x'; 5000]).await;
    assert!(matches!(socket.next().await, Frame::Close(..) | Frame::End));
}

#[tokio::test]
async fn socket_that_answers_no_ping_is_closed() {
    let mut house = House::open_with(&[("EVENTS__HEARTBEAT_S", "1")]).await;
    let address = house.listen().await;
    let bearer = [format!("Authorization: Bearer {}", house.token("viewer"))];
    let mut living = Socket::open(address, EVENTS, &bearer).await.ok().unwrap();
    let mut dead = Socket::open(address, EVENTS, &bearer).await.ok().unwrap();
    let mut pings = 0;
    loop {
        match dead.next().await {
            Frame::Ping => pings += 1,
            Frame::Close(1000, _) => break,
            other => panic!("{other:?}"),
        }
        assert_eq!(living.next().await, Frame::Ping);
        living.send(0xA, b"").await;
    }
    assert!((2..=3).contains(&pings), "{pings}");
    let cursor = happen(&house, None, Kind::ServerOnline).await;
    assert_eq!(living.json().await["cursor"], cursor);
}

#[tokio::test]
async fn shutdown_tells_the_last_event_and_says_goodbye() {
    let mut house = House::open().await;
    let address = house.listen().await;
    let bearer = [format!("Authorization: Bearer {}", house.token("viewer"))];
    let mut source = EventSource::open(&house, "", &[]).await;
    let mut socket = Socket::open(address, EVENTS, &bearer).await.ok().unwrap();
    let cursor = happen(&house, None, Kind::ServerOffline).await;
    let (ended, said) = tokio::join!(house.delivery.end_streams(), async {
        assert_eq!(socket.json().await["cursor"], cursor);
        socket.next().await
    });
    let () = ended;
    assert_eq!(said, Frame::Close(1001, "the server is stopping".into()));
    assert_eq!(source.event().await["cursor"], cursor);
    assert_eq!(source.block().await, None);
    let late = house.request("viewer", "GET", EVENTS).header(header::ACCEPT, "text/event-stream");
    house.send(late.body(Body::empty()).unwrap()).await.refused(503, "BUSY");
    assert_eq!(house.metric("conclave_event_streams").await, 0.0);
}
