//! Recordings of VIDEO rooms, and previews: what ffmpeg makes of them.

use crate::support::{h264, path_of, setup, shower, video_room, wait_recording};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::api::Api;
use testkit::phone::VideoPhone;
use testkit::picture::Colour;
use testkit::sdp::{Codec, VideoFormat};
use testkit::server::Server;
use testkit::{chromium, ffmpeg, phone::VideoCall, signal, wait};

const ROOMS: &str = "/api/conference_rooms";
const SOON: Duration = Duration::from_secs(20);

fn server() -> Server {
    setup().legs(12).start()
}

fn room(api: &Api, more: &Value) -> String {
    let mut settings = json!({"layout": "LAYOUT2"});
    for (key, value) in more.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    video_room(api, (640, 360), &settings)
}

/// A phone that shows a colour and says a tone.
#[track_caller]
fn speaker(server: &Server, name: &str, format: &VideoFormat, colour: Colour, hz: f64) -> VideoPhone {
    let phone = shower(server, name, format, colour);
    phone.phone.say(hz);
    phone
}

fn download(api: &Api, server: &Server, recording: &Value, name: &str) -> PathBuf {
    let answer = api.with_token(None).get(&path_of(&recording["file_url"])).expect(200);
    assert_eq!(answer.header("content-type"), Some("video/mp4"));
    let path = server.scratch(name);
    std::fs::write(&path, answer.body).expect("a file");
    path
}

#[track_caller]
fn loud_at(pcm: &[i16], from_s: f64, hz: &[f64]) {
    crate::support::assert_tones(pcm, 48_000, from_s, hz, testkit::phone::TONE_DB);
}

#[test]
fn recording_is_an_mp4_of_what_was_seen_and_heard() {
    let server = server();
    let api = server.api();
    let room = room(&api, &json!({}));
    let base = format!("{ROOMS}/{room}");
    // VP8 only: the recording's H.264 is made for it alone.
    let anna = speaker(&server, "anna", &VideoFormat::vp8(98), Colour::Red, 500.0);
    let ben = speaker(&server, "ben", &VideoFormat::vp8(98), Colour::Green, 900.0);
    anna.sees(480, 180, Colour::Green);
    ben.sees(160, 180, Colour::Red);
    api.act(&format!("{base}/start_recording")).expect(200);
    let started = Instant::now();
    anna.video.wait_pictures(60);
    api.act(&format!("{base}/stop_recording")).expect(200);
    let length = started.elapsed().as_secs_f64();
    let recording = wait_recording(&api, &room, "FINISHED");
    assert!(recording["file_name"].as_str().is_some_and(|name| name.ends_with(".mp4")), "{recording}");

    let path = download(&api, &server, &recording, "recording.mp4");
    let streams = ffmpeg::streams(&path).expect("streams");
    let codecs: Vec<&str> = streams.iter().filter_map(|s| s["codec_name"].as_str()).collect();
    assert!(codecs.len() == 2 && codecs.contains(&"h264") && codecs.contains(&"opus"), "{codecs:?}");
    let stated = ffmpeg::duration_s(&path).expect("a duration");
    assert!((stated - length).abs() < 0.7, "the file says {stated:.2} s of {length:.2}");
    let pictures = ffmpeg::pictures(&path).expect("pictures");
    assert!((pictures.len() as f64 - length * 15.0).abs() < 12.0, "{} pictures in {length:.2} s", pictures.len());
    let last = pictures.last().expect("pictures");
    assert_eq!(last.size(), (640, 360));
    assert_eq!((last.colour_at(160, 180, 8), last.colour_at(480, 180, 8)), (Some(Colour::Red), Some(Colour::Green)));
    let pcm = ffmpeg::decode(&path, 48_000).expect("sound");
    loud_at(&pcm, stated / 2.0 - 0.5, &[500.0, 900.0]);
}

