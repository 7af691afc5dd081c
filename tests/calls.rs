//! Phones dial a room: who gets in, what the dialogs look like, who hears whom. The phones are the test kit's.

use crate::support::{SOON, reason_of, setup, talker, wait_participants};
use testkit::phone::Phone;
use testkit::rtp_peer::{PeerConfig, RtpPeer};
use testkit::sdp::{Codec, Described, OfferSpec};
use testkit::sip_ua::{Invite, SipUa, Transport};

#[test]
fn everyone_hears_everyone_but_themselves() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let c = talker(&server, "900", "carol", Codec::Pcmu, 1_300.0);
    a.hears(&[900.0, 1_300.0], &[500.0]);
    b.hears(&[500.0, 1_300.0], &[900.0]);
    c.hears(&[500.0, 900.0], &[1_300.0]);
    for phone in [&a, &b, &c] {
        let heard = phone.peer.heard();
        assert_eq!((heard.ssrc_changes, heard.malformed, heard.sequence_gaps), (0, 0, 0));
    }
}

#[test]
fn rooms_do_not_hear_each_other() {
    let server = setup().start();
    server.api().create_room("900", 10);
    server.api().create_room("901", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let c = talker(&server, "901", "carol", Codec::Pcmu, 1_300.0);
    let d = talker(&server, "901", "dave", Codec::Pcmu, 1_700.0);
    a.hears(&[900.0], &[500.0, 1_300.0, 1_700.0]);
    b.hears(&[500.0], &[900.0, 1_300.0, 1_700.0]);
    c.hears(&[1_700.0], &[500.0, 900.0, 1_300.0]);
    d.hears(&[1_300.0], &[500.0, 900.0, 1_700.0]);
}

#[test]
fn call_over_tcp_works_like_one_over_udp() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    let config = PeerConfig::new(&[Codec::Pcmu]);
    let a = Phone::dial_with(server.sip_address(), "900", "alice", Transport::Tcp, config).expect("answered");
    a.say(500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    a.hears(&[900.0], &[500.0]);
    b.hears(&[500.0], &[900.0]);
    assert_eq!(a.call.options().expect("a response").code(), 200);
    a.hang_up();
    wait_participants(&server.api(), &room, 1);
}

#[test]
fn call_over_ipv6_works() {
    let ip = std::net::Ipv6Addr::LOCALHOST.into();
    let server = setup().on(ip).start();
    server.api().create_room("900", 10);
    let config = PeerConfig { ip, ..PeerConfig::new(&[Codec::Pcmu]) };
    let dial = |name: &str, transport| {
        Phone::dial_with(server.sip_address(), "900", name, transport, config.clone()).expect("answered")
    };
    let (a, b) = (dial("alice", Transport::Udp), dial("bob", Transport::Tcp));
    a.say(500.0);
    b.say(900.0);
    a.hears(&[900.0], &[500.0]);
    b.hears(&[500.0], &[900.0]);
}

#[test]
fn held_phone_neither_speaks_nor_hears_and_comes_back() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    let mut a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    b.hears(&[500.0], &[900.0]);
    let answer = a.renegotiate("inactive", 2).expect("hold is answered");
    assert_eq!(answer.direction, "inactive");
    a.peer.pause(true);
    b.hears(&[], &[500.0, 900.0]);
    let answer = a.renegotiate("sendrecv", 3).expect("resume is answered");
    assert_eq!(answer.direction, "sendrecv");
    a.peer.pause(false);
    b.hears(&[500.0], &[900.0]);
    a.hears(&[900.0], &[500.0]);
    assert_eq!(server.api().participants(&room).len(), 2);
}

#[test]
fn hold_with_sendonly_is_answered_recvonly_with_a_newer_version() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let mut a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let first = a.answer.origin.clone();
    let answer = a.renegotiate("sendonly", 2).expect("hold is answered");
    assert_eq!(answer.direction, "recvonly");
    assert_eq!(answer.origin.0, first.0, "the session id stays (RFC 3264 §8)");
    assert_eq!(answer.origin.1, first.1 + 1, "the version grows by one (RFC 3264 §8)");
}

