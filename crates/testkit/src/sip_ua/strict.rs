//! What RFC 3261 asks of a server's messages. Each finding is one sentence. Pure.

use super::Transport;
use crate::sip_message::{Message, StartLine, host_port, param, uri_of, uri_param};
use std::net::SocketAddr;

/// Findings in a response to `request`.
pub(super) fn response(request: &Message, response: &Message, server: SocketAddr, transport: Transport) -> Vec<String> {
    let mut wrong = Vec::new();
    let what = format!("{} to {}", response.code(), request.method());
    for name in ["From", "Call-ID", "CSeq"] {
        if response.header(name) != request.header(name) {
            wrong.push(format!("{what}: {name} is {:?} and was {:?}", response.header(name), request.header(name)));
        }
    }
    if response.headers.iter().filter(|(n, _)| n == "Via").count() != 1 {
        wrong.push(format!("{what}: not exactly one Via"));
    }
    let via = response.header("Via").unwrap_or("");
    if param(via, "rport").is_some_and(|p| p.parse::<u16>().is_err()) {
        wrong.push(format!("{what}: rport has no value (RFC 3581 §4): {via}"));
    }
    let to_tag = response.header("To").and_then(|to| param(to, "tag"));
    if response.code() > 100 && to_tag.is_none_or(str::is_empty) {
        wrong.push(format!("{what}: To has no tag"));
    }
    let asked_tag = request.header("To").and_then(|to| param(to, "tag"));
    if asked_tag.is_some() && asked_tag != to_tag {
        wrong.push(format!("{what}: To tag {to_tag:?} in the dialog of {asked_tag:?}"));
    }
    if transport == Transport::Tcp && response.header("Content-Length").is_none() {
        wrong.push(format!("{what}: no Content-Length"));
    }
    if !response.body.is_empty() && response.header("Content-Type").is_none() {
        wrong.push(format!("{what}: a body without Content-Type"));
    }
    let is_success = (200..300).contains(&response.code());
    if is_success && request.method() == "INVITE" {
        wrong.extend(contact(&what, response, server, transport));
        if response.header("Content-Type") != Some("application/sdp") {
            wrong.push(format!("{what}: Content-Type {:?}", response.header("Content-Type")));
        }
    }
    if is_success && request.method() == "OPTIONS" && response.header("Allow").is_none() {
        wrong.push(format!("{what}: no Allow (RFC 3261 §11.2)"));
    }
    wrong
}

/// The Contact of a dialog names the server's own address with the dialog's transport.
fn contact(what: &str, response: &Message, server: SocketAddr, transport: Transport) -> Vec<String> {
    let Some(contact) = response.header("Contact") else {
        return vec![format!("{what}: no Contact")];
    };
    let uri = uri_of(contact);
    let mut wrong = Vec::new();
    let said = uri_param(uri, "transport").map(str::to_ascii_lowercase);
    let is_right = match transport {
        Transport::Udp => said.as_deref().is_none_or(|t| t == "udp"),
        Transport::Tcp => said.as_deref() == Some("tcp"),
        Transport::Ws => said.as_deref() == Some("ws"),
    };
    if !is_right {
        wrong.push(format!("{what}: Contact {contact} over {}", transport.name()));
    }
    // What goes over a WebSocket goes nowhere else, whatever host is named.
    if transport != Transport::Ws && host_port(uri) != server.to_string() {
        wrong.push(format!("{what}: Contact {contact} is not the server's {server}"));
    }
    wrong
}

/// Findings in a request of the server.
pub(crate) fn request(request: &Message) -> Vec<String> {
    let StartLine::Request { method, .. } = &request.start else { return Vec::new() };
    let mut wrong = Vec::new();
    for name in ["Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards"] {
        if request.header(name).is_none() {
            wrong.push(format!("{method}: no {name}"));
        }
    }
    if !request.branch().is_some_and(|b| b.starts_with("z9hG4bK") && b.len() > 7) {
        wrong.push(format!("{method}: Via branch {:?}", request.branch()));
    }
    if request.cseq().is_none_or(|(_, m)| m != method) {
        wrong.push(format!("{method}: CSeq {:?}", request.header("CSeq")));
    }
    if request.header("From").and_then(|f| param(f, "tag")).is_none() {
        wrong.push(format!("{method}: From has no tag"));
    }
    wrong
}
