//! The control core through its doors: the router as clients see it, rooms as SIP sees them, over a real engine and a real
//! database file. Nothing here speaks SIP; the root package's tests do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod admission;
mod auth;
mod backups;
mod bad_input;
mod events;
mod filters;
mod gate;
mod house;
mod live;
mod openapi;
mod pages;
mod participants;
mod pictures;
mod recordings;
mod room_events;
mod rooms;
mod server;
mod servers;
mod socket;
mod tls;
mod webhooks;
