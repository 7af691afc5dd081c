//! The caller's dialogue: welcome, PIN, keys within the conference. A pure state machine over keys, time and what was said
//! to the end; knows no room, no media and no clock. Who calls it carries out its steps and answers with verdicts.
//!
//! ```text
//! Extension ──> Welcome ──> Pin ──> Entering ──> Inside (keys: *6, *8 PIN #, *1 number # …)
//!   lobby         │          │  three wrong ones                ▲
//!                 └──────────┴──> Leaving (last words, BYE)     └── also while waiting for the chairman
//! ```

mod keys;

use std::time::{Duration, Instant};

use media::Digit;

use crate::prompts::Phrase;
use crate::rooms::HangUp;
pub(crate) use keys::Ask;
use keys::Keys;

/// Wrong PINs, wrong extensions and silences that a caller is allowed in one call.
pub(crate) const TRIES: u8 = 3;
/// A pause that ends what is keyed.
const PAUSE: Duration = Duration::from_secs(3);
/// How long we wait for the first key after we asked.
const PATIENCE: Duration = Duration::from_secs(7);
/// Longest that a caller may stand at the door, whatever is keyed: three tries take less.
const AT_THE_DOOR: Duration = Duration::from_secs(120);
/// Digits of one entry that are kept; PINs have six, extensions 64.
const MAX_DIGITS: usize = 64;

/// What a caller keyed. Not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keyed(String);

impl Keyed {
    /// The digits.
    pub(crate) fn digits(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed(hidden)")
    }
}

/// How a room receives its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manners {
    /// Speech; without it tones say what must be said.
    pub(crate) prompts: bool,
    /// A PIN is asked for.
    pub(crate) pin: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Say this, in place of what is being said. `Menu::said` when it was heard to the end.
    Say(Vec<Phrase>),
    /// Stop saying what is being said.
    Hush,
    /// Is there such a room? `Menu::found` or `Menu::refused`.
    Find(Keyed),
    /// Is it a PIN of the room? `Menu::verdict`.
    TryPin(Keyed),
    /// Let the caller in.
    Enter,
    /// A wish from within the conference.
    Ask(Ask),
    /// End the call.
    HangUp(HangUp),
}

/// What a PIN was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It opens the room.
    Right,
    /// It is not one of the room's.
    Wrong,
    /// The room takes none for a while.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was said yet.
    New,
    /// The room's extension is wanted.
    Extension { failed: u8 },
    /// The welcome is said.
    Welcome,
    /// A PIN is wanted.
    Pin { failed: u8 },
    /// On the way in.
    Entering,
    /// In the conference, or waiting for the chairman: keys have their meanings.
    Inside,
    /// The last words are said.
    Leaving(HangUp),
}

/// One caller's dialogue.
#[derive(Clone, Debug)]
pub(crate) struct Menu {
    manners: Manners,
    stage: Stage,
    entry: String,
    keys: Keys,
    deadline: Option<Instant>,
    /// Of all that is asked at the door.
    limit: Option<Instant>,
}

impl Menu {
    /// Nothing is said before `begin`.
    pub(crate) const fn new(manners: Manners) -> Self {
        Self { manners, stage: Stage::New, entry: String::new(), keys: Keys::new(), deadline: None, limit: None }
    }

