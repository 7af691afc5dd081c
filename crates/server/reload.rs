//! SIGHUP: reads all settings again, takes over those that may change while calls run, and names those that may not; and
//! reads the API's certificate anew.

use control::api::Certificates;
use control::config::{Loaded, Sources};

use crate::logs::{self, LogFilter};

/// What is needed to read the settings again.
pub(crate) struct Reload {
    sources: Sources,
    present: Loaded,
    log_filter: LogFilter,
    certificates: Option<Certificates>,
}

impl Reload {
    /// `present` is what the server runs with.
    pub(crate) fn new(
        sources: Sources,
        present: Loaded,
        log_filter: LogFilter,
        certificates: Option<Certificates>,
    ) -> Self {
        Self { sources, present, log_filter, certificates }
    }

    /// All or nothing: settings with an error change nothing. The environment is the one the process was started with.
    pub(crate) fn apply(&mut self) {
        // Their files are no settings: they are taken over even when the settings are not.
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
        let newer = match Loaded::read(&self.sources) {
            Ok(newer) => newer,
            Err(e) => return tracing::error!("SIGHUP: nothing changed: {e}"),
        };
        if let Err(e) = logs::check(&newer).and_then(|()| self.log_filter.replace(&newer)) {
            return tracing::error!("SIGHUP: nothing changed: {e}");
        }
        let changes = self.present.changes(&newer);
        self.present.config.live.replace(newer.config.live.limits().as_ref().clone());
        for key in &changes.live {
            // Keys that need a restart stay as they are, so that the next reload names them again.
            if let Some(setting) = newer.settings.get(key) {
                tracing::info!("SIGHUP: {key} = {} ({})", setting.shown(key), setting.source);
                self.present.settings.insert(key.clone(), setting.clone());
            }
        }
        for key in &changes.restart {
            tracing::warn!("SIGHUP: {key} differs from what runs, and needs a restart");
        }
        if changes.live.is_empty() && changes.restart.is_empty() {
            tracing::info!("SIGHUP: no setting changed");
        }
    }
}
