//! Tokens by the digest of their text: long-lived ones, and those of sessions, which a user's sign-in opens.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Change, Role, Source, Store, from_ms, now, to_ms, unreadable};
use crate::error::Error;
use crate::ids::Id;
use crate::words::words;

words! {
    /// What a token is for.
    TokenKind {
        /// Requests, until it is revoked or expires; of no session.
        Api = "API",
        /// Requests, for as long as its session.
        Access = "ACCESS",
        /// The next tokens of its session, once.
        Refresh = "REFRESH",
    }
}

/// Spent refresh tokens that a session remembers; a second use of an older one is merely unknown.
const SPENT_REMEMBERED: i64 = 100;
/// Sessions that a user may have at once; then the oldest ends.
const MAX_SESSIONS: i64 = 1000;
/// Long-lived tokens that expired or were revoked are listed for this long.
const LISTED_AFTER_END_MS: i64 = 30 * 86_400_000;

/// What a sign-in opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// Which.
    pub id: Id,
    /// Whose.
    pub user: Id,
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
    /// What it is for.
    pub kind: TokenKind,
    /// Who keeps it.
    pub source: Source,
    /// The session it belongs to.
    pub session: Option<Session>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was ended, or, of a refresh token, used.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRecord {
    /// It opens doors at this moment.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| at < end)
    }
}

/// What became of a refresh token that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It was good, and is not any more.
    Now(TokenRecord),
    /// It was used before: two have it.
    Before(Session),
    /// There is no such token, or it has expired.
    Unknown,
}

impl Change {
    /// Keeps a new token.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn insert_token(&mut self, token: &TokenRecord) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO tokens (id, name, role, digest, kind, source, user_id, session_id, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(token.id.raw())
        .bind(&token.name)
        .bind(token.role.as_str())
        .bind(token.digest.as_slice())
        .bind(token.kind.as_str())
        .bind(token.source.as_str())
        .bind(token.session.map(|session| session.user.raw()))
        .bind(token.session.map(|session| session.id.raw()))
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

