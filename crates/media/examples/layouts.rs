//! Draws every layout with test pictures and names, as rooms are composed, and writes them as JPEG files: the README's
//! pictures, and what to look at after a change to the drawing. Development only.
//!
//! `layouts OUT_DIR`: of each canvas one sheet with LAYOUT1–LAYOUT9, and each of them in its own size.

use std::error::Error;
use std::path::Path;

use media::video::canvas::paint::{Colour, rgb};
use media::video::canvas::{Canvas, Face, Show};
use media::video::jpeg::encode;
use media::video::layout::{Layout, Rect};
use media::video::picture::Picture;
use media::video::scale::scale;
use media::{LegId, Resolution};

const QUALITY: u8 = 85;
const PAPER: Colour = rgb(255, 255, 255);

/// Name and sides of the picture; without sides, there is none. Last: muted, talking.
type Person = (&'static str, Option<(usize, usize)>, bool, bool);

const PEOPLE: [Person; 9] = [
    ("Anna Müller", Some((640, 360)), false, true),
    ("Bert Okonkwo", Some((640, 360)), true, false),
    ("Conference room 4.12, second floor, left", Some((1280, 720)), false, false),
    ("Dorothea Krähenbühl", None, true, false),
    ("Emre", Some((360, 640)), false, false),
    ("+49 30 123456", None, false, true),
    ("Галина Иванова", Some((640, 480)), false, false),
    ("Hye-jin", Some((640, 360)), true, false),
    ("Īñigo", None, false, false),
];

/// A coloured picture with a disc in it, which shows whether its shape is kept.
fn test_picture((width, height): (usize, usize), n: usize) -> Picture {
    let mut picture = Picture::filled(width, height, [0; 3]);
    let hue = n as f32 / 9.0 * std::f32::consts::TAU;
    let radius = width.min(height) as f32 * 0.3;
    let ([y, u, v], [stride_y, stride_uv]) = picture.planes_mut();
    for (at, luma) in y.iter_mut().enumerate() {
        let (px, py) = ((at % stride_y) as f32 - width as f32 / 2.0, (at / stride_y) as f32 - height as f32 / 2.0);
        let shade = 90.0 + 60.0 * (at / stride_y) as f32 / height as f32;
        let grid = if (at % stride_y) % 40 < 2 || (at / stride_y) % 40 < 2 { 14.0 } else { 0.0 };
        *luma = if px.hypot(py) < radius { 200 } else { (shade + grid) as u8 };
    }
    for (at, (u, v)) in u.iter_mut().zip(v).enumerate() {
        let strength = 34.0 + 20.0 * (at % stride_uv) as f32 / stride_uv as f32;
        *u = (128.0 + hue.cos() * strength) as u8;
        *v = (128.0 + hue.sin() * strength) as u8;
    }
    picture
}

fn composed(size: Resolution, layout: Layout) -> Canvas {
    let mut canvas = Canvas::new(size, layout, true);
    for (n, (name, sides, is_muted, is_talking)) in PEOPLE.into_iter().enumerate().take(layout.tiles()) {
        let picture = sides.map(|sides| test_picture(sides, n));
        let show = picture.as_ref().map_or(Show::Name, |picture| Show::Picture(picture.view()));
        canvas.draw(n, &Face { leg: LegId(n as u64), name, show, is_muted, is_talking });
    }
    canvas
}

/// LAYOUT1–LAYOUT9 of one size on one sheet, `each` pixels wide, and in files of their own.
fn write(folder: &Path, size: Resolution, each: usize) -> Result<(), Box<dyn Error>> {
    let (width, height, gap) = (each, each * size.height() / size.width() / 2 * 2, 12);
    let mut sheet = Picture::filled(3 * width + 2 * gap, 3 * height + 2 * gap, PAPER);
    for number in 1..=9 {
        let layout = Layout::from_number(number).ok_or("LAYOUT1 to LAYOUT9 exist")?;
        let canvas = composed(size, layout);
        let at = usize::from(number) - 1;
        let rect = Rect { x: at % 3 * (width + gap), y: at / 3 * (height + gap), width, height };
        if !scale(canvas.picture().view(), &mut sheet, rect) {
            return Err(format!("{size} does not fit the sheet").into());
        }
        std::fs::write(folder.join(format!("layout{number}-{size}.jpg")), encode(canvas.picture().view(), QUALITY)?)?;
    }
    std::fs::write(folder.join(format!("layouts-{size}.jpg")), encode(sheet.view(), QUALITY)?)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("see the top of the source")?;
    std::fs::create_dir_all(&folder)?;
    for (width, height, each) in [(1280, 720, 320), (720, 1280, 180), (144, 144, 144)] {
        let size = Resolution::new(width, height).ok_or("even sides")?;
        write(Path::new(&folder), size, each)?;
    }
    Ok(())
}
