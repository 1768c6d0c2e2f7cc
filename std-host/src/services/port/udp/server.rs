//! A UDP port and its life on a loop.

use super::blocking::{self, UdpPort};
use super::echo::Echo;
use super::heap;
use super::home::Home;
use super::running::RunningUdp;
use super::site::Site;
use super::subscribers::UdpSubscriber;
use crate::event_loop::{ContextKey, Error, LoopMut};
use crate::services::port::common::Common;
use crate::services::port::log::Messages;
use crate::services::port::options::{Mode, Options};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use wharf_core::port::address::Protocol;

/// A UDP port on its loop. It lasts as long as the loop; dropping this does not close it.
#[derive(Debug, Clone)]
pub struct UdpServer {
    site: Rc<Site>,
    home: ContextKey<Home>,
}

impl UdpServer {
    /// Makes a port, and opens it if `auto_connect` says so. Whether it could be opened shows in
    /// [`PortUp`](wharf_core::port::datagrams::Event::PortUp) or `PortDown`, which `prepare` may subscribe to before it
    /// happens.
    ///
    /// # Errors
    /// [`Error::Io`] if the options contradict each other, or the file of `mode = "log"` cannot be appended to.
    pub fn bind<T: 'static>(
        lp: &mut LoopMut<'_, T>,
        options: &Options,
        prepare: impl FnOnce(&mut RunningUdp<'_>),
    ) -> Result<Self, Error> {
        let wrong = |what: String| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
            Error::Io { op: "make", object: format!("port {}", options.name), source }
        };
        if options.address.protocol() != Protocol::Udp {
            return Err(wrong(format!("\"{}\" is no UDP address: add udp", options.address.as_str())));
        }
        options.check().map_err(|conflict| wrong(conflict.to_string()))?;
        let messages = Messages::of(options)?;
        let served: Option<Box<dyn UdpSubscriber>> = match options.mode {
            Mode::Echo => Some(Box::new(Echo)),
            Mode::Log => messages.clone().map(|messages| Box::new(messages) as Box<dyn UdpSubscriber>),
            // No UDP port is a broker, as its options have been checked for.
            Mode::None | Mode::Broker => None,
        };
        let machine = heap::machine(options).map_err(|error| wrong(error.to_string()))?;
        let common = Arc::new(Common::new(&options.name, 1, options.rx_queue as usize));
        let site = Rc::new(Site::new(common, options.clone(), machine, messages));
        let home = lp.context(Home { site: Rc::clone(&site) });
        site.set_timer(lp);
        blocking::reach(lp, &site, home);
        site.with(lp, |port| {
            prepare(port);
            served.into_iter().for_each(|served| port.subscribe(served));
            if options.auto_connect {
                port.connect();
            }
        });
        Ok(Self { site, home })
    }

    /// The name of the port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.site.common.name
    }

    /// The context by which its loop finds the port.
    pub(in crate::services::port) const fn context(&self) -> ContextKey<Home> {
        self.home
    }

    /// Where the port is bound, with the real port number; `None` while it is down.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.site.common.local()
    }

    /// Why the port could not be opened the last time, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.site.common.failure()
    }

    /// What reaches the port from other threads.
    #[must_use]
    pub fn port(&self) -> UdpPort {
        UdpPort::new(Arc::clone(self.site.desk.calls()), Arc::clone(&self.site.common))
    }

    /// The port itself, for whoever is on its loop: between turns, or inside a callback of something else.
    pub fn with<T: 'static, R>(&self, lp: &mut LoopMut<'_, T>, f: impl FnOnce(&mut RunningUdp<'_>) -> R) -> R {
        self.site.with(lp, f)
    }

    /// Closes the port for good, unless somebody opens it again.
    pub fn shutdown<T: 'static>(&self, lp: &mut LoopMut<'_, T>) {
        self.site.with(lp, |port| {
            port.disconnect();
        });
    }
}
