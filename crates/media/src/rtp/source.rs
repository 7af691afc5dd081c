//! Whose media a leg takes, and where its own goes: the source rule of the map. A far end behind a NAT writes an address
//! into its SDP that nobody can reach; a stranger who guesses our port must neither be heard nor make us flood a victim.
//! Runs on the worker's thread; a pure state machine, no socket, no clock.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// After this long without a packet, the latched host may go on from another port (a NAT that rebinds).
const RELATCH_AFTER: Duration = Duration::from_secs(2);
/// After this long without anything valid we stop sending: nobody is there, or nobody who asked for it.
const SEND_FOR: Duration = Duration::from_secs(10);

/// The addresses of one leg. Takes the address in the SDP, or the host that the signalling came from at any port;
/// latches to the first of them that sends, and from any other port of the host to the SDP's own address if that speaks
/// later: what came first may be an earlier call's last packets, or another phone behind the same address. Lets go at a
/// renegotiation, or when the same host falls silent and comes back from another port. IPv4 written as IPv6 (`::ffff:a.b.c.d`) is the same address everywhere.
#[derive(Clone, Debug)]
pub struct SourceRule {
    sdp: Option<SocketAddr>,
    signalling: IpAddr,
    latched: Option<SocketAddr>,
    /// The next valid packet may come from elsewhere: a renegotiation left the SDP address as it was.
    open: bool,
    /// Latched before the SDP address changed. Its last packets may still be on their way: they are heard until the
    /// time given, and latch nothing.
    former: Option<(SocketAddr, Instant)>,
    /// Begin of the present silence: the last packet, or the last (re)negotiation. `None` until the first call with a
    /// time.
    heard: Option<Instant>,
    /// The same, but RTCP counts too: a far end that only listens is there all the same.
    alive: Option<Instant>,
}

impl SourceRule {
    /// For a leg whose SDP names `sdp` and whose signalling came from `signalling`.
    pub fn new(sdp: Option<SocketAddr>, signalling: IpAddr) -> Self {
        let signalling = signalling.to_canonical();
        Self {
            sdp: sdp.and_then(|sdp| reachable(sdp, signalling)),
            signalling,
            latched: None,
            open: false,
            former: None,
            heard: None,
            alive: None,
        }
    }

    /// Whether an RTP packet from here is the leg's. The caller has checked that it parses and that its payload type was
    /// negotiated: what is accepted may latch.
    pub fn accept(&mut self, now: Instant, from: SocketAddr) -> bool {
        self.begin(now);
        let from = canonical(from);
        if !self.latches(now, from) && !self.is_straggler(now, from) {
            return false;
        }
        self.heard = Some(now);
        self.alive = Some(now);
        true
    }

    /// Whether an RTCP packet from here is the leg's: any port of a host that may send its RTP. Never latches.
    pub fn accept_rtcp(&mut self, now: Instant, from: SocketAddr) -> bool {
        self.begin(now);
        let ip = from.ip().to_canonical();
        let known = match self.latched.or(self.sdp) {
            Some(peer) if ip == peer.ip() => true,
            _ => self.latched.is_none() && ip == self.signalling,
        };
        if known {
            self.alive = Some(now);
        }
        known
    }

    /// The far end is there, by what another layer knows of it.
    pub fn keep_alive(&mut self, now: Instant) {
        self.heard = Some(now);
        self.alive = Some(now);
    }

    /// The signalling agreed anew: the leg may have moved, and what was silent on purpose begins again.
    pub fn renegotiated(&mut self, now: Instant, sdp: Option<SocketAddr>, signalling: IpAddr) {
        self.signalling = signalling.to_canonical();
        let sdp = sdp.and_then(|sdp| reachable(sdp, self.signalling));
        if sdp == self.sdp {
            // A refresh or a hold. Behind a NAT the latched address is the only one that works: keep sending there.
            self.open = true;
        } else {
            self.sdp = sdp;
            self.former = self.latched.take().map(|old| (old, now + RELATCH_AFTER));
        }
        self.heard = Some(now);
        self.alive = Some(now);
    }

    /// Where our RTP goes: to the latched source, else to the SDP's address. `None` when nothing valid has come for 10 s.
    pub fn send_to(&mut self, now: Instant) -> Option<SocketAddr> {
        self.begin(now);
        let alive = self.alive.is_some_and(|at| now.saturating_duration_since(at) < SEND_FOR);
        self.latched.or(self.sdp).filter(|_| alive)
    }

