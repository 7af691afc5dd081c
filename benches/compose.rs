//! Composing: every layout at 1280×720 from pictures of 640×360, with strips, and frames on every second tile. At 30 pictures
//! a second a picture has 33,300 µs, most of them for decoding and encoding; composing nine tiles should take 3,000 µs at the
//! most, of them 2,000 for everything but scaling. Measured on an AMD EPYC: layouts 1 to 9 take 133, 51, 751, 69, 573, 1,170, 1,120,
//! 603 and 1,250 µs, nine tiles without scaling 100, nine new name tiles 2,030.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::video::canvas::{Canvas, Face, Show};
use media::video::layout::Layout;
use media::video::picture::Picture;
use media::{LegId, Resolution};

const NAMES: [&str; 9] = ["Anna", "Bert", "Clara", "Dorothea Krähenbühl", "Emre", "Fatou", "Greta", "Hye-jin", "Iwan"];

fn face<'a>(n: usize, show: Show<'a>) -> Face<'a> {
    let name = NAMES.get(n).copied().unwrap_or_default();
    Face { leg: LegId(n as u64), name, show, is_muted: n % 3 == 1, is_talking: n.is_multiple_of(2) }
}

fn compose(c: &mut Criterion) {
    let size = Resolution::new(1280, 720).expect("even sides");
    let mut source = Picture::filled(640, 360, [0, 110, 150]);
    let ([y, ..], _) = source.planes_mut();
    y.iter_mut().enumerate().for_each(|(i, luma)| *luma = 40 + (i * 7 % 180) as u8);

    for layout in Layout::ALL.into_iter().filter(|layout| *layout != Layout::Auto) {
        let mut canvas = Canvas::new(size, layout, true);
        c.bench_function(&format!("compose/layout {} of 360p", layout.number()), |b| {
            b.iter(|| {
                for n in 0..layout.tiles() {
                    canvas.draw(n, &face(n, Show::Picture(source.view())));
                }
                black_box(canvas.picture());
            });
        });
    }

    // Sources hardly larger than their tiles are copied: what is left is strips, frames and what lies below them.
    let exact = Picture::filled(426, 240, [120, 110, 150]);
    let mut canvas = Canvas::new(size, Layout::Nine, true);
    c.bench_function("compose/layout 9 without scaling", |b| {
        b.iter(|| {
            for n in 0..9 {
                canvas.draw(n, &face(n, Show::Picture(exact.view())));
            }
            black_box(canvas.picture());
        });
    });

    let mut canvas = Canvas::new(size, Layout::Nine, true);
    let mut is_other = false;
    c.bench_function("compose/layout 9 of new name tiles", |b| {
        b.iter(|| {
            is_other = !is_other;
            for n in 0..9 {
                let other = face((n + usize::from(is_other)) % 9, Show::Name);
                canvas.draw(n, &other);
            }
            black_box(canvas.picture());
        });
    });
}

criterion_group!(benches, compose);
criterion_main!(benches);
