//! The socket of a UDP port: from the text of its address to a bound socket.
//!
//! The loop gives a closed socket back at the end of its iteration. Until then its address is taken, so a port that is closed
//! and opened again at once may have to wait a little.

use super::site::Site;
use super::socket::Port;
use crate::event_loop::{Error, LoopMut, UdpId, UdpOptions};
use crate::services::port::listening;
use crate::sys::errno::is_exhaustion;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use wharf_core::port::datagrams::{Input, MAX_PAYLOAD, OpenFailure};

/// Binds where the port's address says. The machine hears what became of it, now or once a name is resolved.
pub(super) fn bind<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Rc<Site>) {
    let attempt = site.next_attempt();
    let place = listening::place(&site.options.borrow());
    let name = match place {
        Ok(address) => return open(lp, site, &[address]),
        Err(name) => name,
    };
    let waiting = Rc::clone(site);
    let asked = lp.resolve(&name, move |lp, found| {
        // The port may have been closed meanwhile, and opened anew.
        if waiting.is_attempt(attempt) {
            waiting.begin(lp);
            match found {
                Ok(addresses) => open(lp, &waiting, &addresses),
                Err(error) => failed(&waiting, OpenFailure::NoAddress, &error),
            }
            waiting.drive(lp);
        }
    });
    if let Err(error) = asked {
        failed(site, OpenFailure::NoAddress, &error);
    }
}

/// Closes the socket, or gives up opening it.
pub(super) fn unbind<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Site) {
    site.next_attempt();
    site.common.set_local(None);
    if let Some(Ok(mut socket)) = site.socket.take().map(|id| lp.udp(id)) {
        socket.close();
        site.begin_release();
    }
    site.tell_now(Input::Shut);
}

/// Goes on with an attempt that found the address taken by the port's own last socket, once that is gone.
pub(super) fn resume<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Rc<Site>) {
    if !site.is_releasing() && site.put_off.take().is_some_and(|attempt| site.is_attempt(attempt)) {
        bind(lp, site);
    }
}

/// Binds to the first of these addresses that can be had.
fn open<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Rc<Site>, addresses: &[SocketAddr]) {
    let options = {
        let options = site.options.borrow();
        UdpOptions { reuse_port: options.reuse_port, v6only: options.v6only, payload: Some(MAX_PAYLOAD) }
    };
    let mut last = None;
    for address in addresses {
        match bound(lp, site, *address, options) {
            Ok((id, local)) => {
                site.socket.set(Some(id));
                site.common.set_local(Some(local));
                return site.tell_now(Input::Opened { local });
            }
            Err(error) => last = Some(error),
        }
    }
    let Some(error) = last else { return };
    let kind = kind(&error);
    if kind == OpenFailure::AddressInUse && site.is_releasing() {
        site.put_off.set(Some(site.this_attempt()));
    } else {
        failed(site, kind, &error);
    }
}

/// A socket bound to this address, and where that is.
fn bound<T: 'static>(
    lp: &mut LoopMut<'_, T>,
    site: &Rc<Site>,
    address: SocketAddr,
    options: UdpOptions,
) -> Result<(UdpId, SocketAddr), Error> {
    if address.ip().is_multicast() {
        let source = std::io::Error::new(ErrorKind::InvalidInput, "multicast addresses are not supported");
        return Err(Error::Io { op: "bind", object: address.to_string(), source });
    }
    let id = lp.bind_udp(address, Port::new(site), options)?;
    let mut socket = lp.udp(id)?;
    let local = socket.local_addr();
    if local.is_err() {
        socket.close();
    }
    Ok((id, local?))
}

fn failed(site: &Site, kind: OpenFailure, error: &Error) {
    if site.common.set_failure(error.to_string()) {
        tracing::warn!("{}: {error}", site.common.name);
    }
    site.tell_now(Input::OpenFailed { kind });
}

fn kind(error: &Error) -> OpenFailure {
    let Error::Io { source, .. } = error else { return OpenFailure::Other };
    let kind = source.kind();
    if kind == ErrorKind::AddrInUse {
        OpenFailure::AddressInUse
    } else if kind == ErrorKind::AddrNotAvailable {
        OpenFailure::NoAddress
    } else if kind == ErrorKind::PermissionDenied {
        OpenFailure::Denied
    } else if is_exhaustion(source) {
        OpenFailure::Exhausted
    } else {
        OpenFailure::Other
    }
}
