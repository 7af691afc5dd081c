//! The receive side of a leg against simulated networks: a virtual clock, seeded loss and jitter, no sockets.

use std::time::{Duration, Instant};

use media::audio::codec::g711::Law;
use media::audio::codec::opus::{OpusEncoder, OpusSettings};
use media::audio::frame::Frame;
use media::playout::{Playout, PlayoutStats, Pulled};
use media::{Bitrate, CodecName, SampleRate};
use proptest::prelude::*;

const CEILING: Duration = Duration::from_millis(200);

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }
    fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

#[derive(Clone)]
struct Packet {
    arrives_us: i64,
    seq: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// Voice at 8 kHz: 125 Hz with overtones, rising and falling twice a second.
fn voice(i: usize) -> i16 {
    let t = i as f32 * std::f32::consts::TAU * 125.0 / 8000.0;
    let loudness = 0.55 + 0.45 * (i as f32 * std::f32::consts::TAU * 2.0 / 8000.0).sin();
    ((t.sin() + 0.5 * (2.0 * t).sin() + 0.3 * (5.0 * t).cos()) * 5000.0 * loudness) as i16
}

/// PCMU packets of `ptime_ms`; `arrives` gives each its arrival in µs after it was sent, or `None` for lost.
fn pcmu(packets: usize, ptime_ms: usize, mut network: impl FnMut(usize) -> Option<i64>) -> Vec<Packet> {
    let n = ptime_ms * 8;
    let mut sent = Vec::new();
    for i in 0..packets {
        let samples: Vec<i16> = (i * n..(i + 1) * n).map(voice).collect();
        let mut payload = vec![0; n];
        Law::Mu.encode(&samples, &mut payload);
        if let Some(transit) = network(i) {
            sent.push(Packet {
                arrives_us: ((i + 1) * ptime_ms * 1000) as i64 + transit,
                seq: (i as u16).wrapping_add(65_000),
                timestamp: ((i * n) as u32).wrapping_add(u32::MAX - 5000),
                marker: i == 0,
                payload,
            });
        }
    }
    sent.sort_by_key(|p| p.arrives_us);
    sent
}

struct Heard {
    pulled: Vec<Pulled>,
    delay_ms: Vec<f64>,
    samples: Vec<i16>,
    stats: PlayoutStats,
}

impl Heard {
    fn count(&self, what: Pulled) -> usize {
        self.pulled.iter().filter(|p| **p == what).count()
    }
    fn max_delay_ms(&self, ticks: std::ops::Range<usize>) -> f64 {
        self.delay_ms[ticks].iter().fold(0.0, |a, b| a.max(*b))
    }
}

/// Plays for `ticks`, the first of which is at `phase_us`.
fn play_on(playout: &mut Playout, packets: &[Packet], ticks: usize, phase_us: i64) -> Heard {
    // Well after the process began, so that arrivals before it can be told.
    let start = Instant::now() + Duration::from_secs(1000);
    let at = |us: i64| start + Duration::from_micros(us as u64);
    let mut heard = Heard { pulled: vec![], delay_ms: vec![], samples: vec![], stats: playout.stats() };
    let mut queue = packets.iter().peekable();
    let mut frame = Frame::silence(SampleRate::Hz8000);
    for tick in 0..ticks {
        let now = tick as i64 * 20_000 + phase_us;
        while let Some(p) = queue.next_if(|p| p.arrives_us <= now) {
            playout.insert(at(p.arrives_us), p.seq, p.timestamp, 7, p.marker, &p.payload);
        }
        heard.pulled.push(playout.pull(at(now), &mut frame));
        heard.samples.extend(frame.samples());
        heard.delay_ms.push(playout.stats().delay.as_secs_f64() * 1000.0);
    }
    heard.stats = playout.stats();
    heard
}

fn play(packets: &[Packet], ticks: usize, phase_us: i64) -> Heard {
    play_on(&mut Playout::new(CodecName::Pcmu, CEILING), packets, ticks, phase_us)
}

#[test]
fn a_quiet_network_adds_no_whole_frame_at_any_phase() {
    for phase_us in (0..20_000).step_by(1000) {
        let mut random = Random(9);
        let packets = pcmu(500, 20, |_| Some(30_000 + random.below(300) as i64));
        let heard = play(&packets, 500, phase_us);
        assert!(heard.count(Pulled::Concealed) <= 2, "{phase_us}: {}", heard.count(Pulled::Concealed));
        // 20 ms, and the margin that keeps packets from straddling the tick.
        assert!(heard.max_delay_ms(0..500) <= 23.0, "{phase_us}: {}", heard.max_delay_ms(0..500));
        let first = heard.pulled.iter().position(|p| *p == Pulled::Voice).unwrap();
        assert!(heard.pulled[first..].iter().skip(2).all(|p| *p != Pulled::Silence));
    }
}

#[test]
fn what_was_sent_is_heard_unchanged_on_a_quiet_network() {
    let packets = pcmu(200, 20, |_| Some(5_000));
    let heard = play(&packets, 200, 10_000);
    let sent: Vec<i16> = packets
        .iter()
        .flat_map(|p| {
            let mut pcm = vec![0; p.payload.len()];
            Law::Mu.decode(&p.payload, &mut pcm);
            pcm
        })
        .collect();
    let first = heard.pulled.iter().position(|p| *p == Pulled::Voice).unwrap() * 160;
    assert_eq!(heard.samples[first..], sent[..heard.samples.len() - first]);
}

#[test]
fn any_packet_time_plays_without_gaps() {
    for ptime in [10, 20, 30, 40, 60] {
        for phase_us in [1_000, 8_000, 15_000] {
            let packets = pcmu(12_000 / ptime, ptime, |_| Some(10_000));
            let heard = play(&packets, 590, phase_us);
            let first = heard.pulled.iter().position(|p| *p == Pulled::Voice).unwrap();
            assert!(first < 8, "{ptime}");
            assert_eq!(heard.count(Pulled::Concealed), 0, "{ptime} ms, phase {phase_us}");
            assert_eq!(heard.stats.late + heard.stats.discarded, 0);
            assert!(heard.max_delay_ms(0..590) <= 41.0, "{ptime}: {}", heard.max_delay_ms(0..590));
        }
    }
}

#[test]
fn random_loss_is_concealed_frame_for_frame_and_adds_no_delay() {
    for percent in [5, 10, 20] {
        let mut random = Random(percent + 1);
        let mut lost = 0;
        let packets = pcmu(3000, 20, |i| {
            let gone = i > 0 && i < 2990 && random.percent(percent);
            lost += u64::from(gone);
            (!gone).then_some(10_000)
        });
        let heard = play(&packets, 3000, 5_000);
        assert_eq!(heard.stats.lost, lost);
        assert!(heard.stats.concealed.abs_diff(lost) <= lost / 50 + 1, "{} {lost}", heard.stats.concealed);
        assert!(heard.max_delay_ms(0..3000) <= 41.0, "{}", heard.max_delay_ms(0..3000));
        assert_eq!(heard.stats.late, 0);
    }
}

#[test]
fn late_packet_is_concealed_not_waited_for() {
    let packets = pcmu(200, 20, |i| Some(if i == 100 { 55_000 } else { 5_000 }));
    let heard = play(&packets, 200, 10_000);
    // Its tick and the next one; then the packets after it play.
    assert!((1..=3).contains(&heard.stats.concealed), "{}", heard.stats.concealed);
    assert_eq!(heard.count(Pulled::Voice) + heard.stats.concealed as usize + 1, 200);
}

#[test]
fn reordered_packets_play_in_order() {
    let mut random = Random(3);
    let packets = pcmu(3000, 20, |_| Some(5_000 + if random.percent(10) { 30_000 } else { 0 }));
    let heard = play(&packets, 3005, 10_000);
    assert_eq!(heard.stats.lost, 0);
    // Learnt after the first few.
    assert!(heard.stats.concealed + heard.stats.late < 30, "{:?}", heard.stats);
    assert!(heard.max_delay_ms(1000..3000) <= 65.0, "{}", heard.max_delay_ms(1000..3000));
}

#[test]
fn a_straddling_phase_settles_on_one_extra_frame() {
    let mut random = Random(5);
    // Arrives from 1 ms before to 1 ms after the tick.
    let packets = pcmu(3000, 20, |_| Some(9_000 + random.below(2_000) as i64));
    let heard = play(&packets, 3000, 10_000);
    assert!(heard.stats.concealed + heard.stats.late <= 5, "{:?}", heard.stats);
    assert!(heard.max_delay_ms(0..3000) <= 45.0);
}

#[test]
fn jitter_raises_the_delay_and_quiet_lowers_it_again() {
    let mut random = Random(11);
    let packets = pcmu(6000, 20, |i| {
        Some(10_000 + if (1000..3000).contains(&i) { random.below(60_000) as i64 } else { random.below(300) as i64 })
    });
    let heard = play(&packets, 6000, 5_000);
    let jittery = heard.max_delay_ms(2000..3000);
    assert!((50.0..=110.0).contains(&jittery), "{jittery}");
    let concealed = heard.pulled[1500..3000].iter().filter(|p| **p == Pulled::Concealed).count();
    assert!(concealed < 45, "{concealed}");
    assert!(heard.max_delay_ms(5000..6000) <= 21.5, "{}", heard.max_delay_ms(5000..6000));
}

#[test]
fn a_stall_with_backlog_is_over_within_five_seconds_and_never_above_the_ceiling() {
    for stall_ms in [60, 100, 180, 300, 2000] {
        let packets = pcmu(1500, 20, |i| {
            let sent = (i as i64 + 1) * 20_000;
            let (from, until) = (10_000_000, 10_000_000 + stall_ms * 1000);
            Some(if sent >= from && sent < until { until - sent + 5_000 } else { 5_000 })
        });
        let heard = play(&packets, 1400, 10_000);
        let base = heard.delay_ms[490];
        let over = 500 + stall_ms as usize / 20;
        assert!(heard.max_delay_ms(0..1400) <= 220.0, "{stall_ms}: {}", heard.max_delay_ms(0..1400));
        let after = heard.max_delay_ms(over + 250..1400);
        assert!(after <= base + 1.0, "{stall_ms}: base {base}, 5 s later {after}");
        assert_eq!(heard.pulled[over + 250..].iter().filter(|p| **p != Pulled::Voice).count(), 0);
    }
}

#[test]
fn a_sender_that_pauses_without_counting_time_goes_on_at_base() {
    for pause_ms in [100, 500, 5000] {
        let packets = pcmu(1500, 20, |i| Some(5_000 + if i >= 500 { pause_ms * 1000 } else { 0 }));
        let heard = play(&packets, 1700, 10_000);
        assert!(heard.delay_ms[1690] <= heard.delay_ms[490] + 21.0, "{pause_ms} {}", heard.delay_ms[1690]);
    }
}

#[test]
fn drift_leaves_the_delay_where_it_was() {
    for ppm in [500, -500] {
        for phase_us in [1_000, 10_000, 19_000] {
            let mut random = Random(phase_us as u64);
            let packets = pcmu(30_000, 20, |i| {
                let drift = -(i as i64 * 20_000) * ppm / 1_000_000;
                Some(400_000 + drift + random.below(200) as i64)
            });
            let heard = play(&packets, 29_500, phase_us);
            let first = heard.pulled.iter().position(|p| *p == Pulled::Voice).unwrap();
            let base = heard.delay_ms[first + 50];
            let max = heard.max_delay_ms(first..29_500);
            assert!(max <= base + 20.5 || max <= 22.5, "{ppm} ppm from {phase_us}: base {base}, max {max}");
            assert!(heard.stats.concealed + heard.stats.late < 20, "{ppm}: {:?}", heard.stats);
            assert_eq!(heard.count(Pulled::Silence), first);
        }
    }
}

#[test]
fn a_gap_in_time_without_loss_is_silence() {
    let mut packets = pcmu(1000, 20, |i| ((i / 100) % 2 == 0).then_some(5_000));
    for (i, p) in packets.iter_mut().enumerate() {
        p.seq = i as u16;
        p.marker = i % 100 == 0;
    }
    let heard = play(&packets, 1000, 10_000);
    assert_eq!(heard.stats.lost, 0);
    // Each pause begins unannounced, so that concealment starts and fades out.
    assert!(heard.stats.concealed <= 4 * 5, "{}", heard.stats.concealed);
    assert!(heard.count(Pulled::Voice) >= 500 - 10);
    assert!(heard.max_delay_ms(0..1000) <= 21.0);
}

#[test]
fn comfort_noise_announces_a_pause() {
    let mut playout = Playout::new(CodecName::Pcmu, CEILING);
    let start = Instant::now();
    let mut frame = Frame::silence(SampleRate::Hz8000);
    let mut concealed = 0;
    for tick in 0..100u64 {
        let now = start + Duration::from_millis(tick * 20);
        match tick {
            0..20 => playout.insert(now, tick as u16, tick as u32 * 160, 1, false, &[0x20; 160]),
            20 => playout.insert_comfort_noise(now, 20, 20 * 160, 1),
            60.. => playout.insert(now, tick as u16 - 39, tick as u32 * 160, 1, tick == 60, &[0x20; 160]),
            _ => {}
        }
        let pulled = playout.pull(now + Duration::from_millis(5), &mut frame);
        concealed += u32::from(pulled == Pulled::Concealed);
        assert_eq!(pulled == Pulled::Silence, (21..60).contains(&tick), "{tick}");
    }
    assert_eq!((concealed, playout.stats().lost), (0, 0));
}

#[test]
fn telephone_events_are_not_loss() {
    let mut playout = Playout::new(CodecName::Pcmu, CEILING);
    let start = Instant::now();
    let mut frame = Frame::silence(SampleRate::Hz8000);
    for tick in 0..200u64 {
        let now = start + Duration::from_millis(tick * 20);
        if (50..60).contains(&tick) {
            playout.note_foreign(tick as u16);
        } else {
            playout.insert(now, tick as u16, tick as u32 * 160, 1, false, &[0x20; 160]);
        }
        playout.pull(now + Duration::from_millis(5), &mut frame);
    }
    let stats = playout.stats();
    assert_eq!((stats.lost, stats.late), (0, 0));
    assert!(stats.concealed <= 4 && stats.delay <= Duration::from_millis(21));
}

#[test]
fn another_source_or_another_clock_goes_on_at_once() {
    let mut playout = Playout::new(CodecName::Pcmu, CEILING);
    let start = Instant::now();
    let mut frame = Frame::silence(SampleRate::Hz8000);
    let mut silent = 0;
    for tick in 0..600u32 {
        let now = start + Duration::from_millis(u64::from(tick) * 20);
        let (seq, timestamp, ssrc) = match tick {
            0..100 => (tick as u16, tick * 160, 1),
            100..200 => (tick as u16 * 3 + 40_000 - tick as u16 * 2, tick * 160 + 99, 2),
            // The clock jumps forward, then back, then stands still.
            200..300 => (40_000 + tick as u16, tick * 160 + 1_000_000, 2),
            300..400 => (40_000 + tick as u16, tick * 160, 2),
            400..500 => (40_000 + tick as u16, 7, 2),
            // The sequence restarts under the same SSRC.
            _ => (tick as u16, tick * 160, 2),
        };
        playout.insert(now, seq, timestamp, ssrc, false, &[0x20; 160]);
        let pulled = playout.pull(now + Duration::from_millis(5), &mut frame);
        silent += u32::from(pulled != Pulled::Voice);
    }
    assert!(silent <= 6, "{silent}");
    assert!(playout.stats().delay <= Duration::from_millis(45), "{:?}", playout.stats());
}

#[test]
fn skipped_ticks_cost_no_sound_later() {
    let packets = pcmu(400, 20, |_| Some(5_000));
    let mut playout = Playout::new(CodecName::Pcmu, CEILING);
    let start = Instant::now();
    let mut frame = Frame::silence(SampleRate::Hz8000);
    let mut queue = packets.iter().peekable();
    for tick in 0..390i64 {
        let now = tick * 20_000 + 10_000;
        while let Some(p) = queue.next_if(|p| p.arrives_us <= now) {
            playout.insert(
                start + Duration::from_micros(p.arrives_us as u64),
                p.seq,
                p.timestamp,
                7,
                false,
                &p.payload,
            );
        }
        let at = start + Duration::from_micros(now as u64);
        if (100..200).contains(&tick) {
            playout.skip(at);
        } else if !(300..310).contains(&tick) {
            let pulled = playout.pull(at, &mut frame);
            assert!(pulled == Pulled::Voice || tick < 2 || (200..=201).contains(&tick), "{tick} {pulled:?}");
            assert!(tick < 2 || playout.stats().delay <= Duration::from_millis(21), "{tick} {:?}", playout.stats());
        }
    }
    assert_eq!(playout.stats().lost, 0);
}

fn opus_encoder(loss: u8, dtx: bool) -> OpusEncoder {
    OpusEncoder::new(OpusSettings {
        bitrate: Bitrate::kbps(32),
        complexity: 5,
        expected_loss_percent: loss,
        fec: loss > 0,
        dtx,
    })
    .expect("libopus takes these settings")
}

fn opus(packets: usize, dtx: bool, loss: u8, mut keep: impl FnMut(usize) -> bool) -> Vec<Packet> {
    let mut encoder = opus_encoder(loss, dtx);
    let mut sent = Vec::new();
    let mut seq = 0u16;
    for i in 0..packets {
        let speaks = !dtx || (i / 100) % 2 == 0;
        let samples: Vec<i16> = (i * 960..(i + 1) * 960).map(|n| if speaks { voice(n / 6) } else { 0 }).collect();
        let mut payload = vec![0; 1275];
        let n = encoder.encode(&samples, &mut payload).expect("a frame of 20 ms");
        payload.truncate(n);
        // A sender in DTX does not send packets of up to 2 bytes, but for the first.
        let sends = !dtx || n > 2 || sent.last().is_none_or(|p: &Packet| p.payload.len() > 2);
        if sends && keep(i) {
            sent.push(Packet {
                arrives_us: (i as i64 + 1) * 20_000 + 5_000,
                seq,
                timestamp: i as u32 * 960,
                marker: false,
                payload,
            });
        }
        seq = seq.wrapping_add(u16::from(sends));
    }
    sent
}

#[test]
fn opus_loss_is_mended_by_fec_after_the_first_few() {
    let mut random = Random(77);
    let all = opus(2000, false, 10, |_| true);
    let lost: Vec<bool> = (0..2000).map(|i| i > 10 && i < 1990 && random.percent(8)).collect();
    let has_fec = |i: usize| media::audio::codec::opus::inspect(&all[i].payload).is_some_and(|p| p.fec);
    let hopeless = (0..1990).filter(|&i| lost[i] && (lost[i + 1] || !has_fec(i + 1))).count() as u64;
    let packets: Vec<Packet> = all.iter().zip(&lost).filter(|(_, lost)| !**lost).map(|(p, _)| p.clone()).collect();
    let heard = play_on(&mut Playout::new(CodecName::Opus, CEILING), &packets, 2000, 10_000);
    assert!(heard.stats.lost > 120);
    assert!(heard.stats.concealed <= hopeless + 6, "{} {hopeless}", heard.stats.concealed);
    assert!(heard.max_delay_ms(0..2000) <= 62.0, "{}", heard.max_delay_ms(0..2000));
}

#[test]
fn opus_dtx_is_silence_not_loss() {
    let packets = opus(1000, true, 0, |_| true);
    assert!(packets.len() < 850, "{}", packets.len());
    let heard = play_on(&mut Playout::new(CodecName::Opus, CEILING), &packets, 1000, 10_000);
    assert_eq!((heard.stats.lost, heard.stats.late, heard.stats.concealed), (0, 0, 0));
    assert!(heard.count(Pulled::Silence) > 150);
    assert!(heard.max_delay_ms(0..1000) <= 21.0);
}

#[test]
fn a_changed_codec_keeps_the_counters() {
    let mut playout = Playout::new(CodecName::Pcmu, CEILING);
    let packets = pcmu(100, 20, |i| (i != 50).then_some(5_000));
    assert_eq!(play_on(&mut playout, &packets, 100, 10_000).stats.lost, 1);
    playout.set_codec(CodecName::Opus);
    let heard = play_on(&mut playout, &opus(100, false, 0, |_| true), 100, 10_000);
    assert_eq!(heard.stats.lost, 1);
    assert!(heard.count(Pulled::Voice) > 90);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    #[test]
    fn no_packets_panic_or_hold_more_than_the_ceiling(
        codec in prop_oneof![Just(CodecName::Pcmu), Just(CodecName::Pcma), Just(CodecName::Opus)],
        ceiling_ms in 0u64..500,
        steps in prop::collection::vec(
            (0u8..12, any::<u16>(), any::<u32>(), 0u64..120_000, prop::collection::vec(any::<u8>(), 0..200)), 1..300),
    ) {
        let start = Instant::now() + Duration::from_secs(100);
        let mut playout = Playout::new(codec, Duration::from_millis(ceiling_ms));
        let mut frame = Frame::silence(SampleRate::Hz8000);
        let (mut now, mut seq, mut timestamp) = (start, 0u16, 0u32);
        for (kind, a, b, wait, mut payload) in steps {
            seq = seq.wrapping_add(1);
            timestamp = timestamp.wrapping_add(960);
            if b % 4 > 0 && codec == CodecName::Opus && let Some(toc) = payload.first_mut() {
                // Mostly one frame of 20 ms.
                *toc = 0x78;
            }
            match kind {
                0 => playout.insert(now, a, b, 1, false, &payload),
                1 => playout.insert(now - Duration::from_micros(wait), seq, b, 1, true, &payload),
                2 => playout.insert(now, seq, timestamp, b % 3, false, &payload),
                3 => playout.insert_comfort_noise(now, seq, timestamp, 1),
                4 => playout.note_foreign(a % 50),
                5 => playout.skip(now),
                6 => { seq = seq.wrapping_sub(a % 20); timestamp = timestamp.wrapping_sub(b % 20_000); }
                7 => { timestamp = timestamp.wrapping_add(b % 200_000); }
                _ => playout.insert(now, seq, timestamp, 1, false, &payload),
            }
            if kind % 2 == 0 {
                now += Duration::from_micros(if kind == 8 { wait } else { 20_000 });
                playout.pull(now, &mut frame);
                let bound = ceiling_ms.clamp(60, 400) + 120 + 20;
                prop_assert!(playout.stats().delay <= Duration::from_millis(bound), "{:?}", playout.stats());
            }
            let _ = (playout.report(), playout.loss_percent());
        }
    }
}
