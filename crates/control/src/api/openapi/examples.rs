//! An example for every body that has none of its own, put together from the examples of its fields.

use serde_json::{Map, Value, json};

use super::operations;

/// Adds them; and says that whatever is answered is answered whole: fields without a value are null, not absent.
pub(super) fn complete(whole: &mut Value) {
    require_answered(whole);
    let schemas = whole["components"]["schemas"].clone();
    for (.., operation) in operations(whole) {
        let answers = operation["responses"].as_object_mut().into_iter().flat_map(|answers| answers.values_mut());
        let contents: Vec<&mut Value> = answers.filter_map(|answer| answer.get_mut("content")).collect();
        for content in contents {
            fill(content, &schemas);
        }
        if let Some(content) = operation.get_mut("requestBody").and_then(|body| body.get_mut("content")) {
            fill(content, &schemas);
        }
    }
}

fn fill(content: &mut Value, schemas: &Value) {
    for media in content.as_object_mut().into_iter().flat_map(|content| content.values_mut()) {
        if media.get("example").is_none() && media.get("examples").is_none() {
            media["example"] = of(&media["schema"], schemas);
        }
    }
}

/// Of a schema.
fn of(schema: &Value, schemas: &Value) -> Value {
    if let Some(example) = schema["examples"].as_array().and_then(|all| all.first()) {
        return example.clone();
    }
    if let Some(name) = named(schema) {
        return of(&schemas[name], schemas);
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().map(|part| of(part, schemas));
        let fields = parts.filter_map(|part| part.as_object().cloned()).flatten();
        return Value::Object(fields.collect());
    }
    for choice in ["oneOf", "anyOf"] {
        let some = schema[choice].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"));
        if let Some(one) = some {
            return of(one, schemas);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            Value::Object(fields.map(|(name, field)| (name.clone(), of(field, schemas))).collect::<Map<_, _>>())
        }
        Some("array") => json!([of(&schema["items"], schemas)]),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

fn named(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn require_answered(whole: &mut Value) {
    let mut written = Vec::new();
    for (.., operation) in operations(whole) {
        collect(&operation["requestBody"], &mut written);
    }
    let schemas = whole["components"]["schemas"].as_object_mut().expect("BUG: a description has schemas");
    let mut at = 0;
    while let Some(name) = written.get(at).cloned() {
        collect(&schemas[&name], &mut written);
        at += 1;
    }
    for (_, schema) in schemas.iter_mut().filter(|(name, _)| !written.contains(name)) {
        require_all(schema);
    }
}

/// Names of the schemas that are referred to.
fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = named(value).filter(|name| !names.iter().any(|known| known == name)) {
                names.push(name.to_owned());
            }
            fields.values().for_each(|field| collect(field, names));
        }
        Value::Array(all) => all.iter().for_each(|one| collect(one, names)),
        _ => {}
    }
}

fn require_all(schema: &mut Value) {
    if let Some(fields) = schema["properties"].as_object() {
        schema["required"] = fields.keys().cloned().collect();
    }
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(require_all);
}
