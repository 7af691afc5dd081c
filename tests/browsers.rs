//! Browsers as participants: they join by a room's link, with phones in the same room. The far end is the test kit's WebRTC
//! client; `browser_pages` has real browsers.

use crate::support::{
    SOON, assert_tones, h264, path_of, saying, setup, shower, talker, token, video_room, wait_participants,
    wait_recording, wait_to_hear,
};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::api::{Answer, Api};
use testkit::ffmpeg;
use testkit::picture::Colour;
use testkit::sdp::Codec;
use testkit::server::TempDir;
use testkit::signal;
use testkit::tone;
use testkit::video_codec::VideoCodec;
use testkit::wait;
use testkit::wav;
use testkit::web_client::{Direction, WebClient, WebOptions, run, run_until};
use testkit::webrtc_peer::WebrtcPeer;

const PATIENCE: Duration = Duration::from_secs(30);
const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

fn post(api: &Api, token: &str, query: &str, more: &[(&str, &str)], offer: &str) -> Answer {
    let headers: Vec<(&str, &str)> = [SDP].iter().chain(more).copied().collect();
    api.send("POST", &format!("/join/{token}?{query}"), &headers, offer.as_bytes())
}

/// Joins; gives the session's address.
fn join(api: &Api, token: &str, query: &str, more: &[(&str, &str)], client: &mut WebClient) -> String {
    let answer = post(api, token, query, more, client.offer()).expect(201);
    assert_eq!(answer.header("content-type"), Some("application/sdp"));
    client.accept(&answer.text()).expect("an answer that can be taken");
    answer.header("location").expect("a session").to_owned()
}

fn act(api: &Api, session: &str, action: &Value) -> Answer {
    let json = [("Content-Type", "application/json")];
    api.send("POST", &format!("{session}/actions"), &json, action.to_string().as_bytes())
}

fn view(api: &Api, session: &str) -> Value {
    api.send("GET", session, &[], &[]).expect(200).json()
}

#[test]
fn browsers_and_a_phone_hear_each_other() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let token = token(&api, &room);
    let info = api.send("GET", &format!("/join/{token}"), &[], &[]).expect(200).json();
    assert_eq!(
        (&info["state"], &info["needs_pin"], &info["room"]["mode"]),
        (&"OPEN".into(), &false.into(), &"AUDIO".into())
    );
    let phone = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let (mut a, mut b) = (saying(700.0), saying(900.0));
    let session = join(&api, &token, "name=Ann%20%22B%22%20%3Cb%3E", &[], &mut a);
    join(&api, &token, "name=Bob&muted=true", &[], &mut b);
    wait_to_hear(&mut [&mut a, &mut b], &[500.0], &[700.0, 900.0]);
    wait_to_hear(&mut [&mut b, &mut a], &[500.0, 700.0], &[900.0]);
    std::thread::scope(|scope| {
        let hearing = scope.spawn(|| phone.hears(&[700.0], &[500.0, 900.0]));
        while !hearing.is_finished() {
            run(&mut [&mut a, &mut b], Duration::from_millis(20));
        }
    });
    let all = wait_participants(&api, &room, 3);
    let ann = all.iter().find(|p| p["display_name"].as_str().is_some_and(|name| name.contains("Ann"))).expect("Ann");
    assert_eq!((&ann["transport"], &ann["state"]), (&"WEBRTC".into(), &"JOINED".into()));
    assert_eq!(ann["audio_codec"], "OPUS");
    let seen = view(&api, &session);
    assert_eq!(seen["participants"][1]["name"], "Ann \"B\" <b>");
    assert_eq!((&seen["state"], &seen["muted"], &seen["may_unmute"]), (&"JOINED".into(), &false.into(), &true.into()));

    // From another address, with new credentials: the same participant, in a new ICE session.
    let fragment = a.restart();
    let answer = api.send("PATCH", &session, &[FRAGMENT, ("If-Match", "*")], fragment.as_bytes()).expect(200);
    let tag = answer.header("etag").expect("the tag of the new ICE session").to_owned();
    a.accept_fragment(&answer.text()).expect("the server's fragment");
    a.forget();
    b.forget();
    wait_to_hear(&mut [&mut b, &mut a], &[500.0, 700.0], &[900.0]);
    wait_to_hear(&mut [&mut a, &mut b], &[500.0], &[700.0]);
    let candidate = b"a=candidate:1 1 udp 1 127.0.0.1 1 typ host\r\n";
    api.send("PATCH", &session, &[FRAGMENT, ("If-Match", &tag)], candidate).expect(204);
    api.send("PATCH", &session, &[FRAGMENT, ("If-Match", "\"ice-0\"")], candidate).refused(412, "INVALID_STATE");
    api.send("PATCH", &session, &[FRAGMENT], candidate).expect(204);
    api.send("PATCH", &session, &[FRAGMENT], b"a=ice-ufrag:abcd\r\n").refused(400, "VALIDATE_FAILED");

    api.send("DELETE", &session, &[], &[]).expect(200);
    api.send("DELETE", &session, &[], &[]).refused(404, "NOT_FOUND");
    wait_participants(&api, &room, 2);
    assert!(run_until(&mut [&mut a], PATIENCE, |clients| clients[0].log.closed), "its media session is closed");
}

