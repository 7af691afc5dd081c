//! One recording in progress: from the tap's blocks, and a movie's pictures, to chunks in a file (pages of Ogg, fragments of
//! MP4). Runs on the recorder's thread and may block on the disk. Reads no clock: a second is fifty packets, or five polls
//! without any.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;

use super::Finalize;
use super::movie::{self, Movie};
use super::ogg::{PACKET_SAMPLES, PRE_SKIP, PageBuilder};
use super::pictures::PictureSource;
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
    form: Form,
    /// The tick that the next packet has to be of; `None` before the first.
    next: Option<Tick>,
    written_bytes: u64,
    /// Where the last whole chunk in the file lies.
    last_chunk_at: Option<u64>,
    idle_polls: u32,
    /// Chunks were written since the disk was last asked to take them.
    pub(super) is_unsynced: bool,
}

/// What kind of file it becomes.
#[derive(Debug)]
enum Form {
    /// Ogg Opus, and the packets on whole pages in the file.
    Sound { pages: PageBuilder, written_ticks: u64 },
    /// MP4, and what becomes of it at the end.
    Movie { movie: Box<Movie>, finalize: Finalize },
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
    /// Sound alone: writes the headers into an empty file.
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
        Self::begin_with(room, recording, path, file, source, Form::Sound { pages, written_ticks: 0 }, &headers)
    }

    /// Sound and pictures: writes the file's type into an empty file.
    pub(super) fn begin_movie(
        room: RoomId,
        recording: RecordingId,
        path: PathBuf,
        file: File,
        (source, pictures): (Source, PictureSource),
        finalize: Finalize,
    ) -> io::Result<Self> {
        let form = Form::Movie { movie: Box::new(Movie::new(pictures)), finalize };
        Self::begin_with(room, recording, path, file, source, form, &Movie::opening())
    }

    fn begin_with(
        room: RoomId,
        recording: RecordingId,
        path: PathBuf,
        file: File,
        source: Source,
        form: Form,
        opening: &[u8],
    ) -> io::Result<Self> {
        file.write_all_at(opening, 0)?;
        let backing = Backing { file, is_syncing: AtomicBool::new(false), sync_failure: OnceLock::new() };
        Ok(Self {
            room,
            recording,
            path,
            backing: Arc::new(backing),
            source,
            form,
            next: None,
            written_bytes: opening.len() as u64,
            last_chunk_at: None,
            idle_polls: 0,
            is_unsynced: false,
        })
    }

    /// The file, for the thread that forces it to the disk.
    pub(super) const fn backing(&self) -> &Arc<Backing> {
        &self.backing
    }

    /// Takes over what the taps have handed over. An error is the reason why the recording cannot go on.
    pub(super) fn advance(&mut self) -> Result<Progress, String> {
        self.idle_polls += 1;
        let sound_ended = loop {
            match self.source.next() {
                Ok(block) => {
                    self.idle_polls = 0;
                    for (tick, packet) in block.packets() {
                        self.silence_until(tick)?;
                        if self.next.is_none_or(|next| next == tick) {
                            self.append_at(tick, if packet.is_empty() { &SILENCE } else { packet })?;
                        }
                    }
                    self.source.recycle(block);
                    // What was composed up to here, so that sound and pictures of one time lie together in the file.
                    let until = self.next.and_then(|next| self.source.instant_of(next));
                    self.take_pictures(until)?;
                }
                Err(end) => break end == TryRecvError::Disconnected,
            }
        };
        self.take_pictures(None)?;
        if sound_ended && self.may_end() {
            self.silence_until(self.source.end())?;
            return Ok(Progress::Finished);
        }
        if self.idle_polls >= IDLE_POLLS {
            self.idle_polls = 0;
            self.write_chunk()?;
        }
        Ok(Progress::Open)
    }

    /// Completes the file. What the taps have not handed over by now is not in it.
    pub(super) fn finish(mut self) -> Outcome {
        match self.write_last_chunk() {
            Ok(()) => {
                let lost = self.source.lost();
                if lost > 0 {
                    tracing::warn!(recording = %self.recording, lost, "packets became silence: the disk was too slow");
                }
                let duration = self.duration();
                let mut becomes_plain = false;
                if let Form::Movie { movie, finalize } = &self.form {
                    let lost = movie.lost();
                    if lost > 0 {
                        tracing::warn!(recording = %self.recording, lost, "pictures stood still: the disk was too slow");
                    }
                    becomes_plain = *finalize == Finalize::Plain;
                }
                let file = FinishedFile { path: self.path, duration, bytes: self.written_bytes };
                Outcome { room: self.room, recording: self.recording, file: Some(file), reason: None, becomes_plain }
            }
            Err(reason) => self.fail(reason),
        }
    }

    /// Gives up: makes a proper file of the whole chunks that were written.
    pub(super) fn fail(self, reason: String) -> Outcome {
        let mut file = None;
        if let Some(last_chunk_at) = self.last_chunk_at.filter(|_| is_in_place(&self.backing.file, &self.path).is_ok())
        {
            let (ended, duration) = match &self.form {
                Form::Sound { written_ticks, .. } => (
                    truncate_and_end(&self.backing.file, last_chunk_at, self.written_bytes),
                    playing_time(written_ticks * PACKET_SAMPLES, PRE_SKIP),
                ),
                Form::Movie { movie, .. } => {
                    let cut = self.backing.file.set_len(self.written_bytes);
                    let duration = movie.duration();
                    (cut.and_then(|()| movie::mark_durations(&self.backing.file, duration)), duration)
                }
            };
            if let Err(error) = ended {
                tracing::warn!(recording = %self.recording, %error, "the end of a failed recording is not marked");
            }
            file = Some(FinishedFile { path: self.path, duration, bytes: self.written_bytes });
        }
        Outcome { room: self.room, recording: self.recording, file, reason: Some(reason), becomes_plain: false }
    }

    /// How long what is in the file plays once it is complete.
    fn duration(&self) -> Duration {
        match &self.form {
            Form::Sound { written_ticks, .. } => duration_of(*written_ticks),
            Form::Movie { movie, .. } => movie.duration(),
        }
    }

    /// The pictures have ended too, or a second has gone by without them: a composer that forgets its tap, or hangs, does
    /// not keep a recording open.
    const fn may_end(&self) -> bool {
        match &self.form {
            Form::Sound { .. } => true,
            Form::Movie { movie, .. } => movie.pictures_ended() || self.idle_polls >= IDLE_POLLS,
        }
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

    fn append_at(&mut self, tick: Tick, packet: &[u8]) -> Result<(), String> {
        if let (None, Form::Movie { movie, .. }) = (self.next, &mut self.form) {
            movie.begin_sound(self.source.instant_of(tick));
        }
        self.next = Some(Tick(tick.0 + 1));
        self.append(packet)
    }

    fn append(&mut self, packet: &[u8]) -> Result<(), String> {
        match &mut self.form {
            Form::Sound { pages, .. } => pages.push(packet),
            Form::Movie { movie, .. } => movie.push(packet),
        }
        if self.form.is_full() { self.write_chunk() } else { Ok(()) }
    }

    /// All pictures that the composer has handed over and that are from before `until`.
    fn take_pictures(&mut self, until: Option<Instant>) -> Result<(), String> {
        while let Form::Movie { movie, .. } = &mut self.form {
            if !movie.take_picture(until) {
                break;
            }
            if self.form.is_full() {
                self.write_chunk()?;
            }
        }
        Ok(())
    }

    fn write_chunk(&mut self) -> Result<(), String> {
        self.check_file()?;
        if self.form.is_empty() {
            return Ok(());
        }
        let at = self.written_bytes;
        match &mut self.form {
            Form::Sound { pages, written_ticks } => {
                let ticks = pages.samples() / PACKET_SAMPLES;
                self.written_bytes += write_at(&self.backing.file, at, pages.page())?;
                *written_ticks = ticks;
            }
            Form::Movie { movie, .. } => self.written_bytes += write_fragment(&self.backing.file, at, movie, false)?,
        }
        self.last_chunk_at = Some(at);
        self.is_unsynced = true;
        Ok(())
    }

    /// The last page carries one more packet, of silence, because the encoder holds its look-ahead back: with it the file
    /// plays exactly as long as the recording ran. So does the last fragment.
    fn write_last_chunk(&mut self) -> Result<(), String> {
        self.check_file()?;
        let at = self.written_bytes;
        match &mut self.form {
            Form::Sound { pages, written_ticks } => {
                let samples = pages.samples();
                pages.push(&SILENCE);
                let page = pages.last_page(samples + u64::from(PRE_SKIP));
                self.written_bytes += write_at(&self.backing.file, at, page)?;
                *written_ticks = samples / PACKET_SAMPLES;
            }
            Form::Movie { movie, .. } => {
                self.written_bytes += write_fragment(&self.backing.file, at, movie, true)?;
                let marked = movie::mark_durations(&self.backing.file, movie.duration());
                marked.map_err(|error| reason_of("writing", &error))?;
            }
        }
        Ok(())
    }

    /// The file is still where it should be, and forcing it to the disk has worked so far.
    fn check_file(&self) -> Result<(), String> {
        if let Some(reason) = self.backing.sync_failure.get() {
            return Err(reason.clone());
        }
        is_in_place(&self.backing.file, &self.path)
    }
}

