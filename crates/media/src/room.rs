//! A room: its legs, its buses, its tap, and the tick that turns what came in into what goes out. Lives and dies on one
//! worker thread; knows no clock, socket, channel or file: time and the way out are arguments.

mod announcer;
mod aside;
mod encode;
mod member;
mod picture;
mod talkers;

use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::audio::bus::Buses;
use crate::audio::frame::{Frame, MAX_FRAME_SAMPLES};
use crate::audio::prompt::{PROMPT_RATE, Playback};
use crate::command::{Event, LegSettings, Reply, RoomSpec, VideoSpec};
use crate::error::{Error, Refused};
use crate::leg::{Held, LegState, Transmit};
use crate::record::{PictureTap, Tap};
use crate::sdp::secured::Credentials;
use crate::sdp::{Answer, Offer};
use crate::stats::RoomSnapshot;
use crate::units::{LegId, RecordingId, RoomId, SampleRate, Tick};
use crate::video::composer::Order;
use crate::video::picture::Picture;
use crate::video::stage::Arrangement;
use announcer::Announcer;
use encode::{Encodes, OpusProfile, Packet, Profile, SharedKey};
use member::Member;
pub use picture::ComposerLink;
use picture::RoomPicture;
use talkers::Candidate;

/// The way out of a tick: packets to send and facts to tell. All are called on the worker's thread and must not block.
pub(crate) struct Outlet<'a> {
    /// Sends one datagram.
    pub send: &'a mut dyn FnMut(Transmit<'_>),
    /// Tells one fact.
    pub tell: &'a mut dyn FnMut(Event),
    /// Gives up what a leg that is gone held.
    pub release: &'a mut dyn FnMut(Held),
    /// Takes what was played: dropping it may free megabytes, which is not for a tick.
    pub retire: &'a mut dyn FnMut(Playback),
}

/// The moment of a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Which tick.
    pub tick: Tick,
    /// Its absolute deadline, not the time at which it happens to run: concealment and pacing stay regular.
    pub now: Instant,
    /// Wall clock as a 64-bit NTP timestamp, for RTCP.
    pub ntp: u64,
    /// Ticks that were skipped since the last one that ran.
    pub skipped: u32,
}

/// How loud the mix has been of late, to find the moments at which a change of encoders is not heard.
#[derive(Debug, Default)]
struct Loudness {
    average: f32,
}

impl Loudness {
    /// A tick whose mix has this mean square; true when it lies 10 dB below the last 200 ms or so.
    fn dips(&mut self, energy: f32) -> bool {
        let dips = energy <= self.average * 0.1;
        self.average += (energy - self.average) * 0.1;
        dips
    }
}

/// Mean square of a wide sum, in units of the samples.
fn wide_energy(sum: &[i32]) -> f32 {
    sum.iter().map(|s| (*s as f32) * (*s as f32)).sum::<f32>() / sum.len().max(1) as f32
}

pub(crate) struct Room {
    id: RoomId,
    members: Slab<Member>,
    joined: u64,
    buses: Buses,
    encodes: Encodes,
    tap: Option<(Tap, SharedKey)>,
    candidates: Vec<Candidate>,
    sum: [i32; MAX_FRAME_SAMPLES],
    frames: [Frame; 3],
    packet: Packet,
    rates: [bool; 3],
    loudness: Loudness,
    picture: Option<RoomPicture>,
    /// In a room that has announced something.
    announcer: Option<Box<Announcer>>,
    /// The tap does not know yet when its first tick is.
    is_tape_new: bool,
}

impl Room {
    /// With a picture only if there is a composer to make it.
    pub(crate) fn new(id: RoomId, spec: RoomSpec, composer: Option<ComposerLink>) -> Self {
        let picture = spec.video.zip(composer).map(|(video, link)| RoomPicture::new(id, video, link));
        Self {
            picture,
            announcer: None,
            is_tape_new: false,
            id,
            members: Slab::new(),
            joined: 0,
            buses: Buses::new(),
            encodes: Encodes::new(spec.audio),
            tap: None,
            candidates: Vec::new(),
            sum: [0; MAX_FRAME_SAMPLES],
            frames: SampleRate::ALL.map(Frame::silence),
            packet: Packet::default(),
            rates: [false; 3],
            loudness: Loudness::default(),
        }
    }

