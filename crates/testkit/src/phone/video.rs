//! A phone with video: the phone, a video peer, and re-INVITEs that add, hold and drop the video line.

#[cfg(test)]
mod tests;

use super::Phone;
use crate::picture::Colour;
use crate::rtp_peer::PeerConfig;
use crate::scene::{self, Scene};
use crate::sdp::{Codec, Described, OfferSpec, VideoDescribed, VideoFormat, VideoOffer};
use crate::sip_ua::Transport;
use crate::video_peer::{VideoConfig, VideoPeer};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

/// Seed of the moving pictures that [`VideoPhone::show_colour`] shows.
const SEED: u64 = 4;

/// How a phone with video calls.
#[derive(Clone, Debug)]
pub struct VideoCall {
    /// Of the signalling.
    pub transport: Transport,
    /// Its sound.
    pub audio: PeerConfig,
    /// Its pictures.
    pub video: VideoConfig,
    /// Offered as `RTP/AVP` without feedback, as old phones do.
    pub is_plain: bool,
    /// `b=` of the video line.
    pub bandwidth: Option<(&'static str, u32)>,
    /// The first offer has a video line.
    pub begins_with_video: bool,
}

impl VideoCall {
    /// Over UDP, with sound as given and these formats, AVPF with all feedback.
    pub fn new(codec: Codec, formats: &[VideoFormat]) -> Self {
        Self {
            transport: Transport::Udp,
            audio: PeerConfig::new(&[codec]),
            video: VideoConfig::new(formats),
            is_plain: false,
            bandwidth: None,
            begins_with_video: true,
        }
    }
}

/// Someone on a phone with video. Dropping it does not hang up.
#[derive(Debug)]
pub struct VideoPhone {
    /// Its sound and its call.
    pub phone: Phone,
    /// Its pictures.
    pub video: VideoPeer,
    said: Option<VideoOffer>,
    line: VideoOffer,
    version: u32,
}

impl VideoPhone {
    /// Dials; the caller is `name` over UDP, silent and black, Opus and this format.
    ///
    /// # Errors
    /// When the call is refused or its answer is malformed.
    pub fn dial(server: SocketAddr, extension: &str, name: &str, format: &VideoFormat) -> Result<Self, String> {
        let call = VideoCall::new(Codec::Opus, std::slice::from_ref(format));
        Self::dial_with(server, extension, name, call)
    }

    /// Dials as one likes.
    ///
    /// # Errors
    /// When the call is refused or its answer is malformed.
    pub fn dial_with(server: SocketAddr, extension: &str, name: &str, call: VideoCall) -> Result<Self, String> {
        let video = VideoPeer::bind(call.video);
        let mut line = video.offer();
        line.bandwidth = call.bandwidth;
        if call.is_plain {
            line = line.plain();
        }
        let said = call.begins_with_video.then(|| line.clone());
        let (phone, answer) = Phone::offer(server, extension, name, call.transport, call.audio, said.clone())?;
        video.follow_requests(phone.call.picture_updates());
        let this = Self { phone, video, said, line, version: 1 };
        this.follow(&answer)?;
        Ok(this)
    }

    /// What the server answered to the last video line.
    pub fn answer(&self) -> Option<&VideoDescribed> {
        self.phone.answer.video.as_ref()
    }

    /// Shows a colour, moving enough to give encoders something to do.
    pub fn show_colour(&self, colour: Colour) {
        self.video.show(scene::moving(colour, SEED));
    }

    /// Shows a scene.
    pub fn show(&self, scene: Scene) {
        self.video.show(scene);
    }

    /// Shows flashes at whole seconds since its sound began, on whole picture periods; with
    /// [`crate::signal::beeps`] said, sound and picture belong together.
    ///
    /// # Panics
    /// When its sound does not begin.
    #[track_caller]
    pub fn flash(&self) {
        let began = || self.phone.peer.sent().began.ok_or_else(|| "silence".to_owned());
        let anchor = crate::wait::until("sound to begin", std::time::Duration::from_secs(5), began);
        self.video.align(anchor);
        self.video.show(scene::flashes(anchor));
    }

    /// Waits until it sees the colour at this place.
    ///
    /// # Panics
    /// With what it saw instead, after ten seconds.
    #[track_caller]
    pub fn sees(&self, x: usize, y: usize, colour: Colour) {
        self.video.wait_colour(x, y, colour);
    }

