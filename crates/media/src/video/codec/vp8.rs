//! VP8 through libvpx. Runs on the composer's thread; knows nothing of packets.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;
use std::time::Duration;

use vpx_sys as ffi;
use vpx_sys::{VPX_CODEC_OK, vp8_dec_control_id, vp8e_enc_control_id, vpx_codec_err_t, vpx_img_fmt};

use super::rate::Scale;
use super::regulator::Regulator;
use super::sps::Vp8Header;
use super::{DecodeError, EncoderSettings, check_picture, check_size};
use crate::error::Error;
use crate::units::{Bitrate, FrameRate};
use crate::video::VIDEO_CLOCK_HZ;
use crate::video::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};
use crate::video::picture::PictureView;

/// One thread, constant bitrate, keyframes on demand only.
#[derive(Debug)]
pub struct Vp8Encoder {
    library: EncoderLibrary,
    settings: EncoderSettings,
    regulator: Regulator,
    /// Of the last picture, in units of the RTP clock; the library wants each to be later than the last.
    last: Option<i64>,
}

impl Vp8Encoder {
    /// Allocates for pictures of this size. Errors when the library has no memory.
    pub fn new(settings: EncoderSettings) -> Result<Self, Error> {
        let library = EncoderLibrary::new(settings)?;
        Ok(Self { library, settings, regulator: Regulator::new(SCALE), last: None })
    }

    /// See [`super::Encoder::encode`].
    pub fn encode(
        &mut self,
        picture: PictureView<'_>,
        at: Duration,
        keyframe: bool,
        out: &mut AccessUnit,
    ) -> Result<bool, Error> {
        out.clear();
        check_picture(&picture, self.settings.resolution)?;
        let Some(plan) = self.regulator.plan(&picture, at, keyframe, self.settings) else { return Ok(false) };
        self.library.set_quantizer(plan.quantizer).map_err(refused)?;
        let clock = at.as_nanos() * u128::from(VIDEO_CLOCK_HZ) / 1_000_000_000;
        let now = i64::try_from(clock).unwrap_or(i64::MAX / 2).max(self.last.map_or(0, |last| last + 1));
        self.last = Some(now);
        if let Err(code) = self.library.encode(&picture, now, self.settings.framerate, plan.keyframe, out) {
            self.library = EncoderLibrary::new(self.settings)?;
            self.regulator.restart();
            self.last = None;
            out.clear();
            return Err(Error::Broken(format!("libvpx failed to encode (code {})", code as i32)));
        }
        self.regulator.made(out, self.settings);
        Ok(!out.bytes.is_empty())
    }

    /// See [`super::Encoder::set`].
    pub fn set(&mut self, bitrate: Bitrate, framerate: FrameRate) -> Result<(), Error> {
        self.settings = EncoderSettings { bitrate, framerate, ..self.settings };
        Ok(())
    }
}

/// In the 64 steps of libvpx's interface.
const SCALE: Scale = Scale { least: 10.0, most: 63.0, half: 10.0, first: 2.5 };

fn refused(code: vpx_codec_err_t) -> Error {
    Error::Broken(format!("libvpx refused a setting (code {})", code as i32))
}

/// Decodes with one thread.
#[derive(Debug)]
pub struct Vp8Decoder {
    library: DecoderLibrary,
    /// A keyframe of a bearable size has been seen.
    begun: bool,
}

impl Vp8Decoder {
    /// Errors when the library has no memory.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { library: DecoderLibrary::new()?, begun: false })
    }

    /// See [`super::Decoder::decode`]. `frame` is one frame as RFC 6386 has it.
    pub fn decode<R>(
        &mut self,
        frame: &[u8],
        show: impl FnOnce(PictureView<'_>) -> R,
    ) -> Result<Option<R>, DecodeError> {
        if frame.len() > MAX_ACCESS_UNIT_BYTES {
            return Err(DecodeError::Header);
        }
        match Vp8Header::read(frame) {
            Some(Vp8Header::Key { width, height }) => {
                // What follows a keyframe that was refused leans on it.
                self.begun = false;
                check_size(width, height)?;
                self.begun = true;
            }
            Some(Vp8Header::Inter) if self.begun => {}
            Some(Vp8Header::Inter) => {
                return Err(DecodeError::Damaged(vpx_codec_err_t::VPX_CODEC_UNSUP_BITSTREAM as i32));
            }
            None => return Err(DecodeError::Header),
        }
        match self.library.decode(frame) {
            Ok(picture) => Ok(picture.map(show)),
            Err(code) => {
                self.begun = false;
                Err(DecodeError::Damaged(code as i32))
            }
        }
    }
}

