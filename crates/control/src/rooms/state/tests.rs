//! Admission, policies and ends, without an engine.

use std::time::Duration;

use media::Digit;

use super::*;
use crate::rooms::testing::settings;
use crate::rooms::{Entry, Left};

const ROOM: Id = Id::from_raw(1);
const OTHER: Id = Id::from_raw(2);

const RULES: Rules = Rules { early_join: Duration::from_secs(900), close_at_end: false };
const TODAY: Timestamp = Timestamp::UNIX_EPOCH;
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Names for the media rooms of a call.
fn fresh(media: u64) -> Fresh {
    Fresh { media: RoomId(media), waiting: RoomId(media + 100_000) }
}

/// Somebody calls.
fn dial(state: &mut State, extension: &str, media: u64) -> Result<Admitted, Refusal> {
    state.admit(Door { extension, source: SOURCE, today: TODAY, is_invited: false }, fresh(media))
}

fn limits(max_rooms: u32, max_participants: u32) -> Limits {
    Limits { enabled: true, max_rooms, max_participants }
}

/// Rooms 900 (for three) and 901 on a server for ten.
fn state() -> State {
    let mut state = State::new(limits(10, 10), RULES, Instant::now());
    state.know(ROOM, &RoomSettings { capacity: 3, ..settings("900") }, Policy::default(), 0);
    state.know(OTHER, &settings("901"), Policy::default(), 0);
    state
}

fn somebody(number: i64) -> (Participant, mpsc::Receiver<DialogOrder>) {
    let (dialog, orders) = mpsc::channel(1);
    let caller = Caller {
        extension: "900".into(),
        display_name: format!("\"P{number}\"<sip:{number}@host>"),
        number: number.to_string(),
        source: ([127, 0, 0, 1], 5060).into(),
        call_id: format!("call-{number}"),
        dialog,
        entry: Entry::ByMenu,
    };
    let answer = Answer { sdp: String::new(), codec: CodecName::Pcmu, video: None, on_hold: false };
    let leg = LegId(number.unsigned_abs());
    let hall = RoomId(number.unsigned_abs() + 500_000);
    (Participant::new(ParticipantId(number), leg, hall, caller, &answer, TODAY), orders)
}

fn enter(state: &mut State, extension: &str, number: i64) -> (RoomId, mpsc::Receiver<DialogOrder>) {
    let seat = dial(state, extension, number.unsigned_abs() + 1000).unwrap();
    let (participant, orders) = somebody(number);
    state.sit(seat.media, participant, seat.is_outside).unwrap();
    (seat.media, orders)
}

fn is_muted(state: &mut State, number: i64) -> bool {
    state.participant_mut(ParticipantId(number)).unwrap().muted
}

fn settle(state: &mut State) -> Vec<(i64, bool)> {
    let mut sent = Vec::new();
    while let Some((id, _, _, settings)) = state.next_unsettled() {
        sent.push((id.0, settings.muted));
    }
    sent.sort_unstable();
    sent
}

#[test]
fn first_caller_opens_the_room_and_the_last_one_closes_it() {
    let mut state = state();
    let first = dial(&mut state, "900", 7).unwrap();
    let seat = Admitted { room: ROOM, media: RoomId(7), opens: true, is_outside: false };
    assert_eq!(first, seat);
    assert_eq!(dial(&mut state, "900", 8).unwrap(), Admitted { opens: false, ..seat });
    assert!(state.give_back(RoomId(7), false).is_empty());
    assert!(matches!(state.give_back(RoomId(7), false).as_slice(), [Effect::Close { room: RoomId(7) }]));
    assert_eq!((state.call_count(), state.seat_count()), (0, 0));
    assert!(dial(&mut state, "900", 9).unwrap().opens, "the next call is another one");
}

#[test]
fn seat_of_a_call_that_ended_is_not_given_back_twice() {
    let mut state = state();
    enter(&mut state, "901", 1);
    let seat = dial(&mut state, "900", 7).unwrap();
    drop(state.forget(ROOM));
    assert_eq!(state.seat_count(), 1);
    assert!(state.give_back(seat.media, false).is_empty());
    assert_eq!(state.seat_count(), 1);
    assert_eq!(state.sit(seat.media, somebody(5).0, false).unwrap_err(), Gone::Room);
}

