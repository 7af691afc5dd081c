//! The handle that starts the workers and feeds them. Called from control's threads; knows nothing of what happens in a
//! tick.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::audio::prompt::Playback;
use crate::command::{Command, Event, LegSettings, Reply, RoomSpec, VideoSpec};
use crate::error::{Error, Refused};
use crate::leg::{
    Identity, Leg, LegSockets, LegState, LegTerms, LegTimes, RtpLeg, Seed, SharedPort, VideoLeg, WebRtcLeg,
};
use crate::record::{Finalize, Recorder};
use crate::room::ComposerLink;
use crate::sdp::secured::{Credentials, WebProtocol, read_fragment};
use crate::sdp::{
    Answer, Capabilities, CodecName, LocalMedia, LocalSecured, LocalVideo, Offer, SessionTerms, VideoCapabilities,
};
use crate::sockets::{self, PortPair, PortRange};
use crate::stats::{Lateness, RoomSnapshot};
use crate::units::{LegId, RecordingId, RoomId};
use crate::video::VideoCodec;
use crate::video::composer::{Composer, ComposerStats};
use crate::video::picture::Picture;
use crate::video::stage::Arrangement;
use crate::worker::{self, BrowserSockets, Shared};

/// Commands that may wait for one worker. A worker drains them within 20 ms; 200 legs joining at once fit five times.
const COMMANDS: usize = 1024;
const _: () = assert!(COMMANDS * size_of::<Command>() <= 256 * 1024);
/// Facts that may wait for control: every leg of 200-leg rooms changing at once, many times over.
const EVENTS: usize = 8192;
const _: () = assert!(EVENTS * size_of::<Event>() <= 1024 * 1024);
/// Playbacks that are over and wait to be dropped, which the next command does. Their sound is mostly shared with others
/// that go on.
const PLAYED: usize = 64;
const _: () = assert!(PLAYED * size_of::<Playback>() <= 4 * 1024);
/// How long the recorder waits for control to take the fact that a recording ended. Control is far quicker; a control
/// that is stuck finds the file by its row instead.
const RECORDER_PATIENCE: Duration = Duration::from_secs(5);

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Media threads; at least 1.
    pub workers: usize,
    /// UDP ports for RTP (even) and RTCP (odd).
    pub rtp_ports: RangeInclusive<u16>,
    /// Codecs that may be negotiated.
    pub codecs: Vec<CodecName>,
    /// Hard ceiling of the playout delay.
    pub playout_ceiling: Duration,
    /// A leg without RTP for this long, while not on hold, ends.
    pub media_timeout: Duration,
    /// Threads that make rooms' pictures; at least 1. They rest while no room has one.
    pub composers: usize,
    /// Video codecs that may be negotiated in rooms with a picture.
    pub video_codecs: Vec<VideoCodec>,
    /// Called first on each worker's thread: sound goes before all else, where the operator and the system let it.
    pub begin_worker: fn(),
    /// Called first on each composer's thread: its priority is the operator's business. Sound goes first.
    pub begin_composer: fn(),
    /// What becomes of recordings with pictures when they end.
    pub movies: Finalize,
    /// How browsers are served, if they are.
    pub web: Option<WebConfig>,
}

/// How browsers reach their legs: each worker has a socket of its own at each address.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// UDP port of the first worker; those of the others follow it. 0: any.
    pub udp_port: u16,
    /// TCP port of the first worker, for browsers that UDP does not reach; those of the others follow it. 0: any; `None`: no TCP.
    pub tcp_port: Option<u16>,
    /// Where to bind, and what is written into answers, best first.
    pub addresses: Vec<ReserveAt>,
    /// A browser that was not heard of for so long is gone. Until then it may come back from another address.
    pub resume: Duration,
}

/// Which rooms stay on one worker, so that browsers can be moved between them. Control's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomGroup(pub i64);

/// Where a leg's sockets are bound and what its SDP says.
#[derive(Clone, Copy, Debug)]
pub struct ReserveAt {
    /// Local address to bind.
    pub bind: IpAddr,
    /// Address written into the SDP.
    pub advertise: IpAddr,
}

