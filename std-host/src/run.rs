//! Runs a plant, and says how it ended.
//!
//! The entries of a plant are dealt over its loops in file order: with two loops, the first has the first entry, the
//! third and so on. An entry lives on one loop. No entry can name another yet; one that does belongs on the loop of the
//! entry that it names, and `Site::share` is where that is decided.
//!
//! The first loop hears the signals for all, and so outlives the others. It is also where the host is asked and told
//! ([`admin`]).

mod advice;
#[cfg(test)]
mod tests;

use crate::admin::{self, host::Host};
use crate::config::{self, Plant, event_loop::EventLoop, modbus};
use crate::event_loop::{Error, Group, GroupOptions, Handle, Loop, LoopMut, LoopOptions, Signal};
use crate::services::modbus::{Event, Observer, Server, control};
use crate::services::port::{self, DownReason, options::Options as Port, udp};
use crate::sys::inherited;
use advice::{advice_on, advice_on_udp, explained};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wharf_core::port::address::Protocol;

/// The exit statuses of `wharf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Done = 0,
    /// The remote side said no.
    Refused = 1,
    /// Wrong usage or a bad file.
    Usage = 2,
    /// Not reachable, timed out, or an address that cannot be had.
    Unreachable = 3,
    /// The peer broke the protocol.
    Protocol = 4,
}

/// Descriptors of a process besides its connections and loops: standard streams, listeners, files, who administers it.
const OTHER_DESCRIPTORS: u64 = 60 + admin::DESCRIPTORS;
/// Descriptors of a loop: its poll, its waker, its reserve, and one to spare.
const DESCRIPTORS_OF_A_LOOP: u64 = 4;

/// What becomes of a device port that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// What its options say: usually it is tried again.
    AsSet,
    /// If it has never been open, the host ends and says why.
    AtOnce,
}

/// Runs everything in a plant until SIGINT, SIGTERM or SIGHUP; a second signal cuts what the first lets end in order.
/// While a device port writes to a file, SIGHUP has such files opened again instead.
/// `name` is what the plant is called; its admin socket has it too. `ready` gets a line for each listener as soon as all of
/// them are open; for a device port that is opened later, because its name is yet to be resolved or its address yet to
/// be had, once it is.
///
/// With `threads = 1` the loop runs on the calling thread. There are never more loops than entries.
///
/// # Errors
/// The exit status, and what to tell the user.
///
/// # Panics
/// With whatever a callback panics with, on any of the loops.
pub fn run(
    plant: &Plant,
    name: &str,
    ready: impl Write + Send + 'static,
    opening: Opening,
) -> Result<Status, (Status, String)> {
    if plant.modbus.is_empty() && plant.ports.is_empty() {
        return Err((Status::Usage, "the plant is empty: add a [[modbus.server]] or a [[port]]".to_owned()));
    }
    let site = Arc::new(Site::new(plant, name, Box::new(ready), opening));
    let clients = plant.ports.iter().map(|port| u64::from(port.slots)).sum::<u64>();
    let connections = plant.modbus.iter().map(connections).sum::<u64>() + clients;
    raise_descriptor_limit(connections, site.loops);
    let (each, pin) = (options(&plant.event_loop), plant.event_loop.pin);
    if site.loops == 1 && !pin {
        let mut lp = Loop::with_options(Share::default(), each).map_err(explained)?;
        site.set_up(0, &mut lp.loop_mut()).map_err(explained)?;
        site.announce();
        lp.run().map_err(explained)?;
    } else {
        let options = GroupOptions { loops: site.loops, each, name: "wharf".to_owned(), pin };
        let common = Arc::clone(&site);
        let group = Group::with_options(options, |_| Share::default(), move |index, lp| common.set_up(index, lp));
        let group = group.map_err(explained)?;
        site.announce();
        group.join().map_err(explained)?;
    }
    let failure = site.open().failure.take();
    failure.map_or(Ok(Status::Done), |failure| Err((Status::Unreachable, failure)))
}

/// A plant that is being run, as all its loops know it.
struct Site {
    entries: Vec<Entry>,
    admin: config::admin::Admin,
    host: Arc<Host>,
    opening: Opening,
    loops: usize,
    open: Mutex<Open>,
}

/// What lives on a loop of its own or shares one with others.
enum Entry {
    Modbus(Box<modbus::Server>),
    Port(Box<Port>),
}

