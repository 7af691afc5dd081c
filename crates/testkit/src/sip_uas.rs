//! A SIP provider of a few hundred lines (RFC 3261): takes calls and registrations of a server under test on one port, UDP and
//! TCP, and answers, rings, refuses, asks for credentials or misbehaves as a script says. A test tool: what breaks the RFC is
//! kept as a violation, and dropping the provider with violations fails the test.

mod dialog;
pub mod digest;
mod registrar;
mod wire;

use crate::sip_message::{Message, StartLine, param};
use crate::sip_ua::{Transport, strict};
use dialog::Dialog;
use digest::Gate;
pub use registrar::Binding;
use registrar::Registrar;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire::{Peer, Wire};

/// T1 of RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes what is sent for an INVITE, from the INVITE.
pub type Custom = fn(&Message) -> Vec<Vec<u8>>;

/// How an INVITE ends.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// 200 with this SDP.
    Answer(String),
    /// 200 with this SDP; so many ACKs are taken for lost.
    AnswerDeaf(String, u32),
    /// As many phones answer, each with a tag of its own, one after the other.
    Fork(String, u32),
    /// A final refusal.
    Reject(u16, &'static str),
    /// Rings until CANCEL, then 487.
    Ring,
    /// Answers with this SDP when CANCEL comes: the two have crossed.
    AnswerCancel(String),
    /// Says nothing at all.
    Silence,
    /// Whatever this makes.
    Custom(Custom),
}

/// How the next calls are taken.
#[derive(Clone, Debug)]
pub struct Script {
    /// Provisional responses before the outcome: code, and SDP where it has one.
    pub provisional: Vec<(u16, Option<String>)>,
    /// How it ends.
    pub outcome: Outcome,
    /// Further headers of the responses beyond 100.
    pub headers: Vec<(&'static str, String)>,
}

impl Script {
    /// Rings with 180, then this.
    pub fn ringing(outcome: Outcome) -> Self {
        Self { provisional: vec![(180, None)], outcome, headers: Vec::new() }
    }

