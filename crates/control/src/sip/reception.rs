//! Where calls meet rooms: admits a call, reserves and joins its leg, passes on what either side wants, and sees that
//! both ends know when it is over. One task per call; a panic in it ends that call alone.

use std::sync::Arc;
use std::time::Duration;

use media::{Answer, ReserveAt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::call::{Call, Happening};
use super::digest::quoted;
use super::door::Door;
use super::ingress::Stack;
use super::rejection::Rejection;
use crate::auth::Personal;
use crate::rooms::{Caller, DialogOrder, Entry, HangUp, Left, ParticipantId, Refusal, Rooms, Seat};

/// Longest that rooms or the engine may take for one decision.
const DECISION_TIME: Duration = Duration::from_secs(10);
/// Orders waiting for a call: there is one that matters.
const ORDERS: usize = 4;

/// Takes calls until the sender is gone and the last one ended. `hang_up_all` ends them.
pub(super) async fn run(
    stack: Arc<Stack>,
    rooms: Rooms,
    calls: mpsc::Receiver<Call>,
    hang_up_all: CancellationToken,
    door: Arc<Door>,
) {
    let visit = || Visit { rooms: rooms.clone(), hang_up_all: hang_up_all.clone() };
    attend(&stack, calls, |call| visit().take(call, Arc::clone(&door))).await;
}

/// Gives each that comes a task of its own, until the sender is gone and the last one ended.
pub(super) async fn attend<T, F>(stack: &Stack, mut arrivals: mpsc::Receiver<T>, task: impl Fn(T) -> F + Send)
where
    T: Send,
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                // Boxed: the set-up path is large, and it is long gone while the call goes on.
                Some(arrival) => drop(tasks.spawn(Box::pin(task(arrival)))),
                None => break,
            },
            Some(ended) = tasks.join_next() => note(stack, &ended),
        }
    }
    while let Some(ended) = tasks.join_next().await {
        note(stack, &ended);
    }
}

fn note(stack: &Stack, ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        warn!(%error, "a call task panicked; the call is closed");
        stack.metrics.panicked();
    }
}

/// What a call's task has beside the call.
pub(super) struct Visit {
    pub(super) rooms: Rooms,
    pub(super) hang_up_all: CancellationToken,
}

/// The participant is in the room until this is dropped.
pub(super) struct Present {
    rooms: Rooms,
    id: ParticipantId,
    why: Left,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.rooms.leave(self.id, self.why);
    }
}

/// How a call that was answered ends.
pub(super) enum End {
    TheyHungUp,
    WeHangUp { cause: u16, text: String, label: &'static str, left: Left },
}

impl End {
    fn ordered(why: HangUp) -> Self {
        Self::WeHangUp { cause: 200, text: why.text().to_owned(), label: why.label(), left: Left::Removed(why) }
    }

