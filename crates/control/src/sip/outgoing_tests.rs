//! Calls that we make, over real loopback sockets: the far end is testkit's provider, which knows nothing of our code.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Response, SipMessage};
use testkit::sip_message::{Message, param};
use testkit::sip_ua::Transport;
use testkit::sip_uas::digest::{Gate, value};
use testkit::sip_uas::{Outcome, Script, SipUas, request_uri};
use tokio::time::timeout;

use super::call::{Call, Happening};
use super::loopback_tests::{House, PATIENCE, fast, happens, settings};
use super::outgoing::{CallerId, Dialling, Progress, Target, Way, dial};
use super::rejection::Rejection;
use super::wire;
use crate::config::{SipConfig, SipCredentials};
use crate::dialing::{CallFailure, Path, Route, TransportChoice, Trunk};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n";
const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\n";
const EARLY: &str = "v=0\r\no=- 3 3 IN IP4 127.0.0.1\r\ns=-\r\n";

fn trunk(address: SocketAddr) -> Trunk {
    Trunk {
        name: "t".to_owned(),
        host: address.ip().to_string(),
        port: Some(address.port()),
        domain: "example.com".to_owned(),
        transport: TransportChoice::Udp,
        credentials: None,
        caller_id: Some("900".to_owned()),
        asserted_identity: false,
        codecs: Vec::new(),
        register: None,
        patterns: Vec::new(),
        strip: 0,
        prepend: String::new(),
        ring_timeout: Duration::from_secs(30),
        max_calls: 1,
    }
}

fn with_login(mut trunk: Trunk) -> Trunk {
    trunk.credentials = Some(SipCredentials { user: "bob".into(), password: "secret".into(), realm: None });
    trunk
}

fn target(trunk: Trunk) -> Target {
    let path = Path::Trunk { trunk: Arc::new(trunk), user: "101".to_owned() };
    Target::of(&Route { number: "101".to_owned(), path }, &CallerId::default())
}

async fn call(house: &House, trunk: Trunk) -> Dialling {
    call_with(house, trunk, OFFER.to_owned()).await
}

async fn call_with(house: &House, trunk: Trunk, offer: String) -> Dialling {
    let target = target(trunk);
    let way = Way::find(&house.front.stack, &target).await.unwrap();
    // What the offer's addresses are made of.
    assert!(way.reachable.local.is_loopback() && way.reachable.advertised.is_loopback());
    dial(&house.front.stack, target, way, offer)
}

async fn next(dialling: &mut Dialling) -> Progress {
    timeout(PATIENCE, dialling.next()).await.expect("progress in time")
}

async fn answered(dialling: &mut Dialling) -> (Call, String) {
    loop {
        match next(dialling).await {
            Progress::Answered(call, sdp) => return (*call, sdp),
            Progress::Failed(why) => panic!("{why}"),
            Progress::Ringing | Progress::EarlyMedia(_) => {}
        }
    }
}

async fn failed(dialling: &mut Dialling) -> CallFailure {
    loop {
        match next(dialling).await {
            Progress::Failed(why) => return why,
            Progress::Answered(..) => panic!("answered"),
            Progress::Ringing | Progress::EarlyMedia(_) => {}
        }
    }
}

/// `testkit` blocks: it does so beside the runtime's own threads. Begins at once.
fn block<T: Send + 'static>(
    uas: &Arc<SipUas>,
    work: impl FnOnce(&SipUas) -> T + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let uas = Arc::clone(uas);
    tokio::task::spawn_blocking(move || work(&uas))
}

async fn house() -> House {
    House::open(settings()).await
}

