//! The process: first start, restart, drain, reload.

use crate::support::{SOON, reason_of, setup, talker, wait_participants, wait_recording};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use testkit::rtp_peer::{PeerConfig, RtpPeer};
use testkit::sdp::Codec;
use testkit::server::TempDir;
use testkit::sip_ua::{Invite, SipUa, Transport};
use testkit::wait;

#[test]
fn admin_token_is_printed_once_and_kept_private() {
    let mut server = setup().start();
    let token = server.token();
    assert_eq!(server.log().matches(&token).count(), 1, "printed once");
    let mode = std::fs::metadata(server.token_path()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.kill();
    server.restart();
    assert_eq!(server.token(), token);
    assert_eq!(server.log().matches(&token).count(), 1, "not printed again");
    server.api().get("/api/conference_rooms").expect(200);
}

#[test]
fn rooms_survive_kill_and_restart_and_take_calls() {
    let mut server = setup().start();
    let api = server.api();
    let room = api.create_room("900", 7);
    let before = api.get(&format!("/api/conference_rooms/{room}")).expect(200).json();
    let _a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    wait_participants(&api, &room, 1);
    server.kill();
    server.restart();
    let after = api.get(&format!("/api/conference_rooms/{room}")).expect(200).json();
    for key in ["extension_number", "subject", "capacity", "mode", "created_at", "enable_recording"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert!(api.participants(&room).is_empty(), "nobody is listed who is not there");
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    let c = talker(&server, "900", "carol", Codec::Pcmu, 1_300.0);
    b.hears(&[1_300.0], &[900.0]);
    c.hears(&[900.0], &[1_300.0]);
}

#[test]
fn sigterm_refuses_new_calls_then_ends_the_others_and_finishes_recordings() {
    let mut server = setup().env("CONCLAVE__DRAIN__GRACE_S", "3").start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let b = talker(&server, "900", "bob", Codec::Pcmu, 900.0);
    wait_participants(&api, &room, 2);
    api.act(&format!("/api/conference_rooms/{room}/start_recording")).expect(200);
    b.hears(&[500.0], &[900.0]);
    let late = SipUa::new("carol", Transport::Udp, server.sip_address());
    let peer = RtpPeer::bind(PeerConfig::new(&[Codec::Pcmu]));
    server.terminate();
    wait::until_true("not ready any more", SOON, || api.try_get("/readyz").is_ok_and(|r| r.status == 503));
    let refused = late.invite(&Invite::new("900", &peer.offer().to_sdp())).outcome().expect("a response");
    assert_eq!(refused.code(), 503, "{refused:?}");
    assert!(refused.header("Retry-After").is_some() && !reason_of(&refused).is_empty(), "{refused:?}");
    assert_eq!(late.options("").expect("a response").code(), 503);
    // Those who talk go on until the grace time is over.
    b.hears(&[500.0], &[900.0]);
    assert!(!a.call.is_ended());
    for phone in [&a, &b] {
        let bye = phone.call.wait_bye(Duration::from_secs(6)).expect("a BYE");
        assert!(!reason_of(&bye).is_empty(), "{bye:?}");
    }
    let status = server.wait_exit(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    server.restart();
    wait_recording(&api, &room, "FINISHED");
}

#[test]
fn empty_server_ends_at_once() {
    let mut server = setup().env("CONCLAVE__DRAIN__GRACE_S", "60").start();
    server.api().create_room("900", 10);
    server.terminate();
    assert!(server.wait_exit(Duration::from_secs(10)).success());
}

#[test]
fn second_sigterm_ends_at_once() {
    let mut server = setup().env("CONCLAVE__DRAIN__GRACE_S", "60").start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let _a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    wait_participants(&api, &room, 1);
    server.terminate();
    wait::until_true("draining", SOON, || api.try_get("/readyz").is_ok_and(|r| r.status == 503));
    server.terminate();
    server.wait_exit(Duration::from_secs(10));
}

#[test]
fn sighup_takes_over_live_settings_and_keeps_calls() {
    let dir = TempDir::new("config");
    let file = dir.path().join("conclave.toml");
    std::fs::write(&file, "[api]\nrequests_per_minute = 30\n").expect("a file");
    let server = setup().config_file(&file, &["CONCLAVE__API__REQUESTS_PER_MINUTE"]).start();
    let api = server.api();
    let room = api.create_room("900", 10);
    let a = talker(&server, "900", "alice", Codec::Pcmu, 500.0);
    let path = format!("/api/conference_rooms/{room}");
    let limited = (0..40).map(|_| api.get(&path)).find(|r| r.status != 200).expect("a limit");
    assert!(limited.header("retry-after").is_some());
    limited.refused(429, "RATE_LIMITED");
    std::fs::write(&file, "[api]\nrequests_per_minute = 100000\n").expect("a file");
    server.reload();
    wait::until_true("the new limit", SOON, || api.get(&path).status == 200);
    for _ in 0..40 {
        api.get(&path).expect(200);
    }
    assert!(!a.call.is_ended());
}

#[test]
fn health_and_metrics_need_no_token() {
    let server = setup().start();
    let open = server.api().with_token(None);
    open.get("/healthz").expect(200);
    open.get("/readyz").expect(200);
    let metrics = open.get("/metrics").expect(200);
    assert!(metrics.header("content-type").is_some_and(|t| t.contains("text")), "{:?}", metrics.headers);
    assert!(metrics.text().contains("# TYPE "));
}

#[test]
fn two_servers_on_one_sip_port_do_not_share_it() {
    let server = setup().start();
    let dir = TempDir::new("second");
    let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_conclave"))
        .args(["serve", "--api-listen", "127.0.0.1:0", "--sip-listen", &server.sip_address().to_string(), "--data-dir"])
        .arg(dir.path())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let ended = wait::until("the second server to give up", Duration::from_secs(20), || match second.try_wait() {
        Ok(Some(status)) => Ok(status),
        other => Err(format!("{other:?}")),
    });
    assert!(!ended.success());
}

/// The scheduling policy of each media thread (`proc_pid_stat(5)`, field 41): 0 ordinary, 2 `SCHED_RR`.
fn policies(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    // What is before the last parenthesis may hold blanks.
    let media = stats.filter(|stat| stat.contains("(media-worker-"));
    media.filter_map(|stat| stat.rsplit_once(')')?.1.split_whitespace().nth(38).map(str::to_owned)).collect()
}

#[test]
fn media_threads_are_real_time_where_that_is_wanted_and_allowed() {
    let ordinary = setup().start();
    assert_eq!(policies(ordinary.pid()), ["0"]);
    let server = setup().env("CONCLAVE__MEDIA__REALTIME", "true").start();
    let is_refused = server.log().contains("real-time scheduling is not allowed");
    assert_eq!(policies(server.pid()), [if is_refused { "0" } else { "2" }], "{}", server.log());
}
