//! What is drawn where: colours found at pixels, and nothing where nothing changed.

use super::*;

const SIZES: [(u32, u32); 6] = [(1280, 720), (720, 1280), (144, 144), (640, 480), (352, 288), (16, 16)];
const NAMES: [&str; 5] =
    ["Anna Müller", "", "+49 30 1234567", "山田太郎\n", "Somebody with a very long name that fits into no tile at all"];

fn size((width, height): (u32, u32)) -> Resolution {
    Resolution::new(width, height).unwrap()
}

fn colour(n: usize) -> Colour {
    [90 + 15 * n as u8, 60 + 17 * n as u8, 220 - 19 * n as u8]
}

fn at(picture: &Picture, x: usize, y: usize) -> Colour {
    let view = picture.view();
    let uv = y / 2 * view.stride_uv + x / 2;
    [view.y[y * view.stride_y + x], view.u[uv], view.v[uv]]
}

#[track_caller]
fn assert_close(found: Colour, expected: Colour, what: &str) {
    assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 2), "{what}: {found:?}, not {expected:?}");
}

fn face<'a>(leg: u64, name: &'a str, show: Show<'a>) -> Face<'a> {
    Face { leg: LegId(leg), name, show, is_muted: false, is_talking: false }
}

/// Pixels that differ between two pictures of one size, as the rectangle that holds them.
fn difference(a: &Picture, b: &Picture) -> Option<Rect> {
    let mut found: Option<[usize; 4]> = None;
    let row = |picture: &Picture, y: usize| {
        let view = picture.view();
        let (at, at_uv) = (y * view.stride_y, y / 2 * view.stride_uv);
        [&view.y[at..at + view.width], &view.u[at_uv..at_uv + view.stride_uv], &view.v[at_uv..at_uv + view.stride_uv]]
            .map(<[u8]>::to_vec)
    };
    for y in (0..a.height()).filter(|y| row(a, *y) != row(b, *y)) {
        for x in 0..a.width() {
            if at(a, x, y) != at(b, x, y) {
                let [left, upper, right, lower] = found.unwrap_or([x, y, x, y]);
                found = Some([left.min(x), upper.min(y), right.max(x), lower.max(y)]);
            }
        }
    }
    found.map(|[left, upper, right, lower]| Rect {
        x: left,
        y: upper,
        width: right + 1 - left,
        height: lower + 1 - upper,
    })
}

fn holds(outer: Rect, inner: Rect) -> bool {
    inner.x >= outer.x
        && inner.y >= outer.y
        && inner.x + inner.width <= outer.x + outer.width
        && inner.y + inner.height <= outer.y + outer.height
}

#[test]
fn each_tile_shows_its_picture_on_every_canvas() {
    for sides in SIZES {
        for layout in Layout::ALL {
            let mut canvas = Canvas::new(size(sides), layout, true);
            for n in 0..layout.tiles() {
                let source = Picture::filled(640, 360, colour(n));
                let face =
                    Face { is_muted: true, is_talking: true, ..face(n as u64, "Anna", Show::Picture(source.view())) };
                assert!(canvas.draw(n, &face));
            }
            for (n, outer) in tiles(layout, size(sides)).iter().enumerate() {
                let rect = canvas.tile(n).unwrap();
                assert!(holds(*outer, rect) && rect.is_even() && !rect.is_empty(), "{layout:?} {sides:?} {rect:?}");
                if rect.width > 16 && rect.height > 16 {
                    let found = at(canvas.picture(), rect.x + rect.width / 2, rect.y + rect.height / 2);
                    assert_close(found, colour(n), &format!("{layout:?} {sides:?} tile {n}"));
                    let place = placed(rect, 640, 360);
                    assert_close(at(canvas.picture(), place.x, place.y), TALKING, "frame");
                }
            }
        }
    }
}

#[test]
fn drawing_a_tile_touches_no_other_and_no_border() {
    for sides in SIZES {
        for layout in Layout::ALL {
            let mut canvas = Canvas::new(size(sides), layout, true);
            for (n, name) in (0..layout.tiles()).zip(NAMES.into_iter().cycle()) {
                let before = canvas.picture().clone();
                let source = Picture::filled(333, 1 + 97 * n, colour(n));
                let show = if n % 2 == 0 { Show::Picture(source.view()) } else { Show::Name };
                canvas.draw(n, &Face { is_muted: true, is_talking: true, ..face(n as u64, name, show) });
                let touched = difference(&before, canvas.picture()).unwrap();
                let rect = canvas.tile(n).unwrap();
                assert!(holds(rect, touched), "{layout:?} {sides:?} {n}: {touched:?} is past {rect:?}");
            }
        }
    }
}

#[test]
fn picture_keeps_its_shape() {
    for (source, tile, expected) in [
        ((640, 360), (1280, 720), (0, 0, 1280, 720)),
        ((640, 360), (638, 716), (0, 178, 638, 358)),
        ((480, 640), (1280, 720), (370, 0, 540, 720)),
        ((640, 360), (424, 236), (0, 0, 424, 236)),
        ((352, 288), (1280, 720), (200, 0, 880, 720)),
        ((1920, 2), (100, 100), (0, 48, 100, 2)),
        ((2, 1920), (100, 100), (48, 0, 2, 100)),
        ((1, 1), (16, 8), (4, 0, 8, 8)),
    ] {
        let tile = Rect { x: 10, y: 20, width: tile.0, height: tile.1 };
        let (x, y, width, height) = expected;
        let expected = Rect { x: x + 10, y: y + 20, width, height };
        let found = placed(tile, source.0, source.1);
        assert_eq!(found, expected, "{source:?} into {tile:?}");
        assert!(found.is_even());
    }
}

