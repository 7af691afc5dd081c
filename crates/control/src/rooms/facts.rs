//! What the engine reports, applied to the truth. One task calls this, in the order of the events; nothing here waits for
//! long.

use std::collections::HashMap;
use std::time::Duration;

use media::{Event, LegEnd, LegId, RoomId};

use super::{HangUp, Left, ParticipantId, Rooms};
use crate::ids::Id;
use crate::store::{self, RecordingState};

/// After lost events: how long a worker may take to say what is.
const PATIENCE: Duration = Duration::from_secs(1);

impl Rooms {
    /// Applies one fact.
    pub async fn apply(&self, event: Event) {
        match event {
            Event::LegUp { room, leg } => {
                tracing::debug!(room = room.0, leg = leg.0, "media arrives");
                self.change(|state| state.media_came(leg, self.fresh(), store::now()));
            }
            Event::LegDown { leg, reason, .. } => self.leg_down(leg, &reason),
            Event::Talking { leg, talking, .. } => {
                self.change(|state| {
                    if let Some(participant) = state.owner_of(leg) {
                        state.talk(participant, talking);
                    }
                    Vec::new()
                });
            }
            Event::Dtmf { leg, digit, .. } => {
                let participant = self.state().owner_of(leg);
                if let Some(participant) = participant {
                    self.digit(participant, digit);
                }
            }
            Event::Played { leg: Some(leg), playback, .. } => {
                self.inner.lobby.heard(leg);
                self.change(|state| state.heard(leg, playback.0, self.fresh(), store::now()));
            }
            // Nobody waits for an announcement.
            Event::Played { leg: None, .. } => {}
            Event::RecordingFinished { room, recording, file } => {
                self.recording_ended(room, recording, RecordingState::Finished, None, Some(file));
            }
            Event::RecordingFailed { room, recording, reason, file } => {
                self.recording_ended(room, recording, RecordingState::Failed, Some(reason), file);
            }
            picture @ (Event::RefreshWanted { .. }
            | Event::PictureStrained { .. }
            | Event::PictureResized { .. }
            | Event::PictureFailed { .. }) => self.apply_to_picture(picture),
            Event::RoomFailed { room, reason } => self.room_failed(room, &reason),
            Event::TickOverrun { worker, late, skipped } => {
                let suppressed = self.inner.metrics.overrun(worker, skipped);
                if let Some(suppressed) = suppressed {
                    tracing::warn!(worker, ?late, skipped, suppressed, "a media worker was late and skipped ticks");
                }
            }
            Event::Lagged { worker } => {
                self.inner.metrics.lagged();
                tracing::warn!(worker, "facts from the engine were lost; asking what is");
                self.reconcile().await;
            }
        }
    }

    fn leg_down(&self, leg: LegId, reason: &LegEnd) {
        let why = match reason {
            LegEnd::MediaTimeout => HangUp::MediaTimeout,
            LegEnd::Failed(_) | LegEnd::Broken(_) => HangUp::MediaFailed,
            LegEnd::Closed => HangUp::MediaClosed,
        };
        let participant = self.state().owner_of(leg);
        if let LegEnd::Failed(reason) | LegEnd::Broken(reason) = reason {
            tracing::warn!(leg = leg.0, participant = participant.map(|p| p.0), reason, "a leg's media failed");
        }
        if let Some(participant) = participant {
            self.media_ended(participant, why);
        }
    }

    fn room_failed(&self, media: RoomId, reason: &str) {
        let mut hung_up = 0;
        self.change(|state| {
            let Some(room) = state.room_of_media(media) else {
                // One in front of a room: its people go, the room itself is none of theirs.
                let gone = state.those_in(media);
                hung_up = gone.len();
                let why = HangUp::MediaFailed;
                let ended = gone.into_iter().filter_map(|who| state.remove(who, Left::Removed(why), Some(why), false));
                return ended.flatten().collect();
            };
            hung_up = state.room(room).map_or(0, |known| known.participants().len());
            state.clear(room, HangUp::MediaFailed)
        });
        self.inner.metrics.all_left(Left::Removed(HangUp::MediaFailed).label(), hung_up);
        tracing::error!(room = media.0, reason, participants = hung_up, "a room failed in the engine");
    }

    /// One snapshot of each active room: who is gone is hung up on, who talks is known again.
    async fn reconcile(&self) {
        let rooms: Vec<(RoomId, Vec<(ParticipantId, LegId)>)> = {
            let state = self.state();
            let active: Vec<Id> = state.active().collect();
            let calls = active.iter().filter_map(|id| state.room(*id)?.call.as_ref());
            // Only whom the engine had before it was asked: others may be in its queue behind the question.
            let present = |call: &super::state::Call| {
                let present = call.participants.iter().filter(|p| p.confirmed);
                present.filter_map(|p| Some((p.id, p.leg?))).collect()
            };
            calls.map(|call| (call.media, present(call))).collect()
        };
        for (media, present) in rooms {
            match self.snapshot(media, PATIENCE).await {
                Ok(snapshot) => {
                    let talking: HashMap<LegId, bool> = snapshot.legs.iter().map(|l| (l.leg, l.talking)).collect();
                    for (participant, leg) in present {
                        let Some(talking) = talking.get(&leg) else {
                            self.media_ended(participant, HangUp::MediaFailed);
                            continue;
                        };
                        self.change(|state| {
                            state.talk(participant, *talking);
                            Vec::new()
                        });
                    }
                }
                Err(media::Error::Refused(_)) => self.room_failed(media, "the engine does not have it any more"),
                Err(error) => tracing::error!(room = media.0, %error, "a room cannot be compared with the engine"),
            }
        }
    }
}
