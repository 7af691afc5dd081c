//! The console: pages that were built into this binary (`control/web`), and the policy that they live under. They use nothing
//! but the public API: whoever opens them signs in there. Nothing is fetched from elsewhere, no script stands in a page.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::query::InPath;
use super::tags;
use crate::error::Error;

/// What `scripts/web` made of `control/web`.
#[derive(RustEmbed)]
#[folder = "web/dist/"]
struct Built;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    media-src 'self' blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";
/// A name with its content's digest in it never means anything else.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";
/// A page names the present files: it is asked for each time.
const EACH_TIME: &str = "no-cache";

/// `/console` and every address within it, which the page itself reads.
pub(super) async fn console(request: Request) -> Result<Response, Error> {
    let file = Built::get("console.html").ok_or(Error::NotFound("page"))?;
    Ok(answer(file, "text/html; charset=utf-8", EACH_TIME, request.headers()))
}

/// `/r/{token}`: the page by which one joins, which reads its address itself.
pub(super) async fn join(request: Request) -> Result<Response, Error> {
    let file = Built::get("join.html").ok_or(Error::NotFound("page"))?;
    Ok(answer(file, "text/html; charset=utf-8", EACH_TIME, request.headers()))
}

/// `/assets/{file}`: scripts and styles of the pages.
pub(super) async fn asset(InPath(name): InPath<String>, headers: HeaderMap) -> Result<Response, Error> {
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript",
        Some((_, "css")) => "text/css",
        Some((_, "svg")) => "image/svg+xml",
        _ => return Err(Error::NotFound("file")),
    };
    let file = Built::get(&format!("assets/{name}")).ok_or(Error::NotFound("file"))?;
    Ok(answer(file, kind, FOR_GOOD, &headers))
}

fn answer(file: EmbeddedFile, kind: &'static str, keep: &'static str, asked: &HeaderMap) -> Response {
    let digest = file.metadata.sha256_hash();
    let tag = digest.iter().fold(String::from("\""), |tag, byte| tag + &format!("{byte:02x}")) + "\"";
    let is_known = tags::names(asked, &header::IF_NONE_MATCH, &tag) == Some(true);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        (header::ETAG, HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, file.data.into_owned()).into_response()
}
