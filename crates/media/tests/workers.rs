//! A worker under load: whatever control asks of it, rooms go on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use media::{CodecName, Engine, EngineConfig, LegSettings, Reply, ReserveAt, RoomGroup, RoomId};

use super::moves::{answered, config, phone, receive};
use super::parties::{offer, spec};

const ROOM: RoomId = RoomId(1);
/// Far more than a worker takes before it looks at the clock.
const ASKING: usize = 200;

/// Asks again with each answer, so that the worker's queue is never empty.
fn ask(engine: &Engine, stop: &Arc<AtomicBool>) {
    if stop.load(Ordering::Relaxed) {
        return;
    }
    let (again, stop) = (engine.clone(), Arc::clone(stop));
    // Refused: the engine stops, or the queue is full as it should be.
    drop(engine.snapshot(ROOM, Reply::new(move |_| ask(&again, &stop))));
}

#[test]
fn commands_without_end_do_not_hold_up_the_ticks() {
    let (engine, _events) = Engine::start(EngineConfig { workers: 1, ..config(24_328..=24_331) }).unwrap();
    engine.open_room(ROOM, RoomGroup(1), spec(8)).unwrap();
    let (phone, port) = phone();
    let offer = offer(CodecName::Pcmu).replace("192.0.2.1", "127.0.0.1").replace("4000", &port.to_string());
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let reservation = engine.reserve(ROOM, ReserveAt { bind: loopback, advertise: loopback }).unwrap();
    let (leg, _) = media::answer(&offer, reservation, loopback).unwrap();
    answered(|reply| engine.join(ROOM, leg, "a".into(), LegSettings::default(), reply).unwrap()).unwrap();
    let first = receive(&phone).0;
    let stop = Arc::new(AtomicBool::new(false));
    (0..ASKING).for_each(|_| ask(&engine, &stop));
    // More than the socket holds of what was sent before.
    while receive(&phone).0.seq.wrapping_sub(first.seq) < 25 {}
    // And what is asked is answered, though it has to wait for its turn.
    answered(|reply| engine.snapshot(ROOM, reply).unwrap()).unwrap();
    stop.store(true, Ordering::Relaxed);
    engine.stop();
}
