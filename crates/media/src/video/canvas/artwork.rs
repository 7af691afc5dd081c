//! What is drawn for a name: the strip over a picture, and the tile of somebody without one. Pure; sizes follow the tile's.

use super::decal::{Decal, Sketch};
use super::mask::Mask;
use super::paint::{Colour, fill, rgb};
use crate::video::layout::Rect;
use crate::video::picture::Picture;
use crate::video::text::{Weight, initials, line};

const INK: Colour = rgb(245, 246, 248);
const PLATE: Colour = rgb(10, 12, 16);
const PLATE_OPACITY: f32 = 0.62;
const MUTED: Colour = rgb(255, 82, 82);

/// A tile narrower or lower has no room for letters that can be read.
const NAMED_PX: [usize; 2] = [80, 60];
/// A tile narrower or lower has no room for a mark either.
const MARKED_PX: usize = 36;

/// Height of a line of letters: about a twentieth of a large tile, and no smaller than what can be read.
fn line_px(tile: Rect) -> usize {
    10 + tile.height.min(tile.width * 9 / 16) / 36
}

const fn has_room_for_names(tile: Rect) -> bool {
    let [width, height] = NAMED_PX;
    tile.width >= width && tile.height >= height
}

const fn even(n: usize) -> usize {
    n / 2 * 2
}

/// The strip in the lower left corner of a tile.
#[derive(Clone, Debug)]
pub struct Strip {
    decal: Decal,
    place: Rect,
}

impl Strip {
    /// With a name, the mark of the muted, both, or `None` when there is nothing to draw or no room for it.
    pub fn new(tile: Rect, name: Option<&str>, is_muted: bool) -> Option<Self> {
        let is_marked = is_muted && tile.width >= MARKED_PX && tile.height >= MARKED_PX;
        // The mark alone must not hide a small tile.
        let line_px = if has_room_for_names(tile) { line_px(tile) } else { tile.width.min(tile.height) / 5 };
        let (margin, padding) = (even(line_px / 2).clamp(2, 16), line_px * 2 / 5);
        let height = even(line_px * 3 / 2);
        let mark = if is_marked { line_px } else { 0 };
        let room = tile.width.saturating_sub(2 * margin + 2 * padding + mark + if is_marked { padding } else { 0 });
        let name = name.filter(|_| has_room_for_names(tile)).map(|name| line(name, Weight::Regular, line_px, room));
        let name = name.filter(|name| !name.is_empty());
        let between = if is_marked && name.is_some() { padding * 2 / 3 } else { 0 };
        let inside = mark + between + name.as_ref().map_or(0, Mask::width);
        // Nothing to write, or so small a tile that the strip would reach past it.
        let width = (inside + 2 * padding).next_multiple_of(2);
        if inside == 0 || width + 2 * margin > tile.width || height + 2 * margin > tile.height {
            return None;
        }
        let plate = Mask::rounded(width, height, height as f32 / 4.0);
        let mut sketch = Sketch::new(width, height).layer(&plate, 0, 0, PLATE, PLATE_OPACITY);
        if is_marked {
            let y = (height - mark) / 2;
            sketch = sketch
                .layer(&Mask::microphone(mark), padding, y, INK, 1.0)
                .layer(&Mask::stroke(mark, 2.0), padding, y, PLATE, 1.0)
                .layer(&Mask::stroke(mark, 1.0), padding, y, MUTED, 1.0);
        }
        if let Some(name) = &name {
            let y = height.saturating_sub(name.height()) / 2;
            sketch = sketch.layer(name, padding + mark + between, y, INK, 1.0);
        }
        let place = Rect { x: tile.x + margin, y: tile.y + tile.height - margin - height, width, height };
        Some(Self { decal: sketch.finish(), place })
    }

    /// Where it is drawn.
    pub const fn place(&self) -> Rect {
        self.place
    }

    /// Draws it over what is there.
    pub fn draw(&self, picture: &mut Picture) {
        self.decal.draw(picture, self.place.x, self.place.y);
    }
}

/// A colour of its own for each name: the same brightness, another hue.
fn tint(name: &str, luma: u8, saturation: f32) -> Colour {
    // FNV-1a: any spread will do, as long as it is the same in every run.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let angle = (hash >> 8 & 0xffff) as f32 / 65_536.0 * std::f32::consts::TAU;
    let chroma = |part: f32| (128.0 + part * saturation).round() as u8;
    [luma, chroma(angle.cos()), chroma(angle.sin())]
}

/// Draws the tile of somebody without a picture: initials in a disc and the name below, or only the initials where there is
/// no room. Whom nothing can be written for gets head and shoulders.
pub fn draw_name_tile(picture: &mut Picture, tile: Rect, name: &str) {
    fill(picture, tile, tint(name, 52, 12.0));
    let line_px = line_px(tile) * 6 / 5;
    let below = if has_room_for_names(tile) {
        line(name, Weight::Regular, line_px, tile.width.saturating_sub(2 * line_px))
    } else {
        Mask::default()
    };
    let shorter = tile.width.min(tile.height);
    let side = even(if below.is_empty() { shorter * 3 / 5 } else { shorter * 2 / 5 });
    let between = if below.is_empty() { 0 } else { even(line_px * 2 / 3) };
    let below_height = below.height().next_multiple_of(2);
    let top = tile.y + even(tile.height.saturating_sub(side + between + below_height) / 2);

    let letters = line(&initials(name), Weight::Bold, side * 11 / 20, side);
    let mut disc = Sketch::new(side, side).layer(&Mask::disc(side), 0, 0, tint(name, 104, 26.0), 1.0);
    let centred = |mask: &Mask| (side.saturating_sub(mask.width()) / 2, side.saturating_sub(mask.height()) / 2);
    if letters.is_empty() {
        disc = disc.layer(&Mask::person(side), 0, 0, INK, 0.9);
    } else {
        let (x, y) = centred(&letters);
        disc = disc.layer(&letters, x, y, INK, 1.0);
    }
    disc.finish().draw(picture, tile.x + even((tile.width - side) / 2), top);

    let decal = Sketch::new(below.width(), below.height()).layer(&below, 0, 0, INK, 0.92).finish();
    let x = tile.x + even(tile.width.saturating_sub(decal.width()) / 2);
    decal.draw(picture, x, top + side + between);
}