/// As GStreamer's publishers have it.
#[test]
fn publisher_whose_video_line_comes_first_is_seen_and_heard() {
    let server = setup().start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({}));
    let token = token(&api, &room);
    let (way, audio_direction) = (Direction::SendOnly, Direction::SendOnly);
    let video = Some((VideoCodec::Vp8, way));
    let options = WebOptions { video, audio_direction, video_first: true, ..WebOptions::default() };
    let mut publisher = WebClient::new(options);
    publisher.say(Some(signal::tone(48_000, 700.0, testkit::phone::TONE_DB)));
    publisher.show(Some(Colour::Blue));
    assert!(publisher.offer().contains("m=audio 0 ") && publisher.offer().contains("a=bundle-only"));
    let answer = post(&api, &token, "", &[], publisher.offer()).expect(201);
    let text = answer.text();
    let [video, audio] = ["m=video", "m=audio"].map(|line| text.find(line).expect("both lines"));
    let candidates = text.find("a=candidate").expect("candidates");
    assert!(video < candidates && candidates < audio, "candidates are on the line that all share: {text}");
    publisher.accept(&text).expect("an answer");
    let mut viewer = WebClient::new(WebOptions {
        audio_direction: Direction::RecvOnly,
        video: Some((VideoCodec::H264, Direction::RecvOnly)),
        ..WebOptions::default()
    });
    join(&api, &token, "name=Viewer", &[], &mut viewer);
    wait_to_hear(&mut [&mut viewer, &mut publisher], &[700.0], &[]);
    let sees = |clients: &[&mut WebClient]| {
        clients[0].seen().is_some_and(|picture| picture.colour_at(160, 180, 8) == Some(Colour::Blue))
    };
    assert!(run_until(&mut [&mut viewer, &mut publisher], PATIENCE, sees), "{:?}", viewer.log);
    let all = wait_participants(&api, &room, 2);
    assert!(all.iter().all(|p| p["on_hold"] == false), "who only publishes or only looks holds nobody: {all:?}");
}

/// Two stacks that share no line with ours: the `webrtc` crate's peer, and a phone.
#[test]
fn peer_of_the_webrtc_crate_hears_a_phone_and_is_heard() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let token = token(&api, &room);
    let phone = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let peer = WebrtcPeer::new();
    let answer = post(&api, &token, "name=Peer", &[], peer.offer()).expect(201);
    peer.accept(&answer.text(), 700.0).expect("an answer that can be taken");
    phone.hears(&[700.0], &[500.0]);
    wait::until("the peer hears the phone alone", PATIENCE, || {
        let heard = peer.last_heard().ok_or_else(|| format!("nothing; connected: {}", peer.is_connected()))?;
        let [phone, own] = [500.0, 700.0].map(|hz| tone::level(&heard, 48_000, hz));
        if phone > -26.0 && own < -45.0 { Ok(()) } else { Err(format!("{phone} {own}")) }
    });
    assert!(peer.is_connected());
    wait_participants(&api, &room, 2);
    let session = answer.header("location").expect("a session");
    api.send("DELETE", session, &[], &[]).expect(200);
    wait_participants(&api, &room, 1);
}

