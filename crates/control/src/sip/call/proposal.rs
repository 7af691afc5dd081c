//! A change of the session that we ask for: a re-INVITE with our offer (RFC 3261 §14.1), its answer and its ACK, and the ACKs
//! of whatever else answers an INVITE of ours.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Request, Response, StatusCodeKind};

use super::{Call, Happening, Origin};
use crate::sip::client::{self, Hop, Inviting, Login};
use crate::sip::dialog::Dialog;
use crate::sip::digest::Answers;
use crate::sip::flow::Flow;
use crate::sip::ingress::Stack;
use crate::sip::outbound;
use crate::sip::rejection::{Added, bye_reason};
use crate::sip::transaction::Inbound;

/// Tries after a glare; by then something is wrong.
const MAX_TRIES: u32 = 4;

/// An offer of ours on its way.
#[derive(Debug)]
pub(super) struct Proposal {
    sdp: String,
    tries: u32,
    /// Number of the re-INVITE that is out; `None` while it waits after a glare.
    cseq: Option<u32>,
}

impl Proposal {
    pub(super) fn is_out(&self) -> bool {
        self.cseq.is_some()
    }
}

/// The ACK of a 2xx, as it was sent.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    cseq: u32,
    request: Request,
    hop: Hop,
}

impl Call {
    /// Offers a change of the session by a re-INVITE; `Happening::Answer` or `Declined` tells what became of it. False while
    /// another offer is outstanding, and before the ACK of the first INVITE.
    #[cfg_attr(not(test), expect(dead_code, reason = "rooms propose nothing yet"))]
    pub(in crate::sip) fn propose(&mut self, sdp: String) -> bool {
        if self.our_offer.is_some() || self.proposal.is_some() || self.over || !self.confirmed {
            return false;
        }
        let cseq = self.send_proposal(sdp.clone());
        self.proposal = Some(Proposal { sdp, tries: 1, cseq: Some(cseq) });
        true
    }

    fn send_proposal(&self, sdp: String) -> u32 {
        let numbers = self.dialog.numbers();
        let seq = numbers.next();
        let inbox = self.listed.inbox.clone();
        let login = Login { who: self.who.clone(), numbers };
        let exchange = exchange(Arc::clone(&self.stack), self.flow.clone(), self.dialog.clone(), seq, login, sdp);
        tokio::spawn(async move {
            let response = exchange.await.map(Box::new);
            // The call may have ended.
            let _ = inbox.send(Inbound::Concluded(seq, response)).await;
        });
        seq
    }

    /// The final response to the re-INVITE that began with this number.
    pub(super) async fn concluded(&mut self, cseq: u32, response: Option<Box<Response>>) -> Happening {
        if self.proposal.as_ref().and_then(|p| p.cseq) != Some(cseq) {
            return Happening::Nothing;
        }
        let Some(response) = response else {
            self.proposal = None;
            return Happening::Declined(None);
        };
        if response.status_code.kind() == StatusCodeKind::Successful {
            self.proposal = None;
            // A Contact that cannot be read leaves the target as it was.
            let _ = self.dialog.refresh(&*response);
            // A challenge took another number than the first.
            let answered = response.cseq_header().and_then(|c| c.seq()).unwrap_or(cseq);
            self.acknowledge(answered, Vec::new()).await;
            let sdp = String::from_utf8_lossy(&response.body).into_owned();
            return Happening::Answer((!sdp.trim().is_empty()).then_some(sdp));
        }
        let code = response.status_code.code();
        match &mut self.proposal {
            Some(proposal) if code == 491 && proposal.tries < MAX_TRIES => {
                proposal.cseq = None;
                proposal.tries += 1;
                let inbox = self.listed.inbox.clone();
                let pause = self.glare_pause();
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    let _ = inbox.send(Inbound::Retry).await;
                });
                Happening::Nothing
            }
            _ => {
                self.proposal = None;
                Happening::Declined(Some(code))
            }
        }
    }

    /// §14.1: who made the Call-ID waits longer, so that the two do not meet again.
    fn glare_pause(&self) -> Duration {
        let random = u64::from(getrandom::u32().unwrap_or_default());
        let steps_of_10_ms = match self.origin {
            Origin::Ours(_) => 210 + random % 191,
            Origin::Theirs(_) => random % 201,
        };
        Duration::from_millis(10 * steps_of_10_ms)
    }

    pub(super) fn retry(&mut self) -> Happening {
        if let Some(proposal) = self.proposal.take().filter(|p| p.cseq.is_none()) {
            let cseq = self.send_proposal(proposal.sdp.clone());
            self.proposal = Some(Proposal { cseq: Some(cseq), ..proposal });
        }
        Happening::Nothing
    }

    /// Sends the ACK of the 2xx to our INVITE with this number, with the credentials that the INVITE had (§13.2.2.4). False
    /// when there is no way to the far end.
    pub(in crate::sip) async fn acknowledge(&mut self, cseq: u32, credentials: Vec<Added>) -> bool {
        let Some(hop) = outbound::route(&self.stack, &self.flow, &self.dialog.hop()).await else { return false };
        let request = ack(&self.stack, &self.dialog, cseq, &hop, credentials);
        send(&request, &hop).await;
        self.ack = Some(Acknowledgement { cseq, request, hop });
        true
    }

    /// A 2xx whose transaction is over: our ACK was lost, or a fork answered too.
    pub(super) async fn succeeded_again(&mut self, response: &Response, flow: &Flow) {
        let cseq = response.cseq_header().and_then(|c| c.seq()).unwrap_or_default();
        if self.dialog.is_with(response) {
            if let Some(ack) = self.ack.as_ref().filter(|ack| ack.cseq == cseq) {
                send(&ack.request, &ack.hop).await;
            }
            return;
        }
        if !matches!(self.origin, Origin::Ours(first) if first == cseq) {
            return;
        }
        // The first that answered has the call; all others are let go.
        let Ok(dialog) = self.dialog.forked(response, cseq, flow.peer) else { return };
        tokio::spawn(let_go(Arc::clone(&self.stack), flow.clone(), dialog, cseq, self.who.clone()));
    }
}

