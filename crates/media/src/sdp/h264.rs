//! What an H.264 format's parameters say (RFC 6184 §8.1): profile, level, packetization mode. Runs on the caller's
//! thread; arithmetic and text.

use super::video::DecodeLimits;
use crate::units::{Bitrate, FrameRate, Resolution};
use crate::video::level::{LEVELS, Level};

/// Constrained Baseline: what our encoder makes, and what nearly everyone names first.
const CONSTRAINED_BASELINE: [u8; 2] = [0x42, 0xe0];
/// Level 3.1, 1280×720 at 30 pictures a second: what we take whatever the room's size.
const LEAST_LEVEL: u8 = 31;
/// constraint_set3_flag, which makes level 1.1 into 1b.
const CONSTRAINT_SET3: u8 = 0x10;

/// profile_idc, profile-iop, level_idc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProfileLevel(pub(super) [u8; 3]);

impl ProfileLevel {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches('"');
        if text.len() != 6 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let [_, a, b, c] = u32::from_str_radix(text, 16).ok()?.to_be_bytes();
        Some(Self([a, b, c]))
    }

    /// What we can receive: the lowest level, from 3.1 on, that holds the picture.
    pub(super) fn ours(resolution: Resolution, framerate: FrameRate) -> Self {
        let usable = || LEVELS.iter().filter(|level| level.idc >= LEAST_LEVEL);
        let level = usable().find(|level| limits(level).takes(resolution, framerate)).or_else(|| usable().next_back());
        let [profile, flags] = CONSTRAINED_BASELINE;
        Self([profile, flags, level.map_or(LEAST_LEVEL, |level| level.idc)])
    }

    /// The profile that is agreed already, at our level: only the level may differ in a later offer (RFC 6184 §8.2.2).
    pub(super) fn at_level_of(self, ours: Self) -> Self {
        let ([profile, flags, _], [_, _, level]) = (self.0, ours.0);
        let flags = if self.is_1b() { flags & !CONSTRAINT_SET3 } else { flags };
        Self([profile, flags, level])
    }

    /// Baseline or Constrained Baseline by RFC 6184 Table 5: its streams can be decoded by who decodes these, and ours by
    /// it. The RFC allows no other profile in an answer than the one that was offered (§8.2.2), and a sender that was
    /// answered Main or High uses it; such a format is left alone.
    fn is_baseline(self) -> bool {
        let [profile, flags, _] = self.0;
        match profile {
            0x42 => true,
            0x4d => flags & 0x80 != 0,
            0x58 => flags & 0x80 != 0,
            _ => false,
        }
    }

    const fn is_1b(self) -> bool {
        let [profile, flags, level] = self.0;
        level == 9 || (level == 11 && flags & CONSTRAINT_SET3 != 0 && profile != 0x64)
    }

    /// The row of Table A-1; of levels that it does not have, the next one below.
    fn level(self) -> Option<&'static Level> {
        let [_, _, level] = self.0;
        let level = if self.is_1b() { 9 } else { level };
        LEVELS.iter().rev().find(|row| row.idc <= level)
    }

    /// As it is written.
    pub(super) fn text(self) -> String {
        let [profile, flags, level] = self.0;
        format!("{profile:02x}{flags:02x}{level:02x}")
    }
}

fn limits(level: &Level) -> DecodeLimits {
    DecodeLimits {
        max_macroblocks: level.macroblocks,
        max_macroblocks_per_s: level.macroblocks_per_s,
        max_framerate: None,
        max_bitrate: Some(Bitrate::kbps(level.kbps)),
    }
}

/// The parameters that bear on what we send and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct H264Parameters {
    /// `None` when not written.
    profile_level: Option<ProfileLevel>,
    /// 0 single NAL units, 1 also aggregated and fragmented ones.
    pub(super) packetization_mode: u8,
    /// Each side may send at the level that the other can take.
    pub(super) level_asymmetry: bool,
    pub(super) limits: DecodeLimits,
}

