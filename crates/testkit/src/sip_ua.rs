//! A small SIP user agent (RFC 3261) over UDP, TCP or WebSocket: calls, holds, cancels, hangs up, and answers what a server may
//! send in a dialog. A test tool: simple, and strict on what it receives. Whatever breaks the RFC is kept as a violation;
//! dropping the agent with violations fails the test.

mod call;
mod dialog;
pub(crate) mod strict;
mod transaction;
mod transport;

pub use call::{Call, Invite};
pub use transport::Transport;

use crate::sip_message::Message;
use dialog::Dialog;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use transaction::ClientTransaction;
use transport::Wire;

/// T1 of RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);

/// The agent: one local address, one server, any number of calls.
#[derive(Debug)]
pub struct SipUa {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    wire: Wire,
    local: SocketAddr,
    server: SocketAddr,
    user: String,
    unique: AtomicU64,
    seed: u64,
    stop: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    transactions: Vec<ClientTransaction>,
    dialogs: Vec<Dialog>,
    violations: Vec<String>,
    requests: Vec<Message>,
    retransmissions: u64,
    repeated_finals: u64,
    /// The connection was closed by the server (TCP, WebSocket).
    closed: bool,
}

impl SipUa {
    /// An agent of this user name.
    ///
    /// # Panics
    /// When the server's TCP port does not accept, or the machine refuses a socket.
    pub fn new(user: &str, transport: Transport, server: SocketAddr) -> Self {
        let wire = Wire::open(transport, server);
        let local = wire.local();
        let shared = Arc::new(Shared {
            wire,
            local,
            server,
            user: user.to_owned(),
            unique: AtomicU64::new(1),
            // Branches and Call-IDs must differ between agents of many processes on one machine.
            seed: u64::from(std::process::id()) << 16 | u64::from(local.port()),
            stop: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = std::thread::Builder::new().name("sip-ua".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        });
        Self { shared, thread: Some(thread.expect("a thread")) }
    }

    /// Sends an INVITE and does not wait.
    pub fn invite(&self, invite: &Invite) -> Call {
        Call::begin(self.shared.clone(), invite)
    }

    /// Sends OPTIONS for this user part (or the server itself when empty) and gives the final response.
    ///
    /// # Errors
    /// When none comes.
    pub fn options(&self, extension: &str) -> Result<Message, String> {
        let at = if extension.is_empty() { String::new() } else { format!("{extension}@") };
        let uri = format!("sip:{at}{}", self.shared.server);
        let request = Message::request("OPTIONS", &uri)
            .with("Via", &self.shared.via())
            .with("Max-Forwards", "70")
            .with("From", &format!("<{}>;tag={}", self.shared.own_uri(), self.shared.token()))
            .with("To", &format!("<{uri}>"))
            .with("Call-ID", &self.shared.token())
            .with("CSeq", "1 OPTIONS")
            .with("Contact", &self.shared.contact())
            .with("Accept", "application/sdp");
        self.shared.ask(request)
    }

    /// Requests of the server so far (BYE, OPTIONS, re-INVITE …).
    pub fn requests(&self) -> Vec<Message> {
        self.shared.lock().requests.clone()
    }

    /// Requests that had to be sent again for want of an answer.
    pub fn retransmissions(&self) -> u64 {
        self.shared.lock().retransmissions
    }

    /// Final responses that came more than once.
    pub fn repeated_finals(&self) -> u64 {
        self.shared.lock().repeated_finals
    }

    /// What the server did against the RFC. Taken away, so that the agent can be dropped.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().violations)
    }

    /// Its own address.
    pub fn local(&self) -> SocketAddr {
        self.shared.local
    }

    /// The server closed the connection.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Writes bytes as they are.
    pub fn send_raw(&self, bytes: &[u8]) {
        self.shared.wire.send(bytes, self.shared.server);
    }
}

impl Drop for SipUa {
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

    /// A string that no one else has.
    fn token(&self) -> String {
        format!("{:x}x{}", self.seed, self.unique.fetch_add(1, Ordering::Relaxed))
    }

    fn own_uri(&self) -> String {
        // A SocketAddr writes the brackets of an IPv6 host.
        format!("sip:{}@{}", self.user, self.local)
    }

    fn via(&self) -> String {
        format!("SIP/2.0/{} {};branch=z9hG4bK{};rport", self.wire.transport().name(), self.local, self.token())
    }

    fn contact(&self) -> String {
        match self.wire.transport() {
            Transport::Udp => format!("<sip:{}@{}>", self.user, self.local),
            Transport::Tcp => format!("<sip:{}@{};transport=tcp>", self.user, self.local),
            // A browser has no address that others could reach (RFC 7118 §5).
            Transport::Ws => format!("<sip:{}@{:x}.invalid;transport=ws>", self.user, self.seed),
        }
    }

