//! Positions by example, and what holds after any sequence of changes.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const AUDIO: Shape = None;

fn video(tiles: u8) -> Shape {
    media::Layout::from_number(tiles)
}

/// All that is done here is done at once.
fn moment() -> Instant {
    static MOMENT: LazyLock<Instant> = LazyLock::new(Instant::now);
    *MOMENT
}

impl Tiles {
    fn come(&mut self, id: ParticipantId, number: &str) -> Moves {
        self.join(id, LegId(id.0.unsigned_abs()), number, moment())
    }

    fn go(&mut self, id: ParticipantId) -> Moves {
        self.leave(id, moment())
    }

    fn put(&mut self, id: ParticipantId, position: i8) -> Result<Moves, Error> {
        self.place(id, position, moment())
    }

    fn line_up(&mut self, named: &[ParticipantId], joined: &[ParticipantId]) -> Result<Moves, Error> {
        self.arrange(named, joined, moment())
    }

    fn bend(&mut self, shape: Shape) -> Moves {
        self.reshape(shape, moment())
    }

    /// The tile that the pin claims, if the layout has it.
    fn claim(&self, member: &Member) -> Option<usize> {
        member.pin.and_then(|pin| usize::try_from(pin).ok()).filter(|tile| *tile < self.count())
    }

    fn count(&self) -> usize {
        self.shape.map_or(MAX_TILES, media::Layout::tiles)
    }
}

fn who(number: i64) -> ParticipantId {
    ParticipantId(number)
}

/// So many people, 1 and up, as they came.
fn tiles(shape: Shape, people: i64) -> Tiles {
    let mut tiles = Tiles::new(shape);
    for number in 1..=people {
        tiles.come(who(number), &number.to_string());
    }
    tiles
}

/// Positions in the order of coming; pinned ones with `true`.
fn places(tiles: &Tiles) -> Vec<(i8, bool)> {
    let mut members: Vec<&Member> = tiles.members.iter().collect();
    members.sort_by_key(|m| m.id);
    members.iter().map(|m| (m.told.position, m.told.pinned)).collect()
}

fn positions(tiles: &Tiles) -> Vec<i8> {
    places(tiles).into_iter().map(|(position, _)| position).collect()
}

#[test]
fn tiles_are_filled_in_the_order_of_coming_and_kept() {
    let mut tiles = tiles(video(3), 4);
    assert_eq!(positions(&tiles), [0, 1, 2, -1]);
    assert_eq!(tiles.go(who(2)), [(who(4), Place { position: 1, pinned: false })]);
    assert_eq!(positions(&tiles), [0, 2, 1], "who is shown keeps the tile");
    assert!(tiles.go(who(9)).is_empty());
    tiles.bend(video(1));
    assert_eq!(positions(&tiles), [0, -1, -1]);
    tiles.bend(video(4));
    assert_eq!(positions(&tiles), [0, 1, 2]);
}

#[test]
fn position_that_is_set_swaps_with_whoever_is_there() {
    let mut tiles = tiles(video(3), 3);
    let moves = tiles.put(who(3), 0).unwrap();
    assert_eq!(moves, [(who(1), Place { position: 2, pinned: false }), (who(3), Place { position: 0, pinned: true })]);
    assert!(tiles.put(who(3), 0).unwrap().is_empty());
    tiles.put(who(2), 0).unwrap();
    assert_eq!(places(&tiles), [(2, false), (0, true), (1, true)], "a pinned one stays pinned, elsewhere");
    assert_eq!(tiles.put(who(7), 0).unwrap_err(), Error::NotFound("participant"));
}

#[test]
fn whoever_gives_way_to_one_without_a_tile_is_placed_like_the_others() {
    let mut tiles = tiles(video(2), 3);
    tiles.put(who(1), 0).unwrap();
    tiles.put(who(3), 0).unwrap();
    assert_eq!(places(&tiles), [(-1, false), (1, false), (0, true)]);
}

#[test]
fn hidden_one_is_not_shown_whatever_is_free() {
    let mut tiles = tiles(video(4), 2);
    tiles.put(who(1), HIDDEN).unwrap();
    assert_eq!(places(&tiles), [(-1, true), (1, false)]);
    tiles.come(who(3), "3");
    assert_eq!(positions(&tiles), [-1, 1, 0]);
}

