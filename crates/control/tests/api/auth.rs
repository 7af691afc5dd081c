//! Signing in and out, the roles that come with it, and what slows guessing down.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use control::{tokens, users};
use serde_json::{Value, json};

use crate::house::{Answer, House, config};

const ROOMS: &str = "/api/conference_rooms";
const SIGN_IN: &str = "/api/auth/sign_in";
const PASSWORD: &str = "correct horse";
const FORM: &str = "application/x-www-form-urlencoded";

fn entry(name: &str, role: &str) -> String {
    format!("\"{name} {role} {}\"", users::hash(PASSWORD).unwrap())
}

/// With alice (admin) and bob (viewer) of the configuration.
async fn house_with(more: &[(&str, &str)]) -> House {
    let users = format!("[{}, {}]", entry("alice", "admin"), entry("bob", "viewer"));
    House::open_with(&[&[("AUTH__USERS", users.as_str())][..], more].concat()).await
}

async fn post(house: &House, path: &str, content_type: &str, body: String, from: &str) -> Answer {
    let request = Request::builder().method("POST").uri(path).header(header::CONTENT_TYPE, content_type);
    house.send(request.header("x-forwarded-for", from).body(Body::from(body)).unwrap()).await
}

async fn json(house: &House, path: &str, body: &Value) -> Answer {
    post(house, path, "application/json", body.to_string(), "").await
}

async fn sign_in(house: &House, name: &str, password: &str) -> Answer {
    json(house, SIGN_IN, &json!({"username": name, "password": password, "domain": "example.com"})).await
}

async fn with(house: &House, token: &str, method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    house.send(request.body(Body::empty()).unwrap()).await
}

fn token(answer: &Answer, kind: &str) -> String {
    answer.json()[kind].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn session_lives_from_sign_in_over_refresh_to_sign_out() {
    let house = house_with(&[]).await;
    let first = sign_in(&house, "alice", PASSWORD).await.expect(200);
    assert_eq!(first.header(header::CACHE_CONTROL), "no-store");
    let body = first.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    with(&house, &token(&first, "access_token"), "GET", ROOMS).await.expect(200);
    with(&house, &token(&first, "refresh_token"), "GET", ROOMS).await.refused(401, "UNAUTHORIZED");

    let refresh = |answer: &Answer| json!({"refresh_token": token(answer, "refresh_token")});
    let second = json(&house, "/api/auth/refresh_token", &refresh(&first)).await.expect(200);
    let access = token(&second, "access_token");
    with(&house, &access, "GET", ROOMS).await.expect(200);
    assert!(with(&house, &access, "POST", "/api/auth/sign_out").await.expect(200).body.is_empty());
    for ended in [&access, &token(&first, "access_token")] {
        with(&house, ended, "GET", ROOMS).await.refused(401, "UNAUTHORIZED");
    }
    json(&house, "/api/auth/refresh_token", &refresh(&second)).await.refused(400, "UNAUTHORIZED");
}

#[tokio::test]
async fn refresh_token_that_is_used_twice_ends_the_session() {
    let house = house_with(&[]).await;
    let first = sign_in(&house, "alice", PASSWORD).await.expect(200);
    let body = json!({"refresh_token": token(&first, "refresh_token")});
    let second = json(&house, "/api/auth/refresh_token", &body).await.expect(200);
    with(&house, &token(&second, "access_token"), "GET", ROOMS).await.expect(200);
    json(&house, "/api/auth/refresh_token", &body).await.refused(400, "UNAUTHORIZED");
    with(&house, &token(&second, "access_token"), "GET", ROOMS).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn role_of_the_user_is_the_sessions() {
    let house = house_with(&[]).await;
    let viewer = token(&sign_in(&house, "bob", PASSWORD).await.expect(200), "access_token");
    with(&house, &viewer, "GET", ROOMS).await.expect(200);
    with(&house, &viewer, "POST", ROOMS).await.refused(403, "FORBIDDEN");
    // Whoever may look may also leave.
    with(&house, &viewer, "POST", "/api/auth/sign_out").await.expect(200);
    let admin = token(&sign_in(&house, "alice", PASSWORD).await.expect(200), "access_token");
    with(&house, &admin, "POST", &format!("{ROOMS}/x/mute")).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn failed_sign_in_says_the_same_of_wrong_names_and_wrong_passwords() {
    let house = house_with(&[]).await;
    let mut told = Vec::new();
    for (name, password) in [("alice", "guess"), ("nobody", PASSWORD), ("nobody", "guess")] {
        let answer = sign_in(&house, name, password).await;
        told.push(answer.json());
        answer.refused(400, "UNAUTHORIZED");
    }
    assert!(told.iter().all(|body| *body == told[0]));
    let missing = json(&house, SIGN_IN, &json!({"username": "", "domain": 5})).await;
    assert_eq!(missing.refused(400, "VALIDATE_FAILED"), ["username", "password", "domain"]);
    for (content_type, body, status) in
        [("text/plain", "{}", 415), ("application/json", "{", 400), (FORM, "username=a&username=b&password=c", 400)]
    {
        post(&house, SIGN_IN, content_type, body.into(), "").await.refused(status, "VALIDATE_FAILED");
    }
}

#[tokio::test]
async fn user_is_locked_out_after_failures_from_wherever() {
    let proxy = [("API__TRUSTED_PROXIES", "127.0.0.0/8"), ("AUTH__SIGN_IN_ATTEMPTS", "3")];
    let house = house_with(&proxy).await;
    let attempt = |name: &str, password: &str, from: &'static str| {
        let body = json!({"username": name, "password": password}).to_string();
        post(&house, SIGN_IN, "application/json", body, from)
    };
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        attempt("alice", "guess", from).await.refused(400, "UNAUTHORIZED");
    }
    let locked = attempt("alice", PASSWORD, "192.0.2.4").await;
    let retry_after: u32 = locked.header(header::RETRY_AFTER).parse().unwrap();
    assert!((1..=30).contains(&retry_after), "{retry_after}");
    locked.refused(429, "RATE_LIMITED");
    attempt("bob", PASSWORD, "192.0.2.4").await.expect(200);
    // Names that do not exist are locked out like those that do.
    for _ in 0..3 {
        attempt("nobody", "guess", "192.0.2.5").await.refused(400, "UNAUTHORIZED");
    }
    attempt("nobody", "guess", "192.0.2.6").await.refused(429, "RATE_LIMITED");
}

#[tokio::test]
async fn address_is_locked_out_after_failures_for_whomever() {
    let proxy = [("API__TRUSTED_PROXIES", "127.0.0.0/8"), ("AUTH__SIGN_IN_ATTEMPTS_PER_ADDRESS", "3")];
    let house = house_with(&proxy).await;
    let attempt = |name: &str, password: &str, from: &'static str| {
        let body = json!({"username": name, "password": password}).to_string();
        post(&house, SIGN_IN, "application/json", body, from)
    };
    for name in ["a", "b", "c"] {
        attempt(name, "guess", "192.0.2.1, 127.0.0.1").await.refused(400, "UNAUTHORIZED");
    }
    // What a client writes into the header itself is no way around.
    attempt("alice", PASSWORD, "198.51.100.1, 192.0.2.1").await.refused(429, "RATE_LIMITED");
    attempt("alice", PASSWORD, "192.0.2.2").await.expect(200);
}

