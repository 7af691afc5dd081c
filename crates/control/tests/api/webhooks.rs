//! `/api/webhooks`: who may make them, what is shown of them, and one delivery from end to end.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use control::events::{Data, Kind, NewEvent};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::house::{Answer, House, PATIENCE};

const WEBHOOKS: &str = "/api/webhooks";
const SECRET: &str = "a secret that signs";

/// Counts what comes, and answers with the status that its path names.
struct Receiver {
    url: String,
    calls: mpsc::UnboundedReceiver<(HeaderMap, Bytes)>,
    server: JoinHandle<()>,
}

impl Receiver {
    async fn open() -> Self {
        type Calls = mpsc::UnboundedSender<(HeaderMap, Bytes)>;
        async fn take(
            State(calls): State<Calls>,
            axum::extract::Path(status): axum::extract::Path<u16>,
            headers: HeaderMap,
            body: Bytes,
        ) -> StatusCode {
            calls.send((headers, body)).unwrap();
            StatusCode::from_u16(status).unwrap()
        }
        let (sender, calls) = mpsc::unbounded_channel();
        let router = axum::Router::new().route("/{status}", axum::routing::post(take)).with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, calls, server }
    }

    fn answering(&self, status: u16) -> String {
        format!("{}/{status}", self.url)
    }

    async fn next(&mut self) -> (HeaderMap, Bytes) {
        tokio::time::timeout(PATIENCE, self.calls.recv()).await.expect("a call comes").unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn post(house: &House, path: &str, body: &Value) -> Answer {
    house.post_as("admin", path, body).await
}

async fn act(house: &House, path: &str) -> Answer {
    house.send(house.request("admin", "POST", path).body(Body::empty()).unwrap()).await
}

/// Makes a webhook; gives its path.
async fn webhook(house: &House, body: &Value) -> String {
    let made = post(house, WEBHOOKS, body).await.expect(201);
    let path = format!("{WEBHOOKS}/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(made.header(header::LOCATION), path);
    path
}

async fn happen(house: &House) -> i64 {
    let data = Data::Lost { lost: 0 };
    let event = NewEvent { at: control::store::now(), room: None, extension: None, kind: Kind::ServerOnline, data };
    house.journal.note(event);
    house.journal.flush().await.unwrap();
    *house.journal.tail().borrow()
}

#[tokio::test]
async fn webhook_is_made_listed_changed_and_destroyed_and_shows_no_secret() {
    let house = House::open().await;
    let made = post(&house, WEBHOOKS, &json!({"url": "https://example.com/hook?key=1"})).await.expect(201).json();
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
    let path = format!("{WEBHOOKS}/{}", made["id"].as_str().unwrap());
    let shown = house.get(&path).await.expect(200).json();
    let created_at = shown["created_at"].clone();
    assert_eq!(
        shown,
        json!({"id": made["id"], "url": "https://example.com/hook?key=1", "types": [], "enabled": true,
            "source": "API", "created_at": created_at})
    );
    let other = json!({"url": "http://other.example", "types": ["room.", "participant.joined"], "enabled": false,
        "secret": SECRET, "unknown": 1});
    webhook(&house, &other).await;
    let list = house.get(&format!("{WEBHOOKS}?orderby=url&search=OTHER")).await.expect(200).json();
    assert_eq!((&list["count"], &list["items"][0]["types"]), (&json!(1), &json!(["room.", "participant.joined"])));
    assert!(!list.to_string().contains(SECRET));
    assert_eq!(house.items(&format!("{WEBHOOKS}?top=1&orderby=url%20desc")).await[0], shown);

    let answer = post(&house, &path, &json!({"types": ["recording."], "enabled": false})).await.expect(200);
    assert!(answer.body.is_empty());
    let changed = house.get(&path).await.json();
    assert_eq!((&changed["types"], &changed["enabled"]), (&json!(["recording."]), &json!(false)));
    assert_eq!((&changed["url"], &changed["created_at"]), (&shown["url"], &created_at));
    post(&house, &path, &json!({"types": null})).await.expect(200);
    assert_eq!(house.get(&path).await.json()["types"], json!([]));
    act(&house, &format!("{path}/test")).await.refused(409, "INVALID_STATE");
    act(&house, &format!("{path}/destroy")).await.expect(204);
    for (method, path) in [("GET", path.clone()), ("POST", path.clone()), ("POST", format!("{path}/destroy"))] {
        let request = house.request("admin", method, &path).header(header::CONTENT_TYPE, "application/json");
        house.send(request.body(Body::from("{}")).unwrap()).await.refused(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn broken_fields_are_named_and_private_places_refused() {
    let house = House::open().await;
    let broken = json!({"secret": "short", "types": ["nothing."], "enabled": "yes"});
    let fields = post(&house, WEBHOOKS, &broken).await.refused(400, "VALIDATE_FAILED");
    assert_eq!(fields, ["url", "secret", "types", "enabled"]);
    for url in [
        json!("http://127.0.0.1:8887/"),
        json!("http://localhost/"),
        json!("http://169.254.169.254/latest"),
        json!("http://[::1]/"),
        json!("ftp://example.com/"),
        json!("https://user@example.com/"),
        json!(""),
        json!(7),
        json!(null),
    ] {
        let fields = post(&house, WEBHOOKS, &json!({"url": url})).await.refused(400, "VALIDATE_FAILED");
        assert_eq!(fields, ["url"], "{url}");
    }
    let path = webhook(&house, &json!({"url": "https://example.com"})).await;
    let broken = json!({"url": null, "secret": null, "types": "room.", "enabled": null});
    let fields = post(&house, &path, &broken).await.refused(400, "VALIDATE_FAILED");
    assert_eq!(fields, ["url", "secret", "types", "enabled"]);
    for query in ["state=LOST", "search=x", "orderby=cursor"] {
        let field = query.split('=').next().unwrap();
        let answer = house.get(&format!("{path}/deliveries?{query}")).await;
        assert_eq!(answer.refused(400, "VALIDATE_FAILED"), [field]);
    }
}

#[tokio::test]
async fn webhooks_are_for_admins() {
    let house = House::open().await;
    let path = webhook(&house, &json!({"url": "https://example.com"})).await;
    for role in ["viewer", "operator"] {
        for path in [WEBHOOKS, &path, &format!("{path}/deliveries")] {
            house.fetch_as(role, path).await.refused(403, "FORBIDDEN");
        }
        for path in [WEBHOOKS, &path, &format!("{path}/destroy"), &format!("{path}/deliveries/1/retry")] {
            house.post_as(role, path, &json!({})).await.refused(403, "FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn event_comes_signed_and_what_fails_is_listed_and_sent_again() {
    let house = House::open_with(&[("WEBHOOKS__ALLOW_PRIVATE", "true")]).await;
    let mut receiver = Receiver::open().await;
    let path = webhook(&house, &json!({"url": receiver.answering(200), "secret": SECRET})).await;
    act(&house, &format!("{path}/test")).await.expect(200);
    let (headers, body) = receiver.next().await;
    assert_eq!(headers["conclave-event"], "webhook.test");
    // As the README tells receivers to do it.
    let timestamp = headers["conclave-timestamp"].to_str().unwrap();
    let signed = [timestamp.as_bytes(), b".", &body].concat();
    assert_eq!(headers["conclave-signature"], format!("v1={}", hmac_sha256(SECRET.as_bytes(), &signed)));
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["conclave-delivery"].to_str().unwrap(), event["cursor"].to_string());
    let list = format!("{path}/deliveries");
    house.until("it is accepted", async || house.items(&list).await.is_empty()).await;
    let accepted = "conclave_webhook_deliveries_total{outcome=\"accepted\"}";
    assert_eq!(house.metric(accepted).await, 1.0);

    post(&house, &path, &json!({"url": receiver.answering(503)})).await.expect(200);
    let cursor = happen(&house).await;
    receiver.next().await;
    house
        .until("the failure is listed", async || {
            house.items(&list).await.first().is_some_and(|row| row["attempts"] != 0)
        })
        .await;
    let row = house.get(&format!("{list}?state=PENDING&top=1")).await.json()["items"][0].clone();
    for (field, value) in [
        ("cursor", json!(cursor)),
        ("type", json!("server.online")),
        ("room_id", Value::Null),
        ("extension_number", Value::Null),
        ("state", json!("PENDING")),
        ("last_status", json!(503)),
        ("last_error", json!("it answered 503 Service Unavailable")),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    assert!(row["next_at"].as_str() > row["last_attempt_at"].as_str(), "{row}");
    post(&house, &path, &json!({"enabled": false})).await.expect(200);
    assert_eq!(house.get(&format!("{list}?state=PENDING")).await.json()["count"], 0);
    let dead = house.items(&format!("{list}?state=DEAD")).await.remove(0);
    assert_eq!((&dead["state"], &dead["next_at"]), (&json!("DEAD"), &Value::Null));

    let retry = format!("{list}/{cursor}/retry");
    act(&house, &retry).await.refused(409, "INVALID_STATE");
    post(&house, &path, &json!({"url": receiver.answering(204), "enabled": true})).await.expect(200);
    let answer = act(&house, &retry).await.expect(200);
    assert!(answer.body.is_empty());
    let (headers, _) = receiver.next().await;
    assert_eq!(headers["conclave-delivery"].to_str().unwrap(), cursor.to_string());
    house.until("it is accepted", async || house.items(&list).await.is_empty()).await;
    for gone in [retry, format!("{list}/{cursor}/destroy"), format!("{list}/x/retry"), format!("{list}/0/destroy")] {
        act(&house, &gone).await.refused(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn waiting_delivery_is_taken_away_and_survives_a_restart_otherwise() {
    let more = [("WEBHOOKS__ALLOW_PRIVATE", "true")];
    let house = House::open_with(&more).await;
    let mut receiver = Receiver::open().await;
    let path = webhook(&house, &json!({"url": receiver.answering(500)})).await;
    let (first, second) = (happen(&house).await, happen(&house).await);
    receiver.next().await;
    act(&house, &format!("{path}/deliveries/{first}/destroy")).await.expect(204);
    let house = House::open_in(house.crash().await, &more).await;
    let rows = house.items(&format!("{path}/deliveries")).await;
    assert_eq!(rows.iter().map(|row| row["cursor"].clone()).collect::<Vec<_>>(), [json!(second)]);
    let delivered =
        async { while receiver.next().await.0["conclave-delivery"].to_str().unwrap() != second.to_string() {} };
    delivered.await;
}

#[tokio::test]
async fn configured_webhook_is_read_only() {
    let mut receiver = Receiver::open().await;
    let url = receiver.answering(200);
    let settings =
        [("WEBHOOKS__ALLOW_PRIVATE", "true"), ("WEBHOOKS__URLS", url.as_str()), ("WEBHOOKS__SECRET", SECRET)];
    let house = House::open_with(&settings).await;
    let shown = house.items(WEBHOOKS).await.remove(0);
    assert_eq!((&shown["source"], &shown["url"]), (&json!("CONFIG"), &json!(url)));
    let path = format!("{WEBHOOKS}/{}", shown["id"].as_str().unwrap());
    post(&house, &path, &json!({"enabled": false})).await.refused(409, "INVALID_STATE");
    act(&house, &format!("{path}/destroy")).await.refused(409, "INVALID_STATE");
    act(&house, &format!("{path}/test")).await.expect(200);
    while receiver.next().await.0["conclave-event"] != "webhook.test" {}
    let house = House::open_in(house.crash().await, &[]).await;
    assert!(house.items(WEBHOOKS).await.is_empty(), "the configuration names it no more");
}

/// RFC 2104, by hand, on its own.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}
