//! Those who come with a browser: one step from an offer to a seat, without a menu, as what a menu asks a page has asked already.
//! What they may do themselves once they are in. Knows no HTTP.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use media::{LegId, Reply, RoomId};
use tokio::sync::{mpsc, oneshot};

use super::floor::Act;
use super::state::{Effect, State};
use super::view::seen;
use super::{Caller, Control, DialogOrder, Entry, Layout, ParticipantId, ParticipantView, Presence, Refusal, Rooms};
use crate::error::Error;
use crate::ids::Id;
use crate::store;

/// Orders that wait for whoever keeps the browser's session.
const ORDERS: usize = 8;
/// Characters of a name; more does not fit a tile.
const MAX_NAME: usize = 64;

/// How a participant's media comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A phone: RTP, by SIP.
    Sip,
    /// A browser.
    WebRtc,
}

impl Transport {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sip => "SIP",
            Self::WebRtc => "WEBRTC",
        }
    }
}

/// Someone at a room's link.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// As they call themselves.
    pub name: String,
    /// Where the request came from.
    pub source: IpAddr,
    /// What opens the door.
    pub key: Key,
    /// They come in silently.
    pub muted: bool,
}

/// What opens a room's door, when more is asked for than to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// What they gave as PIN, if anything.
    Pin(Option<String>),
    /// A personal invitation, which stands for the PIN; its bearer leads the room, or does not.
    Invited {
        /// As the chairman.
        leads: bool,
    },
}

/// Somebody who came in.
#[derive(Debug)]
pub struct Visit {
    /// Who it is.
    pub participant: ParticipantId,
    /// Our session description.
    pub answer: String,
    /// What rooms tells the session; its end is theirs too.
    pub orders: mpsc::Receiver<DialogOrder>,
}

/// What stands at a room's door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorView {
    /// Why nobody comes in now; `None`: it is open.
    pub closed: Option<Refusal>,
    /// A PIN is asked for.
    pub needs_pin: bool,
    /// Nobody new comes in.
    pub locked: bool,
}

/// A room and everybody in it, as one of them sees it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Themselves, and everybody else who takes part or waits.
    pub participants: Vec<ParticipantView>,
    /// They may unmute themselves.
    pub may_unmute: bool,
    /// The room's subject.
    pub subject: String,
    /// How it is led.
    pub control: Control,
    /// How its picture is arranged.
    pub layout: Layout,
    /// Of its announcements.
    pub language: Option<String>,
    /// Nobody new comes in.
    pub locked: bool,
    /// Everybody is muted.
    pub muted: bool,
    /// It is recorded.
    pub recording: bool,
}

