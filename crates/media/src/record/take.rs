//! One recording in progress: from the tap's blocks to pages in a file. Runs on the recorder's thread and may block on the
//! disk. Reads no clock: a second is fifty packets, or five polls without any.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::TryRecvError;

use super::ogg::{PACKET_SAMPLES, PRE_SKIP, PageBuilder};
use super::recover::{playing_time, truncate_and_end};
use super::tap::Source;
use crate::audio::codec::opus::SILENCE;
use crate::command::{Event, FinishedFile};
use crate::units::{RecordingId, RoomId, TICK, Tick};

/// Polls of 200 ms without a packet after which what is in hand is written and the file is looked at.
const IDLE_POLLS: u32 = 5;

/// Silence is written for gaps up to a day; a longer one is a bug of the caller and is cut to this.
const MAX_GAP_TICKS: u64 = 24 * 3600 * 50;

/// The file, shared with the thread that forces it to the disk.
#[derive(Debug)]
pub(super) struct Backing {
    pub(super) file: File,
    /// Asked for and not yet done.
    pub(super) is_syncing: AtomicBool,
    /// Why it could not be forced to the disk.
    pub(super) sync_failure: OnceLock<String>,
}

/// A recording in progress.
#[derive(Debug)]
pub(super) struct Take {
    room: RoomId,
    recording: RecordingId,
    path: PathBuf,
    backing: Arc<Backing>,
    source: Source,
    pages: PageBuilder,
    /// The tick that the next packet has to be of; `None` before the first.
    next: Option<Tick>,
    /// Packets on whole pages in the file, and where the last of these pages lies.
    written_ticks: u64,
    written_bytes: u64,
    last_page_at: Option<u64>,
    idle_polls: u32,
    /// Pages were written since the disk was last asked to take them.
    pub(super) is_unsynced: bool,
}

/// How a recording goes on.
#[derive(Debug)]
pub(super) enum Progress {
    /// It goes on.
    Open,
    /// The tap has finished, and all of it is in the file.
    Finished,
}

impl Take {
    /// Writes the headers into an empty file.
    pub(super) fn begin(
        room: RoomId,
        recording: RecordingId,
        path: PathBuf,
        file: File,
        source: Source,
    ) -> io::Result<Self> {
        let serial = (recording.0 ^ (recording.0 >> 32)) as u32;
        let mut pages = PageBuilder::new(serial);
        let headers = pages.headers();
        file.write_all_at(&headers, 0)?;
        let backing = Backing { file, is_syncing: AtomicBool::new(false), sync_failure: OnceLock::new() };
        Ok(Self {
            room,
            recording,
            path,
            backing: Arc::new(backing),
            source,
            pages,
            next: None,
            written_ticks: 0,
            written_bytes: headers.len() as u64,
            last_page_at: None,
            idle_polls: 0,
            is_unsynced: false,
        })
    }

    /// The file, for the thread that forces it to the disk.
    pub(super) const fn backing(&self) -> &Arc<Backing> {
        &self.backing
    }

    /// Takes over what the tap has handed over. An error is the reason why the recording cannot go on.
    pub(super) fn advance(&mut self) -> Result<Progress, String> {
        self.idle_polls += 1;
        loop {
            match self.source.next() {
                Ok(block) => {
                    self.idle_polls = 0;
                    for (tick, packet) in block.packets() {
                        self.silence_until(tick)?;
                        if self.next.is_none_or(|next| next == tick) {
                            self.next = Some(Tick(tick.0 + 1));
                            self.append(if packet.is_empty() { &SILENCE } else { packet })?;
                        }
                    }
                    self.source.recycle(block);
                }
                Err(TryRecvError::Empty) if self.idle_polls < IDLE_POLLS => return Ok(Progress::Open),
                Err(TryRecvError::Empty) => {
                    self.idle_polls = 0;
                    self.write_page()?;
                    return Ok(Progress::Open);
                }
                Err(TryRecvError::Disconnected) => {
                    self.silence_until(self.source.end())?;
                    return Ok(Progress::Finished);
                }
            }
        }
    }

