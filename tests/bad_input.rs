//! Malformed input of every kind while two phones talk: it stops nothing but itself.

use crate::support::{setup, talker};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;
use testkit::netem::Rng;
use testkit::phone::Phone;
use testkit::sdp::{Codec, OfferSpec};
use testkit::server::Server;
use testkit::sip_ua::{SipUa, Transport};

const INVITE: &str = "INVITE sip:900@SERVER SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKgarbage;rport\r\n\
    Max-Forwards: 70\r\nFrom: <sip:x@127.0.0.1>;tag=g\r\nTo: <sip:900@SERVER>\r\nCall-ID: garbage\r\nCSeq: 1 INVITE\r\n\
    Contact: <sip:x@127.0.0.1:9>\r\nContent-Type: application/sdp\r\nContent-Length: LEN\r\n\r\nBODY";

fn two_phones(server: &Server) -> (Phone, Phone) {
    server.api().create_room("900", 20);
    let a = talker(server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(server, "900", "bob", Codec::Opus, 900.0);
    still_talking(server, &a, &b);
    (a, b)
}

/// The call goes on, the server answers, and nothing panicked.
#[track_caller]
fn still_talking(server: &Server, a: &Phone, b: &Phone) {
    a.hears(&[900.0], &[500.0]);
    b.hears(&[500.0], &[900.0]);
    assert!(!a.call.is_ended() && !b.call.is_ended());
    assert_eq!(SipUa::new("check", Transport::Udp, server.sip_address()).options("").expect("a response").code(), 200);
    server.api().get("/healthz").expect(200);
    assert!(!server.log().contains("panicked"), "a panic is in the log");
}

fn invite(server: &Server, body: &str) -> Vec<u8> {
    INVITE
        .replace("SERVER", &server.sip_address().to_string())
        .replace("LEN", &body.len().to_string())
        .replace("BODY", body)
        .into_bytes()
}

/// Flips, cuts, doubles and inserts bytes.
fn mangle(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=rng.next_u32() % 4 {
        if out.is_empty() {
            break;
        }
        let at = rng.next_u32() as usize % out.len();
        match rng.next_u32() % 4 {
            0 => out[at] = rng.next_u32() as u8,
            1 => out.truncate(at),
            2 => {
                let end = (at + 40).min(out.len());
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            _ => out.insert(at, b"\r\n\0:;<>\xff\"%"[rng.next_u32() as usize % 10]),
        }
    }
    out
}

#[test]
fn sip_garbage_over_udp() {
    let server = setup().start();
    let (a, b) = two_phones(&server);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let sdp = OfferSpec::new("127.0.0.1:9".parse().expect("an address"), &[Codec::Opus, Codec::Pcmu]).to_sdp();
    let good = invite(&server, &sdp);
    let mut rng = Rng::new(1);
    for n in 0..1_500 {
        let datagram = match n % 3 {
            0 => (0..rng.next_u32() % 1_400).map(|_| rng.next_u32() as u8).collect(),
            _ => mangle(&mut rng, &good),
        };
        // Ports that answer with ICMP make a later send fail once.
        let _ = socket.send_to(&datagram, server.sip_address());
    }
    for datagram in [
        &b""[..],
        b"\r\n\r\n",
        b"\0",
        &[0xff; 1_400],
        b"SIP/2.0 200 OK\r\n\r\n",
        b"ACK\r\n\r\n",
        b"INVITE  SIP/2.0\r\n\r\n",
    ] {
        let _ = socket.send_to(datagram, server.sip_address());
    }
    still_talking(&server, &a, &b);
}

#[test]
fn sip_garbage_over_tcp() {
    let server = setup().start();
    let (a, b) = two_phones(&server);
    let mut rng = Rng::new(2);
    let good = invite(&server, "");
    let huge = invite(&server, "")
        .iter()
        .map(|&b| b as char)
        .collect::<String>()
        .replace("Content-Length: 0", "Content-Length: 99999999999");
    let mut endless = b"INVITE sip:900@x SIP/2.0\r\nVia: ".to_vec();
    endless.resize(1 << 20, b'a');
    for n in 0..60 {
        let bytes = match n {
            0 => huge.clone().into_bytes(),
            1 => endless.clone(),
            2 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            3 => vec![0; 100_000],
            4 => b"\r\n".repeat(10_000),
            _ => mangle(&mut rng, &good),
        };
        let mut stream = TcpStream::connect(server.sip_address()).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a positive timeout");
        // The server may close while this is being written.
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 1_024]);
    }
    // Many connections that say nothing.
    let idle: Vec<_> = (0..100).filter_map(|_| TcpStream::connect(server.sip_address()).ok()).collect();
    still_talking(&server, &a, &b);
    let config = testkit::rtp_peer::PeerConfig::new(&[Codec::Pcmu]);
    Phone::dial_with(server.sip_address(), "900", "carol", Transport::Tcp, config).expect("TCP calls still work");
    drop(idle);
}

