//! Dialogues with those in rooms and in front of them: what they key becomes steps of their menu, and those become changes
//! and effects here. Called under `Rooms`' mutex; time is the moment when it was taken.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use media::{Digit, LegId};

use super::{Door, Effect, Fresh, Participant, Presence, Speech, State, Wish};
use crate::ids::Id;
use crate::menu::{Ask, Keyed, Manners, Menu, Step, Verdict};
use crate::prompts::Phrase;
use crate::rooms::floor::Act;
use crate::rooms::{HangUp, Left, ParticipantId, Refusal};

/// A caller whose media do not come is spoken to all the same after this long: some phones are silent until they are.
const FIRST_WORD: Duration = Duration::from_millis(1500);
/// After what is said should have been heard: when facts of the engine were lost, the dialogue goes on.
const GRACE: Duration = Duration::from_secs(2);
/// Volume has as many steps each way.
const VOLUME_STEPS: i8 = 4;
/// Phrases that wait until a leg has moved.
const MAX_WORDS: usize = 8;

/// Somebody's dialogue, and what is being said to them.
#[derive(Debug, Default)]
pub(in crate::rooms) struct Dialogue {
    menu: Option<Menu>,
    /// Nothing was said yet; media, or this moment, begin it.
    begins_by: Option<Instant>,
    /// Number of what is said, or was said last.
    saying: u64,
    /// When it has been heard even if nobody says so.
    heard_by: Option<Instant>,
    /// To be said when the leg has arrived.
    words: Vec<Phrase>,
    /// The admin PIN was keyed at the door.
    pub(super) leads: bool,
    /// Their hand, as they were told last.
    hand_told: bool,
}

impl Dialogue {
    /// With somebody in front of the room.
    pub(in crate::rooms) fn at_the_door(menu: Menu, now: Instant) -> Self {
        Self { menu: Some(menu), begins_by: Some(now + FIRST_WORD), ..Self::default() }
    }

    /// When time has to pass in it.
    fn deadline(&self) -> Option<Instant> {
        let menu = self.menu.as_ref().and_then(Menu::deadline);
        [self.begins_by, self.heard_by, menu].into_iter().flatten().min()
    }
}

/// Names for what may begin by a key.
pub(in crate::rooms) type Names = Fresh;

impl State {
    // -- what moves a dialogue -----------------------------------------------------------------------------------------

    /// The first media of a leg came.
    pub(in crate::rooms) fn media_came(&mut self, leg: LegId, names: Names, today: Timestamp) -> Vec<Effect> {
        let Some(participant) = self.owner_of(leg) else { return Vec::new() };
        self.begin_dialogue(participant, names, today)
    }

    /// A key of somebody.
    pub(in crate::rooms) fn key(
        &mut self,
        participant: ParticipantId,
        digit: Digit,
        names: Names,
        today: Timestamp,
    ) -> Vec<Effect> {
        let now = self.now;
        let room = self.by_participant.get(&participant).and_then(|id| self.rooms.get(id));
        let prompts = room.is_some_and(|room| room.prompts);
        let Some(found) = self.participant_mut(participant) else { return Vec::new() };
        let menu = found.dialogue.menu.get_or_insert_with(|| {
            // Nothing was to be asked of them: keys have their meanings from the start.
            let mut menu = Menu::new(Manners { prompts, pin: false });
            menu.entered();
            menu
        });
        let steps = menu.digit(now, digit);
        self.follow(participant, steps, names, today)
    }

    /// Something was said to the end.
    pub(in crate::rooms) fn heard(&mut self, leg: LegId, id: u64, names: Names, today: Timestamp) -> Vec<Effect> {
        let Some(participant) = self.owner_of(leg) else { return Vec::new() };
        match self.participant_mut(participant) {
            Some(found) if found.dialogue.saying == id => self.said(participant, names, today),
            _ => Vec::new(),
        }
    }

    /// What is being said will have been heard then.
    pub(in crate::rooms) fn heard_by(&mut self, participant: ParticipantId, id: u64, length: Duration) {
        let by = self.now + length + GRACE;
        if let Some(found) = self.participant_mut(participant)
            && found.dialogue.saying == id
            && found.dialogue.heard_by.is_some()
        {
            found.dialogue.heard_by = Some(by);
        }
    }

    /// When time has to pass may be another moment now; told once.
    pub(in crate::rooms) fn take_dialogue_news(&mut self) -> bool {
        std::mem::take(&mut self.is_dialogue_news)
    }

    /// When time has to pass in a dialogue next.
    pub(in crate::rooms) fn next_deadline(&self) -> Option<Instant> {
        self.everyone().filter_map(|p| p.dialogue.deadline()).min()
    }

