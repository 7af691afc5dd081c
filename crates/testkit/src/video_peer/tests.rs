//! Two peers wired to each other without a server.

use super::*;
use crate::scene;

fn h264() -> VideoFormat {
    VideoFormat::h264(96, 1, "42e01f")
}

fn all() -> [VideoFormat; 3] {
    [h264(), VideoFormat::h264(97, 0, "42e01f"), VideoFormat::vp8(98)]
}

fn small(format: &VideoFormat) -> VideoConfig {
    VideoConfig::new(std::slice::from_ref(format)).size(320, 180).framerate(20)
}

/// The first shows to the second, which only looks.
fn pair(shows: VideoConfig, sees: VideoConfig) -> (VideoPeer, VideoPeer) {
    let format = shows.formats[0].clone();
    let (a, b) = (VideoPeer::bind(shows), VideoPeer::bind(sees));
    let rtcp = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
    b.pause(true);
    b.start(format.clone(), a.address(), rtcp(a.address()));
    a.start(format, b.address(), rtcp(b.address()));
    (a, b)
}

#[test]
fn colours_survive_every_format_over_a_clean_stream() {
    for format in all() {
        let (a, b) = pair(small(&format), small(&format));
        for colour in [Colour::Red, Colour::Cyan, Colour::Grey] {
            a.show(scene::moving(colour, 5));
            b.wait_colours(&[(20, 20, colour), (160, 90, colour), (300, 20, colour)]);
        }
        let seen = b.wait_pictures(5);
        seen.check_clean().unwrap();
        assert_eq!((seen.undecodable, seen.sizes.as_slice()), (0, &[(320, 180)][..]), "{}", seen.summary());
        assert!(seen.largest_payload <= 1_200 && seen.keyframes >= 1, "{}", seen.summary());
    }
}

#[test]
fn pli_and_fir_give_a_keyframe_each() {
    for format in [h264(), VideoFormat::vp8(98)] {
        let (a, b) = pair(small(&format), small(&format));
        a.show(scene::moving(Colour::Green, 1));
        b.wait_pictures(3);
        for ask in [VideoPeer::send_pli, VideoPeer::send_fir] {
            let keyframes = b.seen().keyframes;
            ask(&b);
            b.wait_keyframe(keyframes);
        }
        assert!(a.plis() >= 1);
        assert_eq!(a.firs(), 1);
        // The same command again is the same command.
        let keyframes = a.sent().keyframes;
        let again = Feedback::Fir { media: a.ssrc(), number: 0 };
        b.send_feedback(std::slice::from_ref(&again));
        wait::until_true("a second FIR", PATIENCE, || a.firs() == 2);
        b.wait_pictures(3);
        assert_eq!(a.sent().keyframes, keyframes);
    }
}

#[test]
fn nacks_repair_seeded_loss() {
    for format in [h264(), VideoFormat::vp8(98)] {
        let mut shows = small(&format);
        shows.impairment.loss = 0.1;
        let (a, b) = pair(shows, small(&format));
        a.show(scene::moving(Colour::Magenta, 2));
        let seen = b.wait_seen("repaired packets", |seen| seen.repaired >= 10 && seen.pictures.len() >= 60);
        assert!(a.nacks() > 0 && a.sent().resent >= 10);
        // What is sent again can be lost again, but hardly five times; a busy machine may answer too late.
        assert!(seen.lost * 5 <= seen.repaired, "{}", seen.summary());
        b.wait_colour(160, 60, Colour::Magenta);
    }
}

#[test]
fn without_nacks_loss_costs_pictures_and_ends_with_a_keyframe() {
    let mut sees = small(&h264());
    sees.receiving.nacks = false;
    sees.receiving.patience = Duration::from_millis(30);
    let (a, b) = pair(small(&h264()), sees);
    a.show(scene::moving(Colour::Blue, 2));
    b.wait_pictures(5);
    b.impair_receiving(Impairment { loss: 0.2, ..Impairment::default() });
    let seen = b.wait_seen("damage", |seen| seen.damaged > 3 && seen.lost > 3);
    assert_eq!((seen.repaired, a.nacks()), (0, 0));
    b.impair_receiving(Impairment::default());
    a.show(scene::moving(Colour::Yellow, 2));
    b.wait_colour(160, 60, Colour::Yellow);
    assert!(a.plis() > 0);
}

