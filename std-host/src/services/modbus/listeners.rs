//! The listening sockets of a server, and what goes wrong at them.

use super::Shared;
use super::event::{Event, Operation, Rejection};
use crate::config::modbus as plant;
use crate::event_loop::{AcceptFailed, Error, ListenOptions, LoopMut};

/// Opens all listeners, or none.
pub(super) fn open<T>(lp: &mut LoopMut<'_, T>, shared: &Shared, described: &plant::Server) -> Result<(), Error> {
    let options = ListenOptions {
        backlog: described.backlog.into(),
        v6only: true,
        nodelay: described.nodelay,
        ..ListenOptions::default()
    };
    for address in &described.listen {
        let opened = lp.listen(*address, shared.key(), options);
        match opened.and_then(|id| Ok((id, lp.listener(id)?.local_addr()))) {
            Ok(listener) => shared.listeners.borrow_mut().push(listener),
            Err(error) => {
                close(lp, shared);
                return Err(error);
            }
        }
    }
    Ok(())
}

pub(super) fn close<T>(lp: &mut LoopMut<'_, T>, shared: &Shared) {
    for (id, _) in shared.listeners.borrow_mut().drain(..) {
        if let Ok(listener) = lp.listener(id) {
            listener.close();
        }
    }
}

/// Tells of a connection that could not be accepted.
pub(super) fn accept_failed(shared: &Shared, failed: AcceptFailed) {
    let (error, advice) = match failed {
        AcceptFailed::Transient(error) | AcceptFailed::Fatal(error) => (error, String::new()),
        AcceptFailed::Exhausted { error, pause, refused } => {
            if let Some(peer) = refused.and_then(|address| address.inet()) {
                shared.emit(&Event::Rejected { peer, reason: Rejection::Descriptors });
            }
            let advice = format!(
                "; accepting goes on in {pause:?} (if descriptors are short, raise the limit on open files: ulimit -n)"
            );
            (error, advice)
        }
    };
    shared.emit(&Event::Error { operation: Operation::Accept, message: format!("{error}{advice}") });
}
