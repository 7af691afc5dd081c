//! API tokens by the digest of their text.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Store, from_ms, now, to_ms, unreadable};
use crate::error::Error;
use crate::ids::Id;

/// What a token may do.
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
}

/// A token, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Which.
    pub id: Id,
    /// What or whom it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of its text.
    pub digest: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRecord {
    /// It opens doors at this moment.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| at < end)
    }
}

impl Change {
    /// Keeps a new token.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn insert_token(&mut self, token: &TokenRecord) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO tokens (id, name, role, digest, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(token.id.raw())
        .bind(&token.name)
        .bind(token.role.as_str())
        .bind(token.digest.as_slice())
        .bind(to_ms(token.created_at))
        .bind(token.expires_at.map(to_ms))
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Keeps the token of the first start; false, and nothing is kept, when this is not the first start.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn insert_first_token(&mut self, token: &TokenRecord) -> Result<bool, Error> {
        let done =
            sqlx::query("INSERT INTO installation (name, value) VALUES ('first_token', $1) ON CONFLICT DO NOTHING")
                .bind(token.id.to_string().into_bytes())
                .execute(self.db())
                .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.insert_token(token).await?;
        Ok(true)
    }

    /// Ends a token; one that was ended stays so.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_token(&mut self, id: Id) -> Result<(), Error> {
        let done = sqlx::query("UPDATE tokens SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2")
            .bind(to_ms(now()))
            .bind(id.raw())
            .execute(self.db())
            .await?;
        if done.rows_affected() == 0 { Err(Error::NotFound("token")) } else { Ok(()) }
    }
}

impl Store {
    /// The token with this digest.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn token(&self, digest: &[u8; 32]) -> Result<Option<TokenRecord>, Error> {
        let row = sqlx::query("SELECT * FROM tokens WHERE digest = $1")
            .bind(digest.as_slice())
            .fetch_optional(&self.read)
            .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// All tokens, oldest first.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM tokens ORDER BY id").fetch_all(&self.read).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn read(row: &AnyRow) -> Result<TokenRecord, sqlx::Error> {
    let role: String = row.try_get("role")?;
    let digest: Vec<u8> = row.try_get("digest")?;
    Ok(TokenRecord {
        id: Id::from_raw(row.try_get("id")?),
        name: row.try_get("name")?,
        role: match role.as_str() {
            "viewer" => Role::Viewer,
            "operator" => Role::Operator,
            "admin" => Role::Admin,
            _ => return Err(unreadable("role")),
        },
        digest: digest.try_into().map_err(|_| unreadable("token digest"))?,
        created_at: from_ms(row.try_get("created_at")?),
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(from_ms),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(from_ms),
    })
}