    /// Time has passed in dialogues.
    pub(in crate::rooms) fn pass_dialogues(&mut self, names: impl Fn() -> Names, today: Timestamp) -> Vec<Effect> {
        let now = self.now;
        let is_due = |p: &&Participant| p.dialogue.deadline().is_some_and(|deadline| deadline <= now);
        let due: Vec<ParticipantId> = self.everyone().filter(is_due).map(|p| p.id).collect();
        let mut effects = Vec::new();
        for participant in due {
            effects.extend(self.begin_if_due(participant, names(), today));
            let is_heard = |p: &Participant| p.dialogue.heard_by.is_some_and(|by| by <= now);
            if self.participant_mut(participant).is_some_and(|p| is_heard(p)) {
                effects.extend(self.said(participant, names(), today));
            }
            let menu = self.participant_mut(participant).and_then(|p| p.dialogue.menu.as_mut());
            if let Some(steps) = menu.map(|menu| menu.pass(now)) {
                effects.extend(self.follow(participant, steps, names(), today));
            }
        }
        effects
    }

    fn begin_if_due(&mut self, participant: ParticipantId, names: Names, today: Timestamp) -> Vec<Effect> {
        let now = self.now;
        let is_due = |p: &mut Participant| p.dialogue.begins_by.is_some_and(|by| by <= now);
        if self.participant_mut(participant).is_some_and(is_due) {
            return self.begin_dialogue(participant, names, today);
        }
        Vec::new()
    }

    fn begin_dialogue(&mut self, participant: ParticipantId, names: Names, today: Timestamp) -> Vec<Effect> {
        let now = self.now;
        let Some(id) = self.by_participant.get(&participant).copied() else { return Vec::new() };
        let extension = self.rooms.get(&id).map(|room| room.extension.to_string()).unwrap_or_default();
        let Some(found) = self.participant_mut(participant) else { return Vec::new() };
        if found.dialogue.begins_by.take().is_none() {
            return Vec::new();
        }
        let Some(menu) = &mut found.dialogue.menu else { return Vec::new() };
        let steps = if id == super::LOBBY { menu.begin_in_lobby(now) } else { menu.begin(now, &extension) };
        self.follow(participant, steps, names, today)
    }

    fn said(&mut self, participant: ParticipantId, names: Names, today: Timestamp) -> Vec<Effect> {
        let now = self.now;
        let Some(found) = self.participant_mut(participant) else { return Vec::new() };
        found.dialogue.heard_by = None;
        let Some(menu) = &mut found.dialogue.menu else { return Vec::new() };
        let steps = menu.said(now);
        self.follow(participant, steps, names, today)
    }

    // -- what follows --------------------------------------------------------------------------------------------------

