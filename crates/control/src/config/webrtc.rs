//! `[webrtc]` as meant, and its checks: where browsers are served, and which relay they are told of. Reads the machine's
//! addresses; opens nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use media::ReserveAt;

use super::meaning::Check;
use super::raw::RawWebRtc;
use super::{ConfigError, SipCredentials};

/// Addresses that are bound at the most: each costs every media thread a socket.
const MAX_ADDRESSES: usize = 16;
/// Characters of a password.
const MIN_PASSWORD: usize = 8;

/// How browsers are served.
#[derive(Clone, Debug)]
pub struct WebRtcConfig {
    /// UDP port of the first media thread; those of the others follow it. 0: any.
    pub udp_port: u16,
    /// TCP port of the first media thread, for browsers that UDP does not reach. 0: any; `None`: there is none.
    pub tcp_port: Option<u16>,
    /// Where to bind, and what browsers are told; not empty.
    pub addresses: Vec<ReserveAt>,
    /// So long a browser may be away and come back as the same participant.
    pub resume: Duration,
    /// A relay for those who reach us no other way.
    pub turn: Option<TurnConfig>,
    /// Who may call by SIP over WebSocket with a password, beside those with a join token.
    pub sip_accounts: Vec<SipCredentials>,
}

/// An external TURN server (RFC 8656). The secret does not show itself.
#[derive(Clone)]
pub struct TurnConfig {
    /// `turn:` and `turns:` URIs (RFC 7065).
    pub urls: Vec<String>,
    /// Shared with it: coturn's `static-auth-secret`.
    pub secret: String,
    /// How long credentials hold.
    pub ttl: Duration,
}

impl fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnConfig").field("urls", &self.urls).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Check<'_> {
    /// `advertise` is the address that phones are told too; `api` is where the API listens.
    pub(super) fn webrtc(
        &self,
        raw: &RawWebRtc,
        advertise: &str,
        api: &str,
    ) -> Result<Option<WebRtcConfig>, ConfigError> {
        let udp_port = self.number("webrtc.udp_port", raw.udp_port, 0..=65_535)?;
        let tcp_port = self.number("webrtc.tcp_port", raw.tcp_port, 0..=65_535)?;
        let tcp_port = raw.tcp.then_some(tcp_port);
        let resume = Duration::from_secs(self.number("webrtc.resume_s", raw.resume_s, 5..=300)?);
        let allowed = "addresses of this machine, such as \"192.0.2.10\", or none for all of them";
        let parsed: Option<Vec<IpAddr>> = raw.addresses.iter().map(|text| text.parse().ok()).collect();
        let named = parsed.ok_or_else(|| self.fault("webrtc.addresses", allowed))?;
        self.that("webrtc.addresses", named.len() <= MAX_ADDRESSES, "at most 16 addresses")?;
        let turn = self.turn(raw)?;
        let sip_accounts = self.sip_accounts(&raw.sip_accounts)?;
        if !raw.enabled {
            return Ok(None);
        }
        let is_local = api.parse::<SocketAddr>().is_ok_and(|api| api.ip().is_loopback());
        let addresses = match (named.is_empty(), advertise.parse::<IpAddr>()) {
            (false, _) => named.into_iter().map(|ip| ReserveAt { bind: ip, advertise: ip }).collect(),
            // Behind a NAT the system knows by which interface an answer goes.
            (true, Ok(advertise)) => vec![ReserveAt { bind: any(advertise), advertise }],
            (true, Err(_)) => of_this_machine(is_local),
        };
        Ok(Some(WebRtcConfig { udp_port, tcp_port, addresses, resume, turn, sip_accounts }))
    }

    fn sip_accounts(&self, items: &[String]) -> Result<Vec<SipCredentials>, ConfigError> {
        let mut accounts: Vec<SipCredentials> = Vec::new();
        for (number, item) in (1..).zip(items) {
            let fault = |what: &str| self.fault("webrtc.sip_accounts", &format!("{what} (entry {number})"));
            let (user, password) = item.split_once(' ').ok_or_else(|| fault("NAME PASSWORD"))?;
            if user.is_empty() || user.contains(char::is_control) || accounts.iter().any(|known| known.user == user) {
                return Err(fault("a name that no other entry has"));
            }
            if password.chars().count() < MIN_PASSWORD {
                return Err(fault("a password of at least 8 characters"));
            }
            accounts.push(SipCredentials { user: user.to_owned(), password: password.to_owned(), realm: None });
        }
        Ok(accounts)
    }

    fn turn(&self, raw: &RawWebRtc) -> Result<Option<TurnConfig>, ConfigError> {
        let is_turn = |url: &String| url.starts_with("turn:") || url.starts_with("turns:");
        let allowed = "addresses such as \"turn:turn.example.org:3478?transport=udp\"";
        self.that("webrtc.turn_urls", raw.turn_urls.iter().all(is_turn) && raw.turn_urls.len() <= 8, allowed)?;
        let ttl = Duration::from_secs(self.number("webrtc.turn_ttl_s", raw.turn_ttl_s, 60..=7 * 86_400)?);
        if raw.turn_urls.is_empty() {
            return Ok(None);
        }
        self.that("webrtc.turn_secret", !raw.turn_secret.is_empty(), "the TURN server's secret, as turn_urls is set")?;
        Ok(Some(TurnConfig { urls: raw.turn_urls.clone(), secret: raw.turn_secret.clone(), ttl }))
    }
}

const fn any(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// All addresses that others can reach; loopback where nobody else is to, or nothing else is there.
fn of_this_machine(with_loopback: bool) -> Vec<ReserveAt> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_unspecified(),
    };
    let (loopback, others): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) =
        all.into_iter().map(|interface| interface.ip()).filter(reachable).partition(IpAddr::is_loopback);
    let with_loopback = with_loopback || others.is_empty();
    // IPv4 first: more of the world can use it.
    let shown = others.into_iter().chain(loopback.into_iter().filter(|ip| with_loopback && ip.is_ipv4()));
    let shown: Vec<ReserveAt> = shown.take(MAX_ADDRESSES).map(|ip| ReserveAt { bind: ip, advertise: ip }).collect();
    match shown.is_empty() {
        true => vec![ReserveAt { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), advertise: IpAddr::V4(Ipv4Addr::LOCALHOST) }],
        false => shown,
    }
}