    /// This at once.
    pub fn at_once(outcome: Outcome) -> Self {
        Self { provisional: Vec::new(), outcome, headers: Vec::new() }
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request.
    pub message: Message,
    /// By what it came.
    pub transport: Transport,
    /// When.
    pub at: Instant,
}

/// The provider.
#[derive(Debug)]
pub struct SipUas {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    wire: Wire,
    stop: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    script: Script,
    gate: Option<Gate>,
    registrar: Registrar,
    dialogs: Vec<Dialog>,
    requests: Vec<Seen>,
    /// Final responses to our own requests: method and code.
    responses: Vec<(String, u16)>,
    violations: Vec<String>,
    /// Responses that are not sent again by themselves, by branch and method: for retransmitted requests.
    answered: Vec<(String, String, Vec<u8>)>,
    tags: u32,
    /// Call-IDs that were answered by a `Custom`: nothing is known of their ACKs.
    custom: Vec<String>,
}

impl SipUas {
    /// On a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When the machine refuses sockets.
    pub fn start() -> Self {
        let shared = Arc::new(Shared {
            wire: Wire::open(),
            stop: AtomicBool::new(false),
            state: Mutex::new(State {
                script: Script::ringing(Outcome::Ring),
                gate: None,
                registrar: Registrar::default(),
                dialogs: Vec::new(),
                requests: Vec::new(),
                responses: Vec::new(),
                violations: Vec::new(),
                answered: Vec::new(),
                tags: 0,
                custom: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new().name("sip-uas".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        });
        Self { shared, thread: Some(thread.expect("a thread")) }
    }

    /// Its address, on both transports.
    pub fn address(&self) -> SocketAddr {
        self.shared.wire.address()
    }

    /// Takes calls so from now on.
    pub fn script(&self, script: Script) {
        self.shared.lock().script = script;
    }

    /// Asks for credentials from now on.
    pub fn require(&self, gate: Gate) {
        self.shared.lock().gate = Some(gate);
    }

    /// Wants registrations of at least this many seconds (423 otherwise), and gives so many at most.
    pub fn set_expires(&self, least_s: u32, most_s: u32) {
        let mut state = self.shared.lock();
        (state.registrar.least_s, state.registrar.most_s) = (least_s, most_s);
    }

    /// Refuses registrations with this code from now on; 0 takes them again.
    pub fn refuse_registrations(&self, code: u16) {
        self.shared.lock().registrar.refusal = code;
    }

    /// Who is registered now.
    pub fn bindings(&self) -> Vec<Binding> {
        self.shared.lock().registrar.bindings()
    }

    /// Waits until the bindings are as `look` wants them.
    ///
    /// # Panics
    /// When they do not come to be.
    pub fn wait_bindings<T>(&self, what: &str, mut look: impl FnMut(&[Binding]) -> Option<T>) -> T {
        self.shared.wait(what, |state| look(&state.registrar.bindings()))
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.lock().requests.clone()
    }

    /// Requests of this method, retransmissions among them.
    pub fn of_method(&self, method: &str) -> Vec<Seen> {
        self.shared.lock().requests.iter().filter(|seen| seen.message.method() == method).cloned().collect()
    }

    /// Waits for the `nth` (from 1) request of this method.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_request(&self, method: &str, nth: usize) -> Message {
        self.shared.wait(&format!("{method} number {nth}"), |state| {
            let of = state.requests.iter().filter(|seen| seen.message.method() == method);
            of.map(|seen| seen.message.clone()).nth(nth - 1)
        })
    }

    /// A request in the dialog that was answered last, from our side; gives the code of its final response.
    ///
    /// # Panics
    /// When there is no dialog, or no response comes.
    pub fn ask(&self, method: &str, body: Option<(&str, &str)>) -> u16 {
        // The last ACK may be on its way.
        let before = self.shared.wait("a dialog", |state| {
            let dialog = state.dialogs.iter_mut().rev().find(|d| d.is_confirmed())?;
            let (bytes, peer) = dialog.request(&self.shared.wire, method, body);
            self.shared.wire.send(&bytes, &peer);
            Some(state.responses.len())
        });
        self.shared.wait(&format!("the response to {method}"), |state| {
            state.responses.iter().skip(before).find(|(m, code)| m == method && *code >= 200).map(|(_, code)| *code)
        })
    }

    /// What the server did against the RFC. Taken away, so that the provider can be dropped.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().violations)
    }

    /// Closes every TCP connection.
    pub fn hang_up_tcp(&self) {
        self.shared.wire.close_connections();
    }
}

impl Drop for SipUas {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let violations = self.take_violations();
        assert!(violations.is_empty() || std::thread::panicking(), "the server broke the RFC: {violations:#?}");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {PATIENCE:?} for {what}; seen: {:#?}", methods(&state.requests));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            for (message, peer) in self.wire.receive() {
                match message {
                    Ok(message) => self.take(message, &peer),
                    Err(why) => self.lock().violations.push(format!("not a SIP message: {why}")),
                }
            }
            self.resend(Instant::now());
        }
    }

    /// 2xx and refusals that want an ACK.
    fn resend(&self, now: Instant) {
        let mut state = self.lock();
        let due: Vec<_> = state.dialogs.iter_mut().filter_map(|dialog| dialog.due(now)).collect();
        drop(state);
        for (bytes, peer) in due {
            self.wire.send(&bytes, &peer);
        }
    }

