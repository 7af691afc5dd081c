//! The control API as a client sees it: JSON over HTTP with a bearer token. Every answer is given as it is; the test
//! says what it should have been.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::time::Duration;

/// Longest that events are waited for.
const STREAM_PATIENCE: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// Raw.
    pub body: Vec<u8>,
}

impl Answer {
    /// First header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// The body as JSON; `Null` when empty or not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The code of the first error in the documented shape.
    pub fn error_code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or("").to_owned()
    }
    /// Gives the answer back when it has this status.
    ///
    /// # Panics
    /// With the body when it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
    /// Checks status and error code of a refusal, and the shape that every error has.
    ///
    /// # Panics
    /// When anything differs.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) {
        let text = self.text();
        assert_eq!((self.status, self.error_code().as_str()), (status, code), "{text}");
        let errors = self.json();
        let errors = errors["errors"].as_array().expect("a list of errors");
        for error in errors {
            assert!(error["message"].as_str().is_some_and(|m| m.len() > 3), "no message in words: {text}");
            assert!(error.get("detail").is_some(), "no detail: {text}");
        }
    }
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Api {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

impl Api {
    /// A client for `http://host:port`.
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(15)))
            .build();
        Self { agent: config.new_agent(), base: base.to_owned(), token: token.map(str::to_owned) }
    }

    /// The same server with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// GET.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// GET with further headers.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.try_get_with(path, headers).expect("an HTTP answer")
    }

    /// GET that may find nobody listening.
    ///
    /// # Errors
    /// When there is no HTTP answer.
    pub fn try_get(&self, path: &str) -> Result<Answer, String> {
        self.try_get_with(path, &[])
    }

    fn try_get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        read(request.call())
    }

    /// POST of a JSON body.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, "application/json", body.to_string().as_bytes())
    }

    /// POST of an action without a body.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn act(&self, path: &str) -> Answer {
        let request = self.authorized(self.agent.post(format!("{}{path}", self.base)));
        read(request.send_empty()).expect("an HTTP answer")
    }

    /// POST of any bytes.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn post_bytes(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let request = self.authorized(self.agent.post(format!("{}{path}", self.base)));
        read(request.header("Content-Type", content_type).send(body)).expect("an HTTP answer")
    }

    /// POST, PATCH or DELETE with headers of one's own, and without the token: what a browser sends.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let request = self.agent.configure_request(request).allow_non_standard_methods(true).build();
        read(self.agent.run(request)).expect("an HTTP answer")
    }

    fn authorized(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
    ) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// Makes an audio room; gives its id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_room(&self, extension: &str, capacity: u32) -> String {
        self.create_room_with(extension, capacity, &json!({}))
    }

    /// Makes an audio room with further fields; gives its id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_room_with(&self, extension: &str, capacity: u32, more: &Value) -> String {
        let mut body = json!({
            "extension_number": extension, "mode": "AUDIO", "subject": format!("Room {extension}"), "capacity": capacity,
            "enable_prompt": false, "enable_recording": false,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let answer = self.post("/api/conference_rooms", &body).expect(201);
        let id = answer.json()["id"].as_str().expect("an id").to_owned();
        let location = answer.header("location").unwrap_or("");
        assert!(location.ends_with(&format!("/conference_rooms/{id}")), "Location: {location}");
        id
    }

    /// The room's participants.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn participants(&self, room: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/conference_rooms/{room}/participants")).expect(200);
        answer.json()["items"].as_array().cloned().unwrap_or_default()
    }

    /// The id of the participant whose display name holds `name`, once listed.
    ///
    /// # Panics
    /// When it is not listed in time.
    #[track_caller]
    pub fn participant(&self, room: &str, name: &str) -> String {
        crate::wait::until(&format!("participant {name}"), Duration::from_secs(5), || {
            let all = self.participants(room);
            let found = all.iter().find(|p| p["display_name"].as_str().is_some_and(|n| n.contains(name)));
            found.and_then(|p| p["id"].as_str()).map(str::to_owned).ok_or_else(|| format!("{all:?}"))
        })
    }

    /// The room's recordings.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn recordings(&self, room: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/conference_rooms/{room}/recordings")).expect(200);
        answer.json()["items"].as_array().cloned().unwrap_or_default()
    }

    /// The room's events from its first one on, up to the one that is waited for.
    ///
    /// # Panics
    /// When the stream ends before, or is silent for too long.
    #[track_caller]
    pub fn events_until(&self, room: &str, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let request = self.agent.get(format!("{}/api/events?cursor=0&room={room}", self.base));
        let request = request.header("Accept", "text/event-stream");
        let request = request.header("Authorization", format!("Bearer {}", self.token.as_deref().unwrap_or("")));
        let request = request.config().timeout_global(Some(STREAM_PATIENCE)).build();
        let mut response = request.call().expect("an HTTP answer");
        assert_eq!(response.status(), 200);
        let mut events: Vec<Value> = Vec::new();
        for line in BufReader::new(response.body_mut().as_reader()).lines() {
            let line = line.unwrap_or_else(|why| panic!("{why} after {events:#?}"));
            let Some(data) = line.strip_prefix("data:") else { continue };
            events.push(serde_json::from_str(data).expect("an event"));
            if events.last().is_some_and(&is_last) {
                return events;
            }
        }
        panic!("the stream ended after {events:#?}");
    }

    /// Sum of all Prometheus samples whose name and labels hold each of `parts`, histogram buckets left out.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn metric(&self, parts: &[&str]) -> f64 {
        let text = self.get("/metrics").expect(200).text();
        text.lines()
            .filter(|l| !l.starts_with('#') && !l.contains("_bucket"))
            .filter_map(|l| l.rsplit_once(' '))
            .filter(|(series, _)| parts.iter().all(|part| series.contains(part)))
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }
}

fn read(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, String> {
    let response = result.map_err(|e| e.to_string())?;
    let (parts, mut body) = response.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = body.with_config().limit(256 << 20).read_to_vec().map_err(|e| e.to_string())?;
    Ok(Answer { status: parts.status.as_u16(), headers, body })
}