    /// Puts a request on the wire with the transaction that resends it.
    fn begin(&self, request: Message) -> String {
        let bytes = request.to_bytes();
        let transaction = ClientTransaction::new(request, bytes.clone(), self.wire.transport(), Instant::now());
        let branch = transaction.branch().to_owned();
        self.lock().transactions.push(transaction);
        self.wire.send(&bytes, self.server);
        branch
    }

    /// Begins a transaction and waits for its final response.
    fn ask(&self, request: Message) -> Result<Message, String> {
        let branch = self.begin(request);
        self.wait_final(&branch, 64 * T1).map(|(_, message)| message)
    }

    /// The final response of a transaction, with its arrival.
    fn wait_final(&self, branch: &str, timeout: Duration) -> Result<(Instant, Message), String> {
        self.wait(timeout, |state| {
            let transaction = state.transactions.iter().find(|t| t.branch() == branch)?;
            transaction.failed().map(Err).or_else(|| transaction.final_response().cloned().map(Ok))
        })
        .unwrap_or_else(|| Err(format!("no final response in {timeout:?}")))
    }

    /// Waits until `look` sees something.
    fn wait<T>(&self, timeout: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    fn run(&self) {
        let mut stream = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let received = self.wire.receive(&mut stream);
            let at = Instant::now();
            for message in received.messages {
                match message {
                    Ok(message) => self.take(at, message),
                    Err(why) => self.violation(format!("not a SIP message: {why}")),
                }
            }
            if received.closed {
                self.lock().closed = true;
                self.changed.notify_all();
                break;
            }
            self.resend(at);
        }
    }

    fn resend(&self, now: Instant) {
        let mut state = self.lock();
        let mut again = Vec::new();
        for transaction in &mut state.transactions {
            again.extend(transaction.due(now));
        }
        state.retransmissions += again.len() as u64;
        drop(state);
        for bytes in again {
            self.wire.send(&bytes, self.server);
        }
        self.changed.notify_all();
    }

    fn take(&self, at: Instant, message: Message) {
        if message.code() == 0 {
            self.take_request(message)
        } else {
            self.take_response(at, message)
        }
        self.changed.notify_all();
    }

    fn violation(&self, what: String) {
        self.lock().violations.push(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{Codec, OfferSpec};
    use std::net::UdpSocket;

    /// A server of a few lines: 100 and 200 for INVITE (180 and 487 when cancelled), 200 for everything else.
    struct Scripted {
        address: SocketAddr,
        stop: Arc<AtomicBool>,
        thread: Option<JoinHandle<Vec<Message>>>,
    }

    impl Scripted {
        fn start(contact: &'static str, ignore_first: bool) -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let address = socket.local_addr().unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let thread = std::thread::spawn({
                let stop = stop.clone();
                move || serve(&socket, &stop, contact, ignore_first)
            });
            Self { address, stop, thread: Some(thread) }
        }
        fn finish(mut self) -> Vec<Message> {
            self.stop.store(true, Ordering::Relaxed);
            self.thread.take().unwrap().join().unwrap()
        }
    }

