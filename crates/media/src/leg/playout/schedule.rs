//! The schedule of `Playout`: what plays at a tick, what is made up, and how the delay follows the need. Runs on the
//! worker's thread; knows nothing of what comes in between ticks.

use super::{FEC_MEMORY, Playout, Pulled};
use crate::audio::stretch::Urgency;
use crate::leg::jitter::SLOTS;

/// Out of silence a little more is kept, so that drift either way has room before the delay must change.
const BEGIN_MARGIN_US: i64 = 2_000;
/// A frame is taken out only with so much to spare, so that nothing oscillates around a tick.
const HYSTERESIS_US: i64 = 500;
/// Above so much to spare, the delay falls faster and without waiting.
const FAR_US: i64 = 60_000;
/// Between two time scalings.
const PAUSE_US: i64 = 60_000;
/// After so long without a good place for a seam, a worse one is taken, and then any.
const PATIENCE_US: i64 = 800_000;
const IMPATIENCE_US: i64 = 1_500_000;
/// The loss average runs over so many packets (fewer at the beginning); two losses within them make waiting for FEC
/// worth a packet's delay.
const LOSS_SPAN: u16 = 256;
const LOSS_SPAN_AT_FIRST: u16 = 32;
const FEC_WAIT_FROM: f32 = 0.006;
const FEC_WAIT_UNTIL: f32 = 0.001;

impl Playout {
    /// Out of silence: true when the first packet that waits is due.
    pub(super) fn begin(&mut self, tick: i64) -> bool {
        let Some(first) = self.jitter.first() else { return false };
        self.packet_samples = first.facts.samples;
        let fastest = self.arrivals.fastest_us().unwrap_or(0);
        let delay = tick - self.to_us(first.timestamp) - fastest;
        if delay < self.needed_us() + BEGIN_MARGIN_US {
            return false;
        }
        if delay > self.ceiling_us {
            self.drop_old(tick);
        }
        let Some(first) = self.jitter.first() else { return false };
        self.next = first.timestamp;
        let before = first.seq - 1;
        self.pass(before, false);
        self.waiting = 0;
        self.idle = false;
        self.resting = false;
        self.wants_since = None;
        true
    }

    /// The delay is far too large: goes on at once with what is due by the need.
    pub(super) fn catch_up(&mut self, tick: i64) {
        self.voice.queue.clear();
        self.voice.bridge();
        self.drop_old(tick);
        self.waiting = 0;
        match self.jitter.first().map(|p| (p.seq, p.timestamp)) {
            Some((seq, timestamp)) => {
                self.next = timestamp;
                self.pass(seq - 1, false);
            }
            None => self.idle = true,
        }
    }

    /// Drops the packets that would have been played by now with the delay that is needed.
    fn drop_old(&mut self, tick: i64) {
        let heard = tick - self.arrivals.fastest_us().unwrap_or(0) - self.needed_us();
        while let Some(first) = self.jitter.first() {
            if self.to_us(first.end()) > heard {
                break;
            }
            let (seq, end) = (first.seq, first.end());
            self.took(seq, end);
            self.discarded += 1;
            self.jitter.remove_first(false);
        }
    }

    /// What was made up while waiting fills the hole before the first packet. If there is more of it than hole, a packet
    /// came after all, and the delay has risen.
    pub(super) fn settle(&mut self, tick: i64) {
        let Some(first) = self.jitter.first() else { return };
        let hole = (first.timestamp - self.next).max(0);
        if self.waiting == hole && hole > 0 && self.waits_for_fec && first.facts.fec {
            // The delay that waiting for FEC takes has just been spent: if it was missing, it stays.
            let raised = self.slack(tick);
            if hole <= first.facts.samples as i64 && raised < self.to_us(self.packet_samples as i64) {
                self.waiting = 0;
                return;
            }
        }
        let waited = std::mem::take(&mut self.waiting);
        self.next += waited.min(hole);
        if waited > hole {
            self.hold();
        }
    }

    /// Decodes or makes up until the queue holds a frame.
    pub(super) fn fill(&mut self, tick: i64) -> Pulled {
        let frame = self.frame();
        let mut result = Pulled::Voice;
        // Each round adds samples, takes a packet or ends; bounded all the same.
        for _ in 0..4 * SLOTS {
            let missing = frame.saturating_sub(self.voice.queue.len());
            if missing == 0 {
                return result;
            }
            let Some(first) = self.jitter.first() else {
                if self.resting || self.voice.is_spent() {
                    break;
                }
                self.waiting += self.voice.conceal(missing) as i64;
                result = Pulled::Concealed;
                continue;
            };
            let hole = first.timestamp - self.next;
            if hole <= 0 {
                self.decode_first();
                continue;
            }
            let lost = self.lost_before(first.seq);
            if lost <= 0 || self.resting || self.to_us(hole) > self.ceiling_us {
                // Nobody spoke: the delay may be chosen anew.
                self.idle = true;
                self.waiting = 0;
                if self.begin(tick) {
                    continue;
                }
                break;
            }
            if !self.bridge_hole(hole, missing) {
                result = Pulled::Concealed;
            }
        }
        self.idle = true;
        self.waiting = 0;
        // What there is of the frame still plays; the rest is silence.
        if self.voice.queue.is_empty() { Pulled::Silence } else { result }
    }

