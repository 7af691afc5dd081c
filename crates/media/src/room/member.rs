//! One leg's place in a room: what it adds to the bus, and which encode it hears. Runs on the worker's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::aside::Aside;
use super::encode::{Encodes, OpusProfile, Packet, Payload, PrivateEncoder, Profile, SharedKey, encode_g711};
use super::talkers::Candidate;
use super::{Moment, Outlet};
use crate::audio::bus::Buses;
use crate::audio::codec::g711::Law;
use crate::audio::frame::{Frame, MAX_FRAME_SAMPLES};
use crate::audio::level::{self, LevelMeter};
use crate::audio::limit::Limiter;
use crate::audio::prompt::Playback;
use crate::command::{AudioSpec, Event, LegEnd, LegSettings};
use crate::leg::playout::Pulled;
use crate::leg::{LegEvent, LegState, VideoLeg};
use crate::sdp::CodecName;
use crate::stats::LegSnapshot;
use crate::units::{Bitrate, Gain, LegId, RoomId, Tick};
use crate::video::feed::Feed;
use crate::video::rendition::{Demand, Encoded, Rendition};

/// Silence this long (200 ms) takes a leg off the bus: it costs what a listener costs until it speaks again.
const IDLE_TICKS: u16 = 10;
/// A former talker goes back to the shared encode when the mix dips, or after this long (200 ms): where many take turns,
/// encoders that linger would cost as much as the talkers' own.
const LINGER_TICKS: u16 = 10;
/// Above this a leg counts as talking …
const TALKING_DBOV: i8 = -40;
/// … and below this, for `TALKING_HOLD_TICKS`, not any more.
const QUIET_DBOV: i8 = -45;
/// Half a second bridges the pauses between words.
const TALKING_HOLD_TICKS: u16 = 25;
/// Energy (full scale is 1) below which no key is pressed: -50 dBov, where the detector takes tones from -42 dB on.
const QUIETEST_KEY: f32 = 1e-5;

/// Working memory of a room's tick that a member borrows.
pub(super) struct Scratch<'a> {
    pub sum: &'a mut [i32; MAX_FRAME_SAMPLES],
    pub frames: &'a mut [Frame; 3],
    pub packet: &'a mut Packet,
}

pub(super) struct Member {
    pub leg: LegState,
    /// The way of its pictures to the composer, in a room with a picture.
    pub feed: Option<Feed>,
    /// The encode of the room's picture that it is counted for.
    counted: Option<Rendition>,
    pub settings: LegSettings,
    /// Join order.
    pub order: u64,
    /// What it said in this tick; after `contribution` exactly what was added to the bus.
    pub frame: Frame,
    /// `frame` is part of this tick's sum.
    added: bool,
    /// Chosen for the bus in this tick.
    pub chosen: bool,
    pub private: Option<Box<PrivateEncoder>>,
    since: Option<Tick>,
    gain: f32,
    target: f32,
    silent_ticks: u16,
    level: LevelMeter,
    hears: SharedKey,
    profile: Profile,
    limiter: Limiter,
    linger_ticks: u16,
    /// What is played to it alone; kept once it was played to.
    pub aside: Option<Box<Aside>>,
    /// What it heard last was not the shared stream, nor an encoder that went on from it.
    astray: bool,
    /// It heard a mix of its own in the last tick.
    apart: bool,
    talking: bool,
    quiet_ticks: u16,
    failed: Option<String>,
}

/// The encode that a leg hears while it only listens.
pub(super) fn profile_of(leg: &LegState, spec: &AudioSpec) -> Profile {
    match leg.codec() {
        CodecName::Pcmu => Profile::G711(Law::Mu),
        CodecName::Pcma => Profile::G711(Law::A),
        CodecName::Opus => Profile::Opus(OpusProfile::new(
            spec.opus_bitrate,
            leg.opus_max_bitrate().map(Bitrate::bps),
            leg.wants_fec(),
            leg.wants_dtx(),
        )),
    }
}

