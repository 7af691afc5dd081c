//! Order, atomicity and patience of the outbox.

use super::*;
use crate::ids::Id;
use crate::store::testing;
use crate::store::testing::change;

fn event(room: Option<i64>, kind: Kind) -> NewEvent {
    NewEvent {
        at: store::now(),
        room: room.map(Id::from_raw),
        extension: room.map(|room| room.to_string()),
        kind,
        data: Data::Lost { lost: 0 },
    }
}

async fn kept(store: &Store) -> Vec<(Option<i64>, i64, String)> {
    let events = store.events_after(0, None, 10_000).await.unwrap();
    assert!(events.is_sorted_by(|a, b| a.cursor < b.cursor));
    events.into_iter().map(|e| (e.room.map(Id::raw), e.sequence, e.kind)).collect()
}

fn expected(events: &[(Option<i64>, i64, Kind)]) -> Vec<(Option<i64>, i64, String)> {
    events.iter().map(|(room, sequence, kind)| (*room, *sequence, kind.as_str().to_owned())).collect()
}

#[tokio::test]
async fn each_room_counts_its_own_events_without_gaps() {
    let (_place, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    for _ in 0..2 {
        journal.note(event(Some(1), Kind::RoomStarted));
        journal.note(event(Some(2), Kind::RoomStarted));
        journal.note(event(None, Kind::ServerOnline));
        journal.note(event(Some(1), Kind::RoomEnded));
        journal.flush().await.unwrap();
    }
    let wanted = [
        (Some(1), 1, Kind::RoomStarted),
        (Some(2), 1, Kind::RoomStarted),
        (None, 1, Kind::ServerOnline),
        (Some(1), 2, Kind::RoomEnded),
        (Some(1), 3, Kind::RoomStarted),
        (Some(2), 2, Kind::RoomStarted),
        (None, 2, Kind::ServerOnline),
        (Some(1), 4, Kind::RoomEnded),
    ];
    assert_eq!(kept(&store).await, expected(&wanted));
    let of_room = store.events_after(0, Some(Id::from_raw(2)), 10).await.unwrap();
    assert_eq!(of_room.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2]);
    let last = store.event_cursors().await.unwrap().1;
    assert_eq!(*journal.tail().borrow(), last);
    let again = Journal::open(store.clone()).await.unwrap();
    assert_eq!(*again.tail().borrow(), last, "a restart goes on behind what is kept");
}