#[test]
fn size_changes_in_the_middle_and_sending_stops_and_resumes() {
    for format in [h264(), VideoFormat::vp8(98)] {
        let (a, b) = pair(small(&format), small(&format));
        a.show(scene::solid(Colour::Red));
        b.wait_size(320, 180);
        a.resize(176, 144);
        b.wait_size(176, 144);
        a.pause(true);
        a.show(scene::solid(Colour::Cyan));
        let keyframes = b.seen().keyframes;
        a.pause(false);
        b.wait_keyframe(keyframes);
        b.wait_colour(88, 72, Colour::Cyan);
        let seen = b.seen();
        seen.check_clean().unwrap();
        assert_eq!(seen.sizes, [(320, 180), (176, 144)]);
    }
}

#[test]
fn burst_is_that_of_a_keyframe() {
    let mut shows = small(&h264()).size(640, 360);
    shows.kbps = 2_000;
    let (a, b) = pair(shows, small(&h264()));
    a.show(scene::moving(Colour::Orange, 9));
    let seen = b.wait_pictures(10);
    let largest = seen.pictures.iter().map(|p| p.bytes).max().unwrap();
    // At 20 pictures a second no two share 20 ms, unless the sender was late; a keyframe is sent at once.
    let burst = seen.largest_burst(Duration::from_millis(20));
    assert!(burst >= largest && largest > 1_200, "{burst} and {largest}");
    assert!(seen.largest_burst(Duration::from_secs(20)) as u64 == seen.bytes);
}

#[test]
fn garbage_is_told_and_survived() {
    let (a, b) = pair(small(&h264()), small(&h264()));
    a.show(scene::solid(Colour::Green));
    b.wait_pictures(2);
    let garbage: [&[u8]; 5] =
        [&[0x78, 0, 1, 0x41, 0], &[0x7c, 0x45, 1], &[0xff; 30], &[0x65], &[0x65, 0xff, 0xff, 0, 0, 0]];
    for payload in garbage {
        a.send_payload(payload, true);
    }
    a.send_raw(b.address(), b"no RTP");
    b.wait_seen("complaints", |seen| seen.malformed >= 4);
    // What was thrown away makes it ask for a keyframe.
    a.show(scene::solid(Colour::White));
    b.wait_colour(160, 90, Colour::White);
}

#[test]
fn reports_and_limits_arrive() {
    let (a, b) = pair(small(&h264()), small(&h264()));
    b.wait_pictures(2);
    let is_sender = |r: &Result<rtcp::Report, String>| r.as_ref().is_ok_and(|r| r.sender.is_some() && r.has_cname);
    wait::until_true("a sender report", PATIENCE, || b.reports().iter().any(|(_, r)| is_sender(r)));
    wait::until_true("a report on what is shown", PATIENCE, || {
        let about = |r: &rtcp::Report| r.sender.is_none() && r.blocks.iter().any(|block| block.ssrc == a.ssrc());
        a.reports().iter().any(|(_, r)| r.as_ref().is_ok_and(about))
    });
    b.send_remb(300_000);
    a.wait_feedback("REMB", |f| matches!(f, Feedback::Remb { media, .. } if *media == [a.ssrc()]));
    assert_eq!(a.limit_bps(), Some(300_000));
    b.send_tmmbr(128_000);
    a.wait_feedback("TMMBR", |f| matches!(f, Feedback::Tmmbr { .. }));
    assert_eq!(a.limit_bps(), Some(128_000));
    assert!(a.reports().iter().chain(&b.reports()).all(|(_, r)| r.is_ok()));
}

#[test]
fn flashes_come_once_a_second_on_whole_periods() {
    let (a, b) = pair(small(&h264()), small(&h264()));
    wait::until_true("a beginning", PATIENCE, || a.sent().began.is_some());
    let anchor = a.sent().began.unwrap();
    a.align(anchor);
    a.show(scene::flashes(anchor));
    let seen = b.wait_seen("two flashes", |seen| seen.flashes().len() >= 2);
    let timestamps: Vec<u32> = seen
        .flashes()
        .iter()
        .map(|at| seen.pictures.iter().find(|p| p.at == *at).unwrap().timestamp.wrapping_sub(a.sent().first_timestamp))
        .collect();
    // A picture that a busy machine skipped makes the next one the first that is white.
    assert!(timestamps.iter().all(|t| t % 90_000 < 9_000), "{timestamps:?}");
}

#[test]
#[should_panic(expected = "RRRR")]
fn time_out_tells_what_was_seen() {
    let (a, b) = pair(small(&h264()), small(&h264()));
    a.show(scene::solid(Colour::Red));
    b.wait_colour(160, 90, Colour::Red);
    wait::until("blue", Duration::from_millis(10), || -> Result<(), String> {
        Err(format!("last seen {:?}", b.picture().expect("a picture")))
    });
}
