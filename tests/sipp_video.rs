//! SIPp, a client that nobody here wrote, plays captured video into a VIDEO room.

use crate::support::{h264, setup, shower, video_room, wait_participants};
use serde_json::json;
use std::path::Path;
use testkit::capture::Stretch;
use testkit::picture::Colour;
use testkit::scene;
use testkit::sip_ua::Transport;
use testkit::sipp::Run;

#[test]
fn captured_video_is_seen() {
    let server = setup().legs(8).start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({"layout": "LAYOUT2"}));
    let anna = shower(&server, "anna", &h264(), Colour::Red);
    anna.sees(160, 180, Colour::Red);
    let stretch = Stretch { width: 320, height: 180, framerate: 15, seconds: 8, payload_type: 96 };
    let (mut green, mut magenta) = (scene::moving(Colour::Green, 2), scene::moving(Colour::Magenta, 3));
    let capture = stretch.of(Box::new(move |shot| if shot.number < 60 { green(shot) } else { magenta(shot) }));
    let run = Run {
        scenario: &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp/video.xml"),
        server: server.sip_address(),
        extension: "900",
        transport: Transport::Udp,
        calls: 1,
        rate: 1,
        capture: Some(&capture),
    };
    std::thread::scope(|scope| {
        let sipp = scope.spawn(|| run.play());
        wait_participants(&api, &room, 2);
        anna.sees(480, 180, Colour::Green);
        anna.sees(480, 180, Colour::Magenta);
        let counted = sipp.join().expect("a thread that ends").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(counted.successful, 1);
    });
    wait_participants(&api, &room, 1);
}
