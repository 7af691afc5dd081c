//! What callers hear from the server: phrases in their language, tones, music. Sounds are decoded when they are first wanted
//! and kept as long as there is room. Called on the runtime's threads, off the tick; a phrase may take milliseconds to
//! decode. Knows no caller, no room and no codec.

mod asterisk;
mod numbers;
mod phrase;
#[cfg(test)]
mod testing;
mod voices;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use media::Prompt;

use crate::config::PromptsConfig;
use crate::error::Error;
use crate::languages;
use numbers::Grammar;
pub use phrase::Phrase;
use phrase::Piece;
use voices::{TONES, Voices};

/// Languages with a built-in voice.
pub const SHIPPED: [&str; 9] = ["en", "zh", "es", "fr", "de", "it", "pt", "ru", "ja"];

/// Decoded sounds that are kept: ten minutes of sound.
const KEPT_BYTES: usize = 20 << 20;
/// Voices that were missed and told: more are not remembered, only not told again.
const MAX_TOLD: usize = 256;
/// Between digits, beside the breath that each has.
const GAP: Duration = Duration::from_millis(80);
/// What is heard where not even English can say it.
const LAST_RESORT_HZ: f64 = 660.0;
const LAST_RESORT: Duration = Duration::from_millis(300);
const LAST_RESORT_DBOV: f64 = -24.0;

/// Every sound, by phrase and language. Cheap to clone; all clones share what was decoded.
#[derive(Clone, Debug)]
pub struct Prompts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    voices: Voices,
    default_language: String,
    kept: Mutex<Kept>,
    told: Mutex<HashSet<String>>,
}

/// Decoded sounds, the least used given up first.
#[derive(Debug, Default)]
struct Kept {
    sounds: HashMap<(String, String), (u64, Vec<Prompt>)>,
    bytes: usize,
    uses: u64,
}

impl Prompts {
    /// Reads the operator's directory, if there is one: each file that would be played is decoded once.
    ///
    /// # Errors
    /// With one line that names the setting and what is wrong: no directory, nothing in it that is a prompt, a file that
    /// cannot be played, a default language without a voice.
    pub fn open(settings: &PromptsConfig) -> Result<Self, Error> {
        let voices =
            Voices::open(settings.dir.as_deref()).map_err(|reason| Error::Broken(format!("prompts.dir: {reason}")))?;
        let default_language = languages::lookup(&settings.language).find(|tag| voices.has(tag)).ok_or_else(|| {
            let languages = voices.languages().join(", ");
            Error::Broken(format!(
                "prompts.language: there is no voice for {}; there are {languages}",
                settings.language
            ))
        })?;
        Ok(Self(Arc::new(Shared { voices, default_language, kept: Mutex::default(), told: Mutex::default() })))
    }

    /// Languages that can be spoken, as lower-case tags, sorted.
    pub fn languages(&self) -> Vec<&str> {
        self.0.voices.languages()
    }

    /// The sounds that say `phrase`, to be played one after the other. In `language` (BCP 47), or what is left of it
    /// (`zh-HK`: `zh`), the default language, English, whichever has all of it; a short tone when none has. Empty only
    /// for digits without a digit. Blocks for as long as decoding takes.
    pub fn say(&self, language: Option<&str>, phrase: &Phrase) -> Vec<Prompt> {
        let mut first: Option<String> = None;
        let wanted = language.into_iter().flat_map(languages::lookup);
        for tag in wanted.chain(languages::lookup(&self.0.default_language)).chain(["en".to_owned()]) {
            if self.0.voices.has(&tag)
                && let Some(prompts) = self.say_in(&tag, phrase)
            {
                if let Some(wanted) = first {
                    self.tell(&wanted, phrase, &tag);
                }
                return prompts;
            }
            first.get_or_insert(tag);
        }
        self.tell(&first.unwrap_or_default(), phrase, "a tone");
        vec![Prompt::tone(LAST_RESORT_HZ, LAST_RESORT, LAST_RESORT_DBOV)]
    }

    fn say_in(&self, language: &str, phrase: &Phrase) -> Option<Vec<Prompt>> {
        let mut prompts = Vec::new();
        for piece in phrase.pieces(Grammar::of(language)) {
            match piece {
                Piece::Sound(name) => prompts.extend(self.sound(language, &name)?),
                Piece::Optional(name) => prompts.extend(self.sound(language, name).into_iter().flatten()),
                Piece::Tone(name) => prompts.extend(self.sound(language, name).or_else(|| self.sound(TONES, name))?),
                Piece::Gap => prompts.push(Prompt::silence(GAP)),
            }
        }
        Some(prompts)
    }

    /// Decoded outside of the lock: two who want the same at once both decode it.
    fn sound(&self, language: &str, name: &str) -> Option<Vec<Prompt>> {
        let key = (language.to_owned(), name.to_owned());
        if let Some(prompts) = self.kept().of(&key) {
            return Some(prompts);
        }
        let prompts = self.0.voices.decode(language, name)?;
        self.kept().keep(key, prompts.clone());
        Some(prompts)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once for each language, and for each phrase that a language with a voice lacks.
    fn tell(&self, wanted: &str, phrase: &Phrase, taken: &str) {
        let phrase = phrase.name();
        let what = if self.0.voices.has(wanted) { format!("{wanted} {phrase}") } else { wanted.to_owned() };
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert(what) {
            tracing::info!(
                language = wanted,
                phrase,
                taken,
                "no voice can say this in the language that was asked for"
            );
        }
    }
}

impl Kept {
    fn of(&mut self, key: &(String, String)) -> Option<Vec<Prompt>> {
        self.uses += 1;
        let (used, prompts) = self.sounds.get_mut(key)?;
        *used = self.uses;
        Some(prompts.clone())
    }

    fn keep(&mut self, key: (String, String), prompts: Vec<Prompt>) {
        self.uses += 1;
        self.bytes += bytes_of(&prompts);
        if let Some((_, replaced)) = self.sounds.insert(key, (self.uses, prompts)) {
            self.bytes -= bytes_of(&replaced);
        }
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.sounds.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone()) else {
                break;
            };
            if let Some((_, prompts)) = self.sounds.remove(&oldest) {
                self.bytes -= bytes_of(&prompts);
            }
        }
    }
}

fn bytes_of(prompts: &[Prompt]) -> usize {
    prompts.iter().map(|prompt| size_of_val(prompt.samples())).sum()
}

#[cfg(test)]
mod tests;
