//! What a room with a picture costs: callers that send H.264 and speak, one picture of 1280×720 for all of them. And how long a
//! picture is on its way through it.

use crate::load::{Load, cpu_of_threads};
use crate::options::{Figures, Options, median, quantile};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::phone::{VideoCall, VideoPhone};
use testkit::picture::Colour;
use testkit::scene::{self, Scene};
use testkit::sdp::{Codec, VideoFormat};
use testkit::server::Server;
use testkit::wait;

/// Runs of the load generator against a fresh server each. CPU is of the whole process, ms a second.
pub(crate) fn room(options: &Options) -> Figures {
    let n: u16 = options.number("n", 4)?;
    let runs: usize = options.number("runs", 3)?;
    let secs: f64 = options.number("secs", 20.0)?;
    let layout: String = options.number("layout", "LAYOUT4".to_owned())?;
    let record: bool = options.number("record", false)?;
    let mut lines = Vec::new();
    for _ in 0..runs {
        let server = options.server(2 * n + 10, &[])?;
        let settings = json!({
            "mode": "VIDEO", "width": 1280, "height": 720, "framerate": 15, "bitrate": 1000, "layout": layout,
            "enable_recording": record,
        });
        server.api().create_room_with("900", u32::from(n), &settings);
        let video = ["--video", options.text("video")?];
        let mut line = Load::call(options, &server, n, 1, secs, &video)?.end()?;
        let skipped = server.api().metric(&["composer_pictures_skipped_total"]);
        line["pictures_skipped"] = json!(skipped);
        lines.push(line);
    }
    let all = |key: &str| lines.iter().filter_map(|l| l[key].as_f64()).collect::<Vec<f64>>();
    let of = |key: &str| median(all(key));
    Ok(vec![json!({
        "figure": "video",
        "video": options.text("video")?,
        "n": n,
        "layout": layout,
        "recorded": record,
        "cpu_ms_per_s": (of("server_cores") * 1000.0).round(),
        "cpu_ms_of_each_run": all("server_cores").iter().map(|c| json!((c * 1000.0).round())).collect::<Vec<Value>>(),
        "fps_leg": of("video_fps_leg"),
        "kbps_leg": of("video_kbps_leg"),
        "video_lost": of("video_lost"),
        "pictures_skipped": of("pictures_skipped"),
        "rss_end_kb": of("rss_end_kb"),
        "audible_pct": of("audible_pct"),
    })])
}

/// What a recording and more viewers add to a room of callers that send H.264 and speak. Each is measured against the same room
/// without it, in turn, as a busy machine has good and bad minutes.
pub(crate) fn additions(options: &Options) -> Figures {
    let n: u16 = options.number("n", 4)?;
    let viewers: u16 = options.number("viewers", 20)?;
    let turns: u32 = options.number("turns", 3)?;
    let secs: f64 = options.number("secs", 12.0)?;
    let server = options.server(2 * (n + viewers) + 20, &[])?;
    let api = server.api();
    let settings = json!({
        "mode": "VIDEO", "width": 1280, "height": 720, "framerate": 15, "bitrate": 1000, "layout": "LAYOUT4",
    });
    let room = api.create_room_with("900", u32::from(n + viewers) + 1, &settings);
    let base = format!("/api/conference_rooms/{room}");
    // Longer than all that follows.
    let whole = f64::from(turns) * 5.0 * (secs + 12.0) + 60.0;
    let video = ["--video", options.text("video")?];
    let talkers = Load::call(options, &server, n, 1, whole, &video)?;
    wait::until_true("the callers", PATIENCE, || api.participants(&room).len() == usize::from(n));
    let listener = viewer(&server, 0)?;
    let (mut plain, mut recorded) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        plain.push(cost(&server, secs)?);
        api.act(&format!("{base}/start_recording")).expect(200);
        recorded.push(cost(&server, secs)?);
        api.act(&format!("{base}/stop_recording")).expect(200);
    }
    let (mut few, mut crowds) = (Vec::new(), Vec::new());
    // The load generator takes what comes a thousand times a second. Phones that wait for it are woken by each packet, on loopback
    // at the sender's expense.
    let dark = server.scratch("dark.h264p");
    std::fs::write(&dark, lens_cap(options.text("video")?)?).map_err(|e| e.to_string())?;
    let dark = dark.display().to_string();
    let there = usize::from(n) + 1;
    for _ in 0..turns {
        few.push(cost(&server, secs)?);
        let crowd = Load::call(options, &server, viewers, 1, secs + 30.0, &["--video", &dark])?;
        wait::until_true("the viewers", PATIENCE, || api.participants(&room).len() == there + usize::from(viewers));
        for one in api.participants(&room).iter().skip(there) {
            let id = one["id"].as_str().ok_or("no id")?;
            api.act(&format!("{base}/participants/{id}/mute")).expect(200);
        }
        crowds.push(cost(&server, secs)?);
        crowd.stop();
        for one in api.participants(&room).iter().skip(there) {
            let id = one["id"].as_str().ok_or("no id")?;
            api.act(&format!("{base}/participants/{id}/destroy")).expect(204);
        }
        wait::until_true("the viewers to go", PATIENCE, || api.participants(&room).len() == there);
    }
    talkers.stop();
    let seen = listener.video.seen();
    let of = |costs: &[Cost]| median(costs.iter().map(|cost| cost.values().sum()).collect());
    Ok(vec![json!({
        "figure": "video_additions",
        "video": options.text("video")?,
        "n": n,
        "plain_ms_per_s": rounded(of(&plain)),
        "recorded_ms_per_s": rounded(of(&recorded)),
        "recorded_ms_per_s_of_threads": of_threads(&recorded),
        "plain_ms_per_s_of_threads": of_threads(&plain),
        "viewers": viewers,
        "before_viewers_ms_per_s_of_threads": of_threads(&few),
        "before_viewers_ms_per_s": rounded(of(&few)),
        "with_viewers_ms_per_s": rounded(of(&crowds)),
        "ms_per_viewer_and_s": rounded((of(&crowds) - of(&few)) / f64::from(viewers)),
        "with_viewers_ms_per_s_of_threads": of_threads(&crowds),
        "listener": seen.summary(),
    })])
}

