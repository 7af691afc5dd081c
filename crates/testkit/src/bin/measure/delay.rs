//! Delay from mouth to ear. From the capture of a sample (its packet leaves when its 20 ms are complete) to the arrival of
//! the packet it comes in, plus its place in that packet.

use crate::options::{Figures, Options, median, quantile};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::phone::Phone;
use testkit::rtp_peer::{Heard, PeerConfig, RtpPeer};
use testkit::sdp::Codec;
use testkit::signal::{Chirps, silence};
use testkit::sip_ua::Transport;

/// Chirps are told apart up to this delay.
const LATEST: Duration = Duration::from_millis(1_900);
/// Most are found here; a wider search costs more.
const USUAL: Duration = Duration::from_millis(400);

/// One chirp that was said and heard.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// When it was said, in seconds since the talker began.
    said_s: f64,
    delay_ms: f64,
}

struct Measured {
    points: Vec<Point>,
    missing: usize,
    /// The talker's own worst lateness: figures below it mean nothing.
    talker_late_ms: f64,
}

/// Two phones in a room; `act` does something to the talker while the time passes.
fn run(options: &Options, ppm: f64, secs: f64, act: impl FnOnce(&Phone)) -> Result<Measured, String> {
    let codec = options.codec()?;
    let server = options.server(10, &[])?;
    server.api().create_room("900", 5);
    let config = PeerConfig { drift_ppm: ppm, ..PeerConfig::new(&[codec]) };
    let listener = Phone::dial(server.sip_address(), "900", "listener", codec)?;
    listener.peer.say(silence());
    let talker = Phone::dial_with(server.sip_address(), "900", "talker", Transport::Udp, config)?;
    let chirps = Chirps::new(codec.rate_hz());
    talker.peer.say(chirps.source(1));
    let until = Instant::now() + Duration::from_secs_f64(secs);
    act(&talker);
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    compare(&talker.peer, &listener.peer, &chirps, ppm, secs)
}

/// Finds what one said in what the other heard.
fn compare(talker: &RtpPeer, listener: &RtpPeer, chirps: &Chirps, ppm: f64, secs: f64) -> Result<Measured, String> {
    let sent = talker.sent();
    let began = sent.began.ok_or("the talker never began")?;
    let heard = listener.heard();
    let (mut points, mut missing) = (Vec::new(), 0);
    // The first chirps fall into the begin of the call.
    for k in 3.. {
        let said_s = chirps.start_of(k) as f64 / f64::from(talker.rate_hz()) / (1.0 + ppm * 1e-6);
        if said_s + LATEST.as_secs_f64() + 0.1 > secs {
            break;
        }
        match delay_of(chirps, k, began + Duration::from_secs_f64(said_s), &heard) {
            Some(delay) => points.push(Point { said_s, delay_ms: delay.as_secs_f64() * 1e3 }),
            None => missing += 1,
        }
    }
    Ok(Measured { points, missing, talker_late_ms: sent.worst_lateness.as_secs_f64() * 1e3 })
}

fn delay_of(chirps: &Chirps, k: u64, said: Instant, heard: &Heard) -> Option<Duration> {
    [USUAL, LATEST].into_iter().find_map(|within| {
        let index = |at: Instant| {
            let packet = heard.arrivals.partition_point(|a| a.at < at);
            heard.arrivals.get(packet).map_or(heard.pcm.len(), |a| a.first_sample)
        };
        let found = chirps.find(k, &heard.pcm, index(said)..index(said + within))?;
        Some(heard.heard_at(found.at)?.saturating_duration_since(said))
    })
}

fn summary(name: &str, codec: Codec, points: &[Point], rest: Value) -> Value {
    let mut delays: Vec<f64> = points.iter().map(|p| p.delay_ms).collect();
    delays.sort_by(f64::total_cmp);
    let mut figure = json!({
        "figure": name,
        "codec": format!("{codec:?}"),
        "chirps": delays.len(),
        "p50_ms": round(quantile(&delays, 0.5)),
        "p95_ms": round(quantile(&delays, 0.95)),
        "max_ms": round(quantile(&delays, 1.0)),
    });
    for (key, value) in rest.as_object().into_iter().flatten() {
        figure[key] = value.clone();
    }
    figure
}

