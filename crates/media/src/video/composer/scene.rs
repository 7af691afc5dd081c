//! One room's picture in the making: who is shown where, whose pictures are decoded, what has to be drawn anew. Runs on the
//! composer's thread; time is an argument.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::Figures;
use super::encodes::Encodes;
use super::pace::{Effort, Pace};
use crate::command::{Event, VideoSpec};
use crate::record::PictureTap;
use crate::units::{FrameRate, LegId, RoomId};
use crate::video::VideoCodec;
use crate::video::access_unit::AccessUnit;
use crate::video::canvas::{Canvas, Face, Show};
use crate::video::codec::{DecodeError, Decoder};
use crate::video::feed::Source;
use crate::video::layout::{MAX_TILES, Rect};
use crate::video::picture::{Picture, PictureView};
use crate::video::rendition::{Demand, Encoded, Rendition};
use crate::video::stage::{Arrangement, Stage};

/// A leg whose pictures stop keeps its last one this long, then its name is shown.
const FROZEN: Duration = Duration::from_secs(3);
/// A decoder that fails this often in a row is made anew.
const DECODE_FAILURES: u32 = 8;
/// Pictures of one leg decoded for one of ours: a 60 fps sender in a room of 5, and some for a jitter of the network.
const MAX_DECODED: usize = 16;

/// A leg that may be shown.
struct Performer {
    leg: LegId,
    name: Arc<str>,
    source: Source,
    decoder: Option<(VideoCodec, Decoder)>,
    failures: u32,
    /// When its last picture was drawn.
    pictured: Option<Instant>,
}

/// A room's picture.
pub(super) struct Scene {
    room: RoomId,
    spec: VideoSpec,
    canvas: Canvas,
    arrangement: Arrangement,
    performers: Vec<Performer>,
    encodes: Encodes,
    encoded: Sender<Encoded>,
    tap: Option<PictureTap>,
    pace: Pace,
    /// When picture 0 was due, and which is next.
    began: Option<Instant>,
    next: u64,
    /// Media time of picture 0 of the present rate.
    at_began: Duration,
    /// Told once.
    failed: bool,
}

impl Scene {
    pub(super) fn new(room: RoomId, spec: VideoSpec, demand: Arc<Demand>, encoded: Sender<Encoded>) -> Self {
        let arrangement = *Stage::new().arrangement();
        let canvas = Canvas::new(spec.resolution, arrangement.layout, spec.name_strips);
        let encodes = Encodes::new(demand, spec.resolution, spec.framerate, spec.bitrate);
        Self {
            room,
            canvas,
            arrangement,
            performers: Vec::new(),
            encodes,
            encoded,
            tap: None,
            pace: Pace::new(MAX_TILES),
            began: None,
            next: 0,
            at_began: Duration::ZERO,
            failed: false,
            spec,
        }
    }

    pub(super) const fn room(&self) -> RoomId {
        self.room
    }

