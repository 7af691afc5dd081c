//! Calls out of rooms: an operator or the chairman has somebody called, who is listed from then on and whose fate is told.
//! The orders go to signalling, which reports back here.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use media::{Answer, Leg, RoomId};
use tokio::sync::mpsc;

use super::state::Participant;
use super::{DialogOrder, HangUp, Left, ParticipantId, Refusal, Rooms};
use crate::dialing::{Asker, CallFailure, Dialing, Forbidden, Limited, Permit};
use crate::error::Error;
use crate::ids::Id;
use crate::store;

/// Calls that wait to be begun; signalling begins each at once.
const WAITING: usize = 256;
/// Orders for a call's dialog: there is one that matters.
const DIALOG_ORDERS: usize = 4;

/// Who has somebody called: limits count by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inviter {
    /// An operator, by their token.
    Token(Id),
    /// The chairman, by keys.
    Participant(ParticipantId),
}

/// A call that signalling is to make.
#[derive(Debug)]
pub struct CallOrder {
    /// Who is called.
    pub participant: ParticipantId,
    /// The media room of the seat: where the leg is to be reserved.
    pub room: RoomId,
    /// The way, and the leave to go it: hold it until the call is over.
    pub permit: Permit,
    /// What the callee is to see as the caller's number; `None`: what the trunk says.
    pub caller_id: Option<String>,
    /// And as the name.
    pub subject: String,
    /// What rooms tells the dialog.
    pub orders: mpsc::Receiver<DialogOrder>,
}

/// The way to signalling.
#[derive(Debug)]
pub(super) struct CallOrders {
    dialing: Dialing,
    sender: mpsc::Sender<CallOrder>,
    receiver: Mutex<Option<mpsc::Receiver<CallOrder>>>,
}

impl CallOrders {
    pub(super) fn new(dialing: Dialing) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { dialing, sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Rooms {
    /// The calls to be made, for signalling; given once.
    pub fn call_orders(&self) -> Option<mpsc::Receiver<CallOrder>> {
        self.inner.orders.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Calls somebody into a room.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` when the number may not be called; `RateLimited` and `CapacityExceeded` when too many are
    /// called, or they could not come in; `InvalidState` when they are there already, or there is no way to call them;
    /// `Busy` when the database cannot be written.
    pub async fn invite(&self, room: Id, number: &str, inviter: Inviter) -> Result<(), Error> {
        {
            let state = self.state();
            state.is_awaited(room, number)?;
            state.could_take(room).map_err(unseated)?;
        }
        let token = match inviter {
            Inviter::Token(token) => token.raw(),
            Inviter::Participant(chairman) => chairman.0,
        };
        let asker = Asker { room: room.raw(), token: Some(token) };
        let permit = self.inner.orders.dialing.permit(number, asker, Instant::now()).map_err(refused)?;
        let entry = self.inner.journal.change().await?;
        let (dialog, orders) = mpsc::channel(DIALOG_ORDERS);
        let participant = ParticipantId(self.inner.store.ids().next().raw());
        let seat = {
            let fresh = self.fresh();
            let mut state = self.state();
            let admitted = state.admit_called(room, fresh).and_then(|admitted| self.opened(&mut state, admitted));
            admitted.map_err(unseated)?
        };
        let (caller_id, subject) = {
            let state = self.state();
            let known = state.room(room).ok_or(Error::NotFound("room"))?;
            let trunk = permit.route.trunk().map(|trunk| trunk.name.as_str());
            (known.caller_id(trunk), known.subject.to_string())
        };
        let display_name = format!("<sip:{number}>");
        let called =
            Participant::called(participant, self.fresh_room(), display_name, number.to_owned(), store::now(), dialog);
        let media = seat.room;
        let mut seat = seat;
        self.change(|state| {
            // Somebody else may have had them called meanwhile.
            if state.is_awaited(room, number).is_ok() && state.sit(media, called, false).is_ok() {
                seat.owner = None;
                state.calls(participant);
            }
            Vec::new()
        });
        if seat.owner.is_some() {
            return Err(Error::InvalidState(format!("{number} is in the room already").into()));
        }
        let order = CallOrder { participant, room: media, permit, caller_id, subject, orders };
        if self.inner.orders.sender.try_send(order).is_err() {
            self.not_reached(participant, &CallFailure::Broken("too many calls wait to be made".to_owned()));
            return Err(Error::Busy("too many calls wait to be made".into()));
        }
        if let Err(error) = entry.commit().await {
            tracing::warn!(%error, "a call out of a room is written later");
        }
        Ok(())
    }

    /// The phone that is called rings.
    pub fn rings(&self, participant: ParticipantId) {
        self.change(|state| {
            state.rings(participant);
            Vec::new()
        });
    }

    /// The call was answered: the leg joins.
    ///
    /// # Errors
    /// When the participant is gone meanwhile, or the engine does not take the leg; they are not listed any more then.
    pub async fn answered(&self, participant: ParticipantId, leg: Leg, answer: &Answer) -> Result<(), Refusal> {
        let id = leg.id();
        self.settle_in(participant, leg, |state| {
            let gone = || Refusal::Broken("the participant is gone".to_owned());
            state.answered(participant, id, answer).ok_or_else(gone)
        })
        .await
    }

    /// The call came to nothing.
    pub fn not_reached(&self, participant: ParticipantId, failure: &CallFailure) {
        tracing::info!(participant = participant.0, why = %failure, "a called participant was not reached");
        self.inner.metrics.not_reached(failure.label());
        self.change(|state| {
            let told = state.fail_to_reach(participant, failure);
            let ended = state.remove(participant, Left::Removed(HangUp::NotReached), None, false);
            told.into_iter().chain(ended.unwrap_or_default()).collect()
        });
    }
}

/// Why there is no seat for somebody who is to be called.
fn unseated(refusal: Refusal) -> Error {
    match refusal {
        Refusal::ServerDisabled | Refusal::Draining => Error::NoServer(refusal.to_string().into()),
        Refusal::UnknownRoom(_) => Error::NotFound("room"),
        Refusal::Overloaded(_) => Error::Busy(refusal.to_string().into()),
        full => Error::CapacityExceeded(full.to_string().into()),
    }
}

fn refused(forbidden: Forbidden) -> Error {
    let text = forbidden.to_string();
    match forbidden {
        Forbidden::NoTrunk => Error::InvalidState(text.into()),
        Forbidden::Limited(Limited::RoomRate(per_minute) | Limited::TokenRate(per_minute)) => {
            Error::RateLimited { per_minute, retry_after_s: 60 }
        }
        Forbidden::Limited(_) => Error::CapacityExceeded(text.into()),
        _ => Error::Forbidden(text.into()),
    }
}