    /// Carries out the steps of somebody's menu, and those that follow from them.
    fn follow(&mut self, participant: ParticipantId, steps: Vec<Step>, names: Names, today: Timestamp) -> Vec<Effect> {
        self.is_dialogue_news = true;
        let mut effects = Vec::new();
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Say(phrases) => effects.extend(self.say(participant, phrases)),
                Step::Hush => effects.extend(self.hush(participant)),
                Step::Find(keyed) => steps.extend(self.find_room(participant, &keyed, names, today, &mut effects)),
                Step::TryPin(keyed) => steps.extend(self.try_pin(participant, &keyed)),
                Step::Enter => match self.enter(participant) {
                    Ok(entered) => effects.extend(entered),
                    Err(refused) => steps.extend(refused),
                },
                Step::Ask(ask) => effects.extend(self.ask(participant, ask)),
                Step::HangUp(why) => {
                    if let Some(ended) = self.remove(participant, Left::Removed(why), Some(why), true) {
                        effects.extend(ended);
                        effects.push(Effect::Left { participant, why });
                    }
                    break;
                }
            }
        }
        effects
    }

    /// Says this to one leg alone, in place of what is being said to it; a leg on its way hears it when it has arrived.
    pub(in crate::rooms) fn say(&mut self, participant: ParticipantId, phrases: Vec<Phrase>) -> Option<Effect> {
        let id = *self.by_participant.get(&participant)?;
        let language = self.rooms.get(&id)?.language.clone();
        let now = self.now;
        let found = self.participant_mut(participant)?;
        let Some((room, leg)) = found.at.zip(found.leg) else {
            found.dialogue.words.extend(phrases);
            found.dialogue.words.truncate(MAX_WORDS);
            return None;
        };
        found.dialogue.saying += 1;
        // Until its length is known.
        found.dialogue.heard_by = Some(now + GRACE);
        let id = found.dialogue.saying;
        Some(Effect::Say { participant, room, leg, id, speech: Speech { language, phrases } })
    }

    /// The same, in rooms where things are said.
    pub(in crate::rooms) fn mention(&mut self, participant: ParticipantId, phrases: Vec<Phrase>) -> Option<Effect> {
        let id = *self.by_participant.get(&participant)?;
        if !self.rooms.get(&id)?.prompts {
            return None;
        }
        let found = self.participant_mut(participant)?;
        // Who is still asked something, or hears their last words, is not interrupted.
        if found.dialogue.menu.as_ref().is_some_and(Menu::is_at_the_door) {
            return None;
        }
        self.say(participant, phrases)
    }

    /// Says this to everybody who takes part, in rooms where things are said.
    pub(in crate::rooms) fn announce(&self, id: Id, phrases: Vec<Phrase>) -> Option<Effect> {
        let room = self.rooms.get(&id).filter(|room| room.prompts)?;
        let call = room.call.as_ref()?;
        let is_anybody_here = call.participants.iter().any(|p| p.confirmed);
        let speech = Speech { language: room.language.clone(), phrases };
        is_anybody_here.then(|| Effect::Announce { room: call.media, speech })
    }

    /// The leg has arrived: what had to wait is said, and after it what there is to say of where it is now.
    pub(super) fn say_what_waited(&mut self, participant: ParticipantId, more: Vec<Phrase>) -> Option<Effect> {
        let id = *self.by_participant.get(&participant)?;
        let prompts = self.rooms.get(&id)?.prompts;
        let mut words = std::mem::take(&mut self.participant_mut(participant)?.dialogue.words);
        if prompts {
            words.extend(more);
        }
        if words.is_empty() { None } else { self.say(participant, words) }
    }

    fn hush(&mut self, participant: ParticipantId) -> Option<Effect> {
        let found = self.participant_mut(participant)?;
        found.dialogue.heard_by = None;
        // What was said is not heard to the end any more, whatever the engine had told by now.
        found.dialogue.saying += 1;
        let (room, leg) = found.at.zip(found.leg)?;
        Some(Effect::Hush { room, leg })
    }

    /// The menu has done its part in front of the room.
    pub(super) fn let_in(&mut self, participant: ParticipantId) {
        if let Some(menu) = self.participant_mut(participant).and_then(|p| p.dialogue.menu.as_mut()) {
            menu.entered();
        }
    }

    /// Somebody does not get in after all, though they were received.
    pub(super) fn dismiss(&mut self, participant: ParticipantId, why: HangUp, word: Phrase) -> Vec<Step> {
        let now = self.now;
        let menu = self.participant_mut(participant).and_then(|p| p.dialogue.menu.as_mut());
        menu.map(|menu| menu.dismiss(now, why, vec![word, Phrase::Goodbye])).unwrap_or_default()
    }

    // -- PINs ----------------------------------------------------------------------------------------------------------

    fn try_pin(&mut self, participant: ParticipantId, keyed: &Keyed) -> Vec<Step> {
        let now = self.now;
        let Some(verdict) = self.judge(participant, keyed, true) else { return Vec::new() };
        let menu = self.participant_mut(participant).and_then(|p| p.dialogue.menu.as_mut());
        menu.map(|menu| menu.verdict(now, verdict)).unwrap_or_default()
    }

    /// What a PIN is worth. The admin PIN makes the chairman of whoever keys it; at the door the room's own opens too.
    fn judge(&mut self, participant: ParticipantId, keyed: &Keyed, is_at_the_door: bool) -> Option<Verdict> {
        let id = *self.by_participant.get(&participant)?;
        // Those whom we called have no address that they called from: they are counted as one.
        let source = self.participant_mut(participant)?.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let judged = self.judge_pin(id, source, keyed.digits(), Some(participant), is_at_the_door);
        if judged == Ok(true) {
            self.participant_mut(participant)?.dialogue.leads = true;
        }
        Some(match judged {
            Ok(_) => Verdict::Right,
            Err(Refusal::PinWrong) => Verdict::Wrong,
            Err(_) => Verdict::Closed,
        })
    }
}

impl State {
    // -- wishes --------------------------------------------------------------------------------------------------------

