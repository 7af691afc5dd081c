//! The server binary: reads the settings, takes the data directory, starts the media engine, serves, and waits for a
//! signal. Knows what control and media offer, and nothing of how they do it.

mod backup;
mod banner;
mod cli;
mod data_dir;
mod limits;
mod logs;
mod reload;
mod signals;
mod token;
mod user;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use control::api::Certificates;
use control::config::Loaded;
use media::{Engine, EngineConfig, WebConfig};

use cli::{Cli, Command, ServeFlags};
use data_dir::DataDir;
use reload::Reload;

/// What stops a command: one line for the person who gave it.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long blocking work (a database file being closed) may take at the end before the process goes without it.
const RUNTIME_STOP: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // Whoever speaks TLS in this process does it with this one; a second call would find it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match Cli::parse().command {
        Command::Serve(flags) => serve(&flags),
        Command::CheckConfig(flags) => check_config(&flags),
        Command::Token(token) => token::run(&token),
        Command::Backup(flags) => backup::backup(&flags),
        Command::Restore(flags) => backup::restore(&flags),
        Command::User(user) => user::run(&user),
        Command::Openapi => openapi(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done about a closed standard error.
            let _ = writeln!(std::io::stderr(), "conclave: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `conclave serve`: returns when the server has drained.
fn serve(flags: &ServeFlags) -> Outcome<()> {
    let sources = flags.sources();
    let loaded = Loaded::read(&sources)?;
    let log_filter = logs::start(&loaded)?;
    let mut config = loaded.config.clone();

    let data_dir = DataDir::take(&config.data_dir)?;
    limits::raise_open_files(&config);
    limits::fit_participants(&mut config)?;

    let (engine, events) = Engine::start(EngineConfig {
        workers: config.media.workers,
        rtp_ports: config.media.rtp_ports.clone(),
        codecs: config.media.codecs.clone(),
        playout_ceiling: config.media.playout_ceiling,
        media_timeout: config.media.media_timeout,
        composers: config.media.composers,
        video_codecs: config.media.video_codecs.clone(),
        begin_worker: if config.media.realtime { limits::go_first } else { || () },
        begin_composer: limits::give_way_to_sound,
        movies: config.recordings.movies,
        web: config.webrtc.as_ref().map(|web| WebConfig {
            udp_port: web.udp_port,
            tcp_port: web.tcp_port,
            addresses: web.addresses.clone(),
            resume: web.resume,
        }),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Signalling and the API are light; the cores belong to the media threads.
        .worker_threads(config.media.workers.clamp(2, 4))
        .on_thread_start(limits::give_way_to_media)
        .enable_all()
        .build()?;

    let served = runtime.block_on(async {
        let signals = signals::Signals::listen()?;
        let server = control::Server::start(config.clone(), engine.clone(), events).await?;
        if let Some(token) = server.first_admin_token() {
            data_dir.keep_admin_token(token)?;
        }
        banner::print(&config, &data_dir, &server)?;
        let stop = tokio::spawn(signals.shutdown(Reload::new(sources, loaded, log_filter, server.certificates())));
        server.run(async { drop(stop.await) }).await?;
        tracing::info!("drained");
        Outcome::Ok(())
    });
    engine.stop();
    runtime.shutdown_timeout(RUNTIME_STOP);
    served
}

/// `conclave openapi`: the description that the server serves, as `config/openapi.json` has it.
fn openapi() -> Outcome<()> {
    std::io::stdout().lock().write_all(control::api::openapi::file().as_bytes())?;
    Ok(())
}

/// `conclave check-config`: every setting with its value and origin, or the line that `serve` would stop with.
fn check_config(flags: &ServeFlags) -> Outcome<()> {
    let loaded = Loaded::read(&flags.sources())?;
    logs::check(&loaded)?;
    // One of our own making would be made, and this command changes nothing.
    let files = loaded.config.api.tls.as_ref().filter(|tls| tls.self_signed.is_none());
    files.map(Certificates::open).transpose()?;
    let mut out = std::io::stdout().lock();
    for (key, setting) in &loaded.settings {
        writeln!(out, "{key} = {} ({})", setting.shown(key), setting.source)?;
    }
    Ok(())
}
