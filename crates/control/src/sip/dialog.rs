//! One dialog's state (RFC 3261 §12), whichever side called: tags, sequence numbers, route set, remote target, and the
//! requests made from them. Pure; knows no transaction and no socket.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::typed;
use rsipstack::sip::{Header, Method, Param, Request, Response, Scheme, Uri, Version};

use super::address::Reachable;
use super::identity::percent_decode;
use super::rejection::Added;
use super::wire;

/// Where a request goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// Host and port of the first route, or of the remote target.
    pub(super) uri: Uri,
    /// It is the Contact itself, not a proxy that asked to stay in the path.
    pub(super) direct: bool,
}

/// State of a dialog, at most a few hundred bytes beside its headers.
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    call_id: String,
    /// Ours, with our tag: From of our requests.
    local: String,
    /// The far end's, with its tag: To of our requests.
    remote: String,
    local_cseq: Cseq,
    /// 0 before its first request: any number may come.
    remote_cseq: u32,
    routes: Vec<typed::RecordRoute>,
    /// Record-Route as it came, for the 2xx.
    record_routes: Vec<String>,
    target: Uri,
    contact: String,
    /// The Contact is to be believed: a proxy stands between, or the far end is not behind NAT.
    proxied: bool,
}

/// The numbers of our requests in a dialog: shared with what sends them, as a challenge takes one more.
#[derive(Clone, Debug)]
pub(super) struct Cseq(Arc<AtomicU32>);

impl Cseq {
    /// `used` is the last number that went out, below 2^31 (§8.1.1.5).
    pub(super) fn after(used: u32) -> Self {
        Self(Arc::new(AtomicU32::new(used)))
    }

    /// One more.
    pub(super) fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

impl Dialog {
    /// The dialog that a 2xx to `invite` makes. The text says what is wrong with the request (400).
    pub(super) fn new(invite: &Request, local_tag: &str, contact: String) -> Result<Self, &'static str> {
        let target = contact_of(invite)?.ok_or("Contact is missing")?;
        let from = invite.from_header().map_err(|_| "From is missing")?;
        let to = invite.to_header().map_err(|_| "To is missing")?;
        Ok(Self {
            call_id: invite.call_id_header().map_err(|_| "Call-ID is missing")?.value().to_owned(),
            local: format!("{};tag={local_tag}", to.value()),
            remote: from.value().to_owned(),
            local_cseq: Cseq::after(0),
            remote_cseq: invite.cseq_header().and_then(|c| c.seq()).map_err(|_| "CSeq cannot be read")?,
            routes: invite.typed_record_route_headers().map_err(|_| "Record-Route cannot be read")?,
            record_routes: invite.record_route_headers().into_iter().map(|r| r.value().to_owned()).collect(),
            target,
            contact,
            proxied: invite.has_multiple_vias(),
        })
    }

