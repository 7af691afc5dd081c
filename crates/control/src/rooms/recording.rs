//! The life of a recording: row, file, tap, end, digest; repair at the start; removal. The row comes before the file, so
//! that whatever happens the next start knows of it. Files are read and removed on threads that may block.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use media::{FinishedFile, RecordingId, Reply, RoomId};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{RETRY, Rooms, through};
use crate::error::Error;
use crate::events::{Data, Entry, Kind, NewEvent, RecordingData};
use crate::ids::Id;
use crate::prompts::Phrase;
use crate::store::{self, NewRecording, RecordingEnd, RecordingRecord, RecordingState};

/// Attempts to tell a worker whose queue is full to stop: half a second of ticks.
const STOP_ATTEMPTS: usize = 25;
/// Attempts to make a file whose directory vanishes.
const OPEN_ATTEMPTS: usize = 3;
/// Between attempts to write an end to a database that is away.
const STORE_RETRY: Duration = Duration::from_secs(2);
/// Recordings removed in one go by the retention sweep.
const SWEEP_BATCH: i64 = 100;
/// Between retention sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

impl Rooms {
    /// Starts to record a room. One that is being recorded stays so.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when nobody is in the room; `Busy` when the file cannot be made.
    pub async fn start_recording(&self, room: Id) -> Result<(), Error> {
        let nobody = || Error::InvalidState("nobody is in the room".into());
        let gate = {
            let mut state = self.state();
            state.room(room).ok_or(Error::NotFound("room"))?;
            let call = state.call_mut(room).filter(|call| !call.participants.is_empty()).ok_or_else(nobody)?;
            call.recording_gate.clone()
        };
        let _gate = through(&gate).await?;
        self.begin_recording(room, None).await
    }

    /// What is recorded of a room goes on in a new part, as its picture has another size now.
    ///
    /// # Errors
    /// `Busy` when the next part did not begin.
    pub(super) async fn next_part(&self, room: Id) -> Result<(), Error> {
        let Some(gate) = self.state().call_mut(room).map(|call| call.recording_gate.clone()) else { return Ok(()) };
        let _gate = through(&gate).await?;
        let first = self.state().call_mut(room).and_then(|call| call.part_of.or(call.recording));
        match self.end_recording(room).await? {
            Some(_) => self.begin_recording(room, first).await,
            None => Ok(()),
        }
    }

    /// With the gate held.
    async fn begin_recording(&self, room: Id, part_of: Option<Id>) -> Result<(), Error> {
        let nobody = || Error::InvalidState("nobody is in the room".into());
        let (media, extension, has_picture) = {
            let mut state = self.state();
            let known = state.room(room).ok_or(Error::NotFound("room"))?;
            let (extension, has_picture) = (known.extension.clone(), known.video.is_some());
            let call = state.call_mut(room).filter(|call| !call.participants.is_empty()).ok_or_else(nobody)?;
            if call.recording.is_some() {
                return Ok(());
            }
            call.part_of = part_of;
            (call.media, extension, has_picture)
        };
        let new = self.name(room, &extension, has_picture, part_of);
        let mut entry = self.inner.journal.change().await?;
        entry.insert_recording(&new).await?;
        let started = RecordingData {
            recording_id: new.id,
            file_name: new.file_name.clone(),
            state: RecordingState::Recording.as_str(),
            duration: None,
            file_size: None,
            reason: None,
        };
        entry.note(self.of_recording(Kind::RecordingStarted, room, started));
        if let Err(error) = entry.commit().await {
            // If its row is there all the same, it has to say what became of it.
            let reason = Some("the database went away when it was to begin".to_owned());
            let end = RecordingEnd { state: RecordingState::Failed, ended_at: store::now(), reason, file: None };
            let rooms = self.clone();
            tokio::spawn(async move { rooms.keep_end(new.id, &end).await });
            return Err(error);
        }
        self.inner.recordings_open.send_modify(|open| *open += 1);
        // Before the tap: its end may be reported before the start is answered.
        self.tape(room, media, None, Some(new.id));
        if let Err(error) = self.tap(media, &new).await {
            self.tape(room, media, Some(new.id), None);
            let reason = self.without_place(&error.to_string());
            tracing::error!(%error, extension, "a recording did not begin");
            let end = RecordingEnd {
                state: RecordingState::Failed,
                ended_at: store::now(),
                reason: Some(reason.clone()),
                file: None,
            };
            self.keep_end(new.id, &end).await;
            self.inner.recordings_open.send_modify(|open| *open = open.saturating_sub(1));
            return Err(match error {
                media::Error::Refused(_) => nobody(),
                _ => Error::Busy(format!("the recording did not begin: {reason}").into()),
            });
        }
        tracing::info!(recording = new.id.raw(), extension, path = new.path, "a recording began");
        if part_of.is_none() {
            self.tell_of_recording(room, Phrase::RecordingStarted);
        }
        Ok(())
    }

