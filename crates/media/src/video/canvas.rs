//! The picture that a room's composer draws: tiles with pictures or names, strips, marks, frames. Runs on the composer's
//! thread; knows neither codecs nor who is shown where. What has not changed is not drawn again.

use self::artwork::{Strip, draw_name_tile};
use self::paint::{Below, Colour, bands, fill, rgb};
use super::layout::{Layout, Rect, tiles};
use super::picture::{Picture, PictureView};
use super::scale::scale;
use crate::units::{LegId, Resolution};

pub mod artwork;
pub mod decal;
pub mod mask;
pub mod paint;

/// Between tiles, and around the picture in a tile of another shape.
const BORDER: Colour = rgb(12, 13, 16);
/// A tile that nobody has.
const VACANT: Colour = rgb(27, 29, 34);
/// Around whoever talks.
const TALKING: Colour = rgb(64, 214, 120);

/// Pixels of a tile's side below which it has no border: it would be most of the tile.
const BORDERED_PX: usize = 16;
/// A picture may lose a twentieth of a side, so that it fills its tile without thin bars, and so that it is copied or halved
/// instead of resampled: 640×360 into 636×356 takes 12 µs as a copy, 387 µs resampled, and is sharper.
const CROPPED_PART: usize = 20;

/// What a tile shows of its leg.
#[derive(Clone, Copy, Debug)]
pub enum Show<'a> {
    /// This picture, which is a new one.
    Picture(PictureView<'a>),
    /// The picture that was drawn last; the name when there was none.
    Still,
    /// No picture but the name.
    Name,
}

/// A leg as it is shown in a tile.
#[derive(Clone, Copy, Debug)]
pub struct Face<'a> {
    /// Whose tile it is: nothing of an earlier one stays.
    pub leg: LegId,
    /// As it was given; any text.
    pub name: &'a str,
    /// Picture or name.
    pub show: Show<'a>,
    /// Has the mark of the muted.
    pub is_muted: bool,
    /// Has the frame of those who talk.
    pub is_talking: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Base {
    #[default]
    Vacant,
    Picture,
    Name,
}

/// What lies over the base, and what it was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Overlay {
    /// What the picture or name covers of the tile: strip and frame lie within it.
    place: Rect,
    /// The name in the strip, if it is there.
    name: Option<String>,
    is_muted: bool,
    is_talking: bool,
}

#[derive(Clone, Debug, Default)]
struct Tile {
    /// Without the border.
    rect: Rect,
    leg: Option<LegId>,
    name: String,
    base: Base,
    /// What the base covers; around it are bars.
    place: Rect,
    overlay: Overlay,
    strip: Option<Strip>,
    below: Below,
}

/// A room's picture in the making.
#[derive(Debug)]
pub struct Canvas {
    picture: Picture,
    size: Resolution,
    layout: Layout,
    tiles: Vec<Tile>,
    has_names: bool,
}

impl Canvas {
    /// With vacant tiles; strips with names are drawn when `has_names`.
    pub fn new(size: Resolution, layout: Layout, has_names: bool) -> Self {
        let picture = Picture::filled(size.width(), size.height(), BORDER);
        let mut canvas = Self { picture, size, layout, tiles: Vec::new(), has_names };
        canvas.clear();
        canvas
    }

    /// Another size or layout: all tiles are vacant again. Nothing happens when both are the same.
    pub fn arrange(&mut self, size: Resolution, layout: Layout) {
        if (size, layout) != (self.size, self.layout) {
            (self.size, self.layout) = (size, layout);
            self.clear();
        }
    }

    /// With or without names over the pictures, from each tile's next drawing on.
    pub const fn set_names(&mut self, has_names: bool) {
        self.has_names = has_names;
    }

    /// All tiles are vacant.
    pub fn clear(&mut self) {
        let (width, height) = (self.size.width(), self.size.height());
        self.picture.resize(width, height);
        fill(&mut self.picture, Rect { x: 0, y: 0, width, height }, BORDER);
        self.tiles.clear();
        for outer in tiles(self.layout, self.size).iter() {
            let rect = within_border(*outer, self.size);
            fill(&mut self.picture, rect, VACANT);
            self.tiles.push(Tile { rect, ..Tile::default() });
        }
    }

