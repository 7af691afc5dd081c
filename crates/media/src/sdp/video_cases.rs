//! Offers of video as real clients write them, and what must come of each. Tests only.

use std::net::IpAddr;

use proptest::prelude::*;

use super::cases::{ALL, audio, lines, local};
use super::video::Feedback;
use super::*;
use crate::units::{Bitrate, FrameRate, Resolution};

fn hd() -> VideoCapabilities {
    VideoCapabilities {
        codecs: vec![VideoCodec::H264, VideoCodec::Vp8],
        resolution: Resolution::new(1280, 720).unwrap(),
        framerate: FrameRate::per_second(30),
        bitrate: Bitrate::kbps(1024),
    }
}

fn all() -> Capabilities {
    Capabilities { audio: ALL.to_vec(), video: Some(hd()) }
}

fn with_ports() -> LocalMedia {
    LocalMedia { video: Some(LocalVideo { rtp_port: 20_002, rtcp_port: 20_003 }), ..local() }
}

fn far() -> LocalMedia {
    LocalMedia {
        rtp_port: 4000,
        rtcp_port: 4001,
        video: Some(LocalVideo { rtp_port: 4002, rtcp_port: 4003 }),
        address: IpAddr::from([192, 0, 2, 9]),
        ..local()
    }
}

fn agreed(sdp: &str) -> (SessionTerms, Answer) {
    answer(&Offer::parse(sdp).unwrap(), &with_ports(), &all()).unwrap_or_else(|e| panic!("{e}\n{sdp}"))
}

fn video(sdp: &str) -> VideoTerms {
    agreed(sdp).0.video.unwrap_or_else(|| panic!("no video\n{sdp}"))
}

/// PCMU, and below it what the test is about.
fn plain(rest: &[&str]) -> String {
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    rest.iter().fold(head.to_owned(), |sdp, line| sdp + line + "\r\n")
}

/// A video line of these formats (`m=` written so), with more below.
fn with_video(formats: &str, rest: &[&str]) -> String {
    let media = format!("m=video 4002 RTP/AVP {formats}");
    let lines: Vec<&str> = std::iter::once(media.as_str()).chain(rest.iter().copied()).collect();
    plain(&lines)
}

fn media_lines(sdp: &str) -> Vec<&str> {
    sdp.split("\r\n").filter(|l| l.starts_with("m=")).collect()
}

const NONE: Feedback = Feedback { nack: false, pli: false, fir: false, remb: false, tmmbr: false };

