//! Decoding by a program that nobody here wrote: ffmpeg and ffprobe as child processes.

use crate::picture::Picture;
use serde_json::Value;
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

/// Each picture of the file's video, as it is shown: in the file's size, one after the other.
///
/// # Errors
/// What ffmpeg said, or that there is no video.
pub fn pictures(path: &Path) -> Result<Vec<Picture>, String> {
    let stream = streams(path)?.into_iter().find(|s| s["codec_type"] == "video").ok_or("no video")?;
    let side = |name: &str| stream[name].as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("no size");
    let (width, height) = (side("width")?, side("height")?);
    let out = run(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args([
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-",
    ]))?;
    let size = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
    out.chunks_exact(size)
        .map(|bytes| Picture::from_i420(width, height, bytes).ok_or("a torn picture".into()))
        .collect()
}

/// When each picture of the file's video is shown, in seconds.
///
/// # Errors
/// What ffprobe said.
pub fn picture_times_s(path: &Path) -> Result<Vec<f64>, String> {
    let args = ["-v", "error", "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time"];
    let out = run(Command::new("ffprobe").args(args).args(["-of", "default=nw=1:nk=1"]).arg(path))?;
    let text = String::from_utf8_lossy(&out).into_owned();
    text.split_whitespace().map(|t| t.parse().map_err(|_| format!("ffprobe says {t:?}"))).collect()
}

/// What ffprobe says of each stream.
///
/// # Errors
/// What ffprobe said instead.
pub fn streams(path: &Path) -> Result<Vec<Value>, String> {
    let out = run(Command::new("ffprobe").args(["-v", "error", "-show_streams", "-of", "json"]).arg(path))?;
    let whole: Value = serde_json::from_slice(&out).map_err(|e| e.to_string())?;
    whole["streams"].as_array().cloned().ok_or_else(|| format!("ffprobe says {whole}"))
}