    /// The picture as it is now.
    pub const fn picture(&self) -> &Picture {
        &self.picture
    }

    /// What a tile's content may cover: without the border.
    pub fn tile(&self, tile: usize) -> Option<Rect> {
        self.tiles.get(tile).map(|tile| tile.rect)
    }

    /// Nobody has the tile. `false` when it was vacant before or there is no such tile.
    pub fn vacate(&mut self, tile: usize) -> bool {
        let Some(tile) = self.tiles.get_mut(tile).filter(|tile| tile.leg.is_some()) else { return false };
        fill(&mut self.picture, tile.rect, VACANT);
        *tile = Tile { rect: tile.rect, ..Tile::default() };
        true
    }

    /// Draws a tile. `false` when nothing was to be drawn: all is as before, or there is no such tile. A picture that is not
    /// sound costs the tile its picture: the name is shown.
    pub fn draw(&mut self, tile: usize, face: &Face<'_>) -> bool {
        let Some(tile) = self.tiles.get_mut(tile) else { return false };
        if tile.leg != Some(face.leg) {
            *tile = Tile { rect: tile.rect, leg: Some(face.leg), ..Tile::default() };
        }
        let is_new = tile.draw_base(&mut self.picture, face);
        let has_strip = self.has_names && tile.base == Base::Picture;
        let is_same = tile.overlay.name.as_deref() == has_strip.then_some(face.name)
            && tile.overlay.place == tile.place
            && (tile.overlay.is_muted, tile.overlay.is_talking) == (face.is_muted, face.is_talking);
        if is_new || !is_same {
            tile.draw_overlay(&mut self.picture, face, has_strip);
        }
        is_new || !is_same
    }
}

impl Tile {
    /// All of the tile, when it is another one; what lay over it is gone then.
    fn draw_base(&mut self, picture: &mut Picture, face: &Face<'_>) -> bool {
        if let Show::Picture(view) = face.show
            && let Some(place) = draw_picture(picture, self.rect, view)
        {
            self.below.clear();
            (self.base, self.place) = (Base::Picture, place);
            return true;
        }
        let is_still = matches!(face.show, Show::Still) && self.base == Base::Picture;
        if is_still || self.base == Base::Name && self.name == face.name {
            return false;
        }
        self.below.clear();
        (self.base, self.place) = (Base::Name, self.rect);
        face.name.clone_into(&mut self.name);
        draw_name_tile(picture, self.rect, face.name);
        true
    }

    /// Strip and frame, over a base from which earlier ones are taken away.
    fn draw_overlay(&mut self, picture: &mut Picture, face: &Face<'_>, has_strip: bool) {
        self.below.restore(picture);
        let name = has_strip.then_some(face.name);
        let is_same_strip = self.overlay.name.as_deref() == name
            && (self.overlay.is_muted, self.overlay.place) == (face.is_muted, self.place);
        if !is_same_strip {
            self.strip = Strip::new(self.place, name, face.is_muted);
            self.overlay.name = name.map(str::to_owned);
        }
        (self.overlay.is_muted, self.overlay.is_talking) = (face.is_muted, face.is_talking);
        self.overlay.place = self.place;
        let frame = face.is_talking.then(|| bands(self.place, frame_px(self.rect)));
        for rect in frame.iter().flatten().copied().chain(self.strip.as_ref().map(Strip::place)) {
            self.below.keep(picture, rect);
        }
        if let Some(strip) = &self.strip {
            strip.draw(picture);
        }
        for band in frame.iter().flatten() {
            fill(picture, *band, TALKING);
        }
    }
}

