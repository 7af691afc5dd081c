//! Recording a room. Budget: a tick has 20,000 µs for all rooms of a worker, and handing a packet to the tap is the tick's
//! whole share in it. What the recorder's thread does with a second of packets has a second; memory stands in for the disk.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use media::{Recorder, RecordingId, RoomId, Tap, Tick};

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

fn push_second(tap: &mut Tap, from: u64) {
    for tick in from..from + 50 {
        tap.push(Tick(tick), &PACKET);
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = base.join(format!("conclave-bench-recorder-{}", process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn open(&self, recorder: &Recorder) -> Tap {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.0.join(format!("{number}.opus"));
        recorder.open(RoomId(number), RecordingId(number), path).expect("a file")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

criterion_group!(benches, push, write);
criterion_main!(benches);
