//! Test tools for Conclave (dev only): everything that stands on the far end of the wire in a test. Written against the
//! RFCs and not against our own crates, so that a mistake made on both sides cannot cancel out: it must not know
//! `media` or `control`. Plain threads; a runtime only inside of [`webrtc_peer`].
//!
//! Pure (no clock, no socket): [`tone`], [`signal`], [`picture`], [`scene`], [`video_codec`], [`g711`], [`netem`],
//! [`clock`], [`sdp`], [`sip_message`], [`wav`], [`dtmf`], [`capture`]. With sockets and threads: [`rtp_peer`], [`video_peer`],
//! [`sip_ua`], [`sip_uas`], [`web_client`], [`webrtc_peer`], [`ports`]. With child processes: [`server`], [`api`], [`postgres`], [`sipp`], [`baresip`],
//! [`kamailio`], [`chromium`], [`ffmpeg`].

pub mod api;
pub mod baresip;
pub mod capture;
pub mod chromium;
pub mod clock;
pub mod correlate;
pub mod dtmf;
pub mod ffmpeg;
pub mod g711;
pub mod kamailio;
pub mod netem;
pub mod phone;
pub mod picture;
pub mod ports;
pub mod postgres;
pub mod rtp_peer;
pub mod scene;
pub mod sdp;
pub mod server;
pub mod signal;
pub mod sip_message;
pub mod sip_ua;
pub mod sip_uas;
pub mod sipp;
pub mod tone;
pub mod video_codec;
pub mod video_peer;
pub mod wait;
pub mod wav;
pub mod web_client;
pub mod webrtc_peer;
