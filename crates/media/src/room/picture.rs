//! The room's side of its picture: orders to the composer, and the encoded pictures that come back. Lives with the room on its
//! worker's thread and never waits: what the composer has no place for is kept, in order, and sent again at the next tick.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::command::VideoSpec;
use crate::error::Error;
use crate::units::{Bitrate, LegId, RoomId};
use crate::video::composer::{ENCODED, Order};
use crate::video::feed::{Feed, feed};
use crate::video::layout::tiles;
use crate::video::rendition::{Demand, Encoded};
use crate::video::stage::{Arrangement, Stage};

/// Orders that are kept while the composer takes none: it has been stuck for long when so many came. More are lost, and the
/// picture shows what it showed.
const UNSENT: usize = 4096;
const _: () = assert!(UNSENT * size_of::<Order>() <= 1024 * 1024);

/// What a sender is asked for whom nobody sees.
const UNSEEN: Bitrate = Bitrate::kbps(128);
/// Below this a picture is not worth to be shown.
const LEAST: Bitrate = Bitrate::kbps(192);

/// The way to a composer.
#[derive(Clone, Debug)]
pub struct ComposerLink(pub(crate) Sender<Order>);

pub(super) struct RoomPicture {
    room: RoomId,
    link: ComposerLink,
    unsent: VecDeque<Order>,
    pub(super) demand: Arc<Demand>,
    encoded: Receiver<Encoded>,
    pub(super) spec: VideoSpec,
    arrangement: Arrangement,
}

impl RoomPicture {
    pub(super) fn new(room: RoomId, spec: VideoSpec, link: ComposerLink) -> Self {
        let (to_room, encoded) = bounded(ENCODED);
        let demand = Arc::new(Demand::default());
        let open = Order::Open { room, spec, demand: Arc::clone(&demand), encoded: to_room };
        let arrangement = *Stage::new().arrangement();
        let mut picture = Self { room, link, unsent: VecDeque::new(), demand, encoded, spec, arrangement };
        picture.order(open);
        picture
    }

    /// Tells the composer, after all that was told before.
    pub(super) fn order(&mut self, order: Order) {
        self.unsent.push_back(order);
        self.flush();
        if self.unsent.len() > UNSENT {
            tracing::error!(room = %self.room, "the composer takes no orders");
            self.unsent.pop_front();
        }
    }

    /// Sends what could not be sent before.
    pub(super) fn flush(&mut self) {
        while let Some(order) = self.unsent.pop_front() {
            if let Err(TrySendError::Full(order)) = self.link.0.try_send(order) {
                self.unsent.push_front(order);
                return;
            }
        }
    }

    /// Somebody joined: their end of the way to the composer.
    pub(super) fn enter(&mut self, leg: LegId, name: Arc<str>, now: Instant) -> Feed {
        let (feed, source) = feed(now);
        self.order(Order::Enter { room: self.room, leg, name, source });
        feed
    }

    /// Somebody left.
    pub(super) fn exit(&mut self, leg: LegId) {
        self.order(Order::Exit { room: self.room, leg });
    }

    /// Another size, rate or look.
    pub(super) fn set(&mut self, spec: VideoSpec) {
        self.spec = spec;
        self.order(Order::Set { room: self.room, spec });
    }

    /// Who is shown where.
    pub(super) fn arrange(&mut self, arrangement: Arrangement) {
        self.arrangement = arrangement;
        self.order(Order::Arrange { room: self.room, arrangement });
    }

    /// The bitrate that a leg's pictures are worth here: its share of the picture, and as much again, as small pictures
    /// need more for each pixel. Whoever is not shown has to be ready to be.
    pub(super) fn worth(&self, leg: LegId) -> Bitrate {
        let all = self.spec.bitrate.as_bps();
        let tile = self.arrangement.tile_of(leg);
        let tile = tile.and_then(|tile| tiles(self.arrangement.layout, self.spec.resolution).get(tile).copied());
        let Some(tile) = tile else { return Bitrate::bps(UNSEEN.as_bps().min(all)) };
        let area = self.spec.resolution.width() * self.spec.resolution.height();
        let share = u64::from(all) * 2 * (tile.width * tile.height) as u64 / area.max(1) as u64;
        Bitrate::bps(u32::try_from(share).unwrap_or(all).clamp(LEAST.as_bps().min(all), all))
    }

    /// The next picture that was made.
    pub(super) fn next(&self) -> Option<Encoded> {
        self.encoded.try_recv().ok()
    }

    /// Asks for a copy of the picture.
    pub(super) fn preview(&mut self, reply: crate::command::Reply<Result<crate::video::picture::Picture, Error>>) {
        self.order(Order::Preview { room: self.room, reply });
    }
}

impl Drop for RoomPicture {
    fn drop(&mut self) {
        self.order(Order::Close { room: self.room });
        // A composer that is stuck now would go on with a room that is gone: nobody takes its pictures, which costs it
        // the picture, not us the tick.
        if !self.unsent.is_empty() {
            tracing::error!(room = %self.room, "the composer does not learn that a room is closed");
        }
    }
}
