//! The receive side of one leg: RTP payloads in, a 20 ms frame out at each tick. Decides when a packet plays and what
//! is heard when it is not there. Runs on the worker's thread; time is an argument, and sockets, rooms and RTP headers
//! are not its business.
//!
//! A packet's *transit* is its arrival less its timestamp. The playout *delay* is how long the fastest packet of late
//! has to wait. The delay that is *needed* covers what 99 % of the packets take longer than that, and what the packet
//! length asks for; the tick after that is when a packet plays, so a quiet network adds no whole frame. The delay
//! rises when a packet is missing at its tick and comes after all, or by time scaling when the need has risen; it falls by
//! time scaling when the need has fallen, and at once in silence and above the ceiling.

mod schedule;
mod voice;

use std::time::{Duration, Instant};

use crate::audio::frame::Frame;
use crate::leg::arrivals::Arrivals;
use crate::leg::jitter::{Inserted, JitterBuffer, MAX_PAYLOAD};
use crate::leg::reception::{Reception, Standing};
use crate::sdp::CodecName;

pub use crate::leg::reception::ReceptionReport;
use voice::Voice;

/// Ticks are 20 ms apart.
const TICK_US: i64 = 20_000;
/// Kept between the slowest ordinary packet and its tick: what kernel timestamps and tick times may be off by.
const MARGIN_US: i64 = 500;
/// After a late packet the delay stays for so long, unless it is large.
const HOLD_US: i64 = 2_000_000;
/// A packet that comes so much faster than the fastest is of another clock.
const CLOCK_JUMP_US: i64 = 1_000_000;
/// More late ticks than the worker ever runs at once: it skipped some.
const SKIPPED_US: i64 = 50_000;
/// Packets without FEC after which it is no longer counted on.
const FEC_MEMORY: u32 = 250;
/// A lower ceiling could not hold one packet of 40 ms and its tick.
const MIN_CEILING: Duration = Duration::from_millis(60);
/// The ceiling is bounded by what the slots hold of 10 ms packets.
const MAX_CEILING: Duration = Duration::from_millis(400);

/// What `pull` has put into the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// What the far end sent.
    Voice,
    /// Some of it is made up.
    Concealed,
    /// Nothing: the far end pauses, or concealment has faded out. The frame is all zero, or ends so.
    Silence,
}

/// Counters and gauges since the leg began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// How long a packet of the fastest path waits until it plays.
    pub delay: Duration,
    /// Packets that never came (RFC 3550 A.3, cumulative, not below zero).
    pub lost: u64,
    /// Packets that came after their tick had played.
    pub late: u64,
    /// Packets dropped: malformed, duplicate, stray, or above the ceiling.
    pub discarded: u64,
    /// Ticks that were played from concealment.
    pub concealed: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// RFC 3550 §6.4.1.
    pub extended_highest_seq: u32,
}

/// Where the newest packet stands in time; timestamps are extended, and continuous even when the sender's jump.
#[derive(Clone, Copy, Debug)]
struct Newest {
    raw: u32,
    extended: i64,
    end: i64,
}

/// From RTP packets to 20 ms frames.
///
/// Input: `insert`, `insert_comfort_noise`, `note_foreign`. Time: exactly one of `pull` and `skip` at each tick.
/// Settings: `set_codec`. Reading: `stats`, `loss_percent`, `report`, `codec`.
#[derive(Debug)]
pub struct Playout {
    codec: CodecName,
    ceiling_us: i64,
    voice: Voice,
    jitter: JitterBuffer,
    arrivals: Arrivals,
    reception: Reception,
    ssrc: Option<u32>,
    newest: Option<Newest>,
    /// Sequence numbers that were not audio, most recent last.
    foreign: [i64; 16],
    /// Origin of all µs.
    epoch: Option<Instant>,
    /// Nominal time of the last tick.
    tick: Option<i64>,
    /// The ticks of another worker come from now on.
    relocated: bool,

    /// Timestamp after the last sample in the queue.
    next: i64,
    /// Sequence number of the last packet decoded or passed over.
    last_seq: i64,
    /// Which of the 64 packets up to `last_seq` came in time.
    played: u64,
    /// Samples made up beyond `next` while the packet there may still come.
    waiting: i64,
    /// Nothing plays; the next packet begins anew.
    idle: bool,
    /// The last packet announced a pause.
    resting: bool,
    /// No shortening before, and no time scaling before.
    hold_until: i64,
    pause_until: i64,
    /// Since when the delay has not been what it should be.
    wants_since: Option<i64>,