#[test]
fn position_past_the_layout_has_no_effect_until_the_layout_has_it() {
    let mut tiles = tiles(video(2), 2);
    tiles.put(who(1), 7).unwrap();
    assert_eq!(places(&tiles), [(0, true), (1, false)]);
    tiles.put(who(2), 7).unwrap();
    assert_eq!(places(&tiles), [(0, false), (1, true)]);
    tiles.bend(video(9));
    assert_eq!(places(&tiles), [(0, false), (7, true)]);
    tiles.bend(video(2));
    assert_eq!(places(&tiles), [(0, false), (1, true)]);
}

#[test]
fn room_without_picture_has_only_the_positions_that_were_set() {
    let mut tiles = tiles(AUDIO, 3);
    assert_eq!(places(&tiles), [(-1, false); 3]);
    tiles.put(who(2), 8).unwrap();
    assert_eq!(places(&tiles), [(-1, false), (8, true), (-1, false)]);
    tiles.put(who(1), 8).unwrap();
    assert_eq!(places(&tiles), [(8, true), (-1, false), (-1, false)]);
}

#[test]
fn arrangement_places_the_named_then_the_others() {
    let mut tiles = tiles(video(4), 5);
    tiles.put(who(1), HIDDEN).unwrap();
    let joined: Vec<_> = (1..=5).map(who).collect();
    tiles.line_up(&[who(4), who(2)], &joined).unwrap();
    assert_eq!(places(&tiles), [(2, false), (1, true), (3, false), (0, true), (-1, false)]);
    let before = places(&tiles);
    for refused in [[who(1), who(1)], [who(1), who(6)]] {
        assert!(matches!(tiles.line_up(&refused, &joined), Err(Error::Invalid(v)) if v[0].field == "items"));
        assert_eq!(places(&tiles), before);
    }
    tiles.line_up(&[], &joined).unwrap();
    assert_eq!(places(&tiles), [(0, false), (1, false), (2, false), (3, false), (-1, false)]);
}

#[test]
fn names_past_the_last_tile_only_say_who_is_next() {
    let mut tiles = tiles(video(9), 12);
    let joined: Vec<_> = (1..=12).map(who).collect();
    let named: Vec<_> = (2..=12).rev().map(who).collect();
    tiles.line_up(&named, &joined).unwrap();
    assert_eq!(positions(&tiles)[..4], [-1, -1, -1, 8]);
    assert_eq!(tiles.pins().len(), 9);
    tiles.go(who(12));
    assert_eq!(positions(&tiles)[..4], [-1, -1, 0, 8], "the third is the next one that was named");
}

#[test]
fn pin_waits_for_its_number_until_another_has_the_tile_or_the_call_ends() {
    let mut tiles = Tiles::new(video(4));
    tiles.recall("2".into(), 0);
    tiles.come(who(1), "1");
    assert_eq!(tiles.come(who(2), "2").len(), 2, "the pin takes the tile from who is there");
    assert_eq!(places(&tiles), [(1, false), (0, true)]);
    tiles.go(who(2));
    tiles.come(who(3), "2");
    assert_eq!(places(&tiles), [(1, false), (0, true)]);
    tiles.go(who(3));
    tiles.put(who(1), 0).unwrap();
    tiles.come(who(4), "2");
    assert_eq!(places(&tiles), [(0, true), (1, false)]);
    tiles.clear();
    assert!(tiles.pins().is_empty());
}

#[test]
fn chairman_who_leads_has_the_main_tile() {
    let mut tiles = tiles(video(3), 4);
    tiles.lead(Some(who(4)), moment());
    assert_eq!(positions(&tiles), [-1, 1, 2, 0]);
    tiles.lead(None, moment());
    assert_eq!(positions(&tiles), [-1, 1, 2, 0], "who is shown keeps the tile");
}

#[test]
fn who_talks_for_a_while_is_shown_and_the_engine_is_told() {
    let mut tiles = tiles(video(2), 3);
    assert!(tiles.take_arrangement().is_some() && tiles.take_arrangement().is_none());
    tiles.talk(who(3), true);
    let later = |quarters: u32| moment() + Duration::from_secs(3) + Duration::from_millis(250) * quarters;
    let moves: Vec<Moves> = (0..4).map(|quarters| tiles.pass(later(quarters))).collect();
    assert!(moves[..3].iter().all(Vec::is_empty), "a word is not enough: {moves:?}");
    assert_eq!(positions(&tiles), [0, -1, 1]);
    assert_eq!(tiles.take_arrangement().unwrap().tiles[1], Some(LegId(3)));
    let mut audio = Tiles::new(AUDIO);
    audio.come(who(1), "1");
    assert!(audio.take_arrangement().is_none() && !audio.is_live());
}

