//! Loopback addresses of one's own.
//!
//! A port that a test gives back belongs to whoever binds next, which may be another test at the same time. Who asks for any
//! port of 127.0.0.1 gets none of another address of the loopback network, all of which is there on Linux.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address that no other test has, neither of this process nor of another; where there is but one, that one.
#[must_use]
pub fn own() -> IpAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST.into();
    }
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let part = |number: u32| u8::try_from(1 + number % 254).unwrap_or(1);
    Ipv4Addr::new(127, part(process / 254), part(process), part(count)).into()
}
