//! The names that Asterisk's sound packages (Debian: `asterisk-core-sounds-en-wav` and the like) have for our sounds. A table
//! and a rule for English numbers; knows no file.

/// Our name, theirs. What they have no sound for is said by the built-in voice.
const NAMES: [(&str, &str); 34] = [
    ("enter-pin", "confbridge-pin"),
    ("wrong-pin", "conf-invalidpin"),
    ("too-many-tries", "confbridge-pin-bad"),
    ("goodbye", "vm-goodbye"),
    ("locked", "confbridge-lock-no-join"),
    ("full", "conf-full"),
    ("no-capacity", "all-circuits-busy-now"),
    ("entering", "conf-placeintoconf"),
    ("ended", "confbridge-conf-end"),
    ("chairman-missing", "conf-waitforleader"),
    ("chairman-arrived", "confbridge-conf-begin"),
    ("chairman-left", "conf-leaderhasleft"),
    ("muted", "confbridge-muted"),
    ("unmuted", "confbridge-unmuted"),
    ("room-muted", "conf-now-muted"),
    ("room-unmuted", "conf-now-unmuted"),
    ("room-locked", "conf-lockednow"),
    ("room-unlocked", "conf-unlockednow"),
    ("recording-started", "conf-now-recording"),
    ("recording-running", "conf-now-recording"),
    ("alone", "confbridge-only-participant"),
    ("head-count", "confbridge-there-are"),
    ("head-count-many", "confbridge-participants"),
    ("enter-extension", "conf-getconfno"),
    ("unknown-extension", "conf-invalid"),
    ("kicked-out", "confbridge-removed"),
    ("unknown-key", "confbridge-invalid"),
    ("star", "digits/star"),
    ("hash", "digits/pound"),
    ("join", "confbridge-join"),
    ("leave", "confbridge-leave"),
    ("beep", "beep"),
    ("enter", "beep"),
    ("error", "beeperr"),
];

/// Their names of the sounds that say our `name`, in order.
pub(super) fn parts(language: &str, name: &str) -> Option<Vec<String>> {
    if let Some((_, theirs)) = NAMES.iter().find(|(ours, _)| *ours == name) {
        return Some(vec![(*theirs).to_owned()]);
    }
    let number: u32 = name.strip_prefix("number-")?.parse().ok()?;
    let digits = |n: u32| format!("digits/{n}");
    match number {
        // Recorded whole in every language.
        0..=20 => Some(vec![digits(number)]),
        21..=99 if number.is_multiple_of(10) => Some(vec![digits(number)]),
        // Others join these in ways of their own; their packages have no sounds for all of it.
        _ if language.split('-').next() != Some("en") => None,
        21..=99 => Some(vec![digits(number / 10 * 10), digits(number % 10)]),
        100..=999 => Some(vec![digits(number / 100), "digits/hundred".to_owned()]),
        _ => Some(vec![digits(number / 1000), "digits/thousand".to_owned()]),
    }
}

/// One of their names that is played for something.
pub(super) fn is_mapped(theirs: &str) -> bool {
    let number = theirs.strip_prefix("digits/").and_then(|digits| digits.parse::<u32>().ok());
    number.is_some_and(|n| n <= 20 || (n < 100 && n.is_multiple_of(10)))
        || NAMES.iter().any(|(_, name)| *name == theirs)
}