/// One re-INVITE and its final response.
async fn exchange(
    stack: Arc<Stack>,
    flow: Flow,
    dialog: Dialog,
    seq: u32,
    login: Login,
    sdp: String,
) -> Option<Response> {
    let hop = outbound::route(&stack, &flow, &dialog.hop()).await?;
    let from = stack.reachable(&hop.0);
    let mut headers = vec![("Contact", dialog.contact().to_owned())];
    headers.push(("Allow", crate::sip::rejection::ALLOW.to_owned()));
    headers.push(("Content-Type", crate::sip::rejection::ACCEPT.to_owned()));
    let mut request = dialog.numbered(Method::Invite, seq, &from, &client::branch(), headers);
    request.body = sdp.into_bytes();
    let mut answers = Answers::default();
    loop {
        let mut inviting = Inviting::start(&stack.endpoint, request.clone(), hop.clone())?;
        let response = loop {
            let response = inviting.next().await?;
            if response.status_code.kind() != StatusCodeKind::Provisional {
                break response;
            }
        };
        if client::is_local(&response) {
            return None;
        }
        let challenged = matches!(response.status_code.code(), 401 | 407);
        match challenged.then(|| login.answer(&request, &mut answers, &response)).flatten() {
            Some(next) => request = next,
            None => return Some(response),
        }
    }
}

/// ACK and BYE for a dialog that nobody wants.
pub(in crate::sip) async fn let_go(
    stack: Arc<Stack>,
    flow: Flow,
    dialog: Dialog,
    cseq: u32,
    who: Option<crate::config::SipCredentials>,
) {
    let Some(hop) = outbound::route(&stack, &flow, &dialog.hop()).await else { return };
    send(&ack(&stack, &dialog, cseq, &hop, Vec::new()), &hop).await;
    let reason = bye_reason(200, "another phone answered");
    let bye = dialog.request(Method::Bye, &stack.reachable(&hop.0), &client::branch(), vec![reason]);
    client::ask(&stack.endpoint, bye, &hop, &Login { who, numbers: dialog.numbers() }).await;
}

fn ack(stack: &Stack, dialog: &Dialog, cseq: u32, hop: &Hop, credentials: Vec<Added>) -> Request {
    let mut ack = dialog.ack(cseq, &stack.reachable(&hop.0), &client::branch(), credentials);
    ack.headers.push(Header::UserAgent(stack.endpoint.user_agent.clone().into()));
    ack.headers.push(Header::ContentLength(0u32.into()));
    ack
}

async fn send(request: &Request, (flow, to): &Hop) {
    if let Err(error) = flow.connection.send(request.clone().into(), Some(to)).await {
        // The 2xx comes again, and so will the ACK.
        tracing::debug!(%error, "ACK could not be sent");
    }
}
