//! Prompts from files: WAV, Ogg Opus (RFC 7845) and the headerless formats of sound packages, at any rate, to mono at
//! [`PROMPT_RATE`]. Bytes in, samples out, on whatever thread wants them; opens no file and trusts none.

use std::io::Cursor;

use hound::{SampleFormat, WavReader};
use ogg::PacketReader;
use opus::{Channels, Decoder};
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::{MAX_PROMPT_SAMPLES, PROMPT_RATE, Prompt};
use crate::audio::codec::g711::Law;

/// 120 ms, the longest Opus packet (RFC 6716 §3.2.5).
const MAX_PACKET_SAMPLES: usize = PROMPT_RATE.hz() as usize * 120 / 1000;
/// Granule positions count at 48 kHz (RFC 7845 §4).
const GRANULES_PER_SAMPLE: u64 = 48_000 / PROMPT_RATE.hz() as u64;
/// More is not a recording of a voice.
const MAX_CHANNELS: u16 = 8;
const RATES_HZ: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// The resampler's block. Its delay is trimmed, so only memory and time depend on it.
const RESAMPLED_AT_ONCE: usize = 1024;

/// How a file's bytes are to be read; its name's extension tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptFile {
    /// RIFF WAVE, PCM of 8 to 32 bits or float, mixed to mono.
    Wav,
    /// Ogg Opus, mono or stereo.
    Opus,
    /// Signed linear, 16 bits, little-endian, at 8 kHz, without a header.
    Linear8k,
    /// The same at 16 kHz.
    Linear16k,
    /// G.711 µ-law without a header.
    MuLaw,
    /// G.711 A-law without a header.
    ALaw,
}

/// Why a file is not a prompt. The text names no file: the caller knows which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptFileError {
    /// Not WAV, or of a kind that is not taken.
    #[error("not a WAV file that can be used: {0}")]
    Wav(String),
    /// Not Ogg Opus, or damaged.
    #[error("not an Ogg Opus file that can be used: {0}")]
    Opus(String),
    /// More than a prompt may be.
    #[error("longer than ten minutes")]
    TooLong,
    /// Not one sample.
    #[error("there is no sound in it")]
    Empty,
}

impl PromptFile {
    /// All of them, those first that lose least.
    pub const ALL: [Self; 6] = [Self::Wav, Self::Opus, Self::Linear16k, Self::Linear8k, Self::MuLaw, Self::ALaw];

    /// The extension of its files' names.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Opus => "opus",
            Self::Linear8k => "sln",
            Self::Linear16k => "sln16",
            Self::MuLaw => "ulaw",
            Self::ALaw => "alaw",
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// When it is not what it should be, has no sound or too much of it.
    pub fn decode(self, bytes: &[u8]) -> Result<Prompt, PromptFileError> {
        let samples = match self {
            Self::Wav => wav(bytes)?,
            Self::Opus => opus(bytes)?,
            Self::Linear8k => resampled(&linear(bytes), 8_000)?,
            Self::Linear16k => linear(bytes).into_iter().map(whole).collect(),
            Self::MuLaw => companded(Law::Mu, bytes)?,
            Self::ALaw => companded(Law::A, bytes)?,
        };
        match samples.len() {
            0 => Err(PromptFileError::Empty),
            n if n > MAX_PROMPT_SAMPLES => Err(PromptFileError::TooLong),
            _ => Ok(Prompt::from_samples(samples)),
        }
    }
}

fn wav(bytes: &[u8]) -> Result<Vec<i16>, PromptFileError> {
    let fault = |reason: &dyn std::fmt::Display| PromptFileError::Wav(reason.to_string());
    let mut reader = WavReader::new(Cursor::new(bytes)).map_err(|e| fault(&e))?;
    let spec = reader.spec();
    if !(1..=MAX_CHANNELS).contains(&spec.channels) {
        return Err(fault(&format!("it has {} channels, at most {MAX_CHANNELS} can be", spec.channels)));
    }
    if !RATES_HZ.contains(&spec.sample_rate) {
        return Err(fault(&format!("its rate is {} Hz, 4000 to 192000 can be", spec.sample_rate)));
    }
    if u64::from(reader.duration()) > u64::from(spec.sample_rate) * 600 {
        return Err(PromptFileError::TooLong);
    }
    let samples: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect(),
        SampleFormat::Int => {
            let full = (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32;
            reader.samples::<i32>().map(|sample| sample.map(|x| x as f32 / full)).collect()
        }
    };
    let samples = samples.map_err(|e| fault(&e))?;
    let channels = usize::from(spec.channels);
    let mono: Vec<f32> =
        samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / f32::from(spec.channels)).collect();
    resampled(&mono, spec.sample_rate)
}

