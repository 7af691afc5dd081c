//! Reads a movie of ours back, fragment by fragment, from a file that may be torn or anything at all: what is not as ours
//! ends the reading. In memory it holds the head and one fragment's `moof`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use shiguredo_mp4::Decode;
use shiguredo_mp4::boxes::{MoovBox, TfdtBox, TfhdBox, TrunBox};

use super::head::Track;
use super::{Ends, SYNC, boxes};

/// The largest `moov` of a fragmented file and the largest `moof` that are read. Ours stay below 2 kB and 8 kB.
const MAX_HEAD_BYTES: u64 = 64 * 1024;

/// A fragmented file's front.
#[derive(Debug)]
pub(super) struct Head {
    /// Where `moov` begins.
    pub(super) moov_at: u64,
    pub(super) moov_bytes: Vec<u8>,
    pub(super) moov: MoovBox,
}

/// What a file that begins with `ftyp` is.
#[derive(Debug)]
pub(super) enum Kind {
    /// Goes on in fragments.
    Fragmented(Box<Head>),
    /// A plain file, and how long it says that it plays.
    Plain(Duration),
}

/// A sample in a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) duration: u32,
    pub(super) bytes: u32,
    pub(super) is_sync: bool,
}

/// The samples of one track in a fragment.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) track: Track,
    /// Of the first sample, in the track's units.
    pub(super) at: u64,
    /// Where in the file the samples lie, one after the other.
    pub(super) data_at: u64,
    pub(super) samples: Vec<Sample>,
}

impl Run {
    /// Where on the timeline it ends, in the track's units.
    pub(super) fn end(&self) -> u64 {
        self.samples.iter().fold(self.at, |at, sample| at.saturating_add(u64::from(sample.duration)))
    }
    pub(super) fn bytes(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.bytes)).sum()
    }
}

/// A whole fragment.
#[derive(Debug)]
pub(super) struct Fragment {
    /// Where its `moof` begins.
    pub(super) at: u64,
    /// Where its samples lie.
    pub(super) payload_at: u64,
    /// Where its `mdat` ends.
    pub(super) end: u64,
    pub(super) runs: Vec<Run>,
}

/// Goes through a file's fragments.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    file: &'a File,
    length: u64,
    /// Where the next box begins.
    pub(super) at: u64,
    pub(super) ends: Ends,
}

