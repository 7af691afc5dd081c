//! Whether the database server is there. While it is not, whoever needs it is told so at once, and does not wait in a queue
//! for a connection that does not come; a task looks until it is back. A SQLite file is always there.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};

use crate::error::Error;

/// When a connection takes longer than this, somebody looks whether there is anything to wait for.
const DOUBT: Duration = Duration::from_millis(250);
/// How long a server may take to greet: one on a busy machine is not away. One that has ended refuses at once.
const PATIENCE: Duration = Duration::from_secs(3);
/// What was seen so lately is not looked at again.
const FRESH: Duration = Duration::from_secs(1);
/// Between looks while it is away.
const LOOK_EVERY: Duration = Duration::from_millis(250);

const AWAY: Error = Error::Busy(std::borrow::Cow::Borrowed("the database is not available now"));

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Presence(Option<Arc<Server>>);

#[derive(Debug)]
struct Server {
    options: AnyConnectOptions,
    is_away: AtomicBool,
    /// When it was last seen. Locked by who looks: one does for all.
    seen: tokio::sync::Mutex<Option<Instant>>,
}

impl Presence {
    /// Of a file.
    pub(super) const fn always() -> Self {
        Self(None)
    }

    /// Of the server that these lead to.
    pub(super) fn of(options: AnyConnectOptions) -> Self {
        Self(Some(Arc::new(Server { options, is_away: AtomicBool::new(false), seen: tokio::sync::Mutex::default() })))
    }

    /// Waits for a connection as long as there is a database to connect to.
    ///
    /// # Errors
    /// `Busy` when there is none, or it has none to give in time.
    pub(super) async fn wait_for<T>(
        &self,
        connection: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        let Some(server) = &self.0 else { return Ok(connection.await?) };
        if server.is_away.load(Ordering::Relaxed) {
            return Err(AWAY);
        }
        let mut connection = pin!(connection);
        if let Ok(connection) = tokio::time::timeout(DOUBT, &mut connection).await {
            return Ok(connection?);
        }
        tokio::select! {
            connection = &mut connection => return Ok(connection?),
            is_there = server.is_there() => if !is_there {
                return Err(AWAY);
            }
        }
        // It is busy, no more.
        Ok(connection.await?)
    }
}

impl Server {
    /// Looks to the end, for the others, even if who asks does not wait for it.
    async fn is_there(self: &Arc<Self>) -> bool {
        let server = Arc::clone(self);
        let looked = tokio::spawn(async move { server.is_seen().await });
        looked.await.unwrap_or(true)
    }

    async fn is_seen(self: &Arc<Self>) -> bool {
        let mut seen = self.seen.lock().await;
        if self.is_away.load(Ordering::Relaxed) {
            return false;
        }
        if seen.is_some_and(|seen| seen.elapsed() < FRESH) {
            return true;
        }
        match self.look().await {
            Ok(()) => {
                *seen = Some(Instant::now());
                true
            }
            Err(reason) => {
                tracing::error!(reason, "the database is away");
                self.is_away.store(true, Ordering::Relaxed);
                self.watch();
                false
            }
        }
    }

    /// Until it is back, or nobody needs it any more.
    fn watch(self: &Arc<Self>) {
        let server = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(server) = server.upgrade() else { return };
                if server.look().await.is_ok() {
                    server.is_away.store(false, Ordering::Relaxed);
                    tracing::info!("the database is back");
                    return;
                }
            }
        });
    }

    async fn look(&self) -> Result<(), String> {
        let look = async { AnyConnection::connect_with(&self.options).await?.close().await };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(seen) => seen.map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn nobody_waits_for_a_server_that_is_not_there() {
        sqlx::any::install_default_drivers();
        let url = format!("postgres://conclave@127.0.0.1:{}/conclave", testkit::ports::one());
        let presence = Presence::of(url.parse().unwrap());
        let begun = Instant::now();
        assert_eq!(presence.wait_for(pending::<Result<(), _>>()).await, Err(AWAY));
        let first = begun.elapsed();
        assert!(first >= DOUBT && first < DOUBT + PATIENCE, "{first:?}");
        let mut asked = std::pin::pin!(presence.wait_for(pending::<Result<(), _>>()));
        let at_once = std::future::poll_fn(|task| std::task::Poll::Ready(asked.as_mut().poll(task))).await;
        assert_eq!(at_once, std::task::Poll::Ready(Err(AWAY)));
    }

    #[tokio::test]
    async fn busy_database_is_waited_for() {
        let (_place, store) = testing::store().await;
        let all = store.hold_readers().await;
        let mut ping = std::pin::pin!(store.ping());
        assert!(tokio::time::timeout(DOUBT * 3, &mut ping).await.is_err(), "nobody has a connection to give");
        drop(all);
        ping.await.unwrap();
        store.ping().await.unwrap();
    }
}
