//! Sends a raw recording through encoder, seeded random loss and jitter, `Playout`, and for Opus our own encoder again (not for 0 kbit/s),
//! and writes what a listener hears, for PESQ. Also prints what a `pull` costs. Development only.
//!
//! `playout_quality pcmu|opus IN.s16 OUT.s16 LOSS_PERCENT SEED [SERVER_KBPS [JITTER_MS [PEER_KBPS]]]`: mono, 8 or 48 kHz.

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use media::CodecName;
use media::audio::codec::g711::Law;
use media::audio::codec::opus::{OpusDecoder, OpusEncoder, OpusSettings};
use media::audio::frame::Frame;
use media::playout::Playout;
use media::{Bitrate, SampleRate};

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [codec, input, output, loss, seed, rest @ ..] = args.as_slice() else {
        return Err("see the top of the source".into());
    };
    let codec = if codec == "opus" { CodecName::Opus } else { CodecName::Pcmu };
    let loss: f64 = loss.parse::<f64>()? / 100.0;
    let mut random = Random(seed.parse::<u64>()?.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let server_kbps: u32 = rest.first().map_or(Ok(40), |s| s.parse())?;
    let jitter_ms: f64 = rest.get(1).map_or(Ok(0.0), |s| s.parse())?;

    let peer_kbps: u32 = rest.get(2).map_or(Ok(32), |s| s.parse())?;

    let bytes = std::fs::read(input)?;
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    let frame = codec.sample_rate().frame_samples();
    let peer = OpusSettings {
        bitrate: Bitrate::kbps(peer_kbps),
        complexity: 10,
        expected_loss_percent: (loss * 100.0).round() as u8,
        fec: loss > 0.0,
        dtx: false,
    };
    let mut encoder = OpusEncoder::new(peer)?;
    let mut server = OpusEncoder::new(OpusSettings {
        bitrate: Bitrate::kbps(server_kbps),
        complexity: 5,
        expected_loss_percent: 0,
        fec: false,
        dtx: false,
    })?;
    let mut listener = OpusDecoder::new();

    // Every packet with the time it arrives at, in µs; ticks come at 10 ms past each multiple of 20.
    let mut packets: Vec<(u64, u16, Vec<u8>)> = Vec::new();
    for (i, chunk) in samples.chunks_exact(frame).enumerate() {
        let mut payload = vec![0u8; 1275];
        let n = match codec {
            CodecName::Opus => encoder.encode(chunk, &mut payload)?,
            _ => {
                Law::Mu.encode(chunk, &mut payload);
                frame
            }
        };
        payload.truncate(n);
        let jitter = (jitter_ms * 1000.0 * -(1.0 - random.unit()).ln()).min(400_000.0) as u64;
        if random.unit() >= loss {
            packets.push((i as u64 * 20_000 + jitter, i as u16, payload));
        }
    }
    packets.sort_by_key(|p| p.0);
    let count = samples.len() / frame + 10;

    let start = Instant::now();
    let mut playout = Playout::new(codec, Duration::from_millis(200));
    let mut heard: Vec<i16> = Vec::new();
    let mut queue = packets.iter().peekable();
    let mut out = Frame::silence(SampleRate::Hz8000);
    let (mut spent, mut worst) = (Duration::ZERO, Duration::ZERO);
    let mut delays = 0u128;
    for tick in 0..count as u64 {
        let at = tick * 20_000 + 10_000;
        while let Some((arrival, seq, payload)) = queue.next_if(|p| p.0 <= at) {
            let timestamp = u32::from(*seq) * frame as u32;
            playout.insert(start + Duration::from_micros(*arrival), *seq, timestamp, 1, false, payload);
        }
        let before = Instant::now();
        playout.pull(start + Duration::from_micros(at), &mut out);
        let took = before.elapsed();
        spent += took;
        worst = worst.max(took);
        delays += playout.stats().delay.as_micros();
        if codec == CodecName::Opus && server_kbps > 0 {
            let mut packet = [0u8; 1275];
            let n = server.encode(out.samples(), &mut packet)?;
            let mut pcm = [0i16; 960];
            listener.decode(&packet[..n], &mut pcm);
            heard.extend(pcm);
        } else {
            heard.extend(out.samples());
        }
    }
    let mut file = std::io::BufWriter::new(std::fs::File::create(output)?);
    for sample in heard {
        file.write_all(&sample.to_le_bytes())?;
    }
    file.flush()?;
    let stats = playout.stats();
    writeln!(
        std::io::stderr(),
        "pull {:.2} µs mean, {:.1} µs worst; delay {} µs mean; concealed {} lost {} late {} discarded {}",
        spent.as_secs_f64() * 1e6 / count as f64,
        worst.as_secs_f64() * 1e6,
        delays / count as u128,
        stats.concealed,
        stats.lost,
        stats.late,
        stats.discarded
    )?;
    Ok(())
}
