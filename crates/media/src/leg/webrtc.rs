//! A leg over ICE and DTLS-SRTP (WebRTC): str0m decrypts and encrypts, asks for lost packets, sends ours again and estimates
//! the path; behind it is the same leg as over plain RTP. The only place that names str0m. Sans-I/O, on the worker's thread.
//!
//! After each input str0m is drained, of sound alone no further than to the packet; after what a tick writes it is given the
//! time and drained again, or nothing is sent. It allocates for every packet: of what a tick does this is the one part that is
//! not ours.

mod estimate;
mod link;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::rtp_leg::RtpLeg;
use super::{PortKey, Transmit};
use crate::command::LegEnd;
use crate::error::Error;
use crate::sdp::secured::{Credentials, write_fragment};
use crate::sdp::{Answer, Offer};
use crate::units::LegId;
use crate::video::feed::Feed;
use crate::video::rendition::Demand;
use link::{Came, Link};
pub(crate) use link::{Identity, SharedPort, Strange, check_for};

/// A far end that was heard of no longer ago than this is there.
const PRESENT_FOR: Duration = Duration::from_secs(5);
/// The sockets' keys of the plain leg behind: only which of its streams a packet belongs to.
pub(super) const AUDIO: PortKey = PortKey(0);
pub(super) const VIDEO: PortKey = PortKey(1);

/// One participant's browser.
#[derive(Debug)]
pub(crate) struct WebRtcLeg {
    inner: RtpLeg,
    link: Link,
    /// The worker whose sockets its candidates name.
    worker: usize,
    /// So long it may be away.
    resume: Duration,
    /// Last sign of life: a connectivity check, or media.
    heard: Option<Instant>,
    end: Option<LegEnd>,
}

impl WebRtcLeg {
    /// Around a leg that was negotiated for it. `start` is now.
    pub(crate) fn new(
        inner: RtpLeg,
        identity: &Identity,
        worker: usize,
        ports: Vec<SharedPort>,
        resume: Duration,
        start: Instant,
    ) -> Result<Self, Error> {
        let link = Link::new(&inner, identity, ports, start)?;
        Ok(Self { inner, link, worker, resume, heard: None, end: None })
    }

    pub(crate) const fn inner(&self) -> &RtpLeg {
        &self.inner
    }
    pub(crate) const fn inner_mut(&mut self) -> &mut RtpLeg {
        &mut self.inner
    }
    pub(crate) const fn worker(&self) -> usize {
        self.worker
    }

    /// The name by which its connectivity checks are told from others'.
    pub(crate) fn ufrag(&self) -> &str {
        self.inner.local_secured().map_or("", |local| &local.credentials.ufrag)
    }

    /// On its worker, in its first room or in another one.
    pub(crate) fn place(&mut self, now: Instant) {
        self.inner.place(AUDIO, Some(VIDEO), now);
        // Until the first check comes the wait is the same as after the last one.
        self.heard.get_or_insert(now);
    }
}

// -- input -------------------------------------------------------------------------------------------------------------
impl WebRtcLeg {
    /// One datagram on a shared socket, from an address that is the leg's, or that this datagram may make the leg's. What is to
    /// be answered goes out at once.
    pub(crate) fn handle_shared(
        &mut self,
        arrived: Instant,
        port: PortKey,
        from: SocketAddr,
        bytes: &[u8],
        send: &mut dyn FnMut(Transmit<'_>),
    ) -> Result<(), Strange> {
        let Self { link, inner, heard, end, .. } = self;
        let came = link.receive(arrived, port, from, bytes)?;
        link.take(arrived, came, inner, end, send);
        if link.take_media() || came == Came::Check {
            *heard = Some(arrived);
            inner.keep_alive(arrived);
        }
        Ok(())
    }

    /// A new description within the session (a re-INVITE): another direction, or an ICE restart.
    pub(crate) fn renegotiate(&mut self, now: Instant, offer: &Offer) -> Result<Answer, Error> {
        let before = self.inner.local_secured().cloned();
        let is_restart = offer.remote_ufrag().is_some_and(|ufrag| !self.link.is_remote(ufrag));
        if is_restart && let Some(local) = self.inner.local_secured_mut() {
            local.credentials = Credentials::random()?;
        }
        let agreed = self.inner.renegotiate_if(now, offer, &|agreed| self.link.carries(agreed));
        match (&agreed, self.inner.local_secured_mut(), before) {
            (Err(_), Some(local), Some(before)) => *local = before,
            (Ok(_), ..) => self.link.follow(&self.inner),
            _ => {}
        }
        agreed
    }

    /// An ICE restart by a fragment (RFC 8840, RFC 9725 §4.3.2): our side of it.
    pub(crate) fn restart(&mut self, remote: Credentials) -> Result<String, Error> {
        let fresh = !self.link.is_remote(&remote.ufrag);
        let local = self.inner.local_secured_mut().ok_or_else(|| Error::Broken("BUG: no ICE in the leg".to_owned()))?;
        if fresh {
            local.credentials = Credentials::random()?;
            self.link.restart(&local.credentials, remote);
        }
        Ok(write_fragment(local))
    }
}

// -- tick --------------------------------------------------------------------------------------------------------------
impl WebRtcLeg {
    /// One tick's payload; `None` sends nothing. What it makes goes out with `poll`.
    pub(crate) fn push(&mut self, now: Instant, payload: Option<&[u8]>) {
        let Self { inner, link, .. } = self;
        inner.push(now, payload, &mut |transmit| link.write(transmit, now));
    }

    pub(crate) fn push_silence(&mut self, now: Instant) {
        let Self { inner, link, .. } = self;
        inner.push_silence(now, &mut |transmit| link.write(transmit, now));
    }

    /// Time passes, once a tick: what was written goes out, and what str0m has due.
    pub(crate) fn poll(&mut self, now: Instant, ntp: u64, send: &mut dyn FnMut(Transmit<'_>)) {
        let Self { link, inner, end, .. } = self;
        // Its reports carry nothing that str0m's do not, but its requests do.
        inner.poll_rtcp(now, ntp, &mut |transmit| link.write(transmit, now));
        link.advance(now, inner, end, send);
    }

    /// What is due of its video, several times a tick.
    pub(crate) fn poll_video(
        &mut self,
        now: Instant,
        feed: &mut Feed,
        demand: &Demand,
        send: &mut dyn FnMut(Transmit<'_>),
    ) {
        let Self { link, inner, end, .. } = self;
        let Some(video) = inner.video_mut() else { return };
        let clock = video.timestamp_at(now);
        let mut wrote = false;
        video.poll(now, feed, demand, &mut |transmit| {
            wrote = true;
            link.write_picture(transmit, now, clock);
        });
        if wrote || link.is_due(now) {
            link.advance(now, inner, end, send);
        }
    }

    /// Says that it is over: RTCP BYE and the end of the DTLS session.
    pub(crate) fn say_goodbye(&mut self, now: Instant, send: &mut dyn FnMut(Transmit<'_>)) {
        let Self { link, inner, end, .. } = self;
        link.close();
        link.advance(now, inner, end, send);
    }
}

// -- questions ---------------------------------------------------------------------------------------------------------
impl WebRtcLeg {
    pub(crate) const fn id(&self) -> LegId {
        self.inner.id()
    }

    /// Why it is over, if it is.
    pub(crate) fn ended(&mut self, now: Instant) -> Option<LegEnd> {
        let silent = self.heard.map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
        let is_lost = silent > self.resume.max(PRESENT_FOR);
        self.end.clone().or_else(|| is_lost.then_some(LegEnd::MediaTimeout))
    }
}
