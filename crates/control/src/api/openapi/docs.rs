//! `/api/docs`: the description for people, rendered by Swagger UI's own files, which are in this binary. Nothing is fetched
//! from elsewhere and no script stands in the page; all names are relative, so that a proxy may put it below another path.

use std::sync::{Arc, LazyLock};

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::{Config, serve};

use super::{Bytes, OPERATION};
use crate::api::query::InPath;
use crate::error::Error;

const PAGE: &str = include_str!("docs/page.html");
const INITIALIZER: &str = include_str!("docs/initializer.js");
/// Swagger UI sets styles on elements; scripts come from here alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("../openapi.json")));

/// Read the description in a browser
///
/// A page that renders `/api/openapi.json` and lets one try the operations. It works without internet access.
#[utoipa::path(
    get, path = "/api/docs", operation_id = "read_docs", tag = OPERATION, security(()),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html",
        headers(("Content-Security-Policy" = String, description = "Everything comes from this server.")),
        example = "<!doctype html>")),
)]
pub(in crate::api) async fn page() -> Response {
    answer("text/html; charset=utf-8", PAGE)
}

/// Read a part of the docs page
///
/// Scripts, styles and icons of `/api/docs`.
#[utoipa::path(
    get, path = "/api/docs/{file}", operation_id = "read_docs_file", tag = OPERATION, security(()),
    params(("file" = String, Path, description = "Its name.", example = "swagger-ui.css")),
    responses((status = 200, description = "The file.", content((String = "text/css", example = "html { margin: 0 }"),
        (String = "text/javascript", example = "onload = () => {};"), (Bytes = "image/png", example = "PNG")))),
)]
pub(in crate::api) async fn asset(InPath(file): InPath<String>) -> Result<Response, Error> {
    if file == "initializer.js" {
        return Ok(answer("text/javascript", INITIALIZER));
    }
    // What else is in the crate needs scripts in the page, or other servers.
    let kind = match file.as_str() {
        "swagger-ui.css" => "text/css",
        "swagger-ui-bundle.js" => "text/javascript",
        "favicon-32x32.png" => "image/png",
        _ => return Err(Error::NotFound("file")),
    };
    match serve(&file, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => Ok(answer(kind, file.bytes.into_owned())),
        Ok(None) => Err(Error::NotFound("file")),
        Err(error) => Err(Error::Broken(format!("the docs page: {error}"))),
    }
}

fn answer(kind: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "max-age=3600"),
    ];
    (headers, body).into_response()
}
