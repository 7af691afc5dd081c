//! A bad network, seeded: loss, bursts of loss, delay, jitter, reordering, duplication, stalls. Sans-I/O: datagrams go
//! in with the time they were sent, and come out when they are due, so it serves a virtual clock as well as a real one.
//! Drift is not a matter of the network: see `drift_ppm` of the RTP peer, and [`drifted`].

use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// A small seeded generator (PCG-XSH-RR 64/32, O'Neill 2014): the same on every machine, and no dependency.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The same seed gives the same sequence for ever.
    pub fn new(seed: u64) -> Self {
        let mut rng = Self { state: seed.wrapping_add(0xda3e_39cb_94b9_5bdb) };
        rng.next_u32();
        rng
    }
    /// Uniform 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.state = old.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let xored = (((old >> 18) ^ old) >> 27) as u32;
        xored.rotate_right((old >> 59) as u32)
    }
    /// Uniform in 0.0..1.0.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }
    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

/// What the network does. The default does nothing.
#[derive(Clone, Debug, Default)]
pub struct Impairment {
    /// Each datagram is lost with this probability.
    pub loss: f64,
    /// A datagram starts a burst of loss with this probability …
    pub burst_start: f64,
    /// … of this many datagrams.
    pub burst_len: u32,
    /// Constant delay.
    pub delay: Duration,
    /// Additional delay, uniform from zero to this. Order is kept unless `reorder` says otherwise.
    pub jitter: Duration,
    /// A datagram is held back by `reorder_by` with this probability, so that later ones overtake it.
    pub reorder: f64,
    /// How long.
    pub reorder_by: Duration,
    /// Each datagram comes twice with this probability.
    pub duplicate: f64,
}

/// Datagrams under way, in the order they come out.
#[derive(Debug)]
pub struct Netem {
    impairment: Impairment,
    rng: Rng,
    burst_left: u32,
    stall: Option<(Instant, Instant)>,
    queue: BinaryHeap<Due>,
    pushed: u64,
    last_due: Option<Instant>,
    lost: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: Instant,
    order: u64,
    datagram: Vec<u8>,
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Reversed: the heap's greatest is the one due first.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Netem {
    /// A network with this seed.
    pub fn new(seed: u64, impairment: Impairment) -> Self {
        Self {
            impairment,
            rng: Rng::new(seed),
            burst_left: 0,
            stall: None,
            queue: BinaryHeap::new(),
            pushed: 0,
            last_due: None,
            lost: 0,
        }
    }

