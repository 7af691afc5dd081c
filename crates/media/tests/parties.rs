//! Parties in a simulated room: each sends a sound of its own and keeps what it hears. Virtual clock, no sockets.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::time::{Duration, Instant};

use media::simulated::SimulatedRoom;
use media::{AudioSpec, Bitrate, CodecName, Event, LegId, LegSettings, RoomSpec};
use testkit::{g711, tone};

pub(crate) const CODECS: [CodecName; 3] = [CodecName::Pcmu, CodecName::Pcma, CodecName::Opus];

pub(crate) fn spec(max_talkers: usize) -> RoomSpec {
    RoomSpec { audio: AudioSpec { max_talkers, opus_bitrate: Bitrate::kbps(96), opus_complexity: 5 }, video: None }
}

pub(crate) fn offer(codec: CodecName) -> String {
    let (pt, map) = match codec {
        CodecName::Pcmu => (0, "PCMU/8000"),
        CodecName::Pcma => (8, "PCMA/8000"),
        CodecName::Opus => (111, "opus/48000/2"),
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {pt} 101\r\n\
         a=rtpmap:{pt} {map}\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    )
}

/// One far end.
pub(crate) struct Party {
    pub(crate) leg: LegId,
    pub(crate) codec: CodecName,
    pub(crate) rate: u32,
    pcm: Vec<i16>,
    at: usize,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    encoder: Option<opus::Encoder>,
    decoder: Option<opus::Decoder>,
    /// Everything heard so far, decoded.
    pub(crate) heard: Vec<i16>,
    /// The payload of the last packet heard.
    pub(crate) last_payload: Vec<u8>,
    pub(crate) packets: u64,
    pub(crate) sequence: Option<(u16, u32)>,
    /// Its packets tell how loud they are (RFC 6464), by extension 1.
    pub(crate) states_level: bool,
}

impl Party {
    /// Speaks `pcm` (at its codec's rate) in a loop.
    pub(crate) fn new(leg: LegId, codec: CodecName, pcm: Vec<i16>) -> Self {
        let opus = codec == CodecName::Opus;
        let encoder = opus.then(|| {
            let mut e = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
            e.set_bitrate(opus::Bitrate::Bits(64_000)).unwrap();
            e
        });
        Self {
            leg,
            codec,
            rate: if opus { 48_000 } else { 8_000 },
            pcm,
            at: 0,
            seq: (leg.0 as u16).wrapping_mul(1000).wrapping_sub(20),
            timestamp: (leg.0 as u32).wrapping_mul(77_777).wrapping_sub(500),
            encoder,
            decoder: opus.then(|| opus::Decoder::new(48_000, opus::Channels::Mono).unwrap()),
            heard: Vec::new(),
            last_payload: Vec::new(),
            packets: 0,
            sequence: None,
            states_level: false,
        }
    }

    pub(crate) fn frame_samples(&self) -> usize {
        self.rate as usize / 50
    }

    /// The next 20 ms as an RTP packet.
    pub(crate) fn speak(&mut self) -> Vec<u8> {
        let n = self.frame_samples();
        let frame: Vec<i16> = (0..n).map(|i| self.pcm[(self.at + i) % self.pcm.len()]).collect();
        self.at += n;
        let payload = match (self.codec, &mut self.encoder) {
            (CodecName::Pcmu, _) => frame.iter().map(|s| g711::ulaw_encode(*s)).collect(),
            (CodecName::Pcma, _) => frame.iter().map(|s| g711::alaw_encode(*s)).collect(),
            (CodecName::Opus, Some(encoder)) => encoder.encode_vec(&frame, 1275).unwrap(),
            (CodecName::Opus, None) => panic!("an Opus party has an encoder"),
        };
        let pt = match self.codec {
            CodecName::Pcmu => 0,
            CodecName::Pcma => 8,
            CodecName::Opus => 111,
        };
        let mut packet = rtp(pt, self.seq, self.timestamp, 0x1234_0000 + self.leg.0 as u32, &payload);
        if self.states_level {
            let level = (-tone::rms_db(&frame)).clamp(0.0, 127.0) as u8;
            packet[0] |= 0x10;
            packet.splice(12..12, [0xBE, 0xDE, 0, 1, 0x10, level, 0, 0]);
        }
        self.seq = self.seq.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(n as u32);
        packet
    }

