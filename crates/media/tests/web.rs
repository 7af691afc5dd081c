//! Browsers' legs over real sockets on loopback: the far end is a whole ICE agent with DTLS-SRTP.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crossbeam_channel::Receiver;
use media::{
    Bitrate, Engine, EngineConfig, Error, Event, Finalize, FrameRate, LegEnd, LegId, LegSettings, Place, Refused,
    Reply, ReserveAt, Resolution, RoomGroup, RoomId, RoomSpec, Seat, Stage, VideoCodec, VideoSpec, WebConfig,
};
use str0m::media::Direction;
use testkit::picture::Colour;
use testkit::signal;
use testkit::tone::Expectation;
use testkit::video_codec::VideoCodec as Coder;
use testkit::web_client::{WebAudio, WebClient, WebOptions, run, run_until};

use super::parties::{CODECS, spec};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOM: RoomId = RoomId(1);
/// Longer than anything takes that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

fn engine() -> (Engine, Receiver<Event>) {
    Engine::start(EngineConfig {
        workers: 2,
        rtp_ports: 24_340..=24_349,
        codecs: CODECS.to_vec(),
        playout_ceiling: Duration::from_millis(200),
        media_timeout: Duration::from_secs(60),
        composers: 1,
        video_codecs: vec![VideoCodec::H264, VideoCodec::Vp8],
        begin_worker: || (),
        begin_composer: || (),
        movies: Finalize::Fragmented,
        web: Some(WebConfig {
            udp_port: 0,
            tcp_port: None,
            addresses: vec![ReserveAt { bind: LOOPBACK, advertise: LOOPBACK }],
            resume: Duration::from_secs(6),
        }),
    })
    .unwrap()
}

fn answered<T: Send + 'static>(ask: impl FnOnce(Reply<T>)) -> T {
    let (told, answer) = std::sync::mpsc::channel();
    ask(Reply::new(move |value| drop(told.send(value))));
    answer.recv_timeout(PATIENCE).expect("a worker answers")
}

/// Brings a client into a room.
fn enter(engine: &Engine, room: RoomId, client: &mut WebClient) -> LegId {
    let reservation = engine.reserve_web(room).unwrap();
    let id = reservation.leg();
    let (leg, answer) = media::answer(client.offer(), reservation, LOOPBACK).unwrap();
    client.accept(&answer.sdp).unwrap_or_else(|e| panic!("{e}\n{}\n{}", client.offer(), answer.sdp));
    let settings = LegSettings::default();
    answered(|reply| engine.join(room, leg, "a".into(), settings, reply).unwrap()).unwrap();
    id
}

fn connected(clients: &[&mut WebClient]) -> bool {
    clients.iter().all(|client| client.log.connected.is_some() && client.log.audio_frames > 0)
}

fn hears(client: &WebClient, present: &[f64], absent: &[f64]) -> Result<(), String> {
    let heard = client.heard();
    let Some(last) = heard.len().checked_sub(24_000) else { return Err("less than half a second".to_owned()) };
    let expected =
        Expectation { present: present.to_vec(), absent: absent.to_vec(), level_db: -20.0, tolerance_db: 2.5 };
    expected.check(&heard[last..], 48_000)
}

/// Lets time pass until it hears that; the reason why it does not.
fn wait_to_hear(clients: &mut [&mut WebClient], expected: &[(&[f64], &[f64])]) -> Result<(), String> {
    let all = |clients: &[&mut WebClient]| {
        clients.iter().zip(expected).try_for_each(|(client, (present, absent))| hears(client, present, absent))
    };
    match run_until(clients, PATIENCE, |clients| all(clients).is_ok()) {
        true => Ok(()),
        false => all(clients),
    }
}

fn wait_for(events: &Receiver<Event>, clients: &mut [&mut WebClient], wanted: impl Fn(&Event) -> bool) -> Event {
    let mut found = None;
    let seen = std::cell::RefCell::new(&mut found);
    run_until(clients, PATIENCE, |_| {
        let mut seen = seen.borrow_mut();
        **seen = events.try_iter().find(|event| wanted(event));
        seen.is_some()
    });
    found.expect("the event")
}

