//! After a restoration: what is in the database now is the truth, and rooms follow it. Those that are gone end for
//! everybody in them; those that stay go on with their new settings.

use std::collections::HashSet;
use std::time::Duration;

use super::state::Limits;
use super::{HangUp, Left, Rooms};
use crate::error::Error;
use crate::ids::Id;

/// A restoration is noticed after this long.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Rooms {
    /// Looks whether the database was restored, until it is dropped.
    pub async fn follow_restorations(&self) {
        let mut known = None;
        loop {
            match self.inner.store.generation().await {
                Ok(generation) => match known.replace(generation.clone()) {
                    Some(before) if before != generation => {
                        if let Err(error) = self.reload().await {
                            tracing::warn!(%error, "the restored database could not be read; trying again");
                            known = Some(before);
                        }
                    }
                    _ => {}
                },
                Err(error) => tracing::debug!(%error, "not known whether the database was restored"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes over what the database holds.
    ///
    /// # Errors
    /// `Busy` when the database is not there; nothing is changed then.
    pub async fn reload(&self) -> Result<(), Error> {
        let gate = self.inner.policy_gate.lock().await;
        let rooms = self.inner.store.all_rooms().await?;
        let server = self.inner.store.server(self.inner.server).await?;
        let present: HashSet<Id> = rooms.iter().map(|(room, _)| room.id).collect();
        let mut hung_up = 0;
        self.change(|state| {
            let gone: Vec<Id> = state.ids().filter(|id| !present.contains(id)).collect();
            let mut effects = Vec::new();
            for id in &gone {
                hung_up += state.room(*id).map_or(0, |known| known.participants().len());
                effects.extend(state.forget(*id));
            }
            for (room, epoch) in &rooms {
                state.restore(room.id, &room.settings, room.policy, *epoch);
            }
            state.limit(Limits::from(&server));
            effects
        });
        drop(gate);
        for _ in 0..hung_up {
            self.inner.metrics.left(Left::Removed(HangUp::RoomDestroyed).label());
        }
        tracing::warn!(
            rooms = rooms.len(),
            participants_hung_up_on = hung_up,
            "the database was restored; rooms follow it"
        );
        Ok(())
    }
}
