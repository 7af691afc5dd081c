//! Admission, policies and ends, without an engine.

use super::*;
use crate::rooms::Left;
use crate::rooms::testing::settings;

const ROOM: Id = Id::from_raw(1);
const OTHER: Id = Id::from_raw(2);

fn limits(max_rooms: u32, max_participants: u32) -> Limits {
    Limits { enabled: true, max_rooms, max_participants }
}

/// Rooms 900 (for three) and 901 on a server for ten.
fn state() -> State {
    let mut state = State::new(limits(10, 10), Instant::now());
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
    };
    let answer = Answer { sdp: String::new(), codec: CodecName::Pcmu, video: None, on_hold: false };
    let leg = LegId(number.unsigned_abs());
    (Participant::new(ParticipantId(number), leg, caller, &answer, Timestamp::UNIX_EPOCH), orders)
}

fn enter(state: &mut State, extension: &str, number: i64) -> (RoomId, mpsc::Receiver<DialogOrder>) {
    let seat = state.admit(extension, RoomId(number.unsigned_abs() + 1000)).unwrap();
    let (participant, orders) = somebody(number);
    state.sit(seat.media, participant).unwrap();
    (seat.media, orders)
}

fn is_muted(state: &mut State, number: i64) -> bool {
    state.participant_mut(ParticipantId(number)).unwrap().muted
}

fn settle(state: &mut State) -> Vec<(i64, bool)> {
    let mut sent = Vec::new();
    while let Some((id, _, _, muted)) = state.next_unsettled() {
        sent.push((id.0, muted));
    }
    sent.sort_unstable();
    sent
}

#[test]
fn first_caller_opens_the_room_and_the_last_one_closes_it() {
    let mut state = state();
    let first = state.admit("900", RoomId(7)).unwrap();
    assert_eq!(first, Admitted { media: RoomId(7), opens: true });
    assert_eq!(state.admit("900", RoomId(8)).unwrap(), Admitted { media: RoomId(7), opens: false });
    assert!(state.give_back(RoomId(7)).is_empty());
    assert!(matches!(state.give_back(RoomId(7)).as_slice(), [Effect::Close { room: RoomId(7) }]));
    assert_eq!((state.call_count(), state.seat_count()), (0, 0));
    assert!(state.admit("900", RoomId(9)).unwrap().opens, "the next call is another one");
}

#[test]
fn seat_of_a_call_that_ended_is_not_given_back_twice() {
    let mut state = state();
    enter(&mut state, "901", 1);
    let seat = state.admit("900", RoomId(7)).unwrap();
    drop(state.forget(ROOM));
    assert_eq!(state.seat_count(), 1);
    assert!(state.give_back(seat.media).is_empty());
    assert_eq!(state.seat_count(), 1);
    assert_eq!(state.sit(seat.media, somebody(5).0).unwrap_err(), Gone::Room);
}

#[test]
fn every_limit_refuses_with_its_own_reason() {
    let mut full = state();
    for number in 1..=3 {
        enter(&mut full, "900", number);
    }
    assert_eq!(full.admit("900", RoomId(1)).unwrap_err(), Refusal::RoomFull(3));
    assert_eq!(full.admit("12345", RoomId(1)).unwrap_err(), Refusal::UnknownRoom("12345".into()));
    full.limit(limits(10, 3));
    assert!(
        matches!(full.admit("901", RoomId(1)).unwrap_err(), Refusal::ServerFull(why) if why.contains("participants"))
    );
    full.limit(limits(1, 10));
    assert!(matches!(full.admit("901", RoomId(1)).unwrap_err(), Refusal::ServerFull(why) if why.contains("rooms")));
    full.drain();
    assert_eq!(full.admit("901", RoomId(1)).unwrap_err(), Refusal::Draining);
    assert_eq!(full.seat_count(), 3, "a refusal counts nothing");
}

#[test]
fn disabled_server_lets_running_rooms_go_on() {
    let mut state = state();
    enter(&mut state, "900", 1);
    state.limit(Limits { enabled: false, ..limits(10, 10) });
    assert!(state.admit("900", RoomId(1)).is_ok());
    assert_eq!(state.admit("901", RoomId(1)).unwrap_err(), Refusal::ServerDisabled);
    assert!(!state.has_room());
}

#[test]
fn last_seat_is_given_once() {
    let mut state = State::new(limits(1, 1), Instant::now());
    state.know(ROOM, &settings("900"), Policy::default(), 0);
    assert!(state.admit("900", RoomId(1)).is_ok());
    assert!(matches!(state.admit("900", RoomId(2)).unwrap_err(), Refusal::ServerFull(_)));
    state.give_back(RoomId(1));
    assert!(state.admit("900", RoomId(3)).is_ok());
}

#[test]
fn room_with_a_pin_is_not_entered_without_one() {
    let mut state = state();
    state.update(ROOM, &RoomSettings { room_pin: Some("1234".into()), ..settings("900") });
    assert_eq!(state.admit("900", RoomId(1)).unwrap_err(), Refusal::PinNeeded);
    state.update(ROOM, &RoomSettings { admin_pin: Some("1234".into()), ..settings("900") });
    assert!(state.admit("900", RoomId(1)).is_ok(), "an admin PIN alone bars nobody");
}

