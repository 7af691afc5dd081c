//! One encode for everybody who hears the same: shared encoders by profile, and the spare encoders that talkers borrow.
//! Runs on the worker's thread; knows nothing of legs, levels or who talks.

use crate::audio::bus::Buses;
use crate::audio::codec::g711::Law;
use crate::audio::codec::opus::{OpusEncoder, OpusSettings};
use crate::audio::frame::Frame;
use crate::audio::limit::Limiter;
use crate::command::AudioSpec;
use crate::units::{Bitrate, SampleRate};

/// Loss that an FEC encode is tuned for. One value, so that every leg that reports loss shares one encode; libopus
/// spends about a fifth of the rate on redundancy at 10 %.
const FEC_LOSS_PERCENT: u8 = 10;
/// One 20 ms packet: 160 kbit/s, more than any setting allows. Tells libopus where to stop.
const MAX_PACKET_BYTES: usize = 400;
/// Frames without prediction after somebody switched to a shared stream whose history its decoder does not have.
const UNPREDICTED_FRAMES: u8 = 2;
/// Rates below the room's that a receiver's `maxaveragebitrate` is rounded down to; classes, so that encodes are shared.
const LOWER_CLASSES: [Bitrate; 6] =
    [Bitrate::kbps(48), Bitrate::kbps(32), Bitrate::kbps(24), Bitrate::kbps(16), Bitrate::kbps(12), Bitrate::kbps(6)];
/// A lossy link gets no more than this: only the modes that libopus uses below 72 kbit/s carry FEC well, they cost four
/// times the encode of those above, and loss is mostly congestion.
const FEC_BITRATE: Bitrate = Bitrate::kbps(48);

/// What makes two listeners' packets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// G.711: stateless, one encode serves all.
    G711(Law),
    /// Opus with these settings.
    Opus(OpusProfile),
}

/// What distinguishes two Opus encodes of one mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpusProfile {
    pub bitrate: Bitrate,
    pub fec: bool,
    pub dtx: bool,
}

impl OpusProfile {
    /// The profile of a receiver in a room of this rate.
    pub(super) fn new(room: Bitrate, receiver_max: Option<Bitrate>, fec: bool, dtx: bool) -> Self {
        let room = if fec { room.min(FEC_BITRATE) } else { room };
        let bitrate = match receiver_max {
            Some(max) if max < room => {
                let lowest = Bitrate::kbps(6);
                LOWER_CLASSES.into_iter().find(|class| *class <= max && *class <= room).unwrap_or(lowest)
            }
            _ => room,
        };
        Self { bitrate, fec, dtx }
    }

    fn settings(self, spec: &AudioSpec) -> OpusSettings {
        OpusSettings {
            bitrate: self.bitrate,
            complexity: spec.opus_complexity,
            expected_loss_percent: if self.fec { FEC_LOSS_PERCENT } else { 0 },
            fec: self.fec,
            dtx: self.dtx,
        }
    }
}

impl Profile {
    /// The rate of the mix that is encoded.
    pub(super) const fn rate(self) -> SampleRate {
        match self {
            Self::G711(_) => SampleRate::Hz8000,
            Self::Opus(_) => SampleRate::Hz48000,
        }
    }
}

/// One frame's payload. `Dtx` means that nothing is to be sent in this tick.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'a> {
    Bytes(&'a [u8]),
    Dtx,
}

/// A buffer that holds one encoded frame.
#[derive(Clone)]
pub(super) struct Packet {
    bytes: [u8; MAX_PACKET_BYTES],
    len: usize,
}

impl Packet {
    const fn empty() -> Self {
        Self { bytes: [0; MAX_PACKET_BYTES], len: 0 }
    }
    pub(super) fn payload(&self) -> Payload<'_> {
        match self.bytes.get(..self.len) {
            Some(bytes) if !bytes.is_empty() => Payload::Bytes(bytes),
            _ => Payload::Dtx,
        }
    }
}

impl Default for Packet {
    fn default() -> Self {
        Self::empty()
    }
}

/// Encodes `frame` by `law` into `out`.
pub(super) fn encode_g711(law: Law, frame: &Frame, out: &mut Packet) {
    law.encode(frame.samples(), &mut out.bytes);
    out.len = frame.samples().len();
}

