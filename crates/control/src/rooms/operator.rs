//! What the API does to rooms; `moderation` has what it does to those in them. A change is on the disk before it is in
//! force, and in force before it is answered. Callers run these to the end: a future that is dropped halfway would leave
//! one without the other.

use super::state::data_of;
use super::{HangUp, Left, Policy, RoomRecord, RoomSettings, Rooms};
use crate::error::Error;
use crate::events::{Kind, NewEvent};
use crate::ids::Id;
use crate::prompts::Phrase;
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
        let _gate = self.gate().await?;
        if self.state().is_lobby(&room.settings.extension_number) {
            return Err(Error::InUse("extension_number is the lobby's number".into()));
        }
        let mut entry = self.inner.journal.change().await?;
        entry.insert_room(&room).await?;
        entry.note(announced(&room, Kind::RoomCreated, room.policy));
        self.inner.invitations.created(&mut entry, &room).await?;
        entry.commit().await?;
        self.inner.invitations.committed();
        self.state().know(room.id, &room.settings, room.policy, 0);
        self.inner.meetings.notify_one();
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
        let _gate = self.gate().await?;
        let mut entry = self.inner.journal.change().await?;
        let mut before = None;
        let keep_before = |settings: RoomSettings| change(before.insert(settings).clone());
        let updated = entry.update_room(room, keep_before).await?;
        let policy = self.state().room(room).map_or(updated.policy, |known| known.policy);
        entry.note(announced(&updated, Kind::RoomUpdated, policy));
        if let Some(before) = &before {
            self.inner.invitations.updated(&mut entry, before, &updated).await?;
        }
        entry.commit().await?;
        self.inner.invitations.committed();
        self.change(|state| state.update(room, &updated.settings));
        self.inner.meetings.notify_one();
        self.note_down().await;
        Ok(())
    }

    /// Gives the room another join token, which it returns: the link so far leads nowhere, and personal tokens are worth nothing.
    /// Whoever is in stays in.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn renew_token(&self, room: Id) -> Result<String, Error> {
        let token = crate::auth::random_text(TOKEN_BYTES)?;
        let _gate = self.gate().await?;
        let mut entry = self.inner.journal.change().await?;
        let renewed = entry.renew_room_token(room, &token).await?;
        let policy = self.state().room(room).map_or(renewed.policy, |known| known.policy);
        entry.note(announced(&renewed, Kind::RoomUpdated, policy));
        entry.commit().await?;
        Ok(token)
    }

    /// Ends the room: its participants are hung up on, its recording is finished, its row goes. Its recordings stay,
    /// unless the configuration says otherwise.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn destroy_room(&self, room: Id) -> Result<(), Error> {
        let _gate = self.gate().await?;
        let mut entry = self.inner.journal.change().await?;
        let gone = entry.delete_room(room).await?;
        self.inner.invitations.destroyed(&mut entry, &gone).await?;
        if let Some(event) = self.news_of(room, Kind::RoomDestroyed, |_| {}) {
            entry.note(event);
        }
        if self.inner.recordings.delete_with_room {
            // One that runs goes when it has ended.
            for recording in entry.ended_recordings_of(room).await? {
                self.remove_recording(&mut entry, &recording).await?;
            }
        }
        entry.commit().await?;
        self.inner.invitations.committed();
        self.state().retire(room);
        match self.say_last(room, &[Phrase::ClosingRoom]) {
            Some(words) => {
                let rooms = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(words).await;
                    rooms.end_room(room);
                });
            }
            None => self.end_room(room),
        }
        self.note_down().await;
        Ok(())
    }

    fn end_room(&self, room: Id) {
        let mut hung_up = 0;
        self.change(|state| {
            hung_up = state.room(room).map_or(0, |known| known.participants().len());
            state.forget(room)
        });
        self.inner.metrics.all_left(Left::Removed(HangUp::RoomDestroyed).label(), hung_up);
    }

    /// Mutes or unmutes a room: everyone but the chairman now, and those who come later.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn mute_room(&self, room: Id, muted: bool) -> Result<(), Error> {
        let _gate = self.gate().await?;
        let kind = if muted { Kind::RoomMuted } else { Kind::RoomUnmuted };
        self.hold(room, kind, |policy| policy.muted = muted).await?;
        self.change(|state| state.mute_room(room, muted));
        self.note_down().await;
        Ok(())
    }

    /// Locks or unlocks a room: nobody new comes in.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn lock_room(&self, room: Id, locked: bool) -> Result<(), Error> {
        let _gate = self.gate().await?;
        let kind = if locked { Kind::RoomLocked } else { Kind::RoomUnlocked };
        self.hold(room, kind, |policy| policy.locked = locked).await?;
        self.state().lock_room(room, locked);
        Ok(())
    }

    /// Writes a policy to the store before it is in force, and announces it if it is another one. Call it with the gate
    /// held.
    async fn hold(&self, room: Id, kind: Kind, set: impl Fn(&mut Policy) + Send) -> Result<(), Error> {
        let mut holding = self.state().holding(room, self.inner.server).ok_or(Error::NotFound("room"))?;
        let before = holding.policy;
        set(&mut holding.policy);
        let event = self.news_of(room, kind, set).filter(|_| holding.policy != before);
        let mut entry = self.inner.journal.change().await?;
        entry.hold(&[holding]).await?;
        if let Some(event) = event {
            entry.note(event);
        }
        entry.commit().await
    }

    /// An event of a room, as it will be with the policy that `set` makes.
    pub(super) fn news_of(&self, room: Id, kind: Kind, set: impl FnOnce(&mut Policy)) -> Option<NewEvent> {
        let state = self.state();
        let known = state.room(room)?;
        let mut policy = known.policy;
        set(&mut policy);
        let extension = Some(known.extension.to_string());
        Some(NewEvent { at: store::now(), room: Some(room), extension, kind, data: known.data(policy) })
    }

    /// What followed from a change is on the disk before the change is answered, if it can be: the change itself is, and
    /// what followed waits in the journal otherwise.
    pub(super) async fn note_down(&self) {
        if let Err(error) = self.inner.journal.flush().await {
            tracing::warn!(%error, "what followed from a change is written later");
        }
    }
}

fn announced(room: &RoomRecord, kind: Kind, policy: Policy) -> NewEvent {
    let extension = Some(room.settings.extension_number.clone());
    let data = data_of(&room.settings, policy);
    NewEvent { at: store::now(), room: Some(room.id), extension, kind, data }
}