#[test]
fn sdp_garbage_gets_488_or_400_and_leaves_no_seat_taken() {
    let server = setup().start();
    let (a, b) = two_phones(&server);
    let ua = SipUa::new("mallory", Transport::Udp, server.sip_address());
    let good = OfferSpec::new("127.0.0.1:4000".parse().expect("an address"), &[Codec::Opus, Codec::Pcmu]).to_sdp();
    for body in [
        "x",
        "v=0\r\n",
        "\r\n\r\n",
        &good.replace("m=audio", "m=video"),
        &good.replace("m=audio 4000", "m=audio 99999"),
        &good.replace("RTP/AVP", "RTP/SAVP"),
        &good.replace("IP4 127.0.0.1", "IP4 not.an.address.example"),
        &good.replace("a=rtpmap:111 opus/48000/2", "a=rtpmap:999 opus/99999999999/77"),
        &"a=rtpmap:0 PCMU/8000\r\n".repeat(1_000),
    ] {
        let call = ua.invite(&testkit::sip_ua::Invite::new("900", body));
        let outcome = call.outcome().expect("a final response");
        match outcome.code() {
            400 | 415 | 488 | 606 => {}
            // What is left of it may still be a good PCMU offer. An empty body asks for ours: an ACK without an answer ends
            // the call, and its BYE may cross this one.
            200 => assert!(matches!(call.bye().expect("a response").code(), 200 | 481), "{body:?}"),
            other => panic!("{other} for {body:?}"),
        }
    }
    testkit::wait::until_true("two participants", Duration::from_secs(5), || {
        let rooms = server.api().get("/api/conference_rooms").json();
        let id = rooms["items"][0]["id"].as_str().unwrap_or("").to_owned();
        server.api().participants(&id).len() == 2
    });
    still_talking(&server, &a, &b);
}

#[test]
fn media_garbage_from_the_peer_and_from_strangers() {
    let server = setup().start();
    let (a, b) = two_phones(&server);
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut rng = Rng::new(3);
    for n in 0..2_000u32 {
        let mut bytes: Vec<u8> = (0..rng.next_u32() % 300).map(|_| rng.next_u32() as u8).collect();
        if n % 2 == 0 && bytes.len() > 2 {
            // Looks like RTP of a negotiated payload type with a wild rest: CSRCs, extensions, padding.
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] = [0, 111, 101, 13, 200, 201][n as usize / 2 % 6];
        }
        for answer in [&a.answer, &b.answer] {
            let _ = stranger.send_to(&bytes, answer.rtp);
            let _ = stranger.send_to(&bytes, answer.rtcp);
        }
        // The wrong payload type, other SSRCs and short packets from the right address, too.
        if bytes.len() < 12 {
            a.peer.send_raw(a.answer.rtp, &bytes);
        }
        a.peer.send_raw(a.answer.rtcp, &bytes);
    }
    still_talking(&server, &a, &b);
    let room = server.api().get("/api/conference_rooms").json()["items"][0]["id"].as_str().unwrap_or("").to_owned();
    assert_eq!(server.api().participants(&room).len(), 2);
}

#[test]
fn strangers_voice_is_not_heard() {
    let server = setup().start();
    let (a, b) = two_phones(&server);
    // Same address, other port, other SSRC, right payload type: not the latched source.
    let mut thief = testkit::rtp_peer::RtpPeer::bind(testkit::rtp_peer::PeerConfig::new(&[Codec::Pcmu]));
    thief.start(Codec::Pcmu, a.answer.rtp, a.answer.rtcp, None);
    thief.say_tone(1_700.0, testkit::phone::TONE_DB);
    b.peer.listen(500).expect("sound");
    b.hears(&[500.0], &[900.0, 1_700.0]);
    assert!(thief.heard().arrivals.is_empty(), "the stranger gets nothing");
}