/// Encodes `frame` into `out`; a packet of one or two bytes is DTX and is not sent (RFC 7587 §3.1.3).
fn encode_opus(encoder: &mut OpusEncoder, dtx: bool, frame: &Frame, out: &mut Packet) {
    let len = encoder.encode(frame.samples(), &mut out.bytes).expect("BUG: a frame of 960 samples always encodes");
    out.len = if dtx && len <= 2 { 0 } else { len };
}

fn new_encoder(profile: OpusProfile, spec: &AudioSpec) -> OpusEncoder {
    OpusEncoder::new(profile.settings(spec)).expect("BUG: the settings of a room are within what libopus takes")
}

/// An encoder of a leg's own, with the limiter of the mix it hears.
pub(super) struct PrivateEncoder {
    encoder: OpusEncoder,
    profile: OpusProfile,
    limiter: Limiter,
    packet: Packet,
    unpredicted: u8,
}

impl PrivateEncoder {
    fn new(profile: OpusProfile, spec: &AudioSpec) -> Self {
        Self {
            encoder: new_encoder(profile, spec),
            profile,
            limiter: Limiter::default(),
            packet: Packet::empty(),
            unpredicted: 0,
        }
    }

    /// Limits and encodes what this leg hears.
    pub(super) fn encode(&mut self, heard: &[i32], scratch: &mut Frame) -> Payload<'_> {
        self.limiter.process(heard, scratch);
        self.encoder.set_prediction_disabled(self.unpredicted > 0);
        self.unpredicted = self.unpredicted.saturating_sub(1);
        encode_opus(&mut self.encoder, self.profile.dtx, scratch, &mut self.packet);
        self.packet.payload()
    }

    /// Settings follow what the receiver reports, without losing the history.
    pub(super) fn follow(&mut self, profile: OpusProfile, spec: &AudioSpec) {
        if profile != self.profile {
            self.encoder.set(profile.settings(spec));
            self.profile = profile;
        }
    }
}

struct Shared {
    profile: Profile,
    /// Only for Opus.
    encoder: Option<OpusEncoder>,
    limiter: Limiter,
    packet: Packet,
    wanted: bool,
    unpredicted: u8,
}

/// The shared encodes of one room and its spare private encoders.
pub(super) struct Encodes {
    spec: AudioSpec,
    shared: Vec<Shared>,
    #[expect(
        clippy::vec_box,
        reason = "lent and taken back by pointer: a private encoder is 1 KB and moves twice a turn"
    )]
    spare: Vec<Box<PrivateEncoder>>,
    frame: [Frame; 3],
}

/// Index of a shared encode; stays valid while the room lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SharedKey(usize);

impl Encodes {
    pub(super) fn new(spec: AudioSpec) -> Self {
        Self { spec, shared: Vec::new(), spare: Vec::new(), frame: SampleRate::ALL.map(Frame::silence) }
    }

    pub(super) const fn spec(&self) -> &AudioSpec {
        &self.spec
    }

    /// The shared encode of this profile. Allocates the first time a profile is seen. A new Opus encoder takes over the
    /// history of one that already encodes the same mix.
    pub(super) fn shared(&mut self, profile: Profile) -> SharedKey {
        if let Some(i) = self.shared.iter().position(|s| s.profile == profile) {
            return SharedKey(i);
        }
        let encoder = match profile {
            Profile::G711(_) => None,
            Profile::Opus(p) => {
                let mut encoder = new_encoder(p, &self.spec);
                if let Some(other) = self.shared.iter().find_map(|s| s.encoder.as_ref()) {
                    encoder.copy_state_from(other);
                    encoder.set(p.settings(&self.spec));
                }
                Some(encoder)
            }
        };
        self.shared.push(Shared {
            profile,
            encoder,
            limiter: Limiter::default(),
            packet: Packet::empty(),
            wanted: false,
            unpredicted: 0,
        });
        SharedKey(self.shared.len() - 1)
    }

