//! What a stream says of its pictures before anything is decoded: the H.264 sequence parameter set (ITU-T H.264 §7.3.2.1.1) and
//! the frame header of VP8 (RFC 6386 §9.1). Runs on the composer's thread, on bytes that any sender may have made up.

/// The pictures of an H.264 stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`: 66 is Baseline.
    pub profile: u8,
    /// The constraint flags, `constraint_set0_flag` in the highest bit.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Of the picture as it is coded, in pixels: whole macroblocks, which is what a decoder allocates.
    pub coded_width: u32,
    /// Of the picture as it is coded, in pixels.
    pub coded_height: u32,
    /// What is shown of it, in pixels.
    pub width: u32,
    /// What is shown of it, in pixels.
    pub height: u32,
}

impl Sps {
    /// Reads a NAL unit of type 7, or 15 (a subset SPS begins alike), without its start code. `None` when it is not one, is cut
    /// short, or holds values that the standard does not allow.
    pub fn read(nal: &[u8]) -> Option<Self> {
        let (&header, rest) = nal.split_first()?;
        if !matches!(header & 0x1F, 7 | 15) {
            return None;
        }
        let mut bits = Bits::new(rest);
        let (profile, constraints, level) = (bits.byte()?, bits.byte()?, bits.byte()?);
        bits.unsigned_up_to(31)?;
        let chroma = if HAS_CHROMA_FORMAT.contains(&profile) { chroma_format(&mut bits)? } else { 1 };
        bits.unsigned_up_to(12)?;
        match bits.unsigned_up_to(2)? {
            0 => {
                bits.unsigned_up_to(12)?;
            }
            1 => {
                bits.bit()?;
                bits.unsigned()?;
                bits.unsigned()?;
                for _ in 0..bits.unsigned_up_to(255)? {
                    bits.unsigned()?;
                }
            }
            _ => {}
        }
        bits.unsigned_up_to(16)?;
        bits.bit()?;
        let columns = bits.unsigned()?.checked_add(1)?;
        let rows = bits.unsigned()?.checked_add(1)?;
        let frames_only = bits.bit()?;
        if !frames_only {
            bits.bit()?;
        }
        bits.bit()?;
        let fields: u32 = if frames_only { 1 } else { 2 };
        let coded_width = columns.checked_mul(16)?;
        let coded_height = rows.checked_mul(16)?.checked_mul(fields)?;
        let (mut cropped_width, mut cropped_height) = (0, 0);
        if bits.bit()? {
            let (across, down) = match chroma {
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            let mut sides = [0; 4];
            for side in &mut sides {
                *side = bits.unsigned()?;
            }
            let [left, right, top, bottom] = sides;
            cropped_width = left.checked_add(right)?.checked_mul(across)?;
            cropped_height = top.checked_add(bottom)?.checked_mul(down)?.checked_mul(fields)?;
        }
        let width = coded_width.checked_sub(cropped_width).filter(|&side| side > 0)?;
        let height = coded_height.checked_sub(cropped_height).filter(|&side| side > 0)?;
        Some(Self { profile, constraints, level, coded_width, coded_height, width, height })
    }
}

/// Profiles whose parameter sets say how chroma is sampled.
const HAS_CHROMA_FORMAT: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

fn chroma_format(bits: &mut Bits<'_>) -> Option<u32> {
    let format = bits.unsigned_up_to(3)?;
    let separate_planes = format == 3 && bits.bit()?;
    bits.unsigned_up_to(6)?;
    bits.unsigned_up_to(6)?;
    bits.bit()?;
    if bits.bit()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.bit()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(if separate_planes { 0 } else { format })
}

/// §7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits<'_>, length: u32) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..length {
        if next != 0 {
            next = (last + bits.signed_within(-128, 127)?) & 0xFF;
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Reads the bits of a NAL unit, past the bytes that only keep start codes from appearing (§7.4.1).
struct Bits<'a> {
    bytes: &'a [u8],
    zeros: usize,
    current: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, zeros: 0, current: 0, left: 0 }
    }

    fn bit(&mut self) -> Option<bool> {
        if self.left == 0 {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            let (byte, rest) = if self.zeros >= 2 && byte == 3 {
                self.zeros = 0;
                let (&byte, rest) = rest.split_first()?;
                (byte, rest)
            } else {
                (byte, rest)
            };
            self.bytes = rest;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
            (self.current, self.left) = (byte, 8);
        }
        self.left -= 1;
        Some(self.current >> self.left & 1 == 1)
    }

    fn bits(&mut self, n: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..n {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    fn byte(&mut self) -> Option<u8> {
        u8::try_from(self.bits(8)?).ok()
    }

    /// `ue(v)`, §9.1: up to 32 bits after as many zeros.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u64 << zeros) - 1) as u32 + self.bits(zeros)?)
    }

    fn unsigned_up_to(&mut self, most: u32) -> Option<u32> {
        self.unsigned().filter(|&value| value <= most)
    }

    /// `se(v)`, §9.1.1.
    fn signed_within(&mut self, least: i32, most: i32) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let value = if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) };
        i32::try_from(value).ok().filter(|value| (least..=most).contains(value))
    }
}

