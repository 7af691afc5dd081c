//! Pictures in I420 (BT.601, limited range) and colours that survive a lossy codec: make them, find them, tell what is
//! there instead. Pure.

use std::fmt;

/// How far a colour may be from what was painted, as a distance in YUV: less than half of what is between any two.
const TOLERANCE: f64 = 40.0;
/// Standard deviation of a plane within one colour at the most: noise and ringing, not an edge.
const MAX_DEVIATION: f64 = 25.0;

/// Colours far enough apart to be told from each other after H.264 or VP8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Also what an empty place may be.
    Black,
    /// Half of white.
    Grey,
    /// As bright as can be.
    White,
    /// (255, 0, 0).
    Red,
    /// (0, 255, 0).
    Green,
    /// (0, 0, 255).
    Blue,
    /// (255, 255, 0).
    Yellow,
    /// (0, 255, 255).
    Cyan,
    /// (255, 0, 255).
    Magenta,
    /// (255, 128, 0).
    Orange,
}

impl Colour {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Black,
        Self::Grey,
        Self::White,
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Cyan,
        Self::Magenta,
        Self::Orange,
    ];
    /// Nine that are not black: one for each tile of the largest layout.
    pub const TILES: [Self; 9] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Cyan,
        Self::Magenta,
        Self::Orange,
        Self::White,
        Self::Grey,
    ];

    /// Y, U and V.
    pub const fn yuv(self) -> [u8; 3] {
        match self {
            Self::Black => [16, 128, 128],
            Self::Grey => [126, 128, 128],
            Self::White => [235, 128, 128],
            Self::Red => [81, 90, 240],
            Self::Green => [145, 54, 34],
            Self::Blue => [41, 240, 110],
            Self::Yellow => [210, 16, 146],
            Self::Cyan => [170, 166, 16],
            Self::Magenta => [106, 202, 222],
            Self::Orange => [146, 53, 193],
        }
    }

    /// The colour that this is, if it is one.
    pub fn of_yuv(yuv: [f64; 3]) -> Option<Self> {
        let distance = |colour: Self| {
            let squares = colour.yuv().into_iter().zip(yuv).map(|(a, b)| (f64::from(a) - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let nearest = Self::ALL.into_iter().min_by(|&a, &b| distance(a).total_cmp(&distance(b)))?;
        (distance(nearest) <= TOLERANCE).then_some(nearest)
    }

    /// In a [`Picture::sketch`].
    fn letter(self) -> char {
        match self {
            Self::Black => '.',
            Self::Grey => 'g',
            Self::White => 'W',
            Self::Red => 'R',
            Self::Green => 'G',
            Self::Blue => 'B',
            Self::Yellow => 'Y',
            Self::Cyan => 'C',
            Self::Magenta => 'M',
            Self::Orange => 'O',
        }
    }
}

/// One picture. Both sides are even; the planes have no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

impl Picture {
    /// All of one colour.
    ///
    /// # Panics
    /// When a side is odd or zero.
    pub fn solid(width: usize, height: usize, colour: Colour) -> Self {
        assert!(width.is_multiple_of(2) && height.is_multiple_of(2) && width > 0 && height > 0, "{width}x{height}");
        let [y, u, v] = colour.yuv();
        let chroma = width / 2 * (height / 2);
        Self { width, height, planes: [vec![y; width * height], vec![u; chroma], vec![v; chroma]] }
    }

    /// From planes with padding, as decoders give them. `None` when a plane is too short; an odd side loses its last
    /// column or row.
    pub fn from_planes(width: usize, height: usize, planes: [&[u8]; 3], strides: [usize; 3]) -> Option<Self> {
        let (width, height) = (width & !1, height & !1);
        let sides = [(width, height), (width / 2, height / 2), (width / 2, height / 2)];
        let mut out = [const { Vec::new() }; 3];
        for (n, (w, h)) in sides.into_iter().enumerate() {
            for row in 0..h {
                out[n].extend_from_slice(planes[n].get(row * strides[n]..)?.get(..w)?);
            }
        }
        (width > 0 && height > 0).then_some(Self { width, height, planes: out })
    }

    /// From I420 bytes, the planes one after the other: what `ffmpeg -pix_fmt yuv420p -f rawvideo` gives. `None` when
    /// there are too few.
    pub fn from_i420(width: usize, height: usize, bytes: &[u8]) -> Option<Self> {
        let (y, rest) = bytes.split_at_checked(width * height)?;
        let (u, v) = rest.split_at_checked(width / 2 * (height / 2))?;
        Self::from_planes(width, height, [y, u, v], [width, width / 2, width / 2])
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.width
    }
    /// In pixels.
    pub fn height(&self) -> usize {
        self.height
    }
    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }
    /// Y, U and V, without padding.
    pub fn planes(&self) -> [&[u8]; 3] {
        [&self.planes[0], &self.planes[1], &self.planes[2]]
    }
    /// Luma, to be painted on.
    pub fn luma_mut(&mut self) -> &mut [u8] {
        &mut self.planes[0]
    }

    /// Paints a rectangle; what is outside of the picture is left out. Odd edges are moved to even ones.
    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        let yuv = colour.yuv();
        for (n, plane) in self.planes.iter_mut().enumerate() {
            let half = if n == 0 { 1 } else { 2 };
            let of = |at: usize, end: usize| (at & !1).min(end) / half;
            let (left, right) = (of(x, self.width), of(x.saturating_add(width), self.width));
            for row in of(y, self.height)..of(y.saturating_add(height), self.height) {
                let start = row * (self.width / half);
                plane[start + left..start + right].fill(yuv[n]);
            }
        }
    }

    /// Mean Y, U and V of the square of `2 × radius + 1` pixels around a place, cut at the edges. `None` outside of the
    /// picture.
    pub fn mean_at(&self, x: usize, y: usize, radius: usize) -> Option<[f64; 3]> {
        Some(self.spread_at(x, y, radius)?.map(|plane| plane.0))
    }

    /// The colour around a place, if it is one: also blue and yellow pixels have a grey mean, so they must be alike.
    pub fn colour_at(&self, x: usize, y: usize, radius: usize) -> Option<Colour> {
        let planes = self.spread_at(x, y, radius)?;
        if planes.iter().any(|&(_, deviation)| deviation > MAX_DEVIATION) {
            return None;
        }
        Colour::of_yuv(planes.map(|plane| plane.0))
    }

    /// Mean and standard deviation of each plane.
    fn spread_at(&self, x: usize, y: usize, radius: usize) -> Option<[(f64, f64); 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let mut out = [(0.0, 0.0); 3];
        for (n, plane) in self.planes.iter().enumerate() {
            let half = if n == 0 { 1 } else { 2 };
            let (w, h) = (self.width / half, self.height / half);
            let (x0, x1) = (x.saturating_sub(radius) / half, ((x + radius) / half).min(w - 1));
            let (y0, y1) = (y.saturating_sub(radius) / half, ((y + radius) / half).min(h - 1));
            let count = ((x1 - x0 + 1) * (y1 - y0 + 1)) as f64;
            let (mut sum, mut squares) = (0.0, 0.0);
            for value in (y0..=y1).flat_map(|row| &plane[row * w + x0..=row * w + x1]) {
                sum += f64::from(*value);
                squares += f64::from(*value).powi(2);
            }
            let mean = sum / count;
            out[n] = (mean, (squares / count - mean * mean).max(0.0).sqrt());
        }
        Some(out)
    }

    /// Mean of Y: what a flash is found by.
    pub fn mean_luma(&self) -> f64 {
        self.planes[0].iter().map(|&y| f64::from(y)).sum::<f64>() / self.planes[0].len() as f64
    }

    /// What is in it, for the message of a failed test: a letter for each of `columns × rows` places (`.` black, `g`
    /// grey, `?` no colour, otherwise the first letter).
    pub fn sketch(&self, columns: usize, rows: usize) -> String {
        let mut out = String::new();
        for row in 0..rows {
            for column in 0..columns {
                let x = (2 * column + 1) * self.width / (2 * columns);
                let y = (2 * row + 1) * self.height / (2 * rows);
                out.push(self.colour_at(x, y, 2).map_or('?', Colour::letter));
            }
            out.push('\n');
        }
        out
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}\n{}", self.width, self.height, self.sketch(32, 18))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_colours_are_near() {
        for a in Colour::ALL {
            for b in Colour::ALL {
                let square = |n: usize| (f64::from(a.yuv()[n]) - f64::from(b.yuv()[n])).powi(2);
                let distance = (square(0) + square(1) + square(2)).sqrt();
                assert!(a == b || distance > 2.0 * TOLERANCE, "{a:?} and {b:?}: {distance}");
            }
        }
    }

    #[test]
    fn painted_colour_is_found_where_it_was_painted() {
        let mut picture = Picture::solid(64, 48, Colour::Blue);
        picture.fill(32, 16, 100, 16, Colour::Yellow);
        assert_eq!(picture.colour_at(10, 10, 4), Some(Colour::Blue));
        assert_eq!(picture.colour_at(63, 24, 4), Some(Colour::Yellow));
        assert_eq!(picture.colour_at(40, 40, 4), Some(Colour::Blue));
        // Half of each is neither, though the mean of this pair is grey.
        assert_eq!(picture.colour_at(32, 24, 6), None);
        assert_eq!(picture.colour_at(64, 24, 4), None);
        assert_eq!(picture.sketch(4, 3), "BBBB\nBBYY\nBBBB\n");
    }

    #[test]
    fn padded_planes_are_read() {
        let picture = Picture::solid(16, 16, Colour::Red);
        let padded = |n: usize, w: usize| {
            picture.planes()[n].chunks(w).flat_map(|row| row.iter().copied().chain([0; 8])).collect::<Vec<u8>>()
        };
        let (y, u, v) = (padded(0, 16), padded(1, 8), padded(2, 8));
        assert_eq!(Picture::from_planes(16, 16, [&y, &u, &v], [24, 16, 16]), Some(picture.clone()));
        assert_eq!(Picture::from_planes(16, 32, [&y, &u, &v], [24, 16, 16]), None);
        assert_eq!(Picture::from_i420(16, 16, &picture.planes().concat()), Some(picture));
    }

    #[test]
    fn mean_luma_tells_white_from_black() {
        assert!(Picture::solid(16, 16, Colour::White).mean_luma() > 230.0);
        assert!(Picture::solid(16, 16, Colour::Black).mean_luma() < 20.0);
    }
}
