//! Settings: as written (`RawConfig`) and as meant (`Config`).
//!
//! Four layers, the stronger first: command line flag, environment (`CONCLAVE__SECTION__KEY`), file (TOML), default.
//! Read once at the start and again on SIGHUP, on the thread that asks; knows no HTTP, no SIP, no socket. Whatever is
//! wrong stops the start with one line that names the key, where it was written and what is allowed.

mod layers;
mod live;
mod mail;
mod meaning;
mod outbound;
mod raw;
mod web;
mod webrtc;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use media::{Bitrate, CodecName, Finalize, VideoCodec};
use url::Url;

use crate::dialing::{Limits as DialingLimits, Pattern, TransportChoice, Trunk};
use crate::events::Types;
use crate::rooms::Rules;
pub use layers::{ConfigError, Flag, Source};
pub use live::{Limits, Live};
pub use mail::{MailConfig, MailSecurity};
use raw::{RawAuth, RawConfig};
pub use webrtc::{TurnConfig, WebRtcConfig};

use crate::store::Role;

/// Every setting, checked and in its own unit.
#[derive(Clone, Debug)]
pub struct Config {
    /// Holds the database, the recordings (unless they have a place of their own), the admin token and the lock.
    pub data_dir: PathBuf,
    /// Where everything but files is kept.
    pub database: DatabaseConfig,
    /// The built-in conference server row.
    pub server: ServerConfig,
    /// REST API.
    pub api: ApiConfig,
    /// Who may use the API.
    pub auth: AuthConfig,
    /// SIP signalling.
    pub sip: SipConfig,
    /// Providers and PBXs that take our calls, in the order in which they are tried.
    pub trunks: Vec<Arc<Trunk>>,
    /// What may be called.
    pub dialing: DialingConfig,
    /// Where our extensions are registered.
    pub pbx: Option<PbxConfig>,
    /// Media engine.
    pub media: MediaConfig,
    /// Browsers.
    pub webrtc: Option<WebRtcConfig>,
    /// Recordings.
    pub recordings: RecordingsConfig,
    /// What callers are told.
    pub prompts: PromptsConfig,
    /// What holds for all rooms.
    pub rooms: RoomsConfig,
    /// Events.
    pub events: EventsConfig,
    /// Webhooks.
    pub webhooks: WebhooksConfig,
    /// Invitations by mail; `None`: none are sent.
    pub mail: Option<MailConfig>,
    /// Log.
    pub log: LogConfig,
    /// Shutdown.
    pub drain: DrainConfig,
    /// What SIGHUP may change while calls run; shared by all clones of this configuration.
    pub live: Live,
}

/// Where everything but files is kept. `Display` shows where, without the password.
#[derive(Clone)]
pub enum DatabaseConfig {
    /// In this file.
    Sqlite(PathBuf),
    /// On this server.
    Postgres(Url),
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => {
                let port = url.port().unwrap_or(5432);
                write!(f, "postgres://{}:{port}{}", url.host_str().unwrap_or_default(), url.path())
            }
        }
    }
}

/// The built-in conference server row, as it is made at the first start. Later the API changes it.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Unique name of the row.
    pub name: String,
    /// Where phones reach it, IPv4; `None`: not told.
    pub ipv4: Option<String>,
    /// Where phones reach it, IPv6; `None`: not told.
    pub ipv6: Option<String>,
    /// Rooms that may be active at once.
    pub max_rooms: u32,
    /// Legs at once.
    pub max_participants: u32,
}

