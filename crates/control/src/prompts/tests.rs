//! What is built in, and what operators put in its place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use media::PromptFile;

use super::testing::{phrases, texts};
use super::*;

/// A sound may be louder than this at its ends no more than a click is heard.
const QUIET_END: i16 = 700;
const QUARTER: i32 = 8_192;

fn opened(dir: Option<&Path>, language: &str) -> Result<Prompts, Error> {
    Prompts::open(&PromptsConfig { dir: dir.map(Path::to_owned), language: language.to_owned() })
}

fn built_in() -> Prompts {
    opened(None, "en").unwrap()
}

fn samples(prompts: &[Prompt]) -> Vec<i16> {
    prompts.iter().flat_map(|prompt| prompt.samples().to_vec()).collect()
}

fn seconds(prompts: &[Prompt]) -> f64 {
    prompts.iter().map(|prompt| prompt.duration().as_secs_f64()).sum()
}

/// Of what is louder than a pause, in dB against a full-scale square wave.
fn level_db(samples: &[i16]) -> f64 {
    let energy = |frame: &[i16]| frame.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / frame.len() as f64;
    let frames: Vec<f64> = samples.chunks_exact(160).map(energy).collect();
    let loudest = frames.iter().copied().fold(0.0, f64::max);
    let counted: Vec<f64> = frames.into_iter().filter(|energy| *energy > loudest / 100.0).collect();
    10.0 * (counted.iter().sum::<f64>() / counted.len().max(1) as f64 / f64::from(i16::MAX).powi(2)).log10()
}

/// Sounds as they should be: there, not silent, not clipped, without a click where one follows the other.
fn assert_sounds_well(prompts: &[Prompt], what: &str) {
    let all = samples(prompts);
    let level = level_db(&all);
    assert!((-30.0..=-14.0).contains(&level), "{what}: {level:.1} dB");
    assert!(all.iter().all(|x| (-32_000..=32_000).contains(x)), "{what} is clipped");
    let mut before = 0i32;
    for prompt in prompts {
        let (first, last) = (prompt.samples()[0], *prompt.samples().last().unwrap());
        assert!((i32::from(first) - before).abs() < QUARTER, "{what}: a click at a join");
        assert!(first.abs() < QUIET_END && last.abs() < QUIET_END, "{what}: it begins at {first}, ends at {last}");
        before = i32::from(last);
    }
}

#[test]
fn every_phrase_is_there_in_every_language_and_sounds_well() {
    let prompts = built_in();
    let made = [
        Phrase::Welcome("1234567890".into()),
        Phrase::Invited("200".into()),
        Phrase::HeadCount(2),
        Phrase::HeadCount(3),
        Phrase::HeadCount(5),
        Phrase::HeadCount(21),
        Phrase::HeadCount(1_234),
        Phrase::Digits("+*#".into()),
        Phrase::Number(0),
        Phrase::Number(9_876),
        Phrase::Number(65_536),
    ];
    for language in SHIPPED {
        for phrase in Phrase::FIXED.iter().chain(&made) {
            let what = format!("{language} {phrase:?}");
            let said = prompts.say_in(language, phrase).unwrap_or_else(|| panic!("{what} is missing"));
            assert_sounds_well(&said, &what);
            let longest = match phrase {
                Phrase::Music => 60.0,
                // Both lists of keys.
                Phrase::Menu { chairman: true } => 40.0,
                _ => 20.0,
            };
            assert!((0.2..=longest).contains(&seconds(&said)), "{what}: {:.2} s", seconds(&said));
        }
        for piece in texts(language).into_keys() {
            let said = prompts.sound(language, &piece).unwrap_or_else(|| panic!("{language} {piece} is missing"));
            assert_sounds_well(&said, &format!("{language} {piece}"));
            assert!((0.15..=20.0).contains(&seconds(&said)), "{language} {piece}: {:.2} s", seconds(&said));
        }
    }
}

#[test]
fn hold_music_has_no_seam() {
    let music = samples(&built_in().say(None, &Phrase::Music));
    let step = |a: i16, b: i16| (i32::from(a) - i32::from(b)).abs();
    let steps = music.iter().zip(music.iter().skip(1)).map(|(a, b)| step(*a, *b));
    let largest = steps.max().unwrap();
    assert!(step(music[music.len() - 1], music[0]) <= largest);
    // No pause there either: the last and the first tenth of a second are as loud as what is next to them.
    let tenth = 1_600;
    let loud = |part: &[i16]| part.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / part.len() as f64;
    let (head, tail) = (loud(&music[..tenth]), loud(&music[music.len() - tenth..]));
    let (after, before) = (loud(&music[tenth..2 * tenth]), loud(&music[music.len() - 2 * tenth..music.len() - tenth]));
    assert!(head > after / 10.0 && tail > before / 10.0, "{before} {tail} {head} {after}");
}

