//! Texts with a grammar of their own: language tags, time zones, mail addresses, JSON in a text. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use std::sync::LazyLock;

use jiff::tz::TimeZoneDatabase;
use oxilangtag::LanguageTag;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};

use super::rules::{NO_NUL, Rule, text};

/// Texts without a published limit are bounded all the same.
const MAX_TEXT: usize = 16 * 1024;
/// Of a language tag.
const MAX_TAG: usize = 64;
/// Of a mail address before the `@` (RFC 5321 §4.5.3.1.1).
const MAX_LOCAL: usize = 64;

fn string(format: &str, pattern: impl Into<String>) -> ObjectBuilder {
    let format = SchemaFormat::Custom(format.to_owned());
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).pattern(Some(pattern))
}

// -- language ----------------------------------------------------------------------------------------------------------

/// A BCP 47 language tag.
#[derive(Clone, Copy)]
pub(in crate::api) struct Language;

/// Tags from before the grammar, which it does not produce (RFC 5646 §2.1, `irregular`).
const IRREGULAR: [&str; 17] = [
    "en-GB-oed",
    "i-ami",
    "i-bnn",
    "i-default",
    "i-enochian",
    "i-hak",
    "i-klingon",
    "i-lux",
    "i-mingo",
    "i-navajo",
    "i-pwn",
    "i-tao",
    "i-tay",
    "i-tsu",
    "sgn-BE-FR",
    "sgn-BE-NL",
    "sgn-CH-DE",
];

impl Language {
    /// RFC 5646 §2.1.
    fn pattern() -> String {
        let irregular: Vec<String> = IRREGULAR.iter().map(|tag| in_any_case(tag)).collect();
        let language = "(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})";
        let script = "(?:-[A-Za-z]{4})?";
        let region = "(?:-(?:[A-Za-z]{2}|[0-9]{3}))?";
        let variants = "(?:-(?:[A-Za-z][A-Za-z0-9]{4,7}|[0-9][A-Za-z0-9]{3,7}))*";
        let extensions = "(?:-[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*";
        let private = "[Xx](?:-[A-Za-z0-9]{1,8})+";
        let regular = format!("{language}{script}{region}{variants}{extensions}(?:-{private})?");
        format!("^(?:{regular}|{private}|{})$", irregular.join("|"))
    }
}

/// As a pattern that takes upper and lower case.
fn in_any_case(text: &str) -> String {
    let one = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    text.chars().map(one).collect()
}

impl Rule for Language {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let tag = text(1, MAX_TAG).read(value).ok().filter(|tag| LanguageTag::parse(tag.as_str()).is_ok());
        tag.ok_or_else(|| "must be a BCP 47 language tag, such as en-US".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        string("language-tag", Self::pattern()).max_length(Some(MAX_TAG)).into()
    }
}

// -- time zone ---------------------------------------------------------------------------------------------------------

/// An IANA time zone, spelled as the database spells it.
#[derive(Clone, Copy)]
pub(in crate::api) struct TimeZone;

/// Sorted. Those that came with this build: what is valid does not depend on the machine.
static ZONES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut zones: Vec<String> = TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
    zones.sort_unstable();
    zones
});

impl TimeZone {
    /// Every name; those of one continent share it.
    fn pattern() -> String {
        let mut pattern = String::from("^(?:");
        let (mut area, mut separator) = ("", "");
        for zone in ZONES.iter() {
            let (of, place) = zone.split_once('/').unwrap_or(("", zone));
            if of != area && !area.is_empty() {
                pattern.push(')');
            }
            pattern.push_str(separator);
            if of != area && !of.is_empty() {
                pattern.push_str(of);
                pattern.push_str("/(?:");
            }
            pattern.push_str(&place.replace('+', "\\+"));
            (area, separator) = (of, "|");
        }
        pattern.push_str(if area.is_empty() { ")$" } else { "))$" });
        pattern
    }
}

impl Rule for TimeZone {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let is_zone = |name: &&str| ZONES.binary_search_by(|zone| zone.as_str().cmp(name)).is_ok();
        let name = value.as_str().filter(is_zone);
        name.map(str::to_owned).ok_or_else(|| "must be an IANA time zone, such as Asia/Shanghai".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        string("iana-time-zone", Self::pattern()).into()
    }
}

// -- mail addresses ----------------------------------------------------------------------------------------------------

/// Mail addresses separated by `;`, each as HTML's `<input type=email>` takes it.
#[derive(Clone, Copy)]
pub(in crate::api) struct Addresses;

impl Addresses {
    /// https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address, with RFC 5321's limit on the local part.
    fn pattern() -> String {
        let local = format!("[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,{MAX_LOCAL}}}");
        let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
        let address = format!("(?: *{local}@{label}(?:\\.{label})*)?");
        format!("^{address} *(?:;{address} *)*$")
    }
}

fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_local = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=MAX_LOCAL).contains(&local.len()) && local.bytes().all(is_local) && domain.split('.').all(is_label)
}

impl Rule for Addresses {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let all = text(0, MAX_TEXT).read(value).ok().filter(|all| {
            let mut parts = all.split(';').map(|part| part.trim_matches(' ')).filter(|part| !part.is_empty());
            parts.all(is_address)
        });
        all.ok_or_else(|| "must be mail addresses separated by ;".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        string("email-list", Self::pattern()).max_length(Some(MAX_TEXT)).into()
    }
}

// -- URL ---------------------------------------------------------------------------------------------------------------

/// Where a webhook is. The pattern says what no such URL is without; whether the rest is one, and whether it is public, no
/// pattern can say.
#[derive(Clone, Copy)]
pub(in crate::api) struct WebUrl;

impl WebUrl {
    const MOST: usize = 2048;
    const PATTERN: &'static str = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f#@/?]+(?:[/?][^\x00-\x20\x7f#]*)?$";
}

/// As the pattern has it.
fn is_web_url(text: &str) -> bool {
    let scheme = |name: &str| text.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name));
    let Some(scheme) = scheme("https://").or_else(|| scheme("http://")) else { return false };
    let rest = &text[scheme.len()..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_plain = |c: char| c > '\x20' && c != '\x7f' && c != '#';
    !authority.is_empty() && authority.chars().all(|c| is_plain(c) && c != '@') && path.chars().all(is_plain)
}

impl Rule for WebUrl {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let url = text(1, Self::MOST).read(value).ok().filter(|url| is_web_url(url));
        url.ok_or_else(|| "must be an http or https URL without a user, a password or a fragment".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        string("web-url", Self::PATTERN).max_length(Some(Self::MOST)).into()
    }
}

// -- addresses of servers ----------------------------------------------------------------------------------------------

/// An IPv4 address, without leading zeros.
#[derive(Clone, Copy)]
pub(in crate::api) struct Ipv4;

impl Ipv4 {
    const PATTERN: &'static str =
        r"^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$";
}

impl Rule for Ipv4 {
    type Value = Ipv4Addr;

    fn read(&self, value: &Value) -> Result<Ipv4Addr, String> {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(|| "must be an IPv4 address, such as 192.0.2.10".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        string("ipv4", Self::PATTERN).into()
    }
}

/// An IPv6 address. The pattern says what none is without.
#[derive(Clone, Copy)]
pub(in crate::api) struct Ipv6;

impl Rule for Ipv6 {
    type Value = Ipv6Addr;

    fn read(&self, value: &Value) -> Result<Ipv6Addr, String> {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(|| "must be an IPv6 address, such as 2001:db8::10".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        string("ipv6", "^[0-9A-Fa-f:.]{2,45}$").into()
    }
}

// -- numbers -----------------------------------------------------------------------------------------------------------

/// Whom to call: digits with an optional + before them, or `sip:user@host` with a port, if any, and nothing else, as
/// parameters and headers of somebody's own reach no INVITE.
#[derive(Clone, Copy)]
pub(in crate::api) struct DialString;

impl DialString {
    const MOST: usize = 64;
    const PATTERN: &'static str = r"^(?:\+?[0-9]+|[Ss][Ii][Pp]:[A-Za-z0-9\-_.!~*'()&=+$%]+@[A-Za-z0-9\-.:\[\]]+)$";
}

/// As the pattern has it.
fn is_dial_string(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let Some((user, host)) = rest.split_once('@') else { return false };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$%".contains(&b);
    scheme.eq_ignore_ascii_case("sip")
        && !user.is_empty()
        && user.bytes().all(plain)
        && !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
}

impl Rule for DialString {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let number = text(1, Self::MOST).read(value).ok().filter(|number| is_dial_string(number));
        number.ok_or_else(|| {
            "must be a number of at most 64 characters: digits with an optional + before them, or a sip: address"
                .to_owned()
        })
    }

    fn schema(&self) -> RefOr<Schema> {
        string("dial-string", Self::PATTERN).max_length(Some(Self::MOST)).into()
    }
}

// -- JSON --------------------------------------------------------------------------------------------------------------

/// A JSON object, as text. No pattern can say that.
#[derive(Clone, Copy)]
pub(in crate::api) struct JsonText;

impl Rule for JsonText {
    type Value = String;

    fn read(&self, value: &Value) -> Result<String, String> {
        let object = text(0, MAX_TEXT)
            .read(value)
            .ok()
            .filter(|text| serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok());
        object.ok_or_else(|| "must be a JSON object, as text".to_owned())
    }

