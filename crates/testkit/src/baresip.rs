//! baresip as a child process: a phone that nobody here wrote. It has a configuration directory of its own, speaks a WAV
//! file, writes what it hears to another, and takes commands over its `ctrl_tcp` module (JSON in netstrings).

use crate::ffmpeg;
use crate::picture::{Colour, Picture};
use crate::ports;
use crate::sdp::Codec;
use crate::server::TempDir;
use crate::video_codec::VideoCodec;
use crate::{tone, wait, wav};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian keeps the modules.
const MODULES: &str = "/usr/lib/baresip/modules";
/// Longest wait for an answer or event.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest file it speaks; then it is silent.
const SPEAKS_S: u32 = 60;

/// A running phone.
#[derive(Debug)]
pub struct Baresip {
    dir: TempDir,
    child: Child,
    control: TcpStream,
    unread: Vec<u8>,
    events: Vec<Value>,
    commands: u32,
    rate_hz: u32,
    sip_port: u16,
}

impl Baresip {
    /// Starts a phone of this name that knows one codec and will say a tone.
    ///
    /// # Panics
    /// When it does not start; with its log.
    pub fn start(name: &str, codec: Codec, hz: f64, level_db: f64) -> Self {
        Self::start_with(name, codec, hz, level_db, None)
    }

    /// The same with a camera that shows a red, a green and a blue stripe, 320×240 at 15 a second, in this codec.
    ///
    /// # Panics
    /// When it does not start; with its log.
    pub fn start_with_video(name: &str, codec: Codec, hz: f64, level_db: f64, video: VideoCodec) -> Self {
        Self::start_with(name, codec, hz, level_db, Some(video))
    }

