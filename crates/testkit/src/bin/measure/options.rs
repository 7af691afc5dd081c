//! The command line, and the server that each command starts.

use std::collections::HashMap;
use std::path::PathBuf;
use testkit::sdp::Codec;
use testkit::server::{Server, Setup};

/// Figures of one command, each an object of its own.
pub(crate) type Figures = Result<Vec<serde_json::Value>, String>;

/// `--name value` pairs.
pub(crate) struct Options(HashMap<String, String>);

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut all = HashMap::new();
        while let Some(name) = arguments.next() {
            let key = name.strip_prefix("--").ok_or_else(|| format!("{name}: not an option"))?;
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            all.insert(key.to_owned(), value);
        }
        Ok(Self(all))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("--{name} is missing"))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} {text}: not a number")),
        }
    }

    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>, String> {
        Ok(self.text(name)?.split(',').map(str::to_owned).collect())
    }

    pub(crate) fn codec(&self) -> Result<Codec, String> {
        match self.text("codec")? {
            "pcmu" => Ok(Codec::Pcmu),
            "pcma" => Ok(Codec::Pcma),
            "opus" => Ok(Codec::Opus),
            other => Err(format!("--codec {other}: pcmu, pcma or opus")),
        }
    }

    /// A server of the binary with room for so many legs.
    pub(crate) fn server(&self, legs: u16, env: &[(&str, &str)]) -> Result<Server, String> {
        let mut setup = Setup::new(PathBuf::from(self.text("binary")?)).legs(legs);
        setup.workers = self.number("workers", 0)?;
        for (key, value) in env {
            setup = setup.env(key, value);
        }
        Ok(setup.start())
    }
}

/// The value below which this share of the sorted values lies; NaN when there are none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Sorts and gives the middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}
