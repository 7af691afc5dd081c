//! The media thread: waits for the next tick, drains commands and sockets, ticks its rooms, sends. The only place in
//! the engine that reads a clock for media, and the only sockets there; knows nothing of mixing, codecs or SDP.

mod browsers;
mod clock;
mod io;
mod shared;
mod streams;

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use crate::audio::prompt::Playback;
use crate::command::{Command, Event, LegEnd, LegSettings};
use crate::error::{Error, Refused};
use crate::leg::{Held, Leg, LegSockets, Medium, PortKey, Transmit};
use crate::room::{Moment, Outlet, Room};
use crate::units::{LegId, RoomId};
use browsers::{Browsers, Route, Stray};
use clock::{Clock, Due};
pub(crate) use io::BrowserSockets;
use io::{Address, Datagram, Sockets};
pub(crate) use shared::{Load, Shared};

/// Commands that may go before a poll that is due. A channel gives what it has whatever the time is: without this a stream of
/// joins would hold up every room. Nor may commands wait for a worker that is always late.
const COMMANDS_BEFORE_WORK: u32 = 16;

/// Starts worker `index` of `count`. Their ticks are spread over the 20 ms so that they do not burst together.
pub(crate) fn spawn(
    (index, count): (usize, usize),
    commands: Receiver<Command>,
    events: Sender<Event>,
    played: Sender<Playback>,
    shared: Arc<Shared>,
    for_browsers: BrowserSockets,
    begin: fn(),
) -> std::io::Result<JoinHandle<()>> {
    let sockets = Sockets::new(for_browsers)?;
    std::thread::Builder::new().name(format!("media-worker-{index}")).spawn(move || {
        begin();
        let clock = Clock::new(index, count);
        let worker = Worker {
            index,
            commands,
            events: Events { sender: events, lagged: false },
            played,
            shared,
            sockets,
            browsers: Browsers::default(),
            rooms: HashMap::new(),
            load: Load::new(clock.now()),
            busy: Duration::ZERO,
            clock,
            closed: Vec::new(),
            stopped: false,
        };
        worker.run();
    })
}

/// Now, for what is made for a worker on another thread.
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Which key the `n`th of the sockets has that browsers share.
pub(crate) const fn shared_key(n: usize) -> PortKey {
    Sockets::shared_key(n)
}

/// Gives up what a leg held.
fn release(held: Held, sockets: &mut Sockets, browsers: &mut Browsers) {
    match held {
        Held::Ports(port) => sockets.close(port),
        Held::Shared(leg) => drop(browsers.forget(leg)),
    }
}

/// A panic in a leg: it goes, its neighbours stay.
fn end_leg(
    panic: &(dyn Any + Send),
    address: Address,
    room: &mut Room,
    shared: &Shared,
    events: &mut Events,
    closed: &mut Vec<Held>,
) {
    shared.panicked();
    let reason = panic_text(panic);
    tracing::error!(room = %address.room, leg = %address.leg, %reason, "a panic ended a leg");
    if let Ok(Some(state)) = catch_unwind(AssertUnwindSafe(|| room.leave(address.leg))) {
        closed.extend(state.held());
    }
    events.tell(Event::LegDown { room: address.room, leg: address.leg, reason: LegEnd::Failed(reason) });
}

/// The text of a caught panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic without a message".to_owned())
}

struct Worker {
    index: usize,
    commands: Receiver<Command>,
    events: Events,
    /// The way out of what is over, to be dropped elsewhere. What does not fit is dropped here.
    played: Sender<Playback>,
    shared: Arc<Shared>,
    sockets: Sockets,
    browsers: Browsers,
    rooms: HashMap<RoomId, Room>,
    clock: Clock,
    load: Load,
    /// At work since the last tick began.
    busy: Duration,
    /// What legs held that ended in a tick, until the room is done with sending.
    closed: Vec<Held>,
    stopped: bool,
}

/// The way up. Never blocks: what does not fit is remembered as one `Lagged`.
struct Events {
    sender: Sender<Event>,
    lagged: bool,
}

impl Events {
    fn tell(&mut self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(event) {
            self.lagged = true;
        }
    }
    fn retry(&mut self, worker: usize) {
        if self.lagged && self.sender.try_send(Event::Lagged { worker }).is_ok() {
            self.lagged = false;
        }
    }
}

