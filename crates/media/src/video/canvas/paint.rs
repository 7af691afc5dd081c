//! Plain painting in even rectangles of a picture: fill, frame, and keeping what is below for later. Pure.

use crate::video::layout::Rect;
use crate::video::picture::Picture;

/// Y, U, V in limited range.
pub type Colour = [u8; 3];

/// From red, green and blue (BT.601).
pub const fn rgb(red: u8, green: u8, blue: u8) -> Colour {
    let (r, g, b) = (red as i32, green as i32, blue as i32);
    let y = 16 + ((66 * r + 129 * g + 25 * b + 128) >> 8);
    let u = 128 + ((-38 * r - 74 * g + 112 * b + 128) >> 8);
    let v = 128 + ((112 * r - 94 * g - 18 * b + 128) >> 8);
    [y as u8, u as u8, v as u8]
}

/// Each row of a rectangle in each plane, upper rows first; none when it is not even or not within the picture.
fn each_row(picture: &mut Picture, rect: Rect, mut act: impl FnMut(usize, &mut [u8])) {
    if !rect.is_even() || !rect.is_within(picture.width(), picture.height()) || rect.is_empty() {
        return;
    }
    let (planes, [stride_y, stride_uv]) = picture.planes_mut();
    for (n, plane) in planes.into_iter().enumerate() {
        let (part, stride) = if n == 0 { (1, stride_y) } else { (2, stride_uv) };
        for row in rect.y / part..(rect.y + rect.height) / part {
            let at = row * stride + rect.x / part;
            if let Some(samples) = plane.get_mut(at..at + rect.width / part) {
                act(n, samples);
            }
        }
    }
}

/// One colour. Like all here, it paints nothing when the rectangle is not even or not within the picture.
pub fn fill(picture: &mut Picture, rect: Rect, colour: Colour) {
    each_row(picture, rect, |plane, row| row.fill(colour.get(plane).copied().unwrap_or_default()));
}

/// The four bands along the edges of a rectangle, inside it; `thickness` is even.
pub fn bands(rect: Rect, thickness: usize) -> [Rect; 4] {
    let thickness = thickness.min(rect.height / 4 * 2).min(rect.width / 4 * 2);
    let between = rect.height - 2 * thickness;
    [
        Rect { height: thickness, ..rect },
        Rect { y: rect.y + rect.height - thickness, height: thickness, ..rect },
        Rect { y: rect.y + thickness, width: thickness, height: between, ..rect },
        Rect { x: rect.x + rect.width - thickness, y: rect.y + thickness, width: thickness, height: between },
    ]
}

/// What was below a few rectangles before something was drawn over them.
#[derive(Clone, Debug, Default)]
pub struct Below {
    rects: Vec<Rect>,
    samples: Vec<u8>,
}

impl Below {
    /// Forgets what was kept; the memory stays.
    pub fn clear(&mut self) {
        self.rects.clear();
        self.samples.clear();
    }

    /// Keeps one more rectangle.
    pub fn keep(&mut self, picture: &mut Picture, rect: Rect) {
        each_row(picture, rect, |_, row| self.samples.extend_from_slice(row));
        self.rects.push(rect);
    }

    /// Puts everything back and forgets it.
    pub fn restore(&mut self, picture: &mut Picture) {
        let mut rest = self.samples.as_slice();
        for rect in &self.rects {
            each_row(picture, *rect, |_, row| {
                if let Some((kept, after)) = rest.split_at_checked(row.len()) {
                    row.copy_from_slice(kept);
                    rest = after;
                }
            });
        }
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::picture::BLACK;

    #[test]
    fn colours_are_of_limited_range() {
        for (colour, expected) in [
            (rgb(0, 0, 0), BLACK),
            (rgb(255, 255, 255), [235, 128, 128]),
            (rgb(255, 0, 0), [82, 90, 240]),
            (rgb(0, 0, 255), [41, 240, 110]),
        ] {
            assert_eq!(colour, expected);
        }
    }

    #[test]
    fn what_was_below_comes_back_also_where_rectangles_overlap() {
        let mut picture = Picture::filled(32, 24, BLACK);
        let ([y, u, v], _) = picture.planes_mut();
        for plane in [y, u, v] {
            plane.iter_mut().enumerate().for_each(|(i, p)| *p = (i * 13 % 211) as u8);
        }
        let before = picture.clone();
        let rects = [(2, 2, 10, 8), (8, 6, 20, 10), (0, 0, 64, 2), (1, 0, 2, 2), (4, 4, 0, 2)]
            .map(|(x, y, width, height)| Rect { x, y, width, height });
        let mut below = Below::default();
        for rect in rects {
            below.keep(&mut picture, rect);
        }
        rects.iter().for_each(|rect| fill(&mut picture, *rect, [200, 20, 30]));
        assert_ne!(picture, before);
        below.restore(&mut picture);
        assert_eq!(picture, before);
        below.restore(&mut picture);
        assert_eq!(picture, before);
    }

    #[test]
    fn bands_are_the_edge_and_nothing_else() {
        for (rect, thickness) in [((4, 2, 20, 12), 4), ((0, 0, 6, 4), 4), ((0, 0, 2, 2), 2), ((2, 2, 40, 2), 4)] {
            let rect = Rect { x: rect.0, y: rect.1, width: rect.2, height: rect.3 };
            for band in bands(rect, thickness) {
                assert!(band.is_even() && band.width <= rect.width && band.height <= rect.height, "{rect:?}: {band:?}");
            }
        }
        let rect = Rect { x: 4, y: 2, width: 20, height: 12 };
        let area: usize = bands(rect, 4).iter().map(|b| b.width * b.height).sum();
        assert_eq!(area, 20 * 12 - 12 * 4);
    }
}
