//! The sockets of a worker: which are ready, what they hold and when the kernel got it, and the way out. Level-triggered
//! epoll without a wake per packet: the worker asks a few times a tick.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::TimeSpec;
use slab::Slab;

use super::clock::Clock;
use super::streams::Streams;
use crate::leg::{Channel, Medium, PortKey, Transmit};
use crate::sockets::PortPair;
use crate::units::{LegId, RoomId};

/// Larger datagrams are cut off, and what is cut off fails to parse or to decode: no RTP packet exceeds an Ethernet frame.
pub(super) const MAX_DATAGRAM_BYTES: usize = 2048;
/// Sockets asked for by one `epoll_wait`.
const READY: usize = 256;
/// Packets taken in one `receive`, over all sockets. A worker full of 20 ms legs gets 2,000 a tick; a flood gets no
/// more than this and loses the rest in its own socket buffers.
const MAX_PACKETS: usize = 8192;
/// Older kernel timestamps are taken for a step of the wall clock and not believed.
const MAX_AGE: Duration = Duration::from_secs(2);
/// Datagrams that are taken from a shared socket before the legs get them.
const BATCH: usize = 64;
/// Keys of shared sockets begin here: no worker has so many legs.
const FIRST_SHARED: usize = 1 << 24;

/// Gets whose datagram it is, on which socket, when the kernel got it, where from, and the bytes.
pub(super) type Take<'a> = dyn FnMut(Address, (Medium, Channel), Instant, SocketAddr, &[u8]) + 'a;

/// What browsers share of one worker.
#[derive(Debug, Default)]
pub(crate) struct BrowserSockets {
    /// The first of the shared keys are theirs, in this order.
    pub datagrams: Vec<UdpSocket>,
    /// And the next.
    pub listeners: Vec<TcpListener>,
}

/// What came on a shared socket.
#[derive(Clone)]
pub(super) struct Datagram {
    pub port: PortKey,
    pub from: SocketAddr,
    pub arrived: Instant,
    pub bytes: Vec<u8>,
}

/// Whose sockets these are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub room: RoomId,
    /// The leg's key in the room.
    pub key: usize,
    pub leg: LegId,
}

struct Entry {
    ports: PortPair,
    medium: Medium,
    address: Option<Address>,
}

pub(super) struct Sockets {
    epoll: Epoll,
    entries: Slab<Entry>,
    ready: Vec<EpollEvent>,
    buffer: Box<[u8; MAX_DATAGRAM_BYTES]>,
    control: Vec<u8>,
    /// Those that browsers share.
    shared: Vec<UdpSocket>,
    /// Their connections, where UDP does not reach them; sent to while a leg is at work.
    streams: RefCell<Streams>,
    /// Memory for what comes on them, which goes round.
    batch: Vec<Datagram>,
}

impl Sockets {
    /// Which key the `n`th shared socket has.
    pub(crate) const fn shared_key(n: usize) -> PortKey {
        PortKey(FIRST_SHARED + n)
    }

