//! The first two fields of a slice header (ITU-T H.264 §7.3.3), and the Exp-Golomb codes that they are written in
//! (§9.1). Pure functions on the worker's thread.

/// Leading zeros of a code at the most: enough for the 14,400 macroblocks of 1920 × 1920 pixels. Both codes together then
/// cannot hold two bytes of zeros, so that no emulation prevention has to be undone (§7.4.1).
const MAX_ZEROS: u32 = 13;

/// What a slice says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SliceHeader {
    /// The first macroblock; 0 begins a picture.
    pub(super) first_mb: u32,
    /// An I slice: it depends on no other picture.
    pub(super) is_intra: bool,
}

impl SliceHeader {
    /// Of a NAL unit of type 1 or 5, with its header byte. `None` when it is cut short or out of bounds.
    pub(super) fn parse(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits { bytes: unit.get(1..)?, at: 0 };
        let first_mb = bits.ue()?;
        let is_intra = match bits.ue()? {
            2 | 7 => true,
            0..=9 => false,
            _ => return None,
        };
        Some(Self { first_mb, is_intra })
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    /// ue(v).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > MAX_ZEROS {
                return None;
            }
        }
        let mut code = 1;
        for _ in 0..zeros {
            code = code << 1 | self.bit()?;
        }
        Some(code - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_as_the_standard_has_them() {
        // Table 9-2: 1, 010, 011, 00100, 00101, then 000010000.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0100, 0b0000_0000];
        let mut bits = Bits { bytes: &bytes, at: 0 };
        for expected in 0..5 {
            assert_eq!(bits.ue(), Some(expected));
        }
        assert_eq!(bits.ue(), Some(15));
        assert_eq!(bits.ue(), None);
    }

    #[test]
    fn slice_types_beyond_the_table_and_endless_zeros_are_refused() {
        let of = |bytes: &[u8]| SliceHeader::parse(bytes);
        // first_mb 0, then slice types 7 (0001000), 5 (00110), 2 (011), 10 (0001011).
        assert_eq!(of(&[0x65, 0b1000_1000]), Some(SliceHeader { first_mb: 0, is_intra: true }));
        assert_eq!(of(&[0x41, 0b1001_1000]), Some(SliceHeader { first_mb: 0, is_intra: false }));
        assert_eq!(of(&[0x41, 0b1011_0000]), Some(SliceHeader { first_mb: 0, is_intra: true }));
        assert_eq!(of(&[0x41, 0b1000_1011]), None);
        for short in [&[][..], &[0x41], &[0x41, 0], &[0x41, 0, 0, 0xff, 0xff, 0xff], &[0x41, 0x80]] {
            assert_eq!(of(short), None, "{short:?}");
        }
    }
}
