//! Rooms' pictures as people see them beside the call: previews, who is in which tile, what became of composing. The picture
//! itself is the engine's.

use std::sync::Arc;
use std::time::Duration;

use media::{Event, LegId, Picture, Reply, Resolution, RoomId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::Whereabouts;
use super::{DialogOrder, ParticipantId, Rooms};
use crate::error::Error;
use crate::events::{Data, Kind, NewEvent, PictureData};
use crate::ids::Id;
use crate::store;

/// How often time passes in pictures: who talks comes in, a layout that is too large shrinks. Nobody sees a quarter of a second.
const STEP: Duration = Duration::from_millis(250);
/// A preview younger than this is shown again: at most two a second are made, however many ask.
const FRESH: Duration = Duration::from_millis(500);
/// A composer answers between two pictures, the slowest room's are 200 ms apart; one that is stuck is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of previews: half the size of the best, and no difference to be seen on a thumbnail.
const JPEG_QUALITY: u8 = 80;

/// A tile of a room's picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileView {
    /// From 0, the main tile.
    pub tile: usize,
    /// From the left.
    pub x: usize,
    /// From the top.
    pub y: usize,
    /// Across.
    pub width: usize,
    /// Down.
    pub height: usize,
    /// Who is shown; `None` while nobody is.
    pub participant: Option<ParticipantId>,
    /// They are heard now.
    pub talking: bool,
}

/// Who is where in a room's picture now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureView {
    /// Of the whole.
    pub resolution: Resolution,
    /// 1 to 9: an automatic layout is the one that it is now.
    pub layout: u8,
    /// Each tile of the layout.
    pub tiles: Vec<TileView>,
}

/// A room's latest preview; the lock makes those who ask at the same time wait for one.
#[derive(Clone, Debug, Default)]
pub(super) struct LatestPreview(Arc<tokio::sync::Mutex<Option<Taken>>>);

#[derive(Debug)]
struct Taken {
    at: Instant,
    jpeg: Arc<[u8]>,
}

fn no_picture() -> Error {
    Error::InvalidState("the room has no picture: its mode is AUDIO".into())
}

impl Rooms {
    /// Lets time pass in pictures. Runs until it is dropped; sleeps while there is no picture.
    pub async fn keep_pictures(&self) {
        loop {
            self.inner.pictures.notified().await;
            let mut is_live = true;
            while is_live {
                tokio::time::sleep(STEP).await;
                self.change(|state| {
                    is_live = state.pass_time();
                    Vec::new()
                });
            }
        }
    }

    /// The room's picture as a JPEG, at most half a second old.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when the room has no picture, or nobody is in it; `Busy` when the composer does not answer.
    pub async fn preview(&self, room: Id) -> Result<Arc<[u8]>, Error> {
        let (media, latest) = {
            let state = self.state();
            let known = state.room(room).ok_or(Error::NotFound("room"))?;
            known.video.ok_or_else(no_picture)?;
            let call = known.call.as_ref().filter(|call| !call.participants.is_empty());
            let call = call.ok_or_else(|| Error::InvalidState("nobody is in the room".into()))?;
            (call.media, call.preview.clone())
        };
        let mut taken = latest.0.lock().await;
        if let Some(taken) = taken.as_ref().filter(|taken| taken.at.elapsed() < FRESH) {
            return Ok(Arc::clone(&taken.jpeg));
        }
        let picture = self.picture_of(media).await?;
        let encoded = tokio::task::spawn_blocking(move || picture.to_jpeg(JPEG_QUALITY)).await;
        let jpeg: Arc<[u8]> = encoded.map_err(|error| Error::Broken(error.to_string()))??.into();
        *taken = Some(Taken { at: Instant::now(), jpeg: Arc::clone(&jpeg) });
        Ok(jpeg)
    }

    async fn picture_of(&self, media: RoomId) -> Result<Picture, Error> {
        let (reply, picture) = oneshot::channel();
        self.inner.engine.preview(media, Reply::new(move |taken| drop(reply.send(taken))))?;
        match tokio::time::timeout(PATIENCE, picture).await {
            Ok(Ok(picture)) => Ok(picture?),
            Ok(Err(_)) | Err(_) => Err(Error::Busy("the composer did not answer in time".into())),
        }
    }

    /// Who is where in the room's picture.
    ///
    /// # Errors
    /// `NotFound`; `InvalidState` when the room has no picture.
    pub fn picture(&self, room: Id) -> Result<PictureView, Error> {
        let state = self.state();
        let known = state.room(room).ok_or(Error::NotFound("room"))?;
        let video = known.video.ok_or_else(no_picture)?;
        let arrangement = known.tiles.arrangement();
        let held = |leg: LegId| known.participants().iter().find(|p| p.leg == Some(leg));
        let rects = media::tiles(arrangement.layout, video.resolution);
        let tiles = rects.iter().enumerate();
        let tiles = tiles.map(|(tile, rect)| {
            let shown = arrangement.tiles.get(tile).copied().flatten().and_then(held);
            TileView {
                tile,
                x: rect.x,
                y: rect.y,
                width: rect.width,
                height: rect.height,
                participant: shown.map(|p| p.id),
                talking: shown.is_some_and(|p| p.talking),
            }
        });
        Ok(PictureView { resolution: video.resolution, layout: arrangement.layout.number(), tiles: tiles.collect() })
    }

    /// The far end cannot decode without a keyframe, and says so by its signalling.
    pub fn refresh_picture(&self, participant: ParticipantId) {
        if let Whereabouts::In(room, leg) = self.state().whereabouts(participant)
            && let Err(error) = self.inner.engine.refresh(room, leg)
        {
            tracing::debug!(%error, "a keyframe is not made");
        }
    }

    /// What the engine tells of pictures.
    pub(super) fn apply_to_picture(&self, event: Event) {
        match event {
            Event::RefreshWanted { leg, .. } => {
                let dialog = {
                    let state = self.state();
                    state.owner_of(leg).and_then(|participant| state.dialog_of(participant))
                };
                if let Some(Err(error)) = dialog.map(|dialog| dialog.try_send(DialogOrder::RefreshPicture)) {
                    tracing::debug!(%error, "a dialog does not ask for a keyframe");
                }
            }
            Event::PictureStrained { room, framerate, decoded } => {
                self.inner.metrics.picture_strained();
                let framerate = framerate.pictures();
                self.change(|state| {
                    let id = state.room_of_media(room);
                    let extension = id.and_then(|id| state.room(id)).map(|known| known.extension.to_string());
                    tracing::warn!(extension, framerate, decoded, "what a composer makes of a room's picture changes");
                    if let Some(id) = id {
                        self.inner.journal.note(NewEvent {
                            at: store::now(),
                            room: Some(id),
                            extension,
                            kind: Kind::RoomPicture,
                            data: Data::Picture(PictureData { framerate, decoded: decoded as u64 }),
                        });
                    }
                    Vec::new()
                });
            }
            Event::PictureResized { room } => {
                let Some(id) = self.state().room_of_media(room) else { return };
                let rooms = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = rooms.next_part(id).await {
                        tracing::error!(%error, room = id.raw(), "a recording does not go on with the picture's new size");
                    }
                });
            }
            Event::PictureFailed { room, reason } => {
                self.inner.metrics.picture_failed();
                tracing::error!(room = room.0, reason, "a room's picture cannot be made; its sound goes on");
            }
            _ => {}
        }
    }
}
