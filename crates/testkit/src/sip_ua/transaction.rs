//! A client transaction (RFC 3261 §17.1): resends over UDP, collects the responses, gives up after 64 × T1.

use super::{T1, Transport};
use crate::sip_message::Message;
use std::time::{Duration, Instant};

/// T2 of RFC 3261 §17.1.2.1: requests other than INVITE are not resent less often.
const T2: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct ClientTransaction {
    pub(super) request: Message,
    bytes: Vec<u8>,
    pub(super) began: Instant,
    pub(super) responses: Vec<(Instant, Message)>,
    next: Option<Instant>,
    interval: Duration,
    timed_out: bool,
}

impl ClientTransaction {
    pub(super) fn new(request: Message, bytes: Vec<u8>, transport: Transport, now: Instant) -> Self {
        let next = (transport == Transport::Udp).then_some(now + T1);
        Self { request, bytes, began: now, responses: Vec::new(), next, interval: T1, timed_out: false }
    }

    pub(super) fn branch(&self) -> &str {
        self.request.branch().unwrap_or("")
    }

    pub(super) fn final_response(&self) -> Option<&(Instant, Message)> {
        self.responses.iter().find(|(_, r)| r.code() >= 200)
    }

    pub(super) fn failed(&self) -> Option<String> {
        self.timed_out.then(|| format!("no final response to {} in 32 s", self.request.method()))
    }

    /// The bytes when they have to be sent again now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.final_response().is_some() {
            return None;
        }
        let is_invite = self.request.method() == "INVITE";
        // An INVITE that got a provisional response is neither resent nor given up.
        if is_invite && !self.responses.is_empty() {
            return None;
        }
        if now >= self.began + 64 * T1 {
            self.timed_out = true;
            return None;
        }
        let next = self.next.filter(|&n| now >= n)?;
        self.interval *= 2;
        if !is_invite {
            self.interval = self.interval.min(T2);
        }
        self.next = Some(next + self.interval);
        Some(self.bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(method: &str, transport: Transport, now: Instant) -> ClientTransaction {
        let request = Message::request(method, "sip:x@y").with("Via", "SIP/2.0/UDP h;branch=z9hG4bKb");
        ClientTransaction::new(request, vec![1], transport, now)
    }

    fn resent_at_ms(mut t: ClientTransaction, now: Instant, until_ms: u64) -> Vec<u64> {
        (0..until_ms).step_by(10).filter(|&ms| t.due(now + Duration::from_millis(ms)).is_some()).collect()
    }

    #[test]
    fn invite_doubles_and_others_stop_at_t2() {
        let now = Instant::now();
        assert_eq!(
            resent_at_ms(transaction("INVITE", Transport::Udp, now), now, 16_000),
            [500, 1_500, 3_500, 7_500, 15_500]
        );
        assert_eq!(
            resent_at_ms(transaction("BYE", Transport::Udp, now), now, 16_000),
            [500, 1_500, 3_500, 7_500, 11_500, 15_500]
        );
        assert!(resent_at_ms(transaction("BYE", Transport::Tcp, now), now, 16_000).is_empty());
    }

    #[test]
    fn provisional_response_stops_an_invite() {
        let now = Instant::now();
        let mut t = transaction("INVITE", Transport::Udp, now);
        t.responses.push((now, Message::response(&t.request, 100, "Trying", "t")));
        assert!(resent_at_ms(t, now, 40_000).is_empty());
    }

    #[test]
    fn silence_fails_after_32_seconds() {
        let now = Instant::now();
        let mut t = transaction("OPTIONS", Transport::Tcp, now);
        assert!(t.due(now + Duration::from_secs(31)).is_none() && t.failed().is_none());
        assert!(t.due(now + Duration::from_secs(32)).is_none() && t.failed().is_some());
    }
}