/// The tile less its half of the border. Edges of the canvas have none.
fn within_border(tile: Rect, size: Resolution) -> Rect {
    // Halves have to be even: of 4 px each tile gives 2; of 2 px only the left or upper one gives.
    let is_large = size.width().min(size.height()) >= 360;
    let (near, far) = if is_large { (2, 2) } else { (0, 2) };
    let side = |at: usize, length: usize, whole: usize| {
        if length < BORDERED_PX {
            return (at, length);
        }
        let near = if at > 0 { near } else { 0 };
        let far = if at + length < whole { far } else { 0 };
        (at + near, length - near - far)
    };
    let (x, width) = side(tile.x, tile.width, size.width());
    let (y, height) = side(tile.y, tile.height, size.height());
    Rect { x, y, width, height }
}

/// Thickness of the frame of those who talk.
const fn frame_px(tile: Rect) -> usize {
    if tile.width >= 240 && tile.height >= 160 { 4 } else { 2 }
}

/// The whole tile: the picture in its own shape, bars where the tile has another one. Where the picture is; `None`, with
/// nothing drawn, when it is not sound or too large.
fn draw_picture(picture: &mut Picture, tile: Rect, from: PictureView<'_>) -> Option<Rect> {
    if !from.is_sound() {
        return None;
    }
    let place = placed(tile, from.width, from.height);
    if !scale(cropped(from, place)?, picture, place) {
        return None;
    }
    let bar = |x, y, width, height| Rect { x, y, width, height };
    let (right, lower) = (place.x + place.width, place.y + place.height);
    fill(picture, bar(tile.x, tile.y, tile.width, place.y - tile.y), BORDER);
    fill(picture, bar(tile.x, lower, tile.width, tile.y + tile.height - lower), BORDER);
    fill(picture, bar(tile.x, place.y, place.x - tile.x, place.height), BORDER);
    fill(picture, bar(right, place.y, tile.x + tile.width - right, place.height), BORDER);
    Some(place)
}

/// Where in a tile a picture of these sides goes: all of it, unless bars would be wider than what may be cropped.
fn placed(tile: Rect, width: usize, height: usize) -> Rect {
    let fitting = |side: usize, shown: usize, of: usize| {
        let fit = (side * shown / of.max(1)).next_multiple_of(2);
        move |whole: usize| if fit + whole / CROPPED_PART >= whole { whole } else { fit.max(2) }
    };
    let (width, height) = if width * tile.height >= tile.width * height {
        (tile.width, fitting(height, tile.width, width)(tile.height))
    } else {
        (fitting(width, tile.height, height)(tile.width), tile.height)
    };
    let centred = |whole: usize, part: usize| whole.saturating_sub(part) / 4 * 2;
    Rect { x: tile.x + centred(tile.width, width), y: tile.y + centred(tile.height, height), width, height }
}

/// The middle of a picture that has the shape of its place, or is a whole multiple of it where little is lost by that.
fn cropped<'a>(from: PictureView<'a>, place: Rect) -> Option<PictureView<'a>> {
    let is_near = |part: usize, whole: usize| part <= whole && whole - part <= whole / CROPPED_PART;
    let multiple = [1, 2, 4].into_iter().map(|times| (place.width * times, place.height * times));
    let (width, height) = multiple
        .into_iter()
        .find(|(width, height)| is_near(*width, from.width) && is_near(*height, from.height))
        .unwrap_or_else(|| {
            let width = (from.height * place.width / place.height.max(1)).min(from.width).max(1);
            let height = (from.width * place.height / place.width.max(1)).min(from.height).max(1);
            // Rounding alone crops nothing.
            (
                if is_near(width, from.width) { width } else { from.width },
                if is_near(height, from.height) { height } else { from.height },
            )
        });
    let (x, y) = ((from.width - width) / 4 * 2, (from.height - height) / 4 * 2);
    let (at, at_uv) = (y * from.stride_y + x, y / 2 * from.stride_uv + x / 2);
    let (y, u, v) = (from.y.get(at..)?, from.u.get(at_uv..)?, from.v.get(at_uv..)?);
    Some(PictureView { y, u, v, width, height, ..from })
}

#[cfg(test)]
mod tests;
