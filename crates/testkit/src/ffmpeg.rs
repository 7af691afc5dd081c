//! Decoding by a program that nobody here wrote: ffmpeg and ffprobe as child processes.

use std::path::Path;
use std::process::{Command, Stdio};

/// The file as mono PCM at `rate_hz`.
///
/// # Errors
/// What ffmpeg said.
pub fn decode(path: &Path, rate_hz: u32) -> Result<Vec<i16>, String> {
    let rate = rate_hz.to_string();
    let out = run(Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "s16le", "-ac", "1", "-ar", &rate, "-"]))?;
    Ok(out.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
}

/// Playing time in seconds as the container says it.
///
/// # Errors
/// What ffprobe said.
pub fn duration_s(path: &Path) -> Result<f64, String> {
    let out = run(Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "default=nw=1:nk=1"])
        .arg(path))?;
    let text = String::from_utf8_lossy(&out);
    text.trim().parse().map_err(|_| format!("ffprobe says {text:?}"))
}

fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    // A damaged stream is told on stderr only; a test wants to know of it.
    if !out.status.success() || !out.stderr.is_empty() {
        return Err(format!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr)));
    }
    Ok(out.stdout)
}
