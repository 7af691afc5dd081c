//! What the API does to rooms and to those in them. A change is on the disk before it is in force, and in force before it
//! is answered. Callers run these to the end: a future that is dropped halfway would leave one without the other.

use super::{HangUp, Left, ParticipantId, Policy, RoomRecord, RoomSettings, Rooms};
use crate::error::Error;
use crate::ids::Id;
use crate::store;

/// Bytes of a room's join token.
const TOKEN_BYTES: usize = 24;

impl Rooms {
    /// Makes a room.
    ///
    /// # Errors
    /// `InUse` when its extension is taken.
    pub async fn create_room(&self, settings: RoomSettings) -> Result<RoomRecord, Error> {
        let room = RoomRecord {
            id: self.inner.store.ids().next(),
            settings,
            token: crate::auth::random_text(TOKEN_BYTES)?,
            created_at: store::now(),
            policy: Policy::default(),
        };
        let _gate = self.inner.policy_gate.lock().await;
        let mut entry = self.inner.journal.change().await?;
        entry.insert_room(&room).await?;
        entry.commit().await?;
        self.state().know(room.id, &room.settings, room.policy, 0);
        Ok(room)
    }

    /// Lets `change` make new settings of the present ones.
    ///
    /// # Errors
    /// `NotFound`, and what `change` refuses.
    pub async fn update_room(
        &self,
        room: Id,
        change: impl FnOnce(RoomSettings) -> Result<RoomSettings, Error> + Send,
    ) -> Result<(), Error> {
        let _gate = self.inner.policy_gate.lock().await;
        let mut entry = self.inner.journal.change().await?;
        let updated = entry.update_room(room, change).await?;
        entry.commit().await?;
        self.state().update(room, &updated.settings);
        Ok(())
    }

    /// Ends the room: its participants are hung up on, its recording is finished, its row goes. Its recordings stay,
    /// unless the configuration says otherwise.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn destroy_room(&self, room: Id) -> Result<(), Error> {
        {
            let _gate = self.inner.policy_gate.lock().await;
            let mut entry = self.inner.journal.change().await?;
            entry.delete_room(room).await?;
            entry.commit().await?;
            let mut hung_up = 0;
            self.change(|state| {
                hung_up = state.room(room).map_or(0, |known| known.participants().len());
                state.forget(room)
            });
            for _ in 0..hung_up {
                self.inner.metrics.left(Left::Removed(HangUp::RoomDestroyed).label());
            }
        }
        if self.inner.recordings.delete_with_room {
            for recording in self.inner.store.ended_recordings_of(room).await? {
                self.destroy_recording_file(&recording).await?;
            }
        }
        Ok(())
    }

    /// Mutes or unmutes a room: everyone but the chairman now, and those who come later.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn mute_room(&self, room: Id, muted: bool) -> Result<(), Error> {
        let _gate = self.inner.policy_gate.lock().await;
        self.hold(room, |policy| policy.muted = muted).await?;
        self.change(|state| {
            state.mute_room(room, muted);
            Vec::new()
        });
        Ok(())
    }

    /// Locks or unlocks a room: nobody new comes in.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn lock_room(&self, room: Id, locked: bool) -> Result<(), Error> {
        let _gate = self.inner.policy_gate.lock().await;
        self.hold(room, |policy| policy.locked = locked).await?;
        self.state().lock_room(room, locked);
        Ok(())
    }

    /// Writes a policy to the store before it is in force. Call it with the gate held.
    async fn hold(&self, room: Id, set: impl FnOnce(&mut Policy)) -> Result<(), Error> {
        let mut holding = self.state().holding(room, self.inner.server).ok_or(Error::NotFound("room"))?;
        set(&mut holding.policy);
        let mut entry = self.inner.journal.change().await?;
        entry.hold(&[holding]).await?;
        entry.commit().await
    }

    /// Mutes or unmutes somebody.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room.
    pub fn mute_participant(&self, room: Id, participant: ParticipantId, muted: bool) -> Result<(), Error> {
        let mut found = Err(Error::NotFound("participant"));
        self.change(|state| {
            if state.is_in(participant, room) {
                state.mute(participant, muted);
                found = Ok(());
            }
            Vec::new()
        });
        found
    }

    /// Hangs up on somebody.
    ///
    /// # Errors
    /// `NotFound`, also when they are in another room.
    pub fn remove_participant(&self, room: Id, participant: ParticipantId) -> Result<(), Error> {
        let why = HangUp::RemovedByOperator;
        let mut found = false;
        self.change(|state| {
            let is_here = state.is_in(participant, room);
            let effects = is_here.then(|| state.remove(participant, Some(why), true)).flatten();
            found = effects.is_some();
            effects.unwrap_or_default()
        });
        if !found {
            return Err(Error::NotFound("participant"));
        }
        self.inner.metrics.left(Left::Removed(why).label());
        tracing::info!(participant = participant.0, why = why.label(), "left");
        Ok(())
    }
}
