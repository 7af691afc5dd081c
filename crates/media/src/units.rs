//! Quantities and identifiers that the whole crate speaks in. Pure values: no thread, no clock.

use std::fmt;
use std::time::Duration;

/// Length of one step of a room. Every frame of audio in the engine is this long.
pub const TICK: Duration = Duration::from_millis(20);

/// A room on the media side; chosen by control, unique while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

/// One participant's media session; chosen by control, unique while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// One recording (a start/stop pair); chosen by control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordingId(pub u64);

/// Something that is played to callers; chosen by control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaybackId(pub u64);

/// Counter of 20 ms steps since a worker started. Skipped steps count too, so `tick × 20 ms` is wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// Synchronisation source of an RTP stream (RFC 3550 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A bit rate. Stored in bit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bitrate(u32);

impl Bitrate {
    /// From kbit/s.
    pub const fn kbps(kbps: u32) -> Self {
        Self(kbps * 1000)
    }
    /// From bit/s.
    pub const fn bps(bps: u32) -> Self {
        Self(bps)
    }
    /// In bit/s.
    pub const fn as_bps(self) -> u32 {
        self.0
    }
}

/// The size of a room's picture in pixels: both sides even and between 16 and 1920.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    width: u16,
    height: u16,
}

impl Resolution {
    /// `None` when a side is odd or out of bounds.
    pub const fn new(width_px: u32, height_px: u32) -> Option<Self> {
        const fn fits(side: u32) -> bool {
            side >= 16 && side <= 1920 && side.is_multiple_of(2)
        }
        if fits(width_px) && fits(height_px) {
            Some(Self { width: width_px as u16, height: height_px as u16 })
        } else {
            None
        }
    }
    /// In pixels.
    pub const fn width(self) -> usize {
        self.width as usize
    }
    /// In pixels.
    pub const fn height(self) -> usize {
        self.height as usize
    }
    /// The lower rendition: half the sides, even.
    pub const fn half(self) -> Self {
        const fn half(side: u16) -> u16 {
            let half = (side / 2) & !1;
            if half < 16 { 16 } else { half }
        }
        Self { width: half(self.width), height: half(self.height) }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Pictures a second, 1–60.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameRate(u8);

impl FrameRate {
    /// Clamped to 1–60.
    pub const fn per_second(pictures: u32) -> Self {
        match pictures {
            0 => Self(1),
            1..=60 => Self(pictures as u8),
            _ => Self(60),
        }
    }
    /// Pictures a second.
    pub const fn pictures(self) -> u32 {
        self.0 as u32
    }
    /// When picture `n` is due, from the first one on: exact in the long run, whatever the rate.
    pub const fn due(self, n: u64) -> Duration {
        let per_second = self.0 as u64;
        Duration::new(n / per_second, (n % per_second * 1_000_000_000 / per_second) as u32)
    }
}

/// The native rates of the codecs; each has a bus of its own in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SampleRate {
    /// 8 kHz: G.711.
    Hz8000,
    /// 16 kHz: G.722.
    Hz16000,
    /// 48 kHz: Opus.
    Hz48000,
}

impl SampleRate {
    /// Every rate, lowest first; the order of `index`.
    pub const ALL: [Self; 3] = [Self::Hz8000, Self::Hz16000, Self::Hz48000];
    /// In Hz.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz48000 => 48_000,
        }
    }
    /// Samples in one 20 ms frame.
    pub const fn frame_samples(self) -> usize {
        self.hz() as usize / 50
    }
    /// Position in `ALL`.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A linear gain, bounded to −60…+20 dB so that no command can destroy the mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain(f32);

impl Gain {
    /// No change.
    pub const UNITY: Self = Self(1.0);
    /// From decibels, clamped to −60…+20 dB.
    pub fn db(db: f32) -> Self {
        Self(10f32.powf(db.clamp(-60.0, 20.0) / 20.0))
    }
    /// The factor on amplitude.
    pub const fn factor(self) -> f32 {
        self.0
    }
}
