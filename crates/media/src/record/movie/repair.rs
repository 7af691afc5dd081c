//! Repair of a movie that a crash, a full disk or a power cut left behind. Runs on the caller's thread and blocks on the
//! disk; in memory it holds one fragment's `moof` and the index of keyframes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::fragment::{Index, Shown};
use super::head::{Track, durations_at};
use super::in_movie;
use super::scan::{Fragment, Head, Kind, Scan};

/// Cuts the torn tail, writes the index and the durations, and says how long the file plays and how many bytes it has. A
/// sound file is left as it is.
pub(in crate::record) fn recover(file: &File) -> io::Result<Result<(Duration, u64), &'static str>> {
    let mut scan = Scan::new(file)?;
    let head = match scan.head()? {
        Ok(Kind::Fragmented(head)) => head,
        Ok(Kind::Plain(duration)) => return Ok(Ok((duration, file.metadata()?.len()))),
        Err(reason) => return Ok(Err(reason)),
    };
    let mut index = Index::default();
    let mut is_any = false;
    while let Some(fragment) = scan.next()? {
        is_any = true;
        index_fragment(&mut index, &fragment);
    }
    if !is_any {
        return Ok(Err("holds no sound and no picture"));
    }
    let end = scan.at;
    let length = file.metadata()?.len();
    let mfra = index.mfra();
    let is_indexed = length == end + mfra.len() as u64 && scan.read(end, mfra.len() as u64)? == mfra;
    if !is_indexed {
        file.set_len(end)?;
        file.write_all_at(&mfra, end)?;
    }
    let duration = scan.duration();
    mark(file, &head, duration)?;
    Ok(Ok((duration, end + mfra.len() as u64)))
}

/// Says in the head of a file that ends properly, at `end`, how long it plays. In a file without a head it does nothing.
pub(in crate::record) fn mark_durations(file: &File, duration: Duration) -> io::Result<()> {
    match Scan::new(file)?.head()? {
        Ok(Kind::Fragmented(head)) => mark(file, &head, duration),
        _ => Ok(()),
    }
}

fn mark(file: &File, head: &Head, duration: Duration) -> io::Result<()> {
    // 49 days fit.
    let wanted = u32::try_from(in_movie(duration)).unwrap_or(u32::MAX).to_be_bytes();
    for at in durations_at(&head.moov_bytes).into_iter().flatten() {
        if head.moov_bytes.get(at..at + wanted.len()) != Some(&wanted) {
            file.write_all_at(&wanted, head.moov_at + at as u64)?;
        }
    }
    Ok(())
}

fn index_fragment(index: &mut Index, fragment: &Fragment) {
    for run in fragment.runs.iter().filter(|run| run.track == Track::Pictures) {
        let shown = run.samples.iter().map(|sample| Shown {
            duration: sample.duration,
            bytes: sample.bytes,
            is_keyframe: sample.is_sync,
        });
        index.add(fragment.at, run.at, &shown.collect::<Vec<_>>());
    }
}
