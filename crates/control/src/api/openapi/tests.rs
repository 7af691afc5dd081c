//! The description is whole: it has every route and no other, every operation has all its parts, every example keeps to its
//! schema, and the checked-in file is what the code says now.

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::api::{documented, open};
use crate::events::{Announced, Data, Kind, NewEvent, RoomData};
use crate::ids::Id;
use crate::store::{StoredEvent, now};
use schema::{break_of, resolve};

type Operations = BTreeMap<(String, String), Value>;

fn all() -> (Value, Operations) {
    let mut whole = whole();
    let all = operations(&mut whole);
    let all = all.map(|(path, method, operation)| ((path.to_owned(), method.to_owned()), operation.clone())).collect();
    (whole, all)
}

/// Every breach on a line of its own, so that one run shows all.
fn none(rule: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

/// Every body with a schema, and where it is.
fn contents(whole: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut add = |at: &str, content: &Value| {
        for (kind, media) in content.as_object().into_iter().flatten() {
            found.push((format!("{at} {kind}"), media.clone()));
        }
    };
    for ((path, method), operation) in &all().1 {
        add(&format!("{method} {path} request"), &operation["requestBody"]["content"]);
        for (status, answer) in operation["responses"].as_object().unwrap() {
            add(&format!("{method} {path} {status}"), &resolve(whole, answer)["content"]);
        }
    }
    found
}

#[test]
fn every_route_is_described_and_every_operation_is_routed() {
    // A method router shows which methods it has, and has no other way to say it.
    let methods = |router: &dyn std::fmt::Debug| {
        let text = format!("{router:?}");
        let has =
            |name: &&str| text.contains(&format!("{name}: BoxedHandler")) || text.contains(&format!("{name}: Route"));
        ["get", "post", "put", "delete", "patch"].into_iter().filter(has).collect::<Vec<_>>()
    };
    let mut routed = BTreeSet::new();
    for (path, router) in documented().into_iter().chain(open(true)) {
        let methods = methods(&router);
        assert!(!methods.is_empty(), "no method of {path} was found");
        routed.extend(methods.into_iter().map(|method| (path.to_owned(), method.to_owned())));
    }
    let described: BTreeSet<_> = all().1.into_keys().collect();
    let missing = routed.difference(&described).map(|(path, method)| format!("{method} {path}"));
    none("routes without #[utoipa::path], or not in the list of openapi.rs", missing.collect());
    let extra = described.difference(&routed).map(|(path, method)| format!("{method} {path}"));
    none("described, and not in the tables of api.rs", extra.collect());
    // And what is open is said to be open, and nothing else.
    let open: Vec<&str> = open(true).iter().map(|(path, _)| *path).collect();
    for ((path, _), operation) in all().1 {
        let is_open = operation["security"].as_array().unwrap().iter().any(|way| *way == serde_json::json!({}));
        assert_eq!(is_open, open.contains(&path.as_str()), "{path}");
    }
}

#[test]
fn every_operation_has_all_its_parts() {
    let (whole, all) = all();
    let mut breaches = Vec::new();
    let (mut ids, tags) = (BTreeSet::new(), whole["tags"].as_array().unwrap());
    for ((path, method), operation) in &all {
        let mut must = |holds: bool, what: &str| {
            if !holds {
                breaches.push(format!("{method} {path}: {what}"));
            }
        };
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        let id = text("operationId");
        must(
            !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "operationId is not snake_case",
        );
        must(ids.insert(id.to_owned()), "operationId is taken");
        must(!text("summary").is_empty() && !text("summary").ends_with('.'), "no summary, or one that is a sentence");
        must(text("description").len() > 20, "no description of what it does");
        let own: Vec<&Value> = operation["tags"].as_array().into_iter().flatten().collect();
        must(own.len() == 1 && tags.iter().any(|tag| tag["name"] == *own[0]), "not one tag of the list");
        let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
        for parameter in &parameters {
            let name = parameter["name"].as_str().unwrap();
            must(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                &format!("{name}: no description"),
            );
            let example = &parameter["example"];
            let broken = break_of(&whole, &parameter["schema"], example);
            must(!example.is_null() && broken.is_none(), &format!("{name}: example {example} {broken:?}"));
        }
        let in_path =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect::<BTreeSet<_>>();
        let named = |p: &&&Value| p["in"] == "path" && p["required"] == true;
        let described: BTreeSet<&str> = parameters.iter().filter(named).map(|p| p["name"].as_str().unwrap()).collect();
        must(in_path == described, "its path and its path parameters differ");
        if method == "get" {
            must(operation.get("requestBody").is_none(), "a GET with a body");
        } else if let Some(body) = operation.get("requestBody") {
            must(body["required"] == true, "a body that may be missing");
        }
        let answers = operation["responses"].as_object().unwrap();
        must(answers.keys().any(|status| status.starts_with('2')), "no success");
        must(answers.contains_key("500"), "no 500");
        for (status, answer) in answers {
            let answer = resolve(&whole, answer);
            let about = answer["description"].as_str().unwrap_or_default();
            must(!about.is_empty(), &format!("{status}: no description"));
            must(answer["headers"].get("X-Request-Id").is_some(), &format!("{status}: no X-Request-Id"));
            for (name, header) in answer["headers"].as_object().unwrap() {
                let header = resolve(&whole, header);
                must(header["description"].is_string(), &format!("{status} {name}: no description"));
                must(header["schema"]["type"].is_string(), &format!("{status} {name}: no schema"));
            }
            let needs = |name: &str| answer["headers"].get(name).is_some();
            let is_refusal = answer["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/Errors";
            match status.as_str() {
                "401" => must(needs("WWW-Authenticate"), "401 without WWW-Authenticate"),
                "429" => must(needs("Retry-After"), "429 without Retry-After"),
                "503" => must(!is_refusal || needs("Retry-After"), "503 without Retry-After"),
                "201" => must(needs("Location"), "201 without Location"),
                _ => {}
            }
            if status.starts_with('4') {
                must(is_refusal, &format!("{status}: not the errors' shape"));
            }
            if is_refusal {
                let code = &answer["content"]["application/json"]["example"]["errors"][0]["code"];
                must(
                    about.contains(&format!("`{}`: ", code.as_str().unwrap())),
                    &format!("{status}: opens with no code"),
                );
            }
        }
    }
    none("not described", breaches);
}

#[test]
fn every_body_has_an_example_that_keeps_to_its_schema() {
    let whole = whole();
    let mut breaches = Vec::new();
    for (at, media) in contents(&whole) {
        let mut examples: Vec<&Value> = media.get("example").into_iter().collect();
        examples.extend(media["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]));
        if examples.is_empty() {
            breaches.push(format!("{at}: no example"));
        }
        for example in examples {
            breaches
                .extend(break_of(&whole, &media["schema"], example).map(|broken| format!("{at}: {broken}: {example}")));
        }
    }
    for (name, schema) in whole["components"]["schemas"].as_object().unwrap() {
        schema::examples_within(schema, &mut |schema, example| {
            breaches.extend(break_of(&whole, schema, example).map(|broken| format!("{name}: {broken}: {example}")));
        });
    }
    none("examples", breaches);
}

#[test]
fn every_field_is_described() {
    let whole = whole();
    let mut breaches = Vec::new();
    for (name, schema) in whole["components"]["schemas"].as_object().unwrap() {
        let is_generic = name.contains('_');
        if schema["description"].as_str().is_none() && !is_generic {
            breaches.push(format!("{name}: what is it?"));
        }
        let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        for (field, schema) in parts.iter().filter_map(|part| part["properties"].as_object()).flatten() {
            let choices = ["oneOf", "anyOf"].into_iter().filter_map(|choice| schema[choice].as_array()).flatten();
            let refers = |schema: &Value| schema.get("$ref").is_some();
            let is_plain = schema["description"].is_string() || refers(schema) || choices.into_iter().any(refers);
            let is_figure = name == "ParticipantStats";
            if !is_plain && !is_figure {
                breaches.push(format!("{name}.{field}: what is it?"));
            }
        }
    }
    none("fields", breaches);
}

#[test]
fn description_is_openapi_3_1() {
    let whole = whole();
    assert_eq!(whole["openapi"], "3.1.0");
    assert_eq!(whole["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(whole["info"]["license"]["identifier"], "MIT OR Apache-2.0");
    let known = ["openapi", "info", "servers", "paths", "components", "tags", "webhooks"];
    assert!(whole.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())));
    let mut breaches = Vec::new();
    schema::walk(&whole, "", &mut |at, value| {
        if let Some(reference) = value["$ref"].as_str()
            && whole.pointer(reference.trim_start_matches('#')).is_none()
        {
            breaches.push(format!("{at}: {reference} leads nowhere"));
        }
        if let Some(pattern) = value["pattern"].as_str()
            && regex::Regex::new(pattern).is_err()
        {
            breaches.push(format!("{at}: {pattern} is no pattern"));
        }
        if let Some((name, _)) = value.as_object().into_iter().flatten().find(|(_, value)| value.is_null()) {
            breaches.push(format!("{at}/{name} is null"));
        }
        if value.get("nullable").is_some() {
            breaches.push(format!("{at}: nullable is OpenAPI 3.0"));
        }
    });
    for status in all().1.values().flat_map(|operation| operation["responses"].as_object().unwrap().keys()) {
        if !status.parse::<u16>().is_ok_and(|status| (100..600).contains(&status)) {
            breaches.push(format!("{status} is no status"));
        }
    }
    none("structure", breaches);
}

#[test]
fn events_are_as_they_are_described() {
    let whole = whole();
    let schema = &whole["components"]["schemas"]["Event"];
    let room = |data| NewEvent { at: now(), room: None, extension: None, kind: Kind::RoomLocked, data };
    let some = RoomData { subject: "x".to_owned(), locked: true, muted: false, layout: "LAYOUT0" };
    for event in [room(Data::Room(some)), NewEvent::webhook_test(Id::from_raw(1)), room(Data::Lost { lost: 1 })] {
        let stored = StoredEvent {
            cursor: 1,
            at: event.at,
            room: event.room,
            extension: event.extension,
            sequence: 1,
            kind: event.kind.as_str().to_owned(),
            data: event.data.json(),
        };
        let told: Value = serde_json::from_str(&Announced::from(stored).json).unwrap();
        assert_eq!(break_of(&whole, schema, &told), None, "{told}");
        let fields = schema["properties"].as_object().unwrap();
        assert!(told.as_object().unwrap().keys().eq(fields.keys()), "{told}");
    }
    let example = &whole["webhooks"]["event"]["post"]["requestBody"]["content"]["application/json"]["example"];
    assert_eq!(break_of(&whole, schema, example), None);
}

#[test]
fn checked_in_file_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/openapi.json");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == file(), "config/openapi.json is stale; renew it: cargo run -- openapi > config/openapi.json");
}
