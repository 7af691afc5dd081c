//! Recordings: of audio rooms as Ogg Opus (RFC 7845), of video rooms as fragmented MP4. This file is the way in: opening
//! files and starting the recorder's threads, on the caller's thread, which may block. `tap` is the room's end, `pictures`
//! the composer's, `take` one recording in progress, `recorder` the threads, `ogg` and `movie` the formats, `recover` the
//! repair after a crash. Nothing here knows rooms, legs or codecs' insides.

mod movie;
mod ogg;
mod pictures;
mod recorder;
mod recover;
mod take;
mod tap;
#[cfg(test)]
mod testing;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Sender, TrySendError};

use crate::command::Event;
use crate::error::Error;
use crate::units::{RecordingId, RoomId};
use recorder::{Disk, Emit, Order};
use take::{Take, reason_of};

pub use pictures::PictureTap;
pub use recover::recover;
pub use tap::Tap;

/// Disks that get threads of their own; further ones share.
const MAX_DISKS: usize = 4;

/// Writes the recordings of all rooms. Two threads for each disk (file system) that is recorded to, so that one that hangs
/// stops only its own recordings; the first two are started at once. Cheap to clone.
///
/// What a recording costs: 17 kB of queue, one page in the making, a descriptor; a page a second, written and then forced
/// to the disk from the second thread. A movie costs its pictures besides: what waits in the queue (at most 4.3 MB) and twice
/// the second in the making. While nothing is recorded the threads sleep and nothing is queued.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    emit: Emit,
    disks: Mutex<Disks>,
    packets_lost: Arc<AtomicU64>,
    pictures_lost: Arc<AtomicU64>,
}

/// What becomes of a movie when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalize {
    /// It stays in fragments, with an index of keyframes at its end.
    Fragmented,
    /// It is copied into a plain MP4 file that players can start before they have all of it; that takes its place. If this
    /// fails, it stays in fragments. Until it is done no `RecordingFinished` comes, and other files on the same disk are
    /// not forced to it.
    Plain,
}

#[derive(Default)]
struct Disks {
    running: Vec<(Option<u64>, Disk)>,
    is_stopped: bool,
}

