//! Datagrams: UDP sockets, their handlers, and how they are served.
//!
//! A socket belongs to one [`UdpHandler`], which is its data too:
//!
//! ```
//! use wharf_host::event_loop::{Loop, Out, Packets, Udp, UdpHandler, UdpOptions};
//!
//! struct Echo;
//!
//! impl UdpHandler for Echo {
//!     fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
//!         let mut back = [Out::default(); 64];
//!         for (out, packet) in back.iter_mut().zip(batch) {
//!             *out = Out::to(packet.peer, packet.payload);
//!         }
//!         // What the system does not take is lost, as on the network.
//!         let _ = u.send(&back[..batch.len()]);
//!     }
//! }
//!
//! let mut echo = Loop::new()?;
//! let mut lp = echo.loop_mut();
//! lp.bind_udp("127.0.0.1:0".parse()?, Echo, UdpOptions::default())?;
//! lp.stop(); // or on a signal, or from another thread through `lp.handle()`
//! echo.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Receiving
//!
//! Packets of all sockets are received into one arena of the loop, `udp_batch` places of `udp_payload` bytes, which is
//! allocated at the first bind, and again for a socket with room for longer packets ([`UdpOptions::payload`]). One batch is one system call where the system has batches, and one `packets` callback.
//!
//! In an iteration a socket takes at most `read_budget` bytes of arena, however short its packets are, and at least one
//! batch. What is left is served in the next, when another socket is the first.
//!
//! # Sending
//!
//! Nothing is queued: what the system does not take stays the caller's. Then, and only then, `drained` comes, once, and
//! until it has come nothing more is taken, so that no packet overtakes the rest.
//!
//! A packet that nobody could be reached with may be reported by the system at the next call, for another packet. Such
//! an error goes to `error`, and the packet at hand is tried again: an error that `send` returns is the packet's own.
//! On Linux the error names the peer that could not be reached, of a socket that is not connected too.

mod errors;
mod input;
mod output;
mod packets;
mod socket;

pub use packets::{Packet, Packets};
pub use socket::{Udp, UdpId};

use super::Error;
#[cfg(doc)]
use super::net::UdpOptions;
use super::net::{Arena, NetId, Ready};
use super::state::{Core, Object};
use super::timers::TimerId;
use errors::Errors;
use std::any::Any;
use std::net::SocketAddr;
use wharf_core::slots::SlotId;

/// The callbacks of one UDP socket, which owns its handler until it is closed. Callbacks never nest.
#[expect(unused_variables, reason = "the defaults ignore what the names document")]
pub trait UdpHandler<T: 'static = ()>: Any {
    /// Packets have arrived. Their payloads lie in the loop's shared arena and are valid during the call.
    fn packets(&mut self, u: &mut Udp<'_, T>, batch: Packets<'_>);

    /// After a [`Udp::send`] that took fewer packets than it was offered: the socket takes packets again.
    fn drained(&mut self, u: &mut Udp<'_, T>) {}

    /// Something went wrong, and the socket lives on: a packet sent before has reached nobody, or receiving failed.
    /// Errors that come together may be merged. Receiving that goes on failing is told once and tried again after a
    /// pause, of 100 ms at first and 5 s at last.
    fn error(&mut self, u: &mut Udp<'_, T>, error: Error) {}
}

pub(in crate::event_loop) struct UdpState<T: 'static> {
    net: NetId,
    /// Bytes of a packet that there is room for.
    payload: usize,
    /// `None` while a callback has it.
    handler: Option<Box<dyn UdpHandler<T>>>,
    /// What it is connected to.
    peer: Option<SocketAddr>,
    pub(in crate::event_loop) in_ready: bool,
    readable: bool,
    writable: bool,
    watches_write: bool,
    /// The user was told that `drained` will come.
    drain_due: bool,
    errors: Errors,
    /// Packets that may still be taken; `u64::MAX` is no limit.
    limit: u64,
    /// The system's drop counter when it was last seen.
    drops_seen: u32,
    dropped: u64,
    counts: bool,
    closed: bool,
}

/// What the UDP sockets of a loop share.
#[derive(Default)]
pub(in crate::event_loop) struct Shared {
    /// Without a place before the first bind, and while a callback has it.
    arena: Arena,
    /// Bytes of the longest packet that a socket has room for; 0 before the first bind.
    longest: usize,
    /// A callback has the arena.
    lent: bool,
}

impl<T> UdpState<T> {
    fn new(net: NetId, payload: usize, handler: Box<dyn UdpHandler<T>>) -> Self {
        Self {
            net,
            payload,
            handler: Some(handler),
            peer: None,
            in_ready: false,
            readable: false,
            writable: true,
            watches_write: false,
            drain_due: false,
            errors: Errors::default(),
            limit: u64::MAX,
            drops_seen: 0,
            dropped: 0,
            counts: true,
            closed: false,
        }
    }

    pub(in crate::event_loop) const fn latch(&mut self, event: &Ready) {
        self.readable |= event.read;
        self.writable |= event.write;
        self.errors.hung_up |= event.hung_up;
    }

    pub(in crate::event_loop) const fn net(&self) -> NetId {
        self.net
    }
}

impl<T> Core<T> {
    /// A socket that has not been closed.
    fn udp(&self, id: SlotId) -> Option<&UdpState<T>> {
        match self.objects.get(id)? {
            Object::Udp(udp) if !udp.closed => Some(udp),
            Object::Udp(_) | Object::Stream(_) | Object::Listener(_) => None,
        }
    }

    fn udp_mut(&mut self, id: SlotId) -> Option<&mut UdpState<T>> {
        match self.objects.get_mut(id)? {
            Object::Udp(udp) if !udp.closed => Some(udp),
            Object::Udp(_) | Object::Stream(_) | Object::Listener(_) => None,
        }
    }

    /// One turn of a socket: what is to be told, whether it takes packets again, what has arrived.
    #[inline(never)]
    pub(in crate::event_loop) fn serve_udp(&mut self, id: SlotId) {
        let told = self.tell_errors(id);
        self.serve_drained(id);
        self.serve_packets(id, told);
    }

    /// Calls the handler, which is out of its place meanwhile.
    fn with_handler(
        &mut self,
        id: SlotId,
        kind: &'static str,
        f: impl FnOnce(&mut dyn UdpHandler<T>, &mut Udp<'_, T>),
    ) {
        let handler = self.udp_mut(id).and_then(|udp| udp.handler.take());
        let mut handler = handler.expect("callbacks never nest, so that the handler is in its place");
        f(&mut *handler, &mut Udp::new(self, UdpId(id)));
        self.return_handler(id, handler);
        self.after_callback(kind);
    }

    fn return_handler(&mut self, id: SlotId, handler: Box<dyn UdpHandler<T>>) {
        // The socket may have been closed, but it is released only after the batch.
        if let Some(Object::Udp(udp)) = self.objects.get_mut(id) {
            udp.handler = Some(handler);
        }
    }

    pub(in crate::event_loop) fn close_udp(&mut self, id: SlotId) {
        let Some(udp) = self.udp_mut(id) else { return };
        udp.closed = true;
        let (counts, retry) = (udp.counts, udp.errors.take_retry());
        self.alive -= usize::from(counts);
        if let Some(TimerId(timer)) = retry {
            self.timers.remove(timer);
        }
        self.closing.push((id, None));
    }

    /// Gives back what a closed socket had.
    pub(in crate::event_loop) fn release_udp(&mut self, udp: &UdpState<T>) {
        self.stats.sockets -= 1;
        self.net.close(udp.net, false);
    }
}
