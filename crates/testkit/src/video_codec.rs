//! Encoding and decoding of test pictures: H.264 by OpenH264, VP8 by libvpx. On whichever thread calls; knows nothing of
//! RTP.

mod vp8;

use crate::picture::Picture;
use openh264::OpenH264API;
use openh264::encoder::{BitRate, EncoderConfig, FrameRate, IntraFramePeriod, Profile, RateControlMode};
use openh264::formats::{YUVSlices, YUVSource};

/// What a peer can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// H.264, Baseline, in Annex B.
    H264,
    /// VP8.
    Vp8,
}

/// How pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderSettings {
    /// Which one.
    pub codec: VideoCodec,
    /// Pictures a second.
    pub framerate: u32,
    /// Target.
    pub kbps: u32,
    /// NAL units are no longer than this (H.264 only): what packetization mode 0 needs.
    pub max_nal_bytes: Option<u32>,
}

/// An encoder. The first picture, one of another size than before, and one that is asked for so, are keyframes; there
/// are no others.
pub struct Encoder {
    settings: EncoderSettings,
    size: (usize, usize),
    inner: InnerEncoder,
}

enum InnerEncoder {
    None,
    H264(Box<openh264::encoder::Encoder>),
    Vp8(vp8::Encoder),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder({:?}, {:?})", self.settings, self.size)
    }
}

impl Encoder {
    /// One that waits for its first picture.
    pub fn new(settings: EncoderSettings) -> Self {
        Self { settings, size: (0, 0), inner: InnerEncoder::None }
    }

    /// One access unit.
    ///
    /// # Panics
    /// When the codec does not take a whole picture.
    pub fn encode(&mut self, picture: &Picture, keyframe: bool) -> Vec<u8> {
        if self.size != picture.size() {
            self.size = picture.size();
            self.inner = self.open(picture);
        }
        match &mut self.inner {
            InnerEncoder::None => Vec::new(),
            InnerEncoder::H264(encoder) => {
                // Before its first picture the encoder is not there yet, and that one is a keyframe anyway.
                if keyframe {
                    encoder.force_intra_frame();
                }
                encoder.encode(&slices(picture)).expect("a whole picture is encoded").to_vec()
            }
            InnerEncoder::Vp8(encoder) => encoder.encode(picture, keyframe).expect("a whole picture is encoded"),
        }
    }

    fn open(&self, first: &Picture) -> InnerEncoder {
        let EncoderSettings { codec, framerate, kbps, max_nal_bytes } = self.settings;
        if codec == VideoCodec::Vp8 {
            let (width, height) = first.size();
            return InnerEncoder::Vp8(vp8::Encoder::new(width, height, framerate, kbps).expect("a VP8 encoder"));
        }
        let mut config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .bitrate(BitRate::from_bps(kbps * 1_000))
            .max_frame_rate(FrameRate::from_hz(framerate as f32))
            .rate_control_mode(RateControlMode::Bitrate)
            // Every picture is sent: what is missing at the far end was lost on the way.
            .skip_frames(false)
            .scene_change_detect(false)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .num_threads(1);
        if let Some(bytes) = max_nal_bytes {
            config = config.max_slice_len(bytes);
        }
        let api = OpenH264API::from_source();
        let mut encoder = openh264::encoder::Encoder::with_api_config(api, config).expect("an H.264 encoder");
        // Sets the encoder up, so that `force_intra_frame` finds one; the unit is not sent.
        encoder.encode(&slices(first)).expect("a whole picture is encoded");
        encoder.force_intra_frame();
        InnerEncoder::H264(Box::new(encoder))
    }
}

fn slices(picture: &Picture) -> YUVSlices<'_> {
    let [y, u, v] = picture.planes();
    let width = picture.width();
    YUVSlices::new((y, u, v), picture.size(), (width, width / 2, width / 2))
}

/// A decoder.
pub struct Decoder(InnerDecoder);

enum InnerDecoder {
    H264(openh264::decoder::Decoder),
    Vp8(vp8::Decoder),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

impl Decoder {
    /// One that waits for a keyframe.
    ///
    /// # Panics
    /// When the codec does not start.
    pub fn new(codec: VideoCodec) -> Self {
        Self(match codec {
            VideoCodec::H264 => InnerDecoder::H264(openh264::decoder::Decoder::new().expect("an H.264 decoder")),
            VideoCodec::Vp8 => InnerDecoder::Vp8(vp8::Decoder::new().expect("a VP8 decoder")),
        })
    }

