//! A server without SIP, in a directory of its own, for each test.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use control::api::{Api, router, serve};
use control::auth::new_token;
use control::config::{Config, Loaded, Sources};
use control::dialing::Dialing;
use control::events::{Delivery, EventFeed, Journal};
use control::metrics::{Metrics, ProcessUsage};
use control::rooms::{Caller, DialogOrder, Entry, ParticipantId, Refusal, Rooms, Seat};
use control::sip::Browsers;
use control::store::{Role, Store};
use media::{Engine, EngineConfig, ReserveAt, WebConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Longest that anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct House {
    pub(crate) dir: TempDir,
    pub(crate) rooms: Rooms,
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) journal: Journal,
    pub(crate) delivery: Delivery,
    metrics: Metrics,
    router: Router,
    tokens: HashMap<&'static str, String>,
    tasks: JoinSet<()>,
}

/// Settings for a test in `dir`; `more` as `SECTION__KEY`.
pub(crate) fn config(dir: &Path, more: &[(&str, &str)]) -> Config {
    let mut env = vec![("CONCLAVE__DATA_DIR".to_owned(), dir.to_str().unwrap().to_owned())];
    if let Some(server) = testkit::postgres::test_server() {
        // The database belongs to the directory: a house that is opened in it again finds it.
        let kept = dir.join("postgres.url");
        let url = std::fs::read_to_string(&kept).unwrap_or_else(|_| testkit::postgres::fresh_database(&server));
        std::fs::write(kept, &url).unwrap();
        env.push(("CONCLAVE__DATABASE__URL".to_owned(), url));
    }
    env.extend(more.iter().map(|(key, value)| (format!("CONCLAVE__{key}"), (*value).to_owned())));
    Loaded::read(&Sources { env, ..Sources::default() }).unwrap().config
}

