//! Sessions of browsers: who has which key, and how they ended. One task keeps each, from the join to the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::auth::random_text;
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::{DialogOrder, HangUp, Left, ParticipantId, Rooms, Visit};

/// 192 bits: nobody guesses a participant.
const KEY_BYTES: usize = 24;

/// One participant's session.
#[derive(Debug)]
pub(in crate::api) struct Session {
    pub(in crate::api) room: Id,
    pub(in crate::api) participant: ParticipantId,
    /// Why it ended; `None` while it goes on.
    ended: watch::Sender<Option<&'static str>>,
    /// ICE sessions that it has had before this one.
    restarts: AtomicU32,
}

impl Session {
    /// Waits for its end.
    pub(super) fn ended(&self) -> watch::Receiver<Option<&'static str>> {
        self.ended.subscribe()
    }

    /// The entity tag of its ICE session (RFC 9725 §4.3.1).
    pub(super) fn tag(&self) -> String {
        tag(self.restarts.load(Ordering::Relaxed))
    }

    /// A new ICE session began; its tag.
    pub(super) fn restarted(&self) -> String {
        tag(self.restarts.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }
}

fn tag(restarts: u32) -> String {
    format!("\"ice-{restarts}\"")
}

/// All sessions of this process, by their keys: never more than participants.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct Sessions(Arc<Mutex<HashMap<String, Arc<Session>>>>);

impl Sessions {
    /// A visit goes on as a session; gives its key with it.
    pub(super) fn begin(&self, rooms: &Rooms, room: Id, visit: Visit) -> Result<(String, Arc<Session>), Error> {
        let Visit { participant, mut orders, .. } = visit;
        let key = random_text(KEY_BYTES).inspect_err(|_| rooms.leave(participant, Left::SignallingFailed))?;
        let session =
            Arc::new(Session { room, participant, ended: watch::Sender::new(None), restarts: AtomicU32::new(0) });
        self.all().insert(key.clone(), Arc::clone(&session));
        let (sessions, rooms, held) = (self.clone(), rooms.clone(), key.clone());
        tokio::spawn(async move {
            // Keyframes are asked for by RTCP here.
            while let Some(order) = orders.recv().await {
                if let DialogOrder::HangUp(why) = order {
                    sessions.end(&held, reason(why));
                    rooms.leave(participant, Left::Removed(why));
                    return;
                }
            }
            // Rooms let go of them without an order.
            sessions.end(&held, "LEFT");
        });
        Ok((key, session))
    }

    /// # Errors
    /// `NotFound` when it is over.
    pub(in crate::api) fn find(&self, key: &str) -> Result<Arc<Session>, Error> {
        self.all().get(key).cloned().ok_or(Error::NotFound("session"))
    }

    /// It is over.
    pub(super) fn end(&self, key: &str, why: &'static str) {
        if let Some(session) = self.all().remove(key) {
            session.ended.send_replace(Some(why));
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As pages are told it.
const fn reason(why: HangUp) -> &'static str {
    match why {
        HangUp::RemovedByOperator | HangUp::PinFailed | HangUp::PinClosed | HangUp::NoEntry | HangUp::NotReached => {
            "REMOVED"
        }
        HangUp::RoomDestroyed | HangUp::Draining => "ROOM_CLOSED",
        HangUp::MediaTimeout | HangUp::MediaFailed => "MEDIA_LOST",
        HangUp::MediaClosed => "LEFT",
        HangUp::MeetingOver => "ENDED",
    }
}