/// The encoder of libvpx, initialised. Boxed: the library keeps pointers to the context and the configuration.
struct EncoderLibrary {
    state: Box<EncoderState>,
}

struct EncoderState {
    context: ffi::vpx_codec_ctx_t,
    configuration: ffi::vpx_codec_enc_cfg_t,
}

impl std::fmt::Debug for EncoderLibrary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EncoderLibrary")
    }
}

#[expect(unsafe_code, reason = "libvpx is C")]
// SAFETY: the context is owned, the library keeps nothing by thread, and one encoder is used by one thread at a time (`&mut`).
unsafe impl Send for EncoderLibrary {}

#[expect(unsafe_code, reason = "libvpx is C")]
impl EncoderLibrary {
    fn new(settings: EncoderSettings) -> Result<Self, Error> {
        // SAFETY: asks for a constant of the library.
        let codec = unsafe { ffi::vpx_codec_vp8_cx() };
        let mut configuration = MaybeUninit::<ffi::vpx_codec_enc_cfg_t>::zeroed();
        // SAFETY: the library fills the structure on success.
        let code = unsafe { ffi::vpx_codec_enc_config_default(codec, configuration.as_mut_ptr(), 0) };
        succeeded(code).map_err(no_encoder)?;
        // SAFETY: filled, by the success above.
        let mut configuration = unsafe { configuration.assume_init() };
        fill(&mut configuration, settings);
        // SAFETY: a context of zeros is what the library starts from; none of its members forbids zeros.
        let context = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut state = Box::new(EncoderState { context, configuration });
        let version = ffi::VPX_ENCODER_ABI_VERSION as c_int;
        // SAFETY: context and configuration live as long as each other, at a fixed address.
        let code = unsafe {
            ffi::vpx_codec_enc_init_ver(&raw mut state.context, codec, &raw const state.configuration, 0, version)
        };
        // A context that was not initialised needs no destruction.
        succeeded(code).map_err(no_encoder)?;
        let mut this = Self { state };
        this.control(vp8e_enc_control_id::VP8E_SET_CPUUSED, -SPEED)
            .and_then(|()| this.control(vp8e_enc_control_id::VP8E_SET_STATIC_THRESHOLD, 1))
            .and_then(|()| this.control(vp8e_enc_control_id::VP8E_SET_NOISE_SENSITIVITY, 0))
            .and_then(|()| this.control(vp8e_enc_control_id::VP8E_SET_TOKEN_PARTITIONS, 0))
            .map_err(no_encoder)?;
        Ok(this)
    }

    fn control(&mut self, request: vp8e_enc_control_id, value: c_int) -> Result<(), vpx_codec_err_t> {
        // SAFETY: the context is initialised; every request that is passed here takes one number.
        succeeded(unsafe { ffi::vpx_codec_control_(&raw mut self.state.context, request as c_int, value) })
    }

    /// The quantizer of the next picture, which leaves the library no choice.
    fn set_quantizer(&mut self, quantizer: u8) -> Result<(), vpx_codec_err_t> {
        let state = &mut *self.state;
        if state.configuration.rc_max_quantizer == u32::from(quantizer) {
            return Ok(());
        }
        (state.configuration.rc_min_quantizer, state.configuration.rc_max_quantizer) =
            (quantizer.into(), quantizer.into());
        // SAFETY: the context is initialised, with the same configuration but for the quantizers.
        succeeded(unsafe { ffi::vpx_codec_enc_config_set(&raw mut state.context, &raw const state.configuration) })
    }

