//! Recordings: what is in the file, how it is downloaded, and what is left after a crash.

use crate::support::{SOON, assert_tones, path_of, setup, talker, wait_participants, wait_recording};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::api::Api;
use testkit::ffmpeg;
use testkit::phone::{Phone, TONE_DB};
use testkit::sdp::Codec;
use testkit::server::Server;

const TONES: [f64; 3] = [500.0, 900.0, 1_300.0];

/// Three people with a tone each in room 900, all of them heard.
fn talking_room(server: &Server) -> (String, Vec<Phone>) {
    let room = server.api().create_room("900", 10);
    let phones = vec![
        talker(server, "900", "alice", Codec::Pcmu, TONES[0]),
        talker(server, "900", "bob", Codec::Opus, TONES[1]),
        talker(server, "900", "carol", Codec::Pcma, TONES[2]),
    ];
    phones[0].hears(&TONES[1..], &TONES[..1]);
    phones[1].hears(&[TONES[0], TONES[2]], &[TONES[1]]);
    (room, phones)
}

fn download(api: &Api, server: &Server, recording: &Value, name: &str) -> PathBuf {
    // The digest (or signature) in the URL is the secret: no token goes along.
    let answer = api.with_token(None).get(&path_of(&recording["file_url"])).expect(200);
    assert_eq!(recording["file_size"].as_u64(), Some(answer.body.len() as u64));
    let path = server.scratch(name);
    std::fs::write(&path, answer.body).expect("a file");
    path
}

#[test]
fn recording_holds_all_tones_at_equal_level_for_its_whole_length() {
    let server = setup().start();
    let api = server.api();
    let (room, phones) = talking_room(&server);
    let base = format!("/api/conference_rooms/{room}");
    api.act(&format!("{base}/start_recording")).expect(200);
    let started = Instant::now();
    api.act(&format!("{base}/start_recording")).expect(200);
    let running = wait_recording(&api, &room, "RECORDING");
    assert_eq!((&running["file_url"], &running["ended_at"]), (&Value::Null, &Value::Null));
    assert_eq!(api.get(&format!("{base}/status")).json()["recording"], true);
    phones[0].peer.listen(3_000).expect("sound");
    api.act(&format!("{base}/stop_recording")).expect(200);
    let length = started.elapsed().as_secs_f64();
    let recording = wait_recording(&api, &room, "FINISHED");
    assert_eq!(api.get(&format!("{base}/status")).json()["recording"], false);
    assert_eq!(recording["read"], false);

    let path = download(&api, &server, &recording, "recording.ogg");
    let stated = ffmpeg::duration_s(&path).expect("a duration");
    assert!((stated - length).abs() < 0.5, "the file says {stated:.2} s of {length:.2}");
    assert!((recording["duration"].as_f64().expect("a duration") - length).abs() <= 1.0, "{recording}");
    let pcm = ffmpeg::decode(&path, 48_000).expect("a file that plays");
    assert_tones(&pcm, 48_000, 0.5, &TONES, TONE_DB);
    assert_tones(&pcm, 48_000, stated - 1.3, &TONES, TONE_DB);
}

#[test]
fn blob_is_served_in_ranges_with_an_etag() {
    let server = setup().start();
    let api = server.api();
    let (room, phones) = talking_room(&server);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    phones[0].peer.listen(1_500).expect("sound");
    api.act(&format!("/api/conference_rooms/{room}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let open = api.with_token(None);
    let url = path_of(&recording["file_url"]);
    let whole = open.get(&url).expect(200);
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert!(whole.header("content-type").is_some_and(|t| t.starts_with("audio/ogg")), "{:?}", whole.headers);
    assert!(whole.header("content-disposition").is_some_and(|d| d.contains("filename")), "{:?}", whole.headers);
    let etag = whole.header("etag").expect("an ETag").to_owned();
    let len = whole.body.len();
    for (range, from, to) in [("bytes=0-99", 0, 99), ("bytes=100-", 100, len - 1), ("bytes=-50", len - 50, len - 1)] {
        let part = open.get_with(&url, &[("Range", range)]).expect(206);
        assert_eq!(part.header("content-range"), Some(format!("bytes {from}-{to}/{len}").as_str()));
        assert_eq!(part.body, whole.body[from..=to], "{range}");
    }
    let beyond = open.get_with(&url, &[("Range", &format!("bytes={len}-"))]);
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{len}").as_str()));
    assert_eq!(open.get_with(&url, &[("If-None-Match", &etag)]).status, 304);
    // One character of the digest or signature changed opens nothing.
    let mut forged = url.clone().into_bytes();
    let last = forged.last_mut().expect("not empty");
    *last = if *last == b'0' { b'1' } else { b'0' };
    let forged = String::from_utf8(forged).expect("ASCII");
    assert!(matches!(open.get(&forged).status, 401 | 403 | 404));
}

#[test]
fn recording_of_an_empty_room_is_refused_and_stopping_none_is_fine() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).refused(409, "INVALID_STATE");
    api.act(&format!("/api/conference_rooms/{room}/stop_recording")).expect(200);
    assert!(api.recordings(&room).is_empty());
}

