//! VIDEO rooms end to end: coloured pictures go in, and are found at the right pixels of what each phone is sent.

use crate::support::{h264, setup, shower, video_room, wait_participants};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::api::Api;
use testkit::netem::Impairment;
use testkit::phone::{Phone, VideoCall, VideoPhone};
use testkit::picture::Colour;
use testkit::scene;
use testkit::sdp::{Codec, VideoFormat};
use testkit::server::Server;
use testkit::wait;

const ROOMS: &str = "/api/conference_rooms";
/// How long a change may take to be on the screen: the phones' own patience.
const SEEN: Duration = Duration::from_secs(10);

fn server(legs: u16) -> Server {
    // Two pairs of ports for each.
    setup().legs(2 * legs).start()
}

/// The middle of somebody's tile, as the API tells it.
#[track_caller]
fn middle(api: &Api, room: &str, name: &str) -> (usize, usize) {
    let id = api.participant(room, name);
    wait::until(&format!("a tile of {name}"), SEEN, || {
        let layout = api.get(&format!("{ROOMS}/{room}/layout")).expect(200).json();
        let tiles = layout["tiles"].as_array().expect("tiles");
        let tile = tiles.iter().find(|tile| tile["participant_id"] == *id).ok_or_else(|| layout.to_string())?;
        let side = |key: &str| tile[key].as_u64().expect("pixels") as usize;
        Ok((side("x") + side("width") / 2, side("y") + side("height") / 2))
    })
}

#[test]
fn everyone_sees_everyone_in_the_right_tile() {
    let server = server(6);
    let api = server.api();
    let room = video_room(&api, (640, 480), &json!({}));
    let shown = [("anna", Colour::Red), ("ben", Colour::Green), ("carla", Colour::Blue), ("dan", Colour::Yellow)];
    let vp8 = VideoFormat::vp8(98);
    let plain = VideoCall { is_plain: true, ..VideoCall::new(Codec::Pcmu, &[VideoFormat::h264(99, 0, "42800d")]) };
    let mut phones = vec![shower(&server, "anna", &h264(), shown[0].1), shower(&server, "ben", &vp8, shown[1].1)];
    phones.push(VideoPhone::dial_with(server.sip_address(), "900", "carla", plain).expect("answered"));
    phones[2].show_colour(shown[2].1);
    phones.push(shower(&server, "dan", &h264(), shown[3].1));
    let wanted: Vec<(usize, usize, Colour)> = shown
        .iter()
        .map(|(name, colour)| {
            let (x, y) = middle(&api, &room, name);
            (x, y, *colour)
        })
        .collect();
    let at = |quarter: usize| (160 + quarter % 2 * 320, 120 + quarter / 2 * 240);
    assert_eq!(wanted.iter().map(|w| (w.0, w.1)).collect::<Vec<_>>(), (0..4).map(at).collect::<Vec<_>>());
    for (phone, size) in phones.iter().zip([(640, 480), (640, 480), (320, 240), (640, 480)]) {
        // Level 1.3 holds 396 macroblocks: that phone gets the lower rendition.
        let scaled = |(x, y, colour): &(usize, usize, Colour)| (x * size.0 / 640, y * size.1 / 480, *colour);
        phone.video.wait_size(size.0, size.1);
        phone.video.wait_colours(&wanted.iter().map(scaled).collect::<Vec<_>>());
    }
    let listed = wait_participants(&api, &room, 4);
    let codecs: Vec<&Value> = listed.iter().map(|p| &p["video_codec"]).collect();
    assert_eq!(codecs, ["H264", "VP8", "H264", "H264"]);
    for phone in phones {
        phone.video.seen().check_clean().expect("a clean stream");
        phone.hang_up();
    }
}