    /// The configured start with the first participant. Nobody waits for it; what goes wrong is in its row and the log.
    /// While the database is away it is put off: a part of the call is better than nothing.
    pub(super) async fn record_from_the_start(&self, room: Id) {
        while let Err(error) = self.start_recording(room).await {
            tracing::warn!(%error, "a room is not recorded, though it is set to be");
            if !matches!(error, Error::Busy(_)) || self.inner.journal.change().await.is_ok() {
                // The database is not the reason.
                return;
            }
            tokio::time::sleep(STORE_RETRY).await;
        }
    }

    /// Stops to record a room; its file is complete soon after. One that is not being recorded stays so.
    ///
    /// # Errors
    /// `NotFound`; `Busy` when the database cannot be written, or the engine does not take the order.
    pub async fn stop_recording(&self, room: Id) -> Result<(), Error> {
        let gate = {
            let mut state = self.state();
            state.room(room).ok_or(Error::NotFound("room"))?;
            let Some(call) = state.call_mut(room) else { return Ok(()) };
            call.recording_gate.clone()
        };
        let _gate = through(&gate).await?;
        if self.end_recording(room).await?.is_some() {
            self.tell_of_recording(room, Phrase::RecordingStopped);
        }
        Ok(())
    }

    /// Everybody in the room hears it.
    fn tell_of_recording(&self, room: Id, word: Phrase) {
        self.change(|state| state.announce(room, vec![word]).into_iter().collect());
    }