impl Member {
    pub(super) fn new(leg: LegState, settings: LegSettings, profile: Profile, hears: SharedKey, order: u64) -> Self {
        Self {
            settings,
            order,
            frame: Frame::silence(profile.rate()),
            added: false,
            chosen: false,
            private: None,
            since: None,
            gain: 0.0,
            target: 0.0,
            silent_ticks: IDLE_TICKS,
            level: LevelMeter::default(),
            hears,
            profile,
            limiter: Limiter::default(),
            linger_ticks: 0,
            aside: None,
            astray: leg.has_sent(),
            apart: false,
            talking: false,
            quiet_ticks: 0,
            failed: None,
            feed: None,
            counted: None,
            leg,
        }
    }

    /// Runs `f`; a panic in it marks this leg as failed and reaches nobody else.
    pub(super) fn guarded(&mut self, f: impl FnOnce(&mut Self)) {
        if self.failed.is_some() {
            return;
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| f(self))) {
            self.failed = Some(crate::worker::panic_text(&*panic));
            self.frame.clear();
        }
    }

    fn heard_by_nobody(&self) -> bool {
        self.failed.is_some() || self.settings.muted || !self.leg.may_be_heard()
    }

    /// Keys may be in its sound. Where it states its level (RFC 6464), they are not in what is quieter than any key.
    fn may_press_keys(&self, now: Instant) -> bool {
        self.leg.has_keypad() && self.leg.announced_energy(now).is_none_or(|stated| stated >= QUIETEST_KEY)
    }

    /// Pulls this tick's frame, or lets the time pass where nobody could hear it. In a crowded room a leg that states
    /// its level (RFC 6464) is decoded only while it is on the bus.
    pub(super) fn listen(&mut self, now: Instant, crowded: bool) {
        if self.heard_by_nobody() && self.gain == 0.0 {
            // A muted caller presses keys too.
            if self.may_press_keys(now) && self.leg.may_be_heard() {
                self.leg.pull(now, &mut self.frame);
            } else {
                self.leg.skip(now);
            }
            self.level.push(0.0);
            self.silent_ticks = IDLE_TICKS;
            return;
        }
        if crowded
            && self.since.is_none()
            && !self.may_press_keys(now)
            && let Some(stated) = self.leg.announced_energy(now)
        {
            self.leg.skip(now);
            self.frame.clear();
            self.level.push(stated);
            self.silent_ticks = 0;
            return;
        }
        match self.leg.pull(now, &mut self.frame) {
            Pulled::Silence => {
                self.level.push(0.0);
                self.silent_ticks = self.silent_ticks.saturating_add(1);
            }
            Pulled::Voice | Pulled::Concealed => {
                self.level.push(level::energy(self.frame.samples()));
                self.silent_ticks = 0;
            }
        }
    }

    pub(super) fn candidate(&self, key: usize) -> Option<Candidate> {
        (!self.heard_by_nobody() && self.silent_ticks < IDLE_TICKS).then(|| Candidate {
            key,
            energy: self.level.energy(),
            since: self.since,
        })
    }

    /// Enters or leaves the bus by what was chosen.
    pub(super) fn take_floor(&mut self, tick: Tick) {
        if self.chosen {
            self.since.get_or_insert(tick);
            self.target = 1.0;
        } else {
            self.since = None;
            self.target = 0.0;
        }
    }

    /// Its frame with gain and, over one frame, the way in or out of the bus, when it is part of this tick's sum.
    pub(super) fn contribution(&mut self) -> Option<&Frame> {
        self.added = self.failed.is_none() && (self.gain > 0.0 || self.target > 0.0);
        self.added.then(|| {
            self.ramp();
            &self.frame
        })
    }

    fn ramp(&mut self) {
        let factor = self.settings.gain_in.factor();
        let (from, to) = (self.gain * factor, self.target * factor);
        self.gain = self.target;
        if from == 1.0 && to == 1.0 {
            return;
        }
        let n = self.frame.samples().len() as f32;
        let step = (to - from) / n;
        for (i, s) in self.frame.samples_mut().iter_mut().enumerate() {
            // `as` saturates, which is what an overdriven gain should do.
            *s = (f32::from(*s) * (from + step * i as f32)).round() as i16;
        }
    }

    pub(super) fn wants_own_gain(&self) -> bool {
        self.settings.gain_out != Gain::UNITY
    }

    /// Something is played to it alone.
    pub(super) fn is_played_to(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.is_active())
    }

    fn needs_private(&self) -> bool {
        self.added || self.wants_own_gain() || self.is_played_to()
    }

    /// It needs a spare encoder beside those of talkers: it is played to, or its way back is not over.
    pub(super) fn may_be_apart(&self) -> bool {
        self.aside.is_some() && (self.is_played_to() || self.private.is_some())
    }

    /// Picks the encode it hears in this tick.
    pub(super) fn hand_over(&mut self, encodes: &mut Encodes, quiet: bool) {
        if self.failed.is_some() || !self.leg.sends() || (self.settings.deaf && !self.is_played_to()) {
            if let Some(private) = self.private.take() {
                encodes.retire(private);
            }
            (self.astray, self.apart) = (true, false);
            return;
        }
        if let Profile::G711(_) = self.profile {
            // The codec is stateless, the limiter is not.
            let apart = self.needs_private();
            if apart && !self.apart {
                self.limiter = encodes.limiter(self.hears);
            }
            self.apart = apart;
            if !apart {
                encodes.want(self.hears);
            }
            return;
        }
        if self.needs_private() {
            self.linger_ticks = 0;
            if self.private.is_none() {
                self.private = encodes.lend(self.hears, self.astray);
                self.astray &= self.private.is_none();
            }
        } else if self.private.is_some() {
            self.linger_ticks += 1;
            if (quiet || self.linger_ticks > LINGER_TICKS)
                && let Some(private) = self.private.take()
            {
                encodes.give_back(private, self.hears);
            }
        }
        if self.private.is_none() {
            if std::mem::take(&mut self.astray) {
                encodes.join_stream(self.hears);
            }
            encodes.want(self.hears);
        }
    }

    /// Sends what it hears.
    pub(super) fn speak(
        &mut self,
        at: Moment,
        encodes: &Encodes,
        buses: &Buses,
        scratch: Scratch<'_>,
        out: &mut Outlet<'_>,
    ) {
        self.leg.skip_ticks(at.skipped);
        let is_played_to = self.is_played_to();
        if !self.leg.sends() {
            if let Some(aside) = &mut self.aside {
                aside.pass();
            }
            self.leg.push(at.now, None, out.send);
            return;
        }
        if self.settings.deaf && !is_played_to {
            self.leg.push_silence(at.now, out.send);
            return;
        }
        let rate = self.frame.rate();
        if self.private.is_none() && !self.needs_private() {
            send(&mut self.leg, at.now, encodes.payload(self.hears), out);
            return;
        }
        let n = rate.frame_samples();
        if self.settings.deaf {
            scratch.sum[..n].fill(0);
        } else if self.added {
            buses.minus(&self.frame, scratch.sum);
        } else {
            scratch.sum[..n].copy_from_slice(buses.full(rate));
        }
        if let Some(aside) = self.aside.as_mut().filter(|_| is_played_to) {
            aside.speak_over(&mut scratch.sum[..n]);
        }
        if self.wants_own_gain() {
            let factor = self.settings.gain_out.factor();
            for s in &mut scratch.sum[..n] {
                *s = (*s as f32 * factor) as i32;
            }
        }
        let heard = &scratch.sum[..n];
        let frame = &mut scratch.frames[rate.index()];
        match (self.profile, &mut self.private) {
            (Profile::Opus(_), Some(private)) => {
                let payload = private.encode(heard, frame);
                send(&mut self.leg, at.now, payload, out);
            }
            (Profile::G711(law), _) => {
                self.limiter.process(heard, frame);
                encode_g711(law, frame, scratch.packet);
                send(&mut self.leg, at.now, scratch.packet.payload(), out);
            }
            // No spare encoder: cannot happen while `Room::rebalance` keeps twice the bus in hand.
            (Profile::Opus(_), None) => self.leg.push_silence(at.now, out.send),
        }
    }

    pub(super) fn report(&mut self, room: RoomId, at: Moment, out: &mut Outlet<'_>) {
        let leg = self.leg.id();
        while let Some(event) = self.leg.poll_event() {
            (out.tell)(match event {
                LegEvent::Up => Event::LegUp { room, leg },
                LegEvent::Dtmf(digit) => Event::Dtmf { room, leg, digit },
            });
        }
        while let Some(finished) = self.aside.as_mut().and_then(|aside| aside.take_finished()) {
            if finished.to_its_end {
                (out.tell)(Event::Played { room, leg: Some(leg), playback: finished.playback.id });
            }
            (out.retire)(finished.playback);
        }
        self.leg.poll_rtcp(at.now, at.ntp, out.send);
        let level = self.level.dbov();
        let talking = if !self.added {
            false
        } else if level > TALKING_DBOV {
            self.quiet_ticks = 0;
            true
        } else if level < QUIET_DBOV {
            self.quiet_ticks = self.quiet_ticks.saturating_add(1);
            self.talking && self.quiet_ticks < TALKING_HOLD_TICKS
        } else {
            self.talking
        };
        if talking != self.talking {
            self.talking = talking;
            (out.tell)(Event::Talking { room, leg, talking });
        }
        if let Some(feed) = &self.feed {
            feed.set_sound(self.talking, self.settings.muted);
        }
        if self.leg.video_mut().is_some_and(VideoLeg::take_refresh_wish) {
            (out.tell)(Event::RefreshWanted { room, leg });
        }
    }

    /// A picture that the room made.
    pub(super) fn show(&mut self, encoded: &Encoded) {
        self.leg.show(encoded);
    }

    /// What is due of its video: several times a tick.
    pub(super) fn poll_video(&mut self, now: Instant, demand: &Demand, out: &mut Outlet<'_>) {
        let Some(feed) = &mut self.feed else { return };
        if let Some(wanted) = self.leg.poll_video(now, feed, demand, out.send) {
            self.count(wanted, demand);
        }
    }

    /// It is counted for the encode that it is to be sent, and for no other.
    pub(super) fn count(&mut self, wanted: Option<Rendition>, demand: &Demand) {
        let before = std::mem::replace(&mut self.counted, wanted);
        if before != wanted {
            if let Some(rendition) = before {
                demand.remove(rendition);
            }
            if let Some(rendition) = wanted {
                demand.add(rendition);
            }
        }
    }

    /// Plays to it alone. Allocates the first time; the room has to see to its spare encoders.
    pub(super) fn play(&mut self, playback: Playback) {
        let rate = self.profile.rate();
        self.aside.get_or_insert_with(|| Box::new(Aside::new(rate))).play(playback);
    }

    pub(super) fn stop_playing(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.stop();
        }
    }

    pub(super) fn profile_changed(&self, spec: &AudioSpec) -> bool {
        self.profile != profile_of(&self.leg, spec)
    }

    pub(super) fn follow(&mut self, profile: Profile, hears: SharedKey, encodes: &mut Encodes) {
        let rate_changed = profile.rate() != self.frame.rate();
        if rate_changed {
            self.frame = Frame::silence(profile.rate());
            self.limiter = Limiter::default();
            (self.gain, self.target, self.since) = (0.0, 0.0, None);
            if let Some(aside) = &mut self.aside {
                aside.set_rate(profile.rate());
            }
        }
        match (&mut self.private, profile) {
            (Some(private), Profile::Opus(p)) => private.follow(p, encodes.spec()),
            _ => {
                if let Some(private) = self.private.take() {
                    encodes.retire(private);
                }
                encodes.join_stream(hears);
            }
        }
        self.profile = profile;
        self.hears = hears;
    }

    /// Gone, and why.
    pub(super) fn ended(&mut self, now: Instant) -> Option<(LegId, LegEnd)> {
        let reason = match &self.failed {
            Some(panic) => Some(LegEnd::Failed(panic.clone())),
            None => self.leg.ended(now),
        };
        reason.map(|reason| (self.leg.id(), reason))
    }

    pub(super) fn snapshot(&self) -> LegSnapshot {
        LegSnapshot {
            leg: self.leg.id(),
            talking: self.talking,
            on_hold: self.leg.on_hold(),
            level_dbov: self.level.dbov(),
            playing: self.aside.as_ref().and_then(|aside| aside.current()),
            stats: self.leg.stats(),
            video: self.leg.video().map(VideoLeg::stats),
        }
    }
}

fn send(leg: &mut LegState, now: Instant, payload: Payload<'_>, out: &mut Outlet<'_>) {
    match payload {
        Payload::Bytes(bytes) => leg.push(now, Some(bytes), out.send),
        Payload::Dtx => leg.push(now, None, out.send),
    }
}
