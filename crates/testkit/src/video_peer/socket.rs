//! A UDP socket that says when the kernel got a datagram: on a busy machine a thread may look at it much later, and a
//! paced sender would seem to send in bursts.

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

/// Room for seconds of video while the reader does not run; what the kernel does not grant is no error.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Makes it tell times.
pub(super) fn prepare(socket: &UdpSocket) {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).expect("Linux tells times");
    let _ = socket2::SockRef::from(socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
}

/// The next datagram and its arrival, if one comes within `timeout`. ICMP errors of a far end that has gone count as none.
pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8], timeout: Duration) -> Option<(Instant, usize)> {
    socket.set_read_timeout(Some(timeout.max(Duration::from_millis(1)))).expect("a positive timeout");
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    let now = Instant::now();
    let stamp = message.cmsgs().ok()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
        _ => None,
    });
    let since_1970 = stamp.map(|s| Duration::new(s.tv_sec().unsigned_abs(), s.tv_nsec().unsigned_abs() as u32));
    let came = since_1970.map(|since| SystemTime::UNIX_EPOCH + since);
    let age = came.and_then(|came| SystemTime::now().duration_since(came).ok()).unwrap_or_default();
    Some((now.checked_sub(age).unwrap_or(now), message.bytes))
}
