//! Meetings begin and end as planned: events, the notice at the end, and where the room is set so everyone is hung up on. A
//! task of its own, which sleeps until the next moment. What came while the server was down is caught up at the start.

use std::time::Duration;

use jiff::Timestamp;

use super::plan::Due;
use super::{HangUp, Left, Rooms};
use crate::error::Error;
use crate::events::Kind;
use crate::ids::Id;
use crate::prompts::Phrase;
use crate::store;

/// The clock of the machine may be set: the plan is looked at again after this long at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between attempts to reach a database that is away.
const STORE_RETRY: Duration = Duration::from_secs(2);

impl Rooms {
    /// Runs until it is dropped.
    pub async fn keep_meetings(&self) {
        let mut until = loop {
            match self.inner.store.meetings_until().await {
                Ok(until) => break until.unwrap_or_else(store::now),
                Err(error) => tracing::debug!(%error, "the meetings' plan waits for the database"),
            }
            tokio::time::sleep(STORE_RETRY).await;
        };
        loop {
            let now = store::now();
            match self.meet(until, now).await {
                Ok(()) => until = until.max(now),
                Err(error) => {
                    tracing::warn!(%error, "a meeting's time could not be written; trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                    continue;
                }
            }
            let next = self.state().next_meeting(until);
            let pause = next.and_then(|next| Duration::try_from(next - store::now()).ok());
            tokio::select! {
                () = tokio::time::sleep(pause.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)) => {}
                () = self.inner.meetings.notified() => {}
            }
        }
    }

    /// Does what is due between these moments. It is on the disk first: what was announced is not announced again.
    async fn meet(&self, after: Timestamp, now: Timestamp) -> Result<(), Error> {
        let due = self.state().due_meetings(after, now);
        if due.is_empty() {
            return Ok(());
        }
        let mut entry = self.inner.journal.change().await?;
        for (room, due) in &due {
            let kind = if let Due::Start = due { Kind::RoomScheduleStarted } else { Kind::RoomScheduleEnded };
            let event = self.news_of(*room, kind, |_| {});
            event.into_iter().for_each(|event| entry.note(event));
        }
        entry.announce_meetings_until(now).await?;
        entry.commit().await?;
        for (room, due) in due {
            match due {
                Due::Start => {}
                Due::End => self.change(|state| state.announce(room, vec![Phrase::MeetingEnds]).into_iter().collect()),
                Due::Close => self.close_meeting(room),
            }
        }
        Ok(())
    }

    /// Everyone hears that it is over, and is hung up on.
    fn close_meeting(&self, room: Id) {
        let words = self.say_last(room, &[Phrase::Ended, Phrase::Goodbye]);
        let rooms = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(words.unwrap_or_default()).await;
            let mut hung_up = 0;
            rooms.change(|state| {
                // Its end may have been put off meanwhile.
                if state.room(room).is_none_or(|known| known.plan.admits(store::now()).is_ok()) {
                    return Vec::new();
                }
                hung_up = state.room(room).map_or(0, |known| known.participants().len());
                state.clear(room, HangUp::MeetingOver)
            });
            rooms.inner.metrics.all_left(Left::Removed(HangUp::MeetingOver).label(), hung_up);
        });
    }
}