/// What the loops of a plant have opened so far.
struct Open {
    /// By index.
    loops: Vec<Handle<Share>>,
    /// Of each entry, in file order.
    addresses: Vec<Vec<SocketAddr>>,
    ready: Box<dyn Write + Send>,
    /// The addresses have been told; one that is opened from now on is told by itself.
    announced: bool,
    /// Why the host ends, if it must.
    failure: Option<String>,
}

/// What lives on one loop.
#[derive(Default)]
struct Share {
    servers: Vec<Server>,
    ports: Vec<port::Server>,
    udp_ports: Vec<udp::UdpServer>,
    /// Keeps the loop alive for ports that are down and may be opened again.
    _ports: Option<Handle<Self>>,
    /// Keeps the first loop alive as long as this one: it hears the signals.
    _first: Option<Handle<Self>>,
}

impl Site {
    fn new(plant: &Plant, name: &str, ready: Box<dyn Write + Send>, opening: Opening) -> Self {
        let servers = plant.modbus.iter().cloned().map(|server| Entry::Modbus(Box::new(server)));
        let ports = plant.ports.iter().cloned().map(|port| Entry::Port(Box::new(port)));
        let entries: Vec<_> = servers.chain(ports).collect();
        let loops = usize::from(plant.event_loop.threads).min(entries.len());
        let addresses = vec![Vec::new(); entries.len()];
        let open = Mutex::new(Open { loops: Vec::new(), addresses, ready, announced: false, failure: None });
        let host = Arc::new(Host::new(name, loops));
        // In file order, which is not that in which the loops open them.
        for entry in &entries {
            match entry {
                Entry::Modbus(server) => control::announce(&host.registry, &server.name),
                Entry::Port(described) => port::control::announce(&host.registry, &described.name),
            }
        }
        Self { entries, admin: plant.admin.clone(), host, opening, loops, open }
    }