    /// The picture of one access unit; `None` when it has none.
    ///
    /// # Errors
    /// What the decoder says.
    pub fn decode(&mut self, unit: &[u8]) -> Result<Option<Picture>, String> {
        match &mut self.0 {
            InnerDecoder::H264(decoder) => {
                let Some(decoded) = decoder.decode(unit).map_err(|e| e.to_string())? else { return Ok(None) };
                let ((width, height), (y, u, v)) = (decoded.dimensions(), decoded.strides());
                Ok(Picture::from_planes(width, height, [decoded.y(), decoded.u(), decoded.v()], [y, u, v]))
            }
            InnerDecoder::Vp8(decoder) => decoder.decode(unit),
        }
    }
}

/// NAL units of an Annex B stream, without start codes (H.264 Annex B).
pub fn nal_units(annex_b: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(three) = annex_b.get(at..at + 3) {
        if three == [0, 0, 1] {
            starts.push(at);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([annex_b.len()]);
    let units = starts.iter().zip(ends).map(|(&start, end)| {
        let unit = &annex_b[start + 3..end];
        // The zero that makes the next start code one of four bytes.
        unit.strip_suffix(&[0]).unwrap_or(unit)
    });
    units.filter(|unit| !unit.is_empty()).collect()
}

/// Whether decoding can begin with this access unit: H.264 has an IDR slice, VP8 says so in its first bit.
pub fn is_keyframe(codec: VideoCodec, unit: &[u8]) -> bool {
    match codec {
        VideoCodec::H264 => nal_units(unit).iter().any(|nal| nal[0] & 0x1f == 5),
        VideoCodec::Vp8 => unit.first().is_some_and(|first| first & 1 == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Colour;
    use crate::scene::{self, Shot};
    use std::time::Instant;

    const BOTH: [VideoCodec; 2] = [VideoCodec::H264, VideoCodec::Vp8];

    fn settings(codec: VideoCodec) -> EncoderSettings {
        EncoderSettings { codec, framerate: 15, kbps: 300, max_nal_bytes: None }
    }

    #[test]
    fn every_colour_survives_both_codecs() {
        for codec in BOTH {
            let (mut encoder, mut decoder) = (Encoder::new(settings(codec)), Decoder::new(codec));
            for colour in Colour::ALL {
                let mut scene = scene::moving(colour, 3);
                for number in 0..4 {
                    let shot = Shot { number, captured: Instant::now(), width: 320, height: 180 };
                    let unit = encoder.encode(&scene(shot), false);
                    let picture = decoder.decode(&unit).unwrap().expect("a picture");
                    assert_eq!(picture.size(), (320, 180));
                    if number == 3 {
                        assert_eq!(picture.colour_at(160, 60, 4), Some(colour), "{codec:?}\n{picture:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn keyframes_come_first_on_request_and_with_a_new_size() {
        for codec in BOTH {
            let mut encoder = Encoder::new(settings(codec));
            let small = Picture::solid(160, 96, Colour::Red);
            let large = Picture::solid(320, 192, Colour::Red);
            let wanted = [(&small, false, true), (&small, false, false), (&small, true, true), (&large, false, true)];
            for (n, (picture, asked, is_key)) in wanted.into_iter().enumerate() {
                let unit = encoder.encode(picture, asked);
                assert_eq!(is_keyframe(codec, &unit), is_key, "{codec:?}, picture {n}");
            }
        }
    }

    #[test]
    fn slices_are_cut_to_size() {
        let mut encoder = Encoder::new(EncoderSettings { max_nal_bytes: Some(1_000), ..settings(VideoCodec::H264) });
        let mut scene = scene::moving(Colour::Green, 1);
        let shot = Shot { number: 0, captured: Instant::now(), width: 640, height: 360 };
        let unit = encoder.encode(&scene(shot), false);
        let nals = nal_units(&unit);
        assert!(nals.len() > 3 && nals.iter().all(|n| n.len() <= 1_000), "{:?}", nals.iter().map(|n| n.len()));
    }

    #[test]
    fn nal_units_are_found_with_either_start_code() {
        let stream = [0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65, 9];
        assert_eq!(nal_units(&stream), [&[0x67, 1][..], &[0x68], &[0x65, 9]]);
        assert!(is_keyframe(VideoCodec::H264, &stream));
        assert!(nal_units(&[1, 2, 3]).is_empty());
    }

    #[test]
    fn rubbish_is_an_error_and_not_a_picture() {
        for codec in BOTH {
            let mut decoder = Decoder::new(codec);
            assert!(!matches!(decoder.decode(&[0, 0, 0, 1, 0x65, 1, 2, 3]), Ok(Some(_))));
        }
    }
}
