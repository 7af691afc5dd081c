//! VP8 in RTP (RFC 7741), receiving side: the payload descriptor (§4.2), and the packets of one frame put together again.
//! Runs on the worker's thread; allocates only while its buffers grow. Knows nothing of order and loss on the way, which
//! `video::reception` looks after, nor of what the bits of a picture mean beyond the header of a frame (RFC 6386 §9.1).

use crate::video::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};

/// Bytes of a key frame's header: frame tag, start code, width and height (RFC 6386 §9.1).
const KEY_HEADER_BYTES: usize = 10;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

/// What stands in front of the frame's bytes in each packet (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// N: no other frame depends on this one.
    pub is_discardable: bool,
    /// S: the payload begins a partition.
    pub starts_partition: bool,
    /// PID, 0–7: the partition that the payload's first byte belongs to.
    pub partition: u8,
    /// I: 7 or 15 bits of a counter of frames.
    pub picture_id: Option<u16>,
    /// L: a counter of frames of the lowest temporal layer.
    pub tl0_pic_idx: Option<u8>,
    /// T: the temporal layer, 0–3, and Y: it depends on layer 0 only.
    pub temporal_layer: Option<(u8, bool)>,
    /// K: 5 bits of a counter of key frames of this layer.
    pub key_idx: Option<u8>,
}

impl Vp8Descriptor {
    /// The descriptor and what follows it. `None` when it is cut short, or nothing follows.
    pub fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&required, mut rest) = payload.split_first()?;
        let mut descriptor = Self {
            is_discardable: required & 0x20 != 0,
            starts_partition: required & 0x10 != 0,
            partition: required & 0x07,
            ..Self::default()
        };
        let mut next = || {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            Some(byte)
        };
        if required & 0x80 != 0 {
            let present = next()?;
            if present & 0x80 != 0 {
                let high = next()?;
                let id = if high & 0x80 != 0 { u16::from_be_bytes([high & 0x7f, next()?]) } else { u16::from(high) };
                descriptor.picture_id = Some(id);
            }
            if present & 0x40 != 0 {
                descriptor.tl0_pic_idx = Some(next()?);
            }
            if present & 0x30 != 0 {
                let layer = next()?;
                descriptor.temporal_layer = (present & 0x20 != 0).then_some((layer >> 6, layer & 0x20 != 0));
                descriptor.key_idx = (present & 0x10 != 0).then_some(layer & 0x1f);
            }
        }
        (!rest.is_empty()).then_some((descriptor, rest))
    }

    /// The payload is the beginning of a frame (§4.4).
    pub const fn begins_frame(&self) -> bool {
        self.starts_partition && self.partition == 0
    }
}

/// P of the frame tag: the frame depends on no other. False for no bytes.
pub fn is_key_frame(frame: &[u8]) -> bool {
    frame.first().is_some_and(|tag| tag & 1 == 0)
}

/// Width and height of a key frame in pixels, without the scaling hints (RFC 6386 §9.1). `None` for other frames, and
/// for what only says that it is one.
pub fn key_frame_size(frame: &[u8]) -> Option<(u16, u16)> {
    let header = frame.first_chunk::<KEY_HEADER_BYTES>().filter(|_| is_key_frame(frame))?;
    let [_, _, _, s0, s1, s2, w0, w1, h0, h1] = *header;
    let side = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    ([s0, s1, s2] == START_CODE).then_some((side(w0, w1), side(h0, h1)))
}

/// Puts the packets of one frame together. *Input*: `push` with each packet, in the order of sequence numbers. *Output*:
/// `finish` at the frame's end. *Questions*: everything that takes `&self`.
#[derive(Clone, Debug, Default)]
pub struct Vp8Depacketizer {
    /// Sequence number that has to come next, and the frame's timestamp.
    place: Option<(u16, u32)>,
    /// The frame misses something, and what is left of it is worth nothing.
    is_damaged: bool,
}

impl Vp8Depacketizer {
    /// With no frame begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more payload of the frame, which grows in `unit`. Another timestamp drops a frame that was not finished.
    /// False when the payload is of no use.
    pub fn push(&mut self, seq: u16, timestamp: u32, payload: &[u8], unit: &mut AccessUnit) -> bool {
        if payload.is_empty() {
            // Padding takes a sequence number and nothing else.
            if let Some((expected, _)) = self.place.as_mut().filter(|(expected, _)| *expected == seq) {
                *expected = seq.wrapping_add(1);
            }
            return true;
        }
        if self.place.is_some_and(|(_, present)| present != timestamp) {
            self.abandon(unit);
        }
        let Some((descriptor, bytes)) = Vp8Descriptor::parse(payload) else { return false };
        let follows = match self.place.replace((seq.wrapping_add(1), timestamp)) {
            Some((expected, _)) => expected == seq && !descriptor.begins_frame(),
            None => descriptor.begins_frame(),
        };
        if !follows || unit.bytes.len() + bytes.len() > MAX_ACCESS_UNIT_BYTES {
            self.is_damaged = true;
        }
        if self.is_damaged {
            return false;
        }
        unit.bytes.extend_from_slice(bytes);
        true
    }

    /// The frame has ended. True when `unit` holds all of it, as far as one can tell; else `unit` is empty.
    pub fn finish(&mut self, unit: &mut AccessUnit) -> bool {
        let is_key = is_key_frame(&unit.bytes);
        let is_whole = !self.is_damaged && !unit.bytes.is_empty() && is_key == key_frame_size(&unit.bytes).is_some();
        self.place = None;
        self.is_damaged = false;
        if !is_whole {
            unit.clear();
            return false;
        }
        unit.is_keyframe = is_key;
        unit.units.clear();
        // One range, not the numbers in it.
        unit.units.extend(std::iter::once(0..unit.bytes.len()));
        true
    }

    /// Drops what was begun.
    pub fn abandon(&mut self, unit: &mut AccessUnit) {
        unit.clear();
        *self = Self::default();
    }

    /// Something of a picture came since the last `finish`, whole or not.
    pub const fn has_picture(&self) -> bool {
        self.place.is_some()
    }

    /// What came so far is, as it looks, a key frame.
    pub fn looks_key(&self, unit: &AccessUnit) -> bool {
        !self.is_damaged && is_key_frame(&unit.bytes)
    }

    /// Whatever is lost before this payload, its frame begins here.
    pub fn begins(payload: &[u8]) -> bool {
        Vp8Descriptor::parse(payload).is_some_and(|(descriptor, _)| descriptor.begins_frame())
    }

    /// The payload's frame has begun in another packet.
    pub fn continues(payload: &[u8]) -> bool {
        Vp8Descriptor::parse(payload).is_some_and(|(descriptor, _)| !descriptor.begins_frame())
    }
}

#[cfg(test)]
mod tests;
