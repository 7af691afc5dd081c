//! Keys in whole rooms: they are told, and nobody hears them.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::time::Duration;

use media::{CodecName, Event, LegSettings};
use testkit::tone;

use super::parties::{self, Call, Party, rtp};

const LEVEL_DB: f64 = -20.0;

fn digits(call: &Call) -> String {
    call.events
        .iter()
        .filter_map(|e| if let Event::Dtmf { digit, .. } = e { Some(digit.as_char()) } else { None })
        .collect()
}

/// Silence with `1`, `2` and `3` in it, of 100 ms each, at 1.0, 1.3 and 1.6 s.
fn dialling(rate: u32) -> Vec<i16> {
    let mut pcm = vec![0i16; rate as usize * 4];
    for (n, (low, high)) in [(697.0, 1_209.0), (697.0, 1_336.0), (697.0, 1_477.0)].into_iter().enumerate() {
        let samples = rate as usize / 10;
        let from = rate as usize + n * samples * 3 + 37;
        let (low, high) = (tone::sine(rate, low, -12.0, samples), tone::sine(rate, high, -12.0, samples));
        for (at, sample) in pcm[from..from + samples].iter_mut().enumerate() {
            *sample = low[at] + high[at];
        }
    }
    pcm
}

/// A party whose phone has no events for its keys.
fn join_old_phone(call: &mut Call, codec: CodecName, pcm: Vec<i16>) -> usize {
    let offer = parties::offer(codec).replace(" 101\r\n", "\r\n").replace("a=rtpmap:101 telephone-event/8000\r\n", "");
    let (leg, _) = call.room.join(&offer, &parties::CODECS, LegSettings::default()).unwrap();
    call.parties.push(Party::new(leg, codec, pcm));
    call.parties.len() - 1
}

#[test]
fn keys_in_the_sound_are_told_and_cut_out_of_the_mix() {
    for codec in [CodecName::Pcmu, CodecName::Pcma, CodecName::Opus] {
        for listens in [CodecName::Pcmu, CodecName::Opus] {
            let mut call = Call::new(8);
            let pcm = dialling(codec.clock_hz());
            let caller = join_old_phone(&mut call, codec, pcm);
            let listener = call.join(listens, 440.0, LEVEL_DB);
            call.run(150);
            assert_eq!(digits(&call), "123", "{codec:?}");
            let heard = &call.parties[listener].heard;
            let loudest = heard.chunks(heard.len() / 600).map(tone::rms_db).fold(-120.0, f64::max);
            assert!(loudest < -45.0, "{codec:?} to {listens:?}: {loudest} dB of a −9 dB tone remain in 5 ms");
            assert_eq!(
                call.events
                    .iter()
                    .filter(
                        |e| matches!(e, Event::Talking { talking: true, leg, .. } if *leg == call.parties[caller].leg)
                    )
                    .count(),
                0
            );
        }
    }
}

#[test]
fn a_muted_caller_presses_keys_too() {
    let mut call = Call::new(1);
    let caller = join_old_phone(&mut call, CodecName::Pcmu, dialling(8_000));
    // Two more make it a crowded room, in which not everybody is decoded.
    call.join(CodecName::Pcmu, 440.0, LEVEL_DB);
    call.join(CodecName::Pcmu, 620.0, LEVEL_DB);
    let leg = call.parties[caller].leg;
    call.room.set(leg, LegSettings { muted: true, ..LegSettings::default() }).unwrap();
    call.run(150);
    assert_eq!(digits(&call), "123");
}

/// What says that it is silent is not decoded in a crowd; a key is not silent.
#[test]
fn keys_are_found_in_the_sound_of_those_who_tell_how_loud_they_are() {
    for muted in [false, true] {
        let mut call = Call::new(1);
        let level = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\n";
        let offer = parties::offer(CodecName::Opus).replace(" 101\r\n", "\r\n");
        let offer = offer.replace("a=rtpmap:101 telephone-event/8000\r\n", "").replace("a=sendrecv\r\n", level);
        let settings = LegSettings { muted, ..LegSettings::default() };
        let (leg, answer) = call.room.join(&offer, &parties::CODECS, settings).unwrap();
        assert!(answer.sdp.contains("ssrc-audio-level"), "{}", answer.sdp);
        let mut caller = Party::new(leg, CodecName::Opus, dialling(48_000));
        caller.states_level = true;
        call.parties.push(caller);
        call.join(CodecName::Pcmu, 440.0, LEVEL_DB);
        call.join(CodecName::Pcmu, 620.0, LEVEL_DB);
        call.run(150);
        assert_eq!(digits(&call), "123", "muted: {muted}");
    }
}

#[test]
fn a_voice_without_keys_passes_as_it_is_one_tick_later() {
    let mut call = Call::new(8);
    join_old_phone(&mut call, CodecName::Pcmu, tone::sine(8_000, 620.0, LEVEL_DB, 8_000));
    let listener = call.join(CodecName::Pcmu, 440.0, LEVEL_DB);
    call.run(100);
    let heard = call.parties[listener].last(1.0);
    assert!((tone::level(heard, 8_000, 620.0) - LEVEL_DB).abs() < 0.5);
    let expected: Vec<i16> = tone::sine(8_000, 620.0, LEVEL_DB, 8_000)
        .iter()
        .map(|s| testkit::g711::ulaw_decode(testkit::g711::ulaw_encode(*s)))
        .collect();
    let same = |delay: usize| heard.iter().enumerate().all(|(n, s)| *s == expected[(n + 8_000 - delay) % 8_000]);
    assert!((0..8_000).any(same), "not a sample is changed");
}

/// A gateway that lets the tone pass for a while before it sends events instead, and again at the end.
#[test]
fn what_a_gateway_lets_pass_beside_its_events_is_silenced() {
    let mut call = Call::new(8);
    let listener = call.join(CodecName::Pcmu, 440.0, LEVEL_DB);
    let gateway = call.join(CodecName::Pcmu, 1_336.0, -12.0);
    // Sound goes on all the while: the worst that a gateway can do.
    call.run(50);
    let leg = call.parties[gateway].leg;
    for n in 1..=12u32 {
        let arrived = Duration::from_millis(20) * (call.ticks as u32 + 1) - Duration::from_millis(8);
        let (timestamp, seq) = (call.parties[gateway].timestamp, call.parties[gateway].seq);
        let end = n > 9;
        let [d0, d1] = (160 * n.min(9) as u16).to_be_bytes();
        let begin = timestamp.wrapping_sub(160 * (n - 1));
        let packet = rtp(101, seq, begin, 0x1234_0000 + leg.0 as u32, &[5, if end { 0x8a } else { 10 }, d0, d1]);
        call.parties[gateway].seq = seq.wrapping_add(1);
        call.room.deliver(leg, arrived, &packet);
        call.run(1);
    }
    assert_eq!(digits(&call), "5");
    let party = &call.parties[listener];
    // 200 ms of the key, less its first and last 20 ms tick.
    let during = &party.heard[party.heard.len() - 160 * 10..];
    let left = tone::level(during, 8_000, 1_336.0);
    assert!(left < -60.0, "{left} dB during the events");
    call.run(30);
    let party = &call.parties[listener];
    assert!((tone::level(party.last(0.3), 8_000, 1_336.0) + 12.0).abs() < 1.5, "and it is heard again");
}
