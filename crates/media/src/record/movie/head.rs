//! What stands at the front of a movie: `ftyp`, and `moov` with its two tracks (ISO/IEC 14496-12, avcC of 14496-15, dOps of
//! "Encapsulation of Opus in ISO BMFF"). Bytes only. The same tracks serve the file that is being written, whose sample
//! tables are empty, and the plain one.

use std::num::NonZeroU32;

use shiguredo_mp4::bitstream::h264::{H264SampleEntryConfig, build_avc1_box};
use shiguredo_mp4::bitstream::opus::{ChannelCount, OpusSampleEntryConfig, build_opus_box};
use shiguredo_mp4::boxes::{
    Avc1Box, Brand, DinfBox, EdtsBox, ElstBox, ElstEntry, FtypBox, HdlrBox, MdhdBox, MdiaBox, MediaHeader, MehdBox,
    MinfBox, MoovBox, MvexBox, MvhdBox, SampleEntry, SmhdBox, StblBox, StcoBox, StscBox, StsdBox, StszBox, SttsBox,
    TkhdBox, TrakBox, TrexBox, VmhdBox,
};
use shiguredo_mp4::{Either, Encode, FixedPointNumber, LanguageCode, Mp4FileTime, SampleFlags};

use super::{MOVIE_HZ, PICTURE_TRACK, SOUND_HZ, SOUND_TRACK, SYNC, boxes};
use crate::record::ogg::PRE_SKIP;
use crate::record::pictures::{NAL_PPS, NAL_SPS, nal_type};
use crate::video::VIDEO_CLOCK_HZ;
use crate::video::access_unit::AccessUnit;

/// Where in a `moov` the duration in its `mvhd` is, if that is of version 0, as ours.
pub(super) const MVHD_DURATION_AT: usize = 8 + 8 + 4 + 3 * 4;

/// The file's type. Stands alone until the first picture, or the lack of one, says what the tracks are.
pub(super) fn file_type() -> Vec<u8> {
    let compatible_brands = vec![Brand::ISOM, Brand::ISO5, Brand::ISO6, Brand::MP41, Brand::AVC1];
    encode(&FtypBox { major_brand: Brand::ISO5, minor_version: 0, compatible_brands })
}

/// How the pictures of a keyframe are encoded; `None` if its parameter sets are missing or make no sense.
pub(super) fn picture_entry(unit: &AccessUnit) -> Option<Avc1Box> {
    let all = |wanted| unit.nal_units().filter(|nal| nal_type(nal) == wanted).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let config = H264SampleEntryConfig { length_size: shiguredo_mp4::bitstream::h264::LengthSize::FourBytes };
    build_avc1_box(&all(NAL_SPS), &all(NAL_PPS), &config).ok()
}

/// `moov` of a file that goes on in fragments.
pub(super) fn fragmented(pictures: Option<&Avc1Box>) -> Vec<u8> {
    let no_samples = |entry| StblBox {
        stsd_box: StsdBox { entries: vec![entry] },
        stts_box: SttsBox { entries: Vec::new() },
        ctts_box: None,
        cslg_box: None,
        stsc_box: StscBox { entries: Vec::new() },
        stsz_box: StszBox::Variable { entry_sizes: Vec::new() },
        stco_or_co64_box: Either::A(StcoBox { chunk_offsets: Vec::new() }),
        stss_box: None,
        sdtp_box: None,
        unknown_boxes: Vec::new(),
    };
    let mut traks = Vec::new();
    if let Some(entry) = pictures {
        traks.push(trak(Track::Pictures, no_samples(SampleEntry::Avc1(entry.clone())), None, Spans::default()));
    }
    let sound = SampleEntry::Opus(build_opus_box(&OpusSampleEntryConfig {
        channel_count: ChannelCount::Mono,
        pre_skip: PRE_SKIP,
        input_sample_rate: SOUND_HZ,
        output_gain: 0,
    }));
    // What the decoder's look-ahead puts in front of the sound is not shown. Its duration is that of all fragments.
    let edits = vec![edit(0, i64::from(PRE_SKIP))];
    traks.push(trak(Track::Sound, no_samples(sound), Some(edits), Spans::default()));
    let trex_boxes = traks
        .iter()
        .map(|trak| TrexBox {
            track_id: trak.tkhd_box.track_id,
            default_sample_description_index: 1,
            default_sample_duration: 0,
            default_sample_size: 0,
            default_sample_flags: SampleFlags::new(SYNC),
        })
        .collect();
    let mvex = MvexBox { mehd_box: Some(MehdBox { fragment_duration: 0 }), trex_boxes, unknown_boxes: Vec::new() };
    encode(&moov(traks, Some(mvex), 0))
}

/// All of a movie; `duration` in [`MOVIE_HZ`].
pub(super) fn moov(trak_boxes: Vec<TrakBox>, mvex_box: Option<MvexBox>, duration: u64) -> MoovBox {
    let mvhd_box = MvhdBox {
        creation_time: UNKNOWN_TIME,
        modification_time: UNKNOWN_TIME,
        timescale: hz(MOVIE_HZ),
        duration,
        rate: MvhdBox::DEFAULT_RATE,
        volume: MvhdBox::DEFAULT_VOLUME,
        matrix: MvhdBox::DEFAULT_MATRIX,
        next_track_id: SOUND_TRACK + 1,
    };
    MoovBox { mvhd_box, trak_boxes, mvex_box, unknown_boxes: Vec::new() }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    Pictures,
    Sound,
}

