//! The way in to the contract's resources: bearer token, role, budget; and one audit line for each change.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::audit::Deed;
use super::envelope::panicked;
use super::origin::Origin;
use crate::auth::Identity;
use crate::error::Error;
use crate::store::Role;

/// Which role a request needs at least, by how its route begins; the first line that fits holds. A HEAD is a GET.
const ROLES: &[(&str, &str, Role)] = &[
    // Their URLs may hold secrets.
    ("GET", "/api/webhooks", Role::Admin),
    ("GET", "/", Role::Viewer),
    ("POST", "/api/auth/sign_out", Role::Viewer),
    // A ticket is for looking.
    ("POST", "/api/events/ticket", Role::Viewer),
    ("POST", "/api/conference_rooms", Role::Operator),
    ("POST", "/api/conference_servers", Role::Admin),
];
/// Where events are followed, by a ticket too.
const FOLLOW: &str = "/api/events";

/// Lets requests through to their handlers, which find the `Identity` among the extensions.
pub(super) async fn pass(
    State(api): State<Arc<Api>>,
    Origin(from): Origin,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    if route.is_none() && !path.starts_with("/api/") {
        // Nothing of ours: no reason to ask for a token.
        return next.run(request).await;
    }
    let deed = Deed { from, action: route.as_deref(), path: &path };
    let ticket = ticket(request.uri(), route.as_deref());
    let identity = match identify(&api, from, request.headers(), ticket).await {
        Ok(identity) => identity,
        Err(error) => {
            if method == Method::POST {
                deed.refused(None, &error);
            }
            return error.into_response();
        }
    };
    if let Err(error) = allow(&api, &identity, &method, route.as_deref()) {
        if method == Method::POST {
            deed.refused(Some(&identity), &error);
        }
        return error.into_response();
    }
    request.extensions_mut().insert(identity.clone());
    let response = next.run(request).await;
    if method == Method::POST {
        deed.done(&identity, &response);
    }
    response
}

/// Who is asking: the one place that decides what a request may show to be let in.
async fn identify(api: &Api, from: IpAddr, headers: &HeaderMap, ticket: Option<String>) -> Result<Identity, Error> {
    match (bearer(headers), ticket) {
        (Some(token), _) => api.tokens.identify(token, from).await,
        (None, Some(ticket)) => {
            let redeemed = api.delivery.tickets.redeem(&ticket, Instant::now());
            redeemed.map_err(|error| api.tokens.stranger(from, error))
        }
        (None, None) => Err(api.tokens.stranger(from, Error::Unauthorized("a bearer token is needed"))),
    }
}

fn allow(api: &Api, who: &Identity, method: &Method, route: Option<&str>) -> Result<(), Error> {
    api.tokens.spend(who)?;
    let needed = needed(method, route);
    if who.role < needed {
        let (role, needed) = (who.role.as_str(), needed.as_str());
        return Err(Error::Forbidden(format!("this needs the role {needed}; the token's role is {role}").into()));
    }
    Ok(())
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The one-time ticket that stands for a token where a browser cannot set a header.
fn ticket(uri: &Uri, route: Option<&str>) -> Option<String> {
    if route != Some(FOLLOW) {
        return None;
    }
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    pairs.into_iter().find(|(name, _)| name == "ticket").map(|(_, ticket)| ticket)
}

/// What is in no line is the admins'. That there is no such route or method, everyone may hear.
fn needed(method: &Method, route: Option<&str>) -> Role {
    let Some(route) = route else { return Role::Viewer };
    let method = match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        _ => return Role::Viewer,
    };
    let line = ROLES.iter().find(|(of, begins, _)| *of == method && route.starts_with(begins));
    line.map_or(Role::Admin, |(.., role)| *role)
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
    use crate::api::envelope::Refused;
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
        for (method, route, role) in [
            (Method::GET, Some("/api/conference_servers"), Role::Viewer),
            (Method::HEAD, Some("/api/conference_rooms/{id}"), Role::Viewer),
            (Method::POST, Some("/api/auth/sign_out"), Role::Viewer),
            (Method::POST, Some("/api/conference_rooms"), Role::Operator),
            (Method::POST, Some("/api/conference_rooms/{id}/mute"), Role::Operator),
            (Method::POST, Some("/api/conference_servers/{id}"), Role::Admin),
            (Method::POST, Some("/api/events/ticket"), Role::Viewer),
            (Method::GET, Some("/api/webhooks/{id}/deliveries"), Role::Admin),
            (Method::HEAD, Some("/api/webhooks"), Role::Admin),
            (Method::POST, Some("/api/webhooks"), Role::Admin),
            (Method::POST, Some("/api/something_new"), Role::Admin),
            (Method::DELETE, Some("/api/conference_rooms"), Role::Viewer),
            (Method::POST, None, Role::Viewer),
        ] {
            assert_eq!(needed(&method, route), role, "{method} {route:?}");
        }
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }
}
