//! A leg that goes from one room to another: its far end sees one stream, and is heard in the new room at once.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use media::simulated::SimulatedRoom;
use media::{
    Bitrate, CodecName, Engine, EngineConfig, Error, Finalize, FrameRate, LegId, LegSettings, Refused, Reply,
    ReserveAt, Resolution, RoomGroup, RoomId, RoomSpec, VideoCodec, VideoSpec,
};
use testkit::tone;

use super::parties::{CODECS, Party, offer, spec};

const TICK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Header {
    marker: bool,
    pub(crate) seq: u16,
    timestamp: u32,
    ssrc: u32,
}

fn header(packet: &[u8]) -> Header {
    Header {
        marker: packet[1] & 0x80 != 0,
        seq: u16::from_be_bytes([packet[2], packet[3]]),
        timestamp: u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]),
        ssrc: u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]),
    }
}

/// Moves a leg whose worker ticks at whole 20 ms to one that ticks `phase` later, where it arrives after `away`. Gives
/// what was sent to it, and when.
fn moved(codec: CodecName, phase: Duration, away: Duration) -> Vec<(Duration, Header)> {
    let origin = Instant::now();
    let mut first = SimulatedRoom::new(spec(8), origin);
    let mut second = SimulatedRoom::new(spec(8), origin + phase);
    let (leg, _) = first.join(&offer(codec), &CODECS, LegSettings::default()).unwrap();
    let rate = codec.clock_hz();
    let mut party = Party::new(leg, codec, tone::sine(rate, 440.0, -20.0, rate as usize));
    // Somebody is there already, and hears the newcomer.
    let (other, _) = second.join(&offer(CodecName::Pcmu), &CODECS, LegSettings::default()).unwrap();
    let mut listener = Party::new(other, CodecName::Pcmu, vec![0; 8_000]);
    let mut sent = Vec::new();
    let mut leave_at = 50;
    let (mut on_the_way, mut waiting, mut here) = (None, Vec::new(), None);
    for tick in 1..=150u32 {
        let spoken = (TICK * tick - Duration::from_millis(7), party.speak());
        let now = TICK * tick;
        match here {
            None => waiting.push(spoken),
            // Times in the second room are relative to its own origin.
            Some(leg) => second.deliver(leg, spoken.0 - phase, &spoken.1),
        }
        let packet = listener.speak();
        second.deliver(other, now - Duration::from_millis(3), &packet);
        second.tick(
            &mut |to: LegId, packet| match here {
                Some(leg) if leg == to => sent.push((now + phase, header(packet))),
                _ => listener.hear(packet),
            },
            &mut |_| (),
        );
        if tick <= leave_at {
            for (at, packet) in waiting.drain(..) {
                first.deliver(leg, at, &packet);
            }
        }
        first.tick(&mut |_, packet| sent.push((now, header(packet))), &mut |_| ());
        if tick == leave_at {
            on_the_way = first.detach(leg);
            assert!(on_the_way.is_some());
            leave_at = 0;
        }
        if here.is_none() && now >= TICK * 50 + away {
            let leg = second.attach(on_the_way.take().unwrap(), LegSettings::default());
            for (at, packet) in waiting.drain(..) {
                second.deliver(leg, at - phase, &packet);
            }
            here = Some(leg);
        }
    }
    let level = tone::level(listener.last(0.5), 8_000, 440.0);
    assert!((level + 20.0).abs() < 1.5, "heard in the new room at {level}");
    let stats = second.snapshot().legs[1].stats;
    assert_eq!((stats.packets_lost, stats.packets_received), (0, 150), "what arrived on the way was not lost");
    sent
}

#[test]
fn the_far_end_sees_one_stream_across_rooms() {
    for codec in [CodecName::Pcmu, CodecName::Opus] {
        for (phase_ms, away_ms) in [(0, 0), (10, 0), (0, 40), (13, 60), (5, 500)] {
            let sent = moved(codec, Duration::from_millis(phase_ms), Duration::from_millis(away_ms));
            assert!(sent.len() > 100);
            let (begin, first) = sent[0];
            for (n, (at, header)) in sent.iter().enumerate() {
                assert_eq!(header.seq, first.seq.wrapping_add(n as u16), "numbers are continuous");
                assert_eq!(header.ssrc, first.ssrc);
                let units = (*at - begin).as_micros() * u128::from(codec.clock_hz()) / 1_000_000;
                assert_eq!(header.timestamp.wrapping_sub(first.timestamp), units as u32, "packet {n} at {at:?}");
            }
            let markers: Vec<usize> = sent.iter().enumerate().filter(|(_, s)| s.1.marker).map(|(n, _)| n).collect();
            let gap = phase_ms + away_ms > 0;
            assert_eq!(markers.len(), 1 + usize::from(gap), "{phase_ms} {away_ms}: {markers:?}");
        }
    }
}

