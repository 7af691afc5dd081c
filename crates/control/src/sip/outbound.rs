//! Where a request of our own goes: the flow and address of a dialog's next hop. Resolves names and opens connections, so
//! it may take seconds; runs in the call's task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rsipstack::transport::SipAddr;
use tokio::time::timeout;
use tracing::info;

use super::address::Transport;
use super::dialog::{self, Hop};
use super::flow::{Flow, canonical};
use super::ingress::Stack;
use super::tcp;

/// Longest wait for a name.
const RESOLVE_TIME: Duration = Duration::from_secs(3);

/// The way to `hop`, beginning from the flow that the far end last used. `None` when it cannot be reached.
pub(super) async fn route(stack: &Arc<Stack>, flow: &Flow, hop: &Hop) -> Option<(Flow, SipAddr)> {
    if flow.transport != Transport::Udp && flow.is_open() {
        return Some((flow.clone(), flow.stack_address(flow.peer)));
    }
    let (host, port) = dialog::host_port(&hop.uri);
    let address = match resolve(&host, port, flow.peer).await {
        Some(address) => choose(address, flow.peer, hop.direct),
        None if hop.direct => flow.peer,
        None => {
            info!(?host, "SIP next hop cannot be resolved");
            return None;
        }
    };
    match flow.transport {
        Transport::Udp => {
            let flow = stack.udp.as_ref()?.flow(address);
            let to = flow.stack_address(address);
            Some((flow, to))
        }
        Transport::Tcp => match tcp::connect(stack, address).await {
            Ok(flow) => {
                let to = flow.stack_address(address);
                Some((flow, to))
            }
            Err(error) => {
                info!(%error, %address, "SIP next hop cannot be reached");
                None
            }
        },
        // A browser has no other address than its connection (RFC 7118 §5).
        Transport::Ws | Transport::Wss => {
            info!(peer = %flow.peer, "the WebSocket of a call is closed");
            None
        }
    }
}

/// A Contact with another address than its sender's, without a proxy between, is what a phone behind NAT calls itself:
/// it is reached where its requests come from.
fn choose(contact: SocketAddr, source: SocketAddr, direct: bool) -> SocketAddr {
    if direct && contact.ip() != source.ip() { source } else { contact }
}

/// An address of the family that the flow has.
async fn resolve(host: &str, port: u16, peer: SocketAddr) -> Option<SocketAddr> {
    if let Ok(ip) = host.parse() {
        return Some(canonical(SocketAddr::new(ip, port)));
    }
    let found = timeout(RESOLVE_TIME, tokio::net::lookup_host((host, port))).await.ok()?.ok()?;
    found.map(canonical).find(|a| a.is_ipv4() == peer.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_behind_nat_is_reached_where_it_sends_from() {
        let source: SocketAddr = "203.0.113.5:31000".parse().unwrap();
        let private: SocketAddr = "192.168.1.10:5060".parse().unwrap();
        assert_eq!(choose(private, source, true), source);
        assert_eq!(choose(private, source, false), private);
        let other_port: SocketAddr = "203.0.113.5:5060".parse().unwrap();
        assert_eq!(choose(other_port, source, true), other_port);
    }
}