#[test]
fn every_limit_refuses_with_its_own_reason() {
    let mut full = state();
    for number in 1..=3 {
        enter(&mut full, "900", number);
    }
    assert_eq!(dial(&mut full, "900", 1).unwrap_err(), Refusal::RoomFull(3));
    assert_eq!(dial(&mut full, "12345", 1).unwrap_err(), Refusal::UnknownRoom("12345".into()));
    full.limit(limits(10, 3));
    assert!(matches!(dial(&mut full, "901", 1).unwrap_err(), Refusal::ServerFull(why) if why.contains("participants")));
    full.limit(limits(1, 10));
    assert!(matches!(dial(&mut full, "901", 1).unwrap_err(), Refusal::ServerFull(why) if why.contains("rooms")));
    full.drain();
    assert_eq!(dial(&mut full, "901", 1).unwrap_err(), Refusal::Draining);
    assert_eq!(full.seat_count(), 3, "a refusal counts nothing");
}

#[test]
fn disabled_server_lets_running_rooms_go_on() {
    let mut state = state();
    enter(&mut state, "900", 1);
    state.limit(Limits { enabled: false, ..limits(10, 10) });
    assert!(dial(&mut state, "900", 1).is_ok());
    assert_eq!(dial(&mut state, "901", 1).unwrap_err(), Refusal::ServerDisabled);
    assert!(!state.has_room());
}

#[test]
fn last_seat_is_given_once() {
    let mut state = State::new(limits(1, 1), RULES, Instant::now());
    state.know(ROOM, &settings("900"), Policy::default(), 0);
    assert!(dial(&mut state, "900", 1).is_ok());
    assert!(matches!(dial(&mut state, "900", 2).unwrap_err(), Refusal::ServerFull(_)));
    state.give_back(RoomId(1), false);
    assert!(dial(&mut state, "900", 3).is_ok());
}

#[test]
fn room_mute_reaches_late_joiners_and_one_may_be_let_speak() {
    let mut state = state();
    enter(&mut state, "900", 1);
    enter(&mut state, "900", 2);
    state.participant_mut(ParticipantId(2)).unwrap().chairman = true;
    drop(state.mute_room(ROOM, true));
    assert_eq!(settle(&mut state), [(1, true)], "the chairman is not muted");
    enter(&mut state, "900", 3);
    assert!(is_muted(&mut state, 3));
    assert!(settle(&mut state).is_empty(), "a late joiner comes with its settings");

    drop(state.mute(ParticipantId(3), false));
    assert_eq!(settle(&mut state), [(3, false)]);
    assert!(is_muted(&mut state, 1), "the others stay muted");
    drop(state.mute_room(ROOM, true));
    assert!(is_muted(&mut state, 3), "muting the room again mutes all again");
    drop(state.mute_room(ROOM, false));
    assert_eq!(settle(&mut state), [(1, false), (3, false)]);
    assert!(!is_muted(&mut state, 1));
}

#[test]
fn settings_that_could_not_be_sent_are_sent_later() {
    let mut state = state();
    enter(&mut state, "900", 1);
    drop(state.mute(ParticipantId(1), true));
    let (id, ..) = state.next_unsettled().unwrap();
    state.unsettle(id);
    assert!(!state.is_settled() && state.needs_housekeeping());
    assert_eq!(settle(&mut state), [(1, true)]);
    drop(state.mute(ParticipantId(1), true));
    assert!(state.is_settled(), "mute twice is one command");
    drop(state.mute(ParticipantId(1), false));
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    assert!(settle(&mut state).is_empty());
}

#[test]
fn policies_hold_for_the_next_call_and_end_with_it() {
    let mut state = state();
    drop(state.mute_room(ROOM, true));
    let seat = dial(&mut state, "900", 1).unwrap();
    state.give_back(seat.media, false);
    assert!(state.room(ROOM).unwrap().policy.muted, "a caller who hung up before the answer ends no call");
    enter(&mut state, "900", 1);
    state.lock_room(ROOM, true);
    assert_eq!(dial(&mut state, "900", 2).unwrap_err(), Refusal::RoomLocked);
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    assert_eq!(state.room(ROOM).unwrap().policy, Policy::default());
    assert!(dial(&mut state, "900", 3).is_ok());
}

#[test]
fn removed_participant_is_hung_up_and_gone_at_once() {
    let mut state = state();
    let (media, _orders) = enter(&mut state, "900", 1);
    enter(&mut state, "900", 2);
    let effects = state
        .remove(ParticipantId(1), Left::Removed(HangUp::RemovedByOperator), Some(HangUp::RemovedByOperator), true)
        .unwrap();
    assert!(matches!(
        effects.as_slice(),
        [Effect::Leave { leg: LegId(1), .. }, Effect::HangUp { why: HangUp::RemovedByOperator, .. }]
    ));
    assert_eq!(state.whereabouts(ParticipantId(1)), Whereabouts::Gone);
    assert!(state.remove(ParticipantId(1), Left::HungUp, None, true).is_none(), "the dialog's own end is passed over");
    assert!(state.owner_of(LegId(1)).is_none() && state.those_in(media).len() == 1);
    assert_eq!((state.seat_count(), state.participant_count()), (1, 1));
}

