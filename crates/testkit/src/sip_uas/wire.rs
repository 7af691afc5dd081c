//! The provider's sockets: one UDP socket, and a TCP listener with its connections, read in turn by one thread.

use crate::sip_message::Message;
use crate::sip_ua::Transport;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one look at the UDP socket takes.
const LOOK: Duration = Duration::from_millis(5);

/// Where a message came from, and where its answer goes.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    Udp(SocketAddr, SocketAddr),
    Tcp(Arc<TcpStream>, SocketAddr),
}

impl Peer {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Udp(..) => Transport::Udp,
            Self::Tcp(..) => Transport::Tcp,
        }
    }

    /// Our end.
    pub(super) fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(local, _) | Self::Tcp(_, local) => *local,
        }
    }
}

#[derive(Debug)]
pub(super) struct Wire {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
    connections: Mutex<Vec<(Arc<TcpStream>, Vec<u8>)>>,
}

impl Wire {
    pub(super) fn open() -> Self {
        for _ in 0..50 {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a UDP socket");
            let address = udp.local_addr().expect("an address");
            let Ok(tcp) = TcpListener::bind(address) else { continue };
            udp.set_read_timeout(Some(LOOK)).expect("a timeout");
            tcp.set_nonblocking(true).expect("a listener");
            return Self { udp, tcp, address, connections: Mutex::default() };
        }
        panic!("no port is free on both transports");
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn send(&self, bytes: &[u8], peer: &Peer) {
        match peer {
            Peer::Udp(_, to) => {
                let _ = self.udp.send_to(bytes, to);
            }
            Peer::Tcp(stream, _) => {
                // The server may have closed it.
                let _ = (&**stream).write_all(bytes);
            }
        }
    }

    pub(super) fn close_connections(&self) {
        for (stream, _) in self.connections.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// What came, after one look everywhere.
    pub(super) fn receive(&self) -> Vec<(Result<Message, String>, Peer)> {
        let mut found = Vec::new();
        let mut buffer = [0; 65_536];
        if let Ok((len, from)) = self.udp.recv_from(&mut buffer) {
            let peer = Peer::Udp(self.address, from);
            let parsed = Message::parse(&buffer[..len], true);
            found.push((parsed.and_then(|m| m.map(|(m, _)| m).ok_or_else(|| "cut short".to_owned())), peer));
        }
        let mut connections = self.connections.lock().unwrap_or_else(|e| e.into_inner());
        while let Ok((stream, _)) = self.tcp.accept() {
            // Writes wait, reads do not.
            stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
            connections.push((Arc::new(stream), Vec::new()));
        }
        connections.retain_mut(|(stream, pending)| {
            match (&**stream).read(&mut buffer) {
                Ok(0) => return false,
                Ok(len) => pending.extend_from_slice(&buffer[..len]),
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
            let local = stream.local_addr().unwrap_or(self.address);
            loop {
                match Message::parse(pending, false) {
                    Ok(Some((message, len))) => {
                        pending.drain(..len);
                        found.push((Ok(message), Peer::Tcp(stream.clone(), local)));
                    }
                    Ok(None) => return true,
                    Err(why) => {
                        found.push((Err(why), Peer::Tcp(stream.clone(), local)));
                        return false;
                    }
                }
            }
        });
        found
    }
}
