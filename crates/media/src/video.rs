//! The picture of a room: what a VIDEO room composes, encodes and sends. Nothing here knows rooms' sound, signalling or
//! sockets; only the composer's thread decodes, draws and encodes.

pub mod access_unit;
pub mod canvas;
pub mod codec;
pub mod composer;
pub mod feed;
pub mod jpeg;
pub mod layout;
pub mod level;
pub mod picture;
pub mod reception;
pub mod rendition;
pub mod scale;
pub mod sending;
pub mod stage;
pub mod text;

/// The video codecs that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// H.264, Constrained Baseline (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
}

/// Clock of the RTP timestamps of video in Hz (RFC 3551 §5).
pub const VIDEO_CLOCK_HZ: u32 = 90_000;

/// The longest side of a picture that is decoded, in pixels. Larger ones cost their tile only.
pub const MAX_DECODED_SIDE_PX: usize = 1920;

/// Payload bytes of one RTP packet of video at the most: with its headers and SRTP it fits a path of 1,280 bytes (IPv6's
/// smallest), and H.264's slices are cut to it.
pub const MAX_PAYLOAD_BYTES: usize = 1200;