    /// The dialog that a 2xx from `peer` to our INVITE makes (§12.1.2). The text says what is wrong with the 2xx.
    pub(super) fn answered(
        (call_id, local): (&str, &str),
        response: &Response,
        numbers: Cseq,
        contact: String,
        peer: SocketAddr,
    ) -> Result<Self, &'static str> {
        let target = contact_of(response)?.ok_or("Contact is missing")?;
        let to = response.to_header().map_err(|_| "To is missing")?;
        if !wire::has_tag(to.value()) {
            return Err("To has no tag");
        }
        let mut routes = response.typed_record_route_headers().map_err(|_| "Record-Route cannot be read")?;
        routes.reverse();
        let behind_nat = is_private(&target) && !private(peer.ip());
        Ok(Self {
            call_id: call_id.to_owned(),
            local: local.to_owned(),
            remote: to.value().to_owned(),
            local_cseq: numbers,
            remote_cseq: 0,
            routes,
            record_routes: Vec::new(),
            target,
            contact,
            proxied: !behind_nat,
        })
    }

    /// The dialog of another far end that answered the same INVITE of ours (§13.2.2.4).
    pub(super) fn forked(&self, response: &Response, cseq: u32, peer: SocketAddr) -> Result<Self, &'static str> {
        Self::answered((&self.call_id, &self.local), response, Cseq::after(cseq), self.contact.clone(), peer)
    }

    /// The response comes from the far end of this dialog.
    pub(super) fn is_with(&self, response: &Response) -> bool {
        let tag = |to: &rsipstack::sip::To| to.tag().ok().flatten();
        let ours = tag(&rsipstack::sip::To::new(self.remote.clone()));
        ours.is_some() && response.to_header().ok().and_then(tag) == ours
    }

    pub(super) fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our name-addr with our tag, as responses to the first INVITE carry it in To.
    pub(super) fn local(&self) -> &str {
        &self.local
    }

    /// Headers that every 2xx to INVITE or UPDATE carries; the first INVITE's also repeats Record-Route (§12.1.1).
    pub(super) fn answer_headers(&self, first: bool) -> Vec<Added> {
        let mut headers = vec![("Contact", self.contact.clone()), ("Allow", super::rejection::ALLOW.to_owned())];
        headers.push(("Supported", String::new()));
        if first {
            headers.extend(self.record_routes.iter().map(|r| ("Record-Route", r.clone())));
        }
        headers
    }

    /// Takes the sequence number of an in-dialog request; false when it is out of order (§12.2.2: answer 500).
    pub(super) fn take_cseq(&mut self, cseq: u32) -> bool {
        if cseq < self.remote_cseq {
            return false;
        }
        self.remote_cseq = cseq;
        true
    }

    /// A target refresh (re-INVITE, UPDATE, or the 2xx to ours) moves the remote target (§12.2.2).
    pub(super) fn refresh(&mut self, message: &impl HeadersExt) -> Result<(), &'static str> {
        if let Some(target) = contact_of(message)? {
            self.target = target;
        }
        Ok(())
    }

    /// Where our requests go (§12.2.1.1).
    pub(super) fn hop(&self) -> Hop {
        match self.routes.first() {
            Some(route) => Hop { uri: route.uri.clone(), direct: false },
            None => Hop { uri: self.target.clone(), direct: !self.proxied },
        }
    }

    /// Our numbers, for a request that is asked to be sent again.
    pub(super) fn numbers(&self) -> Cseq {
        self.local_cseq.clone()
    }

    /// Our Contact, with the methods that we take: what a re-INVITE or the INVITE carries.
    pub(super) fn contact(&self) -> &str {
        &self.contact
    }

    /// A request within the dialog (§12.2.1.1); `from` is our address towards the next hop.
    pub(super) fn request(&self, method: Method, from: &Reachable, branch: &str, extra: Vec<Added>) -> Request {
        self.numbered(method, self.local_cseq.next(), from, branch, extra)
    }

    /// The ACK of a 2xx to our INVITE with this number (§13.2.2.4).
    pub(super) fn ack(&self, cseq: u32, from: &Reachable, branch: &str, extra: Vec<Added>) -> Request {
        self.numbered(Method::Ack, cseq, from, branch, extra)
    }

    /// The same with a number that was taken before.
    pub(super) fn numbered(
        &self,
        method: Method,
        seq: u32,
        from: &Reachable,
        branch: &str,
        extra: Vec<Added>,
    ) -> Request {
        let mut routes: Vec<String> = self.routes.iter().map(|r| format!("<{}>", r.uri)).collect();
        let mut uri = self.target.clone();
        if let Some(first) = self.routes.first().filter(|r| !r.has_lr()) {
            // A strict router wants itself in the Request-URI and the target last.
            routes.remove(0);
            routes.push(format!("<{uri}>"));
            uri = first.uri.clone();
            uri.headers.clear();
        }
        let via = format!("SIP/2.0/{} {};branch={branch};rport", from.transport.via(), from.host_port());
        let mut headers = vec![
            Header::Via(via.into()),
            Header::MaxForwards(70.into()),
            Header::From(self.local.clone().into()),
            Header::To(self.remote.clone().into()),
            Header::CallId(self.call_id.clone().into()),
            Header::CSeq(typed::CSeq { seq, method }.into()),
        ];
        headers.extend(routes.into_iter().map(|r| Header::Route(r.into())));
        headers.extend(extra.into_iter().map(|(name, value)| Header::Other(name.to_owned(), value)));
        Request { method, uri, version: Version::V2, headers: headers.into(), body: Vec::new() }
    }
}

