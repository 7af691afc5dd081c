//! The provider as a registrar (RFC 3261 §10.3).

use super::wire::Peer;
use crate::sip_message::{Message, param, uri_of};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Who is registered, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// URI of the To header.
    pub address_of_record: String,
    /// URI of the Contact.
    pub contact: String,
    /// Given, in seconds.
    pub expires_s: u32,
    /// REGISTERs of this binding that were taken.
    pub refreshed: u32,
}

#[derive(Debug)]
pub(super) struct Registrar {
    pub(super) least_s: u32,
    pub(super) most_s: u32,
    pub(super) refusal: u16,
    bindings: HashMap<String, (Binding, Instant)>,
}

impl Default for Registrar {
    fn default() -> Self {
        Self { least_s: 1, most_s: 3600, refusal: 0, bindings: HashMap::new() }
    }
}

impl Registrar {
    pub(super) fn bindings(&self) -> Vec<Binding> {
        let now = Instant::now();
        let mut all: Vec<Binding> =
            self.bindings.values().filter(|(_, until)| *until > now).map(|(binding, _)| binding.clone()).collect();
        all.sort_by(|a, b| a.address_of_record.cmp(&b.address_of_record));
        all
    }

    pub(super) fn answer(&mut self, request: &Message, _peer: &Peer) -> Message {
        if self.refusal != 0 {
            return Message::response(request, self.refusal, "No", "reg");
        }
        let address_of_record = uri_of(request.header("To").unwrap_or("")).to_owned();
        let contact = request.header("Contact").unwrap_or("");
        let asked = param(contact, "expires").or_else(|| request.header("Expires")).and_then(|e| e.parse::<u32>().ok());
        let asked = asked.unwrap_or(3600);
        if asked == 0 {
            self.bindings.remove(&address_of_record);
            return Message::response(request, 200, "OK", "reg");
        }
        if asked < self.least_s {
            return Message::response(request, 423, "Interval Too Brief", "reg")
                .with("Min-Expires", &self.least_s.to_string());
        }
        let expires_s = asked.min(self.most_s);
        let refreshed = self.bindings.get(&address_of_record).map_or(0, |(binding, _)| binding.refreshed) + 1;
        let uri = uri_of(contact).to_owned();
        let ok = Message::response(request, 200, "OK", "reg").with("Contact", &format!("<{uri}>;expires={expires_s}"));
        let binding = Binding { address_of_record: address_of_record.clone(), contact: uri, expires_s, refreshed };
        let until = Instant::now() + Duration::from_secs(u64::from(expires_s));
        self.bindings.insert(address_of_record, (binding, until));
        ok
    }
}
