//! What control refuses or fails at, in blame groups, and the one mapping from that to an HTTP status and code (api.md
//! section 1). Pure; knows no request.

use std::borrow::Cow;

/// One field that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, as the API spells it; empty for the body as a whole.
    pub field: Cow<'static, str>,
    /// What is allowed, in words.
    pub message: String,
}

impl Violation {
    /// Of this field.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Everything that control refuses or fails at. The text is one precise reason for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    // The caller's doing.
    /// Fields, options or the body break their schema.
    #[error("{}", .0.iter().map(|v| v.message.as_str()).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Violation>),
    /// The body is of a type that is not taken.
    #[error("the body must be application/json")]
    MediaType,
    /// The same where something else than JSON is taken.
    #[error("the body must be {0}")]
    MediaTypeOf(&'static str),
    /// No token, or one that does not hold.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// A sign-in or a refresh that did not succeed (api.md section 6).
    #[error("{0}")]
    SignIn(&'static str),
    /// The role may not do this.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// A room's link does not let in now; `code` says why to the page.
    #[error("{reason}")]
    Barred {
        /// In place of `FORBIDDEN`.
        code: &'static str,
        /// In words.
        reason: Cow<'static, str>,
        /// When the next attempt is worth it.
        retry_after_s: Option<u32>,
    },
    /// There is no such thing, or it belongs to another.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The resource does not take this method.
    #[error("the resource does not take this method")]
    MethodNotAllowed,
    /// Nothing that the request accepts can be answered.
    #[error("{0}")]
    NotAcceptable(&'static str),
    /// The body is longer than the setting allows.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The body did not come in time.
    #[error("the request did not come in time")]
    TooSlow,
    /// No part of the file lies in the range that was asked for.
    #[error("the range lies outside of the {0} bytes")]
    Range(u64),
    /// A name is taken, or the thing is in use.
    #[error("{0}")]
    InUse(Cow<'static, str>),
    /// The action needs another state.
    #[error("{0}")]
    InvalidState(Cow<'static, str>),
    /// `If-Match` names another state of the resource (RFC 9110 §13.1.1).
    #[error("{0}")]
    Outdated(&'static str),
    /// Room or server have no place left.
    #[error("{0}")]
    CapacityExceeded(Cow<'static, str>),
    /// Too many requests of one token.
    #[error("too many requests; the limit is {per_minute} a minute")]
    RateLimited {
        /// The limit.
        per_minute: u32,
        /// When the next one is taken.
        retry_after_s: u32,
    },
    /// Too many failures: of tokens from one address, or of sign-ins.
    #[error("{reason}")]
    Slowed {
        /// Which failures.
        reason: &'static str,
        /// When the next attempt is taken.
        retry_after_s: u32,
    },
    // Passing.
    /// Cannot be done now; trying again may succeed.
    #[error("{0}")]
    Busy(Cow<'static, str>),
    /// No server takes rooms now.
    #[error("{0}")]
    NoServer(Cow<'static, str>),
    // Our environment, or a bug.
    /// The text is for the log only.
    #[error("{0}")]
    Broken(String),
}

impl Error {
    /// One field that breaks its rule.
    pub fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, message)])
    }

    /// Every code.
    pub const CODES: [&str; 14] = [
        "VALIDATE_FAILED",
        "UNAUTHORIZED",
        "FORBIDDEN",
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "TIMEOUT",
        "PAYLOAD_TOO_LARGE",
        "RESOURCE_IN_USE",
        "INVALID_STATE",
        "CAPACITY_EXCEEDED",
        "RATE_LIMITED",
        "BUSY",
        "NO_SERVER",
        "UNKNOWN",
    ];

    /// HTTP status and code.
    pub const fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Self::Invalid(_) => (400, "VALIDATE_FAILED"),
            Self::MediaType | Self::MediaTypeOf(_) => (415, "VALIDATE_FAILED"),
            Self::Range(_) => (416, "VALIDATE_FAILED"),
            Self::Unauthorized(_) => (401, "UNAUTHORIZED"),
            Self::SignIn(_) => (400, "UNAUTHORIZED"),
            Self::Forbidden(_) => (403, "FORBIDDEN"),
            Self::Barred { code, .. } => (403, code),
            Self::NotFound(_) => (404, "NOT_FOUND"),
            Self::MethodNotAllowed => (405, "METHOD_NOT_ALLOWED"),
            Self::NotAcceptable(_) => (406, "VALIDATE_FAILED"),
            Self::TooSlow => (408, "TIMEOUT"),
            Self::TooLarge(_) => (413, "PAYLOAD_TOO_LARGE"),
            Self::InUse(_) => (409, "RESOURCE_IN_USE"),
            Self::InvalidState(_) => (409, "INVALID_STATE"),
            Self::Outdated(_) => (412, "INVALID_STATE"),
            Self::CapacityExceeded(_) => (409, "CAPACITY_EXCEEDED"),
            Self::RateLimited { .. } | Self::Slowed { .. } => (429, "RATE_LIMITED"),
            Self::Busy(_) => (503, "BUSY"),
            Self::NoServer(_) => (503, "NO_SERVER"),
            Self::Broken(_) => (500, "UNKNOWN"),
        }
    }

    /// For the `Retry-After` header.
    pub const fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after_s, .. } | Self::Slowed { retry_after_s, .. } => Some(*retry_after_s),
            Self::Barred { retry_after_s, .. } => *retry_after_s,
            Self::Busy(_) => Some(1),
            // Somebody has to enable one.
            Self::NoServer(_) => Some(10),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // Locked, a full or vanished disk, no connection in time: it may come back.
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::WorkerCrashed => {
                tracing::error!(%error, "the database is not there");
                Self::Busy("the database is not available now".into())
            }
            sqlx::Error::Database(d) if is_passing(d.as_ref()) => {
                tracing::error!(%error, "the database cannot take this now");
                Self::Busy("the database cannot take this now".into())
            }
            _ => Self::Broken(format!("database: {error}")),
        }
    }
}

