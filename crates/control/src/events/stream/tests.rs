//! Readers: what they are given, in which order, and what they do not do to each other.

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use super::*;
use crate::events::{Data, Kind, NewEvent};
use crate::store::testing;
use crate::store::testing::{Place as Home, change};

struct Outbox {
    _home: Home,
    store: Store,
    journal: Journal,
    streams: Streams,
    publisher: JoinHandle<()>,
}

impl Outbox {
    async fn open() -> Self {
        let (home, store) = testing::store().await;
        Self::reopen(home, store).await
    }

    async fn reopen(home: Home, store: Store) -> Self {
        let journal = Journal::open(store.clone()).await.unwrap();
        let streams = Streams::open(store.clone(), &journal, 2, EventMetrics::default()).await.unwrap();
        let (publishing, tail) = (streams.clone(), journal.clone());
        let publisher = tokio::spawn(async move { publishing.publish(&tail).await });
        Self { _home: home, store, journal, streams, publisher }
    }

    /// As after a restart: nothing is in memory.
    async fn again(self) -> Self {
        self.publisher.abort();
        Self::reopen(self._home, self.store).await
    }

    /// Of each of these rooms one event; all are published when this returns.
    async fn happen(&self, rooms: &[i64]) {
        for room in rooms {
            let (room, extension) = (Some(Id::from_raw(*room)), Some(room.to_string()));
            let (kind, data) = (Kind::RoomStarted, Data::Lost { lost: 0 });
            self.journal.note(NewEvent { at: store::now(), room, extension, kind, data });
        }
        self.journal.flush().await.unwrap();
        let last = *self.journal.tail().borrow();
        self.streams.published_up_to(last).await;
    }

    async fn reader(&self, start: Start) -> Reader {
        self.streams.reader(start, None, Types::default()).await.unwrap()
    }
}

async fn cursors(reader: &mut Reader, count: usize) -> Vec<i64> {
    let mut cursors = Vec::new();
    while cursors.len() < count {
        cursors.extend(reader.next().await.iter().map(|event| event.cursor));
    }
    cursors
}

#[tokio::test]
async fn reader_gets_what_comes_and_waits_for_more() {
    let outbox = Outbox::open().await;
    outbox.happen(&[1, 1]).await;
    let (mut now, mut all) = (outbox.reader(Start::Now).await, outbox.reader(Start::After(0)).await);
    assert_eq!(cursors(&mut all, 2).await, [1, 2]);
    assert!(now.next().now_or_never().is_none() && all.next().now_or_never().is_none());
    outbox.happen(&[2]).await;
    assert_eq!((cursors(&mut now, 1).await, cursors(&mut all, 1).await), (vec![3], vec![3]));
    assert!(now.rest().await.is_empty());
}

#[tokio::test]
async fn room_and_types_choose_from_memory_and_from_the_database() {
    let mut outbox = Outbox::open().await;
    outbox.happen(&[1, 2, 1]).await;
    for _ in 0..2 {
        let room = Some(Id::from_raw(1));
        let mut of_room = outbox.streams.reader(Start::After(0), room, Types::default()).await.unwrap();
        assert_eq!(cursors(&mut of_room, 2).await, [1, 3]);
        assert!(of_room.next().now_or_never().is_none());
        let types = Types::parse(["participant."]).unwrap();
        let mut of_type = outbox.streams.reader(Start::After(0), None, types).await.unwrap();
        assert!(of_type.rest().await.is_empty());
        assert_eq!(of_type.cursor, 3, "what is not wanted is not looked at again");
        outbox = outbox.again().await;
    }
}

#[tokio::test]
async fn replay_goes_over_into_what_comes_without_a_gap_or_a_repetition() {
    let outbox = Outbox::open().await;
    let count = 2 * usize::try_from(PAGE).unwrap() + 7;
    outbox.happen(&vec![1; count]).await;
    let outbox = outbox.again().await;
    let mut reader = outbox.reader(Start::After(3)).await;
    let first = cursors(&mut reader, 1).await;
    outbox.happen(&[2; 5]).await;
    let rest = cursors(&mut reader, count - 3 + 5 - first.len()).await;
    let all: Vec<i64> = first.into_iter().chain(rest).collect();
    assert_eq!(all, (4..=(count as i64) + 5).collect::<Vec<_>>());
    assert!(reader.next().now_or_never().is_none());
}

