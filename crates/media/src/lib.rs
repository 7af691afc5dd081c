//! Conclave's media engine: rooms of audio mixed on dedicated threads, and recorded. See `crates/README.md` for the map.

pub mod audio;
mod command;
mod engine;
mod error;
mod leg;
mod record;
mod room;
pub mod rtp;
mod sdp;
pub mod simulated;
mod sockets;
mod stats;
mod units;
pub mod video;
mod worker;

pub use audio::prompt::{PROMPT_RATE, Playback, Prompt, PromptFile, PromptFileError};
pub use command::{AudioSpec, Command, Digit, Event, FinishedFile, LegEnd, LegSettings, Reply, RoomSpec, VideoSpec};
pub use engine::{Engine, EngineConfig, Reservation, ReserveAt, RoomGroup, WebConfig, WorkerStats};
pub use error::{Error, Refused};
pub use leg::playout;
pub use leg::{Leg, PendingLeg, answer, is_web_offer, offer};
pub use record::{Finalize, PictureTap, Recorder, Tap, recover};
pub use room::ComposerLink;
pub use sdp::{Answer, CodecName, Offer, VideoCapabilities};
pub use stats::{Lateness, LegSnapshot, LegStats, RoomSnapshot, VideoStats};
pub use units::{
    Bitrate, FrameRate, Gain, LegId, PlaybackId, RecordingId, Resolution, RoomId, SampleRate, Ssrc, TICK, Tick,
};
pub use video::VideoCodec;
pub use video::composer::ComposerStats;
pub use video::layout::{Layout, MAX_TILES, Rect, tiles};
pub use video::picture::Picture;
pub use video::stage::{Arrangement, Place, Seat, Stage};
