//! A movie in the making: the sound and pictures in hand, and the bytes that come next in the file (fragmented MP4, H.264
//! and Opus). Bytes only: no file, no thread, no rooms. `head` is the front of the file, `fragment` what follows each
//! second, `scan` reads both back, `repair` mends what a crash left, `plain` makes a plain file of a finished one.
//!
//! One timeline for both: it begins with the first tick of sound or the first keyframe, whichever is earlier, and each
//! track says in every fragment where on it the fragment lies (`tfdt`). What is missing is silence, or a picture that stands.

mod boxes;
mod fragment;
mod head;
mod plain;
mod repair;
mod scan;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use shiguredo_mp4::boxes::{Avc1Box, AvccBox};

use super::ogg::{PACKET_SAMPLES, PRE_SKIP};
use super::pictures::{NAL_DELIMITER, NAL_PPS, NAL_SPS, PictureSource, Pushed, nal_type};
use crate::audio::codec::opus::SILENCE;
use crate::video::VIDEO_CLOCK_HZ;
use crate::video::access_unit::MAX_ACCESS_UNIT_BYTES;
use fragment::{Contents, Index, Shown};

pub(super) use plain::{make_plain, temporary};
pub(super) use repair::{mark_durations, recover};

const PICTURE_TRACK: u32 = 1;
const SOUND_TRACK: u32 = 2;
/// Units of time of the sound in a second, and in a packet.
const SOUND_HZ: u32 = 48_000;
const PACKET_UNITS: u32 = PACKET_SAMPLES as u32;
/// Units of time of the movie as a whole.
const MOVIE_HZ: u32 = 1000;

/// Sample flags (ISO/IEC 14496-12 §8.8.3.1): depends on no other; depends on others and is no sync sample.
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;

/// Packets of a full fragment: one second.
const FULL_PACKETS: usize = 50;
/// Sound that waits for the first picture; then the file begins without pictures.
const PATIENCE_PACKETS: usize = 500;
/// A fragment is full, however short, with this much in it.
const FULL_PICTURES: usize = 256;
const FULL_BYTES: usize = 2 * 1024 * 1024;

// In hand, and again as the bytes that are written.
const _: () = assert!(
    2 * (FULL_BYTES + MAX_ACCESS_UNIT_BYTES + PATIENCE_PACKETS * 400) <= 6_000_000,
    "a movie holds at most 6 MB beside its queue"
);

/// How long a picture stands that nothing follows, if nothing tells: 1/30 s.
const LAST_PICTURE_UNITS: u64 = 3000;

/// Builds a movie, chunk by chunk.
#[derive(Debug)]
pub(super) struct Movie {
    source: PictureSource,
    /// Read from the queue before its time.
    ahead: Option<Pushed>,
    pictures_ended: bool,
    has_head: bool,
    /// Where the timeline begins; settled with the head.
    origin: Option<Instant>,
    /// Of the first keyframe: when it was composed, and how all are encoded.
    first: Option<(Instant, Avc1Box)>,
    sound: Sound,
    pictures: Pictures,
    sequence: u32,
    index: Index,
    chunk: Vec<u8>,
    /// Where both tracks end with what was made into bytes, and with what of it is in the file.
    ends: Ends,
    written: Ends,
}

#[derive(Debug, Default)]
struct Sound {
    has_begun: bool,
    /// When the first packet began, if the room told.
    at: Option<Instant>,
    /// Where on the timeline the first packet in hand begins, in 1/48,000 s.
    next_units: u64,
    /// Packets from before the beginning, which are not kept.
    to_skip: u64,
    packets: Vec<u16>,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Pictures {
    in_hand: Vec<InHand>,
    bytes: Vec<u8>,
    /// The last one in hand waited a whole fragment for the next.
    has_waited: bool,
    /// The last one in the file, if it was written before the next was known.
    standing: Option<Standing>,
    grown: Option<(u64, [u8; 4])>,
}

#[derive(Clone, Copy, Debug)]
struct InHand {
    at: Instant,
    /// On the timeline, once that has begun.
    time: u64,
    bytes: u32,
    is_keyframe: bool,
}

/// A picture in the file whose duration may have to grow.
#[derive(Clone, Copy, Debug)]
struct Standing {
    time: u64,
    duration: u32,
    /// Where in the file its duration is.
    at: u64,
}

/// In the units of each track, the sound's as it is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    pictures: u64,
    sound: u64,
}

