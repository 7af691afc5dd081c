//! Settings as written: the shape of the TOML file, and every default. No meaning, no checks: those are `meaning`'s.
//!
//! An empty string is how a setting says "not set", so that the shipped file can show every key. `config/conclave.toml`
//! documents each of them for people; a test keeps the two equal.

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) data_dir: String,
    pub(crate) database: RawDatabase,
    pub(crate) server: RawServer,
    pub(crate) api: RawApi,
    pub(crate) auth: RawAuth,
    pub(crate) sip: RawSip,
    pub(crate) trunks: Vec<RawTrunk>,
    pub(crate) dialing: RawDialing,
    pub(crate) pbx: RawPbx,
    pub(crate) media: RawMedia,
    pub(crate) webrtc: RawWebRtc,
    pub(crate) rooms: RawRooms,
    pub(crate) recordings: RawRecordings,
    pub(crate) prompts: RawPrompts,
    pub(crate) events: RawEvents,
    pub(crate) webhooks: RawWebhooks,
    pub(crate) mail: RawMail,
    pub(crate) log: RawLog,
    pub(crate) drain: RawDrain,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            database: RawDatabase::default(),
            server: RawServer::default(),
            api: RawApi::default(),
            auth: RawAuth::default(),
            sip: RawSip::default(),
            trunks: Vec::new(),
            dialing: RawDialing::default(),
            pbx: RawPbx::default(),
            media: RawMedia::default(),
            webrtc: RawWebRtc::default(),
            rooms: RawRooms::default(),
            recordings: RawRecordings::default(),
            prompts: RawPrompts::default(),
            events: RawEvents::default(),
            webhooks: RawWebhooks::default(),
            mail: RawMail::default(),
            log: RawLog::default(),
            drain: RawDrain::default(),
        }
    }
}

/// `[database]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawDatabase {
    pub(crate) url: String,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawServer {
    pub(crate) name: String,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
    pub(crate) max_rooms: i64,
    pub(crate) max_participants: i64,
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            name: "conclave".into(),
            ipv4: "127.0.0.1".into(),
            ipv6: String::new(),
            max_rooms: 200,
            max_participants: 1000,
        }
    }
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawApi {
    pub(crate) listen: String,
    pub(crate) body_limit_bytes: i64,
    pub(crate) requests_per_minute: i64,
    pub(crate) metrics: bool,
    pub(crate) metrics_listen: String,
    pub(crate) tls_certificate: String,
    pub(crate) tls_key: String,
    pub(crate) tls_self_signed: bool,
    pub(crate) tls_listen: String,
    pub(crate) public_url: String,
    pub(crate) trusted_proxies: Vec<String>,
}

impl Default for RawApi {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8887".into(),
            body_limit_bytes: 65_536,
            requests_per_minute: 5000,
            metrics: true,
            metrics_listen: String::new(),
            tls_certificate: String::new(),
            tls_key: String::new(),
            tls_self_signed: false,
            tls_listen: String::new(),
            public_url: String::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawAuth {
    pub(crate) users: Vec<String>,
    pub(crate) tokens: Vec<String>,
    pub(crate) access_token_ttl_s: i64,
    pub(crate) refresh_token_ttl_s: i64,
    pub(crate) sign_in_attempts: i64,
    pub(crate) sign_in_attempts_per_address: i64,
    pub(crate) sign_in_lockout_s: i64,
    pub(crate) sign_in_lockout_max_s: i64,
    pub(crate) failures_per_minute: i64,
}

impl Default for RawAuth {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            tokens: Vec::new(),
            access_token_ttl_s: 3600,
            refresh_token_ttl_s: 2_592_000,
            sign_in_attempts: 5,
            sign_in_attempts_per_address: 20,
            sign_in_lockout_s: 30,
            sign_in_lockout_max_s: 900,
            failures_per_minute: 300,
        }
    }
}

