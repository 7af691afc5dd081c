//! Whole streams through both codecs: rate, slices, keyframes, damage, and what is refused before it is decoded.

use super::testing::{Film, Random, Scene, psnr};
use super::*;
use crate::video::MAX_PAYLOAD_BYTES;
use crate::video::picture::{BLACK, Picture};

const CODECS: [VideoCodec; 2] = [VideoCodec::H264, VideoCodec::Vp8];

fn settings(width: u32, height: u32, pictures: u32, kbps: u32) -> EncoderSettings {
    EncoderSettings {
        resolution: Resolution::new(width, height).unwrap(),
        framerate: FrameRate::per_second(pictures),
        bitrate: Bitrate::kbps(kbps),
    }
}

/// An encoder with a film and what came of it.
struct Studio {
    encoder: Encoder,
    film: Film,
    settings: EncoderSettings,
    n: u64,
    out: AccessUnit,
}

impl Studio {
    fn new(codec: VideoCodec, scene: Scene, settings: EncoderSettings) -> Self {
        let (width, height) = (settings.resolution.width(), settings.resolution.height());
        Self {
            encoder: Encoder::new(codec, settings).unwrap(),
            film: Film::new(scene, width, height, 42),
            settings,
            n: 0,
            out: AccessUnit::empty(codec),
        }
    }

    /// The next picture, and whether something came of it.
    fn next(&mut self, keyframe: bool) -> (bool, PictureView<'_>, &AccessUnit) {
        let picture = self.film.next();
        let made = self.encoder.encode(picture, self.settings.framerate.due(self.n), keyframe, &mut self.out).unwrap();
        self.n += 1;
        (made, picture, &self.out)
    }

    fn units(&mut self, count: usize) -> Vec<AccessUnit> {
        (0..count).map(|_| self.next(false).2.clone()).collect()
    }
}

#[test]
fn what_is_encoded_looks_the_same_decoded() {
    for codec in CODECS {
        for (width, height) in [(320, 180), (180, 320), (144, 144), (16, 16), (66, 34)] {
            let mut studio = Studio::new(codec, Scene::Detail, settings(width, height, 15, 500));
            let mut decoder = Decoder::new(codec).unwrap();
            for n in 0..10 {
                let (made, picture, unit) = studio.next(false);
                assert!(made);
                assert_eq!(unit.is_keyframe, n == 0, "{codec:?} {width}x{height}");
                let likeness = decoder.decode(unit, |decoded| psnr(&decoded, &picture)).unwrap().unwrap();
                assert!(likeness > 30.0, "{codec:?} {width}x{height}: {likeness} dB in picture {n}");
            }
        }
    }
}

#[test]
fn rate_holds_over_any_ten_seconds_and_nothing_but_noise_is_left_out() {
    for codec in CODECS {
        for scene in Scene::ALL {
            let settings = settings(320, 180, 10, 150);
            let mut studio = Studio::new(codec, scene, settings);
            let mut bytes = Vec::new();
            for n in 0..180 {
                // Somebody joins every three seconds.
                let (made, _, unit) = studio.next(n % 30 == 17);
                assert!(made || scene == Scene::Noise, "{codec:?} {scene:?}: picture {n} is missing");
                bytes.push(unit.bytes.len());
            }
            let allowed = settings.bitrate.as_bps() as usize / 8 * 11;
            let most = bytes.windows(100).map(|window| window.iter().sum::<usize>()).max().unwrap();
            assert!(most <= allowed, "{codec:?} {scene:?}: {most} bytes in ten seconds, {allowed} allowed");
        }
    }
}

#[test]
fn keyframe_comes_when_asked_for_and_not_otherwise() {
    for codec in CODECS {
        let mut studio = Studio::new(codec, Scene::Cuts, settings(160, 90, 15, 200));
        for n in 0..100 {
            let asked = n == 40 || n == 80;
            assert_eq!(studio.next(asked).2.is_keyframe, asked || n == 0, "{codec:?}: picture {n}");
        }
    }
}

#[test]
fn keyframe_that_the_rate_has_no_room_for_stays_owed() {
    let mut studio = Studio::new(VideoCodec::H264, Scene::Noise, settings(320, 180, 10, 150));
    studio.units(1);
    let asked = studio.next(true);
    assert!(!asked.0 && asked.2.bytes.is_empty());
    let keyframe = (0..300).any(|_| studio.next(false).2.is_keyframe);
    assert!(keyframe, "the keyframe is forgotten");
}

#[test]
fn rate_and_framerate_change_without_a_keyframe() {
    for codec in CODECS {
        let mut studio = Studio::new(codec, Scene::Grain, settings(320, 180, 15, 600));
        let before: usize = studio.units(45).iter().skip(30).map(|unit| unit.bytes.len()).sum();
        studio.encoder.set(Bitrate::kbps(150), FrameRate::per_second(15)).unwrap();
        let units = studio.units(60);
        assert!(units.iter().all(|unit| !unit.is_keyframe));
        let after: usize = units.iter().skip(45).map(|unit| unit.bytes.len()).sum();
        assert!(after * 3 < before, "{codec:?}: {before} bytes a second, then {after}");
    }
}

