//! A participant's media session as a sans-I/O state machine, and the envelope in which it travels from the signalling
//! thread to its worker.
//!
//! `LegState` has four kinds of method. *Input*: `handle_datagram` or `handle_shared`, `renegotiate`. *Tick*: `pull` or `skip`, then
//! `push` or `push_silence`. *Output*: packets by the `send` closure of those, `poll_event`, `poll_rtcp`.
//! *Questions*: everything that takes `&self`.

mod arrivals;
mod dtmf;
mod inband;
mod jitter;
pub mod playout;
mod reception;
mod report;
mod rtp_leg;
mod send;
mod stated;
mod video;
mod webrtc;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::audio::frame::Frame;
use crate::command::{Digit, LegEnd};
use crate::engine::Reservation;
use crate::error::{Error, Refused};
use crate::sdp::secured::Credentials;
use crate::sdp::{Answer, CodecName, Offer};
use crate::sockets::PortPair;
use crate::stats::LegStats;
use crate::units::LegId;
use crate::video::feed::Feed;
use crate::video::rendition::{Demand, Encoded, Rendition};
use playout::Pulled;
use rtp_leg::Terms;

/// Which sockets a leg uses on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PortKey(pub usize);

/// Which of a leg's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Rtp,
    Rtcp,
}

/// Which of a leg's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Audio,
    Video,
}

/// One datagram to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transmit<'a> {
    pub port: PortKey,
    pub channel: Channel,
    pub to: SocketAddr,
    pub bytes: &'a [u8],
}

/// What a leg found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LegEvent {
    /// The first valid packet came.
    Up,
    /// A key was pressed.
    Dtmf(Digit),
}

/// A leg ready to join its room: the state machine and its sockets.
#[derive(Debug)]
pub struct Leg {
    pub(crate) state: LegState,
    pub(crate) sockets: LegSockets,
}

/// What a leg is sent and received through.
#[derive(Debug)]
pub(crate) enum LegSockets {
    /// Sockets of its own: those of its sound, and of its video if it has any.
    Own { ports: PortPair, video: Option<PortPair> },
    /// Those that browsers share, of one worker; and the far end's addresses, which it has validated.
    Shared { sources: Vec<(PortKey, SocketAddr)> },
}

/// What is to be given up when a leg goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Its sockets.
    Ports(PortKey),
    /// Its place at the shared ones.
    Shared(LegId),
}

impl Leg {
    /// It is a browser's: ICE and DTLS-SRTP, on the sockets that its worker shares out.
    pub fn is_web(&self) -> bool {
        matches!(self.state, LegState::WebRtc(_))
    }

    /// Which leg.
    pub fn id(&self) -> LegId {
        self.state.id()
    }
}

/// Our offer is out (offerless INVITE, dial-out), the answer is awaited. Dropping it gives the ports back.
#[derive(Debug)]
pub struct PendingLeg {
    reservation: Reservation,
    terms: Terms,
}

impl PendingLeg {
    /// Which leg it will be.
    pub fn id(&self) -> LegId {
        self.reservation.leg()
    }

    /// Takes the far end's answer. `signalling` is where it came from: RTP from that address is accepted too.
    pub fn accept(self, answer: &str, signalling: IpAddr) -> Result<(Leg, Answer), Error> {
        let Self { reservation, mut terms } = self;
        let (agreed, answer) = terms.accept(&Offer::parse(answer)?, None)?;
        Ok((reservation.into_leg(terms, agreed, signalling)?, answer))
    }
}

/// Whether an offer is a browser's: its media goes over ICE and DTLS. What is no description is not.
pub fn is_web_offer(offer: &str) -> bool {
    Offer::parse(offer).is_ok_and(|offer| offer.is_web())
}

/// Answers an offer with a reserved leg, on the caller's thread. `signalling` is where the offer came from: RTP from that
/// address is accepted too, at any port (NAT).
pub fn answer(offer: &str, reservation: Reservation, signalling: IpAddr) -> Result<(Leg, Answer), Error> {
    let mut terms = reservation.terms();
    let (agreed, answer) = terms.answer(&Offer::parse(offer)?)?;
    Ok((reservation.into_leg(terms, agreed, signalling)?, answer))
}

/// Makes our offer for a reserved leg.
pub fn offer(reservation: Reservation) -> (PendingLeg, String) {
    let mut terms = reservation.terms();
    let offer = terms.offer(None);
    (PendingLeg { reservation, terms }, offer)
}