#[test]
fn leg_that_is_gone_is_not_dropped_again() {
    let mut state = state();
    enter(&mut state, "900", 1);
    let effects =
        state.remove(ParticipantId(1), Left::Removed(HangUp::MediaTimeout), Some(HangUp::MediaTimeout), false).unwrap();
    assert!(matches!(effects.as_slice(), [Effect::HangUp { .. }, Effect::Close { .. }]));
}

#[test]
fn destroyed_room_hangs_up_on_everyone_and_its_extension_is_free() {
    let mut state = state();
    enter(&mut state, "900", 1);
    enter(&mut state, "900", 2);
    drop(state.mute(ParticipantId(1), true));
    let effects = state.forget(ROOM);
    let hung_up = effects.iter().filter(|e| matches!(e, Effect::HangUp { why: HangUp::RoomDestroyed, .. })).count();
    assert_eq!((effects.len(), hung_up), (3, 2));
    assert_eq!((state.seat_count(), state.call_count(), state.participant_count()), (0, 0, 0));
    assert!(!state.needs_housekeeping() || state.take_unkept(ROOM).is_empty());
    assert_eq!(dial(&mut state, "900", 1).unwrap_err(), Refusal::UnknownRoom("900".into()));
}

#[test]
fn closing_the_server_hangs_up_and_lets_nobody_sit_down() {
    let mut state = state();
    enter(&mut state, "900", 1);
    let seat = dial(&mut state, "901", 7).unwrap();
    let effects = state.close();
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::HangUp { why: HangUp::Draining, .. })).count(), 1);
    assert_eq!(state.sit(seat.media, somebody(2).0, false).unwrap_err(), Gone::Server);
    assert_eq!(state.seat_count(), 0);
}

#[test]
fn recording_begins_with_the_first_participant_only() {
    let mut state = state();
    state.know(OTHER, &RoomSettings { enable_recording: true, ..settings("901") }, Policy::default(), 0);
    enter(&mut state, "900", 1);
    enter(&mut state, "901", 2);
    enter(&mut state, "901", 3);
    let begins = |state: &mut State, number| {
        let effects = state.arrived(ParticipantId(number));
        effects.iter().any(|effect| matches!(effect, Effect::Record { room: OTHER }))
    };
    assert!(!begins(&mut state, 1));
    assert!(begins(&mut state, 2));
    assert!(!begins(&mut state, 3));
}

#[test]
fn activations_and_ends_are_kept_once() {
    let server = Id::from_raw(9);
    let mut state = state();
    enter(&mut state, "900", 1);
    let kept = state.take_unkept(server);
    assert_eq!(kept, [Holding { room: ROOM, policy: Policy::default(), owner: Some(server), epoch: 1 }]);
    assert!(state.take_unkept(server).is_empty());
    state.keep_again(&kept);
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    let kept = state.take_unkept(server);
    assert_eq!(kept, [Holding { room: ROOM, policy: Policy::default(), owner: None, epoch: 1 }]);
}

#[test]
fn five_hundred_callers_for_ten_seats_leave_the_counts_right() {
    let mut state = State::new(limits(3, 10), RULES, Instant::now());
    for (id, extension) in [(1, "900"), (2, "901"), (3, "902"), (4, "903")] {
        state.know(Id::from_raw(id), &settings(extension), Policy::default(), 0);
    }
    let mut admitted = Vec::new();
    for number in 0..500u64 {
        let extension = ["900", "901", "902", "903"][(number % 4) as usize];
        if let Ok(seat) = dial(&mut state, extension, number + 1) {
            admitted.push(seat.media);
        }
    }
    assert_eq!((admitted.len(), state.seat_count(), state.call_count()), (10, 10, 3));
    for media in admitted {
        drop(state.give_back(media, false));
    }
    assert_eq!((state.seat_count(), state.call_count()), (0, 0));
}

// -- dialogues ---------------------------------------------------------------------------------------------------------

/// What was said to somebody, newest last.
fn said(effects: &[Effect], number: i64) -> Vec<Phrase> {
    let to = |effect: &Effect| match effect {
        Effect::Say { participant, speech, .. } if *participant == ParticipantId(number) => speech.phrases.clone(),
        _ => Vec::new(),
    };
    effects.iter().flat_map(to).collect()
}

