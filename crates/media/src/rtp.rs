//! RTP and RTCP on the wire: one mechanism a file, the RFC at its top.

pub mod feedback;
pub mod h264;
pub mod packet;
pub mod rtcp;
pub mod source;
pub mod vp8;

/// Property tests that run the same everywhere and write no files.
#[cfg(test)]
pub(crate) fn seeded() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x5eed),
        failure_persistence: None,
        ..Default::default()
    }
}
