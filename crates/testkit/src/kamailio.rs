//! Kamailio as a child process: a PBX's registrar and proxy that nobody here wrote. It listens on a free port of 127.0.0.1, UDP
//! and TCP, keeps who is registered in memory, and says it over its control socket.

use crate::ports;
use crate::server::TempDir;
use crate::wait;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for the start, the end, and for a registration.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Kamailio. Dropping it stops it.
#[derive(Debug)]
pub struct Kamailio {
    dir: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Kamailio {
    /// With this file, which finds `ALGORITHM` (of its digests: `MD5` or `SHA-256`) and `CONTROL` defined.
    ///
    /// # Panics
    /// When it does not start; with its log.
    pub fn start(config: &Path, algorithm: &str) -> Self {
        let dir = TempDir::new("kamailio");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::one()));
        let log = File::create(dir.path().join("log")).expect("a file");
        let mut child = Command::new("kamailio")
            .arg("-f")
            .arg(config)
            // In the foreground, with its log on standard error.
            .args(["-DD", "-E", "-n", "2"])
            .args(["-l", &format!("udp:{address}"), "-l", &format!("tcp:{address}")])
            .args(["-A", &format!("ALGORITHM=\"{algorithm}\"")])
            .args(["-A", &format!("CONTROL=\"unix:{}\"", control(&dir))])
            .arg("-w")
            .arg(dir.path())
            .arg("-Y")
            .arg(dir.path())
            .arg("-P")
            .arg(dir.path().join("pid"))
            // It has children, which are to end with it.
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file"))
            .stdout(log)
            .spawn()
            .expect("kamailio starts (Debian package kamailio)");
        wait::until("kamailio to answer on its control socket", PATIENCE, || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("kamailio ended with {status}: {}", log_of(&dir));
            }
            ask(&dir, &["core.uptime"]).map_err(|e| format!("{e}: {}", log_of(&dir)))
        });
        Self { dir, child, address }
    }

    /// Where phones and rooms register.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Contacts that are registered for this user.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn contacts(&self, user: &str) -> Vec<String> {
        // Digits are numbers to it unless they are said to be a string. An unknown user is an error to it.
        let Ok(text) = ask(&self.dir, &["ul.lookup", "location", &format!("s:{user}")]) else { return Vec::new() };
        text.lines().filter_map(|line| line.trim().strip_prefix("Address: ")).map(str::to_owned).collect()
    }

    /// Waits until this user is registered; gives the Contact.
    ///
    /// # Panics
    /// When it does not come to be; with the log.
    #[track_caller]
    pub fn wait_registered(&self, user: &str) -> String {
        wait::until(&format!("{user} to be registered"), PATIENCE, || {
            self.contacts(user).into_iter().next().ok_or_else(|| self.log())
        })
    }

    /// Waits until nobody is registered for this user.
    ///
    /// # Panics
    /// When somebody stays; with the log.
    #[track_caller]
    pub fn wait_unregistered(&self, user: &str) {
        wait::until(&format!("{user} to be gone"), PATIENCE, || {
            if self.contacts(user).is_empty() { Ok(()) } else { Err(self.log()) }
        });
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        log_of(&self.dir)
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let signal = |name: &str| Command::new("kill").args([name, "--", &group]).stderr(Stdio::null()).status();
        let _ = signal("-TERM");
        let deadline = std::time::Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Whoever is left of the group; the child itself is waited for.
        let _ = signal("-KILL");
        let _ = self.child.wait();
    }
}

fn control(dir: &TempDir) -> String {
    dir.path().join("control").display().to_string()
}

fn ask(dir: &TempDir, command: &[&str]) -> Result<String, String> {
    let output = Command::new("kamcmd").args(["-s", &format!("unix:{}", control(dir))]).args(command).output();
    let output = output.map_err(|e| format!("kamcmd: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && !text.starts_with("error:") {
        Ok(text)
    } else {
        Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn log_of(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.path().join("log")).unwrap_or_default()
}
