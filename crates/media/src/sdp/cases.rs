//! Offers as real clients write them, and what must come of each. Tests only.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::error::Refused;

pub(super) const ALL: &[CodecName] = &[CodecName::Opus, CodecName::Pcmu, CodecName::Pcma];

pub(super) fn audio(codecs: &[CodecName]) -> Capabilities {
    Capabilities { audio: codecs.to_vec(), video: None }
}

pub(super) fn local() -> LocalMedia {
    LocalMedia {
        rtp_port: 20_000,
        rtcp_port: 20_001,
        video: None,
        address: IpAddr::from([192, 0, 2, 1]),
        session_id: 4711,
        session_version: 3,
        secured: None,
    }
}

fn answered(sdp: &str) -> (AudioTerms, Answer) {
    answered_with(sdp, ALL)
}

fn answered_with(sdp: &str, codecs: &[CodecName]) -> (AudioTerms, Answer) {
    let (terms, answer) = agreed(sdp, codecs);
    (terms.audio, answer)
}

fn agreed(sdp: &str, codecs: &[CodecName]) -> (SessionTerms, Answer) {
    answer(&Offer::parse(sdp).unwrap(), &local(), &audio(codecs)).unwrap_or_else(|e| panic!("{e}\n{sdp}"))
}

fn refused(sdp: &str) -> Error {
    answer(&Offer::parse(sdp).unwrap(), &local(), &audio(ALL)).unwrap_err()
}

/// A plain offer with these lines under its `m=` line.
fn plain(port: u16, formats: &str, attributes: &[&str]) -> String {
    let mut sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n"
    );
    for attribute in attributes {
        sdp.push_str(attribute);
        sdp.push_str("\r\n");
    }
    sdp
}

pub(super) fn lines(answer: &Answer) -> Vec<&str> {
    assert!(answer.sdp.ends_with("\r\n"));
    answer.sdp.split_terminator("\r\n").collect()
}

