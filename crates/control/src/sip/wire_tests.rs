//! Tests of reading and framing: every shape of broken input gets a count or a 4xx, never a panic.

use super::*;
use proptest::prelude::*;

fn peer() -> SocketAddr {
    "192.0.2.9:4444".parse().unwrap()
}

fn options(extra: &str) -> String {
    format!(
        "OPTIONS sip:100@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;rport\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:100@h>\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n{extra}\r\n"
    )
}

fn request(bytes: &[u8]) -> Request {
    match read(bytes, peer()).expect("readable") {
        SipMessage::Request(r) => r,
        SipMessage::Response(_) => panic!("a request"),
    }
}

fn refused(bytes: &[u8]) -> u16 {
    read(bytes, peer()).expect_err("refused").rejection.code
}

#[test]
fn via_is_stamped_with_where_the_request_came_from() {
    let r = request(options("").as_bytes());
    assert_eq!(
        r.via_header().unwrap().value(),
        "SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;received=192.0.2.9;rport=4444"
    );
    assert_eq!(stamp_via("SIP/2.0/UDP h;received=1.2.3.4;branch=b , SIP/2.0/UDP p", peer()), {
        "SIP/2.0/UDP h;branch=b;received=192.0.2.9, SIP/2.0/UDP p"
    });
}

#[test]
fn answer_goes_to_the_source_port_only_if_rport_was_asked_for() {
    let echo = Echo::from_request(&request(options("").as_bytes()));
    assert_eq!(echo.target(peer()), peer());
    let without = options("").replace(";rport", "");
    let echo = Echo::from_request(&request(without.as_bytes()));
    assert_eq!(echo.target(peer()), "192.0.2.9:5062".parse::<SocketAddr>().unwrap());
}

#[test]
fn datagram_without_content_length_has_the_rest_as_body() {
    let r = request((options("") + "v=0\r\n").as_bytes());
    assert_eq!(r.body, b"v=0\r\n");
    let r = request((options("Content-Length: 2\r\n") + "v=0\r\n").as_bytes());
    assert_eq!(r.body, b"v=");
    assert_eq!(refused((options("l: 9\r\n") + "v=0\r\n").as_bytes()), 400);
    assert_eq!(refused(options("Content-Length: -1\r\n").as_bytes()), 400);
    assert_eq!(refused(options("Content-Length: 99999999999999999999999\r\n").as_bytes()), 400);
}

#[test]
fn latin1_name_does_not_swallow_the_headers_after_it() {
    let mut bytes = b"OPTIONS sip:1@h SIP/2.0\r\nFrom: \"J\xf6rg\" <sip:a@h>;tag=1\r\n".to_vec();
    bytes.extend_from_slice(
        b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
    );
    assert_eq!(request(&bytes).call_id_header().unwrap().value(), "c");
}

#[test]
fn each_fault_gets_its_own_code() {
    for (from, to, code) in [
        ("From: <sip:a@h>;tag=1", "From: <sip:a@h>", 400),
        ("CSeq: 7 OPTIONS", "CSeq: 7 INVITE", 400),
        ("CSeq: 7 OPTIONS", "CSeq: x OPTIONS", 400),
        ("CSeq: 7 OPTIONS", "CSeq: 99999999999 OPTIONS", 400),
        ("To: <sip:100@h>", "X-To: y", 400),
        ("OPTIONS sip:100@h SIP/2.0", "OPTIONS sip:100@h SIP/7.0", 505),
        ("OPTIONS sip:100@h SIP/2.0", "DANCE sip:100@h SIP/2.0", 501),
        ("OPTIONS sip:100@h SIP/2.0", "OPTIONS sip:@ SIP/2.0", 400),
        ("Call-ID: c", "Call-ID: c\u{0}d", 400),
        ("Call-ID: c", "Call-ID: c\rX: y", 400),
    ] {
        assert_eq!(refused(options("").replace(from, to).as_bytes()), code, "{to:?}");
    }
}

#[test]
fn nobody_is_answered_without_via_or_for_an_ack() {
    let no_via = options("").replace("Via:", "X-Via:");
    assert!(read(no_via.as_bytes(), peer()).expect_err("refused").echo.is_none());
    let ack = options("").replace("OPTIONS", "ACK").replace("From: <sip:a@h>;tag=1\r\n", "");
    assert!(read(ack.as_bytes(), peer()).expect_err("refused").echo.is_none());
    assert!(read(b"\r\n\r\n", peer()).expect_err("refused").echo.is_none());
}

