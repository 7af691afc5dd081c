//! The detector against what Q.24 asks for, and against what is no key.

use super::*;

/// splitmix64.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// One tone pair. Levels are in dBm0: a full-scale sine has +3.17 in µ-law.
#[derive(Clone, Copy)]
struct Tone {
    low: f64,
    high: f64,
    low_dbm0: f64,
    high_dbm0: f64,
    samples: usize,
}

impl Tone {
    fn of(code: u8, dbm0: f64, ms: f64) -> Self {
        let at = KEYS.as_flattened().iter().position(|key| *key == code).unwrap();
        let (low, high) = (f64::from(ROWS_HZ[at / 4]), f64::from(COLUMNS_HZ[at % 4]));
        Self { low, high, low_dbm0: dbm0, high_dbm0: dbm0, samples: (ms * 8.0) as usize }
    }
    fn write(&self, out: &mut [f64]) {
        let amplitude = |dbm0: f64| 32_767.0 * 10f64.powf((dbm0 - 3.17) / 20.0);
        for (n, sample) in out.iter_mut().enumerate().take(self.samples) {
            let wave = |hz: f64| (std::f64::consts::TAU * hz * n as f64 / 8_000.0).sin();
            *sample += amplitude(self.low_dbm0) * wave(self.low) + amplitude(self.high_dbm0) * wave(self.high);
        }
    }
}

/// Tones that begin at these samples, in `samples` of nothing else.
fn line(samples: usize, tones: &[(usize, Tone)]) -> Vec<f64> {
    let mut line = vec![0.0; samples];
    for (at, tone) in tones {
        tone.write(&mut line[*at..]);
    }
    line
}

/// The keys that are heard through G.711, and the slots that are cut.
fn listen(line: &[f64]) -> (Vec<u8>, Vec<bool>) {
    let law = crate::audio::codec::g711::Law::Mu;
    let mut detector = KeyDetector::default();
    let (mut keys, mut cut) = (Vec::new(), Vec::new());
    for frame in line.chunks(FRAME) {
        let pcm: Vec<i16> = frame.iter().map(|s| *s as i16).collect();
        let (mut payload, mut decoded) = (vec![0; pcm.len()], vec![0; pcm.len()]);
        law.encode(&pcm, &mut payload);
        law.decode(&payload, &mut decoded);
        let heard = detector.listen(&decoded);
        let held = cut.len().saturating_sub(SLOTS);
        for (slot, before) in cut[held..].iter_mut().zip(heard.before) {
            *slot |= before;
        }
        cut.extend(heard.now);
        keys.extend(heard.pressed);
    }
    (keys, cut)
}

fn keys(line: &[f64]) -> Vec<u8> {
    listen(line).0
}

#[test]
fn every_key_is_heard_once_whatever_its_level_and_place() {
    for code in 0..16 {
        for dbm0 in [0.0, -10.0, -25.0, -33.0] {
            for place in (0..FRAME).step_by(7) {
                let tone = Tone::of(code, dbm0, 40.0);
                let line = line(2_400, &[(800 + place, tone)]);
                assert_eq!(keys(&line), [code], "key {code} at {dbm0} dBm0, {place} samples into a frame");
            }
        }
    }
}

#[test]
fn forty_milliseconds_and_as_much_pause_are_a_press() {
    for place in (0..FRAME).step_by(11) {
        for code in [0, 5, 10, 15] {
            let tone = Tone::of(code, -12.0, 40.0);
            let presses: Vec<_> = (0..10).map(|n| (320 + place + n * 640, tone)).collect();
            assert_eq!(keys(&line(7_200, &presses)), [code; 10], "key {code} at {place}");
        }
        let all: Vec<_> = (0..16).map(|n| (320 + place + usize::from(n) * 640, Tone::of(n, -12.0, 40.0))).collect();
        assert_eq!(keys(&line(11_200, &all)), (0..16).collect::<Vec<u8>>());
    }
}

#[test]
fn shorter_than_a_press_is_none_and_a_short_interruption_ends_none() {
    for place in (0..FRAME).step_by(7) {
        let short = Tone::of(5, -12.0, 22.0);
        assert_eq!(keys(&line(1_600, &[(480 + place, short)])), [], "at {place}");
        let half = Tone::of(9, -12.0, 60.0);
        // 10 ms missing in the middle; the phase jumps.
        let interrupted = [(320 + place, half), (320 + place + 560, half)];
        assert_eq!(keys(&line(2_400, &interrupted)), [9], "at {place}");
    }
    assert_eq!(keys(&line(80_000, &[(400, Tone::of(7, -12.0, 9_000.0))])), [7], "a long press is one");
}

#[test]
fn frequencies_are_taken_within_one_and_a_half_percent_and_refused_beyond_three_and_a_half() {
    for code in 0..16 {
        for (off, taken) in [(1.015, true), (0.985, true), (1.035, false), (0.965, false)] {
            for place in (0..FRAME).step_by(31) {
                let mut tone = Tone::of(code, -12.0, 60.0);
                (tone.low, tone.high) = (tone.low * off, tone.high * off);
                let heard = keys(&line(2_400, &[(400 + place, tone)]));
                assert_eq!(heard.len(), usize::from(taken), "key {code}, both {off}, at {place}");
                let mut one = Tone::of(code, -12.0, 60.0);
                one.low *= off;
                let heard = keys(&line(2_400, &[(400 + place, one)]));
                assert_eq!(heard.len(), usize::from(taken), "key {code}, low {off}, at {place}");
            }
        }
    }
}

