//! Order and patience, on virtual time.

use super::*;

const HOOK: Id = Id::from_raw(1);
const OTHER: Id = Id::from_raw(2);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + seconds).unwrap()
}

fn waiting(webhook: Id, lane: i64, cursor: i64) -> WaitingDelivery {
    WaitingDelivery { webhook, cursor, lane, attempts: 0, queued_at: at(0), next_at: at(0) }
}

fn schedule(deliveries: &[(Id, i64, i64)]) -> Schedule {
    let mut schedule = Schedule::default();
    for webhook in [HOOK, OTHER] {
        schedule.set(webhook, []);
    }
    deliveries.iter().for_each(|(webhook, lane, cursor)| schedule.push(waiting(*webhook, *lane, *cursor)));
    schedule
}

fn all_due(schedule: &mut Schedule, now: Timestamp) -> Vec<Attempt> {
    std::iter::from_fn(|| schedule.next(now)).collect()
}

fn cursors(attempts: &[Attempt]) -> Vec<i64> {
    attempts.iter().map(|attempt| attempt.cursor).collect()
}

#[test]
fn lane_waits_for_its_first_and_other_lanes_do_not() {
    let mut schedule = schedule(&[(HOOK, 7, 1), (HOOK, 7, 2), (HOOK, 8, 3), (HOOK, 7, 4), (HOOK, 8, 5)]);
    let begun = all_due(&mut schedule, at(0));
    assert_eq!(cursors(&begun), [1, 3]);
    assert_eq!(schedule.next_at(), None, "everything waits for an answer");
    let again = schedule.failed(begun[0], at(1), 0);
    assert_eq!(again, Verdict { attempts: 1, next_at: Some(at(2)) });
    schedule.done(begun[1]);
    assert_eq!(cursors(&all_due(&mut schedule, at(1))), [5]);
    assert_eq!(schedule.next_at(), Some(at(2)));
    let retried = all_due(&mut schedule, at(2));
    assert_eq!(cursors(&retried), [1]);
    schedule.done(retried[0]);
    assert_eq!(cursors(&all_due(&mut schedule, at(2))), [2]);
    assert_eq!(schedule.waiting(HOOK), 3);
}

#[test]
fn few_at_once_to_one_webhook_and_all_take_turns() {
    let mut deliveries: Vec<_> = (0..20).map(|lane| (HOOK, lane, lane + 1)).collect();
    deliveries.push((OTHER, 0, 100));
    let mut schedule = schedule(&deliveries);
    let begun = all_due(&mut schedule, at(0));
    assert_eq!(begun.len(), MOST_AT_ONCE + 1);
    assert_eq!(begun[1].webhook, OTHER, "its turn comes second, however much waits for the first");
    assert_eq!(schedule.next_at(), None, "the rest waits for a place");
    schedule.done(begun[0]);
    assert_eq!(all_due(&mut schedule, at(0)).len(), 1);
    assert_eq!(schedule.all_waiting(), 20);
}

#[test]
fn delivery_is_tried_for_a_day_and_then_given_up() {
    let mut schedule = schedule(&[(HOOK, 7, 1), (HOOK, 7, 2)]);
    let mut now = at(0);
    let mut attempts = 0;
    loop {
        let begun = all_due(&mut schedule, now);
        assert_eq!(cursors(&begun), [1], "nothing else of the lane goes meanwhile");
        attempts += 1;
        let verdict = schedule.failed(begun[0], now, 100);
        assert_eq!(verdict.attempts, attempts);
        let Some(next_at) = verdict.next_at else { break };
        assert!(next_at > now);
        assert_eq!(schedule.next_at(), Some(next_at));
        now = next_at;
    }
    assert_eq!(now, at(24 * 3600), "the last attempt is at the end of the day");
    assert!((30..50).contains(&attempts), "{attempts}");
    // The next one has waited for a day as well: it is tried once, and does not hold up the lane for another day.
    let begun = all_due(&mut schedule, now);
    assert_eq!(cursors(&begun), [2]);
    assert_eq!(schedule.failed(begun[0], now, 0), Verdict { attempts: 1, next_at: None });
    assert_eq!((schedule.all_waiting(), schedule.next_at()), (0, None));
    schedule.push(waiting(HOOK, 7, 3));
    assert_eq!(cursors(&all_due(&mut schedule, now)), [3]);
}

#[test]
fn reload_keeps_what_is_on_its_way_and_sends_nothing_twice() {
    let mut schedule = schedule(&[(HOOK, 7, 1), (HOOK, 7, 2)]);
    let begun = schedule.next(at(0)).unwrap();
    schedule.set(HOOK, [waiting(HOOK, 7, 1), waiting(HOOK, 7, 2), waiting(HOOK, 8, 3)]);
    schedule.push(waiting(HOOK, 8, 3));
    assert_eq!(cursors(&all_due(&mut schedule, at(0))), [3]);
    assert_eq!(schedule.waiting(HOOK), 3);
    schedule.done(begun);
    assert_eq!(cursors(&all_due(&mut schedule, at(0))), [2]);
}

#[test]
fn delivery_that_was_taken_away_on_its_way_frees_its_lane() {
    let mut schedule = schedule(&[(HOOK, 7, 1), (HOOK, 7, 2)]);
    let begun = schedule.next(at(0)).unwrap();
    schedule.set(HOOK, [waiting(HOOK, 7, 2)]);
    assert_eq!(schedule.next(at(0)), None, "the lane is still busy");
    assert_eq!(schedule.failed(begun, at(0), 0), Verdict { attempts: 0, next_at: None });
    let next = schedule.next(at(0)).unwrap();
    assert_eq!(next.cursor, 2);
    schedule.forget(HOOK);
    assert_eq!(schedule.failed(next, at(0), 0), Verdict { attempts: 0, next_at: None });
    schedule.done(next);
    schedule.push(waiting(HOOK, 7, 3));
    assert_eq!((schedule.next(at(0)), schedule.all_waiting()), (None, 0));
}

#[test]
fn retried_delivery_goes_back_to_its_place() {
    let mut schedule = schedule(&[(HOOK, 7, 5)]);
    let begun = schedule.next(at(0)).unwrap();
    // An earlier event of the lane came back to life meanwhile.
    schedule.set(HOOK, [waiting(HOOK, 7, 2), waiting(HOOK, 7, 5), waiting(HOOK, 7, 6)]);
    assert_eq!(schedule.next(at(0)), None);
    schedule.failed(begun, at(0), 0);
    let order = |schedule: &mut Schedule, now| {
        let next = schedule.next(now)?;
        schedule.done(next);
        Some(next.cursor)
    };
    assert_eq!(order(&mut schedule, at(0)), Some(2));
    assert_eq!(order(&mut schedule, at(0)), None, "the other's pause holds its lane");
    assert_eq!((order(&mut schedule, at(1)), order(&mut schedule, at(1))), (Some(5), Some(6)));
    assert_eq!(schedule.all_waiting(), 0);
}
