//! What a caller hears before and in a conference, and what keys do: PINs, the lobby, the chairman, words to those who are
//! not let in. What is said is found in what the phone heard by correlation with the prompt's own sound.

use crate::support::{SOON, h264, reason_of, setup, shower, talker, video_room, wait_participants};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::api::Api;
use testkit::baresip::Baresip;
use testkit::correlate::{find, sound_file};
use testkit::dtmf::Style;
use testkit::phone::{Phone, TONE_DB};
use testkit::picture::Colour;
use testkit::rtp_peer::{PeerConfig, RtpPeer};
use testkit::sdp::{Codec, Described};
use testkit::server::Server;
use testkit::sip_ua::{Call, Invite, SipUa, Transport};
use testkit::sipp::{Counted, Run};
use testkit::{tone, wait};

/// Longest that a prompt is waited for: a welcome with its digits comes before some.
const HEARD_WITHIN: Duration = Duration::from_secs(15);
/// G.711 alone is above 0.99; over the mix's ducked sound it is less.
const LIKENESS: f64 = 0.6;
/// As much of a prompt is looked for.
const LOOKED_FOR_S: f64 = 1.0;

/// The start of a prompt's sound, from its first word on.
fn sound(language: &str, name: &str, rate_hz: u32) -> Vec<i16> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "crates/control/prompts", language, &format!("{name}.opus")].iter().collect();
    let mut pcm = sound_file(&path, rate_hz);
    pcm.truncate((LOOKED_FOR_S * f64::from(rate_hz)) as usize);
    pcm
}

/// Waits until the phone has heard this prompt since it last forgot.
#[track_caller]
fn hears_prompt(peer: &RtpPeer, language: &str, name: &str) {
    let deadline = Instant::now() + HEARD_WITHIN;
    let reference = sound(language, name, peer.rate_hz());
    loop {
        let heard = peer.heard();
        let found = find(&heard.pcm, &reference);
        if found.is_some_and(|found| found.likeness > LIKENESS) {
            return;
        }
        assert!(Instant::now() < deadline, "{language}/{name} is not in {} samples: {found:?}", heard.pcm.len());
        let _more = peer.listen(500);
    }
}

fn dial(server: &Server, extension: &str, name: &str) -> Phone {
    Phone::dial(server.sip_address(), extension, name, Codec::Pcmu).expect("the call is answered")
}

fn press(phone: &Phone, keys: &str) {
    phone.peer.press(keys, Style::NORMAL);
}

/// Waits until the only participant whose name holds `name` has this in this field.
#[track_caller]
fn wait_field(api: &Api, room: &str, name: &str, field: &str, value: &Value) {
    wait::until(&format!("{name}'s {field} {value}"), SOON, || {
        let all = api.participants(room);
        let found = all.iter().find(|p| p["display_name"].as_str().is_some_and(|n| n.contains(name)));
        match found {
            Some(found) if &found[field] == value => Ok(()),
            _ => Err(format!("{all:?}")),
        }
    });
}

#[track_caller]
fn wait_status(api: &Api, room: &str, field: &str, value: &Value) {
    wait::until(&format!("the room's {field} {value}"), SOON, || {
        let status = api.get(&format!("/api/conference_rooms/{room}/status")).expect(200).json();
        if &status[field] == value { Ok(()) } else { Err(status.to_string()) }
    });
}

/// A caller who takes part: past the welcome.
#[track_caller]
fn joined(server: &Server, room: &str, extension: &str, name: &str) -> Phone {
    let phone = dial(server, extension, name);
    press(&phone, "#");
    wait_field(&server.api(), room, name, "state", &json!("JOINED"));
    phone
}

#[test]
fn right_pin_opens_the_room_and_keys_are_not_heard_there() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234", "enable_prompt": true}));
    let alice = dial(&server, "900", "alice");
    wait_field(&api, &room, "alice", "state", &json!("IN_MENU"));
    hears_prompt(&alice.peer, "en", "welcome");
    hears_prompt(&alice.peer, "en", "enter-pin");
    press(&alice, "1234#");
    wait_field(&api, &room, "alice", "state", &json!("JOINED"));
    hears_prompt(&alice.peer, "en", "alone");
    let bob = dial(&server, "900", "bob");
    press(&bob, "1234");
    // A pause of three seconds ends it too.
    wait_field(&api, &room, "bob", "state", &json!("JOINED"));
    alice.say(500.0);
    bob.hears(&[500.0], &[]);
}

