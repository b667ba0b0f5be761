//! Ports of loopback for servers that are started, and started again after their end: nobody else is given one meanwhile.
//! Must not listen on them.

use std::net::TcpListener;
use std::ops::Range;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Below those that Linux gives by itself, to connections and to who asks for any port: 32768 and more, if it is not told otherwise.
const PORTS: Range<u16> = 10_000..30_000;
/// The ports behind the one where a process of tests begins, before it comes to those of the next process.
const STRIDE: usize = 1009;

/// How many were looked at.
static LOOKED_AT: AtomicUsize = AtomicUsize::new(0);

/// A port that nobody listens on at the moment, and that no other caller is given.
pub fn free_port() -> u16 {
    let begin = usize::try_from(process::id()).unwrap() * STRIDE;
    let next = |_| {
        let place = (begin + LOOKED_AT.fetch_add(1, Ordering::Relaxed)) % PORTS.len();
        PORTS.start + u16::try_from(place).unwrap()
    };
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..PORTS.len()).map(next).find(is_free).expect("somebody listens on every port of the tests")
}