#[test]
fn every_layout_and_size_is_drawn_as_the_api_tells_it_without_a_call_being_dropped() {
    let server = server(11);
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({"layout": "LAYOUT9"}));
    let names = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"];
    let call = || {
        let mut call = VideoCall::new(Codec::Pcmu, &[h264()]);
        call.video = call.video.size(192, 144).framerate(10);
        call.video.receiving.decodes = false;
        call
    };
    let phones: Vec<VideoPhone> = names
        .iter()
        .zip(Colour::TILES)
        .map(|(name, colour)| {
            let phone = VideoPhone::dial_with(server.sip_address(), "900", name, call()).expect("answered");
            phone.show(scene::solid(colour));
            phone
        })
        .collect();
    let viewer = VideoPhone::dial(server.sip_address(), "900", "viewer", &h264()).expect("answered");
    for (layout, size) in [
        ("LAYOUT9", (640, 360)),
        ("LAYOUT8", (640, 360)),
        ("LAYOUT7", (640, 360)),
        ("LAYOUT6", (720, 1280)),
        ("LAYOUT5", (720, 1280)),
        ("LAYOUT4", (144, 144)),
        ("LAYOUT3", (144, 144)),
        ("LAYOUT2", (1280, 720)),
        ("LAYOUT1", (1280, 720)),
        ("LAYOUT0", (352, 288)),
    ] {
        let change = json!({"layout": layout, "width": size.0, "height": size.1});
        api.post(&format!("{ROOMS}/{room}"), &change).expect(200);
        let drawn = api.get(&format!("{ROOMS}/{room}/layout")).expect(200).json();
        let colour_of = |id: &Value| {
            let at = names.iter().position(|name| *id == *api.participant(&room, name))?;
            Some(Colour::TILES[at])
        };
        let side = |tile: &Value, key: &str| tile[key].as_u64().expect("pixels") as usize;
        let wanted: Vec<(usize, usize, Colour)> = drawn["tiles"]
            .as_array()
            .expect("tiles")
            .iter()
            .filter_map(|tile| {
                let (x, y) = (side(tile, "x") + side(tile, "width") / 2, side(tile, "y") + side(tile, "height") / 2);
                Some((x, y, colour_of(&tile["participant_id"])?))
            })
            .collect();
        assert!(!wanted.is_empty(), "{layout}: {drawn}");
        // Level 3.1 does not hold 720x1280 turned: 3,600 macroblocks it does.
        viewer.video.wait_size(size.0, size.1);
        viewer.video.wait_colours(&wanted);
    }
    assert_eq!(api.participants(&room).len(), 10);
    drop(phones);
}

#[test]
fn phone_without_video_hears_and_is_a_name() {
    let server = server(4);
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    let ben = Phone::dial(server.sip_address(), "900", "ben", Codec::Pcmu).expect("answered");
    anna.phone.say(700.0);
    ben.hears(&[700.0], &[]);
    anna.sees(160, 180, Colour::Red);
    // Its tile has a background of its own: neither red nor the vacant grey.
    let drawn = anna.video.wait_picture("a name tile", |picture| {
        let vacant = picture.mean_at(480, 60, 8).ok_or("too small")?;
        if vacant[0] > 40.0 { Ok(()) } else { Err(format!("{vacant:?}")) }
    });
    assert_ne!(drawn.colour_at(480, 60, 8), Some(Colour::Red));
    let _room = room;
}

#[test]
fn video_is_added_held_and_dropped_by_re_invites() {
    let server = server(4);
    let api = server.api();
    video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    let call = VideoCall { begins_with_video: false, ..VideoCall::new(Codec::Opus, &[h264()]) };
    let mut ben = VideoPhone::dial_with(server.sip_address(), "900", "ben", call).expect("answered");
    ben.show_colour(Colour::Blue);
    anna.sees(160, 180, Colour::Red);
    ben.add_video().expect("agreed");
    ben.sees(160, 180, Colour::Red);
    anna.sees(480, 180, Colour::Blue);
    ben.video_direction("inactive").expect("agreed");
    let without = |what: &str| {
        anna.video.wait_picture(what, |picture| match picture.colour_at(480, 180, 8) {
            Some(Colour::Blue) => Err(picture.sketch(16, 9)),
            _ => Ok(()),
        });
    };
    without("the held one's name");
    ben.video_direction("sendrecv").expect("agreed");
    anna.sees(480, 180, Colour::Blue);
    ben.video.wait_pictures(5);
    ben.drop_video().expect("agreed");
    without("the name of whom has dropped video");
    assert_eq!(api.participants(&api_room(&api)).len(), 2);
}

