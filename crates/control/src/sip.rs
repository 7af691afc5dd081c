//! SIP signalling: calls in and out, on UDP, TCP and WebSocket. The only place that names `rsipstack`; runs on the tokio runtime; what an SDP
//! body means is media's.
//!
//! ```text
//! flow, tcp, socket ─> wire ─> ingress ──┬─> an answer that nothing is remembered of
//!  sockets      bytes    dispatch  ├─> dialogs ──> call      requests within a dialog
//!                                  └─> screen, admission ──> call ──> reception ──> rooms, media
//! rooms ──> departure ──> outgoing ──> names, client, digest ──> call       a route of the dial plan, dialled
//! ```
//!
//! Of the stack we use messages and transactions. Its sockets and dialogs are not used: the one queues without bound and
//! stalls on one slow TCP peer, the other drops what should be refused (CSeq, Require, glare) and tells no reasons.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rsipstack::EndpointBuilder;
use rsipstack::transaction::endpoint::EndpointOption;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::auth::{Links, Tokens};
use crate::config::{Config, Live, PbxConfig, SipConfig, SipCredentials};
use crate::dialing::Trunk;
use crate::error::Error;
use crate::rooms::Rooms;
use crate::store::Store;

mod address;
mod admission;
mod call;
mod client;
mod credentials;
mod departure;
mod dialog;
mod dialogs;
mod digest;
mod door;
mod flow;
mod identity;
mod info;
mod ingress;
mod metrics;
mod names;
mod outbound;
mod outgoing;
mod peers;
mod reception;
mod registration;
mod rejection;
mod screen;
mod socket;
mod tcp;
mod transaction;
mod wire;

#[cfg(test)]
mod kamailio_tests;
#[cfg(test)]
mod loopback_tests;
#[cfg(test)]
mod outgoing_tests;
#[cfg(test)]
mod registration_tests;

pub use metrics::SipMetrics;
pub use registration::Extensions;
pub use socket::{SocketDoor, SocketEnd};

use call::Call;
use door::Door;
use flow::{UdpPort, UdpSide};
use ingress::Stack;

/// Tries to find one port free on both transports, when any will do.
const PORT_TRIES: usize = 16;
/// After an error of the UDP socket, so that a lasting one does not spin.
const UDP_PAUSE: Duration = Duration::from_millis(10);
/// Largest UDP payload.
const MAX_DATAGRAM_BYTES: usize = 65_536;
/// Datagrams between the socket and the dispatch; those beyond are dropped and counted.
const UDP_QUEUE: usize = 512;
const _: () = assert!(UDP_QUEUE * MAX_DATAGRAM_BYTES <= 32 << 20);
/// Longer than any ring timeout that can be set.
const RINGING_AT_MOST: Duration = Duration::from_secs(900);
/// How long calls may take to say BYE when the server stops.
const LEAVE_TIME: Duration = Duration::from_secs(4);

/// Why signalling cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SipError {
    /// The address is in use, or not ours.
    #[error("SIP cannot listen on {transport} {address}: {source}")]
    Bind {
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// As configured.
        address: SocketAddr,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// No randomness.
    #[error("SIP over WebSocket: {0}")]
    Door(Error),
    /// Neither UDP nor TCP is on.
    #[error("SIP is switched off for both UDP and TCP")]
    NoTransport,
}

impl Browsers {
    /// As the settings have it, with the installation's key.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn open(config: &Config, store: &Store) -> Result<Self, Error> {
        let tokens = Tokens::new(store.clone(), config.live.clone(), config.auth.failures_per_minute);
        let links = Links::open(store.clone(), tokens).await?;
        let accounts = config.webrtc.as_ref().map(|webrtc| webrtc.sip_accounts.clone()).unwrap_or_default();
        Ok(Self { sockets: SocketDoor::default(), links, accounts })
    }
}

/// Running signalling.
#[derive(Debug)]
pub struct SipHandle {
    udp: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
    stack: Arc<Stack>,
    ended: JoinHandle<()>,
}

impl SipHandle {
    /// Bound UDP address.
    pub fn udp(&self) -> Option<SocketAddr> {
        self.udp
    }

    /// Bound TCP address.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The address to dial as one would write it: the advertised or bound one.
    pub fn dial_address(&self) -> Option<(IpAddr, u16)> {
        let bound = self.udp.or(self.tcp)?;
        Some((self.stack.settings.advertise.unwrap_or(bound.ip()), bound.port()))
    }

