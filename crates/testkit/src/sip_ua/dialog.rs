//! What a user agent knows of one dialog, and how it answers the server's requests in it.

use super::Shared;
use super::strict;
use crate::sip_message::{Message, StartLine, param};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Body type of RFC 5168.
pub(super) const MEDIA_CONTROL: &str = "application/media_control+xml";

/// One call's dialog (RFC 3261 §12), from its INVITE on.
#[derive(Debug, Clone)]
pub(super) struct Dialog {
    pub(super) call_id: String,
    pub(super) local_tag: String,
    pub(super) remote_tag: Option<String>,
    pub(super) request_uri: String,
    /// The server's Contact, once it said one.
    pub(super) remote_target: Option<String>,
    pub(super) local_cseq: u32,
    pub(super) remote_cseq: Option<u32>,
    /// What we said last, for a server's re-INVITE.
    pub(super) local_sdp: String,
    /// ACKs by the CSeq number of their INVITE, for repeated 2xx.
    pub(super) acks: Vec<(u32, Vec<u8>)>,
    /// The BYE that the server sent.
    pub(super) bye: Option<(Instant, Message)>,
    /// 2xx of an INVITE without an offer: the caller sends the ACK itself.
    pub(super) offerless: Vec<u32>,
    /// How often the server asked for a keyframe by INFO.
    pub(super) picture_updates: Arc<AtomicU64>,
}

impl Dialog {
    /// A request in the dialog with its headers (RFC 3261 §12.2.1.1); ACK and CANCEL carry the INVITE's CSeq number.
    pub(super) fn request(&mut self, shared: &Shared, method: &str, cseq: Option<u32>) -> Message {
        let number = cseq.unwrap_or_else(|| {
            self.local_cseq += 1;
            self.local_cseq
        });
        let to_tag = self.remote_tag.as_ref().map_or(String::new(), |t| format!(";tag={t}"));
        Message::request(method, self.remote_target.as_deref().unwrap_or(&self.request_uri))
            .with("Via", &shared.via())
            .with("Max-Forwards", "70")
            .with("From", &format!("<{}>;tag={}", shared.own_uri(), self.local_tag))
            .with("To", &format!("<{}>{to_tag}", self.request_uri))
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{number} {method}"))
            .with("Contact", &shared.contact())
            .with("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO")
            .with("User-Agent", "testkit")
    }
}

impl Shared {
    /// A response: to its transaction; ACK for final responses to INVITE.
    pub(super) fn take_response(&self, at: Instant, message: Message) {
        let mut state = self.lock();
        let branch = message.branch().unwrap_or("").to_owned();
        let Some(index) =
            state.transactions.iter().position(|t| t.branch() == branch && t.request.method() == message.method())
        else {
            state.violations.push(format!("response to nothing: {:?} {:?}", message.start, message.header("Via")));
            return;
        };
        let request = state.transactions[index].request.clone();
        let wrong = strict::response(&request, &message, self.server, self.wire.transport());
        state.violations.extend(wrong);
        let code = message.code();
        let is_repeated = code >= 200 && state.transactions[index].final_response().is_some();
        state.repeated_finals += u64::from(is_repeated);
        state.transactions[index].responses.push((at, message.clone()));

        let Some((number, "INVITE")) = message.cseq() else { return };
        let call_id = message.header("Call-ID").unwrap_or("").to_owned();
        let Some(mut dialog) = state.dialogs.iter().find(|d| d.call_id == call_id).cloned() else { return };
        let tag = message.header("To").and_then(|to| param(to, "tag")).map(str::to_owned);
        if let (Some(had), Some(has)) = (&dialog.remote_tag, &tag) {
            // Before the final response another branch of a fork could answer; our server does not fork.
            if had != has {
                state.violations.push(format!("To tag changed from {had} to {has}"));
            }
        }
        let mut ack = None;
        if (200..300).contains(&code) {
            dialog.remote_tag = tag;
            dialog.remote_target = message.header("Contact").map(|c| crate::sip_message::uri_of(c).to_owned());
            match dialog.acks.iter().find(|(n, _)| *n == number) {
                Some((_, bytes)) => ack = Some(bytes.clone()),
                None if dialog.offerless.contains(&number) => {}
                None => {
                    let bytes = dialog.request(self, "ACK", Some(number)).to_bytes();
                    dialog.acks.push((number, bytes.clone()));
                    ack = Some(bytes);
                }
            }
        } else if code >= 300 {
            // The transaction's ACK: Via and Request-URI of the INVITE (RFC 3261 §17.1.1.3).
            let StartLine::Request { uri, .. } = &request.start else { return };
            let mut bytes = Message::request("ACK", uri);
            for name in ["Via", "Max-Forwards", "From", "Call-ID"] {
                bytes.add(name, request.header(name).unwrap_or(""));
            }
            bytes.add("To", message.header("To").unwrap_or(""));
            bytes.add("CSeq", &format!("{number} ACK"));
            ack = Some(bytes.to_bytes());
        }
        if let Some(kept) = state.dialogs.iter_mut().find(|d| d.call_id == call_id) {
            *kept = dialog;
        }
        // Before anybody sees the response: what a test sends next must not overtake its ACK.
        if let Some(bytes) = ack {
            self.wire.send(&bytes, self.server);
        }
        drop(state);
    }

