//! What an operator does to a running room over the API, and what the phones notice of it.

use crate::support::{SOON, reason_of, setup, talker, wait_participants};
use std::time::{Duration, Instant};
use testkit::phone::{Phone, TONE_DB};
use testkit::sdp::Codec;
use testkit::sip_ua::Transport;
use testkit::tone;

#[test]
fn participants_are_listed_with_what_they_are() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let _a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let _b = talker(&server, "900", "bob", Codec::Opus, 900.0);
    let all = wait_participants(&api, &room, 2);
    let alice = all.iter().find(|p| p["display_name"].as_str().is_some_and(|n| n.contains("alice"))).expect("alice");
    assert_eq!(alice["number"], "alice");
    assert_eq!(
        (&alice["muted"], &alice["transport"], &alice["state"]),
        (&false.into(), &"SIP".into(), &"JOINED".into())
    );
    assert_eq!((&alice["chairman"], &alice["position"]), (&false.into(), &(-1).into()));
    testkit::wait::until_true("alice is talking", SOON, || {
        let path = format!("/api/conference_rooms/{room}/participants/{}", alice["id"].as_str().unwrap_or(""));
        api.get(&path).expect(200).json()["talking"] == true
    });
    let status = api.get(&format!("/api/conference_rooms/{room}/status")).expect(200).json();
    assert_eq!(status["status"], "ON_CALL");
    assert_eq!(status["participants_count"], 2);
}

#[test]
fn muted_tone_vanishes_within_100_ms_and_returns() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    b.hears(&[500.0], &[]);
    let alice = api.participant(&room, "alice");
    let path = format!("/api/conference_rooms/{room}/participants/{alice}");
    api.act(&format!("{path}/mute")).expect(200);
    let muted = Instant::now();
    assert_eq!(api.get(&path).expect(200).json()["muted"], true);
    b.peer.listen(600).expect("sound");
    let heard = b.peer.heard();
    let after = heard.between(muted + Duration::from_millis(100), muted + Duration::from_millis(500));
    let db = tone::level(after, heard.rate_hz, 500.0);
    assert!(after.len() > 2_000 && db < TONE_DB - tone::ABSENT_DB, "{db:.1} dB 100 ms after the mute");
    a.hears(&[900.0], &[500.0]);
    api.act(&format!("{path}/mute")).expect(200);
    api.act(&format!("{path}/unmute")).expect(200);
    b.hears(&[500.0], &[900.0]);
}

#[test]
fn muted_room_mutes_late_joiners_and_lets_one_speak() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    a.hears(&[900.0], &[500.0]);
    api.act(&format!("/api/conference_rooms/{room}/mute")).expect(200);
    let c = talker(&server, "900", "carol", Codec::Pcmu, 1_300.0);
    c.hears(&[], &[500.0, 900.0, 1_300.0]);
    assert_eq!(api.get(&format!("/api/conference_rooms/{room}/status")).json()["muted"], true);
    assert!(wait_participants(&api, &room, 3).iter().all(|p| p["muted"] == true));
    let bob = api.participant(&room, "bob");
    api.act(&format!("/api/conference_rooms/{room}/participants/{bob}/unmute")).expect(200);
    c.hears(&[900.0], &[500.0, 1_300.0]);
    api.act(&format!("/api/conference_rooms/{room}/unmute")).expect(200);
    c.hears(&[500.0, 900.0], &[1_300.0]);
    b.hears(&[500.0, 1_300.0], &[900.0]);
}

#[test]
fn room_policies_end_with_the_call() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    wait_participants(&api, &room, 1);
    for action in ["mute", "lock"] {
        api.act(&format!("/api/conference_rooms/{room}/{action}")).expect(200);
    }
    a.hang_up();
    testkit::wait::until("mute and lock to be cleared", SOON, || {
        let status = api.get(&format!("/api/conference_rooms/{room}/status")).json();
        if status["muted"] == false && status["locked"] == false { Ok(()) } else { Err(status.to_string()) }
    });
    talker(&server, "900", "bob", Codec::Pcmu, 900.0).hang_up();
}

#[test]
fn locked_room_is_403_for_new_callers_only() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    wait_participants(&api, &room, 1);
    api.act(&format!("/api/conference_rooms/{room}/lock")).expect(200);
    assert_eq!(api.get(&format!("/api/conference_rooms/{room}/status")).json()["locked"], true);
    let refused = Phone::dial(server.sip_address(), "900", "bob", Codec::Pcmu).expect_err("locked");
    assert!(refused.contains("403") && refused.contains("locked"), "{refused}");
    assert!(!a.call.is_ended());
    api.act(&format!("/api/conference_rooms/{room}/unlock")).expect(200);
    Phone::dial(server.sip_address(), "900", "bob", Codec::Pcmu).expect("unlocked");
}

#[test]
fn removed_participant_gets_bye_with_a_reason() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    b.hears(&[500.0], &[]);
    let alice = api.participant(&room, "alice");
    let path = format!("/api/conference_rooms/{room}/participants/{alice}");
    api.act(&format!("{path}/destroy")).expect(204);
    let bye = a.call.wait_bye(SOON).expect("a BYE");
    assert!(bye.header("Reason").is_some_and(|r| r.contains("text=")), "{bye:?}");
    wait_participants(&api, &room, 1);
    api.get(&path).refused(404, "NOT_FOUND");
    b.hears(&[], &[500.0]);
}

#[test]
fn destroyed_room_ends_all_calls_and_its_extension_is_free() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let phones: Vec<Phone> = [("alice", Transport::Udp), ("bob", Transport::Tcp)]
        .map(|(name, transport)| {
            let config = testkit::rtp_peer::PeerConfig::new(&[Codec::Pcmu]);
            Phone::dial_with(server.sip_address(), "900", name, transport, config).expect("answered")
        })
        .into();
    wait_participants(&api, &room, 2);
    api.act(&format!("/api/conference_rooms/{room}/destroy")).expect(204);
    for phone in &phones {
        let bye = phone.call.wait_bye(SOON).expect("a BYE");
        assert!(!reason_of(&bye).is_empty(), "{bye:?}");
    }
    api.get(&format!("/api/conference_rooms/{room}")).refused(404, "NOT_FOUND");
    api.create_room("900", 10);
}

#[test]
fn participant_of_another_room_is_not_found() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let other = api.create_room("901", 10);
    let _a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let alice = api.participant(&room, "alice");
    for action in ["", "/mute", "/unmute", "/destroy"] {
        let path = format!("/api/conference_rooms/{other}/participants/{alice}{action}");
        let answer = if action.is_empty() { api.get(&path) } else { api.act(&path) };
        answer.refused(404, "NOT_FOUND");
    }
}

#[test]
fn disabled_server_takes_no_new_room_but_lets_calls_go_on() {
    let server = setup().start();
    let api = server.api();
    api.create_room("900", 10);
    api.create_room("901", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let listed = api.get("/api/conference_servers").expect(200).json();
    let id = listed["items"][0]["id"].as_str().expect("the built-in server").to_owned();
    api.post(&format!("/api/conference_servers/{id}"), &serde_json::json!({"enabled": false})).expect(200);
    let refused = Phone::dial(server.sip_address(), "901", "bob", Codec::Pcmu).expect_err("disabled");
    assert!(refused.contains("480"), "{refused}");
    assert!(!a.call.is_ended());
    api.post(&format!("/api/conference_servers/{id}"), &serde_json::json!({"enabled": true})).expect(200);
    Phone::dial(server.sip_address(), "901", "bob", Codec::Pcmu).expect("enabled again");
}
