//! Dialogues key by key, on a clock of the test's own.

use super::*;

const SPOKEN: Manners = Manners { prompts: true, pin: true };

fn key(c: char) -> Digit {
    Digit::from_char(c).unwrap()
}

struct Caller {
    menu: Menu,
    now: Instant,
}

impl Caller {
    fn new(manners: Manners) -> Self {
        Self { menu: Menu::new(manners), now: Instant::now() }
    }
    fn begin(&mut self) -> Vec<Step> {
        self.menu.begin(self.now, "900")
    }
    fn key(&mut self, keys: &str) -> Vec<Step> {
        keys.chars().map(|c| self.menu.digit(self.now, key(c))).last().unwrap()
    }
    fn wait(&mut self, seconds: u64) -> Vec<Step> {
        self.now += Duration::from_secs(seconds);
        self.menu.pass(self.now)
    }
    fn said(&mut self) -> Vec<Step> {
        self.menu.said(self.now)
    }
    fn verdict(&mut self, verdict: Verdict) -> Vec<Step> {
        self.menu.verdict(self.now, verdict)
    }
}

fn pin(digits: &str) -> Vec<Step> {
    vec![Step::TryPin(Keyed(digits.to_owned()))]
}

fn say(phrases: &[Phrase]) -> Vec<Step> {
    vec![Step::Say(phrases.to_vec())]
}

#[test]
fn hash_or_a_pause_ends_a_pin() {
    let mut caller = Caller::new(SPOKEN);
    assert_eq!(caller.begin(), say(&[Phrase::Welcome("900".to_owned()), Phrase::EnterPin]));
    assert_eq!(caller.key("1"), [Step::Hush]);
    assert_eq!(caller.key("234#"), pin("1234"));
    assert_eq!(caller.verdict(Verdict::Wrong), say(&[Phrase::WrongPin, Phrase::EnterPin]));
    assert_eq!(caller.said(), []);
    assert_eq!(caller.key("12"), []);
    assert_eq!(caller.wait(2), []);
    assert_eq!(caller.key("3"), []);
    assert_eq!(caller.wait(2), [], "the pause begins again with each key");
    assert_eq!(caller.wait(1), pin("123"));
    assert_eq!(caller.verdict(Verdict::Right), [Step::Enter]);
    assert_eq!(caller.key("1"), [], "nothing is asked on the way in");
}

#[test]
fn three_wrong_pins_end_the_call_after_a_goodbye() {
    let mut caller = Caller::new(SPOKEN);
    caller.begin();
    for _ in 0..2 {
        assert_eq!(caller.key("1#"), pin("1"));
        assert_eq!(caller.verdict(Verdict::Wrong), say(&[Phrase::WrongPin, Phrase::EnterPin]));
    }
    caller.key("1#");
    assert_eq!(caller.verdict(Verdict::Wrong), say(&[Phrase::TooManyTries, Phrase::Goodbye]));
    assert_eq!(caller.key("1#"), [], "no fourth try");
    assert_eq!(caller.said(), [Step::HangUp(HangUp::PinFailed)]);
}

#[test]
fn silence_counts_as_a_try_and_an_empty_entry_too() {
    let mut caller = Caller::new(SPOKEN);
    caller.begin();
    caller.said();
    assert_eq!(caller.wait(6), []);
    assert_eq!(caller.wait(1), say(&[Phrase::NoEntry, Phrase::EnterPin]));
    assert_eq!(caller.key("#"), say(&[Phrase::NoEntry, Phrase::EnterPin]));
    caller.said();
    assert_eq!(caller.wait(7), say(&[Phrase::TooManyTries, Phrase::Goodbye]));
    assert_eq!(caller.said(), [Step::HangUp(HangUp::PinFailed)]);
}

#[test]
fn star_begins_the_pin_again() {
    let mut caller = Caller::new(SPOKEN);
    caller.begin();
    assert_eq!(caller.key("99*1234#"), pin("1234"));
}

#[test]
fn closed_pin_entry_is_told_and_ends_the_call() {
    let mut caller = Caller::new(SPOKEN);
    caller.begin();
    caller.key("1#");
    assert_eq!(caller.verdict(Verdict::Closed), say(&[Phrase::PinBlocked, Phrase::Goodbye]));
    assert_eq!(caller.said(), [Step::HangUp(HangUp::PinClosed)]);
}

#[test]
fn room_without_prompts_asks_with_a_tone_and_says_nothing_else() {
    let mut caller = Caller::new(Manners { prompts: false, pin: true });
    assert_eq!(caller.begin(), say(&[Phrase::PinTone]));
    caller.key("1#");
    assert_eq!(caller.verdict(Verdict::Wrong), say(&[Phrase::ErrorTone, Phrase::PinTone]));
    let mut caller = Caller::new(Manners { prompts: false, pin: false });
    assert_eq!(caller.begin(), [Step::Enter]);
}