impl Track {
    /// By its number in the file.
    pub(super) const fn of(id: u32) -> Option<Self> {
        match id {
            PICTURE_TRACK => Some(Self::Pictures),
            SOUND_TRACK => Some(Self::Sound),
            _ => None,
        }
    }
    const fn id(self) -> u32 {
        match self {
            Self::Pictures => PICTURE_TRACK,
            Self::Sound => SOUND_TRACK,
        }
    }
    /// Units of time in a second.
    pub(super) const fn hz(self) -> u32 {
        match self {
            Self::Pictures => VIDEO_CLOCK_HZ,
            Self::Sound => SOUND_HZ,
        }
    }
    /// Units at the track's begin that are decoded and not presented.
    pub(super) const fn lead(self) -> u64 {
        match self {
            Self::Pictures => 0,
            Self::Sound => PRE_SKIP as u64,
        }
    }
}

/// How long a track is, where that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    /// With its edits, in [`MOVIE_HZ`].
    pub(super) presented: u64,
    /// Its samples, in its own units.
    pub(super) media: u64,
}

/// One track with its samples.
pub(super) fn trak(track: Track, stbl_box: StblBox, edits: Option<Vec<ElstEntry>>, spans: Spans) -> TrakBox {
    let size = stbl_box.stsd_box.entries.first().and_then(SampleEntry::video_resolution).unwrap_or((0, 0));
    // A picture's side fits: the largest is 1,920.
    let side = |side: u16| FixedPointNumber::new(i16::try_from(side).unwrap_or(i16::MAX), 0);
    let (volume, handler_type, name, header) = match track {
        Track::Pictures => (
            TkhdBox::DEFAULT_VIDEO_VOLUME,
            HdlrBox::HANDLER_TYPE_VIDE,
            b"room picture\0",
            MediaHeader::Vmhd(VmhdBox::default()),
        ),
        Track::Sound => (
            TkhdBox::DEFAULT_AUDIO_VOLUME,
            HdlrBox::HANDLER_TYPE_SOUN,
            b"room in full\0",
            MediaHeader::Smhd(SmhdBox::default()),
        ),
    };
    TrakBox {
        tkhd_box: TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: UNKNOWN_TIME,
            modification_time: UNKNOWN_TIME,
            track_id: track.id(),
            duration: spans.presented,
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume,
            matrix: TkhdBox::DEFAULT_MATRIX,
            width: side(size.0),
            height: side(size.1),
        },
        edts_box: edits.map(|entries| EdtsBox { elst_box: Some(ElstBox { entries }), unknown_boxes: Vec::new() }),
        mdia_box: MdiaBox {
            mdhd_box: MdhdBox {
                creation_time: UNKNOWN_TIME,
                modification_time: UNKNOWN_TIME,
                timescale: hz(track.hz()),
                duration: spans.media,
                language: LanguageCode::UNDEFINED,
            },
            hdlr_box: HdlrBox { handler_type, name: name.to_vec() },
            minf_box: MinfBox {
                media_header: Some(header),
                dinf_box: DinfBox::LOCAL_FILE,
                stbl_box,
                unknown_boxes: Vec::new(),
            },
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    }
}

/// An edit of `duration` in [`MOVIE_HZ`] from `media_time` on, in the track's units; −1 shows nothing.
pub(super) const fn edit(duration: u64, media_time: i64) -> ElstEntry {
    ElstEntry { edit_duration: duration, media_time, media_rate: FixedPointNumber::new(1, 0) }
}

/// Where in a `moov` of a fragmented file the whole duration stands: in `mvhd` and in `mehd`, both in 4 bytes.
pub(super) fn durations_at(moov: &[u8]) -> Option<[usize; 2]> {
    let body = moov.get(8..)?;
    let mvhd = boxes::find(body, *b"mvhd")?;
    let mvex = boxes::find(body, *b"mvex")?;
    let mehd = boxes::find(body.get(mvex.clone())?, *b"mehd")?;
    let is_version_0 = |at: usize| body.get(at) == Some(&0);
    let [of_movie, of_fragments] = [8 + mvhd.start + 4 + 3 * 4, 8 + mvex.start + mehd.start + 4];
    let is_ours = of_movie == MVHD_DURATION_AT && is_version_0(mvhd.start) && is_version_0(mvex.start + mehd.start);
    (is_ours && of_fragments + 4 <= moov.len()).then_some([of_movie, of_fragments])
}

/// A box of ours as bytes.
pub(super) fn encode(of_ours: &impl Encode) -> Vec<u8> {
    of_ours.encode_to_vec().expect("BUG: boxes of ours are well-formed")
}

/// Media reads no clock; the recording's row knows when it was.
const UNKNOWN_TIME: Mp4FileTime = Mp4FileTime::from_secs(0);

fn hz(hz: u32) -> NonZeroU32 {
    NonZeroU32::new(hz).unwrap_or(NonZeroU32::MIN)
}