    /// `picture` has been checked to hold what its sides say.
    fn encode(
        &mut self,
        picture: &PictureView<'_>,
        now: i64,
        framerate: FrameRate,
        keyframe: bool,
        out: &mut AccessUnit,
    ) -> Result<(), vpx_codec_err_t> {
        let image = image(picture);
        let duration = u64::from(VIDEO_CLOCK_HZ / framerate.pictures());
        let flags = if keyframe { i64::from(ffi::VPX_EFLAG_FORCE_KF) } else { 0 };
        let context = &raw mut self.state.context;
        // SAFETY: the context is initialised for pictures of these sides; the planes hold them and are only read during the call.
        let code = unsafe {
            ffi::vpx_codec_encode(context, &raw const image, now, duration, flags, ffi::VPX_DL_REALTIME.into())
        };
        succeeded(code)?;
        let mut iterator = ptr::null();
        loop {
            // SAFETY: the context is initialised; what it returns is valid until the next call to encode.
            let Some(packet) = (unsafe { ffi::vpx_codec_get_cx_data(context, &raw mut iterator).as_ref() }) else {
                return Ok(());
            };
            if packet.kind != ffi::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: of a packet of this kind, this is the member of the union.
            let frame = unsafe { packet.data.frame };
            let length = usize::try_from(frame.sz).unwrap_or(0);
            if length == 0 || frame.buf.is_null() {
                continue;
            }
            // SAFETY: the library says so.
            let bytes = unsafe { slice::from_raw_parts(frame.buf.cast::<u8>(), length) };
            let start = out.bytes.len();
            out.bytes.extend_from_slice(bytes);
            out.units.push(start..out.bytes.len());
            out.is_keyframe |= frame.flags & ffi::VPX_FRAME_IS_KEY != 0;
        }
    }
}

#[expect(unsafe_code, reason = "libvpx is C")]
impl Drop for EncoderLibrary {
    fn drop(&mut self) {
        // SAFETY: the context is initialised and is not used again.
        unsafe { ffi::vpx_codec_destroy(&raw mut self.state.context) };
    }
}

/// The quickest. Measured at 640x360, 15 a second, 400 kbit/s, on the films of the tests: 8 takes 3.2-4.1 ms a picture, 10
/// 2.9-3.4, 12 2.8-3.2, for the same likeness within 0.1 dB.
const SPEED: c_int = 12;

fn kbps(bitrate: Bitrate) -> u32 {
    (bitrate.as_bps() / 1000).max(1)
}

fn fill(configuration: &mut ffi::vpx_codec_enc_cfg_t, settings: EncoderSettings) {
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    configuration.g_w = side(settings.resolution.width());
    configuration.g_h = side(settings.resolution.height());
    configuration.g_timebase = ffi::vpx_rational { num: 1, den: VIDEO_CLOCK_HZ as c_int };
    configuration.g_threads = 1;
    configuration.g_error_resilient = 0;
    configuration.g_pass = ffi::vpx_enc_pass::VPX_RC_ONE_PASS;
    configuration.g_lag_in_frames = 0;
    // Of the library's rate control only the quantizer is left, which `RateControl` sets.
    configuration.rc_end_usage = ffi::vpx_rc_mode::VPX_CBR;
    configuration.rc_target_bitrate = kbps(settings.bitrate);
    configuration.rc_dropframe_thresh = 0;
    configuration.rc_resize_allowed = 0;
    configuration.kf_mode = ffi::vpx_kf_mode::VPX_KF_FIXED;
}

#[expect(unsafe_code, reason = "libvpx is C")]
fn image(picture: &PictureView<'_>) -> ffi::vpx_image_t {
    // SAFETY: plain numbers and pointers, but for enumerations whose first members are zero.
    let mut image: ffi::vpx_image_t = unsafe { MaybeUninit::zeroed().assume_init() };
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let stride = |bytes: usize| c_int::try_from(bytes).unwrap_or(c_int::MAX);
    image.fmt = vpx_img_fmt::VPX_IMG_FMT_I420;
    (image.w, image.h) = (side(picture.width), side(picture.height));
    (image.d_w, image.d_h) = (image.w, image.h);
    image.bit_depth = 8;
    (image.x_chroma_shift, image.y_chroma_shift, image.bps) = (1, 1, 12);
    image.planes =
        [picture.y.as_ptr().cast_mut(), picture.u.as_ptr().cast_mut(), picture.v.as_ptr().cast_mut(), ptr::null_mut()];
    image.stride = [stride(picture.stride_y), stride(picture.stride_uv), stride(picture.stride_uv), 0];
    image
}

/// The decoder of libvpx, initialised. Boxed: the library keeps a pointer to the context.
struct DecoderLibrary {
    context: Box<ffi::vpx_codec_ctx_t>,
}

impl std::fmt::Debug for DecoderLibrary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecoderLibrary")
    }
}

