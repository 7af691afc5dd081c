//! Something translucent that is drawn again and again at one place, such as a name strip: put together once, so that
//! drawing is one multiplication for each sample. Pure.

use super::mask::Mask;
use super::paint::Colour;
use crate::video::layout::Rect;
use crate::video::picture::Picture;

/// One plane: `sample = add + sample × keep / 255`.
#[derive(Clone, Debug, Default)]
struct Plane {
    width: usize,
    keep: Vec<u8>,
    add: Vec<u8>,
}

impl Plane {
    fn draw(&self, to: &mut [u8], stride: usize, x: usize, y: usize) {
        let width = self.width.max(1);
        let rows = self.keep.chunks_exact(width).zip(self.add.chunks_exact(width));
        for (n, (keep, add)) in rows.enumerate() {
            let at = (y + n) * stride + x;
            let Some(row) = to.get_mut(at..at + width) else { return };
            for ((sample, keep), add) in row.iter_mut().zip(keep).zip(add) {
                let scaled = u16::from(*sample) * u16::from(*keep) + 128;
                *sample = add.saturating_add(((scaled + (scaled >> 8)) >> 8) as u8);
            }
        }
    }
}

/// Ready to be drawn. Both sides are even.
#[derive(Clone, Debug, Default)]
pub struct Decal {
    height: usize,
    planes: [Plane; 3],
}

impl Decal {
    /// In pixels.
    pub fn width(&self) -> usize {
        let [y, ..] = &self.planes;
        y.width
    }

    /// In pixels.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Draws it with its upper left corner there, both even; nothing when it would not be within the picture.
    pub fn draw(&self, picture: &mut Picture, x: usize, y: usize) {
        let rect = Rect { x, y, width: self.width(), height: self.height };
        if rect.is_empty() || !rect.is_even() || !rect.is_within(picture.width(), picture.height()) {
            return;
        }
        let (planes, [stride_y, stride_uv]) = picture.planes_mut();
        let places = [(stride_y, x, y), (stride_uv, x / 2, y / 2), (stride_uv, x / 2, y / 2)];
        for ((plane, to), (stride, x, y)) in self.planes.iter().zip(planes).zip(places) {
            plane.draw(to, stride, x, y);
        }
    }
}

/// A decal in the making: layers over each other, from the lowest to the uppermost.
#[derive(Clone, Debug)]
pub struct Sketch {
    width: usize,
    height: usize,
    /// How much is hidden of what is below, 0 to 1, and Y, U, V multiplied by it.
    pixels: Vec<[f32; 4]>,
}

impl Sketch {
    /// With nothing on it. Sides are rounded up to even ones.
    pub fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        Self { width, height, pixels: vec![[0.0; 4]; width * height] }
    }

    /// One more layer; what reaches past the edges is cut. `opacity` is 0 to 1.
    pub fn layer(mut self, mask: &Mask, x: usize, y: usize, colour: Colour, opacity: f32) -> Self {
        let [luma, u, v] = colour.map(f32::from);
        for (row, to) in mask.rows().zip(self.pixels.chunks_exact_mut(self.width.max(1)).skip(y)) {
            for (covered, pixel) in row.iter().zip(to.iter_mut().skip(x)) {
                let alpha = f32::from(*covered) / 255.0 * opacity;
                for (level, over) in pixel.iter_mut().zip([1.0, luma, u, v]) {
                    *level = over * alpha + *level * (1.0 - alpha);
                }
            }
        }
        self
    }

    /// Chroma is the mean of its four pixels.
    pub fn finish(self) -> Decal {
        let plane = |width: usize| Plane { width, keep: Vec::new(), add: Vec::new() };
        let mut planes = [plane(self.width), plane(self.width / 2), plane(self.width / 2)];
        let [y, u, v] = &mut planes;
        let put = |plane: &mut Plane, alpha: f32, level: f32| {
            plane.keep.push(255 - (alpha * 255.0).round() as u8);
            plane.add.push(level.round() as u8);
        };
        for [alpha, luma, ..] in &self.pixels {
            put(y, *alpha, *luma);
        }
        for rows in self.pixels.chunks_exact((self.width * 2).max(1)) {
            let (upper, lower) = rows.split_at(self.width);
            for (upper, lower) in upper.chunks_exact(2).zip(lower.chunks_exact(2)) {
                let mean = |n: usize| upper.iter().chain(lower).filter_map(|pixel| pixel.get(n)).sum::<f32>() / 4.0;
                put(u, mean(0), mean(2));
                put(v, mean(0), mean(3));
            }
        }
        Decal { height: self.height, planes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: Colour = [100, 110, 120];
    const LIGHT: Colour = [200, 140, 90];

    fn full(width: usize, height: usize) -> Mask {
        Mask::shape(width, height, |_, _| -1.0)
    }

    #[test]
    fn opaque_layer_replaces_and_a_translucent_one_mixes() {
        for (opacity, expected) in [(1.0, LIGHT), (0.0, GREY), (0.5, [150, 125, 105])] {
            let mut picture = Picture::filled(8, 8, GREY);
            Sketch::new(4, 4).layer(&full(4, 4), 0, 0, LIGHT, opacity).finish().draw(&mut picture, 2, 2);
            let view = picture.view();
            let close = |a: u8, b: u8| a.abs_diff(b) <= 1;
            assert!(close(view.y[2 * 8 + 2], expected[0]) && close(view.y[5 * 8 + 5], expected[0]), "{opacity}");
            assert!(close(view.u[5], expected[1]) && close(view.v[10], expected[2]), "{opacity}");
            assert_eq!((view.y[8 + 2], view.y[2 * 8 + 6], view.u[0], view.v[15]), (100, 100, 110, 120));
        }
    }

    #[test]
    fn layers_are_cut_at_the_edges_and_sides_are_even() {
        let decal = Sketch::new(3, 5).layer(&full(9, 9), 2, 4, LIGHT, 1.0).finish();
        assert_eq!((decal.width(), decal.height()), (4, 6));
        let mut picture = Picture::filled(4, 6, GREY);
        decal.draw(&mut picture, 0, 0);
        assert_eq!(picture.view().y.iter().filter(|y| **y == 200).count(), 4);
    }

    #[test]
    fn decal_that_is_not_within_the_picture_is_not_drawn() {
        let decal = Sketch::new(4, 4).layer(&full(4, 4), 0, 0, LIGHT, 1.0).finish();
        let mut picture = Picture::filled(8, 8, GREY);
        for (x, y) in [(6, 0), (0, 6), (1, 0), (0, 3), (usize::MAX - 1, 0)] {
            decal.draw(&mut picture, x, y);
        }
        Decal::default().draw(&mut picture, 0, 0);
        assert_eq!(picture, Picture::filled(8, 8, GREY));
    }
}