#[test]
fn personal_link_names_its_bearer_stands_for_the_pin_and_can_be_revoked() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({ "room_pin": "1234", "admin_pin": "4321" }));
    let path = format!("/api/conference_rooms/{room}/tokens");
    let made = |body: Value| api.post(&path, &body).expect(200).json();
    let chair = made(json!({ "name": "Ann \"B\"", "role": "CHAIRMAN", "expires_in": 3600 }));
    assert_eq!((&chair["role"], &chair["name"]), (&"CHAIRMAN".into(), &"Ann \"B\"".into()));
    let link = chair["token"].as_str().expect("a token");
    assert_eq!(chair["url"], format!("/r/{link}"));
    api.get(&format!("/r/{link}")).expect(200);
    let guest = made(json!({}));
    assert_eq!((&guest["role"], &guest["name"]), (&"PARTICIPANT".into(), &Value::Null));
    let guest = guest["token"].as_str().expect("a token");

    let info = |token: &str| api.send("GET", &format!("/join/{token}"), &[], &[]);
    let seen = info(link).expect(200).json();
    assert_eq!((&seen["needs_pin"], &seen["name"], &seen["role"]), (&false.into(), &chair["name"], &chair["role"]));
    let (mut a, mut b) = (saying(700.0), saying(900.0));
    let session = join(&api, link, "name=Somebody%20Else&muted=true", &[], &mut a);
    let all = wait_participants(&api, &room, 1);
    assert_eq!((&all[0]["chairman"], &all[0]["muted"]), (&true.into(), &true.into()));
    assert_eq!(view(&api, &session)["participants"][0]["name"], "Ann \"B\"");
    join(&api, guest, "name=Bob", &[], &mut b);
    let all = wait_participants(&api, &room, 2);
    assert!(
        all.iter().any(|p| p["chairman"] == false && p["display_name"].as_str().is_some_and(|n| n.contains("Bob")))
    );

    // A letter more or less, another room's name in it: nobody signed that.
    info(&format!("{link}A")).refused(404, "NOT_FOUND");
    info(&link[..link.len() - 1]).refused(404, "NOT_FOUND");
    for body in [json!({ "role": "ADMIN" }), json!({ "name": "" }), json!({ "expires_in": 59 })] {
        api.post(&path, &body).refused(400, "VALIDATE_FAILED");
    }
    api.post("/api/conference_rooms/NzAw/tokens", &json!({})).refused(404, "NOT_FOUND");
    let viewer = server.run(&["token", "create", "v", "--role", "viewer"]);
    let viewer = api.with_token(viewer.lines().find(|line| line.starts_with("cnv_")));
    viewer.post(&path, &json!({})).refused(403, "FORBIDDEN");

    // Revoked, all links are dead, and those who are in stay in.
    let old = token(&api, &room);
    let renewed = api.act(&format!("{path}/revoke")).expect(200).json();
    let renewed = renewed["token"].as_str().expect("a token");
    assert_eq!((token(&api, &room).as_str(), renewed == old), (renewed, false));
    for dead in [link, guest, &old] {
        info(dead).refused(404, "NOT_FOUND");
        post(&api, dead, "", &[], a.offer()).refused(404, "NOT_FOUND");
    }
    info(renewed).expect(200);
    assert_eq!(wait_participants(&api, &room, 2).len(), 2);
    let log = server.log();
    assert!([link, guest, &old, renewed].iter().all(|token| !log.contains(*token)), "a token is in the log");
}

