//! One call, whichever side began it: its INVITE, its dialog, what either side asks within it, and how it ends. Lives in the
//! call's own task. Knows the protocol, not the rooms: reception decides, and SDP is opaque text.

mod proposal;

use std::sync::Arc;
use std::time::Instant;

use media::Digit;
use rsipstack::sip::Method;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::mpsc;
use tracing::info;

use super::address::Reachable;
use super::admission::SetupPlace;
use super::client::{self, Login};
use super::dialog::Dialog;
use super::dialogs::Listed;
use super::flow::Flow;
use super::info::{self, Info};
use super::ingress::{self, Stack};
use super::rejection::{Added, Rejection, bye_reason};
use super::screen::{self, Wanted};
use super::transaction::{self, Inbound, Invite};
use super::{outbound, wire};
use crate::config::SipCredentials;
use proposal::{Acknowledgement, Proposal};

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
    /// The answer to our offer, from an ACK or the 2xx to `Call::propose`; `None` when it had none.
    Answer(Option<String>),
    /// The far end did not take the offer of `Call::propose`; the session is as it was. `None`: it gave no answer at all, and
    /// the call should end, as it should with 408 and 481 (RFC 3261 §12.2.1.2).
    Declined(Option<u16>),
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

/// Who sent the first INVITE.
#[derive(Debug)]
enum Origin {
    /// The far end: this is what we answer.
    Theirs(Box<Invite>),
    /// We, and it was answered; with this number.
    Ours(u32),
}

impl Origin {
    fn cseq(&self) -> Option<u32> {
        match self {
            Self::Theirs(invite) => Some(invite.cseq()),
            Self::Ours(_) => None,
        }
    }

    fn is_answered(&self) -> bool {
        match self {
            Self::Theirs(invite) => invite.is_answered(),
            Self::Ours(_) => true,
        }
    }
}

/// What a call of ours brings along when it is answered.
pub(super) struct Answered {
    pub(super) stack: Arc<Stack>,
    /// The callee.
    pub(super) wanted: Wanted,
    pub(super) dialog: Dialog,
    pub(super) flow: Flow,
    pub(super) reachable: Reachable,
    pub(super) listed: Listed,
    pub(super) inbox: mpsc::Receiver<Inbound>,
    /// Of the INVITE that was answered.
    pub(super) cseq: u32,
    /// For challenges within the dialog.
    pub(super) who: Option<SipCredentials>,
}

/// A call, from its INVITE to its end. Dropped, it leaves the table of dialogs and an open INVITE is answered with 500.
#[derive(Debug)]
pub(super) struct Call {
    stack: Arc<Stack>,
    /// What the caller asked for; of a call of ours, who was called.
    pub(super) wanted: Wanted,
    /// Our address towards the far end.
    pub(super) reachable: Reachable,
    dialog: Dialog,
    flow: Flow,
    origin: Origin,
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
    /// The re-INVITE of ours that is under way.
    proposal: Option<Proposal>,
    /// The ACK of the last 2xx to an INVITE of ours, as that may come again.
    ack: Option<Acknowledgement>,
    who: Option<SipCredentials>,
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
            origin: Origin::Theirs(Box::new(invite)),
            listed,
            inbox,
            setup: Some(setup),
            began: Instant::now(),
            confirmed: false,
            over: false,
            our_offer: None,
            proposal: None,
            ack: None,
            who: None,
        }
    }

    /// A call of ours that was answered; its 2xx wants `acknowledge`.
    pub(super) fn answered(answered: Answered) -> Self {
        let Answered { stack, wanted, dialog, flow, reachable, listed, inbox, cseq, who } = answered;
        Self {
            stack,
            wanted,
            reachable,
            dialog,
            flow,
            origin: Origin::Ours(cseq),
            listed,
            inbox,
            setup: None,
            began: Instant::now(),
            confirmed: true,
            over: false,
            our_offer: None,
            proposal: None,
            ack: None,
            who,
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
        if let Origin::Theirs(invite) = &mut self.origin {
            invite.reject(rejection, &self.reachable.host());
        }
        self.over = true;
    }

    /// 183 with our answer: what the caller hears before the call is refused.
    pub(super) fn progress(&mut self, sdp: String) {
        if let Origin::Theirs(invite) = &mut self.origin {
            invite.progress(183, self.dialog.answer_headers(true), sdp);
        }
    }

    /// 200 with our SDP: the answer, or with `is_offer` our offer, whose answer the ACK brings.
    pub(super) fn accept(&mut self, sdp: String, is_offer: bool) {
        let mut headers = self.dialog.answer_headers(true);
        headers.push(("Accept", super::rejection::ACCEPT.to_owned()));
        let Origin::Theirs(invite) = &mut self.origin else { return };
        invite.answer(200, headers, Some(sdp));
        if is_offer {
            self.our_offer = Some(invite.cseq());
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
                if Some(cseq) == self.origin.cseq() {
                    self.confirmed = true;
                }
                if self.our_offer == Some(cseq) {
                    self.our_offer = None;
                    let text = String::from_utf8_lossy(&body).into_owned();
                    return Happening::Answer((!text.trim().is_empty()).then_some(text));
                }
                Happening::Nothing
            }
            Inbound::Cancel { cseq } if Some(cseq) == self.origin.cseq() && !self.origin.is_answered() => {
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
            Inbound::Success(response, flow) => {
                self.succeeded_again(&response, &flow).await;
                Happening::Nothing
            }
            Inbound::Concluded(cseq, response) => self.concluded(cseq, response).await,
            Inbound::Retry => self.retry(),
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
        let ours_is_out = self.our_offer.is_some() || self.proposal.as_ref().is_some_and(Proposal::is_out);
        if ours_is_out && (is_invite || sdp.is_some()) {
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
        let mut sent = tokio::spawn(self.ask(Method::Bye, vec![bye_reason(cause, text)], Vec::new()));
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

    /// A request within the dialog, to be driven by whoever awaits it. Its number is taken now; a challenge takes another one.
    fn ask(&self, method: Method, headers: Vec<Added>, body: Vec<u8>) -> impl Future<Output = ()> + Send + use<> {
        let stack = Arc::clone(&self.stack);
        let (flow, dialog) = (self.flow.clone(), self.dialog.clone());
        let login = Login { who: self.who.clone(), numbers: dialog.numbers() };
        let seq = dialog.numbers().next();
        async move {
            let Some(hop) = outbound::route(&stack, &flow, &dialog.hop()).await else { return };
            let from = stack.reachable(&hop.0);
            let mut request = dialog.numbered(method, seq, &from, &client::branch(), headers);
            request.body = body;
            client::ask(&stack.endpoint, request, &hop, &login).await;
        }
    }

    /// Asks the far end for a keyframe (RFC 5168). Nobody waits for its answer: RTCP asks too.
    pub(super) fn refresh_picture(&mut self) {
        let kind = ("Content-Type", info::MEDIA_CONTROL.to_owned());
        tokio::spawn(self.ask(Method::Info, vec![kind], info::PICTURE_FAST_UPDATE.as_bytes().to_vec()));
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
        if !std::thread::panicking() || self.over || !self.origin.is_answered() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(self.ask(Method::Bye, vec![bye_reason(500, "internal error")], Vec::new()));
    }
}
