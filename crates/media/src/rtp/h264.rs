//! H.264 in RTP (RFC 6184), receiving side: the packets of one access unit put together again from single NAL units
//! (§5.6), STAP-A (§5.7.1) and FU-A (§5.8). Interleaved forms are not negotiated and ignored. Runs on the worker's thread;
//! allocates only while its buffers grow. Knows nothing of order and loss on the way, which `video::reception` looks
//! after, and of a picture's bits only what tells a key frame (ITU-T H.264 §7.3.3).

mod slice;

use crate::video::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};
use slice::SliceHeader;

/// A larger SPS or PPS is passed on, but not remembered. Those of Constrained Baseline have less than 50 bytes.
pub const MAX_PARAMETER_SET_BYTES: usize = 256;
/// NAL units of one access unit at the most. Slices of 1,200 bytes make 437 of the largest, one for each row of
/// macroblocks 120.
pub const MAX_UNITS: usize = 1024;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

// NAL unit types (ITU-T H.264 table 7-1, RFC 6184 table 1).
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// A NAL unit of which not all fragments have come.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    kind: u8,
    /// Where the unit begins in the access unit, with its start code.
    start: usize,
    /// The sequence number of the next fragment.
    next_seq: u16,
}

/// What has come of the present access unit.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    timestamp: Option<u32>,
    fragment: Option<Fragment>,
    /// Something is missing from what came.
    is_damaged: bool,
    has_sps: bool,
    has_pps: bool,
    /// SPS and PPS stand here because the sender sent them with this access unit, not because we remembered them.
    sent_sps: bool,
    sent_pps: bool,
    slices: u32,
    idr_slices: u32,
    intra_slices: u32,
}

