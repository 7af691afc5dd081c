//! Prompts and announcements in whole rooms: who hears them, how loud, and that nobody hears a click.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::path::PathBuf;
use std::time::Duration;

use media::audio::codec::opus::inspect;
use media::{
    Bitrate, CodecName, Event, Gain, LegSettings, Playback, PlaybackId, Prompt, Recorder, RecordingId, RoomId,
};
use testkit::tone;

use super::parties::{self, Call, Party};

const LEVEL_DB: f64 = -20.0;
const TALK: [f64; 3] = [440.0, 620.0, 830.0];
const PROMPT_HZ: f64 = 1_900.0;
/// A quarter of full scale: more from one sample to the next is heard as a click.
const CLICK: i32 = 8_192;

/// Levels in these tests are relative to a full-scale sine; `Prompt::tone` has RFC 6464's.
fn prompt(hz: f64, ms: u64) -> Prompt {
    Prompt::tone(hz, Duration::from_millis(ms), LEVEL_DB - 3.01)
}

fn once(id: u64, hz: f64, ms: u64) -> Playback {
    Playback { id: PlaybackId(id), parts: vec![prompt(hz, ms)], looped: false }
}

fn looped(id: u64, hz: f64) -> Playback {
    Playback { looped: true, ..once(id, hz, 1_000) }
}

fn call(codecs: &[CodecName]) -> Call {
    let mut call = Call::new(8);
    for (codec, hz) in codecs.iter().zip(TALK) {
        call.join(*codec, hz, LEVEL_DB);
    }
    call.run(60);
    call
}

/// Level of a frequency in the last 200 ms.
fn level(call: &Call, party: usize, hz: f64) -> f64 {
    let party = &call.parties[party];
    tone::level(party.last(0.2), party.rate, hz)
}

fn hears(call: &Call, party: usize, hz: f64, db: f64) {
    let found = level(call, party, hz);
    assert!((found - db).abs() < 1.5, "party {party} hears {hz} Hz at {found} dB, not {db}");
}

fn hears_not(call: &Call, party: usize, hz: f64) {
    let found = level(call, party, hz);
    assert!(found < LEVEL_DB - 35.0, "party {party} hears {hz} Hz at {found} dB");
}

fn played(call: &Call) -> Vec<(Option<u64>, u64)> {
    let mut played = Vec::new();
    for event in &call.events {
        if let Event::Played { leg, playback, .. } = event {
            played.push((leg.map(|leg| leg.0), playback.0));
        }
    }
    played
}

/// The largest step between two samples heard since `from`.
fn steepest(call: &Call, party: usize, from: usize) -> i32 {
    let heard = &call.parties[party].heard[from..];
    heard.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap_or(0)
}

const MIXED: [CodecName; 3] = [CodecName::Pcmu, CodecName::Opus, CodecName::Pcma];

#[test]
fn a_prompt_is_heard_by_its_leg_alone_over_a_mix_that_steps_back() {
    for (target, own) in TALK.into_iter().enumerate().take(2) {
        let mut call = call(&MIXED);
        let leg = call.parties[target].leg;
        call.room.play(leg, once(7, PROMPT_HZ, 1_000)).unwrap();
        call.run(25);
        hears(&call, target, PROMPT_HZ, LEVEL_DB);
        hears(&call, target, TALK[2], LEVEL_DB - 9.0);
        for other in (0..3).filter(|other| *other != target) {
            hears_not(&call, other, PROMPT_HZ);
            hears(&call, other, own, LEVEL_DB);
        }
        assert_eq!(call.room.snapshot().legs[target].playing, Some(PlaybackId(7)));
        assert_eq!(played(&call), []);
        call.run(60);
        assert_eq!(played(&call), [(Some(leg.0), 7)], "told once, at the end");
        hears_not(&call, target, PROMPT_HZ);
        hears(&call, target, TALK[2], LEVEL_DB);
        assert_eq!(call.room.snapshot().legs[target].playing, None);
    }
}

