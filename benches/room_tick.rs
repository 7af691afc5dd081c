//! One tick of a room: everything but sockets. A tick has 20,000 µs for all rooms of a worker.
//!
//! After the criterion figures it runs a real worker for 10,000 ticks and prints how late they were.

use std::f32::consts::TAU;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group};
use media::simulated::SimulatedRoom;
use media::{
    AudioSpec, Bitrate, CodecName, Engine, EngineConfig, LegId, LegSettings, Reply, ReserveAt, RoomGroup, RoomId,
    RoomSpec,
};

const CODECS: [CodecName; 2] = [CodecName::Pcmu, CodecName::Opus];
/// One second of packets, repeated.
const LOOP: usize = 50;

fn spec(max_talkers: usize) -> RoomSpec {
    RoomSpec { audio: AudioSpec { max_talkers, opus_bitrate: Bitrate::kbps(96), opus_complexity: 5 }, video: None }
}

fn offer(codec: CodecName) -> &'static str {
    match codec {
        CodecName::Opus => {
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 111\r\n\
             a=rtpmap:111 opus/48000/2\r\n"
        }
        _ => "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    }
}

/// Speech-like noise, louder for lower `n`; a talker's payloads for one second.
fn payloads(codec: CodecName, n: usize, talks: bool) -> Vec<Vec<u8>> {
    let rate = if codec == CodecName::Opus { 48_000usize } else { 8_000 };
    let gain = if talks { 9_000.0 / (1.0 + n as f32 * 0.02) } else { 12.0 };
    let mut noise = 0x1234_5678u32 ^ n as u32;
    let pcm: Vec<i16> = (0..rate)
        .map(|i| {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let t = i as f32 / rate as f32;
            let voice = (t * (120.0 + n as f32) * TAU).sin() + 0.5 * (t * 700.0 * TAU).sin();
            let syllable = (t * 4.0 * TAU).sin().abs();
            (gain * (voice * syllable + 0.1 * (noise as f32 / u32::MAX as f32 - 0.5))) as i16
        })
        .collect();
    let frame = rate / LOOP;
    if codec == CodecName::Opus {
        let mut encoder = opus_encoder();
        pcm.chunks(frame).map(|f| encoder.encode_vec(f, 1275).unwrap_or_default()).collect()
    } else {
        pcm.chunks(frame).map(|f| f.iter().map(|s| testkit::g711::ulaw_encode(*s)).collect()).collect()
    }
}

fn opus_encoder() -> opus::Encoder {
    use opus::{Application, Bitrate, Channels, Encoder};
    let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).expect("encoder");
    encoder.set_bitrate(Bitrate::Bits(32_000)).expect("bitrate");
    encoder
}

struct Party {
    leg: LegId,
    codec: CodecName,
    payloads: Vec<Vec<u8>>,
    packet: Vec<u8>,
}

struct Load {
    room: SimulatedRoom,
    parties: Vec<Party>,
    tick: u32,
}

impl Load {
    fn new(codecs: &[CodecName], talking: usize, max_talkers: usize) -> Self {
        let mut room = SimulatedRoom::new(spec(max_talkers), Instant::now());
        let parties = codecs
            .iter()
            .enumerate()
            .map(|(n, codec)| {
                let (leg, _) = room.join(offer(*codec), &CODECS, LegSettings::default()).expect("join");
                Party {
                    leg,
                    codec: *codec,
                    payloads: payloads(*codec, n, n < talking),
                    packet: Vec::with_capacity(1500),
                }
            })
            .collect();
        let mut load = Self { room, parties, tick: 0 };
        (0..100).for_each(|_| load.tick());
        load
    }

    fn tick(&mut self) {
        self.tick += 1;
        let arrived = Duration::from_millis(20) * self.tick - Duration::from_millis(5);
        for party in &mut self.parties {
            let (pt, step) = if party.codec == CodecName::Opus { (111, 960) } else { (0, 160) };
            party.packet.clear();
            party.packet.extend_from_slice(&[0x80, pt]);
            party.packet.extend_from_slice(&(self.tick as u16).to_be_bytes());
            party.packet.extend_from_slice(&(self.tick * step).to_be_bytes());
            party.packet.extend_from_slice(&(party.leg.0 as u32 + 1).to_be_bytes());
            party.packet.extend_from_slice(&party.payloads[self.tick as usize % LOOP]);
            self.room.deliver(party.leg, arrived, &party.packet);
        }
        self.room.tick(
            &mut |leg, packet| {
                black_box((leg, packet.len()));
            },
            &mut drop,
        );
    }
}

/// The codec of leg `n`.
type Mix = fn(usize) -> CodecName;

fn room_tick(c: &mut Criterion) {
    let mut group = c.benchmark_group("room_tick");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for legs in [3usize, 10, 50, 200] {
        let mixes: [(&str, Mix); 3] = [
            ("pcmu", |_| CodecName::Pcmu),
            ("opus", |_| CodecName::Opus),
            ("half", |n| if n % 2 == 0 { CodecName::Pcmu } else { CodecName::Opus }),
        ];
        for (name, codec) in mixes {
            let codecs: Vec<CodecName> = (0..legs).map(codec).collect();
            let mut talking: Vec<usize> = [1, 3, 8, legs].into_iter().filter(|t| *t <= legs).collect();
            talking.dedup();
            for talking in talking {
                let mut load = Load::new(&codecs, talking, 8);
                group.bench_function(BenchmarkId::new(format!("{name}/{legs} legs"), format!("{talking} talk")), |b| {
                    b.iter(|| load.tick());
                });
            }
        }
    }
    group.finish();
}

/// 10,000 ticks of a worker with twenty G.711 legs that are sent to: how late the thread wakes.
fn lateness() {
    const TICKS: u64 = 10_000;
    let config = EngineConfig {
        workers: 1,
        rtp_ports: 24_000..=24_199,
        codecs: CODECS.to_vec(),
        playout_ceiling: Duration::from_millis(200),
        media_timeout: Duration::from_secs(3600),
        composers: 1,
        video_codecs: Vec::new(),
        begin_worker: || (),
        begin_composer: || (),
        movies: media::Finalize::Plain,
        web: None,
    };
    let (engine, _events) = Engine::start(config).expect("engine");
    let room = RoomId(1);
    let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
    engine.open_room(room, RoomGroup(1), spec(8)).expect("room");
    for _ in 0..20 {
        let reservation = engine.reserve(room, ReserveAt { bind: loopback, advertise: loopback }).expect("ports");
        let (leg, _) = media::answer(offer(CodecName::Pcmu), reservation, loopback).expect("answer");
        engine.join(room, leg, "".into(), LegSettings::default(), Reply::ignore()).expect("join");
    }
    // Reading takes the maximum back to zero, so it is kept here.
    let mut worst = Duration::ZERO;
    let stats = loop {
        let stats = engine.worker_stats()[0];
        worst = worst.max(stats.max_lateness);
        if stats.ticks >= TICKS {
            break stats;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let p99 = stats.lateness.quantile(0.99);
    let media::WorkerStats { ticks, ticks_skipped, .. } = stats;
    let mut out = std::io::stdout();
    writeln!(out, "running worker, {ticks} ticks: p99 lateness ≤ {p99:?}, maximum {worst:?}, skipped {ticks_skipped}")
        .expect("stdout");
    engine.stop();
}

criterion_group!(benches, room_tick);

fn main() {
    benches();
    // `cargo bench -- --test` and filters only want the criterion part.
    if std::env::args().nth(1).is_none_or(|arg| arg == "--bench") && std::env::args().len() <= 2 {
        lateness();
    }
}