struct Case {
    client: &'static str,
    sdp: &'static str,
    codec: CodecName,
    pt: u8,
    dtmf: &'static [(u8, u32)],
    remote: &'static str,
    mux: bool,
    media: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        client: "baresip",
        sdp: "v=0\r\no=- 2838063104 1203917563 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            a=tool:baresip 3.1.0\r\nm=audio 10230 RTP/AVP 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\n\
            a=fmtp:96 stereo=1;sprop-stereo=1;maxaveragebitrate=28000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtcp:10231\r\na=sendrecv\r\na=label:1\r\n\
            a=rtcp-rsize\r\na=ssrc:2543893083 cname:sip:alice@192.0.2.9\r\na=ptime:20\r\na=minptime:20\r\n",
        codec: CodecName::Opus,
        pt: 96,
        dtmf: &[(101, 8_000)],
        remote: "192.0.2.9:10230",
        mux: false,
        media: &["m=audio 20000 RTP/AVP 96 101"],
    },
    Case {
        client: "linphone, with video and ICE",
        sdp: "v=0\r\no=alice 3247 2108 IN IP4 192.0.2.9\r\ns=Talk\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            a=ice-pwd:5d34cbfe0b1c7c2c04ed2e4f\r\na=ice-ufrag:94d5a5ad\r\n\
            a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\r\na=record:off\r\n\
            m=audio 7078 RTP/AVPF 96 97 98 0 8 18 101 99 100\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
            a=rtpmap:97 speex/16000\r\na=fmtp:97 vbr=on\r\na=rtpmap:98 speex/8000\r\na=fmtp:98 vbr=on\r\n\
            a=fmtp:18 annexb=yes\r\na=rtpmap:101 telephone-event/48000\r\na=rtpmap:99 telephone-event/16000\r\n\
            a=rtpmap:100 telephone-event/8000\r\na=candidate:1 1 UDP 2130706303 192.0.2.9 7078 typ host\r\n\
            a=rtcp-fb:* trr-int 1000\r\na=rtcp-fb:* ccm tmmbr\r\n\
            m=video 9078 RTP/AVPF 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n\
            a=fmtp:97 profile-level-id=42801F\r\n",
        codec: CodecName::Opus,
        pt: 96,
        dtmf: &[(101, 48_000), (100, 8_000)],
        remote: "192.0.2.9:7078",
        mux: false,
        media: &["m=audio 20000 RTP/AVPF 96 101", "m=video 0 RTP/AVPF 96 97"],
    },
    Case {
        client: "pjsip",
        sdp: "v=0\r\no=- 3902738400 3902738400 IN IP4 192.0.2.9\r\ns=pjmedia\r\nb=AS:117\r\nt=0 0\r\na=X-nat:0\r\n\
            m=audio 4000 RTP/AVP 8 0 98 97 3 120\r\nc=IN IP4 192.0.2.9\r\nb=TIAS:96000\r\na=rtcp:4001 IN IP4 192.0.2.9\r\n\
            a=sendrecv\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:98 speex/16000\r\n\
            a=rtpmap:97 speex/8000\r\na=rtpmap:3 GSM/8000\r\na=rtpmap:120 telephone-event/8000\r\na=fmtp:120 0-16\r\n\
            a=ssrc:1349455989 cname:0e3a7a0d3e2e8b6c\r\na=rtcp-mux\r\n",
        codec: CodecName::Pcma,
        pt: 8,
        dtmf: &[(120, 8_000)],
        remote: "192.0.2.9:4000",
        mux: true,
        media: &["m=audio 20000 RTP/AVP 8 120"],
    },
    Case {
        client: "Asterisk chan_pjsip",
        sdp: "v=0\r\no=- 577461032 577461032 IN IP4 192.0.2.9\r\ns=Asterisk\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            m=audio 17352 RTP/AVP 107 0 8 101 102\r\na=rtpmap:107 opus/48000/2\r\na=fmtp:107 useinbandfec=1\r\n\
            a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
            a=rtpmap:102 telephone-event/48000\r\na=fmtp:102 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n",
        codec: CodecName::Opus,
        pt: 107,
        dtmf: &[(102, 48_000), (101, 8_000)],
        remote: "192.0.2.9:17352",
        mux: false,
        media: &["m=audio 20000 RTP/AVP 107 102"],
    },
    Case {
        client: "Cisco IOS gateway with fax, static types without rtpmap",
        sdp: "v=0\r\no=CiscoSystemsSIP-GW-UserAgent 5871 7426 IN IP4 192.0.2.9\r\ns=SIP Call\r\nc=IN IP4 192.0.2.9\r\n\
            t=0 0\r\nm=audio 17808 RTP/AVP 18 0 13 101 19\r\nc=IN IP4 192.0.2.10\r\na=rtpmap:18 G729/8000\r\n\
            a=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtpmap:19 CN/8000\r\n\
            a=ptime:20\r\nm=image 17810 udptl t38\r\nc=IN IP4 192.0.2.9\r\na=T38FaxVersion:0\r\n",
        codec: CodecName::Pcmu,
        pt: 0,
        dtmf: &[(101, 8_000)],
        remote: "192.0.2.10:17808",
        mux: false,
        media: &["m=audio 20000 RTP/AVP 0 101", "m=image 0 udptl t38"],
    },
    Case {
        client: "Polycom, SRTP offered beside RTP, content sharing",
        sdp: "v=0\r\no=- 1718901234 1718901234 IN IP4 192.0.2.9\r\ns=Polycom IP Phone\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            a=sendrecv\r\nm=audio 2222 RTP/SAVP 9 0 8 127\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
            a=rtpmap:127 telephone-event/8000\r\nm=audio 2224 RTP/AVP 9 0 8 127\r\na=rtpmap:9 G722/8000\r\n\
            a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:127 telephone-event/8000\r\n\
            m=application 0 RTP/AVP 100\r\n",
        codec: CodecName::Pcmu,
        pt: 0,
        dtmf: &[(127, 8_000)],
        remote: "192.0.2.9:2224",
        mux: false,
        media: &["m=audio 0 RTP/SAVP 9 0 8 127", "m=audio 20000 RTP/AVP 0 127", "m=application 0 RTP/AVP 100"],
    },
    Case {
        client: "sipp's built-in scenario",
        sdp: "v=0\r\no=user1 53655765 2353687637 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            m=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
        codec: CodecName::Pcmu,
        pt: 0,
        dtmf: &[],
        remote: "192.0.2.9:6000",
        mux: false,
        media: &["m=audio 20000 RTP/AVP 0"],
    },
    Case {
        client: "FreeSWITCH",
        sdp: "v=0\r\no=FreeSWITCH 1719000000 1719000001 IN IP4 192.0.2.9\r\ns=FreeSWITCH\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            m=audio 28762 RTP/AVP 102 0 8 103 101 13 104\r\na=rtpmap:102 opus/48000/2\r\n\
            a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000; ptime=20; minptime=10; maxptime=40\r\n\
            a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:103 telephone-event/48000\r\na=fmtp:103 0-16\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtpmap:13 CN/8000\r\na=rtpmap:104 CN/48000\r\n\
            a=ptime:20\r\n",
        codec: CodecName::Opus,
        pt: 102,
        dtmf: &[(103, 48_000), (101, 8_000)],
        remote: "192.0.2.9:28762",
        mux: false,
        media: &["m=audio 20000 RTP/AVP 102 103"],
    },
    Case {
        client: "IPv6, LF line ends, junk in lines that nobody needs",
        sdp: "v=0\no=- 99999999999999999999999999 nonsense IN IP6 2001:db8::9\ns=\nb=AS:64.5\nt=0\nz=\nc=IN IP6 2001:db8::9\n\
            m=audio  5004   RTP/AVP 8 8 300 x\n",
        codec: CodecName::Pcma,
        pt: 8,
        dtmf: &[],
        remote: "[2001:db8::9]:5004",
        mux: false,
        media: &["m=audio 20000 RTP/AVP 8"],
    },
];

