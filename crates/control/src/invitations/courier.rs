//! The task that sends letters. What waits is in the store alone: it looks there when rooms wake it, and when the next letter
//! is due. A letter that was sent goes in the same transaction in which its event comes; a crash in between sends it again,
//! under the same Message-ID.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Invitations;
use super::letter::{Letter, one_line};
use super::templates::Templates;
use crate::backoff;
use crate::config::{MailConfig, MailSecurity};
use crate::error::Error;
use crate::events::{Data, InvitationData, Journal, Kind, NewEvent};
use crate::store::{self, LetterRecord, Store};

/// Letters on their way at once, each over a connection of its own.
const AT_ONCE: usize = 4;
/// Read from the database at once.
const PAGE: i64 = 32;
/// For one command of SMTP (RFC 5321 §4.5.3.2 would wait for minutes; it comes again).
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// For a whole letter.
const PATIENCE: Duration = Duration::from_secs(120);
/// Beyond the day for which a letter is tried: it waited where nobody sent it, as in a backup or beside a server that was off,
/// and is not news any more.
const STALE: Duration = Duration::from_secs(3600);
/// Between attempts to reach a database that is away.
const RETRY: Duration = Duration::from_secs(1);
/// How often the store is looked at without a reason: after a restoration, or when the clock was set.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a server's reason that are kept.
const LONGEST_REASON: usize = 300;
/// The server does not let us in (RFC 4954 §6): ours to put right, no fault of the letter's.
const SIGN_IN_CODES: [u16; 4] = [530, 534, 535, 538];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Of invitations.
#[derive(Clone, Debug, Default)]
pub struct InvitationMetrics {
    letters: Family<Outcome, Counter>,
    waiting: Gauge,
}

impl InvitationMetrics {
    /// Makes them part of what is scraped.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("invitations", "Attempts to send an invitation by mail, by outcome", self.letters.clone());
        registry.register("invitations_waiting", "Invitations that wait to be sent", self.waiting.clone());
    }

    fn count(&self, outcome: &'static str) {
        self.letters.get_or_create(&Outcome { outcome }).inc();
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    /// The mail server has it.
    Yes,
    /// It may be different later.
    NotNow(String),
    /// It will never be.
    Never(String),
}

/// Sends what waits.
#[derive(Debug)]
pub struct Courier {
    store: Store,
    journal: Journal,
    invitations: Invitations,
    post: Arc<Post>,
    metrics: InvitationMetrics,
    /// The last letter did not get away.
    is_failing: bool,
}

