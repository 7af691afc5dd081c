//! The UDP ports of RTP legs: an even port for RTP and the next one for RTCP (RFC 3550 §11), from one range.
//! Bound on the signalling thread when a leg is reserved, used on the worker's thread afterwards.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::error::Error;

/// DSCP "expedited forwarding" (RFC 3246) in the position of the IPv4 TOS octet: voice goes before bulk traffic.
const TOS_EF: u32 = 46 << 2;
/// DSCP "assured forwarding 41" (RFC 2597), which RFC 8837 recommends for interactive video.
const TOS_AF41: u32 = 34 << 2;

/// The allocator of port pairs. Ports are handed out in rotation, so that a late packet of an ended call does not
/// meet the next one.
#[derive(Debug)]
pub(crate) struct PortRange {
    first: u16,
    pairs: u16,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u16,
    lent: HashSet<u16>,
}

/// Two bound sockets; dropping them gives the ports back.
#[derive(Debug)]
pub(crate) struct PortPair {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub rtp_port: u16,
    _lease: Lease,
}

impl PortPair {
    /// They carry video: it goes after voice.
    pub(crate) fn carry_video(&self) {
        for socket in [&self.rtp, &self.rtcp] {
            let socket = SockRef::from(socket);
            // Best effort, and only one of them is of the socket's family.
            drop(socket.set_tos_v4(TOS_AF41));
            drop(socket.set_tclass_v6(TOS_AF41));
        }
    }
}

#[derive(Debug)]
struct Lease {
    range: Arc<PortRange>,
    pair: u16,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.range.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).lent.remove(&self.pair);
    }
}

impl PortRange {
    /// The even/odd pairs inside `ports`.
    pub(crate) fn new(ports: &RangeInclusive<u16>) -> Result<Arc<Self>, Error> {
        let first = ports.start().checked_add(ports.start() % 2);
        let pairs = first.map_or(0, |first| (u32::from(*ports.end()) + 1).saturating_sub(u32::from(first)) / 2);
        match (first, u16::try_from(pairs)) {
            (Some(first), Ok(pairs)) if pairs > 0 => {
                Ok(Arc::new(Self { first, pairs, state: Mutex::new(State { next: 0, lent: HashSet::new() }) }))
            }
            _ => Err(Error::Broken(format!(
                "the RTP port range {}-{} holds no even/odd pair",
                ports.start(),
                ports.end()
            ))),
        }
    }

    /// Goes on at another place of the range, so that a server that starts anew does not meet what still arrives for the
    /// calls of the last one.
    pub(crate) fn start_at(&self, random: u32) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.next = (random % u32::from(self.pairs)) as u16;
    }

    /// How many legs the range can hold.
    pub(crate) const fn capacity(&self) -> usize {
        self.pairs as usize
    }

    /// Binds the next free pair at `bind`. Pairs that somebody else holds are skipped.
    pub(crate) fn bind(self: &Arc<Self>, bind: IpAddr) -> Result<PortPair, Error> {
        let mut in_use = 0u32;
        for _ in 0..self.pairs {
            let pair = {
                let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let pair = state.next;
                state.next = (state.next + 1) % self.pairs;
                if !state.lent.insert(pair) {
                    continue;
                }
                pair
            };
            let lease = Lease { range: Arc::clone(self), pair };
            let rtp_port = self.first + 2 * pair;
            match (udp(SocketAddr::new(bind, rtp_port)), udp(SocketAddr::new(bind, rtp_port + 1))) {
                (Ok(rtp), Ok(rtcp)) => return Ok(PortPair { rtp, rtcp, rtp_port, _lease: lease }),
                (Err(e), _) | (_, Err(e)) if e.kind() == std::io::ErrorKind::AddrInUse => in_use += 1,
                (Err(e), _) | (_, Err(e)) => {
                    return Err(Error::Broken(format!("cannot bind RTP on {bind} port {rtp_port}: {e}")));
                }
            }
        }
        if in_use > 0 {
            tracing::warn!(in_use, "RTP ports of the range are held by other processes");
        }
        Err(Error::Busy("every RTP port of the range is in use"))
    }

    /// RTP ports of the range whose pair cannot be bound at `bind` now.
    pub(crate) fn taken(&self, bind: IpAddr) -> Vec<u16> {
        (0..self.pairs)
            .map(|pair| self.first + 2 * pair)
            .filter(|port| udp(SocketAddr::new(bind, *port)).is_err() || udp(SocketAddr::new(bind, *port + 1)).is_err())
            .collect()
    }
}

/// A socket that browsers share. The kernel caps its buffers (`net.core.rmem_max`): what is asked for holds 20 ms of a
/// thousand legs.
pub(crate) fn shared(at: SocketAddr) -> std::io::Result<UdpSocket> {
    const BUFFER_BYTES: usize = 8 * 1024 * 1024;
    let socket = udp(at)?;
    let wanted = SockRef::from(&socket);
    drop(wanted.set_recv_buffer_size(BUFFER_BYTES));
    drop(wanted.set_send_buffer_size(BUFFER_BYTES));
    Ok(socket)
}

/// A listener for browsers that UDP does not reach; free at once after a restart.
pub(crate) fn listener(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(256)?;
    Ok(socket.into())
}

fn udp(at: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    match at {
        // Best effort: some containers forbid it, and audio works without.
        SocketAddr::V4(_) => drop(socket.set_tos_v4(TOS_EF)),
        SocketAddr::V6(_) => {
            drop(socket.set_tclass_v6(TOS_EF));
            socket.set_only_v6(true)?;
        }
    }
    socket.set_nonblocking(true)?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReceiveTimestampns, &true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn ports_are_even_rotate_and_come_back() {
        let range = PortRange::new(&(21_001..=21_007)).expect("range");
        assert_eq!(range.capacity(), 3);
        let a = range.bind(LOOPBACK).expect("first");
        let b = range.bind(LOOPBACK).expect("second");
        assert_eq!((a.rtp_port, b.rtp_port), (21_002, 21_004));
        drop(a);
        let c = range.bind(LOOPBACK).expect("third");
        assert_eq!(c.rtp_port, 21_006, "a port just freed is the last to be used again");
        let d = range.bind(LOOPBACK).expect("fourth");
        assert_eq!(d.rtp_port, 21_002);
        assert_eq!(range.bind(LOOPBACK).map(|p| p.rtp_port), Err(Error::Busy("every RTP port of the range is in use")));
        drop(b);
    }

    #[test]
    fn a_port_that_somebody_holds_is_skipped_and_reported() {
        let _held = UdpSocket::bind((LOOPBACK, 21_013)).expect("hold a port");
        let range = PortRange::new(&(21_010..=21_015)).expect("range");
        assert_eq!(range.taken(LOOPBACK), [21_012]);
        let pairs: Vec<PortPair> = std::iter::from_fn(|| range.bind(LOOPBACK).ok()).collect();
        assert_eq!(pairs.iter().map(|p| p.rtp_port).collect::<Vec<_>>(), [21_010, 21_014]);
    }

    #[test]
    fn a_range_without_a_pair_is_refused() {
        assert!(PortRange::new(&(20_001..=20_001)).is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "that is the case under test")]
        let empty = 20_005..=20_001;
        assert!(PortRange::new(&empty).is_err());
    }
}
