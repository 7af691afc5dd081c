//! CPU and memory of the server: under the load generator, and with rooms that nobody is in.

use crate::options::{Figures, Options, median};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::ports;
use testkit::server::Server;

/// `sysconf(_SC_CLK_TCK)` of every Linux on the machines that Debian supports.
const TICKS_PER_S: f64 = 100.0;

/// Runs of the load generator against a fresh server each.
pub(crate) fn loadgen(options: &Options) -> Figures {
    let n: u16 = options.number("n", 50)?;
    let rooms: u16 = options.number("rooms", 1)?;
    let runs: usize = options.number("runs", 3)?;
    let talkers: String = options.number("talkers", "8".to_owned())?;
    let mut lines = Vec::new();
    for _ in 0..runs {
        let server = options.server(n + 10, &[("CONCLAVE__MEDIA__MAX_TALKERS", &talkers)])?;
        lines.push(one_run(options, &server, n, rooms)?);
    }
    let of = |key: &str| median(lines.iter().filter_map(|l| l[key].as_f64()).collect());
    let worst = |key: &str| lines.iter().filter_map(|l| l[key].as_f64()).fold(f64::NEG_INFINITY, f64::max);
    let figure = json!({
        "figure": "load",
        "codec": options.text("codec")?,
        "rooms": rooms,
        "n": n,
        "max_talkers": talkers,
        "cpu_ms_per_participant_s": of("cpu_ms_per_participant_s"),
        "cpu_ms_of_each_run": lines.iter().map(|l| l["cpu_ms_per_participant_s"].clone()).collect::<Vec<_>>(),
        "rss_kb_per_participant": of("rss_kb_per_participant"),
        "rx_pps_leg_min": of("rx_pps_leg_min"),
        "max_gap_ms": of("max_gap_ms"),
        "audible_pct": of("audible_pct"),
        "setup_max_s": of("setup_max_s"),
        "up": of("up"),
        "worst_gen_behind_ms": worst("gen_behind_ms"),
        "machine_idle": of("machine_idle"),
    });
    Ok(vec![figure])
}

fn one_run(options: &Options, server: &Server, n: u16, rooms: u16) -> Result<Value, String> {
    let secs = options.number("secs", 20.0)?;
    Load::start(options, server, n, rooms, secs)?.end()
}

/// A load generator that runs.
pub(crate) struct Load(Child);

impl Load {
    /// Makes the rooms 900, 901 … and has `n` people call them.
    pub(crate) fn start(options: &Options, server: &Server, n: u16, rooms: u16, secs: f64) -> Result<Self, String> {
        // The generator counts rooms from 0 and writes the number as it is.
        for room in 0..rooms {
            server.api().create_room(&format!("90{room}"), u32::from(n).min(200));
        }
        Self::call(options, server, n, rooms, secs, &[])
    }

    /// Has `n` people call the rooms, which are there.
    pub(crate) fn call(
        options: &Options,
        server: &Server,
        n: u16,
        rooms: u16,
        secs: f64,
        more: &[&str],
    ) -> Result<Self, String> {
        let extension = if rooms == 1 { "900" } else { "90%r" };
        // Four ports for each caller.
        let media_ports = ports::block(n * 4);
        let child = Command::new(options.text("loadgen")?)
            .args(["--sip", &server.sip_address().to_string(), "--ext", extension])
            .args(["--rooms", &rooms.to_string(), "--n", &n.to_string()])
            .args(["--codec", options.text("codec")?, "--media", options.text("media")?])
            .args(["--secs", &secs.to_string(), "--warmup", "6", "--cps", "40"])
            .args(["--pid", &server.pid().to_string(), "--rtp-base", &media_ports.start().to_string()])
            .args(["--local-port", &ports::one().to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("the load generator does not start: {e}"))?;
        Ok(Self(child))
    }

    /// Ends it; what it measured is not asked for.
    pub(crate) fn stop(mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// What it measured, once it has ended.
    pub(crate) fn end(self) -> Result<Value, String> {
        let out = self.0.wait_with_output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&out.stdout);
        let line = text.lines().rev().find(|l| l.starts_with('{'));
        line.and_then(|l| serde_json::from_str(l).ok())
            .ok_or_else(|| format!("{}: {text}{}", out.status, String::from_utf8_lossy(&out.stderr)))
    }
}

/// CPU of a server with many rooms and no calls.
pub(crate) fn idle(options: &Options) -> Figures {
    let rooms: u32 = options.number("rooms", 10_000)?;
    let secs: f64 = options.number("secs", 20.0)?;
    let server = options.server(10, &[("CONCLAVE__API__REQUESTS_PER_MINUTE", "1000000")])?;
    let api = server.api();
    for n in 0..rooms {
        api.create_room(&format!("{}", 100_000 + n), 10);
    }
    // The database's own writing comes to rest.
    std::thread::sleep(Duration::from_secs(3));
    let (before, begun) = (cpu_s(&server)?, Instant::now());
    std::thread::sleep(Duration::from_secs_f64(secs));
    let share = (cpu_s(&server)? - before) / begun.elapsed().as_secs_f64();
    let percent = (share * 10_000.0).round() / 100.0;
    Ok(vec![json!({"figure": "idle", "rooms": rooms, "percent_of_a_core": percent, "rss_kb": rss_kb(&server)?})])
}

/// User and system time of the process, all threads.
pub(crate) fn cpu_s(server: &Server) -> Result<f64, String> {
    let stat = proc_file(server, "stat")?;
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>();
    Ok(ticks / TICKS_PER_S)
}

/// CPU time of its threads in seconds, by their names without the number, exactly (in ns, `/proc/PID/task/TID/schedstat`).
pub(crate) fn cpu_of_threads(server: &Server) -> Result<BTreeMap<String, f64>, String> {
    let mut all = BTreeMap::new();
    let folder = format!("/proc/{}/task", server.pid());
    for task in std::fs::read_dir(&folder).map_err(|e| e.to_string())?.flatten() {
        // A thread may end meanwhile.
        let Ok(name) = std::fs::read_to_string(task.path().join("comm")) else { continue };
        let Ok(spent) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
        let ns: f64 = spent.split_whitespace().next().and_then(|ns| ns.parse().ok()).ok_or("a strange schedstat")?;
        let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        *all.entry(name.to_owned()).or_insert(0.0) += ns / 1e9;
    }
    Ok(all)
}

/// Memory of the process that is in use, in KiB.
pub(crate) fn rss_kb(server: &Server) -> Result<u64, String> {
    let status = proc_file(server, "status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    line.split_whitespace().next().and_then(|v| v.parse().ok()).ok_or_else(|| format!("VmRSS {line}"))
}

fn proc_file(server: &Server, name: &str) -> Result<String, String> {
    std::fs::read_to_string(format!("/proc/{}/{name}", server.pid())).map_err(|e| e.to_string())
}
