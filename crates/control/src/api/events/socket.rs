//! Events over a WebSocket (RFC 6455): one text frame for each. What a client sends is not read, but for its pongs; it may
//! send little.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::feed::{End, Feed};
use crate::events::Announced;

/// A client that answers so many pings with nothing is gone.
const UNANSWERED_PINGS: u32 = 3;
/// A client's message, and how many of them between two pings.
const MAX_MESSAGE_BYTES: usize = 4096;
const MAX_MESSAGES: u32 = 100;
/// For the last frame of all, and the client's answer to it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// With buffers that fit what a client may send.
pub(super) fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(MAX_MESSAGE_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 20)
}

/// Until something ends it.
pub(super) async fn serve(mut socket: WebSocket, mut feed: Feed) {
    let ended = feed.ended();
    let mut end = tokio::select! {
        end = follow(&mut socket, &mut feed) => end,
        end = ended => end,
    };
    if end == End::Stopping {
        let events = feed.rest().await;
        end = tell(&mut socket, feed.patience, &events).await.err().unwrap_or(end);
    }
    // A client that is gone or does not read is not waited for.
    let _ = timeout(CLOSE_PATIENCE, close(socket, end)).await;
    feed.end(end);
}

async fn follow(socket: &mut WebSocket, feed: &mut Feed) -> End {
    let mut ping = tokio::time::interval_at(Instant::now() + feed.heartbeat, feed.heartbeat);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut messages) = (Instant::now(), 0);
    loop {
        let told = tokio::select! {
            message = socket.recv() => {
                messages += 1;
                match message {
                    None | Some(Err(_) | Ok(Message::Close(_))) => Err(End::Gone),
                    Some(Ok(_)) if messages > MAX_MESSAGES => Err(End::Noisy),
                    Some(Ok(Message::Pong(_))) => {
                        heard = Instant::now();
                        Ok(())
                    }
                    Some(Ok(_)) => Ok(()),
                }
            }
            _ = ping.tick() => {
                messages = 0;
                match heard.elapsed() < feed.heartbeat * UNANSWERED_PINGS {
                    true => send(socket, feed.patience, Message::Ping(Bytes::new())).await,
                    false => Err(End::Gone),
                }
            }
            events = feed.next() => tell(socket, feed.patience, &events).await,
        };
        if let Err(end) = told {
            return end;
        }
    }
}

async fn tell(socket: &mut WebSocket, patience: Duration, events: &[Arc<Announced>]) -> Result<(), End> {
    for event in events {
        send(socket, patience, Message::text(event.json.as_str())).await?;
    }
    Ok(())
}

async fn send(socket: &mut WebSocket, patience: Duration, message: Message) -> Result<(), End> {
    match timeout(patience, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Slow),
    }
}

/// Says why, and waits for the client to say good-bye too (RFC 6455 §7.1.2).
async fn close(mut socket: WebSocket, end: End) {
    let (code, reason) = match end {
        End::Gone => (close_code::NORMAL, ""),
        End::Slow => (close_code::POLICY, "events were not taken in time"),
        End::Unauthorized => (close_code::POLICY, "the token does not hold any more"),
        End::Noisy => (close_code::POLICY, "too many messages"),
        End::Stopping => (close_code::AWAY, "the server is stopping"),
    };
    // When the client said it first, this fails, and reading sends the answer to that.
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    while let Some(Ok(_)) = socket.recv().await {}
}
