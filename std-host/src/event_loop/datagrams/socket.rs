//! UDP sockets as their users see them.

use super::{Packet, UdpHandler, UdpState};
use crate::event_loop::net::{Membership, Out, UdpOptions, UdpSetting};
use crate::event_loop::state::{Core, Object};
use crate::event_loop::{Error, LoopMut};
use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use wharf_core::slots::SlotId;

/// Names a UDP socket; stale after its close, never somebody else's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpId(pub(in crate::event_loop) SlotId);

/// The UDP socket at hand in a callback, or reached by its id: [`LoopMut::udp`].
pub struct Udp<'a, T: 'static> {
    lp: LoopMut<'a, T>,
    id: UdpId,
}

impl<'a, T> Udp<'a, T> {
    pub(super) const fn new(core: &'a mut Core<T>, id: UdpId) -> Self {
        Self { lp: LoopMut { core }, id }
    }

    /// The socket's id.
    #[must_use]
    pub const fn id(&self) -> UdpId {
        self.id
    }

    /// The rest of the loop.
    pub const fn loop_mut(&mut self) -> &mut LoopMut<'a, T> {
        &mut self.lp
    }

    /// Loop time: [`LoopMut::now`].
    #[must_use]
    pub const fn now(&self) -> wharf_core::Instant {
        self.lp.now()
    }

    /// Sends packets and returns how many the system took, from the first on. The rest stays the caller's; fewer than
    /// all means that `drained` will come once, and until then nothing is taken. A socket of IPv6 sends to IPv4 too,
    /// unless it is `v6only`.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says of the first packet, which was not sent and nothing after it;
    /// [`Error::Closed`].
    pub fn send(&mut self, packets: &[Out<'_>]) -> Result<usize, Error> {
        self.lp.core.send_packets(self.id.0, packets)
    }

    /// Has the system exchange packets with `peer` alone and tell when it cannot be reached. What has arrived from
    /// others before is still delivered.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says, and the socket is not connected; [`Error::Closed`].
    pub fn connect(&mut self, peer: SocketAddr) -> Result<(), Error> {
        self.set_peer(Some(peer), "connect to", peer)
    }

    /// Takes packets from everybody again. The local address stays. Without a peer it does nothing.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; [`Error::Closed`].
    pub fn disconnect(&mut self) -> Result<(), Error> {
        let Some(peer) = self.state()?.peer else { return Ok(()) };
        self.set_peer(None, "disconnect from", peer)
    }

    /// Takes at most `packets` more from the system, until told otherwise.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn limit_packets(&mut self, packets: u64) -> Result<(), Error> {
        self.state()?;
        self.lp.core.set_packet_limit(self.id.0, packets);
        Ok(())
    }

    /// Takes nothing until [`Udp::resume`]. The system keeps what arrives as long as it has room.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn pause(&mut self) -> Result<(), Error> {
        self.limit_packets(0)
    }

    /// Takes packets without limit again.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn resume(&mut self) -> Result<(), Error> {
        self.limit_packets(u64::MAX)
    }

    /// Whether packets may be sent to broadcast addresses. They may not unless told otherwise.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; [`Error::Closed`].
    pub fn set_broadcast(&mut self, on: bool) -> Result<(), Error> {
        self.set("set broadcast on", UdpSetting::Broadcast(on))
    }

    /// Receives packets to a multicast group.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; [`Error::Closed`].
    pub fn join(&mut self, membership: Membership) -> Result<(), Error> {
        self.set("join", UdpSetting::Join(membership))
    }

    /// Leaves a group that was joined with the same words.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; [`Error::Closed`].
    pub fn leave(&mut self, membership: Membership) -> Result<(), Error> {
        self.set("leave", UdpSetting::Leave(membership))
    }

    /// How many routers a packet to a group may pass, plus one. 1 unless told otherwise; 0 keeps it on this host.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; [`Error::Closed`].
    pub fn set_multicast_ttl(&mut self, ttl: u8) -> Result<(), Error> {
        self.set("set the multicast ttl on", UdpSetting::MulticastTtl(ttl))
    }

    /// Whether members on this host receive what this socket sends to a group. They do unless told otherwise.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; [`Error::Closed`].
    pub fn set_multicast_loop(&mut self, on: bool) -> Result<(), Error> {
        self.set("set the multicast loop on", UdpSetting::MulticastLoop(on))
    }

    /// The address of this side.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; [`Error::Closed`].
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        let net = self.state()?.net;
        self.lp.core.net.local_addr(net).map_err(|source| Error::io("ask for the address of", "a socket", source))
    }

    /// The peer that it is connected to.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.state().ok()?.peer
    }

    /// Takes one packet at once, whatever the limit, and gives it to `f`: true if there was one. Only what is known to
    /// have arrived is taken, and nothing inside `packets` of any socket. What goes wrong is told by `error`.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn receive_now(&mut self, f: impl FnOnce(Packet<'_>)) -> Result<bool, Error> {
        self.state()?;
        Ok(self.lp.core.receive_now(self.id.0, f))
    }

    /// Packets that the system has dropped for want of room, as far as it tells: each packet that is received tells how
    /// many were dropped before it.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state().map_or(0, |udp| udp.dropped)
    }

    /// The descriptor, for other options; `None` after a close, and in a simulated world.
    #[must_use]
    pub fn raw(&self) -> Option<BorrowedFd<'_>> {
        self.lp.core.net.fd(self.state().ok()?.net)
    }

    /// Closes the socket: no callback comes any more, and the handler is dropped at the end of the iteration.
    pub fn close(&mut self) {
        self.lp.core.close_udp(self.id.0);
    }

    /// Whether it has been closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().is_err()
    }

    /// Whether the socket is left out when the loop looks for a reason to go on.
    pub fn unref(&mut self, unref: bool) {
        let core = &mut *self.lp.core;
        if let Some(udp) = core.udp_mut(self.id.0) {
            let counted = std::mem::replace(&mut udp.counts, !unref);
            core.alive = core.alive - usize::from(counted) + usize::from(!unref);
        }
    }

    fn state(&self) -> Result<&UdpState<T>, Error> {
        self.lp.core.udp(self.id.0).ok_or(Error::Closed)
    }

    fn set_peer(&mut self, peer: Option<SocketAddr>, op: &'static str, object: SocketAddr) -> Result<(), Error> {
        let net = self.state()?.net;
        let core = &mut *self.lp.core;
        let outcome = core.net.connect_udp(net, peer);
        if let Some(udp) = core.udp_mut(self.id.0) {
            udp.peer = peer.filter(|_| outcome.is_ok());
        }
        outcome.map_err(|source| Error::io(op, object, source))
    }

    fn set(&mut self, op: &'static str, setting: UdpSetting) -> Result<(), Error> {
        let net = self.state()?.net;
        let Err(source) = self.lp.core.net.set_udp(net, &setting) else { return Ok(()) };
        match setting {
            UdpSetting::Join(membership) | UdpSetting::Leave(membership) => {
                Err(Error::io(op, membership.group, source))
            }
            UdpSetting::Broadcast(_) | UdpSetting::MulticastLoop(_) | UdpSetting::MulticastTtl(_) => {
                let local = self.local_addr()?;
                Err(Error::io(op, local, source))
            }
        }
    }
}