struct Case {
    client: &'static str,
    sdp: &'static str,
    codec: VideoCodec,
    pt: u8,
    mode: u8,
    profile: Option<&'static str>,
    remote: &'static str,
    rtcp: &'static str,
    feedback: Feedback,
    /// It takes 1280×720 at 30.
    takes: bool,
    max_kbps: Option<u32>,
    media: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        client: "Linphone: AVPF, VP8 first",
        sdp: "v=0\r\no=bob 812 3001 IN IP4 192.0.2.9\r\ns=Talk\r\nc=IN IP4 192.0.2.9\r\nb=AS:1500\r\nt=0 0\r\n\
            a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\r\n\
            m=audio 7078 RTP/AVPF 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/48000\r\n\
            a=rtcp-fb:* trr-int 5000\r\na=rtcp-fb:* ccm tmmbr\r\n\
            m=video 9078 RTP/AVPF 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n\
            a=fmtp:97 profile-level-id=42801F; packetization-mode=1\r\na=rtcp-fb:* trr-int 5000\r\na=rtcp-fb:* ccm tmmbr\r\n\
            a=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 nack sli\r\na=rtcp-fb:96 ack rpsi\r\na=rtcp-fb:96 ccm fir\r\n\
            a=rtcp-fb:97 nack pli\r\na=rtcp-fb:97 ccm fir\r\n",
        codec: VideoCodec::H264,
        pt: 97,
        mode: 1,
        profile: Some("42801f"),
        remote: "192.0.2.9:9078",
        rtcp: "192.0.2.9:9079",
        feedback: Feedback { pli: true, fir: true, tmmbr: true, ..NONE },
        takes: true,
        // 1,500 with headers, less those and the audio.
        max_kbps: Some(1_329),
        media: &["m=audio 20000 RTP/AVPF 96 101", "m=video 20002 RTP/AVPF 97"],
    },
    Case {
        client: "Zoiper: VP8 only, no feedback",
        sdp: "v=0\r\no=Z 1719 1719 IN IP4 192.0.2.9\r\ns=Z\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            m=audio 8000 RTP/AVP 106 0 8 98 101\r\na=rtpmap:106 opus/48000/2\r\na=fmtp:106 minptime=20; useinbandfec=1\r\n\
            a=rtpmap:98 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\na=rtcp-mux\r\n\
            m=video 8002 RTP/AVP 100\r\na=rtpmap:100 VP8/90000\r\na=sendrecv\r\na=rtcp-mux\r\n",
        codec: VideoCodec::Vp8,
        pt: 100,
        mode: 0,
        profile: None,
        remote: "192.0.2.9:8002",
        rtcp: "192.0.2.9:8002",
        feedback: NONE,
        takes: true,
        max_kbps: None,
        media: &["m=audio 20000 RTP/AVP 106 98", "m=video 20002 RTP/AVP 100"],
    },
    Case {
        client: "Cisco desk phone: High, Baseline in both modes, slides and BFCP",
        sdp: "v=0\r\no=Cisco-SIPUA 7 0 IN IP4 192.0.2.9\r\ns=SIP Call\r\nb=AS:4064\r\nt=0 0\r\na=cisco-mari:v1\r\n\
            m=audio 21516 RTP/AVP 0 8 101\r\nc=IN IP4 192.0.2.9\r\nb=TIAS:64000\r\na=rtpmap:101 telephone-event/8000\r\n\
            a=fmtp:101 0-15\r\na=sendrecv\r\n\
            m=video 30124 RTP/AVP 100 126 97\r\nc=IN IP4 192.0.2.9\r\nb=TIAS:2000000\r\na=rtpmap:100 H264/90000\r\n\
            a=fmtp:100 profile-level-id=640C16;packetization-mode=1;level-asymmetry-allowed=1;max-mbps=108000;max-fs=3600\r\n\
            a=imageattr:* recv [x=800,y=480,q=0.60]\r\na=rtpmap:126 H264/90000\r\n\
            a=fmtp:126 profile-level-id=428016;packetization-mode=1;level-asymmetry-allowed=1;max-mbps=108000;max-fs=3600\r\n\
            a=rtpmap:97 H264/90000\r\n\
            a=fmtp:97 profile-level-id=428016;packetization-mode=0;level-asymmetry-allowed=1;max-mbps=108000;max-fs=3600\r\n\
            a=rtcp-fb:* nack pli\r\na=rtcp-fb:* ccm fir\r\na=rtcp-fb:* ccm tmmbr\r\na=content:main\r\na=sendrecv\r\n\
            m=video 30126 RTP/AVP 126\r\nc=IN IP4 192.0.2.9\r\na=rtpmap:126 H264/90000\r\na=content:slides\r\n\
            m=application 5070 UDP/BFCP *\r\nc=IN IP4 192.0.2.9\r\na=floorctrl:c-s\r\n",
        codec: VideoCodec::H264,
        pt: 126,
        mode: 1,
        profile: Some("42801f"),
        remote: "192.0.2.9:30124",
        rtcp: "192.0.2.9:30125",
        feedback: Feedback { pli: true, fir: true, tmmbr: true, ..NONE },
        takes: true,
        max_kbps: Some(2_000),
        media: &[
            "m=audio 20000 RTP/AVP 0 101",
            "m=video 20002 RTP/AVP 126",
            "m=video 0 RTP/AVP 126",
            "m=application 0 UDP/BFCP *",
        ],
    },
    Case {
        client: "Polycom: CIF, and a fixed type of another codec",
        sdp: "v=0\r\no=- 1718901 1718901 IN IP4 192.0.2.9\r\ns=Polycom IP Phone\r\nc=IN IP4 192.0.2.9\r\nb=AS:512\r\n\
            t=0 0\r\na=sendrecv\r\nm=audio 2222 RTP/AVP 9 0 8 127\r\na=rtpmap:9 G722/8000\r\n\
            a=rtpmap:127 telephone-event/8000\r\n\
            m=video 2224 RTP/AVP 109 34\r\na=rtpmap:109 H264/90000\r\na=fmtp:109 profile-level-id=42800d\r\n\
            a=rtpmap:34 H263/90000\r\na=fmtp:34 CIF=1;QCIF=1\r\n",
        codec: VideoCodec::H264,
        pt: 109,
        mode: 0,
        profile: Some("42800d"),
        remote: "192.0.2.9:2224",
        rtcp: "192.0.2.9:2225",
        feedback: NONE,
        takes: false,
        // 512 with headers: less those and the audio.
        max_kbps: Some(390),
        media: &["m=audio 20000 RTP/AVP 0 127", "m=video 20002 RTP/AVP 109"],
    },
    Case {
        client: "Yealink: 42, 4D and 64 side by side",
        sdp: "v=0\r\no=- 20004 20004 IN IP4 192.0.2.9\r\ns=SDP data\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            m=audio 11780 RTP/AVP 9 8 0 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
            a=ptime:20\r\na=sendrecv\r\n\
            m=video 11782 RTP/AVP 104 105 99 106\r\nb=AS:2048\r\na=rtpmap:104 H264/90000\r\n\
            a=fmtp:104 profile-level-id=64001F; packetization-mode=1; max-mbps=108000\r\na=rtpmap:105 H264/90000\r\n\
            a=fmtp:105 profile-level-id=4D001F; packetization-mode=1\r\na=rtpmap:99 H264/90000\r\n\
            a=fmtp:99 profile-level-id=42801E; packetization-mode=0\r\na=rtpmap:106 H264/90000\r\n\
            a=fmtp:106 profile-level-id=42801F; packetization-mode=0\r\na=rtcp-fb:* ccm fir\r\na=sendrecv\r\n",
        codec: VideoCodec::H264,
        pt: 106,
        mode: 0,
        profile: Some("42801f"),
        remote: "192.0.2.9:11782",
        rtcp: "192.0.2.9:11783",
        feedback: Feedback { fir: true, ..NONE },
        takes: true,
        max_kbps: Some(1_929),
        media: &["m=audio 20000 RTP/AVP 8 101", "m=video 20002 RTP/AVP 106"],
    },
    Case {
        client: "Grandstream: parameters on lines of their own, RTCP elsewhere",
        sdp: "v=0\r\no=1001 8000 8000 IN IP4 192.0.2.9\r\ns=SIP Call\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            m=audio 5004 RTP/AVP 0 8 101\r\na=sendrecv\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=rtpmap:8 PCMA/8000\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
            m=video 5006 RTP/AVP 99\r\nb=AS:1024\r\na=sendrecv\r\na=rtcp:6007 IN IP4 192.0.2.10\r\na=rtpmap:99 H264/90000\r\n\
            a=fmtp:99 profile-level-id=428020\r\na=fmtp:99 packetization-mode=1\r\na=framerate:15\r\n",
        codec: VideoCodec::H264,
        pt: 99,
        mode: 1,
        profile: Some("42801f"),
        remote: "192.0.2.9:5006",
        rtcp: "192.0.2.10:6007",
        feedback: NONE,
        takes: true,
        max_kbps: Some(956),
        media: &["m=audio 20000 RTP/AVP 0 101", "m=video 20002 RTP/AVP 99"],
    },
    Case {
        client: "baresip: AVP with feedback lines",
        sdp: "v=0\r\no=- 2838063104 1203917563 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            a=tool:baresip 3.1.0\r\nm=audio 10230 RTP/AVP 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\n\
            a=rtpmap:101 telephone-event/8000\r\na=rtcp:10231\r\na=sendrecv\r\na=label:1\r\na=rtcp-rsize\r\na=ptime:20\r\n\
            m=video 10232 RTP/AVP 97 98\r\na=rtpmap:97 H264/90000\r\n\
            a=fmtp:97 packetization-mode=0;profile-level-id=42e01f\r\na=rtpmap:98 VP8/90000\r\na=fmtp:98 max-fs=3600\r\n\
            a=rtcp:10233\r\na=sendrecv\r\na=label:2\r\na=rtcp-rsize\r\na=ssrc:1 cname:x\r\na=framerate:30.00\r\n\
            a=rtcp-fb:* nack\r\na=rtcp-fb:* nack pli\r\na=rtcp-fb:* ccm fir\r\na=content:main\r\n",
        codec: VideoCodec::H264,
        pt: 97,
        mode: 0,
        profile: Some("42e01f"),
        remote: "192.0.2.9:10232",
        rtcp: "192.0.2.9:10233",
        feedback: Feedback { nack: true, pli: true, fir: true, ..NONE },
        takes: true,
        max_kbps: Some(14_000),
        media: &["m=audio 20000 RTP/AVP 96 101", "m=video 20002 RTP/AVP 97"],
    },
    Case {
        client: "Jitsi, video above the audio",
        sdp: "v=0\r\no=alice-jitsi.org 0 0 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
            m=video 5006 RTP/AVP 105 99\r\na=rtpmap:105 h264/90000\r\n\
            a=fmtp:105 profile-level-id=4DE01f;packetization-mode=1\r\na=imageattr:105 send * recv [x=[1:1920],y=[1:1080]]\r\n\
            a=rtpmap:99 h264/90000\r\na=fmtp:99 profile-level-id=4DE01f\r\n\
            m=audio 5004 RTP/AVP 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
            a=extmap:1 urn:ietf:params:rtp-hdrext:csrc-audio-level\r\n",
        codec: VideoCodec::H264,
        pt: 105,
        mode: 1,
        profile: Some("4de01f"),
        remote: "192.0.2.9:5006",
        rtcp: "192.0.2.9:5007",
        feedback: NONE,
        takes: true,
        max_kbps: Some(14_000),
        media: &["m=video 20002 RTP/AVP 105", "m=audio 20000 RTP/AVP 96 101"],
    },
    Case {
        client: "MicroSIP (pjsip): level 1e, TIAS",
        sdp: "v=0\r\no=- 3902738400 3902738400 IN IP4 192.0.2.9\r\ns=pjmedia\r\nb=AS:341\r\nt=0 0\r\na=X-nat:0\r\n\
            m=audio 4000 RTP/AVP 8 0 120\r\nc=IN IP4 192.0.2.9\r\nb=TIAS:64000\r\na=rtcp:4001 IN IP4 192.0.2.9\r\na=sendrecv\r\n\
            a=rtpmap:120 telephone-event/8000\r\na=fmtp:120 0-16\r\n\
            m=video 4002 RTP/AVP 97\r\nc=IN IP4 192.0.2.9\r\nb=TIAS:256000\r\na=rtcp:4003 IN IP4 192.0.2.9\r\na=sendrecv\r\n\
            a=rtpmap:97 H264/90000\r\na=fmtp:97 profile-level-id=42e01e; packetization-mode=1\r\n\
            a=ssrc:987 cname:abc\r\na=rtcp-fb:* nack pli\r\n",
        codec: VideoCodec::H264,
        pt: 97,
        mode: 1,
        profile: Some("42e01e"),
        remote: "192.0.2.9:4002",
        rtcp: "192.0.2.9:4003",
        feedback: Feedback { pli: true, ..NONE },
        takes: false,
        // The session's 341 with headers leaves less than the line's 256.
        max_kbps: Some(227),
        media: &["m=audio 20000 RTP/AVP 8 120", "m=video 20002 RTP/AVP 97"],
    },
];

