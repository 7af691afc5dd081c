//! Call setup, packet pacing, and what a crash costs a recording.

use crate::options::{Figures, Options, quantile};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::ffmpeg;
use testkit::phone::{Phone, TONE_DB};
use testkit::sdp::{Codec, OfferSpec};
use testkit::sip_ua::{Invite, SipUa, Transport};
use testkit::wait;

/// INVITEs all at once from one agent, each with a dialog of its own.
pub(crate) fn invites(options: &Options) -> Figures {
    let n: u16 = options.number("n", 200)?;
    let server = options.server(n + 10, &[])?;
    server.api().create_room("900", u32::from(n).min(200));
    let ua = SipUa::new("burst", Transport::Udp, server.sip_address());
    let calls: Vec<_> = (0..n)
        .map(|k| {
            // Nothing listens there: signalling is what is measured.
            let address = ([127, 0, 0, 1], 9_000 + k * 2).into();
            ua.invite(&Invite::new("900", &OfferSpec::new(address, &[Codec::Pcmu]).to_sdp()))
        })
        .collect();
    let mut refused = 0;
    let mut times = Vec::new();
    for call in &calls {
        match call.answered() {
            Ok(_) => times.extend(call.setup_time().map(|t| t.as_secs_f64() * 1e3)),
            Err(_) => refused += 1,
        }
    }
    times.sort_by(f64::total_cmp);
    let figure = json!({
        "figure": "invites",
        "n": n,
        "refused": refused,
        "p50_ms": quantile(&times, 0.5).round(),
        "p95_ms": quantile(&times, 0.95).round(),
        "max_ms": quantile(&times, 1.0).round(),
        "resent_requests": ua.retransmissions(),
        "resent_answers": ua.repeated_finals(),
        "violations": ua.take_violations(),
    });
    Ok(vec![figure])
}

/// Packets a second and gaps of every leg, half PCMU and half Opus.
pub(crate) fn pacing(options: &Options) -> Figures {
    let legs: u16 = options.number("legs", 8)?;
    let secs: f64 = options.number("secs", 20.0)?;
    let server = options.server(legs + 2, &[])?;
    server.api().create_room("900", u32::from(legs));
    let mut phones = Vec::new();
    for n in 0..legs {
        let codec = if n % 2 == 0 { Codec::Pcmu } else { Codec::Opus };
        let phone = Phone::dial(server.sip_address(), "900", &format!("leg{n}"), codec)?;
        phone.say(300.0 + 50.0 * f64::from(n));
        phones.push(phone);
    }
    std::thread::sleep(Duration::from_secs(2));
    phones.iter().for_each(|p| p.peer.forget());
    std::thread::sleep(Duration::from_secs_f64(secs));
    let (mut slowest, mut longest) = (f64::INFINITY, 0.0f64);
    for phone in &phones {
        let heard = phone.peer.heard();
        let (Some(first), Some(last)) = (heard.arrivals.first(), heard.arrivals.last()) else {
            return Err("a leg heard nothing".to_owned());
        };
        slowest = slowest.min((heard.arrivals.len() - 1) as f64 / (last.at - first.at).as_secs_f64());
        longest = longest.max(heard.max_gap().map_or(f64::INFINITY, |g| g.as_secs_f64() * 1e3));
    }
    let pps = (slowest * 100.0).round() / 100.0;
    Ok(vec![json!({"figure": "pacing", "legs": legs, "pps_min": pps, "max_gap_ms": (longest * 10.0).round() / 10.0})])
}

/// Kills the server at different moments of a recording; compares the recovered length with the true one.
pub(crate) fn crash(options: &Options) -> Figures {
    let times: u64 = options.number("times", 5)?;
    let mut lost = Vec::new();
    for n in 0..times {
        let mut server = options.server(10, &[])?;
        let api = server.api();
        let room = api.create_room("900", 5);
        let phone = Phone::dial(server.sip_address(), "900", "talker", Codec::Opus)?;
        phone.peer.say_tone(500.0, TONE_DB);
        phone.peer.listen(500)?;
        api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
        let begun = Instant::now();
        // 7.0 s, 7.37 s, …: every phase of the one-second page.
        std::thread::sleep(Duration::from_millis(7_000 + n * 370));
        server.kill();
        let length = begun.elapsed().as_secs_f64();
        server.restart();
        let recording = wait::until("the recovered recording", Duration::from_secs(10), || {
            let all = api.recordings(&room);
            all.iter().find(|r| r["state"] == "RECOVERED").cloned().ok_or_else(|| format!("{all:?}"))
        });
        let url = recording["file_url"].as_str().ok_or("no file_url")?;
        let url = url.find("/api/").map_or(url, |at| &url[at..]);
        let path = server.scratch("recovered.ogg");
        std::fs::write(&path, api.get(url).expect(200).body).map_err(|e| e.to_string())?;
        let played = ffmpeg::decode(&path, 48_000)?.len() as f64 / 48_000.0;
        lost.push(((length - played) * 100.0).round() / 100.0);
    }
    let worst = lost.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok(vec![json!({"figure": "crash", "lost_s": lost, "worst_s": worst})])
}