/// REST API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// TCP address.
    pub listen: SocketAddr,
    /// Larger request bodies are 413.
    pub body_limit_bytes: usize,
    /// For each token; read it from `Live`, so that SIGHUP reaches it.
    pub requests_per_minute: u32,
    /// `/metrics` gets a listener of its own, and leaves the API's.
    pub metrics_listen: Option<SocketAddr>,
    /// `/metrics` is served at all.
    pub metrics: bool,
    /// The API speaks HTTPS with these.
    pub tls: Option<TlsConfig>,
    /// HTTPS has this address, and `listen` stays HTTP; `None`: with a certificate, `listen` is HTTPS.
    pub tls_listen: Option<SocketAddr>,
    /// Where people reach this server, such as `https://conference.example.org`; empty: nobody said.
    pub public_url: String,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl ApiConfig {
    /// `listen` is HTTPS.
    pub fn listens_with_tls(&self) -> bool {
        self.tls.is_some() && self.tls_listen.is_none()
    }

    /// Others than this machine can reach it, and whoever is on the way can read along.
    pub fn is_exposed(&self) -> bool {
        !self.listens_with_tls() && !self.listen.ip().to_canonical().is_loopback()
    }
}

/// Files of the API's certificate, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's certificate, then those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Both are made here, and made anew before they end, for a machine of these names and addresses.
    pub self_signed: Option<Vec<String>>,
}

/// Who may use the API, and for how long.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Users that are kept here and not with `conclave user`.
    pub users: Vec<UserEntry>,
    /// Tokens that are kept here and not with `conclave token`.
    pub tokens: Vec<TokenEntry>,
    /// From a sign-in or a refresh to the end of the access token.
    pub access_token_ttl: Duration,
    /// The same of the refresh token: a session that is not used for this long ends.
    pub refresh_token_ttl: Duration,
    /// Against those who try passwords.
    pub sign_in: SignInLimits,
    /// Requests without a valid token from one address in one minute.
    pub failures_per_minute: u32,
}

/// When failed sign-ins lock out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInLimits {
    /// Failures for one user that lock that user out.
    pub attempts: u32,
    /// Failures from one address that lock the address out.
    pub attempts_per_address: u32,
    /// The first lock-out; each further failure doubles it.
    pub lockout: Duration,
    /// The longest lock-out.
    pub lockout_max: Duration,
}

/// A user as the configuration has it.
#[derive(Clone, PartialEq, Eq)]
pub struct UserEntry {
    /// Unique name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// argon2id, as a PHC string.
    pub password_hash: String,
}

impl fmt::Debug for UserEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserEntry").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A token as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// What or whom it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of its text.
    pub digest: [u8; 32],
}

/// SIP signalling.
#[derive(Clone, Debug)]
pub struct SipConfig {
    /// UDP and TCP address.
    pub listen: SocketAddr,
    /// Listen on UDP.
    pub udp: bool,
    /// Listen on TCP.
    pub tcp: bool,
    /// Address that SDP and Contact carry; `None`: the local address the request came in on.
    pub advertise: Option<IpAddr>,
    /// Sources whose INVITEs are accepted; read it from `Live`, so that SIGHUP reaches it.
    pub allow: Vec<IpNet>,
    /// Admission; read it from `Live`.
    pub invites_per_source_per_second: u32,
    /// Admission; read it from `Live`.
    pub max_calls_in_setup: u32,
    /// `User-Agent` and `Server` header.
    pub user_agent: String,
}

/// Who we are to a far end that asks (401, 407). The password does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SipCredentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Given to this realm only; `None`: to any that our far end names.
    pub realm: Option<String>,
}

impl fmt::Debug for SipCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SipCredentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What may be called, and how often.
#[derive(Clone, Debug)]
pub struct DialingConfig {
    /// Numbers that may be called.
    pub allow: Vec<Pattern>,
    /// Numbers that may not, whatever `allow` says.
    pub deny: Vec<Pattern>,
    /// `sip:` addresses may be called.
    pub sip_uris: bool,
    /// For calls without a trunk: from the INVITE to giving up.
    pub ring_timeout: Duration,
    /// How often, and how many at once.
    pub limits: DialingLimits,
}

/// Where our extensions are registered.
#[derive(Clone, Debug)]
pub struct PbxConfig {
    /// What is registered there.
    pub mode: PbxMode,
    /// Host name or IP address of the registrar.
    pub host: String,
    /// Its port; `None`: SRV, or 5060.
    pub port: Option<u16>,
    /// How REGISTER travels, and so calls from there.
    pub transport: TransportChoice,
    /// Domain of the addresses of record.
    pub domain: String,
    /// For 401 and 407; `{extension}` in user and password stands for the registered user, and so does an empty user.
    pub login: Option<SipCredentials>,
    /// Asked for; the registrar may give less.
    pub expires: Duration,
}

