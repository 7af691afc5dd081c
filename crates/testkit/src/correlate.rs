//! Finds a known sound within what was heard: normalised cross-correlation, which level and delay do not change.

use std::path::Path;
use std::process::Command;

/// Where a sound was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// 1.0 is the sound itself; speech that is something else stays below 0.3.
    pub likeness: f64,
    /// Sample of `heard` at which the sound begins.
    pub at: usize,
}

/// The best place of `sound` within `heard`; both of one rate. `None` when `heard` is shorter.
///
/// # Panics
/// When `sound` is silent.
pub fn find(heard: &[i16], sound: &[i16]) -> Option<Match> {
    let energy = |pcm: &[i16]| pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
    let own = energy(sound);
    assert!(own > 0.0, "silence is found everywhere");
    let first = heard.get(..sound.len())?;
    let mut window = energy(first);
    let mut best = Match { likeness: -1.0, at: 0 };
    for at in 0..=heard.len() - sound.len() {
        let part = &heard[at..at + sound.len()];
        let product: i64 = part.iter().zip(sound).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
        // What is next to silent is like nothing.
        let likeness = product as f64 / (own * window).sqrt().max(own * 1e-3);
        if likeness > best.likeness {
            best = Match { likeness, at };
        }
        if let Some(next) = heard.get(at + sound.len()) {
            window += f64::from(*next).powi(2) - f64::from(heard[at]).powi(2);
        }
    }
    Some(best)
}

/// A sound file as mono PCM of this rate, decoded by ffmpeg.
///
/// # Panics
/// When ffmpeg cannot read it.
pub fn sound_file(path: &Path, rate_hz: u32) -> Vec<i16> {
    let rate = rate_hz.to_string();
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(path)
        .args(["-f", "s16le", "-ac", "1", "-ar", &rate, "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// The largest step from one sample to the next, as a share of full scale: clicks are large ones.
pub fn largest_step(pcm: &[i16]) -> f64 {
    pcm.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0) as f64 / 32_768.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone;

    /// Noise, the same for each seed.
    fn noise(len: usize, mut seed: u32) -> Vec<i16> {
        (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 18) as i16 - 8192
            })
            .collect()
    }

    #[test]
    fn sound_is_found_at_its_place_whatever_its_level() {
        let sound = noise(1000, 7);
        let mut heard = noise(500, 1);
        heard.extend(sound.iter().map(|s| s / 3));
        heard.extend(noise(700, 2));
        let found = find(&heard, &sound).unwrap();
        assert_eq!(found.at, 500);
        assert!(found.likeness > 0.99, "{found:?}");
    }

    #[test]
    fn something_else_is_not_like_it() {
        let found = find(&noise(4000, 3), &noise(1000, 4)).unwrap();
        assert!(found.likeness < 0.3, "{found:?}");
        assert!(find(&vec![0; 4000], &noise(1000, 4)).unwrap().likeness < 0.1);
        assert_eq!(find(&noise(10, 1), &noise(11, 1)), None);
    }

    #[test]
    fn clicks_are_large_steps() {
        assert!(largest_step(&tone::sine(8000, 400.0, -20.0, 800)) < 0.05);
        assert!(largest_step(&[0, 20_000]) > 0.6);
    }
}
