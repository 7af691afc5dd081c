//! How late packets come: the fastest transit of late, and how far above it nearly all others stay. Runs on the
//! worker's thread; knows nothing of what is in the packets. All times are µs of one fixed origin.

/// The fastest transit is looked for in the present and the previous span of this length, so drift and a changed
/// route are followed within two of them.
const SPAN_US: i64 = 2_000_000;
/// Bins of 1 ms; the last one takes all that is later.
const BINS: usize = 256;
/// Share of the packets that shall not be late.
const SHARE: f32 = 0.99;
/// What a packet's vote keeps with each later one: half is forgotten after 140 packets (2.8 s at 20 ms).
const KEEP: f32 = 0.995;
/// Packets that come so soon after another were held up together: one event, one vote.
const TOGETHER_US: i64 = 3_000;
/// The percentile is looked up again after this many votes.
const REFRESH: u8 = 8;

/// Transit is arrival less RTP timestamp: only differences of it mean anything.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    present: Option<i64>,
    previous: Option<i64>,
    span_ends: i64,
    /// Instead of fading all old votes, each new vote weighs more.
    votes: Box<[f32; BINS]>,
    weight: f32,
    total: f32,
    stale: u8,
    last_at: i64,
    /// Bins by which the fastest transit rose last: if it falls again, so much is taken back.
    rose: i64,
    spread_us: i64,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self {
            present: None,
            previous: None,
            span_ends: 0,
            votes: Box::new([0.0; BINS]),
            weight: 1.0,
            total: 0.0,
            stale: 0,
            last_at: i64::MIN / 2,
            rose: 0,
            spread_us: 0,
        }
    }

    /// The fastest transit of late; `None` before the first packet.
    pub(crate) fn fastest_us(&self) -> Option<i64> {
        match (self.present, self.previous) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// How much longer than the fastest nearly all packets need at most.
    pub(crate) const fn spread_us(&self) -> i64 {
        self.spread_us
    }

    /// Transits so far have nothing in common with those to come. What is known of their spread stays.
    pub(crate) fn rebase(&mut self, transit_us: i64, at_us: i64) {
        self.present = Some(transit_us);
        self.previous = None;
        self.span_ends = at_us + SPAN_US;
        self.rose = 0;
    }

    /// One packet came.
    pub(crate) fn add(&mut self, transit_us: i64, at_us: i64) {
        let fastest_before = self.fastest_us().unwrap_or(transit_us);
        if at_us >= self.span_ends {
            self.previous = if at_us < self.span_ends + SPAN_US { self.present } else { None };
            self.present = Some(transit_us);
            self.span_ends = at_us + SPAN_US;
        }
        self.present = Some(self.present.map_or(transit_us, |p| p.min(transit_us)));
        let fastest = self.fastest_us().unwrap_or(transit_us);
        self.shift((fastest - fastest_before) / 1000);
        let above = transit_us - fastest;
        let together = (0..TOGETHER_US).contains(&(at_us - self.last_at));
        self.last_at = at_us;
        if together {
            return;
        }
        let bin = usize::try_from(above / 1000).unwrap_or(0).min(BINS - 1);
        self.weight /= KEEP;
        self.votes[bin] += self.weight;
        self.total += self.weight;
        if self.weight > 1e12 {
            let scale = 1.0 / self.weight;
            self.votes.iter_mut().for_each(|v| *v *= scale);
            self.total = self.votes.iter().sum();
            self.weight = 1.0;
        }
        self.stale += 1;
        if self.stale >= REFRESH || above > self.spread_us + 2000 {
            self.stale = 0;
            self.refresh();
        }
    }

    /// The votes are counted from the fastest transit, which has moved by so many bins. When it falls of itself, old
    /// votes stay: drift makes it fall all the time, and they would pile up far above it.
    fn shift(&mut self, bins: i64) {
        let down = if bins < 0 { (-bins).min(self.rose) } else { 0 };
        if bins > 0 {
            self.rose = bins;
            let n = usize::try_from(bins).unwrap_or(BINS).min(BINS - 1);
            let into_first: f32 = self.votes[..n].iter().sum();
            self.votes.copy_within(n.., 0);
            self.votes[BINS - n..].fill(0.0);
            self.votes[0] += into_first;
            self.refresh();
        } else if down > 0 {
            self.rose -= down;
            let n = usize::try_from(down).unwrap_or(BINS).min(BINS - 1);
            let into_last: f32 = self.votes[BINS - n..].iter().sum();
            self.votes.copy_within(..BINS - n, n);
            self.votes[..n].fill(0.0);
            self.votes[BINS - 1] += into_last;
            self.refresh();
        }
    }

    fn refresh(&mut self) {
        let mut left = self.total * (1.0 - SHARE);
        let mut bin = BINS - 1;
        // From the late end, which is the short way when it matters (few bins hold anything).
        while bin > 0 {
            left -= self.votes[bin];
            if left < 0.0 {
                break;
            }
            bin -= 1;
        }
        // The first bin is what a quiet network does; the others count whole.
        self.spread_us = if bin == 0 { 0 } else { (bin as i64 + 1) * 1000 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_network_has_no_spread() {
        let mut arrivals = Arrivals::new();
        for i in 0..1000 {
            arrivals.add(5_000 + i % 7 * 100, i * 20_000);
        }
        assert_eq!(arrivals.fastest_us(), Some(5_000));
        assert_eq!(arrivals.spread_us(), 0);
    }

    #[test]
    fn the_spread_is_what_nearly_all_stay_below() {
        let mut arrivals = Arrivals::new();
        for i in 0..5000 {
            arrivals.add(i * 7919 % 50_000, i * 20_000);
        }
        assert!((48_000..=51_000).contains(&arrivals.spread_us()), "{}", arrivals.spread_us());
        for i in 5000..8000 {
            arrivals.add(0, i * 20_000);
        }
        assert_eq!(arrivals.spread_us(), 0);
    }

    #[test]
    fn a_slower_route_becomes_the_fastest_within_two_spans() {
        let mut arrivals = Arrivals::new();
        for i in 0..500 {
            arrivals.add(if i < 100 { 0 } else { 80_000 }, i * 20_000);
        }
        assert_eq!(arrivals.fastest_us(), Some(80_000));
    }
}