    /// A re-INVITE with this direction of video: `inactive` or `sendonly` to hold it, `sendrecv` to add it or take it up
    /// again. The sound stays as it is.
    ///
    /// # Errors
    /// When it is refused or its answer is malformed.
    pub fn video_direction(&mut self, direction: &'static str) -> Result<(), String> {
        self.offer_again(Some(VideoOffer { direction, ..self.line.clone() }))
    }

    /// A re-INVITE that adds video, or takes it up again.
    ///
    /// # Errors
    /// When it is refused or its answer is malformed.
    pub fn add_video(&mut self) -> Result<(), String> {
        self.video_direction("sendrecv")
    }

    /// A re-INVITE that drops video: port 0, as a line that was there once stays (RFC 3264 §8.2).
    ///
    /// # Errors
    /// When it is refused or its answer is malformed.
    pub fn drop_video(&mut self) -> Result<(), String> {
        let mut line = self.line.clone();
        line.address.set_port(0);
        self.offer_again(Some(line))
    }

    /// A re-INVITE with any video line.
    ///
    /// # Errors
    /// When it is refused or its answer is malformed.
    pub fn offer_again(&mut self, video: Option<VideoOffer>) -> Result<(), String> {
        self.version += 1;
        let offer = OfferSpec { version: self.version, video: video.clone(), ..self.phone.peer.offer() };
        let sdp = self.phone.call.reinvite(&offer.to_sdp())?;
        self.said = video;
        let answer = Described::parse(&sdp).and_then(|described| self.phone.peer.follow(described));
        self.phone.answer = answer.map_err(|why| format!("{why} in\n{sdp}"))?;
        let answer = self.phone.answer.clone();
        self.follow(&answer)
    }

    /// Asks for a keyframe by INFO.
    ///
    /// # Panics
    /// When the server does not agree.
    #[track_caller]
    pub fn info_keyframe(&self) {
        assert_eq!(self.phone.call.info_picture_fast_update().expect("a final response").code(), 200);
    }

    /// How often the server asked by INFO for a keyframe; each time it got one.
    pub fn asked_by_info(&self) -> u64 {
        self.phone.call.picture_updates().load(Ordering::Relaxed)
    }

    /// Hangs up.
    ///
    /// # Panics
    /// When the server does not agree.
    #[track_caller]
    pub fn hang_up(self) {
        self.phone.hang_up();
    }

    /// The video peer does as the answer says, which has as many lines as the offer had (RFC 3264 §6).
    fn follow(&self, answer: &Described) -> Result<(), String> {
        let (offer, answer) = match (&self.said, &answer.video) {
            (None, None) => return Ok(()),
            (Some(offer), Some(answer)) => (offer, answer),
            (offer, answer) => return Err(format!("video {answer:?} to the offer {offer:?}")),
        };
        if !answer.is_refused() {
            check(offer, answer)?;
        }
        self.video.accept(answer)
    }
}

/// What an answer may say to an offer (RFC 3264 §6.1, RFC 4585 §4.2).
fn check(offer: &VideoOffer, answer: &VideoDescribed) -> Result<(), String> {
    if offer.address.port() == 0 {
        return Err(format!("port {} for a line that was dropped", answer.rtp.port()));
    }
    if answer.profile != offer.profile {
        return Err(format!("{} to {}", answer.profile, offer.profile));
    }
    let strange = answer.payload_types.iter().find(|&&pt| !offer.formats.iter().any(|f| f.payload_type == pt));
    if let Some(strange) = strange {
        return Err(format!("payload type {strange}, which was not offered"));
    }
    // Each side asks for what it can take, within what was offered.
    let is_offered = |kind: &str| offer.feedback.contains(&kind);
    if let Some((_, kind)) = answer.feedback.iter().find(|(_, kind)| !is_offered(kind)) {
        return Err(format!("feedback {kind:?}, which was not offered"));
    }
    let allowed: &[&str] = match offer.direction {
        "sendrecv" => &["sendrecv", "sendonly", "recvonly", "inactive"],
        "sendonly" => &["recvonly", "inactive"],
        "recvonly" => &["sendonly", "inactive"],
        _ => &["inactive"],
    };
    if !allowed.contains(&answer.direction.as_str()) {
        return Err(format!("{} to {}", answer.direction, offer.direction));
    }
    Ok(())
}
