//! The description as clients meet it: open, cacheable, and true. What it gives as an example works.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::Value;

use crate::house::{Answer, House};

pub(crate) async fn bare(house: &House, path: &str, tag: Option<&str>) -> Answer {
    let request = Request::builder().uri(path);
    let request = tag.into_iter().fold(request, |request, tag| request.header(header::IF_NONE_MATCH, tag));
    house.send(request.body(Body::empty()).unwrap()).await
}

/// The example body of an operation.
fn example(whole: &Value, path: &str) -> Value {
    whole["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"].clone()
}

#[tokio::test]
async fn description_is_open_and_sent_once() {
    let house = House::open().await;
    let answer = bare(&house, "/api/openapi.json", None).await.expect(200);
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
    assert_eq!(answer.json()["openapi"], "3.1.0");
    let tag = answer.header(header::ETAG).to_owned();
    let again = bare(&house, "/api/openapi.json", Some(&tag)).await.expect(304);
    assert!(again.body.is_empty());
    bare(&house, "/api/openapi.json", Some("\"another\"")).await.expect(200);
}

#[tokio::test]
async fn docs_page_needs_nothing_from_elsewhere() {
    let house = House::open().await;
    let page = bare(&house, "/api/docs", None).await.expect(200);
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    let text = page.text();
    assert!(!text.contains("//") && !text.contains("<script>") && !text.contains(" on"), "{text}");
    let mut files = 0;
    for name in text.split(['"', '=']).filter(|word| word.starts_with("docs/")) {
        let file = bare(&house, &format!("/api/{name}"), None).await.expect(200);
        assert!(!file.body.is_empty(), "{name}");
        files += 1;
    }
    assert_eq!(files, 4);
    let script = bare(&house, "/api/docs/initializer.js", None).await.expect(200);
    assert!(script.text().contains("url: \"openapi.json\""));
    for file in ["index.html", "swagger-initializer.js", "..%2fopenapi.json", "nothing"] {
        bare(&house, &format!("/api/docs/{file}"), None).await.refused(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn examples_are_taken_as_they_stand() {
    let house = House::open().await;
    let whole = bare(&house, "/api/openapi.json", None).await.json();
    let rooms = "/api/conference_rooms";
    let creation = example(&whole, rooms);
    let made = house.post(rooms, &creation).await.expect(201);
    let room = made.header(header::LOCATION).to_owned();
    let answered = house.get(&room).await.expect(200).json();
    for (name, value) in creation.as_object().unwrap() {
        assert_eq!(&answered[name], value, "{name}");
    }
    house.post(&room, &example(&whole, "/api/conference_rooms/{id}")).await.expect(200);
    let server = house.items("/api/conference_servers").await[0]["id"].as_str().unwrap().to_owned();
    let change = example(&whole, "/api/conference_servers/{id}");
    house.post_as("admin", &format!("/api/conference_servers/{server}"), &change).await.expect(200);
}

#[tokio::test]
async fn what_is_answered_has_the_fields_that_are_described() {
    let house = House::open().await;
    let whole = bare(&house, "/api/openapi.json", None).await.json();
    let room = house.room("900", &serde_json::json!({})).await;
    house.dial("900", "101").await.unwrap();
    house.until("the phone is in", async || house.items(&format!("{room}/participants")).await.len() == 1).await;
    let participant = house.items(&format!("{room}/participants")).await[0]["id"].as_str().unwrap().to_owned();
    let server = house.items("/api/conference_servers").await[0]["id"].as_str().unwrap().to_owned();
    for (path, template) in [
        ("/api/conference_servers".to_owned(), "/api/conference_servers"),
        (format!("/api/conference_servers/{server}"), "/api/conference_servers/{id}"),
        (format!("/api/conference_servers/{server}/status"), "/api/conference_servers/{id}/status"),
        ("/api/conference_rooms".to_owned(), "/api/conference_rooms"),
        (room.clone(), "/api/conference_rooms/{id}"),
        (format!("{room}/status"), "/api/conference_rooms/{id}/status"),
        (format!("{room}/participants"), "/api/conference_rooms/{id}/participants"),
        (format!("{room}/participants/{participant}"), "/api/conference_rooms/{id}/participants/{participant_id}"),
        ("/healthz".to_owned(), "/healthz"),
        ("/readyz".to_owned(), "/readyz"),
    ] {
        let answer = house.get(&path).await.expect(200).json();
        let described = &whole["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["example"];
        let first = |value: &Value| value["items"].get(0).unwrap_or(value).as_object().unwrap().clone();
        let (answer, described) = (first(&answer), first(described));
        assert_eq!(answer.keys().collect::<Vec<_>>(), described.keys().collect::<Vec<_>>(), "{template}");
    }
}
