//! The latest events in memory, without a gap between them. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::events::Announced;

/// Events in memory.
const MOST: usize = 4096;
/// One of them, with the longest names that signalling takes.
const EVENT_BYTES: usize = 2048;
const _: () = assert!(MOST * EVENT_BYTES <= 8 << 20, "the latest events fit 8 MiB");

/// Every event after `from`, up to the last one.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Announced>>,
    from: i64,
}

impl Ring {
    /// Of what comes after this cursor.
    pub(super) fn after_cursor(from: i64) -> Self {
        Self { events: VecDeque::new(), from }
    }

    /// Cursors grow.
    pub(super) fn push(&mut self, event: Arc<Announced>) {
        self.events.push_back(event);
        if self.events.len() > MOST
            && let Some(oldest) = self.events.pop_front()
        {
            self.from = oldest.cursor;
        }
    }

    /// At most `most` events after this cursor; `None` when some of them are not here any more.
    pub(super) fn after(&self, cursor: i64, most: usize) -> Option<Vec<Arc<Announced>>> {
        if cursor < self.from {
            return None;
        }
        let begin = self.events.partition_point(|event| event.cursor <= cursor);
        Some(self.events.range(begin..).take(most).cloned().collect())
    }

    /// The event with this cursor, if it is here.
    pub(super) fn at(&self, cursor: i64) -> Option<Arc<Announced>> {
        let place = self.events.binary_search_by_key(&cursor, |event| event.cursor).ok()?;
        self.events.get(place).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cursor: i64) -> Arc<Announced> {
        Arc::new(Announced { cursor, room: None, kind: String::new(), json: String::new() })
    }

    #[test]
    fn ring_knows_what_it_has_and_what_it_has_no_more() {
        let mut ring = Ring::after_cursor(10);
        assert_eq!(ring.after(10, 5), Some(vec![]));
        assert_eq!(ring.after(9, 5), None);
        // Cursors may leave numbers out.
        let last = 10 + 2 * (MOST as i64 + 3);
        (12..=last).step_by(2).for_each(|cursor| ring.push(event(cursor)));
        assert_eq!(ring.events.len(), MOST);
        assert_eq!(ring.after(14, 1), None);
        assert_eq!(ring.after(16, 2), Some(vec![event(18), event(20)]));
        assert_eq!(ring.after(17, 1), Some(vec![event(18)]));
        assert_eq!(ring.after(last, 1), Some(vec![]));
        assert_eq!((ring.at(18), ring.at(19), ring.at(16)), (Some(event(18)), None, None));
    }
}
