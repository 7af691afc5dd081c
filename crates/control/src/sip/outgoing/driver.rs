//! The task of one call that we make: tries the addresses one after the other, answers challenges, tells progress, and sees
//! that nothing is left ringing or unacknowledged, however it ends (RFC 3261 §13.2, §9.1).

use std::sync::Arc;

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Request, Response, StatusCodeKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::target::Ids;
use super::{Progress, Target, Way};
use crate::dialing::{CallFailure, TransportChoice};
use crate::sip::address::Transport;
use crate::sip::call::{Answered, Call};
use crate::sip::client::{self, Hop, Inviting, Login};
use crate::sip::dialog::{Cseq, Dialog};
use crate::sip::dialogs::Listed;
use crate::sip::digest::Answers;
use crate::sip::flow::Flow;
use crate::sip::identity::{Identity, clean};
use crate::sip::ingress::{self, Stack};
use crate::sip::names::Lead;
use crate::sip::rejection::{Added, Rejection, bye_reason};
use crate::sip::screen::Wanted;
use crate::sip::transaction::{self, Inbound};
use crate::sip::{screen, tcp};

/// Larger requests do not go by UDP where TCP may be taken (RFC 3261 §18.1.1).
const MAX_UDP_BYTES: usize = 1300;
/// What the transaction adds, User-Agent and Content-Length, and what the answer to a challenge does.
const ADDED_BYTES: usize = 200;
const CREDENTIALS_BYTES: usize = 400;
/// Longest reason phrase kept, in characters.
const MAX_REASON_CHARS: usize = 100;

/// A call being made.
pub(super) struct Driver {
    stack: Arc<Stack>,
    target: Target,
    way: Way,
    offer: String,
    progress: mpsc::Sender<Progress>,
    given_up: CancellationToken,
    call_id: String,
    tag: String,
    login: Login,
    ring_until: Instant,
    /// Why it is being given up; told already.
    ending: Option<CallFailure>,
    rang: bool,
    /// SDP of the last provisional response that had one.
    early: Option<String>,
}

/// How one try ended.
enum Tried {
    /// Nobody there, or it shuns us: the next address may do.
    Next(CallFailure),
    Over(CallFailure),
    Answered(Box<Inviting>, Box<Response>),
    /// Given up, and nothing is left of it.
    Wound,
}

impl Driver {
    pub(super) fn new(
        stack: Arc<Stack>,
        target: Target,
        way: Way,
        offer: String,
        progress: mpsc::Sender<Progress>,
        given_up: CancellationToken,
    ) -> Self {
        let login = Login { who: target.credentials.clone(), numbers: Cseq::after(0) };
        let ring_until = Instant::now() + target.ring_timeout;
        let call_id = ingress::tag();
        Self {
            stack,
            target,
            way,
            offer,
            progress,
            given_up,
            call_id,
            tag: ingress::tag(),
            login,
            ring_until,
            ending: None,
            rang: false,
            early: None,
        }
    }

    pub(super) fn call_id(&self) -> &str {
        &self.call_id
    }

    pub(super) async fn run(mut self) {
        let (listed, mut inbox) = self.stack.dialogs.call_out(self.tag.clone(), self.call_id.clone());
        info!(call_id = ?self.call_id, number = ?self.target.number, host = ?self.target.host, "calling");
        let failure = match self.tries().await {
            Tried::Answered(inviting, response) => match self.answered(*inviting, &response, listed, inbox).await {
                Ok((call, sdp)) => {
                    self.stack.metrics.placed("answered");
                    info!(call_id = ?self.call_id, number = ?self.target.number, "call answered");
                    return self.hand_over(call, sdp).await;
                }
                Err(None) => return,
                Err(Some(failure)) => failure,
            },
            Tried::Next(failure) | Tried::Over(failure) => {
                refuse_all(&mut inbox).await;
                failure
            }
            Tried::Wound => return refuse_all(&mut inbox).await,
        };
        if self.ending.is_none() {
            self.fail(failure).await;
        }
    }

