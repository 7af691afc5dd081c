//! Why the engine says no, sorted by who is to blame. Knows nothing of HTTP or SIP codes.

/// Everything that media refuses or fails at. The text is one precise reason for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller asked for something that cannot be: an unknown room, no codec in common.
    #[error("{0}")]
    Refused(Refused),
    /// The engine cannot take it now: a queue or the port range is full. Trying later may succeed.
    #[error("{0}")]
    Busy(&'static str),
    /// The far end sent what cannot be used (malformed SDP).
    #[error("{0}")]
    Peer(String),
    /// Our environment failed: disk, sockets, threads.
    #[error("{0}")]
    Broken(String),
}

/// The refusals a caller has to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The room is not open on any worker.
    #[error("the room is not open")]
    UnknownRoom,
    /// The leg is not in the room.
    #[error("the leg is not in the room")]
    UnknownLeg,
    /// Offer and configuration share no audio codec (SIP 488).
    #[error("no audio codec in common")]
    NoCommonCodec,
    /// The offer has no usable audio stream (SIP 488).
    #[error("the offer has no audio stream")]
    NoAudio,
    /// The offer has audio, on no transport that we take; the text says which (SIP 488).
    #[error("{0}")]
    UnusableAudio(&'static str),
    /// The leg's sockets are another worker's than the room's.
    #[error("the leg's sockets belong to another media worker")]
    AnotherWorker,
    /// No sockets for browsers are open.
    #[error("browsers are not served: [webrtc] is off")]
    NoWebRtc,
    /// We make no offers to browsers: they make theirs.
    #[error("no offer is made to a browser")]
    NoOffer,
    /// What was asked for is for legs over ICE only.
    #[error("the leg is not a browser's")]
    NotWeb,
    /// A recording runs already in this room.
    #[error("a recording is running already")]
    AlreadyRecording,
}
