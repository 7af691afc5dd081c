//! What the recorder's tests share: a directory of their own, marked speech, another reader. Tests only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use opus::{Application, Channels, Decoder, Encoder};

use super::ogg::PRE_SKIP;
use super::take::{Progress, Take};
use super::tap::Tap;
use crate::units::{RecordingId, RoomId, Tick};

/// Ticks between two polls of the recorder.
pub(super) const POLL_TICKS: usize = 10;

/// A directory that goes when it is dropped.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("conclave-record-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A recording without threads: the caller moves it on.
pub(super) fn take(path: &Path) -> (Tap, Take) {
    let (tap, source) = Tap::new(RecordingId(7), Default::default());
    let file = super::create(path).unwrap();
    (tap, Take::begin(RoomId(3), RecordingId(7), path.to_owned(), file, source).unwrap())
}

/// A finished recording of these packets that ends before tick `end` (or with the last packet).
pub(super) fn recorded(directory: &Directory, packets: &[Vec<u8>], end: u64) -> PathBuf {
    let path = directory.file("a.opus");
    let (mut tap, mut take) = take(&path);
    for (tick, packet) in packets.iter().enumerate() {
        tap.push(Tick(tick as u64), packet);
        if tick % POLL_TICKS == 0 {
            take.advance().unwrap();
        }
    }
    tap.finish(Tick(end));
    assert!(matches!(take.advance(), Ok(Progress::Finished)));
    take.finish();
    path
}

/// A sweep from 200 to 1200 Hz each second, as PCM and as the packets of a room.
pub(super) fn speech(ticks: usize) -> (Vec<i16>, Vec<Vec<u8>>) {
    let mut phase = 0.0f64;
    let pcm: Vec<i16> = (0..ticks * 960)
        .map(|at| {
            phase += (200.0 + 1000.0 * (at % 48_000) as f64 / 48_000.0) * std::f64::consts::TAU / 48_000.0;
            (phase.sin() * 8000.0) as i16
        })
        .collect();
    let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
    encoder.set_bitrate(opus::Bitrate::Bits(32_000)).unwrap();
    let packets = pcm.chunks_exact(960).map(|frame| encoder.encode_vec(frame, 400).unwrap()).collect();
    (pcm, packets)
}

/// What a player plays: read by the crate `ogg`, decoded by libopus, trimmed at both ends (RFC 7845 §4).
pub(super) fn play(path: &Path) -> Vec<i16> {
    let mut reader = ogg::PacketReader::new(fs::File::open(path).unwrap());
    let head = reader.read_packet().unwrap().unwrap();
    assert_eq!(head.data[..8], *b"OpusHead");
    assert_eq!(head.data[10..12], PRE_SKIP.to_le_bytes());
    assert_eq!(reader.read_packet().unwrap().unwrap().data[..8], *b"OpusTags");
    let mut decoder = Decoder::new(48_000, Channels::Mono).unwrap();
    let (mut pcm, mut granule, mut is_ended) = (Vec::new(), 0, false);
    while let Some(packet) = reader.read_packet().unwrap() {
        assert!(!is_ended, "nothing follows the end of the stream");
        let mut frame = [0; 5760];
        let samples = decoder.decode(&packet.data, &mut frame, false).unwrap();
        pcm.extend_from_slice(&frame[..samples]);
        (granule, is_ended) = (packet.absgp_page() as usize, packet.last_in_stream());
        if packet.last_in_page() && !is_ended {
            assert_eq!(granule, pcm.len(), "granule position counts every sample");
        }
    }
    assert!(is_ended, "the end of the stream is marked");
    assert!((pcm.len() - 960..=pcm.len()).contains(&granule));
    pcm.truncate(granule);
    pcm.split_off(usize::from(PRE_SKIP))
}

/// splitmix64.
pub(super) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
