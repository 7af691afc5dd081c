//! Why a request is refused: status code, one text for header, log and operator, one metric label. Pure; knows no
//! transaction.

use std::borrow::Cow;

use crate::rooms::{HangUp, Refusal};

use super::info::INFO_TYPES;

/// Methods we take, for `Allow`.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";
/// Body types we take, for `Accept`.
pub(super) const ACCEPT: &str = "application/sdp";

/// A header we add: its name and value.
pub(super) type Added = (&'static str, String);

/// A refusal, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    /// Status code, 400–699.
    pub(super) code: u16,
    /// Metric label.
    pub(super) label: &'static str,
    /// The one text that says why.
    pub(super) text: Cow<'static, str>,
    warn_code: u16,
    retry_after_s: Option<u32>,
    extra: Vec<Added>,
}

impl Rejection {
    pub(super) fn new(code: u16, label: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, label, text: text.into(), warn_code: 399, retry_after_s: None, extra: Vec::new() }
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    fn warning(mut self, code: u16) -> Self {
        self.warn_code = code;
        self
    }

    pub(super) fn malformed(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "malformed", text)
    }

    pub(super) fn source_not_allowed() -> Self {
        Self::new(403, "source_not_allowed", "calls from this address are not accepted")
    }

    /// Who calls is to show who they are, in one of these ways (RFC 3261 §22.2).
    pub(super) fn unauthorized(challenges: Vec<String>) -> Self {
        let rejection = Self::new(401, "unauthorized", "a join token or an account is needed");
        challenges.into_iter().fold(rejection, |rejection, challenge| rejection.with("WWW-Authenticate", challenge))
    }

    pub(super) fn credentials() -> Self {
        Self::new(403, "credentials", "the credentials do not open this room")
    }

    /// Too many wrong credentials came from there.
    pub(super) fn slowed(seconds: u32) -> Self {
        Self::new(480, "credentials_slowed", "too many wrong credentials came from this address").retry_after(seconds)
    }

    pub(super) fn no_lobby() -> Self {
        Self::new(488, "no_lobby", "browsers call the number of a room; the lobby takes none")
    }

    /// A method we know and do not take here (RFC 3261 §8.2.1).
    pub(super) fn method_not_allowed() -> Self {
        Self::new(405, "method_not_allowed", "the method is not taken here").with("Allow", ALLOW)
    }

    /// A method we never heard of (RFC 3261 §21.5.2).
    pub(super) fn method_unknown() -> Self {
        Self::new(501, "method_unknown", "the method is not known").with("Allow", ALLOW)
    }

    pub(super) fn content_type() -> Self {
        Self::new(415, "content_type", "the body type is not taken here").with("Accept", ACCEPT)
    }

    pub(super) fn content_encoding() -> Self {
        Self::new(415, "content_encoding", "bodies are taken unencoded only").with("Accept-Encoding", "identity")
    }

    pub(super) fn info_type() -> Self {
        Self::new(415, "info_type", "INFO carries keys and wishes for a keyframe only")
            .with("Accept", INFO_TYPES.join(", "))
    }

    pub(super) fn uri_scheme() -> Self {
        Self::new(416, "uri_scheme", "only sip: addresses can be called")
    }

    /// `unsupported` is the list of option tags that we do not have (RFC 3261 §8.2.2.3).
    pub(super) fn extension(unsupported: String) -> Self {
        Self::new(420, "extension", "a required extension is not supported").with("Unsupported", unsupported)
    }

    pub(super) fn no_dialog() -> Self {
        Self::new(481, "no_dialog", "there is no such call")
    }

    pub(super) fn merged() -> Self {
        Self::new(482, "merged", "the request came here by two ways")
    }

    pub(super) fn max_forwards() -> Self {
        Self::new(483, "max_forwards", "Max-Forwards is used up")
    }

    pub(super) fn cancelled() -> Self {
        Self::new(487, "cancelled", "the caller cancelled")
    }

    pub(super) fn glare() -> Self {
        Self::new(491, "glare", "an offer is outstanding")
    }

    pub(super) fn out_of_order() -> Self {
        Self::new(500, "cseq", "the CSeq is lower than the last one")
    }

    pub(super) fn queue_full() -> Self {
        Self::new(500, "dialog_busy", "too many requests in this call").retry_after(1)
    }

    pub(super) fn panicked() -> Self {
        Self::new(500, "panic", "internal error")
    }

    pub(super) fn version() -> Self {
        Self::new(505, "version", "only SIP/2.0 is spoken")
    }

    pub(super) fn too_large() -> Self {
        Self::new(513, "too_large", "the message is too large")
    }

    pub(super) fn setup_limit() -> Self {
        Self::new(480, "setup_limit", "too many calls are being set up").retry_after(1)
    }

    pub(super) fn rate() -> Self {
        Self::new(480, "rate", "too many calls from this address").retry_after(1)
    }

    pub(super) fn overloaded() -> Self {
        Self::new(503, "overloaded", "too many transactions").retry_after(5)
    }

    pub(super) fn draining() -> Self {
        Self::new(503, "draining", "the server is draining").retry_after(60)
    }

    /// A decision took too long.
    pub(super) fn timed_out() -> Self {
        Self::new(503, "timed_out", "the server did not decide in time").retry_after(5)
    }

    /// Headers of the response. `agent` is our host, for `Warning` (RFC 3261 §20.43) beside `Reason` (RFC 3326).
    pub(super) fn headers(&self, agent: &str) -> Vec<Added> {
        let text = quoted(&self.text);
        let mut headers = vec![
            ("Reason", format!("SIP;cause={};text={text}", self.code)),
            ("Warning", format!("{} {agent} {text}", self.warn_code)),
        ];
        if let Some(seconds) = self.retry_after_s {
            headers.push(("Retry-After", seconds.to_string()));
        }
        headers.extend(self.extra.iter().cloned());
        headers
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        let label = refusal.label();
        let text = refusal.to_string();
        match refusal {
            Refusal::UnknownRoom(_) => Self::new(404, label, text),
            Refusal::RoomLocked | Refusal::PinClosed | Refusal::PinRequired | Refusal::PinWrong => {
                Self::new(403, label, text)
            }
            Refusal::BadOffer(_) | Refusal::NoBrowsers => Self::new(488, label, text),
            Refusal::NotStarted => Self::new(480, label, text),
            Refusal::MeetingOver => Self::new(480, label, text),
            Refusal::RoomFull(_) => Self::new(486, label, text),
            // 503 would make a PBX shun the whole node (RFC 3261 §21.5.4): a full one is temporarily unavailable.
            Refusal::ServerFull(_) | Refusal::ServerDisabled => Self::new(480, label, text).retry_after(30),
            Refusal::Draining => Self::new(503, label, text).retry_after(60),
            Refusal::Overloaded(_) => Self::new(503, label, text).retry_after(5),
            Refusal::Broken(_) => Self::new(500, label, text),
        }
    }
}

