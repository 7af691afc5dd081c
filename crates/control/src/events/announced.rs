//! An event as everyone is told it: one JSON text, made once, that streams and webhooks share.

use jiff::Timestamp;
use serde::Serialize;

use crate::ids::Id;
use crate::store::StoredEvent;

/// The kind of the mark that stands where events are missing. It is made for one reader and kept nowhere.
pub(super) const GAP: &str = "stream.gap";

/// An event and its wire form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What a reader resumes after.
    pub cursor: i64,
    /// Of which room.
    pub room: Option<Id>,
    /// Dotted words.
    pub kind: String,
    /// `{"cursor", "type", "at", "room_id", "extension_number", "sequence", "data"}`.
    pub json: String,
}

/// All but `data`, which is JSON already.
#[derive(Serialize)]
struct Head<'a> {
    cursor: i64,
    r#type: &'a str,
    at: Timestamp,
    room_id: Option<Id>,
    extension_number: Option<&'a str>,
    sequence: Option<i64>,
}

impl Head<'_> {
    fn with(&self, data: &str) -> String {
        let mut json = serde_json::to_string(self).expect("BUG: plain fields are always JSON");
        json.pop();
        json.push_str(",\"data\":");
        json.push_str(data);
        json.push('}');
        json
    }
}

impl From<StoredEvent> for Announced {
    fn from(event: StoredEvent) -> Self {
        let head = Head {
            cursor: event.cursor,
            r#type: &event.kind,
            at: event.at,
            room_id: event.room,
            extension_number: event.extension.as_deref(),
            sequence: Some(event.sequence),
        };
        let json = head.with(&event.data);
        Self { cursor: event.cursor, room: event.room, kind: event.kind, json }
    }
}

impl Announced {
    /// Says that there is nothing to be had between `after`, which a reader asked for, and the event `first`.
    pub(super) fn gap(after: i64, first: i64, at: Timestamp) -> Self {
        // Who resumes after the mark gets what follows it, and no second mark.
        let cursor = first - 1;
        let head = Head { cursor, r#type: GAP, at, room_id: None, extension_number: None, sequence: None };
        let json = head.with(&format!("{{\"after\":{after},\"first_cursor\":{first}}}"));
        Self { cursor, room: None, kind: GAP.to_owned(), json }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn wire_form_has_every_field_and_explicit_nulls() {
        let at = "2030-07-21T17:32:28.5Z".parse().unwrap();
        let mut event = StoredEvent {
            cursor: 7,
            at,
            room: Some(Id::from_raw(700_551_909_773_148_160)),
            extension: Some("9\"0".into()),
            sequence: 3,
            kind: "room.started".into(),
            data: "{\"subject\":\"x\"}".into(),
        };
        let read = |event: Announced| serde_json::from_str::<Value>(&event.json).unwrap();
        assert_eq!(
            read(event.clone().into()),
            json!({"cursor": 7, "type": "room.started", "at": "2030-07-21T17:32:28.5Z",
                "room_id": "NzAwNTUxOTA5NzczMTQ4MTYw", "extension_number": "9\"0", "sequence": 3,
                "data": {"subject": "x"}})
        );
        (event.room, event.extension) = (None, None);
        let bare = read(event.into());
        assert!(bare["room_id"].is_null() && bare["extension_number"].is_null());
        assert_eq!(bare.as_object().unwrap().len(), 7);
        let gap = Announced::gap(2, 9, at);
        assert_eq!(gap.cursor, 8);
        assert_eq!(
            read(gap),
            json!({"cursor": 8, "type": "stream.gap", "at": "2030-07-21T17:32:28.5Z", "room_id": null,
                "extension_number": null, "sequence": null, "data": {"after": 2, "first_cursor": 9}})
        );
    }
}
