//! One registration: REGISTER, refresh, back off, and take back at the end.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Request, Response, Uri, Version, typed};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Account;
use super::schedule::{Outcome, Schedule};
use crate::sip::address::{Reachable, Transport};
use crate::sip::client::{self, Hop, Login};
use crate::sip::dialog::Cseq;
use crate::sip::flow::Flow;
use crate::sip::identity::clean;
use crate::sip::ingress::{self, Stack};
use crate::sip::metrics::RegistrationState;
use crate::sip::names::Lead;
use crate::sip::tcp;

/// After a connection broke: many registrations may have been on it.
const RECONNECT_PAUSE_MS: u64 = 500;
/// Taking back: nobody waits for long when the server stops.
const LEAVE_TIME: Duration = Duration::from_secs(2);
/// Longest reason phrase kept, in characters.
const MAX_REASON_CHARS: usize = 100;

/// Keeps `account` registered until `end`. `places` bounds how many register at once.
pub(super) async fn keep(stack: Arc<Stack>, account: Account, places: Arc<Semaphore>, end: CancellationToken) {
    let mut line = Line {
        login: Login { who: account.credentials.clone(), numbers: Cseq::after(0) },
        call_id: ingress::tag(),
        tag: ingress::tag(),
        flow: None,
        stack,
        account,
    };
    let mut schedule = Schedule::new(line.account.expires);
    let shown = line.stack.metrics.registration(&line.account.peer);
    let mut before: Option<Outcome> = None;
    loop {
        let tried = async {
            // Closed only when the server is gone.
            let _place = places.acquire().await.ok()?;
            Some(line.register(schedule.expires()).await)
        };
        let outcome = tokio::select! {
            outcome = tried => outcome,
            () = end.cancelled() => None,
        };
        // A REGISTER may be half way: it is taken back all the same.
        let Some(outcome) = outcome else { break };
        shown.set(match &outcome {
            Outcome::Registered(_) => RegistrationState::Registered,
            Outcome::TooBrief(_) => RegistrationState::Registering,
            Outcome::Refused(..) | Outcome::Unreachable(_) => RegistrationState::Failed,
        });
        line.tell(before.as_ref(), &outcome);
        let pause = schedule.after(&outcome, getrandom::u32().unwrap_or_default());
        before = Some(outcome);
        tokio::select! {
            () = sleep(pause) => {}
            () = line.disconnected(), if matches!(before, Some(Outcome::Registered(_))) => {
                debug!(peer = %line.account.peer, user = %line.account.user, "the registrar's connection was closed");
                let spread = u64::from(getrandom::u32().unwrap_or_default()) % RECONNECT_PAUSE_MS;
                tokio::select! {
                    () = sleep(Duration::from_millis(RECONNECT_PAUSE_MS + spread)) => {}
                    () = end.cancelled() => break,
                }
            }
            () = end.cancelled() => break,
        }
    }
    // Whatever a failed refresh says, an earlier one may still hold.
    let _ = timeout(LEAVE_TIME, line.register(Duration::ZERO)).await;
    info!(peer = %line.account.peer, user = %line.account.user, "registration taken back");
}

/// One address of record and its numbers.
struct Line {
    stack: Arc<Stack>,
    account: Account,
    login: Login,
    call_id: String,
    tag: String,
    /// What the last REGISTER went over.
    flow: Option<Flow>,
}

impl Line {
    async fn disconnected(&self) {
        match &self.flow {
            Some(flow) => flow.closed().await,
            None => std::future::pending().await,
        }
    }

