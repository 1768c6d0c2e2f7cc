//! Runs a plant, and says how it ended.
//!
//! The entries of a plant are dealt over its loops in file order: with two loops, the first has the first entry, the
//! third and so on. An entry lives on one loop. No entry can name another yet; one that does belongs on the loop of the
//! entry that it names, and `Site::share` is where that is decided.
//!
//! The first loop hears the signals for all, and so outlives the others. It is also where the host is asked and told
//! ([`admin`]).

use crate::admin::{self, host::Host};
use crate::config::{self, Plant, event_loop::EventLoop, modbus};
use crate::event_loop::{Error, Group, GroupOptions, Handle, Loop, LoopMut, LoopOptions, Signal};
use crate::services::modbus::{Event, Observer, Server, control};
use crate::services::port::{self, options::Options as Port};
use crate::sys::inherited;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Runs everything in a plant until SIGINT, SIGTERM or SIGHUP; a second signal cuts what the first lets end in order.
/// `name` is what the plant is called; its admin socket has it too. `ready` gets a line for each listener as soon as all of
/// them are open.
///
/// With `threads = 1` the loop runs on the calling thread. There are never more loops than entries.
///
/// # Errors
/// The exit status, and what to tell the user.
///
/// # Panics
/// With whatever a callback panics with, on any of the loops.
pub fn run(plant: &Plant, name: &str, ready: &mut dyn Write) -> Result<Status, (Status, String)> {
    if plant.modbus.is_empty() && plant.ports.is_empty() {
        return Err((Status::Usage, "the plant is empty: add a [[modbus.server]] or a [[port]]".to_owned()));
    }
    let site = Arc::new(Site::new(plant, name));
    let clients = plant.ports.iter().map(|port| u64::from(port.slots)).sum::<u64>();
    let connections = plant.modbus.iter().map(connections).sum::<u64>() + clients;
    raise_descriptor_limit(connections, site.loops);
    let (each, pin) = (options(&plant.event_loop), plant.event_loop.pin);
    if site.loops == 1 && !pin {
        let mut lp = Loop::with_options(Share::default(), each).map_err(explained)?;
        site.set_up(0, &mut lp.loop_mut()).map_err(explained)?;
        site.announce(ready);
        lp.run().map_err(explained)?;
    } else {
        let options = GroupOptions { loops: site.loops, each, name: "wharf".to_owned(), pin };
        let common = Arc::clone(&site);
        let group = Group::with_options(options, |_| Share::default(), move |index, lp| common.set_up(index, lp));
        let group = group.map_err(explained)?;
        site.announce(ready);
        group.join().map_err(explained)?;
    }
    Ok(Status::Done)
}

/// A plant that is being run, as all its loops know it.
struct Site {
    entries: Vec<Entry>,
    admin: config::admin::Admin,
    host: Arc<Host>,
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
}

/// What lives on one loop.
#[derive(Default)]
struct Share {
    servers: Vec<Server>,
    ports: Vec<port::Server>,
    /// Keeps the first loop alive as long as this one: it hears the signals.
    _first: Option<Handle<Self>>,
}

