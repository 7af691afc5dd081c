//! What is said and played to those in rooms, and their legs' ways between media rooms: the effects of dialogues, carried out
//! outside of the lock. Also the way of time in dialogues.

use std::time::Duration;

use media::{Leg, Playback, PlaybackId, Reply, RoomId, RoomSpec, VideoSpec};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::state::{Effect, Fresh, Speech, State, Wish};
use super::{HangUp, Left, ParticipantId, RETRY, Rooms};
use crate::error::Error;
use crate::ids::Id;
use crate::prompts::Phrase;
use crate::store;

/// Attempts to take a leg out of a room whose worker has a full queue: half a second of ticks.
const DETACH_ATTEMPTS: usize = 25;
/// After the last word of a call: what the far end has buffered is played before our BYE ends it.
const LAST_PAUSE: Duration = Duration::from_millis(400);

impl Rooms {
    /// Lets time pass in dialogues. Runs until it is dropped; sleeps while nothing is asked of anybody.
    pub async fn keep_dialogues(&self) {
        loop {
            let next = self.state().next_deadline();
            tokio::select! {
                () = self.inner.dialogues.notified() => {}
                () = until(next) => self.change(|state| state.pass_dialogues(|| self.fresh(), store::now())),
            }
        }
    }

    /// Names for the media rooms of what may begin.
    pub(super) fn fresh(&self) -> Fresh {
        Fresh { media: self.fresh_room(), waiting: self.fresh_room() }
    }

    pub(super) fn fresh_room(&self) -> RoomId {
        RoomId(self.inner.store.ids().next().raw().unsigned_abs())
    }

    /// Begins a media room. One that does not begin has nobody come into it, which ends their calls.
    pub(super) fn open_media(&self, state: &State, room: RoomId, video: Option<VideoSpec>) -> Result<(), media::Error> {
        let video = video.map(|video| self.look(video));
        self.inner.engine.open_room(room, state.group_of(room), RoomSpec { audio: self.inner.audio.clone(), video })
    }

    /// A leg goes from one media room to the one where its participant belongs now.
    pub(super) fn carry(&self, participant: ParticipantId, from: RoomId, leg: media::LegId, hall: RoomId) {
        let rooms = self.clone();
        tokio::spawn(async move {
            if let Err(error) = rooms.carried(participant, from, leg).await {
                tracing::warn!(participant = participant.0, %error, "a leg did not reach its room");
                rooms.media_ended(participant, HangUp::MediaFailed);
                // Wherever it is: it is nobody's any more.
                rooms.inner.engine.leave(from, leg);
            }
            if from == hall {
                rooms.inner.engine.close_room(hall);
            }
        });
    }

