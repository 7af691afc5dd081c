//! `/api/blobs/{sha256}`: the files of recordings, with ranges (RFC 9110 §14). With `private_urls` a URL is signed and
//! expires, or a token is shown; without, the digest is the secret.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::Sha256;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Api;
use super::gate::bearer;
use super::openapi::{Bytes, RECORDINGS};
use super::origin::Origin;
use super::query::InPath;
use super::tags;
use crate::auth::random_key;
use crate::error::Error;
use crate::store::{RecordingRecord, Store};

/// Read from the disk and written to the socket in pieces of this size.
const CHUNK_BYTES: usize = 64 * 1024;
/// Recordings of one digest that are looked at; more than one are copies that somebody made.
const COPIES: i64 = 16;

/// Signs and checks URLs.
pub(super) struct SignedUrls {
    key: Hmac<Sha256>,
    ttl: Duration,
}

impl std::fmt::Debug for SignedUrls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedUrls").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl SignedUrls {
    /// With this installation's key, made at the first start.
    pub(super) async fn open(store: &Store, ttl: Duration) -> Result<Self, Error> {
        Self::new(&store.secret("blob_url_key", &random_key()?).await?, ttl)
    }

    fn new(key: &[u8], ttl: Duration) -> Result<Self, Error> {
        let key = Hmac::new_from_slice(key).map_err(|e| Error::Broken(format!("the key of signed URLs: {e}")))?;
        Ok(Self { key, ttl })
    }

    fn mac(&self, digest: &[u8; 32], expires_s: i64) -> Hmac<Sha256> {
        let mut mac = self.key.clone();
        mac.update(digest);
        mac.update(&expires_s.to_be_bytes());
        mac
    }

    fn query(&self, digest: &[u8; 32], now: Timestamp) -> String {
        let expires_s = now.as_second().saturating_add(i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX));
        let signature = hex(&self.mac(digest, expires_s).finalize().into_bytes());
        format!("?expires={expires_s}&signature={signature}")
    }

    fn check(&self, digest: &[u8; 32], signed: &Signed, now: Timestamp) -> Result<(), Error> {
        let refused = |why: &'static str| Err(Error::Forbidden(why.into()));
        let (Some(expires_s), Some(signature)) = (&signed.expires, &signed.signature) else {
            return Err(Error::Unauthorized("a signed URL or a bearer token is needed"));
        };
        let (Ok(expires_s), Some(signature)) = (expires_s.parse::<i64>(), unhex(signature)) else {
            return refused("the URL's signature is not valid");
        };
        if self.mac(digest, expires_s).verify_slice(&signature).is_err() {
            return refused("the URL's signature is not valid");
        }
        if now.as_second() >= expires_s { refused("the URL has expired; list the recordings again") } else { Ok(()) }
    }
}

/// Where a file is downloaded, from now on.
pub(super) fn url(api: &Api, digest: &[u8; 32]) -> String {
    let query = api.urls.as_ref().map_or_else(String::new, |urls| urls.query(digest, Timestamp::now()));
    format!("/api/blobs/{}{query}", hex(digest))
}

/// What a signed URL carries.
#[derive(Default, Deserialize)]
pub(super) struct Signed {
    expires: Option<String>,
    signature: Option<String>,
}

