//! The house rules as tests: what a reviewer would otherwise have to remember. They read the sources as text, so they are
//! rough where a parser would be exact; a rule that gets in the way is changed here, in the open.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file: past this it holds two things.
const MAX_FILE_LINES: usize = 1000;
const MAX_README_LINES: usize = 150;
const MAX_MAP_LINES: usize = 300;
/// Words that name no thing; each type is named after what it is.
const EMPTY_WORDS: [&str; 6] = ["Manager", "Helper", "Util", "Handler", "Context", "Processor"];
/// `std::task::Context`, axum's and clap's own words stay theirs: only our own definitions are looked at.
const DEFINING: [&str; 4] = ["struct ", "enum ", "trait ", "type "];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Without the unit tests at the bottom of the file.
    fn product(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }
    /// A file that is compiled for tests only.
    fn is_test(&self) -> bool {
        ["/tests.rs", "_tests.rs", "/testing.rs"].iter().any(|end| self.path.ends_with(end))
            || self.path.contains("tests/")
    }
    /// Numbered lines of `product` that are not comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product().lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim_start().starts_with("//"))
    }
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "benches", "fuzz"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 20, "the walk over the sources found only {} files", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

/// Every breach on a line of its own, so that one run shows all.
fn none(rule: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

fn lines_with(sources: &[Source], exempt: &[&str], hit: impl Fn(&str) -> bool) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|s| !s.is_in(exempt)) {
        breaches
            .extend(source.code().filter(|(_, l)| hit(l)).map(|(n, l)| format!("{}:{n}: {}", source.path, l.trim())));
    }
    breaches
}

/// Names under `[section]` of a manifest.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let start = format!("[{section}]");
    let lines = text.lines().skip_while(|l| l.trim() != start).skip(1).take_while(|l| !l.starts_with('['));
    lines
        .filter_map(|l| Some(l.split(['=', '.']).next()?.trim().to_owned()))
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn media_depends_on_no_runtime_web_or_database_crate() {
    let found = dependencies("crates/media/Cargo.toml", "dependencies");
    assert!(found.contains(&"crossbeam-channel".into()), "{found:?}");
    let never = |name: &str| {
        ["tokio", "axum", "hyper", "tower", "serde", "sqlx", "clap", "reqwest", "ureq", "rsip", "toml", "control"]
            .iter()
            .any(|n| name.starts_with(n))
    };
    none("invariant 1: media must not depend on", found.into_iter().filter(|name| never(name)).collect());
}

#[test]
fn control_depends_on_no_codec_or_rtp_crate() {
    let found = dependencies("crates/control/Cargo.toml", "dependencies");
    assert!(found.contains(&"axum".into()), "{found:?}");
    let never = |name: &str| {
        ["opus", "rtp", "openh264", "rubato", "str0m", "webrtc", "ogg", "audio-codec", "sdp", "shiguredo", "testkit"]
            .iter()
            .any(|n| name.starts_with(n))
    };
    none("invariant 2: control must not depend on", found.into_iter().filter(|name| never(name)).collect());
}

#[test]
fn testkit_is_a_development_dependency_only() {
    for manifest in ["Cargo.toml", "crates/control/Cargo.toml", "crates/media/Cargo.toml"] {
        assert!(!dependencies(manifest, "dependencies").contains(&"testkit".into()), "{manifest}");
    }
}

#[test]
fn there_are_four_packages() {
    let mut manifests = vec![root().join("Cargo.toml")];
    manifests.extend(fs::read_dir(root().join("crates")).unwrap().map(|e| e.unwrap().path().join("Cargo.toml")));
    manifests.retain(|m| m.exists());
    assert_eq!(manifests.len(), 4, "{manifests:?}");
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} does not take the workspace's lints",
            manifest.display()
        );
    }
}

#[test]
fn unwinding_stays_on() {
    let text = read("Cargo.toml").replace(' ', "");
    assert!(!text.contains("panic=\"abort\""), "invariant 10 needs unwinding");
}

#[test]
fn control_uses_only_what_media_exports_at_its_root() {
    let sources = sources();
    let control: Vec<Source> =
        sources.into_iter().filter(|s| s.is_in(&["crates/control/src/", "crates/server/"])).collect();
    let module_path = |line: &str| {
        line.match_indices("media::").any(|(at, found)| {
            let before = line[..at].chars().next_back();
            let rest = &line[at + found.len()..];
            let segment: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_crate = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
            let lower = segment.starts_with(|c: char| c.is_lowercase());
            is_crate && lower && rest[segment.len()..].starts_with("::")
        })
    };
    none("invariant 2: named past media's root", lines_with(&control, &[], module_path));
}

#[test]
fn only_sip_names_the_sip_stack() {
    let place = ["crates/control/src/sip.rs", "crates/control/src/sip/", "tests/tidy.rs"];
    let named = |line: &str| line.contains("rsipstack::") || line.contains("use rsipstack");
    none("the SIP stack is named outside sip", lines_with(&sources(), &place, named));
}

#[test]
fn only_sdp_names_the_sdp_parser() {
    let place = ["crates/media/src/sdp.rs", "crates/media/src/sdp/", "tests/tidy.rs"];
    none("the SDP parser is named outside sdp", lines_with(&sources(), &place, |l| l.contains("sdp_types")));
}

