//! Facts from the engine into the async world: a thread of its own waits on the engine's channel and hands on over a
//! bounded queue to one task, which applies them to the rooms in order. A slow task fills that queue, then the engine's,
//! which then says `Lagged` instead of waiting.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, select};
use media::Event;
use tokio::sync::mpsc;

use crate::rooms::Rooms;

/// Between thread and task; the long queue is the engine's.
const QUEUE: usize = 256;

/// Feeds rooms with the engine's facts; dropping it ends the thread.
#[derive(Debug)]
pub struct EventFeed {
    /// Dropped, it wakes the thread.
    _stop: Sender<()>,
    facts: mpsc::Receiver<Event>,
}

impl EventFeed {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(events: Receiver<Event>) -> io::Result<Self> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (facts_in, facts) = mpsc::channel(QUEUE);
        thread::Builder::new().name("media-events".to_owned()).spawn(move || {
            loop {
                let event = select! {
                    recv(events) -> event => event,
                    recv(stopped) -> _ => return,
                };
                let Ok(event) = event else { return };
                if facts_in.blocking_send(event).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { _stop: stop, facts })
    }

    /// Applies facts until the engine has ended.
    pub async fn feed(mut self, rooms: Rooms) {
        while let Some(event) = self.facts.recv().await {
            rooms.apply(event).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::{LegId, RoomId};

    #[tokio::test]
    async fn facts_come_in_order_and_none_is_lost_while_the_task_is_slow() {
        let (events, received) = crossbeam_channel::bounded(10_000);
        let mut feed = EventFeed::start(received).unwrap();
        for number in 0..5000 {
            events.send(Event::LegUp { room: RoomId(1), leg: LegId(number) }).unwrap();
        }
        drop(events);
        for number in 0..5000 {
            assert_eq!(feed.facts.recv().await, Some(Event::LegUp { room: RoomId(1), leg: LegId(number) }));
        }
        assert_eq!(feed.facts.recv().await, None);
    }

    #[tokio::test]
    async fn thread_ends_with_the_feed() {
        let (events, received) = crossbeam_channel::bounded(1);
        let feed = EventFeed::start(received).unwrap();
        drop(feed);
        // The thread held the only receiver; sending fails once it is gone.
        let gone = tokio::task::spawn_blocking(move || while events.send(Event::Lagged { worker: 0 }).is_ok() {});
        gone.await.unwrap();
    }
}