/// Download a recording's file
///
/// `file_url` of a recording leads here. Its query is a signature with an end, unless the setting
/// `recordings.private_urls` is off; a bearer token opens it too. Ranges, `If-Range` and `If-None-Match` are honoured.
#[utoipa::path(
    get, path = "/api/blobs/{sha256}", operation_id = "download_recording", tag = RECORDINGS,
    security((), ("bearer" = [])),
    params(
        ("sha256" = String, Path, description = "SHA-256 of the file, in lower-case hex.",
            example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ("expires" = Option<String>, Query, description = "Of a signed URL: seconds since 1970.", example = "1913000000"),
        ("signature" = Option<String>, Query, description = "Of a signed URL.",
            example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ("Range" = Option<String>, Header, description = "One range of bytes; several are answered with the whole file.",
            example = "bytes=0-1023"),
        ("If-Range" = Option<String>, Header, description = "The range is wanted only of the file with this `ETag`.",
            example = "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the copy one has.",
            example = "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
    ),
    responses(
        (status = 200, description = "The file.",
            content((Bytes = "audio/ogg", example = "OggS"), (Bytes = "video/mp4", example = "ftyp")),
            headers(
                ("ETag" = String, description = "The digest."),
                ("Accept-Ranges" = String, description = "`bytes`."),
                ("Content-Disposition" = String, description = "The file's name."),
            )),
        (status = 206, description = "The part that was asked for.",
            content((Bytes = "audio/ogg", example = "OggS"), (Bytes = "video/mp4", example = "ftyp")),
            headers(
                ("ETag" = String, description = "The digest."),
                ("Content-Range" = String, description = "Which part of how many bytes."),
            )),
        (status = 304, description = "It is the one the client has.",
            headers(("ETag" = String, description = "The digest."))),
        (status = 401, description = "`UNAUTHORIZED`: a signed URL or a bearer token is needed.",
            headers(("WWW-Authenticate" = String, description = "`Bearer`."))),
        (status = 403, description = "`FORBIDDEN`: the URL's signature is not valid; or it has expired."),
        (status = 416, description = "`VALIDATE_FAILED`: the range lies outside of the file.",
            headers(("Content-Range" = String, description = "How many bytes there are."))),
        (status = 429, description = "`RATE_LIMITED`: too many requests."),
        (status = 503, description = "`BUSY`: the database is not available now."),
    ),
)]
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    Origin(from): Origin,
    InPath(digest): InPath<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let digest = unhex(&digest).ok_or(Error::NotFound("file"))?;
    // What cannot be read carries no signature.
    let signed = Query::try_from_uri(&uri).map_or_else(|_| Signed::default(), |Query(signed)| signed);
    if let Some(urls) = &api.urls
        && let Err(refused) = urls.check(&digest, &signed, Timestamp::now())
    {
        let token = bearer(&headers).ok_or(refused)?;
        let identity = api.tokens.identify(token, from).await?;
        api.tokens.spend(&identity)?;
    }
    let (recording, mut file) = found(&api, &digest).await?;
    let broken = |error: std::io::Error| Error::Broken(format!("recording {}: {error}", recording.path));
    let size = file.metadata().await.map_err(broken)?.len();
    let etag = format!("\"{}\"", hex(&digest));

    let mut response = Response::new(Body::empty());
    let mut set = |name, value: String| {
        // Digests, numbers and our own file names are always header values; anything else is left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, etag.clone());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned());
    if tags::names(&headers, &header::IF_NONE_MATCH, &etag) == Some(true) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    set(header::CONTENT_TYPE, content_type(&recording.path).to_owned());
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", plain(&recording.file_name)));
    // A range of another version of the file is no use: then all of it (RFC 9110 §13.1.5).
    let is_same = header_of(&headers, &header::IF_RANGE).is_none_or(|given| given == etag);
    let wanted = header_of(&headers, &header::RANGE).filter(|_| is_same).and_then(|range| parse_range(range, size));
    let (from, length) = match wanted {
        Some(Wanted { from, to }) if from < size => {
            let to = to.min(size - 1);
            set(header::CONTENT_RANGE, format!("bytes {from}-{to}/{size}"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (from, to - from + 1)
        }
        Some(_) => return Err(Error::Range(size)),
        None => (0, size),
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    file.seek(SeekFrom::Start(from)).await.map_err(broken)?;
    *response.body_mut() = Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK_BYTES));
    Ok(response)
}

/// The first recording of this digest whose file is there: all of them are the same.
async fn found(api: &Api, digest: &[u8; 32]) -> Result<(RecordingRecord, File), Error> {
    for recording in api.store.recordings_by_digest(digest, COPIES).await? {
        match File::open(api.rooms.place(&recording.path)).await {
            Ok(file) => return Ok((recording, file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::Broken(format!("recording {}: {error}", recording.path))),
        }
    }
    Err(Error::NotFound("file"))
}

fn header_of<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Both ends count.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    from: u64,
    to: u64,
}

/// One range of bytes. Several at once, and what is not understood, are answered with the whole file (RFC 9110 §14.2).
fn parse_range(text: &str, size: u64) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (from, to) = range.split_once('-')?;
    match (from.trim(), to.trim()) {
        ("", "") => None,
        // The last so many; of nothing there is no last byte, which the caller sees by `from == size`.
        ("", last) => number(last)
            .map(|last| Wanted { from: if last == 0 { size } else { size.saturating_sub(last) }, to: u64::MAX }),
        (from, "") => Some(Wanted { from: number(from)?, to: u64::MAX }),
        (from, to) => {
            let (from, to) = (number(from)?, number(to)?);
            (from <= to).then_some(Wanted { from, to })
        }
    }
}

fn content_type(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("ogg") => "audio/ogg; codecs=opus",
        Some("mp4") => "video/mp4",
        _ => "application/octet-stream",
    }
}