    /// Adds something for a hole of `hole` samples before the first packet, which was lost. True when it was real sound.
    fn bridge_hole(&mut self, hole: i64, missing: usize) -> bool {
        let Some(first) = self.jitter.first() else { return false };
        let covered = if first.facts.fec { first.facts.samples as i64 } else { 0 };
        if hole <= covered && self.voice.decode_fec(first, hole as usize) {
            self.next += hole;
            return true;
        }
        // Up to where FEC takes over.
        let wanted = if hole > covered { hole - covered } else { hole };
        let made = self.voice.conceal(missing.min(wanted as usize)) as i64;
        if made > hole {
            // A hole shorter than the decoder's unit.
            self.voice.queue.truncate(self.voice.queue.len() - (made - hole) as usize);
        }
        self.next += made.min(hole);
        false
    }

    /// Numbers missing between the last packet and `seq`, those that were not audio not counted.
    fn lost_before(&self, seq: i64) -> i64 {
        let foreign = self.foreign.iter().filter(|&&n| n > self.last_seq && n < seq).count() as i64;
        seq - self.last_seq - 1 - foreign
    }

    fn decode_first(&mut self) {
        let Some(first) = self.jitter.first() else { return };
        let (seq, end, dtx) = (first.seq, first.end(), first.facts.dtx);
        let late_by = usize::try_from(self.next - first.timestamp).unwrap_or(0);
        self.packet_samples = first.facts.samples;
        // What has been played over already, and what the decoder refuses, is of no use.
        if late_by >= first.facts.samples || !self.voice.decode(first, late_by) {
            self.discarded += 1;
        }
        self.took(seq, end);
        self.resting = dtx;
        self.jitter.remove_first(false);
    }

    /// A packet was decoded or passed over.
    pub(super) fn took(&mut self, seq: i64, end: i64) {
        for _ in 0..self.lost_before(seq).clamp(0, 64) {
            self.average_loss(1.0);
        }
        self.average_loss(0.0);
        let has_fec = self.fec_age < FEC_MEMORY;
        self.waits_for_fec = has_fec && self.loss > if self.waits_for_fec { FEC_WAIT_UNTIL } else { FEC_WAIT_FROM };
        self.pass(seq, true);
        self.next = self.next.max(end);
    }

    fn average_loss(&mut self, lost: f32) {
        self.seen = (self.seen + 1).min(LOSS_SPAN);
        self.loss += (lost - self.loss) / f32::from(self.seen.max(LOSS_SPAN_AT_FIRST));
    }

    /// Playing has come to `seq`.
    fn pass(&mut self, seq: i64, played: bool) {
        let step = seq - self.last_seq;
        if step > 0 {
            self.played = if step < 64 { self.played << step } else { 0 } | u64::from(played);
            self.last_seq = seq;
        }
    }

    /// Brings the delay nearer to the need by time scaling, where that is heard least. `slack`, `grain` and `misaligned`
    /// are as they were before this tick's frame was filled.
    pub(super) fn scale(&mut self, tick: i64, slack: i64, grain: usize, misaligned: usize) {
        let spare = slack - HYSTERESIS_US;
        let whole = if spare > 0 && (tick >= self.hold_until || spare > FAR_US) {
            (spare / self.to_us(grain as i64).max(1)) as usize * grain
        } else {
            0
        };
        let (grows, most) = if slack < 0 { (true, grain - misaligned) } else { (false, misaligned + whole) };
        if most == 0 {
            self.wants_since = None;
            return;
        }
        let waited = tick - *self.wants_since.get_or_insert(tick);
        if tick < self.pause_until && spare <= FAR_US {
            return;
        }
        let urgency = match waited {
            0..PATIENCE_US if spare <= FAR_US => Urgency::Normal,
            ..IMPATIENCE_US => Urgency::High,
            _ => Urgency::Now,
        };
        let changed = if grows {
            self.voice.queue.grow(most.max(self.voice.queue.max_change() / 6), urgency)
        } else {
            // What has come already and is not due yet.
            let frame = self.frame();
            let wanted = frame + self.voice.queue.max_change();
            while self.voice.queue.len() < wanted && self.jitter.first().is_some_and(|p| p.timestamp <= self.next) {
                self.decode_first();
            }
            self.voice.queue.shrink(most, frame, urgency)
        };
        if changed == most {
            self.wants_since = None;
        }
        self.pause_until = tick + PAUSE_US;
    }
}
