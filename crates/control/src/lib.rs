//! Conclave's control side: who is in which room, and everyone's way to say so. See `crates/README.md` for the map.
//!
//! `Server` is what the binary runs: `start` opens the store, repairs what a crash left and binds the listeners; `run`
//! serves until it is told to stop, then drains.

pub mod api;
pub mod auth;
mod backoff;
pub mod backups;
mod command;
pub mod config;
pub mod dialing;
pub mod error;
pub mod events;
mod extensions;
pub mod filter;
pub mod ids;
pub mod invitations;
mod languages;
mod menu;
pub mod metrics;
pub mod prompts;
pub mod rooms;
pub mod sip;
pub mod store;
mod time;
pub mod tokens;
pub mod users;
mod words;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use media::{Engine, Event};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use api::{Api, Certificates};
use config::{Config, PbxMode};
use dialing::Dialing;
pub use error::Error;
use events::{Delivery, EventFeed, Journal};
use invitations::{Courier, InvitationMetrics};
use metrics::{Metrics, ProcessUsage};
use rooms::Rooms;
use sip::{Browsers, Peers, SipHandle, SipMetrics};
use store::Store;

/// At the end: for recordings to be complete on the disk and in the store.
const RECORDINGS_PATIENCE: Duration = Duration::from_secs(10);
/// At the end: for open API requests.
const REQUESTS_PATIENCE: Duration = Duration::from_secs(3);

/// The control side, ready to serve.
#[derive(Debug)]
pub struct Server {
    config: Config,
    store: Store,
    journal: Journal,
    delivery: Delivery,
    /// Sends invitations.
    mail: Option<Courier>,
    rooms: Rooms,
    metrics: Metrics,
    usage: Arc<ProcessUsage>,
    api: Arc<Api>,
    feed: EventFeed,
    api_listener: TcpListener,
    /// HTTPS, when it has an address of its own.
    tls_listener: Option<TcpListener>,
    certificates: Option<Certificates>,
    sip: SipHandle,
    /// To whoever registers them.
    known_extensions: watch::Sender<Arc<BTreeSet<String>>>,
    /// Cancelled when no more calls are to come.
    leaving: CancellationToken,
    /// Cancelled when the calls have ended, or have to.
    end_of_calls: CancellationToken,
    metrics_listener: Option<TcpListener>,
    first_admin_token: Option<String>,
}

impl Server {
    /// Opens the store, repairs recordings, binds the listeners. Calls are taken from here on.
    ///
    /// # Errors
    /// With one line that names what is in the way.
    pub async fn start(config: Config, engine: Engine, events: Receiver<Event>) -> Result<Self, Error> {
        let store = Store::open(&config.database).await?;
        let journal = Journal::open(store.clone()).await?;
        let mut entry = journal.change().await?;
        let server = entry.built_in_server(&config.server).await?;
        entry.commit().await?;
        let metrics = Metrics::new(engine.clone());
        let dialing = Dialing::new(&config.dialing, config.trunks.clone());
        let rooms =
            Rooms::open(&config, engine, store.clone(), journal.clone(), &server, metrics.rooms.clone(), dialing)
                .await?;
        rooms.recover_recordings().await?;
        let mail_metrics = InvitationMetrics::default();
        metrics.register(|registry| mail_metrics.register(registry));
        let mail = config.mail.as_ref().map(|mail| {
            let (language, invitations) = (&config.prompts.language, rooms.invitations());
            Courier::open(mail, language, store.clone(), journal.clone(), invitations, mail_metrics)
        });
        let mail = mail.transpose()?;
        let certificates = config.api.tls.as_ref().map(Certificates::open).transpose()?;
        let first_admin_token = auth::first_token(&store).await?;
        auth::keep_in_step(&store, &config.auth).await?;
        let usage = Arc::new(ProcessUsage::new());
        let delivery = Delivery::open(&config, store.clone(), journal.clone()).await?;
        metrics.register(|registry| delivery.metrics.register(registry));
        let for_api = delivery.clone();
        let browsers = Browsers::open(&config, &store).await?;
        let (usage_of_api, web) = (Arc::clone(&usage), browsers.clone());
        let api = Api::new(&config, rooms.clone(), store.clone(), metrics.clone(), usage_of_api, for_api, web).await?;
        let api_listener = bind("api.listen", config.api.listen).await?;
        let tls_listener = match config.api.tls_listen {
            Some(address) => Some(bind("api.tls_listen", address).await?),
            None => None,
        };
        if config.api.is_exposed() {
            let address = config.api.listen;
            tracing::warn!(%address, "the API listens beyond this machine without TLS: passwords and tokens can be read");
        }
        let metrics_listener = match config.api.metrics_listen.filter(|_| config.api.metrics) {
            Some(address) => Some(bind("api.metrics_listen", address).await?),
            None => None,
        };
        let feed = EventFeed::start(events).map_err(|e| Error::Broken(format!("no thread for events: {e}")))?;
        let end_of_calls = CancellationToken::new();
        let sip_metrics = SipMetrics::default();
        metrics.register(|registry| sip_metrics.register(registry));
        let (known, extensions) = watch::channel(Arc::default());
        let leaving = CancellationToken::new();
        let (trunks, pbx) = (config.trunks.clone(), config.pbx.clone());
        let peers = Peers { trunks, pbx, extensions, leaving: leaving.clone(), browsers };
        let (settings, live) = (config.sip.clone(), config.live.clone());
        // Last: from here on calls come.
        let sip = sip::serve(settings, peers, live, rooms.clone(), sip_metrics, end_of_calls.clone())
            .await
            .map_err(|e| Error::Broken(e.to_string()))?;
        rooms.announce_server(true);
        Ok(Self {
            config,
            store,
            journal,
            delivery,
            mail,
            rooms,
            metrics,
            usage,
            api: Arc::new(api),
            feed,
            api_listener,
            tls_listener,
            certificates,
            sip,
            known_extensions: known,
            leaving,
            end_of_calls,
            metrics_listener,
            first_admin_token,
        })
    }