#[test]
fn only_the_threads_of_media_read_a_clock() {
    let threads = [
        "crates/media/src/worker.rs",
        "crates/media/src/worker/",
        "crates/media/src/video/composer",
        "crates/media/src/record/recorder",
    ];
    let media: Vec<Source> =
        sources().into_iter().filter(|s| s.is_in(&["crates/media/src/"]) && !s.is_test()).collect();
    let reads = |l: &str| l.contains("Instant::now") || l.contains("SystemTime::now") || l.contains(".elapsed()");
    none("invariant 4: time is an argument", lines_with(&media, &threads, reads));
}

#[test]
fn media_sleeps_nowhere_and_prints_nowhere() {
    let media: Vec<Source> =
        sources().into_iter().filter(|s| s.is_in(&["crates/media/src/"]) && !s.is_test()).collect();
    let does = |l: &str| ["thread::sleep", "println!", "process::exit"].iter().any(|w| l.contains(w));
    none("media's threads wait in their poll only", lines_with(&media, &[], does));
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let bare = sources().into_iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path).collect();
    none("files without //! at the top", bare);
}

#[test]
fn no_file_is_too_long_and_none_is_mod_rs() {
    let sources = sources();
    let long = sources.iter().map(|s| (s.product().lines().count(), &s.path)).filter(|(n, _)| *n > MAX_FILE_LINES);
    none("files too long", long.map(|(n, path)| format!("{path}: {n} lines")).collect());
    let named = sources.iter().filter(|s| s.path.ends_with("/mod.rs")).map(|s| s.path.clone());
    none("foo.rs and foo/, not mod.rs", named.collect());
}

#[test]
fn names_say_what_a_thing_is() {
    let names_nothing = |line: &str| {
        let line = line.trim_start();
        let line = ["pub(crate) ", "pub(super) ", "pub "].iter().find_map(|p| line.strip_prefix(p)).unwrap_or(line);
        let name = DEFINING.iter().find_map(|word| line.strip_prefix(word));
        name.is_some_and(|name| {
            let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
            EMPTY_WORDS.iter().any(|word| name.contains(word))
        }) || line.starts_with(concat!("fn ", "get_"))
            || line.starts_with(concat!("async fn ", "get_"))
    };
    // GET is the verb of the HTTP client there; the JPEG encoder's trait has its own names.
    let named_by_others = ["crates/testkit/src/api.rs", "crates/media/src/video/jpeg.rs"];
    none("names that say nothing", lines_with(&sources(), &named_by_others, names_nothing));
    let files = sources().into_iter().map(|s| s.path).filter(|path| {
        let stem = PathBuf::from(path).file_stem().unwrap().to_string_lossy().to_lowercase();
        EMPTY_WORDS.iter().any(|word| stem.split('_').any(|part| part.trim_end_matches('s') == word.to_lowercase()))
    });
    none("file names that say nothing", files.collect());
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore"), concat!("FIX", "ME")];
    let mut breaches = Vec::new();
    for source in sources() {
        let hit = |(i, l): (usize, &str)| {
            marks.iter().find(|mark| l.contains(**mark)).map(|mark| format!("{}:{}: {mark}", source.path, i + 1))
        };
        breaches.extend(source.text.lines().enumerate().filter_map(hit));
    }
    none("left for later", breaches);
}

#[test]
fn tests_do_not_sleep_for_luck() {
    // The testkit paces what it sends and polls with deadlines; a test itself waits for a condition.
    let tests: Vec<Source> = sources().into_iter().filter(|s| s.is_in(&["tests/"])).collect();
    none("a test sleeps", lines_with(&tests, &["tests/tidy.rs"], |l| l.contains("thread::sleep(")));
}

#[test]
fn readme_and_map_fit_a_sitting() {
    for (path, most) in [("README.md", MAX_README_LINES), ("crates/README.md", MAX_MAP_LINES)] {
        let lines = read(path).lines().count();
        assert!(lines <= most, "{path} has {lines} lines, at most {most}");
    }
}

#[test]
fn the_map_has_every_invariant_and_every_place_it_names() {
    let map = read("crates/README.md");
    for number in 1..=11 {
        assert!(map.contains(&format!("\n{number}. **")), "invariant {number} is not in the map");
    }
    // Sources in backquotes must exist: a map with a wrong street is worse than none.
    let named = map.split('`').skip(1).step_by(2).filter(|word| word.ends_with(".rs") && word.contains('/'));
    let gone = named.filter(|path| !root().join("crates").join(path).exists() && !root().join(path).exists());
    none("the map names files that are not there", gone.map(str::to_owned).collect());
}

#[test]
fn every_metric_is_listed() {
    let list = read("config/metrics.md");
    let mut missing = Vec::new();
    for source in sources().iter().filter(|s| s.is_in(&["crates/control/src/"]) && !s.is_test()) {
        // The name may stand on the line after the call.
        for call in source.product().split(".register(").skip(1) {
            let name = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            let listed = |name: &&str| list.contains(&format!("{name}`")) || list.contains(&format!("{name}_total`"));
            missing.extend(name.filter(|name| !listed(name)).map(|name| format!("{}: {name}", source.path)));
        }
    }
    none("metrics that config/metrics.md does not list", missing);
}

#[test]
fn no_machine_path_is_in_the_sources() {
    let marks = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut breaches = lines_with(&sources(), &[], |l| marks.iter().any(|mark| l.contains(mark)));
    for path in
        ["README.md", "crates/README.md", "config/conclave.toml", "scripts/run", "scripts/test", "scripts/setup"]
    {
        let text = read(path);
        breaches.extend(marks.iter().filter(|mark| text.contains(**mark)).map(|mark| format!("{path}: {mark}")));
    }
    none("paths of some machine", breaches);
}
