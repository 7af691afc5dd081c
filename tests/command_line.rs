//! The command line as a person meets it: the real binary, its exit status and its one line on what is wrong.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use std::fs::File;
use std::process::{Command, Output};

fn conclave(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CONCLAVE"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    for name in ours {
        command.env_remove(name);
    }
    command.args(arguments).envs(env.iter().copied()).output().unwrap()
}

fn refused(arguments: &[&str], env: &[(&str, &str)]) -> String {
    let output = conclave(arguments, env);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?} {env:?}: {text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "not one line: {text}");
    lines[0].to_owned()
}

fn shown(arguments: &[&str], env: &[(&str, &str)]) -> String {
    let output = conclave(arguments, env);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn version_is_the_package_version() {
    assert_eq!(shown(&["--version"], &[]).trim(), format!("conclave {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_config_shows_each_setting_with_its_origin() {
    let text = shown(
        &["check-config", "--config", "config/conclave.toml", "--rtp-ports", "20000-20099"],
        &[("CONCLAVE__LOG__FILTER", "warn")],
    );
    for line in [
        "api.listen = \"127.0.0.1:8887\" (config/conclave.toml:",
        "log.filter = \"warn\" (environment CONCLAVE__LOG__FILTER)",
        "media.rtp_ports = \"20000-20099\" (flag --rtp-ports)",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "no {line:?} in\n{text}");
    }
}

#[test]
fn unknown_setting_stops_the_start_with_one_line_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("conclave.toml");
    std::fs::write(&file, "[sip]\nlisten = \"127.0.0.1:5060\"\nspeling = 1\n").unwrap();
    let file = file.to_str().unwrap();
    for command in ["serve", "check-config"] {
        let line = refused(&[command, "--config", file], &[]);
        assert!(line.starts_with(&format!("conclave: sip.speling ({file}:3): unknown setting;")), "{line}");
        let line = refused(&[command], &[("CONCLAVE__SIP__SPELING", "1")]);
        assert!(line.starts_with("conclave: sip.speling (environment CONCLAVE__SIP__SPELING): unknown"), "{line}");
    }
}

#[test]
fn bad_value_names_its_flag_and_what_is_allowed() {
    for (arguments, starts) in [
        (["--api-listen", "8887"], "api.listen (flag --api-listen): \"8887\" is not allowed: must be an address"),
        (["--workers", "-1"], "media.workers (flag --workers): -1 is not allowed: must be 0 to"),
        (["--advertise", "pbx"], "sip.advertise (flag --advertise): \"pbx\" is not allowed"),
        (["--rtp-ports", "9"], "media.rtp_ports (flag --rtp-ports): \"9\" is not allowed: must be LO-HI"),
    ] {
        let line = refused(&["serve", arguments[0], arguments[1]], &[]);
        assert!(line.starts_with(&format!("conclave: {starts}")), "{line}");
    }
    let line = refused(&["serve"], &[("CONCLAVE__LOG__FILTER", "info,control=loud")]);
    assert!(line.starts_with("conclave: log.filter (environment CONCLAVE__LOG__FILTER)"), "{line}");
}

#[test]
fn second_server_on_a_data_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lock = File::create(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let path = dir.path().to_str().unwrap();
    let line = refused(&["serve", "--data-dir", path], &[]);
    assert!(line.contains(path) && line.contains("is in use by another conclave"), "{line}");
}

#[test]
fn data_directory_that_cannot_be_made_is_named() {
    let line = refused(&["serve", "--data-dir", "/dev/null/data"], &[]);
    assert!(line.contains("/dev/null/data: cannot be made") && line.contains("--data-dir"), "{line}");
}

#[test]
fn token_lifetime_needs_a_unit() {
    let output = conclave(&["token", "create", "--ttl", "90", "portal"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("90d, 12h, 30m or 45s"));
}
