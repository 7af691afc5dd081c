//! The API's certificate: read from its files at the start, and again when they change, on a task that looks every second.
//! New connections get the present one; those that are open keep theirs. A broken new pair changes nothing.

mod self_signed;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;
use crate::error::Error;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The certificate in use. Cheap to clone; all clones have the same one.
#[derive(Clone, Debug)]
pub struct Certificates {
    files: Arc<TlsConfig>,
    present: Arc<Mutex<Present>>,
}

#[derive(Debug)]
struct Present {
    config: Arc<ServerConfig>,
    /// Of the files that were read last, whether they were good or not.
    read: Stamps,
    /// Of the last look.
    looked: Stamps,
}

/// Both files as the file system describes them; a missing one is none.
type Stamps = [Option<Stamp>; 2];

/// Device, inode, size, and time of the last change in nanoseconds: a file that was replaced differs in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// `Broken`, naming the setting and the file, when one cannot be read or they do not belong together.
    pub fn open(files: &TlsConfig) -> Result<Self, Error> {
        made_if_needed(files).map_err(Error::Broken)?;
        let read = stamps(files);
        let config = load(files).map_err(Error::Broken)?;
        let present = Present { config, read, looked: read };
        Ok(Self { files: Arc::new(files.clone()), present: Arc::new(Mutex::new(present)) })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.present().config).into()
    }

    /// Looks at the files until it is dropped.
    pub async fn watch(self) {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            let this = self.clone();
            // A file system may be slow; whether a look came to its end, the next one shows.
            drop(tokio::task::spawn_blocking(move || this.look()).await);
        }
    }

    /// Takes changed files over, once they have not changed since the last look: one of two may have been written first.
    fn look(&self) {
        if let Err(error) = made_if_needed(&self.files) {
            tracing::debug!(error, "the API keeps its present certificate");
        }
        let now = stamps(&self.files);
        let settled = {
            let mut present = self.present();
            let settled = now == present.looked && now != present.read;
            present.looked = now;
            settled
        };
        if settled {
            self.reload();
        }
    }

    /// Reads the files now. When they are no good, the present certificate stays, and the log says why. Blocks on files.
    pub fn reload(&self) {
        let read = stamps(&self.files);
        let loaded = load(&self.files);
        let mut present = self.present();
        (present.read, present.looked) = (read, read);
        match loaded {
            Ok(config) => {
                present.config = config;
                tracing::info!(certificate = %self.files.certificate.display(), "the API's certificate was read anew");
            }
            Err(error) => tracing::error!(error, "the API keeps its present certificate"),
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the certificate is of our own making.
fn made_if_needed(files: &TlsConfig) -> Result<(), String> {
    let Some(names) = &files.self_signed else { return Ok(()) };
    let made = self_signed::ensure(files, names).map_err(|why| format!("api.tls_self_signed: {why}"))?;
    if made {
        tracing::info!(certificate = %files.certificate.display(), "a self-signed certificate was made");
    }
    Ok(())
}

fn stamps(files: &TlsConfig) -> Stamps {
    let stamp = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some(Stamp(file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    [stamp(&files.certificate), stamp(&files.key)]
}

fn load(files: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
    let (certificate, key) = (&files.certificate, &files.key);
    let of_certificate = |why: &str| format!("api.tls_certificate {}: {why}", certificate.display());
    let of_key = |why: &str| format!("api.tls_key {}: {why}", key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| of_certificate(&words(&error)))?;
    if chain.is_empty() {
        return Err(of_certificate("there is no certificate in it (PEM, BEGIN CERTIFICATE)"));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::NoItemsFound => of_key("there is no private key in it (PEM, BEGIN PRIVATE KEY, not encrypted)"),
        error => of_key(&words(&error)),
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => of_key("it is not the key of the certificate in api.tls_certificate"),
        rustls::Error::General(why) => of_key(&why),
        error => of_certificate(&error.to_string()),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("it cannot be read: {error}"),
        error => format!("it is no PEM file: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        _dir: tempfile::TempDir,
        config: TlsConfig,
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(certificate: &str, key: &str) -> Files {
        let dir = tempfile::tempdir().unwrap();
        let config =
            TlsConfig { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem"), self_signed: None };
        std::fs::write(&config.certificate, certificate).unwrap();
        std::fs::write(&config.key, key).unwrap();
        Files { _dir: dir, config }
    }

    #[test]
    fn files_that_are_no_good_are_named_with_what_is_wrong() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        for (files, starts, what) in [
            (files("", &key), "api.tls_certificate ", "no certificate in it"),
            (files(&key, &key), "api.tls_certificate ", "no certificate in it"),
            (files(&certificate, ""), "api.tls_key ", "no private key in it"),
            (files(&certificate, &other), "api.tls_key ", "not the key of the certificate"),
            (
                files("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &key),
                "api.tls_certificate ",
                "no PEM",
            ),
            (
                files("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key),
                "api.tls_certificate ",
                "certificate",
            ),
            (
                files(&certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                "api.tls_key ",
                "key",
            ),
        ] {
            let error = Certificates::open(&files.config).unwrap_err().to_string();
            assert!(error.starts_with(starts) && error.contains(what), "{error}");
            assert!(error.contains(files.config.key.parent().unwrap().to_str().unwrap()), "{error}");
        }
        let gone = TlsConfig {
            certificate: "/nonexistent/cert.pem".into(),
            key: "/nonexistent/key.pem".into(),
            self_signed: None,
        };
        let error = Certificates::open(&gone).unwrap_err().to_string();
        assert!(error.starts_with("api.tls_certificate /nonexistent/cert.pem: it cannot be read"), "{error}");
    }

    #[test]
    fn changed_files_are_taken_over_when_both_are_there_and_good() {
        let ((certificate, key), (next, next_key)) = (pair(), pair());
        let files = files(&certificate, &key);
        let certificates = Certificates::open(&files.config).unwrap();
        let first = Arc::clone(&certificates.present().config);
        let is_first = || Arc::ptr_eq(&first, &certificates.present().config);

        std::fs::write(&files.config.certificate, next).unwrap();
        certificates.look();
        assert!(is_first() && certificates.present().read != stamps(&files.config), "its key may be on the way");
        certificates.look();
        assert!(
            is_first() && certificates.present().read == stamps(&files.config),
            "it was read, and its key not there"
        );
        std::fs::write(&files.config.key, next_key).unwrap();
        certificates.look();
        assert!(is_first());
        certificates.look();
        assert!(!is_first());

        let second = Arc::clone(&certificates.present().config);
        std::fs::remove_file(&files.config.certificate).unwrap();
        certificates.look();
        certificates.look();
        assert!(Arc::ptr_eq(&second, &certificates.present().config));
    }
}