    /// The entries that live on a loop, with their places in the file.
    fn share(&self, index: usize) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().skip(index).step_by(self.loops)
    }

    /// Opens everything that lives on a loop. The first loop comes first.
    fn set_up(self: &Arc<Self>, index: usize, lp: &mut LoopMut<'_, Share>) -> Result<(), Error> {
        let first = self.open().loops.first().cloned();
        match first {
            // Before anybody can connect: a signal that comes while the listeners open is heard as soon as the loop
            // runs.
            None => self.watch_signals(lp)?,
            Some(first) => {
                first.keep_alive(true);
                lp.data()._first = Some(first);
            }
        }
        self.open().loops.push(lp.handle());
        admin::loops::register(&self.host.registry, index, &lp.handle());
        if self.share(index).any(|(_, entry)| matches!(entry, Entry::Port(_))) {
            let kept = lp.handle();
            kept.keep_alive(true);
            lp.data()._ports = Some(kept);
        }
        for (place, described) in self.share(index) {
            match described {
                Entry::Modbus(described) => {
                    let name = described.name.clone();
                    let server = Server::bind_observed(lp, described, Log { server: name })?;
                    control::register(&self.host.registry, &server.handle());
                    self.open().addresses[place] = server.local_addrs().collect();
                    lp.data().servers.push(server);
                }
                Entry::Port(described) if described.address.protocol() == Protocol::Udp => {
                    let log = UdpLog(Announcer { site: Arc::clone(self), place, was_open: false, fails: false });
                    let server = udp::UdpServer::bind(lp, described, |port| port.subscribe(Box::new(log)))?;
                    port::control::register_udp(&self.host.registry, &lp.handle(), &server);
                    lp.data().udp_ports.push(server);
                }
                Entry::Port(described) => {
                    let log = PortLog(Announcer { site: Arc::clone(self), place, was_open: false, fails: false });
                    let server = port::Server::bind(lp, described, |port| port.subscribe(Box::new(log)))?;
                    port::control::register(&self.host.registry, &lp.handle(), &server);
                    lp.data().ports.push(server);
                }
            }
        }
        // Nobody is let in before all loops are set up, because none runs before that.
        if index == 0 { admin::open(lp, &self.host, &self.admin) } else { Ok(()) }
    }

    fn watch_signals(self: &Arc<Self>, lp: &mut LoopMut<'_, Share>) -> Result<(), Error> {
        let mut ending = vec![Signal::Interrupt, Signal::Terminate];
        // Under `nohup` the end of the terminal is to be survived.
        if !inherited::ignores(Signal::Hangup.number()) {
            ending.push(Signal::Hangup);
        }
        let site = Arc::clone(self);
        lp.on_signal(
            &ending,
            move |lp, signal| {
                if signal == Signal::Hangup { site.hang_up(lp) } else { site.end_all(lp) }
            },
        )
    }

    /// Has every port open its files again; if none has any, everything ends, as without a terminal it should. `lp` is
    /// the first loop.
    fn hang_up(self: &Arc<Self>, lp: &mut LoopMut<'_, Share>) {
        let asked = Arc::new(Asked { site: Arc::clone(self), any: AtomicBool::new(false) });
        asked.ask(lp);
        for other in self.open().loops.iter().skip(1) {
            let asked = Arc::clone(&asked);
            // One that has ended has no files.
            let _ = other.defer_always(move |lp| asked.ask(lp));
        }
    }

    /// [`end`] on all loops; `lp` is the first.
    fn end_all(&self, lp: &mut LoopMut<'_, Share>) {
        end(lp);
        for other in self.open().loops.iter().skip(1) {
            // One that has ended has nothing left to end. One that has much to do is the last that may miss this.
            let _ = other.defer_always(end);
        }
    }

    /// A port is open.
    fn opened(&self, place: usize, address: SocketAddr) {
        let Open { addresses, ready, announced, .. } = &mut *self.open();
        // Once: one that flaps must not fill a pipe that nobody reads.
        if let Some(known) = addresses.get_mut(place).filter(|known| known.is_empty()) {
            known.push(address);
            if *announced {
                let _ = writeln!(ready, "listening {address}").and_then(|()| ready.flush());
            }
        }
    }

    /// The host ends, and says why.
    fn fail(self: &Arc<Self>, why: String) {
        let mut open = self.open();
        open.failure.get_or_insert(why);
        let site = Arc::clone(self);
        if let Some(first) = open.loops.first() {
            // One that has ended needs no more ending.
            let _ = first.defer_always(move |lp| site.end_all(lp));
        }
    }

    fn announce(&self) {
        let Open { addresses, ready, announced, .. } = &mut *self.open();
        *announced = true;
        for address in addresses.iter().flatten() {
            // Nobody need read this for the servers to work.
            let _ = writeln!(ready, "listening {address}");
        }
        if let Some(address) = self.host.ways().listen {
            let _ = writeln!(ready, "admin http://{address}");
        }
        let _ = ready.flush();
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // A panic under this lock leaves both lists whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the loops say to SIGHUP. Whoever says it last does what follows.
struct Asked {
    site: Arc<Site>,
    /// Somebody has files.
    any: AtomicBool,
}

impl Asked {
    fn ask(&self, lp: &mut LoopMut<'_, Share>) {
        let (ports, udp_ports) = (lp.data().ports.clone(), lp.data().udp_ports.clone());
        // All of them, whatever the first says.
        let any = ports.iter().fold(false, |any, port| port.with(lp, |port| port.reopen_files()) | any);
        let any = udp_ports.iter().fold(any, |any, port| port.with(lp, |port| port.reopen_files()) | any);
        self.any.fetch_or(any, Ordering::AcqRel);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let first = if *self.any.get_mut() { None } else { self.site.open().loops.first().cloned() };
        if let Some(first) = first {
            let site = Arc::clone(&self.site);
            let _ = first.defer_always(move |lp| site.end_all(lp));
        }
    }
}

/// How many connections a server may have, as far as that can be told: of a range of addresses with priority, one.
fn connections(server: &modbus::Server) -> u64 {
    u64::from(server.max_connections) + server.priority.len() as u64 * u64::from(server.priority_max)
}

/// Lets everything on a loop end in order; the second time, cuts it.
fn end(lp: &mut LoopMut<'_, Share>) {
    let mut servers = std::mem::take(&mut lp.data().servers);
    servers.iter_mut().for_each(|server| server.shutdown(lp));
    lp.data().servers = servers;
    let ports = std::mem::take(&mut lp.data().ports);
    ports.iter().for_each(|port| port.shutdown(lp));
    lp.data().ports = ports;
    let udp_ports = std::mem::take(&mut lp.data().udp_ports);
    udp_ports.iter().for_each(|port| port.shutdown(lp));
    lp.data().udp_ports = udp_ports;
    lp.data()._ports = None;
}

fn options(settings: &EventLoop) -> LoopOptions {
    LoopOptions {
        receive_buffer: settings.receive_buffer as usize,
        read_budget: settings.read_budget as usize,
        accept_budget: settings.accept_budget.into(),
        handshake_budget: settings.handshake_budget.into(),
        timer_budget: settings.timer_budget,
        tx_limit: settings.tx_limit as usize,
        deferred_limit: settings.deferred_limit as usize,
        slow_callback: settings.slow_callback.unwrap_or(Duration::MAX),
        resolver_threads: settings.resolver_threads.into(),
        udp_batch: settings.udp_batch.into(),
        udp_payload: settings.udp_payload as usize,
        ..LoopOptions::default()
    }
}

/// Writes the events of a server down: what an operator wants to see at `info`, every request at `debug`.
struct Log {
    server: String,
}

impl Observer for Log {
    fn event(&self, event: &Event) {
        let server = &self.server;
        if matches!(event, Event::Error { .. }) {
            tracing::warn!("{server}: {event}");
        } else if matches!(
            event,
            Event::Processed { .. } | Event::Discarded { .. } | Event::Changed(_) | Event::Fault { id: Some(_), .. }
        ) {
            tracing::debug!("{server}: {event}");
        } else {
            tracing::info!("{server}: {event}");
        }
    }

    fn hears_requests(&self) -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }
}

