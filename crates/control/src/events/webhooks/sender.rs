//! One delivery over HTTP: a signed POST, to an address that was checked, within a bounded time. What a webhook answers is
//! its status; the rest is dropped.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::{Certificate, Client, Response, header, redirect};
use sha2::Sha256;
use tokio::sync::OnceCell;
use url::Url;

use super::address::{CheckedNames, check_host};
use crate::events::Announced;
use crate::store::WebhookRecord;

/// From the lookup of the name to the answer's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the connection alone.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// For what follows the answer's head: so much is read and dropped, so that the connection serves the next delivery.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
const BODY_BYTES: usize = 64 * 1024;
/// Without a delivery, a connection is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Of a reason, so many characters are kept.
const REASON_CHARS: usize = 300;

/// Why a delivery was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotAccepted {
    /// What was answered, if anything was.
    pub(super) status: Option<u16>,
    /// In words.
    pub(super) reason: String,
}

impl NotAccepted {
    fn unanswered(reason: impl Into<String>) -> Self {
        Self { status: None, reason: reason.into().chars().take(REASON_CHARS).collect() }
    }
}

/// Sends deliveries.
#[derive(Debug)]
pub(super) struct Sender {
    names: CheckedNames,
    /// Trusted beside the system's.
    roots: Vec<Certificate>,
    /// Made when there is a first delivery: it reads every certificate of the system.
    client: OnceCell<Client>,
}

impl Sender {
    pub(super) fn new(names: CheckedNames) -> Self {
        Self { names, roots: Vec::new(), client: OnceCell::new() }
    }

    /// That trusts a certificate which no system does.
    #[cfg(test)]
    pub(super) fn trusting(names: CheckedNames, root: Certificate) -> Self {
        Self { names, roots: vec![root], client: OnceCell::new() }
    }

    /// Sends an event to a webhook. It is accepted when the answer is a 2xx: anything else is a failure, a redirection too.
    pub(super) async fn send(
        &self,
        webhook: &WebhookRecord,
        event: &Announced,
        now: Timestamp,
    ) -> Result<(), NotAccepted> {
        let url = Url::parse(&webhook.url).map_err(|_| NotAccepted::unanswered("the URL cannot be read"))?;
        // The client asks the resolver for names only.
        check_host(&url, self.names.allow_private)
            .map_err(|refusal| NotAccepted::unanswered(format!("the URL {refusal}")))?;
        let timestamp = now.as_second();
        let request = self
            .client()
            .await?
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("Conclave-Event", &event.kind)
            .header("Conclave-Delivery", event.cursor)
            .header("Conclave-Timestamp", timestamp)
            .header("Conclave-Signature", signature(&webhook.secret, timestamp, &event.json))
            .body(event.json.clone());
        let answer = match tokio::time::timeout(PATIENCE, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(NotAccepted::unanswered(innermost(&error.without_url()))),
            Err(_) => {
                return Err(NotAccepted::unanswered(format!("no answer within {} s", PATIENCE.as_secs())));
            }
        };
        let status = answer.status();
        // It has answered: what becomes of the rest changes nothing.
        let _ = tokio::time::timeout(BODY_PATIENCE, drop_body(answer)).await;
        match status.is_success() {
            true => Ok(()),
            false => Err(NotAccepted { status: Some(status.as_u16()), reason: format!("it answered {status}") }),
        }
    }

    async fn client(&self) -> Result<&Client, NotAccepted> {
        let broken = |error: String| NotAccepted::unanswered(format!("the HTTP client cannot be made: {error}"));
        self.client
            .get_or_try_init(|| async {
                let (names, roots) = (self.names.clone(), self.roots.clone());
                let made = tokio::task::spawn_blocking(move || client(&names, &roots)).await;
                made.map_err(|e| broken(e.to_string()))?.map_err(|e| broken(e.to_string()))
            })
            .await
    }
}

fn client(names: &CheckedNames, roots: &[Certificate]) -> Result<Client, reqwest::Error> {
    // Without one the client panics. Whoever was first has chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        Client::builder()
            .dns_resolver(names.clone())
            // A redirection could lead anywhere, and a proxy of the environment would resolve names by itself.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_PATIENCE)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("Conclave/", env!("CARGO_PKG_VERSION")))
    };
    builder().tls_certs_merge(roots.iter().cloned()).build().or_else(|error| {
        tracing::warn!(
            error = innermost(&error),
            "no webhook is reached by https: the system's certificates are missing"
        );
        builder().tls_certs_only([]).build()
    })
}

/// What the receiver compares with: `v1=` and, in hexadecimal, the HMAC-SHA256 with the webhook's secret over the timestamp,
/// a dot and the body.
pub(super) fn signature(secret: &str, timestamp: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("BUG: HMAC takes keys of any length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    let mut text = "v1=".to_owned();
    for byte in mac.finalize().into_bytes() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

async fn drop_body(mut answer: Response) {
    let mut left = BODY_BYTES;
    while let Ok(Some(chunk)) = answer.chunk().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}

/// The HTTP client wraps the reason several times.
fn innermost(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_covers_timestamp_and_body() {
        // By Python: hmac.new(b"secret", b'1700000000.{"a":1}', "sha256").hexdigest()
        let known = "v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
        assert_eq!(signature("secret", 1_700_000_000, "{\"a\":1}"), known);
        for (secret, timestamp, body) in
            [("Secret", 1_700_000_000, "{\"a\":1}"), ("secret", 1_700_000_001, "{\"a\":1}")]
        {
            assert_ne!(signature(secret, timestamp, body), known);
        }
    }
}