#[test]
fn h264_begins_anew_where_a_higher_level_is_needed() {
    let mut studio = Studio::new(VideoCodec::H264, Scene::Calm, settings(320, 180, 15, 300));
    assert_eq!(sps_of(&studio.units(1)[0]).level, 12);
    studio.encoder.set(Bitrate::kbps(3000), FrameRate::per_second(30)).unwrap();
    let unit = &studio.units(1)[0];
    assert!(unit.is_keyframe);
    assert_eq!(sps_of(unit).level, 21);
}

fn sps_of(unit: &AccessUnit) -> sps::Sps {
    sps::Sps::read(unit.nal_units().next().unwrap()).unwrap()
}

#[test]
fn h264_is_constrained_baseline_with_parameter_sets_before_each_keyframe_and_units_that_fit_a_packet() {
    for scene in Scene::ALL {
        let mut studio = Studio::new(VideoCodec::H264, scene, settings(640, 360, 15, 4000));
        for n in 0..12 {
            let unit = studio.next(n == 8).2;
            assert!(unit.nal_units().all(|nal| nal.len() <= MAX_PAYLOAD_BYTES), "{scene:?}");
            assert!(unit.nal_units().eq(sps::annex_b(&unit.bytes)), "{scene:?}: the ranges are the units");
            let kinds: Vec<u8> = unit.nal_units().map(|nal| nal[0] & 0x1F).collect();
            if unit.is_keyframe {
                assert_eq!(kinds[..2], [7, 8]);
                assert!(kinds[2..].iter().all(|&kind| kind == 5));
                let sps = sps_of(unit);
                assert_eq!((sps.profile, sps.constraints & 0x40, sps.level), (66, 0x40, 22));
                assert_eq!((sps.width, sps.height), (640, 360));
            } else {
                assert!(kinds.iter().all(|&kind| kind == 1));
            }
        }
    }
}

#[test]
fn picture_of_another_size_is_refused_and_costs_nothing() {
    for codec in CODECS {
        let mut studio = Studio::new(codec, Scene::Calm, settings(160, 90, 15, 200));
        let other = Picture::filled(160, 92, BLACK);
        assert!(studio.encoder.encode(other.view(), Duration::ZERO, false, &mut studio.out).is_err());
        let fits = Picture::filled(160, 90, BLACK);
        let torn = PictureView { stride_y: 200, ..fits.view() };
        assert!(studio.encoder.encode(torn, Duration::ZERO, false, &mut studio.out).is_err());
        assert!(studio.next(false).0);
    }
}

#[test]
fn picture_with_padded_rows_is_read_by_its_strides() {
    for codec in CODECS {
        let mut film = Film::new(Scene::Detail, 320, 180, 1);
        let wide = film.next();
        let part = PictureView { width: 160, height: 90, ..wide };
        let mut encoder = Encoder::new(codec, settings(160, 90, 15, 1000)).unwrap();
        let mut unit = AccessUnit::empty(codec);
        encoder.encode(part, Duration::ZERO, false, &mut unit).unwrap();
        let likeness = Decoder::new(codec).unwrap().decode(&unit, |decoded| psnr(&decoded, &part)).unwrap().unwrap();
        assert!(likeness > 30.0, "{codec:?}: {likeness} dB");
    }
}

#[test]
fn picture_too_large_is_refused_before_it_is_decoded() {
    let mut unit = AccessUnit::empty(VideoCodec::Vp8);
    // 1,936 x 32: no more than a header, which the decoder would have called damaged.
    unit.bytes = vec![0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x90, 0x07, 0x20, 0x00];
    let refused = Decoder::new(VideoCodec::Vp8).unwrap().decode(&unit, |_| ());
    assert_eq!(refused, Err(DecodeError::TooLarge { width: 1936, height: 32 }));

    let mut unit = AccessUnit::empty(VideoCodec::H264);
    // Baseline, level 4: 121 x 6 macroblocks. Behind the slice of another picture, without being named in `units`.
    unit.bytes = vec![0, 0, 1, 0x41, 0x9A, 0, 0, 1, 0x67, 66, 0, 40, 0xF4, 0x03, 0xC9, 0xA4];
    let refused = Decoder::new(VideoCodec::H264).unwrap().decode(&unit, |_| ());
    assert_eq!(refused, Err(DecodeError::TooLarge { width: 1936, height: 96 }));
}

