//! A phone in a room: one user agent, one call, one RTP peer; with a [`VideoPhone`] also video.

mod video;

pub use video::{VideoCall, VideoPhone};

use crate::rtp_peer::{PeerConfig, RtpPeer};
use crate::sdp::{Codec, Described, OfferSpec, VideoOffer};
use crate::sip_ua::{Call, Invite, SipUa, Transport};
use crate::tone::Expectation;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Level that test tones are sent at, in dB: four of them together stay under full scale.
pub const TONE_DB: f64 = -22.0;
/// Window that is searched for tones.
const WINDOW_MS: u64 = 300;

/// Someone on the phone. Dropping it does not hang up: the far end has to notice.
#[derive(Debug)]
pub struct Phone {
    /// Its media.
    pub peer: RtpPeer,
    /// Its call.
    pub call: Call,
    /// Its signalling.
    pub ua: SipUa,
    /// What the server answered.
    pub answer: Described,
}

impl Phone {
    /// Dials; the caller is `name` over UDP, silent, with this codec.
    ///
    /// # Errors
    /// When the call is refused or its answer is malformed.
    pub fn dial(server: SocketAddr, extension: &str, name: &str, codec: Codec) -> Result<Self, String> {
        Self::dial_with(server, extension, name, Transport::Udp, PeerConfig::new(&[codec]))
    }

    /// Dials with any transport and peer.
    ///
    /// # Errors
    /// When the call is refused or its answer is malformed.
    pub fn dial_with(
        server: SocketAddr,
        extension: &str,
        name: &str,
        transport: Transport,
        config: PeerConfig,
    ) -> Result<Self, String> {
        let (phone, answer) = Self::offer(server, extension, name, transport, config, None)?;
        answer.video.map_or(Ok(phone), |video| Err(format!("a video line that was not offered: {video:?}")))
    }

    fn offer(
        server: SocketAddr,
        extension: &str,
        name: &str,
        transport: Transport,
        config: PeerConfig,
        video: Option<VideoOffer>,
    ) -> Result<(Self, Described), String> {
        let ua = SipUa::new(name, transport, server);
        let mut peer = RtpPeer::bind(config);
        let call = ua.invite(&Invite::new(extension, &OfferSpec { video, ..peer.offer() }.to_sdp()));
        let sdp = call.answered()?;
        let described = Described::parse(&sdp).and_then(|described| peer.follow(described));
        let answer = described.map_err(|why| format!("{why} in\n{sdp}"))?;
        Ok((Self { peer, call, ua, answer: answer.clone() }, answer))
    }

    /// Says a tone at the tests' common level.
    pub fn say(&self, hz: f64) {
        self.peer.say_tone(hz, TONE_DB);
    }

    /// Waits until one whole window of what it hears has these tones at equal level and not those.
    ///
    /// # Panics
    /// With what it heard instead, after ten seconds.
    #[track_caller]
    pub fn hears(&self, present: &[f64], absent: &[f64]) {
        let expectation =
            Expectation { present: present.to_vec(), absent: absent.to_vec(), level_db: TONE_DB, tolerance_db: 3.0 };
        self.hears_as(&expectation);
    }

    /// The same with an expectation of one's own.
    ///
    /// # Panics
    /// With what it heard instead, after ten seconds.
    #[track_caller]
    pub fn hears_as(&self, expectation: &Expectation) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let why = match self.peer.listen(WINDOW_MS) {
                Ok(pcm) => match expectation.check(&pcm, self.peer.rate_hz()) {
                    Ok(()) => return,
                    Err(why) => why,
                },
                Err(why) => why,
            };
            assert!(Instant::now() < deadline, "{why}");
        }
    }

    /// A re-INVITE with this direction; the peer follows the answer.
    ///
    /// # Errors
    /// When it is refused or its answer is malformed.
    pub fn renegotiate(&mut self, direction: &'static str, version: u32) -> Result<Described, String> {
        let mut offer = self.peer.offer();
        offer.direction = direction;
        offer.version = version;
        let sdp = self.call.reinvite(&offer.to_sdp())?;
        self.answer = self.peer.accept(&sdp)?;
        Ok(self.answer.clone())
    }

    /// Hangs up.
    ///
    /// # Panics
    /// When the server does not agree.
    #[track_caller]
    pub fn hang_up(self) {
        assert_eq!(self.call.bye().expect("a final response").code(), 200);
    }
}
