//! Users who sign in with a password. Whatever changes a user ends that user's sessions in the same change.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Change, Store, from_ms, is_taken, now, to_ms, unreadable};
use crate::error::Error;
use crate::ids::Id;
use crate::words::words;

words! {
    /// Who keeps a user or a token.
    Source {
        /// `conclave user`, `conclave token`.
        Cli = "CLI",
        /// `auth.users`, `auth.tokens`.
        Config = "CONFIG",
    }
}

/// What a user or a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// GET only, and no PIN.
    Viewer,
    /// Rooms, participants, recordings.
    Operator,
    /// All.
    Admin,
}

impl Role {
    /// As written in the database, the log and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Which.
    pub id: Id,
    /// Unique.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// argon2id, as a PHC string.
    pub password_hash: String,
    /// Who keeps it.
    pub source: Source,
    /// When it was made.
    pub created_at: Timestamp,
    /// When role or password were last changed.
    pub changed_at: Timestamp,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Change {
    /// Keeps a new user.
    ///
    /// # Errors
    /// `InUse` when the name is taken.
    pub async fn insert_user(&mut self, user: &UserRecord) -> Result<(), Error> {
        let done = sqlx::query(
            "INSERT INTO users (id, name, role, password_hash, source, created_at, changed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(user.id.raw())
        .bind(&user.name)
        .bind(user.role.as_str())
        .bind(&user.password_hash)
        .bind(user.source.as_str())
        .bind(to_ms(user.created_at))
        .bind(to_ms(user.changed_at))
        .execute(self.db())
        .await;
        match done {
            Err(error) if is_taken(&error) => {
                Err(Error::InUse(format!("there is a user {} already", user.name).into()))
            }
            done => Ok(done.map(drop)?),
        }
    }

    /// Another role and password; the user's sessions end.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn update_user(&mut self, id: Id, role: Role, password_hash: &str, source: Source) -> Result<(), Error> {
        let done =
            sqlx::query("UPDATE users SET role = $1, password_hash = $2, source = $3, changed_at = $4 WHERE id = $5")
                .bind(role.as_str())
                .bind(password_hash)
                .bind(source.as_str())
                .bind(to_ms(now()))
                .bind(id.raw())
                .execute(self.db())
                .await?;
        if done.rows_affected() == 0 {
            return Err(Error::NotFound("user"));
        }
        sqlx::query("DELETE FROM tokens WHERE user_id = $1").bind(id.raw()).execute(self.db()).await?;
        Ok(())
    }

    /// Removes a user; the sessions go with it, as the schema says.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_user(&mut self, id: Id) -> Result<(), Error> {
        let done = sqlx::query("DELETE FROM users WHERE id = $1").bind(id.raw()).execute(self.db()).await?;
        if done.rows_affected() == 0 { Err(Error::NotFound("user")) } else { Ok(()) }
    }

    /// The user is still as it was read, and stays so until this change ends.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn user_is_unchanged(&mut self, user: &UserRecord) -> Result<bool, Error> {
        let select = format!(
            "SELECT id FROM users WHERE id = $1 AND role = $2 AND password_hash = $3{}",
            self.dialect.for_update()
        );
        let row = sqlx::query(AssertSqlSafe(select))
            .bind(user.id.raw())
            .bind(user.role.as_str())
            .bind(&user.password_hash)
            .fetch_optional(self.db())
            .await?;
        Ok(row.is_some())
    }
}

impl Store {
    /// The user of this name.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn user(&self, name: &str) -> Result<Option<UserRecord>, Error> {
        let row = sqlx::query("SELECT * FROM users WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// All users, by name.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn users(&self) -> Result<Vec<UserRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM users ORDER BY name").fetch_all(&mut *self.reader().await?).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn read(row: &AnyRow) -> Result<UserRecord, sqlx::Error> {
    let (role, source): (String, String) = (row.try_get("role")?, row.try_get("source")?);
    Ok(UserRecord {
        id: Id::from_raw(row.try_get("id")?),
        name: row.try_get("name")?,
        role: Role::parse(&role).ok_or_else(|| unreadable("role"))?,
        password_hash: row.try_get("password_hash")?,
        source: Source::parse(&source).ok_or_else(|| unreadable("source of a user"))?,
        created_at: from_ms(row.try_get("created_at")?),
        changed_at: from_ms(row.try_get("changed_at")?),
    })
}
