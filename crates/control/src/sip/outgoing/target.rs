//! Whom a call goes to, from whom, and with which credentials: a route of the dial plan in SIP's words. Pure.

use std::time::Duration;

use rsipstack::sip::{Header, Method, Request, Uri, Version, typed};

use crate::config::SipCredentials;
use crate::dialing::{Path, Route, TransportChoice};
use crate::sip::address::{Reachable, Transport};
use crate::sip::identity::clean;
use crate::sip::rejection::ACCEPT;

/// Longest name shown to a callee, in characters.
const MAX_NAME_CHARS: usize = 64;

/// Who calls, as the callee sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sip) struct CallerId {
    /// The room's number for this trunk; `None` takes the trunk's, or its user.
    pub(in crate::sip) number: Option<String>,
    /// A name beside it.
    pub(in crate::sip) name: Option<String>,
}

/// Where a call goes, and what its INVITE says.
#[derive(Clone, Debug)]
pub(in crate::sip) struct Target {
    /// As it was dialled.
    pub(in crate::sip) number: String,
    pub(in crate::sip) host: String,
    pub(in crate::sip) port: Option<u16>,
    pub(in crate::sip) transport: TransportChoice,
    /// Request-URI, and To.
    pub(super) uri: String,
    /// User part of From.
    pub(super) user: String,
    /// Host of From; `None`: our own address.
    domain: Option<String>,
    name: Option<String>,
    asserted: bool,
    pub(super) credentials: Option<SipCredentials>,
    pub(super) ring_timeout: Duration,
    /// It is a trunk: its TCP connection is kept and shared.
    pub(super) shared: bool,
}

impl Target {
    /// Of this route.
    pub(in crate::sip) fn of(route: &Route, caller: &CallerId) -> Self {
        let number = caller.number.clone().filter(|n| !n.is_empty());
        let name = caller.name.as_deref().map(|n| clean(n, MAX_NAME_CHARS)).filter(|n| !n.is_empty());
        match &route.path {
            Path::Trunk { trunk, user } => {
                let own = trunk.caller_id.clone().or_else(|| trunk.credentials.as_ref().map(|c| c.user.clone()));
                Self {
                    number: route.number.clone(),
                    host: trunk.host.clone(),
                    port: trunk.port,
                    transport: trunk.transport,
                    uri: format!("sip:{user}@{}", trunk.domain),
                    user: number.or(own).unwrap_or_else(|| "anonymous".to_owned()),
                    domain: Some(trunk.domain.clone()),
                    name,
                    asserted: trunk.asserted_identity,
                    credentials: trunk.credentials.clone(),
                    ring_timeout: trunk.ring_timeout,
                    shared: true,
                }
            }
            Path::Direct(direct) => {
                let host = if direct.host.contains(':') { format!("[{}]", direct.host) } else { direct.host.clone() };
                let port = direct.port.map_or(String::new(), |port| format!(":{port}"));
                let at = if direct.user.is_empty() { "" } else { "@" };
                Self {
                    number: route.number.clone(),
                    host: direct.host.clone(),
                    port: direct.port,
                    transport: direct.transport,
                    uri: format!("sip:{}{at}{host}{port}", direct.user),
                    user: number.unwrap_or_else(|| "anonymous".to_owned()),
                    domain: None,
                    name,
                    asserted: false,
                    credentials: None,
                    ring_timeout: direct.ring_timeout,
                    shared: false,
                }
            }
        }
    }

    /// From, without its tag.
    fn from(&self, ours: &Reachable) -> String {
        let name = self.name.as_ref().map_or(String::new(), |name| {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{escaped}\" ")
        });
        format!("{name}<{}>", self.own_uri(ours))
    }

    fn own_uri(&self, ours: &Reachable) -> String {
        let domain = self.domain.clone().unwrap_or_else(|| ours.host());
        format!("sip:{}@{domain}", escaped(&self.user))
    }

    /// The INVITE. `None` when the Request-URI cannot be read, which the dial plan does not let through.
    pub(super) fn invite(&self, ours: &Reachable, ids: &Ids<'_>, offer: &str) -> Option<Request> {
        let mut uri: Uri = self.uri.as_str().try_into().ok()?;
        if ours.transport == Transport::Tcp {
            uri.params.push(rsipstack::sip::Param::Transport(rsipstack::sip::Transport::Tcp));
        }
        let via = format!("SIP/2.0/{} {};branch={};rport", ours.transport.via(), ours.host_port(), ids.branch);
        let other = |name: &str, value: String| Header::Other(name.to_owned(), value);
        let mut headers = vec![
            Header::Via(via.into()),
            Header::MaxForwards(70.into()),
            Header::From(format!("{};tag={}", self.from(ours), ids.tag).into()),
            Header::To(format!("<{}>", self.uri).into()),
            Header::CallId(ids.call_id.to_owned().into()),
            Header::CSeq(typed::CSeq { seq: ids.cseq, method: Method::Invite }.into()),
            other("Contact", ours.contact(&self.user)),
            other("Allow", crate::sip::rejection::ALLOW.to_owned()),
            other("Accept", ACCEPT.to_owned()),
            other("Supported", String::new()),
            other("Content-Type", ACCEPT.to_owned()),
        ];
        if self.asserted {
            headers.push(other("P-Asserted-Identity", self.from(ours)));
        }
        Some(Request {
            method: Method::Invite,
            uri,
            version: Version::V2,
            headers: headers.into(),
            body: offer.as_bytes().to_vec(),
        })
    }
}

