//! Which kinds of events somebody wants: whole kinds, or the first word of kinds with its dot. Pure.

use super::event::Kind;

/// More patterns than there are kinds say nothing new.
const MAX_PATTERNS: usize = 64;

/// A choice of kinds; without a pattern, no choice was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types(Vec<String>);

impl Types {
    /// From patterns such as `room.started` and `participant.`; each must mean a kind that there is.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut types = Vec::new();
        for pattern in patterns.into_iter().map(str::trim) {
            let is_known = match pattern.strip_suffix('.') {
                Some(_) => Kind::WORDS.iter().any(|kind| kind.starts_with(pattern)),
                None => Kind::parse(pattern).is_some(),
            };
            if !is_known {
                let shown: String = pattern.chars().take(64).collect();
                return Err(format!(
                    "has an unknown type: {shown:?}; there are kinds such as room.started and prefixes such as participant."
                ));
            }
            if types.len() == MAX_PATTERNS {
                return Err(format!("has more than {MAX_PATTERNS} types"));
            }
            types.push(pattern.to_owned());
        }
        Ok(Self(types))
    }

    /// Back from `text`. What an older version knew and this one does not is passed over.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.split(',').filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect())
    }

    /// On one line, as the database keeps it.
    pub(crate) fn text(&self) -> String {
        self.0.join(",")
    }

    /// As written.
    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    /// Is it wanted?
    pub fn matches(&self, kind: &str) -> bool {
        let fits = |pattern: &String| kind == pattern || (pattern.ends_with('.') && kind.starts_with(pattern.as_str()));
        self.0.is_empty() || self.0.iter().any(fits)
    }

    /// The kinds that a webhook gets. Without a choice: all but those that come often and say little later. A test goes to
    /// the webhook that it is of, whatever that has chosen.
    pub(crate) fn for_webhook(&self) -> Vec<&'static str> {
        let is_wanted = |kind: &&str| match self.0.is_empty() {
            true => !Kind::parse(kind).is_some_and(Kind::is_passing),
            false => self.matches(kind),
        };
        Kind::WORDS.iter().copied().filter(is_wanted).filter(|kind| *kind != Kind::WebhookTest.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_prefixes_choose_and_anything_else_is_named() {
        let types = Types::parse(["room.started", " participant."]).unwrap();
        for (kind, wanted) in [
            ("room.started", true),
            ("room.ended", false),
            ("participant.joined", true),
            ("participants.joined", false),
            ("recording.started", false),
        ] {
            assert_eq!(types.matches(kind), wanted, "{kind}");
        }
        assert_eq!(Types::from_text(&types.text()), types);
        for wrong in ["", ".", "room", "room.start", "rooms.", "Room.started", "participant.*", "stream.gap"] {
            let refusal = Types::parse(["room.", wrong]).unwrap_err();
            assert!(refusal.contains(&format!("{wrong:?}")), "{refusal}");
        }
        assert!(Types::parse(vec!["room."; MAX_PATTERNS + 1]).is_err());
    }

    #[test]
    fn without_a_choice_a_webhook_gets_all_but_talking() {
        let all = Types::default();
        assert!(all.matches("participant.talking") && all.text().is_empty());
        let kinds = all.for_webhook();
        assert!(kinds.contains(&"participant.joined") && kinds.contains(&"events.lost"));
        assert!(!kinds.contains(&"participant.talking") && !kinds.contains(&"webhook.test"));
        let chosen = Types::parse(["participant.talking", "webhook."]).unwrap().for_webhook();
        assert_eq!(chosen, ["participant.talking"]);
    }
}