/// A leg that has a worker and sockets, and no peer yet. Dropping it gives the ports back.
#[derive(Debug)]
pub struct Reservation {
    leg: LegId,
    place: Place,
    /// Of a room with a picture.
    video: Option<VideoSeat>,
    config: Arc<EngineConfig>,
    seed: Seed,
}

/// Where a leg-to-be will be reached.
#[derive(Debug)]
enum Place {
    /// At sockets of its own.
    Own { advertise: IpAddr, ports: PortPair },
    /// At those that browsers share, on this worker.
    Web(Box<WebPlace>),
}

#[derive(Debug)]
struct WebPlace {
    worker: usize,
    ports: Vec<SharedPort>,
    identity: Arc<Identity>,
    local: LocalSecured,
    resume: Duration,
    now: Instant,
}

/// What a leg has for its video.
#[derive(Debug)]
struct VideoSeat {
    /// `None` for a browser: all goes over one transport.
    ports: Option<PortPair>,
    spec: VideoSpec,
    seed: Seed,
}

impl Reservation {
    /// Only these of the configured codecs are negotiated; none named: all of them.
    #[must_use]
    pub fn with_codecs(mut self, codecs: &[CodecName]) -> Self {
        if !codecs.is_empty() {
            let mut config = EngineConfig::clone(&self.config);
            config.codecs.retain(|codec| codecs.contains(codec));
            self.config = Arc::new(config);
        }
        self
    }

    /// The leg it will be.
    pub const fn leg(&self) -> LegId {
        self.leg
    }

    pub(crate) fn terms(&self) -> LegTerms {
        let (at, secured) = match &self.place {
            Place::Own { advertise, ports } => (SocketAddr::new(*advertise, ports.rtp_port), None),
            Place::Web(web) => {
                let first = web.local.candidates.first().map(|(address, _)| *address);
                (first.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 9))), Some(Box::new(web.local.clone())))
            }
        };
        let local = LocalMedia {
            address: at.ip(),
            rtp_port: at.port(),
            rtcp_port: at.port().wrapping_add(1),
            video: self.video.as_ref().map(|video| {
                let rtp_port = video.ports.as_ref().map_or(at.port(), |ports| ports.rtp_port);
                LocalVideo { rtp_port, rtcp_port: rtp_port.wrapping_add(1) }
            }),
            session_id: self.seed.session_id,
            session_version: 0,
            secured,
        };
        let video = self.video.as_ref().map(|video| VideoCapabilities {
            codecs: self.config.video_codecs.clone(),
            resolution: video.spec.resolution,
            framerate: video.spec.framerate,
            bitrate: video.spec.bitrate,
        });
        LegTerms::new(local, Capabilities { audio: self.config.codecs.clone(), video })
    }

    pub(crate) fn into_leg(self, terms: LegTerms, agreed: SessionTerms, signalling: IpAddr) -> Result<Leg, Error> {
        let session_id = self.seed.session_id;
        let signalling = match &self.place {
            Place::Own { .. } => signalling,
            Place::Web(_) => crate::sdp::FAR_END.ip(),
        };
        let (video, video_ports) = self.video.map_or((None, None), |seat| {
            (Some(VideoLeg::new(seat.seed, session_id, seat.spec, signalling)), seat.ports)
        });
        let times = LegTimes { playout_ceiling: self.config.playout_ceiling, media_timeout: self.config.media_timeout };
        let leg = RtpLeg::new(self.leg, terms, agreed, signalling, self.seed, times, video);
        Ok(match self.place {
            Place::Own { ports, .. } => {
                Leg { state: LegState::rtp(leg), sockets: LegSockets::Own { ports, video: video_ports } }
            }
            Place::Web(web) => {
                let WebPlace { worker, ports, identity, resume, now, .. } = *web;
                let leg = WebRtcLeg::new(leg, &identity, worker, ports, resume, now)?;
                Leg { state: LegState::web(leg), sockets: LegSockets::Shared { sources: Vec::new() } }
            }
        })
    }
}