#[test]
fn twist_is_taken_as_lines_make_it_and_refused_beyond() {
    for code in 0..16 {
        for (twist_db, taken) in [(4.0, true), (-8.0, true), (9.0, false), (-14.0, false)] {
            let mut tone = Tone::of(code, -14.0, 60.0);
            tone.high_dbm0 += twist_db;
            let heard = keys(&line(2_400, &[(433, tone)]));
            assert_eq!(heard.len(), usize::from(taken), "key {code} with {twist_db} dB");
        }
    }
}

#[test]
fn noise_on_the_line_hides_no_key_and_makes_none() {
    let mut state = 1;
    let mut line = vec![0.0; 8_000 * 60];
    for press in 0..200usize {
        Tone::of((press % 16) as u8, -10.0, 50.0).write(&mut line[press * 2_400 + 500 + press..]);
    }
    for sample in &mut line {
        // White, 14 dB below the tones.
        *sample += (random(&mut state) - 0.5) * 5_000.0;
    }
    assert_eq!(keys(&line), (0..200).map(|n| (n % 16) as u8).collect::<Vec<u8>>());
    let noise: Vec<f64> = (0..8_000 * 120).map(|_| (random(&mut state) - 0.5) * 20_000.0).collect();
    let (heard, cut) = listen(&noise);
    assert_eq!((heard, cut.iter().filter(|c| **c).count()), (vec![], 0));
}

/// Voices, made of what makes them hard to tell from keys: strong harmonics that glide, formants, syllables.
fn voices(seconds: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut line = Vec::with_capacity(seconds * 8_000);
    let mut phase = 0.0;
    while line.len() < seconds * 8_000 {
        let pitch = 85.0 + 250.0 * random(&mut state);
        let glide = (random(&mut state) - 0.5) * 5_000.0;
        let formants = [
            (300.0 + 600.0 * random(&mut state), 1.0),
            (900.0 + 1_200.0 * random(&mut state), 0.8 * random(&mut state)),
        ];
        let samples = (400.0 + 2_000.0 * random(&mut state)) as usize;
        let loudness = 2_000.0 + 6_000.0 * random(&mut state);
        // Formants are 50 to 150 Hz wide, and a voice is never without its first harmonics.
        let narrow = 50.0 + 100.0 * random(&mut state);
        for n in 0..samples {
            let along = n as f64 / samples as f64;
            let hz = pitch + glide * along;
            phase += hz / 8_000.0;
            let swell = (std::f64::consts::PI * along).sin();
            let mut sample = 0.0;
            for harmonic in 1..(3_800.0 / hz) as usize {
                let at = harmonic as f64 * hz;
                let gain: f64 = formants.iter().map(|(f, g)| g / (1.0 + ((at - f) / narrow).powi(2))).sum();
                let gain = gain + if harmonic < 4 { 0.2 } else { 0.05 };
                sample += gain * (std::f64::consts::TAU * phase * harmonic as f64).sin();
            }
            line.push(sample * loudness * swell + (random(&mut state) - 0.5) * 60.0);
        }
        line.extend((0..(600.0 * random(&mut state)) as usize).map(|_| 0.0));
    }
    line
}

#[test]
fn voices_press_no_key_and_are_hardly_cut() {
    let line = voices(10 * 60, 42);
    let (heard, cut) = listen(&line);
    assert_eq!(heard, [], "in ten minutes");
    let share = cut.iter().filter(|c| **c).count() as f64 / cut.len() as f64;
    // 0.04 % of two hours of espeak-ng, by `examples/talk_off.rs`; these voices are nearer to keys than any.
    assert!(share < 0.015, "{share} of the voice is cut");
}

#[test]
fn a_tone_is_cut_from_its_onset_to_its_end() {
    let mut worst = 0;
    for code in [0, 1, 5, 10, 15] {
        for dbm0 in [-3.0, -20.0] {
            for place in (0..FRAME).step_by(3) {
                for ms in [40.0, 45.0, 95.0, 200.0] {
                    let tone = Tone::of(code, dbm0, ms);
                    let (from, to) = (640 + place, 640 + place + tone.samples);
                    let (_, cut) = listen(&line(4_000, &[(from, tone)]));
                    let slot = FRAME / SLOTS;
                    let left = (from..to).filter(|at| !cut[at / slot]).count();
                    worst = worst.max(left);
                    let kept = cut[..from / slot - 4].iter().chain(&cut[to / slot + 12..]).all(|cut| !cut);
                    assert!(kept, "only the tone is cut: key {code}, {ms} ms, at {place}");
                }
            }
        }
    }
    // A cut also takes 2 ms to close, which the margin before the first hit covers.
    assert_eq!(worst, 0, "samples of tone that remain");
}

#[test]
fn a_tone_behind_a_voice_is_cut_too() {
    let mut worst = 0;
    for (n, place) in (0..FRAME).step_by(5).enumerate() {
        let mut voice = voices(2, n as u64);
        voice[8_000 + place..].fill(0.0);
        let tone = Tone::of(6, -6.0, 80.0);
        tone.write(&mut voice[8_000 + place..]);
        let (heard, cut) = listen(&voice);
        assert_eq!(heard, [6]);
        let left = (8_000 + place..8_000 + place + tone.samples).filter(|at| !cut[at / (FRAME / SLOTS)]).count();
        worst = worst.max(left);
    }
    assert!(worst <= FRAME / 2, "{worst} samples of tone remain");
}