    /// Completes the file. What the tap has not handed over by now is not in it.
    pub(super) fn finish(mut self) -> Outcome {
        match self.write_last_page() {
            Ok(()) => {
                let lost = self.source.lost();
                if lost > 0 {
                    tracing::warn!(recording = %self.recording, lost, "packets became silence: the disk was too slow");
                }
                let file = FinishedFile {
                    path: self.path,
                    duration: duration_of(self.written_ticks),
                    bytes: self.written_bytes,
                };
                Outcome { room: self.room, recording: self.recording, file: Some(file), reason: None }
            }
            Err(reason) => self.fail(reason),
        }
    }

    /// Gives up: makes a proper file of the whole pages that were written.
    pub(super) fn fail(self, reason: String) -> Outcome {
        let mut file = None;
        if let Some(last_page_at) = self.last_page_at.filter(|_| self.is_in_place().is_ok()) {
            if let Err(error) = truncate_and_end(&self.backing.file, last_page_at, self.written_bytes) {
                tracing::warn!(recording = %self.recording, %error, "the end of a failed recording is not marked");
            }
            let duration = playing_time(self.written_ticks * PACKET_SAMPLES, PRE_SKIP);
            file = Some(FinishedFile { path: self.path, duration, bytes: self.written_bytes });
        }
        Outcome { room: self.room, recording: self.recording, file, reason: Some(reason) }
    }

    fn silence_until(&mut self, tick: Tick) -> Result<(), String> {
        let Some(next) = self.next else { return Ok(()) };
        let gap = tick.0.saturating_sub(next.0);
        if gap > MAX_GAP_TICKS {
            tracing::warn!(recording = %self.recording, ticks = gap, "a gap of more than a day is cut to a day");
        }
        for _ in 0..gap.min(MAX_GAP_TICKS) {
            self.append(&SILENCE)?;
        }
        self.next = Some(next.max(tick));
        Ok(())
    }

    fn append(&mut self, packet: &[u8]) -> Result<(), String> {
        self.pages.push(packet);
        if self.pages.is_full() { self.write_page() } else { Ok(()) }
    }

    fn write_page(&mut self) -> Result<(), String> {
        self.check_file()?;
        if self.pages.is_empty() {
            return Ok(());
        }
        let ticks = self.pages.samples() / PACKET_SAMPLES;
        let page = self.pages.page();
        self.backing.file.write_all_at(page, self.written_bytes).map_err(|error| reason_of("writing", &error))?;
        self.last_page_at = Some(self.written_bytes);
        self.written_bytes += page.len() as u64;
        self.written_ticks = ticks;
        self.is_unsynced = true;
        Ok(())
    }

    /// The last page carries one more packet, of silence, because the encoder holds its look-ahead back: with it the file
    /// plays exactly as long as the recording ran.
    fn write_last_page(&mut self) -> Result<(), String> {
        self.check_file()?;
        let samples = self.pages.samples();
        self.pages.push(&SILENCE);
        let page = self.pages.last_page(samples + u64::from(PRE_SKIP));
        self.backing.file.write_all_at(page, self.written_bytes).map_err(|error| reason_of("writing", &error))?;
        self.written_bytes += page.len() as u64;
        self.written_ticks = samples / PACKET_SAMPLES;
        Ok(())
    }

    /// The file is still where it should be, and forcing it to the disk has worked so far.
    fn check_file(&self) -> Result<(), String> {
        if let Some(reason) = self.backing.sync_failure.get() {
            return Err(reason.clone());
        }
        self.is_in_place()
    }

