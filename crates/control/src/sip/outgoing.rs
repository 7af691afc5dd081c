//! Calls that we make: from a route of the dial plan to an answered `Call`, or to one precise reason why not. A task of its own
//! drives each, so that giving up and answering may cross; whoever called only hears of progress. Knows no room; SDP is text.

mod driver;
mod target;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::address::Reachable;
use super::call::Call;
use super::ingress::Stack;
use super::names::Lead;
use crate::dialing::CallFailure;
use driver::Driver;
pub(super) use target::{CallerId, Target, escaped};

/// Progress that waits for whoever called; provisional news beyond it is left out, as the final one makes it old.
const PROGRESS: usize = 8;

/// What happens to a call that we make.
#[derive(Debug)]
pub(super) enum Progress {
    /// It rings there: 180 to 183 without SDP. Told once.
    Ringing,
    /// The far end sends sound already: 183 or another provisional response with this SDP, an answer to our offer. Comes
    /// again when it changes. `Answered` carries the answer that counts.
    EarlyMedia(String),
    /// Answered, and acknowledged: the dialog, and the SDP that answers our offer.
    Answered(Box<Call>, String),
    /// Over. Nothing comes after it, as nothing does after `Answered`.
    Failed(CallFailure),
}

/// Where a call will go, found before it is made, as the offer holds our address towards it.
#[derive(Debug)]
pub(super) struct Way {
    leads: Vec<Lead>,
    /// Our address towards the far end.
    pub(super) reachable: Reachable,
}

impl Way {
    /// Resolves the target's name; takes seconds at most.
    ///
    /// # Errors
    /// `Unreachable`, when it has no address that we can send to.
    pub(super) async fn find(stack: &Stack, target: &Target) -> Result<Self, CallFailure> {
        let found = stack.leads(&target.host, target.port, target.transport).await;
        let mut leads = found.map_err(CallFailure::Unreachable)?;
        let Some(first) = leads.first().copied() else {
            return Err(CallFailure::Unreachable(format!("{} has no address", target.host)));
        };
        // One offer serves all tries, so they are of one family.
        leads.retain(|lead| lead.address.is_ipv4() == first.address.is_ipv4());
        Ok(Self { leads, reachable: stack.reachable_from(first.address, first.transport) })
    }

    /// One more address, after the others.
    #[cfg(test)]
    pub(super) fn and_then_try(&mut self, address: std::net::SocketAddr) {
        let transport = self.leads.first().map_or(super::address::Transport::Udp, |lead| lead.transport);
        self.leads.push(Lead { address, transport });
    }
}

impl Way {
    /// Where media may come from: the address that the INVITE is sent to.
    pub(super) fn far_end(&self) -> std::net::IpAddr {
        self.leads.first().map_or(self.reachable.local, |lead| lead.address.ip())
    }
}

/// A call on its way. Dropped, it is given up as by `cancel`.
#[derive(Debug)]
pub(super) struct Dialling {
    call_id: String,
    progress: mpsc::Receiver<Progress>,
    given_up: CancellationToken,
    over: bool,
}

/// Sends an INVITE with this offer. `way` is the target's.
pub(super) fn dial(stack: &Arc<Stack>, target: Target, way: Way, offer: String) -> Dialling {
    let (sender, progress) = mpsc::channel(PROGRESS);
    let given_up = CancellationToken::new();
    let driver = Driver::new(Arc::clone(stack), target, way, offer, sender, given_up.clone());
    let call_id = driver.call_id().to_owned();
    let stack = Arc::clone(stack);
    let running = tokio::spawn(driver.run());
    tokio::spawn(async move {
        if running.await.is_err_and(|error| error.is_panic()) {
            stack.metrics.panicked();
        }
    });
    Dialling { call_id, progress, given_up, over: false }
}

impl Dialling {
    /// SIP Call-ID, for logs.
    pub(super) fn call_id(&self) -> &str {
        &self.call_id
    }

    /// What happens next. Cancel-safe. Waits for ever after `Answered` and `Failed`.
    pub(super) async fn next(&mut self) -> Progress {
        if self.over {
            std::future::pending::<()>().await;
        }
        let next = self.progress.recv().await;
        let progress =
            next.unwrap_or_else(|| Progress::Failed(CallFailure::Broken("the call's task ended".to_owned())));
        self.over = matches!(progress, Progress::Answered(..) | Progress::Failed(_));
        progress
    }

    /// Gives the call up: CANCEL after the first provisional response, ACK and BYE if it is answered all the same. That goes
    /// on in the background; nobody needs to wait.
    pub(super) fn cancel(self) {
        // Dropping does it.
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.given_up.cancel();
        self.progress.close();
        // Answered, and nobody has taken it.
        while let Ok(progress) = self.progress.try_recv() {
            if let Progress::Answered(call, _) = progress
                && let Ok(runtime) = tokio::runtime::Handle::try_current()
            {
                runtime.spawn(call.hang_up(200, "given up", "given_up"));
            }
        }
    }
}
