//! For those who operate the server: is it alive, does it take calls, what does it count.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::openapi::OPERATION;

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// In a word.
    #[schema(examples("ok"))]
    status: &'static str,
    /// Why it is not well; null when it is.
    #[schema(examples(json!(null)))]
    reason: Option<String>,
}

/// Ask whether the server is alive
///
/// It is when it answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "check_health", tag = OPERATION, security(()),
    responses((status = 200, description = "Alive.", body = Health)),
)]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok", reason: None })
}

/// Ask whether the server takes calls
///
/// It does when it is not draining and the database is there.
#[utoipa::path(
    get, path = "/readyz", operation_id = "check_readiness", tag = OPERATION, security(()),
    responses(
        (status = 200, description = "It does.", body = Health, example = json!({"status": "ready", "reason": null})),
        (status = 503, description = "It does not, for the reason given.", body = Health,
            example = json!({"status": "draining", "reason": "the server is shutting down and takes no new calls"})),
    ),
)]
pub(super) async fn readiness(State(api): State<Arc<Api>>) -> (StatusCode, Json<Health>) {
    let not = |status, reason| (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status, reason: Some(reason) }));
    if !api.rooms.accepting() {
        return not("draining", "the server is shutting down and takes no new calls".to_owned());
    }
    match api.store.ping().await {
        Ok(()) => (StatusCode::OK, Json(Health { status: "ready", reason: None })),
        Err(error) => not("unavailable", error.to_string()),
    }
}

/// Read the metrics
///
/// Counts, in OpenMetrics text, which Prometheus reads. The settings may move it to another address.
#[utoipa::path(
    get, path = "/metrics", operation_id = "read_metrics", tag = OPERATION, security(()),
    responses((status = 200, description = "The counts.", body = String,
        content_type = "application/openmetrics-text", example = "conclave_rooms_active 3\n# EOF\n")),
)]
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], api.metrics.text())
}
