//! A port with a loop and a thread of its own.

use crate::event_loop::{Error, Handle, Loop};
use crate::services::port::Port;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// A port with a loop and a thread of its own, for programs that have no loop: reached as by a [`Port`]
/// or a [`UdpPort`](crate::services::port::udp::UdpPort), ended in order by `stop` and by force when it is dropped.
#[derive(Debug)]
pub struct Threaded<P = Port> {
    port: P,
    /// Of the loop, which it keeps alive.
    handle: Handle,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Starts a loop on a thread of its own, with the port that `bind` makes there.
pub(in crate::services::port) fn start<P: Send + 'static>(
    name: String,
    bind: impl FnOnce(&mut Loop) -> Result<P, Error> + Send + 'static,
) -> Result<Threaded<P>, Error> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let serve = move || {
        let bound = Loop::new().and_then(|mut lp| {
            let port = bind(&mut lp)?;
            let handle = lp.handle();
            handle.keep_alive(true);
            Ok((lp, port, handle))
        });
        let mut lp = match bound {
            Ok((lp, port, handle)) => {
                // The receiver waits for this.
                let _ = sender.send(Ok((port, handle)));
                lp
            }
            Err(error) => {
                let _ = sender.send(Err(error));
                return Ok(());
            }
        };
        lp.run()
    };
    let thread = thread::Builder::new().name(name).spawn(serve);
    let thread = thread.map_err(|source| Error::Io { op: "start", object: "a thread".to_owned(), source })?;
    match receiver.recv() {
        Ok(Ok((port, handle))) => Ok(Threaded { port, handle, thread: Some(thread) }),
        Ok(Err(error)) => Err(error),
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => Err(Error::Ended),
        },
    }
}

impl<P: Clone> Threaded<P> {
    /// Another handle of the port, for another thread.
    #[must_use]
    pub fn port(&self) -> P {
        self.port.clone()
    }
}

impl<P> Threaded<P> {
    /// Waits for the end of the loop, whose port has been closed.
    pub(in crate::services::port) fn join(mut self) -> Result<(), Error> {
        self.handle.keep_alive(false);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl<P> Deref for Threaded<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.port
    }
}

impl<P> Drop for Threaded<P> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.stop();
            // What went wrong there cannot be told from here.
            let _ = thread.join();
        }
    }
}
