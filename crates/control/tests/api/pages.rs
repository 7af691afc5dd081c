//! The console's pages: open to everybody, under a strict policy, complete, and kept by browsers as long as they may be.

use axum::http::header;

use crate::house::House;
use crate::openapi::bare;

#[tokio::test]
async fn console_is_one_page_at_every_address_within_it() {
    let house = House::open().await;
    let page = bare(&house, "/console", None).await.expect(200);
    assert_eq!(page.header(header::CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(page.header(header::CACHE_CONTROL), "no-cache");
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let tag = page.header(header::ETAG).to_owned();
    let within = bare(&house, "/console/rooms/NzAw/live", Some(&tag)).await.expect(304);
    assert!(within.body.is_empty());
    bare(&house, "/console/x", Some("\"another\"")).await.expect(200);
}

#[tokio::test]
async fn page_names_files_of_this_server_alone_and_all_are_there() {
    let house = House::open().await;
    let text = bare(&house, "/console", None).await.expect(200).text();
    assert!(!text.contains("//") && !text.contains("<script>") && !text.contains("<style"), "{text}");
    let mut bytes = 0;
    let named: Vec<&str> = text.split('"').filter(|word| word.starts_with("/assets/")).collect();
    assert!(named.len() >= 2, "a script and a style: {text}");
    for name in named {
        let file = bare(&house, name, None).await.expect(200);
        assert_eq!(file.header(header::CACHE_CONTROL), "public, max-age=31536000, immutable");
        assert_eq!(file.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        bytes += file.body.len();
    }
    assert!(bytes > 10_000, "{bytes}");
    for file in ["nothing.js", "console.html", "..%2fconsole.html", "x"] {
        bare(&house, &format!("/assets/{file}"), None).await.refused(404, "NOT_FOUND");
    }
}