    /// When `pass` wants to be called, if nothing comes before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.deadline, self.limit].into_iter().flatten().min()
    }

    /// Asks for the extension of a room: the caller dialled the lobby.
    pub(crate) fn begin_in_lobby(&mut self, now: Instant) -> Vec<Step> {
        self.limit = Some(now + AT_THE_DOOR);
        self.stage = Stage::Extension { failed: 0 };
        vec![Step::Say(vec![Phrase::EnterExtension])]
    }

    /// Welcomes the caller of a room, as far as its manners go.
    pub(crate) fn begin(&mut self, now: Instant, extension: &str) -> Vec<Step> {
        self.limit.get_or_insert(now + AT_THE_DOOR);
        self.stage = Stage::Welcome;
        let mut phrases = vec![Phrase::Welcome(extension.to_owned())];
        if self.manners.pin {
            self.stage = Stage::Pin { failed: 0 };
            phrases.push(Phrase::EnterPin);
        }
        self.say(now, phrases)
    }

    /// The room of the lobby's caller was found: it receives the caller.
    pub(crate) fn found(&mut self, now: Instant, manners: Manners, extension: &str) -> Vec<Step> {
        self.manners = manners;
        self.begin(now, extension)
    }

    /// The lobby's caller does not get in, and hears why.
    pub(crate) fn refused(&mut self, why: Phrase) -> Vec<Step> {
        match self.stage {
            Stage::Extension { failed } if failed + 1 < TRIES => {
                self.stage = Stage::Extension { failed: failed + 1 };
                vec![Step::Say(vec![why, Phrase::EnterExtension])]
            }
            _ => {
                self.stage = Stage::Leaving(HangUp::NoEntry);
                self.limit = None;
                vec![Step::Say(vec![why, Phrase::Goodbye])]
            }
        }
    }

    /// What the PIN that was keyed is worth.
    pub(crate) fn verdict(&mut self, now: Instant, verdict: Verdict) -> Vec<Step> {
        let Stage::Pin { failed } = self.stage else { return Vec::new() };
        match verdict {
            Verdict::Right => self.enter(),
            Verdict::Wrong => self.fail(now, failed, Phrase::WrongPin),
            Verdict::Closed => self.leave(now, HangUp::PinClosed, vec![Phrase::PinBlocked, Phrase::Goodbye]),
        }
    }

    /// The caller is in the room now, or waits in front of it: keys have their meanings from now on.
    pub(crate) fn entered(&mut self) {
        if self.stage != Stage::Inside && !matches!(self.stage, Stage::Leaving(_)) {
            self.stage = Stage::Inside;
            (self.deadline, self.limit) = (None, None);
            self.entry.clear();
        }
    }

    /// Says why the call ends, and ends it.
    pub(crate) fn dismiss(&mut self, now: Instant, why: HangUp, words: Vec<Phrase>) -> Vec<Step> {
        self.leave(now, why, words)
    }

    /// True when the caller does not take part yet.
    pub(crate) const fn is_at_the_door(&self) -> bool {
        !matches!(self.stage, Stage::Inside)
    }

    /// A key.
    pub(crate) fn digit(&mut self, now: Instant, digit: Digit) -> Vec<Step> {
        match self.stage {
            Stage::New | Stage::Entering | Stage::Leaving(_) => Vec::new(),
            // Any key ends the welcome.
            Stage::Welcome => self.enter(),
            Stage::Extension { .. } | Stage::Pin { .. } => self.take(now, digit),
            Stage::Inside => {
                let steps = self.keys.digit(digit);
                self.deadline = self.keys.patience().map(|patience| now + patience);
                self.within_manners(now, steps)
            }
        }
    }

    /// What was to be said was heard to the end.
    pub(crate) fn said(&mut self, now: Instant) -> Vec<Step> {
        match self.stage {
            Stage::Welcome => self.enter(),
            Stage::Extension { .. } | Stage::Pin { .. } => {
                // Keys that came meanwhile have set a nearer one.
                if self.entry.is_empty() {
                    self.deadline = Some(now + PATIENCE);
                }
                Vec::new()
            }
            Stage::Leaving(why) => vec![Step::HangUp(why)],
            Stage::New | Stage::Entering | Stage::Inside => Vec::new(),
        }
    }

    /// Time has come to the deadline.
    pub(crate) fn pass(&mut self, now: Instant) -> Vec<Step> {
        if self.limit.is_some_and(|limit| now >= limit) {
            let why = if let Stage::Extension { .. } = self.stage { HangUp::NoEntry } else { HangUp::PinFailed };
            return self.leave(now, why, vec![Phrase::Goodbye]);
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        self.deadline = None;
        match self.stage {
            Stage::Extension { failed } | Stage::Pin { failed } if self.entry.is_empty() => {
                self.fail(now, failed, Phrase::NoEntry)
            }
            Stage::Extension { .. } | Stage::Pin { .. } => self.submit(),
            Stage::Inside => {
                let steps = self.keys.give_up();
                self.within_manners(now, steps)
            }
            _ => Vec::new(),
        }
    }

    fn take(&mut self, now: Instant, digit: Digit) -> Vec<Step> {
        match digit.as_char() {
            '#' if self.entry.is_empty() => self.fail_now(now),
            '#' => self.submit(),
            '*' => {
                // Begins again.
                self.entry.clear();
                self.deadline = Some(now + PATIENCE);
                vec![Step::Hush]
            }
            key => {
                let is_first = self.entry.is_empty();
                if key.is_ascii_digit() && self.entry.len() < MAX_DIGITS {
                    self.entry.push(key);
                }
                self.deadline = Some(now + PAUSE);
                if is_first { vec![Step::Hush] } else { Vec::new() }
            }
        }
    }

    fn fail_now(&mut self, now: Instant) -> Vec<Step> {
        match self.stage {
            Stage::Extension { failed } | Stage::Pin { failed } => self.fail(now, failed, Phrase::NoEntry),
            _ => Vec::new(),
        }
    }

    fn submit(&mut self) -> Vec<Step> {
        let keyed = Keyed(std::mem::take(&mut self.entry));
        self.deadline = None;
        match self.stage {
            Stage::Extension { .. } => vec![Step::Find(keyed)],
            Stage::Pin { .. } => vec![Step::TryPin(keyed)],
            _ => Vec::new(),
        }
    }

    fn fail(&mut self, now: Instant, failed: u8, why: Phrase) -> Vec<Step> {
        self.entry.clear();
        self.deadline = None;
        let failed = failed + 1;
        let (again, question, last) = match self.stage {
            Stage::Extension { .. } => (Stage::Extension { failed }, Phrase::EnterExtension, Phrase::UnknownExtension),
            _ => (Stage::Pin { failed }, Phrase::EnterPin, Phrase::TooManyTries),
        };
        if failed >= TRIES {
            let hang_up = if let Stage::Extension { .. } = again { HangUp::NoEntry } else { HangUp::PinFailed };
            return self.leave(now, hang_up, vec![last, Phrase::Goodbye]);
        }
        self.stage = again;
        self.say(now, vec![why, question])
    }

    fn enter(&mut self) -> Vec<Step> {
        self.stage = Stage::Entering;
        (self.deadline, self.limit) = (None, None);
        vec![Step::Enter]
    }

    fn leave(&mut self, now: Instant, why: HangUp, words: Vec<Phrase>) -> Vec<Step> {
        self.stage = Stage::Leaving(why);
        (self.deadline, self.limit) = (None, None);
        self.say(now, words)
    }

    /// What keys lead to, without the words in a room that says none.
    fn within_manners(&mut self, now: Instant, steps: Vec<Step>) -> Vec<Step> {
        let mut kept = Vec::with_capacity(steps.len());
        for step in steps {
            match step {
                Step::Say(phrases) => kept.extend(self.say(now, phrases)),
                other => kept.push(other),
            }
        }
        kept
    }

    /// In a room without prompts, tones stand for what must be said, and the rest is not said. In the lobby, which is no
    /// room's, all is.
    fn say(&mut self, now: Instant, phrases: Vec<Phrase>) -> Vec<Step> {
        let in_lobby = matches!(self.stage, Stage::Extension { .. });
        let phrases =
            if self.manners.prompts || in_lobby { phrases } else { phrases.into_iter().filter_map(tone_for).collect() };
        if phrases.is_empty() { self.said(now) } else { vec![Step::Say(phrases)] }
    }
}

/// What stands for words in a room without prompts; `None`: nothing does.
fn tone_for(phrase: Phrase) -> Option<Phrase> {
    match phrase {
        Phrase::EnterPin => Some(Phrase::PinTone),
        Phrase::WrongPin | Phrase::NoEntry | Phrase::TooManyTries | Phrase::PinBlocked => Some(Phrase::ErrorTone),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
