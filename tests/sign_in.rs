//! Users of a running server: made, signed in, and removed beside it; and the audit lines that tell of it.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use crate::support::setup;
use serde_json::json;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;
use testkit::server::Server;
use testkit::wait;

const ROOMS: &str = "/api/conference_rooms";
const PASSWORD: &str = "correct horse battery";

fn user(server: &Server, arguments: &[&str]) {
    let mut command = server.command(&[&["user"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // `remove` takes no input, and may have ended.
    let _ = writeln!(child.stdin.take().unwrap(), "{PASSWORD}");
    assert!(child.wait().unwrap().success(), "{arguments:?}");
}

#[test]
fn user_made_beside_the_server_signs_in_and_is_signed_out_by_removal() {
    let server = setup().start();
    user(&server, &["add", "alice", "--role", "operator"]);
    let stranger = server.api().with_token(None);
    let credentials = json!({"username": "alice", "password": PASSWORD});
    let granted = stranger.post("/api/auth/sign_in", &credentials).expect(200).json();
    stranger
        .post("/api/auth/sign_in", &json!({"username": "alice", "password": "a guess"}))
        .refused(400, "UNAUTHORIZED");
    stranger.post(ROOMS, &json!({})).refused(401, "UNAUTHORIZED");
    let alice = stranger.with_token(granted["access_token"].as_str());
    let room = alice.create_room("900", 5);
    alice.act(&format!("{ROOMS}/{room}/lock")).expect(200);
    alice.post("/api/conference_servers", &json!({})).refused(403, "FORBIDDEN");
    user(&server, &["remove", "alice"]);
    wait::until_true("alice is signed out", Duration::from_secs(5), || alice.get(ROOMS).status == 401);
    let refresh = json!({"refresh_token": granted["refresh_token"]});
    stranger.post("/api/auth/refresh_token", &refresh).refused(400, "UNAUTHORIZED");

    // Each of it is in the log: who, what, which room, with which result.
    let lock = format!("room=\"{room}\"");
    for parts in [
        &["who=\"uid ", "action=\"user add\"", "subject=\"alice (operator)\""][..],
        &["who=\"uid ", "action=\"user remove\"", "subject=\"alice\""],
        &["who=\"alice\"", "from=127.0.0.1", "action=\"/api/auth/sign_in\"", "status=200"],
        &["who=\"alice\"", "action=\"/api/auth/sign_in\"", "refused=the user name or the password is wrong"],
        &["from=127.0.0.1", "action=\"/api/conference_rooms\"", "refused=a bearer token is needed"],
        &["who=\"alice\"", "role=\"operator\"", "action=\"/api/conference_rooms\"", &lock, "status=201"],
        &["who=\"alice\"", "action=\"/api/conference_rooms/{id}/lock\"", &lock, "status=200"],
        &["who=\"alice\"", "path=\"/api/conference_servers\"", "refused="],
        &["action=\"/api/auth/refresh_token\"", "refused=the refresh token is not valid"],
    ] {
        wait::until(&format!("an audit line with {parts:?}"), Duration::from_secs(15), || {
            let log = server.log();
            let told = log.lines().any(|line| line.contains("audit") && parts.iter().all(|part| line.contains(part)));
            if told { Ok(()) } else { Err(log) }
        });
    }
    let log = server.log();
    for secret in [PASSWORD, "a guess", granted["access_token"].as_str().unwrap()] {
        assert!(!log.contains(secret), "the log has {secret}");
    }
}

#[test]
fn api_beyond_loopback_without_tls_is_warned_of() {
    let server = setup().on(std::net::Ipv4Addr::UNSPECIFIED.into()).start();
    let log = server.log();
    assert!(log.contains("WARNING  the API listens beyond this machine without TLS"), "{log}");
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("without TLS")), "{log}");
}
