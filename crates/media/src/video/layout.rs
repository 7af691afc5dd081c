//! The layouts of a room's picture: LAYOUT0–LAYOUT9 as one table in thousandths, and the one function that makes pixels of
//! it. Pure arithmetic; knows neither legs nor pictures.

use std::ops::Deref;

use crate::units::Resolution;

/// Tiles of a layout at the most.
pub const MAX_TILES: usize = 9;

/// A named arrangement of tiles. Tile 0 is the main tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// LAYOUT0: the smallest of 1, 2, 4, 6 and 9 that holds everyone who is shown; see [`Layout::holding`].
    #[default]
    Auto,
    /// LAYOUT1: one tile.
    Full,
    /// LAYOUT2: two halves, one above the other where the canvas is not wider than high.
    SideBySide,
    /// LAYOUT3: one of two thirds, two of one third beside or below it.
    OneAndTwo,
    /// LAYOUT4: two by two.
    Four,
    /// LAYOUT5: one of three quarters, four of one quarter beside or below it.
    OneAndFour,
    /// LAYOUT6: one of two thirds in the corner, five of one third around it.
    OneAndFive,
    /// LAYOUT7: one of five sixths, six of one sixth beside or below it.
    OneAndSix,
    /// LAYOUT8: one of three quarters in the corner, seven of one quarter around it.
    OneAndSeven,
    /// LAYOUT9: three by three.
    Nine,
}

impl Layout {
    /// Every layout, at the position of its number.
    pub const ALL: [Self; 10] = [
        Self::Auto,
        Self::Full,
        Self::SideBySide,
        Self::OneAndTwo,
        Self::Four,
        Self::OneAndFour,
        Self::OneAndFive,
        Self::OneAndSix,
        Self::OneAndSeven,
        Self::Nine,
    ];

    /// The layout of LAYOUT0–LAYOUT9; `None` for another number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The number in its name; but for `Auto`, it is how many tiles there are.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// How many tiles it has. `Auto` is drawn as `Full` by those who did not ask [`Self::holding`].
    pub const fn tiles(self) -> usize {
        match self {
            Self::Auto => 1,
            other => other.number() as usize,
        }
    }

    /// What `Auto` means for so many who are shown: the smallest that holds them, or nine of them.
    pub const fn holding(shown: usize) -> Self {
        match shown {
            0 | 1 => Self::Full,
            2 => Self::SideBySide,
            3 | 4 => Self::Four,
            5 | 6 => Self::OneAndFive,
            _ => Self::Nine,
        }
    }

    /// The main tile is larger than the others.
    pub const fn has_large_main(self) -> bool {
        matches!(self, Self::OneAndTwo | Self::OneAndFour | Self::OneAndFive | Self::OneAndSix | Self::OneAndSeven)
    }
}

/// A rectangle of a picture in pixels. As a tile, all four are even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Of the left edge.
    pub x: usize,
    /// Of the upper edge.
    pub y: usize,
    /// To the right of `x`.
    pub width: usize,
    /// Below `y`.
    pub height: usize,
}

impl Rect {
    /// All four are even: no chroma sample is shared with a neighbour.
    pub const fn is_even(self) -> bool {
        (self.x | self.y | self.width | self.height).is_multiple_of(2)
    }

    /// Nothing of it is outside a picture of these sides.
    pub const fn is_within(self, width: usize, height: usize) -> bool {
        self.width <= width && self.height <= height && self.x <= width - self.width && self.y <= height - self.height
    }

    /// It has no pixel.
    pub const fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }
}

/// The tiles of a layout on a canvas, main tile first: a slice of at most [`MAX_TILES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tiles {
    rects: [Rect; MAX_TILES],
    count: usize,
}

impl Deref for Tiles {
    type Target = [Rect];

    fn deref(&self) -> &[Rect] {
        self.rects.get(..self.count).unwrap_or_default()
    }
}

/// Left, upper, right and lower edge in thousandths of the canvas. Edges, not sides: two tiles that share an edge share its
/// number, so that rounding never parts them.
type Edges = [u16; 4];

