//! Speech through random loss: what a listener hears is written beside what was said, for PESQ to compare.

use crate::options::{Figures, Options};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::netem::Impairment;
use testkit::phone::Phone;
use testkit::rtp_peer::PeerConfig;
use testkit::sdp::Codec;
use testkit::signal;
use testkit::sip_ua::Transport;
use testkit::wav;

/// Opus rate of the talker: high enough that what is measured is the network and the server, not the talker's encoder.
const TALKER_BPS: i32 = 64_000;

/// Loss is there before the speech, so that the server and the sender have adapted to it.
const LEAD_IN: Duration = Duration::from_secs(4);
/// Recorded before and after the speech; PESQ finds the speech in it.
const MARGIN: Duration = Duration::from_millis(500);

struct Pair {
    talker: Phone,
    listener: Phone,
    voice: PathBuf,
    pcm: Vec<i16>,
    seed: u64,
}

/// Every voice with every seed, all at once, each in a room of its own.
pub(crate) fn record(options: &Options) -> Figures {
    let codec = options.codec()?;
    let loss_percent: f64 = options.number("loss", 0.0)?;
    let out = PathBuf::from(options.text("out")?);
    std::fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let seeds = options.list("seeds")?.into_iter().map(|s| s.parse().map_err(|_| format!("seed {s}")));
    let seeds = seeds.collect::<Result<Vec<u64>, _>>()?;
    let voices = options.list("voices")?;
    let server = options.server((voices.len() * seeds.len() * 2 + 2) as u16, &[])?;
    let mut pairs = Vec::new();
    for (n, voice) in voices.iter().enumerate() {
        for (m, &seed) in seeds.iter().enumerate() {
            let extension = (1_000 + n * 100 + m).to_string();
            server.api().create_room(&extension, 2);
            let (rate, pcm) = wav::read(Path::new(voice)).map_err(|e| e.to_string())?;
            if rate != codec.rate_hz() {
                return Err(format!("{voice} has {rate} Hz and {codec:?} needs {}", codec.rate_hz()));
            }
            let listener = Phone::dial(server.sip_address(), &extension, "listener", codec)?;
            let mut config = PeerConfig::new(&[codec]);
            config.opus.bitrate = TALKER_BPS;
            config.seed = seed * 1_000 + n as u64;
            config.opus.loss_percent = loss_percent.round() as i32;
            config.impairment = Impairment { loss: loss_percent / 100.0, ..Impairment::default() };
            let talker = Phone::dial_with(server.sip_address(), &extension, "talker", Transport::Udp, config)?;
            pairs.push(Pair { talker, listener, voice: voice.into(), pcm, seed });
        }
    }
    std::thread::sleep(LEAD_IN);
    let mut begun = Vec::new();
    for pair in &pairs {
        begun.push(Instant::now());
        pair.talker.peer.say(signal::pcm(pair.pcm.clone()));
    }
    let longest = pairs.iter().map(|p| p.pcm.len()).max().unwrap_or(0);
    let length = |samples: usize| Duration::from_secs_f64(samples as f64 / f64::from(codec.rate_hz()));
    std::thread::sleep(length(longest) + 3 * MARGIN);
    let mut figures = Vec::new();
    for (pair, begun) in pairs.iter().zip(begun) {
        let heard = pair.listener.peer.heard();
        let part = heard.between(begun - MARGIN, begun + length(pair.pcm.len()) + 2 * MARGIN);
        let stem = pair.voice.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let name = format!("{stem}-{codec:?}-{loss_percent}-{}.wav", pair.seed);
        let degraded = out.join(name);
        wav::write(&degraded, codec.rate_hz(), 1, part).map_err(|e| e.to_string())?;
        let sent = pair.talker.peer.sent();
        figures.push(json!({
            "figure": "speech",
            "codec": format!("{codec:?}"),
            "mode": if codec == Codec::Opus { "wb" } else { "nb" },
            "loss_percent": loss_percent,
            "lost_percent": (sent.lost as f64 / sent.packets as f64 * 1_000.0).round() / 10.0,
            "seed": pair.seed,
            "reference": pair.voice,
            "degraded": degraded,
        }));
    }
    Ok(figures)
}
