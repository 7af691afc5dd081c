//! How a call of ours failed: one precise reason, for the participant's last state, the events and the log. Pure.

/// Why nobody answered. The texts are for people, the labels for metrics and events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// The callee speaks to somebody else (486, 600).
    #[error("busy")]
    Busy,
    /// It rang until the time was over, or the far end said so (408).
    #[error("no answer")]
    NoAnswer,
    /// Any other refusal, also a redirection, which we do not follow.
    #[error("rejected with {code} {reason}")]
    Rejected {
        /// 300–699.
        code: u16,
        /// The far end's words, or the standard ones.
        reason: String,
    },
    /// Our own rules are against it.
    #[error("not allowed: {0}")]
    NotAllowed(String),
    /// No name, no connection, no response.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The far end does not take our user and password, or wants some and there are none (401, 407).
    #[error("the far end does not accept our credentials")]
    NotAuthorised,
    /// Nothing in our offer suits the far end (488, 606), or we cannot use its answer.
    #[error("no common media: {0}")]
    NotAcceptable(String),
    /// We gave the call up.
    #[error("cancelled")]
    Cancelled,
    /// Our own fault.
    #[error("internal error: {0}")]
    Broken(String),
}

impl CallFailure {
    /// For metrics and events.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Rejected { .. } => "rejected",
            Self::NotAllowed(_) => "not_allowed",
            Self::Unreachable(_) => "unreachable",
            Self::NotAuthorised => "not_authorised",
            Self::NotAcceptable(_) => "not_acceptable",
            Self::Cancelled => "cancelled",
            Self::Broken(_) => "broken",
        }
    }

    /// The SIP status code that says the same, where one came or would have.
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Busy => Some(486),
            Self::NoAnswer => Some(408),
            Self::Rejected { code, .. } => Some(*code),
            Self::NotAuthorised => Some(401),
            Self::NotAcceptable(_) => Some(488),
            Self::Cancelled => Some(487),
            Self::NotAllowed(_) | Self::Unreachable(_) | Self::Broken(_) => None,
        }
    }

    /// What a final response of the far end means; `reason` is its phrase.
    pub(crate) fn of_response(code: u16, reason: &str) -> Self {
        match code {
            401 | 407 => Self::NotAuthorised,
            408 => Self::NoAnswer,
            486 | 600 => Self::Busy,
            488 | 606 => Self::NotAcceptable(format!("{code} {reason}")),
            _ => Self::Rejected { code, reason: reason.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_far_end_has_its_reason() {
        for (code, label, text) in [
            (486, "busy", "busy"),
            (600, "busy", "busy"),
            (408, "no_answer", "no answer"),
            (403, "rejected", "rejected with 403 Nope"),
            (302, "rejected", "rejected with 302 Nope"),
            (603, "rejected", "rejected with 603 Nope"),
            (407, "not_authorised", "the far end does not accept our credentials"),
            (488, "not_acceptable", "no common media: 488 Nope"),
        ] {
            let failure = CallFailure::of_response(code, "Nope");
            assert_eq!((failure.label(), failure.to_string().as_str()), (label, text));
        }
    }
}
