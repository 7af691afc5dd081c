//! Positions by example, and what holds after any sequence of changes.

use proptest::prelude::*;

use super::*;

const AUDIO: Shape = Shape { tiles: MAX_TILES, automatic: false };

fn video(tiles: usize) -> Shape {
    Shape { tiles, automatic: true }
}

fn who(number: i64) -> ParticipantId {
    ParticipantId(number)
}

/// So many people, 1 and up, as they came.
fn tiles(shape: Shape, people: i64) -> Tiles {
    let mut tiles = Tiles::new(shape);
    for number in 1..=people {
        tiles.join(who(number), &number.to_string());
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
    assert_eq!(tiles.leave(who(2)), [(who(4), Place { position: 1, pinned: false })]);
    assert_eq!(positions(&tiles), [0, 2, 1], "who is shown keeps the tile");
    assert!(tiles.leave(who(9)).is_empty());
    tiles.reshape(video(1));
    assert_eq!(positions(&tiles), [0, -1, -1]);
    tiles.reshape(video(4));
    assert_eq!(positions(&tiles), [0, 1, 2]);
}

#[test]
fn position_that_is_set_swaps_with_whoever_is_there() {
    let mut tiles = tiles(video(3), 3);
    let moves = tiles.place(who(3), 0).unwrap();
    assert_eq!(moves, [(who(1), Place { position: 2, pinned: false }), (who(3), Place { position: 0, pinned: true })]);
    assert!(tiles.place(who(3), 0).unwrap().is_empty());
    tiles.place(who(2), 0).unwrap();
    assert_eq!(places(&tiles), [(2, false), (0, true), (1, true)], "a pinned one stays pinned, elsewhere");
    assert_eq!(tiles.place(who(7), 0).unwrap_err(), Error::NotFound("participant"));
}

#[test]
fn whoever_gives_way_to_one_without_a_tile_is_placed_like_the_others() {
    let mut tiles = tiles(video(2), 3);
    tiles.place(who(1), 0).unwrap();
    tiles.place(who(3), 0).unwrap();
    assert_eq!(places(&tiles), [(-1, false), (1, false), (0, true)]);
}

#[test]
fn hidden_one_is_not_shown_whatever_is_free() {
    let mut tiles = tiles(video(4), 2);
    tiles.place(who(1), HIDDEN).unwrap();
    assert_eq!(places(&tiles), [(-1, true), (1, false)]);
    tiles.join(who(3), "3");
    assert_eq!(positions(&tiles), [-1, 1, 0]);
}

#[test]
fn position_past_the_layout_has_no_effect_until_the_layout_has_it() {
    let mut tiles = tiles(video(2), 2);
    tiles.place(who(1), 7).unwrap();
    assert_eq!(places(&tiles), [(0, true), (1, false)]);
    tiles.place(who(2), 7).unwrap();
    assert_eq!(places(&tiles), [(0, false), (1, true)]);
    tiles.reshape(video(9));
    assert_eq!(places(&tiles), [(0, false), (7, true)]);
    tiles.reshape(video(2));
    assert_eq!(places(&tiles), [(0, false), (1, true)]);
}

#[test]
fn room_without_picture_has_only_the_positions_that_were_set() {
    let mut tiles = tiles(AUDIO, 3);
    assert_eq!(places(&tiles), [(-1, false); 3]);
    tiles.place(who(2), 8).unwrap();
    assert_eq!(places(&tiles), [(-1, false), (8, true), (-1, false)]);
    tiles.place(who(1), 8).unwrap();
    assert_eq!(places(&tiles), [(8, true), (-1, false), (-1, false)]);
}

#[test]
fn arrangement_places_the_named_then_the_others() {
    let mut tiles = tiles(video(4), 5);
    tiles.place(who(1), HIDDEN).unwrap();
    let joined: Vec<_> = (1..=5).map(who).collect();
    tiles.arrange(&[who(4), who(2)], &joined).unwrap();
    assert_eq!(places(&tiles), [(2, false), (1, true), (3, false), (0, true), (-1, false)]);
    let before = places(&tiles);
    for refused in [[who(1), who(1)], [who(1), who(6)]] {
        assert!(matches!(tiles.arrange(&refused, &joined), Err(Error::Invalid(v)) if v[0].field == "items"));
        assert_eq!(places(&tiles), before);
    }
    tiles.arrange(&[], &joined).unwrap();
    assert_eq!(places(&tiles), [(0, false), (1, false), (2, false), (3, false), (-1, false)]);
}

#[test]
fn names_past_the_last_tile_only_say_who_is_next() {
    let mut tiles = tiles(video(9), 12);
    let joined: Vec<_> = (1..=12).map(who).collect();
    let named: Vec<_> = (2..=12).rev().map(who).collect();
    tiles.arrange(&named, &joined).unwrap();
    assert_eq!(positions(&tiles)[..4], [-1, -1, -1, 8]);
    assert_eq!(tiles.pins().len(), 9);
    tiles.leave(who(12));
    assert_eq!(positions(&tiles)[..4], [-1, -1, 0, 8], "the third is the next one that was named");
}

#[test]
fn pin_waits_for_its_number_until_another_has_the_tile_or_the_call_ends() {
    let mut tiles = Tiles::new(video(4));
    tiles.recall("2".into(), 0);
    tiles.join(who(1), "1");
    assert_eq!(tiles.join(who(2), "2").len(), 2, "the pin takes the tile from who is there");
    assert_eq!(places(&tiles), [(1, false), (0, true)]);
    tiles.leave(who(2));
    tiles.join(who(3), "2");
    assert_eq!(places(&tiles), [(1, false), (0, true)]);
    tiles.leave(who(3));
    tiles.place(who(1), 0).unwrap();
    tiles.join(who(4), "2");
    assert_eq!(places(&tiles), [(0, true), (1, false)]);
    tiles.clear();
    assert!(tiles.pins().is_empty());
}

#[derive(Clone, Debug)]
enum Act {
    Join,
    Leave(usize),
    Place(usize, i8),
    Arrange(Vec<usize>),
    Reshape(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Join),
        2 => (0usize..20).prop_map(Act::Leave),
        4 => ((0usize..20), (-1i8..9)).prop_map(|(at, position)| Act::Place(at, position)),
        1 => proptest::collection::vec(0usize..20, 0..12).prop_map(Act::Arrange),
        1 => (1usize..=MAX_TILES).prop_map(Act::Reshape),
    ]
}

