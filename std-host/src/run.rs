//! Runs a plant, and says how it ended.

use crate::config::{Plant, event_loop::EventLoop, modbus};
use crate::event_loop::{Error, Loop, LoopOptions, Signal};
use crate::services::modbus::{Event, Server};
use crate::sys::inherited;
use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::rc::Rc;
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

/// Descriptors of a process besides its connections: standard streams, listeners, files and the loop's own.
const OTHER_DESCRIPTORS: u64 = 64;

/// Runs everything in a plant until SIGINT, SIGTERM or SIGHUP; a second signal cuts what the first lets end in order.
/// `ready` gets a line for each listener as soon as all of them are open.
///
/// # Errors
/// The exit status, and what to tell the user.
pub fn run(plant: &Plant, ready: &mut dyn Write) -> Result<Status, (Status, String)> {
    if plant.modbus.is_empty() {
        return Err((Status::Usage, "the plant is empty: add a [[modbus.server]]".to_owned()));
    }
    raise_descriptor_limit(&plant.modbus);
    let mut lp = Loop::with_options((), options(&plant.event_loop)).map_err(unreachable)?;
    let servers: Rc<RefCell<Vec<Server>>> = Rc::default();
    let mut ending = vec![Signal::Interrupt, Signal::Terminate];
    // Under `nohup` the end of the terminal is to be survived.
    if !inherited::ignores(Signal::Hangup.number()) {
        ending.push(Signal::Hangup);
    }
    let ended = Rc::clone(&servers);
    // Before anybody can connect: a signal that comes while the listeners open is heard as soon as the loop runs.
    lp.loop_mut()
        .on_signal(&ending, move |lp, _| ended.borrow_mut().iter_mut().for_each(|server| server.shutdown(lp)))
        .map_err(unreachable)?;
    for described in &plant.modbus {
        let name = described.name.clone();
        let server = Server::bind(&mut lp.loop_mut(), described, move |event| log(&name, event));
        servers.borrow_mut().push(server.map_err(|error| cannot_listen(&error))?);
    }
    for server in servers.borrow().iter() {
        for address in server.local_addrs() {
            // Nobody need read this for the servers to work.
            let _ = writeln!(ready, "listening {address}");
        }
    }
    let _ = ready.flush();
    lp.run().map_err(unreachable)?;
    Ok(Status::Done)
}

fn options(settings: &EventLoop) -> LoopOptions {
    LoopOptions {
        receive_buffer: settings.receive_buffer as usize,
        read_budget: settings.read_budget as usize,
        accept_budget: settings.accept_budget.into(),
        timer_budget: settings.timer_budget,
        tx_limit: settings.tx_limit as usize,
        deferred_limit: settings.deferred_limit as usize,
        slow_callback: settings.slow_callback.unwrap_or(Duration::MAX),
        resolver_threads: settings.resolver_threads.into(),
        udp_batch: settings.udp_batch.into(),
        udp_payload: settings.udp_payload as usize,
        sample_every: LoopOptions::default().sample_every,
    }
}

/// Writes an event down: what an operator wants to see at `info`, every request at `debug`.
fn log(server: &str, event: &Event) {
    if matches!(event, Event::Error { .. }) {
        tracing::warn!("{server}: {event}");
    } else if matches!(event, Event::Processed { .. } | Event::Discarded { .. }) {
        tracing::debug!("{server}: {event}");
    } else {
        tracing::info!("{server}: {event}");
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn unreachable(error: Error) -> (Status, String) {
    (Status::Unreachable, error.to_string())
}

/// An address that cannot be had, its likely cause and the next step.
fn cannot_listen(error: &Error) -> (Status, String) {
    let kind = if let Error::Io { source, .. } = error { Some(source.kind()) } else { None };
    let advice = if kind == Some(ErrorKind::AddrInUse) {
        "\n  another program has this address, perhaps another wharf (`ss -ltnp` names it): stop it, or listen elsewhere"
    } else if kind == Some(ErrorKind::PermissionDenied) {
        "\n  ports below 1024 need privileges: choose a higher one, or grant CAP_NET_BIND_SERVICE"
    } else if kind == Some(ErrorKind::AddrNotAvailable) {
        "\n  no interface of this machine has this address (`ip address` lists them)"
    } else {
        ""
    };
    (Status::Unreachable, format!("{error}{advice}"))
}

/// Lets the process have as many descriptors as its servers may need, or says how to.
fn raise_descriptor_limit(servers: &[modbus::Server]) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let connections: u64 = servers.iter().map(|server| u64::from(server.max_connections)).sum();
    let needed = connections + OTHER_DESCRIPTORS;
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
    fn a_signal_as_soon_as_a_listener_is_announced_ends_in_order() {
        let text = "[[modbus.server]]\nname = \"m\"\nlisten = [\"127.0.0.1:0\"]\n";
        let plant = crate::config::parse(text, "plant.toml").unwrap();
        let mut reader = Impatient(Vec::new());
        assert_eq!(run(&plant, &mut reader), Ok(Status::Done));
        let lines = String::from_utf8(reader.0).unwrap();
        assert!(lines.starts_with("listening 127.0.0.1:"), "{lines}");
    }
}