#[test]
fn three_wrong_pins_end_the_call_with_a_goodbye() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234", "enable_prompt": true}));
    let alice = dial(&server, "900", "alice");
    for _ in 0..2 {
        press(&alice, "99#");
        hears_prompt(&alice.peer, "en", "wrong-pin");
        alice.peer.forget();
    }
    press(&alice, "99#");
    hears_prompt(&alice.peer, "en", "too-many-tries");
    hears_prompt(&alice.peer, "en", "goodbye");
    let bye = alice.call.wait_bye(HEARD_WITHIN).expect("a BYE");
    assert!(reason_of(&bye).contains("no right PIN"), "{}", reason_of(&bye));
    wait_participants(&api, &room, 0);
    let events = api.events_until(&room, |event| event["type"] == "room.pin_rejected");
    assert!(!events.iter().any(|event| event["type"] == "participant.joined"));
    let ended = api.metric(&["participants_left", "pin_failed"]);
    assert!(ended > 0.5, "{ended} calls ended for their PINs");
}

#[test]
fn many_wrong_pins_close_the_entry_for_the_source() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234", "enable_prompt": true}));
    for _ in 0..3 {
        let guesser = dial(&server, "900", "mallory");
        press(&guesser, "1#");
        press(&guesser, "2#");
        press(&guesser, "3#");
        guesser.call.wait_bye(HEARD_WITHIN).expect("a BYE");
    }
    let events = api.events_until(&room, |event| event["data"]["closed"] == "SOURCE");
    assert_eq!(events.iter().filter(|event| event["type"] == "room.pin_rejected").count(), 9);
    let (peer, call, _ua) = refused(&server, "900", "mallory");
    hears_prompt(&peer, "en", "pin-blocked");
    let outcome = call.outcome().expect("a final response");
    assert_eq!(outcome.code(), 403);
    assert!(reason_of(&outcome).contains("no PINs"), "{}", reason_of(&outcome));
}

/// A call that is refused after a word: its early media, the call, and the phone, which has to be kept.
#[track_caller]
fn refused(server: &Server, extension: &str, name: &str) -> (RtpPeer, Call, SipUa) {
    let ua = SipUa::new(name, Transport::Udp, server.sip_address());
    let mut peer = RtpPeer::bind(PeerConfig::new(&[Codec::Pcmu]));
    let call = ua.invite(&Invite::new(extension, &peer.offer().to_sdp()));
    let progress = call.provisional(183).expect("early media");
    let sdp = String::from_utf8_lossy(&progress.body).into_owned();
    peer.follow(Described::parse(&sdp).expect("an answer")).expect("a good answer");
    (peer, call, ua)
}

#[test]
fn who_is_not_let_in_hears_why_before_the_code() {
    let server = setup().start();
    let api = server.api();
    let spoken = json!({"enable_prompt": true});
    let locked = api.create_room_with("900", 10, &spoken);
    api.act(&format!("/api/conference_rooms/{locked}/lock")).expect(200);
    let full = api.create_room_with("901", 1, &spoken);
    let _inside = joined(&server, &full, "901", "first");
    api.create_room_with(
        "902",
        10,
        &json!({"enable_prompt": true, "scheduled_start_at": "2090-01-01T00:00:00Z",
        "scheduled_end_at": "2090-01-01T01:00:00Z", "language": "de"}),
    );
    for (extension, language, prompt, code) in
        [("900", "en", "locked", 403), ("901", "en", "full", 486), ("902", "de", "not-started", 480)]
    {
        let (peer, call, _ua) = refused(&server, extension, "late");
        hears_prompt(&peer, language, prompt);
        assert_eq!(call.outcome().expect("a final response").code(), code, "{extension}");
    }
    // Without prompts the code comes alone.
    let silent = api.create_room("903", 10);
    api.act(&format!("/api/conference_rooms/{silent}/lock")).expect(200);
    let ua = SipUa::new("late", Transport::Udp, server.sip_address());
    let call = ua.invite(&Invite::new("903", &RtpPeer::bind(PeerConfig::new(&[Codec::Pcmu])).offer().to_sdp()));
    assert_eq!(call.outcome().expect("a final response").code(), 403);
    assert!(!call.responses().iter().any(|response| response.code() == 183));
}

