//! The page to join with, in real browsers: Chromium by Playwright, two people with tones of their own in one VIDEO room; Firefox,
//! which has no H.264, by WebDriver BiDi.

use crate::support::{setup, video_room};
use serde_json::json;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::server::{Server, TempDir};
use testkit::{tone, wav};

/// As Debian installs it.
const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";
const FIREFOX: &str = "/usr/bin/firefox-esr";
const RATE_HZ: u32 = 48_000;

/// Two seconds of a tone that comes and goes: what never changes is taken for noise, and suppressed.
fn beeps(hz: f64) -> Vec<i16> {
    let mut pcm = tone::sine(RATE_HZ, hz, -14.0, 2 * RATE_HZ as usize);
    for (n, sample) in pcm.iter_mut().enumerate() {
        if n % 24_000 > 16_000 {
            *sample = 0;
        }
    }
    pcm
}

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

/// An address of this machine that is not loopback, over which Firefox sends nothing. No packet is sent to find it.
fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let routed = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    routed.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// Lets a script drive a browser, and says what it complained of.
#[track_caller]
fn drive(script: &str, browser: &str, server: &Server, token: &str, dir: &TempDir) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/control/web/browser").join(script);
    let ended = Command::new("timeout")
        .args(["300", "node"])
        .arg(&script)
        .args([browser, &server.base_url(), token])
        .arg(dir.path())
        .env("HOME", dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
}