impl Worker {
    fn run(mut self) {
        let mut applied = 0;
        while !self.stopped {
            if self.rooms.values().all(Room::is_idle) {
                self.rest();
                continue;
            }
            match self.commands.recv_deadline(self.clock.wake()) {
                Ok(command) => {
                    self.apply(command);
                    applied += 1;
                    if applied < COMMANDS_BEFORE_WORK || self.clock.now() < self.clock.wake() {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => self.stopped = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            applied = 0;
            self.work();
        }
        for (_, mut room) in self.rooms.drain() {
            room.drain().for_each(drop);
        }
    }

    /// Nobody is in any room: no timer, no poll, until a command comes.
    fn rest(&mut self) {
        self.shared.idle();
        match self.commands.recv() {
            Ok(command) => self.apply(command),
            Err(_) => self.stopped = true,
        }
        self.clock.restart();
    }

    /// What the clock says is due: the sockets, and at the tick the rooms.
    fn work(&mut self) {
        let started = self.clock.now();
        self.receive();
        if let Due::Tick { late, skipped } = self.clock.due() {
            self.shared.late(late);
            if skipped > 0 {
                self.shared.skipped(skipped);
                self.events.tell(Event::TickOverrun { worker: self.index, late, skipped });
            }
            self.browsers.share_out(std::mem::take(&mut self.busy));
            self.tick(skipped);
        }
        self.poll_pictures();
        let now = self.clock.now();
        let busy = now.saturating_duration_since(started);
        self.busy += busy;
        self.load.add(busy, now, &self.shared.load_permille);
    }

    /// Takes everything that the sockets hold to its leg.
    fn receive(&mut self) {
        let Self { sockets, rooms, shared, events, clock, closed, browsers, .. } = self;
        sockets.receive(clock, &mut |address: Address, socket, arrived, from, bytes| {
            let Some(room) = rooms.get_mut(&address.room) else { return };
            let caught = catch_unwind(AssertUnwindSafe(|| {
                if let Some(leg) = room.leg_mut(address.key) {
                    leg.handle_datagram(arrived, from, socket, bytes);
                }
            }));
            if let Err(panic) = caught {
                end_leg(&*panic, address, room, shared, events, closed);
            }
        });
        closed.drain(..).for_each(|held| release(held, sockets, browsers));
        if !self.browsers.is_empty() {
            self.receive_shared();
        }
    }

    /// The same for the sockets that browsers share. Checks and media are taken at once; handshakes cost much more, and have
    /// their share of the time.
    fn receive_shared(&mut self) {
        let mut taken = 0;
        loop {
            let batch = self.sockets.receive_shared(&self.clock, &mut taken);
            let mut came = false;
            for datagram in batch.iter().filter(|datagram| !datagram.bytes.is_empty()) {
                came = true;
                match self.browsers.route(datagram) {
                    Route::Leg(address) => drop(self.hand_over(address, datagram)),
                    Route::Check(address) => {
                        if self.hand_over(address, datagram) {
                            self.browsers.validate(address, datagram.port, datagram.from);
                        }
                    }
                    Route::Queued => {}
                    Route::Stray(stray) => self.shared.strayed(stray),
                }
            }
            self.sockets.recycle(batch);
            if !came {
                break;
            }
        }
        while let Some((address, datagram)) = self.browsers.next_handshake() {
            let began = self.clock.now();
            self.hand_over(address, &datagram);
            self.browsers.spend(self.clock.now().saturating_duration_since(began));
        }
    }

    /// Gives a datagram to a browser's leg. False: the leg does not take it for its own.
    fn hand_over(&mut self, address: Address, datagram: &Datagram) -> bool {
        let Self { sockets, rooms, shared, events, closed, browsers, .. } = self;
        let Some(room) = rooms.get_mut(&address.room) else { return false };
        let Datagram { port, from, arrived, bytes } = datagram;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let leg = room.leg_mut(address.key).filter(|leg| leg.id() == address.leg)?;
            Some(leg.handle_shared(*arrived, *port, *from, bytes, &mut |transmit| sockets.send(transmit)))
        }));
        match caught {
            Ok(Some(Ok(()))) => true,
            Ok(Some(Err(_))) => {
                shared.strayed(Stray::Unauthenticated);
                false
            }
            Ok(None) => false,
            Err(panic) => {
                end_leg(&*panic, address, room, shared, events, closed);
                closed.drain(..).for_each(|held| release(held, sockets, browsers));
                false
            }
        }
    }

