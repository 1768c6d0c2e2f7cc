//! The system under the event loop, simulated: [`SimNet`] is a [`Net`](wharf_host::event_loop::net::Net) in virtual
//! time, whose every accident follows from a seed.
//!
//! A [`World`] holds all sockets of all its loops. The other side of a socket is a socket of the same loop, of another
//! loop, or a [`Peer`] that the test moves by hand. A [`Sim`] runs the loops: nothing waits, the clock is put exactly
//! where the next thing happens, and a loop that never comes to rest fails the test instead of hanging it.
//!
//! # What is exact
//!
//! Without [`Faults`] the world is *strict*. An edge comes when something has become possible and only then:
//!
//! | edge | when |
//! | --- | --- |
//! | read | the first byte arrives where there was none; the end arrives; a reset arrives |
//! | write | there is room, after a write that came up short; a connection has come about or failed; a reset arrives |
//! | listener | the first connection waits where there was none |
//! | UDP read | the first packet arrives where there was none; a packet is known to have reached nobody |
//! | UDP write | half the buffer is free, after a packet was not taken |
//!
//! `watch` adds an edge for what is possible at that moment. Edges that a poll finds to be out of date are dropped, and
//! those of one socket between two polls are one event. So a loop that forgets a latch waits for ever, which
//! [`Sim::run_until_idle`] shows as rest with work undone.
//!
//! With faults a short read or write *holds* its direction: the rest of the bytes, or of the room, is there a moment
//! later, with an edge. That is what a real system does whose bytes arrive one by one.
//!
//! UDP sockets are as on Linux:
//!
//! * A packet goes to the socket that suits it best: connected to its sender, bound to its address, bound to all. One
//!   that is connected hears its peer alone. Of several that share an address each sender has its own.
//! * A queue that is full drops what arrives, and each packet queued later tells how many were dropped before.
//! * A packet that finds nobody is kept for [`next_unreached`](wharf_host::event_loop::net::Net::next_unreached) and
//!   fails the next call, whichever that is, of connected sockets and others. Taking the last takes the error along.
//! * What is wrong with a packet itself is said of the first alone. Errors have the kind that they have on Linux where
//!   there is a stable one, else `InvalidInput`, or `Unsupported` for an IPv6 address on a socket of IPv4.
//! * Groups and broadcasts (255.255.255.255, 127.255.255.255) reach every socket that asked for them. There is one
//!   interface, with the index 1, one host, which has all addresses, and no router.
//!
//! With faults a call that takes fewer packets than it could may hold its direction too.
//!
//! # What it is not
//!
//! It has no threads: a deferred call from another thread does not end a poll. With several loops, an `after_poll` hook
//! that arms a timer after an idle poll may find it late, because the clock has moved on for the others. There are no
//! descriptors, so `raw()` shows nothing; what leaves a loop, by `detach` or `pre_open`, is a *ticket*, which any loop
//! of the world adopts again. Real descriptors cannot be adopted.

mod connection;
mod datagrams;
mod driver;
mod faults;
mod net;
mod peer;
mod poll;
mod stream;
#[cfg(test)]
mod tests;
mod tickets;
mod udp_peer;
#[cfg(test)]
mod udp_tests;
mod unix;
mod world;

pub use driver::{STEP_BOUND, Sim};
pub use faults::Faults;
pub use net::SimNet;
pub use peer::{Ended, Peer, PeerListener};
pub use udp_peer::UdpPeer;
pub use world::{Calls, Route, World};