/// Main tile on the left, the others in a column beside it; halves side by side. For canvases of 16:9 and wider.
const BESIDE: [&[Edges]; 10] = [
    FULL,
    FULL,
    &[[0, 0, 500, 1000], [500, 0, 1000, 1000]],
    &[[0, 0, 667, 1000], [667, 0, 1000, 500], [667, 500, 1000, 1000]],
    FOUR,
    &[[0, 0, 750, 1000], [750, 0, 1000, 250], [750, 250, 1000, 500], [750, 500, 1000, 750], [750, 750, 1000, 1000]],
    ONE_AND_FIVE,
    &[
        [0, 0, 833, 1000],
        [833, 0, 1000, 167],
        [833, 167, 1000, 333],
        [833, 333, 1000, 500],
        [833, 500, 1000, 667],
        [833, 667, 1000, 833],
        [833, 833, 1000, 1000],
    ],
    ONE_AND_SEVEN,
    NINE,
];

/// Main tile above, the others in a row below it; halves one above the other. For canvases narrower than 16:9, where a
/// column would leave the main tile higher than wide: with pictures of 16:9 the row shows all of them larger there. At 9:16
/// the rows of four and six have the canvas's own shape.
const BELOW: [&[Edges]; 10] = [
    FULL,
    FULL,
    &[[0, 0, 1000, 500], [0, 500, 1000, 1000]],
    &[[0, 0, 1000, 667], [0, 667, 500, 1000], [500, 667, 1000, 1000]],
    FOUR,
    &[[0, 0, 1000, 750], [0, 750, 250, 1000], [250, 750, 500, 1000], [500, 750, 750, 1000], [750, 750, 1000, 1000]],
    ONE_AND_FIVE,
    &[
        [0, 0, 1000, 833],
        [0, 833, 167, 1000],
        [167, 833, 333, 1000],
        [333, 833, 500, 1000],
        [500, 833, 667, 1000],
        [667, 833, 833, 1000],
        [833, 833, 1000, 1000],
    ],
    ONE_AND_SEVEN,
    NINE,
];

/// The rest has the canvas's shape in each tile, whatever it is: column, row, and the corner between them last.
const FULL: &[Edges] = &[[0, 0, 1000, 1000]];
const FOUR: &[Edges] = &[[0, 0, 500, 500], [500, 0, 1000, 500], [0, 500, 500, 1000], [500, 500, 1000, 1000]];
const ONE_AND_FIVE: &[Edges] = &[
    [0, 0, 667, 667],
    [667, 0, 1000, 333],
    [667, 333, 1000, 667],
    [0, 667, 333, 1000],
    [333, 667, 667, 1000],
    [667, 667, 1000, 1000],
];
const ONE_AND_SEVEN: &[Edges] = &[
    [0, 0, 750, 750],
    [750, 0, 1000, 250],
    [750, 250, 1000, 500],
    [750, 500, 1000, 750],
    [0, 750, 250, 1000],
    [250, 750, 500, 1000],
    [500, 750, 750, 1000],
    [750, 750, 1000, 1000],
];
const NINE: &[Edges] = &[
    [0, 0, 333, 333],
    [333, 0, 667, 333],
    [667, 0, 1000, 333],
    [0, 333, 333, 667],
    [333, 333, 667, 667],
    [667, 333, 1000, 667],
    [0, 667, 333, 1000],
    [333, 667, 667, 1000],
    [667, 667, 1000, 1000],
];

