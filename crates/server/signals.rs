//! Signals: the first SIGTERM or SIGINT drains, the second ends the process, SIGHUP reloads.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Outcome;
use crate::reload::Reload;

/// The signals we answer. Listening begins here, so that none is lost, and SIGHUP ends nothing, while the server starts.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Call inside the runtime, before anything serves.
    pub(crate) fn listen() -> Outcome<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves at the first signal that stops; from then on a second one ends the process without ceremony. Reloads on
    /// SIGHUP until then.
    pub(crate) async fn shutdown(mut self, mut reload: Reload) {
        let name = loop {
            tokio::select! {
                name = stop(&mut self.terminate, &mut self.interrupt) => break name,
                // Reads a file of a few kilobytes, seldom: not worth a thread of its own.
                Some(()) = self.hangup.recv() => tokio::task::block_in_place(|| reload.apply()),
            }
        };
        tracing::info!("{name}: draining, no new calls; a second signal ends at once");
        tokio::spawn(async move {
            let name = stop(&mut self.terminate, &mut self.interrupt).await;
            tracing::warn!("{name} again: ending at once");
            std::process::exit(1);
        });
    }
}

async fn stop(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