/// One worker; ports that other tests have are skipped.
pub(crate) fn engine(config: &Config) -> (Engine, crossbeam_channel::Receiver<media::Event>) {
    let settings = EngineConfig {
        workers: 1,
        rtp_ports: config.media.rtp_ports.clone(),
        codecs: config.media.codecs.clone(),
        playout_ceiling: config.media.playout_ceiling,
        media_timeout: config.media.media_timeout,
        composers: 1,
        video_codecs: config.media.video_codecs.clone(),
        begin_worker: || (),
        begin_composer: || (),
        movies: config.recordings.movies,
        web: Some(WebConfig {
            udp_port: 0,
            tcp_port: None,
            addresses: vec![ReserveAt { bind: [127, 0, 0, 1].into(), advertise: [127, 0, 0, 1].into() }],
            resume: Duration::from_secs(6),
        }),
    };
    Engine::start(settings).unwrap()
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::open_in(tempfile::tempdir().unwrap(), &[]).await
    }

    pub(crate) async fn open_with(more: &[(&str, &str)]) -> Self {
        Self::open_in(tempfile::tempdir().unwrap(), more).await
    }

    pub(crate) async fn open_in(dir: TempDir, more: &[(&str, &str)]) -> Self {
        let config = config(dir.path(), more);
        let (engine, events) = engine(&config);
        let store = Store::open(&config.database).await.unwrap();
        let journal = Journal::open(store.clone()).await.unwrap();
        let mut entry = journal.change().await.unwrap();
        let server = entry.built_in_server(&config.server).await.unwrap();
        entry.commit().await.unwrap();
        control::auth::keep_in_step(&store, &config.auth).await.unwrap();
        let metrics = Metrics::new(engine.clone());
        let dialing = Dialing::new(&config.dialing, config.trunks.clone());
        let rooms = Rooms::open(
            &config,
            engine.clone(),
            store.clone(),
            journal.clone(),
            &server,
            metrics.rooms.clone(),
            dialing,
        );
        let rooms = rooms.await.unwrap();
        rooms.recover_recordings().await.unwrap();
        let usage = Arc::new(ProcessUsage::new());
        let delivery = Delivery::open(&config, store.clone(), journal.clone()).await.unwrap();
        metrics.register(|registry| delivery.metrics.register(registry));
        let browsers = Browsers::open(&config, &store).await.unwrap();
        let api = Api::new(&config, rooms.clone(), store.clone(), metrics.clone(), usage, delivery.clone(), browsers);
        let api = api.await.unwrap();
        let mut tokens = HashMap::new();
        for role in [Role::Admin, Role::Operator, Role::Viewer] {
            let (text, record) = new_token(&store, role.as_str(), role, None).unwrap();
            let mut change = store.change().await.unwrap();
            change.insert_token(&record).await.unwrap();
            change.commit().await.unwrap();
            tokens.insert(role.as_str(), text);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(EventFeed::start(events).unwrap().feed(rooms.clone()));
        let keeper = rooms.clone();
        tasks.spawn(async move { keeper.keep_house().await });
        let keeper = journal.clone();
        tasks.spawn(async move { keeper.keep().await });
        let deliverer = delivery.clone();
        tasks.spawn(async move { deliverer.run(CancellationToken::new()).await });
        let router = router(Arc::new(api));
        Self { dir, rooms, store, engine, journal, delivery, metrics, router, tokens, tasks }
    }

    /// Ends it as a power cut would, but for the engine's threads; gives the directory for the next one.
    pub(crate) async fn crash(mut self) -> TempDir {
        self.engine.stop();
        self.tasks.shutdown().await;
        self.store.close().await;
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    pub(crate) fn token(&self, role: &str) -> &str {
        &self.tokens[role]
    }

    /// Listens, for what needs a connection.
    pub(crate) async fn listen(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, router, metrics) = (listener.local_addr().unwrap(), self.router.clone(), self.metrics.clone());
        self.tasks.spawn(async move { serve(listener, None, router, &metrics, std::future::pending()).await.unwrap() });
        address
    }

    /// The answer's head; its body is read as it comes.
    pub(crate) async fn begin(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.begin(request).await;
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap() }
    }

    pub(crate) fn request(&self, role: &str, method: &str, path: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.tokens[role]);
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, bearer)
    }

    pub(crate) async fn fetch_as(&self, role: &str, path: &str) -> Answer {
        self.send(self.request(role, "GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.fetch_as("admin", path).await
    }

    pub(crate) async fn post_as(&self, role: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(role, "POST", path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_as("operator", path, body).await
    }

    /// An action without a body.
    pub(crate) async fn act(&self, path: &str) -> Answer {
        self.send(self.request("operator", "POST", path).body(Body::empty()).unwrap()).await
    }

    /// Makes a room; gives its path.
    /// A room where nothing is said: whoever calls takes part at once.
    pub(crate) async fn room(&self, extension: &str, more: &Value) -> String {
        let mut body = serde_json::json!({
            "extension_number": extension, "mode": "AUDIO", "subject": "A room", "capacity": 200, "enable_prompt": false,
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = self.post("/api/conference_rooms", &body).await.expect(201);
        format!("/api/conference_rooms/{}", answer.json()["id"].as_str().unwrap())
    }

    pub(crate) async fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).await.expect(200).json()["items"].as_array().unwrap().clone()
    }

    /// As `/metrics` has it; 0 when it is not there yet.
    pub(crate) async fn metric(&self, line_start: &str) -> f64 {
        let text = self.get("/metrics").await.expect(200).text();
        let found = text.lines().find_map(|line| line.strip_prefix(line_start)?.trim().parse().ok());
        found.unwrap_or(0.0)
    }

    pub(crate) async fn admit(&self, extension: &str, number: &str) -> Result<Guest, Refusal> {
        let (dialog, orders) = mpsc::channel(4);
        let caller = Caller {
            extension: extension.to_owned(),
            display_name: format!("\"Phone {number}\"<sip:{number}@127.0.0.1>"),
            number: number.to_owned(),
            source: ([127, 0, 0, 1], 5060).into(),
            call_id: format!("{number}@test"),
            dialog,
            entry: Entry::ByMenu,
        };
        let seat = self.rooms.admit(&caller).await?;
        Ok(Guest { caller, seat, orders })
    }

    /// A phone that dials, is answered, and hears silence.
    pub(crate) async fn dial(&self, extension: &str, number: &str) -> Result<Phone, Refusal> {
        let Guest { caller, seat, orders } = self.admit(extension, number).await?;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtcp-mux\r\n",
            socket.local_addr().unwrap().port()
        );
        let localhost = [127, 0, 0, 1].into();
        let at = ReserveAt { bind: localhost, advertise: localhost };
        let reservation = self.rooms.engine().reserve(seat.room, at).unwrap();
        let (leg, answer) = media::answer(&offer, reservation, localhost).unwrap();
        let id = self.rooms.join(seat, caller, leg, &answer).await?;
        Ok(Phone { id, orders, _socket: socket })
    }

    /// Waits until the condition holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what} did not happen");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

pub(crate) struct Guest {
    pub(crate) caller: Caller,
    pub(crate) seat: Seat,
    pub(crate) orders: mpsc::Receiver<DialogOrder>,
}

pub(crate) struct Phone {
    pub(crate) id: ParticipantId,
    pub(crate) orders: mpsc::Receiver<DialogOrder>,
    _socket: UdpSocket,
}

impl Phone {
    /// Its id on the wire.
    pub(crate) fn wire_id(&self) -> String {
        control::ids::Id::from_raw(self.id.0).to_string()
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The one code of all entries, and the fields that they name.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header(header::CONTENT_TYPE), "application/json");
        let body = self.json();
        let errors = body["errors"].as_array().expect("errors").clone();
        assert!(!errors.is_empty() && errors.iter().all(|e| e["code"] == code), "{body}");
        assert!(errors.iter().all(|e| e["message"].as_str().is_some_and(|m| !m.is_empty())), "{body}");
        errors.iter().map(|e| e["detail"]["field"].as_str().unwrap_or("").to_owned()).collect()
    }
}
