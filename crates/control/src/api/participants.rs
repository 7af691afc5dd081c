//! `/api/conference_rooms/{id}/participants`.

mod named;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::Timestamp;
use media::{CodecName, VideoCodec};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::fields::{DialString, Fields, body, integer, list_of, text};
use super::openapi::{ListOptions, PARTICIPANTS, ParticipantState, Time, Transport};
use super::query::{InPath, Items, ListQuery, id};
use crate::auth::Identity;
use crate::error::Error;
use crate::filter;
use crate::ids::Id;
use crate::rooms::{HIDDEN, Inviter, ParticipantId, ParticipantView};

/// The last tile that any layout has.
const MAX_POSITION: i64 = 8;
/// Participants that one arrangement names.
const MAX_ITEMS: usize = 200;
/// Characters of what may be an id.
const MAX_ID: usize = 64;

/// Somebody in a room, or on the way in.
#[derive(Serialize, ToSchema)]
pub(super) struct Participant {
    id: Id,
    /// Name and address, as SIP has them.
    #[schema(examples("\"Bob\"<sip:101@192.0.2.20>"))]
    display_name: String,
    /// Whether the others do not hear it.
    muted: bool,
    /// Whether it leads the room.
    chairman: bool,
    /// The tile it is shown in; -1 when in none.
    #[schema(examples(0), minimum = -1, maximum = 8)]
    position: i32,
    /// Whether the position was set.
    pinned: bool,
    /// What it called from, or was called at.
    #[schema(examples("101"))]
    number: String,
    #[schema(value_type = Time)]
    joined_at: Timestamp,
    #[schema(value_type = Transport)]
    transport: &'static str,
    #[schema(value_type = ParticipantState)]
    state: &'static str,
    /// Whether it put the room on hold.
    on_hold: bool,
    /// Whether it is heard now.
    #[schema(examples(true))]
    talking: bool,
    /// How loud it is, in dB below the loudest possible.
    #[schema(examples(-23), minimum = -127, maximum = 0)]
    level_dbov: Option<i8>,
    /// Whether it asks for the word.
    hand_raised: bool,
    /// Of its sound; null until it has answered.
    #[schema(examples("OPUS"))]
    audio_codec: Option<&'static str>,
    /// Of its picture; null without one.
    #[schema(examples(json!(null)))]
    video_codec: Option<&'static str>,
    /// Of its media; null before there is any.
    stats: Option<Stats>,
}

/// Figures of one participant's media.
#[derive(Serialize, ToSchema)]
#[schema(as = ParticipantStats)]
struct Stats {
    #[schema(examples(1500))]
    packets_received: u64,
    #[schema(examples(120000))]
    bytes_received: u64,
    #[schema(examples(1500))]
    packets_sent: u64,
    #[schema(examples(120000))]
    bytes_sent: u64,
    /// Never came.
    #[schema(examples(3))]
    packets_lost: u64,
    /// Came after their turn.
    #[schema(examples(1))]
    packets_late: u64,
    /// Came and were not taken.
    #[schema(examples(0))]
    packets_discarded: u64,
    /// Frames of 20 ms that were made up.
    #[schema(examples(4))]
    frames_concealed: u64,
    #[schema(examples(2.5), minimum = 0)]
    jitter_ms: f64,
    /// Null when the far end does not tell.
    #[schema(examples(31.0), minimum = 0)]
    rtt_ms: Option<f64>,
    /// Of the jitter buffer.
    #[schema(examples(40.0), minimum = 0)]
    delay_ms: f64,
    /// Packets that could not be authenticated.
    #[schema(examples(0))]
    srtp_errors: u64,
}