#[test]
fn the_parts_of_a_playback_follow_each_other_without_a_gap() {
    let mut call = call(&[CodecName::Pcmu]);
    let leg = call.parties[0].leg;
    // One sine in two halves that are cut anywhere: with a gap, or with soft ends inside, its level would dip.
    let whole: Vec<i16> = tone::sine(16_000, PROMPT_HZ, LEVEL_DB, 16_000);
    let parts = [&whole[..7_777], &whole[7_777..]].map(|part| Prompt::from_samples(part.to_vec())).to_vec();
    call.room.play(leg, Playback { id: PlaybackId(1), parts, looped: false }).unwrap();
    let from = call.parties[0].heard.len();
    call.run(60);
    let heard = &call.parties[0].heard[from..];
    let frames: Vec<f64> = heard[400..7_600].chunks_exact(80).map(tone::rms_db).collect();
    assert!(frames.iter().all(|db| (db - LEVEL_DB).abs() < 0.6), "{frames:?}");
    assert!(tone::rms_db(&heard[8_400..]) < -70.0);
}

#[test]
fn another_prompt_takes_the_place_of_the_first() {
    for codec in [CodecName::Pcma, CodecName::Opus] {
        let mut call = call(&[codec, CodecName::Pcmu]);
        let leg = call.parties[0].leg;
        call.room.play(leg, once(1, PROMPT_HZ, 5_000)).unwrap();
        call.run(25);
        call.room.play(leg, once(2, 2_500.0, 600)).unwrap();
        call.run(25);
        hears_not(&call, 0, PROMPT_HZ);
        hears(&call, 0, 2_500.0, LEVEL_DB);
        call.run(50);
        assert_eq!(played(&call), [(Some(leg.0), 2)], "what was replaced was not played to its end");
    }
}

#[test]
fn music_goes_on_until_it_is_stopped_and_does_not_duck() {
    let mut call = call(&[CodecName::Opus, CodecName::Pcmu]);
    let leg = call.parties[0].leg;
    call.room.play(leg, looped(3, PROMPT_HZ)).unwrap();
    for _ in 0..6 {
        call.run(25);
        hears(&call, 0, PROMPT_HZ, LEVEL_DB);
        hears(&call, 0, TALK[1], LEVEL_DB);
    }
    call.room.stop_playing(leg).unwrap();
    call.run(25);
    hears_not(&call, 0, PROMPT_HZ);
    assert_eq!(played(&call), []);
}

#[test]
fn a_leg_hears_its_prompt_alone_muted_deaf_or_holding() {
    for codec in [CodecName::Pcmu, CodecName::Opus] {
        let settings = LegSettings::default();
        let cases = [settings, LegSettings { muted: true, ..settings }, LegSettings { deaf: true, ..settings }];
        for (others, settings) in cases.into_iter().flat_map(|s| [(0, s), (1, s)]) {
            let mut call = call(&[&[codec][..], &[CodecName::Pcma; 1][..others]].concat());
            let leg = call.parties[0].leg;
            call.room.set(leg, settings).unwrap();
            call.run(20);
            call.room.play(leg, once(1, PROMPT_HZ, 800)).unwrap();
            call.run(30);
            hears(&call, 0, PROMPT_HZ, LEVEL_DB);
            if settings.deaf {
                hears_not(&call, 0, TALK[1]);
            }
            call.run(40);
            assert_eq!(played(&call), [(Some(leg.0), 1)]);
            hears_not(&call, 0, PROMPT_HZ);
        }
        // Who holds cannot be sent anything: the time of the prompt passes.
        let mut call = call(&[codec, CodecName::Pcma]);
        let leg = call.parties[0].leg;
        call.room.renegotiate(leg, &parties::offer(codec).replace("sendrecv", "sendonly")).unwrap();
        call.room.play(leg, once(1, PROMPT_HZ, 400)).unwrap();
        call.run(25);
        assert_eq!(played(&call), [(Some(leg.0), 1)]);
    }
}

#[test]
fn the_volume_of_a_leg_is_that_of_its_prompts() {
    let mut call = call(&[CodecName::Pcmu, CodecName::Pcmu]);
    let leg = call.parties[0].leg;
    call.room.set(leg, LegSettings { gain_out: Gain::db(6.0), ..LegSettings::default() }).unwrap();
    call.room.play(leg, once(1, PROMPT_HZ, 2_000)).unwrap();
    call.run(30);
    hears(&call, 0, PROMPT_HZ, LEVEL_DB + 6.0);
}

