//! How a running host is asked, and told.
//!
//! | module | holds |
//! | --- | --- |
//! | [`runtime`] | where the admin sockets of hosts are |
//! | [`registry`] | who can be asked what: verbs, status and metrics of the services |
//! | [`answer`] | questions on their way to a service and back, over threads |
//! | [`host`] | what is asked of the host as a whole |
//! | [`lines`] | the language of the admin socket |
//! | [`exposition`] | metrics as text |
//! | [`loops`] | the metrics of the event loops |
//! | `socket`, `http` | the clients, on the first loop |
//!
//! Nothing here knows a service: whoever has something to tell registers it. Clients live on the first loop and bring
//! questions to where they are answered by deferred calls; nothing waits for anything.

pub mod answer;
pub(crate) mod arguments;
pub mod exposition;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
mod http;
pub mod lines;
pub mod loops;
mod outbox;
pub mod registry;
pub mod runtime;
mod socket;

use crate::config::admin::{Admin, Socket};
use crate::event_loop::{Error, ListenOptions, ListenerId, LoopMut, UnixListenOptions};
use host::{Host, Ways};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most descriptors that clients and listeners need.
pub const DESCRIPTORS: u64 = (socket::MAX_CLIENTS + http::MAX_CLIENTS + 2) as u64;
/// Clients that wait to be accepted.
const BACKLOG: u32 = 32;

/// Opens the ways to a host, on its first loop: the admin socket and the HTTP address. None of them keeps the loop alive.
/// Without a usual place for the socket the host goes on without, and says so.
///
/// # Errors
/// [`Error::Io`] for an address, or a path that the plant asks for, that cannot be had.
pub fn open<T: 'static>(lp: &mut LoopMut<'_, T>, host: &Arc<Host>, settings: &Admin) -> Result<(), Error> {
    let listen = settings.listen.map(|address| {
        let key = http::Clients::context(lp, host);
        let id = lp.listen(address, key, ListenOptions { backlog: BACKLOG, ..ListenOptions::default() })?;
        let mut listener = lp.listener(id)?;
        listener.unref(true);
        Ok::<_, Error>(listener.local_addr())
    });
    let ways = Ways { listen: listen.transpose()?, socket: open_socket(lp, host, &settings.socket)? };
    if let Some(path) = &ways.socket {
        tracing::info!("admin socket {}", path.display());
    }
    host.set_ways(ways);
    Ok(())
}

fn open_socket<T: 'static>(
    lp: &mut LoopMut<'_, T>,
    host: &Arc<Host>,
    settings: &Socket,
) -> Result<Option<PathBuf>, Error> {
    let path = match settings {
        Socket::Off => return Ok(None),
        Socket::At(path) => listen(lp, host, path).map(|_| path.clone())?,
        Socket::Usual => match open_usual(lp, host) {
            Ok(path) => path,
            Err(why) => {
                tracing::warn!("no admin socket: {why} (set WHARF_RUNTIME_DIR to a directory of your own)");
                return Ok(None);
            }
        },
    };
    Ok(Some(path))
}

/// Listens in the runtime directory, under the name of the plant or, if another host has that, beside it.
fn open_usual<T: 'static>(lp: &mut LoopMut<'_, T>, host: &Arc<Host>) -> Result<PathBuf, String> {
    let directory = runtime::directory();
    runtime::prepare(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    runtime::sweep(&directory, &host.plant);
    let path = runtime::socket(&directory, &host.plant, None);
    match listen(lp, host, &path) {
        Ok(_) => return Ok(path),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AddrInUse => {}
        Err(error) => return Err(error.to_string()),
    }
    let path = runtime::socket(&directory, &host.plant, Some(std::process::id()));
    listen(lp, host, &path).map_err(|error| error.to_string())?;
    Ok(path)
}

fn listen<T: 'static>(lp: &mut LoopMut<'_, T>, host: &Arc<Host>, path: &Path) -> Result<ListenerId, Error> {
    let key = socket::Clients::context(lp, host);
    let id = lp.listen_unix(path, key, UnixListenOptions { backlog: BACKLOG, ..UnixListenOptions::default() })?;
    lp.listener(id)?.unref(true);
    Ok(id)
}
