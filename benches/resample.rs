//! The arithmetic on each frame of a bus: rate change, level, limiter. Budget: a tick has 20,000 µs for all rooms of a worker; a
//! room with phones and browsers spends two rate changes, a limiter for each distinct output and a level for each talker.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::SampleRate;
use media::audio::frame::Frame;
use media::audio::level;
use media::audio::limit::Limiter;
use media::audio::resample::Resampler;

fn resample(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample");
    for from in SampleRate::ALL {
        for to in SampleRate::ALL.into_iter().filter(|&to| to != from) {
            let mut resampler = Resampler::new(from, to);
            let input = sum(from, 1);
            let mut out = vec![0; to.frame_samples()];
            group.bench_function(format!("{} to {} Hz", from.hz(), to.hz()), |b| {
                b.iter(|| resampler.process(black_box(&input), black_box(&mut out)));
            });
        }
    }
}

fn limit(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    for (name, legs) in [("below full scale", 1), ("above full scale", 8)] {
        let mut limiter = Limiter::default();
        let sum = sum(SampleRate::Hz48000, legs);
        let mut out = Frame::silence(SampleRate::Hz48000);
        group.bench_function(name, |b| b.iter(|| limiter.process(black_box(&sum), black_box(&mut out))));
    }
}

fn level(c: &mut Criterion) {
    let samples: Vec<i16> = sum(SampleRate::Hz48000, 1).into_iter().map(|sample| sample as i16).collect();
    c.bench_function("level/960 samples", |b| b.iter(|| level::energy(black_box(&samples))));
}

fn sum(rate: SampleRate, legs: i32) -> Vec<i32> {
    (0..rate.frame_samples() as i32).map(|at| (at * 7919 % 65_536 - 32_768) * legs).collect()
}

criterion_group!(benches, resample, limit, level);
criterion_main!(benches);
