//! WHIP (RFC 9725) with a publisher that nobody here wrote: Debian's simple-whip-client, on GStreamer.

use crate::support::{SOON, h264, own_address, setup, shower, talker, video_room, wait_participants};
use serde_json::json;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::picture::Colour;
use testkit::sdp::Codec;
use testkit::server::TempDir;
use testkit::wait;

/// Interrupted when dropped, whatever became of the test.
struct Client(Child);

impl Client {
    fn interrupt(&mut self) {
        let done = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().expect("kill runs");
        assert!(done.success());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn simple_whip_client_is_seen_and_heard_until_it_leaves() {
    let server = setup().legs(8).env("CONCLAVE__WEBRTC__ADDRESSES", &own_address()).start();
    let api = server.api();
    let room = video_room(&api, (640, 360), &json!({"layout": "LAYOUT1"}));
    let whole = api.get(&format!("/api/conference_rooms/{room}")).expect(200).json();
    let dir = TempDir::new("whip");
    let log = std::fs::File::create(dir.path().join("log")).expect("a file");
    let said = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    let client = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whip/run"))
        .arg(dir.path())
        .arg(format!("{}/join", server.base_url()))
        .arg(whole["token"].as_str().expect("a token"))
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("a file"))
        .stdout(log)
        .spawn();
    let mut client = Client(client.expect("the script starts"));
    let joined = || match api.participants(&room) {
        all if all.len() == 1 && all[0]["state"] == "JOINED" => Ok(all[0].clone()),
        all => Err(format!("{all:?}\n{}", said())),
    };
    let publisher = wait::until("it joins", SOON, joined);
    assert_eq!((&publisher["transport"], &publisher["on_hold"]), (&"WEBRTC".into(), &false.into()));
    assert_eq!((&publisher["audio_codec"], &publisher["video_codec"]), (&"OPUS".into(), &"VP8".into()));
    wait::until("it is heard talking", SOON, || match api.participants(&room) {
        all if all.iter().any(|p| p["talking"] == true) => Ok(()),
        all => Err(format!("{all:?}\n{}", said())),
    });
    let phone = shower(&server, "anna", &h264(), Colour::Red);
    let listener = talker(&server, "900", "bob", Codec::Pcmu, 500.0);
    listener.hears(&[660.0], &[500.0]);
    phone.sees(320, 180, Colour::Blue);

    client.interrupt();
    wait_participants(&api, &room, 2);
    wait::until("it ends", SOON, || match client.0.try_wait() {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}\n{}", said())),
    });
    assert!(said().contains("Bye!"), "{}", said());
}
