//! baresip, a phone that nobody here wrote, with a camera in a VIDEO room: VP8 by libvpx, H.264 by libx264 and ffmpeg.

use crate::support::{h264, path_of, setup, shower, video_room, wait_participants, wait_recording};
use serde_json::json;
use testkit::baresip::Baresip;
use testkit::ffmpeg;
use testkit::phone::TONE_DB;
use testkit::picture::Colour;
use testkit::sdp::Codec;
use testkit::video_codec::VideoCodec;

#[test]
fn vp8_phone_is_seen() {
    is_seen(VideoCodec::Vp8, "VP8");
}

#[test]
fn h264_phone_is_seen() {
    is_seen(VideoCodec::H264, "H264");
}

fn is_seen(codec: VideoCodec, listed_as: &str) {
    let server = setup().legs(8).start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    anna.sees(160, 180, Colour::Red);
    let mut phone = Baresip::start_with_video("ben", Codec::Opus, 700.0, TONE_DB, codec);
    phone.call(&format!("sip:900@{}", server.sip_address()));
    wait_participants(&api, &room, 2);
    let id = api.participant(&room, "ben");
    let ben = api.participants(&room).into_iter().find(|p| p["id"] == *id).expect("listed");
    assert_eq!(ben["video_codec"], listed_as);
    // Its picture is as wide as its tile: the stripes are a third of it each.
    let stripes = [(373, 180, Colour::Red), (480, 180, Colour::Green), (587, 180, Colour::Blue)];
    anna.video.wait_colours(&stripes);
    // And it decodes what it is sent: the phone beside it, and itself.
    let whole: Vec<_> = [(160, 180, Colour::Red)].into_iter().chain(stripes).collect();
    phone.sees(&whole);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    anna.video.wait_pictures(30);
    api.act(&format!("/api/conference_rooms/{room}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = server.scratch("baresip.mp4");
    std::fs::write(&path, api.get(&path_of(&recording["file_url"])).expect(200).body).expect("a file");
    let last = ffmpeg::pictures(&path).expect("pictures").pop().expect("pictures");
    for (x, y, colour) in whole {
        assert_eq!(last.colour_at(x, y, 8), Some(colour), "{}", last.sketch(32, 18));
    }
    phone.hang_up();
    wait_participants(&api, &room, 1);
}