#[test]
fn recording_plays_and_seeks_in_a_browser() {
    let server = server();
    let api = server.api();
    let room = room(&api, &json!({"layout": "LAYOUT1"}));
    let base = format!("{ROOMS}/{room}");
    let anna = speaker(&server, "anna", &h264(), Colour::Red, 500.0);
    anna.sees(320, 180, Colour::Red);
    api.act(&format!("{base}/start_recording")).expect(200);
    anna.video.wait_pictures(45);
    anna.show_colour(Colour::Blue);
    anna.sees(320, 180, Colour::Blue);
    anna.video.wait_pictures(45);
    api.act(&format!("{base}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = download(&api, &server, &recording, "recording.mp4");
    let stated = ffmpeg::duration_s(&path).expect("a duration");
    // Forwards to the end, back to the beginning, and where it is in between two keyframes.
    let places = [stated - 0.5, 0.4, stated - 1.0];
    let played = chromium::play(&path, &places, &[(100, 100), (540, 260)]).expect("it plays");
    assert!((played.duration_s - stated).abs() < 0.1 && played.size == (640, 360), "{played:?}");
    // Something of each second and a half, as a busy machine may stutter; and sound as well.
    assert!(played.played_s > 0.2 && played.audio_bytes > 0, "{played:?}");
    assert_eq!(played.sought.len(), 3, "{played:?}");
    let colours = [Colour::Blue, Colour::Red, Colour::Blue];
    for ((at, found), (place, colour)) in played.sought.iter().zip(places.into_iter().zip(colours)) {
        assert!((at - place).abs() < 0.1 && *found == [Some(colour); 2], "{place}: {played:?}");
    }
}

#[test]
fn killed_while_recording_the_movie_is_recovered_and_plays() {
    let mut server = server();
    let api = server.api();
    let room = room(&api, &json!({"enable_recording": true}));
    let anna = speaker(&server, "anna", &h264(), Colour::Blue, 700.0);
    anna.sees(160, 180, Colour::Blue);
    let started = Instant::now();
    anna.video.wait_pictures(60);
    let length = started.elapsed().as_secs_f64();
    server.kill();
    server.restart();
    let recording = wait_recording(&server.api(), &room, "RECOVERED");
    let path = download(&server.api(), &server, &recording, "recovered.mp4");
    let kept = ffmpeg::duration_s(&path).expect("a duration");
    assert!(kept > length - 2.0, "{kept:.2} s of {length:.2}");
    let pictures = ffmpeg::pictures(&path).expect("pictures");
    assert_eq!(pictures.last().expect("pictures").colour_at(160, 180, 8), Some(Colour::Blue));
}

#[test]
fn another_size_is_another_part() {
    let server = server();
    let api = server.api();
    let room = room(&api, &json!({}));
    let base = format!("{ROOMS}/{room}");
    let anna = speaker(&server, "anna", &h264(), Colour::Red, 700.0);
    anna.sees(160, 180, Colour::Red);
    api.act(&format!("{base}/start_recording")).expect(200);
    anna.video.wait_pictures(20);
    for (width, height) in [(320, 240), (240, 320)] {
        api.post(&base, &json!({"width": width, "height": height})).expect(200);
        anna.video.wait_size(width, height);
        anna.video.wait_pictures(30);
    }
    api.act(&format!("{base}/stop_recording")).expect(200);
    let parts = wait::until("three parts", SOON, || {
        let mut all = api.recordings(&room);
        all.sort_by_key(|part| part["answered_at"].as_str().map(str::to_owned));
        match all.iter().all(|part| part["state"] == "FINISHED") && all.len() == 3 {
            true => Ok(all),
            false => Err(format!("{all:?}")),
        }
    });
    let (first, later): (Vec<&Value>, Vec<&Value>) = parts.iter().partition(|part| part["part_of"] == Value::Null);
    assert!(first.len() == 1 && later.iter().all(|part| part["part_of"] == first[0]["id"]), "{parts:?}");
    let mut sizes: Vec<(usize, usize)> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| {
            let path = download(&api, &server, part, &format!("{at}.mp4"));
            ffmpeg::pictures(&path).expect("pictures").last().expect("pictures").size()
        })
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [(240, 320), (320, 240), (640, 360)]);
}

