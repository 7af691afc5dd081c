//! What a test camera sees: a scene is asked for pictures by the instant of their capture. Pure.

use crate::netem::Rng;
use crate::picture::{Colour, Picture};
use std::time::{Duration, Instant};

/// What a picture is asked for with.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    /// Counts the pictures of this camera.
    pub number: u64,
    /// When the shutter opened.
    pub captured: Instant,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

/// Gives the picture of a shot. Shots are asked for in order, once each.
pub type Scene = Box<dyn FnMut(Shot) -> Picture + Send>;

/// How long a flash of [`flashes`], and a beep that goes with it, lasts.
pub const FLASH: Duration = Duration::from_millis(100);

/// The same colour everywhere and always.
pub fn solid(colour: Colour) -> Scene {
    Box::new(move |shot| Picture::solid(shot.width, shot.height, colour))
}

/// A colour that gives an encoder something to do: brightness noise over all of it, and a darker bar that wanders
/// through the lower eighth. The colour is found everywhere above the bar.
pub fn moving(colour: Colour, seed: u64) -> Scene {
    let mut rng = Rng::new(seed);
    Box::new(move |shot| {
        let mut picture = Picture::solid(shot.width, shot.height, colour);
        for four in picture.luma_mut().chunks_mut(4) {
            for (y, noise) in four.iter_mut().zip(rng.next_u32().to_le_bytes()) {
                *y = y.saturating_add(noise >> 4).saturating_sub(8);
            }
        }
        let (bar, from) = ((shot.width / 8).max(2), shot.height - shot.height / 8);
        let at = (shot.number * 4) as usize % shot.width;
        for row in picture.luma_mut().chunks_mut(shot.width).skip(from) {
            row.iter_mut().skip(at).take(bar).for_each(|y| *y /= 2);
        }
        picture
    })
}

/// Black, and white for [`FLASH`] at every whole second since `anchor`: for sync, with [`crate::signal::beeps`]. Nothing
/// flashes before `anchor`.
pub fn flashes(anchor: Instant) -> Scene {
    Box::new(move |shot| {
        let since = shot.captured.checked_duration_since(anchor);
        let is_white = since.is_some_and(|s| Duration::from_nanos(s.subsec_nanos().into()) < FLASH);
        Picture::solid(shot.width, shot.height, if is_white { Colour::White } else { Colour::Black })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(number: u64, captured: Instant) -> Shot {
        Shot { number, captured, width: 160, height: 96 }
    }

    #[test]
    fn moving_picture_keeps_its_colour_and_changes() {
        for colour in Colour::ALL {
            let mut scene = moving(colour, 7);
            let now = Instant::now();
            let (first, second) = (scene(shot(0, now)), scene(shot(1, now)));
            assert_ne!(first, second);
            for picture in [first, second] {
                for (x, y) in [(4, 4), (80, 48), (155, 70)] {
                    assert_eq!(picture.colour_at(x, y, 4), Some(colour));
                }
            }
        }
    }

    #[test]
    fn flash_is_white_at_whole_seconds_only() {
        let anchor = Instant::now();
        let mut scene = flashes(anchor);
        for (ms, is_white) in [(0, true), (99, true), (100, false), (999, false), (2_000, true)] {
            let picture = scene(shot(0, anchor + Duration::from_millis(ms)));
            assert_eq!(picture.mean_luma() > 128.0, is_white, "{ms} ms");
        }
    }
}
