//! `/api/webhooks`: who is told about events by HTTP, what waits for them, and what was given up. For admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::Api;
use super::fields::{Fields, Given, boolean, text};
use super::query::{InPath, Items, ListQuery, id};
use crate::error::Error;
use crate::events::{NewWebhook, Types};
use crate::ids::Id;
use crate::store::{DeliveryRecord, DeliveryState, Store, WebhookRecord, WebhookUpdate};

/// The secret is shown once, at the creation.
#[derive(Serialize)]
pub(super) struct Webhook {
    id: Id,
    url: String,
    /// Kinds and prefixes; empty: all but `participant.talking` and `participant.silent`.
    types: Vec<String>,
    enabled: bool,
    /// `CONFIG` or `API`.
    source: &'static str,
    created_at: Timestamp,
}

impl From<WebhookRecord> for Webhook {
    fn from(webhook: WebhookRecord) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            types: webhook.types.patterns().to_vec(),
            enabled: webhook.enabled,
            source: webhook.source.as_str(),
            created_at: webhook.created_at,
        }
    }
}

#[derive(Serialize)]
struct Made {
    id: Id,
    secret: String,
}

/// A delivery that was not accepted yet.
#[derive(Serialize)]
pub(super) struct Delivery {
    /// The event's.
    cursor: i64,
    r#type: String,
    room_id: Option<Id>,
    extension_number: Option<String>,
    /// `PENDING` or `DEAD`.
    state: &'static str,
    /// So many have failed.
    attempts: i64,
    queued_at: Timestamp,
    /// `null` when it is dead.
    next_at: Option<Timestamp>,
    last_attempt_at: Option<Timestamp>,
    last_status: Option<i64>,
    last_error: Option<String>,
}

impl From<DeliveryRecord> for Delivery {
    fn from(delivery: DeliveryRecord) -> Self {
        Self {
            cursor: delivery.cursor,
            r#type: delivery.kind,
            room_id: delivery.room,
            extension_number: delivery.extension,
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            queued_at: delivery.queued_at,
            next_at: (delivery.state == DeliveryState::Pending).then_some(delivery.next_at),
            last_attempt_at: delivery.last_attempt_at,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
        }
    }
}

/// 200 with `count` and `items`.
pub(super) async fn list(State(api): State<Arc<Api>>, query: ListQuery) -> Result<Json<Items<Webhook>>, Error> {
    Ok(Json(Items::of(api.store.webhooks(&query.listing(Store::webhook_column)?).await?)))
}

/// `url` is required (http or https; without user, password or fragment; public, unless `webhooks.allow_private`); `secret`
/// (16 to 256 characters) is made when absent, `types` (kinds and prefixes) means all but talking and silent when absent or
/// empty, `enabled` is true when absent. 201 with `Location` and `{"id", "secret"}`: nobody is shown the secret again. 409
/// when there are 32.
pub(super) async fn create(State(api): State<Arc<Api>>, mut fields: Fields) -> Result<impl IntoResponse, Error> {
    let url = fields.required("url", |value: &Value| url(&api, value));
    let secret = fields.optional("secret", secret).value();
    let types = fields.optional("types", types).value();
    let enabled = fields.optional("enabled", boolean).value();
    fields.finish()?;
    let url = url.ok_or_else(|| Error::invalid("url", "url is required"))?;
    let (types, enabled) = (types.unwrap_or_default(), enabled.unwrap_or(true));
    let webhook = api.delivery.webhooks.create(NewWebhook { url, secret, types, enabled }).await?;
    let location = format!("/api/webhooks/{}", webhook.id);
    let made = Json(Made { id: webhook.id, secret: webhook.secret });
    Ok((StatusCode::CREATED, [(header::LOCATION, location.as_str()), (header::CACHE_CONTROL, "no-store")], made)
        .into_response())
}

/// 200, or 404.
pub(super) async fn show(State(api): State<Arc<Api>>, InPath(webhook): InPath<String>) -> Result<Json<Webhook>, Error> {
    Ok(Json(api.store.webhook(id(&webhook, "webhook")?).await?.into()))
}