#[test]
fn flash_and_beep_stay_together() {
    let server = server();
    let api = server.api();
    let room = room(&api, &json!({"framerate": 30, "layout": "LAYOUT1"}));
    let base = format!("{ROOMS}/{room}");
    let mut call = VideoCall::new(Codec::Opus, &[h264()]);
    call.video = call.video.framerate(30);
    let anna = VideoPhone::dial_with(server.sip_address(), "900", "anna", call).expect("answered");
    anna.phone.peer.say(signal::beeps(48_000, -10.0));
    anna.flash();
    let _ben = speaker(&server, "ben", &h264(), Colour::Green, 0.0);
    anna.video.wait_pictures(30);
    api.act(&format!("{base}/start_recording")).expect(200);
    anna.video.wait_pictures(200);
    api.act(&format!("{base}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = download(&api, &server, &recording, "sync.mp4");
    let times = ffmpeg::picture_times_s(&path).expect("times");
    let pictures = ffmpeg::pictures(&path).expect("pictures");
    let is_bright: Vec<bool> = pictures.iter().map(|picture| picture.mean_luma() > 120.0).collect();
    let flashes: Vec<f64> =
        (1..is_bright.len()).filter(|at| is_bright[*at] && !is_bright[at - 1]).map(|at| times[at]).collect();
    let beeps = beginnings(&ffmpeg::decode(&path, 48_000).expect("sound"));
    assert!(flashes.len() >= 5 && beeps.len() >= 5, "{flashes:?} {beeps:?}");
    let mut apart: Vec<f64> = flashes
        .iter()
        .filter_map(|flash| beeps.iter().map(|beep| flash - beep).min_by(|a, b| a.abs().total_cmp(&b.abs())))
        .collect();
    apart.sort_by(f64::total_cmp);
    let middle = apart[apart.len() / 2];
    assert!(middle.abs() <= 0.040, "{middle:.3} s apart: flashes {flashes:?}, beeps {beeps:?}");
}

/// Where sound begins after half a second of silence, in seconds.
fn beginnings(pcm: &[i16]) -> Vec<f64> {
    const STEP: usize = 240;
    let loud: Vec<bool> =
        pcm.chunks(STEP).map(|part| part.iter().any(|sample| sample.unsigned_abs() > 3_000)).collect();
    let mut quiet_for = 0;
    let mut found = Vec::new();
    for (at, is_loud) in loud.into_iter().enumerate() {
        if is_loud && quiet_for * STEP >= 24_000 {
            found.push((at * STEP) as f64 / 48_000.0);
        }
        quiet_for = if is_loud { 0 } else { quiet_for + 1 };
    }
    found
}

#[test]
fn preview_is_what_is_seen() {
    let server = server();
    let api = server.api();
    let room = room(&api, &json!({}));
    let anna = speaker(&server, "anna", &h264(), Colour::Red, 500.0);
    let _ben = speaker(&server, "ben", &h264(), Colour::Cyan, 900.0);
    anna.video.wait_colours(&[(160, 180, Colour::Red), (480, 180, Colour::Cyan)]);
    let preview = api.get(&format!("{ROOMS}/{room}/preview.jpg")).expect(200);
    let path = server.scratch("preview.jpg");
    std::fs::write(&path, preview.body).expect("a file");
    let picture = ffmpeg::pictures(&path).expect("a picture").remove(0);
    assert_eq!(picture.size(), (640, 360));
    assert_eq!(
        (picture.colour_at(160, 180, 8), picture.colour_at(480, 180, 8)),
        (Some(Colour::Red), Some(Colour::Cyan))
    );
}