/// Writes the events of a port down: what an operator wants to see at `info`, every arrival of bytes at `debug`.
struct PortLog(Announcer);

/// Tells where a device port listens, once it does.
struct Announcer {
    site: Arc<Site>,
    /// Of the port, among the entries.
    place: usize,
    was_open: bool,
    /// It could not be opened the last time.
    fails: bool,
}

impl Announcer {
    fn up(&mut self, local: SocketAddr) {
        (self.was_open, self.fails) = (true, false);
        self.site.opened(self.place, local);
    }

    /// The port could not be opened. Unless it may be tried again, the host ends and says why. Whether it failed before.
    fn not_opened(&mut self, why: Option<String>, advice: &str) -> bool {
        if self.site.opening == Opening::AtOnce && !self.was_open {
            self.site.fail(format!("{}{advice}", why.unwrap_or_else(|| "the port could not be opened".to_owned())));
        }
        std::mem::replace(&mut self.fails, true)
    }
}

impl port::Subscriber for PortLog {
    fn event(&mut self, port: &mut port::Running<'_>, event: &port::Event) {
        let mut frequent = matches!(
            event,
            port::Event::DataReady { .. } | port::Event::HighWater { .. } | port::Event::LowWater { .. }
        );
        if let port::Event::PortUp { local } = *event {
            self.0.up(local);
        } else if let port::Event::PortDown { reason: DownReason::OpenFailed(kind) } = *event {
            frequent = self.0.not_opened(port.failure(), advice_on(kind));
        }
        if !frequent {
            tracing::info!("{}", port::describe(port.name(), event));
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!("{}", port::describe(port.name(), event));
        }
    }
}

/// The same for a UDP port.
struct UdpLog(Announcer);

impl udp::UdpSubscriber for UdpLog {
    fn hears_datagrams(&self) -> bool {
        false
    }

    fn event(&mut self, port: &mut udp::RunningUdp<'_>, event: &udp::Event) {
        let mut frequent = *event == udp::Event::DataReady;
        if let udp::Event::PortUp { local } = *event {
            self.0.up(local);
        } else if let udp::Event::PortDown { reason: udp::Reason::NotOpened(kind) } = *event {
            frequent = self.0.not_opened(port.failure(), advice_on_udp(kind));
        }
        if frequent {
            tracing::debug!("{}", udp::describe(port.name(), event));
        } else {
            tracing::info!("{}", udp::describe(port.name(), event));
        }
    }
}

/// Lets the process have as many descriptors as its servers may need, or says how to.
pub fn raise_descriptor_limit(connections: u64, loops: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = connections + OTHER_DESCRIPTORS + DESCRIPTORS_OF_A_LOOP * loops as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    if set.is_err() || raised < needed {
        tracing::warn!(
            "{needed} descriptors are needed for {connections} connections, and the limit is {raised}: raise it \
             (`ulimit -n {needed}`, or LimitNOFILE= in a systemd unit) or lower max_connections"
        );
    }
}