    pub(super) fn new(for_browsers: BrowserSockets) -> io::Result<Self> {
        let BrowserSockets { datagrams: shared, listeners } = for_browsers;
        let keyed = (shared.len()..).map(Self::shared_key).zip(listeners).collect();
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            entries: Slab::new(),
            ready: vec![EpollEvent::empty(); READY],
            buffer: Box::new([0; MAX_DATAGRAM_BYTES]),
            control: nix::cmsg_space!(TimeSpec),
            shared,
            streams: RefCell::new(Streams::new(keyed)?),
            batch: Vec::new(),
        })
    }

    /// Takes over a leg's sockets. What they already hold is read at the next poll.
    pub(super) fn open(&mut self, ports: PortPair, medium: Medium) -> io::Result<PortKey> {
        let entry = self.entries.vacant_entry();
        let key = entry.key();
        let token = (key as u64) << 1;
        self.epoll.add(&ports.rtp, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        self.epoll.add(&ports.rtcp, EpollEvent::new(EpollFlags::EPOLLIN, token | 1))?;
        entry.insert(Entry { ports, medium, address: None });
        Ok(PortKey(key))
    }

    /// Says whose they are.
    pub(super) fn address(&mut self, port: PortKey, address: Address) {
        if let Some(entry) = self.entries.get_mut(port.0) {
            entry.address = Some(address);
        }
    }

    /// Gives them up as they are: what arrives waits in them.
    pub(super) fn take(&mut self, port: PortKey) -> Option<PortPair> {
        let Entry { ports, .. } = self.entries.try_remove(port.0)?;
        for socket in [&ports.rtp, &ports.rtcp] {
            // Fails only for a socket that is not in the set.
            let _not_there = self.epoll.delete(socket);
        }
        Some(ports)
    }

    /// Closes them and gives the ports back.
    pub(super) fn close(&mut self, port: PortKey) {
        // Closing a socket takes it out of the epoll set.
        drop(self.entries.try_remove(port.0));
    }

    /// Hands every waiting datagram to `take` with its kernel receive time.
    pub(super) fn receive(&mut self, clock: &Clock, take: &mut Take<'_>) {
        let Self { epoll, entries, ready, buffer, control, .. } = self;
        let reference = clock.both();
        let mut packets = 0;
        loop {
            let Ok(n) = epoll.wait(ready, EpollTimeout::ZERO) else { return };
            for event in ready.iter().take(n) {
                let token = event.data();
                let Some(entry) = entries.get((token >> 1) as usize) else { continue };
                let (socket, channel) = match token & 1 {
                    0 => (&entry.ports.rtp, Channel::Rtp),
                    _ => (&entry.ports.rtcp, Channel::Rtcp),
                };
                // One a round: epoll says whether there is more, which is cheaper than asking every socket twice.
                if let Some((len, from, arrived)) = receive_one(socket, &mut buffer[..], control, reference)
                    && let (Some(address), Some(bytes)) = (entry.address, buffer.get(..len))
                {
                    take(address, (entry.medium, channel), arrived, from, bytes);
                }
            }
            packets += n;
            if n == 0 || packets > MAX_PACKETS {
                return;
            }
        }
    }

    /// What waits on the shared sockets, at most [`BATCH`] datagrams; to be given back to `recycle`, and asked for again until
    /// it is empty. The counter bounds a poll over all calls.
    pub(super) fn receive_shared(&mut self, clock: &Clock, taken: &mut usize) -> Vec<Datagram> {
        let reference = clock.both();
        let mut batch = std::mem::take(&mut self.batch);
        let mut filled = 0;
        let is_first = *taken == 0;
        for (n, socket) in self.shared.iter().enumerate() {
            while filled < BATCH && *taken < MAX_PACKETS {
                let Some((len, from, arrived)) =
                    receive_one(socket, &mut self.buffer[..], &mut self.control, reference)
                else {
                    break;
                };
                *taken += 1;
                // A batch of nothing but these would look like the end of what waits.
                if len == 0 {
                    continue;
                }
                let port = Self::shared_key(n);
                let bytes = self.buffer.get(..len).unwrap_or_default();
                if batch.len() <= filled {
                    batch.push(Datagram { port, from, arrived, bytes: Vec::with_capacity(MAX_DATAGRAM_BYTES) });
                }
                if let Some(place) = batch.get_mut(filled) {
                    (place.port, place.from, place.arrived) = (port, from, arrived);
                    place.bytes.clear();
                    place.bytes.extend_from_slice(bytes);
                    filled += 1;
                }
            }
        }
        let streams = self.streams.get_mut();
        // At the first of the calls of one poll.
        if is_first {
            streams.poll(reference.0);
        }
        while filled < BATCH && *taken < MAX_PACKETS {
            if batch.len() <= filled {
                let bytes = Vec::with_capacity(MAX_DATAGRAM_BYTES);
                let from = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
                batch.push(Datagram { port: PortKey(0), from, arrived: reference.0, bytes });
            }
            let Some(place) = batch.get_mut(filled) else { break };
            let Some((port, from)) = streams.take(reference.0, &mut place.bytes) else { break };
            (place.port, place.from, place.arrived) = (port, from, reference.0);
            *taken += 1;
            filled += usize::from(!place.bytes.is_empty());
        }
        // What is left over of a larger batch is kept, as it is memory that was paid for.
        for spare in batch.iter_mut().skip(filled) {
            spare.bytes.clear();
        }
        batch
    }

    /// Takes a batch's memory back.
    pub(super) fn recycle(&mut self, batch: Vec<Datagram>) {
        self.batch = batch;
    }

    /// Sends one datagram. A full socket buffer or an unreachable peer loses it, as networks do.
    pub(super) fn send(&self, transmit: Transmit<'_>) {
        if let Some(n) = transmit.port.0.checked_sub(FIRST_SHARED) {
            match self.shared.get(n) {
                Some(socket) => drop(socket.send_to(transmit.bytes, transmit.to)),
                None => self.streams.borrow_mut().send(transmit.port, transmit.to, transmit.bytes),
            }
        } else if let Some(entry) = self.entries.get(transmit.port.0) {
            let socket = match transmit.channel {
                Channel::Rtp => &entry.ports.rtp,
                Channel::Rtcp => &entry.ports.rtcp,
            };
            drop(socket.send_to(transmit.bytes, transmit.to));
        }
    }
}

fn receive_one(
    socket: &UdpSocket,
    buffer: &mut [u8],
    control: &mut [u8],
    (now, wall): (Instant, Duration),
) -> Option<(usize, SocketAddr, Instant)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let message =
        // An error is a pending ICMP message of an earlier send or nothing to read; it says nothing about a datagram.
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(control), MsgFlags::MSG_DONTWAIT).ok()?;
    let from = message.address.as_ref().and_then(socket_address)?;
    let mut arrived = now;
    if let Ok(mut messages) = message.cmsgs()
        && let Some(ControlMessageOwned::ScmTimestampns(stamp)) = messages.next()
    {
        let age = wall.saturating_sub(Duration::from(stamp));
        if age < MAX_AGE {
            arrived = now.checked_sub(age).unwrap_or(now);
        }
    }
    Some((message.bytes, from, arrived))
}

fn socket_address(from: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = from.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    from.as_sockaddr_in6().map(|v6| SocketAddr::new(IpAddr::V6(v6.ip()), v6.port()))
}