#[test]
fn answer_without_a_transaction_is_the_same_each_time() {
    let echo = Echo::from_request(&request(options("").as_bytes()));
    let seed = RandomState::new();
    let one = echo.response(404, &[("Retry-After", "3".to_owned())], "test", &seed);
    let text = String::from_utf8(one.clone()).unwrap();
    assert!(text.starts_with("SIP/2.0 404 Not Found\r\nVia: SIP/2.0/UDP 10.0.0.1:5062;"), "{text}");
    assert!(text.contains("To: <sip:100@h>;tag="), "{text}");
    assert!(text.ends_with("Retry-After: 3\r\nServer: test\r\nContent-Length: 0\r\n\r\n"), "{text}");
    assert_eq!(one, echo.response(404, &[("Retry-After", "3".to_owned())], "test", &seed));
    assert!(matches!(SipMessage::try_from(one.as_slice()), Ok(SipMessage::Response(_))));
}

#[test]
fn tag_is_a_header_parameter_not_one_of_the_uri() {
    assert!(has_tag("<sip:a@h>;tag=1"));
    assert!(has_tag("sip:a@h ; Tag = 1"));
    assert!(!has_tag("<sip:a@h;tag=1>"));
    assert!(!has_tag("<sip:a@h>"));
}

#[test]
fn stream_is_cut_into_messages() {
    assert_eq!(frame(b""), Frame::Incomplete);
    assert_eq!(frame(b"\r\n"), Frame::Incomplete);
    assert_eq!(frame(b"\r\n\r\nX"), Frame::Ping(4));
    assert_eq!(frame(b"\r\nX"), Frame::Skip(2));
    assert_eq!(frame(b"\nX"), Frame::Skip(1));
    assert_eq!(frame(b"A b\r\nl: 3\r\n\r\nab"), Frame::Incomplete);
    assert_eq!(frame(b"A b\r\nl: 3\r\n\r\nabcA"), Frame::Message(16));
    assert_eq!(frame(b"A b\r\nContent-Length : 0\r\n\r\n"), Frame::Message(27));
    assert_eq!(frame(b"A b\r\nl: x\r\n\r\n"), Frame::Broken);
    assert_eq!(frame(b"A b\r\nl: 18446744073709551615\r\n\r\n"), Frame::TooLarge);
    assert_eq!(frame(b"A b\r\nl: 40000\r\n\r\n"), Frame::TooLarge);
    assert_eq!(frame(&vec![b'a'; MAX_MESSAGE_BYTES + 1]), Frame::TooLarge);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes, peer());
        let _ = frame(&bytes);
    }

    #[test]
    fn no_mutation_of_a_request_makes_the_reader_panic(
        at in 0usize..400, with in proptest::collection::vec(any::<u8>(), 0..8), cut in 0usize..8,
    ) {
        let mut bytes = options("Contact: <sip:a@h;transport=tcp>\r\nRequire: x\r\nl: 3\r\n").into_bytes();
        bytes.extend_from_slice(b"abc");
        let at = at.min(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        if let Err(malformed) = read(&bytes, peer()) && let Malformed { echo: Some(echo), rejection } = *malformed {
            let reply = echo.response(rejection.code, &rejection.headers("h"), "test", &RandomState::new());
            prop_assert!(reply.windows(4).filter(|w| w == b"\r\n\r\n").count() == 1);
            let _ = echo.target(peer());
        }
        let _ = frame(&bytes);
    }

    #[test]
    fn no_mutation_of_a_response_makes_its_readers_panic(
        at in 0usize..700, with in proptest::collection::vec(any::<u8>(), 0..8), cut in 0usize..8,
    ) {
        let mut bytes = b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bK1;rport=5062\r\n\
            Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\nFrom: <sip:a@h>;tag=1\r\nTo: \"B\" <sip:b@h>;tag=2\r\nCall-ID: c\r\n\
            CSeq: 1 INVITE\r\nContact: <sip:b@10.0.0.9;transport=tcp>;expires=60\r\nMin-Expires: 60\r\n\
            WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256, stale=true\r\n\
            Content-Type: application/sdp\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        let at = at.min(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        if let Ok(SipMessage::Response(response)) = read(&bytes, peer()) {
            let numbers = crate::sip::dialog::Cseq::after(1);
            let _ = crate::sip::dialog::Dialog::answered(("c", "<sip:a@h>;tag=1"), &response, numbers, String::new(), peer());
            let who = crate::config::SipCredentials { user: "u".into(), password: "p".into(), realm: None };
            let mut answers = crate::sip::digest::Answers::default();
            answers.challenged(&response, Some(&who));
            for (_, value) in answers.headers(&who, "INVITE", "sip:x", "c") {
                prop_assert!(!value.contains(['\r', '\n']));
            }
            let _ = crate::sip::screen::sdp(&response);
        }
    }
}