impl Form {
    fn is_full(&self) -> bool {
        match self {
            Self::Sound { pages, .. } => pages.is_full(),
            Self::Movie { movie, .. } => movie.is_full(),
        }
    }
    fn is_empty(&self) -> bool {
        match self {
            Self::Sound { pages, .. } => pages.is_empty(),
            Self::Movie { movie, .. } => movie.is_empty(),
        }
    }
}

/// One write for the whole chunk. Says how many bytes it had.
fn write_at(file: &File, at: u64, chunk: &[u8]) -> Result<u64, String> {
    file.write_all_at(chunk, at).map_err(|error| reason_of("writing", &error))?;
    Ok(chunk.len() as u64)
}

fn write_fragment(file: &File, at: u64, movie: &mut Movie, is_last: bool) -> Result<u64, String> {
    movie.make_chunk(at, is_last);
    if let Some((grown_at, duration)) = movie.growth() {
        write_at(file, grown_at, &duration)?;
    }
    let bytes = write_at(file, at, movie.chunk())?;
    movie.wrote();
    Ok(bytes)
}

/// The path still names the file that is being written.
fn is_in_place(file: &File, path: &Path) -> Result<(), String> {
    let ours = file.metadata().map_err(|error| reason_of("looking at", &error))?;
    if ours.nlink() == 0 {
        return Err("the file was deleted while it was being recorded".to_owned());
    }
    match fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => Ok(()),
        Ok(_) => Err("the file was replaced while it was being recorded".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("the file or its directory was moved away while it was being recorded".to_owned())
        }
        Err(error) => Err(reason_of("looking at", &error)),
    }
}

