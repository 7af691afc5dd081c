//! A phone with video calls a far end of a few lines, which answers with peers of this crate.

use super::*;
use crate::rtp_peer::RtpPeer;
use crate::sip_message::Message;
use crate::video_codec::VideoCodec;
use crate::wait;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

struct FarEnd {
    address: SocketAddr,
    video: Arc<VideoPeer>,
    /// How often it is to ask for a keyframe by INFO, and was asked.
    asks: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FarEnd {
    fn start(format: &VideoFormat) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let config = VideoConfig::new(std::slice::from_ref(format)).size(176, 144);
        let mut this = Self {
            address: socket.local_addr().unwrap(),
            video: Arc::new(VideoPeer::bind(config)),
            asks: Arc::default(),
            asked: Arc::default(),
            stop: Arc::default(),
            thread: None,
        };
        let (video, asks, asked, stop) = (this.video.clone(), this.asks.clone(), this.asked.clone(), this.stop.clone());
        this.thread = Some(std::thread::spawn(move || serve(&socket, &video, &asks, &asked, &stop)));
        this
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn serve(socket: &UdpSocket, video: &VideoPeer, asks: &AtomicU64, asked: &AtomicU64, stop: &AtomicBool) {
    let mut audio = RtpPeer::bind(PeerConfig::new(&[Codec::Pcmu]));
    let contact = format!("<sip:{}>", socket.local_addr().unwrap());
    let (mut buffer, mut dialog, mut infos) = ([0; 4096], None::<(Message, SocketAddr)>, 0);
    while !stop.load(Ordering::Relaxed) {
        if let Some((ok, to)) = dialog.as_ref().filter(|_| infos < asks.load(Ordering::Relaxed)) {
            infos += 1;
            let body = "<media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>";
            let info = Message::request("INFO", &format!("sip:x@{to}"))
                .with("Via", &format!("SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKinfo{infos}"))
                .with("Max-Forwards", "70")
                .with("From", ok.header("To").unwrap())
                .with("To", ok.header("From").unwrap())
                .with("Call-ID", ok.header("Call-ID").unwrap())
                .with("CSeq", &format!("{infos} INFO"))
                .with_body("application/media_control+xml", body);
            socket.send_to(&info.to_bytes(), to).unwrap();
        }
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let (mut message, _) = Message::parse(&buffer[..len], true).unwrap().unwrap();
        if message.code() != 0 || message.method() == "ACK" {
            continue;
        }
        let via = message.headers.iter_mut().find(|(name, _)| name == "Via").unwrap();
        via.1 = via.1.replace(";rport", &format!(";rport={}", from.port()));
        let mut ok = Message::response(&message, 200, "OK", "far").with("Contact", &contact);
        if message.method() == "INVITE" {
            let offer = Described::parse(&message.text()).unwrap();
            ok = ok.with_body("application/sdp", &answer(&mut audio, video, &offer).to_sdp());
            dialog = Some((ok.clone(), from));
        }
        if message.text().contains("picture_fast_update") {
            asked.fetch_add(1, Ordering::Relaxed);
            video.keyframe();
        }
        socket.send_to(&ok.to_bytes(), from).unwrap();
    }
}

fn answer(audio: &mut RtpPeer, video: &VideoPeer, offer: &Described) -> OfferSpec {
    audio.follow(offer.clone()).unwrap();
    let line = offer.video.as_ref().map(|offered| {
        video.accept(offered).unwrap();
        let mut line = video.offer();
        line.profile = if offered.profile == "RTP/AVP" { "RTP/AVP" } else { "RTP/AVPF" };
        line.feedback.retain(|kind| offered.has_feedback(kind));
        line.direction = match offered.direction.as_str() {
            "sendrecv" => "sendrecv",
            "sendonly" => "recvonly",
            "recvonly" => "sendonly",
            _ => "inactive",
        };
        if offered.is_refused() {
            line.address.set_port(0);
        }
        line
    });
    OfferSpec { video: line, version: offer.origin.1 as u32, ..audio.offer() }
}

fn call(format: &VideoFormat) -> VideoCall {
    let mut call = VideoCall::new(Codec::Pcmu, std::slice::from_ref(format));
    call.video = call.video.size(320, 180);
    call
}

#[test]
fn pictures_go_both_ways_and_video_is_held_dropped_and_added() {
    let format = VideoFormat::h264(96, 1, "42e01f");
    let far = FarEnd::start(&format);
    let mut bob = VideoPhone::dial_with(far.address, "900", "bob", call(&format)).unwrap();
    bob.show_colour(Colour::Red);
    far.video.show(scene::solid(Colour::Cyan));
    bob.sees(88, 72, Colour::Cyan);
    far.video.wait_colour(160, 90, Colour::Red);
    bob.phone.say(700.0);

    bob.video_direction("inactive").unwrap();
    assert_eq!(bob.answer().unwrap().direction, "inactive");
    bob.add_video().unwrap();
    far.video.wait_pictures(3);
    bob.drop_video().unwrap();
    assert!(bob.answer().unwrap().is_refused());
    far.video.show(scene::solid(Colour::Green));
    bob.show_colour(Colour::Yellow);
    bob.add_video().unwrap();
    bob.sees(88, 72, Colour::Green);
    far.video.wait_colour(160, 90, Colour::Yellow);
    assert_eq!(bob.video.seen().malformed, 0);
    bob.hang_up();
}

#[test]
fn call_may_begin_without_video_and_without_feedback() {
    let format = VideoFormat::vp8(98);
    let far = FarEnd::start(&format);
    let plain = VideoCall { begins_with_video: false, is_plain: true, ..call(&format) };
    let mut bob = VideoPhone::dial_with(far.address, "900", "bob", plain).unwrap();
    assert_eq!(bob.answer(), None);
    far.video.show(scene::solid(Colour::Blue));
    bob.add_video().unwrap();
    assert_eq!(bob.answer().unwrap().profile, "RTP/AVP");
    assert_eq!(bob.answer().unwrap().formats[0].codec, VideoCodec::Vp8);
    bob.sees(88, 72, Colour::Blue);
}

#[test]
fn keyframes_are_asked_for_by_info_both_ways() {
    let format = VideoFormat::h264(96, 0, "42e01f");
    let far = FarEnd::start(&format);
    let bob = VideoPhone::dial_with(far.address, "900", "bob", call(&format)).unwrap();
    bob.video.wait_pictures(2);
    far.video.wait_pictures(2);
    let (mine, theirs) = (bob.video.seen().keyframes, far.video.seen().keyframes);
    bob.info_keyframe();
    assert_eq!(far.asked.load(Ordering::Relaxed), 1);
    bob.video.wait_keyframe(mine);
    far.asks.store(1, Ordering::Relaxed);
    wait::until_true("an INFO", SOON, || bob.asked_by_info() == 1);
    far.video.wait_keyframe(theirs);
}

#[test]
fn answers_that_say_too_much_are_refused() {
    let offer = VideoOffer::new("127.0.0.1:4000".parse().unwrap(), &[VideoFormat::vp8(98)]);
    let read = |line: &VideoOffer| {
        let spec = OfferSpec {
            video: Some(line.clone()),
            ..OfferSpec::new("127.0.0.1:5000".parse().unwrap(), &[Codec::Pcmu])
        };
        Described::parse(&spec.to_sdp()).unwrap().video.unwrap()
    };
    assert_eq!(check(&offer, &read(&offer)), Ok(()));
    let held = VideoOffer { direction: "recvonly", ..offer.clone() };
    assert!(check(&held, &read(&offer)).is_err());
    assert!(check(&offer, &read(&offer.clone().plain())).is_err());
    assert!(check(&VideoOffer { feedback: vec!["nack"], ..offer.clone() }, &read(&offer)).is_err());
    let other = VideoOffer { formats: vec![VideoFormat::vp8(99)], ..offer.clone() };
    assert!(check(&offer, &read(&other)).is_err());
}