/// It may be different in a moment.
fn is_passing(error: &dyn sqlx::error::DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // A lock, an I/O error, a full disk, a file that cannot be opened or written: SQLite's primary result codes
        // (https://www.sqlite.org/rescode.html).
        return matches!(code.parse::<u32>().map(|code| code & 0xFF), Ok(5 | 6 | 8 | 10 | 13 | 14));
    }
    // PostgreSQL's SQLSTATE (its manual, appendix A): no connection, no resources, a server that starts, stops or gave up,
    // a standby, a conflict with another transaction, a lock that was not to be had.
    ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        || matches!(code.as_ref(), "25006" | "40001" | "40P01" | "55P03")
}

impl From<media::Error> for Error {
    fn from(error: media::Error) -> Self {
        match error {
            media::Error::Busy(reason) => Self::Busy(reason.into()),
            media::Error::Refused(refused) => Self::InvalidState(refused.to_string().into()),
            media::Error::Peer(reason) | media::Error::Broken(reason) => Self::Broken(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_the_contracts_status_and_code() {
        for (error, status, code) in [
            (Error::invalid("subject", "is required"), 400, "VALIDATE_FAILED"),
            (Error::MediaType, 415, "VALIDATE_FAILED"),
            (Error::Unauthorized("no token"), 401, "UNAUTHORIZED"),
            (Error::SignIn("wrong password"), 400, "UNAUTHORIZED"),
            (Error::Forbidden("viewers only look".into()), 403, "FORBIDDEN"),
            (Error::NotFound("room"), 404, "NOT_FOUND"),
            (Error::MethodNotAllowed, 405, "METHOD_NOT_ALLOWED"),
            (Error::NotAcceptable("only so"), 406, "VALIDATE_FAILED"),
            (Error::TooLarge(1), 413, "PAYLOAD_TOO_LARGE"),
            (Error::InUse("taken".into()), 409, "RESOURCE_IN_USE"),
            (Error::InvalidState("idle".into()), 409, "INVALID_STATE"),
            (Error::RateLimited { per_minute: 1, retry_after_s: 60 }, 429, "RATE_LIMITED"),
            (Error::Slowed { reason: "too many failures", retry_after_s: 9 }, 429, "RATE_LIMITED"),
            (Error::CapacityExceeded("full".into()), 409, "CAPACITY_EXCEEDED"),
            (Error::Busy("full".into()), 503, "BUSY"),
            (Error::NoServer("disabled".into()), 503, "NO_SERVER"),
            (Error::Broken("secret".into()), 500, "UNKNOWN"),
        ] {
            assert_eq!(error.status_and_code(), (status, code));
            assert!(Error::CODES.contains(&code));
        }
    }

    #[test]
    fn lost_database_is_busy_and_a_wrong_query_is_a_bug() {
        assert!(matches!(Error::from(sqlx::Error::PoolTimedOut), Error::Busy(_)));
        assert!(matches!(Error::from(sqlx::Error::RowNotFound), Error::Broken(_)));
    }
}