#[test]
fn http_garbage() {
    let server = setup().start();
    let (a, b) = two_phones(&server);
    let mut rng = Rng::new(4);
    for n in 0..200 {
        let mut stream = TcpStream::connect(server.api_address()).expect("it accepts");
        let bytes: Vec<u8> = match n % 3 {
            0 => (0..rng.next_u32() % 2_000).map(|_| rng.next_u32() as u8).collect(),
            1 => {
                mangle(&mut rng, b"POST /api/conference_rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{\"a\":")
            }
            _ => mangle(
                &mut rng,
                b"GET /api/blobs/../../etc/passwd?x=%ff HTTP/1.1\r\nRange: bytes=9-1,-0\r\nHost: x\r\n\r\n",
            ),
        };
        let _ = stream.write_all(&bytes);
    }
    still_talking(&server, &a, &b);
}

/// One request over a connection of its own; the status, and the code of the refusal.
#[track_caller]
fn asked(server: &Server, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(server.api_address()).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a positive timeout");
    let token = server.token();
    let head = format!("{head}\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    // The server may answer, and close, before it has read all of it.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let code = answer.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
    (status.unwrap_or_else(|| panic!("no answer to {head:.80}: {answer}")), code.to_owned())
}

#[test]
fn requests_that_no_client_means_get_a_clear_4xx() {
    let server = setup().start();
    let (a, b) = two_phones(&server);
    let room = server.api().get("/api/conference_rooms").json()["items"][0]["id"].as_str().unwrap_or("").to_owned();
    let post = |kind: &str, body: &[u8]| {
        let head =
            format!("POST /api/conference_rooms HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {}", body.len());
        asked(&server, &head, body)
    };
    let refused = (400, "VALIDATE_FAILED".to_owned());
    let too_large = (413, "PAYLOAD_TOO_LARGE".to_owned());
    assert_eq!(post("application/json", &vec![b' '; 1 << 20]), too_large);
    assert_eq!(post("application/json", &vec![b'['; 4 << 20]), too_large);
    assert_eq!(post("text/plain", b"{}"), (415, "VALIDATE_FAILED".to_owned()));
    for body in [
        "[".repeat(60_000).as_bytes(),
        "{\"a\":".repeat(10_000).as_bytes(),
        b"{\"subject\":\"\xff\"}",
        b"{\"capacity\":1e999}",
        b"{\"capacity\":123456789012345678901234567890}",
        b"{\"subject\":\"a\",\"subject\":\"b\"}",
        b"\0",
    ] {
        assert_eq!(post("application/json", body), refused, "{}", String::from_utf8_lossy(&body[..body.len().min(40)]));
    }
    // In chunks, which tell no length beforehand.
    let chunk = [b"10000\r\n", &[b'['; 0x1_0000][..], b"\r\n"].concat();
    let chunked = "POST /api/conference_rooms HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
    assert_eq!(asked(&server, chunked, &[chunk.repeat(20), b"0\r\n\r\n".to_vec()].concat()), too_large);
    assert_eq!(asked(&server, chunked, b"zz\r\n{}\r\n0\r\n\r\n"), refused);

    for (query, field) in [("search=%ff", ""), ("filter=subject%20eq%20'%00'", "filter"), ("top=1&top=1", "top")] {
        let head = format!("GET /api/conference_rooms?{query} HTTP/1.1");
        assert_eq!(asked(&server, &head, b""), refused, "{query} {field}");
    }
    let long = "x".repeat(100_000);
    for head in [
        format!("GET /api/conference_rooms?search={long} HTTP/1.1"),
        format!("GET /api/conference_rooms/{long} HTTP/1.1"),
        format!("GET /api/conference_rooms HTTP/1.1\r\nX: {}", long.repeat(10)),
        format!("GET /api/conference_rooms HTTP/1.1{}", "\r\nX: x".repeat(1_000)),
        format!("POST /api/conference_rooms/{room}/lock HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2"),
        format!("POST /api/conference_rooms/{room}/lock HTTP/1.1\r\nContent-Length: -1"),
    ] {
        let (status, _) = asked(&server, &head, b"");
        assert_eq!(status / 100, 4, "{status} for {head:.80}");
    }
    still_talking(&server, &a, &b);
    assert_eq!(server.api().metric(&["conclave_api_requests_total", "status=\"5"]), 0.0);
}
