//! Parameters that many operations share: the ids in paths, and the options of lists.

use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::operations;
use crate::api::fields::{Boolean, Rule, integer, text};
use crate::api::query::{MAX_SEARCH, MAX_SKIP, MAX_TOP};

/// The options that every list takes (api.md section 1).
pub(in crate::api) struct ListOptions;

impl IntoParams for ListOptions {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let option = |name: &str, about: &str, example: Value| {
            let about = format!("{about} The name works with a leading `$` too.");
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(about))
                .example(Some(example))
        };
        vec![
            option(
                "filter",
                "Only what this holds for: `eq ne gt ge lt le` between a field and a literal, `startswith(field,'x')`, \
                 `endswith(field,'x')`, `contains(field,'x')`, combined with `and`, `or`, `not` and parentheses; `and` binds \
                 tighter than `or`. Strings and times stand in single quotes, in which `''` is one quote; other literals are \
                 numbers, `true`, `false` and `null`. Any field of the list can be named; a comparison with a field that is \
                 null is false. What cannot be read is refused with the column of the error. At most 32 levels deep.",
                json!("capacity ge 5 and startswith(subject,'Weekly')"),
            )
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(4096))))
            .build(),
            option("search", "Only what holds this in one of its texts, in upper or lower case.", json!("weekly"))
                .schema(Some(text(0, MAX_SEARCH).schema()))
                .build(),
            option(
                "orderby",
                "Fields to order by, each with `asc` (the default) or `desc` after it, separated by commas; at most 16. Ties \
                 are broken by id, so that paging is stable.",
                json!("id desc"),
            )
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .build(),
            option("skip", "How many to leave out at the start.", json!(0))
                .schema(Some(integer(0, MAX_SKIP).schema()))
                .build(),
            option("top", "How many to answer at most.", json!(100)).schema(Some(integer(1, MAX_TOP).schema())).build(),
            option("count", "Accepted; the number of all that match is always sent.", json!(true))
                .schema(Some(Boolean.schema()))
                .build(),
        ]
    }
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