    fn schema(&self) -> RefOr<Schema> {
        let schema = string("json-object", NO_NUL).max_length(Some(MAX_TEXT)).content_media_type("application/json");
        schema.content_schema(Some(ObjectBuilder::new().schema_type(Type::Object).build())).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use regex::Regex;
    use serde_json::json;

    /// The pattern and the check are of one mind.
    fn agree(rule: impl Rule, pattern: &Regex, most: usize, text: &str) -> bool {
        let is_taken = rule.read(&json!(text)).is_ok();
        assert_eq!(is_taken, pattern.is_match(text) && text.chars().count() <= most, "{text:?}");
        is_taken
    }

    #[test]
    fn every_zone_is_taken_as_it_is_spelled_and_no_other() {
        let pattern = Regex::new(&TimeZone::pattern()).unwrap();
        assert!(ZONES.len() > 400);
        for zone in ZONES.iter() {
            assert!(agree(TimeZone, &pattern, usize::MAX, zone), "{zone}");
        }
        for wrong in
            ["", "Mars/Olympus", "asia/shanghai", "Asia/Shanghai ", "Asia", "Shanghai", "Etc/GMT1", "Etc/Unknown"]
        {
            assert!(!agree(TimeZone, &pattern, usize::MAX, wrong), "{wrong}");
        }
    }

    #[test]
    fn language_tags_are_those_of_the_standard() {
        let pattern = Regex::new(&Language::pattern()).unwrap();
        let tags =
            ["en", "en-US", "zh-Hant-TW", "x-own", "sl-rozaj-biske-1994", "en-a-bbb-x-a", "zh-cmn-Hans", "I-KLINGON"];
        assert!(tags.iter().all(|tag| agree(Language, &pattern, MAX_TAG, tag)));
        assert!(IRREGULAR.iter().all(|tag| agree(Language, &pattern, MAX_TAG, tag)));
        for wrong in ["", "e", "en-", "en_US", "not a tag", "en-x", "x", "en-US-US", "en-a-x-b", "abcdefghi"] {
            assert!(!agree(Language, &pattern, MAX_TAG, wrong), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_those_that_a_form_takes() {
        let pattern = Regex::new(&Addresses::pattern()).unwrap();
        for right in ["", ";", " ", "a@b", " a.b+c@x.example ; d@e-f.org;", "a@b;;c@d"] {
            assert!(agree(Addresses, &pattern, MAX_TEXT, right), "{right}");
        }
        let long = format!("{}@b", "a".repeat(65));
        for wrong in
            ["a", "a@", "@b", "a@b c@d", "a@-b", "a@b-", "a@b..c", "\"a b\"@c", "A <a@b>", "a@b\n", "ä@b", &long]
        {
            assert!(!agree(Addresses, &pattern, MAX_TEXT, wrong), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]
        #[test]
        fn patterns_and_checks_agree_on_anything(
            tag in "[a-cxXi0-9-]{0,14}|[a-zA-Z0-9]{1,9}(-[a-zA-Z0-9]{1,9}){0,6}",
            addresses in "[ab@.; -]{0,12}",
            url in "https?:/{0,3}[a@#/? ]{0,8}",
        ) {
            agree(Language, &Regex::new(&Language::pattern()).unwrap(), MAX_TAG, &tag);
            agree(WebUrl, &Regex::new(WebUrl::PATTERN).unwrap(), WebUrl::MOST, &url);
            agree(Addresses, &Regex::new(&Addresses::pattern()).unwrap(), MAX_TEXT, &addresses);
        }
    }

    #[test]
    fn web_urls_have_a_host_and_nothing_that_a_webhook_must_not_have() {
        let pattern = Regex::new(WebUrl::PATTERN).unwrap();
        for right in
            ["http://a", "HTTPS://a.example:8443/b/@c?d=e", "http://[::1]/", "http://a?b", "https://bücher.example"]
        {
            assert!(agree(WebUrl, &pattern, WebUrl::MOST, right), "{right}");
        }
        for wrong in
            ["", "a", "ftp://a", "http:///a", "http://", "http://u@a", "http://a/#b", "http://a b", "http://a/\n"]
        {
            assert!(!agree(WebUrl, &pattern, WebUrl::MOST, wrong), "{wrong}");
        }
    }

    #[test]
    fn json_text_is_one_object() {
        for right in ["{}", "{\"a\":{\"b\":[1]}}", " {\"a\":null} "] {
            assert!(JsonText.read(&json!(right)).is_ok(), "{right}");
        }
        for wrong in [json!(""), json!("[1]"), json!("{"), json!("{}{}"), json!({}), json!(1)] {
            assert!(JsonText.read(&wrong).is_err(), "{wrong}");
        }
    }
}
