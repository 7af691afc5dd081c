//! Whole rooms on a virtual clock: who hears whom, at which level, and what everything else does to that.

mod keys;
mod moves;
mod parties;
mod prompts;
mod web;
mod workers;

use std::time::Duration;

use media::{CodecName, Event, Gain, LegSettings};
use parties::{Call, rtp};
use testkit::netem::Rng;
use testkit::tone::{self, Expectation};

const TONES: [f64; 6] = [440.0, 620.0, 830.0, 1070.0, 1310.0, 1590.0];
const LEVEL_DB: f64 = -20.0;

/// Party `i` hears every other tone at its level, and not its own.
fn expect_all_but_own(call: &Call, talkers: usize) {
    for (i, party) in call.parties.iter().enumerate() {
        let expectation = Expectation {
            present: (0..talkers).filter(|t| *t != i).map(|t| TONES[t]).collect(),
            // Opus at 40 kbit/s has coding noise beside loud tones; what is not subtracted would be far above it.
            absent: if i < talkers && party.codec != CodecName::Opus { vec![TONES[i]] } else { vec![] },
            level_db: LEVEL_DB,
            tolerance_db: 1.5,
        };
        if let Err(wrong) = expectation.check(party.last(0.5), party.rate) {
            panic!("party {i} ({:?}): {wrong}", party.codec);
        }
        if i < talkers {
            let own = tone::level(party.last(0.5), party.rate, TONES[i]);
            assert!(own < LEVEL_DB - 35.0, "party {i} ({:?}) hears itself at {own}", party.codec);
        }
    }
}

fn call(codecs: &[CodecName], max_talkers: usize) -> Call {
    let mut call = Call::new(max_talkers);
    for (codec, hz) in codecs.iter().zip(TONES) {
        call.join(*codec, hz, LEVEL_DB);
    }
    call
}

#[test]
fn everyone_hears_everyone_but_themselves() {
    use CodecName::{Opus, Pcma, Pcmu};
    for codecs in [&[Pcmu, Pcmu, Pcmu][..], &[Pcma, Pcmu], &[Opus, Opus, Opus, Opus], &[Pcmu, Opus, Pcma, Opus, Pcmu]] {
        let mut call = call(codecs, 8);
        call.run(75);
        expect_all_but_own(&call, codecs.len());
    }
}

#[test]
fn what_a_talker_hears_is_exactly_the_sum_of_the_others() {
    let mut call = call(&[CodecName::Pcmu; 3], 0);
    call.run(10);
    let start = call.parties[0].heard.len();
    call.run(25);
    // G.711 decodes, sums and encodes without any other arithmetic: the bytes can be foretold. What is played was sent
    // one tick earlier or in the same tick; the tones repeat every second, so compare by the known positions.
    let pcm: Vec<Vec<i16>> = TONES[..3]
        .iter()
        .map(|hz| tone::sine(8_000, *hz, LEVEL_DB, 8_000))
        .map(|p| p.iter().map(|s| testkit::g711::ulaw_decode(testkit::g711::ulaw_encode(*s))).collect())
        .collect();
    let heard = &call.parties[0].heard[start..];
    let sum = |at: usize| i32::from(pcm[1][at % 8000]) + i32::from(pcm[2][at % 8000]);
    // Of two codes equally near to a sum, either is exact.
    let off = |at: usize, value: i16| (i32::from(value) - sum(at)).abs();
    let nearest = |at: usize| off(at, testkit::g711::ulaw_decode(testkit::g711::ulaw_encode(sum(at) as i16)));
    let exact =
        |delay: usize| heard.iter().enumerate().all(|(n, s)| off(start + n - delay, *s) == nearest(start + n - delay));
    assert!((0..800).any(exact), "not the exact sum at any delay");
}

#[test]
fn a_quiet_network_adds_no_whole_frame() {
    for codec in [CodecName::Pcmu, CodecName::Opus] {
        let mut call = call(&[codec; 2], 8);
        call.run(500);
        for leg in call.room.snapshot().legs {
            assert!(leg.stats.playout_delay <= Duration::from_millis(20), "{:?}", leg.stats.playout_delay);
            assert_eq!(leg.stats.frames_concealed, 0);
        }
    }
}

