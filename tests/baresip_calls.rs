//! baresip, a phone that nobody here wrote, in a room with others: Opus, PCMU, keys, a recording.

use crate::support::{SOON, assert_tones, path_of, setup, wait_participants, wait_recording};
use testkit::baresip::Baresip;
use testkit::ffmpeg;
use testkit::phone::TONE_DB;
use testkit::sdp::Codec;
use testkit::wait;

#[test]
fn opus_and_pcmu_phones_hear_each_other_and_not_themselves() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let uri = format!("sip:900@{}", server.sip_address());
    let mut phones = [
        Baresip::start("alice", Codec::Opus, 500.0, TONE_DB),
        Baresip::start("bob", Codec::Opus, 900.0, TONE_DB),
        Baresip::start("carol", Codec::Pcmu, 1_300.0, TONE_DB),
    ];
    for phone in &mut phones {
        phone.call(&uri);
    }
    wait_participants(&api, &room, 3);
    let tones = [500.0, 900.0, 1_300.0];
    for (n, phone) in phones.iter().enumerate() {
        let others: Vec<f64> = tones.into_iter().filter(|&hz| hz != tones[n]).collect();
        phone.hears(&others, &[tones[n]], TONE_DB);
    }

    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    let begun = phones[0].heard().len();
    let rate = phones[0].rate_hz() as usize;
    wait::until_true("two seconds more", SOON, || phones[0].heard().len() > begun + 2 * rate);
    api.act(&format!("/api/conference_rooms/{room}/stop_recording")).expect(200);
    let recording = wait_recording(&api, &room, "FINISHED");
    let path = server.scratch("baresip.ogg");
    std::fs::write(&path, api.get(&path_of(&recording["file_url"])).expect(200).body).expect("a file");
    let pcm = ffmpeg::decode(&path, 48_000).expect("a file that plays");
    assert_tones(&pcm, 48_000, 0.5, &tones, TONE_DB);

    for phone in &mut phones {
        phone.hang_up();
    }
    wait_participants(&api, &room, 0);
}

#[test]
fn keys_of_opus_and_pcmu_phones_are_received() {
    let server = setup().start();
    let api = server.api();
    api.create_room("900", 10);
    let uri = format!("sip:900@{}", server.sip_address());
    let mut expected = 0.0;
    for codec in [Codec::Opus, Codec::Pcmu] {
        let mut phone = Baresip::start("alice", codec, 500.0, TONE_DB);
        phone.call(&uri);
        for digit in ['5', '#', '0'] {
            phone.press(digit);
            expected += 1.0;
            wait::until("the key", SOON, || match api.metric(&["dtmf"]) {
                found if (found - expected).abs() < 0.5 => Ok(()),
                found => Err(format!("{found} keys counted")),
            });
        }
        phone.hang_up();
    }
}

#[test]
fn hold_and_resume_with_a_real_phone() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let uri = format!("sip:900@{}", server.sip_address());
    let mut a = Baresip::start("alice", Codec::Pcmu, 500.0, TONE_DB);
    let mut b = Baresip::start("bob", Codec::Pcmu, 900.0, TONE_DB);
    a.call(&uri);
    b.call(&uri);
    b.hears(&[500.0], &[900.0], TONE_DB);
    a.command("hold", "");
    b.hears(&[], &[500.0, 900.0], TONE_DB);
    a.command("resume", "");
    b.hears(&[500.0], &[900.0], TONE_DB);
    a.hears(&[900.0], &[500.0], TONE_DB);
    wait_participants(&api, &room, 2);
}

#[test]
fn call_over_tcp_with_a_real_phone() {
    let server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let mut a = Baresip::start("alice", Codec::Pcmu, 500.0, TONE_DB);
    let mut b = Baresip::start("bob", Codec::Opus, 900.0, TONE_DB);
    let uri = format!("sip:900@{};transport=tcp", server.sip_address());
    a.call(&uri);
    b.call(&uri);
    a.hears(&[900.0], &[500.0], TONE_DB);
    b.hears(&[500.0], &[900.0], TONE_DB);
    a.hang_up();
    wait_participants(&api, &room, 1);
}
