//! The command line as a person meets it: the real binary, its exit status and its one line on what is wrong.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn conclave(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    fed("", arguments, env)
}

/// With this on its standard input.
fn fed(input: &str, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CONCLAVE"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    for name in ours {
        command.env_remove(name);
    }
    command.args(arguments).envs(env.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that wants no input may have ended before it takes any.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
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

/// `conclave user …` in that directory; its status, output, and what it said.
fn user(dir: &tempfile::TempDir, input: &str, arguments: &[&str]) -> (bool, String, String) {
    let place = ["--data-dir", dir.path().to_str().unwrap()];
    let output = fed(input, &[&["user"], arguments, &place[..]].concat(), &[]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn users_are_made_listed_changed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let done = (true, String::new(), String::new());
    assert_eq!(user(&dir, "correct horse\nnot read\n", &["add", "alice", "--role", "admin"]), done);
    assert_eq!(user(&dir, "battery staple", &["add", "Bob the builder"]), done);
    let (_, list, _) = user(&dir, "", &["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("operator") && lines[0].ends_with("  Bob the builder"), "{list}");
    assert!(lines[1].starts_with("admin") && lines[1].ends_with("  alice"), "{list}");
    assert_eq!(user(&dir, "another password\r\n", &["password", "alice"]), done);
    assert_eq!(user(&dir, "", &["remove", "alice"]), done);
    for (input, arguments, says) in [
        ("", &["remove", "alice"][..], "there is no such user"),
        ("long enough", &["password", "alice"], "there is no such user"),
        ("long enough", &["add", "Bob the builder"], "there is a user Bob the builder already"),
        ("short\n", &["add", "carol"], "the password must have 8 to 1024 characters"),
        ("", &["add", "carol"], "the password must have 8 to 1024 characters"),
        ("long enough", &["add", ""], "the name must have 1 to 64 printable characters"),
    ] {
        let (success, _, said) = user(&dir, input, arguments);
        assert_eq!((success, said.as_str()), (false, format!("conclave: {says}\n").as_str()), "{arguments:?}");
    }
}

#[test]
fn password_is_no_argument() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["add", "alice", "secret"][..], &["add", "alice", "--password", "secret"], &["hash", "secret"]] {
        let (success, _, said) = user(&dir, "long enough", arguments);
        assert!(!success && said.contains("unexpected argument"), "{said}");
    }
}

#[test]
fn hash_of_a_password_goes_into_the_settings_and_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (_, hash, _) = user(&dir, "correct horse\n", &["hash"]);
    assert!(hash.starts_with("$argon2id$v=19$") && !hash.contains("horse"), "{hash}");
    let users = format!("[\"alice admin {}\"]", hash.trim());
    let text = shown(&["check-config"], &[("CONCLAVE__AUTH__USERS", &users)]);
    assert!(text.contains("auth.users = (hidden) (environment CONCLAVE__AUTH__USERS)"), "{text}");
    assert!(text.contains("auth.tokens = [] (default)") && !text.contains("argon2id"), "{text}");
}

#[test]
fn certificate_that_cannot_be_used_is_found_before_the_start() {
    let env = [("CONCLAVE__API__TLS_CERTIFICATE", "/nonexistent.pem"), ("CONCLAVE__API__TLS_KEY", "/nonexistent.key")];
    let line = refused(&["check-config"], &env);
    assert!(line.starts_with("conclave: api.tls_certificate /nonexistent.pem: it cannot be read"), "{line}");
    let line = refused(&["check-config"], &env[..1]);
    assert!(line.contains("api.tls_certificate and api.tls_key both set, or both empty"), "{line}");
}