    /// Dialogs, in setup or established.
    pub fn dialogs(&self) -> usize {
        self.stack.dialogs.len()
    }

    /// Waits until the calls have ended and the sockets are closed, after `shutdown` was cancelled.
    pub async fn closed(self) {
        // A panic of the closing task leaves nothing to wait for.
        let _ = self.ended.await;
    }
}

/// Where we register, and whose calls are let in.
#[derive(Clone, Debug)]
pub struct Peers {
    /// Providers and PBXs that take our calls.
    pub trunks: Vec<Arc<Trunk>>,
    /// Where our extensions are registered.
    pub pbx: Option<PbxConfig>,
    /// The extensions that there are now.
    pub extensions: Extensions,
    /// Cancelled when no more calls are to come: registrations are taken back.
    pub leaving: CancellationToken,
    /// Browsers.
    pub browsers: Browsers,
}

/// How browsers come in by SIP.
#[derive(Clone, Debug)]
pub struct Browsers {
    /// Where the API hands their connections over.
    pub sockets: SocketDoor,
    /// What join tokens open.
    pub links: Links,
    /// Who comes in with a password.
    pub accounts: Vec<SipCredentials>,
}

/// Listens; who may call, and how often, is read from `live` each time. On `shutdown` every call gets BYE, registrations are
/// taken back if they were not before, then the sockets close; new calls are refused as soon as `rooms` no longer accepts.
///
/// # Errors
/// When an address cannot be bound, naming it.
pub async fn serve(
    settings: SipConfig,
    peers: Peers,
    live: Live,
    rooms: Rooms,
    metrics: SipMetrics,
    shutdown: CancellationToken,
) -> Result<SipHandle, SipError> {
    let doorkeeper = rooms.clone();
    let accepting = Box::new(move || doorkeeper.accepting());
    let Peers { trunks, pbx, extensions, leaving, browsers } = peers;
    let door = Door::new(browsers.links, browsers.accounts).map_err(SipError::Door)?;
    let shared_users = registration::shared_users(&trunks, pbx.as_ref());
    let timers = EndpointOption::default();
    let (front, calls) = Front::open(settings, shared_users, live, metrics, timers, accepting).await?;
    let Front { stack, udp, tcp } = front;
    let hang_up_all = CancellationToken::new();
    if let Some(orders) = rooms.call_orders() {
        tokio::spawn(departure::run(Arc::clone(&stack), rooms.clone(), orders, hang_up_all.clone()));
    }
    let reception = reception::run(Arc::clone(&stack), rooms, calls, hang_up_all.clone(), Arc::new(door));
    let reception = tokio::spawn(reception);
    browsers.sockets.open(&stack);
    tokio::spawn(peers::follow(Arc::clone(&stack), trunks.clone(), pbx.clone()));
    let registered = tokio::spawn(registration::run(Arc::clone(&stack), trunks, pbx, extensions, leaving.clone()));
    let closing = Arc::clone(&stack);
    let ended = tokio::spawn(async move {
        shutdown.cancelled().await;
        hang_up_all.cancel();
        leaving.cancel();
        let until = Instant::now() + LEAVE_TIME;
        while closing.dialogs.len() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
        // It has a limit of its own.
        let _ = timeout_at(until, registered).await;
        closing.closing.cancel();
        reception.abort();
        // Aborted or done: either way it is over.
        let _ = timeout_at(Instant::now() + LEAVE_TIME, reception).await;
    });
    Ok(SipHandle { udp, tcp, stack, ended })
}

/// The protocol layer with its sockets open and its tasks running.
struct Front {
    stack: Arc<Stack>,
    udp: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
}

