//! The REST API: the whole route table and the flat list of layers. Runs on the runtime's tasks. Knows HTTP, JSON and the
//! contract's words; asks `rooms` and `store` for everything else. Wire types live in the files below and nowhere else.

mod audit;
mod auth;
mod blobs;
mod envelope;
mod events;
mod fields;
mod gate;
mod join;
mod listener;
pub mod openapi;
mod operation;
mod origin;
mod pages;
mod pairs;
mod participants;
mod query;
mod recordings;
mod rooms;
mod servers;
mod sip_socket;
mod tags;
mod tls;
mod webhooks;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::{Links, SignIn, Tokens};
use crate::config::{Config, TurnConfig};
use crate::error::Error;
use crate::events::Delivery;
use crate::metrics::{Metrics, ProcessUsage};
use crate::rooms::Rooms;
use crate::sip::{Browsers, SocketDoor};
use crate::store::Store;
use blobs::SignedUrls;
use ipnet::IpNet;
use listener::Bounded;
use origin::Peer;

pub use tls::Certificates;

/// Everything that requests are answered from.
#[derive(Debug)]
pub struct Api {
    rooms: Rooms,
    store: Store,
    tokens: Tokens,
    sign_in: SignIn,
    trusted_proxies: Vec<IpNet>,
    metrics: Metrics,
    usage: Arc<ProcessUsage>,
    delivery: Delivery,
    rendered: rooms::RenderedRooms,
    urls: Option<SignedUrls>,
    body_limit_bytes: usize,
    serves_metrics: bool,
    serves_browsers: bool,
    turn: Option<TurnConfig>,
    /// Of rooms that name none.
    language: String,
    sessions: join::Sessions,
    links: Links,
    sip_sockets: SocketDoor,
    /// Where people reach this server; empty: nobody said.
    public_url: String,
}

impl Api {
    /// Makes the key of signed URLs at the first start.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn new(
        config: &Config,
        rooms: Rooms,
        store: Store,
        metrics: Metrics,
        usage: Arc<ProcessUsage>,
        delivery: Delivery,
        browsers: Browsers,
    ) -> Result<Self, Error> {
        let Browsers { sockets: sip_sockets, links, .. } = browsers;
        let tokens = links.tokens().clone();
        let urls = match config.recordings.private_urls {
            true => Some(SignedUrls::open(&store, config.recordings.url_ttl).await?),
            false => None,
        };
        let sign_in = SignIn::new(store.clone(), tokens.clone(), &config.auth);
        Ok(Self {
            rooms,
            store,
            tokens,
            sign_in,
            trusted_proxies: config.api.trusted_proxies.clone(),
            metrics,
            usage,
            delivery,
            rendered: rooms::RenderedRooms::default(),
            urls,
            body_limit_bytes: config.api.body_limit_bytes,
            serves_metrics: config.api.metrics && config.api.metrics_listen.is_none(),
            serves_browsers: config.webrtc.is_some(),
            turn: config.webrtc.as_ref().and_then(|webrtc| webrtc.turn.clone()),
            language: config.prompts.language.clone(),
            sessions: join::Sessions::default(),
            links,
            sip_sockets,
            public_url: config.api.public_url.clone(),
        })
    }
}

impl Api {
    /// The page to join with by this token.
    fn page_of(&self, token: &str) -> String {
        format!("{}/r/{token}", self.public_url)
    }

    /// Host and port of SIP over secure WebSocket, where there is any.
    fn secure_socket(&self) -> Option<(String, u16)> {
        let url = url::Url::parse(&self.public_url).ok()?;
        let host = url.host_str().filter(|_| self.serves_browsers && url.scheme() == "https")?;
        Some((host.to_owned(), url.port_or_known_default()?))
    }
}

/// What needs a token: the contract's resources.
fn documented() -> Vec<(&'static str, MethodRouter<Arc<Api>>)> {
    vec![
        ("/api/auth/sign_out", post(auth::sign_out)),
        ("/api/conference_servers", get(servers::list).post(servers::create)),
        ("/api/conference_servers/{id}", get(servers::show).post(servers::update)),
        ("/api/conference_servers/{id}/status", get(servers::status)),
        ("/api/conference_servers/{id}/destroy", post(servers::destroy)),
        ("/api/conference_rooms", get(rooms::list).post(rooms::create)),
        ("/api/conference_rooms/{id}", get(rooms::show).post(rooms::update)),
        ("/api/conference_rooms/{id}/destroy", post(rooms::destroy)),
        ("/api/conference_rooms/{id}/status", get(rooms::status)),
        ("/api/conference_rooms/{id}/preview.jpg", get(rooms::picture::preview)),
        ("/api/conference_rooms/{id}/layout", get(rooms::picture::layout)),
        ("/api/conference_rooms/{id}/mute", post(rooms::mute)),
        ("/api/conference_rooms/{id}/unmute", post(rooms::unmute)),
        ("/api/conference_rooms/{id}/lock", post(rooms::lock)),
        ("/api/conference_rooms/{id}/unlock", post(rooms::unlock)),
        ("/api/conference_rooms/{id}/start_recording", post(rooms::start_recording)),
        ("/api/conference_rooms/{id}/stop_recording", post(rooms::stop_recording)),
        ("/api/conference_rooms/{id}/tokens", post(rooms::tokens::create)),
        ("/api/conference_rooms/{id}/tokens/revoke", post(rooms::tokens::revoke)),
        ("/api/conference_rooms/{id}/participants", get(participants::list)),
        ("/api/conference_rooms/{id}/participants/layout", post(participants::layout)),
        ("/api/conference_rooms/{id}/participants/invite", post(participants::invite)),
        ("/api/conference_rooms/{id}/participants/{participant_id}", get(participants::show)),
        ("/api/conference_rooms/{id}/participants/{participant_id}/mute", post(participants::mute)),
        ("/api/conference_rooms/{id}/participants/{participant_id}/unmute", post(participants::unmute)),
        ("/api/conference_rooms/{id}/participants/{participant_id}/chairman", post(participants::chairman)),
        ("/api/conference_rooms/{id}/participants/{participant_id}/position", post(participants::position)),
        ("/api/conference_rooms/{id}/participants/{participant_id}/destroy", post(participants::destroy)),
        ("/api/conference_rooms/{id}/recordings", get(recordings::list)),
        ("/api/conference_rooms/{id}/recordings/{recording_id}/set_read", post(recordings::set_read)),
        ("/api/conference_rooms/{id}/recordings/{recording_id}/set_unread", post(recordings::set_unread)),
        ("/api/conference_rooms/{id}/recordings/{recording_id}/destroy", post(recordings::destroy)),
        ("/api/events", get(events::follow)),
        ("/api/events/ticket", post(events::ticket)),
        ("/api/webhooks", get(webhooks::list).post(webhooks::create)),
        ("/api/webhooks/{id}", get(webhooks::show).post(webhooks::update)),
        ("/api/webhooks/{id}/destroy", post(webhooks::destroy)),
        ("/api/webhooks/{id}/test", post(webhooks::test)),
        ("/api/webhooks/{id}/deliveries", get(webhooks::deliveries)),
        ("/api/webhooks/{id}/deliveries/{cursor}/retry", post(webhooks::retry)),
        ("/api/webhooks/{id}/deliveries/{cursor}/destroy", post(webhooks::forget)),
    ]
}

