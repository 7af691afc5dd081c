//! The API against its own description, on both databases, with clients that nobody here wrote: a Python client that is
//! generated from it, and schemathesis, which sends what the description allows and what it forbids. Phones are in rooms
//! meanwhile, so that there is something to act on.

use crate::support::{setup, talker, wait_participants};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::api::Api;
use testkit::phone::Phone;
use testkit::postgres::{Cluster, fresh_database, test_server};
use testkit::sdp::Codec;
use testkit::server::{Server, Setup};

/// A run that takes longer hangs; with its packages still to be fetched, on a busy machine.
const LONGEST_S: &str = "1200";
/// Who may sign in, as the description's example does.
const USER: [&str; 5] = ["user", "add", "alice", "--role", "viewer"];
const PASSWORD: &[u8] = b"correct horse battery staple\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn sqlite_server_does_what_its_description_says() {
    keeps_to_its_description(&unlimited().database("").start());
}

#[test]
fn postgresql_server_does_what_its_description_says() {
    let own = test_server().is_none().then(|| Cluster::start(root()));
    let database = match &own {
        Some(cluster) => cluster.database(),
        None => fresh_database(&test_server().expect("a server's URL")),
    };
    keeps_to_its_description(&unlimited().database(&database).start());
}

/// Nothing is refused for being asked too often.
fn unlimited() -> Setup {
    setup()
        .env("CONCLAVE__API__REQUESTS_PER_MINUTE", "10000000")
        .env("CONCLAVE__AUTH__FAILURES_PER_MINUTE", "10000000")
        .env("CONCLAVE__AUTH__SIGN_IN_ATTEMPTS", "1000")
        .env("CONCLAVE__AUTH__SIGN_IN_ATTEMPTS_PER_ADDRESS", "1000000")
}

#[track_caller]
fn keeps_to_its_description(server: &Server) {
    let mut user = server.command(&USER).stdin(Stdio::piped()).spawn().expect("the binary starts");
    user.stdin.take().expect("a pipe").write_all(PASSWORD).expect("it reads a password");
    assert!(user.wait().expect("our own child").success());
    let _phones: Vec<Phone> =
        ["900", "901", "902"].iter().flat_map(|extension| conference(server, extension)).collect();

    run(server, "tests/python_client/run");
    run(server, "tests/schemathesis/run");

    let api = server.api();
    api.get("/readyz").expect(200);
    let log = server.log();
    let bad: Vec<&str> = log.lines().filter(|line| line.contains("panicked") || line.contains(" ERROR ")).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    let metrics = api.get("/metrics").expect(200).text();
    let failed = |line: &&str| {
        let is_5xx = line.starts_with("conclave_api_requests_total{") && line.contains("status=\"5");
        // It was asked whether it is ready while it was not.
        is_5xx && !line.contains("status=\"503\"") || line.contains("_panics_total") && !line.ends_with(" 0")
    };
    let failed: Vec<&str> = metrics.lines().filter(|line| !line.starts_with('#')).filter(failed).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // What was only ever refused was hardly tested.
    let unreached = |operation: &String| !metrics.contains(&format!("{operation},status=\"2"));
    let unreached: Vec<String> = operations(&api).into_iter().filter(unreached).collect();
    assert!(unreached.is_empty(), "never done: {}", unreached.join("\n"));
}

/// Each as its metric names it, but for those that cannot succeed here, or hardly.
fn operations(api: &Api) -> Vec<String> {
    // A stream does not end, the token has no session, nothing leads out to who is invited, few refresh tokens come up.
    let others = ["/api/events", "/api/auth/sign_out", "/participants/invite", "/api/auth/refresh_token", "/destroy"];
    let whole = api.get("/api/openapi.json").expect(200).json();
    let paths = whole["paths"].as_object().expect("paths");
    let tried = paths.iter().filter(|(path, _)| !others.iter().any(|other| path.ends_with(other)));
    let all =
        tried.flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |(method, _)| (path, method)));
    all.map(|(path, method)| format!("method=\"{}\",route=\"{path}\"", method.to_uppercase())).collect()
}

/// A room with two people in it, one recording that is finished and one that runs.
fn conference(server: &Server, extension: &str) -> [Phone; 2] {
    let api = server.api();
    // With a picture, a small one: everything that can be asked of a room can be asked of it.
    let picture = serde_json::json!({"mode": "VIDEO", "width": 176, "height": 144, "framerate": 5, "bitrate": 128});
    let room = api.create_room_with(extension, 10, &picture);
    let phones = [("alice", 500.0), ("bob", 900.0)].map(|(name, hz)| talker(server, extension, name, Codec::Pcmu, hz));
    wait_participants(&api, &room, 2);
    for action in ["start_recording", "stop_recording", "start_recording"] {
        api.act(&format!("/api/conference_rooms/{room}/{action}")).expect(200);
    }
    phones
}

/// Below the other tests in priority, as those have phones that must not be late.
#[track_caller]
fn run(server: &Server, script: &str) {
    let out = Command::new("timeout")
        .args([LONGEST_S, "nice", "-n", "10"])
        .arg(root().join(script))
        .args([server.base_url(), server.token()])
        .stdin(Stdio::null())
        .output()
        .expect("timeout runs");
    let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(out.status.success(), "{script}: {}\n{}", out.status, said.concat());
}
