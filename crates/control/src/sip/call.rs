//! One call as a UAS sees it: its INVITE, its dialog, what the far end asks within it, and how it ends. Lives in the
//! call's own task. Knows the protocol, not the rooms: reception decides, and SDP is opaque text.

use std::sync::Arc;
use std::time::Instant;

use media::Digit;
use rsipstack::sip::Method;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::transaction::random_text;
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::mpsc;
use tracing::info;

use super::address::Reachable;
use super::admission::SetupPlace;
use super::dialog::Dialog;
use super::dialogs::Listed;
use super::flow::Flow;
use super::info::{self, Info};
use super::ingress::{self, Stack};
use super::rejection::{Added, Rejection, bye_reason};
use super::screen::{self, Wanted};
use super::transaction::{self, Inbound, Invite};
use super::{outbound, wire};

/// What happened in a call, for reception to act on.
#[derive(Debug)]
pub(super) enum Happening {
    /// Answered here already; nothing to do.
    Nothing,
    /// The caller gave up before the answer; refuse with 487.
    Cancelled,
    /// The caller hung up; BYE is answered.
    HungUp,
    /// No ACK came for our 200: hang up.
    NoAck,
    /// An offer within the session: answer it with `Call::answer`.
    Offer(Offered),
    /// The far end wants an offer from us: give it with `Call::offer`.
    OfferWanted(Invite),
    /// The answer to our offer, from an ACK; `None` when the ACK had none.
    Answer(Option<String>),
    /// A key by INFO.
    Key(Digit),
    /// The far end wants a keyframe, by INFO.
    Refresh,
}

/// A re-INVITE or UPDATE that carries an offer.
pub(super) struct Offered {
    pub(super) sdp: String,
    how: How,
}

enum How {
    Invite(Box<Invite>),
    Update(Box<Transaction>),
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Offered")
    }
}

/// A call, from its INVITE to its end. Dropped, it leaves the table of dialogs and an open INVITE is answered with 500.
#[derive(Debug)]
pub(super) struct Call {
    stack: Arc<Stack>,
    pub(super) wanted: Wanted,
    /// Our address towards the caller.
    pub(super) reachable: Reachable,
    dialog: Dialog,
    flow: Flow,
    invite: Invite,
    listed: Listed,
    inbox: mpsc::Receiver<Inbound>,
    /// Held until the call is answered or refused.
    setup: Option<SetupPlace>,
    began: Instant,
    /// The first ACK came.
    confirmed: bool,
    /// The far end is gone: nothing is to be sent any more.
    over: bool,
    /// CSeq of the INVITE whose 200 carried our offer, until its ACK.
    our_offer: Option<u32>,
}

impl Call {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from what admission collected")]
    pub(super) fn new(
        stack: Arc<Stack>,
        wanted: Wanted,
        dialog: Dialog,
        flow: Flow,
        reachable: Reachable,
        invite: Invite,
        listed: Listed,
        inbox: mpsc::Receiver<Inbound>,
        setup: SetupPlace,
    ) -> Self {
        Self {
            stack,
            wanted,
            reachable,
            dialog,
            flow,
            invite,
            listed,
            inbox,
            setup: Some(setup),
            began: Instant::now(),
            confirmed: false,
            over: false,
            our_offer: None,
        }
    }

    /// The next thing to `handle`. Cancel-safe.
    pub(super) async fn next(&mut self) -> Inbound {
        // We hold a sender ourselves, so the channel is never closed.
        self.inbox.recv().await.expect("BUG: the inbox closed while its call holds a sender")
    }

    /// Refuses the first INVITE.
    pub(super) fn refuse(mut self, rejection: &Rejection) {
        info!(
            call_id = ?self.dialog.call_id(), source = %self.wanted.source, extension = ?self.wanted.extension,
            code = rejection.code, why = %rejection.text, "call refused"
        );
        self.stack.metrics.refused(rejection.label);
        self.invite.reject(rejection, &self.reachable.host());
        self.over = true;
    }

    /// 200 with our SDP: the answer, or with `is_offer` our offer, whose answer the ACK brings.
    pub(super) fn accept(&mut self, sdp: String, is_offer: bool) {
        let mut headers = self.dialog.answer_headers(true);
        headers.push(("Accept", super::rejection::ACCEPT.to_owned()));
        self.invite.answer(200, headers, Some(sdp));
        if is_offer {
            self.our_offer = Some(self.invite.cseq());
        }
        self.setup = None;
        self.stack.metrics.answered(self.began.elapsed());
        info!(
            call_id = ?self.dialog.call_id(), source = %self.wanted.source, extension = ?self.wanted.extension,
            "call answered"
        );
    }