    /// A request of the server: answered at once.
    pub(super) fn take_request(&self, message: Message) {
        let mut state = self.lock();
        let wrong = strict::request(&message);
        state.violations.extend(wrong);
        state.requests.push(message.clone());
        let call_id = message.header("Call-ID").unwrap_or("");
        let method = message.method().to_owned();
        let to_tag = message.header("To").and_then(|to| param(to, "tag")).unwrap_or("");
        let from_tag = message.header("From").and_then(|from| param(from, "tag"));
        let found = state.dialogs.iter().position(|d| d.call_id == call_id && d.local_tag == to_tag);
        let answer = match (method.as_str(), found) {
            ("ACK", _) => None,
            ("OPTIONS", _) => Some(Message::response(&message, 200, "OK", "opt").with("Allow", "INVITE, ACK, BYE")),
            (_, None) => Some(Message::response(&message, 481, "No such dialog", "none")),
            (_, Some(index)) => {
                let mut wrong = Vec::new();
                let number = message.cseq().map_or(0, |c| c.0);
                let dialog = &mut state.dialogs[index];
                let is_again = method == "BYE" && dialog.bye.is_some();
                if dialog.remote_cseq.is_some_and(|last| number <= last) && !is_again {
                    wrong.push(format!("{method} has CSeq {number} after {:?}", dialog.remote_cseq));
                }
                dialog.remote_cseq = Some(number);
                if from_tag != dialog.remote_tag.as_deref() {
                    wrong.push(format!("{method} has From tag {from_tag:?} in the dialog of {:?}", dialog.remote_tag));
                }
                if let StartLine::Request { uri, .. } = &message.start
                    && crate::sip_message::host_port(uri)
                        != crate::sip_message::host_port(crate::sip_message::uri_of(&self.contact()))
                {
                    wrong.push(format!("{method} goes to {uri} and not to the Contact {}", self.contact()));
                }
                let ok = Message::response(&message, 200, "OK", &dialog.local_tag).with("Contact", &self.contact());
                let answer = match method.as_str() {
                    "BYE" => {
                        if !is_again {
                            dialog.bye = Some((Instant::now(), message.clone()));
                        }
                        ok
                    }
                    "INVITE" => ok.with_body("application/sdp", &dialog.local_sdp),
                    "INFO" if message.header("Content-Type") == Some(MEDIA_CONTROL) => {
                        if message.text().contains("<picture_fast_update") {
                            dialog.picture_updates.fetch_add(1, Ordering::Relaxed);
                        } else {
                            wrong.push(format!("INFO with media control {:?}", message.text()));
                        }
                        ok
                    }
                    "UPDATE" | "INFO" => ok,
                    _ => Message::response(&message, 405, "Method Not Allowed", ""),
                };
                state.violations.extend(wrong);
                Some(answer)
            }
        };
        drop(state);
        if let Some(answer) = answer {
            self.wire.send(&answer.to_bytes(), self.server);
        }
    }

    /// The server's BYE.
    pub(super) fn wait_bye(&self, call_id: &str, timeout: Duration) -> Option<(Instant, Message)> {
        self.wait(timeout, |state| state.dialogs.iter().find(|d| d.call_id == call_id)?.bye.clone())
    }
}
