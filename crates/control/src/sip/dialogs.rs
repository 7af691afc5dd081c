//! The table of dialogs: which call an in-dialog request belongs to. An entry lives exactly as long as its `Listed`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::mpsc;

use super::transaction::Inbound;

/// Requests waiting for one call; beyond it they are refused.
pub(super) const INBOX: usize = 16;

/// Call-ID, From tag and CSeq of a first INVITE: the same under another branch came by another way (RFC 3261 §8.2.2.2).
pub(super) type MergeKey = (String, String, u32);

#[derive(Debug, Default)]
struct Table {
    by_local_tag: HashMap<String, Entry>,
    invites: HashSet<MergeKey>,
}

#[derive(Debug)]
struct Entry {
    call_id: String,
    /// `None` while a call of ours has no answer: whoever answers first says it.
    remote_tag: Option<String>,
    inbox: mpsc::Sender<Inbound>,
}

/// Every dialog there is, in setup or established.
#[derive(Debug)]
pub(super) struct Dialogs {
    table: Arc<Mutex<Table>>,
    gauge: Gauge,
}

impl Dialogs {
    pub(super) fn new(gauge: Gauge) -> Self {
        Self { table: Arc::default(), gauge }
    }

    /// Enters a dialog; `None` when the same INVITE is there already.
    pub(super) fn enter(&self, local_tag: String, merge: MergeKey) -> Option<(Listed, mpsc::Receiver<Inbound>)> {
        let (inbox, received) = mpsc::channel(INBOX);
        let mut table = lock(&self.table);
        if !table.invites.insert(merge.clone()) {
            return None;
        }
        let entry = Entry { call_id: merge.0.clone(), remote_tag: Some(merge.1.clone()), inbox: inbox.clone() };
        table.by_local_tag.insert(local_tag.clone(), entry);
        drop(table);
        self.gauge.inc();
        let listed =
            Listed { table: Arc::clone(&self.table), gauge: self.gauge.clone(), local_tag, merge: Some(merge), inbox };
        Some((listed, received))
    }

    /// Enters a call of ours, whose far end has no tag yet. The tag is a new one of ours.
    pub(super) fn call_out(&self, local_tag: String, call_id: String) -> (Listed, mpsc::Receiver<Inbound>) {
        let (inbox, received) = mpsc::channel(INBOX);
        let entry = Entry { call_id, remote_tag: None, inbox: inbox.clone() };
        lock(&self.table).by_local_tag.insert(local_tag.clone(), entry);
        self.gauge.inc();
        let listed =
            Listed { table: Arc::clone(&self.table), gauge: self.gauge.clone(), local_tag, merge: None, inbox };
        (listed, received)
    }

    /// The inbox of the dialog, or dialogs (a fork), that an INVITE of ours with this tag made.
    pub(super) fn inviter(&self, local_tag: &str, call_id: &str) -> Option<mpsc::Sender<Inbound>> {
        let table = lock(&self.table);
        table.by_local_tag.get(local_tag).filter(|entry| entry.call_id == call_id).map(|entry| entry.inbox.clone())
    }

    /// The inbox of the dialog with these tags.
    pub(super) fn find(&self, local_tag: &str, remote_tag: &str, call_id: &str) -> Option<mpsc::Sender<Inbound>> {
        let table = lock(&self.table);
        let entry = table.by_local_tag.get(local_tag)?;
        (entry.remote_tag.as_deref().is_none_or(|tag| tag == remote_tag) && entry.call_id == call_id)
            .then(|| entry.inbox.clone())
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.table).by_local_tag.len()
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A dialog's place in the table; dropping it removes the dialog, on whatever end.
#[derive(Debug)]
pub(super) struct Listed {
    table: Arc<Mutex<Table>>,
    gauge: Gauge,
    local_tag: String,
    /// Of a call that came in.
    merge: Option<MergeKey>,
    pub(super) inbox: mpsc::Sender<Inbound>,
}

impl Listed {
    /// The far end that answered: from now on the dialog is with it alone.
    pub(super) fn meet(&self, remote_tag: &str) {
        if let Some(entry) = lock(&self.table).by_local_tag.get_mut(&self.local_tag) {
            entry.remote_tag = Some(remote_tag.to_owned());
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.by_local_tag.remove(&self.local_tag);
        if let Some(merge) = &self.merge {
            table.invites.remove(merge);
        }
        drop(table);
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cseq: u32) -> MergeKey {
        ("call".to_owned(), "remote".to_owned(), cseq)
    }

    #[test]
    fn dialog_is_found_by_both_tags_and_call_id_and_gone_when_dropped() {
        let dialogs = Dialogs::new(Gauge::default());
        let (listed, _inbox) = dialogs.enter("local".to_owned(), key(1)).unwrap();
        assert!(dialogs.find("local", "remote", "call").is_some());
        assert!(dialogs.find("local", "other", "call").is_none());
        assert!(dialogs.find("local", "remote", "other").is_none());
        assert_eq!(dialogs.gauge.get(), 1);
        drop(listed);
        assert!(dialogs.find("local", "remote", "call").is_none());
        assert_eq!((dialogs.len(), dialogs.gauge.get()), (0, 0));
        assert!(lock(&dialogs.table).invites.is_empty());
    }

    #[test]
    fn call_of_ours_is_with_anybody_until_somebody_answers() {
        let dialogs = Dialogs::new(Gauge::default());
        let (listed, _inbox) = dialogs.call_out("local".to_owned(), "call".to_owned());
        assert!(dialogs.find("local", "one", "call").is_some());
        assert!(dialogs.find("local", "one", "other").is_none());
        listed.meet("one");
        assert!(dialogs.find("local", "one", "call").is_some());
        assert!(dialogs.find("local", "two", "call").is_none());
        assert!(dialogs.inviter("local", "call").is_some(), "a fork's 2xx finds its call");
        assert!(dialogs.inviter("local", "other").is_none());
        drop(listed);
        assert!(dialogs.inviter("local", "call").is_none());
        assert_eq!((dialogs.len(), dialogs.gauge.get()), (0, 0));
    }

    #[test]
    fn same_invite_by_another_way_is_merged() {
        let dialogs = Dialogs::new(Gauge::default());
        let first = dialogs.enter("a".to_owned(), key(1));
        assert!(first.is_some());
        assert!(dialogs.enter("b".to_owned(), key(1)).is_none());
        assert!(dialogs.enter("c".to_owned(), key(2)).is_some());
        drop(first);
        assert!(dialogs.enter("d".to_owned(), key(1)).is_some());
    }
}
