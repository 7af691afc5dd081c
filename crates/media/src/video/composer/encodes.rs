//! The encodes of one room's picture: one for each rendition that somebody wants, whoever and however many they are. Runs on
//! the composer's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::units::{Bitrate, FrameRate, Resolution};
use crate::video::access_unit::AccessUnit;
use crate::video::codec::{Encoder, EncoderSettings};
use crate::video::layout::Rect;
use crate::video::picture::{Picture, PictureView};
use crate::video::rendition::{Demand, Encoded, Rendition};
use crate::video::scale;

/// Keyframes of one encode are at least this far apart, however many ask.
const KEYFRAME_GAP: Duration = Duration::from_millis(500);
/// While it is recorded, a keyframe comes at least this often: players seek to it.
const RECORDED_KEYFRAME_GAP: Duration = Duration::from_secs(10);
/// An encode that nobody wants is kept this long: whoever renegotiates comes back to it.
const SPARE: Duration = Duration::from_secs(2);
/// Access units in use at once: those that wait for the worker, and a second of those that legs may be asked for again.
const POOL: usize = 64;

/// The encodes of a room.
pub(super) struct Encodes {
    demand: Arc<Demand>,
    resolution: Resolution,
    framerate: FrameRate,
    bitrate: Bitrate,
    encodes: [Option<Encode>; 4],
    small: Picture,
}

struct Encode {
    encoder: Encoder,
    /// Given out again when nobody holds them any more.
    pool: Vec<Arc<AccessUnit>>,
    keyframe_at: Option<Instant>,
    wanted_at: Instant,
}

impl Encodes {
    pub(super) fn new(demand: Arc<Demand>, resolution: Resolution, framerate: FrameRate, bitrate: Bitrate) -> Self {
        let small = Picture::filled(16, 16, crate::video::picture::BLACK);
        Self { demand, resolution, framerate, bitrate, encodes: [const { None }; 4], small }
    }

    /// Another size begins anew; another rate goes on without a keyframe. `framerate` is what is really made.
    pub(super) fn set(&mut self, resolution: Resolution, framerate: FrameRate, bitrate: Bitrate) -> Result<(), Error> {
        if resolution != self.resolution {
            self.encodes = [const { None }; 4];
        }
        (self.resolution, self.framerate, self.bitrate) = (resolution, framerate, bitrate);
        for (rendition, encode) in Rendition::ALL.into_iter().zip(&mut self.encodes) {
            if let Some(encode) = encode {
                encode.encoder.set(rendition.bitrate(bitrate), framerate)?;
            }
        }
        Ok(())
    }

    /// Encodes the picture as often as is wanted, and gives each to `out`. `recorded`: it is, and whether the recording can
    /// only go on with a keyframe. An encode that fails is made anew next time.
    pub(super) fn run(
        &mut self,
        picture: PictureView<'_>,
        at: Duration,
        due: Instant,
        recorded: Option<bool>,
        out: &mut dyn FnMut(Encoded),
    ) -> Result<(), Error> {
        let mut small_is_made = false;
        let mut outcome = Ok(());
        for rendition in Rendition::ALL {
            let recorded = recorded.filter(|_| rendition == Rendition::RECORDED);
            let wanted = recorded.is_some() || self.demand.is_wanted(rendition);
            let Some(slot) = self.encodes.get_mut(rendition.index()) else { continue };
            if !wanted {
                let spare = |encode: &mut Encode| due.saturating_duration_since(encode.wanted_at) > SPARE;
                drop(slot.take_if(spare));
                continue;
            }
            let view = if rendition.lower {
                if !small_is_made {
                    let size = rendition.resolution(self.resolution);
                    self.small.resize(size.width(), size.height());
                    let whole = Rect { x: 0, y: 0, width: size.width(), height: size.height() };
                    scale::scale(picture, &mut self.small, whole);
                    small_is_made = true;
                }
                self.small.view()
            } else {
                picture
            };
            let encode = match slot {
                Some(encode) => encode,
                None => match Encode::new(rendition, self.resolution, self.framerate, self.bitrate, due) {
                    Ok(encode) => slot.insert(encode),
                    Err(error) => {
                        outcome = Err(error);
                        continue;
                    }
                },
            };
            encode.wanted_at = due;
            let since = encode.keyframe_at.map(|at| due.saturating_duration_since(at));
            let keyframe = since.is_none_or(|since| {
                ((self.demand.keyframe_is_wanted(rendition) || recorded == Some(true)) && since >= KEYFRAME_GAP)
                    || (recorded.is_some() && since >= RECORDED_KEYFRAME_GAP)
            });
            match encode.encode(view, at, keyframe) {
                Ok(Some(unit)) => {
                    if unit.is_keyframe {
                        encode.keyframe_at = Some(due);
                        self.demand.keyframe_was_made(rendition);
                    }
                    out(Encoded { rendition, unit, at, due });
                }
                Ok(None) => {}
                Err(error) => {
                    *slot = None;
                    outcome = Err(error);
                }
            }
        }
        outcome
    }
}

impl Encode {
    fn new(
        rendition: Rendition,
        resolution: Resolution,
        framerate: FrameRate,
        bitrate: Bitrate,
        now: Instant,
    ) -> Result<Self, Error> {
        let settings = EncoderSettings {
            resolution: rendition.resolution(resolution),
            framerate,
            bitrate: rendition.bitrate(bitrate),
        };
        let encoder = Encoder::new(rendition.codec, settings)?;
        let pool = (0..POOL).map(|_| Arc::new(AccessUnit::empty(rendition.codec))).collect();
        Ok(Self { encoder, pool, keyframe_at: None, wanted_at: now })
    }

    /// `None` when the encoder leaves the picture out.
    fn encode(
        &mut self,
        picture: PictureView<'_>,
        at: Duration,
        keyframe: bool,
    ) -> Result<Option<Arc<AccessUnit>>, Error> {
        // The oldest first: the one that legs are most likely done with.
        self.pool.rotate_left(1);
        let free = self.pool.iter().position(|unit| Arc::strong_count(unit) == 1).unwrap_or(0);
        let Some(unit) = self.pool.get_mut(free) else { return Ok(None) };
        if Arc::get_mut(unit).is_none() {
            // All are still held: a leg keeps more than it should. Nobody waits for it.
            *unit = Arc::new(AccessUnit::empty(unit.codec));
        }
        let made = match Arc::get_mut(unit) {
            Some(unit) => self.encoder.encode(picture, at, keyframe, unit)?,
            None => false,
        };
        Ok(made.then(|| Arc::clone(unit)))
    }
}
