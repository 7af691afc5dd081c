//! Calls out of rooms: who is called, what is listed and told of them, and every way in which it can come to nothing. The
//! provider is the test kit's, which knows nothing of our code.

use crate::support::{SOON, setup, talker, wait_participants};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::api::{Answer, Api};
use testkit::rtp_peer::{PeerConfig, RtpPeer};
use testkit::sdp::{Codec, Described};
use testkit::server::Server;
use testkit::sip_message::Message;
use testkit::sip_uas::digest::Gate;
use testkit::sip_uas::{Outcome, Script, SipUas, request_uri};
use testkit::wait;

/// A server with one trunk to the provider, and what keeps its settings.
fn with_trunk(provider: &SipUas, more: &str) -> (Server, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("conclave.toml");
    let settings = format!(
        "[[trunks]]\nname = \"provider\"\ntarget = \"{}\"\nuser = \"conclave\"\npassword = \"secret of the trunk\"\n\
         caller_id = \"5550\"\nring_timeout_s = 5\n{more}\n",
        provider.address()
    );
    std::fs::write(&file, settings).expect("a settings file");
    (setup().config_file(&file, &[]).start(), dir)
}

fn invite(api: &Api, room: &str, number: &str) -> Answer {
    api.post(&format!("/api/conference_rooms/{room}/participants/invite"), &json!({"number": number}))
}

/// What became of the only call, by its events.
fn fate(api: &Api, room: &str) -> (Vec<String>, Value) {
    let ends = ["participant.not_reached", "participant.joined"];
    let is_end = |event: &Value| ends.iter().any(|end| event["type"] == *end);
    let events = api.events_until(room, is_end);
    let of_participants = events.iter().filter_map(|event| event["type"].as_str());
    let kinds = of_participants.filter(|kind| kind.starts_with("participant.")).map(str::to_owned).collect();
    (kinds, events.last().expect("an end")["data"].clone())
}

/// A phone that is called: answers with its own SDP, and speaks to whatever the INVITE offered.
fn answering(provider: &SipUas) -> RtpPeer {
    let peer = RtpPeer::bind(PeerConfig::new(&[Codec::Pcmu]));
    provider.script(Script::ringing(Outcome::Answer(peer.offer().to_sdp())));
    peer
}

/// The phone speaks to whatever the INVITE offered, in the codec of its own answer.
#[track_caller]
fn speak_to(peer: &mut RtpPeer, invite: &Message) {
    let offer = Described::parse(&String::from_utf8_lossy(&invite.body)).expect("a good offer");
    peer.start(Codec::Pcmu, offer.rtp, offer.rtcp, None);
}

#[test]
fn called_party_rings_answers_and_is_in_the_room_without_a_pin() {
    let provider = SipUas::start();
    let (server, _settings) = with_trunk(&provider, "");
    let api = server.api();
    let more = json!({"room_pin": "1234", "outbound_caller_ids": [
        {"provider_id": "provider", "caller_id": "777", "description": null}]});
    let room = api.create_room_with("900", 10, &more);
    // An operator's own act: a lock does not bar it, and the empty room becomes active.
    api.act(&format!("/api/conference_rooms/{room}/lock")).expect(200);
    let mut peer = answering(&provider);
    invite(&api, &room, "102").expect(200);
    let request = provider.wait_request("INVITE", 1);
    assert!(request_uri(&request).starts_with("sip:102@"), "{}", request_uri(&request));
    assert!(request.header("From").is_some_and(|from| from.contains("sip:777@")), "{:?}", request.header("From"));
    speak_to(&mut peer, &request);
    let (kinds, joined) = fate(&api, &room);
    assert_eq!(kinds, ["participant.calling", "participant.ringing", "participant.joined"]);
    assert_eq!((&joined["number"], &joined["state"]), (&json!("102"), &json!("JOINED")));
    let all = wait_participants(&api, &room, 1);
    assert_eq!((&all[0]["state"], &all[0]["audio_codec"]), (&json!("JOINED"), &json!("PCMU")));
    invite(&api, &room, "102").refused(409, "INVALID_STATE");
    api.act(&format!("/api/conference_rooms/{room}/unlock")).expect(200);
    api.post(&format!("/api/conference_rooms/{room}"), &json!({"room_pin": null})).expect(200);
    let bob = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    peer.say_tone(500.0, testkit::phone::TONE_DB);
    bob.hears(&[500.0], &[]);
    wait::until("the callee hears the room", SOON, || {
        let pcm = peer.listen(300)?;
        let level = testkit::tone::level(&pcm, 8000, 900.0);
        if level > testkit::phone::TONE_DB - 3.0 { Ok(()) } else { Err(format!("{level:.1} dB")) }
    });
    let id = all[0]["id"].as_str().expect("an id");
    api.act(&format!("/api/conference_rooms/{room}/participants/{id}/destroy")).expect(204);
    provider.wait_request("BYE", 1);
}