#[test]
fn browsers_hear_each_other_and_not_themselves() {
    let (engine, events) = engine();
    engine.open_room(ROOM, RoomGroup(1), spec(8)).unwrap();
    let codec = |audio| WebClient::new(WebOptions { audio, ..WebOptions::default() });
    let (mut a, mut b, mut c) = (codec(WebAudio::Opus), codec(WebAudio::Opus), codec(WebAudio::Pcma));
    a.say(Some(signal::tone(48_000, 440.0, -20.0)));
    b.say(Some(signal::tone(48_000, 620.0, -20.0)));
    c.say(Some(signal::tone(8_000, 830.0, -20.0)));
    let legs = [&mut a, &mut b, &mut c].map(|client| enter(&engine, ROOM, client));
    let mut all = [&mut a, &mut b, &mut c];
    assert!(run_until(&mut all, PATIENCE, connected));
    wait_to_hear(&mut all, &[(&[620.0, 830.0], &[440.0]), (&[440.0, 830.0], &[620.0]), (&[440.0, 620.0], &[])])
        .unwrap();
    let mut ups: Vec<LegId> = events
        .try_iter()
        .filter_map(|event| match event {
            Event::LegUp { leg, .. } => Some(leg),
            _ => None,
        })
        .collect();
    ups.sort_by_key(|leg| leg.0);
    assert_eq!(ups, legs);
    let stats = answered(|reply| engine.snapshot(ROOM, reply).unwrap()).unwrap();
    let is_well =
        |leg: &media::LegSnapshot| leg.talking && leg.stats.packets_received > 10 && leg.stats.packets_lost == 0;
    assert!(stats.legs.iter().all(is_well), "{:?}", stats.legs);

    // One says that it goes, one is put out.
    a.close();
    let gone = wait_for(&events, &mut [&mut b, &mut c], |event| matches!(event, Event::LegDown { .. }));
    assert_eq!(gone, Event::LegDown { room: ROOM, leg: legs[0], reason: LegEnd::Closed });
    engine.leave(ROOM, legs[1]);
    assert!(run_until(&mut [&mut b, &mut c], PATIENCE, |clients| clients[0].log.closed), "it is told");
    engine.stop();
}

#[test]
fn pictures_go_both_ways_in_both_codecs() {
    let (engine, _events) = engine();
    let video = VideoSpec {
        resolution: Resolution::new(640, 360).unwrap(),
        framerate: FrameRate::per_second(15),
        bitrate: Bitrate::kbps(600),
        name_strips: false,
    };
    engine.open_room(ROOM, RoomGroup(1), RoomSpec { video: Some(video), ..spec(8) }).unwrap();
    let client =
        |coder| WebClient::new(WebOptions { video: Some((coder, Direction::SendRecv)), ..WebOptions::default() });
    let (mut a, mut b) = (client(Coder::H264), client(Coder::Vp8));
    a.show(Some(Colour::Red));
    b.show(Some(Colour::Blue));
    let legs = [&mut a, &mut b].map(|client| enter(&engine, ROOM, client));
    let mut stage = Stage::new();
    stage.set_seats(&legs.map(|leg| Seat { leg, place: Place::Auto, is_chairman_main: false }));
    let arrangement = *stage.settle(std::time::Instant::now()).expect("somebody came");
    engine.arrange(ROOM, arrangement).unwrap();
    let both = |clients: &[&mut WebClient]| {
        clients.iter().all(|client| {
            client.seen().is_some_and(|picture| {
                let colours = picture.sketch(8, 4);
                colours.contains('R') && colours.contains('B')
            })
        })
    };
    let is_seen = run_until(&mut [&mut a, &mut b], PATIENCE, both);
    let sketches = [&a, &b].map(|client| client.seen().map(|picture| picture.sketch(8, 4)));
    assert!(is_seen, "{sketches:?} {:?} {:?}", a.log, b.log);
    assert!(a.log.keyframe_requests < 10 && b.log.keyframe_requests < 10, "{:?} {:?}", a.log, b.log);
    engine.stop();
}

#[test]
fn a_browser_goes_on_from_another_address_and_to_another_room() {
    let (engine, events) = engine();
    engine.open_room(ROOM, RoomGroup(1), spec(8)).unwrap();
    // The other worker would be its place.
    let second = RoomId(2);
    engine.open_room(second, RoomGroup(1), spec(8)).unwrap();
    let elsewhere = RoomId(3);
    engine.open_room(elsewhere, RoomGroup(2), spec(8)).unwrap();
    let (mut a, mut b) = (WebClient::new(WebOptions::default()), WebClient::new(WebOptions::default()));
    a.say(Some(signal::tone(48_000, 440.0, -20.0)));
    b.say(Some(signal::tone(48_000, 620.0, -20.0)));
    let legs = [&mut a, &mut b].map(|client| enter(&engine, ROOM, client));
    assert!(run_until(&mut [&mut a, &mut b], PATIENCE, connected));
    let before = a.address();
    let fragment = a.restart();
    let mut ours = String::new();
    let restarted = answered(|reply| assert!(engine.restart_ice(ROOM, legs[0], &fragment, reply).unwrap()));
    ours.push_str(&restarted.unwrap());
    a.accept_fragment(&ours).unwrap();
    assert_ne!(before, a.address());
    a.forget();
    b.forget();
    wait_to_hear(&mut [&mut a, &mut b], &[(&[620.0], &[440.0]), (&[440.0], &[620.0])]).unwrap();
    assert!(
        !engine.restart_ice(ROOM, legs[0], "a=candidate:1 1 udp 1 127.0.0.1 1 typ host\r\n", Reply::ignore()).unwrap()
    );
    assert!(engine.restart_ice(ROOM, legs[0], "a=ice-ufrag:abcd\r\n", Reply::ignore()).is_err());

    for leg in legs {
        let moving = answered(|reply| engine.detach(ROOM, leg, reply).unwrap()).unwrap();
        let settings = LegSettings::default();
        answered(|reply| engine.join(second, *moving, "a".into(), settings, reply).unwrap()).unwrap();
    }
    a.forget();
    b.forget();
    wait_to_hear(&mut [&mut a, &mut b], &[(&[620.0], &[440.0]), (&[440.0], &[620.0])]).unwrap();
    assert!(!events.try_iter().any(|event| matches!(event, Event::LegDown { .. })));

    let moving = answered(|reply| engine.detach(second, legs[0], reply).unwrap()).unwrap();
    let refused = answered(|reply| engine.join(elsewhere, *moving, "a".into(), LegSettings::default(), reply).unwrap());
    assert_eq!(refused, Err(Error::Refused(Refused::AnotherWorker)));
    engine.stop();
}

