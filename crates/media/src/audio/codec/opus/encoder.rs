//! A safe wrapper of the libopus encoder in memory of our own, because a leg that begins to talk takes over the shared
//! encoder's state, and crate `opus` cannot copy one. Runs on the worker's thread.

use std::ffi::c_int;

use opusic_sys as ffi;

use crate::units::Bitrate;

/// Samples of the 20 ms frames that are encoded.
const FRAME: usize = 960;

/// libopus said no; its code (`opus_defines.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("libopus error {0}")]
pub struct OpusError(pub i32);

/// What may change while an encoder runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusSettings {
    /// Target rate; clamped to 6–510 kbit/s.
    pub bitrate: Bitrate,
    /// 0–10; more costs more CPU.
    pub complexity: u8,
    /// Loss that the receivers report, 0–100; decides how much of the rate goes into FEC.
    pub expected_loss_percent: u8,
    /// Put a copy of each frame into the next packet (only while some loss is expected).
    pub fec: bool,
    /// Send next to nothing in silence.
    pub dtx: bool,
}

/// Mono, 48 kHz, VOIP, constrained VBR, 20 ms frames.
pub struct OpusEncoder {
    /// `opus_encoder_get_size(1)` bytes, rounded up; 8-byte words for the alignment that malloc would give.
    state: Box<[u64]>,
}

impl std::fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusEncoder")
    }
}

impl OpusEncoder {
    /// An encoder in its initial state. Allocates. The signal type is left to libopus: told that all is voice, it keeps
    /// to its speech coder up to rates where the other one sounds better at a third of the cost.
    pub fn new(settings: OpusSettings) -> Result<Self, OpusError> {
        let mut encoder = Self { state: vec![0u64; state_bytes().div_ceil(8)].into_boxed_slice() };
        encoder.initialise()?;
        // Rejected only for values out of their range, and these are constants.
        encoder.control(ffi::OPUS_SET_VBR_CONSTRAINT_REQUEST, 1);
        encoder.set(settings);
        Ok(encoder)
    }

    #[expect(unsafe_code, reason = "libopus is C")]
    fn initialise(&mut self) -> Result<(), OpusError> {
        // SAFETY: `state` is ours alone, at least `opus_encoder_get_size(1)` bytes long and aligned to 8 bytes, as
        // `opus_encoder_init` asks; mono is what its size was computed for.
        let code = unsafe { ffi::opus_encoder_init(self.as_mut_ptr(), 48_000, 1, ffi::OPUS_APPLICATION_VOIP) };
        if code == ffi::OPUS_OK { Ok(()) } else { Err(OpusError(code)) }
    }

    /// Takes effect with the next frame; the stream goes on.
    pub fn set(&mut self, settings: OpusSettings) {
        let bitrate = settings.bitrate.as_bps().clamp(6_000, 510_000);
        self.control(ffi::OPUS_SET_BITRATE_REQUEST, bitrate as c_int);
        let bandwidth =
            if bitrate < FULLBAND_BPS { ffi::OPUS_BANDWIDTH_SUPERWIDEBAND } else { ffi::OPUS_BANDWIDTH_FULLBAND };
        self.control(ffi::OPUS_SET_MAX_BANDWIDTH_REQUEST, bandwidth as c_int);
        self.control(ffi::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(settings.complexity.min(10)));
        self.control(ffi::OPUS_SET_INBAND_FEC_REQUEST, c_int::from(settings.fec));
        self.control(ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST, c_int::from(settings.expected_loss_percent.min(100)));
        self.control(ffi::OPUS_SET_DTX_REQUEST, c_int::from(settings.dtx));
    }

    /// While true, frames do not lean on those before them: for the frames around a switch of encoders.
    pub fn set_prediction_disabled(&mut self, disabled: bool) {
        self.control(ffi::OPUS_SET_PREDICTION_DISABLED_REQUEST, c_int::from(disabled));
    }

    #[expect(unsafe_code, reason = "libopus is C")]
    fn control(&mut self, request: c_int, value: c_int) {
        // SAFETY: `state` was initialised by `opus_encoder_init`; every request that is passed here takes one `opus_int32`.
        let code = unsafe { ffi::opus_encoder_ctl(self.as_mut_ptr(), request, value) };
        debug_assert_eq!(code, ffi::OPUS_OK, "BUG: libopus refused request {request} with {value}");
    }

    /// Encodes one frame of exactly 960 samples; returns the length of the packet in `out`. A length of 1 or 2 with DTX
    /// on means that the packet need not be sent. Errors when the frame has another length or `out` no room.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> Result<usize, OpusError> {
        if samples.len() != FRAME {
            return Err(OpusError(ffi::OPUS_BAD_ARG));
        }
        let room = i32::try_from(out.len()).unwrap_or(i32::MAX);
        self.encode_checked(samples, out, room)
    }

    #[expect(unsafe_code, reason = "libopus is C")]
    fn encode_checked(&mut self, samples: &[i16], out: &mut [u8], room: i32) -> Result<usize, OpusError> {
        // SAFETY: `state` is initialised; `samples` holds the 960 mono samples that `frame_size` announces (checked by
        // the caller), and `out` has at least `room` bytes.
        let n =
            unsafe { ffi::opus_encode(self.as_mut_ptr(), samples.as_ptr(), FRAME as c_int, out.as_mut_ptr(), room) };
        usize::try_from(n).map_err(|_| OpusError(n))
    }

    /// Becomes what `other` is: the same past, the same settings. Does not allocate.
    pub fn copy_state_from(&mut self, other: &Self) {
        // opus.h: the state is contiguous and position independent, so its memory is all there is to copy. Both have
        // the same length, as it depends on nothing but the library.
        self.state.copy_from_slice(&other.state);
    }

    fn as_mut_ptr(&mut self) -> *mut ffi::OpusEncoder {
        self.state.as_mut_ptr().cast()
    }
}

/// Below this, sound above 12 kHz is left out: voice has next to nothing there, and the bits are heard better below.
const FULLBAND_BPS: u32 = 112_000;

#[expect(unsafe_code, reason = "libopus is C")]
fn state_bytes() -> usize {
    // SAFETY: reads no memory of ours.
    usize::try_from(unsafe { ffi::opus_encoder_get_size(1) }).expect("BUG: libopus knows the size of a mono encoder")
}
