//! SIP over TCP (RFC 3261 §18): accepted and opened connections, one reader and one writer task each. Bounded in number,
//! in bytes and in time, so that slow or silent peers cost little and soon nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::address::Transport;
use super::admission::TcpPlace;
use super::flow::{Flow, Outbox, canonical};
use super::ingress::Stack;
use super::wire::{self, Frame, MAX_MESSAGE_BYTES};

/// From connecting to the first whole message, and from the first byte of a message to its last.
const MESSAGE_TIME: Duration = Duration::from_secs(15);
/// Without any byte, while no dialog uses the connection.
const IDLE_TIME: Duration = Duration::from_secs(300);
/// A peer that takes nothing for so long is cut.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Opening a connection of our own.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// After an error of `accept` (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// Binds with the address free at once after a restart.
pub(super) fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let domain = if listen.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the stack closes.
pub(super) async fn accept(stack: Arc<Stack>, listener: Arc<TcpListener>) {
    loop {
        let accepted = tokio::select! {
            () = stack.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, canonical(peer)),
            Err(error) => {
                stack.metrics.dropped("tcp_accept");
                debug!(%error, "SIP TCP accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = stack.admission.tcp_place(peer.ip()) else {
            stack.metrics.dropped("tcp_limit");
            continue;
        };
        if let Err(error) = run(&stack, stream, peer, place).await {
            stack.metrics.dropped("tcp_accept");
            debug!(%error, %peer, "SIP TCP connection refused");
        }
    }
}

/// Opens a connection to `peer` for a request of our own.
pub(super) async fn connect(stack: &Arc<Stack>, peer: SocketAddr) -> std::io::Result<Flow> {
    let place = stack.admission.tcp_place(peer.ip()).ok_or_else(|| std::io::Error::other("too many connections"))?;
    let stream = timeout(CONNECT_TIME, TcpStream::connect(peer)).await??;
    run(stack, stream, canonical(peer), place).await
}

/// Peers that connections are kept to at once: trunks and their addresses. Idle ones make room.
const MAX_LINKS: usize = 256;
/// Those who waited for a connection that failed do not try it again one after the other.
const FAILURE_HOLDS: Duration = Duration::from_secs(2);

/// Connections of our own to peers that many requests go to; at most one for each.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<HashMap<SocketAddr, Arc<tokio::sync::Mutex<Link>>>>);

#[derive(Debug, Default)]
struct Link {
    flow: Option<Flow>,
    failed: Option<Instant>,
}

impl Links {
    fn to(&self, peer: SocketAddr) -> Arc<tokio::sync::Mutex<Link>> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= MAX_LINKS {
            let in_use = |link: &Link| link.flow.as_ref().is_some_and(Flow::is_open);
            links.retain(|_, link| link.try_lock().map_or(true, |link| in_use(&link)));
        }
        Arc::clone(links.entry(peer).or_default())
    }
}

/// The connection to `peer`, opened if there is none. Others who want the same one meanwhile wait for it.
pub(super) async fn link(stack: &Arc<Stack>, peer: SocketAddr) -> std::io::Result<Flow> {
    let link = stack.links.to(peer);
    let mut link = link.lock().await;
    if let Some(flow) = link.flow.as_ref().filter(|flow| flow.is_open()) {
        return Ok(flow.clone());
    }
    if link.failed.is_some_and(|at| at.elapsed() < FAILURE_HOLDS) {
        return Err(std::io::Error::other("connecting failed a moment ago"));
    }
    let connected = connect(stack, peer).await;
    link.failed = connected.is_err().then(Instant::now);
    link.flow = connected.as_ref().ok().cloned();
    connected
}

/// Starts the two tasks of a connection.
async fn run(stack: &Arc<Stack>, stream: TcpStream, peer: SocketAddr, place: TcpPlace) -> std::io::Result<Flow> {
    stream.set_nodelay(true)?;
    let local = canonical(stream.local_addr()?);
    let (flow, outbox) = Flow::stream(Transport::Tcp, local, peer, stack.closing.child_token()).await?;
    let (read_half, write_half) = stream.into_split();
    let closed = outbox.closed.clone();
    stack.metrics.tcp_connections.inc();
    tokio::spawn(write(write_half, outbox));
    let reader = tokio::spawn(read(Arc::clone(stack), read_half, flow.clone(), closed.clone()));
    let stack = Arc::clone(stack);
    tokio::spawn(async move {
        if reader.await.is_err_and(|e| e.is_panic()) {
            stack.metrics.panicked();
        }
        closed.cancel();
        stack.metrics.tcp_connections.dec();
        drop(place);
    });
    Ok(flow)
}

async fn read(stack: Arc<Stack>, mut half: OwnedReadHalf, flow: Flow, closed: tokio_util::sync::CancellationToken) {
    let mut buffer: Vec<u8> = Vec::new();
    let mut last_message = Instant::now();
    let mut heard = false;
    loop {
        let mut at = 0;
        loop {
            let rest = buffer.get(at..).unwrap_or_default();
            match wire::frame(rest) {
                Frame::Incomplete => break,
                Frame::Skip(n) => at += n,
                Frame::Ping(n) => {
                    at += n;
                    heard = true;
                    flow.reply(b"\r\n".to_vec(), flow.peer).await;
                }
                Frame::Message(n) => {
                    let message = rest.get(..n).unwrap_or_default();
                    heard = true;
                    stack.receive(message, &flow).await;
                    at += n;
                }
                Frame::TooLarge => return stack.metrics.dropped("too_large"),
                Frame::Broken => return stack.metrics.dropped("malformed"),
            }
            last_message = Instant::now();
        }
        buffer.drain(..at);
        if buffer.is_empty() {
            buffer.shrink_to(READ_BYTES);
        }
        let torn = !buffer.is_empty() || !heard;
        let patience = if torn { MESSAGE_TIME } else { IDLE_TIME };
        debug_assert!(buffer.len() <= MAX_MESSAGE_BYTES + READ_BYTES, "a larger one is cut");
        buffer.reserve(READ_BYTES);
        let got = tokio::select! {
            () = closed.cancelled() => return,
            got = timeout_at(last_message + patience, half.read_buf(&mut buffer)) => got,
        };
        match got {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) if !torn => last_message = Instant::now(),
            Ok(Ok(_)) => {}
            // A call may be silent for hours on its connection.
            Err(_) if !torn && flow.is_shared() => last_message = Instant::now(),
            Err(_) => return stack.metrics.dropped(if torn { "tcp_slow" } else { "tcp_idle" }),
        }
    }
}

async fn write(mut half: OwnedWriteHalf, mut outbox: Outbox) {
    while let Some(bytes) = outbox.next().await {
        if !matches!(timeout(WRITE_TIME, half.write_all(&bytes)).await, Ok(Ok(()))) {
            break;
        }
    }
    outbox.closed.cancel();
    let _ = timeout(WRITE_TIME, half.shutdown()).await;
}
