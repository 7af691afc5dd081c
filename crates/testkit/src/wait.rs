//! Waiting for a condition with a deadline: the only way that tests wait.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Calls `probe` until it gives a value.
///
/// # Panics
/// With `what` and the last refusal, when `timeout` is over.
#[track_caller]
pub fn until<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(why) if Instant::now() >= deadline => panic!("waited {timeout:?} for {what}: {why}"),
            Err(_) => std::thread::sleep(EVERY),
        }
    }
}

/// Calls `probe` until it is true.
///
/// # Panics
/// With `what`, when `timeout` is over.
#[track_caller]
pub fn until_true(what: &str, timeout: Duration, mut probe: impl FnMut() -> bool) {
    until(what, timeout, || if probe() { Ok(()) } else { Err("not so".to_owned()) });
}
