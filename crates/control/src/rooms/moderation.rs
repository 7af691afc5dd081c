//! What the API does to those who are in rooms. Live facts change under the lock and are noted there; all of it is refused
//! while the database is away, so that nothing happens that is not announced. Callers run these to the end.

use std::time::Instant;

use super::state::{Effect, State};
use super::tiles::{Moves, Tiles};
use super::{HangUp, Left, ParticipantId, Rooms};
use crate::error::Error;
use crate::ids::Id;

impl Rooms {
    /// Mutes or unmutes somebody.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room; `Busy` when the database cannot be written.
    pub async fn mute_participant(&self, room: Id, participant: ParticipantId, muted: bool) -> Result<(), Error> {
        let set = |state: &mut State| state.takes_part(participant).then(|| state.mute(participant, muted));
        self.moderate(room, participant, set).await
    }

    /// Makes somebody the chairman; whoever was it is it no more.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room; `Busy` when the database cannot be written.
    pub async fn appoint_chairman(&self, room: Id, participant: ParticipantId) -> Result<(), Error> {
        self.moderate(room, participant, |state| state.takes_part(participant).then(|| state.appoint(participant)))
            .await
    }

    /// Hangs up on somebody.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room; `Busy` when the database cannot be written.
    pub async fn remove_participant(&self, room: Id, participant: ParticipantId) -> Result<(), Error> {
        let why = HangUp::RemovedByOperator;
        let remove = |state: &mut State| state.remove(participant, Left::Removed(why), Some(why), true);
        self.moderate(room, participant, remove).await?;
        self.inner.metrics.left(Left::Removed(why).label());
        tracing::info!(participant = participant.0, why = why.label(), "left");
        Ok(())
    }

    /// A change of somebody live. `None` says that they are not there.
    async fn moderate(
        &self,
        room: Id,
        participant: ParticipantId,
        change: impl FnOnce(&mut State) -> Option<Vec<Effect>> + Send,
    ) -> Result<(), Error> {
        let entry = self.inner.journal.change().await?;
        let mut found = false;
        self.change(|state| {
            let effects = if state.is_in(participant, room) { change(state) } else { None };
            found = effects.is_some();
            effects.unwrap_or_default()
        });
        if !found {
            return Err(Error::NotFound("participant"));
        }
        // What was noted goes along. It is true by now: what cannot be written waits in the journal.
        if let Err(error) = entry.commit().await {
            tracing::warn!(%error, "a change in a room is written later");
        }
        Ok(())
    }

    /// Pins somebody to a tile, or hides them (`HIDDEN`). Whoever is there gets the tile that is given up for it.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room; `Busy` when the database cannot be written.
    pub async fn place_participant(&self, room: Id, participant: ParticipantId, position: i8) -> Result<(), Error> {
        self.participant_is_in(room, participant)?;
        self.retile(room, |tiles, _, now| tiles.place(participant, position, now)).await
    }

    /// Pins participants to the tiles of their places in the list; all others come after them, in the order in which they
    /// joined.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when one is named twice or is not in the room; `Busy` when the database cannot be written.
    pub async fn arrange_participants(&self, room: Id, named: &[ParticipantId]) -> Result<(), Error> {
        self.retile(room, |tiles, joined, now| tiles.arrange(named, joined, now)).await
    }

    /// Positions are in the store before they are in force: the change is tried on a copy first.
    async fn retile(
        &self,
        room: Id,
        change: impl Fn(&mut Tiles, &[ParticipantId], Instant) -> Result<Moves, Error> + Send,
    ) -> Result<(), Error> {
        let _gate = self.gate().await?;
        let pins = {
            let state = self.state();
            let known = state.room(room).ok_or(Error::NotFound("room"))?;
            let mut tiles = known.tiles.clone();
            change(&mut tiles, &known.joined(), Instant::now())?;
            tiles.pins()
        };
        let mut entry = self.inner.journal.change().await?;
        entry.hold_pins(room, &pins).await?;
        entry.commit().await?;
        let mut changed = Ok(());
        self.change(|state| {
            changed = state.retile(room, &pins, change);
            Vec::new()
        });
        self.note_down().await;
        changed
    }

    /// Whether there is such a room.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn is_known(&self, room: Id) -> Result<(), Error> {
        self.state().room(room).map(|_| ()).ok_or(Error::NotFound("room"))
    }

    /// Whether somebody is in a room.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room.
    pub fn participant_is_in(&self, room: Id, participant: ParticipantId) -> Result<(), Error> {
        if self.state().is_in(participant, room) { Ok(()) } else { Err(Error::NotFound("participant")) }
    }
}
