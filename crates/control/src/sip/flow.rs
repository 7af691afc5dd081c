//! The ways bytes travel: the UDP socket, TCP connections, WebSockets, and one `Flow` for all, through which answers go back
//! the way they came. Runs on the tokio runtime. Knows no dialog.
//!
//! The stack's own transports queue without bound and let one peer that does not read block everybody's receive loop,
//! so only its connection types are used: UDP over our socket, TCP as a bounded channel to our writer.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use rsipstack::platform::net::UdpSocket as StackUdpSocket;
use rsipstack::sip::Transport as StackTransport;
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportEvent};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::address::Transport;

/// Messages waiting for a slow peer on a connection; beyond it transactions of that peer wait, and after the write timeout it is cut.
const STREAM_QUEUE: usize = 64;
/// The same for answers that need no transaction; beyond it they are dropped.
const STREAM_RAW_QUEUE: usize = 32;

/// What the UDP socket asks of the kernel: a burst of 200 INVITEs must not be lost while we answer the first.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Our UDP socket. On a dual-stack one IPv4 peers are written to by their mapped address.
#[derive(Debug)]
pub(super) struct UdpPort {
    socket: UdpSocket,
    mapped: bool,
}

impl UdpPort {
    /// Binds; `[::]` takes IPv4 too.
    pub(super) fn bind(listen: SocketAddr) -> std::io::Result<Self> {
        let domain = if listen.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if listen.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // As much as the kernel allows; less is no error.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, mapped: listen.is_ipv6() })
    }

    pub(super) fn bound(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) async fn receive(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        let (len, from) = self.socket.recv_from(buffer).await?;
        Ok((len, canonical(from)))
    }

    async fn send(&self, bytes: &[u8], to: SocketAddr) -> std::io::Result<usize> {
        let to = match to.ip() {
            IpAddr::V4(v4) if self.mapped => SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), to.port()),
            _ => to,
        };
        self.socket.send_to(bytes, to).await
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = rsipstack::Result<T>> + Send + 'a>>;

/// The stack writes through this; it never reads.
impl StackUdpSocket for UdpPort {
    fn recv_from<'life0, 'life1, 'async_trait>(
        &'life0 self,
        buf: &'life1 mut [u8],
    ) -> Boxed<'async_trait, (usize, SocketAddr)>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move { Ok(self.receive(buf).await?) })
    }

    fn send_to<'life0, 'life1, 'async_trait>(
        &'life0 self,
        buf: &'life1 [u8],
        addr: SocketAddr,
    ) -> Boxed<'async_trait, usize>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move { Ok(self.send(buf, addr).await?) })
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.bound()?)
    }
}

/// One way to one peer.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) transport: Transport,
    /// Local end: of UDP the socket's, of TCP the connection's, of a WebSocket what UDP has.
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) connection: SipConnection,
    raw: Raw,
}

#[derive(Clone, Debug)]
enum Raw {
    Udp(Arc<UdpPort>),
    Stream(Arc<StreamEnd>),
}

/// Our end of a connection; the reader holds one, every dialog on it another.
#[derive(Debug)]
struct StreamEnd {
    raw: mpsc::Sender<Vec<u8>>,
    closed: CancellationToken,
}

/// What the writer of a connection takes from.
#[derive(Debug)]
pub(super) struct Outbox {
    events: mpsc::Receiver<TransportEvent>,
    raw: mpsc::Receiver<Vec<u8>>,
    pub(super) closed: CancellationToken,
}

impl Outbox {
    /// The next message to be written; `None` when the connection is to be closed. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            return tokio::select! {
                biased;
                Some(event) = self.events.recv() => match event {
                    TransportEvent::Incoming(message, ..) => Some(message.to_bytes()),
                    TransportEvent::New(_) | TransportEvent::Closed(_) => continue,
                },
                Some(bytes) = self.raw.recv() => Some(bytes),
                () = self.closed.cancelled() => None,
                else => None,
            };
        }
    }
}

