//! The video codecs, one picture of moving content at a time. Budget: a composer's core has 66,000 µs for a picture of all its
//! rooms at 15 a second; encoding 1280x720 may take 8,000 of them, so that seven rooms of four fit, decoding 640x360 700 each. Measured on an AMD EPYC:
//! encoding H.264 2,580 (640x360: 630), VP8 3,900; decoding H.264 of 1280x720 1,120 a picture, of 640x360 290.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use media::video::VideoCodec;
use media::video::access_unit::AccessUnit;
use media::video::codec::{Decoder, Encoder, EncoderSettings};
use media::video::picture::{BLACK, Picture};
use media::{Bitrate, FrameRate, Resolution};

const SIZES: [(u32, u32, u32); 2] = [(1280, 720, 1000), (640, 360, 400)];
const RATE: FrameRate = FrameRate::per_second(15);

/// Gradients, of which a quarter moves; a texture of waves, and the noise of a camera.
fn film(width: usize, height: usize) -> Vec<Picture> {
    let mut noise = 1u32;
    (0..30usize)
        .map(|n| {
            let mut picture = Picture::filled(width, height, BLACK);
            let (planes, strides) = picture.planes_mut();
            for (plane, pixels) in planes.into_iter().enumerate() {
                let stride = strides[plane.min(1)];
                for (i, pixel) in pixels.iter_mut().enumerate() {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let (x, y) = (i % stride, i / stride);
                    let moving = x * 2 < stride && y * 2 < rows_of(height, plane);
                    let at = if moving { x + n * 3 } else { x };
                    let wave = ((at as f32 * 0.13).sin() * (y as f32 * 0.11).cos() * 40.0) as i32;
                    *pixel = (110 + wave + (at % 64) as i32 / 2 + (noise >> 30) as i32) as u8;
                }
            }
            picture
        })
        .collect()
}

fn rows_of(height: usize, plane: usize) -> usize {
    if plane == 0 { height } else { height / 2 }
}

fn encoder(codec: VideoCodec, width: u32, height: u32, kbps: u32) -> Encoder {
    let resolution = Resolution::new(width, height).expect("a size that is allowed");
    let settings = EncoderSettings { resolution, framerate: RATE, bitrate: Bitrate::kbps(kbps) };
    Encoder::new(codec, settings).expect("an encoder")
}

fn encode(c: &mut Criterion) {
    let both = SIZES.into_iter().map(|size| ("h264", VideoCodec::H264, size));
    for (name, codec, (width, height, kbps)) in both.chain([("vp8", VideoCodec::Vp8, SIZES[0])]) {
        let film = film(width as usize, height as usize);
        let mut encoder = encoder(codec, width, height, kbps);
        let mut out = AccessUnit::empty(codec);
        let mut n = 0;
        c.bench_function(&format!("{name}/encode/{width}x{height}"), |b| {
            b.iter(|| {
                let picture = &film[n as usize % film.len()];
                n += 1;
                black_box(encoder.encode(picture.view(), RATE.due(n), false, &mut out)).expect("a picture");
            });
        });
    }
}

fn decode(c: &mut Criterion) {
    for (width, height, kbps) in SIZES {
        let mut encoder = encoder(VideoCodec::H264, width, height, kbps);
        let mut out = AccessUnit::empty(VideoCodec::H264);
        let units: Vec<AccessUnit> = (0..)
            .zip(film(width as usize, height as usize))
            .map(|(n, picture)| {
                encoder.encode(picture.view(), RATE.due(n), false, &mut out).expect("a picture");
                out.clone()
            })
            .collect();
        c.bench_function(&format!("h264/decode/30 pictures of {width}x{height}"), |b| {
            b.iter_batched_ref(
                || Decoder::new(VideoCodec::H264).expect("a decoder"),
                |decoder| {
                    for unit in &units {
                        let shown = decoder.decode(unit, |picture| black_box(picture.y.len()));
                        shown.expect("a picture");
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = encode, decode
}
criterion_main!(benches);
