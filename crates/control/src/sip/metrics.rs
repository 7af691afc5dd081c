//! What signalling counts. Labels are fixed words: nothing a caller sends becomes one. Written from every task, read by
//! the metrics page.

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// INVITE to final answer, in seconds.
const SETUP_BUCKETS: [f64; 10] = [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 1.0, 2.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegistrationLabels {
    /// `pbx`, or a trunk's name, as the configuration has it.
    peer: String,
    state: &'static str,
}

/// How a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegistrationState {
    Registering,
    Registered,
    Failed,
}

impl RegistrationState {
    const fn label(self) -> &'static str {
        match self {
            Self::Registering => "registering",
            Self::Registered => "registered",
            Self::Failed => "failed",
        }
    }
}

/// One registration as the gauges count it, until it is dropped.
#[derive(Debug)]
pub(super) struct ShownRegistration {
    gauges: Family<RegistrationLabels, Gauge>,
    peer: String,
    state: Mutex<RegistrationState>,
}

impl ShownRegistration {
    pub(super) fn set(&self, state: RegistrationState) {
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauge(*now).dec();
        *now = state;
        self.gauge(state).inc();
    }

    fn gauge(&self, state: RegistrationState) -> Gauge {
        self.gauges.get_or_create_owned(&RegistrationLabels { peer: self.peer.clone(), state: state.label() })
    }
}

impl Drop for ShownRegistration {
    fn drop(&mut self) {
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauge(state).dec();
    }
}

/// Counters and gauges of the SIP layer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SipMetrics {
    requests: Family<RequestLabels, Counter>,
    refused: Family<ReasonLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    ended: Family<ReasonLabel, Counter>,
    placed: Family<ReasonLabel, Counter>,
    registrations: Family<RegistrationLabels, Gauge>,
    answered: Counter,
    panics: Counter,
    pub(super) dialogs: Gauge,
    pub(super) tcp_connections: Gauge,
    pub(super) ws_connections: Gauge,
    setup: Histogram,
}

impl Default for SipMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            refused: Family::default(),
            dropped: Family::default(),
            ended: Family::default(),
            placed: Family::default(),
            registrations: Family::default(),
            answered: Counter::default(),
            panics: Counter::default(),
            dialogs: Gauge::default(),
            tcp_connections: Gauge::default(),
            ws_connections: Gauge::default(),
            setup: Histogram::new(SETUP_BUCKETS),
        }
    }
}

impl SipMetrics {
    /// Adds everything to `registry`, names beginning with `sip_`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("sip_requests", "SIP requests read, by method and transport", self.requests.clone());
        registry.register("sip_refused", "SIP requests refused, by reason", self.refused.clone());
        registry.register("sip_dropped", "SIP messages dropped unanswered, by reason", self.dropped.clone());
        registry.register("sip_calls_ended", "Answered calls that ended, by reason", self.ended.clone());
        registry.register("sip_calls_answered", "Calls answered with 200", self.answered.clone());
        registry.register("sip_calls_placed", "Calls that we made, by what became of them", self.placed.clone());
        registry.register(
            "sip_registrations",
            "Our registrations at the PBX and at trunks, by state",
            self.registrations.clone(),
        );
        registry.register("sip_panics", "Panics caught in call or receive tasks", self.panics.clone());
        registry.register("sip_dialogs", "Dialogs, in setup or established", self.dialogs.clone());
        registry.register("sip_tcp_connections", "Open SIP TCP connections", self.tcp_connections.clone());
        let about = "Open WebSockets that speak SIP";
        registry.register("sip_ws_connections", about, self.ws_connections.clone());
        registry.register("sip_setup_seconds", "INVITE received to final answer", self.setup.clone());
    }

    pub(super) fn request(&self, method: &'static str, transport: &'static str) {
        self.requests.get_or_create(&RequestLabels { method, transport }).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn answered(&self, setup: std::time::Duration) {
        self.answered.inc();
        self.setup.observe(setup.as_secs_f64());
    }

    /// `outcome` is `answered`, or why not.
    pub(super) fn placed(&self, outcome: &'static str) {
        self.placed.get_or_create(&ReasonLabel { reason: outcome }).inc();
    }

    /// One more registration, which begins as registering.
    pub(super) fn registration(&self, peer: &str) -> ShownRegistration {
        let state = Mutex::new(RegistrationState::Registering);
        let shown = ShownRegistration { gauges: self.registrations.clone(), peer: peer.to_owned(), state };
        shown.gauge(RegistrationState::Registering).inc();
        shown
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    #[cfg(test)]
    pub(super) fn dropped_count(&self, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&ReasonLabel { reason }).get()
    }

    #[cfg(test)]
    pub(super) fn refused_count(&self, reason: &'static str) -> u64 {
        self.refused.get_or_create(&ReasonLabel { reason }).get()
    }

    #[cfg(test)]
    pub(super) fn registration_count(&self, peer: &str, state: RegistrationState) -> i64 {
        self.registrations
            .get_or_create_owned(&RegistrationLabels { peer: peer.to_owned(), state: state.label() })
            .get()
    }

    #[cfg(test)]
    pub(super) fn placed_count(&self, outcome: &'static str) -> u64 {
        self.placed.get_or_create(&ReasonLabel { reason: outcome }).get()
    }

    #[cfg(test)]
    pub(super) fn panic_count(&self) -> u64 {
        self.panics.get()
    }
}