#[test]
fn listeners_of_one_profile_get_the_same_bytes() {
    let mut call = call(&[CodecName::Opus; 3], 8);
    for _ in 0..5 {
        let listener = call.join(CodecName::Opus, 2000.0, LEVEL_DB);
        let leg = call.parties[listener].leg;
        call.room.set(leg, LegSettings { muted: true, ..LegSettings::default() }).unwrap();
    }
    call.run(100);
    let first = call.parties[3].last_payload.clone();
    assert!(call.parties[3..].iter().all(|p| p.last_payload == first));
    assert!(call.parties[..3].iter().all(|p| p.last_payload != first));
    expect_all_but_own(&call, 3);
}

#[test]
fn a_muted_leg_is_not_heard_and_comes_back() {
    for codec in [CodecName::Pcmu, CodecName::Opus] {
        let mut call = call(&[codec; 3], 8);
        call.run(50);
        let leg = call.parties[2].leg;
        call.room.set(leg, LegSettings { muted: true, ..LegSettings::default() }).unwrap();
        // 100 ms later the tone is gone.
        call.run(5);
        let from = call.parties[0].heard.len();
        call.run(25);
        let heard = &call.parties[0].heard[from..];
        let level = tone::level(heard, call.parties[0].rate, TONES[2]);
        assert!(level < LEVEL_DB - 40.0, "{codec:?}: muted tone at {level} dB");
        call.room.set(leg, LegSettings::default()).unwrap();
        call.run(50);
        expect_all_but_own(&call, 3);
    }
}

#[test]
fn deaf_and_gain_are_each_legs_own() {
    let mut call = call(&[CodecName::Opus, CodecName::Pcmu, CodecName::Opus], 8);
    let settings = LegSettings::default();
    let legs: Vec<_> = call.parties.iter().map(|p| p.leg).collect();
    call.room.set(legs[0], LegSettings { gain_in: Gain::db(-6.0), ..settings }).unwrap();
    call.room.set(legs[1], LegSettings { deaf: true, ..settings }).unwrap();
    call.room.set(legs[2], LegSettings { gain_out: Gain::db(6.0), ..settings }).unwrap();
    call.run(75);
    assert!(tone::rms_db(call.parties[1].last(0.5)) < -70.0, "a deaf leg hears nothing");
    let level = |party: usize, hz| tone::level(call.parties[party].last(0.5), call.parties[party].rate, hz);
    assert!((level(2, TONES[0]) - LEVEL_DB).abs() < 1.5, "−6 dB in, +6 dB out");
    assert!((level(2, TONES[1]) - LEVEL_DB - 6.0).abs() < 1.5);
    assert!((level(0, TONES[1]) - LEVEL_DB).abs() < 1.5);
}

#[test]
fn a_large_room_hears_the_loudest() {
    let mut call = Call::new(3);
    for hz in &TONES[..3] {
        call.join(CodecName::Pcmu, *hz, LEVEL_DB);
    }
    for _ in 3..20 {
        call.join(CodecName::Pcmu, 2_400.0, -40.0);
    }
    call.run(100);
    expect_all_but_own(&call, 3);
    let quiet = tone::level(call.parties[19].last(0.5), 8_000, 2_400.0);
    assert!(quiet < -60.0, "legs that are not on the bus are not heard: {quiet}");
}

#[test]
fn talkers_take_turns_without_a_click() {
    // Twelve Opus legs, one seat on the bus: the floor moves every second, every time with an encoder hand-over.
    let mut call = Call::new(1);
    for _ in 0..12 {
        call.join(CodecName::Opus, 500.0, -20.0);
    }
    let listener = call.join(CodecName::Opus, 3_000.0, -90.0);
    let settings = |muted| LegSettings { muted, ..LegSettings::default() };
    for p in 0..12 {
        let leg = call.parties[p].leg;
        call.room.set(leg, settings(true)).unwrap();
    }
    for turn in 0..12 {
        let leg = call.parties[turn].leg;
        call.room.set(leg, settings(false)).unwrap();
        call.run(50);
        call.room.set(leg, settings(true)).unwrap();
        call.run(10);
    }
    // A click is energy far away from the tone.
    let heard = call.parties[listener].last(12.0);
    let worst = heard
        .chunks(960)
        .map(|frame| (5..20).map(|k| tone::level(frame, 48_000, f64::from(k) * 1_000.0)).fold(-120.0, f64::max))
        .fold(-120.0, f64::max);
    assert!(worst < -50.0, "{worst} dB beside a −20 dB tone");
}

