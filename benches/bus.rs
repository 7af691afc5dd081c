//! The bus: sum, full mix and mix-minus. A tick has 20,000 µs; the bus of 200 talkers should take a hundredth.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::SampleRate;
use media::audio::bus::Buses;
use media::audio::frame::{Frame, MAX_FRAME_SAMPLES};

fn frame(rate: SampleRate, n: i16) -> Frame {
    let mut frame = Frame::silence(rate);
    for (i, s) in frame.samples_mut().iter_mut().enumerate() {
        *s = (i as i16).wrapping_mul(n * 37 + 11);
    }
    frame
}

fn bus(c: &mut Criterion) {
    for (name, rates) in [
        ("8 kHz", &[SampleRate::Hz8000][..]),
        ("48 kHz", &[SampleRate::Hz48000]),
        ("8 and 48 kHz", &[SampleRate::Hz8000, SampleRate::Hz48000]),
    ] {
        for talkers in [8usize, 200] {
            let frames: Vec<Frame> = (0..talkers).map(|n| frame(rates[n % rates.len()], n as i16)).collect();
            let mut wanted = [false; 3];
            rates.iter().for_each(|r| wanted[r.index()] = true);
            let mut buses = Buses::new();
            buses.prepare(wanted, wanted);
            let mut out = [0; MAX_FRAME_SAMPLES];
            c.bench_function(&format!("bus/{name}/{talkers} talkers"), |b| {
                b.iter(|| {
                    buses.clear();
                    frames.iter().for_each(|f| buses.add(f));
                    buses.mix(wanted);
                    for own in &frames {
                        black_box(buses.minus(own, &mut out));
                    }
                });
            });
        }
    }
}

criterion_group!(benches, bus);
criterion_main!(benches);
