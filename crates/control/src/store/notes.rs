//! What was changed on the command line, on its way into the server's log: written with the change itself, read and removed
//! by a server.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Store, from_ms, now, to_ms};
use crate::error::Error;

/// Who did what on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandNote {
    /// When.
    pub at: Timestamp,
    /// The system's user.
    pub who: String,
    /// The command.
    pub action: String,
    /// To whom or what.
    pub subject: String,
}

impl Change {
    /// Notes a change of the command line.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn note_command(&mut self, who: &str, action: &str, subject: &str) -> Result<(), Error> {
        let id = self.ids.next();
        sqlx::query("INSERT INTO command_notes (id, at, who, action, subject) VALUES ($1, $2, $3, $4, $5)")
            .bind(id.raw())
            .bind(to_ms(now()))
            .bind(who)
            .bind(action)
            .bind(subject)
            .execute(self.db())
            .await?;
        Ok(())
    }
}

impl Store {
    /// Takes all notes out, oldest first.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn take_command_notes(&self) -> Result<Vec<CommandNote>, Error> {
        // There are hardly ever any, and only a look is no write.
        let any =
            sqlx::query("SELECT id FROM command_notes LIMIT 1").fetch_optional(&mut *self.reader().await?).await?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        let mut change = self.change().await?;
        let rows = sqlx::query("DELETE FROM command_notes RETURNING id, at, who, action, subject")
            .fetch_all(change.db())
            .await?;
        let mut notes = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        change.commit().await?;
        notes.sort_by_key(|(id, _)| *id);
        Ok(notes.into_iter().map(|(_, note)| note).collect())
    }
}

fn read(row: &AnyRow) -> Result<(i64, CommandNote), sqlx::Error> {
    let note = CommandNote {
        at: from_ms(row.try_get("at")?),
        who: row.try_get("who")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
    };
    Ok((row.try_get("id")?, note))
}
