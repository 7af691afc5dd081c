//! One room's picture on a virtual clock: when it is made, what is in it, and what is given up when it is late.

use crossbeam_channel::{Receiver, unbounded};

use super::*;
use crate::units::{Bitrate, Resolution};
use crate::video::codec::{Encoder, EncoderSettings};
use crate::video::feed::{Feed, feed};
use crate::video::layout::Layout;
use crate::video::stage::{Place, Seat, Stage};

const H264: Rendition = Rendition { codec: VideoCodec::H264, lower: false };
const RED: [u8; 3] = [81, 90, 240];

fn spec(pictures: u32) -> VideoSpec {
    VideoSpec {
        resolution: Resolution::new(160, 120).unwrap(),
        framerate: FrameRate::per_second(pictures),
        bitrate: Bitrate::kbps(300),
        name_strips: false,
    }
}

/// A scene, its way out, and a moment to begin at.
struct Room {
    scene: Scene,
    demand: Arc<Demand>,
    encoded: Receiver<Encoded>,
    figures: Figures,
    began: Instant,
}

impl Room {
    fn new(pictures: u32) -> Self {
        let demand = Arc::new(Demand::default());
        let (to_room, encoded) = unbounded();
        let scene = Scene::new(RoomId(1), spec(pictures), Arc::clone(&demand), to_room);
        demand.add(H264);
        Self { scene, demand, encoded, figures: Figures::default(), began: Instant::now() }
    }

    /// Somebody who has the only tile.
    fn enter(&mut self) -> Feed {
        let (feed, source) = feed(self.began);
        self.scene.enter(LegId(1), "Anna".into(), source, self.began);
        let mut stage = Stage::new();
        stage.set_layout(Layout::Full);
        stage.set_seats(&[Seat { leg: LegId(1), place: Place::Auto, is_chairman_main: false }]);
        self.scene.arrange(*stage.settle(self.began).unwrap());
        feed.set_sending(true);
        feed
    }

    /// The next picture, done so long after it was due.
    fn compose(&mut self, behind: Duration) -> Vec<Event> {
        let due = self.scene.due().unwrap();
        self.scene.compose(due, || due + behind, &self.figures)
    }

    /// Luma and chroma in the middle.
    fn middle(&self) -> [u8; 3] {
        let picture = self.scene.preview();
        let view = picture.view();
        let uv = view.height / 4 * view.stride_uv + view.width / 4;
        [view.y[view.height / 2 * view.stride_y + view.width / 2], view.u[uv], view.v[uv]]
    }
}

fn is_near(seen: [u8; 3], wanted: [u8; 3]) -> bool {
    seen.iter().zip(wanted).all(|(seen, wanted)| seen.abs_diff(wanted) < 12)
}

/// Encoded pictures of one colour, as a phone would send them.
fn film(count: usize) -> Vec<AccessUnit> {
    let resolution = Resolution::new(160, 120).unwrap();
    let settings = EncoderSettings { resolution, framerate: FrameRate::per_second(15), bitrate: Bitrate::kbps(300) };
    let mut encoder = Encoder::new(VideoCodec::Vp8, settings).unwrap();
    let picture = Picture::filled(160, 120, RED);
    let mut units = Vec::new();
    for number in 0..count {
        let mut unit = AccessUnit::empty(VideoCodec::Vp8);
        let at = FrameRate::per_second(15).due(number as u64);
        assert!(encoder.encode(picture.view(), at, number == 0, &mut unit).unwrap());
        units.push(unit);
    }
    units
}

#[test]
fn pictures_are_due_at_the_rooms_rate_and_their_media_time_with_them() {
    let mut room = Room::new(30);
    assert_eq!(room.scene.due(), None, "nobody is there");
    let _feed = room.enter();
    for _ in 0..45 {
        room.compose(Duration::from_millis(2));
    }
    assert_eq!(room.scene.due(), Some(room.began + Duration::from_millis(1500)));
    room.scene.set(spec(10));
    for _ in 0..10 {
        room.compose(Duration::from_millis(2));
    }
    assert_eq!(room.scene.due(), Some(room.began + Duration::from_millis(2500)));
    let made: Vec<Encoded> = room.encoded.try_iter().collect();
    assert_eq!(made.len(), 55);
    assert!(made.iter().all(|one| one.due == room.began + one.at), "media time began with the picture");
    assert_eq!(made.iter().filter(|one| one.unit.is_keyframe).count(), 1, "another rate needs none");
    room.scene.exit(LegId(1));
    assert_eq!(room.scene.due(), None);
}

