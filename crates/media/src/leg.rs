//! A participant's media session as a sans-I/O state machine, and the envelope in which it travels from the signalling
//! thread to its worker.
//!
//! `LegState` has four kinds of method. *Input*: `handle_datagram`, `renegotiate`. *Tick*: `pull` or `skip`, then
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
mod video;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::audio::frame::Frame;
use crate::command::Digit;
use crate::engine::Reservation;
use crate::error::Error;
use crate::sdp::{Answer, CodecName, Offer};
use crate::sockets::PortPair;
use crate::stats::LegStats;
use crate::units::LegId;
use playout::Pulled;
use rtp_leg::Terms;

/// Which sockets a leg uses on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(crate) ports: PortPair,
    pub(crate) video_ports: Option<PortPair>,
}

impl Leg {
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
        Ok((reservation.into_leg(terms, agreed, signalling), answer))
    }
}

/// Answers an offer with a reserved leg, on the caller's thread. `signalling` is where the offer came from: RTP from that
/// address is accepted too, at any port (NAT).
pub fn answer(offer: &str, reservation: Reservation, signalling: IpAddr) -> Result<(Leg, Answer), Error> {
    let mut terms = reservation.terms();
    let (agreed, answer) = terms.answer(&Offer::parse(offer)?)?;
    Ok((reservation.into_leg(terms, agreed, signalling), answer))
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

/// The media session of one participant.
#[derive(Debug)]
pub(crate) enum LegState {
    /// Plain RTP, negotiated by SIP.
    Rtp(Box<RtpLeg>),
}

impl LegState {
    pub(crate) fn rtp(leg: RtpLeg) -> Self {
        Self::Rtp(Box::new(leg))
    }
    // -- input --
    /// One datagram from the network. Anything may be in it.
    pub(crate) fn handle_datagram(
        &mut self,
        arrived: Instant,
        from: SocketAddr,
        socket: (Medium, Channel),
        bytes: &[u8],
    ) {
        let Self::Rtp(leg) = self;
        leg.handle_datagram(arrived, from, socket, bytes);
    }
    /// A new offer within the session.
    pub(crate) fn renegotiate(&mut self, now: Instant, offer: &Offer) -> Result<Answer, Error> {
        let Self::Rtp(leg) = self;
        leg.renegotiate(now, offer)
    }
    /// Our present offer.
    pub(crate) fn reoffer(&mut self) -> String {
        let Self::Rtp(leg) = self;
        leg.reoffer()
    }
    /// On its worker, in its first room or in another one.
    pub(crate) fn place(&mut self, port: PortKey, video_port: Option<PortKey>, now: Instant) {
        let Self::Rtp(leg) = self;
        leg.place(port, video_port, now);
    }
    // -- tick --
    pub(crate) fn pull(&mut self, now: Instant, out: &mut Frame) -> Pulled {
        let Self::Rtp(leg) = self;
        leg.pull(now, out)
    }
    pub(crate) fn skip(&mut self, now: Instant) {
        let Self::Rtp(leg) = self;
        leg.skip(now);
    }
    /// Ticks passed in which nothing could be sent: the RTP timestamp moves on.
    pub(crate) fn skip_ticks(&mut self, skipped: u32) {
        let Self::Rtp(leg) = self;
        leg.skip_ticks(skipped);
    }
    pub(crate) fn push(&mut self, now: Instant, payload: Option<&[u8]>, send: &mut dyn FnMut(Transmit<'_>)) {
        let Self::Rtp(leg) = self;
        leg.push(now, payload, send);
    }
    pub(crate) fn push_silence(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        let Self::Rtp(leg) = self;
        leg.push_silence(now, send);
    }
    // -- output --
    pub(crate) fn poll_event(&mut self) -> Option<LegEvent> {
        let Self::Rtp(leg) = self;
        leg.poll_event()
    }
    pub(crate) fn poll_rtcp(&mut self, now: Instant, ntp: u64, send: &mut dyn FnMut(Transmit<'_>)) {
        let Self::Rtp(leg) = self;
        leg.poll_rtcp(now, ntp, send);
    }
    /// The last RTCP report, with a BYE.
    pub(crate) fn say_goodbye(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        let Self::Rtp(leg) = self;
        leg.say_goodbye(now, send);
    }
    // -- video --
    pub(crate) fn video(&self) -> Option<&VideoLeg> {
        let Self::Rtp(leg) = self;
        leg.video()
    }
    pub(crate) fn video_mut(&mut self) -> Option<&mut VideoLeg> {
        let Self::Rtp(leg) = self;
        leg.video_mut()
    }
    // -- questions --
    pub(crate) fn id(&self) -> LegId {
        let Self::Rtp(leg) = self;
        leg.id()
    }
    /// Its sockets: those of its sound, and of its video if it has any.
    pub(crate) fn ports(&self) -> impl Iterator<Item = PortKey> + use<> {
        let Self::Rtp(leg) = self;
        std::iter::once(leg.port()).chain(leg.video().map(VideoLeg::port))
    }
    pub(crate) fn codec(&self) -> CodecName {
        let Self::Rtp(leg) = self;
        leg.codec()
    }
    pub(crate) fn opus_max_bitrate(&self) -> Option<u32> {
        let Self::Rtp(leg) = self;
        leg.opus_max_bitrate()
    }
    /// It reports loss and can use in-band FEC.
    pub(crate) fn wants_fec(&self) -> bool {
        let Self::Rtp(leg) = self;
        leg.wants_fec()
    }
    pub(crate) fn wants_dtx(&self) -> bool {
        let Self::Rtp(leg) = self;
        leg.wants_dtx()
    }
    /// What comes from it belongs into the room: it is not on hold and may send.
    pub(crate) fn may_be_heard(&self) -> bool {
        let Self::Rtp(leg) = self;
        leg.may_be_heard()
    }
    /// It is to be sent something.
    pub(crate) fn sends(&self) -> bool {
        let Self::Rtp(leg) = self;
        leg.sends()
    }
    pub(crate) fn on_hold(&self) -> bool {
        let Self::Rtp(leg) = self;
        leg.on_hold()
    }
    /// It is to be pulled from even if nobody hears it: its keys are in its sound.
    pub(crate) fn has_keypad(&self) -> bool {
        let Self::Rtp(leg) = self;
        leg.has_keypad()
    }
    /// Something was sent to it already: it comes from another room.
    pub(crate) fn has_sent(&self) -> bool {
        let Self::Rtp(leg) = self;
        leg.has_sent()
    }
    /// The mean square (0–1) that its last packet stated (RFC 6464), when that is recent.
    pub(crate) fn announced_energy(&self, now: Instant) -> Option<f32> {
        let Self::Rtp(leg) = self;
        leg.announced_energy(now)
    }
    pub(crate) fn timed_out(&mut self, now: Instant) -> bool {
        let Self::Rtp(leg) = self;
        leg.timed_out(now)
    }
    pub(crate) fn stats(&self) -> LegStats {
        let Self::Rtp(leg) = self;
        leg.stats()
    }
}
