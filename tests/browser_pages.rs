//! The page to join with, in real browsers: Chromium by Playwright, two people with tones of their own in one VIDEO room; Firefox,
//! which has no H.264, by WebDriver BiDi.

use crate::support::{BEEP_DB, beeps, own_address, setup, talker, video_room};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::sdp::Codec;
use testkit::server::{Server, TempDir};
use testkit::tone::Expectation;
use testkit::{ports, wav};

/// As Debian installs it.
const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";
const FIREFOX: &str = "/usr/bin/firefox-esr";
const RATE_HZ: u32 = 48_000;

#[test]
fn two_people_join_by_the_link_hear_and_see_each_other_and_one_leads() {
    let server = setup().start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({ "room_pin": "1234", "admin_pin": "4321" }));
    let room = api.get(&format!("/api/conference_rooms/{room}")).expect(200).json();
    let token = room["token"].as_str().expect("a token");
    let dir = TempDir::new("pages");
    for (name, hz) in [("ann", 700.0), ("bob", 1_100.0)] {
        wav::write(&dir.path().join(format!("{name}.wav")), RATE_HZ, 1, &beeps(hz)).expect("a WAV file");
    }
    drive("pages.mjs", CHROMIUM, &server, token, &dir);
    for shot in ["pin", "call", "chairman", "ended"] {
        assert!(dir.path().join(format!("{shot}-dark-1200.png")).exists(), "no screenshot of {shot}");
    }
}

#[test]
fn two_people_join_with_firefox() {
    let server = setup().env("CONCLAVE__WEBRTC__ADDRESSES", &own_address()).start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({}));
    let room = api.get(&format!("/api/conference_rooms/{room}")).expect(200).json();
    let dir = TempDir::new("firefox");
    drive("firefox.mjs", FIREFOX, &server, room["token"].as_str().expect("a token"), &dir);
    assert!(dir.path().join("firefox.png").exists());
}

/// Everything that an operator does, from the sign-in to the last recording, with two people in a room.
#[test]
fn operator_runs_the_node_from_the_console() {
    let server = setup()
        .env("CONCLAVE__WEBHOOKS__ALLOW_PRIVATE", "true")
        // The second event that cannot be delivered is a dead letter at once.
        .env("CONCLAVE__WEBHOOKS__MAX_PENDING", "1")
        .start();
    server.run_with("correct horse battery staple\n", &["user", "add", "alice", "--role", "operator"]);
    let dir = TempDir::new("console");
    for (name, hz) in [("ann", 700.0), ("bob", 1_100.0)] {
        wav::write(&dir.path().join(format!("{name}.wav")), RATE_HZ, 1, &beeps(hz)).expect("a WAV file");
    }
    drive("console.mjs", CHROMIUM, &server, &server.token(), &dir);
    for shot in ["sign-in", "rooms", "room", "room-form", "servers", "recordings", "events", "webhooks"] {
        let path = dir.path().join(format!("console-{shot}-dark-1200.png"));
        assert!(path.exists(), "no screenshot of {shot}");
    }
}

/// JsSIP over secure WebSocket with a certificate of the server's own making, and a phone in the same room.
#[test]
fn softphone_in_chromium_calls_a_room_over_secure_websocket() {
    let secure = format!("127.0.0.1:{}", ports::one());
    let account = ("webphone", "correct-horse");
    let server = setup()
        .env("CONCLAVE__API__TLS_SELF_SIGNED", "true")
        .env("CONCLAVE__API__TLS_LISTEN", &secure)
        .env("CONCLAVE__API__PUBLIC_URL", &format!("https://{secure}"))
        .env("CONCLAVE__WEBRTC__SIP_ACCOUNTS", &format!("{} {}", account.0, account.1))
        .start();
    let api = server.api();
    let id = api.create_room("900", 10);
    let room = api.get(&format!("/api/conference_rooms/{id}")).expect(200).json();
    let wss = format!("wss://{}:{}/ws", room["sbc_host"].as_str().expect("a host"), room["sbc_port"]);
    assert_eq!(wss, format!("wss://{secure}/ws"));
    let token = room["token"].as_str().expect("a token");
    let phone = talker(&server, "900", "bob", Codec::Pcmu, 500.0);
    let dir = TempDir::new("softphone");
    wav::write(&dir.path().join("ann.wav"), RATE_HZ, 1, &beeps(700.0)).expect("a WAV file");
    let admin = server.token();
    let arguments = [CHROMIUM, &wss, &server.base_url(), &admin, &id, token, account.0, account.1];
    let mut script = script("softphone.mjs", &dir);
    let script = script.args(arguments).arg(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.stderr(Stdio::piped()).spawn().expect("node runs");
    let mut line = String::new();
    BufReader::new(script.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line, or the end");
    if line.trim() == "talking" {
        let beeping = Expectation { present: vec![700.0], absent: vec![500.0], level_db: BEEP_DB, tolerance_db: 9.0 };
        phone.hears_as(&beeping);
        script.stdin.as_mut().expect("a pipe").write_all(b"go on\n").expect("the script reads");
    }
    let ended = script.wait_with_output().expect("our own child");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
}

/// A script that drives a browser, without its arguments.
fn script(name: &str, dir: &TempDir) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/control/web/browser").join(name);
    let mut command = Command::new("timeout");
    command.args(["300", "node"]).arg(path).env("HOME", dir.path());
    command
}

/// Lets a script drive a browser, and says what it complained of.
#[track_caller]
fn drive(script: &str, browser: &str, server: &Server, token: &str, dir: &TempDir) {
    let mut script = self::script(script, dir);
    let script = script.args([browser, &server.base_url(), token]).arg(dir.path()).stdin(Stdio::null());
    let ended = script.output().expect("node runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
}
