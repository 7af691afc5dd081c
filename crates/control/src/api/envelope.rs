//! What every answer has: a request id, a place in the counts, and, when it is a refusal, the contract's error shape. The
//! refusal itself travels here as an extension of its response, so that only this file knows the shape.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::openapi::ErrorCode;
use crate::error::Error;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal on its way to the envelope.
#[derive(Clone)]
pub(super) struct Refused(pub(super) Error);

/// Marks a caught panic.
#[derive(Clone, Copy)]
struct Panicked;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status_and_code().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Refused(self));
        response
    }
}

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
pub(super) struct Errors<'a> {
    /// One for each field that breaks its rule, otherwise one.
    #[schema(min_items = 1)]
    errors: Vec<OneError<'a>>,
}

/// One reason.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
struct OneError<'a> {
    #[schema(value_type = ErrorCode)]
    code: &'static str,
    /// In words that an operator understands.
    #[schema(examples("capacity must be a whole number from 1 to 200"))]
    message: String,
    /// What it is about, when that is one field.
    detail: Option<Detail<'a>>,
}

/// What an error is about.
#[derive(Serialize, ToSchema)]
#[schema(as = ErrorDetail)]
struct Detail<'a> {
    /// The field or option, as the request spells it.
    #[schema(examples("capacity"))]
    field: &'a str,
}

/// The outermost layer.
pub(super) async fn wrap(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = word(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let id = api.store.ids().next().to_string();

    let mut response = next.run(request).await;

    if response.extensions().get::<Panicked>().is_some() {
        api.metrics.api.panicked();
    }
    if let Some(Refused(error)) = response.extensions_mut().remove::<Refused>() {
        if let Error::Broken(reason) = &error {
            tracing::error!(request = id, reason, "a request failed");
        }
        response = shape(&error, &id);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    api.metrics.api.request(method, route, response.status().as_u16(), begun.elapsed());
    response
}

fn shape(error: &Error, request_id: &str) -> Response {
    let (status, code) = error.status_and_code();
    let errors = match error {
        Error::Invalid(violations) => violations
            .iter()
            .map(|v| OneError {
                code,
                message: v.message.clone(),
                detail: (!v.field.is_empty()).then_some(Detail { field: &v.field }),
            })
            .collect(),
        // The log has the reason; a stranger gets the number to find it by.
        Error::Broken(_) => {
            vec![OneError { code, message: format!("internal error; request {request_id}"), detail: None }]
        }
        _ => vec![OneError { code, message: error.to_string(), detail: None }],
    };
    let body = serde_json::to_vec(&Errors { errors }).expect("BUG: plain strings are always JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after_s() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match error {
        Error::Unauthorized(_) => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Error::Range(size) => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
        }
        _ => {}
    }
    response
}

/// A panic in a request is a bug in that request and nobody else's trouble.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let mut response = Error::Broken(format!("panic: {}", text_of(&*panic))).into_response();
    response.extensions_mut().insert(Panicked);
    response
}

pub(super) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

pub(super) async fn no_such_path() -> Error {
    Error::NotFound("resource")
}

pub(super) async fn no_such_method() -> Error {
    Error::MethodNotAllowed
}

/// Methods are what a client writes; labels are few.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}