    /// Nothing was left to do but tell.
    async fn fail(&mut self, failure: CallFailure) {
        info!(call_id = ?self.call_id, number = ?self.target.number, why = %failure, "call failed");
        self.stack.metrics.placed(failure.label());
        self.ending = Some(failure.clone());
        // Who called may have gone.
        let _ = self.progress.send(Progress::Failed(failure)).await;
    }

    /// To whoever called; if they have gone meanwhile, it ends at once.
    async fn hand_over(self, call: Call, sdp: String) {
        if self.given_up.is_cancelled() {
            return call.hang_up(200, "given up", "given_up").await;
        }
        if let Err(mpsc::error::SendError(Progress::Answered(call, _))) =
            self.progress.send(Progress::Answered(Box::new(call), sdp)).await
        {
            call.hang_up(200, "given up", "given_up").await;
        }
    }

    /// One address after the other, within the ring time.
    async fn tries(&mut self) -> Tried {
        let mut last = CallFailure::Unreachable("no address".to_owned());
        for lead in std::mem::take(&mut self.way.leads) {
            if self.stack.is_overloaded() {
                return Tried::Over(CallFailure::Broken("too many transactions".to_owned()));
            }
            let Some(connected) = self.unless_given_up(self.connect(lead)).await else {
                let why = self.why_ending();
                return Tried::Over(why);
            };
            let hop = match connected {
                Ok(hop) => hop,
                Err(failure) => {
                    last = failure;
                    continue;
                }
            };
            match self.attempt(hop).await {
                Tried::Next(failure) if self.ending.is_none() => {
                    debug!(call_id = ?self.call_id, address = %lead.address, why = %failure, "the next address is tried");
                    last = failure;
                }
                ended => return ended,
            }
        }
        Tried::Over(last)
    }