pub(crate) use reception::Tally;
pub(crate) use rtp_leg::{LegTimes, RtpLeg, Seed, Terms as LegTerms};
pub(crate) use video::VideoLeg;
pub(crate) use webrtc::{Identity, SharedPort, Strange, WebRtcLeg, check_for};

/// The media session of one participant.
#[derive(Debug)]
pub(crate) enum LegState {
    /// Plain RTP, negotiated by SIP.
    Rtp(Box<RtpLeg>),
    /// A browser's: the same behind ICE and DTLS-SRTP.
    WebRtc(Box<WebRtcLeg>),
}

impl LegState {
    pub(crate) fn rtp(leg: RtpLeg) -> Self {
        Self::Rtp(Box::new(leg))
    }
    pub(crate) fn web(leg: WebRtcLeg) -> Self {
        Self::WebRtc(Box::new(leg))
    }
    /// The leg without what is around it.
    fn plain(&self) -> &RtpLeg {
        match self {
            Self::Rtp(leg) => leg,
            Self::WebRtc(leg) => leg.inner(),
        }
    }
    fn plain_mut(&mut self) -> &mut RtpLeg {
        match self {
            Self::Rtp(leg) => leg,
            Self::WebRtc(leg) => leg.inner_mut(),
        }
    }
    // -- input --
    /// One datagram from the network, on a socket of the leg's own. Anything may be in it.
    pub(crate) fn handle_datagram(
        &mut self,
        arrived: Instant,
        from: SocketAddr,
        socket: (Medium, Channel),
        bytes: &[u8],
    ) {
        if let Self::Rtp(leg) = self {
            leg.handle_datagram(arrived, from, socket, bytes);
        }
    }
    /// The same on a shared socket; what is to be answered goes out at once.
    pub(crate) fn handle_shared(
        &mut self,
        arrived: Instant,
        port: PortKey,
        from: SocketAddr,
        bytes: &[u8],
        send: &mut dyn FnMut(Transmit<'_>),
    ) -> Result<(), Strange> {
        match self {
            Self::Rtp(_) => Err(Strange),
            Self::WebRtc(leg) => leg.handle_shared(arrived, port, from, bytes, send),
        }
    }
    /// A new offer within the session.
    pub(crate) fn renegotiate(&mut self, now: Instant, offer: &Offer) -> Result<Answer, Error> {
        match self {
            Self::Rtp(leg) => leg.renegotiate(now, offer),
            Self::WebRtc(leg) => leg.renegotiate(now, offer),
        }
    }
    /// Our present offer. Browsers make theirs themselves.
    pub(crate) fn reoffer(&mut self) -> Result<String, Error> {
        match self {
            Self::Rtp(leg) => Ok(leg.reoffer()),
            Self::WebRtc(_) => Err(Error::Refused(Refused::NoOffer)),
        }
    }
    /// The far end restarts ICE; our fragment.
    pub(crate) fn restart_ice(&mut self, remote: Credentials) -> Result<String, Error> {
        match self {
            Self::Rtp(_) => Err(Error::Refused(Refused::NotWeb)),
            Self::WebRtc(leg) => leg.restart(remote),
        }
    }
    /// On its worker, in its first room or in another one. The keys are of sockets of its own, if it has any.
    pub(crate) fn place(&mut self, ports: Option<(PortKey, Option<PortKey>)>, now: Instant) {
        match (self, ports) {
            (Self::Rtp(leg), Some((port, video))) => leg.place(port, video, now),
            (Self::WebRtc(leg), None) => leg.place(now),
            _ => tracing::error!("BUG: a leg came with another kind's sockets"),
        }
    }
    // -- tick --
    pub(crate) fn pull(&mut self, now: Instant, out: &mut Frame) -> Pulled {
        self.plain_mut().pull(now, out)
    }
    pub(crate) fn skip(&mut self, now: Instant) {
        self.plain_mut().skip(now);
    }
    /// Ticks passed in which nothing could be sent: the RTP timestamp moves on.
    pub(crate) fn skip_ticks(&mut self, skipped: u32) {
        self.plain_mut().skip_ticks(skipped);
    }
    pub(crate) fn push(&mut self, now: Instant, payload: Option<&[u8]>, send: &mut dyn FnMut(Transmit<'_>)) {
        match self {
            Self::Rtp(leg) => leg.push(now, payload, send),
            Self::WebRtc(leg) => leg.push(now, payload),
        }
    }
    pub(crate) fn push_silence(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        match self {
            Self::Rtp(leg) => leg.push_silence(now, send),
            Self::WebRtc(leg) => leg.push_silence(now),
        }
    }
    // -- output --
    pub(crate) fn poll_event(&mut self) -> Option<LegEvent> {
        self.plain_mut().poll_event()
    }
    /// The end of a tick: reports that are due, and whatever else waits to go out.
    pub(crate) fn poll_rtcp(&mut self, now: Instant, ntp: u64, send: &mut dyn FnMut(Transmit<'_>)) {
        match self {
            Self::Rtp(leg) => leg.poll_rtcp(now, ntp, send),
            Self::WebRtc(leg) => leg.poll(now, ntp, send),
        }
    }
    /// The last RTCP report, with a BYE.
    pub(crate) fn say_goodbye(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        match self {
            Self::Rtp(leg) => leg.say_goodbye(now, send),
            Self::WebRtc(leg) => leg.say_goodbye(now, send),
        }
    }
    // -- video --
    pub(crate) fn video(&self) -> Option<&VideoLeg> {
        self.plain().video()
    }
    pub(crate) fn video_mut(&mut self) -> Option<&mut VideoLeg> {
        self.plain_mut().video_mut()
    }
    /// A picture that the room made.
    pub(crate) fn show(&mut self, encoded: &Encoded) {
        if let Some(video) = self.video_mut() {
            video.push(encoded);
        }
    }
    /// What is due of its video, several times a tick; which encode it is to be sent. `None`: it has no video.
    pub(crate) fn poll_video(
        &mut self,
        now: Instant,
        feed: &mut Feed,
        demand: &Demand,
        send: &mut dyn FnMut(Transmit<'_>),
    ) -> Option<Option<Rendition>> {
        match self {
            Self::Rtp(leg) => leg.video_mut()?.poll(now, feed, demand, send),
            Self::WebRtc(leg) => leg.poll_video(now, feed, demand, send),
        }
        self.video().map(VideoLeg::wanted)
    }
    // -- questions --
    pub(crate) fn id(&self) -> LegId {
        self.plain().id()
    }
    /// What it holds on its worker.
    pub(crate) fn held(&self) -> impl Iterator<Item = Held> + use<> {
        let (own, shared) = match self {
            Self::Rtp(leg) => (Some([Some(leg.port()), leg.video().map(VideoLeg::port)]), None),
            Self::WebRtc(leg) => (None, Some(Held::Shared(leg.id()))),
        };
        own.into_iter().flatten().flatten().map(Held::Ports).chain(shared)
    }
    /// The worker that it cannot leave, and the name of its connectivity checks; of a browser's leg.
    pub(crate) fn shared_place(&self) -> Option<(usize, &str)> {
        match self {
            Self::Rtp(_) => None,
            Self::WebRtc(leg) => Some((leg.worker(), leg.ufrag())),
        }
    }
    pub(crate) fn codec(&self) -> CodecName {
        self.plain().codec()
    }
    pub(crate) fn opus_max_bitrate(&self) -> Option<u32> {
        self.plain().opus_max_bitrate()
    }
    /// It reports loss and can use in-band FEC.
    pub(crate) fn wants_fec(&self) -> bool {
        self.plain().wants_fec()
    }
    pub(crate) fn wants_dtx(&self) -> bool {
        self.plain().wants_dtx()
    }
    /// What comes from it belongs into the room: it is not on hold and may send.
    pub(crate) fn may_be_heard(&self) -> bool {
        self.plain().may_be_heard()
    }
    /// It is to be sent something.
    pub(crate) fn sends(&self) -> bool {
        self.plain().sends()
    }
    pub(crate) fn on_hold(&self) -> bool {
        self.plain().on_hold()
    }
    /// It is to be pulled from even if nobody hears it: its keys are in its sound.
    pub(crate) fn has_keypad(&self) -> bool {
        self.plain().has_keypad()
    }
    /// Something was sent to it already: it comes from another room.
    pub(crate) fn has_sent(&self) -> bool {
        self.plain().has_sent()
    }
    /// The mean square (0–1) that its last packet stated (RFC 6464); 0 when that is long ago.
    pub(crate) fn announced_energy(&self, now: Instant) -> Option<f32> {
        self.plain().announced_energy(now)
    }
    /// Why it is over, if it is.
    pub(crate) fn ended(&mut self, now: Instant) -> Option<LegEnd> {
        match self {
            Self::Rtp(leg) => leg.timed_out(now).then_some(LegEnd::MediaTimeout),
            Self::WebRtc(leg) => leg.ended(now),
        }
    }
    pub(crate) fn stats(&self) -> LegStats {
        self.plain().stats()
    }
}