impl PbxConfig {
    /// What `user` says to a challenge.
    pub fn credentials(&self, user: &str) -> Option<SipCredentials> {
        let login = self.login.as_ref()?;
        let filled = |text: &str| text.replace(EXTENSION, user);
        let name = if login.user.is_empty() { user.to_owned() } else { filled(&login.user) };
        Some(SipCredentials { user: name, password: filled(&login.password), realm: login.realm.clone() })
    }
}

/// Stands for the registered user in `pbx.auth_user` and `pbx.password`.
const EXTENSION: &str = "{extension}";

/// What is registered at the PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PbxMode {
    /// One address for each room: its extension.
    Rooms,
    /// One account, to which the PBX routes all extensions.
    Account(String),
}

/// Media engine.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Media threads, at least 1 (the written 0 is already one for each core).
    pub workers: usize,
    /// UDP ports for RTP (even) and RTCP (odd); starts even, ends odd.
    pub rtp_ports: RangeInclusive<u16>,
    /// What may be negotiated.
    pub codecs: Vec<CodecName>,
    /// Legs heard at once in a room; 0 mixes everybody.
    pub max_talkers: usize,
    /// Rate of every Opus encode.
    pub opus_bitrate: Bitrate,
    /// 0–10.
    pub opus_complexity: u8,
    /// Hard ceiling of the playout delay.
    pub playout_ceiling: Duration,
    /// A leg without RTP for this long, not on hold, is ended.
    pub media_timeout: Duration,
    /// Media threads ask for real-time scheduling.
    pub realtime: bool,
    /// Threads that make pictures, at least 1 (the written 0 is already one for each core).
    pub composers: usize,
    /// What may be negotiated in rooms with a picture.
    pub video_codecs: Vec<VideoCodec>,
    /// Names are written over pictures.
    pub name_strips: bool,
}

impl MediaConfig {
    /// Legs that the RTP range can hold: two ports each.
    pub fn port_pairs(&self) -> u32 {
        (u32::from(*self.rtp_ports.end()) + 1).saturating_sub(u32::from(*self.rtp_ports.start())) / 2
    }
}

/// What holds for all rooms.
#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// Dialled, it asks which room is wanted.
    pub lobby_number: Option<String>,
    /// Of meetings.
    pub rules: Rules,
}

/// Recordings.
#[derive(Clone, Debug)]
pub struct RecordingsConfig {
    /// Where the files are.
    pub dir: PathBuf,
    /// `file_url` is signed and expires; otherwise whoever knows the digest can download.
    pub private_urls: bool,
    /// How long a signed URL works.
    pub url_ttl: Duration,
    /// Recordings older than this are destroyed; 0 keeps them.
    pub retention_days: u32,
    /// Destroying a room destroys its recordings.
    pub delete_with_room: bool,
    /// What becomes of recordings with pictures when they end.
    pub movies: Finalize,
}

/// What callers are told.
#[derive(Clone, Debug)]
pub struct PromptsConfig {
    /// Files that replace built-in prompts.
    pub dir: Option<PathBuf>,
    /// A BCP 47 tag: for rooms that name no language, or one without a voice.
    pub language: String,
}

/// Events.
#[derive(Clone, Debug)]
pub struct EventsConfig {
    /// Older ones are forgotten.
    pub retention: Duration,
    /// Streams at once.
    pub max_streams: usize,
    /// A stream whose client takes nothing for this long is ended.
    pub stream_patience: Duration,
    /// A silent stream carries a sign of life this often; a WebSocket that answers three of them with nothing is ended.
    pub heartbeat: Duration,
}