impl From<ParticipantView> for Participant {
    fn from(view: ParticipantView) -> Self {
        // Tenths: what is finer is noise.
        let ms = |duration: std::time::Duration| (duration.as_secs_f64() * 10_000.0).round() / 10.0;
        Self {
            id: Id::from_raw(view.id.0),
            display_name: view.display_name,
            muted: view.muted,
            chairman: view.chairman,
            position: view.position,
            pinned: view.pinned,
            number: view.number,
            joined_at: view.joined_at,
            transport: view.transport.as_str(),
            state: view.presence.as_str(),
            hand_raised: view.hand_raised,
            on_hold: view.on_hold,
            talking: view.talking,
            level_dbov: view.live.as_ref().map(|live| live.level_dbov),
            audio_codec: view.codec.map(|codec| match codec {
                CodecName::Pcmu => "PCMU",
                CodecName::Pcma => "PCMA",
                CodecName::Opus => "OPUS",
            }),
            video_codec: view.video.map(|codec| match codec {
                VideoCodec::H264 => "H264",
                VideoCodec::Vp8 => "VP8",
            }),
            stats: view.live.map(|live| Stats {
                packets_received: live.stats.packets_received,
                bytes_received: live.stats.bytes_received,
                packets_sent: live.stats.packets_sent,
                bytes_sent: live.stats.bytes_sent,
                packets_lost: live.stats.packets_lost,
                packets_late: live.stats.packets_late,
                packets_discarded: live.stats.packets_discarded,
                frames_concealed: live.stats.frames_concealed,
                jitter_ms: ms(live.stats.jitter),
                rtt_ms: live.stats.rtt.map(ms),
                delay_ms: ms(live.stats.playout_delay),
                // What cannot be authenticated is no browser's, and what phones send is not encrypted.
                srtp_errors: 0,
            }),
        }
    }
}

type Ids = InPath<(String, String)>;

/// Room and participant of a path.
fn ids((room, participant): &(String, String)) -> Result<(Id, ParticipantId), Error> {
    Ok((id(room, "room")?, ParticipantId(id(participant, "participant")?.raw())))
}

/// Named for the description.
type ParticipantList = Items<Participant>;

/// List a room's participants
///
/// Who is in the room and who is on the way in, as they joined unless `orderby` says otherwise. `search` looks into
/// `display_name` and `number`.
#[utoipa::path(
    get, path = "/api/conference_rooms/{id}/participants", operation_id = "list_participants", tag = PARTICIPANTS,
    params(ListOptions),
    responses((status = 200, description = "A page of participants.", body = ParticipantList)),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    query: ListQuery,
) -> Result<Json<Items<Participant>>, Error> {
    let views = api.rooms.participants(id(&room, "room")?).await?;
    let listing = query.listing(&named::FIELDS)?;
    let mut items: Vec<Participant> = views.into_iter().map(Participant::from).collect();
    if let Some(search) = listing.search.map(|search| search.to_lowercase()) {
        items.retain(|p| [&p.display_name, &p.number].iter().any(|text| text.to_lowercase().contains(&search)));
    }
    if let Some(filter) = &listing.filter {
        items.retain(|p| filter.holds(&|field| (field.source)(p)));
    }
    // Without an order they come as they joined; the sort is stable.
    for order in listing.order.iter().rev() {
        let value = order.field.source;
        items.sort_by(|a, b| {
            let ordering = filter::order(value(a), value(b));
            if order.descending { ordering.reverse() } else { ordering }
        });
    }
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from = usize::try_from(listing.skip).unwrap_or(usize::MAX);
    let top = usize::try_from(listing.top).unwrap_or(0);
    Ok(Json(Items::new(count, items.into_iter().skip(from).take(top).collect())))
}

/// Get a participant
///
/// One participant, with the same fields as in the list.
#[utoipa::path(
    get, path = "/api/conference_rooms/{id}/participants/{participant_id}", operation_id = "get_participant",
    tag = PARTICIPANTS,
    responses((status = 200, description = "The participant.", body = Participant)),
)]
pub(super) async fn show(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<Json<Participant>, Error> {
    let (room, participant) = ids(&path)?;
    Ok(Json(api.rooms.participant(room, participant).await?.into()))
}

/// Mute a participant
///
/// The others do not hear it any more. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/participants/{participant_id}/mute",
    operation_id = "mute_participant", tag = PARTICIPANTS,
    responses((status = 200, description = "Muted.")),
)]
pub(super) async fn mute(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<(), Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.mute_participant(room, participant, true).await
}

/// Unmute a participant
///
/// The others hear it again, in a muted room too. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/participants/{participant_id}/unmute",
    operation_id = "unmute_participant", tag = PARTICIPANTS,
    responses((status = 200, description = "Unmuted.")),
)]
pub(super) async fn unmute(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<(), Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.mute_participant(room, participant, false).await
}

