//! Who is shown where, by example and under random events.

use proptest::prelude::*;

use super::*;

/// One stage on a clock of its own; legs are written as letters, empty tiles as `.`.
struct Scene {
    stage: Stage,
    start: Instant,
    now: Instant,
    seats: Vec<Seat>,
}

fn seat(letter: char) -> Seat {
    Seat { leg: LegId(letter as u64), place: Place::Auto, is_chairman_main: false }
}

impl Scene {
    fn new(layout: Layout, letters: &str) -> Self {
        let start = Instant::now();
        let mut scene = Self { stage: Stage::new(), start, now: start, seats: letters.chars().map(seat).collect() };
        scene.stage.set_layout(layout);
        scene.set();
        scene.stage.settle(start);
        scene
    }

    fn set(&mut self) {
        self.stage.set_seats(&self.seats);
    }

    fn join(&mut self, letters: &str) -> &mut Self {
        self.seats.extend(letters.chars().map(seat));
        self.set();
        self
    }

    fn leave(&mut self, letters: &str) -> &mut Self {
        self.seats.retain(|seat| !letters.contains(letter(seat.leg)));
        self.set();
        self
    }

    fn place(&mut self, who: char, place: Place) -> &mut Self {
        self.seats.iter_mut().filter(|s| s.leg == seat(who).leg).for_each(|s| s.place = place);
        self.set();
        self
    }

    fn chair(&mut self, who: char) -> &mut Self {
        self.seats.iter_mut().for_each(|s| s.is_chairman_main = s.leg == seat(who).leg);
        self.set();
        self
    }

    fn layout(&mut self, layout: Layout) -> &mut Self {
        self.stage.set_layout(layout);
        self
    }

    /// Time goes by in ticks of 20 ms, while these talk.
    fn wait(&mut self, ms: u64, talkers: &str) -> &mut Self {
        for _ in 0..ms / 20 {
            self.now += Duration::from_millis(20);
            talkers.chars().for_each(|who| self.stage.talking(self.now, seat(who).leg));
            self.stage.settle(self.now);
        }
        self
    }

    fn shown(&mut self) -> String {
        self.stage.settle(self.now);
        let arrangement = self.stage.arrangement();
        let tiles = &arrangement.tiles[..arrangement.layout.tiles()];
        assert!(arrangement.tiles[arrangement.layout.tiles()..].iter().all(Option::is_none));
        tiles.iter().map(|held| held.map_or('.', letter)).collect()
    }
}

fn letter(leg: LegId) -> char {
    char::from(leg.0 as u8)
}

#[test]
fn tiles_are_filled_by_order_of_joining() {
    for (layout, letters, expected) in [
        (Layout::Full, "", "."),
        (Layout::Full, "AB", "A"),
        (Layout::SideBySide, "A", "A."),
        (Layout::Four, "ABCDE", "ABCD"),
        (Layout::Nine, "ABCDEFGHIJ", "ABCDEFGHI"),
        (Layout::Auto, "", "."),
        (Layout::Auto, "ABC", "ABC."),
        (Layout::Auto, "ABCDE", "ABCDE."),
        (Layout::Auto, "ABCDEFGHIJKL", "ABCDEFGHI"),
        (Layout::Auto, "AAB", "AB"),
    ] {
        assert_eq!(Scene::new(layout, letters).shown(), expected, "{layout:?} {letters}");
    }
}

#[test]
fn whoever_is_shown_keeps_the_tile_when_others_come_and_go() {
    let mut scene = Scene::new(Layout::Four, "ABCDE");
    assert_eq!(scene.leave("B").shown(), "AECD");
    assert_eq!(scene.leave("A").shown(), ".ECD");
    assert_eq!(scene.join("F").shown(), "FECD");
    assert_eq!(scene.join("G").shown(), "FECD");
}

#[test]
fn automatic_layout_grows_at_once_and_shrinks_after_a_while() {
    let mut scene = Scene::new(Layout::Auto, "AB");
    assert_eq!(scene.join("C").shown(), "ABC.");
    assert_eq!(scene.leave("A").wait(1_980, "").shown(), ".BC.");
    assert_eq!(scene.wait(40, "").shown(), "CB");
    // Somebody who comes back in time finds it as it was, and the time runs anew.
    assert_eq!(scene.join("DE").shown(), "CBDE");
    assert_eq!(scene.leave("DE").wait(1_900, "").join("F").shown(), "CBF.");
    assert_eq!(scene.leave("F").wait(1_900, "").shown(), "CB..");
    assert_eq!(scene.wait(200, "").shown(), "CB");
    assert_eq!(scene.leave("CB").wait(2_100, "").shown(), ".");
}

#[test]
fn layout_that_is_set_takes_effect_at_once() {
    let mut scene = Scene::new(Layout::Nine, "ABCDE");
    assert_eq!(scene.leave("A").layout(Layout::SideBySide).shown(), "CB");
    assert_eq!(scene.layout(Layout::Auto).shown(), "CBDE");
    assert_eq!(scene.layout(Layout::OneAndSix).shown(), "CBDE...");
    assert_eq!(scene.layout(Layout::Full).shown(), "C");
}

