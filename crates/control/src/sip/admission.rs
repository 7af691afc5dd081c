//! Who may start a call, decided before anything is allocated for it: source networks, INVITEs per source and second,
//! calls in setup, TCP connections. Called from the receive tasks; time is an argument. Knows no SIP message.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use crate::config::Live;

/// Sources remembered at once; beyond it new sources share one bucket. About 100 bytes each.
const MAX_SOURCES: usize = 4096;

/// TCP connections open at once, and of them from one address (a PBX needs one; test tools open one for each call).
pub(super) const MAX_TCP_CONNECTIONS: usize = 2048;
pub(super) const MAX_TCP_PER_SOURCE: usize = 1024;

/// What is to become of an INVITE from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    /// Outside the allowed networks: say so (403).
    Forbidden,
    /// More than its share: say nothing, a flood is not worth an answer.
    Drop,
}

/// The rules, and what each source has used of them.
#[derive(Debug)]
pub(super) struct Admission {
    live: Live,
    /// This machine's addresses: who calls from it is no stranger, and the kernel lets nobody else use them.
    own: Vec<IpAddr>,
    /// Addresses of the PBX and of trunks, by name: as many as are configured, a few addresses each.
    peers: RwLock<HashMap<String, Vec<IpAddr>>>,
    buckets: Mutex<Buckets>,
    setup: Arc<AtomicU32>,
    tcp: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_source: HashMap<IpAddr, Bucket>,
    overflow: Option<Bucket>,
}

/// Token bucket of one second's worth.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let rate = f64::from(per_second);
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(rate);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    fn is_full(&self, per_second: u32, now: Instant) -> bool {
        let rate = f64::from(per_second);
        self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * rate >= rate
    }
}

impl Admission {
    /// With the limits as they are at each decision; `own` are this machine's addresses.
    pub(super) fn new(live: Live, own: Vec<IpAddr>) -> Self {
        Self {
            live,
            own,
            peers: RwLock::default(),
            buckets: Mutex::default(),
            setup: Arc::default(),
            tcp: Arc::default(),
        }
    }

    /// A PBX or trunk is at these addresses from now on: its calls are accepted. None keeps those that it had.
    pub(super) fn welcome(&self, name: &str, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            let addresses = addresses.into_iter().map(|ip| ip.to_canonical()).collect();
            self.peers.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), addresses);
        }
    }

    fn is_peer(&self, source: IpAddr) -> bool {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.values().any(|addresses| addresses.contains(&source))
    }

    /// The source lies in an allowed network, or is this machine, or a PBX or trunk of ours.
    pub(super) fn allows(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.live.limits().allow.iter().any(|net| net.contains(&source))
            || self.own.contains(&source)
            || self.is_peer(source)
    }

    /// One INVITE from `source`.
    pub(super) fn invite(&self, source: IpAddr, now: Instant) -> Verdict {
        let within_rate = self.take(source_key(source), now);
        match (self.allows(source), within_rate) {
            (_, false) => Verdict::Drop,
            (true, true) => Verdict::Accept,
            (false, true) => Verdict::Forbidden,
        }
    }

    fn take(&self, source: IpAddr, now: Instant) -> bool {
        let per_second = self.live.limits().invites_per_source_per_second.max(1);
        let fresh = Bucket { tokens: f64::from(per_second), at: now };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.by_source.get_mut(&source) {
            return bucket.take(per_second, now);
        }
        if buckets.by_source.len() >= MAX_SOURCES {
            buckets.by_source.retain(|_, b| !b.is_full(per_second, now));
        }
        if buckets.by_source.len() >= MAX_SOURCES {
            return buckets.overflow.get_or_insert(fresh).take(per_second, now);
        }
        buckets.by_source.entry(source).or_insert(fresh).take(per_second, now)
    }

    /// A place among the calls in setup, given back when dropped.
    pub(super) fn setup_place(&self) -> Option<SetupPlace> {
        let max = self.live.limits().max_calls_in_setup.max(1);
        let place = SetupPlace(Arc::clone(&self.setup));
        // Counted first, so that two at once cannot both take the last place.
        (self.setup.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }

    /// A place among the TCP connections, given back when dropped.
    pub(super) fn tcp_place(&self, source: IpAddr) -> Option<TcpPlace> {
        let source = source_key(source);
        let mut open = self.tcp.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let mine = open.get(&source).copied().unwrap_or(0);
        if total >= MAX_TCP_CONNECTIONS || mine >= MAX_TCP_PER_SOURCE {
            return None;
        }
        open.insert(source, mine + 1);
        Some(TcpPlace { open: Arc::clone(&self.tcp), source })
    }
}

/// One counted call in setup.
#[derive(Debug)]
pub(super) struct SetupPlace(Arc<AtomicU32>);

impl Drop for SetupPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One counted TCP connection.
#[derive(Debug)]
pub(super) struct TcpPlace {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    source: IpAddr,
}

impl Drop for TcpPlace {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.source) {
            Some(n) if *n > 1 => *n -= 1,
            _ => {
                open.remove(&self.source);
            }
        }
    }
}

