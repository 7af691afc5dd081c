//! A whole room without sockets, threads or a clock: what the simulated tests and the benches drive. The same `Room` and
//! legs as on a worker; only the way in and out differs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::audio::prompt::Playback;
use crate::command::{Event, LegSettings, RoomSpec};
use crate::error::Error;
use crate::leg::{Channel, LegState, LegTerms, LegTimes, Medium, PortKey, RtpLeg, Seed, Transmit};
use crate::record::Tap;
use crate::room::{Moment, Outlet, Room};
use crate::sdp::{Answer, Capabilities, CodecName, LocalMedia, Offer};
use crate::stats::RoomSnapshot;
use crate::units::{LegId, RecordingId, RoomId, TICK, Tick};

/// NTP time of the simulation's first moment; any value past 1970 does.
const NTP_START: u64 = 0xE000_0000 << 32;

/// One room and its virtual time, which starts at zero and moves by `tick`.
pub struct SimulatedRoom {
    room: Room,
    start: Instant,
    tick: u64,
    next_leg: u64,
    keys: Vec<usize>,
    times: LegTimes,
}

impl std::fmt::Debug for SimulatedRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedRoom").field("tick", &self.tick).finish_non_exhaustive()
    }
}

/// A leg between two rooms.
#[derive(Debug)]
pub struct DetachedLeg(LegState);

/// The address that every simulated leg's far end has.
pub const FAR_END: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4000);

impl SimulatedRoom {
    /// An empty room at time zero. `origin` is any instant: time is relative to it.
    pub fn new(spec: RoomSpec, origin: Instant) -> Self {
        Self {
            room: Room::new(RoomId(1), spec, None),
            start: origin,
            tick: 0,
            next_leg: 0,
            keys: Vec::new(),
            times: LegTimes { playout_ceiling: Duration::from_millis(200), media_timeout: Duration::from_secs(60) },
        }
    }

    /// A leg joins by an SDP offer. Legs are numbered from 0 in join order.
    pub fn join(&mut self, offer: &str, codecs: &[CodecName], settings: LegSettings) -> Result<(LegId, Answer), Error> {
        let id = LegId(self.next_leg);
        let n = u16::try_from(self.next_leg).unwrap_or(u16::MAX);
        let local = LocalMedia {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            rtp_port: 16_384u16.wrapping_add(n.wrapping_mul(2)),
            rtcp_port: 16_385u16.wrapping_add(n.wrapping_mul(2)),
            video: None,
            session_id: self.next_leg,
            session_version: 0,
            secured: None,
        };
        let mut terms = LegTerms::new(local, Capabilities { audio: codecs.to_vec(), video: None });
        let (agreed, answer) = terms.answer(&Offer::parse(offer)?)?;
        let seed = Seed::fixed(self.next_leg);
        let mut leg = LegState::rtp(RtpLeg::new(id, terms, agreed, FAR_END.ip(), seed, self.times, None));
        let now = self.now();
        leg.place(Some((PortKey(self.keys.len()), None)), now);
        self.keys.push(self.room.join(leg, "".into(), settings, now));
        self.next_leg += 1;
        Ok((id, answer))
    }

    /// The leg goes.
    pub fn leave(&mut self, leg: LegId) {
        drop(self.room.leave(leg));
    }

    /// Virtual now: the last tick's moment.
    pub fn now(&self) -> Instant {
        self.start + TICK * u32::try_from(self.tick).unwrap_or(u32::MAX)
    }

    /// A datagram from the leg's far end, received at `arrived` (relative to the start).
    pub fn deliver(&mut self, leg: LegId, arrived: Duration, bytes: &[u8]) {
        let key = usize::try_from(leg.0).ok().and_then(|n| self.keys.get(n)).copied();
        if let Some(leg) = key.and_then(|key| self.room.leg_mut(key)) {
            leg.handle_datagram(self.start + arrived, FAR_END, (Medium::Audio, Channel::Rtp), bytes);
        }
    }

    /// 20 ms pass. `sent` gets every RTP packet that leaves, `told` every fact.
    pub fn tick(&mut self, sent: &mut dyn FnMut(LegId, &[u8]), told: &mut dyn FnMut(Event)) {
        self.tick += 1;
        // A worker does not tick such a room.
        if self.room.is_idle() {
            self.room.expire_announcements(told, &mut drop);
            return;
        }
        let at = Moment { tick: Tick(self.tick), now: self.now(), ntp: NTP_START + (self.tick << 32) / 50, skipped: 0 };
        self.room.tick(
            at,
            &mut Outlet {
                send: &mut |t: Transmit<'_>| {
                    if t.channel == Channel::Rtp {
                        sent(LegId(t.port.0 as u64), t.bytes);
                    }
                },
                tell: told,
                release: &mut |_| {},
                retire: &mut drop,
            },
        );
    }

    /// Plays to the leg alone.
    pub fn play(&mut self, leg: LegId, playback: Playback) -> Result<(), Error> {
        self.room.play(leg, playback)
    }

    /// Ends what is being played to the leg.
    pub fn stop_playing(&mut self, leg: LegId) -> Result<(), Error> {
        self.room.stop_playing(leg)
    }

    /// Plays into the mix.
    pub fn announce(&mut self, playback: Playback) {
        self.room.announce(playback);
    }

    /// Ends what is announced in a loop.
    pub fn hush(&mut self) {
        self.room.hush();
    }

    /// Takes the leg out, for another room of the same origin.
    pub fn detach(&mut self, leg: LegId) -> Option<DetachedLeg> {
        self.room.leave(leg).map(DetachedLeg)
    }

    /// The leg joins from another room. Returns its number among this room's legs, by which `deliver` and `tick` know it;
    /// in facts and commands it keeps the name that it has.
    pub fn attach(&mut self, leg: DetachedLeg, settings: LegSettings) -> LegId {
        let DetachedLeg(mut leg) = leg;
        let now = self.now();
        leg.place(Some((PortKey(self.keys.len()), None)), now);
        self.keys.push(self.room.join(leg, "".into(), settings, now));
        self.next_leg += 1;
        LegId(self.next_leg - 1)
    }

    /// Replaces a leg's settings.
    pub fn set(&mut self, leg: LegId, settings: LegSettings) -> Result<(), Error> {
        self.room.set(leg, settings)
    }

    /// A re-INVITE's offer.
    pub fn renegotiate(&mut self, leg: LegId, offer: &str) -> Result<Answer, Error> {
        let now = self.now();
        self.room.renegotiate(now, leg, &Offer::parse(offer)?)
    }

    /// Taps the full mix.
    pub fn start_recording(&mut self, tap: Tap) -> Result<(), Error> {
        self.room.start_recording(tap, None)
    }

    /// Ends the tap.
    pub fn stop_recording(&mut self, recording: RecordingId) {
        self.room.stop_recording(recording, Tick(self.tick));
    }

    /// What a worker would tell of the room.
    pub fn snapshot(&self) -> RoomSnapshot {
        self.room.snapshot()
    }
}
