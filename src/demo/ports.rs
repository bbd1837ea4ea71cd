//! A port to stop on and start again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux gives to connections and to listeners that ask for any: nobody gets one of these unasked.
const FIRST: u16 = 20_000;
const N_PORTS: u16 = 12_000;

/// A port of 127.0.0.1 that is free, and stays free when the server on it stops: the system gives it to nobody unasked.
///
/// None if all are taken.
#[must_use]
pub fn lasting_port() -> Option<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes side by side begin at different places.
    let place = u16::try_from(std::process::id() % u32::from(N_PORTS)).unwrap_or(0);
    (0..N_PORTS).find_map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + place.wrapping_add(step) % N_PORTS;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}
