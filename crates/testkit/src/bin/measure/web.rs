//! Browsers: what 200 in one room cost, how long a join takes, and what a burst of joins does to rooms that run.

use crate::load::{cpu_s, rss_kb};
use crate::options::{Figures, Options, median, quantile};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use testkit::api::Api;
use testkit::signal;
use testkit::tone;
use testkit::web_client::{Packets, WebClient, WebOptions};

const RATE_HZ: u32 = 48_000;
const SDP: [(&str, &str); 1] = [("Content-Type", "application/sdp")];
/// Between two looks at all sockets.
const PAUSE: Duration = Duration::from_millis(2);
/// Everybody should be in by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// Posts at once, in a burst.
const POSTERS: usize = 8;
/// Seats of one room.
const ROOM: usize = 200;

/// A second of Opus packets: a tone with this level, or silence.
fn packets(hz: Option<f64>) -> Packets {
    let mut encoder = opus::Encoder::new(RATE_HZ, opus::Channels::Mono, opus::Application::Voip).expect("an encoder");
    let mut source = hz.map(|hz| signal::tone(RATE_HZ, hz, -20.0));
    let frames = (0..50u64).map(|n| {
        let mut pcm = vec![0i16; 960];
        if let Some(source) = &mut source {
            source(n * 960, &mut pcm);
        }
        let level = tone::rms_db(&pcm).clamp(-127.0, 0.0) as i8;
        (encoder.encode_vec(&pcm, 1_000).expect("encode"), level)
    });
    Arc::new(frames.collect())
}

/// Somebody on the way in, and when they asked.
type Arrival = (WebClient, Instant);

/// Joins; `None` when it is refused.
fn join(api: &Api, token: &str, packets: &Packets) -> Option<Arrival> {
    let mut client = WebClient::new(WebOptions::default());
    client.stream(Arc::clone(packets));
    let asked = Instant::now();
    let answer = api.send("POST", &format!("/join/{token}"), &SDP, client.offer().as_bytes());
    (answer.status == 201).then_some(())?;
    client.accept(&answer.text()).ok()?;
    Some((client, asked))
}

/// Lets time pass for whoever arrives, until told to stop; gives all of them.
fn keep(
    arrivals: mpsc::Receiver<Arrival>,
    stop: &AtomicBool,
    connected: &AtomicUsize,
    late: &Mutex<f64>,
) -> Vec<Arrival> {
    let mut all: Vec<Arrival> = Vec::new();
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        all.extend(arrivals.try_iter());
        let now = Instant::now();
        let behind = now.duration_since(looked).as_secs_f64() * 1_000.0;
        let mut worst = late.lock().unwrap_or_else(PoisonError::into_inner);
        *worst = worst.max(behind);
        drop(worst);
        looked = now;
        for (client, _) in &mut all {
            client.step(now);
        }
        connected.store(all.iter().filter(|(c, _)| c.log.first_audio.is_some()).count(), Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
    all
}

fn room_token(api: &Api, extension: &str) -> Result<String, String> {
    let room = api.create_room(extension, ROOM as u32);
    let room: Value = api.get(&format!("/api/conference_rooms/{room}")).expect(200).json();
    room["token"].as_str().map(str::to_owned).ok_or_else(|| "no token".to_owned())
}

/// `n` in one room, `talkers` of them speaking; the join times are those of one after the other.
pub(crate) fn crowd(options: &Options) -> Figures {
    let n: usize = options.number("n", ROOM)?;
    let talkers: usize = options.number("talkers", 8)?;
    let secs: f64 = options.number("secs", 20.0)?;
    let runs: usize = options.number("runs", 3)?;
    let mut lines = Vec::new();
    for _ in 0..runs {
        lines.push(one_crowd(options, n, talkers, secs)?);
    }
    let of = |key: &str| median(lines.iter().filter_map(|l: &Value| l[key].as_f64()).collect());
    Ok(vec![json!({
        "figure": "web",
        "n": n,
        "talkers": talkers,
        "cpu_ms_per_participant_s": of("cpu"),
        "cpu_ms_of_each_run": lines.iter().map(|l| l["cpu"].clone()).collect::<Vec<_>>(),
        "rss_kb_per_leg": of("rss"),
        "join_ms_p50": of("join_p50"),
        "join_ms_p95": of("join_p95"),
        "up": of("up"),
        "packets_a_second_min": of("pps"),
        "generator_behind_ms": of("behind"),
    })])
}

/// On one machine the server goes first, or the clients' own handshakes would take its time. For threads that begin from now on.
fn step_back() {
    let own = std::process::id().to_string();
    let done = Command::new("renice").args(["-n", "19", "-p", &own]).stdout(Stdio::null()).status();
    debug_assert!(done.is_ok_and(|status| status.success()), "renice is part of every system");
}

fn one_crowd(options: &Options, n: usize, talkers: usize, secs: f64) -> Result<Value, String> {
    let legs = u16::try_from(n + 10).map_err(|e| e.to_string())?;
    let server = options.server(legs, &[])?;
    let api = server.api();
    let token = room_token(&api, "900")?;
    let silent = packets(None);
    let (stop, connected, late) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(0.0));
    let (sender, arrivals) = mpsc::channel();
    let (stop, connected, late) = (&stop, &connected, &late);
    std::thread::scope(|scope| {
        let keeper = scope.spawn(move || keep(arrivals, stop, connected, late));
        // What a server takes once is not a leg's.
        let mut rss_before = 0;
        for at in 0..n {
            let packets = if at < talkers { packets(Some(300.0 + 100.0 * at as f64)) } else { Arc::clone(&silent) };
            let arrival = join(&api, &token, &packets).ok_or("a join is refused")?;
            sender.send(arrival).map_err(|e| e.to_string())?;
            wait(|| connected.load(Ordering::Relaxed) > at);
            if at + 1 == talkers {
                rss_before = rss_kb(&server)?;
            }
        }
        std::thread::sleep(Duration::from_secs(3));
        let rss = (rss_kb(&server)?.saturating_sub(rss_before)) as f64 / (n - talkers).max(1) as f64;
        *late.lock().unwrap_or_else(PoisonError::into_inner) = 0.0;
        let (before, began) = (cpu_s(&server)?, Instant::now());
        std::thread::sleep(Duration::from_secs_f64(secs));
        let cpu = (cpu_s(&server)? - before) * 1_000.0 / began.elapsed().as_secs_f64() / n as f64;
        let behind = *late.lock().unwrap_or_else(PoisonError::into_inner);
        stop.store(true, Ordering::Relaxed);
        let all = keeper.join().map_err(|_| "the generator panicked")?;
        let mut joins: Vec<f64> = all.iter().filter_map(|(c, asked)| Some(ms(c.log.first_audio? - *asked))).collect();
        joins.sort_by(f64::total_cmp);
        let pps = all.iter().filter_map(|(client, _)| {
            let lasted = client.log.first_audio?.elapsed().as_secs_f64();
            Some(client.log.audio_frames as f64 / lasted)
        });
        Ok(json!({
            "cpu": cpu, "rss": rss, "behind": behind, "up": joins.len(),
            "join_p50": quantile(&joins, 0.5), "join_p95": quantile(&joins, 0.95),
            "pps": pps.fold(f64::INFINITY, f64::min),
        }))
    })
}

