//! Repair of a recording that a crash, a full disk or a power cut left behind: of Ogg here, of movies in `movie`. Runs on
//! the caller's thread and blocks on the disk; in memory it holds two pages at most. Knows nothing of taps, rooms or the
//! recorder's thread.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::movie;
use super::ogg::{self, HEADER_BYTES, MAX_PAGE_BYTES, Page, Parsed};
use crate::command::FinishedFile;
use crate::error::Error;

/// Repairs a file that a crash left behind: cuts the torn tail, marks the end of the stream, and says what plays.
/// A sound file is left as it is, so this may be repeated. Of Ogg, bytes are only ever cut after the last good page; damage
/// before it stays, as players step over it. A movie ends with the last fragment of which all before it are whole.
///
/// # Errors
/// `Broken`, with the reason, if the file cannot be read or written, is no recording of ours, or holds nothing.
pub fn recover(path: &Path) -> Result<FinishedFile, Error> {
    let broken = |reason: &str| Error::Broken(format!("{}: {reason}", path.display()));
    let failed = |error: io::Error| broken(&error.to_string());
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let (duration, bytes) = if is_movie(&file).map_err(failed)? {
        // What a crash left of making a plain file; the movie itself is still whole.
        let _ = fs::remove_file(movie::temporary(path));
        movie::recover(&file).map_err(failed)?.map_err(broken)?
    } else {
        let found = repair(&file).map_err(failed)?.map_err(broken)?;
        (found.duration, found.end)
    };
    file.sync_all().map_err(failed)?;
    Ok(FinishedFile { path: path.to_owned(), duration, bytes })
}

/// By its first bytes.
fn is_movie(file: &File) -> io::Result<bool> {
    let mut first = [0; 8];
    let read = file.read_at(&mut first, 0)?;
    Ok(read == first.len() && first.ends_with(b"ftyp"))
}

fn repair(file: &File) -> io::Result<Result<Found, &'static str>> {
    let found = match scan(file)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    if file.metadata()?.len() > found.end || !found.is_ended {
        truncate_and_end(file, found.last_page_at, found.end)?;
    }
    Ok(Ok(found))
}

/// Playing time of a stream whose last granule position is `granule` (RFC 7845 §4.3).
pub(super) fn playing_time(granule: u64, pre_skip: u16) -> Duration {
    let samples = granule.saturating_sub(u64::from(pre_skip));
    Duration::from_secs(samples / 48_000) + Duration::from_nanos(samples % 48_000 * 1_000_000_000 / 48_000)
}

/// Cuts the file at `end` and marks the page that begins at `last_page_at`, and ends there, as the last.
pub(super) fn truncate_and_end(file: &File, last_page_at: u64, end: u64) -> io::Result<()> {
    file.set_len(end)?;
    let mut page = vec![0; usize::try_from(end.saturating_sub(last_page_at)).unwrap_or(0).min(MAX_PAGE_BYTES)];
    file.read_exact_at(&mut page, last_page_at)?;
    ogg::mark_last(&mut page);
    // The header alone changes; it is written at once, so that a second crash costs at most this one page.
    file.write_all_at(page.get(..HEADER_BYTES).unwrap_or(&[]), last_page_at)
}

/// What of a file can be played.
#[derive(Debug)]
struct Found {
    last_page_at: u64,
    /// Where the last good page ends.
    end: u64,
    duration: Duration,
    is_ended: bool,
}

fn scan(file: &File) -> io::Result<Result<Found, &'static str>> {
    let mut pages = PageScan::new(file);
    let (serial, pre_skip) = match pages.next()? {
        Some((0, page, body)) if page.is_first() => match opus_head(body) {
            Some(pre_skip) => (page.serial, pre_skip),
            None => return Ok(Err("not an Opus stream of a version that we write")),
        },
        _ => return Ok(Err("does not begin with an Ogg page")),
    };
    match pages.next()? {
        Some((_, page, body)) if page.serial == serial && body.starts_with(b"OpusTags") => {}
        _ => return Ok(Err("its OpusTags header is missing")),
    }
    let mut found: Option<Found> = None;
    let (mut sequence, mut granule) = (1, 0);
    while let Some((at, page, _)) = pages.next()? {
        let follows = page.sequence > sequence && page.granule >= granule && page.granule != u64::MAX;
        if page.serial != serial || !follows || !page.is_whole() {
            continue;
        }
        (sequence, granule) = (page.sequence, page.granule);
        found = Some(Found {
            last_page_at: at,
            end: at + page.bytes as u64,
            duration: playing_time(granule, pre_skip),
            is_ended: page.is_last(),
        });
    }
    Ok(found.ok_or("holds no sound"))
}

/// Pre-skip of an `OpusHead` packet (RFC 7845 §5.1), if it is one with major version 0.
fn opus_head(packet: &[u8]) -> Option<u16> {
    let rest = packet.strip_prefix(b"OpusHead")?;
    let [version, _channels, low, high, ..] = rest else { return None };
    (version & 0xF0 == 0).then_some(u16::from_le_bytes([*low, *high]))
}

/// Finds the pages of a file in order, stepping over whatever is not a page.
struct PageScan<'a> {
    file: &'a File,
    window: Vec<u8>,
    /// Bytes at the front of the window that are done with.
    done: usize,
    /// Where the window begins in the file.
    window_at: u64,
    is_at_end: bool,
}

impl<'a> PageScan<'a> {
    fn new(file: &'a File) -> Self {
        Self { file, window: Vec::new(), done: 0, window_at: 0, is_at_end: false }
    }