fn round(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

fn over_time(points: &[Point]) -> Vec<(f64, f64)> {
    points.iter().map(|p| (round(p.said_s), round(p.delay_ms))).collect()
}

/// A quiet network.
pub(crate) fn quiet(options: &Options) -> Figures {
    let measured = run(options, 0.0, options.number("secs", 60.0)?, |_| {})?;
    let rest = json!({"missing": measured.missing, "talker_late_ms": round(measured.talker_late_ms)});
    Ok(vec![summary("delay", options.codec()?, &measured.points, rest)])
}

/// Nothing for two seconds, then everything at once.
pub(crate) fn stall(options: &Options) -> Figures {
    let length = Duration::from_millis(options.number("stall-ms", 2_000)?);
    let begin = Duration::from_secs(8);
    let secs = (begin + length).as_secs_f64() + 15.0;
    let measured = run(options, 0.0, secs, |talker| {
        std::thread::sleep(begin);
        talker.peer.stall(length);
    })?;
    let (from, end) = (begin.as_secs_f64(), (begin + length).as_secs_f64());
    let base = median(measured.points.iter().filter(|p| p.said_s < from - 0.5).map(|p| p.delay_ms).collect());
    // What was said in the stall is late by the stall itself; what is said after it must not be.
    let after: Vec<Point> = measured.points.iter().copied().filter(|p| p.said_s >= end).collect();
    let back = after.iter().rev().take_while(|p| p.delay_ms <= base + 20.0).last();
    let rest = json!({
        "base_ms": round(base),
        "max_after_ms": round(after.iter().map(|p| p.delay_ms).fold(0.0, f64::max)),
        "back_after_s": back.map(|p| round(p.said_s - end)),
        "missing": measured.missing,
        "delay_over_time": over_time(&measured.points),
    });
    Ok(vec![summary("stall", options.codec()?, &measured.points, rest)])
}

/// A clock that is too fast.
pub(crate) fn drift(options: &Options) -> Figures {
    let ppm = options.number("ppm", 500.0)?;
    let measured = run(options, ppm, options.number("secs", 300.0)?, |_| {})?;
    let base = median(measured.points.iter().filter(|p| p.said_s < 20.0).map(|p| p.delay_ms).collect());
    let above = measured.points.iter().map(|p| p.delay_ms - base).fold(f64::NEG_INFINITY, f64::max);
    let rest = json!({
        "ppm": ppm,
        "base_ms": round(base),
        "max_above_base_ms": round(above),
        "missing": measured.missing,
        "delay_over_time": over_time(&measured.points).into_iter().step_by(20).collect::<Vec<_>>(),
    });
    Ok(vec![summary("drift", options.codec()?, &measured.points, rest)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// Two peers without a server between them: the tool must find the packet's own 20 ms and nothing else.
    fn direct(codec: Codec, ppm: f64, stall: Option<Duration>) -> Measured {
        let mut listener = RtpPeer::bind(PeerConfig::new(&[codec]));
        let mut talker = RtpPeer::bind(PeerConfig { drift_ppm: ppm, ..PeerConfig::new(&[codec]) });
        let rtcp = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
        let (here, there) = (talker.address(), listener.address());
        listener.start(codec, here, rtcp(here), None);
        talker.start(codec, there, rtcp(there), None);
        let chirps = Chirps::new(codec.rate_hz());
        talker.say(chirps.source(1));
        if let Some(stall) = stall {
            listener.listen(3_000).unwrap();
            talker.stall(stall);
        }
        listener.listen(4_000).unwrap();
        let secs = talker.sent().began.unwrap().elapsed().as_secs_f64();
        compare(&talker, &listener, &chirps, ppm, secs).unwrap()
    }

    #[test]
    fn direct_delay_is_one_packet_and_the_codec() {
        // Opus looks 6.5 ms ahead.
        for (codec, expected) in [(Codec::Pcmu, 20.0), (Codec::Opus, 26.5)] {
            for ppm in [0.0, 20_000.0] {
                let measured = direct(codec, ppm, None);
                assert_eq!(measured.missing, 0);
                let middle = median(measured.points.iter().map(|p| p.delay_ms).collect());
                assert!((middle - expected).abs() < 3.0, "{codec:?} {ppm}: {:?}", measured.points);
            }
        }
    }

    #[test]
    fn chirps_of_a_stall_are_late_by_what_is_left_of_it() {
        let measured = direct(Codec::Pcmu, 0.0, Some(Duration::from_millis(1_500)));
        assert_eq!(measured.missing, 0);
        let worst = measured.points.iter().map(|p| p.delay_ms).fold(0.0, f64::max);
        assert!((900.0..1_560.0).contains(&worst), "{:?}", measured.points);
    }
}
