//! Where rooms' orders to call somebody become calls: reserves a leg, dials with its offer, tells rooms how it goes, and joins
//! the leg when it is answered. One task per call; from the answer on it is a call like any other (`reception`).

use std::sync::Arc;

use media::PendingLeg;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::call::Call;
use super::ingress::Stack;
use super::outgoing::{self, CallerId, Dialling, Progress, Target, Way};
use super::reception::{End, Visit, attend, finish};
use super::rejection::Rejection;
use crate::dialing::CallFailure;
use crate::rooms::{CallOrder, DialogOrder, HangUp, ParticipantId, Rooms};

/// Takes orders until rooms are gone and the last call ended. `hang_up_all` ends them.
pub(super) async fn run(
    stack: Arc<Stack>,
    rooms: Rooms,
    orders: mpsc::Receiver<CallOrder>,
    hang_up_all: CancellationToken,
) {
    let departure = || Departure {
        stack: Arc::clone(&stack),
        visit: Visit { rooms: rooms.clone(), hang_up_all: hang_up_all.clone() },
    };
    attend(&stack, orders, |order| departure().take(order)).await;
}

struct Departure {
    stack: Arc<Stack>,
    visit: Visit,
}

/// Rooms are told that the call came to nothing, unless they know better by then: a panic does it too.
struct Awaited {
    rooms: Rooms,
    participant: ParticipantId,
    failure: Option<CallFailure>,
}

impl Awaited {
    fn failed(mut self, failure: CallFailure) {
        self.failure = Some(failure);
    }

    /// Rooms know what became of them.
    fn settled(mut self) {
        self.failure = None;
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(failure) = self.failure.take() {
            self.rooms.not_reached(self.participant, &failure);
        }
    }
}

/// How dialling ended.
enum Dialled {
    Answered(Box<Call>, String),
    Failed(CallFailure),
    /// Rooms gave it up, and know.
    GivenUp,
}

impl Departure {
    async fn take(self, order: CallOrder) {
        // The permit counts the call until it is over.
        let CallOrder { participant, room, permit, caller_id, subject, mut orders } = order;
        let rooms = &self.visit.rooms;
        let broken = CallFailure::Broken("the call's task ended".to_owned());
        let awaited = Awaited { rooms: rooms.clone(), participant, failure: Some(broken) };
        let caller = CallerId { number: caller_id, name: Some(subject) };
        let target = Target::of(&permit.route, &caller);
        let way = tokio::select! {
            way = Way::find(&self.stack, &target) => way,
            _ = self.visit.hang_up(&mut orders) => return awaited.settled(),
        };
        let way = match way {
            Ok(way) => way,
            Err(failure) => return awaited.failed(failure),
        };
        let at = media::ReserveAt { bind: way.reachable.local, advertise: way.reachable.advertised };
        let codecs = permit.route.trunk().map(|trunk| trunk.codecs.as_slice()).unwrap_or_default();
        let (pending, offer) = match rooms.engine().reserve(room, at) {
            Ok(reservation) => media::offer(reservation.with_codecs(codecs)),
            Err(error) => return awaited.failed(CallFailure::Broken(error.to_string())),
        };
        let source = way.far_end();
        let dialling = outgoing::dial(&self.stack, target, way, offer);
        match self.follow(dialling, participant, &mut orders).await {
            Dialled::GivenUp => awaited.settled(),
            Dialled::Failed(failure) => awaited.failed(failure),
            Dialled::Answered(call, sdp) => self.answered(*call, &sdp, source, pending, awaited, orders).await,
        }
    }

    /// Until it is answered, fails, or rooms do not want it any more.
    async fn follow(
        &self,
        mut dialling: Dialling,
        participant: ParticipantId,
        orders: &mut mpsc::Receiver<DialogOrder>,
    ) -> Dialled {
        loop {
            let progress = tokio::select! {
                progress = dialling.next() => progress,
                why = self.visit.hang_up(orders) => {
                    debug!(call_id = dialling.call_id(), why = why.text(), "a call of ours is given up");
                    dialling.cancel();
                    // A shutdown finds the participant still listed: rooms hang up on all by themselves.
                    return if why == HangUp::Draining { Dialled::Failed(CallFailure::Cancelled) } else { Dialled::GivenUp };
                }
            };
            match progress {
                // What the far end plays while it rings is for a person who waits: a conference does not.
                Progress::Ringing => self.visit.rooms.rings(participant),
                Progress::EarlyMedia(sdp) => {
                    debug!(call_id = dialling.call_id(), bytes = sdp.len(), "early media is not listened to");
                    self.visit.rooms.rings(participant);
                }
                Progress::Answered(call, sdp) => return Dialled::Answered(call, sdp),
                Progress::Failed(failure) => return Dialled::Failed(failure),
            }
        }
    }

    async fn answered(
        &self,
        call: Call,
        sdp: &str,
        source: std::net::IpAddr,
        pending: PendingLeg,
        awaited: Awaited,
        orders: mpsc::Receiver<DialogOrder>,
    ) {
        let participant = awaited.participant;
        let (leg, answer) = match pending.accept(sdp, source) {
            Ok(accepted) => accepted,
            Err(error) => {
                awaited.failed(CallFailure::NotAcceptable(error.to_string()));
                let rejection = Rejection::from(error);
                return finish(call, End::failed(rejection.code, rejection.text, rejection.label)).await;
            }
        };
        match self.visit.rooms.answered(participant, leg, &answer).await {
            Ok(()) => {
                awaited.settled();
                self.visit.converse(call, orders, self.visit.present(participant)).await;
            }
            Err(refusal) => {
                // They were hung up on while the answer was on its way, or the engine is not well.
                warn!(participant = participant.0, why = %refusal, "an answered call cannot join");
                awaited.settled();
                let rejection = Rejection::from(refusal);
                finish(call, End::failed(rejection.code, rejection.text, rejection.label)).await;
            }
        }
    }
}
