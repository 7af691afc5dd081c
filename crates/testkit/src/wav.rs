//! Mono 16-bit WAV files, as tests and real clients exchange them. Reads and writes whole files.

use std::io;
use std::path::Path;

/// Writes PCM; `channels` copies of each sample.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, rate_hz: u32, channels: u16, pcm: &[i16]) -> io::Result<()> {
    let data_bytes = (pcm.len() * 2 * usize::from(channels)) as u32;
    let mut out = Vec::with_capacity(44 + data_bytes as usize);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + data_bytes).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&channels.to_le_bytes());
    out.extend_from_slice(&rate_hz.to_le_bytes());
    out.extend_from_slice(&(rate_hz * 2 * u32::from(channels)).to_le_bytes());
    out.extend_from_slice(&(2 * channels).to_le_bytes());
    out.extend_from_slice(&16u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data_bytes.to_le_bytes());
    for sample in pcm {
        for _ in 0..channels {
            out.extend_from_slice(&sample.to_le_bytes());
        }
    }
    std::fs::write(path, out)
}

/// Reads 16-bit PCM as (rate, first channel). A file that its writer has not closed yet (sizes still zero or too large)
/// is read to its end.
///
/// # Errors
/// When it is not a 16-bit PCM WAV file.
pub fn read(path: &Path) -> io::Result<(u32, Vec<i16>)> {
    let bytes = std::fs::read(path)?;
    parse(&bytes).ok_or_else(|| io::Error::other(format!("{} is not 16-bit PCM WAV", path.display())))
}

fn parse(bytes: &[u8]) -> Option<(u32, Vec<i16>)> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (mut at, mut rate, mut channels) = (12, 0, 0);
    loop {
        let size = u32_at(at + 4)? as usize;
        match bytes.get(at..at + 4)? {
            b"fmt " => {
                channels = usize::from(u16_at(at + 10)?);
                rate = u32_at(at + 12)?;
                if u16_at(at + 22)? != 16 {
                    return None;
                }
            }
            b"data" => {
                let begin = at + 8;
                let end = if size == 0 { bytes.len() } else { (begin + size).min(bytes.len()) };
                let samples = bytes.get(begin..end)?.chunks_exact(2 * channels.max(1));
                return Some((rate, samples.map(|c| i16::from_le_bytes([c[0], c[1]])).collect()));
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("testkit-wav-{}.wav", std::process::id()));
        for channels in [1, 2] {
            write(&path, 8_000, channels, &[1, -2, 300]).unwrap();
            assert_eq!(read(&path).unwrap(), (8_000, vec![1, -2, 300]));
        }
        std::fs::remove_file(path).unwrap();
        assert!(parse(b"RIFFxxxxWAVE").is_none());
    }
}