/// The one Contact of a message, if any.
fn contact_of(message: &impl HeadersExt) -> Result<Option<Uri>, &'static str> {
    let contacts = message.typed_contact_headers().map_err(|_| "Contact cannot be read")?;
    let mut contacts = contacts.into_iter();
    let Some(contact) = contacts.next() else { return Ok(None) };
    if contacts.next().is_some() {
        return Err("there is more than one Contact");
    }
    let mut uri = contact.uri;
    if !matches!(uri.scheme, Some(Scheme::Sip | Scheme::Sips)) {
        return Err("Contact is no sip: address");
    }
    // The stack escapes the user part again when it writes it.
    if let Some(auth) = &mut uri.auth {
        auth.user = percent_decode(&auth.user);
        auth.password = None;
    }
    uri.headers.clear();
    // Not allowed in a Request-URI (§19.1.1, table 1).
    uri.params.retain(|p| !matches!(p, Param::Method(_)));
    Ok(Some(uri))
}

fn is_private(uri: &Uri) -> bool {
    matches!(uri.host(), rsipstack::sip::Host::IpAddr(ip) if private(*ip))
}

/// Reached from inside its own network only (RFC 1918, RFC 6598, RFC 4193), or from this machine only.
fn private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Host and port of a URI (`maddr` is not honoured: it would let a caller choose a third party).
pub(super) fn host_port(uri: &Uri) -> (String, u16) {
    let host = match uri.host() {
        rsipstack::sip::Host::Domain(d) => d.to_string(),
        rsipstack::sip::Host::IpAddr(ip) => ip.to_string(),
    };
    (host, uri.host_with_port.port.map_or(5060, |p| p.value()))
}

