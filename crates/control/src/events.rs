//! What happens, on its way: facts from the engine to the rooms (`facts`), and events from the rooms to everyone who wants
//! to know, through one ordered, durable outbox (`journal`).

mod event;
mod facts;
mod journal;

pub use event::{Data, Kind, NewEvent, ParticipantData, RecordingData, RoomData, ServerData};
pub use facts::EventFeed;
pub use journal::{Entry, Journal};