#[test]
fn real_offers_of_video_are_answered() {
    for case in CASES {
        let client = case.client;
        let (terms, answer) = agreed(case.sdp);
        let video = terms.video.unwrap_or_else(|| panic!("{client}"));
        assert_eq!((video.codec, video.pt, video.packetization_mode), (case.codec, case.pt, case.mode), "{client}");
        assert_eq!(answer.video, Some(case.codec), "{client}");
        let profile = video.profile_level_id.map(|[a, b, c]| format!("{a:02x}{b:02x}{c:02x}"));
        assert_eq!(profile.as_deref(), case.profile, "{client}");
        assert_eq!(video.remote_rtp, Some(case.remote.parse().unwrap()), "{client}");
        assert_eq!(video.remote_rtcp, Some(case.rtcp.parse().unwrap()), "{client}");
        assert_eq!(video.rtcp_mux, video.remote_rtcp == video.remote_rtp, "{client}");
        assert_eq!(video.feedback, case.feedback, "{client}");
        assert_eq!(video.limits.takes(hd().resolution, hd().framerate), case.takes, "{client}");
        assert_eq!(video.limits.max_bitrate.map(|b| b.as_bps() / 1000), case.max_kbps, "{client}");
        assert_eq!((video.direction, video.on_hold()), (Direction::SendRecv, false), "{client}");
        assert_eq!(video.avpf, case.sdp.contains("m=video 9078 RTP/AVPF"), "{client}");
        assert_eq!(media_lines(&answer.sdp), case.media, "{client}");
        // The audio is what it would be without video, and so is the session for who has no ports for it.
        let offer = Offer::parse(case.sdp).unwrap();
        for (local, can) in [(local(), all()), (with_ports(), audio(ALL))] {
            let (without, refusal) = super::answer(&offer, &local, &can).unwrap();
            assert_eq!((&without.audio, &without.video, refusal.video), (&terms.audio, &None, None), "{client}");
            assert!(media_lines(&refusal.sdp).iter().all(|l| !l.starts_with("m=video") || l.starts_with("m=video 0 ")));
        }
    }
}