impl Rooms {
    /// What stands at a room's door for somebody from there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn door(&self, room: Id, source: IpAddr) -> Result<DoorView, Error> {
        let state = self.state();
        let known = state.room(room).ok_or(Error::NotFound("room"))?;
        let (needs_pin, locked) = (known.asks_for_pin(), known.policy.locked);
        let closed = state.would_admit(room, source, store::now()).err();
        Ok(DoorView { closed, needs_pin, locked })
    }

    /// Somebody comes in with a browser's offer.
    ///
    /// # Errors
    /// Why not; nothing is counted then.
    pub async fn visit(&self, room: Id, visitor: Visitor, offer: &str) -> Result<Visit, Refusal> {
        let visited = self.try_visit(room, &visitor, offer).await;
        if let Err(refusal) = &visited {
            self.inner.metrics.refused(refusal.label());
            tracing::info!(source = %visitor.source, room = room.raw(), reason = %refusal, "a browser is not let in");
        }
        visited
    }

    async fn try_visit(&self, room: Id, visitor: &Visitor, offer: &str) -> Result<Visit, Refusal> {
        if !self.inner.engine.has_web() {
            return Err(Refusal::NoBrowsers);
        }
        // What cannot be answered takes no seat, and begins no call.
        if !media::is_web_offer(offer) {
            return Err(Refusal::BadOffer("the body is no offer over ICE and DTLS".to_owned()));
        }
        let fresh = self.fresh();
        let (seat, extension, leads) = {
            let mut state = self.state();
            let (admitted, leads) = state.admit_visitor(room, visitor.source, &visitor.key, store::now(), fresh)?;
            let extension = state.room(room).map(|known| known.extension.to_string()).unwrap_or_default();
            let seat = self.opened(&mut state, admitted)?;
            (seat, extension, leads)
        };
        let reservation = self.inner.engine.reserve_web(seat.room)?;
        let (leg, mut answer) = media::answer(offer, reservation, visitor.source).map_err(|error| match error {
            media::Error::Peer(reason) => Refusal::BadOffer(reason),
            media::Error::Refused(refused) => Refusal::BadOffer(refused.to_string()),
            other => Refusal::from(other),
        })?;
        // Who only sends is a publisher: browsers put nobody on hold.
        answer.on_hold = false;
        let (dialog, orders) = mpsc::channel(ORDERS);
        let number = format!("web-{}", leg.id().0);
        let caller = Caller {
            extension,
            display_name: name_addr(&visitor.name, &number),
            number,
            source: SocketAddr::new(visitor.source, 0),
            call_id: String::new(),
            dialog,
            entry: Entry::Judged { leads },
        };
        let participant = self.join(seat, caller, leg, &answer).await?;
        if visitor.muted {
            self.change(|state| {
                state.act(participant, Act::Mute);
                Vec::new()
            });
        }
        Ok(Visit { participant, answer: answer.sdp, orders })
    }

    /// A browser restarts ICE by a fragment (RFC 8840). `None`: there is nothing to answer.
    ///
    /// # Errors
    /// `NotFound` when they are gone; `Invalid` when the fragment is none; `Busy`.
    pub async fn restart_ice(&self, participant: ParticipantId, fragment: &str) -> Result<Option<String>, Error> {
        let (room, leg): (RoomId, LegId) = self.leg_of(participant).await.ok_or(Error::NotFound("session"))?;
        let (reply, restarted) = oneshot::channel();
        let reply = Reply::new(move |answer| drop(reply.send(answer)));
        let invalid = |error| match error {
            media::Error::Peer(reason) => Error::invalid("", reason),
            media::Error::Refused(_) => Error::NotFound("session"),
            other => other.into(),
        };
        if !self.inner.engine.restart_ice(room, leg, fragment, reply).map_err(invalid)? {
            return Ok(None);
        }
        let answer = restarted.await.map_err(|_| Error::Busy("the media worker dropped the question".into()))?;
        answer.map(Some).map_err(invalid)
    }

    /// A room as one of its participants sees it.
    ///
    /// # Errors
    /// `NotFound` when they are not in it.
    pub fn standing(&self, room: Id, participant: ParticipantId) -> Result<Standing, Error> {
        let state = self.state();
        let known = state.room(room).ok_or(Error::NotFound("room"))?;
        let me = known.participants().iter().find(|p| p.id == participant).ok_or(Error::NotFound("session"))?;
        let shown = |view: &ParticipantView| matches!(view.presence, Presence::Joined | Presence::Waiting);
        // The engine is not asked: a page shows none of its figures.
        let all = seen(known).into_iter();
        Ok(Standing {
            participants: all.filter(|view| view.id == participant || shown(view)).collect(),
            may_unmute: me.chairman || !known.is_led_by_word(),
            subject: known.subject.to_string(),
            control: known.control(),
            layout: known.layout,
            language: known.language.as_deref().map(str::to_owned),
            locked: known.policy.locked,
            muted: known.policy.muted,
            recording: known.call.as_ref().is_some_and(|call| call.recording.is_some()),
        })
    }

    /// Whether they lead the room.
    ///
    /// # Errors
    /// `NotFound` when they are not in it.
    pub fn is_chairman(&self, room: Id, participant: ParticipantId) -> Result<bool, Error> {
        let state = self.state();
        let known = state.room(room).ok_or(Error::NotFound("room"))?;
        let me = known.participants().iter().find(|p| p.id == participant);
        me.map(|me| me.chairman).ok_or(Error::NotFound("participant"))
    }

    /// Somebody mutes or unmutes themselves.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` when only the chairman gives the word.
    pub fn mute_oneself(&self, room: Id, participant: ParticipantId, muted: bool) -> Result<(), Error> {
        self.oneself(room, participant, |state, is_muted, may_unmute| {
            if is_muted == muted {
                return Ok(Vec::new());
            }
            if !muted && !may_unmute {
                return Err(Error::Forbidden("only the chairman gives the word now: raise your hand".into()));
            }
            state.act(participant, if muted { Act::Mute } else { Act::Unmute });
            Ok(Vec::new())
        })
    }

    /// Somebody asks for the word, or does not any more.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn raise_hand(&self, room: Id, participant: ParticipantId, raised: bool) -> Result<(), Error> {
        self.oneself(room, participant, |state, _, _| {
            state.raise_hand(participant, raised);
            Ok(Vec::new())
        })
    }

    /// Somebody takes the chair with the room's admin PIN.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` when the PIN is wrong; `Slowed` when too many were.
    pub fn claim_chair(&self, room: Id, participant: ParticipantId, pin: &str) -> Result<(), Error> {
        self.oneself(room, participant, |state, _, _| match state.judge_claim(participant, pin) {
            Ok(()) => Ok(state.appoint(participant)),
            Err(Refusal::PinClosed) => {
                Err(Error::Slowed { reason: "the room takes no PINs for a while", retry_after_s: 60 })
            }
            Err(_) => Err(Error::Forbidden("that is not the room's admin PIN".into())),
        })
    }

    /// What somebody does who is in the room; told whether they are muted, and whether they may unmute themselves.
    fn oneself(
        &self,
        room: Id,
        participant: ParticipantId,
        act: impl FnOnce(&mut State, bool, bool) -> Result<Vec<Effect>, Error>,
    ) -> Result<(), Error> {
        let mut outcome = Err(Error::NotFound("session"));
        self.change(|state| {
            let known = state.room(room);
            let led = known.is_some_and(|known| known.is_led_by_word());
            let me = known.and_then(|known| known.participants().iter().find(|p| p.id == participant));
            let Some((muted, chairman)) = me.map(|me| (me.muted, me.chairman)) else { return Vec::new() };
            match act(state, muted, chairman || !led) {
                Ok(effects) => {
                    outcome = Ok(());
                    effects
                }
                Err(error) => {
                    outcome = Err(error);
                    Vec::new()
                }
            }
        });
        outcome
    }

    /// The room that one comes to by this number; the lobby is none.
    pub fn at_extension(&self, extension: &str) -> Option<Id> {
        self.state().id_of_extension(extension)
    }

    /// This number asks which room is wanted.
    pub fn is_lobby(&self, extension: &str) -> bool {
        self.state().is_lobby(extension)
    }

    /// When a meeting begins for those who come.
    pub fn begins_at(&self, room: Id) -> Option<Timestamp> {
        self.state().room(room)?.plan.opens_at()
    }
}

/// The name as a name-addr; an address that leads nowhere (RFC 2606 §2).
fn name_addr(name: &str, number: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let name: String = words.join(" ").chars().take(MAX_NAME).collect();
    let name = if name.is_empty() { "Guest".to_owned() } else { name };
    format!("\"{}\"<sip:{number}@web.invalid>", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::name_of;

    #[test]
    fn a_name_is_one_line_and_comes_back_as_it_was() {
        for (name, shown) in [
            ("Ann", "Ann"),
            ("  Ann \r\n B\u{7}ell ", "Ann B ell"),
            ("", "Guest"),
            ("\"><script>\\", "\"><script>\\"),
            (&"x".repeat(200), &"x".repeat(64)),
        ] {
            let address = name_addr(name, "web-1");
            assert!(!address.contains(char::is_control), "{address:?}");
            assert_eq!(name_of(&address), shown);
        }
    }
}
