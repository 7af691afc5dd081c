//! The settings that a running server takes over on SIGHUP. Read on any thread, replaced by the one that reloads.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;

/// The keys that need no restart. `log.filter` is applied by the server crate, the others are in `Limits`.
pub(super) const KEYS: &[&str] = &[
    "api.requests_per_minute",
    "drain.grace_s",
    "log.filter",
    "sip.allow",
    "sip.invites_per_source_per_second",
    "sip.max_calls_in_setup",
];

/// One consistent set of the limits that may change while calls run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sources whose INVITEs are accepted.
    pub allow: Vec<IpNet>,
    /// INVITEs taken from one source address in one second.
    pub invites_per_source_per_second: u32,
    /// Calls that have been neither answered nor refused yet.
    pub max_calls_in_setup: u32,
    /// API requests of one token in one minute.
    pub requests_per_minute: u32,
    /// From SIGTERM to the BYEs.
    pub grace: Duration,
}

/// A handle on the present limits. Clones see the same ones.
#[derive(Clone, Debug)]
pub struct Live(Arc<RwLock<Arc<Limits>>>);

impl Live {
    /// With these limits.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(limits))))
    }

    /// The present limits: a reference count, no copy. Take it for each request, do not keep it.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on.
    pub fn replace(&self, limits: Limits) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
    }
}