#[test]
fn part_that_is_missing_costs_the_pictures_up_to_the_next_keyframe_and_is_never_shown() {
    let mut studio = Studio::new(VideoCodec::H264, Scene::Grain, settings(320, 180, 15, 1500));
    let mut units = studio.units(12);
    units.push(studio.next(true).2.clone());
    let mut decoder = Decoder::new(VideoCodec::H264).unwrap();
    for (n, unit) in units.iter().enumerate() {
        let mut unit = unit.clone();
        if n == 6 {
            assert!(unit.units.len() > 1, "the film has to fill several slices");
            unit.bytes.truncate(unit.units[unit.units.len() - 1].start);
        }
        let shown = decoder.decode(&unit, |_| ());
        match n {
            0..6 | 12 => assert_eq!(shown, Ok(Some(())), "picture {n}"),
            _ => assert!(shown.is_err(), "picture {n}: {shown:?}"),
        }
    }
}

#[test]
fn pictures_after_one_that_was_lost_are_errors_in_h264() {
    let mut units = Studio::new(VideoCodec::H264, Scene::Detail, settings(160, 90, 15, 300)).units(6);
    units.remove(3);
    let mut decoder = Decoder::new(VideoCodec::H264).unwrap();
    let shown: Vec<bool> = units.iter().map(|unit| decoder.decode(unit, |_| ()).is_ok()).collect();
    assert_eq!(shown, [true, true, true, false, false]);
}

#[test]
fn size_may_change_with_a_keyframe() {
    for codec in CODECS {
        let mut decoder = Decoder::new(codec).unwrap();
        for (width, height) in [(320, 180), (160, 90), (640, 360), (180, 320)] {
            for unit in Studio::new(codec, Scene::Calm, settings(width, height, 15, 500)).units(3) {
                let size = decoder.decode(&unit, |picture| (picture.width as u32, picture.height as u32));
                assert_eq!(size, Ok(Some((width, height))), "{codec:?}");
            }
        }
    }
}

#[test]
fn stream_without_a_keyframe_and_of_another_codec_shows_nothing() {
    for codec in CODECS {
        let units = Studio::new(codec, Scene::Calm, settings(160, 90, 15, 300)).units(4);
        let mut decoder = Decoder::new(codec).unwrap();
        assert!(units[1..].iter().all(|unit| decoder.decode(unit, |_| ()).is_err()), "{codec:?}");
        assert_eq!(decoder.decode(&units[0], |_| ()), Ok(Some(())));
        let other = CODECS.into_iter().find(|&other| other != codec).unwrap();
        assert_eq!(Decoder::new(other).unwrap().decode(&units[0], |_| ()), Err(DecodeError::Codec));
    }
}

/// Whole streams in which bytes are changed, taken out, doubled, or cut off: any picture may be lost, nothing else. The next
/// keyframe that is whole is shown again, by the same decoder.
#[test]
fn damaged_streams_cost_pictures_and_nothing_else() {
    for codec in CODECS {
        let mut studio = Studio::new(codec, Scene::Detail, settings(96, 64, 15, 300));
        let units = studio.units(6);
        let mut random = Random(0xC0DE_C0DE);
        let mut decoder = Decoder::new(codec).unwrap();
        for round in 0..400 {
            for unit in &units {
                let mut unit = unit.clone();
                for _ in 0..=random.below(4) {
                    mutate(&mut unit.bytes, &mut random);
                }
                let _ = decoder.decode(&unit, |picture| assert!(picture.is_sound()));
            }
            if round % 50 == 49 {
                assert_eq!(decoder.decode(&units[0], |_| ()), Ok(Some(())), "{codec:?}, round {round}");
            }
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(at..(at + 1 + random.below(20)).min(bytes.len()))),
        3 => bytes.truncate(at),
        _ => bytes.extend_from_within(at..(at + 40).min(bytes.len())),
    }
}

#[test]
fn arbitrary_bytes_are_errors() {
    for codec in CODECS {
        let mut random = Random(0x5EED);
        let mut decoder = Decoder::new(codec).unwrap();
        let mut unit = AccessUnit::empty(codec);
        for round in 0..2000 {
            unit.clear();
            let length = random.below(300);
            if round % 2 == 0 && codec == VideoCodec::H264 {
                unit.bytes.extend([0, 0, 1, [0x67, 0x68, 0x65, 0x41, 0x6F, 0x74][random.below(6)]]);
            }
            unit.bytes.extend((0..length).map(|_| random.next() as u8));
            let _ = decoder.decode(&unit, |picture| assert!(picture.is_sound()));
        }
    }
}

/// Without nasm, OpenH264 is built without its assembly, as quietly as slowly; then it finds no features in any processor.
#[cfg(target_arch = "x86_64")]
#[test]
#[expect(unsafe_code, reason = "OpenH264 is C++")]
fn openh264_has_its_assembly() {
    unsafe extern "C" {
        fn WelsCPUFeatureDetect(processors: *mut std::ffi::c_int) -> u32;
    }
    let mut processors = 0;
    // SAFETY: a function of the library (codec/common/inc/cpu.h) that writes one number.
    let features = unsafe { WelsCPUFeatureDetect(&raw mut processors) };
    // WELS_CPU_SSE2, which every x86_64 has.
    assert_ne!(features & 0x8, 0, "install nasm, `cargo clean -p openh264-sys2`, and build again");
}