/// Our own file names are plain; this holds even if they were not.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        let all = u64::MAX;
        for (text, wanted) in [
            ("bytes=0-0", Some((0, 0))),
            ("bytes=5-", Some((5, all))),
            ("bytes=-10", Some((90, all))),
            ("bytes=-1000", Some((0, all))),
            ("bytes=-0", Some((100, all))),
            ("Bytes = 1-2", Some((1, 2))),
            ("bytes=2-1", None),
            ("bytes=-", None),
            ("bytes=1-2,4-5", None),
            ("bytes=+1-2", None),
            ("bytes=99999999999999999999-", None),
            ("lines=1-2", None),
            ("", None),
        ] {
            assert_eq!(parse_range(text, 100), wanted.map(|(from, to)| Wanted { from, to }), "{text}");
        }
    }

    #[test]
    fn signature_holds_for_its_file_and_its_time() {
        let urls = SignedUrls::new(&[1; 32], Duration::from_secs(60)).unwrap();
        let other = SignedUrls::new(&[2; 32], Duration::from_secs(60)).unwrap();
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let query = urls.query(&[7; 32], now);
        let (expires, signature) = query.strip_prefix("?expires=").unwrap().split_once("&signature=").unwrap();
        let signed = |expires: &str, signature: &str| Signed {
            expires: Some(expires.to_owned()),
            signature: Some(signature.to_owned()),
        };
        let good = signed(expires, signature);
        urls.check(&[7; 32], &good, now + Duration::from_secs(59)).unwrap();
        let expired = urls.check(&[7; 32], &good, now + Duration::from_secs(60)).unwrap_err();
        assert!(expired.to_string().contains("expired"));
        assert!(urls.check(&[8; 32], &good, now).is_err(), "another file");
        assert!(other.check(&[7; 32], &good, now).is_err(), "another key");
        let later = expires.parse::<i64>().unwrap() + 1;
        for wrong in [signed(&later.to_string(), signature), signed(expires, ""), signed("x", signature)] {
            assert!(matches!(urls.check(&[7; 32], &wrong, now), Err(Error::Forbidden(_))));
        }
        let none = Signed { expires: None, signature: None };
        assert!(matches!(urls.check(&[7; 32], &none, now), Err(Error::Unauthorized(_))));
    }

    #[test]
    fn digests_are_read_in_their_one_spelling() {
        assert_eq!(unhex(&hex(&[0xAB; 32])), Some([0xAB; 32]));
        for wrong in ["", "ab", &"AB".repeat(32), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn file_names_cannot_leave_their_header() {
        assert_eq!(plain("900-2030.ogg"), "900-2030.ogg");
        assert_eq!(plain("a\"; b\r\nc/../d"), "a___b__c_.._d");
    }
}
