//! When a room's meeting begins and ends, and what that means for those who come. Pure; the time of day is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::{Refusal, RoomSettings};

/// A room's meeting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) starts: Option<Timestamp>,
    pub(super) ends: Option<Timestamp>,
    /// The room's own word on `rooms.close_at_end`.
    closes: Option<bool>,
    rules: Rules,
}

/// What the configuration says of meetings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long before the start people may come.
    pub early_join: Duration,
    /// Everyone is hung up on at the end.
    pub close_at_end: bool,
}

/// What has come, as time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The meeting begins.
    Start,
    /// Its end is told.
    End,
    /// Its end is told, and everyone is hung up on.
    Close,
}

impl Plan {
    pub(super) fn of(settings: &RoomSettings, rules: Rules) -> Self {
        let closes = settings.custom_options.as_deref().and_then(|text| {
            let options: serde_json::Value = serde_json::from_str(text).ok()?;
            options.get("close_at_end")?.as_bool()
        });
        Self { starts: settings.scheduled_start_at, ends: settings.scheduled_end_at, closes, rules }
    }

    /// Everyone is hung up on at the end.
    pub(super) fn closes(&self) -> bool {
        self.closes.unwrap_or(self.rules.close_at_end)
    }

    /// When people may come, if that is bound to a time.
    pub(super) fn opens_at(&self) -> Option<Timestamp> {
        self.starts.map(|starts| starts - self.rules.early_join)
    }

    /// Whether somebody may come now.
    pub(super) fn admits(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.starts.is_some_and(|starts| now < starts - self.rules.early_join) {
            return Err(Refusal::NotStarted);
        }
        if self.closes() && self.ends.is_some_and(|ends| now >= ends) {
            return Err(Refusal::MeetingOver);
        }
        Ok(())
    }

    /// What came between these moments, the later one included; in its order.
    pub(super) fn due(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Due> + use<> {
        let within = |at: Option<Timestamp>| at.filter(|at| *at > after && *at <= until);
        let start = within(self.starts).map(|_| Due::Start);
        let end = within(self.ends).map(|_| if self.closes() { Due::Close } else { Due::End });
        start.into_iter().chain(end)
    }

    /// The next moment at which something is due.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        [self.starts, self.ends].into_iter().flatten().filter(|at| *at > after).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::testing::settings;

    const RULES: Rules = Rules { early_join: Duration::from_secs(900), close_at_end: false };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn plan(options: Option<&str>, rules: Rules) -> Plan {
        let mut settings = settings("900");
        settings.scheduled_start_at = Some(at("2030-03-31T10:00:00Z"));
        settings.scheduled_end_at = Some(at("2030-03-31T11:00:00Z"));
        settings.custom_options = options.map(str::to_owned);
        Plan::of(&settings, rules)
    }

    #[test]
    fn people_may_come_early_but_not_too_early() {
        let plan = plan(None, RULES);
        assert_eq!(plan.admits(at("2030-03-31T09:44:59Z")), Err(Refusal::NotStarted));
        assert_eq!(plan.admits(at("2030-03-31T09:45:00Z")), Ok(()));
        assert_eq!(plan.admits(at("2030-03-31T12:00:00Z")), Ok(()), "late callers come in");
        assert_eq!(Plan::default().admits(at("2030-03-31T09:00:00Z")), Ok(()));
    }

    #[test]
    fn hard_end_is_the_rooms_word_before_the_configurations() {
        let late = at("2030-03-31T11:00:00Z");
        let hard = Rules { close_at_end: true, ..RULES };
        assert_eq!(plan(Some(r#"{"close_at_end":true}"#), RULES).admits(late), Err(Refusal::MeetingOver));
        assert_eq!(plan(None, hard).admits(late), Err(Refusal::MeetingOver));
        assert_eq!(plan(Some(r#"{"close_at_end":false}"#), hard).admits(late), Ok(()));
        assert_eq!(plan(Some(r#"{"close_at_end":"yes"}"#), RULES).admits(late), Ok(()), "no boolean is no word");
    }

    #[test]
    fn what_was_missed_is_due_once() {
        let plan = plan(None, RULES);
        let before = at("2030-03-31T09:00:00Z");
        let due = |after, until| plan.due(after, until).collect::<Vec<_>>();
        assert_eq!(due(before, at("2030-03-31T10:00:00Z")), [Due::Start]);
        assert_eq!(due(at("2030-03-31T10:00:00Z"), at("2030-03-31T10:59:59Z")), []);
        assert_eq!(due(before, at("2030-04-01T00:00:00Z")), [Due::Start, Due::End]);
        assert_eq!(plan.next(before), Some(at("2030-03-31T10:00:00Z")));
        assert_eq!(plan.next(at("2030-03-31T10:00:00Z")), Some(at("2030-03-31T11:00:00Z")));
        assert_eq!(plan.next(at("2030-03-31T11:00:00Z")), None);
    }
}
