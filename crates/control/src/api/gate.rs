//! The way in to the contract's resources: bearer token, role, budget; one audit line for each change, with who, what and
//! the result, and never a body, a query or a header.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::envelope::{Refused, panicked};
use crate::auth::Identity;
use crate::error::Error;
use crate::store::Role;

/// Lets requests through to their handlers, which find the `Identity` among the extensions.
pub(super) async fn pass(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    if route.is_none() && !path.starts_with("/api/") {
        // Nothing of ours: no reason to ask for a token.
        return next.run(request).await;
    }
    let identity = match admit(&api, request.headers(), &method, route.as_deref()).await {
        Ok(identity) => identity,
        Err((error, who)) => {
            if method == Method::POST {
                let who = who.as_ref().map_or("", |who| who.name.as_str());
                tracing::info!(target: "audit", who, %path, refused = %error, "not allowed");
            }
            return error.into_response();
        }
    };
    request.extensions_mut().insert(identity.clone());
    let response = next.run(request).await;
    if method == Method::POST {
        let refused = response.extensions().get::<Refused>().map(|Refused(error)| error.status_and_code().1);
        let made = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        tracing::info!(
            target: "audit",
            who = identity.name,
            token = %identity.token,
            role = identity.role.as_str(),
            action = route,
            %path,
            made,
            status = response.status().as_u16(),
            refused,
            "change"
        );
    }
    response
}

async fn admit(
    api: &Api,
    headers: &HeaderMap,
    method: &Method,
    route: Option<&str>,
) -> Result<Identity, (Error, Option<Identity>)> {
    let token = bearer(headers).ok_or((Error::Unauthorized("a bearer token is needed"), None))?;
    let identity = api.tokens.identify(token).await.map_err(|error| (error, None))?;
    let allowed = || {
        api.tokens.spend(identity.token)?;
        let needed = needed(method, route);
        if identity.role < needed {
            let (role, needed) = (identity.role.as_str(), needed.as_str());
            return Err(Error::Forbidden(format!("this needs the role {needed}; the token's role is {role}").into()));
        }
        Ok(())
    };
    match allowed() {
        Ok(()) => Ok(identity),
        Err(error) => Err((error, Some(identity))),
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Everyone looks; operators change rooms and what is in them; the rest is the admins'.
fn needed(method: &Method, route: Option<&str>) -> Role {
    match (method, route) {
        (&Method::GET | &Method::HEAD, _) | (_, None) => Role::Viewer,
        (_, Some(route)) if route.starts_with("/api/conference_rooms") => Role::Operator,
        _ => Role::Admin,
    }
}

/// Runs changes on a task of their own: a client that hangs up halfway does not leave half a change.
pub(super) async fn to_the_end(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panicked(panic),
            Err(_) => Error::Busy("the server is stopping".into()).into_response(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn bearer_tokens_are_read_and_nothing_else_is() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            assert_eq!(bearer(&headers), token, "{value}");
        }
    }

    #[tokio::test]
    async fn panic_in_a_change_or_a_look_is_a_refusal_of_that_request_alone() {
        async fn broken() {
            panic!("a bug");
        }
        let router = axum::Router::new().route("/", axum::routing::get(broken).post(broken)).layer(
            tower::ServiceBuilder::new()
                .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
                .layer(axum::middleware::from_fn(to_the_end)),
        );
        for method in [Method::GET, Method::POST] {
            let request = Request::builder().method(method).uri("/").body(axum::body::Body::empty()).unwrap();
            let response = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
            assert_eq!(response.status(), 500);
            let Some(Refused(Error::Broken(reason))) = response.extensions().get::<Refused>() else { panic!() };
            assert_eq!(reason, "panic: a bug");
        }
    }

    #[tokio::test]
    async fn change_goes_on_when_its_client_hangs_up() {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let steps = Arc::new(std::sync::Mutex::new(Some((begun, goes_on, done))));
        let change = move || async move {
            let (begun, goes_on, done) = steps.lock().unwrap().take().unwrap();
            begun.send(()).unwrap();
            goes_on.await.unwrap();
            done.send(()).unwrap();
        };
        let router =
            axum::Router::new().route("/", axum::routing::post(change)).layer(axum::middleware::from_fn(to_the_end));
        let request = Request::builder().method(Method::POST).uri("/").body(axum::body::Body::empty()).unwrap();
        let client = tokio::spawn(tower::ServiceExt::oneshot(router, request));
        begins.await.unwrap();
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        go_on.send(()).unwrap();
        is_done.await.unwrap();
    }

    #[test]
    fn roles_are_enough_for_what_the_contract_gives_them() {
        assert_eq!(needed(&Method::GET, Some("/api/conference_servers")), Role::Viewer);
        assert_eq!(needed(&Method::POST, Some("/api/conference_rooms/{id}/mute")), Role::Operator);
        assert_eq!(needed(&Method::POST, Some("/api/conference_servers/{id}")), Role::Admin);
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }
}