/// Latest figures of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerStats {
    /// Ticks done.
    pub ticks: u64,
    /// Ticks skipped after a stall.
    pub ticks_skipped: u64,
    /// Largest lateness of a tick since the last reading.
    pub max_lateness: Duration,
    /// How late ticks started, all of them.
    pub lateness: Lateness,
    /// Share of the tick time in use, in 1/1000, over the last second.
    pub load_permille: u32,
    /// Rooms with at least one leg.
    pub rooms: u32,
    /// Legs.
    pub legs: u32,
    /// Panics caught.
    pub panics: u64,
    /// Datagrams on the sockets that browsers share which were nobody's: from an address that no leg has validated,
    /// connectivity checks for nobody, those without the right password or malformed, handshake packets too many.
    pub strays: [u64; 4],
}

/// Starts the workers, places rooms, sends commands. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<EngineConfig>,
    ports: Arc<PortRange>,
    workers: Vec<WorkerHandle>,
    composers: Vec<Mutex<Composer>>,
    rooms: Mutex<HashMap<RoomId, Placed>>,
    next_leg: AtomicU64,
    recorder: Recorder,
    /// What workers are done with playing.
    played: Receiver<Playback>,
    web: Option<Web>,
}

/// What serves browsers.
struct Web {
    identity: Arc<Identity>,
    resume: Duration,
    /// Of each worker.
    ports: Vec<Vec<SharedPort>>,
}

/// Where an open room lives.
#[derive(Clone, Copy, Debug)]
struct Placed {
    worker: usize,
    group: RoomGroup,
    /// Of a room with a picture.
    video: Option<(usize, VideoSpec)>,
}

