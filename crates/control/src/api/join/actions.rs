//! What a browser's participant does: to themselves, and to the room when they are its chairman.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;

use super::sessions::Session;
use crate::api::Api;
use crate::api::query::InPath;
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::{Inviter, Layout, ParticipantId};

/// Of the layout's tiles, and for "not shown".
const POSITIONS: std::ops::RangeInclusive<i8> = -1..=8;
/// Characters of what may be called.
const MAX_NUMBER: usize = 128;

/// One wish.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(in crate::api) enum Action {
    Mute,
    Unmute,
    RaiseHand,
    LowerHand { participant: Option<String> },
    ClaimChairman { pin: String },
    MuteParticipant { participant: String },
    UnmuteParticipant { participant: String },
    Remove { participant: String },
    Appoint { participant: String },
    MuteAll,
    UnmuteAll,
    Lock,
    Unlock,
    StartRecording,
    StopRecording,
    Invite { number: String },
    Layout { layout: String },
    Position { participant: String, position: i8 },
}

fn someone(id: &str) -> Result<ParticipantId, Error> {
    Id::parse(id).map(|id| ParticipantId(id.raw())).ok_or(Error::NotFound("participant"))
}

/// `POST /join/session/{key}/actions`
pub(in crate::api) async fn act(
    State(api): State<Arc<Api>>,
    InPath(key): InPath<String>,
    body: Result<Json<Action>, JsonRejection>,
) -> Result<(), Error> {
    let session = api.sessions.find(&key)?;
    let Json(action) = body.map_err(|rejection| match rejection {
        JsonRejection::MissingJsonContentType(_) => Error::MediaType,
        other => Error::invalid("action", other.body_text()),
    })?;
    // Begun is done, even if the page goes away meanwhile.
    let acting = tokio::spawn(async move { carry_out(&api, &session, action).await });
    acting.await.map_err(|e| Error::Broken(e.to_string()))?
}

async fn carry_out(api: &Api, session: &Session, action: Action) -> Result<(), Error> {
    let (rooms, room, me) = (&api.rooms, session.room, session.participant);
    match action {
        Action::Mute => return rooms.mute_oneself(room, me, true),
        Action::Unmute => return rooms.mute_oneself(room, me, false),
        Action::RaiseHand => return rooms.raise_hand(room, me, true),
        Action::LowerHand { participant: None } => return rooms.raise_hand(room, me, false),
        Action::ClaimChairman { pin } => return rooms.claim_chair(room, me, &pin),
        _ => {}
    }
    if !rooms.is_chairman(room, me)? {
        return Err(Error::Forbidden("only the chairman may do this".into()));
    }
    match action {
        Action::LowerHand { participant } => rooms.raise_hand(room, someone(&participant.unwrap_or_default())?, false),
        Action::MuteParticipant { participant } => rooms.mute_participant(room, someone(&participant)?, true).await,
        Action::UnmuteParticipant { participant } => rooms.mute_participant(room, someone(&participant)?, false).await,
        Action::Remove { participant } => rooms.remove_participant(room, someone(&participant)?).await,
        Action::Appoint { participant } => rooms.appoint_chairman(room, someone(&participant)?).await,
        Action::MuteAll => rooms.mute_room(room, true).await,
        Action::UnmuteAll => rooms.mute_room(room, false).await,
        Action::Lock => rooms.lock_room(room, true).await,
        Action::Unlock => rooms.lock_room(room, false).await,
        Action::StartRecording => rooms.start_recording(room).await,
        Action::StopRecording => rooms.stop_recording(room).await,
        Action::Invite { number } => {
            let fits = (1..=MAX_NUMBER).contains(&number.chars().count());
            if !fits {
                return Err(Error::invalid("number", "number must have 1 to 128 characters"));
            }
            rooms.invite(room, &number, Inviter::Participant(me)).await
        }
        Action::Layout { layout } => {
            let wanted = Layout::parse(&layout);
            let wanted = wanted.ok_or_else(|| Error::invalid("layout", "layout must be LAYOUT0 to LAYOUT9"))?;
            rooms.update_room(room, |settings| Ok(crate::rooms::RoomSettings { layout: wanted, ..settings })).await
        }
        Action::Position { participant, position } => {
            if !POSITIONS.contains(&position) {
                return Err(Error::invalid("position", "position must be a whole number from -1 to 8"));
            }
            rooms.place_participant(room, someone(&participant)?, position).await
        }
        Action::Mute | Action::Unmute | Action::RaiseHand | Action::ClaimChairman { .. } => Ok(()),
    }
}