    /// When the next picture is due; never, while nobody is there.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.began? + self.spec.framerate.due(self.next))
    }

    /// A copy of the picture as it is now.
    pub(super) fn preview(&self) -> Picture {
        self.canvas.picture().clone()
    }

    // -- orders --------------------------------------------------------------------------------------------------------

    pub(super) fn enter(&mut self, leg: LegId, name: Arc<str>, source: Source, now: Instant) {
        self.performers.push(Performer { leg, name, source, decoder: None, failures: 0, pictured: None });
        self.began.get_or_insert(now);
        self.cast();
    }

    pub(super) fn exit(&mut self, leg: LegId) {
        self.performers.retain(|performer| performer.leg != leg);
        if self.performers.is_empty() {
            self.rest();
        }
    }

    /// Nobody is there: no timer, no encoder, until somebody comes. Media time goes on where it was.
    fn rest(&mut self) {
        self.at_began += self.spec.framerate.due(self.next);
        (self.began, self.next) = (None, 0);
    }

    /// Another size, rate or look, from the next picture on.
    pub(super) fn set(&mut self, spec: VideoSpec) {
        let old = std::mem::replace(&mut self.spec, spec);
        if old.framerate != self.spec.framerate
            && let Some(began) = self.began
        {
            // The next picture stays where it was due, the later ones follow at the new rate.
            let next = old.framerate.due(self.next);
            self.at_began += next;
            (self.began, self.next) = (Some(began + next), 0);
        }
        self.canvas.set_names(self.spec.name_strips);
        if old.resolution != self.spec.resolution {
            self.move_pictures(self.arrangement);
        }
        self.retune();
    }

    /// Who is shown where, from the next picture on.
    pub(super) fn arrange(&mut self, arrangement: Arrangement) {
        if arrangement.layout == self.arrangement.layout {
            // Tiles that change hands are drawn when their turn comes; the others stay as they are.
            self.arrangement = arrangement;
        } else {
            self.move_pictures(arrangement);
        }
        self.cast();
    }

    /// Another layout or size: who is still shown keeps the last picture until the next one comes.
    fn move_pictures(&mut self, arrangement: Arrangement) {
        let before = self.canvas.picture().clone();
        let old = std::mem::replace(&mut self.arrangement, arrangement);
        let places = old.tiles.map(|leg| leg.and_then(|leg| old.tile_of(leg)).and_then(|tile| self.canvas.tile(tile)));
        self.canvas.arrange(self.spec.resolution, arrangement.layout);
        for (tile, leg) in arrangement.tiles.into_iter().enumerate() {
            let Some(performer) = self.performers.iter().find(|performer| Some(performer.leg) == leg) else { continue };
            let place = old.tile_of(performer.leg).and_then(|was| places.get(was).copied().flatten());
            if performer.pictured.is_some()
                && let Some(view) = place.and_then(|rect| cut(before.view(), rect))
            {
                self.canvas.draw(tile, &performer.face(Show::Picture(view)));
            }
        }
    }

    /// Recorded from the next picture on, or not any more.
    pub(super) fn record(&mut self, tap: Option<PictureTap>) {
        if let Some(ended) = std::mem::replace(&mut self.tap, tap) {
            ended.finish();
        }
    }

    /// Tells sources whether they are shown; who is not has no decoder.
    fn cast(&mut self) {
        let decoded = self.pace.effort().decoded;
        for performer in &mut self.performers {
            let is_shown = self.arrangement.tile_of(performer.leg).is_some_and(|tile| tile < decoded);
            performer.source.show(is_shown);
            if !is_shown {
                performer.source.discard();
                performer.decoder = None;
                performer.pictured = None;
            }
        }
    }

    // -- one picture ---------------------------------------------------------------------------------------------------

    /// Makes the picture that is due. `now` is when it begins, `clock` tells when it is done.
    pub(super) fn compose(&mut self, now: Instant, clock: impl Fn() -> Instant, figures: &Figures) -> Vec<Event> {
        let mut facts = Vec::new();
        let Some(due) = self.due() else { return facts };
        let at = self.at_began + self.spec.framerate.due(self.next);
        for tile in 0..MAX_TILES {
            self.draw(tile, now, figures);
        }
        self.encode(at, due, figures, &mut facts);
        figures.pictures.fetch_add(1, Relaxed);
        let done = clock();
        self.next += u64::from(self.pace.effort().every);
        let behind = done.saturating_duration_since(due);
        if let Some(effort) = self.pace.done(self.spec.framerate, behind) {
            self.cast();
            self.retune();
            facts.push(self.strain(effort));
        }
        self.catch_up(done, figures);
        facts
    }

    /// Pictures whose time has passed are left out: time on the wire goes on without them.
    fn catch_up(&mut self, now: Instant, figures: &Figures) {
        let Some(began) = self.began else { return };
        let passed = now.saturating_duration_since(began);
        let due = (passed.as_micros() * u128::from(self.spec.framerate.pictures()) / 1_000_000) as u64;
        if due > self.next {
            figures.skipped.fetch_add(due - self.next, Relaxed);
            self.next = due;
        }
    }

    fn strain(&self, effort: Effort) -> Event {
        let framerate = self.made();
        Event::PictureStrained { room: self.room, framerate, decoded: effort.decoded.min(MAX_TILES) }
    }

    /// Pictures a second that are really made.
    fn made(&self) -> FrameRate {
        FrameRate::per_second(self.spec.framerate.pictures() / self.pace.effort().every)
    }

    /// Encoders follow what is set and what is made.
    fn retune(&mut self) {
        let made = self.made();
        if let Err(error) = self.encodes.set(self.spec.resolution, made, self.spec.bitrate) {
            tracing::warn!(room = %self.room, %error, "an encoder does not take its new rate");
        }
    }

    fn draw(&mut self, tile: usize, now: Instant, figures: &Figures) {
        let leg = self.arrangement.tiles.get(tile).copied().flatten();
        let Some(performer) = self.performers.iter_mut().find(|performer| Some(performer.leg) == leg) else {
            self.canvas.vacate(tile);
            return;
        };
        let canvas = &mut self.canvas;
        if tile < self.pace.effort().decoded
            && performer.decode(figures, |face| {
                canvas.draw(tile, &face);
            })
        {
            performer.pictured = Some(now);
            return;
        }
        let lasts = performer.source.is_sending()
            && performer.pictured.is_some_and(|at| now.saturating_duration_since(at) < FROZEN);
        let show = if lasts { Show::Still } else { Show::Name };
        if !lasts {
            performer.pictured = None;
        }
        canvas.draw(tile, &performer.face(show));
    }

    fn encode(&mut self, at: Duration, due: Instant, figures: &Figures, facts: &mut Vec<Event>) {
        self.tap.take_if(|tap| !tap.is_open());
        if self.tap.take_if(|tap| tap.size_changed()).is_some() {
            facts.push(Event::PictureResized { room: self.room });
        }
        let Self { encodes, encoded, tap, .. } = self;
        let recorded = tap.as_ref().map(|tap| tap.wants_keyframe());
        let mut full = 0;
        let outcome = encodes.run(self.canvas.picture().view(), at, due, recorded, &mut |made| {
            if made.rendition == Rendition::RECORDED
                && let Some(tap) = tap
            {
                tap.push(made.due, &made.unit);
            }
            full += u64::from(encoded.try_send(made).is_err());
        });
        figures.skipped.fetch_add(full, Relaxed);
        match outcome {
            Ok(()) => self.failed = false,
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                facts.push(Event::PictureFailed { room: self.room, reason: error.to_string() });
            }
            Err(_) => {}
        }
    }
}