/// Everybody is there within this.
const PATIENCE: Duration = Duration::from_secs(20);
/// Joining, a keyframe for whoever joined, and the end of a recording are over after this.
const SETTLES: Duration = Duration::from_secs(3);

/// CPU of each kind of thread, in ms a second.
type Cost = BTreeMap<String, f64>;

/// What a load generator sends of a stream whose camera is off: a packet every two seconds, so that it counts as there. `video` is
/// a file of records: time in 90 kHz, marker, length, payload; the first has the parameter sets.
fn lens_cap(video: &str) -> Result<Vec<u8>, String> {
    let file = std::fs::read(video).map_err(|e| format!("{video}: {e}"))?;
    let length = file.get(5..7).map_or(0, |length| usize::from(length[0]) | usize::from(length[1]) << 8);
    let record = file.get(4..7 + length).ok_or_else(|| format!("{video}: no record"))?;
    let at = |ts: u32| ts.to_le_bytes().into_iter().chain(record.iter().copied());
    Ok(at(0).chain(at(180_000)).collect())
}

/// Somebody muted with the camera off, who is sent the picture.
fn viewer(server: &Server, number: u16) -> Result<VideoPhone, String> {
    let mut call = VideoCall::new(Codec::Opus, &[VideoFormat::h264(97, 1, "42e01f")]);
    call.video.receiving.decodes = false;
    let name = format!("viewer{number}");
    let phone = VideoPhone::dial_with(server.sip_address(), "900", &name, call)?;
    phone.video.pause(true);
    let api = server.api();
    let rooms = api.get("/api/conference_rooms").expect(200).json();
    let room = rooms["items"][0]["id"].as_str().ok_or("no room")?;
    let id = api.participant(room, &name);
    api.act(&format!("/api/conference_rooms/{room}/participants/{id}/mute")).expect(200);
    Ok(phone)
}

fn cost(server: &Server, secs: f64) -> Result<Cost, String> {
    std::thread::sleep(SETTLES);
    let (before, begun) = (cpu_of_threads(server)?, Instant::now());
    std::thread::sleep(Duration::from_secs_f64(secs));
    let after = cpu_of_threads(server)?;
    let passed = begun.elapsed().as_secs_f64();
    let share = |(name, cpu): (String, f64)| {
        let was = before.get(&name).copied().unwrap_or(0.0);
        (name, (cpu - was) * 1000.0 / passed)
    };
    Ok(after.into_iter().map(share).collect())
}

fn of_threads(costs: &[Cost]) -> Value {
    let names: std::collections::BTreeSet<&String> = costs.iter().flat_map(Cost::keys).collect();
    let of = |name: &String| median(costs.iter().map(|cost| cost.get(name).copied().unwrap_or(0.0)).collect());
    names.into_iter().map(|name| (name.clone(), json!(rounded(of(name))))).collect()
}