/// The UDP side of every UDP flow.
#[derive(Clone, Debug)]
pub(super) struct UdpSide {
    pub(super) port: Arc<UdpPort>,
    pub(super) bound: SocketAddr,
    connection: UdpConnection,
}

impl UdpSide {
    pub(super) async fn new(port: UdpPort) -> std::io::Result<Self> {
        let bound = port.bound()?;
        let port = Arc::new(port);
        let socket: Arc<dyn StackUdpSocket> = Arc::clone(&port) as _;
        let connection = UdpConnection::from_socket(socket, None, None).await.map_err(std::io::Error::other)?;
        Ok(Self { port, bound, connection })
    }

    pub(super) fn flow(&self, peer: SocketAddr) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: self.bound,
            peer,
            connection: SipConnection::Udp(self.connection.clone()),
            raw: Raw::Udp(Arc::clone(&self.port)),
        }
    }
}

impl Flow {
    /// A connection's flow, and what its writer has to write.
    pub(super) async fn stream(
        transport: Transport,
        local: SocketAddr,
        peer: SocketAddr,
        closed: CancellationToken,
    ) -> std::io::Result<(Self, Outbox)> {
        let (events_in, events) = mpsc::channel(STREAM_QUEUE);
        let (raw_in, raw) = mpsc::channel(STREAM_RAW_QUEUE);
        let (_, nothing) = mpsc::unbounded_channel();
        let address = SipAddr { r#type: Some(stack_transport(transport)), addr: peer.into() };
        let channel = ChannelConnection::create_connection_bounded(nothing, events_in, address, Some(closed.clone()))
            .await
            .map_err(std::io::Error::other)?;
        let flow = Self {
            transport,
            local,
            peer,
            connection: SipConnection::Channel(channel),
            raw: Raw::Stream(Arc::new(StreamEnd { raw: raw_in, closed: closed.clone() })),
        };
        Ok((flow, Outbox { events, raw, closed }))
    }

    /// Sends an answer that needs no transaction. Never waits for a slow peer; a lost answer is asked for again.
    pub(super) async fn reply(&self, bytes: Vec<u8>, to: SocketAddr) -> bool {
        match &self.raw {
            Raw::Udp(port) => port.send(&bytes, to).await.is_ok(),
            Raw::Stream(end) => end.raw.try_send(bytes).is_ok(),
        }
    }

    /// Messages can still be sent on it.
    pub(super) fn is_open(&self) -> bool {
        match &self.raw {
            Raw::Udp(_) => true,
            Raw::Stream(end) => !end.closed.is_cancelled(),
        }
    }

    /// Waits until nothing can be sent on it any more; for ever on UDP.
    pub(super) async fn closed(&self) {
        match &self.raw {
            Raw::Udp(_) => std::future::pending().await,
            Raw::Stream(end) => end.closed.cancelled().await,
        }
    }

    /// Closes a connection that gives no sign of life.
    pub(super) fn close(&self) {
        if let Raw::Stream(end) = &self.raw {
            end.closed.cancel();
        }
    }

    /// A dialog beside the reader holds this connection.
    pub(super) fn is_shared(&self) -> bool {
        match &self.raw {
            Raw::Udp(_) => true,
            Raw::Stream(end) => Arc::strong_count(end) > 1,
        }
    }

    /// The peer as the stack writes it.
    pub(super) fn stack_address(&self, to: SocketAddr) -> SipAddr {
        SipAddr { r#type: Some(stack_transport(self.transport)), addr: to.into() }
    }
}

const fn stack_transport(transport: Transport) -> StackTransport {
    match transport {
        Transport::Udp => StackTransport::Udp,
        Transport::Tcp => StackTransport::Tcp,
        Transport::Ws => StackTransport::Ws,
        Transport::Wss => StackTransport::Wss,
    }
}

/// IPv4-mapped addresses as the IPv4 that they are.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