#[test]
fn a_worker_whose_ticks_come_earlier_does_not_turn_time_back() {
    let origin = Instant::now();
    let mut rooms =
        [SimulatedRoom::new(spec(8), origin), SimulatedRoom::new(spec(8), origin - Duration::from_millis(8))];
    let (mut leg, _) = rooms[0].join(&offer(CodecName::Pcmu), &CODECS, LegSettings::default()).unwrap();
    let mut sent: Vec<Header> = Vec::new();
    let mut room = 0;
    // Back and forth: 12 ms to the earlier ticks, 28 ms to the later ones, 20 ms in the mean.
    for round in 0..20 {
        for _ in 0..5 {
            let here = leg;
            rooms[room].tick(
                &mut |to, packet| {
                    if to == here {
                        sent.push(header(packet))
                    }
                },
                &mut |_| (),
            );
            rooms[1 - room].tick(&mut |_, _| (), &mut |_| ());
        }
        let name = rooms[room].snapshot().legs[0].leg;
        let moving = rooms[room].detach(name).unwrap();
        room = 1 - room;
        leg = rooms[room].attach(moving, LegSettings::default());
        assert_eq!(rooms[room].snapshot().legs.len(), 1, "round {round}");
    }
    assert!(sent.len() >= 95, "{}", sent.len());
    let steps: Vec<u32> = sent.windows(2).map(|w| w[1].timestamp.wrapping_sub(w[0].timestamp)).collect();
    assert!(steps.iter().all(|step| (160..=160 + 64).contains(step)), "{steps:?}");
    let drift = sent[sent.len() - 1].timestamp.wrapping_sub(sent[0].timestamp) as i64 - 160 * (sent.len() as i64 - 1);
    assert!(drift.abs() <= 64, "it does not add up: {drift}");
}

/// Waits for a packet that the server sends here.
pub(crate) fn receive(socket: &UdpSocket) -> (Header, SocketAddr) {
    let mut packet = [0; 2_000];
    let (len, from) = socket.recv_from(&mut packet).expect("the server sends every 20 ms");
    (header(&packet[..len]), from)
}

pub(crate) fn answered<T: Send + 'static>(ask: impl FnOnce(Reply<T>)) -> T {
    let (told, answer) = std::sync::mpsc::channel();
    ask(Reply::new(move |value| drop(told.send(value))));
    answer.recv_timeout(Duration::from_secs(20)).expect("a worker answers")
}

pub(crate) fn config(rtp_ports: RangeInclusive<u16>) -> EngineConfig {
    EngineConfig {
        workers: 2,
        rtp_ports,
        codecs: CODECS.to_vec(),
        playout_ceiling: Duration::from_millis(200),
        media_timeout: Duration::from_secs(60),
        composers: 1,
        video_codecs: vec![VideoCodec::H264],
        begin_worker: || (),
        begin_composer: || (),
        movies: Finalize::Fragmented,
        web: None,
    }
}