#[test]
fn each_failure_has_its_own_reason() {
    for (outcome, reason) in [
        (Outcome::Reject(486, "Busy Here"), "busy"),
        (Outcome::Reject(603, "Decline"), "rejected with 603"),
        (Outcome::Reject(404, "Not Found"), "rejected with 404"),
        (Outcome::Ring, "no answer"),
    ] {
        let provider = SipUas::start();
        provider.script(Script::ringing(outcome));
        let (server, _settings) = with_trunk(&provider, "");
        let api = server.api();
        let room = api.create_room("900", 10);
        invite(&api, &room, "102").expect(200);
        let (kinds, last) = fate(&api, &room);
        assert_eq!(kinds.last().map(String::as_str), Some("participant.not_reached"), "{reason}: {kinds:?}");
        assert!(last["reason"].as_str().is_some_and(|why| why.contains(reason)), "{reason}: {last}");
        wait_participants(&api, &room, 0);
        // The room that nobody came into is idle again.
        wait::until("an idle room", SOON, || {
            let active = api.metric(&["conclave_rooms_active"]);
            if active < 0.5 { Ok(()) } else { Err(format!("{active} active")) }
        });
    }
}

#[test]
fn challenges_are_answered_with_the_trunks_password() {
    for algorithm in ["MD5", "SHA-256"] {
        let provider = SipUas::start();
        provider.require(Gate::new("conclave", "secret of the trunk", &[algorithm]));
        let (server, _settings) = with_trunk(&provider, "");
        let api = server.api();
        let room = api.create_room("900", 10);
        let mut peer = answering(&provider);
        invite(&api, &room, "102").expect(200);
        let request = provider.wait_request("INVITE", 2);
        speak_to(&mut peer, &request);
        let (kinds, _) = fate(&api, &room);
        assert_eq!(kinds.last().map(String::as_str), Some("participant.joined"), "{algorithm}: {kinds:?}");
        assert!(!server.log().contains("secret of the trunk"), "the password is in the log");
    }
}

#[test]
fn what_is_not_allowed_is_refused_at_once() {
    let provider = SipUas::start();
    let (server, _settings) = with_trunk(&provider, "[dialing]\nallow = [\"XXX\"]\ncalls_per_minute_room = 2\n");
    let api = server.api();
    let room = api.create_room("900", 10);
    for number in ["00900123456", "+4915112345678", "911", "sip:102@203.0.113.9"] {
        invite(&api, &room, number).refused(403, "FORBIDDEN");
    }
    invite(&api, &room, "not a number").refused(400, "VALIDATE_FAILED");
    provider.script(Script::ringing(Outcome::Ring));
    invite(&api, &room, "101").expect(200);
    invite(&api, &room, "101").refused(409, "INVALID_STATE");
    invite(&api, &room, "102").expect(200);
    invite(&api, &room, "103").refused(429, "RATE_LIMITED");
    assert_eq!(api.participants(&room).len(), 2);
    // Given up, the phone stops ringing.
    let id = api.participants(&room)[0]["id"].as_str().expect("an id").to_owned();
    api.act(&format!("/api/conference_rooms/{room}/participants/{id}/destroy")).expect(204);
    provider.wait_request("CANCEL", 1);
}

#[test]
fn without_a_trunk_nobody_is_called() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    invite(&api, &room, "102").refused(409, "INVALID_STATE");
    assert!(api.participants(&room).is_empty());
}

#[test]
fn chairman_calls_somebody_by_keys() {
    let provider = SipUas::start();
    let (server, _settings) = with_trunk(&provider, "");
    let api = server.api();
    let room = api.create_room_with("900", 10, &json!({"admin_pin": "9876"}));
    let chairman = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let id = api.participant(&room, "alice");
    api.act(&format!("/api/conference_rooms/{room}/participants/{id}/chairman")).expect(200);
    let mut peer = answering(&provider);
    chairman.peer.press("*1102#", testkit::dtmf::Style::NORMAL);
    let request = provider.wait_request("INVITE", 1);
    speak_to(&mut peer, &request);
    wait_participants(&api, &room, 2);
}