#[test]
fn loss_and_jitter_stay_under_the_ceiling() {
    for (codec, loss) in [CodecName::Pcmu, CodecName::Opus].into_iter().flat_map(|c| [0.05, 0.10, 0.20].map(|l| (c, l)))
    {
        let mut call = call(&[codec; 2], 8);
        let mut rng = Rng::new(7);
        for _ in 0..20 {
            call.run_with(50, |_, party, _| party != 0 || !rng.chance(loss));
            let leg = &call.room.snapshot().legs[0];
            assert!(leg.stats.playout_delay <= Duration::from_millis(200), "{:?}", leg.stats.playout_delay);
        }
        // Energy survives concealment: the tone is still the loudest thing heard.
        let level = tone::level(call.parties[1].last(2.0), call.parties[1].rate, TONES[0]);
        assert!((level - LEVEL_DB).abs() < 5.0, "{codec:?} at {loss}: {level}");
        let stats = call.room.snapshot().legs[0].stats;
        let expected = 1000.0 * loss;
        assert!((stats.packets_lost as f64 - expected).abs() < expected * 0.4 + 5.0, "{stats:?}");
    }
}

#[test]
fn reordering_is_repaired_without_loss() {
    let mut call = call(&[CodecName::Pcmu; 2], 8);
    call.run(10);
    let mut held: Option<Vec<u8>> = None;
    for n in 0..500u32 {
        call.ticks += 1;
        let arrived = Duration::from_millis(20) * call.ticks as u32 - call.lead;
        for i in 0..2 {
            let packet = call.parties[i].speak();
            let leg = call.parties[i].leg;
            // Every tenth packet of party 0 comes after its successor.
            if i == 0 && n % 10 == 0 {
                held = Some(packet);
                continue;
            }
            call.room.deliver(leg, arrived, &packet);
            if i == 0
                && let Some(late) = held.take()
            {
                call.room.deliver(leg, arrived, &late);
            }
        }
        call.tick();
    }
    let stats = call.room.snapshot().legs[0].stats;
    assert_eq!(stats.packets_lost, 0, "{stats:?}");
    assert!(stats.frames_concealed < 10, "after the first few the buffer waits for them: {stats:?}");
}

#[test]
fn a_stall_and_its_backlog_are_over_within_five_seconds() {
    for codec in [CodecName::Pcmu, CodecName::Opus] {
        let mut call = call(&[codec; 2], 8);
        call.run(200);
        let base = call.room.snapshot().legs[0].stats.playout_delay;
        let mut backlog = Vec::new();
        for _ in 0..100 {
            call.ticks += 1;
            let arrived = Duration::from_millis(20) * call.ticks as u32 - call.lead;
            backlog.push(call.parties[0].speak());
            let packet = call.parties[1].speak();
            call.room.deliver(call.parties[1].leg, arrived, &packet);
            call.tick();
        }
        let arrived = Duration::from_millis(20) * call.ticks as u32 + Duration::from_millis(3);
        for packet in backlog {
            call.room.deliver(call.parties[0].leg, arrived, &packet);
        }
        for tick in 0..250 {
            call.run(1);
            let delay = call.room.snapshot().legs[0].stats.playout_delay;
            assert!(delay <= Duration::from_millis(200), "{codec:?}: {delay:?} at tick {tick}");
        }
        let delay = call.room.snapshot().legs[0].stats.playout_delay;
        assert!(delay <= base + Duration::from_millis(20), "{codec:?}: {delay:?}, before {base:?}");
        call.run(25);
        expect_all_but_own(&call, 2);
    }
}

