//! Where sounds come from: files of the operator's, under our names or an Asterisk sound package's, and those that are built
//! in. The files' names are read once, at the start; their bytes when a sound is wanted. Knows no phrase and no grammar.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use media::{Prompt, PromptFile};
use rust_embed::Embed;

use super::asterisk;

/// Sounds that no language owns.
pub(super) const TONES: &str = "tones";
/// More is no sound of a prompt: ten minutes of 48 kHz stereo WAV are 115 MB.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// What `scripts/prompts` made: `LANGUAGE/NAME.opus`.
#[derive(Embed)]
#[folder = "prompts/"]
struct BuiltIn;

/// A sound's file, and how to read it.
#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    format: PromptFile,
}

impl Found {
    /// # Errors
    /// One line that names the file.
    fn decode(&self) -> Result<Prompt, String> {
        let at = |reason: &dyn std::fmt::Display| format!("{}: {reason}", self.path.display());
        let length = std::fs::metadata(&self.path).map_err(|e| at(&e))?.len();
        if length > MAX_FILE_BYTES {
            return Err(at(&"longer than any prompt"));
        }
        let bytes = std::fs::read(&self.path).map_err(|e| at(&e))?;
        self.format.decode(&bytes).map_err(|e| at(&e))
    }
}

/// One language's files in the operator's directory: by the path within the language's directory, without extension.
type Files = BTreeMap<String, Found>;

/// All sounds there are.
#[derive(Debug)]
pub(super) struct Voices {
    /// By language, in lower case with `-`.
    overrides: BTreeMap<String, Files>,
    built_in: BTreeSet<String>,
}

impl Voices {
    /// Reads the names in `dir`, and each file that would be used once, so that a bad one is told now.
    ///
    /// # Errors
    /// One line that says what is wrong with the directory, or with a file in it.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, String> {
        let overrides = dir.map(overrides).transpose()?.unwrap_or_default();
        let built_in =
            BuiltIn::iter().filter_map(|path| path.strip_suffix(".opus")?.split('/').next().map(str::to_owned));
        let voices = Self { overrides, built_in: built_in.collect() };
        for (language, files) in &voices.overrides {
            for (name, found) in files {
                if voices.is_used(language, name) {
                    found.decode()?;
                }
            }
        }
        Ok(voices)
    }

    /// There is at least one sound of it.
    pub(super) fn has(&self, language: &str) -> bool {
        language != TONES && (self.built_in.contains(language) || self.overrides.contains_key(language))
    }

    /// All languages, sorted.
    pub(super) fn languages(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.built_in.iter().chain(self.overrides.keys()).map(String::as_str).collect();
        all.into_iter().filter(|language| *language != TONES).collect()
    }

    /// The sound of that name: more than one where a package has it in parts. `None`: there is none. A file that cannot
    /// be read any more is logged, and the built-in sound is taken.
    pub(super) fn decode(&self, language: &str, name: &str) -> Option<Vec<Prompt>> {
        self.overridden(language, name).or_else(|| built_in(language, name))
    }

    fn overridden(&self, language: &str, name: &str) -> Option<Vec<Prompt>> {
        let found = self.files_of(language, name)?;
        let prompts: Result<Vec<Prompt>, String> = found.into_iter().map(Found::decode).collect();
        prompts.inspect_err(|error| tracing::warn!(%error, "a prompt's file cannot be played")).ok()
    }

    fn files_of(&self, language: &str, name: &str) -> Option<Vec<&Found>> {
        if let Some(found) = self.overrides.get(language).and_then(|files| files.get(name)) {
            return Some(vec![found]);
        }
        // A package has its tones with each language; the first that has one will do.
        let mut packages = match language {
            TONES => self.overrides.values().collect(),
            language => self.overrides.get(language).into_iter().collect::<Vec<_>>(),
        }
        .into_iter();
        let parts = asterisk::parts(language, name)?;
        packages.find_map(|files| parts.iter().map(|part| files.get(part)).collect::<Option<Vec<_>>>())
    }

    /// A name of ours, or of a package's that stands for one.
    fn is_used(&self, language: &str, name: &str) -> bool {
        is_ours(language, name) || asterisk::is_mapped(name)
    }
}