    /// Samples of the last packet that was played.
    packet_samples: usize,
    /// Loss average, and packets in it up to `LOSS_SPAN`.
    loss: f32,
    seen: u16,
    waits_for_fec: bool,
    fec_age: u32,
    delay_us: i64,
    late: u64,
    discarded: u64,
    concealed: u64,
}

impl Playout {
    /// Nothing received yet. `ceiling` bounds the playout delay (60 to 400 ms). Allocates all that it will need,
    /// but for the payload buffers.
    pub fn new(codec: CodecName, ceiling: Duration) -> Self {
        Self {
            codec,
            ceiling_us: ceiling.clamp(MIN_CEILING, MAX_CEILING).as_micros() as i64,
            voice: Voice::new(codec),
            jitter: JitterBuffer::new(),
            arrivals: Arrivals::new(),
            reception: Reception::default(),
            ssrc: None,
            newest: None,
            foreign: [i64::MIN; 16],
            epoch: None,
            tick: None,
            relocated: false,
            next: 0,
            last_seq: 0,
            played: 0,
            waiting: 0,
            idle: true,
            resting: false,
            hold_until: 0,
            pause_until: 0,
            wants_since: None,
            seen: 0,
            packet_samples: codec.sample_rate().frame_samples(),
            loss: 0.0,
            waits_for_fec: false,
            fec_age: FEC_MEMORY,
            delay_us: 0,
            late: 0,
            discarded: 0,
            concealed: 0,
        }
    }

    /// The codec whose payloads are expected.
    pub const fn codec(&self) -> CodecName {
        self.codec
    }

    /// Renegotiation: the stream begins anew with another codec; counters stay. Allocates.
    pub fn set_codec(&mut self, codec: CodecName) {
        if codec == self.codec {
            return;
        }
        self.codec = codec;
        self.voice = Voice::new(codec);
        self.packet_samples = codec.sample_rate().frame_samples();
        self.jitter.clear();
        self.arrivals = Arrivals::new();
        self.reception.forget_source();
        self.ssrc = None;
        self.newest = None;
        self.next = 0;
        self.waiting = 0;
        self.idle = true;
        self.resting = false;
        self.fec_age = FEC_MEMORY;
        self.waits_for_fec = false;
    }

    /// Ticks lie elsewhere from the next one on.
    pub(crate) fn relocate(&mut self) {
        self.relocated = true;
    }

    /// One accepted RTP packet whose payload type is the codec's. `arrived` is when the kernel received it.
    pub fn insert(&mut self, arrived: Instant, seq: u16, timestamp: u32, ssrc: u32, marker: bool, payload: &[u8]) {
        // A marker says that a pause is over; a gap in the timestamps without loss says so too, and cannot lie.
        let _ = marker;
        self.accept(arrived, seq, timestamp, ssrc, Some(payload));
    }

    /// One accepted comfort noise packet (RFC 3389) beside G.711: the far end pauses from here on. Played as silence.
    pub fn insert_comfort_noise(&mut self, arrived: Instant, seq: u16, timestamp: u32, ssrc: u32) {
        self.accept(arrived, seq, timestamp, ssrc, None);
    }

    /// A packet of the same source that is not audio (telephone-event): its number is not missing.
    pub fn note_foreign(&mut self, seq: u16) {
        let standing = self.reception.count(seq);
        if let Standing::Newest(n) | Standing::Older(n) = standing {
            self.foreign.rotate_left(1);
            self.foreign[15] = n;
        } else if let Standing::Restart(n) = standing {
            self.begin_source(n + 1);
        }
    }

