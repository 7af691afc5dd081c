//! Pictures in planar YUV 4:2:0 (I420, BT.601 limited range: black is 16, 128, 128): owned and borrowed. Pure values.

use crate::error::Error;

/// A borrowed picture. Chroma planes have half the sides, rounded up.
#[derive(Clone, Copy, Debug)]
pub struct PictureView<'a> {
    /// Luma, rows of `stride_y` bytes.
    pub y: &'a [u8],
    /// First chroma plane, rows of `stride_uv` bytes.
    pub u: &'a [u8],
    /// Second chroma plane, rows of `stride_uv` bytes.
    pub v: &'a [u8],
    /// Bytes from one row of luma to the next.
    pub stride_y: usize,
    /// Bytes from one row of chroma to the next.
    pub stride_uv: usize,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

impl PictureView<'_> {
    /// The planes hold what the sides and strides say; what comes from a codec's memory is checked once with this.
    pub fn is_sound(&self) -> bool {
        let holds = |plane: &[u8], stride: usize, width: usize, height: usize| {
            let last =
                height.checked_sub(1).and_then(|rows| rows.checked_mul(stride)).and_then(|n| n.checked_add(width));
            stride >= width && last.is_some_and(|bytes| bytes <= plane.len())
        };
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        self.width > 0
            && holds(self.y, self.stride_y, self.width, self.height)
            && holds(self.u, self.stride_uv, width, height)
            && holds(self.v, self.stride_uv, width, height)
    }
}

/// An owned picture without padding between rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
    width: usize,
    height: usize,
}

/// Black in limited range.
pub const BLACK: [u8; 3] = [16, 128, 128];

impl Picture {
    /// Of one colour (Y, U, V). Sides of at least one pixel.
    pub fn filled(width: usize, height: usize, [y, u, v]: [u8; 3]) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self { y: vec![y; width * height], u: vec![u; chroma], v: vec![v; chroma], width, height }
    }

    /// In pixels.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// All of it.
    pub fn view(&self) -> PictureView<'_> {
        PictureView {
            y: &self.y,
            u: &self.u,
            v: &self.v,
            stride_y: self.width,
            stride_uv: self.width.div_ceil(2),
            width: self.width,
            height: self.height,
        }
    }

    /// The planes Y, U, V to be written, with the strides of luma and chroma.
    pub fn planes_mut(&mut self) -> ([&mut [u8]; 3], [usize; 2]) {
        ([&mut self.y, &mut self.u, &mut self.v], [self.width, self.width.div_ceil(2)])
    }

    /// As a JPEG file (JFIF, full range); quality 1–100.
    ///
    /// # Errors
    /// `Broken` when there is no memory for it.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, Error> {
        super::jpeg::encode(self.view(), quality)
    }

    /// Other sides; what was drawn is lost. Reuses the memory.
    pub fn resize(&mut self, width: usize, height: usize) {
        let (width, height) = (width.max(1), height.max(1));
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        self.y.resize(width * height, 0);
        self.u.resize(chroma, 0);
        self.v.resize(chroma, 0);
        (self.width, self.height) = (width, height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sides_have_chroma_rounded_up() {
        let picture = Picture::filled(3, 5, BLACK);
        let view = picture.view();
        assert_eq!((view.y.len(), view.u.len(), view.v.len(), view.stride_uv), (15, 6, 6, 2));
        assert!(view.is_sound());
    }

    #[test]
    fn view_that_its_planes_do_not_hold_is_not_sound() {
        let mut picture = Picture::filled(16, 16, BLACK);
        assert!(!PictureView { height: 17, ..picture.view() }.is_sound());
        assert!(!PictureView { stride_y: 15, ..picture.view() }.is_sound());
        assert!(!PictureView { stride_uv: usize::MAX, ..picture.view() }.is_sound());
        assert!(!PictureView { width: 0, ..picture.view() }.is_sound());
        picture.resize(4, 2);
        assert!(picture.view().is_sound());
    }
}