impl<'a> Scan<'a> {
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, length: file.metadata()?.len(), at: 0, ends: Ends::default() })
    }

    /// Reads up to the first fragment.
    pub(super) fn head(&mut self) -> io::Result<Result<Kind, &'static str>> {
        match self.header()? {
            Some(header) if header.kind == *b"ftyp" && header.bytes <= MAX_HEAD_BYTES => self.at += header.bytes,
            _ => return Ok(Err("does not begin with the type of an MP4 file")),
        }
        let torn = "ends before its first fragment";
        let Some(header) = self.header()?.filter(|header| header.kind == *b"moov") else { return Ok(Err(torn)) };
        let moov_at = self.at;
        let Some(end) = moov_at.checked_add(header.bytes).filter(|&end| end <= self.length) else {
            return Ok(Err(torn));
        };
        let bytes = self.read(moov_at, header.bytes.min(MAX_HEAD_BYTES))?;
        let whole = (bytes.len() as u64 == header.bytes).then(|| MoovBox::decode(&bytes).ok()).flatten();
        self.at = end;
        if let Some((moov, _)) = whole.filter(|(moov, _)| moov.mvex_box.is_some()) {
            return Ok(Ok(Kind::Fragmented(Box::new(Head { moov_at, moov_bytes: bytes, moov }))));
        }
        // A plain file of ours is put in place as a whole; `mdat` ends it.
        let data = self.header()?.filter(|header| header.kind == *b"mdat");
        let is_whole = data.is_some_and(|data| end.checked_add(data.bytes) == Some(self.length));
        let duration = bytes.get(super::head::MVHD_DURATION_AT..).and_then(<[u8]>::first_chunk);
        Ok(match duration {
            Some(&duration) if is_whole => {
                Ok(Kind::Plain(super::in_time(u64::from(u32::from_be_bytes(duration)), super::MOVIE_HZ)))
            }
            _ => Err("is an MP4 file that is not of ours, or torn"),
        })
    }

    /// The next fragment; `None` where the next box is none, or not all of it is there.
    pub(super) fn next(&mut self) -> io::Result<Option<Fragment>> {
        let at = self.at;
        let Some(moof) = self.header()?.filter(|box_| box_.kind == *b"moof" && box_.bytes <= MAX_HEAD_BYTES) else {
            return Ok(None);
        };
        let bytes = self.read(at, moof.bytes)?;
        let Some(mdat_at) = at.checked_add(moof.bytes).filter(|&end| end <= self.length) else { return Ok(None) };
        self.at = mdat_at;
        let mdat = self.header()?;
        self.at = at;
        let end = mdat.filter(|mdat| mdat.kind == *b"mdat").and_then(|mdat| {
            let end = mdat_at.checked_add(mdat.bytes).filter(|&end| end <= self.length)?;
            Some((mdat_at + mdat.header_bytes, end))
        });
        let Some((payload_at, end)) = end else { return Ok(None) };
        let body = bytes.get(moof.header_bytes as usize..).unwrap_or(&[]);
        let Some(runs) = runs_of(body, at) else { return Ok(None) };
        let within = |run: &Run| {
            let run_end = run.data_at.checked_add(run.bytes());
            run.data_at >= payload_at && run_end.is_some_and(|run_end| run_end <= end)
        };
        let follows = |run: &Run| match run.track {
            Track::Pictures => run.at >= self.ends.pictures,
            Track::Sound => run.at >= self.ends.sound,
        };
        if !runs.iter().all(|run| within(run) && follows(run)) {
            return Ok(None);
        }
        for run in &runs {
            match run.track {
                Track::Pictures => self.ends.pictures = run.end(),
                Track::Sound => self.ends.sound = run.end(),
            }
        }
        self.at = end;
        Ok(Some(Fragment { at, payload_at, end, runs }))
    }

    /// How long what was read so far plays.
    pub(super) fn duration(&self) -> Duration {
        let sound = self.ends.sound.saturating_sub(Track::Sound.lead());
        Ends { sound, ..self.ends }.duration()
    }

    /// The box that begins here.
    fn header(&self) -> io::Result<Option<boxes::Header>> {
        Ok(boxes::header(&self.read(self.at, 16)?))
    }

    /// As much of it as there is.
    pub(super) fn read(&self, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let bytes = bytes.min(self.length.saturating_sub(at));
        let mut read = vec![0; usize::try_from(bytes).unwrap_or(0)];
        self.file.read_exact_at(&mut read, at)?;
        Ok(read)
    }
}

/// The runs of a `moof` that begins at `at`, if it is as ours: at most one for each track, each sample with its size.
fn runs_of(moof: &[u8], at: u64) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::with_capacity(2);
    for (kind, body) in boxes::each(moof) {
        if kind != *b"traf" {
            continue;
        }
        let run = run_of(moof.get(body)?, at)?;
        if runs.iter().any(|known| known.track == run.track) {
            return None;
        }
        runs.push(run);
    }
    (!runs.is_empty()).then_some(runs)
}

fn run_of(traf: &[u8], moof_at: u64) -> Option<Run> {
    // With its header, which is of 8 bytes in all of ours.
    let whole = |kind| boxes::find(traf, kind).and_then(|body| traf.get(body.start.checked_sub(8)?..body.end));
    let (tfhd, _) = TfhdBox::decode(whole(*b"tfhd")?).ok()?;
    let (tfdt, _) = TfdtBox::decode(whole(*b"tfdt")?).ok()?;
    let trun = whole(*b"trun")?;
    // A run whose samples have no size of their own could claim any number of them.
    let flags = u32::from_be_bytes(*trun.get(8..)?.first_chunk()?);
    if flags & TrunBox::FLAG_SAMPLE_SIZE_PRESENT == 0 {
        return None;
    }
    let (trun, _) = TrunBox::decode(trun).ok()?;
    let samples = trun.samples.iter().map(|sample| {
        Some(Sample {
            duration: sample.duration.or(tfhd.default_sample_duration)?,
            bytes: sample.size?,
            is_sync: sample.flags.map_or(SYNC, |flags| flags.get()) == SYNC,
        })
    });
    Some(Run {
        track: Track::of(tfhd.track_id)?,
        at: tfdt.base_media_decode_time,
        data_at: moof_at.checked_add(u64::try_from(trun.data_offset?).ok()?)?,
        samples: samples.collect::<Option<_>>()?,
    })
}
