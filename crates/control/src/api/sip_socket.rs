//! `/ws`: SIP over WebSocket (RFC 7118) on the API's port. Here a connection gets and loses its frames; what is in them is SIP's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::Api;
use super::origin::{Origin, Peer};
use crate::error::Error;
use crate::sip::{SocketDoor, SocketEnd};

/// The subprotocol that a client must name (RFC 7118 §4.1).
const SIP: &str = "sip";
/// A browser that is silent is asked whether it is there; a call may be silent for hours.
const PING: Duration = Duration::from_secs(25);
/// Pings without an answer, after which it is gone.
const UNANSWERED_PINGS: u32 = 2;
/// A browser that takes nothing for so long is cut.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// For the last frame of all, and the client's answer to it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// `GET /ws`
pub(super) async fn upgrade(
    State(api): State<Arc<Api>>,
    Origin(from): Origin,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    if !api.serves_browsers {
        return Err(Error::NotFound("path"));
    }
    let broken = |why: &str| Error::invalid("", format!("this is no WebSocket handshake for SIP: {why}"));
    let upgrade = upgrade.map_err(|rejection| broken(&rejection.body_text()))?;
    let upgrade = upgrade.protocols([SIP]);
    if upgrade.selected_protocol().is_none() {
        return Err(broken("Sec-WebSocket-Protocol must name sip"));
    }
    let (port, is_secure) =
        peer.map_or((0, false), |Extension(ConnectInfo(peer))| (peer.address.port(), peer.is_secure));
    let end = api.sip_sockets.accept(SocketAddr::new(from, port), is_secure).await;
    let end = end.ok_or_else(|| Error::Busy("too many connections, or signalling does not run".into()))?;
    let longest = SocketDoor::MAX_MESSAGE_BYTES;
    let upgrade = upgrade.max_message_size(longest).max_frame_size(longest).read_buffer_size(4096).write_buffer_size(0);
    Ok(upgrade.max_write_buffer_size(4 * longest).on_upgrade(|socket| serve(socket, end)))
}

async fn serve(mut socket: WebSocket, mut end: SocketEnd) {
    let code = carry(&mut socket, &mut end).await;
    let close = async {
        // When the client said it first, this fails, and reading sends the answer to that.
        let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
        while let Some(Ok(_)) = socket.recv().await {}
    };
    // A client that is gone or does not read is not waited for.
    let _ = timeout(CLOSE_PATIENCE, close).await;
}

/// Until something ends it; why.
async fn carry(socket: &mut WebSocket, end: &mut SocketEnd) -> u16 {
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;
    loop {
        let outgoing = tokio::select! {
            message = socket.recv() => {
                let message = match message {
                    Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                    Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                        unanswered = 0;
                        continue;
                    }
                    None | Some(Err(_) | Ok(Message::Close(_))) => return close_code::NORMAL,
                };
                unanswered = 0;
                if !end.push(message) {
                    return close_code::POLICY;
                }
                continue;
            }
            message = end.next() => match message {
                // As text when it is one: some clients read no other.
                Some(bytes) => match String::from_utf8(bytes) {
                    Ok(text) => Message::text(text),
                    Err(error) => Message::binary(error.into_bytes()),
                },
                None => return close_code::AWAY,
            },
            _ = ping.tick() => {
                if unanswered >= UNANSWERED_PINGS {
                    return close_code::NORMAL;
                }
                unanswered += 1;
                Message::Ping(Bytes::new())
            }
        };
        if !matches!(timeout(WRITE_TIME, socket.send(outgoing)).await, Ok(Ok(()))) {
            return close_code::NORMAL;
        }
    }
}
