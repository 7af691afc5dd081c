//! The registry of conference servers. This process is one of them; what its row allows holds here at once.

use super::Rooms;
use super::state::Limits;
use crate::error::Error;
use crate::events::{Kind, NewEvent};
use crate::ids::Id;
use crate::store::{ServerRecord, ServerUpdate};

impl Rooms {
    /// Keeps a server that was added; a process of its own claims it by its name.
    ///
    /// # Errors
    /// `InUse` when another server has the name.
    pub async fn create_server(&self, server: &ServerRecord) -> Result<(), Error> {
        let mut entry = self.inner.journal.change().await?;
        entry.insert_server(server).await?;
        entry.note(NewEvent::of_server(Kind::ServerCreated, server.id, &server.name));
        entry.commit().await
    }

    /// Changes what a server takes. Lower limits drop nobody; they hold for who comes next.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn update_server(&self, server: Id, update: ServerUpdate) -> Result<(), Error> {
        // The last one that is written is the last one that holds.
        let _gate = self.gate().await?;
        let mut entry = self.inner.journal.change().await?;
        let updated = entry.update_server(server, update).await?;
        entry.note(NewEvent::of_server(Kind::ServerUpdated, server, &updated.name));
        entry.commit().await?;
        if server == self.inner.server {
            self.state().limit(Limits::from(&updated));
        }
        Ok(())
    }

    /// Forgets a server.
    ///
    /// # Errors
    /// `NotFound`; `InUse` for the built-in one, and while rooms are active on it.
    pub async fn destroy_server(&self, server: Id) -> Result<(), Error> {
        let mut entry = self.inner.journal.change().await?;
        let destroyed = entry.delete_server(server).await?;
        entry.note(NewEvent::of_server(Kind::ServerDestroyed, server, &destroyed.name));
        entry.commit().await
    }

    /// Announces that this server takes calls, or takes no more.
    pub fn announce_server(&self, online: bool) {
        let kind = if online { Kind::ServerOnline } else { Kind::ServerOffline };
        self.inner.journal.note(NewEvent::of_server(kind, self.inner.server, &self.inner.server_name));
    }
}
