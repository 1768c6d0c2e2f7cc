//! A port and its life on a loop.

use super::blocking::{self, Port};
use super::broker::Broker;
use super::clients::Clients;
use super::common::Common;
use super::heap;
use super::log::{Log, Messages};
use super::options::{Mode, Options};
use super::running::Running;
use super::site::Site;
use super::subscribers::Subscriber;
use crate::event_loop::{ContextKey, Error, LoopMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use wharf_core::port::address::Protocol;
use wharf_core::port::server::{Input, OnClose, Server as PortMachine};
use wharf_core::{Instant, Machine};

/// A TCP port on its loop. It lasts as long as the loop; dropping this does not close it.
#[derive(Debug, Clone)]
pub struct Server {
    site: Rc<Site>,
}

impl Server {
    /// Makes a port, and opens it if `auto_connect` says so. Whether it could be opened shows in
    /// [`PortUp`](wharf_core::port::server::Event::PortUp) or `PortDown`, which `prepare` may subscribe to before it
    /// happens.
    ///
    /// # Errors
    /// [`Error::Io`] if the options contradict each other, a log cannot be appended to, or there is no memory for the queues.
    pub fn bind<T: 'static>(
        lp: &mut LoopMut<'_, T>,
        options: &Options,
        prepare: impl FnOnce(&mut Running<'_>),
    ) -> Result<Self, Error> {
        let wrong = |what: String| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
            Error::Io { op: "make", object: format!("port {}", options.name), source }
        };
        if options.address.protocol() == Protocol::Udp {
            return Err(wrong("its address is UDP: that is a port of its own kind, `udp::UdpServer`".to_owned()));
        }
        options.check().map_err(|conflict| wrong(conflict.to_string()))?;
        let messages = Messages::of(options)?;
        let config = options.server();
        let parts = heap::parts(options.slots.into(), &config, options.allow.clone().into());
        let parts =
            parts.map_err(|source| Error::Io { op: "make", object: format!("port {}", options.name), source })?;
        let mut machine = PortMachine::new(config, parts).map_err(|error| wrong(error.to_string()))?;
        for command in options.terminators() {
            let set = machine.handle_input(Instant::ORIGIN, Input::Requested(command));
            set.map_err(|error| wrong(error.to_string()))?;
        }
        let common = Arc::new(Common::new(&options.name, options.slots.into(), options.rx_queue as usize));
        let site = Rc::new(Site::new(common, options.clone(), machine, messages));
        let key = lp.context(Clients { site: Rc::clone(&site) });
        site.key.get_or_init(|| key);
        blocking::reach(site.desk.calls(), lp, key);
        site.set_timer(lp);
        site.with(lp, |port| {
            prepare(port);
            let served: Option<Box<dyn Subscriber>> = match options.mode {
                Mode::Broker => Some(Box::new(Broker::new(options.tx_queue))),
                Mode::Log => site.log.clone().map(|messages| Box::new(Log::new(messages)) as Box<dyn Subscriber>),
                // An echo is the business of the machine.
                Mode::None | Mode::Echo => None,
            };
            served.into_iter().for_each(|served| port.subscribe(served));
            if options.auto_connect {
                port.connect();
            }
        });
        Ok(Self { site })
    }

    /// The name of the port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.site.common.name
    }

    /// The context of the port's sockets, by which its loop finds it.
    pub(super) fn context(&self) -> ContextKey<Clients> {
        *self.site.key.get().expect("a port has its context from the start")
    }

    /// Where the port listens; `None` while it is down.
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
    pub fn port(&self) -> Port {
        Port::new(Arc::clone(self.site.desk.calls()), Arc::clone(&self.site.common))
    }

    /// The port itself, for whoever is on its loop: between turns, or inside a callback of something else.
    pub fn with<T: 'static, R>(&self, lp: &mut LoopMut<'_, T>, f: impl FnOnce(&mut Running<'_>) -> R) -> R {
        self.site.with(lp, f)
    }

    /// The first call closes the port and lets its clients end in order, for at most `linger` each; any other cuts them.
    pub fn shutdown<T: 'static>(&self, lp: &mut LoopMut<'_, T>) {
        let again = self.site.stopping.replace(true);
        self.site.with(lp, |port| if again { port.abort_all() } else { port.disconnect(OnClose::Drop) });
    }
}
