//! SIPp, a client that nobody here wrote, plays the scenarios in `tests/sipp/`.

use crate::support::{SOON, setup, talker};
use std::path::{Path, PathBuf};
use testkit::api::Api;
use testkit::sdp::Codec;
use testkit::server::Server;
use testkit::sip_ua::Transport;
use testkit::sipp::{Counted, Run};
use testkit::wait;

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp").join(format!("{name}.xml"))
}

#[track_caller]
fn play(server: &Server, name: &str, extension: &str, transport: Transport, calls: u32, rate: u32) -> Counted {
    let file = scenario(name);
    let run = Run { scenario: &file, server: server.sip_address(), extension, transport, calls, rate, capture: None };
    match run.play() {
        Ok(counted) => counted,
        Err(why) => panic!("{name} over {transport:?}: {why}"),
    }
}

#[track_caller]
fn wait_empty(api: &Api, room: &str) {
    wait::until("an empty room", SOON, || match api.participants(room).len() {
        0 => Ok(()),
        n => Err(format!("{n} participants")),
    });
}

#[test]
fn call_is_answered_and_ended_over_udp_and_tcp() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    for transport in [Transport::Udp, Transport::Tcp] {
        play(&server, "call", "900", transport, 1, 1);
        wait_empty(&server.api(), &room);
    }
}

#[test]
fn hold_and_resume() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    for transport in [Transport::Udp, Transport::Tcp] {
        play(&server, "hold", "900", transport, 1, 1);
    }
    wait_empty(&server.api(), &room);
}

#[test]
fn offerless_invite() {
    let server = setup().start();
    let room = server.api().create_room("900", 10);
    play(&server, "offerless", "900", Transport::Udp, 1, 1);
    wait_empty(&server.api(), &room);
}

#[test]
fn cancel_leaves_no_seat_taken() {
    let server = setup().start();
    let room = server.api().create_room("900", 1);
    for _ in 0..5 {
        play(&server, "cancel", "900", Transport::Udp, 1, 1);
        wait_empty(&server.api(), &room);
    }
}

#[test]
fn options() {
    let server = setup().start();
    for transport in [Transport::Udp, Transport::Tcp] {
        play(&server, "options", "900", transport, 3, 10);
    }
}

#[test]
fn wrong_extension_is_404() {
    let server = setup().start();
    for transport in [Transport::Udp, Transport::Tcp] {
        play(&server, "wrong_extension", "999", transport, 3, 10);
    }
}

#[test]
fn full_room_is_486() {
    let server = setup().start();
    server.api().create_room("900", 1);
    let phone = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    for transport in [Transport::Udp, Transport::Tcp] {
        play(&server, "room_full", "900", transport, 3, 10);
    }
    assert!(!phone.call.is_ended());
}

#[test]
fn burst_of_fifty_calls_is_answered_without_a_resend() {
    let server = setup().legs(60).start();
    let room = server.api().create_room("900", 60);
    let counted = play(&server, "call", "900", Transport::Udp, 50, 1_000);
    assert_eq!(counted.successful, 50);
    assert_eq!(counted.retransmissions, 0);
    wait_empty(&server.api(), &room);
}

#[test]
fn burst_of_fifty_calls_over_one_tcp_connection() {
    let server = setup().legs(60).start();
    let room = server.api().create_room("900", 60);
    assert_eq!(play(&server, "call", "900", Transport::Tcp, 50, 1_000).successful, 50);
    wait_empty(&server.api(), &room);
}