    fn accept(&mut self, arrived: Instant, seq: u16, raw: u32, ssrc: u32, payload: Option<&[u8]>) {
        let facts = match payload {
            Some(bytes) if bytes.len() <= MAX_PAYLOAD => self.voice.inspect(bytes),
            Some(_) => None,
            None => Some(crate::audio::codec::PayloadFacts { samples: self.frame(), fec: false, dtx: true }),
        };
        let Some(facts) = facts else {
            self.discarded += 1;
            return;
        };
        if self.ssrc != Some(ssrc) {
            self.ssrc = Some(ssrc);
            self.reception.forget_source();
        }
        let at = self.micros(arrived);
        let (seq, is_newest) = match self.reception.count(seq) {
            Standing::Newest(n) => (n, true),
            Standing::Older(n) => (n, false),
            Standing::Restart(n) => {
                self.begin_source(n);
                (n, true)
            }
            Standing::Stray => {
                self.discarded += 1;
                return;
            }
        };
        let Some(timestamp) = self.place(at, raw, facts.samples, is_newest) else {
            self.discarded += 1;
            return;
        };
        self.fec_age = if facts.fec { 0 } else { self.fec_age.saturating_add(1) };
        let before_last = self.last_seq - seq;
        if (0..64).contains(&before_last) && self.played >> before_last & 1 == 1 {
            self.discarded += 1;
            return;
        }
        if before_last >= 0 || timestamp + facts.samples as i64 <= self.next {
            self.late += 1;
            self.hold();
            return;
        }
        match self.jitter.insert(seq, timestamp, facts, payload.is_none(), payload.unwrap_or(&[])) {
            Inserted::Queued => {}
            Inserted::PushedOut | Inserted::Duplicate | Inserted::Contradictory => self.discarded += 1,
        }
    }

    /// The delay was too short just now: it is not made shorter for a while.
    fn hold(&mut self) {
        self.hold_until = self.tick.unwrap_or(0) + HOLD_US;
    }

    /// The extended timestamp of a packet; `None` when it contradicts the newest one.
    fn place(&mut self, at: i64, raw: u32, samples: usize, is_newest: bool) -> Option<i64> {
        let Some(newest) = self.newest else {
            // Extended time goes on from where the last source was heard.
            let extended = self.next;
            let transit = at - self.to_us(extended);
            self.arrivals.rebase(transit, at);
            self.arrivals.add(transit, at);
            self.reception.clock_jumped();
            self.reception.jitter_sample(transit);
            self.newest = Some(Newest { raw, extended, end: extended + samples as i64 });
            return Some(extended);
        };
        let step = i64::from(raw.wrapping_sub(newest.raw) as i32);
        let mut extended = newest.extended + step;
        let mut transit = at - self.to_us(extended);
        let fastest = self.arrivals.fastest_us().unwrap_or(transit);
        if !is_newest {
            if step >= 0 || transit - fastest > 60 * CLOCK_JUMP_US {
                return None;
            }
            self.arrivals.add(transit, at);
            self.reception.jitter_sample(transit);
            return Some(extended);
        }
        if step <= 0 || transit < fastest - CLOCK_JUMP_US {
            // The sender's clock jumped: what comes follows what was there.
            extended = newest.end;
            transit = at - self.to_us(extended);
            self.arrivals.rebase(transit, at);
            self.reception.clock_jumped();
        } else if transit > fastest + self.ceiling_us {
            // No delay that is allowed covers this: a stall, or a sender whose clock stood still.
            self.arrivals.rebase(transit, at);
        }
        self.arrivals.add(transit, at);
        self.reception.jitter_sample(transit);
        self.newest = Some(Newest { raw, extended, end: extended + samples as i64 });
        Some(extended)
    }

    /// Another SSRC, or a jump in the sequence numbers.
    fn begin_source(&mut self, seq: i64) {
        self.jitter.clear();
        if let Some(newest) = self.newest.take() {
            self.voice.restart();
            self.next = self.next.max(newest.end);
        }
        self.foreign = [i64::MIN; 16];
        self.last_seq = seq - 1;
        self.played = u64::MAX;
        self.waiting = 0;
        self.idle = true;
        self.resting = false;
    }

    /// The next 20 ms at the codec's rate (8 kHz for G.711, 48 kHz for Opus; `out` takes that rate). `now` is the time of
    /// the tick.
    pub fn pull(&mut self, now: Instant, out: &mut Frame) -> Pulled {
        let rate = self.codec.sample_rate();
        if out.rate() != rate {
            *out = Frame::silence(rate);
        }
        let tick = self.advance(now);
        for packet in self.jitter.kept() {
            self.voice.warm_up(packet);
        }
        self.jitter.release_kept();
        self.settle(tick);
        if !self.idle && self.waiting == 0 && self.delay_at(tick) > self.ceiling_us {
            self.catch_up(tick);
        }
        if self.idle && !self.begin(tick) {
            out.clear();
            return Pulled::Silence;
        }
        let slack = self.slack(tick);
        let grain = self.grain();
        let misaligned = self.voice.queue.len() % grain;
        let filled = self.fill(tick);
        if filled == Pulled::Voice && !self.idle && self.waiting == 0 {
            self.scale(tick, slack, grain, misaligned);
        }
        self.voice.queue.play(out.samples_mut());
        if filled == Pulled::Concealed {
            self.concealed += 1;
        }
        if !self.idle && self.waiting == 0 {
            self.delay_us = self.delay_at(tick + TICK_US);
        }
        filled
    }