#[test]
fn crop_makes_whole_multiples_and_loses_little() {
    for (source, place, expected) in [
        ((640, 360), (636, 356), (636, 356)),
        ((1280, 720), (636, 356), (1272, 712)),
        ((640, 360), (316, 176), (632, 352)),
        ((640, 360), (156, 86), (624, 344)),
        ((640, 360), (1280, 720), (640, 360)),
        ((640, 360), (424, 236), (640, 356)),
        ((641, 361), (638, 360), (638, 360)),
        ((1, 1), (8, 8), (1, 1)),
        ((1920, 2), (100, 2), (1920, 2)),
    ] {
        let picture = Picture::filled(source.0, source.1, BORDER);
        let place = Rect { x: 0, y: 0, width: place.0, height: place.1 };
        let part = cropped(picture.view(), place).unwrap();
        assert!(part.is_sound());
        assert_eq!((part.width, part.height), expected, "{source:?} into {place:?}");
    }
}

#[test]
fn what_has_not_changed_is_not_drawn_again() {
    let mut canvas = Canvas::new(size((640, 360)), Layout::Four, true);
    let source = Picture::filled(320, 180, colour(3));
    let picture = face(1, "Anna", Show::Picture(source.view()));
    assert!(canvas.draw(0, &picture));
    assert!(!canvas.draw(0, &Face { show: Show::Still, ..picture }));
    assert!(canvas.draw(0, &Face { show: Show::Name, ..picture }));
    assert!(!canvas.draw(0, &Face { show: Show::Name, ..picture }));
    // Without a picture there is no still one.
    assert!(!canvas.draw(0, &Face { show: Show::Still, ..picture }));
    assert!(canvas.draw(0, &Face { show: Show::Name, name: "Bert", ..picture }));
    assert!(!canvas.draw(4, &picture));
    assert!(!canvas.vacate(1) && canvas.vacate(0) && !canvas.vacate(0) && !canvas.vacate(9));
    assert!(difference(canvas.picture(), Canvas::new(size((640, 360)), Layout::Four, true).picture()).is_none());
}

#[test]
fn strip_mark_and_frame_come_and_go_over_a_still_picture_and_a_name() {
    let mut source = Picture::filled(320, 180, colour(5));
    let ([y, ..], _) = source.planes_mut();
    y.iter_mut().enumerate().for_each(|(i, p)| *p = 40 + (i * 31 % 180) as u8);
    for show in [Show::Picture(source.view()), Show::Name] {
        let mut canvas = Canvas::new(size((640, 360)), Layout::Four, false);
        let plain = face(1, "Anna", show);
        canvas.draw(0, &plain);
        let bare = canvas.picture().clone();
        let still = Face { show: Show::Still, ..plain };
        for (is_muted, is_talking, has_names) in
            [(true, false, false), (true, true, true), (false, true, true), (false, false, true), (true, false, true)]
        {
            canvas.set_names(has_names);
            canvas.draw(0, &Face { is_muted, is_talking, ..still });
            let has_strip = has_names && matches!(show, Show::Picture(_));
            let is_bare = difference(&bare, canvas.picture()).is_none();
            assert_eq!(is_bare, !is_muted && !is_talking && !has_strip, "{is_muted} {is_talking} {has_names}");
        }
        canvas.set_names(false);
        canvas.draw(0, &still);
        assert_eq!(difference(&bare, canvas.picture()), None);
    }
}

#[test]
fn nothing_of_an_earlier_leg_stays() {
    let mut canvas = Canvas::new(size((640, 360)), Layout::Full, true);
    let source = Picture::filled(640, 360, colour(2));
    canvas.draw(0, &face(1, "Anna", Show::Picture(source.view())));
    assert!(canvas.draw(0, &face(2, "Anna", Show::Still)));
    let mut fresh = Canvas::new(size((640, 360)), Layout::Full, true);
    fresh.draw(0, &face(2, "Anna", Show::Name));
    assert_eq!(difference(canvas.picture(), fresh.picture()), None);
}

#[test]
fn picture_that_is_not_sound_costs_the_tile_its_picture() {
    let mut canvas = Canvas::new(size((640, 360)), Layout::Full, true);
    let source = Picture::filled(640, 360, colour(2));
    let broken = PictureView { height: 361, ..source.view() };
    assert!(canvas.draw(0, &face(1, "Anna", Show::Picture(broken))));
    assert!(!canvas.draw(0, &face(1, "Anna", Show::Name)));
}

#[test]
fn other_size_and_layout_begin_anew() {
    let mut canvas = Canvas::new(size((640, 360)), Layout::Full, true);
    let source = Picture::filled(640, 360, colour(2));
    canvas.draw(0, &face(1, "Anna", Show::Picture(source.view())));
    let before = canvas.picture().clone();
    canvas.arrange(size((640, 360)), Layout::Full);
    assert_eq!(difference(canvas.picture(), &before), None);
    canvas.arrange(size((720, 1280)), Layout::Nine);
    assert_eq!((canvas.picture().width(), canvas.picture().height()), (720, 1280));
    let fresh = Canvas::new(size((720, 1280)), Layout::Nine, true);
    assert_eq!(difference(canvas.picture(), fresh.picture()), None);
}
