//! Where the PBX and the trunks are, so that their calls are let in: their names are asked for again and again. Runs in a task of
//! its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::ingress::Stack;
use super::registration::PBX;
use crate::config::PbxConfig;
use crate::dialing::{TransportChoice, Trunk};

/// Names change within minutes, and their lookups cost nothing.
const EVERY: Duration = Duration::from_secs(120);

/// Until the stack closes.
pub(super) async fn follow(stack: Arc<Stack>, trunks: Vec<Arc<Trunk>>, pbx: Option<PbxConfig>) {
    let mut peers: Vec<(String, String, Option<u16>, TransportChoice)> =
        trunks.iter().map(|t| (t.name.clone(), t.host.clone(), t.port, t.transport)).collect();
    peers.extend(pbx.map(|pbx| (PBX.to_owned(), pbx.host, pbx.port, pbx.transport)));
    if peers.is_empty() {
        return;
    }
    let mut first = true;
    loop {
        for (name, host, port, transport) in &peers {
            match stack.leads(host, *port, *transport).await {
                Ok(leads) => stack.admission.welcome(name, leads.iter().map(|lead| lead.address.ip()).collect()),
                Err(why) if first => {
                    warn!(peer = %name, why, "a trunk has no address; calls to and from it fail for now")
                }
                Err(_) => {}
            }
        }
        first = false;
        tokio::select! {
            () = sleep(EVERY) => {}
            () = stack.closing.cancelled() => return,
        }
    }
}