    /// Answers a re-INVITE or UPDATE. A refusal leaves the session as it was (RFC 3261 §14.2).
    pub(super) async fn answer(&mut self, offered: Offered, answer: Result<String, Rejection>) {
        let agent = self.reachable.host();
        let (code, headers, sdp) = match answer {
            Ok(sdp) => (200, self.dialog.answer_headers(false), Some(sdp)),
            Err(rejection) => {
                self.stack.metrics.refused(rejection.label);
                (rejection.code, rejection.headers(&agent), None)
            }
        };
        match offered.how {
            How::Invite(mut invite) => invite.answer(code, headers, sdp),
            How::Update(mut tx) => transaction::reply(&mut tx, code, headers, sdp).await,
        }
    }

    /// Our offer in the 200 of a re-INVITE that had none.
    pub(super) fn offer(&mut self, mut invite: Invite, offer: Result<String, Rejection>) {
        match offer {
            Ok(sdp) => {
                self.our_offer = Some(invite.cseq());
                invite.answer(200, self.dialog.answer_headers(false), Some(sdp));
            }
            Err(rejection) => {
                self.stack.metrics.refused(rejection.label);
                invite.reject(&rejection, &self.reachable.host());
            }
        }
    }

    /// Acts on what arrived, as far as the protocol alone decides.
    pub(super) async fn handle(&mut self, inbound: Inbound) -> Happening {
        match inbound {
            Inbound::Ack { cseq, body } => {
                if cseq == self.invite.cseq() {
                    self.confirmed = true;
                }
                if self.our_offer == Some(cseq) {
                    self.our_offer = None;
                    let text = String::from_utf8_lossy(&body).into_owned();
                    return Happening::Answer((!text.trim().is_empty()).then_some(text));
                }
                Happening::Nothing
            }
            Inbound::Cancel { cseq } if cseq == self.invite.cseq() && !self.invite.is_answered() => {
                Happening::Cancelled
            }
            // Too late: the answer is out (RFC 3261 §9.2).
            Inbound::Cancel { .. } => Happening::Nothing,
            Inbound::Unacknowledged => {
                // No ACK will come any more, so BYE may be sent.
                self.confirmed = true;
                Happening::NoAck
            }
            Inbound::Request(tx, flow) => self.request(tx, *flow).await,
        }
    }

    async fn request(&mut self, mut tx: Box<Transaction>, flow: Flow) -> Happening {
        let cseq = tx.original.cseq_header().and_then(|c| c.seq()).unwrap_or_default();
        if !self.dialog.take_cseq(cseq) {
            return self.deny(tx, Rejection::out_of_order()).await;
        }
        if let Err(rejection) = screen::requirements(&tx.original) {
            return self.deny(tx, rejection).await;
        }
        self.flow = flow;
        match tx.original.method {
            Method::Bye => {
                self.over = true;
                transaction::reply(&mut tx, 200, Vec::new(), None).await;
                Happening::HungUp
            }
            Method::Invite | Method::Update => self.offered(tx).await,
            Method::Options => {
                transaction::reply(&mut tx, 200, ingress::capabilities(), None).await;
                Happening::Nothing
            }
            Method::Info => {
                let content_type = screen::content_type(&tx.original);
                let happened = match info::read(content_type.as_deref(), &tx.original.body) {
                    Info::Key(digit) => Happening::Key(digit),
                    Info::Refresh => Happening::Refresh,
                    Info::Nothing => Happening::Nothing,
                    Info::Malformed => return self.deny(tx, Rejection::malformed("the key cannot be read")).await,
                    Info::Unsupported => return self.deny(tx, Rejection::info_type()).await,
                };
                transaction::reply(&mut tx, 200, Vec::new(), None).await;
                happened
            }
            _ => self.deny(tx, Rejection::method_not_allowed()).await,
        }
    }

    /// A re-INVITE or UPDATE.
    async fn offered(&mut self, tx: Box<Transaction>) -> Happening {
        let sdp = match screen::sdp(&tx.original) {
            Ok(sdp) => sdp,
            Err(rejection) => return self.deny(tx, rejection).await,
        };
        let is_invite = tx.original.method == Method::Invite;
        // Our offer is out and its answer is not here (RFC 3261 §14.2, RFC 3311 §5.2).
        if self.our_offer.is_some() && (is_invite || sdp.is_some()) {
            return self.deny(tx, Rejection::glare()).await;
        }
        if let Err(text) = self.dialog.refresh(&tx.original) {
            return self.deny(tx, Rejection::malformed(text)).await;
        }
        match (is_invite, sdp) {
            (true, sdp) => {
                let invite = self.start(*tx);
                match sdp {
                    Some(sdp) => Happening::Offer(Offered { sdp, how: How::Invite(Box::new(invite)) }),
                    None => Happening::OfferWanted(invite),
                }
            }
            (false, Some(sdp)) => Happening::Offer(Offered { sdp, how: How::Update(tx) }),
            (false, None) => {
                let mut tx = tx;
                transaction::reply(&mut tx, 200, self.dialog.answer_headers(false), None).await;
                Happening::Nothing
            }
        }
    }