    /// A tick that nobody will hear: time passes and nothing is decoded. The last five packets are kept, and warm the
    /// decoder up when `pull` comes next.
    pub fn skip(&mut self, now: Instant) {
        let tick = self.advance(now);
        self.voice.queue.clear();
        self.waiting = 0;
        self.idle = true;
        let heard = tick + TICK_US - self.arrivals.fastest_us().unwrap_or(0) - self.needed_us();
        while let Some(first) = self.jitter.first() {
            if self.to_us(first.end()) > heard {
                break;
            }
            let (seq, end, dtx) = (first.seq, first.end(), first.facts.dtx);
            self.took(seq, end);
            self.resting = dtx;
            self.jitter.remove_first(true);
        }
    }

    /// How long a packet of the fastest path waits until it plays.
    pub fn delay(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.delay_us).unwrap_or(0))
    }

    /// Counters and gauges.
    pub fn stats(&self) -> PlayoutStats {
        PlayoutStats {
            delay: self.delay(),
            lost: self.reception.lost(),
            late: self.late,
            discarded: self.discarded,
            concealed: self.concealed,
            jitter: Duration::from_micros(self.reception.jitter_us()),
            extended_highest_seq: self.reception.extended_highest_seq(),
        }
    }

    /// What the next RTCP report says of this source; begins a new interval of its fraction lost.
    pub fn report(&mut self) -> ReceptionReport {
        self.reception.report(self.codec.sample_rate().hz())
    }

    /// Loss over about the last 256 packets, late ones included, in whole percent.
    pub fn loss_percent(&self) -> u8 {
        (self.loss * 100.0).round().clamp(0.0, 100.0) as u8
    }

    // ---- time ----

    fn frame(&self) -> usize {
        self.codec.sample_rate().frame_samples()
    }

    /// µs since the first instant that was seen; before it, negative.
    fn micros(&mut self, instant: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(instant);
        match instant.checked_duration_since(epoch) {
            Some(after) => after.as_micros() as i64,
            None => -(epoch.duration_since(instant).as_micros() as i64),
        }
    }

    fn to_us(&self, samples: i64) -> i64 {
        samples * 1000 / i64::from(self.codec.sample_rate().hz() / 1000)
    }

    /// The nominal time of this tick: 20 ms after the last one, following the clock slowly, and at once when it jumped.
    fn advance(&mut self, now: Instant) -> i64 {
        let now = self.micros(now);
        let due = self.tick.map_or(now, |last| last + TICK_US);
        let off = now - due;
        let regular = !std::mem::take(&mut self.relocated) && (0..SKIPPED_US).contains(&off);
        let tick = if regular { due + off / 64 } else { now };
        self.tick = Some(tick);
        if off >= SKIPPED_US && !self.idle {
            self.catch_up(tick);
        }
        tick
    }

    /// How long the sample that plays at `tick` has waited, had it come as fast as the fastest.
    fn delay_at(&self, tick: i64) -> i64 {
        tick - self.to_us(self.next - self.voice.queue.len() as i64) - self.arrivals.fastest_us().unwrap_or(0)
    }

    /// Packets and ticks meet on a grid of this many samples.
    fn grain(&self) -> usize {
        gcd(self.packet_samples, self.frame())
    }

    /// The delay that lets nearly every packet be there at its tick.
    fn needed_us(&self) -> i64 {
        // A packet that begins inside a tick's frame must be there when that begins.
        let inside = self.to_us((self.frame() - self.grain()) as i64);
        let fec = if self.waits_for_fec { self.to_us(self.packet_samples as i64) } else { 0 };
        (self.arrivals.spread_us() + fec + inside + MARGIN_US).min(self.ceiling_us - TICK_US).max(0)
    }

    /// What is to spare of the delay, a misalignment not counted: that costs delay and protects nothing.
    fn slack(&self, tick: i64) -> i64 {
        let misaligned = (self.voice.queue.len() % self.grain()) as i64;
        self.delay_at(tick) - self.to_us(misaligned) - self.needed_us()
    }
}

const fn gcd(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