    fn take(&self, message: Message, peer: &Peer) {
        let mut state = self.lock();
        if message.code() != 0 {
            state.responses.push((message.method().to_owned(), message.code()));
        } else {
            state.requests.push(Seen { message: message.clone(), transport: peer.transport(), at: Instant::now() });
            state.violations.extend(strict::request(&message));
            for bytes in state.answer(&message, peer) {
                self.wire.send(&bytes, peer);
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn methods(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|s| format!("{} {:?}", s.message.method(), s.message.cseq())).collect()
}

impl State {
    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("uas{}", self.tags)
    }

    fn answer(&mut self, request: &Message, peer: &Peer) -> Vec<Vec<u8>> {
        let method = request.method().to_owned();
        let branch = request.branch().unwrap_or("").to_owned();
        if let Some((_, _, bytes)) = self.answered.iter().find(|(b, m, _)| *b == branch && *m == method) {
            return vec![bytes.clone()];
        }
        let in_dialog = request.header("To").and_then(|to| param(to, "tag")).is_some();
        match method.as_str() {
            "ACK" => {
                self.acknowledged(request);
                Vec::new()
            }
            "CANCEL" => self.cancelled(request, &branch),
            "INVITE" if !in_dialog => self.invited(request, peer, &branch),
            "REGISTER" => {
                let answer = match self.challenge(request, 401) {
                    Some(challenge) => challenge,
                    None => self.registrar.answer(request, peer),
                };
                self.remember(branch, method, answer)
            }
            _ if in_dialog => self.within(request, branch, method),
            _ => {
                let tag = self.tag();
                self.remember(
                    branch,
                    method,
                    Message::response(request, 200, "OK", &tag).with("Allow", "INVITE, ACK, BYE"),
                )
            }
        }
    }

    fn remember(&mut self, branch: String, method: String, answer: Message) -> Vec<Vec<u8>> {
        let bytes = answer.to_bytes();
        self.answered.push((branch, method, bytes.clone()));
        vec![bytes]
    }

    /// A challenge, when the credentials are missing, wrong or old.
    fn challenge(&mut self, request: &Message, code: u16) -> Option<Message> {
        let gate = self.gate.as_mut()?;
        let challenges = gate.check(request)?;
        let tag = self.tag();
        let mut answer = Message::response(request, code, "Who are you", &tag);
        let name = if code == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        for challenge in challenges {
            answer.add(name, &challenge);
        }
        Some(answer)
    }

    fn invited(&mut self, request: &Message, peer: &Peer, branch: &str) -> Vec<Vec<u8>> {
        if let Some(dialog) = self.dialogs.iter_mut().find(|d| d.branch == branch) {
            return dialog.last.iter().cloned().collect();
        }
        if let Some(challenge) = self.challenge(request, 407) {
            let mut dialog = Dialog::new(request, peer.clone(), String::new());
            let bytes = dialog.refuse(challenge);
            self.dialogs.push(dialog);
            return vec![bytes];
        }
        let script = self.script.clone();
        if let Outcome::Silence = script.outcome {
            return Vec::new();
        }
        if let Outcome::Custom(make) = script.outcome {
            self.custom.push(request.header("Call-ID").unwrap_or("").to_owned());
            return make(request);
        }
        let tag = self.tag();
        let mut dialog = Dialog::new(request, peer.clone(), tag.clone());
        let contact = dialog.contact(self.address_of(peer));
        let response = |code: u16, reason: &str, tag: &str| {
            let mut response = Message::response(request, code, reason, tag).with("Contact", &contact);
            script.headers.iter().for_each(|(name, value)| response.add(name, value));
            response
        };
        // 100 has no tag.
        let mut out = vec![dialog.provisional(Message::response(request, 100, "Trying", ""))];
        for (code, sdp) in &script.provisional {
            let mut ringing = response(*code, "Ringing", &tag);
            if let Some(sdp) = sdp {
                ringing = ringing.with_body("application/sdp", sdp);
            }
            out.push(dialog.provisional(ringing));
        }
        match script.outcome {
            Outcome::Answer(sdp) => {
                out.push(dialog.accept(response(200, "OK", &tag).with_body("application/sdp", &sdp), 0))
            }
            Outcome::AnswerDeaf(sdp, deaf) => {
                out.push(dialog.accept(response(200, "OK", &tag).with_body("application/sdp", &sdp), deaf));
            }
            Outcome::Fork(sdp, phones) => {
                out.push(dialog.accept(response(200, "OK", &tag).with_body("application/sdp", &sdp), 0));
                for _ in 1..phones {
                    let tag = self.tag();
                    let mut other = Dialog::new(request, peer.clone(), tag.clone());
                    // Another branch of the fork: not found by the INVITE's.
                    other.branch.clear();
                    out.push(other.accept(response(200, "OK", &tag).with_body("application/sdp", &sdp), 0));
                    self.dialogs.push(other);
                }
            }
            Outcome::Reject(code, reason) => out.push(dialog.refuse(response(code, reason, &tag))),
            Outcome::AnswerCancel(sdp) => {
                dialog.on_cancel = Some(response(200, "OK", &tag).with_body("application/sdp", &sdp))
            }
            Outcome::Ring | Outcome::Silence | Outcome::Custom(_) => {}
        }
        self.dialogs.push(dialog);
        out
    }

    fn address_of(&self, peer: &Peer) -> SocketAddr {
        peer.local()
    }

    fn cancelled(&mut self, request: &Message, branch: &str) -> Vec<Vec<u8>> {
        let Some(dialog) = self.dialogs.iter_mut().find(|d| d.branch == branch) else {
            return vec![Message::response(request, 481, "No such call", "none").to_bytes()];
        };
        let tag = dialog.local_tag.clone();
        let mut out = vec![Message::response(request, 200, "OK", &tag).to_bytes()];
        if !dialog.is_provisional() {
            return out;
        }
        out.push(match dialog.on_cancel.take() {
            Some(crossed) => dialog.accept(crossed, 0),
            None => {
                let gone = Message::response(&dialog.invite.clone(), 487, "Request Terminated", &tag);
                dialog.refuse(gone)
            }
        });
        out
    }

    fn acknowledged(&mut self, ack: &Message) {
        let tag = ack.header("To").and_then(|to| param(to, "tag")).unwrap_or("");
        let call_id = ack.header("Call-ID").unwrap_or("");
        let branch = ack.branch().unwrap_or("");
        let by_tag = |d: &&mut Dialog| d.call_id == call_id && d.local_tag == tag && !tag.is_empty();
        let found = self.dialogs.iter_mut().find(by_tag);
        match found {
            Some(dialog) => self.violations.extend(dialog.acknowledged(ack)),
            // The ACK of a challenge has that INVITE's branch (§17.1.1.3).
            None => match self.dialogs.iter_mut().find(|d| !d.branch.is_empty() && d.branch == branch) {
                Some(dialog) => self.violations.extend(dialog.acknowledged(ack)),
                None if self.custom.iter().any(|custom| custom == call_id) => {}
                None => self.violations.push(format!("ACK of nothing: {:?}", ack.header("To"))),
            },
        }
    }

    fn within(&mut self, request: &Message, branch: String, method: String) -> Vec<Vec<u8>> {
        let tag = request.header("To").and_then(|to| param(to, "tag")).unwrap_or("").to_owned();
        let call_id = request.header("Call-ID").unwrap_or("").to_owned();
        let Some(at) = self.dialogs.iter().position(|d| d.call_id == call_id && d.local_tag == tag) else {
            return self.remember(branch, method, Message::response(request, 481, "No such call", &tag));
        };
        if method == "INVITE"
            && let Some(challenge) = self.challenge(request, 407)
        {
            return self.remember(branch, method, challenge);
        }
        let (answer, wrong) = match self.dialogs.get_mut(at) {
            Some(dialog) => dialog.within(request),
            None => return Vec::new(),
        };
        self.violations.extend(wrong);
        self.remember(branch, method, answer)
    }
}

/// Method and Request-URI, for assertions.
pub fn request_uri(message: &Message) -> &str {
    match &message.start {
        StartLine::Request { uri, .. } => uri,
        StartLine::Response { .. } => "",
    }
}
