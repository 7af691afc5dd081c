//! Identifiers: 64-bit snowflakes inside, base64 of their decimal on the wire (api.md section 1). Pure but for the clock
//! that a new id takes its time from; any thread.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// 2025-01-01T00:00:00Z in ms since 1970: late enough that ids keep 18 digits, and so no base64 padding, until 2032.
const EPOCH_MS: u64 = 1_735_689_600_000;
/// Below the milliseconds: 10 bits of node, 12 bits of sequence.
const TIME_SHIFT: u32 = 22;
const SEQUENCE_LIMIT: u64 = 1 << 12;
/// No id is longer on the wire: base64 of 19 digits.
const MAX_WIRE_LENGTH: usize = 28;

/// The id of a server, room, participant, recording or token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(i64);

impl Id {
    /// From the number.
    pub const fn from_raw(raw: i64) -> Self {
        Self(raw)
    }

    /// The number.
    pub const fn raw(self) -> i64 {
        self.0
    }

    /// From its wire form. `None` for anything that `Display` would not have written.
    pub fn parse(wire: &str) -> Option<Self> {
        if wire.len() > MAX_WIRE_LENGTH {
            return None;
        }
        let decimal = String::from_utf8(STANDARD.decode(wire).ok()?).ok()?;
        let id = Self(decimal.parse().ok().filter(|raw| *raw >= 0)?);
        (id.to_string() == wire).then_some(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.to_string()))
    }
}

impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Makes ids that grow: time, then sequence. Cheap to clone; clones never make the same id.
#[derive(Clone, Debug)]
pub struct Ids(Arc<Mutex<u64>>);

impl Ids {
    /// Whose next id is greater than `last`, even if the clock was set back since that was made.
    pub fn after(last: Option<Id>) -> Self {
        Self(Arc::new(Mutex::new(last.map_or(0, |id| u64::try_from(id.0).unwrap_or(0)))))
    }

    /// A new one.
    pub fn next(&self) -> Id {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(0).saturating_sub(EPOCH_MS);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Self::following(*last, now_ms);
        Id(i64::try_from(*last).unwrap_or(i64::MAX))
    }

    fn following(last: u64, now_ms: u64) -> u64 {
        let fresh = now_ms << TIME_SHIFT;
        if fresh > last {
            return fresh;
        }
        // The sequence of this millisecond, or of a later one that was borrowed from.
        let sequence = last & (SEQUENCE_LIMIT - 1);
        if sequence + 1 < SEQUENCE_LIMIT { last + 1 } else { ((last >> TIME_SHIFT) + 1) << TIME_SHIFT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_example_is_read_and_written() {
        let id = Id::parse("NzAwNTUxOTA5NzczMTQ4MTYw").unwrap();
        assert_eq!(id.raw(), 700_551_909_773_148_160);
        assert_eq!(id.to_string(), "NzAwNTUxOTA5NzczMTQ4MTYw");
    }

    #[test]
    fn what_was_not_written_here_is_no_id() {
        let encode = |text: &str| STANDARD.encode(text);
        for wire in [
            "",
            "x",
            "====",
            "NzAw NTUx",
            &encode("-5"),
            &encode("+5"),
            &encode("007"),
            &encode("12x"),
            &encode("99999999999999999999"),
            &"N".repeat(4000),
        ] {
            assert_eq!(Id::parse(wire), None, "{wire}");
        }
    }

    #[test]
    fn ids_grow_when_the_clock_stands_still_or_runs_back() {
        let mut last = 0;
        for _ in 0..10_000 {
            let next = Ids::following(last, 5);
            assert!(next > last);
            last = next;
        }
        assert_eq!(last >> TIME_SHIFT, 5 + 10_000 / SEQUENCE_LIMIT);
        assert!(Ids::following(last, 1) > last);
    }

    #[test]
    fn restart_with_an_earlier_clock_does_not_repeat_ids() {
        let last = Id::from_raw(i64::MAX / 2);
        assert!(Ids::after(Some(last)).next() > last);
    }
}