#[test]
fn what_is_built_in_is_small_and_nothing_is_in_it_that_nobody_says() {
    let place = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/prompts"));
    let mut bytes = 0;
    for language in SHIPPED {
        let files: BTreeSet<String> = fs::read_dir(place.join(language))
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                bytes += fs::metadata(&path).unwrap().len();
                path.file_name().unwrap().to_str().unwrap().trim_end_matches(".opus").to_owned()
            })
            .collect();
        let said: BTreeSet<String> = texts(language).into_keys().collect();
        assert_eq!(files, said, "{language}");
    }
    for entry in fs::read_dir(place.join(TONES)).unwrap() {
        bytes += entry.unwrap().metadata().unwrap().len();
    }
    assert!(bytes < 6_000_000, "{bytes} bytes");
}

#[test]
fn every_language_has_the_same_texts() {
    let keys = |language: &str| -> BTreeSet<String> {
        let path = format!("{}/prompts/texts/{language}.toml", env!("CARGO_MANIFEST_DIR"));
        phrases(&fs::read_to_string(path).unwrap().parse().unwrap()).into_keys().collect()
    };
    let english = keys("en");
    for language in SHIPPED {
        assert_eq!(keys(language), english, "{language}");
        // Only these may be empty.
        let said = texts(language);
        let empty: Vec<&String> = english.iter().filter(|name| !said.contains_key(*name)).collect();
        let may_be = ["welcome-after", "invited-after", "head-count-one", "head-count-few"];
        assert!(empty.iter().all(|name| may_be.contains(&name.as_str())), "{language}: {empty:?}");
    }
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/prompts/texts");
    let mut there: Vec<String> = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    there.sort();
    let mut shipped = SHIPPED.map(str::to_owned);
    shipped.sort();
    assert_eq!(there, shipped);
    assert_eq!(built_in().languages(), shipped);
}

#[test]
fn a_language_without_a_voice_falls_back_step_by_step() {
    let prompts = opened(None, "de").unwrap();
    let said = |language: Option<&str>| samples(&prompts.say(language, &Phrase::Goodbye));
    let in_language = |language: &str| samples(&prompts.say_in(language, &Phrase::Goodbye).unwrap());
    assert_ne!(in_language("zh"), in_language("de"));
    for (asked, spoken) in [
        (Some("zh-HK"), "zh"),
        (Some("zh-Hant-HK"), "zh"),
        (Some("PT_br"), "pt"),
        (Some("fr"), "fr"),
        (Some("nl"), "de"),
        (Some("tones"), "de"),
        (Some(""), "de"),
        (Some("-"), "de"),
        (None, "de"),
    ] {
        assert!(said(asked) == in_language(spoken), "{asked:?} is not said in {spoken}");
    }
    assert!(prompts.say(Some("en"), &Phrase::Digits("no digits".into())).is_empty());
    let text = opened(None, "nl-BE").unwrap_err().to_string();
    assert_eq!(text, "prompts.language: there is no voice for nl-BE; there are de, en, es, fr, it, ja, pt, ru, zh");
}

/// A WAV file at 8 kHz: so many milliseconds of a tone.
fn wav(ms: u32, hz: f64) -> Vec<u8> {
    let samples: Vec<i16> =
        (0..ms * 8).map(|at| ((std::f64::consts::TAU * hz * f64::from(at) / 8_000.0).sin() * 8_000.0) as i16).collect();
    let data = u32::try_from(samples.len() * 2).unwrap();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(8_000u32.to_le_bytes());
    bytes.extend(16_000u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(data.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|x| x.to_le_bytes()));
    assert!(PromptFile::Wav.decode(&bytes).is_ok());
    bytes
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// In whole milliseconds: a resampler may add a sample.
fn ms(prompts: &[Prompt]) -> Vec<u128> {
    prompts.iter().map(|prompt| prompt.duration().as_millis()).collect()
}

#[test]
fn files_take_the_place_of_single_prompts() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "en/enter-pin.wav", &wav(300, 500.0));
    put(dir.path(), "tones/music.wav", &wav(700, 400.0));
    put(dir.path(), "pt_BR/goodbye.wav", &wav(400, 600.0));
    put(dir.path(), "nl/goodbye.wav", &wav(500, 600.0));
    put(dir.path(), "en/readme.txt", b"not a sound");
    put(dir.path(), "notes/enter-pin.wav", b"of no language");
    let prompts = opened(Some(dir.path()), "en").unwrap();
    assert_eq!(ms(&prompts.say(Some("en-GB"), &Phrase::EnterPin)), [300]);
    assert_eq!(ms(&prompts.say(None, &Phrase::Music)), [700]);
    assert_eq!(ms(&prompts.say(Some("pt-br"), &Phrase::Goodbye)), [400]);
    assert_eq!(ms(&prompts.say(Some("nl"), &Phrase::Goodbye)), [500]);
    let built_in = built_in();
    for (language, phrase) in [("en", Phrase::WrongPin), ("pt", Phrase::Goodbye), ("fr", Phrase::EnterPin)] {
        assert!(
            samples(&prompts.say(Some(language), &phrase)) == samples(&built_in.say(Some(language), &phrase)),
            "{language} {phrase:?}"
        );
    }
    // Dutch has one phrase only; the others are said in English, whole.
    assert!(samples(&prompts.say(Some("nl"), &Phrase::Full)) == samples(&built_in.say(None, &Phrase::Full)));
}

