//! From a picture to the payloads of its packets, one at a time and computed where the sender stands, so that what all
//! legs share is cut up by each of them at no cost: H.264 as single NAL unit packets and FU-A (RFC 6184 §5.6, §5.8), VP8
//! with its descriptor (RFC 7741 §4.2). Pure functions.

use crate::video::access_unit::AccessUnit;
use crate::video::{MAX_PAYLOAD_BYTES, VideoCodec};

/// The FU indicator and the FU header.
const FU_BYTES: usize = 2;
const FU_A: u8 = 28;
/// The descriptor with its extension and a PictureID of 15 bits.
const DESCRIPTOR_BYTES: usize = 4;

/// What comes in front of the picture's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A NAL unit that is the payload.
    Whole,
    /// A fragment of a NAL unit, whose own header is not among the bytes.
    Fragment,
    /// A part of a VP8 frame.
    Vp8,
}

/// The payload of one packet: where it is in its picture, and as what it is sent. Writing it twice gives the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    form: Form,
    unit: u32,
    start: u32,
    end: u32,
    /// Nothing of the NAL unit, or of the VP8 frame, comes after it.
    is_last_of_unit: bool,
}

/// How far a picture has been sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    unit: u32,
    /// Bytes of that unit that were sent.
    sent: u32,
}

/// The last unit of a picture that has anything in it; units that are empty, or not within the bytes, are not sent.
pub(super) fn last_unit(picture: &AccessUnit) -> Option<u32> {
    let last =
        (0..picture.units.len()).rev().find_map(|n| u32::try_from(n).ok().filter(|n| !unit(picture, *n).is_empty()));
    last.filter(|_| u32::try_from(picture.bytes.len()).is_ok())
}

fn unit(picture: &AccessUnit, n: u32) -> &[u8] {
    picture.units.get(n as usize).and_then(|range| picture.bytes.get(range.clone())).unwrap_or_default()
}

impl Place {
    /// The piece that comes next, and the place after it. `fragments`: H.264 may be cut (packetization mode 1). `None` at
    /// the end.
    pub(super) fn piece(mut self, picture: &AccessUnit, fragments: bool) -> Option<(Piece, Self)> {
        let bytes = loop {
            let bytes = unit(picture, self.unit);
            if !bytes.is_empty() {
                break bytes;
            }
            if self.unit as usize >= picture.units.len() {
                return None;
            }
            self.unit += 1;
        };
        let (form, start, room) = match picture.codec {
            VideoCodec::Vp8 => (Form::Vp8, self.sent as usize, MAX_PAYLOAD_BYTES - DESCRIPTOR_BYTES),
            VideoCodec::H264 if self.sent == 0 && (bytes.len() <= MAX_PAYLOAD_BYTES || !fragments) => {
                (Form::Whole, 0, usize::MAX)
            }
            // A fragment's header carries what the first byte said.
            VideoCodec::H264 => (Form::Fragment, (self.sent as usize).max(1), MAX_PAYLOAD_BYTES - FU_BYTES),
        };
        // What is left in as few packets as possible, of the same size: no small last one.
        let left = bytes.len().saturating_sub(start);
        let end = start + left.div_ceil(left.div_ceil(room).max(1));
        let is_last_of_unit = end >= bytes.len();
        let piece = Piece { form, unit: self.unit, start: start as u32, end: end as u32, is_last_of_unit };
        let after = if is_last_of_unit {
            Self { unit: self.unit + 1, sent: 0 }
        } else {
            Self { unit: self.unit, sent: end as u32 }
        };
        Some((piece, after))
    }
}

impl Piece {
    /// With it the picture ends, whose [`last_unit`] is given.
    pub(super) const fn ends(&self, last_unit: u32) -> bool {
        self.is_last_of_unit && self.unit == last_unit
    }

    /// Writes the payload and gives its length. `None` when `out` is too small.
    pub(super) fn write(&self, picture: &AccessUnit, picture_id: u16, out: &mut [u8]) -> Option<usize> {
        let unit = unit(picture, self.unit);
        let bytes = unit.get(self.start as usize..self.end as usize)?;
        let prefix: &[u8] = match self.form {
            Form::Whole => &[],
            Form::Fragment => {
                let header = *unit.first()?;
                let start = if self.start == 1 { 0x80 } else { 0 };
                let end = if self.is_last_of_unit { 0x40 } else { 0 };
                &[header & 0xe0 | FU_A, start | end | header & 0x1f]
            }
            Form::Vp8 => {
                let [high, low] = picture_id.to_be_bytes();
                let start = if self.start == 0 { 0x10 } else { 0 };
                &[0x80 | start, 0x80, 0x80 | high, low]
            }
        };
        let (head, body) = out.split_at_mut_checked(prefix.len())?;
        head.copy_from_slice(prefix);
        body.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(prefix.len() + bytes.len())
    }
}