#[test]
fn an_answer_with_video_reads_as_a_whole() {
    let (_, answer) = agreed(CASES[2].sdp);
    assert_eq!(
        lines(&answer),
        [
            "v=0",
            "o=- 4711 3 IN IP4 192.0.2.1",
            "s=-",
            "c=IN IP4 192.0.2.1",
            "t=0 0",
            "m=audio 20000 RTP/AVP 0 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            "a=maxptime:60",
            "a=sendrecv",
            "m=video 20002 RTP/AVP 126",
            "b=AS:1095",
            "b=TIAS:1024000",
            "a=rtpmap:126 H264/90000",
            "a=fmtp:126 profile-level-id=42801f;packetization-mode=1;level-asymmetry-allowed=1",
            "a=sendrecv",
            "a=rtcp-fb:* nack pli",
            "a=rtcp-fb:* ccm fir",
            "a=rtcp-fb:* ccm tmmbr",
            "m=video 0 RTP/AVP 126",
            "m=application 0 UDP/BFCP *",
        ]
    );
    let (_, answer) = agreed(CASES[1].sdp);
    assert!(lines(&answer).ends_with(&[
        "m=video 20002 RTP/AVP 100",
        "b=AS:1095",
        "b=TIAS:1024000",
        "a=rtpmap:100 VP8/90000",
        "a=fmtp:100 max-fs=3600;max-fr=30",
        "a=sendrecv",
        "a=rtcp-mux",
    ]));
}

#[test]
fn our_offer_reads_as_a_whole() {
    let text = offer(&with_ports(), &all());
    let expected = "m=video 20002 RTP/AVP 97 98 99\r\nb=AS:1095\r\nb=TIAS:1024000\r\na=rtpmap:97 H264/90000\r\n\
        a=fmtp:97 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\na=rtpmap:98 H264/90000\r\n\
        a=fmtp:98 profile-level-id=42e01f;packetization-mode=0;level-asymmetry-allowed=1\r\na=rtpmap:99 VP8/90000\r\n\
        a=fmtp:99 max-fs=3600;max-fr=30\r\na=sendrecv\r\na=rtcp-fb:* nack\r\na=rtcp-fb:* nack pli\r\n\
        a=rtcp-fb:* ccm fir\r\na=rtcp-fb:* ccm tmmbr\r\na=rtcp-fb:* goog-remb\r\n";
    assert!(text.ends_with(expected), "{text}");
    // Without video, nothing of it.
    let plain = offer(&local(), &all());
    assert!(text.starts_with(plain.as_str()));
    assert_eq!(offer(&with_ports(), &audio(ALL)), plain);
}