impl Recorder {
    /// Starts the threads. `emit` gets `RecordingFinished` and `RecordingFailed`; it is called on the recorder's threads
    /// and must not block for long.
    ///
    /// # Errors
    /// `Broken` when the system has no threads to give.
    pub fn start(emit: impl Fn(Event) + Send + 'static) -> Result<Self, Error> {
        let emit: Emit = Arc::new(Mutex::new(emit));
        let first = Disk::start(0, &emit)?;
        let disks = Disks { running: vec![(None, first)], is_stopped: false };
        let shared =
            Shared { emit, disks: Mutex::new(disks), packets_lost: Arc::default(), pictures_lost: Arc::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Creates the file, which must not exist, with its headers on the disk. Blocks: not for a worker. The tap goes to the
    /// room; if it is dropped unused, the file ends up with headers and no sound.
    ///
    /// # Errors
    /// `Broken`, with the path and the reason, if the file cannot be made or the recorder has stopped.
    pub fn open(&self, room: RoomId, recording: RecordingId, path: PathBuf) -> Result<Tap, Error> {
        let (tap, source) = Tap::new(recording, Arc::clone(&self.shared.packets_lost));
        self.record(path, |path, file| Take::begin(room, recording, path, file, source))?;
        Ok(tap)
    }

    /// The same with pictures, as fragmented MP4. The first tap goes to the room, which tells it when its first tick was
    /// ([`Tap::begin`]), the second to the room's composer. The movie begins with the first tick or the first keyframe,
    /// whichever is earlier, and ends when both taps have ended, or a second after the room's.
    ///
    /// # Errors
    /// As [`Recorder::open`].
    pub fn open_movie(
        &self,
        room: RoomId,
        recording: RecordingId,
        path: PathBuf,
        finalize: Finalize,
    ) -> Result<(Tap, PictureTap), Error> {
        let (tap, source) = Tap::new(recording, Arc::clone(&self.shared.packets_lost));
        let (picture_tap, pictures) = PictureTap::new(Arc::clone(&self.shared.pictures_lost));
        let sources = (source, pictures);
        self.record(path, |path, file| Take::begin_movie(room, recording, path, file, sources, finalize))?;
        Ok((tap, picture_tap))
    }

    /// Pictures that were not recorded since the start because a disk was too slow.
    pub fn pictures_lost(&self) -> u64 {
        self.shared.pictures_lost.load(Ordering::Relaxed)
    }

    /// Packets that became silence since the start because a disk was too slow.
    pub fn packets_lost(&self) -> u64 {
        self.shared.packets_lost.load(Ordering::Relaxed)
    }

    /// Finishes all recordings, also those whose taps are still open, and waits until every event is out.
    pub fn stop(&self) {
        let running = {
            let mut disks = self.shared.disks.lock().unwrap_or_else(PoisonError::into_inner);
            disks.is_stopped = true;
            std::mem::take(&mut disks.running)
        };
        for (_, disk) in running {
            disk.stop();
        }
    }

    /// Makes the file and hands the recording that begins in it to the threads.
    fn record(&self, path: PathBuf, begin: impl FnOnce(PathBuf, File) -> io::Result<Take>) -> Result<(), Error> {
        let file = create(&path).map_err(|error| {
            let reason = match error.kind() {
                ErrorKind::NotFound => "its directory does not exist".to_owned(),
                ErrorKind::AlreadyExists => "the file exists already".to_owned(),
                _ => reason_of("creating", &error),
            };
            Error::Broken(format!("cannot record to {}: {reason}", path.display()))
        })?;
        self.adopt(&path, file, begin).inspect_err(|_| {
            // An empty file that nobody will ever finish; the error that matters is the first.
            let _ = fs::remove_file(&path);
        })
    }

    /// Records into a file that is open and empty.
    fn adopt(
        &self,
        path: &Path,
        file: File,
        begin: impl FnOnce(PathBuf, File) -> io::Result<Take>,
    ) -> Result<(), Error> {
        let broken = |reason: &str| Error::Broken(format!("cannot record to {}: {reason}", path.display()));
        let written = |error: io::Error| broken(&reason_of("writing", &error));
        let device = file.metadata().map_err(written)?.dev();
        let take = begin(path.to_owned(), file).map_err(written)?;
        take.backing().file.sync_data().map_err(written)?;
        // Without its directory's entry the file would be gone after a power cut. Some file systems cannot do this.
        if let Err(error) = sync_directory_of(path) {
            tracing::debug!(%error, "the directory of a recording is not forced to the disk");
        }
        // Sent under the lock, so that `stop` comes before or after it as a whole.
        let mut disks = self.shared.disks.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = disks.orders_for(device, &self.shared.emit)?;
        match orders.try_send(Order::Record(Box::new(take))) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Error::Busy("the recorder is waiting for its disk")),
            Err(TrySendError::Disconnected(_)) => Err(broken("the recorder has stopped")),
        }
    }
}

impl Disks {
    /// The threads for a device; the first device gets those that run from the start.
    fn orders_for(&mut self, device: u64, emit: &Emit) -> Result<Sender<Order>, Error> {
        if self.is_stopped {
            return Err(Error::Broken("the recorder has stopped".to_owned()));
        }
        let known = self.running.iter_mut().find(|(of, _)| of.is_none_or(|of| of == device));
        if let Some((of, disk)) = known {
            *of = Some(device);
            return Ok(disk.orders.clone());
        }
        if self.running.len() < MAX_DISKS {
            let disk = Disk::start(self.running.len(), emit)?;
            let orders = disk.orders.clone();
            self.running.push((Some(device), disk));
            return Ok(orders);
        }
        let shared = usize::try_from(device).unwrap_or(0) % self.running.len();
        self.running
            .get(shared)
            .map(|(_, disk)| disk.orders.clone())
            .ok_or_else(|| Error::Broken("the recorder has no threads".to_owned()))
    }
}