proptest! {
    #[test]
    fn whatever_is_done_each_tile_has_one_and_no_pin_is_passed_over(
        acts in proptest::collection::vec(act(), 0..60),
        automatic: bool,
    ) {
        let mut tiles = Tiles::new(Shape { tiles: MAX_TILES, automatic });
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
                    tiles.join(new, &(at % 7).to_string())
                }
                Act::Leave(n) => {
                    let Some(gone) = id(n) else { continue };
                    here.retain(|id| *id != gone);
                    told.remove(&gone);
                    tiles.leave(gone)
                }
                Act::Place(n, position) => {
                    let Some(id) = id(n) else { continue };
                    let moves = tiles.place(id, position).unwrap();
                    prop_assert!(tiles.place(id, position).unwrap().is_empty(), "twice is once");
                    moves
                }
                Act::Arrange(list) => {
                    let named: Vec<_> = list.into_iter().filter_map(id).collect();
                    match tiles.arrange(&named, &here) {
                        Ok(moves) => {
                            prop_assert!(tiles.arrange(&named, &here).unwrap().is_empty(), "twice is once");
                            moves
                        }
                        Err(_) => {
                            prop_assert_eq!(places(&tiles), places(&before));
                            continue;
                        }
                    }
                }
                Act::Reshape(count) => tiles.reshape(Shape { tiles: count, automatic }),
            };
            told.extend(moves);
            let shape = tiles.shape;
            let mut held = HashSet::new();
            let mut pinned = HashSet::new();
            for member in &tiles.members {
                prop_assert_eq!(told.get(&member.id).copied().unwrap_or(Place::NONE), member.told);
                if let Some(tile) = member.tile {
                    prop_assert!(tile < shape.tiles && held.insert(tile), "one each");
                }
                if let Some(pin) = member.pin.filter(|pin| *pin != HIDDEN) {
                    prop_assert!(pinned.insert(pin), "one pin each");
                }
                match member.claim(shape) {
                    Some(tile) => prop_assert_eq!(member.tile, Some(tile)),
                    None if member.pin == Some(HIDDEN) || !automatic => prop_assert_eq!(member.tile, None),
                    None => {}
                }
            }
            prop_assert!(tiles.waiting.values().all(|pin| *pin == HIDDEN || !pinned.contains(pin)));
            let waits = |m: &Member| m.tile.is_none() && m.pin != Some(HIDDEN);
            if automatic && tiles.members.iter().any(waits) {
                prop_assert_eq!(held.len(), shape.tiles, "no tile is free while somebody waits");
            }
            for old in before.members.iter().filter(|_| keeps) {
                let Some(now) = tiles.members.iter().find(|m| m.id == old.id) else { continue };
                let claimed = tiles.members.iter().any(|m| m.id != now.id && m.claim(shape) == old.tile);
                prop_assert!(old.tile.is_none() || claimed || now.tile == old.tile, "who is shown keeps the tile");
            }
        }
    }
}
