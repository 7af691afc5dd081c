//! The dial plan: what is a number, whether it may be called, and which trunk takes it there. Pure.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use media::CodecName;

use super::limits::Limited;
use super::pattern::Pattern;
use crate::config::{DialingConfig, SipCredentials};

/// Longer texts are no number.
const MAX_DIGITS: usize = 64;
const MAX_URI_BYTES: usize = 256;

/// How requests to a trunk travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportChoice {
    /// By UDP, and by TCP what does not fit a datagram (RFC 3261 §18.1.1); a name may say otherwise (RFC 3263 §4.1).
    #[default]
    Auto,
    /// By UDP, whatever the size.
    Udp,
    /// By TCP.
    Tcp,
}

/// A provider or a PBX that takes our calls.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Unique; `outbound_caller_ids` of rooms name it as their `provider_id`.
    pub name: String,
    /// Where requests go: a host name, whose SRV records are asked when there is no port, or an IP address.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// Domain of Request-URI, To and From; `host`, unless it was set.
    pub domain: String,
    /// How requests travel.
    pub transport: TransportChoice,
    /// For 401 and 407.
    pub credentials: Option<SipCredentials>,
    /// Who calls, when the room does not say.
    pub caller_id: Option<String>,
    /// Says who calls in P-Asserted-Identity too (RFC 3325), as a trusted peer may.
    pub asserted_identity: bool,
    /// What is offered, in this order; empty: whatever the server has.
    pub codecs: Vec<CodecName>,
    /// We register there, for so long at a time.
    pub register: Option<Duration>,
    /// The numbers that it takes, as they were dialled; empty: all.
    pub patterns: Vec<Pattern>,
    /// Digits taken away at the front (a leading `+` counts as one).
    pub strip: usize,
    /// Put in front afterwards.
    pub prepend: String,
    /// From the INVITE to giving up.
    pub ring_timeout: Duration,
    /// Its lines.
    pub max_calls: u32,
}

impl Trunk {
    fn serves(&self, number: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(number))
    }

    /// The number as the trunk wants it.
    fn translated(&self, number: &str) -> String {
        // Numbers are ASCII: bytes are characters.
        format!("{}{}", self.prepend, number.get(self.strip..).unwrap_or_default())
    }
}

/// A `sip:` URI that is called without a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    /// User part as written; may be empty.
    pub user: String,
    /// Host name or IP address (IPv6 without brackets).
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// From the `transport` parameter.
    pub transport: TransportChoice,
    /// From the INVITE to giving up.
    pub ring_timeout: Duration,
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub enum Path {
    /// Over a trunk, which is told this number.
    Trunk {
        /// The trunk.
        trunk: Arc<Trunk>,
        /// User part of the Request-URI.
        user: String,
    },
    /// Straight to a `sip:` URI.
    Direct(Direct),
}

/// One way to call a number.
#[derive(Clone, Debug)]
pub struct Route {
    /// As it was dialled.
    pub number: String,
    /// Where the call goes.
    pub path: Path,
}

impl Route {
    /// The trunk, if the call goes over one.
    pub fn trunk(&self) -> Option<&Arc<Trunk>> {
        match &self.path {
            Path::Trunk { trunk, .. } => Some(trunk),
            Path::Direct(_) => None,
        }
    }
}

/// Why a number is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Neither digits, with or without a leading `+`, nor a `sip:` address.
    #[error("not a number: digits with an optional + in front, or a sip: address")]
    NotANumber,
    /// `dialing.sip_uris` is off.
    #[error("sip: addresses may not be called here")]
    SipUrisOff,
    /// A pattern of `dialing.deny` matches.
    #[error("the number is denied by {0}")]
    Denied(String),
    /// No pattern of `dialing.allow` matches.
    #[error("the number is not among those that may be called")]
    NotListed,
    /// There is none.
    #[error("no outbound trunk is configured")]
    NoTrunk,
    /// No trunk takes it.
    #[error("no trunk serves the number")]
    NotServed,
    /// For now.
    #[error("{0}")]
    Limited(Limited),
}

impl Forbidden {
    /// For metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotANumber => "not_a_number",
            Self::SipUrisOff => "sip_uris_off",
            Self::Denied(_) => "denied",
            Self::NotListed => "not_listed",
            Self::NoTrunk => "no_trunk",
            Self::NotServed => "not_served",
            Self::Limited(Limited::RoomRate(_) | Limited::TokenRate(_)) => "rate",
            Self::Limited(Limited::RoomCalls(_) | Limited::TokenCalls(_) | Limited::Crowded) => "calls",
            Self::Limited(Limited::Trunk(_)) => "trunk_full",
        }
    }
}