struct WorkerHandle {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("workers", &self.inner.workers.len()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Starts the threads. The receiver gets every event.
    pub fn start(config: EngineConfig) -> Result<(Self, Receiver<Event>), Error> {
        let now = worker::now();
        let ports = PortRange::new(&config.rtp_ports)?;
        ports.start_at(Seed::random()?.timestamp);
        let (events, received) = crossbeam_channel::bounded(EVENTS);
        let recorder = Recorder::start({
            let events = events.clone();
            move |event| {
                if events.send_timeout(event, RECORDER_PATIENCE).is_err() {
                    tracing::error!("control did not take the end of a recording; its file stays as it is");
                }
            }
        })?;
        let (retired, played) = crossbeam_channel::bounded(PLAYED);
        let count = config.workers.max(1);
        let identity = config.web.as_ref().map(|_| Identity::generate(now)).transpose()?;
        let mut web_ports = Vec::with_capacity(count);
        let mut workers = Vec::with_capacity(count);
        for index in 0..count {
            let (for_browsers, ports) = match &config.web {
                Some(web) => bind_web(web, index)?,
                None => (BrowserSockets::default(), Vec::new()),
            };
            web_ports.push(ports);
            let (commands, inbox) = crossbeam_channel::bounded(COMMANDS);
            let shared = Arc::new(Shared::default());
            let (told, over) = (events.clone(), retired.clone());
            let begin = config.begin_worker;
            let thread = worker::spawn((index, count), inbox, told, over, Arc::clone(&shared), for_browsers, begin)
                .map_err(|e| Error::Broken(format!("cannot start media worker {index}: {e}")))?;
            workers.push(WorkerHandle { commands, shared, thread: Mutex::new(Some(thread)) });
        }
        let composers = (0..config.composers.max(1))
            .map(|index| Composer::start(index, events.clone(), config.begin_composer).map(Mutex::new))
            .collect::<Result<_, _>>()
            .map_err(|e| Error::Broken(format!("cannot start a composer: {e}")))?;
        let web = config.web.as_ref().zip(identity).map(|(web, identity)| Web {
            identity: Arc::new(identity),
            resume: web.resume,
            ports: web_ports,
        });
        let inner = Inner {
            web,
            config: Arc::new(config),
            ports,
            workers,
            composers,
            rooms: Mutex::new(HashMap::new()),
            next_leg: AtomicU64::new(1),
            recorder,
            played,
        };
        Ok((Self { inner: Arc::new(inner) }, received))
    }

    /// How many legs a port range can hold.
    pub fn port_capacity(range: &RangeInclusive<u16>) -> usize {
        PortRange::new(range).map_or(0, |ports| ports.capacity())
    }

    /// RTP ports in the range that cannot be bound now; they will be skipped.
    pub fn check_ports(range: &RangeInclusive<u16>, bind: IpAddr) -> Vec<u16> {
        PortRange::new(range).map_or_else(|_| Vec::new(), |ports| ports.taken(bind))
    }

    /// Places the room on its group's worker, or on the one with the most tick time left; and its picture on the composer with
    /// the most.
    pub fn open_room(&self, room: RoomId, group: RoomGroup, spec: RoomSpec) -> Result<(), Error> {
        let mut rooms = lock(&self.inner.rooms);
        // Load is a figure of the last second; rooms placed since then count by their number.
        let loads = self.inner.workers.iter().map(|worker| worker.shared.load_permille());
        let beside = rooms.values().find(|placed| placed.group == group).map(|placed| placed.worker);
        let least_loaded = || least(loads, rooms.values().map(|placed| placed.worker));
        let worker = beside.or_else(least_loaded).ok_or(Error::Busy("no media worker"))?;
        let links: Vec<(ComposerLink, u32)> = self
            .inner
            .composers
            .iter()
            .map(|composer| {
                let composer = lock(composer);
                (ComposerLink(composer.orders.clone()), composer.figures.load_permille.load(Ordering::Relaxed))
            })
            .collect();
        let loads = links.iter().map(|(_, load)| *load);
        let composer = least(loads, rooms.values().filter_map(|placed| Some(placed.video?.0)));
        let video = composer.and_then(|composer| Some((composer, spec.video?)));
        let link = video.and_then(|(composer, _)| Some(links.get(composer)?.0.clone()));
        rooms.insert(room, Placed { worker, group, video });
        drop(rooms);
        self.send(room, Command::OpenRoom { room, spec, composer: link }).inspect_err(|_| {
            lock(&self.inner.rooms).remove(&room);
        })
    }

    /// Another picture for a room that has one: size, rate or look, without a leg being dropped.
    pub fn set_video(&self, room: RoomId, spec: VideoSpec) -> Result<(), Error> {
        if let Some(Placed { video: Some((_, present)), .. }) = lock(&self.inner.rooms).get_mut(&room) {
            *present = spec;
        }
        self.send(room, Command::SetVideo { room, spec })
    }

    /// Who is shown where.
    pub fn arrange(&self, room: RoomId, arrangement: Arrangement) -> Result<(), Error> {
        self.send(room, Command::Arrange { room, arrangement: Box::new(arrangement) })
    }

    /// The far end asked for a keyframe by its signalling.
    pub fn refresh(&self, room: RoomId, leg: LegId) -> Result<(), Error> {
        self.send(room, Command::Refresh { room, leg })
    }

    /// A copy of the room's picture as it is now.
    pub fn preview(&self, room: RoomId, reply: Reply<Result<Picture, Error>>) -> Result<(), Error> {
        self.send(room, Command::Preview { room, reply })
    }

    /// Drops the room's legs, finishes its recording.
    pub fn close_room(&self, room: RoomId) {
        let placed = lock(&self.inner.rooms).remove(&room);
        if let Some(worker) = placed.and_then(|placed| self.inner.workers.get(placed.worker)) {
            // Blocks for at most a tick: a close must not be lost.
            drop(worker.commands.send(Command::CloseRoom { room }));
        }
    }

    /// Binds the sockets of a leg-to-be of an open room.
    pub fn reserve(&self, room: RoomId, at: ReserveAt) -> Result<Reservation, Error> {
        let placed = lock(&self.inner.rooms).get(&room).copied().ok_or(Error::Refused(Refused::UnknownRoom))?;
        self.reserve_with(at, placed.video.map(|(_, spec)| spec))
    }

    /// The same for a leg that is to be moved later to a room whose picture this is, as `detach` cannot add video to what was
    /// negotiated. Until then nothing is shown to it.
    pub fn reserve_for_picture(&self, room: RoomId, at: ReserveAt, spec: VideoSpec) -> Result<Reservation, Error> {
        let is_open = lock(&self.inner.rooms).contains_key(&room);
        if is_open { self.reserve_with(at, Some(spec)) } else { Err(Error::Refused(Refused::UnknownRoom)) }
    }

    fn reserve_with(&self, at: ReserveAt, video: Option<VideoSpec>) -> Result<Reservation, Error> {
        let ports = self.inner.ports.bind(at.bind)?;
        // Without ports for its video the leg is heard all the same.
        let video = match video {
            Some(spec) => match self.inner.ports.bind(at.bind) {
                Ok(ports) => {
                    ports.carry_video();
                    Some(VideoSeat { ports: Some(ports), spec, seed: Seed::random()? })
                }
                Err(error) => {
                    tracing::warn!(%error, "a leg has no ports for video");
                    None
                }
            },
            None => None,
        };
        Ok(Reservation {
            leg: LegId(self.inner.next_leg.fetch_add(1, Ordering::Relaxed)),
            place: Place::Own { advertise: at.advertise, ports },
            video,
            config: Arc::clone(&self.inner.config),
            seed: Seed::random()?,
        })
    }

    /// A place for a browser in an open room, with that room's picture. What it says holds for a leg that is answered soon: time goes on from now.
    pub fn reserve_web(&self, room: RoomId) -> Result<Reservation, Error> {
        let placed = lock(&self.inner.rooms).get(&room).copied().ok_or(Error::Refused(Refused::UnknownRoom))?;
        let web = self.inner.web.as_ref().ok_or(Error::Refused(Refused::NoWebRtc))?;
        let ports = web.ports.get(placed.worker).cloned().unwrap_or_default();
        let video = match placed.video {
            Some((_, spec)) => Some(VideoSeat { ports: None, spec, seed: Seed::random()? }),
            None => None,
        };
        let seed = Seed::random()?;
        let video_ssrc = video.as_ref().map_or(0, |video| video.seed.ssrc.0);
        let local = LocalSecured {
            credentials: Credentials::random()?,
            fingerprint: web.identity.fingerprint.clone(),
            candidates: ports.iter().map(|port| (port.address, port.protocol)).collect(),
            audio_ssrc: seed.ssrc.0,
            video_ssrc,
            rtx_ssrc: video_ssrc.wrapping_add(1),
        };
        let (identity, resume) = (Arc::clone(&web.identity), web.resume);
        let now = worker::now();
        Ok(Reservation {
            leg: LegId(self.inner.next_leg.fetch_add(1, Ordering::Relaxed)),
            place: Place::Web(Box::new(WebPlace { worker: placed.worker, ports, identity, local, resume, now })),
            video,
            config: Arc::clone(&self.inner.config),
            seed,
        })
    }

    /// Browsers are served.
    pub fn has_web(&self) -> bool {
        self.inner.web.is_some()
    }

    /// Where browsers send over UDP: every address of every worker.
    pub fn web_addresses(&self) -> Vec<SocketAddr> {
        let all = self.inner.web.iter().flat_map(|web| web.ports.iter().flatten());
        all.filter(|port| port.protocol == WebProtocol::Udp).map(|port| port.address).collect()
    }

    /// The far end of a browser's leg restarts ICE by a fragment (RFC 8840); the answer is ours. `false`: it only names
    /// candidates, which are learnt from its checks anyway, and there is no answer.
    pub fn restart_ice(
        &self,
        room: RoomId,
        leg: LegId,
        fragment: &str,
        reply: Reply<Result<String, Error>>,
    ) -> Result<bool, Error> {
        let Some(remote) = read_fragment(fragment)? else { return Ok(false) };
        self.send(room, Command::RestartIce { room, leg, remote, reply })?;
        Ok(true)
    }

    /// Moves the leg into the room it was reserved for. The name is for its tile.
    pub fn join(
        &self,
        room: RoomId,
        leg: Leg,
        name: Arc<str>,
        settings: LegSettings,
        reply: Reply<Result<(), Error>>,
    ) -> Result<(), Error> {
        self.send(room, Command::Join { room, leg: Box::new(leg), name, settings, reply })
    }

    /// A re-INVITE's offer (or the answer to `reoffer`). Parsed on the caller's thread.
    pub fn renegotiate(
        &self,
        room: RoomId,
        leg: LegId,
        offer: &str,
        reply: Reply<Result<Answer, Error>>,
    ) -> Result<(), Error> {
        let offer = Box::new(Offer::parse(offer)?);
        self.send(room, Command::Renegotiate { room, leg, offer, reply })
    }

    /// An offerless re-INVITE: our present offer as SDP; the far end's answer then goes through `renegotiate`.
    pub fn reoffer(&self, room: RoomId, leg: LegId, reply: Reply<Result<String, Error>>) -> Result<(), Error> {
        self.send(room, Command::Reoffer { room, leg, reply })
    }

    /// Drops the leg.
    pub fn leave(&self, room: RoomId, leg: LegId) {
        let placed = lock(&self.inner.rooms).get(&room).copied();
        if let Some(worker) = placed.and_then(|placed| self.inner.workers.get(placed.worker)) {
            // Blocks for at most a tick: a leg that stays would be sent to for ever.
            drop(worker.commands.send(Command::Leave { room, leg }));
        }
    }

    /// Takes the leg out of its room with its sockets, to `join` another room, maybe on another worker. Its streams go on
    /// as if nothing had happened: SSRC, sequence numbers and keys that are held stay, RTP timestamps advance by the time
    /// that passes; what arrives meanwhile waits in its sockets. What is being played to it ends without an event. Dropped
    /// instead, the leg closes its sockets.
    pub fn detach(&self, room: RoomId, leg: LegId, reply: Reply<Result<Box<Leg>, Error>>) -> Result<(), Error> {
        self.send(room, Command::Detach { room, leg, reply })
    }

    /// Plays to this leg alone, over what it hears, which steps back while the playback is not looped. Replaces what is
    /// being played to it. [`Event::Played`] follows when it was played to its end, of which nothing is heard by a leg that
    /// holds. A deaf leg hears it. A leg that has just gone is no error.
    pub fn play(&self, room: RoomId, leg: LegId, playback: Playback) -> Result<(), Error> {
        self.send(room, Command::Play { room, leg, playback })
    }

    /// Fades out what is being played to the leg.
    pub fn stop_playing(&self, room: RoomId, leg: LegId) -> Result<(), Error> {
        self.send(room, Command::StopPlaying { room, leg })
    }

    /// Plays into the room's mix: everybody hears it, and it is recorded. Waits for what is being announced, behind at most
    /// eight others; one more is dropped and counted. A looped one goes on until another comes, or `hush`. In a room
    /// without anybody one that is not looped is over at once, and a looped one waits.
    pub fn announce(&self, room: RoomId, playback: Playback) -> Result<(), Error> {
        self.send(room, Command::Announce { room, playback })
    }

    /// Fades out what is announced in a loop; what waits is not looped any more either.
    pub fn hush(&self, room: RoomId) -> Result<(), Error> {
        self.send(room, Command::Hush { room })
    }

    /// Replaces the leg's settings.
    pub fn set(&self, room: RoomId, leg: LegId, settings: LegSettings) -> Result<(), Error> {
        self.send(room, Command::Set { room, leg, settings })
    }

    /// Creates the file (blocks on the disk: call it where blocking is allowed) and taps the room: Ogg for sound alone, MP4
    /// for a room with a picture.
    pub fn start_recording(
        &self,
        room: RoomId,
        recording: RecordingId,
        path: PathBuf,
        reply: Reply<Result<(), Error>>,
    ) -> Result<(), Error> {
        let placed = lock(&self.inner.rooms).get(&room).copied().ok_or(Error::Refused(Refused::UnknownRoom))?;
        let (tap, pictures) = match placed.video {
            Some(_) => {
                let (tap, pictures) =
                    self.inner.recorder.open_movie(room, recording, path, self.inner.config.movies)?;
                (tap, Some(pictures))
            }
            None => (self.inner.recorder.open(room, recording, path)?, None),
        };
        self.send(room, Command::StartRecording { room, tap, pictures, reply })
    }

    /// Ends it; `RecordingFinished` follows.
    pub fn stop_recording(&self, room: RoomId, recording: RecordingId) -> Result<(), Error> {
        self.send(room, Command::StopRecording { room, recording })
    }

    /// A copy of what the worker knows of the room.
    pub fn snapshot(&self, room: RoomId, reply: Reply<Result<RoomSnapshot, Error>>) -> Result<(), Error> {
        self.send(room, Command::Snapshot { room, reply })
    }

    /// Latest figures of each worker; reading takes `max_lateness` back to zero.
    pub fn worker_stats(&self) -> Vec<WorkerStats> {
        self.inner.workers.iter().map(|w| w.shared.read()).collect()
    }

    /// Latest figures of each composer.
    pub fn composer_stats(&self) -> Vec<ComposerStats> {
        self.inner.composers.iter().map(|composer| lock(composer).figures.read()).collect()
    }

    /// Finishes recordings, drops every room, joins the threads. Later commands are refused.
    pub fn stop(&self) {
        lock(&self.inner.rooms).clear();
        for worker in &self.inner.workers {
            drop(worker.commands.send(Command::Stop));
        }
        for worker in &self.inner.workers {
            if let Some(thread) = lock(&worker.thread).take()
                && thread.join().is_err()
            {
                tracing::error!("a media worker ended with a panic");
            }
        }
        for composer in &self.inner.composers {
            lock(composer).stop();
        }
        self.inner.recorder.stop();
    }

    fn send(&self, room: RoomId, command: Command) -> Result<(), Error> {
        // What workers are done with playing is dropped here, where freeing megabytes delays nobody.
        self.inner.played.try_iter().for_each(drop);
        let placed = lock(&self.inner.rooms).get(&room).copied();
        let worker = placed.and_then(|placed| self.inner.workers.get(placed.worker));
        let worker = worker.ok_or(Error::Refused(Refused::UnknownRoom))?;
        worker.commands.try_send(command).map_err(|e| match e {
            TrySendError::Full(_) => Error::Busy("the media worker's queue is full"),
            TrySendError::Disconnected(_) => Error::Broken("the media worker has ended".to_owned()),
        })
    }
}

/// The sockets that browsers share on one worker.
fn bind_web(web: &WebConfig, worker: usize) -> Result<(BrowserSockets, Vec<SharedPort>), Error> {
    let (mut sockets, mut ports) = (BrowserSockets::default(), Vec::new());
    let mut bind = |first: u16, protocol: WebProtocol| {
        let port = web_port(first, worker, protocol)?;
        for at in &web.addresses {
            let bind = SocketAddr::new(at.bind, port);
            let bound = match protocol {
                WebProtocol::Udp => sockets::shared(bind).and_then(|socket| {
                    let bound = socket.local_addr();
                    sockets.datagrams.push(socket);
                    bound
                }),
                WebProtocol::Tcp => sockets::listener(bind).and_then(|listener| {
                    let bound = listener.local_addr();
                    sockets.listeners.push(listener);
                    bound
                }),
            };
            let failed = |e| Error::Broken(format!("cannot bind {} {bind} for browsers: {e}", protocol.name()));
            let address = SocketAddr::new(at.advertise, bound.map_err(failed)?.port());
            ports.push(SharedPort { key: worker::shared_key(ports.len()), address, protocol });
        }
        Ok::<_, Error>(())
    };
    bind(web.udp_port, WebProtocol::Udp)?;
    if let Some(first) = web.tcp_port {
        bind(first, WebProtocol::Tcp)?;
    }
    Ok((sockets, ports))
}

/// A worker's port for browsers.
fn web_port(first: u16, worker: usize, protocol: WebProtocol) -> Result<u16, Error> {
    if first == 0 {
        return Ok(0);
    }
    u16::try_from(usize::from(first) + worker).map_err(|_| {
        let name = protocol.name();
        Error::Broken(format!("there are not enough {name} ports for browsers from {first} on: each worker needs one"))
    })
}

/// The thread with the least load, of those the one with the fewest rooms.
fn least(loads: impl Iterator<Item = u32>, rooms: impl Iterator<Item = usize>) -> Option<usize> {
    let mut threads: Vec<(u32, u32)> = loads.map(|permille| (permille / 50, 0)).collect();
    for placed in rooms {
        if let Some((_, rooms)) = threads.get_mut(placed) {
            *rooms += 1;
        }
    }
    threads.into_iter().enumerate().min_by_key(|(_, thread)| *thread).map(|(index, _)| index)
}
