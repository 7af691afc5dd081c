//! Moving pictures for tests, the same for the same seed. Tests only.

use crate::video::picture::{BLACK, Picture, PictureView};

/// What moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// What a room shows: gradients, blocks that move slowly, a little noise.
    Calm,
    /// A texture with detail of every size, which pans.
    Detail,
    /// Another texture every eighth picture.
    Cuts,
    /// The texture behind the noise of a camera in the dark.
    Grain,
    /// Every pixel anew in every picture: nothing can be predicted, and next to nothing saved.
    Noise,
}

impl Scene {
    /// Easy ones first.
    pub(crate) const ALL: [Self; 5] = [Self::Calm, Self::Detail, Self::Cuts, Self::Grain, Self::Noise];
}

/// A sequence of pictures.
#[derive(Debug)]
pub(crate) struct Film {
    scene: Scene,
    random: Random,
    picture: Picture,
    /// `SIDE` rows of as many.
    texture: Vec<u8>,
    n: usize,
}

const SIDE: usize = 512;

impl Film {
    /// Of one scene; sides of at least one pixel.
    pub(crate) fn new(scene: Scene, width: usize, height: usize, seed: u64) -> Self {
        let texture = texture(seed);
        Self { scene, random: Random(seed | 1), picture: Picture::filled(width, height, BLACK), texture, n: 0 }
    }

    /// The next picture.
    pub(crate) fn next(&mut self) -> PictureView<'_> {
        let (scene, n, random, texture) = (self.scene, self.n, &mut self.random, &self.texture);
        let (width, height) = (self.picture.width(), self.picture.height());
        let (planes, strides) = self.picture.planes_mut();
        let at = |x: usize, y: usize| texture[y % SIDE * SIDE + x % SIDE];
        for (plane, pixels) in planes.into_iter().enumerate() {
            let stride = strides[plane.min(1)];
            let scale = if plane == 0 { 1 } else { 2 };
            for (y, row) in pixels.chunks_exact_mut(stride).enumerate() {
                let mut noise = 0;
                for (x, pixel) in row.iter_mut().enumerate() {
                    if x % 8 == 0 {
                        noise = random.next();
                    }
                    let byte = (noise >> (x % 8 * 8)) as u8;
                    let (x, y) = (x * scale, y * scale);
                    let coloured = |value: u8| if plane == 0 { value } else { 96 + value / 4 };
                    *pixel = match scene {
                        Scene::Calm => calm(x, y, n, plane, width, height).wrapping_add(byte & 3),
                        Scene::Detail => coloured(at(x + n * 3, y + n * 2)),
                        Scene::Cuts => coloured(at(x + n / 8 * 77, (y + n / 8 * 131) * (1 + n / 8 % 2))),
                        Scene::Grain => coloured(at(x + n, y) / 2 + 60).wrapping_add(byte & 31),
                        Scene::Noise => byte.clamp(16, 235),
                    };
                }
            }
        }
        self.n += 1;
        self.picture.view()
    }
}

fn calm(x: usize, y: usize, n: usize, plane: usize, width: usize, height: usize) -> u8 {
    let (side, left, top) = (height / 4 + 1, n * 3 % width, height / 4 + n % 16);
    if x.wrapping_sub(left) < side && y.wrapping_sub(top) < side {
        return [180, 90, 170][plane] + ((x - left) * 20 / side) as u8;
    }
    (40 + x * 100 / width + y * 60 / height) as u8
}

/// Value noise in octaves: half the amplitude at half the size, as in natural pictures.
fn texture(seed: u64) -> Vec<u8> {
    let mut sum = vec![16usize; SIDE * SIDE];
    for (cell, amplitude) in [(64, 104), (32, 52), (16, 26), (8, 13), (4, 12), (2, 8)] {
        let knots = SIDE / cell;
        let mut random = Random((seed ^ cell as u64) | 1);
        let knot: Vec<usize> = (0..knots * knots).map(|_| random.below(amplitude + 1)).collect();
        for (i, value) in sum.iter_mut().enumerate() {
            let (x, y) = (i % SIDE, i / SIDE);
            let (left, top, right, below) = (x / cell, y / cell, x % cell, y % cell);
            let at = |row: usize, column: usize| knot[row % knots * knots + column % knots];
            let above = at(top, left) * (cell - right) + at(top, left + 1) * right;
            let under = at(top + 1, left) * (cell - right) + at(top + 1, left + 1) * right;
            *value += (above * (cell - below) + under * below) / (cell * cell);
        }
    }
    sum.into_iter().map(|value| value.min(235) as u8).collect()
}

/// Seeded pseudo-random numbers (xorshift64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next one.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

/// Likeness of the luma of two pictures of the same size in dB; 99 when they are equal.
pub(crate) fn psnr(a: &PictureView<'_>, b: &PictureView<'_>) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let width = a.width;
    let mut sum = 0u64;
    for (a, b) in a.y.chunks(a.stride_y).zip(b.y.chunks(b.stride_y)).take(a.height) {
        sum += a.iter().zip(b).take(width).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum::<u64>();
    }
    if sum == 0 { 99.0 } else { 10.0 * (65_025.0 * (a.width * a.height) as f64 / sum as f64).log10() }
}
