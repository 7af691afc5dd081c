//! SIP over WebSocket (RFC 7118): connections that the API's port has taken and upgraded, each as a flow. One task reads each;
//! the API writes what `next` gives. Knows no HTTP and no frames: a message comes whole.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::address::Transport;
use super::admission::TcpPlace;
use super::flow::{Flow, Outbox, canonical};
use super::ingress::Stack;
use super::wire::{self, Frame};

/// Messages of one browser that wait to be read; one that sends more at once is cut off.
const INBOX: usize = 32;
const _: () = assert!(INBOX * wire::MAX_MESSAGE_BYTES <= 1 << 20);

/// Where upgraded connections are handed over. Cheap to clone; empty until SIP runs.
#[derive(Clone, Debug, Default)]
pub struct SocketDoor(Arc<OnceLock<Arc<Stack>>>);

/// One connection.
#[derive(Debug)]
pub struct SocketEnd {
    messages: mpsc::Sender<Vec<u8>>,
    outbox: Outbox,
    stack: Arc<Stack>,
    _place: TcpPlace,
}

impl SocketDoor {
    /// The largest message, in bytes.
    pub const MAX_MESSAGE_BYTES: usize = wire::MAX_MESSAGE_BYTES;

    /// From now on connections are taken.
    pub(super) fn open(&self, stack: &Arc<Stack>) {
        // Once only: a second stack in one process is a test's, with a door of its own.
        let _ = self.0.set(Arc::clone(stack));
    }

    /// Takes a connection from `peer`. `None`: there are too many, or SIP does not run.
    pub async fn accept(&self, peer: SocketAddr, is_secure: bool) -> Option<SocketEnd> {
        let stack = Arc::clone(self.0.get().filter(|stack| !stack.closing.is_cancelled())?);
        let peer = canonical(peer);
        let Some(place) = stack.admission.tcp_place(peer.ip()) else {
            stack.metrics.dropped("ws_limit");
            return None;
        };
        let transport = if is_secure { Transport::Wss } else { Transport::Ws };
        let closed = stack.closing.child_token();
        let (flow, outbox) = Flow::stream(transport, stack.bound(), peer, closed).await.ok()?;
        let (messages, inbox) = mpsc::channel(INBOX);
        stack.metrics.ws_connections.inc();
        let reader = tokio::spawn(read(Arc::clone(&stack), flow, inbox));
        let (watched, closed) = (Arc::clone(&stack), outbox.closed.clone());
        tokio::spawn(async move {
            if reader.await.is_err_and(|e| e.is_panic()) {
                watched.metrics.panicked();
                closed.cancel();
            }
        });
        Some(SocketEnd { messages, outbox, stack, _place: place })
    }
}

impl SocketEnd {
    /// A message came, or a keep-alive. False: the connection is to be closed, for its browser sends more than can be read.
    pub fn push(&self, message: Vec<u8>) -> bool {
        match self.messages.try_send(message) {
            Ok(()) => true,
            Err(_) => {
                self.stack.metrics.dropped("ws_flood");
                false
            }
        }
    }

    /// The next message for the browser; `None` when the connection is to be closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.outbox.next().await
    }
}

impl Drop for SocketEnd {
    fn drop(&mut self) {
        // Calls on it end: there is no other way to a browser.
        self.outbox.closed.cancel();
        self.stack.metrics.ws_connections.dec();
    }
}

async fn read(stack: Arc<Stack>, flow: Flow, mut inbox: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = inbox.recv().await {
        match wire::frame(&message) {
            // RFC 5626 §3.5.1: a client that says two line ends wants one back.
            Frame::Ping(n) if n == message.len() => {
                flow.reply(b"\r\n".to_vec(), flow.peer).await;
            }
            Frame::Skip(n) if n == message.len() => {}
            // A message ends where its frame does (RFC 7118 §4); Content-Length is checked as on UDP.
            _ => stack.receive(&message, &flow).await,
        }
    }
}