impl H264Parameters {
    /// Reads `name=value;…`. `None` when it is a format that cannot be: interleaved, of a profile that is not Baseline
    /// (unless `any_profile`), or of one that cannot be read. Numbers that are out of range count as not written.
    pub(super) fn parse(fmtp: &str, any_profile: bool) -> Option<Self> {
        let mut profile_level = None;
        let mut packetization_mode = 0;
        let mut level_asymmetry = false;
        let (mut max_fs, mut max_mbps, mut max_br_kbps) = (0, 0, 0);
        for parameter in fmtp.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let value = value.trim();
            let number = || value.parse::<u32>().ok().filter(|n| *n <= MAX_STATED).unwrap_or(0);
            match name.trim().to_ascii_lowercase().as_str() {
                "profile-level-id" => profile_level = Some(ProfileLevel::parse(value)?),
                "packetization-mode" => packetization_mode = value.parse().ok().filter(|mode| *mode < 2)?,
                "level-asymmetry-allowed" => level_asymmetry = value == "1",
                "max-fs" => max_fs = number(),
                "max-mbps" => max_mbps = number(),
                "max-br" => max_br_kbps = number(),
                _ => {}
            }
        }
        if profile_level.is_some_and(|p| !p.is_baseline() && !any_profile) {
            return None;
        }
        // Without a level, the RFC has QCIF inferred. Who leaves it out today is a program that decodes anything.
        let stated = profile_level.and_then(ProfileLevel::level);
        let presumed = || LEVELS.iter().find(|row| row.idc == LEAST_LEVEL);
        let mut limits = limits(stated.or_else(presumed)?);
        limits.max_macroblocks = limits.max_macroblocks.max(max_fs);
        limits.max_macroblocks_per_s = limits.max_macroblocks_per_s.max(max_mbps);
        limits.max_bitrate = limits.max_bitrate.max(Some(Bitrate::bps(max_br_kbps.saturating_mul(1000))));
        Some(Self { profile_level, packetization_mode, level_asymmetry, limits })
    }

    /// What we answer: the offered profile, with our own level as far as the offer lets us differ (RFC 6184 §8.2.2).
    pub(super) fn answered(&self, ours: ProfileLevel) -> ProfileLevel {
        let Some(offered) = self.profile_level else { return ours };
        let ([_, _, level], [_, _, our_level]) = (offered.0, ours.0);
        let holds = offered.is_1b() || level < our_level;
        // A level that means nothing is not repeated.
        if holds && !self.level_asymmetry && offered.level().is_some() {
            return offered;
        }
        offered.at_level_of(ours)
    }
}

