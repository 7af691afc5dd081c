//! Entity tags (RFC 9110 §8.8.3) in requests that name the one they know.

use axum::http::header::{HeaderMap, HeaderName, IF_NONE_MATCH};

/// Whether the header's list names `tag`, or is `*`; `None` when there is no such header. `If-None-Match` compares weakly,
/// `If-Match` strongly (RFC 9110 §13.1).
pub(super) fn names(headers: &HeaderMap, header: &HeaderName, tag: &str) -> Option<bool> {
    let mut lists = headers.get_all(header).iter().peekable();
    lists.peek()?;
    let plain =
        |one: &str| if *header == IF_NONE_MATCH { one.strip_prefix("W/").unwrap_or(one) == tag } else { one == tag };
    let mut all = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim);
    Some(all.any(|one| one == "*" || plain(one)))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::IF_MATCH;

    use super::*;

    fn asks(header: &HeaderName, values: &[&'static str]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header, HeaderValue::from_static(value));
        }
        names(&headers, header, "\"a\"")
    }

    #[test]
    fn a_tag_is_found_in_lists_and_any_stands_for_all() {
        for header in [&IF_MATCH, &IF_NONE_MATCH] {
            assert_eq!(asks(header, &[]), None);
            assert_eq!(asks(header, &["\"a\""]), Some(true));
            assert_eq!(asks(header, &["\"b\", \"a\""]), Some(true));
            assert_eq!(asks(header, &["\"b\"", "\"a\""]), Some(true));
            assert_eq!(asks(header, &["*"]), Some(true));
            assert_eq!(asks(header, &["\"b\"", "a", ""]), Some(false));
        }
    }

    #[test]
    fn a_weak_tag_is_enough_to_keep_a_copy_but_not_to_change_anything() {
        assert_eq!(asks(&IF_NONE_MATCH, &["W/\"a\""]), Some(true));
        assert_eq!(asks(&IF_MATCH, &["W/\"a\""]), Some(false));
    }
}