#[test]
fn formats_are_chosen_by_what_takes_the_picture_then_codec_mode_and_level() {
    let h264 = |pt: u8, rest: &str| [format!("a=rtpmap:{pt} H264/90000"), format!("a=fmtp:{pt} {rest}")];
    let vp8 = |pt: u8, rest: &str| [format!("a=rtpmap:{pt} VP8/90000"), format!("a=fmtp:{pt} {rest}")];
    type Formats = Vec<[String; 2]>;
    let cases: [(&str, Formats, Option<u8>); 9] = [
        ("ours goes first", vec![vp8(96, ""), h264(97, "profile-level-id=42801f")], Some(97)),
        (
            "unless only the other takes it",
            vec![vp8(96, "max-fs=3600;max-fr=30"), h264(97, "profile-level-id=42800d")],
            Some(96),
        ),
        (
            "mode 1",
            vec![
                h264(96, "profile-level-id=42801f"),
                h264(97, "profile-level-id=42801f;packetization-mode=1"),
                h264(98, "profile-level-id=42801f;packetization-mode=2"),
            ],
            Some(97),
        ),
        ("level", vec![h264(96, "profile-level-id=42801f"), h264(97, "profile-level-id=428028")], Some(97)),
        ("the offer's order", vec![h264(96, "profile-level-id=42001f"), h264(97, "profile-level-id=42e01f")], Some(96)),
        ("Main and High are left alone", vec![h264(96, "profile-level-id=64001f"), vp8(97, "")], Some(97)),
        ("and no video is left", vec![h264(96, "profile-level-id=64001f"), h264(97, "profile-level-id=4d001f")], None),
        ("what cannot be read", vec![h264(96, "profile-level-id=zzzzzz")], None),
        ("nobody takes it", vec![vp8(96, "max-fs=396"), h264(97, "profile-level-id=42800d")], Some(97)),
    ];
    for (what, formats, expected) in cases {
        let attributes: Vec<&str> = formats.iter().flatten().map(String::as_str).collect();
        let (terms, _) = agreed(&with_video("96 97 98", &attributes));
        assert_eq!(terms.video.map(|v| v.pt), expected, "{what}");
    }
    let other_order = VideoCapabilities { codecs: vec![VideoCodec::Vp8, VideoCodec::H264], ..hd() };
    let can = Capabilities { video: Some(other_order), ..all() };
    let (terms, _) = answer(&Offer::parse(CASES[0].sdp).unwrap(), &with_ports(), &can).unwrap();
    assert_eq!(terms.video.unwrap().codec, VideoCodec::Vp8);
    let nothing = Capabilities { video: Some(VideoCapabilities { codecs: Vec::new(), ..hd() }), ..all() };
    assert_eq!(offer(&with_ports(), &nothing), offer(&local(), &all()));
}

#[test]
fn only_the_camera_on_a_usable_transport_is_taken() {
    let vp8 = "a=rtpmap:96 VP8/90000";
    let port = |rest: &[&str]| agreed(&plain(rest)).0.video.and_then(|v| v.remote_rtp).map(|to| to.port());
    assert_eq!(port(&["m=video 6000 RTP/AVP 96", vp8, "a=content:slides", "m=video 6002 RTP/AVP 96", vp8]), Some(6002));
    assert_eq!(port(&["m=video 6000 RTP/AVP 96", vp8, "m=video 6002 RTP/AVP 96", vp8, "a=content:main"]), Some(6000));
    assert_eq!(port(&["m=video 6000 RTP/SAVP 96", vp8, "m=video 6002 RTP/AVPF 96", vp8]), Some(6002));
    assert_eq!(port(&["m=video 6000 RTP/AVP 34", "m=video 6002 RTP/AVP 96", vp8]), Some(6002));
    assert_eq!(port(&["m=video 0 RTP/AVP 96", vp8]), None);
    assert_eq!(port(&["m=video 6000 RTP/AVP 96", vp8, "a=content:slides,alt"]), None);
    assert_eq!(port(&["m=video 6000 UDP/TLS/RTP/SAVPF 96", vp8]), None);
    assert_eq!(port(&["m=video 6000 RTP/AVP 96", "a=rtpmap:96 VP8/48000"]), None);
    assert_eq!(port(&["m=video 6000 RTP/AVP 96"]), None);
    assert_eq!(port(&["m=image 6000 RTP/AVP 96", vp8]), None);
}

#[test]
fn vp8_limits_are_the_far_ends() {
    let takes = |fmtp: &str, width, height, framerate| {
        let terms = video(&with_video("96", &["a=rtpmap:96 VP8/90000", &format!("a=fmtp:96 {fmtp}")]));
        terms.limits.takes(Resolution::new(width, height).unwrap(), FrameRate::per_second(framerate))
    };
    assert!(takes("", 1920, 1920, 60));
    assert!(takes("max-fs=3600;max-fr=30", 1280, 720, 30));
    assert!(!takes("max-fs=3600; max-fr=30", 1280, 720, 31));
    assert!(!takes("max-fs=1200;max-fr=30", 1280, 720, 15));
    assert!(takes("max-fs=1200;max-fr=30", 640, 480, 30));
    assert!(!takes("max-fr=15", 144, 144, 30));
    assert!(takes("max-fs=0;max-fr=0", 1920, 1080, 30));
    assert!(takes("max-fs=99999999999;max-fr=-3;;=;max-fs", 1920, 1080, 30));
    assert!(!takes("max-fs=1;max-fr=4294967295", 32, 16, 1));
}

#[test]
fn bandwidth_is_the_smaller_of_line_and_session_and_nonsense_is_none() {
    let kbps = |session: &str, line: &str| {
        let sdp = with_video("96", &[line, "a=rtpmap:96 VP8/90000"]).replace("t=0 0", &format!("{session}\r\nt=0 0"));
        video(&sdp).limits.max_bitrate.map(|b| b.as_bps() / 1000)
    };
    for (session, line, expected) in [
        ("", "", None),
        ("", "b=TIAS:500000", Some(500)),
        ("", "b=tias: 500000", Some(500)),
        ("", "b=AS:500", Some(459)),
        ("", "b=AS:500.7", Some(459)),
        ("", "b=AS:20", Some(9)),
        ("", "b=AS:500\r\nb=TIAS:300000", Some(300)),
        ("", "b=AS:4294967295", Some(4_294_951)),
        ("", "b=AS:99999999999999999999999999", None),
        ("", "b=AS:0", None),
        ("", "b=AS", None),
        ("", "b=:::", None),
        ("", "b=CT:100", None),
        ("", "b=RS:100", None),
        ("b=TIAS:580000", "", Some(500)),
        ("b=TIAS:580000", "b=TIAS:400000", Some(400)),
        ("b=TIAS:580000", "b=TIAS:600000", Some(500)),
        ("b=TIAS:64000", "", Some(32)),
        ("b=AS:x", "", None),
    ] {
        assert_eq!(kbps(session, line), expected, "{session} {line}");
    }
}