/// The NAL units of an Annex B byte stream, found as a decoder finds them: whatever lies between start codes, without the zeros
/// at its end, which are none of it (annex B.1).
pub fn annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let unit = rest?;
        rest = after_start_code(unit);
        let end = rest.map_or(unit.len(), |next| unit.len() - next.len() - START_CODE.len());
        let unit = unit.get(..end).unwrap_or(&[]);
        let zeros = unit.iter().rev().take_while(|&&byte| byte == 0).count();
        unit.get(..end - zeros)
    })
}

const START_CODE: [u8; 3] = [0, 0, 1];

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    while let Some(three) = bytes.get(at..at + START_CODE.len()) {
        match three {
            [0, 0, 1] => return bytes.get(at + START_CODE.len()..),
            // No start code can begin at any of these three.
            [_, _, last] if *last > 1 => at += 3,
            _ => at += 1,
        }
    }
    None
}

/// What the first bytes of a VP8 frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vp8Header {
    /// Leans on earlier frames.
    Inter,
    /// Stands alone, and says how large the pictures are from here on, in pixels.
    Key {
        /// At most 16,383.
        width: u32,
        /// At most 16,383.
        height: u32,
    },
}

impl Vp8Header {
    /// Reads the beginning of a frame; `None` when it is cut short or is none.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let [tag, _, _, rest @ ..] = frame else { return None };
        if tag & 1 == 1 {
            return Some(Self::Inter);
        }
        let [0x9D, 0x01, 0x2A, width_low, width_high, height_low, height_high, ..] = rest else { return None };
        let side = |low: &u8, high: &u8| u32::from(u16::from_le_bytes([*low, *high]) & 0x3FFF);
        let (width, height) = (side(width_low, width_high), side(height_low, height_high));
        (width > 0 && height > 0).then_some(Self::Key { width, height })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes what `Bits` reads, for parameter sets that no encoder at hand makes.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn bits(mut self, n: u32, value: u32) -> Self {
            self.0.extend((0..n).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn ue(self, value: u32) -> Self {
            let value = u64::from(value) + 1;
            let length = value.ilog2();
            let this = self.bits(length, 0).bits(1, 1);
            this.bits(length, (value - (1 << length)) as u32)
        }

        fn nal(self) -> Vec<u8> {
            let mut nal = vec![0x67];
            let mut zeros = 0;
            for eight in self.bits(1, 1).0.chunks(8) {
                let byte = (0..8).fold(0, |byte, bit| byte << 1 | u8::from(eight.get(bit).copied().unwrap_or(false)));
                if zeros >= 2 && byte <= 3 {
                    nal.push(3);
                    zeros = 0;
                }
                nal.push(byte);
                zeros = if byte == 0 { zeros + 1 } else { 0 };
            }
            nal
        }
    }

    fn baseline(columns: u32, rows: u32) -> Writer {
        let header = Writer::default().bits(8, 66).bits(8, 0xC0).bits(8, 31);
        header.ue(0).ue(0).ue(2).ue(1).bits(1, 0).ue(columns - 1).ue(rows - 1).bits(1, 1).bits(1, 1)
    }

    #[test]
    fn size_profile_and_level_are_read() {
        let nal = baseline(120, 68).bits(1, 1).ue(0).ue(0).ue(0).ue(4).bits(1, 0).nal();
        let expected = Sps {
            profile: 66,
            constraints: 0xC0,
            level: 31,
            coded_width: 1920,
            coded_height: 1088,
            width: 1920,
            height: 1080,
        };
        assert_eq!(Sps::read(&nal), Some(expected));
        // Emulation prevention: a parameter set whose bits have long rows of zeros.
        let nal = baseline(65_536, 65_536).bits(1, 0).bits(1, 0).nal();
        assert!(nal.windows(3).any(|w| w == [0, 0, 3]));
        assert_eq!(Sps::read(&nal).map(|sps| (sps.width, sps.height)), Some((1 << 20, 1 << 20)));
    }

    #[test]
    fn high_profile_with_scaling_lists_and_fields_is_read() {
        let mut bits =
            Writer::default().bits(8, 100).bits(8, 0).bits(8, 40).ue(0).ue(1).ue(0).ue(0).bits(1, 0).bits(1, 1);
        // One list that ends at once (delta -8), seven that are not there.
        bits = bits.bits(1, 1).ue(16).bits(7, 0);
        // Order count type 1 with two offsets.
        bits = bits.ue(4).ue(1).bits(1, 0).ue(0).ue(0).ue(2).ue(5).ue(6).ue(4).bits(1, 0);
        let nal =
            bits.ue(119).ue(33).bits(1, 0).bits(1, 0).bits(1, 1).bits(1, 1).ue(0).ue(0).ue(0).ue(2).bits(1, 0).nal();
        let sps = Sps::read(&nal).unwrap();
        assert_eq!((sps.coded_width, sps.coded_height, sps.width, sps.height), (1920, 1088, 1920, 1080));
    }

    #[test]
    fn parameter_set_cut_short_or_absurd_is_none() {
        let nal = baseline(120, 68).bits(1, 0).bits(1, 0).nal();
        for end in 0..nal.len() - 1 {
            assert_eq!(Sps::read(&nal[..end]), None, "{end} bytes");
        }
        assert_eq!(Sps::read(&baseline(u32::MAX, 1).bits(1, 0).bits(1, 0).nal()), None);
        let cropped_away = baseline(1, 1).bits(1, 1).ue(4).ue(4).ue(0).ue(0).bits(1, 0).nal();
        assert_eq!(Sps::read(&cropped_away), None);
        assert_eq!(Sps::read(&[0x68, 0xCE]), None);
    }

    #[test]
    fn units_lie_between_start_codes_of_either_length() {
        let stream = [9, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 1, 0, 0, 1, 5];
        let units: Vec<&[u8]> = annex_b(&stream).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[], &[5]]);
        assert_eq!(annex_b(&[0, 0]).count() + annex_b(&[]).count() + annex_b(&[7; 9]).count(), 0);
    }

    #[test]
    fn vp8_header_says_size_of_keyframes_only() {
        let key = [0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x00, 0x05, 0xD0, 0x42];
        assert_eq!(Vp8Header::read(&key), Some(Vp8Header::Key { width: 1280, height: 720 }));
        assert_eq!(Vp8Header::read(&[0x11, 0, 0]), Some(Vp8Header::Inter));
        for end in 0..key.len() {
            assert_eq!(Vp8Header::read(&key[..end]), None);
        }
        assert_eq!(Vp8Header::read(&[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0, 0, 1, 0]), None);
    }

    proptest! {
        #[test]
        fn anything_can_be_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), high in any::<bool>()) {
            let _ = Sps::read(&bytes);
            let _ = Vp8Header::read(&bytes);
            bytes.splice(..0, [0x67, if high { 100 } else { 66 }]);
            let _ = Sps::read(&bytes);
            let whole: usize = annex_b(&bytes).map(<[u8]>::len).sum();
            prop_assert!(whole <= bytes.len());
        }
    }
}