fn built_in(language: &str, name: &str) -> Option<Vec<Prompt>> {
    let path = format!("{language}/{name}.opus");
    let bytes = BuiltIn::get(&path)?.data;
    let prompt = PromptFile::Opus.decode(&bytes);
    // Each is decoded by a test.
    prompt
        .inspect_err(|error| tracing::error!(%error, path, "BUG: a built-in prompt cannot be played"))
        .ok()
        .map(|p| vec![p])
}

/// English has every sound that any language can have, but for forms of numbers.
fn is_ours(language: &str, name: &str) -> bool {
    let place = if language == TONES { TONES } else { "en" };
    name.starts_with("number-") || BuiltIn::get(&format!("{place}/{name}.opus")).is_some()
}

fn overrides(dir: &Path) -> Result<BTreeMap<String, Files>, String> {
    let at = |path: &Path, reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let mut languages: BTreeMap<String, Files> = BTreeMap::new();
    let mut places = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| at(dir, &e))? {
        let path = entry.map_err(|e| at(dir, &e))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        if let Some(name) = name.filter(|_| path.is_dir()) {
            places.push((name, path));
        }
    }
    // `en` before `en_US_f_Allison`: the one that an operator made wins.
    places.sort();
    for (name, path) in places {
        let Some(language) = language_of(&name) else { continue };
        let mut files = Files::new();
        collect(&path, "", &mut files).map_err(|(path, e)| at(&path, &e))?;
        for (name, found) in files {
            languages.entry(language.clone()).or_default().entry(name).or_insert(found);
        }
    }
    languages.retain(|language, files| files.keys().any(|name| is_ours(language, name) || asterisk::is_mapped(name)));
    if languages.is_empty() {
        return Err(at(dir, &"no directory in it is a language's with a prompt in it, such as en/enter-pin.wav"));
    }
    Ok(languages)
}

/// `en`, `pt-br` of `pt_BR`, `en` of Debian's `en_US_f_Allison`; `None`: not a language's.
fn language_of(directory: &str) -> Option<String> {
    if directory == TONES {
        return Some(TONES.to_owned());
    }
    let name = directory.replace('_', "-").to_lowercase();
    let parts: Vec<&str> = name.split('-').collect();
    let is_word = |part: &&str| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let language =
        parts.first().filter(|part| (2..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase()))?;
    match parts.len() {
        // Language, region, m or f, who speaks: the way Debian names voices.
        4 if matches!(parts.get(2), Some(&"f" | &"m")) => Some((*language).to_owned()),
        1 | 2 if parts.iter().all(is_word) => Some(name),
        _ => None,
    }
}

/// All sounds below `place`, and one directory further down (`digits/`).
fn collect(place: &Path, prefix: &str, files: &mut Files) -> Result<(), (PathBuf, std::io::Error)> {
    let fault = |error| (place.to_owned(), error);
    for entry in std::fs::read_dir(place).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if path.is_dir() {
            if prefix.is_empty() {
                collect(&path, &format!("{stem}/"), files)?;
            }
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let rank = |format: PromptFile| PromptFile::ALL.iter().position(|other| *other == format);
        let Some(format) = PromptFile::ALL.into_iter().find(|format| format.extension() == extension) else { continue };
        let name = format!("{prefix}{stem}");
        if files.get(&name).is_none_or(|other| rank(format) < rank(other.format)) {
            files.insert(name, Found { path, format });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_told_apart_by_their_names() {
        for (directory, language) in [
            ("en", Some("en")),
            ("pt_BR", Some("pt-br")),
            ("zh-HK", Some("zh-hk")),
            ("en_US_f_Allison", Some("en")),
            ("it_IT_m_Carlo", Some("it")),
            ("tones", Some("tones")),
            ("custom", None),
            ("en_AU_x_y_z", None),
            ("", None),
            ("..", None),
        ] {
            assert_eq!(language_of(directory).as_deref(), language, "{directory}");
        }
    }
}