/// What is open: probes, the description, signing in, and downloads, which check their own URL.
fn open(serves_metrics: bool) -> Vec<(&'static str, MethodRouter<Arc<Api>>)> {
    let mut routes = vec![
        ("/healthz", get(operation::health)),
        ("/readyz", get(operation::readiness)),
        ("/api/blobs/{sha256}", get(blobs::download)),
        // Their bodies are what lets them in; each writes its own audit line.
        ("/api/auth/sign_in", post(auth::sign_in).layer(from_fn(gate::to_the_end))),
        ("/api/auth/refresh_token", post(auth::refresh_token).layer(from_fn(gate::to_the_end))),
        ("/api/login/oauth/token", post(auth::oauth_token).layer(from_fn(gate::to_the_end))),
        ("/api/login/oauth/revoke", post(auth::oauth_revoke).layer(from_fn(gate::to_the_end))),
        ("/api/openapi.json", get(openapi::description)),
        ("/api/docs", get(openapi::page)),
        ("/api/docs/{file}", get(openapi::asset)),
    ];
    if serves_metrics {
        routes.push(("/metrics", get(operation::metrics)));
    }
    routes
}

/// How browsers come in by a room's link: the token in the path, or the session's key, is what lets them.
fn links() -> Vec<(&'static str, MethodRouter<Arc<Api>>)> {
    let limited = |method: MethodRouter<Arc<Api>>| method.layer(from_fn(gate::to_the_end));
    vec![
        ("/join", limited(post(join::join_as_bearer)).options(join::options)),
        ("/join/{token}", limited(get(join::info).post(join::join)).options(join::options)),
        ("/join/session/{key}", get(join::show).patch(join::patch).delete(join::leave)),
        ("/join/session/{key}/events", get(join::follow)),
        ("/join/session/{key}/actions", post(join::act)),
        ("/ws", get(sip_socket::upgrade)),
    ]
}

/// Pages for people, which bring their own token to the API. Not of the contract, so not in the description.
fn pages() -> Vec<(&'static str, MethodRouter<Arc<Api>>)> {
    vec![
        ("/console", get(pages::console)),
        ("/console/{*place}", get(pages::console)),
        ("/r/{token}", get(pages::join)),
        ("/assets/{file}", get(pages::asset)),
    ]
}

/// The API as a service.
pub fn router(api: Arc<Api>) -> Router {
    let table = |routes: Vec<(&'static str, MethodRouter<Arc<Api>>)>| {
        let router = routes.into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method));
        router.method_not_allowed_fallback(envelope::no_such_method)
    };
    let guarded = table(documented()).fallback(envelope::no_such_path).layer(
        ServiceBuilder::new()
            // The token, its role and its budget; the audit line.
            .layer(from_fn_with_state(Arc::clone(&api), gate::pass))
            // A change that has begun is finished, even if its client hangs up.
            .layer(from_fn(gate::to_the_end)),
    );
    table(open(api.serves_metrics))
        .merge(table(pages()))
        .merge(table(links()))
        .merge(guarded)
        .layer(
            ServiceBuilder::new()
                // Request id, count, and the body of every refusal.
                .layer(from_fn_with_state(Arc::clone(&api), envelope::wrap))
                .layer(CatchPanicLayer::custom(envelope::panicked)),
        )
        .with_state(api)
}

/// `/metrics` alone, for a listener of its own.
pub fn metrics_router(api: Arc<Api>) -> Router {
    Router::new().route("/metrics", get(operation::metrics)).with_state(api)
}

/// Serves a router, over TLS if there is a certificate, until `stop` resolves and its open requests are answered.
///
/// # Errors
/// When the listener breaks for good.
pub async fn serve(
    listener: TcpListener,
    certificates: Option<Certificates>,
    router: Router,
    metrics: &Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = Bounded::new(listener, certificates, metrics.api.connections().clone());
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}