    pub(super) fn failed(cause: u16, text: impl Into<String>, label: &'static str) -> Self {
        Self::WeHangUp { cause, text: text.into(), label, left: Left::SignallingFailed }
    }
}

/// What stops a call before it is answered.
enum Stop {
    Rejected(Rejection),
    Cancelled,
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Visit {
    async fn take(self, mut call: Call, door: Arc<Door>) {
        let (dialog, mut orders) = mpsc::channel(ORDERS);
        let invited = match door.judge(&self.rooms, &call.wanted).await {
            Ok(invited) => invited,
            Err(rejection) => return call.refuse(&rejection),
        };
        if let Some(name) = invited.as_ref().and_then(Personal::named) {
            call.wanted.caller.display = renamed(&call.wanted.caller.display, name);
        }
        let wanted = &call.wanted;
        let caller = Caller {
            extension: wanted.extension.clone(),
            display_name: wanted.caller.display.clone(),
            number: wanted.caller.number.clone(),
            source: wanted.source,
            call_id: wanted.call_id.clone(),
            dialog,
            entry: invited.map_or(Entry::ByMenu, |invited| Entry::Judged { leads: invited.leads() }),
        };
        let seated = self.until_stopped(&mut call, &mut orders, self.rooms.admit(&caller)).await;
        let seat = match seated {
            Ok(Ok(seat)) => seat,
            Ok(Err(refusal)) => return self.turn_away(call, orders, &caller, refusal).await,
            Err(stop) => return refuse(call, stop),
        };
        match call.wanted.offer.take() {
            Some(offer) => self.answer(call, orders, caller, seat, &offer).await,
            None => self.offer(call, orders, caller, seat).await,
        }
    }

    /// A caller who is not let in hears why, if the room says such things: as early media, then comes the code.
    async fn turn_away(
        &self,
        mut call: Call,
        mut orders: mpsc::Receiver<DialogOrder>,
        caller: &Caller,
        refusal: Refusal,
    ) {
        let notice = call.wanted.offer.take().and_then(|offer| Some((offer, self.rooms.notice(caller, &refusal)?)));
        if let Some((offer, notice)) = notice {
            let at = self.reserve(&call, notice.room, &offer);
            match at.and_then(|at| media::answer(&offer, at, caller.source.ip()).map_err(Rejection::from)) {
                Ok((leg, answer)) => {
                    call.progress(answer.sdp);
                    if let Err(stop) = self.while_open(&mut call, &mut orders, notice.say(leg)).await {
                        return refuse(call, stop);
                    }
                }
                // What is wrong with the offer does not matter to somebody who is not let in.
                Err(rejection) => debug!(why = %rejection.text, "a caller is not told why"),
            }
        }
        call.refuse(&refusal.into());
    }

    /// An INVITE with an offer: the leg joins, then 200 carries the answer.
    async fn answer(
        &self,
        mut call: Call,
        mut orders: mpsc::Receiver<DialogOrder>,
        caller: Caller,
        seat: Seat,
        offer: &str,
    ) {
        let source = caller.source.ip();
        let reserved = self.reserve(&call, seat.room, offer);
        let leg = reserved.and_then(|at| media::answer(offer, at, source).map_err(Rejection::from));
        let (leg, answer) = match leg {
            Ok(leg) => leg,
            Err(rejection) => return call.refuse(&rejection),
        };
        // Joining is not broken off: the participant would be listed and nobody would know.
        let present = match self.join(seat, caller, leg, &answer).await {
            Ok(present) => present,
            Err(rejection) => return call.refuse(&rejection),
        };
        if let Some(stop) = self.stopped_meanwhile(&mut call, &mut orders).await {
            let mut present = present;
            if let Stop::Cancelled = stop {
                present.why = Left::Cancelled;
            }
            drop(present);
            return refuse(call, stop);
        }
        call.accept(answer.sdp, false);
        self.converse(call, orders, present).await;
    }

    /// An INVITE without an offer: 200 carries ours, and the leg joins with the answer in the ACK.
    async fn offer(&self, mut call: Call, mut orders: mpsc::Receiver<DialogOrder>, caller: Caller, seat: Seat) {
        let source = caller.source.ip();
        let (pending, sdp) = match self.reserve(&call, seat.room, "") {
            Ok(reservation) => media::offer(reservation),
            Err(rejection) => return call.refuse(&rejection),
        };
        if let Some(stop) = self.stopped_meanwhile(&mut call, &mut orders).await {
            return refuse(call, stop);
        }
        call.accept(sdp, true);
        let answered = loop {
            let inbound = tokio::select! {
                inbound = call.next() => inbound,
                end = self.ordered(&mut orders) => break Err(end),
            };
            match call.handle(inbound).await {
                Happening::Answer(Some(sdp)) => break Ok(sdp),
                Happening::Answer(None) => break Err(End::failed(488, "the ACK has no answer", "no_answer")),
                Happening::HungUp => break Err(End::TheyHungUp),
                Happening::NoAck => break Err(End::failed(408, "no ACK came", "no_ack")),
                // No session yet to change.
                Happening::Offer(offered) => call.answer(offered, Err(Rejection::glare())).await,
                Happening::OfferWanted(invite) => call.offer(invite, Err(Rejection::glare())),
                Happening::Nothing
                | Happening::Cancelled
                | Happening::Declined(_)
                | Happening::Key(_)
                | Happening::Refresh => {}
            }
        };
        let joined = match answered {
            Err(end) => return finish(call, end).await,
            Ok(sdp) => match pending.accept(&sdp, source).map_err(Rejection::from) {
                Ok((leg, answer)) => self.join(seat, caller, leg, &answer).await,
                Err(rejection) => Err(rejection),
            },
        };
        match joined {
            Ok(present) => self.converse(call, orders, present).await,
            Err(rejection) => finish(call, End::failed(rejection.code, rejection.text, rejection.label)).await,
        }
    }

    /// A place for a leg that fits the offer; without one it is a phone's.
    fn reserve(&self, call: &Call, room: media::RoomId, offer: &str) -> Result<media::Reservation, Rejection> {
        if media::is_web_offer(offer) && self.rooms.engine().has_web() {
            // Its candidates are those of one worker, and whoever leaves the lobby may have to go to another.
            if self.rooms.is_lobby(&call.wanted.extension) {
                return Err(Rejection::no_lobby());
            }
            return self.rooms.engine().reserve_web(room).map_err(Rejection::from);
        }
        let at = ReserveAt { bind: call.reachable.local, advertise: call.reachable.advertised };
        // Two socket binds; quick enough for the task's thread.
        self.rooms.engine().reserve(room, at).map_err(Rejection::from)
    }

    async fn join(&self, seat: Seat, caller: Caller, leg: media::Leg, answer: &Answer) -> Result<Present, Rejection> {
        Ok(self.present(self.rooms.join(seat, caller, leg, answer).await?))
    }

    pub(super) fn present(&self, id: ParticipantId) -> Present {
        Present { rooms: self.rooms.clone(), id, why: Left::SignallingFailed }
    }

    /// The call goes on until one side ends it.
    pub(super) async fn converse(&self, mut call: Call, mut orders: mpsc::Receiver<DialogOrder>, mut present: Present) {
        let id = present.id;
        let end = loop {
            let inbound = tokio::select! {
                inbound = call.next() => inbound,
                order = self.order(&mut orders) => match order {
                    DialogOrder::HangUp(why) => break End::ordered(why),
                    DialogOrder::RefreshPicture => {
                        call.refresh_picture();
                        continue;
                    }
                },
            };
            match call.handle(inbound).await {
                Happening::Refresh => self.rooms.refresh_picture(id),
                Happening::Nothing | Happening::Cancelled => {}
                Happening::HungUp => break End::TheyHungUp,
                Happening::NoAck => break End::failed(408, "no ACK came", "no_ack"),
                Happening::Declined(None | Some(408 | 481)) => break End::failed(408, "no dialog there", "no_dialog"),
                // The session goes on as it was.
                Happening::Declined(Some(code)) => warn!(call_id = ?call.call_id(), code, "our offer was declined"),
                Happening::Key(digit) => self.rooms.digit(id, digit),
                Happening::Offer(offered) => {
                    let answer = self.renegotiate(id, &offered.sdp).await;
                    call.answer(offered, answer).await;
                }
                Happening::OfferWanted(invite) => {
                    let offer = self.reoffer(id).await;
                    call.offer(invite, offer);
                }
                Happening::Answer(Some(sdp)) => {
                    if let Err(rejection) = self.renegotiate(id, &sdp).await {
                        break End::failed(rejection.code, rejection.text, rejection.label);
                    }
                }
                // It took our offer for no change.
                Happening::Answer(None) => warn!(call_id = ?call.call_id(), "the ACK of a re-INVITE has no answer"),
            }
        };
        present.why = match &end {
            End::TheyHungUp => Left::HungUp,
            End::WeHangUp { left, .. } => *left,
        };
        // The room is left at once, whatever the far end makes of our BYE.
        drop(present);
        finish(call, end).await;
    }

    async fn renegotiate(&self, id: ParticipantId, offer: &str) -> Result<String, Rejection> {
        let (room, leg) = self.rooms.leg_of(id).await.ok_or_else(gone)?;
        let (reply, answered) = oneshot::channel();
        let reply = media::Reply::new(move |answer| drop(reply.send(answer)));
        self.rooms.engine().renegotiate(room, leg, offer, reply)?;
        let answer = decided(answered).await??;
        self.rooms.renegotiated(id, &answer);
        Ok(answer.sdp)
    }

    async fn reoffer(&self, id: ParticipantId) -> Result<String, Rejection> {
        let (room, leg) = self.rooms.leg_of(id).await.ok_or_else(gone)?;
        let (reply, offered) = oneshot::channel();
        let reply = media::Reply::new(move |offer| drop(reply.send(offer)));
        self.rooms.engine().reoffer(room, leg, reply)?;
        Ok(decided(offered).await??)
    }

    /// Rooms or a shutdown want the call ended.
    async fn ordered(&self, orders: &mut mpsc::Receiver<DialogOrder>) -> End {
        End::ordered(self.hang_up(orders).await)
    }

    pub(super) async fn hang_up(&self, orders: &mut mpsc::Receiver<DialogOrder>) -> HangUp {
        loop {
            if let DialogOrder::HangUp(why) = self.order(orders).await {
                return why;
            }
        }
    }

    async fn order(&self, orders: &mut mpsc::Receiver<DialogOrder>) -> DialogOrder {
        let order = async {
            match orders.recv().await {
                Some(order) => order,
                // Rooms forgot the call without an order: the dialog's own signalling decides.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = order => order,
            () = self.hang_up_all.cancelled() => DialogOrder::HangUp(HangUp::Draining),
        }
    }

    /// Waits for `work` while the caller may cancel and rooms may hang up.
    async fn until_stopped<T>(
        &self,
        call: &mut Call,
        orders: &mut mpsc::Receiver<DialogOrder>,
        work: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        let work = timeout(DECISION_TIME, work);
        self.while_open(call, orders, work).await?.map_err(|_| Rejection::timed_out().into())
    }

    /// The same, with work that ends by itself.
    async fn while_open<T>(
        &self,
        call: &mut Call,
        orders: &mut mpsc::Receiver<DialogOrder>,
        work: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        let mut work = std::pin::pin!(work);
        loop {
            let inbound = tokio::select! {
                biased;
                inbound = call.next() => inbound,
                why = self.hang_up(orders) => return Err(Rejection::from(why).into()),
                done = &mut work => return Ok(done),
            };
            if let Happening::Cancelled = call.handle(inbound).await {
                return Err(Stop::Cancelled);
            }
        }
    }

    /// What came while joining.
    async fn stopped_meanwhile(&self, call: &mut Call, orders: &mut mpsc::Receiver<DialogOrder>) -> Option<Stop> {
        self.until_stopped(call, orders, std::future::ready(())).await.err()
    }
}

fn gone() -> Rejection {
    Rejection::no_dialog()
}

async fn decided<T>(answered: oneshot::Receiver<T>) -> Result<T, Rejection> {
    match timeout(DECISION_TIME, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(Rejection::timed_out()),
    }
}

fn refuse(call: Call, stop: Stop) {
    match stop {
        Stop::Rejected(rejection) => call.refuse(&rejection),
        Stop::Cancelled => call.refuse(&Rejection::cancelled()),
    }
}

pub(super) async fn finish(call: Call, end: End) {
    match end {
        End::TheyHungUp => call.ended(),
        End::WeHangUp { cause, text, label, .. } => call.hang_up(cause, &text, label).await,
    }
}

/// A name-addr with another name.
fn renamed(display: &str, name: &str) -> String {
    let address = display.find('<').and_then(|at| display.get(at..)).unwrap_or_default();
    let plain: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}{address}", quoted(plain.trim()))
}