#[test]
fn feedback_counts_for_our_payload_type_or_all() {
    let feedback = |lines: &[&str]| {
        let lines: Vec<&str> = ["a=rtpmap:96 VP8/90000"].iter().chain(lines).copied().collect();
        video(&with_video("96 97", &lines)).feedback
    };
    assert_eq!(feedback(&[]), NONE);
    assert_eq!(feedback(&["a=rtcp-fb:96 nack"]), Feedback { nack: true, ..NONE });
    assert_eq!(feedback(&["a=rtcp-fb:* NACK  PLI"]), Feedback { pli: true, ..NONE });
    assert_eq!(feedback(&["a=rtcp-fb:96 ccm fir tmmbr"]), Feedback { fir: true, ..NONE });
    assert_eq!(feedback(&["a=rtcp-fb:96 ccm tmmbr smaxpr=120"]), Feedback { tmmbr: true, ..NONE });
    assert_eq!(feedback(&["a=rtcp-fb:96 goog-remb"]), Feedback { remb: true, ..NONE });
    for other in ["97 nack", "96 nack sli", "96", "*", "", "96 ccm", "x nack", "300 nack", "96 transport-cc"] {
        assert_eq!(feedback(&[&format!("a=rtcp-fb:{other}")]), NONE, "{other}");
    }
}

#[test]
fn video_is_held_resumed_dropped_and_added_by_its_own_line() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let base = |attribute: &str| with_video("96", &["a=rtpmap:96 VP8/90000", attribute]);
    for (attribute, direction, held) in [
        ("a=sendrecv", SendRecv, false),
        ("a=sendonly", RecvOnly, true),
        ("a=recvonly", SendOnly, false),
        ("a=inactive", Inactive, true),
        ("c=IN IP4 0.0.0.0", RecvOnly, true),
    ] {
        let (terms, answer) = agreed(&base(attribute));
        let video = terms.video.unwrap();
        assert_eq!((video.direction, video.on_hold()), (direction, held), "{attribute}");
        assert_eq!((terms.audio.direction, answer.on_hold), (SendRecv, false), "{attribute}");
        assert_eq!(lines(&answer).last(), Some(&format!("a={}", direction.attribute()).as_str()));
    }
    let dropped = base("").replace("m=video 4002", "m=video 0");
    let (terms, answer) = agreed(&dropped);
    assert_eq!((terms.video, answer.video), (None, None));
    assert_eq!(media_lines(&answer.sdp), ["m=audio 20000 RTP/AVP 0", "m=video 0 RTP/AVP 96"]);
}

#[test]
fn our_offer_is_answered_by_ourselves_and_accepted() {
    let text = offer(&with_ports(), &all());
    let (theirs, reply) = answer(&Offer::parse(&text).unwrap(), &far(), &all()).unwrap();
    let (terms, accepted) = accept(&Offer::parse(&reply.sdp).unwrap(), &with_ports(), &all(), None).unwrap();
    let (video, theirs) = (terms.video.unwrap(), theirs.video.unwrap());
    assert_eq!((video.codec, video.pt, video.packetization_mode), (VideoCodec::H264, 97, 1));
    assert_eq!((video.profile_level_id, theirs.profile_level_id), (Some([0x42, 0xe0, 31]), Some([0x42, 0xe0, 31])));
    assert_eq!(video.remote_rtp, Some("192.0.2.9:4002".parse().unwrap()));
    assert_eq!(video.feedback, Feedback { nack: true, pli: true, fir: true, remb: true, tmmbr: true });
    assert_eq!((video.limits.max_bitrate, accepted.video), (Some(Bitrate::kbps(1024)), Some(VideoCodec::H264)));
}

#[test]
fn an_answer_without_video_is_accepted_and_its_line_stays() {
    for reply in [
        plain(&[]),
        with_video("97", &["a=rtpmap:97 H264/90000"]).replace("m=video 4002", "m=video 0"),
        with_video("34", &[]),
        with_video("97", &["a=rtpmap:97 H264/90000"]).replace("m=video 4002 RTP/AVP", "m=video 4002 RTP/SAVP"),
        plain(&["m=image 4002 RTP/AVP 97", "a=rtpmap:97 H264/90000"]),
    ] {
        let (terms, answer) = accept(&Offer::parse(&reply).unwrap(), &with_ports(), &all(), None).unwrap();
        assert_eq!((&terms.video, answer.video, terms.audio.pt), (&None, None, 0), "{reply}");
        // Asked for an offer, we offer it again in its place; when the room has no video any more, the place stays.
        let again = reoffer(&with_ports(), &all(), &terms);
        assert_eq!(media_lines(&again)[1..], ["m=video 20002 RTP/AVP 97 98 99"], "{reply}");
        let without = reoffer(&with_ports(), &audio(ALL), &terms);
        assert_eq!(media_lines(&without)[1..], ["m=video 0 RTP/AVP 0"], "{reply}");
    }
}