#[test]
fn offerless_invite_is_answered_with_an_offer() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let ua = SipUa::new("alice", Transport::Udp, server.sip_address());
    let mut peer = RtpPeer::bind(PeerConfig::new(&[Codec::Pcmu]));
    let call = ua.invite(&Invite { sdp: None, ..Invite::new("900", "") });
    let offer = call.answered().expect("the 200 carries the offer");
    let described = Described::parse(&offer).expect("a good offer");
    assert!(described.payload_types.contains(&0), "PCMU is offered: {offer}");
    call.ack_with(&peer.offer().to_sdp());
    peer.start(Codec::Pcmu, described.rtp, described.rtcp, described.dtmf.first().copied());
    peer.say_tone(500.0, testkit::phone::TONE_DB);
    b.hears(&[500.0], &[900.0]);
    assert_eq!(call.bye().expect("a response").code(), 200);
}

#[test]
fn offerless_reinvite_is_answered_with_an_offer_and_the_call_goes_on() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let offer = a.call.reinvite_offerless().expect("an offer");
    Described::parse(&offer).expect("a good offer");
    let mut answer = a.peer.offer();
    answer.version = 2;
    a.call.ack_with(&answer.to_sdp());
    b.hears(&[500.0], &[900.0]);
    a.hears(&[900.0], &[500.0]);
}

#[test]
fn unknown_extension_is_404_and_says_so() {
    let server = setup().start();
    let ua = SipUa::new("alice", Transport::Udp, server.sip_address());
    let offer = OfferSpec::new("127.0.0.1:4000".parse().expect("an address"), &[Codec::Pcmu]).to_sdp();
    let outcome = ua.invite(&Invite::new("999", &offer)).outcome().expect("a response");
    assert_eq!(outcome.code(), 404);
    assert!(reason_of(&outcome).contains("999"), "{}", reason_of(&outcome));
}

#[test]
fn full_room_is_486_until_someone_leaves() {
    let server = setup().start();
    let room = server.api().create_room("900", 2);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let _b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let refused = Phone::dial(server.sip_address(), "900", "carol", Codec::Pcmu).expect_err("no seat");
    assert!(refused.contains("486") && refused.contains("full"), "{refused}");
    a.hang_up();
    wait_participants(&server.api(), &room, 1);
    Phone::dial(server.sip_address(), "900", "carol", Codec::Pcmu).expect("a seat is free");
}

#[test]
fn full_server_is_480_with_retry_after() {
    let server = setup().legs(2).start();
    server.api().create_room("900", 10);
    let _a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let _b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let ua = SipUa::new("carol", Transport::Udp, server.sip_address());
    let offer = OfferSpec::new("127.0.0.1:4000".parse().expect("an address"), &[Codec::Pcmu]).to_sdp();
    let outcome = ua.invite(&Invite::new("900", &offer)).outcome().expect("a response");
    assert_eq!(outcome.code(), 480, "{outcome:?}");
    assert!(outcome.header("Retry-After").is_some_and(|v| v.parse::<u32>().is_ok()), "{outcome:?}");
    assert!(!reason_of(&outcome).is_empty());
}

#[test]
fn no_common_codec_is_488() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    let ua = SipUa::new("alice", Transport::Udp, server.sip_address());
    let offer = OfferSpec::new("127.0.0.1:4000".parse().expect("an address"), &[Codec::Pcmu]).to_sdp();
    let g729 =
        offer.replace("RTP/AVP 0 101", "RTP/AVP 18 101").replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:18 G729/8000");
    let outcome = ua.invite(&Invite::new("900", &g729)).outcome().expect("a response");
    assert_eq!(outcome.code(), 488, "{outcome:?}");
    assert!(server.api().participants(&room).is_empty());
}

