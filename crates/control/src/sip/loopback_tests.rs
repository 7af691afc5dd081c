//! The protocol layer over real loopback sockets. The test is the phone on one side and takes the calls on the other, as
//! reception does.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rsipstack::transaction::endpoint::EndpointOption;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::call::{Call, Happening};
use super::rejection::Rejection;
use super::wire::{self, Frame};
use super::{Front, SipMetrics};
use crate::config::{Limits, Live, SipConfig};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n";
const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\n";
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn settings() -> SipConfig {
    SipConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        udp: true,
        tcp: true,
        advertise: None,
        allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        invites_per_source_per_second: 10_000,
        max_calls_in_setup: 500,
        user_agent: "test".to_owned(),
    }
}

fn live(settings: &SipConfig) -> Live {
    Live::new(Limits {
        allow: settings.allow.clone(),
        invites_per_source_per_second: settings.invites_per_source_per_second,
        max_calls_in_setup: settings.max_calls_in_setup,
        requests_per_minute: 1,
        grace: Duration::ZERO,
    })
}

pub(super) struct House {
    pub(super) front: Front,
    calls: mpsc::Receiver<Call>,
    pub(super) metrics: SipMetrics,
    accepting: Arc<AtomicBool>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.front.stack.closing.cancel();
    }
}

impl House {
    pub(super) async fn open(settings: SipConfig) -> Self {
        Self::with_timers(settings, EndpointOption::default()).await
    }

    pub(super) async fn with_timers(settings: SipConfig, timers: EndpointOption) -> Self {
        let accepting = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&accepting);
        let metrics = SipMetrics::default();
        let accepts = Box::new(move || flag.load(Ordering::Relaxed));
        let (front, calls) =
            Front::open(settings.clone(), BTreeSet::new(), live(&settings), metrics.clone(), timers, accepts)
                .await
                .unwrap();
        Self { front, calls, metrics, accepting }
    }

    pub(super) async fn call(&mut self) -> Call {
        timeout(PATIENCE, self.calls.recv()).await.expect("a call in time").expect("open")
    }

    async fn udp(&self) -> Phone {
        let server = self.front.udp.unwrap();
        let any = SocketAddr::new(server.ip(), 0);
        let socket = UdpSocket::bind(any).await.unwrap();
        socket.connect(server).await.unwrap();
        Phone::new(Line::Udp(socket), server)
    }

    async fn tcp(&self) -> Phone {
        let server = self.front.tcp.unwrap();
        Phone::new(Line::Tcp(TcpStream::connect(server).await.unwrap(), Vec::new()), server)
    }

    /// Dialogs leave the table a moment after their last message is out.
    pub(super) async fn empties(&self) {
        timeout(PATIENCE, async {
            while self.front.stack.dialogs.len() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("no dialog is left");
    }
}

enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
}

/// A far end that speaks plain text.
struct Phone {
    line: Line,
    server: SocketAddr,
    local: SocketAddr,
    call_id: String,
    branches: u32,
    to_tag: String,
}

impl Phone {
    fn new(line: Line, server: SocketAddr) -> Self {
        let local = match &line {
            Line::Udp(s) => s.local_addr().unwrap(),
            Line::Tcp(s, _) => s.local_addr().unwrap(),
        };
        Self { line, server, local, call_id: format!("call-{local}"), branches: 0, to_tag: String::new() }
    }

    fn text(&mut self, method: &str, cseq: u32, extra: &str, body: &str) -> String {
        self.branches += 1;
        self.text_on(self.branches, method, cseq, extra, body)
    }

