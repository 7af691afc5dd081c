//! One call of a user agent.

use super::dialog::{Dialog, MEDIA_CONTROL};
use super::{Shared, T1, transaction::ClientTransaction};
use crate::sip_message::{Message, StartLine};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Final responses of a well server come sooner than this.
const ANSWER: Duration = Duration::from_secs(10);

/// RFC 5168 §7.1.
const PICTURE_FAST_UPDATE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\" ?>\r\n\
    <media_control><vc_primitive><to_encoder><picture_fast_update/></to_encoder></vc_primitive></media_control>\r\n";

/// An INVITE to be.
#[derive(Clone, Debug)]
pub struct Invite {
    /// User part of the Request-URI.
    pub extension: String,
    /// The offer; `None` for an offerless INVITE, whose ACK carries the answer (see [`Call::ack_with`]).
    pub sdp: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// From display name.
    pub display_name: Option<String>,
}

impl Invite {
    /// With an offer.
    pub fn new(extension: &str, sdp: &str) -> Self {
        Self { extension: extension.to_owned(), sdp: Some(sdp.to_owned()), headers: Vec::new(), display_name: None }
    }
}

/// A call. Dropping it does not hang up.
#[derive(Debug)]
pub struct Call {
    shared: Arc<Shared>,
    call_id: String,
    branch: String,
    cseq: u32,
}

impl Call {
    pub(super) fn begin(shared: Arc<Shared>, invite: &Invite) -> Self {
        let uri = format!("sip:{}@{}", invite.extension, shared.server);
        let mut dialog = Dialog {
            call_id: shared.token(),
            local_tag: shared.token(),
            remote_tag: None,
            request_uri: uri,
            remote_target: None,
            local_cseq: 0,
            remote_cseq: None,
            local_sdp: invite.sdp.clone().unwrap_or_default(),
            acks: Vec::new(),
            bye: None,
            offerless: if invite.sdp.is_none() { vec![1] } else { Vec::new() },
            picture_updates: Arc::default(),
        };
        let mut request = dialog.request(&shared, "INVITE", None);
        if let Some(name) = &invite.display_name {
            for (header, value) in &mut request.headers {
                if header == "From" {
                    *value = format!("\"{name}\" {value}");
                }
            }
        }
        for (name, value) in &invite.headers {
            request.add(name, value);
        }
        if let Some(sdp) = &invite.sdp {
            request = request.with_body("application/sdp", sdp);
        }
        let (call_id, cseq) = (dialog.call_id.clone(), dialog.local_cseq);
        shared.lock().dialogs.push(dialog);
        let branch = shared.begin(request);
        Self { shared, call_id, branch, cseq }
    }

    /// SIP Call-ID.
    pub fn id(&self) -> &str {
        &self.call_id
    }

    /// The final response, whatever it is.
    ///
    /// # Errors
    /// When none comes.
    pub fn outcome(&self) -> Result<Message, String> {
        self.shared.wait_final(&self.branch, ANSWER).map(|(_, m)| m)
    }

    /// Time from the INVITE to its final response, once it is there.
    pub fn setup_time(&self) -> Option<Duration> {
        self.look(|t| t.final_response().map(|(at, _)| *at - t.began))
    }

    /// Time from the INVITE to its first response, once it is there.
    pub fn first_response_time(&self) -> Option<Duration> {
        self.look(|t| t.responses.first().map(|(at, _)| *at - t.began))
    }

    /// Every response so far.
    pub fn responses(&self) -> Vec<Message> {
        self.look(|t| Some(t.responses.iter().map(|(_, m)| m.clone()).collect())).unwrap_or_default()
    }

    /// Waits for a provisional response of this code.
    ///
    /// # Errors
    /// When it does not come.
    pub fn provisional(&self, code: u16) -> Result<Message, String> {
        let found = self.shared.wait(ANSWER, |state| {
            let transaction = state.transactions.iter().find(|t| t.branch() == self.branch)?;
            transaction.responses.iter().find(|(_, r)| r.code() == code).map(|(_, r)| r.clone())
        });
        found.ok_or_else(|| format!("no {code} in {ANSWER:?}"))
    }

    /// The SDP of the 2xx.
    ///
    /// # Errors
    /// With the code and reason when the call was refused.
    pub fn answered(&self) -> Result<String, String> {
        success(self.outcome()?)
    }

    /// Sends the ACK with the answer to the offer in a 2xx to an offerless INVITE.
    pub fn ack_with(&self, sdp: &str) {
        let bytes = self.with_dialog(|shared, dialog| {
            sdp.clone_into(&mut dialog.local_sdp);
            let number = dialog.offerless.last().copied().unwrap_or(1);
            let bytes = dialog.request(shared, "ACK", Some(number)).with_body("application/sdp", sdp).to_bytes();
            dialog.acks.push((number, bytes.clone()));
            bytes
        });
        self.shared.wire.send(&bytes, self.shared.server);
    }

    /// The INVITE once more, after a challenge: the same call with the next number and this header (RFC 3261 §22.2).
    pub fn again(&mut self, name: &str, value: &str) {
        let (request, cseq) = self.with_dialog(|shared, dialog| {
            dialog.remote_tag = None;
            let request = dialog.request(shared, "INVITE", None).with(name, value);
            (request.with_body("application/sdp", &dialog.local_sdp), dialog.local_cseq)
        });
        self.cseq = cseq;
        self.branch = self.shared.begin(request);
    }

