//! From settings as written to settings as meant: each check with the words that say what is allowed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use media::{Bitrate, CodecName, Finalize, VideoCodec};
use url::Url;

use super::{
    ApiConfig, AuthConfig, Config, ConfigError, DatabaseConfig, DrainConfig, EventsConfig, Limits, Live, LogConfig,
    MediaConfig, PromptsConfig, RawAuth, RawConfig, RecordingsConfig, RoomsConfig, ServerConfig, Setting, SignInLimits,
    SipConfig, TokenEntry, UserEntry, WebhooksConfig, layers, mail,
};
use crate::auth;
use crate::config::raw::{RawPrompts, RawWebhooks};
use crate::events::{Types, checked_webhook_url};
use crate::rooms::Rules;
use crate::store::{Role, Store};

const DAY_S: i64 = 86_400;
/// What signs webhooks: long enough not to be guessed.
const MIN_WEBHOOK_SECRET: usize = 16;
const MAX_WEBHOOK_SECRET: usize = 256;
/// As many as the API makes.
const MAX_WEBHOOKS: usize = 32;
/// More threads than this is a typing error, not a machine.
const MAX_WORKERS: i64 = 256;

/// Checks every value.
pub(super) fn mean(raw: &RawConfig, settings: &BTreeMap<String, Setting>) -> Result<Config, ConfigError> {
    let check = Check(settings);
    let RawConfig {
        database,
        server,
        api,
        auth,
        sip,
        media,
        rooms,
        recordings,
        prompts,
        events,
        webhooks,
        mail,
        log,
        drain,
        ..
    } = raw;
    let trunks = check.trunks(&raw.trunks)?;

    check.that("data_dir", !raw.data_dir.trim().is_empty(), "a directory")?;
    let data_dir = PathBuf::from(&raw.data_dir);
    check.that("server.name", (1..=64).contains(&server.name.chars().count()), "1 to 64 characters")?;
    check.that(
        "sip.user_agent",
        (1..=128).contains(&sip.user_agent.len()) && sip.user_agent.bytes().all(|b| (0x20..0x7f).contains(&b)),
        "1 to 128 printable ASCII characters",
    )?;
    check.that("sip.udp", sip.udp || sip.tcp, "true when sip.tcp is false: phones need one of the two")?;
    let is_dialled = (1..=64).contains(&rooms.lobby_number.len())
        && rooms.lobby_number.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_.".contains(&b));
    check.that(
        "rooms.lobby_number",
        rooms.lobby_number.is_empty() || is_dialled,
        "what is dialled: 1 to 64 letters, digits and + - _ . or empty",
    )?;
    check.that(
        "log.filter",
        !log.filter.trim().is_empty(),
        "filter directives such as info or info,control::sip=debug",
    )?;
    let json = match log.format.as_str() {
        "text" => false,
        "json" => true,
        _ => return Err(check.fault("log.format", "text or json")),
    };

    let server = ServerConfig {
        name: server.name.clone(),
        ipv4: check
            .optional::<Ipv4Addr>("server.ipv4", &server.ipv4, "an IPv4 address, or empty")?
            .map(|ip| ip.to_string()),
        ipv6: check
            .optional::<Ipv6Addr>("server.ipv6", &server.ipv6, "an IPv6 address, or empty")?
            .map(|ip| ip.to_string()),
        max_rooms: check.number("server.max_rooms", server.max_rooms, 0..=i64::from(i32::MAX))?,
        max_participants: check.number("server.max_participants", server.max_participants, 0..=i64::from(i32::MAX))?,
    };
    let one_is_told = server.ipv4.is_some() || server.ipv6.is_some();
    check.that("server.ipv4", one_is_told, "an IPv4 address when server.ipv6 is empty")?;
    let limits = Limits {
        allow: check.networks("sip.allow", &sip.allow)?,
        invites_per_source_per_second: check.number(
            "sip.invites_per_source_per_second",
            sip.invites_per_source_per_second,
            1..=100_000,
        )?,
        max_calls_in_setup: check.number("sip.max_calls_in_setup", sip.max_calls_in_setup, 1..=100_000)?,
        requests_per_minute: check.number("api.requests_per_minute", api.requests_per_minute, 1..=10_000_000)?,
        grace: Duration::from_secs(check.number("drain.grace_s", drain.grace_s, 0..=DAY_S)?),
    };
    let dir = match recordings.dir.as_str() {
        "" => data_dir.join("recordings"),
        dir => PathBuf::from(dir),
    };

    let database = match database.url.as_str() {
        "" => DatabaseConfig::Sqlite(data_dir.join(Store::FILE)),
        url => DatabaseConfig::Postgres(check.postgres("database.url", url)?),
    };

    let public_url = check.public_url(&api.public_url)?;
    let tls = check.tls(api, &data_dir, &public_url)?;
    let tls_listen = check.tls_listen(api, tls.is_some())?;

    Ok(Config {
        data_dir,
        database,
        server,
        api: ApiConfig {
            listen: check.address("api.listen", &api.listen)?,
            body_limit_bytes: check.number("api.body_limit_bytes", api.body_limit_bytes, 1024..=64 << 20)?,
            requests_per_minute: limits.requests_per_minute,
            metrics_listen: check.optional(
                "api.metrics_listen",
                &api.metrics_listen,
                "an address with a port, such as 127.0.0.1:9100, or empty",
            )?,
            metrics: api.metrics,
            tls,
            tls_listen,
            public_url,
            trusted_proxies: check.networks("api.trusted_proxies", &api.trusted_proxies)?,
        },
        auth: check.auth(auth)?,
        sip: SipConfig {
            listen: check.address("sip.listen", &sip.listen)?,
            udp: sip.udp,
            tcp: sip.tcp,
            advertise: check
                .optional::<IpAddr>("sip.advertise", &sip.advertise, "an IP address that phones can reach, or empty")?
                .map(|ip| match ip.is_unspecified() || ip.is_multicast() {
                    true => Err(check.fault("sip.advertise", "an IP address that phones can reach, or empty")),
                    false => Ok(ip),
                })
                .transpose()?,
            allow: limits.allow.clone(),
            invites_per_source_per_second: limits.invites_per_source_per_second,
            max_calls_in_setup: limits.max_calls_in_setup,
            user_agent: sip.user_agent.clone(),
        },
        trunks,
        dialing: check.dialing(&raw.dialing)?,
        pbx: check.pbx(&raw.pbx)?,
        media: MediaConfig {
            workers: match check.number("media.workers", media.workers, 0..=MAX_WORKERS)? {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                n => n,
            },
            rtp_ports: check.ports("media.rtp_ports", &media.rtp_ports)?,
            codecs: check.codecs("media.codecs", &media.codecs)?,
            max_talkers: check.number("media.max_talkers", media.max_talkers, 0..=1000)?,
            // libopus takes from 6 kbit/s (RFC 6716 §2.1.1); more than 128 for one voice is wasted, and 160 would not fit a packet.
            opus_bitrate: Bitrate::kbps(check.number("media.opus_bitrate_kbps", media.opus_bitrate_kbps, 6..=128)?),
            opus_complexity: check.number("media.opus_complexity", media.opus_complexity, 0..=10)?,
            // Below 60 ms the longest packets (ptime 60) could not be buffered at all.
            playout_ceiling: Duration::from_millis(check.number(
                "media.playout_ceiling_ms",
                media.playout_ceiling_ms,
                60..=400,
            )?),
            media_timeout: Duration::from_secs(check.number(
                "media.media_timeout_s",
                media.media_timeout_s,
                5..=DAY_S,
            )?),
            realtime: media.realtime,
            composers: match check.number("media.composers", media.composers, 0..=MAX_WORKERS)? {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                n => n,
            },
            video_codecs: check.video_codecs("media.video_codecs", &media.video_codecs)?,
            name_strips: media.name_strips,
        },
        webrtc: check.webrtc(&raw.webrtc, &sip.advertise, &api.listen)?,
        rooms: RoomsConfig {
            lobby_number: (!rooms.lobby_number.is_empty()).then(|| rooms.lobby_number.clone()),
            rules: Rules {
                early_join: Duration::from_secs(check.number(
                    "rooms.early_join_s",
                    rooms.early_join_s,
                    0..=30 * DAY_S,
                )?),
                close_at_end: rooms.close_at_end,
            },
        },
        recordings: RecordingsConfig {
            dir,
            private_urls: recordings.private_urls,
            url_ttl: Duration::from_secs(check.number(
                "recordings.url_ttl_s",
                recordings.url_ttl_s,
                1..=366 * DAY_S,
            )?),
            retention_days: check.number("recordings.retention_days", recordings.retention_days, 0..=36_500)?,
            delete_with_room: recordings.delete_with_room,
            movies: if recordings.faststart { Finalize::Plain } else { Finalize::Fragmented },
        },
        prompts: check.prompts(prompts)?,
        events: EventsConfig {
            retention: Duration::from_secs(
                check.number::<u64>("events.retention_days", events.retention_days, 1..=3650)? * DAY_S.unsigned_abs(),
            ),
            max_streams: check.number("events.max_streams", events.max_streams, 1..=10_000)?,
            stream_patience: Duration::from_secs(check.number(
                "events.stream_patience_s",
                events.stream_patience_s,
                1..=60,
            )?),
            heartbeat: Duration::from_secs(check.number("events.heartbeat_s", events.heartbeat_s, 1..=60)?),
        },
        webhooks: check.webhooks(webhooks)?,
        mail: mail::mean(mail, &|key, allowed| check.fault(key, allowed))?,
        log: LogConfig { json, filter: log.filter.clone() },
        drain: DrainConfig { grace: limits.grace },
        live: Live::new(limits),
    })
}

