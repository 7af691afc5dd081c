//! A room's picture as a JPEG, for its preview. Runs on the composer's thread; pure.

use jpeg_encoder::{ChromaSubsamplingMethod, Encoder, ImageBuffer, JpegColorType, SamplingFactor};

use super::picture::PictureView;
use crate::error::Error;

/// JFIF has the full range in all three planes; pictures here have the limited one (BT.601).
const LUMA: [u8; 256] = stretched(16, 219);
const CHROMA: [u8; 256] = stretched(128, 224);

/// `zero` stays (black at 0, or grey in the middle), and `range` steps become 255.
const fn stretched(zero: i32, range: i32) -> [u8; 256] {
    let target = if zero == 128 { 128 } else { 0 };
    let mut table = [0; 256];
    let mut level = 0;
    while level < 256 {
        let doubled = (level - zero) * 255 * 2;
        let rounded = (doubled + if doubled < 0 { -range } else { range }) / (2 * range);
        let stretched = target + rounded;
        table[level as usize] = if stretched < 0 {
            0
        } else if stretched > 255 {
            255
        } else {
            stretched as u8
        };
        level += 1;
    }
    table
}

struct Rows<'a> {
    picture: PictureView<'a>,
    width: u16,
    height: u16,
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (row, width) = (usize::from(y), usize::from(self.width));
        let [luma, cb, cr, _] = buffers;
        let from = |plane: &'_ [u8], at: usize, len: usize, table: &[u8; 256], each: usize, to: &mut Vec<u8>| {
            let row = plane.get(at..at + len).unwrap_or_default();
            // One sample of chroma stands for two pixels; the encoder averages them back to the same.
            let full = row.iter().map(|level| table.get(usize::from(*level)).copied().unwrap_or_default());
            match each {
                1 => to.extend(full),
                _ => to.extend(full.flat_map(|level| [level, level]).take(width)),
            }
        };
        let (at, at_uv) = (row * self.picture.stride_y, row / 2 * self.picture.stride_uv);
        from(self.picture.y, at, width, &LUMA, 1, luma);
        from(self.picture.u, at_uv, width.div_ceil(2), &CHROMA, 2, cb);
        from(self.picture.v, at_uv, width.div_ceil(2), &CHROMA, 2, cr);
    }
}

/// A baseline JPEG with 4:2:0 chroma. `quality` is 1 to 100, as in libjpeg.
///
/// # Errors
/// `Broken` when the picture is not sound or has a side past 65,535 pixels.
pub fn encode(picture: PictureView<'_>, quality: u8) -> Result<Vec<u8>, Error> {
    let sides = (u16::try_from(picture.width), u16::try_from(picture.height));
    let (Ok(width), Ok(height), true) = (sides.0, sides.1, picture.is_sound()) else {
        return Err(Error::Broken(format!("no JPEG of a picture of {}x{}", picture.width, picture.height)));
    };
    let mut bytes = Vec::with_capacity(picture.width * picture.height / 8);
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder
        .encode_image(Rows { picture, width, height })
        .map_err(|e| Error::Broken(format!("the preview could not be encoded: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::picture::{BLACK, Picture};

    #[test]
    fn limited_range_becomes_full() {
        for (level, luma, chroma) in
            [(0, 0, 0), (16, 0, 0), (126, 128, 126), (128, 130, 128), (130, 133, 130), (235, 255, 250), (240, 255, 255)]
        {
            assert_eq!((LUMA[level], CHROMA[level]), (luma, chroma), "{level}");
        }
    }

    #[test]
    fn any_sides_are_encoded_between_the_markers() {
        for (width, height) in [(1, 1), (3, 5), (16, 16), (143, 77), (1280, 720)] {
            let bytes = encode(Picture::filled(width, height, BLACK).view(), 75).unwrap();
            assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]), "{width}x{height}");
            // SOF0: precision, then height and width (ITU-T T.81 §B.2.2).
            let at = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
            let sides = [bytes[at + 5], bytes[at + 6], bytes[at + 7], bytes[at + 8]];
            assert_eq!(sides, [(height >> 8) as u8, height as u8, (width >> 8) as u8, width as u8]);
        }
    }

    #[test]
    fn better_quality_costs_bytes() {
        let mut noise = Picture::filled(64, 64, BLACK);
        let ([y, ..], _) = noise.planes_mut();
        y.iter_mut().enumerate().for_each(|(i, p)| *p = (i * i % 239) as u8);
        let size = |quality| encode(noise.view(), quality).unwrap().len();
        assert!(size(1) < size(50) && size(50) < size(100) && size(0) == size(1) && size(255) == size(100));
    }

    #[test]
    fn picture_that_its_planes_do_not_hold_is_refused() {
        let picture = Picture::filled(16, 16, BLACK);
        assert!(encode(PictureView { height: 17, ..picture.view() }, 75).is_err());
        assert!(encode(PictureView { u: &[], ..picture.view() }, 75).is_err());
        assert!(encode(PictureView { width: 70_000, ..picture.view() }, 75).is_err());
    }
}