#[test]
fn admin_pin_makes_the_chairman_at_the_door_and_inside() {
    let server = setup().start();
    let api = server.api();
    let pins = json!({"room_pin": "1234", "admin_pin": "9876", "enable_prompt": true});
    let room = api.create_room_with("900", 10, &pins);
    let alice = dial(&server, "900", "alice");
    press(&alice, "9876#");
    wait_field(&api, &room, "alice", "chairman", &json!(true));
    hears_prompt(&alice.peer, "en", "you-are-chairman");
    let bob = dial(&server, "900", "bob");
    press(&bob, "1234#");
    wait_field(&api, &room, "bob", "state", &json!("JOINED"));
    press(&bob, "*81111#");
    hears_prompt(&bob.peer, "en", "wrong-pin");
    press(&bob, "*89876#");
    wait_field(&api, &room, "bob", "chairman", &json!(true));
    wait_field(&api, &room, "alice", "chairman", &json!(false));
    hears_prompt(&alice.peer, "en", "no-longer-chairman");
}

#[test]
fn keys_of_a_participant_do_what_they_say() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"enable_prompt": true}));
    let alice = joined(&server, &room, "900", "alice");
    let bob = joined(&server, &room, "900", "bob");
    press(&alice, "*6");
    wait_field(&api, &room, "alice", "muted", &json!(true));
    hears_prompt(&alice.peer, "en", "muted");
    press(&alice, "*6");
    wait_field(&api, &room, "alice", "muted", &json!(false));
    hears_prompt(&alice.peer, "en", "unmuted");
    press(&alice, "*9");
    hears_prompt(&alice.peer, "en", "head-count");
    press(&alice, "*0");
    hears_prompt(&alice.peer, "en", "menu");
    press(&alice, "*5");
    hears_prompt(&alice.peer, "en", "chairman-only");
    wait_status(&api, &room, "locked", &json!(false));
    // Volume: three decibels a key.
    alice.say(500.0);
    bob.hears(&[500.0], &[]);
    press(&bob, "*4");
    hears_prompt(&bob.peer, "en", "quieter");
    press(&bob, "*4");
    let softer = tone::Expectation { present: vec![500.0], absent: vec![], level_db: TONE_DB - 6.0, tolerance_db: 1.5 };
    bob.hears_as(&softer);
    press(&bob, "*7");
    press(&bob, "*7");
    press(&bob, "*7");
    hears_prompt(&bob.peer, "en", "louder");
    let louder = tone::Expectation { level_db: TONE_DB + 3.0, ..softer };
    bob.hears_as(&louder);
}

#[test]
fn keys_of_the_chairman_lead_the_room() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"admin_pin": "9876", "enable_prompt": true}));
    let alice = joined(&server, &room, "900", "alice");
    let bob = joined(&server, &room, "900", "bob");
    press(&alice, "*89876#");
    wait_field(&api, &room, "alice", "chairman", &json!(true));
    press(&alice, "*5");
    wait_status(&api, &room, "locked", &json!(true));
    hears_prompt(&alice.peer, "en", "room-locked");
    press(&alice, "*5");
    wait_status(&api, &room, "locked", &json!(false));
    press(&alice, "*3");
    wait_field(&api, &room, "bob", "muted", &json!(true));
    wait_field(&api, &room, "alice", "muted", &json!(false));
    hears_prompt(&bob.peer, "en", "room-muted");
    // In a muted room the key raises the hand.
    press(&bob, "*6");
    wait_field(&api, &room, "bob", "hand_raised", &json!(true));
    hears_prompt(&bob.peer, "en", "hand-raised");
    press(&bob, "*6");
    wait_field(&api, &room, "bob", "hand_raised", &json!(false));
    press(&alice, "*3");
    wait_field(&api, &room, "bob", "muted", &json!(false));
    press(&alice, "*2");
    wait_status(&api, &room, "recording", &json!(true));
    hears_prompt(&bob.peer, "en", "recording-started");
    press(&alice, "*2");
    wait_status(&api, &room, "recording", &json!(false));
    hears_prompt(&bob.peer, "en", "recording-stopped");
    press(&alice, "*1");
    hears_prompt(&alice.peer, "en", "enter-number");
    // There is no trunk.
    press(&alice, "123#");
    wait_participants(&api, &room, 2);
}

