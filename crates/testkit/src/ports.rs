//! Ports for tests: below 32768, where the kernel takes none for itself, never the same twice in a process, checked by
//! binding. Two test processes on one machine begin at different places and are told apart by the bind.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Mutex;

const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 32_000;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// `count` neighbouring ports, the first one even, free for UDP and TCP on 127.0.0.1.
///
/// # Panics
/// When the machine has no such run of free ports.
pub fn block(count: u16) -> RangeInclusive<u16> {
    let mut next = NEXT.lock().unwrap_or_else(|e| e.into_inner());
    // Processes that start one after the other get places far apart.
    let start =
        next.unwrap_or_else(|| LOWEST + (std::process::id().wrapping_mul(2_654_435_761) >> 18) as u16 % 9_000 * 2);
    let mut low = start;
    for _ in 0..20_000 {
        low += low % 2;
        if low.checked_add(count).is_none_or(|end| end > HIGHEST) {
            low = LOWEST;
        }
        match (low..low + count).find(|&port| !is_free(port)) {
            None => {
                *next = Some(low + count);
                return low..=low + count - 1;
            }
            Some(taken) => low = taken + 1,
        }
    }
    panic!("no {count} free ports in a row between {LOWEST} and {HIGHEST}");
}

/// One port, even, free for UDP and TCP on 127.0.0.1, with the odd one above it.
pub fn one() -> u16 {
    *block(2).start()
}

fn is_free(port: u16) -> bool {
    let at = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_skip_what_is_taken() {
        let first = block(10);
        assert_eq!(first.start() % 2, 0);
        let second = block(10);
        assert!(second.start() > first.end() || second.end() < first.start());
        let taken = second.end() + 1;
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, taken));
        let third = block(4);
        if held.is_ok() {
            assert!(!third.contains(&taken));
        }
    }
}
