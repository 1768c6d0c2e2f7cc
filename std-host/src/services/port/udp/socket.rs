//! The callbacks of a UDP port's socket: what the loop tells becomes an input of the machine.

use super::site::Site;
use crate::event_loop::{Error, Packets, Udp, UdpHandler};
use crate::sys::errno::is_exhaustion;
use std::io::ErrorKind;
use std::rc::Rc;
use wharf_core::port::datagrams::{Failure, Input, Kind};

/// The handler of a port's socket.
pub(super) struct Port {
    site: Rc<Site>,
}

impl Port {
    pub(super) fn new(site: &Rc<Site>) -> Self {
        Self { site: Rc::clone(site) }
    }
}

impl<T: 'static> UdpHandler<T> for Port {
    fn packets(&mut self, u: &mut Udp<'_, T>, batch: Packets<'_>) {
        self.site.dropped(u.dropped());
        for packet in batch {
            // A port that has been closed since the batch came wants nothing of the rest.
            if u.is_closed() {
                return;
            }
            self.site.packet(u.loop_mut(), &packet);
        }
    }

    fn drained(&mut self, u: &mut Udp<'_, T>) {
        self.site.input(u.loop_mut(), Input::Writable);
    }

    fn error(&mut self, u: &mut Udp<'_, T>, error: Error) {
        let failure = receiving_failure(&error);
        match failure {
            Failure::Transient => self.site.failed(&error),
            Failure::Fatal(_) => {
                tracing::error!("{}: {error}; the port goes down and is opened again", self.site.common.name);
            }
        }
        self.site.input(u.loop_mut(), Input::Failed { failure });
    }
}

/// What an error says that came unasked, or in place of a packet.
fn receiving_failure(error: &Error) -> Failure {
    let Error::Io { op, source, .. } = error else { return Failure::Fatal(Kind::Other) };
    // What happened to a packet on its way says nothing of the socket; the system may tell it without a name. What the
    // system is short of it may have again.
    let transient = [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionReset,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::OutOfMemory,
    ];
    let kind = source.kind();
    if *op == "reach" || transient.contains(&kind) || is_exhaustion(source) {
        Failure::Transient
    } else if kind == ErrorKind::NetworkDown {
        Failure::Fatal(Kind::Unreachable)
    } else {
        Failure::Fatal(Kind::Other)
    }
}

/// What an error of sending says: what the system says then is about the packet, and the next may go elsewhere.
pub(super) const fn sending_failure(error: &Error) -> Failure {
    if let Error::Io { .. } = error { Failure::Transient } else { Failure::Fatal(Kind::Other) }
}
