//! Keys: telephone-events as good and bad phones send them, and INFO. They are counted; which key it was is nobody's
//! business but the room's.

use crate::support::{SOON, setup};
use testkit::api::Api;
use testkit::dtmf::Style;
use testkit::phone::Phone;
use testkit::rtp_peer::PeerConfig;
use testkit::sdp::Codec;
use testkit::sip_ua::Transport;
use testkit::wait;

#[track_caller]
fn wait_keys(api: &Api, count: f64) {
    wait::until(&format!("{count} keys"), SOON, || {
        let found = api.metric(&["dtmf"]);
        if (found - count).abs() < 0.5 { Ok(()) } else { Err(format!("{found} counted")) }
    });
}

#[test]
fn each_press_counts_once_however_the_phone_sends_it() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let phone = Phone::dial(server.sip_address(), "900", "alice", Codec::Pcmu).expect("answered");
    phone.peer.listen(100).expect("sound");
    let mut expected = 0.0;
    for style in [Style::NORMAL, Style::NO_MARKER, Style::LOST_ENDS] {
        phone.peer.press("5#", style);
        expected += 2.0;
        wait_keys(&server.api(), expected);
    }
    phone.hang_up();
    wait_keys(&server.api(), expected);
}

#[test]
fn event_clock_of_8000_or_48000_hz_works_beside_opus() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let mut expected = 0.0;
    for clock in [8_000, 48_000] {
        let ua = testkit::sip_ua::SipUa::new("alice", Transport::Udp, server.sip_address());
        let mut peer = testkit::rtp_peer::RtpPeer::bind(PeerConfig::new(&[Codec::Opus]));
        let mut offer = peer.offer();
        offer.dtmf = vec![(101, clock)];
        let call = ua.invite(&testkit::sip_ua::Invite::new("900", &offer.to_sdp()));
        let answer = peer.accept(&call.answered().expect("answered")).expect("a good answer");
        assert_eq!(answer.dtmf, [(101, clock)], "the offered event clock is accepted");
        peer.listen(100).expect("sound");
        peer.press("1", Style::NORMAL);
        expected += 1.0;
        wait_keys(&server.api(), expected);
        assert_eq!(call.bye().expect("a response").code(), 200);
    }
}

#[test]
fn info_key_is_answered_and_counted() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let phone = Phone::dial(server.sip_address(), "900", "alice", Codec::Pcmu).expect("answered");
    assert_eq!(phone.call.info_digit('7').expect("a response").code(), 200);
    wait_keys(&server.api(), 1.0);
}

#[test]
fn keys_never_reach_the_log() {
    let server = setup().env("CONCLAVE__LOG__FILTER", "trace").start();
    server.api().create_room("900", 10);
    let phone = Phone::dial(server.sip_address(), "900", "alice", Codec::Pcmu).expect("answered");
    assert_eq!(phone.call.info_digit('7').expect("a response").code(), 200);
    wait_keys(&server.api(), 1.0);
    let log = server.log();
    assert!(!log.contains("Signal=7"), "the INFO body is in the log");
    assert_eq!(log.matches(&server.token()).count(), 1, "the token is only in the banner of the first start");
}
