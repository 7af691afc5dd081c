//! `conclave token`: API tokens, on the database file, so that it works while the server runs and when it does not.

use std::io::Write;
use std::time::Duration;

use control::config::Loaded;
use control::tokens::{self, Role};

use crate::Outcome;
use crate::cli::{RoleName, TokenAction, TokenFlags};

/// Runs the action and prints its outcome.
pub(crate) fn run(flags: &TokenFlags) -> Outcome<()> {
    let config = Loaded::read(&flags.sources())?.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = std::io::stdout().lock();
    match &flags.action {
        TokenAction::Create { name, role, ttl } => {
            let token = runtime.block_on(tokens::create(&config, name, (*role).into(), *ttl))?;
            writeln!(out, "{token}")?;
        }
        TokenAction::List => {
            for token in runtime.block_on(tokens::list(&config))? {
                writeln!(out, "{token}")?;
            }
        }
        TokenAction::Revoke { id } => runtime.block_on(tokens::revoke(&config, id))?,
    }
    Ok(out.flush()?)
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Operator => Self::Operator,
            RoleName::Viewer => Self::Viewer,
        }
    }
}

/// `90d`, `12h`, `30m`, `45s`.
pub(crate) fn parse_ttl(text: &str) -> Result<Duration, String> {
    let parse = || {
        let number = text.get(..text.len().checked_sub(1)?)?;
        let unit_s = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        // A century is more than any token needs and keeps every sum with a date in range.
        let seconds =
            number.parse::<u64>().ok()?.checked_mul(unit_s).filter(|s| (1..=100 * 365 * 86_400).contains(s))?;
        Some(Duration::from_secs(seconds))
    };
    parse().ok_or_else(|| "must be a whole number and a unit, such as 90d, 12h, 30m or 45s".into())
}