    fn text_on(&self, branch: u32, method: &str, cseq: u32, extra: &str, body: &str) -> String {
        let (transport, param) = match self.line {
            Line::Udp(_) => ("UDP", ""),
            Line::Tcp(..) => ("TCP", ";transport=tcp"),
        };
        let Self { local, server, call_id, to_tag, .. } = self;
        let kind =
            if body.is_empty() || extra.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:100@{server} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK{call_id}{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"Bob\" <sip:101@{local}>;tag=f\r\nTo: <sip:100@{server}>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:101@{local}{param}>\r\n{kind}{extra}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.line {
            Line::Udp(s) => {
                s.send(bytes).await.unwrap();
            }
            Line::Tcp(s, _) => s.write_all(bytes).await.unwrap(),
        }
    }

    async fn receive(&mut self) -> String {
        timeout(PATIENCE, self.receive_soon()).await.expect("a message in time").expect("open")
    }

    /// `None` when the stream was closed.
    async fn receive_soon(&mut self) -> Option<String> {
        match &mut self.line {
            Line::Udp(s) => {
                let mut buffer = vec![0; 4096];
                let len = s.recv(&mut buffer).await.unwrap();
                buffer.truncate(len);
                Some(String::from_utf8(buffer).unwrap())
            }
            Line::Tcp(s, buffer) => loop {
                if let Frame::Message(n) = wire::frame(buffer) {
                    return Some(String::from_utf8(buffer.drain(..n).collect()).unwrap());
                }
                if s.read_buf(buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            },
        }
    }

    /// Sends and returns the final response.
    async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.last().await
    }

    async fn last(&mut self) -> String {
        loop {
            let got = self.receive().await;
            if !got.starts_with("SIP/2.0 1") {
                return got;
            }
        }
    }

    /// Remembers the To tag of a 2xx and sends its ACK.
    async fn acknowledge(&mut self, response: &str, cseq: u32, body: &str) {
        if self.to_tag.is_empty() {
            let to = header(response, "To").expect("To");
            self.to_tag = to[to.find(";tag=").expect("tag")..].to_owned();
        }
        let ack = self.text("ACK", cseq, "", body);
        self.send(&ack).await;
    }

    /// A call answered with `ANSWER`.
    async fn dial(&mut self, house: &mut House) -> Call {
        let invite = self.text("INVITE", 1, "", OFFER);
        self.send(&invite).await;
        let mut call = house.call().await;
        call.accept(ANSWER.to_owned(), false);
        let ok = self.last().await;
        assert_eq!(code(&ok), 200, "{ok}");
        self.acknowledge(&ok, 1, "").await;
        assert!(matches!(happens(&mut call).await, Happening::Nothing));
        call
    }
}

fn code(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|c| c.parse().ok()).unwrap_or(0)
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let head = message.split("\r\n\r\n").next()?;
    head.lines().find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

pub(super) async fn happens(call: &mut Call) -> Happening {
    let inbound = timeout(PATIENCE, call.next()).await.expect("something happens in time");
    call.handle(inbound).await
}

pub(super) fn fast() -> EndpointOption {
    let t1 = Duration::from_millis(5);
    EndpointOption { t1, t2: t1 * 8, t4: t1 * 10, t1x64: t1 * 64, ..EndpointOption::default() }
}

