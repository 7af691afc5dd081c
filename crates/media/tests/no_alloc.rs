//! A tick never allocates after warm-up (map, invariant 5): counted by the allocator itself. A test binary of its own, as
//! there is one allocator in a process.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::simulated::SimulatedRoom;
use media::video::VideoCodec;
use media::video::access_unit::AccessUnit;
use media::video::sending::{MAX_PACKET_BYTES, Outgoing};
use media::{AudioSpec, Bitrate, CodecName, Event, LegSettings, Playback, PlaybackId, Prompt, RoomSpec, Ssrc};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // The thread may be ending, when its locals are gone.
    let _ended = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator is an unsafe trait")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PACKETS: usize = 50;

fn packet(codec: CodecName, n: u32, leg: u32, payload: &[u8], out: &mut [u8; 1500]) -> usize {
    let (pt, step) = if codec == CodecName::Opus { (111, 960) } else { (0, 160) };
    out[0] = 0x80;
    out[1] = pt;
    out[2..4].copy_from_slice(&(n as u16).to_be_bytes());
    out[4..8].copy_from_slice(&(n * step).to_be_bytes());
    out[8..12].copy_from_slice(&(leg + 1).to_be_bytes());
    out[12..12 + payload.len()].copy_from_slice(payload);
    12 + payload.len()
}

fn payloads(codec: CodecName, hz: f64) -> Vec<Vec<u8>> {
    if codec == CodecName::Opus {
        let pcm = testkit::tone::sine(48_000, hz, -20.0, 48_000);
        let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
        encoder.set_inband_fec(true).unwrap();
        encoder.set_packet_loss_perc(10).unwrap();
        pcm.chunks(960).map(|f| encoder.encode_vec(f, 400).unwrap()).collect()
    } else {
        let pcm = testkit::tone::sine(8_000, hz, -20.0, 8_000);
        pcm.chunks(160).map(|f| f.iter().map(|s| testkit::g711::ulaw_encode(*s)).collect()).collect()
    }
}

#[test]
fn a_tick_does_not_allocate_after_warm_up() {
    let audio = AudioSpec { max_talkers: 4, opus_bitrate: Bitrate::kbps(96), opus_complexity: 5 };
    let mut room = SimulatedRoom::new(RoomSpec { audio, video: None }, Instant::now());
    let codecs: Vec<CodecName> = (0..12).map(|n| if n % 2 == 0 { CodecName::Pcmu } else { CodecName::Opus }).collect();
    let mut legs = Vec::new();
    for (n, codec) in codecs.iter().enumerate() {
        let (pt, map) = if *codec == CodecName::Opus { (111, "opus/48000/2") } else { (0, "PCMU/8000") };
        // One leg in three takes 60 ms packets.
        let ptime = if n.is_multiple_of(3) { "a=ptime:60\r\n" } else { "" };
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP {pt}\r\na=rtpmap:{pt} {map}\r\n{ptime}"
        );
        let (leg, _) = room.join(&offer, &[CodecName::Pcmu, CodecName::Opus], LegSettings::default()).unwrap();
        legs.push((leg, *codec, payloads(*codec, 300.0 + 50.0 * n as f64)));
    }
    let mut out = [0u8; 1500];
    let mut sent = 0u64;
    let (mut told, mut played) = (0u64, 0u64);
    let playback = |id: u32, hz: f64, ms: u64| {
        let parts =
            vec![Prompt::tone(hz, Duration::from_millis(ms), -20.0), Prompt::silence(Duration::from_millis(50))];
        Playback { id: PlaybackId(u64::from(id)), parts, looped: id.is_multiple_of(5) }
    };
    let mut step = |n: u32| -> u64 {
        // Commands may allocate, between two ticks: prompts that end, are replaced and stopped, and announcements.
        let leg = |n: u32| legs[n as usize % legs.len()].0;
        if n.is_multiple_of(9) {
            room.play(leg(n / 9), playback(n / 9, 900.0, 400)).unwrap();
        }
        if n.is_multiple_of(35) {
            room.stop_playing(leg(n / 35)).unwrap();
        }
        if n.is_multiple_of(40) {
            room.announce(playback(n / 40, 1_100.0, 500));
        }
        let before = ALLOCATIONS.with(Cell::get);
        let arrived = Duration::from_millis(20) * n - Duration::from_millis(6);
        for (i, (leg, codec, payloads)) in legs.iter().enumerate() {
            // The floor moves: legs pause in turn, so talkers are replaced and encoders handed over; some packets are
            // lost, so that concealment and FEC run too.
            let pauses = (n / 100 + i as u32).is_multiple_of(3);
            let lost = (n * 7 + i as u32 * 13).is_multiple_of(29);
            if !pauses && !lost {
                let len = packet(*codec, n, i as u32, &payloads[n as usize % PACKETS], &mut out);
                room.deliver(*leg, arrived, &out[..len]);
            }
        }
        room.tick(&mut |_, _| sent += 1, &mut |event| {
            told += 1;
            played += u64::from(matches!(event, Event::Played { .. }));
        });
        ALLOCATIONS.with(Cell::get) - before
    };
    // Long enough that RTCP, concealment and every hand-over have happened.
    let _warm_up: u64 = (1..1_000).map(&mut step).sum();
    let allocations: u64 = (1_000..2_500).map(&mut step).sum();
    assert!(
        sent > 10_000 && told > 20 && played > 50,
        "the room was alive: {sent} packets, {told} facts, {played} ends"
    );
    assert_eq!(allocations, 0, "allocations in 1,500 ticks");
}

#[test]
fn sending_video_does_not_allocate() {
    let picture = |is_keyframe, size: usize| {
        let (bytes, units) = (vec![0x65; size], [0..40, 40..size].to_vec());
        Arc::new(AccessUnit { codec: VideoCodec::H264, is_keyframe, bytes, units })
    };
    let (keyframe, delta) = (picture(true, 60_000), picture(false, 6_000));
    let mut now = Instant::now();
    let mut out = Outgoing::new(VideoCodec::H264, 96, Ssrc(1), 65_000, 0, 1, Bitrate::kbps(1_000));
    let mut packet = [0; MAX_PACKET_BYTES];
    let before = ALLOCATIONS.with(Cell::get);
    for n in 0..2_000u32 {
        // At times the rate is too low, so that pictures are dropped; there is loss, and a hold.
        match n % 400 {
            200 => out.set_limit(Some(Bitrate::kbps(300))),
            300 => out.set_limit(None),
            350 => out.restart(),
            _ => {}
        }
        let unit = if n % 150 == 0 || out.wants_keyframe() { &keyframe } else { &delta };
        out.push(unit, Duration::from_micros(66_667) * n);
        for _ in 0..13 {
            while out.poll(now, &mut packet).is_some() {}
            now += Duration::from_millis(5);
        }
        let newest = u16::from_be_bytes([packet[2], packet[3]]);
        (0..20).step_by(3).for_each(|back| {
            out.nack(now, newest.wrapping_sub(back));
        });
    }
    let after = ALLOCATIONS.with(Cell::get);
    let counters = out.counters();
    assert!(counters.packets > 10_000 && counters.retransmitted > 1_000 && counters.dropped > 20, "{counters:?}");
    assert_eq!(after - before, 0, "allocations");
}
