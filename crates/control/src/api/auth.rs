//! Signing in and out: the contract's JSON operations and their older form-encoded twins (RFC 6749 §4.3 and §6, RFC 7009).
//! All of them take both kinds of body. What they answer is not to be kept by anyone on the way.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, FromRequest, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use super::audit::Deed;
use super::fields::{Fields, text, word};
use super::origin::Origin;
use crate::auth::{Granted, Identity};
use crate::error::Error;

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

#[derive(Serialize)]
struct Tokens {
    access_token: String,
    /// Seconds.
    expires_in: u64,
    refresh_token: String,
    token_type: &'static str,
}

/// `POST /api/auth/sign_in`
pub(super) async fn sign_in(
    State(api): State<Arc<Api>>,
    from: Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<Response, Error> {
    let credentials = Credentials::of(&mut fields);
    fields.finish()?;
    by_password(&api, from, "/api/auth/sign_in", credentials).await
}

/// `POST /api/auth/refresh_token`
pub(super) async fn refresh_token(
    State(api): State<Arc<Api>>,
    from: Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<Response, Error> {
    let token = fields.required("refresh_token", text(1, MAX_SECRET));
    fields.finish()?;
    by_refresh_token(&api, from, "/api/auth/refresh_token", token).await
}

/// `POST /api/auth/sign_out`; the gate knows whose token it is, and writes the audit line.
pub(super) async fn sign_out(State(api): State<Arc<Api>>, Extension(who): Extension<Identity>) -> Result<(), Error> {
    api.sign_in.sign_out(&who).await
}

#[derive(Clone, Copy)]
enum Grant {
    Password,
    RefreshToken,
}

/// `POST /api/login/oauth/token`
pub(super) async fn oauth_token(
    State(api): State<Arc<Api>>,
    from: Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<Response, Error> {
    let grant = fields.required(
        "grant_type",
        word(&["password", "refresh_token"], |word| match word {
            "password" => Some(Grant::Password),
            "refresh_token" => Some(Grant::RefreshToken),
            _ => None,
        }),
    );
    let route = "/api/login/oauth/token";
    match grant {
        Some(Grant::RefreshToken) => {
            let token = fields.required("refresh_token", text(1, MAX_SECRET));
            fields.finish()?;
            by_refresh_token(&api, from, route, token).await
        }
        _ => {
            let credentials = Credentials::of(&mut fields);
            fields.finish()?;
            by_password(&api, from, route, credentials).await
        }
    }
}

/// `POST /api/login/oauth/revoke`: whoever has a token may end its session.
pub(super) async fn oauth_revoke(
    State(api): State<Arc<Api>>,
    Origin(from): Origin,
    EitherFields(mut fields): EitherFields,
) -> Result<(), Error> {
    let token = fields.required("token", text(1, MAX_SECRET)).unwrap_or_default();
    fields.finish()?;
    let route = "/api/login/oauth/revoke";
    let deed = Deed { from, action: Some(route), path: route };
    let ended = api.sign_in.revoke(&token, from).await;
    deed.without_token(ended.as_ref().ok().and_then(|name| name.as_deref()), ended.as_ref().map(drop));
    ended.map(drop)
}

struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// Empty where something is missing; `finish` says so then.
    fn of(fields: &mut Fields) -> Self {
        let username = fields.required("username", text(1, 64)).unwrap_or_default();
        let password = fields.required("password", text(1, MAX_SECRET)).unwrap_or_default();
        // An installation is one domain: which one a client means makes no difference.
        fields.optional("domain", text(0, 255));
        Self { username, password }
    }
}

async fn by_password(api: &Api, from: Origin, route: &str, credentials: Credentials) -> Result<Response, Error> {
    let Credentials { username, password } = credentials;
    let granted = api.sign_in.sign_in(&username, &password, from.0).await;
    told(from, route, Some(&username), granted)
}

async fn by_refresh_token(api: &Api, from: Origin, route: &str, token: Option<String>) -> Result<Response, Error> {
    let granted = api.sign_in.refresh(&token.unwrap_or_default(), from.0).await;
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
