//! Mail as it is sent, looked at as text; `tests/invitations.rs` has it read by programs that others wrote.

use super::*;
use crate::config::MailSecurity;

pub(crate) fn config() -> MailConfig {
    MailConfig {
        host: "127.0.0.1".into(),
        port: 25,
        security: MailSecurity::None,
        ca_certificate: None,
        credentials: None,
        from: "\"Conferences, Inc.\" <conf@example.org>".parse().unwrap(),
        reply_to: None,
        dial_in: "+49 30 1234".into(),
        join_url: Some("https://conf.example.org/join/{extension}".into()),
        templates: None,
    }
}

pub(crate) fn letter() -> Letter {
    Letter {
        kind: Kind::New,
        uid: "7@example.org".into(),
        sequence: 3,
        written_at: "2030-07-01T10:00:00Z".parse().unwrap(),
        extension: "900".into(),
        subject: "Weekly".into(),
        pin: Some("13579".into()),
        start: Some("2030-07-21T17:30:00Z".parse().unwrap()),
        end: Some("2030-07-21T18:30:00Z".parse().unwrap()),
        timezone: Some("Europe/Berlin".into()),
        language: None,
        numbers: None,
        token: "secret-token".into(),
    }
}

fn mail(letter: &Letter) -> String {
    let templates = Templates::open(&config(), "en").unwrap();
    let mail = letter.mail(Id::from_raw(42), "bob@example.com", &config(), &templates).unwrap();
    String::from_utf8(mail.formatted()).unwrap()
}

fn entry(letter: &Letter) -> String {
    let text = calendar::entry(letter, &"bob@example.com".parse().unwrap(), &config(), "line one\nline; two").unwrap();
    // Unfolded (RFC 5545 §3.1).
    text.replace("\r\n ", "")
}

#[test]
fn the_calendar_entry_says_who_when_and_which_round() {
    let text = entry(&letter());
    for line in [
        "BEGIN:VCALENDAR",
        "METHOD:REQUEST",
        "UID:7@example.org",
        "SEQUENCE:3",
        "DTSTAMP:20300701T100000Z",
        "DTSTART:20300721T173000Z",
        "DTEND:20300721T183000Z",
        "SUMMARY:Weekly",
        "STATUS:CONFIRMED",
        "LOCATION:+49 30 1234",
        "URL:https://conf.example.org/join/900",
        "DESCRIPTION:line one\\nline\\; two",
        "ORGANIZER;CN=\"Conferences, Inc.\":mailto:conf@example.org",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("ATTENDEE;") && text.contains(":mailto:bob@example.com"), "{text}");
    let cancelled = entry(&Letter { kind: Kind::Withdraw, ..letter() });
    assert!(cancelled.contains("METHOD:CANCEL") && cancelled.contains("STATUS:CANCELLED"), "{cancelled}");
    let endless = entry(&Letter { end: None, ..letter() });
    assert!(endless.contains("DTEND:20300721T183000Z"), "{endless}");
}

#[test]
fn without_a_time_there_is_no_calendar_entry() {
    let text = mail(&Letter { start: None, end: None, ..letter() });
    assert!(!text.contains("text/calendar") && !text.contains("invite.ics") && text.contains("at any time"), "{text}");
}

#[test]
fn no_header_and_no_property_begins_in_what_people_wrote() {
    let evil = "Plan\r\nBcc: victim@example.net\r\n\r\nbody\u{85}\u{2028}x";
    let letter = Letter {
        subject: evil.into(),
        extension: evil.into(),
        numbers: Some("1\r\nATTENDEE:mailto:victim@example.net".into()),
        ..letter()
    };
    let text = mail(&letter);
    let headers = text.split("\r\n\r\n").next().unwrap();
    let names: Vec<&str> =
        headers.split("\r\n").filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(':').next()).collect();
    assert!(names.iter().all(|name| !name.eq_ignore_ascii_case("bcc")), "{headers}");
    assert_eq!(names.iter().filter(|name| **name == "Subject").count(), 1);
    let entry = entry(&letter);
    assert_eq!(entry.lines().filter(|line| line.starts_with("ATTENDEE")).count(), 1, "{entry}");
    assert_eq!(one_line(evil), "Plan Bcc: victim@example.net body x");
}

#[test]
fn the_same_letter_has_the_same_message_id_and_answers_go_where_they_should() {
    let (one, two) = (mail(&letter()), mail(&letter()));
    let id = "Message-ID: <42.3@example.org>";
    assert!(one.contains(id) && two.contains(id), "{one}");
    assert!(one.contains("Auto-Submitted: auto-generated"));
    assert!(one.contains("To: bob@example.com"));
    assert!(!one.contains("secret-token"));
    let templates = Templates::open(&config(), "en").unwrap();
    let with_reply = MailConfig { reply_to: Some("desk@example.org".parse().unwrap()), ..config() };
    let mail = letter().mail(Id::from_raw(42), "bob@example.com", &with_reply, &templates).unwrap().formatted();
    let mail = String::from_utf8(mail).unwrap();
    assert!(mail.contains("Reply-To: desk@example.org"), "{mail}");
    assert!(
        letter().mail(Id::from_raw(1), "nobody", &config(), &templates).unwrap_err().contains("the address is none")
    );
}

#[test]
fn a_letter_comes_back_as_it_was_kept_and_hides_its_pin() {
    assert_eq!(Letter::from_json(&letter().json()).unwrap(), letter());
    assert!(Letter::from_json("{}").is_err());
    assert!(!format!("{:?}", letter()).contains("13579"));
}