    /// One line for each change.
    fn tell(&self, before: Option<&Outcome>, outcome: &Outcome) {
        let Account { peer, user, host, .. } = &self.account;
        let changed = before.is_none_or(|before| std::mem::discriminant(before) != std::mem::discriminant(outcome));
        match outcome {
            Outcome::Registered(given) if changed => info!(peer, user, host, expires_s = given.as_secs(), "registered"),
            Outcome::Registered(_) | Outcome::TooBrief(_) => {}
            Outcome::Refused(why, _) | Outcome::Unreachable(why) if changed => {
                warn!(peer, user, host, why, "registration failed; it is tried again");
            }
            Outcome::Refused(why, _) | Outcome::Unreachable(why) => debug!(peer, user, host, why, "not registered yet"),
        }
    }

    /// One REGISTER, to one address after the other.
    async fn register(&mut self, expires: Duration) -> Outcome {
        let account = &self.account;
        let leads = match self.stack.leads(&account.host, account.port, account.transport).await {
            Ok(leads) => leads,
            Err(why) => return Outcome::Unreachable(why),
        };
        self.stack.admission.welcome(&account.peer, leads.iter().map(|lead| lead.address.ip()).collect());
        let mut last = Outcome::Unreachable(format!("{} has no address", account.host));
        for lead in leads {
            let hop = match self.connect(lead).await {
                Ok(hop) => hop,
                Err(why) => {
                    last = Outcome::Unreachable(why);
                    continue;
                }
            };
            self.flow = Some(hop.0.clone());
            let ours = self.stack.reachable(&hop.0);
            let contact = ours.contact(&self.account.user);
            let Some(request) = self.request(&ours, &contact, expires) else {
                return Outcome::Refused("the registrar's address cannot be written".to_owned(), None);
            };
            last = match client::ask(&self.stack.endpoint, request, &hop, &self.login).await {
                None => {
                    // Shared, it would be taken again.
                    hop.0.close();
                    Outcome::Unreachable(format!("{}: no response", lead.address))
                }
                Some(response) => match response.status_code.code() {
                    503 => refused(&response),
                    _ => return read(&response, &contact, expires),
                },
            };
        }
        last
    }

    async fn connect(&self, lead: Lead) -> Result<Hop, String> {
        let flow = match (lead.transport, &self.stack.udp) {
            (Transport::Udp, Some(udp)) => udp.flow(lead.address),
            _ => tcp::link(&self.stack, lead.address).await.map_err(|error| format!("{}: {error}", lead.address))?,
        };
        let to = flow.stack_address(lead.address);
        Ok((flow, to))
    }

    fn request(&self, ours: &Reachable, contact: &str, expires: Duration) -> Option<Request> {
        let Account { user, domain, .. } = &self.account;
        let mut uri: Uri = format!("sip:{domain}").as_str().try_into().ok()?;
        if ours.transport == Transport::Tcp {
            uri.params.push(rsipstack::sip::Param::Transport(rsipstack::sip::Transport::Tcp));
        }
        let of_record = format!("<sip:{}@{domain}>", crate::sip::outgoing::escaped(user));
        let via = format!("SIP/2.0/{} {};branch={};rport", ours.transport.via(), ours.host_port(), client::branch());
        let cseq = typed::CSeq { seq: self.login.numbers.next(), method: Method::Register };
        let other = |name: &str, value: String| Header::Other(name.to_owned(), value);
        let headers = vec![
            Header::Via(via.into()),
            Header::MaxForwards(70.into()),
            Header::From(format!("{of_record};tag={}", self.tag).into()),
            Header::To(of_record.into()),
            Header::CallId(self.call_id.clone().into()),
            Header::CSeq(cseq.into()),
            other("Contact", format!("{contact};expires={}", expires.as_secs())),
            other("Expires", expires.as_secs().to_string()),
            other("Allow", crate::sip::rejection::ALLOW.to_owned()),
            other("Supported", String::new()),
        ];
        Some(Request { method: Method::Register, uri, version: Version::V2, headers: headers.into(), body: Vec::new() })
    }
}

