//! What is in the database now is the truth, and rooms follow it: after a restoration, and when a change was refused because
//! its commit was not answered, which may have happened all the same. Rooms that are gone end for everybody in them; those
//! that stay go on with their new settings.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::state::Limits;
use super::{HangUp, Left, Pins, Rooms};
use crate::error::Error;
use crate::ids::Id;

/// A restoration is noticed after this long.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why rooms are to follow the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    /// It is another one.
    Restored,
    /// It may hold a change that was refused.
    InDoubt,
}

impl Rooms {
    /// Looks whether there is something to follow, until it is dropped.
    pub async fn follow_restorations(&self) {
        let mut known = None;
        loop {
            let is_in_doubt = self.inner.journal.take_doubt();
            let followed = async {
                let generation = self.inner.store.generation().await?;
                let is_restored = known.as_ref().is_some_and(|known| *known != generation);
                if is_restored {
                    self.follow(Because::Restored).await?;
                } else if is_in_doubt {
                    self.follow(Because::InDoubt).await?;
                }
                Ok::<_, Error>(generation)
            };
            match followed.await {
                Ok(generation) => known = Some(generation),
                Err(error) => {
                    if is_in_doubt {
                        self.inner.journal.doubt();
                    }
                    tracing::debug!(%error, "the database could not be followed; trying again");
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes over what a restored database holds.
    ///
    /// # Errors
    /// `Busy` when the database is not there; nothing is changed then.
    pub async fn reload(&self) -> Result<(), Error> {
        self.follow(Because::Restored).await
    }

    async fn follow(&self, because: Because) -> Result<(), Error> {
        let gate = self.inner.policy_gate.lock().await;
        let rooms = self.inner.store.all_rooms().await?;
        let server = self.inner.store.server(self.inner.server).await?;
        let mut pins: HashMap<Id, Pins> = HashMap::new();
        for (room, number, position) in self.inner.store.all_pins().await? {
            pins.entry(room).or_default().insert(number, position);
        }
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
                let (id, settings, policy) = (room.id, &room.settings, room.policy);
                effects.extend(match because {
                    Because::Restored => state.restore(id, settings, policy, *epoch),
                    Because::InDoubt => state.adopt(id, settings, policy, *epoch, pins.remove(&id)),
                });
            }
            state.limit(Limits::from(&server));
            effects
        });
        drop(gate);
        self.inner.metrics.all_left(Left::Removed(HangUp::RoomDestroyed).label(), hung_up);
        tracing::warn!(
            ?because,
            rooms = rooms.len(),
            participants_hung_up_on = hung_up,
            "rooms follow what is in the database"
        );
        Ok(())
    }
}