/// libopus decodes to 16 kHz by itself, and mixes two channels to one.
fn opus(bytes: &[u8]) -> Result<Vec<i16>, PromptFileError> {
    let fault = |reason: &dyn std::fmt::Display| PromptFileError::Opus(reason.to_string());
    let mut reader = PacketReader::new(Cursor::new(bytes));
    let head = reader.read_packet().map_err(|e| fault(&e))?.ok_or(PromptFileError::Empty)?;
    let (stream, pre_skip) = (head.stream_serial(), pre_skip(&head.data).map_err(|e| fault(&e))?);
    let mut decoder = Decoder::new(PROMPT_RATE.hz(), Channels::Mono).map_err(|e| fault(&e))?;
    let mut samples: Vec<i16> = Vec::new();
    let mut packet_samples = [0; MAX_PACKET_SAMPLES];
    let mut end = None;
    let mut is_first = true;
    while let Some(packet) = reader.read_packet().map_err(|e| fault(&e))? {
        if packet.stream_serial() != stream {
            return Err(fault(&"it has more than one stream"));
        }
        // The tags (RFC 7845 §5.2).
        if std::mem::take(&mut is_first) {
            continue;
        }
        if packet.data.is_empty() {
            return Err(fault(&"a packet is empty"));
        }
        let n = decoder.decode(&packet.data, &mut packet_samples, false).map_err(|e| fault(&e))?;
        samples.extend(packet_samples.iter().take(n));
        // A little more than the longest, for what is trimmed below.
        if samples.len() > MAX_PROMPT_SAMPLES + PROMPT_RATE.hz() as usize {
            return Err(PromptFileError::TooLong);
        }
        end = packet.last_in_stream().then(|| packet.absgp_page());
    }
    if let Some(end) = end {
        samples.truncate(usize::try_from(end / GRANULES_PER_SAMPLE).unwrap_or(usize::MAX));
    }
    let skipped = samples.len().min(usize::from(pre_skip) / GRANULES_PER_SAMPLE as usize);
    samples.drain(..skipped);
    Ok(samples)
}

/// From the identification header (RFC 7845 §5.1).
fn pre_skip(head: &[u8]) -> Result<u16, &'static str> {
    let Some(head) = head.first_chunk::<19>() else { return Err("its header is too short") };
    let [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, low, high, _, _, _, _, _, _, family] = head
    else {
        return Err("its first packet is not OpusHead");
    };
    match (version >> 4, channels, family) {
        (0, 1..=2, 0) => Ok(u16::from_le_bytes([*low, *high])),
        (0, _, _) => Err("it has more than two channels"),
        _ => Err("its version is unknown"),
    }
}

fn linear(bytes: &[u8]) -> Vec<f32> {
    let sample = |pair: &[u8; 2]| f32::from(i16::from_le_bytes(*pair)) / 32_768.0;
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(sample).collect()
}

fn companded(law: Law, bytes: &[u8]) -> Result<Vec<i16>, PromptFileError> {
    let mut samples = vec![0; bytes.len().min(8_000 * 600 + 1)];
    law.decode(bytes, &mut samples);
    let samples: Vec<f32> = samples.into_iter().map(|x| f32::from(x) / 32_768.0).collect();
    resampled(&samples, 8_000)
}

fn whole(sample: f32) -> i16 {
    // A float beyond the range saturates; not-a-number is silence.
    (sample * 32_768.0).round() as i16
}