#[tokio::test]
async fn reader_that_stands_still_costs_the_others_nothing() {
    let outbox = Outbox::open().await;
    let (mut slow, mut quick) = (outbox.reader(Start::Now).await, outbox.reader(Start::Now).await);
    // Far more than memory holds.
    for _ in 0..20 {
        outbox.happen(&[1; 500]).await;
        assert_eq!(cursors(&mut quick, 500).await.len(), 500);
    }
    // A slow one that holds the database's turn: who is up to date does not need it.
    let turn = outbox.streams.0.replays.acquire().await.unwrap();
    assert!(slow.next().now_or_never().is_none());
    outbox.happen(&[1]).await;
    assert_eq!(cursors(&mut quick, 1).await, [10_001]);
    drop(turn);
    assert_eq!(cursors(&mut slow, 10_001).await, (1..=10_001).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_kept_no_more_is_marked_with_the_first_that_is() {
    let outbox = Outbox::open().await;
    outbox.happen(&[1; 10]).await;
    let later = store::now().saturating_add(Duration::from_secs(1)).unwrap();
    let mut overtaken = outbox.reader(Start::After(1)).await;
    let (_, first) = change!(outbox.store, forget_events_before(later, 5)).unwrap();
    assert_eq!(first, 6);
    let outbox = outbox.again().await;
    for (start, expected) in [(0, vec![6, 7, 8, 9, 10]), (5, vec![6, 7, 8, 9, 10]), (4, vec![5, 6, 7, 8, 9, 10])] {
        let mut reader = outbox.reader(Start::After(start)).await;
        assert_eq!(cursors(&mut reader, expected.len()).await, expected, "from {start}");
    }
    let room = Some(Id::from_raw(99));
    let mut reader = outbox.streams.reader(Start::After(2), room, Types::parse(["server."]).unwrap()).await.unwrap();
    let mark = reader.next().await.remove(0);
    assert_eq!((mark.kind.as_str(), mark.cursor), ("stream.gap", 5), "it is for everyone");
    assert!(mark.json.contains("\"data\":{\"after\":2,\"first_cursor\":6}"), "{}", mark.json);
    // One that was reading while it was swept: its memory still has all.
    assert_eq!(cursors(&mut overtaken, 9).await, (2..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn reader_that_is_overtaken_by_the_sweep_is_told() {
    let outbox = Outbox::open().await;
    outbox.happen(&[1; 10]).await;
    let outbox = outbox.again().await;
    let mut reader = outbox.reader(Start::After(1)).await;
    let later = store::now().saturating_add(Duration::from_secs(1)).unwrap();
    let (_, first) = change!(outbox.store, forget_events_before(later, 5)).unwrap();
    outbox.streams.kept_from(first);
    assert_eq!(cursors(&mut reader, 6).await, [5, 6, 7, 8, 9, 10]);
}

#[tokio::test]
async fn cursor_from_the_future_begins_with_what_comes() {
    let outbox = Outbox::open().await;
    outbox.happen(&[1, 1]).await;
    let mut reader = outbox.reader(Start::After(1000)).await;
    let mark = reader.next().await.remove(0);
    assert_eq!((mark.kind.as_str(), mark.cursor), ("stream.gap", 2));
    outbox.happen(&[1]).await;
    assert_eq!(cursors(&mut reader, 1).await, [3]);
    let mut exact = outbox.reader(Start::After(3)).await;
    assert!(exact.next().now_or_never().is_none());
}

#[tokio::test]
async fn what_another_process_announces_is_published_too() {
    let outbox = Outbox::open().await;
    let mut reader = outbox.reader(Start::Now).await;
    let other = Journal::open(outbox.store.clone()).await.unwrap();
    let (kind, data) = (Kind::ServerOnline, Data::Lost { lost: 0 });
    other.note(NewEvent { at: store::now(), room: None, extension: None, kind, data });
    other.flush().await.unwrap();
    assert_eq!(cursors(&mut reader, 1).await, [1]);
    outbox.happen(&[7]).await;
    assert_eq!(cursors(&mut reader, 1).await, [2]);
}

#[tokio::test]
async fn places_are_counted_and_the_end_waits_for_them() {
    let outbox = Outbox::open().await;
    let (one, other) = (outbox.streams.seat().unwrap(), outbox.streams.seat().unwrap());
    let refusal = outbox.streams.seat().unwrap_err();
    assert!(refusal.to_string().contains("events.max_streams"), "{refusal}");
    assert_eq!(outbox.streams.0.metrics.streams().get(), 2);
    drop(one);
    let one = outbox.streams.seat().unwrap();
    let streams = outbox.streams.clone();
    let mut ending = Box::pin(async move { streams.end().await });
    assert!(ending.as_mut().now_or_never().is_none());
    outbox.streams.ended().await;
    assert!(matches!(outbox.streams.seat(), Err(Error::Busy(_))));
    drop((one, other));
    ending.await;
    assert_eq!(outbox.streams.0.metrics.streams().get(), 0);
}

#[tokio::test]
async fn event_is_found_in_memory_and_in_the_database() {
    let outbox = Outbox::open().await;
    outbox.happen(&[7, 7]).await;
    let here = outbox.streams.event(2).await.unwrap().unwrap();
    let outbox = outbox.again().await;
    assert_eq!(outbox.streams.event(2).await.unwrap().unwrap(), here);
    assert_eq!(outbox.streams.event(3).await.unwrap(), None);
}