    /// What is due of the pictures of rooms, between the ticks too.
    fn poll_pictures(&mut self) {
        let now = self.clock.now();
        let Self { sockets, rooms, shared, events, .. } = self;
        let mut failed = None;
        let mut has_pictures = false;
        for (id, room) in rooms.iter_mut().filter(|(_, room)| room.has_picture()) {
            has_pictures = true;
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let (send, tell) =
                    (&mut |transmit: Transmit<'_>| sockets.send(transmit), &mut |event| events.tell(event));
                room.poll_picture(now, &mut Outlet { send, tell, release: &mut |_| (), retire: &mut drop });
            }));
            if let Err(panic) = caught {
                failed = Some((*id, panic_text(&*panic)));
            }
        }
        self.clock.set_polls(has_pictures);
        if let Some((room, reason)) = failed {
            shared.panicked();
            self.fail(room, reason);
        }
    }

    fn fail(&mut self, room: RoomId, reason: String) {
        tracing::error!(%room, %reason, "a panic ended a room");
        self.close(room);
        self.events.tell(Event::RoomFailed { room, reason });
    }

    fn tick(&mut self, skipped: u32) {
        let at = Moment { tick: self.clock.tick(), now: self.clock.deadline(), ntp: self.clock.ntp(), skipped };
        let Self { sockets, rooms, shared, events, closed, played, browsers, .. } = self;
        let mut failed = None;
        let (mut active, mut legs) = (0, 0);
        for (id, room) in rooms.iter_mut().filter(|(_, room)| !room.is_idle()) {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                room.tick(
                    at,
                    &mut Outlet {
                        send: &mut |transmit| sockets.send(transmit),
                        tell: &mut |event| {
                            if let Event::LegDown { reason: LegEnd::Failed(_), .. } = &event {
                                shared.panicked();
                            }
                            events.tell(event);
                        },
                        release: &mut |held| closed.push(held),
                        retire: &mut |playback| drop(played.try_send(playback)),
                    },
                );
            }));
            closed.drain(..).for_each(|held| release(held, sockets, browsers));
            match caught {
                Ok(()) => {
                    active += 1;
                    legs += room.leg_count();
                }
                Err(panic) => failed = Some((*id, panic_text(&*panic))),
            }
        }
        if let Some((room, reason)) = failed {
            shared.panicked();
            self.fail(room, reason);
        }
        self.shared.ticked(active, legs);
        self.events.retry(self.index);
    }

    // -- commands --------------------------------------------------------------------------------------------------

    fn apply(&mut self, command: Command) {
        match command {
            Command::OpenRoom { room, spec, composer } => {
                self.rooms.entry(room).or_insert_with(|| Room::new(room, spec, composer));
            }
            Command::CloseRoom { room } => self.close(room),
            Command::Join { room, leg, name, settings, reply } => reply.send(self.join(room, *leg, name, settings)),
            Command::Renegotiate { room, leg, offer, reply } => {
                let now = self.clock.now();
                let answer = self.room(room).and_then(|r| r.renegotiate(now, leg, &offer));
                self.follow_name(room, leg);
                reply.send(answer);
            }
            Command::Reoffer { room, leg, reply } => reply.send(self.room(room).and_then(|r| r.reoffer(leg))),
            Command::RestartIce { room, leg, remote, reply } => {
                let restarted = self.room(room).and_then(|r| r.restart_ice(leg, remote));
                reply.send(restarted.map(|(fragment, name)| {
                    self.browsers.rename(leg, &name);
                    fragment
                }));
            }
            Command::Leave { room, leg } => self.leave(room, leg),
            Command::Detach { room, leg, reply } => reply.send(self.detach(room, leg)),
            // A leg that has just gone is no error: its LegDown is on the way.
            Command::Play { room, leg, playback } => drop(self.room(room).and_then(|r| r.play(leg, playback))),
            Command::StopPlaying { room, leg } => drop(self.room(room).and_then(|r| r.stop_playing(leg))),
            Command::Announce { room, playback } => {
                if let Ok(target) = self.room(room) {
                    target.announce(playback);
                }
                self.expire_announcements(room);
            }
            Command::Hush { room } => {
                if let Ok(room) = self.room(room) {
                    room.hush();
                }
            }
            Command::Set { room, leg, settings } => {
                // A leg that has just gone is no error: its LegDown is on the way.
                drop(self.room(room).and_then(|r| r.set(leg, settings)));
            }
            Command::SetVideo { room, spec } => {
                if let Ok(room) = self.room(room) {
                    room.set_video(spec);
                }
            }
            Command::Arrange { room, arrangement } => {
                if let Ok(room) = self.room(room) {
                    room.arrange(*arrangement);
                }
            }
            // A leg that has just gone needs none.
            Command::Refresh { room, leg } => drop(self.room(room).and_then(|r| r.refresh(leg))),
            Command::Preview { room, reply } => match self.room(room) {
                Ok(room) => room.preview(reply),
                Err(error) => reply.send(Err(error)),
            },
            Command::StartRecording { room, tap, pictures, reply } => {
                reply.send(self.room(room).and_then(|r| r.start_recording(tap, pictures)));
            }
            Command::StopRecording { room, recording } => {
                let tick = self.clock.tick();
                if let Ok(target) = self.room(room) {
                    target.stop_recording(recording, tick);
                }
                self.expire_announcements(room);
            }
            Command::Snapshot { room, reply } => reply.send(self.room(room).map(|r| r.snapshot())),
            Command::Stop => self.stopped = true,
        }
    }

    fn room(&mut self, room: RoomId) -> Result<&mut Room, Error> {
        self.rooms.get_mut(&room).ok_or(Error::Refused(Refused::UnknownRoom))
    }

    fn join(&mut self, room: RoomId, leg: Leg, name_of_tile: Arc<str>, settings: LegSettings) -> Result<(), Error> {
        let now = self.clock.now();
        let Self { rooms, sockets, browsers, .. } = self;
        let target = rooms.get_mut(&room).ok_or(Error::Refused(Refused::UnknownRoom))?;
        let Leg { mut state, sockets: own } = leg;
        let id = state.id();
        let (ports, video_ports) = match own {
            LegSockets::Own { ports, video } => (ports, video),
            LegSockets::Shared { sources } => {
                let name = match state.shared_place() {
                    Some((worker, name)) if worker == self.index => name.to_owned(),
                    _ => return Err(Error::Refused(Refused::AnotherWorker)),
                };
                state.place(None, now);
                let key = target.join(state, name_of_tile, settings, now);
                let address = Address { room, key, leg: id };
                browsers.enter(address, &name);
                sources.into_iter().for_each(|(port, from)| browsers.validate(address, port, from));
                return Ok(());
            }
        };
        let mut open = |ports, medium| {
            sockets.open(ports, medium).map_err(|e| Error::Broken(format!("cannot poll the leg's sockets: {e}")))
        };
        let port = open(ports, Medium::Audio)?;
        let video_port = match video_ports.map(|ports| open(ports, Medium::Video)).transpose() {
            Ok(video_port) => video_port,
            Err(error) => {
                sockets.close(port);
                return Err(error);
            }
        };
        state.place(Some((port, video_port)), now);
        let key = target.join(state, name_of_tile, settings, now);
        for port in std::iter::once(port).chain(video_port) {
            sockets.address(port, Address { room, key, leg: id });
        }
        Ok(())
    }

    /// A renegotiation may have renamed a browser's connectivity checks.
    fn follow_name(&mut self, room: RoomId, leg: LegId) {
        let name = self.rooms.get(&room).and_then(|room| room.name_of(leg));
        if let Some(name) = name {
            self.browsers.rename(leg, &name);
        }
    }

    fn detach(&mut self, room: RoomId, leg: LegId) -> Result<Box<Leg>, Error> {
        let state = self.room(room)?.leave(leg).ok_or(Error::Refused(Refused::UnknownLeg))?;
        let (mut taken, mut sources) = (Vec::new(), Vec::new());
        for held in state.held() {
            match held {
                Held::Ports(port) => taken.extend(self.sockets.take(port)),
                // What comes meanwhile is lost, as there is no room to take it to.
                Held::Shared(leg) => sources = self.browsers.forget(leg),
            }
        }
        self.expire_announcements(room);
        let mut taken = taken.into_iter();
        let sockets = match (state.shared_place().is_some(), taken.next()) {
            (true, _) => LegSockets::Shared { sources },
            (false, Some(ports)) => LegSockets::Own { ports, video: taken.next() },
            (false, None) => return Err(Error::Broken("the leg has no sockets on its worker".to_owned())),
        };
        Ok(Box::new(Leg { state, sockets }))
    }

    /// Nobody may be left to hear what the room announces.
    fn expire_announcements(&mut self, room: RoomId) {
        let Self { rooms, events, played, .. } = self;
        if let Some(room) = rooms.get_mut(&room).filter(|room| room.is_idle()) {
            room.expire_announcements(&mut |event| events.tell(event), &mut |over| drop(played.try_send(over)));
        }
    }

    fn leave(&mut self, room: RoomId, leg: LegId) {
        let now = self.clock.now();
        let Self { rooms, sockets, browsers, .. } = self;
        if let Some(mut state) = rooms.get_mut(&room).and_then(|r| r.leave(leg)) {
            state.say_goodbye(now, &mut |transmit| sockets.send(transmit));
            state.held().for_each(|held| release(held, sockets, browsers));
        }
        self.expire_announcements(room);
    }

    fn close(&mut self, room: RoomId) {
        let now = self.clock.now();
        let Self { rooms, sockets, browsers, .. } = self;
        if let Some(mut room) = rooms.remove(&room) {
            for mut state in room.drain() {
                state.say_goodbye(now, &mut |transmit| sockets.send(transmit));
                state.held().for_each(|held| release(held, sockets, browsers));
            }
        }
    }
}
