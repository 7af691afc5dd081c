//! The real binary as a child process: free ports, a data directory of its own, its token, its log on failure. Killed by
//! its own process id when dropped, and never otherwise.

use crate::api::Api;
use crate::{ports, postgres};
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A debug binary on a busy machine may take this long to become ready.
const READY: Duration = Duration::from_secs(30);
/// Lines of the log that a failed test prints.
const LOG_LINES: usize = 120;
/// The setting that names the database.
const DATABASE: &str = "CONCLAVE__DATABASE__URL";

static UNIQUE: AtomicU64 = AtomicU64::new(0);

/// A directory that goes with the test, or stays when the test fails.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// A new empty one.
    ///
    /// # Panics
    /// When the file system refuses.
    pub fn new(name: &str) -> Self {
        let n = UNIQUE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("conclave-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self { path }
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // A leftover directory harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Path of the binary.
    pub binary: PathBuf,
    /// Ports of its RTP range; a leg takes two.
    pub rtp_ports: u16,
    /// Media threads.
    pub workers: usize,
    /// Further environment, such as `CONCLAVE__SIP__INVITES_PER_SOURCE_PER_SECOND`.
    pub env: Vec<(String, String)>,
    /// Where it listens.
    pub ip: IpAddr,
    /// Further arguments of `serve`.
    pub args: Vec<String>,
}

impl Setup {
    /// A small server that takes calls as fast as tests make them.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            rtp_ports: 64,
            workers: 1,
            env: Vec::new(),
            ip: Ipv4Addr::LOCALHOST.into(),
            args: Vec::new(),
        }
        .env("CONCLAVE__SERVER__MAX_PARTICIPANTS", "30")
        .env("CONCLAVE__SIP__INVITES_PER_SOURCE_PER_SECOND", "10000")
        .env("CONCLAVE__SIP__MAX_CALLS_IN_SETUP", "1000")
        .env("CONCLAVE__API__REQUESTS_PER_MINUTE", "60000")
    }

    /// Room for so many legs.
    #[must_use]
    pub fn legs(mut self, legs: u16) -> Self {
        self.rtp_ports = legs * 2 + 4;
        self.env("CONCLAVE__SERVER__MAX_PARTICIPANTS", &legs.to_string())
    }

    /// Where it listens, for the API, SIP and RTP.
    #[must_use]
    pub fn on(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    /// With this settings file; what its keys say is no longer given by environment.
    #[must_use]
    pub fn config_file(mut self, path: &Path, keys: &[&str]) -> Self {
        self.env.retain(|(k, _)| !keys.contains(&k.as_str()));
        self.args.extend(["--config".to_owned(), path.display().to_string()]);
        self
    }

    /// One more setting by environment; a later one wins.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.retain(|(k, _)| k != key);
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// On this database, whatever the tests are to run on; empty: SQLite in the data directory.
    #[must_use]
    pub fn database(self, url: &str) -> Self {
        self.env(DATABASE, url)
    }

    /// Starts it and waits until it is ready. Where the tests are to run on PostgreSQL ([`postgres::test_server`]), it gets
    /// an empty database there, unless it has one.
    ///
    /// # Panics
    /// With its log when it does not become ready.
    pub fn start(self) -> Server {
        let is_settled = self.env.iter().any(|(key, _)| key == DATABASE);
        match postgres::test_server().filter(|_| !is_settled) {
            Some(server) => Server::start(self.database(&postgres::fresh_database(&server))),
            None => Server::start(self),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    dir: TempDir,
    api_port: u16,
    sip_port: u16,
    rtp: RangeInclusive<u16>,
    child: Option<Child>,
    starts: u32,
}

impl Server {
    fn start(setup: Setup) -> Self {
        let dir = TempDir::new("server");
        let rtp = ports::block(setup.rtp_ports);
        let mut server =
            Self { setup, dir, api_port: ports::one(), sip_port: ports::one(), rtp, child: None, starts: 0 };
        server.spawn();
        server.wait_ready();
        server
    }

    fn spawn(&mut self) {
        self.starts += 1;
        let log = File::create(self.log_path(self.starts)).expect("a log file");
        let mut command = Command::new(&self.setup.binary);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--api-listen", &self.api_address().to_string()])
            .args(["--sip-listen", &self.sip_address().to_string()])
            .args(["--rtp-ports", &format!("{}-{}", self.rtp.start(), self.rtp.end())])
            .args(["--workers", &self.setup.workers.to_string()])
            .envs([("CONCLAVE__WEBRTC__UDP_PORT", "0"), ("CONCLAVE__WEBRTC__ADDRESSES", "127.0.0.1")])
            .args(&self.setup.args)
            .envs(self.setup.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a log file"))
            .stdout(log);
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    fn wait_ready(&mut self) {
        let probe = Api::new(&self.base_url(), None);
        let deadline = std::time::Instant::now() + READY;
        loop {
            let last = match probe.try_get("/readyz") {
                Ok(answer) if answer.status == 200 => return,
                Ok(answer) => format!("{} {}", answer.status, answer.text()),
                Err(why) => why,
            };
            let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
            if ended.is_some() || std::time::Instant::now() > deadline {
                let ended = ended.map_or(String::new(), |s| format!(", ended with {s}"));
                panic!("not ready: {last}{ended}\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once, as a power cut would (SIGKILL).
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().expect("our own child can be killed");
        child.wait().expect("our own child can be waited for");
    }

    /// Starts it again on the same data and ports.
    ///
    /// # Panics
    /// With its log when it does not become ready.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "still running");
        self.spawn();
        self.wait_ready();
    }

    /// Asks it to drain and end (SIGTERM).
    ///
    /// # Panics
    /// When it does not run.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to read its settings again (SIGHUP).
    ///
    /// # Panics
    /// When it does not run.
    pub fn reload(&self) {
        self.signal("HUP");
    }

    /// Stops it for at least so long, as if all its ports were blocked: nothing answers until what this gives is dropped.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, at_least: Duration) -> Frozen<'_> {
        self.signal("STOP");
        std::thread::sleep(at_least);
        Frozen(self)
    }

    /// A command of the binary beside it: on its data directory and its database.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.setup.binary);
        command.args(args).arg("--data-dir").arg(self.data_dir());
        command.envs(self.setup.env.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Runs such a command; gives what it printed.
    ///
    /// # Panics
    /// When the command fails.
    pub fn run(&self, args: &[&str]) -> String {
        self.run_with("", args)
    }

    /// The same with this on its standard input.
    ///
    /// # Panics
    /// When the command fails.
    pub fn run_with(&self, input: &str, args: &[&str]) -> String {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        // A command that wants no input may have ended before it takes any.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let out = child.wait_with_output().expect("our own child can be waited for");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        // Through the shell tool, so that this crate needs no unsafe code.
        let done = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(done.success(), "kill -s {name} {pid}: {done}");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("a running server");
        let status = crate::wait::until("the server to end", timeout, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        self.child = None;
        status
    }

    /// A client with the admin token.
    ///
    /// # Panics
    /// When the first start left no token.
    pub fn api(&self) -> Api {
        Api::new(&self.base_url(), Some(&self.token()))
    }

    /// The admin token that the first start wrote.
    ///
    /// # Panics
    /// When there is none.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.token_path()).expect("DATA/admin.token");
        text.trim().to_owned()
    }

    /// Where the first start writes the admin token.
    pub fn token_path(&self) -> PathBuf {
        self.data_dir().join("admin.token")
    }

    /// `http://address:port`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.api_address())
    }

    /// Where it takes HTTP.
    pub fn api_address(&self) -> SocketAddr {
        (self.setup.ip, self.api_port).into()
    }

    /// Where it takes SIP, UDP and TCP.
    pub fn sip_address(&self) -> SocketAddr {
        (self.setup.ip, self.sip_port).into()
    }

    /// Its RTP ports.
    pub fn rtp_range(&self) -> RangeInclusive<u16> {
        self.rtp.clone()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A place for the files of this test.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// It has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Everything that all starts wrote.
    pub fn log(&self) -> String {
        (1..=self.starts).map(|n| std::fs::read_to_string(self.log_path(n)).unwrap_or_default()).collect()
    }

    fn log_path(&self, start: u32) -> PathBuf {
        self.dir.path().join(format!("server-{start}.log"))
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// A server that is stopped; it goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Server);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failed test shows the server's side of the story")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server in {}\n{}\n---", self.dir.path().display(), self.log_tail());
        }
    }
}