#[test]
fn an_answer_is_taken_as_the_far_end_means_it() {
    let taken = |formats: &str, rest: &[&str]| {
        let reply = with_video(formats, rest);
        accept(&Offer::parse(&reply).unwrap(), &with_ports(), &all(), None).unwrap().0.video.unwrap()
    };
    // It sends what it names first, so our own order does not count.
    let both = taken("99 97", &["a=rtpmap:99 VP8/90000", "a=rtpmap:97 H264/90000"]);
    assert_eq!((both.codec, both.pt), (VideoCodec::Vp8, 99));
    // Without parameters, single NAL units are safe.
    assert_eq!(taken("97", &["a=rtpmap:97 H264/90000"]).packetization_mode, 0);
    let high = taken("97", &["a=rtpmap:97 H264/90000", "a=fmtp:97 profile-level-id=64001f;packetization-mode=1"]);
    assert_eq!((high.packetization_mode, high.profile_level_id), (1, Some([0x42, 0xe0, 31])));
    let mux = taken("99", &["a=rtpmap:99 VP8/90000", "a=rtcp-mux"]);
    assert!(!mux.rtcp_mux && mux.remote_rtcp == Some("192.0.2.9:4003".parse().unwrap()));
}

#[test]
fn a_new_offer_keeps_the_video_where_and_what_it_was() {
    // Types that we would use ourselves mean something else here, and a refused line comes first.
    let first = "v=0\r\nc=IN IP4 192.0.2.9\r\nm=image 9 udptl t38\r\nm=video 4002 RTP/AVPF 98 97 99 101\r\n\
        a=rtpmap:98 H264/90000\r\na=fmtp:98 profile-level-id=428016;packetization-mode=1\r\na=rtpmap:97 VP8/90000\r\n\
        a=rtpmap:99 rtx/90000\r\na=rtpmap:101 red/90000\r\na=rtcp-mux\r\nm=audio 4000 RTP/AVP 0 100\r\n\
        a=rtpmap:100 telephone-event/8000\r\n";
    let (terms, _) = agreed(first);
    assert_eq!(terms.video.as_ref().map(|v| v.pt), Some(97));
    let h264_only = first.replace("VP8/90000", "VP9/90000");
    let (terms, _) = agreed(&h264_only);
    let text = reoffer(&with_ports(), &all(), &terms);
    let media = ["m=image 0 udptl t38", "m=video 20002 RTP/AVPF 98 96 102", "m=audio 20000 RTP/AVP 0 111 8 100 110"];
    assert_eq!(media_lines(&text), media);
    assert!(text.contains("a=fmtp:98 profile-level-id=42801f;packetization-mode=1;level-asymmetry-allowed=1\r\n"));
    assert_eq!(text.matches("a=rtcp-mux\r\n").count(), 1, "{text}");
    let (_, reply) = answer(&Offer::parse(&text).unwrap(), &far(), &all()).unwrap();
    let (after, _) = accept(&Offer::parse(&reply.sdp).unwrap(), &with_ports(), &all(), Some(&terms)).unwrap();
    let (before, video) = (terms.video.as_ref().unwrap(), after.video.as_ref().unwrap());
    assert_eq!(before.profile_level_id, Some([0x42, 0x80, 0x16]));
    // The level was bound to the far end's offer; our own offer states ours.
    assert_eq!((video.pt, video.rtcp_mux, video.profile_level_id), (98, true, Some([0x42, 0x80, 31])));
    assert_eq!(after.shape, terms.shape);
    // And once more: nothing drifts.
    assert_eq!(reoffer(&with_ports(), &all(), &after), text);
}

#[test]
fn a_session_without_a_video_line_gets_one_when_we_are_asked_for_an_offer() {
    let (terms, _) = agreed(&plain(&[]));
    assert_eq!(media_lines(&reoffer(&with_ports(), &all(), &terms))[1..], ["m=video 20002 RTP/AVP 97 98 99"]);
    assert_eq!(media_lines(&reoffer(&local(), &all(), &terms)).len(), 1);
    // A line of another transport is not ours to take up.
    let (terms, _) = agreed(&plain(&["m=video 6000 RTP/SAVP 96"]));
    assert_eq!(
        media_lines(&reoffer(&with_ports(), &all(), &terms))[1..],
        ["m=video 0 RTP/SAVP 96", "m=video 20002 RTP/AVP 97 98 99"]
    );
    let full = plain(&["m=image 0 udptl t38"; 31]);
    let (terms, _) = agreed(&full);
    let text = reoffer(&with_ports(), &all(), &terms);
    assert_eq!(media_lines(&text).len(), 32);
    let (after, _) = accept(&Offer::parse(&full).unwrap(), &with_ports(), &all(), Some(&terms)).unwrap();
    assert_eq!(after.video, None);
}

#[test]
fn ports_that_are_not_neighbours_are_named() {
    let odd = LocalMedia { video: Some(LocalVideo { rtp_port: 20_002, rtcp_port: 30_000 }), ..local() };
    let (_, answer) = answer(&Offer::parse(CASES[3].sdp).unwrap(), &odd, &all()).unwrap();
    assert_eq!(lines(&answer).last(), Some(&"a=rtcp:30000"));
}

#[test]
fn a_room_of_another_size_asks_for_its_own() {
    let portrait = VideoCapabilities {
        resolution: Resolution::new(1080, 1920).unwrap(),
        framerate: FrameRate::per_second(15),
        ..hd()
    };
    let text = offer(&with_ports(), &Capabilities { video: Some(portrait), ..all() });
    assert!(text.contains("profile-level-id=42e028;") && text.contains("max-fs=8160;max-fr=15"), "{text}");
    let tiny = VideoCapabilities { resolution: Resolution::new(144, 144).unwrap(), ..hd() };
    let text = offer(&with_ports(), &Capabilities { video: Some(tiny), ..all() });
    assert!(text.contains("profile-level-id=42e01f;") && text.contains("max-fs=396;max-fr=30"), "{text}");
}