fn presence(state: &mut State, number: i64) -> Presence {
    state.participant_mut(ParticipantId(number)).unwrap().presence
}

fn keys(state: &mut State, number: i64, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.chars() {
        effects.extend(state.key(ParticipantId(number), Digit::from_char(key).unwrap(), fresh(77), TODAY));
    }
    effects
}

/// A caller whose dialogue has begun.
fn received(state: &mut State, extension: &str, number: i64) -> Vec<Effect> {
    enter(state, extension, number);
    state.media_came(LegId(number.unsigned_abs()), fresh(77), TODAY)
}

/// The legs that are on their way arrive.
fn arrive(state: &mut State, effects: &[Effect]) -> Vec<Effect> {
    let mut followed = Vec::new();
    for effect in effects {
        if let Effect::Move { participant, .. } = effect {
            state.arriving(*participant).unwrap();
            followed.extend(state.arrived(*participant));
        }
    }
    followed
}

fn guarded() -> RoomSettings {
    RoomSettings {
        room_pin: Some("1234".into()),
        admin_pin: Some("9876".into()),
        enable_prompt: true,
        capacity: 2,
        ..settings("900")
    }
}

#[test]
fn pin_is_asked_in_front_of_the_room_and_takes_no_place_in_it() {
    let mut state = state();
    drop(state.update(ROOM, &guarded()));
    for number in 1..=5 {
        let welcome = said(&received(&mut state, "900", number), number);
        assert_eq!(welcome, [Phrase::Welcome("900".to_owned()), Phrase::EnterPin]);
        assert_eq!(presence(&mut state, number), Presence::InMenu);
    }
    for number in 1..=2 {
        let moved = keys(&mut state, number, "1234#");
        assert_eq!(presence(&mut state, number), Presence::Joined);
        arrive(&mut state, &moved);
    }
    let refused = keys(&mut state, 3, "1234#");
    assert_eq!(said(&refused, 3), [Phrase::Full, Phrase::Goodbye]);
    assert_eq!(dial(&mut state, "900", 1).unwrap_err(), Refusal::RoomFull(2));
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    let moved = keys(&mut state, 4, "1234#");
    assert_eq!(presence(&mut state, 4), Presence::Joined);
    arrive(&mut state, &moved);
    for number in [2, 3, 4, 5] {
        drop(state.remove(ParticipantId(number), Left::HungUp, None, true));
    }
    assert_eq!((state.seat_count(), state.call_count()), (0, 0));
}

#[test]
fn room_that_is_locked_meanwhile_keeps_all_but_its_chairman_out() {
    let mut state = state();
    drop(state.update(ROOM, &guarded()));
    received(&mut state, "900", 1);
    received(&mut state, "900", 2);
    state.lock_room(ROOM, true);
    assert_eq!(said(&keys(&mut state, 1, "1234#"), 1), [Phrase::Locked, Phrase::Goodbye]);
    let moved = keys(&mut state, 2, "9876#");
    assert!(state.participant_mut(ParticipantId(2)).unwrap().chairman);
    let followed = arrive(&mut state, &moved);
    assert!(said(&followed, 2).contains(&Phrase::YouAreChairman), "{followed:?}");
}

#[test]
fn led_room_waits_for_its_chairman_and_goes_on_without() {
    let mut state = state();
    let led = RoomSettings { control: Control::Master, admin_pin: Some("9876".into()), ..settings("900") };
    drop(state.update(ROOM, &led));
    for number in 1..=2 {
        enter(&mut state, "900", number);
        drop(state.arrived(ParticipantId(number)));
        assert_eq!(presence(&mut state, number), Presence::Waiting);
    }
    let waiting = state.room(ROOM).unwrap().call.as_ref().unwrap().waiting;
    assert_eq!(state.those_in(waiting).len(), 2);
    let moved = keys(&mut state, 1, "*89876#");
    assert_eq!(moved.iter().filter(|effect| matches!(effect, Effect::Move { .. })).count(), 2);
    assert_eq!((presence(&mut state, 1), presence(&mut state, 2)), (Presence::Joined, Presence::Joined));
    assert!(!is_muted(&mut state, 1) && is_muted(&mut state, 2), "newcomers of a led room are muted");
    arrive(&mut state, &moved);
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    assert_eq!(presence(&mut state, 2), Presence::Joined, "who is here stays");
    enter(&mut state, "900", 3);
    assert_eq!(presence(&mut state, 3), Presence::Waiting, "who comes waits");
    drop(state.update(ROOM, &settings("900")));
    assert_eq!(presence(&mut state, 3), Presence::Joined, "a free room waits for nobody");
}