/// What tells one INVITE from all others.
pub(super) struct Ids<'a> {
    pub(super) call_id: &'a str,
    pub(super) tag: &'a str,
    pub(super) branch: &'a str,
    pub(super) cseq: u32,
}

/// A user part (RFC 3261 §19.1.2).
pub(in crate::sip) fn escaped(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialing::{DialPlan, Direct, Trunk};
    use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
    use std::sync::Arc;

    fn ours(transport: Transport) -> Reachable {
        Reachable::toward("127.0.0.1:5060".parse().unwrap(), "127.0.0.1:5070".parse().unwrap(), None, transport)
    }

    fn trunk() -> Trunk {
        Trunk {
            name: "t".to_owned(),
            host: "10.0.0.1".to_owned(),
            port: None,
            domain: "example.com".to_owned(),
            transport: TransportChoice::Auto,
            credentials: Some(SipCredentials { user: "acc#1".into(), password: "p".into(), realm: None }),
            caller_id: None,
            asserted_identity: true,
            codecs: Vec::new(),
            register: None,
            patterns: Vec::new(),
            strip: 0,
            prepend: String::new(),
            ring_timeout: Duration::from_secs(60),
            max_calls: 1,
        }
    }

    fn invite(target: &Target, transport: Transport) -> String {
        let ids = Ids { call_id: "c", tag: "t", branch: "z9hG4bKb", cseq: 1 };
        target.invite(&ours(transport), &ids, "v=0\r\n").unwrap().to_string()
    }

    fn over(trunk: Trunk, caller: &CallerId) -> Target {
        let route =
            Route { number: "101".to_owned(), path: Path::Trunk { trunk: Arc::new(trunk), user: "0101".to_owned() } };
        Target::of(&route, caller)
    }

    #[test]
    fn invite_over_a_trunk_says_who_calls() {
        let caller = CallerId { number: Some("+4930".to_owned()), name: Some("Room \"1\"\r\nX: y".to_owned()) };
        let text = invite(&over(trunk(), &caller), Transport::Tcp);
        assert!(text.starts_with("INVITE sip:0101@example.com;transport=TCP SIP/2.0\r\n"), "{text}");
        for line in [
            "Via: SIP/2.0/TCP 127.0.0.1:5070;branch=z9hG4bKb;rport",
            r#"From: "Room \"1\"X: y" <sip:+4930@example.com>;tag=t"#,
            "To: <sip:0101@example.com>",
            "Contact: <sip:+4930@127.0.0.1:5070;transport=tcp>",
            r#"P-Asserted-Identity: "Room \"1\"X: y" <sip:+4930@example.com>"#,
            "CSeq: 1 INVITE",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        assert!(!text.contains("100rel") && !text.contains("\nX: y"), "{text}");
    }

    #[test]
    fn callers_number_is_the_rooms_then_the_trunks_then_its_user() {
        let plain = invite(&over(trunk(), &CallerId::default()), Transport::Udp);
        assert!(plain.contains("From: <sip:acc%231@example.com>;tag=t\r\n"), "{plain}");
        let mut with_id = trunk();
        with_id.caller_id = Some("900".to_owned());
        with_id.asserted_identity = false;
        let text = invite(&over(with_id, &CallerId::default()), Transport::Udp);
        assert!(text.contains("From: <sip:900@example.com>;tag=t\r\n") && !text.contains("P-Asserted"), "{text}");
    }

    #[test]
    fn sip_address_is_called_from_our_own_and_without_credentials() {
        let direct = Direct {
            user: "bob".to_owned(),
            host: "::1".to_owned(),
            port: Some(5070),
            transport: TransportChoice::Udp,
            ring_timeout: Duration::from_secs(5),
        };
        let target =
            Target::of(&Route { number: "sip:x".to_owned(), path: Path::Direct(direct) }, &CallerId::default());
        let text = invite(&target, Transport::Udp);
        assert!(text.starts_with("INVITE sip:bob@[::1]:5070 SIP/2.0\r\n"), "{text}");
        assert!(text.contains("From: <sip:anonymous@127.0.0.1>;tag=t\r\n"), "{text}");
        assert!(target.credentials.is_none());
    }

    #[test]
    fn whatever_the_dial_plan_lets_through_is_an_address() {
        let config = crate::config::Loaded::read(&crate::config::Sources {
            env: vec![("CONCLAVE__DIALING__SIP_URIS".into(), "true".into())],
            ..Default::default()
        });
        let plan = DialPlan::new(&config.unwrap().config.dialing, Vec::new());
        for uri in ["sip:a@b", "sip:b", "sip:a-_.!~*'()&=+$/@b.c:9", "sip:x@[::1]", "sip:x@[::1]:9;transport=tcp"] {
            let target = Target::of(&plan.resolve(uri).unwrap(), &CallerId::default());
            let ids = Ids { call_id: "c", tag: "t", branch: "z9hG4bKb", cseq: 1 };
            let request = target.invite(&ours(Transport::Udp), &ids, "").unwrap();
            assert!(request.to_header().unwrap().typed().is_ok(), "{uri}");
        }
    }
}