#[test]
fn hold_silences_and_resume_restores() {
    let mut call = call(&[CodecName::Pcmu; 3], 8);
    call.run(25);
    let leg = call.parties[2].leg;
    let held = parties::offer(CodecName::Pcmu).replace("sendrecv", "sendonly");
    assert!(call.room.renegotiate(leg, &held).unwrap().on_hold);
    call.run(10);
    let packets = call.parties[2].packets;
    call.run(50);
    assert_eq!(call.parties[2].packets, packets, "nothing is sent to a leg that holds");
    let level = tone::level(call.parties[0].last(0.5), 8_000, TONES[2]);
    assert!(level < -60.0, "its music on hold stays out of the room: {level}");
    assert!(!call.room.renegotiate(leg, &parties::offer(CodecName::Pcmu)).unwrap().on_hold);
    call.parties[2].sequence = None;
    call.run(75);
    expect_all_but_own(&call, 3);
}

#[test]
fn codec_changes_within_the_call() {
    let mut call = call(&[CodecName::Pcmu; 3], 8);
    call.run(25);
    let leg = call.parties[2].leg;
    let answer = call.room.renegotiate(leg, &parties::offer(CodecName::Opus)).unwrap();
    assert_eq!(answer.codec, CodecName::Opus);
    call.parties[2] = parties::Party::new(leg, CodecName::Opus, tone::sine(48_000, TONES[2], LEVEL_DB, 48_000));
    call.run(100);
    expect_all_but_own(&call, 3);
}

#[test]
fn keys_and_talking_are_told_once() {
    let mut call = call(&[CodecName::Pcmu; 2], 8);
    call.run(50);
    let leg = call.parties[0].leg;
    let timestamp = call.parties[0].timestamp;
    let arrived = Duration::from_millis(20) * call.ticks as u32;
    for (n, end) in [false, false, true, true, true].into_iter().enumerate() {
        let party = &mut call.parties[0];
        let payload = [5, if end { 0x8a } else { 0x0a }, 0, 160 * (n as u8 % 2)];
        let packet = rtp(101, party.seq, timestamp, 0x1234_0000, &payload);
        party.seq = party.seq.wrapping_add(1);
        call.room.deliver(leg, arrived, &packet);
    }
    call.run(5);
    let digits: Vec<char> = call.events.iter().filter(|e| matches!(e, Event::Dtmf { .. })).map(digit).collect();
    assert_eq!(digits, ['5']);
    let talking = call.events.iter().filter(|e| matches!(e, Event::Talking { talking: true, .. })).count();
    assert_eq!(talking, 2, "each of the two started once");
    assert!(call.events.iter().filter(|e| matches!(e, Event::LegUp { .. })).count() == 2);
}

fn digit(event: &Event) -> char {
    match event {
        Event::Dtmf { digit, .. } => digit.as_char(),
        _ => ' ',
    }
}

#[test]
fn garbage_reaches_nobody() {
    let mut call = call(&[CodecName::Pcmu, CodecName::Opus, CodecName::Pcmu], 8);
    call.run(25);
    let mut rng = Rng::new(3);
    for n in 0..2_000u32 {
        let mut bytes: Vec<u8> = (0..rng.next_u32() % 200).map(|_| rng.next_u32() as u8).collect();
        if n % 2 == 0 && bytes.len() > 12 {
            bytes[0] = 0x80;
            bytes[1] = [0, 8, 111, 101, 13][(n as usize / 2) % 5];
        }
        let leg = call.parties[n as usize % 2].leg;
        call.room.deliver(leg, Duration::from_millis(20) * call.ticks as u32, &bytes);
        if n % 100 == 0 {
            call.run(1);
        }
    }
    // Both senders were drowned in forged streams from their own address; the room and its third leg stay well, and
    // their own streams win again.
    call.run(150);
    assert_eq!(call.room.snapshot().legs.len(), 3);
    expect_all_but_own(&call, 3);
}

#[test]
fn a_silent_leg_ends_after_a_minute_unless_it_holds() {
    let mut call = call(&[CodecName::Pcmu; 3], 8);
    call.run(10);
    let holder = call.parties[2].leg;
    call.room.renegotiate(holder, &parties::offer(CodecName::Pcmu).replace("sendrecv", "inactive")).unwrap();
    let silent = call.parties[1].leg;
    call.run_with(3_100, |_, party, _| party == 0);
    let down: Vec<_> = call.events.iter().filter(|e| matches!(e, Event::LegDown { .. })).collect();
    assert_eq!(down.len(), 1, "{down:?}");
    assert!(matches!(down[0], Event::LegDown { leg, reason: media::LegEnd::MediaTimeout, .. } if *leg == silent));
}