    fn ask(&mut self, participant: ParticipantId, ask: Ask) -> Vec<Effect> {
        let Some(id) = self.by_participant.get(&participant).copied() else { return Vec::new() };
        let Some(found) = self.participant_mut(participant) else { return Vec::new() };
        let (leads, is_waiting) = (found.chairman, found.presence != Presence::Joined);
        let Some(room) = self.rooms.get(&id) else { return Vec::new() };
        let policy = room.policy;
        let is_recorded = room.call.as_ref().is_some_and(|call| call.recording.is_some());
        let operate = |wish| vec![Effect::Operate { participant, room: id, wish }];
        let said = match ask {
            Ask::Softer => self.turn(participant, -1),
            Ask::Louder => self.turn(participant, 1),
            Ask::HeadCount => self.head_count(id),
            Ask::Help => Phrase::Menu { chairman: leads },
            Ask::Chair(keyed) => match self.judge(participant, &keyed, false) {
                Some(Verdict::Right) => return self.appoint(participant),
                Some(Verdict::Wrong) => Phrase::WrongPin,
                Some(Verdict::Closed) => Phrase::PinBlocked,
                None => return Vec::new(),
            },
            // Who waits is neither heard nor shown, and leads nothing.
            _ if is_waiting => Phrase::ErrorTone,
            Ask::Mute => {
                self.act(participant, Act::Toggle);
                return self.speak_of_voice(participant).into_iter().collect();
            }
            Ask::Lock | Ask::MuteAll | Ask::Record | Ask::Dial(_) if !leads => Phrase::ChairmanOnly,
            Ask::Lock => return operate(Wish::Lock(!policy.locked)),
            Ask::MuteAll => return operate(Wish::MuteAll(!policy.muted)),
            Ask::Record => return operate(Wish::Record(!is_recorded)),
            Ask::Dial(keyed) => return operate(Wish::Dial(keyed)),
        };
        self.mention(participant, vec![said]).into_iter().collect()
    }

    /// Louder or softer by a step; a tone tells, another one that it goes no further.
    fn turn(&mut self, participant: ParticipantId, by: i8) -> Phrase {
        let Some(found) = self.participant_mut(participant) else { return Phrase::ErrorTone };
        let volume = (found.volume + by).clamp(-VOLUME_STEPS, VOLUME_STEPS);
        if std::mem::replace(&mut found.volume, volume) == volume {
            return Phrase::ErrorTone;
        }
        self.unsettled.insert(participant);
        if by > 0 { Phrase::Louder } else { Phrase::Quieter }
    }

    fn head_count(&self, id: Id) -> Phrase {
        let count = self
            .rooms
            .get(&id)
            .map_or(0, |room| room.participants().iter().filter(|p| p.presence == Presence::Joined).count());
        if count == 1 { Phrase::AloneHere } else { Phrase::HeadCount(u32::try_from(count).unwrap_or(u32::MAX)) }
    }

    /// What somebody is told of their mute and hand as they are now.
    pub(in crate::rooms) fn speak_of_voice(&mut self, participant: ParticipantId) -> Option<Effect> {
        let found = self.participant_mut(participant)?;
        let (was_up, is_up) = (std::mem::replace(&mut found.dialogue.hand_told, found.hand), found.hand);
        let word = match (found.muted, was_up, is_up) {
            (true, false, true) => Phrase::HandRaised,
            (true, true, false) => Phrase::HandLowered,
            (true, ..) => Phrase::Muted,
            (false, ..) => Phrase::Unmuted,
        };
        self.mention(participant, vec![word])
    }

    // -- the lobby -----------------------------------------------------------------------------------------------------

    /// The lobby's caller has keyed an extension: if there is such a room, they stand in front of it now.
    fn find_room(
        &mut self,
        participant: ParticipantId,
        keyed: &Keyed,
        names: Names,
        today: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Vec<Step> {
        let now = self.now;
        let Some(source) = self.participant_mut(participant).and_then(|p| p.source) else { return Vec::new() };
        let door = Door { extension: keyed.digits(), source, today, is_invited: false };
        let is_lobby = self.is_lobby(keyed.digits());
        // The seat that they hold in the lobby is the one that they come in with.
        self.seats = self.seats.saturating_sub(1);
        let admitted = if is_lobby { Err(Refusal::UnknownRoom(String::new())) } else { self.admit(door, names) };
        self.seats += 1;
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let word = match &refusal {
                    Refusal::UnknownRoom(_) => Phrase::UnknownExtension,
                    other => other.word().unwrap_or(Phrase::NoCapacity),
                };
                let menu = self.participant_mut(participant).and_then(|p| p.dialogue.menu.as_mut());
                return menu.map(|menu| menu.refused(word)).unwrap_or_default();
            }
        };
        if admitted.opens {
            let video = self.video_of(admitted.media);
            effects.push(Effect::Open { room: admitted.media, video });
        }
        let Some(mut moved) = self.unseat(participant, effects) else { return Vec::new() };
        let Some(room) = self.rooms.get_mut(&admitted.room) else { return Vec::new() };
        let extension = room.extension.to_string();
        let manners = room.manners();
        let steps = match (&mut moved.dialogue.menu, manners) {
            (Some(menu), Some(manners)) => menu.found(now, manners, &extension),
            _ => vec![Step::Enter],
        };
        // Nothing is to be asked: until the leg has moved it counts as one of those in front of the room all the same.
        if let Some(call) = room.call.as_mut() {
            call.outside += u32::from(!admitted.is_outside);
            call.participants.push(moved);
        }
        self.by_participant.insert(participant, admitted.room);
        steps
    }
}
