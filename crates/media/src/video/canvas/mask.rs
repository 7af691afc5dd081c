//! Coverage of pixels by letters and shapes: what is drawn, without its colour. Pure.

use std::f32::consts::FRAC_1_SQRT_2;

/// How much of each pixel is covered, row by row: 0 nothing, 255 all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    coverage: Vec<u8>,
}

impl Mask {
    /// Nothing is covered.
    pub fn clear(width: usize, height: usize) -> Self {
        Self { width, height, coverage: vec![0; width * height] }
    }

    /// What lies inside a shape. It is asked for how far outside of its edge a point is, in pixels, negative within: over one
    /// pixel around the edge, coverage fades.
    pub fn shape(width: usize, height: usize, outside: impl Fn(f32, f32) -> f32) -> Self {
        let mut mask = Self::clear(width, height);
        for (y, row) in mask.coverage.chunks_exact_mut(width.max(1)).enumerate() {
            for (x, covered) in row.iter_mut().enumerate() {
                let distance = outside(x as f32 + 0.5, y as f32 + 0.5);
                *covered = ((0.5 - distance).clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        }
        mask
    }

    /// A shape in a square that is described with a side of 16.
    fn icon(side: usize, outside: impl Fn(f32, f32) -> f32) -> Self {
        let unit = side as f32 / 16.0;
        Self::shape(side, side, |x, y| outside(x / unit, y / unit) * unit)
    }

    /// A rectangle with round corners that fills the mask.
    pub fn rounded(width: usize, height: usize, radius_px: f32) -> Self {
        let (width_px, height_px) = (width as f32, height as f32);
        Self::shape(width, height, |x, y| outside_rounded([x, y], [0.0, 0.0, width_px, height_px], radius_px))
    }

    /// A disc that fills a square mask.
    pub fn disc(side: usize) -> Self {
        Self::rounded(side, side, side as f32 / 2.0)
    }

    /// A microphone in a square: capsule, holder, stand.
    pub fn microphone(side: usize) -> Self {
        Self::icon(side, |x, y| {
            let capsule = outside_rounded([x, y], [5.4, 0.8, 10.6, 10.2], 2.6);
            let (dx, dy) = (x - 8.0, y - 7.4);
            let holder = ((dx.hypot(dy) - 4.8).abs() - 0.7).max(-dy);
            let stand = outside_rounded([x, y], [7.3, 12.4, 8.7, 14.8], 0.0);
            let foot = outside_rounded([x, y], [5.0, 13.9, 11.0, 15.3], 0.7);
            capsule.min(holder).min(stand).min(foot)
        })
    }

    /// A stroke from the upper left to the lower right of a square; `half_width` in sixteenths of the side.
    pub fn stroke(side: usize, half_width: f32) -> Self {
        Self::icon(side, |x, y| {
            let across = (x - y).abs() * FRAC_1_SQRT_2;
            let along = (x + y - 16.0).abs() * FRAC_1_SQRT_2;
            across.hypot((along - 9.0).max(0.0)) - half_width
        })
    }

    /// Head and shoulders in a disc: somebody without a name that could be written.
    pub fn person(side: usize) -> Self {
        Self::icon(side, |x, y| {
            let x = x - 8.0;
            let head = x.hypot(y - 6.0) - 2.8;
            let shoulders = (x / 5.2).hypot((y - 14.8) / 4.8).mul_add(5.0, -5.0);
            head.min(shoulders).max(x.hypot(y - 8.0) - 7.2)
        })
    }

    /// In pixels.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// There is no pixel.
    pub const fn is_empty(&self) -> bool {
        self.coverage.is_empty()
    }

    /// Each row, from the upper one.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.coverage.chunks_exact(self.width.max(1))
    }

    /// Covers more of a pixel; outside, nothing happens.
    pub fn cover(&mut self, x: usize, y: usize, by: u8) {
        if x < self.width
            && let Some(covered) = self.coverage.get_mut(y * self.width + x)
        {
            *covered = covered.saturating_add(by);
        }
    }
}

/// How far a point is outside of `[left, upper, right, lower]` with corners of a radius, which is cut to half the shorter
/// side.
fn outside_rounded([x, y]: [f32; 2], [left, upper, right, lower]: [f32; 4], radius: f32) -> f32 {
    let radius = radius.min((right - left) / 2.0).min((lower - upper) / 2.0);
    let dx = (left + radius - x).max(x - (right - radius));
    let dy = (upper + radius - y).max(y - (lower - radius));
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disc_covers_what_a_disc_covers() {
        let disc = Mask::disc(64);
        let covered: usize = disc.rows().flatten().map(|c| usize::from(*c)).sum();
        let expected = std::f64::consts::PI * 32.0 * 32.0 * 255.0;
        assert!((covered as f64 / expected - 1.0).abs() < 0.01);
        assert_eq!(disc.rows().next().map(|row| row[0]), Some(0));
        assert_eq!(disc.rows().nth(32).map(|row| row[32]), Some(255));
    }

    #[test]
    fn any_size_of_any_shape_is_drawn() {
        for side in [0, 1, 2, 3, 10, 31] {
            for mask in [Mask::microphone(side), Mask::stroke(side, 1.0), Mask::person(side), Mask::disc(side)] {
                assert_eq!((mask.width(), mask.height(), mask.rows().count()), (side, side, side));
            }
        }
        assert!(Mask::rounded(40, 0, 3.0).is_empty());
    }

    #[test]
    fn coverage_outside_is_ignored_and_saturates_inside() {
        let mut mask = Mask::clear(2, 2);
        mask.cover(2, 0, 200);
        mask.cover(0, 2, 200);
        mask.cover(1, 1, 200);
        mask.cover(1, 1, 200);
        assert_eq!(mask.rows().flatten().copied().collect::<Vec<_>>(), [0, 0, 0, 255]);
    }
}