    /// Ends a long-lived token; one that was ended stays so. Gives its name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_token(&mut self, id: Id) -> Result<String, Error> {
        let row = sqlx::query(
            "UPDATE tokens SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 AND kind = 'API' RETURNING name",
        )
        .bind(to_ms(now()))
        .bind(id.raw())
        .fetch_optional(self.db())
        .await?;
        Ok(row.ok_or(Error::NotFound("token"))?.try_get("name")?)
    }

    /// The configuration's token as it is written there now; false when it was so before. One that was revoked stays revoked.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn keep_configured_token(&mut self, token: &TokenRecord) -> Result<bool, Error> {
        let same = sqlx::query(
            "SELECT id FROM tokens WHERE digest = $1 AND name = $2 AND role = $3 AND source = 'CONFIG' AND kind = 'API'",
        )
        .bind(token.digest.as_slice())
        .bind(&token.name)
        .bind(token.role.as_str())
        .fetch_optional(self.db())
        .await?;
        if same.is_some() {
            return Ok(false);
        }
        let changed = sqlx::query(
            "UPDATE tokens SET name = $1, role = $2, source = 'CONFIG', expires_at = NULL WHERE digest = $3 AND kind = 'API'",
        )
        .bind(&token.name)
        .bind(token.role.as_str())
        .bind(token.digest.as_slice())
        .execute(self.db())
        .await?;
        if changed.rows_affected() == 0 {
            self.insert_token(token).await?;
        }
        Ok(true)
    }

    /// Removes the configuration's token that has this digest.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn remove_configured_token(&mut self, digest: &[u8; 32]) -> Result<(), Error> {
        sqlx::query("DELETE FROM tokens WHERE digest = $1 AND source = 'CONFIG'")
            .bind(digest.as_slice())
            .execute(self.db())
            .await?;
        Ok(())
    }

    /// Ends the oldest sessions of a user who has too many, one to come included.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn make_place_for_session(&mut self, user: Id) -> Result<(), Error> {
        // SQLite has no OFFSET without a LIMIT.
        sqlx::query(
            "DELETE FROM tokens WHERE user_id = $1 AND session_id IN (SELECT session_id FROM tokens WHERE user_id = $1 \
             AND kind = 'REFRESH' AND revoked_at IS NULL ORDER BY session_id DESC LIMIT 1000000 OFFSET $2)",
        )
        .bind(user.raw())
        .bind(MAX_SESSIONS - 1)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Spends the refresh token with this digest, if it is one.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn spend_refresh_token(&mut self, digest: &[u8; 32]) -> Result<Spent, Error> {
        // One statement, so that of two at once only one finds it unspent.
        let spent = sqlx::query(
            "UPDATE tokens SET revoked_at = $1 WHERE digest = $2 AND kind = 'REFRESH' AND revoked_at IS NULL \
             AND expires_at > $1 RETURNING *",
        )
        .bind(to_ms(now()))
        .bind(digest.as_slice())
        .fetch_optional(self.db())
        .await?;
        if let Some(row) = spent {
            return Ok(Spent::Now(read(&row)?));
        }
        let before =
            sqlx::query("SELECT * FROM tokens WHERE digest = $1 AND kind = 'REFRESH' AND revoked_at IS NOT NULL")
                .bind(digest.as_slice())
                .fetch_optional(self.db())
                .await?;
        let session = before.as_ref().map(read).transpose()?.and_then(|token| token.session);
        Ok(session.map_or(Spent::Unknown, Spent::Before))
    }

    /// A session goes on with new tokens: the access tokens of before end at `end` at the latest, and the oldest spent refresh
    /// tokens are forgotten.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn rotate_session(&mut self, session: Id, end: Timestamp) -> Result<(), Error> {
        sqlx::query("UPDATE tokens SET expires_at = $1 WHERE session_id = $2 AND kind = 'ACCESS' AND expires_at > $1")
            .bind(to_ms(end))
            .bind(session.raw())
            .execute(self.db())
            .await?;
        sqlx::query(
            "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE session_id = $1 AND kind = 'REFRESH' \
             AND revoked_at IS NOT NULL ORDER BY id DESC LIMIT 1000000 OFFSET $2)",
        )
        .bind(session.raw())
        .bind(SPENT_REMEMBERED)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Ends a session: all its tokens go.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn end_session(&mut self, session: Id) -> Result<(), Error> {
        sqlx::query("DELETE FROM tokens WHERE session_id = $1").bind(session.raw()).execute(self.db()).await?;
        Ok(())
    }

    /// Removes what has ended: tokens of sessions at once, long-lived ones when they have been listed for a while.
    ///
    /// # Errors
    /// `Busy` when the database cannot be written.
    pub async fn sweep_tokens(&mut self, at: Timestamp) -> Result<(), Error> {
        sqlx::query("DELETE FROM tokens WHERE kind <> 'API' AND expires_at <= $1")
            .bind(to_ms(at))
            .execute(self.db())
            .await?;
        sqlx::query(
            "DELETE FROM tokens WHERE kind = 'API' AND source = 'CLI' AND (expires_at <= $1 OR revoked_at <= $1)",
        )
        .bind(to_ms(at).saturating_sub(LISTED_AFTER_END_MS))
        .execute(self.db())
        .await?;
        Ok(())
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
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// Whether this token, or the session it was of, still opens doors: a session does as long as any of its tokens.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn token_holds(&self, token: Id, session: Option<Session>) -> Result<bool, Error> {
        let query = match session {
            Some(session) => sqlx::query(
                "SELECT id FROM tokens WHERE session_id = $1 AND revoked_at IS NULL \
                 AND expires_at > $2 LIMIT 1",
            )
            .bind(session.id.raw()),
            None => sqlx::query(
                "SELECT id FROM tokens WHERE id = $1 AND revoked_at IS NULL \
                 AND (expires_at IS NULL OR expires_at > $2)",
            )
            .bind(token.raw()),
        };
        Ok(query.bind(to_ms(now())).fetch_optional(&mut *self.reader().await?).await?.is_some())
    }

    /// All long-lived tokens, oldest first.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM tokens WHERE kind = 'API' ORDER BY id")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn read(row: &AnyRow) -> Result<TokenRecord, sqlx::Error> {
    let (role, kind, source): (String, String, String) =
        (row.try_get("role")?, row.try_get("kind")?, row.try_get("source")?);
    let digest: Vec<u8> = row.try_get("digest")?;
    let (session, user): (Option<i64>, Option<i64>) = (row.try_get("session_id")?, row.try_get("user_id")?);
    Ok(TokenRecord {
        id: Id::from_raw(row.try_get("id")?),
        name: row.try_get("name")?,
        role: Role::parse(&role).ok_or_else(|| unreadable("role"))?,
        digest: digest.try_into().map_err(|_| unreadable("token digest"))?,
        kind: TokenKind::parse(&kind).ok_or_else(|| unreadable("token kind"))?,
        source: Source::parse(&source).ok_or_else(|| unreadable("token source"))?,
        session: session.zip(user).map(|(id, user)| Session { id: Id::from_raw(id), user: Id::from_raw(user) }),
        created_at: from_ms(row.try_get("created_at")?),
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(from_ms),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(from_ms),
    })
}