/// Webhooks. The secret does not show itself.
#[derive(Clone)]
pub struct WebhooksConfig {
    /// Where they are, each once, as the database keeps them.
    pub urls: Vec<String>,
    /// Signs what they are sent; empty only without any.
    pub secret: String,
    /// What they are sent.
    pub types: Types,
    /// Private networks and this machine may be called.
    pub allow_private: bool,
    /// Deliveries that may wait for one of them.
    pub max_pending: usize,
}

impl fmt::Debug for WebhooksConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhooksConfig").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

/// Log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// `tracing` filter directives.
    pub filter: String,
}

/// Shutdown.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// From SIGTERM to the BYEs; read it from `Live`.
    pub grace: Duration,
}

/// Where settings are read from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables; those without the prefix `CONCLAVE__` are passed over.
    pub env: Vec<(String, String)>,
    /// Flags that were given.
    pub flags: Vec<Flag>,
}

/// A setting's value as TOML shows it, and which layer gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The value.
    pub value: toml::Value,
    /// The layer.
    pub source: Source,
}

impl Setting {
    /// The value for people: on one line, and hidden where it is a secret.
    pub fn shown(&self, key: &str) -> String {
        layers::shown(key, &self.value)
    }
}

/// Keys whose values are shown to nobody.
const SECRET_KEYS: &[&str] = &[
    "auth.tokens",
    "auth.users",
    "database.url",
    "mail.password",
    "pbx.password",
    "trunks",
    "webhooks.secret",
    "webrtc.sip_accounts",
    "webrtc.turn_secret",
];

/// A configuration and the origin of each of its settings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As meant.
    pub config: Config,
    /// As written: every key, sorted.
    pub settings: BTreeMap<String, Setting>,
}

/// What differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that a running server takes over.
    pub live: Vec<String>,
    /// Keys that need a restart.
    pub restart: Vec<String>,
}

impl Loaded {
    /// Reads all layers.
    pub fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let settings = layers::merge(sources)?;
        let raw = layers::to_raw(&settings)?;
        let config = meaning::mean(&raw, &settings)?;
        Ok(Self { config, settings })
    }

    /// The error line for a value that only the caller could judge, naming where it was written.
    pub fn fault(&self, key: &str, allowed: &str) -> ConfigError {
        layers::fault(&self.settings, key, allowed)
    }

    /// What changed from `self` to `newer`.
    pub fn changes(&self, newer: &Self) -> Changes {
        let mut changes = Changes::default();
        for (key, setting) in &newer.settings {
            if self.settings.get(key).is_some_and(|old| old.value == setting.value) {
                continue;
            }
            let list = if live::KEYS.contains(&key.as_str()) { &mut changes.live } else { &mut changes.restart };
            list.push(key.clone());
        }
        changes
    }
}