    async fn unless_given_up<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.given_up.cancelled() => None,
            () = sleep_until(self.ring_until) => None,
        }
    }

    fn why_ending(&self) -> CallFailure {
        if self.given_up.is_cancelled() { CallFailure::Cancelled } else { CallFailure::NoAnswer }
    }

    async fn connect(&self, lead: Lead) -> Result<Hop, CallFailure> {
        let hop = |flow: Flow| {
            let to = flow.stack_address(lead.address);
            (flow, to)
        };
        let credentials = if self.login.who.is_some() { CREDENTIALS_BYTES } else { 0 };
        let large = self.size(lead) + ADDED_BYTES + credentials > MAX_UDP_BYTES;
        let by_tcp = lead.transport == Transport::Tcp || (large && self.target.transport == TransportChoice::Auto);
        if by_tcp {
            let linked = if self.target.shared {
                tcp::link(&self.stack, lead.address).await
            } else {
                tcp::connect(&self.stack, lead.address).await
            };
            match linked {
                Ok(flow) => return Ok(hop(flow)),
                Err(error) if lead.transport == Transport::Tcp => {
                    return Err(CallFailure::Unreachable(format!("{}: {error}", lead.address)));
                }
                // Whatever its size, UDP is better than no call.
                Err(error) => debug!(%error, address = %lead.address, "no TCP for a large INVITE"),
            }
        }
        let udp = self.stack.udp.as_ref();
        udp.map(|udp| hop(udp.flow(lead.address))).ok_or_else(|| CallFailure::Unreachable("UDP is off".to_owned()))
    }

    fn size(&self, lead: Lead) -> usize {
        let ours = self.stack.reachable_from(lead.address, lead.transport);
        let branch = client::branch();
        let ids = Ids { call_id: &self.call_id, tag: &self.tag, branch: &branch, cseq: 1 };
        self.target.invite(&ours, &ids, &self.offer).map_or(0, |request| request.to_string().len())
    }

    /// One address: the INVITE, and once more for each challenge.
    async fn attempt(&mut self, hop: Hop) -> Tried {
        let branch = client::branch();
        let ids = Ids { call_id: &self.call_id, tag: &self.tag, branch: &branch, cseq: self.login.numbers.next() };
        let ours = self.stack.reachable(&hop.0);
        let Some(mut request) = self.target.invite(&ours, &ids, &self.offer) else {
            return Tried::Over(CallFailure::Broken("the address cannot be written".to_owned()));
        };
        let mut answers = Answers::default();
        loop {
            let Some(inviting) = Inviting::start(&self.stack.endpoint, request.clone(), hop.clone()) else {
                return Tried::Over(CallFailure::Broken("the INVITE has no key".to_owned()));
            };
            let (inviting, response, heard) = match self.finals(inviting).await {
                Ok(found) => found,
                Err(tried) => return tried,
            };
            let code = response.status_code.code();
            if response.status_code.kind() == StatusCodeKind::Successful {
                return Tried::Answered(Box::new(inviting), response);
            }
            if self.ending.is_some() {
                return Tried::Wound;
            }
            if client::is_local(&response) && !heard {
                hop.0.close();
                return Tried::Next(CallFailure::Unreachable(format!("{}: no response", hop.0.peer)));
            }
            let failure = CallFailure::of_response(code, &reason(&response));
            match code {
                401 | 407 => match self.login.answer(&request, &mut answers, &response) {
                    Some(next) => request = next,
                    None => return Tried::Over(failure),
                },
                // It asks to be left alone for now (§21.5.4); others may not be (RFC 3263 §4.3).
                503 => return Tried::Next(failure),
                _ => return Tried::Over(failure),
            }
        }
    }

    /// The final response of one INVITE, and whether a provisional one came before. Meanwhile tells progress, and sends CANCEL
    /// when the call is given up or rang for too long.
    async fn finals(&mut self, mut inviting: Inviting) -> Result<(Inviting, Box<Response>, bool), Tried> {
        let mut heard = false;
        let mut cancelled = false;
        // After CANCEL, or after the connection broke: how long a final response is waited for.
        let mut patience = Instant::now() + self.target.ring_timeout * 2;
        loop {
            if self.ending.is_some() && heard && !cancelled {
                cancelled = true;
                // §9.1: after 64·T1 nothing more is to be expected.
                patience = Instant::now() + self.stack.endpoint.option.t1x64;
                self.send_cancel(&inviting);
            }
            let flow = inviting.hop.0.clone();
            tokio::select! {
                biased;
                response = inviting.next() => match response {
                    None => return Err(self.lost(&inviting)),
                    Some(response) if response.status_code.kind() == StatusCodeKind::Provisional => {
                        heard = true;
                        self.provisional(&response);
                    }
                    Some(response) => return Ok((inviting, Box::new(response), heard)),
                },
                () = self.given_up.cancelled(), if self.ending.is_none() => {
                    self.fail(CallFailure::Cancelled).await;
                }
                () = sleep_until(self.ring_until), if self.ending.is_none() => {
                    self.fail(CallFailure::NoAnswer).await;
                }
                () = sleep_until(patience), if self.ending.is_some() => return Err(Tried::Wound),
                // A far end that has the INVITE may answer over a connection of its own (§18.2.2).
                () = flow.closed(), if !heard => return Err(self.lost(&inviting)),
            }
        }
    }

    fn lost(&self, inviting: &Inviting) -> Tried {
        if self.ending.is_some() {
            return Tried::Wound;
        }
        Tried::Next(CallFailure::Unreachable(format!("{}: the connection was lost", inviting.hop.0.peer)))
    }

    fn send_cancel(&self, inviting: &Inviting) {
        let cause = self.ending.as_ref().map_or(String::new(), ToString::to_string);
        let cancel = inviting.cancel(bye_reason(487, &cause));
        let (stack, hop) = (Arc::clone(&self.stack), inviting.hop.clone());
        let login = Login { who: None, numbers: self.login.numbers.clone() };
        tokio::spawn(async move { client::ask(&stack.endpoint, cancel, &hop, &login).await });
    }

    fn provisional(&mut self, response: &Response) {
        if self.ending.is_some() || response.status_code.code() == 100 {
            return;
        }
        let news = match sdp(response) {
            Some(sdp) if self.early.as_ref() != Some(&sdp) => {
                self.early = Some(sdp.clone());
                Progress::EarlyMedia(sdp)
            }
            None if !self.rang => {
                self.rang = true;
                Progress::Ringing
            }
            _ => return,
        };
        // Whoever called listens slowly: the final news will do. One place is kept for it.
        if self.progress.capacity() > 1 {
            let _ = self.progress.try_send(news);
        }
    }

    /// ACK, and the call with its answer; `None` when it was given up before.
    async fn answered(
        &mut self,
        inviting: Inviting,
        response: &Response,
        listed: Listed,
        inbox: mpsc::Receiver<Inbound>,
    ) -> Result<(Call, String), Option<CallFailure>> {
        let flow = inviting.hop.0.clone();
        let reachable = self.stack.reachable(&flow);
        let request = &inviting.request;
        let from = request.from_header().map(|f| f.value().to_owned()).unwrap_or_default();
        let dialog = Dialog::answered(
            (&self.call_id, &from),
            response,
            self.login.numbers.clone(),
            reachable.contact(&self.target.user),
            flow.peer,
        );
        let dialog = dialog.map_err(|why| {
            // Without a Contact there is nobody to send ACK or BYE to.
            self.ending.is_none().then(|| CallFailure::Unreachable(format!("the answer cannot be used: {why}")))
        })?;
        let to = response.to_header().ok();
        if let Some(tag) = to.and_then(|to| to.tag().ok().flatten()) {
            listed.meet(tag.value());
        }
        let cseq = request.cseq_header().and_then(|c| c.seq()).unwrap_or_default();
        let wanted = Wanted {
            extension: self.target.number.clone(),
            caller: Identity::from_header(to.map_or("", |to| to.value())),
            offer: None,
            call_id: self.call_id.clone(),
            source: flow.peer,
            shown: None,
        };
        let who = self.target.credentials.clone();
        let stack = Arc::clone(&self.stack);
        let mut call = Call::answered(Answered { stack, wanted, dialog, flow, reachable, listed, inbox, cseq, who });
        if !call.acknowledge(cseq, credentials(request)).await {
            call.ended();
            let why = "the address that answered cannot be reached".to_owned();
            return Err(self.ending.is_none().then_some(CallFailure::Unreachable(why)));
        }
        if self.ending.is_some() {
            // The 200 and our CANCEL crossed.
            call.hang_up(487, "given up", "given_up").await;
            return Err(None);
        }
        // Some leave the answer out of the 200 when a 183 had it.
        match sdp(response).or_else(|| self.early.take()) {
            Some(sdp) => Ok((call, sdp)),
            None => {
                call.hang_up(488, "the 200 has no SDP", "no_answer").await;
                Err(Some(CallFailure::NotAcceptable("the answer has no SDP".to_owned())))
            }
        }
    }
}

/// The credentials of an INVITE, which its ACK repeats.
fn credentials(request: &Request) -> Vec<Added> {
    ["Authorization", "Proxy-Authorization"]
        .into_iter()
        .flat_map(|name| {
            let values = request.headers.iter().filter(move |h| h.name().eq_ignore_ascii_case(name));
            values.map(move |h| (name, h.value().to_owned()))
        })
        .collect()
}

/// What was asked within a dialog that did not come about.
async fn refuse_all(inbox: &mut mpsc::Receiver<Inbound>) {
    while let Ok(inbound) = inbox.try_recv() {
        if let Inbound::Request(mut tx, _) = inbound {
            let rejection = Rejection::no_dialog();
            transaction::reply(&mut tx, rejection.code, rejection.headers("conclave"), None).await;
        }
    }
}

fn sdp(response: &Response) -> Option<String> {
    let text = screen::sdp(response).ok().flatten()?;
    (!text.trim().is_empty()).then_some(text)
}

/// The far end's words for a refusal.
fn reason(response: &Response) -> String {
    let words = response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned());
    clean(&words, MAX_REASON_CHARS)
}