#[test]
fn options_tells_methods_and_codecs_are_for_invite() {
    let server = setup().start();
    for transport in [Transport::Udp, Transport::Tcp] {
        let ua = SipUa::new("pbx", transport, server.sip_address());
        let answer = ua.options("").expect("a response");
        assert_eq!(answer.code(), 200);
        let allow = answer.header("Allow").expect("Allow").to_owned();
        for method in ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO"] {
            assert!(allow.contains(method), "{allow}");
        }
    }
}

#[test]
fn cancelled_or_answered_no_seat_is_left_behind() {
    let server = setup().start();
    let room = server.api().create_room("900", 1);
    for _ in 0..10 {
        let ua = SipUa::new("alice", Transport::Udp, server.sip_address());
        let peer = RtpPeer::bind(PeerConfig::new(&[Codec::Pcmu]));
        let call = ua.invite(&Invite::new("900", &peer.offer().to_sdp()));
        let cancel = call.cancel().expect("a response to CANCEL");
        assert!(matches!(cancel.code(), 200 | 481), "{cancel:?}");
        match call.outcome().expect("a final response").code() {
            487 => {}
            200 => assert_eq!(call.bye().expect("a response").code(), 200),
            other => panic!("INVITE ended with {other}"),
        }
        wait_participants(&server.api(), &room, 0);
    }
    Phone::dial(server.sip_address(), "900", "bob", Codec::Pcmu).expect("the only seat is free");
}

#[test]
fn request_in_no_dialog_is_481() {
    let server = setup().start();
    let room = server.api().create_room("900", 2);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    assert_eq!(a.call.bye().expect("a response").code(), 200);
    wait_participants(&server.api(), &room, 0);
    assert_eq!(a.call.bye().expect("a response").code(), 481);
}

#[test]
fn phone_that_hangs_up_is_gone_from_list_and_mix() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    b.hears(&[500.0], &[900.0]);
    a.hang_up();
    let left = wait_participants(&server.api(), &room, 1);
    assert!(left[0]["display_name"].as_str().is_some_and(|n| n.contains("bob")), "{left:?}");
    b.hears(&[], &[500.0, 900.0]);
    b.hang_up();
    wait_participants(&server.api(), &room, 0);
    testkit::wait::until_true("an idle room", SOON, || {
        server.api().get(&format!("/api/conference_rooms/{room}/status")).json()["status"] == "ONLINE"
    });
}

#[test]
fn each_leg_gets_fifty_packets_a_second_in_order() {
    let server = setup().start();
    server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Opus, 900.0);
    for phone in [&a, &b] {
        phone.peer.listen(200).expect("sound");
        phone.peer.forget();
    }
    for phone in [&a, &b] {
        phone.peer.listen(2_000).expect("sound");
        let heard = phone.peer.heard();
        assert_eq!((heard.sequence_gaps, heard.out_of_order, heard.ssrc_changes), (0, 0, 0));
        let stamps: Vec<u32> = heard.arrivals.iter().map(|x| x.timestamp).collect();
        let step = phone.peer.rate_hz() / 50;
        assert!(stamps.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step), "timestamps go on by {step}");
    }
}

#[test]
fn rtcp_reports_come_both_ways() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let _b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    testkit::wait::until("a sender report with a block on us", std::time::Duration::from_secs(12), || {
        let reports = a.peer.reports();
        if let Some((_, Err(why))) = reports.iter().find(|(_, r)| r.is_err()) {
            panic!("malformed RTCP: {why}");
        }
        let good = reports.iter().filter_map(|(_, r)| r.as_ref().ok());
        let whole = good.clone().any(|r| r.sender.is_some() && !r.blocks.is_empty() && r.has_cname);
        if whole { Ok(()) } else { Err(format!("{:?}", good.collect::<Vec<_>>())) }
    });
    let listed = server.api().participants(&room);
    let stats = &listed[0]["stats"];
    assert!(stats["packets_received"].as_u64().is_some_and(|n| n > 0), "{stats}");
}