/// What may be called, and how.
#[derive(Debug)]
pub struct DialPlan {
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
    sip_uris: bool,
    direct_ring_timeout: Duration,
    trunks: Vec<Arc<Trunk>>,
}

impl DialPlan {
    /// With these trunks, in the order in which they are tried.
    pub fn new(config: &DialingConfig, trunks: Vec<Arc<Trunk>>) -> Self {
        Self {
            allow: config.allow.clone(),
            deny: config.deny.clone(),
            sip_uris: config.sip_uris,
            direct_ring_timeout: config.ring_timeout,
            trunks,
        }
    }

    /// All trunks.
    pub fn trunks(&self) -> &[Arc<Trunk>] {
        &self.trunks
    }

    /// The first way to call `number`.
    ///
    /// # Errors
    /// The one reason why it is not called.
    pub fn resolve(&self, number: &str) -> Result<Route, Forbidden> {
        self.routes(number)?.into_iter().next().ok_or(Forbidden::NotServed)
    }

    /// Every way to call `number`, the first to be tried first; never empty.
    ///
    /// # Errors
    /// The one reason why it is not called.
    pub fn routes(&self, number: &str) -> Result<Vec<Route>, Forbidden> {
        // Nothing can be called at all: that is what the operator has to know first.
        if self.trunks.is_empty() && !self.sip_uris {
            return Err(Forbidden::NoTrunk);
        }
        if number.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:")) {
            if !self.sip_uris {
                return Err(Forbidden::SipUrisOff);
            }
            let direct = Direct::parse(number, self.direct_ring_timeout).ok_or(Forbidden::NotANumber)?;
            return Ok(vec![Route { number: number.to_owned(), path: Path::Direct(direct) }]);
        }
        let digits = number.strip_prefix('+').unwrap_or(number);
        if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Forbidden::NotANumber);
        }
        if let Some(pattern) = self.deny.iter().find(|pattern| pattern.matches(number)) {
            return Err(Forbidden::Denied(pattern.to_string()));
        }
        if !self.allow.iter().any(|pattern| pattern.matches(number)) {
            return Err(Forbidden::NotListed);
        }
        if self.trunks.is_empty() {
            return Err(Forbidden::NoTrunk);
        }
        let serving = self.trunks.iter().filter(|trunk| trunk.serves(number));
        let routes: Vec<Route> = serving
            .map(|trunk| (trunk, trunk.translated(number)))
            .filter(|(_, user)| !user.is_empty())
            .map(|(trunk, user)| Route {
                number: number.to_owned(),
                path: Path::Trunk { trunk: Arc::clone(trunk), user },
            })
            .collect();
        if routes.is_empty() { Err(Forbidden::NotServed) } else { Ok(routes) }
    }
}

impl Direct {
    /// `sip:user@host:port;transport=tcp`. Passwords, headers and other parameters are not taken: they would be somebody's
    /// words in a request of ours.
    fn parse(uri: &str, ring_timeout: Duration) -> Option<Self> {
        let rest = uri.get(4..).filter(|_| uri.len() <= MAX_URI_BYTES)?;
        let (address, params) = rest.split_once(';').map_or((rest, None), |(address, params)| (address, Some(params)));
        let transport = match params.map(|p| p.trim().to_ascii_lowercase()).as_deref() {
            None => TransportChoice::Auto,
            Some("transport=udp") => TransportChoice::Udp,
            Some("transport=tcp") => TransportChoice::Tcp,
            Some(_) => return None,
        };
        let (user, host_port) = address.rsplit_once('@').unwrap_or(("", address));
        // Unreserved characters and those of a user part that need no escaping (RFC 3261 §25.1), without what begins parameters.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$/".contains(&b);
        if !user.bytes().all(plain) || (user.is_empty() && address.contains('@')) {
            return None;
        }
        let (host, port) = host_and_port(host_port)?;
        Some(Self { user: user.to_owned(), host, port, transport, ring_timeout })
    }
}