/// Larger numbers than the highest level's are not meant.
const MAX_STATED: u32 = 16_711_680;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(fmtp: &str) -> Option<H264Parameters> {
        H264Parameters::parse(fmtp, false)
    }

    fn size(width: u32, height: u32) -> Resolution {
        Resolution::new(width, height).unwrap()
    }

    #[test]
    fn only_baseline_in_any_of_its_names_is_taken() {
        for (id, taken) in [
            ("42801F", true),
            ("42e01f", true),
            ("42001f", true),
            ("420014", true),
            ("4D801f", true),
            ("58c01f", true),
            ("\"42801f\"", true),
            ("4D001f", false),
            ("4d401f", false),
            ("58401f", false),
            ("64001f", false),
            ("640c16", false),
            ("f4001f", false),
            ("zzzzzz", false),
            ("4280", false),
            ("42801f00", false),
            ("+2801f", false),
            ("", false),
        ] {
            assert_eq!(parsed(&format!("profile-level-id={id}")).is_some(), taken, "{id}");
        }
        assert!(H264Parameters::parse("profile-level-id=64001f", true).is_some());
        assert!(H264Parameters::parse("profile-level-id=zz001f", true).is_none());
    }

    #[test]
    fn modes_above_one_and_nonsense_are_not_taken() {
        assert_eq!(parsed("packetization-mode=1").map(|p| p.packetization_mode), Some(1));
        assert_eq!(parsed(" Packetization-Mode = 0 ").map(|p| p.packetization_mode), Some(0));
        assert_eq!(parsed("").map(|p| p.packetization_mode), Some(0));
        for mode in ["2", "-1", "x", "", "99999999999999"] {
            assert_eq!(parsed(&format!("packetization-mode={mode}")), None, "{mode}");
        }
    }

    #[test]
    fn level_and_what_exceeds_it_limit_the_picture() {
        // fmtp, width, height, pictures a second, whether it takes that.
        for (fmtp, width, height, framerate, takes) in [
            ("profile-level-id=42801f", 1280, 720, 30, true),
            ("profile-level-id=42801f", 720, 1280, 30, true),
            ("profile-level-id=42801f", 1280, 720, 31, false),
            ("profile-level-id=42801f", 1920, 1080, 5, false),
            ("profile-level-id=42800d", 352, 288, 30, true),
            ("profile-level-id=42800d", 640, 360, 15, false),
            ("profile-level-id=42800d;max-fs=3600;max-mbps=108000", 1280, 720, 30, true),
            ("profile-level-id=42800d;max-fs=3600", 1280, 720, 15, false),
            ("profile-level-id=42801f;max-fs=99", 1280, 720, 30, true),
            ("profile-level-id=42801f;max-fs=99999999999;max-mbps=-1;max-br=x", 1920, 1080, 5, false),
            ("profile-level-id=428028", 1920, 1080, 30, true),
            ("profile-level-id=428023", 1280, 1024, 30, true),
            ("profile-level-id=42900b", 176, 144, 15, true),
            ("profile-level-id=42900b", 352, 288, 15, false),
            ("profile-level-id=42e0ff", 1920, 1920, 60, true),
            // 1.3 holds 396 macroblocks, but no side above 56 of them.
            ("profile-level-id=42800d", 912, 16, 30, false),
            ("profile-level-id=42800d", 896, 16, 30, true),
            ("", 1280, 720, 30, true),
            ("profile-level-id=42e000", 1280, 720, 30, true),
        ] {
            let limits = parsed(fmtp).unwrap().limits;
            assert_eq!(limits.takes(size(width, height), FrameRate::per_second(framerate)), takes, "{fmtp} {width}");
        }
        assert_eq!(parsed("profile-level-id=42900b").unwrap().limits.max_bitrate, Some(Bitrate::kbps(128)));
        assert_eq!(
            parsed("profile-level-id=42800d;max-br=1000").unwrap().limits.max_bitrate,
            Some(Bitrate::kbps(1000))
        );
    }

    #[test]
    fn our_level_holds_the_room_and_never_less_than_720p() {
        for (width, height, framerate, level) in
            [(144, 144, 15, 31), (1280, 720, 30, 31), (1280, 720, 60, 32), (1920, 1080, 30, 40), (1920, 1920, 60, 51)]
        {
            let ours = ProfileLevel::ours(size(width, height), FrameRate::per_second(framerate));
            assert_eq!(ours, ProfileLevel([0x42, 0xe0, level]), "{width}x{height}");
        }
    }

    #[test]
    fn answer_keeps_the_profile_and_differs_in_level_where_it_may() {
        let ours = ProfileLevel([0x42, 0xe0, 31]);
        for (fmtp, answered) in [
            ("", "42e01f"),
            ("profile-level-id=428016", "428016"),
            ("profile-level-id=428016;level-asymmetry-allowed=1", "42801f"),
            ("profile-level-id=428034", "42801f"),
            ("profile-level-id=42900b", "42900b"),
            ("profile-level-id=42900b;level-asymmetry-allowed=1", "42801f"),
            ("profile-level-id=42001f", "42001f"),
            ("profile-level-id=420000", "42001f"),
        ] {
            assert_eq!(parsed(fmtp).unwrap().answered(ours).text(), answered, "{fmtp}");
        }
    }
}