/// `[sip]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawSip {
    pub(crate) listen: String,
    pub(crate) udp: bool,
    pub(crate) tcp: bool,
    pub(crate) advertise: String,
    pub(crate) allow: Vec<String>,
    pub(crate) invites_per_source_per_second: i64,
    pub(crate) max_calls_in_setup: i64,
    pub(crate) user_agent: String,
}

impl Default for RawSip {
    fn default() -> Self {
        let private = [
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ];
        Self {
            listen: "0.0.0.0:5060".into(),
            udp: true,
            tcp: true,
            advertise: String::new(),
            allow: private.map(Into::into).into(),
            invites_per_source_per_second: 300,
            max_calls_in_setup: 500,
            user_agent: "Conclave".into(),
        }
    }
}

/// One of `[[trunks]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawTrunk {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) transport: String,
    pub(crate) domain: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) password_file: String,
    pub(crate) realm: String,
    pub(crate) caller_id: String,
    pub(crate) asserted_identity: bool,
    pub(crate) codecs: Vec<String>,
    pub(crate) register: bool,
    pub(crate) expires_s: i64,
    pub(crate) patterns: Vec<String>,
    pub(crate) strip: i64,
    pub(crate) prepend: String,
    pub(crate) ring_timeout_s: i64,
    pub(crate) max_calls: i64,
}

impl Default for RawTrunk {
    fn default() -> Self {
        Self {
            name: String::new(),
            target: String::new(),
            transport: "auto".into(),
            domain: String::new(),
            user: String::new(),
            password: String::new(),
            password_file: String::new(),
            realm: String::new(),
            caller_id: String::new(),
            asserted_identity: false,
            codecs: Vec::new(),
            register: false,
            expires_s: 600,
            patterns: Vec::new(),
            strip: 0,
            prepend: String::new(),
            ring_timeout_s: 60,
            max_calls: 30,
        }
    }
}

/// `[dialing]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawDialing {
    pub(crate) allow: Vec<String>,
    pub(crate) deny: Vec<String>,
    pub(crate) sip_uris: bool,
    pub(crate) ring_timeout_s: i64,
    pub(crate) calls_per_minute_room: i64,
    pub(crate) calls_per_minute_token: i64,
    pub(crate) concurrent_room: i64,
    pub(crate) concurrent_token: i64,
}

impl Default for RawDialing {
    fn default() -> Self {
        Self {
            allow: ["XXX", "XXXX", "XXXXX", "XXXXXX"].map(Into::into).into(),
            deny: ["110", "112", "911", "999"].map(Into::into).into(),
            sip_uris: false,
            ring_timeout_s: 60,
            calls_per_minute_room: 30,
            calls_per_minute_token: 60,
            concurrent_room: 20,
            concurrent_token: 50,
        }
    }
}

/// `[pbx]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPbx {
    pub(crate) mode: String,
    pub(crate) registrar: String,
    pub(crate) transport: String,
    pub(crate) domain: String,
    pub(crate) user: String,
    pub(crate) auth_user: String,
    pub(crate) password: String,
    pub(crate) password_file: String,
    pub(crate) realm: String,
    pub(crate) expires_s: i64,
}

impl Default for RawPbx {
    fn default() -> Self {
        Self {
            mode: "off".into(),
            registrar: String::new(),
            transport: "udp".into(),
            domain: String::new(),
            user: String::new(),
            auth_user: String::new(),
            password: String::new(),
            password_file: String::new(),
            realm: String::new(),
            expires_s: 600,
        }
    }
}

/// `[media]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawMedia {
    pub(crate) workers: i64,
    pub(crate) rtp_ports: String,
    pub(crate) codecs: Vec<String>,
    pub(crate) max_talkers: i64,
    pub(crate) opus_bitrate_kbps: i64,
    pub(crate) opus_complexity: i64,
    pub(crate) playout_ceiling_ms: i64,
    pub(crate) media_timeout_s: i64,
    pub(crate) realtime: bool,
    pub(crate) composers: i64,
    pub(crate) video_codecs: Vec<String>,
    pub(crate) name_strips: bool,
}