/// Full scale is 1. Nothing is late: the resampler's delay is cut off.
fn resampled(samples: &[f32], rate_hz: u32) -> Result<Vec<i16>, PromptFileError> {
    let most = u64::from(rate_hz) * 600;
    if samples.len() as u64 > most {
        return Err(PromptFileError::TooLong);
    }
    if rate_hz == PROMPT_RATE.hz() || samples.is_empty() {
        return Ok(samples.iter().copied().map(whole).collect());
    }
    let broken = |reason: &dyn std::fmt::Display| PromptFileError::Wav(format!("{rate_hz} Hz: {reason}"));
    let (from, to) = (rate_hz as usize, PROMPT_RATE.hz() as usize);
    let mut resampler = Fft::<f32>::new(from, to, RESAMPLED_AT_ONCE, 1, FixedSync::Both).map_err(|e| broken(&e))?;
    let input = SequentialSlice::new(samples, 1, samples.len()).map_err(|e| broken(&e))?;
    let output = resampler.process_all(&input, samples.len(), None).map_err(|e| broken(&e))?;
    Ok(output.take_data().into_iter().map(whole).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level;
    use std::time::Duration;

    fn wav_of(rate: u32, channels: u16, bits: u16, seconds: f64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let spec =
            hound::WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: SampleFormat::Int };
        let mut writer = hound::WavWriter::new(Cursor::new(&mut bytes), spec).unwrap();
        let full = f64::from(1u32 << (bits - 1)) - 1.0;
        for at in 0..(f64::from(rate) * seconds) as usize {
            let x = (std::f64::consts::TAU * 440.0 * at as f64 / f64::from(rate)).sin() * full / 4.0;
            for _ in 0..channels {
                writer.write_sample(x.round() as i32).unwrap();
            }
        }
        writer.finalize().unwrap();
        bytes
    }

    /// A quarter of full scale at 440 Hz, whatever it came from, neither late nor early.
    fn assert_is_the_tone(prompt: &Prompt, seconds: f64, why: &str) {
        let wanted = (seconds * 16_000.0) as usize;
        assert!(prompt.samples().len().abs_diff(wanted) <= 2, "{why}: {} samples", prompt.samples().len());
        let mut worst = 0f64;
        for (at, &x) in prompt.samples().iter().enumerate().take(wanted - 800).skip(800) {
            let ideal = (std::f64::consts::TAU * 440.0 * at as f64 / 16_000.0).sin() * 8_192.0;
            worst = worst.max((f64::from(x) - ideal).abs());
        }
        // A sample late is 1,415 off: a resampler's delay is cut off in whole samples.
        assert!(worst < 1_480.0, "{why}: off by {worst}");
    }

    #[test]
    fn wav_files_of_every_rate_and_width_are_the_same_sound() {
        for (rate, channels, bits) in [
            (8_000, 1, 16),
            (16_000, 1, 16),
            (22_050, 1, 16),
            (44_100, 2, 24),
            (48_000, 2, 16),
            (48_000, 1, 32),
            (11_025, 1, 8),
        ] {
            let prompt = PromptFile::Wav.decode(&wav_of(rate, channels, bits, 0.5)).unwrap();
            assert_is_the_tone(&prompt, 0.5, &format!("{rate} Hz, {channels}, {bits} bits"));
        }
    }

    #[test]
    fn headerless_files_are_read_at_their_own_rates() {
        let tone = |rate: f64, at: usize| ((std::f64::consts::TAU * 440.0 * at as f64 / rate).sin() * 8_192.0) as i16;
        let at_8k: Vec<i16> = (0..4_000).map(|at| tone(8_000.0, at)).collect();
        let at_16k: Vec<i16> = (0..8_000).map(|at| tone(16_000.0, at)).collect();
        let bytes = |samples: &[i16]| samples.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        assert_is_the_tone(&PromptFile::Linear8k.decode(&bytes(&at_8k)).unwrap(), 0.5, "sln");
        assert_is_the_tone(&PromptFile::Linear16k.decode(&bytes(&at_16k)).unwrap(), 0.5, "sln16");
        for (file, law) in [(PromptFile::MuLaw, Law::Mu), (PromptFile::ALaw, Law::A)] {
            let mut companded = vec![0; at_8k.len()];
            law.encode(&at_8k, &mut companded);
            assert_is_the_tone(&file.decode(&companded).unwrap(), 0.5, file.extension());
        }
    }

    /// As a recorder would write it: header, tags, packets of 20 ms, the last page trimming the end.
    fn ogg_of(samples: &[i16], trimmed_to: u64) -> Vec<u8> {
        use crate::audio::codec::opus::{OpusEncoder, OpusSettings};
        use crate::units::Bitrate;
        let settings = OpusSettings {
            bitrate: Bitrate::kbps(64),
            complexity: 5,
            expected_loss_percent: 0,
            fec: false,
            dtx: false,
        };
        let mut encoder = OpusEncoder::new(settings).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ogg::PacketWriter::new(Cursor::new(&mut bytes));
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend(312u16.to_le_bytes());
        head.extend([0x80, 0xbb, 0, 0, 0, 0, 0]);
        writer.write_packet(head, 7, ogg::PacketWriteEndInfo::EndPage, 0).unwrap();
        writer.write_packet(b"OpusTags\0\0\0\0\0\0\0\0".to_vec(), 7, ogg::PacketWriteEndInfo::EndPage, 0).unwrap();
        let frames: Vec<&[i16]> = samples.chunks_exact(960).collect();
        let mut packet = [0; 1275];
        for (at, frame) in frames.iter().enumerate() {
            let n = encoder.encode(frame, &mut packet).unwrap();
            let is_last = at + 1 == frames.len();
            let (end, granule) = match is_last {
                true => (ogg::PacketWriteEndInfo::EndStream, trimmed_to),
                false => (ogg::PacketWriteEndInfo::NormalPacket, (at as u64 + 1) * 960),
            };
            writer.write_packet(packet[..n].to_vec(), 7, end, granule).unwrap();
        }
        bytes
    }

    #[test]
    fn ogg_opus_is_trimmed_at_both_ends() {
        let samples: Vec<i16> = (0..48_000)
            .map(|at| ((std::f64::consts::TAU * 440.0 * f64::from(at) / 48_000.0).sin() * 8_192.0) as i16)
            .collect();
        let prompt = PromptFile::Opus.decode(&ogg_of(&samples, 24_000 + 312)).unwrap();
        assert_eq!(prompt.duration(), Duration::from_millis(500));
        assert_eq!(level::dbov(level::energy(&prompt.samples()[1_600..6_400])), -15);
    }

    #[test]
    fn a_file_that_is_not_what_its_name_says_is_refused_with_a_reason() {
        let wav = wav_of(8_000, 1, 16, 0.1);
        let opus = ogg_of(&[1000; 4_800], 4_800);
        for (file, bytes, reason) in [
            (PromptFile::Wav, &b""[..], "not a WAV"),
            (PromptFile::Wav, &opus[..], "not a WAV"),
            (PromptFile::Wav, &wav[..20], "not a WAV"),
            (PromptFile::Wav, &wav[..wav.len() - 100], "not a WAV"),
            (PromptFile::Opus, &b""[..], "not an Ogg Opus"),
            (PromptFile::Opus, &wav[..], "not an Ogg Opus"),
            (PromptFile::Opus, &opus[..opus.len() - 9], "not an Ogg Opus"),
            (PromptFile::Linear16k, &b"x"[..], "no sound"),
            (PromptFile::MuLaw, &b""[..], "no sound"),
        ] {
            let error = file.decode(bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{file:?} of {} bytes: {error}", bytes.len());
        }
        let too_long = vec![0; 8_000 * 600 + 2];
        assert_eq!(PromptFile::ALaw.decode(&too_long).unwrap_err(), PromptFileError::TooLong);
        let odd = wav_of(3_000, 1, 16, 0.1);
        assert!(PromptFile::Wav.decode(&odd).unwrap_err().to_string().contains("3000 Hz"));
    }

    #[test]
    fn no_damage_to_a_file_panics() {
        let files = [(PromptFile::Wav, wav_of(8_000, 2, 16, 0.02)), (PromptFile::Opus, ogg_of(&[1000; 4_800], 4_800))];
        for (file, bytes) in files {
            for at in 0..bytes.len().min(200) {
                for value in [0x00, 0x7f, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] = value;
                    // What comes of it is not the matter: an error, or a prompt of a bounded length.
                    if let Ok(prompt) = file.decode(&damaged) {
                        assert!(prompt.samples().len() <= MAX_PROMPT_SAMPLES);
                    }
                }
            }
        }
    }
}
