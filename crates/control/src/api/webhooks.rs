//! `/api/webhooks`: who is told about events by HTTP, what waits for them, and what was given up. For admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use super::Api;
use super::fields::{Boolean, Fields, Given, Rule, WebUrl, body, list_of, text};
use super::openapi::{DeliveryOptions, EVENTS, ListOptions, Time};
use super::pairs;
use super::query::{InPath, Items, ListQuery, id};
use crate::error::Error;
use crate::events::{Kind, NewWebhook, Types};
use crate::filter::Fields as Named;
use crate::ids::Id;
use crate::store::{Column, DeliveryRecord, DeliveryState, Store, WebhookRecord, WebhookSource, WebhookUpdate};

/// What the list of webhooks may be filtered and ordered by.
const FIELDS: Named<Column> = Named::open(Store::WEBHOOK_FIELDS);
/// The list of deliveries has an order of its own.
const NO_FIELDS: Named<Column> = Named::open(&[]);

/// Who is told about events. The secret is shown once, at the creation.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    id: Id,
    /// Where it is.
    #[schema(examples("https://hooks.example.org/conclave"))]
    url: String,
    /// Kinds and prefixes; empty: all but `participant.talking` and `participant.silent`.
    #[schema(examples("room."))]
    types: Vec<String>,
    /// It is sent anything at all.
    #[schema(examples(true))]
    enabled: bool,
    #[schema(value_type = WebhookSource)]
    source: &'static str,
    #[schema(value_type = Time)]
    created_at: Timestamp,
}

/// More say nothing new.
const MAX_TYPES: usize = 64;

body! {
    /// A new webhook.
    struct WebhookCreation (creates) {
        /// http or https, without a user, a password or a fragment, at most 2048 bytes. It must be public, unless the setting
        /// `webhooks.allow_private` is on.
        required url: String = WebUrl, example "https://hooks.example.org/conclave";
        /// What deliveries are signed with. One is made when there is none here.
        optional secret: String = text(16, 256), example "a-secret-that-signs-deliveries";
        /// Kinds of events, or prefixes of kinds such as `participant.`; none: all but `participant.talking` and
        /// `participant.silent`.
        optional types: Vec<String> = list_of(EventType, MAX_TYPES), default [], example ["room.", "participant.joined"];
        /// Whether it is sent anything.
        optional enabled: bool = Boolean, default true, example true;
    }
}

body! {
    /// What of a webhook is to change. Absent fields stay as they are.
    struct WebhookChanges (changes) {
        /// As at the creation.
        settable url: String = WebUrl, example "https://hooks.example.org/conclave";
        /// What deliveries are signed with from now on.
        settable secret: String = text(16, 256), example "another-secret-that-signs";
        /// As at the creation.
        optional types: Vec<String> = list_of(EventType, MAX_TYPES), default [], example ["recording."];
        /// Whether it is sent anything. What waits for a webhook that is disabled is given up.
        settable enabled: bool = Boolean, example true;
    }
}

/// A kind of events, or the first word of kinds with its dot.
#[derive(Clone, Copy)]
pub(super) struct EventType;

impl EventType {
    /// Every one that there is.
    pub(super) fn words() -> Vec<&'static str> {
        let mut words: Vec<&str> = Kind::WORDS.to_vec();
        words.extend(Kind::WORDS.iter().filter_map(|kind| kind.split_inclusive('.').next()));
        words.sort_unstable();
        words.dedup();
        words
    }
}

impl Rule for EventType {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let word = value.as_str().filter(|word| Types::parse([*word]).is_ok() && word.trim() == *word);
        let rule = || "must be a kind such as room.started, or a prefix such as participant.".to_owned();
        word.map(str::to_owned).ok_or_else(rule)
    }

    fn schema(&self) -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Self::words())).into()
    }
}

