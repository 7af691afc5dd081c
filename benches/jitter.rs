//! The receive side of one leg: insert a packet, pull a frame. A tick has 20,000 µs; 200 legs do this once in it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use media::audio::frame::Frame;
use media::playout::Playout;
use media::{CodecName, SampleRate};

const LOOP: usize = 50;

fn payloads(codec: CodecName) -> Vec<Vec<u8>> {
    let rate = codec.clock_hz();
    let pcm = testkit::tone::sine(rate, 333.0, -15.0, rate as usize);
    let frame = rate as usize / LOOP;
    if codec == CodecName::Opus {
        let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).expect("encoder");
        encoder.set_inband_fec(true).expect("fec");
        encoder.set_packet_loss_perc(10).expect("loss");
        pcm.chunks(frame).map(|f| encoder.encode_vec(f, 1275).expect("packet")).collect()
    } else {
        pcm.chunks(frame).map(|f| f.iter().map(|s| testkit::g711::ulaw_encode(*s)).collect()).collect()
    }
}

fn jitter(c: &mut Criterion) {
    for (codec, rate, name) in
        [(CodecName::Pcmu, SampleRate::Hz8000, "pcmu"), (CodecName::Opus, SampleRate::Hz48000, "opus")]
    {
        let payloads = payloads(codec);
        let step = codec.clock_hz() / 50;
        for (network, lost, jitter_ms) in [("quiet", 0, 0), ("10 % lost", 10, 0), ("30 ms jitter", 0, 30)] {
            let start = Instant::now();
            let mut playout = Playout::new(codec, Duration::from_millis(200));
            let mut frame = Frame::silence(rate);
            let mut n = 0u32;
            c.bench_function(&format!("jitter/{name}/{network}"), |b| {
                b.iter(|| {
                    n += 1;
                    let tick = start + Duration::from_millis(20) * n;
                    // A fixed pseudo-random pattern, the same in every run.
                    let dice = n.wrapping_mul(2_654_435_761) >> 16;
                    if lost == 0 || dice % 100 >= lost {
                        let late = if jitter_ms == 0 { 0 } else { dice % jitter_ms };
                        let arrived = tick - Duration::from_millis(35) + Duration::from_millis(u64::from(late));
                        let payload = &payloads[n as usize % LOOP];
                        playout.insert(arrived, n as u16, n.wrapping_mul(step), 1, false, payload);
                    }
                    black_box(playout.pull(tick, &mut frame));
                });
            });
        }
    }
}

criterion_group!(benches, jitter);
criterion_main!(benches);