#[tokio::test]
async fn change_comes_with_its_event_and_behind_what_was_noted_before() {
    let (_place, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    let mut entry = journal.change().await.unwrap();
    entry.note(event(Some(1), Kind::RoomLocked));
    journal.note(event(Some(1), Kind::ParticipantJoined));
    entry.commit().await.unwrap();
    let wanted = [(Some(1), 1, Kind::ParticipantJoined), (Some(1), 2, Kind::RoomLocked)];
    assert_eq!(kept(&store).await, expected(&wanted));
}

#[tokio::test]
async fn change_that_fails_leaves_no_event_and_loses_none() {
    let (_place, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    journal.note(event(Some(1), Kind::ParticipantJoined));
    let mut dropped = journal.change().await.unwrap();
    dropped.note(event(Some(1), Kind::RoomLocked));
    drop(dropped);
    // A statement that fails within the transaction: on PostgreSQL nothing after it can be written.
    let mut failing = journal.change().await.unwrap();
    failing.note(event(Some(1), Kind::RoomLocked));
    let broken = failing.commit_broken().await;
    assert!(broken.is_err());
    journal.note(event(Some(1), Kind::ParticipantLeft));
    journal.flush().await.unwrap();
    let wanted = [(Some(1), 1, Kind::ParticipantJoined), (Some(1), 2, Kind::ParticipantLeft)];
    assert_eq!(kept(&store).await, expected(&wanted));
}

#[tokio::test]
async fn commit_without_an_answer_is_looked_for_and_nothing_is_told_twice() {
    for is_kept in [true, false] {
        let (_place, store) = testing::store().await;
        let journal = Journal::open(store.clone()).await.unwrap();
        journal.note(event(Some(1), Kind::ParticipantJoined));
        journal.note(event(Some(1), Kind::ParticipantMuted));
        let mut entry = journal.change().await.unwrap();
        entry.note(event(Some(1), Kind::RoomLocked));
        entry.commit_unanswered(is_kept).await;
        assert!(journal.take_doubt() && !journal.take_doubt());
        assert_eq!(journal.pending().events.len(), 2, "nobody knows yet");
        journal.note(event(Some(1), Kind::ParticipantLeft));
        journal.flush().await.unwrap();
        let mut wanted = vec![(Some(1), 1, Kind::ParticipantJoined), (Some(1), 2, Kind::ParticipantMuted)];
        if is_kept {
            wanted.push((Some(1), 3, Kind::RoomLocked));
        }
        wanted.push((Some(1), wanted.len() as i64 + 1, Kind::ParticipantLeft));
        assert_eq!(kept(&store).await, expected(&wanted));
        assert_eq!(*journal.tail().borrow(), store.event_cursors().await.unwrap().1);
        assert!(!journal.take_doubt() && journal.pending().unanswered.is_none());
    }
}

impl Entry {
    /// As if the database had gone away during the commit, before or after it had kept it.
    async fn commit_unanswered(mut self, is_kept: bool) {
        let journal = self.journal.clone();
        let mut taken = Taken::of(&journal);
        taken.events.append(&mut self.noted);
        taken.unanswered = Some(self.change.append_events(&taken.events).await.unwrap());
        if is_kept {
            self.change.commit().await.unwrap();
        }
        journal.doubt();
    }

    /// As if the database had gone away between the events and the commit.
    async fn commit_broken(mut self) -> Result<(), Error> {
        let journal = self.journal.clone();
        let mut taken = Taken::of(&journal);
        taken.events.append(&mut self.noted);
        self.change.append_events(&taken.events).await?;
        Err(Error::Busy("away".into()))
    }
}

#[tokio::test]
async fn what_waits_for_the_database_is_bounded_and_what_is_lost_is_told() {
    let (_place, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    for _ in 0..MAX_PENDING {
        journal.note(event(Some(1), Kind::ParticipantTalking));
    }
    journal.note(event(Some(1), Kind::ParticipantJoined));
    assert_eq!(journal.pending().events.len(), 1, "talking goes first");
    for _ in 0..MAX_PENDING {
        journal.note(event(Some(2), Kind::ParticipantJoined));
    }
    assert_eq!(journal.pending().events.len(), MAX_PENDING);
    assert_eq!(journal.pending().lost, MAX_PENDING as u64 + 1);
    journal.pending().events.truncate(1);
    journal.flush().await.unwrap();
    let events = store.events_after(0, None, 10).await.unwrap();
    assert_eq!(events[1].kind, "events.lost");
    assert_eq!(events[1].data, format!("{{\"lost\":{}}}", MAX_PENDING + 1));
    assert!(journal.pending().is_empty());
}

#[tokio::test]
async fn keeper_writes_what_is_noted() {
    let (_place, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    let keeper = journal.clone();
    let task = tokio::spawn(async move { keeper.keep().await });
    let mut tail = journal.tail();
    journal.note(event(Some(1), Kind::RoomStarted));
    tail.changed().await.unwrap();
    assert_eq!(kept(&store).await.len(), 1);
    task.abort();
}

#[tokio::test]
async fn old_events_go_and_the_count_of_a_living_room_stays() {
    let (_place, store) = testing::store().await;
    let journal = Journal::open(store.clone()).await.unwrap();
    journal.note(event(None, Kind::ServerOnline));
    journal.note(event(Some(1), Kind::RoomStarted));
    journal.note(event(None, Kind::ServerOffline));
    journal.flush().await.unwrap();
    let forget = async |limit, most| change!(store, forget_events_before(limit, most)).unwrap();
    let (first, last) = store.event_cursors().await.unwrap();
    let later = store::now().saturating_add(Duration::from_secs(1)).unwrap();
    let before = later.saturating_sub(Duration::from_secs(60)).unwrap();
    assert_eq!(forget(before, 10).await, (0, first));
    assert_eq!(forget(later, 1).await, (1, first + 1), "a few at a time");
    assert_eq!(forget(later, 10).await, (1, last), "the last one stays: cursors go on behind it");
    assert_eq!(forget(later, 10).await, (0, last));
    journal.note(event(None, Kind::ServerOnline));
    journal.note(event(Some(1), Kind::RoomStarted));
    journal.flush().await.unwrap();
    let wanted = [(None, 2, Kind::ServerOffline), (None, 3, Kind::ServerOnline), (Some(1), 1, Kind::RoomStarted)];
    assert_eq!(kept(&store).await, expected(&wanted), "room 1 is in no table: its count went too");
}

#[tokio::test]
async fn empty_outbox_forgets_nothing() {
    let (_place, store) = testing::store().await;
    assert_eq!(change!(store, forget_events_before(store::now(), 10)).unwrap(), (0, 0));
}
