//! What is counted, for `/metrics` (Prometheus text). Labels are fixed words or the few workers' numbers: nothing that a
//! caller or a client sends becomes one. Written from every task, read by whoever scrapes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::Engine;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Request to response, in seconds.
const REQUEST_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];
/// Late ticks are logged at most this often; the metric counts each.
const OVERRUN_LOG_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worker {
    worker: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Composer {
    composer: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    /// The route, not the path: `/api/conference_rooms/{id}`.
    route: String,
    status: u16,
}

/// Everything that is counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Of rooms and participants.
    pub rooms: RoomMetrics,
    /// Of the API.
    pub api: ApiMetrics,
}

impl Metrics {
    /// With the engine's own figures, read at each scrape.
    pub fn new(engine: Engine) -> Self {
        let (rooms, api) = (RoomMetrics::default(), ApiMetrics::default());
        let mut registry = Registry::with_prefix("conclave");
        rooms.register(&mut registry);
        api.register(&mut registry);
        registry.register_collector(Box::new(EngineFigures { engine }));
        Self { registry: Arc::new(Mutex::new(registry)), rooms, api }
    }

    /// For parts that count on their own.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("BUG: writing to a String cannot fail");
        text
    }
}

/// What rooms count.
#[derive(Clone, Debug, Default)]
pub struct RoomMetrics {
    active: Gauge,
    participants: Gauge,
    joined: Counter,
    left: Family<Reason, Counter>,
    refused: Family<Reason, Counter>,
    not_reached: Family<Reason, Counter>,
    digits: Counter,
    recordings: Family<State, Counter>,
    orders_lost: Counter,
    pictures_strained: Counter,
    pictures_failed: Counter,
    events_lost: Counter,
    ticks_skipped: Family<Worker, Counter>,
    overruns: Arc<Overruns>,
}

#[derive(Debug, Default)]
struct Overruns {
    logged: Mutex<Option<Instant>>,
    suppressed: AtomicU32,
}

impl RoomMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("rooms_active", "Rooms with somebody in them or on the way in", self.active.clone());
        registry.register("participants", "Participants in rooms", self.participants.clone());
        registry.register("participants_joined", "Participants who came into a room", self.joined.clone());
        registry.register("participants_left", "Participants who left, by reason", self.left.clone());
        registry.register("callers_refused", "Callers not let in by rooms, by reason", self.refused.clone());
        registry.register(
            "participants_not_reached",
            "Participants who were called and did not come, by reason",
            self.not_reached.clone(),
        );
        registry.register("dtmf_digits", "Keys pressed by participants", self.digits.clone());
        registry.register("recordings_ended", "Recordings that ended, by state", self.recordings.clone());
        registry.register("dialog_orders_lost", "Orders that a dialog did not take", self.orders_lost.clone());
        registry.register(
            "pictures_strained",
            "Times that what is made of a room's picture changed with the load",
            self.pictures_strained.clone(),
        );
        registry.register("pictures_failed", "Times that a room's picture failed", self.pictures_failed.clone());
        registry.register("engine_events_lost", "Times that facts from the engine were lost", self.events_lost.clone());
        registry.register(
            "engine_overrun_ticks",
            "Ticks skipped after a stall, as reported",
            self.ticks_skipped.clone(),
        );
    }

    pub(crate) fn not_reached(&self, label: &'static str) {
        self.not_reached.get_or_create(&Reason { reason: label }).inc();
    }

    pub(crate) fn population(&self, rooms: usize, participants: usize) {
        self.active.set(i64::try_from(rooms).unwrap_or(i64::MAX));
        self.participants.set(i64::try_from(participants).unwrap_or(i64::MAX));
    }

    pub(crate) fn joined(&self) {
        self.joined.inc();
    }

    pub(crate) fn left(&self, reason: &'static str) {
        self.all_left(reason, 1);
    }

    /// So many left at once.
    pub(crate) fn all_left(&self, reason: &'static str, count: usize) {
        if count > 0 {
            self.left.get_or_create(&Reason { reason }).inc_by(count as u64);
        }
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn digit(&self) {
        self.digits.inc();
    }

    pub(crate) fn recording_ended(&self, state: &'static str) {
        self.recordings.get_or_create(&State { state }).inc();
    }

    pub(crate) fn picture_strained(&self) {
        self.pictures_strained.inc();
    }

    pub(crate) fn picture_failed(&self) {
        self.pictures_failed.inc();
    }

    pub(crate) fn order_lost(&self) {
        self.orders_lost.inc();
    }

    pub(crate) fn lagged(&self) {
        self.events_lost.inc();
    }

    /// Counts; `Some` when this one is to be logged, with how many before it were not.
    pub(crate) fn overrun(&self, worker: usize, skipped: u32) -> Option<u32> {
        let worker = u32::try_from(worker).unwrap_or(u32::MAX);
        self.ticks_skipped.get_or_create(&Worker { worker }).inc_by(u64::from(skipped));
        let mut logged = self.overruns.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|at| at.elapsed() < OVERRUN_LOG_EVERY) {
            self.overruns.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *logged = Some(Instant::now());
        Some(self.overruns.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// What the API counts.
#[derive(Clone, Debug)]
pub struct ApiMetrics {
    requests: Family<Request, Counter>,
    seconds: Histogram,
    panics: Counter,
    connections: Gauge,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Histogram::new(REQUEST_BUCKETS),
            panics: Counter::default(),
            connections: Gauge::default(),
        }
    }
}

impl ApiMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("api_requests", "API requests, by method, route and status", self.requests.clone());
        registry.register("api_request_seconds", "API request to response", self.seconds.clone());
        registry.register("api_panics", "Panics caught in API requests", self.panics.clone());
        registry.register("api_connections", "Open API connections", self.connections.clone());
    }

    /// `method` is one of a few words, `route` one of the table's.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Request { method, route: route.to_owned(), status }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    pub(crate) fn connections(&self) -> &Gauge {
        &self.connections
    }
}