/// The checks, which know where each value was written.
pub(super) struct Check<'a>(&'a BTreeMap<String, Setting>);

impl Check<'_> {
    pub(super) fn fault(&self, key: &str, allowed: &str) -> ConfigError {
        layers::fault(self.0, key, allowed)
    }

    pub(super) fn that(&self, key: &str, holds: bool, allowed: &str) -> Result<(), ConfigError> {
        if holds { Ok(()) } else { Err(self.fault(key, allowed)) }
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        value: i64,
        range: RangeInclusive<i64>,
    ) -> Result<T, ConfigError> {
        let allowed = || format!("{} to {}", range.start(), range.end());
        let value = range.contains(&value).then_some(value).ok_or_else(|| self.fault(key, &allowed()))?;
        T::try_from(value).map_err(|_| self.fault(key, &allowed()))
    }

    pub(super) fn optional<T: std::str::FromStr>(
        &self,
        key: &str,
        text: &str,
        allowed: &str,
    ) -> Result<Option<T>, ConfigError> {
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| self.fault(key, allowed)) }
    }

    fn address(&self, key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
        text.parse().map_err(|_| self.fault(key, "an address with a port, such as 0.0.0.0:5060 or [::]:5060"))
    }

    /// sqlx takes both schemes.
    fn postgres(&self, key: &str, text: &str) -> Result<Url, ConfigError> {
        let fits = |url: &Url| matches!(url.scheme(), "postgres" | "postgresql") && url.has_host();
        let allowed = "postgres://USER:PASSWORD@HOST:PORT/DATABASE, or empty";
        Url::parse(text).ok().filter(fits).ok_or_else(|| self.fault(key, allowed))
    }

    fn networks(&self, key: &str, items: &[String]) -> Result<Vec<IpNet>, ConfigError> {
        let network = |s: &String| s.parse().ok().or_else(|| s.parse::<IpAddr>().ok().map(IpNet::from));
        let all: Option<Vec<IpNet>> = items.iter().map(network).collect();
        all.ok_or_else(|| self.fault(key, "networks or addresses, such as \"10.0.0.0/8\", \"fd00::/8\", \"192.0.2.7\""))
    }

    fn auth(&self, raw: &RawAuth) -> Result<AuthConfig, ConfigError> {
        let seconds = |key: &str, value: i64, range: RangeInclusive<i64>| {
            self.number::<u64>(key, value, range).map(Duration::from_secs)
        };
        let sign_in = SignInLimits {
            attempts: self.number("auth.sign_in_attempts", raw.sign_in_attempts, 1..=1000)?,
            attempts_per_address: self.number(
                "auth.sign_in_attempts_per_address",
                raw.sign_in_attempts_per_address,
                1..=1_000_000,
            )?,
            lockout: seconds("auth.sign_in_lockout_s", raw.sign_in_lockout_s, 1..=DAY_S)?,
            lockout_max: seconds("auth.sign_in_lockout_max_s", raw.sign_in_lockout_max_s, 1..=DAY_S)?,
        };
        let grows = sign_in.lockout <= sign_in.lockout_max;
        self.that("auth.sign_in_lockout_max_s", grows, "at least auth.sign_in_lockout_s")?;
        Ok(AuthConfig {
            users: self.users("auth.users", &raw.users)?,
            tokens: self.tokens("auth.tokens", &raw.tokens)?,
            access_token_ttl: seconds("auth.access_token_ttl_s", raw.access_token_ttl_s, 10..=366 * DAY_S)?,
            refresh_token_ttl: seconds("auth.refresh_token_ttl_s", raw.refresh_token_ttl_s, 10..=366 * DAY_S)?,
            sign_in,
            failures_per_minute: self.number("auth.failures_per_minute", raw.failures_per_minute, 1..=10_000_000)?,
        })
    }

    fn users(&self, key: &str, items: &[String]) -> Result<Vec<UserEntry>, ConfigError> {
        let mut users: Vec<UserEntry> = Vec::new();
        for (number, item) in (1..).zip(items) {
            let fault = |what: &str| self.fault(key, &format!("{what} (entry {number})"));
            let (name, role, hash) = entry(item).ok_or_else(|| fault("NAME ROLE HASH"))?;
            if !auth::is_name(name) || users.iter().any(|user| user.name == name) {
                return Err(fault("a name of 1 to 64 printable characters that no other entry has"));
            }
            let role = Role::parse(role).ok_or_else(|| fault("a role, admin, operator or viewer"))?;
            if !auth::is_password_hash(hash) {
                return Err(fault("an argon2id hash, as `conclave user hash` makes it"));
            }
            users.push(UserEntry { name: name.to_owned(), role, password_hash: hash.to_owned() });
        }
        Ok(users)
    }

    fn tokens(&self, key: &str, items: &[String]) -> Result<Vec<TokenEntry>, ConfigError> {
        let mut tokens: Vec<TokenEntry> = Vec::new();
        for (number, item) in (1..).zip(items) {
            let fault = |what: &str| self.fault(key, &format!("{what} (entry {number})"));
            let (name, role, digest) = entry(item).ok_or_else(|| fault("NAME ROLE SHA256"))?;
            if !auth::is_name(name) {
                return Err(fault("a name of 1 to 64 printable characters"));
            }
            let role = Role::parse(role).ok_or_else(|| fault("a role, admin, operator or viewer"))?;
            let digest = digest_of_hex(digest).ok_or_else(|| fault("a digest of 64 hexadecimal digits"))?;
            if tokens.iter().any(|token| token.digest == digest) {
                return Err(fault("a digest that no other entry has"));
            }
            tokens.push(TokenEntry { name: name.to_owned(), role, digest });
        }
        Ok(tokens)
    }

    fn prompts(&self, raw: &RawPrompts) -> Result<PromptsConfig, ConfigError> {
        let is_language = oxilangtag::LanguageTag::parse(raw.language.as_str()).is_ok();
        self.that("prompts.language", is_language, "a BCP 47 language tag such as en or pt-BR")?;
        let dir = Some(PathBuf::from(&raw.dir)).filter(|dir| !dir.as_os_str().is_empty());
        Ok(PromptsConfig { dir, language: raw.language.clone() })
    }

    fn webhooks(&self, raw: &RawWebhooks) -> Result<WebhooksConfig, ConfigError> {
        let mut urls = Vec::new();
        for url in &raw.urls {
            let url = checked_webhook_url(url, raw.allow_private);
            let allowed = |rule| format!("URLs that a webhook may have, and one {rule}");
            let url = url.map_err(|rule| self.fault("webhooks.urls", &allowed(rule)))?;
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        self.that("webhooks.urls", urls.len() <= MAX_WEBHOOKS, "32 URLs at most")?;
        let length = raw.secret.len();
        let is_set = (MIN_WEBHOOK_SECRET..=MAX_WEBHOOK_SECRET).contains(&length);
        self.that("webhooks.secret", length == 0 || is_set, "16 to 256 bytes, or empty")?;
        self.that("webhooks.urls", urls.is_empty() || is_set, "empty as long as webhooks.secret is")?;
        let types = Types::parse(raw.types.iter().map(String::as_str));
        Ok(WebhooksConfig {
            urls,
            secret: raw.secret.clone(),
            types: types.map_err(|rule| self.fault("webhooks.types", &format!("a list of known types; it {rule}")))?,
            allow_private: raw.allow_private,
            max_pending: self.number("webhooks.max_pending", raw.max_pending, 1..=100_000)?,
        })
    }

    /// Whole pairs only: RTP takes the even port, RTCP the odd one above it (RFC 3550 §11).
    fn ports(&self, key: &str, text: &str) -> Result<RangeInclusive<u16>, ConfigError> {
        let ends = text.split_once('-').and_then(|(lo, hi)| {
            let (lo, hi) = (lo.trim().parse::<u16>().ok()?, hi.trim().parse::<u16>().ok()?);
            (lo >= 1024 && lo <= hi).then_some((lo.next_multiple_of(2), hi))
        });
        let (lo, hi) =
            ends.ok_or_else(|| self.fault(key, "LO-HI with 1024 <= LO <= HI <= 65535, such as 16384-32767"))?;
        let hi = if hi % 2 == 0 { hi - 1 } else { hi };
        self.that(key, lo < hi, "a range with at least one pair of an even port and the odd port above it")?;
        Ok(lo..=hi)
    }

    pub(super) fn codecs(&self, key: &str, items: &[String]) -> Result<Vec<CodecName>, ConfigError> {
        let codec = |s: &String| match s.to_ascii_lowercase().as_str() {
            "pcmu" => Some(CodecName::Pcmu),
            "pcma" => Some(CodecName::Pcma),
            "opus" => Some(CodecName::Opus),
            _ => None,
        };
        let all: Option<Vec<CodecName>> = items.iter().map(codec).collect();
        let all = all.filter(|all| !all.is_empty());
        all.ok_or_else(|| self.fault(key, "at least one of opus, pcmu, pcma"))
    }

    fn video_codecs(&self, key: &str, items: &[String]) -> Result<Vec<VideoCodec>, ConfigError> {
        let codec = |s: &String| match s.to_ascii_lowercase().as_str() {
            "h264" => Some(VideoCodec::H264),
            "vp8" => Some(VideoCodec::Vp8),
            _ => None,
        };
        let all: Option<Vec<VideoCodec>> = items.iter().map(codec).collect();
        all.filter(|all| !all.is_empty()).ok_or_else(|| self.fault(key, "at least one of h264, vp8"))
    }
}

/// `NAME ROLE REST`; only the name may have spaces.
fn entry(item: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = item.trim().rsplit_once(char::is_whitespace)?;
    let (name, role) = head.trim_end().rsplit_once(char::is_whitespace)?;
    Some((name.trim_end(), role, rest))
}

fn digest_of_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}