fn create(path: &Path) -> io::Result<File> {
    // Speech of others: for the owner, and a group that the operator may give the directory to.
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("packets_lost", &self.packets_lost()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Directory, play, speech};
    use super::*;
    use crate::units::Tick;
    use std::sync::mpsc;
    use std::time::Duration;

    fn recorder() -> (Recorder, mpsc::Receiver<Event>) {
        let (events, events_out) = mpsc::channel();
        (Recorder::start(move |event| events.send(event).unwrap()).unwrap(), events_out)
    }

    fn next(events: &mpsc::Receiver<Event>) -> Event {
        events.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn recordings_of_many_rooms_are_finished_each_on_its_own() {
        let directory = Directory::new();
        let (recorder, events) = recorder();
        let (_, packets) = speech(120);
        let mut taps: Vec<Tap> = (0..20)
            .map(|at| recorder.open(RoomId(at), RecordingId(100 + at), directory.file(&format!("{at}.opus"))).unwrap())
            .collect();
        for (tick, packet) in packets.iter().enumerate() {
            for tap in &mut taps {
                tap.push(Tick(tick as u64), packet);
            }
        }
        for tap in taps {
            tap.finish(Tick(125));
        }
        for _ in 0..20 {
            let Event::RecordingFinished { room, recording, file } = next(&events) else { panic!() };
            assert_eq!(recording.0, 100 + room.0);
            assert_eq!(file.duration, Duration::from_millis(2500));
            assert_eq!(play(&file.path).len(), 120_000);
        }
        assert_eq!(recorder.packets_lost(), 0);
        recorder.stop();
    }

    #[test]
    fn stop_finishes_recordings_whose_taps_are_open() {
        let directory = Directory::new();
        let (recorder, events) = recorder();
        let mut tap = recorder.open(RoomId(1), RecordingId(2), directory.file("a.opus")).unwrap();
        for (tick, packet) in speech(100).1.iter().enumerate() {
            tap.push(Tick(tick as u64), packet);
        }
        recorder.stop();
        let Ok(Event::RecordingFinished { file, .. }) = events.try_recv() else { panic!() };
        assert_eq!(file.duration, Duration::from_secs(2));
        assert!(recorder.open(RoomId(1), RecordingId(3), directory.file("b.opus")).is_err());
        assert!(!directory.file("b.opus").exists());
        tap.push(Tick(100), &[0xF8]);
        tap.finish(Tick(200));
        recorder.stop();
    }

    #[test]
    fn one_lost_file_does_not_touch_the_others() {
        let directory = Directory::new();
        let (recorder, events) = recorder();
        let mut lost = recorder.open(RoomId(1), RecordingId(1), directory.file("a.opus")).unwrap();
        let mut kept = recorder.open(RoomId(2), RecordingId(2), directory.file("b.opus")).unwrap();
        fs::remove_file(directory.file("a.opus")).unwrap();
        for (tick, packet) in speech(100).1.iter().enumerate() {
            lost.push(Tick(tick as u64), packet);
            kept.push(Tick(tick as u64), packet);
        }
        let Event::RecordingFailed { room, reason, file: None, .. } = next(&events) else { panic!() };
        assert_eq!(room, RoomId(1));
        assert!(reason.contains("deleted"), "{reason}");
        kept.finish(Tick(0));
        let Event::RecordingFinished { file, .. } = next(&events) else { panic!() };
        assert_eq!(play(&file.path).len(), 96_000);
        drop(lost);
        recorder.stop();
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn file_that_cannot_be_made_says_why() {
        let directory = Directory::new();
        let (recorder, _events) = recorder();
        fs::write(directory.file("taken.opus"), "kept").unwrap();
        for (name, reason) in [("none/a.opus", "directory does not exist"), ("taken.opus", "exists already")] {
            let error = recorder.open(RoomId(1), RecordingId(1), directory.file(name)).unwrap_err();
            assert!(matches!(&error, Error::Broken(text) if text.contains(reason) && text.contains(name)), "{error}");
        }
        assert_eq!(fs::read(directory.file("taken.opus")).unwrap(), b"kept");
        recorder.stop();
    }

    #[test]
    fn disks_have_threads_of_their_own_up_to_a_limit() {
        let emit: Emit = Arc::new(Mutex::new(|_| ()));
        let mut disks = Disks { running: vec![(None, Disk::start(0, &emit).unwrap())], is_stopped: false };
        for device in 0..20 {
            disks.orders_for(device, &emit).unwrap();
            disks.orders_for(device, &emit).unwrap();
        }
        assert_eq!(disks.running.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), Some(3)]);
        for (_, disk) in disks.running {
            disk.stop();
        }
    }
}
