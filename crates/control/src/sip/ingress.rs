//! What becomes of each message: responses and retransmissions to the stack's transactions, requests within a dialog to
//! their call, first INVITEs through admission to reception, all else an answer that nothing is remembered of. Runs in
//! the receive tasks, so it never waits for a call or a room.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Method, Request, Response, SipMessage, StatusCodeKind};
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::random_text;
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::address::{Reachable, Transport};
use super::admission::{Admission, Verdict};
use super::call::Call;
use super::dialog::{self, Dialog};
use super::dialogs::Dialogs;
use super::flow::{Flow, UdpSide};
use super::info::INFO_TYPES;
use super::metrics::SipMetrics;
use super::names::{Lead, Names};
use super::rejection::{ACCEPT, ALLOW, Added, Rejection};
use super::screen;
use super::tcp::Links;
use super::transaction::{Inbound, Invite};
use super::wire::{self, Echo};
use crate::config::{Live, SipConfig};
use crate::dialing::TransportChoice;

/// Admitted calls that may wait for reception, which only spawns a task for each.
const CALLS: usize = 4096;

/// Transactions alive at once; each holds a few KB. Beyond it requests are refused.
const MAX_TRANSACTIONS: usize = 20_000;
/// Answers kept for retransmissions (32 s each), 1–2 KB each.
const MAX_FINISHED: usize = 40_000;
/// Characters of our tags: 16 of 62 letters, 95 bits.
const TAG_CHARS: usize = 16;

/// The protocol layer: everything but the rooms.
pub(super) struct Stack {
    pub(super) settings: SipConfig,
    pub(super) endpoint: EndpointInnerRef,
    pub(super) metrics: SipMetrics,
    pub(super) admission: Admission,
    pub(super) dialogs: Dialogs,
    /// Sockets and connections end.
    pub(super) closing: CancellationToken,
    pub(super) udp: Option<UdpSide>,
    /// Where names of trunks lead.
    pub(super) names: Names,
    /// TCP connections of our own to trunks, which calls and registrations share.
    pub(super) links: Links,
    /// Users that calls over a registration come in for; the extension is then in To.
    pub(super) shared_users: BTreeSet<String>,
    /// New calls may come (not draining).
    accepting: Box<dyn Fn() -> bool + Send + Sync>,
    /// Admitted calls, to reception.
    calls: mpsc::Sender<Call>,
    seed: RandomState,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("dialogs", &self.dialogs.len()).finish_non_exhaustive()
    }
}

/// The addresses of this machine's interfaces at the start.
fn own_addresses() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        // Loopback is in `sip.allow`, or left out of it on purpose.
        Ok(interfaces) => interfaces.iter().filter(|i| !i.is_loopback()).map(|i| i.ip().to_canonical()).collect(),
        Err(error) => {
            tracing::warn!(%error, "this machine's addresses cannot be listed; calls from them must be allowed by sip.allow");
            Vec::new()
        }
    }
}

