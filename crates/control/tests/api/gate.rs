//! Tokens, roles, budgets, and the shape of every refusal.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::house::House;

const ROOMS: &str = "/api/conference_rooms";

#[tokio::test]
async fn nothing_documented_is_open_without_a_token() {
    let house = House::open().await;
    for (method, path) in [("GET", ROOMS), ("POST", ROOMS), ("GET", "/api/conference_servers"), ("GET", "/api/unknown")]
    {
        let bare = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = house.send(bare).await;
        assert_eq!(answer.header(header::WWW_AUTHENTICATE), "Bearer", "{path}");
        answer.refused(401, "UNAUTHORIZED");
    }
    for value in ["Bearer wrong", "Bearer cnv_wrong", "Basic YTpi", "Bearer", "\u{e4}"] {
        let request = Request::builder().uri(ROOMS).header(header::AUTHORIZATION, value.as_bytes());
        house.send(request.body(Body::empty()).unwrap()).await.refused(401, "UNAUTHORIZED");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let bare = Request::builder().uri(path).body(Body::empty()).unwrap();
        house.send(bare).await.expect(200);
    }
}

#[tokio::test]
async fn roles_end_where_the_contract_says() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    house.fetch_as("viewer", &room).await.expect(200);
    house.post_as("viewer", &format!("{room}/mute"), &json!({})).await.refused(403, "FORBIDDEN");
    house.post_as("viewer", ROOMS, &json!({})).await.refused(403, "FORBIDDEN");
    let servers = house.items("/api/conference_servers").await;
    let server = format!("/api/conference_servers/{}", servers[0]["id"].as_str().unwrap());
    house.post_as("operator", &server, &json!({"max_rooms": 1})).await.refused(403, "FORBIDDEN");
    house.post_as("admin", &server, &json!({"max_rooms": 1})).await.expect(200);
}

#[tokio::test]
async fn budget_of_a_token_is_its_own() {
    let house = House::open_with(&[("API__REQUESTS_PER_MINUTE", "3")]).await;
    for _ in 0..3 {
        house.fetch_as("viewer", ROOMS).await.expect(200);
    }
    let answer = house.fetch_as("viewer", ROOMS).await;
    assert_eq!(answer.header(header::RETRY_AFTER), "20");
    answer.refused(429, "RATE_LIMITED");
    house.fetch_as("operator", ROOMS).await.expect(200);
}

#[tokio::test]
async fn every_refusal_has_the_shape_and_a_request_id() {
    let house = House::open_with(&[("API__BODY_LIMIT_BYTES", "2000")]).await;
    let room = house.room("900", &json!({})).await;
    let answer = house.get("/api/nothing").await;
    assert!(!answer.headers["x-request-id"].is_empty());
    answer.refused(404, "NOT_FOUND");
    house.get(&format!("{ROOMS}/not-an-id")).await.refused(404, "NOT_FOUND");
    house.get(&format!("{ROOMS}/NzAwNTUxOTA5NzczMTQ4MTYw")).await.refused(404, "NOT_FOUND");
    house.get(&format!("{room}/participants/%00")).await.refused(404, "NOT_FOUND");
    house.get(&format!("{room}/participants/%ff")).await.refused(404, "NOT_FOUND");
    house.get(&format!("{room}/mute")).await.refused(405, "METHOD_NOT_ALLOWED");
    let put = house.request("admin", "PUT", &room).body(Body::empty()).unwrap();
    house.send(put).await.refused(405, "METHOD_NOT_ALLOWED");
    let delete = house.request("admin", "DELETE", "/healthz").body(Body::empty()).unwrap();
    house.send(delete).await.refused(405, "METHOD_NOT_ALLOWED");

    let post = |content_type: &str, body: Vec<u8>| {
        let request = house.request("operator", "POST", ROOMS).header(header::CONTENT_TYPE, content_type);
        house.send(request.body(Body::from(body)).unwrap())
    };
    post("text/plain", b"{}".to_vec()).await.refused(415, "VALIDATE_FAILED");
    post("application/json", vec![b' '; 2001]).await.refused(413, "PAYLOAD_TOO_LARGE");
    for body in [&b"{"[..], b"", b"[]", b"\xff", b"{\"a\":1,\"a\":1}"] {
        assert_eq!(post("application/json", body.to_vec()).await.refused(400, "VALIDATE_FAILED"), [""]);
    }
    let many = post("application/json; charset=utf-8", b"{\"subject\": 5, \"capacity\": 0}".to_vec()).await;
    assert_eq!(many.refused(400, "VALIDATE_FAILED"), ["extension_number", "mode", "subject", "capacity"]);
}

#[tokio::test]
async fn list_options_are_checked_on_every_list() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    for path in [
        "/api/conference_servers".to_owned(),
        ROOMS.to_owned(),
        format!("{room}/participants"),
        format!("{room}/recordings"),
    ] {
        house.get(&format!("{path}?$top=1&skip=0&$count=true&search=x&orderby=id%20desc")).await.expect(200);
        let fields = house.get(&format!("{path}?top=0&$skip=-1&orderby=nothing")).await.refused(400, "VALIDATE_FAILED");
        assert_eq!(fields, ["skip", "top", "orderby"], "{path}");
        let fields = house.get(&format!("{path}?$filter=a%20eq%201")).await.refused(400, "VALIDATE_FAILED");
        assert_eq!(fields, ["filter"], "{path}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let house = House::open().await;
    let room = house.room("900", &json!({})).await;
    house.get(&room).await.expect(200);
    house.get("/api/anything/at/all").await.refused(404, "NOT_FOUND");
    let text = house.get("/metrics").await.text();
    assert!(text.contains("route=\"/api/conference_rooms/{id}\",status=\"200\"} 1"), "{text}");
    assert!(!text.contains("anything") && text.ends_with("# EOF\n"));
}