#[test]
fn real_offers_are_answered() {
    for case in CASES {
        let (terms, answer) = answered(case.sdp);
        let client = case.client;
        assert_eq!((terms.codec, terms.pt, answer.codec), (case.codec, case.pt, case.codec), "{client}");
        assert_eq!(terms.dtmf, case.dtmf, "{client}");
        assert_eq!(terms.remote_rtp, Some(case.remote.parse().unwrap()), "{client}");
        assert_eq!(terms.rtcp_mux, case.mux, "{client}");
        assert_eq!((terms.direction, answer.on_hold), (Direction::SendRecv, false), "{client}");
        let media: Vec<_> = lines(&answer).into_iter().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(media, case.media, "{client}");
        // Our own reader agrees, and what it reads is one audio line.
        let read = Offer::parse(&answer.sdp).unwrap();
        assert_eq!(read.lines.iter().filter(|l| l.port != 0).count(), 1, "{client}");
    }
}

#[test]
fn an_answer_reads_as_a_whole() {
    let (terms, answer) = answered(CASES[7].sdp);
    assert_eq!(
        lines(&answer),
        [
            "v=0",
            "o=- 4711 3 IN IP4 192.0.2.1",
            "s=-",
            "c=IN IP4 192.0.2.1",
            "t=0 0",
            "m=audio 20000 RTP/AVP 102 103",
            "a=rtpmap:102 opus/48000/2",
            "a=fmtp:102 useinbandfec=1;minptime=20",
            "a=rtpmap:103 telephone-event/48000",
            "a=fmtp:103 0-16",
            "a=ptime:20",
            "a=maxptime:60",
            "a=sendrecv",
        ]
    );
    assert!(terms.opus_fec && !terms.opus_dtx);
    assert_eq!((terms.opus_max_bitrate, terms.opus_max_playback_hz), (Some(30_000), Some(48_000)));
    assert_eq!(terms.remote_rtcp, Some("192.0.2.9:28763".parse().unwrap()));
    // CN is for G.711.
    assert_eq!(terms.cn_pt, None);
}