    /// With the gate held. Gives what was recorded.
    async fn end_recording(&self, room: Id) -> Result<Option<Id>, Error> {
        let running = self.state().call_mut(room).and_then(|call| Some((call.media, call.recording?)));
        let Some((media, recording)) = running else { return Ok(None) };
        // Nothing changes while the database cannot be told of it.
        self.inner.journal.change().await?.commit().await?;
        for attempt in 1.. {
            match self.inner.engine.stop_recording(media, engine_id(recording)) {
                // A room that is gone took its recording with it.
                Ok(()) | Err(media::Error::Refused(_)) => break,
                Err(error) if attempt == STOP_ATTEMPTS => return Err(error.into()),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
        self.tape(room, media, Some(recording), None);
        Ok(Some(recording))
    }

    /// Sets what a call records, if it still is the call and records what is expected.
    fn tape(&self, room: Id, media: RoomId, expected: Option<Id>, recording: Option<Id>) {
        let mut state = self.state();
        if let Some(call) = state.call_mut(room).filter(|call| call.media == media && call.recording == expected) {
            call.recording = recording;
        }
    }

    fn name(&self, room: Id, extension: &str, has_picture: bool, part_of: Option<Id>) -> NewRecording {
        let kind = if has_picture { "mp4" } else { "ogg" };
        let id = self.inner.store.ids().next();
        let answered_at = store::now();
        let date = answered_at.to_zoned_datetime(TimeZone::UTC);
        NewRecording {
            id,
            room,
            server: self.inner.server,
            answered_at,
            file_name: format!("{extension}-{}.{kind}", date.strftime("%Y%m%dT%H%M%SZ")),
            path: format!("{}/{}.{kind}", date.strftime("%Y/%m"), id.raw()),
            part_of,
        }
    }

    async fn tap(&self, media: RoomId, new: &NewRecording) -> Result<(), media::Error> {
        let (engine, path, id) = (self.inner.engine.clone(), self.place(&new.path), engine_id(new.id));
        let opened = tokio::task::spawn_blocking(move || {
            let month = path.parent().unwrap_or(&path);
            let mut attempts = 1..=OPEN_ATTEMPTS;
            loop {
                // Speech of others: not for everyone on the machine.
                let made = DirBuilder::new().recursive(true).mode(0o750).create(month);
                made.map_err(|e| media::Error::Broken(format!("{}: {e}", month.display())))?;
                let (reply, started) = oneshot::channel();
                let reply = Reply::new(move |outcome| drop(reply.send(outcome)));
                match engine.start_recording(media, id, path.clone(), reply) {
                    // The month's last recording was removed just now, and its directory with it.
                    Err(media::Error::Broken(_)) if !month.exists() && attempts.next().is_some() => {}
                    other => return other.map(|()| started),
                }
            }
        });
        let started = opened.await.unwrap_or_else(|error| Err(media::Error::Broken(error.to_string())))?;
        let gone = |_| Err(media::Error::Broken("the media engine did not take the recording".to_owned()));
        started.await.unwrap_or_else(gone)
    }

    /// Where the file of a recording is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.inner.recordings.dir.join(path)
    }

    /// Reasons are shown to users; where the files are is none of their business.
    fn without_place(&self, reason: &str) -> String {
        reason.replace(&self.inner.recordings.dir.display().to_string(), "recordings")
    }

    // -- ends ----------------------------------------------------------------------------------------------------------

    /// The engine reports the end of a recording. Reading the file takes its time; nobody waits for it here.
    pub(super) fn recording_ended(
        &self,
        media: RoomId,
        recording: RecordingId,
        state: RecordingState,
        reason: Option<String>,
        file: Option<FinishedFile>,
    ) {
        let id = own_id(recording);
        let room = self.state().room_of_media(media);
        if let Some(room) = room {
            self.tape(room, media, Some(id), None);
        }
        match &reason {
            Some(reason) => tracing::error!(recording = id.raw(), reason, "a recording failed"),
            None => tracing::info!(recording = id.raw(), "a recording ended"),
        }
        self.inner.metrics.recording_ended(state.as_str());
        let rooms = self.clone();
        tokio::spawn(async move {
            let reason = reason.map(|reason| rooms.without_place(&reason));
            let end = rooms.measure(state, reason, store::now(), file).await;
            rooms.keep_end(id, &end).await;
            rooms.inner.recordings_open.send_modify(|open| *open = open.saturating_sub(1));
            rooms.let_go_with_room(id).await;
        });
    }

    async fn measure(
        &self,
        state: RecordingState,
        reason: Option<String>,
        ended_at: Timestamp,
        file: Option<FinishedFile>,
    ) -> RecordingEnd {
        let Some(file) = file else { return RecordingEnd { state, ended_at, reason, file: None } };
        let path = file.path.clone();
        let digest = tokio::task::spawn_blocking(move || digest_of(&path)).await;
        match digest.unwrap_or_else(|error| Err(io::Error::other(error.to_string()))) {
            Ok(digest) => RecordingEnd { state, ended_at, reason, file: Some((file.duration, file.bytes, digest)) },
            Err(error) => {
                let reason = reason.unwrap_or_else(|| format!("the file cannot be read: {error}"));
                RecordingEnd { state: RecordingState::Failed, ended_at, reason: Some(reason), file: None }
            }
        }
    }

    /// Until it is written: a recording without an end in the store is repaired at the next start, at the latest.
    async fn keep_end(&self, id: Id, end: &RecordingEnd) {
        while let Err(error) = self.try_to_keep_end(id, end).await {
            tracing::error!(recording = id.raw(), %error, "the end of a recording could not be kept; trying again");
            tokio::time::sleep(STORE_RETRY).await;
        }
    }

    fn of_recording(&self, kind: Kind, room: Id, data: RecordingData) -> NewEvent {
        let extension = self.state().room(room).map(|known| known.extension.to_string());
        NewEvent { at: store::now(), room: Some(room), extension, kind, data: Data::Recording(data) }
    }

    async fn try_to_keep_end(&self, id: Id, end: &RecordingEnd) -> Result<(), Error> {
        let recording = match self.inner.store.any_recording(id).await {
            // A restored backup does not know it: nothing is left to be kept.
            Err(Error::NotFound(_)) => return Ok(()),
            recording => recording?,
        };
        let mut entry = self.inner.journal.change().await?;
        if entry.end_recording(id, end).await? {
            let kind = match end.state {
                RecordingState::Recovered | RecordingState::Failed => Kind::RecordingFailed,
                RecordingState::Finished | RecordingState::Recording => Kind::RecordingFinished,
            };
            let ended = RecordingData {
                recording_id: id,
                file_name: recording.file_name,
                state: end.state.as_str(),
                duration: end.file.as_ref().map(|(duration, ..)| whole_seconds(*duration)),
                file_size: end.file.as_ref().map(|(_, bytes, _)| *bytes),
                reason: end.reason.clone(),
            };
            entry.note(self.of_recording(kind, recording.room, ended));
        }
        entry.commit().await
    }

    /// A recording that outlived its room, where the configuration has them go together.
    async fn let_go_with_room(&self, id: Id) {
        if !self.inner.recordings.delete_with_room {
            return;
        }
        let gone = async {
            let recording = self.inner.store.any_recording(id).await?;
            match self.inner.store.room(recording.room).await {
                Err(Error::NotFound(_)) => self.destroy_recording_file(&recording).await,
                room => room.map(drop),
            }
        };
        if let Err(error) = gone.await {
            tracing::error!(recording = id.raw(), %error, "a recording could not be removed with its room");
        }
    }

    // -- repair and removal --------------------------------------------------------------------------------------------

    /// Repairs what the last run left behind. Before anyone is let in, as it takes every open row for one of that run.
    ///
    /// # Errors
    /// `Busy` when the database is not there.
    pub async fn recover_recordings(&self) -> Result<(), Error> {
        for recording in self.inner.store.open_recordings().await? {
            let path = self.place(&recording.path);
            let repaired = tokio::task::spawn_blocking(move || match path.try_exists() {
                Ok(false) => Err("the file is missing".to_owned()),
                _ => media::recover(&path).map_err(|error| error.to_string()),
            });
            let repaired = repaired.await.unwrap_or_else(|error| Err(error.to_string()));
            let end = match repaired {
                Ok(file) => {
                    let ended_at = recording.answered_at.saturating_add(file.duration).unwrap_or(recording.answered_at);
                    self.measure(RecordingState::Recovered, None, ended_at, Some(file)).await
                }
                Err(reason) => {
                    let reason = Some(self.without_place(&reason));
                    let ended_at = recording.answered_at;
                    RecordingEnd { state: RecordingState::Failed, ended_at, reason, file: None }
                }
            };
            tracing::warn!(
                recording = recording.id.raw(),
                state = end.state.as_str(),
                reason = end.reason,
                "the last run ended during a recording"
            );
            self.inner.metrics.recording_ended(end.state.as_str());
            self.try_to_keep_end(recording.id, &end).await?;
        }
        Ok(())
    }

    /// Marks a recording as read or not.
    ///
    /// # Errors
    /// `NotFound`, also when it is another room's.
    pub async fn mark_recording(&self, room: Id, id: Id, is_read: bool) -> Result<(), Error> {
        let mut entry = self.inner.journal.change().await?;
        entry.mark_recording(room, id, is_read).await?;
        entry.commit().await
    }

    /// Removes a recording, row and file.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` while it runs.
    pub async fn destroy_recording(&self, room: Id, id: Id) -> Result<(), Error> {
        let recording = self.inner.store.recording(room, id).await?;
        if recording.state == RecordingState::Recording {
            return Err(Error::InvalidState("the recording is still running".into()));
        }
        self.destroy_recording_file(&recording).await
    }

    async fn destroy_recording_file(&self, recording: &RecordingRecord) -> Result<(), Error> {
        let mut entry = self.inner.journal.change().await?;
        self.remove_recording(&mut entry, recording).await?;
        entry.commit().await
    }

    /// Removes a recording that has ended, as a part of a change: its row, and then its file, as the database has taken
    /// the one and only has to keep it. The row stays when the file does, so that it can be tried again.
    pub(super) async fn remove_recording(&self, entry: &mut Entry, recording: &RecordingRecord) -> Result<(), Error> {
        if !entry.delete_recording(recording.id).await? {
            return Ok(());
        }
        let path = self.place(&recording.path);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::Broken(format!("recording {}: {error}", recording.path)));
            }
            _ => {}
        }
        // Month and year go with their last recording; a directory that holds something is left alone by the system.
        for directory in
            path.ancestors().skip(1).take(Path::new(&recording.path).components().count().saturating_sub(1))
        {
            if tokio::fs::remove_dir(directory).await.is_err() {
                break;
            }
        }
        let destroyed = RecordingData {
            recording_id: recording.id,
            file_name: recording.file_name.clone(),
            state: recording.state.as_str(),
            duration: recording.duration.map(whole_seconds),
            file_size: recording.file_size,
            reason: recording.reason.clone(),
        };
        entry.note(self.of_recording(Kind::RecordingDestroyed, recording.room, destroyed));
        Ok(())
    }

    /// Removes recordings past their time, now and every hour. Runs until it is dropped; returns when there is no such
    /// time.
    pub async fn sweep_recordings(&self) {
        let days = self.inner.recordings.retention_days;
        if days == 0 {
            return;
        }
        loop {
            let kept_for = Duration::from_secs(u64::from(days) * 86_400);
            let limit = store::now().saturating_sub(kept_for).unwrap_or(Timestamp::MIN);
            if let Err(error) = self.sweep_before(limit).await {
                tracing::error!(%error, "recordings past their time could not be removed");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    async fn sweep_before(&self, limit: Timestamp) -> Result<(), Error> {
        loop {
            let old = self.inner.store.recordings_ended_before(limit, SWEEP_BATCH).await?;
            if old.is_empty() {
                return Ok(());
            }
            for recording in &old {
                self.destroy_recording_file(recording).await?;
                tracing::info!(recording = recording.id.raw(), "a recording past its time was removed");
            }
        }
    }
}

/// As the API shows it.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_millis() >= 500)
}

/// Row and engine share one number.
fn engine_id(id: Id) -> RecordingId {
    RecordingId(id.raw().unsigned_abs())
}

fn own_id(id: RecordingId) -> Id {
    Id::from_raw(i64::try_from(id.0).unwrap_or(i64::MAX))
}

fn digest_of(path: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = HashingWriter(Sha256::new());
    io::copy(&mut io::BufReader::with_capacity(64 * 1024, File::open(path)?), &mut hasher)?;
    Ok(hasher.0.finalize().into())
}

struct HashingWriter(Sha256);

impl io::Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