#[test]
fn leg_is_shown_then_still_then_a_name() {
    let mut room = Room::new(15);
    let mut feed = room.enter();
    assert!(feed.is_shown() && feed.take_keyframe_wish());
    let mut units = film(20);
    for unit in &mut units {
        assert!(feed.push(unit, room.began));
        room.compose(Duration::ZERO);
    }
    assert!(is_near(room.middle(), RED), "{:?}", room.middle());
    assert_eq!(room.figures.read().decoded, 20);
    for _ in 0..44 {
        room.compose(Duration::ZERO);
    }
    assert!(is_near(room.middle(), RED), "the last picture stays for three seconds");
    for _ in 0..3 {
        room.compose(Duration::ZERO);
    }
    assert!(!is_near(room.middle(), RED));
}

#[test]
fn leg_that_moves_keeps_its_picture_until_the_next() {
    let mut room = Room::new(15);
    let mut feed = room.enter();
    for unit in &mut film(3) {
        feed.push(unit, room.began);
        room.compose(Duration::ZERO);
    }
    let mut tiles = [None; MAX_TILES];
    tiles[3] = Some(LegId(1));
    room.scene.arrange(Arrangement { layout: Layout::Four, tiles });
    room.compose(Duration::ZERO);
    let picture = room.scene.preview();
    let view = picture.view();
    let at = |x: usize, y: usize| [view.y[y * view.stride_y + x], view.u[y / 2 * view.stride_uv + x / 2]];
    assert!(at(120, 90)[0].abs_diff(RED[0]) < 12, "{:?}", at(120, 90));
    assert!(at(40, 30)[0].abs_diff(RED[0]) > 12, "nobody has the first tile");
}

#[test]
fn broken_pictures_cost_the_tile_and_ask_for_a_keyframe() {
    let mut room = Room::new(15);
    let mut feed = room.enter();
    feed.take_keyframe_wish();
    for number in 0..10_u8 {
        let bytes = vec![number; 400];
        let units = std::iter::once(0..400).collect();
        feed.push(&mut AccessUnit { codec: VideoCodec::H264, is_keyframe: true, bytes, units }, room.began);
        room.compose(Duration::ZERO);
    }
    assert!(feed.take_keyframe_wish());
    for unit in &mut film(2) {
        feed.push(unit, room.began);
        room.compose(Duration::ZERO);
    }
    assert!(is_near(room.middle(), RED), "another codec, and it goes on");
}

#[test]
fn late_composer_makes_fewer_pictures_and_says_so() {
    let mut room = Room::new(20);
    let _feed = room.enter();
    let mut facts = Vec::new();
    for _ in 0..100 {
        facts.extend(room.compose(Duration::from_millis(120)));
    }
    let rates: Vec<u32> = facts
        .iter()
        .filter_map(|fact| match fact {
            Event::PictureStrained { framerate, .. } => Some(framerate.pictures()),
            _ => None,
        })
        .collect();
    assert_eq!(rates, [10, 5]);
    let made: Vec<Encoded> = room.encoded.try_iter().collect();
    assert!(made.windows(2).all(|two| two[0].at < two[1].at));
    assert!(room.figures.read().pictures_skipped > 0);
}

#[test]
fn renditions_are_made_while_somebody_wants_them() {
    let mut room = Room::new(15);
    let _feed = room.enter();
    let lower = Rendition { codec: VideoCodec::Vp8, lower: true };
    room.compose(Duration::ZERO);
    room.demand.add(lower);
    room.demand.want_keyframe(H264);
    for _ in 0..3 {
        room.compose(Duration::ZERO);
    }
    room.demand.remove(lower);
    for _ in 0..6 {
        room.compose(Duration::ZERO);
    }
    let made: Vec<Encoded> = room.encoded.try_iter().collect();
    let of = |rendition: Rendition| made.iter().filter(|one| one.rendition == rendition).count();
    assert_eq!((of(H264), of(lower)), (10, 3));
    let keyframes = made.iter().filter(|one| one.rendition == H264 && one.unit.is_keyframe);
    let at: Vec<Duration> = keyframes.map(|one| one.at).collect();
    assert!(at.len() == 2 && at[1] - at[0] >= Duration::from_millis(500), "{at:?}");
}
