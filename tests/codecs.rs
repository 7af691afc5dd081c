//! Every codec alone and all of them together in one room: levels are equal, nobody hears themselves.

use crate::support::{setup, talker};
use testkit::dtmf::Style;
use testkit::phone::Phone;
use testkit::rtp_peer::PeerConfig;
use testkit::sdp::Codec;
use testkit::sip_ua::Transport;

#[test]
fn opus_room_hears_each_other() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Opus, 500.0);
    let b = talker(&server, "900", "bob", Codec::Opus, 900.0);
    let c = talker(&server, "900", "carol", Codec::Opus, 1_300.0);
    a.hears(&[900.0, 1_300.0], &[500.0]);
    b.hears(&[500.0, 1_300.0], &[900.0]);
    c.hears(&[500.0, 900.0], &[1_300.0]);
}

#[test]
fn mixed_room_hears_each_other_at_equal_level() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcma, 900.0);
    let c = talker(&server, "900", "carol", Codec::Opus, 1_300.0);
    let d = talker(&server, "900", "dave", Codec::Opus, 1_700.0);
    a.hears(&[900.0, 1_300.0, 1_700.0], &[500.0]);
    b.hears(&[500.0, 1_300.0, 1_700.0], &[900.0]);
    c.hears(&[500.0, 900.0, 1_700.0], &[1_300.0]);
    d.hears(&[500.0, 900.0, 1_300.0], &[1_700.0]);
}

#[test]
fn listener_who_begins_to_talk_stops_hearing_only_themselves() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Opus, 500.0);
    let b = Phone::dial(server.sip_address(), "900", "bob", Codec::Opus).expect("answered");
    let c = Phone::dial(server.sip_address(), "900", "carol", Codec::Opus).expect("answered");
    b.hears(&[500.0], &[]);
    c.hears(&[500.0], &[]);
    b.say(900.0);
    c.hears(&[500.0, 900.0], &[]);
    b.hears(&[500.0], &[900.0]);
    a.hears(&[900.0], &[500.0]);
    b.peer.say(testkit::signal::silence());
    c.hears(&[500.0], &[900.0]);
    b.hears(&[500.0], &[900.0]);
    for phone in [&a, &b, &c] {
        assert_eq!(phone.peer.heard().ssrc_changes, 0);
    }
}

#[test]
fn callers_order_decides_the_codec() {
    let server = setup().start();
    server.api().create_room("900", 10);
    for (codecs, expected) in
        [([Codec::Pcma, Codec::Opus, Codec::Pcmu], Codec::Pcma), ([Codec::Opus, Codec::Pcmu, Codec::Pcma], Codec::Opus)]
    {
        let config = PeerConfig::new(&codecs);
        let phone = Phone::dial_with(server.sip_address(), "900", "alice", Transport::Udp, config).expect("answered");
        assert_eq!(phone.answer.codec(), Some(expected));
        phone.hang_up();
    }
}

#[test]
fn only_allowed_codecs_are_negotiated() {
    let server = setup().env("CONCLAVE__MEDIA__CODECS", "pcmu").start();
    server.api().create_room("900", 10);
    let config = PeerConfig::new(&[Codec::Opus, Codec::Pcmu]);
    let phone = Phone::dial_with(server.sip_address(), "900", "alice", Transport::Udp, config).expect("answered");
    assert_eq!(phone.answer.codec(), Some(Codec::Pcmu));
    let refused = Phone::dial(server.sip_address(), "900", "bob", Codec::Opus).expect_err("Opus is not allowed");
    assert!(refused.contains("488"), "{refused}");
}

#[test]
fn dtx_phone_is_heard_and_its_silence_is_silent() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let mut config = PeerConfig::new(&[Codec::Opus]);
    config.opus.dtx = true;
    let a = Phone::dial_with(server.sip_address(), "900", "alice", Transport::Udp, config).expect("answered");
    let b = Phone::dial(server.sip_address(), "900", "bob", Codec::Opus).expect("answered");
    a.say(500.0);
    b.hears(&[500.0], &[]);
    a.peer.say(testkit::signal::silence());
    b.hears(&[], &[500.0]);
    a.say(700.0);
    b.hears(&[700.0], &[500.0]);
}

#[test]
fn key_presses_are_not_heard_as_noise() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = Phone::dial(server.sip_address(), "900", "bob", Codec::Pcmu).expect("answered");
    b.hears(&[500.0], &[]);
    a.peer.press("159", Style::NORMAL);
    // The keys' dual tones would be here, had anyone put them into the mix.
    let pcm = b.peer.listen(1_000).expect("sound");
    for hz in [697.0, 770.0, 852.0, 1_209.0, 1_336.0, 1_477.0] {
        let db = testkit::tone::level(&pcm, b.peer.rate_hz(), hz);
        assert!(db < -45.0, "{hz} Hz at {db:.1} dB");
    }
    b.hears(&[500.0], &[]);
}