/// Puts the packets of one access unit together. *Input*: `push` with each packet, in the order of sequence numbers,
/// and `remember`. *Output*: `finish` at the access unit's end. *Questions*: everything that takes `&self`.
#[derive(Clone, Debug, Default)]
pub struct H264Depacketizer {
    now: Progress,
    /// The last SPS and PPS of the stream; empty when none came yet.
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl H264Depacketizer {
    /// With nothing remembered and no access unit begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// A parameter set that came another way: `sprop-parameter-sets` of SDP (RFC 6184 §8.1), without start code. False
    /// when it is none.
    pub fn remember(&mut self, unit: &[u8]) -> bool {
        let store = match kind(unit) {
            Some(SPS) => &mut self.sps,
            Some(PPS) => &mut self.pps,
            _ => return false,
        };
        store.clear();
        // One that is not kept must not leave its predecessor in its place.
        if unit.len() <= MAX_PARAMETER_SET_BYTES {
            store.extend_from_slice(unit);
        }
        !store.is_empty()
    }

    /// The stream's last SPS and PPS, without start codes; empty when unknown.
    pub fn parameter_sets(&self) -> (&[u8], &[u8]) {
        (&self.sps, &self.pps)
    }

    /// One more payload of the access unit, which grows in `unit`. Another timestamp drops one that was not finished.
    /// False when the payload is of no use, wholly or in part.
    pub fn push(&mut self, seq: u16, timestamp: u32, payload: &[u8], unit: &mut AccessUnit) -> bool {
        let Some(&indicator) = payload.first() else {
            // Padding takes a sequence number and nothing else.
            if let Some(open) = self.now.fragment.as_mut().filter(|open| open.next_seq == seq) {
                open.next_seq = seq.wrapping_add(1);
            }
            return true;
        };
        if self.now.timestamp.is_some_and(|present| present != timestamp) {
            self.abandon(unit);
        }
        self.now.timestamp = Some(timestamp);
        let kind = indicator & 0x1f;
        if kind != FU_A {
            self.drop_fragment(unit);
        }
        if indicator & 0x80 != 0 {
            // F: the sender, or who passed it on, knows of bit errors.
            self.now.is_damaged = true;
            return false;
        }
        match kind {
            1..=23 => self.whole(payload, unit),
            STAP_A => self.aggregate(payload, unit),
            FU_A => self.fragment(seq, payload, unit),
            _ => false,
        }
    }

    /// The access unit has ended. True when `unit` holds all of it, as far as one can tell; else `unit` is empty.
    pub fn finish(&mut self, unit: &mut AccessUnit) -> bool {
        self.drop_fragment(unit);
        let now = std::mem::take(&mut self.now);
        if now.is_damaged || now.slices == 0 {
            unit.clear();
            return false;
        }
        let is_intra = now.sent_sps && now.sent_pps && now.intra_slices == now.slices;
        unit.is_keyframe = now.has_sps && now.has_pps && (now.idr_slices > 0 || is_intra);
        true
    }

    /// Drops what was begun. The parameter sets stay.
    pub fn abandon(&mut self, unit: &mut AccessUnit) {
        unit.clear();
        self.now = Progress::default();
    }

    /// Something of a picture came since the last `finish`, whole or not. Parameter sets and the like are no picture.
    pub const fn has_picture(&self) -> bool {
        self.now.slices > 0 || self.now.is_damaged || self.now.fragment.is_some()
    }

    /// What came so far is, as it looks, of a key frame.
    pub fn looks_key(&self) -> bool {
        let idr_begun = self.now.fragment.is_some_and(|open| open.kind == IDR);
        let may_be_intra = self.now.sent_sps && self.now.intra_slices == self.now.slices;
        !self.now.is_damaged && (self.now.idr_slices > 0 || idr_begun || may_be_intra)
    }

    /// Whatever is lost before this payload, its access unit begins here (ITU-T H.264 §7.4.1.2.3), with all that a key
    /// frame needs.
    pub fn begins(payload: &[u8]) -> bool {
        first_unit(payload).is_some_and(|(kind, _)| matches!(kind, SPS | DELIMITER))
    }

    /// The payload's picture has begun in another packet.
    pub fn continues(payload: &[u8]) -> bool {
        match first_unit(payload) {
            Some((SLICE | IDR, Some(slice))) => SliceHeader::parse(slice).is_some_and(|header| header.first_mb > 0),
            Some((_, None)) => true,
            _ => false,
        }
    }

    /// A single NAL unit, or one of a STAP-A.
    fn whole(&mut self, bytes: &[u8], unit: &mut AccessUnit) -> bool {
        let Some(kind) = kind(bytes).filter(|_| bytes.len() > 1) else { return false };
        if !is_kept(kind) {
            return is_filler(kind);
        }
        if !self.begin(kind, bytes, unit) {
            return false;
        }
        let start = unit.bytes.len() - bytes.len();
        self.end(start, unit);
        true
    }

    fn aggregate(&mut self, payload: &[u8], unit: &mut AccessUnit) -> bool {
        let mut rest = payload.get(1..).unwrap_or_default();
        let mut is_sound = !rest.is_empty();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((bytes, after)) = after.split_at_checked(length) else {
                self.now.is_damaged = true;
                return false;
            };
            is_sound &= self.whole(bytes, unit);
            rest = after;
        }
        is_sound && rest.is_empty()
    }

    fn fragment(&mut self, seq: u16, payload: &[u8], unit: &mut AccessUnit) -> bool {
        let Some(([indicator, header], data)) = payload.split_first_chunk::<2>() else {
            self.now.is_damaged = true;
            return false;
        };
        let (is_start, is_end, kind) = (header & 0x80 != 0, header & 0x40 != 0, header & 0x1f);
        let follows = |open: &Fragment| !is_start && open.next_seq == seq && open.kind == kind;
        if !self.now.fragment.as_ref().is_some_and(follows) {
            self.drop_fragment(unit);
        }
        if !is_kept(kind) {
            return is_filler(kind);
        }
        let next_seq = seq.wrapping_add(1);
        if is_start {
            if !self.begin(kind, &[indicator & 0xe0 | kind], unit) {
                return false;
            }
            let start = unit.bytes.len() - START_CODE.len() - 1;
            self.now.fragment = Some(Fragment { kind, start, next_seq });
        }
        let Some(open) = self.now.fragment.as_mut() else {
            // Its beginning did not come.
            self.now.is_damaged = true;
            return false;
        };
        open.next_seq = next_seq;
        if unit.bytes.len() + data.len() > MAX_ACCESS_UNIT_BYTES {
            self.drop_fragment(unit);
            return false;
        }
        unit.bytes.extend_from_slice(data);
        let start = open.start + START_CODE.len();
        if is_end && unit.bytes.len() - start < 2 {
            self.drop_fragment(unit);
            return false;
        }
        if is_end {
            self.now.fragment = None;
            self.end(start, unit);
        }
        true
    }