/// The tags that say which dialog a request is in: ours (To) and the far end's (From). `None` without a To tag.
pub(super) fn tags(request: &Request) -> Option<(String, String)> {
    let to = request.to_header().ok()?;
    if !wire::has_tag(to.value()) {
        return None;
    }
    let to = to.tag().ok().flatten()?;
    let from = request.from_header().ok()?.tag().ok().flatten()?;
    Some((to.value().to_owned(), from.value().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::address::Transport;

    fn invite(extra: &str) -> Request {
        format!(
            "INVITE sip:100@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: \"B\" <sip:101@h>;tag=f\r\n\
             To: <sip:100%23@h>\r\nCall-ID: c\r\nCSeq: 5 INVITE\r\n{extra}\r\n"
        )
        .try_into()
        .unwrap()
    }

    fn dialog(extra: &str) -> Dialog {
        Dialog::new(&invite(extra), "t", "<sip:100@us>".to_owned()).unwrap()
    }

    fn ours() -> Reachable {
        Reachable::toward("127.0.0.1:5060".parse().unwrap(), "127.0.0.1:5070".parse().unwrap(), None, Transport::Udp)
    }

    fn bye(dialog: &Dialog) -> String {
        dialog.request(Method::Bye, &ours(), "z9hG4bKx", vec![("Reason", "SIP;cause=200".to_owned())]).to_string()
    }

    #[test]
    fn bye_turns_the_headers_round() {
        let d = dialog("Contact: <sip:101@10.0.0.1:5062;lr;transport=tcp?X=y>\r\n");
        let text = bye(&d);
        assert!(text.starts_with("BYE sip:101@10.0.0.1:5062;lr;transport=TCP SIP/2.0\r\n"), "{text}");
        for line in [
            "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKx;rport",
            "From: <sip:100%23@h>;tag=t",
            "To: \"B\" <sip:101@h>;tag=f",
            "CSeq: 1 BYE",
            "Reason: SIP;cause=200",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        assert!(bye(&d).contains("CSeq: 2 BYE\r\n"));
    }

    #[test]
    fn loose_routes_go_in_the_order_of_record_route() {
        let d = dialog(
            "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\nRecord-Route: <sip:p3:5080;lr>\r\nContact: sip:101@10.0.0.1\r\n",
        );
        assert_eq!(host_port(&d.hop().uri), ("p1".to_owned(), 5060));
        let text = bye(&d);
        assert!(text.starts_with("BYE sip:101@10.0.0.1 SIP/2.0"), "{text}");
        let at = |s: &str| text.find(s).unwrap();
        assert!(at("Route: <sip:p1;lr>") < at("Route: <sip:p2;lr>"));
        assert!(at("Route: <sip:p2;lr>") < at("Route: <sip:p3:5080;lr>"));
        assert_eq!(d.answer_headers(true).iter().filter(|(n, _)| *n == "Record-Route").count(), 2);
        assert_eq!(d.answer_headers(false).iter().filter(|(n, _)| *n == "Record-Route").count(), 0);
    }

    #[test]
    fn strict_router_gets_the_request_uri() {
        let d = dialog("Record-Route: <sip:p1>\r\nContact: <sip:101@10.0.0.1>\r\n");
        let text = bye(&d);
        assert!(text.starts_with("BYE sip:p1 SIP/2.0"), "{text}");
        assert!(text.contains("Route: <sip:101@10.0.0.1>\r\n"), "{text}");
    }

    fn ok(extra: &str) -> Response {
        format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:100@us>;tag=f\r\nTo: <sip:7@h>;tag=far\r\n\
             Call-ID: c\r\nCSeq: 5 INVITE\r\n{extra}\r\n"
        )
        .try_into()
        .unwrap()
    }

    fn called(extra: &str, peer: &str) -> Result<Dialog, &'static str> {
        Dialog::answered(
            ("c", "\"B\" <sip:101@h>;tag=f"),
            &ok(extra),
            Cseq::after(5),
            "<sip:us>".to_owned(),
            peer.parse().unwrap(),
        )
    }

    #[test]
    fn answered_call_has_its_routes_the_other_way_round() {
        let routes = "Record-Route: <sip:p3;lr>, <sip:p2;lr>\r\nRecord-Route: <sip:p1;lr>\r\n";
        let d = called(&format!("{routes}Contact: <sip:7@10.0.0.9>\r\n"), "10.0.0.1:5060").unwrap();
        assert_eq!(host_port(&d.hop().uri).0, "p1");
        let text = bye(&d);
        let at = |s: &str| text.find(s).unwrap();
        assert!(
            at("Route: <sip:p1;lr>") < at("Route: <sip:p2;lr>") && at("Route: <sip:p2;lr>") < at("Route: <sip:p3;lr>")
        );
        for line in ["From: \"B\" <sip:101@h>;tag=f", "To: <sip:7@h>;tag=far", "CSeq: 6 BYE"] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
        }
        let ack = d.ack(5, &ours(), "z9hG4bKy", Vec::new()).to_string();
        assert!(ack.starts_with("ACK sip:7@10.0.0.9 SIP/2.0\r\n") && ack.contains("CSeq: 5 ACK\r\n"), "{ack}");
        assert!(called("", "10.0.0.1:5060").is_err());
    }

    #[test]
    fn contact_of_a_trunk_is_believed_unless_it_cannot_be_reached() {
        let hop =
            |contact: &str, peer: &str| called(&format!("Contact: <sip:7@{contact}>\r\n"), peer).unwrap().hop().direct;
        assert!(!hop("203.0.113.9", "198.51.100.1:5060"));
        assert!(!hop("10.0.0.9", "10.0.0.1:5060"));
        assert!(!hop("sbc.example.com", "198.51.100.1:5060"));
        assert!(hop("192.168.1.9", "198.51.100.1:5060"));
    }

    #[test]
    fn contact_must_be_one_readable_sip_address() {
        for extra in ["", "Contact: *\r\n", "Contact: <sip:a@h>, <sip:b@h>\r\n", "Contact: <tel:1>\r\n"] {
            assert!(Dialog::new(&invite(extra), "t", String::new()).is_err(), "{extra}");
        }
    }

    #[test]
    fn escaped_user_of_a_contact_is_not_escaped_twice() {
        let d = dialog("Contact: <sip:a%23b@10.0.0.1>\r\n");
        assert!(bye(&d).starts_with("BYE sip:a%23b@10.0.0.1 SIP/2.0"));
    }

    #[test]
    fn lower_cseq_is_out_of_order() {
        let mut d = dialog("Contact: <sip:101@10.0.0.1>\r\n");
        assert!(d.take_cseq(6));
        assert!(d.take_cseq(6));
        assert!(!d.take_cseq(5));
        assert!(d.take_cseq(9));
    }

    #[test]
    fn refresh_moves_the_target() {
        let mut d = dialog("Contact: <sip:101@10.0.0.1>\r\n");
        d.refresh(&invite("Contact: <sip:101@10.0.0.2:6000>\r\n")).unwrap();
        assert_eq!(host_port(&d.hop().uri), ("10.0.0.2".to_owned(), 6000));
        d.refresh(&invite("")).unwrap();
        assert_eq!(host_port(&d.hop().uri), ("10.0.0.2".to_owned(), 6000));
    }
}
