//! Signing in and out: the contract's JSON operations and their older form-encoded twins (RFC 6749 §4.3 and §6, RFC 7009).
//! All of them take both kinds of body. What they answer is not to be kept by anyone on the way.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, FromRequest, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::audit::Deed;
use super::fields::{Fields, Given, body, text, word};
use super::openapi::AUTH;
use super::origin::Origin;
use crate::auth::{Granted, Identity};
use crate::error::{Error, Violation};

/// Longer is no password or token.
const MAX_SECRET: usize = 1024;

/// A body of either kind.
pub(super) struct EitherFields(Fields);

impl FromRequest<Arc<Api>> for EitherFields {
    type Rejection = Error;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Error> {
        let essence = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = essence.split(';').next().unwrap_or("").trim();
        if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Fields::of_form(request, api).await.map(Self);
        }
        Fields::from_request(request, api).await.map(Self)
    }
}

/// What one is let in with.
#[derive(Serialize, ToSchema)]
struct Tokens {
    /// For `Authorization: Bearer`.
    #[schema(examples("cnv_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"))]
    access_token: String,
    /// Seconds for which the access token works.
    #[schema(examples(3600))]
    expires_in: u64,
    /// For one refresh.
    #[schema(examples("cnr_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"))]
    refresh_token: String,
    /// `Bearer`.
    #[schema(examples("Bearer"))]
    token_type: &'static str,
}

body! {
    /// Who signs in.
    struct Credentials (creates) {
        /// The user's name.
        required username: String = text(1, 64), example "alice";
        /// The user's password.
        required password: String = text(1, MAX_SECRET), example "correct horse battery staple";
        /// Accepted; an installation is one domain.
        optional domain: String = text(0, 255), example "conference.example.org";
    }
}

body! {
    /// A session that goes on.
    struct RefreshRequest (creates) {
        /// From the last answer; it works once.
        required refresh_token: String = text(1, MAX_SECRET), example "cnr_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6";
    }
}

body! {
    /// Who signs in, or a session that goes on (RFC 6749).
    struct TokenRequest (creates) {
        /// password: with `username` and `password`. refresh_token: with `refresh_token`.
        required grant_type: Grant = word(Grant::WORDS, Grant::parse), example "password";
        /// The user's name.
        optional username: String = text(1, 64), example "alice";
        /// The user's password.
        optional password: String = text(1, MAX_SECRET), example "correct horse battery staple";
        /// From the last answer; it works once.
        optional refresh_token: String = text(1, MAX_SECRET), example null;
        /// Accepted; an installation is one domain.
        optional domain: String = text(0, 255), example "conference.example.org";
    }
}

body! {
    /// A session that ends (RFC 7009).
    struct Revocation (creates) {
        /// Its access token or its refresh token.
        required token: String = text(1, MAX_SECRET), example "cnv_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6";
    }
}

/// Sign in
///
/// Begins a session of a user, by password. Attempts are slowed and limited for each address and each user.
#[utoipa::path(
    post, path = "/api/auth/sign_in", operation_id = "sign_in", tag = AUTH, security(()),
    request_body(content((Credentials = "application/json"), (Credentials = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "Signed in.", body = Tokens,
            headers(("Cache-Control" = String, description = "`no-store`."))),
        (status = 400, description = "`UNAUTHORIZED`: the user or the password is wrong; or `VALIDATE_FAILED`: the body breaks its schema."),
        (status = 429, description = "`RATE_LIMITED`: too many attempts from this address or for this user."),
        (status = 503, description = "`BUSY`: the database is not available now, or too many are signing in."),
    ),
)]
pub(super) async fn sign_in(
    State(api): State<Arc<Api>>,
    from: Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<Response, Error> {
    by_password(&api, from, "/api/auth/sign_in", fields.fill()?).await
}

/// Refresh a session
///
/// Gives new tokens for a refresh token, which works once: shown again, it ends the session.
#[utoipa::path(
    post, path = "/api/auth/refresh_token", operation_id = "refresh_session", tag = AUTH, security(()),
    request_body(
        content((RefreshRequest = "application/json"), (RefreshRequest = "application/x-www-form-urlencoded")),
    ),
    responses(
        (status = 200, description = "Signed in.", body = Tokens,
            headers(("Cache-Control" = String, description = "`no-store`."))),
        (status = 400, description = "`UNAUTHORIZED`: the refresh token is wrong, used or expired; or `VALIDATE_FAILED`: the body breaks its schema."),
        (status = 429, description = "`RATE_LIMITED`: too many attempts from this address or for this user."),
        (status = 503, description = "`BUSY`: the database is not available now, or too many are signing in."),
    ),
)]
pub(super) async fn refresh_token(
    State(api): State<Arc<Api>>,
    from: Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<Response, Error> {
    let RefreshRequest { refresh_token } = fields.fill()?;
    by_refresh_token(&api, from, "/api/auth/refresh_token", &refresh_token).await
}

// The gate knows whose token it is, and writes the audit line.
/// Sign out
///
/// Ends the session that the token belongs to: its tokens work no more.
#[utoipa::path(
    post, path = "/api/auth/sign_out", operation_id = "sign_out", tag = AUTH,
    responses(
        (status = 200, description = "Signed out."),
        (status = 409, description = "`INVALID_STATE`: a long-lived token has no session; it is revoked on the command line."),
    ),
)]
pub(super) async fn sign_out(State(api): State<Arc<Api>>, Extension(who): Extension<Identity>) -> Result<(), Error> {
    api.sign_in.sign_out(&who).await
}