#[tokio::test]
async fn options_is_answered_on_both_transports_until_the_server_drains() {
    let house = House::open(settings()).await;
    for mut phone in [house.udp().await, house.tcp().await] {
        let options = phone.text("OPTIONS", 1, "", "");
        let ok = phone.ask(&options).await;
        assert_eq!(code(&ok), 200);
        assert!(header(&ok, "Allow").is_some_and(|a| a.contains("INVITE")), "{ok}");
        assert!(header(&ok, "Accept").is_some_and(|a| a.contains("application/sdp")), "{ok}");
        assert_eq!(header(&ok, "Supported"), Some(""));
        house.accepting.store(false, Ordering::Relaxed);
        let options = phone.text("OPTIONS", 2, "", "");
        let no = phone.ask(&options).await;
        assert_eq!(code(&no), 503);
        assert!(header(&no, "Retry-After").is_some(), "{no}");
        house.accepting.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn unusable_requests_get_their_code_and_leave_nothing_behind() {
    let house = House::open(settings()).await;
    let mut phone = house.udp().await;
    let swap = |text: String, from: &str, to: &str| {
        assert!(text.contains(from));
        text.replace(from, to)
    };
    let uri = format!("sip:100@{} SIP/2.0", phone.server);
    let invite = |p: &mut Phone, extra: &str| p.text("INVITE", 1, extra, OFFER);
    let cases = [
        (phone.text("REGISTER", 1, "", ""), 405),
        (phone.text("DANCE", 1, "", ""), 501),
        (phone.text("BYE", 1, "", ""), 481),
        (swap(phone.text("INFO", 2, "", ""), "To: <", "To: <sip:x@y>;tag=z, <"), 481),
        (swap(invite(&mut phone, ""), &uri, "tel:+4930 SIP/2.0"), 416),
        (swap(invite(&mut phone, ""), "Max-Forwards: 70", "Max-Forwards: 0"), 483),
        (invite(&mut phone, "Require: 100rel\r\n"), 420),
        (invite(&mut phone, "Content-Type: text/plain\r\n"), 415),
        (swap(invite(&mut phone, ""), "Contact: ", "X-Contact: "), 400),
        (swap(invite(&mut phone, ""), "CSeq: 1 INVITE", "CSeq: 1 BYE"), 400),
        (swap(invite(&mut phone, ""), "SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), 505),
    ];
    for (text, expected) in cases {
        let answer = phone.ask(&text).await;
        assert_eq!(code(&answer), expected, "{text}\n{answer}");
        assert!(header(&answer, "Warning").is_some() && header(&answer, "Reason").is_some(), "{answer}");
    }
    assert_eq!(house.front.stack.dialogs.len(), 0);
    assert_eq!(house.front.stack.endpoint.transactions.len(), 0);
    assert_eq!(house.front.stack.endpoint.finished_transactions.len(), 0);
}

#[tokio::test]
async fn a_call_goes_through_hold_update_keys_and_bye() {
    let mut house = House::open(settings()).await;
    for (mut phone, contact) in [
        (house.udp().await, format!("<sip:100@{}>", house.front.udp.unwrap())),
        (house.tcp().await, format!("<sip:100@{};transport=tcp>", house.front.tcp.unwrap())),
    ] {
        let invite = phone.text("INVITE", 1, "Record-Route: <sip:127.0.0.1;lr>\r\n", OFFER);
        phone.send(&invite).await;
        let mut call = house.call().await;
        assert_eq!(call.wanted.extension, "100");
        assert_eq!(call.wanted.caller.number, "101");
        assert_eq!(call.wanted.caller.display, format!("\"Bob\"<sip:101@{}>", phone.local));
        assert_eq!(call.wanted.offer.as_deref(), Some(OFFER));
        assert_eq!(code(&phone.receive().await), 100);
        call.accept(ANSWER.to_owned(), false);
        let ok = phone.receive().await;
        assert_eq!(code(&ok), 200);
        assert_eq!(header(&ok, "Contact"), Some(contact.as_str()));
        assert_eq!(header(&ok, "Record-Route"), Some("<sip:127.0.0.1;lr>"));
        assert_eq!(header(&ok, "Content-Type"), Some("application/sdp"));
        assert!(ok.ends_with(ANSWER));
        phone.acknowledge(&ok, 1, "").await;
        assert!(matches!(happens(&mut call).await, Happening::Nothing));

        // Hold, answered; then one that cannot be, after which the session goes on.
        let hold = phone.text("INVITE", 2, "", OFFER);
        phone.send(&hold).await;
        let Happening::Offer(offered) = happens(&mut call).await else { panic!("an offer") };
        assert_eq!(offered.sdp, OFFER);
        call.answer(offered, Ok(ANSWER.to_owned())).await;
        let ok = phone.last().await;
        assert!(code(&ok) == 200 && ok.ends_with(ANSWER), "{ok}");
        phone.acknowledge(&ok, 2, "").await;
        assert!(matches!(happens(&mut call).await, Happening::Nothing));
        let bad = phone.text("INVITE", 3, "", OFFER);
        phone.send(&bad).await;
        let Happening::Offer(offered) = happens(&mut call).await else { panic!("an offer") };
        let no_codec = media::Error::Refused(media::Refused::NoCommonCodec);
        call.answer(offered, Err(no_codec.into())).await;
        let no = phone.last().await;
        assert_eq!(code(&no), 488);
        let ack = phone.text_on(phone.branches, "ACK", 3, "", "");
        phone.send(&ack).await;
        assert!(matches!(happens(&mut call).await, Happening::Nothing));

        // UPDATE with and without an offer.
        let update = phone.text("UPDATE", 4, "", "");
        let asked = phone.ask(&update);
        let (ok, happened) = tokio::join!(asked, happens(&mut call));
        assert!(code(&ok) == 200 && matches!(happened, Happening::Nothing));
        let update = phone.text("UPDATE", 5, "", OFFER);
        phone.send(&update).await;
        let Happening::Offer(offered) = happens(&mut call).await else { panic!("an offer") };
        call.answer(offered, Ok(ANSWER.to_owned())).await;
        assert!(phone.last().await.ends_with(ANSWER));

        // Keys, capabilities, and what is refused.
        let relay = "Content-Type: application/dtmf-relay\r\n";
        let info = phone.text("INFO", 6, relay, "Signal=5\r\nDuration=160\r\n");
        let (ok, happened) = tokio::join!(phone.ask(&info), happens(&mut call));
        assert_eq!(code(&ok), 200);
        assert!(matches!(happened, Happening::Key(d) if d.as_char() == '5'));
        for (method, cseq, extra, body, expected) in [
            ("OPTIONS", 7, "", "", 200),
            ("INFO", 8, "Content-Type: text/plain\r\n", "5", 415),
            ("INFO", 9, relay, "Signal=x", 400),
            ("INFO", 2, relay, "Signal=1", 500),
            ("REFER", 10, "", "", 405),
            ("UPDATE", 11, "Require: timer\r\n", "", 420),
        ] {
            let text = phone.text(method, cseq, extra, body);
            let (answer, happened) = tokio::join!(phone.ask(&text), happens(&mut call));
            assert_eq!(code(&answer), expected, "{text}");
            assert!(matches!(happened, Happening::Nothing));
        }

        let bye = phone.text("BYE", 20, "", "");
        let (ok, happened) = tokio::join!(phone.ask(&bye), happens(&mut call));
        assert_eq!(code(&ok), 200);
        assert!(matches!(happened, Happening::HungUp));
        call.ended();
        house.empties().await;
        // Retransmitted, it is answered again, by memory.
        if let Line::Udp(_) = phone.line {
            assert_eq!(code(&phone.ask(&bye).await), 200);
        }
        let late = phone.text("INFO", 21, relay, "Signal=1");
        assert_eq!(code(&phone.ask(&late).await), 481);
    }
}

#[tokio::test]
async fn we_hang_up_with_a_reason_on_both_transports() {
    let mut house = House::open(settings()).await;
    for mut phone in [house.udp().await, house.tcp().await] {
        let call = phone.dial(&mut house).await;
        let ending = tokio::spawn(call.hang_up(200, "removed by the operator", "removed"));
        let bye = phone.receive().await;
        assert!(bye.starts_with(&format!("BYE sip:101@{}", phone.local)), "{bye}");
        assert_eq!(header(&bye, "Reason"), Some("SIP;cause=200;text=\"removed by the operator\""));
        assert_eq!(header(&bye, "To"), Some(format!("\"Bob\" <sip:101@{}>;tag=f", phone.local).as_str()));
        let ok = bye.replacen(bye.lines().next().unwrap(), "SIP/2.0 200 OK", 1);
        phone.send(&ok).await;
        timeout(PATIENCE, ending).await.unwrap().unwrap();
        house.empties().await;
    }
}

#[tokio::test]
async fn hanging_up_ends_even_if_the_far_end_never_answers() {
    let mut house = House::with_timers(settings(), fast()).await;
    let mut phone = house.udp().await;
    let call = phone.dial(&mut house).await;
    timeout(PATIENCE, call.hang_up(200, "over", "over")).await.unwrap();
    assert!(phone.receive().await.starts_with("BYE "));
    assert!(phone.receive().await.starts_with("BYE "), "retransmitted");
    house.empties().await;
}

#[tokio::test]
async fn crossing_byes_are_both_answered() {
    let mut house = House::open(settings()).await;
    let mut phone = house.udp().await;
    let call = phone.dial(&mut house).await;
    let ending = tokio::spawn(call.hang_up(200, "over", "over"));
    let ours = phone.receive().await;
    let theirs = phone.text("BYE", 2, "", "");
    assert_eq!(code(&phone.ask(&theirs).await), 200);
    phone.send(&ours.replacen(ours.lines().next().unwrap(), "SIP/2.0 481 Gone", 1)).await;
    timeout(PATIENCE, ending).await.unwrap().unwrap();
}

#[tokio::test]
async fn offerless_invite_gets_our_offer_and_the_ack_brings_the_answer() {
    let mut house = House::open(settings()).await;
    let mut phone = house.udp().await;
    let invite = phone.text("INVITE", 1, "", "");
    phone.send(&invite).await;
    let mut call = house.call().await;
    assert_eq!(call.wanted.offer, None);
    call.accept(OFFER.to_owned(), true);
    let ok = phone.last().await;
    assert!(ok.ends_with(OFFER));
    phone.to_tag = {
        let to = header(&ok, "To").unwrap();
        to[to.find(";tag=").unwrap()..].to_owned()
    };
    // Another offer before the answer is glare.
    let early = phone.text("UPDATE", 2, "", OFFER);
    let (no, _) = tokio::join!(phone.ask(&early), happens(&mut call));
    assert_eq!(code(&no), 491);
    phone.acknowledge(&ok, 1, ANSWER).await;
    let Happening::Answer(Some(sdp)) = happens(&mut call).await else { panic!("an answer") };
    assert_eq!(sdp, ANSWER);

    let again = phone.text("INVITE", 3, "", "");
    phone.send(&again).await;
    let Happening::OfferWanted(invite) = happens(&mut call).await else { panic!("an offer is wanted") };
    call.offer(invite, Ok(OFFER.to_owned()));
    let ok = phone.last().await;
    assert!(ok.ends_with(OFFER));
    phone.acknowledge(&ok, 3, "").await;
    assert!(matches!(happens(&mut call).await, Happening::Answer(None)));
}

#[tokio::test]
async fn lost_ack_is_waited_for_with_retransmissions_and_then_ends_the_call() {
    let mut house = House::with_timers(settings(), fast()).await;
    let mut phone = house.udp().await;
    let invite = phone.text("INVITE", 1, "", OFFER);
    phone.send(&invite).await;
    let mut call = house.call().await;
    call.accept(ANSWER.to_owned(), false);
    assert_eq!(code(&phone.last().await), 200);
    assert_eq!(code(&phone.last().await), 200, "retransmitted");
    assert!(matches!(happens(&mut call).await, Happening::NoAck));
    let ending = tokio::spawn(call.hang_up(408, "no ACK came", "no_ack"));
    let bye = loop {
        let got = phone.receive().await;
        if got.starts_with("BYE ") {
            break got;
        }
    };
    assert!(header(&bye, "Reason").unwrap().starts_with("SIP;cause=408"));
    timeout(PATIENCE, ending).await.unwrap().unwrap();
    house.empties().await;
}

#[tokio::test]
async fn cancel_before_the_answer_ends_in_487() {
    let mut house = House::open(settings()).await;
    let mut phone = house.udp().await;
    let invite = phone.text("INVITE", 1, "", OFFER);
    phone.send(&invite).await;
    let mut call = house.call().await;
    let cancel = phone.text_on(1, "CANCEL", 1, "", "");
    let ok = phone.ask(&cancel).await;
    assert_eq!(code(&ok), 200);
    assert!(matches!(happens(&mut call).await, Happening::Cancelled));
    call.refuse(&Rejection::cancelled());
    let no = phone.last().await;
    assert_eq!(code(&no), 487);
    let ack = phone.text_on(1, "ACK", 1, "", "");
    phone.send(&ack).await;
    let late = phone.ask(&cancel).await;
    assert_eq!(code(&late), 200);
    let to = header(&no, "To");
    assert!(to.is_some_and(wire::has_tag), "{no}");
    assert_eq!([header(&ok, "To"), header(&late, "To")], [to, to], "one tag in all answers (RFC 3261 §9.2)");
    house.empties().await;
    let stray = phone.text("CANCEL", 9, "", "");
    let within = stray.replacen(&format!("To: <sip:100@{}>", phone.server), &format!("To: {}", to.unwrap()), 1);
    assert_ne!(stray, within);
    for stray in [stray, within] {
        let no = phone.ask(&stray).await;
        assert_eq!(code(&no), 481);
        assert!(header(&no, "To").is_some_and(wire::has_tag), "{no}");
    }
}

#[tokio::test]
async fn same_invite_by_another_way_is_482_and_a_retransmission_is_not() {
    let mut house = House::open(settings()).await;
    let mut phone = house.udp().await;
    let invite = phone.text("INVITE", 1, "", OFFER);
    phone.send(&invite).await;
    let call = house.call().await;
    assert_eq!(code(&phone.receive().await), 100);
    phone.send(&invite).await;
    assert_eq!(code(&phone.receive().await), 100, "the transaction answers its retransmission");
    let other = phone.text_on(77, "INVITE", 1, "", OFFER);
    assert_eq!(code(&phone.ask(&other).await), 482);
    assert!(house.calls.try_recv().is_err());
    drop(call);
}

#[tokio::test]
async fn flood_is_dropped_foreigners_are_refused_and_setup_is_bounded() {
    let mut few = settings();
    few.invites_per_source_per_second = 3;
    few.max_calls_in_setup = 2;
    let mut house = House::open(few).await;
    let mut phones = Vec::new();
    for _ in 0..20 {
        let mut phone = house.udp().await;
        let invite = phone.text("INVITE", 1, "", OFFER);
        phone.send(&invite).await;
        phones.push(phone);
    }
    let no = phones[2].last().await;
    assert_eq!(code(&no), 480);
    assert_eq!(header(&no, "Retry-After"), Some("1"));
    let mut held = vec![house.call().await, house.call().await];
    let options = phones[3].text("OPTIONS", 9, "", "");
    while !phones[3].ask(&options).await.contains("OPTIONS") {}
    assert!(house.metrics.dropped_count("rate") > 0);
    assert!(house.calls.try_recv().is_err());
    held.clear();
    for phone in &mut phones[..2] {
        assert_eq!(code(&phone.last().await), 500, "a dropped call answers by itself");
    }
    house.empties().await;

    let mut closed = settings();
    closed.allow = vec!["10.0.0.0/8".parse().unwrap()];
    let house = House::open(closed).await;
    let mut phone = house.udp().await;
    let invite = phone.text("INVITE", 1, "", OFFER);
    assert_eq!(code(&phone.ask(&invite).await), 403);
    assert_eq!(house.metrics.refused_count("source_not_allowed"), 1);
    assert_eq!(house.front.stack.dialogs.len(), 0);
}

#[tokio::test]
async fn a_panic_in_one_call_tells_its_far_end_and_nobody_else() {
    let mut house = House::open(settings()).await;
    let mut phone = house.udp().await;
    let invite = phone.text("INVITE", 1, "", OFFER);
    phone.send(&invite).await;
    let call = house.call().await;
    let task = tokio::spawn(async move {
        let _call = call;
        panic!("in setup");
    });
    assert!(task.await.is_err());
    assert_eq!(code(&phone.last().await), 500);
    house.empties().await;

    let mut phone = house.udp().await;
    let call = phone.dial(&mut house).await;
    let task = tokio::spawn(async move {
        let _call = call;
        panic!("in the call");
    });
    assert!(task.await.is_err());
    let bye = phone.receive().await;
    assert!(bye.starts_with("BYE ") && header(&bye, "Reason").unwrap().starts_with("SIP;cause=500"), "{bye}");
    house.empties().await;
    let mut phone = house.udp().await;
    phone.dial(&mut house).await.ended();
}

#[tokio::test]
async fn garbage_is_counted_and_stops_nothing() {
    let house = House::open(settings()).await;
    let mut phone = house.udp().await;
    let valid = phone.text("OPTIONS", 1, "", "");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..300usize {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut bytes = valid.clone().into_bytes();
        match round % 4 {
            0 => bytes = state.to_le_bytes().repeat(1 + round),
            1 => bytes.truncate(state as usize % bytes.len()),
            2 => {
                let at = state as usize % bytes.len();
                bytes[at] = (state >> 32) as u8;
            }
            _ => bytes = b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        }
        phone.send_bytes(&bytes).await;
    }
    phone.send_bytes(&vec![b'A'; 65_000]).await;
    let mut fresh = house.udp().await;
    let huge = fresh.text("OPTIONS", 1, &format!("X: {}\r\n", "y".repeat(50_000)), "");
    assert_eq!(code(&fresh.ask(&huge).await), 513);
    let options = fresh.text("OPTIONS", 2, "", "");
    assert_eq!(code(&fresh.ask(&options).await), 200);
    assert!(house.metrics.dropped_count("malformed") > 50);
    assert_eq!(house.metrics.panic_count(), 0);
}

#[tokio::test]
async fn tcp_takes_torn_and_joined_messages_and_cuts_what_it_cannot_read() {
    let house = House::open(settings()).await;
    let mut phone = house.tcp().await;
    let one = phone.text("OPTIONS", 1, "", "");
    for piece in one.as_bytes().chunks(37) {
        phone.send_bytes(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(code(&phone.receive().await), 200);
    let two = phone.text("OPTIONS", 2, "", "") + &phone.text("OPTIONS", 3, "", "");
    phone.send(&two).await;
    assert!(header(&phone.receive().await, "CSeq").unwrap().starts_with('2'));
    assert!(header(&phone.receive().await, "CSeq").unwrap().starts_with('3'));
    phone.send("\r\n\r\n").await;
    if let Line::Tcp(stream, _) = &mut phone.line {
        let mut pong = [0; 2];
        timeout(PATIENCE, stream.read_exact(&mut pong)).await.unwrap().unwrap();
        assert_eq!(&pong, b"\r\n");
    }
    for poison in [
        "OPTIONS sip:a SIP/2.0\r\nContent-Length: 18446744073709551615\r\n\r\n".to_owned(),
        "OPTIONS sip:a SIP/2.0\r\nContent-Length: many\r\n\r\n".to_owned(),
        format!("OPTIONS sip:a SIP/2.0\r\nX: {}", "y".repeat(60_000)),
    ] {
        let mut phone = house.tcp().await;
        phone.send(&poison).await;
        assert!(timeout(PATIENCE, phone.receive_soon()).await.unwrap().is_none(), "the stream is cut");
    }
}

#[tokio::test]
async fn bye_of_a_call_whose_connection_is_gone_goes_over_a_new_one() {
    let mut house = House::open(settings()).await;
    let mut phone = house.tcp().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let contact = format!("Contact: <sip:101@{};transport=tcp>", listener.local_addr().unwrap());
    let invite = phone.text("INVITE", 1, "", OFFER);
    let own = format!("Contact: <sip:101@{};transport=tcp>", phone.local);
    phone.send(&invite.replace(&own, &contact)).await;
    let mut call = house.call().await;
    call.accept(ANSWER.to_owned(), false);
    let ok = phone.last().await;
    phone.acknowledge(&ok, 1, "").await;
    assert!(matches!(happens(&mut call).await, Happening::Nothing));
    drop(phone);
    timeout(PATIENCE, async {
        while call.flow_is_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let ending = tokio::spawn(call.hang_up(200, "over", "over"));
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut phone = Phone::new(Line::Tcp(stream, Vec::new()), house.front.tcp.unwrap());
    let bye = phone.receive().await;
    assert!(bye.starts_with("BYE "), "{bye}");
    phone.send(&bye.replacen(bye.lines().next().unwrap(), "SIP/2.0 200 OK", 1)).await;
    timeout(PATIENCE, ending).await.unwrap().unwrap();
}

#[tokio::test]
async fn ipv6_calls_carry_ipv6_addresses() {
    let mut v6 = settings();
    v6.listen = "[::1]:0".parse().unwrap();
    let mut house = House::open(v6).await;
    let mut phone = house.udp().await;
    let invite = phone.text("INVITE", 1, "", OFFER);
    phone.send(&invite).await;
    let mut call = house.call().await;
    assert!(call.reachable.advertised.is_ipv6());
    call.accept(ANSWER.to_owned(), false);
    let ok = phone.last().await;
    assert_eq!(header(&ok, "Contact"), Some(format!("<sip:100@{}>", phone.server).as_str()));
    phone.acknowledge(&ok, 1, "").await;
    assert!(matches!(happens(&mut call).await, Happening::Nothing));
}

#[tokio::test]
async fn dual_stack_socket_answers_ipv4_callers() {
    let mut any = settings();
    any.listen = "[::]:0".parse().unwrap();
    let mut house = House::open(any).await;
    let port = house.front.udp.unwrap().port();
    house.front.udp = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut phone = house.udp().await;
    phone.dial(&mut house).await.ended();
}

#[tokio::test]
async fn a_thousand_calls_leave_no_dialog_behind() {
    let mut house = House::open(settings()).await;
    let mut phone = house.udp().await;
    for n in 0..1000u32 {
        phone.call_id = format!("many-{n}");
        phone.to_tag.clear();
        phone.branches = 0;
        if n % 3 == 0 {
            let invite = phone.text("INVITE", 1, "", OFFER);
            phone.send(&invite).await;
            house.call().await.refuse(&Rejection::new(404, "unknown_room", "no such room"));
            assert_eq!(code(&phone.last().await), 404);
            let ack = phone.text_on(1, "ACK", 1, "", "");
            phone.send(&ack).await;
            continue;
        }
        let mut call = phone.dial(&mut house).await;
        let bye = phone.text("BYE", 2, "", "");
        let (ok, happened) = tokio::join!(phone.ask(&bye), happens(&mut call));
        assert_eq!(code(&ok), 200);
        assert!(matches!(happened, Happening::HungUp));
        call.ended();
    }
    house.empties().await;
    assert_eq!(house.metrics.dialogs.get(), 0);
}

#[tokio::test]
async fn address_in_use_is_named() {
    let house = House::open(settings()).await;
    let mut taken = settings();
    taken.listen = house.front.udp.unwrap();
    let accepts = Box::new(|| true);
    let error = match Front::open(
        taken.clone(),
        BTreeSet::new(),
        live(&taken),
        SipMetrics::default(),
        EndpointOption::default(),
        accepts,
    )
    .await
    {
        Ok(_) => panic!("the address is taken"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(&house.front.udp.unwrap().to_string()), "{error}");
}