#[test]
fn pins_swap_and_wait_for_their_tile() {
    let mut scene = Scene::new(Layout::Four, "ABCDE");
    assert_eq!(scene.place('C', Place::Pinned(0)).shown(), "CBAD");
    assert_eq!(scene.place('E', Place::Pinned(1)).shown(), "CEAD");
    // The first to join wins a pin that two have; a pin past the layout is as none.
    assert_eq!(scene.place('D', Place::Pinned(0)).shown(), "CEAD");
    assert_eq!(scene.place('A', Place::Pinned(8)).shown(), "CEAD");
    assert_eq!(scene.layout(Layout::Nine).shown(), "CEBD....A");
    assert_eq!(scene.place('C', Place::Hidden).shown(), "DEB.....A");
    assert_eq!(scene.place('C', Place::Auto).shown(), "DEBC....A");
}

#[test]
fn pins_of_each_others_tiles_are_all_honoured() {
    let mut scene = Scene::new(Layout::Four, "ABCD");
    for (who, tile) in [('A', 1), ('B', 2), ('C', 3), ('D', 0)] {
        scene.seats.iter_mut().filter(|s| s.leg == seat(who).leg).for_each(|s| s.place = Place::Pinned(tile));
    }
    scene.set();
    assert_eq!(scene.shown(), "DABC");
}

#[test]
fn hidden_are_not_shown_and_need_no_tile() {
    let mut scene = Scene::new(Layout::Auto, "ABC");
    assert_eq!(scene.place('A', Place::Hidden).wait(2_100, "A").shown(), "CB");
    assert_eq!(scene.place('B', Place::Hidden).place('C', Place::Hidden).wait(2_100, "ABC").shown(), ".");
}

#[test]
fn chairman_has_the_main_tile_and_gives_it_to_no_talker() {
    let mut scene = Scene::new(Layout::OneAndTwo, "ABCDE");
    assert_eq!(scene.chair('D').shown(), "DBC");
    assert_eq!(scene.wait(3_000, "").wait(700, "AE").shown(), "DEA");
    assert_eq!(scene.place('B', Place::Pinned(0)).shown(), "BEA");
    assert_eq!(scene.chair('E').shown(), "BEA");
    assert_eq!(scene.place('B', Place::Auto).shown(), "EBA");
    assert_eq!(scene.place('E', Place::Hidden).shown(), "CBA");
}

#[test]
fn talker_takes_the_tile_of_whoever_has_been_silent_longest() {
    let mut scene = Scene::new(Layout::Four, "ABCDEF");
    scene.wait(1_000, "D").wait(1_000, "C").wait(1_000, "A").wait(600, "B");
    // D was heard first, but all four were: D has been silent longest.
    assert_eq!(scene.wait(580, "E").shown(), "ABCD");
    assert_eq!(scene.wait(60, "E").shown(), "ABCE");
    assert_eq!(scene.wait(700, "EF").shown(), "ABFE");
    // Back again: the tiles of E and F are too young, so that A gives way, and B.
    assert_eq!(scene.wait(700, "DC").shown(), "CDFE");
}

#[test]
fn of_those_who_never_talked_the_last_to_join_gives_way() {
    let mut scene = Scene::new(Layout::Four, "ABCDE");
    assert_eq!(scene.wait(2_000, "A").wait(700, "E").shown(), "ABCE");
}

#[test]
fn cough_and_pauses_move_nobody_in() {
    let mut scene = Scene::new(Layout::Full, "AB");
    scene.wait(3_000, "");
    for _ in 0..10 {
        assert_eq!(scene.wait(400, "B").wait(600, "").shown(), "A");
    }
    // Pauses for breath do not begin it anew.
    assert_eq!(scene.wait(300, "B").wait(200, "").wait(200, "B").shown(), "B");
}

#[test]
fn nobody_who_talks_gives_way_and_nobody_within_the_minimum_stay() {
    let mut scene = Scene::new(Layout::Full, "ABC");
    assert_eq!(scene.wait(5_000, "AB").shown(), "A");
    assert_eq!(scene.wait(600, "B").shown(), "B");
    assert_eq!(scene.wait(1_300, "C").shown(), "B");
    assert_eq!(scene.wait(700, "C").shown(), "C");
}

#[test]
fn free_tile_goes_to_the_latest_talker() {
    let mut scene = Scene::new(Layout::SideBySide, "ABCDE");
    scene.wait(1_900, "ABE").wait(700, "ABD").wait(100, "AB");
    assert_eq!(scene.leave("A").shown(), "DB");
}

#[test]
fn large_main_tile_is_not_left_empty() {
    let mut scene = Scene::new(Layout::Auto, "ABCDEF");
    assert_eq!(scene.wait(2_000, "D").leave("A").shown(), "DBC.EF");
    // Equal tiles stay as they are.
    let mut scene = Scene::new(Layout::Four, "ABC");
    assert_eq!(scene.wait(3_000, "").leave("A").wait(3_000, "").shown(), ".BC.");
}