impl<T> fmt::Debug for Udp<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").field("id", &self.id).field("peer", &self.peer_addr()).finish_non_exhaustive()
    }
}

impl<T> LoopMut<'_, T> {
    /// Binds a UDP socket to `addr`; packets go to `handler`, which the socket owns. Port 0 lets the system choose:
    /// [`Udp::local_addr`] tells what. The first bind allocates the arena.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says, [`Error::OutOfRange`] if `udp_batch` or `udp_payload` of the loop or
    /// `payload` of the socket is, [`Error::Ended`].
    pub fn bind_udp(
        &mut self,
        addr: SocketAddr,
        handler: impl UdpHandler<T>,
        options: UdpOptions,
    ) -> Result<UdpId, Error> {
        self.core.refuse_if_ended()?;
        let payload = options.payload.unwrap_or(self.core.options.udp_payload);
        self.core.datagrams.allocate(self.core.options.udp_batch, payload)?;
        let failed = |source| Error::io("bind", addr, source);
        let net = self.core.net.bind_udp(addr, &options).map_err(failed)?;
        let id = self.core.add_object(Object::Udp(Box::new(UdpState::new(net, payload, Box::new(handler)))));
        if let Err(source) = self.core.net.watch(net, id.to_bits(), false) {
            self.core.objects.remove(id);
            self.core.net.close(net, false);
            return Err(failed(source));
        }
        self.core.alive += 1;
        self.core.stats.sockets += 1;
        self.core.stats.sockets_peak = self.core.stats.sockets_peak.max(self.core.stats.sockets);
        Ok(UdpId(id))
    }

    /// A UDP socket by its id.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn udp(&mut self, id: UdpId) -> Result<Udp<'_, T>, Error> {
        self.core.udp(id.0).ok_or(Error::Stale)?;
        Ok(Udp::new(self.core, id))
    }

    /// Calls `f` with a UDP socket and its handler, from anywhere on the loop.
    ///
    /// # Errors
    /// [`Error::Stale`] if the id names nothing or the handler is of another type, [`Error::Busy`] inside the socket's
    /// own callback.
    pub fn with_udp<H: UdpHandler<T>, R>(
        &mut self,
        id: UdpId,
        f: impl FnOnce(&mut H, &mut Udp<'_, T>) -> R,
    ) -> Result<R, Error> {
        let udp = self.core.udp_mut(id.0).ok_or(Error::Stale)?;
        let handler: &dyn Any = udp.handler.as_deref().ok_or(Error::Busy)?;
        if !handler.is::<H>() {
            return Err(Error::Stale);
        }
        let mut handler = udp.handler.take().ok_or(Error::Busy)?;
        let typed: &mut dyn Any = &mut *handler;
        let typed = typed.downcast_mut().expect("its type was just looked at");
        let outcome = catch_unwind(AssertUnwindSafe(|| f(typed, &mut Udp::new(self.core, id))));
        // Also after a panic, which somebody further up may catch.
        self.core.return_handler(id.0, handler);
        Ok(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}