fn refused(response: &Response) -> Outcome {
    let words = response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned());
    let code = response.status_code.code();
    let why = match code {
        401 | 407 => "the registrar does not accept our credentials".to_owned(),
        _ => format!("{code} {}", clean(&words, MAX_REASON_CHARS)),
    };
    let after = seconds(response.header_value("Retry-After").as_deref());
    Outcome::Refused(why, after)
}

/// What a final response says. `contact` is what we registered, for so long.
fn read(response: &Response, contact: &str, asked: Duration) -> Outcome {
    match response.status_code.code() {
        200..300 => Outcome::Registered(given(response, contact).unwrap_or(asked)),
        423 => match seconds(response.header_value("Min-Expires").as_deref()) {
            Some(least) => Outcome::TooBrief(least),
            None => refused(response),
        },
        _ => refused(response),
    }
}

/// The expiry of our own Contact among those that the registrar lists (§10.2.4), or of them all.
fn given(response: &Response, contact: &str) -> Option<Duration> {
    let own = contact.trim_matches(['<', '>']).to_ascii_lowercase();
    let ours = response.typed_contact_headers().unwrap_or_default().into_iter().find(|listed| {
        let mut uri = listed.uri.clone();
        uri.params.retain(|param| matches!(param, rsipstack::sip::Param::Transport(_)));
        uri.to_string().to_ascii_lowercase() == own
    });
    let of_contact = ours.and_then(|listed| {
        listed.params.iter().find_map(|param| match param {
            rsipstack::sip::Param::Expires(expires) => seconds(Some(expires.value())),
            _ => None,
        })
    });
    of_contact.or_else(|| seconds(response.header_value("Expires").as_deref())).filter(|given| !given.is_zero())
}

/// Whole seconds, with what may follow them left out (`120 (in a meeting)`, `18000;duration=3600`).
fn seconds(value: Option<&str>) -> Option<Duration> {
    let digits: String = value?.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().ok().map(|seconds| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(code: &str, extra: &str) -> Response {
        format!(
            "SIP/2.0 {code}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 REGISTER\r\n{extra}\r\n"
        )
        .try_into()
        .unwrap()
    }

    fn outcome(code: &str, extra: &str) -> Outcome {
        read(&response(code, extra), "<sip:100@127.0.0.1:5060;transport=tcp>", Duration::from_secs(600))
    }

    #[test]
    fn expiry_is_that_of_our_own_contact() {
        for (extra, seconds) in [
            ("Contact: <sip:100@127.0.0.1:5060;transport=tcp>;expires=77\r\nExpires: 5\r\n", 77),
            (
                "Contact: <sip:100@10.0.0.9:5060>;expires=5, <sip:100@127.0.0.1:5060;transport=TCP;x=y>;expires=78\r\n",
                78,
            ),
            ("Contact: <sip:100@10.0.0.9:5060>;expires=5\r\nExpires: 79\r\n", 79),
            ("", 600),
            ("Contact: nonsense <<\r\nExpires: many\r\n", 600),
            ("Expires: 99999999999\r\n", 600),
        ] {
            assert_eq!(outcome("200 OK", extra), Outcome::Registered(Duration::from_secs(seconds)), "{extra}");
        }
    }

    #[test]
    fn refusals_say_why_and_when_to_come_back() {
        assert_eq!(
            outcome("423 Interval Too Brief", "Min-Expires: 900\r\n"),
            Outcome::TooBrief(Duration::from_secs(900))
        );
        assert_eq!(
            outcome("503 Service Unavailable", "Retry-After: 30 (soon)\r\n"),
            Outcome::Refused("503 Service Unavailable".to_owned(), Some(Duration::from_secs(30)))
        );
        assert_eq!(outcome("403 Go Away", ""), Outcome::Refused("403 Go Away".to_owned(), None));
        assert!(matches!(outcome("401 Unauthorized", ""), Outcome::Refused(why, None) if why.contains("credentials")));
        assert!(matches!(outcome("423 Interval Too Brief", ""), Outcome::Refused(..)));
    }
}