impl Default for RawMedia {
    fn default() -> Self {
        Self {
            workers: 0,
            rtp_ports: "16384-32767".into(),
            codecs: ["opus", "pcmu", "pcma"].map(Into::into).into(),
            max_talkers: 8,
            opus_bitrate_kbps: 96,
            opus_complexity: 5,
            playout_ceiling_ms: 200,
            media_timeout_s: 60,
            realtime: true,
            composers: 0,
            video_codecs: ["h264", "vp8"].map(Into::into).into(),
            name_strips: true,
        }
    }
}

/// `[webrtc]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawWebRtc {
    pub(crate) enabled: bool,
    pub(crate) udp_port: i64,
    pub(crate) tcp: bool,
    pub(crate) tcp_port: i64,
    pub(crate) addresses: Vec<String>,
    pub(crate) resume_s: i64,
    pub(crate) turn_urls: Vec<String>,
    pub(crate) turn_secret: String,
    pub(crate) turn_ttl_s: i64,
    pub(crate) sip_accounts: Vec<String>,
}

impl Default for RawWebRtc {
    fn default() -> Self {
        Self {
            enabled: true,
            udp_port: 16_300,
            tcp: false,
            tcp_port: 16_300,
            addresses: Vec::new(),
            resume_s: 15,
            turn_urls: Vec::new(),
            turn_secret: String::new(),
            turn_ttl_s: 86_400,
            sip_accounts: Vec::new(),
        }
    }
}

/// `[rooms]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawRooms {
    pub(crate) lobby_number: String,
    pub(crate) early_join_s: i64,
    pub(crate) close_at_end: bool,
}

impl Default for RawRooms {
    fn default() -> Self {
        Self { lobby_number: String::new(), early_join_s: 900, close_at_end: false }
    }
}

/// `[recordings]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawRecordings {
    pub(crate) dir: String,
    pub(crate) private_urls: bool,
    pub(crate) url_ttl_s: i64,
    pub(crate) retention_days: i64,
    pub(crate) delete_with_room: bool,
    pub(crate) faststart: bool,
}

impl Default for RawRecordings {
    fn default() -> Self {
        Self {
            dir: String::new(),
            private_urls: true,
            url_ttl_s: 3600,
            retention_days: 0,
            delete_with_room: false,
            faststart: true,
        }
    }
}

/// `[prompts]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPrompts {
    pub(crate) dir: String,
    pub(crate) language: String,
}

impl Default for RawPrompts {
    fn default() -> Self {
        Self { dir: String::new(), language: "en".into() }
    }
}

/// `[events]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawEvents {
    pub(crate) retention_days: i64,
    pub(crate) max_streams: i64,
    pub(crate) stream_patience_s: i64,
    pub(crate) heartbeat_s: i64,
}

impl Default for RawEvents {
    fn default() -> Self {
        Self { retention_days: 7, max_streams: 256, stream_patience_s: 20, heartbeat_s: 15 }
    }
}

/// `[webhooks]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawWebhooks {
    pub(crate) urls: Vec<String>,
    pub(crate) secret: String,
    pub(crate) types: Vec<String>,
    pub(crate) allow_private: bool,
    pub(crate) max_pending: i64,
}

impl Default for RawWebhooks {
    fn default() -> Self {
        Self { urls: Vec::new(), secret: String::new(), types: Vec::new(), allow_private: false, max_pending: 10_000 }
    }
}

/// `[mail]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawMail {
    pub(crate) smtp: String,
    pub(crate) ca_certificate: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) from: String,
    pub(crate) reply_to: String,
    pub(crate) dial_in: String,
    pub(crate) join_url: String,
    pub(crate) templates: String,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawLog {
    pub(crate) format: String,
    pub(crate) filter: String,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { format: "text".into(), filter: "info".into() }
    }
}

/// `[drain]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawDrain {
    pub(crate) grace_s: i64,
}

impl Default for RawDrain {
    fn default() -> Self {
        Self { grace_s: 10 }
    }
}