    /// The path still names the file that is being written.
    fn is_in_place(&self) -> Result<(), String> {
        let ours = self.backing.file.metadata().map_err(|error| reason_of("looking at", &error))?;
        if ours.nlink() == 0 {
            return Err("the file was deleted while it was being recorded".to_owned());
        }
        match fs::metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => Ok(()),
            Ok(_) => Err("the file was replaced while it was being recorded".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err("the file or its directory was moved away while it was being recorded".to_owned())
            }
            Err(error) => Err(reason_of("looking at", &error)),
        }
    }
}

/// How a recording ended.
#[derive(Debug)]
pub(super) struct Outcome {
    room: RoomId,
    recording: RecordingId,
    file: Option<FinishedFile>,
    reason: Option<String>,
}

impl Outcome {
    /// Keeps an earlier reason.
    pub(super) fn failed(mut self, reason: String) -> Self {
        self.reason.get_or_insert(reason);
        self
    }
    /// As control hears of it.
    pub(super) fn into_event(self) -> Event {
        let Self { room, recording, file, reason } = self;
        match (reason, file) {
            (None, Some(file)) => Event::RecordingFinished { room, recording, file },
            (reason, file) => {
                let reason = reason.unwrap_or_else(|| "nothing was written".to_owned());
                Event::RecordingFailed { room, recording, reason, file }
            }
        }
    }
}

