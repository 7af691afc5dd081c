//! Sound: frames, codecs, concealment, the bus. Arithmetic only: no clock, no socket, no thread.

pub mod bus;
pub mod codec;
pub mod conceal;
pub mod frame;
pub mod keys;
pub mod level;
pub mod limit;
pub mod player;
pub mod prompt;
pub mod resample;
pub mod stretch;