impl Ends {
    fn duration(self) -> Duration {
        in_time(self.pictures, VIDEO_CLOCK_HZ).max(in_time(self.sound, SOUND_HZ))
    }
}

impl Movie {
    /// With nothing in it.
    pub(super) fn new(source: PictureSource) -> Self {
        Self {
            source,
            ahead: None,
            pictures_ended: false,
            has_head: false,
            origin: None,
            first: None,
            sound: Sound::default(),
            pictures: Pictures::default(),
            sequence: 0,
            index: Index::default(),
            chunk: Vec::new(),
            ends: Ends::default(),
            written: Ends::default(),
        }
    }

    /// What stands in the file before anything came.
    pub(super) fn opening() -> Vec<u8> {
        head::file_type()
    }

    /// The first packet follows; it began at `at`.
    pub(super) fn begin_sound(&mut self, at: Option<Instant>) {
        self.sound.has_begun = true;
        self.sound.at = at;
        if let Some(origin) = self.origin {
            self.place_sound(origin);
        }
    }

    /// A packet of 20 ms.
    pub(super) fn push(&mut self, packet: &[u8]) {
        if self.sound.to_skip > 0 {
            self.sound.to_skip -= 1;
            return;
        }
        // The tap takes no packet above 400 bytes.
        let Ok(bytes) = u16::try_from(packet.len()) else { return };
        self.sound.packets.push(bytes);
        self.sound.bytes.extend_from_slice(packet);
    }

    /// Takes the next picture over from the composer, if it has one from before `until`.
    pub(super) fn take_picture(&mut self, until: Option<Instant>) -> bool {
        let pushed = match self.ahead.take().map_or_else(|| self.source.next(), Ok) {
            Ok(pushed) => pushed,
            Err(error) => {
                self.pictures_ended |= error.is_disconnected();
                return false;
            }
        };
        if until.is_some_and(|until| pushed.at >= until) {
            self.ahead = Some(pushed);
            return false;
        }
        self.add(&pushed);
        true
    }

    /// The composer has ended the pictures, and all are taken.
    pub(super) const fn pictures_ended(&self) -> bool {
        self.pictures_ended
    }

    /// Pictures that were dropped.
    pub(super) fn lost(&self) -> u64 {
        self.source.lost()
    }

    fn add(&mut self, pushed: &Pushed) {
        if self.first.is_none() {
            // A file that began without pictures has no track for them.
            let entry = head::picture_entry(&pushed.unit).filter(|_| !self.has_head);
            let Some(entry) = entry else { return };
            self.first = Some((pushed.at, entry));
        }
        let told = self.first.as_ref().map(|(_, entry)| &entry.avcc_box);
        let before = self.pictures.bytes.len();
        for nal in pushed.unit.nal_units().filter(|nal| !is_told(told, nal)) {
            // An access unit is far below 4 GB.
            self.pictures.bytes.extend_from_slice(&(nal.len() as u32).to_be_bytes());
            self.pictures.bytes.extend_from_slice(nal);
        }
        let bytes = (self.pictures.bytes.len() - before) as u32;
        let is_keyframe = pushed.unit.is_keyframe;
        self.pictures.in_hand.push(InHand { at: pushed.at, time: 0, bytes, is_keyframe });
        self.pictures.has_waited = false;
    }

    /// It is time for a chunk.
    pub(super) fn is_full(&self) -> bool {
        let packets = if self.may_begin() { FULL_PACKETS } else { PATIENCE_PACKETS };
        let shown = match self.pictures.in_hand.as_slice() {
            [first, .., last] => last.at.saturating_duration_since(first.at),
            _ => Duration::ZERO,
        };
        self.sound.packets.len() >= packets
            || shown >= Duration::from_secs(1)
            || self.pictures.in_hand.len() >= FULL_PICTURES
            || self.pictures.bytes.len() >= FULL_BYTES
    }