pub(crate) fn phone() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[test]
fn a_leg_goes_to_another_worker_with_its_sockets_and_back_and_gives_them_up() {
    let (engine, _events) = Engine::start(config(24_310..=24_313)).unwrap();
    // Two rooms are placed on two idle workers.
    let rooms = [RoomId(1), RoomId(2)];
    rooms.iter().for_each(|room| engine.open_room(*room, RoomGroup(room.0 as i64), spec(8)).unwrap());
    let (phone, port) = phone();
    let offer = offer(CodecName::Pcmu).replace("192.0.2.1", "127.0.0.1").replace("4000", &port.to_string());
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let at = ReserveAt { bind: loopback, advertise: loopback };
    let reservation = engine.reserve(rooms[0], at).unwrap();
    let id = reservation.leg();
    let (mut leg, _) = media::answer(&offer, reservation, loopback).unwrap();
    let mut packets = Vec::new();
    let mut server = None;
    for round in 0..6 {
        let (from, to) = (rooms[round % 2], rooms[(round + 1) % 2]);
        answered(|reply| engine.join(from, leg, "a".into(), LegSettings::default(), reply).unwrap()).unwrap();
        for _ in 0..5 {
            let (header, address) = receive(&phone);
            assert_eq!(*server.get_or_insert(address), address, "the same socket");
            packets.push(header);
        }
        let detached = answered(|reply| engine.detach(from, id, reply).unwrap());
        leg = *detached.unwrap();
        assert_eq!(leg.id(), id);
        let gone = answered(|reply| engine.detach(from, id, reply).unwrap());
        assert_eq!(gone.err(), Some(Error::Refused(Refused::UnknownLeg)));
        assert_eq!(answered(|reply| engine.snapshot(to, reply).unwrap()).unwrap().legs.len(), 0);
    }
    // Some were sent between the last that was read here and the move.
    drop(leg);
    phone.set_nonblocking(true).unwrap();
    let mut rest = [0; 2_000];
    while let Ok((len, _)) = phone.recv_from(&mut rest) {
        packets.push(header(&rest[..len]));
    }
    for pair in packets.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "no number is left out, none is sent twice");
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert!((160..80_000).contains(&pair[1].timestamp.wrapping_sub(pair[0].timestamp)), "{pair:?}");
    }
    // A leg that is dropped gives its ports back: two pairs are all there are, and both can be had.
    let both: Vec<_> = rooms.iter().map(|room| engine.reserve(*room, at)).collect();
    assert!(both.iter().all(Result::is_ok), "{both:?}");
    drop(both);
    engine.stop();
}

/// What is received up to the last packet of so many pictures.
fn pictures(socket: &UdpSocket, count: usize) -> Vec<Header> {
    let mut packets = Vec::new();
    let mut seen = 0;
    while seen < count {
        let packet = receive(socket).0;
        seen += usize::from(packet.marker);
        packets.push(packet);
    }
    packets
}

#[test]
fn a_leg_sees_the_picture_of_each_room_that_it_comes_to() {
    let (engine, _events) = Engine::start(config(24_320..=24_327)).unwrap();
    let video = VideoSpec {
        resolution: Resolution::new(320, 180).unwrap(),
        framerate: FrameRate::per_second(15),
        bitrate: Bitrate::kbps(300),
        name_strips: false,
    };
    let (lobby, first, second) = (RoomId(1), RoomId(2), RoomId(3));
    let with_picture = RoomSpec { video: Some(video), ..spec(8) };
    engine.open_room(lobby, RoomGroup(1), spec(8)).unwrap();
    engine.open_room(first, RoomGroup(2), with_picture.clone()).unwrap();
    let ((sound, sound_port), (sight, sight_port)) = (phone(), phone());
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {sound_port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\nm=video {sight_port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
         a=fmtp:96 profile-level-id=42e01f;packetization-mode=1\r\n"
    );
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let reservation =
        engine.reserve_for_picture(lobby, ReserveAt { bind: loopback, advertise: loopback }, video).unwrap();
    let id = reservation.leg();
    let (leg, answer) = media::answer(&offer, reservation, loopback).unwrap();
    assert_eq!(answer.video, Some(VideoCodec::H264));
    let enter = |room, leg| {
        answered(|reply| engine.join(room, leg, "a".into(), LegSettings::default(), reply).unwrap()).unwrap();
    };
    let exit = |room| *answered(|reply| engine.detach(room, id, reply).unwrap()).unwrap();
    enter(lobby, leg);
    let ssrc = receive(&sound).0.ssrc;
    (0..4).for_each(|_| assert_eq!(receive(&sound).0.ssrc, ssrc));
    enter(first, exit(lobby));
    let mut packets = pictures(&sight, 8);
    // The picture of this room begins later, and so does its media time.
    engine.open_room(second, RoomGroup(3), with_picture).unwrap();
    let leg = exit(first);
    enter(second, leg);
    // Of the first room a few were on the way.
    packets.extend(pictures(&sight, 12));
    enter(first, exit(second));
    packets.extend(pictures(&sight, 12));
    let mut near = 0;
    for pair in packets.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "numbers are continuous");
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        if pair[0].marker {
            assert!((1..900_000).contains(&step), "from one picture to the next: {step}");
            near += usize::from(step < 3_000);
        } else {
            assert_eq!(step, 0, "within a picture");
        }
    }
    // A fifteenth of a second is 6,000; only where a room's first picture follows the other room's last they may be nearer.
    assert!(near <= 2, "{near} pictures follow at once");
    engine.stop();
}