#[test]
fn arrangement_is_told_only_when_it_is_another_one() {
    let now = Instant::now();
    let mut stage = Stage::new();
    assert!(stage.settle(now).is_some(), "the first one is always told");
    assert!(stage.settle(now).is_none());
    stage.set_seats(&[seat('A')]);
    assert_eq!(stage.settle(now).and_then(|a| a.tile_of(LegId('A' as u64))), Some(0));
    stage.set_seats(&[seat('A')]);
    stage.talking(now, LegId(99));
    assert!(stage.settle(now).is_none());
}

#[derive(Clone, Debug)]
enum Happens {
    Joins(u8),
    Leaves(u8),
    Placed(u8, Place),
    Chairs(Option<u8>),
    Layout(u8),
    Talks(u16),
}

fn happens() -> impl Strategy<Value = Happens> {
    let place = prop_oneof![Just(Place::Auto), Just(Place::Hidden), (0u8..12).prop_map(Place::Pinned)];
    prop_oneof![
        4 => (0u8..16).prop_map(Happens::Joins),
        2 => (0u8..16).prop_map(Happens::Leaves),
        1 => (0u8..16, place).prop_map(|(leg, place)| Happens::Placed(leg, place)),
        1 => proptest::option::of(0u8..16).prop_map(Happens::Chairs),
        1 => (0u8..10).prop_map(Happens::Layout),
        8 => any::<u16>().prop_map(Happens::Talks),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rules_hold_whatever_happens(events in proptest::collection::vec((happens(), 1u64..40), 1..80)) {
        let mut scene = Scene::new(Layout::Auto, "");
        let mut since: [(Option<LegId>, u64); MAX_TILES] = [(None, 0); MAX_TILES];
        for (event, ticks) in events {
            let leg = |n: u8| char::from(b'A' + n);
            let mut talkers = String::new();
            let mut is_calm = false;
            match event {
                Happens::Joins(n) if scene.seats.iter().all(|s| s.leg != seat(leg(n)).leg) => {
                    scene.join(&leg(n).to_string());
                }
                Happens::Joins(_) => {}
                Happens::Leaves(n) => {
                    scene.leave(&leg(n).to_string());
                }
                Happens::Placed(n, place) => {
                    scene.place(leg(n), place);
                }
                Happens::Chairs(n) => {
                    scene.chair(n.map_or(' ', leg));
                }
                Happens::Layout(n) => {
                    scene.layout(Layout::from_number(n).unwrap());
                }
                Happens::Talks(bits) => {
                    talkers = (0..16).filter(|n| bits >> n & 1 == 1).map(leg).collect();
                    is_calm = true;
                }
            }
            for tick in 0..=ticks {
                let before = *scene.stage.arrangement();
                let shown = scene.wait(if tick == 0 { 0 } else { 20 }, &talkers).shown();
                let now = scene.now.duration_since(scene.start).as_millis() as u64;
                let arrangement = *scene.stage.arrangement();
                let tiles = arrangement.layout.tiles();

                let mut seen: Vec<char> = shown.chars().filter(|c| *c != '.').collect();
                seen.sort_unstable();
                seen.dedup();
                prop_assert_eq!(seen.len(), shown.chars().filter(|c| *c != '.').count(), "a leg twice: {}", shown);
                let visible = scene.seats.iter().filter(|s| s.place != Place::Hidden);
                prop_assert_eq!(seen.len(), visible.clone().count().min(tiles), "a tile is free, somebody unseen: {}", shown);
                prop_assert!(seen.iter().all(|c| visible.clone().any(|s| letter(s.leg) == *c)), "{}", shown);

                let mut pinned = [None; MAX_TILES];
                for s in &scene.seats {
                    if let Place::Pinned(tile) = s.place && usize::from(tile) < tiles {
                        pinned[usize::from(tile)].get_or_insert(s.leg);
                    }
                }
                for (tile, leg) in pinned.iter().enumerate().filter(|(_, leg)| leg.is_some()) {
                    prop_assert_eq!(arrangement.tiles[tile], *leg, "pin of tile {}: {}", tile, shown);
                }
                let chairman = scene.seats.iter().find(|s| s.is_chairman_main && s.place == Place::Auto);
                let first = scene.seats.iter().find(|s| s.is_chairman_main && s.place != Place::Hidden);
                if let Some(s) = chairman.filter(|s| pinned[0].is_none() && first.is_some_and(|f| f.leg == s.leg)) {
                    prop_assert_eq!(arrangement.tiles[0], Some(s.leg), "the chairman's tile: {}", shown);
                }

                for (tile, kept) in since.iter_mut().enumerate() {
                    let held = arrangement.tiles[tile];
                    if held != kept.0 {
                        // While nothing but talk and time happens, who was shown had the tile for the minimum stay.
                        if (is_calm || tick > 0) && kept.0.is_some() && arrangement.layout == before.layout {
                            prop_assert!(now - kept.1 >= 2_000, "tile {} after {} ms: {}", tile, now - kept.1, shown);
                        }
                        *kept = (held, now);
                    }
                }
            }
        }
    }
}
