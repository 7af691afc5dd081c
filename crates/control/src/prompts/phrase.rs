//! What can be said to a caller, by meaning, and the pieces of sound that say it in a language. Words only: knows no file
//! and no sample.

use super::numbers::{self, Grammar};

/// What a caller is told. How it sounds is the voice's matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phrase {
    /// Welcome to the room of this extension, its digits read out; empty: to "the conference".
    Welcome(String),
    /// To someone who was called: you are being connected to the room of this extension.
    Invited(String),
    /// The caller is about to be in the room.
    Entering,
    /// Key in the room's PIN and `#`.
    EnterPin,
    /// That was not it; there are tries left.
    WrongPin,
    /// Nothing was keyed in.
    NoEntry,
    /// That was the last try.
    TooManyTries,
    /// The room takes no PINs for a while, as too many were wrong.
    PinBlocked,
    /// The call ends now.
    Goodbye,
    /// The room is locked: nobody else gets in.
    Locked,
    /// The room is full.
    Full,
    /// The server, or all of them, have no place left.
    NoCapacity,
    /// Too early for the scheduled room.
    NotStarted,
    /// Too late for it.
    Ended,
    /// A room that is led waits for its chairman.
    ChairmanMissing,
    /// The wait is over.
    ChairmanArrived,
    /// To those who stay behind.
    ChairmanLeft,
    /// To the one who became it.
    YouAreChairman,
    /// To the one who was it.
    NoLongerChairman,
    /// The caller cannot be heard now.
    Muted,
    /// The caller can be heard again.
    Unmuted,
    /// The caller asked for the floor.
    HandRaised,
    /// The caller does no longer.
    HandLowered,
    /// Everyone but the chairman is muted.
    RoomMuted,
    /// Everyone can speak.
    RoomUnmuted,
    /// Nobody else gets in from now on.
    RoomLocked,
    /// Others get in again.
    RoomUnlocked,
    /// A recording begins.
    RecordingStarted,
    /// To a newcomer: a recording runs.
    RecordingRunning,
    /// The recording ended.
    RecordingStopped,
    /// A recording could not begin.
    RecordingFailed,
    /// Nobody else is there.
    AloneHere,
    /// So many are in the room.
    HeadCount(u32),
    /// Someone came, without a name.
    Joined,
    /// Someone went, without a name.
    Left,
    /// In the lobby: key in the room's extension and `#`.
    EnterExtension,
    /// There is no such room.
    UnknownExtension,
    /// Key in the admin PIN and `#`.
    EnterAdminPin,
    /// Key in a number to be called and `#`.
    EnterNumber,
    /// It is being called.
    Dialling,
    /// The call did not get there.
    NotReached,
    /// It was busy.
    Busy,
    /// It rang in vain.
    NoAnswer,
    /// That number, or this act, is not allowed.
    NotAllowed,
    /// Only the chairman may.
    ChairmanOnly,
    /// The key means nothing here.
    UnknownKey,
    /// The caller hears the others louder now.
    Louder,
    /// And quieter.
    Quieter,
    /// A few minutes are left of the scheduled time.
    EndsSoon,
    /// The scheduled time is over.
    MeetingEnds,
    /// The room is ended by an operator.
    ClosingRoom,
    /// The caller is removed.
    KickedOut,
    /// The list of keys.
    Menu {
        /// With the chairman's keys.
        chairman: bool,
    },
    /// Each character read out: digits, `*`, `#`, `+`; others are passed over.
    Digits(String),
    /// A whole number as people say it; from 10,000 on digit by digit.
    Number(u32),
    /// Someone came.
    JoinTone,
    /// Someone went.
    LeaveTone,
    /// A short beep.
    Beep,
    /// A PIN is wanted, without words.
    PinTone,
    /// Something went wrong, without words.
    ErrorTone,
    /// Hold music: play it again and again, it has no seam.
    Music,
}

