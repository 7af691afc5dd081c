//! Movies from their taps to what ffmpeg makes of the files. Tests only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openh264::OpenH264API;
use openh264::encoder::{Encoder, EncoderConfig, FrameRate, IntraFramePeriod};
use openh264::formats::YUVBuffer;

use super::scan::{Kind, Scan};
use crate::audio::codec::opus::SILENCE;
use crate::command::{Event, FinishedFile};
use crate::record::take::{Progress, Take};
use crate::record::testing::{Directory, POLL_TICKS, random, speech};
use crate::record::{Finalize, PictureTap, Recorder, Tap, recover};
use crate::units::{RecordingId, RoomId, TICK, Tick};
use crate::video::VideoCodec;
use crate::video::access_unit::AccessUnit;

const FRAMES_A_SECOND: u32 = 15;

/// Encodes grey pictures; a keyframe each second.
struct Camera {
    encoder: Encoder,
    size: (usize, usize),
}

impl Camera {
    fn new(width: usize, height: usize) -> Self {
        let config = EncoderConfig::new()
            .skip_frames(false)
            .max_frame_rate(FrameRate::from_hz(FRAMES_A_SECOND as f32))
            .intra_frame_period(IntraFramePeriod::from_num_frames(FRAMES_A_SECOND));
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config).unwrap();
        Self { encoder, size: (width, height) }
    }

    fn shoot(&mut self, luma: u8) -> Arc<AccessUnit> {
        let (width, height) = self.size;
        let mut yuv = vec![luma; width * height];
        yuv.resize(width * height * 3 / 2, 128);
        let encoded = self.encoder.encode(&YUVBuffer::from_vec(yuv, width, height)).unwrap();
        let mut unit = AccessUnit::empty(VideoCodec::H264);
        for layer in 0..encoded.num_layers() {
            let layer = encoded.layer(layer).unwrap();
            for nal in 0..layer.nal_count() {
                let nal = layer.nal_unit(nal).unwrap();
                let start_code = if nal.starts_with(&[0, 0, 0, 1]) { 4 } else { 3 };
                unit.units.push(unit.bytes.len() + start_code..unit.bytes.len() + nal.len());
                unit.is_keyframe |= nal[start_code] & 0x1F == 5;
                unit.bytes.extend_from_slice(nal);
            }
        }
        Arc::new(unit)
    }
}

fn picture_time(n: u32) -> Duration {
    Duration::from_nanos(u64::from(n) * 1_000_000_000 / u64::from(FRAMES_A_SECOND))
}

/// A movie without threads.
struct Set {
    begin: Instant,
    tap: Option<Tap>,
    pictures: Option<PictureTap>,
    take: Take,
    camera: Camera,
    path: PathBuf,
}

const DARK: u8 = 40;
const BRIGHT: u8 = 200;

/// The tick at which the room's clock stands when a set begins.
const FIRST_TICK: u64 = 5000;

impl Set {
    fn new(directory: &Directory, finalize: Finalize) -> Self {
        let path = directory.file("a.mp4");
        let (tap, source) = Tap::new(RecordingId(7), Default::default());
        let (pictures, picture_source) = PictureTap::new(Default::default());
        let file = crate::record::create(&path).unwrap();
        let take = Take::begin_movie(RoomId(3), RecordingId(7), path.clone(), file, (source, picture_source), finalize);
        // Far from zero, so that times before it can be.
        let begin = Instant::now() + Duration::from_secs(1000);
        tap.begin(Tick(FIRST_TICK), begin);
        let camera = Camera::new(160, 120);
        Self { begin, tap: Some(tap), pictures: Some(pictures), take: take.unwrap(), camera, path }
    }

