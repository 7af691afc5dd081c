//! A letter: what it says, as it was when it was written down, and the mail that is made of it when it is sent. Pure, but for
//! the templates' text.

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use serde::{Deserialize, Serialize};

use super::calendar;
use super::plan::Kind;
use super::templates::{Templates, Texts};
use crate::config::MailConfig;
use crate::ids::Id;
use crate::rooms::RoomSettings;

/// The calendar entry as a file, for programs that do not look into the mail for it.
const FILE_NAME: &str = "invite.ics";

/// What one recipient is told. It may hold a PIN: it does not show itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    pub(super) kind: Kind,
    /// Of the calendar entry.
    pub(super) uid: String,
    /// Of the calendar entry.
    pub(super) sequence: u32,
    /// When it was written down.
    pub(super) written_at: Timestamp,
    pub(super) extension: String,
    pub(super) subject: String,
    pub(super) pin: Option<String>,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
    pub(super) timezone: Option<String>,
    pub(super) language: Option<String>,
    pub(super) numbers: Option<String>,
    /// What a browser joins with.
    pub(super) token: String,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter").field("kind", &self.kind).field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl Letter {
    pub(super) fn new(
        kind: Kind,
        uid: &str,
        sequence: u32,
        settings: &RoomSettings,
        token: &str,
        written_at: Timestamp,
    ) -> Self {
        Self {
            kind,
            uid: uid.to_owned(),
            sequence,
            written_at,
            extension: settings.extension_number.clone(),
            subject: settings.subject.clone(),
            pin: settings.room_pin.clone(),
            start: settings.scheduled_start_at,
            end: settings.scheduled_end_at,
            timezone: settings.timezone.clone(),
            language: settings.language.clone(),
            numbers: settings.numbers.clone(),
            token: token.to_owned(),
        }
    }

    /// As it is kept.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("BUG: plain fields are always JSON")
    }

    /// As it was kept.
    ///
    /// # Errors
    /// When it is not ours.
    pub(super) fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("the letter cannot be read: {error}"))
    }

    /// `REQUEST` or `CANCEL` (RFC 5546 §1.4).
    pub(super) const fn method(&self) -> &'static str {
        if self.kind.is_cancelling() { "CANCEL" } else { "REQUEST" }
    }

    /// Dial-in numbers, for people.
    pub(super) fn dial_in<'a>(&'a self, config: &'a MailConfig) -> &'a str {
        self.numbers.as_deref().filter(|numbers| !numbers.trim().is_empty()).unwrap_or(&config.dial_in)
    }

    /// Where one joins with a browser.
    pub(super) fn join_url(&self, config: &MailConfig) -> Option<String> {
        let url = config.join_url.as_ref()?;
        Some(url.replace("{extension}", &self.extension).replace("{token}", &self.token))
    }

    /// The mail: text, HTML and, when the meeting has a time, its calendar entry as a third alternative, which is where
    /// Outlook, Gmail and Apple's Mail look for it, and as a file (RFC 6047 §2.4). `id` makes the Message-ID: the same
    /// letter sent twice is known for one.
    ///
    /// # Errors
    /// What cannot be made into mail, in words.
    pub(super) fn mail(
        &self,
        id: Id,
        recipient: &str,
        config: &MailConfig,
        templates: &Templates,
    ) -> Result<Message, String> {
        let address: Address = recipient.parse().map_err(|error| format!("the address is none: {error}"))?;
        let Texts { title, plain, html } = templates.texts(self, config)?;
        let mut builder = Message::builder()
            .from(config.from.clone())
            .to(Mailbox::new(None, address.clone()))
            .subject(one_line(&title))
            .date_now()
            .message_id(Some(format!("<{}.{}@{}>", id.raw(), self.sequence, config.from.email.domain())))
            // Nobody's out-of-office note answers it (RFC 3834 §5).
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()));
        if let Some(reply_to) = &config.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        let texts =
            MultiPart::alternative().singlepart(SinglePart::plain(plain.clone())).singlepart(SinglePart::html(html));
        let Some(entry) = calendar::entry(self, &address, config, &plain) else {
            return builder.multipart(texts).map_err(|error| error.to_string());
        };
        let kind = |text: String| ContentType::parse(&text).expect("BUG: a media type that we wrote");
        let alternative = kind(format!("text/calendar; charset=utf-8; method={}", self.method()));
        let texts = texts.singlepart(SinglePart::builder().header(alternative).body(entry.clone()));
        let file = Attachment::new(FILE_NAME.to_owned()).body(entry, kind("application/ics".to_owned()));
        builder.multipart(MultiPart::mixed().multipart(texts).singlepart(file)).map_err(|error| error.to_string())
    }
}

/// What people wrote, on one line: no header begins in it.
pub(super) fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests;