#[test]
fn hostile_parameters_cost_nothing_but_themselves() {
    let long = format!("a=fmtp:96 {}", "max-fs=9;".repeat(7_000));
    let many: Vec<String> = (0..1_900).map(|n| format!("a=rtcp-fb:{} nack pli", n % 128)).collect();
    let many: Vec<&str> = ["a=rtpmap:96 H264/90000"].into_iter().chain(many.iter().map(String::as_str)).collect();
    assert!(video(&with_video("96", &many)).feedback.pli);
    for fmtp in [
        long.as_str(),
        "a=fmtp:96 profile-level-id=42e01f;max-fs=99999999999;max-mbps=99999999999;max-br=4294967295",
        "a=fmtp:96 max-fs=4294967295;max-mbps=4294967295;max-br=16711680",
        "a=fmtp:96 profile-level-id=420000;packetization-mode=1;level-asymmetry-allowed=7",
    ] {
        let terms = video(&with_video("96", &["a=rtpmap:96 H264/90000", fmtp]));
        assert!(terms.limits.takes(hd().resolution, hd().framerate), "{}", terms.pt);
    }
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        "a=(rtpmap|fmtp|rtcp-fb|rtcp|content|imageattr|framerate):[0-9*]{0,4}[ /][ -~]{0,30}",
        "a=rtpmap:(9[6-9]|[0-9]{1,3}) (H264|VP8|h264|VP9|H263)/(90000|8000)",
        "a=fmtp:(9[6-9]|[0-9]{1,3}) ((profile-level-id|packetization-mode|max-(fs|fr|mbps|br)|level-asymmetry-allowed)=[0-9a-zA-Z]{0,12};?){0,5}",
        "a=fmtp:9[6-9] profile-level-id=(42|4d|58|64|42e0|4280)[0-9a-f]{2,4};packetization-mode=[012]",
        "a=rtcp-fb:(\\*|9[6-9]) (nack|nack pli|ccm fir|ccm tmmbr|goog-remb|trr-int 5)",
        "a=(sendonly|recvonly|inactive|sendrecv|rtcp-mux|content:slides|content:main)",
        "m=(audio|video|application) [0-9]{1,5}(/[0-9])? (RTP/AVP|RTP/AVPF|RTP/SAVP) ([0-9]{1,3} ){0,6}",
        "b=(AS|TIAS|CT|as|[ -~]{0,5}):[0-9.]{0,25}",
        "c=IN IP4 (192.0.2.[0-9]|0.0.0.0|[0-9.]{0,20})",
        "[ab]=[ -~]{0,20}",
    ]
}

proptest! {
    #![proptest_config(crate::rtp::seeded())]
    #[test]
    fn any_lines_never_panic_and_every_answer_is_sound(rest in proptest::collection::vec(any_line(), 0..40)) {
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let text = with_video("96 97 98 99", &rest);
        let Ok(parsed) = Offer::parse(&text) else { return Ok(()) };
        let Ok((terms, reply)) = answer(&parsed, &with_ports(), &all()) else { return Ok(()) };
        let read = Offer::parse(&reply.sdp).expect("our answer parses");
        prop_assert_eq!(read.lines.len(), parsed.lines.len());
        let used = 1 + usize::from(terms.video.is_some());
        prop_assert_eq!(read.lines.iter().filter(|l| l.port != 0).count(), used);
        for (ours, theirs) in read.lines.iter().zip(&parsed.lines) {
            prop_assert_eq!(&ours.media, &theirs.media);
            prop_assert_eq!(&ours.proto, &theirs.proto);
            prop_assert!(ours.port == 0 || theirs.port != 0);
        }
        if let Some(video) = &terms.video {
            prop_assert!(video.pt < 128 && video.packetization_mode < 2);
            prop_assert_eq!(video.profile_level_id.is_some(), video.codec == VideoCodec::H264);
            // We would take our own answer.
            let capabilities = Capabilities { video: Some(VideoCapabilities { codecs: vec![video.codec], ..hd() }), ..all() };
            let (mirrored, _) = answer(&read, &far(), &capabilities).expect("our answer is usable");
            prop_assert_eq!(mirrored.video.map(|v| (v.pt, v.codec)), Some((video.pt, video.codec)));
        }
        let again = reoffer(&with_ports(), &all(), &terms);
        let offered = Offer::parse(&again).expect("our offer parses");
        prop_assert!(offered.lines.iter().zip(&parsed.lines).all(|(ours, theirs)| ours.media == theirs.media));
        prop_assert!((0..=1).contains(&(offered.lines.len() - parsed.lines.len())));
        let (_, reply) = answer(&offered, &far(), &all()).expect("our offer is usable");
        let (after, _) = accept(&Offer::parse(&reply.sdp).expect("it parses"), &with_ports(), &all(), Some(&terms)).expect("agreed");
        prop_assert!(after.video.is_some() || offered.lines.len() == parse::MAX_MEDIA);
        let _ = accept(&parsed, &with_ports(), &all(), Some(&terms));
        let _ = accept(&parsed, &with_ports(), &all(), None);
    }
}