/// Make a participant the chairman
///
/// There is one in a room: the former one is none any more. The chairman of a muted room is heard. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/participants/{participant_id}/chairman",
    operation_id = "appoint_chairman", tag = PARTICIPANTS,
    responses((status = 200, description = "It leads the room.")),
)]
pub(super) async fn chairman(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<(), Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.appoint_chairman(room, participant).await
}

body! {
    /// Where a participant is shown.
    struct Placement (creates) {
        /// The tile, from 0; whoever holds it gets the one that becomes free. -1: it is not shown.
        required position: i64 = integer(HIDDEN as i64, MAX_POSITION), example 0;
    }
}

/// Place a participant
///
/// Pins it to a tile until the room empties. A tile that the layout does not have is kept, and holds when the layout has it.
/// In a room without a picture the position is kept and returned. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/participants/{participant_id}/position",
    operation_id = "place_participant", tag = PARTICIPANTS,
    request_body = Placement,
    responses((status = 200, description = "Placed.")),
)]
pub(super) async fn position(State(api): State<Arc<Api>>, InPath(path): Ids, mut fields: Fields) -> Result<(), Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.participant_is_in(room, participant)?;
    let placement: Placement = fields.fill()?;
    let position = i8::try_from(placement.position).unwrap_or(HIDDEN);
    api.rooms.place_participant(room, participant, position).await
}

body! {
    /// Who is shown where.
    struct Arrangement (creates) {
        /// Ids of participants; the place in the list is the tile. Those who are not named come after them, as they joined.
        required items: Vec<String> = list_of(text(0, MAX_ID), MAX_ITEMS), example [];
    }
}

/// Arrange the participants
///
/// Places all of them at once; an id that is not in the room, or named twice, changes nothing. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/participants/layout", operation_id = "arrange_participants",
    tag = PARTICIPANTS,
    request_body = Arrangement,
    responses((status = 200, description = "Arranged.")),
)]
pub(super) async fn layout(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    mut fields: Fields,
) -> Result<(), Error> {
    let room = id(&room, "room")?;
    api.rooms.is_known(room)?;
    let arrangement: Arrangement = fields.fill()?;
    let nobody = || Error::invalid("items", "items names somebody who is not in the room");
    let one = |item: &String| Id::parse(item).map(|id| ParticipantId(id.raw())).ok_or_else(nobody);
    let items: Vec<ParticipantId> = arrangement.items.iter().map(one).collect::<Result<_, _>>()?;
    api.rooms.arrange_participants(room, &items).await
}

body! {
    /// Whom to call.
    struct Invitation (creates) {
        /// An extension, digits with an optional + before them, or a sip: address.
        required number: String = DialString, example "102";
    }
}

/// Invite a participant
///
/// Calls a number; whoever answers is in the room, without a PIN and in a locked room too. Its fate is in the list of
/// participants and in the events. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/participants/invite", operation_id = "invite_participant",
    tag = PARTICIPANTS,
    request_body = Invitation,
    responses(
        (status = 200, description = "It is being called."),
        (status = 409, description = "`INVALID_STATE`: no outbound trunk is configured, or the number is in the room. \
            `CAPACITY_EXCEEDED`: the room or the server is full."),
    ),
)]
pub(super) async fn invite(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Identity>,
    InPath(room): InPath<String>,
    mut fields: Fields,
) -> Result<(), Error> {
    let room = id(&room, "room")?;
    api.rooms.is_known(room)?;
    let invitation: Invitation = fields.fill()?;
    api.rooms.invite(room, &invitation.number, Inviter::Token(who.token)).await
}

/// Remove a participant
///
/// Ends its call. Needs the role operator.
#[utoipa::path(
    post, path = "/api/conference_rooms/{id}/participants/{participant_id}/destroy",
    operation_id = "destroy_participant", tag = PARTICIPANTS,
    responses((status = 204, description = "Gone.")),
)]
pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<StatusCode, Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.remove_participant(room, participant).await?;
    Ok(StatusCode::NO_CONTENT)
}
