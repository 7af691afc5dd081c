//! What a packet sniffer would have written of a phone's video: RTP in UDP in IPv4 in Ethernet, as a pcap file. Pure; knows
//! nothing of who plays it.

use crate::scene::{Scene, Shot};
use crate::video_codec::{Encoder, EncoderSettings, VideoCodec};
use rtp::codecs::h264::H264Payloader;
use rtp::header::Header;
use rtp::packet::Packet;
use rtp::packetizer::Payloader;
use std::time::{Duration, Instant};
use webrtc_util::marshal::Marshal;

/// Where it was captured; who plays it writes addresses and ports of its own.
const PORT: u16 = 40_002;
const MAX_PAYLOAD: usize = 1_200;

/// A stretch of H.264 (packetization mode 1).
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Of the pictures, in pixels.
    pub width: usize,
    /// Of the pictures, in pixels.
    pub height: usize,
    /// Pictures a second; each second begins with a keyframe.
    pub framerate: u32,
    /// How long it is.
    pub seconds: u32,
    /// Of the packets.
    pub payload_type: u8,
}

impl Stretch {
    /// The capture of a camera that sees this.
    ///
    /// # Panics
    /// When OpenH264 does not encode.
    pub fn of(self, mut scene: Scene) -> Vec<u8> {
        let framerate = self.framerate;
        let settings = EncoderSettings { codec: VideoCodec::H264, framerate, kbps: 400, max_nal_bytes: None };
        let mut encoder = Encoder::new(settings);
        let mut file = file_header();
        let (began, mut sequence_number) = (Instant::now(), 1_000_u16);
        for number in 0..framerate * self.seconds {
            let at = Duration::from_secs(1) * number / framerate;
            let shot = Shot { number: number.into(), captured: began + at, width: self.width, height: self.height };
            let unit = encoder.encode(&scene(shot), number % framerate == 0);
            let payloads = H264Payloader::default().payload(MAX_PAYLOAD, &unit.into()).expect("a whole unit");
            let last = payloads.len().saturating_sub(1);
            for (k, payload) in payloads.into_iter().enumerate() {
                let header = Header {
                    version: 2,
                    marker: k == last,
                    payload_type: self.payload_type,
                    sequence_number,
                    timestamp: (at.as_micros() * 9 / 100) as u32,
                    ssrc: 0x0c0f_fee0,
                    ..Header::default()
                };
                sequence_number = sequence_number.wrapping_add(1);
                record(&mut file, at, &Packet { header, payload }.marshal().expect("a whole packet"));
            }
        }
        file
    }
}

/// As libpcap writes it: little endian, microseconds, whole packets, Ethernet.
fn file_header() -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2_u16, 4].iter().flat_map(|n| n.to_le_bytes()));
    file.extend([0_u32, 0, 65_535, 1].iter().flat_map(|n| n.to_le_bytes()));
    file
}

fn record(file: &mut Vec<u8>, at: Duration, datagram: &[u8]) {
    let udp = 8 + datagram.len();
    let whole = 14 + 20 + udp;
    let times = [at.as_secs() as u32, at.subsec_micros(), whole as u32, whole as u32];
    file.extend(times.iter().flat_map(|n| n.to_le_bytes()));
    // No addresses, IPv4.
    file.extend([0; 12]);
    file.extend([0x08, 0x00]);
    // 20 bytes, not fragmented, 64 hops, UDP, no checksum, from and to this machine.
    file.extend([0x45, 0]);
    file.extend((20 + udp as u16).to_be_bytes());
    file.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    file.extend([PORT, PORT, udp as u16, 0].iter().flat_map(|n| n.to_be_bytes()));
    file.extend(datagram);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Colour;
    use crate::scene;

    #[test]
    fn records_follow_each_other_to_the_end() {
        let stretch = Stretch { width: 160, height: 96, framerate: 10, seconds: 2, payload_type: 96 };
        let file = stretch.of(scene::moving(Colour::Green, 3));
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let (mut at, mut pictures, mut last) = (24, 0, 0);
        while at < file.len() {
            let ms = word(at) * 1_000 + word(at + 4) / 1_000;
            assert!(ms >= last && word(at + 8) == word(at + 12));
            last = ms;
            let rtp = &file[at + 16 + 42..at + 16 + word(at + 8)];
            assert_eq!(rtp[1] & 0x7f, 96);
            pictures += usize::from(rtp[1] >> 7);
            at += 16 + word(at + 8);
        }
        assert_eq!((at, pictures, last), (file.len(), 20, 1_900));
    }
}