#[test]
fn a_prompt_goes_on_when_the_codec_changes() {
    let mut call = call(&[CodecName::Pcmu, CodecName::Pcmu]);
    let leg = call.parties[0].leg;
    call.room.play(leg, once(1, PROMPT_HZ, 1_500)).unwrap();
    call.run(20);
    hears(&call, 0, PROMPT_HZ, LEVEL_DB);
    call.room.renegotiate(leg, &parties::offer(CodecName::Opus)).unwrap();
    call.parties[0] = Party::new(leg, CodecName::Opus, tone::sine(48_000, TALK[0], LEVEL_DB, 48_000));
    call.run(30);
    hears(&call, 0, PROMPT_HZ, LEVEL_DB);
    call.run(50);
    assert_eq!(played(&call), [(Some(leg.0), 1)]);
}

/// Opus with these parameters.
fn join_opus(call: &mut Call, parameters: &str) -> usize {
    let offer = format!("{}a=fmtp:111 {parameters}\r\n", parties::offer(CodecName::Opus));
    let (leg, _) = call.room.join(&offer, &parties::CODECS, LegSettings::default()).unwrap();
    call.parties.push(Party::new(leg, CodecName::Opus, vec![0; 48_000]));
    call.parties.len() - 1
}

#[test]
fn a_leg_that_takes_silence_for_nothing_hears_its_prompt_and_then_nothing() {
    let mut call = Call::new(8);
    let party = join_opus(&mut call, "usedtx=1");
    let leg = call.parties[party].leg;
    // Its packets may pause, so their numbers do not follow the ticks.
    let ticks = |call: &mut Call, n: u64| {
        let before = call.parties[0].packets;
        for _ in 0..n {
            call.parties[0].sequence = None;
            call.run(1);
        }
        call.parties[0].packets - before
    };
    ticks(&mut call, 50);
    call.room.play(leg, once(1, PROMPT_HZ, 1_000)).unwrap();
    assert!(ticks(&mut call, 40) >= 39);
    hears(&call, party, PROMPT_HZ, LEVEL_DB);
    ticks(&mut call, 50);
    assert_eq!(played(&call), [(Some(leg.0), 1)]);
    assert!(ticks(&mut call, 50) < 10, "silence is hardly sent");
}

#[test]
fn a_leg_that_loses_packets_gets_its_prompt_with_redundancy() {
    let mut call = Call::new(8);
    let party = join_opus(&mut call, "useinbandfec=1\r\na=rtcp-mux");
    let leg = call.parties[party].leg;
    let mut ssrc = [0; 4];
    call.run(5);
    call.room.tick(&mut |_, packet| ssrc.copy_from_slice(&packet[8..12]), &mut |_| ());
    call.parties[party].sequence = None;
    call.ticks += 1;
    // A receiver report: a tenth of what we sent was lost (RFC 3550 §6.4.2).
    let mut report = vec![0x81, 201, 0, 7, 0x12, 0x34, 0, leg.0 as u8];
    report.extend_from_slice(&ssrc);
    report.extend_from_slice(&[25, 0, 0, 5]);
    report.extend_from_slice(&[0; 16]);
    call.room.deliver(leg, Duration::from_millis(20) * call.ticks as u32, &report);
    call.room.play(leg, once(1, PROMPT_HZ, 2_000)).unwrap();
    call.run(10);
    let mut with_copy = 0;
    for _ in 0..40 {
        call.run(1);
        with_copy += usize::from(inspect(&call.parties[party].last_payload).unwrap().fec);
    }
    hears(&call, party, PROMPT_HZ, LEVEL_DB);
    // What is worth a copy is libopus's to say: of a tone it is about half.
    assert!(with_copy > 10, "{with_copy} packets of 40 carry a copy of the one before");
}