    /// Start code and first bytes of a NAL unit; in front of an IDR slice what it needs to be decoded.
    fn begin(&mut self, kind: u8, bytes: &[u8], unit: &mut AccessUnit) -> bool {
        if kind == IDR && !(self.now.has_sps && self.now.has_pps) {
            // A PPS is read with its SPS: when that comes later, so does the PPS.
            if !self.now.has_sps {
                self.now.has_sps = append(&self.sps, unit);
            }
            self.now.has_pps |= append(&self.pps, unit);
        }
        let fits = write(bytes, unit);
        self.now.is_damaged |= !fits;
        fits
    }

    /// A NAL unit is whole: it reaches from `start` to the end of the bytes.
    fn end(&mut self, start: usize, unit: &mut AccessUnit) {
        unit.units.push(start..unit.bytes.len());
        let bytes = unit.bytes.get(start..).unwrap_or_default();
        match kind(bytes) {
            Some(SPS) => {
                (self.now.has_sps, self.now.sent_sps) = (true, true);
                self.remember(bytes);
            }
            Some(PPS) => {
                (self.now.has_pps, self.now.sent_pps) = (true, true);
                self.remember(bytes);
            }
            Some(kind @ (SLICE | IDR)) => {
                self.now.slices = self.now.slices.saturating_add(1);
                self.now.idr_slices += u32::from(kind == IDR);
                self.now.intra_slices += u32::from(SliceHeader::parse(bytes).is_some_and(|header| header.is_intra));
            }
            _ => {}
        }
    }

    /// What was begun in fragments and can no longer be ended leaves the access unit.
    fn drop_fragment(&mut self, unit: &mut AccessUnit) {
        if let Some(open) = self.now.fragment.take() {
            unit.bytes.truncate(open.start);
            self.now.is_damaged = true;
        }
    }
}

fn kind(unit: &[u8]) -> Option<u8> {
    unit.first().map(|header| header & 0x1f)
}

/// What Constrained Baseline is made of.
const fn is_kept(kind: u8) -> bool {
    matches!(kind, SLICE | IDR | SEI | SPS | PPS | DELIMITER)
}

/// End of sequence, end of stream, filler: sound, and of no use to us.
const fn is_filler(kind: u8) -> bool {
    matches!(kind, 10..=12)
}

/// Type and bytes of the first NAL unit of a payload; no bytes when it is the continuation of a fragmented one.
fn first_unit(payload: &[u8]) -> Option<(u8, Option<&[u8]>)> {
    match kind(payload)? {
        kind @ 1..=23 => Some((kind, Some(payload))),
        STAP_A => {
            let unit = payload.get(3..)?;
            Some((kind(unit)?, Some(unit)))
        }
        FU_A => {
            let header = payload.get(1)?;
            let is_start = header & 0x80 != 0;
            // The FU header stands where the NAL unit's own would be, with the same type.
            Some((header & 0x1f, payload.get(1..).filter(|_| is_start)))
        }
        _ => None,
    }
}

fn write(bytes: &[u8], unit: &mut AccessUnit) -> bool {
    let fits =
        unit.bytes.len() + START_CODE.len() + bytes.len() <= MAX_ACCESS_UNIT_BYTES && unit.units.len() < MAX_UNITS;
    if fits {
        unit.bytes.extend_from_slice(&START_CODE);
        unit.bytes.extend_from_slice(bytes);
    }
    fits
}

/// A remembered parameter set, if there is one.
fn append(set: &[u8], unit: &mut AccessUnit) -> bool {
    let is_written = !set.is_empty() && write(set, unit);
    if is_written {
        unit.units.push(unit.bytes.len() - set.len()..unit.bytes.len());
    }
    is_written
}

#[cfg(test)]
mod tests;
