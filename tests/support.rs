//! What several test files share.

use serde_json::{Value, json};
use std::net::UdpSocket;
use std::time::Duration;
use testkit::api::Api;
use testkit::phone::{Phone, VideoPhone};
use testkit::picture::Colour;
use testkit::sdp::{Codec, VideoFormat};
use testkit::server::{Server, Setup};
use testkit::sip_message::Message;
use testkit::web_client::{WebClient, WebOptions, run_until};
use testkit::{signal, tone, wait};

/// Events reach the API within this.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// The binary under test, with limits that tests do not run into. Servers of tests side by side share the machine with their
/// far ends, browsers among them: the media threads of some would go before the phones of the others.
pub(crate) fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_conclave")).env("CONCLAVE__MEDIA__REALTIME", "false")
}

/// A phone that says a tone into the room.
#[track_caller]
pub(crate) fn talker(server: &Server, extension: &str, name: &str, codec: Codec, hz: f64) -> Phone {
    let phone = Phone::dial(server.sip_address(), extension, name, codec).expect("the call is answered");
    phone.say(hz);
    phone
}

/// An address of this machine that is not loopback, over which Firefox and GStreamer send nothing. No packet is sent to find it.
pub(crate) fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let routed = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    routed.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
}

/// Of the microphones' tones.
pub(crate) const BEEP_DB: f64 = -14.0;
/// A browser joins and hears within this.
const HEARD_BY: Duration = Duration::from_secs(30);

/// The join token of a room.
#[track_caller]
pub(crate) fn token(api: &Api, room: &str) -> String {
    let room = api.get(&format!("/api/conference_rooms/{room}")).expect(200).json();
    room["token"].as_str().expect("a token").to_owned()
}

/// A browser that says a tone.
pub(crate) fn saying(hz: f64) -> WebClient {
    let mut client = WebClient::new(WebOptions::default());
    client.say(Some(signal::tone(48_000, hz, -20.0)));
    client
}

/// Lets time pass until the client's last half second has these tones, and not those.
#[track_caller]
pub(crate) fn wait_to_hear(clients: &mut [&mut WebClient], present: &[f64], absent: &[f64]) {
    let hears = |client: &WebClient| {
        let heard = client.heard();
        let Some(from) = heard.len().checked_sub(24_000) else { return false };
        let has = |hz: &f64| tone::level(&heard[from..], 48_000, *hz) > -26.0;
        present.iter().all(has) && !absent.iter().any(|hz| tone::level(&heard[from..], 48_000, *hz) > -45.0)
    };
    let heard = run_until(clients, HEARD_BY, |clients| hears(clients[0]));
    let client = &clients[0];
    let peaks = tone::peaks(&client.heard().split_off(client.heard().len().saturating_sub(24_000)), 48_000, 5);
    assert!(heard, "wanted {present:?} without {absent:?}: {peaks:?} {:?}", client.log);
}

/// Two seconds of a tone that comes and goes: what never changes is taken for noise, and suppressed.
pub(crate) fn beeps(hz: f64) -> Vec<i16> {
    let mut pcm = tone::sine(48_000, hz, BEEP_DB, 96_000);
    for (n, sample) in pcm.iter_mut().enumerate() {
        if n % 24_000 > 16_000 {
            *sample = 0;
        }
    }
    pcm
}

/// What most phones with video can do.
pub(crate) fn h264() -> VideoFormat {
    VideoFormat::h264(97, 1, "42e01f")
}

/// VIDEO room 900 with a picture of this size, 15 a second, and more settings; gives its id.
#[track_caller]
pub(crate) fn video_room(api: &Api, size: (u32, u32), more: &Value) -> String {
    let mut settings = json!({"mode": "VIDEO", "width": size.0, "height": size.1, "framerate": 15, "bitrate": 800});
    for (key, value) in more.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    api.create_room_with("900", 20, &settings)
}

/// A phone that shows a colour in room 900.
#[track_caller]
pub(crate) fn shower(server: &Server, name: &str, format: &VideoFormat, colour: Colour) -> VideoPhone {
    let phone = VideoPhone::dial(server.sip_address(), "900", name, format).expect("the call is answered");
    phone.show_colour(colour);
    phone
}

/// The words of a refusal or BYE: from `Reason`, else from `Warning`.
pub(crate) fn reason_of(message: &Message) -> String {
    ["Reason", "Warning"].iter().find_map(|name| message.header(name)).unwrap_or("").to_owned()
}

/// Waits until the room lists so many participants; gives them.
#[track_caller]
pub(crate) fn wait_participants(api: &Api, room: &str, count: usize) -> Vec<Value> {
    wait::until(&format!("{count} participants"), SOON, || {
        let all = api.participants(room);
        if all.len() == count { Ok(all) } else { Err(format!("{all:?}")) }
    })
}

/// Waits until the room's only recording has this state; gives it.
#[track_caller]
pub(crate) fn wait_recording(api: &Api, room: &str, state: &str) -> Value {
    wait::until(&format!("a recording that is {state}"), SOON, || {
        let all = api.recordings(room);
        match all.as_slice() {
            [one] if one["state"] == state => Ok(one.clone()),
            _ => Err(format!("{all:?}")),
        }
    })
}

/// Path and query of a URL of this server.
pub(crate) fn path_of(url: &Value) -> String {
    let url = url.as_str().expect("a URL");
    url.find("/api/").map_or(url, |at| &url[at..]).to_owned()
}

/// One second of sound from `at_s` on must have these tones at equal level.
#[track_caller]
pub(crate) fn assert_tones(pcm: &[i16], rate_hz: u32, at_s: f64, present: &[f64], level_db: f64) {
    let from = (at_s * f64::from(rate_hz)) as usize;
    let window = pcm.get(from..from + rate_hz as usize);
    let window = window.unwrap_or_else(|| panic!("{} samples, none at {at_s} s", pcm.len()));
    let expectation = tone::Expectation { present: present.to_vec(), absent: Vec::new(), level_db, tolerance_db: 3.0 };
    if let Err(why) = expectation.check(window, rate_hz) {
        panic!("at {at_s} s: {why}");
    }
}
