//! A port with a loop and a thread of its own.

use super::Port;
use crate::event_loop::{Error, Handle, Loop};
use crate::services::port::options::Options;
use crate::services::port::running::Running;
use crate::services::port::server::Server;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// A port with a loop and a thread of its own, for programs that have no loop: reached as by a [`Port`], ended in order by
/// [`Threaded::stop`] and by force when it is dropped.
#[derive(Debug)]
pub struct Threaded {
    port: Port,
    /// Of the loop, which it keeps alive.
    handle: Handle,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Server {
    /// Starts a port on a thread of its own. It is being opened then, if `auto_connect` says so: [`Port::connect`] waits for
    /// that and tells why it failed.
    ///
    /// # Errors
    /// [`Error::Io`] if the options contradict each other, or a loop or a thread cannot be had.
    pub fn spawn(options: Options) -> Result<Threaded, Error> {
        Self::spawn_with(options, |_| ())
    }

    /// [`Server::spawn`], with `prepare` called before the port is opened.
    ///
    /// # Errors
    /// As for [`Server::spawn`].
    ///
    /// # Panics
    /// With whatever `prepare` panics with.
    pub fn spawn_with(
        options: Options,
        prepare: impl FnOnce(&mut Running<'_>) + Send + 'static,
    ) -> Result<Threaded, Error> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let name = options.name.clone();
        let serve = move || {
            let bound = Loop::new().and_then(|mut lp| {
                let server = Self::bind(&mut lp.loop_mut(), &options, prepare)?;
                let handle = lp.handle();
                handle.keep_alive(true);
                Ok((lp, server.port(), handle))
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
}

impl Threaded {
    /// Another handle of the port, for another thread.
    #[must_use]
    pub fn port(&self) -> Port {
        self.port.clone()
    }

    /// Closes the port, lets its clients leave in order, and waits for the end of the loop.
    ///
    /// # Errors
    /// [`Error::Io`] if the loop could not poll.
    ///
    /// # Panics
    /// With whatever a callback has panicked with.
    pub fn stop(mut self) -> Result<(), Error> {
        // A loop that has ended has nothing to close. Nobody opens the port again once its name is gone.
        let _ = self.port.disconnect(wharf_core::port::server::OnClose::Drop);
        self.handle.keep_alive(false);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Deref for Threaded {
    type Target = Port;

    fn deref(&self) -> &Port {
        &self.port
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.stop();
            // What went wrong there cannot be told from here.
            let _ = thread.join();
        }
    }
}
