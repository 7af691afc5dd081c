//! `/api/conference_rooms/{id}/participants`.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use media::CodecName;
use serde::Serialize;

use super::Api;
use super::query::{InPath, Items, ListQuery, id};
use crate::error::Error;
use crate::ids::Id;
use crate::rooms::{ParticipantId, ParticipantView};
use crate::store::Order;

#[derive(Serialize)]
pub(super) struct Participant {
    id: Id,
    display_name: String,
    muted: bool,
    chairman: bool,
    position: i32,
    pinned: bool,
    number: String,
    joined_at: Timestamp,
    transport: &'static str,
    state: &'static str,
    on_hold: bool,
    talking: bool,
    level_dbov: Option<i8>,
    audio_codec: &'static str,
    video_codec: Option<&'static str>,
    stats: Option<Stats>,
}

#[derive(Serialize)]
struct Stats {
    packets_received: u64,
    bytes_received: u64,
    packets_sent: u64,
    bytes_sent: u64,
    packets_lost: u64,
    packets_late: u64,
    packets_discarded: u64,
    frames_concealed: u64,
    jitter_ms: f64,
    rtt_ms: Option<f64>,
    delay_ms: f64,
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
            pinned: false,
            number: view.number,
            joined_at: view.joined_at,
            transport: "SIP",
            state: "JOINED",
            on_hold: view.on_hold,
            talking: view.talking,
            level_dbov: view.live.as_ref().map(|live| live.level_dbov),
            audio_codec: match view.codec {
                CodecName::Pcmu => "PCMU",
                CodecName::Pcma => "PCMA",
                CodecName::Opus => "OPUS",
            },
            video_codec: None,
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
                // Nothing is encrypted on SIP legs.
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

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    InPath(room): InPath<String>,
    query: ListQuery,
) -> Result<Json<Items<Participant>>, Error> {
    let views = api.rooms.participants(id(&room, "room")?).await?;
    let listing = query.listing(column)?;
    let mut items: Vec<Participant> = views.into_iter().map(Participant::from).collect();
    if let Some(search) = listing.search.map(|search| search.to_lowercase()) {
        items.retain(|p| [&p.display_name, &p.number].iter().any(|text| text.to_lowercase().contains(&search)));
    }
    // Without an order they come as they joined; the sort is stable.
    for order in listing.order.iter().rev() {
        items.sort_by(|a, b| compare(order, a, b));
    }
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from = usize::try_from(listing.skip).unwrap_or(usize::MAX);
    let top = usize::try_from(listing.top).unwrap_or(0);
    Ok(Json(Items::new(count, items.into_iter().skip(from).take(top).collect())))
}

fn column(field: &str) -> Option<&'static str> {
    const FIELDS: [&str; 11] = [
        "id",
        "display_name",
        "muted",
        "chairman",
        "position",
        "number",
        "joined_at",
        "transport",
        "state",
        "on_hold",
        "talking",
    ];
    FIELDS.into_iter().find(|known| *known == field)
}

fn compare(order: &Order, a: &Participant, b: &Participant) -> Ordering {
    let ordering = match order.column {
        "id" => a.id.cmp(&b.id),
        "display_name" => a.display_name.cmp(&b.display_name),
        "muted" => a.muted.cmp(&b.muted),
        "chairman" => a.chairman.cmp(&b.chairman),
        "position" => a.position.cmp(&b.position),
        "number" => a.number.cmp(&b.number),
        "joined_at" => a.joined_at.cmp(&b.joined_at),
        "on_hold" => a.on_hold.cmp(&b.on_hold),
        "talking" => a.talking.cmp(&b.talking),
        _ => Ordering::Equal,
    };
    if order.descending { ordering.reverse() } else { ordering }
}

pub(super) async fn show(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<Json<Participant>, Error> {
    let (room, participant) = ids(&path)?;
    Ok(Json(api.rooms.participant(room, participant).await?.into()))
}

pub(super) async fn mute(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<(), Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.mute_participant(room, participant, true)
}

pub(super) async fn unmute(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<(), Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.mute_participant(room, participant, false)
}

pub(super) async fn destroy(State(api): State<Arc<Api>>, InPath(path): Ids) -> Result<StatusCode, Error> {
    let (room, participant) = ids(&path)?;
    api.rooms.remove_participant(room, participant)?;
    Ok(StatusCode::NO_CONTENT)
}
