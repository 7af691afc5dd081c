//! Conclave at a PBX that nobody here wrote: Kamailio keeps our registrations, and phones dial our rooms through it.

use crate::support::{SOON, setup, talker, wait_participants};
use serde_json::json;
use std::path::Path;
use testkit::baresip::Baresip;
use testkit::kamailio::Kamailio;
use testkit::phone::TONE_DB;
use testkit::sdp::Codec;
use testkit::server::Setup;
use testkit::wait;

fn pbx(algorithm: &str) -> Kamailio {
    Kamailio::start(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kamailio/kamailio.cfg"), algorithm)
}

fn registering(pbx: &Kamailio, transport: &str, mode: &str) -> Setup {
    setup()
        .env("CONCLAVE__PBX__MODE", mode)
        .env("CONCLAVE__PBX__REGISTRAR", &pbx.address().to_string())
        .env("CONCLAVE__PBX__TRANSPORT", transport)
        .env("CONCLAVE__PBX__PASSWORD", "secret")
        .env("CONCLAVE__PBX__REALM", "kamailio")
}

#[test]
fn rooms_are_registered_while_they_exist_and_phones_reach_them_through_the_pbx() {
    for (algorithm, transport) in [("MD5", "udp"), ("SHA-256", "tcp")] {
        let pbx = pbx(algorithm);
        let mut server = registering(&pbx, transport, "rooms").start();
        let api = server.api();
        let room = api.create_room("900", 10);
        let contact = pbx.wait_registered("900");
        assert!(contact.starts_with(&format!("sip:900@{}", server.sip_address())), "{contact}");
        assert_eq!(contact.contains("transport=tcp"), transport == "tcp", "{contact}");
        let other = api.create_room("901", 10);
        pbx.wait_registered("901");
        wait::until("both in the metrics", SOON, || {
            let registered = api.metric(&["sip_registrations", "state=\"registered\""]);
            if (registered - 2.0).abs() < 0.5 { Ok(()) } else { Err(format!("{registered}")) }
        });

        let mut phone = Baresip::start("alice", Codec::Pcmu, 500.0, TONE_DB);
        phone.call(&format!("sip:900@{}", pbx.address()));
        let all = wait_participants(&api, &room, 1);
        assert!(all[0]["display_name"].as_str().is_some_and(|name| name.contains("alice")), "{all:?}");
        phone.hang_up();
        wait_participants(&api, &room, 0);

        api.act(&format!("/api/conference_rooms/{other}/destroy")).expect(204);
        pbx.wait_unregistered("901");
        server.terminate();
        assert!(server.wait_exit(SOON * 4).success());
        assert_eq!(pbx.contacts("900"), Vec::<String>::new(), "taken back at the end");
    }
}

#[test]
fn one_account_takes_the_calls_for_every_room() {
    let pbx = pbx("SHA-256");
    let server = registering(&pbx, "udp", "account").env("CONCLAVE__PBX__USER", "conference").start();
    let api = server.api();
    let rooms = [api.create_room("900", 10), api.create_room("901", 10)];
    pbx.wait_registered("conference");
    let mut phones = Vec::new();
    for (extension, room) in ["900", "901"].into_iter().zip(&rooms) {
        let mut phone = Baresip::start("alice", Codec::Pcmu, 500.0, TONE_DB);
        phone.call(&format!("sip:{extension}@{}", pbx.address()));
        wait_participants(&api, room, 1);
        phones.push(phone);
    }
    for room in &rooms {
        wait_participants(&api, room, 1);
    }
}

#[test]
fn trunk_registers_and_a_wrong_password_shows_as_failed() {
    let pbx = pbx("SHA-256");
    let trunk = |name: &str, user: &str, password: &str| {
        format!(
            "{{ name = \"{name}\", target = \"{}\", user = \"{user}\", password = \"{password}\", register = true }}",
            pbx.address()
        )
    };
    let trunks = format!("[{}, {}]", trunk("good", "trunk1", "secret"), trunk("bad", "trunk2", "guess"));
    let server = setup().env("CONCLAVE__TRUNKS", &trunks).start();
    let api = server.api();
    pbx.wait_registered("trunk1");
    for (peer, state) in [("good", "registered"), ("bad", "failed")] {
        wait::until(&format!("{peer} {state}"), SOON, || {
            let (peer, state) = (format!("peer=\"{peer}\""), format!("state=\"{state}\""));
            let found = api.metric(&["sip_registrations", &peer, &state]);
            if (found - 1.0).abs() < 0.5 { Ok(()) } else { Err(format!("{found}")) }
        });
    }
    assert_eq!(pbx.contacts("trunk2"), Vec::<String>::new());
    let log = server.log();
    assert!(!log.contains("guess") && !log.contains("secret"), "no password in the log");
    assert!(log.contains("registration failed"), "{log}");
}

#[test]
fn a_real_phone_registers_at_the_same_pbx() {
    let pbx = pbx("MD5");
    let mut phone = Baresip::start("bob", Codec::Pcmu, 900.0, TONE_DB);
    phone.register("bob", "secret", pbx.address());
    assert!(!pbx.wait_registered("bob").is_empty());
}

#[test]
fn room_calls_a_phone_through_the_pbx_with_the_trunks_password() {
    // Debian's baresip knows MD5 only; SHA-256 at Kamailio is signalling's own test.
    let pbx = pbx("MD5");
    let mut phone = Baresip::start("bob", Codec::Pcmu, 900.0, TONE_DB);
    phone.register("102", "secret", pbx.address());
    let trunk =
        format!("[{{ name = \"pbx1\", target = \"{}\", user = \"trunk1\", password = \"secret\" }}]", pbx.address());
    let server = setup().env("CONCLAVE__TRUNKS", &trunk).start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let path = format!("/api/conference_rooms/{room}/participants/invite");
    api.post(&path, &json!({"number": "102"})).expect(200);
    wait::until("the phone that was called is in the room", SOON, || {
        let all = api.participants(&room);
        if all.len() == 1 && all[0]["state"] == "JOINED" { Ok(()) } else { Err(format!("{all:?}")) }
    });
    let alice = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    alice.hears(&[900.0], &[]);
    phone.hears(&[500.0], &[], TONE_DB);
    let id = api.participant(&room, "sip:102");
    api.act(&format!("/api/conference_rooms/{room}/participants/{id}/destroy")).expect(204);
    phone.wait_event("CALL_CLOSED");
    wait_participants(&api, &room, 1);
    // Nobody is registered for this one.
    api.post(&path, &json!({"number": "103"})).expect(200);
    let events = api.events_until(&room, |event| event["type"] == "participant.not_reached");
    let last = events.last().expect("an end");
    assert!(last["data"]["reason"].as_str().is_some_and(|why| why.contains("404")), "{last}");
}
