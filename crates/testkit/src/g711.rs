//! G.711 (ITU-T G.711) by its definition, segment by segment and without tables, so that it shares nothing with the
//! codec under test. Pure arithmetic.

/// One sample to µ-law.
pub fn ulaw_encode(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    // The segment is the position of the highest set bit above bit 7.
    let segment = (31 - magnitude.leading_zeros() as i32 - 7).clamp(0, 7);
    let mantissa = (magnitude >> (segment + 3)) & 0x0f;
    !((sign | (segment << 4) | mantissa) as u8)
}

/// One µ-law byte to a sample.
pub fn ulaw_decode(byte: u8) -> i16 {
    let byte = !byte;
    let segment = i32::from(byte >> 4 & 7);
    let magnitude = (((i32::from(byte & 0x0f) << 3) + 0x84) << segment) - 0x84;
    (if byte & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

/// One sample to A-law.
pub fn alaw_encode(sample: i16) -> u8 {
    // A-law works on 13 bits; negative values are one's complement.
    let (sign, magnitude) = if sample < 0 { (0, !(i32::from(sample) >> 3)) } else { (0x80, i32::from(sample) >> 3) };
    let (segment, mantissa) = if magnitude < 32 {
        (0, magnitude >> 1)
    } else {
        let segment = 31 - magnitude.leading_zeros() as i32 - 4;
        (segment, (magnitude >> segment) & 0x0f)
    };
    ((sign | (segment << 4) | (mantissa & 0x0f)) as u8) ^ 0x55
}

/// One A-law byte to a sample.
pub fn alaw_decode(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let segment = i32::from(byte >> 4 & 7);
    let mantissa = i32::from(byte & 0x0f) << 4;
    let magnitude = if segment == 0 { mantissa + 8 } else { (mantissa + 0x108) << (segment - 1) };
    (if byte & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bytes_of_the_standard() {
        assert_eq!(ulaw_encode(0), 0xff);
        assert_eq!(ulaw_decode(0xff), 0);
        assert_eq!(ulaw_decode(0x00), -32_124);
        assert_eq!(ulaw_decode(0x80), 32_124);
        assert_eq!(alaw_encode(0), 0xd5);
        assert_eq!(alaw_decode(0xd5), 8);
        assert_eq!(alaw_decode(0x2a), -32_256);
        assert_eq!(alaw_decode(0xaa), 32_256);
    }

    #[test]
    fn every_byte_survives_a_round_trip() {
        for byte in 0..=255u8 {
            assert_eq!(alaw_encode(alaw_decode(byte)), byte, "A-law {byte:#x}");
            // µ-law has two zeros; the negative one comes back as the positive.
            let expected = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(ulaw_encode(ulaw_decode(byte)), expected, "µ-law {byte:#x}");
        }
    }

    #[test]
    fn error_stays_under_half_a_step() {
        for sample in (-32_000..32_000).step_by(7) {
            for decoded in [ulaw_decode(ulaw_encode(sample)), alaw_decode(alaw_encode(sample))] {
                let error = (i32::from(decoded) - i32::from(sample)).abs();
                assert!(error <= 16 + i32::from(sample).abs() / 30, "{sample} became {decoded}");
            }
        }
    }
}
