//! What the machine must give before the server starts: file descriptors, and UDP ports for `max_participants` legs.

use std::sync::Once;

use control::config::Config;
use media::Engine;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thread_priority::ThreadPriority;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

use crate::Outcome;

/// Two sockets for each leg: RTP and RTCP.
const FILES_PER_LEG: u64 = 2;
/// Database, logs, API connections, recordings.
const OTHER_FILES: u64 = 1024;

/// Raises the soft limit of open files to what `max_participants` needs; warns when the hard limit forbids it.
pub(crate) fn raise_open_files(config: &Config) {
    let legs = u64::from(config.server.max_participants).min(u64::from(config.media.port_pairs()));
    let calls = u64::from(config.sip.max_calls_in_setup);
    let need = OTHER_FILES + u64::from(config.server.max_rooms) + FILES_PER_LEG * (legs + calls);
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft >= need => {}
        Ok((soft, hard)) => {
            // Root may raise the hard limit too; anyone may go up to it.
            let raised = setrlimit(Resource::RLIMIT_NOFILE, need, hard.max(need)).is_ok();
            if !raised && setrlimit(Resource::RLIMIT_NOFILE, need.min(hard), hard).is_err() {
                tracing::warn!("open files: the limit stays at {soft}, {need} are needed for max_participants");
            } else if !raised {
                tracing::warn!(
                    "open files: the hard limit is {hard}, {need} are needed for max_participants (ulimit -Hn)"
                );
            }
        }
        Err(e) => tracing::warn!("open files: the limit cannot be read: {e}"),
    }
}

/// Steps below the media threads (nice(2)): with this a thread that wants all of a core is left a third of it by one that
/// wants it too, and a tick is not late because somebody asks for lists. Nobody needs a privilege to step back.
const RUNTIME_NICE: i32 = 5;
/// Pictures go before lists and after sound.
const COMPOSER_NICE: i32 = 2;

/// For each thread of the runtime as it starts; threads that it starts, the database's, inherit it.
pub(crate) fn give_way_to_media() {
    step_back(RUNTIME_NICE);
}

/// For each thread that composes pictures.
pub(crate) fn give_way_to_sound() {
    step_back(COMPOSER_NICE);
}

/// For each media thread, unless the operator does not want it: before all that is not real-time. Takes turns with its kind,
/// and the kernel leaves others a twentieth of each core (sched(7)). Needs `CAP_SYS_NICE` or `RLIMIT_RTPRIO`.
pub(crate) fn go_first() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        // What holds for one of them holds for all.
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::info!(
                %error,
                "media threads run at ordinary priority: real-time scheduling is not allowed (LimitRTPRIO=1 lets them)"
            );
        });
    }
}

fn step_back(nice: i32) {
    // On Linux this is of the calling thread alone. Where it is refused, things are as they were.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "a thread runs at the priority of the media threads");
    }
}

/// Says which ports of the RTP range are taken by others, and lowers `max_participants` to the legs that fit.
///
/// A range too small for the setting is no reason not to start: the setting has a large default, and a refused 1,001st
/// caller hears of it. A range without a single free pair is.
pub(crate) fn fit_participants(config: &mut Config) -> Outcome<()> {
    let range = &config.media.rtp_ports;
    let (lo, hi) = (*range.start(), *range.end());
    // The even port of each pair of which either is taken.
    let taken = Engine::check_ports(range, config.sip.listen.ip());
    let free_pairs = Engine::port_capacity(range).saturating_sub(taken.len());
    let free_pairs = u32::try_from(free_pairs).expect("BUG: there are only 32,768 pairs of ports");

    if !taken.is_empty() {
        let count = taken.len();
        let first: Vec<String> = taken.iter().take(10).map(|rtp| format!("{rtp}-{}", rtp + 1)).collect();
        let first = first.join(", ");
        let more = if count > 10 { ", …" } else { "" };
        tracing::info!(
            "media.rtp_ports {lo}-{hi}: in use by others, and skipped: {count} pairs of ports: {first}{more}"
        );
    }
    if free_pairs == 0 {
        return Err(format!("media.rtp_ports {lo}-{hi}: no pair of ports is free: choose another range").into());
    }
    let wanted = config.server.max_participants;
    if free_pairs < wanted {
        let end = u64::from(lo) + 2 * u64::from(wanted) - 1;
        tracing::warn!(
            "media.rtp_ports {lo}-{hi} holds {free_pairs} participants: server.max_participants is lowered to that from \
             {wanted} (it would need two ports each, such as {lo}-{end})"
        );
        config.server.max_participants = free_pairs;
    }
    Ok(())
}
