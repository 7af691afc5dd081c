//! H.264 through OpenH264, by its raw interface: the safe crate neither reaches the rate control nor says whether a picture was
//! wholly decoded. Runs on the composer's thread; knows nothing of packets.

use std::ffi::{c_int, c_uchar, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use openh264_sys2 as ffi;
use openh264_sys2::source::APILoader;

use super::rate::Scale;
use super::regulator::{Plan, Regulator};
use super::sps::{self, Sps};
use super::{DecodeError, EncoderSettings, check_picture, check_size};
use crate::error::Error;
use crate::units::{Bitrate, FrameRate};
use crate::video::access_unit::{AccessUnit, MAX_ACCESS_UNIT_BYTES};
use crate::video::level::{LEVELS, Level, takes};
use crate::video::picture::PictureView;

/// Constrained Baseline, one thread, one reference, in slices that fit a packet each.
#[derive(Debug)]
pub struct H264Encoder {
    library: EncoderLibrary,
    settings: EncoderSettings,
    /// In units of `level_idc`.
    level: i32,
    regulator: Regulator,
}

/// OpenH264 closes a slice 120 bytes below what it is given (a macroblock's worth, and room for headers), before the bytes that
/// keep start codes from appearing: with 1,280, noise was seen to come to 1,214.
const MAX_NAL_BYTES: u32 = crate::video::MAX_PAYLOAD_BYTES as u32 + 40;

/// The highest that OpenH264 knows.
const HIGHEST_LEVEL: u8 = 52;

/// Measured on moving textures and grain at 360p and 720p.
const SCALE: Scale = Scale { least: 20.0, most: 51.0, half: 6.0, first: 2.5 };

impl H264Encoder {
    /// Allocates for pictures of this size. Errors when the library has no memory.
    pub fn new(settings: EncoderSettings) -> Result<Self, Error> {
        let level = level(settings);
        let library = EncoderLibrary::new(settings, level)?;
        Ok(Self { library, settings, level, regulator: Regulator::new(SCALE) })
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
        if let Err(code) = self.library.encode(&picture, at, plan, out) {
            self.restart()?;
            out.clear();
            return Err(Error::Broken(format!("OpenH264 failed to encode (code {code})")));
        }
        self.regulator.made(out, self.settings);
        Ok(!out.bytes.is_empty())
    }

    /// See [`super::Encoder::set`].
    pub fn set(&mut self, bitrate: Bitrate, framerate: FrameRate) -> Result<(), Error> {
        self.settings = EncoderSettings { bitrate, framerate, ..self.settings };
        if level(self.settings) > self.level { self.restart() } else { Ok(()) }
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.level = level(self.settings);
        self.regulator.restart();
        self.library = EncoderLibrary::new(self.settings, self.level)?;
        Ok(())
    }
}

/// The lowest level (as `level_idc`) that holds pictures of this size at this rate. Level 1b is left out, as Baseline writes it
/// in another way that receivers trip over.
fn level(settings: EncoderSettings) -> i32 {
    let mut known = LEVELS.iter().filter(|level| (10..=HIGHEST_LEVEL).contains(&level.idc));
    let holds = |level: &&Level| {
        takes(level.macroblocks, level.macroblocks_per_s, settings.resolution, settings.framerate)
            && level.kbps >= settings.bitrate.as_bps().div_ceil(1000)
    };
    i32::from(known.find(holds).map_or(HIGHEST_LEVEL, |level| level.idc))
}

/// Decodes what OpenH264 can: Constrained Baseline, and Main and High without fields, those one picture late.
#[derive(Debug)]
pub struct H264Decoder {
    library: DecoderLibrary,
    /// Of a profile whose pictures may be shown in another order than they come, for which the library waits.
    may_be_late: bool,
}

impl H264Decoder {
    /// Errors when the library has no memory.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { library: DecoderLibrary::new()?, may_be_late: false })
    }

    /// See [`super::Decoder::decode`]. `stream` is one access unit as an Annex B byte stream.
    pub fn decode<R>(
        &mut self,
        stream: &[u8],
        show: impl FnOnce(PictureView<'_>) -> R,
    ) -> Result<Option<R>, DecodeError> {
        if stream.len() > MAX_ACCESS_UNIT_BYTES {
            return Err(DecodeError::Header);
        }
        let mut has_slices = false;
        // Every parameter set that the library may find is read here first, wherever the sender put it.
        for unit in sps::annex_b(stream) {
            match unit.first().map(|header| header & 0x1F) {
                Some(7 | 15) => {
                    let sps = Sps::read(unit).ok_or(DecodeError::Header)?;
                    check_size(sps.coded_width, sps.coded_height)?;
                    self.may_be_late = sps.profile != BASELINE;
                }
                Some(1..=5) => has_slices = true,
                _ => {}
            }
        }
        match self.library.decode(stream) {
            Ok(Some(picture)) => Ok(Some(show(picture))),
            // The library says nothing of slices that are missing at the end of a picture.
            Ok(None) if has_slices && !self.may_be_late => Err(DecodeError::Damaged(ffi::dsFramePending)),
            Ok(None) => Ok(None),
            Err(state) => Err(DecodeError::Damaged(state)),
        }
    }
}

/// `profile_idc`.
const BASELINE: u8 = 66;

/// The encoder object of OpenH264, initialised.
#[derive(Debug)]
struct EncoderLibrary {
    object: NonNull<ffi::ISVCEncoder>,
    /// As they were last given to the library.
    parameters: Box<ffi::SEncParamExt>,
    /// Where the library says what it made; large, so it is kept.
    made: Box<ffi::SFrameBSInfo>,
}

#[expect(unsafe_code, reason = "OpenH264 is C++")]
// SAFETY: the object is owned, the library keeps nothing by thread, and one encoder is used by one thread at a time (`&mut`).
unsafe impl Send for EncoderLibrary {}

#[expect(unsafe_code, reason = "OpenH264 is C++")]
impl EncoderLibrary {
    fn new(settings: EncoderSettings, level: i32) -> Result<Self, Error> {
        let mut object = ptr::null_mut();
        // SAFETY: the library writes a pointer to a new object there, or none.
        let code = unsafe { APILoader::WelsCreateSVCEncoder(&raw mut object) };
        let object = NonNull::new(object).ok_or_else(|| no_encoder(code))?;
        let mut this = Self { object, parameters: Box::default(), made: Box::default() };
        let mut quiet = ffi::WELS_LOG_QUIET;
        this.set(ffi::ENCODER_OPTION_TRACE_LEVEL, &raw mut quiet).map_err(no_encoder)?;
        let code = match this.table().GetDefaultParams {
            // SAFETY: the object is alive and the library fills the structure.
            Some(defaults) => unsafe { defaults(this.object.as_ptr(), &raw mut *this.parameters) },
            None => NO_SUCH_CALL,
        };
        succeeded(code).map_err(no_encoder)?;
        fill(&mut this.parameters, settings, level);
        let code = match this.table().InitializeExt {
            // SAFETY: the object is alive and the library copies the structure.
            Some(initialize) => unsafe { initialize(this.object.as_ptr(), &raw const *this.parameters) },
            None => NO_SUCH_CALL,
        };
        succeeded(code).map_err(no_encoder)?;
        Ok(this)
    }

    fn table(&self) -> &ffi::ISVCEncoderVtbl {
        // SAFETY: a living object begins with a pointer to its table of functions, which is constant.
        unsafe { &**self.object.as_ptr() }
    }

    /// `value` is of the type that the option is documented with.
    fn set<T>(&self, option: ffi::ENCODER_OPTION, value: *mut T) -> Result<(), c_int> {
        let Some(set) = self.table().SetOption else { return Err(NO_SUCH_CALL) };
        // SAFETY: the object is alive; the callers pass what the option is documented with, alive as well, and it is copied.
        succeeded(unsafe { set(self.object.as_ptr(), option, value.cast::<c_void>()) })
    }

    /// The quantizer of the next picture. Of what may change while the library runs, only this does, so it goes on as it was.
    fn set_quantizer(&mut self, quantizer: u8) -> Result<(), c_int> {
        let [layer, ..] = &mut self.parameters.sSpatialLayers;
        if layer.iDLayerQp == c_int::from(quantizer) {
            return Ok(());
        }
        layer.iDLayerQp = quantizer.into();
        let parameters = &raw mut *self.parameters;
        self.set(ffi::ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, parameters)
    }

    fn force_keyframe(&mut self) {
        if let Some(force) = self.table().ForceIntraFrame {
            // SAFETY: the object is alive.
            unsafe { force(self.object.as_ptr(), true) };
        }
    }

    /// `picture` has been checked to hold what its sides say. Errors with the library's code.
    fn encode(
        &mut self,
        picture: &PictureView<'_>,
        at: Duration,
        plan: Plan,
        out: &mut AccessUnit,
    ) -> Result<(), c_int> {
        self.set_quantizer(plan.quantizer)?;
        if plan.keyframe {
            self.force_keyframe();
        }
        let plane = |plane: &[u8]| plane.as_ptr().cast_mut();
        let length = |pixels: usize| c_int::try_from(pixels).unwrap_or(c_int::MAX);
        let source = ffi::SSourcePicture {
            iColorFormat: ffi::videoFormatI420,
            iStride: [length(picture.stride_y), length(picture.stride_uv), length(picture.stride_uv), 0],
            pData: [plane(picture.y), plane(picture.u), plane(picture.v), ptr::null_mut()],
            iPicWidth: length(picture.width),
            iPicHeight: length(picture.height),
            uiTimeStamp: i64::try_from(at.as_millis()).unwrap_or(i64::MAX),
            bPsnrY: false,
            bPsnrU: false,
            bPsnrV: false,
        };
        let Some(encode) = self.table().EncodeFrame else { return Err(NO_SUCH_CALL) };
        let made = &raw mut *self.made;
        // SAFETY: the object is alive and initialised for pictures of these sides; the planes hold them, and the library copies
        // them without writing; what it fills is ours.
        succeeded(unsafe { encode(self.object.as_ptr(), &raw const source, made) })?;
        self.copy_out(out);
        Ok(())
    }

    fn copy_out(&self, out: &mut AccessUnit) {
        out.is_keyframe = self.made.eFrameType == ffi::videoFrameTypeIDR;
        let layers = usize::try_from(self.made.iLayerNum).unwrap_or(0);
        for layer in self.made.sLayerInfo.iter().take(layers) {
            let count = usize::try_from(layer.iNalCount).unwrap_or(0);
            if count == 0 || layer.pNalLengthInByte.is_null() || layer.pBsBuf.is_null() {
                continue;
            }
            // SAFETY: after a successful call, the layer has so many lengths, valid until the next call on the object.
            let lengths = unsafe { slice::from_raw_parts(layer.pNalLengthInByte, count) };
            let length = |&length: &c_int| usize::try_from(length).unwrap_or(0);
            // SAFETY: the layer's units lie behind each other, as long as its lengths say, valid until the next call.
            let bytes = unsafe { slice::from_raw_parts(layer.pBsBuf, lengths.iter().map(length).sum()) };
            let mut start = out.bytes.len();
            out.bytes.extend_from_slice(bytes);
            for length in lengths.iter().map(length) {
                let unit = out.bytes.get(start..start + length).unwrap_or(&[]);
                // Each unit begins with a start code of three or four bytes.
                let code = unit.iter().position(|&byte| byte != 0).map_or(0, |at| at + 1);
                out.units.push(start + code..start + length);
                start += length;
            }
        }
    }
}

#[expect(unsafe_code, reason = "OpenH264 is C++")]
impl Drop for EncoderLibrary {
    fn drop(&mut self) {
        // SAFETY: the object is alive and is not used again; the library uninitialises it itself.
        unsafe { APILoader::WelsDestroySVCEncoder(self.object.as_ptr()) };
    }
}

/// `cmInitParaError`, for a table without the function: no build of the library has one.
const NO_SUCH_CALL: c_int = 1;

const fn succeeded(code: c_int) -> Result<(), c_int> {
    if code == 0 { Ok(()) } else { Err(code) }
}

fn no_encoder(code: c_int) -> Error {
    Error::Broken(format!("OpenH264 makes no encoder (code {code})"))
}

fn pictures(framerate: FrameRate) -> f32 {
    framerate.pictures() as f32
}

fn fill(parameters: &mut ffi::SEncParamExt, settings: EncoderSettings, level: i32) {
    let side = |pixels: usize| c_int::try_from(pixels).unwrap_or(c_int::MAX);
    let (width, height) = (side(settings.resolution.width()), side(settings.resolution.height()));
    let bitrate = c_int::try_from(settings.bitrate.as_bps()).unwrap_or(c_int::MAX).max(1000);
    parameters.iUsageType = ffi::CAMERA_VIDEO_REAL_TIME;
    parameters.iPicWidth = width;
    parameters.iPicHeight = height;
    parameters.iTargetBitrate = bitrate;
    parameters.iMaxBitrate = ffi::UNSPECIFIED_BIT_RATE as c_int;
    parameters.fMaxFrameRate = pictures(settings.framerate);
    parameters.iSpatialLayerNum = 1;
    parameters.iTemporalLayerNum = 1;
    parameters.iMultipleThreadIdc = 1;
    parameters.uiIntraPeriod = 0;
    parameters.iNumRefFrame = 1;
    parameters.eSpsPpsIdStrategy = ffi::CONSTANT_ID;
    parameters.iEntropyCodingModeFlag = 0;
    // Measured at 640x360, 15 a second, 400 kbit/s, on the films of the tests: low 2.4-2.7 ms a picture of texture or grain,
    // medium 2.7-3.3, high 2.8-3.4, for the same likeness within 0.1 dB (43.3, 28.5).
    parameters.iComplexityMode = ffi::LOW_COMPLEXITY;
    // `RateControl` says which quantizer each picture gets.
    parameters.iRCMode = ffi::RC_OFF_MODE;
    parameters.bEnableFrameSkip = false;
    // It would make keyframes of cuts; `RateControl` sees them, and keyframes are for those who ask.
    parameters.bEnableSceneChangeDetect = false;
    // A calm picture costs 1.2 ms with it and 1.65 without.
    parameters.bEnableBackgroundDetection = true;
    parameters.bEnableAdaptiveQuant = false;
    parameters.bEnableDenoise = false;
    parameters.bEnableLongTermReference = false;
    parameters.uiMaxNalSize = MAX_NAL_BYTES;
    let layer = &mut parameters.sSpatialLayers[0];
    layer.iVideoWidth = width;
    layer.iVideoHeight = height;
    layer.fFrameRate = pictures(settings.framerate);
    layer.iSpatialBitrate = bitrate;
    layer.iMaxSpatialBitrate = ffi::UNSPECIFIED_BIT_RATE as c_int;
    layer.uiProfileIdc = ffi::PRO_BASELINE;
    layer.uiLevelIdc = level;
    layer.iDLayerQp = 26;
    layer.sSliceArgument.uiSliceMode = ffi::SM_SIZELIMITED_SLICE;
    layer.sSliceArgument.uiSliceSizeConstraint = MAX_NAL_BYTES;
}

/// The decoder object of OpenH264, initialised.
#[derive(Debug)]
struct DecoderLibrary {
    object: NonNull<ffi::ISVCDecoder>,
}

#[expect(unsafe_code, reason = "OpenH264 is C++")]
// SAFETY: the object is owned, the library keeps nothing by thread, and one decoder is used by one thread at a time (`&mut`).
unsafe impl Send for DecoderLibrary {}

#[expect(unsafe_code, reason = "OpenH264 is C++")]
impl DecoderLibrary {
    fn new() -> Result<Self, Error> {
        let mut object = ptr::null_mut();
        // SAFETY: the library writes a pointer to a new object there, or none.
        let code = unsafe { APILoader::WelsCreateDecoder(&raw mut object) };
        let object = NonNull::new(object).ok_or_else(|| no_decoder(code))?;
        let this = Self { object };
        let mut quiet = ffi::WELS_LOG_QUIET;
        let code = match this.table().SetOption {
            // SAFETY: the object is alive; the option takes a number, which is copied.
            Some(set) => unsafe {
                set(this.object.as_ptr(), ffi::DECODER_OPTION_TRACE_LEVEL, (&raw mut quiet).cast::<c_void>())
            },
            None => NO_SUCH_CALL.into(),
        };
        if code != 0 {
            return Err(no_decoder(code));
        }
        // Without concealment, what is not wholly there is an error, and so is all that leans on it until a keyframe comes.
        let parameters = ffi::SDecodingParam {
            eEcActiveIdc: ffi::ERROR_CON_DISABLE,
            sVideoProperty: ffi::SVideoProperty {
                size: u32::try_from(size_of::<ffi::SVideoProperty>()).unwrap_or(0),
                eVideoBsType: ffi::VIDEO_BITSTREAM_AVC,
            },
            ..ffi::SDecodingParam::default()
        };
        let code = match this.table().Initialize {
            // SAFETY: the object is alive and the library copies the structure.
            Some(initialize) => unsafe { initialize(this.object.as_ptr(), &raw const parameters) },
            None => NO_SUCH_CALL.into(),
        };
        if code == 0 { Ok(this) } else { Err(no_decoder(code)) }
    }

    fn table(&self) -> &ffi::ISVCDecoderVtbl {
        // SAFETY: a living object begins with a pointer to its table of functions, which is constant.
        unsafe { &**self.object.as_ptr() }
    }

    /// Errors with the library's state. The picture lives until the next call.
    fn decode(&mut self, stream: &[u8]) -> Result<Option<PictureView<'_>>, i32> {
        let Ok(length) = c_int::try_from(stream.len()) else { return Err(ffi::dsInvalidArgument) };
        let Some(decode) = self.table().DecodeFrameNoDelay else { return Err(ffi::dsInvalidArgument) };
        let mut planes: [*mut c_uchar; 3] = [ptr::null_mut(); 3];
        let mut info = ffi::SBufferInfo::default();
        // SAFETY: the object is alive and initialised; the library reads `length` bytes of the stream and writes three pointers
        // and the structure.
        let state =
            unsafe { decode(self.object.as_ptr(), stream.as_ptr(), length, planes.as_mut_ptr(), &raw mut info) };
        if state != ffi::dsErrorFree {
            return Err(state);
        }
        if info.iBufferStatus != 1 || planes.iter().any(|plane| plane.is_null()) {
            return Ok(None);
        }
        // SAFETY: with a picture ready, this is the member of the union that the library fills.
        let shape = unsafe { info.UsrData.sSystemBuffer };
        let length = |n: c_int| usize::try_from(n).unwrap_or(0);
        let (width, height) = (length(shape.iWidth), length(shape.iHeight));
        let [stride_y, stride_uv] = shape.iStride.map(length);
        let holds = |stride: usize, width: usize, height: usize| match height.checked_sub(1) {
            Some(rows) if stride >= width => rows * stride + width,
            _ => 0,
        };
        let luma = holds(stride_y, width, height);
        let chroma = holds(stride_uv, width.div_ceil(2), height.div_ceil(2));
        let [y, u, v] = planes;
        // SAFETY: the library's planes have as many rows as the picture, each a stride apart; they are not written before the
        // next call on the object, which the borrow of `self` keeps away.
        let (y, u, v) = unsafe {
            (slice::from_raw_parts(y, luma), slice::from_raw_parts(u, chroma), slice::from_raw_parts(v, chroma))
        };
        let picture = PictureView { y, u, v, stride_y, stride_uv, width, height };
        Ok(picture.is_sound().then_some(picture))
    }
}

#[expect(unsafe_code, reason = "OpenH264 is C++")]
impl Drop for DecoderLibrary {
    fn drop(&mut self) {
        // SAFETY: the object is alive and is not used again.
        unsafe {
            if let Some(uninitialize) = self.table().Uninitialize {
                uninitialize(self.object.as_ptr());
            }
            APILoader::WelsDestroyDecoder(self.object.as_ptr());
        }
    }
}

fn no_decoder(code: impl Into<i64>) -> Error {
    Error::Broken(format!("OpenH264 makes no decoder (code {})", code.into()))
}
