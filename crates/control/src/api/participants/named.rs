//! The fields of a participant by name, for filters and orders.

use super::{Participant, Stats};
use crate::filter::{Field, Fields, Kind, Number, Value};

/// Gives a field's value.
pub(super) type Source = for<'a> fn(&'a Participant) -> Option<Value<'a>>;

pub(super) const FIELDS: Fields<Source> = Fields::open(ALL);

const ALL: &[Field<Source>] = &[
    Field::new("id", Kind::Id, |p| Some(Value::Id(p.id))),
    Field::new("display_name", Kind::Text, |p| Some(Value::Text(&p.display_name))),
    Field::new("muted", Kind::Boolean, |p| Some(Value::Boolean(p.muted))),
    Field::new("chairman", Kind::Boolean, |p| Some(Value::Boolean(p.chairman))),
    Field::new("position", Kind::Number, |p| whole(p.position)),
    Field::new("pinned", Kind::Boolean, |p| Some(Value::Boolean(p.pinned))),
    Field::new("number", Kind::Text, |p| Some(Value::Text(&p.number))),
    Field::new("joined_at", Kind::Time, |p| Some(Value::Time(p.joined_at))),
    Field::new("transport", Kind::Text, |p| Some(Value::Text(p.transport))),
    Field::new("state", Kind::Text, |p| Some(Value::Text(p.state))),
    Field::new("on_hold", Kind::Boolean, |p| Some(Value::Boolean(p.on_hold))),
    Field::new("talking", Kind::Boolean, |p| Some(Value::Boolean(p.talking))),
    Field::nullable("level_dbov", Kind::Number, |p| p.level_dbov.and_then(whole)),
    Field::new("hand_raised", Kind::Boolean, |p| Some(Value::Boolean(p.hand_raised))),
    Field::nullable("audio_codec", Kind::Text, |p| p.audio_codec.map(Value::Text)),
    Field::nullable("video_codec", Kind::Text, |p| p.video_codec.map(Value::Text)),
    Field::nullable("stats", Kind::Object, |p| p.stats.as_ref().map(|_| Value::Object)),
    Field::nullable("stats/packets_received", Kind::Number, |p| count(p, |s| s.packets_received)),
    Field::nullable("stats/bytes_received", Kind::Number, |p| count(p, |s| s.bytes_received)),
    Field::nullable("stats/packets_sent", Kind::Number, |p| count(p, |s| s.packets_sent)),
    Field::nullable("stats/bytes_sent", Kind::Number, |p| count(p, |s| s.bytes_sent)),
    Field::nullable("stats/packets_lost", Kind::Number, |p| count(p, |s| s.packets_lost)),
    Field::nullable("stats/packets_late", Kind::Number, |p| count(p, |s| s.packets_late)),
    Field::nullable("stats/packets_discarded", Kind::Number, |p| count(p, |s| s.packets_discarded)),
    Field::nullable("stats/frames_concealed", Kind::Number, |p| count(p, |s| s.frames_concealed)),
    Field::nullable("stats/jitter_ms", Kind::Number, |p| real(p.stats.as_ref().map(|s| s.jitter_ms))),
    Field::nullable("stats/rtt_ms", Kind::Number, |p| real(p.stats.as_ref().and_then(|s| s.rtt_ms))),
    Field::nullable("stats/delay_ms", Kind::Number, |p| real(p.stats.as_ref().map(|s| s.delay_ms))),
    Field::nullable("stats/srtp_errors", Kind::Number, |p| count(p, |s| s.srtp_errors)),
];

fn whole<'a>(number: impl Into<i64>) -> Option<Value<'a>> {
    Some(Value::Number(Number::Whole(number.into())))
}

fn real<'a>(number: Option<f64>) -> Option<Value<'a>> {
    number.map(|number| Value::Number(Number::Real(number)))
}

fn count(participant: &Participant, of: fn(&Stats) -> u64) -> Option<Value<'_>> {
    let count = i64::try_from(of(participant.stats.as_ref()?)).unwrap_or(i64::MAX);
    whole(count)
}
