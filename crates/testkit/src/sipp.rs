//! SIPp as a child process: a SIP client that nobody here wrote, driven by scenario files.

use crate::ports;
use crate::server::TempDir;
use crate::sip_ua::Transport;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// One run of one scenario.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The XML file.
    pub scenario: &'a Path,
    /// `[remote_ip]:[remote_port]`.
    pub server: SocketAddr,
    /// `[service]`: the extension.
    pub extension: &'a str,
    /// UDP, or one TCP connection for all calls.
    pub transport: Transport,
    /// Calls in all.
    pub calls: u32,
    /// Calls that begin per second.
    pub rate: u32,
    /// A pcap file that the scenario plays as `video.pcap`. SIPp plays it through a raw socket: as root, or with
    /// `CAP_NET_RAW`.
    pub capture: Option<&'a [u8]>,
}

/// What SIPp counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls that ran through the scenario.
    pub successful: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Messages sent again for want of an answer.
    pub retransmissions: u64,
}

impl Run<'_> {
    /// Runs to the end.
    ///
    /// # Errors
    /// What SIPp complained of, when any call failed.
    pub fn play(&self) -> Result<Counted, String> {
        let dir = TempDir::new("sipp");
        let (errors, stats) = (dir.path().join("errors.log"), dir.path().join("stats.csv"));
        if let Some(capture) = self.capture {
            std::fs::write(dir.path().join("video.pcap"), capture).map_err(|e| format!("video.pcap: {e}"))?;
        }
        let local = ports::one();
        let media = ports::block(4);
        let transport = if self.transport == Transport::Udp { "u1" } else { "t1" };
        let out = Command::new("sipp")
            .arg(self.server.to_string())
            .arg("-sf")
            .arg(self.scenario)
            .args(["-s", self.extension, "-i", "127.0.0.1", "-p", &local.to_string(), "-t", transport])
            .args(["-m", &self.calls.to_string(), "-r", &self.rate.to_string(), "-l", &self.calls.to_string()])
            .args(["-mp", &media.start().to_string()])
            .args(["-timeout", "30s", "-timeout_error", "-recv_timeout", "10000", "-nostdin"])
            .args(["-trace_err", "-error_file"])
            .arg(&errors)
            .args(["-trace_stat", "-fd", "1", "-stf"])
            .arg(&stats)
            .current_dir(dir.path())
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("sipp does not start: {e}"))?;
        let counted = std::fs::read_to_string(&stats).ok().and_then(|t| counted(&t)).unwrap_or_default();
        if out.status.success() && counted.failed == 0 && counted.successful == u64::from(self.calls) {
            return Ok(counted);
        }
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&out.stderr);
        Err(format!("{}: {counted:?} of {}\n{stderr}\n{said}", out.status, self.calls))
    }
}

/// The last line of SIPp's statistics file.
fn counted(csv: &str) -> Option<Counted> {
    let names: Vec<&str> = csv.lines().next()?.split(';').collect();
    let last: Vec<&str> = csv.lines().last()?.split(';').collect();
    let value = |name: &str| last.get(names.iter().position(|n| *n == name)?)?.parse().ok();
    Some(Counted {
        successful: value("SuccessfulCall(C)")?,
        failed: value("FailedCall(C)")?,
        retransmissions: value("Retransmissions(C)")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_by_name() {
        let csv = "StartTime;SuccessfulCall(C);FailedCall(P);FailedCall(C);Retransmissions(C)\nx;1;0;0;0\nx;50;1;2;3\n";
        assert_eq!(counted(csv), Some(Counted { successful: 50, failed: 2, retransmissions: 3 }));
        assert_eq!(counted("nothing"), None);
    }
}