    /// Runs `ticks` of 20 ms; `sound` and `luma` say what is heard in a tick and seen in a picture, `None` nothing at all.
    fn run(
        &mut self,
        ticks: std::ops::Range<u64>,
        mut sound: impl FnMut(u64) -> Option<Vec<u8>>,
        mut luma: impl FnMut(u32) -> Option<u8>,
    ) {
        let mut n = (0..).find(|&n| picture_time(n) >= TICK * ticks.start as u32).unwrap();
        for tick in ticks {
            if let (Some(tap), Some(packet)) = (&mut self.tap, sound(tick)) {
                tap.push(Tick(FIRST_TICK + tick), &packet);
            }
            while picture_time(n) < TICK * (tick as u32 + 1) {
                if let (Some(tap), Some(luma)) = (&mut self.pictures, luma(n)) {
                    tap.push(self.begin + picture_time(n), &self.camera.shoot(luma));
                }
                n += 1;
            }
            if (tick as usize).is_multiple_of(POLL_TICKS) {
                assert!(matches!(self.take.advance(), Ok(Progress::Open)));
            }
        }
    }

    fn finish(mut self, end: u64) -> FinishedFile {
        self.tap.take().unwrap().finish(Tick(FIRST_TICK + end));
        self.pictures.take();
        assert!(matches!(self.take.advance(), Ok(Progress::Finished)));
        let backing = Arc::clone(self.take.backing());
        let mut outcome = self.take.finish();
        outcome.finalize(&backing);
        let Event::RecordingFinished { file, .. } = outcome.into_event() else { panic!() };
        assert_eq!(file.bytes, fs::metadata(&self.path).unwrap().len());
        assert!(!super::temporary(&self.path).exists());
        file
    }
}

fn silence(_: u64) -> Option<Vec<u8>> {
    Some(SILENCE.to_vec())
}

fn probe(path: &Path, arguments: &[&str]) -> Vec<String> {
    let out = Command::new("ffprobe").args(["-v", "error"]).args(arguments).args(["-of", "csv=p=0"]).arg(path).output();
    let out = out.unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
}

fn decode(path: &Path, arguments: &[&str]) -> Vec<u8> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-copyts", "-i"])
        .arg(path)
        .args(arguments)
        .arg("-")
        .output()
        .unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Playing time in seconds as the container says it.
fn stated(path: &Path) -> f64 {
    probe(path, &["-show_entries", "format=duration"])[0].parse().unwrap()
}

