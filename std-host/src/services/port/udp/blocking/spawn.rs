//! A UDP port with a loop and a thread of its own.

use super::UdpPort;
use crate::event_loop::Error;
use crate::services::port::calls::{Threaded, start};
use crate::services::port::options::Options;
use crate::services::port::udp::running::RunningUdp;
use crate::services::port::udp::server::UdpServer;

impl UdpServer {
    /// Starts a port on a thread of its own. It is being opened then, if `auto_connect` says so: [`UdpPort::connect`] waits
    /// for that and tells why it failed.
    ///
    /// # Errors
    /// [`Error::Io`] if the options contradict each other, a log cannot be appended to, or memory, a loop or a thread cannot
    /// be had.
    pub fn spawn(options: Options) -> Result<Threaded<UdpPort>, Error> {
        Self::spawn_with(options, |_| ())
    }

    /// [`UdpServer::spawn`], with `prepare` called before the port is opened.
    ///
    /// # Errors
    /// As for [`UdpServer::spawn`].
    ///
    /// # Panics
    /// With whatever `prepare` panics with.
    pub fn spawn_with(
        options: Options,
        prepare: impl FnOnce(&mut RunningUdp<'_>) + Send + 'static,
    ) -> Result<Threaded<UdpPort>, Error> {
        start(options.name.clone(), move |lp| Ok(Self::bind(&mut lp.loop_mut(), &options, prepare)?.port()))
    }
}

impl Threaded<UdpPort> {
    /// Closes the port and waits for the end of the loop.
    ///
    /// # Errors
    /// [`Error::Io`] if the loop could not poll.
    ///
    /// # Panics
    /// With whatever a callback has panicked with.
    pub fn stop(self) -> Result<(), Error> {
        // A loop that has ended has nothing to close. Others may have handles, and open nothing any more.
        let _ = self.run(|port| port.retire()).and_then(|()| self.disconnect());
        self.join()
    }
}
