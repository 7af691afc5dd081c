//! Requests of our own as client transactions: INVITEs, whose responses a task of its own collects, and all others, which wait
//! for their final response and answer challenges on the way. Knows no call.

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Request, Response, SipMessage, StatusCodeKind, typed};
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::random_text;
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::SipAddr;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::dialog::Cseq;
use super::digest::Answers;
use super::flow::Flow;
use super::rejection::Added;
use super::wire;
use crate::config::SipCredentials;

/// Responses of one INVITE that wait for whoever called; beyond it its transaction waits.
const RESPONSES: usize = 8;
/// Of our branches and cnonces: 24 of 62 letters, 142 bits.
const RANDOM_CHARS: usize = 24;

/// A branch that no other request has (RFC 3261 §8.1.1.7).
pub(super) fn branch() -> String {
    format!("z9hG4bK{}", random_text(RANDOM_CHARS))
}

/// Where a request goes: the way, and the address on it.
pub(super) type Hop = (Flow, SipAddr);

/// The response is the stack's own word for "nothing came" (408) or "it could not be sent" (503): a server gives a tag.
pub(super) fn is_local(response: &Response) -> bool {
    matches!(response.status_code.code(), 408 | 503) && response.to_header().is_ok_and(|to| !wire::has_tag(to.value()))
}

/// A transaction of `request`, which gets our User-Agent.
fn transaction(endpoint: &EndpointInnerRef, request: &Request, (flow, to): &Hop) -> Option<Transaction> {
    let mut request = request.clone();
    request.headers.unique_push(Header::UserAgent(endpoint.user_agent.clone().into()));
    let key = TransactionKey::from_request(&request, TransactionRole::Client).ok()?;
    let mut tx = Transaction::new_client(key, request, endpoint.clone(), Some(flow.connection.clone()));
    tx.destination = Some(to.clone());
    Some(tx)
}

/// The request once more, with a new number and branch, and these answers to a challenge in place of earlier ones.
pub(super) fn again(mut request: Request, seq: u32, answers: Vec<Added>) -> Request {
    let method = request.method;
    request.headers.retain(|h| match h {
        Header::CSeq(_) | Header::Authorization(_) | Header::ProxyAuthorization(_) => false,
        Header::Other(name, _) => !answers.iter().any(|(answer, _)| answer == name),
        _ => true,
    });
    for header in request.headers.iter_mut() {
        if let Header::Via(via) = header {
            // Ours, so it has one branch, and `;rport` after it.
            let sent_by = via.value().split(";branch=").next().unwrap_or_default().to_owned();
            *header = Header::Via(format!("{sent_by};branch={};rport", branch()).into());
            break;
        }
    }
    request.headers.push(Header::CSeq(typed::CSeq { seq, method }.into()));
    request
        .headers
        .extend(answers.into_iter().map(|(name, value)| Header::Other(name.to_owned(), value)).collect::<Vec<_>>());
    request
}

/// What answers challenges in a request's name.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) who: Option<SipCredentials>,
    pub(super) numbers: Cseq,
}

impl Login {
    /// `request`, as it is to be sent after this challenge; `None` when nothing can be said to it.
    pub(super) fn answer(&self, request: &Request, answers: &mut Answers, challenge: &Response) -> Option<Request> {
        let who = self.who.as_ref().filter(|_| answers.challenged(challenge, self.who.as_ref()))?;
        let method = request.method.to_string();
        let headers = answers.headers(who, &method, &request.uri.to_string(), &random_text(RANDOM_CHARS));
        Some(again(request.clone(), self.numbers.next(), headers))
    }
}

/// Sends a request that is no INVITE, answers challenges, and waits for its final response; `None` when none came within
/// 64·T1, or it could not be sent.
pub(super) async fn ask(endpoint: &EndpointInnerRef, request: Request, hop: &Hop, login: &Login) -> Option<Response> {
    debug_assert!(request.method != Method::Invite, "its responses are many");
    let (mut request, mut answers) = (request, Answers::default());
    loop {
        let response = once(endpoint, &request, hop).await?;
        if !matches!(response.status_code.code(), 401 | 407) {
            return Some(response);
        }
        match login.answer(&request, &mut answers, &response) {
            Some(next) => request = next,
            None => return Some(response),
        }
    }
}

async fn once(endpoint: &EndpointInnerRef, request: &Request, hop: &Hop) -> Option<Response> {
    let mut tx = transaction(endpoint, request, hop)?;
    let exchange = async {
        tx.send().await.ok()?;
        while let Some(message) = tx.receive().await {
            if let SipMessage::Response(response) = message
                && response.status_code.kind() != StatusCodeKind::Provisional
            {
                return Some(response).filter(|response| !is_local(response));
            }
        }
        None
    };
    tokio::select! {
        response = exchange => response,
        // Nothing will come on it any more; the transaction goes with it.
        () = hop.0.closed() => None,
    }
}

/// An INVITE on its way. Dropped, it is not heard of any more: send CANCEL before.
#[derive(Debug)]
pub(super) struct Inviting {
    /// As it was sent.
    pub(super) request: Request,
    pub(super) hop: Hop,
    responses: mpsc::Receiver<Response>,
    _pump: AbortOnDropHandle<()>,
}

impl Inviting {
    /// Sends it. Non-2xx finals get their ACK by the transaction; that of a 2xx is the caller's.
    pub(super) fn start(endpoint: &EndpointInnerRef, request: Request, hop: Hop) -> Option<Self> {
        let tx = transaction(endpoint, &request, &hop)?;
        let (sender, responses) = mpsc::channel(RESPONSES);
        let pump = AbortOnDropHandle::new(tokio::spawn(pump(tx, sender)));
        Some(Self { request, hop, responses, _pump: pump })
    }

    /// The next response; `None` when no more will come. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Response> {
        self.responses.recv().await
    }

    /// The CANCEL of it (RFC 3261 §9.1): same branch and number. To be sent after a provisional response only.
    pub(super) fn cancel(&self, reason: Added) -> Request {
        let mut headers = self.request.headers.clone();
        headers.retain(|h| {
            matches!(
                h,
                Header::Via(_)
                    | Header::From(_)
                    | Header::To(_)
                    | Header::CallId(_)
                    | Header::MaxForwards(_)
                    | Header::Route(_)
            )
        });
        let seq = self.request.cseq_header().and_then(|c| c.seq()).unwrap_or_default();
        headers.push(Header::CSeq(typed::CSeq { seq, method: Method::Cancel }.into()));
        headers.push(Header::Other(reason.0.to_owned(), reason.1));
        Request { method: Method::Cancel, headers, body: Vec::new(), ..self.request.clone() }
    }
}

/// Drives an INVITE client transaction to its end. `receive` may not be broken off, so it has a task of its own.
async fn pump(mut tx: Transaction, responses: mpsc::Sender<Response>) {
    if let Err(error) = tx.send().await {
        tracing::debug!(%error, "INVITE could not be sent");
        return;
    }
    while let Some(message) = tx.receive().await {
        if let SipMessage::Response(response) = message
            && responses.send(response).await.is_err()
        {
            return;
        }
    }
}
