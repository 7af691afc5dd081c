//! The log: text or JSON on standard error, by a filter that can change while the server runs.

use control::config::Loaded;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::Outcome;

/// Crates that log whole messages, URLs or bodies below these levels: pressed keys, tokens and PINs are in those, so no
/// filter may let them through.
const CAPPED: [(&str, LevelFilter); 6] = [
    ("rsipstack", LevelFilter::WARN),
    ("axum", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("tower_http", LevelFilter::INFO),
    ("sqlx", LevelFilter::INFO),
];

/// Changes the filter of the running log.
pub(crate) struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// From now on; the directives must have passed `check`.
    pub(crate) fn replace(&self, loaded: &Loaded) -> Outcome<()> {
        Ok(self.0.reload(filter(loaded)?)?)
    }
}

/// Starts the log as the settings say. Once in a process.
pub(crate) fn start(loaded: &Loaded) -> Outcome<LogFilter> {
    let (filter, handle) = reload::Layer::new(filter(loaded)?);
    let capped = filter_fn(|metadata| {
        let root = metadata.target().split("::").next().unwrap_or_default();
        CAPPED.iter().all(|(name, cap)| root != *name || metadata.level() <= cap)
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match loaded.config.log.json {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines.with_filter(capped)).try_init()?;
    Ok(LogFilter(handle))
}

/// Whether `log.filter` can be used.
pub(crate) fn check(loaded: &Loaded) -> Outcome<()> {
    filter(loaded).map(drop)
}

fn filter(loaded: &Loaded) -> Outcome<EnvFilter> {
    EnvFilter::try_new(&loaded.config.log.filter).map_err(|e| {
        let allowed = format!("filter directives such as info or info,control::sip=debug ({e})");
        loaded.fault("log.filter", &allowed).into()
    })
}
