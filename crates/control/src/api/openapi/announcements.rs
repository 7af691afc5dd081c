//! What webhooks are sent, described from the receiver's side (OpenAPI 3.1 `webhooks`).

use serde_json::{Value, json};

/// Adds it.
pub(super) fn complete(whole: &mut Value) {
    let header = |name: &str, about: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": about, "schema": {"type": "string"},
            "example": example,
        })
    };
    let example = json!({
        "cursor": 4711, "type": "room.locked", "at": "2030-07-21T17:32:28Z", "room_id": "NzAwNTUxOTA5NzczMTQ4MTYw",
        "extension_number": "900", "sequence": 17,
        "data": {"subject": "Weekly meeting", "locked": true, "muted": false, "layout": "LAYOUT0"},
    });
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    whole["webhooks"] = json!({"event": {"post": {
        "operationId": "receive_event",
        "summary": "Receive an event",
        "description": "Sent to a webhook's URL until it is answered with 2xx. The same event may come twice; its cursor tells.",
        "tags": [super::EVENTS],
        "security": [],
        "parameters": [
            header("Conclave-Event", "The event's type.", "room.locked"),
            header("Conclave-Delivery", "The event's cursor.", "4711"),
            header("Conclave-Timestamp", "When this attempt was made: seconds since 1970.", "1910885548"),
            header(
                "Conclave-Signature",
                "`v1=` and, in hex, the HMAC-SHA256 with the webhook's secret over the timestamp, a dot and the body.",
                &format!("v1={digest}"),
            ),
        ],
        "requestBody": {
            "required": true,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Event"}, "example": example}},
        },
        "responses": {
            "2XX": {"description": "Accepted."},
            "default": {"description": "Not accepted: it is tried again, for a day."},
        },
    }}});
}
