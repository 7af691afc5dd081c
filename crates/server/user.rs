//! `conclave user`: users who sign in with a password, on the database itself, so that it works while the server runs and
//! when it does not. A password is typed or piped in, never an argument: those are everyone's to read.

use std::io::{BufRead, IsTerminal, Read, Write};

use control::config::Loaded;
use control::users;

use crate::Outcome;
use crate::cli::{UserAction, UserFlags};

/// No line of a password is longer, in bytes.
const MAX_LINE: u64 = 8192;

/// Runs the action and prints its outcome.
pub(crate) fn run(flags: &UserFlags) -> Outcome<()> {
    let config = Loaded::read(&flags.sources())?.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = std::io::stdout().lock();
    match &flags.action {
        UserAction::Add { name, role } => {
            runtime.block_on(users::add(&config, name, (*role).into(), &password()?))?;
        }
        UserAction::List => {
            for user in runtime.block_on(users::list(&config))? {
                writeln!(out, "{user}")?;
            }
        }
        UserAction::Password { name } => runtime.block_on(users::set_password(&config, name, &password()?))?,
        UserAction::Remove { name } => runtime.block_on(users::remove(&config, name))?,
        UserAction::Hash => writeln!(out, "{}", users::hash(&password()?)?)?,
    }
    Ok(out.flush()?)
}

/// Typed twice without echo at a terminal; otherwise the first line of standard input.
fn password() -> Outcome<String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Once more: ")? != password {
            return Err("the two passwords differ".into());
        }
        return Ok(password);
    }
    let mut line = String::new();
    let read = input.lock().take(MAX_LINE).read_line(&mut line);
    read.map_err(|e| format!("the password cannot be read from standard input: {e}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