fn duration_of(ticks: u64) -> Duration {
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// One precise reason for an operator.
pub(super) fn reason_of(doing: &str, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull => format!("the disk is full ({doing} the file: {error})"),
        ErrorKind::QuotaExceeded => format!("the disk quota is used up ({doing} the file: {error})"),
        _ => format!("{doing} the file: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::recover::recover;
    use crate::record::testing::{Directory, POLL_TICKS, play, recorded, speech, take};
    use std::fs::OpenOptions;

    fn is_silent(pcm: &[i16]) -> bool {
        pcm.iter().all(|sample| sample.unsigned_abs() < 50)
    }

    #[test]
    fn recording_plays_in_place_and_as_long_as_it_ran() {
        let directory = Directory::new();
        let (said, packets) = speech(125);
        let heard = play(&recorded(&directory, &packets, 125));
        assert_eq!(heard.len(), said.len());
        // Where in the recording the sound of one second in the middle is found best.
        let likeness = |lag: i64| -> f64 {
            let part = |pcm: &[i16], lag: i64| pcm[(24_000 + lag) as usize..(72_000 + lag) as usize].to_vec();
            part(&said, 0).iter().zip(part(&heard, lag)).map(|(&a, b)| f64::from(a) * f64::from(b)).sum()
        };
        let best = (-400..=400).max_by(|&a, &b| likeness(a).total_cmp(&likeness(b))).unwrap();
        assert!(best.abs() <= 6, "shifted by {best} samples");
    }

    #[test]
    fn skipped_ticks_are_silent_and_keep_their_time() {
        let directory = Directory::new();
        let (_, packets) = speech(200);
        let path = directory.file("a.opus");
        let (mut tap, mut take) = take(&path);
        for (at, packet) in packets.iter().enumerate().filter(|(at, _)| !(50..100).contains(at)) {
            match at {
                // Dozes between two calls, and ticks without a packet, sound the same.
                150..175 => tap.silence(Tick(1000 + at as u64)),
                _ => tap.push(Tick(1000 + at as u64), packet),
            }
            take.advance().unwrap();
        }
        tap.finish(Tick(1000 + 250));
        assert!(matches!(take.advance(), Ok(Progress::Finished)));
        let Event::RecordingFinished { file, recording, room } = take.finish().into_event() else { panic!() };
        assert_eq!((room, recording), (RoomId(3), RecordingId(7)));
        assert_eq!(file.duration, Duration::from_secs(5));
        assert_eq!(file.bytes, fs::metadata(&path).unwrap().len());
        let pcm = play(&path);
        assert_eq!(pcm.len(), 240_000);
        for (from_ms, to_ms, silent) in
            [(0, 1000, false), (1060, 1980, true), (2060, 2980, false), (3060, 3480, true), (4060, 5000, true)]
        {
            assert_eq!(is_silent(&pcm[from_ms * 48..to_ms * 48]), silent, "{from_ms} to {to_ms} ms");
        }
    }

    #[test]
    fn full_queue_costs_sound_but_not_time() {
        let directory = Directory::new();
        let path = directory.file("a.opus");
        let (mut tap, mut take) = take(&path);
        for tick in 0..1000 {
            tap.push(Tick(tick), &[0xF8; 300]);
        }
        let queued = 1000 - take.source.lost();
        assert!((30..200).contains(&queued), "{queued} packets were queued");
        take.advance().unwrap();
        for tick in 1000..1100 {
            tap.push(Tick(tick), &[0xF8; 300]);
            take.advance().unwrap();
        }
        assert_eq!(take.source.lost(), 1000 - queued);
        drop(tap);
        take.advance().unwrap();
        let Event::RecordingFinished { file, .. } = take.finish().into_event() else { panic!() };
        assert_eq!(file.duration, Duration::from_secs(22));
        assert_eq!(recover(&path).unwrap(), file);
    }

    #[test]
    fn disk_may_stall_for_three_seconds_of_speech() {
        let directory = Directory::new();
        let (mut tap, take) = take(&directory.file("a.opus"));
        for (tick, packet) in speech(150).1.iter().enumerate() {
            tap.push(Tick(tick as u64), packet);
        }
        assert_eq!(take.source.lost(), 0);
    }

    #[test]
    fn oversized_packet_is_silence_and_is_counted() {
        let directory = Directory::new();
        let path = directory.file("a.opus");
        let (mut tap, mut take) = take(&path);
        tap.push(Tick(5), &[0xF8; 400]);
        tap.push(Tick(6), &[0xF8; 401]);
        tap.push(Tick(7), &[0xF8; 400]);
        drop(tap);
        take.advance().unwrap();
        assert_eq!(take.source.lost(), 1);
        let Event::RecordingFinished { file, .. } = take.finish().into_event() else { panic!() };
        assert_eq!(file.duration, TICK * 3);
    }

    #[test]
    fn repeated_or_earlier_tick_is_ignored() {
        let directory = Directory::new();
        let path = directory.file("a.opus");
        let (mut tap, mut take) = take(&path);
        for tick in [10, 11, 11, 3, 12] {
            tap.push(Tick(tick), &SILENCE);
        }
        tap.finish(Tick(2));
        take.advance().unwrap();
        take.finish();
        assert_eq!(play(&path).len(), 3 * 960);
    }

    #[test]
    fn killed_process_loses_less_than_a_second_and_a_half() {
        let directory = Directory::new();
        let path = directory.file("a.opus");
        let copy = directory.file("copy.opus");
        let (mut tap, mut take) = take(&path);
        for (tick, packet) in speech(300).1.iter().enumerate() {
            let polls_now = tick % POLL_TICKS == 4;
            let pushed = TICK * tick as u32;
            if polls_now {
                if pushed > Duration::from_millis(1500) {
                    fs::copy(&path, &copy).unwrap();
                    let kept = recover(&copy).unwrap().duration;
                    assert!(pushed - kept < Duration::from_millis(1500), "{kept:?} kept of {pushed:?}");
                }
                take.advance().unwrap();
            }
            tap.push(Tick(tick as u64), packet);
        }
    }

    #[test]
    fn pause_writes_what_is_in_hand() {
        let directory = Directory::new();
        let path = directory.file("a.opus");
        let (mut tap, mut take) = take(&path);
        for tick in 0..30 {
            tap.push(Tick(tick), &SILENCE);
        }
        for _ in 0..=IDLE_POLLS {
            take.advance().unwrap();
        }
        assert_eq!(recover(&path).unwrap().duration, TICK * 30 - Duration::from_micros(6500));
    }

    #[test]
    fn recording_without_a_tick_is_an_empty_file_that_opens() {
        let directory = Directory::new();
        let path = recorded(&directory, &[], 500);
        assert_eq!(play(&path), []);
        assert_eq!(recover(&path).unwrap().duration, Duration::ZERO);
    }

    #[test]
    fn gap_of_years_is_cut_to_a_day() {
        let directory = Directory::new();
        let path = directory.file("a.opus");
        let (mut tap, mut take) = take(&path);
        tap.push(Tick(0), &SILENCE);
        tap.push(Tick(u64::MAX / 2), &SILENCE);
        drop(tap);
        take.advance().unwrap();
        let Event::RecordingFinished { file, .. } = take.finish().into_event() else { panic!() };
        assert_eq!(file.duration, TICK * (MAX_GAP_TICKS as u32 + 2));
    }

    /// Three seconds in the file; then `harm` is done and three more seconds come.
    fn harmed(directory: &Directory, harm: impl FnOnce(&mut Take)) -> (String, Option<FinishedFile>, bool) {
        let (_, packets) = speech(300);
        let (mut tap, mut take) = take(&directory.file("a.opus"));
        let mut outcome = Ok(Progress::Open);
        for (tick, packet) in packets.iter().enumerate().take(150) {
            tap.push(Tick(tick as u64), packet);
            if tick % POLL_TICKS == POLL_TICKS - 1 {
                outcome = take.advance();
            }
        }
        assert!(matches!(outcome, Ok(Progress::Open)));
        harm(&mut take);
        for (tick, packet) in packets.iter().enumerate().skip(150) {
            tap.push(Tick(tick as u64), packet);
            if outcome.is_ok() {
                outcome = take.advance();
            }
        }
        let Err(reason) = outcome else { panic!("the recording must fail") };
        let Event::RecordingFailed { reason, file, .. } = take.fail(reason).into_event() else { panic!() };
        tap.push(Tick(1000), &SILENCE);
        tap.push(Tick(1020), &SILENCE);
        (reason, file, tap.is_open())
    }

    #[test]
    fn disk_full_keeps_what_was_written() {
        let directory = Directory::new();
        let (reason, file, is_open) = harmed(&directory, |take| {
            let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
            take.path = "/dev/full".into();
            take.backing =
                Arc::new(Backing { file: full, is_syncing: AtomicBool::new(false), sync_failure: OnceLock::new() });
        });
        assert!(reason.starts_with("the disk is full"), "{reason}");
        assert_eq!(file.unwrap().duration, Duration::from_secs(3) - Duration::from_micros(6500));
        assert!(!is_open, "the tap learns that nobody listens");
    }

    #[test]
    fn failed_sync_keeps_what_was_written() {
        let directory = Directory::new();
        let (reason, file, _) = harmed(&directory, |take| {
            take.backing.sync_failure.set("forcing to disk the file: Input/output error".to_owned()).unwrap();
        });
        assert!(reason.contains("Input/output error"), "{reason}");
        let file = file.unwrap();
        assert_eq!(play(&file.path).len(), 3 * 48_000 - 312);
        assert_eq!(recover(&file.path).unwrap(), file);
    }

    #[test]
    fn deleted_file_moved_file_and_vanished_directory_fail_with_their_reason() {
        type Harm = fn(&Directory);
        let harms: [(&str, Harm); 4] = [
            ("was deleted", |directory| fs::remove_file(directory.file("a.opus")).unwrap()),
            ("was deleted", |directory| fs::remove_dir_all(directory.path()).unwrap()),
            ("moved away", |directory| fs::rename(directory.file("a.opus"), directory.file("b.opus")).unwrap()),
            ("was replaced", |directory| {
                fs::rename(directory.file("a.opus"), directory.file("b.opus")).unwrap();
                fs::write(directory.file("a.opus"), "other").unwrap();
            }),
        ];
        for (expected, harm) in harms {
            let directory = Directory::new();
            let (reason, file, is_open) = harmed(&directory, |_| harm(&directory));
            assert!(reason.contains(expected), "{reason}");
            assert_eq!((file, is_open), (None, false));
        }
    }
}
