//! Which address we tell the far end: Contact, Via and SDP. Asks the kernel's routing, sends nothing. Knows no SIP message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The transports we listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    Udp,
    Tcp,
    /// WebSocket (RFC 7118), on the API's port.
    Ws,
    /// The same over TLS.
    Wss,
}

impl Transport {
    /// As in a Via.
    pub(super) const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// For metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// From a browser, of which there is only this one connection.
    pub(super) const fn is_socket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// Our address as one far end can reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reachable {
    /// Local address towards the far end: media sockets bind here.
    pub(super) local: IpAddr,
    /// Written into Contact, Via and SDP.
    pub(super) advertised: IpAddr,
    /// Our SIP port.
    pub(super) port: u16,
    pub(super) transport: Transport,
}

impl Reachable {
    /// `bound` is the local end of the flow: of a TCP connection its real one, of UDP the listening socket's.
    pub(super) fn toward(peer: SocketAddr, bound: SocketAddr, advertise: Option<IpAddr>, transport: Transport) -> Self {
        let local = local_toward(peer, bound.ip());
        // An advertised IPv4 address is of no use to an IPv6 caller, and the other way round.
        let advertised = advertise.filter(|a| a.is_ipv4() == local.is_ipv4()).unwrap_or(local);
        Self { local, advertised, port: bound.port(), transport }
    }

    /// `host:port`, IPv6 in brackets.
    pub(super) fn host_port(&self) -> String {
        SocketAddr::new(self.advertised, self.port).to_string()
    }

    /// Contact of a dialog, with its own transport (RFC 3261 §12.1.1). `user` is kept only if it needs no escaping.
    pub(super) fn contact(&self, user: &str) -> String {
        let plain = !user.is_empty() && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*".contains(&b));
        let user = if plain { format!("{user}@") } else { String::new() };
        let transport = match self.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            // One word for both (RFC 7118 §5.2.3).
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        format!("<sip:{user}{}{transport}>", self.host_port())
    }

    /// Host alone, for `Warning`.
    pub(super) fn host(&self) -> String {
        match self.advertised {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        }
    }
}

/// The local address that packets to `peer` leave from: the bound one, or what routing picks when bound to any.
fn local_toward(peer: SocketAddr, bound: IpAddr) -> IpAddr {
    let bound = bound.to_canonical();
    if !bound.is_unspecified() {
        return bound;
    }
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port().max(1));
    let any = if peer.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // Connecting a datagram socket only asks the routing table.
    let routed = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|s| {
        s.connect(peer)?;
        s.local_addr()
    });
    match routed {
        Ok(local) if !local.ip().is_unspecified() => local.ip(),
        _ if peer.is_ipv4() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> SocketAddr {
        s.parse().unwrap()
    }

    #[test]
    fn bound_to_any_the_contact_is_the_routed_address() {
        let r = Reachable::toward(addr("127.0.0.1:9999"), addr("0.0.0.0:5060"), None, Transport::Udp);
        assert_eq!(r.contact("100"), "<sip:100@127.0.0.1:5060>");
        assert_eq!(r.local, r.advertised);
    }

    #[test]
    fn contact_carries_its_own_transport() {
        let r = Reachable::toward(addr("127.0.0.1:9999"), addr("127.0.0.1:5070"), None, Transport::Tcp);
        assert_eq!(r.contact("100"), "<sip:100@127.0.0.1:5070;transport=tcp>");
    }

    #[test]
    fn advertised_address_replaces_the_local_one_of_its_family_only() {
        let advertise = Some(addr("203.0.113.7:0").ip());
        let r = Reachable::toward(addr("127.0.0.1:9999"), addr("127.0.0.1:5060"), advertise, Transport::Udp);
        assert_eq!(r.host_port(), "203.0.113.7:5060");
        assert_eq!(r.local, addr("127.0.0.1:0").ip());
        let r = Reachable::toward(addr("[::1]:9999"), addr("[::1]:5060"), advertise, Transport::Udp);
        assert_eq!(r.contact("1"), "<sip:1@[::1]:5060>");
        assert_eq!(r.host(), "[::1]");
    }

    #[test]
    fn ipv4_caller_on_an_ipv6_socket_gets_an_ipv4_address() {
        let r = Reachable::toward(addr("[::ffff:127.0.0.1]:9999"), addr("[::]:5060"), None, Transport::Udp);
        assert_eq!(r.host_port(), "127.0.0.1:5060");
    }

    #[test]
    fn user_that_would_need_escaping_is_left_out_of_the_contact() {
        let r = Reachable::toward(addr("127.0.0.1:9999"), addr("127.0.0.1:5060"), None, Transport::Udp);
        assert_eq!(r.contact("a>b\r\nX: y"), "<sip:127.0.0.1:5060>");
        assert_eq!(r.contact(""), "<sip:127.0.0.1:5060>");
    }
}
