//! The stack's server transactions as calls use them: an INVITE that a task of its own pumps (retransmissions, ACK, CANCEL),
//! and an answer to any other request. Knows no room.

use rsipstack::sip::prelude::{HasHeaders, HeadersExt};
use rsipstack::sip::{Header, Method, Request, Response, SipMessage, StatusCode, StatusCodeKind};
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transaction::transaction::{Transaction, TransactionEvent, TransactionEventSender};
use tokio::sync::mpsc;

use super::flow::Flow;
use super::rejection::{Added, Rejection};

/// What arrives at a call.
pub(super) enum Inbound {
    /// A request within the dialog. Boxed: every inbox has room for 32 of these from the start.
    Request(Box<Transaction>, Box<Flow>),
    /// The ACK of the INVITE with this CSeq, and its body.
    Ack { cseq: u32, body: Vec<u8> },
    /// A CANCEL of the INVITE with this CSeq; it was answered already.
    Cancel { cseq: u32 },
    /// No ACK came for the 2xx of an INVITE within 64·T1 (RFC 3261 §13.3.1.4).
    Unacknowledged,
    /// A 2xx to an INVITE of ours, once more or from a fork: its transaction is over (§13.2.2.4).
    Success(Box<Response>, Box<Flow>),
    /// What became of a re-INVITE of ours with this number: its final response, or `None` when none came.
    Concluded(u32, Option<Box<Response>>),
    /// After a glare: the re-INVITE may go out again (§14.1).
    Retry,
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Bodies may hold digits: they are not shown.
        f.write_str(match self {
            Self::Request(..) => "Request",
            Self::Ack { .. } => "Ack",
            Self::Cancel { .. } => "Cancel",
            Self::Unacknowledged => "Unacknowledged",
            Self::Success(..) => "Success",
            Self::Concluded(..) => "Concluded",
            Self::Retry => "Retry",
        })
    }
}

/// An INVITE that we have to answer. Dropped unanswered (a panic) it answers 500 by itself.
pub(super) struct Invite {
    events: TransactionEventSender,
    /// The headers that its responses repeat.
    repeated: Request,
    endpoint: EndpointInnerRef,
    cseq: u32,
    answered: bool,
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invite").field("cseq", &self.cseq).field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl Invite {
    /// Sends 100 and pumps the transaction from now on; what happens to it arrives at `inbox`. `to` is the To value of
    /// every response, the 100 too: the stack's 200 to a CANCEL repeats the To of the last one (RFC 3261 §9.2).
    pub(super) fn start(tx: Transaction, to: &str, inbox: mpsc::Sender<Inbound>) -> Self {
        let cseq = tx.original.cseq_header().and_then(|c| c.seq()).unwrap_or_default();
        let mut headers = tx.original.headers.clone();
        headers.retain(|h| matches!(h, Header::Via(_) | Header::From(_) | Header::CallId(_) | Header::CSeq(_)));
        headers.push(Header::To(to.to_owned().into()));
        let repeated = Request {
            method: Method::Invite,
            uri: tx.original.uri.clone(),
            version: tx.original.version,
            headers,
            body: Vec::new(),
        };
        let invite =
            Self { events: tx.tu_sender.clone(), endpoint: tx.endpoint_inner.clone(), repeated, cseq, answered: false };
        let trying = response(&invite.endpoint, &invite.repeated, 100, Vec::new(), None);
        tokio::spawn(pump(tx, trying, cseq, inbox));
        invite
    }

    pub(super) fn cseq(&self) -> u32 {
        self.cseq
    }

    /// A final response was given.
    pub(super) fn is_answered(&self) -> bool {
        self.answered
    }

    /// A provisional response with a session; none after the final one.
    pub(super) fn progress(&mut self, code: u16, headers: Vec<Added>, sdp: String) {
        if !self.answered {
            let response = response(&self.endpoint, &self.repeated, code, headers, Some(sdp));
            // Fails only when the transaction is gone, and then nobody waits.
            let _ = self.events.send(TransactionEvent::Respond(response));
        }
    }

    /// The final response; a second one is ignored.
    pub(super) fn answer(&mut self, code: u16, headers: Vec<Added>, sdp: Option<String>) {
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let response = response(&self.endpoint, &self.repeated, code, headers, sdp);
        // Not needed any more, and a call lasts.
        self.repeated.headers = rsipstack::sip::Headers::default();
        // Fails only when the transaction is gone, and then nobody waits.
        let _ = self.events.send(TransactionEvent::Respond(response));
    }

    pub(super) fn reject(&mut self, rejection: &Rejection, agent: &str) {
        self.answer(rejection.code, rejection.headers(agent), None);
    }
}

impl Drop for Invite {
    fn drop(&mut self) {
        self.answer(500, Rejection::panicked().headers("conclave"), None);
    }
}

/// Drives an INVITE server transaction to its end.
async fn pump(mut tx: Transaction, trying: Response, cseq: u32, inbox: mpsc::Sender<Inbound>) {
    if tx.respond(trying).await.is_err() {
        tracing::debug!("100 could not be sent");
    }
    let mut acknowledged = false;
    while let Some(message) = tx.receive().await {
        let SipMessage::Request(request) = message else { continue };
        let inbound = match request.method {
            Method::Ack => {
                acknowledged = true;
                Inbound::Ack { cseq, body: request.body }
            }
            Method::Cancel => Inbound::Cancel { cseq },
            _ => continue,
        };
        // The call may have ended: then only the transaction has to be finished.
        let _ = inbox.send(inbound).await;
    }
    let accepted = tx.last_response.as_ref().is_some_and(|r| r.status_code.kind() == StatusCodeKind::Successful);
    drop(tx);
    if accepted && !acknowledged {
        let _ = inbox.send(Inbound::Unacknowledged).await;
    }
}

/// The final answer to a request that is no INVITE.
pub(super) async fn reply(tx: &mut Transaction, code: u16, headers: Vec<Added>, sdp: Option<String>) {
    let response = response(&tx.endpoint_inner, &tx.original, code, headers, sdp);
    if let Err(error) = tx.respond(response).await {
        tracing::debug!(%error, code, "answer could not be sent");
    }
}

fn response(
    endpoint: &EndpointInnerRef,
    request: &Request,
    code: u16,
    headers: Vec<Added>,
    sdp: Option<String>,
) -> Response {
    let typed = sdp.is_some();
    let mut response = endpoint.make_response(request, StatusCode::from(code), sdp.map(String::into_bytes));
    let list = response.headers_mut();
    list.extend(headers.into_iter().map(|(name, value)| Header::Other(name.to_owned(), value)).collect::<Vec<_>>());
    if typed {
        list.push(Header::ContentType("application/sdp".into()));
    }
    response
}
