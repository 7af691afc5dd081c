//! Scaling into a rectangle of a picture, by Debian's libyuv. Runs on the composer's thread; the bounds of every plane are
//! checked here, before C sees them.

use std::ffi::c_int;

use super::MAX_DECODED_SIDE_PX;
use super::layout::Rect;
use super::picture::{Picture, PictureView};

/// libyuv's `kFilterBilinear`.
const BILINEAR: c_int = 2;
/// libyuv's `kFilterBox`: averages when both sides shrink below half, and is bilinear otherwise by its own choice
/// (`ScaleFilterReduce`). It costs up to three times bilinear (118 against 42 µs for 640×360 into 212×118), but fine lines
/// and text do not flicker when somebody moves.
const BOX: c_int = 3;
/// Pixels that become one: past this, the reciprocal of 16 bits by which libyuv averages darkens the picture visibly.
const MAX_BOX_PX: usize = 256;

#[link(name = "yuv")]
#[expect(unsafe_code, reason = "the binding to libyuv: scale.h, planar_functions.h")]
unsafe extern "C" {
    fn I420Scale(
        src_y: *const u8,
        src_stride_y: c_int,
        src_u: *const u8,
        src_stride_u: c_int,
        src_v: *const u8,
        src_stride_v: c_int,
        src_width: c_int,
        src_height: c_int,
        dst_y: *mut u8,
        dst_stride_y: c_int,
        dst_u: *mut u8,
        dst_stride_u: c_int,
        dst_v: *mut u8,
        dst_stride_v: c_int,
        dst_width: c_int,
        dst_height: c_int,
        filtering: c_int,
    ) -> c_int;
}

/// Fills `rect` of `to` with all of `from`; the same size is a copy. The ratio of the sides is the caller's business.
///
/// `false`, with nothing drawn, when `from` is not sound, a side of either is past [`MAX_DECODED_SIDE_PX`], or `rect` is
/// empty, not even or not within `to`.
pub fn scale(from: PictureView<'_>, to: &mut Picture, rect: Rect) -> bool {
    let is_drawable = rect.is_even() && !rect.is_empty() && rect.is_within(to.width(), to.height());
    let is_small = [from.width, from.height, to.width(), to.height()].iter().all(|side| *side <= MAX_DECODED_SIDE_PX);
    if !from.is_sound() || !is_drawable || !is_small {
        return false;
    }
    let int = |n: usize| c_int::try_from(n).ok();
    let (Some(from_y), Some(from_uv)) = (int(from.stride_y), int(from.stride_uv)) else { return false };
    let (Some(width), Some(height)) = (int(from.width), int(from.height)) else { return false };
    let (Some(to_width), Some(to_height)) = (int(rect.width), int(rect.height)) else { return false };
    let is_tiny = from.width * from.height > rect.width * rect.height * MAX_BOX_PX;
    let filter = if is_tiny { BILINEAR } else { BOX };
    let ([y, u, v], [stride_y, stride_uv]) = to.planes_mut();
    let (Some(to_y), Some(to_uv)) = (int(stride_y), int(stride_uv)) else { return false };
    let at = rect.y * stride_y + rect.x;
    let at_uv = rect.y / 2 * stride_uv + rect.x / 2;
    let (Some(y), Some(u), Some(v)) = (y.get_mut(at..), u.get_mut(at_uv..), v.get_mut(at_uv..)) else { return false };
    #[expect(unsafe_code, reason = "the call into libyuv")]
    // SAFETY: `is_sound` says that each plane of `from` holds its rows; `rect` is even and within `to`, whose planes hold
    // theirs by construction, so that every row written begins and ends in them. Nothing is kept after the call.
    let done = unsafe {
        I420Scale(
            from.y.as_ptr(),
            from_y,
            from.u.as_ptr(),
            from_uv,
            from.v.as_ptr(),
            from_uv,
            width,
            height,
            y.as_mut_ptr(),
            to_y,
            u.as_mut_ptr(),
            to_uv,
            v.as_mut_ptr(),
            to_uv,
            to_width,
            to_height,
            filter,
        )
    };
    done == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::picture::BLACK;

    const ORANGE: [u8; 3] = [150, 60, 190];

    /// Pixels and chroma samples of a colour; libyuv's rounding may be off by one.
    fn count(picture: &Picture, colour: [u8; 3]) -> (usize, usize) {
        let view = picture.view();
        let [is_y, is_u, is_v] = colour.map(|wanted| move |level: &u8| level.abs_diff(wanted) <= 1);
        let luma = view.y.iter().filter(|y| is_y(y)).count();
        let chroma = view.u.iter().zip(view.v).filter(|(u, v)| is_u(u) && is_v(v)).count();
        (luma, chroma)
    }

    #[test]
    fn rectangle_is_filled_and_nothing_else() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        for (sides, rect) in [
            ((640, 360), rect(0, 0, 320, 180)),
            ((640, 360), rect(2, 4, 316, 176)),
            ((1, 1), rect(4, 4, 60, 34)),
            ((17, 9), rect(318, 178, 2, 2)),
            ((3, 1001), rect(10, 10, 100, 100)),
            ((1920, 1080), rect(100, 50, 2, 8)),
            ((316, 176), rect(4, 4, 316, 176)),
        ] {
            let from = Picture::filled(sides.0, sides.1, ORANGE);
            let mut to = Picture::filled(320, 180, BLACK);
            assert!(scale(from.view(), &mut to, rect), "{sides:?} into {rect:?}");
            let pixels = rect.width * rect.height;
            assert_eq!(count(&to, ORANGE), (pixels, pixels / 4), "{sides:?} into {rect:?}");
            assert_eq!(count(&to, BLACK), (320 * 180 - pixels, 160 * 90 - pixels / 4), "{sides:?} into {rect:?}");
        }
    }

    #[test]
    fn what_does_not_fit_draws_nothing() {
        let from = Picture::filled(64, 64, ORANGE);
        let mut to = Picture::filled(64, 64, BLACK);
        for (x, y, width, height) in [
            (0, 0, 66, 64),
            (2, 0, 64, 64),
            (0, 64, 2, 2),
            (1, 0, 2, 2),
            (0, 0, 3, 2),
            (0, 0, 0, 2),
            (usize::MAX - 1, 0, 2, 2),
            (0, 0, usize::MAX - 1, 2),
        ] {
            assert!(!scale(from.view(), &mut to, Rect { x, y, width, height }));
        }
        let whole = Rect { x: 0, y: 0, width: 64, height: 64 };
        for view in [
            PictureView { height: 65, ..from.view() },
            PictureView { width: 0, ..from.view() },
            PictureView { v: &[], ..from.view() },
            PictureView { stride_y: 16, ..from.view() },
        ] {
            assert!(!scale(view, &mut to, whole));
        }
        assert_eq!(to, Picture::filled(64, 64, BLACK));
    }

    #[test]
    fn same_size_is_a_copy() {
        let mut from = Picture::filled(34, 18, BLACK);
        let ([y, u, v], _) = from.planes_mut();
        for plane in [y, u, v] {
            plane.iter_mut().enumerate().for_each(|(i, p)| *p = (i * 7 % 251) as u8);
        }
        let mut to = Picture::filled(34, 18, BLACK);
        assert!(scale(from.view(), &mut to, Rect { x: 0, y: 0, width: 34, height: 18 }));
        assert_eq!(from, to);
    }
}
