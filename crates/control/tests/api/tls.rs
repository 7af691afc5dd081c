//! The API over HTTPS: a client that checks the certificate, files that change, and clients that do not speak TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use control::{Error, Server};
use media::Engine;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::house::{PATIENCE, config, engine};
use crate::server::ANY_PORTS;

struct Running {
    dir: TempDir,
    address: SocketAddr,
    token: String,
    engine: Engine,
    _stop: oneshot::Sender<()>,
    _serving: JoinHandle<Result<(), Error>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

/// Writes a new pair; gives the certificate.
fn renew(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn serve() -> (Running, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let certificate = renew(dir.path());
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let files = [place("cert.pem"), place("key.pem")];
    let tls =
        [("API__TLS_CERTIFICATE", files[0].as_str()), ("API__TLS_KEY", files[1].as_str()), ("DRAIN__GRACE_S", "0")];
    let config = config(dir.path(), &[&ANY_PORTS[..], &tls].concat());
    let (engine, events) = engine(&config);
    let server = Server::start(config, engine.clone(), events).await.unwrap();
    let (address, token) = (server.api_address().unwrap(), server.first_admin_token().unwrap().to_owned());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async move { drop(stopped.await) }));
    (Running { dir, address, token, engine, _stop: stop, _serving: serving }, certificate)
}

/// The answer over a connection whose far end has this certificate; an error when it has another.
async fn get(running: &Running, path: &str, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(running.address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let token = &running.token;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn client_that_checks_the_certificate_reaches_the_api() {
    let (running, certificate) = serve().await;
    let answer = get(&running, "/api/conference_rooms", &certificate).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"count\":0"), "{answer}");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    get(&running, "/", other.cert.der()).await.unwrap_err();
}

#[tokio::test]
async fn changed_files_are_what_new_connections_see() {
    let (running, _) = serve().await;
    let next = renew(running.dir.path());
    let seen = async { while get(&running, "/healthz", &next).await.is_err() {} };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    // A broken pair leaves the good one in use.
    std::fs::write(running.dir.path().join("key.pem"), "no key").unwrap();
    get(&running, "/healthz", &next).await.unwrap();
}

#[tokio::test]
async fn clients_that_never_shake_hands_keep_nobody_waiting() {
    let (running, certificate) = serve().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let answer = tokio::time::timeout(PATIENCE, get(&running, "/readyz", &certificate)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn plain_http_is_closed() {
    let (running, _) = serve().await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset: what counts is that nothing is said in HTTP.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn pair_that_is_no_good_stops_the_start_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    renew(dir.path());
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let files = [place("cert.pem"), place("missing.pem")];
    let tls = [("API__TLS_CERTIFICATE", files[0].as_str()), ("API__TLS_KEY", files[1].as_str())];
    let config = config(dir.path(), &[&ANY_PORTS[..], &tls].concat());
    let (engine, events) = engine(&config);
    let error = Server::start(config, engine.clone(), events).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("api.tls_key {}: it cannot be read", files[1])), "{error}");
    engine.stop();
}