#[test]
fn a_phone_and_two_browsers_are_in_one_recording() {
    let server = setup().start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({ "layout": "LAYOUT4" }));
    let token = token(&api, &room);
    let phone = shower(&server, "alice", &h264(), Colour::Red);
    phone.phone.say(500.0);
    let shows = |codec, colour, hz| {
        let mut client =
            WebClient::new(WebOptions { video: Some((codec, Direction::SendRecv)), ..WebOptions::default() });
        client.say(Some(signal::tone(48_000, hz, testkit::phone::TONE_DB)));
        client.show(Some(colour));
        client
    };
    let mut a = shows(VideoCodec::H264, Colour::Blue, 700.0);
    let mut b = shows(VideoCodec::Vp8, Colour::Green, 900.0);
    join(&api, &token, "name=Ann", &[], &mut a);
    join(&api, &token, "name=Bob", &[], &mut b);
    let tiles = [(160, 90, Colour::Red), (480, 90, Colour::Blue), (160, 270, Colour::Green)];
    let sees = |client: &WebClient| {
        client.seen().is_some_and(|seen| {
            // The room's picture, or its lower rendition of half the size.
            let scale = 640 / seen.width().max(1);
            tiles.iter().all(|(x, y, colour)| seen.colour_at(x / scale, y / scale, 4) == Some(*colour))
        })
    };
    assert!(run_until(&mut [&mut a, &mut b], PATIENCE, |clients| clients.iter().all(|client| sees(client))));
    let base = format!("/api/conference_rooms/{room}");
    api.act(&format!("{base}/start_recording")).expect(200);
    run(&mut [&mut a, &mut b], Duration::from_secs(4));
    api.act(&format!("{base}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let answer = api.with_token(None).get(&path_of(&recording["file_url"])).expect(200);
    let path = server.scratch("browsers.mp4");
    std::fs::write(&path, answer.body).expect("a file");
    let pictures = ffmpeg::pictures(&path).expect("pictures");
    let last = pictures.last().expect("pictures");
    for (x, y, colour) in tiles {
        assert_eq!(last.colour_at(x, y, 8), Some(colour), "{}", last.sketch(16, 8));
    }
    let pcm = ffmpeg::decode(&path, 48_000).expect("sound");
    assert_tones(&pcm, 48_000, 1.5, &[500.0, 700.0, 900.0], testkit::phone::TONE_DB);
}

#[test]
fn a_client_on_another_stack_is_heard_and_hears() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 5);
    let token = token(&api, &room);
    let mut client = saying(700.0);
    join(&api, &token, "name=Ann", &[], &mut client);
    let dir = TempDir::new("aiortc");
    let out = dir.path().join("heard.wav");
    // The first time its packages are fetched.
    let mut other = Command::new("timeout")
        .arg("300")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aiortc/run"))
        .args([&format!("{}/join/{token}", server.base_url()), "1100", "5"])
        .arg(&out)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut loudest = f64::MIN;
    while other.try_wait().expect("our own child").is_none() {
        run(&mut [&mut client], Duration::from_millis(200));
        let heard = client.heard();
        if let Some(from) = heard.len().checked_sub(12_000) {
            loudest = loudest.max(tone::level(&heard[from..], 48_000, 1_100.0));
        }
        client.forget();
        run(&mut [&mut client], Duration::from_millis(300));
    }
    let told = other.wait_with_output().expect("our own child");
    let told: Value = serde_json::from_slice(&told.stdout).expect("what it tells");
    assert_eq!(told["state"], "connected", "{told}");
    assert!(loudest > -26.0, "its tone is {loudest:.1} dB");
    let (rate_hz, heard) = wav::read(&out).expect("what it heard");
    let last = &heard[heard.len().saturating_sub(2 * rate_hz as usize)..];
    let (theirs, own) = (tone::level(last, rate_hz, 700.0), tone::level(last, rate_hz, 1_100.0));
    assert!(theirs > -26.0 && own < -45.0, "it hears {theirs:.1} dB, and itself {own:.1} dB");
}

