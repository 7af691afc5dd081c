//! Real browsers that stay in a room while something is done around them: their server's ports are blocked, UDP does not get
//! through, they are recorded together with a phone that nobody here wrote.

use crate::support::{beeps, path_of, setup, token, video_room, wait_participants, wait_recording};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use testkit::baresip::Baresip;
use testkit::ffmpeg;
use testkit::phone::TONE_DB;
use testkit::picture::{Colour, Picture};
use testkit::sdp::Codec;
use testkit::server::{Server, TempDir};
use testkit::video_codec::VideoCodec;
use testkit::{tone, wav};

/// As Debian installs it.
const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";
const RATE_HZ: u32 = 48_000;

/// Somebody with a browser: name, tone, and what their camera sees.
type Person = (&'static str, f64, Colour);

const ANN: Person = ("ann", 700.0, Colour::Blue);
const BOB: Person = ("bob", 1_100.0, Colour::Green);

/// A script that has them in browsers.
struct People {
    script: Child,
    /// Closed, the script ends and takes its browsers with it.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// With their sounds and clips.
    _dir: TempDir,
}

impl People {
    fn start(server: &Server, token: &str, people: &[Person]) -> Self {
        let dir = TempDir::new("people");
        for (name, hz, colour) in people {
            let file = |ending: &str| dir.path().join(format!("{name}.{ending}"));
            wav::write(&file("wav"), RATE_HZ, 1, &beeps(*hz)).expect("a WAV file");
            std::fs::write(file("y4m"), clip(*colour)).expect("a clip");
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/control/web/browser/people.mjs");
        let mut script = Command::new("timeout")
            .args(["300", "node"])
            .arg(path)
            .args([CHROMIUM, &server.base_url(), token])
            .arg(dir.path())
            .args(people.iter().map(|(name, hz, _)| format!("{name}:{hz}")))
            .env("HOME", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node runs");
        let orders = script.stdin.take();
        let answers = BufReader::new(script.stdout.take().expect("a pipe"));
        Self { script, orders, answers, _dir: dir }
    }

    /// Has one of them do something, and waits until it is done.
    #[track_caller]
    fn tell(&mut self, order: &str) {
        let mut answer = String::new();
        let sent = writeln!(self.orders.as_mut().expect("a pipe"), "{order}");
        let read = self.answers.read_line(&mut answer);
        if sent.is_err() || read.is_err() || answer != "ok\n" {
            let mut said = String::new();
            if let Some(mut errors) = self.script.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut errors, &mut said);
            }
            panic!("{order}: {said}");
        }
    }
}

impl Drop for People {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.script.wait();
    }
}

/// Half a second of one colour, as YUV4MPEG2.
fn clip(colour: Colour) -> Vec<u8> {
    let picture = Picture::solid(640, 360, colour);
    let mut clip = b"YUV4MPEG2 W640 H360 F15:1 Ip A1:1 C420jpeg\n".to_vec();
    for _ in 0..8 {
        clip.extend(b"FRAME\n");
        for plane in picture.planes() {
            clip.extend_from_slice(plane);
        }
    }
    clip
}

#[test]
fn phone_and_two_browsers_are_in_one_recording() {
    let server = setup().legs(8).start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({ "layout": "LAYOUT4" }));
    let mut people = People::start(&server, &token(&api, &room), &[ANN, BOB]);
    let mut phone = Baresip::start_with_video("ben", Codec::Opus, 500.0, TONE_DB, VideoCodec::H264);
    phone.call(&format!("sip:900@{}", server.sip_address()));
    wait_participants(&api, &room, 1);
    for name in ["ann", "bob"] {
        people.tell(&format!("{name} joins udp"));
    }
    people.tell("ann hears bob");
    people.tell("bob hears ann");
    for name in ["ann", "bob"] {
        people.tell(&format!("{name} sees pictures"));
    }
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    for _ in 0..3 {
        people.tell("ann sees pictures");
    }
    people.tell("ann shot recorded.png");
    api.act(&format!("/api/conference_rooms/{room}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = server.scratch("people.mp4");
    std::fs::write(&path, api.get(&path_of(&recording["file_url"])).expect(200).body).expect("a file");
    let last = ffmpeg::pictures(&path).expect("pictures").pop().expect("pictures");
    // The phone has three stripes in the first tile, the browsers one colour each in the next two.
    for (x, y, colour) in [(160, 90, Colour::Green), (480, 90, Colour::Blue), (160, 270, Colour::Green)] {
        assert_eq!(last.colour_at(x, y, 8), Some(colour), "{}", last.sketch(32, 18));
    }
    let pcm = ffmpeg::decode(&path, RATE_HZ).expect("sound");
    let loudest = |hz: f64| {
        let windows = pcm.chunks(RATE_HZ as usize / 10);
        windows.map(|window| tone::level(window, RATE_HZ, hz)).fold(f64::NEG_INFINITY, f64::max)
    };
    let found = [500.0, 700.0, 1_100.0].map(loudest);
    assert!(found.iter().all(|db| *db > -40.0), "{found:?}");
    phone.hang_up();
}

#[test]
fn browser_comes_back_by_itself_after_its_servers_ports_were_blocked() {
    let server = setup().start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({}));
    let mut people = People::start(&server, &token(&api, &room), &[ANN, BOB]);
    for name in ["ann", "bob"] {
        people.tell(&format!("{name} joins udp"));
    }
    people.tell("ann hears bob");
    let ids = || {
        let all = wait_participants(&api, &room, 2);
        all.iter().map(|p| p["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let before = ids();
    let frozen = server.freeze(Duration::from_secs(5));
    people.tell("ann is reconnecting");
    drop(frozen);
    for name in ["ann", "bob"] {
        people.tell(&format!("{name} is joined"));
    }
    people.tell("ann hears bob");
    people.tell("bob hears ann");
    people.tell("ann sees pictures");
    assert_eq!(ids(), before, "the same participants");
}

#[test]
fn browser_that_no_udp_reaches_joins_over_tcp() {
    let server = setup().env("CONCLAVE__WEBRTC__TCP", "true").env("CONCLAVE__WEBRTC__TCP_PORT", "0").start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({}));
    let mut people = People::start(&server, &token(&api, &room), &[ANN, BOB]);
    people.tell("ann joins tcp");
    people.tell("bob joins udp");
    people.tell("ann hears bob");
    people.tell("bob hears ann");
    people.tell("ann sees pictures");
    people.tell("bob sees pictures");
}
