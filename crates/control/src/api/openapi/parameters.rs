//! Parameters that many operations share: the ids in paths, and the options of lists.

use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};
use utoipa::{IntoParams, PartialSchema};

use super::operations;
use crate::api::fields::{Boolean, Rule, integer, text};
use crate::api::query::{MAX_SEARCH, MAX_SKIP, MAX_TOP};
use crate::api::webhooks::EventType;
use crate::store::DeliveryState;

/// The options that every list takes (api.md section 1).
pub(in crate::api) struct ListOptions;

/// One that may be left out.
fn option(name: &str, about: &str, example: Value, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .example(Some(example))
        .schema(Some(schema))
        .build()
}

fn header(name: &str, about: &str, example: Value) -> Parameter {
    let mut header = option(name, about, example, text_schema());
    header.parameter_in = ParameterIn::Header;
    header
}

/// The same, of a list.
fn list_option(name: &str, about: &str, example: Value, schema: impl Into<RefOr<Schema>>) -> Parameter {
    option(name, &format!("{about} The name works with a leading `$` too."), example, schema)
}

/// The options that page through a list.
fn paging() -> [Parameter; 3] {
    [
        list_option("skip", "How many to leave out at the start.", json!(0), integer(0, MAX_SKIP).schema()),
        list_option("top", "How many to answer at most.", json!(100), integer(1, MAX_TOP).schema()),
        list_option("count", "Accepted; the number of all that match is always sent.", json!(true), Boolean.schema()),
    ]
}

impl IntoParams for ListOptions {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut options = vec![
            list_option(
                "filter",
                "Only what this holds for: `eq ne gt ge lt le` between a field and a literal, `startswith(field,'x')`, \
                 `endswith(field,'x')`, `contains(field,'x')`, combined with `and`, `or`, `not` and parentheses; `and` binds \
                 tighter than `or`. Strings and times stand in single quotes, in which `''` is one quote; other literals are \
                 numbers, `true`, `false` and `null`. Any field of the list can be named; a comparison with a field that is \
                 null is false. What cannot be read is refused with the column of the error. At most 32 levels deep.",
                json!("capacity ge 5 and startswith(subject,'Weekly')"),
                ObjectBuilder::new().schema_type(Type::String).max_length(Some(4096)),
            ),
            list_option(
                "search",
                "Only what holds this in one of its texts, in upper or lower case.",
                json!("weekly"),
                text(0, MAX_SEARCH).schema(),
            ),
            list_option(
                "orderby",
                "Fields to order by, each with `asc` (the default) or `desc` after it, separated by commas; at most 16. Ties \
                 are broken by id, so that paging is stable.",
                json!("id desc"),
                text_schema(),
            ),
        ];
        options.extend(paging());
        options
    }
}

/// The options of a webhook's deliveries.
pub(in crate::api) struct DeliveryOptions;

impl IntoParams for DeliveryOptions {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let state = DeliveryState::schema();
        let mut options = vec![option("state", "Only those in this state.", json!("DEAD"), state)];
        options.extend(paging());
        options
    }
}

/// The options of a stream of events.
pub(in crate::api) struct FollowOptions;

impl IntoParams for FollowOptions {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let types = EventType::words().join("|").replace('.', "\\.");
        let cursor = "Replays what came after this event before what comes from now on; 0: all that is kept.";
        let last = "The same as `cursor`, which it overrules; browsers send it when they come again.";
        vec![
            option("cursor", cursor, json!(4711), integer(0, i64::MAX).schema()),
            option("room", "Only the events of this room.", json!("NzAwNTUxOTA5NzczMTQ4MTYw"), text_schema()),
            option(
                "types",
                "Only these kinds: kinds, or prefixes such as `participant.`, separated by commas.",
                json!("room.,participant.joined"),
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some(format!("^(?:{types})(?:,(?:{types})){{0,63}}$"))),
            ),
            header("Last-Event-ID", last, json!("4711")),
        ]
    }
}

fn text_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Ids in paths, which need not be said for each operation. Any text is taken: one that is no id is 404, as one that names
/// nothing.
pub(super) fn complete(whole: &mut Value) {
    for (path, _, operation) in operations(whole) {
        let mut described: Vec<Value> = operation["parameters"].as_array().cloned().unwrap_or_default();
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let missing: Vec<&str> =
            names.filter(|name| !described.iter().any(|p| p["in"] == "path" && p["name"] == **name)).collect();
        for (at, name) in missing.into_iter().enumerate() {
            let of = match name.strip_suffix("_id") {
                Some(of) => of,
                None if path.starts_with("/api/conference_servers") => "server",
                None if path.starts_with("/api/webhooks") => "webhook",
                None => "room",
            };
            let parameter = json!({
                "name": name, "in": "path", "required": true,
                "description": format!("The {of}'s id."),
                "schema": {"$ref": "#/components/schemas/Id"},
                "example": "NzAwNTUxOTA5NzczMTQ4MTYw",
            });
            described.insert(at, parameter);
        }
        if !described.is_empty() {
            operation["parameters"] = described.into();
        }
    }
}
