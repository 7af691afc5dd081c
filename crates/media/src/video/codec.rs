//! The video codecs behind one encoder and one decoder type. Runs on the composer's thread; knows nothing of RTP, rooms or
//! layouts. Both hold a C library's memory, which may move between threads but is never shared.

mod debt;
pub mod h264;
mod rate;
mod regulator;
pub mod sps;
#[cfg(test)]
pub(crate) mod testing;
pub mod vp8;

use std::time::Duration;

use super::access_unit::AccessUnit;
use super::picture::PictureView;
use super::{MAX_DECODED_SIDE_PX, VideoCodec};
use crate::error::Error;
use crate::units::{Bitrate, FrameRate, Resolution};

use h264::{H264Decoder, H264Encoder};
use vp8::{Vp8Decoder, Vp8Encoder};

/// What an encoder is made for. Another size needs another encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Of every picture.
    pub resolution: Resolution,
    /// Pictures a second that will come.
    pub framerate: FrameRate,
    /// At most a tenth more than this over any ten seconds.
    pub bitrate: Bitrate,
}

/// Turns pictures into access units of one codec. Holds the state of one stream.
#[derive(Debug)]
pub enum Encoder {
    /// H.264, Constrained Baseline, in slices of at most [`super::MAX_PAYLOAD_BYTES`].
    H264(H264Encoder),
    /// VP8.
    Vp8(Vp8Encoder),
}

impl Encoder {
    /// An encoder whose first picture will be a keyframe. Errors when the library has no memory.
    pub fn new(codec: VideoCodec, settings: EncoderSettings) -> Result<Self, Error> {
        Ok(match codec {
            VideoCodec::H264 => Self::H264(H264Encoder::new(settings)?),
            VideoCodec::Vp8 => Self::Vp8(Vp8Encoder::new(settings)?),
        })
    }

    /// Encodes one picture of the encoder's size, due at `at` (since any beginning, never earlier than the last), into `out`,
    /// which is cleared and reused. False: nothing was made of it, as the rate left no room; only content that cannot be
    /// compressed (noise) comes to that. A keyframe that was asked for is then still owed, and made as soon as it may.
    ///
    /// Errors when the picture has another size, or the library fails: then the stream begins anew with a keyframe.
    pub fn encode(
        &mut self,
        picture: PictureView<'_>,
        at: Duration,
        keyframe: bool,
        out: &mut AccessUnit,
    ) -> Result<bool, Error> {
        match self {
            Self::H264(encoder) => encoder.encode(picture, at, keyframe, out),
            Self::Vp8(encoder) => encoder.encode(picture, at, keyframe, out),
        }
    }

    /// Takes effect with the next picture, without a keyframe; only where H.264 needs a higher level than before does the
    /// stream begin anew.
    pub fn set(&mut self, bitrate: Bitrate, framerate: FrameRate) -> Result<(), Error> {
        match self {
            Self::H264(encoder) => encoder.set(bitrate, framerate),
            Self::Vp8(encoder) => encoder.set(bitrate, framerate),
        }
    }
}

/// Why no picture came of an access unit. It costs this picture; the next ones lean on it until a keyframe comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Its pictures are larger than what is decoded; nothing was given to the decoder.
    #[error("pictures of {width}x{height} are too large: {MAX_DECODED_SIDE_PX} pixels a side are decoded")]
    TooLarge {
        /// As coded, in pixels.
        width: u32,
        /// As coded, in pixels.
        height: u32,
    },
    /// A header that cannot be read; nothing was given to the decoder.
    #[error("a header of the stream cannot be read")]
    Header,
    /// The decoder refused it, or found a part missing; its own code.
    #[error("damaged or incomplete (code {0})")]
    Damaged(i32),
    /// Of another codec than the decoder.
    #[error("another codec than the decoder's")]
    Codec,
}

/// Turns access units of one codec into pictures. Holds the state of one stream. A new one is cheap: it allocates for pictures
/// only when the first keyframe says how large they are.
#[derive(Debug)]
pub enum Decoder {
    /// H.264.
    H264(H264Decoder),
    /// VP8.
    Vp8(Vp8Decoder),
}

impl Decoder {
    /// A decoder that waits for a keyframe. Errors when the library has no memory.
    pub fn new(codec: VideoCodec) -> Result<Self, Error> {
        Ok(match codec {
            VideoCodec::H264 => Self::H264(H264Decoder::new()?),
            VideoCodec::Vp8 => Self::Vp8(Vp8Decoder::new()?),
        })
    }

    /// Decodes one access unit and shows the picture, whose memory is the decoder's. `Ok(None)` when no picture is due (parameter
    /// sets alone, a frame that is not to be shown). What is not wholly decoded is never shown: it is an error, and the sender
    /// has to be asked for a keyframe.
    pub fn decode<R>(
        &mut self,
        unit: &AccessUnit,
        show: impl FnOnce(PictureView<'_>) -> R,
    ) -> Result<Option<R>, DecodeError> {
        match (self, unit.codec) {
            (Self::H264(decoder), VideoCodec::H264) => decoder.decode(&unit.bytes, show),
            (Self::Vp8(decoder), VideoCodec::Vp8) => decoder.decode(&unit.bytes, show),
            _ => Err(DecodeError::Codec),
        }
    }
}

/// Refuses pictures whose sides are not the encoder's, or that their planes do not hold.
fn check_picture(picture: &PictureView<'_>, resolution: Resolution) -> Result<(), Error> {
    if picture.width == resolution.width() && picture.height == resolution.height() && picture.is_sound() {
        Ok(())
    } else {
        Err(Error::Broken(format!("a picture of {}x{} for an encoder of {resolution}", picture.width, picture.height)))
    }
}

/// Refuses what is too large to be decoded.
fn check_size(width: u32, height: u32) -> Result<(), DecodeError> {
    let fits = |side: u32| usize::try_from(side).is_ok_and(|side| side <= MAX_DECODED_SIDE_PX);
    if fits(width) && fits(height) { Ok(()) } else { Err(DecodeError::TooLarge { width, height }) }
}

#[cfg(test)]
mod tests;