    /// The admin token, when this start made it.
    pub fn first_admin_token(&self) -> Option<&str> {
        self.first_admin_token.as_deref()
    }

    /// Where the API listens; with port 0 in the configuration, the port that the system chose.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn api_address(&self) -> std::io::Result<SocketAddr> {
        self.api_listener.local_addr()
    }

    /// Where the API listens with HTTPS, when that is another address.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The API's certificate, when it speaks HTTPS.
    pub fn certificates(&self) -> Option<Certificates> {
        self.certificates.clone()
    }

    /// Where signalling listens.
    pub const fn sip(&self) -> &SipHandle {
        &self.sip
    }

    /// All rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Serves until `shutdown` resolves, then drains: no new calls, a time for those that run, then everyone is hung up
    /// on and every recording finished.
    ///
    /// # Errors
    /// When a listener breaks for good.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let mut background = JoinSet::new();
        let rooms = self.rooms.clone();
        background.spawn(async move { rooms.keep_house().await });
        let rooms = self.rooms.clone();
        background.spawn(async move { rooms.keep_pictures().await });
        let rooms = self.rooms.clone();
        background.spawn(async move { rooms.keep_dialogues().await });
        let rooms = self.rooms.clone();
        background.spawn(async move { rooms.keep_meetings().await });
        let rooms = self.rooms.clone();
        background.spawn(async move { rooms.sweep_recordings().await });
        let rooms = self.rooms.clone();
        background.spawn(async move { rooms.follow_restorations().await });
        if self.config.pbx.as_ref().is_some_and(|pbx| pbx.mode == PbxMode::Rooms) {
            background.spawn(extensions::follow(self.store.clone(), self.known_extensions));
        }
        background.spawn(self.feed.feed(self.rooms.clone()));
        let journal = self.journal.clone();
        background.spawn(async move { journal.keep().await });
        background.spawn(auth::keep_house(self.store.clone()));
        if let Some(certificates) = self.certificates.clone() {
            background.spawn(certificates.watch());
        }
        let (delivery, end) = (self.delivery.clone(), stop.clone());
        let delivering = tokio::spawn(async move { delivery.run(end).await });
        if let Some(mail) = self.mail {
            background.spawn(mail.run(stop.clone()));
        }
        let usage = self.usage;
        background.spawn(async move {
            let mut every = tokio::time::interval(ProcessUsage::EVERY);
            loop {
                every.tick().await;
                usage.sample();
            }
        });

        let mut serving = JoinSet::new();
        let router = || api::router(Arc::clone(&self.api));
        let (with_tls, certificates) = (self.config.api.listens_with_tls(), self.certificates);
        let listeners = [
            Some((self.api_listener, certificates.clone().filter(|_| with_tls), router())),
            self.tls_listener.map(|listener| (listener, certificates, router())),
            self.metrics_listener.map(|listener| (listener, None, api::metrics_router(Arc::clone(&self.api)))),
        ];
        for (listener, certificates, router) in listeners.into_iter().flatten() {
            let (metrics, stop) = (self.metrics.clone(), stop.clone());
            serving.spawn(
                async move { api::serve(listener, certificates, router, &metrics, stop.cancelled_owned()).await },
            );
        }

        let broken = tokio::select! {
            () = shutdown => None,
            Some(ended) = serving.join_next() => Some(ended),
        };
        self.leaving.cancel();
        drain(&self.rooms, self.config.live.limits().grace).await;
        self.end_of_calls.cancel();
        self.sip.closed().await;
        if let Err(error) = self.journal.flush().await {
            tracing::warn!(%error, "streams are not told the last events");
        }
        self.delivery.end_streams().await;
        stop.cancel();
        let all_answered = async { while serving.join_next().await.is_some() {} };
        if tokio::time::timeout(REQUESTS_PATIENCE, all_answered).await.is_err() {
            tracing::info!("open API requests were cut off");
        }
        if tokio::time::timeout(REQUESTS_PATIENCE, delivering).await.is_err() {
            tracing::info!("deliveries to webhooks were cut off; they are sent again at the next start");
        }
        background.shutdown().await;
        if let Err(error) = self.rooms.keep().await {
            tracing::error!(%error, "what rooms hold could not be kept");
        }
        if let Err(error) = self.journal.flush().await {
            tracing::error!(%error, "the last events could not be kept");
        }
        self.store.close().await;
        match broken {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(Error::Broken(format!("the API's listener: {error}"))),
            Some(Err(error)) => Err(Error::Broken(format!("the API's listener: {error}"))),
        }
    }
}

async fn drain(rooms: &Rooms, grace: Duration) {
    rooms.drain();
    rooms.announce_server(false);
    tracing::info!(?grace, "draining: no new calls");
    if tokio::time::timeout(grace, rooms.empty()).await.is_err() {
        tracing::info!("hanging up on everyone who is still here");
    }
    rooms.hang_up_all();
    if tokio::time::timeout(RECORDINGS_PATIENCE, rooms.recordings_ended()).await.is_err() {
        tracing::error!("a recording was not finished in time; the next start repairs it");
    }
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|e| Error::Broken(format!("{key} {address}: {e}")))
}
