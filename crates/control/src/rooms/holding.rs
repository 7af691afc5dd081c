//! Housekeeping: what the state remembers for the store and the engine is brought there. A task of its own, which sleeps
//! while there is nothing: an idle room costs nothing. Also the way out, at the end of the process.

use std::time::Duration;

use super::{HangUp, Left, RETRY, Rooms};
use crate::error::Error;

/// Between attempts to reach a database that is away.
const STORE_RETRY: Duration = Duration::from_secs(1);

impl Rooms {
    /// Runs until it is dropped.
    pub async fn keep_house(&self) {
        loop {
            self.inner.housekeeping.notified().await;
            while self.state().needs_housekeeping() {
                self.change(|_| Vec::new());
                if let Err(error) = self.keep().await {
                    tracing::warn!(%error, "what rooms hold could not be kept; trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
                if !self.state().is_settled() {
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Brings policies, positions and owners to the store.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written; it is remembered.
    pub async fn keep(&self) -> Result<(), Error> {
        let _gate = self.inner.policy_gate.lock().await;
        let (holdings, pins) = {
            let mut state = self.state();
            let holdings = state.take_unkept(self.inner.server);
            let pins: Vec<_> = holdings.iter().map(|holding| (holding.room, state.pins(holding.room))).collect();
            (holdings, pins)
        };
        if holdings.is_empty() {
            return Ok(());
        }
        let kept = async {
            let mut entry = self.inner.journal.change().await?;
            entry.hold(&holdings).await?;
            for (room, pins) in &pins {
                entry.hold_pins(*room, pins).await?;
            }
            entry.commit().await
        };
        let kept = kept.await;
        if kept.is_err() {
            self.state().keep_again(&holdings);
        }
        kept
    }

    /// No new calls from now on.
    pub fn drain(&self) {
        self.state().drain();
    }

    /// Resolves when nobody is in any room or on the way in.
    pub async fn empty(&self) {
        let mut seats = self.inner.seats.subscribe();
        // The sender lives as long as we do.
        drop(seats.wait_for(|seats| *seats == 0).await);
    }

    /// Hangs up on everyone; nobody comes in any more.
    pub fn hang_up_all(&self) {
        let mut hung_up = 0;
        self.change(|state| {
            hung_up = state.participant_count();
            state.close()
        });
        self.inner.metrics.all_left(Left::Removed(HangUp::Draining).label(), hung_up);
    }

    /// Resolves when every recording that ran has its end in the store.
    pub async fn recordings_ended(&self) {
        let mut open = self.inner.recordings_open.subscribe();
        drop(open.wait_for(|open| *open == 0).await);
    }
}
