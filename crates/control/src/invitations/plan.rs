//! Who is told what when a room changes. Pure; time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::rooms::RoomSettings;

/// A meeting without an end is taken to be this long.
pub(super) const USUAL_LENGTH: Duration = Duration::from_secs(3600);

/// Why somebody is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Is invited.
    New,
    /// What was told before has changed.
    Update,
    /// The meeting does not take place.
    Cancel,
    /// Is not invited any more.
    Withdraw,
}

impl Kind {
    /// Whether the meeting is to leave the recipient's calendar.
    pub(super) const fn is_cancelling(self) -> bool {
        matches!(self, Self::Cancel | Self::Withdraw)
    }
}

/// One letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned<'a> {
    /// Mail address.
    pub(super) recipient: String,
    /// Why.
    pub(super) kind: Kind,
    /// The room that it tells of.
    pub(super) settings: &'a RoomSettings,
}

/// What follows from a change: of nothing, when the room is new; to nothing, when it is gone. Nobody is told of a meeting
/// that is over. Those for whom nothing changes hear nothing, also when others are invited or not any more.
pub(super) fn plan<'a>(
    before: Option<&'a RoomSettings>,
    after: Option<&'a RoomSettings>,
    now: Timestamp,
) -> Vec<Planned<'a>> {
    let (told, invited) = (before.map(invitees).unwrap_or_default(), after.map(invitees).unwrap_or_default());
    let mut planned = Vec::new();
    if let Some(settings) = before.filter(|settings| !is_over(settings, now)) {
        let is_called_off = after.is_none_or(|after| has_start(settings) && !has_start(after));
        for recipient in &told {
            let kind = match (is_called_off, has(&invited, recipient)) {
                (true, _) => Kind::Cancel,
                (false, false) => Kind::Withdraw,
                (false, true) => continue,
            };
            planned.push(Planned { recipient: recipient.clone(), kind, settings });
        }
    }
    if let Some(settings) = after.filter(|settings| !is_over(settings, now)) {
        let changed = before.is_some_and(|before| is_news(before, settings));
        for recipient in &invited {
            let kind = match has(&told, recipient) {
                false => Kind::New,
                true if changed => Kind::Update,
                true => continue,
            };
            // Its time was called off, which is all that there is to say.
            if !planned.iter().any(|other| same(&other.recipient, recipient)) {
                planned.push(Planned { recipient: recipient.clone(), kind, settings });
            }
        }
    }
    planned
}

/// Everyone once, as written first.
fn invitees(settings: &RoomSettings) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let written = settings.external_invitees.as_deref().unwrap_or_default();
    for address in written.split(';').map(str::trim).filter(|address| !address.is_empty()) {
        if !has(&all, address) {
            all.push(address.to_owned());
        }
    }
    all
}

fn has(all: &[String], address: &str) -> bool {
    all.iter().any(|other| same(other, address))
}

/// Only the domain's case means nothing by the letter (RFC 5321 §2.4), but no mail server tells Bob from bob.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

const fn has_start(settings: &RoomSettings) -> bool {
    settings.scheduled_start_at.is_some()
}

/// When and where, as an invitee is told.
fn is_news(before: &RoomSettings, after: &RoomSettings) -> bool {
    let told = |settings: &RoomSettings| {
        let RoomSettings { extension_number, subject, room_pin, timezone, numbers, .. } = settings.clone();
        let times = (settings.scheduled_start_at, settings.scheduled_end_at);
        (extension_number, subject, room_pin, timezone, numbers, times)
    };
    told(before) != told(after)
}

fn is_over(settings: &RoomSettings, now: Timestamp) -> bool {
    let usual = settings.scheduled_start_at.and_then(|start| start.checked_add(USUAL_LENGTH).ok());
    settings.scheduled_end_at.or(usual).is_some_and(|end| end <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_900_000_000;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(NOW + seconds).unwrap())
    }

    fn room(invitees: &str, start: Option<Timestamp>) -> RoomSettings {
        RoomSettings {
            external_invitees: Some(invitees.to_owned()),
            scheduled_start_at: start,
            ..crate::rooms::testing::settings("900")
        }
    }

    /// `a: new, b: withdraw`
    fn told(before: Option<&RoomSettings>, after: Option<&RoomSettings>) -> String {
        let planned = plan(before, after, at(0).unwrap());
        let one = |p: &Planned<'_>| {
            let is_old = before.is_some_and(|before| std::ptr::eq(p.settings, before));
            assert_eq!(is_old, p.kind.is_cancelling());
            format!("{}: {:?}", p.recipient.split('@').next().unwrap(), p.kind).to_lowercase()
        };
        planned.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_new_room_invites_everyone_once() {
        assert_eq!(told(None, Some(&room("a@x.org; b@x.org;A@X.org;", at(60)))), "a: new, b: new");
        assert_eq!(told(None, Some(&room("a@x.org", None))), "a: new");
        assert_eq!(told(None, Some(&room("", at(60)))), "");
    }

    #[test]
    fn only_those_whom_a_change_concerns_are_told() {
        let before = room("a@x.org;b@x.org", at(60));
        let with = |change: fn(&mut RoomSettings)| {
            let mut after = before.clone();
            change(&mut after);
            told(Some(&before), Some(&after))
        };
        let all = "a: update, b: update";
        assert_eq!(with(|_| {}), "");
        assert_eq!(with(|r| r.capacity = 3), "");
        assert_eq!(with(|r| r.admin_pin = Some("999999".into())), "");
        assert_eq!(with(|r| r.subject = "Other".into()), all);
        assert_eq!(with(|r| r.room_pin = Some("777".into())), all);
        assert_eq!(with(|r| r.scheduled_start_at = at(90)), all);
        assert_eq!(with(|r| r.scheduled_end_at = at(9_000)), all);
        assert_eq!(with(|r| r.timezone = Some("Europe/Berlin".into())), all);
        assert_eq!(with(|r| r.numbers = Some("+1 555".into())), all);
        assert_eq!(with(|r| r.external_invitees = Some("B@x.org; c@x.org".into())), "a: withdraw, c: new");
        assert_eq!(with(|r| r.external_invitees = None), "a: withdraw, b: withdraw");
        let moved = with(|r| {
            r.external_invitees = Some("b@x.org; c@x.org".into());
            r.scheduled_start_at = at(90);
        });
        assert_eq!(moved, "a: withdraw, b: update, c: new");
    }

    #[test]
    fn a_meeting_that_loses_its_time_is_called_off() {
        let (with, without) = (room("a@x.org;b@x.org", at(60)), room("b@x.org;c@x.org", None));
        assert_eq!(told(Some(&with), Some(&without)), "a: cancel, b: cancel, c: new");
        assert_eq!(told(Some(&without), Some(&with)), "c: withdraw, a: new, b: update");
        assert_eq!(told(Some(&with), None), "a: cancel, b: cancel");
        assert_eq!(told(Some(&without), None), "b: cancel, c: cancel");
    }

    #[test]
    fn nobody_is_told_of_a_meeting_that_is_over() {
        let over = room("a@x.org", at(-3_600));
        let mut running = room("a@x.org", at(-3_599));
        assert_eq!(told(None, Some(&over)), "");
        assert_eq!(told(Some(&over), None), "");
        assert_eq!(told(Some(&running), None), "a: cancel");
        running.scheduled_end_at = at(-1);
        assert_eq!(told(Some(&running), None), "");
        assert_eq!(told(Some(&over), Some(&room("a@x.org", at(60)))), "a: update");
    }
}
