//! What the delivery of events counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Of streams and webhooks.
#[derive(Clone, Debug, Default)]
pub struct EventMetrics {
    kept: Gauge,
    streams: Gauge,
    streams_ended: Family<Reason, Counter>,
    deliveries: Family<Outcome, Counter>,
    pending: Gauge,
    dead: Gauge,
}

impl EventMetrics {
    /// Makes them part of what is scraped.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("events_kept", "Events in the outbox", self.kept.clone());
        registry.register("event_streams", "Open event streams", self.streams.clone());
        registry.register("event_streams_ended", "Event streams that ended, by reason", self.streams_ended.clone());
        registry.register("webhook_deliveries", "Attempts to deliver, by outcome", self.deliveries.clone());
        registry.register("webhook_deliveries_pending", "Deliveries that wait", self.pending.clone());
        registry.register("webhook_deliveries_dead", "Deliveries that were given up and are kept", self.dead.clone());
    }

    pub(crate) fn streams(&self) -> &Gauge {
        &self.streams
    }

    /// `reason` is one of a few words.
    pub(crate) fn stream_ended(&self, reason: &'static str) {
        self.streams_ended.get_or_create(&Reason { reason }).inc();
    }

    /// `outcome` is one of a few words.
    pub(super) fn delivery(&self, outcome: &'static str) {
        self.deliveries.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn given_up(&self, deliveries: u64) {
        self.deliveries.get_or_create(&Outcome { outcome: "dead" }).inc_by(deliveries);
        self.dead.inc_by(i64::try_from(deliveries).unwrap_or(i64::MAX));
    }

    pub(super) fn kept(&self, events: i64) {
        self.kept.set(events);
    }

    pub(super) fn pending(&self, deliveries: usize) {
        self.pending.set(i64::try_from(deliveries).unwrap_or(i64::MAX));
    }

    pub(super) fn dead(&self, deliveries: i64) {
        self.dead.set(deliveries);
    }
}