#[test]
fn nobody_hears_a_click_where_a_prompt_begins_ends_or_is_replaced() {
    for codec in [CodecName::Pcmu, CodecName::Opus] {
        for muted in [false, true] {
            let mut call = call(&[codec, CodecName::Opus, codec]);
            let leg = call.parties[0].leg;
            call.room.set(leg, LegSettings { muted, ..LegSettings::default() }).unwrap();
            call.run(20);
            let from: Vec<usize> = call.parties.iter().map(|party| party.heard.len()).collect();
            for round in 0..6 {
                // A prompt that begins and ends at full swing, and every way to end it, at any place of the waves.
                let square = vec![12_000; 3_000 + 1_111 * round];
                let parts = vec![Prompt::from_samples(square)];
                call.room.play(leg, Playback { id: PlaybackId(1), parts, looped: round % 2 == 1 }).unwrap();
                call.run(7 + round as u64);
                match round {
                    0 | 3 => call.room.play(leg, once(2, PROMPT_HZ, 300)).unwrap(),
                    1 | 5 => call.room.stop_playing(leg).unwrap(),
                    _ => {}
                }
                call.run(40);
            }
            for (party, from) in from.into_iter().enumerate() {
                let step = steepest(&call, party, from);
                assert!(step < CLICK, "{codec:?}, muted {muted}: party {party} hears a step of {step}");
            }
        }
    }
}

#[test]
fn the_way_to_a_prompt_and_back_leaves_no_trace_beside_the_mix() {
    // One talker, one listener on Opus with prompts of silence: the listener changes encoders twice each time.
    let mut call = call(&[CodecName::Opus, CodecName::Opus]);
    let leg = call.parties[1].leg;
    call.room.set(leg, LegSettings { muted: true, ..LegSettings::default() }).unwrap();
    call.run(50);
    let from = call.parties[1].heard.len();
    for n in 0..8 {
        let parts = vec![Prompt::silence(Duration::from_millis(300))];
        call.room.play(leg, Playback { id: PlaybackId(n), parts, looped: true }).unwrap();
        call.run(20);
        call.room.stop_playing(leg).unwrap();
        call.run(30);
    }
    let heard = &call.parties[1].heard[from..];
    let worst = heard
        .chunks_exact(960)
        .map(|frame| (5..20).map(|k| tone::level(frame, 48_000, f64::from(k) * 1_000.0)).fold(-120.0, f64::max))
        .fold(-120.0, f64::max);
    assert!(worst < -50.0, "{worst} dB beside a −20 dB tone");
}

