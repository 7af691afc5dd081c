//! As much of JSON Schema (2020-12) as the description uses, to hold its examples against it. A keyword that is not known
//! here is a breach: nothing passes because nobody looked.

use regex::Regex;
use serde_json::Value;

/// Said for people and generators only.
const ANNOTATIONS: [&str; 9] = [
    "description",
    "default",
    "examples",
    "example",
    "format",
    "contentMediaType",
    "contentSchema",
    "contentEncoding",
    "title",
];

/// What a reference leads to.
pub(super) fn resolve<'a>(whole: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => whole.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => value,
    }
}

/// Why the value does not keep to the schema.
pub(super) fn break_of(whole: &Value, schema: &Value, value: &Value) -> Option<String> {
    let keywords = schema.as_object()?;
    keywords.iter().find_map(|(keyword, rule)| {
        let holds = match keyword.as_str() {
            "$ref" => return break_of(whole, resolve(whole, schema), value),
            "allOf" => return rule.as_array()?.iter().find_map(|part| break_of(whole, part, value)),
            "oneOf" | "anyOf" => rule.as_array()?.iter().any(|one| break_of(whole, one, value).is_none()),
            "not" => break_of(whole, rule, value).is_some(),
            "type" => match rule.as_array() {
                Some(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
                None => is_of(rule, value),
            },
            "enum" => rule.as_array()?.contains(value),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
            "minItems" => value.as_array().is_none_or(|all| all.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|all| all.len() as u64 <= rule.as_u64().unwrap()),
            "items" => return value.as_array()?.iter().find_map(|one| break_of(whole, rule, one)),
            "required" => {
                let fields = value.as_object()?;
                let missing = rule.as_array()?.iter().find(|name| !fields.contains_key(name.as_str().unwrap()));
                return missing.map(|name| format!("{name} is missing"));
            }
            "properties" => {
                let fields = value.as_object()?;
                return fields.iter().find_map(|(name, value)| {
                    let broken = break_of(whole, rule.get(name)?, value);
                    broken.map(|broken| format!("{name}: {broken}"))
                });
            }
            annotation => ANNOTATIONS.contains(&annotation),
        };
        (!holds).then(|| format!("{keyword} {rule:.60}"))
    })
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Every example that stands in a schema.
pub(super) fn examples_within(schema: &Value, each: &mut dyn FnMut(&Value, &Value)) {
    walk(schema, "", &mut |_, schema| {
        let examples = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
        examples.for_each(|example| each(schema, example));
        // Null is no default, as absent is not null.
        schema.get("default").into_iter().for_each(|default| each(schema, default));
    });
}

/// Every object, but not within examples.
pub(super) fn walk(value: &Value, at: &str, each: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => {
            each(at, value);
            for (name, field) in fields {
                if !matches!(name.as_str(), "example" | "examples" | "default" | "enum") {
                    walk(field, &format!("{at}/{name}"), each);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|one| walk(one, at, each)),
        _ => {}
    }
}
