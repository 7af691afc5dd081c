//! Invitations by mail: a real mail server on loopback (aiosmtpd) keeps what comes, and Python's own mail parser and the
//! package `icalendar`, which nobody here wrote, read it.

use crate::support::setup;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use testkit::api::Api;
use testkit::ports;
use testkit::server::{Server, Setup, TempDir};
use testkit::wait;

const ROOMS: &str = "/api/conference_rooms";
/// A mail, from the change on: attempts that fail come again after seconds.
const SOON: Duration = Duration::from_secs(20);
const USER: &str = "conf";
const PASSWORD: &str = "correct horse battery";

/// The mail server. It ends with the test, as its standard input does.
struct Post {
    port: u16,
    dir: TempDir,
    child: Child,
    _input: ChildStdin,
}

impl Post {
    fn start(secured: &[&Path]) -> Self {
        let (port, dir) = (ports::one(), TempDir::new("mail"));
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/python"));
        command.args(["server.py", &port.to_string()]).arg(dir.path()).args(secured);
        if !secured.is_empty() {
            command.args([USER, PASSWORD]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash runs");
        let input = child.stdin.take().expect("a pipe");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut said).expect("it says when it is ready");
        assert_eq!(said.trim(), "ready", "the mail server does not start");
        Self { port, dir, child, _input: input }
    }

    fn busy(&self) -> PathBuf {
        self.dir.path().join("busy")
    }

    /// Everything that came so far, in its order.
    fn mail(&self) -> Vec<Value> {
        let entries = std::fs::read_dir(self.dir.path()).expect("our own directory");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| std::fs::read(path).expect("a file that was just listed");
        paths.iter().map(|path| serde_json::from_slice(&read(path)).expect("JSON")).collect()
    }

    /// Waits for so many mails in all; gives them by recipient, those after `known`.
    #[track_caller]
    fn wait(&self, known: usize, count: usize) -> Vec<(String, Value)> {
        let mail = wait::until(&format!("{count} mails"), SOON, || {
            let mail = self.mail();
            if mail.len() >= known + count { Ok(mail) } else { Err(format!("{} came", mail.len())) }
        });
        let mut new: Vec<(String, Value)> = mail.into_iter().skip(known).map(by_recipient).collect();
        assert_eq!(new.len(), count, "{new:#?}");
        new.sort_by(|a, b| a.0.cmp(&b.0));
        new
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        // Our own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn by_recipient(mail: Value) -> (String, Value) {
    assert_eq!(mail["error"], Value::Null, "{mail:#}");
    let recipients = mail["recipients"].as_array().expect("recipients");
    let [recipient] = recipients.as_slice() else { panic!("one mail, one recipient: {mail:#}") };
    (recipient.as_str().expect("an address").to_owned(), mail)
}

fn with_mail(post: &Post) -> Setup {
    setup()
        .env("CONCLAVE__MAIL__SMTP", &format!("smtp://127.0.0.1:{}", post.port))
        .env("CONCLAVE__MAIL__FROM", "\"Conferences, Inc.\" <conf@example.org>")
        .env("CONCLAVE__MAIL__DIAL_IN", "+49 30 1234")
        .env("CONCLAVE__MAIL__JOIN_URL", "https://conf.example.org/join/{extension}")
}

fn meeting(invitees: &str) -> Value {
    json!({
        "subject": "Weekly; with, all – Größe", "room_pin": "13579", "admin_pin": "246810", "timezone": "Europe/Berlin",
        "scheduled_start_at": "2040-07-21T17:30:00Z", "scheduled_end_at": "2040-07-21T18:30:00Z",
        "external_invitees": invitees,
    })
}

fn update(api: &Api, room: &str, change: &Value) {
    api.post(&format!("{ROOMS}/{room}"), change).expect(200);
}

/// Method, sequence and status of both calendar parts, which must be the same entry.
#[track_caller]
fn entry(mail: &Value) -> (&str, u64, &str) {
    let (calendar, file) = (&mail["calendar"], &mail["file"]);
    assert_eq!(calendar["content_method"], calendar["method"], "{mail:#}");
    for key in ["uid", "method", "sequence", "start", "end", "summary", "attendees"] {
        assert_eq!(calendar[key], file[key], "{key}: {mail:#}");
    }
    let text = |key: &str| calendar[key].as_str().unwrap_or_else(|| panic!("{key}: {mail:#}"));
    (text("method"), calendar["sequence"].as_u64().expect("a number"), text("status"))
}

#[test]
fn a_meetings_life_is_told_to_those_whom_it_concerns() {
    let post = Post::start(&[]);
    let server = with_mail(&post).start();
    let api = server.api();
    let room = api.create_room_with("900", 9, &meeting("alice@example.com; bob@example.com"));
    let invited = post.wait(0, 2);
    assert_eq!(
        invited.iter().map(|(who, _)| who.as_str()).collect::<Vec<_>>(),
        ["alice@example.com", "bob@example.com"]
    );
    for (who, mail) in &invited {
        assert_eq!(entry(mail), ("REQUEST", 0, "CONFIRMED"));
        let calendar = &mail["calendar"];
        assert_eq!(calendar["start"], "2040-07-21T17:30:00+00:00");
        assert_eq!(calendar["end"], "2040-07-21T18:30:00+00:00");
        assert_eq!(calendar["summary"], "Weekly; with, all – Größe");
        assert_eq!(calendar["location"], "+49 30 1234");
        assert_eq!(calendar["url"], "https://conf.example.org/join/900");
        assert_eq!(calendar["organizer"], "mailto:conf@example.org");
        assert_eq!(calendar["organizer_name"], "Conferences, Inc.");
        assert_eq!(calendar["attendees"], json!([format!("mailto:{who}")]));
        assert_eq!(calendar["version"], "2.0");
        assert_eq!(mail["sender"], "conf@example.org");
        assert_eq!(mail["file_name"], "invite.ics");
        assert_eq!(
            mail["structure"],
            json!([
                "multipart/mixed",
                "multipart/alternative",
                "text/plain",
                "text/html",
                "text/calendar",
                "application/ics"
            ])
        );
        let headers = &mail["headers"];
        assert_eq!(headers["Subject"], json!(["Invitation: Weekly; with, all – Größe"]));
        assert_eq!(headers["To"], json!([who]));
        assert_eq!(headers["Auto-Submitted"], json!(["auto-generated"]));
        for text in [&mail["plain"], &mail["html"], &calendar["description"]] {
            // The HTML's slashes are escaped.
            let text = text.as_str().expect("text").replace("&#x2f;", "/");
            for part in
                ["Saturday, 21 July 2040, 19:30–20:30 (Europe/Berlin, UTC+02:00)", "900", "13579", "+49 30 1234"]
            {
                assert!(text.contains(part), "{part} is not in\n{text}");
            }
            assert!(!text.contains("246810"), "the admin PIN is nobody's business");
        }
    }
    let uid = invited[0].1["calendar"]["uid"].clone();
    let is_sent = |event: &Value| event["type"] == "invitation.sent" && event["data"]["recipient"] == "bob@example.com";
    api.events_until(&room, is_sent);

    // What they are not told of.
    update(&api, &room, &json!({"capacity": 5, "admin_pin": "111111"}));
    update(&api, &room, &json!({"subject": "Monthly"}));
    for (_, mail) in post.wait(2, 2) {
        assert_eq!(entry(&mail), ("REQUEST", 1, "CONFIRMED"));
        assert_eq!((&mail["calendar"]["uid"], &mail["calendar"]["summary"]), (&uid, &json!("Monthly")));
        assert_eq!(mail["headers"]["Subject"], json!(["Changed: Monthly"]));
    }

    // Only those whom it concerns: Bob stays as he is.
    update(&api, &room, &json!({"external_invitees": "bob@example.com; carol@example.com"}));
    let told = post.wait(4, 2);
    assert_eq!((told[0].0.as_str(), entry(&told[0].1)), ("alice@example.com", ("CANCEL", 2, "CANCELLED")));
    assert_eq!((told[1].0.as_str(), entry(&told[1].1)), ("carol@example.com", ("REQUEST", 2, "CONFIRMED")));
    assert!(told[0].1["plain"].as_str().expect("text").contains("no longer invited"));

    api.act(&format!("{ROOMS}/{room}/destroy")).expect(204);
    let told = post.wait(6, 2);
    assert_eq!(told.iter().map(|(who, _)| who.as_str()).collect::<Vec<_>>(), ["bob@example.com", "carol@example.com"]);
    for (_, mail) in &told {
        assert_eq!(entry(mail), ("CANCEL", 3, "CANCELLED"));
        assert_eq!(mail["calendar"]["uid"], uid);
        assert!(!mail["plain"].as_str().expect("text").contains("13579"));
    }
    let events = api.events_until(&room, |event| event["type"] == "invitation.sent" && event["data"]["sequence"] == 3);
    assert!(events.iter().all(|event| event["type"] != "invitation.failed"), "{events:#?}");
    // The last of them is counted when the mail server has said that it has it.
    wait::until("eight are counted", SOON, || match api.metric(&["conclave_invitations_total", "sent"]) {
        sent if (8.0..9.0).contains(&sent) => Ok(()),
        sent => Err(sent.to_string()),
    });
}

#[test]
fn a_room_invites_in_its_language_and_without_a_time_too() {
    let post = Post::start(&[]);
    let server = with_mail(&post).start();
    let api = server.api();
    let mut german = meeting("dora@example.com");
    german["language"] = "de-AT".into();
    german["numbers"] = "+43 1 555, +41 44 555".into();
    api.create_room_with("901", 9, &german);
    let (_, mail) = post.wait(0, 1).remove(0);
    assert_eq!(mail["headers"]["Subject"], json!(["Einladung: Weekly; with, all – Größe"]));
    let text = mail["plain"].as_str().expect("text");
    assert!(text.contains("Samstag, 21. Juli 2040") && text.contains("+43 1 555, +41 44 555"), "{text}");

    let room = api.create_room_with("902", 9, &json!({"external_invitees": "erik@example.com"}));
    let (_, mail) = post.wait(1, 1).remove(0);
    assert_eq!(mail["structure"], json!(["multipart/alternative", "text/plain", "text/html"]));
    assert!(mail["plain"].as_str().expect("text").contains("at any time"));
    update(&api, &room, &json!({"scheduled_start_at": "2040-01-01T00:00:00Z"}));
    assert_eq!(entry(&post.wait(2, 1)[0].1), ("REQUEST", 1, "CONFIRMED"));
    update(&api, &room, &json!({"scheduled_start_at": null}));
    assert_eq!(entry(&post.wait(3, 1)[0].1), ("CANCEL", 2, "CANCELLED"));
}

#[test]
fn nothing_that_people_write_becomes_a_header_or_a_recipient() {
    let post = Post::start(&[]);
    let server = with_mail(&post).start();
    let api = server.api();
    let evil = "Plan\r\nBcc: victim@example.net\r\n\r\n<b>gotcha</b>";
    let mut room = meeting("alice@example.com");
    room["subject"] = evil.into();
    room["numbers"] = "1\r\nATTENDEE:mailto:victim@example.net\r\nEND:VCALENDAR".into();
    api.create_room_with("903", 9, &room);
    let (who, mail) = post.wait(0, 1).remove(0);
    assert_eq!(who, "alice@example.com");
    assert_eq!(entry(&mail), ("REQUEST", 0, "CONFIRMED"));
    let headers = mail["headers"].as_object().expect("headers");
    assert!(headers.keys().all(|name| !name.eq_ignore_ascii_case("bcc")), "{headers:#?}");
    assert_eq!(headers["Subject"].as_array().expect("subjects").len(), 1);
    assert_eq!(mail["calendar"]["attendees"], json!(["mailto:alice@example.com"]));
    assert!(!mail["html"].as_str().expect("text").contains("<b>"));
    let invitees = "a@example.com\r\nBcc: b@example.com";
    let room = json!({
        "extension_number": "904", "mode": "AUDIO", "subject": "x", "capacity": 1, "external_invitees": invitees
    });
    api.post(ROOMS, &room).refused(400, "VALIDATE_FAILED");
}

#[test]
fn mail_trouble_never_is_the_apis_and_what_waits_survives_a_crash() {
    let post = Post::start(&[]);
    std::fs::write(post.busy(), "").expect("our own directory");
    let mut server: Server = with_mail(&post).start();
    let api = server.api();
    let room = api.create_room_with("905", 9, &meeting("nobody@example.com; alice@example.com"));
    let failed = |event: &Value| event["type"] == "invitation.failed";
    let events = api.events_until(&room, failed);
    let data = &events.last().expect("the one")["data"];
    assert_eq!((&data["recipient"], &data["method"]), (&json!("nobody@example.com"), &json!("REQUEST")));
    assert!(data["reason"].as_str().is_some_and(|reason| reason.contains("no such user")), "{data}");
    wait::until_true("a failed attempt", SOON, || api.metric(&["conclave_invitations_total", "failed"]) >= 1.0);
    wait::until_true("a letter that waits", SOON, || api.metric(&["conclave_invitations_waiting"]) >= 1.0);

    server.kill();
    std::fs::remove_file(post.busy()).expect("our own file");
    server.restart();
    let (who, mail) = post.wait(0, 1).remove(0);
    assert_eq!((who.as_str(), entry(&mail)), ("alice@example.com", ("REQUEST", 0, "CONFIRMED")));
    server.api().events_until(&room, |event| event["type"] == "invitation.sent");
    wait::until_true("nothing waits", SOON, || server.api().metric(&["conclave_invitations_waiting"]) == 0.0);
    let log = server.log();
    assert!(!log.contains("13579"), "a PIN is in the log");
}

#[test]
fn mail_goes_over_starttls_with_a_password() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let dir = TempDir::new("mail-tls");
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).expect("a file");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("a file");
    let post = Post::start(&[&certificate, &key]);
    let secured = with_mail(&post)
        .env("CONCLAVE__MAIL__SMTP", &format!("smtp+starttls://127.0.0.1:{}", post.port))
        .env("CONCLAVE__MAIL__USER", USER)
        .env("CONCLAVE__MAIL__PASSWORD", PASSWORD);
    // A certificate that nobody vouches for is not taken.
    let stranger = secured.clone().start();
    stranger.api().create_room_with("906", 9, &meeting("alice@example.com"));
    wait::until_true("a failed attempt", SOON, || {
        stranger.api().metric(&["conclave_invitations_total", "failed"]) >= 1.0
    });
    assert!(post.mail().is_empty());
    drop(stranger);

    let path = certificate.display().to_string();
    let server = secured.env("CONCLAVE__MAIL__CA_CERTIFICATE", &path).start();
    server.api().create_room_with("906", 9, &meeting("alice@example.com"));
    let (_, mail) = post.wait(0, 1).remove(0);
    assert_eq!(entry(&mail), ("REQUEST", 0, "CONFIRMED"));
    assert!(!server.log().contains(PASSWORD));
}