#[test]
fn welcome_ends_by_itself_or_with_a_key() {
    let manners = Manners { prompts: true, pin: false };
    let mut caller = Caller::new(manners);
    assert_eq!(caller.begin(), say(&[Phrase::Welcome("900".to_owned())]));
    assert_eq!(caller.said(), [Step::Enter]);
    let mut caller = Caller::new(manners);
    caller.begin();
    assert_eq!(caller.key("#"), [Step::Enter]);
}

#[test]
fn lobby_asks_for_the_room_and_goes_on_with_its_pin() {
    let mut caller = Caller::new(Manners { prompts: true, pin: false });
    assert_eq!(caller.menu.begin_in_lobby(caller.now), say(&[Phrase::EnterExtension]));
    assert_eq!(caller.key("901#"), [Step::Find(Keyed("901".to_owned()))]);
    assert_eq!(caller.menu.refused(Phrase::UnknownExtension), say(&[Phrase::UnknownExtension, Phrase::EnterExtension]));
    caller.key("900#");
    let (menu, now) = (&mut caller.menu, caller.now);
    let welcome = say(&[Phrase::Welcome("900".to_owned()), Phrase::EnterPin]);
    assert_eq!(menu.found(now, SPOKEN, "900"), welcome);
    assert_eq!(caller.key("12#"), pin("12"));
}

#[test]
fn three_unknown_extensions_end_the_call() {
    let mut caller = Caller::new(Manners { prompts: true, pin: false });
    caller.menu.begin_in_lobby(caller.now);
    for _ in 0..2 {
        caller.key("1#");
        caller.menu.refused(Phrase::UnknownExtension);
    }
    caller.key("1#");
    assert_eq!(caller.menu.refused(Phrase::UnknownExtension), say(&[Phrase::UnknownExtension, Phrase::Goodbye]));
    assert_eq!(caller.said(), [Step::HangUp(HangUp::NoEntry)]);
}

#[test]
fn every_key_within_the_conference_has_its_meaning() {
    let mut caller = Caller::new(SPOKEN);
    caller.menu.entered();
    for (keys, ask) in [
        ("*6", Ask::Mute),
        ("*4", Ask::Softer),
        ("*7", Ask::Louder),
        ("*9", Ask::HeadCount),
        ("*0", Ask::Help),
        ("*5", Ask::Lock),
        ("*3", Ask::MuteAll),
        ("*2", Ask::Record),
        ("*84321#", Ask::Chair(Keyed("4321".to_owned()))),
        ("*10123456#", Ask::Dial(Keyed("0123456".to_owned()))),
        ("123**6", Ask::Mute),
        ("*812*6", Ask::Mute),
    ] {
        assert_eq!(caller.key(keys), [Step::Ask(ask)], "{keys}");
    }
    assert_eq!(caller.key("*8"), say(&[Phrase::EnterAdminPin]));
    assert_eq!(caller.key("1"), [Step::Hush]);
    assert_eq!(caller.wait(5), say(&[Phrase::ErrorTone]), "a PIN that is not ended is left");
    assert_eq!(caller.key("1#"), []);
    assert_eq!(caller.key("*#"), say(&[Phrase::UnknownKey]));
    assert_eq!(caller.key("*"), []);
    assert_eq!(caller.wait(5), [], "a lone star is forgotten");
    assert_eq!(caller.key("6"), []);
}

#[test]
fn keys_are_not_shown() {
    let mut caller = Caller::new(SPOKEN);
    caller.begin();
    assert!(!format!("{:?}", caller.key("98765#")).contains("98765"));
}

#[test]
fn nobody_stands_at_the_door_for_ever() {
    let mut caller = Caller::new(SPOKEN);
    caller.begin();
    for _ in 0..40 {
        caller.key("*");
        if caller.wait(3) == say(&[Phrase::Goodbye]) {
            assert_eq!(caller.said(), [Step::HangUp(HangUp::PinFailed)]);
            return;
        }
    }
    panic!("the caller is still there");
}

#[test]
fn keys_say_nothing_in_a_room_without_prompts() {
    let mut caller = Caller::new(Manners { prompts: false, pin: false });
    caller.menu.entered();
    for keys in ["*8", "1", "**1", "*#"] {
        let steps = caller.key(keys);
        assert!(!steps.iter().any(|step| matches!(step, Step::Say(_))), "{keys}: {steps:?}");
    }
    assert_eq!(caller.key("*6"), [Step::Ask(Ask::Mute)]);
}
