//! The listening socket of a port: from the text of its address to a socket that accepts.

use super::options::{Localhost, Options};
use super::site::Site;
use crate::event_loop::{AcceptFailed, Error, ListenOptions, ListenerId, LoopMut};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use wharf_core::port::address::Host;
use wharf_core::port::server::{AcceptFailure, Input, OpenFailure};

/// Listens where the port's address says. The machine hears what became of it, now or once a name is resolved.
pub(super) fn listen<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Rc<Site>) {
    let place = place(&site.options.borrow());
    match place {
        Ok(address) => open(lp, site, &[address]),
        Err(name) => {
            let waiting = Rc::clone(site);
            let asked = lp.resolve(&name, move |lp, found| {
                waiting.begin(lp);
                match found {
                    Ok(addresses) => open(lp, &waiting, &addresses),
                    Err(error) => failed(&waiting, OpenFailure::Unresolved, &error),
                }
                waiting.wake(lp);
            });
            if let Err(error) = asked {
                failed(site, OpenFailure::Unresolved, &error);
            }
        }
    }
}

/// Where the address of a port is: a socket address, or the name that has to be resolved into some.
pub(super) fn place(options: &Options) -> Result<SocketAddr, String> {
    let address = options.address.address();
    let port = address.port;
    match address.host {
        Host::Any => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        Host::Localhost if options.localhost == Localhost::Any => {
            tracing::warn!("{}: localhost listens on every IPv4 interface, as localhost = \"any\" asks", options.name);
            Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        Host::Localhost => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Host::V4(ip) => Ok(SocketAddr::from((ip, port))),
        Host::V6 { address, zone: None } => Ok(SocketAddr::from((address, port))),
        Host::V6 { address, zone: Some(zone) } => Err(format!("[{address}%{zone}]:{port}")),
        Host::Name(name) => Err(format!("{name}:{port}")),
    }
}

/// Listens on the first of these addresses that can be had.
fn open<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Rc<Site>, addresses: &[SocketAddr]) {
    let key = *site.key.get().expect("a port has its context before it listens");
    let options = {
        let options = site.options.borrow();
        ListenOptions {
            backlog: options.backlog.into(),
            reuse_port: options.reuse_port,
            v6only: options.v6only,
            ..ListenOptions::default()
        }
    };
    let mut last = None;
    for address in addresses {
        let listened = if address.ip().is_multicast() {
            let source = std::io::Error::new(ErrorKind::InvalidInput, "multicast addresses are not supported");
            Err(Error::Io { op: "listen on", object: address.to_string(), source })
        } else {
            lp.listen(*address, key, options)
        };
        match listened.and_then(|id| Ok((id, lp.listener(id)?.local_addr()))) {
            Ok((id, local)) => {
                site.listener.set(Some(id));
                site.common.set_local(Some(local));
                return site.tell_now(Input::Opened { local });
            }
            Err(error) => last = Some(error),
        }
    }
    if let Some(error) = last {
        failed(site, kind(&error), &error);
    }
}

/// Listens no more.
pub(super) fn unlisten<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Site) {
    site.common.set_local(None);
    if let Some(Ok(listener)) = site.listener.take().map(|id| lp.listener(id)) {
        listener.close();
    }
}

/// Accepts nobody, or everybody again.
pub(super) fn pause<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Site, pause: bool) {
    if let Some(Ok(mut listener)) = site.listener.get().map(|id: ListenerId| lp.listener(id)) {
        if pause { listener.pause() } else { listener.resume() }
    }
}

/// A connection could not be accepted.
pub(super) fn accept_failed<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Rc<Site>, why: &AcceptFailed) {
    let name = &site.common.name;
    let kind = match why {
        AcceptFailed::Transient(error) => {
            tracing::debug!("{name}: {error}");
            AcceptFailure::Transient
        }
        AcceptFailed::Exhausted { error, pause, .. } => {
            tracing::warn!(
                "{name}: {error}; accepting goes on in {pause:?} (if descriptors are short, raise the limit on open \
                 files: ulimit -n)"
            );
            AcceptFailure::Exhausted
        }
        AcceptFailed::Fatal(error) => {
            tracing::error!("{name}: {error}; the port goes down and is opened again");
            AcceptFailure::Fatal
        }
    };
    site.input(lp, Input::AcceptFailed { kind });
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
        OpenFailure::InUse
    } else if kind == ErrorKind::AddrNotAvailable {
        OpenFailure::NotAvailable
    } else if kind == ErrorKind::PermissionDenied {
        OpenFailure::Denied
    } else {
        OpenFailure::Other
    }
}