#[test]
fn an_asterisk_sound_package_is_taken_by_its_own_names() {
    let dir = tempfile::tempdir().unwrap();
    let voice = "en_US_f_Allison";
    for (name, length) in [
        ("confbridge-pin", 300),
        ("vm-goodbye", 310),
        ("confbridge-there-are", 320),
        ("confbridge-participants", 330),
        ("digits/30", 340),
        ("digits/7", 350),
        ("digits/hundred", 360),
        ("digits/thousand", 370),
        ("digits/2", 380),
        ("beep", 390),
    ] {
        put(dir.path(), &format!("{voice}/{name}.wav"), &wav(length, 500.0));
    }
    // Nobody plays it, so nobody minds.
    put(dir.path(), &format!("{voice}/tt-monkeys.wav"), b"broken");
    let prompts = opened(Some(dir.path()), "en").unwrap();
    let said = |phrase: Phrase| ms(&prompts.say(Some("en"), &phrase));
    assert_eq!(said(Phrase::EnterPin), [300]);
    assert_eq!(said(Phrase::Goodbye), [310]);
    assert_eq!(said(Phrase::HeadCount(37)), [320, 340, 350, 330]);
    assert_eq!(said(Phrase::Number(2_237)), [380, 370, 380, 360, 340, 350]);
    assert_eq!(said(Phrase::Beep), [390]);
    let built_in = ms(&built_in().say(Some("en"), &Phrase::Number(46)));
    assert_eq!(said(Phrase::Number(46)), built_in);
    // A file of the operator's own wins over the package.
    put(dir.path(), "en/goodbye.wav", &wav(250, 500.0));
    assert_eq!(ms(&opened(Some(dir.path()), "en").unwrap().say(None, &Phrase::Goodbye)), [250]);
}

#[test]
fn what_is_wrong_with_the_directory_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let fault = || opened(Some(dir.path()), "en").unwrap_err().to_string();
    assert!(fault().contains("no directory in it is a language's"), "{}", fault());
    put(dir.path(), "en/full.wav", b"RIFF, and no more");
    let broken = dir.path().join("en/full.wav");
    let text = fault();
    assert!(text.starts_with(&format!("prompts.dir: {}: not a WAV file", broken.display())), "{text}");
    assert_eq!(text.lines().count(), 1);
    let missing = dir.path().join("missing");
    let text = opened(Some(&missing), "en").unwrap_err().to_string();
    assert!(text.starts_with(&format!("prompts.dir: {}", missing.display())), "{text}");
}

#[test]
fn a_file_that_goes_later_is_replaced_by_the_built_in_sound() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "en/full.wav", &wav(300, 500.0));
    let prompts = opened(Some(dir.path()), "en").unwrap();
    fs::remove_file(dir.path().join("en/full.wav")).unwrap();
    assert!(samples(&prompts.say(None, &Phrase::Full)) == samples(&built_in().say(None, &Phrase::Full)));
}

#[test]
fn decoded_sounds_are_shared_and_bounded() {
    let prompts = built_in();
    let (first, again) =
        (prompts.say(None, &Phrase::Menu { chairman: false }), prompts.say(None, &Phrase::Menu { chairman: false }));
    assert!(std::ptr::eq(first[0].samples(), again[0].samples()));
    let mut kept = Kept::default();
    let second = vec![Prompt::silence(Duration::from_secs(1))];
    let most = KEPT_BYTES / bytes_of(&second);
    for at in 0..most + 10 {
        kept.keep(("en".into(), at.to_string()), second.clone());
        assert!(kept.of(&("en".into(), "0".into())).is_some(), "what is used is kept");
        assert!(kept.bytes <= KEPT_BYTES);
    }
    assert_eq!(kept.sounds.len(), most);
    assert!(kept.of(&("en".into(), "1".into())).is_none());
    kept.keep(("en".into(), "0".into()), second.clone());
    assert_eq!(kept.bytes, most * bytes_of(&second));
}
