//! Bytes of a user agent: a UDP socket, one TCP connection to the server, or one WebSocket (RFC 7118).

use crate::ports;
use crate::sip_message::Message;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message as Frame, WebSocket};

/// How often the receiving thread looks at its timers.
const POLL: Duration = Duration::from_millis(10);

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams, resent by timers.
    Udp,
    /// One connection, opened by the agent.
    Tcp,
    /// One WebSocket, opened by the agent at the server's `/ws`.
    Ws,
}

impl Transport {
    /// As in Via.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Ws => "WS",
        }
    }
}

#[derive(Debug)]
pub(super) enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    /// Its frames, and its own address.
    Ws(Box<Mutex<WebSocket<TcpStream>>>, SocketAddr),
}

/// What one look at the wire gave.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) messages: Vec<Result<Message, String>>,
    pub(super) closed: bool,
}

impl Wire {
    pub(super) fn open(transport: Transport, server: SocketAddr) -> Self {
        match transport {
            Transport::Udp => {
                let v6 = server.is_ipv6();
                let local: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
                let socket = (0..50).find_map(|_| UdpSocket::bind((local, ports::one())).ok());
                let socket = socket.expect("a free port");
                // Answers to hundreds of calls at once fit; what the kernel does not grant is no error.
                let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
                socket.set_read_timeout(Some(POLL)).expect("a positive timeout");
                Self::Udp(socket)
            }
            Transport::Tcp => {
                let stream = TcpStream::connect(server).expect("the server accepts TCP");
                stream.set_read_timeout(Some(POLL)).expect("a positive timeout");
                stream.set_nodelay(true).expect("an open connection");
                Self::Tcp(stream)
            }
            Transport::Ws => {
                let stream = TcpStream::connect(server).expect("the server accepts TCP");
                stream.set_nodelay(true).expect("an open connection");
                let local = stream.local_addr().expect("an open socket has an address");
                let mut request = format!("ws://{server}/ws").into_client_request().expect("a URL");
                request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
                let (socket, answer) = tungstenite::client(request, stream).expect("the server upgrades");
                let chosen = answer.headers().get("Sec-WebSocket-Protocol").and_then(|value| value.to_str().ok());
                assert_eq!(chosen, Some("sip"));
                socket.get_ref().set_read_timeout(Some(POLL)).expect("a positive timeout");
                Self::Ws(Box::new(Mutex::new(socket)), local)
            }
        }
    }

    pub(super) fn transport(&self) -> Transport {
        match self {
            Self::Udp(_) => Transport::Udp,
            Self::Tcp(_) => Transport::Tcp,
            Self::Ws(..) => Transport::Ws,
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(stream) => stream.local_addr(),
            Self::Ws(_, local) => return *local,
        }
        .expect("an open socket has an address")
    }

    pub(super) fn send(&self, bytes: &[u8], server: SocketAddr) {
        // What does not go out shows as a missing answer.
        let _ = match self {
            Self::Udp(socket) => socket.send_to(bytes, server).map(|_| ()),
            Self::Tcp(stream) => (&mut &*stream).write_all(bytes),
            Self::Ws(socket, _) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
                socket.send(Frame::text(text)).map_err(std::io::Error::other)
            }
        };
    }

    /// Waits up to 10 ms. `stream` keeps the bytes of an incomplete message (TCP).
    pub(super) fn receive(&self, stream: &mut Vec<u8>) -> Received {
        let mut buffer = [0; 65_536];
        let mut out = Received::default();
        match self {
            Self::Udp(socket) => {
                if let Ok((len, _)) = socket.recv_from(&mut buffer) {
                    out.messages.extend(whole(&buffer[..len]));
                }
            }
            Self::Ws(socket, _) => {
                let read = socket.lock().unwrap_or_else(PoisonError::into_inner).read();
                match read {
                    Ok(Frame::Text(text)) => out.messages.extend(whole(text.as_bytes())),
                    Ok(Frame::Binary(bytes)) => out.messages.extend(whole(&bytes)),
                    Ok(_) => {}
                    Err(tungstenite::Error::Io(e))
                        if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => out.closed = true,
                }
            }
            Self::Tcp(socket) => {
                match (&mut &*socket).read(&mut buffer) {
                    Ok(0) => out.closed = true,
                    Ok(len) => stream.extend_from_slice(&buffer[..len]),
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => out.closed = true,
                }
                loop {
                    // Keep-alives between messages (RFC 5626 §3.5.1).
                    let blank = stream.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
                    stream.drain(..blank);
                    match Message::parse(stream, false) {
                        Ok(None) => break,
                        Ok(Some((message, len))) => {
                            stream.drain(..len);
                            out.messages.push(Ok(message));
                        }
                        Err(why) => {
                            stream.clear();
                            out.messages.push(Err(why));
                        }
                    }
                }
            }
        }
        out
    }
}

/// One message that fills its datagram or frame.
fn whole(bytes: &[u8]) -> Option<Result<Message, String>> {
    Message::parse(bytes, true).map(|message| message.map(|message| message.0)).transpose()
}
