//! Recording a room. Budget: a tick has 20,000 µs for all rooms of a worker, and handing a packet to the tap is the tick's
//! whole share in it. What the recorder's thread does with a second of packets has a second; memory stands in for the disk.
//! Measured on an AMD EPYC: 50 packets are handed over in 0.47 µs; two seconds of 40 rooms take 1.9 ms, of ten movies 5.9 ms in
//! fragments and 3.3 ms as plain files.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use media::video::VideoCodec;
use media::video::access_unit::AccessUnit;
use media::{Error, Finalize, Recorder, RecordingId, RoomId, Tap, Tick};

/// A packet at 32 kbit/s.
const PACKET: [u8; 80] = [0xF8; 80];

fn push(c: &mut Criterion) {
    let directory = Directory::new();
    let recorder = Recorder::start(drop).expect("threads");
    let mut group = c.benchmark_group("recorder");
    // A second each time: what the queue takes before the recorder has to come by.
    group.throughput(Throughput::Elements(50)).sample_size(50);
    group.bench_function("push 50 packets", |b| {
        b.iter_batched_ref(|| directory.open(&recorder), |tap| push_second(tap, 0), BatchSize::LargeInput);
    });
    group.finish();
    recorder.stop();
}

fn write(c: &mut Criterion) {
    let directory = Directory::new();
    let mut group = c.benchmark_group("recorder");
    group.throughput(Throughput::Elements(80)).sample_size(20);
    group.bench_function("write and finish 2 s of 40 rooms", |b| {
        b.iter_batched(
            || {
                let recorder = Recorder::start(drop).expect("threads");
                let mut taps: Vec<Tap> = (0..40).map(|_| directory.open(&recorder)).collect();
                for tap in &mut taps {
                    push_second(tap, 0);
                    push_second(tap, 50);
                }
                (recorder, taps)
            },
            |(recorder, taps)| {
                drop(taps);
                recorder.stop();
            },
            BatchSize::PerIteration,
        );
    });
}

/// A movie of 1 Mbit/s at 15 pictures a second.
fn movie(c: &mut Criterion) {
    let directory = Directory::new();
    let units = [unit(true, 40_000), unit(false, 8_000)];
    let mut group = c.benchmark_group("recorder");
    group.throughput(Throughput::Elements(20)).sample_size(20);
    for finalize in [Finalize::Fragmented, Finalize::Plain] {
        group.bench_function(format!("write and finish 2 s of 10 movies, {finalize:?}"), |b| {
            b.iter_batched(
                || {
                    let recorder = Recorder::start(drop).expect("threads");
                    let begin = Instant::now();
                    let taps: Vec<_> = (0..10)
                        .map(|_| {
                            let (mut tap, mut pictures) = directory.open_movie(&recorder, finalize);
                            tap.begin(Tick(0), begin);
                            push_second(&mut tap, 0);
                            push_second(&mut tap, 50);
                            for n in 0..30 {
                                let [keyframe, other] = &units;
                                let unit = if n == 0 { keyframe } else { other };
                                pictures.push(begin + Duration::from_secs(1) * n / 15, unit);
                            }
                            (tap, pictures)
                        })
                        .collect();
                    (recorder, taps)
                },
                |(recorder, taps)| {
                    drop(taps);
                    recorder.stop();
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// An access unit of slices as small as a packet. The parameter sets are openh264's for 1280×720.
fn unit(is_keyframe: bool, bytes: usize) -> Arc<AccessUnit> {
    const SPS: [u8; 15] = [0x67, 0x42, 0xC0, 0x1F, 0x8C, 0x68, 0x05, 0x00, 0x5B, 0xA1, 0x00, 0x00, 0x03, 0x00, 0x01];
    const PPS: [u8; 4] = [0x68, 0xCE, 0x3C, 0x80];
    let mut unit = AccessUnit::empty(VideoCodec::H264);
    unit.is_keyframe = is_keyframe;
    let mut add = |nal: &[u8]| {
        unit.bytes.extend_from_slice(&[0, 0, 0, 1]);
        unit.units.push(unit.bytes.len()..unit.bytes.len() + nal.len());
        unit.bytes.extend_from_slice(nal);
    };
    if is_keyframe {
        add(&SPS);
        add(&PPS);
    }
    for _ in 0..bytes / 1200 {
        let mut slice = [0x5A; 1200];
        slice[0] = if is_keyframe { 0x65 } else { 0x41 };
        add(&slice);
    }
    Arc::new(unit)
}

fn push_second(tap: &mut Tap, from: u64) {
    for tick in from..from + 50 {
        tap.push(Tick(tick), &PACKET);
    }
}

/// Numbers the files.
static NEXT: AtomicU64 = AtomicU64::new(0);

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = base.join(format!("conclave-bench-recorder-{}", process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// Waits while the recorder has more to begin with than it takes: a bench opens more of them at once than any server.
    fn open(&self, recorder: &Recorder) -> Tap {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.0.join(format!("{number}.opus"));
            match recorder.open(RoomId(number), RecordingId(number), path) {
                Ok(tap) => return tap,
                Err(Error::Busy(_)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn open_movie(&self, recorder: &Recorder, finalize: Finalize) -> (Tap, media::PictureTap) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.0.join(format!("{number}.mp4"));
        recorder.open_movie(RoomId(number), RecordingId(number), path, finalize).expect("a file")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

criterion_group!(benches, push, write, movie);
criterion_main!(benches);