impl Site {
    fn new(plant: &Plant, name: &str) -> Self {
        let servers = plant.modbus.iter().cloned().map(|server| Entry::Modbus(Box::new(server)));
        let ports = plant.ports.iter().cloned().map(|port| Entry::Port(Box::new(port)));
        let entries: Vec<_> = servers.chain(ports).collect();
        let loops = usize::from(plant.event_loop.threads).min(entries.len());
        let open = Mutex::new(Open { loops: Vec::new(), addresses: vec![Vec::new(); entries.len()] });
        let host = Arc::new(Host::new(name, loops));
        // In file order, which is not that in which the loops open them.
        for entry in &entries {
            match entry {
                Entry::Modbus(server) => control::announce(&host.registry, &server.name),
                Entry::Port(_) => {}
            }
        }
        Self { entries, admin: plant.admin.clone(), host, loops, open }
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
        for (place, described) in self.share(index) {
            match described {
                Entry::Modbus(described) => {
                    let name = described.name.clone();
                    let server = Server::bind_observed(lp, described, Log { server: name })?;
                    control::register(&self.host.registry, &server.handle());
                    self.open().addresses[place] = server.local_addrs().collect();
                    lp.data().servers.push(server);
                }
                Entry::Port(described) => {
                    let server = port::Server::bind(lp, described, |port| port.subscribe(Box::new(PortLog)))?;
                    self.open().addresses[place] = server.local_addr().into_iter().collect();
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
        lp.on_signal(&ending, move |lp, _| site.end_all(lp))
    }

    /// [`end`] on all loops; `lp` is the first.
    fn end_all(&self, lp: &mut LoopMut<'_, Share>) {
        end(lp);
        for other in self.open().loops.iter().skip(1) {
            // One that has ended has nothing left to end. One that has much to do is the last that may miss this.
            let _ = other.defer_always(end);
        }
    }

    fn announce(&self, ready: &mut dyn Write) {
        for address in self.open().addresses.iter().flatten() {
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
struct PortLog;

impl port::Subscriber for PortLog {
    fn event(&mut self, port: &mut port::Running<'_>, event: &port::Event) {
        let frequent = matches!(
            event,
            port::Event::DataReady { .. } | port::Event::HighWater { .. } | port::Event::LowWater { .. }
        );
        if !frequent {
            tracing::info!("{}", port::describe(port.name(), event));
        } else if tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!("{}", port::describe(port.name(), event));
        }
    }
}

/// What the system refused, its likely cause and the next step.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn explained(error: Error) -> (Status, String) {
    let advice = if let Error::Io { op: "listen on", source, .. } = &error { advice(source.kind()) } else { "" };
    (Status::Unreachable, format!("{error}{advice}"))
}

/// What to do about an address that cannot be had.
fn advice(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::AddrInUse {
        "\n  another program has this address, perhaps another wharf (`ss -ltnp` names it): stop it, or listen elsewhere"
    } else if kind == ErrorKind::PermissionDenied {
        "\n  ports below 1024 need privileges: choose a higher one, or grant CAP_NET_BIND_SERVICE"
    } else if kind == ErrorKind::AddrNotAvailable {
        "\n  no interface of this machine has this address (`ip address` lists them)"
    } else {
        ""
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};

    /// Leaves the machine's runtime directory alone.
    const QUIET: &str = "[admin]\nsocket = false\n";

    /// Ends the process as soon as it has read a line.
    struct Impatient(Vec<u8>);

    impl Write for Impatient {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                kill_process(getpid(), Signal::TERM)?;
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn entries_are_dealt_over_the_loops_in_file_order_and_no_loop_is_without() {
        let entry = |n| format!("[[modbus.server]]\nname = \"{n}\"\nlisten = [\"127.0.0.1:0\"]\n");
        let entries: String = (0..5).map(entry).collect();
        let names = |threads: u16| -> Vec<String> {
            let text = format!("[loop]\nthreads = {threads}\n{entries}");
            let site = Site::new(&crate::config::parse(&text, "plant.toml").unwrap(), "test");
            let name = |entry: &Entry| match entry {
                Entry::Modbus(server) => server.name.clone(),
                Entry::Port(port) => port.name.clone(),
            };
            let share = |index| site.share(index).map(|(_, entry)| name(entry)).collect();
            (0..site.loops).map(share).collect()
        };
        assert_eq!(names(1), ["01234"]);
        assert_eq!(names(2), ["024", "13"]);
        assert_eq!(names(9), ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn a_loop_without_room_for_calls_hears_of_a_signal_all_the_same() {
        let text = "[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n\
                    [[modbus.server]]\nname = \"b\"\nlisten = [\"127.0.0.1:0\"]\n";
        let plant = crate::config::parse(&format!("{QUIET}[loop]\nthreads = 2\n{text}"), "plant.toml").unwrap();
        let site = Arc::new(Site::new(&plant, "test"));
        let each = LoopOptions { deferred_limit: 1, ..LoopOptions::default() };
        let mut loops = [0, 1].map(|index| {
            let mut lp = Loop::with_options(Share::default(), each).unwrap();
            site.set_up(index, &mut lp.loop_mut()).unwrap();
            lp
        });
        loops[1].handle().defer_fn(|_| ()).unwrap();
        assert!(loops[1].handle().defer_fn(|_| ()).is_err());
        site.end_all(&mut loops[0].loop_mut());
        for lp in &mut loops {
            lp.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(lp.loop_mut().data().servers[0].local_addrs().count(), 1);
        }
        let addresses = site.open().addresses.clone();
        assert!(addresses.iter().flatten().all(|at| std::net::TcpStream::connect(at).is_err()), "both have ended");
    }

    #[test]
    fn a_panic_on_another_loop_is_a_panic_of_the_process() {
        let text = "[admin]\nsocket = false\n[loop]\nthreads = 2\n[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n\
                    [[modbus.server]]\nname = \"b\"\nlisten = [\"127.0.0.1:0\"]\n";
        let mut plant = crate::config::parse(text, "plant.toml").unwrap();
        // Nothing that was read from a file can be that wrong.
        let twice = plant.modbus[1].units[0].clone();
        plant.modbus[1].units.push(twice);
        let mut reader = Vec::new();
        let panic =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&plant, "test", &mut reader))).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("the plant was checked when it was read"), "{message}");
        assert!(reader.is_empty());
    }

    #[test]
    fn a_signal_as_soon_as_a_listener_is_announced_ends_in_order() {
        let text = "[admin]\nsocket = false\n[[modbus.server]]\nname = \"m\"\nlisten = [\"127.0.0.1:0\"]\n";
        let plant = crate::config::parse(text, "plant.toml").unwrap();
        let mut reader = Impatient(Vec::new());
        assert_eq!(run(&plant, "test", &mut reader), Ok(Status::Done));
        let lines = String::from_utf8(reader.0).unwrap();
        assert!(lines.starts_with("listening 127.0.0.1:"), "{lines}");
    }
}
