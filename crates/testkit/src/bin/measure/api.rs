//! The API under load: two lists, asked for by several clients at once, beside rooms full of people.

use crate::load::{Load, cpu_s};
use crate::options::{Figures, Options, quantile};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use testkit::server::Server;
use testkit::wait;

/// Room extensions begin here, past those that the load generator calls.
const FIRST_EXTENSION: u32 = 100_000;
/// People come in at 40 a second.
const ARRIVAL: Duration = Duration::from_secs(60);

/// `--rooms` in the table, `--n` people in two of them, `--clients` that each ask again once they are answered.
pub(crate) fn lists(options: &Options) -> Figures {
    let rooms: u32 = options.number("rooms", 1000)?;
    let n: u16 = options.number("n", 200)?;
    let clients: usize = options.number("clients", 4)?;
    let secs: f64 = options.number("secs", 15.0)?;
    let server = options.server(n + 10, &[("CONCLAVE__API__REQUESTS_PER_MINUTE", "10000000")])?;
    let load = if n > 0 { Some(Load::start(options, &server, n, 2, secs + 25.0)?) } else { None };
    let api = server.api();
    for at in 0..rooms.saturating_sub(2) {
        api.create_room(&(FIRST_EXTENSION + at).to_string(), 10);
    }
    let room =
        match n {
            0 => api.create_room("900", 200),
            _ => api.get("/api/conference_rooms?filter=extension_number%20eq%20%27900%27").expect(200).json()["items"]
                [0]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
    let half = usize::from(n) / 2;
    wait::until("everyone is there", ARRIVAL, || {
        let there = api.get(&format!("/api/conference_rooms/{room}/participants?top=1")).json()["count"].as_u64();
        if there == Some(half as u64) { Ok(()) } else { Err(format!("{there:?} of {half}")) }
    });
    // The first scrape takes the worst tick of the time before.
    api.metric(&["engine_tick_lateness_max_seconds"]);
    let skipped = api.metric(&["engine_ticks_skipped_total"]);
    let paths = [
        "/api/conference_rooms?filter=mode%20eq%20%27AUDIO%27%20and%20startswith(subject,%27Room%20100%27)&top=100"
            .to_owned(),
        format!("/api/conference_rooms/{room}/participants"),
    ];
    let mut figures = Vec::new();
    for (name, asked) in [("both", &paths[..]), ("rooms", &paths[..1]), ("participants", &paths[1..])] {
        let cpu = cpu_s(&server)?;
        let begun = Instant::now();
        let mut times = together(&server, asked, clients, Duration::from_secs_f64(secs / 3.0))?;
        let took = begun.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        figures.push(json!({
            "figure": "api", "lists": name, "rooms": rooms, "participants": n, "clients": clients,
            "requests_per_s": (times.len() as f64 / took).round(),
            "p50_ms": quantile(&times, 0.5), "p99_ms": quantile(&times, 0.99), "max_ms": quantile(&times, 1.0),
            "server_cores": ((cpu_s(&server)? - cpu) / took * 100.0).round() / 100.0,
        }));
    }
    let late_ms = api.metric(&["engine_tick_lateness_max_seconds"]) * 1000.0;
    let skipped = api.metric(&["engine_ticks_skipped_total"]) - skipped;
    figures.push(json!({"figure": "api_ticks", "sum_of_worst_lateness_ms": late_ms, "skipped": skipped}));
    if let Some(load) = load {
        figures.push(load.end()?);
    }
    Ok(figures)
}

/// Each client takes the paths in turn; gives the time of every request in ms.
fn together(server: &Server, paths: &[String], clients: usize, time: Duration) -> Result<Vec<f64>, String> {
    let (address, token) = (server.api_address(), server.token());
    let asking: Vec<_> = (0..clients)
        .map(|first| {
            let (paths, token) = (paths.to_vec(), token.clone());
            std::thread::spawn(move || ask(address, &token, &paths, first, time))
        })
        .collect();
    let mut all = Vec::new();
    for client in asking {
        all.extend(client.join().map_err(|_| "a client panicked")??);
    }
    Ok(all)
}

fn ask(address: SocketAddr, token: &str, paths: &[String], first: usize, time: Duration) -> Result<Vec<f64>, String> {
    let stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone().map_err(|e| e.to_string())?);
    let (mut writer, mut times, begun) = (stream, Vec::new(), Instant::now());
    let mut body = Vec::new();
    for path in paths.iter().cycle().skip(first % paths.len()) {
        let sent = Instant::now();
        if sent.duration_since(begun) >= time {
            break;
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        writer.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
        answer(&mut reader, &mut body)?;
        times.push(sent.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

/// One response with a length; anything but 200 ends the measurement.
fn answer(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<(), String> {
    let (mut line, mut length, mut status) = (String::new(), None, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).map_err(|e| e.to_string())?;
        let text = line.trim_end();
        if status.is_empty() {
            status = text.to_owned();
        } else if text.is_empty() {
            break;
        } else if let Some(value) = text.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
    if !status.contains(" 200 ") {
        return Err(format!("answered with {status}"));
    }
    body.resize(length.ok_or("no content-length")?, 0);
    reader.read_exact(body).map_err(|e| e.to_string())
}