    pub(crate) fn leg_count(&self) -> usize {
        self.members.len()
    }

    /// Nothing to do in a tick: nobody is in and nothing is recorded.
    pub(crate) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.tap.is_none()
    }

    // -- commands --------------------------------------------------------------------------------------------------

    /// The leg takes part from the next tick on; the name is for its tile. Returns its key for `leg_mut`.
    pub(crate) fn join(&mut self, mut leg: LegState, name: Arc<str>, settings: LegSettings, now: Instant) -> usize {
        let feed = self.picture.as_mut().map(|picture| picture.enter(leg.id(), name, now));
        if let (Some(picture), Some(video)) = (&self.picture, leg.video_mut()) {
            // It may come from a room with another picture, or with none.
            video.set(picture.spec);
        }
        let profile = member::profile_of(&leg, self.encodes.spec());
        let hears = self.encodes.shared(profile);
        self.joined += 1;
        let mut member = Member::new(leg, settings, profile, hears, self.joined);
        member.feed = feed;
        let key = self.members.insert(member);
        self.rebalance();
        key
    }

    /// Takes the leg out.
    pub(crate) fn leave(&mut self, leg: LegId) -> Option<LegState> {
        let key = self.key_of(leg)?;
        let mut member = self.members.remove(key);
        if let Some(private) = member.private.take() {
            self.encodes.retire(private);
        }
        if let Some(picture) = &mut self.picture {
            member.count(None, &picture.demand);
            picture.exit(leg);
        }
        self.rebalance();
        Some(member.leg)
    }

    /// Takes every leg out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = LegState> + '_ {
        self.tap = None;
        self.picture = None;
        self.members.drain().map(|m| m.leg)
    }

    pub(crate) fn set(&mut self, leg: LegId, settings: LegSettings) -> Result<(), Error> {
        self.member_mut(leg)?.settings = settings;
        self.rebalance();
        Ok(())
    }

    /// Hold, resume, another address or codec.
    pub(crate) fn renegotiate(&mut self, now: Instant, leg: LegId, offer: &Offer) -> Result<Answer, Error> {
        let answer = self.member_mut(leg)?.leg.renegotiate(now, offer)?;
        self.follow(leg)?;
        Ok(answer)
    }

    /// Our present offer, for an offerless re-INVITE.
    pub(crate) fn reoffer(&mut self, leg: LegId) -> Result<String, Error> {
        self.member_mut(leg)?.leg.reoffer()
    }

    /// The far end of a browser's leg restarts ICE; our fragment, and the name of its connectivity checks from now on.
    pub(crate) fn restart_ice(&mut self, leg: LegId, remote: Credentials) -> Result<(String, String), Error> {
        let leg = &mut self.member_mut(leg)?.leg;
        let fragment = leg.restart_ice(remote)?;
        let (_, ufrag) = leg.shared_place().ok_or(Error::Refused(Refused::NotWeb))?;
        Ok((fragment, ufrag.to_owned()))
    }

    /// The name of a browser's connectivity checks.
    pub(crate) fn name_of(&self, leg: LegId) -> Option<String> {
        let (_, name) = self.members.get(self.key_of(leg)?)?.leg.shared_place()?;
        Some(name.to_owned())
    }

    /// The leg by its key, for datagrams.
    pub(crate) fn leg_mut(&mut self, key: usize) -> Option<&mut LegState> {
        self.members.get_mut(key).map(|m| &mut m.leg)
    }

    /// Plays to the leg alone, in place of what is being played to it. Allocates.
    pub(crate) fn play(&mut self, leg: LegId, playback: Playback) -> Result<(), Error> {
        self.member_mut(leg)?.play(playback);
        self.rebalance();
        Ok(())
    }

    /// Ends what is being played to the leg.
    pub(crate) fn stop_playing(&mut self, leg: LegId) -> Result<(), Error> {
        self.member_mut(leg)?.stop_playing();
        Ok(())
    }

    /// Plays into the mix, after what is being announced. Allocates the first time.
    pub(crate) fn announce(&mut self, playback: Playback) {
        let is_first = self.announcer.is_none();
        self.announcer.get_or_insert_with(|| Box::new(Announcer::new())).announce(playback);
        if is_first {
            self.rebalance();
        }
    }

    /// Ends what is announced in a loop.
    pub(crate) fn hush(&mut self) {
        if let Some(announcer) = &mut self.announcer {
            announcer.hush();
        }
    }

    /// Nobody is there to hear announcements that are not looped: they are over. For a room that has become idle.
    pub(crate) fn expire_announcements(&mut self, tell: &mut dyn FnMut(Event), retire: &mut dyn FnMut(Playback)) {
        let room = self.id;
        if let Some(announcer) = &mut self.announcer {
            announcer.expire(&mut |playback| {
                tell(Event::Played { room, leg: None, playback: playback.id });
                retire(playback);
            });
        }
    }

    pub(crate) fn start_recording(&mut self, tap: Tap, pictures: Option<PictureTap>) -> Result<(), Error> {
        if self.tap.as_ref().is_some_and(|(tap, _)| tap.is_open()) {
            return Err(Error::Refused(Refused::AlreadyRecording));
        }
        let profile = OpusProfile { bitrate: self.encodes.spec().opus_bitrate, fec: false, dtx: false };
        let key = self.encodes.shared(Profile::Opus(profile));
        self.tap = Some((tap, key));
        self.is_tape_new = true;
        if let Some((picture, pictures)) = self.picture.as_mut().zip(pictures) {
            picture.order(Order::Record { room: self.id, tap: pictures });
        }
        self.rebalance();
        Ok(())
    }

    pub(crate) fn stop_recording(&mut self, recording: RecordingId, tick: Tick) {
        if let Some((tap, key)) = self.tap.take() {
            if tap.recording() == recording {
                tap.finish(tick);
                if let Some(picture) = &mut self.picture {
                    picture.order(Order::StopRecording { room: self.id });
                }
            } else {
                self.tap = Some((tap, key));
            }
        }
        self.rebalance();
    }

    pub(crate) fn snapshot(&self) -> RoomSnapshot {
        let mut members: Vec<&Member> = self.members.iter().map(|(_, m)| m).collect();
        members.sort_unstable_by_key(|m| m.order);
        let (announcing, announcements_dropped) = self.announcer.as_ref().map_or((None, 0), |a| a.state());
        RoomSnapshot {
            legs: members.into_iter().map(Member::snapshot).collect(),
            recording: self.tap.is_some(),
            announcing,
            announcements_dropped,
        }
    }

    // -- the tick --------------------------------------------------------------------------------------------------

    /// 20 ms of the room. Does not allocate once every profile in use has been seen.
    pub(crate) fn tick(&mut self, at: Moment, out: &mut Outlet<'_>) {
        self.listen(at);
        self.choose_talkers(at.tick);
        self.sum(at.tick);
        self.hand_over();
        self.encodes.run(&self.buses);
        self.record(at);
        if self.speak(at, out) {
            self.sweep(at, out);
        }
    }

    /// Pulls a frame of every leg that may be heard, and measures it. Here as in what follows members are gone through as few
    /// times as can be: in a large room each of them is out of the cache again when its turn comes.
    fn listen(&mut self, at: Moment) {
        let max = self.encodes.spec().max_talkers;
        let crowded = max != 0 && self.members.len() > max;
        self.candidates.clear();
        for (key, member) in &mut self.members {
            member.guarded(|m| m.listen(at.now, crowded));
            member.chosen = false;
            self.candidates.extend(member.candidate(key));
        }
    }

    fn choose_talkers(&mut self, tick: Tick) {
        let k = talkers::choose(&mut self.candidates, self.encodes.spec().max_talkers, tick);
        for talker in self.candidates.iter().take(k) {
            if let Some(member) = self.members.get_mut(talker.key) {
                member.chosen = true;
            }
        }
    }

    fn sum(&mut self, tick: Tick) {
        self.buses.clear();
        for (_, member) in &mut self.members {
            member.take_floor(tick);
            if let Some(frame) = member.contribution() {
                self.buses.add(frame);
            }
        }
        if let Some(frame) = self.announcer.as_mut().and_then(|announcer| announcer.fill()) {
            self.buses.add(frame);
        }
        self.buses.mix(self.rates);
    }

    /// Gives talkers an encoder of their own, takes it back from those who only listen, and notes who wants which
    /// shared encode. Comes before the encodes: a lent encoder continues what its leg heard up to the last tick.
    fn hand_over(&mut self) {
        let opus = SampleRate::Hz48000;
        let energy = if self.rates[opus.index()] { wide_energy(self.buses.full(opus)) } else { 0.0 };
        let quiet = self.loudness.dips(energy);
        for (_, member) in &mut self.members {
            member.hand_over(&mut self.encodes, quiet);
        }
        if let Some((_, key)) = &self.tap {
            self.encodes.want(*key);
        }
    }

    /// Sends every leg what it hears and what RTCP has to say; tells what it keyed and how its prompt went. One after the
    /// other, as a leg is much memory to come back to. True: one is over.
    fn speak(&mut self, at: Moment, out: &mut Outlet<'_>) -> bool {
        let room = self.id;
        let (mut follow, mut is_over) = (None, false);
        while let Some(finished) = self.announcer.as_mut().and_then(|announcer| announcer.take_finished()) {
            if finished.to_its_end {
                (out.tell)(Event::Played { room, leg: None, playback: finished.playback.id });
            }
            (out.retire)(finished.playback);
        }
        let Self { members, encodes, buses, sum, frames, packet, .. } = self;
        for (_, member) in members {
            member.guarded(|m| {
                m.speak(at, encodes, buses, member::Scratch { sum, frames, packet }, out);
                m.report(room, at, out);
            });
            if member.profile_changed(encodes.spec()) {
                follow = Some(member.leg.id());
            }
            is_over |= member.ended(at.now).is_some();
        }
        // One a tick: making a profile allocates, and a change of profile is never urgent.
        if let Some(leg) = follow {
            let _gone = self.follow(leg);
        }
        is_over
    }

    fn record(&mut self, at: Moment) {
        let tick = at.tick;
        // The disk failed: the event is on its way, and nobody needs the encode any more.
        self.tap.take_if(|(tap, _)| !tap.is_open());
        if let Some((tap, key)) = &mut self.tap {
            if std::mem::take(&mut self.is_tape_new) {
                tap.begin(tick, at.now);
            }
            match self.encodes.payload(*key) {
                encode::Payload::Bytes(bytes) => tap.push(tick, bytes),
                encode::Payload::Dtx => tap.silence(tick),
            }
        }
    }

    /// Takes out the legs that failed or fell silent for good.
    fn sweep(&mut self, at: Moment, out: &mut Outlet<'_>) {
        while let Some((leg, reason)) = self.members.iter_mut().find_map(|(_, m)| m.ended(at.now)) {
            if let Some(state) = self.leave(leg) {
                state.held().for_each(&mut *out.release);
            }
            (out.tell)(Event::LegDown { room: self.id, leg, reason });
        }
        if self.is_idle() {
            self.expire_announcements(out.tell, out.retire);
        }
    }

    // -- the picture ---------------------------------------------------------------------------------------------------

    /// The room has a picture, and is to be polled for it several times a tick.
    pub(crate) fn has_picture(&self) -> bool {
        self.picture.is_some() && !self.members.is_empty()
    }

    /// What is due of the picture: those that were made go to the legs, the legs' go to the composer, packets go out.
    pub(crate) fn poll_picture(&mut self, now: Instant, out: &mut Outlet<'_>) {
        let Some(picture) = &mut self.picture else { return };
        picture.flush();
        while let Some(encoded) = picture.next() {
            for (_, member) in &mut self.members {
                member.guarded(|m| m.show(&encoded));
            }
        }
        for (_, member) in &mut self.members {
            member.guarded(|m| m.poll_video(now, &picture.demand, out));
        }
    }

    /// Another picture: size, rate or look.
    pub(crate) fn set_video(&mut self, spec: VideoSpec) {
        let Some(picture) = self.picture.as_mut().filter(|picture| picture.spec != spec) else { return };
        picture.set(spec);
        for (_, member) in &mut self.members {
            if let Some(video) = member.leg.video_mut() {
                video.set(spec);
            }
        }
        self.share_out();
    }

    /// Who is shown where.
    pub(crate) fn arrange(&mut self, arrangement: Arrangement) {
        if let Some(picture) = &mut self.picture {
            picture.arrange(arrangement);
        }
        self.share_out();
    }

    /// Senders are asked for what their tiles are worth.
    fn share_out(&mut self) {
        let Some(picture) = &self.picture else { return };
        for (_, member) in &mut self.members {
            let worth = picture.worth(member.leg.id());
            if let Some(video) = member.leg.video_mut() {
                video.want(worth);
            }
        }
    }

    /// The far end asked for a keyframe by its signalling.
    pub(crate) fn refresh(&mut self, leg: LegId) -> Result<(), Error> {
        if let Some(video) = self.member_mut(leg)?.leg.video_mut() {
            video.refresh();
        }
        Ok(())
    }

    /// Asks the composer for a copy of the picture.
    pub(crate) fn preview(&mut self, reply: Reply<Result<Picture, Error>>) {
        match &mut self.picture {
            Some(picture) => picture.preview(reply),
            None => reply.send(Err(Error::Refused(Refused::UnknownRoom))),
        }
    }

    // -- housekeeping ----------------------------------------------------------------------------------------------

    /// After a change of who is in or what they negotiated: rates in use, resamplers, spare encoders.
    fn rebalance(&mut self) {
        let mut rates = [false; 3];
        let (mut opus, mut lent, mut custom) = (0, 0, 0);
        for (_, member) in &self.members {
            rates[member.frame.rate().index()] = true;
            opus += usize::from(member.frame.rate() == SampleRate::Hz48000);
            lent += usize::from(member.private.is_some());
            custom += usize::from(member.wants_own_gain() || member.may_be_apart());
        }
        if self.tap.is_some() {
            rates[SampleRate::Hz48000.index()] = true;
        }
        self.rates = rates;
        let mut added = rates;
        added[PROMPT_RATE.index()] |= self.announcer.is_some();
        self.buses.prepare(added, rates);
        // A replaced talker needs its encoder until a quiet moment, so twice the bus.
        let max = self.encodes.spec().max_talkers;
        let private = if max == 0 { opus } else { opus.min(2 * max + custom) };
        self.encodes.reserve_private(private, lent);
        self.candidates.reserve(self.members.len());
    }

    /// The leg's profile follows what it negotiated or reported.
    fn follow(&mut self, leg: LegId) -> Result<(), Error> {
        let key = self.key_of(leg).ok_or(Error::Refused(Refused::UnknownLeg))?;
        if let Some(member) = self.members.get_mut(key) {
            let profile = member::profile_of(&member.leg, self.encodes.spec());
            let hears = self.encodes.shared(profile);
            member.follow(profile, hears, &mut self.encodes);
        }
        self.rebalance();
        Ok(())
    }

    fn key_of(&self, leg: LegId) -> Option<usize> {
        self.members.iter().find_map(|(key, m)| (m.leg.id() == leg).then_some(key))
    }

    fn member_mut(&mut self, leg: LegId) -> Result<&mut Member, Error> {
        let key = self.key_of(leg).ok_or(Error::Refused(Refused::UnknownLeg))?;
        self.members.get_mut(key).ok_or(Error::Refused(Refused::UnknownLeg))
    }
}
