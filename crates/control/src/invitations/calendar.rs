//! The calendar entry of a meeting (RFC 5545), as the organizer sends it (iTIP, RFC 5546). Pure.
//!
//! Times are UTC. Outlook, Google and Apple all take them and show them in the reader's own zone; a meeting is one entry, so
//! that no rule of a zone is needed, and a VTIMEZONE of ours that disagrees with the reader's cannot move it.

use icalendar::{Calendar, Component, Event, EventLike, Property};
use jiff::Timestamp;
use lettre::Address;

use super::letter::{Letter, one_line};
use super::plan::USUAL_LENGTH;
use crate::config::MailConfig;

/// What we are, for those who look for a culprit (RFC 5545 §3.7.3).
const PRODUCT: &str = "-//Conclave//Conference server//EN";

/// The entry for one recipient; `None` without a time. Others who are invited are not named in it: people outside do not learn
/// of each other from us.
pub(super) fn entry(letter: &Letter, recipient: &Address, config: &MailConfig, description: &str) -> Option<String> {
    let start = letter.start?;
    let end = letter.end.unwrap_or_else(|| start.saturating_add(USUAL_LENGTH).unwrap_or(Timestamp::MAX));
    let is_cancelled = letter.kind.is_cancelling();
    let organizer = config.reply_to.as_ref().unwrap_or(&config.from);
    let mut event = Event::new();
    event
        .uid(&letter.uid)
        .sequence(letter.sequence)
        .add_property("DTSTAMP", utc(letter.written_at))
        .add_property("DTSTART", utc(start))
        .add_property("DTEND", utc(end))
        .summary(&one_line(&letter.subject))
        .description(&plain(description))
        .add_property("STATUS", if is_cancelled { "CANCELLED" } else { "CONFIRMED" })
        .add_property("TRANSP", "OPAQUE");
    let numbers = one_line(letter.dial_in(config));
    if !numbers.is_empty() {
        event.location(&numbers);
    }
    if let Some(url) = letter.join_url(config) {
        event.url(&url);
    }
    let mut organized_by = Property::new("ORGANIZER", format!("mailto:{}", organizer.email));
    if let Some(name) = &organizer.name {
        organized_by.add_parameter("CN", &parameter(name));
    }
    event.append_property(organized_by.done());
    // Nobody reads the answers: the server does not ask for them.
    let attendee = Property::new("ATTENDEE", format!("mailto:{recipient}"))
        .add_parameter("ROLE", "REQ-PARTICIPANT")
        .add_parameter("PARTSTAT", "NEEDS-ACTION")
        .add_parameter("RSVP", "FALSE")
        .done();
    event.append_multi_property(attendee);
    let mut calendar = Calendar::empty();
    calendar.append_property(("VERSION", "2.0"));
    calendar.append_property(("PRODID", PRODUCT));
    calendar.append_property(("CALSCALE", "GREGORIAN"));
    calendar.append_property(("METHOD", letter.method()));
    calendar.push(event.done());
    Some(calendar.to_string())
}

/// `20300721T173228Z` (RFC 5545 §3.3.5, form 2).
fn utc(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Lines stay; other control characters have no place in a text (RFC 5545 §3.3.11).
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

/// Quotation marks cannot be written in a parameter (RFC 5545 §3.2).
fn parameter(text: &str) -> String {
    one_line(text).replace('"', "'")
}