#[test]
fn a_room_lets_in_whom_it_should_and_says_why_not() {
    let server = setup().start();
    let api = server.api();
    let more = json!({ "room_pin": "1234", "admin_pin": "4321" });
    let room = api.create_room_with("900", 2, &more);
    let token = token(&api, &room);
    let offer = WebClient::new(WebOptions::default()).offer().to_owned();
    let pin = |pin: &'static str| [("Conclave-Pin", pin)];
    post(&api, "nothing", "name=x", &[], &offer).refused(404, "NOT_FOUND");
    post(&api, &token, "name=x", &[], &offer).refused(403, "PIN_REQUIRED");
    post(&api, &token, "name=x", &pin("9999"), &offer).refused(403, "PIN_WRONG");
    post(&api, &token, "name=x", &pin("1234"), "v=0\r\n").refused(400, "VALIDATE_FAILED");
    post(&api, &token, "name=x", &pin("1234"), &"a=x\r\n".repeat(1 << 18)).expect(413);
    api.send("POST", &format!("/join/{token}"), &[], offer.as_bytes()).expect(415);
    assert_eq!(api.participants(&room).len(), 0, "nobody is in by any of that");

    let (mut guest, mut chair) = (saying(700.0), saying(900.0));
    let guest_session = join(&api, &token, "name=Guest", &pin("1234"), &mut guest);
    let chair_session = join(&api, &token, "name=Chair", &pin("4321"), &mut chair);
    wait_to_hear(&mut [&mut guest, &mut chair], &[900.0], &[700.0]);
    assert_eq!(view(&api, &chair_session)["chairman"], true);
    post(&api, &token, "name=x", &pin("1234"), &offer).refused(409, "CAPACITY_EXCEEDED");

    // What only the chairman may, and what everybody may.
    act(&api, &guest_session, &json!({ "action": "lock" })).refused(403, "FORBIDDEN");
    act(&api, &guest_session, &json!({ "action": "dance" })).refused(400, "VALIDATE_FAILED");
    act(&api, &guest_session, &json!({ "action": "raise_hand" })).expect(200);
    assert_eq!(view(&api, &guest_session)["hand_raised"], true);
    act(&api, &chair_session, &json!({ "action": "mute_all" })).expect(200);
    act(&api, &guest_session, &json!({ "action": "unmute" })).refused(403, "FORBIDDEN");
    let seen = view(&api, &chair_session);
    let id = seen["participants"][0]["id"].as_str().expect("an id").to_owned();
    act(&api, &chair_session, &json!({ "action": "unmute_participant", "participant": id })).expect(200);
    assert_eq!(view(&api, &guest_session)["muted"], false);
    act(&api, &chair_session, &json!({ "action": "lock" })).expect(200);
    let info = api.send("GET", &format!("/join/{token}"), &[], &[]).expect(200).json();
    assert_eq!(info["state"], "LOCKED");
    act(&api, &chair_session, &json!({ "action": "remove", "participant": id })).expect(200);
    api.send("GET", &guest_session, &[], &[]).refused(404, "NOT_FOUND");
    post(&api, &token, "name=x", &pin("1234"), &offer).refused(403, "LOCKED");
    act(&api, &chair_session, &json!({ "action": "unlock" })).expect(200);

    // Guessing of PINs ends soon.
    let codes: Vec<String> = (0..12).map(|_| post(&api, &token, "name=x", &pin("0000"), &offer).error_code()).collect();
    assert!(codes.iter().any(|code| code == "PIN_CLOSED"), "{codes:?}");
}

#[test]
fn a_room_that_is_led_has_browsers_wait_for_the_chairman() {
    let server = setup().start();
    let api = server.api();
    let more = json!({ "control": "MASTER", "admin_pin": "4321" });
    let room = api.create_room_with("900", 5, &more);
    let token = token(&api, &room);
    let (mut guest, mut chair) = (saying(700.0), saying(900.0));
    let waiting = join(&api, &token, "name=Guest", &[], &mut guest);
    run(&mut [&mut guest], Duration::from_millis(500));
    assert_eq!(view(&api, &waiting)["state"], "WAITING");
    let leading = join(&api, &token, "name=Chair", &[], &mut chair);
    act(&api, &leading, &json!({ "action": "claim_chairman", "pin": "1111" })).refused(403, "FORBIDDEN");
    act(&api, &leading, &json!({ "action": "claim_chairman", "pin": "4321" })).expect(200);
    wait_to_hear(&mut [&mut guest, &mut chair], &[900.0], &[700.0]);
    let seen = view(&api, &waiting);
    assert_eq!((&seen["state"], &seen["muted"], &seen["may_unmute"]), (&"JOINED".into(), &true.into(), &false.into()));
}

#[test]
fn the_stream_of_a_session_says_what_changes_and_how_it_ends() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 5);
    let token = token(&api, &room);
    let mut guest = saying(700.0);
    let session = join(&api, &token, "name=Guest", &[], &mut guest);
    run(&mut [&mut guest], Duration::from_millis(300));
    let (path, destroy) = (format!("{session}/events"), format!("/api/conference_rooms/{room}/destroy"));
    let stream = {
        let api = server.api();
        std::thread::spawn(move || api.send("GET", &path, &[], &[]).expect(200).text())
    };
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(600) {
        run(&mut [&mut guest], Duration::from_millis(50));
    }
    act(&api, &session, &json!({ "action": "mute" })).expect(200);
    run(&mut [&mut guest], Duration::from_millis(800));
    api.act(&destroy).expect(204);
    run(&mut [&mut guest], SOON);
    let text = stream.join().expect("a stream that ends");
    let views: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect();
    assert!(views.iter().any(|view| view["muted"] == false), "{text}");
    assert!(views.iter().any(|view| view["muted"] == true), "{text}");
    assert!(text.contains("event: ended") || text.contains("event:ended"), "{text}");
    assert_eq!(views.last().map(|last| last["reason"].clone()), Some("ROOM_CLOSED".into()), "{text}");
}
