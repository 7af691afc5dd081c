//! Plans and trunks for tests.

use std::time::Duration;

use super::{Limits, TransportChoice, Trunk};
use crate::config::DialingConfig;

/// A plan's settings with wide limits.
pub(super) fn config(allow: &[&str], deny: &[&str]) -> DialingConfig {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    DialingConfig {
        allow: patterns(allow),
        deny: patterns(deny),
        sip_uris: false,
        ring_timeout: Duration::from_secs(60),
        limits: Limits {
            calls_per_minute_room: 100,
            calls_per_minute_token: 100,
            concurrent_room: 100,
            concurrent_token: 100,
        },
    }
}

/// A trunk to loopback.
pub(super) fn trunk(name: &str, patterns: &[&str]) -> Trunk {
    Trunk {
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: Some(5060),
        domain: "127.0.0.1".to_owned(),
        transport: TransportChoice::Auto,
        credentials: None,
        caller_id: None,
        asserted_identity: false,
        codecs: Vec::new(),
        register: None,
        patterns: patterns.iter().map(|text| text.parse().unwrap()).collect(),
        strip: 0,
        prepend: String::new(),
        ring_timeout: Duration::from_secs(60),
        max_calls: 100,
    }
}
