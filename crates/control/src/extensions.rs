//! The extensions that there are, for whoever registers them: looked up again and again, as another server on the same database
//! may make and destroy rooms too. Runs in a task of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::store::Store;

/// A new room can be called over the PBX after this time at the latest; one query by an index, of a few thousand rows at most.
const EVERY: Duration = Duration::from_secs(2);

/// Keeps `known` in step with the rooms for ever. While the database is away it stays as it is.
pub(crate) async fn follow(store: Store, known: watch::Sender<Arc<BTreeSet<String>>>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match store.extensions().await {
            Ok(found) => {
                known.send_if_modified(|known| {
                    let changed = **known != found;
                    if changed {
                        *known = Arc::new(found);
                    }
                    changed
                });
            }
            Err(error) => tracing::debug!(%error, "extensions cannot be looked up"),
        }
    }
}
