//! One client that follows: what it is told, and what ends it.

use std::sync::Arc;
use std::time::Duration;

use super::super::Api;
use crate::auth::Identity;
use crate::config::EventsConfig;
use crate::events::{Announced, EventMetrics, Place, Reader};

/// The token is looked at this often.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// At the end, for what is known already.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client went.
    Gone,
    /// The client took nothing for too long.
    Slow,
    /// The token was revoked or expired.
    Unauthorized,
    /// The client sends more than it should.
    Noisy,
    /// The server stops.
    Stopping,
}

impl End {
    const fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Slow => "slow",
            Self::Unauthorized => "unauthorized",
            Self::Noisy => "noisy",
            Self::Stopping => "stopping",
        }
    }
}

/// A client that follows.
pub(super) struct Feed {
    api: Arc<Api>,
    who: Identity,
    reader: Reader,
    metrics: EventMetrics,
    pub(super) patience: Duration,
    pub(super) heartbeat: Duration,
    _place: Place,
}

impl Feed {
    pub(super) fn new(api: &Arc<Api>, who: Identity, place: Place, reader: Reader) -> Self {
        let EventsConfig { stream_patience: patience, heartbeat, .. } = *api.delivery.config();
        let metrics = api.delivery.metrics.clone();
        Self { api: Arc::clone(api), who, reader, metrics, patience, heartbeat, _place: place }
    }

    /// The next events; dropped halfway, none is lost.
    pub(super) async fn next(&mut self) -> Vec<Arc<Announced>> {
        self.reader.next().await
    }

    /// What is known already: the last words.
    pub(super) async fn rest(&mut self) -> Vec<Arc<Announced>> {
        tokio::time::timeout(LAST_PATIENCE, self.reader.rest()).await.unwrap_or_default()
    }

    /// What ends a stream from outside.
    pub(super) fn ended(&self) -> impl Future<Output = End> + use<> {
        let (api, who) = (Arc::clone(&self.api), self.who.clone());
        async move {
            tokio::select! {
                () = api.delivery.streams.ended() => End::Stopping,
                () = token_ends(&api, &who) => End::Unauthorized,
            }
        }
    }

    /// Counts it.
    pub(super) fn end(self, end: End) {
        self.metrics.stream_ended(end.label());
    }
}

/// Resolves when the token does not hold any more. While the database is away, it is not known to.
async fn token_ends(api: &Api, who: &Identity) {
    // At once: a ticket may be younger than the end of its token.
    while !matches!(api.tokens.still_holds(who).await, Ok(false)) {
        tokio::time::sleep(CHECK_EVERY).await;
    }
}
