//! Connections of the API, TCP or TLS over it, bounded: so many at once, and none that is silent for long. A client that opens
//! thousands, sends a byte a minute or never shakes hands uses up its own, and nothing that calls or other clients need.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use super::tls::Certificates;

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// Without a byte either way, a connection is closed.
const MAX_SILENCE: Duration = Duration::from_secs(75);
/// A TLS handshake that takes longer, whatever bytes it sends, is no client's.
const MAX_HANDSHAKE: Duration = Duration::from_secs(10);
/// After an accept that failed, for want of descriptors for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listener with so many connections at once.
pub(super) struct Bounded {
    listener: TcpListener,
    certificates: Option<Certificates>,
    handshake_patience: Duration,
    free: Arc<Semaphore>,
    open: Gauge,
}

impl Bounded {
    /// With certificates, what it gives speaks TLS.
    pub(super) fn new(listener: TcpListener, certificates: Option<Certificates>, open: Gauge) -> Self {
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { listener, certificates, handshake_patience: MAX_HANDSHAKE, free, open }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await;
            let permit = permit.expect("BUG: the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    // Answers are short; a failure costs only latency.
                    let _ = stream.set_nodelay(true);
                    self.open.inc();
                    // The handshake is the connection's own first work: nobody waits for it here.
                    let (stream, patience) = match &self.certificates {
                        Some(certificates) => {
                            let handshake = Box::new(certificates.acceptor().accept(stream));
                            (Stream::Handshake(handshake), self.handshake_patience)
                        }
                        None => (Stream::Plain(stream), MAX_SILENCE),
                    };
                    let silence = Box::pin(tokio::time::sleep(patience));
                    return (Connection { stream, silence, open: self.open.clone(), _permit: permit }, from);
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What a connection's bytes go through.
enum Stream {
    Plain(TcpStream),
    Handshake(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection, which counts while it is open.
pub(super) struct Connection {
    stream: Stream,
    silence: Pin<Box<Sleep>>,
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// It is TLS, or will be.
    pub(super) const fn is_secure(&self) -> bool {
        !matches!(self.stream, Stream::Plain(_))
    }

    /// Goes on with the handshake; ready when there is none, or no more.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stream::Handshake(handshake) = &mut self.stream else { return Poll::Ready(Ok(())) };
        match Pin::new(handshake.as_mut()).poll(cx) {
            Poll::Ready(Ok(stream)) => {
                self.stream = Stream::Tls(Box::new(stream));
                self.silence.as_mut().reset(Instant::now() + MAX_SILENCE);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "no TLS handshake");
                Poll::Ready(Err(error))
            }
            Poll::Pending => self.patience(cx).map(Err),
        }
    }

    /// Pushes the end of patience away when bytes moved; fails when it has come.
    fn heard<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.silence.as_mut().reset(Instant::now() + MAX_SILENCE);
            return moved;
        }
        self.patience(cx).map(Err)
    }

    /// Ready when it has ended.
    fn patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.silence.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}

/// Calls the same of whatever stream it is, when the handshake is over.
macro_rules! of_stream {
    ($connection:expr, $cx:expr, $call:ident($($argument:expr),*)) => {{
        ready!($connection.poll_handshake($cx))?;
        match &mut $connection.stream {
            Stream::Plain(stream) => Pin::new(stream).$call($cx, $($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$call($cx, $($argument),*),
            Stream::Handshake(_) => Poll::Pending,
        }
    }};
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = of_stream!(self, cx, poll_read(into));
        self.heard(cx, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = of_stream!(self, cx, poll_write(from));
        self.heard(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = of_stream!(self, cx, poll_write_vectored(from));
        self.heard(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        // Both can: TLS gathers the parts into one record.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = of_stream!(self, cx, poll_flush());
        self.heard(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::Handshake(handshake) = &mut self.stream {
            return match handshake.get_mut() {
                Some(stream) => Pin::new(stream).poll_shutdown(cx),
                None => Poll::Ready(Ok(())),
            };
        }
        let shut = of_stream!(self, cx, poll_shutdown());
        self.heard(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsConfig;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn listener() -> (tempfile::TempDir, Bounded, SocketAddr) {
        let dir = tempfile::tempdir().unwrap();
        let files =
            TlsConfig { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem"), self_signed: None };
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificates = Certificates::open(&files).unwrap();
        (dir, Bounded::new(listener, Some(certificates), Gauge::default()), address)
    }

    #[tokio::test]
    async fn handshake_that_does_not_come_is_not_waited_for() {
        let (_dir, mut listener, address) = listener().await;
        listener.handshake_patience = Duration::from_millis(20);
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = listener.accept().await;
        // The beginning of a record that never ends.
        client.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
        let error = connection.read(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn accept_waits_for_no_handshake() {
        let (_dir, mut listener, address) = listener().await;
        let _silent = TcpStream::connect(address).await.unwrap();
        let _other = TcpStream::connect(address).await.unwrap();
        let (first, second) = (listener.accept().await, listener.accept().await);
        assert_eq!(listener.open.get(), 2);
        drop((first, second));
        assert_eq!(listener.open.get(), 0);
    }
}
