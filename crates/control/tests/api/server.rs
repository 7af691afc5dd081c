//! The whole control side, with its listeners, from start to drain.

use control::rooms::{Caller, DialogOrder, Entry, HangUp};
use control::{Server, tokens};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::house::{PATIENCE, config, engine};
use crate::socket::{Frame, Socket};

async fn get(address: std::net::SocketAddr, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(crate) const ANY_PORTS: [(&str, &str); 3] =
    [("API__LISTEN", "127.0.0.1:0"), ("SIP__LISTEN", "127.0.0.1:0"), ("API__METRICS_LISTEN", "127.0.0.1:0")];

#[tokio::test]
async fn server_serves_drains_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &[&ANY_PORTS[..], &[("DRAIN__GRACE_S", "0")]].concat());
    let (engine, events) = engine(&config);
    let server = Server::start(config.clone(), engine.clone(), events).await.unwrap();
    let token = server.first_admin_token().unwrap().to_owned();
    let address = server.api_address().unwrap();
    let rooms = server.rooms().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async move { drop(stopped.await) }));

    assert!(get(address, "/readyz", "").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/api/conference_rooms", &token).await.contains("\"count\":0"));
    assert!(get(address, "/metrics", "").await.starts_with("HTTP/1.1 404"), "it has a listener of its own");
    let settings = tokens::create(&config, "made while it runs", tokens::Role::Viewer, None).await.unwrap();
    assert!(get(address, "/api/conference_rooms", &settings).await.starts_with("HTTP/1.1 200"));

    let (dialog, mut orders) = mpsc::channel::<DialogOrder>(1);
    let caller = Caller {
        extension: "900".into(),
        display_name: "<sip:1@x>".into(),
        number: "1".into(),
        source: ([127, 0, 0, 1], 5060).into(),
        call_id: "1".into(),
        dialog,
        entry: Entry::ByMenu,
    };
    assert_eq!(rooms.admit(&caller).await.unwrap_err().label(), "unknown_room");
    stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(rooms.admit(&caller).await.unwrap_err().label(), "draining");
    assert!(TcpStream::connect(address).await.is_err());
    assert!(orders.try_recv().is_err());
    engine.stop();
    // The next start is not the first.
    let (engine, events) = crate::house::engine(&config);
    let again = Server::start(config, engine.clone(), events).await.unwrap();
    assert_eq!(again.first_admin_token(), None);
    engine.stop();
}

#[tokio::test]
async fn streams_end_with_the_server_and_do_not_hold_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &[&ANY_PORTS[..], &[("DRAIN__GRACE_S", "0")]].concat());
    let (engine, events) = engine(&config);
    let server = Server::start(config, engine.clone(), events).await.unwrap();
    let (token, address) = (server.first_admin_token().unwrap().to_owned(), server.api_address().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = vec![0; 4096];
    let mut begun = String::new();
    while !begun.contains("retry: 3000") {
        let count = stream.read(&mut read).await.unwrap();
        begun.push_str(std::str::from_utf8(&read[..count]).unwrap());
    }
    let bearer = format!("Authorization: Bearer {token}");
    let mut socket = Socket::open(address, "/api/events", &[bearer]).await.ok().unwrap();
    stop.send(()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    // Cut off, it would have no last chunk.
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    loop {
        match socket.next().await {
            Frame::Text(_) => {}
            Frame::Close(code, _) => break assert_eq!(code, 1001),
            other => panic!("{other:?}"),
        }
    }
    drop(socket);
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    engine.stop();
}

#[tokio::test]
async fn everyone_is_hung_up_on_when_the_grace_is_over() {
    let house = crate::house::House::open().await;
    house.room("900", &serde_json::json!({})).await;
    let mut phone = house.dial("900", "101").await.unwrap();
    house.rooms.drain();
    assert_eq!(house.dial("900", "102").await.err().unwrap().label(), "draining");
    let answer = house.get("/readyz").await.expect(503);
    assert!(answer.json()["reason"].as_str().unwrap().contains("shutting down"));
    assert!(house.rooms.leg_of(phone.id).await.is_some(), "who is here may stay for now");
    house.rooms.hang_up_all();
    assert_eq!(phone.orders.recv().await, Some(DialogOrder::HangUp(HangUp::Draining)));
    tokio::time::timeout(PATIENCE, house.rooms.empty()).await.unwrap();
}

#[tokio::test]
async fn address_in_use_is_named_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = config(dir.path(), &[("API__LISTEN", &address), ("SIP__LISTEN", "127.0.0.1:0")]);
    let (engine, events) = engine(&config);
    let error = Server::start(config, engine.clone(), events).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("api.listen {address}: ")), "{error}");
    engine.stop();
}
