//! Rate control: which quantizer each picture gets. The libraries' own keep the quantizer of one scene for the first picture of
//! the next and bound keyframes by tables: a cut between textures at 1280x720, 15 a second and 1 Mbit/s came to 325,000 bytes of
//! OpenH264 and 224,000 of libvpx, two and a half seconds' worth, where this makes it 12,000. Runs on the composer's thread;
//! arithmetic only.

use super::EncoderSettings;
use super::debt::Debt;
use crate::video::picture::PictureView;

/// How a codec counts its quantizers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// The least that is used. Below it, nobody sees a difference.
    pub(super) least: f32,
    /// The most that there is.
    pub(super) most: f32,
    /// Steps that halve a picture.
    pub(super) half: f32,
    /// Bits of a first keyframe per pixel and step of detail at quantizer 0, as a power of two.
    pub(super) first: f32,
}

/// A keyframe may cost what the bitrate brings in this time. More is sharper, and longer on its way.
const KEYFRAME_S: f32 = 0.35;

/// What is owed in a steady stream: little enough to leave room for a keyframe, enough that a quiet picture does not lose its
/// share.
const STEADY_S: f32 = 0.1;

/// Learns from each picture how much the next will cost.
#[derive(Debug)]
pub(super) struct RateControl {
    scale: Scale,
    inter: Option<Learnt>,
    key: Option<Learnt>,
    /// Of the last picture that was encoded.
    sample: Vec<u8>,
    quantizer: f32,
    /// Of the picture that is being encoded.
    looks: Looks,
}

/// From a picture that was encoded.
#[derive(Clone, Copy, Debug)]
struct Learnt {
    /// Its bits at quantizer 0, as a power of two.
    bits: f32,
    quantizer: f32,
    looks: Looks,
}

/// What is seen of a picture without encoding it, per sampled pixel.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    /// Mean difference of neighbours.
    detail: f32,
    /// Mean difference to the picture before.
    change: f32,
}

impl RateControl {
    /// That has seen nothing yet.
    pub(super) fn new(scale: Scale) -> Self {
        Self { scale, inter: None, key: None, sample: Vec::new(), quantizer: 0.0, looks: Looks::default() }
    }

    /// Looks at a picture and chooses its quantizer.
    pub(super) fn choose(
        &mut self,
        picture: &PictureView<'_>,
        keyframe: bool,
        debt: &Debt,
        settings: EncoderSettings,
    ) -> u8 {
        self.looks = self.look(picture);
        let scale = self.scale;
        let owed = debt.owed().as_secs_f32();
        let share = 1.0 / settings.framerate.pictures() as f32;
        let seconds = if keyframe {
            (KEYFRAME_S + STEADY_S - owed).clamp(share, KEYFRAME_S.max(share))
        } else {
            share * (1.0 + STEADY_S - owed).clamp(0.25, 1.1)
        };
        let bits = (settings.bitrate.as_bps() as f32 * seconds).max(1.0).log2();
        let alone = self.standing_alone(bits, picture);
        let ideal = match self.inter {
            _ if keyframe => alone,
            Some(learnt) => {
                let harder = ratio(self.looks.change, learnt.looks.change);
                let ideal = learnt.ideal(bits, harder, scale);
                // A cut, of which the pictures before tell nothing. And whatever changes, it is never dearer than all of it anew.
                if harder > 1.0 { alone } else { ideal.min(alone) }
            }
            None => alone - scale.half,
        };
        // Better at once would be seen as pumping; worse has to be at once.
        let least = if self.quantizer > 0.0 { self.quantizer - scale.half / 3.0 } else { scale.least };
        self.quantizer = ideal.max(least).clamp(scale.least, scale.most).round();
        self.quantizer as u8
    }

    /// So many bytes it took.
    pub(super) fn learn(&mut self, bytes: usize, keyframe: bool) {
        let (quantizer, looks) = (self.quantizer, self.looks);
        let bits = ((bytes * 8) as f32).max(1.0).log2() + quantizer / self.scale.half;
        let seen = Learnt { bits, quantizer, looks };
        if keyframe {
            self.key = Some(seen);
            return;
        }
        // A cut tells of keyframes too: both show everything anew.
        if self.key.is_some_and(|key| bits > key.bits + ratio(looks.detail, key.looks.detail)) {
            self.key = Some(seen);
        }
        self.inter = Some(match self.inter {
            // Half of each: pictures of one scene differ by noise.
            Some(before) if ratio(looks.change, before.looks.change).abs() < 1.0 => {
                Learnt { bits: (before.bits + bits) / 2.0, ..seen }
            }
            _ => seen,
        });
    }

    /// The quantizer with which the picture would take so many bits (as a power of two) without any before it.
    fn standing_alone(&self, bits: f32, picture: &PictureView<'_>) -> f32 {
        match self.key {
            Some(key) => {
                let ideal = key.ideal(bits, ratio(self.looks.detail, key.looks.detail), self.scale);
                // Far below what is known, grain that was quantized away comes back and costs several times as much.
                if ideal < key.quantizer { key.quantizer - (key.quantizer - ideal) * 0.4 } else { ideal }
            }
            None => {
                let pixels = (picture.width * picture.height) as f32;
                (pixels.log2() + (self.looks.detail + 1.0).log2() + self.scale.first - bits) * self.scale.half
            }
        }
    }

    fn look(&mut self, picture: &PictureView<'_>) -> Looks {
        let (mut detail, mut change, mut n) = (0u32, 0u32, 0usize);
        // Two rows of every eight, and one pixel of every eight with those beside and below it.
        let rows = picture.y.chunks(picture.stride_y).take(picture.height);
        for (row, below) in rows.clone().step_by(8).zip(rows.skip(1).step_by(8)) {
            let width = picture.width.min(below.len());
            let row = row.get(..width).unwrap_or(&[]).chunks_exact(8);
            for (pixels, below) in row.zip(below.chunks_exact(8)) {
                let (&[_, _, here, beside, ..], &[_, _, below, ..]) = (pixels, below) else { continue };
                detail += u32::from(here.abs_diff(beside)) + u32::from(here.abs_diff(below));
                match self.sample.get_mut(n) {
                    Some(before) => change += u32::from(std::mem::replace(before, here).abs_diff(here)),
                    None => self.sample.push(here),
                }
                n += 1;
            }
        }
        let mean = |sum: u32| sum as f32 / n.max(1) as f32;
        Looks { detail: mean(detail) / 2.0, change: mean(change) }
    }
}

impl Learnt {
    /// The quantizer for so many bits, when the picture looks by so much (both powers of two) harder than this one.
    fn ideal(self, bits: f32, harder: f32, scale: Scale) -> f32 {
        (self.bits + harder - bits) * scale.half
    }
}

/// In powers of two. A little of each side is taken for granted: pictures that stand still cost something too.
fn ratio(now: f32, before: f32) -> f32 {
    ((now + 0.5) / (before + 0.5)).log2()
}
