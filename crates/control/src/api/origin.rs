//! Where a request comes from: the far end of its connection, or, when that is a proxy we trust, the client that the proxy
//! names. What a client writes into the header itself stands left of what our proxies add, and is never reached.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use axum::serve::IncomingStream;
use ipnet::IpNet;

use super::Api;
use super::listener::Bounded;

/// Each proxy adds one; more than this is nonsense.
const MAX_HOPS: usize = 32;

/// The far end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// It speaks TLS with us.
    pub(super) is_secure: bool,
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self { address: *stream.remote_addr(), is_secure: stream.io().is_secure() }
    }
}

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin(pub(super) IpAddr);

impl FromRequestParts<Arc<Api>> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        Ok(Self(origin(&parts.extensions, &parts.headers, &api.trusted_proxies)))
    }
}

fn origin(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // A request that came over no connection was made in this process.
    let peer = extensions.get::<ConnectInfo<Peer>>().map_or(Ipv4Addr::LOCALHOST.into(), |info| info.0.address.ip());
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
    let mut client = peer.to_canonical();
    let named = headers.get_all("x-forwarded-for").into_iter().rev();
    let mut named = named.flat_map(|value| value.to_str().unwrap_or("").rsplit(',')).take(MAX_HOPS);
    while is_trusted(client) {
        // What is no address ends the search at the last one that was.
        let Some(next) = named.next().and_then(|text| address(text.trim())) else { break };
        client = next;
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`: proxies write them all.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    Some(text.parse().ok().or_else(with_port).or_else(in_brackets)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(Peer { address: peer.parse().unwrap(), is_secure: false }));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        origin(&extensions, &headers, &trusted).to_string()
    }

    #[test]
    fn header_counts_only_from_proxies_that_are_trusted() {
        let trusted = &["10.0.0.0/8", "fd00::/8"];
        for (peer, forwarded, client) in [
            ("192.0.2.1:9", &["203.0.113.5"][..], "192.0.2.1"),
            ("10.0.0.1:9", &[], "10.0.0.1"),
            ("10.0.0.1:9", &["203.0.113.5"], "203.0.113.5"),
            ("[::ffff:10.0.0.1]:9", &["203.0.113.5"], "203.0.113.5"),
            // Written by the client, then by the proxy.
            ("10.0.0.1:9", &["127.0.0.1, 203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1:9", &["127.0.0.1", "203.0.113.5,10.0.0.2"], "203.0.113.5"),
            ("10.0.0.1:9", &["203.0.113.5:4711"], "203.0.113.5"),
            ("[fd00::1]:9", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("10.0.0.1:9", &["[2001:db8::5]"], "2001:db8::5"),
            ("10.0.0.1:9", &["203.0.113.5, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:9", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1:9", &[""], "10.0.0.1"),
        ] {
            assert_eq!(from(peer, forwarded, trusted), client, "{peer} {forwarded:?}");
        }
        assert_eq!(from("10.0.0.1:9", &["203.0.113.5"], &[]), "10.0.0.1");
    }

    #[test]
    fn request_of_this_process_comes_from_here() {
        assert_eq!(origin(&Extensions::new(), &HeaderMap::new(), &[]).to_string(), "127.0.0.1");
    }
}
