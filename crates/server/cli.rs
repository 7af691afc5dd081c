//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use control::config::{Flag, Sources};

/// Open conference server: phones dial a room, hear each other, and are recorded.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server until SIGTERM.
    Serve(ServeFlags),
    /// Check the settings and show each with its origin; start nothing.
    CheckConfig(ServeFlags),
    /// Make, list and revoke API tokens; works while the server runs.
    Token(TokenFlags),
    /// Make, list, change and remove users who sign in with a password; works while the server runs.
    User(UserFlags),
    /// Print the description of the API (OpenAPI 3.1), to make clients from.
    Openapi,
    /// Write rooms, servers, users, tokens and records into a new file; works while the server runs.
    Backup(BackupFlags),
    /// Put what a backup holds in the place of everything; a running server follows within seconds.
    Restore(BackupFlags),
}

/// `conclave backup FILE`, `conclave restore FILE`
#[derive(Debug, Args)]
pub(crate) struct BackupFlags {
    /// The backup: one file, the same for either database. The files of recordings are not in it.
    pub(crate) file: PathBuf,
    /// Settings file (TOML), to find the database.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data directory (data_dir).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

impl BackupFlags {
    /// With the process's environment.
    pub(crate) fn sources(&self) -> Sources {
        sources(self.config.as_ref(), self.data_dir.as_ref())
    }
}

/// Where settings are, and those that have a flag. All settings: config/conclave.toml.
#[derive(Debug, Args)]
pub(crate) struct ServeFlags {
    /// Settings file (TOML); without it the defaults hold.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database, recordings, admin token (data_dir).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address and port of the REST API (api.listen).
    #[arg(long, value_name = "ADDR")]
    api_listen: Option<String>,
    /// Address and port for SIP, UDP and TCP (sip.listen).
    #[arg(long, value_name = "ADDR")]
    sip_listen: Option<String>,
    /// IP address that Contact and SDP carry (sip.advertise).
    #[arg(long, value_name = "IP")]
    advertise: Option<String>,
    /// UDP ports for media, two for each participant (media.rtp_ports).
    #[arg(long, value_name = "LO-HI")]
    rtp_ports: Option<String>,
    /// Media threads; 0: one for each core (media.workers).
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    workers: Option<String>,
}

impl ServeFlags {
    /// With the process's environment, in the order of precedence that `Loaded::read` gives them.
    pub(crate) fn sources(&self) -> Sources {
        let given = [
            ("--data-dir", "data_dir", &self.data_dir),
            ("--api-listen", "api.listen", &self.api_listen),
            ("--sip-listen", "sip.listen", &self.sip_listen),
            ("--advertise", "sip.advertise", &self.advertise),
            ("--rtp-ports", "media.rtp_ports", &self.rtp_ports),
            ("--workers", "media.workers", &self.workers),
        ];
        let flags = given.into_iter().filter_map(|(name, key, text)| Some(Flag::new(name, key, text.as_ref()?)));
        Sources { file: self.config.clone(), env: environment(), flags: flags.collect() }
    }
}

/// `conclave token …`
#[derive(Debug, Args)]
pub(crate) struct TokenFlags {
    #[command(subcommand)]
    pub(crate) action: TokenAction,
    /// Settings file (TOML), to find the data directory.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The server's data directory (data_dir).
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
}

impl TokenFlags {
    /// With the process's environment.
    pub(crate) fn sources(&self) -> Sources {
        sources(self.config.as_ref(), self.data_dir.as_ref())
    }
}

/// For the commands that need to find the database only.
fn sources(config: Option<&PathBuf>, data_dir: Option<&String>) -> Sources {
    let flags = data_dir.into_iter().map(|dir| Flag::new("--data-dir", "data_dir", dir)).collect();
    Sources { file: config.cloned(), env: environment(), flags }
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token and print it, once; only its hash is kept.
    Create {
        /// What or whom it is for, to tell it from others.
        name: String,
        /// What it may do: admin all, operator rooms, participants and recordings, viewer GET only.
        #[arg(long, value_enum, default_value_t = RoleName::Operator)]
        role: RoleName,
        /// How long it works, such as 90d, 12h, 30m or 45s; without it, until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = crate::token::parse_ttl)]
        ttl: Option<std::time::Duration>,
    },
    /// List tokens: id, role, expiry, name. The tokens themselves are not known to the server.
    List,
    /// Make a token worthless at once.
    Revoke {
        /// As `list` shows it.
        id: String,
    },
}

/// `conclave user …`
#[derive(Debug, Args)]
pub(crate) struct UserFlags {
    #[command(subcommand)]
    pub(crate) action: UserAction,
    /// Settings file (TOML), to find the data directory.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The server's data directory (data_dir).
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
}

impl UserFlags {
    /// With the process's environment.
    pub(crate) fn sources(&self) -> Sources {
        sources(self.config.as_ref(), self.data_dir.as_ref())
    }
}

/// What to do with users. A password is asked for at a terminal, and otherwise the first line of standard input.
#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// Make a user, with a password from the terminal or the first line of standard input.
    Add {
        /// Unique.
        name: String,
        /// What the user may do: admin all, operator rooms, participants and recordings, viewer GET only.
        #[arg(long, value_enum, default_value_t = RoleName::Operator)]
        role: RoleName,
    },
    /// List users: role, who keeps them, last change, name.
    List,
    /// Give a user another password; whoever is signed in as that user is signed out.
    Password {
        /// As `list` shows it.
        name: String,
    },
    /// Remove a user; whoever is signed in as that user is signed out.
    Remove {
        /// As `list` shows it.
        name: String,
    },
    /// Print the hash of a password, for auth.users in the settings file.
    Hash,
}

/// A role as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    Admin,
    Operator,
    Viewer,
}

/// Variables that are not Unicode cannot be ours: keys and values are text.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.to_string_lossy().into_owned()))).collect()
}