impl Stack {
    pub(super) fn new(
        settings: SipConfig,
        live: Live,
        endpoint: EndpointInnerRef,
        metrics: SipMetrics,
        udp: Option<UdpSide>,
        shared_users: BTreeSet<String>,
        accepting: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> (Arc<Self>, mpsc::Receiver<Call>) {
        let (calls, received) = mpsc::channel(CALLS);
        let stack = Self {
            dialogs: Dialogs::new(metrics.dialogs.clone()),
            settings,
            endpoint,
            metrics,
            admission: Admission::new(live, own_addresses()),
            closing: CancellationToken::new(),
            udp,
            names: Names::of_the_system(),
            links: Links::default(),
            shared_users,
            accepting,
            calls,
            seed: RandomState::new(),
        };
        (Arc::new(stack), received)
    }

    /// Our address as `flow`'s peer can reach it.
    pub(super) fn reachable(&self, flow: &Flow) -> Reachable {
        // An accepted connection has the listening port, one of our own an ephemeral one that nobody can call.
        let port = match flow.transport {
            Transport::Udp => flow.local.port(),
            Transport::Tcp | Transport::Ws | Transport::Wss => self.port(),
        };
        let port = if port == 0 { flow.local.port() } else { port };
        let bound = SocketAddr::new(flow.local.ip(), port);
        Reachable::toward(flow.peer, bound, self.settings.advertise, flow.transport)
    }

    /// Our SIP port, the same on both transports; 0 when the system chose one for TCP alone.
    fn port(&self) -> u16 {
        self.udp.as_ref().map_or(self.settings.listen.port(), |udp| udp.bound.port())
    }

    /// Our address as `peer` can reach it, before there is a flow.
    pub(super) fn reachable_from(&self, peer: SocketAddr, transport: Transport) -> Reachable {
        Reachable::toward(peer, self.bound(), self.settings.advertise, transport)
    }

    /// What we listen on.
    pub(super) fn bound(&self) -> SocketAddr {
        let ip = self.udp.as_ref().map_or(self.settings.listen.ip(), |udp| udp.bound.ip());
        SocketAddr::new(ip, self.port())
    }

    /// Addresses of `host` that our sockets reach, the first to be tried first; the text says why there are none.
    pub(super) async fn leads(
        &self,
        host: &str,
        port: Option<u16>,
        choice: TransportChoice,
    ) -> Result<Vec<Lead>, String> {
        let mut leads = self.names.leads(host, port, choice).await?;
        let ours = self.settings.listen.ip();
        // [::] takes both families, any other address its own alone.
        let both = ours.is_unspecified() && ours.is_ipv6();
        leads.retain(|lead| both || lead.address.is_ipv4() == ours.to_canonical().is_ipv4());
        if self.udp.is_none() {
            // Only TCP is switched on.
            leads.iter_mut().for_each(|lead| lead.transport = Transport::Tcp);
        }
        if leads.is_empty() { Err(format!("{host} has no address that sip.listen reaches")) } else { Ok(leads) }
    }

    /// One whole message from `flow`'s peer.
    pub(super) async fn receive(self: &Arc<Self>, bytes: &[u8], flow: &Flow) {
        match wire::read(bytes, flow.peer) {
            Ok(SipMessage::Request(request)) => self.request(request, flow).await,
            Ok(SipMessage::Response(response)) => self.response(response, flow).await,
            Err(malformed) => {
                debug!(source = %flow.peer, why = %malformed.rejection.text, "SIP message cannot be used");
                match malformed.echo {
                    Some(echo) if self.may_ask(flow) => {
                        self.refuse(&echo, flow, &malformed.rejection).await;
                    }
                    _ => self.metrics.dropped("malformed"),
                }
            }
        }
    }

    async fn request(self: &Arc<Self>, request: Request, flow: &Flow) {
        self.metrics.request(method_label(request.method), flow.transport.label());
        let Ok(key) = TransactionKey::from_request(&request, TransactionRole::Server) else {
            return self.metrics.dropped("malformed");
        };
        // A CANCEL has its INVITE's key. An ACK may have one of its own; the stack absorbs what it cannot place.
        let known = self.endpoint.transactions.contains_key(&key) || self.is_finished(&key);
        if known || request.method == Method::Ack {
            return self.pass(request.into(), flow).await;
        }
        // A CANCEL that missed its INVITE has nothing to say to a dialog.
        let tags = dialog::tags(&request).filter(|_| request.method != Method::Cancel);
        if let Some((local_tag, remote_tag)) = tags {
            let call_id = request.call_id_header().map(|c| c.value().to_owned()).unwrap_or_default();
            return match self.dialogs.find(&local_tag, &remote_tag, &call_id) {
                Some(inbox) => self.within_dialog(request, key, flow, &inbox).await,
                None => self.refuse_request(&request, flow, &Rejection::no_dialog()).await,
            };
        }
        if request.method == Method::Invite {
            return self.invite(request, key, flow).await;
        }
        if !self.may_ask(flow) {
            return self.metrics.dropped("source_not_allowed");
        }
        match request.method {
            Method::Options => self.options(&request, flow).await,
            Method::Bye | Method::Cancel | Method::Info | Method::Update | Method::PRack => {
                self.refuse_request(&request, flow, &Rejection::no_dialog()).await;
            }
            _ => self.refuse_request(&request, flow, &Rejection::method_not_allowed()).await,
        }
    }

    /// Whether those there are answered at all. Browsers come from anywhere, and show who they are when they call.
    fn may_ask(&self, flow: &Flow) -> bool {
        flow.transport.is_socket() || self.admission.allows(flow.peer.ip())
    }

    /// To its transaction; a 2xx to an INVITE that has none any more to the call (RFC 3261 §13.2.2.4).
    async fn response(&self, response: Response, flow: &Flow) {
        let is_success = response.status_code.kind() == StatusCodeKind::Successful
            && response.cseq_header().is_ok_and(|c| c.method().is_ok_and(|m| m == Method::Invite));
        if is_success {
            let key = TransactionKey::from_response(&response, TransactionRole::Client);
            let known = key.is_ok_and(|key| self.endpoint.transactions.contains_key(&key));
            let tag = response.from_header().ok().and_then(|f| f.tag().ok().flatten());
            let call_id = response.call_id_header().map(|c| c.value().to_owned()).unwrap_or_default();
            let inbox = tag.and_then(|tag| self.dialogs.inviter(tag.value(), &call_id));
            if let Some(inbox) = inbox.filter(|_| !known) {
                // Full, it is lost: it comes again until it has its ACK.
                if inbox.try_send(Inbound::Success(Box::new(response), Box::new(flow.clone()))).is_err() {
                    self.metrics.dropped("dialog_busy");
                }
                return;
            }
        }
        self.pass(response.into(), flow).await;
    }

    fn is_finished(&self, key: &TransactionKey) -> bool {
        self.endpoint.finished_transactions.contains_key(key)
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.endpoint.transactions.len() >= MAX_TRANSACTIONS
            || self.endpoint.finished_transactions.len() >= MAX_FINISHED
    }

    /// To the stack's transactions.
    async fn pass(&self, message: SipMessage, flow: &Flow) {
        let from = flow.stack_address(flow.peer);
        if let Err(error) = self.endpoint.on_received_message(message, flow.connection.clone(), &from).await {
            debug!(source = %flow.peer, %error, "SIP message belongs to no transaction");
            self.metrics.dropped("unexpected");
        }
    }

    async fn within_dialog(&self, request: Request, key: TransactionKey, flow: &Flow, inbox: &mpsc::Sender<Inbound>) {
        if self.is_overloaded() {
            return self.refuse_request(&request, flow, &Rejection::overloaded()).await;
        }
        match inbox.try_reserve() {
            Ok(place) => {
                let connection = Some(flow.connection.clone());
                let tx = Transaction::new_server(key, request, Arc::clone(&self.endpoint), connection);
                place.send(Inbound::Request(Box::new(tx), Box::new(flow.clone())));
            }
            Err(mpsc::error::TrySendError::Full(())) => {
                self.refuse_request(&request, flow, &Rejection::queue_full()).await;
            }
            Err(mpsc::error::TrySendError::Closed(())) => {
                self.refuse_request(&request, flow, &Rejection::no_dialog()).await;
            }
        }
    }

    /// OPTIONS outside a dialog tells what an INVITE would (RFC 3261 §11.2).
    async fn options(&self, request: &Request, flow: &Flow) {
        if !(self.accepting)() {
            return self.refuse_request(request, flow, &Rejection::draining()).await;
        }
        if let Err(rejection) = screen::requirements(request) {
            return self.refuse_request(request, flow, &rejection).await;
        }
        let mut headers = capabilities();
        headers.push(("Contact", self.reachable(flow).contact("")));
        self.respond(&Echo::from_request(request), flow, 200, &headers).await;
    }

    async fn invite(self: &Arc<Self>, request: Request, key: TransactionKey, flow: &Flow) {
        match self.admission.invite(flow.peer.ip(), Instant::now()) {
            Verdict::Accept => {}
            // A datagram comes again in half a second; on a stream silence would last.
            Verdict::Drop if flow.transport == Transport::Udp => return self.metrics.dropped("rate"),
            Verdict::Drop => return self.refuse_request(&request, flow, &Rejection::rate()).await,
            Verdict::Forbidden if flow.transport.is_socket() => {}
            Verdict::Forbidden => return self.refuse_request(&request, flow, &Rejection::source_not_allowed()).await,
        }
        if let Err(rejection) = self.admit(&request, key, flow) {
            self.refuse_request(&request, flow, &rejection).await;
        }
    }

    /// Makes the call, or says why not. Nothing is kept of a refused one.
    fn admit(self: &Arc<Self>, request: &Request, key: TransactionKey, flow: &Flow) -> Result<(), Rejection> {
        let mut wanted = screen::invite(request, flow.peer)?;
        if flow.transport.is_socket() {
            wanted.shown = Some(screen::credentials(request));
        }
        if self.shared_users.contains(&wanted.extension) {
            screen::called(request).into_iter().for_each(|called| wanted.extension = called);
        }
        if !(self.accepting)() {
            return Err(Rejection::draining());
        }
        if self.is_overloaded() {
            return Err(Rejection::overloaded());
        }
        let permit = self.admission.setup_place().ok_or_else(Rejection::setup_limit)?;
        let place = self.calls.try_reserve().map_err(|_| Rejection::setup_limit())?;
        let reachable = self.reachable(flow);
        let tag = tag();
        let dialog = Dialog::new(request, &tag, reachable.contact(&wanted.extension)).map_err(Rejection::malformed)?;
        let from_tag = request.from_header().ok().and_then(|f| f.tag().ok().flatten());
        let cseq = request.cseq_header().and_then(|c| c.seq()).unwrap_or_default();
        let merge = (wanted.call_id.clone(), from_tag.map(|t| t.value().to_owned()).unwrap_or_default(), cseq);
        let (listed, inbox) = self.dialogs.enter(tag, merge).ok_or_else(Rejection::merged)?;
        let connection = Some(flow.connection.clone());
        let tx = Transaction::new_server(key, request.clone(), Arc::clone(&self.endpoint), connection);
        let invite = Invite::start(tx, dialog.local(), listed.inbox.clone());
        place.send(Call::new(Arc::clone(self), wanted, dialog, flow.clone(), reachable, invite, listed, inbox, permit));
        Ok(())
    }

    async fn refuse_request(&self, request: &Request, flow: &Flow, rejection: &Rejection) {
        // The sender of an ACK waits for nothing.
        if request.method != Method::Ack {
            self.refuse(&Echo::from_request(request), flow, rejection).await;
        }
    }

    async fn refuse(&self, echo: &Echo, flow: &Flow, rejection: &Rejection) {
        info!(source = %flow.peer, code = rejection.code, why = %rejection.text, "SIP request refused");
        self.metrics.refused(rejection.label);
        let headers = rejection.headers(&self.reachable(flow).host());
        self.respond(echo, flow, rejection.code, &headers).await;
    }

    async fn respond(&self, echo: &Echo, flow: &Flow, code: u16, headers: &[Added]) {
        let bytes = echo.response(code, headers, &self.settings.user_agent, &self.seed);
        if !flow.reply(bytes, echo.target(flow.peer)).await {
            self.metrics.dropped("unsent");
        }
    }
}

/// What we can, for OPTIONS in and out of a dialog.
pub(super) fn capabilities() -> Vec<Added> {
    vec![
        ("Allow", ALLOW.to_owned()),
        ("Accept", format!("{ACCEPT}, {}", INFO_TYPES.join(", "))),
        ("Accept-Encoding", "identity".to_owned()),
        ("Supported", String::new()),
    ]
}

/// A tag of ours.
pub(super) fn tag() -> String {
    random_text(TAG_CHARS)
}

fn method_label(method: Method) -> &'static str {
    match method {
        Method::Invite => "invite",
        Method::Ack => "ack",
        Method::Bye => "bye",
        Method::Cancel => "cancel",
        Method::Options => "options",
        Method::Info => "info",
        Method::Update => "update",
        Method::Register => "register",
        _ => "other",
    }
}