    /// Time since the last RTP packet, or since the last (re)negotiation if that is later.
    pub fn silent_for(&mut self, now: Instant) -> Duration {
        self.begin(now);
        self.heard.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// The source that was latched, if any was.
    pub fn latched(&self) -> Option<SocketAddr> {
        self.latched
    }

    /// A leg is made without a clock: its time begins with the first question that carries one.
    fn begin(&mut self, now: Instant) {
        self.heard.get_or_insert(now);
        self.alive.get_or_insert(now);
    }

    fn eligible(&self, from: SocketAddr) -> bool {
        Some(from) == self.sdp || from.ip() == self.signalling
    }

    /// `from` is the source from now on, or has been it.
    fn latches(&mut self, now: Instant, from: SocketAddr) -> bool {
        let allowed = match self.latched {
            Some(latched) if latched == from => true,
            Some(_) if self.sdp == Some(from) => !self.is_straggler(now, from),
            Some(latched) => {
                let silent = self.heard.is_some_and(|at| now.saturating_duration_since(at) >= RELATCH_AFTER);
                self.open && self.eligible(from) || silent && latched.ip() == from.ip()
            }
            None => self.eligible(from) && !self.is_straggler(now, from),
        };
        if allowed {
            self.latched = Some(from);
            self.open = false;
            self.former = None;
        }
        allowed
    }

    fn is_straggler(&self, now: Instant, from: SocketAddr) -> bool {
        self.former.is_some_and(|(old, until)| old == from && now < until)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The SDP address, unless nobody could mean it: another machine must not make us talk to ourselves or to a group.
fn reachable(sdp: SocketAddr, signalling: IpAddr) -> Option<SocketAddr> {
    let sdp = canonical(sdp);
    let ip = sdp.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    let foreign_loopback = ip.is_loopback() && !signalling.is_loopback();
    let wrong = sdp.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast || foreign_loopback;
    (!wrong).then_some(sdp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: &str = "192.0.2.10:4000";
    const NAT: &str = "203.0.113.7:61000";
    const NAT_OTHER_PORT: &str = "203.0.113.7:61002";
    const STRANGER: &str = "198.51.100.66:4000";

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }
    fn rule() -> SourceRule {
        SourceRule::new(Some(at(PHONE)), at(NAT).ip())
    }
    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn sdp_address_and_signalling_host_may_latch_and_nobody_else() {
        let t = Instant::now();
        for (from, expected) in
            [(PHONE, true), (NAT, true), (NAT_OTHER_PORT, true), (STRANGER, false), ("192.0.2.10:4002", false)]
        {
            assert_eq!(rule().accept(t, at(from)), expected, "{from}");
        }
        let mut rule = rule();
        assert_eq!(rule.send_to(t), Some(at(PHONE)));
        assert!(rule.accept(t, at(NAT)));
        assert_eq!(rule.send_to(t), Some(at(NAT)));
        for late in [NAT_OTHER_PORT, STRANGER] {
            assert!(!rule.accept(t + seconds(1), at(late)), "{late}");
        }
    }

    #[test]
    fn the_address_of_the_sdp_wins_over_another_port_of_the_host_and_is_not_lost_to_it() {
        let t = Instant::now();
        let (phone, other) = (at("192.0.2.10:4000"), at("192.0.2.10:4010"));
        let mut rule = SourceRule::new(Some(phone), phone.ip());
        assert!(rule.accept(t, other), "a symmetric NAT may be all there is");
        assert!(rule.accept(t, phone));
        assert_eq!(rule.send_to(t), Some(phone));
        for _ in 0..3 {
            assert!(!rule.accept(t, other));
            assert!(rule.accept(t, phone));
        }
    }

    #[test]
    fn same_host_moves_to_another_port_after_two_seconds_of_silence() {
        let t = Instant::now();
        let mut rule = rule();
        assert!(rule.accept(t, at(NAT)));
        assert!(!rule.accept(t + Duration::from_millis(1_999), at(NAT_OTHER_PORT)));
        assert!(!rule.accept(t + seconds(3), at("203.0.114.7:4000")));
        assert!(rule.accept(t + seconds(2), at(NAT_OTHER_PORT)));
        assert_eq!(rule.latched(), Some(at(NAT_OTHER_PORT)));
        assert!(!rule.accept(t + seconds(2), at(NAT)));
    }

    #[test]
    fn sending_stops_after_ten_seconds_of_nothing_and_resumes() {
        let t = Instant::now();
        let mut rule = rule();
        assert_eq!(rule.send_to(t), Some(at(PHONE)));
        assert_eq!(rule.send_to(t + Duration::from_millis(9_999)), Some(at(PHONE)));
        assert_eq!(rule.send_to(t + seconds(10)), None);
        assert!(!rule.accept(t + seconds(11), at(STRANGER)));
        assert_eq!(rule.send_to(t + seconds(11)), None);
        assert!(rule.accept(t + seconds(12), at(NAT)));
        assert_eq!(rule.send_to(t + seconds(12)), Some(at(NAT)));
        assert_eq!(rule.silent_for(t + seconds(15)), seconds(3));
    }

    #[test]
    fn rtcp_keeps_a_listener_alive_and_latches_nothing() {
        let t = Instant::now();
        let mut rule = rule();
        rule.send_to(t);
        assert!(rule.accept_rtcp(t + seconds(9), at("192.0.2.10:4001")));
        assert!(!rule.accept_rtcp(t + seconds(9), at(STRANGER)));
        assert_eq!(rule.send_to(t + seconds(18)), Some(at(PHONE)));
        assert_eq!(rule.silent_for(t + seconds(18)), seconds(18));
        assert_eq!(rule.latched(), None);
    }

    #[test]
    fn refresh_keeps_the_natted_address_until_another_speaks() {
        let t = Instant::now();
        let mut rule = rule();
        assert!(rule.accept(t, at(NAT)));
        rule.renegotiated(t + seconds(300), Some(at(PHONE)), at(NAT).ip());
        assert_eq!(rule.silent_for(t + seconds(300)), Duration::ZERO);
        assert_eq!(rule.send_to(t + seconds(300)), Some(at(NAT)));
        assert!(!rule.accept(t + seconds(300), at(STRANGER)));
        assert!(rule.accept(t + seconds(300), at(NAT_OTHER_PORT)));
        assert!(!rule.accept(t + seconds(300), at(NAT)));
    }

    #[test]
    fn a_phone_that_moves_is_not_held_at_its_old_port_by_late_packets() {
        let t = Instant::now();
        let (old, new) = (at("192.0.2.10:4000"), at("192.0.2.10:4010"));
        let mut rule = SourceRule::new(Some(old), old.ip());
        assert!(rule.accept(t, old));
        rule.renegotiated(t + seconds(5), Some(new), old.ip());
        assert_eq!(rule.send_to(t + seconds(5)), Some(new));
        assert!(rule.accept(t + seconds(5), old));
        assert_eq!(rule.latched(), None);
        assert!(rule.accept(t + seconds(6), new));
        assert!(!rule.accept(t + seconds(6), old));
        assert_eq!(rule.send_to(t + seconds(6)), Some(new));
    }

    #[test]
    fn a_phone_that_only_said_it_would_move_is_latched_again() {
        let t = Instant::now();
        let (old, new) = (at("192.0.2.10:4000"), at("192.0.2.10:4010"));
        let mut rule = SourceRule::new(Some(old), old.ip());
        assert!(rule.accept(t, old));
        rule.renegotiated(t, Some(new), old.ip());
        assert!(rule.accept(t + seconds(2), old));
        assert_eq!(rule.latched(), Some(old));
    }

    #[test]
    fn mapped_addresses_are_the_same_as_plain_ones() {
        let t = Instant::now();
        let mut rule = SourceRule::new(Some(at("[::ffff:192.0.2.10]:4000")), "::ffff:127.0.0.1".parse().unwrap());
        assert_eq!(rule.send_to(t), Some(at(PHONE)));
        assert!(rule.clone().accept(t, at("127.0.0.1:9")));
        assert!(rule.accept(t, at("[::ffff:192.0.2.10]:4000")));
        assert!(rule.accept(t, at(PHONE)));
    }

    #[test]
    fn an_address_that_nobody_can_mean_is_not_sent_to() {
        let t = Instant::now();
        for sdp in
            ["127.0.0.1:5000", "[::1]:5000", "0.0.0.0:5000", "224.0.0.1:5000", "255.255.255.255:5000", "192.0.2.10:0"]
        {
            assert_eq!(SourceRule::new(Some(at(sdp)), at(NAT).ip()).send_to(t), None, "{sdp}");
        }
        let local = at("127.0.0.1:5000");
        assert_eq!(SourceRule::new(Some(local), local.ip()).send_to(t), Some(local));
    }

    #[test]
    fn without_an_sdp_address_only_the_signalling_host_counts() {
        let t = Instant::now();
        let mut rule = SourceRule::new(None, at(NAT).ip());
        assert_eq!(rule.send_to(t), None);
        assert!(!rule.accept(t, at(PHONE)));
        assert!(rule.accept(t, at(NAT)));
        assert_eq!(rule.send_to(t), Some(at(NAT)));
    }
}
