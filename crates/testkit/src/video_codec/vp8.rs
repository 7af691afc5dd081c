//! VP8 through libvpx: the little of its C interface that tests need. Not shared between threads, but may move.
#![expect(unsafe_code, reason = "libvpx is a C library")]

use crate::picture::Picture;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_uint, c_ulong};
use std::ptr;
use vpx_sys as vpx;

/// An instance of the codec. Boxed: C code does not expect its context to move.
struct Instance(Box<vpx::vpx_codec_ctx_t>);

// SAFETY: an instance is used by one thread at a time (`&mut`), and libvpx has no thread-local state.
unsafe impl Send for Instance {}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: made by a successful init and destroyed once.
        unsafe { vpx::vpx_codec_destroy(&mut *self.0) };
    }
}

fn checked(code: vpx::vpx_codec_err_t, what: &str) -> Result<(), String> {
    if code == vpx::vpx_codec_err_t::VPX_CODEC_OK { Ok(()) } else { Err(format!("{what}: {code:?}")) }
}

pub(super) struct Encoder {
    instance: Instance,
    pictures: i64,
}

impl Encoder {
    pub(super) fn new(width: usize, height: usize, framerate: u32, kbps: u32) -> Result<Self, String> {
        let mut config = MaybeUninit::<vpx::vpx_codec_enc_cfg_t>::zeroed();
        // SAFETY: the interface is a constant of libvpx, which fills `config` when it says OK.
        let (interface, mut config) = unsafe {
            let interface = vpx::vpx_codec_vp8_cx();
            checked(vpx::vpx_codec_enc_config_default(interface, config.as_mut_ptr(), 0), "default settings")?;
            (interface, config.assume_init())
        };
        config.g_w = width as c_uint;
        config.g_h = height as c_uint;
        config.g_timebase = vpx::vpx_rational { num: 1, den: framerate as c_int };
        config.g_threads = 1;
        config.g_lag_in_frames = 0;
        config.g_error_resilient = 0;
        config.rc_end_usage = vpx::vpx_rc_mode::VPX_CBR;
        config.rc_target_bitrate = kbps;
        config.rc_dropframe_thresh = 0;
        config.rc_resize_allowed = 0;
        // No keyframe unless one is asked for.
        config.kf_mode = vpx::vpx_kf_mode::VPX_KF_DISABLED;
        let mut context = Box::new(MaybeUninit::<vpx::vpx_codec_ctx_t>::zeroed());
        let version = vpx::VPX_ENCODER_ABI_VERSION as c_int;
        // SAFETY: `context` is zeroed memory of the right size, as libvpx asks for; once init says OK it is whole. The
        // control takes an int.
        let instance = unsafe {
            checked(vpx::vpx_codec_enc_init_ver(context.as_mut_ptr(), interface, &config, 0, version), "init")?;
            let mut instance = Instance(context.assume_init());
            let speed: c_int = 8;
            let control = vpx::vp8e_enc_control_id::VP8E_SET_CPUUSED as c_int;
            checked(vpx::vpx_codec_control_(&mut *instance.0, control, speed), "speed")?;
            instance
        };
        Ok(Self { instance, pictures: 0 })
    }

    pub(super) fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<Vec<u8>, String> {
        let [y, u, v] = picture.planes();
        let (width, height) = (picture.width() as c_uint, picture.height() as c_uint);
        let mut image = MaybeUninit::<vpx::vpx_image_t>::zeroed();
        let format = vpx::vpx_img_fmt::VPX_IMG_FMT_I420;
        // SAFETY: wrapping only fills the description; it says null when it did not.
        let mut image = unsafe {
            if vpx::vpx_img_wrap(image.as_mut_ptr(), format, width, height, 1, y.as_ptr().cast_mut()).is_null() {
                return Err(format!("no image of {width}x{height}"));
            }
            image.assume_init()
        };
        let half = width as c_int / 2;
        image.planes = [y.as_ptr().cast_mut(), u.as_ptr().cast_mut(), v.as_ptr().cast_mut(), ptr::null_mut()];
        image.stride = [width as c_int, half, half, 0];
        let flags = if keyframe { i64::from(vpx::VPX_EFLAG_FORCE_KF) } else { 0 };
        let (pts, deadline) = (self.pictures, c_ulong::from(vpx::VPX_DL_REALTIME));
        self.pictures += 1;
        let mut out = Vec::new();
        let mut iterator = ptr::null();
        // SAFETY: the planes outlive the call, are as large as the image says and are only read. Packets are valid until
        // the next call on the instance; their union holds a frame when their kind says so.
        unsafe {
            checked(vpx::vpx_codec_encode(&mut *self.instance.0, &image, pts, 1, flags, deadline), "encode")?;
            loop {
                let packet = vpx::vpx_codec_get_cx_data(&mut *self.instance.0, &mut iterator);
                let Some(packet) = packet.as_ref() else { break };
                if packet.kind == vpx::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                    let frame = packet.data.frame;
                    out.extend_from_slice(std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize));
                }
            }
        }
        Ok(out)
    }
}

pub(super) struct Decoder {
    instance: Instance,
}

impl Decoder {
    pub(super) fn new() -> Result<Self, String> {
        let config = vpx::vpx_codec_dec_cfg_t { threads: 1, w: 0, h: 0 };
        let mut context = Box::new(MaybeUninit::<vpx::vpx_codec_ctx_t>::zeroed());
        let version = vpx::VPX_DECODER_ABI_VERSION as c_int;
        // SAFETY: `context` is zeroed memory of the right size, as libvpx asks for; once init says OK it is whole.
        let context = unsafe {
            let interface = vpx::vpx_codec_vp8_dx();
            checked(vpx::vpx_codec_dec_init_ver(context.as_mut_ptr(), interface, &config, 0, version), "init")?;
            context.assume_init()
        };
        Ok(Self { instance: Instance(context) })
    }

    pub(super) fn decode(&mut self, unit: &[u8]) -> Result<Option<Picture>, String> {
        let mut iterator = ptr::null();
        // SAFETY: the bytes outlive the call. The image is libvpx's until the next call on the instance.
        let image = unsafe {
            let (data, len) = (unit.as_ptr(), unit.len() as c_uint);
            checked(vpx::vpx_codec_decode(&mut *self.instance.0, data, len, ptr::null_mut(), 0), "decode")?;
            vpx::vpx_codec_get_frame(&mut *self.instance.0, &mut iterator).as_ref()
        };
        let Some(image) = image else { return Ok(None) };
        let (width, height) = (image.d_w as usize, image.d_h as usize);
        let rows = [height, height.div_ceil(2), height.div_ceil(2)];
        let strides = [0, 1, 2].map(|n| usize::try_from(image.stride[n]).unwrap_or(0));
        // SAFETY: each plane of a decoded image has this many rows of its stride.
        let planes = unsafe {
            [0, 1, 2].map(|n| std::slice::from_raw_parts(image.planes[n].cast_const(), strides[n] * rows[n]))
        };
        Ok(Picture::from_planes(width, height, planes, strides))
    }
}
