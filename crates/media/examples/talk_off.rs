//! Looks for keys in a recording that has none, or has them: says when which was heard, and how much of the sound was taken
//! for one. Development only.
//!
//! `talk_off IN.s16`: mono, 8 kHz. The figure in `audio/keys.rs` is of 29 voices of espeak-ng at three pitches each.

use std::error::Error;
use std::io::Write;

use media::Digit;
use media::audio::codec::g711::Law;
use media::audio::keys::{FRAME, KeyDetector};

fn main() -> Result<(), Box<dyn Error>> {
    let input = std::env::args().nth(1).ok_or("see the top of the source")?;
    let bytes = std::fs::read(input)?;
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    let mut out = std::io::stdout().lock();
    let mut detector = KeyDetector::default();
    let (mut cut, mut keys) = (0, 0);
    for (n, frame) in samples.chunks(FRAME).enumerate() {
        let (mut payload, mut decoded) = ([0; FRAME], [0; FRAME]);
        Law::Mu.encode(frame, &mut payload);
        Law::Mu.decode(&payload, &mut decoded);
        let heard = detector.listen(&decoded);
        cut += heard.before.iter().chain(&heard.now).filter(|cut| **cut).count();
        if let Some(key) = heard.pressed.and_then(Digit::from_event) {
            keys += 1;
            writeln!(out, "{:8.2} s {}", n as f64 / 50.0, key.as_char())?;
        }
    }
    let seconds = samples.len() as f64 / 8_000.0;
    writeln!(out, "{keys} keys in {:.1} min; {:.2} s cut", seconds / 60.0, cut as f64 * 0.005)?;
    Ok(())
}