async fn impatient() -> House {
    House::with_timers(settings(), fast()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_rings_is_answered_and_goes_on_like_any_other_on_both_transports() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    for (choice, transport) in [(TransportChoice::Udp, Transport::Udp), (TransportChoice::Tcp, Transport::Tcp)] {
        uas.script(Script::ringing(Outcome::Answer(ANSWER.to_owned())));
        let mut trunk = trunk(uas.address());
        trunk.transport = choice;
        let mut dialling = call(&house, trunk).await;
        assert!(matches!(next(&mut dialling).await, Progress::Ringing));
        let (mut call, sdp) = answered(&mut dialling).await;
        assert_eq!(sdp, ANSWER);
        assert_eq!((call.wanted.extension.as_str(), call.call_id()), ("101", dialling.call_id()));
        let invite = uas.of_method("INVITE").pop().unwrap();
        assert_eq!(invite.transport, transport);
        let message = invite.message;
        assert!(request_uri(&message).starts_with("sip:101@example.com"), "{message:?}");
        assert_eq!(message.text(), OFFER);
        assert!(message.header("From").unwrap().starts_with("<sip:900@example.com>;tag="), "{message:?}");
        assert!(message.header("Supported").is_none_or(str::is_empty), "100rel is not offered");
        let ours = house.front.udp.unwrap();
        let expected = match transport {
            Transport::Udp => format!("<sip:900@{ours}>"),
            Transport::Tcp | Transport::Ws => format!("<sip:900@{ours};transport=tcp>"),
        };
        assert_eq!(message.header("Contact"), Some(expected.as_str()));

        // The far end asks: keys, an offer, capabilities.
        let info = block(&uas, |uas| uas.ask("INFO", Some(("application/dtmf-relay", "Signal=5\r\n"))));
        assert!(matches!(happens(&mut call).await, Happening::Key(d) if d.as_char() == '5'));
        assert_eq!(info.await.unwrap(), 200);
        let reinvite = block(&uas, |uas| uas.ask("INVITE", Some(("application/sdp", EARLY))));
        let Happening::Offer(offered) = happens(&mut call).await else { panic!("an offer") };
        assert_eq!(offered.sdp, EARLY);
        call.answer(offered, Err(Rejection::glare())).await;
        assert_eq!(reinvite.await.unwrap(), 491);

        // We ask.
        assert!(call.propose(EARLY.to_owned()));
        assert!(!call.propose(EARLY.to_owned()), "one at a time");
        let Happening::Answer(Some(sdp)) = happens(&mut call).await else { panic!("an answer") };
        assert_eq!(sdp, ANSWER);
        let before = uas.of_method("INFO").len();
        call.refresh_picture();
        block(&uas, move |uas| uas.wait_request("INFO", before + 1)).await.unwrap();

        call.hang_up(200, "over", "over").await;
        let bye = block(&uas, |uas| uas.of_method("BYE").pop().unwrap().message).await.unwrap();
        assert_eq!(bye.header("Reason"), Some("SIP;cause=200;text=\"over\""));
        house.empties().await;
    }
    assert_eq!(house.metrics.placed_count("answered"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_end_hangs_up_a_call_that_we_made() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::at_once(Outcome::Answer(ANSWER.to_owned())));
    let mut dialling = call(&house, trunk(uas.address())).await;
    let (mut call, _) = answered(&mut dialling).await;
    block(&uas, |uas| uas.wait_request("ACK", 1)).await.unwrap();
    let bye = block(&uas, |uas| uas.ask("BYE", None));
    assert!(matches!(happens(&mut call).await, Happening::HungUp));
    assert_eq!(bye.await.unwrap(), 200);
    call.ended();
    house.empties().await;
    assert_eq!(uas.of_method("BYE").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_media_is_told_and_stands_in_for_an_answer_left_out() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script {
        provisional: vec![(180, None), (183, Some(EARLY.to_owned())), (183, Some(EARLY.to_owned())), (180, None)],
        outcome: Outcome::Answer(ANSWER.to_owned()),
        headers: Vec::new(),
    });
    let mut dialling = call(&house, trunk(uas.address())).await;
    assert!(matches!(next(&mut dialling).await, Progress::Ringing));
    assert!(matches!(next(&mut dialling).await, Progress::EarlyMedia(sdp) if sdp == EARLY));
    let Progress::Answered(call, sdp) = next(&mut dialling).await else { panic!("each told once") };
    assert_eq!(sdp, ANSWER);
    call.hang_up(200, "over", "over").await;

    uas.script(Script {
        provisional: vec![(183, Some(EARLY.to_owned()))],
        outcome: Outcome::Answer(String::new()),
        headers: Vec::new(),
    });
    let mut dialling = self::call(&house, trunk(uas.address())).await;
    let (call, sdp) = answered(&mut dialling).await;
    assert_eq!(sdp, EARLY);
    call.hang_up(200, "over", "over").await;

    uas.script(Script::ringing(Outcome::Answer(String::new())));
    let mut dialling = self::call(&house, trunk(uas.address())).await;
    assert!(matches!(failed(&mut dialling).await, CallFailure::NotAcceptable(_)));
    block(&uas, |uas| uas.wait_request("BYE", 3)).await.unwrap();
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_comes_with_its_reason() {
    let house = house().await;
    let uas = SipUas::start();
    let rejected = |code: u16, reason: &str| CallFailure::Rejected { code, reason: reason.to_owned() };
    for (code, words, expected) in [
        (486, "Busy Here", CallFailure::Busy),
        (600, "Busy Everywhere", CallFailure::Busy),
        (408, "Request Timeout", CallFailure::NoAnswer),
        (603, "Not Now", rejected(603, "Not Now")),
        (404, "Not Found", rejected(404, "Not Found")),
        (302, "Moved Temporarily", rejected(302, "Moved Temporarily")),
        (503, "Service Unavailable", rejected(503, "Service Unavailable")),
        (407, "Who Are You", CallFailure::NotAuthorised),
        (488, "Not Acceptable Here", CallFailure::NotAcceptable("488 Not Acceptable Here".to_owned())),
    ] {
        uas.script(Script::ringing(Outcome::Reject(code, words)));
        let mut dialling = call(&house, trunk(uas.address())).await;
        assert_eq!(failed(&mut dialling).await, expected, "{code}");
        assert!(house.metrics.placed_count(expected.label()) > 0);
    }
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenges_are_answered_with_the_strongest_digest() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::ringing(Outcome::Answer(ANSWER.to_owned())));
    for (offered, taken) in [
        (&["MD5"][..], "MD5"),
        (&["SHA-256"], "SHA-256"),
        (&["MD5", "SHA-256", "XYZ"], "SHA-256"),
        (&["XYZ", "MD5"], "MD5"),
    ] {
        uas.require(Gate::new("bob", "secret", offered));
        let mut dialling = call(&house, with_login(trunk(uas.address()))).await;
        let (mut call, _) = answered(&mut dialling).await;
        let invite = uas.of_method("INVITE").pop().unwrap().message;
        let header = invite.header("Proxy-Authorization").unwrap();
        assert_eq!(value(header, "algorithm").as_deref(), Some(taken), "{header}");
        assert_eq!(invite.cseq().unwrap().0, 2);
        // A re-INVITE is challenged too.
        assert!(call.propose(OFFER.to_owned()));
        let Happening::Answer(Some(_)) = happens(&mut call).await else { panic!("an answer") };
        call.hang_up(200, "over", "over").await;
    }
    // What cannot be answered, and what is wrong.
    uas.require(Gate::new("bob", "secret", &["XYZ"]));
    let mut dialling = call(&house, with_login(trunk(uas.address()))).await;
    assert_eq!(failed(&mut dialling).await, CallFailure::NotAuthorised);
    uas.require(Gate::new("bob", "other", &["SHA-256"]));
    let before = uas.of_method("INVITE").len();
    let mut dialling = call(&house, with_login(trunk(uas.address()))).await;
    assert_eq!(failed(&mut dialling).await, CallFailure::NotAuthorised);
    assert_eq!(uas.of_method("INVITE").len() - before, 2, "a wrong password is tried once");
    let mut dialling = call(&house, trunk(uas.address())).await;
    assert_eq!(failed(&mut dialling).await, CallFailure::NotAuthorised);
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_nonce_is_answered_anew() {
    let house = house().await;
    let uas = SipUas::start();
    uas.script(Script::at_once(Outcome::Answer(ANSWER.to_owned())));
    uas.require(Gate::new("bob", "secret", &["SHA-256"]).stale(1));
    let mut dialling = call(&house, with_login(trunk(uas.address()))).await;
    let (call, _) = answered(&mut dialling).await;
    assert_eq!(uas.of_method("INVITE").len(), 3);
    call.hang_up(200, "over", "over").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_sends_cancel_and_is_done_at_once() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    for choice in [TransportChoice::Udp, TransportChoice::Tcp] {
        uas.script(Script::ringing(Outcome::Ring));
        let mut trunk = trunk(uas.address());
        trunk.transport = choice;
        let before = uas.of_method("CANCEL").len();
        let mut dialling = call(&house, trunk).await;
        assert!(matches!(next(&mut dialling).await, Progress::Ringing));
        dialling.cancel();
        let cancel = block(&uas, move |uas| uas.wait_request("CANCEL", before + 1)).await.unwrap();
        let invite = uas.of_method("INVITE").pop().unwrap().message;
        assert_eq!(cancel.header("Via"), invite.header("Via"));
        assert_eq!(cancel.cseq().unwrap().0, invite.cseq().unwrap().0);
        house.empties().await;
    }
    assert_eq!(house.metrics.placed_count("cancelled"), 2);
    assert_eq!(uas.of_method("BYE").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_waits_for_the_first_provisional_response() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::at_once(Outcome::Silence));
    let dialling = call(&house, trunk(uas.address())).await;
    block(&uas, |uas| uas.wait_request("INVITE", 1)).await.unwrap();
    dialling.cancel();
    block(&uas, |uas| uas.wait_request("INVITE", 2)).await.unwrap();
    assert_eq!(uas.of_method("CANCEL").len(), 0);
    uas.script(Script::ringing(Outcome::Ring));
    block(&uas, |uas| uas.wait_request("CANCEL", 1)).await.unwrap();
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_200_that_crosses_our_cancel_gets_ack_and_bye() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::ringing(Outcome::AnswerCancel(ANSWER.to_owned())));
    let mut dialling = call(&house, trunk(uas.address())).await;
    assert!(matches!(next(&mut dialling).await, Progress::Ringing));
    dialling.cancel();
    block(&uas, |uas| uas.wait_request("ACK", 1)).await.unwrap();
    block(&uas, |uas| uas.wait_request("BYE", 1)).await.unwrap();
    house.empties().await;
    assert_eq!(house.metrics.placed_count("cancelled"), 1);
    assert_eq!(house.metrics.placed_count("answered"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_that_nobody_takes_any_more_is_hung_up() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::ringing(Outcome::Answer(ANSWER.to_owned())));
    let dialling = call(&house, trunk(uas.address())).await;
    block(&uas, |uas| uas.wait_request("ACK", 1)).await.unwrap();
    drop(dialling);
    block(&uas, |uas| uas.wait_request("BYE", 1)).await.unwrap();
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ringing_for_too_long_is_no_answer() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::ringing(Outcome::Ring));
    let mut short = trunk(uas.address());
    short.ring_timeout = Duration::from_millis(300);
    let began = Instant::now();
    let mut dialling = call(&house, short).await;
    assert_eq!(failed(&mut dialling).await, CallFailure::NoAnswer);
    assert!(began.elapsed() >= Duration::from_millis(300));
    block(&uas, |uas| uas.wait_request("CANCEL", 1)).await.unwrap();
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_unreachable_and_so_is_a_closed_port() {
    let house = impatient().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::at_once(Outcome::Silence));
    let mut dialling = call(&house, trunk(uas.address())).await;
    assert!(matches!(failed(&mut dialling).await, CallFailure::Unreachable(why) if why.contains("no response")));
    assert!(uas.of_method("INVITE").len() > 1, "sent again");
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut trunk = trunk(closed);
    trunk.transport = TransportChoice::Tcp;
    let mut dialling = call(&house, trunk).await;
    assert!(matches!(failed(&mut dialling).await, CallFailure::Unreachable(why) if why.contains("refused")));
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_host_is_unreachable() {
    let house = house().await;
    let mut trunk = trunk("127.0.0.1:5060".parse().unwrap());
    trunk.host = "no-such-host.invalid".to_owned();
    let found = Way::find(&house.front.stack, &target(trunk)).await;
    assert!(matches!(found, Err(CallFailure::Unreachable(why)) if why.contains("no-such-host.invalid")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connection_is_unreachable() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::at_once(Outcome::Silence));
    let mut trunk = trunk(uas.address());
    trunk.transport = TransportChoice::Tcp;
    let mut dialling = call(&house, trunk).await;
    block(&uas, |uas| uas.wait_request("INVITE", 1)).await.unwrap();
    uas.hang_up_tcp();
    assert!(matches!(failed(&mut dialling).await, CallFailure::Unreachable(why) if why.contains("lost")));
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_of_a_fork_has_the_call_and_the_others_are_let_go() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::ringing(Outcome::Fork(ANSWER.to_owned(), 3)));
    let mut dialling = call(&house, trunk(uas.address())).await;
    let (mut call, _) = answered(&mut dialling).await;
    // The second and third 2xx come again until they are acknowledged.
    for _ in 0..2 {
        assert!(matches!(happens(&mut call).await, Happening::Nothing));
    }
    block(&uas, |uas| uas.wait_request("BYE", 2)).await.unwrap();
    let tags: std::collections::BTreeSet<String> = uas
        .of_method("BYE")
        .iter()
        .map(|bye| param(bye.message.header("To").unwrap(), "tag").unwrap().to_owned())
        .collect();
    let ours = uas.of_method("ACK").first().map(|a| param(a.message.header("To").unwrap(), "tag").unwrap().to_owned());
    assert_eq!(tags.len(), 2);
    assert!(!tags.contains(&ours.unwrap()), "the first goes on");
    call.hang_up(200, "over", "over").await;
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_ack_is_sent_again_for_each_200() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::ringing(Outcome::AnswerDeaf(ANSWER.to_owned(), 2)));
    let mut dialling = call(&house, trunk(uas.address())).await;
    let (mut call, _) = answered(&mut dialling).await;
    for _ in 0..2 {
        assert!(matches!(happens(&mut call).await, Happening::Nothing));
    }
    block(&uas, |uas| uas.wait_request("ACK", 3)).await.unwrap();
    let acks = uas.of_method("ACK");
    assert!(acks.iter().all(|ack| ack.message == acks[0].message), "the same ACK");
    call.hang_up(200, "over", "over").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_address_is_tried_when_one_is_shunned() {
    let house = house().await;
    let (down, up) = (SipUas::start(), SipUas::start());
    down.script(Script::at_once(Outcome::Reject(503, "Service Unavailable")));
    up.script(Script::ringing(Outcome::Answer(ANSWER.to_owned())));
    let target = target(trunk(down.address()));
    let mut way = Way::find(&house.front.stack, &target).await.unwrap();
    way.and_then_try(up.address());
    let mut dialling = dial(&house.front.stack, target, way, OFFER.to_owned());
    let (call, _) = answered(&mut dialling).await;
    assert_eq!((down.of_method("INVITE").len(), up.of_method("INVITE").len()), (1, 1));
    call.hang_up(200, "over", "over").await;
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_invite_goes_by_tcp_where_it_may() {
    let house = house().await;
    let uas = SipUas::start();
    uas.script(Script::ringing(Outcome::Answer(ANSWER.to_owned())));
    let long = format!("{OFFER}{}", "a=x:0123456789\r\n".repeat(100));
    for (choice, offer, transport) in [
        (TransportChoice::Auto, OFFER, Transport::Udp),
        (TransportChoice::Auto, long.as_str(), Transport::Tcp),
        (TransportChoice::Udp, long.as_str(), Transport::Udp),
    ] {
        let mut trunk = trunk(uas.address());
        trunk.transport = choice;
        let mut dialling = call_with(&house, trunk, offer.to_owned()).await;
        let (call, _) = answered(&mut dialling).await;
        assert_eq!(uas.of_method("INVITE").pop().unwrap().transport, transport, "{choice:?}");
        call.hang_up(200, "over", "over").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_one_trunk_share_its_connection() {
    let house = house().await;
    let uas = SipUas::start();
    uas.script(Script::ringing(Outcome::Answer(ANSWER.to_owned())));
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut trunk = trunk(uas.address());
        trunk.transport = TransportChoice::Tcp;
        calls.push(answered(&mut call(&house, trunk).await).await.0);
    }
    assert_eq!(house.metrics.tcp_connections.get(), 1);
    for call in calls {
        call.hang_up(200, "over", "over").await;
    }
}

/// Responses that a far end, or somebody between, has broken: none may panic or be taken for an answer.
fn broken(invite: &Message) -> Vec<Vec<u8>> {
    let ok = || {
        Message::response(invite, 200, "OK", "far")
            .with("Contact", "<sip:callee@127.0.0.1:9>")
            .with_body("application/sdp", ANSWER)
    };
    let text = |message: &Message| String::from_utf8(message.to_bytes()).unwrap();
    let whole = text(&ok());
    let mut all: Vec<String> = vec![
        whole.replace("SIP/2.0 200 OK", "SIP/2.0 2000 OK"),
        whole.replace("SIP/2.0 200 OK", "SIP/2.0 99 Hm"),
        whole.replace("SIP/2.0 200 OK", "SIP/2.0"),
        whole.replace("Via: ", "Via: SIP/2.0/UDP other;branch=z9hG4bKx\r\nVia: "),
        whole.replace("Content-Length: ", "Content-Length: 9"),
        whole.replace("Content-Length: ", "Content-Length: -"),
        whole.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        whole.replace("CSeq: 1 INVITE", "CSeq: x INVITE"),
        whole.replace("Call-ID: ", "Call-ID: x"),
        whole.replace("\r\nTo: ", "\r\nX: "),
        whole.replace("Contact: ", "Contact: <sip:evil@h\u{0}>, "),
        whole.chars().take(60).collect(),
        "SIP/2.0 200 OK\r\n\r\n".to_owned(),
        format!("SIP/2.0 200 OK\r\n{}\r\n\r\n", "X: y\r\n".repeat(5000)),
    ];
    for header in ["WWW-Authenticate", "Proxy-Authenticate"] {
        for value in ["", "Digest", "Digest realm=\"", "Digest ,,,=,=", "Digest nonce=\"\\\"", "Basic x"] {
            all.push(text(&Message::response(invite, 100, "Trying", "").with(header, value)));
        }
    }
    all.into_iter().map(String::into_bytes).collect()
}

fn is_ours(response: &Response, invite: &Message) -> bool {
    response.header_value("Call-ID").as_deref() == invite.header("Call-ID")
        && response.header_value("CSeq").as_deref() == invite.header("CSeq")
}

fn broken_then_busy(invite: &Message) -> Vec<Vec<u8>> {
    let mut all = broken(invite);
    all.push(Message::response(invite, 486, "Busy Here", "far").to_bytes());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_responses_are_counted_and_the_call_goes_on() {
    let house = house().await;
    let uas = SipUas::start();
    uas.script(Script::at_once(Outcome::Custom(broken_then_busy)));
    let mut dialling = call(&house, with_login(trunk(uas.address()))).await;
    assert_eq!(failed(&mut dialling).await, CallFailure::Busy);
    assert!(house.metrics.dropped_count("malformed") >= 8, "{}", house.metrics.dropped_count("malformed"));
    let invite = &uas.of_method("INVITE").swap_remove(0).message;
    for bytes in broken(invite).iter().take(14) {
        let read = wire::read(bytes, uas.address());
        let known = read.is_ok_and(|message| matches!(message, SipMessage::Response(r) if is_ours(&r, invite)));
        assert!(!known, "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(house.metrics.panic_count(), 0);
    house.empties().await;
}

fn answer_without_contact(invite: &Message) -> Vec<Vec<u8>> {
    vec![Message::response(invite, 200, "OK", "far").with_body("application/sdp", ANSWER).to_bytes()]
}

fn challenge_in_nonsense(invite: &Message) -> Vec<Vec<u8>> {
    let answer =
        Message::response(invite, 401, "Unauthorized", "far").with("WWW-Authenticate", "Digest realm=\"x, nonce=");
    vec![answer.to_bytes()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_cannot_be_used_fail_with_a_reason() {
    let house = house().await;
    let uas = SipUas::start();
    uas.script(Script::at_once(Outcome::Custom(answer_without_contact)));
    let mut dialling = call(&house, trunk(uas.address())).await;
    assert!(matches!(failed(&mut dialling).await, CallFailure::Unreachable(why) if why.contains("Contact")));
    uas.script(Script::at_once(Outcome::Custom(challenge_in_nonsense)));
    let mut dialling = call(&house, with_login(trunk(uas.address()))).await;
    assert_eq!(failed(&mut dialling).await, CallFailure::NotAuthorised);
    house.empties().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shut_down_leaves_no_call_ringing() {
    let house = house().await;
    let uas = Arc::new(SipUas::start());
    uas.script(Script::ringing(Outcome::Ring));
    let mut dialled = Vec::new();
    for _ in 0..5 {
        dialled.push(call(&house, trunk(uas.address())).await);
    }
    for dialling in &mut dialled {
        assert!(matches!(next(dialling).await, Progress::Ringing));
    }
    assert_eq!(house.front.stack.dialogs.len(), 5);
    drop(dialled);
    block(&uas, |uas| uas.wait_request("CANCEL", 5)).await.unwrap();
    house.empties().await;
    assert_eq!(house.front.stack.endpoint.transactions.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_off_calls_by_tcp() {
    let house = House::open(SipConfig { udp: false, ..settings() }).await;
    let uas = SipUas::start();
    uas.script(Script::ringing(Outcome::Answer(ANSWER.to_owned())));
    let mut auto = trunk(uas.address());
    auto.transport = TransportChoice::Auto;
    let mut dialling = call(&house, auto).await;
    let (call, _) = answered(&mut dialling).await;
    assert_eq!(uas.of_method("INVITE").pop().unwrap().transport, Transport::Tcp);
    call.hang_up(200, "over", "over").await;
}
