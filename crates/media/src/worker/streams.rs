//! ICE over TCP (RFC 6544) for browsers that UDP does not reach: connections that they open, and their datagrams, each behind its
//! length (RFC 4571). Runs on the worker's thread; whose a datagram is, `browsers` knows. Never waits for a socket: a browser that
//! reads too slowly loses what does not fit, as it would on a network.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::io::MAX_DATAGRAM_BYTES;
use crate::leg::PortKey;

/// Connections of one worker, and of one address among them; further ones are closed at once.
const MAX_CONNECTIONS: usize = 512;
const MAX_OF_ADDRESS: usize = 64;
/// What waits to be written to one connection: a keyframe of a large picture, or a second of sound.
const MAX_OUT_BYTES: usize = 128 * 1024;
const _: () = assert!(MAX_CONNECTIONS * (MAX_OUT_BYTES + READ_BYTES + FRAME_BYTES) <= 80 << 20);
/// Read at once from one connection.
const READ_BYTES: usize = 16 * 1024;
/// The largest datagram, with its length.
const FRAME_BYTES: usize = 2 + MAX_DATAGRAM_BYTES;
/// Connections taken in one poll.
const MAX_ACCEPTS: usize = 32;
/// Without a whole datagram for so long a connection is closed: a browser checks its path every few seconds.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// How often silent ones are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// Events asked for at once.
const READY: usize = 64;
/// Tokens of listeners begin here; below are connections.
const FIRST_LISTENER: u64 = 1 << 32;

struct Connection {
    socket: TcpStream,
    /// The listener's.
    port: PortKey,
    peer: SocketAddr,
    heard: Instant,
    /// Read, and not taken yet: less than a read and a datagram.
    incoming: Vec<u8>,
    /// Of `incoming`, taken.
    taken: usize,
    /// Not written yet.
    outgoing: VecDeque<u8>,
    is_ready: bool,
}

impl Connection {
    /// The next whole datagram.
    fn frame(&mut self) -> Option<&[u8]> {
        let rest = self.incoming.get(self.taken..)?;
        let (length, _) = rest.split_first_chunk::<2>()?;
        let end = 2 + usize::from(u16::from_be_bytes(*length));
        // Whole, or it waits for more.
        rest.get(2..end)?;
        let from = self.taken + 2;
        self.taken += end;
        self.incoming.get(from..self.taken)
    }

    /// A datagram that is longer than any of a browser's ends the connection.
    fn is_broken(&self) -> bool {
        let length = self.incoming.get(self.taken..).and_then(|rest| rest.first_chunk::<2>());
        length.is_some_and(|length| usize::from(u16::from_be_bytes(*length)) > MAX_DATAGRAM_BYTES)
    }