    /// Changes what it does from now on; what is under way stays so.
    pub fn set(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Everything due from `from` for `length` comes out at once at the end: a sender's stall and its backlog.
    pub fn stall(&mut self, from: Instant, length: Duration) {
        self.stall = Some((from, from + length));
    }

    /// A datagram was sent now.
    pub fn push(&mut self, now: Instant, datagram: &[u8]) {
        let imp = self.impairment.clone();
        if self.burst_left > 0 {
            self.burst_left -= 1;
            self.lost += 1;
            return;
        }
        if imp.burst_start > 0.0 && self.rng.chance(imp.burst_start) {
            self.burst_left = imp.burst_len.saturating_sub(1);
            self.lost += 1;
            return;
        }
        if imp.loss > 0.0 && self.rng.chance(imp.loss) {
            self.lost += 1;
            return;
        }
        let mut due = now + imp.delay;
        if !imp.jitter.is_zero() {
            due += imp.jitter.mul_f64(self.rng.unit());
        }
        if imp.reorder > 0.0 && self.rng.chance(imp.reorder) {
            due += imp.reorder_by;
        } else {
            due = self.last_due.map_or(due, |last| due.max(last));
            self.last_due = Some(due);
        }
        if let Some((from, until)) = self.stall
            && due >= from
            && due < until
        {
            due = until;
        }
        let copies = if imp.duplicate > 0.0 && self.rng.chance(imp.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            self.queue.push(Due { at: due, order: self.pushed, datagram: datagram.to_vec() });
            self.pushed += 1;
        }
    }

    /// The next datagram that has arrived by `now`; call until `None`.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.queue.peek()?.at > now {
            return None;
        }
        self.queue.pop().map(|due| due.datagram)
    }

    /// When the next one comes out.
    pub fn next_due(&self) -> Option<Instant> {
        self.queue.peek().map(|due| due.at)
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// When the `n`-th thing of a sender happens, whose period is `period` by its own clock and whose clock is `ppm` fast.
pub fn drifted(start: Instant, period: Duration, n: u64, ppm: f64) -> Instant {
    start + Duration::from_secs_f64(period.as_secs_f64() * n as f64 / (1.0 + ppm * 1e-6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;

    const MS20: Duration = Duration::from_millis(20);

    /// Sends `count` numbered datagrams 20 ms apart; gives (number, arrival in ms) in order of arrival.
    fn run(seed: u64, imp: Impairment, count: u32, stall: Option<(u64, u64)>) -> (Vec<(u32, u64)>, u64) {
        let mut clock = VirtualClock::new();
        let mut net = Netem::new(seed, imp);
        if let Some((from, len)) = stall {
            net.stall(clock.at(Duration::from_millis(from)), Duration::from_millis(len));
        }
        let mut out = Vec::new();
        for ms in 0..u64::from(count) * 20 + 1_000 {
            clock.advance_to(Duration::from_millis(ms));
            if ms % 20 == 0 && ms / 20 < u64::from(count) {
                net.push(clock.now(), &((ms / 20) as u32).to_be_bytes());
            }
            while let Some(d) = net.pop(clock.now()) {
                out.push((u32::from_be_bytes(d.try_into().unwrap()), ms));
            }
        }
        assert!(net.next_due().is_none());
        (out, net.lost())
    }

    #[test]
    fn clean_network_changes_nothing() {
        let (out, lost) = run(1, Impairment::default(), 100, None);
        assert_eq!(lost, 0);
        assert!(out.iter().enumerate().all(|(i, &(n, ms))| n as usize == i && ms == u64::from(n) * 20));
    }

    #[test]
    fn loss_is_near_its_rate_and_the_same_for_the_same_seed() {
        let imp = Impairment { loss: 0.1, ..Default::default() };
        let (a, lost) = run(7, imp.clone(), 5_000, None);
        assert!((400..600).contains(&lost), "{lost}");
        assert_eq!(a, run(7, imp.clone(), 5_000, None).0);
        assert_ne!(a, run(8, imp, 5_000, None).0);
    }

    #[test]
    fn burst_takes_neighbours() {
        let imp = Impairment { burst_start: 0.01, burst_len: 5, ..Default::default() };
        let (out, lost) = run(3, imp, 2_000, None);
        let gaps: Vec<u32> = out.windows(2).map(|w| w[1].0 - w[0].0 - 1).filter(|&g| g > 0).collect();
        assert!(lost >= 50 && gaps.iter().all(|g| g % 5 == 0), "{gaps:?}");
    }

    #[test]
    fn jitter_keeps_order_and_reorder_breaks_it() {
        let jitter = Impairment { jitter: Duration::from_millis(60), ..Default::default() };
        let (out, _) = run(4, jitter, 500, None);
        assert!(out.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(out.iter().any(|&(n, ms)| ms > u64::from(n) * 20 + 30));
        let reorder = Impairment { reorder: 0.1, reorder_by: Duration::from_millis(50), ..Default::default() };
        assert!(run(4, reorder, 500, None).0.windows(2).any(|w| w[0].0 > w[1].0));
    }

    #[test]
    fn stall_ends_in_a_burst() {
        let (out, lost) = run(1, Impairment::default(), 200, Some((1_000, 2_000)));
        assert_eq!(lost, 0);
        assert_eq!(out.iter().filter(|&&(_, ms)| ms == 3_000).count(), 101);
        assert!(!out.iter().any(|&(_, ms)| (1_000..3_000).contains(&ms)));
    }

    #[test]
    fn fast_sender_gains_a_period_in_its_time() {
        let start = Instant::now();
        // 500 ppm of 40 s is 20 ms.
        let late = drifted(start, MS20, 2_001, 500.0) - start;
        assert!(late.abs_diff(Duration::from_secs(40)) < Duration::from_micros(20), "{late:?}");
    }
}