/// The file that ships: every setting with its default.
pub const SHIPPED: &str = include_str!("../../../config/conclave.toml");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &[(&str, &str)], flags: Vec<Flag>) -> Result<Loaded, ConfigError> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Loaded::read(&Sources { file: None, env, flags })
    }

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn shipped_file_is_exactly_the_defaults() {
        let shipped: RawConfig = toml::from_str(SHIPPED).unwrap();
        assert_eq!(shipped, RawConfig::default());
    }

    #[test]
    fn every_setting_is_in_the_shipped_file_and_documented() {
        let mut section = String::new();
        let mut documented = Vec::new();
        let mut comment = false;
        for line in SHIPPED.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = format!("{name}.");
            } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.starts_with(['#', ' '])) {
                assert!(comment, "{section}{key} has no comment above it");
                documented.push(format!("{section}{key}"));
            }
            comment = line.starts_with('#');
        }
        // Shown as an example, which a test of its own compares.
        documented.push("trunks".to_owned());
        documented.sort();
        let keys: Vec<String> = read(&[], vec![]).unwrap().settings.into_keys().collect();
        assert_eq!(documented, keys);
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let (_dir, path) =
            written("c.toml", "[media]\nworkers = 2\nmax_talkers = 5\nopus_complexity = 7\n[log]\nfilter = \"warn\"\n");
        let loaded = Loaded::read(&Sources {
            file: Some(path.clone()),
            env: vec![
                ("CONCLAVE__MEDIA__WORKERS".into(), "3".into()),
                ("CONCLAVE__MEDIA__MAX_TALKERS".into(), "6".into()),
                ("CONCLAVE_HOME".into(), "not ours".into()),
            ],
            flags: vec![Flag::new("--workers", "media.workers", "4")],
        })
        .unwrap();
        assert_eq!(loaded.config.media.workers, 4);
        assert_eq!(loaded.config.media.max_talkers, 6);
        assert_eq!(loaded.config.media.opus_complexity, 7);
        assert_eq!(loaded.config.log.filter, "warn");
        assert_eq!(loaded.config.api.listen.port(), 8887);
        assert_eq!(loaded.settings["media.opus_complexity"].source, Source::File(path, 4));
    }

    #[test]
    fn unknown_key_is_named_with_its_place_and_its_neighbours() {
        let (_dir, path) = written("c.toml", "[api]\n\nlissten = \"127.0.0.1:1\"\n");
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        let text = Loaded::read(&sources).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "api.lissten ({}:3): unknown setting; did you mean api.listen? In [api] there are: body_limit_bytes, listen, \
                 metrics, metrics_listen, public_url, requests_per_minute, tls_certificate, tls_key, tls_listen, tls_self_signed, \
                 trusted_proxies",
                path.display()
            )
        );
        let text = read(&[("CONCLAVE__SIP__PORT", "5060")], vec![]).unwrap_err().to_string();
        assert!(text.starts_with("sip.port (environment CONCLAVE__SIP__PORT): unknown setting"), "{text}");
        let text = read(&[("CONCLAVE__SIPP", "5060")], vec![]).unwrap_err().to_string();
        assert!(text.starts_with("sipp (environment CONCLAVE__SIPP): unknown setting"), "{text}");
    }

    #[test]
    fn a_section_is_not_a_value_and_a_value_is_not_a_section() {
        for (text, starts) in [
            ("api = 3\n", "api ("),
            ("[data_dir]\nx = 1\n", "data_dir ("),
            ("[api.listen]\nport = 1\n", "api.listen ("),
            ("[[sip]]\n", "sip ("),
        ] {
            let (_dir, path) = written("c.toml", text);
            let error = Loaded::read(&Sources { file: Some(path), ..Sources::default() }).unwrap_err().to_string();
            assert!(error.starts_with(starts), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn bad_values_say_what_is_allowed() {
        for (key, value, allowed) in [
            ("SIP__LISTEN", "5060", "an address with a port"),
            ("SIP__ALLOW", "10.0.0.0/33", "networks"),
            ("MEDIA__RTP_PORTS", "30000-20000", "LO-HI"),
            ("MEDIA__RTP_PORTS", "80-200", "1024"),
            ("MEDIA__RTP_PORTS", "20001-20002", "pair"),
            ("MEDIA__OPUS_COMPLEXITY", "11", "0 to 10"),
            ("MEDIA__OPUS_BITRATE_KBPS", "0", "6 to 128"),
            ("MEDIA__CODECS", "g729", "pcmu"),
            ("MEDIA__CODECS", "[]", "at least one"),
            ("MEDIA__WORKERS", "-1", "0 to"),
            ("MEDIA__WORKERS", "many", "a whole number"),
            ("API__METRICS", "yes", "true or false"),
            ("SERVER__IPV4", "::1", "IPv4"),
            ("SERVER__NAME", "", "1 to 64"),
            ("LOG__FORMAT", "xml", "text"),
            ("DATA_DIR", "", "a directory"),
            ("SIP__USER_AGENT", "a\r\nb", "printable"),
            ("API__TLS_CERTIFICATE", "cert.pem", "or both empty"),
            ("API__TLS_KEY", "key.pem", "or both empty"),
            ("API__TRUSTED_PROXIES", "proxy", "networks"),
            ("AUTH__USERS", "alice admin secret", "an argon2id hash, as `conclave user hash` makes it (entry 1)"),
            ("AUTH__USERS", "alice", "NAME ROLE HASH (entry 1)"),
            ("AUTH__TOKENS", "portal operator 00", "64 hexadecimal digits (entry 1)"),
            ("AUTH__TOKENS", "portal king 00", "operator or viewer (entry 1)"),
            ("AUTH__SIGN_IN_LOCKOUT_MAX_S", "29", "at least auth.sign_in_lockout_s"),
            ("AUTH__ACCESS_TOKEN_TTL_S", "0", "10 to"),
            ("PROMPTS__LANGUAGE", "", "BCP 47"),
            ("PROMPTS__LANGUAGE", "english language", "BCP 47"),
            ("EVENTS__RETENTION_DAYS", "0", "1 to"),
            ("WEBHOOKS__TYPES", "room.started, meeting.started", "meeting.started"),
            ("WEBHOOKS__URLS", "https://example.com", "webhooks.secret"),
            ("WEBHOOKS__URLS", "https://user:secret@example.com", "without a user"),
            ("WEBHOOKS__URLS", "http://127.0.0.1:9000/", "webhooks.allow_private"),
            ("WEBHOOKS__SECRET", "short", "16 to 256"),
            ("MAIL__SMTP", "mail.example.com", "smtps://HOST:PORT"),
            ("MAIL__SMTP", "http://mail.example.com", "smtps://HOST:PORT"),
            ("MAIL__SMTP", "smtps://alice:secret@mail.example.com", "without a user"),
            ("MAIL__FROM", "nobody", "a mail address"),
            ("MAIL__REPLY_TO", "a@example.org\r\nBcc: b@example.org", "a mail address"),
            ("MAIL__PASSWORD", "secret", "set together with mail.user"),
            ("MAIL__JOIN_URL", "ftp://example.org", "https://"),
        ] {
            let name = format!("CONCLAVE__{key}");
            let text = read(&[(&name, value)], vec![]).unwrap_err().to_string();
            assert!(
                text.contains(&name) && text.contains(allowed) && text.lines().count() == 1,
                "{key}={value}: {text}"
            );
        }
    }

    #[test]
    fn webhooks_are_each_named_once_and_their_secret_is_shown_to_nobody() {
        let loaded = read(
            &[
                (
                    "CONCLAVE__WEBHOOKS__URLS",
                    "https://example.com/key-1, http://127.0.0.1:9000, https://EXAMPLE.com/key-1",
                ),
                ("CONCLAVE__WEBHOOKS__SECRET", "sixteen-and-more-characters"),
                ("CONCLAVE__WEBHOOKS__ALLOW_PRIVATE", "true"),
            ],
            vec![],
        )
        .unwrap();
        assert_eq!(loaded.config.webhooks.urls, ["https://example.com/key-1", "http://127.0.0.1:9000/"]);
        let shown: String = loaded.settings.iter().map(|(key, setting)| setting.shown(key)).collect();
        let shown = format!("{shown}{:?}", loaded.config);
        assert!(!shown.contains("sixteen"), "{shown}");
    }

    #[test]
    fn mail_needs_a_sender_and_keeps_its_password_to_itself() {
        let mail = |smtp: &str, more: &[(&str, &str)]| {
            let mut env = vec![("CONCLAVE__MAIL__SMTP", smtp)];
            env.extend(more);
            read(&env, vec![])
        };
        let from = ("CONCLAVE__MAIL__FROM", "Conferences <conf@example.org>");
        let login = [from, ("CONCLAVE__MAIL__USER", "conf"), ("CONCLAVE__MAIL__PASSWORD", "hunter2-and-more")];
        assert!(read(&[], vec![]).unwrap().config.mail.is_none());
        let text = mail("smtps://mail.example.org", &[]).unwrap_err().to_string();
        assert!(text.starts_with("mail.from") && text.contains("must be set"), "{text}");
        let text = mail("smtp://mail.example.org", &login).unwrap_err().to_string();
        assert!(text.contains("a password is not sent in the clear"), "{text}");
        for (url, security, port) in [
            ("smtps://mail.example.org", MailSecurity::Tls, 465),
            ("smtp+starttls://mail.example.org", MailSecurity::StartTls, 587),
            ("smtp+starttls://[2001:db8::1]:2525", MailSecurity::StartTls, 2525),
            ("smtp://127.0.0.1:1025", MailSecurity::None, 1025),
            ("smtp://localhost", MailSecurity::None, 25),
        ] {
            let loaded = mail(url, &login).unwrap();
            let meant = loaded.config.mail.as_ref().unwrap();
            assert_eq!((meant.security, meant.port), (security, port), "{url}");
            assert_eq!(meant.credentials, Some(("conf".to_owned(), "hunter2-and-more".to_owned())));
            let shown: String = loaded.settings.iter().map(|(key, setting)| setting.shown(key)).collect();
            assert!(!format!("{shown}{:?}", loaded.config).contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn a_flag_that_cannot_be_is_named_as_the_flag() {
        let text = read(&[], vec![Flag::new("--sip-listen", "sip.listen", "nowhere")]).unwrap_err().to_string();
        assert!(text.starts_with("sip.listen (flag --sip-listen): \"nowhere\""), "{text}");
    }

    #[test]
    fn broken_toml_names_the_line() {
        let (_dir, path) = written("c.toml", "[api]\nlisten = \n");
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        let text = Loaded::read(&sources).unwrap_err().to_string();
        assert!(text.starts_with(&format!("{}:2:", path.display())) && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn missing_file_is_an_error_not_a_default() {
        let sources = Sources { file: Some("/nonexistent/conclave.toml".into()), ..Sources::default() };
        let text = Loaded::read(&sources).unwrap_err().to_string();
        assert!(text.contains("/nonexistent/conclave.toml"), "{text}");
    }

    #[test]
    fn odd_ends_of_the_rtp_range_are_left_out() {
        let config = read(&[("CONCLAVE__MEDIA__RTP_PORTS", "20001-20006")], vec![]).unwrap().config;
        assert_eq!(config.media.rtp_ports, 20002..=20005);
        assert_eq!(config.media.port_pairs(), 2);
    }

    #[test]
    fn default_rtp_range_holds_the_default_participants_below_32768() {
        let config = read(&[], vec![]).unwrap().config;
        assert!(*config.media.rtp_ports.end() < 32_768);
        assert!(config.media.port_pairs() >= config.server.max_participants);
    }

    #[test]
    fn lists_come_from_the_environment_with_commas_or_as_toml() {
        for text in ["10.0.0.0/8, 192.0.2.1", "[\"10.0.0.0/8\", \"192.0.2.1\"]"] {
            let config = read(&[("CONCLAVE__SIP__ALLOW", text)], vec![]).unwrap().config;
            assert_eq!(config.sip.allow, vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.1/32".parse::<IpNet>().unwrap()]);
        }
        assert!(read(&[("CONCLAVE__SIP__ALLOW", "")], vec![]).unwrap().config.sip.allow.is_empty());
    }

    #[test]
    fn reload_takes_the_live_keys_and_names_the_others() {
        let old = read(&[], vec![]).unwrap();
        let new = read(
            &[
                ("CONCLAVE__LOG__FILTER", "debug"),
                ("CONCLAVE__SIP__ALLOW", "192.0.2.0/24"),
                ("CONCLAVE__API__LISTEN", "127.0.0.1:9999"),
            ],
            vec![],
        )
        .unwrap();
        let changes = old.changes(&new);
        assert_eq!(changes.live, ["log.filter", "sip.allow"]);
        assert_eq!(changes.restart, ["api.listen"]);
        let reader = old.config.live.clone();
        old.config.live.replace(new.config.live.limits().as_ref().clone());
        assert_eq!(reader.limits().allow, ["192.0.2.0/24".parse::<IpNet>().unwrap()]);
        assert_eq!(old.changes(&old), Changes::default());
    }

    #[test]
    fn every_live_key_is_a_setting() {
        let loaded = read(&[], vec![]).unwrap();
        for key in live::KEYS {
            assert!(loaded.settings.contains_key(*key), "{key}");
        }
    }
}
