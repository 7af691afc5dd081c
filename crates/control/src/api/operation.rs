//! For those who operate the server: is it alive, does it take calls, what does it count.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use super::Api;

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    reason: Option<String>,
}

/// Alive: it answers.
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok", reason: None })
}

/// Takes calls: not draining, and the database is there.
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

/// Counts, in OpenMetrics text, which Prometheus reads.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], api.metrics.text())
}