#[test]
fn what_is_nobodys_is_counted_and_who_is_away_for_long_is_gone() {
    let (engine, events) = engine();
    engine.open_room(ROOM, RoomGroup(1), spec(8)).unwrap();
    let (mut a, mut b) = (WebClient::new(WebOptions::default()), WebClient::new(WebOptions::default()));
    a.say(Some(signal::tone(48_000, 440.0, -20.0)));
    let legs = [&mut a, &mut b].map(|client| enter(&engine, ROOM, client));
    assert!(run_until(&mut [&mut a, &mut b], PATIENCE, connected));
    let stranger = WebClient::new(WebOptions::default());
    for server in engine.web_addresses() {
        stranger.send_raw(server, &[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 5]);
        stranger.send_raw(server, &[22, 254, 253, 0, 0]);
        stranger.send_raw(server, &[0; 19]);
        stranger.send_raw(server, &[1; 400]);
        stranger.send_raw(server, b"");
    }
    let strays =
        || engine.worker_stats().iter().fold([0; 4], |sum, stats| std::array::from_fn(|i| sum[i] + stats.strays[i]));
    // The socket of the worker without a browser is not read.
    assert!(run_until(&mut [&mut a, &mut b], PATIENCE, |_| strays() == [2, 0, 2, 0]), "{:?}", strays());
    // One falls silent without a word.
    let gone = wait_for(&events, &mut [&mut a], |event| matches!(event, Event::LegDown { .. }));
    assert_eq!(gone, Event::LegDown { room: ROOM, leg: legs[1], reason: LegEnd::MediaTimeout });
    run(&mut [&mut a], Duration::from_millis(100));
    engine.stop();
}

#[test]
fn offers_that_cannot_be_are_refused_with_the_reason() {
    let (engine, _events) = engine();
    engine.open_room(ROOM, RoomGroup(1), spec(8)).unwrap();
    let client = WebClient::new(WebOptions::default());
    let refused = |offer: &str| {
        let reservation = engine.reserve_web(ROOM).unwrap();
        media::answer(offer, reservation, LOOPBACK).map(drop).unwrap_err().to_string()
    };
    let offer = client.offer();
    assert!(media::is_web_offer(offer));
    let without = |name: &str| {
        let kept: Vec<&str> = offer.lines().filter(|line| !line.starts_with(name)).collect();
        kept.join("\r\n") + "\r\n"
    };
    assert!(refused(&without("a=ice-ufrag")).contains("ICE credentials"));
    assert!(refused(&without("a=fingerprint")).contains("fingerprint"));
    assert!(refused(&without("a=mid")).contains("a=mid"));
    assert!(refused(&without("a=rtcp-mux")).contains("rtcp-mux"));
    assert!(refused(&offer.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")).contains("not offered over DTLS"));
    assert!(refused(&offer.replace("opus", "nothing")).contains("no audio codec in common"));
    assert!(refused(&offer.replace("m=audio", "m=video")).contains("no audio stream"));
    let many = format!("{offer}{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(40));
    assert!(refused(&many).contains("more than 32 media lines"));
    assert!(refused(&"a=x\r\n".repeat(1 << 18)).contains("longer than"));
    // A line that nobody takes is refused by name, the rest goes on.
    let with_data = format!("{offer}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n");
    let reservation = engine.reserve_web(ROOM).unwrap();
    let (_, answer) = media::answer(&with_data, reservation, LOOPBACK).unwrap();
    assert!(answer.sdp.contains("m=application 0 "), "{}", answer.sdp);
    assert!(answer.sdp.contains("a=ice-lite"), "{}", answer.sdp);
    engine.stop();
}
