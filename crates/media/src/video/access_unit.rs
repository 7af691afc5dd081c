//! One encoded picture: what an encoder makes, and what a leg's packets are put together to. Pure values.

use std::ops::Range;

use super::VideoCodec;

/// Bytes of an access unit at the most, in either direction. 1080p at the quality of a still picture stays below.
pub const MAX_ACCESS_UNIT_BYTES: usize = 512 * 1024;

/// An encoded picture. H.264 is an Annex B byte stream (start codes of 3 or 4 bytes, SPS and PPS in front of each IDR);
/// VP8 is the bare frame (RFC 6386).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// Of which codec.
    pub codec: VideoCodec,
    /// Decoding can begin here.
    pub is_keyframe: bool,
    /// At most [`MAX_ACCESS_UNIT_BYTES`].
    pub bytes: Vec<u8>,
    /// The NAL units within `bytes`, without their start codes, in order; of VP8, the whole frame.
    pub units: Vec<Range<usize>>,
}

impl AccessUnit {
    /// With nothing in it yet.
    pub const fn empty(codec: VideoCodec) -> Self {
        Self { codec, is_keyframe: false, bytes: Vec::new(), units: Vec::new() }
    }

    /// Takes everything out and keeps the memory.
    pub fn clear(&mut self) {
        self.is_keyframe = false;
        self.bytes.clear();
        self.units.clear();
    }

    /// Each NAL unit, without its start code.
    pub fn nal_units(&self) -> impl Iterator<Item = &[u8]> {
        self.units.iter().filter_map(|range| self.bytes.get(range.clone()))
    }
}