    /// A packet from the room.
    pub(crate) fn hear(&mut self, packet: &[u8]) {
        let payload = &packet[12..];
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        let ts = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        if let Some((last, last_ts)) = self.sequence {
            assert_eq!(seq, last.wrapping_add(1), "sequence numbers are continuous");
            assert_eq!(ts, last_ts.wrapping_add(self.frame_samples() as u32), "timestamps are continuous");
        }
        self.sequence = Some((seq, ts));
        self.packets += 1;
        self.last_payload = payload.to_vec();
        match (self.codec, &mut self.decoder) {
            (CodecName::Pcmu, _) => self.heard.extend(payload.iter().map(|b| g711::ulaw_decode(*b))),
            (CodecName::Pcma, _) => self.heard.extend(payload.iter().map(|b| g711::alaw_decode(*b))),
            (_, Some(decoder)) => {
                let mut pcm = [0; 5760];
                let n = decoder.decode(payload, &mut pcm, false).expect("a valid Opus packet");
                self.heard.extend_from_slice(&pcm[..n]);
            }
            (CodecName::Opus, None) => panic!("an Opus party has a decoder"),
        }
    }

    /// The last `seconds` heard.
    pub(crate) fn last(&self, seconds: f64) -> &[i16] {
        let n = (seconds * f64::from(self.rate)) as usize;
        &self.heard[self.heard.len().saturating_sub(n)..]
    }
}

pub(crate) fn rtp(pt: u8, seq: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, pt];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A room and its parties.
pub(crate) struct Call {
    pub(crate) room: SimulatedRoom,
    pub(crate) parties: Vec<Party>,
    pub(crate) events: Vec<Event>,
    pub(crate) ticks: u64,
    /// Arrival of each packet before its tick.
    pub(crate) lead: Duration,
}

impl Call {
    pub(crate) fn new(max_talkers: usize) -> Self {
        Self::of(spec(max_talkers))
    }

    pub(crate) fn of(spec: RoomSpec) -> Self {
        Self {
            room: SimulatedRoom::new(spec, Instant::now()),
            parties: Vec::new(),
            events: Vec::new(),
            ticks: 0,
            lead: Duration::from_millis(7),
        }
    }

    pub(crate) fn join(&mut self, codec: CodecName, hz: f64, db: f64) -> usize {
        let (leg, answer) = self.room.join(&offer(codec), &CODECS, LegSettings::default()).unwrap();
        assert_eq!(answer.codec, codec);
        let rate = if codec == CodecName::Opus { 48_000 } else { 8_000 };
        self.parties.push(Party::new(leg, codec, tone::sine(rate, hz, db, rate as usize)));
        self.parties.len() - 1
    }

    /// `n` ticks with a perfect network.
    pub(crate) fn run(&mut self, n: u64) {
        self.run_with(n, |_, _, _| true);
    }

    /// `n` ticks; `passes(tick, party, now)` says whether that packet reaches the room.
    pub(crate) fn run_with(&mut self, n: u64, mut passes: impl FnMut(u64, usize, Duration) -> bool) {
        for _ in 0..n {
            self.ticks += 1;
            let arrived = Duration::from_millis(20) * self.ticks as u32 - self.lead;
            for (i, party) in self.parties.iter_mut().enumerate() {
                let packet = party.speak();
                if passes(self.ticks, i, arrived) {
                    self.room.deliver(party.leg, arrived, &packet);
                }
            }
            self.tick();
        }
    }

    /// One tick without sending.
    pub(crate) fn tick(&mut self) {
        let Self { room, parties, events, .. } = self;
        room.tick(
            &mut |leg, packet| {
                if let Some(party) = parties.iter_mut().find(|p| p.leg == leg) {
                    party.hear(packet);
                }
            },
            &mut |event| events.push(event),
        );
    }
}
