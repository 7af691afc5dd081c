//! Webhooks against a real receiver on loopback, with the courier's time turned by hand.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::sender::signature;
use super::*;
use crate::events::{Data, Kind};
use crate::store::testing;
use crate::store::testing::{Place as Home, change};
use crate::store::{DeliveryState, WaitingDelivery};

/// Longest that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The courier's time before it is turned, against the store's.
const AHEAD: Duration = Duration::from_secs(120);
const SECRET: &str = "a secret that signs";

/// A request on its way to the test, which answers it.
struct Call {
    headers: HeaderMap,
    body: String,
    answer: oneshot::Sender<StatusCode>,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn cursor(&self) -> i64 {
        self.header("conclave-delivery").parse().unwrap()
    }

    fn answer(self, status: u16) {
        self.answer.send(StatusCode::from_u16(status).unwrap()).unwrap();
    }
}

struct Receiver {
    url: String,
    calls: mpsc::UnboundedReceiver<Call>,
    server: JoinHandle<()>,
}

impl Receiver {
    async fn open() -> Self {
        async fn take(State(calls): State<mpsc::UnboundedSender<Call>>, headers: HeaderMap, body: Bytes) -> StatusCode {
            let (answer, answered) = oneshot::channel();
            let body = String::from_utf8(body.to_vec()).unwrap();
            calls.send(Call { headers, body, answer }).unwrap();
            // Unanswered, the test is over.
            answered.await.unwrap_or(StatusCode::GONE)
        }
        let (sender, calls) = mpsc::unbounded_channel();
        let router = axum::Router::new().route("/hook", axum::routing::post(take)).with_state(sender);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, calls, server }
    }

    async fn next(&mut self) -> Call {
        tokio::time::timeout(PATIENCE, self.calls.recv()).await.expect("a call comes").unwrap()
    }

    /// Takes so many calls, which come at once; in the order of their events.
    async fn some(&mut self, count: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        while calls.len() < count {
            calls.push(self.next().await);
        }
        calls.sort_by_key(Call::cursor);
        calls
    }

    fn is_silent(&mut self) -> bool {
        self.calls.try_recv().is_err()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct House {
    home: Home,
    store: Store,
    journal: Journal,
    webhooks: Webhooks,
    hand: watch::Sender<Timestamp>,
    stop: CancellationToken,
    publisher: JoinHandle<()>,
    courier: JoinHandle<()>,
}

fn config(allow_private: bool, max_pending: usize) -> WebhooksConfig {
    WebhooksConfig { urls: Vec::new(), secret: String::new(), types: Types::default(), allow_private, max_pending }
}

impl House {
    async fn open(config: WebhooksConfig) -> Self {
        let (home, store) = testing::store().await;
        // The store's clock is the system's: what it writes during the test is due at once.
        let ahead = store::now().saturating_add(AHEAD).unwrap();
        Self::open_in(home, store, config, ahead).await
    }

    async fn open_in(home: Home, store: Store, config: WebhooksConfig, now: Timestamp) -> Self {
        let journal = Journal::open(store.clone()).await.unwrap();
        let metrics = EventMetrics::default();
        let streams = Streams::open(store.clone(), &journal, 1, metrics.clone()).await.unwrap();
        let names = CheckedNames { allow_private: config.allow_private, source: NameSource::System };
        let webhooks = Webhooks::open(config, store.clone(), journal.clone()).await.unwrap();
        let (publishing, tail) = (streams.clone(), journal.clone());
        let publisher = tokio::spawn(async move { publishing.publish(&tail).await });
        let (hand, clock) = watch::channel(now);
        let (stop, clock) = (CancellationToken::new(), Clock { hand: Some(clock) });
        let courier = webhooks.courier(streams, metrics, Sender::new(names), clock);
        let courier = tokio::spawn(courier.run(stop.clone()));
        Self { home, store, journal, webhooks, hand, stop, publisher, courier }
    }

    /// Ends it as a power cut would.
    async fn crash(self) -> (Home, Store, Timestamp) {
        self.publisher.abort();
        self.courier.abort();
        let _ = self.courier.await;
        (self.home, self.store, *self.hand.borrow())
    }

    async fn webhook(&self, url: &str) -> Id {
        let new = NewWebhook {
            url: self.webhooks.checked_url(url).unwrap(),
            secret: Some(SECRET.to_owned()),
            types: Types::default(),
            enabled: true,
        };
        self.webhooks.create(new).await.unwrap().id
    }

    /// One event of each of these rooms; gives the cursor of the last.
    async fn happen(&self, rooms: &[i64]) -> i64 {
        for room in rooms {
            let (room, extension) = (Some(Id::from_raw(*room)), Some(room.to_string()));
            let (kind, data) = (Kind::RoomStarted, Data::Lost { lost: 0 });
            self.journal.note(NewEvent { at: store::now(), room, extension, kind, data });
        }
        self.journal.flush().await.unwrap();
        *self.journal.tail().borrow()
    }

    async fn rows(&self, webhook: Id, state: DeliveryState) -> Vec<store::DeliveryRecord> {
        let mut rows = self.store.deliveries(webhook, Some(state), 0, 100_000).await.unwrap().items;
        rows.reverse();
        rows
    }

    /// Waits until so many rows are in this state.
    async fn until(&self, webhook: Id, state: DeliveryState, count: usize) -> Vec<store::DeliveryRecord> {
        let wait = async {
            loop {
                let rows = self.rows(webhook, state).await;
                if rows.len() == count {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the rows come")
    }

    /// Waits until a delivery has failed so often.
    async fn until_failed(&self, webhook: Id, attempts: i64) -> store::DeliveryRecord {
        let wait = async {
            loop {
                let rows = self.store.deliveries(webhook, None, 0, 10_000).await.unwrap().items;
                if let Some(row) = rows.into_iter().find(|row| row.attempts == attempts) {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the attempt fails")
    }
}

#[tokio::test]
async fn delivery_is_the_event_signed() {
    let (house, mut receiver) = (House::open(config(true, 100)).await, Receiver::open().await);
    let webhook = house.webhook(&receiver.url).await;
    let cursor = house.happen(&[7]).await;
    let call = receiver.next().await;
    assert_eq!((call.cursor(), call.header("conclave-event")), (cursor, "room.started"));
    assert_eq!(call.headers[header::CONTENT_TYPE], "application/json");
    assert!(call.header("user-agent").starts_with("Conclave/"));
    let event: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!((&event["cursor"], &event["type"]), (&cursor.into(), &"room.started".into()));
    assert_eq!(event["room_id"], Id::from_raw(7).to_string());
    let timestamp: i64 = call.header("conclave-timestamp").parse().unwrap();
    assert_eq!(timestamp, house.hand.borrow().as_second());
    assert_eq!(call.header("conclave-signature"), signature(SECRET, timestamp, &call.body));
    assert_eq!(house.rows(webhook, DeliveryState::Pending).await.len(), 1, "kept until it is accepted");
    call.answer(204);
    house.until(webhook, DeliveryState::Pending, 0).await;
    assert!(house.rows(webhook, DeliveryState::Dead).await.is_empty());
}

#[tokio::test]
async fn room_waits_for_its_first_event_and_other_rooms_go_on() {
    let (house, mut receiver) = (House::open(config(true, 100)).await, Receiver::open().await);
    let webhook = house.webhook(&receiver.url).await;
    house.happen(&[7, 7, 8, 7]).await;
    let mut calls = receiver.some(2).await;
    assert_eq!((calls[0].cursor(), calls[1].cursor()), (1, 3));
    calls.pop().unwrap().answer(200);
    calls.pop().unwrap().answer(500);
    let failed = house.until_failed(webhook, 1).await;
    assert_eq!((failed.cursor, failed.last_status), (1, Some(500)));
    assert_eq!(failed.last_error.as_deref(), Some("it answered 500 Internal Server Error"));
    let pause = failed.next_at.duration_since(*house.hand.borrow());
    assert!((1000..=1250).contains(&pause.as_millis()), "{pause}");
    // Room 7 stands still; room 8 does not.
    house.happen(&[7, 8]).await;
    let call = receiver.next().await;
    assert_eq!(call.cursor(), 6);
    call.answer(200);
    for attempts in 2..5 {
        let next_at = house.until_failed(webhook, attempts - 1).await.next_at;
        assert!(receiver.is_silent());
        house.hand.send_replace(next_at);
        let call = receiver.next().await;
        assert_eq!(call.cursor(), 1);
        call.answer(503);
    }
    house.hand.send_replace(house.until_failed(webhook, 4).await.next_at);
    for cursor in [1, 2, 4, 5] {
        let call = receiver.next().await;
        assert_eq!(call.cursor(), cursor);
        call.answer(200);
    }
    house.until(webhook, DeliveryState::Pending, 0).await;
}

#[tokio::test]
async fn what_fails_for_a_day_is_given_up_listed_and_sent_again_when_asked() {
    let (house, mut receiver) = (House::open(config(true, 100)).await, Receiver::open().await);
    let webhook = house.webhook(&receiver.url).await;
    house.happen(&[7, 7]).await;
    let day = Duration::from_secs(24 * 3600);
    let give_up_at = house.rows(webhook, DeliveryState::Pending).await[0].queued_at.saturating_add(day).unwrap();
    let mut attempts = 0;
    let mut last_pause = Duration::ZERO;
    loop {
        let call = receiver.next().await;
        if call.cursor() == 2 {
            call.answer(200);
            break;
        }
        // A redirection is no answer, and is not followed.
        call.answer([500, 404, 302, 410][attempts % 4]);
        attempts += 1;
        let row = house.until_failed(webhook, attempts as i64).await;
        if row.state == DeliveryState::Pending {
            let pause = Duration::try_from(row.next_at.duration_since(*house.hand.borrow())).unwrap();
            let is_last = row.next_at == give_up_at;
            assert!(pause >= last_pause.mul_f64(0.79) || is_last, "{pause:?} after {last_pause:?}");
            assert!(pause <= Duration::from_secs(3600), "{pause:?}");
            last_pause = pause;
            house.hand.send_replace(row.next_at);
        }
    }
    assert_eq!(*house.hand.borrow(), give_up_at);
    let dead = house.until(webhook, DeliveryState::Dead, 1).await.remove(0);
    assert_eq!((dead.cursor, dead.kind.as_str(), dead.attempts), (1, "room.started", attempts as i64));
    assert_eq!(dead.extension.as_deref(), Some("7"));
    house.until(webhook, DeliveryState::Pending, 0).await;

    house.webhooks.retry(webhook, 1).await.unwrap();
    let call = receiver.next().await;
    assert_eq!(call.cursor(), 1);
    call.answer(200);
    house.until(webhook, DeliveryState::Pending, 0).await;
    assert!(house.rows(webhook, DeliveryState::Dead).await.is_empty());
    assert!(matches!(house.webhooks.retry(webhook, 1).await, Err(Error::NotFound("delivery"))));
}

#[tokio::test]
async fn crash_loses_no_delivery_and_no_order() {
    let (house, mut receiver) = (House::open(config(true, 100)).await, Receiver::open().await);
    let webhook = house.webhook(&receiver.url).await;
    house.happen(&[7, 7, 8]).await;
    let mut calls = receiver.some(2).await;
    calls.remove(0).answer(500);
    let next_at = house.until_failed(webhook, 1).await.next_at;
    // The second one was on its way, and nobody knows whether it came.
    let (home, store, now) = house.crash().await;
    drop(calls);
    let house = House::open_in(home, store, config(true, 100), now).await;
    let call = receiver.next().await;
    assert_eq!(call.cursor(), 3, "what failed waits for its time");
    call.answer(200);
    house.until(webhook, DeliveryState::Pending, 2).await;
    house.hand.send_replace(next_at);
    for cursor in [1, 2] {
        let call = receiver.next().await;
        assert_eq!(call.cursor(), cursor);
        call.answer(200);
    }
    house.until(webhook, DeliveryState::Pending, 0).await;
    house.stop.cancel();
    tokio::time::timeout(PATIENCE, house.courier).await.unwrap().unwrap();
}

#[tokio::test]
async fn restored_webhooks_are_sent_what_waited_for_them() {
    let (house, mut receiver) = (House::open(config(true, 100)).await, Receiver::open().await);
    let webhook = house.webhook(&receiver.url).await;
    house.happen(&[7]).await;
    receiver.next().await.answer(500);
    house.until_failed(webhook, 1).await;
    let file = house.home.dir.path().join("backup.db");
    house.store.backup(&file).await.unwrap();
    house.webhooks.destroy(webhook).await.unwrap();
    house.happen(&[7]).await;
    // As another process would.
    house.store.restore(&file, house.home.dir.path()).await.unwrap();
    let later = house.hand.borrow().saturating_add(Duration::from_secs(60)).unwrap();
    house.hand.send_replace(later);
    let mut calls = receiver.some(2).await;
    assert_eq!(calls[0].cursor(), 1);
    assert_eq!(calls[1].header("conclave-event"), "store.restored");
    calls.drain(..).for_each(|call| call.answer(200));
    house.until(webhook, DeliveryState::Pending, 0).await;
}

#[tokio::test]
async fn dead_webhook_holds_up_no_other() {
    let (house, mut receiver) = (House::open(config(true, 1000)).await, Receiver::open().await);
    let mut dead = Receiver::open().await;
    let (well, hung) = (house.webhook(&receiver.url).await, house.webhook(&dead.url).await);
    house.happen(&(0..50).collect::<Vec<_>>()).await;
    // It takes every connection that it is given, and answers none.
    let held = dead.some(8).await;
    for _ in 0..50 {
        receiver.next().await.answer(200);
    }
    house.until(well, DeliveryState::Pending, 0).await;
    assert!(dead.is_silent(), "eight at once and no more");
    assert_eq!(house.rows(hung, DeliveryState::Pending).await.len(), 50);
    drop(held);
}

#[tokio::test]
async fn too_many_that_wait_are_given_up_with_the_reason() {
    let (house, mut receiver) = (House::open(config(true, 3)).await, Receiver::open().await);
    let webhook = house.webhook(&receiver.url).await;
    house.happen(&[7; 5]).await;
    let dead = house.until(webhook, DeliveryState::Dead, 2).await;
    assert_eq!(dead.iter().map(|row| row.cursor).collect::<Vec<_>>(), [4, 5]);
    assert!(dead[0].last_error.as_deref().unwrap().contains("webhooks.max_pending"), "{dead:?}");
    for cursor in 1..=3 {
        let call = receiver.next().await;
        assert_eq!(call.cursor(), cursor);
        call.answer(200);
    }
    house.until(webhook, DeliveryState::Pending, 0).await;
    house.happen(&[7]).await;
    let call = receiver.next().await;
    assert_eq!(call.cursor(), 6, "there is place again");
    call.answer(200);
}

#[tokio::test]
async fn update_destroy_and_disable_hold_from_their_answer_on() {
    let (house, mut old, mut new) =
        (House::open(config(true, 100)).await, Receiver::open().await, Receiver::open().await);
    let webhook = house.webhook(&old.url).await;
    house.happen(&[7, 7]).await;
    old.next().await.answer(500);
    let next_at = house.until_failed(webhook, 1).await.next_at;
    let update = WebhookUpdate { url: Some(new.url.clone()), ..WebhookUpdate::default() };
    house.webhooks.update(webhook, update).await.unwrap();
    house.hand.send_replace(next_at);
    new.next().await.answer(200);
    // The second is on its way when somebody takes it away; the third does not wait for it for ever.
    let call = new.next().await;
    assert_eq!(call.cursor(), 2);
    house.webhooks.forget(webhook, 2).await.unwrap();
    assert!(matches!(house.webhooks.forget(webhook, 2).await, Err(Error::NotFound("delivery"))));
    house.happen(&[7]).await;
    call.answer(500);
    let call = new.next().await;
    assert_eq!(call.cursor(), 3);
    let disabled = WebhookUpdate { enabled: Some(false), ..WebhookUpdate::default() };
    house.webhooks.update(webhook, disabled).await.unwrap();
    call.answer(500);
    house.happen(&[7]).await;
    let dead = house.until(webhook, DeliveryState::Dead, 1).await.remove(0);
    assert_eq!((dead.cursor, dead.last_error.as_deref()), (3, Some("the webhook was disabled")));
    for refused in [house.webhooks.retry(webhook, 3).await, house.webhooks.test(webhook).await] {
        assert!(matches!(refused, Err(Error::InvalidState(_))), "{refused:?}");
    }
    house.webhooks.destroy(webhook).await.unwrap();
    house.happen(&[7]).await;
    assert!(house.rows(webhook, DeliveryState::Dead).await.is_empty());
    assert!(matches!(house.webhooks.test(webhook).await, Err(Error::NotFound("webhook"))));
    assert!(new.is_silent() && old.is_silent());
}

#[tokio::test]
async fn test_event_goes_to_its_webhook_alone() {
    let (house, mut one, mut other) =
        (House::open(config(true, 100)).await, Receiver::open().await, Receiver::open().await);
    let webhook = house.webhook(&one.url).await;
    house.webhook(&other.url).await;
    house.webhooks.test(webhook).await.unwrap();
    let call = one.next().await;
    assert_eq!(call.header("conclave-event"), "webhook.test");
    let event: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(event["data"], serde_json::json!({"webhook_id": webhook.to_string()}));
    call.answer(200);
    let cursor = house.happen(&[7]).await;
    for receiver in [&mut one, &mut other] {
        let call = receiver.next().await;
        assert_eq!(call.cursor(), cursor);
        call.answer(200);
    }
}

#[tokio::test]
async fn private_addresses_are_refused_where_the_settings_do_not_permit_them() {
    let (house, mut receiver) = (House::open(config(false, 100)).await, Receiver::open().await);
    assert!(house.webhooks.checked_url(&receiver.url).is_err());
    // As the database might have it from a time when it was permitted, and as a name that leads here.
    let port = receiver.url.rsplit(':').next().unwrap().to_owned();
    let mut webhooks = Vec::new();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let webhook = WebhookRecord {
            id: house.store.ids().next(),
            url: format!("http://{host}:{port}"),
            secret: SECRET.to_owned(),
            types: Types::default(),
            enabled: true,
            source: WebhookSource::Api,
            created_at: store::now(),
        };
        change!(house.store, insert_webhook(&webhook, 9)).unwrap();
        house.webhooks.0.changed.tell(webhook.id);
        webhooks.push(webhook.id);
    }
    house.happen(&[7]).await;
    for webhook in webhooks {
        let row = house.until_failed(webhook, 1).await;
        assert!(row.last_error.as_deref().unwrap().contains("must not lead to"), "{row:?}");
    }
    assert!(receiver.is_silent());
}

#[tokio::test]
async fn name_that_leads_home_is_not_called_whatever_it_led_to_before() {
    let mut receiver = Receiver::open().await;
    let port = receiver.url.rsplit(':').next().unwrap();
    let webhook = WebhookRecord {
        id: Id::from_raw(1),
        url: format!("http://rebind.example:{port}"),
        secret: SECRET.to_owned(),
        types: Types::default(),
        enabled: true,
        source: WebhookSource::Api,
        created_at: store::now(),
    };
    let event = crate::events::Announced { cursor: 1, room: None, kind: "x".into(), json: "{}".into() };
    let answers = |answers: &[&[&str]]| {
        let answers = answers.iter().map(|all| all.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        NameSource::Answers(Arc::new(Mutex::new(answers)))
    };
    let source = answers(&[&["127.0.0.1"], &["1.1.1.1", "127.0.0.1"], &["::ffff:7f00:1"]]);
    let sender = Sender::new(CheckedNames { allow_private: false, source });
    for _ in 0..3 {
        let refusal = sender.send(&webhook, &event, store::now()).await.unwrap_err();
        assert!(refusal.reason.contains("rebind.example leads to"), "{refusal:?}");
    }
    assert!(receiver.is_silent());
    // Where it is permitted, the address that was looked up is the one that is called: nobody is asked twice.
    let sender = Sender::new(CheckedNames { allow_private: true, source: answers(&[&["127.0.0.1"]]) });
    let sending = tokio::spawn(async move { sender.send(&webhook, &event, store::now()).await });
    let call = receiver.next().await;
    assert_eq!(call.header("host"), format!("rebind.example:{}", port_of(&receiver.url)));
    call.answer(200);
    sending.await.unwrap().unwrap();
}

fn port_of(url: &str) -> &str {
    url.rsplit(':').next().unwrap().trim_end_matches("/hook")
}

#[tokio::test]
async fn certificate_must_be_trusted_and_of_that_name() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let made = rcgen::generate_simple_self_signed(vec!["hook.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.read_u8().await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let names = || {
        let answers = std::iter::repeat_n(vec![[127, 0, 0, 1].into()], 3).collect();
        CheckedNames { allow_private: true, source: NameSource::Answers(Arc::new(Mutex::new(answers))) }
    };
    let root = || reqwest::Certificate::from_der(made.cert.der()).unwrap();
    let event = crate::events::Announced { cursor: 1, room: None, kind: "x".into(), json: "{}".into() };
    for (sender, name, accepted) in [
        (Sender::new(names()), "hook.example", false),
        (Sender::trusting(names(), root()), "other.example", false),
        (Sender::trusting(names(), root()), "hook.example", true),
    ] {
        let webhook = WebhookRecord {
            id: Id::from_raw(1),
            url: format!("https://{name}:{port}/"),
            secret: SECRET.to_owned(),
            types: Types::default(),
            enabled: true,
            source: WebhookSource::Api,
            created_at: store::now(),
        };
        let sent = sender.send(&webhook, &event, store::now()).await;
        assert_eq!(sent.is_ok(), accepted, "{name}: {sent:?}");
        assert!(sent.err().is_none_or(|refusal| refusal.reason.contains("certificate")));
    }
    server.abort();
}

#[tokio::test]
async fn configured_webhooks_follow_the_configuration_and_are_its_own() {
    let (home, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    let configured = |urls: &[&str], secret: &str| WebhooksConfig {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        secret: secret.to_owned(),
        ..config(false, 10)
    };
    let open = |config| Webhooks::open(config, store.clone(), journal.clone());
    let first = open(configured(&["https://a.example/", "https://b.example/"], "first")).await.unwrap();
    let made = first.create(NewWebhook {
        url: "https://c.example/".into(),
        secret: None,
        types: Types::default(),
        enabled: true,
    });
    let made = made.await.unwrap();
    assert!(made.secret.starts_with(SECRET_PREFIX) && made.secret.len() > 40);
    assert!(!format!("{made:?}").contains(&made.secret));
    let before = store.all_webhooks().await.unwrap();
    open(configured(&["https://b.example/", "https://d.example/"], "second")).await.unwrap();
    let after = store.all_webhooks().await.unwrap();
    let urls: Vec<&str> = after.iter().map(|webhook| webhook.url.as_str()).collect();
    assert_eq!(urls, ["https://b.example/", "https://c.example/", "https://d.example/"]);
    assert_eq!(after[0].id, before[1].id, "the same one as before");
    assert_eq!((after[0].secret.as_str(), after[1].secret.as_str()), ("second", made.secret.as_str()));
    let own = after[0].id;
    let update = WebhookUpdate { enabled: Some(false), ..WebhookUpdate::default() };
    for refused in [first.update(own, update).await, first.destroy(own).await] {
        assert!(matches!(refused, Err(Error::InvalidState(_))), "{refused:?}");
    }
    first.test(own).await.unwrap();
    drop(home);
}

#[tokio::test]
async fn there_are_so_many_webhooks_and_no_more() {
    let (_home, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    let webhooks = Webhooks::open(config(false, 10), store, journal).await.unwrap();
    let new = || NewWebhook { url: "https://a.example/".into(), secret: None, types: Types::default(), enabled: true };
    for _ in 0..MOST {
        webhooks.create(new()).await.unwrap();
    }
    assert!(matches!(webhooks.create(new()).await, Err(Error::InvalidState(_))));
}

#[tokio::test]
async fn waiting_delivery_keeps_its_event_and_a_dead_one_does_for_a_while() {
    let (_home, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    let webhooks = Webhooks::open(config(false, 10), store.clone(), journal.clone()).await.unwrap();
    let new = NewWebhook { url: "https://a.example/".into(), secret: None, types: Types::default(), enabled: true };
    let webhook = webhooks.create(new).await.unwrap().id;
    let event = |kind| NewEvent { at: store::now(), room: None, extension: None, kind, data: Data::Lost { lost: 0 } };
    for kind in [Kind::ParticipantTalking, Kind::RoomStarted, Kind::RoomEnded, Kind::RoomStarted] {
        journal.note(event(kind));
    }
    journal.flush().await.unwrap();
    let later = |seconds| store::now().saturating_add(Duration::from_secs(seconds)).unwrap();
    let waiting: Vec<WaitingDelivery> = store.deliveries_of(webhook, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|w| w.cursor).collect::<Vec<_>>(), [2, 3, 4], "talking is nothing for it");
    assert_eq!(change!(store, forget_events_before(later(1), 10)).unwrap(), (1, 2));
    change!(store, give_up_deliveries(webhook, 1, "a test")).unwrap();
    let now = store::now().saturating_sub(Duration::from_secs(60)).unwrap();
    assert_eq!(change!(store, forget_events_before(now, 10)).unwrap(), (0, 2), "given up just now");
    assert_eq!(change!(store, forget_dead_deliveries(webhook, 2)).unwrap(), 1, "of many the oldest go");
    assert_eq!(change!(store, forget_events_before(later(1), 10)).unwrap(), (2, 4));
    let left = store.deliveries(webhook, None, 0, 10).await.unwrap();
    assert_eq!(left.items.iter().map(|row| row.cursor).collect::<Vec<_>>(), [4]);
}