    /// False: it is over.
    fn read(&mut self) -> bool {
        self.incoming.drain(..self.taken);
        self.taken = 0;
        let held = self.incoming.len();
        self.incoming.resize(held + READ_BYTES, 0);
        let read = self.socket.read(self.incoming.get_mut(held..).unwrap_or_default());
        self.incoming.truncate(held + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(n) => n > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn flush(&mut self) -> bool {
        while !self.outgoing.is_empty() {
            let (front, _) = self.outgoing.as_slices();
            match self.socket.write(front) {
                Ok(n) => drop(self.outgoing.drain(..n)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// Puts a datagram on its way, whole or not at all.
    fn send(&mut self, bytes: &[u8]) {
        let Ok(length) = u16::try_from(bytes.len()) else { return };
        if self.outgoing.len() + 2 + bytes.len() > MAX_OUT_BYTES {
            return;
        }
        self.outgoing.extend(length.to_be_bytes());
        self.outgoing.extend(bytes);
        // What it says of the connection shows at the next poll.
        let _is_open = self.flush();
    }
}

/// The listeners of one worker, and who came to them.
pub(super) struct Streams {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    listeners: Vec<(PortKey, TcpListener)>,
    connections: Slab<Connection>,
    by_peer: HashMap<(PortKey, SocketAddr), usize>,
    of_address: HashMap<IpAddr, usize>,
    /// Have something to be taken.
    ready: VecDeque<usize>,
    swept: Option<Instant>,
}

impl Streams {
    pub(super) fn new(listeners: Vec<(PortKey, TcpListener)>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (token, (_, listener)) in (FIRST_LISTENER..).zip(&listeners) {
            epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        Ok(Self {
            epoll,
            events: vec![EpollEvent::empty(); READY],
            listeners,
            connections: Slab::new(),
            by_peer: HashMap::new(),
            of_address: HashMap::new(),
            ready: VecDeque::new(),
            swept: None,
        })
    }

    /// Reads what there is, writes what waits, takes who comes, lets go of who is silent.
    pub(super) fn poll(&mut self, now: Instant) {
        if self.listeners.is_empty() {
            return;
        }
        let Ok(n) = self.epoll.wait(&mut self.events, EpollTimeout::ZERO) else { return };
        let tokens: [u64; READY] = std::array::from_fn(|at| self.events.get(at).map_or(0, EpollEvent::data));
        for token in tokens.into_iter().take(n) {
            match token.checked_sub(FIRST_LISTENER) {
                Some(listener) => self.accept(usize::try_from(listener).unwrap_or(usize::MAX), now),
                None => self.read(usize::try_from(token).unwrap_or(usize::MAX)),
            }
        }
        let mut over = Vec::new();
        let is_time = self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP);
        for (key, connection) in &mut self.connections {
            let is_silent = is_time && now.saturating_duration_since(connection.heard) > MAX_SILENCE;
            if is_silent || !connection.flush() {
                over.push(key);
            }
        }
        if is_time {
            self.swept = Some(now);
        }
        over.into_iter().for_each(|key| self.close(key));
    }

    fn accept(&mut self, listener: usize, now: Instant) {
        for _ in 0..MAX_ACCEPTS {
            let Some((port, listener)) = self.listeners.get(listener) else { return };
            let (port, accepted) = (*port, listener.accept());
            let Ok((socket, peer)) = accepted else { return };
            let of_address = self.of_address.get(&peer.ip()).copied().unwrap_or(0);
            let is_full = self.connections.len() >= MAX_CONNECTIONS || of_address >= MAX_OF_ADDRESS;
            if is_full || socket.set_nonblocking(true).is_err() {
                continue;
            }
            // Packets are small and late ones worthless; a failure costs only delay.
            let _ = socket.set_nodelay(true);
            let entry = self.connections.vacant_entry();
            let key = entry.key();
            if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, key as u64)).is_err() {
                continue;
            }
            let (incoming, outgoing) = (Vec::new(), VecDeque::new());
            entry.insert(Connection { socket, port, peer, heard: now, incoming, taken: 0, outgoing, is_ready: false });
            self.by_peer.insert((port, peer), key);
            *self.of_address.entry(peer.ip()).or_default() += 1;
        }
    }

    fn read(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // What was read before is taken first: a browser that floods waits in its own socket.
        if connection.is_ready {
            return;
        }
        if !connection.read() || connection.is_broken() {
            return self.close(key);
        }
        connection.is_ready = true;
        self.ready.push_back(key);
    }

    /// The next datagram, into `bytes`: on which port it came, and where from.
    pub(super) fn take(&mut self, now: Instant, bytes: &mut Vec<u8>) -> Option<(PortKey, SocketAddr)> {
        while let Some(key) = self.ready.front().copied() {
            let Some(connection) = self.connections.get_mut(key) else {
                self.ready.pop_front();
                continue;
            };
            let whence = (connection.port, connection.peer);
            if connection.is_broken() {
                self.ready.pop_front();
                self.close(key);
                continue;
            }
            if let Some(frame) = connection.frame() {
                bytes.clear();
                bytes.extend_from_slice(frame);
                connection.heard = now;
                return Some(whence);
            }
            connection.is_ready = false;
            self.ready.pop_front();
        }
        None
    }

    /// To whoever is there on that port; to nobody, if they are gone.
    pub(super) fn send(&mut self, port: PortKey, to: SocketAddr, bytes: &[u8]) {
        let key = self.by_peer.get(&(port, to));
        if let Some(connection) = key.and_then(|key| self.connections.get_mut(*key)) {
            connection.send(bytes);
        }
    }

    fn close(&mut self, key: usize) {
        let Some(Connection { port, peer, .. }) = self.connections.try_remove(key) else { return };
        self.by_peer.remove(&(port, peer));
        if let Some(count) = self.of_address.get_mut(&peer.ip()) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&peer.ip());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortKey = PortKey(7);

    fn streams() -> (Streams, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        (Streams::new(vec![(PORT, listener)]).unwrap(), address)
    }

    /// Polls until it gives something, or the connection is gone.
    fn take(streams: &mut Streams) -> Option<Vec<u8>> {
        let (end, mut bytes) = (Instant::now() + Duration::from_secs(10), Vec::new());
        let mut came = false;
        while Instant::now() < end {
            streams.poll(Instant::now());
            came |= !streams.connections.is_empty();
            if streams.take(Instant::now(), &mut bytes).is_some() {
                return Some(bytes);
            }
            if came && streams.connections.is_empty() {
                return None;
            }
            std::thread::yield_now();
        }
        panic!("nothing came");
    }

    #[test]
    fn datagrams_come_whole_however_they_are_cut_and_go_back_framed() {
        let (mut streams, address) = streams();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(&[0, 3, 1, 2]).unwrap();
        peer.write_all(&[3, 0, 0, 0, 1]).unwrap();
        assert_eq!(take(&mut streams), Some(vec![1, 2, 3]));
        assert_eq!(take(&mut streams), Some(vec![]));
        peer.write_all(&[9]).unwrap();
        assert_eq!(take(&mut streams), Some(vec![9]));
        streams.send(PORT, peer.local_addr().unwrap(), &[7, 8]);
        let mut back = [0; 4];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(back, [0, 2, 7, 8]);
        streams.send(PORT, "192.0.2.1:1".parse().unwrap(), &[7]);
        drop(peer);
        assert_eq!(take(&mut streams), None);
        assert!(streams.by_peer.is_empty() && streams.of_address.is_empty());
    }

    #[test]
    fn a_datagram_longer_than_any_ends_its_connection() {
        let (mut streams, address) = streams();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(&u16::MAX.to_be_bytes()).unwrap();
        assert_eq!(take(&mut streams), None);
    }

    #[test]
    fn who_does_not_read_loses_datagrams_and_holds_up_nobody() {
        let (mut streams, address) = streams();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(&[0, 1, 1]).unwrap();
        take(&mut streams).unwrap();
        let (to, payload) = (peer.local_addr().unwrap(), [5u8; 1200]);
        for _ in 0..100_000 {
            streams.send(PORT, to, &payload);
        }
        let held = streams.connections.iter().next().unwrap().1.outgoing.len();
        assert!((1..=MAX_OUT_BYTES).contains(&held), "{held}");
        // What does come is still framed.
        let mut got = vec![0; 1202 * 20];
        peer.read_exact(&mut got).unwrap();
        assert!(got.chunks(1202).all(|frame| frame[..2] == 1200u16.to_be_bytes() && frame[2..] == payload));
    }

    #[test]
    fn silent_connections_are_closed_and_one_address_has_only_so_many() {
        let (mut streams, address) = streams();
        let peers: Vec<_> = (0..MAX_OF_ADDRESS + 6).map(|_| TcpStream::connect(address).unwrap()).collect();
        let start = Instant::now();
        for _ in 0..10 {
            streams.poll(start);
        }
        assert_eq!(streams.connections.len(), MAX_OF_ADDRESS);
        streams.poll(start + MAX_SILENCE + SWEEP);
        assert_eq!(streams.connections.len(), 0);
        drop(peers);
    }
}