#[expect(unsafe_code, reason = "libvpx is C")]
// SAFETY: the context is owned, the library keeps nothing by thread, and one decoder is used by one thread at a time (`&mut`).
unsafe impl Send for DecoderLibrary {}

#[expect(unsafe_code, reason = "libvpx is C")]
impl DecoderLibrary {
    fn new() -> Result<Self, Error> {
        // SAFETY: a context of zeros is what the library starts from; none of its members forbids zeros.
        let mut context: Box<ffi::vpx_codec_ctx_t> = Box::new(unsafe { MaybeUninit::zeroed().assume_init() });
        let configuration = ffi::vpx_codec_dec_cfg_t { threads: 1, w: 0, h: 0 };
        let version = ffi::VPX_DECODER_ABI_VERSION as c_int;
        // SAFETY: the library copies the configuration; the context stays at its address.
        let code = unsafe {
            ffi::vpx_codec_dec_init_ver(
                &raw mut *context,
                ffi::vpx_codec_vp8_dx(),
                &raw const configuration,
                0,
                version,
            )
        };
        succeeded(code).map_err(|code| Error::Broken(format!("libvpx makes no decoder (code {})", code as i32)))?;
        Ok(Self { context })
    }

    /// The picture lives until the next call.
    fn decode(&mut self, frame: &[u8]) -> Result<Option<PictureView<'_>>, vpx_codec_err_t> {
        let Ok(length) = u32::try_from(frame.len()) else { return Err(vpx_codec_err_t::VPX_CODEC_INVALID_PARAM) };
        let context = &raw mut *self.context;
        // SAFETY: the context is initialised; the library reads `length` bytes of the frame.
        succeeded(unsafe { ffi::vpx_codec_decode(context, frame.as_ptr(), length, ptr::null_mut(), 0) })?;
        let mut corrupted: c_int = 0;
        // SAFETY: the context is initialised; this request takes a pointer to a number.
        succeeded(unsafe {
            ffi::vpx_codec_control_(context, vp8_dec_control_id::VP8D_GET_FRAME_CORRUPTED as c_int, &raw mut corrupted)
        })?;
        if corrupted != 0 {
            return Err(vpx_codec_err_t::VPX_CODEC_CORRUPT_FRAME);
        }
        let mut iterator = ptr::null();
        // SAFETY: the context is initialised; the picture is valid until the next call to decode, which the borrow of `self`
        // keeps away.
        let Some(image) = (unsafe { ffi::vpx_codec_get_frame(context, &raw mut iterator).as_ref() }) else {
            return Ok(None);
        };
        let size = |n: c_int| usize::try_from(n).unwrap_or(0);
        let side = |n: u32| usize::try_from(n).unwrap_or(0);
        let (width, height) = (side(image.d_w), side(image.d_h));
        let [stride_y, stride_u, stride_v, _] = image.stride.map(size);
        let [y, u, v, _] = image.planes;
        if [y, u, v].iter().any(|plane| plane.is_null()) || stride_u != stride_v || width == 0 || height == 0 {
            return Err(vpx_codec_err_t::VPX_CODEC_UNSUP_BITSTREAM);
        }
        let bytes = |stride: usize, width: usize, height: usize| (height - 1) * stride + width;
        let luma = bytes(stride_y, width, height);
        let chroma = bytes(stride_u, width.div_ceil(2), height.div_ceil(2));
        // SAFETY: the planes have as many rows as the picture, each a stride apart.
        let (y, u, v) = unsafe {
            (slice::from_raw_parts(y, luma), slice::from_raw_parts(u, chroma), slice::from_raw_parts(v, chroma))
        };
        let picture = PictureView { y, u, v, stride_y, stride_uv: stride_u, width, height };
        Ok(picture.is_sound().then_some(picture))
    }
}

#[expect(unsafe_code, reason = "libvpx is C")]
impl Drop for DecoderLibrary {
    fn drop(&mut self) {
        // SAFETY: the context is initialised and is not used again.
        unsafe { ffi::vpx_codec_destroy(&raw mut *self.context) };
    }
}

fn no_encoder(code: vpx_codec_err_t) -> Error {
    Error::Broken(format!("libvpx makes no encoder (code {})", code as i32))
}

fn succeeded(code: vpx_codec_err_t) -> Result<(), vpx_codec_err_t> {
    if code == VPX_CODEC_OK { Ok(()) } else { Err(code) }
}
