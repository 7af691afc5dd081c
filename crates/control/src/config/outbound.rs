//! From `[[trunks]]`, `[dialing]` and `[pbx]` as written to what they mean.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::meaning::Check;
use super::raw::{RawDialing, RawPbx, RawTrunk};
use super::{ConfigError, DialingConfig, PbxConfig, PbxMode, SipCredentials};
use crate::dialing::{Limits, Pattern, TransportChoice, Trunk, host_and_port};

/// More is a mistake in a script that writes the file.
const MAX_TRUNKS: usize = 64;
/// A file with a password has a line.
const MAX_PASSWORD_BYTES: usize = 1024;
/// Registrars refuse less; more than a day finds a restarted one too late.
const EXPIRES_S: RangeInclusive<i64> = 60..=86_400;
/// Longer than anybody lets it ring, and below the time that a call may take to be set up.
const RING_S: RangeInclusive<i64> = 5..=300;

impl Check<'_> {
    pub(super) fn trunks(&self, raw: &[RawTrunk]) -> Result<Vec<Arc<Trunk>>, ConfigError> {
        let key = "trunks";
        self.that(key, raw.len() <= MAX_TRUNKS, "64 trunks at most")?;
        let mut trunks: Vec<Arc<Trunk>> = Vec::new();
        for raw in raw {
            let fault = |field: &str, allowed: &str| {
                self.fault(key, &format!("tables whose {field} is {allowed} (trunk {:?})", raw.name))
            };
            let name = raw.name.as_str();
            let is_name = (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
                && name != "pbx"
                && !trunks.iter().any(|other| other.name == name);
            if !is_name {
                return Err(fault("name", "1 to 64 letters, digits, - _ . and neither pbx nor another trunk's"));
            }
            let (host, port) = host_and_port(&raw.target)
                .ok_or_else(|| fault("target", "HOST or HOST:PORT, a name or an IP address (IPv6 in brackets)"))?;
            let transport = transport(&raw.transport).ok_or_else(|| fault("transport", "auto, udp or tcp"))?;
            let within = |field: &str, value: i64, range: RangeInclusive<i64>| {
                let fits = range.contains(&value).then_some(value.unsigned_abs());
                fits.ok_or_else(|| fault(field, &format!("{} to {}", range.start(), range.end())))
            };
            let domain = domain(&raw.domain, &host).ok_or_else(|| fault("domain", "a host name, or empty"))?;
            let credentials = login(&raw.user, &raw.password, &raw.password_file, &raw.realm)
                .map_err(|allowed| fault("password", &allowed))?;
            if credentials.as_ref().is_some_and(|c| c.user.is_empty()) {
                return Err(fault("user", "set where a password is"));
            }
            if raw.register && raw.user.is_empty() {
                return Err(fault("user", "set where register is: it is what is registered"));
            }
            let caller_id = Some(raw.caller_id.clone()).filter(|id| !id.is_empty());
            if caller_id.as_deref().is_some_and(|id| !is_user(id)) {
                return Err(fault("caller_id", "a number or a user name, or empty"));
            }
            if !raw.prepend.bytes().all(|b| b.is_ascii_digit() || b"+*#".contains(&b)) || raw.prepend.len() > 32 {
                return Err(fault("prepend", "digits, 32 at most"));
            }
            let expires = within("expires_s", raw.expires_s, EXPIRES_S)?;
            trunks.push(Arc::new(Trunk {
                name: name.to_owned(),
                host,
                port,
                domain,
                transport,
                credentials,
                caller_id,
                asserted_identity: raw.asserted_identity,
                codecs: if raw.codecs.is_empty() { Vec::new() } else { self.codecs(key, &raw.codecs)? },
                register: raw.register.then(|| Duration::from_secs(expires)),
                patterns: patterns(&raw.patterns).map_err(|allowed| fault("patterns", &allowed))?,
                strip: usize::try_from(within("strip", raw.strip, 0..=32)?).unwrap_or(0),
                prepend: raw.prepend.clone(),
                ring_timeout: Duration::from_secs(within("ring_timeout_s", raw.ring_timeout_s, RING_S)?),
                max_calls: u32::try_from(within("max_calls", raw.max_calls, 1..=10_000)?).unwrap_or(1),
            }));
        }
        Ok(trunks)
    }

    pub(super) fn dialing(&self, raw: &RawDialing) -> Result<DialingConfig, ConfigError> {
        let list = |key: &str, texts: &[String]| patterns(texts).map_err(|allowed| self.fault(key, &allowed));
        Ok(DialingConfig {
            allow: list("dialing.allow", &raw.allow)?,
            deny: list("dialing.deny", &raw.deny)?,
            sip_uris: raw.sip_uris,
            ring_timeout: Duration::from_secs(self.number("dialing.ring_timeout_s", raw.ring_timeout_s, RING_S)?),
            limits: Limits {
                calls_per_minute_room: self.number(
                    "dialing.calls_per_minute_room",
                    raw.calls_per_minute_room,
                    0..=1000,
                )?,
                calls_per_minute_token: self.number(
                    "dialing.calls_per_minute_token",
                    raw.calls_per_minute_token,
                    0..=1000,
                )?,
                concurrent_room: self.number("dialing.concurrent_room", raw.concurrent_room, 0..=10_000)?,
                concurrent_token: self.number("dialing.concurrent_token", raw.concurrent_token, 0..=10_000)?,
            },
        })
    }

    pub(super) fn pbx(&self, raw: &RawPbx) -> Result<Option<PbxConfig>, ConfigError> {
        let mode = match raw.mode.as_str() {
            "off" => return Ok(None),
            "rooms" => PbxMode::Rooms,
            "account" => PbxMode::Account(raw.user.clone()),
            _ => return Err(self.fault("pbx.mode", "off, rooms or account")),
        };
        let is_account = matches!(mode, PbxMode::Account(_));
        let fits = if is_account { is_user(&raw.user) } else { raw.user.is_empty() };
        self.that("pbx.user", fits, "the account's user name in mode account, and empty in mode rooms")?;
        let (host, port) = host_and_port(&raw.registrar).ok_or_else(|| {
            self.fault("pbx.registrar", "HOST or HOST:PORT, a name or an IP address (IPv6 in brackets)")
        })?;
        let transport = transport(&raw.transport).ok_or_else(|| self.fault("pbx.transport", "auto, udp or tcp"))?;
        let domain = domain(&raw.domain, &host);
        let domain = domain.ok_or_else(|| self.fault("pbx.domain", "a host name, or empty"))?;
        let login = login(&raw.auth_user, &raw.password, &raw.password_file, &raw.realm);
        let login = login.map_err(|allowed| self.fault("pbx.password", &allowed))?;
        let expires = Duration::from_secs(self.number("pbx.expires_s", raw.expires_s, EXPIRES_S)?);
        Ok(Some(PbxConfig { mode, host, port, transport, domain, login, expires }))
    }
}