/// The engine's workers, as they are when somebody scrapes.
#[derive(Debug)]
struct EngineFigures {
    engine: Engine,
}

impl Collector for EngineFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let workers = self.engine.worker_stats();
        let mut counter = |name: &str, help: &str, value: fn(&media::WorkerStats) -> u64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (worker, stats) in (0u32..).zip(&workers) {
                ConstCounter::new(value(stats)).encode(family.encode_family(&Worker { worker })?)?;
            }
            Ok::<_, std::fmt::Error>(())
        };
        counter("engine_ticks", "Ticks done", |w| w.ticks)?;
        counter("engine_ticks_skipped", "Ticks skipped after a stall", |w| w.ticks_skipped)?;
        counter("engine_panics", "Panics caught in rooms and legs", |w| w.panics)?;
        counter("browser_strangers", "Packets of browsers from addresses that no participant has proved", |w| {
            w.strays[0]
        })?;
        counter("browser_checks_unknown", "Connectivity checks for no participant", |w| w.strays[1])?;
        counter(
            "browser_checks_refused",
            "Connectivity checks without the right password, and malformed packets",
            |w| w.strays[2],
        )?;
        counter("browser_handshakes_lost", "Handshake packets of browsers that were too many at once", |w| {
            w.strays[3]
        })?;
        let mut gauge = |name: &str, help: &str, value: fn(&media::WorkerStats) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (worker, stats) in (0u32..).zip(&workers) {
                ConstGauge::new(value(stats)).encode(family.encode_family(&Worker { worker })?)?;
            }
            Ok::<_, std::fmt::Error>(())
        };
        gauge("engine_load_ratio", "Share of the tick time in use", |w| f64::from(w.load_permille) / 1000.0)?;
        gauge("engine_rooms", "Rooms with legs", |w| f64::from(w.rooms))?;
        gauge("engine_legs", "Legs", |w| f64::from(w.legs))?;
        gauge("engine_tick_lateness_max_seconds", "Latest tick since the last scrape", |w| {
            w.max_lateness.as_secs_f64()
        })?;
        gauge("engine_tick_lateness_p99_seconds", "99 of 100 ticks started no later", |w| {
            w.lateness.quantile(0.99).map_or(0.0, |late| late.as_secs_f64())
        })?;
        self.encode_composers(encoder)
    }
}