    /// A re-INVITE with this offer; gives the SDP of its 2xx.
    ///
    /// # Errors
    /// With the code and reason when it was refused.
    pub fn reinvite(&self, sdp: &str) -> Result<String, String> {
        let request = self.with_dialog(|shared, dialog| {
            sdp.clone_into(&mut dialog.local_sdp);
            dialog.request(shared, "INVITE", None).with_body("application/sdp", sdp)
        });
        success(self.shared.ask(request)?)
    }

    /// A re-INVITE without an offer; gives the server's offer, which must then be answered with [`Call::ack_with`].
    ///
    /// # Errors
    /// With the code and reason when it was refused.
    pub fn reinvite_offerless(&self) -> Result<String, String> {
        let request = self.with_dialog(|shared, dialog| {
            let request = dialog.request(shared, "INVITE", None);
            dialog.offerless.push(dialog.local_cseq);
            request
        });
        success(self.shared.ask(request)?)
    }

    /// CANCEL; gives its final response. The INVITE then ends with 487 (see [`Call::outcome`]).
    ///
    /// # Errors
    /// When no response comes.
    pub fn cancel(&self) -> Result<Message, String> {
        let invite = self.look(|t| Some(t.request.clone())).ok_or("no INVITE")?;
        let StartLine::Request { uri, .. } = &invite.start else { return Err("no INVITE".to_owned()) };
        let mut cancel = Message::request("CANCEL", uri);
        for name in ["Via", "Max-Forwards", "From", "To", "Call-ID"] {
            cancel.add(name, invite.header(name).unwrap_or(""));
        }
        cancel.add("CSeq", &format!("{} CANCEL", self.cseq));
        let bytes = cancel.to_bytes();
        // It shares the INVITE's branch, so it is found by branch and method.
        let transaction = ClientTransaction::new(cancel, bytes.clone(), self.shared.wire.transport(), Instant::now());
        self.shared.lock().transactions.push(transaction);
        self.shared.wire.send(&bytes, self.shared.server);
        let found = self.shared.wait(64 * T1, |state| {
            let own = |t: &&ClientTransaction| t.branch() == self.branch && t.request.method() == "CANCEL";
            state.transactions.iter().find(own)?.final_response().cloned()
        });
        found.map(|(_, m)| m).ok_or_else(|| "no response to CANCEL".to_owned())
    }

    /// BYE; gives its final response.
    ///
    /// # Errors
    /// When no response comes.
    pub fn bye(&self) -> Result<Message, String> {
        self.ask("BYE", None)
    }

    /// A key by INFO (`application/dtmf-relay`); gives the final response.
    ///
    /// # Errors
    /// When no response comes.
    pub fn info_digit(&self, digit: char) -> Result<Message, String> {
        self.ask("INFO", Some(("application/dtmf-relay", format!("Signal={digit}\r\nDuration=160\r\n"))))
    }

    /// Asks for a keyframe by INFO (RFC 5168 `picture_fast_update`); gives the final response.
    ///
    /// # Errors
    /// When no response comes.
    pub fn info_picture_fast_update(&self) -> Result<Message, String> {
        self.ask("INFO", Some((MEDIA_CONTROL, PICTURE_FAST_UPDATE.to_owned())))
    }

    /// Counts how often the server asked for a keyframe by INFO.
    pub fn picture_updates(&self) -> Arc<AtomicU64> {
        self.with_dialog(|_, dialog| dialog.picture_updates.clone())
    }

    /// OPTIONS inside the dialog; gives the final response.
    ///
    /// # Errors
    /// When no response comes.
    pub fn options(&self) -> Result<Message, String> {
        self.ask("OPTIONS", None)
    }

    /// Any request in the dialog; gives the final response.
    ///
    /// # Errors
    /// When no response comes.
    pub fn ask(&self, method: &str, body: Option<(&str, String)>) -> Result<Message, String> {
        let mut request = self.with_dialog(|shared, dialog| dialog.request(shared, method, None));
        if let Some((kind, body)) = body {
            request = request.with_body(kind, &body);
        }
        self.shared.ask(request)
    }

    /// The server's BYE, when it comes in time.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_bye(&self, timeout: Duration) -> Result<Message, String> {
        let bye = self.shared.wait_bye(&self.call_id, timeout);
        bye.map(|(_, m)| m).ok_or_else(|| format!("no BYE in {timeout:?}"))
    }

    /// The server has hung up.
    pub fn is_ended(&self) -> bool {
        self.shared.wait_bye(&self.call_id, Duration::ZERO).is_some()
    }

    fn look<T>(&self, look: impl FnOnce(&ClientTransaction) -> Option<T>) -> Option<T> {
        let state = self.shared.lock();
        let own = |t: &&ClientTransaction| t.branch() == self.branch && t.request.method() == "INVITE";
        state.transactions.iter().find(own).and_then(look)
    }

    fn with_dialog<T>(&self, act: impl FnOnce(&Shared, &mut Dialog) -> T) -> T {
        let mut state = self.shared.lock();
        let dialog = state.dialogs.iter_mut().find(|d| d.call_id == self.call_id);
        act(&self.shared, dialog.expect("BUG: a call keeps its dialog"))
    }
}

fn success(message: Message) -> Result<String, String> {
    if (200..300).contains(&message.code()) {
        return Ok(message.text());
    }
    let why = ["Reason", "Warning"].iter().find_map(|h| message.header(h)).unwrap_or("");
    Err(format!("{:?} {why}", message.start))
}