impl From<media::Error> for Rejection {
    fn from(error: media::Error) -> Self {
        let text = error.to_string();
        match error {
            media::Error::Refused(media::Refused::NoCommonCodec) => {
                Self::new(488, "no_common_codec", text).warning(305)
            }
            media::Error::Refused(media::Refused::NoAudio) => Self::new(488, "no_audio", text).warning(304),
            media::Error::Refused(media::Refused::UnusableAudio(_)) => Self::new(488, "unusable_audio", text),
            media::Error::Refused(_) => Self::new(480, "media_refused", text).retry_after(1),
            media::Error::Busy(_) => Self::new(503, "media_busy", text).retry_after(5),
            media::Error::Peer(_) => Self::new(400, "malformed_sdp", text),
            media::Error::Broken(_) => Self::new(500, "media_broken", text),
        }
    }
}

impl From<HangUp> for Rejection {
    /// Hung up before the call was answered.
    fn from(why: HangUp) -> Self {
        match why {
            HangUp::Draining => Self::new(503, why.label(), why.text()).retry_after(60),
            HangUp::MediaFailed => Self::new(500, why.label(), why.text()),
            HangUp::RemovedByOperator | HangUp::PinFailed | HangUp::PinClosed | HangUp::NoEntry => {
                Self::new(403, why.label(), why.text())
            }
            HangUp::MediaClosed
            | HangUp::RoomDestroyed
            | HangUp::MediaTimeout
            | HangUp::MeetingOver
            | HangUp::NotReached => Self::new(480, why.label(), why.text()),
        }
    }
}

/// The `Reason` of a BYE (RFC 3326).
pub(super) fn bye_reason(cause: u16, text: &str) -> Added {
    ("Reason", format!("SIP;cause={cause};text={}", quoted(text)))
}

/// A quoted-string of at most 200 characters, without what could leave it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()).take(200) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(headers: &'a [Added], name: &str) -> Option<&'a str> {
        headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn one_text_goes_into_reason_and_warning() {
        let headers = Rejection::from(media::Error::Refused(media::Refused::NoCommonCodec)).headers("192.0.2.1");
        assert_eq!(value(&headers, "Reason"), Some("SIP;cause=488;text=\"no audio codec in common\""));
        assert_eq!(value(&headers, "Warning"), Some("305 192.0.2.1 \"no audio codec in common\""));
    }

    #[test]
    fn text_from_a_caller_cannot_leave_its_quotes() {
        let r = Rejection::new(404, "x", "no room \"1\\\r\nVia: evil".to_owned());
        let headers = r.headers("h");
        assert_eq!(value(&headers, "Reason"), Some(r#"SIP;cause=404;text="no room \"1\\Via: evil""#));
    }

    #[test]
    fn media_errors_blame_the_right_side() {
        for (error, code) in [
            (media::Error::Refused(media::Refused::NoAudio), 488),
            (media::Error::Refused(media::Refused::UnknownRoom), 480),
            (media::Error::Busy("queue"), 503),
            (media::Error::Peer("no m= line".into()), 400),
            (media::Error::Broken("socket".into()), 500),
        ] {
            assert_eq!(Rejection::from(error).code, code);
        }
    }

    #[test]
    fn limits_ask_to_come_back_and_say_which_methods_go() {
        assert_eq!(value(&Rejection::setup_limit().headers("h"), "Retry-After"), Some("1"));
        assert_eq!(value(&Rejection::method_unknown().headers("h"), "Allow"), Some(ALLOW));
        assert_eq!(value(&Rejection::extension("100rel".into()).headers("h"), "Unsupported"), Some("100rel"));
        assert_eq!(value(&Rejection::content_type().headers("h"), "Accept"), Some(ACCEPT));
    }
}
