//! A server with a loop and a thread of its own.

use super::{Handle, Running, Server};
use crate::config::modbus as plant;
use crate::event_loop::{Error, Loop};
use std::ops::Deref;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// A server with a loop and a thread of its own, for programs that have no loop: reached as by a [`Handle`], ended in
/// order by [`Threaded::stop`] and by force when it is dropped.
#[derive(Debug)]
pub struct Threaded {
    handle: Handle,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Server {
    /// Starts a server on a thread of its own, as soon as its listeners are open.
    ///
    /// # Errors
    /// [`Error::Io`] if a listener, a loop or a thread cannot be had.
    ///
    /// # Panics
    /// As [`Server::bind`].
    pub fn spawn(described: plant::Server) -> Result<Threaded, Error> {
        Self::spawn_with(described, |_| ())
    }

    /// [`Server::spawn`], with `prepare` called before anybody is let in: what it sets, such as handlers and an
    /// authorisation hook, is there for the first request.
    ///
    /// # Errors
    /// As for [`Server::spawn`].
    ///
    /// # Panics
    /// As [`Server::bind`], and with whatever `prepare` panics with.
    pub fn spawn_with(
        described: plant::Server,
        prepare: impl FnOnce(&mut Running<'_>) + Send + 'static,
    ) -> Result<Threaded, Error> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let name = described.name.clone();
        let serve = move || {
            let bound = Loop::new().and_then(|mut lp| {
                let server = Self::bind(&mut lp.loop_mut(), &described, |_| ())?;
                server.with(&mut lp.loop_mut(), prepare);
                Ok((lp, server.handle()))
            });
            let (mut lp, handle) = match bound {
                Ok((lp, handle)) => (lp, Ok(handle)),
                Err(error) => {
                    // The receiver waits for this.
                    let _ = sender.send(Err(error));
                    return Ok(());
                }
            };
            let _ = sender.send(handle);
            lp.run()
        };
        let thread = thread::Builder::new().name(name).spawn(serve);
        let thread = thread.map_err(|source| Error::Io { op: "start", object: "a thread".to_owned(), source })?;
        match receiver.recv() {
            Ok(Ok(handle)) => Ok(Threaded { handle, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(_) => Err(Error::Ended),
            },
        }
    }
}

impl Threaded {
    /// Shuts down in order, unless that has begun, and waits for the end.
    ///
    /// # Errors
    /// [`Error::Io`] if the loop could not poll.
    ///
    /// # Panics
    /// With whatever a callback has panicked with.
    pub fn stop(mut self) -> Result<(), Error> {
        // A second call would cut.
        if !self.handle.is_shutdown() {
            self.handle.shutdown();
        }
        self.join()
    }

    /// Waits until somebody has shut the server down.
    ///
    /// # Errors
    /// As for [`Threaded::stop`].
    ///
    /// # Panics
    /// As for [`Threaded::stop`].
    pub fn wait(mut self) -> Result<(), Error> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Deref for Threaded {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.shutdown();
            self.handle.shutdown();
            // What went wrong there cannot be told from here.
            let _ = thread.join();
        }
    }
}