    /// Keeps `n` private encoders in hand, counting those that are lent. Allocates; called when legs join or leave.
    pub(super) fn reserve_private(&mut self, n: usize, lent: usize) {
        let profile = OpusProfile { bitrate: self.spec.opus_bitrate, fec: false, dtx: false };
        let spare = n.saturating_sub(lent);
        self.spare.truncate(spare);
        // Room for those that come back, so that `give_back` never allocates.
        self.spare.reserve(n);
        while self.spare.len() < spare {
            self.spare.push(Box::new(PrivateEncoder::new(profile, &self.spec)));
        }
    }

    /// A listener becomes a talker, or is played to: its private encoder starts with the history that its decoder already
    /// has, unless that is `astray` and heard something else last.
    pub(super) fn lend(&mut self, heard: SharedKey, astray: bool) -> Option<Box<PrivateEncoder>> {
        let mut private = self.spare.pop()?;
        private.unpredicted = if astray { UNPREDICTED_FRAMES } else { 0 };
        if let Some(Shared { profile: Profile::Opus(profile), encoder: Some(encoder), limiter, .. }) =
            self.shared.get(heard.0)
        {
            private.encoder.copy_state_from(encoder);
            private.profile = *profile;
            private.limiter = limiter.clone();
        }
        Some(private)
    }

    /// A talker listens again: from the next frame on it gets the shared stream, which its decoder has no history of.
    pub(super) fn give_back(&mut self, private: Box<PrivateEncoder>, hears: SharedKey) {
        self.spare.push(private);
        self.join_stream(hears);
    }

    /// A listener switched to this stream: its decoder has no history of it.
    pub(super) fn join_stream(&mut self, hears: SharedKey) {
        if let Some(shared) = self.shared.get_mut(hears.0) {
            shared.unpredicted = UNPREDICTED_FRAMES;
        }
    }

    /// The limiter of this mix, for who hears nearly the same from now on.
    pub(super) fn limiter(&self, key: SharedKey) -> Limiter {
        self.shared.get(key.0).map_or_else(Limiter::default, |shared| shared.limiter.clone())
    }

    /// Takes a private encoder back from a leg that is gone.
    pub(super) fn retire(&mut self, private: Box<PrivateEncoder>) {
        self.spare.push(private);
    }

    /// Somebody hears this one in this tick.
    pub(super) fn want(&mut self, key: SharedKey) {
        if let Some(shared) = self.shared.get_mut(key.0) {
            shared.wanted = true;
        }
    }

    /// Encodes every wanted shared mix, once.
    pub(super) fn run(&mut self, buses: &Buses) {
        for shared in &mut self.shared {
            if !std::mem::take(&mut shared.wanted) {
                shared.packet.len = 0;
                continue;
            }
            let rate = shared.profile.rate();
            let frame = &mut self.frame[rate.index()];
            shared.limiter.process(buses.full(rate), frame);
            match (shared.profile, &mut shared.encoder) {
                (Profile::G711(law), _) => encode_g711(law, frame, &mut shared.packet),
                (Profile::Opus(profile), Some(encoder)) => {
                    encoder.set_prediction_disabled(shared.unpredicted > 0);
                    shared.unpredicted = shared.unpredicted.saturating_sub(1);
                    encode_opus(encoder, profile.dtx, frame, &mut shared.packet);
                }
                (Profile::Opus(_), None) => {}
            }
        }
    }

    /// The packet of this tick; DTX when it was not wanted.
    pub(super) fn payload(&self, key: SharedKey) -> Payload<'_> {
        self.shared.get(key.0).map_or(Payload::Dtx, |s| s.packet.payload())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_limit_is_rounded_down_to_a_shared_class() {
        let room = Bitrate::kbps(72);
        let class = |max: Option<u32>| OpusProfile::new(room, max.map(Bitrate::bps), false, false).bitrate;
        assert_eq!(class(None), room);
        assert_eq!(class(Some(510_000)), room);
        assert_eq!(class(Some(72_000)), room);
        assert_eq!(class(Some(71_999)), Bitrate::kbps(48));
        assert_eq!(class(Some(20_000)), Bitrate::kbps(16));
        assert_eq!(class(Some(500)), Bitrate::kbps(6));
        assert_eq!(OpusProfile::new(room, None, true, false).bitrate, FEC_BITRATE);
    }
}