/// How a letter gets away.
#[derive(Debug)]
struct Post {
    config: MailConfig,
    templates: Templates,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Courier {
    /// Reads templates and certificates.
    ///
    /// # Errors
    /// With one line that names the setting and what is wrong.
    pub fn open(
        config: &MailConfig,
        default_language: &str,
        store: Store,
        journal: Journal,
        invitations: Invitations,
        metrics: InvitationMetrics,
    ) -> Result<Self, Error> {
        let fault = |key: &str, reason: String| Error::Broken(format!("mail.{key}: {reason}"));
        let templates = Templates::open(config, default_language).map_err(|e| fault("templates", e))?;
        let transport = transport(config).map_err(|e| fault("ca_certificate", e))?;
        if config.security == MailSecurity::None && !["127.0.0.1", "::1", "localhost"].contains(&config.host.as_str()) {
            tracing::warn!(
                host = config.host,
                "invitations go to the mail server in the clear: their PINs can be read"
            );
        }
        let post = Arc::new(Post { config: config.clone(), templates, transport });
        Ok(Self { store, journal, invitations, post, metrics, is_failing: false })
    }

    /// Until `stop`, or until it is dropped: what is on its way then is sent again at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.send_due().await {
                Ok(None) => LOOK_EVERY,
                Ok(Some(next)) => {
                    let wait = next.duration_since(store::now());
                    Duration::try_from(wait).unwrap_or(Duration::ZERO).min(LOOK_EVERY)
                }
                Err(error) => {
                    tracing::debug!(%error, "invitations cannot be read or settled; trying again");
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.invitations.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Sends what is due; gives the time of the next letter.
    async fn send_due(&mut self) -> Result<Option<Timestamp>, Error> {
        loop {
            let due = self.store.due_letters(store::now(), PAGE).await?;
            if due.is_empty() {
                let (waiting, next) = self.store.waiting_letters().await?;
                self.metrics.waiting.set(waiting);
                return Ok(next);
            }
            let mut on_the_way = JoinSet::new();
            let mut due = due.into_iter();
            loop {
                while on_the_way.len() < AT_ONCE
                    && let Some(record) = due.next()
                {
                    let post = Arc::clone(&self.post);
                    on_the_way.spawn(async move {
                        let panicked = |_| {
                            tracing::error!("a panic was caught while an invitation was sent");
                            (None, Sent::NotNow("internal error".to_owned()))
                        };
                        let sent = AssertUnwindSafe(post.send(&record, store::now())).catch_unwind().await;
                        let (letter, sent) = sent.unwrap_or_else(panicked);
                        (record, letter, sent)
                    });
                }
                match on_the_way.join_next().await {
                    Some(outcome) => {
                        let (record, letter, sent) =
                            outcome.expect("BUG: panics are caught and nobody aborts a letter");
                        // What was sent is not sent again because the database went away meanwhile.
                        while let Err(error) = self.settle(&record, letter.as_ref(), &sent).await {
                            tracing::debug!(%error, "what became of an invitation cannot be kept; trying again");
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                    None => break,
                }
            }
        }
    }

    /// Writes down what became of a letter, with its event.
    async fn settle(&mut self, record: &LetterRecord, letter: Option<&Letter>, sent: &Sent) -> Result<(), Error> {
        let now = store::now();
        let attempts = record.attempts.saturating_add(1);
        let (outcome, reason) = match sent {
            Sent::Yes => ("sent", None),
            Sent::NotNow(reason) => match backoff::next_at(record.queued_at, now, attempts, backoff::chance()) {
                Some(next_at) => {
                    let mut change = self.store.change().await?;
                    change.delay_letter(record.id, attempts, next_at, reason).await?;
                    change.commit().await?;
                    self.tell_health(Some(reason));
                    self.metrics.count("failed");
                    return Ok(());
                }
                None => ("given_up", Some(reason)),
            },
            Sent::Never(reason) => ("given_up", Some(reason)),
        };
        let mut entry = self.journal.change().await?;
        if entry.delete_letter(record.id).await? || outcome == "sent" {
            let kind = if reason.is_none() { Kind::InvitationSent } else { Kind::InvitationFailed };
            let data = Data::Invitation(InvitationData {
                recipient: record.recipient.clone(),
                method: letter.map_or("REQUEST", Letter::method),
                sequence: letter.map_or(0, |letter| letter.sequence),
                reason: reason.cloned(),
            });
            let extension = letter.map(|letter| letter.extension.clone());
            entry.note(NewEvent { at: now, room: Some(record.room), extension, kind, data });
        }
        entry.commit().await?;
        if reason.is_none() {
            self.tell_health(None);
        }
        self.metrics.count(outcome);
        Ok(())
    }

    /// One line when mail begins to fail, and one when it goes out again.
    fn tell_health(&mut self, failure: Option<&str>) {
        if self.is_failing == failure.is_some() {
            return;
        }
        self.is_failing = failure.is_some();
        let host = &self.post.config.host;
        match failure {
            Some(reason) => tracing::warn!(host, reason, "an invitation cannot be sent; trying for a day"),
            None => tracing::info!(host, "invitations can be sent again"),
        }
    }
}

impl Post {
    async fn send(&self, record: &LetterRecord, now: Timestamp) -> (Option<Letter>, Sent) {
        let letter = match Letter::from_json(&record.content) {
            Ok(letter) => letter,
            Err(reason) => return (None, Sent::Never(reason)),
        };
        if now.duration_since(record.queued_at)
            > SignedDuration::try_from(backoff::PATIENCE + STALE).unwrap_or_default()
        {
            return (Some(letter), Sent::Never("it waited for more than a day".to_owned()));
        }
        let mail = match letter.mail(record.id, &record.recipient, &self.config, &self.templates) {
            Ok(mail) => mail,
            Err(reason) => return (Some(letter), Sent::Never(reason)),
        };
        let sent = match tokio::time::timeout(PATIENCE, self.transport.send(mail)).await {
            Ok(Ok(_)) => Sent::Yes,
            Ok(Err(error)) => {
                let is_sign_in = error.status().is_some_and(|code| SIGN_IN_CODES.contains(&u16::from(code)));
                let reason = shortened(&reason_of(&error));
                if error.is_permanent() && !is_sign_in { Sent::Never(reason) } else { Sent::NotNow(reason) }
            }
            Err(_) => Sent::NotNow(format!("the mail server did not take it within {} s", PATIENCE.as_secs())),
        };
        (Some(letter), sent)
    }
}

fn transport(config: &MailConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let tls = || {
        let mut parameters = TlsParameters::builder(config.host.clone());
        if let Some(path) = &config.ca_certificate {
            let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| fault(&error))?;
            parameters = parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| fault(&error))?);
        }
        parameters.build().map_err(|error| reason_of(&error))
    };
    let tls = match config.security {
        MailSecurity::None => Tls::None,
        MailSecurity::StartTls => Tls::Required(tls()?),
        MailSecurity::Tls => Tls::Wrapper(tls()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.clone())
        .port(config.port)
        .tls(tls)
        .timeout(Some(COMMAND_PATIENCE));
    if let Some((user, password)) = &config.credentials {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

/// With what is behind it: "network error" alone helps nobody.
fn reason_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let more = behind.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = behind.source();
    }
    one_line(&text)
}

fn shortened(reason: &str) -> String {
    let end = (0..=LONGEST_REASON.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
    reason.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;
    use crate::invitations::letter::tests::{config, letter};

    /// Nobody listens there: what is tried at all fails for now.
    fn post() -> Post {
        let config = MailConfig { port: 1, ..config() };
        let templates = Templates::open(&config, "en").unwrap();
        Post { transport: transport(&config).unwrap(), templates, config }
    }

    fn record(recipient: &str, content: String) -> LetterRecord {
        let (id, room, queued_at) = (Id::from_raw(1), Id::from_raw(2), letter().written_at);
        LetterRecord { id, room, recipient: recipient.to_owned(), content, attempts: 0, queued_at }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_ever_is_told_from_what_cannot_be_sent_now() {
        let day = Duration::from_secs(86_400);
        for (recipient, content, age, reason) in [
            ("bob@example.com", letter().json(), day, None),
            ("bob@example.com", letter().json(), day + STALE * 2, Some("more than a day")),
            ("bob", letter().json(), Duration::ZERO, Some("the address is none")),
            ("bob@example.com", "{}".to_owned(), Duration::ZERO, Some("cannot be read")),
        ] {
            let record = record(recipient, content);
            let (_, sent) = post().send(&record, record.queued_at + age).await;
            match (&sent, reason) {
                (Sent::NotNow(why), None) => assert!(why.contains("refused"), "{why}"),
                (Sent::Never(why), Some(reason)) => assert!(why.contains(reason), "{why}"),
                _ => panic!("{recipient} after {age:?}: {sent:?}"),
            }
        }
    }

    #[test]
    fn long_reasons_end_at_a_character() {
        assert_eq!(shortened("busy"), "busy");
        let long = shortened(&"ü".repeat(200));
        assert_eq!(long.chars().count(), LONGEST_REASON / 2);
    }
}