/// How somebody is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Grant {
    Password,
    RefreshToken,
}

impl Grant {
    /// Every one.
    pub(super) const WORDS: &[&str] = &["password", "refresh_token"];

    fn parse(word: &str) -> Option<Self> {
        match word {
            "password" => Some(Self::Password),
            "refresh_token" => Some(Self::RefreshToken),
            _ => None,
        }
    }
}

/// Get a token (OAuth form)
///
/// The older form of signing in and of refreshing a session (RFC 6749 §4.3 and §6).
#[utoipa::path(
    post, path = "/api/login/oauth/token", operation_id = "get_oauth_token", tag = AUTH, security(()),
    request_body(
        content((TokenRequest = "application/x-www-form-urlencoded"), (TokenRequest = "application/json")),
    ),
    responses(
        (status = 200, description = "Signed in.", body = Tokens,
            headers(("Cache-Control" = String, description = "`no-store`."))),
        (status = 400, description = "`UNAUTHORIZED`: the user, the password or the refresh token is wrong; or `VALIDATE_FAILED`: the body breaks its schema."),
        (status = 429, description = "`RATE_LIMITED`: too many attempts from this address or for this user."),
        (status = 503, description = "`BUSY`: the database is not available now, or too many are signing in."),
    ),
)]
pub(super) async fn oauth_token(
    State(api): State<Arc<Api>>,
    from: Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<Response, Error> {
    let request: TokenRequest = fields.fill()?;
    let route = "/api/login/oauth/token";
    match request.grant_type {
        Grant::RefreshToken => {
            let [token] = together([("refresh_token", request.refresh_token)])?;
            by_refresh_token(&api, from, route, &token).await
        }
        Grant::Password => {
            let [username, password] = together([("username", request.username), ("password", request.password)])?;
            by_password(&api, from, route, Credentials { username, password, domain: request.domain }).await
        }
    }
}

/// What one kind of grant cannot be without.
fn together<const N: usize>(fields: [(&'static str, Given<String>); N]) -> Result<[String; N], Error> {
    let missing = fields.iter().filter(|(_, given)| !matches!(given, Given::Value(_)));
    let missing: Vec<_> = missing.map(|(name, _)| Violation::new(*name, format!("{name} is required"))).collect();
    if !missing.is_empty() {
        return Err(Error::Invalid(missing));
    }
    Ok(fields.map(|(_, given)| given.value().unwrap_or_default()))
}

/// Revoke a token (OAuth form)
///
/// The older form of signing out (RFC 7009): whoever has a token may end its session. A token that is not known is
/// ended already.
#[utoipa::path(
    post, path = "/api/login/oauth/revoke", operation_id = "revoke_oauth_token", tag = AUTH, security(()),
    request_body(content((Revocation = "application/x-www-form-urlencoded"), (Revocation = "application/json"))),
    responses(
        (status = 200, description = "Ended."),
        (status = 409, description = "`INVALID_STATE`: a long-lived token has no session; it is revoked on the command line."),
        (status = 429, description = "`RATE_LIMITED`: too many unknown tokens from this address."),
        (status = 503, description = "`BUSY`: the database is not available now."),
    ),
)]
pub(super) async fn oauth_revoke(
    State(api): State<Arc<Api>>,
    Origin(from): Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<(), Error> {
    let Revocation { token } = fields.fill()?;
    let route = "/api/login/oauth/revoke";
    let deed = Deed { from, action: Some(route), path: route };
    let ended = api.sign_in.revoke(&token, from).await;
    deed.without_token(ended.as_ref().ok().and_then(|name| name.as_deref()), ended.as_ref().map(drop));
    ended.map(drop)
}

async fn by_password(api: &Api, from: Origin, route: &str, credentials: Credentials) -> Result<Response, Error> {
    // An installation is one domain: which one a client means makes no difference.
    let Credentials { username, password, domain: _domain } = credentials;
    let granted = api.sign_in.sign_in(&username, &password, from.0).await;
    told(from, route, Some(&username), granted)
}

async fn by_refresh_token(api: &Api, from: Origin, route: &str, token: &str) -> Result<Response, Error> {
    let granted = api.sign_in.refresh(token, from.0).await;
    told(from, route, None, granted)
}

fn told(from: Origin, route: &str, who: Option<&str>, granted: Result<Granted, Error>) -> Result<Response, Error> {
    let deed = Deed { from: from.0, action: Some(route), path: route };
    let who = granted.as_ref().map_or(who, |granted| Some(granted.name.as_str()));
    deed.without_token(who, granted.as_ref().map(drop));
    let granted = granted?;
    let tokens = Tokens {
        access_token: granted.access_token,
        expires_in: granted.expires_in.as_secs(),
        refresh_token: granted.refresh_token,
        token_type: "Bearer",
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(tokens)).into_response())
}