/// As at the creation; what is absent stays, `types: null` takes it back to its default. 200 with an empty body; 409
/// `INVALID_STATE` for the configuration's. What waits for a webhook that is disabled is given up.
pub(super) async fn update(
    State(api): State<Arc<Api>>,
    InPath(webhook): InPath<String>,
    mut fields: Fields,
) -> Result<(), Error> {
    let webhook = id(&webhook, "webhook")?;
    let update = WebhookUpdate {
        url: fields.settable("url", |value: &Value| url(&api, value)).value(),
        secret: fields.settable("secret", secret).value(),
        types: match fields.optional("types", types) {
            Given::Absent => None,
            Given::Null => Some(Types::default()),
            Given::Value(types) => Some(types),
        },
        enabled: fields.settable("enabled", boolean).value(),
    };
    api.store.webhook(webhook).await?;
    fields.finish()?;
    api.delivery.webhooks.update(webhook, update).await
}

/// 204, or 409 `INVALID_STATE` for the configuration's.
pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath(webhook): InPath<String>) -> Result<StatusCode, Error> {
    api.delivery.webhooks.destroy(id(&webhook, "webhook")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends it an event `webhook.test`, behind what waits for it already that is of no room. 200 with an empty body; 409
/// `INVALID_STATE` when it is disabled.
pub(super) async fn test(State(api): State<Arc<Api>>, InPath(webhook): InPath<String>) -> Result<(), Error> {
    api.delivery.webhooks.test(id(&webhook, "webhook")?).await
}

/// What it has not accepted, the latest first. `state` chooses `PENDING` or `DEAD`; of the list options there are `skip`,
/// `top` and `count`.
pub(super) async fn deliveries(
    State(api): State<Arc<Api>>,
    InPath(webhook): InPath<String>,
    InState(state): InState,
    query: ListQuery,
) -> Result<Json<Items<Delivery>>, Error> {
    let listing = query.listing(|_| None)?;
    if listing.search.is_some() {
        return Err(Error::invalid("search", "search is not offered for deliveries"));
    }
    let webhook = api.store.webhook(id(&webhook, "webhook")?).await?.id;
    Ok(Json(Items::of(api.store.deliveries(webhook, state, listing.skip, listing.top).await?)))
}

/// Tries a delivery again, whether it is dead or waits, as if it were new, from its place in the order. 200 with an empty
/// body; 409 `INVALID_STATE` when the webhook is disabled.
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    InPath((webhook, delivery)): InPath<(String, String)>,
) -> Result<(), Error> {
    api.delivery.webhooks.retry(id(&webhook, "webhook")?, cursor(&delivery)?).await
}

/// Forgets a delivery, whether it is dead or waits. 204.
pub(super) async fn forget(
    State(api): State<Arc<Api>>,
    InPath((webhook, delivery)): InPath<(String, String)>,
) -> Result<StatusCode, Error> {
    api.delivery.webhooks.forget(id(&webhook, "webhook")?, cursor(&delivery)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn cursor(wire: &str) -> Result<i64, Error> {
    wire.parse().ok().filter(|cursor| *cursor > 0).ok_or(Error::NotFound("delivery"))
}

fn url(api: &Api, value: &Value) -> Result<String, String> {
    api.delivery.webhooks.checked_url(value.as_str().ok_or("must be text")?)
}

fn secret(value: &Value) -> Result<String, String> {
    text(16, 256)(value)
}

fn types(value: &Value) -> Result<Types, String> {
    let patterns: Option<Vec<&str>> = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    Types::parse(patterns.ok_or("must be an array of types")?)
}

/// The option `state` of a list.
pub(super) struct InState(Option<DeliveryState>);

impl<S: Send + Sync> FromRequestParts<S> for InState {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let unreadable = || Error::invalid("", "the query cannot be read");
        let Query(pairs): Query<Vec<(String, String)>> = Query::try_from_uri(&parts.uri).map_err(|_| unreadable())?;
        let Some((_, word)) = pairs.iter().find(|(name, _)| name == "state") else { return Ok(Self(None)) };
        let rule = || Error::invalid("state", format!("state must be one of {}", DeliveryState::WORDS.join(", ")));
        DeliveryState::parse(word).map(|state| Self(Some(state))).ok_or_else(rule)
    }
}