#[test]
fn config_limits_the_offer_and_the_offer_gives_the_order() {
    let sdp = CASES[0].sdp;
    assert_eq!(answered_with(sdp, &[CodecName::Pcma, CodecName::Pcmu]).0.pt, 0);
    assert_eq!(answered_with(sdp, &[CodecName::Pcma]).0.pt, 8);
    let offer = Offer::parse(sdp).unwrap();
    assert_eq!(answer(&offer, &local(), &audio(&[])).unwrap_err(), Error::Refused(Refused::NoCommonCodec));
}

#[test]
fn unusable_offers_are_refused_with_the_reason() {
    let no_common = Error::Refused(Refused::NoCommonCodec);
    let no_audio = Error::Refused(Refused::NoAudio);
    assert_eq!(refused(&plain(4000, "18 3 96", &["a=rtpmap:96 PCMU/16000"])), no_common);
    assert_eq!(refused(&plain(4000, "0", &["a=rtpmap:0 PCMU/8000/2"])), no_common);
    assert_eq!(refused(&plain(0, "0", &[])), no_audio);
    assert_eq!(refused("v=0\r\n"), no_audio);
    assert_eq!(refused("v=0\r\nm=video 4000 RTP/AVP 0\r\n"), no_audio);
    for (proto, word) in [
        ("RTP/SAVP", "SRTP"),
        ("UDP/TLS/RTP/SAVPF", "DTLS"),
        ("TCP/RTP/AVP", "RTP over UDP"),
        ("udptl", "RTP over UDP"),
    ] {
        let error = refused(&plain(4000, "0", &[]).replace("RTP/AVP", proto));
        assert!(matches!(error, Error::Refused(Refused::UnusableAudio(_))), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// A browser's offer, shortened: everything is understood, and the transport is the reason.
#[test]
fn a_browser_offer_is_refused_for_its_transport() {
    let sdp = "v=0\r\no=- 8041520436243126498 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        a=extmap-allow-mixed\r\na=msid-semantic: WMS 7e\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n\
        c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:Fxhl\r\na=ice-pwd:Z0r4\r\na=ice-options:trickle\r\n\
        a=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=mid:0\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\na=rtcp-mux\r\n\
        a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
        a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:110 telephone-event/48000\r\n\
        a=rtpmap:126 telephone-event/8000\r\n";
    assert!(refused(sdp).to_string().contains("DTLS"));
    let (terms, answer) = answered(&sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/AVPF").replace("0.0.0.0", "192.0.2.9"));
    assert_eq!((terms.pt, &terms.dtmf[..]), (111, &[(110, 48_000), (126, 8_000)][..]));
    assert_eq!((terms.level_extension, terms.level_vad), (Some(1), true));
    assert_eq!(terms.remote_rtcp, terms.remote_rtp);
    assert!(lines(&answer).contains(&"a=rtcp-mux"));
    assert!(lines(&answer).contains(&"a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"));
}

#[test]
fn hold_and_resume_in_every_dialect() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    // What is offered, whether c= is 0.0.0.0, our direction, held.
    let cases = [
        ("", false, SendRecv, false),
        ("a=sendrecv", false, SendRecv, false),
        ("a=sendonly", false, RecvOnly, true),
        ("a=recvonly", false, SendOnly, false),
        ("a=inactive", false, Inactive, true),
        ("", true, RecvOnly, true),
        ("a=sendonly", true, RecvOnly, true),
        ("a=recvonly", true, Inactive, true),
        ("a=inactive", true, Inactive, true),
        ("A=SENDONLY", false, SendRecv, false),
        ("a=SendOnly", false, RecvOnly, true),
    ];
    for (attribute, zero, direction, held) in cases {
        let mut sdp = plain(4000, "0", &[attribute]);
        if zero {
            sdp = sdp.replace("c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0");
        }
        let (terms, answer) = answered(&sdp);
        assert_eq!((terms.direction, answer.on_hold), (direction, held), "{attribute} {zero}");
        assert_eq!(terms.remote_rtp.is_none(), zero, "{attribute}");
        let written = format!("a={}", direction.attribute());
        assert_eq!(lines(&answer).iter().filter(|l| **l == written).count(), 1, "{attribute}");
    }
}

#[test]
fn direction_above_the_media_holds_until_the_media_says_otherwise() {
    let session = |media| plain(4000, "0", &[media]).replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n");
    assert_eq!(answered(&session("")).0.direction, Direction::Inactive);
    assert_eq!(answered(&session("a=sendrecv")).0.direction, Direction::SendRecv);
}

#[test]
fn hold_by_unspecified_ipv6_and_addresses_that_are_not_sent_to() {
    for (connection, held) in [
        ("c=IN IP6 ::", true),
        ("c=IN IP4 phone.example.com", false),
        ("c=IN IP4 224.2.1.1/127", false),
        ("c=IN IP4 255.255.255.255", false),
        ("", false),
    ] {
        let (terms, answer) = answered(&plain(4000, "0", &[]).replace("c=IN IP4 192.0.2.9", connection));
        assert_eq!((terms.remote_rtp, terms.remote_rtcp), (None, None), "{connection}");
        assert_eq!(answer.on_hold, held, "{connection}");
    }
}

#[test]
fn telephone_event_of_another_clock_is_answered_when_it_is_all_there_is() {
    let sdp = plain(4000, "96 101", &["a=rtpmap:96 OPUS/48000/2", "a=rtpmap:101 telephone-event/8000"]);
    let (terms, answer) = answered(&sdp);
    assert_eq!(terms.dtmf, [(101, 8_000)]);
    assert!(lines(&answer).contains(&"a=rtpmap:101 telephone-event/8000"));
    assert!(lines(&answer).contains(&"a=fmtp:101 0-15"));
    let sdp = plain(
        4000,
        "0 110 101",
        &["a=rtpmap:110 telephone-event/48000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-11"],
    );
    let (terms, answer) = answered(&sdp);
    assert_eq!(terms.dtmf, [(101, 8_000), (110, 48_000)]);
    assert!(lines(&answer).contains(&"m=audio 20000 RTP/AVP 0 101"));
}

#[test]
fn packet_times_become_whole_ticks() {
    let cases: [(&[&str], u8); 10] = [
        (&[], 20),
        (&["a=ptime:10"], 20),
        (&["a=ptime:30"], 20),
        (&["a=ptime:40"], 40),
        (&["a=ptime:60.0"], 60),
        (&["a=ptime:200"], 60),
        (&["a=ptime:60", "a=maxptime:40"], 40),
        (&["a=ptime:60", "a=maxptime:50"], 40),
        (&["a=ptime:0"], 20),
        (&["a=ptime:junk"], 20),
    ];
    for (attributes, expected) in cases {
        let (terms, answer) = answered(&plain(4000, "0", attributes));
        assert_eq!(terms.ptime_ms, expected, "{attributes:?}");
        assert!(lines(&answer).contains(&format!("a=ptime:{expected}").as_str()));
    }
    let minimum = plain(4000, "96", &["a=rtpmap:96 opus/48000/2", "a=fmtp:96 minptime=40"]);
    assert_eq!(answered(&minimum).0.ptime_ms, 40);
}

#[test]
fn opus_parameters_are_read_and_nonsense_in_them_is_not() {
    let offer = |fmtp: &str| answered(&plain(4000, "96", &["a=rtpmap:96 opus/48000/2", &format!("a=fmtp:96 {fmtp}")]));
    let (terms, answer) = offer("UseInbandFEC=1; usedtx=1 ;maxplaybackrate=16000;maxaveragebitrate=20000");
    assert!(terms.opus_fec && terms.opus_dtx);
    assert_eq!((terms.opus_max_bitrate, terms.opus_max_playback_hz), (Some(20_000), Some(16_000)));
    assert!(lines(&answer).contains(&"a=fmtp:96 useinbandfec=1;usedtx=1;minptime=20"));
    let (terms, _) = offer("useinbandfec=0;usedtx=2;;=;x;maxaveragebitrate=1;maxplaybackrate=99999999999");
    assert!(!terms.opus_fec && !terms.opus_dtx);
    assert_eq!((terms.opus_max_bitrate, terms.opus_max_playback_hz), (None, None));
}

#[test]
fn rtcp_goes_where_the_offer_says() {
    let cases: [(&str, Option<&str>); 6] = [
        ("", Some("192.0.2.9:4001")),
        ("a=rtcp:5555", Some("192.0.2.9:5555")),
        ("a=rtcp:5555 IN IP4 192.0.2.77", Some("192.0.2.77:5555")),
        ("a=rtcp:5555 IN IP4 0.0.0.0", Some("192.0.2.9:5555")),
        ("a=rtcp:0", Some("192.0.2.9:4001")),
        ("a=rtcp-mux", Some("192.0.2.9:4000")),
    ];
    for (attribute, expected) in cases {
        let terms = answered(&plain(4000, "0", &[attribute])).0;
        assert_eq!(terms.remote_rtcp, expected.map(|e| e.parse().unwrap()), "{attribute}");
    }
    assert_eq!(answered(&plain(65_535, "0", &[])).0.remote_rtcp, None);
    // These payload types cannot be told from RTCP.
    let clash = plain(4000, "72", &["a=rtpmap:72 PCMU/8000", "a=rtcp-mux"]);
    assert!(!answered(&clash).0.rtcp_mux);
    let odd = LocalMedia { rtcp_port: 30_000, ..local() };
    let (_, answer) = answer(&Offer::parse(&plain(4000, "0", &[])).unwrap(), &odd, &audio(ALL)).unwrap();
    assert!(lines(&answer).contains(&"a=rtcp:30000"));
}

#[test]
fn audio_level_is_answered_as_offered() {
    let uri = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    let cases = [
        (format!("a=extmap:1 {uri}"), Some(1), true, Some(format!("a=extmap:1 {uri}"))),
        (format!("a=extmap:3 {uri} vad=off"), Some(3), false, Some(format!("a=extmap:3 {uri} vad=off"))),
        (format!("a=extmap:3/sendonly {uri} vad=on"), Some(3), true, Some(format!("a=extmap:3/recvonly {uri} vad=on"))),
        (format!("a=extmap:3/recvonly {uri}"), None, false, None),
        (format!("a=extmap:0 {uri}"), None, false, None),
        (format!("a=extmap:15 {uri}"), None, false, None),
        (format!("a=extmap:4096 {uri}"), None, false, None),
        ("a=extmap:1 urn:ietf:params:rtp-hdrext:toffset".to_owned(), None, false, None),
    ];
    for (offered, id, vad, written) in cases {
        let (terms, answer) = answered(&plain(4000, "0", &[&offered]));
        assert_eq!((terms.level_extension, terms.level_vad), (id, vad), "{offered}");
        let found = lines(&answer).into_iter().find(|l| l.starts_with("a=extmap")).map(str::to_owned);
        assert_eq!(found, written, "{offered}");
    }
}

#[test]
fn comfort_noise_is_noted_beside_g711_and_not_answered() {
    let (terms, answer) = answered(&plain(4000, "0 13", &[]));
    assert_eq!(terms.cn_pt, Some(13));
    assert!(lines(&answer).contains(&"m=audio 20000 RTP/AVP 0"));
}

#[test]
fn our_offer_is_answered_by_ourselves_and_accepted() {
    let text = offer(&local(), &audio(ALL));
    let parsed = Offer::parse(&text).unwrap();
    assert!(text.contains("m=audio 20000 RTP/AVP 111 0 8 101 110\r\n"), "{text}");
    let far = LocalMedia { rtp_port: 4000, rtcp_port: 4001, address: IpAddr::from([192, 0, 2, 9]), ..local() };
    let (_, reply) = answer(&parsed, &far, &audio(&[CodecName::Pcma])).unwrap();
    let (SessionTerms { audio: terms, .. }, answer) =
        accept(&Offer::parse(&reply.sdp).unwrap(), &local(), &audio(ALL), None).unwrap();
    assert_eq!((terms.codec, terms.pt), (CodecName::Pcma, 8));
    assert_eq!(terms.dtmf, [(101, 8_000)]);
    assert_eq!(terms.remote_rtp, Some("192.0.2.9:4000".parse().unwrap()));
    assert_eq!((answer.sdp.as_str(), answer.on_hold), ("", false));
    assert_eq!(terms.level_extension, Some(1));
}

#[test]
fn an_answer_agrees_to_nothing_that_was_not_offered() {
    let reply =
        plain(4000, "0", &["a=rtcp-mux", "a=extmap:5 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "a=recvonly"]);
    let (SessionTerms { audio: terms, .. }, _) =
        accept(&Offer::parse(&reply).unwrap(), &local(), &audio(ALL), None).unwrap();
    assert!(!terms.rtcp_mux);
    assert_eq!(terms.remote_rtcp, Some("192.0.2.9:4001".parse().unwrap()));
    assert_eq!(terms.level_extension, None);
    assert_eq!(terms.direction, Direction::SendOnly);
    let rejected = accept(&Offer::parse(&plain(0, "0", &[])).unwrap(), &local(), &audio(ALL), None).unwrap_err();
    assert_eq!(rejected, Error::Refused(Refused::NoAudio));
    // Only the line that we offered counts.
    let second = plain(0, "0", &["m=audio 4000 RTP/AVP 0"]);
    assert!(accept(&Offer::parse(&second).unwrap(), &local(), &audio(ALL), None).is_err());
}

#[test]
fn a_new_offer_keeps_payload_types_and_media_lines() {
    // The phone uses 101 for Opus and 111 for events, and has two lines that we refused.
    let first = "v=0\r\nc=IN IP4 192.0.2.9\r\nm=video 4002 RTP/AVP 97\r\nm=audio 4000 RTP/AVPF 101 111\r\n\
        a=rtpmap:101 opus/48000/2\r\na=rtpmap:111 telephone-event/48000\r\na=rtcp-mux\r\nm=image 9 udptl t38\r\n";
    let (terms, _) = agreed(first, ALL);
    let text = reoffer(&LocalMedia { session_version: 4, ..local() }, &audio(ALL), &terms);
    let media: Vec<_> = text.split("\r\n").filter(|l| l.starts_with("m=")).collect();
    assert_eq!(media, ["m=video 0 RTP/AVP 97", "m=audio 20000 RTP/AVPF 101 0 8 96 111", "m=image 0 udptl t38"]);
    assert!(text.contains("o=- 4711 4 IN IP4 192.0.2.1\r\n") && text.contains("a=rtcp-mux\r\n"), "{text}");
    let far = LocalMedia { rtp_port: 4000, rtcp_port: 4001, address: IpAddr::from([192, 0, 2, 9]), ..local() };
    let (_, reply) = answer(&Offer::parse(&text).unwrap(), &far, &audio(ALL)).unwrap();
    let (after, _) = accept(&Offer::parse(&reply.sdp).unwrap(), &local(), &audio(ALL), Some(&terms)).unwrap();
    assert_eq!((after.audio.pt, after.audio.rtcp_mux, &after.shape), (101, true, &terms.shape));
}

#[test]
fn what_is_not_sdp_is_the_peers_fault_in_one_printable_line() {
    let long = format!("v=0\r\n{}", "a=x\r\n".repeat(parse::MAX_LINES));
    let wide = format!("v=0\r\na={}\r\n", "x".repeat(parse::MAX_BYTES));
    let many = format!("v=0\r\n{}", "m=audio 0 RTP/AVP 0\r\n".repeat(parse::MAX_MEDIA + 1));
    for bad in [
        "",
        "hello",
        "v=1\r\n",
        "v=\u{7}\u{202e}evil\r\n",
        "m=audio 4000 RTP/AVP 0\r\n",
        "v=0\r\nm=audio 99999 RTP/AVP 0\r\n",
        "v=0\r\nm=audio\r\n",
        "v=0\r\nc=IN IP4\r\n",
        "v=0\r\nxx=1\r\n",
        &long,
        &wide,
        &many,
    ] {
        let error = Offer::parse(bad).unwrap_err();
        let Error::Peer(text) = &error else { panic!("{error:?}") };
        assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' ') && text.len() < 200, "{text}");
    }
    // A rejected line without formats is common enough.
    assert!(Offer::parse("v=0\r\nm=video 0 RTP/AVP\r\n").is_ok());
}

fn any_line() -> impl Strategy<Value = String> {
    let word = "[ -~]{0,20}";
    prop_oneof![
        "a=(rtpmap|fmtp|extmap|rtcp|ptime|maxptime):[0-9]{0,4}[ /][ -~]{0,30}",
        "a=rtpmap:[0-9]{1,3} (opus|PCMU|telephone-event|CN)/(8000|48000)(/[0-9])?",
        "a=fmtp:[0-9]{1,3} ([a-z]{1,20}=[0-9]{0,12};?){0,4}",
        "a=(sendonly|recvonly|inactive|sendrecv|rtcp-mux)",
        "m=(audio|video) [0-9]{1,5}(/[0-9])? (RTP/AVP|RTP/SAVP|udptl) ([0-9]{1,3} ){0,6}",
        "c=IN IP[46] [0-9a-f.:/]{0,20}",
        word.prop_map(|w| format!("a={w}")),
        word.prop_map(|w| w),
    ]
}

proptest! {
    #![proptest_config(crate::rtp::seeded())]
    #[test]
    fn any_text_never_panics(text in ".{0,300}") {
        let _ = Offer::parse(&text);
    }

    #[test]
    fn any_lines_never_panic_and_every_answer_is_sound(lines in proptest::collection::vec(any_line(), 0..30)) {
        let text = format!("v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0 96\r\n{}\r\n", lines.join("\r\n"));
        let Ok(parsed) = Offer::parse(&text) else { return Ok(()) };
        let Ok((terms, reply)) = answer(&parsed, &local(), &audio(ALL)) else { return Ok(()) };
        prop_assert!([20, 40, 60].contains(&terms.audio.ptime_ms));
        prop_assert!(terms.audio.pt < 128 && terms.audio.dtmf.len() <= 4);
        let read = Offer::parse(&reply.sdp).expect("our answer parses");
        prop_assert_eq!(read.lines.len(), parsed.lines.len());
        prop_assert_eq!(read.lines.iter().filter(|l| l.port != 0).count(), 1);
        for (ours, theirs) in read.lines.iter().zip(&parsed.lines) {
            prop_assert_eq!(&ours.media, &theirs.media);
            prop_assert_eq!(&ours.proto, &theirs.proto);
        }
        let again = Offer::parse(&reoffer(&local(), &audio(ALL), &terms)).expect("our offer parses");
        prop_assert_eq!(again.lines.len(), parsed.lines.len());
        let _ = accept(&parsed, &local(), &audio(ALL), Some(&terms));
    }
}