/// So many joins as fast as they are answered, beside a room of 20.
pub(crate) fn burst(options: &Options) -> Figures {
    let n: usize = options.number("n", 1_000)?;
    let legs = u16::try_from(n + 50).map_err(|e| e.to_string())?;
    let server = options.server(legs, &[("CONCLAVE__API__REQUESTS_PER_MINUTE", "1000000")])?;
    step_back();
    let api = server.api();
    let running = room_token(&api, "900")?;
    let rooms: Vec<String> =
        (0..n.div_ceil(ROOM)).map(|at| room_token(&api, &format!("{}", 901 + at))).collect::<Result<_, _>>()?;
    let silent = packets(None);
    let (stop, connected, late) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(0.0));
    let (sender, arrivals) = mpsc::channel();
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (stop, connected, late) = (&stop, &connected, &late);
    std::thread::scope(|scope| {
        let keeper = scope.spawn(move || keep(arrivals, stop, connected, late));
        for at in 0..20 {
            let arrival =
                join(&api, &running, &packets(Some(300.0 + 50.0 * f64::from(at)))).ok_or("a join is refused")?;
            sender.send(arrival).map_err(|e| e.to_string())?;
        }
        wait(|| connected.load(Ordering::Relaxed) == 20);
        // A scrape begins the worst anew.
        drop(lateness(&api));
        std::thread::sleep(Duration::from_secs(5));
        let quiet = lateness(&api);
        let began = Instant::now();
        let posters: Vec<_> = (0..POSTERS)
            .map(|_| {
                let (sender, api) = (sender.clone(), server.api());
                let (next, refused, rooms, silent) = (&next, &refused, &rooms, &silent);
                scope.spawn(move || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= n {
                            return;
                        }
                        match join(&api, &rooms[at / ROOM], silent) {
                            Some(arrival) => drop(sender.send(arrival)),
                            None => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        }
                    }
                })
            })
            .collect();
        for poster in posters {
            poster.join().map_err(|_| "a poster panicked")?;
        }
        let answered_s = began.elapsed().as_secs_f64();
        let wanted = 20 + n - refused.load(Ordering::Relaxed);
        wait(|| connected.load(Ordering::Relaxed) >= wanted);
        let all_in_s = began.elapsed().as_secs_f64();
        let burst = lateness(&api);
        stop.store(true, Ordering::Relaxed);
        let all = keeper.join().map_err(|_| "the generator panicked")?;
        Ok(vec![json!({
            "figure": "web burst",
            "n": n,
            "refused": refused.load(Ordering::Relaxed),
            "up": all.iter().filter(|(client, _)| client.log.first_audio.is_some()).count(),
            "answered_s": answered_s,
            "all_in_s": all_in_s,
            "tick_lateness_ms_quiet": quiet,
            "tick_lateness_ms_burst": burst,
            "generator_behind_ms": *late.lock().unwrap_or_else(PoisonError::into_inner),
        })])
    })
}

/// The worst lateness of a tick since the last look and that of 99 in 100, in ms; and ticks skipped since the start.
fn lateness(api: &Api) -> Value {
    // One look for all three: each begins the worst anew.
    let text = api.get("/metrics").expect(200).text();
    let of = |name: &str| {
        let series = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit_once(' '));
        series.filter_map(|(_, value)| value.parse::<f64>().ok()).fold(0.0, f64::max)
    };
    json!({
        "max": of("conclave_engine_tick_lateness_max_seconds") * 1_000.0,
        "p99": of("conclave_engine_tick_lateness_p99_seconds") * 1_000.0,
        "skipped": of("conclave_engine_ticks_skipped_total"),
    })
}

fn ms(length: Duration) -> f64 {
    length.as_secs_f64() * 1_000.0
}

fn wait(holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < end {
        std::thread::sleep(PAUSE);
    }
}