fn types(words: &[String]) -> Result<Types, Error> {
    Types::parse(words.iter().map(String::as_str)).map_err(|rule| Error::invalid("types", format!("types {rule}")))
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

/// What was made.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeWebhook)]
struct Made {
    id: Id,
    /// Nobody is shown it again.
    #[schema(examples("whsec_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"))]
    secret: String,
}

/// A delivery that was not accepted yet.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    /// The event's.
    #[schema(examples(4711))]
    cursor: i64,
    /// The event's.
    #[schema(examples("room.started"))]
    r#type: String,
    /// The event's; null when it is of no room.
    room_id: Option<Id>,
    /// The room's.
    #[schema(examples("900"))]
    extension_number: Option<String>,
    #[schema(value_type = DeliveryState)]
    state: &'static str,
    /// So many have failed.
    #[schema(examples(3))]
    attempts: i64,
    #[schema(value_type = Time)]
    queued_at: Timestamp,
    /// When it is tried again; null when it is dead.
    #[schema(value_type = Option<Time>)]
    next_at: Option<Timestamp>,
    /// Null when there was none.
    #[schema(value_type = Option<Time>)]
    last_attempt_at: Option<Timestamp>,
    /// What the webhook answered, if anything.
    #[schema(examples(500))]
    last_status: Option<i64>,
    /// Why the last attempt failed.
    #[schema(examples("it answered 500 Internal Server Error"))]
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

/// Named for the description.
type WebhookList = Items<Webhook>;
/// Named for the description.
type DeliveryList = Items<Delivery>;

/// List webhooks
///
/// The webhooks of the API and of the settings. `search` looks into `url`. Needs the role admin, as all of these
/// operations do.
#[utoipa::path(
    get, path = "/api/webhooks", operation_id = "list_webhooks", tag = EVENTS,
    params(ListOptions),
    responses(
        (status = 200, description = "A page of webhooks.", body = WebhookList),
        (status = 403, description = "`FORBIDDEN`: this needs the role admin."),
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>, query: ListQuery) -> Result<Json<Items<Webhook>>, Error> {
    Ok(Json(Items::of(api.store.webhooks(&query.listing(&FIELDS)?).await?)))
}

/// Create a webhook
///
/// Events are POSTed to it from now on, each as JSON, in order for each room, until it answers 2xx; for a day, then
/// they are given up and listed. `Conclave-Signature` is `v1=` and the HMAC-SHA256, in hex, with the secret over
/// `Conclave-Timestamp`, a dot and the body.
#[utoipa::path(
    post, path = "/api/webhooks", operation_id = "create_webhook", tag = EVENTS,
    request_body = WebhookCreation,
    responses(
        (status = 201, description = "Made. The secret is not shown again.", body = Made,
            headers(
                ("Location" = String, description = "Where the webhook is."),
                ("Cache-Control" = String, description = "`no-store`."),
            )),
        (status = 409, description = "`INVALID_STATE`: there are 32 webhooks already."),
    ),
)]
pub(super) async fn create(State(api): State<Arc<Api>>, mut fields: Fields) -> Result<impl IntoResponse, Error> {
    let new: WebhookCreation = fields.fill()?;
    let new = NewWebhook {
        url: url(&api, &new.url)?,
        secret: new.secret.value(),
        types: types(&new.types.value().unwrap_or_default())?,
        enabled: new.enabled.over(true, true),
    };
    let webhook = api.delivery.webhooks.create(new).await?;
    let location = format!("/api/webhooks/{}", webhook.id);
    let made = Json(Made { id: webhook.id, secret: webhook.secret });
    Ok((StatusCode::CREATED, [(header::LOCATION, location.as_str()), (header::CACHE_CONTROL, "no-store")], made)
        .into_response())
}

/// Get a webhook
///
/// One webhook, with the same fields as in the list.
#[utoipa::path(
    get, path = "/api/webhooks/{id}", operation_id = "get_webhook", tag = EVENTS,
    responses(
        (status = 200, description = "The webhook.", body = Webhook),
        (status = 403, description = "`FORBIDDEN`: this needs the role admin."),
    ),
)]
pub(super) async fn show(State(api): State<Arc<Api>>, InPath(webhook): InPath<String>) -> Result<Json<Webhook>, Error> {
    Ok(Json(api.store.webhook(id(&webhook, "webhook")?).await?.into()))
}

/// Update a webhook
///
/// Absent fields stay as they are. What waits for a webhook that is disabled is given up.
#[utoipa::path(
    post, path = "/api/webhooks/{id}", operation_id = "update_webhook", tag = EVENTS,
    request_body = WebhookChanges,
    responses(
        (status = 200, description = "Changed."),
        (status = 409, description = "`INVALID_STATE`: it is one of the settings, and is changed there."),
    ),
)]
pub(super) async fn update(
    State(api): State<Arc<Api>>,
    InPath(webhook): InPath<String>,
    mut fields: Fields,
) -> Result<(), Error> {
    let webhook = id(&webhook, "webhook")?;
    api.store.webhook(webhook).await?;
    let changes: WebhookChanges = fields.fill()?;
    let update = WebhookUpdate {
        url: changes.url.map(|text| url(&api, &text)).transpose()?,
        secret: changes.secret,
        types: match changes.types {
            Given::Absent => None,
            Given::Null => Some(Types::default()),
            Given::Value(words) => Some(types(&words)?),
        },
        enabled: changes.enabled,
    };
    api.delivery.webhooks.update(webhook, update).await
}

