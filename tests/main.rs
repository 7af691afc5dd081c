//! The product's tests: the real binary on loopback with the test kit's phones and with clients that nobody here wrote,
//! and the house rules.

mod backups;
mod bad_input;
mod baresip_calls;
mod baresip_video;
mod browser_pages;
mod browser_people;
mod browsers;
mod calls;
mod codecs;
mod command_line;
mod description;
mod invitations;
mod invites;
mod keys;
mod lifecycle;
mod menu;
mod moderation;
mod outage;
mod pbx;
mod recordings;
mod rest;
mod restart;
mod sign_in;
mod sip_websocket;
mod sipp_calls;
mod sipp_video;
mod support;
mod tidy;
mod video_calls;
mod video_recordings;
mod whip;