impl Front {
    async fn open(
        settings: SipConfig,
        shared_users: BTreeSet<String>,
        live: Live,
        metrics: SipMetrics,
        timers: EndpointOption,
        accepting: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Result<(Self, mpsc::Receiver<Call>), SipError> {
        let (udp, tcp) = bind(&settings)?;
        let udp = match udp {
            Some(port) => Some(UdpSide::new(port).await.map_err(|source| SipError::Bind {
                transport: "UDP",
                address: settings.listen,
                source,
            })?),
            None => None,
        };
        // The ACK of a 2xx is the call's, not the transaction's (RFC 3261 §13.2.2.4), and so is giving up: timer C is a proxy's.
        let timers = EndpointOption { auto_ack_2xx: false, timerc: RINGING_AT_MOST, ..timers };
        let endpoint = EndpointBuilder::new().with_user_agent(&settings.user_agent).with_option(timers).build().inner;
        let (stack, calls) =
            Stack::new(settings, live, Arc::clone(&endpoint), metrics, udp.clone(), shared_users, accepting);
        let tcp_bound = tcp.as_ref().and_then(|l| l.local_addr().ok());
        let udp_bound = udp.as_ref().map(|u| u.bound);
        supervise(&stack, "timers", {
            move |_| {
                let endpoint = Arc::clone(&endpoint);
                async move { endpoint.process_timer().await }
            }
        });
        if let Some(udp) = udp {
            supervise(&stack, "UDP", move |stack| receive_udp(stack, udp.clone()));
        }
        if let Some(listener) = tcp {
            let listener = Arc::new(listener);
            supervise(&stack, "TCP", move |stack| tcp::accept(stack, Arc::clone(&listener)));
        }
        info!(udp = ?udp_bound, tcp = ?tcp_bound, "SIP listens");
        Ok((Self { stack, udp: udp_bound, tcp: tcp_bound }, calls))
    }
}

/// Runs a receive task until the stack closes; a panic in it is counted and it starts again.
fn supervise<F>(stack: &Arc<Stack>, name: &'static str, task: impl Fn(Arc<Stack>) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let stack = Arc::clone(stack);
    tokio::spawn(async move {
        loop {
            let mut running = tokio::spawn(task(Arc::clone(&stack)));
            tokio::select! {
                () = stack.closing.cancelled() => {
                    running.abort();
                    return;
                }
                ended = &mut running => match ended {
                    Err(error) if error.is_panic() => {
                        warn!(%error, task = name, "a SIP receive task panicked; it goes on");
                        stack.metrics.panicked();
                    }
                    _ => return,
                },
            }
        }
    });
}

async fn receive_udp(stack: Arc<Stack>, udp: UdpSide) {
    let (queue, mut waiting) = mpsc::channel(UDP_QUEUE);
    let _reader = AbortOnDropHandle::new(tokio::spawn(read_udp(Arc::clone(&stack), udp.clone(), queue)));
    while let Some((datagram, peer)) = waiting.recv().await {
        stack.receive(&datagram, &udp.flow(peer)).await;
    }
}

/// Empties the socket as fast as it fills: the kernel's buffer holds under a hundred INVITEs where it may not grow, and a
/// burst comes quicker than calls are set up.
async fn read_udp(stack: Arc<Stack>, udp: UdpSide, queue: mpsc::Sender<(Box<[u8]>, SocketAddr)>) {
    let mut buffer = vec![0u8; MAX_DATAGRAM_BYTES];
    loop {
        let (len, peer) = match udp.port.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                warn!(%error, "SIP UDP receive failed");
                sleep(UDP_PAUSE).await;
                continue;
            }
        };
        let datagram = buffer.get(..len).unwrap_or_default();
        if datagram.iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
            // A keep-alive (RFC 5626 §4.4.1 in spirit); nothing to answer.
            continue;
        }
        match queue.try_send((datagram.into(), peer)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => stack.metrics.dropped("udp_queue_full"),
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

fn bind(settings: &SipConfig) -> Result<(Option<UdpPort>, Option<TcpListener>), SipError> {
    let failed = |transport, address| move |source| SipError::Bind { transport, address, source };
    let listen = settings.listen;
    if !settings.udp && !settings.tcp {
        return Err(SipError::NoTransport);
    }
    for _ in 1..PORT_TRIES {
        if listen.port() != 0 || !(settings.udp && settings.tcp) {
            break;
        }
        let udp = UdpPort::bind(listen).map_err(failed("UDP", listen))?;
        let same = SocketAddr::new(listen.ip(), udp.bound().map_err(failed("UDP", listen))?.port());
        if let Ok(tcp) = tcp::bind(same) {
            return Ok((Some(udp), Some(tcp)));
        }
    }
    let udp = settings.udp.then(|| UdpPort::bind(listen).map_err(failed("UDP", listen))).transpose()?;
    let port = match &udp {
        Some(udp) => udp.bound().map_err(failed("UDP", listen))?.port(),
        None => listen.port(),
    };
    let listen = SocketAddr::new(listen.ip(), port);
    let tcp = settings.tcp.then(|| tcp::bind(listen).map_err(failed("TCP", listen))).transpose()?;
    Ok((udp, tcp))
}