    fn start_with(name: &str, codec: Codec, hz: f64, level_db: f64, video: Option<VideoCodec>) -> Self {
        let dir = TempDir::new("baresip");
        let rate_hz = codec.rate_hz();
        let (sip_port, control_port) = (ports::one(), ports::one());
        let voice = dir.path().join("voice.wav");
        let pcm = tone::sine(rate_hz, hz, level_db, (rate_hz * SPEAKS_S) as usize);
        wav::write(&voice, rate_hz, 1, &pcm).expect("a voice file");
        std::fs::create_dir(dir.path().join("heard")).expect("a directory");
        std::fs::write(dir.path().join("contacts"), "").expect("a file");
        let account = format!("<sip:{name}@127.0.0.1:{sip_port}>;regint=0;answermode=auto\n");
        std::fs::write(dir.path().join("accounts"), account).expect("a file");
        std::fs::write(dir.path().join("config"), config(&dir, (codec, video), sip_port, control_port))
            .expect("a file");
        let log = File::create(dir.path().join("log")).expect("a file");
        let mut child = Command::new("baresip")
            .arg("-f")
            .arg(dir.path())
            .arg("-v")
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file"))
            .stdout(log)
            .spawn()
            .expect("baresip starts");
        let control = wait::until("baresip's control port", PATIENCE, || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("baresip ended with {status}: {}", log_of(&dir));
            }
            TcpStream::connect(("127.0.0.1", control_port)).map_err(|e| format!("{e}: {}", log_of(&dir)))
        });
        control.set_read_timeout(Some(Duration::from_millis(20))).expect("a positive timeout");
        Self { dir, child, control, unread: Vec::new(), events: Vec::new(), commands: 0, rate_hz, sip_port }
    }

    /// Dials and waits until the call is established.
    ///
    /// # Panics
    /// When it is not; with its log.
    pub fn call(&mut self, uri: &str) {
        self.command("dial", uri);
        self.wait_event("CALL_ESTABLISHED");
    }

    /// Registers as this user at a registrar on loopback, and takes calls from there too.
    ///
    /// # Panics
    /// When it is not registered; with its log.
    pub fn register(&mut self, user: &str, password: &str, registrar: std::net::SocketAddr) {
        self.command("uanew", &format!("<sip:{user}@{registrar}>;auth_pass={password};regint=60;answermode=auto"));
        self.wait_event("REGISTER_OK");
    }

    /// Presses one key (RFC 4733).
    ///
    /// # Panics
    /// When baresip refuses.
    pub fn press(&mut self, digit: char) {
        self.command("sndcode", &digit.to_string());
    }

    /// Hangs up.
    ///
    /// # Panics
    /// When baresip refuses.
    pub fn hang_up(&mut self) {
        self.command("hangup", "");
        self.wait_event("CALL_CLOSED");
    }

    /// Runs a command of its menu; gives its data.
    ///
    /// # Panics
    /// When it fails or does not answer.
    pub fn command(&mut self, command: &str, params: &str) -> String {
        self.commands += 1;
        let token = format!("c{}", self.commands);
        let text = json!({"command": command, "params": params, "token": token}).to_string();
        self.control.write_all(format!("{}:{text},", text.len()).as_bytes()).expect("baresip runs");
        let answer = self.wait_message("an answer", |m| m["token"] == token.as_str());
        assert_eq!(answer["ok"], true, "{command} {params}: {answer}");
        answer["data"].as_str().unwrap_or("").to_owned()
    }

    /// Waits for an event of this type; gives it, once.
    ///
    /// # Panics
    /// When it does not come; with its log.
    pub fn wait_event(&mut self, kind: &str) -> Value {
        self.wait_message(kind, |m| m["type"] == kind)
    }

    /// Everything it heard in its call so far, at its codec's rate.
    pub fn heard(&self) -> Vec<i16> {
        let Ok(files) = std::fs::read_dir(self.dir.path().join("heard")) else { return Vec::new() };
        let mut decoded: Vec<_> =
            files.flatten().map(|f| f.path()).filter(|p| p.to_string_lossy().ends_with("-dec.wav")).collect();
        decoded.sort();
        decoded.last().and_then(|path| wav::read(path).ok()).map_or(Vec::new(), |(_, pcm)| pcm)
    }

    /// The picture that it decoded last, as its `snapshot` filter writes it.
    ///
    /// # Panics
    /// When it decodes none.
    pub fn picture(&mut self) -> Picture {
        let png = self.dir.path().join("seen.png");
        self.command("snapshot_recv", &png.display().to_string());
        wait::until("a picture that baresip decoded", PATIENCE, || {
            if !png.exists() {
                return Err(log_of(&self.dir));
            }
            // Half written, it is looked at again.
            let picture = ffmpeg::pictures(&png)?.pop().ok_or("no picture")?;
            std::fs::remove_file(&png).map_err(|e| e.to_string())?;
            Ok(picture)
        })
    }

    /// Waits until it has decoded a picture with all these colours at these places.
    ///
    /// # Panics
    /// With what it saw instead.
    pub fn sees(&mut self, wanted: &[(usize, usize, Colour)]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let picture = self.picture();
            if wanted.iter().all(|&(x, y, colour)| picture.colour_at(x, y, 8) == Some(colour)) {
                return;
            }
            assert!(Instant::now() < deadline, "{wanted:?}, but {}", picture.sketch(32, 18));
        }
    }

    /// Rate of what it says and hears.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Its SIP port.
    pub fn sip_port(&self) -> u16 {
        self.sip_port
    }

    /// Waits until the last 400 ms of what it hears have these tones at equal level and not those.
    ///
    /// # Panics
    /// With what it heard instead.
    pub fn hears(&self, present: &[f64], absent: &[f64], level_db: f64) {
        let expectation =
            tone::Expectation { present: present.to_vec(), absent: absent.to_vec(), level_db, tolerance_db: 3.0 };
        let window = self.rate_hz as usize * 2 / 5;
        wait::until("the right tones in baresip's ear", PATIENCE, || {
            let pcm = self.heard();
            let from =
                pcm.len().checked_sub(window).ok_or_else(|| format!("{} samples; {}", pcm.len(), log_of(&self.dir)))?;
            expectation.check(&pcm[from..], self.rate_hz)
        });
    }

    fn wait_message(&mut self, what: &str, want: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.events.iter().position(&want) {
                return self.events.remove(at);
            }
            assert!(Instant::now() < deadline, "no {what}: {:?}\n{}", self.events, log_of(&self.dir));
            let mut buffer = [0; 4096];
            match self.control.read(&mut buffer) {
                Ok(0) => panic!("baresip closed its control connection: {}", log_of(&self.dir)),
                Ok(len) => self.unread.extend_from_slice(&buffer[..len]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => panic!("{e}"),
            }
            while let Some((message, len)) = netstring(&self.unread) {
                self.events.push(message);
                self.unread.drain(..len);
            }
        }
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first whole netstring (`LEN:JSON,`), and its length.
fn netstring(bytes: &[u8]) -> Option<(Value, usize)> {
    let colon = bytes.iter().position(|&b| b == b':')?;
    let len: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let body = bytes.get(colon + 1..colon + 1 + len)?;
    bytes.get(colon + 1 + len)?;
    Some((serde_json::from_slice(body).unwrap_or(Value::Null), colon + len + 2))
}

fn log_of(dir: &TempDir) -> String {
    let bytes = std::fs::read(dir.path().join("log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn config(dir: &TempDir, (codec, video): (Codec, Option<VideoCodec>), sip_port: u16, control_port: u16) -> String {
    let rtp = ports::block(10);
    let base = dir.path().display();
    let mut text = format!(
        "poll_method epoll\nsip_listen 127.0.0.1:{sip_port}\nnet_interface 127.0.0.1\nrtp_ports {}-{}\n\
         call_max_calls 4\nrtcp_mux no\njitter_buffer_delay 1-5\nstatmode_default off\n\
         audio_source aufile,{base}/voice.wav\naudio_player aubridge,nobody\naudio_alert aubridge,nothing\n\
         ausrc_channels 1\nauplay_channels 1\naudio_level no\n\
         ausrc_format s16\nauplay_format s16\nauenc_format s16\naudec_format s16\n\
         opus_stereo no\nopus_sprop_stereo no\nsnd_path {base}/heard\nctrl_tcp_listen 127.0.0.1:{control_port}\n\
         module_path {MODULES}\n",
        rtp.start(),
        rtp.end()
    );
    let codec = if codec == Codec::Opus { "opus" } else { "g711" };
    for module in [codec, "sndfile", "aufile", "aubridge"] {
        let _ = writeln!(text, "module {module}.so");
    }
    if let Some(video) = video {
        text.push_str(
            "video_source fakevideo,nil\nvideo_display fakevideo,nil\nvideo_size 320x240\nvideo_bitrate 300000\n\
             video_fps 15\nvideo_fullscreen no\nvidenc_format yuv420p\navcodec_h264enc libx264\navcodec_h264dec h264\n",
        );
        let codec = if video == VideoCodec::Vp8 { "vp8" } else { "avcodec" };
        for module in [codec, "fakevideo", "snapshot"] {
            let _ = writeln!(text, "module {module}.so");
        }
    }
    text.push_str("module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstrings_are_cut_apart() {
        let bytes = b"8:{\"a\": 1},2:{},5:tru";
        let (first, len) = netstring(bytes).unwrap();
        assert_eq!((first, len), (json!({"a": 1}), 11));
        assert_eq!(netstring(&bytes[11..]).unwrap(), (json!({}), 5));
        assert_eq!(netstring(&bytes[16..]), None);
    }

    #[test]
    fn two_phones_hear_each_other_and_not_themselves() {
        let callee = Baresip::start("callee", Codec::Opus, 700.0, -20.0);
        let mut caller = Baresip::start("caller", Codec::Opus, 1_100.0, -20.0);
        caller.call(&format!("sip:callee@127.0.0.1:{}", callee.sip_port()));
        caller.press('5');
        caller.hears(&[700.0], &[1_100.0], -20.0);
        callee.hears(&[1_100.0], &[700.0], -20.0);
        caller.hang_up();
    }
}
