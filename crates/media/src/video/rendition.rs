//! The encodes of a room's picture that legs can be sent: one for each codec and size, made only while somebody wants it.
//! Shared between the room's worker, which counts who wants what, and its composer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::VideoCodec;
use super::access_unit::AccessUnit;
use crate::units::{Bitrate, Resolution};

/// One encode of the room's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rendition {
    /// Its codec.
    pub codec: VideoCodec,
    /// Half the size and a third of the bitrate, for those who cannot take the room's.
    pub lower: bool,
}

impl Rendition {
    /// All of them, in the order of `index`.
    pub const ALL: [Self; 4] = [
        Self { codec: VideoCodec::H264, lower: false },
        Self { codec: VideoCodec::H264, lower: true },
        Self { codec: VideoCodec::Vp8, lower: false },
        Self { codec: VideoCodec::Vp8, lower: true },
    ];

    /// The one that recordings are made of.
    pub const RECORDED: Self = Self { codec: VideoCodec::H264, lower: false };

    /// Position in `ALL`.
    pub const fn index(self) -> usize {
        self.lower as usize
            + match self.codec {
                VideoCodec::H264 => 0,
                VideoCodec::Vp8 => 2,
            }
    }

    /// Its size in a room of this size.
    pub const fn resolution(self, room: Resolution) -> Resolution {
        if self.lower { room.half() } else { room }
    }

    /// Its bitrate in a room of this bitrate.
    pub const fn bitrate(self, room: Bitrate) -> Bitrate {
        if self.lower { Bitrate::bps(room.as_bps() / 3) } else { room }
    }
}

/// Who wants which rendition, and where decoding has to begin anew.
#[derive(Debug, Default)]
pub struct Demand {
    legs: [AtomicU32; 4],
    keyframe: [AtomicBool; 4],
}

impl Demand {
    /// One more leg is sent this rendition.
    pub fn add(&self, rendition: Rendition) {
        if let Some(legs) = self.legs.get(rendition.index()) {
            legs.fetch_add(1, Relaxed);
        }
    }

    /// One leg less.
    pub fn remove(&self, rendition: Rendition) {
        if let Some(legs) = self.legs.get(rendition.index()) {
            // Removed as often as added: by construction it does not wrap, and if it did, an encode too many is made.
            legs.fetch_sub(1, Relaxed);
        }
    }

    /// Somebody is sent it.
    pub fn is_wanted(&self, rendition: Rendition) -> bool {
        self.legs.get(rendition.index()).is_some_and(|legs| legs.load(Relaxed) > 0)
    }

    /// Somebody who is sent it cannot decode without a keyframe.
    pub fn want_keyframe(&self, rendition: Rendition) {
        if let Some(keyframe) = self.keyframe.get(rendition.index()) {
            keyframe.store(true, Relaxed);
        }
    }

    /// A keyframe is wanted.
    pub fn keyframe_is_wanted(&self, rendition: Rendition) -> bool {
        self.keyframe.get(rendition.index()).is_some_and(|keyframe| keyframe.load(Relaxed))
    }

    /// It was made.
    pub fn keyframe_was_made(&self, rendition: Rendition) {
        if let Some(keyframe) = self.keyframe.get(rendition.index()) {
            keyframe.store(false, Relaxed);
        }
    }
}

/// An encoded picture of the room on its way to the worker.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Of which encode.
    pub rendition: Rendition,
    /// The same memory for all legs.
    pub unit: Arc<AccessUnit>,
    /// On the room's media time, which began when its picture did.
    pub at: Duration,
    /// When it was due.
    pub due: Instant,
}
