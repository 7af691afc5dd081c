//! One INVITE that the provider took, and the dialog that came of it.

use super::T1;
use super::wire::{Peer, Wire};
use crate::sip_message::{Message, host_port, param, uri_of, uri_param};
use crate::sip_ua::Transport;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Provisional,
    /// A final response is out and wants its ACK.
    Accepted,
    Refused,
    Confirmed,
    Ended,
}

#[derive(Debug)]
pub(super) struct Dialog {
    pub(super) branch: String,
    pub(super) call_id: String,
    pub(super) local_tag: String,
    pub(super) invite: Message,
    /// The last response, for a retransmitted INVITE.
    pub(super) last: Option<Vec<u8>>,
    /// Sent instead of 487.
    pub(super) on_cancel: Option<Message>,
    peer: Peer,
    stage: Stage,
    again_at: Option<Instant>,
    /// ACKs that are taken for lost.
    deaf: u32,
    local_cseq: u32,
    remote_cseq: u32,
    sdp: String,
}

impl Dialog {
    pub(super) fn new(invite: &Message, peer: Peer, local_tag: String) -> Self {
        Self {
            branch: invite.branch().unwrap_or("").to_owned(),
            call_id: invite.header("Call-ID").unwrap_or("").to_owned(),
            local_tag,
            invite: invite.clone(),
            last: None,
            on_cancel: None,
            peer,
            stage: Stage::Provisional,
            again_at: None,
            deaf: 0,
            local_cseq: 100,
            remote_cseq: invite.cseq().map_or(0, |c| c.0),
            sdp: String::new(),
        }
    }

    pub(super) fn contact(&self, ours: std::net::SocketAddr) -> String {
        match self.peer.transport() {
            Transport::Udp => format!("<sip:callee@{ours}>"),
            Transport::Tcp | Transport::Ws => format!("<sip:callee@{ours};transport=tcp>"),
        }
    }

    pub(super) fn is_provisional(&self) -> bool {
        self.stage == Stage::Provisional
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.stage == Stage::Confirmed
    }

    pub(super) fn provisional(&mut self, response: Message) -> Vec<u8> {
        let bytes = response.to_bytes();
        self.last = Some(bytes.clone());
        bytes
    }

    pub(super) fn accept(&mut self, response: Message, deaf: u32) -> Vec<u8> {
        self.sdp = response.text();
        self.deaf = deaf;
        self.last_word(response, Stage::Accepted)
    }

    pub(super) fn refuse(&mut self, response: Message) -> Vec<u8> {
        if let Some(tag) = response.header("To").and_then(|to| param(to, "tag")) {
            self.local_tag = tag.to_owned();
        }
        self.last_word(response, Stage::Refused)
    }

    fn last_word(&mut self, response: Message, stage: Stage) -> Vec<u8> {
        let bytes = response.to_bytes();
        self.last = Some(bytes.clone());
        self.stage = stage;
        self.again_at = Some(Instant::now() + T1);
        bytes
    }

    /// What is to be sent again.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Vec<u8>, Peer)> {
        let waits = matches!(self.stage, Stage::Accepted)
            || (self.stage == Stage::Refused && self.peer.transport() == Transport::Udp);
        if !waits || self.again_at.is_none_or(|at| now < at) {
            return None;
        }
        self.again_at = Some(now + T1);
        Some((self.last.clone()?, self.peer.clone()))
    }

    pub(super) fn acknowledged(&mut self, ack: &Message) -> Vec<String> {
        let mut wrong = Vec::new();
        let cseq = ack.cseq().map(|c| c.0);
        let first = self.invite.cseq().map(|c| c.0);
        match self.stage {
            Stage::Refused => {
                if ack.branch() != Some(self.branch.as_str()) {
                    wrong.push(format!("ACK of a refusal has branch {:?}, not the INVITE's", ack.branch()));
                }
                self.stage = Stage::Ended;
            }
            Stage::Accepted => {
                if self.deaf > 0 {
                    self.deaf -= 1;
                    return wrong;
                }
                if cseq != first {
                    wrong.push(format!("ACK has CSeq {cseq:?} for the INVITE {first:?}"));
                }
                if !self.branch.is_empty() && ack.branch() == Some(self.branch.as_str()) {
                    wrong.push("ACK of a 2xx has the INVITE's branch (RFC 3261 §13.2.2.4)".to_owned());
                }
                for name in ["Authorization", "Proxy-Authorization"] {
                    if ack.header(name) != self.invite.header(name) {
                        wrong.push(format!("ACK has {name} {:?}", ack.header(name)));
                    }
                }
                self.stage = Stage::Confirmed;
            }
            Stage::Confirmed | Stage::Ended => {}
            Stage::Provisional => wrong.push("ACK before a final response".to_owned()),
        }
        wrong
    }

    /// A request of the server within the dialog.
    pub(super) fn within(&mut self, request: &Message) -> (Message, Vec<String>) {
        let mut wrong = Vec::new();
        let number = request.cseq().map_or(0, |c| c.0);
        if number <= self.remote_cseq {
            wrong.push(format!("{} has CSeq {number} after {}", request.method(), self.remote_cseq));
        }
        self.remote_cseq = number;
        let ours = self.peer.local();
        let uri = super::request_uri(request);
        if host_port(uri) != ours.to_string() {
            wrong.push(format!("{} goes to {uri}, not to the Contact", request.method()));
        }
        if self.stage == Stage::Ended {
            return (Message::response(request, 481, "No such call", ""), wrong);
        }
        let ok = Message::response(request, 200, "OK", &self.local_tag).with("Contact", &self.contact(ours));
        match request.method() {
            "BYE" => {
                self.stage = Stage::Ended;
                (ok, wrong)
            }
            "INVITE" => (ok.with_body("application/sdp", &self.sdp), wrong),
            _ => (ok, wrong),
        }
    }

    /// A request of ours.
    pub(super) fn request(&mut self, wire: &Wire, method: &str, body: Option<(&str, &str)>) -> (Vec<u8>, Peer) {
        self.local_cseq += 1;
        let ours = wire.address();
        let target = uri_of(self.invite.header("Contact").unwrap_or("")).to_owned();
        let name = self.peer.transport().name();
        let from = format!("{};tag={}", self.invite.header("To").unwrap_or(""), self.local_tag);
        let mut request = Message::request(method, &target)
            .with("Via", &format!("SIP/2.0/{name} {ours};branch=z9hG4bK{}x{};rport", self.local_tag, self.local_cseq))
            .with("Max-Forwards", "70")
            .with("From", &from)
            .with("To", self.invite.header("From").unwrap_or(""))
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", self.local_cseq))
            .with("Contact", &self.contact(ours));
        if let Some((kind, body)) = body {
            request = request.with_body(kind, body);
        }
        let peer = match &self.peer {
            Peer::Udp(local, _) => {
                debug_assert!(uri_param(&target, "transport").is_none_or(|t| t.eq_ignore_ascii_case("udp")));
                Peer::Udp(*local, host_port(&target).parse().expect("an address in the Contact"))
            }
            tcp => tcp.clone(),
        };
        if method == "BYE" {
            self.stage = Stage::Ended;
        }
        (request.to_bytes(), peer)
    }
}
