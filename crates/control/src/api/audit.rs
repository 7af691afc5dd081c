//! One line in the log for each change and each refused attempt at one: who, from where, what, on which room, with which
//! result; never a body, a query or a header.

use std::net::IpAddr;

use axum::http::header;
use axum::response::Response;

use super::envelope::Refused;
use crate::auth::Identity;
use crate::error::Error;
use crate::ids::Id;

const ROOMS: &str = "/api/conference_rooms/";

/// What was asked for.
#[derive(Debug)]
pub(super) struct Deed<'a> {
    /// Address of the client.
    pub(super) from: IpAddr,
    /// The route; absent where there is none.
    pub(super) action: Option<&'a str>,
    /// As it came.
    pub(super) path: &'a str,
}

impl Deed<'_> {
    /// It was answered.
    pub(super) fn done(&self, who: &Identity, response: &Response) {
        let refused = response.extensions().get::<Refused>().map(|Refused(error)| error.status_and_code().1);
        let made = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        tracing::info!(
            target: "audit",
            who = who.name,
            token = %who.token,
            role = who.role.as_str(),
            from = %self.from,
            action = self.action,
            path = self.path,
            room = room(self.path).or_else(|| room(made?)),
            made,
            status = response.status().as_u16(),
            refused,
            "change"
        );
    }

    /// It was not let in.
    pub(super) fn refused(&self, who: Option<&Identity>, error: &Error) {
        if is_told_once(error) {
            return;
        }
        tracing::info!(
            target: "audit",
            who = who.map(|who| who.name.as_str()),
            token = who.map(|who| tracing::field::display(who.token)),
            from = %self.from,
            action = self.action,
            path = self.path,
            room = room(self.path),
            refused = %error,
            "not allowed"
        );
    }

    /// Somebody who has no token yet, or shows it in the body, succeeded or did not.
    pub(super) fn without_token(&self, who: Option<&str>, result: Result<(), &Error>) {
        match result {
            Ok(()) => {
                tracing::info!(target: "audit", who, from = %self.from, action = self.action, status = 200, "change");
            }
            Err(error) if is_told_once(error) => {}
            Err(error) => {
                tracing::info!(
                    target: "audit", who, from = %self.from, action = self.action, refused = %error, "not allowed"
                );
            }
        }
    }
}

/// Whoever counts failures has said that it slows somebody down; each further attempt would only fill the log.
const fn is_told_once(error: &Error) -> bool {
    matches!(error, Error::Slowed { .. })
}

/// The room's id, when it is one.
fn room(path: &str) -> Option<&str> {
    let id = path.strip_prefix(ROOMS)?.split('/').next()?;
    Id::parse(id).map(|_| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_read_from_the_path_and_nothing_else_is() {
        let id = Id::from_raw(700_551_909_773_148_160).to_string();
        assert_eq!(room(&format!("{ROOMS}{id}")), Some(id.as_str()));
        assert_eq!(room(&format!("{ROOMS}{id}/participants/x/mute")), Some(id.as_str()));
        for path in ["/api/conference_rooms", "/api/conference_rooms/x/mute", "/api/conference_servers/MQ==", "/"] {
            assert_eq!(room(path), None, "{path}");
        }
    }
}