/// Where the tiles of a layout are on a canvas. They cover it without gaps and without overlap; each has even coordinates
/// and at least two pixels a side.
pub fn tiles(layout: Layout, canvas: Resolution) -> Tiles {
    let (width, height) = (canvas.width(), canvas.height());
    let is_beside = match layout {
        Layout::SideBySide => width > height,
        _ => width * 9 >= height * 16,
    };
    let table = if is_beside { &BESIDE } else { &BELOW };
    let edges: &[Edges] = table.get(usize::from(layout.number())).copied().unwrap_or(FULL);
    let at = |side: usize, thousandths: u16| (side * usize::from(thousandths) + 1000) / 2000 * 2;
    let mut tiles = Tiles { count: edges.len().min(MAX_TILES), ..Tiles::default() };
    for (rect, [left, upper, right, lower]) in tiles.rects.iter_mut().zip(edges) {
        let (x, y) = (at(width, *left), at(height, *upper));
        *rect = Rect { x, y, width: at(width, *right) - x, height: at(height, *lower) - y };
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(width: u32, height: u32) -> Resolution {
        Resolution::new(width, height).unwrap()
    }

    #[test]
    fn numbers_name_the_layouts_and_their_tiles() {
        for number in 0..=9 {
            let layout = Layout::from_number(number).unwrap();
            assert_eq!(layout.number(), number);
            assert_eq!(layout.tiles(), usize::from(number.max(1)));
            assert_eq!(tiles(layout, canvas(1280, 720)).len(), layout.tiles());
        }
        assert_eq!(Layout::from_number(10), None);
    }

    #[test]
    fn auto_is_the_smallest_that_holds_them() {
        let expected = [1, 1, 2, 4, 4, 6, 6, 9, 9, 9, 9];
        for (shown, number) in expected.into_iter().enumerate() {
            assert_eq!(Layout::holding(shown).number(), number, "{shown} shown");
        }
    }

    #[test]
    fn tiles_cover_any_canvas_once_and_are_even() {
        for width in (16..=1920).step_by(94).chain([144, 176, 720, 1280, 1920]) {
            for height in (16..=1920).step_by(118).chain([144, 720, 1080, 1280]) {
                for layout in Layout::ALL {
                    let tiles = tiles(layout, canvas(width, height));
                    let area: usize = tiles.iter().map(|t| t.width * t.height).sum();
                    assert_eq!(area, (width * height) as usize, "{layout:?} on {width}x{height}");
                    for (n, tile) in tiles.iter().enumerate() {
                        assert!(tile.is_even() && !tile.is_empty(), "{layout:?} {tile:?}");
                        assert!(tile.is_within(width as usize, height as usize), "{layout:?} {tile:?}");
                        let overlaps = |o: &Rect| {
                            tile.x < o.x + o.width
                                && o.x < tile.x + tile.width
                                && tile.y < o.y + o.height
                                && o.y < tile.y + tile.height
                        };
                        assert!(!tiles[n + 1..].iter().any(overlaps), "{layout:?} on {width}x{height}");
                    }
                }
            }
        }
    }

    #[test]
    fn main_tile_is_the_largest_where_the_layout_says_so() {
        for size in [canvas(1280, 720), canvas(720, 1280), canvas(144, 144), canvas(640, 480)] {
            for layout in Layout::ALL.into_iter().filter(|layout| layout.has_large_main()) {
                let tiles = tiles(layout, size);
                let area = |t: &Rect| t.width * t.height;
                assert!(tiles[1..].iter().all(|t| area(t) * 3 < area(&tiles[0])), "{layout:?} on {size}: {tiles:?}");
            }
        }
    }

    #[test]
    fn shapes_follow_the_canvas() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        for (layout, size, tile, expected) in [
            (Layout::SideBySide, (1280, 720), 1, rect(640, 0, 640, 720)),
            (Layout::SideBySide, (720, 1280), 1, rect(0, 640, 720, 640)),
            (Layout::SideBySide, (144, 144), 1, rect(0, 72, 144, 72)),
            (Layout::SideBySide, (640, 480), 1, rect(320, 0, 320, 480)),
            (Layout::OneAndTwo, (1280, 720), 0, rect(0, 0, 854, 720)),
            (Layout::OneAndTwo, (720, 1280), 1, rect(0, 854, 360, 426)),
            (Layout::OneAndFour, (1280, 720), 4, rect(960, 540, 320, 180)),
            (Layout::OneAndFour, (640, 480), 0, rect(0, 0, 640, 360)),
            (Layout::OneAndFour, (720, 1280), 4, rect(540, 960, 180, 320)),
            (Layout::OneAndFive, (1280, 720), 5, rect(854, 480, 426, 240)),
            (Layout::OneAndSeven, (1280, 720), 0, rect(0, 0, 960, 540)),
            (Layout::Nine, (144, 144), 8, rect(96, 96, 48, 48)),
        ] {
            assert_eq!(tiles(layout, canvas(size.0, size.1))[tile], expected, "{layout:?} on {size:?}");
        }
    }
}
