//! A decoder with its concealment and the queue of what they make: samples that wait to be played. Runs on the worker's
//! thread; knows nothing of time.

use crate::audio::codec::opus::CONCEAL_UNIT;
use crate::audio::codec::{Decoder, MAX_PACKET_MS, PayloadFacts};
use crate::audio::conceal::Concealer;
use crate::audio::stretch::StretchQueue;
use crate::leg::jitter::Packet;
use crate::sdp::CodecName;

/// Opus conceals at most so much, 100 ms; the last two fifths are faded out.
const OPUS_CONCEALS: usize = 4800;
/// Where that fade begins.
const OPUS_FADES_FROM: usize = 2880;

/// One stream's way from payloads to samples.
#[derive(Debug)]
pub(super) struct Voice {
    decoder: Decoder,
    /// For G.711; Opus brings its own.
    concealer: Option<Box<Concealer>>,
    pub(super) queue: StretchQueue,
    /// Samples made up since the last real one.
    pub(super) made_up: usize,
    frame: usize,
}

impl Voice {
    pub(super) fn new(codec: CodecName) -> Self {
        let rate = codec.sample_rate();
        let decoder = Decoder::new(codec);
        let concealer = matches!(decoder, Decoder::G711(_)).then(|| Box::new(Concealer::new()));
        let queue = StretchQueue::new(rate, rate.hz() as usize * MAX_PACKET_MS / 1000);
        Self { decoder, concealer, queue, made_up: 0, frame: rate.frame_samples() }
    }

    pub(super) fn inspect(&self, payload: &[u8]) -> Option<PayloadFacts> {
        self.decoder.inspect(payload)
    }

    /// The packet's samples, without the first `skip`, join the queue. False when they had to be made up.
    pub(super) fn decode(&mut self, packet: &Packet, skip: usize) -> bool {
        let samples = packet.facts.samples;
        let space = self.queue.space(samples);
        let made = if packet.noise {
            space.fill(0);
            space.len()
        } else {
            self.decoder.decode(&packet.payload, space)
        };
        if made == 0 {
            self.conceal(samples.saturating_sub(skip));
            return false;
        }
        let skip = skip.min(made);
        if let Some(concealer) = &mut self.concealer {
            concealer.accept(&mut space[skip..made]);
        }
        self.queue.commit(made, skip);
        self.made_up = 0;
        true
    }

    /// What was lost before `packet`, `samples` of it, from the copy that the packet carries. False when it has none.
    pub(super) fn decode_fec(&mut self, packet: &Packet, samples: usize) -> bool {
        let Decoder::Opus(opus) = &mut self.decoder else { return false };
        let space = self.queue.space(samples);
        if space.len() != samples || !opus.decode_fec(&packet.payload, space) {
            return false;
        }
        self.queue.commit(samples, 0);
        self.made_up = 0;
        true
    }

    /// Makes up about `samples` (Opus: whole units of 2.5 ms, at least one). Returns how many joined the queue.
    pub(super) fn conceal(&mut self, samples: usize) -> usize {
        let n = match &self.decoder {
            Decoder::G711(_) => samples,
            Decoder::Opus(_) => (samples / CONCEAL_UNIT * CONCEAL_UNIT).clamp(CONCEAL_UNIT, self.frame),
        };
        let made_up = self.made_up;
        let space = self.queue.space(n);
        let n = space.len();
        match (&mut self.decoder, &mut self.concealer) {
            (Decoder::Opus(opus), _) if made_up < OPUS_CONCEALS => {
                opus.conceal(space);
                for (i, sample) in space.iter_mut().enumerate() {
                    let left = OPUS_CONCEALS.saturating_sub(made_up + i).min(OPUS_CONCEALS - OPUS_FADES_FROM);
                    *sample = (i32::from(*sample) * left as i32 / (OPUS_CONCEALS - OPUS_FADES_FROM) as i32) as i16;
                }
            }
            (_, Some(concealer)) => concealer.conceal(space),
            _ => space.fill(0),
        }
        self.queue.commit(n, 0);
        self.made_up += n;
        n
    }

    /// Concealment has faded out.
    pub(super) fn is_spent(&self) -> bool {
        match &self.concealer {
            Some(concealer) => concealer.is_silent(),
            None => self.made_up >= OPUS_CONCEALS,
        }
    }

    /// Decodes for the sake of the state only.
    pub(super) fn warm_up(&mut self, packet: &Packet) {
        self.queue.clear();
        self.decode(packet, 0);
        self.queue.clear();
    }

    /// What comes next does not follow what came last.
    pub(super) fn bridge(&mut self) {
        if let Some(concealer) = &mut self.concealer {
            concealer.bridge();
        }
    }

    /// What comes next is of another stream.
    pub(super) fn restart(&mut self) {
        self.bridge();
        if let Decoder::Opus(opus) = &mut self.decoder {
            opus.reset();
        }
    }
}