/// One sound of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// By name; without it the sentence cannot be said.
    Sound(String),
    /// Languages that need nothing at this place have no such sound.
    Optional(&'static str),
    /// Of a language's tones, which all languages share.
    Tone(&'static str),
    /// So that digits do not run into each other.
    Gap,
}

impl Piece {
    fn sound(name: &str) -> Self {
        Self::Sound(name.to_owned())
    }
}

impl Phrase {
    /// Every phrase without a number or digits in it.
    pub const FIXED: [Self; 60] = [
        Self::Entering,
        Self::EnterPin,
        Self::WrongPin,
        Self::NoEntry,
        Self::TooManyTries,
        Self::PinBlocked,
        Self::Goodbye,
        Self::Locked,
        Self::Full,
        Self::NoCapacity,
        Self::NotStarted,
        Self::Ended,
        Self::ChairmanMissing,
        Self::ChairmanArrived,
        Self::ChairmanLeft,
        Self::YouAreChairman,
        Self::NoLongerChairman,
        Self::Muted,
        Self::Unmuted,
        Self::HandRaised,
        Self::HandLowered,
        Self::RoomMuted,
        Self::RoomUnmuted,
        Self::RoomLocked,
        Self::RoomUnlocked,
        Self::RecordingStarted,
        Self::RecordingRunning,
        Self::RecordingStopped,
        Self::RecordingFailed,
        Self::AloneHere,
        Self::HeadCount(0),
        Self::HeadCount(1),
        Self::Joined,
        Self::Left,
        Self::EnterExtension,
        Self::UnknownExtension,
        Self::EnterAdminPin,
        Self::EnterNumber,
        Self::Dialling,
        Self::NotReached,
        Self::Busy,
        Self::NoAnswer,
        Self::NotAllowed,
        Self::ChairmanOnly,
        Self::UnknownKey,
        Self::Louder,
        Self::Quieter,
        Self::EndsSoon,
        Self::MeetingEnds,
        Self::ClosingRoom,
        Self::KickedOut,
        Self::Menu { chairman: false },
        Self::Menu { chairman: true },
        Self::Welcome(String::new()),
        Self::JoinTone,
        Self::LeaveTone,
        Self::Beep,
        Self::PinTone,
        Self::ErrorTone,
        Self::Music,
    ];

    /// Digits that a caller keyed in may be in it: it does not show them in a log.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Invited(_) => "invited",
            Self::Entering => "entering",
            Self::EnterPin => "enter-pin",
            Self::WrongPin => "wrong-pin",
            Self::NoEntry => "no-entry",
            Self::TooManyTries => "too-many-tries",
            Self::PinBlocked => "pin-blocked",
            Self::Goodbye => "goodbye",
            Self::Locked => "locked",
            Self::Full => "full",
            Self::NoCapacity => "no-capacity",
            Self::NotStarted => "not-started",
            Self::Ended => "ended",
            Self::ChairmanMissing => "chairman-missing",
            Self::ChairmanArrived => "chairman-arrived",
            Self::ChairmanLeft => "chairman-left",
            Self::YouAreChairman => "you-are-chairman",
            Self::NoLongerChairman => "no-longer-chairman",
            Self::Muted => "muted",
            Self::Unmuted => "unmuted",
            Self::HandRaised => "hand-raised",
            Self::HandLowered => "hand-lowered",
            Self::RoomMuted => "room-muted",
            Self::RoomUnmuted => "room-unmuted",
            Self::RoomLocked => "room-locked",
            Self::RoomUnlocked => "room-unlocked",
            Self::RecordingStarted => "recording-started",
            Self::RecordingRunning => "recording-running",
            Self::RecordingStopped => "recording-stopped",
            Self::RecordingFailed => "recording-failed",
            Self::AloneHere => "alone",
            Self::HeadCount(_) => "head-count",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::EnterExtension => "enter-extension",
            Self::UnknownExtension => "unknown-extension",
            Self::EnterAdminPin => "enter-admin-pin",
            Self::EnterNumber => "enter-number",
            Self::Dialling => "dialling",
            Self::NotReached => "not-reached",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::NotAllowed => "not-allowed",
            Self::ChairmanOnly => "chairman-only",
            Self::UnknownKey => "unknown-key",
            Self::Louder => "louder",
            Self::Quieter => "quieter",
            Self::EndsSoon => "ends-soon",
            Self::MeetingEnds => "meeting-ends",
            Self::ClosingRoom => "closing-room",
            Self::KickedOut => "kicked-out",
            Self::Menu { .. } => "menu",
            Self::Digits(_) => "digits",
            Self::Number(_) => "number",
            Self::JoinTone => "join",
            Self::LeaveTone => "leave",
            Self::Beep => "beep",
            Self::PinTone => "enter",
            Self::ErrorTone => "error",
            Self::Music => "music",
        }
    }

    /// What says it.
    pub(super) fn pieces(&self, grammar: Grammar) -> Vec<Piece> {
        match self {
            Self::Welcome(room) if room.is_empty() => vec![Piece::sound("welcome-plain")],
            Self::Welcome(room) => with_digits("welcome", room, "welcome-after"),
            Self::Invited(room) => with_digits("invited", room, "invited-after"),
            Self::HeadCount(0) => vec![Piece::sound("head-count-none")],
            Self::HeadCount(1) => vec![Piece::sound("head-count-single")],
            Self::HeadCount(n) => {
                let mut pieces = vec![Piece::sound("head-count")];
                pieces.extend(number(*n, grammar, true));
                pieces.push(Piece::sound(numbers::plural(*n, grammar).head_count()));
                pieces
            }
            Self::Menu { chairman: true } => vec![Piece::sound("menu"), Piece::Gap, Piece::sound("menu-chairman")],
            Self::Digits(digits) => spelled(digits),
            Self::Number(n) => number(*n, grammar, false),
            Self::JoinTone | Self::LeaveTone | Self::Beep | Self::PinTone | Self::ErrorTone | Self::Music => {
                vec![Piece::Tone(self.name())]
            }
            _ => vec![Piece::sound(self.name())],
        }
    }
}

