//! `/api/conference_rooms/{id}/tokens`: personal tokens to join with, and revoking all that lead into a room.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::fields::{Fields, body, integer, text, word};
use crate::api::openapi::{ROOMS, Time};
use crate::api::query::{InPath, id};
use crate::auth::{JoinRole, Personal};
use crate::error::Error;
use crate::store;

const MINUTE_S: i64 = 60;
const DAY_S: i64 = 86_400;
const YEAR_S: i64 = 366 * DAY_S;

body! {
    /// For whom a personal token is.
    struct TokenCreation (creates) {
        /// What its bearer is called in the room; null, and they say so themselves.
        optional name: String = text(1, 64), example "Ann Bell";
        /// CHAIRMAN: its bearer leads the room.
        optional role: JoinRole = word(JoinRole::WORDS, JoinRole::parse), default "PARTICIPANT", example "CHAIRMAN";
        /// Seconds from now, after which nobody comes in by it any more; who is in stays in.
        optional expires_in: i64 = integer(MINUTE_S, YEAR_S), default 86_400, example 3600;
    }
}

/// A personal token, once: nothing is kept of it.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct PersonalToken {
    /// What one joins with, in place of the room's own.
    #[schema(examples("cnj_AQABjpQ6b5oAAAAAAHaVzYgAQW5uIEJlbGyBwpwm6oUXk2fEoGv0P3Jt"))]
    token: String,
    /// Of the page to join with. A path on this server, unless the setting `api.public_url` says where it is reached.
    #[schema(examples(
        "https://conference.example.org/r/cnj_AQABjpQ6b5oAAAAAAHaVzYgAQW5uIEJlbGyBwpwm6oUXk2fEoGv0P3Jt"
    ))]
    url: String,
    /// Of its bearer.
    #[schema(examples("Ann Bell"))]
    name: Option<String>,
    #[schema(value_type = JoinRole)]
    role: &'static str,
    #[schema(value_type = Time)]
    expires_at: Timestamp,
}

/// The room's join token as it is now.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct RenewedToken {
    /// What one joins with from now on.
    #[schema(examples("4fzz3e2PxAvTAVDbWfNFCQ"))]
    token: String,
    /// Of the page to join with. A path on this server, unless the setting `api.public_url` says where it is reached.
    #[schema(examples("https://conference.example.org/r/4fzz3e2PxAvTAVDbWfNFCQ"))]
    url: String,
}

/// Make a personal join token
///
/// A signed link for one person, with their role and name in it, until its end. It stands for the room's PIN, so it should go to
/// nobody else; a locked room stays locked to it. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/tokens", operation_id = "create_join_token", tag = ROOMS,
    request_body = TokenCreation,
    responses((status = 200, description = "The token.", body = PersonalToken,
        headers(("Cache-Control" = String, description = "`no-store`.")))),
)]
pub(in crate::api) async fn create(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Error> {
    let room = id(&room, "room")?;
    api.rooms.is_known(room)?;
    let wanted: TokenCreation = fields.fill()?;
    let role = wanted.role.value().unwrap_or(JoinRole::Participant);
    let name = wanted.name.value();
    let end = store::now().as_second().saturating_add(wanted.expires_in.value().unwrap_or(DAY_S));
    let expires_at = Timestamp::from_second(end).map_err(|e| Error::Broken(e.to_string()))?;
    let personal = Personal { room, role, name: name.clone().unwrap_or_default(), expires_at };
    let token = api.links.sign(&personal).await?;
    let url = api.page_of(&token);
    let made = PersonalToken { token, url, name, role: role.as_str(), expires_at };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(made)))
}

/// Revoke a room's join tokens
///
/// The room gets another token: the link so far leads nowhere any more, and no personal token that was made before opens the room.
/// Who is in stays in. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/tokens/revoke", operation_id = "revoke_join_tokens", tag = ROOMS,
    responses((status = 200, description = "Revoked; the new one.", body = RenewedToken,
        headers(("Cache-Control" = String, description = "`no-store`.")))),
)]
pub(in crate::api) async fn revoke(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
) -> Result<impl IntoResponse, Error> {
    let token = api.rooms.renew_token(id(&room, "room")?).await?;
    let url = api.page_of(&token);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(RenewedToken { token, url })))
}