#[test]
fn room_mute_reaches_late_joiners_and_one_may_be_let_speak() {
    let mut state = state();
    enter(&mut state, "900", 1);
    enter(&mut state, "900", 2);
    state.participant_mut(ParticipantId(2)).unwrap().chairman = true;
    state.mute_room(ROOM, true);
    assert_eq!(settle(&mut state), [(1, true)], "the chairman is not muted");
    enter(&mut state, "900", 3);
    assert!(is_muted(&mut state, 3));
    assert!(settle(&mut state).is_empty(), "a late joiner comes with its settings");

    state.mute(ParticipantId(3), false);
    assert_eq!(settle(&mut state), [(3, false)]);
    assert!(is_muted(&mut state, 1), "the others stay muted");
    state.mute_room(ROOM, true);
    assert!(is_muted(&mut state, 3), "muting the room again mutes all again");
    state.mute_room(ROOM, false);
    assert_eq!(settle(&mut state), [(1, false), (3, false)]);
    assert!(!is_muted(&mut state, 1));
}

#[test]
fn settings_that_could_not_be_sent_are_sent_later() {
    let mut state = state();
    enter(&mut state, "900", 1);
    state.mute(ParticipantId(1), true);
    let (id, ..) = state.next_unsettled().unwrap();
    state.unsettle(id);
    assert!(!state.is_settled() && state.needs_housekeeping());
    assert_eq!(settle(&mut state), [(1, true)]);
    state.mute(ParticipantId(1), true);
    assert!(state.is_settled(), "mute twice is one command");
    state.mute(ParticipantId(1), false);
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    assert!(settle(&mut state).is_empty());
}

#[test]
fn policies_hold_for_the_next_call_and_end_with_it() {
    let mut state = state();
    state.mute_room(ROOM, true);
    let seat = state.admit("900", RoomId(1)).unwrap();
    state.give_back(seat.media);
    assert!(state.room(ROOM).unwrap().policy.muted, "a caller who hung up before the answer ends no call");
    enter(&mut state, "900", 1);
    state.lock_room(ROOM, true);
    assert_eq!(state.admit("900", RoomId(2)).unwrap_err(), Refusal::RoomLocked);
    drop(state.remove(ParticipantId(1), Left::HungUp, None, true));
    assert_eq!(state.room(ROOM).unwrap().policy, Policy::default());
    assert!(state.admit("900", RoomId(3)).is_ok());
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
    assert_eq!(state.leg_of(ParticipantId(1)), None);
    assert!(state.remove(ParticipantId(1), Left::HungUp, None, true).is_none(), "the dialog's own end is passed over");
    assert!(state.by_leg(media, LegId(1)).is_none());
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
    state.mute(ParticipantId(1), true);
    let effects = state.forget(ROOM);
    let hung_up = effects.iter().filter(|e| matches!(e, Effect::HangUp { why: HangUp::RoomDestroyed, .. })).count();
    assert_eq!((effects.len(), hung_up), (3, 2));
    assert_eq!((state.seat_count(), state.call_count(), state.participant_count()), (0, 0, 0));
    assert!(!state.needs_housekeeping() || state.take_unkept(ROOM).is_empty());
    assert_eq!(state.admit("900", RoomId(1)).unwrap_err(), Refusal::UnknownRoom("900".into()));
}

#[test]
fn closing_the_server_hangs_up_and_lets_nobody_sit_down() {
    let mut state = state();
    enter(&mut state, "900", 1);
    let seat = state.admit("901", RoomId(7)).unwrap();
    let effects = state.close();
    assert_eq!(effects.iter().filter(|e| matches!(e, Effect::HangUp { why: HangUp::Draining, .. })).count(), 1);
    assert_eq!(state.sit(seat.media, somebody(2).0).unwrap_err(), Gone::Server);
    assert_eq!(state.seat_count(), 0);
}

#[test]
fn recording_begins_with_the_first_participant_only() {
    let mut state = state();
    state.know(OTHER, &RoomSettings { enable_recording: true, ..settings("901") }, Policy::default(), 0);
    enter(&mut state, "900", 1);
    enter(&mut state, "901", 2);
    enter(&mut state, "901", 3);
    assert_eq!(state.confirm(ParticipantId(1)), None);
    assert_eq!(state.confirm(ParticipantId(2)), Some(OTHER));
    assert_eq!(state.confirm(ParticipantId(3)), None);
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
    let mut state = State::new(limits(3, 10), Instant::now());
    for (id, extension) in [(1, "900"), (2, "901"), (3, "902"), (4, "903")] {
        state.know(Id::from_raw(id), &settings(extension), Policy::default(), 0);
    }
    let mut admitted = Vec::new();
    for number in 0..500u64 {
        let extension = ["900", "901", "902", "903"][(number % 4) as usize];
        if let Ok(seat) = state.admit(extension, RoomId(number + 1)) {
            admitted.push(seat.media);
        }
    }
    assert_eq!((admitted.len(), state.seat_count(), state.call_count()), (10, 10, 3));
    for media in admitted {
        drop(state.give_back(media));
    }
    assert_eq!((state.seat_count(), state.call_count()), (0, 0));
}
