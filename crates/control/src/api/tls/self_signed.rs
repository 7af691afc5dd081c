//! A certificate of our own making, for trying browsers out: kept in the data directory, so that an exception that somebody made
//! for it holds, and made anew before it ends.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

use crate::config::TlsConfig;

/// A year: browsers refuse longer ones even where somebody trusts them.
const DAYS: i64 = 365;
/// Older ones are replaced.
const RENEW_AFTER: Duration = Duration::from_secs(300 * 86_400);

/// Makes the pair when it is missing, incomplete or old; says whether it did. Blocks on files.
///
/// # Errors
/// In words, when it cannot be made or written.
pub(super) fn ensure(files: &TlsConfig, names: &[String]) -> Result<bool, String> {
    if [&files.certificate, &files.key].into_iter().all(|path| is_young(path)) {
        return Ok(false);
    }
    let made = make(names, Timestamp::now()).map_err(|error| format!("no certificate could be made: {error}"))?;
    if let Some(dir) = files.certificate.parent() {
        std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    write(&files.key, &made.1, 0o600)?;
    write(&files.certificate, &made.0, 0o644)?;
    Ok(true)
}

fn is_young(path: &Path) -> bool {
    let written = std::fs::metadata(path).and_then(|file| file.modified());
    // A file from the future is not old.
    written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < RENEW_AFTER) || at.elapsed().is_err())
}

/// Certificate and key, as PEM.
fn make(names: &[String], now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut named: Vec<String> = vec!["localhost".to_owned()];
    named.extend(names.iter().map(|name| name.trim_matches(['[', ']']).to_owned()));
    named.extend(std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned()));
    let addresses = if_addrs::get_if_addrs().unwrap_or_default();
    named.extend(addresses.iter().map(|interface| interface.ip()).filter(is_shown).map(|ip| ip.to_string()));
    named.retain(|name| !name.is_empty() && name.is_ascii());
    named.sort();
    named.dedup();
    let mut params = CertificateParams::new(named)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Conclave, self-signed");
    let day = |at: Timestamp| {
        let date = TimeZone::UTC.to_datetime(at).date();
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(i32::from(date.year()), month, day)
    };
    let hours = |days: i64| jiff::Span::new().hours(24 * days);
    params.not_before = day(now.saturating_sub(hours(1)).unwrap_or(now));
    params.not_after = day(now.saturating_add(hours(DAYS)).unwrap_or(now));
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn is_shown(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    }
}

/// Whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tls::Certificates;

    fn files(dir: &Path) -> TlsConfig {
        let dir = dir.join("tls");
        let names = vec!["conf.example.org".to_owned(), "[2001:db8::1]".to_owned()];
        TlsConfig { certificate: dir.join("c.pem"), key: dir.join("k.pem"), self_signed: Some(names) }
    }

    #[test]
    fn a_pair_is_made_once_and_again_when_half_of_it_is_gone_or_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let names = files.self_signed.clone().unwrap();
        let read = || std::fs::read(&files.certificate).unwrap();
        assert_eq!(ensure(&files, &names), Ok(true));
        let first = read();
        assert_eq!(ensure(&files, &names), Ok(false));
        assert_eq!(first, read());
        std::fs::remove_file(&files.key).unwrap();
        assert_eq!(ensure(&files, &names), Ok(true));
        assert_ne!(first, read());
        let long_ago = std::time::SystemTime::now() - RENEW_AFTER;
        std::fs::File::options().write(true).open(&files.key).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(ensure(&files, &names), Ok(true));
        Certificates::open(&files).unwrap();
    }

    #[test]
    fn where_nothing_can_be_written_it_says_so() {
        let error = Certificates::open(&files(Path::new("/proc/nowhere"))).unwrap_err().to_string();
        assert!(error.starts_with("api.tls_self_signed: /proc/nowhere"), "{error}");
    }
}