    /// There is nothing to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.sound.packets.is_empty() && self.pictures.in_hand.is_empty() || !self.may_begin() && !self.is_full()
    }

    /// The head is written or can be.
    const fn may_begin(&self) -> bool {
        self.has_head || self.first.is_some()
    }

    /// Makes the bytes that come next, at `at` in the file (see [`Movie::chunk`]). The last picture is held back until the next
    /// one tells how long it stands; if that takes a second, it is taken along, and its duration grows later
    /// ([`Movie::growth`]). The last chunk of a file holds one more packet of silence, cut to the encoder's look-ahead: with
    /// it the sound plays as long as it ran.
    pub(super) fn make_chunk(&mut self, at: u64, is_last: bool) {
        self.chunk.clear();
        let origin = self.begin_file();
        self.place_pictures(origin);
        let packets = self.sound.packets.len() as u64;
        let sound_ends = self.sound.next_units + packets * PACKET_SAMPLES;
        let last_packet_units = (is_last && sound_ends > 0).then(|| {
            self.sound.packets.push(SILENCE.len() as u16);
            self.sound.bytes.extend_from_slice(&SILENCE);
            u32::from(PRE_SKIP)
        });
        let (shown, pictures_at) = self.cut_pictures(sound_ends, is_last);
        let picture_bytes = shown.iter().map(|shown| shown.bytes as usize).sum::<usize>();

        if !shown.is_empty() || !self.sound.packets.is_empty() {
            self.sequence = self.sequence.wrapping_add(1);
            let moof_at = at + self.chunk.len() as u64;
            let contents = Contents {
                sequence: self.sequence,
                pictures_at,
                pictures: &shown,
                picture_bytes: self.pictures.bytes.get(..picture_bytes).unwrap_or(&[]),
                sound_at: self.sound.next_units,
                packets: &self.sound.packets,
                sound_bytes: &self.sound.bytes,
                last_packet_units,
            };
            let duration_at = fragment::append(&mut self.chunk, &contents);
            self.index.add(moof_at, pictures_at, &shown);
            self.stand(&shown, pictures_at, duration_at.map(|within| moof_at + within as u64));
        }
        self.pictures.bytes.drain(..picture_bytes);
        self.pictures.in_hand.drain(..shown.len());
        self.sound.packets.clear();
        self.sound.bytes.clear();
        self.sound.next_units = sound_ends;
        let presented = sound_ends.saturating_sub(if is_last { 0 } else { u64::from(PRE_SKIP) });
        self.ends.sound = self.ends.sound.max(presented);
        if let Some(standing) = self.pictures.standing {
            self.ends.pictures = self.ends.pictures.max(standing.time + u64::from(standing.duration));
        }
        if is_last {
            self.chunk.extend_from_slice(&self.index.mfra());
        }
    }

    /// The bytes that were made.
    pub(super) fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// The last chunk is in the file.
    pub(super) const fn wrote(&mut self) {
        self.written = self.ends;
    }

    /// How long the movie in the file plays.
    pub(super) fn duration(&self) -> Duration {
        self.written.duration()
    }

    /// What has to be written over the duration of the last picture, and where, since it stood longer than was said. Goes
    /// into the file before the chunk, so that no picture ever lies on another.
    pub(super) const fn growth(&mut self) -> Option<(u64, [u8; 4])> {
        self.pictures.grown.take()
    }

    /// Where the timeline begins; the first time, the head goes into the chunk.
    fn begin_file(&mut self) -> Option<Instant> {
        if self.has_head {
            return self.origin;
        }
        self.has_head = true;
        if self.first.is_none() {
            self.source.refuse();
        }
        self.chunk.extend_from_slice(&head::fragmented(self.first.as_ref().map(|(_, entry)| entry)));
        let pictures = self.first.as_ref().map(|&(at, _)| at);
        self.origin = match (pictures, self.sound.at) {
            (Some(pictures), Some(sound)) => Some(pictures.min(sound)),
            (either, or) => either.or(or),
        };
        if let Some(origin) = self.origin.filter(|_| self.sound.has_begun) {
            self.place_sound(origin);
        }
        self.origin
    }

    /// The sound lies on the timeline where it began. What of it is from before, because the room was long in telling, is
    /// left out.
    fn place_sound(&mut self, origin: Instant) {
        let Some(at) = self.sound.at else { return };
        let early = units(origin.saturating_duration_since(at), SOUND_HZ);
        self.sound.to_skip = early.div_ceil(PACKET_SAMPLES);
        self.sound.next_units =
            units(at.saturating_duration_since(origin), SOUND_HZ) + self.sound.to_skip * PACKET_SAMPLES - early;
    }

    /// Gives all pictures in hand their place on the timeline, each at least a unit after the one before.
    fn place_pictures(&mut self, origin: Option<Instant>) {
        let Some(origin) = origin else { return };
        let mut earliest = self.pictures.standing.map_or(0, |standing| standing.time + 1);
        for picture in &mut self.pictures.in_hand {
            picture.time = units(picture.at.saturating_duration_since(origin), VIDEO_CLOCK_HZ).max(earliest);
            earliest = picture.time + 1;
        }
    }

    /// The pictures that go into this chunk, and when the first of them is shown.
    fn cut_pictures(&mut self, sound_ends: u64, is_last: bool) -> (Vec<Shown>, u64) {
        let sound_ends = sound_ends * u64::from(VIDEO_CLOCK_HZ) / u64::from(SOUND_HZ);
        let in_hand = self.pictures.in_hand.as_slice();
        let goes_all = is_last || in_hand.len() == 1 && self.pictures.has_waited;
        let kept = usize::from(!goes_all).min(in_hand.len());
        // The last stands until the sound ends.
        let stands = |next: Option<&InHand>, time: u64, before: u64| match next {
            Some(next) => next.time.saturating_sub(time),
            None => sound_ends.checked_sub(time).filter(|&units| units > 0).unwrap_or(before),
        };
        // One that stands in the file stands until the next, or as long as the sound so far.
        if let Some(standing) = &mut self.pictures.standing {
            let before = u64::from(standing.duration);
            let duration = u32::try_from(stands(in_hand.first(), standing.time, before)).unwrap_or(u32::MAX);
            if duration != standing.duration {
                self.pictures.grown = Some((standing.at, duration.to_be_bytes()));
            }
            standing.duration = duration;
        }
        let mut before = LAST_PICTURE_UNITS;
        let mut shown = Vec::with_capacity(in_hand.len());
        for (at, picture) in in_hand.iter().enumerate().take(in_hand.len() - kept) {
            before = stands(in_hand.get(at + 1), picture.time, before);
            let duration = u32::try_from(before).unwrap_or(u32::MAX);
            shown.push(Shown { duration, bytes: picture.bytes, is_keyframe: picture.is_keyframe });
        }
        let pictures_at = in_hand.first().map_or(0, |first| first.time);
        self.pictures.has_waited = kept == 1;
        (shown, pictures_at)
    }

    /// The last picture of the chunk becomes the one that stands.
    fn stand(&mut self, shown: &[Shown], mut time: u64, duration_at: Option<u64>) {
        let (Some((last, earlier)), Some(at)) = (shown.split_last(), duration_at) else { return };
        time += earlier.iter().map(|shown| u64::from(shown.duration)).sum::<u64>();
        self.pictures.standing = Some(Standing { time, duration: last.duration, at });
    }
}

/// The head says it already. Parameter sets that differ from its own stay with their picture.
fn is_told(told: Option<&AvccBox>, nal: &[u8]) -> bool {
    let is_among = |known: &[Vec<u8>]| known.iter().any(|known| known == nal);
    match nal_type(nal) {
        NAL_SPS => told.is_some_and(|told| is_among(&told.sps_list)),
        NAL_PPS => told.is_some_and(|told| is_among(&told.pps_list)),
        NAL_DELIMITER => true,
        _ => false,
    }
}

/// A time in units of a track.
fn units(time: Duration, hz: u32) -> u64 {
    time.as_secs().saturating_mul(u64::from(hz)) + u64::from(time.subsec_nanos()) * u64::from(hz) / 1_000_000_000
}

/// Units of a track as time.
fn in_time(units: u64, hz: u32) -> Duration {
    let hz = u64::from(hz);
    Duration::from_secs(units / hz) + Duration::from_nanos(units % hz * 1_000_000_000 / hz)
}

/// A time in units of the movie as a whole, rounded up so that nothing is cut.
fn in_movie(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000_000 / u128::from(MOVIE_HZ))).unwrap_or(u64::MAX)
}