/// When each picture is shown, and how bright it is.
fn shown(path: &Path) -> Vec<(f64, u8)> {
    let times = probe(path, &["-select_streams", "v", "-show_entries", "frame=pts_time"]);
    let pixels = decode(path, &["-map", "0:v", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo"]);
    assert_eq!(pixels.len(), times.len() * 160 * 120);
    let luma = pixels.chunks_exact(160 * 120).map(|picture| picture[80 * 60]);
    times.iter().map(|time| time.parse().unwrap()).zip(luma).collect()
}

/// The sound on the movie's timeline, from its very beginning on. ffmpeg 5 plays all of the last packet, which is cut.
fn heard(path: &Path) -> Vec<i16> {
    let bytes = decode(
        path,
        &["-map", "0:a", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "48000", "-f", "s16le"],
    );
    bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// In seconds, when sound begins and when a bright picture is shown.
fn beep_and_flash(path: &Path) -> (f64, f64) {
    let beep = heard(path).iter().position(|sample| sample.unsigned_abs() > 1000).unwrap();
    let flash = shown(path).iter().find(|(_, luma)| *luma > 120).unwrap().0;
    (beep as f64 / 48_000.0, flash)
}

fn near(a: f64, b: f64, by: f64) -> bool {
    (a - b).abs() <= by
}

#[test]
fn movie_plays_as_long_as_it_ran() {
    for finalize in [Finalize::Fragmented, Finalize::Plain] {
        let directory = Directory::new();
        let (_, packets) = speech(160);
        let mut set = Set::new(&directory, finalize);
        set.run(0..160, |tick| Some(packets[tick as usize].clone()), |_| Some(DARK));
        let file = set.finish(160);
        assert_eq!(file.duration, Duration::from_millis(3200));
        // Of the fragmented one ffmpeg counts the look-ahead in.
        assert!(near(stated(&file.path), 3.2, 0.0066), "{finalize:?}");
        let streams = probe(&file.path, &["-show_entries", "stream=codec_name,width,height,channels,sample_rate"]);
        assert_eq!(streams, ["h264,160,120", "opus,48000,1"]);
        assert_eq!(shown(&file.path).len(), 48);
        let pcm = heard(&file.path);
        assert_eq!(pcm.len(), 153_600 + 648);
        let repaired = recover(&file.path).unwrap();
        assert_eq!(repaired, file, "{finalize:?}");
    }
}

#[test]
fn pictures_and_sound_meet_whichever_begins_first() {
    for finalize in [Finalize::Fragmented, Finalize::Plain] {
        for (sound_from, pictures_from) in [(0, 0), (0, 9), (37, 0), (0, 25)] {
            let directory = Directory::new();
            let (_, packets) = speech(200);
            let mut set = Set::new(&directory, finalize);
            // At 2 s it flashes and beeps.
            let sound = |tick| match tick {
                tick if tick < sound_from => None,
                0..100 => silence(tick),
                tick => Some(packets[tick as usize - 100].clone()),
            };
            set.run(0..200, sound, |n| (n >= pictures_from).then_some(if n < 30 { DARK } else { BRIGHT }));
            let file = set.finish(200);
            assert_eq!(file.duration, Duration::from_secs(4), "{finalize:?}, {sound_from}, {pictures_from}");
            let (beep, flash) = beep_and_flash(&file.path);
            let case = format!("{finalize:?}: from {sound_from} and {pictures_from}: {beep} and {flash}");
            assert!(near(beep, 2.0, 0.005) && near(flash, 2.0, 0.002), "{case}");
        }
    }
}

#[test]
fn pauses_are_silence_and_a_picture_that_stands() {
    for finalize in [Finalize::Fragmented, Finalize::Plain] {
        let directory = Directory::new();
        let (_, packets) = speech(100);
        let mut set = Set::new(&directory, finalize);
        // No pictures from 1 to 6 s, no ticks from 2 to 4 s; at 8 s it flashes and beeps.
        let sound = |tick| match tick {
            100..200 => None,
            0..400 => silence(tick),
            tick => Some(packets[tick as usize - 400].clone()),
        };
        set.run(0..500, sound, |n| match n {
            15..90 => None,
            0..120 => Some(DARK),
            _ => Some(BRIGHT),
        });
        let file = set.finish(500);
        assert_eq!(file.duration, Duration::from_secs(10));
        let (beep, flash) = beep_and_flash(&file.path);
        assert!(near(beep, 8.0, 0.005) && near(flash, 8.0, 0.002), "{finalize:?}: {beep} and {flash}");
        if finalize == Finalize::Fragmented {
            // ffmpeg does not tell durations of these.
            continue;
        }
        let durations = probe(&file.path, &["-select_streams", "v", "-show_entries", "packet=pts_time,duration_time"]);
        let standing = durations.iter().find(|line| line.starts_with("0.933")).unwrap();
        assert!(near(standing.split(',').nth(1).unwrap().parse().unwrap(), 5.0667, 0.001), "{standing}");
    }
}

#[test]
fn full_queue_costs_pictures_but_not_time() {
    let directory = Directory::new();
    let mut set = Set::new(&directory, Finalize::Fragmented);
    set.run(0..50, silence, |_| Some(DARK));
    // The disk stalls: nobody polls while more pictures come than may wait.
    let big = {
        let mut unit = AccessUnit::clone(&set.camera.shoot(DARK));
        unit.is_keyframe = false;
        // A NAL unit of filler data, which decoders step over.
        let from = unit.bytes.len() + 4;
        unit.bytes.extend_from_slice(&[0, 0, 0, 1, 12]);
        unit.bytes.resize(from + 200_000, 0xFF);
        unit.bytes.push(0x80);
        unit.units.push(from..unit.bytes.len());
        Arc::new(unit)
    };
    let tap = set.pictures.as_mut().unwrap();
    assert!(!tap.wants_keyframe());
    for n in 15..45 {
        tap.push(set.begin + picture_time(n), &big);
    }
    assert!(tap.wants_keyframe() && tap.is_open());
    set.run(150..250, silence, |n| Some(if n < 60 { DARK } else { BRIGHT }));
    assert!(!set.pictures.as_ref().unwrap().wants_keyframe());
    let file = set.finish(250);
    assert_eq!(file.duration, Duration::from_secs(5));
    let shown = shown(&file.path);
    assert!((40..65).contains(&shown.len()), "{} pictures", shown.len());
    let flash = shown.iter().find(|(_, luma)| *luma > 120).unwrap().0;
    assert!(near(flash, 4.0, 0.002), "{flash}");
}

#[test]
fn another_size_belongs_into_another_part() {
    let directory = Directory::new();
    let mut set = Set::new(&directory, Finalize::Fragmented);
    set.run(0..100, silence, |_| Some(DARK));
    let mut other = Camera::new(120, 160);
    let tap = set.pictures.as_mut().unwrap();
    assert!(!tap.size_changed());
    tap.push(set.begin + Duration::from_secs(2), &other.shoot(BRIGHT));
    tap.push(set.begin + Duration::from_millis(2066), &other.shoot(BRIGHT));
    assert!(tap.size_changed() && !tap.wants_keyframe() && tap.is_open());
    let file = set.finish(110);
    assert!(shown(&file.path).iter().all(|(_, luma)| *luma < 120));
}

#[test]
fn sound_is_kept_though_no_picture_comes() {
    let directory = Directory::new();
    let (_, packets) = speech(700);
    let mut set = Set::new(&directory, Finalize::Plain);
    set.run(0..600, |tick| Some(packets[tick as usize].clone()), |_| None);
    let tap = set.pictures.as_mut().unwrap();
    assert!(tap.wants_keyframe());
    tap.push(set.begin + Duration::from_secs(12), &set.camera.shoot(DARK));
    assert!(tap.size_changed(), "the pictures need a part of their own");
    set.run(600..700, |tick| Some(packets[tick as usize].clone()), |_| None);
    let file = set.finish(700);
    assert_eq!(file.duration, Duration::from_secs(14));
    assert_eq!(probe(&file.path, &["-show_entries", "stream=codec_name"]), ["opus"]);
    assert_eq!(heard(&file.path).len(), 672_000 + 648);
}

#[test]
fn pictures_are_kept_though_no_sound_comes() {
    let directory = Directory::new();
    let mut set = Set::new(&directory, Finalize::Plain);
    set.run(0..200, |_| None, |_| Some(DARK));
    let file = set.finish(0);
    assert!(near(file.duration.as_secs_f64(), 4.0, 0.001), "{:?}", file.duration);
    assert_eq!(shown(&file.path).len(), 60);
}

#[test]
fn composer_that_keeps_its_tap_does_not_keep_the_movie_open() {
    let directory = Directory::new();
    let mut set = Set::new(&directory, Finalize::Fragmented);
    set.run(0..100, silence, |_| Some(DARK));
    set.tap.take().unwrap().finish(Tick(FIRST_TICK + 100));
    let polls = (0..20).position(|_| matches!(set.take.advance(), Ok(Progress::Finished))).unwrap();
    assert!((3..7).contains(&polls), "{polls} polls");
    set.take.finish();
    let mut pictures = set.pictures.take().unwrap();
    pictures.push(set.begin + Duration::from_secs(3), &set.camera.shoot(DARK));
    assert!(!pictures.is_open());
    assert_eq!(shown(&set.path).len(), 30);
}

#[test]
fn sound_and_pictures_are_in_step_after_an_hour() {
    let directory = Directory::new();
    let mut set = Set::new(&directory, Finalize::Plain);
    // The same one again and again, as that needs no encoder.
    let keyframe = set.camera.shoot(DARK);
    let ticks = 3600 * 50;
    let mut n = 0;
    for tick in 0..ticks {
        // The worker skips some.
        if tick % 1000 != 7 {
            set.tap.as_mut().unwrap().push(Tick(FIRST_TICK + tick), &SILENCE);
        }
        while picture_time(n) < TICK * (tick as u32 + 1) {
            // The composer does too.
            if n % 777 != 5 {
                set.pictures.as_mut().unwrap().push(set.begin + picture_time(n), &keyframe);
            }
            n += 1;
        }
        if (tick as usize).is_multiple_of(POLL_TICKS) {
            set.take.advance().unwrap();
        }
    }
    let file = set.finish(ticks);
    assert_eq!(file.duration, Duration::from_secs(3600));
    let entries = ["-select_streams", "v", "-read_intervals", "3595", "-show_entries", "packet=pts_time"];
    let last: f64 = probe(&file.path, &entries).last().unwrap().parse().unwrap();
    assert!(near(last, 3600.0 - 1.0 / 15.0, 0.001), "{last}");
    let durations = probe(&file.path, &["-show_entries", "stream=duration"]);
    assert_eq!(durations, ["3600.000000", "3600.000000"]);
}

#[test]
fn movie_without_anything_is_a_file_without_anything() {
    let directory = Directory::new();
    let file = Set::new(&directory, Finalize::Plain).finish(0);
    assert_eq!(file.duration, Duration::ZERO);
}

#[test]
fn killed_process_loses_less_than_two_seconds() {
    let directory = Directory::new();
    let (_, packets) = speech(400);
    let copy = directory.file("copy.mp4");
    let mut set = Set::new(&directory, Finalize::Fragmented);
    for second in 0..8 {
        set.run(second * 50..second * 50 + 47, |tick| Some(packets[tick as usize].clone()), |_| Some(DARK));
        if second > 1 {
            fs::copy(&set.path, &copy).unwrap();
            // Also as it is.
            let pushed = Duration::from_millis(second * 1000 + 940);
            let as_it_is = heard(&copy).len() as f64 / 48_000.0;
            let kept = recover(&copy).unwrap().duration;
            assert!(pushed - kept < Duration::from_secs(2), "{kept:?} kept of {pushed:?}");
            assert!(near(as_it_is, kept.as_secs_f64(), 0.1), "{kept:?} kept, {as_it_is} plays");
            let last = shown(&copy).last().unwrap().0;
            assert!(pushed.as_secs_f64() - last < 2.0, "a picture of {last}");
        }
        let tail = second * 50 + 47..second * 50 + 50;
        set.run(tail, |tick| Some(packets[tick as usize].clone()), |_| Some(DARK));
    }
}

/// Five seconds; with a pause in the pictures, so that fragments of sound alone are there too.
fn five_seconds(directory: &Directory) -> (PathBuf, Vec<u8>) {
    let (_, packets) = speech(250);
    let mut set = Set::new(directory, Finalize::Fragmented);
    set.run(0..250, |tick| Some(packets[tick as usize].clone()), |n| (!(20..50).contains(&n)).then_some(DARK));
    let path = set.finish(250).path;
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

#[test]
fn file_cut_anywhere_plays_its_whole_fragments() {
    let directory = Directory::new();
    let (path, whole) = five_seconds(&directory);
    let ends: Vec<u64> = {
        let file = fs::File::open(&path).unwrap();
        let mut scan = Scan::new(&file).unwrap();
        assert!(matches!(scan.head().unwrap(), Ok(Kind::Fragmented(_))));
        std::iter::from_fn(|| scan.next().unwrap().map(|fragment| fragment.end)).collect()
    };
    assert!(ends.len() >= 5, "{ends:?}");
    let mut state = 4;
    let cuts = (0..120).map(|_| random(&mut state) as usize % whole.len());
    let edges = ends.iter().flat_map(|&end| [end as usize - 1, end as usize, end as usize + 1]);
    for (at, cut) in edges.chain(cuts).enumerate() {
        fs::write(&path, &whole[..cut]).unwrap();
        let kept = ends.iter().filter(|&&end| end as usize <= cut).count();
        let recovered = recover(&path);
        assert_eq!(recovered.is_ok(), kept > 0, "cut at {cut}");
        let Ok(file) = recovered else { continue };
        let repaired = fs::read(&path).unwrap();
        let end = ends[kept - 1] as usize;
        assert!(whole[1500..end] == repaired[1500..end], "cut at {cut}");
        assert_eq!(recover(&path).unwrap(), file);
        assert!(fs::read(&path).unwrap() == repaired, "a sound file is left as it is");
        if at % 40 == 0 {
            shown(&path);
            heard(&path);
            let said = stated(&path);
            assert!(near(said, file.duration.as_secs_f64(), 0.0066), "{said} of {:?}", file.duration);
        }
    }
}

#[test]
fn damage_anywhere_is_survived() {
    let directory = Directory::new();
    let (path, whole) = five_seconds(&directory);
    let mut state = 2;
    for round in 0..500 {
        let mut bytes = whole.clone();
        bytes.truncate(random(&mut state) as usize % whole.len());
        for _ in 0..random(&mut state) % 8 {
            // Half of the damage in the head, which is small.
            let span = if round % 2 == 0 { 1500 } else { whole.len() };
            let at = random(&mut state) as usize % span;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= random(&mut state) as u8;
            }
        }
        fs::write(&path, &bytes).unwrap();
        if let Ok(found) = recover(&path) {
            assert_eq!(found.bytes, fs::metadata(&path).unwrap().len());
            assert_eq!(recover(&path).unwrap(), found);
            let file = fs::File::open(&path).unwrap();
            // Whatever it makes of it, it ends.
            if super::make_plain(&file, &path).is_ok() {
                fs::remove_file(super::temporary(&path)).unwrap();
            }
        }
    }
}

#[test]
fn plain_file_has_the_same_samples() {
    let samples = |finalize| {
        let directory = Directory::new();
        let (_, packets) = speech(250);
        let mut set = Set::new(&directory, finalize);
        set.run(
            0..250,
            |tick| (tick > 20).then(|| packets[tick as usize].clone()),
            |n| (!(20..50).contains(&n)).then_some(DARK),
        );
        let file = set.finish(250);
        let bytes = fs::read(&file.path).unwrap();
        let is_plain = !bytes.windows(4).any(|window| window == b"moof");
        let arguments = ["-map", "0", "-c", "copy", "-avoid_negative_ts", "disabled", "-f", "framemd5"];
        let text = String::from_utf8(decode(&file.path, &arguments)).unwrap();
        // Track, decoding time, presentation time, duration, bytes, MD5. Of the first, ffmpeg has no durations of sound.
        let mut samples: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        for line in &mut samples {
            let mut fields: Vec<&str> = line.split(',').map(str::trim).collect();
            fields.remove(3);
            // What is skipped of the first packet.
            fields.truncate(5);
            *line = fields.join(",");
        }
        samples.sort();
        (samples, is_plain)
    };
    let (fragmented, plain) = (samples(Finalize::Fragmented), samples(Finalize::Plain));
    assert_eq!((fragmented.1, plain.1), (false, true));
    assert_eq!(fragmented.0.len(), plain.0.len());
    for (fragmented, plain) in fragmented.0.iter().zip(&plain.0) {
        assert_eq!(fragmented, plain);
    }
}

#[test]
fn seeking_lands_on_the_keyframe_before() {
    for finalize in [Finalize::Fragmented, Finalize::Plain] {
        let directory = Directory::new();
        let mut set = Set::new(&directory, finalize);
        set.run(0..500, silence, |n| Some((n * 2) as u8));
        let file = set.finish(500);
        for (from, frame) in [("7.2", "7.000000"), ("3", "3.000000")] {
            let interval = format!("{from}%+#1");
            let found = probe(
                &file.path,
                &["-select_streams", "v", "-read_intervals", &interval, "-show_entries", "packet=pts_time,flags"],
            );
            assert_eq!(found[0].split(',').next(), Some(frame), "{finalize:?}: {found:?}");
            assert!(found[0].contains('K'));
        }
    }
}

#[test]
fn disk_full_keeps_what_was_written() {
    let directory = Directory::new();
    let mut set = Set::new(&directory, Finalize::Plain);
    set.run(0..220, silence, |_| Some(DARK));
    set.take.backing().sync_failure.set("the disk is full (forcing to disk)".to_owned()).unwrap();
    let mut failed = None;
    for tick in 220..400 {
        set.tap.as_mut().unwrap().push(Tick(FIRST_TICK + tick), &SILENCE);
        if let (None, Err(reason)) = (&failed, set.take.advance()) {
            failed = Some(reason);
            break;
        }
    }
    let outcome = set.take.fail(failed.unwrap());
    let Event::RecordingFailed { reason, file: Some(file), .. } = outcome.into_event() else { panic!() };
    assert!(reason.starts_with("the disk is full"));
    assert!(file.duration > Duration::from_secs(3));
    heard(&file.path);
    assert!((50..60).contains(&shown(&file.path).len()));
    let said = stated(&file.path);
    assert!(near(said, file.duration.as_secs_f64(), 0.0066), "{said} of {:?}", file.duration);
    let pictures = set.pictures.as_mut().unwrap();
    pictures.push(set.begin + Duration::from_secs(9), &set.camera.shoot(DARK));
    pictures.push(set.begin + Duration::from_secs(10), &set.camera.shoot(DARK));
    assert!(!pictures.is_open(), "the tap learns that nobody listens");
}

#[test]
fn movie_that_was_moved_is_not_written_over() {
    let directory = Directory::new();
    let mut set = Set::new(&directory, Finalize::Plain);
    set.run(0..100, silence, |_| Some(DARK));
    set.tap.take();
    set.pictures.take();
    assert!(matches!(set.take.advance(), Ok(Progress::Finished)));
    let backing = Arc::clone(set.take.backing());
    let mut outcome = set.take.finish();
    fs::rename(&set.path, directory.file("moved.mp4")).unwrap();
    fs::write(&set.path, "another").unwrap();
    outcome.finalize(&backing);
    assert_eq!(fs::read(&set.path).unwrap(), b"another");
    assert_eq!(shown(&directory.file("moved.mp4")).len(), 30);
    assert!(!super::temporary(&set.path).exists());
}

#[test]
fn recorder_finishes_movies_beside_sound() {
    let directory = Directory::new();
    let (events, events_out) = std::sync::mpsc::channel();
    let recorder = Recorder::start(move |event| events.send(event).unwrap()).unwrap();
    let path = directory.file("a.mp4");
    let (mut tap, mut pictures) =
        recorder.open_movie(RoomId(1), RecordingId(1), path.clone(), Finalize::Plain).unwrap();
    let mut sound = recorder.open(RoomId(2), RecordingId(2), directory.file("b.opus")).unwrap();
    let mut camera = Camera::new(160, 120);
    let begin = Instant::now();
    tap.begin(Tick(0), begin);
    let (_, packets) = speech(100);
    for (tick, packet) in (0..).zip(&packets) {
        tap.push(Tick(tick), packet);
        sound.push(Tick(tick), packet);
        if tick % 3 == 0 {
            pictures.push(begin + TICK * tick as u32, &camera.shoot(DARK));
        }
    }
    tap.finish(Tick(100));
    pictures.finish();
    let Event::RecordingFinished { file, .. } = events_out.recv_timeout(Duration::from_secs(60)).unwrap() else {
        panic!()
    };
    assert_eq!((file.path.as_path(), file.duration), (path.as_path(), Duration::from_secs(2)));
    assert_eq!(shown(&path).len(), 34);
    drop(sound);
    recorder.stop();
    assert_eq!(recorder.pictures_lost(), 0);
}