#[tokio::test]
async fn older_twins_take_forms_and_json() {
    let house = house_with(&[]).await;
    let oauth = "/api/login/oauth/token";
    let granted = post(&house, oauth, FORM, "grant_type=password&username=alice&password=correct+horse".into(), "")
        .await
        .expect(200);
    let form = format!("grant_type=refresh_token&refresh_token={}", token(&granted, "refresh_token"));
    let granted = post(&house, oauth, &format!("{FORM}; charset=utf-8"), form, "").await.expect(200);
    let access = token(&granted, "access_token");
    with(&house, &access, "GET", ROOMS).await.expect(200);
    json(&house, oauth, &json!({"grant_type": "password", "username": "bob", "password": PASSWORD})).await.expect(200);
    let sign_in = "username=bob&password=correct%20horse".to_owned();
    post(&house, SIGN_IN, FORM, sign_in, "").await.expect(200);
    let wrong = post(&house, oauth, FORM, "grant_type=client_credentials".into(), "").await;
    assert_eq!(wrong.refused(400, "VALIDATE_FAILED"), ["grant_type"]);
    let twice = post(&house, oauth, FORM, "grant_type=password&username=bob&username=eve&password=x".into(), "").await;
    assert_eq!(twice.refused(400, "VALIDATE_FAILED"), ["username"]);

    let revoke = "/api/login/oauth/revoke";
    let form = format!("token={access}&unknown=1&unknown=2");
    assert!(post(&house, revoke, FORM, form, "").await.expect(200).body.is_empty());
    with(&house, &access, "GET", ROOMS).await.refused(401, "UNAUTHORIZED");
    post(&house, revoke, FORM, "token=unknown&token_type_hint=access_token".into(), "").await.expect(200);
    assert_eq!(post(&house, revoke, FORM, String::new(), "").await.refused(400, "VALIDATE_FAILED"), ["token"]);
    let long_lived = format!("token={}", house.token("admin"));
    post(&house, revoke, FORM, long_lived, "").await.refused(409, "INVALID_STATE");
}