#[test]
fn led_room_waits_with_music_until_the_chairman_comes() {
    let server = setup().start();
    let api = server.api();
    let led = json!({"control": "MASTER", "admin_pin": "9876", "enable_prompt": true});
    let room = api.create_room_with("900", 10, &led);
    let alice = dial(&server, "900", "alice");
    press(&alice, "#");
    wait_field(&api, &room, "alice", "state", &json!("WAITING"));
    hears_prompt(&alice.peer, "en", "chairman-missing");
    let bob = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    press(&bob, "#");
    wait_field(&api, &room, "bob", "state", &json!("WAITING"));
    // Music, and not each other.
    alice.peer.listen(3000).expect("sound");
    alice.peer.forget();
    let music = alice.peer.listen(2000).expect("sound");
    let level = tone::rms_db(&music);
    assert!(level > -50.0, "no music: {level:.1} dB");
    assert!(tone::level(&music, 8000, 900.0) < TONE_DB - tone::ABSENT_DB, "those who wait hear each other");
    press(&alice, "*89876#");
    wait_field(&api, &room, "alice", "state", &json!("JOINED"));
    wait_field(&api, &room, "bob", "state", &json!("JOINED"));
    hears_prompt(&bob.peer, "en", "chairman-arrived");
    // Newcomers are muted until they are given the word; the chairman is not.
    wait_field(&api, &room, "bob", "muted", &json!(true));
    wait_field(&api, &room, "alice", "muted", &json!(false));
    let id = api.participant(&room, "bob");
    api.act(&format!("/api/conference_rooms/{room}/participants/{id}/unmute")).expect(200);
    alice.hears(&[900.0], &[]);
    // The chairman goes; who is here goes on, who comes waits.
    alice.hang_up();
    hears_prompt(&bob.peer, "en", "chairman-left");
    let carol = dial(&server, "900", "carol");
    press(&carol, "#");
    wait_field(&api, &room, "carol", "state", &json!("WAITING"));
    let id = api.participant(&room, "carol");
    api.act(&format!("/api/conference_rooms/{room}/participants/{id}/chairman")).expect(200);
    wait_field(&api, &room, "carol", "state", &json!("JOINED"));
    carol.hears(&[900.0], &[]);
}

#[test]
fn lobby_leads_to_the_room_whose_extension_is_keyed() {
    let server = setup().env("CONCLAVE__ROOMS__LOBBY_NUMBER", "100").start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234", "enable_prompt": true}));
    let alice = dial(&server, "100", "alice");
    hears_prompt(&alice.peer, "en", "enter-extension");
    press(&alice, "555#");
    hears_prompt(&alice.peer, "en", "unknown-extension");
    press(&alice, "900#");
    hears_prompt(&alice.peer, "en", "enter-pin");
    press(&alice, "1234#");
    wait_field(&api, &room, "alice", "state", &json!("JOINED"));
    alice.hang_up();
    wait_participants(&api, &room, 0);
    assert!(api.metric(&["conclave_rooms_active"]) < 0.5);
}

#[test]
fn silent_room_asks_for_its_pin_with_a_tone() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234"}));
    let alice = dial(&server, "900", "alice");
    wait::until("a tone", SOON, || {
        let pcm = alice.peer.listen(300)?;
        let level = tone::rms_db(&pcm);
        if level > -40.0 { Ok(()) } else { Err(format!("{level:.1} dB")) }
    });
    press(&alice, "1234#");
    wait_field(&api, &room, "alice", "state", &json!("JOINED"));
}