    /// The next page, where it begins, and its packets.
    fn next(&mut self) -> io::Result<Option<(u64, Page, &[u8])>> {
        let page = loop {
            let ahead = self.window.get(self.done..).unwrap_or(&[]);
            match ogg::parse(ahead) {
                Parsed::Page(page) => break page,
                Parsed::Short if !self.is_at_end => self.fill()?,
                Parsed::Short if ahead.is_empty() => return Ok(None),
                Parsed::Short | Parsed::Nothing => {
                    let skip = ahead.iter().skip(1).position(|&byte| byte == b'O').map_or(ahead.len(), |at| at + 1);
                    self.done += skip;
                }
            }
        };
        let begin = self.done;
        self.done += page.bytes;
        let body = self.window.get(begin + page.body_at..self.done).unwrap_or(&[]);
        Ok(Some((self.window_at + begin as u64, page, body)))
    }

    /// Moves the window on to what is not done, and reads as much as the largest page.
    fn fill(&mut self) -> io::Result<()> {
        self.window.drain(..self.done);
        self.window_at += self.done as u64;
        self.done = 0;
        let kept = self.window.len();
        self.window.resize(kept + MAX_PAGE_BYTES, 0);
        let read_at = self.window_at + kept as u64;
        let read = loop {
            match self.file.read_at(self.window.get_mut(kept..).unwrap_or(&mut []), read_at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.window.truncate(kept + read);
        self.is_at_end = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{Directory, play, random, recorded, speech};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn file_cut_at_any_byte_plays_its_whole_pages() {
        let directory = Directory::new();
        // Small packets, so that every single offset can be tried.
        let path = recorded(&directory, &vec![vec![0xF8, 0xFF, 0xFE]; 200], 0);
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> = page_ends(&whole);
        let cut_path = directory.file("cut.opus");
        for cut in 0..whole.len() {
            fs::write(&cut_path, &whole[..cut]).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&cut_path).unwrap();
            let kept = ends.iter().filter(|&&end| end <= cut).count();
            match repair(&file).unwrap() {
                Err(_) => assert!(kept < 3, "cut at {cut}"),
                Ok(found) => {
                    let seconds = (kept - 2) as u32;
                    assert_eq!(found.duration, SECOND * seconds - Duration::from_micros(6500), "cut at {cut}");
                    assert_eq!(file.metadata().unwrap().len() as usize, ends[kept - 1]);
                    assert!(repair(&file).unwrap().unwrap().is_ended);
                }
            }
        }
    }

    #[test]
    fn speech_torn_by_a_crash_plays_back_to_the_tear() {
        let directory = Directory::new();
        let path = recorded(&directory, &speech(250).1, 0);
        let whole = fs::read(&path).unwrap();
        let ends = page_ends(&whole);
        for kept in 3..ends.len() - 1 {
            fs::write(&path, &whole[..ends[kept] - 1]).unwrap();
            let found = recover(&path).unwrap();
            assert_eq!(play(&path).len() as u128, found.duration.as_nanos() * 48_000 / 1_000_000_000);
            assert_eq!(found.bytes, fs::metadata(&path).unwrap().len());
        }
    }

    #[test]
    fn finished_file_is_left_as_it_is() {
        let directory = Directory::new();
        let path = recorded(&directory, &speech(120).1, 130);
        let before = fs::read(&path).unwrap();
        let found = recover(&path).unwrap();
        assert_eq!(found.duration, Duration::from_millis(2600));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn hole_in_the_middle_costs_only_itself() {
        let directory = Directory::new();
        let path = recorded(&directory, &speech(250).1, 0);
        let mut bytes = fs::read(&path).unwrap();
        let ends = page_ends(&bytes);
        bytes[ends[2] + 10..ends[3] + 10].fill(0);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(recover(&path).unwrap().duration, SECOND * 5);
    }

    #[test]
    fn damage_anywhere_is_survived() {
        let directory = Directory::new();
        let path = recorded(&directory, &speech(200).1, 0);
        let whole = fs::read(&path).unwrap();
        let mut state = 1;
        for _ in 0..300 {
            let mut bytes = whole.clone();
            bytes.truncate(random(&mut state) as usize % whole.len());
            for _ in 0..random(&mut state) % 8 {
                let at = random(&mut state) as usize % whole.len();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= random(&mut state) as u8;
                }
            }
            fs::write(&path, &bytes).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            if let Ok(found) = repair(&file).unwrap() {
                assert!(found.duration <= SECOND * 4);
                assert!(repair(&file).unwrap().unwrap().is_ended);
            }
        }
    }

    #[test]
    fn file_that_is_no_recording_is_refused_and_not_touched() {
        let directory = Directory::new();
        let headers = {
            let path = recorded(&directory, &speech(60).1, 0);
            let bytes = fs::read(path).unwrap();
            bytes[..page_ends(&bytes)[1]].to_vec()
        };
        for (content, reason) in [
            (b"".to_vec(), "does not begin with an Ogg page"),
            (b"RIFF and so on".to_vec(), "does not begin with an Ogg page"),
            (vec![b'O'; 200_000], "does not begin with an Ogg page"),
            (headers, "holds no sound"),
        ] {
            let path = directory.file("other.opus");
            fs::write(&path, &content).unwrap();
            let Err(Error::Broken(told)) = recover(&path) else { panic!("must be refused") };
            assert!(told.contains(reason), "{told}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    fn page_ends(bytes: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut at = 0;
        while let Parsed::Page(page) = ogg::parse(&bytes[at..]) {
            at += page.bytes;
            ends.push(at);
        }
        assert_eq!(at, bytes.len());
        ends
    }
}
