//! Chromium without a window as a child process: a browser plays a movie, seeks in it and tells what it shows. The page and
//! what it tells go over a listener on loopback that is here; the movie is in the page.

use crate::picture::Colour;
use crate::server::TempDir;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// As Debian installs it.
const BINARY: &str = "chromium-headless-shell";
/// A browser starts in a second or two, on a busy machine in several.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest report that is read.
const MAX_REPORT_BYTES: u64 = 64 * 1024;

/// What the browser made of a movie.
#[derive(Clone, Debug)]
pub struct Played {
    /// As it states it, in seconds.
    pub duration_s: f64,
    /// Of the picture.
    pub size: (u64, u64),
    /// How far it came in a second and a half of playing, in seconds.
    pub played_s: f64,
    /// Bytes of sound that it decoded meanwhile.
    pub audio_bytes: u64,
    /// For each place that was sought: where it is, in seconds, and the colours at the points there.
    pub sought: Vec<(f64, Vec<Option<Colour>>)>,
}

/// Plays the file from its beginning, then seeks to each place (in seconds) and looks at these points.
///
/// # Errors
/// What the browser complained of, or that it told nothing.
pub fn play(movie: &Path, places_s: &[f64], points: &[(usize, usize)]) -> Result<Played, String> {
    let movie = std::fs::read(movie).map_err(|e| format!("{}: {e}", movie.display()))?;
    let page = page(&movie, places_s, points);
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let dir = TempDir::new("chromium");
    let mut browser = Command::new(BINARY)
        .args(["--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio", "--disable-background-networking"])
        .args(["--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", dir.path().display()))
        .arg(format!("http://{address}/"))
        .env("HOME", dir.path())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{BINARY} does not start: {e}"))?;
    let told = wait_report(&listener, &page);
    // Debian's binary is a script that waits for the browser, which has children of its own: all of the group.
    let group = format!("-{}", browser.id());
    let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
    let _ = browser.wait();
    killed.map_err(|e| format!("the browser is left behind: {e}"))?;
    report(&told?)
}

/// Serves the page to whoever asks until somebody tells what came of it.
fn wait_report(listener: &TcpListener, page: &str) -> Result<Value, String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(told) = answer(&stream, page) {
                    return serde_json::from_slice(&told).map_err(|e| format!("a strange report: {e}"));
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(20)),
            Err(e) => return Err(e.to_string()),
        }
    }
    Err(format!("the browser tells nothing in {PATIENCE:?}"))
}

/// One request; what it told, if it did. A connection that breaks tells nothing.
fn answer(mut stream: &TcpStream, page: &str) -> Option<Vec<u8>> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut reader = BufReader::new(stream.take(MAX_REPORT_BYTES));
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut told = Vec::new();
    reader.take(length).read_to_end(&mut told).ok()?;
    let body = if first.starts_with("GET / ") { page } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
    first.starts_with("POST /told ").then_some(told)
}

fn page(movie: &[u8], places_s: &[f64], points: &[(usize, usize)]) -> String {
    let mut hex = String::with_capacity(movie.len() * 2);
    for byte in movie {
        let _ = write!(hex, "{byte:02x}");
    }
    let points: Vec<[usize; 2]> = points.iter().map(|&(x, y)| [x, y]).collect();
    PAGE.replace("POINTS", &serde_json::json!(points).to_string())
        .replace("PLACES", &serde_json::json!(places_s).to_string())
        .replace("MOVIE", &hex)
}

/// Of each point, the mean of a square of 8 pixels.
const PAGE: &str = r#"<!doctype html><video muted playsinline></video><script>
const tell = report => fetch('/told', {method: 'POST', body: JSON.stringify(report)});
const video = document.querySelector('video');
const until = name => new Promise((good, bad) => {
  video.addEventListener(name, good, {once: true});
  video.addEventListener('error', () => bad(video.error.message), {once: true});
});
(async () => {
  const hex = 'MOVIE', bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.substr(2 * i, 2), 16);
  video.src = URL.createObjectURL(new Blob([bytes], {type: 'video/mp4'}));
  await until('loadeddata');
  const report = {duration: video.duration, width: video.videoWidth, height: video.videoHeight, sought: []};
  const playing = until('playing');
  await video.play();
  await playing;
  const began = video.currentTime;
  await new Promise(good => setTimeout(good, 1500));
  report.played = video.currentTime - began;
  report.audio = video.webkitAudioDecodedByteCount;
  video.pause();
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  for (const place of PLACES) {
    const sought = until('seeked');
    video.currentTime = place;
    await sought;
    pen.drawImage(video, 0, 0);
    report.sought.push([video.currentTime, POINTS.map(([x, y]) => {
      const pixels = pen.getImageData(x - 4, y - 4, 8, 8).data, sum = [0, 0, 0];
      pixels.forEach((value, i) => { if (i % 4 < 3) sum[i % 4] += value / 64; });
      return sum;
    })]);
  }
  await tell(report);
})().catch(why => tell({error: String(why)}));
</script>"#;

fn report(told: &Value) -> Result<Played, String> {
    if let Some(why) = told["error"].as_str() {
        return Err(why.to_owned());
    }
    let number = |value: &Value| value.as_f64().ok_or_else(|| format!("a strange report: {told}"));
    let colour = |rgb: &Value| -> Result<Option<Colour>, String> {
        let [r, g, b] = [number(&rgb[0])?, number(&rgb[1])?, number(&rgb[2])?];
        // ITU-R BT.601, limited range.
        let y = 16.0 + (65.738 * r + 129.057 * g + 25.064 * b) / 256.0;
        let u = 128.0 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256.0;
        let v = 128.0 + (112.439 * r - 94.154 * g - 18.285 * b) / 256.0;
        Ok(Colour::of_yuv([y, u, v]))
    };
    let mut sought = Vec::new();
    for place in told["sought"].as_array().into_iter().flatten() {
        let colours: Result<Vec<_>, String> = place[1].as_array().into_iter().flatten().map(colour).collect();
        sought.push((number(&place[0])?, colours?));
    }
    Ok(Played {
        duration_s: number(&told["duration"])?,
        size: (number(&told["width"])? as u64, number(&told["height"])? as u64),
        played_s: number(&told["played"])?,
        audio_bytes: number(&told["audio"])? as u64,
        sought,
    })
}