#[test]
fn everybody_hears_an_announcement_and_so_does_the_recording() {
    let folder = std::env::temp_dir().join(format!("conclave-announcement-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.opus");
    let (told, ended) = std::sync::mpsc::channel();
    let recorder = Recorder::start(move |event| drop(told.send(event))).unwrap();
    let mut spec = parties::spec(8);
    // The virtual clock is quicker than the recorder, and a low rate leaves its queue room for three seconds.
    spec.audio.opus_bitrate = Bitrate::kbps(32);
    let mut call = Call::of(spec);
    for (codec, hz) in MIXED.into_iter().zip(TALK) {
        call.join(codec, hz, LEVEL_DB);
    }
    call.run(50);
    call.room.start_recording(recorder.open(RoomId(1), RecordingId(1), path.clone()).unwrap()).unwrap();
    call.room.announce(once(5, PROMPT_HZ, 1_200));
    call.room.play(call.parties[0].leg, once(6, 2_500.0, 1_200)).unwrap();
    call.run(40);
    for party in 0..3 {
        hears(&call, party, PROMPT_HZ, LEVEL_DB - if party == 0 { 9.0 } else { 0.0 });
    }
    assert_eq!(call.room.snapshot().announcing, Some(PlaybackId(5)));
    call.run(60);
    assert_eq!(played(&call), [(None, 5), (Some(0), 6)]);
    (0..3).for_each(|party| hears_not(&call, party, PROMPT_HZ));
    call.room.stop_recording(RecordingId(1));
    let file = match ended.recv_timeout(Duration::from_secs(20)).unwrap() {
        Event::RecordingFinished { file, .. } => file,
        other => panic!("{other:?}"),
    };
    recorder.stop();
    assert!(file.duration >= Duration::from_millis(1_900), "{:?}", file.duration);
    let heard = recorded(&path);
    let level = |hz| tone::level(&heard[24_000..48_000], 48_000, hz);
    assert!((level(PROMPT_HZ) - LEVEL_DB).abs() < 1.5, "the announcement is recorded at {}", level(PROMPT_HZ));
    assert!((level(TALK[0]) - LEVEL_DB).abs() < 1.5);
    assert!(level(2_500.0) < LEVEL_DB - 30.0, "a prompt of one leg is recorded at {}", level(2_500.0));
    std::fs::remove_dir_all(folder).unwrap();
}

/// What a player makes of an Ogg Opus file.
fn recorded(path: &PathBuf) -> Vec<i16> {
    let mut reader = ogg::PacketReader::new(std::fs::File::open(path).unwrap());
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
    let mut pcm = Vec::new();
    while let Some(packet) = reader.read_packet().unwrap() {
        if !packet.data.starts_with(b"Opus") {
            let mut frame = [0; 5_760];
            let n = decoder.decode(&packet.data, &mut frame, false).unwrap();
            pcm.extend_from_slice(&frame[..n]);
        }
    }
    pcm
}

#[test]
fn announcements_wait_for_each_other_and_too_many_are_dropped() {
    let mut call = call(&[CodecName::Pcmu, CodecName::Opus]);
    for id in 0..12 {
        call.room.announce(once(id, PROMPT_HZ, 100));
        // The first one has begun, and does not wait.
        call.run(u64::from(id == 0));
    }
    call.run(100);
    assert_eq!(played(&call), (0..9).map(|id| (None, id)).collect::<Vec<_>>());
    assert_eq!(call.room.snapshot().announcements_dropped, 3);
}

#[test]
fn a_looped_announcement_ends_for_another_or_when_it_is_hushed() {
    let mut call = call(&[CodecName::Pcmu, CodecName::Opus]);
    call.room.announce(looped(1, PROMPT_HZ));
    call.run(120);
    (0..2).for_each(|party| hears(&call, party, PROMPT_HZ, LEVEL_DB));
    call.room.announce(looped(2, 2_500.0));
    call.run(25);
    hears_not(&call, 0, PROMPT_HZ);
    hears(&call, 0, 2_500.0, LEVEL_DB);
    call.room.hush();
    call.run(25);
    hears_not(&call, 0, 2_500.0);
    // What is not looped is not hushed.
    call.room.announce(once(3, PROMPT_HZ, 500));
    call.run(5);
    call.room.hush();
    call.run(15);
    hears(&call, 0, PROMPT_HZ, LEVEL_DB);
    call.run(15);
    assert_eq!(played(&call), [(None, 3)]);
}

#[test]
fn a_waiting_room_with_music_is_one_encode_for_all() {
    let mut call = Call::new(8);
    for _ in 0..6 {
        let party = call.join(CodecName::Opus, TALK[0], LEVEL_DB);
        let leg = call.parties[party].leg;
        call.room.set(leg, LegSettings { muted: true, ..LegSettings::default() }).unwrap();
    }
    call.room.announce(looped(1, PROMPT_HZ));
    call.run(60);
    let first = call.parties[0].last_payload.clone();
    for party in 0..6 {
        hears(&call, party, PROMPT_HZ, LEVEL_DB);
        hears_not(&call, party, TALK[0]);
        assert_eq!(call.parties[party].last_payload, first);
    }
    // One of them is spoken to; the music steps back for that one alone.
    let leg = call.parties[2].leg;
    call.room.play(leg, once(2, 2_500.0, 1_000)).unwrap();
    call.run(30);
    hears(&call, 2, PROMPT_HZ, LEVEL_DB - 9.0);
    hears_not(&call, 3, 2_500.0);
    call.run(60);
    assert_eq!(call.parties[2].last_payload, call.parties[3].last_payload, "back on the shared encode");
}

#[test]
fn what_nobody_is_there_to_hear_is_over_and_music_waits() {
    let mut call = call(&[CodecName::Pcmu]);
    let leg = call.parties[0].leg;
    call.room.announce(looped(1, PROMPT_HZ));
    call.run(30);
    call.room.leave(leg);
    call.parties.clear();
    call.room.announce(once(2, 2_500.0, 500));
    call.tick();
    assert_eq!(played(&call), [(None, 2)]);
    call.join(CodecName::Pcmu, TALK[0], LEVEL_DB);
    call.run(30);
    hears(&call, 0, PROMPT_HZ, LEVEL_DB);
}