impl Performer {
    fn face<'a>(&'a self, show: Show<'a>) -> Face<'a> {
        Face {
            leg: self.leg,
            name: &self.name,
            show,
            is_muted: self.source.is_muted(),
            is_talking: self.source.is_talking(),
        }
    }

    /// Decodes what waits and draws the last picture of it; true if there was one.
    fn decode(&mut self, figures: &Figures, mut draw: impl FnMut(Face<'_>)) -> bool {
        let mut is_drawn = false;
        let waiting = self.source.waiting().min(MAX_DECODED);
        for left in (0..waiting).rev() {
            let Self { leg, name, source, decoder, .. } = self;
            let (is_muted, is_talking) = (source.is_muted(), source.is_talking());
            let outcome = source.take(|unit: &AccessUnit, _| {
                if decoder.as_ref().is_none_or(|(codec, _)| *codec != unit.codec) {
                    *decoder = Decoder::new(unit.codec).ok().map(|new| (unit.codec, new));
                }
                let Some((_, decoder)) = decoder else { return Ok(None) };
                // Only the last one is looked at; decoding the others is what it takes to get there.
                decoder.decode(unit, |view| {
                    if left == 0 {
                        draw(Face { leg: *leg, name, show: Show::Picture(view), is_muted, is_talking });
                    }
                })
            });
            match outcome {
                Some(Ok(decoded)) => {
                    self.failures = 0;
                    is_drawn |= decoded.is_some() && left == 0;
                    figures.decoded.fetch_add(u64::from(decoded.is_some()), Relaxed);
                }
                Some(Err(error)) => self.stumble(error, figures),
                None => break,
            }
        }
        is_drawn
    }

    fn stumble(&mut self, error: DecodeError, figures: &Figures) {
        figures.errors.fetch_add(1, Relaxed);
        if self.failures == 0 {
            tracing::debug!(leg = self.leg.0, %error, "a picture cannot be decoded");
        }
        self.source.want_keyframe();
        self.failures += 1;
        if self.failures >= DECODE_FAILURES {
            (self.failures, self.decoder) = (0, None);
        }
    }
}

/// A part of a picture; `None` when it is not within it.
fn cut(view: PictureView<'_>, rect: Rect) -> Option<PictureView<'_>> {
    let uv = rect.y / 2 * view.stride_uv + rect.x / 2;
    let part = PictureView {
        y: view.y.get(rect.y * view.stride_y + rect.x..)?,
        u: view.u.get(uv..)?,
        v: view.v.get(uv..)?,
        width: rect.width,
        height: rect.height,
        ..view
    };
    part.is_sound().then_some(part)
}

#[cfg(test)]
mod tests;