    fn serve(socket: &UdpSocket, stop: &AtomicBool, contact: &str, mut ignore: bool) -> Vec<Message> {
        let sdp = OfferSpec::new("127.0.0.1:4000".parse().unwrap(), &[Codec::Pcmu]).to_sdp();
        let contact = contact.replace("SELF", &socket.local_addr().unwrap().to_string());
        let (mut seen, mut buffer, mut ringing) = (Vec::new(), [0; 4096], None);
        loop {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                // Only when nothing is left to be read.
                if stop.load(Ordering::Relaxed) {
                    return seen;
                }
                continue;
            };
            let (mut message, _) = Message::parse(&buffer[..len], true).unwrap().unwrap();
            fill_rport(&mut message, from);
            seen.push(message.clone());
            if std::mem::take(&mut ignore) {
                continue;
            }
            let send = |m: Message| socket.send_to(&m.to_bytes(), from).unwrap();
            match message.method() {
                "ACK" => {}
                "INVITE" if message.text().contains("a=inactive") => {
                    send(Message::response(&message, 180, "Ringing", "srv"));
                    ringing = Some(message);
                }
                "INVITE" => {
                    send(Message::response(&message, 100, "Trying", "srv"));
                    let ok = Message::response(&message, 200, "OK", "srv").with("Contact", &contact);
                    send(ok.with_body("application/sdp", &sdp));
                }
                "CANCEL" => {
                    send(Message::response(&message, 200, "OK", "srv"));
                    send(Message::response(&ringing.take().unwrap(), 487, "Request Terminated", "srv"));
                }
                _ => {
                    send(Message::response(&message, 200, "OK", "srv").with("Allow", "INVITE"));
                }
            }
        }
    }

    /// RFC 3581 §4.
    fn fill_rport(message: &mut Message, from: SocketAddr) {
        let via = message.headers.iter_mut().find(|(name, _)| name == "Via").unwrap();
        via.1 = via.1.replace(";rport", &format!(";rport={}", from.port()));
    }

    fn methods(seen: &[Message]) -> Vec<String> {
        seen.iter().map(|m| format!("{} {}", m.method(), m.cseq().unwrap().0)).collect()
    }

    fn offer(direction: &'static str) -> String {
        let mut spec = OfferSpec::new("127.0.0.1:4100".parse().unwrap(), &[Codec::Pcmu]);
        spec.direction = direction;
        spec.to_sdp()
    }

    #[test]
    fn call_is_acknowledged_held_and_ended() {
        let server = Scripted::start("<sip:SELF>", false);
        let ua = SipUa::new("bob", Transport::Udp, server.address);
        assert_eq!(ua.options("").unwrap().code(), 200);
        let call = ua.invite(&Invite::new("900", &offer("sendrecv")));
        assert!(call.answered().unwrap().contains("m=audio 4000"));
        call.reinvite(&offer("sendonly")).unwrap();
        assert_eq!(call.bye().unwrap().code(), 200);
        assert!(call.setup_time().unwrap() < Duration::from_secs(1));
        assert_eq!(ua.retransmissions(), 0);
        drop(ua);
        let seen = server.finish();
        assert_eq!(methods(&seen), ["OPTIONS 1", "INVITE 1", "ACK 1", "INVITE 2", "ACK 2", "BYE 3"]);
    }

    #[test]
    fn cancelled_call_ends_with_487_and_its_ack() {
        let server = Scripted::start("<sip:SELF>", false);
        let ua = SipUa::new("bob", Transport::Udp, server.address);
        let call = ua.invite(&Invite::new("900", &offer("inactive")));
        call.provisional(180).unwrap();
        assert_eq!(call.cancel().unwrap().code(), 200);
        assert_eq!(call.outcome().unwrap().code(), 487);
        drop(ua);
        assert_eq!(methods(&server.finish()), ["INVITE 1", "CANCEL 1", "ACK 1"]);
    }

    #[test]
    fn unanswered_request_is_sent_again() {
        let server = Scripted::start("<sip:SELF>", true);
        let ua = SipUa::new("bob", Transport::Udp, server.address);
        assert_eq!(ua.options("900").unwrap().code(), 200);
        assert_eq!(ua.retransmissions(), 1);
    }

    #[test]
    fn wrong_contact_is_a_violation() {
        for contact in ["<sip:SELF;transport=tcp>", "<sip:127.0.0.1:9>"] {
            let server = Scripted::start(contact, false);
            let ua = SipUa::new("bob", Transport::Udp, server.address);
            ua.invite(&Invite::new("900", &offer("sendrecv"))).answered().unwrap();
            let found = ua.take_violations();
            assert!(found.len() == 1 && found[0].contains("Contact"), "{found:?}");
        }
    }

    #[test]
    fn bye_of_the_server_is_answered_and_checked() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let ua = SipUa::new("bob", Transport::Udp, socket.local_addr().unwrap());
        let call = ua.invite(&Invite::new("900", &offer("sendrecv")));
        let mut buffer = [0; 4096];
        let mut receive = || {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            let mut message = Message::parse(&buffer[..len], true).unwrap().unwrap().0;
            if message.code() == 0 {
                fill_rport(&mut message, from);
            }
            (message, from)
        };
        let (invite, from) = receive();
        let contact = format!("<sip:{}>", socket.local_addr().unwrap());
        let ok = Message::response(&invite, 200, "OK", "srv").with("Contact", &contact);
        let ok = ok.with_body("application/sdp", &offer("sendrecv"));
        socket.send_to(&ok.to_bytes(), from).unwrap();
        assert_eq!(receive().0.method(), "ACK");
        let bye = Message::request("BYE", &format!("sip:bob@{}", ua.local()))
            .with("Via", "SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKbye")
            .with("Max-Forwards", "70")
            .with("From", ok.header("To").unwrap())
            .with("To", ok.header("From").unwrap())
            .with("Call-ID", call.id())
            .with("CSeq", "1 BYE");
        socket.send_to(&bye.to_bytes(), from).unwrap();
        assert_eq!(receive().0.code(), 200);
        assert_eq!(call.wait_bye(Duration::from_secs(1)).unwrap().method(), "BYE");
        assert!(ua.take_violations().is_empty());
    }
}