impl EngineFigures {
    fn encode_composers(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let composers = self.engine.composer_stats();
        let mut counter = |name: &str, help: &str, value: fn(&media::ComposerStats) -> u64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (composer, stats) in (0u32..).zip(&composers) {
                ConstCounter::new(value(stats)).encode(family.encode_family(&Composer { composer })?)?;
            }
            Ok::<_, std::fmt::Error>(())
        };
        counter("composer_pictures", "Pictures of rooms made", |c| c.pictures)?;
        counter("composer_pictures_skipped", "Pictures left out as composing was late", |c| c.pictures_skipped)?;
        counter("composer_decoded", "Pictures of participants decoded", |c| c.decoded)?;
        counter("composer_decode_errors", "Pictures of participants that could not be decoded", |c| c.decode_errors)?;
        counter("composer_panics", "Panics caught in pictures", |c| c.panics)?;
        let mut gauge = |name: &str, help: &str, value: fn(&media::ComposerStats) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (composer, stats) in (0u32..).zip(&composers) {
                ConstGauge::new(value(stats)).encode(family.encode_family(&Composer { composer })?)?;
            }
            Ok::<_, std::fmt::Error>(())
        };
        gauge("composer_load_ratio", "Share of the time in use", |c| f64::from(c.load_permille) / 1000.0)?;
        gauge("composer_rooms", "Rooms with a picture", |c| f64::from(c.rooms))
    }
}

/// CPU and memory of this process against its machine, in whole percents, from /proc.
#[derive(Debug)]
pub struct ProcessUsage {
    cpus: u64,
    ticks_per_second: u64,
    last: Mutex<Option<(Instant, u64)>>,
    cpu_percent: AtomicU64,
}

impl Default for ProcessUsage {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessUsage {
    /// Samples are taken this often; a figure is the mean over one such time.
    pub const EVERY: Duration = Duration::from_secs(2);

    /// Nothing measured yet.
    pub fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        // USER_HZ is 100 on every Linux that Rust runs on; /proc is in it.
        Self { cpus, ticks_per_second: 100, last: Mutex::new(None), cpu_percent: AtomicU64::new(0) }
    }

    /// Takes a sample.
    pub fn sample(&self) {
        let Some(ticks) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu_ticks(&text)) else {
            return;
        };
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, before)) = last.replace((now, ticks)) {
            let elapsed_s = now.saturating_duration_since(at).as_secs_f64();
            let used_s = ticks.saturating_sub(before) as f64 / self.ticks_per_second as f64;
            let percent = if elapsed_s > 0.0 { used_s / elapsed_s / self.cpus as f64 * 100.0 } else { 0.0 };
            self.cpu_percent.store(percent.round().clamp(0.0, 100.0) as u64, Ordering::Relaxed);
        }
    }

    /// Of all the machine's cores.
    pub fn cpu_percent(&self) -> u64 {
        self.cpu_percent.load(Ordering::Relaxed)
    }

    /// Resident memory of the machine's.
    pub fn memory_percent(&self) -> u64 {
        let field = |file: &str, name: &str| std::fs::read_to_string(file).ok().and_then(|text| kilobytes(&text, name));
        match (field("/proc/self/status", "VmRSS:"), field("/proc/meminfo", "MemTotal:")) {
            (Some(used), Some(total)) if total > 0 => (used * 100 + total / 2) / total,
            _ => 0,
        }
    }
}

/// utime and stime of `/proc/<pid>/stat` (proc(5)): fields 14 and 15, counted after the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 120 34 0 0 20 0 9 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(154));
        for broken in ["", ")", "7 (a) R 1 2", "7 (a) R 1 7 7 0 -1 4194304 100 0 0 0 x 34"] {
            assert_eq!(cpu_ticks(broken), None, "{broken}");
        }
    }

    #[test]
    fn memory_of_this_process_is_a_percentage() {
        assert_eq!(kilobytes("MemTotal:       16308228 kB\nMemFree: 1 kB", "MemTotal:"), Some(16_308_228));
        assert!(ProcessUsage::new().memory_percent() <= 100);
    }

    #[test]
    fn late_ticks_are_all_counted_and_seldom_logged() {
        let metrics = RoomMetrics::default();
        assert_eq!(metrics.overrun(0, 2), Some(0));
        assert_eq!(metrics.overrun(0, 3), None);
        assert_eq!(metrics.ticks_skipped.get_or_create(&Worker { worker: 0 }).get(), 5);
    }
}
