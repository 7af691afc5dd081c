//! Input that no client means, against every operation that the description has: a clear 4xx each time, and nothing is
//! changed by it.

use axum::body::Body;
use axum::http::header;
use serde_json::{Map, Value, json};

use crate::house::{Answer, House, Phone};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// What ends a text, a statement or a pattern in some database, or is a place for a value there.
const SQL: [&str; 18] = [
    "'",
    "''",
    "\"",
    "`",
    "\\",
    "%",
    "_",
    ";",
    "--",
    "/*",
    "?",
    "$1",
    ":name",
    ")",
    "' OR '1'='1",
    "'; DROP TABLE rooms; --",
    "x') UNION SELECT token_hash FROM tokens --",
    "'||(SELECT name FROM users)||'",
];

/// A house with one of everything.
struct Scene {
    house: House,
    description: Value,
    room: String,
    participant: String,
    server: String,
    webhook: String,
    _phone: Phone,
}

/// With a body, as the description has it.
struct Operation {
    path: String,
    /// The media types that it takes.
    types: Vec<String>,
    /// Each field with its schema.
    fields: Map<String, Value>,
    example: Value,
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Every byte but letters and digits in its percent form.
fn encoded(text: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

impl Scene {
    async fn open() -> Self {
        let house = House::open_with(&[("API__REQUESTS_PER_MINUTE", "1000000")]).await;
        let description = serde_json::from_str(&control::api::openapi::file()).unwrap();
        let room = house.room("900", &json!({"subject": "Weekly"})).await.rsplit_once('/').unwrap().1.to_owned();
        let phone = house.dial("900", "101").await.unwrap();
        let server = id_of(&house.items("/api/conference_servers").await[0]);
        let webhook = house.post_as("admin", "/api/webhooks", &json!({"url": "https://hooks.invalid"})).await;
        let webhook = id_of(&webhook.expect(201).json());
        Self { house, description, room, participant: phone.wire_id(), server, webhook, _phone: phone }
    }

    /// The path of something that is there.
    fn path(&self, template: &str) -> String {
        let id = match template {
            _ if template.starts_with("/api/conference_servers") => &self.server,
            _ if template.starts_with("/api/webhooks") => &self.webhook,
            _ => &self.room,
        };
        template.replace("{id}", id).replace("{participant_id}", &self.participant)
    }

    fn operations(&self) -> Vec<Operation> {
        let described = self.description["paths"].as_object().unwrap();
        let with_body = described.iter().filter_map(|(path, item)| Some((path, item["post"].get("requestBody")?)));
        let operation = |(path, body): (&String, &Value)| {
            let content = &body["content"][JSON];
            let name = content["schema"]["$ref"].as_str().unwrap().rsplit_once('/').unwrap().1;
            Operation {
                path: self.path(path),
                types: body["content"].as_object().unwrap().keys().cloned().collect(),
                fields: self.description["components"]["schemas"][name]["properties"].as_object().unwrap().clone(),
                example: content["example"].clone(),
            }
        };
        let found: Vec<Operation> = with_body.map(operation).collect();
        assert!(found.len() > 10, "the description has only {} operations with a body", found.len());
        found
    }

    /// The lists that take a filter.
    fn lists(&self) -> Vec<String> {
        let takes_filter = |item: &Value| {
            item["get"]["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "filter"))
        };
        let described = self.description["paths"].as_object().unwrap().iter();
        let found: Vec<String> =
            described.filter(|(_, item)| takes_filter(item)).map(|(path, _)| self.path(path)).collect();
        assert!(found.len() >= 4, "{found:?}");
        found
    }

    async fn post(&self, path: &str, content_type: Option<&str>, body: impl Into<Body>) -> Answer {
        let request = self.house.request("admin", "POST", path);
        let request = content_type.into_iter().fold(request, |request, is| request.header(header::CONTENT_TYPE, is));
        self.house.send(request.body(body.into()).unwrap()).await
    }

    /// All that lists and single resources say, but for what changes by itself.
    async fn state(&self) -> Vec<Value> {
        let mut state = Vec::new();
        for path in ["/api/conference_rooms/{id}", "/api/conference_servers/{id}", "/api/webhooks/{id}"] {
            state.push(self.house.get(&self.path(path)).await.expect(200).json());
        }
        for path in ["/api/conference_rooms", "/api/conference_servers", "/api/webhooks"] {
            state.push(self.house.get(path).await.expect(200).json()["count"].clone());
        }
        let someone = self.house.get(&self.path("/api/conference_rooms/{id}/participants/{participant_id}")).await;
        let someone = someone.expect(200).json();
        state.extend(["muted", "chairman", "position", "pinned"].map(|field| someone[field].clone()));
        state
    }
}

#[tokio::test]
async fn bodies_that_are_no_object_of_json_are_refused_by_every_operation() {
    let scene = Scene::open().await;
    let before = scene.state().await;
    let nested = |open: &str, close: &str| format!("{{\"a\":{}1{}}}", open.repeat(5_000), close.repeat(5_000));
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "[]",
        "5",
        "null",
        "true",
        "\"x\"",
        "{}{}",
        "{}x",
        "{'a':1}",
        "{a:1}",
        "{\"a\":1,}",
        "\u{feff}{}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":0x1F}",
        "{\"a\":01}",
        "{\"a\":1e400}",
        "{\"a\":-1e400}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":1,\"a\":1}",
        "{\"a\":{\"b\":1,\"b\":2}}",
        "{\"a\":[{\"\":1,\"\":2}]}",
        "<?xml version=\"1.0\"?>",
        "subject=x",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    bodies.extend([nested("[", "]"), nested("{\"a\":", "}"), "[".repeat(60_000)].map(String::into_bytes));
    // No UTF-8: a lone byte, an overlong form, half of a pair, past the last character, a broken off one, UTF-16.
    bodies.extend(
        [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]
            .iter()
            .flat_map(|bytes| [[b"{\"a\":\"", *bytes, b"\"}"].concat(), [b"{\"", *bytes, b"\":1}"].concat()]),
    );
    bodies.push(b"{\0}\0".to_vec());
    bodies.push(b"\xff\xfe{\0}\0".to_vec());
    for operation in scene.operations() {
        for body in &bodies {
            let answer = scene.post(&operation.path, Some(JSON), body.clone()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert_eq!(answer.status, 400, "{}: {shown}: {}", operation.path, answer.text());
            answer.refused(400, "VALIDATE_FAILED");
        }
        // Its own first field, twice.
        let (name, value) = operation.example.as_object().unwrap().iter().next().unwrap();
        let twice = format!("{{\"{name}\":{value},\"{name}\":{value}}}");
        scene.post(&operation.path, Some(JSON), twice).await.refused(400, "VALIDATE_FAILED");
    }
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn bodies_of_a_mebibyte_are_refused_by_every_operation() {
    let scene = Scene::open().await;
    let before = scene.state().await;
    for operation in scene.operations() {
        for kind in &operation.types {
            for body in [format!("{{\"subject\":\"{}\"}}", "x".repeat(1 << 20)), " ".repeat(1 << 20)] {
                scene.post(&operation.path, Some(kind), body).await.refused(413, "PAYLOAD_TOO_LARGE");
            }
        }
    }
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn bodies_of_another_type_are_refused_by_every_operation() {
    let scene = Scene::open().await;
    let before = scene.state().await;
    let types = [
        "text/plain",
        "text/json",
        "application/xml",
        "application/jsonx",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "*/*",
        "json",
        "",
        ";",
        FORM,
    ];
    for operation in scene.operations() {
        let body = operation.example.to_string();
        for kind in types.iter().filter(|kind| !operation.types.contains(&(**kind).to_owned())) {
            scene.post(&operation.path, Some(kind), body.clone()).await.refused(415, "VALIDATE_FAILED");
        }
        scene.post(&operation.path, None, body).await.refused(415, "VALIDATE_FAILED");
    }
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn numbers_past_every_limit_are_refused_by_their_field() {
    let scene = Scene::open().await;
    let before = scene.state().await;
    let mut tried = 0;
    for operation in scene.operations() {
        let numbers = operation.fields.iter().filter(|(_, schema)| {
            schema["type"] == "integer" || schema["type"].as_array().is_some_and(|all| all.contains(&json!("integer")))
        });
        for (name, _) in numbers {
            for number in [
                "-2147483649",
                "2147483648",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775809",
                "18446744073709551616",
                "1e308",
                "-1e308",
                "1e-308",
                "0.5",
                "99999999999999999999999999999999999999999999999999",
            ] {
                let mut body = operation.example.clone();
                body[name] = json!("PLACE");
                let body = body.to_string().replace("\"PLACE\"", number);
                let refused = scene.post(&operation.path, Some(JSON), body).await.refused(400, "VALIDATE_FAILED");
                assert_eq!(refused, [name.as_str()], "{}: {number}", operation.path);
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "only {tried} numbers were tried");
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn values_of_any_kind_in_any_field_are_taken_or_refused() {
    let scene = Scene::open().await;
    let mut values: Vec<Value> = SQL.iter().map(|text| json!(text)).collect();
    values.extend(
        ["\0", "a\0b", "\u{ffff}", "\u{202e}", "👩‍👩‍👧", "\r\nX: y", "../../etc/passwd", "{{7*7}}"].map(|text| json!(text)),
    );
    values.extend([json!("x".repeat(60_000)), json!([]), json!({}), json!([[]]), json!([null]), json!(true), json!(0)]);
    values.extend([json!(["\0"]), json!({"\0": "\0"}), json!([{"provider_id": "\0", "caller_id": "\0"}]), Value::Null]);
    for operation in scene.operations() {
        for name in operation.fields.keys() {
            for value in &values {
                let mut body = operation.example.clone();
                body[name] = value.clone();
                let answer = scene.post(&operation.path, Some(JSON), body.to_string()).await;
                let shown = value.to_string().chars().take(60).collect::<String>();
                assert!(answer.status.as_u16() < 500, "{} {name}: {shown}: {}", operation.path, answer.text());
                if answer.status.as_u16() >= 400 {
                    let code = answer.json()["errors"][0]["code"].as_str().unwrap().to_owned();
                    let status = answer.status.as_u16();
                    answer.refused(status, &code);
                }
            }
        }
    }
}

#[tokio::test]
async fn bodies_of_actions_that_take_none_are_passed_over() {
    let scene = Scene::open().await;
    for body in [b"\xff{".to_vec(), "[".repeat(60_000).into_bytes(), vec![b'x'; 1 << 20]] {
        for action in ["lock", "unlock", "participants/{participant_id}/mute", "participants/{participant_id}/unmute"] {
            let path = scene.path(&format!("/api/conference_rooms/{{id}}/{action}"));
            assert!(scene.post(&path, Some(JSON), body.clone()).await.expect(200).body.is_empty());
        }
    }
}

#[tokio::test]
async fn statements_in_list_options_are_text_or_refused() {
    let scene = Scene::open().await;
    let before = scene.state().await;
    for list in scene.lists() {
        let all = scene.house.get(&list).await.expect(200).json()["count"].clone();
        for dollar in ["", "$"] {
            let asked = async |option: &str, value: &str| {
                scene.house.get(&format!("{list}?{dollar}{option}={}", encoded(value))).await
            };
            for statement in SQL {
                for option in ["filter", "orderby", "skip", "top", "count"] {
                    let refused = asked(option, statement).await.refused(400, "VALIDATE_FAILED");
                    assert_eq!(refused, [option], "{list} {statement}");
                }
                for (option, value) in [
                    ("orderby", format!("id {statement}")),
                    ("orderby", format!("id,{statement}")),
                    ("skip", format!("0{statement}")),
                    ("top", format!("1{statement}")),
                    ("filter", format!("id eq {statement}")),
                    ("filter", format!("id eq null {statement}")),
                    ("filter", format!("{statement} eq null")),
                ] {
                    let refused = asked(option, &value).await.refused(400, "VALIDATE_FAILED");
                    assert_eq!(refused, [option], "{list} {value}");
                }
                // A text that nothing here has: if it were more than text, it would find something.
                let found = asked("search", &format!("zz{statement}")).await.expect(200).json();
                assert_eq!(found["count"], 0, "{list} {statement}");
            }
            for (option, value) in [("filter", "id eq '\0'"), ("search", "\0"), ("orderby", "id\0"), ("top", "1\0")] {
                assert_eq!(asked(option, value).await.refused(400, "VALIDATE_FAILED"), [option], "{list} {value:?}");
            }
            for number in
                ["-1", "1e1", "1.0", "0x1", "2147483648", "9223372036854775808", "99999999999999999999", " 1", ""]
            {
                for option in ["skip", "top"] {
                    assert_eq!(
                        asked(option, number).await.refused(400, "VALIDATE_FAILED"),
                        [option],
                        "{list} {number}"
                    );
                }
            }
            for query in ["search=%ff", "filter=%c0%80", "orderby=%ed%a0%80"] {
                scene.house.get(&format!("{list}?{dollar}{query}")).await.refused(400, "VALIDATE_FAILED");
            }
        }
        assert_eq!(scene.house.get(&list).await.expect(200).json()["count"], all, "{list}");
    }
    assert_eq!(scene.state().await, before);
}

#[tokio::test]
async fn statements_in_a_filters_literal_are_text() {
    let scene = Scene::open().await;
    for (list, field) in [
        ("/api/conference_servers", "name"),
        ("/api/conference_rooms", "subject"),
        ("/api/conference_rooms/{id}/participants", "display_name"),
        ("/api/conference_rooms/{id}/recordings", "file_name"),
        ("/api/webhooks", "url"),
    ] {
        for statement in SQL {
            let literal = statement.replace('\'', "''");
            for filter in [
                format!("{field} eq '{literal}'"),
                format!("startswith({field},'zz{literal}')"),
                format!("contains({field},'zz{literal}')"),
                format!("endswith({field},'zz{literal}')"),
            ] {
                let path = format!("{}?filter={}", scene.path(list), encoded(&filter));
                assert_eq!(scene.house.get(&path).await.expect(200).json()["count"], 0, "{list} {filter}");
            }
        }
    }
}

#[tokio::test]
async fn paths_and_parameters_of_any_kind_are_no_fault_of_the_server() {
    let scene = Scene::open().await;
    let mut values: Vec<String> = SQL.iter().map(|text| encoded(text)).collect();
    values.extend(["%00", "%ff", "%ed%a0%80", "..%2f..", "-1", "18446744073709551616", "AAAA"].map(str::to_owned));
    values.push("x".repeat(5_000));
    for (path, item) in scene.description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.filter(|one| one["in"] == "path" || one["in"] == "query") {
                let name = parameter["name"].as_str().unwrap();
                for value in &values {
                    let uri = match parameter["in"] == "path" {
                        true => scene.path(&path.replace(&format!("{{{name}}}"), value)),
                        false => format!("{}?{name}={value}", scene.path(path)),
                    };
                    let uri = uri.replace("{recording_id}", "MQ").replace("{cursor}", "1").replace("{sha256}", "0");
                    let request = scene.house.request("admin", &method.to_uppercase(), &uri);
                    // Of a stream that is taken up only the head comes at once.
                    let status = scene.house.begin(request.body(Body::empty()).unwrap()).await.status().as_u16();
                    assert!((200..500).contains(&status), "{method} {uri}: {status}");
                    let is_id = parameter["in"] == "path" && name.ends_with("id");
                    // Before it is looked for, a body may be missed.
                    assert!(!is_id || [404, 415].contains(&status), "{method} {uri}: {status}");
                }
            }
        }
    }
}