/// How a recording ended.
#[derive(Debug)]
pub(super) struct Outcome {
    room: RoomId,
    recording: RecordingId,
    file: Option<FinishedFile>,
    reason: Option<String>,
    becomes_plain: bool,
}

impl Outcome {
    /// Puts a plain file in the movie's place, if that is wanted. On any trouble the movie stays as it is. Blocks for as
    /// long as the disk takes to copy it.
    pub(super) fn finalize(&mut self, backing: &Backing) {
        let Some(file) = self.file.as_mut().filter(|_| self.becomes_plain && self.reason.is_none()) else { return };
        let replaced = movie::make_plain(&backing.file, &file.path).map_err(|error| error.to_string()).and_then(
            |(beside, bytes)| {
                is_in_place(&backing.file, &file.path)
                    .and_then(|()| fs::rename(&beside, &file.path).map_err(|error| error.to_string()))
                    .inspect_err(|_| drop(fs::remove_file(&beside)))?;
                Ok(bytes)
            },
        );
        match replaced {
            Ok(bytes) => file.bytes = bytes,
            Err(error) => tracing::warn!(recording = %self.recording, error, "a movie stays in fragments"),
        }
        if let Err(error) = super::sync_directory_of(&file.path) {
            tracing::debug!(%error, "the directory of a recording is not forced to the disk");
        }
    }
    /// Keeps an earlier reason.
    pub(super) fn failed(mut self, reason: String) -> Self {
        self.reason.get_or_insert(reason);
        self
    }
    /// As control hears of it.
    pub(super) fn into_event(self) -> Event {
        let Self { room, recording, file, reason, becomes_plain: _ } = self;
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
        assert!(play(&path).is_empty());
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