#[tokio::test]
async fn long_lived_token_cannot_sign_out() {
    let house = House::open().await;
    let answer = house.post_as("viewer", "/api/auth/sign_out", &json!({})).await;
    assert!(answer.text().contains("conclave token revoke"), "{}", answer.text());
    answer.refused(409, "INVALID_STATE");
    house.fetch_as("viewer", ROOMS).await.expect(200);
}

#[tokio::test]
async fn tokens_of_the_configuration_open_until_they_leave_it() {
    let entry = format!("portal operator {}", sha256_hex("a-token-of-my-own"));
    let house = House::open_with(&[("AUTH__TOKENS", &entry)]).await;
    with(&house, "a-token-of-my-own", "GET", ROOMS).await.expect(200);
    with(&house, "a-token-of-my-own", "POST", "/api/conference_servers/x").await.refused(403, "FORBIDDEN");
    let house = House::open_in(house.crash().await, &[]).await;
    with(&house, "a-token-of-my-own", "GET", ROOMS).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn sessions_end_with_their_user_and_survive_a_restart() {
    let house = House::open().await;
    let settings = config(house.dir.path(), &[]);
    users::add(&settings, "carol", tokens::Role::Operator, PASSWORD).await.unwrap();
    let granted = sign_in(&house, "carol", PASSWORD).await.expect(200);
    let house = House::open_in(house.crash().await, &[]).await;
    let access = token(&granted, "access_token");
    with(&house, &access, "GET", ROOMS).await.expect(200);
    users::remove(&settings, "carol").await.unwrap();
    // Another process did it: known within a second.
    house.until("the session's end", async || with(&house, &access, "GET", ROOMS).await.status == 401).await;
    sign_in(&house, "carol", PASSWORD).await.refused(400, "UNAUTHORIZED");
}

#[tokio::test]
async fn revoked_and_expired_tokens_end_while_the_server_runs() {
    let house = House::open().await;
    let settings = config(house.dir.path(), &[]);
    let lost = tokens::create(&settings, "lost", tokens::Role::Viewer, None).await.unwrap();
    let short = tokens::create(&settings, "short", tokens::Role::Viewer, Some(Duration::from_secs(1))).await.unwrap();
    with(&house, &lost, "GET", ROOMS).await.expect(200);
    let lines = tokens::list(&settings).await.unwrap();
    let id = lines.iter().find(|line| line.ends_with("lost")).unwrap().split(' ').next().unwrap().to_owned();
    tokens::revoke(&settings, &id).await.unwrap();
    for ended in [&lost, &short] {
        house.until("the token's end", async || with(&house, ended, "GET", ROOMS).await.status == 401).await;
    }
}

#[tokio::test]
async fn guessing_tokens_is_slowed_for_the_address_that_does_it() {
    let limits = [("API__TRUSTED_PROXIES", "127.0.0.0/8"), ("AUTH__FAILURES_PER_MINUTE", "4")];
    let house = House::open_with(&limits).await;
    let guess = |token: &str, from: &'static str| {
        let request = Request::builder().uri(ROOMS).header("x-forwarded-for", from);
        let request = match token {
            "" => request,
            token => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        };
        house.send(request.body(Body::empty()).unwrap())
    };
    guess(house.token("viewer"), "192.0.2.1").await.expect(200);
    for token in ["", "short", "a-guess-that-is-long", "cnv_a-guess-that-is-long"] {
        guess(token, "192.0.2.1").await.refused(401, "UNAUTHORIZED");
    }
    let slowed = guess("another-guess-that-is-long", "192.0.2.1").await;
    let retry_after: u32 = slowed.header(header::RETRY_AFTER).parse().unwrap();
    assert!((1..=15).contains(&retry_after), "{retry_after}");
    slowed.refused(429, "RATE_LIMITED");
    guess("", "192.0.2.1").await.refused(429, "RATE_LIMITED");
    guess("", "192.0.2.2").await.refused(401, "UNAUTHORIZED");
    guess(house.token("viewer"), "192.0.2.1").await.expect(200);
}

#[tokio::test]
async fn lost_database_is_busy_for_those_who_sign_in() {
    let house = house_with(&[]).await;
    house.store.close().await;
    let answer = sign_in(&house, "alice", PASSWORD).await;
    assert!(!answer.header(header::RETRY_AFTER).is_empty());
    answer.refused(503, "BUSY");
}

fn sha256_hex(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