    fn start(&self, tx: Transaction) -> Invite {
        let to = tx.original.to_header().map(|to| to.value().to_owned()).unwrap_or_default();
        debug_assert!(wire::has_tag(&to), "a request within a dialog has our tag");
        Invite::start(tx, &to, self.listed.inbox.clone())
    }

    async fn deny(&mut self, mut tx: Box<Transaction>, rejection: Rejection) -> Happening {
        info!(call_id = ?self.dialog.call_id(), code = rejection.code, why = %rejection.text, "SIP request refused");
        self.stack.metrics.refused(rejection.label);
        let agent = self.reachable.host();
        if tx.original.method == Method::Invite {
            self.start(*tx).reject(&rejection, &agent);
        } else {
            transaction::reply(&mut tx, rejection.code, rejection.headers(&agent), None).await;
        }
        Happening::Nothing
    }

    /// Ends the call from our side. `cause` and `text` go into the BYE's Reason, `label` into the metric. Returns when
    /// the far end has answered, or has not within 64·T1.
    pub(super) async fn hang_up(mut self, cause: u16, text: &str, label: &'static str) {
        info!(call_id = ?self.dialog.call_id(), source = %self.wanted.source, why = text, "call ends");
        self.stack.metrics.ended(label);
        // A UAS must not send BYE before the ACK, or its timeout (RFC 3261 §15).
        while !self.confirmed && !self.over {
            let inbound = self.next().await;
            self.wind_down(inbound).await;
        }
        if self.over {
            return;
        }
        let branch = format!("z9hG4bK{}", random_text(24));
        let hop = self.dialog.hop();
        let Some((flow, to)) = outbound::route(&self.stack, &self.flow, &hop).await else { return };
        let from = self.stack.reachable(&flow);
        let bye = self.dialog.request(Method::Bye, &from, &branch, vec![bye_reason(cause, text)]);
        let endpoint = Arc::clone(&self.stack.endpoint);
        let mut sent = tokio::spawn(async move { transaction::request(endpoint, bye, &flow, to).await });
        loop {
            tokio::select! {
                _ = &mut sent => return,
                inbound = self.inbox.recv() => match inbound {
                    Some(inbound) => self.wind_down(inbound).await,
                    None => return,
                },
            }
        }
    }

    /// What still arrives while we hang up: BYEs cross (200), nothing else is taken.
    async fn wind_down(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Request(mut tx, _) if tx.original.method == Method::Bye => {
                self.over = true;
                transaction::reply(&mut tx, 200, Vec::new(), None).await;
            }
            Inbound::Request(tx, _) => {
                self.deny(tx, Rejection::no_dialog()).await;
            }
            other => {
                self.handle(other).await;
            }
        }
    }

    /// Asks the far end for a keyframe (RFC 5168). Nobody waits for its answer: RTCP asks too.
    pub(super) fn refresh_picture(&mut self) {
        let stack = Arc::clone(&self.stack);
        let (flow, hop) = (self.flow.clone(), self.dialog.hop());
        let from = stack.reachable(&flow);
        let branch = format!("z9hG4bK{}", random_text(24));
        let kind = ("Content-Type", info::MEDIA_CONTROL.to_owned());
        let mut wish = self.dialog.request(Method::Info, &from, &branch, vec![kind]);
        wish.body = info::PICTURE_FAST_UPDATE.as_bytes().to_vec();
        tokio::spawn(async move {
            if let Some((flow, to)) = outbound::route(&stack, &flow, &hop).await {
                transaction::request(Arc::clone(&stack.endpoint), wish, &flow, to).await;
            }
        });
    }

    /// The far end hung up.
    pub(super) fn ended(self) {
        info!(call_id = ?self.dialog.call_id(), source = %self.wanted.source, why = "hung up", "call ends");
        self.stack.metrics.ended("hung_up");
    }

    #[cfg(test)]
    pub(super) fn flow_is_open(&self) -> bool {
        self.flow.is_open()
    }

    /// For logs.
    pub(super) fn call_id(&self) -> &str {
        self.dialog.call_id()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A panic in the call's task: the far end is told in the background.
        if !std::thread::panicking() || self.over || !self.invite.is_answered() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let stack = Arc::clone(&self.stack);
        let (flow, hop) = (self.flow.clone(), self.dialog.hop());
        let from = stack.reachable(&flow);
        let branch = format!("z9hG4bK{}", random_text(24));
        let reason: Vec<Added> = vec![bye_reason(500, "internal error")];
        let bye = self.dialog.request(Method::Bye, &from, &branch, reason);
        runtime.spawn(async move {
            if let Some((flow, to)) = outbound::route(&stack, &flow, &hop).await {
                transaction::request(Arc::clone(&stack.endpoint), bye, &flow, to).await;
            }
        });
    }
}