/// Delete a webhook
///
/// It is sent nothing any more; what waits for it is forgotten.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/destroy", operation_id = "destroy_webhook", tag = EVENTS,
    responses(
        (status = 204, description = "Gone."),
        (status = 409, description = "`INVALID_STATE`: it is one of the settings, and is removed there."),
    ),
)]
pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath(webhook): InPath<String>) -> Result<StatusCode, Error> {
    api.delivery.webhooks.destroy(id(&webhook, "webhook")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test a webhook
///
/// Sends it an event `webhook.test`, behind what waits for it already that is of no room.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/test", operation_id = "test_webhook", tag = EVENTS,
    responses(
        (status = 200, description = "The event is on its way."),
        (status = 409, description = "`INVALID_STATE`: the webhook is disabled."),
    ),
)]
pub(super) async fn test(State(api): State<Arc<Api>>, InPath(webhook): InPath<String>) -> Result<(), Error> {
    api.delivery.webhooks.test(id(&webhook, "webhook")?).await
}

/// List a webhook's deliveries
///
/// What it has not accepted: what waits, and what was given up. The latest first.
#[utoipa::path(
    get, path = "/api/webhooks/{id}/deliveries", operation_id = "list_webhook_deliveries", tag = EVENTS,
    params(DeliveryOptions),
    responses(
        (status = 200, description = "A page of deliveries.", body = DeliveryList),
        (status = 403, description = "`FORBIDDEN`: this needs the role admin."),
    ),
)]
pub(super) async fn deliveries(
    State(api): State<Arc<Api>>,
    InPath(webhook): InPath<String>,
    InState(state): InState,
    query: ListQuery,
) -> Result<Json<Items<Delivery>>, Error> {
    let listing = query.listing(&NO_FIELDS)?;
    if listing.search.is_some() {
        return Err(Error::invalid("search", "search is not offered for deliveries"));
    }
    let webhook = api.store.webhook(id(&webhook, "webhook")?).await?.id;
    Ok(Json(Items::of(api.store.deliveries(webhook, state, listing.skip, listing.top).await?)))
}

/// Retry a delivery
///
/// Tries it again, whether it was given up or waits, as if it were new, from its place in the order.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/deliveries/{cursor}/retry", operation_id = "retry_webhook_delivery", tag = EVENTS,
    params(("cursor" = String, Path, description = "The event's cursor.", example = "4711")),
    responses(
        (status = 200, description = "It is on its way."),
        (status = 409, description = "`INVALID_STATE`: the webhook is disabled."),
    ),
)]
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    InPath((webhook, delivery)): InPath<(String, String)>,
) -> Result<(), Error> {
    api.delivery.webhooks.retry(id(&webhook, "webhook")?, cursor(&delivery)?).await
}

/// Forget a delivery
///
/// The webhook will not be sent it, whether it was given up or waits.
#[utoipa::path(
    post, path = "/api/webhooks/{id}/deliveries/{cursor}/destroy", operation_id = "destroy_webhook_delivery", tag = EVENTS,
    params(("cursor" = String, Path, description = "The event's cursor.", example = "4711")),
    responses((status = 204, description = "Gone.")),
)]
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

fn url(api: &Api, text: &str) -> Result<String, Error> {
    api.delivery.webhooks.checked_url(text).map_err(|rule| Error::invalid("url", format!("url {rule}")))
}

/// The option `state` of a list.
pub(super) struct InState(Option<DeliveryState>);

impl<S: Send + Sync> FromRequestParts<S> for InState {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let pairs = pairs::of_query(&parts.uri)?;
        let Some((_, word)) = pairs.iter().find(|(name, _)| name == "state") else { return Ok(Self(None)) };
        let rule = || Error::invalid("state", format!("state must be one of {}", DeliveryState::WORDS.join(", ")));
        DeliveryState::parse(word).map(|state| Self(Some(state))).ok_or_else(rule)
    }
}