/// The id of the only room.
fn api_room(api: &Api) -> String {
    api.get(ROOMS).expect(200).json()["items"][0]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn keyframes_are_made_when_they_are_asked_for_and_not_otherwise() {
    let server = server(4);
    let api = server.api();
    video_room(&api, (320, 240), &json!({"layout": "LAYOUT1"}));
    let anna = shower(&server, "anna", &h264(), Colour::Green);
    anna.sees(160, 120, Colour::Green);
    let before = anna.video.seen().keyframes;
    anna.video.wait_pictures(20);
    assert_eq!(anna.video.seen().keyframes, before, "nobody asked");
    anna.video.send_pli();
    let after = anna.video.wait_keyframe(before).keyframes;
    anna.video.wait_pictures(10);
    anna.video.send_fir();
    let after = anna.video.wait_keyframe(after).keyframes;
    anna.video.wait_pictures(10);
    anna.info_keyframe();
    anna.video.wait_keyframe(after);
}

#[test]
fn sender_is_asked_for_a_keyframe_by_info_where_it_lists_no_feedback() {
    let server = server(4);
    let api = server.api();
    video_room(&api, (320, 240), &json!({"layout": "LAYOUT1"}));
    let mut call = VideoCall { is_plain: true, ..VideoCall::new(Codec::Pcmu, &[h264()]) };
    call.video.receiving.plis = false;
    let anna = VideoPhone::dial_with(server.sip_address(), "900", "anna", call).expect("answered");
    anna.show_colour(Colour::Blue);
    anna.sees(160, 120, Colour::Blue);
    let room = api_room(&api);
    let before = anna.asked_by_info();
    // What is hidden is not decoded; shown again, it begins with a keyframe.
    let path = format!("{ROOMS}/{room}/participants/{}/position", api.participant(&room, "anna"));
    api.post(&path, &json!({"position": -1})).expect(200);
    anna.video.wait_picture("nobody", |picture| match picture.colour_at(160, 120, 8) {
        Some(Colour::Blue) => Err(picture.sketch(16, 9)),
        _ => Ok(()),
    });
    api.post(&path, &json!({"position": 0})).expect(200);
    anna.sees(160, 120, Colour::Blue);
    assert!(anna.asked_by_info() > before);
}

#[test]
fn loss_both_ways_is_repaired_and_is_over_when_it_ends() {
    let server = server(4);
    let api = server.api();
    video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    let ben = shower(&server, "ben", &VideoFormat::vp8(98), Colour::Cyan);
    anna.sees(480, 180, Colour::Cyan);
    ben.sees(160, 180, Colour::Red);
    for percent in [1.0, 5.0, 10.0] {
        let loss = Impairment { loss: percent / 100.0, ..Impairment::default() };
        anna.video.impair(loss.clone());
        ben.video.impair_receiving(loss);
        anna.video.wait_pictures(45);
        ben.video.wait_pictures(10);
        anna.video.impair(Impairment::default());
        ben.video.impair_receiving(Impairment::default());
        for (phone, x, colour) in [(&ben, 160, Colour::Red), (&anna, 480, Colour::Cyan)] {
            phone.video.forget();
            phone.video.wait_pictures(15);
            phone.sees(x, 180, colour);
        }
    }
    assert!(anna.video.sent().resent > 0, "the server asks again for what is lost");
    assert!(ben.video.seen().repaired > 0 || ben.video.nacks() == 0, "{}", ben.video.seen().summary());
}

#[test]
fn garbage_costs_its_sender_the_tile_and_nobody_else_anything() {
    let server = server(4);
    let api = server.api();
    video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    let ben = shower(&server, "ben", &h264(), Colour::Yellow);
    anna.sees(480, 180, Colour::Yellow);
    ben.video.pause(true);
    let hostile: [&[u8]; 8] = [
        &[],
        &[0x78, 0x00, 0x01, 0x41, 0x00],
        &[0x7c, 0x85, 0xff, 0xff],
        &[0x7c, 0x45],
        &[0x67, 0x42, 0xe0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x65; 1100],
        &[0xff; 1100],
        &[0x18; 3],
    ];
    for round in 0..40 {
        for payload in hostile {
            ben.video.send_payload(payload, round % 2 == 0);
        }
    }
    anna.video.wait_pictures(30);
    anna.sees(160, 180, Colour::Red);
    ben.video.pause(false);
    anna.sees(480, 180, Colour::Yellow);
    assert!(
        api.metric(&["conclave_engine_panics_total"]) == 0.0 && api.metric(&["conclave_composer_panics_total"]) == 0.0
    );
}

#[test]
fn sender_may_change_its_size_and_fall_silent() {
    let server = server(4);
    let api = server.api();
    video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    let ben = shower(&server, "ben", &h264(), Colour::Green);
    anna.sees(480, 180, Colour::Green);
    ben.video.resize(176, 144);
    ben.show_colour(Colour::Magenta);
    anna.sees(480, 180, Colour::Magenta);
    ben.video.resize(1280, 720);
    ben.show_colour(Colour::Orange);
    anna.sees(480, 180, Colour::Orange);
    ben.video.pause(true);
    anna.video.wait_picture("the name of whom is silent", |picture| match picture.colour_at(480, 180, 8) {
        Some(Colour::Orange) => Err(picture.sketch(16, 9)),
        _ => Ok(()),
    });
    ben.video.pause(false);
    anna.sees(480, 180, Colour::Orange);
}

#[test]
fn talker_whom_nobody_sees_takes_a_tile() {
    let server = server(5);
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    let _ben = shower(&server, "ben", &h264(), Colour::Green);
    let carla = shower(&server, "carla", &h264(), Colour::Blue);
    anna.sees(480, 180, Colour::Green);
    carla.phone.say(600.0);
    anna.sees(480, 180, Colour::Blue);
    let place = |name: &str| {
        let id = api.participant(&room, name);
        api.participants(&room).iter().find(|p| p["id"] == *id).expect("listed")["position"].clone()
    };
    assert_eq!((place("anna"), place("ben"), place("carla")), (json!(0), json!(-1), json!(1)));
}

#[test]
fn picture_goes_out_at_its_rate_and_without_bursts() {
    let server = server(5);
    let api = server.api();
    video_room(&api, (640, 480), &json!({"framerate": 20, "bitrate": 600, "layout": "LAYOUT4"}));
    let phones: Vec<VideoPhone> = [("anna", Colour::Red), ("ben", Colour::Green), ("carla", Colour::Blue)]
        .iter()
        .map(|(name, colour)| shower(&server, name, &h264(), *colour))
        .collect();
    phones[0].sees(160, 120, Colour::Red);
    phones[0].video.forget();
    let seen = phones[0].video.wait_pictures(100);
    let rate = seen.framerate();
    assert!((rate - 20.0).abs() < 0.5, "{rate} pictures a second");
    // Twice the bitrate over 20 ms, and a packet.
    let burst = seen.largest_burst(Duration::from_millis(20));
    assert!(burst <= 2 * 600_000 / 8 / 50 + 1_400, "{burst} bytes in 20 ms");
    seen.check_clean().expect("a clean stream");
}