fn transport(text: &str) -> Option<TransportChoice> {
    match text {
        "auto" => Some(TransportChoice::Auto),
        "udp" => Some(TransportChoice::Udp),
        "tcp" => Some(TransportChoice::Tcp),
        _ => None,
    }
}

/// As it stands in URIs: an IPv6 address in brackets.
fn domain(text: &str, host: &str) -> Option<String> {
    let host =
        if text.is_empty() { host.to_owned() } else { host_and_port(text).filter(|(_, port)| port.is_none())?.0 };
    Some(if host.contains(':') { format!("[{host}]") } else { host })
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, String> {
    let pattern = |text: &String| text.parse().map_err(|why| format!("a list of patterns: {why} ({text:?})"));
    texts.iter().map(pattern).collect()
}

/// What needs no escaping in a URI and no quotes in a header.
fn is_user(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*#".contains(&b))
}

/// `None` without a password.
fn login(user: &str, password: &str, file: &str, realm: &str) -> Result<Option<SipCredentials>, String> {
    let printable = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
    let password = match (password, file) {
        ("", "") => return Ok(None),
        (password, "") => password.to_owned(),
        ("", file) => {
            let text = std::fs::read_to_string(file).map_err(|e| format!("in a file that can be read: {file}: {e}"))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        _ => return Err("given once: as password or as password_file".to_owned()),
    };
    let fits = !password.is_empty() && password.len() <= MAX_PASSWORD_BYTES && !password.chars().any(char::is_control);
    if !fits || !printable(user) || !printable(realm) {
        return Err("1 to 1024 bytes, and user and realm 256 at most, without control characters".to_owned());
    }
    let realm = Some(realm.to_owned()).filter(|realm| !realm.is_empty());
    Ok(Some(SipCredentials { user: user.to_owned(), password, realm }))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Loaded, SHIPPED, Sources};
    use super::*;
    use crate::config::raw::RawConfig;

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = Loaded::read(&Sources { file: Some(path), ..Sources::default() }).map_err(|e| e.to_string())?;
        let shown: String = loaded.settings.iter().map(|(key, setting)| setting.shown(key)).collect();
        assert!(!format!("{shown}{:?}", loaded.config).contains("s3cret"), "a password is shown");
        Ok(loaded.config)
    }

    #[test]
    fn the_example_in_the_shipped_file_is_a_trunk_with_every_setting() {
        let block = SHIPPED.split("# [[trunks]]").nth(1).unwrap().split("\n\n").next().unwrap();
        let lines: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        let text = format!("[[trunks]]\n{}", lines.join("\n"));
        let raw: RawConfig = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let toml::Value::Table(fields) = toml::Value::try_from(RawTrunk::default()).unwrap() else { panic!("a table") };
        for field in fields.keys() {
            let at = lines.iter().position(|line| line.starts_with(&format!("{field} = ")));
            let at = at.unwrap_or_else(|| panic!("{field} is not in the example"));
            assert!(lines[at - 1].starts_with('#'), "{field} has no comment above it");
        }
        assert_eq!(raw.trunks.len(), 1);
        let config = read(&text).unwrap();
        assert_eq!(config.trunks[0].name, raw.trunks[0].name);
    }

    #[test]
    fn trunks_are_read_from_the_file_with_their_defaults() {
        let config = read(
            "[[trunks]]\nname = \"a\"\ntarget = \"sip.example.com\"\nuser = \"u\"\npassword = \"s3cret\"\nregister = true\n\
             [[trunks]]\nname = \"b\"\ntarget = \"[::1]:5070\"\ntransport = \"tcp\"\npatterns = [\"+49.\"]\n",
        )
        .unwrap();
        let [a, b] = &config.trunks[..] else { panic!("two trunks") };
        assert_eq!((a.host.as_str(), a.port, a.domain.as_str()), ("sip.example.com", None, "sip.example.com"));
        assert_eq!(a.register, Some(Duration::from_secs(600)));
        assert_eq!(a.credentials.as_ref().map(|c| c.password.as_str()), Some("s3cret"));
        assert_eq!((b.host.as_str(), b.port, b.domain.as_str()), ("::1", Some(5070), "[::1]"));
        assert_eq!((b.transport, b.register), (TransportChoice::Tcp, None));
    }

    #[test]
    fn bad_trunks_name_the_field_and_the_trunk() {
        let good = "name = \"a\"\ntarget = \"h\"\n";
        for (extra, expected) in [
            ("strip = -1\n", "strip is 0 to 32 (trunk \"a\")"),
            ("transport = \"tls\"\n", "auto, udp or tcp"),
            ("patterns = [\"1.2\"]\n", "at the end only"),
            ("password = \"s3cret\"\n", "user is set where a password is"),
            ("register = true\n", "it is what is registered"),
            ("password = \"s3cret\"\npassword_file = \"x\"\n", "given once"),
            ("password_file = \"/nonexistent\"\n", "can be read"),
            ("ring_timeout_s = 1\n", "5 to 300"),
            ("caller_id = \"a b\"\n", "a number or a user name"),
            ("prepend = \"x\"\n", "digits"),
            ("colour = \"red\"\n", "unknown field `colour`"),
            ("strip = \"1\"\n", "trunks ("),
            ("[[trunks]]\nname = \"a\"\ntarget = \"h\"\n", "another trunk's"),
            ("[[trunks]]\nname = \"b\"\n", "HOST or HOST:PORT"),
        ] {
            let error = read(&format!("[[trunks]]\n{good}{extra}")).unwrap_err();
            assert!(error.contains(expected) && error.lines().count() == 1, "{extra}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(read("trunks = [\"a\"]\n").unwrap_err().contains("under its own [[trunks]]"));
    }

    #[test]
    fn the_pbx_is_off_or_whole() {
        assert!(read("").unwrap().pbx.is_none());
        let on = "[pbx]\nmode = \"rooms\"\nregistrar = \"10.0.0.1\"\nauth_user = \"r{extension}\"\npassword = \"s3cret-{extension}\"\n";
        let pbx = read(on).unwrap().pbx.unwrap();
        let login = pbx.credentials("100").unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("r100", "s3cret-100"));
        for (text, expected) in [
            ("[pbx]\nmode = \"on\"\n", "off, rooms or account"),
            ("[pbx]\nmode = \"rooms\"\n", "HOST or HOST:PORT"),
            ("[pbx]\nmode = \"account\"\nregistrar = \"h\"\n", "the account's user name"),
            ("[pbx]\nmode = \"rooms\"\nregistrar = \"h\"\nexpires_s = 5\n", "60 to 86400"),
            ("[dialing]\nallow = [\"\"]\n", "not empty"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