#[derive(Clone, Debug)]
enum Act {
    Join,
    Leave(usize),
    Place(usize, i8),
    Arrange(Vec<usize>),
    Reshape(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Join),
        2 => (0usize..20).prop_map(Act::Leave),
        4 => ((0usize..20), (-1i8..9)).prop_map(|(at, position)| Act::Place(at, position)),
        1 => proptest::collection::vec(0usize..20, 0..12).prop_map(Act::Arrange),
        1 => (1u8..=9).prop_map(Act::Reshape),
    ]
}

proptest! {
    #[test]
    fn whatever_is_done_each_tile_has_one_and_no_pin_is_passed_over(
        acts in proptest::collection::vec(act(), 0..60),
        automatic: bool,
    ) {
        let mut tiles = Tiles::new(video(9).filter(|_| automatic));
        let mut here: Vec<ParticipantId> = Vec::new();
        let mut told: BTreeMap<ParticipantId, Place> = BTreeMap::new();
        for (at, act) in acts.into_iter().enumerate() {
            let id = |n: usize| here.get(n % here.len().max(1)).copied();
            let before = tiles.clone();
            let keeps = matches!(act, Act::Join | Act::Leave(_));
            let moves = match act {
                Act::Join => {
                    let new = who(i64::try_from(at).unwrap());
                    here.push(new);
                    // Numbers come again, at times while they are here.
                    tiles.come(new, &(at % 7).to_string())
                }
                Act::Leave(n) => {
                    let Some(gone) = id(n) else { continue };
                    here.retain(|id| *id != gone);
                    told.remove(&gone);
                    tiles.go(gone)
                }
                Act::Place(n, position) => {
                    let Some(id) = id(n) else { continue };
                    let moves = tiles.put(id, position).unwrap();
                    prop_assert!(tiles.put(id, position).unwrap().is_empty(), "twice is once");
                    moves
                }
                Act::Arrange(list) => {
                    let named: Vec<_> = list.into_iter().filter_map(id).collect();
                    match tiles.line_up(&named, &here) {
                        Ok(moves) => {
                            prop_assert!(tiles.line_up(&named, &here).unwrap().is_empty(), "twice is once");
                            moves
                        }
                        Err(_) => {
                            prop_assert_eq!(places(&tiles), places(&before));
                            continue;
                        }
                    }
                }
                Act::Reshape(count) => tiles.bend(video(count).filter(|_| automatic)),
            };
            told.extend(moves);
            let count = tiles.count();
            let mut held = HashSet::new();
            let mut pinned = HashSet::new();
            for member in &tiles.members {
                prop_assert_eq!(told.get(&member.id).copied().unwrap_or(Place::NONE), member.told);
                if let Some(tile) = member.tile {
                    prop_assert!(tile < count && held.insert(tile), "one each");
                }
                if let Some(pin) = member.pin.filter(|pin| *pin != HIDDEN) {
                    prop_assert!(pinned.insert(pin), "one pin each");
                }
                match tiles.claim(member) {
                    Some(tile) => prop_assert_eq!(member.tile, Some(tile)),
                    None if member.pin == Some(HIDDEN) || !automatic => prop_assert_eq!(member.tile, None),
                    None => {}
                }
            }
            prop_assert!(tiles.waiting.values().all(|pin| *pin == HIDDEN || !pinned.contains(pin)));
            let waits = |m: &Member| m.tile.is_none() && m.pin != Some(HIDDEN);
            if automatic && tiles.members.iter().any(waits) {
                prop_assert_eq!(held.len(), count, "no tile is free while somebody waits");
            }
            for old in before.members.iter().filter(|_| keeps) {
                let Some(now) = tiles.members.iter().find(|m| m.id == old.id) else { continue };
                let claimed = tiles.members.iter().any(|m| m.id != now.id && tiles.claim(m) == old.tile);
                prop_assert!(old.tile.is_none() || claimed || now.tile == old.tile, "who is shown keeps the tile");
            }
        }
    }
}
