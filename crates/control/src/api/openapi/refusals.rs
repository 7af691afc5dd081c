//! What the layers around every handler can answer: refusals in the contract's one shape, and the headers of all answers.
//! Handlers describe only what is theirs; a refusal's description begins with its code.

use serde_json::{Value, json};

use super::operations;
/// One that layers answer.
struct Refusal {
    /// In the components.
    name: &'static str,
    status: u16,
    code: &'static str,
    about: &'static str,
    /// For example.
    message: &'static str,
    /// That comes with it.
    header: Option<&'static str>,
}

const REFUSALS: [Refusal; 10] = [
    Refusal {
        name: "BadRequest",
        status: 400,
        code: "VALIDATE_FAILED",
        about: "The body or a query option breaks its schema; one error for each field, which `detail.field` names.",
        message: "capacity must be a whole number from 1 to 200",
        header: None,
    },
    Refusal {
        name: "Unauthorized",
        status: 401,
        code: "UNAUTHORIZED",
        about: "There is no token, or one that is wrong, expired or revoked.",
        message: "a bearer token is needed",
        header: Some("WWW-Authenticate"),
    },
    Refusal {
        name: "Forbidden",
        status: 403,
        code: "FORBIDDEN",
        about: "The token's role may not do this.",
        message: "this needs the role operator; the token's role is viewer",
        header: None,
    },
    Refusal {
        name: "NotFound",
        status: 404,
        code: "NOT_FOUND",
        about: "What the path names does not exist, or belongs to another room.",
        message: "there is no such room",
        header: None,
    },
    Refusal {
        name: "RequestTimeout",
        status: 408,
        code: "TIMEOUT",
        about: "The body did not come in time.",
        message: "the request did not come in time",
        header: None,
    },
    Refusal {
        name: "PayloadTooLarge",
        status: 413,
        code: "PAYLOAD_TOO_LARGE",
        about: "The body is longer than the setting `api.body_limit_bytes`.",
        message: "the body is longer than 1048576 bytes",
        header: None,
    },
    Refusal {
        name: "UnsupportedMediaType",
        status: 415,
        code: "VALIDATE_FAILED",
        about: "The body is of a type that is not taken.",
        message: "the body must be application/json",
        header: None,
    },
    Refusal {
        name: "TooManyRequests",
        status: 429,
        code: "RATE_LIMITED",
        about: "The token, or the address, has used up what the settings allow in a minute.",
        message: "too many requests; the limit is 5000 a minute",
        header: Some("Retry-After"),
    },
    Refusal {
        name: "InternalError",
        status: 500,
        code: "UNKNOWN",
        about: "A bug. The log has more under the request's id.",
        message: "internal error; request NzAwNTUxOTA5NzczMTQ4MTYw",
        header: None,
    },
    Refusal {
        name: "ServiceUnavailable",
        status: 503,
        code: "BUSY",
        about: "It cannot be done now: the database is away, the media engine's queue is full, or the server is stopping. Nothing was \
         changed.",
        message: "the database is not available now",
        header: Some("Retry-After"),
    },
];

/// Adds them to every operation that can meet them, and to the components.
pub(super) fn complete(whole: &mut Value) {
    for (path, method, operation) in operations(whole) {
        // One way in that asks for nothing.
        let ways = operation["security"].as_array().cloned();
        let is_open = ways.as_ref().is_some_and(|ways| ways.contains(&json!({})));
        if ways.is_none() {
            operation["security"] = json!([{"bearer": []}]);
        }
        let (has_body, has_query) = (operation.get("requestBody").is_some(), has_query(operation));
        let meets = |status: u16| match status {
            400 => has_body || has_query,
            401 | 429 => !is_open,
            403 => !is_open && method != "get",
            404 => path.contains('{'),
            408 | 413 | 415 => has_body,
            503 => !is_open,
            _ => true,
        };
        let answers = operation["responses"].as_object_mut().expect("BUG: an operation has responses");
        for refusal in REFUSALS.iter().filter(|refusal| meets(refusal.status)) {
            let reference = json!({"$ref": format!("#/components/responses/{}", refusal.name)});
            answers.entry(refusal.status.to_string()).or_insert(reference);
        }
        for (status, answer) in answers.iter_mut() {
            if answer.get("$ref").is_none() {
                finish(status, answer);
            }
        }
    }
    let components = &mut whole["components"];
    components["securitySchemes"] = json!({
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "A token: from signing in, or a long-lived one from `conclave token create`.",
        },
        "ticket": {
            "type": "apiKey", "in": "query", "name": "ticket",
            "description": "From `POST /api/events/ticket`; it works once.",
        },
    });
    components["headers"] = headers();
    components["responses"] = REFUSALS.iter().map(|refusal| (refusal.name.to_owned(), response(refusal))).collect();
}

fn has_query(operation: &Value) -> bool {
    operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["in"] == "query"))
}

/// What a handler need not repeat of an answer.
fn finish(status: &str, answer: &mut Value) {
    for header in answer.get_mut("headers").and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut())
    {
        header["required"] = true.into();
    }
    answer["headers"]["X-Request-Id"] = json!({"$ref": "#/components/headers/X-Request-Id"});
    if !status.starts_with(['4', '5']) || answer.get("content").is_some() {
        return;
    }
    let description = answer["description"].as_str().unwrap_or_default().to_owned();
    let (code, reason) = description.split_once(": ").unwrap_or_default();
    let reason = reason.split(['.', ';']).next().unwrap_or_default();
    answer["content"] = errors(code.trim_matches('`'), reason);
    if matches!(status, "429" | "503") {
        answer["headers"]["Retry-After"] = json!({"$ref": "#/components/headers/Retry-After"});
    }
}

fn errors(code: &str, message: &str) -> Value {
    let field = message.split_once(" must ").map(|(field, _)| json!({"field": field}));
    json!({"application/json": {
        "schema": {"$ref": "#/components/schemas/Errors"},
        "example": {"errors": [{"code": code, "message": message, "detail": field}]},
    }})
}

fn response(refusal: &Refusal) -> Value {
    let mut response = json!({
        "description": format!("`{}`: {}", refusal.code, refusal.about),
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
        "content": errors(refusal.code, refusal.message),
    });
    if let Some(header) = refusal.header {
        response["headers"][header] = json!({"$ref": format!("#/components/headers/{header}")});
    }
    response
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "Names this request; the log has it too.",
            "required": true, "schema": {"type": "string"}, "example": "NzAwNTUxOTA5NzczMTQ4MTYw",
        },
        "Retry-After": {
            "description": "Seconds after which trying again may succeed.",
            "required": true, "schema": {"type": "integer", "minimum": 1}, "example": 1,
        },
        "WWW-Authenticate": {
            "description": "How to show who one is (RFC 6750).",
            "required": true, "schema": {"type": "string"}, "example": "Bearer",
        },
    })
}
