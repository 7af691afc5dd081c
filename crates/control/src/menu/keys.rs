//! Keys within the conference: what `*` and the key after it mean, and what is keyed after `*8` and `*1`. Pure.

use std::time::Duration;

use media::Digit;

use super::{Keyed, MAX_DIGITS, Step};
use crate::prompts::Phrase;

/// Between the keys of one command.
const BETWEEN: Duration = Duration::from_secs(5);

/// What a participant wishes. Those of the chairman are refused to others by whoever carries them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// `*6`: mute or unmute myself; where I may not, raise or lower my hand.
    Mute,
    /// `*4`: I want to hear it softer.
    Softer,
    /// `*7`: louder.
    Louder,
    /// `*9`: how many are here?
    HeadCount,
    /// `*0`: what can I key?
    Help,
    /// `*8` PIN `#`: I am the chairman.
    Chair(Keyed),
    /// `*5`, chairman: lock or unlock the room.
    Lock,
    /// `*3`, chairman: mute or unmute everyone.
    MuteAll,
    /// `*2`, chairman: start or stop the recording.
    Record,
    /// `*1` number `#`, chairman: call somebody in.
    Dial(Keyed),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    Nothing,
    Star,
    Pin(String),
    Number(String),
}

/// What was keyed so far.
#[derive(Clone, Debug)]
pub(super) struct Keys(Reading);

impl Keys {
    pub(super) const fn new() -> Self {
        Self(Reading::Nothing)
    }

    /// How long the next key may take; `None` when nothing is begun.
    pub(super) const fn patience(&self) -> Option<Duration> {
        match self.0 {
            Reading::Nothing => None,
            _ => Some(BETWEEN),
        }
    }

    /// The next key did not come: a PIN or number that was begun is left, and that is told.
    pub(super) fn give_up(&mut self) -> Vec<Step> {
        match std::mem::replace(&mut self.0, Reading::Nothing) {
            Reading::Nothing | Reading::Star => Vec::new(),
            Reading::Pin(_) | Reading::Number(_) => vec![Step::Say(vec![Phrase::ErrorTone])],
        }
    }

    pub(super) fn digit(&mut self, digit: Digit) -> Vec<Step> {
        let key = digit.as_char();
        match std::mem::replace(&mut self.0, Reading::Nothing) {
            Reading::Nothing => {
                if key == '*' {
                    self.0 = Reading::Star;
                }
                Vec::new()
            }
            Reading::Star => self.command(key),
            Reading::Pin(keyed) => self.collect(key, keyed, Reading::Pin, Ask::Chair),
            Reading::Number(keyed) => self.collect(key, keyed, Reading::Number, Ask::Dial),
        }
    }

    fn command(&mut self, key: char) -> Vec<Step> {
        let ask = match key {
            '6' => Ask::Mute,
            '4' => Ask::Softer,
            '7' => Ask::Louder,
            '9' => Ask::HeadCount,
            '0' => Ask::Help,
            '5' => Ask::Lock,
            '3' => Ask::MuteAll,
            '2' => Ask::Record,
            '8' => {
                self.0 = Reading::Pin(String::new());
                return vec![Step::Say(vec![Phrase::EnterAdminPin])];
            }
            '1' => {
                self.0 = Reading::Number(String::new());
                return vec![Step::Say(vec![Phrase::EnterNumber])];
            }
            '*' => {
                self.0 = Reading::Star;
                return Vec::new();
            }
            _ => return vec![Step::Say(vec![Phrase::UnknownKey])],
        };
        vec![Step::Ask(ask)]
    }

    fn collect(
        &mut self,
        key: char,
        mut keyed: String,
        reading: fn(String) -> Reading,
        ask: fn(Keyed) -> Ask,
    ) -> Vec<Step> {
        match key {
            '#' if keyed.is_empty() => vec![Step::Say(vec![Phrase::ErrorTone])],
            '#' => vec![Step::Ask(ask(Keyed(keyed)))],
            // Begins the command again.
            '*' => {
                self.0 = Reading::Star;
                vec![Step::Hush]
            }
            key => {
                let is_first = keyed.is_empty();
                if key.is_ascii_digit() && keyed.len() < MAX_DIGITS {
                    keyed.push(key);
                }
                self.0 = reading(keyed);
                if is_first { vec![Step::Hush] } else { Vec::new() }
            }
        }
    }
}
