//! The depacketizer of a stream's codec, behind one set of words. Runs on the worker's thread.

use super::super::VideoCodec;
use super::super::access_unit::AccessUnit;
use crate::rtp::h264::H264Depacketizer;
use crate::rtp::vp8::Vp8Depacketizer;

/// One of the two. The methods are those of the depacketizers.
#[derive(Debug)]
pub(super) enum Assembly {
    H264(H264Depacketizer),
    Vp8(Vp8Depacketizer),
}

impl Assembly {
    pub(super) fn new(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::H264 => Self::H264(H264Depacketizer::new()),
            VideoCodec::Vp8 => Self::Vp8(Vp8Depacketizer::new()),
        }
    }

    pub(super) fn remember(&mut self, parameter_set: &[u8]) -> bool {
        match self {
            Self::H264(h264) => h264.remember(parameter_set),
            Self::Vp8(_) => false,
        }
    }

    pub(super) fn push(&mut self, seq: u16, timestamp: u32, payload: &[u8], unit: &mut AccessUnit) -> bool {
        match self {
            Self::H264(h264) => h264.push(seq, timestamp, payload, unit),
            Self::Vp8(vp8) => vp8.push(seq, timestamp, payload, unit),
        }
    }

    pub(super) fn finish(&mut self, unit: &mut AccessUnit) -> bool {
        match self {
            Self::H264(h264) => h264.finish(unit),
            Self::Vp8(vp8) => vp8.finish(unit),
        }
    }

    pub(super) fn abandon(&mut self, unit: &mut AccessUnit) {
        match self {
            Self::H264(h264) => h264.abandon(unit),
            Self::Vp8(vp8) => vp8.abandon(unit),
        }
    }

    pub(super) fn has_picture(&self) -> bool {
        match self {
            Self::H264(h264) => h264.has_picture(),
            Self::Vp8(vp8) => vp8.has_picture(),
        }
    }

    pub(super) fn looks_key(&self, unit: &AccessUnit) -> bool {
        match self {
            Self::H264(h264) => h264.looks_key(),
            Self::Vp8(vp8) => vp8.looks_key(unit),
        }
    }

    pub(super) fn begins(&self, payload: &[u8]) -> bool {
        match self {
            Self::H264(_) => H264Depacketizer::begins(payload),
            Self::Vp8(_) => Vp8Depacketizer::begins(payload),
        }
    }

    pub(super) fn continues(&self, payload: &[u8]) -> bool {
        match self {
            Self::H264(_) => H264Depacketizer::continues(payload),
            Self::Vp8(_) => Vp8Depacketizer::continues(payload),
        }
    }

    /// The payload, which follows on the open frame, is not of it. Timestamps tell, unless the sender changes them within a
    /// frame, or gives two frames the same: of that, only VP8 says for sure. In H.264 some senders repeat parameter sets
    /// within a picture.
    pub(super) fn is_next_frame(&self, open: u32, timestamp: u32, payload: &[u8]) -> bool {
        if payload.is_empty() {
            return false;
        }
        if timestamp != open {
            return !self.has_picture() || !self.continues(payload);
        }
        matches!(self, Self::Vp8(vp8) if vp8.has_picture() && Vp8Depacketizer::begins(payload))
    }
}