fn rounded(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

/// From the shutter of one phone to the last packet of the first picture that shows it at another, through a room of 30
/// pictures a second. The camera's picture turns dark and bright, at every phase between its clock and the composer's.
pub(crate) fn glass(options: &Options) -> Figures {
    let rounds: u32 = options.number("rounds", 12)?;
    let secs: f64 = options.number("secs", 6.0)?;
    let server = options.server(12, &[])?;
    let settings = json!({
        "mode": "VIDEO", "width": 1280, "height": 720, "framerate": 30, "bitrate": 2000, "layout": "LAYOUT1",
    });
    server.api().create_room_with("900", 4, &settings);
    let formats = [VideoFormat::h264(97, 1, "42e01f")];
    let mut call = VideoCall::new(Codec::Opus, &formats);
    call.video = call.video.size(640, 360).framerate(30);
    let sender = VideoPhone::dial_with(server.sip_address(), "900", "sender", call.clone())?;
    // What the encoder and the scene take is the phone's and not the server's; it is told of.
    sender.video.pause(false);
    let watcher = VideoPhone::dial_with(server.sip_address(), "900", "watcher", call)?;
    watcher.video.pause(true);
    let turned = Arc::new(Mutex::new(Vec::new()));
    sender.show(turning(Arc::clone(&turned)));
    watcher.video.wait_pictures(30);
    let started = Instant::now();
    for round in 0..rounds {
        sender.video.align(started + Duration::from_secs_f64(f64::from(round) / f64::from(rounds) / 30.0));
        std::thread::sleep(Duration::from_secs_f64(secs));
    }
    let turned: Vec<(Instant, bool)> = turned.lock().map_err(|e| e.to_string())?.clone();
    let seen = watcher.video.seen();
    let is_bright = |luma: f64| luma > 128.0;
    let keyframes: Vec<Instant> = seen.pictures.iter().filter(|p| p.keyframe).map(|p| p.at).collect();
    let is_after_keyframe = |at: Instant| {
        keyframes.iter().any(|key| at >= *key && at.saturating_duration_since(*key) < Duration::from_millis(500))
    };
    let shown: Vec<(Instant, bool)> = seen
        .pictures
        .windows(2)
        .filter(|two| is_bright(two[0].mean_luma) != is_bright(two[1].mean_luma))
        .map(|two| (two[1].at, is_bright(two[1].mean_luma)))
        .collect();
    let (mut delays, mut missing) = (Vec::new(), 0);
    for (at, bright) in turned.into_iter().filter(|(at, _)| *at >= started) {
        let came = shown.iter().find(|(came, shown)| *came >= at && *shown == bright);
        match came.map(|(came, _)| came.saturating_duration_since(at)) {
            // The next turn of the same kind is twice as far away.
            Some(delay) if delay < TURNS_EVERY => {
                if !is_after_keyframe(at + delay) {
                    delays.push(delay.as_secs_f64() * 1000.0);
                }
            }
            _ => missing += 1,
        }
    }
    delays.sort_by(f64::total_cmp);
    let sent = sender.video.sent();
    Ok(vec![json!({
        "figure": "glass_to_glass",
        "turns": delays.len(),
        "missing": missing,
        "p50_ms": rounded(quantile(&delays, 0.5)),
        "p90_ms": rounded(quantile(&delays, 0.9)),
        "p99_ms": rounded(quantile(&delays, 0.99)),
        "max_ms": rounded(quantile(&delays, 1.0)),
        "camera_late_ms": rounded(sent.worst_lateness.as_secs_f64() * 1000.0),
        "camera_skipped": sent.skipped,
        "watcher": seen.summary(),
    })])
}

/// Ten pictures at 30 a second.
const TURNS_EVERY: Duration = Duration::from_millis(333);

/// Dark and bright by turns, with something to do for encoders; notes when each turn was captured.
fn turning(turned: Arc<Mutex<Vec<(Instant, bool)>>>) -> Scene {
    let (mut dark, mut bright) = (scene::moving(Colour::Blue, 5), scene::moving(Colour::Yellow, 6));
    let mut was = false;
    Box::new(move |shot| {
        let is_bright = shot.number / 10 % 2 == 1;
        if std::mem::replace(&mut was, is_bright) != is_bright
            && let Ok(mut turned) = turned.lock()
        {
            turned.push((shot.captured, is_bright));
        }
        if is_bright { bright(shot) } else { dark(shot) }
    })
}