#[test]
fn wrong_pins_close_the_entry_and_are_told() {
    let mut state = state();
    drop(state.update(ROOM, &guarded()));
    for number in 1..=3 {
        received(&mut state, "900", number);
        for _ in 0..3 {
            keys(&mut state, number, "1#");
        }
    }
    assert_eq!(dial(&mut state, "900", 1).unwrap_err(), Refusal::PinClosed);
    let told = state.take_news(TODAY).filter(|event| event.kind == Kind::RoomPinRejected).count();
    assert_eq!(told, 9);
}

#[test]
fn lobby_hands_its_caller_on_and_keeps_nothing() {
    let mut state = state();
    state.open_lobby("100", "en");
    drop(state.update(ROOM, &guarded()));
    assert_eq!(said(&received(&mut state, "100", 1), 1), [Phrase::EnterExtension]);
    let unknown = keys(&mut state, 1, "100#");
    assert_eq!(said(&unknown, 1), [Phrase::UnknownExtension, Phrase::EnterExtension], "the lobby is no room");
    let found = keys(&mut state, 1, "900#");
    assert!(found.iter().any(|effect| matches!(effect, Effect::Open { room: RoomId(77), .. })));
    assert_eq!(said(&found, 1).last(), Some(&Phrase::EnterPin));
    assert!(state.rooms[&LOBBY].call.is_none() && state.room(LOBBY).is_none());
    let moved = keys(&mut state, 1, "1234#");
    arrive(&mut state, &moved);
    assert_eq!((presence(&mut state, 1), state.seat_count()), (Presence::Joined, 1));
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    assert_eq!((state.seat_count(), state.call_count()), (0, 0));
    assert!(state.take_unkept(ROOM).iter().all(|holding| holding.room != LOBBY));
}

#[test]
fn only_the_chairman_leads_by_keys() {
    let mut state = state();
    enter(&mut state, "900", 1);
    drop(state.arrived(ParticipantId(1)));
    let wishes = |effects: &[Effect]| effects.iter().filter(|e| matches!(e, Effect::Operate { .. })).count();
    for command in ["*5", "*3", "*2", "*1123#"] {
        assert_eq!(wishes(&keys(&mut state, 1, command)), 0, "{command}");
    }
    drop(state.appoint(ParticipantId(1)));
    for command in ["*5", "*3", "*2", "*1123#"] {
        assert_eq!(wishes(&keys(&mut state, 1, command)), 1, "{command}");
    }
    for (key, level) in [("*4", -3.0), ("*7*7", 3.0)] {
        keys(&mut state, 1, key);
        let gain = state.participant_mut(ParticipantId(1)).unwrap().settings().gain_out;
        assert!((gain.factor() - Gain::db(level).factor()).abs() < 1e-6, "{key}");
    }
}

#[test]
fn dialogue_goes_on_when_the_engine_tells_nothing() {
    let mut state = state();
    drop(state.update(ROOM, &RoomSettings { enable_prompt: true, ..settings("900") }));
    let start = Instant::now();
    state.at(start);
    enter(&mut state, "900", 1);
    let mut now = start;
    for _ in 0..4 {
        let Some(deadline) = state.next_deadline() else { break };
        now = now.max(deadline);
        state.at(now);
        drop(state.pass_dialogues(|| fresh(77), TODAY));
    }
    assert_eq!(presence(&mut state, 1), Presence::Joined);
    assert!(now - start < Duration::from_secs(10));
}

#[test]
fn caller_who_was_called_is_listed_from_the_start() {
    let mut state = state();
    let (dialog, _orders) = mpsc::channel(1);
    let seat = state.admit_called(ROOM, fresh(1)).unwrap();
    let name = "<sip:102>".to_owned();
    let called = Participant::called(ParticipantId(9), RoomId(500), name, "102".to_owned(), TODAY, dialog);
    assert!(state.sit(seat.media, called, false).unwrap().room.is_none());
    assert!(state.is_awaited(ROOM, "102").is_err() && state.is_awaited(ROOM, "103").is_ok());
    assert_eq!(presence(&mut state, 9), Presence::Calling);
    state.rings(ParticipantId(9));
    assert_eq!(presence(&mut state, 9), Presence::Ringing);
    let answer = Answer { sdp: String::new(), codec: CodecName::Pcmu, video: None, on_hold: false };
    let sat = state.answered(ParticipantId(9), LegId(9), &answer).unwrap();
    assert_eq!((sat.room, sat.opens), (Some(seat.media), false));
    assert_eq!(presence(&mut state, 9), Presence::Joined);
}