    /// Takes a leg out of its room. A worker whose queue is full is asked again.
    async fn detached(&self, from: RoomId, leg: media::LegId) -> Result<Box<Leg>, media::Error> {
        for attempt in 1.. {
            let (reply, detached) = oneshot::channel();
            match self.inner.engine.detach(from, leg, Reply::new(move |leg| drop(reply.send(leg)))) {
                Ok(()) => return detached.await.map_err(|_| lost())?,
                Err(media::Error::Busy(_)) if attempt < DETACH_ATTEMPTS => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
        Err(lost())
    }

    async fn carried(&self, participant: ParticipantId, from: RoomId, leg: media::LegId) -> Result<(), media::Error> {
        let leg = self.detached(from, leg).await?;
        let (reply, joined) = oneshot::channel();
        {
            let mut state = self.state();
            // Without its participant the leg is dropped, and its sockets with it.
            let Some((to, name, settings)) = state.arriving(participant) else { return Ok(()) };
            // Under the lock, so that whatever is set of the leg later comes later.
            let sent = self.inner.engine.join(to, *leg, name, settings, Reply::new(move |r| drop(reply.send(r))));
            drop(state);
            sent?;
        }
        joined.await.map_err(|_| lost())??;
        self.change(|state| state.arrived(participant));
        Ok(())
    }

    /// Says something to one leg alone.
    pub(super) fn speak(&self, participant: ParticipantId, room: RoomId, leg: media::LegId, id: u64, speech: &Speech) {
        let playback = Playback { id: PlaybackId(id), parts: self.voiced(speech), looped: false };
        let length = playback.duration();
        if let Err(error) = self.inner.engine.play(room, leg, playback) {
            tracing::debug!(participant = participant.0, %error, "something is not said");
        }
        self.state().heard_by(participant, id, length);
        self.inner.dialogues.notify_one();
    }

    /// Says something to everybody in a media room.
    pub(super) fn broadcast(&self, room: RoomId, speech: &Speech) {
        self.play_to_all(room, Playback { id: PlaybackId(0), parts: self.voiced(speech), looped: false });
    }

    /// Plays music to everybody in a media room.
    pub(super) fn entertain(&self, room: RoomId) {
        let music = Speech { language: None, phrases: vec![Phrase::Music] };
        self.play_to_all(room, Playback { id: PlaybackId(0), parts: self.voiced(&music), looped: true });
    }

    fn play_to_all(&self, room: RoomId, playback: Playback) {
        if let Err(error) = self.inner.engine.announce(room, playback) {
            tracing::debug!(room = room.0, %error, "something is not announced");
        }
    }

    pub(super) fn voiced(&self, speech: &Speech) -> Vec<media::Prompt> {
        let language = speech.language.as_deref();
        let said = speech.phrases.iter().flat_map(|phrase| self.inner.prompts.say(language, phrase));
        let is_last = speech.phrases.last() == Some(&Phrase::Goodbye);
        said.chain(is_last.then(|| media::Prompt::silence(LAST_PAUSE))).collect()
    }

    /// Says the last words of a call to everybody in a room, in rooms where things are said. Gives how long they take to be
    /// heard; `None` when nobody hears them.
    pub(super) fn say_last(&self, room: Id, phrases: &[Phrase]) -> Option<Duration> {
        let said = self.state().announce(room, phrases.to_vec());
        let Some(Effect::Announce { room, speech }) = said else { return None };
        let playback = Playback { id: PlaybackId(0), parts: self.voiced(&speech), looped: false };
        let length = playback.duration() + LAST_PAUSE;
        self.play_to_all(room, playback);
        Some(length)
    }

    /// What a chairman wished by keys is done as if by the API; they are told how it went.
    pub(super) fn operate(&self, participant: ParticipantId, room: Id, wish: Wish) {
        let rooms = self.clone();
        tokio::spawn(async move {
            let word = match rooms.fulfil(participant, room, &wish).await {
                Ok(word) => word,
                Err(error) => {
                    tracing::info!(participant = participant.0, %error, "a chairman's wish is not fulfilled");
                    Some(match error {
                        Error::Forbidden(_) => Phrase::NotAllowed,
                        Error::CapacityExceeded(_) => Phrase::Full,
                        _ => Phrase::ErrorTone,
                    })
                }
            };
            if let Some(word) = word {
                rooms.change(|state| state.mention(participant, vec![word]).into_iter().collect());
            }
        });
    }

    async fn fulfil(&self, participant: ParticipantId, room: Id, wish: &Wish) -> Result<Option<Phrase>, Error> {
        match wish {
            Wish::Lock(locked) => {
                self.lock_room(room, *locked).await?;
                Ok(Some(if *locked { Phrase::RoomLocked } else { Phrase::RoomUnlocked }))
            }
            // Everybody hears these.
            Wish::MuteAll(muted) => self.mute_room(room, *muted).await.map(|()| None),
            Wish::Record(true) => self.start_recording(room).await.map(|()| None),
            Wish::Record(false) => self.stop_recording(room).await.map(|()| None),
            Wish::Dial(keyed) => {
                self.invite(room, keyed.digits(), super::Inviter::Participant(participant)).await?;
                Ok(Some(Phrase::Dialling))
            }
        }
    }

    /// The engine has dropped the leg already, or never took it.
    pub(super) fn media_ended(&self, participant: ParticipantId, why: HangUp) {
        let mut left = false;
        self.change(|state| {
            let effects = state.remove(participant, Left::Removed(why), Some(why), false);
            left = effects.is_some();
            effects.unwrap_or_default()
        });
        if left {
            self.inner.metrics.left(Left::Removed(why).label());
            match why {
                HangUp::MediaClosed => tracing::info!(participant = participant.0, why = why.label(), "left"),
                _ => tracing::warn!(participant = participant.0, why = why.label(), "left"),
            }
        }
    }
}

fn lost() -> media::Error {
    media::Error::Broken("the media worker dropped an order".to_owned())
}

async fn until(moment: Option<std::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(Instant::from_std(moment)).await,
        None => std::future::pending().await,
    }
}
