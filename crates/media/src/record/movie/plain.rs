//! Makes a plain MP4 file of a finished movie: `moov` with all sample tables in front, then one `mdat` (fast start). Runs on
//! the thread that forces files to the disk and blocks on it. The samples are copied by the kernel; in memory there are the
//! tables: for each hour 0.9 MB of sound, and at 15 pictures a second 0.3 to 0.7 MB of pictures, at 30 twice that (the more
//! the less evenly they come). While they are made into bytes, up to three times as much for a moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use shiguredo_mp4::boxes::{
    Co64Box, ElstEntry, SampleEntry, StblBox, StscBox, StscEntry, StsdBox, StssBox, StszBox, SttsBox, SttsEntry,
    TrakBox,
};
use shiguredo_mp4::{Either, Encode};

use super::head::{self, Spans, Track, edit};
use super::scan::{Kind, Run, Scan};
use super::{in_movie, in_time};

/// Box header of `mdat` with a 64-bit size.
const MDAT_HEADER_BYTES: u64 = 16;

/// Where the plain file is made, beside the other.
pub(in crate::record) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".plain");
    path.with_file_name(name)
}

/// Writes the plain file of `movie`, which is complete and at `path`, beside it and forces it to the disk. The caller puts
/// it in place.
pub(in crate::record) fn make_plain(movie: &File, path: &Path) -> io::Result<(PathBuf, u64)> {
    let beside = temporary(path);
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&beside)
        .and_then(|plain| write(movie, &plain));
    match made {
        Ok(bytes) => Ok((beside, bytes)),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

fn write(mut movie: &File, mut plain: &File) -> io::Result<u64> {
    let bad = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut scan = Scan::new(movie)?;
    let Kind::Fragmented(head) = scan.head()?.map_err(bad)? else { return Err(bad("is plain already")) };
    let mut tables = [Tables::new(Track::Pictures), Tables::new(Track::Sound)];
    let mut payloads: Vec<(u64, u64)> = Vec::new();
    let mut payload_bytes = 0;
    while let Some(fragment) = scan.next()? {
        for run in &fragment.runs {
            if let Some(tables) = tables.iter_mut().find(|tables| tables.track == run.track) {
                tables.add(run, payload_bytes + run.data_at - fragment.payload_at);
            }
        }
        payloads.push((fragment.payload_at, fragment.end - fragment.payload_at));
        payload_bytes += fragment.end - fragment.payload_at;
    }

    let entry_of = |track| {
        let traks = &head.moov.trak_boxes;
        let trak = traks.iter().find(|trak| Track::of(trak.tkhd_box.track_id) == Some(track))?;
        trak.mdia_box.minf_box.stbl_box.stsd_box.entries.first().cloned()
    };
    let file_type = head::file_type();
    let duration = in_movie(scan.duration());
    let filled = tables.into_iter().filter(|tables| !tables.sizes.is_empty());
    let traks = filled.filter_map(|tables| entry_of(tables.track).map(|entry| tables.into_trak(entry)));
    let mut moov = head::moov(traks.collect(), None, duration);
    // Its length does not depend on the offsets, which depend on it.
    let length = encode(&moov)?.len();
    let data_at = file_type.len() as u64 + length as u64 + MDAT_HEADER_BYTES;
    for trak in &mut moov.trak_boxes {
        if let Either::B(offsets) = &mut trak.mdia_box.minf_box.stbl_box.stco_or_co64_box {
            offsets.chunk_offsets.iter_mut().for_each(|offset| *offset += data_at);
        }
    }
    plain.write_all(&file_type)?;
    plain.write_all(&encode(&moov)?)?;
    drop(moov);
    plain.write_all(&1u32.to_be_bytes())?;
    plain.write_all(b"mdat")?;
    plain.write_all(&(MDAT_HEADER_BYTES + payload_bytes).to_be_bytes())?;
    for (at, bytes) in payloads {
        movie.seek(SeekFrom::Start(at))?;
        if io::copy(&mut movie.take(bytes), &mut plain)? != bytes {
            return Err(bad("became shorter"));
        }
    }
    plain.sync_all()?;
    Ok(data_at + payload_bytes)
}

fn encode(moov: &impl Encode) -> io::Result<Vec<u8>> {
    moov.encode_to_vec().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// The sample tables of one track in the making.
#[derive(Debug)]
struct Tables {
    track: Track,
    /// Where on the timeline the first sample begins, and where the next would.
    begin: Option<u64>,
    end: u64,
    durations: Vec<SttsEntry>,
    sizes: Vec<u32>,
    syncs: Vec<NonZeroU32>,
    /// One chunk for each fragment, from the first byte of all samples on.
    chunks: Vec<u64>,
    chunk_samples: Vec<StscEntry>,
}

impl Tables {
    const fn new(track: Track) -> Self {
        Self {
            track,
            begin: None,
            end: 0,
            durations: Vec::new(),
            sizes: Vec::new(),
            syncs: Vec::new(),
            chunks: Vec::new(),
            chunk_samples: Vec::new(),
        }
    }

    fn add(&mut self, run: &Run, data_at: u64) {
        self.begin.get_or_insert_with(|| {
            self.end = run.at;
            run.at
        });
        self.stretch_last(run.at.saturating_sub(self.end));
        for sample in &run.samples {
            match self.durations.last_mut().filter(|last| last.sample_delta == sample.duration) {
                Some(last) => last.sample_count += 1,
                None => self.durations.push(SttsEntry { sample_count: 1, sample_delta: sample.duration }),
            }
            self.sizes.push(sample.bytes);
            if sample.is_sync && self.track == Track::Pictures {
                self.syncs.extend(u32::try_from(self.sizes.len()).ok().and_then(NonZeroU32::new));
            }
        }
        self.end = run.end();
        self.chunks.push(data_at);
        let sample_per_chunk = run.samples.len() as u32;
        if self.chunk_samples.last().is_none_or(|last| last.sample_per_chunk != sample_per_chunk) {
            let first_chunk =
                u32::try_from(self.chunks.len()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
            let sample_description_index = NonZeroU32::MIN;
            self.chunk_samples.push(StscEntry { first_chunk, sample_per_chunk, sample_description_index });
        }
    }

    /// What plain tables cannot say: that nothing is there for a while. The last sample takes it.
    fn stretch_last(&mut self, gap: u64) {
        let (Ok(gap @ 1..), Some(last)) = (u32::try_from(gap), self.durations.last_mut()) else { return };
        let sample_delta = last.sample_delta.saturating_add(gap);
        last.sample_count -= 1;
        if last.sample_count == 0 {
            self.durations.pop();
        }
        self.durations.push(SttsEntry { sample_count: 1, sample_delta });
    }

    fn into_trak(self, entry: SampleEntry) -> TrakBox {
        let hz = self.track.hz();
        let begin = self.begin.unwrap_or(0);
        let media = self.end - begin;
        let lead = self.track.lead();
        let shown = in_movie(in_time(media.saturating_sub(lead), hz));
        let delay = in_movie(in_time(begin, hz));
        let mut edits: Vec<ElstEntry> = Vec::with_capacity(2);
        if delay > 0 {
            edits.push(edit(delay, -1));
        }
        edits.push(edit(shown, lead as i64));
        let stbl = StblBox {
            stsd_box: StsdBox { entries: vec![entry] },
            stts_box: SttsBox { entries: self.durations },
            ctts_box: None,
            cslg_box: None,
            stsc_box: StscBox { entries: self.chunk_samples },
            stsz_box: StszBox::Variable { entry_sizes: self.sizes },
            stco_or_co64_box: Either::B(Co64Box { chunk_offsets: self.chunks }),
            stss_box: (self.track == Track::Pictures).then_some(StssBox { sample_numbers: self.syncs }),
            sdtp_box: None,
            unknown_boxes: Vec::new(),
        };
        head::trak(self.track, stbl, Some(edits), Spans { presented: delay + shown, media })
    }
}
