//! How large and how fast pictures may be for a decoder of H.264: the levels (ITU-T H.264 Table A-1). Pure values.

use crate::units::{FrameRate, Resolution};

/// A row of Table A-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// level_idc; 9 is level 1b.
    pub idc: u8,
    /// MaxMBPS: macroblocks (16×16 pixels) a second.
    pub macroblocks_per_s: u32,
    /// MaxFS: macroblocks of one picture.
    pub macroblocks: u32,
    /// MaxBR in kbit/s.
    pub kbps: u32,
}

const fn row(idc: u8, macroblocks_per_s: u32, macroblocks: u32, kbps: u32) -> Level {
    Level { idc, macroblocks_per_s, macroblocks, kbps }
}

/// All levels, lowest first.
pub const LEVELS: [Level; 20] = [
    row(9, 1_485, 99, 128),
    row(10, 1_485, 99, 64),
    row(11, 3_000, 396, 192),
    row(12, 6_000, 396, 384),
    row(13, 11_880, 396, 768),
    row(20, 11_880, 396, 2_000),
    row(21, 19_800, 792, 4_000),
    row(22, 20_250, 1_620, 4_000),
    row(30, 40_500, 1_620, 10_000),
    row(31, 108_000, 3_600, 14_000),
    row(32, 216_000, 5_120, 20_000),
    row(40, 245_760, 8_192, 20_000),
    row(41, 245_760, 8_192, 50_000),
    row(42, 522_240, 8_704, 50_000),
    row(50, 589_824, 22_080, 135_000),
    row(51, 983_040, 36_864, 240_000),
    row(52, 2_073_600, 36_864, 240_000),
    row(60, 4_177_920, 139_264, 240_000),
    row(61, 8_355_840, 139_264, 480_000),
    row(62, 16_711_680, 139_264, 800_000),
];

/// Whether a decoder of so many macroblocks in a picture and in a second takes pictures of this size and rate. No side may
/// exceed √(8 × the macroblocks), by H.264 §A.3.1 and RFC 7741 §6.1.
pub fn takes(max_macroblocks: u32, max_macroblocks_per_s: u32, resolution: Resolution, framerate: FrameRate) -> bool {
    let [width, height] = [resolution.width(), resolution.height()].map(|px| px.div_ceil(16) as u64);
    let (all, longest) = (width * height, width.max(height));
    all <= u64::from(max_macroblocks)
        && longest * longest <= 8 * u64::from(max_macroblocks)
        && all * u64::from(framerate.pictures()) <= u64::from(max_macroblocks_per_s)
}