#[test]
fn every_language_asks_in_its_own_words() {
    let server = setup().start();
    let api = server.api();
    for (at, language) in ["en", "zh", "es", "fr", "de", "it", "pt", "ru", "ja"].iter().enumerate() {
        let extension = format!("90{at}");
        // A region falls back to its language.
        let written = if *language == "zh" { "zh-HK" } else { language };
        api.create_room_with(&extension, 10, &json!({"room_pin": "1234", "enable_prompt": true, "language": written}));
        let phone = dial(&server, &extension, "caller");
        hears_prompt(&phone.peer, language, "enter-pin");
        phone.hang_up();
    }
}

#[test]
fn meeting_ends_with_a_word_and_where_it_is_set_so_for_all() {
    let server = setup().start();
    let api = server.api();
    let soon = |seconds: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let ends = soon(10).to_string();
    let starts = soon(1).to_string();
    let room = api.create_room_with(
        "900",
        10,
        &json!({"enable_prompt": true, "scheduled_start_at": starts,
        "scheduled_end_at": ends, "custom_options": "{\"close_at_end\": true}"}),
    );
    let alice = joined(&server, &room, "900", "alice");
    hears_prompt(&alice.peer, "en", "ended");
    let bye = alice.call.wait_bye(HEARD_WITHIN).expect("a BYE");
    assert!(reason_of(&bye).contains("over"), "{}", reason_of(&bye));
    let (peer, call, _ua) = refused(&server, "900", "late");
    hears_prompt(&peer, "en", "ended");
    assert_eq!(call.outcome().expect("a final response").code(), 480);
    let events = api.events_until(&room, |event| event["type"] == "room.schedule_ended");
    assert!(events.iter().any(|event| event["type"] == "room.schedule_started"));
}

/// SIPp plays this scenario once against room 900.
fn sipp(server: &Server, scenario: &str) -> Result<Counted, String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/sipp", scenario].iter().collect();
    let run = Run {
        scenario: &path,
        server: server.sip_address(),
        extension: "900",
        transport: Transport::Udp,
        calls: 1,
        rate: 1,
        capture: None,
    };
    run.play()
}

#[test]
fn sipp_keys_right_and_wrong_pins() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234", "enable_prompt": true}));
    std::thread::scope(|scope| {
        let playing = scope.spawn(|| sipp(&server, "pin.xml"));
        wait_field(&api, &room, "sipp", "state", &json!("JOINED"));
        playing.join().expect("a thread that ends").unwrap_or_else(|why| panic!("{why}"));
    });
    wait_participants(&api, &room, 0);
    sipp(&server, "wrong_pin.xml").unwrap_or_else(|why| panic!("{why}"));
    let ended = api.metric(&["participants_left", "pin_failed"]);
    assert!(ended > 0.5, "{ended} calls ended for their PINs");
    wait_participants(&api, &room, 0);
}

#[test]
fn baresip_hears_the_prompts_and_keys_its_pin() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"room_pin": "1234", "enable_prompt": true, "language": "fr"}));
    let mut phone = Baresip::start("alice", Codec::Pcmu, 500.0, TONE_DB);
    phone.call(&format!("sip:900@{}", server.sip_address()));
    let asked = sound("fr", "enter-pin", phone.rate_hz());
    wait::until("the French voice", HEARD_WITHIN, || {
        let found = find(&phone.heard(), &asked);
        if found.is_some_and(|found| found.likeness > LIKENESS) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    for key in "1234#".chars() {
        phone.press(key);
    }
    wait_field(&api, &room, "alice", "state", &json!("JOINED"));
    let bob = dial(&server, "900", "bob");
    press(&bob, "1234#");
    bob.hears(&[500.0], &[]);
    phone.hang_up();
    wait_participants(&api, &room, 1);
}

#[test]
fn caller_of_a_video_room_is_welcomed_and_then_shown_and_sees() {
    let server = setup().legs(8).start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({"layout": "LAYOUT2", "enable_prompt": true, "room_pin": "1234"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    wait_field(&api, &room, "anna", "state", &json!("IN_MENU"));
    anna.phone.peer.press("1234#", Style::NORMAL);
    wait_field(&api, &room, "anna", "state", &json!("JOINED"));
    let bert = shower(&server, "bert", &h264(), Colour::Green);
    bert.phone.peer.press("1234#", Style::NORMAL);
    for phone in [&anna, &bert] {
        phone.sees(160, 180, Colour::Red);
        phone.sees(480, 180, Colour::Green);
    }
}