fn with_digits(before: &str, digits: &str, after: &'static str) -> Vec<Piece> {
    let mut pieces = vec![Piece::sound(before)];
    pieces.extend(spelled(digits));
    pieces.push(Piece::Optional(after));
    pieces
}

fn spelled(characters: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for character in characters.chars() {
        let sound = match character {
            '0'..='9' => format!("number-{character}"),
            '*' => "star".to_owned(),
            '#' => "hash".to_owned(),
            '+' => "plus".to_owned(),
            _ => continue,
        };
        if !pieces.is_empty() {
            pieces.push(Piece::Gap);
        }
        pieces.push(Piece::Sound(sound));
    }
    pieces
}

fn number(n: u32, grammar: Grammar, counts: bool) -> Vec<Piece> {
    match numbers::pieces(n, grammar, counts) {
        Some(names) => names.into_iter().map(Piece::Sound).collect(),
        None => spelled(&n.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(phrase: &Phrase, grammar: Grammar) -> Vec<String> {
        let name = |piece| match piece {
            Piece::Sound(name) => name,
            Piece::Optional(name) | Piece::Tone(name) => format!("({name})"),
            Piece::Gap => "_".to_owned(),
        };
        phrase.pieces(grammar).into_iter().map(name).collect()
    }

    #[test]
    fn digits_are_read_one_by_one_and_what_is_no_key_is_passed_over() {
        assert_eq!(
            names(&Phrase::Digits("+4 9*x#0".into()), Grammar::Plain),
            ["plus", "_", "number-4", "_", "number-9", "_", "star", "_", "hash", "_", "number-0"]
        );
        assert!(names(&Phrase::Digits(String::new()), Grammar::Plain).is_empty());
        assert_eq!(
            names(&Phrase::Welcome("70".into()), Grammar::Plain),
            ["welcome", "number-7", "_", "number-0", "(welcome-after)"]
        );
        assert_eq!(names(&Phrase::Welcome(String::new()), Grammar::Plain), ["welcome-plain"]);
    }

    #[test]
    fn head_counts_agree_with_their_numbers() {
        for (n, grammar, said) in [
            (0, Grammar::Plain, &["head-count-none"][..]),
            (1, Grammar::Russian, &["head-count-single"]),
            (2, Grammar::Plain, &["head-count", "number-2", "head-count-many"]),
            (2, Grammar::Chinese, &["head-count", "number-2-noun", "head-count-many"]),
            (22, Grammar::Russian, &["head-count", "number-22", "head-count-few"]),
            (21, Grammar::Russian, &["head-count", "number-21", "head-count-one"]),
            (21, Grammar::Spanish, &["head-count", "number-21-noun", "head-count-many"]),
        ] {
            assert_eq!(names(&Phrase::HeadCount(n), grammar), said, "{n} {grammar:?}");
        }
        assert_eq!(names(&Phrase::HeadCount(12_345), Grammar::Plain).len(), 2 + 9);
    }
}
