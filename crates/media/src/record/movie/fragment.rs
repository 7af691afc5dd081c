//! One fragment of a movie: `moof` and `mdat` (ISO/IEC 14496-12 §8.8), pictures first, then sound; and `mfra`, the index
//! of keyframes at the end. Bytes only.

use shiguredo_mp4::SampleFlags;
use shiguredo_mp4::boxes::{
    MfhdBox, MfraBox, MfroBox, MoofBox, TfdtBox, TfhdBox, TfraBox, TfraEntry, TrafBox, TrunBox, TrunSample,
};

use super::head::encode;
use super::{NOT_SYNC, PACKET_UNITS, PICTURE_TRACK, SOUND_TRACK, SYNC};

/// One picture of a fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// In 1/90,000 s.
    pub(super) duration: u32,
    pub(super) bytes: u32,
    pub(super) is_keyframe: bool,
}

/// What goes into a fragment.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) sequence: u32,
    /// When the first picture is shown, in 1/90,000 s from the beginning.
    pub(super) pictures_at: u64,
    pub(super) pictures: &'a [Shown],
    pub(super) picture_bytes: &'a [u8],
    /// When the first packet begins, in 1/48,000 s from the beginning, the decoder's look-ahead counted in.
    pub(super) sound_at: u64,
    /// Bytes of each packet.
    pub(super) packets: &'a [u16],
    pub(super) sound_bytes: &'a [u8],
    /// Of the last packet, where it is cut: the last of the file.
    pub(super) last_packet_units: Option<u32>,
}

/// Where in a fragment the duration of its last picture stands, if it has one.
pub(super) type DurationAt = Option<usize>;

/// Appends the fragment.
pub(super) fn append(to: &mut Vec<u8>, contents: &Contents<'_>) -> DurationAt {
    let mut trafs = Vec::with_capacity(2);
    if !contents.pictures.is_empty() {
        let samples = contents.pictures.iter().map(|shown| TrunSample {
            duration: Some(shown.duration),
            size: Some(shown.bytes),
            flags: Some(SampleFlags::new(if shown.is_keyframe { SYNC } else { NOT_SYNC })),
            composition_time_offset: None,
        });
        trafs.push(traf(PICTURE_TRACK, contents.pictures_at, None, samples.collect()));
    }
    if let Some((last, earlier)) = contents.packets.split_last() {
        let sample = |&bytes: &u16, units: Option<u32>| TrunSample {
            // Each of its own only where the last differs.
            duration: contents.last_packet_units.and(units),
            size: Some(u32::from(bytes)),
            flags: None,
            composition_time_offset: None,
        };
        let mut samples: Vec<_> = earlier.iter().map(|bytes| sample(bytes, Some(PACKET_UNITS))).collect();
        samples.push(sample(last, contents.last_packet_units));
        trafs.push(traf(SOUND_TRACK, contents.sound_at, Some(PACKET_UNITS), samples));
    }
    let picture_bytes = contents.picture_bytes.len();
    let mut moof = MoofBox {
        mfhd_box: MfhdBox { sequence_number: contents.sequence },
        traf_boxes: trafs,
        unknown_boxes: Vec::new(),
    };
    // The length does not depend on the offsets, which depend on it.
    let moof_bytes = encode(&moof).len();
    for traf in &mut moof.traf_boxes {
        let before = if traf.tfhd_box.track_id == PICTURE_TRACK { 0 } else { picture_bytes };
        for trun in &mut traf.trun_boxes {
            trun.data_offset = i32::try_from(moof_bytes + MDAT_HEADER_BYTES + before).ok();
        }
    }
    to.extend_from_slice(&encode(&moof));
    let mdat_bytes = MDAT_HEADER_BYTES + picture_bytes + contents.sound_bytes.len();
    to.extend_from_slice(&u32::try_from(mdat_bytes).expect("BUG: a fragment is a few megabytes").to_be_bytes());
    to.extend_from_slice(b"mdat");
    to.extend_from_slice(contents.picture_bytes);
    to.extend_from_slice(contents.sound_bytes);
    // The pictures' run is at the end of the first traf, and each sample takes its duration, size and flags.
    let pictures = moof.traf_boxes.first().filter(|traf| traf.tfhd_box.track_id == PICTURE_TRACK)?;
    Some(MOOF_HEADERS_BYTES + encode(pictures).len() - SAMPLE_BYTES)
}

const MDAT_HEADER_BYTES: usize = 8;
/// `moof` up to its first traf: its header, and `mfhd`.
const MOOF_HEADERS_BYTES: usize = 8 + 16;
const SAMPLE_BYTES: usize = 12;

fn traf(track_id: u32, at: u64, default_sample_duration: Option<u32>, samples: Vec<TrunSample>) -> TrafBox {
    TrafBox {
        tfhd_box: TfhdBox {
            track_id,
            base_data_offset: None,
            sample_description_index: None,
            default_sample_duration,
            default_sample_size: None,
            default_sample_flags: None,
            duration_is_empty: false,
            default_base_is_moof: true,
        },
        tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time: at }),
        trun_boxes: vec![TrunBox { data_offset: Some(0), first_sample_flags: None, samples }],
        unknown_boxes: Vec::new(),
    }
}

/// Keyframes that the index names: a week of one in ten seconds. Behind the last, players search on their own.
const MAX_ENTRIES: usize = 1 << 16;

const _: () = assert!(MAX_ENTRIES * size_of::<Entry>() <= 1_600_000, "an index stays below 1.6 MB");

/// Where the keyframes are.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    time: u64,
    moof_at: u64,
    /// Counted from 1.
    sample: u32,
}

impl Index {
    /// The pictures of a fragment that begins at `moof_at` in the file.
    pub(super) fn add(&mut self, moof_at: u64, mut time: u64, pictures: &[Shown]) {
        for (sample, shown) in (1..).zip(pictures) {
            if shown.is_keyframe && self.entries.len() < MAX_ENTRIES {
                self.entries.push(Entry { time, moof_at, sample });
            }
            time = time.saturating_add(u64::from(shown.duration));
        }
    }

    /// `mfra`; empty if there is no keyframe.
    pub(super) fn mfra(&self) -> Vec<u8> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        let entries = self.entries.iter().map(|entry| TfraEntry {
            time: entry.time,
            moof_offset: entry.moof_at,
            traf_number: 1,
            trun_number: 1,
            sample_number: entry.sample,
        });
        let tfra = TfraBox {
            version: 1,
            track_id: PICTURE_TRACK,
            length_size_of_traf_num: 0,
            length_size_of_trun_num: 0,
            length_size_of_sample_num: 1,
            entries: entries.collect(),
        };
        let mut mfra = MfraBox { tfra_boxes: vec![tfra], mfro_box: MfroBox { size: 0 } };
        mfra.mfro_box.size = u32::try_from(encode(&mfra).len()).expect("BUG: the index is bounded");
        encode(&mfra)
    }
}