/// `host`, `host:port`, an IPv4 address, or an IPv6 address in brackets (returned without them).
pub(crate) fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let number = |port: &str| port.parse::<u16>().ok().filter(|port| *port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, after) = rest.split_once(']')?;
        let IpAddr::V6(ip) = ip.parse().ok()? else { return None };
        return match after.strip_prefix(':') {
            Some(port) => Some((ip.to_string(), Some(number(port)?))),
            None if after.is_empty() => Some((ip.to_string(), None)),
            None => None,
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(number(port)?)),
        None => (text, None),
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
    };
    let is_name = host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label);
    is_name.then(|| (host.to_ascii_lowercase(), port))
}

impl fmt::Display for Route {
    /// For logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Path::Trunk { trunk, user } => write!(f, "{user} over trunk {}", trunk.name),
            Path::Direct(direct) => write!(f, "sip:{}@{}", direct.user, direct.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialing::testing::{config, trunk};

    fn way(plan: &DialPlan, number: &str) -> String {
        plan.resolve(number).map_or_else(|why| why.label().to_owned(), |route| route.to_string())
    }

    #[test]
    fn each_number_gets_its_trunk_or_its_reason() {
        let mut abroad = trunk("abroad", &["+.", "00X."]);
        abroad.strip = 1;
        abroad.prepend = "00".to_owned();
        let plan = DialPlan::new(
            &config(&["XXX", "+49.", "+1900.", "00Z.", "0."], &["+1900.", "110"]),
            vec![Arc::new(trunk("office", &["[1-5]XX", "0."])), Arc::new(abroad)],
        );
        for (number, expected) in [
            ("101", "101 over trunk office"),
            ("110", "denied"),
            ("601", "not_served"),
            ("1010", "not_listed"),
            ("+4930123", "004930123 over trunk abroad"),
            ("+1900555", "denied"),
            ("+33123", "not_listed"),
            ("0012", "0012 over trunk office"),
            ("", "not_a_number"),
            ("+", "not_a_number"),
            ("1 01", "not_a_number"),
            ("101;phone-context=x", "not_a_number"),
            ("1٠1", "not_a_number"),
            ("tel:+4930", "not_a_number"),
            ("sip:a@b", "sip_uris_off"),
            (&"1".repeat(65), "not_a_number"),
        ] {
            assert_eq!(way(&plan, number), expected, "{number}");
        }
        assert_eq!(plan.routes("0012").unwrap().len(), 2);
    }

    #[test]
    fn without_a_trunk_nothing_is_called_and_that_is_said_first() {
        let plan = DialPlan::new(&config(&["XXX"], &[]), Vec::new());
        for number in ["101", "+4930", "sip:a@b"] {
            assert_eq!(way(&plan, number), "no_trunk", "{number}");
        }
    }

    #[test]
    fn stripping_more_than_there_is_is_not_served() {
        let mut greedy = trunk("greedy", &[]);
        greedy.strip = 5;
        let plan = DialPlan::new(&config(&["X."], &[]), vec![Arc::new(greedy)]);
        assert_eq!(way(&plan, "12345"), "not_served");
        assert_eq!(way(&plan, "123456"), "6 over trunk greedy");
    }

    #[test]
    fn sip_uris_are_plain_addresses_or_nothing() {
        let mut config = config(&[], &[]);
        config.sip_uris = true;
        let plan = DialPlan::new(&config, Vec::new());
        let direct = |uri: &str| match plan.resolve(uri) {
            Ok(Route { path: Path::Direct(d), .. }) => Some((d.user, d.host, d.port, d.transport)),
            _ => None,
        };
        let expected = |user: &str, host: &str, port, transport| Some((user.into(), host.into(), port, transport));
        assert_eq!(direct("sip:bob@Example.com"), expected("bob", "example.com", None, TransportChoice::Auto));
        assert_eq!(
            direct("SIP:1+2@10.0.0.1:5070;transport=TCP"),
            expected("1+2", "10.0.0.1", Some(5070), TransportChoice::Tcp)
        );
        assert_eq!(direct("sip:x@[::1]:9"), expected("x", "::1", Some(9), TransportChoice::Auto));
        assert_eq!(direct("sip:host"), expected("", "host", None, TransportChoice::Auto));
        for bad in [
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a@h:0",
            "sip:a@h:99999",
            "sip:a@h;x=y",
            "sip:a@h?Subject=x",
            "sip:a:pw@h",
            "sip:a>b@h",
            "sip:a@h\r\nX: y",
            "sip:a@[::1",
            "sip:a@-h",
            "sip:a b@h",
            "sip:a@h h",
            "sip:ä@h",
            "sip:a@h;transport=tls",
        ] {
            assert_eq!(direct(bad), None, "{bad:?}");
        }
    }
}