#[test]
fn enabled_recording_runs_from_first_to_last_participant() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"enable_recording": true}));
    let a = talker(&server, "900", "alice", Codec::Pcmu, TONES[0]);
    wait_recording(&api, &room, "RECORDING");
    a.peer.listen(1_500).expect("sound");
    a.hang_up();
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = download(&api, &server, &recording, "auto.ogg");
    let pcm = ffmpeg::decode(&path, 48_000).expect("a file that plays");
    assert_tones(&pcm, 48_000, 0.4, &TONES[..1], TONE_DB);
}

#[test]
fn recording_of_talkers_who_all_use_g711_has_their_tones() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, TONES[0]);
    let b = talker(&server, "900", "bob", Codec::Pcmu, TONES[1]);
    a.hears(&TONES[1..2], &TONES[..1]);
    b.hears(&TONES[..1], &TONES[1..2]);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    a.peer.listen(2_000).expect("sound");
    api.act(&format!("/api/conference_rooms/{room}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = download(&api, &server, &recording, "g711.ogg");
    let pcm = ffmpeg::decode(&path, 48_000).expect("a file that plays");
    assert_tones(&pcm, 48_000, 0.5, &TONES[..2], TONE_DB);
}

#[test]
fn killed_while_recording_the_file_is_recovered_with_its_true_length() {
    let mut server = setup().start();
    let api = server.api();
    let (room, phones) = talking_room(&server);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    let started = Instant::now();
    phones[0].peer.listen(5_000).expect("sound");
    server.kill();
    let length = started.elapsed().as_secs_f64();
    server.restart();
    let recording = wait_recording(&api, &room, "RECOVERED");
    let path = download(&api, &server, &recording, "recovered.ogg");
    let stated = ffmpeg::duration_s(&path).expect("a duration");
    assert!(stated <= length + 0.2 && stated >= length - 2.0, "{stated:.2} s of {length:.2}");
    let listed = recording["duration"].as_f64().expect("a duration");
    assert!((listed - stated).abs() <= 1.0, "listed {listed}, played {stated:.2}");
    let pcm = ffmpeg::decode(&path, 48_000).expect("a file that plays");
    let played = pcm.len() as f64 / 48_000.0;
    assert!((played - stated).abs() < 0.1, "plays {played:.2} s and says {stated:.2}");
    assert_tones(&pcm, 48_000, 0.5, &TONES, TONE_DB);
    assert_tones(&pcm, 48_000, played - 1.1, &TONES, TONE_DB);
    assert_eq!(api.get(&format!("/api/conference_rooms/{room}/status")).json()["recording"], false);
}

#[test]
fn destroyed_recording_is_gone_from_list_and_disk() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, TONES[0]);
    wait_participants(&api, &room, 1);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    let running = wait_recording(&api, &room, "RECORDING");
    let base = format!("/api/conference_rooms/{room}/recordings/{}", running["id"].as_str().expect("an id"));
    api.act(&format!("{base}/destroy")).refused(409, "INVALID_STATE");
    a.peer.listen(1_200).expect("sound");
    api.act(&format!("/api/conference_rooms/{room}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let url = path_of(&recording["file_url"]);
    api.act(&format!("{base}/destroy")).expect(204);
    assert!(api.recordings(&room).is_empty());
    assert!(matches!(api.get(&url).status, 403 | 404));
    let files = || files_below(&server.data_dir().join("recordings"));
    testkit::wait::until(
        "no file left",
        SOON,
        || if files() == 0 { Ok(()) } else { Err(format!("{} files", files())) },
    );
}

#[test]
fn vanished_directory_fails_the_recording_and_not_the_call() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, TONES[0]);
    let b = talker(&server, "900", "bob", Codec::Pcmu, TONES[1]);
    wait_participants(&api, &room, 2);
    let dir = server.data_dir().join("recordings");
    // A file in place of the directory: nothing can be made in it, whoever runs the test.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::write(&dir, "").expect("a file");
    let answer = api.act(&format!("/api/conference_rooms/{room}/start_recording"));
    assert!(answer.status >= 400 || !api.recordings(&room).is_empty(), "{}", answer.text());
    if answer.status < 400 {
        wait_recording(&api, &room, "FAILED");
    }
    a.hears(&[TONES[1]], &[TONES[0]]);
    b.hears(&[TONES[0]], &[TONES[1]]);
}

#[test]
fn recordings_outlive_their_room() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, TONES[0]);
    wait_participants(&api, &room, 1);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    a.peer.listen(1_200).expect("sound");
    api.act(&format!("/api/conference_rooms/{room}/destroy")).expect(204);
    a.call.wait_bye(Duration::from_secs(5)).expect("a BYE");
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = download(&api, &server, &recording, "after.ogg");
    assert!(ffmpeg::duration_s(&path).expect("a duration") > 0.9);
}

/// Regular files in a directory and those in it.
fn files_below(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}
