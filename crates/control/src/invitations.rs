//! Invitations by mail to those whom a room names in `external_invitees`. Rooms say what changes, in the transaction of the
//! change (`created`, `updated`, `destroyed`): who is to be told becomes rows of the store, and mail trouble never is the
//! change's. A task (`courier`) sends them. Knows no HTTP and no caller.

mod calendar;
mod courier;
mod letter;
mod plan;
mod templates;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::config::MailConfig;
use crate::error::Error;
use crate::events::Entry;
use crate::ids::Id;
use crate::rooms::{RoomRecord, RoomSettings};
use crate::store;
pub use courier::{Courier, InvitationMetrics};
use letter::Letter;
use plan::Planned;

/// What rooms tell about. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Invitations {
    /// Of the address that mail is from; `None`: no mail is sent.
    domain: Option<Arc<str>>,
    /// There may be something to send.
    wake: Arc<Notify>,
}

impl Invitations {
    /// Without a mail server nobody is told anything.
    pub fn new(config: Option<&MailConfig>) -> Self {
        let domain = config.map(|config| config.from.email.domain().into());
        Self { domain, wake: Arc::default() }
    }

    /// A room is made: everyone is invited.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn created(&self, entry: &mut Entry, room: &RoomRecord) -> Result<(), Error> {
        self.tell(entry, room, None, Some(&room.settings)).await
    }

    /// A room's settings are others: those whom it concerns are told. `room` is as it is from now on.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn updated(&self, entry: &mut Entry, before: &RoomSettings, room: &RoomRecord) -> Result<(), Error> {
        self.tell(entry, room, Some(before), Some(&room.settings)).await
    }

    /// A room is gone: the meeting is cancelled.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn destroyed(&self, entry: &mut Entry, room: &RoomRecord) -> Result<(), Error> {
        self.tell(entry, room, Some(&room.settings), None).await?;
        if self.domain.is_some() {
            entry.forget_invitations(room.id).await?;
        }
        Ok(())
    }

    /// What was told is on the disk. Call it after the commit.
    pub fn committed(&self) {
        self.wake.notify_one();
    }

    async fn tell(
        &self,
        entry: &mut Entry,
        room: &RoomRecord,
        before: Option<&RoomSettings>,
        after: Option<&RoomSettings>,
    ) -> Result<(), Error> {
        let Some(domain) = &self.domain else { return Ok(()) };
        let now = store::now();
        let planned = plan::plan(before, after, now);
        if planned.is_empty() {
            return Ok(());
        }
        let (uid, sequence) = entry.next_invitation(room.id, &uid(room.id, domain)).await?;
        for Planned { recipient, kind, settings } in planned {
            let letter = Letter::new(kind, &uid, sequence, settings, &room.token, now);
            entry.insert_letter(room.id, &recipient, &letter.json()).await?;
        }
        Ok(())
    }
}

/// Of a room's calendar entry: never another room's, of this installation or of others (RFC 5545 §3.8.4.7).
fn uid(room: Id, domain: &str) -> String {
    format!("{}@{domain}", room.raw())
}