/// IPv6 hosts own a /64, so that is one source.
fn source_key(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(prefix.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use ipnet::IpNet;
    use std::time::Duration;

    fn admission(allow: Vec<IpNet>, invites_per_source_per_second: u32, max_calls_in_setup: u32) -> Admission {
        let limits = Limits {
            allow,
            invites_per_source_per_second,
            max_calls_in_setup,
            requests_per_minute: 1,
            grace: Duration::ZERO,
        };
        Admission::new(Live::new(limits), vec!["198.51.100.7".parse().unwrap()])
    }

    fn net(s: &str) -> IpNet {
        s.parse().unwrap()
    }

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    #[test]
    fn source_outside_the_networks_is_forbidden() {
        let a = admission(vec![net("10.0.0.0/8"), net("fd00::/8")], 10, 5);
        assert!(a.allows("198.51.100.7".parse().unwrap()), "this machine itself");
        let now = Instant::now();
        assert_eq!(a.invite(ip("10.1.2.3"), now), Verdict::Accept);
        assert_eq!(a.invite(ip("::ffff:10.1.2.3"), now), Verdict::Accept);
        assert_eq!(a.invite(ip("fd00::1"), now), Verdict::Accept);
        assert_eq!(a.invite(ip("192.0.2.1"), now), Verdict::Forbidden);
    }

    #[test]
    fn trunk_is_let_in_from_where_it_is_now() {
        let a = admission(vec![net("10.0.0.0/8")], 10, 5);
        let now = Instant::now();
        a.welcome("t", vec![ip("203.0.113.1"), ip("::ffff:203.0.113.2")]);
        assert_eq!(a.invite(ip("203.0.113.1"), now), Verdict::Accept);
        assert_eq!(a.invite(ip("203.0.113.2"), now), Verdict::Accept);
        assert_eq!(a.invite(ip("203.0.113.3"), now), Verdict::Forbidden);
        a.welcome("t", Vec::new());
        assert!(a.allows(ip("203.0.113.1")), "a resolver that fails takes nothing away");
        a.welcome("t", vec![ip("203.0.113.3")]);
        assert!(a.allows(ip("203.0.113.3")) && !a.allows(ip("203.0.113.1")));
    }

    #[test]
    fn flood_from_one_source_is_dropped_and_others_still_get_in() {
        let a = admission(vec![net("0.0.0.0/0")], 5, 5);
        let now = Instant::now();
        for _ in 0..5 {
            assert_eq!(a.invite(ip("192.0.2.1"), now), Verdict::Accept);
        }
        assert_eq!(a.invite(ip("192.0.2.1"), now), Verdict::Drop);
        assert_eq!(a.invite(ip("192.0.2.2"), now), Verdict::Accept);
        let later = now + Duration::from_millis(400);
        assert_eq!(a.invite(ip("192.0.2.1"), later), Verdict::Accept);
        assert_eq!(a.invite(ip("192.0.2.1"), later), Verdict::Accept);
        assert_eq!(a.invite(ip("192.0.2.1"), later), Verdict::Drop);
    }

    #[test]
    fn sources_beyond_the_table_share_one_bucket_and_the_table_stays_bounded() {
        let a = admission(vec![net("0.0.0.0/0")], 2, 5);
        let now = Instant::now();
        let nth = |n: u32| IpAddr::V4((0x0b00_0000_u32 + n).into());
        for n in 0..MAX_SOURCES as u32 {
            assert_eq!(a.invite(nth(n), now), Verdict::Accept);
        }
        let beyond = MAX_SOURCES as u32;
        assert_eq!(a.invite(nth(beyond), now), Verdict::Accept);
        assert_eq!(a.invite(nth(beyond + 1), now), Verdict::Accept);
        assert_eq!(a.invite(nth(beyond + 2), now), Verdict::Drop);
        assert_eq!(a.buckets.lock().unwrap().by_source.len(), MAX_SOURCES);
        let later = now + Duration::from_secs(2);
        assert_eq!(a.invite(nth(beyond + 2), later), Verdict::Accept);
        assert_eq!(a.buckets.lock().unwrap().by_source.len(), 1);
    }

    #[test]
    fn setup_places_come_back() {
        let a = admission(vec![], 1, 2);
        let one = a.setup_place();
        let two = a.setup_place();
        assert!(one.is_some() && two.is_some());
        assert!(a.setup_place().is_none());
        drop(one);
        assert!(a.setup_place().is_some());
    }

    #[test]
    fn tcp_places_are_bounded_for_each_source() {
        let a = admission(vec![], 1, 2);
        let mut held: Vec<_> = (0..MAX_TCP_PER_SOURCE).map(|_| a.tcp_place(ip("192.0.2.1")).unwrap()).collect();
        assert!(a.tcp_place(ip("192.0.2.1")).is_none());
        assert!(a.tcp_place(ip("192.0.2.2")).is_some());
        held.pop();
        assert!(a.tcp_place(ip("192.0.2.1")).is_some());
        held.clear();
        assert!(a.tcp.lock().unwrap().is_empty());
    }
}
